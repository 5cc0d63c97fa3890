// The chapter CPP of mtrace_ext.h: all that C++ allocates is traced with its size, its caller and its domain, nothing
// stays behind and nothing is foreign. The implementation is C. Without MTRACE the same program is the plain allocator.

#if __cplusplus >= 201703L
#include <memory_resource>
#endif
#include <mcheck.h> // declares a function mtrace
#define MTRACE_OPERATOR_NEW
#include "mtrace_ext.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <exception>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#define EXPORTED extern "C" __attribute__((noinline, visibility("default")))

static bool is_on;

static int failures;
static void expect(bool good, const char *what, int line) {
    if (!good) {
        printf("line %d: %s\n", line, what);
        failures++;
    }
}
#define EXPECT(...)        expect((__VA_ARGS__), #__VA_ARGS__, __LINE__)
#define EXPECT_TRACED(...) expect(!is_on || (__VA_ARGS__), #__VA_ARGS__, __LINE__)

template <typename Pointer>
static Pointer hide(Pointer pointer) {
    __asm__ volatile("" : "+r"(pointer));
    return pointer;
}

// --- the allocator beneath ---

#ifdef ORACLE_H
static unsigned failing; // calls that fail
static std::atomic<long> oracle_blocks;
extern "C" void *oracle_malloc(size_t size) {
    if (failing > 0) {
        failing--;
        return nullptr;
    }
    oracle_blocks++;
    return malloc(size);
}
extern "C" void oracle_free(void *block) {
    oracle_blocks -= block != nullptr;
    free(block);
}
#endif

// --- looks ---

static mtrace_block look(const void *block) {
    mtrace_block found = {};
    mtrace_find_containing(&found, block);
    return found;
}

static bool is_in(const mtrace_frame &frame, const char *function) {
    uint64_t address = frame.address + (frame.module == nullptr ? 0 : frame.module->load_address);
    Dl_info info;
    return dladdr(reinterpret_cast<void *>(static_cast<uintptr_t>(address)), &info) != 0 &&
           info.dli_sname != nullptr && strcmp(info.dli_sname, function) == 0;
}

// Is the block's call site in this function?
static bool called_in(const void *block, const char *function) {
    mtrace_frame frame = {};
    mtrace_block found = look(block);
    return mtrace_find_tracked(&found, 0, static_cast<uintptr_t>(found.address), &frame, 1) ==
               MTRACE_OK &&
           is_in(frame, function);
}

static uint64_t traced() {
    return mtrace_get_traced_memory().current;
}

// --- operators ---

EXPORTED char *one_function() {
    return hide(new char[10]);
}
EXPORTED int *other_function() {
    return hide(new int(3));
}
EXPORTED void *nothrow_function() {
    return hide(new (std::nothrow) char[20]);
}

static void operators() {
    char *one = one_function();
    int *other = other_function();
    void *third = nothrow_function();
    EXPECT_TRACED(look(one).size == 10 && look(other).size == sizeof(int) &&
                  look(third).size == 20);
    EXPECT_TRACED(called_in(one, "one_function"));
    EXPECT_TRACED(called_in(other, "other_function"));
    EXPECT_TRACED(called_in(third, "nothrow_function"));
    EXPECT_TRACED(traced() == 30 + sizeof(int));
    delete[] one;
    delete other;
    operator delete[](third, std::nothrow);
    EXPECT(traced() == 0);

    char *a = hide(new char[0]), *b = hide(new char[0]);
    EXPECT(a != nullptr && b != nullptr && a != b);
    EXPECT_TRACED(mtrace_get_traced_memory().current == 0 && look(a).address != 0);
    delete[] a;
    delete[] b;
    delete hide(static_cast<int *>(nullptr));
    delete[] hide(static_cast<int *>(nullptr));

    operator delete(hide(operator new(5)), std::nothrow);
    operator delete(hide(operator new(5, std::nothrow)));
    operator delete[](hide(operator new[](5, std::nothrow)));
#ifdef __cpp_sized_deallocation
    operator delete(hide(operator new(5)), 5);
    operator delete[](hide(operator new[](5)), 5);
#endif
    EXPECT(traced() == 0);
}

#ifdef __cpp_aligned_new
struct alignas(128) wide {
    char c[128] = {};
    ~wide() {}
};

static bool is_aligned(const void *block, size_t alignment) {
    return reinterpret_cast<uintptr_t>(block) % alignment == 0;
}

static void aligned_operators() {
    wide *one = hide(new wide), *many = hide(new wide[3]), *quiet = hide(new (std::nothrow) wide),
         *quiets = hide(new (std::nothrow) wide[2]);
    EXPECT(is_aligned(one, 128) && is_aligned(many, 128) && is_aligned(quiet, 128) &&
           is_aligned(quiets, 128));
    EXPECT_TRACED(traced() >= 7 * sizeof(wide) && traced() <= 9 * sizeof(wide));
    delete one;
    delete[] many;
    delete quiet;
    delete[] quiets;
    for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
        std::align_val_t a{alignment};
        void *p = hide(operator new(3, a)), *q = hide(operator new[](0, a)),
             *r = hide(operator new(7, a, std::nothrow)),
             *s = hide(operator new[](9, a, std::nothrow)), *t = hide(operator new(3, a)),
             *u = hide(operator new[](3, a));
        EXPECT(is_aligned(p, alignment) && is_aligned(q, alignment) && is_aligned(r, alignment) &&
               is_aligned(s, alignment) && p != q);
        EXPECT_TRACED(traced() == 25);
        operator delete(p, a);
        operator delete[](q, a);
        operator delete(r, a, std::nothrow);
        operator delete[](s, a, std::nothrow);
        operator delete(t, sizeof(char[3]), a);
        operator delete[](u, sizeof(char[3]), a);
    }
    std::unique_ptr<wide> owned(new wide);
    std::vector<wide> wides(5);
    EXPECT(is_aligned(wides.data(), 128));
    EXPECT_TRACED(operator new(hide(SIZE_MAX - 4), std::align_val_t(64), std::nothrow) == nullptr);
}
#else
static void aligned_operators() {}
#endif

// --- no memory ---

static unsigned handled;
static void handles() {
    handled++;
    if (handled == 3) {
        std::set_new_handler(nullptr);
    }
}

static size_t too_large() {
    return hide(SIZE_MAX / 2);
}

static void no_memory() {
    EXPECT(hide(new (std::nothrow) char[too_large()]) == nullptr);
    std::set_new_handler(handles);
    handled = 0;
    EXPECT(hide(operator new(too_large(), std::nothrow)) == nullptr && handled == 3);
#ifdef __cpp_exceptions
    bool thrown = false;
    std::set_new_handler(handles);
    handled = 0;
    try {
        hide(new char[too_large()]);
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    EXPECT(thrown && handled == 3);
    std::set_new_handler([] { throw std::bad_alloc(); });
    EXPECT(hide(new (std::nothrow) char[too_large()]) == nullptr);
    std::set_new_handler(nullptr);
    thrown = false;
    try {
        mt::allocator<int>().allocate(SIZE_MAX / 2);
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    EXPECT(thrown);
#endif
#ifdef ORACLE_H
    std::set_new_handler([] { handled++; });
    handled = 0;
    failing = is_on ? 2 : 0;
    char *block = hide(new char[40]);
    EXPECT_TRACED(handled == 2 && look(block).size == 40);
    delete[] block;
    std::set_new_handler(nullptr);
#endif
    EXPECT(traced() == 0);
}

// --- the library ---

static void containers() {
    std::vector<int> numbers;
    std::string text;
    std::unordered_map<std::string, std::vector<double>> map;
    std::map<int, std::string> tree;
    std::list<int> list;
    for (int i = 0; i < 1000; i++) {
        numbers.push_back(i);
        text += "text";
        map[std::to_string(i) + " is a key that the heap has"].resize(5);
        tree[i] = text;
        list.push_front(i);
    }
    EXPECT_TRACED(look(numbers.data()).size == numbers.capacity() * sizeof(int));
    EXPECT_TRACED(look(text.data()).size == text.capacity() + 1);
    std::shared_ptr<std::string> shared = std::make_shared<std::string>(100, 'x'),
                                 second(new std::string(text));
    std::weak_ptr<std::string> weak = shared;
    std::function<size_t()> function = [shared, text] { return shared->size() + text.size(); };
    EXPECT(function() == 4100 && weak.lock() == shared);
    EXPECT_TRACED(traced() > 100 * 1000);
}

static void library() {
    std::stringstream stream;
    stream << "some text that is longer than the buffer " << 1.5 << ' '
           << std::this_thread::get_id();
    std::string word;
    while (stream >> word) {
    }
    std::thread([] { delete new std::string(100, 't'); }).join();
    EXPECT(std::async(std::launch::async, [] { return std::string(100, 'a').size(); }).get() ==
           100);
#ifdef __cpp_exceptions
    std::exception_ptr kept;
    for (int i = 0; i < 10; i++) {
        try {
            throw std::runtime_error(std::string(1000, 'e'));
        } catch (...) {
            kept = std::current_exception();
        }
    }
    EXPECT(kept != nullptr);
#endif
}

// --- allocators with a domain ---

EXPORTED int *allocates() {
    return hide(mt::allocator<int, 4>().allocate(10));
}

template <typename T, uint32_t domain>
using vector_in = std::vector<T, mt::allocator<T, domain>>;
struct alignas(64) block64 {
    char c[64];
};

static void allocators() {
    typedef std::basic_string<char, std::char_traits<char>, mt::allocator<char, 5>> string_in_5;
    int *ints = allocates();
    EXPECT_TRACED(look(ints).size == 40 && look(ints).domain == 4 && called_in(ints, "allocates"));
    mt::allocator<int, 4>().deallocate(ints, 10);
    EXPECT(sizeof(vector_in<int, 4>) == sizeof(std::vector<int>));
    vector_in<int, 4> numbers(100), moved;
    std::unordered_map<int, string_in_5, std::hash<int>, std::equal_to<int>,
                       mt::allocator<std::pair<const int, string_in_5>, 6>>
        map;
    map[3] = string_in_5(100, 'x');
    std::list<int, mt::allocator<int>> list(10);
    auto shared = std::allocate_shared<std::string>(mt::allocator<std::string, 7>(), 5, 's');
    vector_in<block64, 8> blocks(3);
    EXPECT_TRACED(look(numbers.data()).domain == 4 && look(map[3].data()).domain == 5 &&
                  look(&map[3]).domain == 6 && look(&list.front()).domain == 0 &&
                  look(shared.get()).domain == 7 && look(blocks.data()).domain == 8);
    EXPECT(reinterpret_cast<uintptr_t>(blocks.data()) % 64 == 0);
    const int *data = numbers.data();
    moved = std::move(numbers);
    EXPECT(moved.data() == data && mt::allocator<int, 4>() == mt::allocator<char, 4>() &&
           !(mt::allocator<int>() != mt::allocator<int>()));
    MT_SCOPE_IN(9u);
    std::vector<int, mt::allocator<int>> inherits(5);
    std::vector<int> plain(5);
    EXPECT_TRACED(look(inherits.data()).domain == 9 && look(plain.data()).domain == 9);
}

#if __cplusplus >= 201703L
static void resources() {
    mt::memory_resource physics(3), plain;
    std::pmr::vector<std::pmr::string> texts(&physics);
    texts.emplace_back("a text that is too long for the string itself");
    EXPECT_TRACED(look(texts.data()).domain == 3 && look(texts[0].data()).domain == 3);
    std::pmr::unordered_map<int, int> map(&plain);
    map[1] = 2;
    EXPECT_TRACED(look(&map[1]).domain == 0 && look(&map[1]).address != 0);
    void *wide = physics.allocate(100, 256);
    EXPECT(reinterpret_cast<uintptr_t>(wide) % 256 == 0);
    physics.deallocate(wide, 100, 256);
    EXPECT(physics != plain && physics == physics);
    std::pmr::monotonic_buffer_resource buffer(&physics);
    std::pmr::vector<int> numbers(1000, &buffer);
    EXPECT_TRACED(look(numbers.data()).domain == 3);
}
#else
static void resources() {}
#endif

// --- objects ---

struct base {
    int a = 1;
    virtual ~base() {}
};
struct other_base {
    int b = 2;
    virtual ~other_base() {}
};
static int destroyed;
struct both : base, other_base {
    std::string text;
    std::unique_ptr<int> owned;
    both(const char *of, std::unique_ptr<int> &&number) : text(of), owned(std::move(number)) {}
    ~both() override {
        destroyed++;
    }
};
template <typename A, typename B>
struct pair_of {
    A a;
    B b;
};
namespace ns {
namespace {
struct hidden {
    int i;
};
} // namespace
} // namespace ns
struct throws {
    std::string text = std::string(100, 't');
    explicit throws(bool does) {
#ifdef __cpp_exceptions
        if (does) {
            throw 1;
        }
#endif
        (void)does;
    }
};

EXPORTED both *makes() {
    return hide(mt::make<both>("a text", std::unique_ptr<int>(new int(5))));
}

static bool has_type(const void *block, const char *type) {
    const char *found = look(block).type;
    return found != nullptr && strcmp(found, type) == 0;
}

static void objects() {
    both *one = makes();
    EXPECT(one->text == "a text" && *one->owned == 5);
    EXPECT_TRACED(look(one).size == sizeof(both) && has_type(one, "both") &&
                  called_in(one, "makes"));
    other_base *as_other = hide(static_cast<other_base *>(one));
    mt::destroy(as_other);
    EXPECT(destroyed == 1 && traced() == 0);

    auto *pair = mt::make_in<pair_of<int, pair_of<char, long>>>(7);
    EXPECT(pair->a == 0 && pair->b.b == 0);
    EXPECT_TRACED(look(pair).domain == 7 &&
                  strncmp(look(pair).type, "pair_of<int, pair_of<char, long", 30) == 0);
    auto *text = mt::make<std::string>("x");
    EXPECT_TRACED(strstr(look(text).type, "string") != nullptr &&
                  strchr(look(text).type, ';') == nullptr);
    auto *space = mt::make<ns::hidden>();
    EXPECT_TRACED(strstr(look(space).type, "hidden") != nullptr);
    auto *number = mt::make<const int>(3);
    EXPECT(*number == 3);
    EXPECT_TRACED(has_type(number, "const int"));
    auto *wide = mt::make<block64>();
    EXPECT(reinterpret_cast<uintptr_t>(wide) % 64 == 0);
    std::unique_ptr<base, mt::deleter> owned(mt::make<both>("b", nullptr));
    std::shared_ptr<base> shared(mt::make<both>("c", nullptr), mt::deleter());
    mt::destroy(pair);
    mt::destroy(text);
    mt::destroy(space);
    mt::destroy(number);
    mt::destroy(wide);
    mt::destroy(static_cast<int *>(nullptr));
    int *at_one_line[2];
    for (int **at = at_one_line; at != at_one_line + 2; at++) {
        *at = mt::make<int>(1);
    }
    mt::destroy(at_one_line[0]);
    mt::destroy(at_one_line[1]);
#ifdef __cpp_exceptions
    uint64_t before = traced();
    int thrown = 0;
    try {
        mt::make<throws>(true);
    } catch (int) {
        thrown++;
    }
    try {
        delete new throws(true);
    } catch (int) {
        thrown++;
    }
    EXPECT(thrown == 2 && traced() == before);
#endif
}

// Two types that are made at one address have two rows.
typedef void *(*maker)();
template <typename T>
static maker maker_of() {
    T *(*make)() = &mt::make<T>;
    return reinterpret_cast<maker>(reinterpret_cast<void (*)()>(make));
}

static void types_at_one_address() {
    maker makers[] = {maker_of<int>(), maker_of<char>(), maker_of<int>()};
    void *made[3];
    for (int i = 0; i < 3; i++) {
        made[i] = hide(makers[i])();
    }
    EXPECT_TRACED(has_type(made[0], "int") && has_type(made[1], "char") &&
                  has_type(made[2], "int"));
    for (void *each : made) {
        mt::destroy(static_cast<char *>(each));
    }
}

// --- stacks ---

EXPORTED void *grows(std::vector<int> *numbers) {
    numbers->reserve(1000);
    return hide(numbers->data());
}

static void stacks() {
    std::vector<int> numbers;
    const void *block = grows(&numbers);
    mtrace_frame frames[16];
    mtrace_block found = look(block);
    bool is_found = false;
    EXPECT_TRACED(mtrace_find_tracked(&found, 0, static_cast<uintptr_t>(found.address), frames,
                                      16) == MTRACE_OK);
    for (uint32_t i = 0; i < found.traceback.count; i++) {
        is_found = is_found || is_in(frames[i], "grows");
    }
    EXPECT_TRACED(is_found && found.traceback.count > 3 && found.type == nullptr);
}

// Rows are charged to the user's functions, and to none of the library's or mtrace's.
static void rows() {
    std::vector<int> numbers;
    std::unique_ptr<both, mt::deleter> one(makes());
    mtrace_snapshot *addresses, *names;
    mtrace_rows *rows;
    uint64_t of_grows = 0, of_makes = 0;
    grows(&numbers);
    mtrace_snapshot_take(&addresses, false, nullptr);
    mtrace_snapshot_resolve(&names, addresses, nullptr);
    mtrace_snapshot_statistics(&rows, names, MTRACE_BY_FUNCTION, nullptr);
    for (size_t i = 0; is_on && i < rows->count; i++) {
        const mtrace_row *row = &rows->rows[i];
        const char *function = row->function == nullptr ? "none" : row->function;
        std::string name(function, strcspn(function, "("));
        EXPECT(name.find("operator new") == std::string::npos &&
               name.find("std::") == std::string::npos && name.find("mt::") == std::string::npos);
        of_grows += strcmp(function, "grows") == 0 ? row->size : 0;
        of_makes += strcmp(function, "makes") == 0 ? row->size : 0;
    }
    EXPECT_TRACED(of_grows == 1000 * sizeof(int) && of_makes == sizeof(both) + sizeof(int));
    mtrace_rows_free(rows);
    mtrace_snapshot_free(names);
    mtrace_snapshot_free(addresses);
}

// --- all ---

static void run(const mtrace_desc &desc) {
    is_on = mtrace_start(&desc) == MTRACE_OK;
    EXPECT(is_on || mtrace_start(&desc) == MTRACE_ERR_COMPILED_OUT);
    if (desc.native_frames > 1) {
        stacks();
        rows();
    } else {
        operators();
        types_at_one_address();
    }
    aligned_operators();
    no_memory();
    containers();
    library();
    allocators();
    resources();
    if (desc.native_frames <= 1) {
        objects();
    }
    EXPECT(traced() == 0 && mtrace_get_info().foreign_frees == 0 &&
           mtrace_get_info().stale_replaced == 0);
    EXPECT(mtrace_check() == nullptr);
    mtrace_stop();
    is_on = false;
}

int main() {
    library(); // its caches of locales
    mtrace_desc desc = {};
    run(desc);
    desc.unwinder = mtrace_get_unwinder(MTRACE_UNWIND_BEST);
    desc.native_frames = 16;
    run(desc);
#ifdef ORACLE_H
    long blocks = oracle_blocks;
    delete hide(new int);
    EXPECT(oracle_blocks == blocks);
#endif
    operators();
    return failures != 0;
}

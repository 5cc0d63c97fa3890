// What must compile in C++11 to C++20 without a warning, with MTRACE and without.

extern "C" { // as the includes of a library in C stand
#include "mtrace_ext.h"
}
#include <array>
#include <memory>
#include <string>

struct thing {
    int a;
    int b;
};
template <typename A, typename B>
struct two {
    A a;
    B b;
};
template <int A, int B>
size_t sum() {
    return A + B;
}

// --- call sites in every place ---

void *at_namespace_scope = MT_MALLOC(100);
static thing *of_a_type = MT_NEW(thing);
struct has_member {
    void *member = MT_MALLOC(10);
    static void *of_class;
};
void *has_member::of_class = MT_MALLOC(11);
void default_argument(void *p = MT_MALLOC(12));
void default_argument(void *p) {
    MT_FREE(p);
}
thread_local void *of_thread = MT_MALLOC(13);
#if __cplusplus >= 201703L
struct has_inline {
    static inline void *of_class = MT_MALLOC(14);
};
inline void *inline_variable = MT_MALLOC(15);
#endif
#if __cplusplus >= 201402L
constexpr int in_constexpr(bool b) {
    if (b) {
        MT_FREE(MT_MALLOC(3));
    }
    return 1;
}
static_assert(in_constexpr(false) == 1, "");
#endif

// --- commas, types ---

void *commas(size_t n) {
    MT_FREE(MT_NEW(two<int, char>));
    MT_FREE(MT_NEW(std::array<int, 4>));
    MT_FREE(MT_NEW_IN(2u, two<int, two<char, int>>));
    MT_FREE(MT_NEW_ARRAY(std::array<int, 4>, n));
    MT_FREE(MT_NEW_ARRAY_IN(2u, two<int, two<char, two<int, int>>>, n));
    MT_FREE(MT_MALLOC(sum<1, 2>()));
    MT_FREE(MT_REALLOC(MT_MALLOC(sum<1, 2>()), sum<3, 4>()));
    MT_FREE(MT_STRDUP(std::array<char, 2>{{'a', 0}}.data()));
    return MT_CALLOC_IN(2u, sum<1, 2>(), sum<1, 3>());
}

// --- warnings ---

#define BEGIN_JOB(domain)                                                                          \
    MT_SCOPE();                                                                                    \
    MT_SCOPE_IN(domain);                                                                           \
    MT_PROFILE();                                                                                  \
    MT_PROFILE_LIMIT(9u)
void *warnings(void *q, size_t n) {
    BEGIN_JOB(2u);
    thing *t = MT_NEW(thing), *a = MT_NEW_ARRAY(thing, n);
    int(*rows)[4] = MT_NEW_ARRAY(int[4], n);
    MT_FREE(rows);
    MT_FREE(a);
    (void)MT_TRACK(1u, t, 8u);
    (void)MT_TRACK(1u, n, 8u);
    (void)MT_UNTRACK(1u, static_cast<short>(n));
    MT_FREE(t);
    q = MT_REALLOC(q, MT_LINE(n + 9u));
    MT_LINE();
    MT_ASSERT_NO_GROWTH(nullptr, 0u);
    return n != 0 ? MT_ASSERT_NO_GROWTH(nullptr, 0u) : void(), MT_REALLOCARRAY(q, n, 2u);
}
void keys(thing *t) {
    struct {
        int id;
        operator uintptr_t() const {
            return 5;
        }
        char more[99];
    } handle = {1, {}};
    enum { NUMBER = 5 };
    static int array[9];
    (void)MT_TRACK(1u, handle, 8u);
    (void)MT_TRACK(1u, NUMBER, 8u);
    (void)MT_TRACK(1u, array, sizeof array);
    (void)MT_TRACK(1u, nullptr == t, 8u);
    (void)MT_TRACK(1u, &keys, 8u);
}

// --- objects and allocators; glibc has a function mtrace ---

#if __has_include(<mcheck.h>)
#include <mcheck.h>
#endif
std::unique_ptr<const thing, mt::deleter> objects(mt::make<const thing>());
std::basic_string<char, std::char_traits<char>, mt::allocator<char, 3>> text(5, 'x');
std::shared_ptr<int> shared = std::allocate_shared<int>(mt::allocator<int>(), 5);
#if __cplusplus >= 201703L
#include <memory_resource>
#include "mtrace_ext.h" // once more, for mt::memory_resource
mt::memory_resource resource(4);
#endif

// --- descriptions ---

void *described(const char *file, unsigned line) {
    mtrace_site site = {};
    mtrace_print_desc files = {};
    site.file = file;
    site.line = line;
    files.key_type = MTRACE_BY_FILE;
    files.report.top = 10;
    mtrace_print(&files);
    return mtrace_malloc_at(9, mtrace_site_intern(&site));
}

// --- functions whose address can be taken ---

std::unique_ptr<char, void (*)(void *)> smart() {
    return {static_cast<char *>(MT_MALLOC(3)), mtrace_free};
}
static_assert(std::is_same<decltype(&mtrace_malloc), void *(*)(size_t)>::value, "");
static_assert(std::is_same<decltype(&mtrace_calloc), void *(*)(size_t, size_t)>::value, "");
static_assert(std::is_same<decltype(&mtrace_realloc), void *(*)(void *, size_t)>::value, "");
static_assert(std::is_same<decltype(&mtrace_free), void (*)(void *)>::value, "");

void *used() {
    return of_a_type;
}

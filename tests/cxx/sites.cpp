// Call sites of C++ name the function that they stand in as __func__ does there, whatever it is, and none outside
// of functions; the implementation is C.

#include "mtrace_ext.h"

#include <array>
#include <stdio.h>
#include <string.h>

static int failures;

// Was the block allocated in the function (NULL: in none)?
static void *in(void *block, const char *function) {
    mtrace_block found = {};
    mtrace_find(&found, block);
    bool same = found.function == nullptr || function == nullptr ? found.function == function
                                                                 : strcmp(found.function, function) == 0;
    if (!same) {
        printf("%u: %s instead of %s\n", found.line, found.function == nullptr ? "none" : found.function,
               function == nullptr ? "none" : function);
        failures++;
    }
    MT_FREE(block);
    return nullptr;
}

#define HERE() in(MT_MALLOC(3), __func__)
#define OUTSIDE() in(MT_MALLOC(3), nullptr)

static void *started = mtrace_start(nullptr) == MTRACE_OK ? nullptr : in(nullptr, "started");

// --- outside of functions ---

static void *at_namespace_scope = OUTSIDE();
namespace space {
namespace {
void *in_namespaces = OUTSIDE();
}
} // namespace space
struct member {
    void *p = OUTSIDE();
    static void *of_class;
};
void *member::of_class = OUTSIDE();
template <typename T> struct template_member {
    void *p = OUTSIDE();
};
static void default_argument(void * = OUTSIDE()) {}
static thread_local void *of_thread = OUTSIDE();
struct member_inline {
    static inline void *p = OUTSIDE();
};

// --- in functions of every kind ---

static const char *(*gives_a_function())(int, char) {
    HERE();
    return nullptr;
}
static void takes(int (&)[3], void (*)(int), const std::array<int, 2> &) { HERE(); }
namespace space {
namespace {
struct every {
    typedef void (*function)(int);
    every(int = 0) { HERE(); }
    ~every() { HERE(); }
    void constant() const volatile { HERE(); }
    void reference() && noexcept { HERE(); }
    static auto later(int) -> std::array<int, 2> { return HERE(), std::array<int, 2>(); }
    void operator()(int) const { HERE(); }
    bool operator<(const every &) const & { return HERE() == nullptr; }
    bool operator>(const every &) const & { return HERE() == nullptr; }
    every &operator<<(int) { return HERE(), *this; }
    every *operator->() { return HERE(), this; }
    every &operator=(every &&) noexcept { return HERE(), *this; }
    void operator,(int) { HERE(); }
    void operator[](int) volatile { HERE(); }
    operator bool() const { return HERE() == nullptr; }
    operator std::array<int, 3>() { return in(MT_MALLOC(3), strncmp(__func__, "operator", 8) == 0 ? __func__ : ""), std::array<int, 3>(); }
    void *operator new(size_t n) { return HERE(), ::operator new(n); }
    void operator delete(void *p) { HERE(), ::operator delete(p); }
};
} // namespace
} // namespace space
template <typename T> struct box {
    box() { HERE(); }
    template <typename U, int N> T put(U, T (*)(int)) noexcept { return HERE(), T(); }
};
template <typename T> static void of_type(T) {
    HERE();
    auto lambda = [](int) {
        HERE();
        auto inner = [] { HERE(); };
        inner();
    };
    lambda(1);
}
template <typename... A> static void variadic(A...) { HERE(); }
template <bool, char, void (*)(int)> static void of_values() { HERE(); }
static void of_int(int) { HERE(); }
static int operator""_km(unsigned long long) { return HERE() != nullptr; }
static void local_class() {
    struct local {
        void *p = OUTSIDE();
        void inside() { HERE(); }
    } it;
    it.inside();
}
static void operator_like() { HERE(); }
extern "C" void of_c(void) { HERE(); }

// --- the line profile, which asks whether a call site is the function's own ---

static void profiled(int n) {
    MT_PROFILE();
    void *p = MT_MALLOC(static_cast<size_t>(n)), *q; // line 116
    MT_LINE(of_int(n)), q = MT_MALLOC(7);
    MT_FREE(p);
    MT_FREE(q);
}
static void keep(const char *text, size_t length, void *user) {
    char *all = static_cast<char *>(user);
    strncat(all, text, strlen(all) + length < 4000 ? length : 0);
}
static void profile() {
    static char text[4096];
    mtrace_profile_report_desc desc = {};
    desc.style = MTRACE_PROFILE_CSV;
    desc.write = keep;
    desc.write_user = text;
    mtrace_profile_start(nullptr);
    profiled(300);
    mtrace_profile_stop();
    mtrace_profile_report(&desc);
    if (strstr(text, "\"profiled\",116,1,1,300,300,300,1,0,") == nullptr || // lines of its own
        strstr(text, "\"profiled\",117,1,1,307,7,307,2,1,") == nullptr || strstr(text, "lambda") != nullptr) {
        printf("the profile: %s\n", text);
        failures++;
    }
}

int main() {
    int three[3] = {0, 0, 0};
    (void)started, (void)at_namespace_scope, (void)space::in_namespaces, (void)of_thread;
    member one;
    template_member<void (*)(int)> two;
    default_argument();
    gives_a_function();
    takes(three, of_int, std::array<int, 2>());
    {
        space::every a(1), b;
        a.constant(), space::every().reference(), space::every::later(1), a(1);
        bool c = a < b, d = a > b, e = a;
        std::array<int, 3> f = a;
        (void)c, (void)d, (void)e, (void)f, (void)one, (void)two;
        a << 1, a->constant(), a = space::every(2), a[1], (a, 1);
        delete new space::every(1);
    }
    box<std::array<int, 2>>().put<char, (3 > 2)>('x', nullptr);
    of_type(3), of_type(std::array<int, 2>()), variadic(1, "x", 2.0), of_values<(3 > 2), '<', of_int>();
    of_int(1), 1_km, local_class(), operator_like(), of_c(), HERE();
    [](int) { HERE(); }(1);
    profile();
    return failures;
}

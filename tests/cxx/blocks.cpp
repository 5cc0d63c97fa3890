// Exceptions leave blocks under check, and a failing check may throw, as with Catch2 and doctest. Compiled out, the
// blocks run once.

#include <stdexcept>
#include <string>

#define MTRACE_FAIL(message) throw std::logic_error(message)
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#include <cstdio>

static int wrong, runs;

static void expect(bool holds, const char *what) {
    if (!holds) {
        std::printf("%s\n", what);
        wrong = 1;
    }
}

static void throws() {
    void *block = MT_MALLOC(100);
    runs++;
    MT_FREE(block);
    throw std::runtime_error("out");
}

template <class Function>
static std::string caught(Function function) {
    try {
        function();
    } catch (const std::exception &e) {
        return e.what();
    }
    return "nothing";
}

struct member { // its destructor runs while an exception flies
    ~member() noexcept(false) {
        MT_ASSERT_NO_LEAKS {
            MT_FREE(MT_MALLOC(3));
        }
    }
};

static void flies() {
    MT_ASSERT_PEAK_BELOW(1) {
        MT_ASSERT_ALLOCATIONS_AT_MOST(0) {
            MT_ASSERT_NO_LEAKS {
                member here;
                throws();
            }
        }
    }
}

static void fails() {
    MT_ASSERT_ALLOCATIONS_AT_MOST(5) {
        MT_ASSERT_PEAK_BELOW(100) {
            MT_FREE(MT_MALLOC(100));
        }
    }
}

static void warms() {
    MT_ASSERT_NO_LEAKS_WARM {
        if (++runs == 2) {
            throw std::runtime_error("warm");
        }
    }
}

static void *nothing(void *argument) {
    return argument;
}

int main() {
    mtrace_usage usage;
    bool is_on =
        mtrace_start(NULL) == MTRACE_OK && mtrace_memory_usage(&usage, nothing, NULL) == MTRACE_OK;
    size_t before = 0;
    MT_ASSERT_NO_LEAKS {}
    before = mtrace_get_tracer_memory();
    for (int i = 0; i < 50; i++) {
        expect(caught(flies) == "out", "the exception is the program's");
        expect((caught(fails) != "nothing") == is_on, "a failing check throws");
        before = i == 9 ? mtrace_get_tracer_memory() : before;
    }
    expect(mtrace_get_tracer_memory() == before, "snapshots are given back");
    expect(runs == 50, "the block runs once");
    if (is_on) {
        expect(caught(fails).find(
                   "memory rose by 100 B (not below 100 B), there:\ntests/cxx/blocks.cpp:") == 0,
               "message");
    }
    runs = 0;
    expect(caught(warms) == (is_on ? "warm" : "nothing"), "runs to warm up");
    expect(mtrace_set_observer(mtrace_observer()).call == NULL, "the observer is the one before");
    expect(mtrace_check() == NULL, "the tracer is sound");
    mtrace_stop();
    return wrong;
}

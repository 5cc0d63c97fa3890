/* Helpers for several test files: totals and rows in one call, and child processes. Include it
   after test.h, and define _POSIX_C_SOURCE before either. */

#ifndef MTRACE_TESTS_SUPPORT_TOOLS_H
#define MTRACE_TESTS_SUPPORT_TOOLS_H

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* For a test that asks for too much memory: sanitizers are to answer NULL, as malloc does. */
#ifdef __cplusplus
#define TEST_SANITIZER_OPTIONS                                                                     \
    extern "C" const char *__asan_default_options(void);                                           \
    extern "C" const char *__tsan_default_options(void);                                           \
    extern "C" const char *__asan_default_options(void) {                                          \
        return "allocator_may_return_null=1";                                                      \
    }                                                                                              \
    extern "C" const char *__tsan_default_options(void) {                                          \
        return "allocator_may_return_null=1";                                                      \
    }
#else
#define TEST_SANITIZER_OPTIONS                                                                     \
    const char *__asan_default_options(void);                                                      \
    const char *__tsan_default_options(void);                                                      \
    const char *__asan_default_options(void) {                                                     \
        return "allocator_may_return_null=1";                                                      \
    }                                                                                              \
    const char *__tsan_default_options(void) {                                                     \
        return "allocator_may_return_null=1";                                                      \
    }
#endif

/* After each test, failed or not: the next one finds a stopped tracer. */
static inline int test_stop_after(void **state) {
    test_fail_next = 0;
    mtrace_stop();
    return test_name_row(state);
}
#define TEST(function) cmocka_unit_test_teardown(function, test_stop_after)

/* The library is sound and says exactly this. */
static inline void test_held(uint64_t current, uint64_t peak, size_t live) {
    mtrace_traced_memory memory = mtrace_get_traced_memory();
    test_sound();
    assert_int_equal(memory.current, current);
    assert_int_equal(memory.peak, peak);
    assert_int_equal(mtrace_get_info().live, live);
}

/* The block has exactly this trace. */
static inline void test_traced(const void *block, uint64_t size, const char *file, uint32_t line) {
    mtrace_block found = MTRACE_ZERO_;
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_int_equal(found.address, (uintptr_t)block);
    assert_int_equal(found.size, size);
    assert_string_equal(found.file, file);
    assert_int_equal(found.line, line);
    assert_int_equal(found.domain, 0);
}

static inline void test_untraced(const void *block) {
    mtrace_block found;
    assert_int_equal(mtrace_find(&found, block), MTRACE_ERR_NOT_FOUND);
}

static inline bool test_row_in(mtrace_snapshot *snapshot, mtrace_view view, const char *file,
                               uint32_t line, mtrace_row *out) {
    mtrace_rows *s;
    size_t i;
    bool found = false;
    mtrace_snapshot_set_view(snapshot, view);
    assert_int_equal(mtrace_snapshot_statistics(&s, snapshot, MTRACE_BY_LINE, NULL), MTRACE_OK);
    for (i = 0; i < s->count && !found; i++) {
        found = s->rows[i].line == line && strcmp(s->rows[i].file, file) == 0;
        if (found) {
            *out = s->rows[i];
        }
    }
    mtrace_rows_free(s);
    return found;
}

/* The row of a line now, or zeros if it was never seen. */
static inline mtrace_row test_row(const char *file, uint32_t line) {
    mtrace_row row = MTRACE_ZERO_;
    mtrace_snapshot *snapshot;
    assert_int_equal(mtrace_snapshot_take(&snapshot, false, NULL), MTRACE_OK);
    if (!test_row_in(snapshot, MTRACE_VIEW_LIVE, file, line, &row) &&
        test_row_in(snapshot, MTRACE_VIEW_TOTAL, file, line, &row)) {
        row.size = 0;
        row.count = 0;
    }
    mtrace_snapshot_free(snapshot);
    row.file = row.function = row.type = NULL; /* the names were the snapshot's */
    return row;
}

enum { TEST_SIGNAL = 128 };

/* Runs `body` in a child: what it returned, or TEST_SIGNAL + the signal that ended it. */
static inline int test_in_child(int (*body)(void)) {
    int status = 0;
    pid_t child;
    fflush(stdout);
    fflush(stderr);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        _exit(body());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : TEST_SIGNAL + WTERMSIG(status);
}

/* In a child cmocka's asserts would go on with the parent's tests. */
#define CHILD_ASSERT(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: in a child: %s\n", __FILE__, __LINE__, #condition);            \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

#endif

/* The part of cmocka that the tests use, for what Debian has no cmocka for: 32 bits, Windows. */

#ifndef CMOCKA_H
#define CMOCKA_H

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*test)(void **state);
    int (*setup)(void **state);
    int (*teardown)(void **state);
};

#define cmocka_unit_test(f)                                                                        \
    { #f, f, NULL, NULL }
#define cmocka_unit_test_setup_teardown(f, before, after)                                          \
    { #f, f, before, after }
#define cmocka_unit_test_setup(f, before)                                                          \
    { #f, f, before, NULL }
#define cmocka_unit_test_teardown(f, after)                                                        \
    { #f, f, NULL, after }
#define cmocka_run_group_tests(tests, before, after)                                               \
    cmocka_run_(tests, sizeof(tests) / sizeof(tests)[0], before, after)

#define fail_msg(...)                                                                              \
    (printf("[  ERROR   ] %s:%d: ", __FILE__, __LINE__), printf(__VA_ARGS__), puts(""),            \
     cmocka_fail_())
#define fail() fail_msg("%s", "failed")
#define skip() longjmp(cmocka_left_, 2)
#define cmocka_require_(condition)                                                                 \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("%s", #condition);                                                            \
        }                                                                                          \
    } while (0)
#define assert_true(c)                  cmocka_require_((c) != 0)
#define assert_false(c)                 cmocka_require_(!(c))
#define assert_null(p)                  cmocka_require_((p) == NULL)
#define assert_non_null(p)              cmocka_require_((p) != NULL)
#define assert_ptr_equal(a, b)          cmocka_require_((a) == (b))
#define assert_ptr_not_equal(a, b)      cmocka_require_((a) != (b))
#define assert_int_equal(a, b)          cmocka_require_((uint64_t)(a) == (uint64_t)(b))
#define assert_int_not_equal(a, b)      cmocka_require_((uint64_t)(a) != (uint64_t)(b))
#define assert_string_equal(a, b)       cmocka_require_(strcmp((a), (b)) == 0)
#define assert_string_not_equal(a, b)   cmocka_require_(strcmp((a), (b)) != 0)
#define assert_memory_equal(a, b, size) cmocka_require_(memcmp((a), (b), (size)) == 0)
#define assert_in_range(v, low, high)                                                              \
    cmocka_require_(cmocka_in_range_((uint64_t)(v), (uint64_t)(low), (uint64_t)(high)))

static inline int cmocka_in_range_(uint64_t value, uint64_t low, uint64_t high) {
    return value >= low && value <= high;
}

static jmp_buf cmocka_left_;

static inline void cmocka_fail_(void) {
    longjmp(cmocka_left_, 1);
}

/* 0: passed, 1: failed, 2: skipped. */
static inline int cmocka_run_one_(const struct CMUnitTest *test, void **state) {
    volatile int how = 0;
    switch (setjmp(cmocka_left_)) {
    case 0:
        if (test->setup == NULL || test->setup(state) == 0) {
            test->test(state);
        } else {
            how = 1;
        }
        break;
    case 1:
        how = 1;
        break;
    default:
        how = 2;
    }
    if (test->teardown != NULL && test->teardown(state) != 0) {
        how = 1;
    }
    return how;
}

static inline int cmocka_run_(const struct CMUnitTest *tests, size_t count, int (*before)(void **),
                              int (*after)(void **)) {
    static const char *const words[] = {"     OK", "FAILED ", "SKIPPED"};
    void *state = NULL;
    int counts[3] = {0, 0, 0};
    size_t i;
    int failures = before != NULL && before(&state) != 0;
    for (i = 0; i < count; i++) {
        int how;
        printf("[ RUN      ] %s\n", tests[i].name);
        fflush(stdout);
        how = cmocka_run_one_(&tests[i], &state);
        printf("[  %s ] %s\n", words[how], tests[i].name);
        counts[how]++;
    }
    failures += after != NULL && after(&state) != 0;
    printf("[  PASSED  ] %d test(s), %d skipped.\n", counts[0], counts[2]);
    return failures + counts[1];
}

#endif

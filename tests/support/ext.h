/* mtrace_ext.h for tests, and questions about its inside. Include it after test.h. */

#ifndef MTRACE_TESTS_SUPPORT_EXT_H
#define MTRACE_TESTS_SUPPORT_EXT_H

#include "../../mtrace_ext.h"

TEST_EXTERN bool test_unwinds(void);        /* return addresses are found */
TEST_EXTERN void test_forget_workers(void); /* what a failed test left of the line profile */
TEST_EXTERN void test_measurement_heal(const void *frame); /* as when that frame has been left */

#ifdef TEST_IMPLEMENTATION
TEST_CODE bool test_unwinds(void) {
    return MTRACE_UNWINDS_;
}

TEST_CODE void test_forget_workers(void) {
    size_t i;
    for (i = 0; i < mtrace_profiler_g_.worker_count; i++) {
        mtrace_profiler_g_.workers[i].taken = 0;
    }
}

TEST_CODE void test_measurement_heal(const void *frame) {
    mtrace_measurement_unwind_(frame, NULL);
}
#endif

#endif

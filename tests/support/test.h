/* What every test file includes: cmocka, the library with its implementation, and an allocator that
   can be told to fail. With MTRACE_TEST_TINY all tables and bounds are small, so that their edges
   are hit. */

#ifndef MTRACE_TESTS_SUPPORT_TEST_H
#define MTRACE_TESTS_SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>
#ifdef __cplusplus
}
#endif

static int test_fail_next;       /* the next n allocations fail; every one when negative */
static int test_fail_after = -1; /* n more succeed, then one fails; -1: never */

static bool test_measures;  /* one thread at a time: */
static size_t test_largest; /* bytes of the largest allocation asked for */

static bool test_fails(size_t size) {
    if (test_measures && size > test_largest) {
        test_largest = size;
    }
    if (test_fail_after >= 0 && test_fail_after-- == 0) {
        return true;
    }
    if (test_fail_next > 0) {
        test_fail_next--;
        return true;
    }
    return test_fail_next < 0;
}

#define MTRACE_BASE_MALLOC(size)         (test_fails(size) ? NULL : malloc(size))
#define MTRACE_BASE_CALLOC(count, size)  (test_fails(size) ? NULL : calloc(count, size))
#define MTRACE_BASE_REALLOC(block, size) (test_fails(size) ? NULL : realloc(block, size))
#define MTRACE_BASE_FREE(block)          free(block)
#define MTRACE_BASE_ALIGNED_ALLOC(alignment, size)                                                 \
    (test_fails(size) ? NULL : test_aligned(alignment, size))

/* C11's aligned_alloc wants a multiple of the alignment; C99 headers do not declare it. */
#ifdef __cplusplus
extern "C" int posix_memalign(void **block, size_t alignment, size_t size) noexcept;
#else
extern int posix_memalign(void **block, size_t alignment, size_t size);
#endif
static inline void *test_aligned(size_t alignment, size_t size) {
    void *block = NULL;
    return posix_memalign(&block, alignment, size) == 0 ? block : NULL;
}

#ifdef MTRACE_TEST_TINY
#define MTRACE_LANES     2
#define MTRACE_MAX_PROBE 12
#define MTRACE_PAGE_BITS 10
#endif

#define MTRACE_IMPLEMENTATION
#include "../../mtrace.h"

/* Output into a string. */
typedef struct test_output {
    char text[65536];
    size_t length;
} test_output;

static inline void test_write(const char *text, size_t length, void *user) {
    test_output *out = (test_output *)user;
    assert_true(out->length + length < sizeof out->text);
    memcpy(out->text + out->length, text, length);
    out->length += length;
    out->text[out->length] = '\0';
}

/* A call site of one's own making. */
static inline mtrace_site test_site(const char *file, uint32_t line) {
    mtrace_site site = MTRACE_ZERO_;
    site.file = file;
    site.function = "f";
    site.line = line;
    return site;
}

static inline void test_sound(void) {
    const char *broken = mtrace_check();
    if (broken != NULL) {
        fail_msg("%s", broken);
    }
}

#endif

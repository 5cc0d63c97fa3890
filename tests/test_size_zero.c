/* An allocator that gives one address to all blocks of size 0, as Linux's kmalloc, and aligned ones
   another. A program that uses it rightly makes no foreign free, and is not aborted. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <stdbool.h>
#include <stdlib.h>

static char nothing[16], aligned_nothing[16];
static bool fails;
static int abort_calls;

static bool is_nothing(const void *block) {
    return block == nothing || block == aligned_nothing;
}

static void *zero_malloc(size_t size) {
    return size == 0 ? nothing : malloc(size);
}

static void *zero_calloc(size_t count, size_t size) {
    return count == 0 || size == 0 ? nothing : calloc(count, size);
}

static void *zero_realloc(void *block, size_t size) {
    return fails ? NULL : is_nothing(block) || size == 0 ? zero_malloc(size) : realloc(block, size);
}

static void *zero_aligned(size_t alignment, size_t size) {
    (void)alignment;
    return size == 0 ? aligned_nothing : malloc(size);
}

static void zero_free(void *block) {
    if (!is_nothing(block)) {
        free(block);
    }
}

#define MTRACE_BASE_MALLOC(size)                   zero_malloc(size)
#define MTRACE_BASE_CALLOC(count, size)            zero_calloc(count, size)
#define MTRACE_BASE_REALLOC(block, size)           zero_realloc(block, size)
#define MTRACE_BASE_FREE(block)                    zero_free(block)
#define MTRACE_BASE_ALIGNED_ALLOC(alignment, size) zero_aligned(alignment, size)
#define MTRACE_ABORT()                             ((void)abort_calls++)

#include "support/test.h"
#include "support/threads.h"

static int start(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.max_blocks = 512;
    desc.foreign_free = MTRACE_FOREIGN_ABORT;
    fails = false;
    abort_calls = 0;
    return mtrace_start(&desc) == MTRACE_OK ? 0 : 1;
}

static int stop(void **state) {
    (void)state;
    mtrace_stop();
    return 0;
}

static void expect_right(size_t live) {
    mtrace_info info = mtrace_get_info();
    assert_int_equal(abort_calls, 0);
    assert_int_equal(info.foreign_frees, 0);
    assert_int_equal(info.stale_replaced, 0);
    assert_int_equal(info.live, live);
    test_sound();
}

static void test_blocks_of_one_address_count_as_one(void **state) {
    void *a = MT_MALLOC(0), *b = MT_CALLOC(0, 4), *c = MT_NEW_ARRAY(int, 0);
    uint32_t line = __LINE__ - 1;
    mtrace_block found;
    (void)state;
    assert_ptr_equal(a, c);
    expect_right(1);
    assert_int_equal(mtrace_find(&found, a), MTRACE_OK);
    assert_int_equal(found.line, line); /* the last one's */
    MT_FREE(a);
    expect_right(0);
    MT_FREE(b);
    MT_FREE(c);
    expect_right(0);
    MT_FREE(MT_MALLOC(0));
    expect_right(0);
}

static void test_reallocs(void **state) {
    void *a = MT_MALLOC(0), *b = MT_MALLOC(0), *c = MT_MALLOC(0);
    (void)state;
    fails = true;
    assert_null(MT_REALLOC(a, 10));
    fails = false;
    a = MT_REALLOC(a, 10);
    b = MT_REALLOC(b, 20);
    expect_right(2);
    assert_int_equal(mtrace_get_traced_memory().current, 30);
    MT_FREE(c);
    MT_FREE(b);
    MT_FREE(a);
    expect_right(0);
}

static void test_two_addresses(void **state) {
    void *a = MT_MALLOC(0), *b = MT_MALLOC(0);
    void *c = MT_ALIGNED_ALLOC(64, 0), *d = MT_ALIGNED_ALLOC(64, 0);
    (void)state;
    expect_right(2);
    MT_FREE(a);
    MT_FREE(c);
    MT_FREE(b);
    MT_FREE(d);
    expect_right(0);
}

/* Real errors are still reported. */
static void test_foreign_and_stale(void **state) {
    void *block = malloc(10), *stale;
    (void)state;
    MT_FREE(nothing); /* it was not given out */
    assert_int_equal(abort_calls, 1);
    MT_MALLOC(0);
    MT_MALLOC(0);
    MT_FREE(block);
    assert_int_equal(abort_calls, 2);
    assert_int_equal(mtrace_get_info().foreign_frees, 2);
    stale = MT_MALLOC(10);
    assert_int_equal(mtrace_track_at(0, (uintptr_t)stale, 0, NULL), MTRACE_OK);
    assert_int_equal(mtrace_get_info().stale_replaced, 1);
    MT_FREE(stale);
    test_sound();
}

#ifndef MTRACE_SINGLE_THREAD
enum { THREADS = 4, ROUNDS = 2000 };

static void *work(void *unused) {
    int i;
    for (i = 0; i < ROUNDS; i++) {
        void *a = MT_MALLOC(0), *b = MT_MALLOC(i % 3 == 0 ? 8 : 0);
        MT_FREE(a);
        MT_FREE(b);
    }
    return unused;
}

static void test_threads(void **state) {
    (void)state;
    test_in_threads(THREADS, work, NULL, 0);
    expect_right(0);
}
#endif

#define SIZE_ZERO_TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        SIZE_ZERO_TEST(test_blocks_of_one_address_count_as_one),
        SIZE_ZERO_TEST(test_reallocs),
        SIZE_ZERO_TEST(test_two_addresses),
        SIZE_ZERO_TEST(test_foreign_and_stale),
#ifndef MTRACE_SINGLE_THREAD
        SIZE_ZERO_TEST(test_threads),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

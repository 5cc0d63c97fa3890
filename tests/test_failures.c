/* Allocations that fail are counted at their call site. A callback hears of them, and may print. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"
#include "support/tools.h"

#include <errno.h>

static struct {
    unsigned calls;
    size_t size;
    uint32_t domain, line;
    bool allocates, prints, stops;
    mtrace_result printed;
} seen;
static test_output output;

static void on_failure(const mtrace_failure *failure, void *user) {
    assert_ptr_equal(user, &seen);
    seen.calls++;
    seen.size = failure->size;
    seen.domain = failure->domain;
    seen.line = failure->site->line;
    if (seen.allocates) { /* fails, too */
        test_fail_next = 1;
        assert_null(MT_MALLOC(77));
    }
    if (seen.prints) {
        seen.printed = mtrace_print_top(5);
    }
    if (seen.stops) {
        mtrace_stop();
    }
    errno = 0;
}

static void start(size_t max_sites) {
    mtrace_desc desc = MTRACE_ZERO_;
    memset(&seen, 0, sizeof seen);
    output.length = 0;
    desc.max_blocks = 64;
    desc.max_sites = max_sites;
    desc.on_failure = on_failure;
    desc.failure_user = &seen;
    desc.write = test_write;
    desc.write_user = &output;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

/* The row with failures. */
static mtrace_row failed_row(void) {
    mtrace_snapshot *snapshot;
    mtrace_rows *rows;
    mtrace_row found = MTRACE_ZERO_;
    size_t i;
    assert_int_equal(mtrace_snapshot_take(&snapshot, false, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_statistics(&rows, snapshot, MTRACE_BY_LINE, NULL), MTRACE_OK);
    for (i = 0; i < rows->count; i++) {
        found = rows->rows[i].failed_count != 0 ? rows->rows[i] : found;
    }
    found.file = found.function = found.type = NULL; /* the snapshot's */
    mtrace_rows_free(rows);
    mtrace_snapshot_free(snapshot);
    return found;
}

/* --- every call that can fail --- */

static void *block;

static void call_malloc(void) {
    assert_null(MT_MALLOC(100));
}
static void call_malloc_in(void) {
    assert_null(MT_MALLOC_IN(3, 100));
}
static void call_calloc(void) {
    assert_null(MT_CALLOC(10, 10));
}
static void call_realloc(void) {
    assert_null(MT_REALLOC(block, 100));
}
static void call_strdup(void) {
    assert_null(MT_STRDUP("123456789 123456789 123456789 123456789 123456789 "
                          "123456789 123456789 123456789 123456789 123456789"));
}

static void test_each_call(void **state) {
    static const struct {
        void (*call)(void);
        uint32_t domain;
    } cases[] = {{call_malloc, UINT32_MAX},
                 {call_malloc_in, 3},
                 {call_calloc, UINT32_MAX},
                 {call_realloc, UINT32_MAX},
                 {call_strdup, UINT32_MAX}};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        mtrace_row row;
        start(16);
        block = MT_MALLOC(10);
        test_fail_next = 1;
        errno = ENOMEM; /* the allocator's; the callback sets another one */
        cases[i].call();
        assert_int_equal(errno, ENOMEM);
        assert_int_equal(seen.calls, 1);
        assert_int_equal(seen.size, 100);
        assert_int_equal(seen.domain, cases[i].domain);
        row = failed_row();
        assert_int_equal(row.line, seen.line);
        assert_int_equal(row.failed_count, 1);
        assert_int_equal(row.failed_size, 100);
        assert_int_equal(row.count, 0);
        assert_int_equal(mtrace_get_info().failed_count, 1);
        assert_int_equal(mtrace_get_info().live, 1);
        MT_FREE(block);
        test_sound();
        mtrace_stop();
    }
}

/* No product wraps: the size that was asked for fits nowhere. */
static void test_a_product_that_overflows(void **state) {
    volatile size_t half = SIZE_MAX / 2;
    (void)state;
    start(16);
    test_fail_next = 1;
    assert_null(mtrace_calloc_at(half, 4, MT_HERE));
    assert_int_equal(seen.calls, 1);
    assert_true(seen.size == SIZE_MAX);
    assert_true(failed_row().failed_size == SIZE_MAX);
    mtrace_stop();
}

static void fail_line(size_t size) {
    test_fail_next = 1;
    assert_null(MT_MALLOC(size));
}

/* Counts add up, the largest size stays, a clear forgets both, and a pause counts none. */
static void test_counts(void **state) {
    (void)state;
    start(16);
    fail_line(100);
    fail_line(3000);
    fail_line(20);
    assert_int_equal(failed_row().failed_count, 3);
    assert_int_equal(failed_row().failed_size, 3000);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    fail_line(10);
    assert_int_equal(mtrace_resume(), MTRACE_OK);
    assert_int_equal(seen.calls, 3);
    mtrace_clear();
    assert_int_equal(mtrace_get_info().failed_count, 0);
    assert_int_equal(failed_row().failed_count, 0);
    fail_line(7);
    assert_int_equal(failed_row().failed_size, 7);
    mtrace_stop();
    fail_line(10); /* stopped: nothing happens */
    assert_int_equal(seen.calls, 4);
}

/* A callback's own failure is counted, and does not call it again. */
static void test_a_failure_in_the_callback(void **state) {
    (void)state;
    start(16);
    seen.allocates = true;
    fail_line(100);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(mtrace_get_info().failed_count, 2);
    fail_line(100);
    assert_int_equal(seen.calls, 2);
    mtrace_stop();
}

/* The report says which line failed, and how much it asked for, with a site table that is full,
   too. */
static void test_a_report_from_the_callback(void **state) {
    (void)state;
    start(16);
    seen.prints = true;
    fail_line(4096);
    assert_int_equal(seen.printed, MTRACE_OK);
    assert_non_null(strstr(output.text, "fail_line"));
    assert_non_null(strstr(output.text, "1 allocation failed, the largest of 4.00 KiB"));
    assert_non_null(strstr(output.text, "; 1 allocation failed"));
    mtrace_stop();
    start(1);
    block = MT_MALLOC(1);
    fail_line(100);
    assert_int_equal(mtrace_get_info().failed_count, 1);
    assert_int_equal(failed_row().failed_count, 1); /* "<other>" */
    MT_FREE(block);
    mtrace_stop();
}

/* A callback may stop the tracer, and the next session is whole. */
static void test_a_stop_in_the_callback(void **state) {
    (void)state;
    start(16);
    seen.stops = true;
    fail_line(100);
    assert_int_equal(seen.calls, 1);
    assert_false(mtrace_is_tracing());
    fail_line(100);
    assert_int_equal(seen.calls, 1);
    start(16);
    fail_line(100);
    assert_int_equal(failed_row().failed_count, 1);
    mtrace_stop();
}

/* Between two snapshots the failures since the old one count. */
static void test_a_comparison(void **state) {
    mtrace_snapshot *old, *now;
    mtrace_rows *rows;
    (void)state;
    start(16);
    fail_line(100);
    assert_int_equal(mtrace_snapshot_take(&old, false, NULL), MTRACE_OK);
    fail_line(30);
    fail_line(30);
    assert_int_equal(mtrace_snapshot_take(&now, false, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_compare_to(&rows, now, old, MTRACE_BY_LINE, NULL), MTRACE_OK);
    assert_int_equal(rows->count, 1);
    assert_int_equal(rows->rows[0].failed_count, 2);
    assert_int_equal(rows->total.failed_count, 2);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(old);
    mtrace_snapshot_free(now);
    mtrace_stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_call),
        cmocka_unit_test(test_a_product_that_overflows),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_a_failure_in_the_callback),
        cmocka_unit_test(test_a_report_from_the_callback),
        cmocka_unit_test(test_a_stop_in_the_callback),
        cmocka_unit_test(test_a_comparison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* MTRACE_SMALL: counters of 32 bits say what 64 bits would, or stop at the largest number. What is
   live stays exact. Foreign frees are counted only. */

#undef MTRACE_CONFIG_FILE
#undef MTRACE_SINGLE_THREAD
#define MTRACE_BARE_METAL
#define MTRACE_SMALL
#define MTRACE_SINGLE_THREAD

#include "support/test.h"

static test_output output;
static uint64_t memory[1 << 11], snapshot_memory[1 << 11];

static mtrace_desc description(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 64;
    desc.max_sites = 8;
    desc.memory = memory;
    desc.memory_size = sizeof memory;
    desc.write = test_write;
    desc.write_user = &output;
    return desc;
}

static int setup(void **state) {
    mtrace_desc desc = description();
    (void)state;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    output.length = 0;
    output.text[0] = '\0';
    return 0;
}

static int teardown(void **state) {
    (void)state;
    test_sound();
    mtrace_stop();
    return 0;
}

enum { MIB = 1 << 20, GIB = 1 << 30, MOST_HELD = INT32_MAX };

static mtrace_result track(uintptr_t key, uint64_t size) {
    mtrace_site site = test_site("small.c", 1);
    return mtrace_track_at(1, key, size, &site);
}

static void track_and_untrack(uintptr_t key, uint64_t size) {
    assert_int_equal(track(key, size), MTRACE_OK);
    assert_int_equal(mtrace_untrack_at(1, key, NULL), MTRACE_OK);
}

/* The line's row, behind that of "<other>". */
static mtrace_row row(void) {
    mtrace_snapshot *snapshot;
    mtrace_buffer room = {snapshot_memory, sizeof snapshot_memory};
    assert_int_equal(mtrace_snapshot_take(&snapshot, false, &room), MTRACE_OK);
    assert_int_equal(snapshot->row_count, 2);
    return snapshot->rows[1];
}

static bool prints(mtrace_view view, const char *text) {
    mtrace_print_desc desc = MTRACE_ZERO_;
    desc.view = view;
    output.length = 0;
    assert_int_equal(mtrace_print(&desc), MTRACE_OK);
    return strstr(output.text, text) != NULL;
}

static void test_a_total_stops(void **state) {
    (void)state;
    track_and_untrack(1, 3 * (uint64_t)GIB / 2);
    track_and_untrack(2, 3 * (uint64_t)GIB / 2);
    assert_true(row().total_size == 3 * (uint64_t)GIB);
    assert_true(prints(MTRACE_VIEW_TOTAL, "mtrace: 3.00 GiB in 2 blocks allocated in all"));
    track_and_untrack(3, 3 * (uint64_t)GIB / 2);
    assert_true(row().total_size == UINT32_MAX);
    assert_true(row().total_count == 3);
    assert_true(prints(MTRACE_VIEW_TOTAL, "mtrace: 4.00 GiB in 3 blocks allocated in all"));
    track_and_untrack(4, GIB);
    assert_true(row().total_size == UINT32_MAX);
}

static void test_two_totals_stop_together(void **state) {
    mtrace_site other = test_site("small.c", 2);
    (void)state;
    track_and_untrack(1, 3 * (uint64_t)GIB / 2);
    track_and_untrack(1, 3 * (uint64_t)GIB / 2);
    assert_int_equal(mtrace_track_at(1, 2, 3 * (uint64_t)GIB / 2, &other), MTRACE_OK);
    assert_true(prints(MTRACE_VIEW_TOTAL, "mtrace: 4.00 GiB in 3 blocks allocated in all"));
}

static void test_live_is_exact_beyond(void **state) {
    uintptr_t i;
    (void)state;
    assert_int_equal(track(1, 100 * MIB), MTRACE_OK);
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    for (i = 2; i <= 10; i++) {
        track_and_untrack(i, GIB);
    }
    assert_int_equal(track(11, 7), MTRACE_OK);
    assert_true(row().size == 100 * MIB + 7);
    assert_true(row().count == 2);
    assert_true(row().peak_size == (uint64_t)GIB + 100 * MIB);
    assert_true(mtrace_get_traced_memory().current == 100 * MIB + 7);
    assert_true(mtrace_get_traced_memory().peak == (uint64_t)GIB + 100 * MIB);
    assert_true(mtrace_growth(NULL, 0, NULL, 0) == 7);
    assert_true(
        prints(MTRACE_VIEW_LIVE, "mtrace: 100.00 MiB in 2 blocks held, 1.10 GiB at the peak"));
}

/* The counters of the one account, shortly before their largest number. */
static mtrace_counters_ *near_the_end(uint32_t live) {
    mtrace_counters_ *counters;
    assert_int_equal(track(1, 10), MTRACE_OK);
    counters = &mtrace_g_.shards->counters[mtrace_g_.account_table.number_end - 1];
    assert_true(counters->total_count == 1);
    counters->total_count = UINT32_MAX - 1;
    counters->freed_count = UINT32_MAX - 1 - live;
    return counters;
}

static void test_a_count_stops(void **state) {
    (void)state;
    (void)near_the_end(1);
    track_and_untrack(2, 1);
    assert_true(row().total_count == UINT32_MAX);
    track_and_untrack(3, 1);
    assert_true(row().total_count == UINT32_MAX);
    assert_int_equal(track(4, 1), MTRACE_OK);
    assert_true(row().total_count == UINT32_MAX);
    assert_true(row().count == 2);
    assert_true(row().size == 11);
    assert_true(prints(MTRACE_VIEW_TOTAL, "in 4,294,967,295 blocks allocated in all"));
    mtrace_clear();
    track_and_untrack(5, 1);
    assert_true(row().total_count == 1);
}

static void test_reallocs_stop(void **state) {
    mtrace_site site = test_site("small.c", 1);
    void *block = mtrace_malloc_at(1, &site);
    (void)state;
    if (sizeof(size_t) == sizeof(uint32_t)) {
        mtrace_g_.shards->counters[mtrace_g_.account_table.number_end - 1].reallocs = UINT32_MAX;
        block = mtrace_realloc_at(block, 2, &site);
        assert_true(row().reallocs == UINT32_MAX);
    } else {
        block = mtrace_realloc_at(block, 2, &site);
        assert_true(row().reallocs == 1);
    }
    mtrace_free_at(block, NULL);
}

static void test_events_stop(void **state) {
    int event;
    (void)state;
    for (event = 0; event < MTRACE_EVENTS_; event++) {
        mtrace_g_.shards->events[event] = UINT32_MAX;
    }
    assert_int_equal(track(1, UINT64_MAX), MTRACE_ERR_FULL);
    mtrace_free_at(MTRACE_BASE_MALLOC(1), NULL);
    assert_true(mtrace_get_info().dropped_count == UINT32_MAX);
    assert_true(mtrace_get_info().foreign_frees == UINT32_MAX);
}

/* The bytes held stay below 2^31. */
static void test_too_much_is_dropped(void **state) {
    (void)state;
    assert_int_equal(track(1, MOST_HELD), MTRACE_OK);
    assert_int_equal(track(2, 1), MTRACE_ERR_FULL);
    assert_true(mtrace_get_traced_memory().current == MOST_HELD);
    assert_true(row().dropped_count == 1);
    assert_true(row().dropped_size == 1);
    assert_int_equal(track(1, 5), MTRACE_OK); /* in place of the old size */
    assert_int_equal(track(2, MOST_HELD - 5), MTRACE_OK);
    assert_true(row().size == MOST_HELD);
    assert_true(row().peak_size == MOST_HELD);
    assert_int_equal(track(3, (uint64_t)1 << 31), MTRACE_ERR_FULL);
    assert_true(row().dropped_size == ((uint64_t)1 << 31) + 1);
    assert_int_equal(track(3, ((uint64_t)1 << 32) + 8), MTRACE_ERR_FULL);
    assert_true(row().dropped_size == UINT32_MAX);
    assert_true(mtrace_get_info().dropped_bytes == UINT32_MAX);
    assert_true(mtrace_get_info().live == 2);
    assert_true(mtrace_growth(NULL, 0, NULL, 0) == UINT64_MAX);
}

static void test_foreign_frees_are_counted(void **state) {
    mtrace_desc desc = description();
    (void)state;
    MT_FREE(MTRACE_BASE_MALLOC(1));
    assert_true(mtrace_get_info().foreign_frees == 1);
    assert_int_equal(output.length, 0);
    mtrace_stop();
    desc.foreign_free = MTRACE_FOREIGN_REPORT;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.foreign_free = MTRACE_FOREIGN_ABORT;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.foreign_free = MTRACE_FOREIGN_COUNT;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

/* No report would show the place of MT_FREE, so it has none. */
static void test_free_without_a_site(void **state) {
    void *block = MT_MALLOC(3);
    (void)state;
    assert_true(MTRACE_HERE_UNCACHED_ == NULL);
    MT_FREE(block);
    assert_true(row().frees == 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_total_stops),        TEST(test_two_totals_stop_together),
        TEST(test_live_is_exact_beyond), TEST(test_a_count_stops),
        TEST(test_reallocs_stop),        TEST(test_events_stop),
        TEST(test_too_much_is_dropped),  TEST(test_foreign_frees_are_counted),
        TEST(test_free_without_a_site),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

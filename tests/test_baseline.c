/* The baseline: comparisons with it say what comparisons with a snapshot say, without memory. */

#include "support/test.h"

#include <pthread.h>

static test_output output;

static int setup(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.max_blocks = 4096;
    desc.max_sites = 64;
    desc.frames = 3;
    desc.write = test_write;
    desc.write_user = &output;
    output.length = 0;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    test_sound();
    mtrace_stop();
    return 0;
}

static void track(uintptr_t key, uint64_t size, uint32_t line) {
    mtrace_site site = test_site("a.c", line);
    assert_int_equal(mtrace_track_at(1, key, size, &site), MTRACE_OK);
}

static void untrack(uintptr_t key) {
    assert_int_equal(mtrace_untrack_at(1, key, NULL), MTRACE_OK);
}

static void expect_growth(const mtrace_snapshot *old, uint64_t grown, const char *text) {
    char message[512];
    assert_int_equal(mtrace_growth(message, sizeof message, old, 0), grown);
    assert_string_equal(message, text);
}

static void expect_none(void) {
    static const char sentence[] =
        "no baseline: mtrace_set_baseline() not called since the start or clear";
    char text[256];
    snprintf(text, sizeof text, "cannot tell whether memory grew: %s", sentence);
    expect_growth(NULL, UINT64_MAX, text);
    output.length = 0;
    assert_int_equal(mtrace_print_diff(NULL, 3), MTRACE_ERR_NO_BASELINE);
    snprintf(text, sizeof text, "mtrace: %s\n", sentence);
    assert_string_equal(output.text, text);
}

static void start_and_clear_take_the_baseline_away(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    expect_none();
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    expect_growth(NULL, 0, "");
    mtrace_clear();
    expect_none();
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    mtrace_stop();
    assert_int_equal(mtrace_set_baseline(), MTRACE_ERR_NOT_TRACING);
    expect_growth(NULL, UINT64_MAX, "cannot tell whether memory grew: not tracing");
    assert_int_equal(mtrace_print_diff(NULL, 3), MTRACE_ERR_NOT_TRACING);
    desc.write = test_write;
    desc.write_user = &output;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    expect_none();
}

static void growth_names_the_lines(void **state) {
    (void)state;
    track(1, 100, 1);
    track(2, 50, 2);
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    track(3, 7, 1);
    track(4, 11, 3); /* newer than the baseline */
    untrack(2);
    expect_growth(NULL, 18,
                  "memory grew by 18 B (tolerance 0 B):\n"
                  "a.c:3: warning: grew by +11 B in +1 block, allocated in f\n"
                  "a.c:1: warning: grew by +7 B in +1 block, allocated in f");
    untrack(3);
    untrack(4);
    expect_growth(NULL, 0, "");
    track(5, 0, 1);
    expect_growth(NULL, 1,
                  "memory grew by 1 block (tolerance 0 B):\n"
                  "a.c:1: warning: grew by +0 B in +1 block, allocated in f");
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK); /* replaces the last one */
    expect_growth(NULL, 0, "");
}

/* A line grew only if its accounts did in sum. */
static void growth_is_by_line(void **state) {
    mtrace_site site = test_site("a.c", 1);
    (void)state;
    track(1, 100, 1);
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    untrack(1);
    assert_int_equal(mtrace_track_at(2, 1, 100, &site), MTRACE_OK);
    expect_growth(NULL, 0, "");
}

static void no_growth_takes_no_memory(void **state) {
    size_t before = mtrace_get_tracer_memory();
    (void)state;
    test_give_kept_back();
    before = mtrace_get_tracer_memory();
    track(1, 100, 1);
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    track(2, 100, 1);
    untrack(1);
    MT_ASSERT_NO_GROWTH(NULL, 0);
    assert_int_equal(mtrace_get_tracer_memory(), before);
    assert_int_equal(test_kept_bytes(), 0);
}

static void print_desc_is_checked(void **state) {
    mtrace_print_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *old;
    (void)state;
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_take(&old, false, NULL), MTRACE_OK);
    desc.since_baseline = true;
    desc.old = old;
    assert_int_equal(mtrace_print(&desc), MTRACE_ERR_ARGUMENT);
    desc.old = NULL;
    desc.view = MTRACE_VIEW_PEAK;
    assert_int_equal(mtrace_print(&desc), MTRACE_ERR_ARGUMENT);
    desc.view = MTRACE_VIEW_LIVE;
    desc.key_type = MTRACE_BY_SIZE_CLASS;
    assert_int_equal(mtrace_print(&desc), MTRACE_ERR_NO_BLOCKS);
    mtrace_snapshot_free(old);
}

static void drops_before_do_not_count(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_site site = test_site("a.c", 1);
    uintptr_t key = 1;
    (void)state;
    mtrace_stop();
    desc.max_blocks = 2;
    desc.max_sites = 8;
    desc.write = test_write;
    desc.write_user = &output;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    while (mtrace_track_at(1, key, 8, &site) == MTRACE_OK) {
        key++;
    }
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    expect_growth(NULL, 0, "");
    output.length = 0;
    assert_int_equal(mtrace_print_diff(NULL, 3), MTRACE_OK);
    assert_non_null(strstr(output.text, "not traced")); /* the last line, since the start */
    assert_int_equal(mtrace_track_at(1, key, 8, &site), MTRACE_ERR_FULL);
    expect_growth(NULL, UINT64_MAX,
                  "cannot tell whether memory grew: blocks were not traced, the table was full");
}

/* --- many states: the same as since a snapshot --- */

static uint32_t dice(uint32_t sides) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % sides;
}

static void step(void) {
    mtrace_site site = test_site(dice(2) ? "a.c" : "b.c", 1 + dice(6));
    mtrace_site scope = test_site("s.c", 1 + dice(3));
    mtrace_scope outer = mtrace_scope_push_at(&scope);
    if (dice(3) == 0) {
        (void)mtrace_untrack_at(1 + dice(2), 1 + dice(200), &site);
    } else {
        (void)mtrace_track_at(1 + dice(2), 1 + dice(200), dice(40), &site);
    }
    mtrace_scope_restore(outer);
}

/* The text up to the last line, which has the tracer's memory. */
static void print(char *text, const mtrace_snapshot *old, mtrace_key_type key_type) {
    mtrace_print_desc desc = MTRACE_ZERO_;
    output.length = 0;
    desc.key_type = key_type;
    desc.old = old;
    desc.since_baseline = old == NULL;
    assert_int_equal(mtrace_print(&desc), MTRACE_OK);
    *strstr(output.text, "mtrace's own memory") = '\0';
    strcpy(text, output.text);
}

static void same_as_since_a_snapshot(void **state) {
    static const mtrace_key_type keys[] = {MTRACE_BY_LINE,
                                           MTRACE_BY_FILE,
                                           MTRACE_BY_FUNCTION,
                                           MTRACE_BY_TYPE,
                                           MTRACE_BY_DOMAIN,
                                           MTRACE_BY_TRACEBACK,
                                           MTRACE_BY_LINE | MTRACE_KEY_CUMULATIVE};
    static char by_old[65536], by_baseline[65536];
    int round, i;
    (void)state;
    for (round = 0; round < 40; round++) {
        mtrace_snapshot *old;
        if (dice(8) == 0) {
            mtrace_clear(); /* retired accounts give their numbers to others */
        }
        assert_int_equal(mtrace_snapshot_take(&old, false, NULL), MTRACE_OK);
        assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
        for (i = (int)dice(60); i > 0; i--) {
            step();
        }
        for (i = 0; i < (int)(sizeof keys / sizeof *keys); i++) {
            print(by_old, old, keys[i]);
            print(by_baseline, NULL, keys[i]);
            assert_string_equal(by_baseline, by_old);
        }
        assert_int_equal(mtrace_growth(by_old, sizeof by_old, old, 3),
                         mtrace_growth(by_baseline, sizeof by_baseline, NULL, 3));
        assert_string_equal(by_baseline, by_old);
        mtrace_snapshot_free(old);
    }
}

#if TEST_ATOMICS
static bool ended;

static void *allocate(void *user) {
    while (!__atomic_load_n(&ended, __ATOMIC_RELAXED)) {
        void *block = MT_MALLOC(10);
        MT_FREE(block);
    }
    return user;
}

/* While others allocate, clear and set a baseline: an answer or an error, and right when they are
   done. */
static void threads_go_on(void **state) {
    pthread_t threads[2];
    int i;
    (void)state;
    ended = false;
    for (i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, allocate, NULL), 0);
    }
    for (i = 0; i < 300; i++) {
        char message[128];
        mtrace_result result = mtrace_set_baseline();
        assert_true(result == MTRACE_OK || result == MTRACE_ERR_CHANGED);
        (void)mtrace_growth(message, sizeof message, NULL, 0);
        if (i % 50 == 0) {
            mtrace_clear();
        }
    }
    __atomic_store_n(&ended, true, __ATOMIC_RELAXED);
    for (i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    expect_growth(NULL, 0, "");
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(start_and_clear_take_the_baseline_away, setup, teardown),
        cmocka_unit_test_setup_teardown(growth_names_the_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(growth_is_by_line, setup, teardown),
        cmocka_unit_test_setup_teardown(no_growth_takes_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(print_desc_is_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(drops_before_do_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(same_as_since_a_snapshot, setup, teardown),
#if TEST_ATOMICS
        cmocka_unit_test_setup_teardown(threads_go_on, setup, teardown),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

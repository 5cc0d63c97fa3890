/* Blocks under check: MT_ASSERT_NO_LEAKS and its like. Each way to leave a block, nesting, threads,
   and what stays as it was: the observer, the baseline, the program's peak, the tracer's memory. */

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif
static void failed(const char *text);
#define MTRACE_FAIL(message) failed(message)
#include "support/test.h"
#include "support/ext.h"
#include "support/threads.h"

#ifdef __GNUC__
#define NOINLINE __attribute__((noinline))
#endif

static char message[1024];
static int failures;
#ifdef __GNUC__
static jmp_buf back;
#endif

static void failed(const char *text) {
    failures++;
    snprintf(message, sizeof message, "%s", text);
}

/* How often a check failed since the last question. */
static int failed_now(void) {
    int n = failures;
    failures = 0;
    return n;
}

static void expect_pass(void) {
    if (failures != 0) {
        fail_msg("%s", message);
    }
}

static void expect_failure(const char *text) {
    assert_int_equal(failed_now(), 1);
    assert_string_equal(message, text);
}

static int setup(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.max_blocks = 4096;
    desc.max_sites = 256;
    failures = 0;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    assert_null(test_observer().call);
    assert_int_equal(failures, 0);
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

/* --- verdicts --- */

static void leaks_are_named(void **state) {
    (void)state;
    track(1, 100, 1);
    MT_ASSERT_NO_LEAKS {
        track(2, 50, 2);
        untrack(2);
        track(2, 50, 1);
        untrack(1);
    }
    expect_pass();
    MT_ASSERT_NO_LEAKS {
        track(3, 5, 3);
        track(4, 7, 4);
        track(5, 1, 1);
        untrack(2);
    }
    expect_failure("memory grew by 12 B (tolerance 0 B):\n"
                   "a.c:4: warning: grew by +7 B in +1 block, allocated in f\n"
                   "a.c:3: warning: grew by +5 B in +1 block, allocated in f");
}

static void blocks_without_size_are_counted(void **state) {
    (void)state;
    MT_ASSERT_NO_LEAKS {
        track(1, 0, 1);
    }
    expect_failure("memory grew by 1 block (tolerance 0 B):\n"
                   "a.c:1: warning: grew by +0 B in +1 block, allocated in f");
    MT_ASSERT_NO_LEAKS {
        track(2, 0, 1);
        track(3, 0, 1);
        track(4, 5, 2);
    }
    expect_failure("memory grew by 5 B and 2 blocks (tolerance 0 B):\n"
                   "a.c:2: warning: grew by +5 B in +1 block, allocated in f\n"
                   "a.c:1: warning: grew by +0 B in +2 blocks, allocated in f");
}

/* A cache is filled by the first run. The checked one is the second. */
static void a_warm_run_fills_caches(void **state) {
    static int runs;
    (void)state;
    runs = 0;
    MT_ASSERT_NO_LEAKS_WARM {
        runs++;
        if (runs == 1) {
            track(1, 100, 1);
        }
    }
    expect_pass();
    assert_int_equal(runs, 2);
    MT_ASSERT_NO_LEAKS_WARM {
        track((uintptr_t)++runs, 10, 2);
    }
    assert_int_equal(runs, 4);
    expect_failure("memory grew by 10 B (tolerance 0 B):\n"
                   "a.c:2: warning: grew by +10 B in +1 block, allocated in f");
}

static void rises_to(uint64_t bytes) {
    track(2, bytes - 300, 2);
    track(3, 300, 3);
    untrack(1);
    untrack(2);
    untrack(3);
    track(1, 100, 1);
}

static void peaks_are_measured_from_the_beginning(void **state) {
    (void)state;
    track(1, 100, 1);
    MT_ASSERT_PEAK_BELOW(1001) {
        rises_to(1000);
    }
    expect_pass();
    MT_ASSERT_PEAK_BELOW(1000) {
        rises_to(1000);
        rises_to(2000);
    }
    expect_failure("memory rose by 2000 B (not below 1000 B), there:\n"
                   "a.c:2: warning: grew by +700 B in +1 block, allocated in f\n"
                   "a.c:3: warning: grew by +300 B in +1 block, allocated in f");
    MT_ASSERT_PEAK_BELOW(0) {}
    expect_failure("memory rose by 0 B (not below 0 B), there:");
}

static void allocations_are_counted(void **state) {
    void *block;
    int i;
    (void)state;
    track(1, 100, 1);
    MT_ASSERT_ALLOCATIONS_AT_MOST(3) {
        track(2, 5, 1);
        for (i = 0; i < 2; i++) {
            track(3, 1, 2);
            untrack(3);
        }
    }
    expect_pass();
    MT_ASSERT_ALLOCATIONS_AT_MOST(0) {
        track(3, 1000, 1);
        for (i = 0; i < 12; i++) {
            track(4, 2, 2);
            untrack(4);
        }
    }
    expect_failure("13 allocations (at most 0):\n"
                   "a.c:2: warning: 12 allocations of 24 B in f\n"
                   "a.c:1: warning: 1 allocation of 1000 B in f");
    MT_ASSERT_ALLOCATIONS_AT_MOST(1) { /* a realloc is one */
        block = MT_MALLOC(10);
        block = MT_REALLOC(block, 20);
        MT_FREE(block);
    }
    assert_int_equal(failed_now(), 1);
    assert_non_null(strstr(message, "2 allocations (at most 1):\n"));
}

/* --- what they leave alone --- */

static void the_peak_and_the_baseline_stay(void **state) {
    char text[256];
    (void)state;
    track(1, 5000, 1);
    untrack(1);
    track(2, 10, 2);
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    track(3, 7, 3);
    MT_ASSERT_NO_LEAKS {
        MT_ASSERT_PEAK_BELOW(101) {
            MT_ASSERT_ALLOCATIONS_AT_MOST(1) {
                track(4, 100, 4);
                untrack(4);
            }
        }
    }
    expect_pass();
    assert_int_equal(mtrace_get_traced_memory().peak, 5000);
    assert_int_equal(mtrace_growth(text, sizeof text, NULL, 0), 7);
}

static void nested_blocks_are_checked_each(void **state) {
    (void)state;
    MT_ASSERT_NO_LEAKS {
        MT_ASSERT_NO_LEAKS {
            track(1, 10, 1);
        }
        assert_int_equal(failed_now(), 1);
        MT_ASSERT_PEAK_BELOW(100) {
            MT_ASSERT_PEAK_BELOW(50) {
                MT_ASSERT_PEAK_BELOW(100) {
                    track(2, 60, 2);
                }
                expect_pass();
            }
            assert_int_equal(failed_now(), 1);
            track(3, 40, 3);
        }
        expect_failure("memory rose by 100 B (not below 100 B), there:\n"
                       "a.c:2: warning: grew by +60 B in +1 block, allocated in f\n"
                       "a.c:3: warning: grew by +40 B in +1 block, allocated in f");
        untrack(1);
        untrack(2);
        untrack(3);
    }
    expect_pass();
}

static void *used(void *unused) {
    MT_FREE(MT_MALLOC(500));
    return unused;
}

/* A measured call inside of a block ends nothing but itself. */
static void measured_calls_nest(void **state) {
    mtrace_usage usage = MTRACE_ZERO_;
    (void)state;
    MT_ASSERT_PEAK_BELOW(501) {
        assert_int_equal(mtrace_memory_usage(&usage, used, NULL), MTRACE_OK);
        assert_int_equal(usage.peak, 500);
        MT_FREE(MT_MALLOC(10));
    }
    expect_pass();
    MT_ASSERT_PEAK_BELOW(500) {
        assert_int_equal(mtrace_memory_usage(&usage, used, NULL), MTRACE_OK);
    }
    assert_int_equal(failed_now(), 1);
}

/* --- ways out --- */

#ifdef __GNUC__ /* others have no cleanup, and do not know frames */
static NOINLINE void returns(void) {
    MT_ASSERT_PEAK_BELOW(1) {
        MT_ASSERT_NO_LEAKS {
            track(1, 10, 1);
            return;
        }
    }
}

static NOINLINE void goes_out(void) {
    MT_ASSERT_NO_LEAKS {
        MT_ASSERT_PEAK_BELOW(1) {
            track(2, 10, 1);
            goto out;
        }
    }
out:
    return;
}

static NOINLINE void breaks(void) {
    int rounds = 0;
    while (rounds < 3) {
        rounds++;
        MT_ASSERT_PEAK_BELOW(1) {
            track((uintptr_t)(10 + rounds), 10, 1);
            break;
        }
    }
    assert_int_equal(rounds, 3);
}

/* Left early, a block is not checked, and nothing stays behind. */
static void a_block_left_early_is_not_checked(void **state) {
    size_t before;
    (void)state;
    MT_ASSERT_NO_LEAKS {}
    test_give_kept_back();
    before = mtrace_get_tracer_memory();
    returns();
    goes_out();
    breaks();
    assert_null(test_observer().call);
    test_give_kept_back();
    assert_int_equal(mtrace_get_tracer_memory(), before);
    expect_pass();
}
static NOINLINE void jumps(uint64_t size) {
    MT_ASSERT_PEAK_BELOW(100) {
        track(1, size, 1);
        untrack(1);
        longjmp(back, 1);
    }
}

static NOINLINE void is_measured(uint64_t size) {
    MT_ASSERT_PEAK_BELOW(100) {
        track(2, size, 2);
        untrack(2);
    }
}

/* As cmocka leaves a block in which an assertion of its own fails. */
static void a_longjmp_leaves_nothing_for_long(void **state) {
    static int i;
    (void)state;
    for (i = 0; i < 100; i++) {
        if (setjmp(back) == 0) {
            jumps(200);
        }
        MT_FREE(MT_MALLOC(10));
    }
    is_measured(99);
    expect_pass();
    is_measured(100);
    assert_int_equal(failed_now(), 1);
    for (i = 0; i < 100; i++) { /* the same block again, in one function */
        if (setjmp(back) == 0) {
            MT_ASSERT_PEAK_BELOW(100) {
                longjmp(back, 1);
            }
        }
    }
    test_measurement_heal((const void *)UINTPTR_MAX);
}

#endif

static void continue_ends_a_block_with_its_check(void **state) {
    int rounds = 0;
    (void)state;
    MT_ASSERT_NO_LEAKS {
        rounds++;
        track(1, 10, 1);
        if (rounds == 1) {
            continue;
        }
        track(2, 10, 1);
    }
    assert_int_equal(rounds, 1);
    assert_int_equal(failed_now(), 1);
}

/* It is one statement, and its limit is evaluated once. */
static void a_block_is_one_statement(void **state) {
    uint64_t limit = 1;
    int other = 0;
    (void)state;
    if (failures == 1)
        MT_ASSERT_NO_LEAKS track(1, 1, 1);
    else
        other++;
    assert_int_equal(other, 1);
    MT_ASSERT_PEAK_BELOW(limit *= 10)
    MT_ASSERT_ALLOCATIONS_AT_MOST(limit *= 10) {
        MT_FREE(MT_MALLOC(9));
    }
    assert_int_equal(limit, 100);
    expect_pass();
}

/* --- nobody can tell --- */

static void expect_doubt(const char *why) {
    char text[256];
    snprintf(text, sizeof text, "cannot tell about the block: %s", why);
    expect_failure(text);
}

static void checks_each_doubt(void (*act)(void), const char *why) {
    MT_ASSERT_NO_LEAKS {
        act();
    }
    expect_doubt(why);
    MT_ASSERT_PEAK_BELOW(1000) {
        act();
    }
    expect_doubt(why);
    MT_ASSERT_ALLOCATIONS_AT_MOST(1000) {
        act();
    }
    expect_doubt(why);
}

static void nothing(void) {}

static void pauses(void) {
    mtrace_pause();
}

static void pauses_for_a_while(void) {
    mtrace_pause();
    MT_FREE(MT_MALLOC(5000)); /* nobody sees it */
    mtrace_resume();
}

static void starts_anew(void) {
    mtrace_stop();
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
}

static void a_pause_cannot_be_told(void **state) {
    (void)state;
    mtrace_pause();
    checks_each_doubt(nothing, "not tracing");
    mtrace_resume();
    MT_ASSERT_NO_LEAKS {
        pauses();
    }
    expect_doubt("not tracing");
    mtrace_resume();
    checks_each_doubt(pauses_for_a_while, "paused in between");
    MT_ASSERT_PEAK_BELOW(100) { /* none left behind */
        MT_FREE(MT_MALLOC(99));
    }
    expect_pass();
    mtrace_stop();
    checks_each_doubt(nothing, "not tracing");
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
}

/* A peak is measured by an observer. */
static void sees(const mtrace_event *event, void *user) {
    const mtrace_observer *before = (const mtrace_observer *)user;
    if (before != NULL) {
        before->call(event, before->user);
    }
}

static void observes_instead(void) {
    mtrace_observer mine = MTRACE_ZERO_;
    mine.call = sees;
    mtrace_set_observer(mine);
}

static void observes_no_more(void) {
    static const mtrace_observer none = MTRACE_ZERO_;
    mtrace_set_observer(none);
    MT_FREE(MT_MALLOC(5000));
}

static void a_replaced_observer_cannot_be_told(void **state) {
    mtrace_observer mine = MTRACE_ZERO_, before;
    (void)state;
    MT_ASSERT_PEAK_BELOW(1000) {
        observes_no_more();
    }
    expect_doubt("the thread's observer was replaced");
    MT_ASSERT_PEAK_BELOW(1000) {
        observes_instead();
    }
    expect_doubt("the thread's observer was replaced");
    MT_ASSERT_PEAK_BELOW(1000) {
        MT_ASSERT_PEAK_BELOW(100) {
            observes_no_more();
        }
        expect_doubt("the thread's observer was replaced");
    }
    expect_doubt("the thread's observer was replaced"); /* nor did this one see it */
    MT_ASSERT_PEAK_BELOW(1000) {                        /* one that ends in time */
        mine.call = sees;
        mine.user = &before;
        before = mtrace_set_observer(mine);
        MT_FREE(MT_MALLOC(999));
        mtrace_set_observer(before);
    }
    expect_pass();
    MT_ASSERT_NO_LEAKS { /* without an observer */
        MT_ASSERT_ALLOCATIONS_AT_MOST(1) {
            observes_no_more();
        }
    }
    expect_pass();
}

static void a_clear_cannot_be_told(void **state) {
    (void)state;
    checks_each_doubt(mtrace_clear, "stopped, started or cleared in between");
    checks_each_doubt(starts_anew, "stopped, started or cleared in between");
    checks_each_doubt(mtrace_stop, "not tracing");
}

static void drops_a_block(void) {
    mtrace_site site = test_site("a.c", 1);
    assert_int_equal(mtrace_track_at(1, 1, UINT64_MAX, &site), MTRACE_ERR_FULL);
}

static void dropped_blocks_cannot_be_told(void **state) {
    char text[256];
    (void)state;
    drops_a_block();
    MT_ASSERT_PEAK_BELOW(1) {} /* before */
    expect_pass();
    MT_ASSERT_PEAK_BELOW(1000) {
        drops_a_block();
    }
    expect_doubt("blocks were not traced, the table was full");
    MT_ASSERT_ALLOCATIONS_AT_MOST(1000) {
        drops_a_block();
    }
    expect_doubt("blocks were not traced, the table was full");
    MT_ASSERT_NO_LEAKS {
        drops_a_block();
    }
    snprintf(text, sizeof text, "cannot tell whether memory grew: %s",
             "blocks were not traced, the table was full");
    expect_failure(text);
}

static void samples_cannot_be_told(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    if (!test_can_sample()) {
        return;
    }
    mtrace_stop();
    desc.sample_interval = 4096;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    MT_ASSERT_PEAK_BELOW(1000) {}
    expect_doubt("sampling, figures are estimates");
    MT_ASSERT_ALLOCATIONS_AT_MOST(1000) {}
    expect_doubt("sampling, figures are estimates");
    MT_ASSERT_NO_LEAKS {}
    expect_failure("cannot tell whether memory grew: sampling, figures are estimates");
}

static void nests(int depth) {
    MT_ASSERT_PEAK_BELOW(1000) {
        if (depth > 1) {
            nests(depth - 1);
        }
    }
}

static void sixteen_peaks_at_once(void **state) {
    (void)state;
    nests(16);
    expect_pass();
    nests(17);
    expect_doubt(mtrace_result_text(MTRACE_ERR_FULL_USAGE));
    nests(16);
    expect_pass();
}

/* --- other threads --- */

static void *allocates(void *unused) {
    track(100, 1000, 9);
    return unused;
}

static void other_threads_leak_and_allocate_but_have_peaks_of_their_own(void **state) {
    (void)state;
    MT_ASSERT_NO_LEAKS {
        MT_ASSERT_ALLOCATIONS_AT_MOST(0) {
            /* with a lock all tasks have one observer */
            MT_ASSERT_PEAK_BELOW(TEST_ATOMICS ? 1000 : 1001) {
                test_in_thread(allocates, NULL);
            }
            expect_pass();
        }
        expect_failure("1 allocation (at most 0):\na.c:9: warning: 1 allocation of 1000 B in f");
    }
    expect_failure("memory grew by 1000 B (tolerance 0 B):\n"
                   "a.c:9: warning: grew by +1000 B in +1 block, allocated in f");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(leaks_are_named),
        TEST(blocks_without_size_are_counted),
        TEST(a_warm_run_fills_caches),
        TEST(peaks_are_measured_from_the_beginning),
        TEST(allocations_are_counted),
        TEST(the_peak_and_the_baseline_stay),
        TEST(nested_blocks_are_checked_each),
        TEST(measured_calls_nest),
#ifdef __GNUC__
        TEST(a_block_left_early_is_not_checked),
        TEST(a_longjmp_leaves_nothing_for_long),
#endif
        TEST(continue_ends_a_block_with_its_check),
        TEST(a_block_is_one_statement),
        TEST(a_pause_cannot_be_told),
        TEST(a_replaced_observer_cannot_be_told),
        TEST(a_clear_cannot_be_told),
        TEST(dropped_blocks_cannot_be_told),
        TEST(samples_cannot_be_told),
        TEST(sixteen_peaks_at_once),
        TEST(other_threads_leak_and_allocate_but_have_peaks_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

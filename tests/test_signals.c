/* A signal handler tracks keys, new call sites among them, while the program it interrupts does the
   same: nothing is lost, whatever instruction it came at. It may intern call sites, too. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"

#include <signal.h>
#include <sys/time.h>

enum { SIGNALS = 3000 };

static volatile sig_atomic_t handled;
static uint64_t tracked_bytes; /* the handler's */
static mtrace_site main_sites[2];

static void handler(int number) {
    mtrace_site site = MTRACE_ZERO_;
    uintptr_t key = 1000000 + (uintptr_t)handled % 50;
    mtrace_traced_memory memory;
    (void)number;
    site.file = "handler.c";
    site.line = 1 + (uint32_t)handled % 40; /* now and then a site never seen before */
    if (mtrace_track_at(2, key, 10, &site) == MTRACE_OK) {
        tracked_bytes += 10;
    }
    if (handled % 3 == 0) {
        (void)mtrace_untrack_at(2, key, &site);
    }
    memory = mtrace_get_traced_memory();
    if (memory.peak < memory.current) {
        abort();
    }
    handled = handled + 1;
}

#if TEST_ATOMICS /* locks, and no locks at all, promise nothing to handlers */
static void test_handler_records(void **state) {
    struct sigaction action;
    struct itimerval timer = {{0, 50}, {0, 50}}, off = {{0, 0}, {0, 0}};
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *snapshot;
    mtrace_statistics *s;
    uint64_t main_bytes = 0, i;
    (void)state;
    desc.capacity = 1024;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    main_sites[0] = test_site("main.c", 1);
    main_sites[1] = test_site("main.c", 2);
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
    for (i = 0; handled < SIGNALS; i++) {
        assert_int_equal(mtrace_track_at(1, i % 64, 7, &main_sites[i % 2]), MTRACE_OK);
        main_bytes += 7;
        if (i % 5 == 0) {
            assert_int_equal(mtrace_untrack_at(1, i % 64, NULL), MTRACE_OK);
        }
    }
    assert_int_equal(setitimer(ITIMER_REAL, &off, NULL), 0);
    test_sound();
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    assert_int_equal(mtrace_snapshot_take(&snapshot, false, NULL), MTRACE_OK);
    mtrace_snapshot_set_view(snapshot, MTRACE_VIEW_TOTAL);
    assert_int_equal(mtrace_snapshot_statistics(&s, snapshot, MTRACE_BY_DOMAIN, NULL), MTRACE_OK);
    assert_int_equal(s->count, 2);
    assert_int_equal(s->rows[0].domain == 1 ? s->rows[0].size : s->rows[1].size, main_bytes);
    assert_int_equal(s->rows[0].domain == 2 ? s->rows[0].size : s->rows[1].size, tracked_bytes);
    mtrace_statistics_free(s);
    mtrace_snapshot_free(snapshot);
    mtrace_stop();
}

enum { LINES = 100, INTERRUPTIONS = 300 };
static mtrace_site *by_handler[LINES];
static volatile sig_atomic_t current;

static void interning_handler(int number) {
    (void)number;
    by_handler[current] = mtrace_site_intern("handled.c", NULL, NULL, (uint32_t)current);
    handled = handled + 1;
}

/* It interrupts a thread that asks for the same site. */
static void test_handler_interns(void **state) {
    static mtrace_site *sites[LINES];
    struct sigaction action;
    struct itimerval timer = {{0, 50}, {0, 50}}, off = {{0, 0}, {0, 0}};
    int i;
    (void)state;
    memset(&action, 0, sizeof action);
    action.sa_handler = interning_handler;
    handled = 0;
    assert_non_null(mtrace_site_intern("first.c", NULL, NULL, 1));
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
    for (i = 0; i < LINES || handled < INTERRUPTIONS; i++) {
        current = i % LINES;
        sites[current] = mtrace_site_intern("handled.c", NULL, NULL, (uint32_t)current);
    }
    assert_int_equal(setitimer(ITIMER_REAL, &off, NULL), 0);
    for (i = 0; i < LINES; i++) {
        assert_int_equal(sites[i]->line, i);
        assert_true(by_handler[i] == NULL || by_handler[i] == sites[i]);
    }
}
#else
static void test_handler_interns(void **state) {
    (void)state;
    assert_ptr_equal(mtrace_site_intern("a.c", NULL, NULL, 1),
                     mtrace_site_intern("a.c", NULL, NULL, 1));
}

static void test_handler_records(void **state) {
    (void)state;
    handler(0); /* stopped: tracks nothing, harms nothing */
    assert_int_equal(tracked_bytes, 0);
    assert_int_equal(main_sites[0].line, 0);
    assert_int_equal(SIGNALS, 3000);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_handler_records),
                                       cmocka_unit_test(test_handler_interns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

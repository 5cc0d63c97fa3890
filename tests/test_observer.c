/* Observers: the events that a thread gets for its own calls add up to all changes of the traced
   memory. Every callback of the user may allocate and free. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"
#include "support/threads.h"
#include "support/tools.h"

enum { ANY = 100 };

typedef struct event_log {
    mtrace_event last;
    mtrace_event sum;
    int calls;
    bool allocates;
    void *kept; /* of what it allocated */
} event_log;

static void add(mtrace_event *sum, const mtrace_event *event) {
    sum->freed_size += event->freed_size;
    sum->allocated_size += event->allocated_size;
    sum->dropped_size += event->dropped_size;
    sum->freed += event->freed;
    sum->allocated += event->allocated;
    sum->dropped += event->dropped;
}

static void log_event(const mtrace_event *event, void *user) {
    event_log *log = (event_log *)user;
    log->last = *event;
    log->calls++;
    add(&log->sum, event);
    if (log->allocates) {
        assert_true(log->calls < 100);
        MT_FREE(log->kept);
        log->kept = MT_REALLOC(MT_MALLOC(80), 160);
        MT_FREE(MT_STRDUP("a line"));
    }
}

static mtrace_observer observe(event_log *log) {
    mtrace_observer observer;
    observer.call = log_event;
    observer.user = log;
    return mtrace_set_observer(observer);
}

static void observe_nothing(void) {
    mtrace_observer none = MTRACE_ZERO_;
    mtrace_set_observer(none);
}

static int stop(void **state) {
    observe_nothing();
    return test_stop_after(state);
}

#define OBSERVER_TEST(function) cmocka_unit_test_teardown(function, stop)

static void start(void) {
    test_start_scoped(2048, 0, 4);
}

static void expect(event_log *log, uint64_t freed, uint64_t allocated, uint32_t line) {
    assert_int_equal(log->calls, 1);
    assert_int_equal(log->last.freed_size, freed);
    assert_int_equal(log->last.allocated_size, allocated);
    assert_int_equal(log->last.freed, freed != 0);
    assert_int_equal(log->last.allocated, allocated != 0);
    assert_int_equal(log->last.dropped, 0);
    if (line != ANY) {
        assert_int_equal(log->last.site->line, line);
    }
    log->calls = 0;
}

static void test_each_change_is_an_event(void **state) {
    event_log log = MTRACE_ZERO_;
    mtrace_site site = test_site("w.c", 7);
    mtrace_scope before;
    char *block, *other;
    (void)state;
    start();
    observe(&log);
    block = (char *)mtrace_malloc_at(10, &site);
    expect(&log, 0, 10, 7);
    block = (char *)mtrace_realloc_at(block, 30, &site);
    expect(&log, 10, 30, 7);
    other = mtrace_strndup_at("four", SIZE_MAX, &site);
    expect(&log, 0, 5, 7);
    mtrace_free_at(other, &site);
    expect(&log, 5, 0, 7);
    other = (char *)mtrace_calloc_in_at(3, 2, 8, &site);
    expect(&log, 0, 16, 7);
    MT_FREE(other);
    expect(&log, 16, 0, ANY);
    before = mtrace_scope_push_at(&site);
    other = (char *)MT_ALIGNED_ALLOC(64, 128);
    expect(&log, 0, 128, ANY);
    mtrace_scope_restore(before);
    MT_FREE(other);
    expect(&log, 128, 0, ANY);
    assert_int_equal(mtrace_track_at(5, 77, 1000, &site), MTRACE_OK);
    expect(&log, 0, 1000, 7);
    assert_int_equal(mtrace_track_at(5, 77, 2000, NULL), MTRACE_OK);
    expect(&log, 1000, 2000, 0);
    assert_int_equal(mtrace_untrack_at(5, 77, &site), MTRACE_OK);
    expect(&log, 2000, 0, 7);
    assert_int_equal(mtrace_realloc_at(block, 0, &site) == NULL, true);
    expect(&log, 30, 0, 7);
    test_sound();
}

static void test_no_event_without_a_change(void **state) {
    event_log log = MTRACE_ZERO_;
    char *block, *foreign = (char *)malloc(10);
    (void)state;
    start();
    block = (char *)MT_MALLOC(10);
    observe(&log);
    test_fail_next = 1;
    assert_null(MT_MALLOC(10));
    test_fail_next = 1;
    assert_null(MT_REALLOC(block, 20));
    MT_FREE(NULL);
    MT_FREE(foreign);
    assert_int_equal(mtrace_untrack_at(5, 77, NULL), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(log.calls, 0);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    MT_FREE(MT_MALLOC(10));
    assert_int_equal(log.calls, 0);
    MT_FREE(block); /* a traced block: also notified in a pause */
    expect(&log, 10, 0, ANY);
    observe_nothing();
    mtrace_resume();
    MT_FREE(MT_MALLOC(10));
    assert_int_equal(log.calls, 0);
}

static void test_events_of_stale_traces_and_drops(void **state) {
    event_log log = MTRACE_ZERO_;
    static char things[64][64];
    uint32_t i;
    (void)state;
    test_start(8, 0);
    observe(&log);
    mtrace_track_at(0, (uintptr_t)things[0], 10, NULL);
    mtrace_track_at(0, (uintptr_t)things[0], 20, NULL); /* the same address: the first was stale */
    assert_int_equal(log.last.freed_size, 10);
    assert_int_equal(log.last.allocated_size, 20);
    for (i = 1; i < 64; i++) {
        mtrace_track_at(0, (uintptr_t)things[i], 1, NULL);
    }
    assert_int_equal(log.sum.dropped, mtrace_get_info().dropped_count);
    assert_int_equal(log.sum.dropped_size, mtrace_get_info().dropped_bytes);
    assert_true(log.sum.dropped > 0);
    assert_int_equal(log.sum.allocated_size - log.sum.freed_size,
                     mtrace_get_traced_memory().current);
}

static void test_an_observer_may_allocate(void **state) {
    event_log log = MTRACE_ZERO_;
    mtrace_block found;
    void *block;
    (void)state;
    start();
    observe(&log);
    log.allocates = true;
    block = MT_MALLOC(10);
    expect(&log, 0, 10, ANY);
    assert_int_equal(mtrace_get_traced_memory().current, 170);
    assert_int_equal(mtrace_find(&found, log.kept), MTRACE_OK);
    assert_int_equal(found.size, 160);
    block = MT_REALLOC(block, 20);
    expect(&log, 10, 20, ANY);
    assert_int_equal(mtrace_track_at(5, 77, 1000, NULL), MTRACE_OK);
    expect(&log, 0, 1000, 0);
    assert_int_equal(mtrace_untrack_at(5, 77, NULL), MTRACE_OK);
    expect(&log, 1000, 0, 0);
    MT_FREE(block);
    expect(&log, 20, 0, ANY);
    assert_int_equal(mtrace_get_traced_memory().current, 160);
    observe_nothing();
    MT_FREE(log.kept);
    test_sound();
}

static jmp_buf jump;

static void jump_out(const mtrace_event *event, void *user) {
    (void)event;
    ++*(int *)user;
    longjmp(jump, 1);
}

/* Tracks a key `depth` frames further down the stack. A block would be lost. */
static int track_deeper(int depth) {
    volatile int below = depth > 0 ? track_deeper(depth - 1) : (int)mtrace_track_at(5, 1, 10, NULL);
    return below + 1; /* no tail call */
}

/* Where a thread has atomics of its own, its stack shows that the callback is over. */
static void test_longjmp_out_of_an_observer(void **state) {
    static int calls;
    mtrace_observer observer;
    (void)state;
    start();
    calls = 0;
    observer.call = jump_out;
    observer.user = &calls;
    mtrace_set_observer(observer);
    if (setjmp(jump) == 0) {
        track_deeper(64);
    }
    if (setjmp(jump) == 0) {
        (void)mtrace_track_at(5, 2, 10, NULL);
    }
    assert_int_equal(calls, TEST_ATOMICS ? 2 : 1);
}

static struct {
    test_output out;
    int depth;
    int deepest;
} w; /* the writer */

static void enter(void) {
    w.depth++;
    w.deepest = w.depth > w.deepest ? w.depth : w.deepest;
    assert_true(w.depth < 100);
}

/* Makes a copy of the line: some blocks are traced, some are not. */
static void write_a_copy(const char *text, size_t length, void *user) {
    char *copy = (char *)malloc(length);
    void *other = MT_MALLOC(length);
    assert_ptr_equal(user, &w);
    enter();
    memcpy(copy, text, length);
    test_write(copy, length, &w.out);
    MT_FREE(copy);
    MT_FREE(other);
    w.depth--;
}

static bool source_in_a_copy(char *buffer, size_t size, const char *file, uint32_t line,
                             void *user) {
    char *copy = (char *)malloc(size);
    (void)file;
    (void)line;
    assert_ptr_equal(user, &w);
    enter();
    strcpy(copy, "a line");
    strcpy(buffer, copy);
    MT_FREE(copy);
    w.depth--;
    return true;
}

static void start_reporting(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    memset(&w, 0, sizeof w);
    desc.foreign_free = MTRACE_FOREIGN_REPORT;
    desc.write = write_a_copy;
    desc.write_user = &w;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static int reports(void) {
    const char *at = w.out.text;
    int count = 0;
    while ((at = strstr(at, "warning: free of a pointer")) != NULL) {
        at++;
        count++;
    }
    return count;
}

static void test_a_writer_may_allocate(void **state) {
    event_log log = MTRACE_ZERO_;
    (void)state;
    start_reporting();
    observe(&log);
    MT_FREE(malloc(10));
    assert_int_equal(w.deepest, 1);
    assert_int_equal(reports(), 1);
    assert_int_equal(mtrace_get_info().foreign_frees, 2); /* the writer's is counted */
    MT_FREE(malloc(10));
    assert_int_equal(reports(), 2);
    assert_int_equal(mtrace_print_top(1), MTRACE_OK);
    assert_int_equal(reports(), 2);
    assert_int_equal(w.deepest, 1);
    assert_int_equal(log.calls, 0);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    test_sound();
}

static void test_a_source_may_allocate(void **state) {
    mtrace_frame frame = MTRACE_ZERO_;
    mtrace_traceback traceback = MTRACE_ZERO_;
    char text[100];
    (void)state;
    start_reporting();
    frame.file = "a.c";
    frame.line = 7;
    traceback.frames = &frame;
    traceback.count = traceback.total = 1;
    mtrace_format_traceback(text, sizeof text, &traceback, MTRACE_ALL_FRAMES, false,
                            source_in_a_copy, &w);
    assert_non_null(strstr(text, "a line"));
    assert_int_equal(w.deepest, 1);
    assert_string_equal(w.out.text, "");
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
}

static void test_nested_observers(void **state) {
    event_log a = MTRACE_ZERO_, b = MTRACE_ZERO_;
    mtrace_observer before;
    (void)state;
    start();
    assert_null(observe(&a).call);
    before = observe(&b);
    assert_ptr_equal(before.user, &a);
    assert_ptr_equal(test_observer().user, &b);
    MT_FREE(MT_MALLOC(10));
    mtrace_set_observer(before);
    MT_FREE(MT_MALLOC(20));
    assert_int_equal(b.sum.allocated_size, 10);
    assert_int_equal(a.sum.allocated_size, 20);
}

static void *other_thread(void *user) {
    event_log *log = (event_log *)user;
    void *block = MT_MALLOC(100);
    assert_null(test_observer().call);
    observe(log);
    MT_FREE(block);
    observe_nothing();
    return NULL;
}

static void test_each_thread_has_its_observer(void **state) {
    event_log mine = MTRACE_ZERO_, other = MTRACE_ZERO_;
    (void)state;
    start();
    observe(&mine);
    if (!TEST_ATOMICS) {
        return; /* then all threads share one: see test_nested_observers */
    }
    test_in_thread(other_thread, &other);
    assert_int_equal(mine.calls, 0);
    assert_int_equal(other.sum.freed_size, 100);
    assert_int_equal(other.sum.allocated_size, 0);
}

/* 20,000 random calls: after each one the events add up to the traced memory. */
static void test_events_add_up(void **state) {
    enum { BLOCKS = 100, STEPS = 20000 };
    void *blocks[BLOCKS] = {NULL};
    event_log log = MTRACE_ZERO_;
    uint32_t random = 1, i;
    (void)state;
    start();
    observe(&log);
    for (i = 0; i < STEPS; i++) {
        uint32_t at = test_random(&random, BLOCKS), kind = test_random(&random, 16);
        if (kind < 4) {
            MT_FREE(blocks[at]);
            blocks[at] = NULL;
        } else if (kind < 5) {
            free(blocks[at]); /* behind the library's back */
            blocks[at] = NULL;
        } else {
            blocks[at] = MT_REALLOC(blocks[at], test_random(&random, 1000) + 1);
        }
        assert_int_equal(log.sum.allocated_size - log.sum.freed_size,
                         mtrace_get_traced_memory().current);
        assert_int_equal(log.sum.allocated - log.sum.freed, mtrace_get_info().live);
    }
    observe_nothing();
    for (i = 0; i < BLOCKS; i++) {
        MT_FREE(blocks[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        OBSERVER_TEST(test_each_change_is_an_event),
        OBSERVER_TEST(test_no_event_without_a_change),
        OBSERVER_TEST(test_events_of_stale_traces_and_drops),
        OBSERVER_TEST(test_an_observer_may_allocate),
        OBSERVER_TEST(test_longjmp_out_of_an_observer),
        OBSERVER_TEST(test_a_writer_may_allocate),
        OBSERVER_TEST(test_a_source_may_allocate),
        OBSERVER_TEST(test_nested_observers),
        OBSERVER_TEST(test_each_thread_has_its_observer),
        OBSERVER_TEST(test_events_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

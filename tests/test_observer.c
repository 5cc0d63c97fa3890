/* Observers: the events that a thread gets for its own calls add up to all changes of the traced
   memory. Every callback of the user may allocate and free. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"
#include "support/tools.h"

#include <pthread.h>

enum { ANY = 100 };

typedef struct told {
    mtrace_event last;
    mtrace_event sum;
    int calls;
    bool allocates;
    void *kept; /* of what it allocated */
} told;

static void add(mtrace_event *sum, const mtrace_event *event) {
    sum->freed_size += event->freed_size;
    sum->allocated_size += event->allocated_size;
    sum->dropped_size += event->dropped_size;
    sum->freed += event->freed;
    sum->allocated += event->allocated;
    sum->dropped += event->dropped;
}

static void listen(const mtrace_event *event, void *user) {
    told *t = (told *)user;
    t->last = *event;
    t->calls++;
    add(&t->sum, event);
    if (t->allocates) {
        assert_true(t->calls < 100);
        MT_FREE(t->kept);
        t->kept = MT_REALLOC(MT_MALLOC(80), 160);
        MT_FREE(MT_STRDUP("a line"));
    }
}

static mtrace_observer watch(told *t) {
    mtrace_observer observer;
    observer.call = listen;
    observer.user = t;
    return mtrace_set_observer(observer);
}

static void unwatch(void) {
    mtrace_observer none = MTRACE_ZERO_;
    mtrace_set_observer(none);
}

static int stop(void **state) {
    unwatch();
    return test_stop_after(state);
}

static void start(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 2048;
    desc.frames = 4;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static void expect(told *t, uint64_t went, uint64_t came, uint32_t line) {
    assert_int_equal(t->calls, 1);
    assert_int_equal(t->last.freed_size, went);
    assert_int_equal(t->last.allocated_size, came);
    assert_int_equal(t->last.freed, went != 0);
    assert_int_equal(t->last.allocated, came != 0);
    assert_int_equal(t->last.dropped, 0);
    if (line != ANY) {
        assert_int_equal(t->last.site->line, line);
    }
    t->calls = 0;
}

static void test_each_call_is_told(void **state) {
    told t = MTRACE_ZERO_;
    mtrace_site site = test_site("w.c", 7);
    mtrace_scope way;
    char *block, *other;
    (void)state;
    start();
    watch(&t);
    block = (char *)mtrace_malloc_at(10, &site);
    expect(&t, 0, 10, 7);
    block = (char *)mtrace_realloc_at(block, 30, &site);
    expect(&t, 10, 30, 7);
    other = mtrace_strdup_at("four", &site);
    expect(&t, 0, 5, 7);
    mtrace_free_at(other, &site);
    expect(&t, 5, 0, 7);
    other = (char *)mtrace_calloc_in_at(3, 2, 8, &site);
    expect(&t, 0, 16, 7);
    MT_FREE(other);
    expect(&t, 16, 0, ANY);
    way = mtrace_scope_push_at(&site);
    other = (char *)MT_ALIGNED_ALLOC(64, 128);
    expect(&t, 0, 128, ANY);
    mtrace_scope_pop(way);
    MT_FREE(other);
    expect(&t, 128, 0, ANY);
    assert_int_equal(mtrace_track_at(5, 77, 1000, &site), MTRACE_OK);
    expect(&t, 0, 1000, 7);
    assert_int_equal(mtrace_track_at(5, 77, 2000, NULL), MTRACE_OK);
    expect(&t, 1000, 2000, 0);
    assert_int_equal(mtrace_untrack_at(5, 77, &site), MTRACE_OK);
    expect(&t, 2000, 0, 7);
    assert_int_equal(mtrace_realloc_at(block, 0, &site) == NULL, true);
    expect(&t, 30, 0, 7);
    test_sound();
}

static void test_what_changes_nothing_is_not_told(void **state) {
    told t = MTRACE_ZERO_;
    char *block, *foreign = (char *)malloc(10);
    (void)state;
    start();
    block = (char *)MT_MALLOC(10);
    watch(&t);
    test_fail_next = 1;
    assert_null(MT_MALLOC(10));
    test_fail_next = 1;
    assert_null(MT_REALLOC(block, 20));
    MT_FREE(NULL);
    MT_FREE(foreign);
    assert_int_equal(mtrace_untrack_at(5, 77, NULL), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(t.calls, 0);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    MT_FREE(MT_MALLOC(10));
    assert_int_equal(t.calls, 0);
    MT_FREE(block); /* a traced block: also notified in a pause */
    expect(&t, 10, 0, ANY);
    unwatch();
    mtrace_resume();
    MT_FREE(MT_MALLOC(10));
    assert_int_equal(t.calls, 0);
}

static void test_stale_traces_and_drops_are_told(void **state) {
    told t = MTRACE_ZERO_;
    mtrace_desc desc = MTRACE_ZERO_;
    static char things[64][64];
    uint32_t i;
    (void)state;
    desc.max_blocks = 8;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    watch(&t);
    mtrace_track_at(0, (uintptr_t)things[0], 10, NULL);
    mtrace_track_at(0, (uintptr_t)things[0], 20, NULL); /* the same address: the first was stale */
    assert_int_equal(t.last.freed_size, 10);
    assert_int_equal(t.last.allocated_size, 20);
    for (i = 1; i < 64; i++) {
        mtrace_track_at(0, (uintptr_t)things[i], 1, NULL);
    }
    assert_int_equal(t.sum.dropped, mtrace_get_info().dropped_count);
    assert_int_equal(t.sum.dropped_size, mtrace_get_info().dropped_bytes);
    assert_true(t.sum.dropped > 0);
    assert_int_equal(t.sum.allocated_size - t.sum.freed_size, mtrace_get_traced_memory().current);
}

static void test_an_observer_may_allocate(void **state) {
    told t = MTRACE_ZERO_;
    mtrace_block found;
    void *block;
    (void)state;
    start();
    watch(&t);
    t.allocates = true;
    block = MT_MALLOC(10);
    expect(&t, 0, 10, ANY);
    assert_int_equal(mtrace_get_traced_memory().current, 170);
    assert_int_equal(mtrace_find(&found, t.kept), MTRACE_OK);
    assert_int_equal(found.size, 160);
    block = MT_REALLOC(block, 20);
    expect(&t, 10, 20, ANY);
    assert_int_equal(mtrace_track_at(5, 77, 1000, NULL), MTRACE_OK);
    expect(&t, 0, 1000, 0);
    assert_int_equal(mtrace_untrack_at(5, 77, NULL), MTRACE_OK);
    expect(&t, 1000, 0, 0);
    MT_FREE(block);
    expect(&t, 20, 0, ANY);
    assert_int_equal(mtrace_get_traced_memory().current, 160);
    unwatch();
    MT_FREE(t.kept);
    test_sound();
}

static jmp_buf way_out;

static void leap(const mtrace_event *event, void *user) {
    (void)event;
    ++*(int *)user;
    longjmp(way_out, 1);
}

/* Tracks, for a block would be lost, with so many frames more on the stack. */
static int track_below(int depth) {
    volatile int below = depth > 0 ? track_below(depth - 1) : (int)mtrace_track_at(5, 1, 10, NULL);
    return below + 1; /* no tail call */
}

/* Where a thread has atomics of its own it is known by its stack that the callback is over. */
static void test_an_observer_left_by_longjmp(void **state) {
    static int calls;
    mtrace_observer observer;
    (void)state;
    start();
    calls = 0;
    observer.call = leap;
    observer.user = &calls;
    mtrace_set_observer(observer);
    if (setjmp(way_out) == 0) {
        track_below(64);
    }
    if (setjmp(way_out) == 0) {
        (void)mtrace_track_at(5, 2, 10, NULL);
    }
    assert_int_equal(calls, TEST_ATOMICS ? 2 : 1);
}

typedef struct writer {
    test_output out;
    int depth;
    int deepest;
} writer;

static void enter(writer *w) {
    w->depth++;
    w->deepest = w->depth > w->deepest ? w->depth : w->deepest;
    assert_true(w->depth < 100);
}

/* Makes a copy of the line: some blocks are traced, some are not. */
static void write_a_copy(const char *text, size_t length, void *user) {
    writer *w = (writer *)user;
    char *copy = (char *)malloc(length);
    void *other = MT_MALLOC(length);
    enter(w);
    memcpy(copy, text, length);
    test_write(copy, length, &w->out);
    MT_FREE(copy);
    MT_FREE(other);
    w->depth--;
}

static bool source_in_a_copy(char *buffer, size_t size, const char *file, uint32_t line,
                             void *user) {
    char *copy = (char *)malloc(size);
    (void)file;
    (void)line;
    enter((writer *)user);
    strcpy(copy, "a line");
    strcpy(buffer, copy);
    MT_FREE(copy);
    ((writer *)user)->depth--;
    return true;
}

static int reports(const writer *w) {
    const char *at = w->out.text;
    int count = 0;
    while ((at = strstr(at, "warning: free of a pointer")) != NULL) {
        at++;
        count++;
    }
    return count;
}

static void test_a_writer_may_allocate(void **state) {
    static writer w;
    told t = MTRACE_ZERO_;
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    memset(&w, 0, sizeof w);
    desc.foreign_free = MTRACE_FOREIGN_REPORT;
    desc.write = write_a_copy;
    desc.write_user = &w;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    watch(&t);
    MT_FREE(malloc(10));
    assert_int_equal(w.deepest, 1);
    assert_int_equal(reports(&w), 1);
    assert_int_equal(mtrace_get_info().foreign_frees, 2); /* the writer's is counted */
    MT_FREE(malloc(10));
    assert_int_equal(reports(&w), 2);
    mtrace_write_message("hello");
    assert_int_equal(reports(&w), 2);
    assert_int_equal(w.deepest, 1);
    assert_int_equal(t.calls, 0);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    test_sound();
}

static void test_a_source_may_allocate(void **state) {
    static writer w;
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_frame frame = MTRACE_ZERO_;
    mtrace_traceback traceback = MTRACE_ZERO_;
    char text[100];
    (void)state;
    memset(&w, 0, sizeof w);
    desc.foreign_free = MTRACE_FOREIGN_REPORT;
    desc.write = write_a_copy;
    desc.write_user = &w;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
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

static void test_observers_around_each_other(void **state) {
    told a = MTRACE_ZERO_, b = MTRACE_ZERO_;
    mtrace_observer before;
    (void)state;
    start();
    assert_null(watch(&a).call);
    before = watch(&b);
    assert_ptr_equal(before.user, &a);
    assert_ptr_equal(mtrace_get_observer().user, &b);
    MT_FREE(MT_MALLOC(10));
    mtrace_set_observer(before);
    MT_FREE(MT_MALLOC(20));
    assert_int_equal(b.sum.allocated_size, 10);
    assert_int_equal(a.sum.allocated_size, 20);
}

static void *other_thread(void *user) {
    told *t = (told *)user;
    void *block = MT_MALLOC(100);
    assert_null(mtrace_get_observer().call);
    watch(t);
    MT_FREE(block);
    unwatch();
    return NULL;
}

static void test_a_thread_of_its_own(void **state) {
    told mine = MTRACE_ZERO_, its = MTRACE_ZERO_;
    pthread_t thread;
    (void)state;
    start();
    watch(&mine);
    if (!TEST_ATOMICS) {
        return; /* then all threads share one: see test_observers_around_each_other */
    }
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &its), 0);
    pthread_join(thread, NULL);
    assert_int_equal(mine.calls, 0);
    assert_int_equal(its.sum.freed_size, 100);
    assert_int_equal(its.sum.allocated_size, 0);
}

/* 20,000 random calls: after each one the events add up to the traced memory. */
static void test_told_adds_up(void **state) {
    enum { BLOCKS = 100, STEPS = 20000 };
    void *blocks[BLOCKS] = {NULL};
    told t = MTRACE_ZERO_;
    uint32_t random = 1, i;
    (void)state;
    start();
    watch(&t);
    for (i = 0; i < STEPS; i++) {
        uint32_t at;
        random = random * 1664525u + 1013904223u;
        at = (random >> 8) % BLOCKS;
        if ((random >> 28) < 4) {
            MT_FREE(blocks[at]);
            blocks[at] = NULL;
        } else if ((random >> 28) < 5) {
            free(blocks[at]); /* behind the library's back */
            blocks[at] = NULL;
        } else {
            blocks[at] = MT_REALLOC(blocks[at], (random >> 12) % 1000 + 1);
        }
        assert_int_equal(t.sum.allocated_size - t.sum.freed_size,
                         mtrace_get_traced_memory().current);
        assert_int_equal(t.sum.allocated - t.sum.freed, mtrace_get_info().live);
    }
    unwatch();
    for (i = 0; i < BLOCKS; i++) {
        MT_FREE(blocks[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_each_call_is_told, stop),
        cmocka_unit_test_teardown(test_what_changes_nothing_is_not_told, stop),
        cmocka_unit_test_teardown(test_stale_traces_and_drops_are_told, stop),
        cmocka_unit_test_teardown(test_an_observer_may_allocate, stop),
        cmocka_unit_test_teardown(test_an_observer_left_by_longjmp, stop),
        cmocka_unit_test_teardown(test_a_writer_may_allocate, stop),
        cmocka_unit_test_teardown(test_a_source_may_allocate, stop),
        cmocka_unit_test_teardown(test_observers_around_each_other, stop),
        cmocka_unit_test_teardown(test_a_thread_of_its_own, stop),
        cmocka_unit_test_teardown(test_told_adds_up, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

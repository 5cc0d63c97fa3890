/* Watchers: what a thread is told of its own calls, and that it is all that happens to the traced
   memory. */

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
} told;

static void add(mtrace_event *sum, const mtrace_event *event) {
    sum->went_size += event->went_size;
    sum->came_size += event->came_size;
    sum->dropped_size += event->dropped_size;
    sum->went += event->went;
    sum->came += event->came;
    sum->dropped += event->dropped;
}

static void listen(const mtrace_event *event, void *user) {
    told *t = (told *)user;
    t->last = *event;
    t->calls++;
    add(&t->sum, event);
    if (t->allocates) {
        t->allocates = false;
        free(MT_MALLOC(1)); /* a stale trace: the next block there replaces it */
    }
}

static mtrace_watcher watch(told *t) {
    mtrace_watcher watcher;
    watcher.call = listen;
    watcher.user = t;
    return mtrace_watch(watcher);
}

static void unwatch(void) {
    mtrace_watcher none = MTRACE_ZERO_;
    mtrace_watch(none);
}

static int stop(void **state) {
    unwatch();
    return test_stop_after(state);
}

static void start(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.capacity = 4096;
    desc.frames = 4;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static void expect(told *t, uint64_t went, uint64_t came, uint32_t line) {
    assert_int_equal(t->calls, 1);
    assert_int_equal(t->last.went_size, went);
    assert_int_equal(t->last.came_size, came);
    assert_int_equal(t->last.went, went != 0);
    assert_int_equal(t->last.came, came != 0);
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
    MT_FREE(block); /* of a traced block it is told in a pause too */
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
    desc.capacity = 16;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    watch(&t);
    mtrace_track_at(0, (uintptr_t)things[0], 10, NULL);
    mtrace_track_at(0, (uintptr_t)things[0], 20, NULL); /* the same address: the first was stale */
    assert_int_equal(t.last.went_size, 10);
    assert_int_equal(t.last.came_size, 20);
    for (i = 1; i < 64; i++) {
        mtrace_track_at(0, (uintptr_t)things[i], 1, NULL);
    }
    assert_int_equal(t.sum.dropped, mtrace_get_info().dropped_count);
    assert_int_equal(t.sum.dropped_size, mtrace_get_info().dropped_bytes);
    assert_true(t.sum.dropped > 0);
    assert_int_equal(t.sum.came_size - t.sum.went_size, mtrace_get_traced_memory().current);
}

static void test_a_watcher_may_allocate(void **state) {
    told t = MTRACE_ZERO_;
    (void)state;
    start();
    watch(&t);
    t.allocates = true;
    MT_FREE(MT_MALLOC(10));
    assert_int_equal(t.calls, 3);
    assert_int_equal(t.sum.came_size - t.sum.went_size, mtrace_get_traced_memory().current);
}

static void test_watchers_around_each_other(void **state) {
    told a = MTRACE_ZERO_, b = MTRACE_ZERO_;
    mtrace_watcher before;
    (void)state;
    start();
    assert_null(watch(&a).call);
    before = watch(&b);
    assert_ptr_equal(before.user, &a);
    assert_ptr_equal(mtrace_get_watcher().user, &b);
    MT_FREE(MT_MALLOC(10));
    mtrace_watch(before);
    MT_FREE(MT_MALLOC(20));
    assert_int_equal(b.sum.came_size, 10);
    assert_int_equal(a.sum.came_size, 20);
}

static void *other_thread(void *user) {
    told *t = (told *)user;
    void *block = MT_MALLOC(100);
    assert_null(mtrace_get_watcher().call);
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
        return; /* then all threads share one: see test_watchers_around_each_other */
    }
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &its), 0);
    pthread_join(thread, NULL);
    assert_int_equal(mine.calls, 0);
    assert_int_equal(its.sum.went_size, 100);
    assert_int_equal(its.sum.came_size, 0);
}

/* 20,000 random calls: what is told adds up to what is traced, after each of them. */
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
        assert_int_equal(t.sum.came_size - t.sum.went_size, mtrace_get_traced_memory().current);
        assert_int_equal(t.sum.came - t.sum.went, mtrace_get_info().live);
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
        cmocka_unit_test_teardown(test_a_watcher_may_allocate, stop),
        cmocka_unit_test_teardown(test_watchers_around_each_other, stop),
        cmocka_unit_test_teardown(test_a_thread_of_its_own, stop),
        cmocka_unit_test_teardown(test_told_adds_up, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Several threads at once: they allocate, resize and free their own blocks, hand others to each
   other, and one asks questions meanwhile. At the end everything adds up, and mtrace_check() finds
   every structure sound. In the tiny build there are more threads than lanes. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"

#include <pthread.h>

#ifdef MTRACE_SINGLE_THREAD
enum { THREADS = 1 };
#else
enum { THREADS = 4 };
#endif
enum { STEPS = 20000, LIVE = 64, BOX = 128 };

static pthread_mutex_t box_lock = PTHREAD_MUTEX_INITIALIZER;
static void *box[BOX]; /* blocks on their way from one thread to another */
static size_t boxed;
static uint64_t ever[THREADS]; /* bytes each thread has allocated */

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Puts a block in the box, or takes one out; what the thread is to free comes back. */
static void *hand_over(void *block) {
    void *other = NULL;
    pthread_mutex_lock(&box_lock);
    if (boxed < BOX) {
        box[boxed++] = block;
    } else {
        other = box[0];
        box[0] = block;
    }
    pthread_mutex_unlock(&box_lock);
    return other;
}

static void *worker(void *argument) {
    uint64_t *bytes = (uint64_t *)argument;
    uint32_t seed = (uint32_t)(bytes - ever) * 77 + 1;
    void *blocks[LIVE] = MTRACE_ZERO_;
    int i;
    for (i = 0; i < STEPS; i++) {
        void **at = &blocks[next_random(&seed) % LIVE];
        size_t size = next_random(&seed) % 3000;
        if (*at == NULL) {
            *at = MT_MALLOC(size);
            *bytes += size;
        } else if (next_random(&seed) % 4 == 0) {
            *at = MT_REALLOC(*at, size + 1);
            *bytes += size + 1;
        } else if (next_random(&seed) % 4 == 0) {
            void *other = hand_over(*at);
            MT_FREE(other);
            *at = NULL;
        } else {
            MT_FREE(*at);
            *at = NULL;
        }
    }
    for (i = 0; i < LIVE; i++) {
        MT_FREE(blocks[i]);
    }
    return NULL;
}

static void empty_box(void) {
    while (boxed > 0) {
        MT_FREE(box[--boxed]);
    }
}

static void start(size_t capacity) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.capacity = capacity;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    memset(ever, 0, sizeof ever);
}

/* A library built for one thread is used by one at a time. */
#ifdef MTRACE_SINGLE_THREAD
static void wait_if_single(pthread_t thread) {
    assert_int_equal(pthread_join(thread, NULL), 0);
}
static void join_unless_single(const pthread_t *thread) {
    (void)thread;
}
#else
static void wait_if_single(pthread_t thread) {
    (void)thread;
}
static void join_unless_single(const pthread_t *thread) {
    if (thread != NULL) {
        assert_int_equal(pthread_join(*thread, NULL), 0);
    }
}
#endif

static void run_workers(void *(*beside)(void *)) {
    pthread_t threads[THREADS], other;
    int i;
    if (beside != NULL) {
        assert_int_equal(pthread_create(&other, NULL, beside, NULL), 0);
        wait_if_single(other);
    }
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, worker, &ever[i]), 0);
    }
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    join_unless_single(beside != NULL ? &other : NULL);
    empty_box();
}

static mtrace_statistic total_allocated(void) {
    mtrace_snapshot *snapshot;
    mtrace_statistics *s;
    mtrace_statistic total;
    assert_int_equal(mtrace_snapshot_take(&snapshot, false, NULL), MTRACE_OK);
    mtrace_snapshot_set_view(snapshot, MTRACE_VIEW_TOTAL);
    assert_int_equal(mtrace_snapshot_statistics(&s, snapshot, MTRACE_BY_LINE, NULL), MTRACE_OK);
    total = s->total;
    mtrace_statistics_free(s);
    mtrace_snapshot_free(snapshot);
    return total;
}

static void test_all_adds_up(void **state) {
    mtrace_statistic total;
    mtrace_info info;
    uint64_t bytes = 0;
    int i;
    (void)state;
    start(65536);
    run_workers(NULL);
    for (i = 0; i < THREADS; i++) {
        bytes += ever[i];
    }
    total = total_allocated();
    info = mtrace_get_info();
    assert_int_equal(total.total_size + total.dropped_size, bytes);
    assert_int_equal(total.frees, total.total_count);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    assert_int_equal(info.live, 0);
    assert_int_equal(info.stale_replaced, 0);
    test_sound();
    mtrace_stop();
}

/* A full table: what is dropped comes back as a foreign free or realloc, and nothing else does. */
static void test_full_table(void **state) {
    mtrace_info info;
    (void)state;
    start(64);
    run_workers(NULL);
    info = mtrace_get_info();
    assert_true(info.dropped_count > 0);
    assert_int_equal(info.foreign_frees, info.dropped_count);
    assert_int_equal(info.live, 0);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    test_sound();
    mtrace_stop();
}

static void *ask(void *unused) {
    int i;
    (void)unused;
    for (i = 0; i < 300; i++) {
        mtrace_snapshot *snapshot;
        mtrace_statistics *s;
        mtrace_block block;
        size_t j;
        assert_int_equal(mtrace_snapshot_take(&snapshot, true, NULL), MTRACE_OK);
        assert_int_equal(mtrace_snapshot_statistics(&s, snapshot, MTRACE_BY_LINE, NULL), MTRACE_OK);
        for (j = 0; j < s->count; j++) {
            assert_true(s->rows[j].count <= THREADS * LIVE + BOX + THREADS);
            assert_true(s->rows[j].size <= (THREADS * LIVE + BOX + THREADS) * 3000);
            assert_true(s->rows[j].frees <= s->rows[j].total_count);
        }
        for (j = 0; mtrace_snapshot_block(snapshot, j, &block) == MTRACE_OK; j++) {
            assert_true(block.size <= 3000);
            assert_string_equal(block.function, "worker");
        }
        (void)mtrace_get_traced_memory();
        (void)mtrace_get_info();
        mtrace_statistics_free(s);
        mtrace_snapshot_free(snapshot);
    }
    return NULL;
}

static void test_questions_meanwhile(void **state) {
    (void)state;
    start(4096);
    run_workers(ask);
    assert_int_equal(mtrace_get_info().live, 0);
    test_sound();
    mtrace_stop();
}

static void *clear_and_pause(void *unused) {
    int i;
    (void)unused;
    for (i = 0; i < 100; i++) {
        mtrace_clear();
        mtrace_pause();
        mtrace_reset_peak();
        mtrace_resume();
    }
    return NULL;
}

/* Whatever was in the middle when the tables were cleared, nothing is left over at the end. */
static void test_clear_meanwhile(void **state) {
    (void)state;
    start(4096);
    run_workers(clear_and_pause);
    assert_int_equal(mtrace_get_info().live, 0);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    test_sound();
    mtrace_stop();
}

static void *allocate_one(void *size) {
    return MT_MALLOC(*(size_t *)size);
}

static void *free_one(void *block) {
    MT_FREE(block);
    return NULL;
}

static void *in_thread(void *(*work)(void *), void *argument) {
    pthread_t thread;
    void *result;
    assert_int_equal(pthread_create(&thread, NULL, work, argument), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    return result;
}

/* Calls that do not overlap leave an exact peak, whichever threads make them, and exact holders of
 * it. */
static void test_peak_exact_without_overlap(void **state) {
    size_t big = 300000, small = 1000;
    void *a, *b, *c;
    (void)state;
    start(4096);
    a = in_thread(allocate_one, &big);
    b = in_thread(allocate_one, &small);
    in_thread(free_one, b);
    assert_int_equal(mtrace_get_traced_memory().peak, big + small);
    c = in_thread(allocate_one, &big);
    in_thread(free_one, a);
    b = in_thread(allocate_one, &small);
    assert_int_equal(mtrace_get_traced_memory().peak, 2 * big);
    assert_int_equal(mtrace_get_traced_memory().current, big + small);
    in_thread(free_one, c);
    in_thread(free_one, b);
    assert_int_equal(total_allocated().peak_size, 2 * big);
    assert_int_equal(mtrace_get_info().high_water, 2);
    test_sound();
    mtrace_stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_adds_up),
        cmocka_unit_test(test_full_table),
        cmocka_unit_test(test_questions_meanwhile),
        cmocka_unit_test(test_clear_meanwhile),
        cmocka_unit_test(test_peak_exact_without_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

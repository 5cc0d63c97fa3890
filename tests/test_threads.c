/* Several threads at once: they allocate, resize and free their own blocks, hand others to each
   other, and one asks all the time. At the end everything adds up, and mtrace_check() finds
   every structure sound. In the tiny build there are more threads than shards. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"
#include "support/threads.h"

#include <sched.h>

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

/* Puts a block in the box, or takes one out. Returns the block that the thread is to free. */
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
        void **at = &blocks[test_random(&seed, LIVE)];
        size_t size = test_random(&seed, 3000);
        if (*at == NULL) {
            *at = MT_MALLOC(size);
            *bytes += size;
        } else if (test_random(&seed, 4) == 0) {
            *at = MT_REALLOC(*at, size + 1);
            *bytes += size + 1;
        } else if (test_random(&seed, 4) == 0) {
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

static void start(size_t max_blocks) {
    test_start(max_blocks, 0);
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
    pthread_t other;
    if (beside != NULL) {
        assert_int_equal(pthread_create(&other, NULL, beside, NULL), 0);
        wait_if_single(other);
    }
    test_in_threads(THREADS, worker, ever, sizeof *ever);
    join_unless_single(beside != NULL ? &other : NULL);
    empty_box();
}

static mtrace_row total_allocated(void) {
    mtrace_snapshot *snapshot;
    mtrace_rows *s;
    mtrace_row total;
    snapshot = test_take(false);
    mtrace_snapshot_set_view(snapshot, MTRACE_VIEW_TOTAL);
    s = test_rows(snapshot, MTRACE_BY_LINE);
    total = s->total;
    mtrace_rows_free(s);
    mtrace_snapshot_free(snapshot);
    return total;
}

static void test_all_adds_up(void **state) {
    mtrace_row total;
    mtrace_info info;
    uint64_t bytes = 0;
    int i;
    (void)state;
    start(32768);
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

/* A full table: dropped blocks, and no others, become foreign frees or reallocs. */
static void test_full_table(void **state) {
    mtrace_info info;
    (void)state;
    start(32);
    run_workers(NULL);
    info = mtrace_get_info();
    assert_true(info.dropped_count > 0);
    assert_int_equal(info.foreign_frees, info.dropped_count);
    assert_int_equal(info.live, 0);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    test_sound();
    mtrace_stop();
}

/* --- the same new call sites and scopes at the same time --- */

static uint32_t arrivals;

/* The threads go on at the same moment. */
static void meet(uint32_t round) {
    __atomic_add_fetch(&arrivals, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&arrivals, __ATOMIC_SEQ_CST) < (round + 1) * THREADS) {
        sched_yield();
    }
}

static void *use_new_sites(void *argument) {
    uint32_t sites = *(uint32_t *)argument, i;
    for (i = 0; i < sites; i++) {
        mtrace_site scope = test_site("scope.c", i + 1), site = test_site("site.c", i + 1);
        mtrace_scope before;
        scope.cache = NULL;
        site.cache = NULL;
        meet(i);
        before = mtrace_scope_save();
        if (TEST_ATOMICS) { /* else all threads are in one scope */
            (void)mtrace_scope_push_at(&scope);
        }
        mtrace_free_at(mtrace_malloc_at(10, &site), &site);
        mtrace_scope_restore(before);
    }
    return NULL;
}

/* The tables are as large as the sites need. */
static void assert_each_has_a_row(uint32_t sites) {
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *snapshot;
    mtrace_rows *rows;
    size_t i;
    desc.max_blocks = 64;
    desc.max_sites = desc.max_scopes = sites;
    desc.name_bytes = 64 * 1024; /* each thread may copy a name */
    desc.frames = 2;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    arrivals = 0;
    test_in_threads(THREADS, use_new_sites, &sites, 0);
    assert_int_equal(mtrace_get_info().scopes, TEST_ATOMICS ? sites : 0);
    snapshot = test_take(false);
    mtrace_snapshot_set_view(snapshot, MTRACE_VIEW_TOTAL);
    rows = test_rows(snapshot, MTRACE_BY_LINE);
    assert_int_equal(rows->count, sites);
    for (i = 0; i < rows->count; i++) {
        assert_int_equal(rows->rows[i].total_count, THREADS);
    }
    mtrace_rows_free(rows);
    mtrace_snapshot_free(snapshot);
    test_sound();
    mtrace_stop();
}

static void test_same_new_sites(void **state) {
    int i;
    (void)state;
    assert_each_has_a_row(200);
    for (i = 0; i < 50; i++) {
        assert_each_has_a_row(1);
    }
}

static void *ask(void *unused) {
    const size_t most = (size_t)THREADS * (size_t)LIVE + (size_t)BOX + (size_t)THREADS;
    int i;
    (void)unused;
    for (i = 0; i < 300; i++) {
        mtrace_snapshot *snapshot;
        mtrace_rows *s;
        mtrace_block block;
        size_t j;
        snapshot = test_take(true);
        s = test_rows(snapshot, MTRACE_BY_LINE);
        for (j = 0; j < s->count; j++) {
            assert_true(s->rows[j].count <= most);
            assert_true(s->rows[j].size <= most * 3000);
            assert_true(s->rows[j].frees <= s->rows[j].total_count);
        }
        for (j = 0; test_block(&block, snapshot, j); j++) {
            assert_true(block.size <= 3000);
            assert_string_equal(block.function, "worker");
        }
        (void)mtrace_get_traced_memory();
        (void)mtrace_get_info();
        mtrace_rows_free(s);
        mtrace_snapshot_free(snapshot);
    }
    return NULL;
}

static void test_questions_from_another_thread(void **state) {
    (void)state;
    start(2048);
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
static void test_clear_from_another_thread(void **state) {
    (void)state;
    start(2048);
    run_workers(clear_and_pause);
    assert_int_equal(mtrace_get_info().live, 0);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    test_sound();
    mtrace_stop();
}

static void *climb(void *unused) {
    void *blocks[LIVE];
    int round, i;
    for (round = 0; round < 20; round++) {
        for (i = 0; i < LIVE; i++) {
            blocks[i] = MT_MALLOC((size_t)i);
        }
        for (i = 0; i < LIVE; i++) {
            MT_FREE(blocks[i]);
        }
    }
    return unused;
}

/* However the calls overlapped while limits were shared out, afterwards no peak can pass unseen. */
static void test_limits_after_overlap(void **state) {
    int round;
    (void)state;
    start(2048);
    for (round = 0; round < 300; round++) {
        test_in_threads(THREADS, climb, NULL, 0);
        test_sound();
        mtrace_reset_peak();
    }
    mtrace_stop();
}

static void *allocate_one(void *size) {
    return MT_MALLOC(*(size_t *)size);
}

static void *free_one(void *block) {
    MT_FREE(block);
    return NULL;
}

/* The bytes held for sure (the allocation has returned, the free has not begun), and those perhaps
   held (the allocation has begun, the free has not returned). The truth lies in between. */
static int64_t surely_held, perhaps_held, most_sure, most_perhaps;
enum { LARGEST = 1000 };

static void hold(int64_t *held, int64_t *most, int64_t change) {
    int64_t now = __atomic_add_fetch(held, change, __ATOMIC_SEQ_CST);
    int64_t old = __atomic_load_n(most, __ATOMIC_SEQ_CST);
    while (old < now &&
           !__atomic_compare_exchange_n(most, &old, now, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
}

static void *hold_at_random(void *argument) {
    uint32_t seed = *(uint32_t *)argument;
    uintptr_t key = (uintptr_t)seed << 16;
    int64_t sizes[LIVE] = MTRACE_ZERO_;
    int i;
    for (i = 0; i < STEPS; i++) {
        uint32_t at = test_random(&seed, LIVE);
        int64_t size = sizes[at] != 0 ? 0 : 1 + test_random(&seed, LARGEST);
        if (size != 0) {
            hold(&perhaps_held, &most_perhaps, size);
            MT_TRACK(1, key + at, (uint64_t)size);
            hold(&surely_held, &most_sure, size);
        } else {
            hold(&surely_held, &most_sure, -sizes[at]);
            MT_UNTRACK(1, key + at);
            hold(&perhaps_held, &most_perhaps, -sizes[at]);
        }
        sizes[at] = size;
    }
    return NULL;
}

/* The manual's bound: where calls overlap, the peak is short by at most what the calls under way
   were about to count, here one block of each other thread. It is never too high. */
static void test_peak_bound_with_overlap(void **state) {
    uint32_t seeds[THREADS];
    int64_t peak;
    int i, round;
    (void)state;
    for (round = 0; round < 5; round++) {
        surely_held = perhaps_held = most_sure = most_perhaps = 0;
        test_start(2048, 0);
        for (i = 0; i < THREADS; i++) {
            seeds[i] = (uint32_t)(round * THREADS + i + 1);
        }
        test_in_threads(THREADS, hold_at_random, seeds, sizeof *seeds);
        peak = (int64_t)mtrace_get_traced_memory().peak;
        assert_true(peak >= most_sure - (THREADS - 1) * LARGEST);
        assert_true(peak <= most_perhaps);
        assert_int_equal(mtrace_get_info().dropped_count, 0);
        test_sound();
        mtrace_stop();
    }
}

/* Calls that do not overlap leave an exact peak, whichever threads make them, and exact holders of
 * it. */
static void test_peak_exact_without_overlap(void **state) {
    size_t big = 300000, small = 1000;
    void *a, *b, *c;
    (void)state;
    start(2048);
    a = test_in_thread(allocate_one, &big);
    b = test_in_thread(allocate_one, &small);
    test_in_thread(free_one, b);
    assert_int_equal(mtrace_get_traced_memory().peak, big + small);
    c = test_in_thread(allocate_one, &big);
    test_in_thread(free_one, a);
    b = test_in_thread(allocate_one, &small);
    assert_int_equal(mtrace_get_traced_memory().peak, 2 * big);
    assert_int_equal(mtrace_get_traced_memory().current, big + small);
    test_in_thread(free_one, c);
    test_in_thread(free_one, b);
    assert_int_equal(total_allocated().peak_size, 2 * big);
    assert_int_equal(mtrace_get_info().high_water, 2);
    test_sound();
    mtrace_stop();
}

/* Threads that take turns: one operation each, none at the same time. */
enum { TURNS = 20000, MAIN = -1, QUIT = -2 };

static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static int turn = MAIN;
static void *turn_block; /* to free; NULL: allocate */
static size_t turn_size;
static mtrace_site *turn_site;

static void pass_turn(int to) {
    turn = to;
    pthread_cond_broadcast(&turn_changed);
}

static void wait_for_turn(int me) {
    while (turn != me && turn != QUIT) {
        pthread_cond_wait(&turn_changed, &turn_lock);
    }
}

static void *take_turns(void *argument) {
    int me = *(int *)argument;
    pthread_mutex_lock(&turn_lock);
    for (wait_for_turn(me); turn != QUIT; wait_for_turn(me)) {
        if (turn_block == NULL) {
            turn_block = mtrace_malloc_at(turn_size, turn_site);
        } else {
            mtrace_free_at(turn_block, turn_site);
            turn_block = NULL;
        }
        pass_turn(MAIN);
    }
    pthread_mutex_unlock(&turn_lock);
    return NULL;
}

/* The model: the bytes held, now and at the peak, by each of two sites. */
typedef struct holding {
    void *block;
    size_t size;
    int site;
} holding;

static void compare_peak(const uint64_t *at_peak, uint64_t peak, uint64_t high) {
    mtrace_snapshot *snapshot;
    mtrace_rows *s;
    size_t i;
    test_sound();
    assert_int_equal(mtrace_get_traced_memory().peak, peak);
    assert_in_range(mtrace_get_info().high_water, mtrace_get_info().live, high);
    snapshot = test_take(false);
    mtrace_snapshot_set_view(snapshot, MTRACE_VIEW_TOTAL);
    s = test_rows(snapshot, MTRACE_BY_LINE);
    for (i = 0; i < s->count; i++) {
        assert_int_equal(s->rows[i].peak_size, at_peak[s->rows[i].line]);
    }
    mtrace_rows_free(s);
    mtrace_snapshot_free(snapshot);
}

static void test_peak_exact_in_turns(void **state) {
    static holding held[LIVE];
    mtrace_site sites[2];
    pthread_t threads[THREADS];
    int names[THREADS], i;
    uint64_t now[2] = {0, 0}, at_peak[2] = {0, 0}, peak = 0, count = 0, high = 0;
    uint32_t seed = 5;
    (void)state;
    start(2048);
    sites[0] = test_site("turns.c", 0);
    sites[1] = test_site("turns.c", 1);
    for (i = 0; i < THREADS; i++) {
        names[i] = i;
    }
    test_threads_begin(threads, THREADS, take_turns, names, sizeof *names);
    pthread_mutex_lock(&turn_lock);
    for (i = 0; i < TURNS; i++) {
        holding *h = &held[test_random(&seed, LIVE)];
        h->size = h->block == NULL ? test_random(&seed, i % 1000 < 500 ? 500 : 50000) : h->size;
        h->site = h->block == NULL ? (int)(test_random(&seed, 2)) : h->site;
        now[h->site] += h->block == NULL ? h->size : 0 - (uint64_t)h->size;
        count += h->block == NULL ? 1 : 0 - (uint64_t)1;
        turn_block = h->block;
        turn_size = h->size;
        turn_site = &sites[h->site];
        pass_turn((int)(test_random(&seed, THREADS)));
        wait_for_turn(MAIN);
        h->block = turn_block;
        high = count > high ? count : high;
        if (now[0] + now[1] > peak) {
            peak = now[0] + now[1];
            memcpy(at_peak, now, sizeof now);
        }
        if (i % 16 == 0) {
            compare_peak(at_peak, peak, high);
        }
        if (i % 3000 == 0) {
            mtrace_reset_peak();
            peak = now[0] + now[1];
            memcpy(at_peak, now, sizeof now);
        }
    }
    pass_turn(QUIT);
    pthread_mutex_unlock(&turn_lock);
    test_threads_end(threads, THREADS);
    for (i = 0; i < LIVE; i++) {
        mtrace_free_at(held[i].block, &sites[0]);
        held[i].block = NULL;
    }
    turn = MAIN;
    turn_block = NULL;
    mtrace_stop();
}

/* More threads than ever have counters of their own, but never many at once. */
#ifdef MTRACE_SINGLE_THREAD
enum { AT_ONCE = 1 };
#else
enum { AT_ONCE = 8 };
#endif
#ifdef _WIN32 /* Wine takes a millisecond for a thread */
enum { SHORT_THREADS = 500 };
#else
enum { SHORT_THREADS = TEST_SANITIZED ? 1000 : 10000 };
#endif
enum { WORKER_BLOCKS = 3000, WORKER_KEEPS = 5 };

static mtrace_site short_site, worker_sites[AT_ONCE];
static pthread_barrier_t at_once;

typedef struct short_life {
    void *from_before; /* a block of the thread before, which has ended */
    void *own;
    size_t size;
} short_life;

static void *live_shortly(void *argument) {
    short_life *life = (short_life *)argument;
    void *block = mtrace_malloc_at(7, &short_site);
    mtrace_free_at(life->from_before, &short_site);
    life->own = mtrace_malloc_at(life->size, &short_site);
    mtrace_free_at(block, &short_site);
    return NULL;
}

static void run_short_threads(void) {
    short_life life = {NULL, NULL, 0};
    int i;
    for (i = 1; i <= SHORT_THREADS; i++) {
        life.from_before = life.own;
        life.size = (size_t)i;
        test_in_thread(live_shortly, &life);
        assert_int_equal(mtrace_get_traced_memory().current, i);
        assert_int_equal(mtrace_get_info().live, 1);
    }
    mtrace_free_at(life.own, &short_site);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
}

static void *work_at_once(void *argument) {
    mtrace_site *site = (mtrace_site *)argument;
    void *kept[WORKER_KEEPS];
    int i;
    pthread_barrier_wait(&at_once);
    for (i = 0; i < WORKER_KEEPS; i++) {
        kept[i] = mtrace_malloc_at(100, site);
    }
    for (i = 0; i < WORKER_BLOCKS; i++) {
        mtrace_free_at(mtrace_malloc_at(site->line, site), site);
    }
    pthread_barrier_wait(&at_once);
    mtrace_track_at(1, site->line * 16, site->line, site);
    for (i = 0; i < WORKER_KEEPS; i++) {
        mtrace_free_at(kept[i], site);
    }
    return NULL;
}

static void compare_worker(const mtrace_row *row) {
    assert_int_equal(row->total_count, WORKER_KEEPS + WORKER_BLOCKS + 1);
    assert_int_equal(row->total_size, WORKER_KEEPS * 100 + (WORKER_BLOCKS + 1) * row->line);
    assert_int_equal(row->frees, WORKER_KEEPS + WORKER_BLOCKS);
    assert_int_equal(row->count, 1);
    assert_int_equal(row->size, row->line);
}

static void test_short_threads_then_workers(void **state) {
    mtrace_snapshot *snapshot;
    mtrace_rows *s;
    size_t i;
    (void)state;
    start(2048);
    short_site = test_site("short.c", 1);
    run_short_threads();
    assert_int_equal(total_allocated().total_count, 2 * SHORT_THREADS);
    assert_int_equal(total_allocated().frees, 2 * SHORT_THREADS);
    assert_int_equal(mtrace_get_traced_memory().peak, SHORT_THREADS + 7);
    assert_int_equal(pthread_barrier_init(&at_once, NULL, AT_ONCE), 0);
    for (i = 0; i < AT_ONCE; i++) {
        worker_sites[i] = test_site("worker.c", (uint32_t)i + 1);
    }
    test_in_threads(AT_ONCE, work_at_once, worker_sites, sizeof *worker_sites);
    pthread_barrier_destroy(&at_once);
    snapshot = test_take(false);
    s = test_rows(snapshot, MTRACE_BY_LINE);
    assert_int_equal(s->count, AT_ONCE); /* short.c holds nothing */
    for (i = 0; i < s->count; i++) {
        compare_worker(&s->rows[i]);
    }
    mtrace_rows_free(s);
    mtrace_snapshot_free(snapshot);
    test_sound();
    mtrace_stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_adds_up),
        cmocka_unit_test(test_full_table),
        cmocka_unit_test(test_same_new_sites),
        cmocka_unit_test(test_questions_from_another_thread),
        cmocka_unit_test(test_clear_from_another_thread),
        cmocka_unit_test(test_limits_after_overlap),
        cmocka_unit_test(test_peak_bound_with_overlap),
        cmocka_unit_test(test_peak_exact_without_overlap),
        cmocka_unit_test(test_peak_exact_in_turns),
        cmocka_unit_test(test_short_threads_then_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

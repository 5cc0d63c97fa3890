/* The life cycle against everything else: one thread starts, stops, clears, names domains and asks,
   while eight others allocate. And forks in the middle of it. TEST_ROUNDS says how many rounds.
   --long: test_races with 10,000 rounds, not 500 in default, 150 in tsan, 50 in the others. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support/test.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

/* The sanitizers' own locks are left held in a child of several threads. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

#ifdef MTRACE_SINGLE_THREAD
enum { WORKERS = 0 };
#else
enum { WORKERS = 8 };
#endif
enum { LIVE = 32, BUFFER = 400000 };

static int quit;
static pthread_t workers[WORKERS + 1];
static unsigned char given[BUFFER];

/* With tiny tables a tenth: they change no order of calls. */
static int rounds(int usual) {
    const char *text = getenv("TEST_ROUNDS");
    int all = text != NULL && atoi(text) > 0 ? atoi(text) : test_long() ? 10000 : usual;
    return test_is_tiny() ? (all + 9) / 10 : all;
}

static bool is_over(void) {
    return __atomic_load_n(&quit, __ATOMIC_RELAXED) != 0;
}

/* Allocates, resizes and frees a few blocks, in a scope and outside. */
static void *allocate(void *number) {
    uint32_t seed = *(const uint32_t *)number;
    uint32_t keys = seed * 64; /* of its own: one key is not two threads' at a time */
    void *blocks[LIVE] = MTRACE_ZERO_;
    size_t i;
    while (!is_over()) {
        void **at = &blocks[test_random(&seed, LIVE)];
        size_t size = test_random(&seed, 2000) + 1;
        mtrace_scope before = MT_SCOPE_PUSH_IN(seed % 3);
        if (*at == NULL) {
            *at = seed % 5 == 0 ? MT_MALLOC_IN(4, size) : MT_MALLOC(size);
        } else if (seed % 4 == 0) {
            *at = MT_REALLOC(*at, size);
        }
        MT_SCOPE_POP(before);
        if (seed % 2 == 0) {
            MT_FREE(*at);
            *at = NULL;
        }
        (void)MT_TRACK(7, keys + seed % 64, size);
        (void)MT_UNTRACK(7, keys + seed % 64);
        if (seed % 64 == 0) { /* else a turn of all threads takes a tenth of a second */
            sched_yield();
        }
    }
    for (i = 0; i < LIVE; i++) {
        MT_FREE(blocks[i]);
    }
    return NULL;
}

static void begin(void *(*work)(void *)) {
    static uint32_t numbers[WORKERS + 1];
    int i;
    quit = 0;
    for (i = 0; i < WORKERS; i++) {
        numbers[i] = (uint32_t)i + 1;
        assert_int_equal(pthread_create(&workers[i], NULL, work, &numbers[i]), 0);
    }
}

static void end(void) {
    int i;
    __atomic_store_n(&quit, 1, __ATOMIC_RELAXED);
    for (i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i], NULL), 0);
    }
}

/* Others come to run. */
static void give_way(int times) {
    while (times-- > 0) {
        sched_yield();
    }
}

static void no_row_below_zero(void) {
    mtrace_snapshot *s;
    mtrace_snapshot_parts parts;
    size_t i;
    if (mtrace_snapshot_take(&s, false, NULL) != MTRACE_OK) {
        return;
    }
    parts = mtrace_snapshot_get_parts(s);
    for (i = 0; i < parts.row_count; i++) {
        const mtrace_row *row = &parts.rows[i];
        assert_true((int64_t)row->size >= 0 && (int64_t)row->count >= 0);
        assert_true((int64_t)row->total_size >= 0 && (int64_t)row->total_count >= 0);
        assert_true((int64_t)row->peak_size >= 0 && (int64_t)row->peak_count >= 0);
        assert_true((int64_t)row->frees >= 0 && (int64_t)row->estimated_size >= 0);
    }
    mtrace_snapshot_free(s);
}

static void ignore(const char *text, size_t length, void *user) {
    (void)text;
    (void)length;
    assert_ptr_equal(user, &quit); /* the writer's own, not one of another start */
}

static void start_anew(int round) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = (size_t)32 << round % 5;
    desc.max_sites = round % 7 == 0 ? 4 : 64;
    desc.frames = (uint32_t)(1 + round % 3);
    desc.serials = round % 11 == 0;
    desc.write = ignore;
    desc.write_user = &quit;
    if (round % 3 == 0) {
        desc.max_blocks = 0;
        desc.memory = given;
        desc.memory_size = sizeof given - (size_t)(round % 64) * 1000;
    }
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static void ask(void) {
    mtrace_block block;
    (void)mtrace_get_info();
    (void)mtrace_get_traced_memory();
    (void)mtrace_find(&block, given);
    (void)mtrace_find_tracked(&block, 7, 1, NULL, 0);
    (void)mtrace_print_top(3);
    no_row_below_zero();
}

/* When stop returns nobody uses the tracer's memory any more: desc.memory is the caller's. */
static void memory_is_ours(void) {
    size_t i;
    memset(given, 0xa5, sizeof given);
    give_way(20);
    for (i = 0; i < sizeof given; i++) {
        assert_int_equal(given[i], 0xa5);
    }
}

static void test_stop_and_start(void **state) {
    int round, n = rounds(500);
    (void)state;
    begin(allocate);
    for (round = 0; round < n; round++) {
        start_anew(round);
        give_way(round % 8);
        ask();
        if (round % 4 == 1) {
            mtrace_clear();
            mtrace_name_domain((uint32_t)(round % 8), "a domain");
        }
        give_way(round % 3);
        mtrace_stop();
        if (round % 16 == 0) {
            memory_is_ours();
        }
    }
    start_anew(1);
    give_way(50);
    end();
    assert_int_equal(mtrace_get_info().live, 0);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    test_sound();
    mtrace_stop();
}

/* One thread asks while another stops and starts. */
static void *ask_all_the_time(void *unused) {
    (void)unused;
    while (!is_over()) {
        ask();
        sched_yield();
    }
    return NULL;
}

static void test_questions_across_restarts(void **state) {
    int round, n = rounds(500);
    (void)state;
    begin(ask_all_the_time);
    for (round = 0; round < n; round++) {
        start_anew(round);
        MT_FREE(MT_MALLOC(100));
        mtrace_stop();
    }
    end();
}

/* The parts of a result that another thread with the same memory would change. */
static uint64_t sum_of(const mtrace_row *rows, size_t count) {
    uint64_t sum = count;
    size_t i;
    for (i = 0; i < count; i++) {
        sum = sum * 31 + rows[i].size + rows[i].total_count + (uintptr_t)rows[i].file;
    }
    return sum;
}

static void *take_and_give_back(void *number) {
    uint32_t seed = *(const uint32_t *)number;
    int round, n = rounds(500);
    for (round = 0; round < n; round++) {
        mtrace_snapshot *s;
        mtrace_snapshot_parts parts;
        mtrace_rows *statistics;
        uint64_t rows, grouped;
        s = test_take(test_random(&seed, 2) == 0);
        parts = mtrace_snapshot_get_parts(s);
        rows = sum_of(parts.rows, parts.row_count);
        statistics = test_rows(s, MTRACE_BY_LINE);
        grouped = sum_of(statistics->rows, statistics->count);
        give_way(1);
        assert_true(rows == sum_of(parts.rows, parts.row_count));
        assert_true(grouped == sum_of(statistics->rows, statistics->count));
        assert_int_equal(statistics->total.size, 77);
        mtrace_rows_free(statistics);
        mtrace_snapshot_free(s);
    }
    return NULL;
}

/* All threads take results and give them back at once: no two have the same memory, and none is
   lost. */
static void test_results_of_all_threads(void **state) {
    void *block;
    size_t own;
    (void)state;
    start_anew(4);
    block = MT_MALLOC(77);
    test_give_kept_back();
    own = mtrace_get_tracer_memory();
    begin(take_and_give_back);
    end();
    assert_int_equal(mtrace_get_tracer_memory(), own + test_kept_bytes());
    assert_true(WORKERS == 0 || test_kept_bytes() > 0);
    MT_FREE(block);
    mtrace_stop();
}

static void *clear_all_the_time(void *unused) {
    (void)unused;
    while (!is_over()) {
        mtrace_clear();
        give_way(1);
    }
    return NULL;
}

static void *allocate_or_clear(void *number) {
    return *(const uint32_t *)number == 1 ? clear_all_the_time(NULL) : allocate(number);
}

static void test_no_row_below_zero_while_clearing(void **state) {
    int round, n = rounds(2000);
    (void)state;
    start_anew(4);
    begin(allocate_or_clear);
    for (round = 0; round < n; round++) {
        no_row_below_zero();
    }
    end();
    test_sound();
    mtrace_stop();
}

static void restart_from_the_observer(const mtrace_event *event, void *user) {
    (void)event;
    ++*(int *)user;
    mtrace_stop();
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
}

/* An observer is not inside of a call: it may stop and start, and the call goes on. */
static void test_an_observer_restarts(void **state) {
    mtrace_observer observer, none = MTRACE_ZERO_;
    int calls = 0;
    void *block;
    (void)state;
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    observer.call = restart_from_the_observer;
    observer.user = &calls;
    mtrace_set_observer(observer);
    block = MT_MALLOC(10);
    block = MT_REALLOC(block, 20);
    mtrace_set_observer(none);
    assert_int_equal(calls, 2);
    assert_int_equal(mtrace_get_info().live, 0); /* each was recorded in the session before */
    MT_FREE(block);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    test_sound();
    mtrace_stop();
}

/* ---------------------------------------------------------------------------------------- forks */

#ifndef SANITIZED
/* The child does all that a program does, and its tables are sound: 0 when so. */
static int child(void) {
    void *block;
    mtrace_scope before;
    alarm(20); /* a child that hangs is ended, and so seen */
    if (mtrace_check() != NULL) {
        return 1;
    }
    before = MT_SCOPE_PUSH_IN(1);
    block = MT_MALLOC(1000);
    MT_SCOPE_POP(before);
    mtrace_name_domain(1, "child");
    no_row_below_zero();
    mtrace_reset_peak();
    MT_FREE(block);
    mtrace_clear();
    if (mtrace_check() != NULL || mtrace_get_traced_memory().current != 0) {
        return 2;
    }
    mtrace_stop();
    start_anew(1);
    MT_FREE(MT_MALLOC(10));
    return mtrace_check() == NULL ? 0 : 3;
}

static void fork_once(void) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(child());
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void *live_or_allocate(void *number) {
    int round = 0;
    if (*(const uint32_t *)number != 1) {
        return allocate(number);
    }
    while (!is_over()) {
        mtrace_clear();
        mtrace_name_domain(3, "parent");
        mtrace_reset_peak();
        mtrace_stop();
        start_anew(round++);
        sched_yield();
    }
    return NULL;
}

static void fork_while_allocating(int n) {
    int round;
    begin(allocate);
    for (round = 0; round < n; round++) {
        give_way(round % 5);
        fork_once();
    }
    end();
    assert_int_equal(mtrace_get_info().live, 0);
    test_sound();
    mtrace_stop();
}

static void test_fork_while_allocating(void **state) {
    (void)state;
    TEST_NEEDS_POSIX();
    start_anew(4);
    fork_while_allocating(rounds(100));
}

/* The estimated bytes are repaired, too (see I4 of mtrace_check). */
static void test_fork_while_sampling(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    TEST_NEEDS_POSIX();
    desc.max_blocks = 2048;
    desc.max_sites = 64;
    desc.sample_interval = 1500;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    fork_while_allocating(rounds(40));
}

static void test_fork_in_a_life_cycle_call(void **state) {
    int round, n = rounds(100);
    (void)state;
    TEST_NEEDS_POSIX();
    start_anew(4);
    begin(live_or_allocate);
    for (round = 0; round < n; round++) {
        give_way(round % 5);
        fork_once();
    }
    end();
    mtrace_stop();
}

#endif

/* Blocks that the parent held are the child's, too, exactly. */
static void test_a_child_goes_on(void **state) {
    void *block;
    int status = 0;
    pid_t pid;
    (void)state;
    TEST_NEEDS_POSIX();
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    block = MT_MALLOC(1234);
    pid = fork();
    if (pid == 0) {
        mtrace_traced_memory before = mtrace_get_traced_memory();
        MT_FREE(block);
        _exit(before.current == 1234 && mtrace_get_traced_memory().current == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(mtrace_get_traced_memory().current, 1234);
    MT_FREE(block);
    mtrace_stop();
}

#ifdef LOCK_CONFIG_H /* a lock that is a mutex is held over a fork by its owner */
static void take_lock(void) {
    mtrace_user_lock_();
}

static void give_lock(void) {
    mtrace_user_unlock_();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_and_start),
        cmocka_unit_test(test_questions_across_restarts),
        cmocka_unit_test(test_results_of_all_threads),
        cmocka_unit_test(test_no_row_below_zero_while_clearing),
        cmocka_unit_test(test_an_observer_restarts),
        cmocka_unit_test(test_a_child_goes_on),
#ifndef SANITIZED
        cmocka_unit_test(test_fork_while_allocating),
        cmocka_unit_test(test_fork_in_a_life_cycle_call),
#endif
    };
#ifndef SANITIZED
    const struct CMUnitTest where_it_can_sample[] = {
        cmocka_unit_test(test_fork_while_sampling),
    };
#endif
    int failed;
#ifdef LOCK_CONFIG_H
    pthread_atfork(take_lock, give_lock, give_lock);
#endif
    failed = cmocka_run_group_tests(tests, NULL, NULL);
#ifndef SANITIZED
    failed += test_can_sample() ? cmocka_run_group_tests(where_it_can_sample, NULL, NULL) : 0;
#endif
    return failed;
}

/* Code that runs at any moment. A signal handler tracks keys, also at new call sites, while it
   interrupts a program that does the same. Nothing is lost, at any instruction, and the tracer does
   not call the allocator in a handler. A handler may intern call sites, too. Destructors of
   thread-specific data allocate while their thread ends. A forked child goes on with blocks of
   threads that it does not have. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* the registers in a ucontext_t */
#endif
#include "support/test.h"
#include "support/threads.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

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
    mtrace_snapshot *snapshot;
    mtrace_rows *s;
    uint64_t main_bytes = 0, i;
    (void)state;
    test_start(512, 0);
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
    snapshot = test_take(false);
    mtrace_snapshot_set_view(snapshot, MTRACE_VIEW_TOTAL);
    s = test_rows(snapshot, MTRACE_BY_DOMAIN);
    assert_int_equal(s->count, 2);
    assert_int_equal(s->rows[0].domain == 1 ? s->rows[0].size : s->rows[1].size, main_bytes);
    assert_int_equal(s->rows[0].domain == 2 ? s->rows[0].size : s->rows[1].size, tracked_bytes);
    mtrace_rows_free(s);
    mtrace_snapshot_free(snapshot);
    mtrace_stop();
}

enum { LINES = 100, INTERRUPTIONS = 300 };
static const mtrace_site *by_handler[LINES];
static volatile sig_atomic_t current;

static void interning_handler(int number) {
    (void)number;
    by_handler[current] = test_intern("handled.c", NULL, NULL, (uint32_t)current);
    handled = handled + 1;
}

/* It interrupts a thread that asks for the same site. */
static void test_handler_interns(void **state) {
    static const mtrace_site *sites[LINES];
    struct sigaction action;
    struct itimerval timer = {{0, 50}, {0, 50}}, off = {{0, 0}, {0, 0}};
    int i;
    (void)state;
    memset(&action, 0, sizeof action);
    action.sa_handler = interning_handler;
    handled = 0;
    assert_non_null(test_intern("first.c", NULL, NULL, 1));
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
    for (i = 0; i < LINES || handled < INTERRUPTIONS; i++) {
        current = i % LINES;
        sites[current] = test_intern("handled.c", NULL, NULL, (uint32_t)current);
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
    assert_ptr_equal(test_intern("a.c", NULL, NULL, 1), test_intern("a.c", NULL, NULL, 1));
}

static void test_handler_records(void **state) {
    (void)state;
    handler(0); /* stopped: tracks nothing, harms nothing */
    assert_int_equal(tracked_bytes, 0);
    assert_int_equal(main_sites[0].line, 0);
    assert_int_equal(SIGNALS, 3000);
}
#endif

/* --- a thread whose first act is in a handler --- */

enum { KEYS = 40, FIRST_IN_HANDLER = 50 }; /* glibc allocates for a value from key 32 on */

static pthread_key_t keys[KEYS]; /* made before all else */
static __thread volatile sig_atomic_t in_handler;
static volatile sig_atomic_t allocated_in_handler;

/* The program's allocator: not reentrant, hence not for handlers. */
#if defined(__GLIBC__) && !TEST_SANITIZED
#ifdef __cplusplus
#define HOOK(result) extern "C" result
#define HOOK_END     noexcept
#else
#define HOOK(result) result
#define HOOK_END
#endif
HOOK(void *__libc_malloc(size_t size);)
HOOK(void *__libc_calloc(size_t count, size_t size);)
HOOK(void *__libc_realloc(void *block, size_t size);)

HOOK(void *) malloc(size_t size) HOOK_END {
    allocated_in_handler = allocated_in_handler + in_handler;
    return __libc_malloc(size);
}
HOOK(void *) calloc(size_t count, size_t size) HOOK_END {
    allocated_in_handler = allocated_in_handler + in_handler;
    return __libc_calloc(count, size);
}
HOOK(void *) realloc(void *block, size_t size) HOOK_END {
    allocated_in_handler = allocated_in_handler + in_handler;
    return __libc_realloc(block, size);
}
enum { HOOKED = 1 };
#else
enum { HOOKED = 0 };
#endif

static void first_act(int number) {
    mtrace_site site = MTRACE_ZERO_;
    (void)number;
    in_handler = 1;
    site.file = "first.c";
    site.line = 1;
    {
        MT_SCOPE();
        (void)mtrace_track_at(2, 16, 10, &site);
        (void)mtrace_track_at(2, 32, 20, &site);
    }
    (void)mtrace_untrack_at(2, 16, &site);
    in_handler = 0;
}

static void *begin_in_handler(void *argument) {
    void *block;
    raise(SIGUSR1);
    block = MT_MALLOC(100);
    assert_int_equal(mtrace_get_traced_memory().current, 120);
    MT_FREE(block);
    assert_int_equal(mtrace_untrack_at(2, 32, NULL), MTRACE_OK);
    return argument;
}

/* So that the test is known to see it. */
static void *set_a_value_in_handler(void *argument) {
    in_handler = 1;
    pthread_setspecific(keys[KEYS - 1], argument);
    in_handler = 0;
    return argument;
}

static void test_first_act_in_handler(void **state) {
    struct sigaction action;
    int i;
    (void)state;
    test_start_scoped(512, 0, 4);
    memset(&action, 0, sizeof action);
    action.sa_handler = first_act;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    for (i = 0; i < FIRST_IN_HANDLER; i++) {
        test_in_thread(begin_in_handler, NULL);
        assert_int_equal(mtrace_get_traced_memory().current, 0);
    }
    assert_int_equal(allocated_in_handler, 0);
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    test_sound();
    mtrace_stop();
    test_in_thread(set_a_value_in_handler, &action);
    assert_int_equal(allocated_in_handler, HOOKED);
}

static void *work_for_a_while(void *argument) {
    int i;
    for (i = 0; i < 100; i++) {
        void *block = MT_MALLOC(1000);
        MT_FREE(block);
    }
    return argument;
}

/* --- destructors that allocate --- */

enum { ENDS = TEST_SANITIZED ? 500 : 10000, TIMES = 3 }; /* 4 times are sure to come */

static pthread_key_t early_key, late_key; /* before and after the tracer's, if it has one */

static void work_at_the_end(pthread_key_t key, uintptr_t times) {
    void *block = MT_MALLOC(64);
    void *other = MT_MALLOC(100000);
    MT_FREE(block);
    MT_FREE(other);
    if (times < TIMES) {
        pthread_setspecific(key, (void *)(times + 1));
    }
}

static void end_early(void *times) {
    work_at_the_end(early_key, (uintptr_t)times);
}
static void end_late(void *times) {
    work_at_the_end(late_key, (uintptr_t)times);
}

/* Every second thread's only blocks are its destructors'. */
static void *end_with_work(void *argument) {
    pthread_setspecific(early_key, (void *)1);
    pthread_setspecific(late_key, (void *)1);
    if (argument != NULL) {
        MT_FREE(MT_MALLOC(32));
    }
    return NULL;
}

static void test_destructors_allocate(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *snapshot;
    mtrace_rows *s;
    int i;
    (void)state;
    desc.max_blocks = 512;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    test_in_thread(work_for_a_while, NULL); /* the tracer has its key then, if it makes one */
    assert_int_equal(pthread_key_create(&late_key, end_late), 0);
    mtrace_clear();
    for (i = 0; i < ENDS; i++) {
        test_in_thread(end_with_work, i % 2 == 0 ? NULL : &desc);
    }
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    assert_int_equal(mtrace_get_traced_memory().peak, 100064);
    snapshot = test_take(false);
    mtrace_snapshot_set_view(snapshot, MTRACE_VIEW_TOTAL);
    s = test_rows(snapshot, MTRACE_BY_LINE);
    assert_int_equal(s->total.total_count, ENDS * 2 * TIMES * 2 + ENDS / 2);
    assert_int_equal(s->total.frees, s->total.total_count);
    mtrace_rows_free(s);
    mtrace_snapshot_free(snapshot);
    test_sound();
    mtrace_stop();
}

/* --- a child that goes on --- */

#ifdef MTRACE_SINGLE_THREAD
enum { ENDED = 30, WAITING = 0, LEFT = ENDED + WAITING, AT_ONCE = 1 };
#else
enum { ENDED = 30, WAITING = 4, LEFT = ENDED + WAITING, AT_ONCE = 8 };
#endif
enum { FORKS = 10, SIZE = 1000 };

static void *left_behind[LEFT]; /* blocks of threads that ended, or wait at the fork */
static pthread_barrier_t all_there, go_home;

static void *leave_a_block(void *at) {
    *(void **)at = MT_MALLOC(SIZE);
    return NULL;
}

static void *leave_a_block_and_wait(void *at) {
    leave_a_block(at);
    pthread_barrier_wait(&all_there);
    pthread_barrier_wait(&go_home);
    return NULL;
}

static bool holds(uint64_t blocks) {
    return mtrace_get_traced_memory().current == blocks * SIZE &&
           mtrace_get_info().live == blocks && mtrace_check() == NULL;
}

/* ThreadSanitizer allows no thread in such a child. */
static int child_with_threads(void) {
    pthread_t threads[AT_ONCE];
    int i;
    for (i = 0; i < 2 * ENDED && !TEST_TSAN; i++) {
        if (pthread_create(&threads[0], NULL, work_for_a_while, NULL) != 0 ||
            pthread_join(threads[0], NULL) != 0) {
            return 1;
        }
    }
    for (i = 0; i < AT_ONCE && !TEST_TSAN; i++) {
        if (pthread_create(&threads[i], NULL, work_for_a_while, NULL) != 0) {
            return 2;
        }
    }
    for (i = 0; i < AT_ONCE && !TEST_TSAN; i++) {
        pthread_join(threads[i], NULL);
    }
    return 0;
}

static int child(void) {
    int i, wrong = holds(LEFT) ? 0 : 3;
    wrong = wrong == 0 ? child_with_threads() : wrong;
    wrong = wrong != 0 || holds(LEFT) ? wrong : 4;
    for (i = 0; i < LEFT; i++) {
        MT_FREE(left_behind[i]);
    }
    wrong = wrong != 0 || holds(0) ? wrong : 5;
    mtrace_clear();
    leave_a_block(&left_behind[0]);
    return wrong != 0 || (holds(1) && mtrace_get_traced_memory().peak == SIZE) ? wrong : 6;
}

static void fork_with_threads(void) {
    pthread_t threads[WAITING + 1];
    int i, status = 0;
    pid_t pid;
    for (i = 0; i < ENDED; i++) {
        test_in_thread(leave_a_block, &left_behind[i]);
    }
    pthread_barrier_init(&all_there, NULL, WAITING + 1);
    pthread_barrier_init(&go_home, NULL, WAITING + 1);
    for (i = 0; i < WAITING; i++) {
        assert_int_equal(
            pthread_create(&threads[i], NULL, leave_a_block_and_wait, &left_behind[ENDED + i]), 0);
    }
    pthread_barrier_wait(&all_there);
    pid = fork();
    if (pid == 0) {
        _exit(child());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    pthread_barrier_wait(&go_home);
    for (i = 0; i < WAITING; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(holds(LEFT));
    for (i = 0; i < LEFT; i++) {
        MT_FREE(left_behind[i]);
    }
    assert_true(holds(0));
}

static void test_child_goes_on(void **state) {
    int i;
    (void)state;
    test_start(512, 0);
    for (i = 0; i < FORKS; i++) {
        fork_with_threads();
    }
    mtrace_stop();
}

/* --- a handler at each instruction of a call --- */

#if TEST_ATOMICS && !TEST_SANITIZED && defined(__linux__) && defined(__x86_64__)
/* The processor traps behind each instruction while the trap flag is set; at one of them, `at`, the
   handler acts, and the rest runs without traps. A test tries one after the other. */
enum { STEPS = 150 };
static volatile long steps, at;
static void (*volatile act)(void);

static void step(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)info;
    if (steps == at) {
        ((ucontext_t *)context)->uc_mcontext.gregs[17] &= ~0x100LL; /* the flags' register */
        act();
    }
    steps = steps + 1;
}

static void step_begin(void) {
    steps = 0;
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"
                     "lea 128(%%rsp), %%rsp"
                     :
                     :
                     : "memory", "cc");
}

static void step_end(void) {
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq $-257, (%%rsp)\n\tpopfq\n\t"
                     "lea 128(%%rsp), %%rsp"
                     :
                     :
                     : "memory", "cc");
}

static void step_with(void (*what)(void)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = step;
    action.sa_flags = SA_SIGINFO;
    assert_int_equal(sigaction(SIGTRAP, &action, NULL), 0);
    act = what;
    at = 0;
}

/* Is there another instruction to try? Not behind the call's last one. */
static bool step_next(long limit) {
    bool acted = steps > at;
    at = at + 1;
    return acted && at < limit;
}

static mtrace_site stepped_site, step_site;

/* No call of the allocator: it may be what is interrupted. The tracer does not look at the block.
   */
static void record_in_step(void) {
    mtrace_record_((void *)0x5000, 7, step_site.cache, &step_site);
}

static void *record_stepped(void *block) {
    step_begin();
    mtrace_record_(block, 32, stepped_site.cache, &stepped_site);
    step_end();
    return NULL;
}

static void *free_stepped(void *block) {
    step_begin();
    mtrace_free_(block, &stepped_site);
    step_end();
    return NULL;
}

/* A thread's first call, and a handler's at each instruction of it: then the thread gets its
   counters in the middle. */
static void test_handler_attaches(void **state) {
    (void)state;
    stepped_site = test_site("stepped.c", 1);
    step_site = test_site("step.c", 1);
    test_start(128, 0);
    step_with(record_in_step);
    do { /* both sites known, both cells open */
        void *block = malloc(32);
        mtrace_record_(block, 32, stepped_site.cache, &stepped_site);
        assert_int_equal(mtrace_untrack_at(0, (uintptr_t)block, NULL), MTRACE_OK);
        test_in_thread(record_stepped, block);
        assert_int_equal(mtrace_get_traced_memory().current, steps > at ? 39 : 32);
        (void)mtrace_untrack_at(0, 0x5000, NULL);
        test_in_thread(free_stepped, block);
        assert_int_equal(mtrace_get_traced_memory().current, steps > at ? 7 : 0);
        (void)mtrace_untrack_at(0, 0x5000, NULL);
        test_sound();
    } while (step_next(STEPS));
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    assert_true(at > 50);
    mtrace_stop();
}
enum { MANY = 600 }; /* more than a thread remembers */
static mtrace_site many_sites[MANY];

static void record_many_in_step(void) {
    int i;
    for (i = 0; i < MANY; i++) {
        mtrace_record_((void *)0x5000, 7, many_sites[i].cache, &many_sites[i]);
        (void)mtrace_untrack_at(0, 0x5000, NULL);
    }
}

/* Inside of a scope: the handler's call sites take each entry of the thread's cache, also the one
   that the interrupted call is reading. */
static void test_handler_forgets(void **state) {
    mtrace_block found;
    int i;
    (void)state;
    for (i = 0; i < MANY; i++) {
        many_sites[i] = test_site("many.c", (uint32_t)i + 1);
    }
    stepped_site = test_site("stepped.c", 1);
    test_start_scoped(128, 0, 2);
    step_with(record_many_in_step);
    {
        MT_SCOPE();
        record_many_in_step();
        do {
            mtrace_record_((void *)0x9000, 32, stepped_site.cache, &stepped_site); /* remembered */
            assert_int_equal(mtrace_untrack_at(0, 0x9000, NULL), MTRACE_OK);
            record_stepped((void *)0x9000);
            assert_int_equal(mtrace_find(&found, (void *)0x9000), MTRACE_OK);
            assert_string_equal(found.file, "stepped.c");
            assert_int_equal(mtrace_untrack_at(0, 0x9000, NULL), MTRACE_OK);
        } while (step_next(STEPS));
    }
    assert_true(at > 50);
    test_sound();
    mtrace_stop();
}

static void record_at_same_site(void) {
    mtrace_record_((void *)0x5000, 7, stepped_site.cache, &stepped_site);
}

static void free_at_same_site(void) {
    (void)mtrace_untrack_at(0, 0x6000, NULL);
}

static void check_peak_rows(uint64_t size, uint64_t count) {
    mtrace_snapshot *snapshot;
    mtrace_rows *s;
    uint64_t sizes = 0, counts = 0;
    size_t i;
    snapshot = test_take(false);
    mtrace_snapshot_set_view(snapshot, MTRACE_VIEW_PEAK);
    s = test_rows(snapshot, MTRACE_BY_LINE);
    for (i = 0; i < s->count; i++) {
        sizes += s->rows[i].size;
        counts += s->rows[i].count;
    }
    mtrace_rows_free(s);
    mtrace_snapshot_free(snapshot);
    assert_int_equal(sizes, size);
    assert_int_equal(counts, count);
}

/* The first change after a new peak saves the bytes that an account held then. A handler's too. */
static void peak_owners_with(void (*what)(void)) {
    step_with(what);
    do {
        stepped_site = test_site("stepped.c", 1);
        step_site = test_site("step.c", 1);
        test_start(32, 0);
        mtrace_record_((void *)0x6000, 7, stepped_site.cache, &stepped_site);
        mtrace_record_((void *)0x7000, 100, stepped_site.cache, &stepped_site);
        mtrace_record_((void *)0x8000, 1000, step_site.cache, &step_site);
        assert_int_equal(mtrace_untrack_at(0, 0x8000, NULL), MTRACE_OK); /* a peak */
        record_stepped((void *)0x9000);
        assert_int_equal(mtrace_get_traced_memory().peak, 1107);
        check_peak_rows(1107, 3);
        test_sound();
        mtrace_stop();
    } while (step_next(STEPS) || at < STEPS);
}

static void test_handler_after_a_peak(void **state) {
    (void)state;
    peak_owners_with(record_at_same_site);
    peak_owners_with(free_at_same_site);
}

static void renew_block(void) {
    assert_int_equal(mtrace_untrack_at(0, 0x9000, NULL), MTRACE_ERR_NOT_FOUND); /* retired */
    mtrace_record_((void *)0x9000, 7, step_site.cache, &step_site);
}

/* A clear that finds few slots takes retired traces out, while threads free their blocks and use
   the same slots again; here the handler is such a thread. */
static void test_sweep_takes_retired_alone(void **state) {
    (void)state;
    step_site = test_site("step.c", 1);
    stepped_site = test_site("stepped.c", 1);
    step_with(renew_block);
    do {
        mtrace_block found;
        test_start(4, 16);
        mtrace_record_((void *)0x9000, 100, stepped_site.cache, &stepped_site);
        mtrace_clear();
        step_begin();
        mtrace_sweep_retired_();
        step_end();
        test_sound();
        assert_int_equal(mtrace_get_traced_memory().current, steps > at ? 7 : 0);
        assert_true((mtrace_find(&found, (void *)0x9000) == MTRACE_OK) == (steps > at));
        mtrace_stop();
    } while (step_next(400));
}

enum { GIVEN = 1 << 18 };
static void *given; /* the tracer's memory */

/* Acts as another thread does that stops the tracer when nobody is inside, and gives its memory
   back: from here on that must not be touched. */
static void stop_and_take_memory(void) {
    size_t inside = mtrace_g_.shared_inside[0] + mtrace_g_.shared_inside[1];
    int i;
    for (i = 0; i <= MTRACE_OWN_SHARDS_; i++) {
        inside += mtrace_g_.shards[i].inside;
    }
    if (inside == 0) {
        mtrace_stop();
        (void)mprotect(given, GIVEN, PROT_NONE);
    }
}

static void memory_is_left_by(void *(*work)(void *), size_t sample_interval) {
    step_with(stop_and_take_memory);
    do {
        mtrace_desc desc = MTRACE_ZERO_;
        desc.memory = given;
        desc.memory_size = GIVEN;
        desc.max_sites = 16;
        desc.sample_interval = sample_interval;
        assert_int_equal(mtrace_start(&desc), MTRACE_OK);
        test_in_thread(work, malloc(32));
        mtrace_stop();
        assert_int_equal(mprotect(given, GIVEN, PROT_READ | PROT_WRITE), 0);
    } while (step_next(STEPS));
}

static void *free_without_shard(void *block) {
    mtrace_me_.attach_calls = 1;
    return free_stepped(block);
}

/* A thread that touches the tracer's memory is marked as inside, at each instruction. */
static void test_stop_leaves_memory(void **state) {
    (void)state;
    stepped_site = test_site("stepped.c", 1);
    given = mmap(NULL, GIVEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(given != MAP_FAILED);
    memory_is_left_by(free_stepped, 0);
    memory_is_left_by(free_without_shard, 0);
    memory_is_left_by(free_without_shard, 4096);
    (void)munmap(given, GIVEN);
}
#else
static void test_handler_attaches(void **state) {
    (void)state;
    skip(); /* traps are asked for in assembly, and sanitizers do not run in handlers */
}
static void test_handler_forgets(void **state) {
    test_handler_attaches(state);
}

static void test_handler_after_a_peak(void **state) {
    test_handler_attaches(state);
}

static void test_sweep_takes_retired_alone(void **state) {
    test_handler_attaches(state);
}

static void test_stop_leaves_memory(void **state) {
    test_handler_attaches(state);
}
#endif

/* --- a wait for calls is for calls that began before it, not for later ones --- */

#if TEST_ATOMICS
typedef struct caller {
    pthread_barrier_t met; /* with the test: inside, and to leave */
    pthread_t thread;
    uint32_t attach_calls; /* 1: it gets no shard now */
    int calls;
} caller;

static void *call(void *argument) {
    caller *c = (caller *)argument;
    mtrace_me_.attach_calls = c->attach_calls;
    for (; c->calls > 0; c->calls--) {
        (void)mtrace_enter_();
        pthread_barrier_wait(&c->met);
        pthread_barrier_wait(&c->met);
        mtrace_leave_();
    }
    return NULL;
}

static void call_begins(caller *c, uint32_t attach_calls, int calls) {
    c->attach_calls = attach_calls;
    c->calls = calls;
    assert_int_equal(pthread_barrier_init(&c->met, NULL, 2), 0);
    assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
    pthread_barrier_wait(&c->met);
}

static void call_ends(caller *c) {
    pthread_barrier_wait(&c->met);
    assert_int_equal(pthread_join(c->thread, NULL), 0);
    pthread_barrier_destroy(&c->met);
}

static void *wait_for_calls(void *waited) {
    *(bool *)waited = mtrace_wait_for_calls_();
    return NULL;
}

static void wait_begins(pthread_t *thread, bool *waited) {
    size_t turn = MTRACE_GET_(&mtrace_g_.epoch);
    *waited = false;
    assert_int_equal(pthread_create(thread, NULL, wait_for_calls, waited), 0);
    while (MTRACE_GET_(&mtrace_g_.epoch) == turn) {
        sched_yield();
    }
}

static void test_waits_for_earlier_calls(void **state) {
    pthread_t waiting;
    caller one, later;
    bool waited;
    (void)state;
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    /* a shard's thread is inside again before anybody looks */
    call_begins(&one, 0, 2);
    wait_begins(&waiting, &waited);
    pthread_barrier_wait(&one.met);
    pthread_barrier_wait(&one.met);
    assert_int_equal(pthread_join(waiting, NULL), 0);
    assert_true(waited);
    call_ends(&one);
    /* of two threads without shards one is always inside */
    call_begins(&one, 1, 1);
    wait_begins(&waiting, &waited);
    call_begins(&later, 1, 1);
    call_ends(&one);
    assert_int_equal(pthread_join(waiting, NULL), 0);
    assert_true(waited);
    call_ends(&later);
    mtrace_stop();
}

static mtrace_site shared_site, old_scope, new_scope;
static pthread_barrier_t at_scope; /* with the test */

static void *stand_in_old_scope(void *argument) {
    mtrace_frame frames[2];
    mtrace_traceback found;
    mtrace_scope before;
    mtrace_me_.attach_calls = 1;
    before = mtrace_scope_push_at(&old_scope);
    pthread_barrier_wait(&at_scope);
    pthread_barrier_wait(&at_scope);
    mtrace_me_.attach_calls = 0; /* takes over what a thread of the new session had */
    assert_int_equal(mtrace_track_at(0, 0x5000, 10, &shared_site), MTRACE_OK);
    found.count = 0;
    assert_int_equal(test_find_traceback(&found, 0, 0x5000, frames, 2), MTRACE_OK);
    assert_int_equal(found.count, 1);
    mtrace_scope_restore(before);
    return argument;
}

static void *record_in_new_scope(void *argument) {
    mtrace_scope before = mtrace_scope_push_at(&new_scope);
    (void)mtrace_track_at(0, 0x5000, 10, &shared_site);
    (void)mtrace_track_at(0, 0x5000, 10, &shared_site);
    mtrace_scope_restore(before);
    return argument;
}

/* A scope of an earlier start has a number that another one has now; what the shard remembers is
   the other's. */
static void test_old_scope_in_a_new_shard(void **state) {
    pthread_t old;
    int i;
    (void)state;
    shared_site = test_site("shared.c", 1);
    old_scope = test_site("old.c", 1);
    new_scope = test_site("new.c", 1);
    assert_int_equal(pthread_barrier_init(&at_scope, NULL, 2), 0);
    test_start_scoped(32, 0, 2);
    assert_int_equal(pthread_create(&old, NULL, stand_in_old_scope, NULL), 0);
    pthread_barrier_wait(&at_scope);
    mtrace_stop();
    test_start_scoped(32, 0, 2);
    for (i = 0; i < MTRACE_SHARDS; i++) {
        test_in_thread(record_in_new_scope, NULL);
    }
    pthread_barrier_wait(&at_scope);
    assert_int_equal(pthread_join(old, NULL), 0);
    pthread_barrier_destroy(&at_scope);
    mtrace_stop();
}

/* A snapshot has counted its room. Then a clear comes, and a new site. Its account gets the number
   of one retired before. So the rows fit, but the site's names lie behind the text that the
   snapshot copies, and its row would point into the tracer's memory. Such a copy fails, and room
   is counted anew. */
static void test_snapshot_before_new_names(void **state) {
    mtrace_site sites[4];
    mtrace_snapshot_layout_ layout;
    mtrace_snapshot *s;
    void *blocks[4];
    (void)state;
    test_start(64, 16);
    sites[0] = test_site("a.c", 1);
    sites[1] = test_site("b.c", 1);
    sites[2] = test_site("c.c", 1);
    sites[3] = test_site("later.c", 1);
    blocks[0] = mtrace_malloc_at(10, &sites[0]);
    blocks[1] = mtrace_malloc_at(10, &sites[1]);
    mtrace_clear();
    mtrace_free_at(blocks[0], NULL);
    mtrace_free_at(blocks[1], NULL);
    blocks[2] = mtrace_malloc_at(10, &sites[2]);
    layout.started = mtrace_g_.started;
    layout.block_room = 0;
    assert_true(mtrace_snapshot_layout_compute_(&layout));
    s = mtrace_snapshot_new_(&layout, NULL);
    assert_non_null(s);
    mtrace_clear();
    blocks[3] = mtrace_malloc_at(10, &sites[3]);
    assert_false(mtrace_snapshot_fill_(s, &layout));
    mtrace_result_free_(s->own_memory, s->own_size);
    mtrace_free_at(blocks[2], NULL);
    mtrace_free_at(blocks[3], NULL);
    mtrace_stop();
}
#else
static void test_waits_for_earlier_calls(void **state) {
    (void)state;
}

static void test_old_scope_in_a_new_shard(void **state) {
    (void)state;
}
#endif

static void make_keys(void) {
    int i, failed = pthread_key_create(&early_key, end_early);
    for (i = 0; i < KEYS; i++) {
        failed |= pthread_key_create(&keys[i], NULL);
    }
    if (failed != 0) {
        abort();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_act_in_handler),
        cmocka_unit_test(test_handler_records),
        cmocka_unit_test(test_handler_interns),
        cmocka_unit_test(test_destructors_allocate),
        cmocka_unit_test(test_child_goes_on),
        cmocka_unit_test(test_handler_attaches),
        cmocka_unit_test(test_handler_forgets),
        cmocka_unit_test(test_handler_after_a_peak),
        cmocka_unit_test(test_waits_for_earlier_calls),
        cmocka_unit_test(test_sweep_takes_retired_alone),
#if TEST_ATOMICS
        cmocka_unit_test(test_snapshot_before_new_names),
#endif
        cmocka_unit_test(test_stop_leaves_memory),
        cmocka_unit_test(test_old_scope_in_a_new_shard),
    };
    make_keys();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

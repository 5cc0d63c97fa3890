/* The line profile: the charges of each line of a profiled function, by its own macros, by marks,
   by return addresses. Recursion, nesting, threads, each way to leave a function. The limit, full
   tables, reports. At the end random calls are compared with a naive model. */

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif
#include "support/test.h"
#include "support/ext.h"
#include "support/tools.h"

#include <pthread.h>
#include <sys/stat.h>

#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE
#endif

enum { MIB = 1 << 20 };

/* --- reports as rows --- */

typedef struct line {
    char function[32];
    uint32_t line;
    uint64_t runs;
    int runs_exact;
    int64_t held;
    int64_t change;
    int64_t peak;
    uint64_t allocs;
    uint64_t frees;
    int64_t rise;
    uint64_t calls;
} line;

enum { LINES = 512 };
static line lines[LINES];
static size_t line_count;

static void report_to(test_output *out, mtrace_profile_style style, const char *function) {
    mtrace_profile_report_desc desc = MTRACE_ZERO_;
    memset(out, 0, sizeof *out);
    desc.style = style;
    desc.write = test_write;
    desc.write_user = out;
    desc.function = function;
    assert_int_equal(mtrace_profile_report(&desc), MTRACE_OK);
}

/* The fields that stand before the source: it may hold anything. */
static void read_line(const char *text, line *l) {
    char file[256];
    long long held, change, peak, rise;
    unsigned long long runs, allocs, frees, calls;
    unsigned number;
    assert_int_equal(sscanf(text,
                            "\"%255[^\"]\",\"%31[^\"]\",%u,%llu,%d,%lld,%lld,%lld,%llu,%llu,%lld,"
                            "%llu,",
                            file, l->function, &number, &runs, &l->runs_exact, &held, &change,
                            &peak, &allocs, &frees, &rise, &calls),
                     12);
    l->line = number;
    l->runs = runs;
    l->held = held;
    l->change = change;
    l->peak = peak;
    l->allocs = allocs;
    l->frees = frees;
    l->rise = rise;
    l->calls = calls;
}

static void report(void) {
    static test_output out;
    const char *at;
    report_to(&out, MTRACE_PROFILE_CSV, NULL);
    line_count = 0;
    for (at = strstr(out.text, "\r\n"); at != NULL && at[2] != '\0'; at = strstr(at + 2, "\r\n")) {
        assert_true(line_count < LINES);
        read_line(at + 2, &lines[line_count++]);
    }
}

static line *find(const char *function, uint32_t number) {
    size_t i;
    for (i = 0; i < line_count; i++) {
        if (lines[i].line == number && strcmp(lines[i].function, function) == 0) {
            return &lines[i];
        }
    }
    return NULL;
}

static line *row(const char *function, uint32_t number) {
    line *l = find(function, number);
    if (l == NULL) {
        fail_msg("no line %u of %s", (unsigned)number, function);
    }
    return l;
}

/* The expected row of a line: its runs and its changes. */
static void expect(const char *function, uint32_t number, uint64_t runs, uint64_t allocs,
                   uint64_t frees, int64_t change) {
    line *l = row(function, number);
    assert_int_equal(l->runs, runs);
    assert_int_equal(l->allocs, allocs);
    assert_int_equal(l->frees, frees);
    assert_int_equal(l->change, change);
}

static void expect_levels(const char *function, uint32_t number, int64_t held, int64_t peak,
                          int64_t rise) {
    line *l = row(function, number);
    assert_int_equal(l->held, held);
    assert_int_equal(l->peak, peak);
    assert_int_equal(l->rise, rise);
}

/* --- start and end of a test --- */

static void start_with(const mtrace_profile_desc *desc) {
    mtrace_desc tracer = MTRACE_ZERO_;
    tracer.max_blocks = 8192;
    assert_int_equal(mtrace_start(&tracer), MTRACE_OK);
    assert_int_equal(mtrace_profile_start(desc), MTRACE_OK);
}

static void start(void) {
    start_with(NULL);
}

/* No call is under way, the thread has no observer any more, the tracer is sound. */
static int stop(void **state) {
    bool watched = mtrace_get_observer().call != NULL;
    const char *broken = mtrace_check();
    mtrace_observer none = MTRACE_ZERO_;
    mtrace_set_observer(none); /* a test that failed may have left calls behind */
    test_forget_workers();
    mtrace_profile_stop();
    test_stop_after(state);
    return watched || broken != NULL ? -1 : 0;
}

#define PROFILE_TEST(function) cmocka_unit_test_teardown(function, stop)

/* --- the function's own macros --- */

static uint32_t first_line;

static NOINLINE int own(int rounds) {
    int i, sum = 0;
    char *data, *copy;
    MT_PROFILE();
    first_line = __LINE__;
    data = (char *)MT_CALLOC(10, MIB); /* + 1 */
    for (i = 0; i < rounds; i++) {
        copy = (char *)MT_MALLOC(4 * MIB); /* + 3 */
        copy[i] = 1;
        sum += copy[i];
        MT_FREE(copy); /* + 6 */
    }
    MT_FREE(data); /* + 8 */
    return sum;
}

static void test_own_macros(void **state) {
    (void)state;
    start();
    assert_int_equal(own(3), 3);
    assert_int_equal(own(2), 2);
    report();
    assert_int_equal(line_count, 4);
    expect("own", first_line + 1, 2, 2, 0, 20 * MIB);
    expect("own", first_line + 3, 5, 5, 0, 20 * MIB);
    expect("own", first_line + 6, 5, 0, 5, -20 * MIB);
    expect("own", first_line + 8, 2, 0, 2, -20 * MIB);
    expect_levels("own", first_line + 1, 10 * MIB, 10 * MIB, 10 * MIB);
    expect_levels("own", first_line + 3, 14 * MIB, 14 * MIB, 4 * MIB);
    expect_levels("own", first_line + 6, 10 * MIB, 14 * MIB, 0);
    expect_levels("own", first_line + 8, 0, 10 * MIB, 0);
    assert_int_equal(row("own", first_line + 3)->runs_exact, 1);
    assert_int_equal(row("own", first_line + 3)->calls, 2);
}

static NOINLINE void *reallocs(void) {
    char *p;
    MT_PROFILE();
    first_line = __LINE__;
    p = (char *)MT_MALLOC(100);
    p = (char *)MT_REALLOC(p, 300);
    return MT_REALLOC(p, 200);
}

static void test_realloc_is_a_free_and_an_allocation(void **state) {
    void *kept;
    (void)state;
    start();
    kept = reallocs();
    report();
    expect("reallocs", first_line + 2, 1, 1, 1, 200);
    expect_levels("reallocs", first_line + 2, 300, 300, 200);
    expect("reallocs", first_line + 3, 1, 1, 1, -100);
    expect_levels("reallocs", first_line + 3, 200, 300, 0);
    MT_FREE(kept);
}

/* A call starts at the level held before, and is not charged for it. */
static void test_levels_start_at_what_is_held(void **state) {
    void *before;
    (void)state;
    start();
    before = MT_MALLOC(7 * MIB);
    own(1);
    report();
    expect_levels("own", first_line + 3, 21 * MIB, 21 * MIB, 4 * MIB);
    MT_FREE(before);
}

/* --- ways out --- */

static NOINLINE void *leaves(int how) {
    void *p;
    int i;
    MT_PROFILE();
    first_line = __LINE__;
    p = MT_MALLOC(100);
    if (how == 0) {
        return p;
    }
    for (i = 0; i < 2; i++) {
        MT_PROFILE(); /* a block of its own: a call inside of the call */
        MT_FREE(p);
        p = NULL;
        if (how == 1) {
            break;
        }
        if (how == 2) {
            continue;
        }
        goto out;
    }
out:
    return p;
}

static void test_every_way_out(void **state) {
    int how;
    (void)state;
    start();
    MT_FREE(leaves(0));
    for (how = 1; how < 4; how++) {
        assert_null(leaves(how));
        assert_null(mtrace_get_observer().call);
    }
    MT_FREE(MT_MALLOC(1)); /* no call is under way: not charged */
    report();
    expect("leaves", first_line + 1, 4, 4, 0, 400);
    /* the loop's block is a profiled place of its own, and its calls are inside the function's */
    assert_int_equal(row("leaves", first_line + 1)->calls, 4);
}

static jmp_buf back;

static NOINLINE void jumps(void) {
    MT_PROFILE();
    first_line = __LINE__;
    MT_FREE(MT_MALLOC(50));
    longjmp(back, 1);
}

static NOINLINE void around(void) {
    MT_PROFILE();
    if (setjmp(back) == 0) {
        jumps();
    }
    MT_FREE(MT_MALLOC(60));
}

/* A call that a longjmp has left ends with the one around it. */
static void test_longjmp_within(void **state) {
    (void)state;
    start();
    around();
    assert_null(mtrace_get_observer().call);
    report();
    expect("jumps", first_line + 1, 1, 1, 1, 0);
}

static NOINLINE void jump_once(void) {
    if (setjmp(back) == 0) {
        jumps();
    }
}

/* Left by a longjmp and none around it: the next one at the same place ends it. */
static void test_longjmp_out_of_all(void **state) {
    mtrace_observer none = MTRACE_ZERO_;
    int i;
    (void)state;
    start();
    for (i = 0; i < 1000; i++) {
        jump_once();
    }
    report();
    assert_int_equal(row("jumps", first_line + 1)->calls, 1000);
    assert_int_equal(row("jumps", first_line + 1)->allocs, 1000);
    mtrace_set_observer(none);
}

#ifdef __cplusplus
static NOINLINE void throws(void) {
    MT_PROFILE();
    first_line = __LINE__;
    MT_FREE(MT_MALLOC(50));
    throw 1;
}

static void test_exceptions(void **state) {
    bool caught = false;
    (void)state;
    start();
    try {
        throws();
    } catch (int) {
        caught = true;
    }
    assert_true(caught);
    assert_null(mtrace_get_observer().call);
    report();
    expect("throws", first_line + 1, 1, 1, 1, 0);
}
#endif

/* --- marks --- */

static NOINLINE void *elsewhere(size_t size) {
    return MT_MALLOC(size);
}

static NOINLINE void gone(void *p) {
    MT_FREE(p);
}

static NOINLINE int marked(void) {
    void *a, *b;
    int value, i;
    MT_PROFILE();
    first_line = __LINE__;
    a = MT_LINE(elsewhere(10));
    for (i = 0; i < 3; i++) {
        b = MT_LINE(elsewhere(20));
        MT_LINE(gone(b));
    }
    MT_LINE(gone(a));
    value = MT_LINE(MT_LINE(41) + 1);
    return value;
}

static void test_marks(void **state) {
    (void)state;
    start();
    assert_int_equal(marked(), 42);
    report();
    expect("marked", first_line + 1, 1, 1, 0, 10);
    expect("marked", first_line + 3, 3, 3, 0, 60);
    expect("marked", first_line + 4, 3, 0, 3, -60);
    expect("marked", first_line + 6, 1, 0, 1, -10);
    assert_int_equal(row("marked", first_line + 3)->runs_exact, 1);
    expect_levels("marked", first_line + 3, 30, 30, 20);
}

/* A mark belongs to the function that set it. */
static NOINLINE void not_profiled(void) {
    MT_LINE(MT_FREE(MT_MALLOC(5)));
    MT_LINE();
}

static NOINLINE void profiled(void) {
    MT_PROFILE();
    first_line = __LINE__;
    MT_LINE(not_profiled());
}

static void test_marks_of_others(void **state) {
    (void)state;
    start();
    profiled();
    not_profiled();
    report();
    assert_int_equal(line_count, 1);
    expect("profiled", first_line + 1, 1, 1, 1, 0);
}

/* --- no marks: the return address --- */

static NOINLINE void *deep(int depth, size_t size) {
    char *p = depth > 0 ? (char *)deep(depth - 1, size) : (char *)MT_MALLOC(size);
    p[0] = (char)depth; /* no tail call */
    return p;
}

static inline void *inlined(size_t size) {
    return MT_MALLOC(size);
}

static NOINLINE int unmarked(int rounds) {
    void *a, *b, *c;
    int i;
    MT_PROFILE();
    first_line = __LINE__;
    a = elsewhere(10);
    for (i = 0; i < rounds; i++) {
        b = deep(i % 5, 1000);
        c = deep(i % 5, 2000);
        gone(c);
        gone(b);
    }
    b = inlined(7);
    gone(b);
    gone(a);
    return i;
}

static void expect_unmarked(int rounds) {
    int64_t n = rounds;
    report();
    if (!test_unwinds()) {
        assert_int_equal(line_count, 1);
        assert_int_equal(row("unmarked", 0)->change, 0);
        return;
    }
    assert_int_equal(line_count, 8);
    expect("unmarked", first_line + 1, 1, 1, 0, 10);
    expect("unmarked", first_line + 3, (uint64_t)n, (uint64_t)n, 0, n * 1000);
    expect("unmarked", first_line + 4, (uint64_t)n, (uint64_t)n, 0, n * 2000);
    expect("unmarked", first_line + 5, (uint64_t)n, 0, (uint64_t)n, -n * 2000);
    expect("unmarked", first_line + 6, (uint64_t)n, 0, (uint64_t)n, -n * 1000);
    expect("unmarked", first_line + 8, 1, 1, 0, 7);
    expect("unmarked", first_line + 9, 1, 0, 1, -7);
    expect("unmarked", first_line + 10, 1, 0, 1, -10);
    assert_int_equal(row("unmarked", first_line + 3)->runs_exact, 0);
}

static void test_return_addresses(void **state) {
    (void)state;
    start();
    assert_int_equal(unmarked(1000), 1000);
    expect_unmarked(1000);
}

/* The same from another distance to the stack's end, so that nothing found once can be used. */
static NOINLINE int with_stack(int rounds, size_t bytes) {
    volatile char space[4096];
    space[bytes % sizeof space] = 1;
    return bytes > sizeof space ? with_stack(rounds, bytes - sizeof space) + space[1] * 0
                                : unmarked(rounds) + space[1] * 0;
}

static void test_return_addresses_from_anywhere(void **state) {
    (void)state;
    start();
    with_stack(10, 10000);
    with_stack(10, 20000);
    unmarked(10);
    if (test_unwinds()) {
        report();
        expect("unmarked", first_line + 3, 30, 30, 0, 30000);
        assert_null(find("unmarked", 0));
    }
}

/* The size of a frame differs from call to call: an earlier result must not be used. */
static NOINLINE void *with_room(size_t room, size_t size) {
#if defined(__GNUC__)
    volatile char *space = (volatile char *)__builtin_alloca(room);
#else
    volatile char space[1];
#endif
    void *p;
    space[0] = 1;
    p = elsewhere(size + (space[0] == 1 ? 0 : 1));
    space[0] = 2;
    return p;
}

static NOINLINE void variable(void) {
    int i;
    MT_PROFILE();
    first_line = __LINE__;
    for (i = 0; i < 200; i++) {
        void *a = with_room((size_t)(i * 37 % 512) + 1, 10);
        void *b = with_room((size_t)(i * 53 % 512) + 1, 1);
        gone(a);
        gone(b);
    }
}

static void test_return_addresses_of_growing_frames(void **state) {
    (void)state;
    start();
    variable();
    if (test_unwinds()) {
        report();
        expect("variable", first_line + 2, 200, 200, 0, 2000);
        expect("variable", first_line + 3, 200, 200, 0, 200);
    }
}

static NOINLINE void *route_a(size_t size) {
    char *p = (char *)elsewhere(size);
    p[0] = 1;
    return p;
}

static NOINLINE void *route_b(size_t size) {
    char *p = (char *)elsewhere(size);
    p[0] = 2;
    return p;
}

static NOINLINE void routes(void) {
    int i;
    MT_PROFILE();
    first_line = __LINE__;
    for (i = 0; i < 100; i++) {
        void *a = route_a(10);
        void *b = route_b(20);
        gone(a);
        gone(b);
    }
}

/* Two paths of the same length to one site. */
static void test_equal_routes(void **state) {
    (void)state;
    start();
    routes();
    if (test_unwinds()) {
        report();
        expect("routes", first_line + 2, 100, 100, 0, 1000);
        expect("routes", first_line + 3, 100, 100, 0, 2000);
    }
}

static NOINLINE void sticky(void) {
    void *a, *b;
    MT_PROFILE();
    first_line = __LINE__;
    MT_LINE();
    a = elsewhere(10);
    MT_LINE();
    b = elsewhere(20);
    gone(a);
    gone(b);
}

/* MT_LINE(); counts runs, and is charged only if the return address does not show the line. */
static void test_statement_marks(void **state) {
    (void)state;
    start();
    sticky();
    report();
    if (test_unwinds()) {
        assert_int_equal(row("sticky", first_line + 1)->allocs, 0);
        expect("sticky", first_line + 2, 1, 1, 0, 10);
        expect("sticky", first_line + 4, 1, 1, 0, 20);
    } else {
        expect("sticky", first_line + 1, 1, 1, 0, 10);
        expect("sticky", first_line + 3, 1, 1, 2, -10);
    }
    assert_int_equal(row("sticky", first_line + 1)->runs_exact, 1);
}

/* --- nesting, recursion, threads --- */

static uint32_t outer_line, inner_line;

static NOINLINE void *inner(size_t size) {
    void *p, *q;
    MT_PROFILE();
    inner_line = __LINE__;
    p = MT_MALLOC(size);
    q = MT_MALLOC(3 * size);
    MT_FREE(q);
    return p;
}

static NOINLINE void outer(void) {
    void *a, *b;
    MT_PROFILE();
    outer_line = __LINE__;
    a = MT_LINE(inner(100));
    b = MT_LINE(inner(1000));
    MT_FREE(a);
    MT_FREE(b);
}

static void test_nested(void **state) {
    (void)state;
    start();
    outer();
    report();
    expect("inner", inner_line + 1, 2, 2, 0, 1100);
    expect("inner", inner_line + 2, 2, 2, 0, 3300);
    expect("inner", inner_line + 3, 2, 0, 2, -3300);
    expect("outer", outer_line + 1, 1, 2, 1, 100);
    expect("outer", outer_line + 2, 1, 2, 1, 1000);
    expect_levels("outer", outer_line + 1, 100, 400, 400);
    expect_levels("outer", outer_line + 2, 1100, 4100, 4000);
    expect_levels("inner", inner_line + 2, 4100, 4100, 3000);
    expect("outer", outer_line + 3, 1, 0, 1, -100);
}

static NOINLINE void recursive(int depth) {
    void *p;
    MT_PROFILE();
    first_line = __LINE__;
    p = MT_MALLOC(100);
    if (depth > 1) {
        MT_LINE(recursive(depth - 1));
    }
    MT_FREE(p);
}

/* Each call is charged: 10 levels allocate; the line that recurs includes all that lie below. */
static void test_recursion(void **state) {
    (void)state;
    start();
    recursive(10);
    report();
    expect("recursive", first_line + 1, 10, 10, 0, 1000);
    expect("recursive", first_line + 3, 9, 45, 45, 0);
    expect("recursive", first_line + 5, 10, 0, 10, -1000);
    expect_levels("recursive", first_line + 3, 900, 1000, 900);
    assert_int_equal(row("recursive", first_line + 1)->rise, 100);
}

typedef struct job {
    pthread_barrier_t *barrier;
    int rounds;
    size_t size;
} job;

static NOINLINE void in_thread(const job *j) {
    int i;
    MT_PROFILE();
    __atomic_store_n(&first_line, __LINE__, __ATOMIC_RELAXED);
    for (i = 0; i < j->rounds; i++) {
        void *p = MT_MALLOC(j->size);
        void *q = MT_LINE(elsewhere(2 * j->size));
        MT_FREE(p);
        MT_FREE(q);
    }
}

static void *run_thread(void *user) {
    const job *j = (const job *)user;
    int i;
    pthread_barrier_wait(j->barrier);
    for (i = 0; i < 10; i++) {
        in_thread(j);
    }
    return NULL;
}

/* Several threads: the levels of each one are its own changes, without the others'. */
static void test_threads(void **state) {
    enum { THREADS = 6, ROUNDS = 200 };
    pthread_t threads[THREADS];
    pthread_barrier_t barrier;
    job jobs[THREADS];
    int i;
    (void)state;
    if (!TEST_ATOMICS) {
        return; /* all tasks share one profile then: nothing to hold apart */
    }
    start();
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (i = 0; i < THREADS; i++) {
        jobs[i].barrier = &barrier;
        jobs[i].rounds = ROUNDS;
        jobs[i].size = 1000;
        assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &jobs[i]), 0);
    }
    report(); /* meanwhile, too */
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&barrier);
    report();
    expect("in_thread", first_line + 2, THREADS * 10 * ROUNDS, THREADS * 10 * ROUNDS, 0,
           (int64_t)THREADS * 10 * ROUNDS * 1000);
    expect("in_thread", first_line + 3, THREADS * 10 * ROUNDS, THREADS * 10 * ROUNDS, 0,
           (int64_t)THREADS * 10 * ROUNDS * 2000);
    assert_int_equal(row("in_thread", first_line + 2)->calls, THREADS * 10);
    assert_int_equal(row("in_thread", first_line + 3)->rise, 2000);
    assert_int_equal(row("in_thread", first_line + 2)->rise, 1000);
}

/* --- the limit --- */

typedef struct alarm_log {
    int count;
    mtrace_exceeded last;
    bool allocates;
} alarm_log;

static void exceeded(const mtrace_exceeded *what, void *user) {
    alarm_log *log = (alarm_log *)user;
    log->count++;
    log->last = *what;
    if (log->allocates) {
        MT_FREE(MT_MALLOC(10000)); /* above the limit already: no alarm of its own */
    }
}

static NOINLINE void up_and_down(int rounds) {
    int i;
    MT_PROFILE();
    first_line = __LINE__;
    for (i = 0; i < rounds; i++) {
        void *p = MT_MALLOC(600);
        void *q = MT_LINE(elsewhere(500));
        MT_FREE(q);
        MT_FREE(p);
    }
}

static void test_limit(void **state) {
    mtrace_profile_desc desc = MTRACE_ZERO_;
    alarm_log log = MTRACE_ZERO_;
    (void)state;
    log.allocates = true;
    desc.limit = 1000;
    desc.exceeded = exceeded;
    desc.user = &log;
    start_with(&desc);
    up_and_down(3);
    assert_int_equal(log.count, 3); /* each time that it was below in between */
    assert_string_equal(log.last.function, "up_and_down");
    assert_int_equal(log.last.line, first_line + 3);
    assert_int_equal(log.last.held, 1100);
    assert_int_equal(log.last.limit, 1000);
    MT_FREE(MT_MALLOC(100000)); /* outside of profiled functions there is no limit */
    assert_int_equal(log.count, 3);
}

static NOINLINE void limited(void) {
    MT_PROFILE_LIMIT(100);
    first_line = __LINE__;
    MT_FREE(MT_MALLOC(101));
}

static NOINLINE void limited_around(void) {
    MT_PROFILE();
    limited();
    MT_FREE(MT_MALLOC(500)); /* the limit has ended with its call */
}

static void test_limit_of_one_function(void **state) {
    mtrace_profile_desc desc = MTRACE_ZERO_;
    alarm_log log = MTRACE_ZERO_;
    (void)state;
    desc.exceeded = exceeded;
    desc.user = &log;
    start_with(&desc);
    limited_around();
    assert_int_equal(log.count, 1);
    assert_int_equal(log.last.line, first_line + 1);
    assert_int_equal(log.last.limit, 100);
}

/* --- full tables, odd calls --- */

static void test_little_room(void **state) {
    static test_output out;
    mtrace_profile_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.max_lines = 2;
    desc.max_depth = 5;
    desc.max_threads = 1;
    start_with(&desc);
    own(3);
    recursive(10);
    test_sound();
    report_to(&out, MTRACE_PROFILE_TABLE, NULL);
    assert_non_null(strstr(out.text, "raise max_lines"));
    assert_non_null(strstr(out.text, "not measured: too deep"));
    report();
    assert_int_equal(line_count, 2);
    expect("own", lines[0].line, 1, 1, 0, 10 * MIB);
}

static void *one_call(void *user) {
    (void)user;
    own(1);
    return NULL;
}

static NOINLINE void with_a_thread(void) {
    pthread_t thread;
    MT_PROFILE();
    assert_int_equal(pthread_create(&thread, NULL, one_call, NULL), 0);
    pthread_join(thread, NULL);
}

static void test_too_many_threads(void **state) {
    static test_output out;
    mtrace_profile_desc desc = MTRACE_ZERO_;
    (void)state;
    if (!TEST_ATOMICS) {
        return;
    }
    desc.max_threads = 1;
    start_with(&desc);
    with_a_thread();
    report_to(&out, MTRACE_PROFILE_TABLE, NULL);
    assert_non_null(strstr(out.text, "warning: 1 call not measured"));
    assert_null(strstr(out.text, " own "));
}

static void test_dropped_blocks_are_told(void **state) {
    static test_output out;
    mtrace_desc tracer = MTRACE_ZERO_;
    int i;
    (void)state;
    tracer.max_blocks = 8;
    assert_int_equal(mtrace_start(&tracer), MTRACE_OK);
    assert_int_equal(mtrace_profile_start(NULL), MTRACE_OK);
    {
        void *blocks[100];
        MT_PROFILE();
        for (i = 0; i < 100; i++) {
            blocks[i] = MT_MALLOC(10);
        }
        for (i = 0; i < 100; i++) {
            MT_FREE(blocks[i]);
        }
    }
    report_to(&out, MTRACE_PROFILE_TABLE, NULL);
    assert_non_null(strstr(out.text, "not seen: the trace table was full"));
}

static NOINLINE void starts_inside(void) {
    MT_PROFILE();
    assert_int_equal(mtrace_profile_start(NULL), MTRACE_ERR_ALREADY);
    mtrace_profile_stop();
    assert_int_equal(mtrace_profile_start(NULL), MTRACE_ERR_ALREADY); /* this call is under way */
    own(1);                                                           /* not measured any more */
    MT_FREE(MT_MALLOC(1));
}

static void test_order_of_calls(void **state) {
    mtrace_profile_token way = MTRACE_ZERO_, stale;
    mtrace_profile_desc desc = MTRACE_ZERO_;
    mtrace_desc tracer = MTRACE_ZERO_;
    (void)state;
    own(1);
    assert_int_equal(mtrace_profile_start(NULL), MTRACE_ERR_NOT_TRACING);
    tracer.sample_interval = test_can_sample() ? 65536 : 0;
    assert_int_equal(mtrace_start(&tracer), MTRACE_OK);
    if (test_can_sample()) {
        assert_int_equal(mtrace_profile_start(NULL), MTRACE_ERR_ARGUMENT);
    }
    mtrace_stop();
    start();
    desc.max_lines = 100000;
    assert_int_equal(mtrace_profile_start(&desc), MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_profile_start(NULL), MTRACE_ERR_ALREADY);
    starts_inside();
    report();
    assert_null(find("own", first_line + 1));
    assert_int_equal(mtrace_profile_start(NULL), MTRACE_OK);
    report();
    assert_int_equal(line_count, 0); /* a start forgets */
    mtrace_profile_pop(way);
    stale = MT_PROFILE_PUSH(0);
    mtrace_profile_pop(stale);
    mtrace_profile_pop(stale);
    stale.context = 1000000;
    stale.serial = 77;
    mtrace_profile_pop(stale);
    way = MT_PROFILE_PUSH(0);
    mtrace_stop();
    MT_FREE(MT_MALLOC(10));
    mtrace_profile_pop(way);
    own(1);
    assert_null(mtrace_get_observer().call);
}

static NOINLINE void recurs(int depth) {
    void *p;
    MT_PROFILE();
    first_line = __LINE__;
    if (depth > 1) {
        recurs(depth - 1);
    }
    p = MT_MALLOC(10);
    MT_FREE(p);
}

/* The line that recurs is found as any other. */
static void test_unmarked_recursion(void **state) {
    (void)state;
    start();
    recurs(5);
    report();
    expect("recurs", test_unwinds() ? first_line + 2 : 0, 4, 10, 10, 0);
    expect("recurs", first_line + 4, 5, 5, 0, 50);
}

/* --- reports --- */

static const char source[] = "/* a comment { */\n"
                             "#define BRACE {\n"
                             "static const char *s = \"}{\"; // {\n"
                             "static int\n"
                             "work(int n) {\n"
                             "    MT_PROFILE();\n"
                             "    char c = '{';\n"
                             "    if (n) {\n"
                             "        a = MT_MALLOC(n);\n"
                             "    }\n"
                             "\n"
                             "    MT_FREE(a);\n"
                             "}\n"
                             "int other(void) { return 0; }\n";

typedef struct fixture {
    char path[64];
    mtrace_site function;
} fixture;

/* A file with that text, and calls as if its line 6 and others ran. */
static void make_file(fixture *f, const char *text) {
    FILE *file;
    int descriptor;
    strcpy(f->path, "/tmp/mtrace-test-XXXXXX");
    descriptor = mkstemp(f->path);
    assert_true(descriptor >= 0);
    file = fdopen(descriptor, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    memset(&f->function, 0, sizeof f->function);
    f->function.file = f->path;
    f->function.function = "work";
    f->function.line = 6;
}

static mtrace_site *line_of(const fixture *f, uint32_t number) {
    static mtrace_site sites[16];
    mtrace_site *site = &sites[number % 16];
    *site = f->function;
    site->line = number;
    site->cache = 0;
    return site;
}

static NOINLINE char *keep_one(size_t size) {
    MT_PROFILE();
    return (char *)MT_MALLOC(size);
}

static void run_fixture(fixture *f) {
    mtrace_profile_token way = mtrace_profile_push_at(&f->function, 0, NULL);
    void *p = mtrace_malloc_at(3 * MIB, line_of(f, 9));
    void *q = mtrace_malloc_at(MIB, line_of(f, 9));
    mtrace_free_at(p, line_of(f, 12));
    mtrace_free_at(q, line_of(f, 12));
    mtrace_profile_pop(way);
}

/* The head line's three levels are each the most of all calls, and it says so. */
static void test_head_of_many_calls(void **state) {
    static test_output out;
    static char *kept[3];
    int i;
    (void)state;
    start();
    for (i = 0; i < 3; i++) {
        kept[i] = keep_one(9000 - 4000 * (size_t)i);
    }
    report_to(&out, MTRACE_PROFILE_TABLE, "keep_one");
    assert_non_null(strstr(
        out.text, ": 3 calls; 13.67 KiB held before, 14.65 KiB at the peak, 14.65 KiB after, each "
                  "the most of all calls\n"));
    for (i = 0; i < 3; i++) {
        MT_FREE(kept[i]);
    }
}

static void test_table(void **state) {
    static test_output out;
    static const char *const wanted =
        ":6: 1 call; 0 B held before, 4.00 MiB at the peak, 0 B after\n"
        "  LINE       HELD     CHANGE, B       PEAK   ALLOCS   FREES  SHARE OF PEAK     SOURCE\n"
        "     4                                                                         static "
        "int\n"
        "     5                                                                         work(int "
        "n) {\n"
        "     6                                                                             "
        "MT_PROFILE();\n"
        "     7                                                                             char c "
        "= '{';\n"
        "     8                                                                             if (n) "
        "{\n"
        "     9   4.00 MiB    +4,194,304   4.00 MiB        2       0  100 % ##########          a "
        "= MT_MALLOC(n);\n"
        "    10                                                                             }\n"
        "    11                                                                         \n"
        "    12   1.00 MiB    -4,194,304   4.00 MiB        0       2                        "
        "MT_FREE(a);\n"
        "    13                                                                         }\n"
        "   SUM                       +0                                                (kept: 0 "
        "B)\n"
        "\n";
    fixture f;
    (void)state;
    make_file(&f, source);
    start();
    run_fixture(&f);
    report_to(&out, MTRACE_PROFILE_TABLE, NULL);
    remove(f.path);
    assert_int_equal(strncmp(out.text, "mtrace: work /tmp/mtrace-test-", 30), 0);
    assert_string_equal(out.text + 30 + 6, wanted);
}

/* No row is wider than asked for, with tabs and with text that is not ASCII. A narrow table leaves
   columns out, but keeps CHANGE, PEAK and the row SUM. */
static void test_table_of_columns(void **state) {
    static test_output out;
    static const char wide[] =
        "int\nwork(int n) {\n\t\tchar *very = \"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"; /* and so on, "
        "and on, "
        "and on, and on, and on, and on, and on, and on, and on, and on, and on, and on */\n"
        "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\n\n\n"
        "\n\n    a = MT_MALLOC(n);\n}\n";
    mtrace_profile_report_desc desc = MTRACE_ZERO_;
    fixture f;
    (void)state;
    make_file(&f, wide);
    start();
    run_fixture(&f);
    desc.write = test_write;
    desc.write_user = &out;
    for (desc.columns = 72; desc.columns < 180; desc.columns++) {
        const char *at, *end;
        out.length = 0;
        assert_int_equal(mtrace_profile_report(&desc), MTRACE_OK);
        for (at = out.text; *at != '\0'; at = end + 1) {
            end = strchr(at, '\n');
            assert_true((size_t)(end - at) <= desc.columns);
        }
        assert_null(strchr(out.text, '\t'));
        assert_non_null(strstr(out.text, "\n   SUM "));
        assert_non_null(strstr(out.text, "+4,194,304   4.00 MiB "));
        assert_int_equal(strstr(out.text, " HELD ") != NULL, desc.columns >= 91);
        assert_int_equal(strstr(out.text, " ALLOCS ") != NULL, desc.columns >= 108);
        assert_int_equal(strstr(out.text, " SHARE OF PEAK ") != NULL, desc.columns >= 119);
    }
    remove(f.path);
}

static void test_classic(void **state) {
    static test_output out;
    static const char *const wanted =
        "\n\n"
        "Line #    Mem usage    Increment  Occurrences   Line Contents\n"
        "=============================================================\n"
        "     4    0.000 MiB    0.000 MiB           1   static int\n"
        "     5                                         work(int n) {\n"
        "     6                                             MT_PROFILE();\n"
        "     7                                             char c = '{';\n"
        "     8                                             if (n) {\n"
        "     9    4.000 MiB    4.000 MiB           2           a = MT_MALLOC(n);\n"
        "    10                                             }\n"
        "    11                                         \n"
        "    12    1.000 MiB   -4.000 MiB           2       MT_FREE(a);\n"
        "    13                                         }\n\n\n";
    fixture f;
    (void)state;
    make_file(&f, source);
    start();
    run_fixture(&f);
    report_to(&out, MTRACE_PROFILE_CLASSIC, NULL);
    remove(f.path);
    assert_int_equal(strncmp(out.text, "Filename: /tmp/mtrace-test-", 27), 0);
    assert_string_equal(out.text + 27 + 6, wanted);
}

/* No source, no lines: numbers all the same. */
static void test_without_source(void **state) {
    static test_output out;
    fixture f;
    (void)state;
    make_file(&f, source);
    remove(f.path);
    start();
    run_fixture(&f);
    report_to(&out, MTRACE_PROFILE_TABLE, NULL);
    assert_non_null(strstr(out.text, "     9   4.00 MiB    +4,194,304   4.00 MiB        2"));
    report_to(&out, MTRACE_PROFILE_CLASSIC, NULL);
    assert_non_null(strstr(out.text, "     6    0.000 MiB    0.000 MiB           1"));
    report_to(&out, MTRACE_PROFILE_JSON, NULL);
    assert_non_null(strstr(out.text, "\"change_bytes\":4194304,"));
}

/* Odd source files: the rows are there, and nothing is read beyond the end. */
static void test_odd_sources(void **state) {
    static const char *const texts[] = {"",
                                        "{",
                                        "}}}}",
                                        "\"",
                                        "/*",
                                        "'",
                                        "#",
                                        "#define X \\",
                                        "\n\n\n\n\n/* MT_PROFILE();",
                                        "{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{\n\n\n\n\n\nx;}"};
    static test_output out;
    size_t i;
    (void)state;
    start();
    for (i = 0; i < sizeof texts / sizeof *texts; i++) {
        fixture f;
        make_file(&f, texts[i]);
        mtrace_profile_stop();
        assert_int_equal(mtrace_profile_start(NULL), MTRACE_OK);
        run_fixture(&f);
        report_to(&out, MTRACE_PROFILE_TABLE, NULL);
        remove(f.path);
        /* as they are told, unless the text says that the function ends before */
        assert_true(
            strstr(out.text, "     9   4.00 MiB    +4,194,304   4.00 MiB        2") != NULL ||
            strstr(out.text, "     ?   4.00 MiB            +0   4.00 MiB        2") != NULL);
    }
}

/* Names and sources neither end a row nor command a terminal, in no style. */
static void test_wild_names(void **state) {
    static test_output out;
    static const char *const expected[] = {"\\x1b[31mwo\\x0ark ", "Filename: /tmp/",
                                           "\",\"\\x1b[31mwo\\x0ark\",",
                                           "\"function\":\"\\u001b[31mwo\\u000ark\",\"calls\""};
    size_t style, i;
    (void)state;
    start();
    for (style = 0; style < 4; style++) {
        fixture f;
        make_file(&f, "/* 1 */\n\n\nint\nwork(void) {\n    MT_PROFILE();\n    \x1b[2J\xc2\x9b\f\n\n"
                      "    p = \"\t\";\n}\n");
        f.function.function = "\x1b[31mwo\nrk";
        mtrace_profile_stop();
        assert_int_equal(mtrace_profile_start(NULL), MTRACE_OK);
        run_fixture(&f);
        report_to(&out, (mtrace_profile_style)style, NULL);
        remove(f.path);
        assert_non_null(strstr(out.text, expected[style]));
        for (i = 0; i < out.length; i++) {
            unsigned char c = (unsigned char)out.text[i];
            assert_true(c >= ' ' || c == '\n' || c == '\r' || c == '\t');
            assert_true(c != 0x7f && c != 0xc2);
        }
    }
}

/* The source may be no file: a FIFO is not waited for. */
static void test_source_that_is_a_fifo(void **state) {
    static test_output out;
    fixture f;
    (void)state;
    start();
    make_file(&f, "");
    remove(f.path);
    assert_int_equal(mkfifo(f.path, 0600), 0);
    alarm(20);
    run_fixture(&f);
    report_to(&out, MTRACE_PROFILE_TABLE, NULL);
    alarm(0);
    remove(f.path);
    assert_non_null(strstr(out.text, "     9   4.00 MiB    +4,194,304   4.00 MiB        2"));
}

static void test_json_and_filter(void **state) {
    static test_output out;
    (void)state;
    start();
    outer();
    own(1);
    report_to(&out, MTRACE_PROFILE_JSON, "o*");
    assert_null(strstr(out.text, "\"function\":\"inner\""));
    assert_non_null(strstr(out.text, "\"function\":\"outer\""));
    assert_non_null(strstr(out.text, "\"function\":\"own\""));
    assert_int_equal(out.text[0], '[');
    assert_string_equal(out.text + out.length - 4, "]}]\n");
}

static void test_report_errors(void **state) {
    mtrace_profile_report_desc desc = MTRACE_ZERO_;
    (void)state;
    start();
    own(1);
    desc.path = "/nowhere/at/all";
    assert_int_equal(mtrace_profile_report(&desc), MTRACE_ERR_IO);
    desc.path = "/dev/full";
    assert_int_equal(mtrace_profile_report(&desc), MTRACE_ERR_IO);
}

/* A report inside of a call shows the changes so far, and the call goes on. */
static NOINLINE void reports_inside(void) {
    void *p;
    MT_PROFILE();
    first_line = __LINE__;
    p = MT_MALLOC(100);
    report();
    expect("reports_inside", first_line + 1, 1, 1, 0, 100);
    expect_levels("reports_inside", first_line + 1, 100, 100, 100);
    MT_FREE(p);
    p = MT_MALLOC(50);
    MT_FREE(p);
}

static NOINLINE void around_report(void) {
    MT_PROFILE();
    outer_line = __LINE__;
    MT_LINE(reports_inside());
}

static void test_report_meanwhile(void **state) {
    (void)state;
    start();
    around_report();
    report();
    expect("reports_inside", first_line + 1, 1, 1, 0, 100);
    expect("reports_inside", first_line + 5, 1, 0, 1, -100);
    expect("reports_inside", first_line + 6, 1, 1, 0, 50);
    expect("around_report", outer_line + 1, 1, 2, 2, 0);
    expect_levels("around_report", outer_line + 1, 100, 100, 100);
    expect_levels("reports_inside", first_line + 1, 100, 100, 100);
}

static void test_after_every_call(void **state) {
    static test_output out;
    mtrace_profile_desc desc = MTRACE_ZERO_;
    const char *second;
    (void)state;
    desc.after_every_call = true;
    desc.report.style = MTRACE_PROFILE_CLASSIC;
    desc.report.write = test_write;
    desc.report.write_user = &out;
    memset(&out, 0, sizeof out);
    start_with(&desc);
    own(3);
    own(2);
    recursive(3); /* one report for the outermost call */
    assert_non_null(strstr(out.text, "   12.000 MiB           3           copy = "));
    second = strstr(out.text, "    8.000 MiB           2           copy = ");
    assert_non_null(second);
    second = strstr(second, "Filename: ");
    assert_non_null(second);
    assert_null(strstr(second + 1, "Filename: "));
    report();
    assert_int_equal(line_count, 0);
}

static char exit_path[] = "/tmp/mtrace-test-XXXXXX";

static int at_exit_child(void) {
    mtrace_profile_desc desc = MTRACE_ZERO_;
    desc.at_exit = true;
    desc.report.style = MTRACE_PROFILE_CSV;
    desc.report.path = exit_path;
    start_with(&desc);
    own(2);
    exit(0);
}

static void test_at_exit(void **state) {
    char text[4096];
    FILE *file;
    (void)state;
    TEST_NEEDS_POSIX();
    strcpy(exit_path + strlen(exit_path) - 6, "XXXXXX");
    close(mkstemp(exit_path));
    assert_int_equal(test_in_child(at_exit_child), 0);
    file = fopen(exit_path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    remove(exit_path);
    assert_non_null(strstr(text, ",2,1,14680064,8388608,"));
}

/* --- memory usage --- */

static void *used(void *argument) {
    size_t size = *(size_t *)argument;
    void *kept = MT_MALLOC(size), *extra = MT_MALLOC(2 * size);
    MT_FREE(extra);
    return kept;
}

static void *uses(void *argument) {
    mtrace_usage inside = MTRACE_ZERO_;
    assert_int_equal(mtrace_memory_usage(&inside, used, argument), MTRACE_OK);
    assert_int_equal(inside.peak - inside.before, 3 * *(size_t *)argument);
    MT_FREE(inside.result);
    own(1);
    return NULL;
}

static void test_memory_usage(void **state) {
    mtrace_usage usage = MTRACE_ZERO_;
    size_t size = 1000;
    void *before;
    (void)state;
    assert_int_equal(mtrace_memory_usage(&usage, used, &size), MTRACE_ERR_NOT_TRACING);
    start();
    assert_int_equal(mtrace_memory_usage(&usage, NULL, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_memory_usage(NULL, used, &size), MTRACE_ERR_ARGUMENT);
    before = MT_MALLOC(500);
    assert_int_equal(mtrace_memory_usage(&usage, used, &size), MTRACE_OK);
    assert_int_equal(usage.before, 500);
    assert_int_equal(usage.after, 1500);
    assert_int_equal(usage.peak, 3500);
    assert_int_equal(usage.allocations, 2);
    assert_int_equal(usage.frees, 1);
    assert_int_equal(usage.dropped, 0);
    assert_non_null(usage.result);
    MT_FREE(usage.result);
    MT_FREE(before);
    assert_int_equal(mtrace_memory_usage(&usage, uses, &size), MTRACE_OK);
    assert_int_equal(usage.peak, 14 * MIB);
    assert_int_equal(usage.allocations, 4);
    assert_int_equal(usage.after, 0);
    report();
    expect("own", first_line + 3, 1, 1, 0, 4 * MIB);
}

static NOINLINE void measures(void) {
    mtrace_usage usage = MTRACE_ZERO_;
    size_t size = 10;
    MT_PROFILE();
    outer_line = __LINE__;
    MT_LINE(mtrace_memory_usage(&usage, uses, &size));
    MT_FREE(MT_MALLOC(1));
}

static void test_usage_inside_of_a_profile(void **state) {
    (void)state;
    start();
    measures();
    report();
    expect("measures", outer_line + 1, 1, 4, 4, 0);
    expect_levels("measures", outer_line + 1, 0, 14 * MIB, 14 * MIB);
    expect("own", first_line + 3, 1, 1, 0, 4 * MIB);
}

static void *jumps_out(void *argument) {
    (void)argument;
    longjmp(back, 1);
    return NULL;
}

/* Measurements left by a longjmp are over when the next one begins. */
static void test_usage_left_by_longjmp(void **state) {
    static int i;
    mtrace_usage usage = MTRACE_ZERO_;
    size_t size = 1000;
    (void)state;
    start();
    for (i = 0; i < 100; i++) {
        if (setjmp(back) == 0) {
            assert_int_equal(mtrace_memory_usage(&usage, jumps_out, NULL), MTRACE_OK);
        }
        MT_FREE(MT_MALLOC(10));
    }
    assert_int_equal(mtrace_memory_usage(&usage, used, &size), MTRACE_OK);
    assert_int_equal(usage.allocations, 2);
    MT_FREE(usage.result);
    own(1);
    report();
    expect("own", first_line + 3, 1, 1, 0, 4 * MIB);
    test_measurement_heal((const void *)UINTPTR_MAX);
    assert_null(mtrace_get_observer().call);
}

static void *nests(void *depth) {
    mtrace_usage usage = MTRACE_ZERO_;
    int left = *(int *)depth - 1;
    return (void *)(left > 0 ? (intptr_t)mtrace_memory_usage(&usage, nests, &left) +
                                   (intptr_t)usage.result
                             : 0);
}

/* 16 at once, and no more. */
static void test_usage_too_deep(void **state) {
    mtrace_usage usage = MTRACE_ZERO_;
    int depth = 16;
    (void)state;
    start();
    assert_int_equal(mtrace_memory_usage(&usage, nests, &depth), MTRACE_OK);
    assert_int_equal((intptr_t)usage.result, 0);
    depth = 17;
    assert_int_equal(mtrace_memory_usage(&usage, nests, &depth), MTRACE_OK);
    assert_int_equal((intptr_t)usage.result, MTRACE_ERR_FULL_USAGE);
    assert_non_null(strstr(mtrace_result_text(MTRACE_ERR_FULL_USAGE), "measured"));
}

/* Three deep, the innermost left by a longjmp, then the thread ends. */
static void *ends_its_thread(void *depth) {
    mtrace_usage usage = MTRACE_ZERO_;
    int left = *(int *)depth - 1;
    MT_FREE(MT_MALLOC(10));
    if (left > 0) {
        mtrace_memory_usage(&usage, ends_its_thread, &left);
    }
    if (setjmp(back) == 0) {
        mtrace_memory_usage(&usage, jumps_out, NULL);
    }
    pthread_exit(NULL);
    return NULL;
}

static void *ends_inside(void *unused) {
    mtrace_usage usage = MTRACE_ZERO_;
    int depth = 3;
    (void)unused;
    mtrace_memory_usage(&usage, ends_its_thread, &depth);
    return NULL;
}

/* A thread that ends inside of measurements gives their places back. */
static void test_usage_in_a_thread_that_ends(void **state) {
    mtrace_usage usage = MTRACE_ZERO_;
    int depth = 16, i;
    (void)state;
    start();
    for (i = 0; i < 20; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, ends_inside, NULL), 0);
        pthread_join(thread, NULL);
    }
    assert_int_equal(mtrace_memory_usage(&usage, nests, &depth), MTRACE_OK);
    assert_int_equal((intptr_t)usage.result, 0);
}

/* A measurement that ends also ends those that a longjmp left inside. */
static void *is_left_inside(void *unused) {
    mtrace_usage usage = MTRACE_ZERO_;
    if (setjmp(back) == 0) {
        mtrace_memory_usage(&usage, jumps_out, NULL);
    }
    return unused;
}

static void test_usage_around_one_left_by_longjmp(void **state) {
    mtrace_usage usage = MTRACE_ZERO_;
    int depth = 16, i;
    (void)state;
    start();
    for (i = 0; i < 20; i++) {
        assert_int_equal(mtrace_memory_usage(&usage, is_left_inside, NULL), MTRACE_OK);
    }
    assert_null(mtrace_get_observer().call);
    assert_int_equal(mtrace_memory_usage(&usage, nests, &depth), MTRACE_OK);
    assert_int_equal((intptr_t)usage.result, 0);
}

/* --- rare ways into and out of a call --- */

static NOINLINE void leaves_by_jump(void) {
    MT_PROFILE();
    longjmp(back, 1);
}

static NOINLINE void leaves_from_far(void) {
    volatile char space[65536];
    space[first_line % sizeof space] = 1;
    space[0] = 1;
    leaves_by_jump();
    space[1] = space[0];
}

static NOINLINE void goes_on(void) {
    MT_PROFILE();
    first_line = __LINE__;
    if (setjmp(back) == 0) {
        leaves_from_far();
    }
    MT_FREE(MT_MALLOC(700)); /* its own again, not the other's */
}

static void test_after_a_longjmp(void **state) {
    static test_output out;
    (void)state;
    start();
    goes_on();
    report();
    if (__builtin_frame_address(0) != NULL) {
        expect("goes_on", first_line + 4, 1, 1, 1, 0);
        assert_null(find("leaves_by_jump", 0));
        report_to(&out, MTRACE_PROFILE_TABLE, NULL);
        assert_non_null(strstr(out.text, "warning: 1 call left by longjmp"));
    }
}

static void *jump_back(void) {
    longjmp(back, 1);
    return NULL;
}

static NOINLINE void jumps_out_of_a_mark(void) {
    MT_PROFILE();
    first_line = __LINE__;
    if (setjmp(back) == 0) {
        MT_LINE(jump_back());
    }
    MT_FREE(MT_MALLOC(70));
}

static void test_mark_left_by_longjmp(void **state) {
    (void)state;
    start();
    jumps_out_of_a_mark();
    report();
    expect("jumps_out_of_a_mark", first_line + 4, 1, 1, 1, 0);
}

static NOINLINE void blocks_inside(void) {
    int i;
    MT_PROFILE();
    first_line = __LINE__;
    for (i = 0; i < 3; i++) {
        MT_PROFILE();
        MT_FREE(MT_MALLOC(10));
    }
    MT_FREE(MT_MALLOC(1000));
}

/* Two places in one frame are two calls, even if the compiler copied one. */
static void test_blocks_of_a_function(void **state) {
    (void)state;
    start();
    blocks_inside();
    report();
    expect("blocks_inside", first_line + 3, 3, 3, 3, 0);
    expect("blocks_inside", first_line + 5, 1, 1, 1, 0);
}

/* A thread frees blocks of another thread: levels do not fall below 0. */
static void test_levels_of_what_others_hold(void **state) {
    void *kept;
    mtrace_profile_token way;
    mtrace_observer observer, none = MTRACE_ZERO_;
    (void)state;
    start();
    way = MT_PROFILE_PUSH(0);
    observer = mtrace_set_observer(none);
    kept = MT_MALLOC(1000); /* as if another thread did */
    mtrace_set_observer(observer);
    MT_FREE(kept);
    MT_FREE(MT_MALLOC(1));
    mtrace_profile_pop(way);
    report();
    assert_int_equal(line_count > 0, 1);
    assert_int_equal(lines[0].held, 0);
}

/* Above the limit from the beginning, that is said once; and again after it was below. */
static void test_limit_exceeded_before(void **state) {
    mtrace_profile_desc desc = MTRACE_ZERO_;
    alarm_log log = MTRACE_ZERO_;
    void *before;
    (void)state;
    desc.limit = 1000;
    desc.exceeded = exceeded;
    desc.user = &log;
    start_with(&desc);
    before = MT_MALLOC(2000);
    up_and_down(3);
    assert_int_equal(log.count, 1);
    MT_FREE(before);
    up_and_down(1);
    assert_int_equal(log.count, 2);
}

/* --- random calls beside a naive model: it keeps each call's whole history --- */

enum { FUNCTIONS = 3, MODEL_LINES = 6 /* 0: not known */, DEPTH = 6, MODEL_BLOCKS = 64 };

typedef struct model_call {
    int function;
    int line; /* that runs; -1: none */
    const mtrace_site *site;
    bool only;
    int marked;    /* 0: no */
    int before;    /* it was */
    int64_t start; /* the level when the line began */
} model_call;

typedef struct model_line {
    uint64_t runs, allocs, frees;
    int64_t change, held, peak, rise;
    bool seen;
} model_line;

static struct {
    model_call calls[DEPTH];
    int depth;
    int64_t level;
    model_line lines[FUNCTIONS][MODEL_LINES];
    uint64_t count[FUNCTIONS];
    void *blocks[MODEL_BLOCKS];
    size_t sizes[MODEL_BLOCKS];
    mtrace_profile_token ways[DEPTH];
    mtrace_line_token marks[DEPTH];
} m;

static const char names[FUNCTIONS][4] = {"f0", "f1", "f2"};
static mtrace_site model_functions[FUNCTIONS];
static mtrace_site model_sites[FUNCTIONS][MODEL_LINES][2];
static uint32_t model_random_state;

static uint32_t model_random(uint32_t below) {
    model_random_state = model_random_state * 1664525u + 1013904223u;
    return (model_random_state >> 8) % below;
}

static void model_leave_line(model_call *c) {
    if (c->line >= 0) {
        model_line *l = &m.lines[c->function][c->line];
        l->held = l->held > m.level ? l->held : m.level;
    }
}

static void model_turn(model_call *c, int to) {
    model_line *l = &m.lines[c->function][to];
    model_leave_line(c);
    c->start = to != c->line ? m.level : c->start;
    c->line = to;
    l->runs++;
    l->peak = l->seen && l->peak > m.level ? l->peak : m.level;
    l->held = l->seen ? l->held : INT64_MIN;
    l->seen = true;
}

/* An event of `change` bytes at that line of the innermost call, and of those around it. */
static void model_event(int64_t change, int to, const mtrace_site *site) {
    model_call *top = &m.calls[m.depth - 1];
    int i;
    if (top->only && to != top->marked) {
        top->only = false; /* as a longjmp leaves a mark */
    }
    if (top->only) {
        to = top->marked;
        site = top->site;
    }
    if (to != top->line || (!top->only && site != NULL && site == top->site)) {
        model_turn(top, to);
    }
    top->site = top->only ? top->site : site;
    m.level += change;
    for (i = 0; i < m.depth; i++) {
        model_call *c = &m.calls[i];
        model_line *l = &m.lines[c->function][c->line];
        l->change += change;
        *(change > 0 ? &l->allocs : &l->frees) += 1;
        l->peak = l->peak > m.level ? l->peak : m.level;
        l->rise = l->rise > m.level - c->start ? l->rise : m.level - c->start;
    }
}

static void model_push(int function) {
    model_call *c = &m.calls[m.depth];
    if (m.depth > 0) { /* the line that makes the call: the mark's, for no return address tells */
        model_call *around = &m.calls[m.depth - 1];
        around->site = around->only ? around->site : NULL;
        if (around->marked != around->line) {
            model_turn(around, around->marked);
        }
    }
    memset(c, 0, sizeof *c);
    c->function = function;
    c->line = -1;
    m.ways[m.depth++] = mtrace_profile_push_at(&model_functions[function], 0, NULL);
    m.count[function]++;
}

static void model_pop(void) {
    model_call *c = &m.calls[--m.depth];
    model_leave_line(c);
    mtrace_profile_pop(m.ways[m.depth]);
}

static void model_allocate_or_free(void) {
    model_call *c = &m.calls[m.depth - 1];
    uint32_t at = model_random(MODEL_BLOCKS);
    int to = (int)model_random(MODEL_LINES - 1) + 1;
    mtrace_site *site = &model_sites[c->function][to][model_random(2)];
    if (m.blocks[at] == NULL) {
        m.sizes[at] = model_random(1000) + 1;
        m.blocks[at] = mtrace_malloc_at(m.sizes[at], site);
        model_event((int64_t)m.sizes[at], to, site);
    } else {
        mtrace_free_at(m.blocks[at], site);
        m.blocks[at] = NULL;
        model_event(-(int64_t)m.sizes[at], to, site);
    }
}

static void model_mark(void) {
    model_call *c = &m.calls[m.depth - 1];
    int to = (int)model_random(MODEL_LINES - 1) + 1;
    bool only = model_random(2) != 0;
    mtrace_line_token way;
    if (c->only) {
        mtrace_profile_unmark_at(m.marks[m.depth - 1]);
        c->only = false;
        c->marked = c->before;
        return;
    }
    way = mtrace_profile_mark_at(names[c->function], (uint32_t)to, only);
    c->site = NULL;
    model_turn(c, to);
    c->only = only;
    c->before = c->marked;
    c->marked = to;
    m.marks[m.depth - 1] = way;
}

static void model_compare(void) {
    int f, j;
    report();
    for (f = 0; f < FUNCTIONS; f++) {
        for (j = 0; j < MODEL_LINES; j++) {
            const model_line *l = &m.lines[f][j];
            if (l->seen) {
                expect(names[f], (uint32_t)j, l->runs, l->allocs, l->frees, l->change);
                expect_levels(names[f], (uint32_t)j, l->held, l->peak, l->rise);
            } else {
                assert_null(find(names[f], (uint32_t)j));
            }
        }
    }
}

static void model_run(uint32_t seed) {
    int i, f, j;
    memset(&m, 0, sizeof m);
    model_random_state = seed;
    for (f = 0; f < FUNCTIONS; f++) {
        model_functions[f] = test_site("model.c", 1000 + (uint32_t)f);
        model_functions[f].function = names[f];
        for (j = 0; j < 2 * MODEL_LINES; j++) {
            mtrace_site *site = &model_sites[f][j / 2][j % 2];
            *site = test_site("model.c", (uint32_t)j / 2);
            site->function = names[f];
        }
    }
    for (i = 0; i < 300; i++) {
        uint32_t what = model_random(10);
        if (m.depth == 0 || (what == 0 && m.depth < DEPTH)) {
            model_push((int)model_random(FUNCTIONS));
        } else if (what == 1) {
            model_pop();
        } else if (what == 2) {
            model_mark();
        } else {
            model_allocate_or_free();
        }
    }
    while (m.depth > 0) {
        model_pop();
    }
    assert_int_equal(m.level, mtrace_get_traced_memory().current);
    model_compare();
    for (i = 0; i < MODEL_BLOCKS; i++) {
        MT_FREE(m.blocks[i]);
    }
}

static void test_model(void **state) {
    uint32_t seed;
    (void)state;
    start();
    for (seed = 1; seed <= 300; seed++) {
        mtrace_profile_stop();
        assert_int_equal(mtrace_profile_start(NULL), MTRACE_OK);
        model_run(seed);
    }
}

/* The first test: nothing was profiled yet. People get a line, programs get no prose. */
static void test_no_profile(void **state) {
    static test_output out;
    mtrace_profile_report_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.write = test_write;
    desc.write_user = &out;
    assert_int_equal(mtrace_profile_report(&desc), MTRACE_ERR_NOT_FOUND);
    assert_string_equal(out.text,
                        "mtrace: not found: no profile, mtrace_profile_start() was not called\n");
    desc.style = MTRACE_PROFILE_JSON;
    out.length = 0;
    assert_int_equal(mtrace_profile_report(&desc), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(out.length, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        PROFILE_TEST(test_no_profile),
        PROFILE_TEST(test_own_macros),
        PROFILE_TEST(test_realloc_is_a_free_and_an_allocation),
        PROFILE_TEST(test_levels_start_at_what_is_held),
        PROFILE_TEST(test_every_way_out),
        PROFILE_TEST(test_longjmp_within),
        PROFILE_TEST(test_longjmp_out_of_all),
#ifdef __cplusplus
        PROFILE_TEST(test_exceptions),
#endif
        PROFILE_TEST(test_marks),
        PROFILE_TEST(test_marks_of_others),
        PROFILE_TEST(test_return_addresses),
        PROFILE_TEST(test_return_addresses_from_anywhere),
        PROFILE_TEST(test_return_addresses_of_growing_frames),
        PROFILE_TEST(test_equal_routes),
        PROFILE_TEST(test_statement_marks),
        PROFILE_TEST(test_nested),
        PROFILE_TEST(test_recursion),
        PROFILE_TEST(test_unmarked_recursion),
        PROFILE_TEST(test_threads),
        PROFILE_TEST(test_limit),
        PROFILE_TEST(test_limit_of_one_function),
        PROFILE_TEST(test_little_room),
        PROFILE_TEST(test_too_many_threads),
        PROFILE_TEST(test_dropped_blocks_are_told),
        PROFILE_TEST(test_order_of_calls),
        PROFILE_TEST(test_head_of_many_calls),
        PROFILE_TEST(test_table),
        PROFILE_TEST(test_table_of_columns),
        PROFILE_TEST(test_classic),
        PROFILE_TEST(test_without_source),
        PROFILE_TEST(test_odd_sources),
        PROFILE_TEST(test_wild_names),
        PROFILE_TEST(test_source_that_is_a_fifo),
        PROFILE_TEST(test_json_and_filter),
        PROFILE_TEST(test_report_errors),
        PROFILE_TEST(test_report_meanwhile),
        PROFILE_TEST(test_after_every_call),
        PROFILE_TEST(test_at_exit),
        PROFILE_TEST(test_memory_usage),
        PROFILE_TEST(test_usage_inside_of_a_profile),
        PROFILE_TEST(test_usage_left_by_longjmp),
        PROFILE_TEST(test_usage_too_deep),
        PROFILE_TEST(test_usage_in_a_thread_that_ends),
        PROFILE_TEST(test_usage_around_one_left_by_longjmp),
        PROFILE_TEST(test_after_a_longjmp),
        PROFILE_TEST(test_mark_left_by_longjmp),
        PROFILE_TEST(test_blocks_of_a_function),
        PROFILE_TEST(test_levels_of_what_others_hold),
        PROFILE_TEST(test_limit_exceeded_before),
        PROFILE_TEST(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

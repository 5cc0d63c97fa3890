/* The line profile: the charges of each line of a profiled function, by its own macros, by marks,
   by return addresses. Recursion, nesting, threads, each way to leave a function. The limit, full
   tables, reports. At the end random calls are compared with a naive model. */

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif
#include "support/test.h"
#include "support/ext.h"
#include "support/threads.h"
#include "support/tools.h"
#include "support/traces.h"

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
    test_start(8192, 0);
    assert_int_equal(mtrace_profile_start(desc), MTRACE_OK);
}

static void start(void) {
    start_with(NULL);
}

static void restart_profile(void) {
    mtrace_profile_stop();
    assert_int_equal(mtrace_profile_start(NULL), MTRACE_OK);
}

/* No call is under way, the thread has no observer any more, the tracer is sound. */
static int stop(void **state) {
    bool observed = test_observer().call != NULL;
    const char *broken = mtrace_check();
    mtrace_observer none = MTRACE_ZERO_;
    mtrace_set_observer(none); /* a test that failed may have left calls behind */
    test_forget_workers();
    mtrace_profile_stop();
    test_stop_after(state);
    return observed || broken != NULL ? -1 : 0;
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

static void own_twice(void) {
    assert_int_equal(own(3), 3);
    assert_int_equal(own(2), 2);
}

static NOINLINE void reallocs(void) {
    char *p;
    MT_PROFILE();
    first_line = __LINE__;
    p = (char *)MT_MALLOC(100);
    p = (char *)MT_REALLOC(p, 300);
    p = (char *)MT_REALLOC(p, 200);
    MT_FREE(p);
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

/* --- leaving a function --- */

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

static void test_leaving_a_function(void **state) {
    int how;
    (void)state;
    start();
    MT_FREE(leaves(0));
    for (how = 1; how < 4; how++) {
        assert_null(leaves(how));
        assert_null(test_observer().call);
    }
    MT_FREE(MT_MALLOC(1)); /* no call is under way: not charged */
    report();
    expect("leaves", first_line + 1, 4, 4, 0, 400);
    /* the loop's block is a profiled block of its own, and its calls are inside the function's */
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
    assert_null(test_observer().call);
    report();
    expect("jumps", first_line + 1, 1, 1, 1, 0);
}

static NOINLINE void jump_once(void) {
    if (setjmp(back) == 0) {
        jumps();
    }
}

/* Left by a longjmp and none around it: the next one at the same call site ends it. */
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

static void catches(void) {
    bool caught = false;
    try {
        throws();
    } catch (int) {
        caught = true;
    }
    assert_true(caught);
}
#endif

/* --- marks --- */

static NOINLINE void *elsewhere(size_t size) {
    return MT_MALLOC(size);
}

static NOINLINE void gone(void *p) {
    MT_FREE(p);
}

static NOINLINE void marked(void) {
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
    assert_int_equal(value, 42);
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

static void marks_of_others(void) {
    profiled();
    not_profiled();
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

static void unmarked_1000(void) {
    assert_int_equal(unmarked(1000), 1000);
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

static NOINLINE void *path_a(size_t size) {
    char *p = (char *)elsewhere(size);
    p[0] = 1;
    return p;
}

static NOINLINE void *path_b(size_t size) {
    char *p = (char *)elsewhere(size);
    p[0] = 2;
    return p;
}

static NOINLINE void paths(void) {
    int i;
    MT_PROFILE();
    first_line = __LINE__;
    for (i = 0; i < 100; i++) {
        void *a = path_a(10);
        void *b = path_b(20);
        gone(a);
        gone(b);
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

static void recursive_10(void) {
    recursive(10);
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
    }
    test_threads_begin(threads, THREADS, run_thread, jobs, sizeof *jobs);
    report(); /* while they run, too */
    test_threads_end(threads, THREADS);
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

typedef struct limit_log {
    int count;
    mtrace_exceeded last;
    bool allocates;
} limit_log;

static void exceeded(const mtrace_exceeded *what, void *user) {
    limit_log *log = (limit_log *)user;
    log->count++;
    log->last = *what;
    if (log->allocates) {
        MT_FREE(MT_MALLOC(10000)); /* above the limit already: no alarm of its own */
    }
}

static void start_limited(uint64_t limit, limit_log *log) {
    mtrace_profile_desc desc = MTRACE_ZERO_;
    desc.limit = limit;
    desc.exceeded = exceeded;
    desc.user = log;
    start_with(&desc);
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
    limit_log log = MTRACE_ZERO_;
    (void)state;
    log.allocates = true;
    start_limited(1000, &log);
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
    limit_log log = MTRACE_ZERO_;
    (void)state;
    start_limited(0, &log);
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
    MT_PROFILE();
    test_in_thread(one_call, NULL);
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

static void test_dropped_blocks_are_reported(void **state) {
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
    mtrace_profile_token token = MTRACE_ZERO_, stale;
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
    mtrace_profile_pop(token);
    stale = MT_PROFILE_PUSH(0);
    mtrace_profile_pop(stale);
    mtrace_profile_pop(stale);
    stale.context = 1000000;
    stale.serial = 77;
    mtrace_profile_pop(stale);
    token = MT_PROFILE_PUSH(0);
    mtrace_stop();
    MT_FREE(MT_MALLOC(10));
    mtrace_profile_pop(token);
    own(1);
    assert_null(test_observer().call);
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

static void recurs_5(void) {
    recurs(5);
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
    f->function.cache = test_cache();
}

static mtrace_site *line_of(const fixture *f, uint32_t number) {
    static mtrace_site sites[16];
    mtrace_site *site = &sites[number % 16];
    *site = f->function;
    site->line = number;
    site->cache = NULL; /* the array's site is another one by and by */
    return site;
}

static NOINLINE char *keep_one(size_t size) {
    MT_PROFILE();
    return (char *)MT_MALLOC(size);
}

static void run_fixture(fixture *f) {
    mtrace_profile_token token = mtrace_profile_push_at(&f->function, 0, NULL);
    void *p = mtrace_malloc_at(3 * MIB, line_of(f, 9));
    void *q = mtrace_malloc_at(MIB, line_of(f, 9));
    mtrace_free_at(p, line_of(f, 12));
    mtrace_free_at(q, line_of(f, 12));
    mtrace_profile_pop(token);
}

/* The report in that style of a file with that text, after calls as if its lines ran. */
static const char *fixture_report(const char *text, mtrace_profile_style style) {
    static test_output out;
    fixture f;
    make_file(&f, text);
    run_fixture(&f);
    report_to(&out, style, NULL);
    remove(f.path);
    return out.text;
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
    const char *text;
    (void)state;
    start();
    text = fixture_report(source, MTRACE_PROFILE_TABLE);
    assert_int_equal(strncmp(text, "mtrace: work /tmp/mtrace-test-", 30), 0);
    assert_string_equal(text + 30 + 6, wanted);
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
    const char *text;
    (void)state;
    start();
    text = fixture_report(source, MTRACE_PROFILE_CLASSIC);
    assert_int_equal(strncmp(text, "Filename: /tmp/mtrace-test-", 27), 0);
    assert_string_equal(text + 27 + 6, wanted);
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
    size_t i;
    (void)state;
    start();
    for (i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *text;
        restart_profile();
        text = fixture_report(texts[i], MTRACE_PROFILE_TABLE);
        /* line 9 as it ran, unless the text says that the function ends before */
        assert_true(strstr(text, "     9   4.00 MiB    +4,194,304   4.00 MiB        2") != NULL ||
                    strstr(text, "     ?   4.00 MiB            +0   4.00 MiB        2") != NULL);
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
        restart_profile();
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

static void test_report_during_a_call(void **state) {
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
    assert_null(test_observer().call);
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
        test_in_thread(ends_inside, NULL);
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
    assert_null(test_observer().call);
    assert_int_equal(mtrace_memory_usage(&usage, nests, &depth), MTRACE_OK);
    assert_int_equal((intptr_t)usage.result, 0);
}

/* --- longjmp, blocks, other threads --- */

static NOINLINE void leaves_by_jump(void) {
    MT_PROFILE();
    longjmp(back, 1);
}

static NOINLINE void leaves_from_deeper(void) {
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
        leaves_from_deeper();
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

/* --- the whole report of a call, by function and line behind MT_PROFILE --- */

typedef struct profiled_call {
    const char *name;
    void (*call)(void);
    const char *report;  /* see expect_report */
    const char *without; /* where return addresses are not found; NULL: the same */
} profiled_call;

static const profiled_call profiled_calls[] = {
    {"own macros", own_twice,
     "own+1 2x +2-0 =20971520 10485760/10485760/10485760 in 2 | "
     "own+3 5x +5-0 =20971520 14680064/14680064/4194304 in 2 | "
     "own+6 5x +0-5 =-20971520 10485760/14680064/0 in 2 | "
     "own+8 2x +0-2 =-20971520 0/10485760/0 in 2",
     NULL},
    {"a realloc is a free and an allocation", reallocs,
     "reallocs+1 1x +1-0 =100 100/100/100 in 1 | reallocs+2 1x +1-1 =200 300/300/200 in 1 | "
     "reallocs+3 1x +1-1 =-100 200/300/0 in 1 | reallocs+4 1x +0-1 =-200 0/200/0 in 1",
     NULL},
    {"marks", marked,
     "marked+1 1x +1-0 =10 10/10/10 in 1 | marked+3 3x +3-0 =60 30/30/20 in 1 | "
     "marked+4 3x +0-3 =-60 10/30/0 in 1 | marked+6 1x +0-1 =-10 0/10/0 in 1 | "
     "marked+7 2x +0-0 =0 0/0/0 in 1",
     NULL},
    {"marks of others", marks_of_others, "profiled+1 1x +1-1 =0 0/5/5 in 1", NULL},
    {"return addresses", unmarked_1000,
     "unmarked+1 1~ +1-0 =10 10/10/10 in 1 | "
     "unmarked+3 1000~ +1000-0 =1000000 1010/1010/1000 in 1 | "
     "unmarked+4 1000~ +1000-0 =2000000 3010/3010/2000 in 1 | "
     "unmarked+5 1000~ +0-1000 =-2000000 1010/3010/0 in 1 | "
     "unmarked+6 1000~ +0-1000 =-1000000 10/1010/0 in 1 | unmarked+8 1~ +1-0 =7 17/17/7 in 1 | "
     "unmarked+9 1~ +0-1 =-7 10/17/0 in 1 | unmarked+10 1~ +0-1 =-10 0/10/0 in 1",
     "unmarked+0 1x +2002-2002 =0 0/3010/3010 in 1"},
    {"frames of other sizes from call to call", variable,
     "variable+2 200~ +200-0 =2000 10/10/10 in 1 | variable+3 200~ +200-0 =200 11/11/1 in 1 | "
     "variable+4 200~ +0-200 =-2000 1/11/0 in 1 | variable+5 200~ +0-200 =-200 0/1/0 in 1",
     "variable+0 1x +400-400 =0 0/11/11 in 1"},
    {"two paths of one length to one call site", paths,
     "paths+2 100~ +100-0 =1000 10/10/10 in 1 | paths+3 100~ +100-0 =2000 30/30/20 in 1 | "
     "paths+4 100~ +0-100 =-1000 20/30/0 in 1 | paths+5 100~ +0-100 =-2000 0/20/0 in 1",
     "paths+0 1x +200-200 =0 0/30/30 in 1"},
    {"statement marks", sticky,
     "sticky+1 1x +0-0 =0 0/0/0 in 1 | sticky+2 1~ +1-0 =10 10/10/10 in 1 | "
     "sticky+3 1x +0-0 =0 10/10/0 in 1 | sticky+4 1~ +1-0 =20 30/30/20 in 1 | "
     "sticky+5 1~ +0-1 =-10 20/30/0 in 1 | sticky+6 1~ +0-1 =-20 0/20/0 in 1",
     "sticky+1 1x +1-0 =10 10/10/10 in 1 | sticky+3 1x +1-2 =-10 0/30/20 in 1"},
    {"nested calls", outer,
     "outer+1 1x +2-1 =100 100/400/400 in 1 | outer+2 1x +2-1 =1000 1100/4100/4000 in 1 | "
     "outer+3 1x +0-1 =-100 1000/1100/0 in 1 | outer+4 1x +0-1 =-1000 0/1000/0 in 1 | "
     "inner+1 2x +2-0 =1100 1100/1100/1000 in 2 | inner+2 2x +2-0 =3300 4100/4100/3000 in 2 | "
     "inner+3 2x +0-2 =-3300 1100/4100/0 in 2",
     NULL},
    {"recursion", recursive_10,
     "recursive+1 10x +10-0 =1000 1000/1000/100 in 10 | "
     "recursive+3 9x +45-45 =0 900/1000/900 in 10 | recursive+5 10x +0-10 =-1000 900/1000/0 in 10",
     NULL},
    {"recursion without marks", recurs_5,
     "recurs+2 4~ +10-10 =0 0/10/10 in 5 | recurs+4 5x +5-0 =50 10/10/10 in 5 | "
     "recurs+5 5x +0-5 =-50 0/10/0 in 5",
     "recurs+0 4x +10-10 =0 0/10/10 in 5 | recurs+4 5x +5-0 =50 10/10/10 in 5 | "
     "recurs+5 5x +0-5 =-50 0/10/0 in 5"},
    {"a longjmp out of a mark", jumps_out_of_a_mark,
     "jumps_out_of_a_mark+2 1x +0-0 =0 0/0/0 in 1 | jumps_out_of_a_mark+4 1x +1-1 =0 0/70/70 in 1",
     NULL},
    {"two profiled blocks in one function", blocks_inside,
     "blocks_inside+2 3x +3-3 =0 0/10/10 in 1 | blocks_inside+5 1x +1-1 =0 0/1000/1000 in 1 | "
     "blocks_inside+3 3x +3-3 =0 0/10/10 in 3",
     NULL},
    {"memory usage inside of a profiled call", measures,
     "measures+1 1x +4-4 =0 0/14680064/14680064 in 1 | measures+2 1x +1-1 =0 0/1/1 in 1 | "
     "own+1 1x +1-0 =10485760 10485760/10485760/10485760 in 1 | "
     "own+3 1x +1-0 =4194304 14680064/14680064/4194304 in 1 | "
     "own+6 1x +0-1 =-4194304 10485760/14680064/0 in 1 | "
     "own+8 1x +0-1 =-10485760 0/10485760/0 in 1",
     NULL},
#ifdef __cplusplus
    {"an exception", catches, "throws+1 1x +1-1 =0 0/50/50 in 1", NULL},
#endif
};

static uint32_t base_line(const char *function) {
    return strcmp(function, "outer") == 0 || strcmp(function, "around_report") == 0 ||
                   strcmp(function, "measures") == 0
               ? outer_line
           : strcmp(function, "inner") == 0 ? inner_line
                                            : first_line;
}

/* "own+1 2x +2-0 =20 30/40/50 in 6": a line's runs (2~: not exactly known), allocations and frees,
   change, held/peak/rise in bytes, calls of its function. Lines are set apart by " | ". */
static void expect_report(const char *wanted) {
    static test_output out;
    size_t i;
    report();
    out.length = 0;
    for (i = 0; i < line_count; i++) {
        const line *l = &lines[i];
        unsigned long number = l->line == 0 ? 0 : l->line - base_line(l->function);
        test_print(&out, "%s%s+%lu ", i == 0 ? "" : " | ", l->function, number);
        test_print(&out, "%llu%s +%llu-%llu ", (unsigned long long)l->runs,
                   l->runs_exact ? "x" : "~", (unsigned long long)l->allocs,
                   (unsigned long long)l->frees);
        test_print(&out, "=%lld %lld/%lld/%lld in %llu", (long long)l->change, (long long)l->held,
                   (long long)l->peak, (long long)l->rise, (unsigned long long)l->calls);
    }
    assert_string_equal(out.text, wanted);
}

static void test_calls(void **state) {
    size_t i;
    (void)state;
    start();
    for (i = 0; TEST_ROWS(i, profiled_calls); i++) {
        const profiled_call *c = &profiled_calls[i];
        restart_profile();
        c->call();
        assert_null(test_observer().call);
        expect_report(test_unwinds() || c->without == NULL ? c->report : c->without);
    }
}

/* A thread frees blocks of another thread: levels do not fall below 0. */
static void test_levels_of_what_others_hold(void **state) {
    void *kept;
    mtrace_profile_token token;
    mtrace_observer observer, none = MTRACE_ZERO_;
    (void)state;
    start();
    token = MT_PROFILE_PUSH(0);
    observer = mtrace_set_observer(none);
    kept = MT_MALLOC(1000); /* as if another thread did */
    mtrace_set_observer(observer);
    MT_FREE(kept);
    MT_FREE(MT_MALLOC(1));
    mtrace_profile_pop(token);
    report();
    assert_int_equal(line_count > 0, 1);
    assert_int_equal(lines[0].held, 0);
}

/* Above the limit from the beginning, that is said once; and again after it was below. */
static void test_limit_exceeded_before(void **state) {
    limit_log log = MTRACE_ZERO_;
    void *before;
    (void)state;
    start_limited(1000, &log);
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
    mtrace_profile_token tokens[DEPTH];
    mtrace_line_token marks[DEPTH];
} m;

static const char names[FUNCTIONS][4] = {"f0", "f1", "f2"};
static mtrace_site model_functions[FUNCTIONS];
static mtrace_site model_sites[FUNCTIONS][MODEL_LINES][2];
static uint32_t model_random_state;

static uint32_t model_random(uint32_t below) {
    return test_random(&model_random_state, below);
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
    m.tokens[m.depth++] = mtrace_profile_push_at(&model_functions[function], 0, NULL);
    m.count[function]++;
}

static void model_pop(void) {
    model_call *c = &m.calls[--m.depth];
    model_leave_line(c);
    mtrace_profile_pop(m.tokens[m.depth]);
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
    mtrace_line_token mark;
    if (c->only) {
        mtrace_profile_unmark_at(m.marks[m.depth - 1]);
        c->only = false;
        c->marked = c->before;
        return;
    }
    mark = mtrace_profile_mark_at(names[c->function], (uint32_t)to, only);
    c->site = NULL;
    model_turn(c, to);
    c->only = only;
    c->before = c->marked;
    c->marked = to;
    m.marks[m.depth - 1] = mark;
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
        restart_profile();
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
        PROFILE_TEST(test_calls),
        PROFILE_TEST(test_levels_start_at_what_is_held),
        PROFILE_TEST(test_leaving_a_function),
        PROFILE_TEST(test_longjmp_within),
        PROFILE_TEST(test_longjmp_out_of_all),
        PROFILE_TEST(test_return_addresses_from_anywhere),
        PROFILE_TEST(test_threads),
        PROFILE_TEST(test_limit),
        PROFILE_TEST(test_limit_of_one_function),
        PROFILE_TEST(test_little_room),
        PROFILE_TEST(test_too_many_threads),
        PROFILE_TEST(test_dropped_blocks_are_reported),
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
        PROFILE_TEST(test_report_during_a_call),
        PROFILE_TEST(test_after_every_call),
        PROFILE_TEST(test_at_exit),
        PROFILE_TEST(test_memory_usage),
        PROFILE_TEST(test_usage_left_by_longjmp),
        PROFILE_TEST(test_usage_too_deep),
        PROFILE_TEST(test_usage_in_a_thread_that_ends),
        PROFILE_TEST(test_usage_around_one_left_by_longjmp),
        PROFILE_TEST(test_after_a_longjmp),
        PROFILE_TEST(test_levels_of_what_others_hold),
        PROFILE_TEST(test_limit_exceeded_before),
        PROFILE_TEST(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

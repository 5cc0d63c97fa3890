/* Measures for bench/reach, one part at a time:

     reach counts            under callgrind: a dump of instructions for each case and count
     reach thread-counts     the same of threads alone
     reach times WORKLOAD    least ns plain, traced; ratio of the least, median of the ratios
     reach threads           ns a traced pair in the first thread, the 17th, a worker after 10,000
     reach restart           us to stop and start again: the first time, the median of 20

   Times are measured in turn in one process, some ms plain and some ms traced, by the CPU clock of
   the thread. So other work of the machine affects both equally. */

#define _POSIX_C_SOURCE 200112L
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <valgrind/callgrind.h>

#include "harness.h"

static void *traced_blocks[MILLION];

enum { SHORT_THREADS = 10000, WORKERS = 8, SEVENTEEN = 17, CHUNKS_MAX = 400 };

static void start_with(size_t capacity, uint32_t frames) {
    mtrace_desc desc = {0};
    desc.max_blocks = capacity / 2;
    desc.frames = frames;
    if (mtrace_start(&desc) != MTRACE_OK) {
        fail("mtrace_start failed");
    }
}

static double cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* -------------------------------------------------------------------------------- instructions */

/* The difference of two counts gives the cost of an operation. The work before and after cancels
   out. */
enum { FEW = 8000, MANY = 16000, FEW_THREADED = 1000, MANY_THREADED = 2000 };

/* Dumps the count since the dump before. */
static void dump(const char *name, size_t count) {
    char text[80];
    snprintf(text, sizeof text, "%s %lu", name, (unsigned long)count);
    CALLGRIND_DUMP_STATS_AT(text);
}

static void count(const char *name, void (*work)(size_t)) {
    size_t n;
    work(FEW); /* the site, the scopes and the heap are known then */
    dump("before", 0);
    for (n = FEW; n <= MANY; n += MANY - FEW) {
        work(n);
        dump(name, n);
    }
}

/* Scopes up to 8 deep, each at a line of its own. */
static mtrace_scope enter_deep(int depth) {
    mtrace_scope outside = MT_SCOPE_PUSH();
    depth > 1 ? (void)MT_SCOPE_PUSH() : (void)0;
    depth > 2 ? (void)MT_SCOPE_PUSH() : (void)0;
    depth > 3 ? (void)MT_SCOPE_PUSH() : (void)0;
    depth > 4 ? (void)MT_SCOPE_PUSH() : (void)0;
    depth > 5 ? (void)MT_SCOPE_PUSH() : (void)0;
    depth > 6 ? (void)MT_SCOPE_PUSH() : (void)0;
    depth > 7 ? (void)MT_SCOPE_PUSH() : (void)0;
    return outside;
}

static void count_deep(int depth) {
    char name[40];
    mtrace_scope outside = enter_deep(depth);
    snprintf(name, sizeof name, "inside %d", depth);
    count(name, traced_pair);
    snprintf(name, sizeof name, "scope %d", depth);
    count(name, traced_scopes);
    mtrace_scope_restore(outside);
}

static NOINLINE void plain_once(void) {
    void *block = malloc(64);
    touch(block);
    free(block);
}

static NOINLINE void traced_once(void) {
    void *block = MT_MALLOC(64);
    touch(block);
    MT_FREE(block);
}

#define INSIDE(name)                                                                               \
    static NOINLINE void name(void (*work)(void)) {                                                \
        MT_SCOPE();                                                                                \
        work();                                                                                    \
    }
INSIDE(inside_0)
INSIDE(inside_1)
INSIDE(inside_2)
INSIDE(inside_3)
INSIDE(inside_4)
INSIDE(inside_5)
INSIDE(inside_6)
INSIDE(inside_7)

static void (*const inside[8])(void (*)(void)) = {inside_0, inside_1, inside_2, inside_3,
                                                  inside_4, inside_5, inside_6, inside_7};

static void plain_turns(size_t n) {
    size_t i;
    for (i = 0; i < n; i++) {
        inside[i % 8](plain_once);
    }
}

static void traced_turns(size_t n) {
    size_t i;
    for (i = 0; i < n; i++) {
        inside[i % 8](traced_once);
    }
}

static void count_in_scopes(void) {
    start_with(0, 8);
    count("scope 0", traced_scopes);
    count_deep(1);
    count_deep(4);
    count_deep(7);
    count_deep(8);
    count("turns plain", plain_turns);
    count("turns", traced_turns);
    mtrace_stop();
}

/* ------------------------------------------------------------------------------------- threads */

static pthread_barrier_t gate;
static size_t gate_count;

static void in_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    begin(&thread, function, argument);
    pthread_join(thread, NULL);
}

static void *short_life(void *unused) {
    traced_pair(1);
    return unused;
}

static void *count_thread(void *name) {
    count((const char *)name, name == NULL ? plain_pair : traced_pair);
    return NULL;
}

/* All run at once, and each has had its first block before any continues. */
static void *work_behind_gate(void *unused) {
    traced_pair(1);
    pthread_barrier_wait(&gate);
    traced_pair(gate_count);
    pthread_barrier_wait(&gate);
    return unused;
}

static void all_workers(void *(*function)(void *), double *results) {
    pthread_t threads[WORKERS];
    int i;
    pthread_barrier_init(&gate, NULL, WORKERS);
    for (i = 0; i < WORKERS; i++) {
        begin(&threads[i], function, results == NULL ? NULL : &results[i]);
    }
    for (i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&gate);
}

static void short_lives(void *(*life)(void *), int threads) {
    for (; threads > 0; threads--) {
        in_thread(life, NULL);
    }
}

/* Allocates once more while its thread ends, after the tracer's destructor if it has one. */
static pthread_key_t at_end;

static void work_at_end(void *unused) {
    (void)unused;
    traced_pair(1);
}

static void *end_with_work(void *unused) {
    traced_pair(1);
    pthread_setspecific(at_end, &at_end);
    return unused;
}

static void count_workers(const char *name) {
    dump("before", 0);
    for (gate_count = FEW_THREADED; gate_count <= MANY_THREADED; gate_count += FEW_THREADED) {
        all_workers(work_behind_gate, NULL);
        dump(name, gate_count);
    }
}

static void count_threads(void) {
    static char first[] = "first", seventeenth[] = "seventeenth";
    count("plain", plain_pair);
    start_with(0, 1);
    in_thread(count_thread, first);
    short_lives(short_life, SEVENTEEN - 2);
    in_thread(count_thread, seventeenth);
    short_lives(short_life, SHORT_THREADS - SEVENTEEN);
    count_workers("workers");
    if (pthread_key_create(&at_end, work_at_end) != 0) {
        fail("no key");
    }
    short_lives(end_with_work, SHORT_THREADS);
    count_workers("workers after ends");
    mtrace_stop();
}

/* The cost of a clear with 1,000 blocks of one call site, in a table of the default size. */
static void count_clear(void) {
    enum { HELD = 1000 };
    start_with(0, 1);
    traced_fill(traced_blocks, HELD);
    dump("before", 0);
    mtrace_clear();
    dump("clear", 1);
    traced_drain(traced_blocks, HELD);
    mtrace_stop();
}

static void count_kept_frees(void) {
    mtrace_desc desc = {0};
    desc.kept_frees = 1024;
    if (mtrace_start(&desc) != MTRACE_OK) {
        fail("mtrace_start failed");
    }
    count("kept", traced_pair);
    mtrace_stop();
}

static void counts(void) {
    count_clear();
    count("plain scope", plain_scopes);
    count("off", traced_pair);
    start_with(0, 1);
    count("traced", traced_pair);
    mtrace_stop();
    count_kept_frees();
    count_in_scopes();
    count_threads();
}

/* The least of 40 chunks. With NULL for the result the thread only runs. */
static void *time_pairs(void *result) {
    enum { CHUNK = 10000 };
    double best = 1e30;
    int i;
    for (i = 0; i < 40; i++) {
        double begun = cpu(), ns;
        traced_pair(CHUNK);
        ns = (cpu() - begun) / CHUNK;
        best = ns < best ? ns : best;
    }
    *(double *)result = best;
    return NULL;
}

static void *time_behind_gate(void *result) {
    traced_pair(1);
    pthread_barrier_wait(&gate);
    time_pairs(result);
    pthread_barrier_wait(&gate);
    return NULL;
}

/* The figure is the least of the eight workers, which share two processors. */
static void times_of_threads(void) {
    double first, seventeenth, workers[WORKERS], worker = 1e30;
    int i;
    start_with(0, 1);
    in_thread(time_pairs, &first);
    short_lives(short_life, SEVENTEEN - 2);
    in_thread(time_pairs, &seventeenth);
    short_lives(short_life, SHORT_THREADS - SEVENTEEN);
    all_workers(time_behind_gate, workers);
    for (i = 0; i < WORKERS; i++) {
        worker = workers[i] < worker ? workers[i] : worker;
    }
    printf("%.2f %.2f %.2f\n", first, seventeenth, worker);
    mtrace_stop();
}

/* ---------------------------------------------------------------------------------- time ratios */

static double samples[2][CHUNKS_MAX], chunk_ratios[CHUNKS_MAX]; /* ns: plain, traced */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, int number) {
    qsort(values, (size_t)number, sizeof *values, by_value);
    return values[number / 2];
}

static double least(const double *values, int number) {
    double best = values[0];
    int i;
    for (i = 1; i < number; i++) {
        best = values[i] < best ? values[i] : best;
    }
    return best;
}

static void print_ratios(int chunks) {
    double plain = least(samples[0], chunks), traced = least(samples[1], chunks);
    int i;
    for (i = 0; i < chunks; i++) {
        chunk_ratios[i] = samples[1][i] / samples[0][i];
    }
    printf("%.3f %.3f %.4f %.4f\n", plain, traced, traced / plain, median(chunk_ratios, chunks));
}

static void chunk(bool traced, size_t operations, size_t live) {
    if (live != 0) {
        traced ? traced_churn(operations, traced_blocks, live)
               : plain_churn(operations, blocks, live);
    } else {
        traced ? traced_pair(operations) : plain_pair(operations);
    }
}

static double timed(void (*work)(bool, size_t, size_t), bool traced, size_t n, size_t live) {
    double begun = cpu();
    work(traced, n, live);
    return (cpu() - begun) / (double)n;
}

static void chunk_ordered(bool traced, size_t operations, size_t live) {
    (void)live;
    traced ? traced_ordered(operations) : plain_ordered(operations);
}

/* The first round warms up and does not count. */
static void alternate(void (*work)(bool, size_t, size_t), size_t operations, size_t live,
                      int chunks) {
    int i;
    for (i = -1; i < chunks; i++) {
        double plain = timed(work, false, operations, live);
        double traced = timed(work, true, operations, live);
        samples[0][i < 0 ? 0 : i] = plain;
        samples[1][i < 0 ? 0 : i] = traced;
    }
    print_ratios(chunks);
}

/* The heap holds both kinds of blocks, mixed. */
static void fill_both(size_t live) {
    enum { GROUP = 500 };
    size_t i;
    for (i = 0; i < live; i += GROUP) {
        plain_fill(blocks + i, GROUP);
        traced_fill(traced_blocks + i, GROUP);
    }
}

static void alternate_churn(size_t live, size_t operations, int chunks) {
    fill_both(live);
    alternate(chunk, operations, live, chunks);
    plain_drain(blocks, live);
    traced_drain(traced_blocks, live);
}

/* Two threads at once, each with its own blocks. Both do a chunk plain, then both do one traced. */
enum { PAIR_OF_THREADS = 2, THREAD_CHUNKS = 100, THREAD_LIVE = 1000 };
static double thread_samples[PAIR_OF_THREADS][2][THREAD_CHUNKS];

static void *churn_in_step(void *argument) {
    enum { CHUNK = 60000 };
    int me = *(int *)argument, i, traced;
    void *own[2][THREAD_LIVE]; /* on the stack: no cache line shared with the other thread's */
    plain_fill(own[0], THREAD_LIVE);
    traced_fill(own[1], THREAD_LIVE);
    for (i = 0; i < 2 * THREAD_CHUNKS; i++) {
        double begun;
        traced = i % 2;
        pthread_barrier_wait(&gate);
        begun = cpu();
        traced ? traced_churn(CHUNK, own[1], THREAD_LIVE) : plain_churn(CHUNK, own[0], THREAD_LIVE);
        thread_samples[me][traced][i / 2] = (cpu() - begun) / CHUNK;
    }
    plain_drain(own[0], THREAD_LIVE);
    traced_drain(own[1], THREAD_LIVE);
    return NULL;
}

static void alternate_threads(void) {
    pthread_t other;
    int names[PAIR_OF_THREADS] = {0, 1}, i;
    pthread_barrier_init(&gate, NULL, PAIR_OF_THREADS);
    begin(&other, churn_in_step, &names[1]);
    churn_in_step(&names[0]);
    pthread_join(other, NULL);
    for (i = 0; i < THREAD_CHUNKS; i++) {
        samples[0][i] = (thread_samples[0][0][i] + thread_samples[1][0][i]) / 2;
        samples[1][i] = (thread_samples[0][1][i] + thread_samples[1][1][i]) / 2;
    }
    print_ratios(THREAD_CHUNKS);
}

static bool times(const char *workload) {
    bool known = true;
    start_with(2 * MILLION, 1);
    if (strcmp(workload, "pair") == 0) {
        alternate(chunk, 100000, 0, 200);
    } else if (strcmp(workload, "churn1k") == 0) {
        alternate_churn(1000, 60000, 200);
    } else if (strcmp(workload, "churn100k") == 0) {
        alternate_churn(100000, 100000, 60);
    } else if (strcmp(workload, "churn1m") == 0) {
        alternate_churn(MILLION, MILLION, 12);
    } else if (strcmp(workload, "ordered1m") == 0) {
        alternate(chunk_ordered, MILLION, 0, 24);
    } else if (strcmp(workload, "threads2") == 0) {
        alternate_threads();
    } else {
        known = false;
    }
    mtrace_stop();
    return known;
}

/* ----------------------------------------------------------------------------- life, questions */

static double restart_us(void) {
    double begun;
    traced_fill(traced_blocks, 1000);
    traced_drain(traced_blocks, 1000);
    begun = cpu();
    mtrace_stop();
    start_with(0, 1);
    return (cpu() - begun) / 1e3;
}

static void restart(void) {
    enum { TIMES = 20 };
    double first, us[TIMES];
    int i;
    start_with(0, 1);
    first = restart_us();
    for (i = 0; i < TIMES; i++) {
        us[i] = restart_us();
    }
    printf("%.1f %.1f\n", first, median(us, TIMES));
    mtrace_stop();
}

/* Takes a snapshot and frees it. */
static double snapshot_us(void) {
    mtrace_snapshot *snapshot;
    double begun = cpu();
    if (mtrace_snapshot_take(&snapshot, false, NULL) != MTRACE_OK) {
        fail("no snapshot");
    }
    mtrace_snapshot_free(snapshot);
    return (cpu() - begun) / 1e3;
}

static void snapshots(void) {
    enum { SITES = 500, TIMES = 200 };
    static mtrace_site sites[SITES];
    static uint64_t caches[SITES];
    double us[TIMES];
    int i;
    start_with(0, 1);
    for (i = 0; i < SITES; i++) {
        sites[i].file = i % 3 == 0 ? "src/renderer/texture.c" : "src/audio/mixer.c";
        sites[i].line = (uint32_t)i + 1;
        sites[i].cache = &caches[i];
        traced_blocks[i] = mtrace_malloc_at(16 + (size_t)i % 100, &sites[i]);
    }
    for (i = 0; i < TIMES; i++) {
        us[i] = snapshot_us();
    }
    printf("%.1f %.1f\n", least(us, TIMES), median(us, TIMES));
    traced_drain(traced_blocks, SITES);
    mtrace_stop();
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    bool known = true;
    keep_the_heap();
    if (strcmp(part, "counts") == 0) {
        counts();
    } else if (strcmp(part, "thread-counts") == 0) {
        count_threads();
    } else if (strcmp(part, "times") == 0 && argc > 2) {
        known = times(argv[2]);
    } else if (strcmp(part, "threads") == 0) {
        times_of_threads();
    } else if (strcmp(part, "restart") == 0) {
        restart();
    } else if (strcmp(part, "snapshots") == 0) {
        snapshots();
    } else {
        known = false;
    }
    if (!known) {
        fputs("usage: reach counts | thread-counts | times WORKLOAD | threads | restart | "
              "snapshots\n",
              stderr);
    }
    return known ? 0 : 2;
}

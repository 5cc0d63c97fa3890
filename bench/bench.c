/* What tracing costs: plain malloc, compiled in but off, and tracing, side by side in one run.

     bench                      the tables: nanoseconds per malloc+free pair, and ratios to plain
     bench WORKLOAD MODE COUNT  one workload alone, to count its instructions (see bench/run)

   Rounds are interleaved and the least of each is taken, so that a busy machine hurts all alike. */

#define _POSIX_C_SOURCE 200112L
#ifdef BENCH_LOCKS /* for bench/variants */
#include <pthread.h>
static char bench_lock;
static pthread_mutex_t bench_mutex = PTHREAD_MUTEX_INITIALIZER;
#endif
#ifdef BENCH_XXH3
#define XXH_INLINE_ALL
#include <xxhash.h>
static inline uint32_t bench_xxh3(uintptr_t page) {
    return (uint32_t)XXH3_64bits(&page, sizeof page);
}
#endif
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef _MSC_VER
#define NOINLINE __declspec(noinline)
#else
#define NOINLINE __attribute__((noinline))
#endif

static void *volatile sink; /* keeps the compiler from removing a malloc and its free */

static void touch(void *block) {
    sink = block;
}

#define WORK(name)     plain_##name
#define ALLOC(size)    malloc(size)
#define RELEASE(block) free(block)
#include "workload.h"
#undef WORK
#undef ALLOC
#undef RELEASE

#define WORK(name)     traced_##name
#define ALLOC(size)    MT_MALLOC(size)
#define RELEASE(block) MT_FREE(block)
#include "workload.h"

enum { PAIR, CHURN_1K, CHURN_1M, ORDERED, SCOPE, WORKLOADS };
enum { PLAIN, OFF, TRACED, DEEP, MODES }; /* deep: with tracebacks of 8 frames */
#ifndef BENCH_ROUNDS
#define BENCH_ROUNDS 7
#endif
enum { MILLION = 1000000, ROUNDS = BENCH_ROUNDS };

static const char *const workload_names[] = {"pair", "churn1k", "churn1m", "ordered", "scope"};
static const char *const mode_names[] = {"plain", "off", "traced", "deep"};
static void *blocks[MILLION];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static NOINLINE void run_plain(int workload, size_t operations) {
    size_t live = workload == CHURN_1M ? MILLION : 1000;
    switch (workload) {
    case PAIR:
        plain_pair(operations);
        break;
    case ORDERED:
        plain_ordered(operations, blocks);
        break;
    default:
        plain_churn(operations, blocks, live);
        break;
    }
}

/* A scope entered and left. */
static NOINLINE void one_scope(void) {
    MT_SCOPE();
    touch(NULL);
}

static void scopes(size_t operations) {
    size_t i;
    for (i = 0; i < operations; i++) {
        one_scope();
    }
}

static NOINLINE void run_traced(int workload, size_t operations) {
    size_t live = workload == CHURN_1M ? MILLION : 1000;
    switch (workload) {
    case PAIR:
        traced_pair(operations);
        break;
    case ORDERED:
        traced_ordered(operations, blocks);
        break;
    case SCOPE:
        scopes(operations);
        break;
    default:
        traced_churn(operations, blocks, live);
        break;
    }
}

static size_t prepared(int workload) {
    return workload == CHURN_1K ? 1000 : workload == CHURN_1M ? MILLION : 0;
}

/* glibc would give a large free heap back and fault it in again, in every second round. */
static void keep_the_heap(void) {
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_MMAP_THRESHOLD, INT_MAX);
}

/* Seven of them: with the call site a traceback of 8 frames. */
static mtrace_scope enter_scopes(void) {
    mtrace_scope outside = MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    return outside;
}

/* Nanoseconds an operation; the blocks that churn starts from and leaves are not in it. */
static double measure(int workload, int mode, size_t operations) {
    mtrace_desc desc = {0};
    mtrace_scope outside = {0};
    double start, end;
    desc.capacity = 2 * MILLION;
    desc.frames = mode == DEEP ? 8 : 1;
    if (mode >= TRACED && mtrace_start(&desc) != MTRACE_OK) {
        fputs("bench: mtrace_start failed\n", stderr);
        exit(1);
    }
    outside = mode == DEEP ? enter_scopes() : outside;
    if (mode == PLAIN) {
        plain_fill(blocks, prepared(workload));
    } else {
        traced_fill(blocks, prepared(workload));
    }
    start = now();
    if (mode == PLAIN) {
        run_plain(workload, operations);
    } else {
        run_traced(workload, operations);
    }
    end = now();
    if (mode == PLAIN) {
        plain_drain(blocks, prepared(workload));
    } else {
        traced_drain(blocks, prepared(workload));
    }
    mtrace_scope_pop(outside);
    mtrace_stop();
    return (end - start) / (double)operations;
}

/* The same in a process of its own, the second time: every measurement finds the same heap, its
 * pages there. */
static double measure_apart(int workload, int mode, size_t operations) {
    double ns = 0;
    int ends[2], status = 0;
    pid_t child;
    if (pipe(ends) != 0 || (child = fork()) < 0) {
        perror("bench");
        exit(1);
    }
    if (child == 0) {
        measure(workload, mode, operations);
        ns = measure(workload, mode, operations);
        _exit(write(ends[1], &ns, sizeof ns) == (ssize_t)sizeof ns ? 0 : 1);
    }
    if (read(ends[0], &ns, sizeof ns) != (ssize_t)sizeof ns || waitpid(child, &status, 0) < 0 ||
        status != 0) {
        fputs("bench: a measurement failed\n", stderr);
        exit(1);
    }
    close(ends[0]);
    close(ends[1]);
    return ns;
}

typedef struct job {
    void *blocks[1000];
    int mode;
} job;

static void *churn_in_thread(void *argument) {
    job *own = (job *)argument;
    if (own->mode == PLAIN) {
        plain_fill(own->blocks, 1000);
        plain_churn(4 * MILLION, own->blocks, 1000);
        plain_drain(own->blocks, 1000);
    } else {
        traced_fill(own->blocks, 1000);
        traced_churn(4 * MILLION, own->blocks, 1000);
        traced_drain(own->blocks, 1000);
    }
    return NULL;
}

/* Nanoseconds an operation of each of n threads, each churning 1,000 blocks of its own. */
static double measure_threads(int n, int mode) {
    static job jobs[2];
    pthread_t threads[2];
    double start;
    int i;
    if (mode == TRACED) {
        mtrace_start(NULL);
    }
    start = now();
    for (i = 0; i < n; i++) {
        jobs[i].mode = mode;
        pthread_create(&threads[i], NULL, churn_in_thread, &jobs[i]);
    }
    for (i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
    start = now() - start;
    mtrace_stop();
    return start / (4.0 * MILLION);
}

static void threads_table(void) {
    int mode, n, round;
    printf("\nthreads   %9s %9s %9s %9s   (churn1k, ns per malloc+free of each thread)\n", "plain",
           "off", "traced", "traced/pl");
    for (n = 1; n <= 2; n++) {
        double best[MODES] = {1e30, 1e30, 1e30};
        for (round = 0; round < ROUNDS; round++) {
            for (mode = 0; mode <= TRACED; mode++) {
                double ns = measure_threads(n, mode);
                best[mode] = ns < best[mode] ? ns : best[mode];
            }
        }
        printf("%-9d %9.2f %9.2f %9.2f %8.2fx\n", n, best[PLAIN], best[OFF], best[TRACED],
               best[TRACED] / best[PLAIN]);
    }
}

static void table(void) {
    static const size_t operations[] = {4 * MILLION, 4 * MILLION, 2 * MILLION, MILLION};
    int workload, mode, round;
    printf("%-9s %9s %9s %9s %9s %9s %9s %9s   (ns per malloc+free; ratios to plain)\n", "workload",
           "plain", "off", "traced", "8 frames", "off/plain", "traced/pl", "8 fr./pl");
    for (workload = 0; workload < SCOPE; workload++) {
        double best[MODES] = {1e30, 1e30, 1e30, 1e30};
        for (round = 0; round < ROUNDS; round++) {
            for (mode = 0; mode < MODES; mode++) {
                double ns = measure_apart(workload, mode, operations[workload]);
                best[mode] = ns < best[mode] ? ns : best[mode];
            }
        }
        printf("%-9s %9.2f %9.2f %9.2f %9.2f %8.2fx %8.2fx %8.2fx\n", workload_names[workload],
               best[PLAIN], best[OFF], best[TRACED], best[DEEP], best[OFF] / best[PLAIN],
               best[TRACED] / best[PLAIN], best[DEEP] / best[PLAIN]);
        fflush(stdout);
    }
    printf("\na scope entered and left: off %.2f ns, traced %.2f ns, with 8 frames %.2f ns\n",
           measure_apart(SCOPE, OFF, MILLION), measure_apart(SCOPE, TRACED, MILLION),
           measure_apart(SCOPE, DEEP, MILLION));
}

/* A million live blocks from 500 call sites: what a question costs then. */
static void questions(const char *threads) {
    enum { SITES = 500 };
    static mtrace_site sites[SITES];
    double snapshot_best = 1e30, statistics_best = 1e30;
    mtrace_desc desc = {0};
    mtrace_info info;
    int i;
    desc.capacity = 2 * MILLION;
    mtrace_start(&desc);
    for (i = 0; i < MILLION; i++) {
        mtrace_site *site = &sites[i % SITES];
        site->file = i % 3 == 0 ? "src/renderer/texture.c" : "src/audio/mixer.c";
        site->line = (uint32_t)(i % SITES) + 1;
        blocks[i] = mtrace_malloc_at(16 + (size_t)i % 100, site);
    }
    for (i = 0; i < 5 * ROUNDS; i++) {
        mtrace_snapshot *snapshot;
        mtrace_statistics *statistics;
        double start = now(), middle, end;
        mtrace_snapshot_take(&snapshot, false, NULL);
        middle = now();
        mtrace_snapshot_statistics(&statistics, snapshot, MTRACE_BY_LINE, NULL);
        end = now();
        mtrace_statistics_free(statistics);
        mtrace_snapshot_free(snapshot);
        snapshot_best = middle - start < snapshot_best ? middle - start : snapshot_best;
        statistics_best = end - middle < statistics_best ? end - middle : statistics_best;
    }
    info = mtrace_get_info();
    printf("\n1,000,000 live blocks from %d call sites, %s: snapshot %.0f us, statistics by line "
           "%.0f us\n",
           SITES, threads, snapshot_best / 1e3, statistics_best / 1e3);
    printf("trace table: %zu bytes a live block at %.0f %% load, longest probe %zu, dropped %.0f\n",
           info.capacity * sizeof(mtrace_slot_) / info.live,
           100.0 * (double)info.live / (double)info.capacity, info.longest_probe,
           (double)info.dropped_count);
    traced_drain(blocks, MILLION);
    mtrace_stop();
}

static int find(const char *name, const char *const *names, int count) {
    int i;
    for (i = 0; i < count && strcmp(name, names[i]) != 0; i++) {
    }
    return i;
}

int main(int argc, char **argv) {
    keep_the_heap();
    if (argc == 4) {
        int workload = find(argv[1], workload_names, WORKLOADS);
        int mode = find(argv[2], mode_names, MODES);
        size_t operations = (size_t)strtoul(argv[3], NULL, 10);
        if (workload < WORKLOADS && mode < MODES && operations <= MILLION) {
            measure(workload, mode, operations);
            return 0;
        }
    } else if (argc == 1) {
        table();
        questions("this one thread seen");
        threads_table();
        questions("16 threads and more seen");
        return 0;
    }
    fputs("usage: bench [WORKLOAD MODE COUNT]\n", stderr);
    return 2;
}

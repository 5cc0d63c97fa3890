/* What tracing costs: plain malloc, compiled in but off, and tracing, side by side in one run.

     bench                      the table: nanoseconds per malloc+free pair, and ratios to plain
     bench WORKLOAD MODE COUNT  one workload alone, to count its instructions (see bench/run)

   Rounds are interleaved and the least of each is taken, so that a busy machine hurts all alike. */

#define _POSIX_C_SOURCE 199309L
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

enum { PAIR, CHURN_1K, CHURN_1M, ORDERED, WORKLOADS };
enum { PLAIN, OFF, TRACED, MODES };
enum { MILLION = 1000000, ROUNDS = 7 };

static const char *const workload_names[] = {"pair", "churn1k", "churn1m", "ordered"};
static const char *const mode_names[] = {"plain", "off", "traced"};
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

static NOINLINE void run_traced(int workload, size_t operations) {
    size_t live = workload == CHURN_1M ? MILLION : 1000;
    switch (workload) {
    case PAIR:
        traced_pair(operations);
        break;
    case ORDERED:
        traced_ordered(operations, blocks);
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

/* Freeing a large block makes glibc join all free ones: each measurement finds the same heap. */
static void tidy_the_heap(void) {
    free(malloc(1 << 18));
}

/* Nanoseconds an operation; the blocks that churn starts from and leaves are not in it. */
static double measure(int workload, int mode, size_t operations) {
    mtrace_desc desc = {0};
    double start, end;
    tidy_the_heap();
    desc.capacity = 2 * MILLION;
    if (mode == TRACED && mtrace_start(&desc) != MTRACE_OK) {
        fputs("bench: mtrace_start failed\n", stderr);
        exit(1);
    }
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
    mtrace_stop();
    return (end - start) / (double)operations;
}

static void table(void) {
    static const size_t operations[] = {4 * MILLION, 4 * MILLION, 2 * MILLION, MILLION};
    int workload, mode, round;
    printf("%-9s %9s %9s %9s %9s %9s   (ns per malloc+free; ratios to plain)\n", "workload",
           "plain", "off", "traced", "off/plain", "traced/pl");
    for (workload = 0; workload < WORKLOADS; workload++) {
        double best[MODES] = {1e30, 1e30, 1e30};
        for (round = 0; round < ROUNDS; round++) {
            for (mode = 0; mode < 2 * MODES; mode++) { /* each twice: the heap has two states */
                double ns = measure(workload, mode / 2, operations[workload]);
                best[mode / 2] = ns < best[mode / 2] ? ns : best[mode / 2];
            }
        }
        printf("%-9s %9.2f %9.2f %9.2f %8.2fx %8.2fx\n", workload_names[workload], best[PLAIN],
               best[OFF], best[TRACED], best[OFF] / best[PLAIN], best[TRACED] / best[PLAIN]);
        fflush(stdout);
    }
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
        return 0;
    }
    fputs("usage: bench [WORKLOAD MODE COUNT]\n", stderr);
    return 2;
}

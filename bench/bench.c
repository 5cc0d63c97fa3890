/* Runs one workload in one mode, in a process of its own, and prints nanoseconds per operation.

     bench WORKLOAD MODE [COUNT]      COUNT operations, by default a million
     bench questions MODE [THREADS]   the cost of a snapshot and of statistics after THREADS threads

   bench/run builds it, and once more with the header of each peer, and compares them. */

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

#ifdef BENCH_PEER /* a peer's header that replaces malloc: after all others */
#include BENCH_PEER
#endif
#ifndef BENCH_BEGIN /* calls that a peer needs */
#define BENCH_BEGIN() ((void)0)
#endif
#ifndef BENCH_END
#define BENCH_END() ((void)0)
#endif
#include "harness.h"

static const char *const workload_names[] = {"pair",      "churn1k", "churn100k", "churn1m",
                                             "ordered1m", "realloc", "handover",  "threads1",
                                             "threads2",  "scope",   "leak"};
static const char *const mode_names[] = {"plain", "off", "traced", "deep", "sampled"};
static void sample(mtrace_desc *desc) {
    desc->sample_interval = mode == SAMPLED ? 512 * 1024 : 0;
}

static void start(void) {
    mtrace_desc desc = {0};
    desc.max_blocks = MILLION;
    desc.frames = mode == DEEP ? 8 : 1;
    sample(&desc);
    if (mode >= TRACED && mtrace_start(&desc) != MTRACE_OK) {
        fail("mtrace_start failed");
    }
}

static double measure(int workload, size_t operations) {
    mtrace_scope outside;
    double ns;
    start();
    outside = enter_scopes();
    ns = mode == PLAIN ? plain_run(workload, operations) : traced_run(workload, operations);
    mtrace_scope_restore(outside);
    if (workload == LEAK) {
        mtrace_print_leaks();
    }
    mtrace_stop();
    return ns;
}

/* The bytes of one slot: the growth of the tracer's memory, divided by the slots added. */
static size_t bytes_of_a_slot(void) {
    mtrace_desc few = {0}, many = {0};
    few.max_blocks = 2048;
    many.max_blocks = 4096;
    few.max_sites = many.max_sites = 64;
    return (mtrace_memory_size(&many) - mtrace_memory_size(&few)) / 4096;
}

/* The cost of questions with a million live blocks from 500 call sites. */
static void questions(size_t threads) {
    enum { SITES = 500, TIMES = 35 };
    static mtrace_site sites[SITES];
    static uint64_t caches[SITES];
    double snapshot_best = 1e30, statistics_best = 1e30;
    size_t i, one = 1;
    mtrace_info info;
    start();
    for (i = 1; i < threads; i++) {
        traced_threads(one, 1);
    }
    for (i = 0; i < MILLION; i++) {
        mtrace_site *site = &sites[i % SITES];
        site->file = i % 3 == 0 ? "src/renderer/texture.c" : "src/audio/mixer.c";
        site->line = (uint32_t)(i % SITES) + 1;
        site->cache = &caches[i % SITES];
        blocks[i] = mtrace_malloc_at(16 + i % 100, site);
    }
    for (i = 0; i < TIMES; i++) {
        mtrace_snapshot *snapshot;
        mtrace_rows *statistics;
        double begun = now(), middle, end;
        mtrace_snapshot_take(&snapshot, false, NULL);
        middle = now();
        mtrace_snapshot_statistics(&statistics, snapshot, MTRACE_BY_LINE, NULL);
        end = now();
        mtrace_rows_free(statistics);
        mtrace_snapshot_free(snapshot);
        snapshot_best = middle - begun < snapshot_best ? middle - begun : snapshot_best;
        statistics_best = end - middle < statistics_best ? end - middle : statistics_best;
    }
    info = mtrace_get_info();
    printf(
        "%lu threads seen: snapshot %.0f us, statistics by line %.0f us; table: %lu bytes a live "
        "block at %.0f %% load, longest probe %lu, dropped %.0f\n",
        (unsigned long)threads, snapshot_best / 1e3, statistics_best / 1e3,
        (unsigned long)(info.capacity * bytes_of_a_slot() / (info.live ? info.live : 1)),
        100.0 * (double)info.live / (double)(info.capacity ? info.capacity : 1),
        (unsigned long)info.longest_probe, (double)info.dropped_count);
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
    int workload = argc > 2 ? find(argv[1], workload_names, WORKLOADS) : WORKLOADS;
    size_t count = argc > 3 ? (size_t)strtoul(argv[3], NULL, 10) : 0;
    mode = argc > 2 ? find(argv[2], mode_names, MODES) : MODES;
    keep_the_heap();
    if (mode < MODES && strcmp(argv[1], "questions") == 0) {
        questions(count ? count : 1);
        return 0;
    }
    count = count ? count : MILLION;
    if (workload == WORKLOADS || mode == MODES || (workload == ORDERED && count > MILLION)) {
        fputs("usage: bench WORKLOAD MODE [COUNT]\n", stderr);
        return 2;
    }
    BENCH_BEGIN();
    measure(workload, count); /* the second time, the pages of the heap are there */
    printf("%.3f\n", measure(workload, count));
    fflush(stdout); /* a leak detector may end the process later */
    BENCH_END();
    return 0;
}

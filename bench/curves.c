/* How the costs grow: with live blocks, with call sites, as the table fills, and over time. Each
   part prints a table in Markdown. bench/curves runs all parts and draws them.

     curves live MOST          costs against live blocks: 1,000, 10,000 and so on up to MOST
     curves sites BLOCKS MOST  costs against call sites, 100 to MOST, with BLOCKS live blocks
     curves full BITS          kinds of addresses in a table of 2^BITS slots, at growing load
     curves row BITS           a heap in one piece, tables of 2^10 to 2^BITS slots, half load
     curves hostile BITS       addresses chosen with knowledge of the hash
     curves time OPERATIONS    churn of one table, at 60 % load, in ten parts

   The tables hold made-up addresses, see base_malloc. Facts that do not depend on time are checked.
   Exit status 1: one of them does not hold. */

#define _POSIX_C_SOURCE 200112L
#include <stdint.h>
#include <stdlib.h>

static uintptr_t next_address; /* the address that "malloc" returns, unless 0 */

static void *base_malloc(size_t size) {
    return next_address != 0 ? (void *)next_address : malloc(size);
}

static void base_free(void *block) {
    if (next_address == 0) {
        free(block);
    }
}

#define MTRACE_BASE_MALLOC(size)         base_malloc(size)
#define MTRACE_BASE_CALLOC(count, size)  calloc(count, size)
#define MTRACE_BASE_REALLOC(block, size) realloc(block, size)
#define MTRACE_BASE_FREE(block)          base_free(block)
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SITES = 500, ROUNDS = 5, MOST_POINTS = 16 };

static int broken_facts;

static void expect(bool holds, const char *fact) {
    if (!holds) {
        fprintf(stderr, "curves: does not hold: %s\n", fact);
        broken_facts++;
    }
}

/* With the default probe limit next to none are dropped up to 70 % load (see the manual). */
static void expect_few(uint64_t dropped, size_t blocks) {
    expect(dropped <= 4 + blocks / 100000,
           "at most one block in 100,000 is dropped up to 70 % load");
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double least(double a, double b) {
    return a < b ? a : b;
}

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static size_t random_below(size_t n) {
    return (size_t)(((random_bits() >> 32) * n) >> 32);
}

static void *must(void *memory) {
    if (memory == NULL) {
        fputs("curves: no memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void start(size_t capacity, size_t sites) {
    mtrace_desc desc = {0};
    desc.max_blocks = capacity / 2;
    desc.max_sites = sites;
    if (mtrace_start(&desc) != MTRACE_OK) {
        fputs("curves: mtrace_start failed\n", stderr);
        exit(1);
    }
}

/* The exponent of a curve, cost = constant * n^exponent: slope of the logarithms, least squares. */
static double exponent(const double *n, const double *cost, int points) {
    double x = 0, y = 0, xx = 0, xy = 0;
    int i;
    for (i = 0; i < points; i++) {
        x += log(n[i]);
        y += log(cost[i]);
        xx += log(n[i]) * log(n[i]);
        xy += log(n[i]) * log(cost[i]);
    }
    return (points * xy - x * y) / (points * xx - x * x);
}

/* -------------------------------------------------------------- against live blocks, call sites */

enum { PLAIN_CHURN, TRACED_CHURN, TRACED_MEMORY, SNAPSHOT, STATISTICS, COMPARE, COSTS };
typedef struct costs {
    double ns[COSTS];
} costs;

static mtrace_site *make_sites(size_t count) {
    static char files[20][24];
    mtrace_site *sites = (mtrace_site *)must(calloc(count, sizeof *sites));
    uint64_t *caches = (uint64_t *)must(calloc(count, sizeof *caches));
    size_t i;
    for (i = 0; i < 20; i++) {
        snprintf(files[i], sizeof files[i], "src/part%02d.c", (int)i);
    }
    for (i = 0; i < count; i++) {
        sites[i].file = files[i % 20];
        sites[i].line = (uint32_t)i + 1;
        sites[i].cache = &caches[i];
    }
    return sites;
}

static inline void *allocate(bool traced, mtrace_site *site) {
    size_t size = 16 + random_below(113);
    return traced ? mtrace_malloc_at(size, site) : base_malloc(size);
}

static inline void release(bool traced, void *block) {
    if (traced) {
        mtrace_free_at(block, NULL);
    } else {
        base_free(block);
    }
}

/* Frees one random block and allocates another. `traced` is a constant where this is called. */
static inline void churn(bool traced, void **blocks, size_t live, mtrace_site *sites, size_t count,
                         size_t operations) {
    size_t i;
    for (i = 0; i < operations; i++) {
        size_t at = random_below(live);
        release(traced, blocks[at]);
        blocks[at] = allocate(traced, &sites[at % count]);
    }
}

static void churn_plain(void **blocks, size_t live, mtrace_site *sites, size_t count, size_t n) {
    churn(false, blocks, live, sites, count, n);
}

static void churn_traced(void **blocks, size_t live, mtrace_site *sites, size_t count, size_t n) {
    churn(true, blocks, live, sites, count, n);
}

static double time_churn(bool traced, void **blocks, size_t live, mtrace_site *sites, size_t count,
                         size_t operations) {
    double best = 1e30;
    int round;
    for (round = 0; round <= ROUNDS; round++) {
        double began = now();
        (traced ? churn_traced : churn_plain)(blocks, live, sites, count, operations);
        best = round == 0 ? best : least(best, now() - began);
    }
    return best / (double)operations;
}

static double time_traced_memory(void) {
    enum { CALLS = 10000 };
    double best = 1e30;
    int round, i;
    for (round = 0; round < 5 * ROUNDS; round++) {
        volatile uint64_t sink = 0;
        double began = now();
        for (i = 0; i < CALLS; i++) {
            sink = sink + mtrace_get_traced_memory().current;
        }
        best = least(best, (now() - began) / CALLS);
    }
    return best;
}

/* A snapshot, its statistics by line, and a comparison with an earlier snapshot. */
static void time_questions(costs *c, void **blocks, size_t live, mtrace_site *sites, size_t count) {
    int round;
    c->ns[SNAPSHOT] = c->ns[STATISTICS] = c->ns[COMPARE] = 1e30;
    for (round = 0; round < 5 * ROUNDS; round++) {
        mtrace_snapshot *old = NULL, *snapshot = NULL;
        mtrace_rows *statistics = NULL, *diff = NULL;
        double t[4];
        mtrace_snapshot_take(&old, false, NULL);
        churn_traced(blocks, live, sites, count, 1000);
        t[0] = now();
        mtrace_snapshot_take(&snapshot, false, NULL);
        t[1] = now();
        mtrace_snapshot_statistics(&statistics, snapshot, MTRACE_BY_LINE, NULL);
        t[2] = now();
        mtrace_snapshot_compare_to(&diff, snapshot, old, MTRACE_BY_LINE, NULL);
        t[3] = now();
        c->ns[SNAPSHOT] = least(c->ns[SNAPSHOT], t[1] - t[0]);
        c->ns[STATISTICS] = least(c->ns[STATISTICS], t[2] - t[1]);
        c->ns[COMPARE] = least(c->ns[COMPARE], t[3] - t[2]);
        expect(diff != NULL && statistics->count <= count && diff->count >= statistics->count,
               "the rows of statistics and comparison");
        mtrace_rows_free(diff);
        mtrace_rows_free(statistics);
        mtrace_snapshot_free(snapshot);
        mtrace_snapshot_free(old);
    }
}

static costs measure(bool traced, size_t live, size_t count) {
    size_t operations = live < 100000 ? 1000000 : 500000, i;
    mtrace_site *sites = make_sites(count);
    void **blocks = (void **)must(malloc(live * sizeof *blocks));
    costs c = {{0}};
    if (traced) {
        start(2 * live, count + 2);
    }
    for (i = 0; i < live; i++) {
        blocks[i] = allocate(traced, &sites[i % count]);
    }
    c.ns[traced ? TRACED_CHURN : PLAIN_CHURN] =
        time_churn(traced, blocks, live, sites, count, operations);
    if (traced) {
        mtrace_info info;
        c.ns[TRACED_MEMORY] = time_traced_memory();
        time_questions(&c, blocks, live, sites, count);
        info = mtrace_get_info();
        expect(info.live == live && info.dropped_count == 0 && info.lost_sites == 0 &&
                   mtrace_check() == NULL,
               "nothing is dropped at half load");
    }
    return c;
}

/* In a process of its own, so that each starts with the same fresh heap. */
static costs measure_apart(bool traced, size_t live, size_t count) {
    costs c = {{0}};
    int ends[2], status = 0;
    pid_t child;
    fflush(stdout);
    if (pipe(ends) != 0 || (child = fork()) < 0) {
        perror("curves");
        exit(1);
    }
    if (child == 0) {
        c = measure(traced, live, count);
        _exit(write(ends[1], &c, sizeof c) == (ssize_t)sizeof c ? broken_facts : 1);
    }
    close(ends[1]);
    if (read(ends[0], &c, sizeof c) != (ssize_t)sizeof c || waitpid(child, &status, 0) < 0) {
        fputs("curves: a measurement failed\n", stderr);
        exit(1);
    }
    broken_facts += status != 0;
    close(ends[0]);
    return c;
}

/* Plain and traced in turn: a busy machine affects both equally. */
static costs measure_both(size_t live, int times) {
    costs best;
    int i;
    for (i = 0; i < COSTS; i++) {
        best.ns[i] = 1e30;
    }
    while (times-- > 0) {
        costs plain = measure_apart(false, live, SITES), c = measure_apart(true, live, SITES);
        c.ns[PLAIN_CHURN] = plain.ns[PLAIN_CHURN];
        for (i = 0; i < COSTS; i++) {
            best.ns[i] = least(best.ns[i], c.ns[i]);
        }
    }
    return best;
}

static void print_exponents(const char *head, const double *n, double (*costs_of)[MOST_POINTS],
                            const int *which, int curves, int points) {
    int i;
    printf("%s", head);
    for (i = 0; i < curves; i++) {
        printf(" %.2f |", exponent(n, costs_of[which[i]], points));
    }
    printf("\n");
}

static void against_live_blocks(size_t most) {
    static const int which[] = {PLAIN_CHURN, TRACED_CHURN, TRACED_MEMORY,
                                SNAPSHOT,    STATISTICS,   COMPARE};
    double n[MOST_POINTS], curve[COSTS][MOST_POINTS];
    int points = 0, i;
    size_t live;
    printf("| live blocks | plain, ns | traced, ns | get_traced_memory, ns | snapshot, us "
           "| statistics, us | compare, us |\n|---:|---:|---:|---:|---:|---:|---:|\n");
    for (live = 1000; live <= most; live *= 10) {
        costs c = measure_both(live, live > 1000000 ? 1 : 3);
        n[points] = (double)live;
        for (i = 0; i < COSTS; i++) {
            curve[i][points] = c.ns[i];
        }
        points++;
        printf("| %zu | %.1f | %.1f | %.2f | %.1f | %.1f | %.1f |\n", live, c.ns[PLAIN_CHURN],
               c.ns[TRACED_CHURN], c.ns[TRACED_MEMORY], c.ns[SNAPSHOT] / 1e3,
               c.ns[STATISTICS] / 1e3, c.ns[COMPARE] / 1e3);
    }
    print_exponents("| exponent |", n, curve, which, 6, points);
}

static void against_sites(size_t blocks, size_t most) {
    static const size_t steps[] = {100, 300, 1000, 3000, 10000, 30000, 50000};
    static const int which[] = {SNAPSHOT, STATISTICS, COMPARE};
    double n[MOST_POINTS], curve[COSTS][MOST_POINTS];
    int points = 0, i;
    size_t step;
    printf("| call sites | snapshot, us | statistics, us | compare, us |\n|---:|---:|---:|---:|\n");
    for (step = 0; step < sizeof steps / sizeof *steps && steps[step] <= most; step++) {
        costs c = measure_apart(true, blocks, steps[step]);
        n[points] = (double)steps[step];
        for (i = 0; i < COSTS; i++) {
            curve[i][points] = c.ns[i];
        }
        points++;
        printf("| %zu | %.1f | %.1f | %.1f |\n", steps[step], c.ns[SNAPSHOT] / 1e3,
               c.ns[STATISTICS] / 1e3, c.ns[COMPARE] / 1e3);
    }
    print_exponents("| exponent |", n, curve, which, 3, points);
}

/* --------------------------------------------------------------------------- as the table fills */

static uint64_t cache;
static const mtrace_site site = {"synthetic.c", NULL, NULL, 1, &cache};

static inline void add(uintptr_t address) {
    next_address = address;
    mtrace_malloc_at(32, &site);
}

static inline void take_out(uintptr_t address) {
    mtrace_free_at((void *)address, &site);
}

static void shuffle(uintptr_t *pool, size_t size) {
    size_t i;
    for (i = size; i > 1; i--) {
        size_t other = random_below(i);
        uintptr_t swapped = pool[i - 1];
        pool[i - 1] = pool[other];
        pool[other] = swapped;
    }
}

static void heap_addresses(uintptr_t *pool, size_t size) {
    size_t i;
    next_address = 0;
    for (i = 0; i < size; i++) {
        pool[i] = (uintptr_t)must(malloc(16 + random_below(113)));
    }
    for (i = 0; i < size; i++) {
        free((void *)pool[i]);
    }
}

static void random_addresses(uintptr_t *pool, size_t size) {
    size_t i;
    for (i = 0; i < size; i++) {
        pool[i] = (uintptr_t)(random_bits() >> 17) & ~(uintptr_t)15;
    }
}

static void stride_addresses(uintptr_t *pool, size_t size, uintptr_t stride) {
    size_t i;
    for (i = 0; i < size; i++) {
        pool[i] = (uintptr_t)0x7f0000000010u + i * stride;
    }
}

static const struct pattern {
    const char *name;
    uintptr_t stride; /* 0: of the heap, 1: random */
} patterns[] = {{"heap", 0},       {"random", 1},      {"every 4 KiB", 4096}, {"8 KiB", 8192},
                {"64 KiB", 65536}, {"1 MiB", 1048576}, {"2 MiB", 2097152}};
enum { PATTERNS = sizeof patterns / sizeof *patterns };

static void make_pool(const struct pattern *pattern, uintptr_t *pool, size_t size) {
    if (pattern->stride == 0) {
        heap_addresses(pool, size);
    } else if (pattern->stride == 1) {
        random_addresses(pool, size);
    } else {
        stride_addresses(pool, size, pattern->stride);
    }
    shuffle(pool, size);
}

static uint32_t step_of(uintptr_t key) {
    return mtrace_probe_step_(key, false) & mtrace_g_.mask;
}

/* The number of other slots that a search looks at before it finds a trace. */
static uint32_t looked_at(const mtrace_slot_ *slot, uint32_t at) {
    uint32_t line = mtrace_slot_home_(slot), step = step_of(slot->key), looked = 0;
    for (; (line ^ at) >= MTRACE_LINE_SLOTS_; line = mtrace_probe_next_line_(line, &step)) {
        looked += MTRACE_LINE_SLOTS_;
    }
    return looked + (line ^ at);
}

typedef struct probes {
    size_t traces;
    double average;
    uint32_t longest;
} probes;

static probes measure_probes(void) {
    probes p = {0, 0, 0};
    uint32_t at;
    for (at = 0; at <= mtrace_g_.mask; at++) {
        const mtrace_slot_ *slot = &mtrace_g_.slots[at];
        if (slot->account != 0) {
            uint32_t looked = looked_at(slot, at);
            p.traces++;
            p.average += looked;
            p.longest = looked > p.longest ? looked : p.longest;
        }
    }
    p.average = p.traces == 0 ? 0 : p.average / (double)p.traces;
    return p;
}

static void check_table(const char *name) {
    const char *broken = mtrace_check();
    if (broken != NULL) {
        fprintf(stderr, "curves: %s: %s\n", name, broken);
        broken_facts++;
    }
    expect(mtrace_get_info().longest_probe <= MTRACE_MAX_PROBE, "no probe beyond the limit");
}

static void fill(const uintptr_t *pool, size_t live) {
    size_t i;
    for (i = 0; i < live; i++) {
        add(pool[i]);
    }
}

/* Swaps a live address with another one. The live addresses are first in the pool. */
static void churn_pool(uintptr_t *pool, size_t live, size_t size, size_t operations) {
    size_t i;
    for (i = 0; i < operations; i++) {
        size_t out = random_below(live), in = live + random_below(size - live);
        uintptr_t address = pool[out];
        take_out(address);
        pool[out] = pool[in];
        pool[in] = address;
        add(pool[out]);
    }
}

/* Nanoseconds to remove one address and add one, least of ROUNDS. With the tracer stopped this is
   the cost of the loop itself. */
static double time_pool(uintptr_t *pool, size_t live, size_t size, size_t operations) {
    double best = 1e30;
    int round;
    for (round = 0; round < ROUNDS; round++) {
        double began = now();
        churn_pool(pool, live, size, operations / ROUNDS);
        best = least(best, now() - began);
    }
    return best / (double)(operations / ROUNDS);
}

/* A freed trace leaves a hole, and other traces do not move into it. So churned tables have longer
   probes than fresh ones, up to a steady state. */
enum { MOST_GROWTH = 4 };

typedef struct load_row {
    double fill_ns, churn_ns;
    probes fresh, churned;
    uint64_t dropped_fresh, dropped; /* while filling; in the churn */
    size_t operations;               /* of the churn */
} load_row;

static load_row measure_load(uintptr_t *pool, size_t slots, size_t live, const char *name) {
    size_t size = 2 * slots;
    load_row row;
    double loop_ns, began;
    next_address = 1;
    loop_ns = time_pool(pool, live, size, slots * ROUNDS);
    row.operations = 20 * slots / ROUNDS * ROUNDS;
    start(slots, 2);
    began = now();
    fill(pool, live);
    row.fill_ns = (now() - began) / (double)live;
    row.fresh = measure_probes();
    row.dropped_fresh = mtrace_get_info().dropped_count;
    expect(row.dropped_fresh == live - row.fresh.traces, "what is not in the table was dropped");
    row.churn_ns = time_pool(pool, live, size, row.operations) - loop_ns;
    row.churned = measure_probes();
    row.dropped = mtrace_get_info().dropped_count - row.dropped_fresh;
    check_table(name);
    mtrace_stop();
    return row;
}

static void check_load(const load_row *row, int percent) {
    if (percent <= 70) {
        expect_few(row->dropped_fresh + row->dropped, row->operations);
        expect(row->churned.average <= MOST_GROWTH * row->fresh.average + 2,
               "after churn the average probe is at most 4 times that of a fresh table, and 2");
    }
    expect(row->churned.longest <= MTRACE_MAX_PROBE + 4, "no probe beyond the limit");
}

static const int loads[] = {25, 40, 50, 60, 70, 75, 80, 85, 90, 95, 100};
enum { LOADS = sizeof loads / sizeof *loads, HALF = 2 };

/* The largest load with nothing dropped, for all kinds of addresses, and with a free and a malloc
   that cost at most `factor` times the cost at 50 %, on average of all kinds of addresses. */
static int largest_good(load_row rows[PATTERNS][LOADS], double factor) {
    double ns[LOADS] = {0};
    uint64_t dropped = 0;
    int at, i;
    for (at = 0; at < LOADS; at++) {
        for (i = 0; i < PATTERNS; i++) {
            ns[at] += rows[i][at].churn_ns;
            dropped += rows[i][at].dropped_fresh + rows[i][at].dropped;
        }
        if (dropped != 0 || (at > HALF && ns[at] > factor * ns[HALF])) {
            return at - 1;
        }
    }
    return LOADS - 1;
}

static uint32_t longest_of(load_row rows[PATTERNS][LOADS], int at) {
    uint32_t longest = 0;
    int i;
    for (i = 0; i < PATTERNS; i++) {
        longest = rows[i][at].churned.longest > longest ? rows[i][at].churned.longest : longest;
    }
    return longest;
}

static void recommend(load_row rows[PATTERNS][LOADS]) {
    int close = largest_good(rows, 1.1), twice = largest_good(rows, 2),
        kept = largest_good(rows, 1e9);
    if (close >= 0 && twice >= 0) {
        printf("\nRecommended slots for N live blocks: N / %.2f; max_blocks = N gives 2 N. The "
               "cost is that of a free and "
               "a malloc, on average of all kinds of addresses. Up to %d %% load it is at most 1.1 "
               "times the cost at 50 %%, and no probe is longer than %u slots. Up to %d %% it is "
               "at most twice the cost, and no probe is longer than %u slots. Nothing is dropped "
               "up to %d %%.\n",
               loads[close] / 100.0, loads[close], (unsigned)longest_of(rows, close), loads[twice],
               (unsigned)longest_of(rows, twice), loads[kept]);
    }
}

static void as_it_fills(int bits) {
    static load_row rows[PATTERNS][LOADS];
    size_t slots = (size_t)1 << bits;
    uintptr_t *pool = (uintptr_t *)must(malloc(2 * slots * sizeof *pool));
    int i, at;
    printf(
        "| addresses | load %% | fill, ns | fresh: average probe | longest | dropped | churn, ns "
        "| average probe | longest | dropped of 1000 |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (i = 0; i < PATTERNS; i++) {
        for (at = 0; at < LOADS; at++) {
            load_row *row = &rows[i][at];
            make_pool(&patterns[i], pool, 2 * slots);
            *row = measure_load(pool, slots, slots * (size_t)loads[at] / 100, patterns[i].name);
            check_load(row, loads[at]);
            printf("| %s | %d | %.1f | %.2f | %u | %.0f | %.1f | %.2f | %u | %.3f |\n",
                   patterns[i].name, loads[at], row->fill_ns, row->fresh.average,
                   (unsigned)row->fresh.longest, (double)row->dropped_fresh, row->churn_ns,
                   row->churned.average, (unsigned)row->churned.longest,
                   1000.0 * (double)row->dropped / (double)row->operations);
            fflush(stdout);
        }
    }
    recommend(rows);
    free(pool);
}

/* ---------------------------------------------------------- a heap in one piece, any table size */

/* Adjacent blocks, as in a program that only allocates. The pages are many and adjacent too. A hash
   that spreads a few of them well can still put many of them close together. */
static void in_a_row(int bits, uintptr_t stride) {
    size_t slots = (size_t)1 << bits, live = slots / 2, i;
    mtrace_info info;
    probes p;
    double began;
    start(slots, 2);
    began = now();
    for (i = 0; i < live; i++) {
        add((uintptr_t)0x555555554010u + i * stride);
    }
    began = (now() - began) / (double)live;
    info = mtrace_get_info();
    p = measure_probes();
    expect(info.dropped_count == live - p.traces, "what is not in the table was dropped");
    expect_few(info.dropped_count, live);
    printf("| 2^%d | %zu | %.1f | %.2f | %u | %zu of %zu |\n", bits, (size_t)stride, began,
           p.average, (unsigned)p.longest, (size_t)info.dropped_count, live);
    fflush(stdout);
    mtrace_stop();
}

static void large_heaps(int most) {
    int bits;
    printf("| slots | bytes a block | fill, ns | average probe | longest | dropped |\n"
           "|---:|---:|---:|---:|---:|---:|\n");
    for (bits = 10; bits <= most; bits++) {
        in_a_row(bits, 32);
        in_a_row(bits, 96);
    }
}

/* -------------------------------------------------- addresses chosen with knowledge of the hash */

/* In each of many pages, the two blocks of 16 bytes with the same home slot as the first block. On
   request, also with the same probe step. */
static void find_alike(uintptr_t *pool, size_t size, bool same_step) {
    uintptr_t page = 0x7f0000000000u;
    uint32_t home = mtrace_home_(page, false), step = step_of(page);
    size_t found = 0;
    for (; found < size; page += (uintptr_t)1 << MTRACE_PAGE_BITS) {
        uintptr_t in_page = (uintptr_t)((home - mtrace_home_(page, false)) & mtrace_g_.mask)
                            << MTRACE_KEY_SHIFT;
        if (in_page < (uintptr_t)1 << MTRACE_PAGE_BITS && (!same_step || step_of(page) == step)) {
            pool[found++] = page + in_page;
            expect(mtrace_home_(page + in_page, false) == home, "the address has that home");
            if (found < size) {
                pool[found++] = page + in_page + 16;
            }
        }
    }
}

static void same_home(uintptr_t *pool, size_t size) {
    find_alike(pool, size, false);
}

static void same_way(uintptr_t *pool, size_t size) {
    find_alike(pool, size, true);
}

/* All blocks of pages with runs in the table that begin at nearly the same slot. */
static void same_run(uintptr_t *pool, size_t size) {
    uintptr_t page = 0x7f0000000000u, block;
    uint32_t home = mtrace_home_(page, false);
    size_t found = 0;
    for (; found < size; page += (uintptr_t)1 << MTRACE_PAGE_BITS) {
        if (((mtrace_home_(page, false) - home) & mtrace_g_.mask) < 8) {
            for (block = page; block < page + ((uintptr_t)1 << MTRACE_PAGE_BITS) && found < size;
                 block += (uintptr_t)1 << MTRACE_KEY_SHIFT) {
                pool[found++] = block;
            }
        }
    }
}

typedef struct bystander {
    uintptr_t *pool;
    size_t live, size;
    double loop_ns;
} bystander;

static double time_bystander(const bystander *b) {
    return b->live == 0 ? 0 : time_pool(b->pool, b->live, b->size, 4 * b->size) - b->loop_ns;
}

/* Hostile addresses come and go in a table that also holds random ones. */
static void measure_hostile(const char *name, void (*choose)(uintptr_t *, size_t), size_t slots,
                            size_t hostile, int percent) {
    uintptr_t *pool = (uintptr_t *)must(malloc(2 * hostile * sizeof *pool));
    bystander other = {NULL, slots * (size_t)percent / 100, 2 * slots, 0};
    double before, during, after, ns;
    size_t kept, i;
    uint64_t dropped;
    next_address = 1;
    other.pool = (uintptr_t *)must(malloc(other.size * sizeof *other.pool));
    random_addresses(other.pool, other.size);
    other.loop_ns = time_bystander(&other);
    start(slots, 2);
    choose(pool, 2 * hostile);
    fill(other.pool, other.live);
    before = time_bystander(&other);
    dropped = mtrace_get_info().dropped_count;
    fill(pool, hostile);
    kept = measure_probes().traces - other.live;
    dropped = mtrace_get_info().dropped_count - dropped;
    expect(dropped == hostile - kept, "hostile addresses that are not kept are counted as dropped");
    check_table(name);
    during = time_bystander(&other);
    ns = time_pool(pool, hostile, 2 * hostile, 20 * hostile);
    check_table(name);
    for (i = 0; i < hostile; i++) {
        take_out(pool[i]);
    }
    after = time_bystander(&other);
    check_table(name);
    printf("| %s | %d | %zu | %zu | %zu | %.0f | %.1f | %.1f | %.1f |\n", name, percent, hostile,
           kept, (size_t)dropped, ns, before, during, after);
    fflush(stdout);
    mtrace_stop();
    free(other.pool);
    free(pool);
}

static void hostile_addresses(int bits) {
    size_t slots = (size_t)1 << bits, run = slots / 4 < 4096 ? slots / 4 : 4096;
    int percent;
    printf("| addresses | load %% by others | hostile | kept | dropped | insert and remove, ns "
           "| others before, ns | during | after |\n"
           "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (percent = 0; percent <= 75; percent += 25) {
        measure_hostile("one home", same_home, slots, 1024, percent);
        measure_hostile("one page's run", same_run, slots, run, percent);
        /* finding them in a large table takes too long */
        measure_hostile("one path", same_way, slots < 65536 ? slots : 65536, 1024, percent);
    }
}

/* ------------------------------------------------------------------------------------ with time */

enum { TIME_SLOTS = 1 << 14, TIME_LIVE = TIME_SLOTS / 5 * 3, TENTHS = 10, PARTS = 100 };
static uintptr_t time_live[TIME_LIVE];

static double churn_ever_new(size_t operations) {
    double began = now();
    size_t i;
    for (i = 0; i < operations; i++) {
        size_t at = random_below(TIME_LIVE);
        take_out(time_live[at]);
        random_addresses(&time_live[at], 1);
        add(time_live[at]);
    }
    return (now() - began) / (double)operations;
}

static double least_part(size_t operations) {
    double best = 1e30;
    int i;
    for (i = 0; i < PARTS; i++) {
        best = least(best, churn_ever_new(operations / PARTS));
    }
    return best;
}

static void with_time(size_t operations) {
    double ns[TENTHS], loop_ns, lowest = 1e30, highest = 0;
    probes fresh, early = {0, 0, 0}, p = {0, 0, 0};
    int i;
    next_address = 1;
    random_addresses(time_live, TIME_LIVE);
    loop_ns = least_part(operations / TENTHS);
    start(TIME_SLOTS, 2);
    fill(time_live, TIME_LIVE);
    fresh = measure_probes();
    printf(
        "| operations | ns, least of 100 parts | ns, all | average probe | longest | longest ever "
        "|\n|---:|---:|---:|---:|---:|---:|\n");
    for (i = 0; i < TENTHS; i++) {
        double began = now();
        ns[i] = least_part(operations / TENTHS) - loop_ns;
        began = (now() - began) / (double)(operations / TENTHS) - loop_ns;
        lowest = least(lowest, ns[i]);
        highest = -least(-highest, -ns[i]);
        p = measure_probes();
        early = i == 0 ? p : early;
        printf("| %zu | %.2f | %.2f | %.3f | %u | %zu |\n", operations / TENTHS * (size_t)(i + 1),
               ns[i], began, p.average, (unsigned)p.longest, mtrace_get_info().longest_probe);
        fflush(stdout);
    }
    printf(
        "\nThe first tenth takes %.2f ns, the last %.2f ns. The largest is %.2f times the least.\n",
        ns[0], ns[TENTHS - 1], highest / lowest);
    expect(early.average <= MOST_GROWTH * fresh.average + 2 && p.average <= 1.5 * early.average,
           "probes do not grow with time");
    expect(mtrace_get_info().dropped_count == 0 && mtrace_get_info().live == TIME_LIVE,
           "nothing is dropped at 60 % load");
    check_table("with time");
    mtrace_stop();
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    double n = argc > 2 ? strtod(argv[2], NULL) : 0, m = argc > 3 ? strtod(argv[3], NULL) : 0;
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_MMAP_THRESHOLD, INT_MAX);
    if (strcmp(part, "live") == 0 && n >= 10000) {
        against_live_blocks((size_t)n);
    } else if (strcmp(part, "sites") == 0 && n >= 1000 && m >= 300) {
        against_sites((size_t)n, (size_t)m);
    } else if (strcmp(part, "full") == 0 && n >= 10 && n <= 28) {
        as_it_fills((int)n);
    } else if (strcmp(part, "row") == 0 && n >= 10 && n <= 28) {
        large_heaps((int)n);
    } else if (strcmp(part, "hostile") == 0 && n >= 12 && n <= 28) {
        hostile_addresses((int)n);
    } else if (strcmp(part, "time") == 0 && n >= 100000) {
        with_time((size_t)n);
    } else {
        fputs("usage: curves live MOST | sites BLOCKS MOST | full BITS | row BITS | hostile BITS | "
              "time "
              "OPERATIONS\n",
              stderr);
        return 2;
    }
    return broken_facts == 0 ? 0 : 1;
}

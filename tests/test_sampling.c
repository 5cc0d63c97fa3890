/* Sampling: the choice of blocks and the estimates from them. Estimates are exact where the manual
   says so, and elsewhere unbiased over many seeds, with true standard errors. Seeds are fixed, so a
   test that passes once always passes. */

#define _POSIX_C_SOURCE 200112L
#include "support/test.h"

#include "support/threads.h"
#include "support/tools.h"

#include <math.h>

#define INTERVAL 65536 /* no enum: C++20 frowns on doubles with those */

static mtrace_site site_a, site_b;

static mtrace_result start_sampling(size_t interval, uint64_t seed) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 2048;
    desc.max_sites = 16;
    desc.sample_interval = interval;
    desc.sample_seed = seed;
    site_a = test_site("sampling.c", 1);
    site_b = test_site("sampling.c", 2);
    return mtrace_start(&desc);
}

static void test_bad_intervals(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    assert_int_equal(start_sampling(1023, 0), MTRACE_ERR_ARGUMENT);
    assert_int_equal(start_sampling(((size_t)1 << 24) + 1, 0), MTRACE_ERR_ARGUMENT);
    desc.sample_interval = INTERVAL;
    desc.foreign_free = MTRACE_FOREIGN_REPORT;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.foreign_free = MTRACE_FOREIGN_COUNT;
    assert_int_equal(mtrace_start(&desc), test_can_sample() ? MTRACE_OK : MTRACE_ERR_ARGUMENT);
}

static mtrace_row row_of(const mtrace_snapshot *snapshot, uint32_t line) {
    mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(snapshot);
    mtrace_row none = MTRACE_ZERO_;
    size_t i;
    for (i = 0; i < parts.row_count; i++) {
        if (parts.rows[i].line == line) {
            return parts.rows[i];
        }
    }
    return none;
}

static mtrace_row row_now(uint32_t line) {
    mtrace_snapshot *snapshot = test_take(false);
    mtrace_row row = row_of(snapshot, line);
    mtrace_snapshot_free(snapshot);
    return row;
}

/* Blocks of the interval and more are all traced, and stand for themselves. */
static void test_large_blocks_are_exact(void **state) {
    void *blocks[50], *zeros;
    mtrace_row row;
    mtrace_block found;
    uint64_t bytes = 0;
    int i;
    (void)state;
    assert_int_equal(start_sampling(INTERVAL, 1), MTRACE_OK);
    for (i = 0; i < 50; i++) {
        size_t size = INTERVAL + (size_t)i * 1000;
        blocks[i] = mtrace_malloc_at(size, &site_a);
        bytes += size;
        assert_int_equal(mtrace_find(&found, blocks[i]), MTRACE_OK);
        assert_int_equal(found.size, size);
    }
    row = row_now(1);
    assert_int_equal(row.size, bytes);
    assert_int_equal(row.count, 50);
    assert_int_equal(row.estimated_size, 0);
    assert_int_equal(mtrace_get_traced_memory().current, bytes);
    assert_int_equal(mtrace_get_info().live, 50);
    assert_int_equal(mtrace_get_info().sample_interval, INTERVAL);
    blocks[0] = mtrace_realloc_at(blocks[0], 3 * INTERVAL, &site_b);
    row = row_now(2);
    assert_int_equal(row.size, 3 * INTERVAL);
    assert_int_equal(row.reallocs, 1);
    test_sound();
    for (i = 0; i < 50; i++) {
        mtrace_free_at(blocks[i], &site_a);
    }
    test_held(0, bytes + 2 * INTERVAL, 0);
    row = row_now(1);
    assert_int_equal(row.size + row.count, 0);
    assert_int_equal(row.total_count, 50);
    assert_int_equal(row.frees, 50);
    zeros = mtrace_calloc_at(2, INTERVAL, &site_a);
    assert_int_equal(row_now(1).size, 2 * INTERVAL);
    mtrace_clear();
    assert_int_equal(row_now(1).total_size, 0);
    test_sound();
    mtrace_free_at(zeros, &site_a);
    assert_int_equal(mtrace_get_info().foreign_frees, 0); /* not known while sampling */
}

/* --- the figures over many seeds --- */

/* The variance of Horvitz and Thompson's estimate of the sum of `weight`. A block is sampled with
   the probability 1 - exp(-size / interval). */
static double variance_of(double size, double weight, double interval) {
    double p = size < interval ? -expm1(-size / interval) : 1;
    return (1 - p) / p * weight * weight;
}

typedef struct moments {
    double n, sum, squares, variances, within;
} moments;

static void observe(moments *m, double value, double error, double truth) {
    m->n += 1;
    m->sum += value;
    m->squares += value * value;
    m->variances += error * error;
    m->within += fabs(value - truth) <= 2 * error ? 1 : 0;
}

/* The mean is the truth to within four of its own standard errors, and the variance is that of the
   sizes. The rows' variance is not below it, and at most e - 1 times it: the bound is largest for
   sizes just below the interval. So 95 of 100 estimates or more lie within two standard errors. */
static void assert_unbiased(const moments *m, double truth, double true_variance) {
    double mean = m->sum / m->n, variance = m->squares / m->n - mean * mean;
    double said = m->variances / m->n;
    assert_true(fabs(mean - truth) <= 4 * sqrt(variance / m->n) + truth * 1e-4);
    assert_true(fabs(true_variance / variance - 1) < 0.1);
    assert_true(said > 0.98 * true_variance && said < 1.7183 * true_variance);
    assert_true(m->within / m->n > 0.90 && m->within / m->n < 0.995);
}

/* --long: test_sampling with 4,000 seeds under sanitizers, too, not 1,000 */
enum { SEEDS = 4000, FEWER_SEEDS = TEST_SANITIZED ? 1000 : SEEDS, BLOCKS = 600 };

/* Blocks of the sizes low, low + step, ... */
static void track_all(mtrace_site *site, uint64_t low, uint64_t step, uintptr_t key) {
    uintptr_t i;
    for (i = 0; i < BLOCKS; i++) {
        assert_int_equal(mtrace_track_at(1, key + 16 * i, low + step * (i % 100), site), MTRACE_OK);
    }
}

static double error_of(const mtrace_row *row) {
    return (double)mtrace_standard_error(row, INTERVAL);
}

static void assert_site_unbiased(uint64_t low, uint64_t step) {
    moments size = MTRACE_ZERO_, count = MTRACE_ZERO_, half = MTRACE_ZERO_, peak = MTRACE_ZERO_;
    double bytes = 0, variance = 0, count_variance = 0;
    uint64_t seed, seeds = test_long() ? SEEDS : FEWER_SEEDS;
    uintptr_t i;
    for (i = 0; i < BLOCKS; i++) {
        double block = (double)(low + step * (i % 100));
        bytes += block;
        variance += variance_of(block, block, INTERVAL);
        count_variance += variance_of(block, 1, INTERVAL);
    }
    for (seed = 0; seed < seeds; seed++) {
        mtrace_row row;
        assert_int_equal(start_sampling(INTERVAL, seed), MTRACE_OK);
        track_all(&site_a, low, step, 0x10000);
        row = row_now(1);
        observe(&size, (double)row.size, error_of(&row), bytes);
        observe(&count, (double)row.count, sqrt(count_variance), BLOCKS);
        assert_int_equal(row.total_size, row.size);
        for (i = 0; i < BLOCKS / 2; i++) {
            assert_int_equal(mtrace_untrack_at(1, 0x10000 + 16 * i, &site_a), MTRACE_OK);
        }
        row = row_now(1);
        observe(&half, (double)row.size, error_of(&row), bytes / 2);
        observe(&peak, (double)row.peak_size, sqrt(variance), bytes);
        if (seed % 100 == 0) {
            test_sound();
        }
        for (i = BLOCKS / 2; i < BLOCKS; i++) {
            assert_int_equal(mtrace_untrack_at(1, 0x10000 + 16 * i, &site_a), MTRACE_OK);
        }
        row = row_now(1);
        assert_int_equal(row.size + row.count + row.estimated_size, 0);
        mtrace_stop();
    }
    assert_unbiased(&size, bytes, variance);
    assert_unbiased(&count, BLOCKS, count_variance);
    assert_unbiased(&half, bytes / 2, variance / 2);
    assert_unbiased(&peak, bytes, variance);
}

static void test_unbiased(void **state) {
    (void)state;
    assert_site_unbiased(2000, 0);
    assert_site_unbiased(1000, 100);
    assert_site_unbiased(INTERVAL / 2, 600); /* some above the interval */
}

/* A probability is 1 - exp(-size / interval) whatever sizes come in between. */
static void test_chances(void **state) {
    static const uint64_t sizes[] = {300, 5000, 20000, 60000};
    int traced[4] = {0, 0, 0, 0}, i, rounds = 20000;
    mtrace_block found;
    (void)state;
    assert_int_equal(start_sampling(INTERVAL, 5), MTRACE_OK);
    while (rounds-- > 0) {
        for (i = 0; i < 4; i++) {
            assert_int_equal(mtrace_track_at(1, 16, sizes[i], &site_a), MTRACE_OK);
            traced[i] += mtrace_find_tracked(&found, 1, 16, NULL, 0) == MTRACE_OK;
            assert_int_equal(mtrace_untrack_at(1, 16, &site_a), MTRACE_OK);
        }
    }
    for (i = 0; i < 4; i++) {
        double p = 1 - exp(-(double)sizes[i] / INTERVAL), expected = 20000 * p;
        assert_true(fabs(traced[i] - expected) <= 4 * sqrt(expected * (1 - p)));
    }
}

static size_t samples_of(uint64_t seed, uint64_t *keys) {
    size_t i, n = 0;
    mtrace_block found;
    assert_int_equal(start_sampling(INTERVAL, seed), MTRACE_OK);
    track_all(&site_a, 3000, 10, 0x10000);
    for (i = 0; i < BLOCKS; i++) {
        if (mtrace_find_tracked(&found, 1, 0x10000 + 16 * i, NULL, 0) == MTRACE_OK) {
            keys[n++] = i;
        }
    }
    mtrace_stop();
    return n;
}

static void test_reproducible(void **state) {
    uint64_t first[BLOCKS], again[BLOCKS];
    size_t n;
    (void)state;
    n = samples_of(77, first);
    assert_true(n > 5);
    assert_int_equal(samples_of(77, again), n);
    assert_memory_equal(first, again, n * sizeof *first);
    assert_true(samples_of(78, again) != n || memcmp(first, again, n * sizeof *first) != 0);
}

static void test_growth_is_not_known(void **state) {
    mtrace_snapshot *old;
    char message[200];
    (void)state;
    assert_int_equal(start_sampling(INTERVAL, 1), MTRACE_OK);
    old = test_take(false);
    assert_true(mtrace_growth(message, sizeof message, old, 1000) == UINT64_MAX);
    assert_string_equal(message,
                        "cannot tell whether memory grew: sampling, figures are estimates");
    mtrace_snapshot_free(old);
}

/* Seven samples of 4 KiB: each stands for 16.5 blocks, 67,656 bytes. */
static void expect_seven_samples(const mtrace_row *row) {
    assert_int_equal(row->size, 7 * 67605);
    assert_int_equal(row->count, 116); /* 7 x 16.505 = 115.5 */
    /* 2 % above the 173,364 that the variance of these samples comes to */
    assert_int_equal(mtrace_standard_error(row, INTERVAL), 176108);
}

static void test_reports_show_errors(void **state) {
    static const struct {
        const char *name; /* a part of the report */
        bool is_diff;
        mtrace_style style;
    } parts[] = {
        {"      SIZE           +-   COUNT     AT PEAK  WHERE\n"
         "462.14 KiB +-171.98 KiB     116  462.14 KiB  sampling.c:1 f\n"
         "128.00 KiB      +-0 B         1  128.00 KiB  sampling.c:2 f\n",
         false, MTRACE_STYLE_TABLE},
        {"; sampled every 64.0 KiB: figures are estimates, +- one standard error\n", false,
         MTRACE_STYLE_TABLE},
        {"sampling.c:1: warning: 462 KiB in 116 blocks (+-172 KiB) not freed, allocated in f\n",
         false, MTRACE_STYLE_WARNINGS},
        {" dropped_size size_error where\n", false, MTRACE_STYLE_LINES},
        {" 0 0 176108 sampling.c:1 f\n", false, MTRACE_STYLE_LINES},
        {"       DIFF           +-     DIFF   COUNT  WHERE\n"
         "+462.14 KiB +-171.98 KiB     +116     116  sampling.c:1 f\n",
         true, MTRACE_STYLE_TABLE},
        {" dropped_size size_diff_error where\n", true, MTRACE_STYLE_LINES},
    };
    static test_output out;
    mtrace_snapshot *snapshot, *old;
    mtrace_rows *rows, *diff;
    mtrace_block found;
    uintptr_t key;
    size_t i;
    int sampled;
    (void)state;
    assert_int_equal(start_sampling(INTERVAL, 1), MTRACE_OK);
    old = test_take(false);
    for (key = 0, sampled = 0; sampled < 7; key += 16) {
        assert_int_equal(mtrace_track_at(1, key, 4096, &site_a), MTRACE_OK);
        sampled += mtrace_find_tracked(&found, 1, key, NULL, 0) == MTRACE_OK;
    }
    assert_int_equal(mtrace_track_at(1, 7, 2 * INTERVAL, &site_b), MTRACE_OK);
    snapshot = test_take(true);
    rows = test_rows(snapshot, MTRACE_BY_LINE);
    expect_seven_samples(&rows->rows[0]);
    assert_int_equal(mtrace_snapshot_compare_to(&diff, snapshot, old, MTRACE_BY_LINE, NULL),
                     MTRACE_OK);
    for (i = 0; TEST_ROWS(i, parts); i++) {
        assert_non_null(strstr(test_report(&out, parts[i].is_diff ? diff : rows, parts[i].style),
                               parts[i].name));
    }
    mtrace_rows_free(diff);
    mtrace_rows_free(rows);
    rows = test_rows(snapshot, MTRACE_BY_SIZE_CLASS);
    assert_int_equal(rows->count, 2);
    expect_seven_samples(&rows->rows[0]);
    assert_int_equal(rows->rows[1].estimated_size, 0);
    test_report(&out, rows, MTRACE_STYLE_TABLE);
    assert_non_null(strstr(out.text, "462.14 KiB +-171.98 KiB     116           -  "));
    mtrace_rows_free(rows);
    mtrace_snapshot_free(snapshot);
    mtrace_snapshot_free(old);
}

/* Of a peak and a total no error is known, so none is shown. */
static void test_no_errors_of_peaks(void **state) {
    static const mtrace_view views[] = {MTRACE_VIEW_PEAK, MTRACE_VIEW_TOTAL};
    static test_output out;
    mtrace_snapshot *snapshot;
    mtrace_rows *statistics;
    mtrace_snapshot_parts parts;
    size_t i;
    (void)state;
    assert_int_equal(start_sampling(INTERVAL, 1), MTRACE_OK);
    track_all(&site_a, 3000, 10, 0x10000);
    for (i = 0; i < 2; i++) {
        mtrace_snapshot *now;
        now = test_take(false);
        parts = mtrace_snapshot_get_parts(now);
        parts.view = views[i];
        assert_int_equal(mtrace_snapshot_make(&snapshot, &parts, NULL), MTRACE_OK);
        mtrace_snapshot_free(now);
        statistics = test_rows(snapshot, MTRACE_BY_LINE);
        assert_true(statistics->rows[0].size > 0);
        assert_int_equal(statistics->rows[0].estimated_size, 0);
        test_report(&out, statistics, MTRACE_STYLE_TABLE);
        assert_non_null(strstr(out.text, "      SIZE      %     COUNT     AT PEAK  "));
        assert_non_null(strstr(out.text, "; sampled every 64.0 KiB: figures are estimates\n"));
        test_report(&out, statistics, MTRACE_STYLE_LINES);
        assert_non_null(strstr(out.text, " dropped_size where\n"));
        test_report(&out, statistics, MTRACE_STYLE_WARNINGS);
        assert_null(strstr(out.text, "+-"));
        mtrace_rows_free(statistics);
        mtrace_snapshot_free(snapshot);
    }
}

/* A comparison's error is that of both snapshots, whichever of them was sampled. */
static void test_errors_of_comparisons(void **state) {
    static test_output out;
    mtrace_snapshot *old, *now, *exact;
    mtrace_rows *diff;
    uint64_t before, after;
    (void)state;
    assert_int_equal(start_sampling(INTERVAL, 1), MTRACE_OK);
    track_all(&site_a, 3000, 10, 0x10000);
    before = row_now(1).estimated_size;
    old = test_take(false);
    track_all(&site_a, 3000, 10, 0x20000);
    after = row_now(1).estimated_size;
    assert_true(before > 0 && after > before);
    now = test_take(false);
    assert_int_equal(mtrace_snapshot_compare_to(&diff, now, old, MTRACE_BY_LINE, NULL), MTRACE_OK);
    assert_int_equal(diff->rows[0].estimated_size, before + after);
    assert_int_equal(diff->total.estimated_size, before + after);
    mtrace_rows_free(diff);
    mtrace_stop();
    test_start(32, 8);
    exact = test_take(false);
    assert_int_equal(mtrace_snapshot_compare_to(&diff, exact, old, MTRACE_BY_LINE, NULL),
                     MTRACE_OK);
    assert_int_equal(diff->info.sample_interval, INTERVAL);
    assert_int_equal(diff->rows[0].estimated_size, before);
    test_report(&out, diff, MTRACE_STYLE_TABLE);
    assert_non_null(strstr(out.text, "figures are estimates, +- one standard error\n"));
    mtrace_rows_free(diff);
    mtrace_snapshot_free(exact);
    mtrace_snapshot_free(now);
    mtrace_snapshot_free(old);
}

static uint64_t root(uint64_t estimated_size, size_t interval) {
    mtrace_row row = MTRACE_ZERO_;
    row.estimated_size = estimated_size;
    return mtrace_standard_error(&row, interval);
}

static void test_standard_errors(void **state) {
    static const struct {
        const char *name;
        uint64_t estimated_size;
        size_t interval;
        uint64_t error;
    } errors[] = {{"0", 0, 1, 0},
                  {"1", 1, 1, 1},
                  {"2", 2, 1, 1},
                  {"3", 3, 1, 2},
                  {"6", 6, 1, 2},
                  {"7", 7, 1, 3},
                  {"not sampled", 7, 0, 0},
                  {"1,011.9", 1000, 1024, 1012},
                  {"2^62", (uint64_t)1 << 40, (size_t)1 << 22, (uint64_t)1 << 31},
                  {"2^64 - 1", UINT64_MAX, 1, (uint64_t)1 << 32},
                  {"2^88", UINT64_MAX, (size_t)1 << 24, (uint64_t)1 << 44},
                  {"2^64", (uint64_t)1 << 45, (size_t)1 << 19, (uint64_t)1 << 32}};
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, errors); i++) {
        assert_true(root(errors[i].estimated_size, errors[i].interval) == errors[i].error);
    }
}

/* --- six mixtures of sizes: the error from one counter, and the exact one --- */

#define MIX_INTERVAL 524288

static double uniform(uint64_t *random) {
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*random >> 11) + 0.5) / 9007199254740992.0;
}

/* exp(7 + 2 x), x of the normal distribution (Box and Muller). */
static uint64_t lognormal(uint64_t *random) {
    double u = uniform(random), v = uniform(random);
    return (uint64_t)exp(7 + 2 * sqrt(-2 * log(u)) * cos(6.28318530717958648 * v)) + 1;
}

typedef struct mixture {
    const char *name;
    uint64_t count;
    uint64_t size;  /* 0: random */
    uint64_t large; /* every 1,667th block; 0: none is */
} mixture;

static const mixture mixtures[] = {{"tiny blocks", 200000, 64, 0},
                                   {"small ones", 50000, 1024, 0},
                                   {"random ones", 60000, 0, 0},
                                   {"middle ones", 2000, 65536, 0},
                                   {"half an interval", 400, MIX_INTERVAL / 2, 0},
                                   {"tiny and large ones", 100000, 64, (uint64_t)1 << 20}};

static uint64_t size_in(const mixture *m, uint64_t number, uint64_t *random) {
    return m->size == 0                          ? lognormal(random)
           : m->large != 0 && number % 1667 == 0 ? m->large
                                                 : m->size;
}

/* The variance as it adds up over the samples. */
static double accumulated(const mtrace_snapshot *s) {
    mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(s);
    double sum = 0;
    size_t i;
    for (i = 0; i < parts.block_count; i++) {
        double size = (double)parts.blocks[i].size;
        double p = size < MIX_INTERVAL ? -expm1(-size / MIX_INTERVAL) : 1;
        sum += (1 - p) * (size / p) * (size / p);
    }
    return sum;
}

/* The error from the counter is at most 14 % above the one that the samples add up to, and never
   below it; and it is near the one that all blocks, not only the samples, have. */
static void assert_error_of(const mixture *m) {
    uint64_t random = 1, i;
    mtrace_snapshot *snapshot;
    double truth = 0, sum, error;
    assert_int_equal(start_sampling(MIX_INTERVAL, 1), MTRACE_OK);
    for (i = 0; i < m->count; i++) {
        uint64_t size = size_in(m, i, &random);
        truth += variance_of((double)size, (double)size, MIX_INTERVAL);
        assert_int_equal(mtrace_track_at(1, (uintptr_t)(16 * i + 16), size, &site_a), MTRACE_OK);
    }
    snapshot = test_take(true);
    sum = sqrt(accumulated(snapshot));
    error = (double)root(row_of(snapshot, 1).estimated_size, MIX_INTERVAL);
    assert_true(sum > 0);
    assert_true(error > sum - 1 && error < 1.14 * sum);
    assert_true(fabs(error / sqrt(truth) - 1) < 0.25);
    mtrace_snapshot_free(snapshot);
    mtrace_stop();
}

static void test_errors_of_six_mixtures(void **state) {
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, mixtures); i++) {
        assert_error_of(&mixtures[i]);
    }
}

static void *allocate_and_free(void *argument) {
    void *blocks[100];
    int i, round;
    (void)argument;
    for (round = 0; round < 200; round++) {
        for (i = 0; i < 100; i++) {
            blocks[i] = mtrace_malloc_at(10 + (size_t)i * 20, &site_a);
        }
        for (i = 0; i < 100; i++) {
            mtrace_free_at(blocks[i], &site_a);
        }
    }
    return NULL;
}

/* More of them than there are shards. */
static void test_threads(void **state) {
    mtrace_row row;
    double expected = 20 * 200 * 100.0, variance = 0;
    int i;
    (void)state;
    for (i = 0; i < 100; i++) {
        variance += 20 * 200 * variance_of(10 + i * 20, 1, 4096);
    }
    assert_int_equal(start_sampling(4096, 3), MTRACE_OK);
    test_in_threads(20, allocate_and_free, NULL, 0);
    test_sound();
    row = row_now(1);
    assert_int_equal(row.size + row.count + row.estimated_size, 0);
    assert_true(fabs((double)row.total_count - expected) <= 5 * sqrt(variance));
    assert_int_equal(mtrace_get_info().live, 0);
}

/* A sample is counted in the one shard that all share: the others take no memory. */
static void test_memory(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    size_t plain;
    (void)state;
    desc.max_blocks = 2048;
    desc.max_sites = 64;
    plain = mtrace_memory_size(&desc);
    desc.sample_interval = INTERVAL;
    assert_true(plain - mtrace_memory_size(&desc) > test_shards() * 64 * 64 - 16384);
    desc.memory_size = mtrace_memory_size(&desc);
    desc.memory = malloc(desc.memory_size);
    assert_non_null(desc.memory);
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    site_a = test_site("sampling.c", 1);
    track_all(&site_a, 3000, 10, 0x10000);
    test_sound();
    mtrace_stop();
    free(desc.memory);
}

/* Blocks that a clear forgets take their estimates with them. */
static void test_clear(void **state) {
    mtrace_row row;
    (void)state;
    assert_int_equal(start_sampling(INTERVAL, 1), MTRACE_OK);
    track_all(&site_a, 3000, 10, 0x10000);
    row = row_now(1);
    assert_true(row.estimated_size > 0);
    assert_int_equal(row.estimated_size, row.size);
    mtrace_clear();
    test_sound();
    row = row_now(1);
    assert_int_equal(row.size + row.estimated_size, 0);
    track_all(&site_a, 3000, 10, 0x10000);
    row = row_now(1);
    assert_true(row.estimated_size > 0);
    assert_int_equal(row.estimated_size, row.size);
    test_sound();
}

/* A session without sampling after one with it is exact again. */
static void test_exact_again(void **state) {
    void *block;
    (void)state;
    if (start_sampling(INTERVAL, 3) == MTRACE_OK) {
        mtrace_free_at(mtrace_malloc_at(5, &site_a), &site_a);
        mtrace_stop();
    }
    test_start(32, 8);
    block = mtrace_malloc_at(5, &site_a);
    test_held(5, 5, 1);
    mtrace_free_at(block, &site_a);
    test_held(0, 5, 0);
    assert_int_equal(mtrace_get_info().sample_interval, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_bad_intervals),
        TEST(test_standard_errors),
        TEST(test_exact_again),
        TEST(test_large_blocks_are_exact),
        TEST(test_unbiased),
        TEST(test_chances),
        TEST(test_reproducible),
        TEST(test_growth_is_not_known),
        TEST(test_errors_of_six_mixtures),
        TEST(test_reports_show_errors),
        TEST(test_no_errors_of_peaks),
        TEST(test_errors_of_comparisons),
        TEST(test_threads),
        TEST(test_memory),
        TEST(test_clear),
    };
    const struct CMUnitTest without_sampling[] = {
        TEST(test_bad_intervals), /* start says so */
        TEST(test_standard_errors),
        TEST(test_exact_again),
    };
    return test_can_sample() ? cmocka_run_group_tests(tests, NULL, NULL)
                             : cmocka_run_group_tests(without_sampling, NULL, NULL);
}

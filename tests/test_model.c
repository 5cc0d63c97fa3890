/* Random operations beside a naive model: a list of traces and plain sums. After every step the
   library must agree on the totals and pass its self-check; every so often on every row and every
   block too. */

#include "support/test.h"

/* --long: test_model with 300,000 steps in each round, not 60,000, or 10,000 under a sanitizer */
enum { BLOCKS = 96, SITES = 7, ROUNDS = 8, LONG = 300000, USUAL = TEST_SANITIZED ? 10000 : 60000 };

/* A block or key, and the model of its trace. */
typedef struct entry {
    void *block; /* NULL: a tracked key, or nothing */
    uintptr_t key;
    uint32_t domain;
    uint64_t size;
    int site;   /* of the trace; -1: there is none */
    bool freed; /* by plain free: the trace is stale */
} entry;

typedef struct totals {
    uint64_t size, count, peak_size, total_size, total_count, frees, reallocs, dropped, failed,
        failed_size;
} totals;

static entry entries[BLOCKS];
static totals site_totals[SITES];
static mtrace_site sites[SITES];
static uint64_t current, peak, foreign, stale, drops;
static uintptr_t shared_zeros[4];
static uint32_t shared_zero_count;
static bool paused;
static uint32_t seed;

static uint32_t pick(uint32_t n) {
    return test_random(&seed, n);
}

static uint64_t pick_size(void) {
    uint32_t kind = pick(20);
    return kind == 0 ? 0 : kind < 12 ? pick(64) : kind < 19 ? pick(2000) : pick(200000);
}

static void note_peak(void) {
    if (current > peak) {
        int i;
        peak = current;
        for (i = 0; i < SITES; i++) {
            site_totals[i].peak_size = site_totals[i].size;
        }
    }
}

static void model_out(entry *e) {
    if (e->site >= 0) {
        totals *t = &site_totals[e->site];
        t->size -= e->size;
        t->count--;
        t->frees++;
        current -= e->size;
        e->site = -1;
    }
}

/* The library has recorded e at a site, or dropped it: its count of drops shows which. */
static void model_in(entry *e, int site, uint64_t size, bool is_realloc) {
    totals *t = &site_totals[site];
    uint64_t now = mtrace_get_info().dropped_count;
    if (now != drops) {
        assert_int_equal(now, drops + 1);
        drops = now;
        t->dropped++;
        return;
    }
    e->site = site;
    e->size = size;
    t->size += size;
    t->count++;
    t->total_size += size;
    t->total_count++;
    t->reallocs += is_realloc ? 1 : 0;
    current += size;
}

/* The last four addresses of a block of size 0 that already had a trace of another one. */
static bool is_shared_zero(uintptr_t key) {
    return shared_zeros[0] == key || shared_zeros[1] == key || shared_zeros[2] == key ||
           shared_zeros[3] == key;
}

/* The allocator has handed out an address: a stale trace of it is replaced. */
static void model_came(const void *block, uint64_t size, const entry *but) {
    int i;
    for (i = 0; i < BLOCKS; i++) {
        entry *e = &entries[i];
        if (e != but && e->freed && e->site >= 0 && e->key == (uintptr_t)block) {
            if (size != 0 || e->size != 0) {
                stale++;
            } else if (!is_shared_zero(e->key)) {
                shared_zeros[++shared_zero_count % 4] = e->key;
            }
            model_out(e);
            e->freed = false;
            e->key = 0;
        }
    }
}

/* A block was allocated in a pause, at an address with a stale trace. The library takes that trace
   for the block's. */
static void model_adopt(entry *to) {
    int i;
    for (i = 0; i < BLOCKS; i++) {
        entry *e = &entries[i];
        if (e != to && to->site < 0 && e->freed && e->site >= 0 && e->key == (uintptr_t)to->block) {
            to->site = e->site;
            to->size = e->size;
            e->site = -1;
            e->freed = false;
        }
    }
}

/* An allocation failed. One of size 0 may be NULL, and is no failure. */
static void model_failure(int site, uint64_t size) {
    totals *t = &site_totals[site];
    if (!paused && size != 0) {
        t->failed++;
        t->failed_size = t->failed_size > size ? t->failed_size : size;
    }
}

static bool is_free_entry(const entry *e) {
    return e->block == NULL && e->domain == 0 && !e->freed;
}

static void step_alloc(entry *e, int site) {
    uint64_t size = pick_size();
    bool fail = pick(16) == 0;
    test_fail_next = fail ? 1 : 0;
    e->block = pick(2) == 0 ? mtrace_malloc_at((size_t)size, &sites[site])
                            : mtrace_calloc_at(1, (size_t)size, &sites[site]);
    test_fail_next = 0;
    assert_int_equal(e->block == NULL, fail);
    e->site = -1;
    if (fail) {
        model_failure(site, size);
    }
    if (e->block != NULL) {
        e->key = (uintptr_t)e->block;
        if (!paused) {
            model_came(e->block, size, e);
            model_in(e, site, size, false);
        }
    }
}

static void step_free(entry *e) {
    void *block = e->block;
    model_adopt(e);
    e->block = NULL;
    if (e->site >= 0 && pick(10) == 0) {
        e->freed = true; /* the trace stays */
        free(block);
    } else {
        foreign += e->site < 0 && !is_shared_zero((uintptr_t)block) ? 1 : 0;
        model_out(e);
        mtrace_free_at(block, &sites[0]);
    }
}

static void step_realloc(entry *e, int site) {
    uint64_t size = 1 + pick_size();
    bool fail = pick(4) == 0, known;
    void *moved;
    model_adopt(e);
    known = e->site >= 0;
    foreign += known || is_shared_zero(e->key) ? 0 : 1;
    test_fail_next = fail ? 1 : 0;
    moved = mtrace_realloc_at(e->block, (size_t)size, &sites[site]);
    test_fail_next = 0;
    assert_int_equal(moved == NULL, fail);
    if (fail) {
        model_failure(site, size);
    }
    if (moved != NULL) {
        int to = paused ? e->site : site;
        model_out(e);
        e->block = moved;
        e->key = (uintptr_t)moved;
        if (known || !paused) {
            model_came(moved, size, e);
            model_in(e, to, size, true);
        }
    }
}

static entry *tracked(uint32_t domain, uintptr_t key) {
    int i;
    for (i = 0; i < BLOCKS; i++) {
        if (entries[i].domain == domain && entries[i].key == key) {
            return &entries[i];
        }
    }
    return NULL;
}

static void step_track(entry *e, int site) {
    uint32_t domain = 1 + pick(3);
    uintptr_t key = pick(3) == 0 ? UINTPTR_MAX - pick(4) : pick(40);
    uint64_t size = pick(10) == 0 ? (uint64_t)5 << 30 : pick_size();
    entry *old = tracked(domain, key);
    mtrace_result result = mtrace_track_at(domain, key, size, &sites[site]);
    if (paused) {
        assert_int_equal(result, MTRACE_ERR_NOT_TRACING);
        return;
    }
    if (old != NULL) {
        model_out(old);
        e = old;
    }
    e->domain = domain;
    e->key = key;
    e->site = -1;
    model_in(e, site, size, false);
    assert_int_equal(result, e->site >= 0 ? MTRACE_OK : MTRACE_ERR_FULL);
    if (e->site < 0) {
        e->domain = 0;
    }
}

static void step_untrack(entry *e) {
    assert_int_equal(mtrace_untrack_at(e->domain, e->key, NULL), MTRACE_OK);
    assert_int_equal(mtrace_untrack_at(e->domain, e->key, NULL), MTRACE_ERR_NOT_FOUND);
    model_out(e);
    e->domain = 0;
}

/* Every trace is forgotten: after clear, or stop and start. */
static void model_forget(void) {
    int i;
    for (i = 0; i < BLOCKS; i++) {
        entries[i].site = -1;
        entries[i].domain = 0;
        entries[i].freed = false;
    }
    memset(site_totals, 0, sizeof site_totals);
    current = peak = foreign = stale = drops = 0;
}

static void restart(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_stop();
    desc.max_blocks = (size_t)2 << pick(6);
    desc.max_sites = SITES + 4 * SITES;
    desc.serials = pick(2) == 0;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    paused = false;
    memset(shared_zeros, 0, sizeof shared_zeros);
    model_forget();
}

static void step_life(void) {
    switch (pick(8)) {
    case 0:
        if (pick(20) == 0) {
            mtrace_clear();
            model_forget();
        }
        break;
    case 1:
        if (pick(20) == 0) {
            restart();
        }
        break;
    case 2:
        mtrace_reset_peak();
        peak = 0;
        current > 0 ? note_peak() : (void)0;
        if (current == 0) {
            int i;
            for (i = 0; i < SITES; i++) {
                site_totals[i].peak_size = 0;
            }
        }
        break;
    case 3:
    case 4:
        assert_int_equal(mtrace_pause(), MTRACE_OK);
        paused = true;
        break;
    default:
        assert_int_equal(mtrace_resume(), MTRACE_OK);
        paused = false;
        break;
    }
}

static void step(void) {
    entry *e = &entries[pick(BLOCKS)];
    int site = (int)pick(SITES);
    if (pick(64) == 0) {
        step_life();
    } else if (e->block != NULL) {
        if (pick(3) == 0) {
            step_realloc(e, site);
        } else {
            step_free(e);
        }
    } else if (e->domain != 0) {
        step_untrack(e);
    } else if (is_free_entry(e)) {
        if (pick(4) == 0) {
            step_track(e, site);
        } else {
            step_alloc(e, site);
        }
    }
    note_peak();
}

static void compare_totals(void) {
    mtrace_traced_memory memory = mtrace_get_traced_memory();
    test_sound();
    assert_int_equal(memory.current, current);
    assert_int_equal(memory.peak, peak);
}

static void compare_row(const mtrace_row *row, const totals *t) {
    assert_int_equal(row->size, t->size);
    assert_int_equal(row->count, t->count);
    assert_int_equal(row->peak_size, t->peak_size);
    assert_int_equal(row->total_size, t->total_size);
    assert_int_equal(row->total_count, t->total_count);
    assert_int_equal(row->frees, t->frees);
    assert_int_equal(row->reallocs, t->reallocs);
    assert_int_equal(row->dropped_count, t->dropped);
    assert_int_equal(row->failed_count, t->failed);
    assert_int_equal(row->failed_size, t->failed_size);
}

static void compare_rows(mtrace_snapshot *snapshot) {
    mtrace_rows *s;
    size_t i, rows = 0;
    int site;
    s = test_rows(snapshot, MTRACE_BY_LINE);
    for (site = 0; site < SITES; site++) {
        const totals *t = &site_totals[site];
        rows += t->count != 0 || t->dropped != 0 || t->failed != 0 ? 1u : 0u;
    }
    assert_int_equal(s->count, rows);
    for (i = 0; i < s->count; i++) {
        compare_row(&s->rows[i], &site_totals[s->rows[i].line - 1]);
    }
    mtrace_rows_free(s);
}

static void compare_blocks(const mtrace_snapshot *snapshot) {
    size_t i, n = 0;
    mtrace_block block;
    for (i = 0; test_block(&block, snapshot, i); i++) {
        mtrace_block found;
        assert_int_equal(
            mtrace_find_tracked(&found, block.domain, (uintptr_t)block.address, NULL, 0),
            MTRACE_OK);
        assert_int_equal(found.size, block.size);
        assert_int_equal(found.line, block.line);
        assert_int_equal(found.serial, block.serial);
    }
    for (i = 0; i < BLOCKS; i++) {
        const entry *e = &entries[i];
        if (e->site >= 0) {
            n++;
            assert_int_equal(mtrace_find_tracked(&block, e->domain, e->key, NULL, 0), MTRACE_OK);
            assert_int_equal(block.size, e->size);
            assert_int_equal(block.line, (uint32_t)e->site + 1);
        }
    }
    assert_int_equal(mtrace_snapshot_get_parts(snapshot).trace_count, n);
    assert_false(test_block(&block, snapshot, n));
}

static void compare_all(void) {
    mtrace_info info = mtrace_get_info();
    mtrace_snapshot *snapshot;
    assert_int_equal(info.foreign_frees, foreign);
    assert_int_equal(info.stale_replaced, stale);
    snapshot = test_take(true);
    compare_rows(snapshot);
    compare_blocks(snapshot);
    mtrace_snapshot_free(snapshot);
}

static void free_all(void) {
    int i;
    for (i = 0; i < BLOCKS; i++) {
        free(entries[i].block);
        memset(&entries[i], 0, sizeof entries[i]);
        entries[i].site = -1;
    }
}

static void test_random_operations(void **state) {
    int i, round, steps = test_long() ? LONG : USUAL;
    (void)state;
    for (i = 0; i < SITES; i++) {
        sites[i] = test_site("model.c", (uint32_t)i + 1);
    }
    for (round = 0; round < ROUNDS; round++) {
        seed = (uint32_t)round * 7919 + 1;
        free_all();
        restart();
        for (i = 0; i < steps; i++) {
            step();
            compare_totals();
            if (i % 64 == 0) {
                compare_all();
            }
        }
        compare_all();
    }
    free_all();
    mtrace_stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_operations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Grouping, sorting and comparing: the rows of statistics. The vectors are CPython 3.11
   tracemalloc's; a random test stands beside a naive grouping of its own. */

#include "support/test.h"

#include "support/exact_memory.h"

static unsigned char tracer_memory[1 << 20];

static void start(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 512;
    desc.max_sites = 512;
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static int setup(void **state) {
    (void)state;
    start();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    test_sound();
    mtrace_stop();
    return 0;
}

/* --- traces: `count` of them, each with a key of its own --- */

static uintptr_t next_key = 32;

static void trace_full(uint32_t domain, uint64_t size, const char *file, uint32_t line,
                       const char *function, const char *type) {
    mtrace_site site = test_site(file, line);
    site.function = function;
    site.type = type;
    assert_int_equal(mtrace_track_at(domain, next_key, size, &site), MTRACE_OK);
    next_key += 32;
}

/* Some traces of one call site. */
typedef struct traces {
    uint32_t domain;
    uint64_t size;
    const char *file;
    uint32_t line;
    int count; /* 0: the end of a list */
    const char *function, *type;
} traces;

static void trace_list(const traces *t) {
    for (; t->count > 0; t++) {
        int i;
        for (i = 0; i < t->count; i++) {
            trace_full(t->domain, t->size, t->file, t->line, t->function, t->type);
        }
    }
}

static void trace(uint32_t domain, uint64_t size, const char *file, uint32_t line, int count) {
    for (; count > 0; count--) {
        trace_full(domain, size, file, line, "f", NULL);
    }
}

/* --- rows as one text: "key size count", for differences "key size +d count +d" --- */

static size_t put_key(char *text, size_t room, const mtrace_row *row, mtrace_key_type key_type) {
    int n = -1;
    switch (key_type) {
    case MTRACE_BY_LINE:
        n = snprintf(text, room, "%s:%lu", row->file, (unsigned long)row->line);
        break;
    case MTRACE_BY_FILE:
        n = snprintf(text, room, "%s", row->file);
        break;
    case MTRACE_BY_FUNCTION:
        n = snprintf(text, room, "%s@%s", row->function == NULL ? "NULL" : row->function,
                     row->file);
        break;
    case MTRACE_BY_TYPE:
        n = snprintf(text, room, "%s", row->type);
        break;
    case MTRACE_BY_DOMAIN:
        n = snprintf(text, room, "%lu", (unsigned long)row->domain);
        break;
    case MTRACE_BY_SIZE_CLASS:
        n = snprintf(text, room, "<=%llu", (unsigned long long)row->size_class);
        break;
    }
    assert_true(n >= 0 && (size_t)n < room);
    return (size_t)n;
}

static void expect_rows(const mtrace_rows *s, const char *wanted) {
    char text[2048] = "";
    size_t i, at = 0;
    for (i = 0; i < s->count; i++) {
        const mtrace_row *r = &s->rows[i];
        int n;
        at += put_key(text + at, sizeof text - at, r, s->key_type);
        if (s->is_diff) {
            n = snprintf(text + at, sizeof text - at, " %llu %+lld %llu %+lld | ",
                         (unsigned long long)r->size, (long long)r->size_diff,
                         (unsigned long long)r->count, (long long)r->count_diff);
        } else {
            assert_int_equal(r->size_diff, 0);
            assert_int_equal(r->count_diff, 0);
            n = snprintf(text + at, sizeof text - at, " %llu %llu | ", (unsigned long long)r->size,
                         (unsigned long long)r->count);
        }
        assert_true(n > 0 && (size_t)n < sizeof text - at);
        at += (size_t)n;
    }
    text[at >= 3 ? at - 3 : 0] = '\0';
    assert_string_equal(text, wanted);
}

static void expect_statistics(const mtrace_snapshot *snapshot, mtrace_key_type key_type,
                              const char *wanted) {
    mtrace_rows *s;
    s = test_rows(snapshot, key_type);
    assert_int_equal(s->key_type, key_type);
    assert_false(s->is_diff);
    expect_rows(s, wanted);
    mtrace_rows_free(s);
}

static void expect_compare(const mtrace_snapshot *snapshot, const mtrace_snapshot *old,
                           mtrace_key_type key_type, const char *wanted) {
    mtrace_rows *s;
    assert_int_equal(mtrace_snapshot_compare_to(&s, snapshot, old, key_type, NULL), MTRACE_OK);
    assert_int_equal(s->key_type, key_type);
    assert_true(s->is_diff);
    expect_rows(s, wanted);
    mtrace_rows_free(s);
}

static void expect_refused(mtrace_result wanted, const mtrace_snapshot *snapshot,
                           const mtrace_snapshot *old, bool is_diff, mtrace_key_type key_type) {
    static mtrace_rows nothing;
    mtrace_rows *s = &nothing;
    assert_int_equal(is_diff ? mtrace_snapshot_compare_to(&s, snapshot, old, key_type, NULL)
                             : mtrace_snapshot_statistics(&s, snapshot, key_type, NULL),
                     wanted);
    assert_null(s);
}

/* --- CPython's two snapshots --- */

static void trace_s1(void) {
    trace(0, 10, "a.py", 2, 3);
    trace(1, 2, "a.py", 5, 1);
    trace(2, 66, "b.py", 1, 1);
    assert_int_equal(mtrace_track_at(3, 7, 7, NULL), MTRACE_OK); /* <unknown>:0 */
}

static void trace_s2(void) {
    trace(0, 10, "a.py", 2, 3);
    trace(2, 2, "a.py", 5, 1);
    trace(2, 5000, "a.py", 5, 1);
    trace(4, 400, "c.py", 578, 1);
}

static void test_statistics_as_cpython(void **state) {
    mtrace_snapshot *s1, *s2;
    (void)state;
    trace_s1();
    s1 = test_take(true);
    mtrace_clear();
    trace_s2();
    s2 = test_take(true);
    expect_statistics(s1, MTRACE_BY_LINE,
                      "b.py:1 66 1 | a.py:2 30 3 | <unknown>:0 7 1 | a.py:5 2 1");
    expect_statistics(s2, MTRACE_BY_LINE, "a.py:5 5002 2 | c.py:578 400 1 | a.py:2 30 3");
    expect_statistics(s1, MTRACE_BY_FILE, "b.py 66 1 | a.py 32 4 | <unknown> 7 1");
    expect_statistics(s2, MTRACE_BY_FILE, "a.py 5032 5 | c.py 400 1");
    mtrace_snapshot_free(s1);
    mtrace_snapshot_free(s2);
}

static void expect_compare_as_cpython(const mtrace_snapshot *s1, const mtrace_snapshot *s2) {
    expect_compare(s2, s1, MTRACE_BY_LINE,
                   "a.py:5 5002 +5000 2 +1 | c.py:578 400 +400 1 +1 | b.py:1 0 -66 0 -1 | "
                   "<unknown>:0 0 -7 0 -1 | a.py:2 30 +0 3 +0");
    expect_compare(s2, s1, MTRACE_BY_FILE,
                   "a.py 5032 +5000 5 +1 | c.py 400 +400 1 +1 | b.py 0 -66 0 -1 | "
                   "<unknown> 0 -7 0 -1");
    expect_compare(s1, s2, MTRACE_BY_LINE,
                   "a.py:5 2 -5000 1 -1 | c.py:578 0 -400 0 -1 | b.py:1 66 +66 1 +1 | "
                   "<unknown>:0 7 +7 1 +1 | a.py:2 30 +0 3 +0");
    expect_compare(s1, s1, MTRACE_BY_LINE,
                   "b.py:1 66 +0 1 +0 | a.py:2 30 +0 3 +0 | <unknown>:0 7 +0 1 +0 | a.py:5 2 +0 1 "
                   "+0");
}

/* Counters cleared in between, or not: what is live differs by the same. */
static void test_compare_as_cpython(void **state) {
    mtrace_snapshot *s1, *s2, *empty;
    uintptr_t first = next_key;
    (void)state;
    empty = test_take(true);
    expect_statistics(empty, MTRACE_BY_LINE, "");
    expect_compare(empty, empty, MTRACE_BY_LINE, "");
    trace_s1();
    s1 = test_take(true);
    for (; first < next_key; first += 32) {
        uint32_t domain;
        for (domain = 0; domain < 3; domain++) {
            mtrace_untrack_at(domain, first, NULL);
        }
    }
    assert_int_equal(mtrace_untrack_at(3, 7, NULL), MTRACE_OK);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    trace_s2();
    s2 = test_take(true);
    expect_compare_as_cpython(s1, s2);
    expect_compare(s1, empty, MTRACE_BY_FILE,
                   "b.py 66 +66 1 +1 | a.py 32 +32 4 +4 | <unknown> 7 +7 1 +1");
    expect_compare(empty, s1, MTRACE_BY_FILE,
                   "b.py 0 -66 0 -1 | a.py 0 -32 0 -4 | <unknown> 0 -7 0 -1");
    mtrace_snapshot_free(s2);
    mtrace_clear();
    trace_s2();
    s2 = test_take(true);
    expect_compare_as_cpython(s1, s2);
    mtrace_snapshot_free(s2);
    mtrace_stop();
    start();
    trace_s2();
    s2 = test_take(true);
    expect_compare_as_cpython(s1, s2);
    mtrace_snapshot_free(s2);
    mtrace_snapshot_free(s1);
    mtrace_snapshot_free(empty);
}

/* --- traces, and the rows that they make --- */

#define T(domain, size, file, line, count)                                                         \
    { domain, size, file, line, count, "f", NULL }
#define T_OF(domain, size, file, line, function, type)                                             \
    { domain, size, file, line, 1, function, type }
#define T_END T(0, 0, NULL, 0, 0)
/* Around the limits of size classes. */
#define T_SIZES                                                                                    \
    T(1, 0, "a.c", 1, 2), T(1, 1, "a.c", 1, 1), T(1, 2, "a.c", 1, 1), T(1, 3, "a.c", 1, 1),        \
        T(1, 4, "a.c", 1, 1), T(1, 5, "a.c", 1, 1), T(1, 8, "a.c", 1, 1), T(1, 9, "a.c", 1, 1),    \
        T(1, 4096, "a.c", 1, 1), T(1, 4097, "a.c", 1, 1), T(1, 549755813887u, "a.c", 1, 1)

typedef struct grouping {
    traces old[13]; /* empty: statistics, not a comparison */
    traces now[13];
    struct {
        mtrace_key_type key_type;
        const char *rows;
    } wanted[7];
} grouping;

static const grouping groupings[] = {
    /* every key; test_keys_not_fixed_are_zero uses this one, too */
    {{T_END},
     {T_OF(0, 1, "a.c", 1, "f", "int"), T_OF(0, 2, "a.c", 2, "f", NULL),
      T_OF(7, 4, "a.c", 1, "f", "int"), T_OF(7, 8, "a.c", 3, "g", "struct s"),
      T_OF(65535, 16, "b.c", 1, "f", "struct s"), T_OF(0, 32, "b.c", 1, NULL, NULL),
      T_OF(0, 0, "b.c", 9, "zero", "void")},
     {{MTRACE_BY_LINE, "b.c:1 48 2 | a.c:3 8 1 | a.c:1 5 2 | a.c:2 2 1 | b.c:9 0 1"},
      {MTRACE_BY_FILE, "b.c 48 3 | a.c 15 4"},
      {MTRACE_BY_FUNCTION, "NULL@b.c 32 1 | f@b.c 16 1 | g@a.c 8 1 | f@a.c 7 3 | zero@b.c 0 1"},
      {MTRACE_BY_TYPE, "<untyped> 34 2 | struct s 24 2 | int 5 2 | void 0 1"},
      {MTRACE_BY_DOMAIN, "0 35 4 | 65535 16 1 | 7 12 2"},
      {MTRACE_BY_SIZE_CLASS,
       "<=32 32 1 | <=16 16 1 | <=8 8 1 | <=4 4 1 | <=2 2 1 | <=1 1 1 | <=0 0 1"}}},
    /* ties, as CPython's */
    {{T_END},
     {T(1, 10, "a.c", 2, 1), T(1, 10, "b.c", 1, 1), T(1, 10, "a.c", 10, 1), T(1, 5, "c.c", 1, 2)},
     {{MTRACE_BY_LINE, "c.c:1 10 2 | b.c:1 10 1 | a.c:10 10 1 | a.c:2 10 1"}}},
    {{T(1, 10, "a.c", 1, 1), T(1, 10, "b.c", 1, 1), T(1, 3, "u.c", 1, 1), T(1, 3, "v.c", 1, 1)},
     {T(1, 3, "v.c", 1, 1), T(1, 20, "c.c", 1, 1), T(1, 10, "c.c", 2, 1), T(1, 3, "u.c", 1, 1)},
     {{MTRACE_BY_LINE,
       "c.c:1 20 +20 1 +1 | c.c:2 10 +10 1 +1 | b.c:1 0 -10 0 -1 | a.c:1 0 -10 0 -1 | "
       "v.c:1 3 +0 1 +0 | u.c:1 3 +0 1 +0"}}},
    {{T(1, 10, "dead", 1, 1), T(1, 90, "grow", 1, 1), T(1, 110, "shrink", 1, 1)},
     {T(1, 10, "new", 1, 1), T(1, 100, "grow", 1, 1), T(1, 100, "shrink", 1, 1)},
     {{MTRACE_BY_FILE,
       "shrink 100 -10 1 +0 | grow 100 +10 1 +0 | new 10 +10 1 +1 | dead 0 -10 0 -1"}}},
    /* of equal size: first the greater change in blocks, then more blocks */
    {{T(1, 10, "same", 1, 1), T(1, 5, "less", 1, 2), T(1, 1, "most", 1, 10)},
     {T(1, 5, "same", 1, 2), T(1, 10, "less", 1, 1), T(1, 1, "most", 1, 10)},
     {{MTRACE_BY_FILE, "same 10 +0 2 +1 | less 10 +0 1 -1 | most 10 +0 10 +0"}}},
    /* names compare as bytes, unsigned, a shorter one first; lines as numbers */
    {{T_END},
     {T(1, 1, "a", 1, 1), T(1, 1, "\xc3\xa4", 1, 1), T(1, 1, "ab", 4294967295u, 1),
      T(1, 1, "ab", 2147483647, 1), T(1, 1, "A", 1, 1), T(1, 1, "", 1, 1)},
     {{MTRACE_BY_LINE,
       "\xc3\xa4:1 1 1 | ab:4294967295 1 1 | ab:2147483647 1 1 | a:1 1 1 | A:1 1 1 | :1 1 1"}}},
    /* the other keys in a comparison */
    {{T_OF(1, 10, "a.c", 1, "f", "int"), T_OF(2, 20, "a.c", 2, "g", NULL)},
     {T_OF(1, 15, "a.c", 1, "f", "int"), T_OF(3, 16, "a.c", 9, "g", "long")},
     {{MTRACE_BY_FUNCTION, "f@a.c 15 +5 1 +0 | g@a.c 16 -4 1 +0"},
      {MTRACE_BY_TYPE, "<untyped> 0 -20 0 -1 | long 16 +16 1 +1 | int 15 +5 1 +0"},
      {MTRACE_BY_DOMAIN, "2 0 -20 0 -1 | 3 16 +16 1 +1 | 1 15 +5 1 +0"},
      {MTRACE_BY_SIZE_CLASS, "<=16 31 +21 2 +1 | <=32 0 -20 0 -1"}}},
    /* one row whatever the domain, as CPython's */
    {{T_END}, {T(0, 1, "a.c", 2, 1), T(7, 2, "a.c", 2, 1)}, {{MTRACE_BY_LINE, "a.c:2 3 2"}}},
    /* a size class takes the sizes above half its largest, up to it */
    {{T_END},
     {T_SIZES},
     {{MTRACE_BY_SIZE_CLASS,
       "<=549755813888 549755813887 1 | <=8192 4097 1 | <=4096 4096 1 | <=8 13 2 | <=16 9 1 | "
       "<=4 7 2 | <=2 2 1 | <=1 1 1 | <=0 0 2"}}},
    {{T_SIZES},
     {T(1, 8, "a.c", 1, 1), T(1, 3, "a.c", 1, 3)},
     {{MTRACE_BY_SIZE_CLASS,
       "<=549755813888 0 -549755813887 0 -1 | <=8192 0 -4097 0 -1 | <=4096 0 -4096 0 -1 | "
       "<=16 0 -9 0 -1 | <=8 8 -5 1 -1 | <=4 9 +2 3 +1 | <=2 0 -2 0 -1 | <=1 0 -1 0 -1 | "
       "<=0 0 +0 0 -2"}}},
};

static void expect_grouping(const grouping *g) {
    bool is_diff = g->old[0].count > 0;
    mtrace_snapshot *old, *now;
    size_t i;
    trace_list(g->old);
    old = test_take(true);
    mtrace_clear();
    trace_list(g->now);
    now = test_take(true);
    for (i = 0; g->wanted[i].rows != NULL; i++) {
        if (is_diff) {
            expect_compare(now, old, g->wanted[i].key_type, g->wanted[i].rows);
        } else {
            expect_statistics(now, g->wanted[i].key_type, g->wanted[i].rows);
        }
    }
    assert_true(i > 0);
    mtrace_snapshot_free(now);
    mtrace_snapshot_free(old);
}

static void test_groupings(void **state) {
    size_t i;
    (void)state;
    for (i = 0; i < sizeof groupings / sizeof *groupings; i++) {
        mtrace_stop();
        start();
        expect_grouping(&groupings[i]);
        test_sound();
    }
}

static void expect_keys_only(const mtrace_snapshot *s, mtrace_key_type key_type) {
    mtrace_rows *statistics;
    size_t i;
    statistics = test_rows(s, key_type);
    assert_true(statistics->count > 1);
    for (i = 0; i < statistics->count; i++) {
        const mtrace_row *r = &statistics->rows[i];
        bool file = key_type <= MTRACE_BY_FUNCTION;
        assert_int_equal(r->file != NULL, file);
        assert_true(key_type == MTRACE_BY_LINE || r->line == 0);
        assert_true(key_type == MTRACE_BY_LINE || key_type == MTRACE_BY_FUNCTION ||
                    r->function == NULL);
        assert_true(key_type == MTRACE_BY_LINE || key_type == MTRACE_BY_TYPE || r->type == NULL);
        assert_true(key_type == MTRACE_BY_DOMAIN || r->domain == 0);
        assert_true(key_type == MTRACE_BY_SIZE_CLASS || r->size_class == 0);
    }
    mtrace_rows_free(statistics);
}

/* Fields that the key does not fix are NULL or 0. */
static void test_keys_not_fixed_are_zero(void **state) {
    mtrace_snapshot *s;
    int key_type;
    (void)state;
    trace_list(groupings[0].now);
    s = test_take(true);
    for (key_type = MTRACE_BY_LINE; key_type <= MTRACE_BY_SIZE_CLASS; key_type++) {
        expect_keys_only(s, (mtrace_key_type)key_type);
    }
    mtrace_snapshot_free(s);
}

static void test_size_classes_need_blocks(void **state) {
    mtrace_snapshot *s = test_take(true), *without;
    (void)state;
    without = test_take(false);
    expect_refused(MTRACE_ERR_NO_BLOCKS, without, NULL, false, MTRACE_BY_SIZE_CLASS);
    expect_refused(MTRACE_ERR_NO_BLOCKS, s, without, true, MTRACE_BY_SIZE_CLASS);
    expect_refused(MTRACE_ERR_NO_BLOCKS, without, s, true, MTRACE_BY_SIZE_CLASS);
    mtrace_snapshot_set_view(s, MTRACE_VIEW_PEAK); /* the blocks of then are unknown */
    expect_refused(MTRACE_ERR_NO_BLOCKS, s, NULL, false, MTRACE_BY_SIZE_CLASS);
    mtrace_snapshot_free(without);
    mtrace_snapshot_free(s);
}

/* --- views, totals, the rest of a top list --- */

static void test_views(void **state) {
    mtrace_snapshot *s, *old;
    mtrace_rows *statistics;
    mtrace_site temporary = test_site("temporary.c", 1), held = test_site("held.c", 1);
    (void)state;
    old = test_take(true);
    assert_int_equal(mtrace_track_at(1, 1, 100, &held), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 2, 5000, &temporary), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 3, 5000, &temporary), MTRACE_OK);
    assert_int_equal(mtrace_untrack_at(1, 2, NULL), MTRACE_OK);
    assert_int_equal(mtrace_untrack_at(1, 3, NULL), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 4, 70, &temporary), MTRACE_OK);
    assert_int_equal(mtrace_untrack_at(1, 4, NULL), MTRACE_OK);
    s = test_take(true);
    expect_statistics(s, MTRACE_BY_LINE, "held.c:1 100 1"); /* live */
    mtrace_snapshot_set_view(s, MTRACE_VIEW_PEAK);
    expect_statistics(s, MTRACE_BY_LINE, "temporary.c:1 10000 2 | held.c:1 100 1");
    expect_statistics(s, MTRACE_BY_DOMAIN, "1 10100 3");
    mtrace_snapshot_set_view(s, MTRACE_VIEW_TOTAL);
    expect_statistics(s, MTRACE_BY_LINE, "temporary.c:1 10070 3 | held.c:1 100 1");
    expect_compare(s, old, MTRACE_BY_LINE,
                   "temporary.c:1 10070 +10070 3 +3 | held.c:1 100 +100 1 +1");
    statistics = test_rows(s, MTRACE_BY_FILE);
    assert_int_equal(statistics->view, MTRACE_VIEW_TOTAL);
    assert_int_equal(statistics->rows[0].peak_size, 10000);
    assert_int_equal(statistics->rows[0].peak_count, 2);
    assert_int_equal(statistics->rows[0].total_size, 10070);
    assert_int_equal(statistics->rows[0].total_count, 3);
    assert_int_equal(statistics->rows[0].frees, 3);
    assert_int_equal(statistics->traced_memory.current, 100);
    assert_int_equal(statistics->traced_memory.peak, 10100);
    assert_int_equal(statistics->info.live, 1);
    assert_int_equal(statistics->info.high_water, 3);
    mtrace_rows_free(statistics);
    mtrace_snapshot_set_view(s, MTRACE_VIEW_LIVE);
    expect_statistics(s, MTRACE_BY_LINE, "held.c:1 100 1");
    mtrace_snapshot_free(s);
    mtrace_snapshot_free(old);
}

static void expect_sums(const mtrace_row *row) {
    assert_int_equal(row->size, 10000);
    assert_int_equal(row->count, 100);
    assert_int_equal(row->peak_size, 1000000);
    assert_int_equal(row->peak_count, 86);
    assert_int_equal(row->total_size, 10000000);
    assert_int_equal(row->total_count, 126);
    assert_int_equal(row->frees, 166);
    assert_int_equal(row->reallocs, 206);
    assert_int_equal(row->dropped_count, 246);
    assert_int_equal(row->dropped_size, 286);
    assert_int_equal(row->line, 0);
    assert_null(row->type);
    assert_int_equal(row->domain, 0);
}

enum { ROWS = 4 };

/* Row i has i+1, 10*(i+1), ... in its fields. */
static void make_rows(mtrace_row *rows, mtrace_frame *frames) {
    uint64_t i;
    memset(rows, 0, ROWS * sizeof *rows);
    memset(frames, 0, ROWS * sizeof *frames);
    for (i = 0; i < ROWS; i++) {
        mtrace_row *r = &rows[i];
        frames[i].file = "a.c";
        frames[i].function = "f";
        frames[i].line = (uint32_t)i + 1;
        r->traceback.frames = &frames[i];
        r->traceback.count = r->traceback.total = 1;
        r->size = (i + 1) * 1000;
        r->count = (i + 1) * 10;
        r->peak_size = (i + 1) * 100000;
        r->peak_count = i + 20;
        r->total_size = (i + 1) * 1000000;
        r->total_count = i + 30;
        r->frees = i + 40;
        r->reallocs = i + 50;
        r->dropped_count = i + 60;
        r->dropped_size = i + 70;
    }
}

/* In the row of a file, and in the total of its lines. */
static void test_every_field_is_summed(void **state) {
    mtrace_row rows[ROWS];
    mtrace_frame frames[ROWS];
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_snapshot *s;
    mtrace_rows *statistics;
    (void)state;
    make_rows(rows, frames);
    parts.rows = rows;
    parts.row_count = ROWS;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    statistics = test_rows(s, MTRACE_BY_FILE);
    assert_int_equal(statistics->count, 1);
    assert_string_equal(statistics->rows[0].file, "a.c");
    expect_sums(&statistics->rows[0]);
    mtrace_rows_free(statistics);
    statistics = test_rows(s, MTRACE_BY_LINE);
    assert_int_equal(statistics->count, ROWS);
    expect_sums(&statistics->total);
    mtrace_rows_free(statistics);
    mtrace_snapshot_free(s);
}

static void test_totals(void **state) {
    mtrace_snapshot *old, *now;
    mtrace_rows *s;
    (void)state;
    trace_s1();
    old = test_take(true);
    s = test_rows(old, MTRACE_BY_LINE);
    assert_int_equal(s->total.size, 105);
    assert_int_equal(s->total.count, 6);
    assert_int_equal(s->total.size_diff, 0);
    assert_int_equal(s->total.count_diff, 0);
    assert_int_equal(s->total.total_size, 105);
    assert_int_equal(s->total.total_count, 6);
    assert_int_equal(s->total.peak_size, 105);
    assert_int_equal(s->total.peak_count, 6);
    assert_int_equal(s->total.frees, 0);
    mtrace_rows_free(s);
    trace(1, 1000, "a.py", 5, 1);
    assert_int_equal(mtrace_untrack_at(3, 7, NULL), MTRACE_OK);
    now = test_take(true);
    assert_int_equal(mtrace_snapshot_compare_to(&s, now, old, MTRACE_BY_LINE, NULL), MTRACE_OK);
    assert_int_equal(s->total.size, 1098);
    assert_int_equal(s->total.count, 6);
    assert_int_equal(s->total.size_diff, 993);
    assert_int_equal(s->total.count_diff, 0);
    assert_int_equal(s->total.total_size, 1000); /* in between */
    assert_int_equal(s->total.total_count, 1);
    assert_int_equal(s->total.frees, 1);
    mtrace_rows_free(s);
    mtrace_snapshot_free(now);
    mtrace_snapshot_free(old);
}

static void expect_counters(const mtrace_snapshot *now, const mtrace_snapshot *old, uint64_t size,
                            uint64_t count, uint64_t frees, uint64_t reallocs) {
    mtrace_rows *s;
    assert_int_equal(mtrace_snapshot_compare_to(&s, now, old, MTRACE_BY_LINE, NULL), MTRACE_OK);
    assert_int_equal(s->count, 1);
    assert_int_equal(s->rows[0].total_size, size);
    assert_int_equal(s->rows[0].total_count, count);
    assert_int_equal(s->rows[0].frees, frees);
    assert_int_equal(s->rows[0].reallocs, reallocs);
    mtrace_rows_free(s);
}

/* A comparison counts what happened in between; after a clear, what happened since. */
static void test_counters_in_between(void **state) {
    mtrace_site site = test_site("a.c", 1);
    mtrace_snapshot *old, *now, *cleared;
    void *one = mtrace_malloc_at(10, &site), *two = mtrace_malloc_at(20, &site);
    (void)state;
    one = mtrace_realloc_at(one, 30, &site);
    mtrace_free_at(two, &site);
    old = test_take(true);
    one = mtrace_realloc_at(one, 300, &site);
    one = mtrace_realloc_at(one, 400, &site);
    mtrace_free_at(mtrace_malloc_at(1000, &site), &site);
    now = test_take(true);
    expect_counters(now, old, 1700, 3, 3, 2);
    mtrace_clear();
    two = mtrace_malloc_at(7, &site);
    two = mtrace_realloc_at(two, 8, &site);
    cleared = test_take(true);
    expect_counters(cleared, old, 15, 2, 1, 1);
    mtrace_free_at(one, &site);
    mtrace_free_at(two, &site);
    mtrace_snapshot_free(cleared);
    mtrace_snapshot_free(now);
    mtrace_snapshot_free(old);
}

/* What could not be traced is in between, too; a row of nothing else is kept: it says so. */
static void test_dropped_rows(void **state) {
    mtrace_site site = test_site("big.c", 1);
    mtrace_snapshot *old, *now;
    mtrace_rows *s;
    const uint64_t big = (uint64_t)1 << 39; /* 512 GiB: not traced */
    (void)state;
    assert_int_equal(mtrace_track_at(1, 1, big, &site), MTRACE_ERR_FULL);
    old = test_take(true);
    expect_statistics(old, MTRACE_BY_LINE, "big.c:1 0 0");
    assert_int_equal(mtrace_track_at(1, 1, big + 5, &site), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_track_at(1, 1, big, &site), MTRACE_ERR_FULL);
    now = test_take(true);
    s = test_rows(now, MTRACE_BY_LINE);
    assert_int_equal(s->rows[0].dropped_count, 3);
    assert_int_equal(s->rows[0].dropped_size, 3 * big + 5);
    assert_int_equal(s->info.dropped_count, 3);
    assert_int_equal(s->info.dropped_bytes, 3 * big + 5);
    mtrace_rows_free(s);
    assert_int_equal(mtrace_snapshot_compare_to(&s, now, old, MTRACE_BY_LINE, NULL), MTRACE_OK);
    assert_int_equal(s->count, 1);
    assert_int_equal(s->rows[0].dropped_count, 2);
    assert_int_equal(s->rows[0].dropped_size, 2 * big + 5);
    mtrace_rows_free(s);
    mtrace_snapshot_free(now);
    mtrace_snapshot_free(old);
}

/* --- memory, arguments --- */

typedef struct rows_inputs {
    const mtrace_snapshot *now, *old;
    mtrace_key_type key_type;
    const char *wanted;
} rows_inputs;

static mtrace_result make_rows_in(mtrace_buffer *memory, const void *inputs) {
    const rows_inputs *in = (const rows_inputs *)inputs;
    mtrace_rows *s = (mtrace_rows *)memory->data;
    mtrace_result result =
        in->old == NULL ? mtrace_snapshot_statistics(&s, in->now, in->key_type, memory)
                        : mtrace_snapshot_compare_to(&s, in->now, in->old, in->key_type, memory);
    if (result == MTRACE_OK) {
        expect_rows(s, in->wanted);
        mtrace_rows_free(s); /* leaves it alone */
        expect_rows(s, in->wanted);
    } else {
        assert_null(s);
    }
    return result;
}

static void expect_exact_memory(const mtrace_snapshot *now, const mtrace_snapshot *old,
                                mtrace_key_type key_type, const char *wanted) {
    rows_inputs inputs;
    inputs.now = now;
    inputs.old = old;
    inputs.key_type = key_type;
    inputs.wanted = wanted;
    test_exact_memory(make_rows_in, &inputs);
}

static void test_callers_memory(void **state) {
    mtrace_snapshot *old, *now;
    size_t own, with_snapshots;
    (void)state;
    test_give_kept_back();
    own = mtrace_get_tracer_memory();
    trace_s1();
    old = test_take(true);
    mtrace_clear();
    trace_s2();
    now = test_take(true);
    with_snapshots = mtrace_get_tracer_memory();
    assert_true(with_snapshots > own);
    expect_exact_memory(now, NULL, MTRACE_BY_FILE, "a.py 5032 5 | c.py 400 1");
    expect_exact_memory(now, old, MTRACE_BY_FILE,
                        "a.py 5032 +5000 5 +1 | c.py 400 +400 1 +1 | b.py 0 -66 0 -1 | "
                        "<unknown> 0 -7 0 -1");
    expect_exact_memory(now, NULL, MTRACE_BY_SIZE_CLASS,
                        "<=8192 5000 1 | <=512 400 1 | <=16 30 3 | <=2 2 1");
    assert_int_equal(mtrace_get_tracer_memory(), with_snapshots);
    mtrace_snapshot_free(now);
    mtrace_snapshot_free(old);
    assert_int_equal(mtrace_get_tracer_memory(), own + test_kept_bytes());
}

/* In the tracer's memory, when asked for so: counted while it is held. */
static void test_tracers_memory(void **state) {
    mtrace_snapshot *s;
    mtrace_rows *statistics;
    size_t before;
    (void)state;
    trace_s1();
    s = test_take(true);
    test_give_kept_back();
    before = mtrace_get_tracer_memory();
    statistics = test_rows(s, MTRACE_BY_LINE);
    assert_int_equal(mtrace_get_tracer_memory(),
                     before + test_rows_size(s, NULL, MTRACE_BY_LINE) - TEST_LINE);
    mtrace_rows_free(statistics);
    assert_int_equal(mtrace_get_tracer_memory(), before + test_kept_bytes());
    mtrace_rows_free(NULL);
    mtrace_snapshot_free(s);
}

static void test_bad_arguments(void **state) {
    mtrace_snapshot *s = test_take(true);
    volatile uint32_t bad = MTRACE_BY_MODULE + 1;
    (void)state;
    expect_refused(MTRACE_ERR_ARGUMENT, NULL, NULL, false, MTRACE_BY_LINE);
    expect_refused(MTRACE_ERR_ARGUMENT, s, NULL, false, (mtrace_key_type)bad);
    expect_refused(MTRACE_ERR_ARGUMENT, NULL, s, true, MTRACE_BY_LINE);
    expect_refused(MTRACE_ERR_ARGUMENT, s, NULL, true, MTRACE_BY_LINE);
    expect_refused(MTRACE_ERR_ARGUMENT, s, s, true, (mtrace_key_type)bad);
    mtrace_snapshot_free(s);
}

/* --- random traces beside a naive grouping --- */

enum { SITES = 24, KEYS = 48, GROUPS = 128 };

typedef struct account {
    mtrace_site site;
    uint32_t domain;
    uint64_t size, count, peak_size, peak_count, total_size, total_count;
} account;

typedef struct world {
    account accounts[SITES];
    uint64_t sizes[KEYS];
    int owners[KEYS]; /* which account; -1: not tracked */
} world;

typedef struct group {
    account key; /* size, count: as the view asks */
    uint64_t size_class;
    int64_t size_diff, count_diff;
    uint64_t total_size, total_count;
} group;

static uint32_t seed;

static uint32_t pick(uint32_t n) {
    return test_random(&seed, n);
}

static void world_start(world *w) {
    static const char *const files[] = {"a.c", "ab.c", "b.c", "B.c"};
    static const char *const functions[] = {"f", "g", "fg"};
    static const char *const types[] = {NULL, "int", "struct s"};
    int i;
    memset(w, 0, sizeof *w);
    for (i = 0; i < SITES; i++) {
        w->accounts[i].site = test_site(files[pick(4)], 1 + pick(4) * 7);
        w->accounts[i].site.function = functions[w->accounts[i].site.line % 3];
        w->accounts[i].site.type = types[pick(3)];
        w->accounts[i].domain = pick(3);
    }
    for (i = 0; i < KEYS; i++) {
        w->owners[i] = -1;
    }
}

static void world_peak(world *w) {
    uint64_t held = 0, peak = 0;
    int i;
    for (i = 0; i < SITES; i++) {
        held += w->accounts[i].size;
        peak += w->accounts[i].peak_size;
    }
    for (i = 0; i < SITES && held > peak; i++) {
        w->accounts[i].peak_size = w->accounts[i].size;
        w->accounts[i].peak_count = w->accounts[i].count;
    }
}

static void world_step(world *w) {
    int key = (int)pick(KEYS), i = (int)pick(SITES);
    uintptr_t number = (uintptr_t)key * 32 + 32;
    account *p = &w->accounts[i];
    if (w->owners[key] >= 0) {
        p = &w->accounts[w->owners[key]];
        assert_int_equal(mtrace_untrack_at(p->domain, number, NULL), MTRACE_OK);
        p->size -= w->sizes[key];
        p->count--;
        w->owners[key] = -1;
    } else {
        w->sizes[key] = 1 + pick(pick(3) == 0 ? 40 : 3); /* many ties */
        assert_int_equal(mtrace_track_at(p->domain, number, w->sizes[key], &p->site), MTRACE_OK);
        w->owners[key] = i;
        p->size += w->sizes[key];
        p->count++;
        p->total_size += w->sizes[key];
        p->total_count++;
        world_peak(w);
    }
}

static int compare_text(const char *a, const char *b) {
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b);
}

static int compare_number(uint64_t a, uint64_t b) {
    return a < b ? -1 : a > b ? 1 : 0;
}

static int compare_keys(const group *a, const group *b, mtrace_key_type key_type) {
    const mtrace_site *x = &a->key.site, *y = &b->key.site;
    int file = compare_text(x->file, y->file);
    switch (key_type) {
    case MTRACE_BY_LINE:
        return file != 0 ? file : compare_number(x->line, y->line);
    case MTRACE_BY_FILE:
        return file;
    case MTRACE_BY_FUNCTION:
        return file != 0 ? file : compare_text(x->function, y->function);
    case MTRACE_BY_TYPE:
        return compare_text(x->type, y->type);
    case MTRACE_BY_DOMAIN:
        return compare_number(a->key.domain, b->key.domain);
    case MTRACE_BY_SIZE_CLASS:
        return compare_number(a->size_class, b->size_class);
    }
    return 0;
}

static uint64_t absolute(int64_t n) {
    return n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
}

/* Does a come before b? As the header says it. */
static bool comes_before(const group *a, const group *b, mtrace_key_type key_type, bool is_diff) {
    int by = 0;
    if (is_diff) {
        by = compare_number(absolute(a->size_diff), absolute(b->size_diff));
    }
    by = by != 0 ? by : compare_number(a->key.size, b->key.size);
    if (by == 0 && is_diff) {
        by = compare_number(absolute(a->count_diff), absolute(b->count_diff));
    }
    by = by != 0 ? by : compare_number(a->key.count, b->key.count);
    return (by != 0 ? by : compare_keys(a, b, key_type)) > 0;
}

/* Adds to the group of the same key, or to a new one. */
static size_t group_add(group *groups, size_t n, const group *one, mtrace_key_type key_type) {
    size_t i;
    for (i = 0; i < n && compare_keys(&groups[i], one, key_type) != 0; i++) {
    }
    assert_true(i < GROUPS);
    if (i == n) {
        groups[i] = *one;
        return n + 1;
    }
    groups[i].key.size += one->key.size;
    groups[i].key.count += one->key.count;
    groups[i].size_diff += one->size_diff;
    groups[i].count_diff += one->count_diff;
    groups[i].total_size += one->total_size;
    groups[i].total_count += one->total_count;
    return n;
}

static size_t group_accounts(group *groups, size_t n, const world *w, mtrace_key_type key_type,
                             mtrace_view view, bool is_old) {
    int i;
    for (i = 0; i < SITES; i++) {
        const account *p = &w->accounts[i];
        uint64_t size = view == MTRACE_VIEW_PEAK    ? p->peak_size
                        : view == MTRACE_VIEW_TOTAL ? p->total_size
                                                    : p->size;
        uint64_t count = view == MTRACE_VIEW_PEAK    ? p->peak_count
                         : view == MTRACE_VIEW_TOTAL ? p->total_count
                                                     : p->count;
        group one;
        one.key = *p;
        one.size_class = 0;
        one.key.size = is_old ? 0 : size;
        one.key.count = is_old ? 0 : count;
        one.size_diff = is_old ? -(int64_t)size : (int64_t)size;
        one.count_diff = is_old ? -(int64_t)count : (int64_t)count;
        one.total_size = is_old ? 0 - p->total_size : p->total_size;
        one.total_count = is_old ? 0 - p->total_count : p->total_count;
        n = group_add(groups, n, &one, key_type);
    }
    return n;
}

static size_t group_blocks(group *groups, size_t n, const world *w, bool is_old) {
    int i;
    for (i = 0; i < KEYS; i++) {
        if (w->owners[i] >= 0) {
            int64_t size = (int64_t)w->sizes[i];
            group one;
            memset(&one, 0, sizeof one);
            for (one.size_class = 1; one.size_class < w->sizes[i]; one.size_class *= 2) {
            }
            one.key.size = is_old ? 0 : w->sizes[i];
            one.key.count = is_old ? 0 : 1;
            one.size_diff = is_old ? -size : size;
            one.count_diff = is_old ? -1 : 1;
            n = group_add(groups, n, &one, MTRACE_BY_SIZE_CLASS);
        }
    }
    return n;
}

static void expect_group(const mtrace_row *row, const group *g, mtrace_key_type key_type,
                         bool is_diff) {
    group other;
    memset(&other, 0, sizeof other);
    other.key.site.file = row->file;
    other.key.site.function = row->function;
    other.key.site.type =
        row->type != NULL && strcmp(row->type, "<untyped>") == 0 ? NULL : row->type;
    other.key.site.line = row->line;
    other.key.domain = row->domain;
    other.size_class = row->size_class;
    assert_int_equal(compare_keys(g, &other, key_type), 0);
    assert_int_equal(row->size, g->key.size);
    assert_int_equal(row->count, g->key.count);
    assert_int_equal(row->size_diff, is_diff ? g->size_diff : 0);
    assert_int_equal(row->count_diff, is_diff ? g->count_diff : 0);
    if (key_type != MTRACE_BY_SIZE_CLASS) {
        assert_int_equal(row->total_size, g->total_size);
        assert_int_equal(row->total_count, g->total_count);
    }
}

/* Takes the groups one by one, the first of those left each time. */
static void expect_groups(const mtrace_rows *s, group *groups, size_t n) {
    size_t i, row;
    for (i = 0; i < n;) {
        const group *g = &groups[i];
        bool is_empty =
            g->key.size == 0 && g->key.count == 0 && g->size_diff == 0 && g->count_diff == 0;
        if (is_empty && s->key_type != MTRACE_BY_SIZE_CLASS) {
            groups[i] = groups[--n];
        } else {
            i++;
        }
    }
    assert_int_equal(s->count, n);
    for (row = 0; row < s->count; row++) {
        size_t first = 0;
        for (i = 1; i < n; i++) {
            if (comes_before(&groups[i], &groups[first], s->key_type, s->is_diff)) {
                first = i;
            }
        }
        expect_group(&s->rows[row], &groups[first], s->key_type, s->is_diff);
        groups[first] = groups[--n];
    }
}

static void expect_world(mtrace_snapshot *now, const world *w, mtrace_snapshot *old,
                         const world *old_world, mtrace_key_type key_type, mtrace_view view) {
    static group groups[GROUPS];
    mtrace_rows *s;
    bool is_diff = old != NULL, classes = key_type == MTRACE_BY_SIZE_CLASS;
    size_t n;
    mtrace_snapshot_set_view(now, view);
    n = classes ? group_blocks(groups, 0, w, false)
                : group_accounts(groups, 0, w, key_type, view, false);
    if (is_diff) {
        mtrace_snapshot_set_view(old, view);
        n = classes ? group_blocks(groups, n, old_world, true)
                    : group_accounts(groups, n, old_world, key_type, view, true);
        assert_int_equal(mtrace_snapshot_compare_to(&s, now, old, key_type, NULL), MTRACE_OK);
    } else {
        s = test_rows(now, key_type);
    }
    expect_groups(s, groups, n);
    mtrace_rows_free(s);
}

static void expect_every_view(mtrace_snapshot *now, const world *w, mtrace_snapshot *old,
                              const world *old_world) {
    int key_type, view;
    for (key_type = MTRACE_BY_LINE; key_type <= MTRACE_BY_SIZE_CLASS; key_type++) {
        for (view = MTRACE_VIEW_LIVE; view <= MTRACE_VIEW_TOTAL; view++) {
            if (key_type != MTRACE_BY_SIZE_CLASS || view == MTRACE_VIEW_LIVE) {
                expect_world(now, w, NULL, NULL, (mtrace_key_type)key_type, (mtrace_view)view);
                expect_world(now, w, old, old_world, (mtrace_key_type)key_type, (mtrace_view)view);
            }
        }
    }
}

static void test_random_groups(void **state) {
    int round, i;
    (void)state;
    for (round = 0; round < 300; round++) {
        static world w, old_world;
        mtrace_snapshot *old, *now;
        seed = (uint32_t)round * 7919 + 3;
        mtrace_stop();
        start();
        world_start(&w);
        for (i = (int)pick(150); i > 0; i--) {
            world_step(&w);
        }
        old = test_take(true);
        old_world = w;
        for (i = (int)pick(100); i > 0; i--) {
            world_step(&w);
        }
        now = test_take(true);
        assert_int_equal(mtrace_get_info().dropped_count, 0);
        expect_every_view(now, &w, old, &old_world);
        mtrace_snapshot_free(now);
        mtrace_snapshot_free(old);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_statistics_as_cpython),
        TEST(test_compare_as_cpython),
        TEST(test_groupings),
        TEST(test_keys_not_fixed_are_zero),
        TEST(test_size_classes_need_blocks),
        TEST(test_views),
        TEST(test_every_field_is_summed),
        TEST(test_totals),
        TEST(test_counters_in_between),
        TEST(test_dropped_rows),
        TEST(test_callers_memory),
        TEST(test_tracers_memory),
        TEST(test_bad_arguments),
        TEST(test_random_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

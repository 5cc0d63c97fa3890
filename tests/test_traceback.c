/* Tracebacks of several frames: statistics and differences by traceback, cumulative ones, text of
   frames and rows, reports. The vectors are CPython 3.11's; two tests ask CPython itself. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"
#include "support/tools.h"
#include "support/traces.h"

#define FILE_ALL     (MTRACE_BY_FILE | MTRACE_KEY_CUMULATIVE)
#define LINE_ALL     (MTRACE_BY_LINE | MTRACE_KEY_CUMULATIVE)
#define FUNCTION_ALL (MTRACE_BY_FUNCTION | MTRACE_KEY_CUMULATIVE)
#define MOST_RECENT  (MTRACE_BY_TRACEBACK | MTRACE_KEY_MOST_RECENT)

/* --- statistics and differences --- */

static void test_statistics_as_cpython(void **state) {
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *s2 = TEST_MAKE(test_s2);
    (void)state;
    test_expect_traces(s1, TEST_S1_TRACES);
    test_expect_statistics(s1, MTRACE_BY_TRACEBACK,
                           "b.py:1 66 1 | b.py:4>a.py:2 30 3 | <unknown>:0 7 1 | "
                           "b.py:4>a.py:5 2 1");
    test_expect_statistics(s2, MTRACE_BY_TRACEBACK,
                           "b.py:4>a.py:5 5002 2 | c.py:578 400 1 | b.py:4>a.py:2 30 3");
    test_expect_statistics(s1, FILE_ALL, "b.py 98 5 | a.py 32 4 | <unknown> 7 1");
    test_expect_statistics(s1, LINE_ALL,
                           "b.py:1 66 1 | b.py:4 32 4 | a.py:2 30 3 | <unknown>:0 7 1 | "
                           "a.py:5 2 1");
    test_expect_statistics(s2, FILE_ALL, "b.py 5032 5 | a.py 5032 5 | c.py 400 1");
    test_expect_statistics(s2, LINE_ALL,
                           "b.py:4 5032 5 | a.py:5 5002 2 | c.py:578 400 1 | a.py:2 30 3");
    mtrace_snapshot_free(s1);
    mtrace_snapshot_free(s2);
}

/* Without CUMULATIVE the call site alone counts, whatever scopes are around it. */
static void test_call_site_alone(void **state) {
    mtrace_snapshot *s1 = TEST_MAKE(test_s1);
    (void)state;
    test_expect_statistics(s1, MTRACE_BY_LINE,
                           "b.py:1 66 1 | a.py:2 30 3 | <unknown>:0 7 1 | a.py:5 2 1");
    test_expect_statistics(s1, MTRACE_BY_FILE, "b.py 66 1 | a.py 32 4 | <unknown> 7 1");
    mtrace_snapshot_free(s1);
}

static void test_compare_as_cpython(void **state) {
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *s2 = TEST_MAKE(test_s2);
    (void)state;
    test_expect_compare(s2, s1, MTRACE_BY_TRACEBACK,
                        "b.py:4>a.py:5 5002 +5000 2 +1 | c.py:578 400 +400 1 +1 | "
                        "b.py:1 0 -66 0 -1 | <unknown>:0 0 -7 0 -1 | b.py:4>a.py:2 30 +0 3 +0");
    test_expect_compare(s2, s1, FILE_ALL,
                        "a.py 5032 +5000 5 +1 | b.py 5032 +4934 5 +0 | c.py 400 +400 1 +1 | "
                        "<unknown> 0 -7 0 -1");
    test_expect_compare(s2, s1, LINE_ALL,
                        "b.py:4 5032 +5000 5 +1 | a.py:5 5002 +5000 2 +1 | "
                        "c.py:578 400 +400 1 +1 | b.py:1 0 -66 0 -1 | <unknown>:0 0 -7 0 -1 | "
                        "a.py:2 30 +0 3 +0");
    test_expect_compare(s1, s2, MTRACE_BY_TRACEBACK,
                        "b.py:4>a.py:5 2 -5000 1 -1 | c.py:578 0 -400 0 -1 | "
                        "b.py:1 66 +66 1 +1 | <unknown>:0 7 +7 1 +1 | b.py:4>a.py:2 30 +0 3 +0");
    test_expect_compare(s1, s2, FILE_ALL,
                        "a.py 32 -5000 4 -1 | b.py 98 -4934 5 +0 | c.py 0 -400 0 -1 | "
                        "<unknown> 7 +7 1 +1");
    test_expect_compare(s1, s2, LINE_ALL,
                        "b.py:4 32 -5000 4 -1 | a.py:5 2 -5000 1 -1 | c.py:578 0 -400 0 -1 | "
                        "b.py:1 66 +66 1 +1 | <unknown>:0 7 +7 1 +1 | a.py:2 30 +0 3 +0");
    mtrace_snapshot_free(s1);
    mtrace_snapshot_free(s2);
}

static void test_compare_with_nothing_and_itself(void **state) {
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *empty = test_make(test_s1, 0);
    (void)state;
    test_expect_statistics(empty, MTRACE_BY_TRACEBACK, "");
    test_expect_statistics(empty, LINE_ALL, "");
    test_expect_compare(empty, empty, MTRACE_BY_TRACEBACK, "");
    test_expect_compare(s1, empty, MTRACE_BY_TRACEBACK,
                        "b.py:1 66 +66 1 +1 | b.py:4>a.py:2 30 +30 3 +3 | <unknown>:0 7 +7 1 +1 | "
                        "b.py:4>a.py:5 2 +2 1 +1");
    test_expect_compare(empty, s1, MTRACE_BY_TRACEBACK,
                        "b.py:1 0 -66 0 -1 | b.py:4>a.py:2 0 -30 0 -3 | <unknown>:0 0 -7 0 -1 | "
                        "b.py:4>a.py:5 0 -2 0 -1");
    test_expect_compare(empty, s1, FILE_ALL,
                        "b.py 0 -98 0 -5 | a.py 0 -32 0 -4 | "
                        "<unknown> 0 -7 0 -1");
    test_expect_compare(s1, s1, MTRACE_BY_TRACEBACK,
                        "b.py:1 66 +0 1 +0 | b.py:4>a.py:2 30 +0 3 +0 | <unknown>:0 7 +0 1 +0 | "
                        "b.py:4>a.py:5 2 +0 1 +0");
    mtrace_snapshot_free(s1);
    mtrace_snapshot_free(empty);
}

/* At equal size and count the oldest frame decides, lines as numbers; what is a part of another
   comes behind it. */
static void test_ties_as_cpython(void **state) {
    static const test_trace traces[] = {{1, 0, 10, "z.c:1 a.c:2", 2, NULL},
                                        {1, 0, 10, "a.c:1 z.c:1", 2, NULL},
                                        {1, 0, 10, "a.c:1", 1, NULL},
                                        {1, 0, 10, "a.c:1 b.c:1", 2, NULL},
                                        {1, 0, 10, "a.c:10 b.c:1", 2, NULL}};
    mtrace_snapshot *s = TEST_MAKE(traces);
    (void)state;
    test_expect_statistics(s, MTRACE_BY_TRACEBACK,
                           "z.c:1>a.c:2 10 1 | a.c:10>b.c:1 10 1 | a.c:1>z.c:1 10 1 | "
                           "a.c:1>b.c:1 10 1 | a.c:1 10 1");
    mtrace_snapshot_free(s);
}

/* Neither the domain nor the depth before the limit is a part of a traceback. */
static void test_domain_and_total_are_no_key(void **state) {
    static const test_trace traces[] = {{1, 0, 1, "a:2", 1, NULL}, {1, 7, 2, "a:2", 9, NULL}};
    mtrace_snapshot *s = TEST_MAKE(traces);
    (void)state;
    test_expect_statistics(s, MTRACE_BY_TRACEBACK, "a:2 3 2");
    test_expect_statistics(s, LINE_ALL, "a:2 3 2");
    mtrace_snapshot_free(s);
}

/* CUMULATIVE counts recursion as CPython does, ONCE as one expects it. */
static void test_recursion(void **state) {
    static const test_trace traces[] = {{1, 0, 100, "f@m:1 g@a:9 g@a:9 h@a:2", 4, NULL},
                                        {2, 0, 5, "g@a:9 f@m:1 g@a:9", 3, NULL}};
    mtrace_snapshot *all = TEST_MAKE(traces), *first = test_make(traces, 1);
    (void)state;
    test_expect_statistics(first, FILE_ALL, "a 300 3 | m 100 1");
    test_expect_statistics(first, LINE_ALL, "a:9 200 2 | m:1 100 1 | a:2 100 1");
    test_expect_statistics(first, FILE_ALL | MTRACE_KEY_ONCE, "m 100 1 | a 100 1");
    test_expect_statistics(first, LINE_ALL | MTRACE_KEY_ONCE, "m:1 100 1 | a:9 100 1 | a:2 100 1");
    test_expect_statistics(all, FUNCTION_ALL, "g@a 220 6 | f@m 110 3 | h@a 100 1");
    test_expect_statistics(all, FUNCTION_ALL | MTRACE_KEY_ONCE,
                           "f@m 110 3 | g@a 110 3 | h@a 100 1");
    test_expect_compare(all, first, LINE_ALL | MTRACE_KEY_ONCE,
                        "m:1 110 +10 3 +2 | a:9 110 +10 3 +2 | a:2 100 +0 1 +0");
    test_expect_compare(first, all, LINE_ALL,
                        "a:9 200 -20 2 -4 | m:1 100 -10 1 -2 | a:2 100 +0 1 +0");
    mtrace_snapshot_free(all);
    mtrace_snapshot_free(first);
}

/* One block in a snapshot: its traceback is cut, its depth before the limit is kept. */
static void test_made_from_one(void **state) {
    static const test_trace traces[] = {{1, 0, 5, "a.py:2", 10, NULL}};
    mtrace_snapshot *s = TEST_MAKE(traces);
    mtrace_block block = MTRACE_ZERO_;
    (void)state;
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 1);
    assert_true(test_block(&block, s, 0));
    assert_false(test_block(&block, s, 1));
    assert_int_equal(block.size, 5);
    assert_int_equal(block.traceback.total, 10);
    assert_int_equal(block.traceback.count, 1);
    assert_string_equal(block.traceback.frames[0].file, "a.py");
    assert_int_equal(block.traceback.frames[0].line, 2);
    mtrace_snapshot_free(s);
}

static void test_bad_keys(void **state) {
    static const mtrace_key_type bad[] = {
        MTRACE_BY_TRACEBACK | MTRACE_KEY_CUMULATIVE,
        MTRACE_BY_TRACEBACK | MTRACE_KEY_ONCE,
        MTRACE_BY_TYPE | MTRACE_KEY_CUMULATIVE,
        MTRACE_BY_DOMAIN | MTRACE_KEY_CUMULATIVE,
        MTRACE_BY_SIZE_CLASS | MTRACE_KEY_CUMULATIVE,
        MTRACE_BY_LINE | MTRACE_KEY_ONCE,
        MTRACE_BY_FILE | MTRACE_KEY_ONCE,
        MTRACE_BY_LINE | MTRACE_KEY_MOST_RECENT,
        FILE_ALL | MTRACE_KEY_MOST_RECENT,
        MTRACE_BY_DOMAIN | MTRACE_KEY_MOST_RECENT,
        MTRACE_BY_MODULE + 1,
        0x0f,
        0x80,
        0x100,
        UINT32_MAX,
    };
    mtrace_snapshot *s = TEST_MAKE(test_s1);
    size_t i;
    (void)state;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        mtrace_rows *out = (mtrace_rows *)(void *)s;
        assert_int_equal(mtrace_snapshot_statistics(&out, s, bad[i], NULL), MTRACE_ERR_ARGUMENT);
        assert_null(out);
        out = (mtrace_rows *)(void *)s;
        assert_int_equal(mtrace_snapshot_compare_to(&out, s, s, bad[i], NULL), MTRACE_ERR_ARGUMENT);
        assert_null(out);
    }
    mtrace_snapshot_free(s);
}

/* Room for statistics is as promised: with every frame a row of its own, too. */
static void test_callers_memory(void **state) {
    static unsigned char memory[65536];
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *s2 = TEST_MAKE(test_s2);
    size_t size = test_rows_size(s2, s1, LINE_ALL), shift;
    (void)state;
    assert_true(size < sizeof memory - 64);
    assert_true(size > test_rows_size(s2, s1, MTRACE_BY_LINE));
    for (shift = 0; shift < 64; shift++) {
        mtrace_buffer given = MTRACE_ZERO_;
        mtrace_rows *s;
        given.data = memory + shift;
        given.size = size;
        memory[shift + size] = 0xa5;
        assert_int_equal(mtrace_snapshot_compare_to(&s, s2, s1, LINE_ALL, &given), MTRACE_OK);
        assert_int_equal(s->count, 6);
        assert_int_equal(memory[shift + size], 0xa5);
        given.size = size - 64;
        assert_int_equal(mtrace_snapshot_compare_to(&s, s2, s1, LINE_ALL, &given),
                         (size_t)(test_align(given.data) - memory) == shift ? MTRACE_OK
                                                                            : MTRACE_ERR_NO_MEMORY);
        given.size = size - 65;
        assert_int_equal(mtrace_snapshot_compare_to(&s, s2, s1, LINE_ALL, &given),
                         MTRACE_ERR_NO_MEMORY);
        assert_null(s);
    }
    mtrace_snapshot_free(s1);
    mtrace_snapshot_free(s2);
}

/* --- snapshots made of parts --- */

static mtrace_snapshot_parts one_row(mtrace_row *row, mtrace_frame *frame,
                                     mtrace_live_block *block) {
    mtrace_snapshot_parts parts;
    memset(&parts, 0, sizeof parts);
    memset(row, 0, sizeof *row);
    memset(frame, 0, sizeof *frame);
    memset(block, 0, sizeof *block);
    frame->file = row->file = "a.c";
    frame->line = row->line = 3;
    row->size = 8;
    row->count = 1;
    row->traceback.frames = frame;
    row->traceback.count = row->traceback.total = 1;
    block->size = 8;
    parts.rows = row;
    parts.row_count = 1;
    parts.blocks = block;
    parts.block_count = 1;
    parts.has_blocks = true;
    return parts;
}

/* Names that lie elsewhere stay there. */
static void test_make_without_names(void **state) {
    mtrace_row row;
    mtrace_frame frame;
    mtrace_live_block block;
    mtrace_snapshot_parts parts = one_row(&row, &frame, &block);
    mtrace_snapshot *s;
    (void)state;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    assert_ptr_equal(mtrace_snapshot_get_parts(s).rows[0].traceback.frames[0].file, frame.file);
    assert_ptr_not_equal(mtrace_snapshot_get_parts(s).rows[0].traceback.frames, &frame);
    test_expect_traces(s, "0 8 1 a.c:3/1");
    mtrace_snapshot_free(s);
}

static void expect_bad(const mtrace_snapshot_parts *parts) {
    mtrace_row row = MTRACE_ZERO_;
    mtrace_snapshot *s = (mtrace_snapshot *)(void *)&row;
    assert_int_equal(mtrace_snapshot_make(&s, parts, NULL), MTRACE_ERR_ARGUMENT);
    assert_null(s);
}

static void test_make_of_bad_rows(void **state) {
    mtrace_row row;
    mtrace_frame frame;
    mtrace_live_block block;
    mtrace_snapshot_parts parts = one_row(&row, &frame, &block);
    (void)state;
    expect_bad(NULL);
    row.traceback.count = 0;
    expect_bad(&parts);
    row.traceback.count = 1;
    row.traceback.frames = NULL;
    expect_bad(&parts);
    row.traceback.frames = &frame;
    frame.file = NULL;
    expect_bad(&parts);
    parts = one_row(&row, &frame, &block);
    parts.rows = NULL;
    expect_bad(&parts);
}

static void test_make_of_bad_parts(void **state) {
    mtrace_row row;
    mtrace_frame frame;
    mtrace_live_block block;
    mtrace_snapshot_parts parts = one_row(&row, &frame, &block);
    mtrace_snapshot *s;
    (void)state;
    block.row = 1;
    expect_bad(&parts);
    block.row = 0;
    parts.blocks = NULL;
    expect_bad(&parts);
    parts.blocks = &block;
    parts.has_blocks = false;
    expect_bad(&parts);
    parts.has_blocks = true;
    parts.name_bytes = 3;
    expect_bad(&parts);
    parts.names = "abc";
    expect_bad(&parts);
    parts.name_bytes = 4;
    parts.view = (mtrace_view)3;
    expect_bad(&parts);
    parts.view = MTRACE_VIEW_LIVE;
    parts.info.sample_interval = test_max_interval() + 1;
    expect_bad(&parts);
    parts.info.sample_interval = 0;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    mtrace_snapshot_free(s);
}

/* The location of a row is its last frame's. Its own fields do not count. */
static void test_make_of_a_row_without_a_place(void **state) {
    mtrace_row row;
    mtrace_frame frame;
    mtrace_live_block block;
    mtrace_snapshot_parts parts = one_row(&row, &frame, &block);
    mtrace_block found;
    mtrace_snapshot *s;
    (void)state;
    row.file = NULL;
    row.line = 99;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    assert_true(test_block(&found, s, 0));
    assert_string_equal(found.file, "a.c");
    assert_int_equal(found.line, 3);
    mtrace_snapshot_free(s);
}

/* Figures that no program has: differences stop at +-INT64_MAX, sums at UINT64_MAX. */
static void test_largest_figures(void **state) {
    static const mtrace_frame frame = {"a.c", "f", 3, NULL, 0};
    static const mtrace_live_block blocks[2] = {{1, UINT64_MAX, 0, 0, false},
                                                {2, ((uint64_t)1 << 63) + 1, 0, 1, false}};
    static test_output out;
    mtrace_row rows[2] = MTRACE_ZERO_;
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_report_desc desc = MTRACE_ZERO_;
    mtrace_rows *found;
    mtrace_snapshot *s, *none;
    int i;
    (void)state;
    assert_int_equal(mtrace_snapshot_make(&none, &parts, NULL), MTRACE_OK);
    for (i = 0; i < 2; i++) {
        rows[i].traceback.frames = &frame;
        rows[i].traceback.count = 1;
        rows[i].size = rows[i].count = rows[i].total_size = rows[i].peak_size = UINT64_MAX - 5;
    }
    parts.rows = rows;
    parts.row_count = 2;
    parts.blocks = blocks;
    parts.block_count = 2;
    parts.has_blocks = true;
    desc.write = test_write;
    desc.write_user = &out;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_compare_to(&found, s, none, MTRACE_BY_FILE, NULL), MTRACE_OK);
    assert_true(found->rows[0].size == UINT64_MAX && found->total.peak_size == UINT64_MAX);
    assert_true(found->rows[0].size_diff == INT64_MAX && found->total.count_diff == INT64_MAX);
    mtrace_rows_free(found);
    assert_int_equal(mtrace_snapshot_compare_to(&found, none, s, MTRACE_BY_FILE, NULL), MTRACE_OK);
    assert_true(found->rows[0].size_diff == -INT64_MAX && found->total.size_diff == -INT64_MAX);
    mtrace_rows_free(found);
    parts = mtrace_snapshot_get_parts(none);
    parts.has_blocks = true;
    mtrace_snapshot_free(none);
    assert_int_equal(mtrace_snapshot_make(&none, &parts, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_compare_to(&found, none, s, MTRACE_BY_SIZE_CLASS, NULL),
                     MTRACE_OK);
    assert_int_equal(found->count, 1);
    assert_true(found->rows[0].size_class == UINT64_MAX);
    assert_true(found->rows[0].size_diff == -INT64_MAX);
    assert_int_equal(found->rows[0].count_diff, -2);
    mtrace_rows_free(found);
    found = test_rows(s, MTRACE_BY_SIZE_CLASS);
    assert_int_equal(mtrace_report(found, &desc), MTRACE_OK);
    assert_non_null(strstr(out.text, "\n16,777,216.00 TiB"));
    assert_non_null(strstr(out.text, "up to 16777216 TiB\n"));
    mtrace_rows_free(found);
    mtrace_snapshot_free(none);
    mtrace_snapshot_free(s);
}

static void allocate_in_scopes(void) {
    static mtrace_site sites[4];
    mtrace_scope outer, inner;
    int i;
    for (i = 0; i < 4; i++) {
        sites[i] = test_site("s.c", (uint32_t)i + 1);
    }
    sites[3].type = "struct s";
    outer = mtrace_scope_push_at(&sites[0]);
    assert_int_equal(mtrace_track_at(5, 1, 10, &sites[2]), MTRACE_OK);
    inner = mtrace_scope_push_in_at(6, &sites[1]);
    assert_int_equal(mtrace_track_at(5, 2, 20, &sites[3]), MTRACE_OK);
    assert_int_equal(mtrace_track_at(0, 320, 300, &sites[2]), MTRACE_OK);
    mtrace_scope_restore(inner);
    mtrace_scope_restore(outer);
}

/* What was taken apart and made again is the same, and its own. */
static void test_parts_of_a_real_one(void **state) {
    static const mtrace_key_type keys[] = {MTRACE_BY_LINE,   MTRACE_BY_FILE, MTRACE_BY_FUNCTION,
                                           MTRACE_BY_TYPE,   LINE_ALL,       MTRACE_BY_TRACEBACK,
                                           MTRACE_BY_DOMAIN, FUNCTION_ALL};
    test_output texts[2];
    mtrace_snapshot *taken, *made;
    mtrace_snapshot_parts parts;
    size_t i;
    (void)state;
    test_start_scoped(32, 16, 3);
    assert_int_equal(mtrace_name_domain(5, "five"), MTRACE_OK);
    allocate_in_scopes();
    taken = test_take(true);
    parts = mtrace_snapshot_get_parts(taken);
    assert_int_equal(mtrace_snapshot_make(&made, &parts, NULL), MTRACE_OK);
    memset(texts, 0, sizeof texts);
    for (i = 0; i < sizeof keys / sizeof *keys; i++) {
        mtrace_rows *s;
        assert_int_equal(mtrace_snapshot_compare_to(&s, made, taken, keys[i], NULL), MTRACE_OK);
        test_print_rows(&texts[0], s);
        mtrace_rows_free(s);
    }
    assert_int_equal(mtrace_snapshot_get_parts(made).trace_count, 3);
    mtrace_snapshot_free(taken);
    mtrace_stop();
    for (i = 0; i < sizeof keys / sizeof *keys; i++) {
        mtrace_rows *s;
        assert_int_equal(mtrace_snapshot_compare_to(&s, made, made, keys[i], NULL), MTRACE_OK);
        test_print_rows(&texts[1], s);
        mtrace_rows_free(s);
    }
    assert_string_equal(texts[0].text, texts[1].text);
    test_expect_statistics(made, MTRACE_BY_TRACEBACK,
                           "s.c:1>s.c:2>s.c:3 300 1 | s.c:1>s.c:2>s.c:4 20 1 | s.c:1>s.c:3 10 1");
    test_expect_statistics(made, MTRACE_BY_DOMAIN, "0 300 1 | 5 (five) 30 2");
    mtrace_snapshot_free(made);
}

/* --- text --- */

static void expect_row_text(const mtrace_snapshot *s, const mtrace_snapshot *old, size_t row,
                            mtrace_key_type key_type, const char *wanted) {
    mtrace_rows *statistics;
    char text[256];
    mtrace_result result = old == NULL
                               ? mtrace_snapshot_statistics(&statistics, s, key_type, NULL)
                               : mtrace_snapshot_compare_to(&statistics, s, old, key_type, NULL);
    assert_int_equal(result, MTRACE_OK);
    assert_true(row < statistics->count);
    assert_int_equal(mtrace_format_row(text, sizeof text, statistics, &statistics->rows[row]),
                     strlen(wanted));
    assert_string_equal(text, wanted);
    mtrace_rows_free(statistics);
}

/* CPython names the oldest frame, MOST_RECENT the call site. */
static void test_row_text(void **state) {
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *s2 = TEST_MAKE(test_s2);
    (void)state;
    expect_row_text(s1, NULL, 0, MTRACE_BY_TRACEBACK, "b.py:1: size=66 B, count=1, average=66 B");
    expect_row_text(s1, NULL, 1, MTRACE_BY_TRACEBACK, "b.py:4: size=30 B, count=3, average=10 B");
    expect_row_text(s1, NULL, 1, MOST_RECENT, "a.py:2: size=30 B, count=3, average=10 B");
    expect_row_text(s1, NULL, 0, FILE_ALL, "b.py:0: size=98 B, count=5, average=20 B");
    expect_row_text(s1, NULL, 1, LINE_ALL, "b.py:4: size=32 B, count=4, average=8 B");
    expect_row_text(s2, s1, 0, MTRACE_BY_TRACEBACK,
                    "b.py:4: size=5002 B (+5000 B), count=2 (+1), average=2501 B");
    expect_row_text(s2, s1, 0, MOST_RECENT,
                    "a.py:5: size=5002 B (+5000 B), count=2 (+1), average=2501 B");
    expect_row_text(s2, s1, 3, FILE_ALL, "<unknown>:0: size=0 B (-7 B), count=0 (-1)");
    mtrace_snapshot_free(s1);
    mtrace_snapshot_free(s2);
}

static mtrace_traceback frames_of(const mtrace_frame *frames, uint32_t count) {
    mtrace_traceback traceback = MTRACE_ZERO_;
    traceback.frames = frames;
    traceback.count = count;
    traceback.total = count;
    return traceback;
}

static const mtrace_frame path[] = {
    {"main.c", "main", 1, NULL, 0}, {"mid.c", NULL, 22, NULL, 0},
    {"alloc.c", "g", 333, NULL, 0}, {"b.py", NULL, 4, NULL, 0},
    {"a.py", NULL, 2, NULL, 0},     {"x y.c", "h", UINT32_MAX, NULL, 0}};

static const char source_user[] = "";

/* "<f, n>" for files of Python, nothing else. */
static bool read_source(char *buffer, size_t size, const char *file, uint32_t line, void *user) {
    assert_ptr_equal(user, source_user);
    assert_true(size >= 128);
    if (strstr(file, ".py") != NULL) {
        snprintf(buffer, size, "<%s, %lu>", file, (unsigned long)line);
        return true;
    }
    buffer[0] = '\0';
    return strcmp(file, "mid.c") == 0; /* an empty line is no line */
}

static void expect_format(const mtrace_frame *frames, uint32_t count, int32_t limit, bool recent,
                          const char *wanted) {
    mtrace_traceback traceback = frames_of(frames, count);
    char text[1024] = "x";
    void *user = (void *)(uintptr_t)source_user;
    assert_int_equal(
        mtrace_format_traceback(text, sizeof text, &traceback, limit, recent, read_source, user),
        strlen(wanted));
    assert_string_equal(text, wanted);
}

#define FRAME_B "  File \"b.py\", line 4\n    <b.py, 4>\n"
#define FRAME_A "  File \"a.py\", line 2\n    <a.py, 2>\n"
#define MAIN    "  File \"main.c\", line 1\n"
#define MID     "  File \"mid.c\", line 22\n"
#define ALLOC   "  File \"alloc.c\", line 333\n"

static void test_format_as_cpython(void **state) {
    (void)state;
    expect_format(path + 3, 2, MTRACE_ALL_FRAMES, false, FRAME_B FRAME_A);
    expect_format(path + 3, 2, 1, false, FRAME_A);
    expect_format(path + 3, 2, -1, false, FRAME_B);
    expect_format(path + 3, 2, MTRACE_ALL_FRAMES, true, FRAME_A FRAME_B);
    expect_format(path + 3, 2, 1, true, FRAME_A);
    expect_format(path + 3, 2, -1, true, FRAME_B);
    expect_format(path + 3, 2, 0, false, "");
    expect_format(path, 3, 2, false, MID ALLOC);
    expect_format(path, 3, 2, true, ALLOC MID);
    expect_format(path, 3, -1, false, MAIN MID); /* all but the most recent one */
    expect_format(path, 3, -1, true, MID MAIN);
    expect_format(path, 3, -2, false, MAIN);
    expect_format(path, 3, -3, false, "");
    expect_format(path, 3, INT32_MIN, false, "");
    expect_format(path, 3, 3, false, MAIN MID ALLOC);
    expect_format(path, 3, 4, false, MAIN MID ALLOC);
    expect_format(path + 5, 1, 1, false, "  File \"x y.c\", line 4294967295\n");
    expect_format(path, 0, MTRACE_ALL_FRAMES, false, "");
}

static void test_format_without_source(void **state) {
    mtrace_traceback traceback = frames_of(path + 3, 2);
    char text[128];
    (void)state;
    assert_int_equal(mtrace_format_traceback(text, sizeof text, &traceback, MTRACE_ALL_FRAMES,
                                             false, NULL, NULL),
                     44);
    assert_string_equal(text, "  File \"b.py\", line 4\n  File \"a.py\", line 2\n");
}

/* As snprintf: the whole length comes back, whatever fits is written and terminated. */
static void test_format_cut_as_snprintf(void **state) {
    mtrace_traceback traceback = frames_of(path, 3);
    char whole[256], text[256];
    size_t length = mtrace_format_traceback(whole, sizeof whole, &traceback, 9, false, NULL, NULL);
    size_t size;
    (void)state;
    assert_int_equal(length, strlen(MAIN MID ALLOC));
    for (size = 0; size <= length + 1; size++) {
        memset(text, 'x', sizeof text);
        assert_int_equal(mtrace_format_traceback(text, size, &traceback, 9, false, NULL, NULL),
                         length);
        assert_int_equal(text[size], 'x');
        if (size > 0) {
            assert_int_equal(strlen(text), size - 1);
            assert_memory_equal(text, whole, size - 1);
        }
    }
    assert_int_equal(mtrace_format_traceback(NULL, 0, &traceback, 9, false, NULL, NULL), length);
}

/* --- reports --- */

static const test_trace small[] = {
    {2, 0, 50, "main@main.c:9 load@load.c:20 read@read.c:300", 3, "struct image"},
    {1, 0, 7, "read.c:301", 1, NULL}};

static mtrace_rows *small_rows(mtrace_snapshot *s, const mtrace_snapshot *old,
                               mtrace_key_type key_type) {
    mtrace_rows *rows;
    mtrace_result result = old == NULL ? mtrace_snapshot_statistics(&rows, s, key_type, NULL)
                                       : mtrace_snapshot_compare_to(&rows, s, old, key_type, NULL);
    assert_int_equal(result, MTRACE_OK);
    return rows;
}

static void write_report(const mtrace_rows *rows, mtrace_style style, uint32_t columns,
                         test_output *out) {
    mtrace_report_desc desc = MTRACE_ZERO_;
    desc.style = style;
    desc.columns = columns;
    desc.write = test_write;
    desc.write_user = out;
    out->length = 0;
    assert_int_equal(mtrace_report(rows, &desc), MTRACE_OK);
}

static void expect_report(mtrace_key_type key_type, bool is_diff, mtrace_style style,
                          const char *wanted) {
    mtrace_snapshot *s = TEST_MAKE(small), *old = test_make(small + 1, 1);
    mtrace_rows *rows = small_rows(s, is_diff ? old : NULL, key_type);
    test_output out;
    write_report(rows, style, 0, &out);
    assert_string_equal(out.text, wanted);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
    mtrace_snapshot_free(old);
}

static void test_table(void **state) {
    (void)state;
    expect_report(MTRACE_BY_TRACEBACK, false, MTRACE_STYLE_TABLE,
                  "mtrace: 107 B in 3 blocks held, 0 B at the peak; 2 of 2 tracebacks\n"
                  "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                  "   100 B     93.5         2       0 B    read.c:300 read\n"
                  "                                            from load.c:20 load\n"
                  "                                            from main.c:9 main\n"
                  "     7 B      6.5         1       0 B    read.c:301\n"
                  "mtrace's own memory 0 B\n");
    expect_report(MTRACE_BY_TRACEBACK, true, MTRACE_STYLE_TABLE,
                  "mtrace: 107 B in 3 blocks, +100 B in +2; 1 of 1 changed traceback\n"
                  "       DIFF        SIZE     DIFF   COUNT  WHERE\n"
                  "   +100 B       100 B         +2       2  read.c:300 read\n"
                  "                                             from load.c:20 load\n"
                  "                                             from main.c:9 main\n"
                  "mtrace's own memory 0 B\n");
}

static void test_python_style(void **state) {
    (void)state;
    expect_report(MTRACE_BY_TRACEBACK, false, MTRACE_STYLE_PYTHON,
                  "main.c:9: size=100 B, count=2, average=50 B\n"
                  "read.c:301: size=7 B, count=1, average=7 B\n");
    expect_report(MOST_RECENT, false, MTRACE_STYLE_PYTHON,
                  "read.c:300: size=100 B, count=2, average=50 B\n"
                  "read.c:301: size=7 B, count=1, average=7 B\n");
    expect_report(MTRACE_BY_TRACEBACK, true, MTRACE_STYLE_PYTHON,
                  "main.c:9: size=100 B (+100 B), count=2 (+2), average=50 B\n"
                  "read.c:301: size=7 B (+0 B), count=1 (+0), average=7 B\n");
    expect_report(FILE_ALL, false, MTRACE_STYLE_PYTHON,
                  "read.c:0: size=107 B, count=3, average=36 B\n"
                  "main.c:0: size=100 B, count=2, average=50 B\n"
                  "load.c:0: size=100 B, count=2, average=50 B\n");
}

static void test_lines_style(void **state) {
    static const char head[] = "# size count size_diff count_diff peak_size peak_count total_size "
                               "total_count frees reallocs dropped_count dropped_size where\n";
    mtrace_snapshot *s = TEST_MAKE(small);
    mtrace_rows *rows = small_rows(s, NULL, MTRACE_BY_TRACEBACK);
    test_output out;
    (void)state;
    write_report(rows, MTRACE_STYLE_LINES, 0, &out);
    assert_memory_equal(out.text, head, strlen(head));
    assert_string_equal(out.text + strlen(head),
                        "100 2 +0 +0 0 0 0 0 0 0 0 0 read.c:300 read < load.c:20 load < "
                        "main.c:9 main\n"
                        "7 1 +0 +0 0 0 0 0 0 0 0 0 read.c:301\n");
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
}

static void test_warnings_style(void **state) {
    (void)state;
    expect_report(MTRACE_BY_TRACEBACK, false, MTRACE_STYLE_WARNINGS,
                  "read.c:300: warning: 100 B in 2 blocks not freed, allocated in read, type "
                  "struct image\n"
                  "load.c:20: note: inside load\n"
                  "main.c:9: note: inside main\n"
                  "read.c:301: warning: 7 B in 1 block not freed\n");
    expect_report(MTRACE_BY_TRACEBACK, true, MTRACE_STYLE_WARNINGS,
                  "read.c:300: warning: grew by +100 B in +2 blocks, allocated in read, type "
                  "struct image\n"
                  "load.c:20: note: inside load\n"
                  "main.c:9: note: inside main\n");
}

/* The rows left out are one row, without frames of their own. */
static void test_table_of_the_top(void **state) {
    mtrace_snapshot *s = TEST_MAKE(small);
    mtrace_rows *rows = small_rows(s, NULL, MTRACE_BY_TRACEBACK);
    mtrace_report_desc desc = MTRACE_ZERO_;
    test_output out;
    (void)state;
    desc.top = 1;
    desc.write = test_write;
    desc.write_user = &out;
    out.length = 0;
    assert_int_equal(mtrace_report(rows, &desc), MTRACE_OK);
    assert_non_null(strstr(out.text, "; 1 of 2 tracebacks\n"));
    assert_non_null(strstr(out.text, "from main.c:9 main\n     7 B      6.5         1       0 B    "
                                     "<other: 1 traceback>\nmtrace's own"));
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
}

static size_t longest_line(const char *text) {
    size_t longest = 0;
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        longest = length > longest ? length : longest;
        text += length + (text[length] == '\n');
    }
    return longest;
}

/* The lines of scopes keep to the table's columns too. */
static void test_table_keeps_its_columns(void **state) {
    static const test_trace deep[] = {
        {1, 0, 9,
         "a_function_with_quite_a_name@some/rather/deeply/nested/folder/of/sources/file.c:1234 "
         "read@read.c:1",
         2, NULL}};
    mtrace_snapshot *s = TEST_MAKE(deep);
    mtrace_rows *rows = small_rows(s, NULL, MTRACE_BY_TRACEBACK);
    test_output out;
    (void)state;
    write_report(rows, MTRACE_STYLE_TABLE, 0, &out);
    assert_non_null(strstr(out.text, "file.c:1234"));
    assert_true(longest_line(out.text) <= 80);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
}

/* 107 bytes in 3 blocks are held, in however many rows of a cumulative table they stand. */
static void test_cumulative_table_tells_what_is_held(void **state) {
    mtrace_snapshot *s = TEST_MAKE(small);
    mtrace_rows *rows = small_rows(s, NULL, LINE_ALL);
    test_output out;
    (void)state;
    write_report(rows, MTRACE_STYLE_TABLE, 0, &out);
    assert_non_null(
        strstr(out.text, "mtrace: 107 B in 3 blocks held, 0 B at the peak; 4 of 4 lines\n"));
    assert_non_null(strstr(out.text, "   100 B     93.5         2       0 B    main.c:9 main\n"));
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
}

/* --- beside CPython itself --- */

/* Per round `T snapshot domain size total frames`, then `Q kind key text` for what CPython answers:
   kind 0 statistics, 1 compare. F: `F limit recent frames text`. */
static const char *const script =
    "TEST_ONCE=1 python3 -c '" /* see support/once */
    "import random, tracemalloc as t\n"
    "r = random.Random(%u)\n"
    "keys = ((\"lineno\", 0, 0), (\"filename\", 0, 1), (\"traceback\", 0, 6), "
    "(\"lineno\", 1, 16), (\"filename\", 1, 17))\n"
    "def frame(): return (r.choice((\"a.c\", \"b.c\", \"ab.c\", \"B.c\")), r.randrange(1, 13))\n"
    "def trace():\n"
    "    n = r.randrange(1, 6)\n"
    "    return (r.randrange(3), r.randrange(1, 4), tuple(frame() for i in range(n)), n)\n"
    "def show(fs): return \"%%s:%%d\" %% fs\n"
    "def key(s, k): return s.traceback[0].filename if k == \"filename\" else "
    "\">\".join(map(str, s.traceback))\n"
    "def stat(s, k): return \"%%s %%d %%d\" %% (key(s, k), s.size, s.count)\n"
    "def diff(s, k): return \"%%s %%d %%+d %%d %%+d\" %% (key(s, k), s.size, s.size_diff, s.count, "
    "s.count_diff)\n"
    "for i in range(150):\n"
    "    pool = [trace() for j in range(12)]\n"
    "    both = [[r.choice(pool) for j in range(r.randrange(25))] for k in (0, 1)]\n"
    "    for k in (0, 1):\n"
    "        for d, s, f, n in both[k]: print(\"T\", k, d, s, n, \" \".join(map(show, "
    "reversed(f))))\n"
    "    a, b = (t.Snapshot(x, 9) for x in both)\n"
    "    for k, c, number in keys:\n"
    "        print(\"Q\", 0, number, \" | \".join(stat(s, k) for s in b.statistics(k, c)))\n"
    "        print(\"Q\", 1, number, \" | \".join(diff(s, k) for s in b.compare_to(a, k, c)))\n"
    "    print(\"E\")\n"
    "for i in range(400):\n"
    "    f = trace()[2]\n"
    "    l, m = r.randrange(-7, 8), r.randrange(2)\n"
    "    print(\"F\", l, m, \" \".join(map(show, reversed(f))) + \"|\" + "
    "\"|\".join(t.Traceback(f).format(l, m)))\n"
    "'";

typedef struct round_of {
    test_trace traces[2][TEST_ROWS];
    char frames[2][TEST_ROWS][256];
    size_t counts[2];
    size_t questions;
    size_t formats;
} round_of;

static void read_trace(round_of *r, const char *line) {
    unsigned long which, domain, size, total;
    test_trace *trace;
    int at = 0;
    assert_int_equal(sscanf(line, "T %lu %lu %lu %lu %n", &which, &domain, &size, &total, &at), 4);
    assert_true(which < 2 && r->counts[which] < TEST_ROWS && strlen(line + at) < 256);
    strcpy(r->frames[which][r->counts[which]], line + at);
    trace = &r->traces[which][r->counts[which]];
    trace->count = 1;
    trace->domain = (uint32_t)domain;
    trace->size = size;
    trace->frames = r->frames[which][r->counts[which]++];
    trace->total = (uint32_t)total;
}

static void ask_question(round_of *r, const char *line) {
    mtrace_snapshot *old = test_make(r->traces[0], r->counts[0]);
    mtrace_snapshot *now = test_make(r->traces[1], r->counts[1]);
    unsigned long kind, key;
    int at = 0;
    assert_int_equal(sscanf(line, "Q %lu %lu%n", &kind, &key, &at), 2);
    assert_int_equal(line[at], ' ');
    if (kind == 0) {
        test_expect_statistics(now, (mtrace_key_type)key, line + at + 1);
    } else {
        test_expect_compare(now, old, (mtrace_key_type)key, line + at + 1);
    }
    mtrace_snapshot_free(now);
    mtrace_snapshot_free(old);
    r->questions++;
}

/* `line` behind its frames is the text, with a "|" for each newline but the last. */
static void ask_format(round_of *r, char *line) {
    char text[1024], *bar = strchr(line, '|');
    test_trace trace = MTRACE_ZERO_;
    mtrace_block block;
    mtrace_snapshot *s;
    size_t length;
    long limit, recent;
    int at = 0;
    assert_non_null(bar);
    *bar = '\0';
    assert_int_equal(sscanf(line, "F %ld %ld %n", &limit, &recent, &at), 2);
    trace.count = 1;
    trace.frames = line + at;
    s = test_make(&trace, 1);
    assert_true(test_block(&block, s, 0));
    length = mtrace_format_traceback(text, sizeof text, &block.traceback, (int32_t)limit,
                                     recent != 0, NULL, NULL);
    assert_true(length < sizeof text);
    while (length > 0 && text[length - 1] == '\n') {
        text[--length] = '\0';
    }
    while (length-- > 0) {
        text[length] = text[length] == '\n' ? '|' : text[length];
    }
    assert_string_equal(text, bar + 1);
    mtrace_snapshot_free(s);
    r->formats++;
}

static void answer(round_of *r, char *line) {
    line[strcspn(line, "\n")] = '\0';
    if (line[0] == 'T') {
        read_trace(r, line);
    } else if (line[0] == 'Q') {
        ask_question(r, line);
    } else if (line[0] == 'F') {
        ask_format(r, line);
    } else {
        assert_string_equal(line, "E");
        r->counts[0] = r->counts[1] = 0;
    }
}

static void test_random_traces_as_cpython(void **state) {
    static char command[4096], line[16384];
    static round_of r;
    FILE *python;
    (void)state;
    assert_true((size_t)snprintf(command, sizeof command, script, 5u) < sizeof command);
    python = popen(command, "r");
    assert_non_null(python);
    while (fgets(line, sizeof line, python) != NULL) {
        answer(&r, line);
    }
    assert_int_equal(pclose(python), 0);
    assert_int_equal(r.questions, 1500);
    assert_int_equal(r.formats, 400);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_statistics_as_cpython),
        TEST(test_call_site_alone),
        TEST(test_compare_as_cpython),
        TEST(test_compare_with_nothing_and_itself),
        TEST(test_ties_as_cpython),
        TEST(test_domain_and_total_are_no_key),
        TEST(test_recursion),
        TEST(test_made_from_one),
        TEST(test_bad_keys),
        TEST(test_callers_memory),
        TEST(test_make_without_names),
        TEST(test_make_of_bad_parts),
        TEST(test_make_of_bad_rows),
        TEST(test_make_of_a_row_without_a_place),
        TEST(test_largest_figures),
        TEST(test_parts_of_a_real_one),
        TEST(test_row_text),
        TEST(test_format_as_cpython),
        TEST(test_format_without_source),
        TEST(test_format_cut_as_snprintf),
        TEST(test_table),
        TEST(test_python_style),
        TEST(test_lines_style),
        TEST(test_warnings_style),
        TEST(test_table_of_the_top),
        TEST(test_table_keeps_its_columns),
        TEST(test_cumulative_table_tells_what_is_held),
        TEST(test_random_traces_as_cpython),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Frames that are code: a location is a module and an offset in it. Snapshots made of parts are
   copied with their modules, grouped, compared, filtered and reported. */

#include "support/test.h"
#include "support/traces.h"

#define LINE_ALL (MTRACE_BY_LINE | MTRACE_KEY_CUMULATIVE)

/* 1 and 2 are one library, loaded at two addresses, once by another path. 3 has the first one's
   path and address, but is another build. 4 and 5 have no build id and one size; 6 has another. */
static const mtrace_module modules[] = {
    {"/lib/m.so", 0x7f0000000000, 0x5000, 4, {1, 2, 3, 4}},
    {"/new/m.so", 0x7fff00000000, 0x5000, 4, {1, 2, 3, 4}},
    {"/lib/m.so", 0x7f0000000000, 0x5000, 4, {1, 2, 3, 5}},
    {"/lib/n.so", 0x7e0000000000, 0x1000, 0, {0}},
    {"/lib/n.so", 0x7d0000000000, 0x1000, 0, {0}},
    {"/lib/n.so", 0x7e0000000000, 0x2000, 0, {0}},
};
enum { MODULES = sizeof modules / sizeof *modules };

#define MAKE(traces) test_make_code((traces), sizeof(traces) / sizeof *(traces), modules, MODULES)

/* --- parts --- */

static const test_trace one_of_each[] = {
    {1, 0, 10, "main@m.c:1 1+0x10 f@6+0xffffffffffff", 3, NULL},
    {1, 0, 20, "0+0xffffffff80001234", 1, NULL},
    {1, 0, 30, "2+0x0", 1, NULL}};

static void test_parts_are_copied(void **state) {
    mtrace_snapshot *s = MAKE(one_of_each);
    mtrace_snapshot_parts p = mtrace_snapshot_get_parts(s);
    const mtrace_frame *f = p.rows[0].traceback.frames;
    size_t i;
    (void)state;
    assert_int_equal(p.module_count, MODULES);
    for (i = 0; i < MODULES; i++) {
        assert_string_equal(p.modules[i].path, modules[i].path);
        assert_true(p.modules[i].path >= p.names && p.modules[i].path < p.names + p.name_bytes);
        assert_int_equal(p.modules[i].load_address, modules[i].load_address);
        assert_int_equal(p.modules[i].size, modules[i].size);
        assert_int_equal(p.modules[i].build_id_size, modules[i].build_id_size);
        assert_memory_equal(p.modules[i].build_id, modules[i].build_id, 32);
    }
    assert_null(f[0].module);
    assert_int_equal(f[0].address, 0);
    assert_ptr_equal(f[1].module, &p.modules[0]);
    assert_int_equal(f[1].address, 0x10);
    assert_ptr_equal(f[1].file, p.modules[0].path);
    assert_ptr_equal(f[2].module, &p.modules[5]);
    assert_string_equal(f[2].function, "f");
    assert_ptr_equal(p.rows[0].module, &p.modules[5]);
    assert_int_equal(p.rows[0].address, 0xffffffffffff);
    test_expect_traces(s, "0 10 1 m.c:1>/lib/m.so+0x10>/lib/n.so+0xffffffffffff/3 | "
                          "0 20 1 <unknown>+0xffffffff80001234/1 | 0 30 1 /new/m.so+0x0/1");
    mtrace_snapshot_free(s);
}

/* A copy of a copy has modules of its own. */
static void test_filtered_one_keeps_its_modules(void **state) {
    mtrace_snapshot *s = MAKE(one_of_each), *copy;
    mtrace_snapshot_parts p;
    (void)state;
    assert_int_equal(mtrace_snapshot_filter(&copy, s, NULL, 0, NULL), MTRACE_OK);
    mtrace_snapshot_free(s);
    p = mtrace_snapshot_get_parts(copy);
    assert_int_equal(p.module_count, MODULES);
    assert_ptr_equal(p.rows[0].traceback.frames[1].module, &p.modules[0]);
    assert_string_equal(p.rows[0].file, "/lib/n.so");
    mtrace_snapshot_free(copy);
}

static void expect_bad(const mtrace_snapshot_parts *parts) {
    mtrace_snapshot *s = (mtrace_snapshot *)(uintptr_t)parts;
    assert_int_equal(mtrace_snapshot_make(&s, parts, NULL), MTRACE_ERR_ARGUMENT);
    assert_null(s);
}

static void test_bad_parts(void **state) {
    mtrace_module table[2];
    mtrace_row row = MTRACE_ZERO_;
    mtrace_frame frame = MTRACE_ZERO_;
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_snapshot *s;
    (void)state;
    table[0] = table[1] = modules[0];
    row.traceback.frames = &frame;
    row.traceback.count = 1;
    parts.rows = &row;
    parts.row_count = 1;
    parts.modules = table;
    parts.module_count = 2;
    expect_bad(&parts); /* a location in the source has a file */
    frame.module = table + 1;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    mtrace_snapshot_free(s);
    frame.line = 1; /* so has a line of code */
    expect_bad(&parts);
    frame.line = 0;
    frame.module = table + 2;
    expect_bad(&parts);
    frame.module = (const mtrace_module *)(const void *)((const char *)table + 8);
    expect_bad(&parts);
    frame.module = modules;
    expect_bad(&parts);
    frame.module = table;
    table[1].path = NULL;
    expect_bad(&parts);
    table[1].path = "x";
    table[1].build_id_size = 33;
    expect_bad(&parts);
    parts.module_count = 1;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    mtrace_snapshot_free(s);
    table[0].build_id_size = 2; /* what stands behind a build id does not count */
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_get_parts(s).modules[0].build_id[1], 2);
    assert_int_equal(mtrace_snapshot_get_parts(s).modules[0].build_id[2], 0);
    mtrace_snapshot_free(s);
    parts.modules = NULL;
    expect_bad(&parts);
    parts.module_count = 0;
    expect_bad(&parts);
}

static void test_recorded_ones_have_none(void **state) {
    mtrace_frame frames[2];
    mtrace_traceback traceback;
    mtrace_snapshot *s;
    mtrace_snapshot_parts p;
    void *block;
    (void)state;
    memset(frames, 0x5a, sizeof frames);
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    block = MT_MALLOC(10);
    assert_int_equal(test_find_traceback(&traceback, 0, (uintptr_t)block, frames, 2), MTRACE_OK);
    assert_null(traceback.frames[0].module);
    assert_int_equal(traceback.frames[0].address, 0);
    s = test_take(false);
    p = mtrace_snapshot_get_parts(s);
    assert_int_equal(p.module_count, 0);
    assert_null(p.rows[p.row_count - 1].traceback.frames[0].module);
    assert_int_equal(p.rows[p.row_count - 1].traceback.frames[0].address, 0);
    mtrace_snapshot_free(s);
    MT_FREE(block);
    mtrace_stop();
}

/* --- groups --- */

static const test_trace locations[] = {
    {1, 0, 100, "1+0x10", 1, NULL},     /* the same location, in a module */
    {2, 0, 10, "2+0x10", 1, NULL},      /* that was loaded again */
    {1, 0, 200, "3+0x10", 1, NULL},     /* another build of it */
    {1, 0, 50, "4+0x10", 1, NULL},      /* without build ids: */
    {1, 0, 5, "5+0x10", 1, NULL},       /* the same path and size, */
    {1, 0, 60, "6+0x10", 1, NULL},      /* another size */
    {1, 0, 30, "1+0x11", 1, NULL},      /* another location */
    {1, 0, 40, "0+0x10", 1, NULL},      /* in no module */
    {1, 0, 20, "/lib/m.so:0", 1, NULL}, /* a source file of that name */
    {1, 0, 1, "f@1+0x20", 1, NULL},     /* with a name, */
    {1, 0, 2, "f@2+0x21", 1, NULL},     /* the same function, */
    {1, 0, 3, "f@3+0x20", 1, NULL},     /* and another build's */
};

static void test_groups(void **state) {
    static const char *const by_line =
        "/lib/m.so+0x10 200 1 | /lib/m.so+0x10 120 3 | /lib/n.so+0x10 60 1 | "
        "/lib/n.so+0x10 55 2 | <unknown>+0x10 40 1 | /lib/m.so+0x11 30 1 | "
        "/lib/m.so:0 20 1 | /lib/m.so+0x20 3 1 | /new/m.so+0x21 2 1 | "
        "/lib/m.so+0x20 1 1";
    mtrace_snapshot *s = MAKE(locations);
    (void)state;
    test_expect_statistics(s, MTRACE_BY_LINE, by_line);
    test_expect_statistics(s, MTRACE_BY_TRACEBACK, by_line);
    test_expect_statistics(s, MTRACE_BY_FILE,
                           "/lib/m.so 203 2 | /lib/m.so 153 6 | /lib/n.so 60 1 | /lib/n.so 55 2 | "
                           "<unknown> 40 1 | /lib/m.so 20 1");
    test_expect_statistics(s, MTRACE_BY_FUNCTION,
                           "NULL@/lib/m.so+0x10 200 1 | NULL@/lib/m.so+0x10 120 3 | "
                           "NULL@/lib/n.so+0x10 60 1 | NULL@/lib/n.so+0x10 55 2 | "
                           "NULL@<unknown>+0x10 40 1 | NULL@/lib/m.so+0x11 30 1 | "
                           "NULL@/lib/m.so 20 1 | f@/lib/m.so 3 2 | f@/lib/m.so 3 1");
    mtrace_snapshot_free(s);
}

/* What has got a line is that line, wherever it lies. */
static void test_with_a_line(void **state) {
    static const mtrace_frame frames[] = {{"a.c", "f", 7, modules, 0x10},
                                          {"a.c", "f", 7, modules + 2, 0x99},
                                          {"a.c", "f", 7, NULL, 0}};
    mtrace_row rows[3] = MTRACE_ZERO_;
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_snapshot *s;
    mtrace_rows *by_line;
    size_t i;
    (void)state;
    for (i = 0; i < 3; i++) {
        rows[i].traceback.frames = &frames[i];
        rows[i].traceback.count = 1;
        rows[i].size = rows[i].count = 1;
    }
    parts.rows = rows;
    parts.row_count = 3;
    parts.modules = modules;
    parts.module_count = MODULES;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_get_parts(s).rows[1].address, 0x99); /* it is kept */
    test_expect_statistics(s, MTRACE_BY_LINE, "a.c:7 3 3");
    test_expect_statistics(s, MTRACE_BY_FILE, "a.c 3 3");
    test_expect_statistics(s, MTRACE_BY_FUNCTION, "f@a.c 3 3");
    test_expect_statistics(s, MTRACE_BY_TRACEBACK, "a.c:7 3 3");
    by_line = test_rows(s, MTRACE_BY_LINE);
    assert_null(by_line->rows[0].module);
    assert_int_equal(by_line->rows[0].address, 0);
    mtrace_rows_free(by_line);
    mtrace_snapshot_free(s);
}

static const test_trace deep[] = {{1, 0, 10, "m.c:1 1+0x10 2+0x10 3+0x10", 4, NULL},
                                  {1, 0, 5, "m.c:1 2+0x10 1+0x10 3+0x10", 4, NULL},
                                  {1, 0, 1, "m.c:1 1+0x10 3+0x10 3+0x10", 4, NULL}};

static void test_cumulative(void **state) {
    mtrace_snapshot *s = MAKE(deep);
    (void)state;
    test_expect_statistics(s, MTRACE_BY_TRACEBACK,
                           "m.c:1>/lib/m.so+0x10>/new/m.so+0x10>/lib/m.so+0x10 15 2 | "
                           "m.c:1>/lib/m.so+0x10>/lib/m.so+0x10>/lib/m.so+0x10 1 1");
    test_expect_statistics(s, LINE_ALL, "/lib/m.so+0x10 31 5 | /lib/m.so+0x10 17 4 | m.c:1 16 3");
    test_expect_statistics(s, LINE_ALL | MTRACE_KEY_ONCE,
                           "/lib/m.so+0x10 16 3 | /lib/m.so+0x10 16 3 | m.c:1 16 3");
    mtrace_snapshot_free(s);
}

/* The old snapshot's process had its library elsewhere. */
static void test_compare(void **state) {
    static const test_trace before[] = {{1, 0, 100, "2+0x10", 1, NULL},
                                        {1, 0, 7, "3+0x10", 1, NULL}};
    static const test_trace after[] = {{2, 0, 100, "1+0x10", 1, NULL},
                                       {1, 0, 8, "4+0x10", 1, NULL}};
    mtrace_snapshot *old = MAKE(before), *s = MAKE(after);
    (void)state;
    test_expect_compare(s, old, MTRACE_BY_LINE,
                        "/lib/m.so+0x10 200 +100 2 +1 | /lib/n.so+0x10 8 +8 1 +1 | "
                        "/lib/m.so+0x10 0 -7 0 -1");
    test_expect_compare(s, old, MTRACE_BY_FILE,
                        "/lib/m.so 200 +100 2 +1 | /lib/n.so 8 +8 1 +1 | /lib/m.so 0 -7 0 -1");
    test_expect_compare(s, old, MTRACE_BY_TRACEBACK,
                        "/lib/m.so+0x10 200 +100 2 +1 | /lib/n.so+0x10 8 +8 1 +1 | "
                        "/lib/m.so+0x10 0 -7 0 -1");
    mtrace_snapshot_free(s);
    mtrace_snapshot_free(old);
}

/* --- brute force: random locations, each compared with each --- */

static uint32_t random_state;
static uint32_t random_below(uint32_t n) {
    return test_random(&random_state, n);
}

static bool same_module(const mtrace_module *a, const mtrace_module *b) {
    if (a == NULL || b == NULL) {
        return a == b;
    }
    return a->build_id_size == b->build_id_size &&
           (a->build_id_size != 0 ? memcmp(a->build_id, b->build_id, a->build_id_size) == 0
                                  : strcmp(a->path, b->path) == 0 && a->size == b->size);
}

static bool same_location(const mtrace_frame *a, const mtrace_frame *b) {
    if (a->line != b->line || a->line != 0) {
        return a->line == b->line && strcmp(a->file, b->file) == 0;
    }
    return same_module(a->module, b->module) && a->address == b->address &&
           (a->module != NULL || strcmp(a->file, b->file) == 0);
}

/* Rows that are the first of their location, and the largest sum of one location. */
static size_t count_locations(const mtrace_row *rows, size_t count, uint64_t *most) {
    size_t i, j, n = 0;
    for (*most = 0, i = 0; i < count; i++) {
        bool first = true;
        uint64_t sum = 0;
        for (j = 0; j < count; j++) {
            bool same = same_location(rows[i].traceback.frames, rows[j].traceback.frames);
            first = first && (j >= i || !same);
            sum += same ? rows[j].size : 0;
        }
        n += first;
        *most = sum > *most ? sum : *most;
    }
    return n;
}

static void random_frame(mtrace_frame *frame) {
    static const char *const files[] = {"/lib/m.so", "a.c", "<unknown>"};
    uint32_t kind = random_below(8);
    memset(frame, 0, sizeof *frame);
    frame->module = kind < 6 ? &modules[kind] : NULL;
    frame->address = kind < 7 ? random_below(3) : 0;
    frame->line = random_below(4) == 0 ? 1 + random_below(2) : 0;
    frame->file =
        frame->line != 0 || kind == 7 || frame->address == 0 ? files[random_below(3)] : NULL;
}

static void test_against_brute_force(void **state) {
    enum { ROWS = 40 };
    static mtrace_frame frames[ROWS];
    static mtrace_row rows[ROWS];
    int round;
    size_t i;
    (void)state;
    random_state = 1;
    for (round = 0; round < 500; round++) {
        mtrace_snapshot_parts parts = MTRACE_ZERO_;
        mtrace_snapshot *s;
        mtrace_rows *by_line, *by_traceback;
        uint64_t most;
        for (i = 0; i < ROWS; i++) {
            random_frame(&frames[i]);
            rows[i].traceback.frames = &frames[i];
            rows[i].traceback.count = 1;
            rows[i].size = 1 + random_below(1000);
            rows[i].count = 1;
        }
        parts.rows = rows;
        parts.row_count = ROWS;
        parts.modules = modules;
        parts.module_count = MODULES;
        assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
        parts = mtrace_snapshot_get_parts(s);
        by_line = test_rows(s, MTRACE_BY_LINE);
        by_traceback = test_rows(s, MTRACE_BY_TRACEBACK);
        assert_int_equal(by_line->count, count_locations(parts.rows, ROWS, &most));
        assert_int_equal(by_line->rows[0].size, most);
        assert_int_equal(by_traceback->count, by_line->count);
        assert_int_equal(by_traceback->rows[0].size, most);
        mtrace_rows_free(by_line);
        mtrace_rows_free(by_traceback);
        mtrace_snapshot_free(s);
    }
}

/* --- filters --- */

static void expect_kept(bool all_frames, const char *file, bool has_line, const char *wanted) {
    mtrace_snapshot *s = MAKE(one_of_each), *kept;
    mtrace_filter filter = MTRACE_ZERO_;
    filter.all_frames = all_frames;
    filter.file = file;
    filter.has_line = has_line;
    assert_int_equal(mtrace_snapshot_filter(&kept, s, &filter, 1, NULL), MTRACE_OK);
    test_expect_statistics(kept, MTRACE_BY_LINE, wanted);
    mtrace_snapshot_free(kept);
    mtrace_snapshot_free(s);
}

/* A pattern for files is one for modules' paths. */
static void test_filters(void **state) {
    (void)state;
    expect_kept(false, "*/n.so", false, "/lib/n.so+0xffffffffffff 10 1");
    expect_kept(false, "*m.so", false, "/new/m.so+0x0 30 1");
    expect_kept(true, "/lib/m.so", false, "/lib/n.so+0xffffffffffff 10 1");
    expect_kept(false, "<unknown>", true, "<unknown>+0xffffffff80001234 20 1");
    expect_kept(false, "*+0x*", false, "");
}

/* --- reports --- */

static void expect_report(const test_trace *traces, size_t count, mtrace_key_type key_type,
                          mtrace_style style, uint32_t columns, const char *wanted) {
    static test_output out;
    mtrace_snapshot *s = test_make_code(traces, count, modules, MODULES);
    mtrace_rows *rows;
    mtrace_report_desc desc = MTRACE_ZERO_;
    desc.style = style;
    desc.columns = columns;
    desc.write = test_write;
    desc.write_user = &out;
    out.length = 0;
    out.text[0] = '\0';
    rows = test_rows(s, key_type);
    assert_int_equal(mtrace_report(rows, &desc), MTRACE_OK);
    assert_string_equal(out.text, wanted);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
}

static const test_trace shown[] = {{1, 0, 50, "main@m.c:9 run@1+0x1234 3+0xabc", 3, "int"},
                                   {1, 0, 40, "draw@4+0x0", 1, NULL},
                                   {1, 0, 10, "0+0xffffffff80001234", 1, NULL}};

#define HEAD "      SIZE      %     COUNT     AT PEAK  WHERE"
#define FOOT "mtrace's own memory 0 B\n"

static void test_table(void **state) {
    (void)state;
    expect_report(shown, 3, MTRACE_BY_TRACEBACK, MTRACE_STYLE_TABLE, 80,
                  "mtrace: 100 B in 3 blocks held, 0 B at the peak; 3 of 3 tracebacks\n" HEAD "\n"
                  "    50 B     50.0         1       0 B    /lib/m.so+0xabc\n"
                  "                                            from /lib/m.so+0x1234 run\n"
                  "                                            from m.c:9 main\n"
                  "    40 B     40.0         1       0 B    /lib/n.so+0x0 draw\n"
                  "    10 B     10.0         1       0 B    0xffffffff80001234\n" FOOT);
    expect_report(shown, 3, MTRACE_BY_FUNCTION, MTRACE_STYLE_TABLE, 80,
                  "mtrace: 100 B in 3 blocks held, 0 B at the peak; 3 of 3 functions\n" HEAD "\n"
                  "    50 B     50.0         1       0 B    /lib/m.so+0xabc\n"
                  "    40 B     40.0         1       0 B    draw (/lib/n.so)\n"
                  "    10 B     10.0         1       0 B    0xffffffff80001234\n" FOOT);
    expect_report(shown, 3, MTRACE_BY_FILE, MTRACE_STYLE_TABLE, 80,
                  "mtrace: 100 B in 3 blocks held, 0 B at the peak; 3 of 3 files\n" HEAD "\n"
                  "    50 B     50.0         1       0 B    /lib/m.so\n"
                  "    40 B     40.0         1       0 B    /lib/n.so\n"
                  "    10 B     10.0         1       0 B    <unknown>\n" FOOT);
}

/* What modules' paths have in common is left out where it does not fit. */
static void test_narrow_table(void **state) {
    (void)state;
    expect_report(shown, 3, MTRACE_BY_LINE, MTRACE_STYLE_TABLE, 57,
                  "mtrace: 100 B in 3 blocks held, 0 B at the peak\n        3 of 3 lines\n" HEAD
                  ", in /lib/\n"
                  "    50 B     50.0         1       0 B    m.so+0xabc\n"
                  "    40 B     40.0         1       0 B    n.so+0x0 draw\n"
                  "    10 B     10.0         1       0 B    ...fffff80001234\n" FOOT);
}

static void test_other_styles(void **state) {
    (void)state;
    expect_report(shown, 3, MTRACE_BY_TRACEBACK, MTRACE_STYLE_WARNINGS, 0,
                  "/lib/m.so+0xabc: warning: 50 B in 1 block not freed, allocated in type int\n"
                  "/lib/m.so+0x1234: note: inside run\n"
                  "m.c:9: note: inside main\n"
                  "/lib/n.so+0x0: warning: 40 B in 1 block not freed, allocated in draw\n"
                  "0xffffffff80001234: warning: 10 B in 1 block not freed\n");
    expect_report(shown, 3, MTRACE_BY_TRACEBACK, MTRACE_STYLE_LINES, 0,
                  "# size count size_diff count_diff peak_size peak_count total_size total_count "
                  "frees reallocs dropped_count dropped_size where\n"
                  "50 1 +0 +0 0 0 0 0 0 0 0 0 /lib/m.so+0xabc < /lib/m.so+0x1234 run < m.c:9 main\n"
                  "40 1 +0 +0 0 0 0 0 0 0 0 0 /lib/n.so+0x0 draw\n"
                  "10 1 +0 +0 0 0 0 0 0 0 0 0 0xffffffff80001234\n");
}

/* As Python prints them of the pickle: a file of that name, line 0. */
static void test_python_style(void **state) {
    (void)state;
    expect_report(shown, 3, MTRACE_BY_LINE, MTRACE_STYLE_PYTHON, 0,
                  "/lib/m.so+0xabc:0: size=50 B, count=1, average=50 B\n"
                  "/lib/n.so+0x0:0: size=40 B, count=1, average=40 B\n"
                  "0xffffffff80001234:0: size=10 B, count=1, average=10 B\n");
    expect_report(shown, 1, MTRACE_BY_TRACEBACK, MTRACE_STYLE_PYTHON, 0,
                  "m.c:9: size=50 B, count=1, average=50 B\n");
    expect_report(shown, 1, MTRACE_BY_TRACEBACK | MTRACE_KEY_MOST_RECENT, MTRACE_STYLE_PYTHON, 0,
                  "/lib/m.so+0xabc:0: size=50 B, count=1, average=50 B\n");
    expect_report(shown, 3, MTRACE_BY_FILE, MTRACE_STYLE_PYTHON, 0,
                  "/lib/m.so:0: size=50 B, count=1, average=50 B\n"
                  "/lib/n.so:0: size=40 B, count=1, average=40 B\n"
                  "<unknown>:0: size=10 B, count=1, average=10 B\n");
    expect_report(shown, 3, MTRACE_BY_FUNCTION, MTRACE_STYLE_PYTHON, 0,
                  "/lib/m.so+0xabc:0: size=50 B, count=1, average=50 B\n"
                  "draw (/lib/n.so): size=40 B, count=1, average=40 B\n"
                  "0xffffffff80001234:0: size=10 B, count=1, average=10 B\n");
}

static bool no_source_of_code(char *buffer, size_t size, const char *file, uint32_t line,
                              void *user) {
    (void)user;
    assert_string_equal(file, "m.c");
    assert_int_equal(line, 9);
    snprintf(buffer, size, "run();");
    return true;
}

static void test_traceback_text(void **state) {
    mtrace_snapshot *s = MAKE(shown);
    mtrace_snapshot_parts p = mtrace_snapshot_get_parts(s);
    char text[256];
    (void)state;
    mtrace_format_traceback(text, sizeof text, &p.rows[0].traceback, MTRACE_ALL_FRAMES, false,
                            no_source_of_code, NULL);
    assert_string_equal(text, "  File \"m.c\", line 9\n    run();\n"
                              "  File \"/lib/m.so+0x1234\", line 0\n"
                              "  File \"/lib/m.so+0xabc\", line 0\n");
    mtrace_snapshot_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_are_copied),
        cmocka_unit_test(test_filtered_one_keeps_its_modules),
        cmocka_unit_test(test_bad_parts),
        cmocka_unit_test(test_recorded_ones_have_none),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_with_a_line),
        cmocka_unit_test(test_cumulative),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_against_brute_force),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_narrow_table),
        cmocka_unit_test(test_other_styles),
        cmocka_unit_test(test_python_style),
        cmocka_unit_test(test_traceback_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

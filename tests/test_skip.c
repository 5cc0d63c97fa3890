/* Rows are charged to the nearest frame outside of wrappers, see mtrace_skip. Rows by module. */

#include "support/test.h"
#include "support/traces.h"

static const mtrace_module modules[] = {
    {"/bin/game", 0x550000000000, 0x5000, 4, {1, 2, 3, 4}},
    {"/lib/libstdc++.so.6", 0x7f0000000000, 0x5000, 4, {1, 2, 3, 5}},
};

enum { FRAMES = 4 };

/* Functions, oldest first. "c " before a name: a frame of the source, not code. */
static mtrace_snapshot *make(const char *const functions[FRAMES], uint64_t size) {
    static mtrace_frame frames[FRAMES];
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_snapshot *s = NULL;
    mtrace_row row = MTRACE_ZERO_;
    uint32_t n = 0;
    for (; n < FRAMES && functions[n] != NULL; n++) {
        bool is_source = strncmp(functions[n], "c ", 2) == 0;
        frames[n].file = is_source ? "a.c" : modules[0].path;
        frames[n].function = functions[n] + (is_source ? 2 : 0);
        frames[n].line = is_source ? n + 1 : 0;
        frames[n].module = is_source ? NULL : &modules[0];
        frames[n].address = is_source ? 0 : 0x100 + n;
    }
    row.traceback.frames = frames;
    row.traceback.count = row.traceback.total = n;
    row.file = frames[n - 1].file;
    row.function = frames[n - 1].function;
    row.line = frames[n - 1].line;
    row.module = frames[n - 1].module;
    row.address = frames[n - 1].address;
    row.size = size;
    row.count = 1;
    parts.rows = &row;
    parts.row_count = 1;
    parts.modules = modules;
    parts.module_count = 2;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    return s;
}

static void expect_function(const mtrace_snapshot *s, mtrace_key_type key_type, const char *name) {
    mtrace_rows *rows;
    assert_int_equal(mtrace_snapshot_statistics(&rows, s, key_type, NULL), MTRACE_OK);
    assert_int_equal(rows->count, 1);
    assert_string_equal(rows->rows[0].function, name);
    mtrace_rows_free(rows);
}

static const struct {
    const char *functions[FRAMES];
    const char *name; /* the frame that is charged */
} cases[] = {
    {{"main", "operator new(unsigned long)"}, "main"},
    {{"main", "Pool::operator new(unsigned long)"}, "main"},
    {{"main", "load()", "std::vector<int>::reserve(int)", "operator new[](unsigned long)"},
     "load()"},
    {{"main", "void std::vector<a::b, c (*)(d)>::f<int>(int)"}, "main"},
    {{"main", "std::pair<int, int> my::make<int>(int)"}, "std::pair<int, int> my::make<int>(int)"},
    {{"main", "my::f(std::string const&)"}, "my::f(std::string const&)"},
    {{"main", "(anonymous namespace)::f(int)"}, "(anonymous namespace)::f(int)"},
    {{"main", "std::(anonymous namespace)::f(int)"}, "main"},
    {{"main", "bool my::operator<(int, int)"}, "bool my::operator<(int, int)"},
    {{"main", "__gnu_cxx::new_allocator<int>::allocate(unsigned long)"}, "main"},
    {{"main", "read_all", "xmalloc"}, "read_all"},
    {{"main", "g_malloc0_n", "g_malloc0"}, "main"},
    {{"main", "ImGui::MemAlloc(unsigned long)"}, "main"},
    {{"main", "strdup"}, "main"},
    {{"main", "my_malloc"}, "my_malloc"},
    {{"main", "stdout_open"}, "stdout_open"},
    {{"operator new(unsigned long)"}, "operator new(unsigned long)"}, /* all are skipped */
    {{"xmalloc", "operator new(unsigned long)"}, "operator new(unsigned long)"},
    {{"c main", "c xmalloc"}, "xmalloc"}, /* a macro names the right line by itself */
    {{"c main", "xmalloc"}, "main"},
};

static void test_defaults(void **state) {
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, cases); i++) {
        mtrace_snapshot *s = make(cases[i].functions, 10);
        expect_function(s, MTRACE_BY_LINE, cases[i].name);
        expect_function(s, MTRACE_BY_FUNCTION, cases[i].name);
        mtrace_snapshot_free(s);
    }
}

/* The user's patterns apply to lines, too, and beside the defaults or instead of them. */
static void test_own_patterns(void **state) {
    static const char *const functions[FRAMES] = {"c main", "c texture_load", "c my_alloc",
                                                  "operator new(unsigned long)"};
    static const char *const patterns[] = {"my_*", "texture_l?ad"};
    mtrace_skip skip = {patterns, 1, false};
    mtrace_snapshot *s = make(functions, 10), *copy;
    (void)state;
    expect_function(s, MTRACE_BY_LINE, "my_alloc");
    mtrace_snapshot_set_skip(s, &skip);
    expect_function(s, MTRACE_BY_LINE, "texture_load");
    assert_int_equal(mtrace_snapshot_filter(&copy, s, NULL, 0, NULL), MTRACE_OK);
    expect_function(copy, MTRACE_BY_LINE, "texture_load");
    mtrace_snapshot_free(copy);
    skip.count = 2;
    mtrace_snapshot_set_skip(s, &skip);
    expect_function(s, MTRACE_BY_LINE, "main");
    skip.no_defaults = true;
    mtrace_snapshot_set_skip(s, &skip);
    expect_function(s, MTRACE_BY_LINE, "operator new(unsigned long)");
    skip.patterns = NULL; /* none, whatever the count says */
    mtrace_snapshot_set_skip(s, &skip);
    expect_function(s, MTRACE_BY_LINE, "operator new(unsigned long)");
    mtrace_snapshot_set_skip(s, NULL);
    expect_function(s, MTRACE_BY_LINE, "my_alloc");
    mtrace_snapshot_free(s);
}

/* The data stay whole: a traceback has all frames, cumulative rows have every frame. */
static void test_other_keys(void **state) {
    static const char *const functions[FRAMES] = {"main", "xmalloc"};
    mtrace_snapshot *s = make(functions, 10);
    mtrace_rows *rows;
    (void)state;
    assert_int_equal(mtrace_snapshot_statistics(&rows, s, MTRACE_BY_TRACEBACK, NULL), MTRACE_OK);
    assert_int_equal(rows->rows[0].traceback.count, 2);
    assert_string_equal(rows->rows[0].traceback.frames[1].function, "xmalloc");
    assert_string_equal(rows->rows[0].function, "xmalloc"); /* the call site */
    mtrace_rows_free(rows);
    assert_int_equal(
        mtrace_snapshot_statistics(&rows, s, MTRACE_BY_FUNCTION | MTRACE_KEY_CUMULATIVE, NULL),
        MTRACE_OK);
    assert_int_equal(rows->count, 2);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
}

/* A comparison charges both snapshots alike. */
static void test_compare(void **state) {
    static const char *const functions[FRAMES] = {"main", "xmalloc"};
    static const mtrace_skip none = {NULL, 0, true};
    mtrace_snapshot *old = make(functions, 10), *now = make(functions, 30);
    mtrace_rows *rows;
    (void)state;
    mtrace_snapshot_set_skip(old, &none);
    assert_int_equal(mtrace_snapshot_compare_to(&rows, now, old, MTRACE_BY_LINE, NULL), MTRACE_OK);
    assert_int_equal(rows->count, 1);
    assert_string_equal(rows->rows[0].function, "main");
    assert_int_equal(rows->rows[0].size_diff, 20);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(old);
    mtrace_snapshot_free(now);
}

/* With or without a line; what has no module is one row. */
static void test_by_module(void **state) {
    static const test_trace traces[] = {{1, 0, 10, "m.c:1 1+0x10", 2, NULL},
                                        {1, 0, 20, "1+0x20 a.c:7", 2, NULL},
                                        {2, 0, 30, "2+0x30", 1, "int"},
                                        {1, 0, 5, "1+0x40", 1, NULL},
                                        {1, 0, 1, "0+0x40", 1, NULL}};
    static test_output out;
    mtrace_report_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *s = test_make_code(traces, 5, modules, 2);
    mtrace_rows *rows;
    (void)state;
    assert_int_equal(mtrace_snapshot_statistics(&rows, s, MTRACE_BY_MODULE, NULL), MTRACE_OK);
    desc.style = MTRACE_STYLE_PYTHON;
    desc.write = test_write;
    desc.write_user = &out;
    assert_int_equal(mtrace_report(rows, &desc), MTRACE_OK);
    assert_string_equal(out.text, "/lib/libstdc++.so.6: size=60 B, count=2, average=30 B\n"
                                  "<no module>: size=21 B, count=2, average=10 B\n"
                                  "/bin/game: size=15 B, count=2, average=8 B\n");
    assert_ptr_equal(rows->rows[0].module->path, rows->rows[0].file);
    mtrace_rows_free(rows);
    assert_int_equal(
        mtrace_snapshot_statistics(&rows, s, MTRACE_BY_MODULE | MTRACE_KEY_CUMULATIVE, NULL),
        MTRACE_ERR_ARGUMENT);
    mtrace_snapshot_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_OF_ROWS(test_defaults), cmocka_unit_test(test_own_patterns),
        cmocka_unit_test(test_other_keys), cmocka_unit_test(test_compare),
        cmocka_unit_test(test_by_module)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Reports: the exact text of every style, its width, its footer, and its writer. Built without
   standard output, so that "no writer" can be tested. test_text.c tests standard output. */

#ifndef MTRACE_NO_STDIO
#define MTRACE_NO_STDIO
#endif

#include "support/test.h"

static unsigned char tracer_memory[1 << 20]; /* shown as 1024 KiB */
static unsigned char snapshot_memory[3][1 << 14];
static unsigned char statistics_memory[1 << 16];
static test_output output;

static void start_with(size_t max_blocks, size_t max_sites, size_t name_bytes) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = max_blocks;
    desc.max_sites = max_sites;
    desc.name_bytes = name_bytes;
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    desc.write = test_write;
    desc.write_user = &output;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static void output_clear(void) {
    output.length = 0;
    output.text[0] = '\0';
}

static int setup(void **state) {
    (void)state;
    output_clear();
    test_give_kept_back();
    start_with(32, 16, 16384);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    test_sound();
    mtrace_stop();
    test_fail_next = 0;
    return 0;
}

static void expect_all_given_back(void) {
    assert_int_equal(mtrace_get_tracer_memory(), sizeof tracer_memory + test_kept_bytes());
    test_give_kept_back();
}

static void track(uintptr_t key, uint64_t size, const char *file, uint32_t line) {
    mtrace_site site = test_site(file, line);
    assert_int_equal(mtrace_track_at(1, key, size, &site), MTRACE_OK);
}

/* All memory is the test's, so that the tracer's own stays 1024 KiB. */
static mtrace_snapshot *take(int number) {
    mtrace_snapshot *snapshot;
    mtrace_buffer memory;
    memory.data = snapshot_memory[number];
    memory.size = sizeof snapshot_memory[number];
    assert_int_equal(mtrace_snapshot_take(&snapshot, true, &memory), MTRACE_OK);
    return snapshot;
}

static mtrace_rows *group(const mtrace_snapshot *now, const mtrace_snapshot *old,
                          mtrace_key_type key_type) {
    mtrace_rows *s;
    mtrace_buffer memory;
    memory.data = statistics_memory;
    memory.size = sizeof statistics_memory;
    assert_int_equal(old == NULL ? mtrace_snapshot_statistics(&s, now, key_type, &memory)
                                 : mtrace_snapshot_compare_to(&s, now, old, key_type, &memory),
                     MTRACE_OK);
    return s;
}

static mtrace_report_desc styled(mtrace_style style, size_t top, uint32_t columns) {
    mtrace_report_desc desc = MTRACE_ZERO_;
    desc.style = style;
    desc.top = top;
    desc.columns = columns;
    return desc;
}

static void expect_report(const mtrace_rows *s, mtrace_style style, size_t top, uint32_t columns,
                          const char *text) {
    mtrace_report_desc desc = styled(style, top, columns);
    output_clear();
    assert_int_equal(mtrace_report(s, &desc), MTRACE_OK);
    assert_string_equal(output.text, text);
}

/* The hash in a lost name depends on the machine. */
static void forget_hash(void) {
    char *hash = strstr(output.text, "<unknown ");
    assert_non_null(hash);
    memcpy(hash, "<unknown 1234abcd>", strlen("<unknown 1234abcd>"));
}

static void expect_table(const mtrace_rows *s, const char *text) {
    expect_report(s, MTRACE_STYLE_TABLE, 0, 0, text);
}

/* A comparison with the rows that did not change. */
static void expect_all_rows(const mtrace_rows *s, const char *text) {
    mtrace_report_desc desc = styled(MTRACE_STYLE_TABLE, 0, 0);
    desc.unchanged = true;
    output_clear();
    assert_int_equal(mtrace_report(s, &desc), MTRACE_OK);
    assert_string_equal(output.text, text);
}

/* --- a small program's memory, and its changes --- */

static void story_old(void) {
    track(1, 10, "a.c", 2);
    track(2, 10, "a.c", 2);
    track(3, 10, "a.c", 2);
    track(4, 2, "a.c", 5);
    track(5, 66, "b.c", 1);
}

static void story_new(void) {
    track(6, 50000, "a.c", 5);
    track(7, 400, "c.c", 578);
    assert_int_equal(mtrace_untrack_at(1, 5, NULL), MTRACE_OK);
}

/* --- tables --- */

static void test_table(void **state) {
    mtrace_snapshot *s;
    (void)state;
    story_old();
    story_new();
    track(8, 1000, "d.c", 1);
    assert_int_equal(mtrace_untrack_at(1, 8, NULL), MTRACE_OK);
    s = take(0);
    expect_table(group(s, NULL, MTRACE_BY_LINE),
                 "mtrace: 49.25 KiB in 6 blocks held, 50.23 KiB at the peak; 3 of 3 lines\n"
                 "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                 " 48.83 KiB   99.1         2   48.83 KiB  a.c:5 f\n"
                 "   400 B      0.8         1     400 B    c.c:578 f\n"
                 "    30 B      0.1         3      30 B    a.c:2 f\n"
                 "mtrace's own memory 1024 KiB\n");
    mtrace_snapshot_set_view(s, MTRACE_VIEW_PEAK);
    expect_table(group(s, NULL, MTRACE_BY_FILE),
                 "mtrace: 50.23 KiB in 7 blocks held at the peak; 3 of 3 files\n"
                 "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                 " 48.86 KiB   97.3         5   48.86 KiB  a.c\n"
                 " 1,000 B      1.9         1   1,000 B    d.c\n"
                 "   400 B      0.8         1     400 B    c.c\n"
                 "mtrace's own memory 1024 KiB\n");
    mtrace_snapshot_set_view(s, MTRACE_VIEW_TOTAL);
    expect_table(group(s, NULL, MTRACE_BY_FILE),
                 "mtrace: 50.29 KiB in 8 blocks allocated in all; 4 of 4 files\n"
                 "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                 " 48.86 KiB   97.2         5   48.86 KiB  a.c\n"
                 " 1,000 B      1.9         1   1,000 B    d.c\n"
                 "   400 B      0.8         1     400 B    c.c\n"
                 "    66 B      0.1         1       0 B    b.c\n"
                 "mtrace's own memory 1024 KiB\n");
}

static void test_table_of_every_key(void **state) {
    mtrace_site typed = test_site("a.c", 2), bare = test_site("a.c", 2);
    mtrace_snapshot *s;
    (void)state;
    typed.type = "struct point";
    assert_int_equal(mtrace_track_at(1, 1, 8, &typed), MTRACE_OK);
    bare.function = NULL;
    assert_int_equal(mtrace_track_at(7, 1, 1, &bare), MTRACE_OK);
    s = take(0);
    expect_table(group(s, NULL, MTRACE_BY_FUNCTION),
                 "mtrace: 9 B in 2 blocks held, 9 B at the peak; 2 of 2 functions\n"
                 "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                 "     8 B     88.9         1       8 B    f (a.c)\n"
                 "     1 B     11.1         1       1 B    <unknown> (a.c)\n"
                 "mtrace's own memory 1024 KiB\n");
    expect_table(group(s, NULL, MTRACE_BY_TYPE),
                 "mtrace: 9 B in 2 blocks held, 9 B at the peak; 2 of 2 types\n"
                 "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                 "     8 B     88.9         1       8 B    struct point\n"
                 "     1 B     11.1         1       1 B    <untyped>\n"
                 "mtrace's own memory 1024 KiB\n");
    expect_table(group(s, NULL, MTRACE_BY_DOMAIN),
                 "mtrace: 9 B in 2 blocks held, 9 B at the peak; 2 of 2 domains\n"
                 "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                 "     8 B     88.9         1       8 B    domain 1\n"
                 "     1 B     11.1         1       1 B    domain 7\n"
                 "mtrace's own memory 1024 KiB\n");
    assert_int_equal(mtrace_untrack_at(7, 1, NULL), MTRACE_OK);
    s = take(0);
    expect_table(group(s, NULL, MTRACE_BY_LINE),
                 "mtrace: 8 B in 1 block held, 9 B at the peak; 1 of 1 line\n"
                 "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                 "     8 B    100.0         1       9 B    a.c:2 f\n"
                 "mtrace's own memory 1024 KiB\n");
}

/* By size class only live blocks and their change are known. */
static void test_table_of_size_classes(void **state) {
    mtrace_snapshot *s;
    (void)state;
    story_old();
    s = take(0);
    expect_report(group(s, NULL, MTRACE_BY_SIZE_CLASS), MTRACE_STYLE_PYTHON, 0, 0,
                  "up to 128 B: size=66 B, count=1, average=66 B\n"
                  "up to 16 B: size=30 B, count=3, average=10 B\n"
                  "2 B: size=2 B, count=1, average=2 B\n");
    expect_all_rows(group(s, s, MTRACE_BY_SIZE_CLASS),
                    "mtrace: 98 B in 5 blocks, +0 B in +0; 3 of 3 size classes\n"
                    "       DIFF        SIZE     DIFF   COUNT  WHERE\n"
                    "     +0 B        66 B         +0       1  up to 128 B\n"
                    "     +0 B        30 B         +0       3  up to 16 B\n"
                    "     +0 B         2 B         +0       1  2 B\n"
                    "mtrace's own memory 1024 KiB\n");
    expect_table(group(s, s, MTRACE_BY_SIZE_CLASS),
                 "mtrace: 98 B in 5 blocks, +0 B in +0; 0 of 0 changed size classes\n"
                 "       DIFF        SIZE     DIFF   COUNT  WHERE\n"
                 "mtrace's own memory 1024 KiB\n");
}

static void test_table_of_differences(void **state) {
    mtrace_snapshot *old, *now;
    (void)state;
    story_old();
    old = take(0);
    story_new();
    now = take(1);
    expect_all_rows(group(now, old, MTRACE_BY_LINE),
                    "mtrace: 49.25 KiB in 6 blocks, +49.15 KiB in +1; 4 of 4 lines\n"
                    "       DIFF        SIZE     DIFF   COUNT  WHERE\n"
                    " +48.83 KiB   48.83 KiB       +1       2  a.c:5 f\n"
                    "   +400 B       400 B         +1       1  c.c:578 f\n"
                    "    -66 B         0 B         -1       0  b.c:1 f\n"
                    "     +0 B        30 B         +0       3  a.c:2 f\n"
                    "mtrace's own memory 1024 KiB\n");
    expect_table(group(now, old, MTRACE_BY_LINE),
                 "mtrace: 49.25 KiB in 6 blocks, +49.15 KiB in +1; 3 of 3 changed lines\n"
                 "       DIFF        SIZE     DIFF   COUNT  WHERE\n"
                 " +48.83 KiB   48.83 KiB       +1       2  a.c:5 f\n"
                 "   +400 B       400 B         +1       1  c.c:578 f\n"
                 "    -66 B         0 B         -1       0  b.c:1 f\n"
                 "mtrace's own memory 1024 KiB\n");
    expect_report(group(old, now, MTRACE_BY_FILE), MTRACE_STYLE_TABLE, 1, 0,
                  "mtrace: 98 B in 5 blocks, -49.15 KiB in -1; 1 of 3 changed files\n"
                  "       DIFF        SIZE     DIFF   COUNT  WHERE\n"
                  " -48.83 KiB      32 B         -1       4  a.c\n"
                  "   -334 B        66 B         +0       1  <other: 2 files>\n"
                  "mtrace's own memory 1024 KiB\n");
}

static void test_empty_table(void **state) {
    mtrace_snapshot *s = take(0);
    (void)state;
    expect_table(group(s, NULL, MTRACE_BY_LINE),
                 "mtrace: 0 B in 0 blocks held, 0 B at the peak; 0 of 0 lines\n"
                 "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                 "mtrace's own memory 1024 KiB\n");
    expect_report(group(s, NULL, MTRACE_BY_LINE), MTRACE_STYLE_TABLE, 3, 0,
                  "mtrace: 0 B in 0 blocks held, 0 B at the peak; 0 of 0 lines\n"
                  "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                  "mtrace's own memory 1024 KiB\n");
}

/* --- top --- */

/* The rows left out become one: the table adds up. */
static void test_top(void **state) {
    mtrace_rows *s;
    mtrace_snapshot *snapshot;
    (void)state;
    track(1, 600, "a.c", 1);
    track(2, 200, "b.c", 1);
    track(3, 100, "c.c", 1);
    track(4, 50, "d.c", 1);
    track(5, 50, "d.c", 1);
    snapshot = take(0);
    s = group(snapshot, NULL, MTRACE_BY_LINE);
    expect_report(s, MTRACE_STYLE_TABLE, 2, 0,
                  "mtrace: 1,000 B in 5 blocks held, 1,000 B at the peak; 2 of 4 lines\n"
                  "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                  "   600 B     60.0         1     600 B    a.c:1 f\n"
                  "   200 B     20.0         1     200 B    b.c:1 f\n"
                  "   200 B     20.0         3     200 B    <other: 2 lines>\n"
                  "mtrace's own memory 1024 KiB\n");
    expect_report(s, MTRACE_STYLE_TABLE, 3, 0,
                  "mtrace: 1,000 B in 5 blocks held, 1,000 B at the peak; 3 of 4 lines\n"
                  "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                  "   600 B     60.0         1     600 B    a.c:1 f\n"
                  "   200 B     20.0         1     200 B    b.c:1 f\n"
                  "   100 B     10.0         2     100 B    d.c:1 f\n"
                  "   100 B     10.0         1     100 B    <other: 1 line>\n"
                  "mtrace's own memory 1024 KiB\n");
    expect_report(s, MTRACE_STYLE_TABLE, 4, 0,
                  "mtrace: 1,000 B in 5 blocks held, 1,000 B at the peak; 4 of 4 lines\n"
                  "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                  "   600 B     60.0         1     600 B    a.c:1 f\n"
                  "   200 B     20.0         1     200 B    b.c:1 f\n"
                  "   100 B     10.0         2     100 B    d.c:1 f\n"
                  "   100 B     10.0         1     100 B    c.c:1 f\n"
                  "mtrace's own memory 1024 KiB\n");
    s = group(snapshot, NULL, MTRACE_BY_FUNCTION);
    expect_report(s, MTRACE_STYLE_TABLE, 3, 0,
                  "mtrace: 1,000 B in 5 blocks held, 1,000 B at the peak; 3 of 4 functions\n"
                  "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                  "   600 B     60.0         1     600 B    f (a.c)\n"
                  "   200 B     20.0         1     200 B    f (b.c)\n"
                  "   100 B     10.0         2     100 B    f (d.c)\n"
                  "   100 B     10.0         1     100 B    <other: 1 function>\n"
                  "mtrace's own memory 1024 KiB\n");
}

/* In the style for programs the first column of all rows adds up to the total. */
static void test_lines_add_up(void **state) {
    mtrace_rows *s;
    mtrace_report_desc desc = styled(MTRACE_STYLE_LINES, 0, 0);
    const char *line;
    unsigned long long sum = 0;
    uintptr_t key;
    (void)state;
    for (key = 1; key <= 12; key++) {
        track(key, key * key * 100000, "a.c", (uint32_t)key);
    }
    s = group(take(0), NULL, MTRACE_BY_LINE);
    output_clear();
    assert_int_equal(mtrace_report(s, &desc), MTRACE_OK);
    for (line = strchr(output.text, '\n') + 1; *line != '\0'; line = strchr(line, '\n') + 1) {
        sum += strtoull(line, NULL, 10);
    }
    assert_int_equal(sum, 65000000);
    assert_int_equal(s->total.size, 65000000);
}

/* --- width --- */

static size_t widest(const char *text) {
    size_t width = 0, most = 0;
    for (; *text != '\0'; text++) {
        width = *text == '\n' ? 0 : width + 1;
        most = width > most ? width : most;
    }
    return most;
}

/* Where a row does not fit, all paths lose the folder that they have in common, then a path loses
   its front, never its line number, and the function keeps its room. */
static void test_long_names(void **state) {
    mtrace_rows *s;
    mtrace_site site = test_site("/home/someone/project/source/module/part.c", 1234);
    (void)state;
    site.function = "a_function_of_some_length";
    assert_int_equal(mtrace_track_at(1, 1, 5, &site), MTRACE_OK);
    track(2, 4, "/home/someone/project/src/quite_l.c", 12); /* 40 columns with its function */
    track(3, 3, "/home/someone/project/src/quite_lo.c", 12);
    track(4, 2, "/home/someone/project/src/quite_lon.c", 12); /* 40 without */
    track(5, 1, "/home/someone/project/src/quite_long.c", 12);
    s = group(take(0), NULL, MTRACE_BY_LINE);
    expect_table(
        s, "mtrace: 15 B in 5 blocks held, 15 B at the peak; 5 of 5 lines\n"
           "      SIZE      %     COUNT     AT PEAK  WHERE, in /home/someone/project/\n"
           "     5 B     33.3         1       5 B    ...part.c:1234 ...nction_of_some_length\n"
           "     4 B     26.7         1       4 B    src/quite_l.c:12 f\n"
           "     3 B     20.0         1       3 B    src/quite_lo.c:12 f\n"
           "     2 B     13.3         1       2 B    src/quite_lon.c:12 f\n"
           "     1 B      6.7         1       1 B    src/quite_long.c:12 f\n"
           "mtrace's own memory 1024 KiB\n");
    assert_int_equal(widest(output.text), 80);
    expect_report(s, MTRACE_STYLE_TABLE, 2, 60,
                  "mtrace: 15 B in 5 blocks held, 15 B at the peak\n"
                  "        2 of 5 lines\n"
                  "      SIZE      %     COUNT     AT PEAK  WHERE, in ...oject/\n"
                  "     5 B     33.3         1       5 B    ...c:1234 ...length\n"
                  "     4 B     26.7         1       4 B    src/quite_l.c:12 f\n"
                  "     6 B     40.0         3       6 B    <other: 3 lines>\n"
                  "mtrace's own memory 1024 KiB\n");
    expect_report(s, MTRACE_STYLE_TABLE, 1, 120,
                  "mtrace: 15 B in 5 blocks held, 15 B at the peak; 1 of 5 lines\n"
                  "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                  "     5 B     33.3         1       5 B    "
                  "/home/someone/project/source/module/part.c:1234 a_function_of_some_length\n"
                  "    10 B     66.7         4      10 B    <other: 4 lines>\n"
                  "mtrace's own memory 1024 KiB\n");
}

static void track_at(uintptr_t key, const char *file, uint32_t line, const char *function) {
    mtrace_site site = test_site(file, line);
    site.function = function;
    assert_int_equal(mtrace_track_at(1, key, 10 - key, &site), MTRACE_OK);
}

/* CMake makes __FILE__ absolute: rows by function must not look alike for it. */
static void test_functions_of_long_paths(void **state) {
    static const char file[] = "/home/alice/projects/engine/src/render/texture.c";
    mtrace_snapshot *snapshot;
    (void)state;
    track_at(1, file, 2, "load_texture");
    track_at(2, file, 7, "bake");
    track_at(3, "<script>", 0, NULL); /* no path: in no folder */
    snapshot = take(0);
    expect_table(
        group(snapshot, NULL, MTRACE_BY_LINE),
        "mtrace: 24 B in 3 blocks held, 24 B at the peak; 3 of 3 lines\n"
        "      SIZE      %     COUNT     AT PEAK  WHERE, in ...rojects/engine/src/render/\n"
        "     9 B     37.5         1       9 B    texture.c:2 load_texture\n"
        "     8 B     33.3         1       8 B    texture.c:7 bake\n"
        "     7 B     29.2         1       7 B    <script>\n"
        "mtrace's own memory 1024 KiB\n");
    expect_table(
        group(snapshot, NULL, MTRACE_BY_FUNCTION),
        "mtrace: 24 B in 3 blocks held, 24 B at the peak; 3 of 3 functions\n"
        "      SIZE      %     COUNT     AT PEAK  WHERE, in ...rojects/engine/src/render/\n"
        "     9 B     37.5         1       9 B    load_texture (texture.c)\n"
        "     8 B     33.3         1       8 B    bake (texture.c)\n"
        "     7 B     29.2         1       7 B    <unknown> (<script>)\n"
        "mtrace's own memory 1024 KiB\n");
    expect_table(
        group(snapshot, NULL, MTRACE_BY_FILE),
        "mtrace: 24 B in 3 blocks held, 24 B at the peak; 2 of 2 files\n"
        "      SIZE      %     COUNT     AT PEAK  WHERE, in ...rojects/engine/src/render/\n"
        "    17 B     70.8         2      17 B    texture.c\n"
        "     7 B     29.2         1       7 B    <script>\n"
        "mtrace's own memory 1024 KiB\n");
    expect_report(group(snapshot, NULL, MTRACE_BY_LINE), MTRACE_STYLE_WARNINGS, 1, 0,
                  "/home/alice/projects/engine/src/render/texture.c:2: warning: 9 B in 1 block not "
                  "freed, allocated in load_texture\n");
}

/* Without a folder in common a path loses its front; a function is cut last, at its front too. */
static void test_no_folder_in_common(void **state) {
    mtrace_snapshot *snapshot;
    (void)state;
    track_at(1, "/usr/include/somewhere/quite/far/away/library.h", 99, "take");
    track_at(2, "/home/alice/projects/engine/src/main.c", 7, "main");
    track_at(3, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9/x.cc", 7,
             "a_function_whose_name_alone_is_wider_than_the_table");
    snapshot = take(0);
    expect_table(
        group(snapshot, NULL, MTRACE_BY_LINE),
        "mtrace: 24 B in 3 blocks held, 24 B at the peak; 3 of 3 lines\n"
        "      SIZE      %     COUNT     AT PEAK  WHERE\n"
        "     9 B     37.5         1       9 B    ...ere/quite/far/away/library.h:99 take\n"
        "     8 B     33.3         1       8 B    ...ce/projects/engine/src/main.c:7 main\n"
        "     7 B     29.2         1       7 B    ...\xc3\xa9\xc3\xa9/x.cc:7 "
        "..._wider_than_the_table\n"
        "mtrace's own memory 1024 KiB\n");
    expect_table(
        group(snapshot, NULL, MTRACE_BY_FUNCTION),
        "mtrace: 24 B in 3 blocks held, 24 B at the peak; 3 of 3 functions\n"
        "      SIZE      %     COUNT     AT PEAK  WHERE\n"
        "     9 B     37.5         1       9 B    take (...here/quite/far/away/library.h)\n"
        "     8 B     33.3         1       8 B    main (...ce/projects/engine/src/main.c)\n"
        "     7 B     29.2         1       7 B    ...s_wider_than_the_table "
        "(...\xc3\xa9/x.cc)\n"
        "mtrace's own memory 1024 KiB\n");
}

/* desc.columns of the start is the width of mtrace_print_*, and of reports that name none. */
static void test_columns_of_the_start(void **state) {
    static const uint32_t columns[] = {60, 0, 132}, want[] = {60, 80, 132};
    mtrace_report_desc own = styled(MTRACE_STYLE_TABLE, 0, 100);
    size_t i;
    (void)state;
    for (i = 0; i < sizeof columns / sizeof *columns; i++) {
        mtrace_desc desc = MTRACE_ZERO_;
        mtrace_rows *s;
        char file[300];
        mtrace_stop();
        desc.max_blocks = 32;
        desc.max_sites = 16;
        desc.name_bytes = 1024;
        desc.memory = tracer_memory;
        desc.memory_size = sizeof tracer_memory;
        desc.write = test_write;
        desc.write_user = &output;
        desc.columns = columns[i];
        assert_int_equal(mtrace_start(&desc), MTRACE_OK);
        memset(file, 'x', sizeof file);
        file[sizeof file - 1] = '\0';
        track(1, 5, file, 1);
        output_clear();
        assert_int_equal(mtrace_print_top(3), MTRACE_OK);
        assert_int_equal(widest(output.text), want[i]);
        s = group(take(0), NULL, MTRACE_BY_LINE);
        output_clear();
        assert_int_equal(mtrace_report(s, NULL), MTRACE_OK);
        assert_int_equal(widest(output.text), want[i]);
        output_clear();
        assert_int_equal(mtrace_report(s, &own), MTRACE_OK);
        assert_int_equal(widest(output.text), 100);
    }
}

/* The end of a name shows, for names of any length. */
static void test_very_long_names(void **state) {
    static const size_t lengths[] = {255, 1018, 1019, 1022, 1023, 1024, 4095};
    char name[4096];
    size_t i;
    (void)state;
    for (i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        mtrace_stop();
        start_with(32, 16, 16384);
        memset(name, 'x', sizeof name);
        memcpy(name + lengths[i] - 16, "/module/parser.c", 17);
        track(1, 5, name, 1234);
        expect_table(
            group(take(0), NULL, MTRACE_BY_LINE),
            "mtrace: 5 B in 1 block held, 5 B at the peak; 1 of 1 line\n"
            "      SIZE      %     COUNT     AT PEAK  WHERE, in ...xxxxxxxxxxxxxxxxxx/module/\n"
            "     5 B    100.0         1       5 B    parser.c:1234 f\n"
            "mtrace's own memory 1024 KiB\n");
    }
}

/* Statistics of a large program, made by hand. */
static mtrace_rows large(mtrace_row *row, bool is_diff, mtrace_view view) {
    mtrace_rows s;
    memset(&s, 0, sizeof s);
    memset(row, 0, sizeof *row);
    row->file = "/home/someone/project/source/module/a_rather_long_name_of_a_file.c";
    row->function = "some_function";
    row->line = 12345;
    row->size = (uint64_t)10239 << 30;
    row->count = 123456789;
    row->size_diff = -((int64_t)10239 << 30);
    row->count_diff = -123456789;
    row->peak_size = (uint64_t)10239 << 30;
    row->peak_count = 123456789;
    row->total_size = (uint64_t)10239 << 30;
    row->total_count = 123456789;
    s.rows = row;
    s.count = 1;
    s.total = *row;
    s.is_diff = is_diff;
    s.view = view;
    s.traced_memory.peak = row->peak_size;
    s.info.tracer_memory = (size_t)100 << 20;
    return s;
}

/* The unit changes before four digits stand before the point, also where rounding makes the fourth.
   Half of a hundredth rounds to even. */
static void test_sizes(void **state) {
    static const struct {
        uint64_t size;
        const char *text;
    } cases[] = {{0, "0 B  "},
                 {999, "999 B  "},
                 {1023, "1,023 B  "},
                 {1024, "1.00 KiB"},
                 {1024 + 5, "1.00 KiB"},
                 {1024 + 6, "1.01 KiB"},
                 {1024 + 128, "1.12 KiB"},
                 {1024 + 384, "1.38 KiB"},
                 {7905 * 1024, "7.72 MiB"},
                 {1023994, "999.99 KiB"},
                 {1023995, "0.98 MiB"},
                 {1048570757, "999.99 MiB"},
                 {1048570758, "0.98 GiB"},
                 {(uint64_t)5144 << 20, "5.02 GiB"},
                 {(uint64_t)1 << 60, "1,048,576.00 TiB"},
                 {UINT64_MAX, "16,777,216.00 TiB"}};
    char wanted[64];
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        mtrace_row row;
        mtrace_rows s = large(&row, false, MTRACE_VIEW_TOTAL);
        mtrace_report_desc desc = styled(MTRACE_STYLE_TABLE, 0, 200);
        row.size = cases[i].size;
        output_clear();
        assert_int_equal(mtrace_report(&s, &desc), MTRACE_OK);
        snprintf(wanted, sizeof wanted, "\n%10s ", cases[i].text);
        if (strstr(output.text, wanted) == NULL) {
            fail_msg("not %s in:\n%s", wanted, output.text);
        }
    }
}

/* Large numbers push the next column to the right, never into one another. The name keeps to the
   width. */
static void test_large_numbers(void **state) {
    mtrace_row row;
    mtrace_rows s = large(&row, false, MTRACE_VIEW_LIVE);
    uint32_t columns;
    (void)state;
    expect_table(
        &s, "mtrace: 10.00 TiB in 123,456,789 blocks held, 10.00 TiB at the peak; 1 of 1 line\n"
            "      SIZE      %     COUNT     AT PEAK  WHERE, in ...one/project/source/module/\n"
            " 10.00 TiB  100.0 123,456,789 10.00 TiB  ...name_of_a_file.c:12345 some_function\n"
            "mtrace's own memory 100 MiB\n");
    s = large(&row, true, MTRACE_VIEW_LIVE);
    expect_table(
        &s, "mtrace: 10.00 TiB in 123,456,789 blocks, -10.00 TiB in -123,456,789\n"
            "        1 of 1 changed line\n"
            "       DIFF        SIZE     DIFF   COUNT  WHERE, in ...ne/project/source/module/\n"
            " -10.00 TiB   10.00 TiB -123,456,789 123,456,789  ..._file.c:12345 some_function\n"
            "mtrace's own memory 100 MiB\n");
    for (columns = 56; columns < 200; columns++) {
        mtrace_report_desc desc = styled(MTRACE_STYLE_TABLE, 0, columns);
        const char *line;
        output_clear();
        assert_int_equal(mtrace_report(&s, &desc), MTRACE_OK);
        line = strstr(output.text, "\n -10.00 TiB") + 1;
        assert_true((size_t)(strchr(line, '\n') - line) <= columns);
        assert_non_null(strstr(line, " -123,456,789 123,456,789  "));
    }
}

/* A table is 80 columns wide: its head and its foot too. */
static void test_whole_table_fits(void **state) {
    mtrace_report_desc desc = styled(MTRACE_STYLE_TABLE, 0, 0);
    int is_diff;
    (void)state;
    for (is_diff = 0; is_diff <= 1; is_diff++) {
        mtrace_row row;
        mtrace_rows s = large(&row, is_diff != 0, MTRACE_VIEW_LIVE);
        s.total.count = 1234567;
        s.total.count_diff = -1234567;
        s.info.dropped_count = 12345;
        s.info.dropped_bytes = 123456789;
        s.info.capacity = 1048576;
        s.info.foreign_frees = 1234;
        s.info.stale_replaced = 12;
        s.info.lost_sites = 123;
        s.info.lost_names = 1;
        output_clear();
        assert_int_equal(mtrace_report(&s, &desc), MTRACE_OK);
        *strstr(output.text, "mtrace's own memory") =
            '\0'; /* the doubts are one line, however many */
        if (widest(output.text) > 80) {
            fail_msg("%lu columns:\n%s", (unsigned long)widest(output.text), output.text);
        }
    }
}

/* --- the other styles --- */

static void test_python_style(void **state) {
    mtrace_snapshot *old, *now;
    mtrace_rows *s;
    (void)state;
    story_old();
    assert_int_equal(mtrace_track_at(1, 99, 7, NULL), MTRACE_OK);
    old = take(0);
    s = group(old, NULL, MTRACE_BY_LINE);
    expect_report(s, MTRACE_STYLE_PYTHON, 0, 0,
                  "b.c:1: size=66 B, count=1, average=66 B\n"
                  "a.c:2: size=30 B, count=3, average=10 B\n"
                  "<unknown>:0: size=7 B, count=1, average=7 B\n"
                  "a.c:5: size=2 B, count=1, average=2 B\n");
    expect_report(group(old, NULL, MTRACE_BY_FILE), MTRACE_STYLE_PYTHON, 0, 0,
                  "b.c:0: size=66 B, count=1, average=66 B\n"
                  "a.c:0: size=32 B, count=4, average=8 B\n"
                  "<unknown>:0: size=7 B, count=1, average=7 B\n");
    story_new();
    now = take(1);
    expect_report(group(now, old, MTRACE_BY_LINE), MTRACE_STYLE_PYTHON, 0, 0,
                  "a.c:5: size=48.8 KiB (+48.8 KiB), count=2 (+1), average=24.4 KiB\n"
                  "c.c:578: size=400 B (+400 B), count=1 (+1), average=400 B\n"
                  "b.c:1: size=0 B (-66 B), count=0 (-1)\n"
                  "a.c:2: size=30 B (+0 B), count=3 (+0), average=10 B\n"
                  "<unknown>:0: size=7 B (+0 B), count=1 (+0), average=7 B\n");
}

#define LINES_HEAD                                                                                 \
    "# size count size_diff count_diff peak_size peak_count total_size total_count frees "         \
    "reallocs dropped_count dropped_size where\n"

static void test_lines_style(void **state) {
    mtrace_snapshot *old, *now;
    mtrace_site site = test_site("a file.c", 3);
    void *block;
    (void)state;
    site.function = NULL;
    story_old();
    old = take(0);
    story_new();
    block = mtrace_malloc_at(1000000, &site);
    block = mtrace_realloc_at(block, 2000000, &site);
    now = take(1);
    mtrace_free_at(block, NULL);
    assert_int_equal(mtrace_track_at(1, 50, (uint64_t)1 << 39, &site), MTRACE_ERR_FULL);
    expect_report(group(now, NULL, MTRACE_BY_LINE), MTRACE_STYLE_LINES, 0, 0,
                  LINES_HEAD "2000000 1 +0 +0 2000000 1 3000000 2 1 1 0 0 a file.c:3\n"
                             "50002 2 +0 +0 50002 2 50002 2 0 0 0 0 a.c:5 f\n"
                             "400 1 +0 +0 400 1 400 1 0 0 0 0 c.c:578 f\n"
                             "30 3 +0 +0 30 3 30 3 0 0 0 0 a.c:2 f\n");
    expect_report(group(now, NULL, MTRACE_BY_FUNCTION), MTRACE_STYLE_LINES, 0, 0,
                  LINES_HEAD "2000000 1 +0 +0 2000000 1 3000000 2 1 1 0 0 <unknown> (a file.c)\n"
                             "50032 5 +0 +0 50032 5 50032 5 0 0 0 0 f (a.c)\n"
                             "400 1 +0 +0 400 1 400 1 0 0 0 0 f (c.c)\n");
    expect_report(group(now, old, MTRACE_BY_FILE), MTRACE_STYLE_LINES, 0, 0,
                  LINES_HEAD "2000000 1 +2000000 +1 2000000 1 3000000 2 1 1 0 0 a file.c\n"
                             "50032 5 +50000 +1 50032 5 50000 1 0 0 0 0 a.c\n"
                             "400 1 +400 +1 400 1 400 1 0 0 0 0 c.c\n"
                             "0 0 -66 -1 0 0 0 0 1 0 0 0 b.c\n");
    now = take(2);
    expect_report(group(now, NULL, MTRACE_BY_LINE), MTRACE_STYLE_LINES, 0, 0,
                  LINES_HEAD "50002 2 +0 +0 50002 2 50002 2 0 0 0 0 a.c:5 f\n"
                             "400 1 +0 +0 400 1 400 1 0 0 0 0 c.c:578 f\n"
                             "30 3 +0 +0 30 3 30 3 0 0 0 0 a.c:2 f\n"
                             "0 0 +0 +0 2000000 1 3000000 2 2 1 1 549755813888 a file.c:3\n"
                             "# mtrace's own memory 1024 KiB; 1 block (512 GiB) not traced: "
                             "rows marked * are too low\n");
}

static void track_typed(uintptr_t key, uint64_t size, uint32_t line, const char *function,
                        const char *type) {
    mtrace_site site = test_site("t.c", line);
    site.function = function;
    site.type = type;
    assert_int_equal(mtrace_track_at(1, key, size, &site), MTRACE_OK);
}

static void test_warnings_style(void **state) {
    mtrace_snapshot *old, *now;
    (void)state;
    story_old();
    track_typed(20, 0, 9, "f", "struct point");
    track_typed(21, 1, 8, NULL, "struct point");
    track_typed(22, 1, 7, NULL, NULL);
    track_typed(23, 20480, 7, NULL, NULL);
    old = take(0);
    expect_report(group(old, NULL, MTRACE_BY_LINE), MTRACE_STYLE_WARNINGS, 0, 0,
                  "t.c:7: warning: 20.0 KiB in 2 blocks not freed\n"
                  "b.c:1: warning: 66 B in 1 block not freed, allocated in f\n"
                  "a.c:2: warning: 30 B in 3 blocks not freed, allocated in f\n"
                  "a.c:5: warning: 2 B in 1 block not freed, allocated in f\n"
                  "t.c:8: warning: 1 B in 1 block not freed, allocated in type struct point\n"
                  "t.c:9: warning: 0 B in 1 block not freed, allocated in f, type struct point\n");
    story_new();
    assert_int_equal(mtrace_untrack_at(1, 23, NULL), MTRACE_OK);
    track(23, 0, "z.c", 1);
    track(24, 0, "z.c", 1);
    now = take(1);
    expect_report(group(now, old, MTRACE_BY_LINE), MTRACE_STYLE_WARNINGS, 0, 0,
                  "a.c:5: warning: grew by +48.8 KiB in +1 block, allocated in f\n"
                  "c.c:578: warning: grew by +400 B in +1 block, allocated in f\n"
                  "z.c:1: warning: grew by +0 B in +2 blocks, allocated in f\n");
    expect_report(group(now, old, MTRACE_BY_FILE), MTRACE_STYLE_WARNINGS, 0, 0,
                  "a.c: warning: grew by +48.8 KiB in +1 block\n"
                  "c.c: warning: grew by +400 B in +1 block\n"
                  "z.c: warning: grew by +0 B in +2 blocks\n");
}

/* Nothing is held: nothing is said. */
static void test_no_warnings(void **state) {
    mtrace_snapshot *s;
    (void)state;
    track(1, 10, "a.c", 2);
    assert_int_equal(mtrace_untrack_at(1, 1, NULL), MTRACE_OK);
    s = take(0);
    expect_report(group(s, NULL, MTRACE_BY_LINE), MTRACE_STYLE_WARNINGS, 0, 0, "");
    expect_report(group(s, s, MTRACE_BY_LINE), MTRACE_STYLE_WARNINGS, 0, 0, "");
    expect_report(group(s, NULL, MTRACE_BY_LINE), MTRACE_STYLE_PYTHON, 0, 0, "");
    expect_report(group(s, NULL, MTRACE_BY_LINE), MTRACE_STYLE_LINES, 0, 0, LINES_HEAD);
}

/* --- caveats in the footer --- */

static void test_footer_of_drops(void **state) {
    uintptr_t key;
    mtrace_snapshot *s;
    mtrace_site site = test_site("a.c", 1), big = test_site("big.c", 1);
    (void)state;
    mtrace_stop();
    start_with(2, 16, 0);
    for (key = 1; key <= 4; key++) {
        track(key, 100, "a.c", 1);
    }
    assert_int_equal(mtrace_track_at(1, 5, 100, &site), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_track_at(1, 6, 101, &big), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_track_at(1, 7, 101, &big), MTRACE_ERR_FULL);
    s = take(0);
    expect_table(
        group(s, NULL, MTRACE_BY_LINE),
        "mtrace: 400 B in 4 blocks held, 400 B at the peak; 2 of 2 lines\n"
        "      SIZE      %     COUNT     AT PEAK  WHERE\n"
        "   400 B    100.0         4     400 B   *a.c:1 f\n"
        "     0 B      0.0         0       0 B   *big.c:1 f\n"
        "mtrace's own memory 1024 KiB; 3 blocks (302 B) not traced: rows marked * are too low\n");
    expect_report(group(s, NULL, MTRACE_BY_LINE), MTRACE_STYLE_WARNINGS, 0, 0,
                  "a.c:1: warning: 400 B in 4 blocks not freed, allocated in f\n"
                  "mtrace's own memory 1024 KiB; 3 blocks (302 B) not traced: rows "
                  "marked * are too low\n");
}

static void test_footer_of_frees(void **state) {
    mtrace_site site = test_site("a.c", 1);
    void *block = malloc(10);
    mtrace_rows *s;
    (void)state;
    mtrace_free_at(block, &site);
    assert_int_equal(mtrace_track_at(0, 4096, 10, &site), MTRACE_OK);
    assert_int_equal(mtrace_track_at(0, 4096, 20, &site), MTRACE_OK); /* freed unseen */
    s = group(take(0), NULL, MTRACE_BY_LINE);
    expect_table(s, "mtrace: 20 B in 1 block held, 20 B at the peak; 1 of 1 line\n"
                    "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                    "    20 B    100.0         1      20 B    a.c:1 f\n"
                    "mtrace's own memory 1024 KiB; 1 foreign free; 1 stale trace replaced\n");
    expect_report(s, MTRACE_STYLE_PYTHON, 0, 0,
                  "a.c:1: size=20 B, count=1, average=20 B\n"
                  "mtrace's own memory 1024 KiB; 1 foreign free; 1 stale trace replaced\n");
    mtrace_free_at(malloc(10), &site);
    assert_int_equal(mtrace_track_at(0, 4096, 30, &site), MTRACE_OK);
    s = group(take(0), NULL, MTRACE_BY_LINE);
    expect_report(s, MTRACE_STYLE_WARNINGS, 0, 0,
                  "a.c:1: warning: 30 B in 1 block not freed, allocated in f\n"
                  "mtrace's own memory 1024 KiB; 2 foreign frees; 2 stale traces replaced\n");
}

/* The site table is full: allocations go to "<other>". The name table too: names are lost. */
static void test_footer_of_losses(void **state) {
    mtrace_site third = test_site("a.c", 3);
    (void)state;
    mtrace_stop();
    start_with(32, 2, 0);
    track(1, 1, "a.c", 1);
    track(2, 2, "a.c", 2);
    assert_int_equal(mtrace_track_at(0, 4096, 4, &third), MTRACE_OK);
    expect_table(
        group(take(0), NULL, MTRACE_BY_LINE),
        "mtrace: 7 B in 3 blocks held, 7 B at the peak; 3 of 3 lines\n"
        "      SIZE      %     COUNT     AT PEAK  WHERE\n"
        "     4 B     57.1         1       4 B    <other>\n"
        "     2 B     28.6         1       2 B    a.c:2 f\n"
        "     1 B     14.3         1       1 B    a.c:1 f\n"
        "mtrace's own memory 1024 KiB; site table full: 1 allocation charged to <other>\n");
    mtrace_stop();
    start_with(32, 16, 8);
    track(1, 1, "a.c", 1);
    track(2, 2, "long.c", 2);
    output_clear();
    assert_int_equal(mtrace_report(group(take(0), NULL, MTRACE_BY_LINE), NULL), MTRACE_OK);
    forget_hash();
    assert_string_equal(
        output.text, "mtrace: 3 B in 2 blocks held, 3 B at the peak; 2 of 2 lines\n"
                     "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                     "     2 B     66.7         1       2 B    <unknown 1234abcd>:2 f\n"
                     "     1 B     33.3         1       1 B    a.c:1 f\n"
                     "mtrace's own memory 1024 KiB; name table full: some names are <unknown>\n");
}

/* --- writers --- */

typedef struct calls {
    size_t count;
    size_t not_lines; /* calls with other than one whole line */
    size_t longest;
} calls;

static void count_call(const char *text, size_t length, void *user) {
    calls *c = (calls *)user;
    c->count++;
    c->longest = length > c->longest ? length : c->longest;
    c->not_lines += length == 0 || memchr(text, '\n', length) != text + length - 1 ? 1u : 0u;
    test_write(text, length, &output);
}

static calls report_calls(const mtrace_rows *s, mtrace_style style) {
    mtrace_report_desc desc = styled(style, 0, 0);
    calls c;
    memset(&c, 0, sizeof c);
    desc.write = count_call;
    desc.write_user = &c;
    output_clear();
    assert_int_equal(mtrace_report(s, &desc), MTRACE_OK);
    return c;
}

static void test_whole_lines(void **state) {
    mtrace_rows *s;
    int style;
    (void)state;
    story_old();
    s = group(take(0), NULL, MTRACE_BY_LINE);
    for (style = MTRACE_STYLE_TABLE; style <= MTRACE_STYLE_WARNINGS; style++) {
        static const size_t lines[] = {6, 3, 4, 3};
        calls c = report_calls(s, (mtrace_style)style);
        assert_int_equal(c.count, lines[style]);
        assert_int_equal(c.not_lines, 0);
    }
}

/* A line of 256 bytes comes whole, a longer one in pieces that make it up. */
static void test_longest_line(void **state) {
    const char *rest = ":1: size=5 B, count=1, average=5 B\n";
    size_t length;
    (void)state;
    for (length = 254; length <= 258; length++) {
        char name[300], wanted[400];
        calls c;
        mtrace_clear();
        memset(name, 'n', sizeof name);
        name[length - strlen(rest)] = '\0';
        track(1, 5, name, 1);
        c = report_calls(group(take(0), NULL, MTRACE_BY_LINE), MTRACE_STYLE_PYTHON);
        snprintf(wanted, sizeof wanted, "%s%s", name, rest);
        assert_string_equal(output.text, wanted);
        assert_int_equal(c.count, length <= 256 ? 1 : 2);
        assert_int_equal(c.longest, length <= 256 ? length : 256);
    }
}

/* The report's own writer, else the one of the start, else none. */
static void test_writers(void **state) {
    mtrace_rows *s;
    mtrace_report_desc desc = styled(MTRACE_STYLE_PYTHON, 0, 0);
    mtrace_desc start = MTRACE_ZERO_;
    calls c;
    (void)state;
    track(1, 5, "a.c", 1);
    s = group(take(0), NULL, MTRACE_BY_LINE);
    assert_int_equal(mtrace_report(s, &desc), MTRACE_OK); /* the one of the start */
    assert_string_equal(output.text, "a.c:1: size=5 B, count=1, average=5 B\n");
    output_clear();
    assert_int_equal(mtrace_report(s, NULL), MTRACE_OK);
    assert_string_equal(output.text, "mtrace: 5 B in 1 block held, 5 B at the peak; 1 of 1 line\n"
                                     "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                                     "     5 B    100.0         1       5 B    a.c:1 f\n"
                                     "mtrace's own memory 1024 KiB\n");
    output_clear();
    mtrace_stop();
    start.max_blocks = 32;
    start.max_sites = 16;
    start.memory = tracer_memory;
    start.memory_size = sizeof tracer_memory;
    assert_int_equal(mtrace_start(&start), MTRACE_OK);
    output_clear();
    assert_int_equal(mtrace_report(s, &desc), MTRACE_ERR_NO_WRITER);
    assert_int_equal(mtrace_report(s, NULL), MTRACE_ERR_NO_WRITER);
    assert_int_equal(mtrace_print_top(3), MTRACE_ERR_NO_WRITER);
    assert_int_equal(mtrace_print_peak(3), MTRACE_ERR_NO_WRITER);
    assert_int_equal(mtrace_print_leaks(), MTRACE_ERR_NO_WRITER);
    assert_int_equal(mtrace_print_diff(take(1), 3), MTRACE_ERR_NO_WRITER);
    expect_all_given_back();
    c = report_calls(s, MTRACE_STYLE_PYTHON);
    assert_int_equal(c.count, 1);
    assert_string_equal(output.text, "a.c:1: size=5 B, count=1, average=5 B\n");
}

/* An error is not silence: one line says why nothing else comes. */
static void expect_reason(const char *line) {
    assert_string_equal(output.text, line);
    output_clear();
}

static mtrace_result print_by(mtrace_key_type key_type, size_t top) {
    mtrace_print_desc desc = MTRACE_ZERO_;
    desc.key_type = key_type;
    desc.report.top = top;
    return mtrace_print(&desc);
}

static void test_bad_arguments(void **state) {
    mtrace_report_desc desc = styled(MTRACE_STYLE_TABLE, 0, 0);
    mtrace_rows *s = group(take(0), NULL, MTRACE_BY_LINE);
    volatile int bad = MTRACE_STYLE_WARNINGS + 1;
    (void)state;
    assert_int_equal(mtrace_report(NULL, &desc), MTRACE_ERR_ARGUMENT);
    expect_reason("mtrace: bad argument: no statistics to report\n");
    assert_int_equal(mtrace_report(NULL, NULL), MTRACE_ERR_ARGUMENT);
    expect_reason("mtrace: bad argument: no statistics to report\n");
    desc.style = (mtrace_style)bad;
    assert_int_equal(mtrace_report(s, &desc), MTRACE_ERR_ARGUMENT);
    expect_reason("mtrace: bad argument: no such MTRACE_STYLE_\n");
    desc.style = MTRACE_STYLE_TABLE;
    desc.colours = (mtrace_colours)bad;
    assert_int_equal(mtrace_report(s, &desc), MTRACE_ERR_ARGUMENT);
    expect_reason("mtrace: bad argument: no such MTRACE_COLOURS_\n");
    assert_int_equal(print_by(99, 3), MTRACE_ERR_ARGUMENT);
    expect_reason("mtrace: bad argument: no such MTRACE_BY_, or a flag that it cannot have\n");
    assert_int_equal(print_by(MTRACE_BY_FILE | MTRACE_KEY_ONCE, 0), MTRACE_ERR_ARGUMENT);
    expect_reason("mtrace: bad argument: no such MTRACE_BY_, or a flag that it cannot have\n");
}

/* The report's own writer gets the reason, too. */
static void test_reason_to_own_writer(void **state) {
    mtrace_report_desc desc = styled(MTRACE_STYLE_TABLE, 0, 0);
    calls c;
    (void)state;
    memset(&c, 0, sizeof c);
    mtrace_stop();
    desc.write = count_call;
    desc.write_user = &c;
    assert_int_equal(mtrace_report(NULL, &desc), MTRACE_ERR_ARGUMENT);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.not_lines, 0);
    expect_reason("mtrace: bad argument: no statistics to report\n");
}

/* --- the debug console's questions --- */

/* The footer of such a call, which takes a snapshot of its own. */
static const char *foot_now(void) {
    static char text[64];
    mtrace_snapshot *s;
    size_t with;
    test_give_kept_back(); /* may be larger */
    s = test_take(false);
    with = mtrace_get_tracer_memory();
    mtrace_snapshot_free(s);
    test_give_kept_back();
    assert_true(with > sizeof tracer_memory);
    snprintf(text, sizeof text, "mtrace's own memory %zu KiB\n", (with + 512) / 1024);
    return text;
}

static void expect_printed(mtrace_result result, const char *text, const char *foot) {
    char wanted[2048];
    assert_int_equal(result, MTRACE_OK);
    snprintf(wanted, sizeof wanted, "%s%s", text, foot);
    assert_string_equal(output.text, wanted);
    output_clear();
    test_give_kept_back();
}

static void test_print(void **state) {
    mtrace_snapshot *old;
    (void)state;
    story_old();
    old = take(0);
    track(8, 7000, "d.c", 1);
    assert_int_equal(mtrace_untrack_at(1, 8, NULL), MTRACE_OK);
    track(7, 400, "c.c", 578);
    assert_int_equal(mtrace_untrack_at(1, 5, NULL), MTRACE_OK);
    expect_printed(mtrace_print_top(1),
                   "mtrace: 432 B in 5 blocks held, 6.93 KiB at the peak; 1 of 3 lines\n"
                   "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                   "   400 B     92.6         1       0 B    c.c:578 f\n"
                   "    32 B      7.4         4      32 B    <other: 2 lines>\n",
                   foot_now());
    expect_printed(mtrace_print_top(0),
                   "mtrace: 432 B in 5 blocks held, 6.93 KiB at the peak; 3 of 3 lines\n"
                   "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                   "   400 B     92.6         1       0 B    c.c:578 f\n"
                   "    30 B      6.9         3      30 B    a.c:2 f\n"
                   "     2 B      0.5         1       2 B    a.c:5 f\n",
                   foot_now());
    expect_printed(print_by(MTRACE_BY_FILE, 0),
                   "mtrace: 432 B in 5 blocks held, 6.93 KiB at the peak; 2 of 2 files\n"
                   "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                   "   400 B     92.6         1       0 B    c.c\n"
                   "    32 B      7.4         4      32 B    a.c\n",
                   foot_now());
    expect_printed(mtrace_print_peak(2),
                   "mtrace: 6.93 KiB in 6 blocks held at the peak; 2 of 4 lines\n"
                   "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                   "  6.84 KiB   98.6         1    6.84 KiB  d.c:1 f\n"
                   "    66 B      0.9         1      66 B    b.c:1 f\n"
                   "    32 B      0.5         4      32 B    <other: 2 lines>\n",
                   foot_now());
    expect_printed(mtrace_print_diff(old, 1),
                   "mtrace: 432 B in 5 blocks, +334 B in +0; 1 of 2 changed lines\n"
                   "       DIFF        SIZE     DIFF   COUNT  WHERE\n"
                   "   +400 B       400 B         +1       1  c.c:578 f\n"
                   "    -66 B         0 B         -1       0  <other: 1 line>\n",
                   foot_now());
    expect_printed(mtrace_print(NULL),
                   "mtrace: 432 B in 5 blocks held, 6.93 KiB at the peak; 3 of 3 lines\n"
                   "      SIZE      %     COUNT     AT PEAK  WHERE\n"
                   "   400 B     92.6         1       0 B    c.c:578 f\n"
                   "    30 B      6.9         3      30 B    a.c:2 f\n"
                   "     2 B      0.5         1       2 B    a.c:5 f\n",
                   foot_now());
    expect_printed(mtrace_print_leaks(),
                   "c.c:578: warning: 400 B in 1 block not freed, allocated in f\n"
                   "a.c:2: warning: 30 B in 3 blocks not freed, allocated in f\n"
                   "a.c:5: warning: 2 B in 1 block not freed, allocated in f\n",
                   "");
    expect_all_given_back();
}

static void expect_not_tracing(mtrace_result result) {
    assert_int_equal(result, MTRACE_ERR_NOT_TRACING);
    expect_reason("mtrace: not tracing: mtrace_start() not called, or stopped\n");
}

/* Stopped, there is nothing to print but that; paused is not stopped. */
static test_output second;

static void expect_second(const mtrace_print_desc *desc, mtrace_result result, const char *text) {
    second.length = 0;
    second.text[0] = '\0';
    assert_int_equal(mtrace_print(desc), result);
    assert_string_equal(second.text, text);
}

/* Each field of the description, and text to a writer of its own. */
static void test_print_described(void **state) {
    mtrace_print_desc desc = MTRACE_ZERO_;
    (void)state;
    story_old();
    desc.old = take(0);
    track(8, 7000, "d.c", 1);
    assert_int_equal(mtrace_untrack_at(1, 8, NULL), MTRACE_OK);
    track(7, 400, "c.c", 578);
    desc.report.write = test_write;
    desc.report.write_user = &second;
    desc.report.style = MTRACE_STYLE_PYTHON;
    desc.report.top = 1;
    desc.key_type = MTRACE_BY_FILE;
    expect_second(&desc, MTRACE_OK, "c.c:0: size=400 B (+400 B), count=1 (+1), average=400 B\n");
    desc.old = NULL;
    expect_second(&desc, MTRACE_OK, "c.c:0: size=400 B, count=1, average=400 B\n");
    desc.view = MTRACE_VIEW_PEAK;
    expect_second(&desc, MTRACE_OK, "d.c:0: size=7000 B, count=1, average=7000 B\n");
    desc.view = (mtrace_view)3;
    expect_second(&desc, MTRACE_ERR_ARGUMENT, "mtrace: bad argument: no such MTRACE_VIEW_\n");
    desc.view = MTRACE_VIEW_LIVE;
    desc.key_type = MTRACE_BY_SIZE_CLASS;
    desc.report.style = MTRACE_STYLE_LINES;
    assert_int_equal(mtrace_print(&desc), MTRACE_OK);
    assert_string_equal(output.text, "");
}

/* Filters apply to `old`, too, and to the baseline. A bad one is named. */
static void test_print_filtered(void **state) {
    mtrace_print_desc desc = MTRACE_ZERO_;
    mtrace_filter filters[2];
    (void)state;
    memset(filters, 0, sizeof filters);
    story_old();
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    track(7, 400, "c.c", 578);
    track(9, 30, "d.c", 2);
    desc.report.write = test_write;
    desc.report.write_user = &second;
    desc.report.style = MTRACE_STYLE_PYTHON;
    desc.key_type = MTRACE_BY_FILE;
    desc.filters = filters;
    desc.filter_count = 2;
    filters[0].file = "c.c";
    filters[1].file = "d*";
    expect_second(&desc, MTRACE_OK,
                  "c.c:0: size=400 B, count=1, average=400 B\n"
                  "d.c:0: size=30 B, count=1, average=30 B\n");
    desc.since_baseline = true;
    desc.filter_count = 1;
    expect_second(&desc, MTRACE_OK, "c.c:0: size=400 B (+400 B), count=1 (+1), average=400 B\n");
    desc.since_baseline = false;
    desc.old = take(0);
    assert_int_equal(mtrace_untrack_at(1, 7, NULL), MTRACE_OK);
    assert_int_equal(mtrace_untrack_at(1, 9, NULL), MTRACE_OK);
    expect_second(&desc, MTRACE_OK, "c.c:0: size=0 B (-400 B), count=0 (-1)\n");
    filters[0].line = 5;
    expect_second(&desc, MTRACE_ERR_ARGUMENT,
                  "mtrace: bad argument: a filter with a field that would be ignored\n");
    desc.filters = NULL;
    expect_second(&desc, MTRACE_ERR_ARGUMENT,
                  "mtrace: bad argument: a filter with a field that would be ignored\n");
}

static void test_print_when_stopped(void **state) {
    mtrace_snapshot *old = take(0);
    (void)state;
    mtrace_stop();
    expect_not_tracing(mtrace_print_top(3));
    expect_not_tracing(print_by(MTRACE_BY_DOMAIN, 3));
    expect_not_tracing(mtrace_print_peak(3));
    expect_not_tracing(mtrace_print_diff(old, 3));
    expect_not_tracing(mtrace_print_leaks());
    start_with(32, 16, 0);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    assert_int_equal(mtrace_print_leaks(), MTRACE_OK);
    assert_string_equal(output.text, "");
}

/* A snapshot can be reported after a stop, to a writer given with the report. */
static void test_report_after_stop(void **state) {
    mtrace_rows *s;
    mtrace_snapshot *snapshot;
    (void)state;
    story_old();
    snapshot = take(0);
    mtrace_stop();
    memset(tracer_memory, 'X', sizeof tracer_memory);
    s = group(snapshot, NULL, MTRACE_BY_LINE);
    report_calls(s, MTRACE_STYLE_WARNINGS);
    assert_string_equal(output.text, "b.c:1: warning: 66 B in 1 block not freed, allocated in f\n"
                                     "a.c:2: warning: 30 B in 3 blocks not freed, allocated in f\n"
                                     "a.c:5: warning: 2 B in 1 block not freed, allocated in f\n");
    memset(tracer_memory, 0, sizeof tracer_memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_table),
        TEST(test_table_of_every_key),
        TEST(test_table_of_size_classes),
        TEST(test_table_of_differences),
        TEST(test_empty_table),
        TEST(test_top),
        TEST(test_lines_add_up),
        TEST(test_long_names),
        TEST(test_functions_of_long_paths),
        TEST(test_no_folder_in_common),
        TEST(test_columns_of_the_start),
        TEST(test_very_long_names),
        TEST(test_sizes),
        TEST(test_large_numbers),
        TEST(test_whole_table_fits),
        TEST(test_python_style),
        TEST(test_lines_style),
        TEST(test_warnings_style),
        TEST(test_no_warnings),
        TEST(test_footer_of_drops),
        TEST(test_footer_of_frees),
        TEST(test_footer_of_losses),
        TEST(test_whole_lines),
        TEST(test_longest_line),
        TEST(test_writers),
        TEST(test_bad_arguments),
        TEST(test_reason_to_own_writer),
        TEST(test_print),
        TEST(test_print_described),
        TEST(test_print_filtered),
        TEST(test_print_when_stopped),
        TEST(test_report_after_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

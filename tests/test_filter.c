/* Patterns as Python's fnmatch and filters as tracemalloc's: the vectors are CPython 3.11's, and
   random patterns are put to Python itself. Then what mtrace has beside: functions, types, blocks,
   memory of the caller's. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"
#include "support/exact_memory.h"
#include "support/tools.h"
#include "support/traces.h"

/* --- patterns --- */

typedef struct pair {
    const char *name;
    const char *pattern;
} pair;

/* A ^ is no negation. Nothing is between c and a: "[!c-a]" is any character. */
/* clang-format off */
static const pair matching[] = {
    {"", ""}, {"", "*"}, {NULL, "*"}, {"", NULL}, {"abc", "abc"}, {"abc", "a*"}, {"abc", "abc*"},
    {"abc", "a*c"}, {"abcdcx", "a*cx"}, {"abcde", "a*c*e"}, {"abcbdefeg", "a*bd*eg"},
    {"a.c", "[ab].c"}, {"b.c", "[ab].c"}, {"b.c", "[!a]*"}, {".c", "[!a]*"}, {"[a", "[a"},
    {"]x", "[]a]x"}, {"ax", "[]a]x"}, {"ax", "[a-c]x"}, {"cx", "[a-c]x"}, {"zx", "[!c-a]x"},
    {"a\\*", "a\\*"}, {"a\\bc", "a\\*"}, {"/x/y.c", "*.c"}, {".c", "*.c"}, {"a\nb", "a*b"},
    {"a\nb", "a?b"}, {"^", "[^a]"}, {"a", "[^a]"}, {"a", "[!^]"}, {"a*c", "a[*]c"},
    {"a-c", "a[-]c"}, {"[", "[[]"}, {"[]", "[]"}, {"[!]", "[!]"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
     "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"}};
/* clang-format on */

/* clang-format off */
static const pair different[] = {
    {"abc", ""}, {"", "abc"}, {"", "?"}, {NULL, "?"}, {"abc", "abcd"}, {"abc", "def"},
    {"abc", "b*"}, {"abc", "abcd*"}, {"abb", "a*c"}, {"abcdce", "a*cx"}, {"abcdd", "a*c*e"},
    {"abcbdefef", "a*bd*eg"}, {"a.c", "[!a]*"}, {"a", "[a"}, {"cx", "[c-a]x"}, {"ax", "[c-a]x"},
    {"a*", "a\\*"}, {"b", "[^a]"}, {"^", "[!^]"}, {"ab", "a"}, {"ab", "b"}, {"d", "[a-c]"},
    {"", "[!a]"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"}};
/* clang-format on */

static void expect_match(const char *name, const char *pattern, bool wanted) {
    if (test_match(name, pattern) != wanted) {
        fail_msg("'%s' and the pattern '%s' should%s match", name == NULL ? "NULL" : name,
                 pattern == NULL ? "NULL" : pattern, wanted ? "" : " not");
    }
}

static void test_patterns_as_cpython(void **state) {
    size_t i;
    (void)state;
    for (i = 0; i < sizeof matching / sizeof *matching; i++) {
        expect_match(matching[i].name, matching[i].pattern, true);
    }
    for (i = 0; i < sizeof different / sizeof *different; i++) {
        expect_match(different[i].name, different[i].pattern, false);
    }
}

/* A file that differs in case or kind of slash is one on Windows alone. */
static void test_case_and_slashes(void **state) {
    static const pair same_on_windows[] = {{"aBC", "ABc"},    {"aBcDe", "Ab*dE"}, {"a/b", "a\\b"},
                                           {"a\\b", "a/b"},   {"A", "[a-c]"},     {"a/b", "a\\*"},
                                           {"a\\b", "a[/]b"}, {"/", "[\\]"}};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof same_on_windows / sizeof *same_on_windows; i++) {
        expect_match(same_on_windows[i].name, same_on_windows[i].pattern, test_folds_names());
    }
}

static void test_patterns_of_code_points(void **state) {
    (void)state;
    expect_match("\xc3\xa4.c", "?.c", true); /* one character of two bytes */
    expect_match("\xc3\xa4.c", "??.c", false);
    expect_match("\xf0\x9f\x98\x80", "?", true);
    expect_match("\xc3\xa4", "[\xc3\xa4\xc3\xb6]", true);
    expect_match("\xc3\xa5", "[\xc3\xa4\xc3\xb6]", false); /* shares its first byte */
    expect_match("\xc3\xa5", "[\xc3\xa4-\xc3\xb6]", true);
    expect_match("\xe2\x82\xac", "[\xc3\xa4-\xf0\x9f\x98\x80]", true);
    expect_match("\xe2\x82\xac", "[!\xc3\xa4]", true);
    expect_match("a\xc3\xa4z", "a*z", true);
    expect_match("\xc3\xa4", "*\xa4", false); /* a half of it is none */
}

static void test_patterns_of_invalid_bytes(void **state) {
    (void)state;
    expect_match("\xff", "?", true);
    expect_match("\xff", "\xff", true);
    expect_match("\xff", "\xfe", false);
    expect_match("\xc3", "\xc3", true); /* cut */
    expect_match("\xc3z", "??", true);
    expect_match("\xe2\x82", "??", true);
    expect_match("\xe2\x82", "?", false);
    expect_match("\xc0\xaf", "??", true);           /* overlong */
    expect_match("\xed\xa0\x80", "???", true);      /* a surrogate */
    expect_match("\xf4\x90\x80\x80", "????", true); /* above U+10FFFF */
    expect_match("\xf4\x8f\xbf\xbf", "?", true);    /* U+10FFFF */
    expect_match("\xe0\x9f\xbf", "???", true);      /* overlong */
    expect_match("\xf0\x8f\xbf\xbf", "????", true); /* overlong */
    expect_match("\x9f", "[\x80-\xbf]", true);      /* a range of bytes */
    expect_match("\xc2\x9f", "[\x80-\xbf]", false); /* U+009F is none of them */
    expect_match("\xff", "[!\xfe]", true);
    expect_match("\xff", "[\xe2\x82\xac-\xff]", true); /* behind U+20AC, as U+DCFF is */
    expect_match("\xf0\x9f\x98\x80", "[!\xff]", true);
}

/* Random names and patterns of few characters, as hexadecimal bytes, with Python's answer. */
static const char *const script =
    "TEST_ONCE=1 python3 -c '" /* see support/once */
    "import fnmatch, os, random, sys\n"
    "r = random.Random(%u)\n"
    "sets = (b\"ab]-[!*?^\\\\\", b\"abc-[]!\", b\"a*b?\", "
    "b\"a[]!-\\xc3\\xa4\\xe2\\x82\\xac\\xff*?\", "
    "b\"ab]-[!*?^\\\\&|~#\\n./\")\n"
    "def some(s, n): return bytes(r.choice(s) for i in range(r.randrange(n)))\n"
    "def pattern(s): return some(s, 9) if r.randrange(2) else "
    "some(s, 3) + b\"[\" + some(s, 7) + b\"]\" + some(s, 3)\n"
    "for i in range(40000):\n"
    "    s = sets[i %% len(sets)]\n"
    "    p, n = pattern(s), some(s, 6)\n"
    "    if r.randrange(4) == 0: n = bytes(r.choice(s) if c in b\"*?\" else c for c in p)\n"
    "    m = fnmatch.fnmatchcase(os.fsdecode(n), os.fsdecode(p))\n"
    "    print(n.hex() or \"-\", p.hex() or \"-\", int(m))\n"
    "'";

static void read_bytes(const char *text, char *bytes) {
    size_t n = 0;
    unsigned byte;
    for (; sscanf(text, "%2x", &byte) == 1; text += 2) {
        bytes[n++] = (char)byte;
    }
    bytes[n] = '\0';
}

static void test_random_patterns_as_python(void **state) {
    char command[2048], line[256], name_text[100], pattern_text[100], name[64], pattern[64];
    int matches, count = 0, matched = 0;
    FILE *python;
    (void)state;
    assert_true((size_t)snprintf(command, sizeof command, script, 11u) < sizeof command);
    python = popen(command, "r");
    assert_non_null(python);
    while (fgets(line, sizeof line, python) != NULL) {
        assert_int_equal(sscanf(line, "%99s %99s %d", name_text, pattern_text, &matches), 3);
        read_bytes(name_text, name);
        read_bytes(pattern_text, pattern);
        if (test_match(name, pattern) != (matches != 0)) {
            pclose(python);
            fail_msg("Python says: %s", line);
        }
        count++;
        matched += matches;
    }
    assert_int_equal(pclose(python), 0);
    assert_int_equal(count, 40000);
    assert_in_range(matched, 4000, 36000); /* both answers were asked for */
}

/* --- one filter, one frame --- */

static mtrace_filter of_file(bool exclusive, const char *file) {
    mtrace_filter f = MTRACE_ZERO_;
    f.exclusive = exclusive;
    f.file = file;
    return f;
}

static mtrace_filter of_line(bool exclusive, const char *file, uint32_t line) {
    mtrace_filter f = of_file(exclusive, file);
    f.has_line = true;
    f.line = line;
    return f;
}

static mtrace_filter of_domain(bool exclusive, uint32_t domain) {
    mtrace_filter f = MTRACE_ZERO_;
    f.exclusive = exclusive;
    f.has_domain = true;
    f.domain = domain;
    return f;
}

static mtrace_filter any_frame(mtrace_filter f) {
    f.all_frames = true;
    return f;
}

/* Does a filter let this one trace through? */
static bool lets_through(mtrace_filter f, const char *frames) {
    test_trace trace = MTRACE_ZERO_;
    mtrace_snapshot *s, *filtered;
    size_t left;
    trace.count = 1;
    trace.size = 1;
    trace.frames = frames;
    s = test_make(&trace, 1);
    assert_int_equal(mtrace_snapshot_filter(&filtered, s, &f, 1, NULL), MTRACE_OK);
    left = mtrace_snapshot_get_parts(filtered).trace_count;
    assert_true(left <= 1);
    mtrace_snapshot_free(filtered);
    mtrace_snapshot_free(s);
    return left == 1;
}

/* What "abc" and "12356" at lines 0, 5 and 10 say, as one number in binary. */
static unsigned frames_matched(mtrace_filter f) {
    static const char *const frames[] = {"abc:0",   "abc:5",   "abc:10",
                                         "12356:0", "12356:5", "12356:10"};
    unsigned bits = 0, i;
    for (i = 0; i < 6; i++) {
        bits = bits * 2 + lets_through(f, frames[i]);
    }
    return bits;
}

static void test_frames_as_cpython(void **state) {
    (void)state;
    assert_int_equal(frames_matched(of_file(false, "abc")), 070);
    assert_int_equal(frames_matched(of_file(true, "abc")), 007);
    assert_int_equal(frames_matched(of_line(false, "abc", 5)), 020);
    assert_int_equal(frames_matched(of_line(true, "abc", 5)), 057);
    assert_int_equal(frames_matched(of_line(false, "abc", 0)), 040);
    assert_int_equal(frames_matched(of_line(true, "abc", 0)), 037);
    assert_int_equal(frames_matched(of_line(false, NULL, 10)), 011);
    assert_true(lets_through(of_file(false, "<unknown>"), "<unknown>:0"));
    assert_false(lets_through(of_file(true, "<unknown>"), "<unknown>:0"));
}

static void test_compiled_files_as_cpython(void **state) {
    (void)state;
    assert_true(lets_through(of_file(false, "a.py"), "a.pyc:1"));
    assert_true(lets_through(of_file(false, "a.pyc"), "a.py:1"));
    assert_true(lets_through(of_file(false, "*.pyc"), "a.py:1"));
    assert_true(lets_through(of_file(false, ".pyc"), ".py:1"));
    assert_false(lets_through(of_file(false, "a.py"), "a.pyo:1"));
    assert_false(lets_through(of_file(false, "a.pyo"), "a.py:1"));
    assert_false(lets_through(of_file(false, "pyc"), "py:1"));
    assert_int_equal(lets_through(of_file(false, "a.PY"), "a.pyc:1"), test_folds_names());
    assert_false(test_match("a.pyc", "a.py")); /* a filter's rule, not the pattern's */
}

/* The four tracebacks of CPython's test: t1, t2, t3 and the unknown one. */
static void expect_tracebacks(mtrace_filter f, const char *wanted) {
    static const char *const frames[] = {"b:3 a:2", "b:5 b:4", "<unknown>:0 c:5", "<unknown>:0"};
    char text[5] = "";
    int i;
    for (i = 0; i < 4; i++) {
        text[i] = lets_through(f, frames[i]) ? 'T' : 'F';
    }
    assert_string_equal(text, wanted);
}

static void test_tracebacks_as_cpython(void **state) {
    (void)state;
    expect_tracebacks(any_frame(of_file(false, "b")), "TTFF");
    expect_tracebacks(of_file(false, "b"), "FTFF");
    expect_tracebacks(any_frame(of_file(true, "b")), "FFTT");
    expect_tracebacks(of_file(true, "b"), "TFTT");
    expect_tracebacks(of_file(true, "<unknown>"), "TTTF");
    expect_tracebacks(any_frame(of_file(false, "<unknown>")), "FFTT");
    expect_tracebacks(any_frame(of_file(true, "<unknown>")), "TTFF");
    expect_tracebacks(any_frame(of_line(false, "*", 3)), "TFFF");
    expect_tracebacks(of_line(false, "*", 3), "FFFF");
}

/* Name, line and function are of one frame. */
static void test_all_of_one_frame(void **state) {
    mtrace_filter f = any_frame(of_line(false, "*/m.c", 1));
    (void)state;
    assert_false(lets_through(f, "/m.c:9 /a.c:1"));
    assert_true(lets_through(f, "/m.c:1 /a.c:9"));
    f = any_frame(of_file(false, "a.c"));
    f.function = "main";
    assert_false(lets_through(f, "main@m.c:1 load@a.c:2"));
    assert_true(lets_through(f, "main@a.c:1 load@m.c:2"));
}

static void test_functions(void **state) {
    mtrace_filter f = MTRACE_ZERO_;
    (void)state;
    f.function = "load_*";
    assert_true(lets_through(f, "main@m.c:1 load_image@a.c:2"));
    assert_false(lets_through(f, "load_image@a.c:2 main@m.c:1"));
    assert_true(lets_through(any_frame(f), "load_image@a.c:2 main@m.c:1"));
    assert_false(lets_through(f, "a.c:2")); /* no function is the empty name */
    f.function = "*";
    assert_true(lets_through(f, "a.c:2"));
    f.function = "";
    assert_true(lets_through(f, "a.c:2"));
    f.exclusive = true;
    assert_false(lets_through(f, "a.c:2"));
    assert_true(lets_through(f, "f@a.c:2"));
}

/* --- snapshots --- */

static mtrace_snapshot *filter(const mtrace_snapshot *s, const mtrace_filter *filters,
                               size_t count) {
    mtrace_snapshot *out;
    assert_int_equal(mtrace_snapshot_filter(&out, s, filters, count, NULL), MTRACE_OK);
    assert_ptr_not_equal(out, s);
    return out;
}

static void expect_filtered(const mtrace_snapshot *s, const mtrace_filter *filters, size_t count,
                            const char *wanted) {
    mtrace_snapshot *out = filter(s, filters, count);
    test_expect_traces(out, wanted);
    mtrace_snapshot_free(out);
}

#define A2 "0 30 3 b.py:4>a.py:2/3"
#define A5 "1 2 1 b.py:4>a.py:5/3"
#define B1 "2 66 1 b.py:1/1"
#define UN "3 7 1 <unknown>:0/1"

static void test_snapshot_as_cpython(void **state) {
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *less;
    mtrace_filter f[2];
    (void)state;
    f[0] = of_file(true, "b.py");
    less = filter(s1, f, 1);
    test_expect_traces(less, A2 " | " A5 " | " UN);
    f[0] = of_line(false, "a.py", 2);
    f[1] = of_line(false, "a.py", 5);
    expect_filtered(less, f, 2, A2 " | " A5);
    expect_filtered(less, f + 1, 1, A5);
    mtrace_snapshot_free(less);
    f[0] = of_file(true, "a.py");
    f[0].has_domain = true;
    f[0].domain = 1;
    expect_filtered(s1, f, 1, A2 " | " B1 " | " UN);
    f[0].exclusive = false;
    expect_filtered(s1, f, 1, A5);
    f[0] = of_domain(true, 3);
    expect_filtered(s1, f, 1, A2 " | " A5 " | " B1);
    f[0] = of_domain(false, 3);
    expect_filtered(s1, f, 1, UN);
    f[0] = of_domain(false, 0);
    expect_filtered(s1, f, 1, A2);
    test_expect_traces(s1, TEST_S1_TRACES); /* the original is untouched */
    mtrace_snapshot_free(s1);
}

/* Any of those that include, and none of those that exclude. */
static void test_include_and_exclude(void **state) {
    static const test_trace traces[] = {{1, 0, 1, "/src/a.c:1", 1, NULL},
                                        {1, 0, 2, "/src/b.c:1", 1, NULL},
                                        {1, 1, 4, "/lib/a.c:1", 1, NULL},
                                        {1, 1, 8, "/lib/b.c:1", 1, NULL}};
    mtrace_snapshot *s = TEST_MAKE(traces);
    mtrace_filter f[3];
    (void)state;
    f[0] = of_file(false, "/src/*");
    f[1] = of_file(true, "*/a.c");
    expect_filtered(s, f, 2, "0 2 1 /src/b.c:1/1");
    expect_filtered(s, f + 1, 1, "0 2 1 /src/b.c:1/1 | 1 8 1 /lib/b.c:1/1");
    f[2] = of_domain(false, 1);
    expect_filtered(s, f, 3, "0 2 1 /src/b.c:1/1 | 1 8 1 /lib/b.c:1/1");
    f[1] = f[2];
    f[0] = of_file(false, "*/a.c");
    expect_filtered(s, f, 2, "0 1 1 /src/a.c:1/1 | 1 4 1 /lib/a.c:1/1 | 1 8 1 /lib/b.c:1/1");
    f[0] = of_file(true, "*/a.c");
    f[1] = of_file(true, "/lib/*");
    expect_filtered(s, f, 2, "0 2 1 /src/b.c:1/1");
    f[1] = of_file(false, "nothing");
    expect_filtered(s, f + 1, 1, "");
    memset(f, 0, sizeof f); /* zero matches everything */
    expect_filtered(s, f, 1,
                    "0 1 1 /src/a.c:1/1 | 0 2 1 /src/b.c:1/1 | 1 4 1 /lib/a.c:1/1 | "
                    "1 8 1 /lib/b.c:1/1");
    f[0].exclusive = true;
    expect_filtered(s, f, 1, "");
    mtrace_snapshot_free(s);
}

static void test_types(void **state) {
    static const test_trace traces[] = {{1, 0, 1, "a.c:1", 1, "struct image"},
                                        {1, 0, 2, "a.c:2", 1, "int"},
                                        {1, 0, 4, "b.c:3", 1, "struct image"},
                                        {1, 0, 8, "a.c:4", 1, NULL}};
    mtrace_snapshot *s = TEST_MAKE(traces);
    mtrace_filter f = MTRACE_ZERO_;
    (void)state;
    f.type = "struct *";
    expect_filtered(s, &f, 1, "0 1 1 a.c:1/1 | 0 4 1 b.c:3/1");
    f.file = "a.c";
    expect_filtered(s, &f, 1, "0 1 1 a.c:1/1");
    f.exclusive = true; /* drops only rows of that type and that file */
    expect_filtered(s, &f, 1, "0 2 1 a.c:2/1 | 0 4 1 b.c:3/1 | 0 8 1 a.c:4/1");
    f.file = NULL;
    f.type = "";
    expect_filtered(s, &f, 1, "0 1 1 a.c:1/1 | 0 2 1 a.c:2/1 | 0 4 1 b.c:3/1");
    mtrace_snapshot_free(s);
}

static void expect_same_blocks(const mtrace_snapshot *a, const mtrace_snapshot *b) {
    mtrace_block x, y;
    size_t i;
    for (i = 0; test_block(&x, a, i); i++) {
        assert_true(test_block(&y, b, i));
        assert_int_equal(x.address, y.address);
        assert_int_equal(x.size, y.size);
        assert_int_equal(x.serial, y.serial);
        assert_string_equal(x.file, y.file);
        assert_ptr_not_equal(x.file, y.file);
        assert_ptr_not_equal(x.traceback.frames, y.traceback.frames);
    }
    assert_false(test_block(&y, b, i));
}

static void test_no_filter_is_a_copy(void **state) {
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *copy = filter(s1, NULL, 0);
    mtrace_filter f = of_file(false, "b.py");
    (void)state;
    test_expect_compare(copy, s1, MTRACE_BY_TRACEBACK,
                        "b.py:1 66 +0 1 +0 | b.py:4>a.py:2 30 +0 3 +0 | <unknown>:0 7 +0 1 +0 | "
                        "b.py:4>a.py:5 2 +0 1 +0");
    expect_same_blocks(s1, copy);
    mtrace_snapshot_free(s1);
    test_expect_traces(copy, TEST_S1_TRACES); /* it needs the original no more */
    expect_filtered(copy, &f, 1, B1);
    mtrace_snapshot_free(copy);
}

/* Blocks of dropped rows are dropped. The others keep their rows. */
static void test_blocks(void **state) {
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *less;
    mtrace_filter f = of_file(true, "a.py");
    mtrace_block block = MTRACE_ZERO_;
    (void)state;
    less = filter(s1, &f, 1);
    assert_int_equal(mtrace_snapshot_get_parts(less).trace_count, 2);
    assert_true(test_block(&block, less, 0));
    assert_int_equal(block.size, 66);
    assert_int_equal(block.domain, 2);
    assert_string_equal(block.file, "b.py");
    assert_int_equal(block.address, 3000);
    assert_true(test_block(&block, less, 1));
    assert_int_equal(block.size, 7);
    assert_string_equal(block.file, "<unknown>");
    assert_false(test_block(&block, less, 2));
    mtrace_snapshot_free(less);
    f.exclusive = false;
    f.has_line = true;
    f.line = 5;
    less = filter(s1, &f, 1);
    assert_true(test_block(&block, less, 0));
    assert_int_equal(block.size, 2);
    assert_int_equal(block.traceback.count, 2);
    assert_int_equal(block.traceback.frames[0].line, 4);
    assert_false(test_block(&block, less, 1));
    mtrace_snapshot_free(less);
    mtrace_snapshot_free(s1);
}

/* A snapshot without blocks stays one. The view and the totals of the whole are kept. */
static void test_the_rest_is_kept(void **state) {
    mtrace_filter f = of_file(false, "a.c");
    mtrace_site sites[2];
    mtrace_snapshot *s, *less;
    mtrace_snapshot_parts whole, parts;
    (void)state;
    test_start(32, 8);
    sites[0] = test_site("a.c", 1);
    sites[1] = test_site("b.c", 2);
    assert_int_equal(mtrace_track_at(0, 320, 100, &sites[0]), MTRACE_OK);
    assert_int_equal(mtrace_track_at(9, 640, 30, &sites[1]), MTRACE_OK);
    assert_int_equal(mtrace_untrack_at(0, 320, NULL), MTRACE_OK);
    s = test_take(false);
    mtrace_snapshot_set_view(s, MTRACE_VIEW_PEAK);
    less = filter(s, &f, 1);
    test_expect_statistics(less, MTRACE_BY_LINE, "a.c:1 100 1");
    mtrace_snapshot_set_view(less, MTRACE_VIEW_LIVE);
    test_expect_statistics(less, MTRACE_BY_LINE, "");
    test_expect_statistics(s, MTRACE_BY_LINE, "a.c:1 100 1 | b.c:2 30 1");
    assert_false(mtrace_snapshot_get_parts(less).has_blocks);
    whole = mtrace_snapshot_get_parts(s);
    parts = mtrace_snapshot_get_parts(less);
    assert_int_equal(parts.traced_memory.current, 30);
    assert_int_equal(parts.traced_memory.peak, 130);
    assert_int_equal(parts.info.sites, whole.info.sites);
    assert_int_equal(parts.generation, whole.generation);
    assert_false(parts.has_blocks);
    mtrace_snapshot_free(less);
    mtrace_snapshot_free(s);
}

static void test_bad_arguments(void **state) {
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *out = s1;
    mtrace_filter f = MTRACE_ZERO_;
    (void)state;
    assert_int_equal(mtrace_snapshot_filter(&out, NULL, &f, 1, NULL), MTRACE_ERR_ARGUMENT);
    assert_null(out);
    out = s1;
    assert_int_equal(mtrace_snapshot_filter(&out, s1, NULL, 1, NULL), MTRACE_ERR_ARGUMENT);
    assert_null(out);
    mtrace_snapshot_free(s1);
}

/* A field that would be ignored is an error, so that a filter never keeps more than it seems to. */
static void expect_refused(mtrace_filter f) {
    mtrace_filter two[2] = {MTRACE_ZERO_, f};
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *out = s1;
    assert_int_equal(mtrace_snapshot_filter(&out, s1, &f, 1, NULL), MTRACE_ERR_ARGUMENT);
    assert_null(out);
    assert_int_equal(mtrace_snapshot_filter(&out, s1, two, 2, NULL), MTRACE_ERR_ARGUMENT);
    mtrace_snapshot_free(s1);
}

static void test_no_field_is_ignored(void **state) {
    mtrace_filter f = of_line(false, "a.py", 2);
    (void)state;
    f.has_line = false;
    expect_refused(f);
    f = of_domain(true, 3);
    f.has_domain = false;
    expect_refused(f);
    f = any_frame(of_domain(true, 3));
    expect_refused(f);
    f.type = "int";
    expect_refused(f);
}

/* --- the caller's memory --- */

static mtrace_result filter_in(mtrace_buffer *memory, const void *snapshot) {
    const mtrace_snapshot *s = (const mtrace_snapshot *)snapshot;
    mtrace_filter f = of_file(true, "b.py");
    mtrace_snapshot *out = (mtrace_snapshot *)(void *)memory;
    mtrace_result result = mtrace_snapshot_filter(&out, s, &f, 1, memory);
    if (result == MTRACE_OK) {
        test_expect_traces(out, A2 " | " A5 " | " UN);
        mtrace_snapshot_free(out);
    } else {
        assert_null(out);
    }
    return result;
}

/* Also a snapshot made of parts asks, and for the same. */
static void test_callers_memory(void **state) {
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *none;
    mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(s1);
    mtrace_buffer asked = MTRACE_ZERO_;
    size_t own = mtrace_get_tracer_memory();
    (void)state;
    assert_int_equal(mtrace_snapshot_make(&none, &parts, &asked), MTRACE_ERR_NO_MEMORY);
    assert_null(none);
    assert_int_equal(asked.size, test_needed(filter_in, s1));
    test_exact_memory(filter_in, s1);
    assert_int_equal(mtrace_get_tracer_memory(), own);
    mtrace_snapshot_free(s1);
}

/* In the tracer's memory it is counted while it is held. */
static void test_tracers_memory(void **state) {
    mtrace_snapshot *s1 = TEST_MAKE(test_s1), *copy;
    size_t own;
    (void)state;
    test_give_kept_back();
    own = mtrace_get_tracer_memory();
    copy = filter(s1, NULL, 0);
    assert_true(mtrace_get_tracer_memory() > own);
    mtrace_snapshot_free(copy);
    assert_int_equal(mtrace_get_tracer_memory(), own + test_kept_bytes());
    test_give_kept_back();
    assert_int_equal(mtrace_get_tracer_memory(), own);
    mtrace_snapshot_free(s1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_patterns_as_cpython),
        TEST(test_case_and_slashes),
        TEST(test_patterns_of_code_points),
        TEST(test_patterns_of_invalid_bytes),
        TEST(test_random_patterns_as_python),
        TEST(test_frames_as_cpython),
        TEST(test_compiled_files_as_cpython),
        TEST(test_tracebacks_as_cpython),
        TEST(test_all_of_one_frame),
        TEST(test_functions),
        TEST(test_snapshot_as_cpython),
        TEST(test_include_and_exclude),
        TEST(test_types),
        TEST(test_no_filter_is_a_copy),
        TEST(test_blocks),
        TEST(test_the_rest_is_kept),
        TEST(test_bad_arguments),
        TEST(test_no_field_is_ignored),
        TEST(test_callers_memory),
        TEST(test_tracers_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

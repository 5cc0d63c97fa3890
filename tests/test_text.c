/* Numbers in words: sizes, averages and rows as CPython 3.11 tracemalloc prints them. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include <locale.h>

#include "support/test.h"

static const char *program; /* runs this program in a command */

/* --- sizes --- */

typedef struct size_text {
    int64_t bytes;
    const char *plain;
    const char *with_sign;
} size_text;

static const size_text size_texts[] = {
    {0, "0 B", "+0 B"},
    {1, "1 B", "+1 B"},
    {99, "99 B", "+99 B"},
    {100, "100 B", "+100 B"},
    {1023, "1023 B", "+1023 B"},
    {1024, "1024 B", "+1024 B"},
    {10239, "10239 B", "+10239 B"},
    {10240, "10.0 KiB", "+10.0 KiB"},
    {10291, "10.0 KiB", "+10.0 KiB"}, /* 10.0498 */
    {10292, "10.1 KiB", "+10.1 KiB"}, /* 10.0508 */
    {10496, "10.2 KiB", "+10.2 KiB"}, /* 10.25: a half goes to the even digit */
    {11008, "10.8 KiB", "+10.8 KiB"}, /* 10.75 */
    {102399, "100.0 KiB", "+100.0 KiB"},
    {102400, "100 KiB", "+100 KiB"},
    {10484736, "10239 KiB", "+10239 KiB"},
    {10485759, "10240 KiB", "+10240 KiB"},
    {10485760, "10.0 MiB", "+10.0 MiB"},
    {104857599, "100.0 MiB", "+100.0 MiB"},
    {104857600, "100 MiB", "+100 MiB"},
    {1073741824, "1024 MiB", "+1024 MiB"},
    {10737418240, "10.0 GiB", "+10.0 GiB"},
    {1099511627776, "1024 GiB", "+1024 GiB"},
    {10995116277760, "10.0 TiB", "+10.0 TiB"},
    {108851651149824, "99.0 TiB", "+99.0 TiB"},
    {109951162777600, "100 TiB", "+100 TiB"},
    {1000000000000000000, "909495 TiB", "+909495 TiB"},
    {INT64_MAX, "8388608 TiB", "+8388608 TiB"},
    {-1, "0 B", "-1 B"},
    {-10239, "0 B", "-10239 B"},
    {-10240, "0 B", "-10.0 KiB"},
    {-1073741824, "0 B", "-1024 MiB"},
    {INT64_MIN, "0 B", "-8388608 TiB"},
};

enum { SIZE_TEXTS = sizeof size_texts / sizeof *size_texts };

/* --- buffers --- */

/* The first `room` bytes of a buffer get the text cut and terminated, the rest of it nothing. */
static void expect_cut(const char *buffer, size_t guarded, size_t room, const char *text) {
    size_t i, kept = strlen(text) < room ? strlen(text) : room == 0 ? 0 : room - 1;
    assert_memory_equal(buffer, text, kept);
    if (room > 0) {
        assert_int_equal(buffer[kept], '\0');
    }
    for (i = room; i < guarded; i++) {
        assert_int_equal(buffer[i], '#');
    }
}

static mtrace_row row_of(const char *file, uint32_t line, uint64_t size, uint64_t count) {
    mtrace_row row = MTRACE_ZERO_;
    row.file = file;
    row.line = line;
    row.size = size;
    row.count = count;
    return row;
}

static mtrace_row diff_of(uint64_t size, int64_t size_diff, uint64_t count, int64_t count_diff) {
    mtrace_row row = row_of("a.py", 5, size, count);
    row.size_diff = size_diff;
    row.count_diff = count_diff;
    return row;
}

static size_t format_row(char *buffer, size_t size, const mtrace_row *row, mtrace_key_type key_type,
                         bool is_diff) {
    mtrace_rows rows = MTRACE_ZERO_;
    rows.key_type = key_type;
    rows.is_diff = is_diff;
    return mtrace_format_row(buffer, size, &rows, row);
}

/* The row of a change holds the size twice: held now, and with a sign. */
static void expect_all_sizes(void) {
    char text[256], wanted[256];
    size_t i;
    for (i = 0; i < SIZE_TEXTS; i++) {
        int64_t bytes = size_texts[i].bytes;
        mtrace_row row = diff_of(bytes < 0 ? 0 : (uint64_t)bytes, bytes, 0, 0);
        snprintf(wanted, sizeof wanted, "a.py:5: size=%s (%s), count=0 (+0)", size_texts[i].plain,
                 size_texts[i].with_sign);
        format_row(text, sizeof text, &row, MTRACE_BY_LINE, true);
        assert_string_equal(text, wanted);
    }
}

static void test_sizes_as_cpython(void **state) {
    (void)state;
    expect_all_sizes();
}

static void test_row_cut_as_snprintf(void **state) {
    mtrace_row row = row_of("b.py", 1, 66, 1);
    const char *text = "b.py:1: size=66 B, count=1, average=66 B";
    char buffer[64];
    size_t room;
    (void)state;
    for (room = 0; room <= sizeof buffer; room++) {
        memset(buffer, '#', sizeof buffer);
        assert_int_equal(format_row(buffer, room, &row, MTRACE_BY_LINE, false), strlen(text));
        expect_cut(buffer, sizeof buffer, room, text);
    }
    assert_int_equal(format_row(NULL, 0, &row, MTRACE_BY_LINE, false), strlen(text));
}

/* --- rows --- */

static void expect_row(const mtrace_row *row, mtrace_key_type key_type, bool is_diff,
                       const char *text) {
    char buffer[256];
    memset(buffer, '#', sizeof buffer);
    assert_int_equal(format_row(buffer, sizeof buffer, row, key_type, is_diff), strlen(text));
    assert_string_equal(buffer, text);
}

static void expect_average(uint64_t size, uint64_t count, const char *text) {
    mtrace_row row = row_of("a.py", 2, size, count);
    expect_row(&row, MTRACE_BY_LINE, false, text);
}

static void expect_averages(void) {
    expect_average(66, 1, "a.py:2: size=66 B, count=1, average=66 B");
    expect_average(0, 0, "a.py:2: size=0 B, count=0");
    expect_average(0, 1, "a.py:2: size=0 B, count=1, average=0 B");
    expect_average(2, 3, "a.py:2: size=2 B, count=3, average=1 B");
    expect_average(1, 2, "a.py:2: size=1 B, count=2, average=0 B"); /* 0.5 */
    expect_average(3, 2, "a.py:2: size=3 B, count=2, average=2 B"); /* 1.5 */
    expect_average(5, 2, "a.py:2: size=5 B, count=2, average=2 B"); /* 2.5 */
    expect_average(1267, 10, "a.py:2: size=1267 B, count=10, average=127 B");
    expect_average(102400, 7, "a.py:2: size=100 KiB, count=7, average=14.3 KiB");
    expect_average(1099511627776, 3, "a.py:2: size=1024 GiB, count=3, average=341 GiB");
    expect_average(5000000000000000000u, 60000,
                   "a.py:2: size=4547474 TiB, count=60000, average=75.8 TiB");
    expect_average(1023 * 1024, 1000, "a.py:2: size=1023 KiB, count=1000, average=1048 B");
    expect_average(20479, 2, "a.py:2: size=20.0 KiB, count=2, average=10240 B"); /* 10239.5 */
}

static void test_averages_as_cpython(void **state) {
    (void)state;
    expect_averages();
}

static void expect_difference(uint64_t size, int64_t size_diff, uint64_t count, int64_t count_diff,
                              const char *text) {
    mtrace_row row = diff_of(size, size_diff, count, count_diff);
    expect_row(&row, MTRACE_BY_LINE, true, text);
}

static void test_differences_as_cpython(void **state) {
    (void)state;
    expect_difference(5002, 5000, 2, 1,
                      "a.py:5: size=5002 B (+5000 B), count=2 (+1), average=2501 B");
    expect_difference(0, -66, 0, -1, "a.py:5: size=0 B (-66 B), count=0 (-1)");
    expect_difference(10240, -10240, 2, 0,
                      "a.py:5: size=10.0 KiB (-10.0 KiB), count=2 (+0), average=5120 B");
    expect_difference(10, 0, 2, 1, "a.py:5: size=10 B (+0 B), count=2 (+1), average=5 B");
    expect_difference(
        1, INT64_MIN, 1, INT64_MIN,
        "a.py:5: size=1 B (-8388608 TiB), count=1 (-9223372036854775808), average=1 B");
}

/* Rows by file print line 0, as CPython's; keys it does not have print in the same form. */
static void test_every_key(void **state) {
    static const struct {
        const char *name; /* the row's text */
        mtrace_key_type key_type;
        const char *file, *function, *type;
        uint32_t domain;
        uint64_t size_class;
    } keys[] = {
        {"a.py:0: size=10 B, count=1, average=10 B", MTRACE_BY_FILE, "a.py", NULL, NULL, 0, 0},
        {"f (a.py): size=10 B, count=1, average=10 B", MTRACE_BY_FUNCTION, "a.py", "f", NULL, 0, 0},
        {"<unknown> (a.py): size=10 B, count=1, average=10 B", MTRACE_BY_FUNCTION, "a.py", NULL,
         NULL, 0, 0},
        {"struct point: size=10 B, count=1, average=10 B", MTRACE_BY_TYPE, NULL, NULL,
         "struct point", 0, 0},
        {"domain 65535: size=10 B, count=1, average=10 B", MTRACE_BY_DOMAIN, NULL, NULL, NULL,
         65535, 0},
        {"0 B: size=10 B, count=1, average=10 B", MTRACE_BY_SIZE_CLASS, NULL, NULL, NULL, 0, 0},
        {"2 B: size=10 B, count=1, average=10 B", MTRACE_BY_SIZE_CLASS, NULL, NULL, NULL, 0, 2},
        {"up to 16.0 KiB: size=10 B, count=1, average=10 B", MTRACE_BY_SIZE_CLASS, NULL, NULL, NULL,
         0, 16384},
    };
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, keys); i++) {
        mtrace_row row = row_of(keys[i].file, 0, 10, 1);
        row.function = keys[i].function;
        row.type = keys[i].type;
        row.domain = keys[i].domain;
        row.size_class = keys[i].size_class;
        expect_row(&row, keys[i].key_type, false, keys[i].name);
    }
}

/* The names are not bounded, nor is the row's length. */
static void test_long_name(void **state) {
    char name[3001], text[3100], buffer[3100];
    mtrace_row row;
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    row = row_of(name, 4294967295u, 1, 1);
    snprintf(text, sizeof text, "%s:4294967295: size=1 B, count=1, average=1 B", name);
    assert_int_equal(format_row(buffer, sizeof buffer, &row, MTRACE_BY_LINE, false), strlen(text));
    assert_string_equal(buffer, text);
}

/* --- names that would end a row or command a terminal --- */

static const char *const tame[] = {"a.c", "b.c", "c.c", "\xc3\xa4/\xe6\x97\xa5.c", "e.c"};
static const char *const wild[] = {"a\nb.c", "\x1b[31mred\x1b]0;title\x07.c", "\302\2332J\r\v\f",
                                   "\xc3\xa4/\xe6\x97\xa5.c", "\x9b\x7f\x01"};
enum { NAMES = 5 };

/* A snapshot in which each name is a file, a function, a type and a domain's name. */
static mtrace_snapshot *named(const char *const *names) {
    mtrace_row rows[NAMES] = MTRACE_ZERO_;
    mtrace_frame frames[NAMES][2] = MTRACE_ZERO_;
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_snapshot *s;
    uint32_t i;
    for (i = 0; i < NAMES; i++) {
        frames[i][0].file = names[i];
        frames[i][0].function = names[(i + 1) % NAMES];
        frames[i][1].file = names[(i + 2) % NAMES];
        frames[i][1].function = names[(i + 3) % NAMES];
        rows[i].traceback.frames = frames[i];
        rows[i].traceback.count = 2;
        rows[i].type = names[(i + 4) % NAMES];
        rows[i].domain = i;
        rows[i].domain_name = names[i];
        rows[i].size = 100 - i;
        rows[i].count = 1;
    }
    parts.rows = rows;
    parts.row_count = NAMES;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    return s;
}

/* Lines of text; that none but lines and blanks command anything is checked. */
static size_t count_lines(const char *text, size_t length) {
    size_t lines = 0, i;
    for (i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        lines += c == '\n' ? 1 : 0;
        assert_true((c >= ' ' && c != 0x7f) || c == '\n');
        assert_false(c == 0xc2 && (unsigned char)text[i + 1] < 0xa0);
    }
    return lines;
}

static size_t report_lines(const char *const *names, mtrace_key_type key, mtrace_style style) {
    static test_output out;
    mtrace_snapshot *s = named(names);
    mtrace_rows *rows = test_rows(s, key);
    test_report(&out, rows, style);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
    return count_lines(out.text, out.length);
}

static bool wild_line(char *buffer, size_t size, const char *file, uint32_t line, void *user) {
    (void)file;
    (void)line;
    (void)user;
    return (size_t)snprintf(buffer, size, "\x1b[2J\ttab\rx") < size;
}

static void test_names_neither_end_rows_nor_command_terminals(void **state) {
    static const mtrace_frame frame = {"a\nb.c", NULL, 5, NULL, 0};
    mtrace_traceback traceback = MTRACE_ZERO_;
    mtrace_row row = row_of("\x1b[1m\xc3\xa4\xc2\x9b\xff\x80\t\\x.c", 5, 10, 1);
    mtrace_key_type key;
    char text[200];
    int style;
    (void)state;
    for (key = MTRACE_BY_LINE; key <= MTRACE_BY_TRACEBACK; key++) {
        for (style = MTRACE_STYLE_TABLE; style <= MTRACE_STYLE_WARNINGS; style++) {
            if (key != MTRACE_BY_SIZE_CLASS) {
                assert_int_equal(report_lines(wild, key, (mtrace_style)style),
                                 report_lines(tame, key, (mtrace_style)style));
            }
        }
    }
    expect_row(&row, MTRACE_BY_LINE, false,
               "\\x1b[1m\xc3\xa4\\xc2\\x9b\xff\\x80\t\\x.c:5: size=10 B, count=1, average=10 B");
    traceback.frames = &frame;
    traceback.count = 1;
    mtrace_format_traceback(text, sizeof text, &traceback, 9, false, wild_line, NULL);
    assert_string_equal(text, "  File \"a\\x0ab.c\", line 5\n    \\x1b[2J\ttab\\x0dx\n");
}

/* --- beside CPython itself --- */

/* Prints, for seeded random numbers, `R size size_diff count count_diff Statistic|StatisticDiff`
   and `S size StatisticDiff`, without an average. */
static const char *const script =
    "TEST_ONCE=1 python3 -c '" /* see support/once */
    "import random, tracemalloc as t\n"
    "assert t._format_size(10240, True) == \"+10.0 KiB\"\n"
    "r = random.Random(%u)\n"
    "tb = t.Traceback(((\"a.py\", 5),))\n"
    "def size(bits): return r.getrandbits(r.randrange(1, bits))\n"
    "def near(): return 1024 ** r.randrange(5) * r.choice((1, 10, 99, 100, 1024)) + "
    "r.randrange(-60, 60)\n"
    "for i in range(4000):\n"
    "    n = (size(53) if i %% 2 else near()) * r.choice((1, -1))\n"
    "    print(\"S\", n, t.StatisticDiff(tb, max(n, 0), n, 0, 0))\n"
    "for i in range(4000):\n"
    "    s, c = (size(50) if i %% 2 else abs(near())), size(1 + r.randrange(1, 30))\n"
    "    d, e = size(50) * r.choice((1, -1)), size(30) * r.choice((1, -1))\n"
    "    print(\"R\", s, d, c, e, str(t.Statistic(tb, s, c)) + \"|\" + str(t.StatisticDiff(tb, s, "
    "d, c, e)))\n"
    "'";

/* One line of the script: true when it is one, and the library says the same. */
static bool same_as_python(const char *line, size_t *sizes, size_t *rows) {
    long long a, b, c, d;
    char one[128], two[128], mine[300];
    int at = 0;
    if (sscanf(line, "S %lld %n", &a, &at) == 1 && at > 0) {
        mtrace_row row = diff_of(a < 0 ? 0 : (uint64_t)a, a, 0, 0);
        format_row(one, sizeof one, &row, MTRACE_BY_LINE, true);
        snprintf(mine, sizeof mine, "%s\n", one);
        ++*sizes;
    } else if (sscanf(line, "R %lld %lld %lld %lld %n", &a, &b, &c, &d, &at) == 4 && at > 0) {
        mtrace_row row = diff_of((uint64_t)a, b, (uint64_t)c, d);
        format_row(one, sizeof one, &row, MTRACE_BY_LINE, false);
        format_row(two, sizeof two, &row, MTRACE_BY_LINE, true);
        snprintf(mine, sizeof mine, "%s|%s\n", one, two);
        ++*rows;
    } else {
        return false;
    }
    return strcmp(line + at, mine) == 0;
}

static void expect_same_as_python(unsigned number) {
    char command[2048], line[512];
    size_t sizes = 0, rows = 0;
    FILE *python;
    assert_true((size_t)snprintf(command, sizeof command, script, number) < sizeof command);
    python = popen(command, "r");
    assert_non_null(python);
    while (fgets(line, sizeof line, python) != NULL) {
        if (!same_as_python(line, &sizes, &rows)) {
            pclose(python);
            fail_msg("CPython says: %s", line);
        }
    }
    assert_int_equal(pclose(python), 0); /* python3 is installed, and ended without an error */
    assert_int_equal(sizes, 4000);
    assert_int_equal(rows, 4000);
}

static void test_random_numbers_as_cpython(void **state) {
    (void)state;
    expect_same_as_python(1);
    expect_same_as_python(2);
}

/* Averages that end exactly between two tenths. As a double most do not: 10.35 is a bit less, 10.65
   a bit more, and CPython prints what is nearer to the double. */
static void test_average_between_tenths_as_cpython(void **state) {
    (void)state;
    expect_average(205 * 1024, 20, "a.py:2: size=205 KiB, count=20, average=10.2 KiB"); /* .25 */
    expect_average(207 * 1024, 20, "a.py:2: size=207 KiB, count=20, average=10.3 KiB"); /* .35 */
    expect_average(209 * 1024, 20, "a.py:2: size=209 KiB, count=20, average=10.4 KiB"); /* .45 */
    expect_average(211 * 1024, 20, "a.py:2: size=211 KiB, count=20, average=10.6 KiB"); /* .55 */
    expect_average(213 * 1024, 20, "a.py:2: size=213 KiB, count=20, average=10.7 KiB"); /* .65 */
    expect_average(215 * 1024, 20, "a.py:2: size=215 KiB, count=20, average=10.8 KiB"); /* .75 */
}

/* --- locale --- */

/* A locale whose decimal point is a comma: one of the system's, else one made here. */
static bool set_comma_locale(void) {
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8", "fr_FR.utf8",
                                        "de_DE",       "fr_FR",       "German"};
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        if (setlocale(LC_ALL, names[i]) != NULL && localeconv()->decimal_point[0] == ',') {
            return true;
        }
    }
    return false;
}

/* Makes a locale for this program; tests/run has one made for all of its configurations. */
static void make_comma_locale(void) {
    char own[] = "/tmp/mtrace-locale-XXXXXX", command[1024];
    const char *shared = getenv("TEST_ANSWERS"), *folder = shared != NULL ? shared : mkdtemp(own);
    assert_non_null(folder);
    snprintf(command, sizeof command,
             "cd '%s' && flock . sh -c 'test -d de_DE.UTF-8 || "
             "localedef -i de_DE -f UTF-8 ./de_DE.UTF-8' >/dev/null 2>&1",
             folder);
    if (system(command) == 0) {
        setenv("LOCPATH", folder, 1);
    }
    if (!set_comma_locale()) {
        setlocale(LC_ALL, "");
    }
    unsetenv("LOCPATH");
    if (shared == NULL) {
        snprintf(command, sizeof command, "rm -rf %s", own);
        assert_int_equal(system(command), 0);
    }
}

static void test_locale_does_not_matter(void **state) {
    (void)state;
    if (!set_comma_locale()) {
        make_comma_locale();
    }
    printf("decimal point: %s\n", localeconv()->decimal_point);
    expect_all_sizes();
    expect_averages();
    setlocale(LC_ALL, "C");
}

/* --- results, standard output --- */

static void test_result_texts(void **state) {
    int i, j;
    (void)state;
    assert_string_equal(mtrace_result_text(MTRACE_OK), "no error");
    for (i = MTRACE_ERR_BUSY; i <= MTRACE_OK; i++) {
        assert_true(strlen(mtrace_result_text((mtrace_result)i)) > 0);
        assert_string_not_equal(mtrace_result_text((mtrace_result)i), "unknown result");
        for (j = MTRACE_ERR_BUSY; j < i; j++) {
            assert_string_not_equal(mtrace_result_text((mtrace_result)i),
                                    mtrace_result_text((mtrace_result)j));
        }
    }
    i = MTRACE_ERR_BUSY - 1;
    assert_string_equal(mtrace_result_text((mtrace_result)i), "unknown result");
}

/* What the program does as its own child. */
static int print_to_stdout(void) {
    mtrace_site site = test_site("a.c", 7);
    if (mtrace_print_top(3) != MTRACE_ERR_NOT_TRACING) {
        return 4;
    }
    if (mtrace_start(NULL) != MTRACE_OK || mtrace_track_at(1, 1, 3000, &site) != MTRACE_OK) {
        return 1;
    }
    printf("before\n");
    if (mtrace_print_leaks() != MTRACE_OK) {
        return 2;
    }
    printf("between\n");
    if (mtrace_print_leaks() != MTRACE_OK) {
        return 3;
    }
    printf("after\n");
    mtrace_stop();
    return mtrace_print_leaks() == MTRACE_ERR_NOT_TRACING ? 0 : 5;
}

#define NOT_TRACING "mtrace: not tracing: mtrace_start() not called, or stopped\n"

/* Without a write callback reports go to stdout, in order with what the program prints there. */
static void test_standard_output(void **state) {
    char command[4096], text[1024];
    size_t length;
    FILE *child;
    (void)state;
    assert_true((size_t)snprintf(command, sizeof command, "%s print", program) < sizeof command);
    child = popen(command, "r");
    assert_non_null(child);
    length = fread(text, 1, sizeof text - 1, child);
    text[length] = '\0';
    assert_int_equal(pclose(child), 0);
    assert_string_equal(text,
                        NOT_TRACING "before\n"
                                    "a.c:7: warning: 3000 B in 1 block not freed, allocated in f\n"
                                    "between\n"
                                    "a.c:7: warning: 3000 B in 1 block not freed, allocated in f\n"
                                    "after\n" NOT_TRACING);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_as_cpython),
        cmocka_unit_test(test_row_cut_as_snprintf),
        cmocka_unit_test(test_averages_as_cpython),
        cmocka_unit_test(test_differences_as_cpython),
        TEST_OF_ROWS(test_every_key),
        cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_names_neither_end_rows_nor_command_terminals),
        cmocka_unit_test(test_random_numbers_as_cpython),
        cmocka_unit_test(test_average_between_tenths_as_cpython),
        cmocka_unit_test(test_locale_does_not_matter),
        cmocka_unit_test(test_result_texts),
        cmocka_unit_test(test_standard_output),
    };
    program = test_program(argv[0]);
    if (argc > 1) {
        return print_to_stdout();
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Memory over time: samples, peaks between them, thinning, marks, formats, threads, failures. */

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif
#include "support/test.h"
#include "support/threads.h"
#include "support/tools.h"

#include "../mtrace_ext.h"

#include <poll.h>
#include <sys/resource.h>

#ifdef MTRACE_SINGLE_THREAD
#define TEST_SINGLE 1
#else
#define TEST_SINGLE 0
#endif

static int recorder_after(void **state) {
    test_fail_next = 0;
    test_fail_after = -1;
    mtrace_recorder_free();
    return test_stop_after(state);
}
#define RECORDER_TEST(function) cmocka_unit_test_teardown(function, recorder_after)

static mtrace_recorder_desc by_hand(void) {
    mtrace_recorder_desc desc = MTRACE_ZERO_;
    desc.no_thread = true;
    return desc;
}

static void start_recorder(const mtrace_recorder_desc *desc) {
    test_start(2048, 1024);
    assert_int_equal(mtrace_recorder_start(desc), MTRACE_OK);
}

/* Holds exactly so much in a domain, from a line that is the domain's own. */
static void hold(uint32_t domain, uint64_t bytes) {
    mtrace_site site = test_site("hold.c", domain);
    assert_int_equal(mtrace_track_at(domain, 7, bytes, &site), MTRACE_OK);
}

static uint64_t last(size_t word) {
    const mtrace_recording_ *r = &mtrace_recorder_.r;
    assert_true(r->sample_count > 0);
    return r->samples[(r->sample_count - 1) * r->words + word];
}

static void expect_last(uint64_t current, uint64_t peak, uint64_t max) {
    assert_int_equal(last(MTRACE_W_CURRENT_), current);
    assert_int_equal(last(MTRACE_W_PEAK_), peak);
    assert_int_equal(last(MTRACE_W_MAX_), max);
}

static void tick_and_expect(uint64_t current, uint64_t peak, uint64_t max) {
    mtrace_recorder_tick();
    expect_last(current, peak, max);
}

/* --- samples --- */

static void test_samples_are_the_tracers(void **state) {
    mtrace_recorder_desc desc = by_hand();
    mtrace_recorder_info info;
    (void)state;
    start_recorder(&desc);
    expect_last(0, 0, 0);
    hold(1, 5000);
    tick_and_expect(5000, 5000, 5000);
    hold(1, 300);
    tick_and_expect(300, 5000, 300);
    hold(1, 400);
    assert_true(mtrace_recorder_is_on());
    mtrace_recorder_stop();
    assert_false(mtrace_recorder_is_on());
    assert_int_equal(last(MTRACE_W_CURRENT_), 400);
    mtrace_recorder_tick(); /* no-ops now */
    mtrace_recorder_mark("late");
    mtrace_recorder_stop();
    info = mtrace_recorder_get_info();
    assert_int_equal(info.samples, 4);
    assert_int_equal(info.taken, 4);
    assert_int_equal(info.marks, 0);
    assert_int_equal(info.peak, 5000);
    assert_true(info.memory > 4096 * 6 * 8);
}

static void test_domains_and_sites(void **state) {
    static const uint32_t domains[] = {1, 2, 3};
    static const struct {
        const char *name;
        uint64_t bytes;
    } series[] = {
        {"domain 1", 100}, {"audio", 20}, {"domain 3", 3}, {"ho*.c:2", 20}, {"not domain 2", 103}};
    size_t i;
    char file[] = "ho*.c";
    mtrace_filter sites[2];
    mtrace_recorder_desc desc = by_hand();
    (void)state;
    memset(sites, 0, sizeof sites);
    sites[0].file = file;
    sites[0].has_line = true;
    sites[0].line = 2;
    sites[1].has_domain = true;
    sites[1].domain = 2;
    sites[1].exclusive = true;
    desc.domains = domains;
    desc.domain_count = 3;
    desc.sites = sites;
    desc.site_count = 2;
    test_start(2048, 1024);
    assert_int_equal(mtrace_name_domain(2, "audio"), MTRACE_OK);
    assert_int_equal(mtrace_name_domain(3, "audio"), MTRACE_OK);
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_OK);
    memset(file, 'x', sizeof file - 1); /* it was copied */
    hold(1, 100);
    hold(2, 20);
    hold(3, 3);
    mtrace_recorder_tick();
    assert_int_equal(last(MTRACE_W_CURRENT_), 123);
    for (i = 0; TEST_ROWS(i, series); i++) {
        assert_int_equal(last(MTRACE_W_SELECTED_ + i), series[i].bytes);
        assert_string_equal(mtrace_recorder_.r.series[MTRACE_W_SELECTED_ + i].name, series[i].name);
    }
}

/* Of which lines a filter takes the bytes is what mtrace_snapshot_filter says. */
static void test_sites_as_filters(void **state) {
    static const char *const patterns[] = {NULL, "*", "a?py", "a.pyc", "f", "g*", "[!f]"};
    mtrace_scope before;
    mtrace_desc started = MTRACE_ZERO_;
    mtrace_site outer = test_site("outer.c", 1), inner = test_site("a.py", 2);
    unsigned i;
    (void)state;
    started.frames = 3;
    assert_int_equal(mtrace_start(&started), MTRACE_OK);
    before = mtrace_scope_push_at(&outer);
    assert_int_equal(mtrace_track_at(4, 1, 1000, &inner), MTRACE_OK);
    mtrace_scope_restore(before);
    inner.function = "gamma";
    inner.type = "int";
    *inner.cache = 0;
    assert_int_equal(mtrace_track_at(5, 1, 20, &inner), MTRACE_OK);
    for (i = 0; i < 7 * 7 * 7 * 16; i++) {
        mtrace_filter f = MTRACE_ZERO_;
        mtrace_recorder_desc desc = by_hand();
        mtrace_snapshot *all, *some;
        uint64_t expected = 0;
        size_t row;
        f.file = patterns[i % 7];
        f.function = patterns[i / 7 % 7];
        f.type = patterns[i / 49 % 7];
        f.exclusive = (i / 343 & 1) != 0;
        f.has_line = (i / 343 & 4) != 0;
        f.line = f.has_line ? 1 : 0;
        f.all_frames = (i / 343 & 2) != 0 && (f.has_line || f.file != NULL || f.function != NULL);
        f.has_domain = (i / 343 & 8) != 0;
        f.domain = f.has_domain ? 4 : 0;
        desc.sites = &f;
        desc.site_count = 1;
        desc.max_samples = 2;
        desc.max_marks = 1;
        assert_int_equal(mtrace_recorder_start(&desc), MTRACE_OK);
        mtrace_recorder_stop();
        all = test_take(false);
        assert_int_equal(mtrace_snapshot_filter(&some, all, &f, 1, NULL), MTRACE_OK);
        for (row = 0; row < mtrace_snapshot_get_parts(some).row_count; row++) {
            expected += mtrace_snapshot_get_parts(some).rows[row].size;
        }
        assert_int_equal(last(MTRACE_W_SELECTED_), expected);
        mtrace_snapshot_free(some);
        mtrace_snapshot_free(all);
    }
}

static void test_peaks_between_samples(void **state) {
    mtrace_recorder_desc desc = by_hand();
    (void)state;
    test_start(2048, 64);
    hold(1, 9000);
    hold(1, 10);
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_OK);
    expect_last(10, 9000, 10); /* that peak was before */
    hold(1, 9500);
    hold(1, 20);
    tick_and_expect(20, 9500, 9500);
    tick_and_expect(20, 9500, 20);
    mtrace_reset_peak();
    hold(1, 700);
    hold(1, 30);
    tick_and_expect(30, 700, 700);
    mtrace_clear();
    tick_and_expect(0, 0, 0);
    mtrace_stop();
    tick_and_expect(0, 0, 0);
    test_start(2048, 64);
    hold(1, 50);
    hold(1, 5);
    mtrace_recorder_stop();
    expect_last(5, 50, 50);
    assert_int_equal(mtrace_recorder_get_info().peak, 9500);
}

static void test_tracer_stops_and_restarts(void **state) {
    static const uint32_t domain = 1;
    mtrace_recorder_desc desc = by_hand();
    size_t room;
    uint32_t i;
    (void)state;
    desc.domains = &domain;
    desc.domain_count = 1;
    start_recorder(&desc);
    room = mtrace_recorder_.snapshot.size;
    for (i = 1; i <= 900; i++) { /* a snapshot needs more than there is */
        mtrace_site site = test_site("many.c", i);
        assert_int_equal(mtrace_track_at(domain, i, i, &site), MTRACE_OK);
    }
    mtrace_recorder_tick();
    assert_int_equal(last(MTRACE_W_SELECTED_), 900 * 901 / 2);
    assert_true(mtrace_recorder_.snapshot.size > room);
    mtrace_stop();
    mtrace_recorder_tick();
    assert_int_equal(last(MTRACE_W_SELECTED_), 0);
    assert_int_equal(last(MTRACE_W_CURRENT_), 0);
    test_start(2048, 1024);
    hold(1, 77);
    mtrace_recorder_tick();
    assert_int_equal(last(MTRACE_W_SELECTED_), 77);
}

/* --- thinning --- */

static uint32_t random_state = 12345;
static uint32_t random_below(uint32_t bound) {
    return test_random(&random_state, bound);
}

enum { MODEL_SAMPLES = 10000, MODEL_WORDS = MTRACE_W_SELECTED_ + 2 };
static uint64_t model[MODEL_SAMPLES][MODEL_WORDS];

/* A step of the program, and what its sample has to be. */
static void model_step(size_t step, uint64_t *highest) {
    uint64_t one = random_below(100000), two = random_below(5000), between = random_below(150000);
    uint64_t *row = model[step], before = step == 0 ? 0 : model[step - 1][MTRACE_W_SELECTED_];
    hold(2, two);
    hold(1, between);
    hold(1, one);
    between = (between > before ? between : before) + two;
    between = between > one + two ? between : one + two;
    mtrace_recorder_tick();
    row[MTRACE_W_TIME_] = last(MTRACE_W_TIME_);
    row[MTRACE_W_CURRENT_] = one + two;
    row[MTRACE_W_MAX_] = one + two;
    if (between > *highest) {
        row[MTRACE_W_MAX_] = *highest = between;
    }
    row[MTRACE_W_PEAK_] = *highest;
    row[MTRACE_W_RESIDENT_] = last(MTRACE_W_RESIDENT_);
    row[MTRACE_W_SELECTED_] = one;
    row[MTRACE_W_SELECTED_ + 1] = two;
}

/* A kept sample has the highest of each series, over the samples of the model that it replaces. */
static size_t model_check(const uint64_t *sample, size_t from) {
    uint64_t highest[MODEL_WORDS] = MTRACE_ZERO_;
    size_t word, i = from;
    do {
        for (word = MTRACE_W_MAX_; word < MODEL_WORDS; word++) {
            highest[word] = model[i][word] > highest[word] ? model[i][word] : highest[word];
        }
    } while (model[i++][MTRACE_W_TIME_] != sample[MTRACE_W_TIME_] && i < MODEL_SAMPLES);
    assert_int_equal(sample[MTRACE_W_TIME_], model[i - 1][MTRACE_W_TIME_]);
    assert_int_equal(sample[MTRACE_W_CURRENT_], model[i - 1][MTRACE_W_CURRENT_]);
    for (word = MTRACE_W_MAX_; word < MODEL_WORDS; word++) {
        assert_int_equal(sample[word], highest[word]);
    }
    for (; from < i && model[from][MTRACE_W_TIME_] != sample[MTRACE_W_MAX_TIME_]; from++) {
    }
    assert_true(from < i);
    assert_int_equal(model[from][MTRACE_W_MAX_], sample[MTRACE_W_MAX_]);
    return i;
}

static void thin(size_t max_samples, size_t each) {
    static const uint32_t domains[] = {1, 2};
    mtrace_recorder_desc desc = by_hand();
    const mtrace_recording_ *r = &mtrace_recorder_.r;
    uint64_t highest = 0;
    size_t i, from, at = 0;
    desc.domains = domains;
    desc.domain_count = 2;
    desc.max_samples = max_samples;
    start_recorder(&desc);
    mtrace_recorder_.r.sample_count = 0; /* without the first: the model has none */
    mtrace_recorder_.r.in_stride = 1;
    for (i = 0; i < MODEL_SAMPLES; i++) {
        model_step(i, &highest);
        assert_true(r->sample_count <= max_samples);
    }
    for (i = 0; i < r->sample_count; i++) {
        from = at;
        at = model_check(r->samples + i * r->words, from);
        /* the same for all, so that old times are as well known as new ones */
        assert_true(at - from == each || (i == r->sample_count - 1 && at - from < each));
    }
    assert_int_equal(at, MODEL_SAMPLES);
    assert_true(r->sample_count >= max_samples / 2);
    assert_int_equal(mtrace_recorder_get_info().taken, MODEL_SAMPLES + 1);
    assert_int_equal(mtrace_recorder_get_info().peak, highest);
}

static void test_thinning_keeps_every_maximum(void **state) {
    static const struct {
        const char *name;
        size_t max_samples, each;
    } sizes[] = {{"16 samples", 16, 1024}, {"17", 17, 1024}, {"3", 3, 4096}, {"2", 2, 8192}};
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, sizes); i++) {
        thin(sizes[i].max_samples, sizes[i].each);
        mtrace_recorder_free();
        mtrace_stop();
    }
}

static void span(const char *name, uint64_t start, uint64_t length) {
    mtrace_recorder_span s = MTRACE_ZERO_;
    s.start = start;
    s.end = start + length;
    mtrace_recorder_mark_span(name, &s);
}

static void expect_marks(const char *names) {
    const mtrace_recording_ *r = &mtrace_recorder_.r;
    char text[256] = "";
    size_t i;
    for (i = 0; i < r->mark_count; i++) {
        strncat(text, r->marks[i].name, 47);
    }
    assert_string_equal(text, names);
}

static void test_marks_thinned(void **state) {
    mtrace_recorder_desc desc = by_hand();
    (void)state;
    desc.max_marks = 6;
    start_recorder(&desc);
    span("a", 10, 50);
    mtrace_recorder_mark("b");
    span("c", 10, 0);
    span("d", 10, 7);
    mtrace_recorder_mark("e");
    span("f", 10, 100);
    expect_marks("abcdef");
    span("g", 10, 7); /* no room: both instants, and c, which took no time */
    expect_marks("adfg");
    span("h", 10, 7);
    span("i", 10, 7);
    assert_int_equal(mtrace_recorder_get_info().dropped_marks, 3);
    span("j", 10, UINT64_MAX - 10); /* of four equal ones the three oldest go */
    expect_marks("afij");
    assert_int_equal(mtrace_recorder_get_info().dropped_marks, 6);
    span("k", 10, UINT64_MAX - 10);
    span("l", 10, UINT64_MAX - 10);
    span("m", 10, UINT64_MAX - 10);
    expect_marks("jklm");
    assert_int_equal(mtrace_recorder_get_info().marks, 4);
    mtrace_recorder_mark_span("n", NULL);
    assert_int_equal(mtrace_recorder_get_info().marks, 4);
}

static void test_one_mark(void **state) {
    mtrace_recorder_desc desc = by_hand();
    (void)state;
    desc.max_marks = 1;
    desc.max_samples = 2;
    start_recorder(&desc);
    span("a", 10, 50);
    mtrace_recorder_mark("b");
    expect_marks("b");
    assert_int_equal(mtrace_recorder_get_info().dropped_marks, 1);
}

/* A call that took no time is longer than an instant. */
static void test_instants_go_first(void **state) {
    mtrace_recorder_desc desc = by_hand();
    (void)state;
    desc.max_marks = 2;
    start_recorder(&desc);
    span("a", 10, 0);
    mtrace_recorder_mark("b");
    mtrace_recorder_mark("c");
    expect_marks("ac");
}

/* --- names --- */

static void test_names(void **state) {
    static const struct {
        const char *name, *kept;
    } names[] = {
        {NULL, ""},
        {"a\nb\x7f\tc\xc2\x9b", "a b  c "},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\xff\xc3x\xc0\x80\xed\xa0\x80\xef\xbf\xbf\xf4\x90\x80\x80\xe2\x82", "??x??"
                                                                              "???"
                                                                              "???"
                                                                              "????"
                                                                              "??"},
        {"1234567890123456789012345678901234567890123456789",
         "12345678901234567890123456789012345678901234567"},
        {"123456789012345678901234567890123456789012345\xe2\x82\xac",
         "123456789012345678901234567890123456789012345"},
    };
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, names); i++) {
        char name[MTRACE_MARK_NAME_];
        mtrace_copy_name_(name, sizeof name, names[i].name);
        assert_string_equal(name, names[i].kept);
    }
}

/* --- formats: the text of small, known data --- */

enum { KNOWN_WORDS = MTRACE_W_SELECTED_ + 2 };
static uint64_t known_samples[3][KNOWN_WORDS] = {
    {1000000000, 1000000000, 0, 0, 0, UINT64_MAX, 0, 0},
    {1500000000, 1250000000, 1048576, 3145728, 3145728, 8388608, 1048576, 1},
    {2000000123, 2000000123, 524289, 524289, 3145728, 7340032, UINT64_MAX, 2},
};
static mtrace_mark_ known_marks[2];

static mtrace_recording_ known(size_t samples, size_t marks) {
    mtrace_recording_ r = MTRACE_ZERO_;
    size_t i;
    for (i = 0; i < MTRACE_W_SELECTED_; i++) {
        mtrace_copy_name_(r.series[i].name, MTRACE_MARK_NAME_, mtrace_series_names_[i]);
    }
    mtrace_copy_name_(r.series[6].name, MTRACE_MARK_NAME_, "a\"b");
    mtrace_copy_name_(r.series[7].name, MTRACE_MARK_NAME_, "x<y>&,\\");
    memset(known_marks, 0, sizeof known_marks);
    known_marks[0].is_span = true;
    known_marks[0].span.start = 1100000000;
    known_marks[0].span.end = 1400000500;
    known_marks[0].span.start_bytes = 1;
    known_marks[0].span.end_bytes = 1572864;
    known_marks[0].span.level = 2;
    known_marks[0].span.thread = 5;
    mtrace_copy_name_(known_marks[0].name, MTRACE_MARK_NAME_, "op <&\"\\");
    known_marks[1].span.start = known_marks[1].span.end = 1750000000;
    known_marks[1].span.start_bytes = 9;
    mtrace_copy_name_(known_marks[1].name, MTRACE_MARK_NAME_, "an instant");
    r.samples = known_samples[0];
    r.sample_count = samples;
    r.taken = samples;
    r.words = KNOWN_WORDS;
    r.first_site = 7;
    r.marks = known_marks;
    r.mark_count = marks;
    r.start = 1000000000;
    r.unix_start = (uint64_t)1700000000 * 1000000000;
    return r;
}

static const char *written(mtrace_recorder_format format, const mtrace_recording_ *r) {
    static test_output output;
    mtrace_text_ out;
    char line[MTRACE_TEXT_LINE_];
    output.length = 0;
    output.text[0] = '\0';
    mtrace_text_to_callback_(&out, line, test_write, &output);
    mtrace_recorder_formats_[format](&out, r);
    assert_int_equal(out.length, 0); /* nothing is left unwritten */
    return output.text;
}

static void test_dat(void **state) {
    mtrace_recording_ r = known(3, 2);
    const char *text = written(MTRACE_RECORDER_DAT, &r);
    (void)state;
    assert_int_equal(strncmp(text, "CMDLINE ", 8), 0);
    assert_string_equal(strchr(text, '\n') + 1,
                        "MEM 0.000000 1700000000.0000\n"
                        "MEM 3.000000 1700000000.2500\n"
                        "MEM 1.000000 1700000000.5000\n"
                        "MEM 0.500001 1700000001.0000\n"
                        "MEM 0.000001 1700000000.1000\n"
                        "MEM 1.500000 1700000000.4000\n"
                        "FUNC op_<&\"\\ 0.000001 1700000000.1000 1.500000 1700000000.4000 2\n"
                        "MARK an_instant 0.000009 1700000000.7500\n");
}

static void test_csv(void **state) {
    mtrace_recording_ r = known(3, 2);
    (void)state;
    assert_string_equal(written(MTRACE_RECORDER_CSV, &r),
                        "\"time (s)\",\"current (B)\",\"highest (B)\",\"peak (B)\","
                        "\"resident (B)\",\"a\"\"b (B)\",\"x<y>&,\\ (B)\"\r\n"
                        "0.000000000,0,0,0,,0,0\r\n"
                        "0.500000000,1048576,3145728,3145728,8388608,1048576,1\r\n"
                        "1.000000123,524289,524289,3145728,7340032,,2\r\n");
}

static void test_chrome(void **state) {
    mtrace_recording_ r = known(2, 2);
    char expected[4096];
    unsigned long p = mtrace_process_();
    (void)state;
    snprintf(expected, sizeof expected,
             "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"tool\":\"mtrace\",\"dropped_marks\":"
             "\"0\"},\n\"traceEvents\":[\n"
             "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%lu,\"tid\":0,\"args\":{\"name\":"
             "\"mtrace\"}},\n"
             "{\"name\":\"memory\",\"ph\":\"C\",\"ts\":1000000.000,\"pid\":%lu,\"tid\":0,"
             "\"args\":{\"current\":0,\"highest\":0,\"peak\":0}},\n"
             "{\"name\":\"domains\",\"ph\":\"C\",\"ts\":1000000.000,\"pid\":%lu,\"tid\":0,"
             "\"args\":{\"a\\\"b\":0}},\n"
             "{\"name\":\"sites\",\"ph\":\"C\",\"ts\":1000000.000,\"pid\":%lu,\"tid\":0,"
             "\"args\":{\"x<y>&,\\\\\":0}},\n",
             p, p, p, p);
    assert_int_equal(strncmp(written(MTRACE_RECORDER_CHROME, &r), expected, strlen(expected)), 0);
    snprintf(expected, sizeof expected,
             "{\"name\":\"op <&\\\"\\\\\",\"ph\":\"X\",\"ts\":1100000.000,\"pid\":%lu,\"tid\":5,"
             "\"dur\":300000.500,\"args\":{\"start_bytes\":1,\"end_bytes\":1572864}},\n"
             "{\"name\":\"an instant\",\"ph\":\"i\",\"ts\":1750000.000,\"pid\":%lu,\"tid\":0,"
             "\"s\":\"p\",\"args\":{\"bytes\":9}}\n]}\n",
             p, p);
    assert_string_equal(strstr(written(MTRACE_RECORDER_CHROME, &r), "{\"name\":\"op "), expected);
}

static void test_sparkline(void **state) {
    mtrace_recording_ r = known(3, 2);
    (void)state;
    assert_string_equal(written(MTRACE_RECORDER_SPARKLINE_ASCII, &r),
                        "mtrace: 512 KiB _________#_________::::::::::::::::::::. 3072 KiB peak\n");
    assert_int_equal(strncmp(written(MTRACE_RECORDER_SPARKLINE, &r),
                             "mtrace: 512 KiB \xe2\x96\x81\xe2\x96\x81", 22),
                     0);
}

static void test_plot(void **state) {
    mtrace_recording_ r = known(3, 2);
    const char *text = written(MTRACE_RECORDER_PLOT, &r), *line;
    int lines = 0;
    (void)state;
    r.dropped_marks = 3;
    assert_int_equal(
        strncmp(text, "mtrace: 512 KiB held, peak 3072 KiB after 250.00 ms; 3 samples\n", 63), 0);
    assert_non_null(strstr(text, "\n    3 MiB |                :\n"));
    assert_non_null(strstr(text, "\n    1 MiB |                :                ####"));
    assert_non_null(strstr(text, "\n      0 B ++-----"));
    assert_non_null(strstr(text, "^"));
    assert_non_null(strstr(
        text,
        "\n           0 ms         200           400          600           800       1000\n"));
    assert_null(strstr(text, "dropped"));
    for (line = text; *line != '\0'; line = strchr(line, '\n') + 1, lines++) {
        assert_true(strcspn(line, "\n") <= 80);
    }
    assert_int_equal(lines, 1 + 15 + 3);
    assert_non_null(strstr(written(MTRACE_RECORDER_PLOT, &r), "^ mark (3 more dropped)\n"));
}

static void test_svg(void **state) {
    mtrace_recording_ r = known(3, 2);
    const char *text = written(MTRACE_RECORDER_SVG, &r);
    (void)state;
    assert_non_null(strstr(text, ">Memory over time: peak 3072 KiB after 250.00 ms</text>"));
    assert_non_null(strstr(text, ">a&quot;b</text>"));
    assert_non_null(strstr(text, ">x&lt;y&gt;&amp;,\\</text>"));
    assert_non_null(strstr(text, "<title>op &lt;&amp;&quot;\\: 300.00 ms, +1536 KiB</title>"));
    assert_non_null(strstr(text, ">an instant</text>"));
    assert_non_null(strstr(text, ">thread 5</text>"));
    assert_non_null(strstr(text, ">resident (off scale)</text>"));
    assert_null(strstr(text, "<y>"));
    assert_string_equal(text + strlen(text) - 7, "</svg>\n");
}

/* Nothing recorded, or one sample: every format has something to say, and mprof no empty line. */
static void test_nothing_and_little(void **state) {
    size_t samples;
    int format;
    (void)state;
    for (samples = 0; samples < 2; samples++) {
        for (format = MTRACE_RECORDER_DAT; format <= MTRACE_RECORDER_SPARKLINE_ASCII; format++) {
            mtrace_recording_ r = known(samples, 0);
            const char *text = written((mtrace_recorder_format)format, &r);
            assert_true(strlen(text) > 8 && text[0] != '\n' && text[strlen(text) - 1] == '\n');
            assert_null(strstr(text, "\n\n"));
        }
    }
    for (format = MTRACE_RECORDER_DAT; format <= MTRACE_RECORDER_SPARKLINE_ASCII; format++) {
        test_output output;
        output.length = 0;
        mtrace_recorder_free();
        assert_int_equal(mtrace_recorder_write((mtrace_recorder_format)format, test_write, &output),
                         MTRACE_OK);
        assert_true(output.length > 8);
    }
}

static void test_ticks_are_round(void **state) {
    uint64_t range;
    (void)state;
    for (range = 0; range < UINT64_MAX / 3; range = range * 2 + 1) {
        mtrace_ticks_ t = mtrace_ticks_for_(mtrace_time_units_, 6, range, 8);
        assert_true(t.step >= 1 && t.step % t.unit->size == 0 && range / t.step <= 8);
        t = mtrace_ticks_for_(mtrace_byte_units_, 5, range, 4);
        assert_true(t.step >= 1 && t.step % t.unit->size == 0 && range / t.step <= 4);
    }
    assert_int_equal(mtrace_scaled_(1, 2, 320), 160);
    assert_true(mtrace_scaled_(UINT64_MAX, UINT64_MAX, 320) == 320);
    assert_int_equal(mtrace_scaled_(5, 0, 320), 0);
}

/* --- errors --- */

static void test_bad_descriptions(void **state) {
    uint32_t domains[9] = MTRACE_ZERO_;
    mtrace_filter site = MTRACE_ZERO_;
    mtrace_recorder_desc desc = by_hand();
    test_output output;
    (void)state;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_NOT_TRACING);
    test_start(2048, 64);
    desc.max_samples = 1;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.max_samples = 0;
    desc.domain_count = 1;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.domains = domains;
    desc.domain_count = 9;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.domain_count = 0;
    desc.site_count = 1;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_ARGUMENT);
    site.line = 3; /* would be ignored */
    desc.sites = &site;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.site_count = 0;
    desc.interval = 0x80000000u;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.interval = 0;
    desc.max_samples = SIZE_MAX / 8;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_NO_MEMORY);
    desc.max_samples = 0;
    desc.max_marks = SIZE_MAX / 8;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_NO_MEMORY);
    desc.max_marks = 0;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_ALREADY);
    assert_int_equal(mtrace_recorder_write(MTRACE_RECORDER_CSV, NULL, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_recorder_write((mtrace_recorder_format)7, test_write, &output),
                     MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_recorder_save(MTRACE_RECORDER_CSV, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_recorder_save(MTRACE_RECORDER_CSV, "/no such folder/a.csv"),
                     MTRACE_ERR_IO);
}

static void test_no_memory(void **state) {
    static const uint32_t domain = 1;
    mtrace_recorder_desc desc = by_hand();
    static test_output output;
    int fails;
    (void)state;
    desc.domains = &domain;
    desc.domain_count = 1;
    test_start(2048, 1024);
    hold(1, 60);
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_OK);
    mtrace_recorder_stop();
    for (fails = 0; fails < 2; fails++) {
        test_fail_after = fails;
        assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_NO_MEMORY);
        assert_false(mtrace_recorder_is_on());
        assert_int_equal(last(MTRACE_W_SELECTED_), 60); /* what there was is there still */
    }
    test_fail_after = -1;
    test_fail_next = 1;
    assert_int_equal(mtrace_recorder_write(MTRACE_RECORDER_CSV, test_write, &output),
                     MTRACE_ERR_NO_MEMORY);
    test_fail_next = 0;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_OK);
    mtrace_recorder_.snapshot.size = 8; /* as when there are more call sites by now */
    test_fail_next = -1;
    mtrace_recorder_tick();
    assert_true(last(MTRACE_W_SELECTED_) == UINT64_MAX); /* not known */
    assert_int_equal(last(MTRACE_W_CURRENT_), 60);
    test_fail_next = 0;
    mtrace_recorder_tick();
    assert_int_equal(last(MTRACE_W_SELECTED_), 60);
    output.length = 0;
    assert_int_equal(mtrace_recorder_write(MTRACE_RECORDER_CSV, test_write, &output), MTRACE_OK);
    assert_non_null(strstr(output.text, ",\r\n"));
}

static const char full_path[] = "test_recorder.full.tmp.csv";

static int without_files(void) {
    struct rlimit none = {0, 0}, before;
    mtrace_recorder_desc desc = MTRACE_ZERO_;
    CHILD_ASSERT(mtrace_start(NULL) == MTRACE_OK);
    CHILD_ASSERT(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none.rlim_max = before.rlim_max;
    CHILD_ASSERT(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHILD_ASSERT(mtrace_recorder_start(&desc) ==
                 (TEST_SINGLE ? MTRACE_ERR_ARGUMENT : MTRACE_ERR_THREAD)); /* no pipe */
    CHILD_ASSERT(!mtrace_recorder_is_on());
    desc.no_thread = true;
    CHILD_ASSERT(mtrace_recorder_start(&desc) == MTRACE_OK);
    CHILD_ASSERT(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHILD_ASSERT(getrlimit(RLIMIT_FSIZE, &before) == 0);
    none.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    CHILD_ASSERT(setrlimit(RLIMIT_FSIZE, &none) == 0); /* a full disk */
    CHILD_ASSERT(mtrace_recorder_save(MTRACE_RECORDER_CSV, full_path) == MTRACE_ERR_IO);
    CHILD_ASSERT(access(full_path, F_OK) != 0);
    CHILD_ASSERT(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHILD_ASSERT(mtrace_recorder_save(MTRACE_RECORDER_CSV, full_path) == MTRACE_OK);
    CHILD_ASSERT(remove(full_path) == 0);
    return 0;
}

static void test_system_fails(void **state) {
    (void)state;
    TEST_NEEDS_POSIX();
    assert_int_equal(test_in_child(without_files), 0);
}

/* --- threads --- */

/* So long as it takes, but not for ever: a thread that never does anything fails. */
static bool wait_for_samples(uint64_t count) {
    int i;
    for (i = 0; i < 60000 && mtrace_recorder_get_info().taken < count; i++) {
        poll(NULL, 0, 1);
    }
    return mtrace_recorder_get_info().taken >= count;
}

static void test_own_thread(void **state) {
    mtrace_recorder_desc desc = MTRACE_ZERO_;
    mtrace_recorder_info info;
    int round;
    (void)state;
    test_start(2048, 64);
    if (TEST_SINGLE) {
        assert_int_equal(mtrace_recorder_start(&desc), MTRACE_ERR_ARGUMENT);
        return;
    }
    desc.interval = 1;
    for (round = 0; round < 3; round++) {
        assert_int_equal(mtrace_recorder_start(&desc), MTRACE_OK);
        assert_true(wait_for_samples(4));
        mtrace_recorder_stop();
        info = mtrace_recorder_get_info();
        poll(NULL, 0, 3); /* it is gone: no more come */
        assert_int_equal(mtrace_recorder_get_info().taken, info.taken);
    }
    desc.interval = INT32_MAX; /* 24 days; stop does not wait for them */
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_OK);
    mtrace_recorder_stop();
    assert_int_equal(mtrace_recorder_get_info().taken, 2);
}

#if !TEST_SINGLE
enum { THREADS = 4, ROUNDS = 300 };

static void *tick_and_mark(void *argument) {
    const uint32_t *number = (const uint32_t *)argument;
    uint32_t i;
    for (i = 0; i < ROUNDS; i++) {
        mtrace_site site = test_site("thread.c", *number);
        mtrace_recorder_span s = MTRACE_ZERO_;
        s.start = mtrace_recorder_now();
        s.thread = *number;
        mtrace_track_at(*number, i, 10, &site);
        mtrace_recorder_tick();
        mtrace_recorder_mark("instant");
        s.end = mtrace_recorder_now();
        mtrace_recorder_mark_span("call", &s);
    }
    return NULL;
}

static void ignore(const char *text, size_t length, void *user) {
    *(size_t *)user += length + (size_t)(text == NULL ? 1 : 0);
}

/* desc.write: every call one whole line. */
static void count_lines(const char *text, size_t length, void *user) {
    size_t *counts = (size_t *)user; /* of lines, and of what is none */
    bool whole = length > 0 && memchr(text, '\n', length) == text + length - 1;
    counts[whole ? 0 : 1]++;
}

static void run_threads(mtrace_recorder_desc *desc) {
    static uint32_t numbers[THREADS];
    pthread_t threads[THREADS];
    mtrace_recorder_info info;
    size_t i, bytes = 0;
    test_start(4096, 1024);
    assert_int_equal(mtrace_recorder_start(desc), MTRACE_OK);
    for (i = 0; i < THREADS; i++) {
        numbers[i] = (uint32_t)i + 1;
    }
    test_threads_begin(threads, THREADS, tick_and_mark, numbers, sizeof *numbers);
    for (i = 0; i < 70; i++) {
        assert_int_equal(mtrace_recorder_write((mtrace_recorder_format)(i % 7), ignore, &bytes),
                         MTRACE_OK);
    }
    test_threads_end(threads, THREADS);
    mtrace_recorder_stop();
    info = mtrace_recorder_get_info();
    assert_true(bytes > 0);
    assert_int_equal(info.taken, THREADS * ROUNDS + 2);
    assert_int_equal(info.marks + info.dropped_marks, THREADS * ROUNDS * 2);
    assert_true(info.samples <= 64 && info.marks <= 50);
    assert_int_equal(last(MTRACE_W_SELECTED_ + 1), ROUNDS * 10);
    for (i = 1; i < mtrace_recorder_.r.sample_count; i++) {
        const uint64_t *sample = mtrace_recorder_.r.samples + i * mtrace_recorder_.r.words;
        const uint64_t *before = sample - mtrace_recorder_.r.words;
        assert_true(sample[MTRACE_W_TIME_] >= before[MTRACE_W_TIME_]);
    }
}

static void test_threads(void **state) {
    static const uint32_t domains[] = {1, 2};
    mtrace_recorder_desc desc = by_hand();
    static size_t counts[2];
    (void)state;
    desc.domains = domains;
    desc.domain_count = 2;
    desc.max_samples = 64;
    desc.max_marks = 50;
    run_threads(&desc);
    mtrace_stop();
    desc.write = count_lines;
    desc.write_user = counts;
    run_threads(&desc);
    assert_int_equal(counts[1], 0);
    assert_true(counts[0] >= (size_t)(1 + THREADS * ROUNDS + 2 + THREADS * ROUNDS * 4));
}

static void *start_and_stop(void *argument) {
    mtrace_recorder_desc desc = MTRACE_ZERO_;
    int i;
    desc.interval = 1;
    desc.max_samples = 4;
    desc.max_marks = 4;
    for (i = 0; i < 50; i++) {
        mtrace_recorder_start(&desc);
        mtrace_recorder_tick();
        mtrace_recorder_mark("x");
        (i % 3 == 0 ? mtrace_recorder_free : mtrace_recorder_stop)();
    }
    return argument;
}

static void test_starts_and_stops(void **state) {
    pthread_t threads[2];
    size_t i, bytes = 0;
    (void)state;
    test_start(2048, 64);
    test_threads_begin(threads, 2, start_and_stop, NULL, 0);
    for (i = 0; i < 35; i++) {
        assert_int_equal(mtrace_recorder_write((mtrace_recorder_format)(i % 7), ignore, &bytes),
                         MTRACE_OK);
    }
    test_threads_end(threads, 2);
    assert_false(mtrace_recorder_is_on());
    assert_true(bytes > 0);
}

#endif

#if MTRACE_ATOMICS_ /* a lock of one's own may be held by the thread: see mtrace.h */
/* So that a sample is under way at every second fork or so. Were it so always, each fork would wait
   for a gap of microseconds between two samples. */
static void write_slowly(const char *text, size_t length, void *user) {
    ignore(text, length, user);
    poll(NULL, 0, 2);
}

static int record_in_child(void) {
    uint64_t taken = mtrace_recorder_get_info().taken;
    alarm(60); /* a lock of the parent's would be held for ever */
    CHILD_ASSERT(mtrace_recorder_is_on());
    mtrace_recorder_tick();
    mtrace_recorder_mark("child");
    CHILD_ASSERT(mtrace_recorder_get_info().taken == taken + 1); /* no thread here */
    mtrace_recorder_stop();
    CHILD_ASSERT(mtrace_recorder_get_info().taken == taken + 2);
    mtrace_recorder_free();
    return 0;
}

static void test_fork(void **state) {
    mtrace_recorder_desc desc = MTRACE_ZERO_;
    size_t bytes = 0;
    int i;
    (void)state;
    TEST_NEEDS_POSIX();
    desc.interval = 4;
    desc.write = write_slowly;
    desc.write_user = &bytes;
    start_recorder(&desc);
    for (i = 0; i < 20; i++) {
        assert_int_equal(test_in_child(record_in_child), 0);
    }
    assert_true(wait_for_samples(mtrace_recorder_get_info().taken + 2)); /* here it goes on */
    mtrace_recorder_stop();
}

#endif

static void test_clock_and_resident(void **state) {
    uint64_t before = mtrace_recorder_now(), bytes = 0, after;
    bool known_here;
    (void)state;
    after = mtrace_recorder_now();
    assert_true(before > 0 && after >= before);
    known_here = mtrace_get_resident(&bytes);
    assert_int_equal(known_here, bytes != 0);
#ifdef __linux__
    assert_true(bytes >= 4096 && bytes % 4096 == 0);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RECORDER_TEST(test_samples_are_the_tracers),
        RECORDER_TEST(test_domains_and_sites),
        RECORDER_TEST(test_sites_as_filters),
        RECORDER_TEST(test_peaks_between_samples),
        RECORDER_TEST(test_tracer_stops_and_restarts),
        RECORDER_TEST(test_thinning_keeps_every_maximum),
        RECORDER_TEST(test_marks_thinned),
        RECORDER_TEST(test_one_mark),
        RECORDER_TEST(test_instants_go_first),
        RECORDER_TEST(test_names),
        RECORDER_TEST(test_dat),
        RECORDER_TEST(test_csv),
        RECORDER_TEST(test_chrome),
        RECORDER_TEST(test_sparkline),
        RECORDER_TEST(test_plot),
        RECORDER_TEST(test_svg),
        RECORDER_TEST(test_nothing_and_little),
        RECORDER_TEST(test_ticks_are_round),
        RECORDER_TEST(test_bad_descriptions),
        RECORDER_TEST(test_no_memory),
        RECORDER_TEST(test_system_fails),
        RECORDER_TEST(test_own_thread),
#if !TEST_SINGLE
        RECORDER_TEST(test_threads),
        RECORDER_TEST(test_starts_and_stops),
#endif
#if MTRACE_ATOMICS_
        RECORDER_TEST(test_fork),
#endif
        RECORDER_TEST(test_clock_and_resident),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* mtrace_growth since another run: lines that moved, files, suppressions. */

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif
#include "support/test.h"
#include "support/ext.h"
#include "support/files.h"

static mtrace_snapshot *reference;
static uintptr_t next_key;

static void start(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 4096;
    desc.max_sites = 512;
    desc.frames = 3;
    next_key = 0;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static int setup(void **state) {
    (void)state;
    start();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    assert_int_equal(mtrace_set_suppressions(NULL, NULL), MTRACE_OK);
    mtrace_snapshot_free(reference);
    reference = NULL;
    test_sound();
    mtrace_stop();
    return 0;
}

static mtrace_site site_of(const char *function, uint32_t line, const char *type) {
    mtrace_site site = MTRACE_ZERO_;
    site.file = "a.c";
    site.function = function;
    site.line = line;
    site.type = type;
    return site;
}

static void hold(const char *function, uint32_t line, uint64_t size) {
    mtrace_site site = site_of(function, line, NULL);
    assert_int_equal(mtrace_track_at(1, next_key++, size, &site), MTRACE_OK);
}

static void hold_typed(const char *function, uint32_t line, const char *type, uint64_t size) {
    mtrace_site site = site_of(function, line, type);
    assert_int_equal(mtrace_track_at(1, next_key++, size, &site), MTRACE_OK);
}

/* What is held now becomes the reference, and the program is run again. */
static void run_again(void) {
    mtrace_snapshot_free(reference);
    assert_int_equal(mtrace_snapshot_take(&reference, false, NULL), MTRACE_OK);
    mtrace_stop();
    start();
}

static void expect_growth(const mtrace_snapshot *old, uint64_t grown, const char *text) {
    char message[1024];
    uint64_t result = mtrace_growth(message, sizeof message, old, 0);
    assert_string_equal(message, text);
    assert_int_equal(result, grown);
}

static void expect(uint64_t grown, const char *text) {
    expect_growth(reference, grown, text);
}

/* --- moved lines --- */

static void a_blank_line_above_is_no_growth(void **state) {
    (void)state;
    hold("f", 10, 100);
    hold("f", 11, 5); /* each would be found where the other one was */
    hold("f", 12, 70);
    hold("g", 20, 7);
    run_again();
    hold("f", 11, 100);
    hold("f", 12, 5);
    hold("f", 13, 70);
    hold("g", 21, 7);
    expect(0, "");
    hold("f", 12, 2); /* and what grew is seen, at its new line */
    expect(2, "memory grew by 2 B (tolerance 0 B):\n"
              "a.c:12: warning: grew by +2 B in +1 block, allocated in f");
}

static void lines_that_stayed_are_compared_with_themselves(void **state) {
    (void)state;
    hold("f", 10, 100);
    hold("f", 20, 5);
    run_again();
    hold("f", 10, 1);
    hold("f", 20, 6);
    hold("f", 30, 2);
    expect(3, "memory grew by 3 B (tolerance 0 B):\n"
              "a.c:30: warning: grew by +2 B in +1 block, allocated in f\n"
              "a.c:20: warning: grew by +1 B in +0 blocks, allocated in f");
}

/* One more call site, and the lines moved: f's lines that are not where they were are one sum. */
static void a_function_that_changed_is_one_sum(void **state) {
    (void)state;
    hold("f", 10, 50);
    hold("f", 20, 60);
    hold("f", 30, 70);
    hold("g", 90, 1);
    run_again();
    hold("f", 10, 51);
    hold("f", 19, 1);
    hold("f", 22, 60);
    hold("f", 32, 70);
    expect(2, "memory grew by 2 B (tolerance 0 B): moved lines of 1 function are one sum\n"
              "a.c:19: warning: grew by +1 B in +1 block, allocated in f\n"
              "a.c:10: warning: grew by +1 B in +0 blocks, allocated in f");
    hold("g", 91, 1);
    hold("g", 92, 1);
    expect(3, "memory grew by 3 B (tolerance 0 B): moved lines of 2 functions are one sum each\n"
              "a.c:19: warning: grew by +1 B in +1 block, allocated in f\n"
              "a.c:10: warning: grew by +1 B in +0 blocks, allocated in f\n"
              "a.c:91: warning: grew by +1 B in +1 block, allocated in g");
}

static void lines_that_vanished_do_not_make_up_for_others(void **state) {
    (void)state;
    hold("f", 10, 100);
    hold("f", 20, 5);
    run_again();
    hold("f", 20, 9);
    expect(4, "memory grew by 4 B (tolerance 0 B):\n"
              "a.c:20: warning: grew by +4 B in +0 blocks, allocated in f");
}

static void functions_are_apart(void **state) {
    (void)state;
    hold("f", 10, 100);
    run_again();
    hold("g", 10, 100);
    expect(0, ""); /* by line they are one row, as ever */
    hold("g", 11, 3);
    expect(3, "memory grew by 3 B (tolerance 0 B):\n"
              "a.c:11: warning: grew by +3 B in +1 block, allocated in g");
}

static void types_tell_call_sites_of_a_line_apart(void **state) {
    (void)state;
    hold_typed("f", 10, "cat", 100);
    hold_typed("f", 10, "dog", 5);
    run_again();
    hold_typed("f", 11, "cat", 100);
    hold_typed("f", 11, "dog", 5);
    expect(0, "");
    run_again();
    hold_typed("f", 11, "cat", 100);
    hold_typed("f", 12, "dog", 5);
    expect(0, "");
    hold_typed("f", 12, "dog", 1);
    expect(1, "memory grew by 1 B (tolerance 0 B):\n"
              "a.c:12: warning: grew by +1 B in +1 block, allocated in f, type dog");
}

/* Domains and tracebacks of a call site move together. */
static void all_accounts_of_a_site_move(void **state) {
    mtrace_site at = site_of("f", 10, NULL), caller = site_of("main", 90, NULL);
    mtrace_scope before;
    int run;
    (void)state;
    for (run = 0; run < 2; run++) {
        assert_int_equal(mtrace_track_at(1, 100, 3, &at), MTRACE_OK);
        assert_int_equal(mtrace_track_at(2, 100, 4, &at), MTRACE_OK);
        before = mtrace_scope_push_at(&caller);
        assert_int_equal(mtrace_track_at(1, 101, 5, &at), MTRACE_OK);
        mtrace_scope_restore(before);
        hold("f", at.line + 1, 1000);
        if (run == 0) {
            run_again();
            at.line++;
            caller.line++;
        }
    }
    expect(0, "");
}

/* In one run no line moves: a site that is left out of the old snapshot is new. */
static void in_one_run_lines_are_exact(void **state) {
    mtrace_filter filter = MTRACE_ZERO_;
    mtrace_snapshot *all, *old;
    (void)state;
    hold("f", 10, 100);
    hold("f", 20, 5);
    assert_int_equal(mtrace_snapshot_take(&all, false, NULL), MTRACE_OK);
    filter.has_line = true;
    filter.line = 10;
    assert_int_equal(mtrace_snapshot_filter(&old, all, &filter, 1, NULL), MTRACE_OK);
    expect_growth(all, 0, "");
    expect_growth(old, 5,
                  "memory grew by 5 B (tolerance 0 B):\n"
                  "a.c:20: warning: grew by +5 B in +1 block, allocated in f");
    mtrace_snapshot_free(old);
    mtrace_snapshot_free(all);
}

static void nothing_at_all(void **state) {
    (void)state;
    run_again();
    expect(0, "");
    hold("f", 1, 1);
    expect(1, "memory grew by 1 B (tolerance 0 B):\n"
              "a.c:1: warning: grew by +1 B in +1 block, allocated in f");
    run_again();
    expect(0, "");
}

static void a_reference_file(void **state) {
    const char *path = test_in_folder("reference.mt");
    mtrace_snapshot *old;
    (void)state;
    hold("f", 10, 100);
    hold("f", 11, 5);
    run_again();
    assert_int_equal(mtrace_snapshot_dump(reference, path), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_load(&old, path, NULL), MTRACE_OK);
    hold("f", 11, 100);
    hold("f", 12, 6);
    expect_growth(old, 1,
                  "memory grew by 1 B (tolerance 0 B):\n"
                  "a.c:12: warning: grew by +1 B in +0 blocks, allocated in f");
    mtrace_snapshot_free(old);
}

/* --- random programs and a model of the rule --- */

enum { FUNCTIONS = 3, LINES = 8 };
typedef struct program {
    uint64_t held[FUNCTIONS][LINES]; /* by line; 0: no call site */
} program;

static const char *const names[FUNCTIONS] = {"f", "g", "h"};

static void run(const program *p) {
    uint32_t f, line;
    for (f = 0; f < FUNCTIONS; f++) {
        for (line = 0; line < LINES; line++) {
            if (p->held[f][line] != 0) {
                hold(names[f], 100 * f + line, p->held[f][line]);
            }
        }
    }
}

static uint64_t rise(uint64_t from, uint64_t to) {
    return to > from ? to - from : 0;
}

/* The growth of one function, by the rule of the manual. */
static uint64_t model_function(const uint64_t *old, const uint64_t *now) {
    uint64_t exact = 0, ordered = 0, alone[2] = {0, 0};
    uint32_t i, j = 0, olds = 0, news = 0, gone = 0;
    for (i = 0; i < LINES; i++) {
        olds += old[i] != 0;
        news += now[i] != 0;
        gone += old[i] != 0 && now[i] == 0;
        exact += old[i] != 0 && now[i] != 0 ? rise(old[i], now[i]) : 0;
        alone[0] += now[i] == 0 ? old[i] : 0;
        alone[1] += old[i] == 0 ? now[i] : 0;
    }
    if (gone == 0) {
        return exact + alone[1];
    }
    for (i = 0; olds == news && i < LINES; i++) {
        if (old[i] != 0) {
            while (now[j] == 0) {
                j++;
            }
            ordered += rise(old[i], now[j++]);
        }
    }
    if (olds == news) {
        return ordered;
    }
    /* with as many bytes, blocks count */
    return exact + rise(alone[0], alone[1]) + (alone[0] == alone[1] ? rise(olds, news) : 0);
}

static void make(program *p, uint32_t *seed) {
    uint32_t i;
    for (i = 0; i < FUNCTIONS * LINES; i++) {
        p->held[i / LINES][i % LINES] = test_random(seed, 2) == 0 ? 0 : 1 + test_random(seed, 50);
    }
}

static void random_programs(void **state) {
    uint32_t seed = 5, round, f;
    (void)state;
    for (round = 0; round < 300; round++) {
        program before, after;
        uint64_t grown = 0, result;
        make(&before, &seed);
        make(&after, &seed);
        run(&before);
        run_again();
        run(&after);
        for (f = 0; f < FUNCTIONS; f++) {
            grown += model_function(before.held[f], after.held[f]);
        }
        result = mtrace_growth(NULL, 0, reference, 0);
        assert_int_equal(result, grown);
        run_again();
    }
}

/* --- suppressions --- */

static void growth_is_suppressed_by(const char *text, bool suppressed) {
    assert_int_equal(mtrace_set_suppressions(text, NULL), MTRACE_OK);
    assert_int_equal(mtrace_growth(NULL, 0, NULL, 0), suppressed ? 0 : 5);
}

static void patterns_are_those_of_the_leak_sanitizer(void **state) {
    static const struct {
        const char *name;
        bool suppressed;
    } rows[] = {{"leak:load_level", true},
                {"leak:load", true},
                {"leak:level", true},
                {"leak:loads", false},
                {"leak:^load", true},
                {"leak:^level", false},
                {"leak:level$", true},
                {"leak:load$", false},
                {"leak:^load_level$", true},
                {"leak:^oad_level$", false},
                {"leak:l*l", true},
                {"leak:^l*l$", true},
                {"leak:^l*d$", false},
                {"leak:^*level", true},
                {"leak:level*$", true},
                {"leak:load*level*x", false},
                {"leak:*", true},
                {"leak:^src/", true},
                {"leak:game.c$", true},
                {"leak:src/*.c", true},
                {"leak:game.c:7", false},
                {"leak:main", true},
                {"leak:^mai$", false},
                {"leak:Load", false},
                {"leak:load?level", false},
                {"leak:el$ignored", true},
                {"leak:le*el$", true},
                {"leak:^load_level_two", false}};
    mtrace_site site = MTRACE_ZERO_, caller = site_of("main", 3, NULL);
    mtrace_scope before = mtrace_scope_push_at(&caller);
    size_t i;
    (void)state;
    site.file = "src/game.c";
    site.function = "load_level";
    site.line = 7;
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 1, 5, &site), MTRACE_OK);
    mtrace_scope_restore(before);
    for (i = 0; TEST_ROWS(i, rows); i++) {
        growth_is_suppressed_by(rows[i].name, rows[i].suppressed);
    }
    growth_is_suppressed_by(NULL, false);
    growth_is_suppressed_by("", false);
    growth_is_suppressed_by("# a comment\r\n\n  \t\n leak:nothing \n\tleak:load_level \t\r\n",
                            true);
}

static void expect_bad_line(const char *text, uint32_t number) {
    uint32_t line = 77;
    assert_int_equal(mtrace_set_suppressions(text, &line), MTRACE_ERR_ARGUMENT);
    assert_int_equal(line, number);
}

static void a_bad_line_has_a_number(void **state) {
    uint32_t line = 77;
    (void)state;
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    hold("f", 10, 5);
    assert_int_equal(mtrace_set_suppressions("# one\nleak:f\n", &line), MTRACE_OK);
    assert_int_equal(line, 0);
    expect_bad_line("leaks:f", 1);
    expect_bad_line("leak:f\n\n# three\nrace:f\nleak:g", 4);
    expect_bad_line("leak:f\nleak:", 2);
    expect_bad_line("leak f\n", 1);
    expect_bad_line("leak:f\n leak: \n", 2);
    assert_int_equal(mtrace_set_suppressions("f", NULL), MTRACE_ERR_ARGUMENT);
    expect_growth(NULL, 0, ""); /* the ones before stay */
}

/* Of one line, only what matches is left out, on both sides of a comparison. */
static void suppressed_memory_is_left_out_of_its_line(void **state) {
    mtrace_site site = site_of("f", 10, NULL), caller = site_of("cache", 90, NULL);
    mtrace_snapshot *old;
    mtrace_scope before = mtrace_scope_push_at(&caller);
    (void)state;
    assert_int_equal(mtrace_set_suppressions("leak:^cache$", NULL), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 1, 100, &site), MTRACE_OK);
    mtrace_scope_restore(before);
    assert_int_equal(mtrace_snapshot_take(&old, false, NULL), MTRACE_OK);
    assert_int_equal(mtrace_untrack_at(1, 1, NULL), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 2, 30, &site), MTRACE_OK);
    expect_growth(old, 30,
                  "memory grew by 30 B (tolerance 0 B):\n"
                  "a.c:10: warning: grew by +30 B in +1 block, allocated in f");
    mtrace_snapshot_free(old);
}

static void blocks_under_check_are_suppressed_too(void **state) {
    (void)state;
    assert_int_equal(mtrace_set_suppressions("leak:fills_a_cache", NULL), MTRACE_OK);
    MT_ASSERT_NO_LEAKS {
        hold("fills_a_cache", 1, 10);
    }
}

/* --- files of suppressions --- */

static const char *file_of(const char *text, size_t length) {
    const char *path = test_in_folder("suppressions.txt");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void expect_bad_file(const char *text, size_t length, uint32_t number) {
    uint32_t line = 77;
    assert_int_equal(mtrace_load_suppressions(file_of(text, length), &line), MTRACE_ERR_ARGUMENT);
    assert_int_equal(line, number);
}

static void suppressions_come_from_a_file(void **state) {
    static char many[20000];
    uint32_t line = 77;
    size_t i;
    (void)state;
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    hold("f", 10, 5);
    for (i = 0; i < sizeof many; i++) {
        many[i] = "leak:xy\n"[i % 8];
    }
    memcpy(many + sizeof many - 8, "#\nleak:f", 8); /* no newline at the end */
    assert_int_equal(mtrace_load_suppressions(file_of(many, sizeof many), &line), MTRACE_OK);
    assert_int_equal(line, 0);
    expect_growth(NULL, 0, "");
    expect_bad_file("leak:f\nrace:f\n", 14, 2);
    expect_bad_file("leak:f\nleak:\0f\nleak:g\n", 22, 2);
    assert_int_equal(mtrace_load_suppressions(test_in_folder("none"), &line), MTRACE_ERR_IO);
    assert_int_equal(line, 0);
    expect_growth(NULL, 0, ""); /* the ones before stay */
    assert_int_equal(mtrace_load_suppressions(file_of("", 0), NULL), MTRACE_OK);
    assert_int_equal(mtrace_growth(NULL, 0, NULL, 0), 5);
    assert_int_equal(mtrace_load_suppressions(file_of("leak:f", 6), NULL), MTRACE_OK);
    expect_growth(NULL, 0, "");
    assert_int_equal(mtrace_load_suppressions(NULL, NULL), MTRACE_OK);
    assert_int_equal(mtrace_growth(NULL, 0, NULL, 0), 5);
    test_fail_next = 1;
    assert_int_equal(mtrace_load_suppressions(file_of("leak:f", 6), NULL), MTRACE_ERR_NO_MEMORY);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_blank_line_above_is_no_growth),
        TEST(lines_that_stayed_are_compared_with_themselves),
        TEST(a_function_that_changed_is_one_sum),
        TEST(lines_that_vanished_do_not_make_up_for_others),
        TEST(functions_are_apart),
        TEST(types_tell_call_sites_of_a_line_apart),
        TEST(all_accounts_of_a_site_move),
        TEST(in_one_run_lines_are_exact),
        TEST(nothing_at_all),
        TEST(a_reference_file),
        TEST(random_programs),
        TEST(patterns_are_those_of_the_leak_sanitizer),
        TEST(a_bad_line_has_a_number),
        TEST(suppressed_memory_is_left_out_of_its_line),
        TEST(blocks_under_check_are_suppressed_too),
        TEST(suppressions_come_from_a_file),
    };
    return cmocka_run_group_tests(tests, test_make_folder, test_remove_folder);
}

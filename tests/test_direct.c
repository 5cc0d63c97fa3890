/* Bare metal's reports: straight from the counters, without memory and with the lock open while the
   writer runs. They say what the reports of snapshots say. Built with MTRACE_BARE_METAL. */

#undef MTRACE_CONFIG_FILE
#undef MTRACE_SINGLE_THREAD
#define MTRACE_BARE_METAL

static int locked, lock_count, lock_faults;

#define MTRACE_LOCK()   (lock_faults += locked++ != 0, lock_count++)
#define MTRACE_UNLOCK() unlock()

static void unlock(void);

#include "support/test.h"

/* --- a writer that looks at the lock, and may do something at its nth call --- */

static test_output output;
static int calls_left; /* until `act` is called; below 0: never */
static void (*act)(void);

static void write_unlocked(const char *text, size_t length, void *user) {
    lock_faults += locked != 0;
    test_write(text, length, user);
    if (calls_left >= 0 && calls_left-- == 0) {
        act();
    }
}

enum { LINE = 96 }; /* bytes that the writer gets at once */

static uint64_t memory[1 << 12]; /* 32 KiB, aligned */

static void start(size_t max_blocks, size_t max_sites, size_t max_scopes, size_t name_bytes) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = max_blocks;
    desc.max_sites = max_sites;
    desc.max_scopes = max_scopes;
    desc.name_bytes = name_bytes;
    desc.frames = 4;
    desc.memory = memory;
    desc.memory_size = sizeof memory;
    desc.write = write_unlocked;
    desc.write_user = &output;
    desc.columns = LINE - 1;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static int unlocks_left = -1; /* until a stop; below 0: never */

/* The report's list of accounts: how many entries one lock changed at most. */
enum { LISTED = 24 };
static bool watches_list;
static mtrace_number_t_ listed[LISTED];
static int most_changes;

static void watch_list(void) {
    int i, changes = 0;
    for (i = 0; i < LISTED; i++) {
        changes += listed[i] != mtrace_g_.scratch[i] ? 1 : 0;
        listed[i] = mtrace_g_.scratch[i];
    }
    most_changes = changes > most_changes ? changes : most_changes;
}

static void unlock(void) {
    if (watches_list) {
        watch_list();
    }
    lock_faults += --locked != 0;
    if (unlocks_left >= 0 && unlocks_left-- == 0) {
        mtrace_stop();
    }
}

static void output_clear(void) {
    output.length = 0;
    output.text[0] = '\0';
    calls_left = -1;
}

static int setup(void **state) {
    (void)state;
    output_clear();
    lock_faults = 0;
    start(64, 24, 8, 1024);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    test_sound();
    mtrace_stop();
    assert_int_equal(lock_faults, 0);
    return 0;
}

static void track(uintptr_t key, uint64_t size, const char *file, uint32_t line) {
    mtrace_site site = test_site(file, line);
    assert_int_equal(mtrace_track_at(1, key, size, &site), MTRACE_OK);
}

/* --- the same from a snapshot, in memory of the test's --- */

static void *snapshot_memory[1 << 13], *old_memory[1 << 13], *rows_memory[1 << 14];

static mtrace_snapshot *take(void **place, size_t size) {
    mtrace_buffer room;
    mtrace_snapshot *snapshot;
    room.data = place;
    room.size = size;
    assert_int_equal(mtrace_snapshot_take(&snapshot, false, &room), MTRACE_OK);
    return snapshot;
}

static void report(const mtrace_print_desc *desc, const mtrace_snapshot *old) {
    mtrace_snapshot *now = take(snapshot_memory, sizeof snapshot_memory);
    mtrace_buffer room;
    mtrace_rows *rows;
    room.data = rows_memory;
    room.size = sizeof rows_memory;
    mtrace_snapshot_set_view(now, desc->view);
    assert_int_equal(old == NULL
                         ? mtrace_snapshot_statistics(&rows, now, desc->key_type, &room)
                         : mtrace_snapshot_compare_to(&rows, now, old, desc->key_type, &room),
                     MTRACE_OK);
    output_clear();
    assert_int_equal(mtrace_report(rows, &desc->report), MTRACE_OK);
}

/* Direct warnings are no longer than a line: they lose their beginning. This leaves of each line
   the part that both have. */
static char *cut(char *line) {
    size_t length = strlen(line);
    return length < LINE - 16 ? line : line + length - (LINE - 16);
}

/* Compares lines in any order. */
static int compare_lines(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_lines(char *text) {
    static char copy[sizeof output.text];
    const char *lines[1000];
    size_t count = 0, i;
    char *line;
    strcpy(copy, text);
    for (line = strtok(copy, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        lines[count++] = cut(line);
    }
    qsort(lines, count, sizeof *lines, compare_lines);
    text[0] = '\0';
    for (i = 0; i < count; i++) {
        strcat(strcat(text, lines[i]), "\n");
    }
}

/* `old` is what mtrace_print gets, `same` the snapshot of the same moment. */
static void expect_same(mtrace_print_desc desc, const mtrace_snapshot *old,
                        const mtrace_snapshot *same) {
    static char expected[sizeof output.text];
    report(&desc, same);
    strcpy(expected, output.text);
    desc.old = old;
    desc.since_baseline = old == NULL && same != NULL;
    output_clear();
    assert_int_equal(mtrace_print(&desc), MTRACE_OK);
    if (desc.report.style == MTRACE_STYLE_WARNINGS) { /* direct ones are in the order of lines */
        sort_lines(expected);
        sort_lines(output.text);
    }
    assert_string_equal(output.text, expected);
}

static void expect_same_growth(const mtrace_snapshot *old, const mtrace_snapshot *same) {
    char message[4096], *lines, *end;
    mtrace_print_desc desc = MTRACE_ZERO_;
    uint64_t grown = mtrace_growth(message, sizeof message, old, 0);
    if (grown == UINT64_MAX) {
        assert_string_equal(message, "cannot tell whether memory grew: blocks were not traced, "
                                     "the table was full");
        return;
    }
    desc.report.style = MTRACE_STYLE_WARNINGS;
    report(&desc, same);
    end = strstr(output.text, "mtrace's own memory");
    if (end != NULL) {
        *end = '\0';
    }
    if (grown == 0) {
        assert_string_equal(message, "");
        assert_string_equal(output.text, "");
        return;
    }
    lines = strchr(message, '\n');
    assert_non_null(lines);
    strcat(message, "\n");
    assert_string_equal(lines + 1, output.text);
}

/* --- many states --- */

static uint32_t dice(uint32_t sides) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % sides;
}

static mtrace_site any_site(void) {
    static const char *const files[] = {"src/a.c", "src/b.c", "lib/c.c"};
    static const char *const functions[] = {"f", "g", NULL};
    static const char *const types[] = {NULL, "int", "node"};
    mtrace_site site = MTRACE_ZERO_;
    site.file = files[dice(3)];
    site.function = functions[dice(3)];
    site.type = types[dice(3)];
    site.line = 1 + dice(4);
    return site;
}

static void *blocks[16];

static void step(void) {
    mtrace_site site = any_site(), outer = any_site(), inner = any_site();
    mtrace_scope first = mtrace_scope_push_at(&outer);
    mtrace_scope second = dice(2) ? mtrace_scope_push_at(&inner) : first;
    uint32_t i = dice(16);
    size_t size = dice(8) == 0 ? dice(100000) : dice(500);
    switch (dice(5)) {
    case 0:
        (void)mtrace_track_at(1 + dice(3), 1 + dice(40), size, &site);
        break;
    case 1:
        (void)mtrace_untrack_at(1 + dice(3), 1 + dice(40), &site);
        break;
    case 2:
        mtrace_free_at(blocks[i], &site);
        blocks[i] = NULL;
        break;
    default:
        blocks[i] = mtrace_realloc_at(blocks[i], 1 + size, &site);
    }
    if (dice(2)) {
        mtrace_scope_restore(second);
    }
    mtrace_scope_restore(first);
    if (dice(60) == 0) {
        mtrace_reset_peak();
    }
}

static void free_blocks(void) {
    size_t i;
    for (i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        mtrace_free_at(blocks[i], NULL);
        blocks[i] = NULL;
    }
}

static void compare_all(const mtrace_snapshot *old) {
    static const mtrace_key_type keys[] = {MTRACE_BY_LINE, MTRACE_BY_FILE,   MTRACE_BY_FUNCTION,
                                           MTRACE_BY_TYPE, MTRACE_BY_DOMAIN, MTRACE_BY_TRACEBACK};
    mtrace_print_desc desc = MTRACE_ZERO_;
    size_t i;
    for (i = 0; i < sizeof keys / sizeof *keys; i++) {
        int view;
        desc.key_type = keys[i];
        desc.report.top = dice(2) ? 0 : dice(12);
        for (view = MTRACE_VIEW_LIVE; view <= MTRACE_VIEW_TOTAL; view++) {
            desc.view = (mtrace_view)view;
            expect_same(desc, NULL, NULL);
        }
        desc.view = MTRACE_VIEW_LIVE;
        desc.report.unchanged = dice(3) == 0;
        expect_same(desc, old, old);
        expect_same(desc, NULL, old); /* the baseline */
        desc.report.top = 0;
        desc.report.style = MTRACE_STYLE_WARNINGS;
        expect_same(desc, NULL, NULL);
        expect_same(desc, old, old);
        desc.report.style = MTRACE_STYLE_TABLE;
    }
    expect_same_growth(old, old);
    expect_same_growth(NULL, old);
}

static void same_as_of_a_snapshot(void **state) {
    int round;
    (void)state;
    mtrace_stop();
    assert_int_equal(mtrace_name_domain(2, "textures"), MTRACE_OK);
    for (round = 0; round < 150; round++) {
        const mtrace_snapshot *old;
        uint32_t i;
        switch (round % 4) {
        case 0: /* all tables become full */
            start(8, 6, 2, 16);
            break;
        case 1:
            start(64, 12, 4, 40);
            break;
        default:
            start(256, 80, 20, 1024);
        }
        for (i = dice(100); i > 0; i--) {
            step();
        }
        old = take(old_memory, sizeof old_memory);
        assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
        for (i = dice(100); i > 0; i--) {
            step();
        }
        compare_all(old);
        test_sound();
        free_blocks();
        mtrace_stop();
    }
    start(64, 24, 8, 1024);
}

static void shorthands_are_prints(void **state) {
    static char expected[sizeof output.text];
    mtrace_print_desc desc = MTRACE_ZERO_;
    (void)state;
    track(1, 100, "a.c", 1);
    track(2, 50, "b.c", 2);
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    track(3, 30, "b.c", 3);
    desc.report.top = 2;
    report(&desc, NULL);
    strcpy(expected, output.text);
    output_clear();
    assert_int_equal(mtrace_print_top(2), MTRACE_OK);
    assert_string_equal(output.text, expected);
    desc.view = MTRACE_VIEW_PEAK;
    report(&desc, NULL);
    strcpy(expected, output.text);
    output_clear();
    assert_int_equal(mtrace_print_peak(2), MTRACE_OK);
    assert_string_equal(output.text, expected);
    output_clear();
    assert_int_equal(mtrace_print_leaks(), MTRACE_OK);
    assert_string_equal(output.text, "a.c:1: warning: 100 B in 1 block not freed, allocated in f\n"
                                     "b.c:2: warning: 50 B in 1 block not freed, allocated in f\n"
                                     "b.c:3: warning: 30 B in 1 block not freed, allocated in f\n");
    output_clear();
    assert_int_equal(mtrace_print_diff(NULL, 2), MTRACE_OK);
    assert_non_null(strstr(output.text, "\n    +30 B        30 B         +1       1  b.c:3 f\n"));
}

/* --- other tasks and interrupts, which come while the writer runs --- */

static void expect_last_line(const char *line) {
    size_t length = strlen(line);
    assert_true(output.length >= length);
    assert_string_equal(output.text + output.length - length, line);
}

static void three_lines(void) {
    track(1, 100, "a.c", 1);
    track(2, 50, "b.c", 2);
    track(3, 30, "b.c", 3);
}

static void stop_and_overwrite(void) {
    mtrace_stop();
    memset(memory, 0xa5, sizeof memory);
}

static void start_anew(void) {
    stop_and_overwrite();
    start(64, 24, 8, 1024);
    track(9, 1, "new.c", 1);
}

/* Each of them comes at each of the writer's calls. */
static void a_session_may_end_in_between(void **state) {
    static void (*const ends[])(void) = {stop_and_overwrite, start_anew, mtrace_clear};
    mtrace_result (*const prints[])(size_t top) = {mtrace_print_top, mtrace_print_peak};
    size_t i;
    int at;
    (void)state;
    for (i = 0; i < 2 * sizeof ends / sizeof *ends; i++) {
        for (at = 0;; at++) {
            mtrace_result result;
            mtrace_stop();
            start(64, 24, 8, 1024);
            three_lines();
            output_clear();
            calls_left = at;
            act = ends[i / 2];
            result = prints[i % 2](2);
            if (calls_left >= 0 || result == MTRACE_OK) {
                break; /* the last line was out */
            }
            assert_int_equal(result, MTRACE_ERR_CHANGED);
            expect_last_line("mtrace: stopped, started or cleared in between\n");
            assert_int_equal(mtrace_print_top(1),
                             act == stop_and_overwrite ? MTRACE_ERR_NOT_TRACING : MTRACE_OK);
        }
        assert_true(at >= 3);
    }
    mtrace_stop();
    start(64, 24, 8, 1024);
}

static mtrace_result inner_result;

static void print_again(void) {
    inner_result = mtrace_print_top(3);
}

static void one_report_at_a_time(void **state) {
    static char expected[sizeof output.text];
    int at;
    (void)state;
    three_lines();
    assert_int_equal(mtrace_print_top(3), MTRACE_OK);
    strcpy(expected, output.text);
    for (at = 0; at < 5; at++) {
        output_clear();
        calls_left = at;
        act = print_again;
        inner_result = MTRACE_OK;
        assert_int_equal(mtrace_print_top(3), MTRACE_OK);
        assert_string_equal(output.text, expected);
        assert_int_equal(inner_result, MTRACE_ERR_BUSY);
    }
    output_clear();
    assert_int_equal(mtrace_print_top(3), MTRACE_OK);
    assert_string_equal(output.text, expected);
}

static void grow_b(void) {
    track(4, 1000, "b.c", 3);
}

static void new_line(void) {
    track(5, 1000, "c.c", 1);
}

/* The last line says so, and no line appears twice. */
static void figures_may_change_in_between(void **state) {
    static void (*const changes[])(void) = {grow_b, new_line};
    size_t i;
    int at;
    (void)state;
    for (i = 0; i < 2; i++) {
        for (at = 0; at < 5; at++) {
            mtrace_stop();
            start(64, 24, 8, 1024);
            three_lines();
            output_clear();
            calls_left = at;
            act = changes[i];
            assert_int_equal(mtrace_print_top(3), MTRACE_OK);
            assert_non_null(strstr(output.text, "; figures changed while printing\n"));
            assert_non_null(strstr(output.text, "a.c:1 f\n"));
            assert_null(strstr(strstr(output.text, "b.c:3 f\n") + 1, "b.c:3 f\n"));
        }
    }
}

/* The lock is taken at least once a row of each pass. */
static void the_lock_is_open_between_rows(void **state) {
    uint32_t line;
    (void)state;
    for (line = 1; line <= 20; line++) {
        track(line, 10, "a.c", line);
    }
    lock_count = 0;
    assert_int_equal(mtrace_print_top(3), MTRACE_OK);
    assert_true(lock_count > 4 * 20);
}

/* To list, to sort and to print a row changes few entries under one lock: a heap of 20 has five
   levels. */
static void the_lock_is_open_between_accounts(void **state) {
    uint32_t i;
    (void)state;
    for (i = 0; i < 20; i++) {
        track(i, 20 - i, "a.c", i + 1);
    }
    watch_list();
    most_changes = 0;
    watches_list = true;
    assert_int_equal(mtrace_print_top(0), MTRACE_OK);
    watches_list = false;
    assert_in_range(most_changes, 1, 7);
}

/* --- the block that a pointer points into --- */

static void find_containing(uintptr_t address, mtrace_result expected, uint32_t line) {
    mtrace_block found;
    assert_int_equal(mtrace_find_containing(&found, (const void *)address), expected);
    if (expected == MTRACE_OK) {
        assert_int_equal(found.line, line);
    }
}

static void containing_lets_the_lock_go(void **state) {
    int at;
    (void)state;
    track(1000, 100, "a.c", 1);
    track(1050, 10, "b.c", 2);
    lock_count = 0;
    find_containing(1099, MTRACE_OK, 1);
    assert_true(lock_count > 128 / 8); /* slots */
    find_containing(1055, MTRACE_OK, 2);
    find_containing(1100, MTRACE_ERR_NOT_FOUND, 0);
    for (at = 0; at < 128 / 8; at++) { /* a stop at each moment */
        unlocks_left = at;
        find_containing(1099, MTRACE_ERR_CHANGED, 0);
        find_containing(1099, MTRACE_ERR_NOT_TRACING, 0);
        start(64, 24, 8, 1024);
        track(1000, 100, "a.c", 1);
    }
    find_containing(1099, MTRACE_OK, 1);
}

/* --- what it says instead of rows --- */

static void expect_refusal(mtrace_result result, mtrace_result expected, const char *line) {
    assert_int_equal(result, expected);
    assert_string_equal(output.text, line);
    output_clear();
}

static mtrace_result print_by(mtrace_key_type key_type) {
    mtrace_print_desc desc = MTRACE_ZERO_;
    desc.key_type = key_type;
    return mtrace_print(&desc);
}

static void refusals(void **state) {
    mtrace_print_desc desc = MTRACE_ZERO_;
    mtrace_buffer room;
    mtrace_snapshot *old, *copy;
    (void)state;
    expect_refusal(print_by(99), MTRACE_ERR_ARGUMENT,
                   "mtrace: bad argument: no such MTRACE_BY_, or a flag that it cannot have\n");
    expect_refusal(print_by(MTRACE_BY_SIZE_CLASS), MTRACE_ERR_NO_BLOCKS,
                   "mtrace: size classes need a snapshot with its blocks\n");
    expect_refusal(
        print_by(MTRACE_BY_LINE | MTRACE_KEY_CUMULATIVE), MTRACE_ERR_ARGUMENT,
        "mtrace: bad argument: take a snapshot, and call mtrace_report() for such rows\n");
    desc.report.style = MTRACE_STYLE_LINES;
    expect_refusal(
        mtrace_print(&desc), MTRACE_ERR_ARGUMENT,
        "mtrace: bad argument: take a snapshot, and call mtrace_report() for such rows\n");
    expect_refusal(
        mtrace_print_diff(NULL, 3), MTRACE_ERR_NO_BASELINE,
        "mtrace: no baseline: mtrace_set_baseline() not called since the start or clear\n");
    old = take(old_memory, sizeof old_memory);
    room.data = rows_memory;
    room.size = sizeof rows_memory;
    assert_int_equal(mtrace_snapshot_filter(&copy, old, NULL, 0, &room), MTRACE_OK);
    expect_refusal(
        mtrace_print_diff(copy, 3), MTRACE_ERR_ARGUMENT,
        "mtrace: bad argument: the old snapshot is a copy, or from before a start or clear\n");
    mtrace_clear();
    expect_refusal(
        mtrace_print_diff(old, 3), MTRACE_ERR_ARGUMENT,
        "mtrace: bad argument: the old snapshot is a copy, or from before a start or clear\n");
    mtrace_stop();
    expect_refusal(mtrace_print_top(3), MTRACE_ERR_NOT_TRACING,
                   "mtrace: not tracing: mtrace_start() not called, or stopped\n");
    mtrace_g_.write = NULL;
    expect_refusal(mtrace_print_top(3), MTRACE_ERR_NO_WRITER, "");
}

#ifndef MTRACE_SMALL /* which reports none: tests/test_small.c */
/* Without MTRACE_WRONG_FREES. */
static void wrong_frees_are_not_told_apart(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    char *block;
    (void)state;
    mtrace_stop();
    desc.memory = memory;
    desc.memory_size = sizeof memory;
    desc.kept_frees = 4;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.kept_frees = 0;
    desc.interior_free = MTRACE_FOREIGN_REPORT;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.interior_free = MTRACE_FOREIGN_COUNT;
    desc.foreign_free = MTRACE_FOREIGN_REPORT;
    desc.write = write_unlocked;
    desc.write_user = &output;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    block = (char *)MT_MALLOC(40);
    MT_FREE(malloc(10));
    assert_non_null(strstr(output.text, ": warning: free of a pointer that is not traced: 0x"));
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    MT_FREE(block);
}
#endif

static char failure[64];

#undef MTRACE_FAIL
#define MTRACE_FAIL(message) (void)snprintf(failure, sizeof failure, "%.40s", message)

static void growth_says_why_it_cannot_know(void **state) {
    char message[128];
    (void)state;
    assert_true(mtrace_growth(message, sizeof message, NULL, 0) == UINT64_MAX);
    assert_string_equal(message, "cannot tell whether memory grew: no baseline: "
                                 "mtrace_set_baseline() not called since the start or clear");
    failure[0] = '\0';
    MT_ASSERT_NO_GROWTH(NULL, 0);
    assert_string_not_equal(failure, "");
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    failure[0] = '\0';
    MT_ASSERT_NO_GROWTH(NULL, 0);
    assert_string_equal(failure, "");
    mtrace_stop();
    assert_true(mtrace_growth(message, sizeof message, NULL, 0) == UINT64_MAX);
    assert_string_equal(message, "cannot tell whether memory grew: not tracing: mtrace_start() not "
                                 "called, or stopped");
}

static void growth_has_a_tolerance(void **state) {
    char message[256];
    (void)state;
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    track(1, 10, "a.c", 1);
    track(2, 20, "b.c", 2);
    assert_int_equal(mtrace_growth(message, sizeof message, NULL, 30), 0);
    assert_string_equal(message, "");
    assert_int_equal(mtrace_growth(message, sizeof message, NULL, 29), 30);
    assert_string_equal(message, "memory grew by 30 B (tolerance 29 B):\n"
                                 "b.c:2: warning: grew by +20 B in +1 block, allocated in f\n"
                                 "a.c:1: warning: grew by +10 B in +1 block, allocated in f");
    assert_int_equal(mtrace_growth(message, 20, NULL, 0), 30); /* cut to fit */
    assert_string_equal(message, "memory grew by 30 B");
}

/* --- names longer than a line --- */

static void long_names_are_cut(void **state) {
    char file[300], *line;
    mtrace_print_desc desc = MTRACE_ZERO_;
    (void)state;
    memset(file, 'x', sizeof file);
    strcpy(file + 200, "/end.c");
    track(1, 10, file, 1);
    desc.report.columns = 80;
    assert_int_equal(mtrace_print(&desc), MTRACE_OK);
    line = strstr(output.text, "...x");
    assert_non_null(line);
    assert_non_null(strstr(line, "x/end.c:1 f\n"));
    assert_int_equal(strchr(line, '\n') - (line - 41), 80);
    output_clear();
    assert_int_equal(mtrace_print_leaks(), MTRACE_OK);
    assert_memory_equal(output.text, "...x", 4);
    expect_last_line("x/end.c:1: warning: 10 B in 1 block not freed, allocated in f\n");
    assert_int_equal(output.length, LINE);
    output_clear();
    desc.report.columns = 1000; /* more than a line can hold */
    assert_int_equal(mtrace_print(&desc), MTRACE_OK);
    assert_non_null(strstr(output.text, "x/end.c:1 f\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(same_as_of_a_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(shorthands_are_prints, setup, teardown),
        cmocka_unit_test_setup_teardown(a_session_may_end_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(one_report_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(figures_may_change_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(the_lock_is_open_between_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(the_lock_is_open_between_accounts, setup, teardown),
        cmocka_unit_test_setup_teardown(containing_lets_the_lock_go, setup, teardown),
#ifndef MTRACE_SMALL
        cmocka_unit_test_setup_teardown(wrong_frees_are_not_told_apart, setup, teardown),
#endif
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(growth_says_why_it_cannot_know, setup, teardown),
        cmocka_unit_test_setup_teardown(growth_has_a_tolerance, setup, teardown),
        cmocka_unit_test_setup_teardown(long_names_are_cut, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

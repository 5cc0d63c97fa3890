/* The console's commands: every word, what their beginnings stand for, what is refused, and what
   completion offers. No line can crash it. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"
#include "support/ext.h"
#include "support/threads.h"
#include "support/tools.h"

#include <unistd.h>

static test_output output, by_default;

static mtrace_result say(const char *line) {
    output.length = 0;
    output.text[0] = '\0';
    return mtrace_command(line, test_write, &output);
}

static bool answers(const char *part) {
    return strstr(output.text, part) != NULL;
}

static void expect_answer(const char *line, mtrace_result result, const char *text) {
    assert_int_equal(say(line), result);
    assert_string_equal(output.text, text);
}

static void expect_part(const char *line, const char *part) {
    assert_int_equal(say(line), MTRACE_OK);
    if (!answers(part)) {
        printf("%s: no %s in\n%s", line, part, output.text);
        fail();
    }
}

static void track(uint32_t domain, uintptr_t key, uint64_t size, const char *file,
                  const char *function, uint32_t line) {
    mtrace_site site = test_site(file, line);
    site.function = function;
    assert_int_equal(mtrace_track_at(domain, key, size, &site), MTRACE_OK);
}

static int setup(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.max_blocks = 64;
    desc.max_sites = 24;
    desc.frames = 4;
    desc.write = test_write;
    desc.write_user = &by_default;
    by_default.length = 0;
    by_default.text[0] = '\0';
    test_forget_domain_names();
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_name_domain(3, "audio"), MTRACE_OK);
    track(3, 0x100, 300, "src/sound.c", "load_sound", 7);
    track(4, 0x200, 200, "src/map.c", "load_map", 8);
    track(4, 0x300, 100, "src/map.c", "draw", 9);
    return 0;
}

static int teardown(void **state) {
    assert_int_equal(say("filter off"), MTRACE_OK);
    assert_int_equal(say("domain off"), MTRACE_OK);
    assert_int_equal(say("watch off"), MTRACE_OK);
    test_forget_domain_names();
    return test_stop_after(state);
}

/* --- words --- */

/* Each line, what it answers, and what it does not. */
static const struct {
    const char *name;
    mtrace_result result;
    const char *has, *lacks;
} lines[] = {
    {"help", MTRACE_OK, "top [N] [by KEY] [peak|total]", "mtrace:"},
    {"help sa", MTRACE_OK, "save FILE", "top"},
    {"help nothing", MTRACE_ERR_ARGUMENT, "\"nothing\" is none of help, top,", "FILE"},
    {"top", MTRACE_OK, "300 B     50.0         1     300 B    src/sound.c:7 load_sound\n", ":\nm"},
    {"top 1", MTRACE_OK, "<other: 2 lines>", "map.c"},
    {"top 0", MTRACE_OK, "src/map.c:9 draw", "other"},
    {"top 99999999999999999999", MTRACE_ERR_ARGUMENT, "\"99999999999999999999\" is none of by,",
     "3"
     "00"},
    {"top by file", MTRACE_OK, "2     300 B    src/map.c\n", ":7"},
    {"top by function", MTRACE_OK, "load_map (src/map.c)", ":8"},
    {"top by type", MTRACE_OK, "3     600 B    <untyped>", "map.c"},
    {"top by domain", MTRACE_OK, "300 B    domain 3 audio\n", "map.c"},
    {"top by module", MTRACE_OK, "; 1 of 1 module\n", "map.c"},
    {"top by mod", MTRACE_OK, "3     600 B    <no module>", "map.c"},
    {"top by size", MTRACE_OK, "up to 512 B", "map.c"},
    {"top by traceback", MTRACE_OK, "src/map.c:9 draw", "domain"},
    {"top peak", MTRACE_OK, "600 B in 3 blocks held at the peak", "in all"},
    {"top total", MTRACE_OK, "600 B in 3 blocks allocated in all", "peak;"},
    {"total", MTRACE_ERR_ARGUMENT, "\"total\" is none of", "600"},
    {"top by do 1 tot", MTRACE_OK, "1 of 2 domains", "map.c"},
    {"\ttop  1\r", MTRACE_OK, "1 of 3 lines", "map.c"},
    {"top 1\nclear", MTRACE_OK, "1 of 3 lines", "forgotten"},
    {"\"top\" \"1\"", MTRACE_OK, "1 of 3 lines", "map.c"},
    {"top by", MTRACE_ERR_ARGUMENT,
     "a word is missing: line, file, function, type, domain, size, traceback, module", "\""},
    {"top by f", MTRACE_ERR_ARGUMENT, "\"f\" may be file, function\n", "%"},
    {"top by colour", MTRACE_ERR_ARGUMENT, "\"colour\" is none of line, file,", "%"},
    {"top peek", MTRACE_ERR_ARGUMENT, "\"peek\" is none of by, peak, total\n", "%"},
    {"diff", MTRACE_ERR_NO_BASELINE, "no baseline", "%"},
    {"diff peak", MTRACE_ERR_ARGUMENT, "\"peak\" is none of by\n", "%"},
    {"leaks", MTRACE_OK, "src/map.c:9: warning: 100 B in 1 block not freed, allocated in draw",
     "%"},
    {"leaks 3", MTRACE_ERR_ARGUMENT, "write leaks\n", "warning"},
    {"who", MTRACE_ERR_ARGUMENT, "write who ADDRESS\n", "block"},
    {"who 1 2", MTRACE_ERR_ARGUMENT, "write who ADDRESS\n", "block"},
    {"who 0x100", MTRACE_OK,
     "0x100: a tracked key of 300 B, domain 3 audio\n  src/sound.c:7 load_"
     "sound\n",
     "into"},
    {"who 257", MTRACE_OK, "0x101: 1 byte into a tracked key of 300 B at 0x100, domain 3", "map"},
    {"who 0x9", MTRACE_ERR_NOT_FOUND, "mtrace: no traced block there\n", "0x9"},
    {"who 0x", MTRACE_ERR_ARGUMENT, "mtrace: no address: \"0x\"\n", "block"},
    {"who 12q", MTRACE_ERR_ARGUMENT, "mtrace: no address: \"12q\"\n", "block"},
    {"who -1", MTRACE_ERR_ARGUMENT, "mtrace: no address: \"-1\"\n", "block"},
    {"who 0xFFFFFFFFFFFFFFFFF", MTRACE_ERR_ARGUMENT, "no address", "block"},
    {"top 18446744073709551615", MTRACE_OK, "3 of 3 lines", "none of"},
    {"top 18446744073709551616", MTRACE_ERR_ARGUMENT, "is none of by, peak, total\n", "lines"},
    {"pause", MTRACE_OK, "mtrace: paused", "error"},
    {"resume", MTRACE_OK, "mtrace: new blocks are traced\n", "error"},
    {"reset-peak", MTRACE_OK, "the peak is what is held now", "error"},
    {"info", MTRACE_OK, "mtrace: tracing: 600 B held, 600 B at the peak\nblocks 3 of ", "filter"},
    {"r", MTRACE_ERR_ARGUMENT, "mtrace: \"r\" may be resume, reset-peak\n", "help"},
    {"d", MTRACE_ERR_ARGUMENT, "mtrace: \"d\" may be diff, domain\n", "help"},
    {"t", MTRACE_OK, "3 of 3 lines", "<other"},
    {"\"\"", MTRACE_ERR_ARGUMENT, "a word is missing: help, top", "%"},
    {"Top", MTRACE_ERR_ARGUMENT, "\"Top\" is none of help, top,", "%"},
    {"top \"1", MTRACE_ERR_ARGUMENT, "mtrace: a quote is not closed\n", "%"},
    {"\"", MTRACE_ERR_ARGUMENT, "mtrace: a quote is not closed\n", "%"},
    {"a\033[31mb", MTRACE_ERR_ARGUMENT, "\"a\\x1b[31mb\" is none of", "\033"},
    {"gr\303\266\303\237e", MTRACE_ERR_ARGUMENT, "\"gr\303\266\303\237e\" is none of", "x"},
    {"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeee", MTRACE_ERR_ARGUMENT, "dddddddddd..\" is none",
     "e.."},
    {"save", MTRACE_ERR_ARGUMENT, "write save FILE\n", "saved"},
    {"save /nowhere/at/all", MTRACE_ERR_IO, "mtrace: No such file", "saved"},
    {"watch a b", MTRACE_ERR_ARGUMENT, "write watch PATTERN|off\n", "mtrace: watch"},
    {"", MTRACE_OK, "", " "},
    {"  \t ", MTRACE_OK, "", "mtrace"},
};

static void every_line_has_its_answer(void **state) {
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, lines); i++) {
        assert_int_equal(say(lines[i].name), lines[i].result);
        if (!answers(lines[i].has) || (lines[i].lacks[0] != '\0' && answers(lines[i].lacks))) {
            printf("%s\n", output.text);
            fail();
        }
    }
}

static void no_line_is_an_empty_one(void **state) {
    (void)state;
    expect_answer(NULL, MTRACE_OK, "");
}

static void any_unambiguous_beginning_will_do(void **state) {
    static const char *const words[] = {"help",   "top",   "base",       "leaks", "pause",
                                        "resume", "clear", "reset-peak", "info"};
    char start[16];
    size_t i, n;
    (void)state;
    for (i = 0; i < sizeof words / sizeof *words; i++) {
        for (n = strlen(words[i]); n > (words[i][0] == 'r' ? 3u : 0u); n--) {
            memcpy(start, words[i], n);
            start[n] = '\0';
            assert_int_equal(say(start), MTRACE_OK);
        }
    }
}

static void without_a_writer_the_default_one_is_used(void **state) {
    (void)state;
    assert_int_equal(mtrace_command("top 1", NULL, NULL), MTRACE_OK);
    assert_non_null(strstr(by_default.text, "1 of 3 lines"));
}

static void stopped_each_command_says_so(void **state) {
    static const char *const words[] = {"top",        "top by size", "base",  "diff",
                                        "leaks",      "who 1",       "pause", "resume",
                                        "reset-peak", "clear",       "info",  "save x"};
    size_t i;
    (void)state;
    mtrace_stop();
    for (i = 0; i < sizeof words / sizeof *words; i++) {
        assert_int_equal(say(words[i]), MTRACE_ERR_NOT_TRACING);
        assert_true(answers("mtrace: not tracing"));
    }
    assert_int_equal(say("filter x"), MTRACE_OK);
    test_start(16, 16);
}

/* --- what changes something --- */

static void base_and_diff(void **state) {
    (void)state;
    expect_part("base", "mtrace: this is the baseline\n");
    track(4, 0x400, 64, "src/new.c", "grow", 1);
    expect_part("diff", "+64 B ");
    assert_true(answers("src/new.c:1 grow\n") && !answers("sound.c"));
    expect_part("diff 1 by domain", "domain 4\n");
    expect_part("base", "baseline");
    expect_part("diff", "0 of 0 changed lines");
}

static void clear_and_the_peak(void **state) {
    (void)state;
    assert_int_equal(mtrace_untrack_at(4, 0x200, NULL), MTRACE_OK);
    expect_part("info", "400 B held, 600 B at the peak");
    expect_part("reset-peak", "peak");
    expect_part("info", "400 B held, 400 B at the peak");
    expect_part("clear", "mtrace: all traces are forgotten\n");
    expect_part("info", "mtrace: tracing: 0 B held, 0 B at the peak");
    expect_part("pause", "paused");
    expect_part("info", "mtrace: paused: 0 B");
    MT_FREE(MT_MALLOC(5));
    expect_part("resume", "traced");
    expect_part("info", "mtrace: tracing: 0 B held, 0 B at the peak");
}

static void who_knows_a_block_and_its_scopes(void **state) {
    char line[64], text[128];
    unsigned char *block;
    int line_of_block;
    (void)state;
    {
        MT_SCOPE();
        line_of_block = __LINE__ + 1;
        block = (unsigned char *)MT_MALLOC(80);
    }
    snprintf(line, sizeof line, "who 0x%llx", (unsigned long long)(uintptr_t)(block + 24));
    assert_int_equal(say(line), MTRACE_OK);
    assert_true(answers(": 24 bytes into a block of 80 B at 0x"));
    snprintf(text, sizeof text, "test_command.c:%d who_knows_a_block_and_its_scopes\n",
             line_of_block);
    assert_true(answers(text));
    snprintf(text, sizeof text, "  from ");
    assert_true(answers(text));
    assert_false(answers("domain"));
    MT_FREE(block);
}

static void save_writes_a_snapshot(void **state) {
    char path[64], line[80];
    mtrace_snapshot *loaded;
    (void)state;
    snprintf(path, sizeof path, "test_command %ld.mtrace", (long)getpid());
    snprintf(line, sizeof line, "save \"%s\"", path);
    expect_answer(line, MTRACE_OK, "mtrace: saved\n");
    assert_int_equal(mtrace_snapshot_load(&loaded, path, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_get_parts(loaded).block_count, 3);
    assert_true(mtrace_snapshot_get_parts(loaded).has_blocks);
    mtrace_snapshot_free(loaded);
    remove(path);
}

/* --- filter and domain --- */

static void filter_restricts_all_tables(void **state) {
    (void)state;
    expect_part("base", "baseline");
    track(4, 0x400, 64, "src/sound.c", "grow", 1);
    track(4, 0x500, 32, "src/new.c", "grow", 1);
    expect_answer("filter sound", MTRACE_OK, "mtrace: filter *sound*\n");
    expect_part("top", "filter *sound*:\nmtrace: 364 B in 2 blocks held");
    assert_false(answers("map.c") || answers("new.c"));
    expect_part("diff", "+64 B in +1; 1 of 1 changed line");
    expect_part("leaks", "src/sound.c:1: warning: 64 B");
    assert_false(answers("map.c"));
    expect_part("top by size", "2 of 2 size classes");
    expect_part("info", "\nfilter *sound*\n");
    expect_answer("filter", MTRACE_OK, "mtrace: filter *sound*\n");
    expect_answer("filter off", MTRACE_OK, "mtrace: all rows\n");
    expect_part("top", "696 B in 5 blocks held");
}

static void a_filter_is_of_files_functions_or_types(void **state) {
    mtrace_site site = test_site("src/sound.c", 11);
    (void)state;
    site.type = "map_entry";
    assert_int_equal(mtrace_track_at(1, 9, 50, &site), MTRACE_OK);
    expect_part("filter *map*", "mtrace: filter *map*\n");
    expect_part("top", "3 of 3 lines");
    expect_part("filter load_map", "filter *load_map*");
    expect_part("top", "1 of 1 line");
    expect_part("filter src/*.c", "filter src/*.c");
    expect_part("top", "4 of 4 lines");
    expect_part("filter *.h", "filter *.h");
    expect_part("top", "0 of 0 lines");
    expect_part("filter \"a b\"", "filter *a b*");
    expect_part("filter \033]", "filter *\\x1b]*");
}

static void domain_restricts_all_tables(void **state) {
    (void)state;
    expect_answer("domain audio", MTRACE_OK, "mtrace: domain 3 audio\n");
    expect_part("top", "domain 3 audio:\nmtrace: 300 B in 1 block held");
    expect_part("top by domain", "1 of 1 domain");
    expect_answer("domain 4", MTRACE_OK, "mtrace: domain 4\n");
    expect_part("top", "2 of 2 lines");
    expect_answer("filter draw", MTRACE_OK, "mtrace: filter *draw*, domain 4\n");
    expect_part("top", "filter *draw*, domain 4:\nmtrace: 100 B in 1 block held");
    expect_answer("domain off", MTRACE_OK, "mtrace: filter *draw*\n");
    expect_part("filter off", "all rows");
    expect_part("domain 0", "domain 0");
    expect_part("top", "0 of 0 lines");
    expect_answer("domain au", MTRACE_OK, "mtrace: domain 3 audio\n");
    expect_answer("domain radio", MTRACE_ERR_ARGUMENT, "mtrace: \"radio\" is none of off, audio\n");
    expect_answer("domain 4294967296", MTRACE_ERR_ARGUMENT,
                  "mtrace: \"4294967296\" is none of off, audio\n");
    expect_answer("domain", MTRACE_OK, "mtrace: domain 3 audio\n");
    assert_int_equal(mtrace_name_domain(3, "sound"), MTRACE_OK); /* the older name is gone */
    expect_answer("domain", MTRACE_OK, "mtrace: domain 3 sound\n");
    assert_int_equal(say("domain audio"), MTRACE_ERR_ARGUMENT);
}

static void a_long_pattern_is_refused_and_changes_nothing(void **state) {
    char line[600];
    (void)state;
    expect_part("filter sound", "sound");
    memset(line, 'x', sizeof line);
    memcpy(line, "filter ", 7);
    line[sizeof line - 1] = '\0';
    expect_answer(line, MTRACE_ERR_ARGUMENT, "mtrace: the pattern is too long\n");
    expect_answer("filter", MTRACE_OK, "mtrace: filter *sound*\n");
    memcpy(line, "watch  ", 7);
    expect_answer(line, MTRACE_ERR_ARGUMENT, "mtrace: the pattern is too long\n");
    expect_answer("watch", MTRACE_OK, "mtrace: watch off\n");
}

/* --- watch --- */

static int events;

static void count_event(const mtrace_event *event, void *user) {
    (void)event;
    ++*(int *)user;
}

static mtrace_observer counter(void) {
    mtrace_observer observer;
    observer.call = count_event;
    observer.user = &events;
    events = 0;
    return observer;
}

static void watch_prints_each_allocation_there(void **state) {
    void *block;
    (void)state;
    expect_answer("watch draw", MTRACE_OK, "mtrace: watch *draw*\n");
    output.length = 0;
    track(3, 0x600, 10, "src/sound.c", "load_sound", 7);
    track(4, 0x700, 20, "src/map.c", "draw", 9);
    assert_int_equal(mtrace_untrack_at(4, 0x700, NULL), MTRACE_OK);
    assert_string_equal(output.text, "src/map.c:9: 20 B allocated in draw\n");
    expect_part("watch test_command", "watch *test_command*");
    output.length = 0;
    block = MT_REALLOC(MT_NEW(double), 100);
    assert_non_null(strstr(output.text, ": 8 B allocated in watch_prints_each_allocation_there, "
                                        "type double\n"));
    assert_true(answers(": 100 B for 8 B allocated in watch_"));
    expect_answer("watch off", MTRACE_OK, "mtrace: watch off\n");
    MT_FREE(block);
    MT_FREE(MT_MALLOC(1));
    assert_string_equal(output.text, "mtrace: watch off\n");
    assert_null(test_observer().call);
}

static void watch_leaves_the_users_observer(void **state) {
    mtrace_observer none = MTRACE_ZERO_;
    (void)state;
    mtrace_set_observer(counter());
    expect_part("watch sound", "sound");
    expect_part("watch map", "map"); /* no second one */
    track(4, 0x700, 20, "src/map.c", "draw", 9);
    assert_int_equal(events, 1);
    expect_part("watch off", "off");
    assert_ptr_equal(test_observer().user, &events);
    track(4, 0x800, 20, "src/map.c", "draw", 9);
    assert_int_equal(events, 2);
    mtrace_set_observer(none);
}

/* The newer one passes on what it gets, as nested observers do. */
static mtrace_observer beneath;

static void pass_on(const mtrace_event *event, void *user) {
    beneath.call(event, beneath.user);
    (void)user;
}

static void an_observer_above_a_watch_stays(void **state) {
    mtrace_observer above;
    (void)state;
    expect_part("watch map", "map");
    above.call = pass_on;
    above.user = &beneath;
    beneath = mtrace_set_observer(above);
    expect_part("watch draw", "draw");
    output.length = 0;
    track(4, 0x700, 20, "src/map.c", "draw", 9);
    assert_string_equal(output.text, "src/map.c:9: 20 B allocated in draw\n");
    expect_answer("watch off", MTRACE_ERR_BUSY,
                  "mtrace: silent; an observer was set since: restore it first\n");
    output.length = 0;
    track(4, 0x800, 20, "src/map.c", "draw", 9);
    assert_string_equal(output.text,
                        "mtrace: silent; an observer was set since: restore it first\n");
    mtrace_set_observer(beneath);
    expect_part("watch off", "off");
    assert_null(test_observer().call);
}

/* A thread's observer cannot be taken away by another thread, but it ends itself. */
static void *watch_off(void *unused) {
    assert_int_equal(say("watch off"), MTRACE_OK);
    return unused;
}

static void watch_off_in_another_thread(void **state) {
    (void)state;
    expect_part("watch map", "map");
    test_in_thread(watch_off, NULL);
    track(4, 0x700, 20, "src/map.c", "draw", 9);
    assert_string_equal(output.text, "mtrace: watch off\n");
    assert_null(test_observer().call);
    expect_part("watch map", "map");
    output.length = 0;
    track(4, 0x800, 20, "src/map.c", "draw", 9);
    assert_string_equal(output.text, "src/map.c:9: 20 B allocated in draw\n");
}

static void watch_tells_what_is_not_traced(void **state) {
    uintptr_t key;
    mtrace_site site = test_site("src/map.c", 3);
    (void)state;
    expect_part("watch map", "map");
    for (key = 1; mtrace_track_at(5, key << 8, 16, &site) == MTRACE_OK; key++) {
    }
    assert_true(answers("src/map.c:3: 16 B allocated and not traced in f\n"));
}

/* --- completion --- */

static const struct {
    const char *name; /* the line */
    size_t start;
    const char *words; /* all candidates, each behind a blank */
} completions[] = {
    {"", 0,
     " help top base diff leaks who filter domain watch pause resume clear reset-peak save info"},
    {"re", 0, " resume reset-peak"},
    {"  re", 2, " resume reset-peak"},
    {"top", 0, " top"},
    {"top ", 4, " by peak total"},
    {"top 5 p", 6, " peak"},
    {"top by", 4, " by"},
    {"top by ", 7, " line file function type domain size traceback module"},
    {"t b f", 4, " file function"},
    {"top by file ", 12, " by peak total"},
    {"diff ", 5, " by"},
    {"diff by t", 8, " type traceback"},
    {"help w", 5, " who watch"},
    {"filter ", 7, " off"},
    {"filter x", 7, ""},
    {"domain ", 7, " off audio"},
    {"domain a", 7, " audio"},
    {"domain \"", 8, " off audio the rest"},
    {"watch o", 6, " off"},
    {"who ", 4, ""},
    {"save a", 5, ""},
    {"nothing t", 8, ""},
    {"r ", 2, ""},
};

static void completion_offers_what_may_follow(void **state) {
    const char *word;
    char words[256];
    size_t i, n, start;
    (void)state;
    assert_int_equal(mtrace_name_domain(6, "the rest"), MTRACE_OK);
    for (i = 0; TEST_ROWS(i, completions); i++) {
        const char *line = completions[i].name;
        words[0] = '\0';
        for (n = 0; (word = mtrace_command_complete(line, strlen(line), &start, n)) != NULL; n++) {
            assert_int_equal(start, completions[i].start);
            strcat(strcat(words, " "), word);
        }
        assert_string_equal(words, completions[i].words);
        assert_int_equal(start, completions[i].start);
    }
    /* only what stands before the cursor counts */
    assert_string_equal(mtrace_command_complete("topping", 2, &start, 0), "top");
    assert_string_equal(mtrace_command_complete(NULL, 0, &start, 0), "help"); /* no line yet */
    assert_int_equal(start, 0);
}

/* --- rubbish --- */

static void random_line(char *line, size_t size, uint32_t *seed) {
    static const char *const parts[] = {
        "top",   "by",        "line",
        "size",  "traceback", "peak",
        "total", "diff",      "base",
        "leaks", "who",       "0x100",
        "257",   "filter",    "off",
        "*a*",   "[",         "domain",
        "audio", "watch",     "sound",
        "help",  "pause",     "info",
        "clear", "resume",    "reset-peak",
        "\"",    "\"\"",      "\303\266",
        "\303",  "\200",      "\t",
        "\r",    "\n",        "\033[2J",
        "-",     "0x",        "99999999999999999999",
        "r",     "t",         "'",
        "?[!]",
    };
    size_t length = 0, n = test_random(seed, 12);
    line[0] = '\0';
    while (n-- > 0) {
        const char *part = parts[test_random(seed, sizeof parts / sizeof *parts)];
        size_t cut = test_random(seed, 4) == 0 ? test_random(seed, 3) : strlen(part);
        int put = snprintf(line + length, size - length, "%.*s%s", (int)cut, part,
                           test_random(seed, 3) == 0 ? "" : " ");
        length += put > 0 && (size_t)put < size - length ? (size_t)put : 0;
        if (test_random(seed, 40) == 0 && length + 300 < size) {
            memset(line + length, (int)(1 + test_random(seed, 255)), 299);
            line[length += 299] = '\0';
        }
    }
}

static void no_line_breaks_it(void **state) {
    char line[4096], copy[4096];
    uint32_t seed = 14, round;
    size_t start, n;
    (void)state;
    for (round = 0; round < 5000; round++) {
        random_line(line, sizeof line, &seed);
        strcpy(copy, line);
        (void)say(line);
        assert_string_equal(line, copy);
        for (n = 0; n < 3; n++) {
            size_t length = test_random(&seed, (uint32_t)strlen(line) + 1);
            mtrace_command_complete(line, length, &start, n);
            assert_true(start <= length);
        }
        MT_FREE(MT_MALLOC(3));
        if (round % 64 == 0) {
            test_sound();
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_line_has_its_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(no_line_is_an_empty_one, setup, teardown),
        cmocka_unit_test_setup_teardown(any_unambiguous_beginning_will_do, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_writer_the_default_one_is_used, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped_each_command_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(base_and_diff, setup, teardown),
        cmocka_unit_test_setup_teardown(clear_and_the_peak, setup, teardown),
        cmocka_unit_test_setup_teardown(who_knows_a_block_and_its_scopes, setup, teardown),
        cmocka_unit_test_setup_teardown(save_writes_a_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(filter_restricts_all_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(a_filter_is_of_files_functions_or_types, setup, teardown),
        cmocka_unit_test_setup_teardown(domain_restricts_all_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_pattern_is_refused_and_changes_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(watch_prints_each_allocation_there, setup, teardown),
        cmocka_unit_test_setup_teardown(watch_leaves_the_users_observer, setup, teardown),
        cmocka_unit_test_setup_teardown(an_observer_above_a_watch_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(watch_off_in_another_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(watch_tells_what_is_not_traced, setup, teardown),
        cmocka_unit_test_setup_teardown(completion_offers_what_may_follow, setup, teardown),
        cmocka_unit_test_setup_teardown(no_line_breaks_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Scopes: frames around call sites, left in each possible before, or not left at all. The limit of
   frames, the full table, domains, threads. At the end random calls are compared with a naive model
   that keeps every block's full list of frames. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"
#include "support/threads.h"
#include "support/tools.h"
#include "support/traces.h"

enum { SITES = 100, ALL = 65535 };

static void start_full(uint32_t frames, size_t max_scopes, size_t max_sites) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 512;
    desc.max_sites = max_sites;
    desc.max_scopes = max_scopes;
    desc.frames = frames;
    desc.name_bytes = 4096;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static void start(uint32_t frames) {
    start_full(frames, 64, 64);
}

static void restart(uint32_t frames) {
    mtrace_stop();
    start(frames);
}

/* A location named by its line: for call sites and scopes. */
static mtrace_site *at(uint32_t line) {
    static mtrace_site sites[SITES];
    assert_true(line < SITES);
    if (sites[line].file == NULL) {
        sites[line] = test_site("s.c", line);
    }
    return &sites[line];
}

static mtrace_scope enter(uint32_t line) {
    return mtrace_scope_push_at(at(line));
}

/* --- tracebacks as text: "1>2>9/3" by lines, "f>g/2" by functions, then the total --- */

static void find_frames(void *block, mtrace_frame *frames, size_t room, mtrace_traceback *out) {
    test_sound();
    assert_int_equal(test_find_traceback(out, 0, (uintptr_t)block, frames, room), MTRACE_OK);
    assert_ptr_equal(out->frames, frames);
    assert_in_range(out->count, 1, room);
}

static void expect_lines(void *block, const char *wanted) {
    mtrace_frame frames[SITES];
    mtrace_traceback found = MTRACE_ZERO_;
    test_output out;
    uint32_t i;
    find_frames(block, frames, SITES, &found);
    out.length = 0;
    for (i = 0; i < found.count; i++) {
        test_print(&out, i == 0 ? "%lu" : ">%lu", (unsigned long)frames[i].line);
        assert_string_equal(frames[i].file, "s.c");
        assert_string_equal(frames[i].function, "f");
    }
    test_print(&out, "/%lu", (unsigned long)found.total);
    assert_string_equal(out.text, wanted);
}

static void expect_functions(void *block, const char *wanted) {
    mtrace_frame frames[SITES];
    mtrace_traceback found = MTRACE_ZERO_;
    test_output out;
    uint32_t i;
    find_frames(block, frames, SITES, &found);
    out.length = 0;
    for (i = 0; i < found.count; i++) {
        test_print(&out, i == 0 ? "%s" : ">%s", frames[i].function);
        assert_string_equal(frames[i].file, __FILE__);
        assert_true(frames[i].line > 0);
    }
    test_print(&out, "/%lu", (unsigned long)found.total);
    assert_string_equal(out.text, wanted);
}

static void expect_domain(void *block, uint32_t domain) {
    mtrace_block found = MTRACE_ZERO_;
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_int_equal(found.domain, domain);
}

/* A block allocated now, at line 9, has this traceback. */
static void expect_here(const char *wanted) {
    void *block = mtrace_malloc_at(1, at(9));
    expect_lines(block, wanted);
    MT_FREE(block);
}

static void expect_domain_here(uint32_t domain) {
    void *block = mtrace_malloc_at(1, at(9));
    expect_domain(block, domain);
    MT_FREE(block);
}

/* --- walks --- */

/* Steps: "+3" enters the scope at line 3, "+3@5" in domain 5, and "-3" pops the token of that.
   "=1>9/2" and "@5": a block allocated now, at line 9, has this traceback, or domain. "scopes:2"
   and the like are fields of mtrace_info. */
typedef struct walk {
    const char *name;
    uint32_t frames;
    size_t max_scopes;
    const char *steps;
} walk;

static const walk walks[] = {
    {"oldest first", 8, 64, "+1 +2 =1>2>9/3 -2 =1>9/2 -1 =9/1 scopes:2 sites:3 frames:8"},
    {"one location is a scope and a call site", 8, 64, "=9/1 +9 =9>9/2 +9 =9>9>9/3"},
    /* they do not tell tracebacks apart, but their number does */
    {"scopes beyond the limit of frames", 2, 64,
     "+1 +5 =5>9/3 -5 -1 +2 +5 =5>9/3 -5 -2 +3 +5 =5>9/3 -5 -3 sites:1 scopes:4 "
     "+1 +2 +5 =5>9/4 sites:2"},
    {"a pop too many returns to the scope in its token", 8, 64,
     "+1 +2 -2 -1 -1 =9/1 -2 =1>9/2 -2 =1>9/2 -1 =9/1"},
    {"tokens of an older session", 8, 64,
     "+1 +2 stop start =9/1 +3 =3>9/2 -2 =9/1 +3 -1 =9/1 scopes:1"},
    {"entered before the start", 8, 64, "stop +1 start =9/1 +2 =2>9/2 -2 =9/1 -1 =9/1"},
    {"left while stopped", 8, 64, "+1 stop -1 +2 start =9/1 -2 =9/1"},
    {"pause", 8, 64, "+1 pause +2 resume =1>2>9/3 pause -2 resume =1>9/2 -1 =9/1"},
    {"clear", 8, 64, "+1 +2 =1>2>9/3 clear =1>2>9/3 -2 =1>9/2 -1 =9/1"},
    /* only call sites are kept: no table is needed, and no scope is lost */
    {"a full table at one frame", 1, 2, "+1 +2 +3 =9/4 -3 =9/3 lost_scopes:0"},
    {"a lost scope still counts in its domain", 8, 1, "+1 +2@6 =9/0 @6 +3 @6 -3 -2 @0 =1>9/2"},
};

static bool is_field(const char *word, const char *name, uint64_t value) {
    size_t length = strlen(name);
    if (strncmp(word, name, length) != 0 || word[length] != ':') {
        return false;
    }
    assert_int_equal(value, strtoul(word + length + 1, NULL, 10));
    return true;
}

static bool step_in_scopes(const char *word, mtrace_scope *tokens) {
    char *end;
    unsigned long number = strtoul(word + 1, &end, 10);
    switch (word[0]) {
    case '+':
        tokens[number] =
            *end == '@' ? mtrace_scope_push_in_at((uint32_t)atoi(end + 1), at((uint32_t)number))
                        : enter((uint32_t)number);
        return true;
    case '-':
        mtrace_scope_restore(tokens[number]);
        return true;
    case '=':
        expect_here(word + 1);
        return true;
    case '@':
        expect_domain_here((uint32_t)number);
        return true;
    default:
        return false;
    }
}

static void step(const char *word, const walk *w, mtrace_scope *tokens) {
    mtrace_info info = mtrace_get_info();
    if (strcmp(word, "start") == 0) {
        start_full(w->frames, w->max_scopes, 64);
    } else if (strcmp(word, "stop") == 0) {
        mtrace_stop();
    } else if (strcmp(word, "clear") == 0) {
        mtrace_clear();
    } else if (strcmp(word, "pause") == 0) {
        assert_int_equal(mtrace_pause(), MTRACE_OK);
    } else if (strcmp(word, "resume") == 0) {
        assert_int_equal(mtrace_resume(), MTRACE_OK);
    } else if (!step_in_scopes(word, tokens)) {
        assert_true(is_field(word, "scopes", info.scopes) || is_field(word, "sites", info.sites) ||
                    is_field(word, "frames", info.frames) ||
                    is_field(word, "lost_scopes", info.lost_scopes));
    }
}

static void test_walks(void **state) {
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, walks); i++) {
        mtrace_scope tokens[10] = MTRACE_ZERO_;
        char steps[200], *word;
        step("start", &walks[i], tokens);
        assert_true(strlen(walks[i].steps) < sizeof steps);
        strcpy(steps, walks[i].steps);
        for (word = strtok(steps, " "); word != NULL; word = strtok(NULL, " ")) {
            step(word, &walks[i], tokens);
        }
        mtrace_stop();
    }
}

/* --- frames --- */

/* The most recent N frames are kept, and the depth before that limit is known. */
static void test_limit(void **state) {
    static const char *const wanted[] = {"9/6",       "9/6",         "5>9/6",        "4>5>9/6",
                                         "3>4>5>9/6", "2>3>4>5>9/6", "1>2>3>4>5>9/6"};
    uint32_t frames, line;
    (void)state;
    for (frames = 0; frames <= 6; frames++) {
        start(frames);
        assert_int_equal(mtrace_get_info().frames, frames == 0 ? 1 : frames);
        for (line = 1; line <= 5; line++) {
            enter(line);
        }
        expect_here(wanted[frames]);
        mtrace_stop();
    }
}

static void test_limit_of_limits(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    start(ALL);
    enter(1);
    expect_here("1>9/2");
    mtrace_stop();
    desc.frames = 65536;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.frames = 1;
    desc.max_scopes = test_max_sites() + 1;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ARGUMENT);
}

/* With less room than frames, the most recent ones are returned. */
static void test_little_room(void **state) {
    mtrace_frame frames[3];
    mtrace_traceback found = MTRACE_ZERO_;
    void *block;
    (void)state;
    start(8);
    enter(1);
    enter(2);
    block = mtrace_malloc_at(1, at(9));
    memset(frames, 0, sizeof frames);
    find_frames(block, frames, 2, &found);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.total, 3);
    assert_int_equal(frames[0].line, 2);
    assert_int_equal(frames[1].line, 9);
    assert_null(frames[2].file);
    assert_int_equal(test_find_traceback(&found, 0, (uintptr_t)block, frames, 0), MTRACE_OK);
    assert_null(found.frames);
    assert_int_equal(found.count, 0);
    assert_int_equal(found.total, 3);
    assert_int_equal(test_find_traceback(&found, 0, (uintptr_t)block, NULL, 1),
                     MTRACE_ERR_ARGUMENT);
    MT_FREE(block);
    assert_int_equal(test_find_traceback(&found, 0, (uintptr_t)block + 1, frames, 1),
                     MTRACE_ERR_NOT_FOUND);
    mtrace_stop();
    assert_int_equal(test_find_traceback(&found, 0, 32, frames, 1), MTRACE_ERR_NOT_TRACING);
}

static uint32_t total_here(void) {
    void *block = mtrace_malloc_at(1, at(9));
    mtrace_frame frame;
    mtrace_traceback found = MTRACE_ZERO_;
    assert_int_equal(test_find_traceback(&found, 0, (uintptr_t)block, &frame, 1), MTRACE_OK);
    MT_FREE(block);
    return found.total;
}

/* Every depth up to the limit of the table is reported exactly. */
static void test_deep(void **state) {
    uint32_t depth;
    (void)state;
    start_full(1, 65533, 64);
    for (depth = 1; depth <= 65533; depth++) {
        enter(1);
        if (depth % 4096 == 0) {
            assert_int_equal(total_here(), depth + 1);
        }
    }
    assert_int_equal(total_here(), 65534);
    assert_int_equal(mtrace_get_info().lost_scopes, 0);
}

/* Recursion deeper than the largest countable depth is reported as that depth, as in CPython. */
static void test_total_saturates(void **state) {
    uint32_t depth;
    (void)state;
    start_full(1, 65533, 64);
    for (depth = 0; depth < 70000; depth++) {
        enter(1);
    }
    assert_in_range(total_here(), 65534, 65535);
    assert_int_equal(mtrace_get_info().lost_scopes, 0);
}

/* In recursion only the depth differs. The nodes must not all begin at one place of the index, or
   entering a scope would take as long as it is deep. */
static void test_depths_are_spread(void **state) {
    bool seen[4 * 128] = MTRACE_ZERO_;
    uint32_t depth, of_scope[64];
    size_t i, homes = 0;
    (void)state;
    start_full(2, 64, 64);
    for (depth = 0; depth < 64; depth++) {
        enter(1);
    }
    assert_int_equal(mtrace_get_info().scopes, 64);
    assert_int_equal(test_scope_homes(of_scope, 64), 64);
    for (i = 0; i < 64; i++) {
        assert_true(of_scope[i] < sizeof seen);
        homes += seen[of_scope[i]] ? 0 : 1;
        seen[of_scope[i]] = true;
    }
    assert_in_range(homes, 32, 64);
}

/* --- equal tracebacks --- */

static void *allocate(void) {
    return MT_MALLOC(10);
}

static void *allocate_twice_in_scope(void **second) {
    MT_SCOPE();
    *second = allocate();
    return allocate();
}

static void test_same_frames_share_an_account(void **state) {
    void *blocks[4];
    size_t i;
    (void)state;
    start(8);
    blocks[0] = allocate_twice_in_scope(&blocks[1]);
    blocks[2] = allocate_twice_in_scope(&blocks[3]);
    assert_int_equal(mtrace_get_info().sites, 1);
    assert_int_equal(mtrace_get_info().scopes, 1);
    for (i = 0; i < 4; i++) {
        expect_functions(blocks[i], "allocate_twice_in_scope>allocate/2");
        MT_FREE(blocks[i]);
    }
}

/* Locations are compared by content: another record, another copy of the name. */
static void test_same_contents_share_an_account(void **state) {
    char file[2][4] = {"s.c", "s.c"};
    mtrace_site scopes[2], sites[2];
    void *blocks[2];
    size_t i;
    (void)state;
    start(8);
    for (i = 0; i < 2; i++) {
        mtrace_scope before;
        scopes[i] = test_site(file[i], 3);
        sites[i] = test_site(file[i], 4);
        before = mtrace_scope_push_at(&scopes[i]);
        blocks[i] = mtrace_malloc_at(1, &sites[i]);
        mtrace_scope_restore(before);
    }
    assert_int_equal(mtrace_get_info().sites, 1);
    assert_int_equal(mtrace_get_info().scopes, 1);
    expect_lines(blocks[1], "3>4/2");
    MT_FREE(blocks[0]);
    MT_FREE(blocks[1]);
}

static void *recurse(int depth) {
    MT_SCOPE();
    return depth == 0 ? allocate() : recurse(depth - 1);
}

static void test_recursion(void **state) {
    void *blocks[3];
    size_t i;
    (void)state;
    start(8);
    blocks[0] = recurse(0);
    blocks[1] = recurse(2);
    blocks[2] = recurse(2);
    expect_functions(blocks[0], "recurse>allocate/2");
    expect_functions(blocks[1], "recurse>recurse>recurse>allocate/4");
    expect_functions(blocks[2], "recurse>recurse>recurse>allocate/4");
    assert_int_equal(mtrace_get_info().sites, 2);
    assert_int_equal(mtrace_get_info().scopes, 3);
    for (i = 0; i < 3; i++) {
        MT_FREE(blocks[i]);
    }
    expect_here("9/1");
}

/* A tracked key has a traceback as a block has, a type stays with its call site. */
static void test_keys_and_types(void **state) {
    mtrace_frame frames[4];
    mtrace_traceback found = MTRACE_ZERO_;
    mtrace_block block = MTRACE_ZERO_;
    (void)state;
    start(8);
    enter(1);
    assert_int_equal(mtrace_track_at(6, 77, 10, at(9)), MTRACE_OK);
    assert_int_equal(test_find_traceback(&found, 6, 77, frames, 4), MTRACE_OK);
    assert_int_equal(found.count, 2);
    assert_int_equal(frames[0].line, 1);
    assert_int_equal(frames[1].line, 9);
    assert_int_equal(test_find_traceback(&found, 5, 77, frames, 4), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(mtrace_find_tracked(&block, 6, 77, NULL, 0), MTRACE_OK);
    assert_int_equal(block.line, 9);
    assert_int_equal(block.traceback.total, 2);
    assert_int_equal(block.traceback.count, 0); /* see mtrace_find_tracked */
    test_sound();
}

/* --- leaving --- */

static void *leave_at_end(void) {
    void *block;
    {
        MT_SCOPE();
        block = allocate();
        expect_functions(block, "leave_at_end>allocate/2");
    }
    MT_FREE(block);
    return allocate();
}

static void *leave_by_return(int early) {
    MT_SCOPE();
    if (early) {
        return allocate();
    }
    MT_SCOPE(); /* a second one, further in */
    return allocate();
}

static void *leave_by_break(void) {
    void *block = NULL;
    int i;
    for (i = 0; i < 5; i++) {
        MT_SCOPE();
        if (i < 3) {
            continue;
        }
        block = allocate();
        break;
    }
    expect_functions(block, "leave_by_break>allocate/2");
    MT_FREE(block);
    return allocate();
}

static void *leave_by_goto(void) {
    void *block = NULL;
    {
        MT_SCOPE();
        {
            MT_SCOPE();
            block = allocate();
            if (block != NULL) {
                goto out;
            }
        }
    }
out:
    expect_functions(block, "leave_by_goto>leave_by_goto>allocate/3");
    MT_FREE(block);
    return allocate();
}

static void expect_functions_once(void *block, const char *wanted) {
    expect_functions(block, wanted);
    MT_FREE(block);
}

static void test_left_by_itself(void **state) {
    (void)state;
    start(8);
    expect_functions_once(leave_at_end(), "allocate/1");
    expect_functions_once(leave_by_return(1), "leave_by_return>allocate/2");
    expect_here("9/1");
    expect_functions_once(leave_by_return(0), "leave_by_return>leave_by_return>allocate/3");
    expect_here("9/1");
    expect_functions_once(leave_by_break(), "allocate/1");
    expect_functions_once(leave_by_goto(), "allocate/1");
    expect_here("9/1");
}

/* Two scopes of a function differ by their lines. */
static void test_line_of_a_scope(void **state) {
    mtrace_frame frames[3];
    mtrace_traceback found = MTRACE_ZERO_;
    void *block;
    (void)state;
    start(8);
    MT_SCOPE();
    MT_SCOPE();
    block = allocate();
    find_frames(block, frames, 3, &found);
    assert_int_equal(frames[0].line, __LINE__ - 4);
    assert_int_equal(frames[1].line, __LINE__ - 4);
    MT_FREE(block);
}

static void test_named_scope(void **state) {
    (void)state;
    start(8);
    {
        MT_SCOPE_NAMED("level 3");
        expect_functions_once(allocate(), "level 3>allocate/2");
        MT_SCOPE_NAMED("wave "
                       "2");
        expect_functions_once(allocate(), "level 3>wave 2>allocate/3");
    }
    expect_functions_once(allocate(), "allocate/1");
}

/* Two fibers that take turns on one thread, each inside of scopes of its own. */
static void test_saved_scopes(void **state) {
    mtrace_scope first = MTRACE_ZERO_, second = MTRACE_ZERO_, scheduler;
    (void)state;
    start(8);
    enter(1);
    scheduler = mtrace_scope_save();
    mtrace_scope_restore(first); /* it begins */
    expect_here("9/1");
    enter(2);
    first = mtrace_scope_save();
    mtrace_scope_restore(second);
    expect_here("9/1");
    enter(3);
    enter(4);
    second = mtrace_scope_save();
    mtrace_scope_restore(first);
    expect_here("2>9/2");
    mtrace_scope_restore(second);
    expect_here("3>4>9/3");
    mtrace_scope_restore(scheduler);
    expect_here("1>9/2");
    restart(8);
    assert_int_equal(mtrace_scope_save().session, 0); /* nothing of the session before */
    mtrace_scope_restore(second);
    expect_here("9/1");
}

#ifdef __cplusplus
static void throw_inside(void) {
    MT_SCOPE_IN(4);
    MT_FREE(recurse(1));
    throw 5;
}

static void test_exception(void **state) {
    int caught = 0;
    (void)state;
    start(8);
    {
        MT_SCOPE();
        try {
            throw_inside();
        } catch (int n) {
            caught = n;
        }
        expect_functions_once(allocate(), "test_exception>allocate/2");
        expect_domain_here(0);
    }
    assert_int_equal(caught, 5);
    expect_here("9/1");
}
#endif

static void return_early(bool early) {
    mtrace_scope before = MT_SCOPE_PUSH();
    if (early) {
        return;
    }
    MT_SCOPE_POP(before);
}

static void test_missing_pop(void **state) {
    mtrace_scope before;
    (void)state;
    start(8);
    before = enter(1);
    return_early(false);
    expect_here("1>9/2");
    return_early(true);
    return_early(true);
    assert_int_equal(total_here(), 4);
    mtrace_scope_restore(before); /* repairs it */
    expect_here("9/1");
}

static jmp_buf jump;

static void jump_out(void) {
    mtrace_scope before = enter(2);
    mtrace_scope inner = enter(3);
    expect_here("1>2>3>9/4");
    longjmp(jump, 1);
    MT_SCOPE_POP(inner); /* never reached */
    MT_SCOPE_POP(before);
}

static bool jumped(void) {
    if (setjmp(jump) == 0) {
        jump_out();
        return false;
    }
    return true;
}

static void test_longjmp(void **state) {
    mtrace_scope before;
    (void)state;
    start(8);
    before = enter(1);
    assert_true(jumped());
    expect_here("1>2>3>9/4"); /* they were not left */
    mtrace_scope_restore(before);
    expect_here("9/1");
}

/* --- sessions --- */

/* Nonsense leads somewhere or nowhere, but never astray. */
static void test_garbage_token(void **state) {
    mtrace_scope good, garbage;
    uint32_t number;
    (void)state;
    start_full(8, 64, 2000);
    enter(1);
    good = enter(2);
    for (number = 0; number < 70000; number += 1 + number / 8) {
        garbage.session = good.session;
        garbage.number = number;
        garbage.domain = number;
        mtrace_scope_restore(garbage);
        assert_in_range(total_here(), 0, 3);
        garbage.session = number * 0x9E3779B1u + 7;
        mtrace_scope_restore(garbage);
        assert_int_equal(total_here(), 1);
    }
    memset(&garbage, 0xff, sizeof garbage);
    mtrace_scope_restore(garbage);
    expect_here("9/1");
    mtrace_scope_restore(good);
    expect_here("1>9/2");
}

/* --- the full table --- */

/* The warning of each style; NULL: none. */
static void expect_warnings(const char *wanted) {
    mtrace_snapshot *s = test_take(false);
    mtrace_rows *rows = test_rows(s, MTRACE_BY_LINE);
    int style;
    for (style = MTRACE_STYLE_TABLE; style <= MTRACE_STYLE_WARNINGS; style++) {
        test_output out;
        const char *text = test_report(&out, rows, (mtrace_style)style);
        assert_int_equal(strstr(text, "scope") != NULL, wanted != NULL);
        assert_true(wanted == NULL || strstr(text, wanted) != NULL);
    }
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
}

static void test_full_table(void **state) {
    mtrace_scope before[5];
    (void)state;
    start_full(8, 2, 64);
    assert_int_equal(mtrace_get_info().max_scopes, 2);
    before[1] = enter(1);
    before[2] = enter(2);
    expect_warnings(NULL);
    before[3] = enter(3);
    expect_here("9/0"); /* the call site alone */
    assert_int_equal(mtrace_get_info().lost_scopes, 1);
    expect_warnings("; scope table full: 1 scope missing from tracebacks\n");
    before[4] = enter(1); /* known, but not from here */
    expect_here("9/0");
    assert_int_equal(mtrace_get_info().lost_scopes, 2);
    expect_warnings("; scope table full: 2 scopes missing from tracebacks\n");
    mtrace_scope_restore(before[4]);
    expect_here("9/0");
    mtrace_scope_restore(before[3]);
    expect_here("1>2>9/3");
    mtrace_scope_restore(before[2]);
    mtrace_scope_restore(before[1]);
    expect_here("9/1");
    enter(1);
    enter(2);
    expect_here("1>2>9/3");
    assert_int_equal(mtrace_get_info().scopes, 2);
    mtrace_clear();
    assert_int_equal(mtrace_get_info().lost_scopes, 0);
    expect_warnings(NULL);
}

/* The room for call sites is theirs, however many scopes find none. */
static void test_lost_scopes_take_no_places(void **state) {
    uint32_t line;
    (void)state;
    start_full(8, 2, 8);
    for (line = 10; line < 60; line++) {
        mtrace_scope_restore(enter(line));
    }
    assert_int_equal(mtrace_get_info().scopes, 2);
    assert_int_equal(mtrace_get_info().lost_scopes, 48);
    expect_here("9/1"); /* not "<other>" */
    assert_int_equal(mtrace_get_info().lost_sites, 0);
}

/* Nor do call sites that find no account take the room of scopes. */
static void test_lost_sites_take_no_places(void **state) {
    void *block = NULL, *unknown;
    uint32_t line;
    (void)state;
    start_full(8, 8, 2);
    enter(1);
    block = mtrace_malloc_at(1, at(9));
    unknown = mtrace_malloc_at(1, at(8));
    for (line = 10; line < 60; line++) {
        MT_FREE(mtrace_malloc_at(1, at(line)));
    }
    assert_int_equal(mtrace_get_info().lost_sites, 50);
    MT_FREE(unknown);
    expect_lines(block, "1>9/2");
    MT_FREE(block);
    {
        mtrace_scope inner = mtrace_scope_push_at(at(2));
        assert_int_equal(test_scope_line(), 2); /* not "<other>" */
        mtrace_scope_restore(inner);
    }
}

/* Sites known before the site table filled up stay known. */
static void test_full_site_table(void **state) {
    mtrace_scope before;
    void *block;
    (void)state;
    start_full(8, 8, 1);
    before = enter(1);
    expect_here("1>9/2");
    mtrace_scope_restore(before);
    block = mtrace_malloc_at(1, at(9));
    assert_int_equal(mtrace_get_info().lost_sites, 1);
    MT_FREE(block);
    enter(1);
    expect_here("1>9/2");
    assert_int_equal(mtrace_get_info().lost_sites, 1);
}

/* --- realloc, domains --- */

/* A realloc takes the traceback of where it is done. */
static void test_realloc_in_scopes(void **state) {
    mtrace_scope before;
    void *block;
    (void)state;
    start(8);
    before = enter(1);
    block = mtrace_malloc_at(10, at(9));
    mtrace_scope_restore(before);
    expect_lines(block, "1>9/2");
    enter(2);
    enter(3);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    block = mtrace_realloc_at(block, 5000, at(8));
    assert_int_equal(mtrace_resume(), MTRACE_OK);
    expect_lines(block, "1>9/2"); /* paused, it keeps what it has */
    block = mtrace_realloc_at(block, 20, at(8));
    expect_lines(block, "2>3>8/3");
    test_fail_next = 1;
    enter(4);
    assert_null(mtrace_realloc_at(block, 30, at(9)));
    expect_lines(block, "2>3>8/3");
    MT_FREE(block);
}

static void test_domain_of_a_scope(void **state) {
    mtrace_scope five, inner, six;
    void *blocks[4];
    size_t i;
    (void)state;
    start(8);
    five = mtrace_scope_push_in_at(5, at(1));
    expect_domain_here(5);
    inner = enter(2);
    expect_domain_here(5); /* of the scope around it */
    expect_here("1>2>9/3");
    six = mtrace_scope_push_in_at(6, at(3));
    expect_domain_here(6);
    blocks[0] = MT_MALLOC_IN(7, 1);
    blocks[1] = MT_MALLOC_IN(0, 1);
    blocks[2] = MT_CALLOC_IN(8, 1, 1);
    blocks[3] = MT_STRDUP("x");
    expect_domain(blocks[0], 7); /* the call's own counts */
    expect_domain(blocks[1], 0);
    expect_domain(blocks[2], 8);
    expect_domain(blocks[3], 6);
    mtrace_scope_restore(six);
    expect_domain_here(5);
    mtrace_scope_restore(inner);
    mtrace_scope_restore(five);
    expect_domain_here(0);
    for (i = 0; i < 4; i++) {
        MT_FREE(blocks[i]);
    }
    mtrace_scope_push_in_at(5, at(1));
    mtrace_scope_push_in_at(0, at(2));
    expect_domain_here(0);
    test_sound();
}

static void test_domain_of_a_scope_and_realloc(void **state) {
    void *block, *in_five;
    mtrace_scope five;
    (void)state;
    start(8);
    block = MT_MALLOC(10);
    five = mtrace_scope_push_in_at(5, at(1));
    in_five = MT_MALLOC(10);
    block = MT_REALLOC(block, 3000);
    expect_domain(block, 0); /* it keeps its domain */
    mtrace_scope_restore(five);
    in_five = MT_REALLOC(in_five, 3000);
    expect_domain(in_five, 5);
    MT_FREE(block);
    MT_FREE(in_five);
}

static void *allocate_in_scope_of(uint32_t domain) {
    MT_SCOPE_IN(domain);
    return allocate();
}

static void test_scope_macro_with_domain(void **state) {
    void *block, *other;
    mtrace_scope before;
    (void)state;
    start(8);
    block = allocate_in_scope_of(3);
    other = allocate_in_scope_of(4);
    expect_domain(block, 3);
    expect_domain(other, 4);
    expect_functions(other, "allocate_in_scope_of>allocate/2");
    expect_domain_here(0);
    before = MT_SCOPE_PUSH_IN(8);
    expect_domain_here(8);
    MT_SCOPE_POP(before);
    expect_domain_here(0);
    assert_int_equal(mtrace_get_info().scopes, 2); /* a scope is one, whatever the domain */
    MT_FREE(block);
    MT_FREE(other);
}

/* A key's domain is always the call's: MT_TRACK in domain 0 is the heap. */
static void test_keys_in_a_scope_with_domain(void **state) {
    mtrace_block found = MTRACE_ZERO_;
    (void)state;
    start(8);
    mtrace_scope_push_in_at(5, at(1));
    assert_int_equal(MT_TRACK(6, 77, 1), MTRACE_OK);
    assert_int_equal(MT_TRACK(0, 320, 1), MTRACE_OK);
    assert_int_equal(mtrace_find_tracked(&found, 6, 77, NULL, 0), MTRACE_OK);
    assert_int_equal(found.domain, 6);
    assert_int_equal(mtrace_find_tracked(&found, 0, 320, NULL, 0), MTRACE_OK);
    assert_int_equal(found.domain, 0);
    assert_int_equal(mtrace_find_tracked(&found, 5, 77, NULL, 0), MTRACE_ERR_NOT_FOUND);
    test_sound();
}

/* --- threads --- */

#if TEST_ATOMICS
enum { THREADS = 4, ROUNDS = 3000 };

static int wrong[THREADS];

/* True when a block allocated now has the frames `first`, `second` (0: not there), 9. */
static bool is_inside(uint32_t first, uint32_t second) {
    void *block = mtrace_malloc_at(8, at(9));
    mtrace_frame frames[4];
    mtrace_traceback found = MTRACE_ZERO_;
    uint32_t depth = (first != 0 ? 1u : 0u) + (second != 0 ? 1u : 0u);
    bool same = test_find_traceback(&found, 0, (uintptr_t)block, frames, 4) == MTRACE_OK &&
                found.count == depth + 1 && found.total == depth + 1 && frames[depth].line == 9 &&
                (first == 0 || frames[0].line == first) &&
                (second == 0 || frames[1].line == second);
    MT_FREE(block);
    return same;
}

static void *live_in_scopes(void *argument) {
    int *faults = (int *)argument;
    uint32_t own = 10 + (uint32_t)(faults - wrong), i;
    *faults += !is_inside(0, 0); /* the main thread's scope is not this one's */
    for (i = 0; i < ROUNDS; i++) {
        mtrace_scope outer = enter(own), inner;
        *faults += !is_inside(own, 0);
        inner = enter(20 + i % 3);
        *faults += !is_inside(own, 20 + i % 3);
        mtrace_scope_restore(inner);
        mtrace_scope_restore(outer);
        *faults += !is_inside(0, 0);
    }
    return NULL;
}

static void test_threads(void **state) {
    uint32_t i;
    (void)state;
    for (i = 0; i < SITES; i++) {
        at(i);
    }
    start(8);
    enter(1);
    test_in_threads(THREADS, live_in_scopes, wrong, sizeof *wrong);
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(wrong[i], 0);
    }
    expect_here("1>9/2"); /* nor are theirs the main thread's */
    assert_in_range(mtrace_get_info().scopes, 1 + 4 + 12, 64);
    assert_int_equal(mtrace_get_info().lost_scopes, 0);
    test_sound();
}
#endif

/* --- random calls beside a naive model --- */

enum { BLOCKS = 40, DEEPEST = 12, STEPS = 4000, PLACES = 6, NO_DOMAIN = -1 };

typedef struct path {
    uint32_t lines[DEEPEST + 1]; /* oldest first; of a block: the call site last */
    uint32_t depth;
    uint32_t domain;
} path;

typedef struct model {
    path inside;
    path outer[DEEPEST];          /* the path before each scope */
    mtrace_scope tokens[DEEPEST]; /* the library's scopes */
    void *blocks[BLOCKS];
    path paths[BLOCKS];
    uint32_t sizes[BLOCKS];
    uint32_t frames;
    bool may_lose; /* the scope table is small */
} model;

static uint32_t seed;

static uint32_t pick(uint32_t n) {
    return test_random(&seed, n);
}

static void model_push(model *m) {
    uint32_t line = 1 + pick(PLACES), domain = pick(3), depth = m->inside.depth;
    if (depth < DEEPEST) {
        bool own = pick(3) == 0;
        m->outer[depth] = m->inside;
        m->tokens[depth] = own ? mtrace_scope_push_in_at(domain, at(line)) : enter(line);
        m->inside.lines[m->inside.depth++] = line;
        m->inside.domain = own ? domain : m->inside.domain;
    }
}

/* Out of the innermost scope, or of several at once. */
static void model_pop(model *m) {
    if (m->inside.depth > 0) {
        uint32_t to = pick(3) != 0 ? m->inside.depth - 1 : pick(m->inside.depth);
        mtrace_scope_restore(m->tokens[to]);
        m->inside = m->outer[to];
    }
}

static void model_allocate(model *m, uint32_t i) {
    uint32_t line = 20 + pick(PLACES), size = 1 + pick(500), domain = pick(3);
    bool own = pick(4) == 0;
    m->paths[i] = m->inside;
    m->paths[i].lines[m->paths[i].depth++] = line;
    m->paths[i].domain = own ? domain : m->inside.domain;
    m->sizes[i] = size;
    m->blocks[i] =
        own ? mtrace_calloc_in_at(domain, 1, size, at(line)) : mtrace_malloc_at(size, at(line));
}

static void model_realloc(model *m, uint32_t i) {
    uint32_t line = 30 + pick(PLACES), size = 1 + pick(5000), domain = m->paths[i].domain;
    m->paths[i] = m->inside;
    m->paths[i].lines[m->paths[i].depth++] = line;
    m->paths[i].domain = domain;
    m->sizes[i] = size;
    m->blocks[i] = mtrace_realloc_at(m->blocks[i], size, at(line));
}

static void model_step(model *m) {
    uint32_t what = pick(10), i = pick(BLOCKS);
    if (what < 3) {
        model_push(m);
    } else if (what < 5) {
        model_pop(m);
    } else if (m->blocks[i] == NULL) {
        model_allocate(m, i);
    } else if (what < 7) {
        model_realloc(m, i);
    } else {
        MT_FREE(m->blocks[i]);
        m->blocks[i] = NULL;
    }
}

/* Does the path end with the last `count` frames? */
static bool same_end(const path *w, const mtrace_frame *frames, uint32_t count) {
    uint32_t i;
    for (i = 0; i < count; i++) {
        if (frames[i].line != w->lines[w->depth - count + i]) {
            return false;
        }
    }
    return true;
}

static uint32_t kept(const model *m, const path *w) {
    return w->depth < m->frames ? w->depth : m->frames;
}

static void expect_model_block(const model *m, uint32_t i) {
    const path *w = &m->paths[i];
    mtrace_frame frames[DEEPEST + 2];
    mtrace_traceback found = MTRACE_ZERO_;
    mtrace_block block = MTRACE_ZERO_;
    if (m->blocks[i] != NULL) {
        uintptr_t key = (uintptr_t)m->blocks[i];
        bool lost;
        assert_int_equal(test_find_traceback(&found, 0, key, frames, DEEPEST + 2), MTRACE_OK);
        lost = m->may_lose && found.total == 0;
        assert_int_equal(found.total, lost ? 0 : w->depth);
        assert_int_equal(found.count, lost ? 1 : kept(m, w));
        assert_true(same_end(w, frames, found.count));
        assert_int_equal(mtrace_find(&block, m->blocks[i]), MTRACE_OK);
        assert_int_equal(block.size, m->sizes[i]);
        assert_int_equal(block.domain, w->domain);
        assert_int_equal(block.line, w->lines[w->depth - 1]);
    }
}

/* The model's blocks with the frames of the row. */
static void expect_model_row(const model *m, const mtrace_row *row, uint64_t *blocks) {
    uint64_t size = 0, count = 0;
    uint32_t i;
    for (i = 0; i < BLOCKS; i++) {
        const path *w = &m->paths[i];
        if (m->blocks[i] != NULL && kept(m, w) == row->traceback.count &&
            same_end(w, row->traceback.frames, row->traceback.count)) {
            size += m->sizes[i];
            count++;
        }
    }
    assert_int_equal(row->size, size);
    assert_int_equal(row->count, count);
    *blocks += count;
}

/* Rows by traceback have each block in one of them: then there is no row but the model's. */
static void expect_model_rows(const model *m) {
    mtrace_snapshot *s;
    mtrace_rows *rows;
    uint64_t live = 0, in_rows = 0;
    size_t i;
    test_sound();
    for (i = 0; i < BLOCKS; i++) {
        live += m->blocks[i] != NULL;
    }
    s = test_take(false);
    rows = test_rows(s, MTRACE_BY_TRACEBACK);
    assert_int_equal(rows->total.count, live);
    for (i = 0; i < rows->count && !m->may_lose; i++) {
        expect_model_row(m, &rows->rows[i], &in_rows);
    }
    assert_int_equal(in_rows, m->may_lose ? 0 : live);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
}

static void run_model(uint32_t frames, bool may_lose) {
    static model m;
    int step;
    uint32_t i;
    memset(&m, 0, sizeof m);
    m.frames = frames;
    m.may_lose = may_lose;
    seed = frames + 5;
    start_full(frames, may_lose ? 7 : 4096, 4096);
    for (step = 0; step < STEPS; step++) {
        model_step(&m);
        expect_model_block(&m, pick(BLOCKS));
        if (step % 100 == 0) {
            expect_model_rows(&m);
        }
    }
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    assert_int_equal(mtrace_get_info().lost_sites, 0);
    assert_int_equal(mtrace_get_info().lost_scopes != 0, may_lose);
    for (i = 0; i < BLOCKS; i++) {
        MT_FREE(m.blocks[i]);
    }
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    mtrace_stop();
}

static void test_random_calls(void **state) {
    static const uint32_t frames[] = {1, 2, 3, 8, ALL};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof frames / sizeof *frames; i++) {
        run_model(frames[i], false);
        if (i >= 1 && i <= 3) { /* of one frame none are lost */
            run_model(frames[i], true);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_walks),
        TEST(test_limit),
        TEST(test_limit_of_limits),
        TEST(test_little_room),
        TEST(test_deep),
        TEST(test_total_saturates),
        TEST(test_depths_are_spread),
        TEST(test_same_frames_share_an_account),
        TEST(test_same_contents_share_an_account),
        TEST(test_recursion),
        TEST(test_keys_and_types),
        TEST(test_left_by_itself),
        TEST(test_line_of_a_scope),
        TEST(test_named_scope),
        TEST(test_saved_scopes),
#ifdef __cplusplus
        TEST(test_exception),
#endif
        TEST(test_missing_pop),
        TEST(test_longjmp),
        TEST(test_garbage_token),
        TEST(test_full_table),
        TEST(test_lost_scopes_take_no_places),
        TEST(test_lost_sites_take_no_places),
        TEST(test_full_site_table),
        TEST(test_realloc_in_scopes),
        TEST(test_domain_of_a_scope),
        TEST(test_domain_of_a_scope_and_realloc),
        TEST(test_scope_macro_with_domain),
        TEST(test_keys_in_a_scope_with_domain),
#if TEST_ATOMICS
        TEST(test_threads),
#endif
        TEST(test_random_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The console on bare metal: the commands that work there, and those that need an operating system.
   The lock is open while the writer runs. Built with MTRACE_BARE_METAL. */

#undef MTRACE_CONFIG_FILE
#undef MTRACE_SINGLE_THREAD
#define MTRACE_BARE_METAL

static int locked, lock_faults;

#define MTRACE_LOCK()   (lock_faults += locked++ != 0)
#define MTRACE_UNLOCK() (lock_faults += --locked != 0)

#define MTRACE_NO_RECORDER
#define MTRACE_NO_PROFILE
#define MTRACE_NO_USAGE
#include "support/test.h"

#include "../mtrace_ext.h"

static test_output output;

static void write_unlocked(const char *text, size_t length, void *user) {
    lock_faults += locked != 0;
    assert_true(length <= 96);
    test_write(text, length, user);
}

static mtrace_result say(const char *line) {
    output.length = 0;
    output.text[0] = '\0';
    return mtrace_command(line, write_unlocked, &output);
}

static void expect(const char *line, mtrace_result result, const char *part) {
    assert_int_equal(say(line), result);
    if (strstr(output.text, part) == NULL) {
        printf("%s: no %s in\n%s", line, part, output.text);
        fail();
    }
}

static void track(uint32_t domain, uintptr_t key, uint64_t size, const char *file, uint32_t line) {
    mtrace_site site = test_site(file, line);
    assert_int_equal(mtrace_track_at(domain, key, size, &site), MTRACE_OK);
}

static uint64_t memory[1 << 11]; /* 16 KiB, aligned */

static int setup(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.memory = memory;
    desc.memory_size = sizeof memory;
    desc.max_blocks = 64;
    desc.max_sites = 16;
    desc.frames = 2;
    desc.write = write_unlocked;
    desc.write_user = &output;
    lock_faults = 0;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_name_domain(1, "packets"), MTRACE_OK);
    track(1, 0x100, 64, "net.c", 5);
    track(2, 0x200, 32, "game.c", 6);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    test_sound();
    mtrace_stop();
    assert_int_equal(lock_faults, 0);
    return 0;
}

static void what_works(void **state) {
    (void)state;
    expect("top", MTRACE_OK, "2 of 2 lines");
    expect("top 1 by dom", MTRACE_OK, "domain 1 packets\n");
    expect("top total", MTRACE_OK, "96 B in 2 blocks allocated in all");
    expect("top by size", MTRACE_ERR_NO_BLOCKS, "size classes need a snapshot");
    expect("diff", MTRACE_ERR_NO_BASELINE, "no baseline");
    expect("base", MTRACE_OK, "this is the baseline");
    track(2, 0x300, 8, "game.c", 7);
    expect("diff 5", MTRACE_OK, "game.c:7 f");
    expect("leaks", MTRACE_OK, "net.c:5: warning: 64 B in 1 block not freed");
    expect("who 0x104", MTRACE_OK,
           "0x104: 4 bytes into a tracked key of 64 B at 0x100, domain 1 packets\n"
           "  net.c:5 f\n");
    expect("who 0x1", MTRACE_ERR_NOT_FOUND, "no traced block there");
    expect("pause", MTRACE_OK, "paused");
    expect("info", MTRACE_OK, "mtrace: paused: 104 B held, 104 B at the peak\nblocks 3 of ");
    expect("resume", MTRACE_OK, "traced");
    expect("reset-peak", MTRACE_OK, "peak");
    expect("clear", MTRACE_OK, "forgotten");
    expect("i", MTRACE_OK, "mtrace: tracing: 0 B held");
}

static void what_needs_an_operating_system(void **state) {
    static const char *const lines[] = {"filter a", "domain 1", "watch a", "save file",
                                        "filter",   "dom off",  "wat off", "save"};
    static const char *const absent[] = {"\nfilter", "\ndomain", "\nwatch", "\nsave", " size"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof lines / sizeof *lines; i++) {
        expect(lines[i], MTRACE_ERR_ARGUMENT, "mtrace: that needs an operating system\n");
    }
    expect("help", MTRACE_OK, "\nreset-peak ");
    for (i = 0; i < sizeof absent / sizeof *absent; i++) {
        assert_null(strstr(output.text, absent[i]));
    }
    expect("foo", MTRACE_ERR_ARGUMENT,
           "\"foo\" is none of help, top, base, diff, leaks, who, pause, resume,");
    expect("d", MTRACE_ERR_NO_BASELINE, "baseline"); /* no other word begins so here */
}

static void completion_offers_what_is_there(void **state) {
    size_t start;
    (void)state;
    assert_string_equal(mtrace_command_complete("w", 1, &start, 0), "who");
    assert_null(mtrace_command_complete("w", 1, &start, 1));
    assert_string_equal(mtrace_command_complete("top by dom", 10, &start, 0), "domain");
    assert_int_equal(start, 7);
    assert_null(mtrace_command_complete("filter ", 7, &start, 0));
}

static void no_line_breaks_it(void **state) {
    static const char *const parts[] = {"top ", "by",   " line", "who ",  "0x100",
                                        "\"",   " ",    "clear", "r",     "leaks",
                                        "\303", "9999", "\t",    "base ", "diff "};
    char line[600];
    uint32_t seed = 7, round;
    size_t start;
    (void)state;
    for (round = 0; round < 3000; round++) {
        uint32_t n = test_random(&seed, 8);
        line[0] = '\0';
        while (n-- > 0) {
            strcat(line, parts[test_random(&seed, sizeof parts / sizeof *parts)]);
        }
        if (test_random(&seed, 50) == 0) {
            memset(line, (int)(1 + test_random(&seed, 255)), sizeof line - 1);
            line[sizeof line - 1] = '\0';
        }
        (void)say(line);
        mtrace_command_complete(line, strlen(line), &start, round % 4);
        assert_true(start <= strlen(line));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_works, setup, teardown),
        cmocka_unit_test_setup_teardown(what_needs_an_operating_system, setup, teardown),
        cmocka_unit_test_setup_teardown(completion_offers_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(no_line_breaks_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

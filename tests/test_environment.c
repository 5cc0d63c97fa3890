/* Start by the environment, as CPython takes PYTHONTRACEMALLOC, reports at exit, source lines. The
   program is its own child: its constructor starts the tracer before main. */

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif
#include "support/test.h"
#include "support/files.h"

#include "../mtrace_ext.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *program; /* runs this program in a command */

/* Runs a command; what it wrote, and its exit status. */
static int run(const char *command, char *text, size_t size) {
    FILE *child = popen(command, "r");
    int status;
    assert_non_null(child);
    text[fread(text, 1, size - 1, child)] = '\0';
    status = pclose(child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The program itself with a part to play, see child_main. */
static int play(const char *environment, const char *part, char *text, size_t size) {
    char command[4096];
    int length = snprintf(command, sizeof command, "%s %s %s 2>&1", environment, program, part);
    assert_in_range(length, 1, sizeof command - 1);
    return run(command, text, size);
}

static int child(const char *environment, char *text, size_t size) {
    return play(environment, "child", text, size);
}

static void profiled(void) {
    MT_PROFILE();
    MT_FREE(MT_MALLOC(2048));
}

/* Then a second start is refused. */
static bool is_profiling(void) {
    mtrace_result result = mtrace_profile_start(NULL);
    if (result == MTRACE_OK) {
        mtrace_profile_stop();
    }
    return result == MTRACE_ERR_ALREADY;
}

static void *leak(uint32_t line, size_t size) {
    mtrace_site site = test_site("leak.c", line);
    return mtrace_malloc_at(size, &site);
}

/* Its end is awaited: what parent and child write comes in this order. */
static void fork_a_child(bool starts) {
    static void *kept;
    pid_t pid;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        if (starts) {
            mtrace_stop();
            mtrace_start_from_environment(NULL);
        }
        kept = leak(50, 50);
        exit(kept == NULL);
    }
    waitpid(pid, NULL, 0);
}

static void profile_at_exit(void) {
    mtrace_profile_desc desc = MTRACE_ZERO_;
    desc.at_exit = true;
    mtrace_profile_start(&desc);
    profiled();
}

/* Each leaks 100 bytes at leak.c:7; "holds" does no more. */
static int child_plays(const char *part) {
    static void *kept;
    kept = leak(7, 100);
    if (strcmp(part, "forks") == 0) {
        fork_a_child(false);
    } else if (strcmp(part, "forks-start") == 0) {
        fork_a_child(true);
    } else if (strcmp(part, "profile-forks") == 0) {
        profile_at_exit();
        fork_a_child(false);
    } else if (strcmp(part, "restarts") == 0) {
        MT_FREE(kept);
        mtrace_stop();
        mtrace_start_from_environment(NULL);
        kept = leak(7, 100);
    } else if (strcmp(part, "changes") == 0) {
        setenv("MTRACE_REPORT", "nonsense", 1);
    } else if (strcmp(part, "stops") == 0) {
        mtrace_stop();
    }
    return kept == NULL;
}

static int child_main(void) {
    static void *kept;
    mtrace_info info = mtrace_get_info();
    mtrace_site site = test_site("leak.c", 7);
    printf("%d %u\n", mtrace_is_tracing(), (unsigned)info.frames);
    fflush(stdout);
    kept = mtrace_malloc_at(100, &site);
    if (is_profiling()) {
        puts("profiling");
        fflush(stdout);
        profiled();
    }
    return kept == NULL;
}

static int python(const char *value, unsigned *frames) {
    char command[512], text[4096];
    int tracing, status;
    snprintf(command, sizeof command,
             "TEST_ONCE=1 PYTHONTRACEMALLOC='%s' python3 -c 'import tracemalloc as t; "
             "print(int(t.is_tracing()), t.get_traceback_limit())' 2>&1",
             value);
    status = run(command, text, sizeof text);
    *frames = 0;
    if (status == 0) {
        assert_int_equal(sscanf(text, "%d %u", &tracing, frames), 2);
        *frames = tracing ? *frames : 0;
    }
    return status != 0;
}

/* Each value means the same as in CPython: a number of frames, off, or an error at the start. */
static void test_values_as_cpython(void **state) {
    static const char *const values[] = {"",
                                         "0",
                                         "1",
                                         "5",
                                         "65535",
                                         "65536",
                                         "1073741824",
                                         "2147483648",
                                         "-1",
                                         "-0",
                                         "+3",
                                         " 4",
                                         "4 ",
                                         "x",
                                         "5x",
                                         "0x10",
                                         "1.0",
                                         "00012",
                                         "999999",
                                         "1e3",
                                         " ",
                                         "--1",
                                         "18446744073709551617"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof values / sizeof *values; i++) {
        char environment[64], text[4096];
        unsigned frames, expected;
        int tracing, status, expected_status = python(values[i], &expected);
        snprintf(environment, sizeof environment, "MTRACE='%s'", values[i]);
        status = child(environment, text, sizeof text);
        assert_int_equal(status, expected_status);
        if (status != 0) {
            assert_true(strncmp(text, "MTRACE: ", 8) == 0);
            continue;
        }
        assert_int_equal(sscanf(text, "%d %u", &tracing, &frames), 2);
        assert_int_equal(tracing, expected != 0);
        assert_int_equal(frames, expected);
    }
}

static void test_messages(void **state) {
    static const struct {
        const char *name; /* the environment */
        int status;
        const char *output;
    } children[] = {
        {"env -u MTRACE", 0, "0 0\n"},
        {"MTRACE_REPORT=top", 0, "0 0\n"},
        {"MTRACE=x", 1, "MTRACE: invalid number of frames\nMTRACE: bad argument\n"},
        {"MTRACE=70000", 1,
         "MTRACE: the number of frames must be in range [1; 65535]\nMTRACE: bad argument\n"},
        {"MTRACE=1 MTRACE_REPORT=top,tap", 1,
         "MTRACE_REPORT: tap: not one of top, top=N, peak, peak=N, leaks, dump=FILE, pickle=FILE, "
         "profile, profile=FILE, record=FILE (.dat, .json, .csv or .svg)\nMTRACE: bad argument\n"},
        {"MTRACE=1 MTRACE_REPORT=peak,top=ten", 1,
         "MTRACE_REPORT: top=ten: write top, top=N\nMTRACE: bad argument\n"},
        {"MTRACE=1 MTRACE_REPORT=record=x.txt", 1,
         "MTRACE_REPORT: record=x.txt: write record=FILE (.dat, .json, .csv or .svg)\n"
         "MTRACE: bad argument\n"},
        {"MTRACE=1 MTRACE_REPORT=dump=%x", 1,
         "MTRACE_REPORT: dump=%x: write dump=FILE; in FILE %p is the process, %% a percent sign\n"
         "MTRACE: bad argument\n"},
        {"MTRACE=2 MTRACE_REPORT=leaks", 0,
         "1 2\nleak.c:7: warning: 100 B in 1 block not freed, allocated in f\n"},
        {"MTRACE=1 MTRACE_REPORT=dump=/nowhere/at/all", 0,
         "1 1\nMTRACE_REPORT: dump=/nowhere/at/all: cannot read or write the file: No such file or "
         "directory\n"},
        /* the next ones come even so */
        {"MTRACE=1 MTRACE_REPORT=pickle=/nowhere/at/all,leaks", 0,
         "1 1\nMTRACE_REPORT: pickle=/nowhere/at/all: cannot read or write the file: No such file "
         "or directory\nleak.c:7: warning: 100 B in 1 block not freed, allocated in f\n"},
        {"MTRACE=1 MTRACE_REPORT=profile=/nowhere/at/all", 0,
         "1 1\nprofiling\nMTRACE_REPORT: profile=/nowhere/at/all: cannot read or write the file: "
         "No such file or directory\n"},
    };
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, children); i++) {
        char text[4096];
        assert_int_equal(child(children[i].name, text, sizeof text), children[i].status);
        assert_string_equal(text, children[i].output);
    }
}

static void test_bad_reports(void **state) {
    static const char *const values[] = {"top=",
                                         "top=x",
                                         "top=-1",
                                         "leaks=1",
                                         "dump",
                                         "dump=",
                                         "pickle",
                                         "peak=1x",
                                         "=",
                                         ",",
                                         "TOP",
                                         "record",
                                         "record=",
                                         "record=x",
                                         "record=dat",
                                         "record=x.da",
                                         "record=x.DAT",
                                         "record=x.dat%",
                                         "profile=",
                                         "dump=a%",
                                         "pickle=%P",
                                         "top=18446744073709551616",
                                         "top,record=x.plot"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof values / sizeof *values; i++) {
        char environment[64], text[4096];
        snprintf(environment, sizeof environment, "MTRACE=1 MTRACE_REPORT='%s'", values[i]);
        assert_int_equal(child(environment, text, sizeof text), 1);
        assert_true(strncmp(text, "MTRACE_REPORT: ", 15) == 0);
    }
}

static void test_reports_at_exit(void **state) {
    char text[4096];
    (void)state;
    assert_int_equal(child("MTRACE=2 MTRACE_REPORT=top=3,peak,leaks", text, sizeof text), 0);
    assert_non_null(
        strstr(text, "mtrace: 100 B in 1 block held, 100 B at the peak; 1 of 1 line\n"));
    assert_non_null(strstr(text, "mtrace: 100 B in 1 block held at the peak; 1 of 1 line\n"));
    assert_non_null(strstr(text, "leak.c:7: warning: "));
}

/* `profile` starts the line profile, and no other word does. */
static void test_profile_at_exit(void **state) {
    char text[8192];
    (void)state;
    assert_int_equal(child("MTRACE=1 MTRACE_REPORT=leaks,profile", text, sizeof text), 0);
    assert_non_null(strstr(text, "mtrace: profiled "));
    assert_non_null(
        strstr(text, ": 1 call; 100 B held before, 2.10 KiB at the peak, 100 B after\n"));
    assert_non_null(strstr(text, "2.10 KiB        1       1  100 % ##########"));
    assert_int_equal(child("MTRACE=1 MTRACE_REPORT=top,peak=3,leaks", text, sizeof text), 0);
    assert_null(strstr(text, "profiling"));
}

/* --- files of a folder of the test's own --- */

static void test_files_at_exit(void **state) {
    char environment[256], path[64], text[4096];
    mtrace_snapshot *s;
    (void)state;
    TEST_NEEDS_POSIX();
    snprintf(environment, sizeof environment, "MTRACE=1 MTRACE_REPORT=dump=%s/a,pickle=%s/b",
             test_folder, test_folder);
    assert_int_equal(child(environment, text, sizeof text), 0);
    snprintf(path, sizeof path, "%s/a", test_folder);
    assert_int_equal(mtrace_snapshot_load(&s, path, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 1);
    mtrace_snapshot_free(s);
    assert_int_equal(unlink(path), 0);
    snprintf(environment, sizeof environment,
             "python3 -c 'import tracemalloc as t; s = t.Snapshot.load(\"%s/b\"); "
             "print(s.statistics(\"lineno\")[0], s.traceback_limit)'",
             test_folder);
    assert_int_equal(run(environment, text, sizeof text), 0);
    assert_string_equal(text, "leak.c:7: size=100 B, count=1, average=100 B 1\n");
}

static const char *const warning =
    "leak.c:7: warning: 100 B in 1 block not freed, allocated in f\n";

static void expect_play(const char *environment, const char *part, const char *output) {
    char text[4096];
    assert_int_equal(play(environment, part, text, sizeof text), 0);
    assert_string_equal(text, output);
}

/* The process that started reports. A child that it forked does not, unless it starts by itself. */
static void test_forks(void **state) {
    char text[4096], both[256];
    (void)state;
    TEST_NEEDS_POSIX();
    expect_play("MTRACE=1 MTRACE_REPORT=leaks", "forks", warning);
    snprintf(both, sizeof both, "%s%s",
             "leak.c:50: warning: 50 B in 1 block not freed, allocated in f\n", warning);
    expect_play("MTRACE=1 MTRACE_REPORT=leaks", "forks-start", both);
    assert_int_equal(play("MTRACE=1", "profile-forks", text, sizeof text), 0);
    assert_non_null(strstr(text, "mtrace: profiled "));
    assert_null(strstr(strstr(text, "mtrace: profiled ") + 1, "mtrace: profiled "));
}

/* Once, however often it was started; as asked for at the start; not when it was stopped. */
static void test_once(void **state) {
    (void)state;
    TEST_NEEDS_POSIX();
    expect_play("MTRACE=1 MTRACE_REPORT=leaks", "restarts", warning);
    expect_play("MTRACE=1 MTRACE_REPORT=leaks", "changes", warning);
    expect_play("MTRACE=1 MTRACE_REPORT=leaks,dump=/nowhere/at/all", "stops", "");
}

/* The files in it, sorted: "a b ". */
static void expect_files(const char *expected) {
    char command[128], text[4096];
    snprintf(command, sizeof command, "ls -A %s | tr '\\n' ' '", test_folder);
    assert_int_equal(run(command, text, sizeof text), 0);
    assert_string_equal(text, expected);
}

/* %p separates the files of all programs that inherited the environment. A child that only forked
   writes none. */
static void test_process_in_names(void **state) {
    char environment[512], command[1024], text[4096], expected[256];
    long pid;
    (void)state;
    TEST_NEEDS_POSIX();
    snprintf(environment, sizeof environment, "MTRACE=1 MTRACE_REPORT=dump=%s/a%%%%b-%%p.%%p",
             test_folder);
    snprintf(command, sizeof command, "echo $$; %s exec %s forks 2>&1", environment, program);
    assert_int_equal(run(command, text, sizeof text), 0);
    pid = strtol(text, NULL, 10);
    snprintf(expected, sizeof expected, "%ld\n", pid);
    assert_string_equal(text, expected); /* no more was written */
    snprintf(expected, sizeof expected, "a%%b-%ld.%ld ", pid, pid);
    expect_files(expected);
    snprintf(command, sizeof command, "rm %s/*; export %s; %s forks; %s forks; ls %s | wc -l",
             test_folder, environment, program, program, test_folder);
    assert_int_equal(run(command, text, sizeof text), 0);
    assert_int_equal(strtol(text, NULL, 10), 2);
}

/* Every file name has it, and one that is too long is refused. */
static void test_all_names(void **state) {
    char environment[1024], text[4096];
    (void)state;
    TEST_NEEDS_POSIX();
    snprintf(environment, sizeof environment,
             "MTRACE=1 MTRACE_REPORT=dump=%s/d%%%%,pickle=%s/k%%%%,profile=%s/l%%%%,record=%s/"
             "r%%%%.svg,top",
             test_folder, test_folder, test_folder, test_folder);
    assert_int_equal(child(environment, text, sizeof text), 0);
    assert_non_null(strstr(text, "mtrace: 100 B in 1 block held"));
    expect_files("d% k% l% r%.svg ");
    assert_int_equal(play("MTRACE=1 MTRACE_REPORT=dump=$(printf %%p%.0s $(seq 2000))", "stops",
                          text, sizeof text),
                     1);
}

static void expect_head(const char *name, const char *head) {
    char path[256], text[64];
    FILE *f;
    snprintf(path, sizeof path, "%s/%s", test_folder, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    memset(text, 0, sizeof text);
    assert_true(fread(text, 1, sizeof text - 1, f) > 10);
    assert_int_equal(fclose(f), 0);
    text[strlen(head)] = '\0';
    assert_string_equal(text, head);
}

/* Memory over time without a line of code: by itself, beside other reports, in many formats. */
static void test_record(void **state) {
    char environment[512], text[4096];
    (void)state;
    TEST_NEEDS_POSIX();
    snprintf(environment, sizeof environment, "MTRACE=1 MTRACE_REPORT=record=%s/a.dat",
             test_folder);
    assert_int_equal(play(environment, "holds", text, sizeof text), 0);
    assert_string_equal(text, "");
    expect_head("a.dat", "CMDLINE ");
    snprintf(environment, sizeof environment,
             "MTRACE=1 MTRACE_REPORT=record=%s/a.json,leaks,record=%s/a.csv,record=%s/a.svg",
             test_folder, test_folder, test_folder);
    assert_int_equal(play(environment, "holds", text, sizeof text), 0);
    assert_string_equal(text, warning);
    expect_head("a.json", "{\"");
    expect_head("a.csv", "\"time (s)\",\"current (B)\"");
    expect_head("a.svg", "<svg ");
    expect_files("a.csv a.dat a.json a.svg ");
    snprintf(environment, sizeof environment,
             "tail -n 1 %s/a.csv | cut -d, -f2,3,4 | tr -d '\\r\\n'", test_folder);
    assert_int_equal(run(environment, text, sizeof text), 0);
    assert_string_equal(text, "100,100,100");
}

/* Called by hand: the rest comes from the description. */
static void test_by_hand(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.max_blocks = 64;
    desc.frames = 9;
    assert_int_equal(setenv("MTRACE", "4", 1), 0);
    assert_int_equal(mtrace_start_from_environment(&desc), MTRACE_OK);
    assert_int_equal(mtrace_get_info().capacity, 128);
    assert_int_equal(mtrace_get_info().frames, 4);
    assert_int_equal(mtrace_start_from_environment(NULL), MTRACE_ERR_ALREADY);
    mtrace_stop();
    assert_int_equal(setenv("MTRACE", "0", 1), 0);
    assert_int_equal(mtrace_start_from_environment(&desc), MTRACE_ERR_NOT_TRACING);
    assert_int_equal(unsetenv("MTRACE"), 0);
    assert_int_equal(mtrace_start_from_environment(NULL), MTRACE_ERR_NOT_TRACING);
    assert_false(mtrace_is_tracing());
}

static void expect_line(const char *path, uint32_t line, const char *expected) {
    char text[16];
    bool found = mtrace_source_from_file(text, sizeof text, path, line, NULL);
    assert_int_equal(found, expected != NULL);
    if (expected != NULL) {
        assert_string_equal(text, expected);
    }
}

static void test_source_lines(void **state) {
    char path[] = "/tmp/mtrace-source-XXXXXX";
    int descriptor = mkstemp(path);
    FILE *file = fdopen(descriptor, "wb");
    char one[1];
    (void)state;
    assert_non_null(file);
    fputs("first\n  \tint x;\t \r\n\rfourth line that is long\n\n  last", file);
    assert_int_equal(fclose(file), 0);
    expect_line(path, 0, NULL);
    expect_line(path, 1, "first");
    expect_line(path, 2, "int x;");
    expect_line(path, 3, "");
    expect_line(path, 4, "fourth line tha");
    expect_line(path, 5, "");
    expect_line(path, 6, "last");
    expect_line(path, 7, NULL);
    expect_line("/nowhere/at/all", 1, NULL);
    expect_line(NULL, 1, NULL);
    expect_line("/tmp", 1, NULL);
    assert_false(mtrace_source_from_file(one, 0, path, 1, NULL));
    assert_true(mtrace_source_from_file(one, 1, path, 1, NULL));
    assert_int_equal(one[0], '\0');
    assert_int_equal(unlink(path), 0);
}

/* A FIFO would wait for a writer, and a device may have no end. */
static void test_source_lines_of_no_file(void **state) {
    char path[64];
    (void)state;
    TEST_NEEDS_POSIX();
    snprintf(path, sizeof path, "%s/fifo", test_folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(20);
    expect_line(path, 1, NULL);
    expect_line("/dev/zero", 1, NULL);
    alarm(0);
}

/* A traceback with its lines, as Python's Traceback.format() shows the same file. */
static void test_traceback_with_lines(void **state) {
    mtrace_frame frame = MTRACE_ZERO_;
    mtrace_traceback t = MTRACE_ZERO_;
    char text[256];
    (void)state;
    frame.file = __FILE__;
    frame.line = __LINE__; /* here */
    t.frames = &frame;
    t.count = 1;
    mtrace_format_traceback(text, sizeof text, &t, MTRACE_ALL_FRAMES, false,
                            mtrace_source_from_file, NULL);
    assert_non_null(strstr(text, "\n    frame.line = __LINE__; /* here */\n"));
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, test_make_folder, test_remove_folder)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_as_cpython),
        TEST_OF_ROWS(test_messages),
        cmocka_unit_test(test_bad_reports),
        cmocka_unit_test(test_reports_at_exit),
        cmocka_unit_test(test_profile_at_exit),
        IN_FOLDER(test_files_at_exit),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_forks),
        cmocka_unit_test(test_once),
        IN_FOLDER(test_process_in_names),
        IN_FOLDER(test_all_names),
        IN_FOLDER(test_record),
        cmocka_unit_test(test_source_lines),
        IN_FOLDER(test_source_lines_of_no_file),
        cmocka_unit_test(test_traceback_with_lines),
    };
    program = test_program(argv[0]);
    if (argc > 1) {
        return strcmp(argv[1], "child") == 0 ? child_main() : child_plays(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

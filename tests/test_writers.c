/* Writing of files, which snapshots, pickles, recordings and profiles share. A regular file is
   replaced when the new one is complete. A device, a FIFO or a link is written in place. A failure
   gives its reason and leaves nothing behind. POSIX alone has most of these. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fopencookie */
#endif
#include "support/test.h"
#include "support/files.h"

#include "../mtrace_ext.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static mtrace_snapshot *shown;
static void *held;

static void begin(void) {
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    held = MT_MALLOC(100);
    shown = test_take(true);
}

static mtrace_result to_dump(const char *name) {
    return mtrace_snapshot_dump(shown, name);
}
static mtrace_result to_pickle(const char *name) {
    return mtrace_snapshot_dump_pickle(shown, name);
}
static mtrace_result to_recording(const char *name) {
    return mtrace_recorder_save(MTRACE_RECORDER_SVG, name);
}
static mtrace_result to_profile(const char *name) {
    mtrace_profile_report_desc desc = MTRACE_ZERO_;
    desc.path = name;
    desc.style = MTRACE_PROFILE_JSON;
    return mtrace_profile_report(&desc);
}

typedef mtrace_result (*writer)(const char *name);
static const writer writers[] = {to_dump, to_pickle, to_recording, to_profile};
enum { WRITERS = sizeof writers / sizeof *writers };

static void measured(void) {
    MT_PROFILE();
    MT_FREE(MT_MALLOC(3000));
}

static void writers_begin(void) {
    mtrace_recorder_desc desc = MTRACE_ZERO_;
    begin();
    desc.no_thread = true;
    assert_int_equal(mtrace_recorder_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_profile_start(NULL), MTRACE_OK);
    measured();
}

static void writers_end(void) {
    mtrace_profile_stop();
    mtrace_recorder_free();
    assert_int_equal(test_files_in(test_folder), 0);
    mtrace_snapshot_free(shown);
    MT_FREE(held);
    mtrace_stop();
}

static mode_t mode_of(const char *name) {
    struct stat info;
    char byte;
    assert_int_equal(stat(name, &info), 0);
    return readlink(name, &byte, 1) >= 0 ? (mode_t)S_IFLNK : info.st_mode;
}

static void write_text(const char *name, const char *text) {
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static long size_of(const char *name) {
    struct stat info;
    assert_int_equal(stat(name, &info), 0);
    return (long)info.st_size;
}

static void expect_refused(writer write, const char *name, int reason) {
    assert_int_equal(write(name), MTRACE_ERR_IO);
    assert_int_equal(errno, reason);
}

static void test_links(void **state) {
    int i;
    (void)state;
    writers_begin();
    for (i = 0; i < WRITERS; i++) {
        assert_int_equal(symlink("target", test_in_folder("link")), 0);
        assert_int_equal(writers[i](test_in_folder("link")), MTRACE_OK); /* creates it */
        assert_true(size_of(test_in_folder("target")) > 10);
        write_text(test_in_folder("target"), "old");
        assert_int_equal(writers[i](test_in_folder("link")), MTRACE_OK);
        assert_true(S_ISLNK(mode_of(test_in_folder("link"))));
        assert_true(size_of(test_in_folder("target")) > 10);
        assert_int_equal(unlink(test_in_folder("target")), 0);
        assert_int_equal(unlink(test_in_folder("link")), 0);
        assert_int_equal(symlink("link", test_in_folder("link")), 0); /* no end */
        expect_refused(writers[i], test_in_folder("link"), ELOOP);
        assert_int_equal(unlink(test_in_folder("link")), 0);
    }
    writers_end();
}

/* Devices of the test's own, like /dev/null and /dev/full, through links as well. */
static bool devices_begin(void) {
    return mknod(test_in_folder("null"), S_IFCHR | 0666, makedev(1, 3)) == 0 &&
           mknod(test_in_folder("full"), S_IFCHR | 0666, makedev(1, 7)) == 0;
}

static void devices_end(void) {
    unlink(test_in_folder("null"));
    unlink(test_in_folder("full"));
}

static void test_devices(void **state) {
    int i;
    (void)state;
    writers_begin();
    assert_true(devices_begin());
    assert_int_equal(symlink("full", test_in_folder("link")), 0);
    for (i = 0; i < WRITERS; i++) {
        assert_int_equal(writers[i](test_in_folder("null")), MTRACE_OK);
        assert_true(S_ISCHR(mode_of(test_in_folder("null"))));
        expect_refused(writers[i], test_in_folder("full"), ENOSPC);
        assert_true(S_ISCHR(mode_of(test_in_folder("full"))));
        expect_refused(writers[i], test_in_folder("link"), ENOSPC);
        assert_int_equal(test_files_in(test_folder), 3);
    }
    assert_int_equal(unlink(test_in_folder("link")), 0);
    devices_end();
    writers_end();
}

/* A snapshot as it is sent to a callback. */
static struct {
    char data[1 << 16];
    size_t size;
} sent;

static void send(const char *text, size_t length, void *user) {
    (void)user;
    assert_true(sent.size + length <= sizeof sent.data);
    memcpy(sent.data + sent.size, text, length);
    sent.size += length;
}

/* Nobody reads: an error, at once. Somebody does: it gets all. */
static void test_fifos(void **state) {
    static char got[1 << 16];
    ssize_t length;
    int i, reader;
    (void)state;
    writers_begin();
    sent.size = 0;
    assert_int_equal(mtrace_snapshot_dump_to(shown, send, NULL), MTRACE_OK);
    assert_int_equal(mkfifo(test_in_folder("fifo"), 0600), 0);
    for (i = 0; i < WRITERS; i++) {
        expect_refused(writers[i], test_in_folder("fifo"), ENXIO);
        reader = open(test_in_folder("fifo"), O_RDONLY | O_NONBLOCK);
        assert_true(reader >= 0);
        assert_int_equal(writers[i](test_in_folder("fifo")), MTRACE_OK);
        length = read(reader, got, sizeof got);
        assert_true(length > 10);
        assert_int_equal(close(reader), 0);
        if (writers[i] == to_dump) {
            assert_int_equal(length, sent.size);
            assert_memory_equal(got, sent.data, sent.size);
        }
        assert_true(S_ISFIFO(mode_of(test_in_folder("fifo"))));
    }
    assert_int_equal(unlink(test_in_folder("fifo")), 0);
    writers_end();
}

/* Where no device can be made (that takes root, and a container that lets it). */
static void test_fifos_for_want_of_devices(void **state) {
    test_fifos(state);
}

/* The umask rules new files; one that is replaced keeps its mode, and gets another inode. */
static void test_modes(void **state) {
    static const mode_t modes[] = {0600, 0644, 0666, 0660, 0444, 0755};
    mode_t mask = umask(027);
    struct stat before, after;
    int i;
    size_t j;
    (void)state;
    writers_begin();
    for (i = 0; i < WRITERS; i++) {
        assert_int_equal(writers[i](test_in_folder("new")), MTRACE_OK);
        assert_int_equal(mode_of(test_in_folder("new")) & 07777, 0640);
        for (j = 0; j < sizeof modes / sizeof *modes; j++) {
            assert_int_equal(chmod(test_in_folder("new"), modes[j]), 0);
            assert_int_equal(stat(test_in_folder("new"), &before), 0);
            assert_int_equal(writers[i](test_in_folder("new")), MTRACE_OK);
            assert_int_equal(stat(test_in_folder("new"), &after), 0);
            assert_int_equal(after.st_mode & 07777, modes[j]);
            assert_int_equal(after.st_uid, before.st_uid);
            assert_int_not_equal(after.st_ino, before.st_ino);
        }
        assert_int_equal(unlink(test_in_folder("new")), 0);
    }
    umask(mask);
    writers_end();
}

/* The owner stays, too; root alone can make a file of somebody else's to show it with. */
static void test_owner(void **state) {
    uid_t owner = geteuid() == 0 ? 65534 : geteuid();
    gid_t group = geteuid() == 0 ? 65533 : getegid();
    struct stat info;
    int i;
    (void)state;
    writers_begin();
    for (i = 0; i < WRITERS; i++) {
        write_text(test_in_folder("theirs"), "old");
        assert_int_equal(chown(test_in_folder("theirs"), owner, group), 0);
        assert_int_equal(writers[i](test_in_folder("theirs")), MTRACE_OK);
        assert_int_equal(stat(test_in_folder("theirs"), &info), 0);
        assert_int_equal(info.st_uid, owner);
        assert_int_equal(info.st_gid, group);
        assert_int_equal(unlink(test_in_folder("theirs")), 0);
    }
    writers_end();
}

/* A file that cannot be written gives an error, and everything stays as it was. */
static void test_refused(void **state) {
    char name[300];
    uid_t self = geteuid();
    int i;
    (void)state;
    writers_begin();
    assert_int_equal(mkdir(test_in_folder("directory"), 0500), 0);
    write_text(test_in_folder("file"), "old");
    memset(name, 'n', sizeof name);
    memcpy(name, test_in_folder("n"), strlen(test_in_folder("n")));
    name[sizeof name - 1] = '\0';
    for (i = 0; i < WRITERS; i++) {
        expect_refused(writers[i], test_in_folder("directory"), EISDIR);
        expect_refused(writers[i], test_in_folder("none/x"), ENOENT);
        expect_refused(writers[i], test_in_folder("file/x"), ENOTDIR);
        expect_refused(writers[i], name, ENAMETOOLONG);
        expect_refused(writers[i], "", ENOENT);
        if (self == 0) { /* who may everything */
            assert_int_equal(chown(test_in_folder("directory"), 65534, 65534), 0);
            assert_int_equal(chmod(test_folder, 0711), 0);
            assert_int_equal(seteuid(65534), 0);
        }
        expect_refused(writers[i], test_in_folder("directory/x"), EACCES);
        assert_int_equal(seteuid(self), 0);
        assert_int_equal(test_files_in(test_folder), 2);
        assert_int_equal(size_of(test_in_folder("file")), 3);
    }
    assert_int_equal(unlink(test_in_folder("file")), 0);
    assert_int_equal(rmdir(test_in_folder("directory")), 0);
    writers_end();
}

/* The longest name that a file can have. */
static void test_long_name(void **state) {
    char name[256 + 64];
    int i;
    (void)state;
    writers_begin();
    snprintf(name, sizeof name, "%s/", test_folder);
    memset(name + strlen(name), 'n', 255);
    name[strlen(test_folder) + 1 + 255] = '\0';
    for (i = 0; i < WRITERS; i++) {
        assert_int_equal(writers[i](name), MTRACE_OK);
        assert_int_equal(unlink(name), 0);
    }
    writers_end();
}

/* --- the file beside it, seen when the disk is full --- */

static struct {
    char name[256]; /* in the test_folder, beside `name` */
    mode_t mode;
    int seen;
    int flags; /* of its descriptor */
} beside;

static int flags_of(ino_t file_number) {
    struct stat info;
    int i;
    for (i = 0; i < 256; i++) {
        if (fstat(i, &info) == 0 && info.st_ino == file_number) {
            return fcntl(i, F_GETFD);
        }
    }
    return -1;
}

/* ThreadSanitizer: the handler below may allocate, for what it interrupts is a write of this test's
   own. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "report_signal_unsafe=0";
}
#endif
#endif

static void look_beside(int number) {
    DIR *dir = opendir(test_folder);
    struct dirent *entry;
    (void)number;
    while ((entry = readdir(dir)) != NULL) {
        struct stat info;
        if (entry->d_name[0] == '.' && strlen(entry->d_name) < 3) {
            continue;
        }
        if (strcmp(entry->d_name, "old") != 0 && stat(test_in_folder(entry->d_name), &info) == 0) {
            snprintf(beside.name, sizeof beside.name, "%s", entry->d_name);
            beside.mode = info.st_mode & 07777;
            beside.flags = flags_of(info.st_ino);
            beside.seen++;
        }
    }
    closedir(dir);
}

/* The temporary file has a new name each time, and the mode of the old file from the start. Child
   programs do not inherit it, and at the end it is gone. */
static void test_beside(void **state) {
    char before[256] = "";
    struct sigaction look, usual;
    mode_t mask = umask(0);
    int i, round;
    (void)state;
    writers_begin();
    write_text(test_in_folder("old"), "old");
    assert_int_equal(chmod(test_in_folder("old"), 0604), 0);
    memset(&look, 0, sizeof look);
    look.sa_handler = look_beside;
    assert_int_equal(sigaction(SIGXFSZ, &look, &usual), 0);
    for (i = 0; i < WRITERS; i++) {
        for (round = 0; round < 3; round++) {
            beside.seen = 0;
            test_limit_file_size(0);
            expect_refused(writers[i], test_in_folder("old"), EFBIG);
            test_limit_file_size(RLIM_INFINITY);
            assert_int_equal(beside.seen, 1);
            assert_string_not_equal(beside.name, before);
            assert_int_equal(beside.mode, 0604);
            assert_int_equal(beside.flags, FD_CLOEXEC);
            memcpy(before, beside.name, sizeof before);
            assert_int_equal(test_files_in(test_folder), 1);
            assert_int_equal(size_of(test_in_folder("old")), 3);
        }
    }
    assert_int_equal(sigaction(SIGXFSZ, &usual, NULL), 0);
    umask(mask);
    assert_int_equal(unlink(test_in_folder("old")), 0);
    writers_end();
}

/* Reports of single calls are appended, to what there is, through a link. */
static void test_appended(void **state) {
    mtrace_profile_desc desc = MTRACE_ZERO_;
    long once;
    (void)state;
    begin();
    assert_int_equal(symlink("target", test_in_folder("link")), 0);
    desc.after_every_call = true;
    desc.report.path = test_in_folder("link");
    desc.report.style = MTRACE_PROFILE_CLASSIC;
    assert_int_equal(mtrace_profile_start(&desc), MTRACE_OK);
    measured();
    once = size_of(test_in_folder("target"));
    assert_true(once > 10);
    measured();
    assert_true(size_of(test_in_folder("target")) > once);
    assert_true(S_ISLNK(mode_of(test_in_folder("link"))));
    assert_int_equal(unlink(test_in_folder("link")), 0);
    assert_int_equal(unlink(test_in_folder("target")), 0);
    writers_end();
}

/* mtrace_write_file: nothing is lost if a stream takes a few bytes at a time, or is interrupted. */
static struct {
    char text[4096];
    size_t length, calls, room;
} sink;

static ssize_t sink_write(void *cookie, const char *text, size_t length) {
    (void)cookie;
    sink.calls++;
    if (sink.calls % 3 == 2) {
        errno = EINTR;
        return 0;
    }
    length = length > 5 ? 5 : length;
    if (length > sink.room - sink.length) {
        errno = ENOSPC;
        return 0;
    }
    memcpy(sink.text + sink.length, text, length);
    sink.length += length;
    return (ssize_t)length;
}

static FILE *sink_open(size_t room) {
    const cookie_io_functions_t functions = {NULL, sink_write, NULL, NULL};
    FILE *stream = fopencookie(NULL, "w", functions);
    assert_non_null(stream);
    assert_int_equal(setvbuf(stream, NULL, _IONBF, 0), 0);
    memset(&sink, 0, sizeof sink);
    sink.room = room;
    return stream;
}

static void test_write_file(void **state) {
    static const char text[] = "one line that takes many calls of write\n";
    FILE *stream = sink_open(sizeof sink.text);
    (void)state;
    mtrace_write_file(text, 0, stream);
    assert_int_equal(sink.calls, 0);
    mtrace_write_file(text, sizeof text - 1, stream);
    assert_false(ferror(stream));
    assert_true(sink.calls > 8);
    assert_int_equal(sink.length, sizeof text - 1);
    assert_memory_equal(sink.text, text, sizeof text - 1);
    fclose(stream);
    stream = sink_open(10); /* full: it stops, and the stream says so */
    mtrace_write_file(text, sizeof text - 1, stream);
    assert_true(ferror(stream));
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(sink.length, 10);
    fclose(stream);
}

static void test_report_to_a_file(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    FILE *stream = sink_open(sizeof sink.text);
    void *block;
    (void)state;
    desc.write = mtrace_write_file;
    desc.write_user = stream;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    block = MT_MALLOC(100);
    assert_int_equal(mtrace_print_leaks(), MTRACE_OK);
    assert_false(ferror(stream));
    assert_non_null(strstr(sink.text, ": warning: 100 B"));
    assert_int_equal(sink.text[sink.length - 1], '\n');
    MT_FREE(block);
    mtrace_stop();
    fclose(stream);
}

static bool devices_can_be_made(void) {
    bool can = test_make_folder(NULL) == 0 && devices_begin();
    devices_end();
    return can;
}

int main(void) {
    const struct CMUnitTest with = cmocka_unit_test(test_devices);
    const struct CMUnitTest without = cmocka_unit_test(test_fifos_for_want_of_devices);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links),
        devices_can_be_made() ? with : without,
        cmocka_unit_test(test_fifos),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_beside),
        cmocka_unit_test(test_appended),
        cmocka_unit_test(test_write_file),
        cmocka_unit_test(test_report_to_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, test_remove_folder);
}

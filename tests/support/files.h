/* What tests that write files need: a folder, how many are in it, and a limit of their size. */

#ifndef MTRACE_TESTS_SUPPORT_FILES_H
#define MTRACE_TESTS_SUPPORT_FILES_H

#include <dirent.h>
#include <errno.h>
#include <sys/resource.h>

static inline size_t test_files_in(const char *folder) {
    DIR *dir = opendir(folder);
    size_t n = 0;
    assert_non_null(dir);
    errno = 0;
    while (readdir(dir) != NULL) {
        n++;
    }
    assert_int_equal(errno, 0);
    closedir(dir);
    return n - 2;
}

/* Set-up and teardown: a folder of the test's own. */
static char test_folder[] = "/tmp/mtrace-test-XXXXXX";

static inline int test_make_folder(void **state) {
    (void)state;
    memcpy(strchr(test_folder, '\0') - 6, "XXXXXX", 6);
    return mkdtemp(test_folder) == NULL;
}

static inline int test_remove_folder(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", test_folder);
    return system(command);
}

/* Its name in the folder; good until three more are asked for. */
static inline const char *test_in_folder(const char *name) {
    static char names[4][512];
    static int next;
    next = (next + 1) % 4;
    snprintf(names[next], sizeof names[next], "%s/%s", test_folder, name);
    return names[next];
}

static inline void test_limit_file_size(rlim_t size) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

#endif

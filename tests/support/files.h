/* What tests that write files need: how many are in a folder, and a limit of their size. */

#ifndef MTRACE_TESTS_SUPPORT_FILES_H
#define MTRACE_TESTS_SUPPORT_FILES_H

#include <dirent.h>
#include <sys/resource.h>

static inline size_t test_files_in(const char *folder) {
    DIR *dir = opendir(folder);
    size_t n = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n - 2;
}

static inline void test_limit_file_size(rlim_t size) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

#endif

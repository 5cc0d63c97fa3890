/* The POSIX calls of the tests, for Windows: included before each test there. posix.c does them if
   Windows can. A call that it cannot do skips its test. */

#ifndef MTRACE_TESTS_SUPPORT_WINDOWS_POSIX_H
#define MTRACE_TESTS_SUPPORT_WINDOWS_POSIX_H

#include <direct.h>
#include <errno.h>
#include <io.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* --- memory, aligned so that free() takes it --- */

extern int posix_memalign(void **block, size_t alignment, size_t size);
extern void posix_free(void *block);
extern void *posix_realloc(void *block, size_t size);
#ifndef POSIX_C
#define free(block)          posix_free(block)
#define realloc(block, size) posix_realloc(block, size)
#endif

/* --- threads --- */

typedef struct posix_thread *pthread_t;
typedef struct pthread_mutex_t {
    void *lock;
} pthread_mutex_t;
typedef struct pthread_cond_t {
    void *changed;
} pthread_cond_t;
typedef struct pthread_barrier_t {
    pthread_mutex_t lock;
    pthread_cond_t all_came;
    unsigned count, came, round;
} pthread_barrier_t;
#define PTHREAD_MUTEX_INITIALIZER                                                                  \
    { NULL }
#define PTHREAD_COND_INITIALIZER                                                                   \
    { NULL }

extern int pthread_create(pthread_t *out, const void *none, void *(*work)(void *), void *argument);
extern int pthread_join(pthread_t thread, void **result);
extern __attribute__((noreturn)) void pthread_exit(void *result);
extern void pthread_mutex_lock(pthread_mutex_t *lock);
extern void pthread_mutex_unlock(pthread_mutex_t *lock);
extern void pthread_cond_wait(pthread_cond_t *changed, pthread_mutex_t *lock);
extern void pthread_cond_broadcast(pthread_cond_t *changed);
extern int pthread_barrier_init(pthread_barrier_t *barrier, const void *none, unsigned count);
extern void pthread_barrier_wait(pthread_barrier_t *barrier);
extern void pthread_barrier_destroy(pthread_barrier_t *barrier);

/* --- time --- */

extern int poll(void *none, int zero, int milliseconds);
extern int sched_yield(void);
extern unsigned alarm(unsigned seconds); /* none: the script ends who waits for ever */

/* --- files and the environment --- */

#define mkdir(path, mode) _mkdir(path)
extern char *mkdtemp(char *path);
extern int setenv(const char *name, const char *value, int replaces);
extern int unsetenv(const char *name);
extern int posix_system(const char *command); /* rm -r FOLDER */
#ifndef POSIX_C
#define system(command) posix_system(command)
#endif

/* --- what there is not --- */

#define TEST_NEEDS_POSIX() skip()

#define SIGKILL             9
#define SIGXFSZ             SIGFPE
#define WIFEXITED(status)   ((status) == 0)
#define WEXITSTATUS(status) (status)
#define WIFSIGNALED(status) ((status) != 0)
#define WTERMSIG(status)    (status)
#define WUNTRACED           0
#define RLIMIT_FSIZE        0
#define RLIMIT_NOFILE       1
#define RLIM_INFINITY       UINT64_MAX
typedef uint64_t rlim_t;
struct rlimit {
    rlim_t rlim_cur;
    rlim_t rlim_max;
};

#define RUSAGE_SELF 0
#define MCL_CURRENT 1
struct rusage {
    long ru_minflt;
};
static inline int getrusage(int who, struct rusage *usage) {
    (void)who;
    usage->ru_minflt = 0;
    skip();
    return -1;
}
static inline int mlockall(int what) {
    (void)what;
    skip();
    return -1;
}
static inline int munlockall(void) {
    return -1;
}

/* The commands are a POSIX shell's. */
#undef popen
#undef pclose
#define popen(command, mode) posix_popen(command)
#define pclose(stream)       posix_pclose(stream)
static inline int posix_pclose(const FILE *stream) {
    (void)stream;
    return -1;
}
static inline FILE *posix_popen(const char *command) {
    (void)command;
    skip();
    return NULL;
}
static inline int fork(void) {
    skip();
    return -1;
}
static inline pid_t waitpid(pid_t child, int *status, int options) {
    (void)child;
    (void)options;
    *status = 1;
    return -1;
}
static inline int kill(pid_t child, int number) {
    (void)child;
    (void)number;
    return -1;
}
static inline int getrlimit(int what, struct rlimit *limit) {
    (void)what;
    (void)limit;
    skip();
    return -1;
}
static inline int setrlimit(int what, const struct rlimit *limit) {
    (void)what;
    (void)limit;
    return -1;
}

static inline int mkfifo(const char *path, int mode) {
    (void)path;
    (void)mode;
    skip();
    return -1;
}
static inline int symlink(const char *target, const char *path) {
    (void)target;
    (void)path;
    skip();
    return -1;
}

#endif

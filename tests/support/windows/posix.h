/* POSIX' calls that the tests make, for Windows: included before each test there. What Windows cannot do skips the
   test that asks for it. windows.h is here for its macros, too: mtrace.h must live with them. */

#ifndef MTRACE_TESTS_SUPPORT_WINDOWS_POSIX_H
#define MTRACE_TESTS_SUPPORT_WINDOWS_POSIX_H

#define WIN32_LEAN_AND_MEAN /* but its macros: near, far, min, max */
#include <windows.h>

#include <direct.h>
#include <errno.h>
#include <io.h>
#include <process.h>
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

/* --- aligned memory that free() takes: it is a part of a larger block, and kept in a list --- */

typedef struct posix_part {
    struct posix_part *next;
    void *part;
    size_t size;
} posix_part;

/* One in a program. */
__declspec(selectany) struct {
    SRWLOCK lock;
    posix_part *first;
} posix_parts = {SRWLOCK_INIT, NULL};

static inline int posix_memalign(void **block, size_t alignment, size_t size) {
    posix_part *part = NULL;
    if (size < SIZE_MAX / 2 && alignment < SIZE_MAX / 4) {
        part = (posix_part *)malloc(sizeof *part + alignment + size);
    }
    if (part == NULL) {
        return ENOMEM;
    }
    part->part = (void *)(((uintptr_t)(part + 1) + alignment - 1) / alignment * alignment);
    part->size = size;
    AcquireSRWLockExclusive(&posix_parts.lock);
    part->next = posix_parts.first;
    posix_parts.first = part;
    ReleaseSRWLockExclusive(&posix_parts.lock);
    *block = part->part;
    return 0;
}

/* The block that malloc gave and that holds this one: off the list. NULL: it is such a block. */
static inline posix_part *posix_part_take(const void *block) {
    posix_part **at = &posix_parts.first, *found;
    AcquireSRWLockExclusive(&posix_parts.lock);
    while (*at != NULL && (*at)->part != block) {
        at = &(*at)->next;
    }
    found = *at;
    if (found != NULL) {
        *at = found->next;
    }
    ReleaseSRWLockExclusive(&posix_parts.lock);
    return found;
}

static inline void posix_free(void *block) {
    posix_part *part = posix_part_take(block);
    if (part == NULL) {
        free(block);
    } else {
        free(part);
    }
}

static inline void *posix_realloc(void *block, size_t size) {
    posix_part *part = posix_part_take(block);
    void *moved = part == NULL ? realloc(block, size) : malloc(size);
    if (part != NULL && moved != NULL) {
        memcpy(moved, part->part, size < part->size ? size : part->size);
        free(part);
    }
    return moved;
}

#define free(block)          posix_free(block)
#define realloc(block, size) posix_realloc(block, size)

/* --- threads --- */

typedef struct posix_thread {
    HANDLE handle;
    void *(*work)(void *);
    void *argument;
    void *result;
} * pthread_t;
typedef SRWLOCK pthread_mutex_t;
typedef CONDITION_VARIABLE pthread_cond_t;
typedef struct pthread_barrier_t {
    SRWLOCK lock;
    CONDITION_VARIABLE all_came;
    unsigned count, came, round;
} pthread_barrier_t;
#define PTHREAD_MUTEX_INITIALIZER SRWLOCK_INIT
#define PTHREAD_COND_INITIALIZER  CONDITION_VARIABLE_INIT

static inline unsigned __stdcall posix_run(void *thread) {
    pthread_t t = (pthread_t)thread;
    t->result = t->work(t->argument);
    return 0;
}
static inline int pthread_create(pthread_t *out, const void *none, void *(*work)(void *),
                                 void *argument) {
    pthread_t t = (pthread_t)calloc(1, sizeof *t);
    (void)none;
    t->work = work;
    t->argument = argument;
    t->handle = (HANDLE)_beginthreadex(NULL, 0, posix_run, t, 0, NULL);
    *out = t;
    return t->handle == NULL;
}
static inline int pthread_join(pthread_t t, void **result) {
    WaitForSingleObject(t->handle, INFINITE);
    CloseHandle(t->handle);
    if (result != NULL) {
        *result = t->result;
    }
    free(t);
    return 0;
}

static inline void pthread_mutex_lock(pthread_mutex_t *lock) {
    AcquireSRWLockExclusive(lock);
}
static inline void pthread_mutex_unlock(pthread_mutex_t *lock) {
    ReleaseSRWLockExclusive(lock);
}
static inline void pthread_cond_wait(pthread_cond_t *changed, pthread_mutex_t *lock) {
    SleepConditionVariableSRW(changed, lock, INFINITE, 0);
}
static inline void pthread_cond_broadcast(pthread_cond_t *changed) {
    WakeAllConditionVariable(changed);
}

static inline int pthread_barrier_init(pthread_barrier_t *barrier, const void *none,
                                       unsigned count) {
    (void)none;
    memset(barrier, 0, sizeof *barrier);
    barrier->count = count;
    return 0;
}
static inline void pthread_barrier_wait(pthread_barrier_t *barrier) {
    unsigned round;
    AcquireSRWLockExclusive(&barrier->lock);
    round = barrier->round;
    if (++barrier->came == barrier->count) {
        barrier->came = 0;
        barrier->round++;
        WakeAllConditionVariable(&barrier->all_came);
    }
    while (barrier->round == round) {
        SleepConditionVariableSRW(&barrier->all_came, &barrier->lock, INFINITE, 0);
    }
    ReleaseSRWLockExclusive(&barrier->lock);
}
static inline void pthread_barrier_destroy(pthread_barrier_t *barrier) {
    (void)barrier;
}

/* --- time --- */

static inline int poll(void *none, int zero, int milliseconds) {
    (void)none;
    (void)zero;
    Sleep((DWORD)milliseconds);
    return 0;
}
static inline int sched_yield(void) {
    SwitchToThread();
    return 0;
}
static inline unsigned alarm(unsigned seconds) {
    (void)seconds; /* who waits for ever is ended by the script */
    return 0;
}

/* --- files and the environment --- */

#define mkdir(path, mode) _mkdir(path)

static char posix_folder[MAX_PATH];

static inline void posix_remove_folder(void) {
    _rmdir(posix_folder); /* a skipped test's: it is empty */
}
static inline char *mkdtemp(char *path) {
    if (_mktemp(path) == NULL || _mkdir(path) != 0) {
        return NULL;
    }
    snprintf(posix_folder, sizeof posix_folder, "%s", path);
    atexit(posix_remove_folder);
    return path;
}
static inline int setenv(const char *name, const char *value, int replaces) {
    (void)replaces;
    return _putenv_s(name, value);
}
static inline int unsetenv(const char *name) {
    return _putenv_s(name, "");
}

/* The one command of the tests: rm -r FOLDER. */
#define system(command) posix_system(command)
static inline int posix_system(const char *command) {
    char text[MAX_PATH], *slash;
    assert_true(strncmp(command, "rm -r ", 6) == 0 && strlen(command) < sizeof text - 16);
    snprintf(text, sizeof text, "rmdir /s /q %s", command + 6);
    for (slash = strchr(text + 12, '/'); slash != NULL; slash = strchr(slash, '/')) {
        *slash = '\\';
    }
    return (system)(text);
}

/* --- what there is not --- */

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
static inline pid_t fork(void) {
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

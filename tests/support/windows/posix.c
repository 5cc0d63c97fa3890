/* The calls of posix.h that Windows can do. Apart from the tests: they must not see windows.h. */

#define POSIX_C
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <process.h>

#include "posix.h"

/* --- aligned memory that free() takes: it is a part of a larger block, and kept in a list --- */

typedef struct posix_part {
    struct posix_part *next;
    void *part;
    size_t size;
} posix_part;

static struct {
    SRWLOCK lock;
    posix_part *first;
} posix_parts;

static void posix_part_keep(posix_part *part) {
    AcquireSRWLockExclusive(&posix_parts.lock);
    part->next = posix_parts.first;
    posix_parts.first = part;
    ReleaseSRWLockExclusive(&posix_parts.lock);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    posix_part *part = NULL;
    if (size < SIZE_MAX / 2 && alignment < SIZE_MAX / 4) {
        part = (posix_part *)malloc(sizeof *part + alignment + size);
    }
    if (part == NULL) {
        return ENOMEM;
    }
    part->part = (void *)(((uintptr_t)(part + 1) + alignment - 1) / alignment * alignment);
    part->size = size;
    posix_part_keep(part);
    *block = part->part;
    return 0;
}

/* The block that malloc gave and that holds this one: off the list. NULL: it is such a block. */
static posix_part *posix_part_take(const void *block) {
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

void posix_free(void *block) {
    posix_part *part = posix_part_take(block);
    if (part == NULL) {
        free(block);
    } else {
        free(part);
    }
}

void *posix_realloc(void *block, size_t size) {
    posix_part *part = posix_part_take(block);
    void *moved = part == NULL ? realloc(block, size) : malloc(size);
    if (part != NULL && moved == NULL) {
        posix_part_keep(part);
    } else if (part != NULL) {
        memcpy(moved, part->part, size < part->size ? size : part->size);
        free(part);
    }
    return moved;
}

/* --- threads --- */

struct posix_thread {
    HANDLE handle;
    void *(*work)(void *);
    void *argument;
    void *result;
};

static unsigned __stdcall posix_run(void *thread) {
    pthread_t t = (pthread_t)thread;
    t->result = t->work(t->argument);
    return 0;
}
int pthread_create(pthread_t *out, const void *none, void *(*work)(void *), void *argument) {
    pthread_t t = (pthread_t)calloc(1, sizeof *t);
    (void)none;
    t->work = work;
    t->argument = argument;
    t->handle = (HANDLE)_beginthreadex(NULL, 0, posix_run, t, 0, NULL);
    *out = t;
    return t->handle == NULL;
}
int pthread_join(pthread_t t, void **result) {
    WaitForSingleObject(t->handle, INFINITE);
    CloseHandle(t->handle);
    if (result != NULL) {
        *result = t->result;
    }
    free(t);
    return 0;
}

void pthread_exit(void *result) {
    (void)result; /* nobody asks for it */
    _endthreadex(0);
    abort();
}

void pthread_mutex_lock(pthread_mutex_t *lock) {
    AcquireSRWLockExclusive((SRWLOCK *)lock);
}
void pthread_mutex_unlock(pthread_mutex_t *lock) {
    ReleaseSRWLockExclusive((SRWLOCK *)lock);
}
void pthread_cond_wait(pthread_cond_t *changed, pthread_mutex_t *lock) {
    SleepConditionVariableSRW((CONDITION_VARIABLE *)changed, (SRWLOCK *)lock, INFINITE, 0);
}
void pthread_cond_broadcast(pthread_cond_t *changed) {
    WakeAllConditionVariable((CONDITION_VARIABLE *)changed);
}

int pthread_barrier_init(pthread_barrier_t *barrier, const void *none, unsigned count) {
    (void)none;
    memset(barrier, 0, sizeof *barrier);
    barrier->count = count;
    return 0;
}
void pthread_barrier_wait(pthread_barrier_t *barrier) {
    unsigned round;
    pthread_mutex_lock(&barrier->lock);
    round = barrier->round;
    if (++barrier->came == barrier->count) {
        barrier->came = 0;
        barrier->round++;
        pthread_cond_broadcast(&barrier->all_came);
    }
    while (barrier->round == round) {
        pthread_cond_wait(&barrier->all_came, &barrier->lock);
    }
    pthread_mutex_unlock(&barrier->lock);
}
void pthread_barrier_destroy(pthread_barrier_t *barrier) {
    (void)barrier;
}

/* --- time --- */

int poll(void *none, int zero, int milliseconds) {
    (void)none;
    (void)zero;
    Sleep((DWORD)milliseconds);
    return 0;
}
int sched_yield(void) {
    SwitchToThread();
    return 0;
}
unsigned alarm(unsigned seconds) {
    (void)seconds; /* who waits for ever is ended by the script */
    return 0;
}

/* --- files and the environment --- */

char *mkdtemp(char *path) {
    return _mktemp(path) != NULL && _mkdir(path) == 0 ? path : NULL;
}
int setenv(const char *name, const char *value, int replaces) {
    (void)replaces;
    return _putenv_s(name, value);
}
int unsetenv(const char *name) {
    return _putenv_s(name, "");
}

/* The one command of the tests: rm -r FOLDER. */
int posix_system(const char *command) {
    char text[MAX_PATH], *slash;
    if (strncmp(command, "rm -r ", 6) != 0 || strlen(command) > sizeof text - 16) {
        return -1;
    }
    snprintf(text, sizeof text, "rmdir /s /q %s", command + 6);
    for (slash = strchr(text + 12, '/'); slash != NULL; slash = strchr(slash, '/')) {
        *slash = '\\';
    }
    return system(text);
}

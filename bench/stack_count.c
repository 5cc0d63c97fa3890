/* Counts the call stacks of a program that allocate, by brute force, for bench/preloaded: each
   allocation is unwound by _Unwind_Backtrace, and stacks of up to 16 return addresses are kept in a
   set. A library to preload:

       gcc -O2 -shared -fPIC bench/stack_count.c -o count.so
       STACK_COUNT=counted LD_PRELOAD=./count.so program

   writes "stacks allocations" to the file counted. It replaces the functions that allocate, as
   mtracer does: malloc and its like, and C++'s operator new. A free is no stack. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

enum { FRAMES = 16, ROOM = 1 << 20, EARLY = 1 << 16 };

typedef struct stack {
    uintptr_t caller; /* the first address that counts */
    uint32_t count;
    uintptr_t addresses[FRAMES];
} stack;

static stack *stacks; /* a set; count 0: free */
static unsigned long known, allocations;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static __thread int inside __attribute__((tls_model("initial-exec")));
static char early[EARLY]; /* for dlsym */
static size_t early_used;

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void *(*real_aligned)(size_t, size_t);
static void (*real_free)(void *);

static void *early_take(size_t size) {
    void *block = early + early_used;
    early_used += (size + 15) / 16 * 16;
    if (early_used > EARLY) {
        abort();
    }
    return block;
}

static int is_early(const void *block) {
    return (const char *)block >= early && (const char *)block < early + EARLY;
}

static void find_real(void) {
    inside = 1;
    *(void **)&real_calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&real_realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&real_aligned = dlsym(RTLD_NEXT, "aligned_alloc");
    *(void **)&real_free = dlsym(RTLD_NEXT, "free");
    stacks = (stack *)real_calloc(ROOM, sizeof *stacks);
    *(void **)&real_malloc = dlsym(RTLD_NEXT, "malloc");
    inside = 0;
}

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *user) {
    stack *s = (stack *)user;
    uintptr_t address = (uintptr_t)_Unwind_GetIP(context);
    if (s->count == 0 && address != s->caller) {
        return _URC_NO_REASON; /* of this library */
    }
    if (address == 0) {
        return _URC_END_OF_STACK;
    }
    s->addresses[s->count++] = address;
    return s->count == FRAMES ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static void note(uintptr_t caller) {
    stack s;
    uint64_t hash = 0;
    uint32_t i;
    inside = 1;
    memset(&s, 0, sizeof s);
    s.caller = caller;
    _Unwind_Backtrace(step, &s);
    for (i = 0; i < s.count; i++) {
        hash = (hash ^ s.addresses[i]) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 29;
    }
    pthread_mutex_lock(&mutex);
    allocations++;
    for (i = (uint32_t)(hash >> 40) % ROOM; stacks[i].count != 0; i = (i + 1) % ROOM) {
        if (memcmp(&stacks[i], &s, sizeof s) == 0) {
            break;
        }
    }
    if (stacks[i].count == 0 && s.count != 0) {
        stacks[i] = s;
        known += known < ROOM / 2 ? 1 : (abort(), 0);
    }
    pthread_mutex_unlock(&mutex);
    inside = 0;
}

static void *noted(void *block, void *caller) {
    if (block != NULL && inside == 0) {
        note((uintptr_t)caller);
    }
    return block;
}

static int is_ready(void) {
    if (real_malloc == NULL && inside == 0) {
        find_real();
    }
    return real_malloc != NULL;
}

void *malloc(size_t size) {
    return is_ready() ? noted(real_malloc(size), __builtin_return_address(0)) : early_take(size);
}

void *calloc(size_t count, size_t size) {
    return is_ready() ? noted(real_calloc(count, size), __builtin_return_address(0))
                      : early_take(count * size);
}

void *realloc(void *block, size_t size) {
    if (!is_ready() || is_early(block)) {
        abort();
    }
    return noted(real_realloc(block, size), __builtin_return_address(0));
}

void *aligned_alloc(size_t alignment, size_t size) {
    return is_ready() ? noted(real_aligned(alignment, size), __builtin_return_address(0)) : NULL;
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    *out = is_ready() ? noted(real_aligned(alignment, size), __builtin_return_address(0)) : NULL;
    return *out == NULL ? 12 : 0;
}

void free(void *block) {
    if (!is_early(block) && is_ready()) {
        real_free(block);
    }
}

void *_Znwm(size_t size) { /* operator new */
    return is_ready() ? noted(real_malloc(size), __builtin_return_address(0)) : NULL;
}

void *_Znam(size_t size) { /* operator new[] */
    return is_ready() ? noted(real_malloc(size), __builtin_return_address(0)) : NULL;
}

__attribute__((destructor)) static void write_counts(void) {
    const char *path = getenv("STACK_COUNT");
    FILE *file;
    inside = 1;
    file = path == NULL ? NULL : fopen(path, "w");
    if (file != NULL) {
        fprintf(file, "%lu %lu\n", known, allocations);
        fclose(file);
    }
}

/* An independent count of a program's allocations: a library that stands beneath libmtracer.so. The
   counts are in a file that is mapped, so they are there after any end of the program. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct counts {
    uint64_t calls, bytes, held, peak, process;
} counts;
typedef struct entry {
    void *block;
    size_t size;
} entry;

enum { ENTRIES = 1 << 20 };
static entry entries[ENTRIES];
static char lock;
static counts *count;
static pid_t process;
static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void *(*next_memalign)(size_t, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);
static void *(*next_valloc)(size_t);
static void *(*next_pvalloc)(size_t);

static void next_set(void *function, const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof found);
}

static void begin(void) {
    const char *path = getenv("COUNTER");
    int file;
    if (next_malloc != NULL) {
        return;
    }
    next_set(&next_calloc, "calloc");
    next_set(&next_realloc, "realloc");
    next_set(&next_free, "free");
    next_set(&next_posix_memalign, "posix_memalign");
    next_set(&next_memalign, "memalign");
    next_set(&next_aligned_alloc, "aligned_alloc");
    next_set(&next_valloc, "valloc");
    next_set(&next_pvalloc, "pvalloc");
    next_set(&next_malloc, "malloc");
    file = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0 && ftruncate(file, sizeof *count) == 0) {
        void *at = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        count = at == MAP_FAILED ? NULL : (counts *)at;
    }
    close(file);
    process = getpid();
    if (count != NULL && count->process != 0 && count->process != (uint64_t)process) {
        count = NULL; /* the file is the parent's */
    } else if (count != NULL) {
        memset(count, 0, sizeof *count); /* new, or of the program before an exec */
        count->process = (uint64_t)process;
    }
}

/* A child of fork counts nothing. */
static int enter(void) {
    if (count == NULL || getpid() != process) {
        return 0;
    }
    while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE)) {
    }
    return 1;
}

static void leave(void) {
    __atomic_clear(&lock, __ATOMIC_RELEASE);
}

/* The block's entry, or the one where the search ended. */
static size_t find(const void *block) {
    size_t at = ((uintptr_t)block >> 4) * 0x9E3779B97F4A7C15u >> 44;
    while (entries[at].block != NULL && entries[at].block != block) {
        at = (at + 1) % ENTRIES;
    }
    return at;
}

static void *add(void *block, size_t size) {
    if (block != NULL && enter()) {
        size_t at = find(block);
        entries[at].block = block;
        entries[at].size = size;
        count->calls++;
        count->bytes += size;
        count->held += size;
        count->peak = count->held > count->peak ? count->held : count->peak;
        leave();
    }
    return block;
}

/* Takes a block out. Its size, or 0. */
static size_t take(void *block) {
    size_t at, hole, size = 0;
    if (block == NULL || !enter()) {
        return 0;
    }
    at = find(block);
    if (entries[at].block != NULL) {
        size = entries[at].size;
        count->held -= size;
        entries[at].block = NULL;
        for (hole = (at + 1) % ENTRIES; entries[hole].block != NULL; hole = (hole + 1) % ENTRIES) {
            entry moved = entries[hole];
            entries[hole].block = NULL;
            entries[find(moved.block)] = moved;
        }
    }
    leave();
    return size;
}

void *malloc(size_t size) {
    begin();
    return add(next_malloc(size), size);
}

void *calloc(size_t n, size_t size) {
    begin();
    return add(next_calloc(n, size), n * size);
}

void *realloc(void *block, size_t size) {
    size_t old;
    void *fresh;
    begin();
    old = take(block);
    fresh = next_realloc(block, size);
    if (fresh == NULL && block != NULL && size != 0 && enter()) { /* as it was */
        size_t at = find(block);
        entries[at].block = block;
        entries[at].size = old;
        count->held += old;
        leave();
    }
    return add(fresh, size);
}

void free(void *block) {
    begin();
    take(block);
    next_free(block);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    int error;
    begin();
    error = next_posix_memalign(out, alignment, size);
    if (error == 0) {
        add(*out, size);
    }
    return error;
}

void *memalign(size_t alignment, size_t size) {
    begin();
    return add(next_memalign(alignment, size), size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    begin();
    return add(next_aligned_alloc(alignment, size), size);
}

void *valloc(size_t size) {
    begin();
    return add(next_valloc(size), size);
}

void *pvalloc(size_t size) {
    begin();
    return add(next_pvalloc(size), size);
}

/* Traces a program at link time: no source changes, and the blocks of libraries are seen, too.

       cc -DMTRACE ... your files ... tools/wrap.c @tools/wrap.flags

   By the flags the linker sends each call of malloc() and its like to a function of this file, also
   the calls in libraries that are linked statically: with -static those of the C library itself.
   The call site is the address that the call returns to, so nothing of the source stands in the
   image. It is for programs linked statically with glibc or musl, and for firmware with newlib, of
   which it also takes _malloc_r() and its like. It holds the implementation of both headers, and
   takes their switches from the command line or from MTRACE_CONFIG_FILE.

   With an operating system it starts as the environment says (see mtrace_start_from_environment):
   MTRACE=16 MTRACE_REPORT=dump=FILE. Firmware calls mtrace_start itself. */
#include "wrap.h"
#define MTRACE_IMPLEMENTATION
#include "../mtrace_ext.h"

#include <errno.h>
#include <stdlib.h>

#define ADDRESS() ((uintptr_t)__builtin_return_address(0))
#define FRAME()   __builtin_frame_address(0)

#ifndef MTRACE
#define mtrace_malloc_for_(size, address, frame)                                                   \
    ((void)(address), (void)(frame), MTRACE_BASE_MALLOC(size))
#define mtrace_calloc_for_(count, size, address, frame)                                            \
    ((void)(address), (void)(frame), MTRACE_BASE_CALLOC(count, size))
#define mtrace_realloc_for_(block, size, address, frame)                                           \
    ((void)(address), (void)(frame), MTRACE_BASE_REALLOC(block, size))
#define mtrace_free_for_(block, address) ((void)(address), MTRACE_BASE_FREE(block))
#endif

/* --- the allocator beneath ---

   It may call itself: newlib's realloc calls _malloc_r and _free_r, musl's calloc calls malloc.
   By the linker's flags such a call arrives here, too. It belongs to a call that is recorded
   already, so it is not. `depth` counts the calls that this thread is in. With newlib all tasks
   share it, under newlib's own lock. That lock is recursive: a task that holds it and finds a depth
   has caused it. */

#ifdef __NEWLIB__
#include <malloc.h>
#include <reent.h>

void *__real__malloc_r(struct _reent *r, size_t size);
void *__real__calloc_r(struct _reent *r, size_t count, size_t size);
void *__real__realloc_r(struct _reent *r, void *block, size_t size);
void *__real__memalign_r(struct _reent *r, size_t alignment, size_t size);
void __real__free_r(struct _reent *r, void *block);
void __malloc_lock(struct _reent *r);
void __malloc_unlock(struct _reent *r);

#define LOCK()                          __malloc_lock(_REENT)
#define UNLOCK()                        __malloc_unlock(_REENT)
#define REAL_MALLOC(size)               __real__malloc_r(_REENT, size)
#define REAL_CALLOC(count, size)        __real__calloc_r(_REENT, count, size)
#define REAL_REALLOC(block, size)       __real__realloc_r(_REENT, block, size)
#define REAL_MEMALIGN(align, size)      __real__memalign_r(_REENT, align, size)
#define REAL_ALIGNED_ALLOC(align, size) REAL_MEMALIGN(align, size)
#define REAL_FREE(block)                __real__free_r(_REENT, block)
#define PAGE_SIZE_OF_SYSTEM()           ((size_t)4096)
static unsigned depth;
#else
#include <unistd.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_memalign(size_t alignment, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *block);

#define LOCK()                          ((void)0)
#define UNLOCK()                        ((void)0)
#define REAL_MALLOC(size)               __real_malloc(size)
#define REAL_CALLOC(count, size)        __real_calloc(count, size)
#define REAL_REALLOC(block, size)       __real_realloc(block, size)
#define REAL_MEMALIGN(align, size)      __real_memalign(align, size)
#define REAL_ALIGNED_ALLOC(align, size) __real_aligned_alloc(align, size)
#define REAL_FREE(block)                __real_free(block)
#define PAGE_SIZE_OF_SYSTEM()           ((size_t)sysconf(_SC_PAGESIZE))
static __thread unsigned depth;
#endif

static void enter(void) {
    LOCK();
    depth++;
}

static void leave(void) {
    depth--;
    UNLOCK();
}

/* Is the caller the allocator itself? */
static bool is_nested(void) {
    bool nested;
    LOCK();
    nested = depth != 0;
    UNLOCK();
    return nested;
}

void *mtrace_wrapped_malloc(size_t size) {
    void *block;
    enter();
    block = REAL_MALLOC(size);
    leave();
    return block;
}

void *mtrace_wrapped_calloc(size_t count, size_t size) {
    void *block;
    enter();
    block = REAL_CALLOC(count, size);
    leave();
    return block;
}

void *mtrace_wrapped_realloc(void *block, size_t size) {
    enter();
    block = REAL_REALLOC(block, size);
    leave();
    return block;
}

void *mtrace_wrapped_memalign(size_t alignment, size_t size) {
    void *block;
    enter();
    block = REAL_MEMALIGN(alignment, size);
    leave();
    return block;
}

void mtrace_wrapped_free(void *block) {
    enter();
    REAL_FREE(block);
    leave();
}

/* --- recording --- */

static void *record_malloc(size_t size, uintptr_t address, const void *frame) {
    return is_nested() ? REAL_MALLOC(size) : mtrace_malloc_for_(size, address, frame);
}

static void *record_calloc(size_t count, size_t size, uintptr_t address, const void *frame) {
    return is_nested() ? REAL_CALLOC(count, size) : mtrace_calloc_for_(count, size, address, frame);
}

static void *record_realloc(void *block, size_t size, uintptr_t address, const void *frame) {
    return is_nested() ? REAL_REALLOC(block, size)
                       : mtrace_realloc_for_(block, size, address, frame);
}

static void *record_memalign(size_t alignment, size_t size, uintptr_t address, const void *frame) {
    void *block;
    if (is_nested()) {
        return REAL_MEMALIGN(alignment, size);
    }
    block = mtrace_wrapped_memalign(alignment, size);
    return mtrace_is_on_(2) ? mtrace_record_caller_(block, size, UINT32_MAX, NULL, address, frame)
                            : block;
}

static void record_free(void *block, uintptr_t address) {
    if (is_nested()) {
        REAL_FREE(block);
    } else {
        mtrace_free_for_(block, address);
    }
}

/* --- the functions that the linker calls ---

   None ends in a jump: the frame must be there while the stack is read. */

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_reallocarray(void *block, size_t count, size_t size);
void *__wrap_memalign(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
void *__wrap_valloc(size_t size);
void *__wrap_pvalloc(size_t size);
void __wrap_free(void *block);

void *__wrap_malloc(size_t size) {
    void *block = record_malloc(size, ADDRESS(), FRAME());
    MTRACE_HIDE_(block);
    return block;
}

void *__wrap_calloc(size_t count, size_t size) {
    void *block = record_calloc(count, size, ADDRESS(), FRAME());
    MTRACE_HIDE_(block);
    return block;
}

void *__wrap_realloc(void *block, size_t size) {
    block = record_realloc(block, size, ADDRESS(), FRAME());
    MTRACE_HIDE_(block);
    return block;
}

void *__wrap_reallocarray(void *block, size_t count, size_t size) {
    size_t bytes = size != 0 && count > SIZE_MAX / size ? SIZE_MAX : count * size; /* fails */
    block = record_realloc(block, bytes, ADDRESS(), FRAME());
    MTRACE_HIDE_(block);
    return block;
}

void *__wrap_memalign(size_t alignment, size_t size) {
    void *block = record_memalign(alignment, size, ADDRESS(), FRAME());
    MTRACE_HIDE_(block);
    return block;
}

/* musl's memalign calls it. */
void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    void *block = is_nested() ? REAL_ALIGNED_ALLOC(alignment, size)
                              : record_memalign(alignment, size, ADDRESS(), FRAME());
    MTRACE_HIDE_(block);
    return block;
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size) {
    int kept = errno;
    void *block;
    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0) {
        return EINVAL;
    }
    block = record_memalign(alignment, size, ADDRESS(), FRAME());
    errno = kept;
    if (block == NULL) {
        return ENOMEM;
    }
    *out = block;
    return 0;
}

void *__wrap_valloc(size_t size) {
    void *block = record_memalign(PAGE_SIZE_OF_SYSTEM(), size, ADDRESS(), FRAME());
    MTRACE_HIDE_(block);
    return block;
}

void *__wrap_pvalloc(size_t size) {
    size_t page = PAGE_SIZE_OF_SYSTEM();
    void *block;
    if (size > SIZE_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    block = record_memalign(page, (size + page - 1) / page * page, ADDRESS(), FRAME());
    MTRACE_HIDE_(block);
    return block;
}

void __wrap_free(void *block) {
    record_free(block, ADDRESS());
}

#ifdef __NEWLIB__
/* The C library's own calls. `r` is the task's own, as in a plain call. */
void *__wrap__malloc_r(struct _reent *r, size_t size);
void *__wrap__calloc_r(struct _reent *r, size_t count, size_t size);
void *__wrap__realloc_r(struct _reent *r, void *block, size_t size);
void *__wrap__memalign_r(struct _reent *r, size_t alignment, size_t size);
void __wrap__free_r(struct _reent *r, void *block);

void *__wrap__malloc_r(struct _reent *r, size_t size) {
    (void)r;
    return record_malloc(size, ADDRESS(), FRAME());
}

void *__wrap__calloc_r(struct _reent *r, size_t count, size_t size) {
    (void)r;
    return record_calloc(count, size, ADDRESS(), FRAME());
}

void *__wrap__realloc_r(struct _reent *r, void *block, size_t size) {
    (void)r;
    return record_realloc(block, size, ADDRESS(), FRAME());
}

void *__wrap__memalign_r(struct _reent *r, size_t alignment, size_t size) {
    (void)r;
    return record_memalign(alignment, size, ADDRESS(), FRAME());
}

void __wrap__free_r(struct _reent *r, void *block) {
    (void)r;
    record_free(block, ADDRESS());
}
#endif

/* --- the start --- */

#if MTRACE_HAS_ENVIRONMENT_ && !defined(__NEWLIB__) && defined(MTRACE)
/* Priority 101 is the first that a program may have: before constructors without one. */
__attribute__((constructor(101))) static void start(void) {
    const char *frames = getenv("MTRACE");
    long count = frames == NULL ? 0 : strtol(frames, NULL, 10);
    mtrace_desc desc = MTRACE_ZERO_;
    if (count > 0) {
        desc.unwinder = mtrace_get_unwinder(MTRACE_UNWIND_BEST);
        desc.native_frames = count < MTRACE_NATIVE_MAX_ ? (uint32_t)count : MTRACE_NATIVE_MAX_;
    }
    (void)mtrace_start_from_environment(&desc);
}
#endif

/* Preloaded into a program: at each allocation it compares the stack that mtrace's unwinder reads,
   or remembers, with the one of the compiler's _Unwind_Backtrace. At the end it writes to the file
   UNWOUND names: how many were compared, how many differed, had less than three frames, were
   remembered. See tests/unwind.sh. */

#define _GNU_SOURCE
#define MTRACE_API static
#define MTRACE_IMPLEMENTATION
#include "../../mtrace_ext.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#define OWN_THREAD __thread __attribute__((tls_model("initial-exec")))
enum { DEPTH = 24 };

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

static const mtrace_unwinder *ours, *compiler;
static unsigned long compared, differed, shallow, remembered;
static pid_t process;
static OWN_THREAD int inside; /* the comparison may allocate */

/* A word for a stack, as the tracer's: a session above, and a number. */
static uint64_t word_of(const uintptr_t *addresses, uint32_t count) {
    return (uint64_t)1 << 32 | (uint32_t)XXH3_64bits(addresses, count * sizeof *addresses);
}

static void compare(const void *frame) {
    uintptr_t a[DEPTH], b[DEPTH];
    uint32_t n, m;
    uint64_t known, wanted;
    if (inside != 0 || ours == NULL) {
        return;
    }
    inside = 1;
    n = ours->walk(a, DEPTH, frame);
    m = compiler->walk(b, DEPTH, frame);
    __atomic_fetch_add(&compared, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&shallow, n < 3, __ATOMIC_RELAXED);
    wanted = word_of(b, m);
    known = ours->known(frame, 0, DEPTH);
    __atomic_fetch_add(&remembered, known != 0, __ATOMIC_RELAXED);
    if (known == 0) {
        ours->keep(frame, 0, DEPTH, wanted);
    }
    if (n != m || memcmp(a, b, n * sizeof *a) != 0 || (known != 0 && known != wanted)) {
        __atomic_fetch_add(&differed, 1, __ATOMIC_RELAXED);
    }
    inside = 0;
}

__attribute__((constructor)) static void start(void) {
    inside = 1;
    process = getpid();
    compiler = mtrace_get_unwinder(MTRACE_UNWIND_COMPILER);
    ours = mtrace_get_unwinder(MTRACE_UNWIND_TABLES);
    inside = 0;
}

__attribute__((destructor)) static void stop(void) {
    char text[128];
    int file = getpid() == process && getenv("UNWOUND") != NULL
                   ? open(getenv("UNWOUND"), O_WRONLY | O_CREAT | O_TRUNC, 0666)
                   : -1;
    int length =
        snprintf(text, sizeof text, "%lu %lu %lu %lu\n", compared, differed, shallow, remembered);
    if (file >= 0 && write(file, text, (size_t)length) == length) {
        close(file);
    }
}

/* A call behind these is their last act: the frame must be there during compare(). */
__attribute__((noinline)) void *malloc(size_t size) {
    compare(__builtin_frame_address(0));
    return __libc_malloc(size);
}

__attribute__((noinline)) void *calloc(size_t count, size_t size) {
    compare(__builtin_frame_address(0));
    return __libc_calloc(count, size);
}

__attribute__((noinline)) void *realloc(void *block, size_t size) {
    compare(__builtin_frame_address(0));
    return __libc_realloc(block, size);
}

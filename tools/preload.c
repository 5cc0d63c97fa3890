/* libmtracer.so: mtracer loads it into a program before all other libraries (LD_PRELOAD). It stands
   before the allocation functions of the C library and the operators of C++, and records each block
   in a region that mtracer holds (region.h). It prints nothing, and takes no memory of the
   program's.

   It starts at the first allocation, which comes before any constructor. A child of fork traces
   nothing until it becomes another program: it shares the region with its parent. It sees so by a
   byte that is set to 0 in the child. If a signal handler forks inside of one of the functions
   here, the child ends that call in a copy of the region. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);
static void *(*real_memalign)(size_t, size_t);
static void *(*real_aligned_alloc)(size_t, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);
static void *(*real_valloc)(size_t);
static void *(*real_pvalloc)(size_t);
static int (*real_dlclose)(void *);
static int (*real_fork)(void);
static int (*real__Fork)(void);
#define MTRACE_BASE_MALLOC(size)         real_malloc(size)
#define MTRACE_BASE_CALLOC(count, size)  real_calloc(count, size)
#define MTRACE_BASE_REALLOC(block, size) real_realloc(block, size)
#define MTRACE_BASE_FREE(block)          real_free(block)
#define MTRACE_API                       extern __attribute__((visibility("hidden")))
#define MTRACE_NO_STDIO
#define MTRACE_NO_RECORDER
#define MTRACE_NO_PROFILE
#define MTRACE_NO_USAGE
#define MTRACE_NO_COMMAND
#define MTRACE_NO_ENVIRONMENT
#define MTRACE_NO_CODE_NAMES
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "region.h"

#define SHOWN __attribute__((visibility("default")))

/* --- is it on? --- */

/* The first byte is 1 while this process traces, and 0 in a child of fork. */
static char alive[REGION_PAGE] __attribute__((aligned(REGION_PAGE)));
#define NO_ADVICE  (-1) /* to madvise(): Linux refuses it */
#define IS_ALIVE() MTRACE_LIKELY_(__atomic_load_n(alive, __ATOMIC_RELAXED) != 0)

enum { PHASE_NEW, PHASE_BEGINS, PHASE_BEGUN };
static uint32_t phase;
static uint32_t beginner; /* the thread that begins */

static uint32_t thread_id(void) {
    return (uint32_t)syscall(SYS_gettid);
}

/* Is this thread at work in begin()? */
static bool is_beginning(void) {
    return __atomic_load_n(&phase, __ATOMIC_ACQUIRE) == PHASE_BEGINS &&
           __atomic_load_n(&beginner, __ATOMIC_ACQUIRE) == thread_id();
}

/* --- blocks of begin(): dlsym() allocates. The program's allocator never sees them --- */

static char early[65536] __attribute__((aligned(64)));
static size_t early_used;

static bool is_early(const void *block) {
    return MTRACE_UNLIKELY_((uintptr_t)block - (uintptr_t)early < sizeof early);
}

/* The block's size stands before it. It is all zeros. */
static void *early_malloc(size_t size) {
    size_t at = early_used + 64;
    if (size > sizeof early || at + size > sizeof early) {
        errno = ENOMEM;
        return NULL;
    }
    memcpy(early + at - sizeof size, &size, sizeof size);
    early_used = (at + size + 63) / 64 * 64;
    return early + at;
}

static size_t early_size(const void *block) {
    size_t size;
    memcpy(&size, (const char *)block - sizeof size, sizeof size);
    return size;
}

/* --- the functions beneath --- */

/* Sets a pointer to a function. */
static void find_next(void *function, const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof found);
}

static void find_functions(void) {
    find_next(&real_free, "free");
    find_next(&real_calloc, "calloc");
    find_next(&real_realloc, "realloc");
    find_next(&real_memalign, "memalign");
    find_next(&real_aligned_alloc, "aligned_alloc");
    find_next(&real_posix_memalign, "posix_memalign");
    find_next(&real_valloc, "valloc");
    find_next(&real_pvalloc, "pvalloc");
    find_next(&real_dlclose, "dlclose");
    find_next(&real_fork, "fork");
    find_next(&real__Fork, "_Fork");
    real__Fork = real__Fork == NULL ? real_fork : real__Fork; /* before glibc 2.34 */
    find_next(&real_malloc, "malloc"); /* last: it says that the others are known */
}

/* The operators of C++. If the program has one of its own, all others go to the C++ library, which
   calls the program's from them. */
#define OPERATORS(one)                                                                             \
    one(Znwm) one(Znam) one(ZnwmRKSt9nothrow_t) one(ZnamRKSt9nothrow_t) one(ZnwmSt11align_val_t)   \
        one(ZnamSt11align_val_t) one(ZnwmSt11align_val_tRKSt9nothrow_t)                            \
            one(ZnamSt11align_val_tRKSt9nothrow_t) one(ZdlPv) one(ZdaPv) one(ZdlPvm) one(ZdaPvm)   \
                one(ZdlPvRKSt9nothrow_t) one(ZdaPvRKSt9nothrow_t) one(ZdlPvSt11align_val_t)        \
                    one(ZdaPvSt11align_val_t) one(ZdlPvmSt11align_val_t)                           \
                        one(ZdaPvmSt11align_val_t) one(ZdlPvSt11align_val_tRKSt9nothrow_t)         \
                            one(ZdaPvSt11align_val_tRKSt9nothrow_t)
#define OPERATOR_NUMBER(name) OPERATOR_##name,
#define OPERATOR_NAME(name)   "_" #name,
enum { OPERATORS(OPERATOR_NUMBER) OPERATOR_COUNT };
static const char *const operator_names[] = {OPERATORS(OPERATOR_NAME)};
static void *operators[OPERATOR_COUNT]; /* the C++ library's */
static bool has_own_operators;          /* the program */

/* The C++ library may be loaded late, and for one library alone. */
static void *operator_find(int number) {
    void *found = dlsym(RTLD_NEXT, operator_names[number]);
    if (found == NULL) {
        void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
        found = library == NULL ? NULL : dlsym(library, operator_names[number]);
    }
    __atomic_store_n(&operators[number], found, __ATOMIC_RELEASE);
    return found;
}

static void *operator_beneath(int number) {
    void *known = __atomic_load_n(&operators[number], __ATOMIC_ACQUIRE);
    return known != NULL ? known : operator_find(number);
}

/* Is this function the program's own, and not this library's? A program that takes the address of
   a library's function has a symbol for it that is not defined. */
static bool is_replaced(const char *name) {
    void *found = dlsym(RTLD_DEFAULT, name);
    Dl_info info, mine;
    void *symbol = NULL;
    if (found == NULL || dladdr(alive, &mine) == 0 ||
        dladdr1(found, &info, &symbol, RTLD_DL_SYMENT) == 0) {
        return false;
    }
    return info.dli_fbase != mine.dli_fbase &&
           (symbol == NULL || ((const ElfW(Sym) *)symbol)->st_shndx != SHN_UNDEF);
}

static bool replaces_operators(void) {
    int i;
    for (i = 0; i < OPERATOR_COUNT && !is_replaced(operator_names[i]); i++) {
    }
    return i < OPERATOR_COUNT;
}

static bool has_sanitizer(void) {
    return dlsym(RTLD_DEFAULT, "__asan_init") != NULL ||
           dlsym(RTLD_DEFAULT, "__tsan_init") != NULL || dlsym(RTLD_DEFAULT, "__msan_init") != NULL;
}

/* --- the region --- */

typedef struct place {
    int file;
    uint64_t at; /* the region's offset */
    size_t size; /* its bytes */
    region_head *first, *head;
} place;

/* For children of fork. */
static char region_path[64];
static place region_place;

/* A variable of the environment. The C library does not know it yet at the very first allocation,
   so it is read as the system gave it. */
static const char *variable(char *buffer, size_t room, const char *name) {
    size_t length = strlen(name);
    int file = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    char c = '\0';
    while (file >= 0 && read(file, &c, 1) == 1) {
        size_t used = 0;
        for (; c != '\0'; used++) {
            buffer[used < room - 1 ? used : room - 1] = c;
            if (read(file, &c, 1) != 1) {
                c = '\0';
            }
        }
        buffer[used < room - 1 ? used : room - 1] = '\0';
        if (strncmp(buffer, name, length) == 0 && buffer[length] == '=') {
            close(file);
            return buffer + length + 1;
        }
    }
    if (file >= 0) {
        close(file);
    }
    return NULL;
}

static region_head *head_map(int file, uint64_t at) {
    void *head = mmap(NULL, REGION_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, (off_t)at);
    return head == MAP_FAILED ? NULL : (region_head *)head;
}

static void head_unmap(region_head *head) {
    if (head != NULL) {
        munmap(head, REGION_PAGE);
    }
}

/* The child's own region, or one that nobody has. */
static uint64_t child_region(const place *p, uint64_t process, uint64_t ticks) {
    uint64_t i, claims = __atomic_load_n(&p->first->claims, __ATOMIC_ACQUIRE);
    claims = claims < p->first->children ? claims : p->first->children;
    for (i = 1; i <= claims; i++) {
        region_head head;
        if (pread(p->file, &head, sizeof head, (off_t)(i * p->first->stride)) ==
                (ssize_t)sizeof head &&
            head.process == process && head.ticks == ticks) {
            return i;
        }
    }
    i = p->first->children == 0 ? 0 : __atomic_add_fetch(&p->first->claims, 1, __ATOMIC_ACQ_REL);
    return i <= p->first->children ? i : 0;
}

/* Finds the region of this process. False: it has none. */
static bool region_find(place *p) {
    uint64_t process = (uint64_t)getpid(), ticks = region_ticks(process);
    uint64_t number = 0;
    if (p->first->process != process || (p->first->ticks != 0 && p->first->ticks != ticks)) {
        number = child_region(p, process, ticks);
        if (number == 0) {
            return false;
        }
    }
    p->at = number * p->first->stride;
    p->size = (size_t)p->first->stride;
    p->head = number == 0 ? p->first : head_map(p->file, p->at);
    if (p->head == NULL) {
        return false;
    }
    p->head->process = process;
    p->head->ticks = ticks;
    return true;
}

/* Opens the file. False: this program is not one of mtracer's. */
static bool region_open(place *p) {
    char buffer[4096];
    const char *path = variable(buffer, sizeof buffer, REGION_VARIABLE);
    memset(p, 0, sizeof *p);
    if (path != NULL && strlen(path) < sizeof region_path) {
        memcpy(region_path, path, strlen(path) + 1);
    }
    p->file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    p->first = p->file < 0 ? NULL : head_map(p->file, 0);
    if (p->first == NULL || memcmp(p->first->magic, REGION_MAGIC, sizeof p->first->magic) != 0) {
        return false;
    }
    if (p->first->fingerprint != region_fingerprint()) {
        p->first->state = REGION_OTHER_BUILD;
        return false;
    }
    return region_find(p);
}

static void region_close(place *p) {
    if (p->head != p->first) {
        head_unmap(p->head);
    }
    head_unmap(p->first);
    if (p->file >= 0) {
        close(p->file);
    }
}

/* Maps the region at its address, and its variables over those of this library. */
static uint64_t region_map(const place *p) {
    void *at = mmap((void *)REGION_ADDRESS, p->size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE, p->file, (off_t)p->at);
    if (at == MAP_FAILED) {
        return errno == ENOMEM ? REGION_NO_MEMORY : REGION_NO_ADDRESS;
    }
    if ((uintptr_t)at != REGION_ADDRESS) {
        munmap(at, p->size);
        return REGION_NO_ADDRESS;
    }
    at = mmap(&mtrace_g_, sizeof mtrace_g_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, p->file,
              (off_t)(p->at + REGION_PAGE));
    return at == MAP_FAILED ? REGION_NO_MEMORY : REGION_TRACING;
}

static void alive_end(void) {
    __atomic_store_n(alive, 0, __ATOMIC_RELEASE);
}

/* The system sets the page to 0 in a child of fork, whatever makes the child. Emulators may accept
   this advice, like any other, and do nothing (qemu-user 7.2). There, and before Linux 4.14, the C
   library's fork() sets it. */
static bool alive_map(void) {
    if (mmap(alive, sizeof alive, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
             -1, 0) != (void *)alive) {
        return false;
    }
    return (madvise(alive, sizeof alive, MADV_WIPEONFORK) == 0 &&
            madvise(alive, sizeof alive, NO_ADVICE) != 0) ||
           mtrace_expect_forks_(NULL, NULL, alive_end);
}

/* In a child of fork: maps what it shares with its parent once more, as its own. */
static MTRACE_NOINLINE_ void region_leave(void) {
    int error = errno, file = open(region_path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        (void)mmap((void *)REGION_ADDRESS, region_place.size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, (off_t)region_place.at);
        (void)mmap(&mtrace_g_, sizeof mtrace_g_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
                   file, (off_t)(region_place.at + REGION_PAGE));
        close(file);
    }
    errno = error;
}

static uint64_t tracer_start(const place *p) {
    mtrace_desc desc;
    region_desc(&desc, p->first->frames, p->first->capacity);
    if (desc.unwinder == NULL) {
        return REGION_NO_UNWINDER;
    }
    desc.memory = (void *)(REGION_ADDRESS + (uintptr_t)region_front());
    desc.memory_size = (size_t)(p->first->stride - region_front());
    mtrace_g_.expects_forks = true; /* the child does not touch the tracer: no handlers */
    return mtrace_start(&desc) == MTRACE_OK ? REGION_TRACING : REGION_NO_MEMORY;
}

/* After an exec the process has the region of the program before, whose blocks are gone. */
static uint64_t region_begin(place *p) {
    uint64_t state;
    if (has_sanitizer()) {
        return REGION_SANITIZER;
    }
    if (is_replaced("malloc")) {
        return REGION_OTHER_ALLOCATOR;
    }
    if (p->head->state != REGION_NEW) {
        p->head->state = REGION_NEW;
        (void)fallocate(p->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)(p->at + REGION_PAGE), (off_t)(p->first->stride - REGION_PAGE));
    }
    if (!alive_map()) {
        return REGION_NO_MEMORY;
    }
    state = region_map(p);
    return state == REGION_TRACING ? tracer_start(p) : state;
}

static void trace(void) {
    int error = errno;
    place p;
    if (region_open(&p)) {
        uint64_t state = region_begin(&p);
        ssize_t length = readlink("/proc/self/exe", p.head->program, sizeof p.head->program - 1);
        p.head->program[length > 0 ? length : 0] = '\0';
        region_place = p;
        has_own_operators = replaces_operators();
        __atomic_store_n(&p.head->state, state, __ATOMIC_RELEASE);
        __atomic_store_n(alive, (char)(state == REGION_TRACING), __ATOMIC_RELEASE);
    }
    region_close(&p);
    errno = error;
}

/* Begins, once. Another thread waits until the functions beneath are known. */
static MTRACE_NOINLINE_ void begin(void) {
    uint32_t me = thread_id(), expected = PHASE_NEW;
    if (__atomic_compare_exchange_n(&phase, &expected, PHASE_BEGINS, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&beginner, me, __ATOMIC_RELEASE);
        find_functions();
        trace();
        __atomic_store_n(&phase, PHASE_BEGUN, __ATOMIC_RELEASE);
        return;
    }
    while (__atomic_load_n(&real_malloc, __ATOMIC_ACQUIRE) == NULL &&
           __atomic_load_n(&beginner, __ATOMIC_ACQUIRE) != me) {
        sched_yield();
    }
}

static MTRACE_HOT_ bool is_tracing(void) {
    if (IS_ALIVE()) {
        return true;
    }
    if (MTRACE_UNLIKELY_(__atomic_load_n(&phase, __ATOMIC_ACQUIRE) != PHASE_BEGUN)) {
        begin();
    }
    return __atomic_load_n(alive, __ATOMIC_ACQUIRE) != 0;
}

/* Functions of this file that the thread is inside of: more than one in a signal handler. */
static MTRACE_THREAD_LOCAL volatile uint32_t inside;

/* Is it on? Every enter() has a leave(). */
static MTRACE_HOT_ bool enter(void) {
    inside++;
    MTRACE_SIGNAL_FENCE_();
    return is_tracing();
}

static MTRACE_HOT_ void leave(void) {
    MTRACE_SIGNAL_FENCE_();
    inside--;
}

/* A program that never allocates, or has an allocator of its own, is told of, too. */
static __attribute__((constructor)) void begin_at_last(void) {
    (void)is_tracing();
}

/* --- the functions. A frame that is passed on must be there while it is read, so none of them ends
   in a jump --- */

static MTRACE_NOINLINE_ void *untraced_malloc(size_t size) {
    return is_beginning() ? early_malloc(size) : real_malloc(size);
}

static MTRACE_NOINLINE_ void *untraced_calloc(size_t count, size_t size) {
    if (!is_beginning()) {
        return real_calloc(count, size);
    }
    return size != 0 && count > SIZE_MAX / size ? NULL : early_malloc(count * size);
}

static MTRACE_NOINLINE_ void untraced_free(void *block) {
    if (block != NULL && !is_early(block)) {
        real_free(block);
    }
}

static void *record(void *block, size_t size, uintptr_t address, const void *frame) {
    return block == NULL ? NULL
                         : mtrace_record_caller_(block, size, UINT32_MAX, NULL, address, frame);
}

SHOWN void *malloc(size_t size) {
    void *block = enter() ? mtrace_malloc_for_(size, MTRACE_RETURN_(), MTRACE_FRAME_())
                          : untraced_malloc(size);
    leave();
    return block;
}

SHOWN void *calloc(size_t count, size_t size) {
    void *block = enter() ? mtrace_calloc_for_(count, size, MTRACE_RETURN_(), MTRACE_FRAME_())
                          : untraced_calloc(count, size);
    leave();
    return block;
}

static MTRACE_HOT_ void free_from(void *block, uintptr_t address) {
    if (enter() && !is_early(block)) {
        mtrace_free_for_(block, address);
    } else {
        untraced_free(block);
    }
    leave();
}

SHOWN void free(void *block) {
    free_from(block, MTRACE_RETURN_());
}

/* Not in the C library's headers any more. */
SHOWN void cfree(void *block);
SHOWN void cfree(void *block) {
    free_from(block, MTRACE_RETURN_());
}

static MTRACE_NOINLINE_ void *early_realloc(void *block, size_t size) {
    size_t old = early_size(block);
    void *fresh = malloc(size);
    return fresh == NULL ? NULL : memcpy(fresh, block, old < size ? old : size);
}

static MTRACE_HOT_ void *realloc_from(void *block, size_t size, uintptr_t address,
                                      const void *frame) {
    bool traces = enter();
    void *fresh = is_early(block) ? early_realloc(block, size)
                  : traces        ? mtrace_realloc_for_(block, size, address, frame)
                  : block == NULL ? untraced_malloc(size)
                                  : real_realloc(block, size);
    leave();
    return fresh;
}

SHOWN void *realloc(void *block, size_t size) {
    void *fresh = realloc_from(block, size, MTRACE_RETURN_(), MTRACE_FRAME_());
    MTRACE_HIDE_(fresh);
    return fresh;
}

SHOWN void *reallocarray(void *block, size_t count, size_t size) {
    void *fresh;
    if (size != 0 && count > SIZE_MAX / size) {
        errno = ENOMEM;
        return NULL;
    }
    fresh = realloc_from(block, count * size, MTRACE_RETURN_(), MTRACE_FRAME_());
    MTRACE_HIDE_(fresh);
    return fresh;
}

/* The functions with an alignment: the C library's first call is never one of them. */
#define ALIGNED(call)                                                                              \
    bool traces = enter();                                                                         \
    void *block = real_malloc == NULL ? NULL : (call);                                             \
    if (traces) {                                                                                  \
        block = record(block, size, MTRACE_RETURN_(), MTRACE_FRAME_());                            \
    }                                                                                              \
    leave();                                                                                       \
    return block

SHOWN void *memalign(size_t alignment, size_t size);
SHOWN void *memalign(size_t alignment, size_t size) {
    ALIGNED(real_memalign(alignment, size));
}

SHOWN void *aligned_alloc(size_t alignment, size_t size) {
    ALIGNED(real_aligned_alloc(alignment, size));
}

SHOWN void *valloc(size_t size) {
    ALIGNED(real_valloc(size));
}

SHOWN void *pvalloc(size_t size);
SHOWN void *pvalloc(size_t size) {
    ALIGNED(real_pvalloc(size));
}

SHOWN int posix_memalign(void **out, size_t alignment, size_t size) {
    bool traces = enter();
    int error = real_malloc == NULL ? ENOMEM : real_posix_memalign(out, alignment, size);
    if (error == 0 && traces) {
        *out = record(*out, size, MTRACE_RETURN_(), MTRACE_FRAME_());
    }
    leave();
    return error;
}

/* --- C++ --- */

/* Calls the C++ library's operator, which calls the handler for new and throws. It allocates by
   malloc() above, so its block is not recorded twice. */
#define BENEATH(name, parameters, values)                                                          \
    void *next = operator_beneath(OPERATOR_##name);                                                \
    void *(*function)parameters;                                                                   \
    memcpy(&function, &next, sizeof next);                                                         \
    return next == NULL ? NULL : function values

#define NEW(name, parameters, values, call)                                                        \
    static MTRACE_NOINLINE_ void *name##_beneath parameters {                                      \
        BENEATH(name, parameters, values);                                                         \
    }                                                                                              \
    SHOWN void *_##name parameters;                                                                \
    SHOWN void *_##name parameters {                                                               \
        void *block = NULL;                                                                        \
        bool traces = enter();                                                                     \
        if (MTRACE_LIKELY_(!has_own_operators) && real_malloc != NULL) {                           \
            block = call;                                                                          \
        }                                                                                          \
        if (traces) {                                                                              \
            block = record(block, size, MTRACE_RETURN_(), MTRACE_FRAME_());                        \
        }                                                                                          \
        leave();                                                                                   \
        if (MTRACE_UNLIKELY_(block == NULL)) { /* it may throw */                                  \
            block = name##_beneath values;                                                         \
        }                                                                                          \
        MTRACE_HIDE_(block);                                                                       \
        return block;                                                                              \
    }

#define SIZE    (size_t size)
#define NOTHROW (size_t size, const void *nothrow)
#define ALIGN   (size_t size, size_t alignment)
#define BOTH    (size_t size, size_t alignment, const void *nothrow)
NEW(Znwm, SIZE, (size), real_malloc(size))
NEW(Znam, SIZE, (size), real_malloc(size))
NEW(ZnwmRKSt9nothrow_t, NOTHROW, (size, nothrow), real_malloc(size))
NEW(ZnamRKSt9nothrow_t, NOTHROW, (size, nothrow), real_malloc(size))
NEW(ZnwmSt11align_val_t, ALIGN, (size, alignment), real_memalign(alignment, size))
NEW(ZnamSt11align_val_t, ALIGN, (size, alignment), real_memalign(alignment, size))
NEW(ZnwmSt11align_val_tRKSt9nothrow_t, BOTH, (size, alignment, nothrow),
    real_memalign(alignment, size))
NEW(ZnamSt11align_val_tRKSt9nothrow_t, BOTH, (size, alignment, nothrow),
    real_memalign(alignment, size))

#define DELETE(name, parameters, values)                                                           \
    static MTRACE_NOINLINE_ void *name##_beneath parameters {                                      \
        BENEATH(name, parameters, values);                                                         \
    }                                                                                              \
    SHOWN void _##name parameters;                                                                 \
    SHOWN void _##name parameters {                                                                \
        if (MTRACE_UNLIKELY_(has_own_operators)) {                                                 \
            (void)name##_beneath values;                                                           \
        } else {                                                                                   \
            free_from(block, MTRACE_RETURN_());                                                    \
        }                                                                                          \
    }

#define BLOCK   (void *block)
#define SIZED   (void *block, size_t size)
#define UNTHROW (void *block, const void *nothrow)
#define SIZED_2 (void *block, size_t size, size_t alignment)
#define ALIGNS  (void *block, size_t alignment)
#define ALIGNS2 (void *block, size_t alignment, const void *nothrow)
#pragma GCC diagnostic ignored "-Wunused-parameter"
DELETE(ZdlPv, BLOCK, (block))
DELETE(ZdaPv, BLOCK, (block))
DELETE(ZdlPvm, SIZED, (block, size))
DELETE(ZdaPvm, SIZED, (block, size))
DELETE(ZdlPvRKSt9nothrow_t, UNTHROW, (block, nothrow))
DELETE(ZdaPvRKSt9nothrow_t, UNTHROW, (block, nothrow))
DELETE(ZdlPvSt11align_val_t, ALIGNS, (block, alignment))
DELETE(ZdaPvSt11align_val_t, ALIGNS, (block, alignment))
DELETE(ZdlPvmSt11align_val_t, SIZED_2, (block, size, alignment))
DELETE(ZdaPvmSt11align_val_t, SIZED_2, (block, size, alignment))
DELETE(ZdlPvSt11align_val_tRKSt9nothrow_t, ALIGNS2, (block, alignment, nothrow))
DELETE(ZdaPvSt11align_val_tRKSt9nothrow_t, ALIGNS2, (block, alignment, nothrow))

/* --- modules that go: another one may come to the same address --- */

SHOWN int dlclose(void *handle) {
    int result;
    (void)is_tracing();
    result = real_dlclose(handle);
    if (enter()) {
        mtrace_forget_code();
    }
    leave();
    return result;
}

/* --- children of fork --- */

static int fork_by(int (*const *call)(void)) {
    bool leaves = is_tracing() && inside != 0;
    int child = (*call)();
    if (child == 0 && leaves) {
        region_leave();
    }
    return child;
}

SHOWN int fork(void) {
    return fork_by(&real_fork);
}

SHOWN int _Fork(void);
SHOWN int _Fork(void) {
    return fork_by(&real__Fork);
}

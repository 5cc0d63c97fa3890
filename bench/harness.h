/* Shared by bench.c and reach.c: the workloads plain_... and traced_..., and the things they need.
   Include it last, also after a peer's header that replaces malloc. It has no include guard,
   because a program includes it once. */

#define NOINLINE __attribute__((noinline))

enum {
    PAIR,
    CHURN_1K,
    CHURN_100K,
    CHURN_1M,
    ORDERED,
    REALLOC,
    HANDOVER,
    THREADS_1,
    THREADS_2,
    SCOPE_IN_OUT,
    LEAK,
    WORKLOADS
};
enum { PLAIN, OFF, TRACED, DEEP, SAMPLED, MODES };
enum { MILLION = 1000000, RING = 1024 };

static void *blocks[MILLION], *ring[RING];
static int mode;

/* Keeps the compiler from removing a malloc and its free. Each thread has its own, so that threads
   do not share a cache line. */
static __thread void *volatile sink;

static void touch(void *block) {
    sink = block;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void fail(const char *why) {
    fprintf(stderr, "bench: %s\n", why);
    exit(1);
}

static void begin(pthread_t *thread, void *(*function)(void *), void *argument) {
    if (pthread_create(thread, NULL, function, argument) != 0) {
        fail("no thread");
    }
}

static void put(size_t i, void *block) {
    while (__atomic_load_n(&ring[i % RING], __ATOMIC_ACQUIRE) != NULL) {
        sched_yield();
    }
    __atomic_store_n(&ring[i % RING], block, __ATOMIC_RELEASE);
}

static void *take(size_t i) {
    void *block;
    while ((block = __atomic_load_n(&ring[i % RING], __ATOMIC_ACQUIRE)) == NULL) {
        sched_yield();
    }
    __atomic_store_n(&ring[i % RING], NULL, __ATOMIC_RELEASE);
    return block;
}

/* Mode deep has seven of them: with the call site, tracebacks have 8 frames. */
static mtrace_scope enter_scopes(void) {
    mtrace_scope outside = {0};
    if (mode == DEEP) {
        outside = MT_SCOPE_PUSH();
        MT_SCOPE_PUSH();
        MT_SCOPE_PUSH();
        MT_SCOPE_PUSH();
        MT_SCOPE_PUSH();
        MT_SCOPE_PUSH();
        MT_SCOPE_PUSH();
    }
    return outside;
}

#define WORK(name)          plain_##name
#define ALLOC(size)         malloc(size)
#define RESIZE(block, size) realloc(block, size)
#define RELEASE(block)      free(block)
#define SCOPE()             ((void)0)
#include "workload.h"

#define WORK(name)          traced_##name
#define ALLOC(size)         MT_MALLOC(size)
#define RESIZE(block, size) MT_REALLOC(block, size)
#define RELEASE(block)      MT_FREE(block)
#define SCOPE()             MT_SCOPE()
#include "workload.h"

/* Otherwise glibc returns a large free heap and faults it in again, in every second round. */
static void keep_the_heap(void) {
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_MMAP_THRESHOLD, INT_MAX);
}

/* What bench.c and reach.c share: the workloads, plain_... and traced_..., and what these ask for.
   Included after all else, a peer's header that takes malloc's place, too. No include guard: a
   program has it once. */

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

/* Keeps the compiler from removing a malloc and its free. A thread's own: a shared one would share
   its cache line, too. */
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

/* Seven of them in mode deep: with the call site a traceback of 8 frames. */
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

/* glibc would give a large free heap back and fault it in again, in every second round. */
static void keep_the_heap(void) {
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_MMAP_THRESHOLD, INT_MAX);
}

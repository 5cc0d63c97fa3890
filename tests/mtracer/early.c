/* Threads before main: a library in LD_PRELOAD whose constructor runs before libmtracer.so's own.
   Eight threads make their first allocations at once, and keep them. Their stacks are small, so
   that the C library keeps them, too. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 8, BLOCKS = 2000 };
static void *kept[THREADS][BLOCKS];
static pthread_barrier_t barrier;

static void *allocate(void *blocks) {
    void **block = (void **)blocks;
    int i;
    pthread_barrier_wait(&barrier);
    for (i = 0; i < BLOCKS; i++) {
        block[i] = i % 3 == 0 ? calloc(3, 7) : i % 3 == 1 ? malloc(100) : realloc(NULL, 50);
        memset(block[i], 1, 21);
    }
    return NULL;
}

static __attribute__((constructor)) void threads_start(void) {
    pthread_t threads[THREADS];
    pthread_attr_t small;
    int i;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], &small, allocate, kept[i]) != 0) {
            abort();
        }
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* A program that a debugger stops in the middle of mtrace's calls, see tests/console.sh. Its hooks
   are the places: hash_hook runs while a call records, pages_hook inside of a start and of a
   snapshot. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static uint32_t hash_hook(const void *data, size_t size) {
    const unsigned char *bytes = (const unsigned char *)data;
    uint32_t hash = 2166136261u;
    while (size-- > 0) {
        hash = (hash ^ *bytes++) * 16777619u;
    }
    return hash;
}

static void *pages_hook(size_t size) {
    return calloc(1, size);
}

#ifdef WITH_LOCK
#include <pthread.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
#define MTRACE_LOCK()   pthread_mutex_lock(&mutex)
#define MTRACE_UNLOCK() pthread_mutex_unlock(&mutex)
#endif
#define MTRACE_HASH(data, size)        hash_hook(data, size)
#define MTRACE_SYSTEM_ALLOC(size)      pages_hook(size)
#define MTRACE_SYSTEM_FREE(data, size) ((void)(size), free(data))
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

static void *load(size_t size) {
    return MT_MALLOC(size);
}

static void ready(const void *block) {
    (void)block;
}

int main(void) {
    mtrace_desc desc = {0};
    mtrace_snapshot *snapshot;
    void *block, *other;
    desc.max_blocks = 1000;
    desc.max_sites = 100;
    mtrace_start(&desc);
    block = load(12345);
    ready(block);
    other = MT_MALLOC(5); /* the first one here: the call site is hashed */
    mtrace_snapshot_take(&snapshot, false, NULL);
    mtrace_snapshot_free(snapshot);
    MT_FREE(other);
    MT_FREE(block);
    return mtrace_check() == NULL && mtrace_get_traced_memory().current == 0 ? 0 : 1;
}

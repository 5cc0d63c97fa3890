/* For tests/wrap.sh: macros beside traced calls of malloc(), and threads. Each block must count
   once. It writes a snapshot without modules to the file that is named. */
#include "mtrace_ext.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void check(bool good, const char *what) {
    if (!good) {
        printf("not so: %s\n", what);
        exit(1);
    }
}

static void *work(void *seed) {
    unsigned i, state = *(unsigned *)seed;
    void *blocks[16] = {0};
    for (i = 0; i < 20000; i++) {
        void **block = &blocks[(state = state * 1664525 + 1013904223) >> 28];
        switch (state >> 16 & 3) {
        case 0:
            *block = realloc(*block, (state >> 18 & 1023) + 1);
            break;
        case 1:
            free(*block);
            *block = calloc(state >> 18 & 15, 33);
            break;
        case 2:
            free(*block);
            check(posix_memalign(block, 64, state >> 18 & 255) == 0, "memory");
            break;
        default:
            MT_FREE(*block);
            *block = MT_MALLOC(state >> 18 & 63);
        }
    }
    for (i = 0; i < 16; i++) {
        free(blocks[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[4];
    unsigned seeds[4] = {1, 2, 3, 4}, i;
    mtrace_snapshot *snapshot;
    mtrace_info info;
    uint64_t before;
    void *block, *kept;
    check(argc == 2 && mtrace_start(NULL) == MTRACE_OK, "a start");
    block = MT_MALLOC(1000);
    check(mtrace_get_traced_memory().current == 1000, "a block of MT_MALLOC counts once");
    block = MT_REALLOC(block, 2000);
    check(mtrace_get_traced_memory().current == 2000, "a block of MT_REALLOC counts once");
    block = realloc(block, 3000);
    check(mtrace_get_traced_memory().current == 3000, "realloc() knows a block of the macros");
    MT_FREE(block);
    kept = malloc(500);
    check(mtrace_get_traced_memory().current == 500, "a block of malloc() counts once");
    check(mtrace_snapshot_take(&snapshot, false, NULL) == MTRACE_OK &&
              mtrace_snapshot_dump(snapshot, argv[1]) == MTRACE_OK,
          "a snapshot");
    mtrace_snapshot_free(snapshot);
    before = mtrace_get_traced_memory().current;
    for (i = 0; i < 4; i++) {
        check(pthread_create(&threads[i], NULL, work, &seeds[i]) == 0, "a thread");
    }
    for (i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    info = mtrace_get_info();
    check(info.stale_replaced == 0, "each block is recorded once");
    check(info.foreign_frees == 0, "each free has its block");
    check(mtrace_get_traced_memory().peak > before, "threads are traced");
    check(mtrace_check() == NULL, "mtrace_check");
    MT_FREE(kept);
    printf("%llu\n", (unsigned long long)(before - 500));
    return 0;
}

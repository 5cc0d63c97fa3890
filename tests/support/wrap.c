/* An unchanged program for tests/wrap.sh: it knows nothing of the tracer. It allocates in each way
   that the linker's flags catch, and keeps `kept` bytes of each. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef __GLIBC__
#define pvalloc(size) ((size) == SIZE_MAX ? NULL : valloc(4096))
#endif

static void *kept[32];
static size_t count;

static __attribute__((noinline)) void keep(void *block) {
    if (block == NULL) {
        abort();
    }
    kept[count++] = block;
}

static __attribute__((noinline)) void by_malloc(void) {
    keep(malloc(101));
}

static __attribute__((noinline)) void by_calloc(void) {
    keep(calloc(3, 34));
}

static __attribute__((noinline)) void by_realloc(void) {
    keep(realloc(realloc(malloc(10), 3000), 103));
}

static __attribute__((noinline)) void by_reallocarray(void) {
    keep(reallocarray(NULL, 2, 52));
}

static __attribute__((noinline)) void by_memalign(void) {
    keep(memalign(64, 105));
    keep(aligned_alloc(64, 106));
}

static __attribute__((noinline)) void by_posix_memalign(void) {
    void *block = NULL;
    if (posix_memalign(&block, 3, 1) == 0 || posix_memalign(&block, 4096, 107) != 0) {
        abort();
    }
    keep(block);
    keep(valloc(108));
    keep(pvalloc(109));
}

static __attribute__((noinline)) void by_strdup(void) {
    keep(strdup("eleven text"));
}

static __attribute__((noinline)) void by_stdio(void) {
    FILE *f = fopen("/dev/zero", "r");
    if (f == NULL || fgetc(f) != 0) {
        abort();
    }
    keep(f);
}

static volatile size_t half = SIZE_MAX / 2; /* the compiler does not warn of it */

static __attribute__((noinline)) void by_none(void) {
    void *big = malloc(5000);
    free(realloc(big, 7000));
    free(NULL);
    if (realloc(kept[0], half) != NULL || calloc(half, 4) != NULL ||
        reallocarray(NULL, half, 4) != NULL || pvalloc(2 * half + 1) != NULL) {
        abort();
    }
}

int main(void) {
    by_malloc();
    by_calloc();
    by_realloc();
    by_reallocarray();
    by_memalign();
    by_posix_memalign();
    by_strdup();
    by_stdio();
    by_none();
    return 0;
}

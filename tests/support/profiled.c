/* For tests/memory_profiler.sh: the functions of profiled.py, statement for statement. Lines with a
   number are compared. Some calls are marked and some are not. */

#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#define NOINLINE __attribute__((noinline))
#define MIB      ((size_t)1 << 20)

static NOINLINE char *make(size_t size) {
    char *block = MT_CALLOC(size, MIB);
    return block;
}

static NOINLINE char use_for_a_while(size_t size) {
    char *block = MT_CALLOC(size, MIB);
    char first = *block;
    MT_FREE(block);
    return first;
}

static NOINLINE void drop(char **blocks, size_t count) {
    while (count > 0) {
        MT_FREE(blocks[--count]);
    }
}

static NOINLINE char *straight(void) { /* 0 */
    MT_PROFILE();
    char *a = MT_CALLOC(20, MIB); /* 1 */
    char *b = MT_CALLOC(40, MIB); /* 2 */
    MT_FREE(b);                   /* 3 */
    return a;
}

static NOINLINE void copies(void) { /* 0 */
    MT_PROFILE();
    char *data = MT_CALLOC(20, MIB); /* 1 */
    for (int i = 0; i < 5; i++) {
        char *copy = memcpy(MT_MALLOC(20 * MIB), data, 20 * MIB); /* 2 */
        MT_FREE(copy);                                            /* 3 */
    }
    MT_FREE(data); /* 4 */
}

static NOINLINE void accumulate(void) { /* 0 */
    MT_PROFILE();
    char *kept[5];
    for (int i = 0; i < 5; i++) {
        kept[i] = MT_CALLOC(10, MIB); /* 1 */
    }
    for (int i = 4; i >= 0; i--) { /* 2 */
        MT_FREE(kept[i]);          /* 3 */
    }
}

static NOINLINE void helper(void) { /* 0 */
    MT_PROFILE();
    char *a = MT_LINE(make(30)); /* 1 */
    char *b = make(30);          /* 2 */
    MT_FREE(a);                  /* 3 */
    MT_FREE(b);                  /* 4 */
}

static NOINLINE void temporary(void) { /* 0 */
    MT_PROFILE();
    char *a = MT_CALLOC(10, MIB); /* 1 */
    MT_LINE(use_for_a_while(40)); /* 2 */
    use_for_a_while(40);          /* 3 */
    MT_FREE(a);                   /* 4 */
}

static NOINLINE void early(bool stop) { /* 0 */
    MT_PROFILE();
    char *a = MT_CALLOC(20, MIB); /* 1 */
    if (stop) {
        MT_FREE(a); /* 2 */
        return;
    }
    char *b = MT_CALLOC(40, MIB); /* 3 */
    MT_FREE(a);                   /* 4 */
    MT_FREE(b);                   /* 5 */
}

static NOINLINE char *several(void) { /* 0 */
    MT_PROFILE();
    char *a = MT_CALLOC(10, MIB); /* 1 */
    char *b = MT_CALLOC(20, MIB); /* 2 */
    MT_FREE(b);                   /* 3 */
    return a;
}

static NOINLINE void lower(void) { /* 0 */
    MT_PROFILE();
    char *a = MT_CALLOC(20, MIB); /* 1 */
    MT_FREE(a);                   /* 2 */
}

static NOINLINE void rounds(void) { /* 0 */
    MT_PROFILE();
    char *kept[10];
    for (int i = 0; i < 5; i++) {
        kept[i] = make(4); /* 1 */
    }
    for (int i = 5; i < 10; i++) {
        kept[i] = MT_LINE(make(4)); /* 2 */
    }
    MT_LINE(drop(kept, 10)); /* 3 */
}

static NOINLINE char *inner(void) { /* 0 */
    MT_PROFILE();
    char *block = MT_CALLOC(30, MIB); /* 1 */
    return block;
}

static NOINLINE void outer(void) { /* 0 */
    MT_PROFILE();
    char *a = MT_CALLOC(10, MIB); /* 1 */
    char *b = MT_LINE(inner());   /* 2 */
    char *c = inner();            /* 3 */
    MT_FREE(a);                   /* 4 */
    MT_FREE(b);                   /* 5 */
    MT_FREE(c);                   /* 6 */
}

int main(void) {
    mtrace_profile_report_desc report = {.style = MTRACE_PROFILE_CLASSIC};
    char *blocks[3], *big;
    if (mtrace_start(NULL) != MTRACE_OK || mtrace_profile_start(NULL) != MTRACE_OK) {
        return 1;
    }
    blocks[0] = straight();
    MT_FREE(blocks[0]);
    copies();
    accumulate();
    helper();
    temporary();
    early(true);
    blocks[0] = several();
    blocks[1] = several();
    blocks[2] = several();
    drop(blocks, 3);
    big = MT_CALLOC(40, MIB);
    lower();
    MT_FREE(big);
    lower();
    rounds();
    outer();
    return mtrace_profile_report(&report) != MTRACE_OK;
}

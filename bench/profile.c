/* The cost of the line profile: a function of one shape and pattern, in a process of its own.

     profile SHAPE PATTERN MODE COUNT     prints nanoseconds an allocation with its free

   MODE is traced, profiled or report. In mode traced the profile was started, so that the heap is
   the same, and then stopped. In mode report the profile comes first, as CSV. bench/profile builds
   the program, checks the report and compares the times. */

#define _POSIX_C_SOURCE 200112L
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOINLINE  __attribute__((noinline))
#define NO_TAIL() __asm__ volatile("" ::: "memory") /* so that the call before is not a tail call */

enum { MAX = 1000000 };
enum { TRACED, PROFILED, REPORT, MODES };
typedef struct shape {
    const char *name;
    void (*pair)(size_t count);
    void (*hold)(size_t count);
} shape;

static const char *const modes[MODES] = {"traced", "profiled", "report"};
static void *blocks[MAX];
static void *volatile sink; /* so that the compiler does not remove a malloc with its free */

static NOINLINE void *take(unsigned frames) {
    void *block = frames > 1 ? take(frames - 1) : MT_MALLOC(64);
    NO_TAIL();
    return block;
}

static NOINLINE void give(void *block, unsigned frames) {
    if (frames > 1) {
        give(block, frames - 1);
    } else {
        MT_FREE(block);
    }
    NO_TAIL();
}

/* Two call paths with equal frames. Only the return addresses differ. */
static NOINLINE void *take_here(void) {
    void *block = take(2);
    sink = block;
    return block;
}

static NOINLINE void *take_there(void) {
    void *block = take(2);
    sink = NULL; /* different code, or a compiler would merge the two */
    return block;
}

#define SHAPE(pattern) own_##pattern
#define TAKE           MT_MALLOC(64)
#define GIVE(block)    MT_FREE(block)
#include "shape.h"

#define SHAPE(pattern) two_##pattern
#define TAKE           take(2)
#define GIVE(block)    give((block), 2)
#include "shape.h"

#define SHAPE(pattern) eight_##pattern
#define TAKE           take(8)
#define GIVE(block)    give((block), 8)
#include "shape.h"

#define SHAPE(pattern) turns_##pattern
#define TAKE           (i % 2 == 0 ? take_here() : take_there())
#define GIVE(block)    give((block), 2)
#include "shape.h"

#define SHAPE(pattern) marked_##pattern
#define TAKE           MT_LINE(take(2))
#define GIVE(block)    MT_LINE(give((block), 2))
#include "shape.h"

static NOINLINE void *profiled_take(void) {
    MT_PROFILE();
    return MT_MALLOC(64);
}

static NOINLINE void profiled_give(void *block) {
    MT_PROFILE();
    MT_FREE(block);
}

#define SHAPE(pattern) calls_##pattern
#define TAKE           profiled_take()
#define GIVE(block)    profiled_give(block)
#include "shape.h"

static NOINLINE void nested_pair(size_t count) {
    MT_PROFILE();
    own_pair(count);
    NO_TAIL();
}

static NOINLINE void nested_hold(size_t count) {
    MT_PROFILE();
    own_hold(count);
    NO_TAIL();
}

static const shape shapes[] = {
    {"own", own_pair, own_hold},          {"two", two_pair, two_hold},
    {"eight", eight_pair, eight_hold},    {"turns", turns_pair, turns_hold},
    {"marked", marked_pair, marked_hold}, {"nested", nested_pair, nested_hold},
    {"calls", calls_pair, calls_hold}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void need(mtrace_result result) {
    if (result != MTRACE_OK) {
        fprintf(stderr, "profile: %s\n", mtrace_result_text(result));
        exit(1);
    }
}

static double measure(void (*run)(size_t), size_t count, int mode) {
    mtrace_profile_report_desc report = {.style = MTRACE_PROFILE_CSV};
    mtrace_desc desc = {0};
    static void *memory; /* keeps the heap and its pages */
    double begun, ended;
    desc.max_blocks = count <= 1000 ? 2048 : MAX; /* the tests' counts: little to clear */
    desc.memory_size = mtrace_memory_size(&desc);
    desc.memory = memory = memory != NULL ? memory : calloc(1, desc.memory_size);
    need(mtrace_start(&desc));
    need(mtrace_profile_start(NULL));
    if (mode == TRACED) {
        mtrace_profile_stop();
    }
    begun = now();
    run(count);
    ended = now();
    mtrace_profile_stop();
    if (mode == REPORT) {
        need(mtrace_profile_report(&report));
    }
    mtrace_stop();
    return (ended - begun) / (double)count;
}

int main(int argc, char **argv) {
    size_t i = 0, count = argc == 5 ? (size_t)strtoul(argv[4], NULL, 10) : 0;
    int mode = 0;
    void (*run)(size_t);
    while (argc == 5 && i < SHAPES && strcmp(argv[1], shapes[i].name) != 0) {
        i++;
    }
    while (argc == 5 && mode < MODES && strcmp(argv[3], modes[mode]) != 0) {
        mode++;
    }
    if (count == 0 || count > MAX || i == SHAPES || mode == MODES) {
        fputs("usage: profile SHAPE PATTERN MODE COUNT\n", stderr);
        return 2;
    }
    mallopt(M_TRIM_THRESHOLD, INT_MAX); /* else glibc returns the heap and faults it in again */
    mallopt(M_MMAP_THRESHOLD, INT_MAX);
    run = strcmp(argv[2], "pair") == 0 ? shapes[i].pair : shapes[i].hold;
    measure(run, count, mode == REPORT ? TRACED : mode); /* the second has the heap's pages */
    printf("%.3f\n", measure(run, count, mode));
    return 0;
}

/* fixture.c WAY ROUNDS: the cost of a test's fixture. WAY is nothing, baseline, snapshot, block or
   restart. It prints the page faults of the rounds; tests/testing.sh counts the instructions. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static void failed(const char *message) {
    fprintf(stderr, "%s\n", message);
    exit(1);
}
#define MTRACE_FAIL(message) failed(message)
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

static void is_tested(void) {
    MT_FREE(MT_MALLOC(100));
}

static void by_baseline(void) {
    mtrace_set_baseline();
    is_tested();
    MT_ASSERT_NO_GROWTH(NULL, 0);
}

static void by_snapshot(void) {
    mtrace_snapshot *before;
    mtrace_snapshot_take(&before, false, NULL);
    is_tested();
    MT_ASSERT_NO_GROWTH(before, 0);
    mtrace_snapshot_free(before);
}

static void by_block(void) {
    MT_ASSERT_NO_LEAKS {
        is_tested();
    }
}

static void by_restart(void) {
    mtrace_stop();
    mtrace_start(NULL);
    is_tested();
}

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } ways[] = {{"nothing", is_tested},
                {"baseline", by_baseline},
                {"snapshot", by_snapshot},
                {"block", by_block},
                {"restart", by_restart}};
    size_t way, rounds = argc > 2 ? (size_t)atoi(argv[2]) : 0;
    long before;
    mtrace_start(NULL);
    before = faults();
    for (way = 0; way < sizeof ways / sizeof *ways; way++) {
        size_t i;
        for (i = 0; i < rounds && strcmp(argv[1], ways[way].name) == 0; i++) {
            ways[way].run();
        }
    }
    printf("%ld\n", faults() - before);
    mtrace_stop();
    return 0;
}

/* In GNU C: are the numbers that the headers chose in strict C the system's? */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

extern const int chosen[];
extern int wrong_numbers(void);

static const struct {
    const char *name;
    int number;
    int none; /* stands for a number that is not needed */
} numbers[] = {
    {"MAP_ANONYMOUS", MAP_ANONYMOUS, -2},
    {"MAP_POPULATE", MAP_POPULATE, 0},
    {"MAP_NORESERVE", MAP_NORESERVE, 0},
    {"MADV_DONTNEED", MADV_DONTNEED, -2},
    {"O_CLOEXEC", O_CLOEXEC, 0},
    {"O_NOFOLLOW", O_NOFOLLOW, 0},
    {"CLOCK_MONOTONIC", CLOCK_MONOTONIC, -2},
    {"SIG_BLOCK", SIG_BLOCK, -1},
};

int wrong_numbers(void) {
    size_t i;
    int wrong = 0;
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (chosen[i] != numbers[i].number && chosen[i] != numbers[i].none) {
            printf("error: %s is %d here, not %d\n", numbers[i].name, numbers[i].number, chosen[i]);
            wrong++;
        }
    }
    return wrong;
}

/* The line profile of a function that makes a needless copy in each round, and the figures of the
   whole program from the same run. Then one call is measured by itself. */

#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#include <stdio.h>

enum { COUNT = 1 << 17 };

static double *load(void) {
    double *values = MT_NEW_ARRAY(double, COUNT);
    int i;
    for (i = 0; i < COUNT; i++) {
        values[i] = i % 100;
    }
    return values;
}

static double *scaled(const double *values, double factor) {
    double *copy = MT_NEW_ARRAY(double, COUNT);
    int i;
    for (i = 0; i < COUNT; i++) {
        copy[i] = values[i] * factor;
    }
    return copy;
}

static double best(int rounds) {
    MT_PROFILE();
    double *values = load(), most = 0;
    char *notes = MT_STRDUP("who frees this?");
    for (int i = 1; i <= rounds; i++) {
        double *copy = scaled(values, i);
        most = copy[99] > most ? copy[99] : most;
        MT_FREE(copy);
    }
    MT_FREE(values);
    return notes[0] == 'w' ? most : 0;
}

static void *best_of(void *rounds) {
    best(*(const int *)rounds);
    return NULL;
}

int main(void) {
    int rounds = 5;
    mtrace_usage usage;
    mtrace_start(NULL);
    mtrace_profile_start(NULL);
    best(10);
    mtrace_print_peak(3);        /* the whole program: the lines that held its peak */
    mtrace_profile_report(NULL); /* one function: the effect of each line */
    if (mtrace_memory_usage(&usage, best_of, &rounds) == MTRACE_OK) {
        printf("one call: %llu B at its peak, %llu B more than before after it, %llu allocations\n",
               (unsigned long long)usage.peak, (unsigned long long)(usage.after - usage.before),
               (unsigned long long)usage.allocations);
    }
    return 0;
}

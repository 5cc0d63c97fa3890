/* Measures a function: the memory held before and after one call, and the most in between. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct series {
    float *values;
    size_t count;
} series;

typedef struct measurement {
    uint64_t before, after; /* bytes held */
    uint64_t peak;          /* the most that were held in between */
} measurement;

static measurement measure(void (*job)(series *), series *s) {
    measurement m;
    mtrace_reset_peak();
    m.before = mtrace_get_traced_memory().current;
    job(s);
    m.after = mtrace_get_traced_memory().current;
    m.peak = mtrace_get_traced_memory().peak;
    return m;
}

static void load(series *s) {
    s->count = 10000;
    s->values = MT_NEW_ARRAY(float, s->count);
    for (size_t i = 0; i < s->count; i++) {
        s->values[i] = (float)(i * 7919 % 10007);
    }
}

static void smooth(series *s) {
    float *rough = MT_NEW_ARRAY(float, s->count);
    memcpy(rough, s->values, s->count * sizeof *rough);
    for (size_t i = 1; i + 1 < s->count; i++) {
        s->values[i] = (rough[i - 1] + 2 * rough[i] + rough[i + 1]) / 4;
    }
    MT_FREE(rough);
}

/* Keeps one value in ten. */
static void thin(series *s) {
    s->count /= 10;
    for (size_t i = 0; i < s->count; i++) {
        s->values[i] = s->values[10 * i];
    }
    s->values = MT_REALLOCARRAY(s->values, s->count, sizeof *s->values);
}

static void run(const char *name, void (*job)(series *), series *s) {
    measurement m = measure(job, s);
    printf("%-6s %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %+8" PRId64 " %8" PRIu64 "\n", name,
           m.before, m.after, m.peak, (int64_t)(m.after - m.before), m.peak - m.before);
}

int main(void) {
    series s = {NULL, 0};
    mtrace_start(NULL);
    printf("%-6s %8s %8s %8s %8s %8s\n", "CALL", "BEFORE", "AFTER", "PEAK", "KEEPS", "NEEDS");
    run("load", load, &s);
    run("smooth", smooth, &s);
    run("thin", thin, &s);
    MT_FREE(s.values);
    mtrace_stop();
    return 0;
}

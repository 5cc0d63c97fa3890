/* Memory by file. A catalogue has records, allocated in this file, and text, allocated in
   string_builder.h. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"
#include "string_builder.h"

#include <stdio.h>

typedef struct star {
    uint32_t number;
    float right_ascension, declination, magnitude;
} star;

enum { STARS = 1000 };

static star *observe(void) {
    star *stars = MT_NEW_ARRAY(star, STARS);
    for (uint32_t i = 0; i < STARS; i++) {
        stars[i] = (star){i, (float)(i * 7 % 360), (float)(i * 13 % 180) - 90, (float)(i % 7)};
    }
    return stars;
}

static void print_by_file(void) {
    mtrace_snapshot *snapshot;
    mtrace_rows *files;
    mtrace_snapshot_take(&snapshot, false, NULL);
    if (mtrace_snapshot_statistics(&files, snapshot, MTRACE_BY_FILE, NULL) == MTRACE_OK) {
        mtrace_report(files, NULL);
    }
    mtrace_rows_free(files);
    mtrace_snapshot_free(snapshot);
}

int main(void) {
    mtrace_start(NULL);
    star *stars = observe();
    uint32_t *order = MT_NEW_ARRAY(uint32_t, STARS);
    string_builder catalogue = {NULL, 0, 0};
    for (uint32_t i = 0; i < STARS; i++) {
        char line[64];
        order[i] = i;
        snprintf(line, sizeof line, "%u %.0f %.0f %.1f\n", (unsigned)stars[i].number,
                 (double)stars[i].right_ascension, (double)stars[i].declination,
                 (double)stars[i].magnitude);
        builder_add(&catalogue, line);
    }
    print_by_file();
    builder_free(&catalogue);
    MT_FREE(order);
    MT_FREE(stars);
    mtrace_stop();
    return 0;
}

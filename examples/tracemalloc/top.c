/* The lines that hold the most, with their source. This is the loop that mtrace_print_top(limit)
   does for you. */

#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#include <inttypes.h>
#include <stdio.h>

enum { SIDE = 256, SMALL = 64 };

/* A picture, a blurred one, its histogram, a thumbnail. */
typedef struct picture {
    uint8_t *pixels, *blurred, *thumbnail;
    uint32_t *histogram;
} picture;

static void blur(uint8_t *to, const uint8_t *from) {
    for (size_t i = 1; i + 1 < SIDE * SIDE; i++) {
        to[i] = (uint8_t)((from[i - 1] + from[i] + from[i + 1]) / 3);
    }
}

static void make(picture *p) {
    p->pixels = MT_MALLOC(SIDE * SIDE);
    p->blurred = MT_CALLOC(SIDE, SIDE);
    p->thumbnail = MT_MALLOC(SMALL * SMALL);
    p->histogram = MT_NEW_ARRAY(uint32_t, 256);
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        p->pixels[i] = (uint8_t)(i / SIDE ^ i % SIDE);
        p->histogram[p->pixels[i]]++;
    }
    blur(p->blurred, p->pixels);
    for (size_t i = 0; i < SMALL * SMALL; i++) {
        p->thumbnail[i] = p->blurred[i / SMALL * 4 * SIDE + i % SMALL * 4];
    }
}

static void print_size(const char *where, uint64_t bytes) {
    printf("%s: %.1f KiB\n", where, (double)bytes / 1024);
}

static void print_row(size_t number, const mtrace_row *row) {
    char where[128], source[128];
    snprintf(where, sizeof where, "#%zu: %s:%" PRIu32, number, row->file, row->line);
    print_size(where, row->size);
    if (mtrace_source_from_file(source, sizeof source, row->file, row->line, NULL)) {
        printf("    %s\n", source);
    }
}

static void print_top(const mtrace_snapshot *snapshot, size_t limit) {
    mtrace_rows *top;
    uint64_t other = 0;
    if (mtrace_snapshot_statistics(&top, snapshot, MTRACE_BY_LINE, NULL) == MTRACE_OK) {
        for (size_t i = 0; i < top->count && i < limit; i++) {
            print_row(i + 1, &top->rows[i]);
        }
        for (size_t i = limit; i < top->count; i++) {
            other += top->rows[i].size;
        }
        print_size("other", other);
        print_size("total", top->total.size);
        mtrace_rows_free(top);
    }
}

int main(void) {
    picture p;
    mtrace_snapshot *snapshot;
    mtrace_start(NULL);
    make(&p);
    if (mtrace_snapshot_take(&snapshot, false, NULL) == MTRACE_OK) {
        print_top(snapshot, 3);
    }
    mtrace_snapshot_free(snapshot);
    MT_FREE(p.histogram);
    MT_FREE(p.thumbnail);
    MT_FREE(p.blurred);
    MT_FREE(p.pixels);
    mtrace_stop();
    return 0;
}

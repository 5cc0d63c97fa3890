/* Results in files: a report through a write callback, and a snapshot. The snapshot is loaded
   again, also by another run if you like, and compared with the memory held then.

       save MAP.mtrace MAP.pickle MAP.txt */

#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#include <stdio.h>

typedef struct tile {
    uint8_t kind, height, light, flags;
} tile;

static void say(const char *what, mtrace_result result) {
    printf("%s: %s\n", what, mtrace_result_text(result));
}

static mtrace_result save_report(const mtrace_rows *statistics, const char *path) {
    FILE *file = fopen(path, "w");
    const mtrace_report_desc desc = {.write = mtrace_write_file, .write_user = file};
    if (file == NULL) {
        return MTRACE_ERR_IO;
    }
    mtrace_report(statistics, &desc);
    bool good = ferror(file) == 0;
    return fclose(file) == 0 && good ? MTRACE_OK : MTRACE_ERR_IO;
}

static void save_snapshot(const char *path, const char *pickle_path) {
    mtrace_snapshot *snapshot;
    if (mtrace_snapshot_take(&snapshot, true, NULL) == MTRACE_OK) {
        say("snapshot", mtrace_snapshot_dump(snapshot, path));
        /* this one is for Python: tracemalloc.Snapshot.load(path) */
        say("pickle", mtrace_snapshot_dump_pickle(snapshot, pickle_path));
    }
    mtrace_snapshot_free(snapshot);
}

/* The changes since that snapshot was saved. */
static void save_changes(const char *path, const char *report_path) {
    mtrace_snapshot *now, *old = NULL;
    mtrace_rows *diff = NULL;
    if (mtrace_snapshot_take(&now, false, NULL) == MTRACE_OK &&
        mtrace_snapshot_load(&old, path, NULL) == MTRACE_OK &&
        mtrace_snapshot_compare_to(&diff, now, old, MTRACE_BY_LINE, NULL) == MTRACE_OK) {
        say("report", save_report(diff, report_path));
    }
    mtrace_rows_free(diff);
    mtrace_snapshot_free(old);
    mtrace_snapshot_free(now);
}

static void print_file(const char *path) {
    FILE *file = fopen(path, "r");
    for (int c; file != NULL && (c = fgetc(file)) != EOF;) {
        putchar(c);
    }
    if (file != NULL) {
        fclose(file);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fputs("usage: save MAP.mtrace MAP.pickle MAP.txt\n", stderr);
        return 2;
    }
    mtrace_start(NULL);
    tile *map = MT_NEW_ARRAY(tile, 64 * 64);
    save_snapshot(argv[1], argv[2]);
    map = MT_REALLOCARRAY(map, 128 * 128, sizeof *map);
    uint8_t *explored = MT_CALLOC(128, 128);
    save_changes(argv[1], argv[3]);
    print_file(argv[3]);
    MT_FREE(explored);
    MT_FREE(map);
    mtrace_stop();
    return 0;
}

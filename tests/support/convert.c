/* convert FILE PICKLE [without-blocks]: a snapshot file as a pickle for Python's tracemalloc. */

#define MTRACE_IMPLEMENTATION
#include "../../mtrace_ext.h"

#include <stdio.h>

static mtrace_result drop_blocks(mtrace_snapshot **snapshot) {
    mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(*snapshot);
    mtrace_snapshot *without;
    mtrace_result result;
    parts.has_blocks = false;
    parts.block_count = 0;
    result = mtrace_snapshot_make(&without, &parts, NULL);
    mtrace_snapshot_free(*snapshot);
    *snapshot = without;
    return result;
}

int main(int argc, char **argv) {
    mtrace_snapshot *snapshot;
    mtrace_result result =
        argc < 3 ? MTRACE_ERR_ARGUMENT : mtrace_snapshot_load(&snapshot, argv[1], NULL);
    if (result == MTRACE_OK && argc > 3) {
        result = drop_blocks(&snapshot);
    }
    if (result == MTRACE_OK) {
        result = mtrace_snapshot_dump_pickle(snapshot, argv[2]);
        mtrace_snapshot_free(snapshot);
    }
    if (result != MTRACE_OK) {
        fprintf(stderr, "convert: %s\n", mtrace_result_text(result));
    }
    return result == MTRACE_OK ? 0 : 1;
}

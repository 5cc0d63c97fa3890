/* read FILE: prints a snapshot file of the firmware, on the host. Exit status 1: it cannot be
   read. */

#define MTRACE_IMPLEMENTATION
#include "../../mtrace_ext.h"

#include "snapshot_text.h"

#include <stdio.h>

int main(int argc, char **argv) {
    mtrace_snapshot *snapshot;
    mtrace_result result;
    if (argc != 2) {
        fprintf(stderr, "usage: read FILE\n");
        return 2;
    }
    result = mtrace_snapshot_load(&snapshot, argv[1], NULL);
    if (result == MTRACE_OK) {
        result = print_snapshot(snapshot, NULL);
        mtrace_snapshot_free(snapshot);
    }
    if (result != MTRACE_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], mtrace_result_text(result));
    }
    return result == MTRACE_OK ? 0 : 1;
}

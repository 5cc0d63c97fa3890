/* convert FILE PICKLE [without-blocks | report]: converts a snapshot file to a pickle for Python's
   tracemalloc. With report, also prints its rows by line in Python's form.
   convert --code FILE: writes a snapshot of code addresses. No program records these yet. */

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

static mtrace_result report(const mtrace_snapshot *snapshot) {
    mtrace_report_desc desc = MTRACE_ZERO_;
    mtrace_rows *rows;
    mtrace_result result = mtrace_snapshot_statistics(&rows, snapshot, MTRACE_BY_LINE, NULL);
    desc.style = MTRACE_STYLE_PYTHON;
    if (result == MTRACE_OK) {
        result = mtrace_report(rows, &desc);
        mtrace_rows_free(rows);
    }
    return result;
}

/* Addresses of 64 bits, on 32-bit machines too; the first two modules are one. */
static mtrace_result write_code(const char *path) {
    static const mtrace_module modules[] = {{"/lib/m.so", 0x7f0000000000, 0x5000, 3, {1, 2, 3}},
                                            {"/new/m.so", 0x7fff00000000, 0x5000, 3, {1, 2, 3}},
                                            {"/bin/\xe4", 0, 0x1000, 0, {0}}};
    static const mtrace_frame frames[] = {{"main.c", "main", 7, NULL, 0},
                                          {NULL, NULL, 0, modules + 2, 0},
                                          {NULL, "f", 0, modules, 0x1234},
                                          {NULL, NULL, 0, NULL, 0xffffffff80001234},
                                          {NULL, "f", 0, modules + 1, 0x1234}};
    static const mtrace_live_block blocks[] = {
        {16, 100, 1, 0}, {0x7f0000000010, 100, 2, 0}, {48, 30, 3, 1}, {64, 7, 4, 2}};
    mtrace_row rows[3] = MTRACE_ZERO_;
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_snapshot *snapshot;
    mtrace_result result;
    rows[0].traceback.count = 3;
    rows[0].size = 200;
    rows[0].count = 2;
    rows[1].traceback.count = 1;
    rows[1].size = 30;
    rows[1].count = 1;
    rows[2].traceback.count = 1;
    rows[2].size = 7;
    rows[2].count = 1;
    rows[0].traceback.frames = frames;
    rows[1].traceback.frames = frames + 3;
    rows[2].traceback.frames = frames + 4;
    parts.rows = rows;
    parts.row_count = 3;
    parts.blocks = blocks;
    parts.block_count = 4;
    parts.has_blocks = true;
    parts.modules = modules;
    parts.module_count = 3;
    result = mtrace_snapshot_make(&snapshot, &parts, NULL);
    if (result == MTRACE_OK) {
        result = mtrace_snapshot_dump(snapshot, path);
        mtrace_snapshot_free(snapshot);
    }
    return result;
}

static mtrace_result convert(const char *from, const char *to, const char *how) {
    mtrace_snapshot *snapshot;
    mtrace_result result = mtrace_snapshot_load(&snapshot, from, NULL);
    if (result == MTRACE_OK && strcmp(how, "without-blocks") == 0) {
        result = drop_blocks(&snapshot);
    }
    if (result == MTRACE_OK && strcmp(how, "report") == 0) {
        result = report(snapshot);
    }
    if (result == MTRACE_OK) {
        result = mtrace_snapshot_dump_pickle(snapshot, to);
        mtrace_snapshot_free(snapshot);
    }
    return result;
}

int main(int argc, char **argv) {
    mtrace_result result = argc < 3 ? MTRACE_ERR_ARGUMENT
                           : strcmp(argv[1], "--code") == 0
                               ? write_code(argv[2])
                               : convert(argv[1], argv[2], argc > 3 ? argv[3] : "");
    if (result != MTRACE_OK) {
        fprintf(stderr, "convert: %s\n", mtrace_result_text(result));
    }
    return result == MTRACE_OK ? 0 : 1;
}

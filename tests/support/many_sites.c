/* many_sites FILE: firmware's code on the host writes a snapshot of more names and lines than the
   caches of a dump have room for on bare metal, and prints it as examples/firmware does. */

#define MTRACE_BARE_METAL
#define MTRACE_SINGLE_THREAD
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#include "examples/firmware/snapshot_text.h"

enum { SITES = 300 };

static unsigned char tracer_memory[1 << 20], snapshot_memory[1 << 18], rows_memory[1 << 18];
static char files[SITES][16], functions[SITES][16];

int main(int argc, char **argv) {
    mtrace_buffer snapshot_room = {snapshot_memory, sizeof snapshot_memory};
    mtrace_buffer rows_room = {rows_memory, sizeof rows_memory};
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *snapshot;
    FILE *out;
    uint32_t i;
    if (argc != 2) {
        return 2;
    }
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    desc.max_sites = 2 * SITES;
    desc.borrow_names = true;
    desc.write = mtrace_write_file;
    desc.write_user = stdout;
    if (mtrace_start(&desc) != MTRACE_OK) {
        return 3;
    }
    for (i = 0; i < SITES; i++) {
        mtrace_site site = MTRACE_ZERO_;
        snprintf(files[i], sizeof files[i], "file%u.c", (unsigned)i % 90);
        snprintf(functions[i], sizeof functions[i], "function%u", (unsigned)i % 70);
        site.file = files[i];
        site.function = functions[i];
        site.line = i % 40 + 1;
        mtrace_track_at(i % 3 + 1, 1000 + i, 10 * i + 1, &site);
    }
    out = fopen(argv[1], "wb");
    if (out == NULL || mtrace_snapshot_take(&snapshot, true, &snapshot_room) != MTRACE_OK ||
        print_snapshot(snapshot, &rows_room) != MTRACE_OK ||
        mtrace_snapshot_dump_to(snapshot, mtrace_write_file, out) != MTRACE_OK ||
        fclose(out) != 0) {
        return 4;
    }
    return 0;
}

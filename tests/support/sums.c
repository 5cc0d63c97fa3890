/* Sums that would pass 2^63 and 2^64, for tests/tables.sh: the largest possible trace, tracked more
   than 2^25 times. Needs 512 MiB for the table. Exits with 1 and a line if a figure is wrong. */

#define MTRACE
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <stdio.h>

#define LARGEST (((uint64_t)1 << 39) - 1)
#define BLOCKS  ((uint64_t)1 << 24)

static uint64_t cache, other_cache;
static const mtrace_site site = {"sums.c", "f", NULL, 1, &cache};
static const mtrace_site other = {"sums.c", "g", NULL, 2, &other_cache};

static mtrace_row row(uint32_t line) {
    mtrace_snapshot *snapshot;
    mtrace_row found = {0};
    size_t i;
    if (mtrace_snapshot_take(&snapshot, false, NULL) == MTRACE_OK) {
        mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(snapshot);
        for (i = 0; i < parts.row_count; i++) {
            found = parts.rows[i].line == line ? parts.rows[i] : found;
        }
        mtrace_snapshot_free(snapshot);
    }
    return found;
}

static void expect(int good, const char *what) {
    if (!good) {
        mtrace_info info = mtrace_get_info();
        mtrace_traced_memory m = mtrace_get_traced_memory();
        printf("%s: held %.4g, peak %.4g, total %.4g, dropped %.4g with %.4g bytes\n", what,
               (double)m.current, (double)m.peak, (double)row(1).total_size,
               (double)info.dropped_count, (double)info.dropped_bytes);
        exit(1);
    }
}

int main(void) {
    mtrace_desc desc = {0};
    uint64_t key, kept;
    desc.max_blocks = BLOCKS;
    if (mtrace_start(&desc) != MTRACE_OK) {
        puts("not started");
        return 1;
    }
    mtrace_track_at(1, 1, 5, &other);
    for (key = 0; mtrace_track_at(2, (uintptr_t)key, LARGEST, &site) == MTRACE_OK; key++) {
    }
    kept = key;
    expect(kept >= BLOCKS / 128 * 127 && kept < BLOCKS, "what is held stops below 2^63");
    expect(mtrace_get_traced_memory().current == kept * LARGEST + 5, "what is held is exact");
    expect(mtrace_get_traced_memory().peak == kept * LARGEST + 5, "so is the peak");
    expect(row(1).total_size == kept * LARGEST, "the total is exact");
    expect(mtrace_get_info().dropped_bytes == LARGEST, "one more is dropped");
    mtrace_track_at(2, (uintptr_t)kept, (uint64_t)1 << 63, &site);
    mtrace_track_at(2, (uintptr_t)kept, (uint64_t)1 << 63, &site);
    expect(mtrace_get_info().dropped_bytes == UINT64_MAX, "the sum of what is dropped stops");
    for (key = 0; key < BLOCKS + 1000000; key++) { /* a trace that is replaced */
        mtrace_track_at(2, 0, LARGEST, &site);
    }
    expect(row(1).total_size == UINT64_MAX, "the total stops");
    expect(row(1).size == kept * LARGEST && row(1).count == kept, "what is held is exact");
    expect(row(2).total_size == 5 && row(2).size == 5, "other rows are exact");
    mtrace_untrack_at(2, 0, &site);
    expect(mtrace_get_traced_memory().current == (kept - 1) * LARGEST + 5, "and comes down again");
    expect(mtrace_get_traced_memory().peak == kept * LARGEST + 5, "the peak stays");
    mtrace_clear();
    mtrace_track_at(1, 1, 100, &site);
    expect(row(1).total_size == 100 && mtrace_get_info().dropped_bytes == 0, "clear begins anew");
    expect(mtrace_check() == NULL, "all is sound");
    return 0;
}

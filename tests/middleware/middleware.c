/* Runs a library under mtrace, with a counting allocator beneath. All sums are the allocator's. Of
   the first five rows none is a hook or another function on the skip list. A user's function has
   all that is allocated under it. In the end nothing is left. */

#define _DEFAULT_SOURCE
#define MTRACE_IMPLEMENTATION
#include "middleware.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the allocator: a block has its size in front --- */

enum { HEADER = 16 };
static struct {
    uint64_t live, blocks;         /* held */
    uint64_t peak, blocks_at_peak; /* the first time */
    uint64_t total, count;         /* in all, with reallocs */
} oracle;

static void oracle_add(size_t size) {
    oracle.live += size;
    oracle.total += size;
    oracle.blocks++;
    oracle.count++;
    if (oracle.live > oracle.peak) {
        oracle.peak = oracle.live;
        oracle.blocks_at_peak = oracle.blocks;
    }
}

static size_t *header_of(void *block) {
    return (size_t *)(void *)((char *)block - HEADER);
}

void *oracle_malloc(size_t size) {
    size_t *header = (size_t *)malloc(size + HEADER);
    if (header == NULL) {
        return NULL;
    }
    *header = size;
    oracle_add(size);
    return (char *)header + HEADER;
}

void *oracle_realloc(void *block, size_t size) {
    size_t *header, old = block == NULL ? 0 : *header_of(block);
    if (block == NULL) {
        return oracle_malloc(size);
    }
    header = (size_t *)realloc(header_of(block), size + HEADER);
    if (header == NULL) {
        return NULL;
    }
    *header = size;
    oracle.live -= old;
    oracle.blocks--;
    oracle_add(size);
    return (char *)header + HEADER;
}

void oracle_free(void *block) {
    if (block != NULL) {
        oracle.live -= *header_of(block);
        oracle.blocks--;
        free(header_of(block));
    }
}

/* --- the checks --- */

static int failures;
static void expect(bool good, const char *what) {
    if (!good) {
        printf("failed: %s\n", what);
        failures++;
    }
}

/* Are the functions on the skip list? An independent word on the defaults. */
static bool is_wrapper(const char *function) {
    static const char *const others[] = {"mtrace_*",
                                         "malloc",
                                         "calloc",
                                         "realloc",
                                         "luaM_*",
                                         "l_alloc",
                                         "sqlite3Malloc*",
                                         "sqlite3MemM*",
                                         "sqlite3Realloc*",
                                         "sqlite3DbM*",
                                         "sqlite3DbRealloc*",
                                         "sqlite3_malloc*",
                                         "sqlite3_realloc*",
                                         "luaC_newobj",
                                         "dbMallocRaw*",
                                         "pcache1Alloc",
                                         "oracle_*",
                                         NULL};
    const char *const *lists[] = {others, wrappers};
    size_t i, j;
    for (i = 0; i < 2; i++) {
        for (j = 0; lists[i][j] != NULL; j++) {
            if (fnmatch(lists[i][j], function, 0) == 0) {
                return true;
            }
        }
    }
    return false;
}

static size_t count_of(const char *const *list) {
    size_t count = 0;
    while (list[count] != NULL) {
        count++;
    }
    return count;
}

/* The rows of a view add up to the oracle's bytes, and the first five are nobody's helpers. */
static void check_view(mtrace_snapshot *names, mtrace_view view, uint64_t bytes, uint64_t blocks) {
    static const char *const views[] = {"held", "at the peak", "in all"};
    mtrace_rows *rows;
    uint64_t sum = 0, count = 0;
    size_t i;
    mtrace_snapshot_set_view(names, view);
    expect(mtrace_snapshot_statistics(&rows, names, MTRACE_BY_FUNCTION, NULL) == MTRACE_OK, "rows");
    for (i = 0; i < rows->count; i++) {
        const mtrace_row *row = &rows->rows[i];
        sum += row->size;
        count += row->count;
        if (i < 5) {
            printf("%10llu %s\n", (unsigned long long)row->size,
                   row->function == NULL ? row->file : row->function);
            expect(row->function == NULL ? !has_symbols : !is_wrapper(row->function),
                   "one of the first five rows is a wrapper or has no name");
        }
    }
    expect(rows->count >= 2, "one row helps nobody");
    expect(sum == bytes && count == blocks, views[view]);
    mtrace_rows_free(rows);
}

/* The function load, with its callees, has all. */
static void check_user(const mtrace_rows *rows) {
    size_t i;
    for (i = 0; i < rows->count; i++) {
        const mtrace_row *row = &rows->rows[i];
        if (row->function != NULL && strcmp(row->function, "load") == 0) {
            expect(row->size == oracle.live, "bytes held by load and its callees");
            return;
        }
    }
    expect(false, "load has no row");
}

static void check(void) {
    mtrace_snapshot *addresses, *names;
    mtrace_skip skip = {0};
    mtrace_rows *rows;
    skip.patterns = wrappers;
    skip.count = count_of(wrappers);
    expect(mtrace_snapshot_take(&addresses, false, NULL) == MTRACE_OK, "a snapshot");
    expect(mtrace_snapshot_resolve(&names, addresses, NULL) == MTRACE_OK, "names");
    mtrace_snapshot_set_skip(names, &skip);
    check_view(names, MTRACE_VIEW_PEAK, oracle.peak, oracle.blocks_at_peak);
    check_view(names, MTRACE_VIEW_TOTAL, oracle.total, oracle.count);
    check_view(names, MTRACE_VIEW_LIVE, oracle.live, oracle.blocks);
    expect(mtrace_snapshot_statistics(&rows, names,
                                      MTRACE_BY_FUNCTION | MTRACE_KEY_CUMULATIVE | MTRACE_KEY_ONCE,
                                      NULL) == MTRACE_OK,
           "cumulative rows");
    check_user(rows);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(names);
    mtrace_snapshot_free(addresses);
}

int main(void) {
    mtrace_desc desc = {0};
    desc.unwinder = mtrace_get_unwinder(MTRACE_UNWIND_BEST);
    desc.native_frames = 64;
    expect(mtrace_start(&desc) == MTRACE_OK, "a start");
    expect(load(), "load");
    expect(oracle.live > 1000 && oracle.count > 20, "the library uses the hooks");
    expect(mtrace_get_traced_memory().current == oracle.live, "traced bytes");
    expect(mtrace_get_traced_memory().peak == oracle.peak, "peak");
    check();
    unload();
    expect(oracle.live == 0 && mtrace_get_traced_memory().current == 0, "nothing is left");
    expect(mtrace_get_info().foreign_frees == 0, "nothing is foreign");
    expect(mtrace_check() == NULL, "mtrace_check");
    mtrace_stop();
    return failures != 0;
}

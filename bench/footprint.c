/* Programs for bench/footprint, one for each USE, to measure the code that each feature links. With
   -DUSE=8 the program prints the memory of a slot and of a call site. */

#ifdef OWN_HASH /* FNV-1a */
#include <stddef.h>
#include <stdint.h>
static uint32_t own_hash(const void *data, size_t size) {
    const unsigned char *byte = data;
    uint32_t hash = 2166136261u;
    while (size-- > 0) {
        hash = (hash ^ *byte++) * 16777619u;
    }
    return hash;
}
#define MTRACE_HASH(data, size) own_hash(data, size)
#endif

#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#include <stdio.h>

static void *volatile sink;
static unsigned char tracer_memory[8192], before_memory[1024], now_memory[1024], rows_memory[2048];
static mtrace_buffer before_room = {before_memory, sizeof before_memory};
static mtrace_buffer now_room = {now_memory, sizeof now_memory};
static mtrace_buffer rows_room = {rows_memory, sizeof rows_memory};
static mtrace_snapshot *before, *now;
static mtrace_rows *rows;

/* Newlib's own exit is not measured. */
static void write_nowhere(const char *text, size_t length, void *user) {
    (void)user;
    (void)length;
    sink = (void *)(uintptr_t)text;
}

static size_t read_nothing(void *buffer, size_t size, void *user) {
    (void)user;
    (void)size;
    sink = buffer;
    return 0;
}

static void use_nothing(void) {
    sink = malloc(10);
    free(sink);
}

static void use_recording(void) {
    mtrace_desc desc = {0};
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    desc.write = write_nowhere;
    desc.borrow_names = true;
    mtrace_start(&desc);
    sink = MT_MALLOC(10);
    sink = MT_REALLOC(sink, 20);
    MT_FREE(sink);
    sink = (void *)(uintptr_t)mtrace_get_traced_memory().peak;
}

static void use_statistics(void) {
    use_recording();
    mtrace_snapshot_take(&now, false, &now_room);
    mtrace_snapshot_statistics(&rows, now, MTRACE_BY_LINE, &rows_room);
}

static void use_top(void) {
    mtrace_report_desc report = {.top = 10};
    use_statistics();
    mtrace_report(rows, &report);
}

static void use_compare(void) {
    use_top();
    mtrace_snapshot_compare_to(&rows, now, before, MTRACE_BY_LINE, &rows_room);
}

static void use_filters(void) {
    static const mtrace_filter filter = {.file = "*.c"};
    use_compare();
    mtrace_snapshot_filter(&before, now, &filter, 1, &before_room);
}

static void use_dump(void) {
    use_filters();
    mtrace_snapshot_dump_to(now, write_nowhere, NULL);
}

static void use_load(void) {
    use_dump();
    mtrace_snapshot_load_from(&before, read_nothing, NULL, &before_room);
}

static size_t bytes_of(size_t capacity, size_t sites, uint32_t frames, bool serials) {
    mtrace_desc desc = {0};
    desc.max_blocks = capacity / 2;
    desc.max_sites = sites;
    desc.frames = frames;
    desc.serials = serials;
    return mtrace_memory_size(&desc);
}

/* Bytes: a slot, a slot with serials, a site, a site with 8 frames, the fixed part. */
static void print_sizes(void) {
    unsigned slot = (unsigned)(bytes_of(8192, 64, 1, false) - bytes_of(4096, 64, 1, false)) / 4096;
    unsigned serial = (unsigned)(bytes_of(8192, 64, 1, true) - bytes_of(4096, 64, 1, true)) / 4096;
    unsigned site = (unsigned)(bytes_of(4, 8192, 1, false) - bytes_of(4, 4096, 1, false)) / 4096;
    unsigned deep = (unsigned)(bytes_of(4, 8192, 8, false) - bytes_of(4, 4096, 8, false)) / 4096;
    unsigned rest = (unsigned)bytes_of(4, 1, 1, false) - 4 * slot - site;
    printf("%u %u %u %u %u\n", slot, serial, site, deep, rest + (unsigned)sizeof mtrace_g_);
}

#define USE_0        use_nothing
#define USE_1        use_recording
#define USE_2        use_statistics
#define USE_3        use_top
#define USE_4        use_compare
#define USE_5        use_filters
#define USE_6        use_dump
#define USE_7        use_load
#define USE_8        print_sizes
#define CHOSEN_(use) USE_##use
#define CHOSEN(use)  CHOSEN_(use)

int main(void) {
    CHOSEN(USE)();
    return 0;
}

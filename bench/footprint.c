/* Programs for bench/footprint, to measure the code that each feature links. main calls chosen(),
   which the linker makes one of the functions below (--defsym=chosen=use_top); it drops the rest.
   Each includes those above it. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <stdio.h>
#ifdef FOOTPRINT_FILES /* mtrace_ext.h brings texts that the linker keeps */
#include "mtrace_ext.h"
#endif

void chosen(void);
void use_nothing(void);
void use_recording(void);
void use_totals(void);
void use_top(void);
void use_baseline(void);
void use_snapshot(void);
void use_statistics(void);
void use_report(void);
void use_compare(void);
void use_filters(void);
void use_dump(void);
void use_load(void);
void use_command(void);
void print_sizes(void);

static void *volatile sink;
static unsigned char tracer_memory[MTRACE_HOSTED_ ? 1 << 20 : 8192];
static unsigned char before_memory[1024], now_memory[1024], rows_memory[2048];
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

void use_nothing(void) {
    sink = malloc(10);
    sink = realloc(sink, 20);
    free(sink);
    sink = calloc(2, 3);
}

void use_recording(void) {
    mtrace_desc desc = {0};
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    desc.write = write_nowhere;
    desc.borrow_names = true;
    mtrace_start(&desc);
    sink = MT_MALLOC(10);
    sink = MT_REALLOC(sink, 20);
    MT_FREE(sink);
    sink = MT_CALLOC(2, 3);
}

void use_totals(void) {
    use_recording();
    sink = (void *)(uintptr_t)mtrace_get_traced_memory().peak;
}

void use_top(void) {
    use_totals();
    mtrace_print_top(10);
}

void use_baseline(void) {
    use_top();
    mtrace_set_baseline();
    MT_ASSERT_NO_GROWTH(NULL, 0);
}

void use_snapshot(void) {
    use_baseline();
    mtrace_snapshot_take(&now, false, &now_room);
}

void use_statistics(void) {
    use_snapshot();
    mtrace_snapshot_statistics(&rows, now, MTRACE_BY_LINE, &rows_room);
}

void use_report(void) {
    mtrace_report_desc report = {.top = 10};
    use_statistics();
    mtrace_report(rows, &report);
}

void use_compare(void) {
    use_report();
    mtrace_snapshot_compare_to(&rows, now, before, MTRACE_BY_LINE, &rows_room);
}

void use_filters(void) {
    static const mtrace_filter filter = {.file = "*.c"};
    use_compare();
    mtrace_snapshot_filter(&before, now, &filter, 1, &before_room);
}

#ifdef FOOTPRINT_FILES
static size_t read_nothing(void *buffer, size_t size, void *user) {
    (void)user;
    (void)size;
    sink = buffer;
    return 0;
}

void use_dump(void) {
    use_filters();
    mtrace_snapshot_dump_to(now, write_nowhere, NULL);
}

void use_command(void) {
    use_baseline();
    mtrace_command("top", write_nowhere, NULL);
}

void use_load(void) {
    use_dump();
    mtrace_snapshot_load_from(&before, read_nothing, NULL, &before_room);
}
#endif

static size_t bytes_of(size_t capacity, size_t sites, uint32_t frames, bool serials) {
    mtrace_desc desc = {0};
    desc.max_blocks = capacity / 2;
    desc.max_sites = sites;
    desc.frames = frames;
    desc.serials = serials;
    return mtrace_memory_size(&desc);
}

/* Firmware's build has none. */
static bool has_serials(void) {
    mtrace_desc desc = {0};
    mtrace_result result;
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    desc.serials = true;
    result = mtrace_start(&desc);
    mtrace_stop();
    return result != MTRACE_ERR_ARGUMENT;
}

/* Bytes: a slot, a slot with serials (0: there are none), an account, an account with 8 frames, the
   rest of the memory given, static memory, a row. */
void print_sizes(void) {
    unsigned slot = (unsigned)(bytes_of(8192, 64, 1, false) - bytes_of(4096, 64, 1, false)) / 4096;
    unsigned serial = (unsigned)(bytes_of(8192, 64, 1, true) - bytes_of(4096, 64, 1, true)) / 4096;
    unsigned site = (unsigned)(bytes_of(4, 8192, 1, false) - bytes_of(4, 4096, 1, false)) / 4096;
    unsigned deep = (unsigned)(bytes_of(4, 8192, 8, false) - bytes_of(4, 4096, 8, false)) / 4096;
    unsigned rest = (unsigned)bytes_of(4, 1, 1, false) - 4 * slot - site;
    printf("%u %u %u %u %u %u %u\n", slot, has_serials() ? serial : 0, site, deep, rest,
           (unsigned)sizeof mtrace_g_, (unsigned)sizeof(mtrace_row));
}

int main(void) {
    chosen();
    return 0;
}

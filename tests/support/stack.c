/* One function for each row of tests/stack.sh, which computes its stack. Firmware's build. The
   program measures what each of them does use in one case, so that the computation can be held to
   it. */

#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#include <stdio.h>

static void *volatile sink;
static unsigned char tracer_memory[8192], snapshot_memory[4096], rows_memory[4096];
static mtrace_buffer snapshot_room = {snapshot_memory, sizeof snapshot_memory};
static mtrace_buffer rows_room = {rows_memory, sizeof rows_memory};
static mtrace_snapshot *snapshot;
static mtrace_rows *rows;

static void write_nowhere(const char *bytes, size_t size, void *user) {
    (void)bytes;
    (void)size;
    (void)user;
}

void stack_malloc(void);
void stack_malloc(void) {
    sink = MT_MALLOC(10);
}

void stack_calloc(void);
void stack_calloc(void) {
    sink = MT_CALLOC(10, 2);
}

void stack_realloc(void);
void stack_realloc(void) {
    sink = MT_REALLOC(sink, 20);
}

void stack_free(void);
void stack_free(void) {
    MT_FREE(sink);
}

void stack_track(void);
void stack_track(void) {
    MT_TRACK(1, sink, 20);
}

void stack_untrack(void);
void stack_untrack(void) {
    MT_UNTRACK(1, sink);
}

void stack_scope(void);
void stack_scope(void) {
    MT_SCOPE();
}

void stack_print_top(void);
void stack_print_top(void) {
    mtrace_print_top(10);
}

void stack_print(void);
void stack_print(void) {
    mtrace_print_desc desc = {0};
    desc.key_type = MTRACE_BY_TRACEBACK;
    desc.report.top = 10;
    mtrace_print(&desc);
}

void stack_print_leaks(void);
void stack_print_leaks(void) {
    mtrace_print_leaks();
}

void stack_print_diff(void);
void stack_print_diff(void) {
    mtrace_print_diff(NULL, 10);
}

void stack_set_baseline(void);
void stack_set_baseline(void) {
    mtrace_set_baseline();
}

void stack_no_growth(void);
void stack_no_growth(void) {
    MT_ASSERT_NO_GROWTH(NULL, 0);
}

void stack_start(void);
void stack_start(void) {
    static mtrace_desc desc;
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    desc.write = write_nowhere;
    mtrace_start(&desc);
}

void stack_check(void);
void stack_check(void) {
    mtrace_check();
}

void stack_take(void);
void stack_take(void) {
    mtrace_snapshot_take(&snapshot, false, &snapshot_room);
}

void stack_statistics(void);
void stack_statistics(void) {
    mtrace_snapshot_statistics(&rows, snapshot, MTRACE_BY_LINE, &rows_room);
}

void stack_compare(void);
void stack_compare(void) {
    mtrace_snapshot_compare_to(&rows, snapshot, snapshot, MTRACE_BY_LINE, &rows_room);
}

void stack_report(void);
void stack_report(void) {
    mtrace_report(rows, NULL);
}

void stack_command(void);
void stack_command(void) {
    mtrace_command("diff 5 by traceback", NULL, NULL);
}

void stack_dump(void);
void stack_dump(void) {
    mtrace_snapshot_dump_to(snapshot, write_nowhere, NULL);
}

/* Fills the stack below with a pattern, calls, and returns the bytes that were overwritten. */
enum { MEASURED = 4096, PATTERN = 0xA5 };
static __attribute__((noinline)) size_t measure(void (*call)(void)) {
    volatile unsigned char *top, *at;
    __asm__ volatile("mov %0, sp" : "=r"(top));
    for (at = top - MEASURED; at < top; at++) {
        *at = PATTERN;
    }
    call();
    for (at = top - MEASURED; at < top && *at == PATTERN; at++) {
    }
    return (size_t)(top - at);
}

#define ROW(name)                                                                                  \
    { #name, stack_##name }
static const struct {
    const char *name;
    void (*call)(void);
} table[] = {ROW(start),     ROW(malloc),     ROW(calloc), ROW(realloc),     ROW(set_baseline),
             ROW(no_growth), ROW(print_top),  ROW(print),  ROW(print_leaks), ROW(print_diff),
             ROW(take),      ROW(statistics), ROW(report), ROW(dump),        ROW(compare),
             ROW(track),     ROW(untrack),    ROW(scope),  ROW(check),       ROW(command),
             ROW(free)};

int main(void) {
    size_t i;
    for (i = 0; i < sizeof table / sizeof *table; i++) {
        printf("%s %u\n", table[i].name, (unsigned)measure(table[i].call));
    }
    return 0;
}

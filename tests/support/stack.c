/* One function for each row of tests/stack.sh, which measures its stack. Firmware's build. */

#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

void *volatile sink;
mtrace_snapshot *snapshot;
mtrace_rows *rows;
mtrace_buffer room;

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

void stack_print_by(void);
void stack_print_by(void) {
    mtrace_print_by(MTRACE_BY_TRACEBACK, 10);
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
    mtrace_start(NULL);
}

void stack_check(void);
void stack_check(void) {
    mtrace_check();
}

void stack_take(void);
void stack_take(void) {
    mtrace_snapshot_take(&snapshot, false, &room);
}

void stack_statistics(void);
void stack_statistics(void) {
    mtrace_snapshot_statistics(&rows, snapshot, MTRACE_BY_LINE, &room);
}

void stack_compare(void);
void stack_compare(void) {
    mtrace_snapshot_compare_to(&rows, snapshot, snapshot, MTRACE_BY_LINE, &room);
}

void stack_report(void);
void stack_report(void) {
    mtrace_report(rows, NULL);
}

static void write_nowhere(const char *bytes, size_t size, void *user) {
    (void)bytes;
    (void)size;
    (void)user;
}

void stack_dump(void);
void stack_dump(void) {
    mtrace_snapshot_dump_to(snapshot, write_nowhere, NULL);
}

int main(void) {
    static void (*const rows_of_the_table[])(void) = {
        stack_malloc,     stack_calloc,     stack_realloc,   stack_free,     stack_track,
        stack_untrack,    stack_scope,      stack_print_top, stack_print_by, stack_print_leaks,
        stack_print_diff, stack_no_growth,  stack_start,     stack_check,    stack_set_baseline,
        stack_take,       stack_statistics, stack_compare,   stack_report,   stack_dump};
    size_t i;
    for (i = 0; i < sizeof rows_of_the_table / sizeof *rows_of_the_table; i++) {
        rows_of_the_table[i]();
    }
    return 0;
}

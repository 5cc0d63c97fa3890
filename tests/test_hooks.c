/* The hooks of a port: a lock that saves its state and refuses to nest, the running task's scope.
   Each configuration of the tests builds the same: this file's own hooks are all that it needs. */

#undef MTRACE_CONFIG_FILE
#undef MTRACE_SINGLE_THREAD

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>
#ifdef __cplusplus
}
#endif

/* --- a machine: a irq_mask of interrupts, an interrupt that comes at the worst moment --- */

typedef struct machine_state {
    int saved; /* 0: interrupts are on */
} machine_state;

static int irq_mask, locks, lock_held;
static void (*interrupt)(void);    /* to be raised between the saving and the masking */
static void (*call_between)(void); /* to be called when a call has let the lock go */
static int between_left;           /* behind the n-th unlock; -1: behind each */

static void lock(machine_state *state) {
    void (*handler)(void) = interrupt;
    state->saved = irq_mask;
    if (handler != NULL && irq_mask == 0) {
        interrupt = NULL;
        irq_mask = 2;
        handler();
        irq_mask = 0;
    }
    irq_mask = 1;
    assert_int_equal(lock_held, 0);
    lock_held = 1;
    locks++;
}

static void unlock(const machine_state *state) {
    assert_int_equal(lock_held, 1);
    lock_held = 0;
    irq_mask = state->saved;
    if (call_between != NULL && (between_left < 0 || --between_left == 0)) {
        void (*call)(void) = call_between;
        call_between = NULL;
        call();
        call_between = between_left < 0 ? call : NULL;
    }
}

#define MTRACE_LOCK_STATE    machine_state
#define MTRACE_LOCK(state)   lock(&(state))
#define MTRACE_UNLOCK(state) unlock(&(state))

/* --- tasks --- */

typedef struct task {
    struct mtrace_scope *scope;
} task;

static task *running_task;

static struct mtrace_scope *running_scope(void) {
    return running_task == NULL ? NULL : running_task->scope;
}

#define MTRACE_CONTEXT() running_scope()

/* --- an allocator that has neither calloc nor realloc --- */

static bool heap_is_full;
static void (*heap_allocated)(void *block, size_t size), (*heap_freed)(void *block);

static void *heap_malloc(size_t size) {
    void *block = heap_is_full || size > 1 << 20 ? NULL : malloc(size);
    assert_int_equal(lock_held, 0);
    if (heap_allocated != NULL) {
        heap_allocated(block, size);
    }
    return block == NULL ? NULL : memset(block, 0x55, size);
}

static void heap_free(void *block) {
    assert_int_equal(lock_held, 0);
    if (heap_freed != NULL) {
        heap_freed(block);
    }
    free(block);
}

#define MTRACE_BASE_MALLOC(size) heap_malloc(size)
#define MTRACE_BASE_FREE(block)  heap_free(block)

#define MTRACE_IMPLEMENTATION
#include "../mtrace_ext.h"

static unsigned char memory[1 << 16];

static void write_text(const char *text, size_t length, void *user) {
    char *out = (char *)user;
    size_t used = strlen(out);
    assert_int_equal(lock_held, 0);
    assert_true(used + length < 4096);
    memcpy(out + used, text, length);
    out[used + length] = '\0';
}

static char written[4096];

static void start(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.memory = memory;
    desc.memory_size = sizeof memory;
    desc.foreign_free = MTRACE_FOREIGN_REPORT;
    desc.frames = 4;
    desc.write = write_text;
    desc.write_user = written;
    written[0] = '\0';
    running_task = NULL;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

/* --- the lock --- */

static void blocks_of_all_kinds(void) {
    void *a = MT_MALLOC(10), *b = MT_CALLOC(3, 10), *larger = MT_REALLOC(b, 100000);
    char *c = MT_STRDUP("text");
    MT_FREE(a);
    MT_FREE(larger != NULL ? larger : b); /* while stopped it is NULL */
    MT_FREE(c);
    a = MT_MALLOC_IN(3, 10);
    MT_TRACK(2, &a, 1000);
    MT_TRACK(2, &a, 2000);
    MT_UNTRACK(2, &a);
    MT_UNTRACK(2, &a);
    MT_FREE(a);
    MT_FREE(malloc(10)); /* foreign, reported */
}

static void scopes_of_all_kinds(void) {
    mtrace_scope before = MT_SCOPE_PUSH(), saved;
    void *block = MT_MALLOC(10);
    saved = mtrace_scope_save();
    mtrace_scope_restore(before);
    mtrace_scope_restore(saved);
    mtrace_scope_restore(before);
    MT_FREE(block);
}

static void questions_of_all_kinds(void) {
    void *block = MT_MALLOC(10);
    mtrace_site site = {"file", "function", "type", 1, NULL};
    mtrace_block found;
    mtrace_snapshot *first = NULL, *second = NULL;
    mtrace_rows *rows = NULL;
    mtrace_name_domain(3, "three");
    mtrace_find(&found, block);
    (void)mtrace_get_traced_memory();
    (void)mtrace_get_info();
    (void)mtrace_site_intern(&site);
    assert_int_equal(mtrace_snapshot_take(&first, true, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_filter(&second, first, NULL, 0, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_statistics(&rows, first, MTRACE_BY_LINE, NULL), MTRACE_OK);
    mtrace_report(rows, NULL);
    mtrace_rows_free(rows);
    mtrace_print_top(3);
    mtrace_print_peak(3);
    mtrace_print_leaks();
    mtrace_print_diff(first, 3);
    (void)mtrace_growth(written, 0, first, 0);
    mtrace_snapshot_free(first);
    mtrace_snapshot_free(second);
    assert_null(mtrace_check());
    written[0] = '\0';
    MT_FREE(block);
}

static void life_cycle(void) {
    mtrace_pause();
    mtrace_resume();
    mtrace_reset_peak();
    mtrace_clear();
    mtrace_stop();
    (void)mtrace_get_info();
    mtrace_clear();
    blocks_of_all_kinds(); /* stopped */
    mtrace_scope_restore(MT_SCOPE_PUSH());
    start();
}

static void (*const calls[])(void) = {blocks_of_all_kinds, scopes_of_all_kinds,
                                      questions_of_all_kinds, life_cycle};
enum { CALLS = sizeof calls / sizeof *calls };

/* The lock and the heap above refuse if a call takes the lock twice, or keeps it in a callback. */
static void test_the_lock_does_not_nest(void **state) {
    size_t i;
    (void)state;
    start();
    for (i = 0; i < CALLS; i++) {
        int before = locks;
        calls[i]();
        assert_true(locks > before);
        assert_int_equal(lock_held, 0);
    }
    mtrace_stop();
}

static void test_interrupts_stay_as_they_were(void **state) {
    size_t i;
    (void)state;
    start();
    for (i = 0; i < CALLS; i++) {
        irq_mask = 0;
        calls[i]();
        assert_int_equal(irq_mask, 0);
        irq_mask = 1;
        calls[i]();
        assert_int_equal(irq_mask, 1);
    }
    irq_mask = 0;
    mtrace_stop();
}

static int interrupts;

static void handler(void) {
    static int key;
    interrupts++;
    MT_TRACK(1, &key, 10);
    assert_int_equal(irq_mask, 2);
}

/* The interrupt's own calls must not change the state that the call under it has saved. */
static void test_an_interrupt_while_the_state_is_saved(void **state) {
    void *block;
    (void)state;
    start();
    interrupts = 0;
    interrupt = handler;
    block = MT_MALLOC(10);
    assert_int_equal(irq_mask, 0);
    interrupt = handler;
    MT_FREE(block);
    assert_int_equal(irq_mask, 0);
    assert_int_equal(interrupts, 2);
    assert_int_equal(mtrace_get_traced_memory().current, 10);
    mtrace_stop();
}

/* --- tasks --- */

static uint32_t frames_of(const void *block) {
    mtrace_frame frames[4];
    mtrace_block found;
    assert_int_equal(mtrace_find_tracked(&found, 0, (uintptr_t)block, frames, 4), MTRACE_OK);
    return found.traceback.count;
}

static void *block_here(void) {
    return MT_MALLOC(10);
}

static void test_each_task_has_its_scope(void **state) {
    mtrace_scope scopes[2] = {MTRACE_ZERO_, MTRACE_ZERO_};
    task a, b;
    void *blocks[4];
    int i;
    (void)state;
    a.scope = &scopes[0];
    b.scope = &scopes[1];
    start();
    running_task = &a;
    (void)MT_SCOPE_PUSH();
    (void)MT_SCOPE_PUSH();
    blocks[0] = block_here();
    running_task = &b;
    blocks[1] = block_here();
    (void)MT_SCOPE_PUSH_IN(5);
    running_task = &a;
    blocks[2] = block_here();
    running_task = &b;
    blocks[3] = block_here();
    assert_int_equal(frames_of(blocks[0]), 3);
    assert_int_equal(frames_of(blocks[1]), 1);
    assert_int_equal(frames_of(blocks[2]), 3);
    assert_int_equal(frames_of(blocks[3]), 2);
    for (i = 0; i < 4; i++) {
        MT_FREE(blocks[i]);
    }
    mtrace_stop();
}

/* Before the scheduler runs, and in a task without a scope of its own: they share one. */
static void test_no_task_runs(void **state) {
    mtrace_scope scope = MTRACE_ZERO_, before;
    task with, without;
    void *block;
    (void)state;
    with.scope = &scope;
    without.scope = NULL;
    start();
    before = MT_SCOPE_PUSH();
    block = block_here();
    assert_int_equal(frames_of(block), 2);
    MT_FREE(block);
    running_task = &with;
    block = block_here();
    assert_int_equal(frames_of(block), 1);
    MT_FREE(block);
    running_task = &without;
    block = block_here();
    assert_int_equal(frames_of(block), 2);
    MT_FREE(block);
    mtrace_scope_restore(before);
    running_task = NULL;
    block = block_here();
    assert_int_equal(frames_of(block), 1);
    MT_FREE(block);
    mtrace_stop();
}

/* --- call sites without a line --- */

static void report(mtrace_style style) {
    mtrace_snapshot *snapshot;
    mtrace_rows *rows;
    mtrace_report_desc desc = MTRACE_ZERO_;
    written[0] = '\0';
    desc.style = style;
    assert_int_equal(mtrace_snapshot_take(&snapshot, false, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_statistics(&rows, snapshot, MTRACE_BY_LINE, NULL), MTRACE_OK);
    assert_int_equal(mtrace_report(rows, &desc), MTRACE_OK);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(snapshot);
}

static void assert_written(const char *text) {
    if (strstr(written, text) == NULL) {
        fail_msg("no \"%s\" in\n%s", text, written);
    }
}

/* An allocator that knows its caller's address, and a task's name: no line number is shown. */
static void test_sites_without_lines(void **state) {
    mtrace_site code = mtrace_site_from_address((const void *)(uintptr_t)0x8004d84);
    mtrace_site boot = MTRACE_ZERO_;
    void *a, *b;
    (void)state;
    boot.file = "boot";
    start();
    a = mtrace_malloc_at(100, &code);
    b = mtrace_malloc_at(50, &boot);
    report(MTRACE_STYLE_TABLE);
    assert_written(" pc:0x8004d84\n");
    assert_written(" boot\n");
    report(MTRACE_STYLE_WARNINGS);
    assert_written("pc:0x8004d84: warning: ");
    assert_written("boot: warning: ");
    report(MTRACE_STYLE_PYTHON); /* as CPython */
    assert_written("pc:0x8004d84: size=100 B");
    assert_written("boot:0: size=50 B");
    MT_FREE(a);
    MT_FREE(b);
    mtrace_stop();
}

/* --- calloc and realloc are made of malloc and free --- */

static bool all_are(const void *block, int byte, size_t size) {
    const unsigned char *bytes = (const unsigned char *)block;
    size_t i = 0;
    while (i < size && bytes[i] == byte) {
        i++;
    }
    return i == size;
}

static void test_calloc_of_malloc(void **state) {
    void *block;
    (void)state;
    start();
    block = MT_CALLOC(10, 10);
    assert_true(all_are(block, 0, 100));
    assert_int_equal(mtrace_get_traced_memory().current, 100);
    assert_null(MT_CALLOC(SIZE_MAX / 2, 3));
    mtrace_stop();
    MT_FREE(block);
    block = MT_CALLOC(10, 10); /* stopped */
    assert_true(all_are(block, 0, 100));
    MT_FREE(block);
}

static void test_realloc_of_malloc(void **state) {
    static const size_t sizes[] = {1000, 10, 2000, 0};
    char *block, *resized;
    size_t i, kept = 100;
    (void)state;
    start();
    block = (char *)MT_REALLOC(NULL, kept);
    memset(block, 7, kept);
    for (i = 0; i < 3; i++) {
        resized = (char *)MT_REALLOC(block, sizes[i]);
        kept = sizes[i] < kept ? sizes[i] : kept;
        assert_true(all_are(resized, 7, kept));
        assert_int_equal(mtrace_get_traced_memory().current, sizes[i]);
        block = resized;
    }
    assert_null(MT_REALLOC(block, 0));
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    assert_null(MT_REALLOCARRAY(NULL, SIZE_MAX / 2, 3));
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    assert_null(mtrace_check());
    mtrace_stop();
}

static void test_realloc_of_malloc_fails(void **state) {
    char *block;
    (void)state;
    start();
    block = (char *)MT_MALLOC(100);
    memset(block, 7, 100);
    heap_is_full = true;
    assert_null(MT_REALLOC(block, 200));
    assert_null(MT_CALLOC(1, 1));
    heap_is_full = false;
    assert_null(MT_REALLOCARRAY(block, SIZE_MAX / 2, 3));
    assert_true(all_are(block, 7, 100));
    assert_int_equal(mtrace_get_traced_memory().current, 100);
    MT_FREE(block);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    mtrace_stop();
}

/* How much to copy is not known: the block stays, and the failure counts as a foreign free. */
static void test_realloc_of_an_untraced_block(void **state) {
    char *block = (char *)MT_MALLOC(100);
    (void)state;
    memset(block, 7, 100);
    assert_null(MT_REALLOC(block, 200)); /* stopped */
    assert_true(all_are(block, 7, 100));
    start();
    assert_null(MT_REALLOC(block, 200));
    assert_true(all_are(block, 7, 100));
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    assert_written("test_hooks.c");
    MT_FREE(block);
    block = (char *)MT_MALLOC(100);
    mtrace_pause();
    block = (char *)MT_REALLOC(block, 200); /* paused, but its size is known */
    assert_non_null(block);
    assert_int_equal(mtrace_get_traced_memory().current, 200);
    mtrace_stop();
    assert_null(MT_REALLOC(block, 0)); /* stopped: frees, as while started */
}

/* --- an allocator with hooks: as heap_4's, they are given the size with a header of 8 bytes --- */

static void hook_allocated(void *block, size_t size) {
    static const mtrace_site heap = {"heap", NULL, NULL, 0, NULL};
    mtrace_alloc_hook(block, size + 8, &heap);
}

static void hook_freed(void *block) {
    (void)MT_UNTRACK(0, block);
}

static void start_with_hooks(void) {
    heap_allocated = hook_allocated;
    heap_freed = hook_freed;
    start();
}

static void stop_with_hooks(void) {
    mtrace_info info = mtrace_get_info();
    assert_int_equal(info.foreign_frees, 0);
    assert_int_equal(info.stale_replaced, 0);
    assert_int_equal(info.dropped_count, 0);
    assert_null(mtrace_check());
    mtrace_stop();
    heap_allocated = NULL;
    heap_freed = NULL;
}

/* "file live bytes, live blocks, bytes ever, blocks ever, reallocs; ..." */
static const char *rows_by_file(void) {
    mtrace_snapshot *snapshot;
    mtrace_rows *rows;
    size_t i;
    written[0] = '\0';
    assert_int_equal(mtrace_snapshot_take(&snapshot, false, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_statistics(&rows, snapshot, MTRACE_BY_FILE, NULL), MTRACE_OK);
    for (i = 0; i < rows->count; i++) {
        const mtrace_row *r = &rows->rows[i];
        const char *name = strrchr(r->file, '/');
        sprintf(written + strlen(written), "%s %u %u %u %u; ", name == NULL ? r->file : name + 1,
                (unsigned)r->size, (unsigned)r->count, (unsigned)r->total_size,
                (unsigned)r->total_count);
    }
    mtrace_rows_free(rows);
    mtrace_snapshot_free(snapshot);
    return written;
}

static void test_hooks_see_all_blocks(void **state) {
    void *kernel, *mine;
    (void)state;
    start_with_hooks();
    kernel = heap_malloc(100); /* no macro */
    mine = MT_MALLOC(50);      /* once, with the size asked for */
    assert_string_equal(rows_by_file(), "heap 108 1 108 1; test_hooks.c 50 1 50 1; ");
    assert_int_equal(mtrace_get_traced_memory().current, 158);
    heap_free(mine); /* each free takes each trace */
    MT_FREE(kernel);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    stop_with_hooks();
}

/* The hook's record of a block of MT_MALLOC leaves no trace in any figure, the peak included. */
static void test_hooks_do_not_count_twice(void **state) {
    void *a, *b;
    int i;
    (void)state;
    start_with_hooks();
    for (i = 0; i < 100; i++) {
        a = MT_MALLOC(1000);
        b = MT_CALLOC(10, 10);
        MT_FREE(a);
        MT_FREE(b);
    }
    assert_int_equal(mtrace_get_traced_memory().peak, 1100);
    a = MT_MALLOC(5);
    assert_string_equal(rows_by_file(), "test_hooks.c 5 1 110005 201; ");
    MT_FREE(a);
    stop_with_hooks();
}

static void test_realloc_with_hooks(void **state) {
    void *block;
    (void)state;
    start_with_hooks();
    block = MT_MALLOC(100);
    block = MT_REALLOC(block, 100000);
    assert_string_equal(rows_by_file(), "test_hooks.c 100000 1 100100 2; ");
    heap_is_full = true;
    assert_null(MT_REALLOC(block, 200000));
    assert_null(MT_MALLOC(1));
    heap_is_full = false;
    assert_int_equal(mtrace_get_traced_memory().current, 100000);
    assert_null(MT_REALLOC(block, 0));
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    stop_with_hooks();
}

static void test_hooks_while_paused_and_stopped(void **state) {
    void *block, *paused;
    (void)state;
    start_with_hooks();
    block = MT_MALLOC(100);
    mtrace_pause();
    paused = heap_malloc(100);
    assert_int_equal(mtrace_get_traced_memory().current, 100);
    heap_free(block);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    heap_free(paused);
    stop_with_hooks();
    hook_allocated(NULL, 1);
    hook_freed(NULL);
    start(); /* a stale trace is stale again */
    block = MT_MALLOC(100);
    MT_TRACK(0, block, 50);
    assert_int_equal(mtrace_get_info().stale_replaced, 1);
    MT_FREE(block);
    mtrace_stop();
}

/* --- the lock is let go between rows and slots --- */

enum { SITES = 20 };

static mtrace_site sites[SITES];
static void *kept[SITES];
static void *extra;
static unsigned char snapshot_memory[1 << 15];

/* Each of SITES call sites holds a block of 10 bytes. */
static void start_with_blocks(void) {
    int i;
    start();
    for (i = 0; i < SITES; i++) {
        sites[i].file = "site";
        sites[i].line = (uint32_t)i + 1;
        kept[i] = mtrace_malloc_at(10, &sites[i]);
    }
}

static void free_blocks(void) {
    int i;
    call_between = NULL;
    for (i = 0; i < SITES; i++) {
        MT_FREE(kept[i]);
    }
}

static mtrace_result last_result;
static const char *last_check;
static mtrace_info last_info;
static mtrace_snapshot *last_snapshot;

static void take_snapshot(void) {
    mtrace_buffer room = {snapshot_memory, sizeof snapshot_memory};
    last_result = mtrace_snapshot_take(&last_snapshot, true, &room);
}

static void ask_info(void) {
    last_info = mtrace_get_info();
}

static void check_all(void) {
    last_check = mtrace_check();
}

static void (*const long_calls[])(void) = {take_snapshot, ask_info, check_all, mtrace_clear};
enum { LONG_CALLS = sizeof long_calls / sizeof *long_calls };

/* One row or 8 slots under one lock: the number of locks shows it. */
static void test_locks_are_short(void **state) {
    int capacity, rows, i, before;
    (void)state;
    start_with_blocks();
    ask_info();
    capacity = (int)last_info.capacity;
    rows = (int)last_info.sites;
    assert_int_equal(rows, SITES);
    for (i = 0; i < LONG_CALLS; i++) {
        before = locks;
        long_calls[i]();
        assert_true(locks - before >= rows + (long_calls[i] == ask_info ? 0 : capacity / 8));
    }
    free_blocks();
    mtrace_stop();
}

/* Calls `meanwhile` in each call of long_calls behind its first unlock, then behind its second, and
   so on. `after` looks at the result. */
static void at_each_unlock(void (*meanwhile)(void), void (*after)(void (*call)(void))) {
    int i, at, before, last;
    for (i = 0; i < LONG_CALLS; i++) {
        for (at = 0, last = 1; at < last; at += 1 + at / 50) { /* first undisturbed */
            start_with_blocks();
            extra = NULL;
            before = locks;
            call_between = at == 0 ? NULL : meanwhile;
            between_left = at;
            long_calls[i]();
            last = at == 0 ? locks - before : last;
            if (at != 0) {
                assert_null(call_between);
                after(long_calls[i]);
            }
            MT_FREE(extra);
            free_blocks();
            mtrace_stop();
        }
    }
}

/* The memory is the caller's again, and it makes use of it. */
static void stop_meanwhile(void) {
    mtrace_stop();
    memset(memory, 0xa5, sizeof memory);
}

static void after_a_stop(void (*call)(void)) {
    assert_false(mtrace_is_tracing());
    if (call == take_snapshot) { /* or the last row was copied before */
        assert_true(last_result == MTRACE_ERR_CHANGED || last_result == MTRACE_OK);
    }
}

static void test_a_stop_in_a_long_call(void **state) {
    (void)state;
    at_each_unlock(stop_meanwhile, after_a_stop);
}

static void restart_meanwhile(void) {
    stop_meanwhile();
    start();
    extra = MT_MALLOC(100);
}

static void after_a_restart(void (*call)(void)) {
    assert_null(mtrace_check());
    assert_true(call == mtrace_clear || mtrace_get_traced_memory().current == 100);
    assert_true(mtrace_get_traced_memory().current % 100 == 0);
}

static void test_a_restart_in_a_long_call(void **state) {
    (void)state;
    at_each_unlock(restart_meanwhile, after_a_restart);
}

static void after_a_clear(void (*call)(void)) {
    assert_null(mtrace_check());
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    assert_int_equal(mtrace_get_traced_memory().peak, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    assert_int_equal(mtrace_g_.generation % 2, 0);
    assert_true(call != take_snapshot || last_result == MTRACE_OK);
}

static void test_a_clear_in_a_long_call(void **state) {
    (void)state;
    at_each_unlock(mtrace_clear, after_a_clear);
}

/* A new block, and one less of the old ones. */
static void allocate_meanwhile(void) {
    extra = MT_MALLOC(1000);
    MT_FREE(kept[SITES / 2]);
    kept[SITES / 2] = NULL;
}

static void after_an_allocation(void (*call)(void)) {
    uint64_t held = mtrace_get_traced_memory().current;
    assert_null(mtrace_check());
    if (call == mtrace_clear) { /* the new block may be forgotten or not */
        assert_true(held == 1000 || held == 0);
    } else {
        assert_int_equal(held, 10 * (SITES - 1) + 1000);
    }
    assert_true(call != take_snapshot || last_result == MTRACE_OK);
}

static void test_an_allocation_in_a_long_call(void **state) {
    (void)state;
    at_each_unlock(allocate_meanwhile, after_an_allocation);
}

static void allocate_at_each(void) {
    MT_FREE(extra);
    extra = MT_MALLOC(1000);
}

/* An interrupt behind each unlock: the rows of all others are right. */
static void test_rows_beside_busy_ones(void **state) {
    size_t i, found = 0;
    (void)state;
    start_with_blocks();
    extra = NULL;
    call_between = allocate_at_each;
    between_left = -1;
    take_snapshot();
    call_between = NULL;
    assert_int_equal(last_result, MTRACE_OK);
    for (i = 0; i < last_snapshot->row_count; i++) {
        const mtrace_row *row = &last_snapshot->rows[i];
        if (strcmp(row->file, "site") == 0) {
            assert_int_equal(row->size, 10);
            assert_int_equal(row->count, 1);
            found++;
        }
    }
    assert_int_equal(found, SITES);
    assert_null(mtrace_check());
    MT_FREE(extra);
    free_blocks();
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    mtrace_stop();
}

static uintptr_t moving_key;

/* Eight blocks go, eight come. */
static void move_at_each(void) {
    int i;
    for (i = 0; i < 8; i++) {
        (void)MT_UNTRACK(2, (void *)moving_key);
        moving_key += 16;
        MT_TRACK(2, (void *)(moving_key + 8 * 16), 1000);
    }
}

/* A block may be copied at each of its addresses. There is room in the caller's memory. */
static void test_blocks_that_move(void **state) {
    int i;
    (void)state;
    start_with_blocks();
    for (i = 0; i < 100; i++) {
        call_between = move_at_each;
        between_left = -1;
        take_snapshot();
        call_between = NULL;
        assert_int_equal(last_result, MTRACE_OK);
        assert_true(last_snapshot->block_count >= SITES);
    }
    free_blocks();
    mtrace_stop();
}

/* --- a clear while the allocator resizes a block --- */

static void clear_in_the_allocator(void *block, size_t size) {
    (void)block;
    (void)size;
    heap_allocated = NULL;
    mtrace_clear();
}

static void test_a_clear_in_a_realloc(void **state) {
    void *block;
    int fails;
    (void)state;
    for (fails = 0; fails < 2; fails++) {
        start();
        block = MT_MALLOC(100);
        heap_allocated = clear_in_the_allocator;
        heap_is_full = fails == 1;
        extra = MT_REALLOC(block, 200);
        heap_is_full = false;
        assert_int_equal(mtrace_get_traced_memory().current, fails == 1 ? 0 : 200);
        assert_null(mtrace_check());
        MT_FREE(fails == 1 ? block : extra);
        assert_int_equal(mtrace_get_info().foreign_frees, fails);
        mtrace_stop();
    }
}

static void calls_while_stopped(void) {
    mtrace_stop();
    mtrace_clear();
    assert_int_equal(mtrace_name_domain(9, "nine"), MTRACE_OK);
    MT_FREE(MT_MALLOC(10));
    assert_int_equal(mtrace_get_info().capacity, 0);
    assert_null(mtrace_check());
}

/* A start zeroes its memory in stretches. Until it has, the tracer is stopped for all others. */
static void test_calls_in_a_start(void **state) {
    (void)state;
    call_between = calls_while_stopped;
    between_left = 100;
    start();
    assert_null(call_between);
    assert_null(mtrace_check());
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    mtrace_stop();
}

static void start_meanwhile(void) {
    start();
    extra = MT_MALLOC(100);
}

/* The second start wins, also with the same memory. */
static void test_a_start_in_a_start(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.memory = memory;
    desc.memory_size = sizeof memory;
    call_between = start_meanwhile;
    between_left = 100;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ALREADY);
    assert_null(mtrace_check());
    assert_int_equal(mtrace_get_traced_memory().current, 100);
    MT_FREE(extra);
    mtrace_stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_lock_does_not_nest),
        cmocka_unit_test(test_interrupts_stay_as_they_were),
        cmocka_unit_test(test_an_interrupt_while_the_state_is_saved),
        cmocka_unit_test(test_each_task_has_its_scope),
        cmocka_unit_test(test_no_task_runs),
        cmocka_unit_test(test_sites_without_lines),
        cmocka_unit_test(test_calloc_of_malloc),
        cmocka_unit_test(test_realloc_of_malloc),
        cmocka_unit_test(test_realloc_of_malloc_fails),
        cmocka_unit_test(test_realloc_of_an_untraced_block),
        cmocka_unit_test(test_hooks_see_all_blocks),
        cmocka_unit_test(test_hooks_do_not_count_twice),
        cmocka_unit_test(test_realloc_with_hooks),
        cmocka_unit_test(test_hooks_while_paused_and_stopped),
        cmocka_unit_test(test_locks_are_short),
        cmocka_unit_test(test_a_stop_in_a_long_call),
        cmocka_unit_test(test_a_restart_in_a_long_call),
        cmocka_unit_test(test_a_clear_in_a_long_call),
        cmocka_unit_test(test_an_allocation_in_a_long_call),
        cmocka_unit_test(test_rows_beside_busy_ones),
        cmocka_unit_test(test_blocks_that_move),
        cmocka_unit_test(test_a_clear_in_a_realloc),
        cmocka_unit_test(test_calls_in_a_start),
        cmocka_unit_test(test_a_start_in_a_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A block that finds the table full counts as dropped once, at the macro's line, also if the
   allocator has hooks of its own (see mtrace_alloc_hook). */

#include <stdlib.h>

static void *hooked_malloc(size_t size);
static void *hooked_calloc(size_t count, size_t size);
static void *hooked_realloc(void *block, size_t size);
static void hooked_free(void *block);

#define MTRACE_BASE_MALLOC(size)         hooked_malloc(size)
#define MTRACE_BASE_CALLOC(count, size)  hooked_calloc(count, size)
#define MTRACE_BASE_REALLOC(block, size) hooked_realloc(block, size)
#define MTRACE_BASE_FREE(block)          hooked_free(block)

#include "support/test.h"

static mtrace_site heap = {"heap", NULL, NULL, 0, NULL};
static void (*between)(void); /* is called when the hook has counted the block */

static void *allocated(void *block, size_t size) {
    mtrace_alloc_hook(block, size + 8, &heap); /* with the allocator's own part */
    if (between != NULL) {
        between();
    }
    return block;
}

static void *hooked_malloc(size_t size) {
    return allocated(malloc(size), size);
}

static void *hooked_calloc(size_t count, size_t size) {
    return allocated(calloc(count, size), count * size);
}

static void *hooked_realloc(void *block, size_t size) {
    void *moved;
    (void)MT_UNTRACK(0, block);
    moved = realloc(block, size);
    return allocated(moved, size);
}

static void hooked_free(void *block) {
    (void)MT_UNTRACK(0, block);
    free(block);
}

#if TEST_ATOMICS
static bool gate_is_open(void) {
    return mtrace_me_.gate == 0;
}
#else
static bool gate_is_open(void) {
    return true;
}
#endif

enum { KEYS = 5000 }; /* for some 64 slots: none stays free */

static void fill(void) {
    uintptr_t key;
    for (key = 1; key <= KEYS; key++) {
        (void)MT_TRACK(1, key, 1);
    }
}

static void empty(void) {
    uintptr_t key;
    for (key = 1; key <= KEYS; key++) {
        (void)MT_UNTRACK(1, key);
    }
}

static mtrace_event seen;

static int setup(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    between = NULL;
    desc.max_blocks = 32;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    assert_null(mtrace_check());
    mtrace_stop();
    return 0;
}

/* Dropped blocks and bytes at the file, so far. */
static mtrace_row dropped_at(const char *file) {
    mtrace_snapshot *snapshot;
    mtrace_rows *rows;
    mtrace_row row = MTRACE_ZERO_;
    size_t i;
    assert_int_equal(mtrace_snapshot_take(&snapshot, false, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_statistics(&rows, snapshot, MTRACE_BY_FILE, NULL), MTRACE_OK);
    for (i = 0; i < rows->count; i++) {
        if (strcmp(rows->rows[i].file, file) == 0) {
            row.dropped_count = rows->rows[i].dropped_count;
            row.dropped_size = rows->rows[i].dropped_size;
        }
    }
    mtrace_rows_free(rows);
    mtrace_snapshot_free(snapshot);
    return row;
}

static void *malloc_10(void) {
    return MT_MALLOC(10);
}

static void *calloc_10(void) {
    return MT_CALLOC(10, 1);
}

static void *realloc_10(void) {
    return MT_REALLOC(malloc(1), 10);
}

static void *(*const ways[])(void) = {malloc_10, calloc_10, realloc_10};

/* Dropped by the hook and by the macro: the macro's is the one that counts. */
static void a_macros_drop_counts_once(void **state) {
    size_t i;
    (void)state;
    fill();
    for (i = 0; i < sizeof ways / sizeof *ways; i++) {
        mtrace_info before = mtrace_get_info();
        mtrace_row mine = dropped_at(__FILE__);
        void *block = ways[i]();
        mtrace_info info = mtrace_get_info();
        assert_int_equal(info.dropped_count - before.dropped_count, 1);
        assert_int_equal(info.dropped_bytes - before.dropped_bytes, 10);
        assert_int_equal(dropped_at(__FILE__).dropped_count - mine.dropped_count, 1);
        assert_int_equal(dropped_at(__FILE__).dropped_size - mine.dropped_size, 10);
        assert_int_equal(dropped_at("heap").dropped_count, 0);
        assert_int_equal(dropped_at("heap").dropped_size, 0);
        MT_FREE(block);
    }
}

/* Without a macro the hook's is the only one, however often the address comes back. */
static void the_allocators_own_drops_count(void **state) {
    int i;
    (void)state;
    fill();
    for (i = 1; i <= 3; i++) {
        hooked_free(hooked_malloc(10));
        assert_int_equal(dropped_at("heap").dropped_count, i);
        assert_int_equal(dropped_at("heap").dropped_size, 18 * i);
    }
    MT_FREE(MT_MALLOC(10));
    assert_int_equal(dropped_at("heap").dropped_count, 3);
    hooked_free(hooked_malloc(10));
    empty();
    hooked_free(hooked_malloc(10)); /* traced: the drop before is nobody's any more */
    assert_true(gate_is_open());
    assert_int_equal(dropped_at("heap").dropped_count, 4);
}

/* A slot becomes free in between: the macro's record has room, and nothing was dropped. */
static void a_slot_becomes_free_in_between(void **state) {
    mtrace_info before;
    void *blocks[2];
    (void)state;
    blocks[0] = MT_MALLOC(10); /* the line's account is known, its counters are in use */
    MT_FREE(blocks[0]);
    fill();
    before = mtrace_get_info();
    between = empty;
    blocks[0] = malloc_10();
    between = NULL;
    assert_int_equal(mtrace_get_info().dropped_count, before.dropped_count);
    assert_int_equal(mtrace_get_info().dropped_bytes, before.dropped_bytes);
    assert_int_equal(dropped_at("heap").dropped_count, 0);
    assert_true(gate_is_open()); /* and the next is as any */
    blocks[1] = malloc_10();
    assert_int_equal(mtrace_get_traced_memory().current, 20);
    assert_int_equal(mtrace_get_info().dropped_count, before.dropped_count);
    MT_FREE(blocks[0]);
    MT_FREE(blocks[1]);
}

static void track_others(void) {
    MT_TRACK(1, 0, 1);
    MT_TRACK(0, 0, 1);
    MT_TRACK(1, &seen, 1);
}

/* A signal handler records in between. */
static void others_record_in_between(void **state) {
    void *block;
    (void)state;
    fill();
    between = track_others;
    block = malloc_10();
    between = NULL;
    track_others(); /* and when no drop is remembered */
    assert_int_equal(dropped_at("heap").dropped_count, 0);
    assert_int_equal(dropped_at(__FILE__).dropped_count, mtrace_get_info().dropped_count);
    MT_FREE(block);
}

static void clear_and_fill(void) {
    mtrace_clear();
    fill();
}

/* A clear forgets the hook's drop, so there is none to take back. */
static void a_clear_in_between(void **state) {
    mtrace_info info;
    uint64_t keys;
    void *block;
    (void)state;
    fill();
    between = clear_and_fill;
    block = malloc_10();
    between = NULL;
    info = mtrace_get_info();
    keys = dropped_at(__FILE__).dropped_count;
    assert_int_equal(info.dropped_count, keys);
    assert_in_range(info.dropped_count, 1, KEYS + 1);
    MT_FREE(block);
}

static void see(const mtrace_event *event, void *user) {
    (void)user;
    seen.dropped += event->dropped;
    seen.dropped_size += event->dropped_size;
}

/* An observer hears of each call, and of the drop from the hook's. */
static void an_observer_hears_of_one_drop(void **state) {
    mtrace_observer observer = {see, NULL}, none = MTRACE_ZERO_;
    void *block;
    (void)state;
    fill();
    memset(&seen, 0, sizeof seen);
    mtrace_set_observer(observer);
    block = MT_MALLOC(10);
    mtrace_set_observer(none);
    assert_int_equal(seen.dropped, 1);
    assert_int_equal(seen.dropped_size, 18);
    MT_FREE(block);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_macros_drop_counts_once, setup, teardown),
        cmocka_unit_test_setup_teardown(the_allocators_own_drops_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slot_becomes_free_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(others_record_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clear_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(an_observer_hears_of_one_drop, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

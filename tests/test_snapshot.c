/* Snapshots: their contents are exact, complete, and their own copies. */

#define MTRACE_SYSTEM_ALLOC(size)        system_alloc(size)
#define MTRACE_SYSTEM_FREE(memory, size) system_free(memory, size)

#include <stddef.h>

/* The system's memory, counted; none when it is to fail. */
static void *system_alloc(size_t size);
static void system_free(void *memory, size_t size);

#include "support/test.h"

#include "support/exact_memory.h"

static size_t system_held;
static bool system_fails;

static void *system_alloc(size_t size) {
    void *memory = system_fails ? NULL : calloc(1, size);
    system_held += memory == NULL ? 0 : size;
    return memory;
}

static void system_free(void *memory, size_t size) {
    system_held -= size;
    free(memory);
}

static unsigned char tracer_memory[1 << 20];

static void start_with(bool serials, bool borrow_names) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 512;
    desc.max_sites = 64;
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    desc.serials = serials;
    desc.borrow_names = borrow_names;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static int setup(void **state) {
    (void)state;
    start_with(true, false);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    test_sound();
    mtrace_stop();
    test_fail_next = 0;
    system_fails = false;
    assert_int_equal(system_held, 0); /* every snapshot and statistics were given back */
    return 0;
}

static mtrace_snapshot *take(bool with_blocks) {
    mtrace_snapshot *snapshot = NULL;
    snapshot = test_take(with_blocks);
    assert_non_null(snapshot);
    return snapshot;
}

static mtrace_rows *by_line(mtrace_snapshot *s, mtrace_view view) {
    mtrace_rows *statistics;
    mtrace_snapshot_set_view(s, view);
    statistics = test_rows(s, MTRACE_BY_LINE);
    mtrace_snapshot_set_view(s, MTRACE_VIEW_LIVE);
    return statistics;
}

/* The counters of one line. */
static mtrace_row row_of(mtrace_snapshot *s, const char *file, uint32_t line) {
    mtrace_rows *statistics = by_line(s, MTRACE_VIEW_TOTAL);
    mtrace_row row = MTRACE_ZERO_;
    size_t i, found = 0;
    for (i = 0; i < statistics->count; i++) {
        const mtrace_row *r = &statistics->rows[i];
        if (strcmp(r->file, file) == 0 && r->line == line) {
            row = *r;
            found++;
        }
    }
    mtrace_rows_free(statistics);
    assert_int_equal(found, 1);
    return row;
}

static void expect_live(mtrace_snapshot *s, const char *file, uint32_t line, uint64_t size,
                        uint64_t count) {
    mtrace_rows *statistics = by_line(s, MTRACE_VIEW_LIVE);
    size_t i, found = 0;
    for (i = 0; i < statistics->count; i++) {
        const mtrace_row *r = &statistics->rows[i];
        if (strcmp(r->file, file) == 0 && r->line == line) {
            assert_int_equal(r->size, size);
            assert_int_equal(r->count, count);
            found++;
        }
    }
    mtrace_rows_free(statistics);
    assert_int_equal(found, count != 0 ? 1 : 0);
}

static void expect_ever(mtrace_snapshot *s, const char *file, uint32_t line, uint64_t size,
                        uint64_t count, uint64_t frees, uint64_t reallocs) {
    mtrace_row row = row_of(s, file, line);
    assert_int_equal(row.total_size, size);
    assert_int_equal(row.total_count, count);
    assert_int_equal(row.frees, frees);
    assert_int_equal(row.reallocs, reallocs);
}

static void expect_peak(mtrace_snapshot *s, const char *file, uint32_t line, uint64_t size,
                        uint64_t count) {
    mtrace_row row = row_of(s, file, line);
    assert_int_equal(row.peak_size, size);
    assert_int_equal(row.peak_count, count);
}

/* The block with that address or key in that domain, which must be there once. */
static mtrace_block block_of(const mtrace_snapshot *s, uint32_t domain, uintptr_t address) {
    mtrace_block block, found = MTRACE_ZERO_;
    size_t i, times = 0;
    for (i = 0; test_block(&block, s, i); i++) {
        if (block.address == address && block.domain == domain) {
            found = block;
            times++;
        }
    }
    assert_int_equal(i, mtrace_snapshot_get_parts(s).trace_count);
    assert_int_equal(times, 1);
    return found;
}

static void expect_block(const mtrace_snapshot *s, const void *address, uint64_t size,
                         uint64_t serial, const char *file, uint32_t line) {
    mtrace_block block = block_of(s, 0, (uintptr_t)address);
    assert_int_equal(block.size, size);
    assert_int_equal(block.serial, serial);
    assert_string_equal(block.file, file);
    assert_string_equal(block.function, "f");
    assert_null(block.type);
    assert_int_equal(block.line, line);
}

/* --- the counters of a story --- */

static void test_counters_of_a_story(void **state) {
    mtrace_site a = test_site("a.c", 1), b = test_site("b.c", 2), moved = test_site("a.c", 3);
    mtrace_snapshot *s;
    void *one, *two, *three, *four;
    (void)state;
    one = mtrace_malloc_at(100, &a);          /* 100 */
    two = mtrace_calloc_at(10, 20, &a);       /* 300 */
    three = mtrace_malloc_at(1000, &b);       /* 1300: the peak */
    mtrace_free_at(three, &b);                /* 300 */
    two = mtrace_realloc_at(two, 50, &moved); /* 150 */
    four = mtrace_malloc_at(0, &b);           /* 150 */
    s = take(true);
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 3);
    expect_live(s, "a.c", 1, 100, 1);
    expect_live(s, "a.c", 3, 50, 1);
    expect_live(s, "b.c", 2, 0, 1);
    expect_ever(s, "a.c", 1, 300, 2, 1, 0);
    expect_ever(s, "a.c", 3, 50, 1, 0, 1);
    expect_ever(s, "b.c", 2, 1000, 2, 1, 0);
    expect_peak(s, "a.c", 1, 300, 2);
    expect_peak(s, "b.c", 2, 1000, 1);
    expect_peak(s, "a.c", 3, 0, 0);
    mtrace_snapshot_free(s);

    two = mtrace_realloc_at(two, 5000, &moved); /* 5100: a new peak, now */
    s = take(false);
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 3);
    expect_live(s, "a.c", 3, 5000, 1);
    expect_ever(s, "a.c", 3, 5050, 2, 1, 2);
    expect_peak(s, "a.c", 1, 100, 1);
    expect_peak(s, "a.c", 3, 5000, 1);
    expect_peak(s, "b.c", 2, 0, 1);
    mtrace_snapshot_free(s);

    mtrace_free_at(one, NULL);
    mtrace_free_at(two, NULL);
    mtrace_free_at(four, NULL);
    s = take(true);
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 0);
    expect_live(s, "a.c", 1, 0, 0);
    expect_ever(s, "a.c", 1, 300, 2, 2, 0);
    expect_ever(s, "a.c", 3, 5050, 2, 2, 2);
    expect_ever(s, "b.c", 2, 1000, 2, 2, 0);
    expect_peak(s, "a.c", 3, 5000, 1);
    mtrace_snapshot_free(s);
}

/* The peak begins anew at reset_peak, with the bytes held then. */
static void test_peak_after_reset(void **state) {
    mtrace_site a = test_site("a.c", 1), b = test_site("b.c", 1);
    void *one = mtrace_malloc_at(1000, &a), *two = mtrace_malloc_at(10, &b);
    mtrace_snapshot *s;
    (void)state;
    mtrace_free_at(one, NULL);
    s = take(false);
    expect_peak(s, "a.c", 1, 1000, 1);
    mtrace_snapshot_free(s);
    mtrace_reset_peak();
    s = take(false);
    expect_peak(s, "a.c", 1, 0, 0);
    expect_peak(s, "b.c", 1, 10, 1);
    mtrace_snapshot_free(s);
    one = mtrace_malloc_at(20, &a);
    mtrace_free_at(one, NULL);
    mtrace_free_at(two, NULL);
    s = take(false);
    expect_peak(s, "a.c", 1, 20, 1);
    expect_peak(s, "b.c", 1, 10, 1);
    mtrace_snapshot_free(s);
}

/* A failed allocation leaves no trace, a failed realloc the old one. */
static void test_failures_do_not_count(void **state) {
    mtrace_site a = test_site("a.c", 1), b = test_site("b.c", 1);
    void *block = mtrace_malloc_at(10, &a);
    mtrace_snapshot *s;
    (void)state;
    test_fail_next = -1;
    assert_null(mtrace_malloc_at(20, &a));
    assert_null(mtrace_calloc_at(2, 20, &a));
    assert_null(mtrace_realloc_at(block, 30, &b));
    test_fail_next = 0;
    s = take(true);
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 1);
    expect_ever(s, "a.c", 1, 10, 1, 0, 0);
    expect_block(s, block, 10, 1, "a.c", 1);
    mtrace_snapshot_free(s);
    mtrace_free_at(block, NULL);
}

/* --- blocks --- */

enum { BLOCKS = 200 };

static void test_every_block_once(void **state) {
    mtrace_site site[3];
    void *blocks[BLOCKS];
    size_t i, n = 0;
    mtrace_snapshot *s;
    mtrace_block block;
    (void)state;
    for (i = 0; i < 3; i++) {
        site[i] = test_site("a.c", (uint32_t)i + 1);
    }
    for (i = 0; i < BLOCKS; i++) {
        blocks[i] = mtrace_malloc_at(i * 3, &site[i % 3]);
    }
    for (i = 0; i < BLOCKS; i += 2) {
        mtrace_free_at(blocks[i], NULL);
    }
    s = take(true);
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, BLOCKS / 2);
    for (i = 1; i < BLOCKS; i += 2) {
        expect_block(s, blocks[i], i * 3, i + 1, "a.c", (uint32_t)(i % 3) + 1);
    }
    while (test_block(&block, s, n)) {
        n++;
    }
    assert_int_equal(n, BLOCKS / 2);
    assert_false(test_block(&block, s, n));
    assert_false(test_block(&block, s, SIZE_MAX));
    for (i = 1; i < BLOCKS; i += 2) {
        mtrace_free_at(blocks[i], NULL);
    }
    expect_block(s, blocks[1], 3, 2, "a.c", 2); /* it remembers what is gone */
    mtrace_snapshot_free(s);
    s = take(true);
    assert_false(test_block(&block, s, 0));
    mtrace_snapshot_free(s);
    s = take(false);
    assert_false(mtrace_snapshot_get_parts(s).has_blocks);
    mtrace_snapshot_free(s);
}

/* A realloc is an allocation of its own; so is a key tracked again. */
static void test_serials(void **state) {
    mtrace_site a = test_site("a.c", 1);
    void *one = mtrace_malloc_at(1, &a), *two = mtrace_malloc_at(2, &a);
    mtrace_snapshot *s;
    (void)state;
    one = mtrace_realloc_at(one, 3, &a);
    assert_int_equal(mtrace_track_at(5, 77, 9, &a), MTRACE_OK);
    s = take(true);
    expect_block(s, two, 2, 2, "a.c", 1);
    expect_block(s, one, 3, 3, "a.c", 1);
    assert_int_equal(block_of(s, 5, 77).serial, 4);
    mtrace_snapshot_free(s);
    mtrace_free_at(one, NULL);
    mtrace_free_at(two, NULL);
    mtrace_stop();
    start_with(false, false);
    assert_int_equal(mtrace_track_at(5, 77, 9, &a), MTRACE_OK);
    s = take(true);
    assert_int_equal(block_of(s, 5, 77).serial, 0); /* not asked for */
    mtrace_snapshot_free(s);
}

/* The same key in two domains is two traces. */
static void test_same_key_in_two_domains(void **state) {
    mtrace_site a = test_site("a.c", 1), b = test_site("b.c", 1);
    mtrace_snapshot *s;
    (void)state;
    assert_int_equal(mtrace_track_at(1, 4096, 10, &a), MTRACE_OK);
    assert_int_equal(mtrace_track_at(2, 4096, 20, &a), MTRACE_OK);
    assert_int_equal(mtrace_track_at(0, 4096, 40, &b), MTRACE_OK);
    assert_int_equal(mtrace_track_at(65535, 4096, 80, &b), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 4096, 15, &b), MTRACE_OK); /* replaces the first */
    s = take(true);
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 4);
    assert_int_equal(block_of(s, 0, 4096).size, 40);
    assert_int_equal(block_of(s, 1, 4096).size, 15);
    assert_string_equal(block_of(s, 1, 4096).file, "b.c");
    assert_int_equal(block_of(s, 2, 4096).size, 20);
    assert_int_equal(block_of(s, 65535, 4096).size, 80);
    expect_live(s, "a.c", 1, 20, 1);
    expect_live(s, "b.c", 1, 135, 3);
    mtrace_snapshot_free(s);
    assert_int_equal(mtrace_untrack_at(2, 4096, NULL), MTRACE_OK);
    s = take(true);
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 3);
    assert_int_equal(block_of(s, 1, 4096).size, 15);
    mtrace_snapshot_free(s);
}

/* A location is its names, not their addresses: a line of a header is one row for all translation
   units. Other lines, files, functions, types and domains are other rows. */
static void test_same_place_from_two_units(void **state) {
    char file_one[] = "places.h", file_two[] = "places.h";
    char function_one[] = "make", function_two[] = "make";
    char type_one[] = "int", type_two[] = "int";
    mtrace_site one = test_site(file_one, 5), two = test_site(file_two, 5), three, four;
    mtrace_snapshot *s;
    mtrace_rows *statistics;
    (void)state;
    one.function = function_one;
    two.function = function_two;
    one.type = type_one;
    two.type = type_two;
    three = one;
    three.line = 6;
    three.cache = NULL; /* the cache is of one call site */
    four = one;
    four.cache = NULL;
    four.type = NULL;
    assert_int_equal(mtrace_track_at(1, 1, 10, &one), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 2, 20, &two), MTRACE_OK);
    assert_int_equal(mtrace_get_info().sites, 1);
    assert_int_equal(mtrace_track_at(1, 3, 40, &three), MTRACE_OK);
    assert_int_equal(mtrace_get_info().sites, 2);
    s = take(true);
    statistics = by_line(s, MTRACE_VIEW_LIVE);
    assert_int_equal(statistics->count, 2);
    expect_live(s, "places.h", 5, 30, 2);
    expect_live(s, "places.h", 6, 40, 1);
    assert_ptr_equal(block_of(s, 1, 1).file, block_of(s, 1, 2).file);
    assert_string_equal(block_of(s, 1, 2).type, "int");
    mtrace_rows_free(statistics);
    mtrace_snapshot_free(s);
    assert_int_equal(mtrace_track_at(1, 4, 80, &four), MTRACE_OK);
    assert_int_equal(mtrace_get_info().sites, 3); /* another site, of the same line */
    s = take(false);
    expect_live(s, "places.h", 5, 110, 3);
    mtrace_snapshot_free(s);
}

/* --- a life of its own --- */

static void trace_names_on_the_stack(void) {
    char file[] = "stack.c", function[] = "stack_function", type[] = "stack_type";
    mtrace_site site = test_site(file, 12);
    site.function = function;
    site.type = type;
    assert_int_equal(mtrace_track_at(3, 4096, 123, &site), MTRACE_OK);
    memset(file, 'X', sizeof file - 1);
    memset(function, 'X', sizeof function - 1);
    memset(type, 'X', sizeof type - 1);
}

static void expect_stack_block(const mtrace_snapshot *s) {
    mtrace_block block = block_of(s, 3, 4096);
    mtrace_rows *statistics;
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 1);
    assert_int_equal(block.size, 123);
    assert_int_equal(block.serial, 1);
    assert_string_equal(block.file, "stack.c");
    assert_string_equal(block.function, "stack_function");
    assert_string_equal(block.type, "stack_type");
    assert_int_equal(block.line, 12);
    statistics = test_rows(s, MTRACE_BY_LINE);
    assert_int_equal(statistics->count, 1);
    assert_int_equal(statistics->rows[0].size, 123);
    assert_string_equal(statistics->rows[0].file, "stack.c");
    assert_string_equal(statistics->rows[0].function, "stack_function");
    assert_string_equal(statistics->rows[0].type, "stack_type");
    assert_int_equal(statistics->traced_memory.current, 123);
    assert_int_equal(statistics->info.live, 1);
    mtrace_rows_free(statistics);
}

static void test_outlives_the_session(void **state) {
    mtrace_site other = test_site("other.c", 99);
    mtrace_snapshot *s, *now;
    mtrace_rows *diff;
    (void)state;
    trace_names_on_the_stack();
    s = take(true);
    expect_stack_block(s);
    mtrace_clear();
    expect_stack_block(s);
    mtrace_stop();
    expect_stack_block(s);
    memset(tracer_memory, 'X', sizeof tracer_memory);
    expect_stack_block(s);
    start_with(true, false);
    assert_int_equal(mtrace_track_at(3, 4096, 7, &other), MTRACE_OK);
    expect_stack_block(s);
    now = take(true);
    assert_int_equal(mtrace_snapshot_compare_to(&diff, now, s, MTRACE_BY_LINE, NULL), MTRACE_OK);
    assert_int_equal(diff->count, 2);
    assert_string_equal(diff->rows[0].file, "stack.c");
    assert_int_equal(diff->rows[0].size_diff, -123);
    assert_string_equal(diff->rows[1].file, "other.c");
    assert_int_equal(diff->rows[1].size_diff, 7);
    mtrace_rows_free(diff);
    mtrace_snapshot_free(now);
    mtrace_snapshot_free(s);
}

/* Names that no table holds: the library's, and names that found no room. */
static void test_names_that_are_not_copied(void **state) {
    mtrace_site long_name = test_site("this_name_is_longer_than_the_room.c", 3);
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *s;
    (void)state;
    mtrace_stop();
    desc.max_blocks = 32;
    desc.max_sites = 8;
    desc.name_bytes = 4;
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 1, 1, NULL), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 2, 2, &long_name), MTRACE_OK);
    s = take(true);
    mtrace_stop();
    memset(tracer_memory, 'X', sizeof tracer_memory);
    assert_string_equal(block_of(s, 1, 1).file, "<unknown>");
    assert_null(block_of(s, 1, 1).function);
    assert_int_equal(block_of(s, 1, 1).line, 0);
    assert_int_equal(strncmp(block_of(s, 1, 2).file, "<unknown ", 9), 0);
    assert_int_equal(strlen(block_of(s, 1, 2).file), strlen("<unknown 1234abcd>"));
    assert_string_equal(block_of(s, 1, 2).function, "f");
    assert_int_equal(block_of(s, 1, 2).line, 3);
    mtrace_snapshot_free(s);
    memset(tracer_memory, 0, sizeof tracer_memory);
}

/* Borrowed names are the caller's own, in the snapshot too. */
static void test_borrowed_names(void **state) {
    static const char file[] = "borrowed.c";
    mtrace_site site = test_site(file, 1);
    mtrace_snapshot *s;
    (void)state;
    mtrace_stop();
    start_with(false, true);
    assert_int_equal(mtrace_track_at(1, 1, 1, &site), MTRACE_OK);
    s = take(true);
    assert_ptr_equal(block_of(s, 1, 1).file, file);
    mtrace_stop();
    assert_ptr_equal(block_of(s, 1, 1).file, file);
    mtrace_snapshot_free(s);
}

/* Each of a sequence shows its own moment, and keeps to it. */
static void test_sequence(void **state) {
    mtrace_site a = test_site("a.c", 1);
    mtrace_snapshot *first, *second, *third;
    void *block;
    (void)state;
    first = take(true);
    block = mtrace_malloc_at(10, &a);
    second = take(true);
    block = mtrace_realloc_at(block, 3000, &a);
    third = take(true);
    mtrace_free_at(block, NULL);
    assert_int_equal(mtrace_snapshot_get_parts(first).trace_count, 0);
    assert_int_equal(mtrace_snapshot_get_parts(second).trace_count, 1);
    expect_live(second, "a.c", 1, 10, 1);
    expect_ever(second, "a.c", 1, 10, 1, 0, 0);
    expect_live(third, "a.c", 1, 3000, 1);
    expect_ever(third, "a.c", 1, 3010, 2, 1, 1);
    expect_block(third, block, 3000, 2, "a.c", 1);
    mtrace_snapshot_free(first); /* in any order */
    expect_live(second, "a.c", 1, 10, 1);
    mtrace_snapshot_free(third);
    expect_live(second, "a.c", 1, 10, 1);
    mtrace_snapshot_free(second);
    mtrace_snapshot_free(NULL);
}

/* Paused, one can look on. */
static void test_paused(void **state) {
    mtrace_site a = test_site("a.c", 1);
    mtrace_snapshot *s;
    (void)state;
    assert_int_equal(mtrace_track_at(1, 1, 10, &a), MTRACE_OK);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    s = take(true);
    assert_int_equal(block_of(s, 1, 1).size, 10);
    mtrace_snapshot_free(s);
}

static void test_stopped(void **state) {
    unsigned char room[1024];
    mtrace_buffer memory;
    mtrace_snapshot *s = (mtrace_snapshot *)(void *)room;
    (void)state;
    memory.data = room;
    memory.size = sizeof room;
    mtrace_stop();
    assert_int_equal(mtrace_snapshot_take(&s, true, NULL), MTRACE_ERR_NOT_TRACING);
    assert_null(s);
    s = (mtrace_snapshot *)(void *)room;
    assert_int_equal(mtrace_snapshot_take(&s, false, &memory), MTRACE_ERR_NOT_TRACING);
    assert_null(s);
}

/* --- memory --- */

/* Memory of any size and at any address, from the bytes that a call asks for. */
static void test_any_memory(void **state) {
    static unsigned char memory[16384];
    mtrace_site a = test_site("a.c", 1);
    mtrace_buffer asked = MTRACE_ZERO_;
    mtrace_snapshot *s;
    size_t more, at;
    (void)state;
    assert_int_equal(mtrace_track_at(1, 1, 10, &a), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 2, 10, &a), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_take(&s, true, &asked), MTRACE_ERR_NO_MEMORY);
    assert_true(asked.size < 8192);
    for (more = 0; more < 400; more++) {
        for (at = 0; at < 64; at++) {
            mtrace_buffer buffer;
            buffer.data = memory + at;
            buffer.size = asked.size + more;
            assert_int_equal(mtrace_snapshot_take(&s, true, &buffer), MTRACE_OK);
        }
    }
}

/* In the tracer's memory: counted while it is held; when there is none, nothing is left behind. */
static void test_tracers_memory(void **state) {
    mtrace_site a = test_site("a.c", 1);
    mtrace_snapshot *s, *failed;
    mtrace_rows *statistics;
    size_t before = mtrace_get_tracer_memory(), held;
    (void)state;
    assert_int_equal(before, sizeof tracer_memory);
    assert_int_equal(mtrace_track_at(1, 1, 10, &a), MTRACE_OK);
    s = test_take(true);
    held = system_held;
    assert_true(held > 0);
    assert_int_equal(mtrace_get_tracer_memory(), before + held);
    system_fails = true;
    failed = s;
    assert_int_equal(mtrace_snapshot_take(&failed, false, NULL), MTRACE_ERR_NO_MEMORY);
    assert_null(failed);
    failed = s;
    assert_int_equal(mtrace_snapshot_take(&failed, true, NULL), MTRACE_ERR_NO_MEMORY);
    assert_null(failed);
    assert_int_equal(mtrace_snapshot_statistics(&statistics, s, MTRACE_BY_LINE, NULL),
                     MTRACE_ERR_NO_MEMORY);
    assert_null(statistics);
    assert_int_equal(mtrace_snapshot_compare_to(&statistics, s, s, MTRACE_BY_LINE, NULL),
                     MTRACE_ERR_NO_MEMORY);
    assert_null(statistics);
    assert_int_equal(mtrace_print_leaks(), MTRACE_ERR_NO_MEMORY);
    assert_int_equal(mtrace_get_tracer_memory(), before + held);
    system_fails = false;
    assert_int_equal(block_of(s, 1, 1).size, 10);
    mtrace_snapshot_free(s);
    assert_int_equal(mtrace_get_tracer_memory(), before);
    assert_int_equal(system_held, 0);
}

static mtrace_result make_snapshot_in(mtrace_buffer *memory, const void *inputs) {
    bool with_blocks = *(const bool *)inputs;
    mtrace_snapshot *s = (mtrace_snapshot *)memory->data;
    mtrace_result result = mtrace_snapshot_take(&s, with_blocks, memory);
    if (result == MTRACE_OK) {
        assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 9);
        expect_live(s, "a.c", 1, 45, 9);
        if (with_blocks) {
            assert_int_equal(block_of(s, 1, 9).size, 9);
        }
        mtrace_snapshot_free(s); /* leaves it alone */
        expect_live(s, "a.c", 1, 45, 9);
    } else {
        assert_null(s);
    }
    return result;
}

static void expect_exact_memory(bool with_blocks) {
    test_exact_memory(make_snapshot_in, &with_blocks);
}

static void test_callers_memory(void **state) {
    mtrace_site a = test_site("a.c", 1);
    uintptr_t key;
    (void)state;
    for (key = 1; key <= 9; key++) {
        assert_int_equal(mtrace_track_at(1, key, key, &a), MTRACE_OK);
    }
    expect_exact_memory(true);
    expect_exact_memory(false);
    assert_true(test_snapshot_size(true) > test_snapshot_size(false));
    assert_int_equal(mtrace_get_tracer_memory(), sizeof tracer_memory);
}

/* Statistics that were made before the view changed keep theirs. */
static void test_view_is_the_snapshots(void **state) {
    mtrace_site a = test_site("a.c", 1);
    mtrace_snapshot *s;
    mtrace_rows *live, *total;
    (void)state;
    assert_int_equal(mtrace_track_at(1, 1, 10, &a), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 1, 20, &a), MTRACE_OK);
    s = take(false);
    live = by_line(s, MTRACE_VIEW_LIVE);
    total = by_line(s, MTRACE_VIEW_TOTAL);
    assert_int_equal(live->view, MTRACE_VIEW_LIVE);
    assert_int_equal(live->rows[0].size, 20);
    assert_int_equal(live->rows[0].count, 1);
    assert_int_equal(total->view, MTRACE_VIEW_TOTAL);
    assert_int_equal(total->rows[0].size, 30);
    assert_int_equal(total->rows[0].count, 2);
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 1); /* whatever the view */
    mtrace_snapshot_set_view(s, MTRACE_VIEW_TOTAL);
    assert_int_equal(mtrace_snapshot_get_parts(s).trace_count, 1);
    mtrace_rows_free(live);
    mtrace_rows_free(total);
    mtrace_snapshot_free(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_counters_of_a_story),
        TEST(test_peak_after_reset),
        TEST(test_failures_do_not_count),
        TEST(test_every_block_once),
        TEST(test_serials),
        TEST(test_same_key_in_two_domains),
        TEST(test_same_place_from_two_units),
        TEST(test_outlives_the_session),
        TEST(test_names_that_are_not_copied),
        TEST(test_borrowed_names),
        TEST(test_sequence),
        TEST(test_paused),
        TEST(test_stopped),
        TEST(test_any_memory),
        TEST(test_tracers_memory),
        TEST(test_callers_memory),
        TEST(test_view_is_the_snapshots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

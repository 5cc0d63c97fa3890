/* Recording: what each call does to the traces, block by block. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "support/test.h"
#include "support/tools.h"

TEST_SANITIZER_OPTIONS

static mtrace_site site_a, site_b;

/* Two sites of the heap, record.c:1 and :2, and a tracer with serials. */
static void start(size_t capacity) {
    mtrace_desc desc = MTRACE_ZERO_;
    site_a = test_site("record.c", 1);
    site_b = test_site("record.c", 2);
    desc.max_blocks = capacity / 2;
    desc.max_sites = 32;
    desc.serials = true;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static uint64_t serial_of(const void *block) {
    mtrace_block found = MTRACE_ZERO_;
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    return found.serial;
}

static void assert_bytes(const void *block, int value, size_t size) {
    const unsigned char *bytes = (const unsigned char *)block;
    size_t i;
    for (i = 0; i < size; i++) {
        assert_int_equal(bytes[i], value);
    }
}

/* A row of record.c: "live size, count; in all; frees, reallocs; dropped". */
static void assert_row(uint32_t line, const char *wanted) {
    mtrace_row r = test_row("record.c", line);
    char text[160];
    snprintf(text, sizeof text, "%llu in %llu; %llu in %llu; %llu, %llu; %llu in %llu",
             (unsigned long long)r.size, (unsigned long long)r.count,
             (unsigned long long)r.total_size, (unsigned long long)r.total_count,
             (unsigned long long)r.frees, (unsigned long long)r.reallocs,
             (unsigned long long)r.dropped_size, (unsigned long long)r.dropped_count);
    assert_string_equal(text, wanted);
}

/* --- tracked keys --- */

static void assert_tracked(uint32_t domain, uintptr_t key, uint64_t size, uint32_t line) {
    mtrace_block found = MTRACE_ZERO_;
    test_sound();
    assert_int_equal(mtrace_find_tracked(&found, domain, key, NULL, 0), MTRACE_OK);
    assert_int_equal(found.address, key);
    assert_int_equal(found.size, size);
    assert_int_equal(found.domain, domain);
    assert_int_equal(found.line, line);
}

static void assert_not_tracked(uint32_t domain, uintptr_t key) {
    mtrace_block found;
    assert_int_equal(mtrace_find_tracked(&found, domain, key, NULL, 0), MTRACE_ERR_NOT_FOUND);
}

static void test_any_key(void **state) {
    static const uintptr_t keys[] = {
        0, 1, 2, 31, 32, 4095, 4096, UINTPTR_MAX / 2, UINTPTR_MAX - 1, UINTPTR_MAX};
    enum { KEYS = sizeof keys / sizeof keys[0] };
    size_t i;
    (void)state;
    start(64);
    for (i = 0; i < KEYS; i++) {
        assert_int_equal(mtrace_track_at(1, keys[i], i, &site_a), MTRACE_OK);
        assert_tracked(1, keys[i], i, 1);
    }
    test_held(45, 45, KEYS);
    for (i = 0; i < KEYS; i++) {
        assert_tracked(1, keys[i], i, 1);
        assert_int_equal(mtrace_untrack_at(1, keys[i], &site_a), MTRACE_OK);
        assert_not_tracked(1, keys[i]);
        assert_int_equal(mtrace_untrack_at(1, keys[i], &site_a), MTRACE_ERR_NOT_FOUND);
    }
    test_held(0, 45, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

static void test_tracked_twice(void **state) {
    (void)state;
    start(64);
    assert_int_equal(mtrace_track_at(1, 10, 100, &site_a), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 10, 30, &site_b), MTRACE_OK);
    assert_tracked(1, 10, 30, 2);
    test_held(30, 100, 1); /* never both at once */
    assert_row(1, "0 in 0; 100 in 1; 1, 0; 0 in 0");
    assert_row(2, "30 in 1; 30 in 1; 0, 0; 0 in 0");
    assert_int_equal(mtrace_get_info().stale_replaced, 0);
    assert_int_equal(mtrace_untrack_at(1, 10, &site_a), MTRACE_OK);
    assert_not_tracked(1, 10);
    test_held(0, 100, 0);
}

static void test_same_key_in_two_domains(void **state) {
    (void)state;
    start(64);
    assert_int_equal(mtrace_track_at(1, 10, 100, &site_a), MTRACE_OK);
    assert_int_equal(mtrace_track_at(2, 10, 200, &site_a), MTRACE_OK);
    assert_int_equal(mtrace_track_at(0, 10, 400, &site_a), MTRACE_OK);
    test_held(700, 700, 3);
    assert_tracked(1, 10, 100, 1);
    assert_tracked(2, 10, 200, 1);
    assert_tracked(0, 10, 400, 1);
    assert_int_equal(mtrace_untrack_at(1, 10, &site_a), MTRACE_OK);
    assert_not_tracked(1, 10);
    test_held(600, 700, 2);
    assert_int_equal(mtrace_track_at(2, 10, 1, &site_a), MTRACE_OK);
    test_held(401, 700, 2);
    assert_int_equal(mtrace_untrack_at(0, 10, &site_a), MTRACE_OK);
    assert_tracked(2, 10, 1, 1);
    assert_int_equal(mtrace_untrack_at(2, 10, &site_a), MTRACE_OK);
    test_held(0, 700, 0);
}

static void test_domains(void **state) {
    mtrace_block found;
    (void)state;
    start(64);
    assert_int_equal(mtrace_track_at(65535, 10, 100, &site_a), MTRACE_OK);
    assert_tracked(65535, 10, 100, 1);
    assert_int_equal(mtrace_track_at(UINT32_MAX - 1, 10, 300, &site_a), MTRACE_OK);
    assert_tracked(UINT32_MAX - 1, 10, 300, 1);
    assert_int_equal(mtrace_untrack_at(UINT32_MAX - 1, 10, &site_a), MTRACE_OK);
    assert_int_equal(mtrace_track_at(UINT32_MAX, 10, 100, &site_a), MTRACE_ERR_ARGUMENT);
    test_held(100, 400, 1);
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    assert_int_equal(mtrace_find_tracked(&found, 65536, 10, NULL, 0), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(mtrace_untrack_at(65536, 10, &site_a), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(mtrace_untrack_at(65535, 10, &site_a), MTRACE_OK);
    test_held(0, 400, 0);
}

static void test_track_while_not_tracing(void **state) {
    (void)state;
    assert_int_equal(MT_TRACK(1, 1, 1), MTRACE_ERR_NOT_TRACING);
    assert_int_equal(MT_UNTRACK(1, 1), MTRACE_ERR_NOT_TRACING);
    start(64);
    assert_int_equal(MT_TRACK(1, 1, 1), MTRACE_OK);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    assert_int_equal(MT_TRACK(1, 2, 1), MTRACE_ERR_NOT_TRACING);
    assert_int_equal(MT_TRACK(1, 1, 5), MTRACE_ERR_NOT_TRACING); /* and is not replaced */
    test_held(1, 1, 1);
    assert_int_equal(MT_UNTRACK(1, 1), MTRACE_OK);
    test_held(0, 1, 0);
}

/* Keys may be pointers, integers, constants. */
static void test_track_macros(void **state) {
    int here = 0;
    uintptr_t handle = 77;
    (void)state;
    start(64);
    assert_int_equal(MT_TRACK(1, &here, sizeof here), MTRACE_OK);
    assert_int_equal(MT_TRACK(1, handle, 10), MTRACE_OK);
    assert_int_equal(MT_TRACK(1, 78, 20), MTRACE_OK);
    assert_tracked(1, (uintptr_t)&here, sizeof here, __LINE__ - 3);
    test_held(30 + sizeof here, 30 + sizeof here, 3);
    assert_int_equal(MT_UNTRACK(1, &here), MTRACE_OK);
    assert_int_equal(MT_UNTRACK(1, handle), MTRACE_OK);
    assert_int_equal(MT_UNTRACK(1, 78), MTRACE_OK);
    test_held(0, 30 + sizeof here, 0);
}

/* Domain 0 is the heap: there a key is a block's address, and MT_FREE ends its trace. */
static void test_domain_0_is_the_heap(void **state) {
    void *block = malloc(100);
    (void)state;
    start(64);
    assert_int_equal(mtrace_track_at(0, (uintptr_t)block, 100, &site_a), MTRACE_OK);
    test_traced(block, 100, "record.c", 1);
    block = mtrace_realloc_at(block, 200, &site_b);
    test_traced(block, 200, "record.c", 2);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    assert_int_equal(mtrace_track_at(3, (uintptr_t)block, 7, &site_a), MTRACE_OK);
    mtrace_free_at(block, &site_b);
    test_held(7, 207, 1); /* the free is not domain 3's affair */
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    assert_int_equal(mtrace_untrack_at(3, (uintptr_t)block, &site_a), MTRACE_OK);
    block = mtrace_malloc_at(50, &site_a);
    assert_int_equal(mtrace_untrack_at(0, (uintptr_t)block, &site_a), MTRACE_OK);
    test_untraced(block);
    test_held(0, 207, 0);
    mtrace_free_at(block, &site_b);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
}

/* --- realloc --- */

static void test_realloc_sizes(void **state) {
    char *block;
    (void)state;
    start(64);
    block = (char *)mtrace_realloc_at(NULL, 100, &site_a);
    test_traced(block, 100, "record.c", 1);
    assert_row(1, "100 in 1; 100 in 1; 0, 0; 0 in 0"); /* a malloc */
    memset(block, 0x33, 100);
    block = (char *)mtrace_realloc_at(block, 5000, &site_b); /* grows */
    assert_bytes(block, 0x33, 100);
    test_traced(block, 5000, "record.c", 2);
    test_held(5000, 5000, 1); /* the moment with both is not in the peak */
    assert_row(1, "0 in 0; 100 in 1; 1, 0; 0 in 0");
    assert_row(2, "5000 in 1; 5000 in 1; 0, 1; 0 in 0");
    block = (char *)mtrace_realloc_at(block, 40, &site_b); /* shrinks */
    assert_bytes(block, 0x33, 40);
    test_traced(block, 40, "record.c", 2);
    test_held(40, 5000, 1);
    assert_row(2, "40 in 1; 5040 in 2; 1, 2; 0 in 0");
    mtrace_free_at(block, &site_a);
    test_held(0, 5000, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

/* Neighbours keep a block from growing in place: the trace goes along to the new address. */
static void test_realloc_moves(void **state) {
    void *blocks[16];
    uintptr_t old;
    int i, moved = 0;
    (void)state;
    start(64);
    for (i = 0; i < 16; i++) {
        blocks[i] = mtrace_malloc_at(64, &site_a);
    }
    for (i = 0; i < 16; i++) {
        old = (uintptr_t)blocks[i];
        blocks[i] = mtrace_realloc_at(blocks[i], 2000, &site_b);
        if ((uintptr_t)blocks[i] != old) {
            mtrace_block found;
            moved++;
            assert_int_equal(mtrace_find_tracked(&found, 0, old, NULL, 0), MTRACE_ERR_NOT_FOUND);
        }
        test_traced(blocks[i], 2000, "record.c", 2);
        test_held((uint64_t)(64 * (15 - i) + 2000 * (i + 1)),
                  (uint64_t)(64 * (15 - i) + 2000 * (i + 1)), 16);
    }
    assert_true(moved > 0);
    for (i = 0; i < 16; i++) {
        mtrace_free_at(blocks[i], &site_a);
    }
    test_held(0, 32000, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    assert_int_equal(mtrace_get_info().stale_replaced, 0);
}

static void test_realloc_of_size_0(void **state) {
    void *block;
    (void)state;
    start(64);
    block = mtrace_malloc_at(100, &site_a);
    assert_null(mtrace_realloc_at(block, 0, &site_b)); /* freed */
    test_held(0, 100, 0);
    assert_row(1, "0 in 0; 100 in 1; 1, 0; 0 in 0");
    assert_int_equal(test_row("record.c", 2).total_count, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    assert_null(mtrace_realloc_at(malloc(1), 0, &site_b));
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    test_held(0, 100, 0);
}

/* A realloc that fails leaves the block and its trace as they were: size, site, serial, counters.
 */
static void test_realloc_fails(void **state) {
    void *block, *other;
    (void)state;
    start(64);
    block = mtrace_malloc_at(100, &site_a);
    other = mtrace_malloc_at(7, &site_b);
    memset(block, 0x44, 100);
    test_fail_next = 1;
    assert_null(mtrace_realloc_at(block, 200, &site_b));
    assert_int_equal(test_fail_next, 0);
    test_traced(block, 100, "record.c", 1);
    assert_int_equal(serial_of(block), 1);
    assert_bytes(block, 0x44, 100);
    test_held(107, 107, 2);
    assert_row(1, "100 in 1; 100 in 1; 0, 0; 0 in 0");
    assert_row(2, "7 in 1; 7 in 1; 0, 0; 0 in 0");
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    test_fail_next = 1;
    assert_null(mtrace_reallocarray_at(block, 2, 300, &site_b));
    test_traced(block, 100, "record.c", 1);
    mtrace_free_at(block, &site_a);
    mtrace_free_at(other, &site_a);
    test_held(0, 107, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

/* A block that has no trace is traced from its realloc on, and counted as foreign. */
static void test_realloc_of_untraced(void **state) {
    void *block = malloc(10), *untraced = malloc(10);
    (void)state;
    start(64);
    block = mtrace_realloc_at(block, 500, &site_a);
    test_traced(block, 500, "record.c", 1);
    test_held(500, 500, 1);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    assert_int_equal(test_row("record.c", 1).count, 1);
    assert_int_equal(test_row("record.c", 1).frees, 0);
    test_fail_next = 1;
    assert_null(mtrace_realloc_at(untraced, 500, &site_a)); /* fails: as untraced as before */
    test_untraced(untraced);
    test_held(500, 500, 1);
    free(untraced);
    mtrace_free_at(block, &site_a);
    test_held(0, 500, 0);
}

/* --- products --- */

static void test_overflow(void **state) {
    volatile size_t half = SIZE_MAX / 2 + 1;
    void *block;
    (void)state;
    start(64);
    block = mtrace_malloc_at(10, &site_a);
    assert_null(mtrace_calloc_at(half, 2, &site_a)); /* the product would be 0 */
    assert_null(mtrace_calloc_at(2, half, &site_a));
    assert_null(mtrace_calloc_at(half + 1, 2, &site_a)); /* 2 */
    assert_null(MT_CALLOC(half, 4));
    assert_null(mtrace_reallocarray_at(NULL, half, 2, &site_a));
    assert_null(mtrace_reallocarray_at(block, half, 2, &site_b));
    assert_null(mtrace_reallocarray_at(block, half + 5, 2, &site_b));
    assert_null(MT_REALLOCARRAY(block, 2, half));
    test_traced(block, 10, "record.c", 1);
    assert_int_equal(serial_of(block), 1);
    test_held(10, 10, 1);
    assert_int_equal(mtrace_get_info().sites, 4);
    assert_int_equal(mtrace_get_info().failed_count, 8);
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    block = mtrace_reallocarray_at(block, 6, 7, &site_b);
    test_traced(block, 42, "record.c", 2);
    block = mtrace_reallocarray_at(block, 3, 4, &site_b);
    test_traced(block, 12, "record.c", 2);
    test_held(12, 42, 1);
    mtrace_free_at(block, &site_a);
    block = mtrace_calloc_at(6, 7, &site_a);
    assert_bytes(block, 0, 42);
    test_traced(block, 42, "record.c", 1);
    mtrace_free_at(block, &site_a);
    test_held(0, 42, 0);
}

/* --- strings --- */

static void test_strdup(void **state) {
    static const char not_terminated[4] = {'f', 'o', 'u', 'r'};
    static const struct {
        const char *text;
        size_t most; /* of a strndup; 0: a strdup */
        const char *wanted;
    } copies[] = {
        {"hello, world", 0, "hello, world"},
        {"", 0, ""},
        {"hello", 3, "hel"},
        {"hello", 5, "hello"},
        {"hello", 1000, "hello"},
        {not_terminated, 4, "four"},
    };
    char *text;
    size_t i;
    (void)state;
    start(64);
    for (i = 0; i < sizeof copies / sizeof *copies; i++) {
        text = copies[i].most == 0 ? mtrace_strndup_at(copies[i].text, SIZE_MAX, &site_a)
                                   : mtrace_strndup_at(copies[i].text, copies[i].most, &site_a);
        assert_string_equal(text, copies[i].wanted);
        test_traced(text, strlen(copies[i].wanted) + 1, "record.c", 1);
        MT_FREE(text);
    }
    text = mtrace_strndup_at("hello", 0, &site_a);
    assert_string_equal(text, "");
    test_traced(text, 1, "record.c", 1);
    MT_FREE(text);
    test_held(0, 13, 0);
    mtrace_stop();
    text = MT_STRDUP("stopped"); /* the same without a tracer */
    assert_string_equal(text, "stopped");
    MT_FREE(text);
    text = MT_STRNDUP("stopped", 4);
    assert_string_equal(text, "stop");
    MT_FREE(text);
}

/* --- alignment --- */

static void test_aligned_blocks(void **state) {
    static const size_t alignments[] = {16, 64, 4096, 65536};
    size_t i;
    (void)state;
    start(64);
    for (i = 0; i < sizeof alignments / sizeof alignments[0]; i++) {
        size_t alignment = alignments[i];
        void *block = mtrace_aligned_alloc_at(alignment, 2 * alignment, &site_a);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % alignment, 0);
        test_traced(block, 2 * alignment, "record.c", 1);
        memset(block, 0x66, 2 * alignment);
        block = mtrace_realloc_at(block, 3 * alignment, &site_b);
        assert_bytes(block, 0x66, 2 * alignment);
        test_traced(block, 3 * alignment, "record.c", 2);
        mtrace_free_at(block, &site_b);
        test_held(0, 3 * alignment, 0);
    }
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

/* --- serials --- */

static void test_serials(void **state) {
    mtrace_block found = MTRACE_ZERO_;
    void *a, *b;
    (void)state;
    start(64);
    a = mtrace_malloc_at(1, &site_a);
    b = mtrace_malloc_at(1, &site_a);
    assert_int_equal(serial_of(a), 1);
    assert_int_equal(serial_of(b), 2);
    assert_int_equal(mtrace_track_at(1, 5, 5, &site_a), MTRACE_OK);
    assert_int_equal(mtrace_find_tracked(&found, 1, 5, NULL, 0), MTRACE_OK);
    assert_int_equal(found.serial, 3);
    mtrace_free_at(a, &site_a);
    a = mtrace_malloc_at(1, &site_a); /* perhaps the same address; another allocation */
    assert_int_equal(serial_of(a), 4);
    b = mtrace_realloc_at(b, 100, &site_b); /* allocates, too */
    assert_int_equal(serial_of(b), 5);
    assert_int_equal(serial_of(a), 4);
    mtrace_free_at(a, &site_a);
    mtrace_free_at(b, &site_a);
    test_held(5, 106, 1);
    mtrace_stop();
    start(64);
    a = mtrace_malloc_at(1, &site_a);
    assert_int_equal(serial_of(a), 1); /* each session counts anew */
    mtrace_free_at(a, &site_a);
}

/* --- full table --- */

/* Whether a table of that capacity fills up before the first block is dropped. */
static bool probes_all(size_t capacity) {
    return capacity <= test_max_probe();
}

static void fill_table(size_t capacity) {
    void *blocks[64], *more[3];
    size_t i;
    mtrace_row row;
    start(capacity);
    for (i = 0; i < capacity; i++) {
        blocks[i] = mtrace_malloc_at(100 + i, &site_a);
        test_traced(blocks[i], 100 + i, "record.c", 1);
        assert_int_equal(mtrace_get_info().live, i + 1);
        test_sound();
    }
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    for (i = 0; i < 3; i++) { /* handed out, not traced, counted where they came from */
        more[i] = i < 2 ? mtrace_malloc_at(1000 + i, &site_b) : mtrace_calloc_at(10, 3, &site_a);
        assert_non_null(more[i]);
        memset(more[i], 1, i < 2 ? 1000 + i : 30);
        test_untraced(more[i]);
        test_sound();
    }
    assert_int_equal(mtrace_track_at(1, 1, 50, &site_b), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_get_info().dropped_count, 4);
    assert_int_equal(mtrace_get_info().dropped_bytes, 1000 + 1001 + 30 + 50);
    assert_int_equal(mtrace_get_info().live, capacity);
    assert_row(2, "0 in 0; 0 in 0; 0, 0; 2051 in 3");
    row = test_row("record.c", 1);
    assert_int_equal(row.dropped_count, 1);
    assert_int_equal(row.dropped_size, 30);
    assert_int_equal(row.count, capacity);
    for (i = 0; i < capacity; i++) { /* nothing was evicted */
        test_traced(blocks[i], 100 + i, "record.c", 1);
    }
    blocks[0] = mtrace_realloc_at(blocks[0], 3000, &site_a); /* needs no more than its own slot */
    test_traced(blocks[0], 3000, "record.c", 1);
    assert_int_equal(mtrace_get_info().dropped_count, 4);
    more[0] = mtrace_realloc_at(more[0], 2000, &site_b); /* dropped before, dropped again */
    test_untraced(more[0]);
    assert_int_equal(mtrace_get_info().dropped_count, 5);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    mtrace_free_at(blocks[capacity - 1], &site_a);
    blocks[capacity - 1] = mtrace_malloc_at(5, &site_b); /* there is room again */
    test_traced(blocks[capacity - 1], 5, "record.c", 2);
    assert_int_equal(mtrace_get_info().dropped_count, 5);
    for (i = 0; i < 3; i++) {
        mtrace_free_at(more[i], &site_a);
    }
    assert_int_equal(mtrace_get_info().foreign_frees, 4);
    for (i = 0; i < capacity; i++) {
        mtrace_free_at(blocks[i], &site_a);
        test_sound();
    }
    assert_int_equal(mtrace_get_info().foreign_frees, 4);
    assert_int_equal(mtrace_get_info().high_water, capacity);
    assert_int_equal(mtrace_get_info().live, 0);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    mtrace_stop();
}

static void test_full_table(void **state) {
    size_t capacity;
    (void)state;
    for (capacity = 4; capacity <= 64; capacity *= 2) {
        if (probes_all(capacity)) {
            fill_table(capacity);
        }
    }
}

/* Every slot can be used. Blocks dropped until then are counted, and nothing is lost. */
static void test_every_slot(void **state) {
    size_t capacity;
    (void)state;
    for (capacity = 4; capacity <= 64; capacity *= 2) {
        uintptr_t key;
        uint64_t tried = 0, found = 0;
        start(capacity);
        for (key = 0; mtrace_get_info().live < capacity && key < 100000; key++) {
            mtrace_result result = mtrace_track_at(1, key, 3, &site_a);
            tried++;
            test_sound();
            assert_true(result == MTRACE_OK || result == MTRACE_ERR_FULL);
            assert_true(result == MTRACE_OK || !probes_all(capacity));
            assert_int_equal(mtrace_get_info().live + mtrace_get_info().dropped_count, tried);
        }
        assert_int_equal(mtrace_get_info().live, capacity);
        assert_int_equal(mtrace_get_info().dropped_bytes, 3 * (tried - capacity));
        while (key-- > 0) {
            found += mtrace_untrack_at(1, key, &site_a) == MTRACE_OK ? 1 : 0;
            test_sound();
        }
        assert_int_equal(found, capacity);
        test_held(0, 3 * capacity, 0);
        mtrace_stop();
    }
}

/* A key tracked again in a full table has its slot already. */
static void test_replace_in_full_table(void **state) {
    uintptr_t key;
    (void)state;
    start(8);
    for (key = 0; key < 8; key++) {
        assert_int_equal(mtrace_track_at(1, key, 10, &site_a), MTRACE_OK);
    }
    for (key = 0; key < 8; key++) {
        assert_int_equal(mtrace_track_at(1, key, 20, &site_b), MTRACE_OK);
        assert_tracked(1, key, 20, 2);
        test_held(80 + 10 * (key + 1), 80 + 10 * (key + 1), 8);
    }
    assert_int_equal(mtrace_track_at(2, 0, 1, &site_a), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_get_info().dropped_count, 1);
    test_held(160, 160, 8);
}

#ifdef LOCK_CONFIG_H
static int locks_taken;

static void expect_one_lock(void) {
    assert_int_equal(lock_config_taken, locks_taken + 1);
    locks_taken = lock_config_taken;
}

/* Whatever path a call takes, it takes the lock once. */
static void test_one_lock_a_call(void **state) {
    static const size_t sizes[] = {0, 10, 65535, 65536, 1000000};
    mtrace_scope outside;
    size_t i;
    int round;
    (void)state;
    start(64);
    locks_taken = lock_config_taken;
    for (round = 0; round < 3; round++) { /* at a new site, then at a known one */
        for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *block = MT_MALLOC(sizes[i]);
            expect_one_lock();
            MT_FREE(block);
            expect_one_lock();
            block = MT_MALLOC_IN(3, sizes[i]);
            expect_one_lock();
            MT_FREE(block);
            expect_one_lock();
            outside = MT_SCOPE_PUSH();
            locks_taken = lock_config_taken;
            block = MT_CALLOC(1, sizes[i]);
            expect_one_lock();
            MT_FREE(block);
            expect_one_lock();
            mtrace_scope_restore(outside);
            locks_taken = lock_config_taken;
        }
        mtrace_free_at(malloc(10), &site_a); /* foreign */
        expect_one_lock();
    }
    mtrace_stop();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef LOCK_CONFIG_H
        TEST(test_one_lock_a_call),
#endif
        TEST(test_any_key),
        TEST(test_tracked_twice),
        TEST(test_same_key_in_two_domains),
        TEST(test_domains),
        TEST(test_track_while_not_tracing),
        TEST(test_track_macros),
        TEST(test_domain_0_is_the_heap),
        TEST(test_realloc_sizes),
        TEST(test_realloc_moves),
        TEST(test_realloc_of_size_0),
        TEST(test_realloc_fails),
        TEST(test_realloc_of_untraced),
        TEST(test_overflow),
        TEST(test_strdup),
        TEST(test_aligned_blocks),
        TEST(test_serials),
        TEST(test_full_table),
        TEST(test_every_slot),
        TEST(test_replace_in_full_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

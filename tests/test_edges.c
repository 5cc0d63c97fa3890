/* The edges, one test each, with the answer in a comment. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "support/test.h"
#include "support/tools.h"

/* A sanitizer's own locks do not survive a fork among threads, nor does a mutex as lock hook. */
#if !defined(MTRACE_SINGLE_THREAD) && !defined(MTRACE_CONFIG_FILE) && !TEST_ASAN
#define FORK_AMONG_THREADS
#include <pthread.h>
#endif

TEST_SANITIZER_OPTIONS

#define GIB ((uint64_t)1 << 30)

/* Untouched memory costs nothing, but sanitizers touch it. */
#ifdef _WIN32
#define MALLOC_5_GIB 0 /* there it costs memory and a copy */
#else
#define MALLOC_5_GIB (sizeof(size_t) > 4 && !TEST_ASAN && !TEST_TSAN)
#endif

static mtrace_site site_a, site_b;

/* Two sites of the heap, edges.c:1 and :2. */
static void start(void) {
    site_a = test_site("edges.c", 1);
    site_b = test_site("edges.c", 2);
    test_start(32, 16);
}

/* --- sizes --- */

/* A block of 5 GiB: its size counts and comes back exactly. */
static void test_5_gib(void **state) {
    uint64_t size = 5 * GIB + 3;
    mtrace_block found = MTRACE_ZERO_;
    void *block = NULL;
    (void)state;
    start();
    mtrace_free_at(mtrace_malloc_at(1, &site_a), &site_a); /* the site is known: the usual case */
    if (MALLOC_5_GIB) {
        block = mtrace_malloc_at((size_t)size, &site_a); /* never touched: costs no memory */
        assert_non_null(block);
        *(volatile char *)block = 1;
    } else {
        block = &found;
        assert_int_equal(mtrace_track_at(0, (uintptr_t)block, size, &site_a), MTRACE_OK);
    }
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_int_equal(found.size, size);
    test_held(size, size, 1);
    assert_int_equal(test_row("edges.c", 1).size, size);
    assert_int_equal(test_row("edges.c", 1).total_size, size + 1);
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    if (MALLOC_5_GIB) {
        block = mtrace_realloc_at(block, (size_t)(size + GIB), &site_b);
        assert_non_null(block);
        test_traced(block, size + GIB, "edges.c", 2);
        test_held(size + GIB, size + GIB, 1);
        mtrace_free_at(block, &site_a);
        test_held(0, size + GIB, 0);
    } else {
        assert_int_equal(mtrace_untrack_at(0, (uintptr_t)block, &site_a), MTRACE_OK);
        test_held(0, size, 0);
    }
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

/* Sizes around 2^32 and up to 512 GiB - 1, the largest that has a trace: exact. */
static void test_large_sizes(void **state) {
    const uint64_t sizes[] = {4 * GIB - 1, 4 * GIB,   4 * GIB + 1,
                              8 * GIB - 1, 256 * GIB, 512 * GIB - 1};
    mtrace_block found = MTRACE_ZERO_;
    uint64_t sum = 0;
    uintptr_t i;
    (void)state;
    start();
    for (i = 0; i < 6; i++) {
        /* in the heap's key space as in a tracked one */
        assert_int_equal(mtrace_track_at((uint32_t)i % 2, 4096 + i, sizes[i], &site_a), MTRACE_OK);
        assert_int_equal(mtrace_find_tracked(&found, (uint32_t)i % 2, 4096 + i, NULL, 0),
                         MTRACE_OK);
        assert_int_equal(found.size, sizes[i]);
        sum += sizes[i];
        test_held(sum, sum, (size_t)i + 1);
    }
    for (i = 0; i < 6; i++) {
        assert_int_equal(mtrace_untrack_at((uint32_t)i % 2, 4096 + i, &site_a), MTRACE_OK);
    }
    test_held(0, sum, 0);
}

/* 512 GiB and more, here 600: FULL, dropped, its bytes counted as dropped; nothing else changes. */
static void test_600_gib(void **state) {
    (void)state;
    start();
    assert_int_equal(mtrace_track_at(1, 9, 7, &site_a), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 10, 600 * GIB, &site_a), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_track_at(1, 11, 512 * GIB, &site_a), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_get_info().dropped_count, 2);
    assert_int_equal(mtrace_get_info().dropped_bytes, 1112 * GIB);
    assert_int_equal(test_row("edges.c", 1).dropped_count, 2);
    assert_int_equal(test_row("edges.c", 1).dropped_size, 1112 * GIB);
    assert_int_equal(test_row("edges.c", 1).total_count, 1);
    assert_int_equal(mtrace_untrack_at(1, 10, &site_a), MTRACE_ERR_NOT_FOUND);
    test_held(7, 7, 1);
}

/* The bytes of what is dropped do not wrap, in its row, in the total of the rows, in the info. */
static void test_dropped_bytes_stop(void **state) {
    (void)state;
    start();
    assert_int_equal(mtrace_track_at(1, 1, (uint64_t)1 << 63, &site_a), MTRACE_ERR_FULL);
    assert_true(mtrace_get_info().dropped_bytes == (uint64_t)1 << 63);
    assert_int_equal(mtrace_track_at(1, 2, ((uint64_t)1 << 63) - 1, &site_b), MTRACE_ERR_FULL);
    assert_true(mtrace_get_info().dropped_bytes == UINT64_MAX);
    assert_int_equal(mtrace_track_at(1, 3, (uint64_t)1 << 63, &site_a), MTRACE_ERR_FULL);
    assert_true(mtrace_get_info().dropped_bytes == UINT64_MAX);
    assert_true(test_row("edges.c", 1).dropped_size == UINT64_MAX);
    assert_int_equal(mtrace_get_info().dropped_count, 3);
    mtrace_clear();
    assert_int_equal(mtrace_get_info().dropped_bytes, 0);
    assert_int_equal(mtrace_track_at(1, 3, 600 * GIB, &site_a), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_get_info().dropped_bytes, 600 * GIB);
}

/* A key that has a trace is tracked again with 600 GiB. It is not traced any more, because its old
   trace is out of date. The old one ends as a free, the new one is dropped. */
static void test_600_gib_of_a_known_key(void **state) {
    (void)state;
    start();
    assert_int_equal(mtrace_track_at(1, 9, 7, &site_a), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 9, 600 * GIB, &site_b), MTRACE_ERR_FULL);
    test_held(0, 7, 0);
    assert_int_equal(mtrace_untrack_at(1, 9, &site_a), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(mtrace_get_info().dropped_count, 1);
    assert_int_equal(mtrace_get_info().dropped_bytes, 600 * GIB);
    assert_int_equal(test_row("edges.c", 1).frees, 1);
    assert_int_equal(test_row("edges.c", 1).dropped_count, 0);
    assert_int_equal(test_row("edges.c", 2).dropped_count, 1);
}

/* Size 0: what malloc(0) hands out is a block like any other, of 0 bytes. */
static void test_size_0(void **state) {
    void *blocks[4];
    int i, n = 0;
    (void)state;
    start();
    blocks[0] = mtrace_malloc_at(0, &site_a);
    blocks[1] = mtrace_calloc_at(0, 8, &site_a);
    blocks[2] = mtrace_calloc_at(8, 0, &site_a);
    blocks[3] = mtrace_realloc_at(NULL, 0, &site_a);
    for (i = 0; i < 4; i++) {
        if (blocks[i] != NULL) { /* an allocator may also answer NULL */
            test_traced(blocks[i], 0, "edges.c", 1);
            n++;
        }
    }
    test_held(0, 0, (size_t)n);
#ifdef __GLIBC__
    assert_int_equal(n, 4);
#endif
    assert_int_equal(test_row("edges.c", 1).count, n);
    assert_int_equal(test_row("edges.c", 1).size, 0);
    for (i = 0; i < 4; i++) {
        mtrace_free_at(blocks[i], &site_a);
    }
    test_held(0, 0, 0);
    assert_int_equal(test_row("edges.c", 1).frees, n);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    assert_int_equal(mtrace_track_at(1, 1, 0, &site_b), MTRACE_OK);
    test_held(0, 0, 1);
}

/* More than there is, up to SIZE_MAX: NULL from the allocator, and nothing is recorded. */
static void test_huge(void **state) {
    volatile size_t huge = SIZE_MAX;
    int *numbers;
    (void)state;
    start();
    assert_null(mtrace_malloc_at(huge, &site_a));
    assert_null(mtrace_malloc_at(huge - 65536, &site_a));
    assert_null(mtrace_calloc_at(huge, 1, &site_a));
    assert_null(mtrace_calloc_at(1, huge, &site_a));
    assert_null(mtrace_calloc_at(huge, huge, &site_a)); /* the product would be 1 */
    assert_null(mtrace_realloc_at(NULL, huge, &site_a));
    assert_null(mtrace_reallocarray_at(NULL, huge, huge, &site_a));
    numbers = MT_NEW_ARRAY(int, huge);
    assert_null(numbers);
    test_held(0, 0, 0);
    assert_int_equal(mtrace_get_info().sites, 2); /* site_a and the array's, for their failures */
    assert_int_equal(mtrace_get_info().high_water, 0);
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

/* Alignment 64 and 4096: the address is aligned, the trace is as any other. */
static void test_alignment(void **state) {
    static const size_t alignments[] = {64, 4096};
    void *blocks[16];
    size_t i;
    (void)state;
    start();
    for (i = 0; i < 16; i++) { /* all have the same low bits: they must not share one slot */
        blocks[i] = mtrace_aligned_alloc_at(alignments[i % 2], 4096, &site_a);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % alignments[i % 2], 0);
        test_traced(blocks[i], 4096, "edges.c", 1);
        test_held(4096 * (i + 1), 4096 * (i + 1), i + 1);
    }
    for (i = 0; i < 16; i++) {
        mtrace_free_at(blocks[i], &site_a);
    }
    test_held(0, 16 * 4096, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

/* --- realloc --- */

/* realloc(p, 0) while started: frees the block and answers NULL, paused or not. */
static void test_realloc_to_0(void **state) {
    void *block;
    (void)state;
    start();
    block = mtrace_malloc_at(100, &site_a);
    assert_null(mtrace_realloc_at(block, 0, &site_b));
    test_held(0, 100, 0);
    block = mtrace_malloc_at(30, &site_a);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    assert_null(mtrace_realloc_at(block, 0, &site_b));
    test_held(0, 100, 0);
    assert_int_equal(test_row("edges.c", 1).frees, 2);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

/* realloc that fails: NULL, the block stays as it was, its trace too; also while paused, also to
 * SIZE_MAX. */
static void test_realloc_that_fails(void **state) {
    volatile size_t huge = SIZE_MAX;
    void *block;
    (void)state;
    start();
    block = mtrace_malloc_at(100, &site_a);
    memset(block, 0x55, 100);
    test_fail_next = 1;
    assert_null(mtrace_realloc_at(block, 200, &site_b));
    test_traced(block, 100, "edges.c", 1);
    test_held(100, 100, 1);
    assert_null(mtrace_realloc_at(block, huge, &site_b));
    test_traced(block, 100, "edges.c", 1);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    test_fail_next = 1;
    assert_null(mtrace_realloc_at(block, 200, &site_b));
    test_traced(block, 100, "edges.c", 1);
    test_held(100, 100, 1);
    assert_int_equal(((unsigned char *)block)[99], 0x55);
    assert_int_equal(test_row("edges.c", 1).frees, 0);
    assert_int_equal(test_row("edges.c", 1).reallocs, 0);
    assert_int_equal(mtrace_get_info().sites, 2);
    mtrace_free_at(block, &site_a);
    test_held(0, 100, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

/* --- no memory --- */

/* Out of memory in any call: NULL, nothing recorded, and the failure counted. */
static void test_out_of_memory(void **state) {
    void *block;
    int *number, *numbers;
    (void)state;
    start();
    block = mtrace_malloc_at(10, &site_a);
    test_fail_next = -1;
    assert_null(MT_MALLOC(1));
    assert_null(MT_CALLOC(1, 1));
    assert_null(MT_REALLOC(NULL, 1));
    assert_null(MT_REALLOC(block, 100));
    assert_null(MT_REALLOCARRAY(NULL, 1, 1));
    assert_null(MT_REALLOCARRAY(block, 10, 10));
    assert_null(MT_STRDUP("text"));
    assert_null(MT_STRNDUP("text", 2));
    assert_null(MT_ALIGNED_ALLOC(64, 64));
    number = MT_NEW(int);
    assert_null(number);
    numbers = MT_NEW_ARRAY(int, 5);
    assert_null(numbers);
    test_traced(block, 10, "edges.c", 1);
    test_held(10, 10, 1);
    assert_int_equal(mtrace_get_info().sites, 12);
    assert_int_equal(mtrace_get_info().failed_count, 11);
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    MT_FREE(block); /* a free needs no memory */
    test_fail_next = 0;
    test_held(0, 10, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

/* --- frees behind the library's back, of what it does not know, and twice --- */

/* A block freed by plain free() whose address comes again: the old trace is replaced, counted as
   stale, and the totals are right again. */
static void test_address_comes_again(void **state) {
    volatile uintptr_t old;
    void *block = NULL;
    (void)state;
    start();
    old = (uintptr_t)mtrace_malloc_at(98, &site_a);
    test_traced((void *)old, 98, "edges.c", 1);
    free((void *)old);
    test_held(98, 98, 1); /* it cannot know yet */
    if (TEST_ASAN) {      /* which does not hand an address out again */
        assert_int_equal(mtrace_track_at(0, old, 100, &site_b), MTRACE_OK);
    } else {
        block = mtrace_malloc_at(100, &site_b); /* of the same size class */
        assert_int_equal((uintptr_t)block, old);
    }
    test_traced((void *)old, 100, "edges.c", 2);
    assert_int_equal(mtrace_get_info().stale_replaced, 1);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    test_held(100, 100, 1);
    assert_int_equal(test_row("edges.c", 1).count, 0);
    assert_int_equal(test_row("edges.c", 1).frees, 1);
    assert_int_equal(test_row("edges.c", 2).count, 1);
    if (TEST_ASAN) {
        assert_int_equal(mtrace_untrack_at(0, old, &site_b), MTRACE_OK);
    } else {
        mtrace_free_at(block, &site_b);
    }
    test_held(0, 100, 0);
}

/* The same through realloc: what stood for the address it moves to is replaced. False: it moved
 * elsewhere. */
static bool address_comes_by_realloc(size_t size) {
    void *block, *between;
    volatile uintptr_t old;
    bool again;
    start();
    block = mtrace_malloc_at(24, &site_a);
    between = mtrace_malloc_at(24, &site_a); /* so that it cannot grow in place */
    old = (uintptr_t)mtrace_malloc_at(size, &site_a);
    free((void *)old);
    test_held(size + 48, size + 48, 3);
    block = mtrace_realloc_at(block, size, &site_b);
    again = (uintptr_t)block == old;
    test_traced(block, size, "edges.c", 2);
    assert_int_equal(mtrace_get_info().stale_replaced, again ? 1 : 0);
    test_held(again ? size + 24 : 2 * size + 24, again ? size + 48 : 2 * size + 24, again ? 2 : 3);
    mtrace_free_at(block, &site_b);
    mtrace_free_at(between, &site_b);
    test_held(again ? 0 : size, again ? size + 48 : 2 * size + 24, again ? 0 : 1);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    mtrace_stop();
    return again;
}

static void test_address_comes_again_by_realloc(void **state) {
    size_t size, times = 0;
    (void)state;
    for (size = 2000; size < 60000; size += 2000) {
        times += address_comes_by_realloc(size) ? 1 : 0;
    }
#ifdef __GLIBC__
    assert_true(times > 0 || TEST_ASAN || TEST_TSAN); /* which have allocators of their own */
#endif
}

/* A free of an unknown pointer: passed on to the allocator, counted, nothing else. */
static void test_free_of_unknown(void **state) {
    void *block = malloc(50), *own;
    (void)state;
    start();
    own = mtrace_malloc_at(10, &site_a);
    mtrace_free_at(block, &site_b); /* under a leak checker: really freed */
    test_held(10, 10, 1);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    assert_int_equal(mtrace_get_info().sites, 1);
    mtrace_free_at(NULL, &site_b);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    mtrace_free_at(own, &site_b);
    test_held(0, 10, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
}

/* A double free: the second finds no trace and is a foreign free; no counter goes below zero. (The
   first is an untrack here, so that the allocator gets the block once.) */
static void test_double_free(void **state) {
    mtrace_row row;
    void *block;
    (void)state;
    start();
    block = mtrace_malloc_at(100, &site_a);
    assert_int_equal(mtrace_untrack_at(0, (uintptr_t)block, &site_a), MTRACE_OK);
    test_held(0, 100, 0);
    assert_int_equal(mtrace_untrack_at(0, (uintptr_t)block, &site_a), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    mtrace_free_at(block, &site_a);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    test_held(0, 100, 0);
    row = test_row("edges.c", 1);
    assert_int_equal(row.count, 0);
    assert_int_equal(row.frees, 1);
    assert_int_equal(row.total_count, 1);
}

static void ignore(const char *text, size_t length, void *user) {
    (void)text;
    (void)length;
    (void)user;
}

static int free_twice(void) {
    void *block = mtrace_malloc_at(100, &site_a);
    volatile uintptr_t address = (uintptr_t)block;
    mtrace_free_at((void *)address, &site_a);
    mtrace_free_at((void *)address, &site_a);
    return 0;
}

/* With MTRACE_FOREIGN_ABORT a double free ends the program before the allocator sees it. */
static void test_double_free_aborts(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    TEST_NEEDS_POSIX();
    desc.max_blocks = 32;
    desc.max_sites = 16;
    desc.foreign_free = MTRACE_FOREIGN_ABORT;
    desc.write = ignore;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    assert_int_equal(test_in_child(free_twice), TEST_SIGNAL + SIGABRT);
    test_held(0, 0, 0);
}

/* --- start, stop, clear among live blocks --- */

/* Blocks from before the start, of an earlier session, and from before a clear: without a trace,
   their free is foreign, and the totals hold the others only. */
static void test_life_cycle_among_live_blocks(void **state) {
    void *blocks[5];
    int i;
    (void)state;
    site_a = test_site("edges.c", 1);
    blocks[0] = mtrace_malloc_at(1, &site_a); /* stopped */
    start();
    blocks[1] = mtrace_malloc_at(2, &site_a);
    test_held(2, 2, 1);
    mtrace_stop();
    blocks[2] = mtrace_malloc_at(4, &site_a);
    start();
    blocks[3] = mtrace_malloc_at(8, &site_a);
    test_held(8, 8, 1);
    mtrace_clear();
    test_held(0, 0, 0);
    blocks[4] = mtrace_malloc_at(16, &site_a);
    test_held(16, 16, 1);
    for (i = 0; i < 4; i++) {
        test_untraced(blocks[i]);
    }
    blocks[1] = mtrace_realloc_at(blocks[1], 32, &site_a);
    test_held(48, 48, 2);
    blocks[3] = mtrace_realloc_at(blocks[3], 64, &site_a);
    test_held(112, 112, 3);
    assert_int_equal(mtrace_get_info().foreign_frees, 2); /* the reallocs */
    for (i = 0; i < 5; i++) {
        mtrace_free_at(blocks[i], &site_a);
        test_sound();
    }
    assert_int_equal(mtrace_get_info().foreign_frees, 4); /* blocks 0 and 2 */
    test_held(0, 112, 0);
}

/* --- fork --- */

static void *before_fork[2];

static int in_fork(void) {
    void *block;
    mtrace_block found;
    CHILD_ASSERT(mtrace_is_tracing());
    CHILD_ASSERT(mtrace_check() == NULL);
    CHILD_ASSERT(mtrace_get_traced_memory().current == 307);
    CHILD_ASSERT(mtrace_find(&found, before_fork[0]) == MTRACE_OK && found.size == 100);
    mtrace_free_at(before_fork[0], &site_b);
    CHILD_ASSERT(mtrace_get_traced_memory().current == 207);
    block = mtrace_malloc_at(1000, &site_b);
    CHILD_ASSERT(mtrace_find(&found, block) == MTRACE_OK && found.size == 1000);
    before_fork[1] = mtrace_realloc_at(before_fork[1], 20, &site_b);
    CHILD_ASSERT(mtrace_get_traced_memory().current == 1027);
    CHILD_ASSERT(mtrace_get_traced_memory().peak == 1207);
    CHILD_ASSERT(mtrace_untrack_at(3, 5, &site_a) == MTRACE_OK);
    CHILD_ASSERT(mtrace_get_info().live == 2);
    CHILD_ASSERT(mtrace_get_info().foreign_frees == 0);
    CHILD_ASSERT(mtrace_check() == NULL);
    mtrace_clear();
    CHILD_ASSERT(mtrace_get_traced_memory().current == 0);
    mtrace_stop();
    CHILD_ASSERT(mtrace_start(NULL) == MTRACE_OK);
    CHILD_ASSERT(mtrace_check() == NULL);
    return 0;
}

/* After a fork the child has the parent's traces and goes on with them; neither sees the other. */
static void test_fork(void **state) {
    (void)state;
    TEST_NEEDS_POSIX();
    start();
    before_fork[0] = mtrace_malloc_at(100, &site_a);
    before_fork[1] = mtrace_malloc_at(200, &site_a);
    assert_int_equal(mtrace_track_at(3, 5, 7, &site_a), MTRACE_OK);
    test_held(307, 307, 3);
    assert_int_equal(test_in_child(in_fork), 0);
    test_held(307, 307, 3);
    test_traced(before_fork[0], 100, "edges.c", 1);
    mtrace_free_at(before_fork[0], &site_a);
    mtrace_free_at(before_fork[1], &site_a);
    test_held(7, 307, 1);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

#ifdef FORK_AMONG_THREADS
static int thread_stops;

static void *allocate_until_stopped(void *unused) {
    mtrace_site site = test_site("edges.c", 3);
    void *blocks[16] = MTRACE_ZERO_;
    size_t i;
    for (i = 0; !__atomic_load_n(&thread_stops, __ATOMIC_RELAXED); i++) {
        mtrace_free_at(blocks[i % 16], &site);
        /* not small: side by side they could fill all that a tiny table probes for another block */
        blocks[i % 16] = mtrace_malloc_at(400 + i % 500, &site);
    }
    for (i = 0; i < 16; i++) {
        mtrace_free_at(blocks[i], &site);
    }
    return unused;
}

/* The other thread is gone here, perhaps from within a call: what it was about may be half done,
   but what this thread does is exact. */
static int in_fork_of_two(void) {
    uint64_t current = mtrace_get_traced_memory().current;
    size_t live = mtrace_get_info().live;
    uint64_t foreign = mtrace_get_info().foreign_frees, dropped = mtrace_get_info().dropped_count;
    void *blocks[32];
    mtrace_block found;
    int i;
    CHILD_ASSERT(mtrace_find(&found, before_fork[0]) == MTRACE_OK && found.size == 100);
    mtrace_free_at(before_fork[0], &site_b);
    CHILD_ASSERT(mtrace_get_traced_memory().current == current - 100);
    for (i = 0; i < 32; i++) {
        blocks[i] = mtrace_malloc_at(1000, &site_b);
        CHILD_ASSERT(mtrace_find(&found, blocks[i]) == MTRACE_OK && found.size == 1000);
    }
    CHILD_ASSERT(mtrace_get_traced_memory().current == current - 100 + 32000);
    CHILD_ASSERT(mtrace_get_info().live == live + 31);
    for (i = 0; i < 32; i++) {
        blocks[i] = mtrace_realloc_at(blocks[i], 2000, &site_a);
        mtrace_free_at(blocks[i], &site_b);
    }
    CHILD_ASSERT(mtrace_get_traced_memory().current == current - 100);
    CHILD_ASSERT(mtrace_get_info().live == live - 1);
    /* only a tiny table drops, and what was dropped is freed as foreign */
    CHILD_ASSERT(mtrace_get_info().foreign_frees - foreign ==
                 mtrace_get_info().dropped_count - dropped);
    mtrace_stop(); /* and a new session is whole */
    CHILD_ASSERT(mtrace_start(NULL) == MTRACE_OK);
    blocks[0] = mtrace_malloc_at(10, &site_a);
    CHILD_ASSERT(mtrace_get_traced_memory().current == 10);
    CHILD_ASSERT(mtrace_check() == NULL);
    return 0;
}
/* The same while another thread allocates: the child goes on, nothing waits for a thread that is
 * not there. */
static void test_fork_while_another_thread_allocates(void **state) {
    pthread_t thread;
    int i;
    (void)state;
    TEST_NEEDS_POSIX();
    site_a = test_site("edges.c", 1);
    site_b = test_site("edges.c", 2);
    test_start(32768, 16);
    before_fork[0] = mtrace_malloc_at(100, &site_a);
    __atomic_store_n(&thread_stops, 0, __ATOMIC_RELAXED);
    assert_int_equal(pthread_create(&thread, NULL, allocate_until_stopped, NULL), 0);
    while (mtrace_get_info().live < 8) {
    }
    for (i = 0; i < (TEST_TSAN ? 10 : 100); i++) {
        assert_int_equal(test_in_child(in_fork_of_two), 0);
    }
    __atomic_store_n(&thread_stops, 1, __ATOMIC_RELAXED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    test_sound();
    assert_int_equal(mtrace_get_traced_memory().current, 100);
    assert_int_equal(mtrace_get_info().live, 1);
    assert_int_equal(mtrace_get_info().foreign_frees, mtrace_get_info().dropped_count);
    mtrace_free_at(before_fork[0], &site_a);
    test_sound();
    assert_int_equal(mtrace_get_traced_memory().current, 0);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_5_gib),
        TEST(test_large_sizes),
        TEST(test_600_gib),
        TEST(test_dropped_bytes_stop),
        TEST(test_600_gib_of_a_known_key),
        TEST(test_size_0),
        TEST(test_huge),
        TEST(test_alignment),
        TEST(test_realloc_to_0),
        TEST(test_realloc_that_fails),
        TEST(test_out_of_memory),
        TEST(test_address_comes_again),
        TEST(test_address_comes_again_by_realloc),
        TEST(test_free_of_unknown),
        TEST(test_double_free),
        TEST(test_double_free_aborts),
        TEST(test_life_cycle_among_live_blocks),
        TEST(test_fork),
#ifdef FORK_AMONG_THREADS
        TEST(test_fork_while_another_thread_allocates),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

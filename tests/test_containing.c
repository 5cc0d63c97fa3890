/* mtrace_find_containing: the block that a pointer points into. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "support/test.h"
#include "support/tools.h"

#include "support/threads.h"

static uint64_t room[64]; /* addresses for blocks that are only tracked */

static const char *place(size_t offset) {
    return (const char *)room + offset;
}

/* In domain 0 the place becomes a heap block, elsewhere a tracked key. */
static void track(uint32_t domain, size_t offset, uint64_t size, uint32_t line) {
    mtrace_site site = test_site("in.c", line);
    assert_int_equal(mtrace_track_at(domain, (uintptr_t)place(offset), size, &site), MTRACE_OK);
}

static void untrack(uint32_t domain, size_t offset) {
    assert_int_equal(mtrace_untrack_at(domain, (uintptr_t)place(offset), NULL), MTRACE_OK);
}

/* Line 0: no block contains the address. */
static void expect(const void *pointer, uint32_t line) {
    mtrace_block found = MTRACE_ZERO_;
    mtrace_result result = mtrace_find_containing(&found, pointer);
    assert_int_equal(result, line == 0 ? MTRACE_ERR_NOT_FOUND : MTRACE_OK);
    assert_int_equal(found.line, line);
}

static void test_every_field(void **state) {
    mtrace_site site = test_site("in.c", 7);
    mtrace_block found;
    mtrace_desc desc = MTRACE_ZERO_;
    char *block;
    size_t i;
    (void)state;
    assert_int_equal(mtrace_find_containing(&found, room), MTRACE_ERR_NOT_TRACING);
    desc.max_blocks = 32;
    desc.serials = true;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    block = (char *)mtrace_malloc_in_at(3, 100, &site);
    for (i = 0; i < 100; i++) {
        memset(&found, 0xff, sizeof found);
        assert_int_equal(mtrace_find_containing(&found, block + i), MTRACE_OK);
        assert_int_equal(found.address, (uintptr_t)block);
        assert_int_equal(found.size, 100);
        assert_int_equal(found.serial, 1);
        assert_string_equal(found.file, "in.c");
        assert_string_equal(found.function, "f");
        assert_null(found.type);
        assert_int_equal(found.line, 7);
        assert_int_equal(found.domain, 3);
        assert_false(found.is_tracked);
        assert_null(found.traceback.frames);
        assert_int_equal(found.traceback.count, 0);
        assert_int_equal(found.traceback.total, 1);
    }
    expect(block + 100, 0);
    expect(block - 1, 0);
    expect(NULL, 0);
    expect((const void *)UINTPTR_MAX, 0);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    expect(block + 50, 7);
    assert_int_equal(mtrace_resume(), MTRACE_OK);
    mtrace_free_at(block, &site);
    expect(block + 50, 0);
}

/* A heap block that counts in a domain, and a key there. */
static void test_the_flag_is_everywhere(void **state) {
    mtrace_block found;
    mtrace_snapshot *snapshot;
    mtrace_site site = test_site("in.c", 1);
    void *block;
    size_t i, tracked = 0;
    (void)state;
    test_start(32, 8);
    block = mtrace_malloc_in_at(5, 10, &site);
    track(5, 0, 20, 2);
    track(0, 100, 30, 3); /* a block of the heap, too */
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_false(found.is_tracked);
    assert_int_equal(mtrace_find(&found, place(100)), MTRACE_OK);
    assert_false(found.is_tracked);
    assert_int_equal(mtrace_find_tracked(&found, 5, (uintptr_t)room, NULL, 0), MTRACE_OK);
    assert_true(found.is_tracked);
    assert_int_equal(mtrace_find_containing(&found, place(19)), MTRACE_OK);
    assert_true(found.is_tracked);
    assert_int_equal(found.domain, 5);
    assert_int_equal(mtrace_snapshot_take(&snapshot, true, NULL), MTRACE_OK);
    for (i = 0; test_block(&found, snapshot, i); i++) {
        assert_int_equal(found.is_tracked, found.size == 20);
        assert_int_equal(mtrace_snapshot_get_parts(snapshot).blocks[i].is_tracked,
                         found.is_tracked);
        tracked += found.is_tracked;
    }
    assert_int_equal(i, 3);
    assert_int_equal(tracked, 1);
    mtrace_snapshot_free(snapshot);
    mtrace_free_at(block, &site);
}

static void test_edges_of_a_block(void **state) {
    (void)state;
    test_start(32, 32);
    track(0, 0, 16, 1);
    track(0, 16, 1, 2);
    track(0, 17, 0, 3);
    track(0, 32, 0, 4);
    track(1, 40, 0, 5);
    expect(place(0), 1);
    expect(place(15), 1);
    expect(place(16), 2); /* one past the end of the first */
    expect(place(17), 3); /* size 0: its own address */
    expect(place(18), 0);
    expect(place(31), 0);
    expect(place(32), 4);
    expect(place(33), 0);
    expect(place(40), 5);
    expect(place(41), 0);
}

/* Of nested blocks the one that begins last, then the shortest, the heap block, the domain. */
static void test_the_innermost(void **state) {
    (void)state;
    test_start(32, 32);
    track(0, 0, 256, 1);
    track(3, 64, 64, 2);
    track(4, 64, 32, 3);
    track(5, 80, 100, 4); /* reaches out of both */
    track(6, 0, 16, 5);
    track(7, 200, 0, 6);
    track(9, 240, 8, 7);
    track(8, 240, 8, 8);
    track(9, 0, 16, 9);
    track(2, 128, 64, 10);
    track(0, 128, 64, 11);
    expect(place(0), 5);
    expect(place(15), 5);
    expect(place(16), 1);
    expect(place(64), 3);
    expect(place(79), 3);
    expect(place(80), 4);
    expect(place(179), 11);
    expect(place(192), 1);
    expect(place(200), 6);
    expect(place(201), 1);
    expect(place(240), 8);
    untrack(8, 240);
    expect(place(240), 7);
    expect(place(128), 11);
    untrack(0, 128);
    expect(place(128), 10);
    untrack(4, 64);
    expect(place(64), 2);
    untrack(6, 0);
    untrack(9, 0);
    expect(place(0), 1);
}

/* Blocks at the upper end of all addresses do not reach around to 0. */
static void test_the_end_of_addresses(void **state) {
    mtrace_site site = test_site("in.c", 1);
    mtrace_block found;
    (void)state;
    test_start(32, 8);
    assert_int_equal(mtrace_track_at(3, UINTPTR_MAX - 15, 1000, &site), MTRACE_OK);
    expect((const void *)UINTPTR_MAX, 1);
    expect((const void *)(UINTPTR_MAX - 15), 1);
    expect((const void *)(UINTPTR_MAX - 16), 0);
    expect(NULL, 0);
    expect((const void *)5, 0);
    assert_int_equal(mtrace_track_at(4, 0, 10, &site), MTRACE_OK); /* 0 is a key, too */
    assert_int_equal(mtrace_find_containing(&found, NULL), MTRACE_OK);
    assert_int_equal(found.domain, 4);
    assert_int_equal(mtrace_find_containing(&found, (const void *)9), MTRACE_OK);
    expect((const void *)10, 0);
}

/* The top byte of an address is no part of a heap block's, but of a key. */
static void test_tagged_addresses(void **state) {
    uintptr_t tag = sizeof(uintptr_t) == 8 ? (uintptr_t)0x5a << (sizeof tag * 7) : 0;
    (void)state;
    test_start(32, 8);
    track(0, 0, 100, 1);
    expect((const void *)((uintptr_t)place(99) | tag), 1);
    untrack(0, 0);
    track(1, 0, 100, 2);
    expect((const void *)((uintptr_t)place(99) | tag), tag == 0 ? 2 : 0);
}

static void test_after_a_clear(void **state) {
    (void)state;
    test_start(32, 8);
    track(0, 0, 100, 1);
    mtrace_clear();
    expect(place(50), 0);
    track(0, 0, 100, 2);
    expect(place(50), 2);
}

/* Against a search through a list, in a full table. */
static void test_like_a_list(void **state) {
    enum { BLOCKS = 48, ROUNDS = 300 };
    struct {
        size_t offset;
        uint64_t size;
        bool is_live;
    } blocks[BLOCKS] = MTRACE_ZERO_;
    uint32_t seed = 1, live = 0;
    mtrace_site site;
    int round;
    (void)state;
    test_start(32, 64);
    for (round = 0; round < ROUNDS; round++) {
        uint32_t i = test_random(&seed, BLOCKS), at, best = BLOCKS;
        size_t probe = test_random(&seed, 512);
        if (blocks[i].is_live) {
            untrack(i + 1, blocks[i].offset);
            blocks[i].is_live = false;
        } else { /* one in each domain: the domain is the block's name */
            blocks[i].offset = test_random(&seed, 448);
            blocks[i].size = test_random(&seed, 64);
            site = test_site("in.c", i + 1);
            blocks[i].is_live = mtrace_track_at(i + 1, (uintptr_t)place(blocks[i].offset),
                                                blocks[i].size, &site) == MTRACE_OK;
            live += blocks[i].is_live;
        }
        for (at = 0; at < BLOCKS; at++) {
            uint64_t size = blocks[at].size == 0 ? 1 : blocks[at].size;
            if (blocks[at].is_live && blocks[at].offset <= probe &&
                probe - blocks[at].offset < size &&
                (best == BLOCKS || blocks[at].offset > blocks[best].offset ||
                 (blocks[at].offset == blocks[best].offset &&
                  blocks[at].size < blocks[best].size))) {
                best = at;
            }
        }
        expect(place(probe), best == BLOCKS ? 0 : best + 1);
    }
    assert_true(live > ROUNDS / 4); /* in a table of 64 slots some find no room */
    test_sound();
}

/* While others allocate and free, a block that stays is found, and one that does not is whole. */
#ifdef MTRACE_SINGLE_THREAD
enum { WORKERS = 0 };
#else
enum { WORKERS = 4 };
#endif
enum { OWN = 16, LOOKS = 300 };
static int quit;

static void *churn(void *argument) {
    uint32_t seed = *(const uint32_t *)argument;
    void *blocks[OWN] = MTRACE_ZERO_;
    size_t i;
    while (__atomic_load_n(&quit, __ATOMIC_RELAXED) == 0) {
        void **at = &blocks[test_random(&seed, OWN)];
        mtrace_site site = test_site("churn.c", 9);
        mtrace_free_at(*at, &site);
        *at = mtrace_malloc_at(33 + test_random(&seed, 100), &site);
    }
    for (i = 0; i < OWN; i++) {
        MT_FREE(blocks[i]);
    }
    return NULL;
}

static void test_among_threads(void **state) {
    static uint32_t seeds[] = {1, 2, 3, 4};
    pthread_t threads[WORKERS + 1];
    mtrace_site site = test_site("stays.c", 8);
    mtrace_block found;
    char *stays, *comes;
    int i;
    (void)state;
    test_start(128, 8);
    stays = (char *)mtrace_malloc_at(1000, &site);
    quit = 0;
    test_threads_begin(threads, WORKERS, churn, seeds, sizeof seeds[0]);
    for (i = 0; i < LOOKS; i++) {
        assert_int_equal(mtrace_find_containing(&found, stays + i % 1000), MTRACE_OK);
        assert_int_equal(found.address, (uintptr_t)stays);
        assert_int_equal(found.size, 1000);
        assert_string_equal(found.file, "stays.c");
        comes = stays + 1000 + (size_t)i * 61;
        if (mtrace_find_containing(&found, comes) == MTRACE_OK) {
            assert_string_equal(found.file, "churn.c");
            assert_int_equal(found.line, 9);
            assert_in_range(found.size, 33, 132);
            assert_in_range((uintptr_t)comes - found.address, 0, found.size - 1);
        }
    }
    __atomic_store_n(&quit, 1, __ATOMIC_RELAXED);
    test_threads_end(threads, WORKERS);
    mtrace_free_at(stays, &site);
    test_held(0, mtrace_get_traced_memory().peak, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_every_field),          TEST(test_the_flag_is_everywhere),
        TEST(test_edges_of_a_block),     TEST(test_the_innermost),
        TEST(test_the_end_of_addresses), TEST(test_tagged_addresses),
        TEST(test_after_a_clear),        TEST(test_like_a_list),
        TEST(test_among_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

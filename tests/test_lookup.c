/* Looking at the tracer: single blocks, totals, and its own state. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "support/test.h"
#include "support/tools.h"

/* --- mtrace_find --- */

static void assert_found(const void *block, uint64_t size, const char *type, uint64_t serial) {
    mtrace_block found = MTRACE_ZERO_;
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_int_equal(found.address, (uintptr_t)block);
    assert_int_equal(found.size, size);
    assert_int_equal(found.serial, serial);
    assert_int_equal(found.domain, 0);
    assert_string_equal(found.file, __FILE__);
    assert_string_equal(found.function, "test_find_for_every_macro");
    assert_true(found.line > 0);
    assert_int_equal(found.type != NULL, type != NULL);
    if (type != NULL) {
        assert_string_equal(found.type, type);
    }
}

static void test_find_for_every_macro(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    void *blocks[6];
    char *texts[2];
    double *number, *numbers;
    int i;
    (void)state;
    desc.max_blocks = 32;
    desc.max_sites = 32;
    desc.serials = true;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    blocks[0] = MT_MALLOC(1);
    blocks[1] = MT_CALLOC(2, 3);
    blocks[2] = MT_REALLOC(NULL, 8);
    blocks[3] = MT_REALLOCARRAY(NULL, 4, 5);
    blocks[4] = MT_ALIGNED_ALLOC(128, 256);
    texts[0] = MT_STRDUP("abc");
    texts[1] = MT_STRNDUP("abc", 1);
    number = MT_NEW(double);
    numbers = MT_NEW_ARRAY(double, 9);
    blocks[5] = MT_REALLOC(malloc(1), 70);
    assert_found(blocks[0], 1, NULL, 1);
    assert_found(blocks[1], 6, NULL, 2);
    assert_found(blocks[2], 8, NULL, 3);
    assert_found(blocks[3], 20, NULL, 4);
    assert_found(blocks[4], 256, NULL, 5);
    assert_found(texts[0], 4, NULL, 6);
    assert_found(texts[1], 2, NULL, 7);
    assert_found(number, 8, "double", 8);
    assert_found(numbers, 72, "double", 9);
    assert_found(blocks[5], 70, NULL, 10);
    test_held(447, 447, 10);
    for (i = 0; i < 6; i++) {
        MT_FREE(blocks[i]);
        test_untraced(blocks[i]);
    }
    MT_FREE(texts[0]);
    MT_FREE(texts[1]);
    MT_FREE(number);
    MT_FREE(numbers);
    test_held(0, 447, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 1); /* the realloc of malloc's */
}

static void test_find_unknown(void **state) {
    mtrace_block found;
    int local = 0;
    char *block;
    (void)state;
    assert_int_equal(mtrace_find(&found, &local), MTRACE_ERR_NOT_TRACING);
    test_start(32, 8);
    block = (char *)MT_MALLOC(100);
    test_untraced(NULL);
    test_untraced(&local);
    test_untraced(block + 1);
    test_untraced(block + 16);
    test_untraced(block + 32);
    test_untraced(block + 99);
    test_untraced((const void *)UINTPTR_MAX);
    test_traced(block, 100, __FILE__, __LINE__ - 8);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    test_traced(block, 100, __FILE__, __LINE__ - 10); /* paused, one may still look */
    assert_int_equal(mtrace_resume(), MTRACE_OK);
    MT_FREE(block);
    test_held(0, 100, 0);
}

static void test_find_tracked(void **state) {
    mtrace_site site = test_site("look.c", 5);
    mtrace_block found = MTRACE_ZERO_;
    void *block;
    (void)state;
    assert_int_equal(mtrace_find_tracked(&found, 1, 1, NULL, 0), MTRACE_ERR_NOT_TRACING);
    test_start(32, 8);
    assert_int_equal(mtrace_track_at(7, 42, 1000, &site), MTRACE_OK);
    assert_int_equal(mtrace_find_tracked(&found, 7, 42, NULL, 0), MTRACE_OK);
    assert_int_equal(found.address, 42);
    assert_int_equal(found.size, 1000);
    assert_int_equal(found.domain, 7);
    assert_int_equal(found.line, 5);
    assert_int_equal(found.serial, 0); /* without desc.serials */
    assert_string_equal(found.file, "look.c");
    assert_string_equal(found.function, "f");
    assert_null(found.type);
    assert_int_equal(mtrace_find_tracked(&found, 8, 42, NULL, 0), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(mtrace_find_tracked(&found, 7, 43, NULL, 0), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(mtrace_find_tracked(&found, 0, 42, NULL, 0), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(mtrace_find(&found, (void *)42), MTRACE_ERR_NOT_FOUND);
    block = mtrace_malloc_at(10, &site); /* domain 0 is the heap */
    assert_int_equal(mtrace_find_tracked(&found, 0, (uintptr_t)block, NULL, 0), MTRACE_OK);
    assert_int_equal(found.size, 10);
    assert_int_equal(mtrace_find_tracked(&found, 7, (uintptr_t)block, NULL, 0),
                     MTRACE_ERR_NOT_FOUND);
    mtrace_free_at(block, &site);
    assert_int_equal(mtrace_untrack_at(7, 42, &site), MTRACE_OK);
    assert_int_equal(mtrace_find_tracked(&found, 7, 42, NULL, 0), MTRACE_ERR_NOT_FOUND);
    test_held(0, 1010, 0);
}

/* --- totals --- */

static void test_traced_memory_after_each_step(void **state) {
    mtrace_site site = test_site("look.c", 6);
    void *a, *b, *c;
    (void)state;
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    test_start(32, 8);
    test_held(0, 0, 0);
    a = mtrace_malloc_at(100, &site);
    test_held(100, 100, 1);
    b = mtrace_calloc_at(10, 20, &site);
    test_held(300, 300, 2);
    mtrace_free_at(a, &site);
    test_held(200, 300, 1);
    c = mtrace_malloc_at(99, &site);
    test_held(299, 300, 2); /* just below */
    a = mtrace_malloc_at(1, &site);
    test_held(300, 300, 3); /* as high */
    b = mtrace_realloc_at(b, 201, &site);
    test_held(301, 301, 3); /* above */
    b = mtrace_realloc_at(b, 10, &site);
    test_held(110, 301, 3);
    assert_int_equal(mtrace_track_at(1, 1, 1000000, &site), MTRACE_OK);
    test_held(1000110, 1000110, 4);
    assert_int_equal(mtrace_track_at(1, 1, 5, &site), MTRACE_OK);
    test_held(115, 1000110, 4);
    mtrace_free_at(c, &site);
    test_held(16, 1000110, 3);
    mtrace_free_at(b, &site);
    mtrace_free_at(a, &site);
    test_held(5, 1000110, 1);
    assert_int_equal(mtrace_untrack_at(1, 1, &site), MTRACE_OK);
    test_held(0, 1000110, 0);
}

/* Sizes around what a shard holds back from the shared total. */
static void test_traced_memory_in_large_steps(void **state) {
    mtrace_site site = test_site("look.c", 7);
    uint64_t held = 0, peak = 0;
    uintptr_t key;
    (void)state;
    test_start(128, 8);
    for (key = 0; key < 100; key++) {
        uint64_t size = key % 3 == 0 ? 65537 : key % 3 == 1 ? 65536 : 65535;
        assert_int_equal(mtrace_track_at(1, key, size, &site), MTRACE_OK);
        held += size;
        peak = held > peak ? held : peak;
        test_held(held, peak, (size_t)(key + 1 - key / 10));
        if (key % 10 == 9) {
            uintptr_t gone = key - 4;
            uint64_t its = gone % 3 == 0 ? 65537 : gone % 3 == 1 ? 65536 : 65535;
            assert_int_equal(mtrace_untrack_at(1, gone, &site), MTRACE_OK);
            held -= its;
            test_held(held, peak, (size_t)(key - key / 10));
        }
    }
    assert_int_equal(test_row("look.c", 7).size, held);
    assert_int_equal(test_row("look.c", 7).count, 90);
}

/* --- mtrace_get_info --- */

static void test_info_counts_slots(void **state) {
    mtrace_site site = test_site("look.c", 8);
    uintptr_t key;
    (void)state;
    test_start(32, 8);
    for (key = 1; key <= 20; key++) {
        assert_int_equal(mtrace_track_at(1, key, 1, &site), MTRACE_OK);
        assert_int_equal(mtrace_get_info().live, key);
        assert_int_equal(mtrace_get_info().high_water, key);
    }
    for (key = 20; key > 5; key--) {
        assert_int_equal(mtrace_untrack_at(1, key, &site), MTRACE_OK);
        assert_int_equal(mtrace_get_info().live, key - 1);
        assert_int_equal(mtrace_get_info().high_water, 20);
    }
    for (key = 100; key < 115; key++) {
        assert_int_equal(mtrace_track_at(1, key, 0, &site), MTRACE_OK);
        assert_int_equal(mtrace_get_info().high_water, 20);
    }
    assert_int_equal(mtrace_get_info().live, 20);
    assert_int_equal(mtrace_track_at(1, 115, 0, &site), MTRACE_OK);
    assert_int_equal(mtrace_get_info().high_water, 21);
    assert_int_equal(mtrace_track_at(1, 115, 9, &site), MTRACE_OK); /* replaced in its place */
    assert_int_equal(mtrace_get_info().live, 21);
    assert_int_equal(mtrace_get_info().high_water, 21);
    assert_int_equal(mtrace_get_info().capacity, 64);
    assert_int_equal(mtrace_get_info().sites, 1);
    test_sound();
}

/* Keys of one home fill its cache line of four slots; the later ones go to lines far apart. */
static void test_info_longest_probe(void **state) {
    mtrace_site site = test_site("look.c", 9);
    mtrace_block found = MTRACE_ZERO_;
    uintptr_t key, keys[10];
    size_t n = 0, i, longest = 0;
    (void)state;
    test_start(128, 8);
    for (key = 0; n < 10; key++) {
        if (test_home(key) == 100) {
            keys[n++] = key;
            assert_int_equal(mtrace_track_at(1, key, n, &site), MTRACE_OK);
            test_sound();
            longest = mtrace_get_info().longest_probe;
            assert_in_range(longest, n <= 4 ? n - 1 : 4, n <= 4 ? n - 1 : 7);
        }
    }
    assert_int_equal(mtrace_untrack_at(1, keys[9], &site), MTRACE_OK);
    assert_int_equal(mtrace_get_info().longest_probe, longest); /* ever */
    for (i = 0; i < 9; i++) {
        assert_int_equal(mtrace_find_tracked(&found, 1, keys[i], NULL, 0), MTRACE_OK);
        assert_int_equal(found.size, i + 1);
    }
    /* a hole in the middle, and all are found still */
    assert_int_equal(mtrace_untrack_at(1, keys[5], &site), MTRACE_OK);
    assert_int_equal(mtrace_untrack_at(1, keys[1], &site), MTRACE_OK);
    test_sound();
    for (i = 0; i < 9; i++) {
        assert_int_equal(mtrace_find_tracked(&found, 1, keys[i], NULL, 0),
                         i == 5 || i == 1 ? MTRACE_ERR_NOT_FOUND : MTRACE_OK);
    }
    assert_int_equal(mtrace_track_at(1, keys[5], 50, &site), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, keys[8], 80, &site), MTRACE_OK);
    test_sound();
    assert_int_equal(mtrace_get_info().live, 8);
    assert_int_equal(mtrace_get_info().longest_probe, longest);
}

static void test_info_counts_events(void **state) {
    mtrace_site site = test_site("look.c", 10);
    mtrace_info info;
    void *block;
    (void)state;
    test_start(32, 8);
    block = mtrace_realloc_at(malloc(10), 20, &site); /* foreign, traced from here on */
    mtrace_free_at(malloc(10), &site);                /* foreign */
    assert_int_equal(mtrace_untrack_at(1, 1, &site), MTRACE_ERR_NOT_FOUND); /* counts as nothing */
    assert_int_equal(mtrace_track_at(1, 1, (uint64_t)1 << 39, &site), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_track_at(1, 2, ((uint64_t)1 << 39) + 5, &site), MTRACE_ERR_FULL);
    /* the heap's key space: an address recorded twice was freed behind the library's back */
    assert_int_equal(mtrace_track_at(0, (uintptr_t)block, 30, &site), MTRACE_OK);
    assert_int_equal(mtrace_track_at(2, 1, 1, &site), MTRACE_OK);
    assert_int_equal(mtrace_track_at(2, 1, 2, &site), MTRACE_OK); /* replaced, but not stale */
    info = mtrace_get_info();
    assert_int_equal(info.foreign_frees, 2);
    assert_int_equal(info.stale_replaced, 1);
    assert_int_equal(info.dropped_count, 2);
    assert_int_equal(info.dropped_bytes, ((uint64_t)1 << 40) + 5);
    assert_int_equal(info.live, 2);
    assert_int_equal(info.sites, 3); /* the heap, and domains 1 and 2 */
    assert_int_equal(info.lost_sites, 0);
    assert_int_equal(info.lost_names, 0);
    test_held(32, 32, 2);
    mtrace_free_at(block, &site);
    test_held(2, 32, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_find_for_every_macro),
        TEST(test_find_unknown),
        TEST(test_find_tracked),
        TEST(test_traced_memory_after_each_step),
        TEST(test_traced_memory_in_large_steps),
        TEST(test_info_counts_slots),
        TEST(test_info_longest_probe),
        TEST(test_info_counts_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Numbers: more accounts and scopes than 16 bits hold, keys of 64 bits, tagged addresses, indexes
   that begin small. */

#include "support/test.h"
#include "support/tools.h"

#if UINTPTR_MAX > 0xffffffffu
#define IF_64(value) (value)
#else
#define IF_64(value) ((void)(value), 0u)
#endif

static mtrace_site a_site(uint32_t line) {
    return test_site("numbers.c", line);
}

static void start(size_t sites, size_t scopes, uint32_t frames) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 1 << 18;
    desc.max_sites = sites;
    desc.max_scopes = scopes;
    desc.frames = frames;
    desc.name_bytes = 4096;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static void finish(void) {
    test_sound();
    mtrace_stop();
}

/* Each call site has one key of its own size, and is found by it. */
static void test_many_accounts(void **state) {
    enum { ACCOUNTS = 70000 };
    mtrace_block block;
    uintptr_t i;
    (void)state;
    if (test_max_sites() < ACCOUNTS) {
        return; /* 16 bits here: test_lifecycle fills them */
    }
    start(ACCOUNTS, 0, 1);
    for (i = 1; i <= ACCOUNTS; i++) {
        mtrace_site site = a_site((uint32_t)i);
        assert_int_equal(mtrace_track_at(1, i, i, &site), MTRACE_OK);
    }
    assert_int_equal(mtrace_get_info().sites, ACCOUNTS);
    assert_int_equal(mtrace_get_info().lost_sites, 0);
    for (i = 1; i <= ACCOUNTS; i += 999) {
        assert_int_equal(mtrace_find_tracked(&block, 1, i, NULL, 0), MTRACE_OK);
        assert_int_equal(block.line, i);
        assert_int_equal(block.size, i);
    }
    test_sound();
    mtrace_clear();
    assert_int_equal(mtrace_find_tracked(&block, 1, 1, NULL, 0), MTRACE_ERR_NOT_FOUND);
    finish();
}

/* A chain of scopes for each of many lines. */
static void test_many_scopes(void **state) {
    enum { SCOPES = 67000 };
    mtrace_frame frames[2];
    mtrace_traceback traceback;
    uint32_t i;
    (void)state;
    if (test_max_sites() < SCOPES) {
        return; /* 16 bits here: test_scopes fills them */
    }
    start(SCOPES, SCOPES, 2);
    for (i = 1; i <= SCOPES; i++) {
        mtrace_site scope = a_site(i), site = a_site(SCOPES + i % 7);
        mtrace_scope before = mtrace_scope_push_at(&scope);
        assert_int_equal(mtrace_track_at(1, i, 1, &site), MTRACE_OK);
        mtrace_scope_restore(before);
    }
    assert_int_equal(mtrace_get_info().scopes, SCOPES);
    assert_int_equal(mtrace_get_info().lost_scopes, 0);
    for (i = 1; i <= SCOPES; i += 777) {
        assert_int_equal(test_find_traceback(&traceback, 1, i, frames, 2), MTRACE_OK);
        assert_int_equal(traceback.count, 2);
        assert_int_equal(frames[0].line, i);
        assert_int_equal(frames[1].line, SCOPES + i % 7);
    }
    finish();
}

static void expect_key(uintptr_t key, uint64_t size) {
    mtrace_site site = a_site(1);
    mtrace_block block;
    assert_int_equal(mtrace_track_at(1, key, size, &site), MTRACE_OK);
    assert_int_equal(mtrace_find_tracked(&block, 1, key, NULL, 0), MTRACE_OK);
    assert_true(block.address == key && block.size == size);
    assert_int_equal(mtrace_get_traced_memory().current, size);
    assert_int_equal(mtrace_untrack_at(1, key, &site), MTRACE_OK);
    assert_int_equal(mtrace_find_tracked(&block, 1, key, NULL, 0), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
}

/* Any key, with any size: at each bit of either. */
static void test_keys_of_all_bits(void **state) {
    uint32_t bit, size_bit;
    (void)state;
    start(16, 0, 1);
    for (bit = 0; bit < sizeof(uintptr_t) * 8; bit++) {
        uintptr_t key = (uintptr_t)1 << bit;
        for (size_bit = 0; size_bit < 38; size_bit++) {
            expect_key(key, (uint64_t)1 << size_bit);
        }
        expect_key(~key, ((uint64_t)1 << 38) - 1);
    }
    expect_key(0, 0);
    expect_key(0, ((uint64_t)1 << 39) - 1);
    expect_key(UINTPTR_MAX, 12345);
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    finish();
}

/* Keys that differ in one bit are not mixed up, long ones and short ones side by side. */
static void test_keys_side_by_side(void **state) {
    mtrace_site site = a_site(1);
    mtrace_block block;
    uint32_t bit;
    (void)state;
    start(16, 0, 1);
    for (bit = 0; bit < sizeof(uintptr_t) * 8; bit++) {
        uintptr_t key = (uintptr_t)1 << bit;
        assert_int_equal(mtrace_track_at(1, key, bit + 1u, &site), MTRACE_OK);
        assert_int_equal(mtrace_track_at(2, key, bit + 1000u, &site), MTRACE_OK);
        assert_int_equal(mtrace_track_at(1, ~key, bit + 2000u, &site), MTRACE_OK);
    }
    for (bit = 0; bit < sizeof(uintptr_t) * 8; bit++) {
        uintptr_t key = (uintptr_t)1 << bit;
        assert_int_equal(mtrace_find_tracked(&block, 1, key, NULL, 0), MTRACE_OK);
        assert_int_equal(block.size, bit + 1);
        assert_int_equal(mtrace_find_tracked(&block, 2, key, NULL, 0), MTRACE_OK);
        assert_int_equal(block.size, bit + 1000);
        assert_int_equal(mtrace_find_tracked(&block, 1, ~key, NULL, 0), MTRACE_OK);
        assert_int_equal(block.size, bit + 2000);
    }
    finish();
}

/* A long key of 256 GiB and more has no room for its size; one of an account above 65,535 counts
   for "<other>", which is in the reports. */
static void test_limits_of_long_keys(void **state) {
    const uintptr_t key = IF_64((uint64_t)0xabcd << 48 | 77);
    mtrace_site site = a_site(1);
    mtrace_block block;
    uint32_t i;
    (void)state;
    if (key == 0) {
        return; /* keys have 32 bits here, and none is long */
    }
    start(70000, 0, 1);
    assert_int_equal(mtrace_track_at(1, key, (uint64_t)1 << 38, &site), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_get_info().dropped_count, 1);
    for (i = 2; i <= 70000; i++) {
        mtrace_site other = a_site(i);
        assert_int_equal(mtrace_track_at(1, 5, 1, &other), MTRACE_OK);
    }
    site = a_site(70000);
    assert_int_equal(mtrace_track_at(1, key, 50, &site), MTRACE_OK);
    assert_int_equal(mtrace_find_tracked(&block, 1, key, NULL, 0), MTRACE_OK);
    assert_string_equal(block.file, "<other>");
    assert_int_equal(block.domain, 1);
    assert_int_equal(mtrace_get_info().lost_sites, 1);
    assert_int_equal(mtrace_untrack_at(1, key, &site), MTRACE_OK);
    finish();
}

/* The top byte of a heap address is a tag: with another one it is the same block. Above 48 bits
   there is no room. */
static void test_tagged_addresses(void **state) {
    const uintptr_t address = 0x7f1234567890u & UINTPTR_MAX;
    const uintptr_t tag = IF_64((uint64_t)0x5a << 56), far_away = IF_64((uint64_t)1 << 50);
    mtrace_site site = a_site(1);
    mtrace_block block;
    (void)state;
    if (tag == 0) {
        return; /* addresses have 32 bits here, and no tags */
    }
    start(16, 0, 1);
    assert_int_equal(mtrace_track_at(0, address | tag, 10, &site), MTRACE_OK);
    assert_int_equal(mtrace_find(&block, (void *)address), MTRACE_OK);
    assert_int_equal(block.size, 10);
    assert_int_equal(mtrace_untrack_at(0, address | tag >> 1, &site), MTRACE_OK);
    assert_int_equal(mtrace_find(&block, (void *)(address | tag)), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(mtrace_track_at(0, address | far_away, 10, &site), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_get_info().dropped_count, 1);
    assert_int_equal(mtrace_find(&block, (void *)address), MTRACE_ERR_NOT_FOUND);
    finish();
}

/* Room for many call sites is address space, not memory. */
static void test_start_is_small(void **state) {
    void *blocks[300];
    size_t resident;
    uint32_t i;
    (void)state;
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    assert_int_equal(mtrace_get_info().max_sites, test_default_sites());
    for (i = 0; i < 300; i++) {
        mtrace_site site = a_site(i);
        blocks[i] = mtrace_malloc_at(100, &site);
    }
    resident = test_resident();
    if (resident != 0) { /* 0: not known here */
        assert_true(resident < 512 * 1024);
    }
    for (i = 0; i < 300; i++) {
        MT_FREE(blocks[i]);
    }
    finish();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_many_accounts),     TEST(test_many_scopes),         TEST(test_keys_of_all_bits),
        TEST(test_keys_side_by_side), TEST(test_limits_of_long_keys), TEST(test_tagged_addresses),
        TEST(test_start_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* mtrace_check() finds each kind of damage, and names the invariant. The damage is undone after. */

#include "support/test.h"

static mtrace_site site;

static void start(void) {
    uintptr_t key;
    test_start_scoped(32, 0, 4);
    site = test_site("check.c", 1);
    for (key = 1; key <= 40; key++) {
        assert_int_equal(mtrace_track_at(1, key * 977, 100 + key, &site), MTRACE_OK);
    }
    assert_null(mtrace_check());
}

static void expect(const char *invariant) {
    const char *broken = mtrace_check();
    assert_non_null(broken);
    if (strncmp(broken, invariant, 2) != 0) {
        fail_msg("expected %s, got %s", invariant, broken);
    }
}

static void finish(void) {
    assert_null(mtrace_check());
    mtrace_stop();
}

/* Where this thread counts. */
static mtrace_shard_ *shard_in_use(void) {
    mtrace_shard_ *shard = mtrace_enter_() ? mtrace_shard_get_() : NULL;
    mtrace_leave_();
    return shard;
}

static mtrace_slot_ *live_slot(void) {
    uint32_t at = 0;
    while (mtrace_g_.slots[at].account == 0) {
        at++;
    }
    return &mtrace_g_.slots[at];
}

/* A trace that is not in its home slot, and its home. */
static mtrace_slot_ *overflowed_slot(uint32_t *home) {
    uint32_t at = 0;
    for (;; at++) {
        mtrace_slot_ *slot = &mtrace_g_.slots[at];
        assert_true(at <= mtrace_g_.mask); /* 40 traces in 64 slots: some are not at home */
        if (slot->account != 0 && mtrace_slot_home_(slot) != at) {
            *home = mtrace_slot_home_(slot);
            return slot;
        }
    }
}

static void test_stopped_is_sound(void **state) {
    (void)state;
    assert_null(mtrace_check());
}

static void test_i1_unknown_account(void **state) {
    mtrace_slot_ *slot;
    mtrace_number_t_ account;
    (void)state;
    start();
    slot = live_slot();
    account = slot->account;
    slot->account = 5000;
    expect("I1");
    slot->account = account;
    finish();
}

static void test_i2_trace_in_a_wrong_place(void **state) {
    mtrace_slot_ *slot;
    uintptr_t key;
    (void)state;
    start();
    slot = live_slot();
    key = slot->key;
    while (mtrace_home_(slot->key, true) == mtrace_home_(key, true) ||
           mtrace_g_.slots[mtrace_home_(slot->key, true)].overflow != 0) {
        slot->key += 1000003;
    }
    expect("I2");
    slot->key = key;
    finish();
}

static void test_i3_wrong_overflow_count(void **state) {
    uint32_t home;
    (void)state;
    start();
    overflowed_slot(&home);
    mtrace_g_.slots[home].overflow++;
    expect("I3");
    mtrace_g_.slots[home].overflow--;
    finish();
}

static void test_i4_counters_that_do_not_add_up(void **state) {
    mtrace_counters_ *counters;
    (void)state;
    start();
    counters = &shard_in_use()->counters[live_slot()->account];
    counters->total_bytes++;
    expect("I4");
    counters->total_bytes--;
    counters->freed_count++;
    expect("I4");
    counters->freed_count--;
#if TEST_ATOMICS                                                /* only those have a field for it */
    mtrace_g_.accounts[live_slot()->account].estimated_bytes++; /* not sampling: 0 */
    expect("I4");
    mtrace_g_.accounts[live_slot()->account].estimated_bytes--;
#endif
    finish();
}

static void test_i5_totals_that_do_not_add_up(void **state) {
    (void)state;
    start();
    shard_in_use()->held++;
    expect("I5");
    shard_in_use()->held--;
    finish();
}

/* Locations, nodes, accounts: a number in the index that does not exist breaks each. */
static void test_i6_index_that_misses(void **state) {
    mtrace_intern_table_ *pools[3];
    size_t i;
    (void)state;
    start();
    mtrace_scope_restore(mtrace_scope_push_at(&site));
    pools[0] = &mtrace_g_.location_table;
    pools[1] = &mtrace_g_.node_table;
    pools[2] = &mtrace_g_.account_table;
    for (i = 0; i < 3; i++) {
        uint32_t at = 0;
        mtrace_number_t_ entry;
        while (pools[i]->index[at] == 0) {
            at++;
            assert_true(at < pools[i]->index_used);
        }
        entry = pools[i]->index[at];
        pools[i]->index[at] = 5000;
        expect("I6");
        pools[i]->index[at] = entry;
    }
    finish();
}

static void test_i6_interned_site_not_found(void **state) {
    mtrace_interned_ *table;
    uint32_t at = 0, entry;
    (void)state;
    start();
    assert_non_null(test_intern("check.c", NULL, NULL, 1));
    table = mtrace_g_.interned;
    while (table->index[at] == 0) {
        at++;
    }
    entry = table->index[at];
    table->index[at] = entry + 1; /* of none */
    expect("I6");
    table->index[at] = 0;
    table->index[(at + 2) % MTRACE_RECORD_INDEX_] = entry; /* where no search comes by */
    expect("I6");
    table->index[(at + 2) % MTRACE_RECORD_INDEX_] = 0;
    table->index[at] = entry;
    finish();
}

#if TEST_ATOMICS
static void test_i8_quotas_above_the_peak(void **state) {
    int64_t quota;
    (void)state;
    start();
    assert_int_equal(mtrace_untrack_at(1, 977, &site), MTRACE_OK); /* the peak is left */
    quota = shard_in_use()->quota;
    shard_in_use()->quota = quota + 1000000;
    expect("I8");
    shard_in_use()->quota = quota;
    finish();
}

static void expect_on_eight(const void *word) {
    assert_int_equal((uintptr_t)word % 8, 0);
}

/* On x86 an atomic addition of 8 bytes across two cache lines stops all processors, and takes a
   thousand times as long. With 32 bits a uint64_t need not stand on a multiple of 8. */
static void test_words_do_not_cross_cache_lines(void **state) {
    const mtrace_shard_ *shards[2];
    size_t i;
    (void)state;
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    MT_FREE(MT_MALLOC(10));
    shards[0] = mtrace_shard_at_(0);
    shards[1] = shard_in_use();
    for (i = 0; i < 2; i++) {
        expect_on_eight(&shards[i]->held);
        expect_on_eight(&shards[i]->quota);
        expect_on_eight(&shards[i]->events[0]);
        expect_on_eight(&shards[i]->counters[0].total_bytes);
        expect_on_eight(&shards[i]->counters[1].peak_bytes);
    }
    expect_on_eight(&mtrace_g_.accounts[0].dropped_count);
    expect_on_eight(&mtrace_g_.accounts[1].large_bytes);
    expect_on_eight(&mtrace_g_.session);
    expect_on_eight(&mtrace_g_.gate);
    expect_on_eight(&mtrace_g_.closed);
    expect_on_eight(&mtrace_g_.started);
    expect_on_eight(&mtrace_g_.samples);
    expect_on_eight(&mtrace_g_.account_table.numbers.free_list);
    expect_on_eight(&mtrace_g_.accounts[1].traces_left);
    expect_on_eight(&mtrace_g_.peak);
    expect_on_eight(&mtrace_g_.high_water);
    expect_on_eight(&mtrace_g_.serial);
    expect_on_eight(&mtrace_g_.generation);
    expect_on_eight(&mtrace_g_.lost_names);
    expect_on_eight(&mtrace_g_.lost_scopes);
    expect_on_eight(&mtrace_g_.lost_interned);
    finish();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stopped_is_sound),
        cmocka_unit_test(test_i1_unknown_account),
        cmocka_unit_test(test_i2_trace_in_a_wrong_place),
        cmocka_unit_test(test_i3_wrong_overflow_count),
        cmocka_unit_test(test_i4_counters_that_do_not_add_up),
        cmocka_unit_test(test_i5_totals_that_do_not_add_up),
        cmocka_unit_test(test_i6_index_that_misses),
        cmocka_unit_test(test_i6_interned_site_not_found),
#if TEST_ATOMICS
        cmocka_unit_test(test_i8_quotas_above_the_peak),
        cmocka_unit_test(test_words_do_not_cross_cache_lines),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

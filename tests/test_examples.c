/* The worked examples in the comments of mtrace.h are true: the table of two lines in TRACE TABLE,
   and the two threads near a peak in COUNTERS. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"

#include <pthread.h>

/* ----------------------------------------------------------------------- a table of two lines */

enum { SLOTS = 8, NAMES = 7 };

static uintptr_t keys[NAMES]; /* of traces a to g; 0: not in the table */
static mtrace_site site;

/* An address with that home slot, which no trace has yet. */
static uintptr_t address_at(uint32_t home) {
    static uintptr_t address = 0x10000;
    do {
        address += 32;
    } while (mtrace_home_(address, false) != home);
    return address;
}

static char name_in(uint32_t at) {
    char i;
    for (i = 0; i < NAMES; i++) {
        if (keys[(int)i] != 0 && mtrace_slot_key_(&mtrace_g_.slots[at]) == keys[(int)i] &&
            mtrace_g_.slots[at].account != 0) {
            return (char)('a' + i);
        }
    }
    return '.';
}

/* `slots` as in the comment, without blanks; `counts` are near and far ones of slots 0, 1 and 5. */
static void expect_table(const char *slots, const char *counts) {
    static const uint32_t counted[] = {0, 1, 5};
    char found[SLOTS + 1] = "", text[16] = "";
    uint32_t at, i, sum = 0, all = 0;
    for (at = 0; at < SLOTS; at++) {
        found[at] = name_in(at);
        all += mtrace_g_.slots[at].overflow;
    }
    for (i = 0; i < 3; i++) {
        uint32_t count = mtrace_g_.slots[counted[i]].overflow;
        sum += count;
        text[3 * i] = (char)('0' + (int)(count % MTRACE_OTHER_LINE_ONE_));
        text[3 * i + 1] = (char)('0' + (int)(count / MTRACE_OTHER_LINE_ONE_));
        text[3 * i + 2] = ' ';
    }
    text[8] = '\0';
    assert_string_equal(found, slots);
    assert_string_equal(text, counts);
    assert_int_equal(all, sum);
}

static void insert(char name, uint32_t home) {
    uintptr_t *key = &keys[name - 'a'];
    *key = address_at(home);
    assert_int_equal(mtrace_track_at(0, *key, 10, &site), MTRACE_OK);
}

static void take(char name) {
    uintptr_t *key = &keys[name - 'a'];
    assert_int_equal(mtrace_untrack_at(0, *key, &site), MTRACE_OK);
    *key = 0;
}

static uint32_t slot_of(char name) {
    return mtrace_find_slot_(mtrace_home_(keys[name - 'a'], false), keys[name - 'a'], 0);
}

static void test_a_table_of_two_lines(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.max_blocks = SLOTS / 2;
    site = test_site("examples.c", 1);
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_g_.mask + 1, SLOTS);
    insert('a', 1);
    expect_table(".a......", "00 00 00");
    insert('b', 1);
    expect_table("ba......", "00 10 00");
    insert('c', 0);
    expect_table("bac.....", "10 10 00");
    insert('d', 3);
    expect_table("bacd....", "10 10 00");
    insert('e', 1);
    expect_table("bacd.e..", "10 11 00");
    insert('f', 5);
    expect_table("bacdfe..", "10 11 10");
    insert('g', 1);
    expect_table("bacdfe.g", "10 12 20");
    assert_int_equal(slot_of('g'), 7);
    take('e');
    expect_table("bacdf..g", "10 11 20");
    assert_int_equal(slot_of('g'), 7);
    take('g');
    expect_table("bacdf...", "10 10 10");
    test_sound();
    mtrace_stop();
}

/* -------------------------------------------------------------------- two threads near a peak */

#if TEST_ATOMICS
typedef struct act {
    int thread;
    int block;   /* in blocks[] */
    size_t size; /* 0: it is freed */
} act;

/* An account's live bytes, its saved ones, and their number. */
typedef struct holder {
    uint64_t live, saved;
    size_t number;
} holder;

typedef struct moment {
    int64_t held[2], quota[2];
    uint64_t peak;
    size_t number;
    holder holders[2];
} moment;

static const act acts[] = {{2, 0, 1},  {2, 0, 0},  {2, 0, 2},  {2, 0, 0}, {1, 1, 30},
                           {2, 2, 30}, {2, 3, 20}, {2, 4, 20}, {2, 3, 0}, /* now */
                           {1, 5, 15}, {1, 6, 10}, {2, 7, 3},  {2, 4, 0}, {1, 5, 0}};
enum { ACTS = sizeof acts / sizeof *acts, NOW = 8 };

static const moment moments[] = {
    {{30, 50}, {30, 70}, 100, 7, {{30, 0, 5}, {50, 70, 7}}},
    {{45, 50}, {47, 52}, 100, 7, {{45, 30, 7}, {50, 70, 7}}},
    {{55, 50}, {INT64_MAX, INT64_MAX}, 100, 7, {{55, 30, 7}, {50, 70, 7}}},
    {{55, 53}, {INT64_MAX, INT64_MAX}, 100, 7, {{55, 30, 7}, {53, 70, 7}}},
    {{55, 33}, {55, 53}, 108, 9, {{55, 30, 7}, {33, 53, 9}}},
    {{40, 33}, {55, 53}, 108, 9, {{40, 55, 9}, {33, 53, 9}}}};

static void *blocks[8];
static mtrace_site sites[2]; /* of accounts A and B */
static pthread_barrier_t turn;

static void run(const act *a, int thread) {
    mtrace_site *its = &sites[thread - 1];
    pthread_barrier_wait(&turn);
    if (a->thread == thread && a->size != 0) {
        blocks[a->block] = mtrace_malloc_at(a->size, its);
    } else if (a->thread == thread) {
        mtrace_free_at(blocks[a->block], its);
    }
    pthread_barrier_wait(&turn);
}

static void *thread_two(void *argument) {
    size_t i;
    (void)argument;
    for (i = 0; i < ACTS; i++) {
        run(&acts[i], 2);
    }
    return NULL;
}

static void expect_moment(const moment *m) {
    int i;
    bool above = m->quota[0] == INT64_MAX;
    for (i = 0; i < 2; i++) {
        mtrace_shard_ *shard = &mtrace_g_.shards[i + 1];
        mtrace_counters_ *its = &shard->counters[(uint32_t)*sites[i].cache];
        assert_int_equal(shard->held, m->held[i]);
        assert_int_equal(shard->quota, m->quota[i]);
        assert_int_equal(its->total_bytes - its->freed_bytes, m->holders[i].live);
        assert_int_equal(its->peak_bytes, m->holders[i].saved);
        assert_int_equal(its->peak_number, m->holders[i].number);
    }
    assert_int_equal(mtrace_g_.peak, m->peak);
    assert_int_equal(mtrace_g_.peak_number, m->number);
    assert_int_equal(mtrace_is_above_peak_(), above);
}

/* What the rows say of the newest peak. */
static void expect_peak(uint64_t a, uint64_t b) {
    mtrace_counters_ sum;
    mtrace_account_sum_((uint32_t)*sites[0].cache, &sum);
    assert_int_equal(sum.peak_bytes, a);
    mtrace_account_sum_((uint32_t)*sites[1].cache, &sum);
    assert_int_equal(sum.peak_bytes, b);
}

static void test_two_threads_near_a_peak(void **state) {
    pthread_t thread;
    size_t i;
    (void)state;
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    sites[0] = test_site("examples.c", 10);
    sites[1] = test_site("examples.c", 20);
    (void)mtrace_get_traced_memory(); /* this thread has a shard now */
    assert_ptr_equal(mtrace_me_.shard, &mtrace_g_.shards[1]);
    assert_int_equal(pthread_barrier_init(&turn, NULL, 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, thread_two, NULL), 0);
    for (i = 0; i < ACTS; i++) {
        run(&acts[i], 1);
        if (i >= NOW) {
            expect_moment(&moments[i - NOW]);
        }
        if (i + 2 >= ACTS) { /* since the new peak, before and after A's free */
            expect_peak(55, 53);
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_barrier_destroy(&turn);
    mtrace_free_at(blocks[1], &sites[0]);
    mtrace_free_at(blocks[2], &sites[1]);
    mtrace_free_at(blocks[6], &sites[0]);
    mtrace_free_at(blocks[7], &sites[1]);
    test_sound();
    mtrace_stop();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_table_of_two_lines),
#if TEST_ATOMICS
        cmocka_unit_test(test_two_threads_near_a_peak),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Domains: heap blocks counted apart by MT_MALLOC_IN and its family, tracked keys, names in
   reports. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"
#include "support/tools.h"
#include "support/traces.h"

TEST_SANITIZER_OPTIONS

enum { LONGEST = MTRACE_DOMAIN_NAME_BYTES - 1 };

/* Names outlive the tracer: each test begins without. */
static int setup(void **state) {
    (void)state;
    test_forget_domain_names();
    test_start(32, 32);
    return 0;
}

static void expect_domains(const char *wanted) {
    mtrace_snapshot *s = test_take(true);
    test_sound();
    test_expect_statistics(s, MTRACE_BY_DOMAIN, wanted);
    mtrace_snapshot_free(s);
}

static void expect_block(void *block, uint32_t domain, uint64_t size) {
    mtrace_block found = MTRACE_ZERO_;
    test_sound();
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_int_equal(found.domain, domain);
    assert_int_equal(found.size, size);
}

/* --- the family --- */

typedef struct pixel {
    unsigned char rgb[3];
} pixel;

static void test_malloc_in(void **state) {
    void *block = MT_MALLOC_IN(7, 100);
    (void)state;
    test_sound();
    expect_block(block, 7, 100);
    expect_domains("7 100 1");
    MT_FREE(block);
    test_untraced(block);
    expect_domains("");
}

static void test_calloc_in(void **state) {
    static const unsigned char zeros[60] = MTRACE_ZERO_;
    void *block = MT_CALLOC_IN(8, 3, 20);
    (void)state;
    expect_block(block, 8, 60);
    assert_memory_equal(block, zeros, 60);
    MT_FREE(block);
    expect_domains("");
}

static void test_realloc_in(void **state) {
    void *block = MT_REALLOC_IN(9, NULL, 10);
    (void)state;
    expect_block(block, 9, 10);
    block = MT_REALLOC_IN(9, block, 3000);
    expect_block(block, 9, 3000);
    block = MT_REALLOC_IN(10, block, 20); /* it keeps its domain */
    expect_block(block, 9, 20);
    assert_null(MT_REALLOC_IN(9, block, 0));
    expect_domains("");
    block = malloc(1);
    block = MT_REALLOC_IN(9, block, 2); /* not traced before: it comes into the domain */
    expect_block(block, 9, 2);
    MT_FREE(block);
}

/* UINT32_MAX is no domain of a scope: it stays that of the scope around. */
static void test_scope_in_no_domain(void **state) {
    mtrace_scope before = MT_SCOPE_PUSH_IN(5);
    void *block;
    (void)state;
    (void)MT_SCOPE_PUSH_IN(UINT32_MAX);
    block = MT_MALLOC(10);
    expect_block(block, 5, 10);
    block = MT_REALLOC(block, 20);
    expect_block(block, 5, 20);
    MT_SCOPE_POP(before);
    MT_FREE(block);
}

static void test_new_in(void **state) {
    static const unsigned char zeros[12] = MTRACE_ZERO_;
    pixel *one = MT_NEW_IN(11, pixel), *four = MT_NEW_ARRAY_IN(12, pixel, 4);
    mtrace_block found = MTRACE_ZERO_;
    volatile size_t too_many = SIZE_MAX / 2;
    (void)state;
    expect_block(one, 11, 3);
    expect_block(four, 12, 12);
    assert_memory_equal(four, zeros, 12);
    assert_int_equal(mtrace_find(&found, four), MTRACE_OK);
    assert_string_equal(found.type, "pixel");
    assert_null(MT_NEW_ARRAY_IN(12, pixel, too_many));
    expect_domains("12 12 1 | 11 3 1");
    MT_FREE(one);
    MT_FREE(four);
    expect_domains("12 0 0"); /* the row of the failure */
}

static void test_failed_calls(void **state) {
    void *block = MT_MALLOC_IN(7, 5);
    (void)state;
    test_fail_next = -1;
    assert_null(MT_MALLOC_IN(7, 1));
    assert_null(MT_CALLOC_IN(7, 1, 1));
    assert_null(MT_REALLOC_IN(7, NULL, 1));
    assert_null(MT_REALLOC_IN(7, block, 10));
    test_fail_next = 0;
    expect_block(block, 7, 5);
    expect_domains("7 5 1");
    MT_FREE(block);
}

/* Its argument is evaluated once, as macros' arguments are. */
static void test_evaluated_once(void **state) {
    uint32_t domain = 3;
    void *block = MT_MALLOC_IN(domain++, 1), *other = MT_REALLOC_IN(domain++, NULL, 1);
    (void)state;
    expect_block(block, 3, 1);
    expect_block(other, 4, 1);
    assert_int_equal(domain, 5);
    MT_FREE(block);
    MT_FREE(other);
}

static void *at_one_site(uint32_t domain) {
    return MT_MALLOC_IN(domain, 10);
}

/* One call site in three domains is three accounts, however often it is called. */
static void test_accounts(void **state) {
    void *blocks[9];
    size_t i;
    (void)state;
    for (i = 0; i < 9; i++) {
        blocks[i] = at_one_site((uint32_t)i % 3);
    }
    assert_int_equal(mtrace_get_info().sites, 3);
    expect_domains("2 30 3 | 1 30 3 | 0 30 3");
    for (i = 0; i < 9; i++) {
        MT_FREE(blocks[i]);
    }
    expect_domains("");
}

/* Domain 0 is a heap block's as much as any other. */
static void test_realloc_keeps_domain(void **state) {
    void *block = MT_MALLOC_IN(7, 10), *plain = MT_MALLOC(20);
    (void)state;
    block = MT_REALLOC(block, 5000);
    expect_block(block, 7, 5000);
    block = MT_REALLOCARRAY(block, 3, 10);
    expect_block(block, 7, 30);
    plain = MT_REALLOC_IN(7, plain, 40);
    expect_block(plain, 0, 40);
    expect_domains("0 40 1 | 7 30 1");
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    MT_FREE(block);
    MT_FREE(plain);
    expect_domains("");
}

static void test_realloc_while_paused(void **state) {
    void *block = MT_MALLOC_IN(7, 10), *unseen;
    (void)state;
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    block = MT_REALLOC_IN(8, block, 50);
    unseen = MT_MALLOC_IN(7, 10);
    assert_int_equal(mtrace_resume(), MTRACE_OK);
    expect_block(block, 7, 50);
    test_untraced(unseen);
    expect_domains("7 50 1");
    MT_FREE(block);
    MT_FREE(unseen);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
}

static void test_stopped(void **state) {
    void *block;
    (void)state;
    mtrace_stop();
    block = MT_MALLOC_IN(7, 10);
    assert_non_null(block);
    block = MT_REALLOC_IN(7, block, 20);
    assert_non_null(block);
    MT_FREE(block);
    block = MT_CALLOC_IN(7, 2, 3);
    assert_non_null(block);
    MT_FREE(block);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
}

/* --- keys --- */

static void expect_key(uint32_t domain, uintptr_t key, uint64_t size) {
    mtrace_block found = MTRACE_ZERO_;
    assert_int_equal(mtrace_find_tracked(&found, domain, key, NULL, 0), MTRACE_OK);
    assert_int_equal(found.size, size);
    assert_int_equal(found.domain, domain);
    assert_int_equal(found.address, key);
}

static void test_same_key_in_two_domains(void **state) {
    mtrace_block found;
    (void)state;
    assert_int_equal(MT_TRACK(1, 5000, 10), MTRACE_OK);
    assert_int_equal(MT_TRACK(2, 5000, 20), MTRACE_OK);
    assert_int_equal(MT_TRACK(UINT32_MAX - 1, 5000, 40), MTRACE_OK);
    expect_key(1, 5000, 10);
    expect_key(2, 5000, 20);
    expect_key(UINT32_MAX - 1, 5000, 40);
    assert_int_equal(mtrace_find_tracked(&found, 3, 5000, NULL, 0), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(mtrace_find_tracked(&found, 0, 5000, NULL, 0), MTRACE_ERR_NOT_FOUND);
    expect_domains("4294967294 40 1 | 2 20 1 | 1 10 1");
    assert_int_equal(MT_UNTRACK(2, 5000), MTRACE_OK);
    assert_int_equal(MT_UNTRACK(2, 5000), MTRACE_ERR_NOT_FOUND);
    expect_key(1, 5000, 10);
    expect_domains("4294967294 40 1 | 1 10 1");
}

/* A heap block counted in domain 7 and a key tracked in domain 7 are two traces, too. */
static void test_heap_and_tracked(void **state) {
    void *block = MT_MALLOC_IN(7, 100);
    mtrace_block found;
    (void)state;
    assert_int_equal(mtrace_find_tracked(&found, 7, (uintptr_t)block, NULL, 0),
                     MTRACE_ERR_NOT_FOUND);
    assert_int_equal(MT_TRACK(7, block, 11), MTRACE_OK);
    expect_key(7, (uintptr_t)block, 11);
    expect_block(block, 7, 100);
    expect_domains("7 111 2");
    assert_int_equal(MT_UNTRACK(7, block), MTRACE_OK);
    expect_block(block, 7, 100);
    assert_int_equal(MT_TRACK(7, block, 12), MTRACE_OK);
    MT_FREE(block);
    expect_domains("7 12 1");
    assert_int_equal(mtrace_get_info().stale_replaced, 0);
}

/* Domain 0 is the heap: its keys are addresses, whichever domain the block is counted in. */
static void test_heap_by_address(void **state) {
    void *block = MT_MALLOC_IN(7, 100);
    mtrace_frame frame;
    mtrace_traceback traceback;
    (void)state;
    assert_int_equal(test_find_traceback(&traceback, 0, (uintptr_t)block, &frame, 1), MTRACE_OK);
    assert_int_equal(traceback.count, 1);
    assert_int_equal(test_find_traceback(&traceback, 7, (uintptr_t)block, &frame, 1),
                     MTRACE_ERR_NOT_FOUND);
    assert_int_equal(MT_UNTRACK(7, block), MTRACE_ERR_NOT_FOUND);
    assert_int_equal(MT_UNTRACK(0, block), MTRACE_OK);
    test_untraced(block);
    MT_FREE(block);
}

static void test_last_domain_is_refused(void **state) {
    (void)state;
    assert_int_equal(MT_TRACK(UINT32_MAX, 1, 1), MTRACE_ERR_ARGUMENT);
    expect_domains("");
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    mtrace_stop();
    assert_int_equal(MT_TRACK(UINT32_MAX, 1, 1), MTRACE_ERR_ARGUMENT);
    assert_int_equal(MT_TRACK(1, 1, 1), MTRACE_ERR_NOT_TRACING);
}

/* A full site table takes the block, and says so; MT_FREE finds it there. */
static void test_full_site_table(void **state) {
    void *blocks[5];
    size_t i;
    (void)state;
    mtrace_stop();
    test_start(32, 3);
    for (i = 0; i < 5; i++) {
        blocks[i] = at_one_site((uint32_t)i + 1);
    }
    assert_int_equal(mtrace_get_info().lost_sites, 2);
    expect_domains("5 10 1 | 4 10 1 | 3 10 1 | 2 10 1 | 1 10 1"); /* each has its "<other>" */
    blocks[4] = MT_REALLOC(blocks[4], 30);
    expect_block(blocks[4], 5, 30);
    expect_block(blocks[2], 3, 10);
    for (i = 0; i < 5; i++) {
        MT_FREE(blocks[i]);
    }
    expect_domains("");
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
}

/* A domain does not make a site forget what it is outside of it. */
static void test_site_in_and_outside(void **state) {
    mtrace_site site = test_site("a.c", 1);
    void *blocks[4];
    size_t i;
    (void)state;
    blocks[0] = mtrace_malloc_at(1, &site);
    blocks[1] = mtrace_malloc_in_at(5, 2, &site);
    blocks[2] = mtrace_malloc_at(4, &site);
    blocks[3] = mtrace_malloc_in_at(0, 8, &site);
    expect_domains("0 13 3 | 5 2 1");
    assert_int_equal(mtrace_get_info().sites, 2);
    for (i = 0; i < 4; i++) {
        MT_FREE(blocks[i]);
    }
}

/* --- random calls beside a naive model --- */

enum { BLOCKS = 24, DOMAINS = 4, STEPS = 6000 };

typedef struct heap {
    void *blocks[BLOCKS];
    uint32_t domains[BLOCKS];
    uint32_t sizes[BLOCKS];
    bool tracked[BLOCKS]; /* the block's address in domain 2, too, with size 7 */
} heap;

static uint32_t seed = 1;

static uint32_t pick(uint32_t n) {
    return test_random(&seed, n);
}

static void heap_step(heap *h) {
    uint32_t i = pick(BLOCKS), what = pick(4), domain = pick(DOMAINS), size = 1 + pick(2000);
    if (h->blocks[i] == NULL) {
        h->blocks[i] = what == 0   ? MT_MALLOC_IN(domain, size)
                       : what == 1 ? MT_CALLOC_IN(domain, 1, size)
                       : what == 2 ? MT_REALLOC_IN(domain, NULL, size)
                                   : MT_MALLOC(size);
        h->domains[i] = what == 3 ? 0 : domain;
        h->sizes[i] = size;
    } else if (h->tracked[i]) {
        assert_int_equal(MT_UNTRACK(2, h->blocks[i]), MTRACE_OK);
        h->tracked[i] = false;
    } else if (what == 0) {
        h->blocks[i] = pick(2) == 0 ? MT_REALLOC(h->blocks[i], size)
                                    : MT_REALLOC_IN(domain, h->blocks[i], size);
        h->sizes[i] = size;
    } else if (what == 1) {
        assert_int_equal(MT_TRACK(2, h->blocks[i], 7), MTRACE_OK);
        h->tracked[i] = true;
    } else {
        MT_FREE(h->blocks[i]);
        h->blocks[i] = NULL;
    }
}

static void expect_heap(const heap *h) {
    uint64_t size[DOMAINS] = MTRACE_ZERO_, count[DOMAINS] = MTRACE_ZERO_;
    mtrace_snapshot *s = test_take(true);
    mtrace_rows *rows;
    uint32_t i;
    for (i = 0; i < BLOCKS; i++) {
        if (h->blocks[i] != NULL) {
            size[h->domains[i]] += h->sizes[i];
            count[h->domains[i]]++;
            expect_block(h->blocks[i], h->domains[i], h->sizes[i]);
        }
        size[2] += h->tracked[i] ? 7 : 0;
        count[2] += h->tracked[i] ? 1 : 0;
    }
    rows = test_rows(s, MTRACE_BY_DOMAIN);
    for (i = 0; i < rows->count; i++) {
        assert_true(rows->rows[i].domain < DOMAINS);
        assert_int_equal(rows->rows[i].size, size[rows->rows[i].domain]);
        assert_int_equal(rows->rows[i].count, count[rows->rows[i].domain]);
        size[rows->rows[i].domain] = 0;
    }
    for (i = 0; i < DOMAINS; i++) {
        assert_int_equal(size[i], 0);
    }
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
}

static void test_random_calls(void **state) {
    static heap h;
    int step;
    uint32_t i;
    (void)state;
    mtrace_stop();
    test_start(512, 64);
    for (step = 0; step < STEPS; step++) {
        heap_step(&h);
        if (step % 50 == 0) {
            expect_heap(&h);
        }
    }
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    for (i = 0; i < BLOCKS; i++) {
        MT_FREE(h.blocks[i]);
    }
    test_sound();
}

/* --- names --- */

static void test_names(void **state) {
    (void)state;
    assert_int_equal(mtrace_name_domain(7, "gpu"), MTRACE_OK);
    assert_int_equal(mtrace_name_domain(0, "heap"), MTRACE_OK);
    assert_int_equal(MT_TRACK(7, 1, 10), MTRACE_OK);
    assert_int_equal(MT_TRACK(8, 1, 5), MTRACE_OK);
    assert_int_equal(MT_TRACK(0, 320, 1), MTRACE_OK);
    expect_domains("7 (gpu) 10 1 | 8 5 1 | 0 (heap) 1 1");
}

static const char *domain_report(mtrace_style style, test_output *out) {
    mtrace_snapshot *s = test_take(true);
    mtrace_rows *rows = test_rows(s, MTRACE_BY_DOMAIN);
    test_report(out, rows, style);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
    return out->text;
}

static void test_names_in_reports(void **state) {
    test_output out;
    (void)state;
    assert_int_equal(mtrace_name_domain(7, "gpu textures"), MTRACE_OK);
    assert_int_equal(MT_TRACK(7, 1, 10), MTRACE_OK);
    assert_int_equal(MT_TRACK(8, 1, 5), MTRACE_OK);
    domain_report(MTRACE_STYLE_TABLE, &out);
    assert_non_null(strstr(out.text, "15 B in 2 blocks held, 15 B at the peak; 2 of 2 domains\n"));
    assert_non_null(strstr(out.text, "      10 B    domain 7 gpu textures\n"));
    assert_non_null(strstr(out.text, "       5 B    domain 8\n"));
    domain_report(MTRACE_STYLE_PYTHON, &out);
    assert_string_equal(out.text, "domain 7 gpu textures: size=10 B, count=1, average=10 B\n"
                                  "domain 8: size=5 B, count=1, average=5 B\n");
    domain_report(MTRACE_STYLE_LINES, &out);
    assert_non_null(strstr(out.text, "\n10 1 +0 +0 10 1 10 1 0 0 0 0 domain 7 gpu textures\n"));
    domain_report(MTRACE_STYLE_WARNINGS, &out);
    assert_string_equal(out.text, "domain 7 gpu textures: warning: 10 B in 1 block not freed\n"
                                  "domain 8: warning: 5 B in 1 block not freed\n");
}

static void test_long_names(void **state) {
    char name[LONGEST + 2], wanted[LONGEST + 32];
    (void)state;
    memset(name, 'n', LONGEST + 1);
    name[LONGEST + 1] = '\0';
    assert_int_equal(mtrace_name_domain(1, name), MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_name_domain(1, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(MT_TRACK(1, 1, 10), MTRACE_OK);
    expect_domains("1 10 1");
    name[LONGEST] = '\0';
    assert_int_equal(mtrace_name_domain(1, name), MTRACE_OK);
    snprintf(wanted, sizeof wanted, "1 (%s) 10 1", name);
    expect_domains(wanted);
    name[0] = 'x'; /* it is a copy */
    expect_domains(wanted);
}

/* A snapshot has the names of its moment, and keeps them. */
static void test_names_in_snapshots(void **state) {
    mtrace_snapshot *before, *first, *second;
    (void)state;
    assert_int_equal(MT_TRACK(1, 1, 10), MTRACE_OK);
    before = test_take(true);
    assert_int_equal(mtrace_name_domain(1, "one"), MTRACE_OK);
    first = test_take(true);
    assert_int_equal(mtrace_name_domain(1, "uno"), MTRACE_OK);
    second = test_take(true);
    mtrace_stop();
    test_expect_statistics(before, MTRACE_BY_DOMAIN, "1 10 1");
    test_expect_statistics(first, MTRACE_BY_DOMAIN, "1 (one) 10 1");
    test_expect_statistics(second, MTRACE_BY_DOMAIN, "1 (uno) 10 1");
    test_expect_compare(second, first, MTRACE_BY_DOMAIN, "1 (uno) 10 +0 1 +0");
    mtrace_snapshot_free(before);
    mtrace_snapshot_free(first);
    mtrace_snapshot_free(second);
}

/* A name is of no session, and may be given before the first. */
static void test_names_outlive_stop(void **state) {
    (void)state;
    assert_int_equal(mtrace_name_domain(1, "one"), MTRACE_OK);
    mtrace_stop();
    assert_int_equal(mtrace_name_domain(2, "two"), MTRACE_OK);
    test_start(32, 8);
    assert_int_equal(MT_TRACK(1, 1, 10), MTRACE_OK);
    assert_int_equal(MT_TRACK(2, 1, 5), MTRACE_OK);
    expect_domains("1 (one) 10 1 | 2 (two) 5 1");
    mtrace_clear();
    assert_int_equal(MT_TRACK(1, 1, 10), MTRACE_OK);
    expect_domains("1 (one) 10 1");
}

/* The same name again takes no room; a domain more than there is room for has none. */
static void test_full_of_names(void **state) {
    char name[16], wanted[64];
    uint32_t i, last = MTRACE_MAX_DOMAIN_NAMES - 1;
    (void)state;
    for (i = 0; i <= last; i++) {
        snprintf(name, sizeof name, "d%lu", (unsigned long)i);
        assert_int_equal(mtrace_name_domain(i, name), MTRACE_OK);
        assert_int_equal(mtrace_name_domain(i, name), MTRACE_OK);
        assert_int_equal(mtrace_name_domain(0, "d0"), MTRACE_OK);
    }
    assert_int_equal(mtrace_name_domain(last + 1, "more"), MTRACE_ERR_FULL_DOMAINS);
    assert_int_equal(mtrace_name_domain(0, "d0"), MTRACE_OK);
    assert_int_equal(MT_TRACK(last, 1, 10), MTRACE_OK);
    assert_int_equal(MT_TRACK(last + 1, 1, 5), MTRACE_OK);
    snprintf(wanted, sizeof wanted, "%lu (%s) 10 1 | %lu 5 1", (unsigned long)last, name,
             (unsigned long)last + 1);
    expect_domains(wanted);
}

static void test_renamed(void **state) {
    (void)state;
    assert_int_equal(mtrace_name_domain(1, "one"), MTRACE_OK);
    assert_int_equal(mtrace_name_domain(2, "two"), MTRACE_OK);
    assert_int_equal(mtrace_name_domain(1, "uno"), MTRACE_OK);
    assert_int_equal(MT_TRACK(1, 1, 10), MTRACE_OK);
    assert_int_equal(MT_TRACK(2, 1, 5), MTRACE_OK);
    expect_domains("1 (uno) 10 1 | 2 (two) 5 1");
    assert_int_equal(mtrace_name_domain(1, "one"), MTRACE_OK);
    assert_int_equal(mtrace_name_domain(2, "one"), MTRACE_OK); /* two of one name */
    expect_domains("1 (one) 10 1 | 2 (one) 5 1");
}

/* A block's domain is not a part of a line; rows by line say nothing of it. */
static void test_names_only_by_domain(void **state) {
    mtrace_snapshot *s;
    mtrace_rows *rows;
    (void)state;
    assert_int_equal(mtrace_name_domain(1, "one"), MTRACE_OK);
    assert_int_equal(MT_TRACK(1, 1, 10), MTRACE_OK);
    s = test_take(true);
    rows = test_rows(s, MTRACE_BY_TRACEBACK);
    assert_int_equal(rows->count, 1);
    assert_null(rows->rows[0].domain_name);
    assert_int_equal(rows->rows[0].domain, 0);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(s);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, test_stop_after)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_malloc_in),
        TEST(test_calloc_in),
        TEST(test_realloc_in),
        TEST(test_scope_in_no_domain),
        TEST(test_new_in),
        TEST(test_failed_calls),
        TEST(test_evaluated_once),
        TEST(test_accounts),
        TEST(test_realloc_keeps_domain),
        TEST(test_realloc_while_paused),
        TEST(test_stopped),
        TEST(test_same_key_in_two_domains),
        TEST(test_heap_and_tracked),
        TEST(test_heap_by_address),
        TEST(test_last_domain_is_refused),
        TEST(test_full_site_table),
        TEST(test_site_in_and_outside),
        TEST(test_random_calls),
        TEST(test_names),
        TEST(test_names_in_reports),
        TEST(test_long_names),
        TEST(test_names_in_snapshots),
        TEST(test_names_outlive_stop),
        TEST(test_full_of_names),
        TEST(test_renamed),
        TEST(test_names_only_by_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

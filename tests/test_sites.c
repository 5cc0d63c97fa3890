/* Call sites: the records of the macros, and the allocations that share an account. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "support/test.h"
#include "support/tools.h"

TEST_SANITIZER_OPTIONS

static void start(void) {
    test_start(32, 32);
}

/* Everything freed, nothing foreign: the table is empty again. */
static void stop_empty(void) {
    test_sound();
    assert_int_equal(mtrace_get_info().live, 0);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    mtrace_stop();
}

/* --- the records of the macros --- */

static void test_here(void **state) {
    int line = __LINE__ + 1;
    const mtrace_site *site = MT_HERE;
    (void)state;
    assert_string_equal(site->file, __FILE__);
    assert_non_null(strstr(site->function, "test_here")); /* in C++ more than that, cut later */
    assert_null(site->type);
    assert_int_equal(site->line, line);
    line = __LINE__ + 1;
    site = MT_HERE_TYPED("some type");
    assert_string_equal(site->type, "some type");
    assert_int_equal(site->line, line);
}

static void assert_here(const void *block, uint64_t size, const char *type, const char *function,
                        int line) {
    mtrace_block found = MTRACE_ZERO_;
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_int_equal(found.size, size);
    assert_string_equal(found.file, __FILE__);
    assert_string_equal(found.function, function);
    assert_int_equal(found.line, line);
    if (type == NULL) {
        assert_null(found.type);
    } else {
        assert_non_null(found.type);
        assert_string_equal(found.type, type);
    }
}

typedef struct pair {
    int first;
    int second;
} pair;

/* The block made by one macro has its line. */
#define EXPECT_HERE(made, size, type)                                                              \
    do {                                                                                           \
        block = (made);                                                                            \
        assert_here(block, size, type, "test_each_macro_records_its_line", __LINE__);              \
    } while (0)

static void test_each_macro_records_its_line(void **state) {
    void *block;
    (void)state;
    start();
    EXPECT_HERE(MT_MALLOC(11), 11, NULL);
    EXPECT_HERE(MT_REALLOC(block, 12), 12, NULL);
    EXPECT_HERE(MT_REALLOCARRAY(block, 5, 7), 35, NULL);
    MT_FREE(block);
    EXPECT_HERE(MT_CALLOC(3, 9), 27, NULL);
    MT_FREE(block);
    EXPECT_HERE(MT_ALIGNED_ALLOC(64, 192), 192, NULL);
    MT_FREE(block);
    EXPECT_HERE(MT_STRDUP("hello"), 6, NULL);
    MT_FREE(block);
    EXPECT_HERE(MT_STRNDUP("hello", 2), 3, NULL);
    MT_FREE(block);
    EXPECT_HERE(MT_NEW(pair), sizeof(pair), "pair");
    MT_FREE(block);
    EXPECT_HERE(MT_NEW_ARRAY(uint16_t, 21), 42, "uint16_t");
    MT_FREE(block);
    stop_empty();
}

static void test_track_records_its_line(void **state) {
    mtrace_block found = MTRACE_ZERO_;
    int line;
    (void)state;
    start();
    line = __LINE__ + 1;
    assert_int_equal(MT_TRACK(9, 1234, 77), MTRACE_OK);
    assert_int_equal(mtrace_find_tracked(&found, 9, 1234, NULL, 0), MTRACE_OK);
    assert_string_equal(found.file, __FILE__);
    assert_string_equal(found.function, "test_track_records_its_line");
    assert_int_equal(found.line, line);
    assert_int_equal(found.domain, 9);
    assert_int_equal(found.address, 1234);
    assert_int_equal(MT_UNTRACK(9, 1234), MTRACE_OK);
    stop_empty();
}

static void test_types(void **state) {
    struct pair *zeroed;
    const char **names;
    int i;
    (void)state;
    start();
    zeroed = MT_NEW(struct pair);
    assert_here(zeroed, sizeof(pair), "struct pair", "test_types", __LINE__ - 1);
    assert_int_equal(zeroed->first, 0);
    assert_int_equal(zeroed->second, 0);
    names = MT_NEW_ARRAY(const char *, 100);
    assert_here(names, 100 * sizeof(char *), "const char *", "test_types", __LINE__ - 1);
    for (i = 0; i < 100; i++) {
        assert_null(names[i]);
    }
    MT_FREE(names);
    MT_FREE(zeroed);
    stop_empty();
}

/* A product that does not fit gives NULL and leaves nothing behind but a failure. */
static void test_new_array_overflow(void **state) {
    volatile size_t count = SIZE_MAX / sizeof(pair) + 1;
    pair *pairs;
    (void)state;
    start();
    pairs = MT_NEW_ARRAY(pair, count); /* the product would be 0 */
    assert_null(pairs);
    count = count + 1; /* the product would be one pair */
    pairs = MT_NEW_ARRAY(pair, count);
    assert_null(pairs);
    test_held(0, 0, 0);
    assert_int_equal(mtrace_get_info().failed_count, 2);
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    pairs = MT_NEW_ARRAY(pair, 2);
    test_held(2 * sizeof(pair), 2 * sizeof(pair), 1);
    MT_FREE(pairs);
    stop_empty();
}

/* --- macros are expressions and evaluate their arguments once --- */

static int calls;

static size_t number(size_t value) {
    calls++;
    return value;
}

static void *pointer(void *value) {
    calls++;
    return value;
}

static const char *text_of(const char *value) {
    calls++;
    return value;
}

/* The calls and the uses of sizes[i++] up to now, and the bytes held. */
static void expect_once(int i, int used, int expected_calls, uint64_t held) {
    test_sound();
    assert_int_equal(i, used);
    assert_int_equal(calls, expected_calls);
    assert_int_equal(mtrace_get_traced_memory().current, held);
    calls = 0;
}

static void test_arguments_are_evaluated_once(void **state) {
    static const size_t sizes[] = {10, 20, 30, 40, 50, 60};
    void *block;
    int i = 0;
    (void)state;
    start();
    calls = 0;
    block = MT_MALLOC(sizes[i++]);
    expect_once(i, 1, 0, 10);
    block = MT_REALLOC(pointer(block), sizes[i++]);
    expect_once(i, 2, 1, 20);
    block = MT_REALLOCARRAY(pointer(block), number(3), sizes[i++]);
    expect_once(i, 3, 2, 90);
    MT_FREE(pointer(block));
    expect_once(i, 3, 1, 0);
    block = MT_CALLOC(number(2), sizes[i++]);
    expect_once(i, 4, 1, 80);
    MT_FREE(pointer(block));
    expect_once(i, 4, 1, 0);
    block = MT_ALIGNED_ALLOC(number(64), sizes[i++]);
    expect_once(i, 5, 1, 50);
    MT_FREE(pointer(block));
    expect_once(i, 5, 1, 0);
    block = MT_STRDUP(text_of("one"));
    expect_once(i, 5, 1, 4);
    MT_FREE(pointer(block));
    expect_once(i, 5, 1, 0);
    block = MT_STRNDUP(text_of("three"), number(2));
    expect_once(i, 5, 2, 3);
    MT_FREE(pointer(block));
    expect_once(i, 5, 1, 0);
    block = MT_NEW_ARRAY(pair, sizes[i++]);
    expect_once(i, 6, 0, 60 * sizeof(pair));
    MT_FREE(pointer(block));
    expect_once(i, 6, 1, 0);
    stop_empty();
}

static void test_track_arguments_are_evaluated_once(void **state) {
    uint32_t domain = 1;
    uintptr_t key = 100;
    uint64_t size = 1000;
    (void)state;
    start();
    assert_int_equal(MT_TRACK(domain++, key++, size++), MTRACE_OK);
    assert_int_equal(domain, 2);
    assert_int_equal(key, 101);
    assert_int_equal(size, 1001);
    test_held(1000, 1000, 1);
    domain--;
    key--;
    assert_int_equal(MT_UNTRACK(domain++, key++), MTRACE_OK);
    assert_int_equal(domain, 2);
    assert_int_equal(key, 101);
    stop_empty();
}

static void *pass(void *block) {
    return block;
}

/* Where only an expression can stand: as operand, argument, and part of a larger one. */
static void test_macros_are_expressions(void **state) {
    void *block = NULL;
    pair *one;
    bool yes = true;
    (void)state;
    start();
    block = yes ? MT_MALLOC(1 + 2) : NULL;
    test_held(3, 3, 1);
    block = pass(MT_REALLOC(yes ? block : NULL, yes ? 8 : 9));
    test_held(8, 8, 1);
    yes ? MT_FREE(block) : (void)0;
    test_held(0, 8, 0);
    one = (MT_NEW(pair));
    one->second = 5;
    assert_int_equal(one->second, 5);
    test_held(sizeof(pair), sizeof(pair) > 8 ? sizeof(pair) : 8, 1);
    (void)(calls++, MT_FREE(one));
    if ((block = MT_CALLOC(1, 4)) != NULL)
        MT_FREE(block);
    else
        fail();
    stop_empty();
}

/* --- names --- */

static void test_null_site(void **state) {
    mtrace_block found = MTRACE_ZERO_;
    mtrace_site empty = MTRACE_ZERO_;
    void *a, *b;
    (void)state;
    start();
    a = mtrace_malloc_at(10, NULL);
    assert_int_equal(mtrace_find(&found, a), MTRACE_OK);
    assert_string_equal(found.file, "<unknown>");
    assert_int_equal(found.line, 0);
    assert_null(found.function);
    assert_null(found.type);
    b = mtrace_calloc_at(1, 20, &empty); /* a site of zeros is the same one */
    assert_int_equal(mtrace_get_info().sites, 1);
    a = mtrace_realloc_at(a, 15, NULL);
    assert_int_equal(mtrace_track_at(1, 1, 1, NULL), MTRACE_OK);
    assert_int_equal(mtrace_get_info().sites, 2); /* another domain */
    assert_int_equal(test_row("<unknown>", 0).size, 36);
    assert_int_equal(mtrace_get_info().lost_names, 0); /* there was none to lose */
    assert_int_equal(mtrace_untrack_at(1, 1, NULL), MTRACE_OK);
    mtrace_free_at(a, NULL);
    mtrace_free_at(b, NULL);
    stop_empty();
}

/* NULL is a scope as well, and inside of it a site like others. */
static void test_null_site_as_a_scope(void **state) {
    mtrace_frame frames[2];
    mtrace_traceback found = MTRACE_ZERO_;
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_scope outside;
    int i;
    (void)state;
    desc.frames = 2;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    for (i = 0; i < 3; i++) { /* never seen before, then known */
        void *block;
        outside = mtrace_scope_push_at(NULL);
        block = mtrace_malloc_at(10, NULL);
        mtrace_scope_restore(outside);
        assert_int_equal(test_find_traceback(&found, 0, (uintptr_t)block, frames, 2), MTRACE_OK);
        assert_int_equal(found.count, 2);
        assert_string_equal(frames[0].file, "<unknown>");
        assert_string_equal(frames[1].file, "<unknown>");
        mtrace_free_at(block, NULL);
    }
    assert_int_equal(mtrace_get_info().sites, 1);
    stop_empty();
}

/* Without a cache a site is found by its content at each call, so it may change between them. */
static void test_changing_site_without_a_cache(void **state) {
    mtrace_site site = test_site("sites.c", 0);
    void *blocks[6];
    uint32_t i;
    (void)state;
    start();
    site.cache = NULL;
    for (i = 0; i < 6; i++) {
        site.line = 20 + i % 3;
        blocks[i] = mtrace_malloc_at(1 + i, &site);
        assert_int_equal(mtrace_track_at(1, i, 100, &site), MTRACE_OK);
    }
    assert_int_equal(mtrace_get_info().sites, 6); /* three lines in two domains */
    for (i = 0; i < 6; i++) {
        test_traced(blocks[i], 1 + i, "sites.c", 20 + i % 3);
        mtrace_free_at(blocks[i], &site);
        assert_int_equal(mtrace_untrack_at(1, i, &site), MTRACE_OK);
    }
    stop_empty();
}

/* With a cache: the word is zero again before the next call. */
static void test_changing_site_with_a_cache(void **state) {
    uint64_t cache = 0;
    mtrace_site site = test_site("sites.c", 0);
    void *blocks[3];
    uint32_t i;
    (void)state;
    start();
    site.cache = &cache;
    for (i = 0; i < 3; i++) {
        site.line = 20 + i;
        mtrace_free_at(mtrace_malloc_at(5, &site), &site);
        blocks[i] = mtrace_malloc_at(1 + i, &site);
        assert_int_not_equal(cache, 0);
        cache = 0;
    }
    for (i = 0; i < 3; i++) {
        test_traced(blocks[i], 1 + i, "sites.c", 20 + i);
        mtrace_free_at(blocks[i], NULL);
    }
    stop_empty();
}

static void *allocate_at(const char *file, const char *function, const char *type, uint32_t line) {
    mtrace_site site = MTRACE_ZERO_;
    site.file = file;
    site.function = function;
    site.type = type;
    site.line = line;
    return mtrace_malloc_at(10, &site);
}

/* Names may live on the stack: they were copied. */
static void test_names_are_copied(void **state) {
    char file[] = "stack.c", function[] = "on_stack", type[] = "stacked";
    mtrace_block found = MTRACE_ZERO_;
    void *block;
    (void)state;
    start();
    block = allocate_at(file, function, type, 3);
    memset(file, 'x', sizeof file - 1);
    memset(function, 'y', sizeof function - 1);
    memset(type, 'z', sizeof type - 1);
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_string_equal(found.file, "stack.c");
    assert_string_equal(found.function, "on_stack");
    assert_string_equal(found.type, "stacked");
    assert_ptr_not_equal(found.file, file);
    mtrace_free_at(block, NULL);
    stop_empty();
}

static void start_borrowing(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 32;
    desc.max_sites = 32;
    desc.borrow_names = true;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static void test_names_are_borrowed(void **state) {
    static const char file[] = "static.c", function[] = "forever", type[] = "eternal";
    mtrace_block found = MTRACE_ZERO_;
    mtrace_snapshot *snapshot;
    void *block;
    (void)state;
    start_borrowing();
    block = allocate_at(file, function, type, 3);
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_ptr_equal(found.file, file);
    assert_ptr_equal(found.function, function);
    assert_ptr_equal(found.type, type);
    snapshot = test_take(true);
    assert_true(test_block(&found, snapshot, 0));
    assert_ptr_equal(found.file, file);
    mtrace_snapshot_free(snapshot);
    assert_int_equal(mtrace_get_info().lost_names, 0);
    mtrace_free_at(block, NULL);
    stop_empty();
}

/* An inline function in a header has a site in every translation unit, with names of the same
   content at other addresses: all are one call site. */
static void one_account(void) {
    static const char file_a[] = "inline.h", file_b[] = "inline.h";
    static const char function_a[] = "inlined", function_b[] = "inlined";
    static uint64_t cache_a, cache_b;
    static mtrace_site a, b;
    mtrace_block in_a = MTRACE_ZERO_, in_b = MTRACE_ZERO_;
    void *one, *two;
    a.file = file_a;
    a.function = function_a;
    b.file = file_b;
    b.function = function_b;
    assert_ptr_not_equal(a.file, b.file);
    a.line = b.line = 12;
    a.cache = &cache_a;
    b.cache = &cache_b;
    one = mtrace_malloc_at(10, &a);
    two = mtrace_malloc_at(5, &b);
    assert_int_equal(mtrace_get_info().sites, 1);
    assert_int_equal(mtrace_find(&in_a, one), MTRACE_OK);
    assert_int_equal(mtrace_find(&in_b, two), MTRACE_OK);
    assert_ptr_equal(in_a.file, in_b.file);
    assert_ptr_equal(in_a.function, in_b.function);
    assert_int_equal(test_row("inline.h", 12).size, 15);
    assert_int_equal(test_row("inline.h", 12).count, 2);
    mtrace_free_at(one, &b); /* any call site may free it */
    assert_int_equal(test_row("inline.h", 12).size, 5);
    mtrace_free_at(two, &a);
    stop_empty();
}

static void test_equal_sites_are_one_account(void **state) {
    (void)state;
    start();
    one_account();
    start_borrowing();
    one_account();
}

/* --- equal sites --- */

static size_t rows_by(mtrace_key_type key) {
    mtrace_snapshot *snapshot = test_take(false);
    mtrace_rows *rows = test_rows(snapshot, key);
    size_t count = rows->count;
    assert_int_equal(rows->total.count, mtrace_get_info().live);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(snapshot);
    return count;
}

static void test_different_sites(void **state) {
    static const struct {
        const char *name, *file, *function, *type;
        uint32_t line;
        size_t sites; /* with this one */
    } sites[] = {
        {"one", "a.c", "f", "int", 1, 1},          {"another type", "a.c", "f", "long", 1, 2},
        {"no type", "a.c", "f", NULL, 1, 3},       {"another function", "a.c", "g", "int", 1, 4},
        {"another line", "a.c", "f", "int", 2, 5}, {"another file", "b.c", "f", "int", 1, 6},
        {"all the same", "a.c", "f", "int", 1, 6}};
    void *blocks[7];
    size_t i;
    (void)state;
    start();
    for (i = 0; TEST_ROWS(i, sites); i++) {
        blocks[i] = allocate_at(sites[i].file, sites[i].function, sites[i].type, sites[i].line);
        assert_int_equal(mtrace_get_info().sites, sites[i].sites);
    }
    for (i = 0; TEST_ROWS(i, sites); i++) {
        mtrace_block found = MTRACE_ZERO_;
        assert_int_equal(mtrace_find(&found, blocks[i]), MTRACE_OK);
        assert_string_equal(found.function, sites[i].function);
        assert_int_equal(found.type == NULL, sites[i].type == NULL);
        assert_true(found.type == NULL || strcmp(found.type, sites[i].type) == 0);
    }
    assert_int_equal(mtrace_get_info().live, 7);
    assert_int_equal(rows_by(MTRACE_BY_LINE), 3); /* a.c:1, a.c:2, b.c:1 */
    assert_int_equal(rows_by(MTRACE_BY_FILE), 2);
    assert_int_equal(rows_by(MTRACE_BY_FUNCTION), 3); /* f and g in a.c, f in b.c */
    assert_int_equal(rows_by(MTRACE_BY_TYPE), 3);     /* int, long, <untyped> */
    assert_int_equal(rows_by(MTRACE_BY_DOMAIN), 1);
    for (i = 0; i < 7; i++) {
        mtrace_free_at(blocks[i], NULL);
    }
    stop_empty();
}

/* Enough sites for equal hashes: each keeps its own. Half differ in function, half in type. */
static void test_many_sites_on_one_line(void **state) {
    mtrace_block found = MTRACE_ZERO_;
    char name[16];
    uintptr_t i;
    (void)state;
    test_start(8192, 400);
    for (i = 0; i < 400; i++) {
        mtrace_site site = MTRACE_ZERO_;
        snprintf(name, sizeof name, "n%u", (unsigned)i);
        site.file = "a.c";
        site.function = i < 200 ? name : "f";
        site.type = i < 200 ? "t" : name;
        site.line = 1;
        assert_int_equal(mtrace_track_at(1, i, 10, &site), MTRACE_OK);
        assert_int_equal(mtrace_get_info().sites, i + 1);
    }
    test_sound();
    for (i = 0; i < 400; i++) {
        snprintf(name, sizeof name, "n%u", (unsigned)i);
        assert_int_equal(mtrace_find_tracked(&found, 1, i, NULL, 0), MTRACE_OK);
        assert_string_equal(found.function, i < 200 ? name : "f");
        assert_string_equal(found.type, i < 200 ? "t" : name);
        assert_int_equal(mtrace_untrack_at(1, i, NULL), MTRACE_OK);
    }
    assert_int_equal(test_row("a.c", 1).total_count, 400);
    assert_int_equal(mtrace_get_info().lost_sites, 0);
    assert_int_equal(mtrace_get_info().lost_names, 0);
    stop_empty();
}

/* Two macros on one line are one line; two types stay apart. */
static void test_two_on_one_line(void **state) {
    void *a, *b;
    pair *p;
    int *q;
    (void)state;
    start();
    a = MT_MALLOC(1), b = MT_MALLOC(2);
    assert_int_equal(mtrace_get_info().sites, 1);
    assert_int_equal(test_row(__FILE__, __LINE__ - 2).size, 3);
    p = MT_NEW(pair), q = MT_NEW(int);
    assert_int_equal(mtrace_get_info().sites, 3);
    assert_here(p, sizeof *p, "pair", "test_two_on_one_line", __LINE__ - 2);
    assert_here(q, sizeof *q, "int", "test_two_on_one_line", __LINE__ - 3);
    MT_FREE(a), MT_FREE(b), MT_FREE(p), MT_FREE(q);
    stop_empty();
}

/* One site that serves two domains, in turns. */
static void test_domains_of_one_site(void **state) {
    mtrace_site site = test_site("sites.c", 70);
    mtrace_block found = MTRACE_ZERO_;
    uint32_t i;
    (void)state;
    start();
    for (i = 0; i < 12; i++) {
        assert_int_equal(mtrace_track_at(i % 3, i + 1, i, &site), MTRACE_OK);
        test_sound();
    }
    assert_int_equal(mtrace_get_info().sites, 3);
    for (i = 0; i < 12; i++) {
        assert_int_equal(mtrace_find_tracked(&found, i % 3, i + 1, NULL, 0), MTRACE_OK);
        assert_int_equal(found.domain, i % 3);
        assert_int_equal(found.size, i);
        assert_int_equal(mtrace_untrack_at(i % 3, i + 1, &site), MTRACE_OK);
    }
    stop_empty();
}

/* --- full tables --- */

static void test_site_table_full(void **state) {
    mtrace_site sites[6];
    void *blocks[6];
    mtrace_block found = MTRACE_ZERO_;
    uint32_t i;
    (void)state;
    test_start(32, 3);
    for (i = 0; i < 6; i++) {
        sites[i] = test_site("sites.c", 80 + i);
        blocks[i] = mtrace_malloc_at(10 + i, &sites[i]);
        test_sound();
    }
    assert_int_equal(mtrace_get_info().max_sites, 3);
    assert_int_equal(mtrace_get_info().sites, 3);
    assert_int_equal(mtrace_get_info().lost_sites, 3);
    for (i = 0; i < 3; i++) {
        test_traced(blocks[i], 10 + i, "sites.c", 80 + i);
    }
    for (i = 3; i < 6; i++) {
        test_traced(blocks[i], 10 + i, "<other>", 0);
        assert_int_equal(mtrace_find(&found, blocks[i]), MTRACE_OK);
        assert_null(found.function);
        assert_null(found.type);
    }
    assert_int_equal(test_row("<other>", 0).size, 13 + 14 + 15);
    assert_int_equal(test_row("<other>", 0).count, 3);
    test_held(75, 75, 6);
    for (i = 0; i < 6; i++) {
        mtrace_free_at(blocks[i], &sites[i]);
        test_sound();
    }
    assert_int_equal(test_row("<other>", 0).frees, 3);
    assert_int_equal(mtrace_get_info().lost_sites, 3);
    blocks[0] = mtrace_malloc_at(1, &sites[5]); /* lost again, and counted again */
    assert_int_equal(mtrace_get_info().lost_sites, 4);
    mtrace_free_at(blocks[0], NULL);
    mtrace_clear();
    assert_int_equal(mtrace_get_info().lost_sites, 0);
    stop_empty();
}

/* A tracked key without room for its site is charged to "<other>" in its domain, as a block is. */
static void test_site_table_full_for_tracked_keys(void **state) {
    mtrace_site first = test_site("sites.c", 90), second = test_site("sites.c", 91);
    mtrace_block found = MTRACE_ZERO_;
    (void)state;
    test_start(32, 1);
    assert_int_equal(mtrace_track_at(0, 4096, 1, &first), MTRACE_OK);
    assert_int_equal(mtrace_track_at(5, 7, 100, &second), MTRACE_OK);
    assert_int_equal(mtrace_track_at(6, 7, 1000, &second), MTRACE_OK);
    test_held(1101, 1101, 3);
    assert_int_equal(mtrace_find_tracked(&found, 5, 7, NULL, 0), MTRACE_OK);
    assert_int_equal(found.size, 100);
    assert_int_equal(found.domain, 5);
    assert_string_equal(found.file, "<other>");
    assert_int_equal(mtrace_find_tracked(&found, 6, 7, NULL, 0), MTRACE_OK);
    assert_int_equal(found.size, 1000);
    assert_int_equal(test_row("<other>", 0).size, 1100);
    assert_int_equal(mtrace_track_at(5, 7, 200, &second), MTRACE_OK); /* replaced */
    test_held(1201, 1201, 3);
    assert_int_equal(mtrace_get_info().lost_sites, 3);
    assert_int_equal(mtrace_get_info().sites, 1);
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    assert_int_equal(mtrace_untrack_at(5, 7, &second), MTRACE_OK);
    assert_int_equal(mtrace_untrack_at(6, 7, &second), MTRACE_OK);
    assert_int_equal(mtrace_untrack_at(0, 4096, &first), MTRACE_OK);
    stop_empty();
}

/* "<other>" has rows for a fixed number of domains. A block of a later domain counts in domain 0.
   A key would not be found again there, so it is dropped. */
static void test_site_table_full_for_many_domains(void **state) {
    enum { OTHERS = 16 }; /* MTRACE_OTHER_DOMAINS */
    mtrace_site first = test_site("sites.c", 90), second = test_site("sites.c", 91);
    mtrace_block found = MTRACE_ZERO_;
    void *block;
    uint32_t i;
    (void)state;
    test_start(32, 1);
    assert_int_equal(mtrace_track_at(0, 4096, 1, &first), MTRACE_OK);
    for (i = 1; i <= OTHERS; i++) {
        assert_int_equal(mtrace_track_at(i, i, 10, &second), MTRACE_OK);
    }
    assert_int_equal(mtrace_track_at(i, i, 10, &second), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_get_info().dropped_count, 1);
    block = mtrace_malloc_in_at(i, 100, &second);
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_int_equal(found.domain, 0);
    block = mtrace_realloc_in_at(1, block, 200, &second); /* keeps its domain */
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_int_equal(found.domain, 0);
    assert_string_equal(found.file, "<other>");
    assert_int_equal(test_row("<other>", 0).size, 10 * OTHERS + 200);
    test_sound();
    mtrace_free_at(block, &second);
    for (i = 1; i <= OTHERS; i++) {
        assert_int_equal(mtrace_untrack_at(i, i, &second), MTRACE_OK);
    }
    assert_int_equal(mtrace_untrack_at(0, 4096, &first), MTRACE_OK);
    stop_empty();
}

/* --- names that find no room --- */

/* By default 4,096 call sites in 300 files with long paths keep all their names. */
static void test_default_room_for_names(void **state) {
    enum { SITES = 4096, FILES = 300 };
    mtrace_block found = MTRACE_ZERO_;
    char file[101], function[41];
    uint32_t i;
    (void)state;
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    for (i = 0; i < SITES; i++) {
        mtrace_site site = MTRACE_ZERO_;
        snprintf(file, sizeof file, "/%0*u", (int)sizeof file - 2, (unsigned)(i % FILES));
        snprintf(function, sizeof function, "f%0*u", (int)sizeof function - 2, (unsigned)i);
        site.file = file;
        site.function = function;
        site.line = i;
        assert_int_equal(mtrace_track_at(0, 64 * (i + 1), 1, &site), MTRACE_OK);
    }
    assert_int_equal(mtrace_get_info().sites, SITES);
    assert_int_equal(mtrace_get_info().lost_names, 0);
    assert_int_equal(mtrace_find_tracked(&found, 0, 64 * SITES, NULL, 0), MTRACE_OK);
    assert_string_equal(found.function, function);
    for (i = 0; i < SITES; i++) {
        assert_int_equal(mtrace_untrack_at(0, 64 * (i + 1), NULL), MTRACE_OK);
    }
    stop_empty();
}

/* So do as many with a function and a type of their own, which are borrowed. */
static void test_slots_for_names(void **state) {
    enum { SITES = 400 };
    static char names[SITES][3][8];
    mtrace_desc desc = MTRACE_ZERO_;
    uint32_t i;
    (void)state;
    desc.max_blocks = 512;
    desc.max_sites = SITES;
    desc.borrow_names = true;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    for (i = 0; i < SITES; i++) {
        mtrace_site site = MTRACE_ZERO_;
        snprintf(names[i][0], sizeof names[i][0], "%u.c", (unsigned)i);
        snprintf(names[i][1], sizeof names[i][1], "f%u", (unsigned)i);
        snprintf(names[i][2], sizeof names[i][2], "T%u", (unsigned)i);
        site.file = names[i][0];
        site.function = names[i][1];
        site.type = names[i][2];
        assert_int_equal(mtrace_track_at(1, i, 1, &site), MTRACE_OK);
        assert_int_equal(mtrace_untrack_at(1, i, NULL), MTRACE_OK);
    }
    assert_int_equal(mtrace_get_info().lost_names, 0);
    stop_empty();
}

/* 6 functions in each of 20 files, at the same lines, twice: a site without room for its name is
   a row of its own, and equal sites stay one row. */
static void test_rows_of_lost_names(void **state) {
    enum { FILES = 20, LINES = 6, SITES = FILES * LINES };
    mtrace_desc desc = MTRACE_ZERO_;
    uint32_t i;
    (void)state;
    desc.max_blocks = 512;
    desc.max_sites = SITES;
    desc.name_bytes = 20;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    for (i = 0; i < 2 * SITES; i++) {
        char file[24], function[24];
        mtrace_site site = MTRACE_ZERO_;
        snprintf(file, sizeof file, "src/file%u.c", (unsigned)(i / LINES % FILES));
        snprintf(function, sizeof function, "function%u", (unsigned)(i % SITES));
        site.file = file;
        site.function = function;
        site.type = function + 1;
        site.line = i % LINES;
        assert_int_equal(mtrace_track_at(0, 64 * (i + 1), 10, &site), MTRACE_OK);
    }
    assert_int_equal(mtrace_get_info().sites, SITES);
    assert_int_equal(mtrace_get_info().lost_sites, 0);
    assert_true(mtrace_get_info().lost_names > 2 * SITES);
    assert_int_equal(rows_by(MTRACE_BY_LINE), SITES);
    assert_int_equal(rows_by(MTRACE_BY_FILE), FILES);
    assert_int_equal(rows_by(MTRACE_BY_FUNCTION), SITES);
    assert_int_equal(rows_by(MTRACE_BY_TYPE), SITES);
    test_sound();
    for (i = 0; i < 2 * SITES; i++) {
        assert_int_equal(mtrace_untrack_at(0, 64 * (i + 1), NULL), MTRACE_OK);
    }
    stop_empty();
}

/* The size of the row by line that begins with "<unknown " and has that line. */
static uint64_t held_by_unknown(uint32_t line) {
    mtrace_snapshot *snapshot = NULL;
    uint64_t sum = 0;
    size_t i;
    snapshot = test_take(false);
    for (i = 0; i < mtrace_snapshot_get_parts(snapshot).row_count; i++) {
        const mtrace_row *row = &mtrace_snapshot_get_parts(snapshot).rows[i];
        bool is = strncmp(row->file, "<unknown ", 9) == 0 && row->line == line;
        sum += is ? row->size : 0;
    }
    mtrace_snapshot_free(snapshot);
    return sum;
}

static void test_name_table_full(void **state) {
    static const char long_name[] = "a/very/long/path/to/some/file.c";
    mtrace_site fits = test_site("a.c", 1), long_file = test_site(long_name, 2);
    mtrace_site later = test_site("bc.c", 3), typed = test_site("a.c", 4);
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_block found = MTRACE_ZERO_;
    void *blocks[5];
    int i;
    (void)state;
    desc.max_blocks = 32;
    desc.max_sites = 16;
    desc.name_bytes = 4 + 2 + 5; /* "a.c", "f", "bc.c" */
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    blocks[0] = mtrace_malloc_at(10, &fits);
    assert_int_equal(mtrace_get_info().lost_names, 0);
    blocks[1] = mtrace_malloc_at(20, &long_file);
    assert_int_equal(mtrace_get_info().lost_names, 1);
    assert_int_equal(mtrace_find(&found, blocks[1]), MTRACE_OK);
    assert_string_equal(found.file, "<unknown>");
    assert_string_equal(found.function, "f"); /* there already */
    assert_int_equal(found.line, 2);
    blocks[2] = mtrace_malloc_at(30, &long_file); /* the site is known by now */
    assert_int_equal(mtrace_get_info().lost_names, 1);
    assert_int_equal(held_by_unknown(2), 50);
    blocks[3] = mtrace_malloc_at(40, &later); /* what is short enough still fits */
    test_traced(blocks[3], 40, "bc.c", 3);
    typed.type = "t"; /* now there is not a byte left */
    blocks[4] = mtrace_malloc_at(50, &typed);
    assert_int_equal(mtrace_get_info().lost_names, 2);
    assert_int_equal(mtrace_find(&found, blocks[4]), MTRACE_OK);
    assert_string_equal(found.file, "a.c");
    assert_string_equal(found.type, "<unknown>");
    assert_int_equal(mtrace_get_info().sites, 4);
    assert_int_equal(mtrace_get_info().lost_sites, 0);
    test_held(150, 150, 5);
    for (i = 0; i < 5; i++) {
        mtrace_free_at(blocks[i], &fits);
    }
    mtrace_clear();
    assert_int_equal(mtrace_get_info().lost_names, 0);
    stop_empty();
}

/* --- restart --- */

/* The cache of a site is good for one session: numbers are given anew, in another order. */
static void test_sites_after_restart(void **state) {
    static uint64_t cache_a, cache_b;
    static const mtrace_site a = {"sites.c", "a", NULL, 101, &cache_a};
    static const mtrace_site b = {"sites.c", "b", NULL, 102, &cache_b};
    void *one, *two;
    int round;
    (void)state;
    for (round = 0; round < 6; round++) {
        const mtrace_site *first = round % 2 == 0 ? &a : &b;
        const mtrace_site *second = round % 2 == 0 ? &b : &a;
        test_start(32, round % 3 == 2 ? 1 : 8);
        one = mtrace_malloc_at(1, first);
        test_traced(one, 1, "sites.c", first->line);
        assert_int_equal(mtrace_get_info().sites, 1);
        two = mtrace_malloc_at(2, second);
        if (round % 3 == 2) { /* no room for the second */
            test_traced(two, 2, "<other>", 0);
        } else {
            test_traced(two, 2, "sites.c", second->line);
        }
        mtrace_free_at(one, second);
        mtrace_free_at(two, first);
        stop_empty();
    }
}

static int macro_line;

static void *from_macro(void) {
    macro_line = __LINE__ + 1;
    return MT_MALLOC(6);
}

/* The same for a macro's own site; its names are copied anew. */
static void test_macro_after_restart(void **state) {
    int round;
    (void)state;
    for (round = 0; round < 4; round++) {
        void *block;
        start();
        mtrace_free_at(allocate_at("first.c", "f", NULL, (uint32_t)round), NULL);
        block = from_macro();
        assert_here(block, 6, NULL, "from_macro", macro_line);
        MT_FREE(block);
        stop_empty();
    }
}

/* The four functions with an address: their call site is the caller's address. */
static void test_function_pointers(void **state) {
    void *(*volatile give)(size_t) = mtrace_malloc;
    void *(*volatile give_zeroed)(size_t, size_t) = mtrace_calloc;
    void *(*volatile resize)(void *, size_t) = mtrace_realloc;
    void (*volatile take)(void *) = mtrace_free;
    void *before = give(5), *a, *b;
    mtrace_block found = MTRACE_ZERO_;
    (void)state;
    take(before); /* not started: the allocator's */
    start();
    a = resize(give(10), 30);
    b = give_zeroed(2, 4);
    assert_int_equal(mtrace_find(&found, a), MTRACE_OK);
    assert_int_equal(found.size, 30);
    assert_string_equal(found.file, "<unknown>");
    assert_null(found.function);
    assert_int_equal(mtrace_find(&found, b), MTRACE_OK);
    assert_int_equal(found.size, 8);
    assert_string_equal(found.file, "<unknown>");
    assert_int_equal(mtrace_get_info().sites, 3); /* malloc, realloc, calloc */
    take(a);
    take(b);
    stop_empty();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_here),
        TEST(test_each_macro_records_its_line),
        TEST(test_track_records_its_line),
        TEST(test_types),
        TEST(test_new_array_overflow),
        TEST(test_arguments_are_evaluated_once),
        TEST(test_track_arguments_are_evaluated_once),
        TEST(test_macros_are_expressions),
        TEST(test_null_site),
        TEST(test_null_site_as_a_scope),
        TEST(test_changing_site_without_a_cache),
        TEST(test_changing_site_with_a_cache),
        TEST(test_function_pointers),
        TEST(test_names_are_copied),
        TEST(test_names_are_borrowed),
        TEST(test_equal_sites_are_one_account),
        TEST(test_different_sites),
        TEST(test_many_sites_on_one_line),
        TEST(test_two_on_one_line),
        TEST(test_domains_of_one_site),
        TEST(test_site_table_full),
        TEST(test_site_table_full_for_tracked_keys),
        TEST(test_site_table_full_for_many_domains),
        TEST(test_default_room_for_names),
        TEST(test_slots_for_names),
        TEST(test_rows_of_lost_names),
        TEST(test_name_table_full),
        TEST(test_sites_after_restart),
        TEST(test_macro_after_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

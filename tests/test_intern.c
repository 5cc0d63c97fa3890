/* Call sites that come as data: arguments with equal text give one site, on all threads. It
   outlives the tracer. A full table gives "<other>". The whole program has one table, so these
   tests have an order: the first one has no memory for it, the last ones fill it. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#ifdef MTRACE_TEST_TINY
#define MTRACE_INTERNED_SITES 256
#endif
#define MTRACE_SYSTEM_ALLOC(size)        system_alloc(size)
#define MTRACE_SYSTEM_FREE(memory, size) system_free(memory, size)
#include <stddef.h>
static void *system_alloc(size_t size);
static void system_free(void *memory, size_t size);

#include "support/test.h"
#include "support/tools.h"

#include <pthread.h>

static bool system_is_empty;

/* Memory that the tracer keeps for good is here. It is no leak. */
static void *kept[256];
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

static void *keep(void *before, void *after) {
    size_t i = 0;
    pthread_mutex_lock(&kept_lock);
    while (kept[i] != before) {
        i++;
        assert_true(i < 256);
    }
    kept[i] = after;
    pthread_mutex_unlock(&kept_lock);
    return after;
}

static const mtrace_site
    *rival; /* another thread's call in the middle of ours, when it asks for one */
static bool has_rival;

static void *system_alloc(size_t size) {
    if (has_rival) {
        has_rival = false;
        rival = test_intern("a.c", "f", NULL, 7);
    }
    return system_is_empty ? NULL : keep(NULL, calloc(1, size));
}

static void system_free(void *memory, size_t size) {
    (void)size;
    keep(memory, NULL);
    free(memory);
}

static uint64_t lost(void) {
    uint64_t calls;
    test_start(32, 32);
    calls = mtrace_get_info().lost_interned;
    mtrace_stop();
    return calls;
}

static const mtrace_site *at_line(uint32_t line) {
    return test_intern("a.c", "f", NULL, line);
}

/* --- its memory --- */

static void test_no_memory(void **state) {
    const mtrace_site *site;
    (void)state;
    system_is_empty = true;
    site = at_line(1);
    assert_non_null(site);
    assert_string_equal(site->file, "<other>");
    assert_ptr_equal(site, at_line(2));
    system_is_empty = false;
    assert_int_equal(lost(), 2);
}

static void test_memory_is_counted_once(void **state) {
    size_t before = mtrace_get_tracer_memory();
    (void)state;
    assert_string_equal(at_line(1)->file, "a.c");
    assert_int_equal(mtrace_get_tracer_memory(), before + sizeof(mtrace_interned_));
    at_line(2);
    assert_int_equal(mtrace_get_tracer_memory(), before + sizeof(mtrace_interned_));
}

/* --- equal arguments --- */

static const char *copy_of(const char *text) {
    static char copies[64][32]; /* never the same address */
    static int next;
    char *copy = copies[next++ % 64];
    if (text == NULL) {
        return NULL;
    }
    return strcpy(copy, text);
}

static void test_equal_text_is_one_site(void **state) {
    const mtrace_site *site = test_intern("dir/file.c", "function", "type", 7);
    int i;
    (void)state;
    for (i = 0; i < 3; i++) {
        assert_ptr_equal(site, test_intern("dir/file.c", "function", "type", 7));
        assert_ptr_equal(
            site, test_intern(copy_of("dir/file.c"), copy_of("function"), copy_of("type"), 7));
        assert_ptr_equal(site, test_intern(site->file, site->function, site->type, 7));
    }
    assert_string_equal(site->file, "dir/file.c");
    assert_string_equal(site->function, "function");
    assert_string_equal(site->type, "type");
    assert_int_equal(site->line, 7);
    assert_int_equal(*site->cache, 0);
}

/* Every combination of these, each twice: one site each. */
static void test_each_argument_counts(void **state) {
    static const char *const names[] = {NULL, "", "x", "xy"};
    const mtrace_site *sites[2 * 64];
    uint32_t i, j;
    (void)state;
    for (i = 0; i < 2 * 64; i++) {
        sites[i] = test_intern(copy_of(names[i % 4]), copy_of(names[i / 4 % 4]),
                               copy_of(names[i / 16 % 4]), 0);
        for (j = 0; j < i; j++) {
            assert_int_equal(sites[i] == sites[j], i % 64 == j % 64);
        }
        assert_int_equal(sites[i]->file == NULL, i % 4 == 0);
    }
    assert_ptr_not_equal(sites[5], test_intern("", "", NULL, 1));
    assert_ptr_not_equal(sites[5], test_intern("", "", NULL, UINT32_MAX));
    test_sound();
}

/* The description is the caller's: not kept, not written, and its cache plays no part. */
static void test_description_is_only_read(void **state) {
    uint64_t word = 5;
    mtrace_site site = {"a.c", "f", "type", 7, &word}, before = site;
    const mtrace_site *first = mtrace_site_intern(&site), *other;
    (void)state;
    assert_memory_equal(&site, &before, sizeof site);
    assert_int_equal(word, 5);
    assert_ptr_not_equal(first, &site);
    assert_ptr_not_equal(first->cache, &word);
    site.cache = NULL;
    assert_ptr_equal(first, mtrace_site_intern(&site));
    assert_ptr_equal(first, mtrace_site_intern(first));
    site.line = 8;
    other = mtrace_site_intern(&site);
    assert_ptr_not_equal(first, other);
    assert_int_equal(first->line, 7);
    assert_int_equal(other->line, 8);
}

static void test_no_description_is_one_of_zeros(void **state) {
    (void)state;
    assert_ptr_equal(mtrace_site_intern(NULL), test_intern(NULL, NULL, NULL, 0));
    assert_null(mtrace_site_intern(NULL)->file);
}

/* The same address and line, other text: a script engine's buffer. */
static void test_buffer_is_used_again(void **state) {
    char buffer[32] = "scripts/one.lua";
    const mtrace_site *one = test_intern(buffer, buffer, NULL, 3), *two;
    (void)state;
    strcpy(buffer, "scripts/two.lua");
    two = test_intern(buffer, buffer, NULL, 3);
    assert_ptr_not_equal(one, two);
    assert_string_equal(one->file, "scripts/one.lua");
    assert_string_equal(two->function, "scripts/two.lua");
    strcpy(buffer, "scripts/one.lua");
    assert_ptr_equal(one, test_intern(buffer, buffer, NULL, 3));
    buffer[11] = '\0';
    assert_string_equal(test_intern(buffer, buffer, NULL, 3)->file, "scripts/one");
}

static void test_long_names(void **state) {
    static char name[3 * 64 * MTRACE_INTERNED_SITES];
    const mtrace_site *site;
    uint64_t lost_before = lost();
    (void)state;
    memset(name, 'n', 2000);
    site = test_intern("a.c", name, NULL, 1);
    assert_string_equal(site->function, name);
    assert_ptr_equal(site, test_intern("a.c", name, NULL, 1));
    name[1999] = 'm';
    assert_ptr_not_equal(site, test_intern("a.c", name, NULL, 1));
    memset(name, 'n', sizeof name - 1); /* longer than the table is */
    assert_string_equal(test_intern(name, NULL, NULL, 1)->file, "<other>");
    assert_int_equal(lost(), lost_before + 1);
    assert_string_equal(at_line(3)->file, "a.c"); /* others have room still */
}

/* --- the charges of a site --- */

static void expect_charged(const mtrace_site *site, bool borrows) {
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_block found = MTRACE_ZERO_;
    void *block;
    desc.max_blocks = 32;
    desc.borrow_names = borrows;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    block = mtrace_malloc_at(33, site);
    block = mtrace_realloc_at(block, 44, site);
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_string_equal(found.file, "engine.cpp");
    assert_string_equal(found.function, "load");
    assert_string_equal(found.type, "mesh");
    assert_int_equal(found.line, 90);
    assert_int_equal(found.size, 44);
    assert_ptr_equal(site, test_intern("engine.cpp", "load", "mesh", 90));
    mtrace_free_at(block, site);
    assert_int_equal(mtrace_get_info().sites, 1);
    test_sound();
    mtrace_stop();
}

static void test_outlives_the_tracer(void **state) {
    const mtrace_site *site = test_intern("engine.cpp", "load", "mesh", 90);
    (void)state;
    expect_charged(site, false);
    expect_charged(site, true);
    expect_charged(site, false);
    assert_ptr_equal(site, test_intern("engine.cpp", "load", "mesh", 90));
}

/* --- threads --- */

#ifdef MTRACE_SINGLE_THREAD
enum { THREADS = 1 };
#else
enum { THREADS = 8 };
#endif
#ifdef MTRACE_TEST_TINY
enum { SITES = 10 };
#else
enum { SITES = 1000 }; /* a record each, also where each thread has made each site in vain */
#endif

static const mtrace_site *seen[THREADS][SITES];
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *intern_all(void *argument) {
    const mtrace_site **mine = (const mtrace_site **)argument;
    char file[16];
    uint32_t i;
    pthread_mutex_lock(&gate); /* until all are there */
    pthread_mutex_unlock(&gate);
    for (i = 0; i < SITES; i++) {
        snprintf(file, sizeof file, "t%u.c", i % 7);
        mine[i] = test_intern(file, NULL, NULL, i);
        mtrace_free_at(mtrace_malloc_at(1, mine[i]), mine[i]);
    }
    return NULL;
}

static void expect_all(const mtrace_site *const *sites) {
    char file[16];
    uint32_t i;
    for (i = 0; i < SITES; i++) {
        snprintf(file, sizeof file, "t%u.c", i % 7);
        assert_ptr_equal(sites[i], seen[0][i]);
        assert_string_equal(sites[i]->file, file);
        assert_int_equal(sites[i]->line, i);
    }
}

static void run_threads(void *(*work)(void *), void *(*argument)(int)) {
    pthread_t threads[THREADS];
    int i;
    pthread_mutex_lock(&gate);
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, argument(i)), 0);
    }
    pthread_mutex_unlock(&gate);
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

static void *sites_of(int thread) {
    return seen[thread];
}

static void test_threads(void **state) {
    uint64_t lost_before = lost();
    int i;
    (void)state;
    test_start(32, (size_t)THREADS * (size_t)SITES);
    run_threads(intern_all, sites_of);
    for (i = 0; i < THREADS; i++) {
        expect_all(seen[i]);
    }
    assert_in_range(mtrace_get_info().sites, SITES,
                    (size_t)THREADS * (size_t)SITES); /* two at once may make one */
    test_sound();
    mtrace_stop();
    assert_int_equal(lost(), lost_before);
}

static void *intern_one(void *argument) {
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    *(const mtrace_site **)argument = at_line(7);
    return NULL;
}

static int blocks_kept(void) {
    int i, count = 0;
    for (i = 0; i < 256; i++) {
        count += kept[i] != NULL;
    }
    return count;
}

/* All threads find no table at once: the memory of one becomes it, the others give theirs back. */
static void test_first_call_on_all_threads(void **state) {
    mtrace_interned_ *table = mtrace_g_.interned;
    size_t before = mtrace_get_tracer_memory();
    int round, i, count = blocks_kept();
    (void)state;
    for (round = 0; round < 30; round++) {
        mtrace_g_.interned = NULL;
        run_threads(intern_one, sites_of);
        for (i = 0; i < THREADS; i++) {
            assert_ptr_equal(seen[i][0], seen[0][0]);
            assert_int_equal(seen[i][0]->line, 7);
        }
        assert_int_equal(mtrace_get_tracer_memory(), before + sizeof *table);
        mtrace_g_.own_memory = before;
        system_free(mtrace_g_.interned, sizeof *table);
    }
    mtrace_g_.interned = table;
    assert_int_equal(blocks_kept(), count);
}

/* Another thread's call comes between ours and its memory. */
static void test_rival_first_call(void **state) {
    mtrace_interned_ *table = mtrace_g_.interned;
    int count = blocks_kept();
    (void)state;
    mtrace_g_.interned = NULL;
    has_rival = TEST_ATOMICS; /* with a lock none can */
    rival = NULL;
    assert_int_equal(at_line(7)->line, 7);
    assert_ptr_equal(rival, TEST_ATOMICS ? at_line(7) : NULL);
    assert_int_equal(blocks_kept(), count + 1);
    mtrace_g_.own_memory -= sizeof *table;
    system_free(mtrace_g_.interned, sizeof *table);
    mtrace_g_.interned = table;
}

/* The loser of a race gives its records back, unless others were taken behind them. */
static void test_records_come_back(void **state) {
    mtrace_interned_ *table = mtrace_g_.interned;
    uint32_t used = table->used, first, second;
    (void)state;
    first = mtrace_records_reserve_(table, 3);
    assert_int_equal(first, used + 1);
    mtrace_records_release_(table, first, 3);
    assert_int_equal(table->used, used);
    first = mtrace_records_reserve_(table, 2);
    second = mtrace_records_reserve_(table, 1);
    mtrace_records_release_(table, first, 2);
    assert_int_equal(table->used, used + 3);
    mtrace_records_release_(table, second, 1);
    assert_int_equal(table->used, used + 2);
    table->used = used;
    memset(table->records[used + 1].bytes, 0xff, sizeof(mtrace_site_record_)); /* a loser's text */
    assert_int_equal(*at_line(8)->cache, 0);
    used = table->used;
    assert_int_equal(mtrace_records_reserve_(table, MTRACE_RECORDS_ - used + 1), 0);
    assert_int_equal(mtrace_records_reserve_(table, (uint64_t)1 << 32), 0);
    assert_int_equal(table->used, used);
}

/* --- a full table --- */

/* Lines from here on are new; how many found room. */
static uint32_t fill(uint32_t line) {
    uint32_t made = 0;
    while (test_intern("fill.c", NULL, NULL, line + made)->line != 0) {
        made++;
    }
    return made;
}

static void test_full_table(void **state) {
    const mtrace_site *site = at_line(1), *other;
    uint64_t lost_before = lost();
    uint32_t made = fill(1000000), i;
    (void)state;
    assert_in_range(made, 1, 2 * MTRACE_INTERNED_SITES);
    assert_int_equal(lost(), lost_before + 1);
    other = test_intern("fill.c", NULL, NULL, 1000000 + made);
    assert_non_null(other);
    assert_string_equal(other->file, "<other>");
    assert_null(other->function);
    assert_null(other->type);
    assert_int_equal(other->line, 0);
    assert_ptr_equal(other, test_intern("new.c", "new", "new", 5));
    assert_int_equal(lost(), lost_before + 3);
    for (i = 0; i < made; i++) { /* what there was is found, wherever its names are */
        assert_int_equal(test_intern(copy_of("fill.c"), NULL, NULL, 1000000 + i)->line,
                         1000000 + i);
    }
    assert_ptr_equal(site, at_line(1));
    assert_int_equal(lost(), lost_before + 3);
}

static void test_full_table_is_reported(void **state) {
    test_output out;
    mtrace_snapshot *snapshot;
    mtrace_rows *statistics;
    mtrace_report_desc desc = MTRACE_ZERO_;
    const mtrace_site *other = test_intern("new.c", "new", "new", 5);
    void *block;
    (void)state;
    test_start(32, 32);
    block = mtrace_malloc_at(70, other);
    test_traced(block, 70, "<other>", 0);
    assert_int_equal(mtrace_get_info().lost_sites, 0);
    snapshot = test_take(false);
    statistics = test_rows(snapshot, MTRACE_BY_LINE);
    assert_int_equal(statistics->count, 1);
    assert_string_equal(statistics->rows[0].file, "<other>");
    out.length = 0;
    desc.write = test_write;
    desc.write_user = &out;
    assert_int_equal(mtrace_report(statistics, &desc), MTRACE_OK);
    assert_non_null(strstr(out.text, "  <other>\n"));
    assert_non_null(strstr(out.text, "; interned site table full: "));
    assert_non_null(strstr(out.text, " calls given <other>\n"));
    mtrace_rows_free(statistics);
    mtrace_snapshot_free(snapshot);
    mtrace_free_at(block, other);
    test_sound();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_no_memory),
        TEST(test_memory_is_counted_once),
        TEST(test_equal_text_is_one_site),
        TEST(test_each_argument_counts),
        TEST(test_description_is_only_read),
        TEST(test_no_description_is_one_of_zeros),
        TEST(test_buffer_is_used_again),
        TEST(test_long_names),
        TEST(test_outlives_the_tracer),
        TEST(test_threads),
        TEST(test_first_call_on_all_threads),
        TEST(test_rival_first_call),
        TEST(test_records_come_back),
        TEST(test_full_table),
        TEST(test_full_table_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Every test file includes this: cmocka, the library, and an allocator that fails on request.

   By itself a test file holds the library's implementation. The build compiles that once for all
   test files of a configuration (implementation.c) and defines TEST_SHARED, so that a test file
   sees no more than the declarations. A test file that looks inside, or defines switches of the
   implementation, keeps its own: see CMakeLists.txt. Questions that several tests ask are
   functions below. Each test runs once more with MTRACE_TEST_TINY: all tables and bounds of the
   implementation are small, so that their edges are hit. */

#ifndef MTRACE_TESTS_SUPPORT_TEST_H
#define MTRACE_TESTS_SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>
#ifdef __cplusplus
}
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(TEST_ASAN)
#define TEST_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(TEST_TSAN)
#define TEST_TSAN 1
#endif
#ifndef TEST_ASAN
#define TEST_ASAN 0
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif
#define TEST_SANITIZED (TEST_ASAN || TEST_TSAN)

/* First in a test that needs POSIX, such as fork(): skipped elsewhere. */
#ifndef TEST_NEEDS_POSIX
#define TEST_NEEDS_POSIX() ((void)0)
#endif

/* Whether this configuration has atomics: not with locks of one's own, nor with one thread. */
#if defined(MTRACE_SINGLE_THREAD) || defined(MTRACE_CONFIG_FILE) || defined(MTRACE_LOCK)
#define TEST_ATOMICS 0
#else
#define TEST_ATOMICS 1
#endif

#ifndef TEST_SHARED
#define TEST_EXTERN static inline
#define TEST_IMPLEMENTATION
#else
#define TEST_EXTERN extern
extern int test_fail_next;  /* the next n allocations fail; every one when negative */
extern int test_fail_after; /* n more succeed, then one fails; -1: never */
extern bool test_measures;  /* one thread at a time: */
extern size_t test_largest; /* bytes of the largest allocation asked for */
#endif

TEST_EXTERN bool test_fails(size_t size);

/* Questions about the inside. */
TEST_EXTERN bool test_folds_names(void); /* file names are compared as Windows does */
TEST_EXTERN bool test_match(const char *name, const char *pattern); /* as a filter does it */
TEST_EXTERN bool test_is_tiny(void);                                /* MTRACE_TEST_TINY */
TEST_EXTERN bool test_can_sample(void);              /* sampling is there on this machine */
TEST_EXTERN size_t test_max_interval(void);          /* the longest sampling interval */
TEST_EXTERN size_t test_max_probe(void);             /* MTRACE_MAX_PROBE */
TEST_EXTERN uint32_t test_home(uintptr_t key);       /* the home slot of a tracked key */
TEST_EXTERN size_t test_shards(void);                /* those that threads can have */
TEST_EXTERN size_t test_max_sites(void);             /* the most that desc.max_sites may be */
TEST_EXTERN size_t test_default_sites(void);         /* what it is by default */
TEST_EXTERN size_t test_resident(void);              /* bytes in RAM; 0: not known */
TEST_EXTERN unsigned char *test_align(void *memory); /* as snapshots align the caller's memory */
TEST_EXTERN void test_forget_domain_names(void);
TEST_EXTERN size_t test_kept_bytes(void);   /* of the block that is kept for the next result */
TEST_EXTERN void test_give_kept_back(void); /* it is kept no longer */
TEST_EXTERN void test_dirty_kept(void);     /* the next result finds no zeros in it */
/* The places that all scopes hash to; how many there are. */
TEST_EXTERN size_t test_scope_homes(uint32_t homes[], size_t room);
TEST_EXTERN uint32_t test_scope_line(void); /* the line that the innermost scope is known by */

#ifndef MTRACE_BASE_MALLOC /* a test may have an allocator of its own, */
#define MTRACE_BASE_MALLOC(size)        (test_fails(size) ? NULL : malloc(size))
#define MTRACE_BASE_CALLOC(count, size) (test_fails(size) ? NULL : calloc(count, size))
#define MTRACE_BASE_FREE(block)         free(block)
#ifndef MTRACE_BASE_REALLOC /* or a part of one */
#define MTRACE_BASE_REALLOC(block, size) (test_fails(size) ? NULL : realloc(block, size))
#endif
#define MTRACE_BASE_ALIGNED_ALLOC(alignment, size)                                                 \
    (test_fails(size) ? NULL : test_aligned(alignment, size))
#endif

/* C11's aligned_alloc wants a multiple of the alignment; C99 headers do not declare it. */
#ifdef __cplusplus
extern "C" int posix_memalign(void **block, size_t alignment, size_t size) noexcept;
#else
extern int posix_memalign(void **block, size_t alignment, size_t size);
#endif
static inline void *test_aligned(size_t alignment, size_t size) {
    void *block = NULL;
    return posix_memalign(&block, alignment, size) == 0 ? block : NULL;
}

#ifdef TEST_IMPLEMENTATION
#include "implementation.h"
#else
#include "../../mtrace.h"
#endif

/* This thread's observer. */
static inline mtrace_observer test_observer(void) {
    mtrace_observer none = MTRACE_ZERO_, observer = mtrace_set_observer(none);
    mtrace_set_observer(observer);
    return observer;
}

/* The block at an index of a snapshot, with its row's fields. False: there is no such block. */
static inline bool test_block(mtrace_block *out, const mtrace_snapshot *snapshot, size_t index) {
    mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(snapshot);
    const mtrace_live_block *block;
    const mtrace_row *row;
    if (index >= parts.block_count) {
        return false;
    }
    block = &parts.blocks[index];
    row = &parts.rows[block->row];
    out->address = block->address;
    out->size = block->size;
    out->serial = block->serial;
    out->file = row->file;
    out->function = row->function;
    out->type = row->type;
    out->line = row->line;
    out->domain = row->domain;
    out->is_tracked = block->is_tracked;
    out->traceback = row->traceback;
    return true;
}

/* mtrace_site_intern of a site with these fields. */
static inline const mtrace_site *test_intern(const char *file, const char *function,
                                             const char *type, uint32_t line) {
    mtrace_site site = {file, function, type, line, NULL};
    return mtrace_site_intern(&site);
}

/* Whether the long counts are asked for: tests/run --long. */
static inline bool test_long(void) {
    return getenv("TEST_LONG") != NULL;
}

/* This program as a word of a shell's command, after the emulator that runs it, if there is one. */
static inline const char *test_program(const char *path) {
    static char words[1024];
    const char *emulator = getenv("TEST_EMULATOR");
    int length = snprintf(words, sizeof words, "%s '%s'", emulator != NULL ? emulator : "", path);
    return length > 0 && (size_t)length < sizeof words ? words : "false";
}

/* Output into a string. */
typedef struct test_output {
    char text[65536];
    size_t length;
} test_output;

static inline void test_write(const char *text, size_t length, void *user) {
    test_output *out = (test_output *)user;
    assert_true(out->length + length < sizeof out->text);
    memcpy(out->text + out->length, text, length);
    out->length += length;
    out->text[out->length] = '\0';
}

/* One of 0 to n - 1; a seed gives the same ones each time. */
static inline uint32_t test_random(uint32_t *seed, uint32_t n) {
    *seed = *seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)*seed * n) >> 32);
}

#ifdef __TINYC__ /* has no atomics; its tests have one thread */
#define TEST_NEXT(number) ((number)++)
#else
#define TEST_NEXT(number) __atomic_fetch_add(&(number), 1, __ATOMIC_RELAXED)
#endif

/* A word for the cache of a call site. NULL if all are given out. */
static inline uint64_t *test_cache(void) {
    static uint64_t words[1 << 16];
    static uint32_t given;
    uint32_t i = TEST_NEXT(given);
    return i < sizeof words / sizeof words[0] ? &words[i] : NULL;
}

/* A call site of one's own making. */
static inline mtrace_site test_site(const char *file, uint32_t line) {
    mtrace_site site = MTRACE_ZERO_;
    site.file = file;
    site.function = "f";
    site.line = line;
    site.cache = test_cache();
    return site;
}

static inline mtrace_result test_find_traceback(mtrace_traceback *out, uint32_t domain,
                                                uintptr_t key, mtrace_frame *frames, size_t room) {
    mtrace_block block = MTRACE_ZERO_;
    mtrace_result result = mtrace_find_tracked(&block, domain, key, frames, room);
    *out = block.traceback;
    return result;
}

/* --- tables: the name of a row is printed if its test fails there --- */

static const char *test_row_name;

static inline bool test_at_row(bool is_row, const char *name) {
    test_row_name = is_row ? name : NULL;
    return is_row;
}

/* for (i = 0; TEST_ROWS(i, table); i++): the row of i is entered; false behind the last one. */
#define TEST_ROWS(i, table)                                                                        \
    ((i) < sizeof(table) / sizeof *(table) ? test_at_row(true, (table)[i].name)                    \
                                           : test_at_row(false, NULL))

/* A teardown. */
static inline int test_name_row(void **state) {
    (void)state;
    if (test_row_name != NULL) {
        printf("in the row: %s\n", test_row_name);
    }
    test_row_name = NULL;
    return 0;
}
#define TEST_OF_ROWS(function) cmocka_unit_test_teardown(function, test_name_row)

/* --- calls that must succeed --- */

static inline void test_start_scoped(size_t max_blocks, size_t max_sites, uint32_t frames) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = max_blocks;
    desc.max_sites = max_sites;
    desc.frames = frames;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

/* Small tables, so that the check after each step costs nothing. 0: as many as usual. */
static inline void test_start(size_t max_blocks, size_t max_sites) {
    test_start_scoped(max_blocks, max_sites, 0);
}

static inline mtrace_snapshot *test_take(bool with_blocks) {
    mtrace_snapshot *snapshot;
    assert_int_equal(mtrace_snapshot_take(&snapshot, with_blocks, NULL), MTRACE_OK);
    return snapshot;
}

static inline mtrace_rows *test_rows(const mtrace_snapshot *snapshot, mtrace_key_type key_type) {
    mtrace_rows *rows;
    assert_int_equal(mtrace_snapshot_statistics(&rows, snapshot, key_type, NULL), MTRACE_OK);
    return rows;
}

static inline const char *test_report(test_output *out, const mtrace_rows *rows,
                                      mtrace_style style) {
    mtrace_report_desc desc = MTRACE_ZERO_;
    desc.style = style;
    desc.write = test_write;
    desc.write_user = out;
    out->length = 0;
    out->text[0] = '\0';
    assert_int_equal(mtrace_report(rows, &desc), MTRACE_OK);
    return out->text;
}

/* --- questions with a size for an answer --- */

/* The bytes that a snapshot, and rows of snapshots, ask for. */
static inline size_t test_snapshot_size(bool with_blocks) {
    mtrace_buffer asked = MTRACE_ZERO_;
    mtrace_snapshot *none;
    assert_int_equal(mtrace_snapshot_take(&none, with_blocks, &asked), MTRACE_ERR_NO_MEMORY);
    assert_null(none);
    return asked.size;
}

static inline size_t test_rows_size(const mtrace_snapshot *snapshot, const mtrace_snapshot *old,
                                    mtrace_key_type key_type) {
    mtrace_buffer asked = MTRACE_ZERO_;
    mtrace_rows *none;
    assert_int_equal(old == NULL
                         ? mtrace_snapshot_statistics(&none, snapshot, key_type, &asked)
                         : mtrace_snapshot_compare_to(&none, snapshot, old, key_type, &asked),
                     MTRACE_ERR_NO_MEMORY);
    assert_null(none);
    return asked.size;
}

static inline void test_sound(void) {
    const char *broken = mtrace_check();
    if (broken != NULL) {
        fail_msg("%s", broken);
    }
}

#endif

/* A realloc takes its trace, calls the allocator, and records the result. Here the allocator itself
   changes the tracer in between, as another thread could. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <stddef.h>

static void *base_realloc(void *block, size_t size);
#define MTRACE_BASE_REALLOC(block, size) base_realloc(block, size)

#include "support/test.h"
#include "support/tools.h"

static void (*during_realloc)(void);

static void *base_realloc(void *block, size_t size) {
    if (during_realloc != NULL) {
        during_realloc();
    }
    return test_fails(size) ? NULL : realloc(block, size);
}

static void nothing(void) {}

static void stop(void) {
    mtrace_stop();
}

static void restart(void) {
    mtrace_stop();
    test_start(32, 0);
}

static void clear(void) {
    mtrace_clear();
}

static void clear_twice(void) {
    mtrace_clear();
    mtrace_clear();
}

static void pause_tracing(void) {
    (void)mtrace_pause();
}

static void clear_and_pause(void) {
    mtrace_clear();
    (void)mtrace_pause();
}

/* The counters hold this and nothing else. */
static void expect(size_t live, size_t bytes) {
    mtrace_info info = mtrace_get_info();
    assert_int_equal(info.live, live);
    assert_int_equal(info.foreign_frees, 0);
    assert_int_equal(mtrace_get_traced_memory().current, bytes);
    test_sound();
}

/* A block of 100 bytes grows to 200 while `act` happens, beside one of 30 from before. */
static void *grow(void (*act)(void), bool fails, void **other) {
    void *block, *moved;
    test_start(32, 0);
    *other = MT_MALLOC(30);
    block = MT_MALLOC(100);
    during_realloc = act;
    test_fail_next = fails ? 1 : 0;
    moved = MT_REALLOC(block, 200);
    during_realloc = NULL;
    assert_int_equal(moved == NULL, fails);
    return fails ? block : moved;
}

typedef struct change {
    const char *name;
    void (*act)(void);
    size_t live, bytes;               /* after the realloc */
    size_t live_failed, bytes_failed; /* after one that failed */
} change;

static const change changes[] = {{"nothing", nothing, 2, 230, 2, 130},
                                 {"pause", pause_tracing, 2, 230, 2, 130},
                                 {"clear", clear, 1, 200, 0, 0},
                                 {"clear twice", clear_twice, 1, 200, 0, 0},
                                 {"clear and pause", clear_and_pause, 0, 0, 0, 0},
                                 {"restart", restart, 1, 200, 0, 0},
                                 {"stop", stop, 0, 0, 0, 0}};

static void expect_change(const change *c, bool fails) {
    size_t live = fails ? c->live_failed : c->live, bytes = fails ? c->bytes_failed : c->bytes;
    void *other, *block = grow(c->act, fails, &other);
    expect(live, bytes);
    if (live == 2) {
        MT_FREE(other);
        expect(1, bytes - 30);
    } else {
        free(other);
    }
    if (live > 0) {
        MT_FREE(block);
        expect(0, 0);
    } else {
        free(block);
    }
    mtrace_stop();
}

static void test_changes_during_realloc(void **state) {
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, changes); i++) {
        expect_change(&changes[i], false);
        expect_change(&changes[i], true);
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {TEST(test_changes_during_realloc)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A realloc takes its trace, calls the allocator, and records the result. Here the allocator itself
   changes the tracer in between, as another thread could. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>
#ifdef __cplusplus
}
#endif

static void (*meanwhile)(void);
static bool fails;

static void *realloc_meanwhile(void *block, size_t size) {
    if (meanwhile != NULL) {
        meanwhile();
    }
    return fails ? NULL : realloc(block, size);
}

#define MTRACE_BASE_MALLOC(size)         malloc(size)
#define MTRACE_BASE_CALLOC(count, size)  calloc(count, size)
#define MTRACE_BASE_REALLOC(block, size) realloc_meanwhile(block, size)
#define MTRACE_BASE_FREE(block)          free(block)
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

static void start(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 32;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static void stop(void) {
    mtrace_stop();
}

static void restart(void) {
    mtrace_stop();
    start();
}

static void clear(void) {
    mtrace_clear();
}

static void clear_twice(void) {
    mtrace_clear();
    mtrace_clear();
}

static void clear_and_pause(void) {
    mtrace_clear();
    (void)mtrace_pause();
}

static void pause_it(void) {
    (void)mtrace_pause();
}

/* The counters hold this and nothing else. */
static void expect(size_t live, size_t bytes) {
    mtrace_info info = mtrace_get_info();
    assert_int_equal(info.live, live);
    assert_int_equal(info.foreign_frees, 0);
    assert_int_equal(mtrace_get_traced_memory().current, bytes);
    assert_null(mtrace_check());
}

/* One of 100 bytes grows to 200 while `act` happens, beside one of 30 from before. */
static void *grow(void (*act)(void), bool failing, void **other) {
    void *block, *moved;
    start();
    *other = MT_MALLOC(30);
    block = MT_MALLOC(100);
    meanwhile = act;
    fails = failing;
    moved = MT_REALLOC(block, 200);
    meanwhile = NULL;
    fails = false;
    return failing ? block : moved;
}

typedef struct story {
    void (*act)(void);
    bool failing;
    size_t live, bytes; /* after the realloc */
} story;

static void test_meanwhile(void **state) {
    static const story stories[] = {
        {NULL, false, 2, 230},         {NULL, true, 2, 130},      {pause_it, false, 2, 230},
        {pause_it, true, 2, 130},      {clear, false, 1, 200},    {clear, true, 0, 0},
        {clear_twice, false, 1, 200},  {clear_twice, true, 0, 0}, {clear_and_pause, false, 0, 0},
        {clear_and_pause, true, 0, 0}, {restart, false, 1, 200},  {restart, true, 0, 0},
        {stop, false, 0, 0},           {stop, true, 0, 0},
    };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof stories / sizeof *stories; i++) {
        const story *s = &stories[i];
        void *other, *block = grow(s->act, s->failing, &other);
        expect(s->live, s->bytes);
        if (s->live == 2) {
            MT_FREE(other);
            expect(1, s->bytes - 30);
        } else {
            free(other);
        }
        if (s->live > 0) {
            MT_FREE(block);
            expect(0, 0);
        } else {
            free(block);
        }
        mtrace_stop();
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_meanwhile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

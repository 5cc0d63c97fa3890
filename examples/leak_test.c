/* Unit tests (cmocka) that fail if the code under test leaks. The tracer is started once. Each test
   sets the baseline, calls the code and asserts that no line holds more than before. The last test
   fails on purpose. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MTRACE_FAIL(message) fail_msg("%s", message)
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

/* ------------------------------------------------------------------------- the code under test */

typedef struct player {
    char *name;
    int *scores;
    size_t score_count;
} player;

static char *last_name; /* the last name requested, kept on purpose */

static player *player_new(const char *name) {
    player *p = MT_NEW(player);
    p->name = MT_STRDUP(name); /* the leak: the report names this line */
    return p;
}

static void player_add_score(player *p, int score) {
    p->scores = MT_REALLOCARRAY(p->scores, p->score_count + 1, sizeof *p->scores);
    p->scores[p->score_count++] = score;
}

static const char *player_name(const player *p) {
    MT_FREE(last_name);
    last_name = MT_STRDUP(p->name);
    return last_name;
}

static void player_rename(player *p, const char *name) {
    p->name = MT_STRDUP(name); /* the old name is lost here */
}

static void player_free(player *p) {
    MT_FREE(p->scores);
    MT_FREE(p->name);
    MT_FREE(p);
}

/* ------------------------------------------------------------------------------------ the tests */

static int set_up(void **state) {
    (void)state;
    mtrace_set_baseline();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    MT_FREE(last_name);
    last_name = NULL;
    return 0;
}

static void free_gives_all_back(void **state) {
    (void)state;
    player *p = player_new("Ada");
    player_add_score(p, 10);
    player_add_score(p, 20);
    player_free(p);
    MT_ASSERT_NO_GROWTH(NULL, 0);
}

static void asking_may_keep_64_bytes(void **state) {
    (void)state;
    player *p = player_new("Grace");
    assert_string_equal(player_name(p), "Grace");
    player_free(p);
    MT_ASSERT_NO_GROWTH(NULL, 64);
}

static void renaming_keeps_nothing(void **state) {
    (void)state;
    player *p = player_new("Ada");
    player_rename(p, "Countess of Lovelace");
    player_free(p);
    MT_ASSERT_NO_GROWTH(NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(free_gives_all_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(asking_may_keep_64_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(renaming_keeps_nothing, set_up, tear_down),
    };
    mtrace_start(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

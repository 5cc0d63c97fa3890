/* The peak and its holders, with threads, compared with brute force.

   First threads act one at a time, in a random order: each has a condition of its own, and the main
   thread hands one act to one of them and waits. Calls do not overlap then, so current, peak, live
   and each site's part of the peak must agree with the model after every act. Then threads run
   freely: sums are exact at the end, and the peak lies between bounds. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"
#include "support/threads.h"

enum { SITES = 6, LINES = SITES + 1, LIVE = 96, MOST_THREADS = 20, KEY_DOMAIN = 3 };
enum { ACTS = TEST_SANITIZED ? 1000 : 4000 };

static uint32_t seed;

static uint32_t pick(uint32_t n) {
    return test_random(&seed, n);
}

/* Mostly small. Now and then 64 KiB and more: shards count those apart. */
static size_t pick_size(void) {
    uint32_t kind = pick(16);
    return kind < 10 ? 1 + pick(500) : kind < 14 ? 1 + pick(40000) : 65000 + pick(300000);
}

/* The first sites are data; the last one is a macro's. */
static mtrace_site sites[SITES];
enum { MACRO_LINE = __LINE__ + 3 };

static void *at_macro(size_t size) {
    return MT_MALLOC(size);
}

static void *allocate(size_t size, int site) {
    return site == SITES ? at_macro(size) : mtrace_malloc_at(size, &sites[site]);
}

static void *resize(void *block, size_t size, int site) {
    return mtrace_realloc_at(block, size, &sites[site % SITES]);
}

/* ----------------------------------------------------------------------------------- the model */

/* A block or a key; the size and site of its trace, when it has one. */
typedef struct holding {
    void *block;
    uintptr_t key; /* 0: not a key */
    size_t size;
    int site;
    bool traced;
} holding;

typedef struct figures {
    uint64_t size, count, peak_size, peak_count, total_size, total_count, frees, reallocs;
} figures;

static holding held[LIVE];
static figures lines[LINES];
static uint64_t current, peak, live, foreign;

static void model_out(holding *h) {
    figures *f = &lines[h->site];
    if (!h->traced) {
        return;
    }
    f->size -= h->size;
    f->count--;
    f->frees++;
    current -= h->size;
    live--;
    h->traced = false;
}

static void model_in(holding *h, size_t size, int site) {
    figures *f = &lines[site];
    h->size = size;
    h->site = site;
    h->traced = true;
    f->size += size;
    f->count++;
    f->total_size += size;
    f->total_count++;
    current += size;
    live++;
}

static void model_note_peak(void) {
    int i;
    if (current > peak) {
        peak = current;
        for (i = 0; i < LINES; i++) {
            lines[i].peak_size = lines[i].size;
            lines[i].peak_count = lines[i].count;
        }
    }
}

static void model_reset_peak(void) {
    int i;
    peak = current;
    for (i = 0; i < LINES; i++) {
        lines[i].peak_size = lines[i].size;
        lines[i].peak_count = lines[i].count;
    }
}

static void model_clear(void) {
    int i;
    for (i = 0; i < LIVE; i++) {
        held[i].traced = false;
        held[i].key = 0;
    }
    memset(lines, 0, sizeof lines);
    current = peak = live = foreign = 0;
}

static const figures *figures_of(uint32_t line) {
    if (line == MACRO_LINE) {
        return &lines[SITES];
    }
    assert_in_range(line, 1, SITES);
    return &lines[line - 1];
}

static void compare_row(const mtrace_row *row, const figures *f, bool all) {
    assert_int_equal(row->size, all ? f->total_size : f->size);
    assert_int_equal(row->count, all ? f->total_count : f->count);
    assert_int_equal(row->peak_size, f->peak_size);
    assert_int_equal(row->peak_count, f->peak_count);
    assert_int_equal(row->total_size, f->total_size);
    assert_int_equal(row->total_count, f->total_count);
    assert_int_equal(row->frees, f->frees);
    assert_int_equal(row->reallocs, f->reallocs);
}

/* The lines that hold blocks, or all that ever had one. */
static void compare_rows(mtrace_snapshot *snapshot, bool all) {
    mtrace_rows *s;
    size_t i, rows = 0;
    int line;
    mtrace_snapshot_set_view(snapshot, all ? MTRACE_VIEW_TOTAL : MTRACE_VIEW_LIVE);
    s = test_rows(snapshot, MTRACE_BY_LINE);
    for (i = 0; i < s->count; i++) {
        compare_row(&s->rows[i], figures_of(s->rows[i].line), all);
    }
    for (line = 0; line < LINES; line++) {
        rows += (all ? lines[line].total_count : lines[line].count) != 0 ? 1u : 0u;
    }
    assert_int_equal(s->count, rows);
    mtrace_rows_free(s);
}

static void compare(void) {
    mtrace_traced_memory memory = mtrace_get_traced_memory();
    mtrace_info info = mtrace_get_info();
    mtrace_snapshot *snapshot;
    assert_int_equal(memory.current, current);
    assert_int_equal(memory.peak, peak);
    assert_int_equal(info.live, live);
    assert_int_equal(info.foreign_frees, foreign);
    assert_int_equal(info.dropped_count, 0);
    snapshot = test_take(false);
    compare_rows(snapshot, false);
    compare_rows(snapshot, true);
    mtrace_snapshot_free(snapshot);
    test_sound();
}

/* ------------------------------------------------------------------------------ one at a time */

enum act { ALLOCATE, RESIZE, FREE, TRACK, UNTRACK, RESET_PEAK, CLEAR, QUIT };

static struct {
    enum act act;
    holding *on;
    size_t size;
    int site;
    int scope; /* 0: in none */
} order;

typedef struct actor {
    pthread_t thread;
    pthread_cond_t *called;
    bool has_turn;
} actor;

#define FOUR_CONDITIONS                                                                            \
    PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER,                  \
        PTHREAD_COND_INITIALIZER

static actor actors[MOST_THREADS];
static pthread_cond_t conditions[MOST_THREADS] = {FOUR_CONDITIONS, FOUR_CONDITIONS, FOUR_CONDITIONS,
                                                  FOUR_CONDITIONS, FOUR_CONDITIONS};
static pthread_mutex_t baton = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;

static void act(void) {
    holding *h = order.on;
    switch (order.act) {
    case ALLOCATE:
        h->block = allocate(order.size, order.site);
        break;
    case RESIZE:
        h->block = resize(h->block, order.size, order.site);
        break;
    case FREE:
        MT_FREE(h->block);
        break;
    case TRACK:
        assert_int_equal(mtrace_track_at(KEY_DOMAIN, h->key, order.size, &sites[order.site]),
                         MTRACE_OK);
        break;
    case UNTRACK:
        assert_int_equal(mtrace_untrack_at(KEY_DOMAIN, h->key, NULL), MTRACE_OK);
        break;
    case RESET_PEAK:
        mtrace_reset_peak();
        break;
    case CLEAR:
        mtrace_clear();
        break;
    default:
        break;
    }
}

static void act_in_scope(void) {
    MT_SCOPE();
    act();
}

static void act_in_two_scopes(void) {
    MT_SCOPE();
    act_in_scope();
}

static void *play(void *argument) {
    actor *me = (actor *)argument;
    pthread_mutex_lock(&baton);
    while (!me->has_turn || order.act != QUIT) {
        if (me->has_turn) {
            order.scope == 0 ? act() : order.scope == 1 ? act_in_scope() : act_in_two_scopes();
            me->has_turn = false;
            pthread_cond_broadcast(&done);
        } else {
            pthread_cond_wait(me->called, &baton);
        }
    }
    pthread_mutex_unlock(&baton);
    return NULL;
}

static void enter_stage(actor *a) {
    a->has_turn = false;
    a->called = &conditions[a - actors];
    assert_int_equal(pthread_create(&a->thread, NULL, play, a), 0);
}

static void leave_stage(actor *a) {
    pthread_mutex_lock(&baton);
    order.act = QUIT;
    a->has_turn = true;
    pthread_cond_broadcast(a->called);
    pthread_mutex_unlock(&baton);
    assert_int_equal(pthread_join(a->thread, NULL), 0);
}

static void hand_to(actor *a) {
    pthread_mutex_lock(&baton);
    a->has_turn = true;
    pthread_cond_broadcast(a->called);
    while (a->has_turn) {
        pthread_cond_wait(&done, &baton);
    }
    pthread_mutex_unlock(&baton);
}

/* Picks the next act on a block, a key or an empty place, and returns it. */
static enum act next_act(const holding *h) {
    uint32_t kind = pick(400);
    if (kind < 4) {
        return RESET_PEAK;
    }
    if (kind == 4) {
        return CLEAR;
    }
    return h->key != 0        ? UNTRACK
           : h->block != NULL ? (pick(3) == 0 ? RESIZE : FREE)
           : pick(8) == 0     ? TRACK
                              : ALLOCATE;
}

/* Applies the act to the model. */
static void model_act(void) {
    holding *h = order.on;
    switch (order.act) {
    case ALLOCATE:
        assert_non_null(h->block);
        model_in(h, order.size, order.site);
        break;
    case TRACK:
        model_in(h, order.size, order.site);
        break;
    case RESIZE:
        assert_non_null(h->block);
        foreign += h->traced ? 0 : 1;
        model_out(h);
        model_in(h, order.size, order.site % SITES);
        lines[order.site % SITES].reallocs++;
        break;
    case FREE:
        foreign += h->traced ? 0 : 1;
        model_out(h);
        h->block = NULL;
        break;
    case UNTRACK:
        model_out(h);
        h->key = 0;
        break;
    case RESET_PEAK:
        model_reset_peak();
        break;
    default:
        model_clear();
        break;
    }
    model_note_peak();
}

static void one_act(actor *a) {
    int at = (int)pick(LIVE);
    order.on = &held[at];
    order.act = next_act(order.on);
    order.size = pick_size();
    order.site = (int)pick(order.act == TRACK ? SITES : LINES);
    order.scope = (int)pick(3);
    if (order.act == TRACK) {
        held[at].key = (uintptr_t)1000 + (uintptr_t)at;
    }
    hand_to(a);
    model_act();
}

/* Waves: the bytes held fall to little now and then, so that there are old and new peaks. */
static void drop_most(actor *a) {
    int i;
    for (i = 0; i < LIVE; i++) {
        if (held[i].block != NULL && pick(8) != 0) {
            order.on = &held[i];
            order.act = FREE;
            hand_to(a);
            model_act();
        }
    }
}

static void free_rest(void) {
    int i;
    for (i = 0; i < LIVE; i++) {
        MT_FREE(held[i].block);
    }
    memset(held, 0, sizeof held);
}

/* A query makes the library do its delayed work. So there is one after every act, or only after
   some. A thread ends now and then, and another takes its place. */
static void act_by_turns(uint32_t threads, uint32_t frames, uint32_t acts_a_question) {
    uint32_t i;
    test_start_scoped(2048, 0, frames);
    model_clear();
    for (i = 0; i < threads; i++) {
        enter_stage(&actors[i]);
    }
    for (i = 0; i < ACTS; i++) {
        actor *a = &actors[pick(threads)];
        one_act(a);
        if (pick(acts_a_question) == 0) {
            compare();
        }
        if (pick(100) == 0) {
            leave_stage(a);
            enter_stage(a);
        }
        if (pick(500) == 0) {
            drop_most(&actors[pick(threads)]);
        }
    }
    for (i = 0; i < threads; i++) {
        leave_stage(&actors[i]);
    }
    compare();
    free_rest();
    mtrace_stop();
}

static void name_sites(void) {
    int i;
    for (i = 0; i < SITES; i++) {
        sites[i] = test_site("peaks.c", (uint32_t)i + 1);
    }
}

/* MTRACE_SHARDS is 16, and 2 in the tiny build. */
static const struct {
    const char *name;
    uint32_t threads, frames, acts_a_question;
} turns[] = {{"two threads", 2, 1, 1},
             {"two threads in scopes", 2, 4, 20},
             {"five threads in scopes", 5, 4, 1},
             {"five threads", 5, 1, 20},
             {"more threads than shards", MOST_THREADS, 1, 1},
             {"more threads than shards, in scopes", MOST_THREADS, 4, 20}};

static void test_by_turns(void **state) {
    size_t i;
    (void)state;
    name_sites();
    for (i = 0; TEST_ROWS(i, turns); i++) {
        seed = turns[i].threads;
        act_by_turns(turns[i].threads, turns[i].frames, turns[i].acts_a_question);
    }
}

/* ------------------------------------------------------------------------------------- freely */

#ifdef MTRACE_SINGLE_THREAD
enum { RUNNERS = 1 };
#else
enum { RUNNERS = 6 };
#endif
enum { RUNS = TEST_SANITIZED ? 3000 : 15000, OWN = 40, BOX = 64, LARGEST = 1 + 70000 };

typedef struct runner {
    uint32_t seed;
    holding own[OWN];
    figures lines[LINES]; /* its own doings: what it frees of others' it takes off its own */
} runner;

static runner runners[RUNNERS];
static holding box[BOX]; /* blocks on their way from one thread to another */
static pthread_mutex_t box_lock = PTHREAD_MUTEX_INITIALIZER;
/* Surely held: counted after an allocation, before a free. Perhaps held: before and after. */
static int64_t surely, perhaps, most_surely, most_perhaps, ever;

static uint32_t draw(runner *r, uint32_t n) {
    return test_random(&r->seed, n);
}

static void sum_to(int64_t *sum, int64_t *most, int64_t change) {
    int64_t now = __atomic_add_fetch(sum, change, __ATOMIC_SEQ_CST);
    int64_t old = __atomic_load_n(most, __ATOMIC_SEQ_CST);
    while (old < now &&
           !__atomic_compare_exchange_n(most, &old, now, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
}

static void run_in(runner *r, holding *h, size_t size, int site) {
    figures *f = &r->lines[site];
    h->size = size;
    h->site = site;
    f->size += size;
    f->count++;
    f->total_size += size;
    f->total_count++;
    sum_to(&surely, &most_surely, (int64_t)size);
    __atomic_add_fetch(&ever, (int64_t)size, __ATOMIC_SEQ_CST);
}

static void run_out(runner *r, const holding *h) {
    figures *f = &r->lines[h->site];
    f->size -= h->size; /* may wrap: only the sum over all threads counts */
    f->count--;
    f->frees++;
}

static void run_allocate(runner *r, holding *h) {
    size_t size = 1 + draw(r, draw(r, 8) == 0 ? LARGEST - 1 : 300);
    int site = (int)draw(r, LINES);
    sum_to(&perhaps, &most_perhaps, (int64_t)size);
    h->block = allocate(size, site);
    run_in(r, h, size, site);
}

static void run_free(runner *r, holding *h) {
    int64_t size = (int64_t)h->size;
    sum_to(&surely, &most_surely, -size);
    run_out(r, h);
    MT_FREE(h->block);
    sum_to(&perhaps, &most_perhaps, -size);
    h->block = NULL;
}

static void run_resize(runner *r, holding *h) {
    size_t size = 1 + draw(r, 2000);
    int64_t old = (int64_t)h->size;
    int site = (int)draw(r, SITES);
    sum_to(&surely, &most_surely, -old);
    sum_to(&perhaps, &most_perhaps, (int64_t)size);
    run_out(r, h);
    h->block = resize(h->block, size, site);
    run_in(r, h, size, site);
    r->lines[site].reallocs++;
    sum_to(&perhaps, &most_perhaps, -old);
}

static void swap_with_box(runner *r, holding *h) {
    holding *in_box = &box[draw(r, BOX)], mine = *h;
    pthread_mutex_lock(&box_lock);
    *h = *in_box;
    *in_box = mine;
    pthread_mutex_unlock(&box_lock);
}

static void run_once(runner *r) {
    holding *h = &r->own[draw(r, OWN)];
    uint32_t kind = draw(r, 8);
    if (kind == 0) {
        swap_with_box(r, h);
    } else if (h->block == NULL) {
        run_allocate(r, h);
    } else if (kind < 3) {
        run_resize(r, h);
    } else {
        run_free(r, h);
    }
}

static void run_once_in_scope(runner *r) {
    MT_SCOPE();
    run_once(r);
}

static void *run(void *argument) {
    runner *r = (runner *)argument;
    int i;
    for (i = 0; i < RUNS; i++) {
        draw(r, 2) == 0 ? run_once(r) : run_once_in_scope(r);
        if (i % 64 == 0) {
            (void)mtrace_get_traced_memory();
        }
    }
    return NULL;
}

/* The sums over all threads, for compare_rows. The bytes held at the peak are not known. */
static void sum_runners(void) {
    int i, line;
    model_clear();
    for (i = 0; i < RUNNERS; i++) {
        for (line = 0; line < LINES; line++) {
            const figures *f = &runners[i].lines[line];
            lines[line].size += f->size;
            lines[line].count += f->count;
            lines[line].total_size += f->total_size;
            lines[line].total_count += f->total_count;
            lines[line].frees += f->frees;
            lines[line].reallocs += f->reallocs;
            current += f->size;
            live += f->count;
        }
    }
}

/* Resets the peak to the bytes held now: then all of a row is known. */
static void compare_after_run(void) {
    uint64_t reached = mtrace_get_traced_memory().peak;
    int64_t under_way = (int64_t)RUNNERS * (int64_t)LARGEST;
    assert_true((int64_t)reached >= most_surely - under_way);
    assert_true(reached <= (uint64_t)most_perhaps);
    assert_true(reached <= (uint64_t)ever);
    assert_true(reached >= current);
    mtrace_reset_peak();
    model_reset_peak();
    compare();
}

static void free_after_run(void) {
    int i, k;
    for (i = 0; i < RUNNERS; i++) {
        for (k = 0; k < OWN; k++) {
            MT_FREE(runners[i].own[k].block);
        }
    }
    for (i = 0; i < BOX; i++) {
        MT_FREE(box[i].block);
    }
}

static void run_freely(uint32_t frames) {
    int i;
    memset(runners, 0, sizeof runners);
    memset(box, 0, sizeof box);
    surely = perhaps = most_surely = most_perhaps = ever = 0;
    test_start_scoped(2048, 0, frames);
    for (i = 0; i < RUNNERS; i++) {
        runners[i].seed = frames * 1000 + (uint32_t)i;
    }
    test_in_threads(RUNNERS, run, runners, sizeof *runners);
    sum_runners();
    compare_after_run();
    free_after_run();
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    assert_int_equal(mtrace_get_info().live, 0);
    test_sound();
    mtrace_stop();
}

static void test_freely(void **state) {
    (void)state;
    name_sites();
    run_freely(1);
    run_freely(4);
    run_freely(1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_OF_ROWS(test_by_turns),
        cmocka_unit_test(test_freely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

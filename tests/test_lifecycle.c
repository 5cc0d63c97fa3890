/* Start, stop, and all that changes what is traced in between. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "support/test.h"
#include "support/tools.h"

#include <sys/mman.h>
#include <sys/resource.h>

enum { MIB = 1 << 20 };

static unsigned char arena[8 * MIB];

/* --- before main and after it --- */

static struct {
    mtrace_result start;
    mtrace_result find;
    mtrace_block found;
    void *block;
} early;

static void *late_block;

__attribute__((constructor)) static void before_main(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 32;
    desc.max_sites = 16;
    early.start = mtrace_start(&desc);
    early.block = MT_MALLOC(100);
    early.find = mtrace_find(&early.found, early.block);
}

/* The session that the constructor began is still there. */
static void test_started_before_main(void **state) {
    (void)state;
    assert_int_equal(early.start, MTRACE_OK);
    assert_int_equal(early.find, MTRACE_OK);
    assert_int_equal(early.found.size, 100);
    assert_string_equal(early.found.function, "before_main");
    assert_true(mtrace_is_tracing());
    test_held(100, 100, 1);
    MT_FREE(early.block);
    test_held(0, 100, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    mtrace_stop();
}

#define LATE_ASSERT(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: at exit: %s\n", __FILE__, __LINE__, #condition);               \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

/* A session left open by main, then one of its own. */
static void after_main(void) {
    mtrace_block found;
    LATE_ASSERT(mtrace_is_tracing());
    LATE_ASSERT(mtrace_find(&found, late_block) == MTRACE_OK && found.size == 77);
    MT_FREE(late_block);
    LATE_ASSERT(mtrace_get_traced_memory().current == 0);
    LATE_ASSERT(mtrace_check() == NULL);
    mtrace_stop();
    LATE_ASSERT(mtrace_start(NULL) == MTRACE_OK);
    late_block = MT_MALLOC(5);
    LATE_ASSERT(mtrace_get_traced_memory().current == 5);
    MT_FREE(late_block);
    LATE_ASSERT(mtrace_check() == NULL);
    mtrace_stop();
}

/* --- start --- */

static void test_start_with_defaults(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    size_t before = mtrace_get_tracer_memory(), taken;
    mtrace_info info;
    (void)state;
    assert_false(mtrace_is_tracing());
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    assert_true(mtrace_is_tracing());
    test_held(0, 0, 0);
    info = mtrace_get_info();
    assert_int_equal(info.capacity, sizeof(void *) > 4 ? 1048576 : 262144);
    assert_int_equal(info.max_sites, test_default_sites());
    assert_int_equal(info.frames, 1);
    assert_int_equal(info.high_water, 0);
    assert_int_equal(info.longest_probe, 0);
    assert_int_equal(info.sites, 0);
    assert_int_equal(info.dropped_count, 0);
    assert_int_equal(info.dropped_bytes, 0);
    assert_int_equal(info.foreign_frees, 0);
    assert_int_equal(info.stale_replaced, 0);
    assert_int_equal(info.lost_sites, 0);
    assert_int_equal(info.lost_names, 0);
    assert_int_equal(info.tracer_memory, mtrace_get_tracer_memory());
    taken = mtrace_get_tracer_memory() - before;
    desc.max_sites = test_default_sites();
    assert_true(taken <= mtrace_memory_size(&desc));
    assert_true(taken + 256 > mtrace_memory_size(&desc)); /* less the alignment of `memory` */
    mtrace_stop();
}

/* A zero desc is the same as none. */
static void test_start_with_zero_desc(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    assert_int_equal(mtrace_memory_size(&desc), mtrace_memory_size(NULL));
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_get_info().capacity, sizeof(void *) > 4 ? 1048576 : 262144);
    assert_int_equal(mtrace_get_info().max_sites, test_default_sites());
    mtrace_stop();
}

static void assert_same_info(const mtrace_info *a, const mtrace_info *b) {
    assert_int_equal(a->capacity, b->capacity);
    assert_int_equal(a->live, b->live);
    assert_int_equal(a->high_water, b->high_water);
    assert_int_equal(a->max_sites, b->max_sites);
    assert_int_equal(a->sites, b->sites);
    assert_int_equal(a->tracer_memory, b->tracer_memory);
    assert_int_equal(a->frames, b->frames);
    assert_int_equal(a->foreign_frees, b->foreign_frees);
}

static void test_second_start_changes_nothing(void **state) {
    mtrace_site site = test_site("life.c", 1);
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_info before, after;
    void *block;
    (void)state;
    test_start(32, 16);
    block = mtrace_malloc_at(100, &site);
    before = mtrace_get_info();
    desc.max_blocks = 64;
    desc.frames = 7;
    desc.foreign_free = MTRACE_FOREIGN_ABORT;
    desc.memory = arena;
    desc.memory_size = sizeof arena;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ALREADY);
    assert_int_equal(mtrace_start(NULL), MTRACE_ERR_ALREADY);
    after = mtrace_get_info();
    assert_same_info(&before, &after);
    test_traced(block, 100, "life.c", 1);
    test_held(100, 100, 1);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ALREADY);
    assert_false(mtrace_is_tracing()); /* still paused */
    assert_int_equal(mtrace_resume(), MTRACE_OK);
    mtrace_free_at(block, &site);
    test_held(0, 100, 0);
    mtrace_stop();
}

static void assert_bad(const mtrace_desc *desc) {
    assert_false(mtrace_is_tracing());
    assert_int_equal(mtrace_start(desc), MTRACE_ERR_ARGUMENT);
    assert_false(mtrace_is_tracing());
    test_start(32, 16);
    assert_int_equal(mtrace_start(desc), MTRACE_ERR_ARGUMENT); /* before ALREADY */
    assert_true(mtrace_is_tracing());
    assert_int_equal(mtrace_get_info().capacity, 64);
    test_sound();
    mtrace_stop();
}

static void test_bad_desc(void **state) {
    const struct {
        const char *name;
        uint32_t frames;
        size_t max_sites;
        int foreign_free;
        size_t memory_size;
    } descs[] = {{"too many frames", 65536, 0, 0, 0},
                 {"far too many frames", UINT32_MAX, 0, 0, 0},
                 {"too many sites", 0, test_max_sites() + 1, 0, 0},
                 {"far too many sites", 0, SIZE_MAX, 0, 0},
                 {"an unknown choice", 0, 0, 3, 0},
                 {"a size of no memory", 0, 0, 0, 1}};
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, descs); i++) {
        mtrace_desc desc = MTRACE_ZERO_;
        desc.frames = descs[i].frames;
        desc.max_sites = descs[i].max_sites;
        desc.foreign_free = (mtrace_foreign)descs[i].foreign_free;
        desc.memory_size = descs[i].memory_size;
        assert_bad(&desc);
    }
}

static void test_frames(void **state) {
    (void)state;
    test_start_scoped(32, 16, 65535);
    assert_int_equal(mtrace_get_info().frames, 65535);
    mtrace_stop();
    test_start_scoped(32, 16, 2);
    assert_int_equal(mtrace_get_info().frames, 2);
    mtrace_stop();
}

/* Twice the blocks, rounded up to a power of two. */
static void test_slots_for_blocks(void **state) {
    static const size_t slots[][2] = {{1, 4},      {2, 4},      {3, 8},     {4, 8},
                                      {5, 16},     {31, 64},    {32, 64},   {33, 128},
                                      {500, 1024}, {512, 1024}, {513, 2048}};
    mtrace_desc desc = MTRACE_ZERO_;
    size_t i;
    (void)state;
    for (i = 0; i < sizeof slots / sizeof *slots; i++) {
        test_start(slots[i][0], 8);
        assert_int_equal(mtrace_get_info().capacity, slots[i][1]);
        test_held(0, 0, 0);
        mtrace_stop();
    }
    desc.max_blocks = ((size_t)1 << 30) + 1;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ARGUMENT);
}

/* There is room for max_blocks of them, and for more. The tiny probe limit may drop some. */
static void test_blocks_have_room(void **state) {
    static void *blocks[2 * 512];
    mtrace_site site = test_site("life.c", 1);
    size_t n, i;
    (void)state;
    for (n = 1; n <= 512; n *= 2) {
        test_start(n, 8);
        for (i = 0; i < n; i++) {
            blocks[i] = mtrace_malloc_at(16, &site);
        }
        assert_int_equal(mtrace_get_info().live + mtrace_get_info().dropped_count, n);
        assert_true(test_max_probe() < 64 || mtrace_get_info().dropped_count == 0);
        for (i = n; i < 2 * n; i++) {
            blocks[i] = mtrace_malloc_at(16, &site);
        }
        assert_true(mtrace_get_info().live > n);
        assert_int_equal(mtrace_get_info().live + mtrace_get_info().dropped_count, 2 * n);
        for (i = 0; i < 2 * n; i++) {
            mtrace_free_at(blocks[i], &site);
        }
        mtrace_stop();
    }
}

static void test_most_sites(void **state) {
    /* with 16-bit numbers and atomics a clear needs one */
    enum { SITES = sizeof(void *) > 4 || !TEST_ATOMICS ? 65533 : 65532 };
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_site site = test_site("life.c", 1);
    void *block;
    (void)state;
    desc.max_blocks = 32;
    desc.max_sites = 65533;
    desc.memory_size = mtrace_memory_size(&desc);
    desc.memory = malloc(desc.memory_size);
    assert_non_null(desc.memory);
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_get_info().max_sites, SITES);
    for (site.line = 1; site.line <= SITES; site.line++) {
        *site.cache = 0;
        assert_int_equal(mtrace_track_at(1, 7, site.line, &site), MTRACE_OK);
    }
    assert_int_equal(mtrace_get_info().sites, SITES);
    assert_int_equal(mtrace_get_info().lost_sites, 0);
    test_held(SITES, SITES, 1);
    site.line = 70000;
    *site.cache = 0;
    block = mtrace_malloc_at(3, &site);
    test_traced(block, 3, "<other>", 0);
    assert_int_equal(mtrace_get_info().lost_sites, 1);
    mtrace_free_at(block, &site);
    test_held(SITES, SITES + 3, 1);
    mtrace_stop();
    free(desc.memory);
}

/* Every part of the desc costs exactly what the header says, up to the rounding to cache lines. */
static void test_memory_size(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    size_t plain;
    (void)state;
    desc.max_blocks = 512;
    desc.max_sites = 64;
    plain = mtrace_memory_size(&desc);
    desc.serials = true;
    assert_int_equal(mtrace_memory_size(&desc) - plain, 8 * 1024);
    desc.serials = false;
    desc.name_bytes = 64 * 64;
    assert_int_equal(mtrace_memory_size(&desc), plain);
    desc.name_bytes = 64 * 64 + 640;
    assert_int_equal(mtrace_memory_size(&desc) - plain, 640);
    desc.name_bytes = 0;
    desc.borrow_names = true;
    assert_int_equal(plain - mtrace_memory_size(&desc), 64 * 64);
    desc.borrow_names = false;
    desc.max_blocks = 513;
    assert_int_equal(mtrace_memory_size(&desc) - plain, 1024 * (sizeof(void *) > 4 ? 16 : 12));
}

/* --- the caller's memory --- */

/* A session in which every part of the memory is used. */
static void use_memory(size_t capacity) {
    static uint64_t cache;
    static mtrace_site site;
    void *block;
    size_t i;
    site.cache = &cache;
    site.file = "life.c";
    site.function = "f";
    site.line = 9;
    block = mtrace_malloc_at(10, &site);
    test_traced(block, 10, "life.c", 9);
    for (i = 0; i < 2 * capacity; i++) {
        mtrace_track_at(1, i, 1, &site); /* until full and beyond */
    }
    test_sound();
    mtrace_free_at(block, &site);
    mtrace_clear();
    test_held(0, 0, 0);
}

static void test_memory_at_any_address(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    size_t before = mtrace_get_tracer_memory(), offset, i;
    (void)state;
    desc.max_blocks = 64;
    desc.max_sites = 16;
    for (offset = 0; offset < 130; offset++) {
        desc.memory = arena + offset;
        desc.serials = offset % 2 == 1;
        desc.memory_size = mtrace_memory_size(&desc);
        memset(arena, 0xa5, desc.memory_size + 256); /* what it was is of no matter */
        assert_int_equal(mtrace_start(&desc), MTRACE_OK);
        assert_int_equal(mtrace_get_info().capacity, 128);
        assert_int_equal(mtrace_get_info().max_sites, 16);
        assert_int_equal(mtrace_get_tracer_memory() - before, desc.memory_size);
        use_memory(128);
        mtrace_stop();
        assert_int_equal(mtrace_get_tracer_memory(), before);
        for (i = 0; i < offset; i++) {
            assert_int_equal(arena[i], 0xa5);
        }
        for (i = offset + desc.memory_size; i < offset + desc.memory_size + 64; i++) {
            assert_int_equal(arena[i], 0xa5);
        }
    }
}

static void test_memory_too_small(void **state) {
    static const size_t less[] = {256, 300, 1000, 4000};
    mtrace_desc desc = MTRACE_ZERO_;
    size_t before = mtrace_get_tracer_memory(), enough, i;
    (void)state;
    desc.max_blocks = 64;
    desc.max_sites = 16;
    desc.memory = arena + 1;
    enough = mtrace_memory_size(&desc);
    for (i = 0; i < sizeof less / sizeof less[0]; i++) {
        desc.memory_size = enough - less[i];
        assert_int_equal(mtrace_start(&desc), MTRACE_ERR_NO_MEMORY);
        assert_false(mtrace_is_tracing());
        assert_int_equal(mtrace_get_tracer_memory(), before);
    }
    desc.max_blocks = 0; /* what fits: nothing */
    desc.max_sites = 0;
    for (desc.memory_size = 0; desc.memory_size < 600; desc.memory_size++) {
        assert_int_equal(mtrace_start(&desc), MTRACE_ERR_NO_MEMORY);
    }
    desc.max_blocks = (size_t)1 << 30; /* far too much, but no bad argument */
    desc.memory_size = sizeof arena - 1;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_NO_MEMORY);
    assert_int_equal(mtrace_get_tracer_memory(), before);
    desc.max_blocks = 64; /* a failure leaves nothing behind */
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    use_memory(128);
    mtrace_stop();
}

/* capacity 0 with memory: the largest power of two that fits. */
static void test_capacity_that_fits(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    size_t least = 0, size, i;
    (void)state;
    memset(arena, 0xa5, 70000);
    for (size = 64; size <= 65536; size += 64 + 1) {
        mtrace_result result;
        desc.max_blocks = 0;
        desc.max_sites = 8;
        desc.memory = arena + 3;
        desc.memory_size = size;
        result = mtrace_start(&desc);
        if (result == MTRACE_OK) {
            size_t capacity = mtrace_get_info().capacity;
            least = least == 0 ? size : least;
            assert_true(capacity >= 4 && (capacity & (capacity - 1)) == 0);
            assert_int_equal(mtrace_get_info().max_sites, 8);
            use_memory(capacity);
            mtrace_stop();
            desc.max_blocks = capacity;
            assert_true(mtrace_memory_size(&desc) > size);
        } else {
            assert_int_equal(result, MTRACE_ERR_NO_MEMORY);
            assert_int_equal(least, 0); /* more memory never fits less */
            desc.max_blocks = 2;
            assert_true(mtrace_memory_size(&desc) > size);
        }
        for (i = size + 3; i < size + 3 + 64; i++) {
            assert_int_equal(arena[i], 0xa5);
        }
    }
    assert_true(least > 0);
}

/* All left open: slots get up to half of the memory, call sites get all the rest. One more site
   would not fit. */
static void test_all_that_fits(void **state) {
    static const size_t sizes[] = {32 << 10, 64 << 10, 100 << 10, 256 << 10, sizeof arena};
    mtrace_desc desc = MTRACE_ZERO_, more = MTRACE_ZERO_;
    size_t i;
    (void)state;
    desc.memory = more.memory = arena;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        mtrace_info info;
        size_t slots;
        desc.memory_size = more.memory_size = sizes[i];
        assert_int_equal(mtrace_start(&desc), MTRACE_OK);
        info = mtrace_get_info();
        slots = info.capacity * (sizeof(void *) > 4 ? 16 : 12);
        assert_true(slots <= sizes[i] / 2 && (sizes[i] < 256 << 10 || slots > sizes[i] / 8));
        mtrace_stop();
        more.max_blocks = info.capacity / 2;
        more.max_sites = info.max_sites + 1;
        assert_int_equal(mtrace_start(&more), MTRACE_ERR_NO_MEMORY);
        more.max_sites = info.max_sites;
        assert_int_equal(mtrace_start(&more), MTRACE_OK);
        use_memory(info.capacity);
        mtrace_stop();
    }
}

/* --- the tracer's own memory --- */

static void test_tracer_memory_of_system(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *snapshot, *with_blocks;
    mtrace_rows *statistics;
    size_t before, held;
    void *block;
    (void)state;
    desc.max_blocks = (size_t)8 << 20; /* more than any session before */
    desc.max_sites = 16;
    before = mtrace_get_tracer_memory();
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    held = mtrace_get_tracer_memory();
    assert_true(held - before <= mtrace_memory_size(&desc));
    assert_true(held - before + 256 > mtrace_memory_size(&desc));
    block = MT_MALLOC(10);
    assert_int_equal(mtrace_get_tracer_memory(), held);
    test_give_kept_back();
    held = mtrace_get_tracer_memory();
    snapshot = test_take(false);
    assert_true(mtrace_get_tracer_memory() > held);
    assert_true(mtrace_get_tracer_memory() <= held + test_snapshot_size(false));
    assert_int_equal(mtrace_get_info().tracer_memory, mtrace_get_tracer_memory());
    with_blocks = test_take(true);
    statistics = test_rows(snapshot, MTRACE_BY_LINE);
    mtrace_stop();
    assert_true(mtrace_get_tracer_memory() > held); /* they outlive stop */
    assert_int_equal(statistics->total.size, 10);
    mtrace_snapshot_free(with_blocks);
    mtrace_rows_free(statistics);
    mtrace_snapshot_free(snapshot);
    test_give_kept_back();
    assert_int_equal(mtrace_get_tracer_memory(), held); /* kept for the next start */
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_get_tracer_memory(), held);
    mtrace_stop();
    test_start(32, 16);
    assert_int_equal(mtrace_get_tracer_memory(), held);
    mtrace_stop();
    MT_FREE(block);
}

/* A start with 64 slots, and the bytes of the tracer's memory without any result. */
static size_t start_without_results(void) {
    test_start(32, 16);
    test_give_kept_back();
    return mtrace_get_tracer_memory();
}

/* One snapshot after the other has the same block, and no call of the system is made for it. It is
   the tracer's all the time. */
static void test_block_is_kept(void **state) {
    size_t own = start_without_results(), size;
    mtrace_snapshot *first = test_take(false);
    int i;
    (void)state;
    size = mtrace_get_tracer_memory() - own;
    mtrace_snapshot_free(first);
    for (i = 0; i < 1000; i++) {
        mtrace_snapshot *s;
        assert_int_equal(test_kept_bytes(), size);
        assert_int_equal(mtrace_get_tracer_memory(), own + size);
        s = test_take(false);
        assert_true(s == first);
        assert_int_equal(test_kept_bytes(), 0);
        assert_int_equal(mtrace_get_tracer_memory(), own + size);
        mtrace_snapshot_free(s);
    }
    mtrace_stop();
    assert_int_equal(mtrace_get_tracer_memory(), own + size); /* for the next session, too */
    test_give_kept_back();
    assert_int_equal(mtrace_get_tracer_memory(), own);
}

/* Statistics and copies take it, too; of two blocks the one that was given back last is kept, and
   one that is too small goes back. */
static void test_one_block_is_kept(void **state) {
    size_t own = start_without_results(), small, large;
    mtrace_snapshot *s = test_take(false), *with_blocks = test_take(true), *copy;
    mtrace_rows *statistics;
    (void)state;
    mtrace_snapshot_free(s);
    small = test_kept_bytes();
    large = mtrace_get_tracer_memory() - own - small;
    assert_true(small > 0 && small < large);
    mtrace_snapshot_free(with_blocks);
    assert_int_equal(test_kept_bytes(), large);
    assert_int_equal(mtrace_get_tracer_memory(), own + large);
    s = test_take(false); /* in the large one */
    assert_true(s == with_blocks);
    assert_int_equal(mtrace_get_tracer_memory(), own + large);
    assert_int_equal(mtrace_snapshot_filter(&copy, s, NULL, 0, NULL), MTRACE_OK);
    mtrace_snapshot_free(s);
    statistics = test_rows(copy, MTRACE_BY_LINE);
    assert_true((const void *)statistics == (const void *)s);
    mtrace_rows_free(statistics);
    mtrace_snapshot_free(copy);
    assert_true(test_kept_bytes() < large);
    assert_int_equal(mtrace_get_tracer_memory(), own + test_kept_bytes());
    mtrace_snapshot_free(test_take(true));
    assert_int_equal(test_kept_bytes(), large);
    assert_int_equal(mtrace_get_tracer_memory(), own + large);
    test_give_kept_back();
    assert_int_equal(mtrace_get_tracer_memory(), own);
}

/* A snapshot in a block of that size, made with that number of bytes of names. */
static mtrace_snapshot *make_with_names(size_t name_bytes) {
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_snapshot *s;
    parts.names = (const char *)arena;
    parts.name_bytes = name_bytes;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    return s;
}

/* Up to 1 MiB is kept. One cache line more is given back, and the kept block stays. */
static void test_large_block_goes_back(void **state) {
    size_t own = start_without_results(), rest;
    mtrace_snapshot *s;
    (void)state;
    memset(arena, 0, MIB);
    s = make_with_names(64);
    rest = mtrace_get_tracer_memory() - own - 64;
    mtrace_snapshot_free(s);
    s = make_with_names(MIB - rest);
    assert_int_equal(mtrace_get_tracer_memory(), own + MIB);
    mtrace_snapshot_free(s);
    assert_int_equal(test_kept_bytes(), MIB);
    s = make_with_names(MIB - rest + 64);
    assert_int_equal(mtrace_get_tracer_memory(), own + MIB + MIB + 64);
    mtrace_snapshot_free(s);
    assert_int_equal(test_kept_bytes(), MIB);
    assert_int_equal(mtrace_get_tracer_memory(), own + MIB);
    test_give_kept_back();
    s = make_with_names(MIB - rest + 64);
    mtrace_snapshot_free(s);
    assert_int_equal(test_kept_bytes(), 0);
    assert_int_equal(mtrace_get_tracer_memory(), own);
}

/* Results in the caller's memory are not the tracer's. */
static void test_tracer_memory_of_caller(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_buffer memory = MTRACE_ZERO_;
    mtrace_snapshot *snapshot;
    size_t before = mtrace_get_tracer_memory();
    (void)state;
    desc.memory = arena;
    desc.memory_size = 100001;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_get_tracer_memory() - before, 100001);
    memory.data = arena + 100001;
    memory.size = test_snapshot_size(true);
    assert_int_equal(mtrace_snapshot_take(&snapshot, true, &memory), MTRACE_OK);
    assert_int_equal(mtrace_get_tracer_memory() - before, 100001);
    mtrace_snapshot_free(snapshot);
    assert_int_equal(mtrace_get_tracer_memory() - before, 100001);
    assert_int_equal(mtrace_get_info().tracer_memory, before + 100001);
    mtrace_stop();
    assert_int_equal(mtrace_get_tracer_memory(), before);
    assert_int_equal(mtrace_get_info().tracer_memory, 0); /* zeros when stopped */
}

/* --- foreign frees --- */

static test_output output;

static void start_foreign(mtrace_foreign foreign) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 32;
    desc.max_sites = 16;
    desc.foreign_free = foreign;
    desc.write = test_write;
    desc.write_user = &output;
    output.length = 0;
    output.text[0] = '\0';
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static void test_foreign_is_counted(void **state) {
    mtrace_site site = test_site("life.c", 12);
    (void)state;
    start_foreign(MTRACE_FOREIGN_COUNT);
    mtrace_free_at(malloc(10), &site);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    assert_int_equal(output.length, 0);
    mtrace_free_at(NULL, &site);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    test_held(0, 0, 0);
    mtrace_stop();
}

static void assert_one_warning(const char *start) {
    assert_int_equal(strncmp(output.text, start, strlen(start)), 0);
    assert_true(output.length > strlen(start));
    assert_ptr_equal(strchr(output.text, '\n'), output.text + output.length - 1);
}

static void test_foreign_is_reported(void **state) {
    mtrace_site site = test_site("life.c", 12);
    void *block;
    (void)state;
    start_foreign(MTRACE_FOREIGN_REPORT);
    block = mtrace_malloc_at(10, &site);
    mtrace_free_at(block, &site);
    assert_int_equal(output.length, 0); /* its own */
    mtrace_free_at(malloc(10), &site);
    assert_one_warning("life.c:12: warning: ");
    output.length = 0;
    mtrace_free_at(malloc(10), NULL);
    assert_one_warning("<unknown>:0: warning: ");
    assert_int_equal(mtrace_get_info().foreign_frees, 2);
    output.length = 0;
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    mtrace_free_at(malloc(10), &site); /* paused: frees are looked up still */
    assert_one_warning("life.c:12: warning: ");
    assert_int_equal(mtrace_get_info().foreign_frees, 3);
    mtrace_stop();
    output.length = 0;
    mtrace_free_at(malloc(10), &site);
    assert_int_equal(output.length, 0);
}

static unsigned char *doomed;

/* free() would have overwritten the start of the block. */
static void on_abort(int number) {
    bool whole = number == SIGABRT && output.length > 0;
    int i;
    for (i = 0; i < 64; i++) {
        whole = whole && doomed[i] == 0x5a;
    }
    _exit(whole ? 42 : 43);
}

static int free_foreign(void) {
    mtrace_site site = test_site("life.c", 12);
    doomed = (unsigned char *)malloc(64);
    memset(doomed, 0x5a, 64);
    mtrace_free_at(doomed, &site);
    return 0;
}

static int free_foreign_caught(void) {
    signal(SIGABRT, on_abort);
    return free_foreign();
}

static int free_own(void) {
    mtrace_free_at(mtrace_malloc_at(10, NULL), NULL);
    return 7;
}

static void test_foreign_aborts(void **state) {
    (void)state;
    TEST_NEEDS_POSIX();
    start_foreign(MTRACE_FOREIGN_ABORT);
    assert_int_equal(test_in_child(free_own), 7);
    assert_int_equal(test_in_child(free_foreign), TEST_SIGNAL + SIGABRT);
    assert_int_equal(test_in_child(free_foreign_caught), 42);
    test_held(0, 0, 0);
    mtrace_stop();
    assert_int_equal(test_in_child(free_foreign), 0);
}

/* --- stop and restart --- */

static void test_stop(void **state) {
    mtrace_site site = test_site("life.c", 20);
    mtrace_block found;
    mtrace_info info;
    void *a, *b;
    (void)state;
    test_start(32, 16);
    a = mtrace_malloc_at(100, &site);
    b = mtrace_malloc_at(200, &site);
    mtrace_free_at(a, &site);
    test_held(200, 300, 1);
    mtrace_stop();
    assert_false(mtrace_is_tracing());
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    assert_int_equal(mtrace_get_traced_memory().peak, 0);
    info = mtrace_get_info();
    assert_int_equal(info.capacity, 0);
    assert_int_equal(info.live, 0);
    assert_int_equal(info.high_water, 0);
    assert_int_equal(info.sites, 0);
    assert_int_equal(info.max_sites, 0);
    assert_int_equal(info.frames, 0);
    assert_int_equal(mtrace_find(&found, b), MTRACE_ERR_NOT_TRACING);
    assert_int_equal(mtrace_track_at(1, 1, 1, &site), MTRACE_ERR_NOT_TRACING);
    assert_int_equal(mtrace_untrack_at(1, 1, &site), MTRACE_ERR_NOT_TRACING);
    assert_int_equal(mtrace_pause(), MTRACE_ERR_NOT_TRACING);
    assert_int_equal(mtrace_resume(), MTRACE_ERR_NOT_TRACING);
    assert_null(mtrace_check());
    mtrace_stop(); /* twice */
    b = mtrace_realloc_at(b, 400, &site);
    assert_non_null(b);
    mtrace_free_at(b, &site);
    test_start(32, 16);
    test_held(0, 0, 0); /* nothing is left of it */
    assert_int_equal(mtrace_get_info().sites, 0);
    mtrace_stop();
}

/* A block of an earlier session is not this one's. */
static void test_restart_forgets(void **state) {
    mtrace_site site = test_site("life.c", 21);
    void *block;
    (void)state;
    test_start(32, 16);
    block = mtrace_malloc_at(100, &site);
    mtrace_stop();
    test_start(32, 16);
    test_untraced(block);
    mtrace_free_at(block, &site);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    test_held(0, 0, 0);
    mtrace_stop();
}

enum { MANY = 100000, MAX_FAULTS = 20 };

static void *many[MANY];

static void allocate_many(void) {
    size_t i;
    for (i = 0; i < MANY; i++) {
        many[i] = MT_MALLOC(64);
    }
}

static void free_many(void) {
    size_t i;
    for (i = 0; i < MANY; i++) {
        MT_FREE(many[i]);
    }
}

static void nothing_is_left(void) {
    size_t i;
    test_held(0, 0, 0);
    assert_int_equal(mtrace_get_info().sites, 0);
    for (i = 0; i < MANY; i += 1000) {
        test_untraced(many[i]);
    }
    test_sound();
}

static long page_faults(void) {
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt;
}

/* A restart drops the pages that the last session touched: it neither reads nor writes them. The
   block is larger than that of any session before, so most of its pages were never touched. */
static void test_restart_touches_little(void **state) {
    long faults;
    (void)state;
    TEST_NEEDS_POSIX();
    test_start((size_t)1 << 20, 0);
    allocate_many();
    faults = page_faults();
    mtrace_stop();
    test_start((size_t)1 << 20, 0);
    faults = page_faults() - faults;
    assert_in_range(faults, 0, MAX_FAULTS);
    nothing_is_left();
    free_many();
    allocate_many();
    test_held(MANY * 64, MANY * 64, MANY);
    free_many();
    test_held(0, MANY * 64, 0);
    mtrace_stop();
}

/* Locked memory cannot be dropped: it is zeroed. */
static void test_restart_in_locked_memory(void **state) {
    (void)state;
    TEST_NEEDS_POSIX();
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    allocate_many();
    if (mlockall(MCL_CURRENT) != 0) {
        free_many();
        printf("this process may not lock its memory\n");
        skip();
    }
    mtrace_stop();
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    nothing_is_left();
    free_many();
    mtrace_stop();
    munlockall();
}

/* Fresh memory that is said to be zero is not touched either; later it is the caller's to say. */
static void test_memory_is_zero(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    long faults;
    (void)state;
    TEST_NEEDS_POSIX();
    desc.max_blocks = (size_t)1 << 20; /* so low a load that tiny tables drop no block */
    desc.memory_size = mtrace_memory_size(&desc);
    desc.memory = calloc(1, desc.memory_size); /* so large that it comes from the system */
    assert_non_null(desc.memory);
    desc.memory_is_zero = true;
    faults = page_faults();
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    faults = page_faults() - faults;
    assert_in_range(faults, 0, MAX_FAULTS);
    test_held(0, 0, 0);
    allocate_many();
    test_held(MANY * 64, MANY * 64, MANY);
    mtrace_stop();
    desc.memory_is_zero = false;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    nothing_is_left();
    mtrace_stop();
    memset(desc.memory, 0, desc.memory_size);
    desc.memory_is_zero = true;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    nothing_is_left();
    free_many();
    mtrace_stop();
    free(desc.memory);
}

static uint64_t cache_a, cache_b;
static const mtrace_site site_a = {"life.c", "a", NULL, 31, &cache_a};
static const mtrace_site site_b = {"life.c", "b", NULL, 32, &cache_b};

static void restart_once(const mtrace_desc *desc, int round) {
    int n_a = round % 4, n_b = round % 3, i;
    void *blocks[8];
    mtrace_row a, b;
    assert_int_equal(mtrace_start(desc), MTRACE_OK);
    for (i = 0; i < n_a; i++) {
        blocks[i] = mtrace_malloc_at(10, &site_a);
    }
    for (; i < n_a + n_b; i++) {
        blocks[i] = mtrace_malloc_at(7, &site_b);
    }
    a = test_row("life.c", 31);
    b = test_row("life.c", 32);
    assert_int_equal(a.count, n_a);
    assert_int_equal(a.size, 10 * n_a);
    assert_int_equal(b.count, n_b);
    assert_int_equal(b.size, 7 * n_b);
    assert_int_equal(mtrace_get_info().sites, (n_a > 0) + (n_b > 0));
    test_held((uint64_t)(10 * n_a + 7 * n_b), (uint64_t)(10 * n_a + 7 * n_b), (size_t)(n_a + n_b));
    if (round % 2 == 0) {
        mtrace_stop();
    }
    while (i > 0) {
        mtrace_free_at(blocks[--i], &site_a);
    }
    if (round % 2 == 1) {
        test_held(0, (uint64_t)(10 * n_a + 7 * n_b), 0);
        assert_int_equal(test_row("life.c", 31).frees, n_a);
        assert_int_equal(test_row("life.c", 32).frees, n_b);
        mtrace_stop();
    }
}

static void test_restart_many_times(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    int round;
    (void)state;
    for (round = 0; round < 5000; round++) {
        /* the caller's memory and the system's, small and smaller */
        desc.max_blocks = (size_t)16 << round % 2;
        desc.max_sites = 4;
        desc.memory = round % 25 == 0 ? NULL : arena + round % 64;
        desc.memory_size = desc.memory == NULL ? 0 : mtrace_memory_size(&desc);
        restart_once(&desc, round);
    }
}

/* --- pause --- */

static void assert_paused_allocates_untraced(void) {
    int *numbers = MT_NEW(int);
    void *blocks[6];
    int i;
    blocks[0] = MT_MALLOC(8);
    blocks[1] = MT_CALLOC(2, 8);
    blocks[2] = MT_STRDUP("text");
    blocks[3] = MT_ALIGNED_ALLOC(64, 64);
    blocks[4] = MT_REALLOC(NULL, 5);
    blocks[5] = MT_REALLOCARRAY(NULL, 5, 2);
    test_untraced(numbers);
    for (i = 0; i < 6; i++) {
        assert_non_null(blocks[i]);
        test_untraced(blocks[i]);
        free(blocks[i]);
    }
    free(numbers);
}

static void test_pause(void **state) {
    mtrace_site a = test_site("life.c", 41), b = test_site("life.c", 42);
    void *kept, *freed, *other;
    mtrace_row row;
    (void)state;
    test_start(32, 16);
    kept = mtrace_malloc_at(100, &a);
    freed = mtrace_malloc_at(1000, &a);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    assert_false(mtrace_is_tracing());
    test_held(1100, 1100, 2);
    assert_paused_allocates_untraced();
    assert_int_equal(MT_TRACK(1, 1, 1), MTRACE_ERR_NOT_TRACING);
    test_held(1100, 1100, 2);
    test_traced(kept, 100, "life.c", 41); /* queries go on */
    mtrace_free_at(freed, &b);
    test_held(100, 1100, 1);
    kept = mtrace_realloc_at(kept, 300, &b);
    test_traced(kept, 300, "life.c", 41);
    test_held(300, 1100, 1);
    row = test_row("life.c", 41);
    assert_int_equal(row.size, 300);
    assert_int_equal(row.count, 1);
    assert_int_equal(row.total_count, 3);
    assert_int_equal(row.frees, 2);
    other = mtrace_malloc_at(50, &b);
    other = mtrace_realloc_at(other, 5000, &b);
    test_untraced(other);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    assert_int_equal(mtrace_resume(), MTRACE_OK);
    assert_int_equal(mtrace_resume(), MTRACE_OK);
    assert_true(mtrace_is_tracing());
    test_held(300, 1100, 1);
    other = mtrace_realloc_at(other, 60, &b); /* now it is seen */
    test_traced(other, 60, "life.c", 42);
    test_held(360, 1100, 2);
    assert_int_equal(mtrace_get_info().foreign_frees, 2);
    mtrace_free_at(other, &b);
    mtrace_free_at(kept, &b);
    test_held(0, 1100, 0);
    mtrace_stop();
}

/* A stop ends a pause; a tracked key can be ended while paused. */
static void test_pause_and_stop(void **state) {
    (void)state;
    test_start(32, 16);
    assert_int_equal(MT_TRACK(3, 1, 10), MTRACE_OK);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    assert_int_equal(MT_UNTRACK(3, 1), MTRACE_OK);
    assert_int_equal(MT_UNTRACK(3, 1), MTRACE_ERR_NOT_FOUND);
    test_held(0, 10, 0);
    mtrace_stop();
    assert_int_equal(mtrace_resume(), MTRACE_ERR_NOT_TRACING);
    test_start(32, 16);
    assert_true(mtrace_is_tracing());
    mtrace_stop();
}

/* --- clear, reset_peak --- */

static void test_clear(void **state) {
    mtrace_site a = test_site("life.c", 51), b = test_site("life.c", 52);
    void *before, *gone, *after;
    mtrace_row row;
    mtrace_info info;
    (void)state;
    mtrace_clear(); /* stopped: nothing happens */
    test_start(8, 16);
    before = mtrace_malloc_at(100, &a);
    gone = mtrace_malloc_at(1000, &a);
    gone = mtrace_realloc_at(gone, 2000, &a);
    mtrace_free_at(gone, &a);
    mtrace_free_at(malloc(1), &a);
    assert_int_equal(mtrace_track_at(2, 5, (uint64_t)1 << 40, &a), MTRACE_ERR_FULL);
    assert_int_equal(mtrace_track_at(2, 6, 60, &b), MTRACE_OK);
    test_held(160, 2100, 2);
    mtrace_clear();
    assert_true(mtrace_is_tracing());
    test_held(0, 0, 0);
    info = mtrace_get_info();
    assert_int_equal(info.capacity, 16);
    assert_int_equal(info.high_water, 0);
    assert_int_equal(info.foreign_frees, 0);
    assert_int_equal(info.dropped_count, 0);
    assert_int_equal(info.dropped_bytes, 0);
    row = test_row("life.c", 51);
    assert_int_equal(row.count, 0);
    assert_int_equal(row.total_count, 0);
    assert_int_equal(row.total_size, 0);
    assert_int_equal(row.frees, 0);
    assert_int_equal(row.reallocs, 0);
    assert_int_equal(row.dropped_count, 0);
    assert_int_equal(row.peak_size, 0);
    test_untraced(before);
    assert_int_equal(mtrace_untrack_at(2, 6, &b), MTRACE_ERR_NOT_FOUND);
    after = mtrace_malloc_at(30, &a); /* the same site, from zero */
    test_traced(after, 30, "life.c", 51);
    test_held(30, 30, 1);
    row = test_row("life.c", 51);
    assert_int_equal(row.count, 1);
    assert_int_equal(row.total_count, 1);
    assert_int_equal(row.total_size, 30);
    mtrace_free_at(before, &a);
    assert_int_equal(mtrace_get_info().foreign_frees, 1);
    test_held(30, 30, 1);
    mtrace_free_at(after, &a);
    test_held(0, 30, 0);
    assert_int_equal(mtrace_get_info().high_water, 1);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    mtrace_clear();
    assert_false(mtrace_is_tracing()); /* a pause goes on */
    mtrace_stop();
}

/* All accounts are used, "<other>" in domains too. The clear still finds room for its own. */
static void test_clear_when_all_accounts_are_used(void **state) {
    enum { OTHERS = 16 }; /* MTRACE_OTHER_DOMAINS */
    mtrace_site first = test_site("life.c", 61), second = test_site("life.c", 62);
    uint32_t i;
    (void)state;
    test_start(32, 1);
    assert_int_equal(mtrace_track_at(0, 4096, 1, &first), MTRACE_OK);
    for (i = 1; i <= OTHERS; i++) {
        assert_int_equal(mtrace_track_at(i, i, 10, &second), MTRACE_OK);
    }
    assert_int_equal(mtrace_track_at(i, i, 10, &second), MTRACE_ERR_FULL);
    mtrace_clear();
    test_sound();
    test_held(0, 0, 0);
    assert_int_equal(mtrace_track_at(0, 4096, 1, &first), MTRACE_OK);
    assert_int_equal(mtrace_track_at(0, 8192, 2, &second), MTRACE_OK);
    assert_int_equal(test_row("life.c", 61).size, 1);
    assert_int_equal(test_row("<other>", 0).size, 2);
    test_sound();
    mtrace_stop();
}

/* --- clear, many times, with blocks that go on living --- */

enum { CLEARS = TEST_SANITIZED ? 200 : 10000, OLD = 50, CLEAR_SITES = 33, KEYS = 3 };

/* Blocks from before a clear: the tracer knows nothing of them. */
static void *old_blocks[OLD];
static uint64_t foreign; /* frees and reallocs of these since the last clear */

/* Block i joins the old ones after a clear. The one in its place is freed first. */
static void keep_block(void *block, uint32_t i) {
    void **at = &old_blocks[i % OLD];
    test_untraced(*at);
    foreign += *at != NULL ? 1u : 0u;
    MT_FREE(*at);
    *at = block;
}

static uint64_t sum_of_rows(size_t *rows) {
    mtrace_snapshot *snapshot;
    mtrace_rows *s;
    uint64_t sum = 0;
    size_t i;
    snapshot = test_take(false);
    s = test_rows(snapshot, MTRACE_BY_LINE);
    *rows = s->count;
    for (i = 0; i < s->count; i++) {
        const mtrace_row *row = &s->rows[i];
        assert_string_equal(row->file, "clears.c"); /* none is <other> */
        assert_int_equal(row->count, 1);
        assert_int_equal(row->total_count, 1);
        assert_int_equal(row->size, row->line);
        assert_int_equal(row->frees, 0);
        sum += row->size;
    }
    mtrace_rows_free(s);
    mtrace_snapshot_free(snapshot);
    return sum;
}

/* What lies between two clears: a block or key from each line, of which one in `keep` outlives it.
   */
static void use_between_clears(uint32_t round, uint32_t first, uint32_t max_lines, uint32_t keep) {
    void *blocks[CLEAR_SITES] = MTRACE_ZERO_;
    uint32_t i;
    uint64_t held = 0;
    size_t rows;
    mtrace_info info;
    foreign = 0;
    for (i = 0; i < max_lines; i++) {
        mtrace_site site = test_site("clears.c", first + i);
        held += site.line;
        if (i < KEYS) {
            assert_int_equal(mtrace_untrack_at(0, 16 + i * 16, &site), MTRACE_ERR_NOT_FOUND);
            assert_int_equal(mtrace_track_at(0, 16 + i * 16, site.line, &site), MTRACE_OK);
        } else {
            blocks[i] = mtrace_malloc_at(site.line, &site);
        }
    }
    for (i = KEYS; i < max_lines; i += keep) {
        test_traced(blocks[i], first + i, "clears.c", first + i);
    }
    assert_int_equal(sum_of_rows(&rows), held);
    assert_int_equal(rows, max_lines);
    for (i = KEYS; i < max_lines; i++) {
        if (i % keep == round % keep) {
            keep_block(blocks[i], round + i);
        } else {
            MT_FREE(blocks[i]);
            held -= first + i;
        }
    }
    if (round % 16 == 0) {
        test_sound();
    }
    assert_int_equal(mtrace_get_traced_memory().current, held);
    info = mtrace_get_info();
    assert_int_equal(info.foreign_frees, foreign);
    assert_int_equal(info.lost_sites, 0);
    assert_int_equal(info.dropped_count, 0);
}

/* Where there is room for more, lines change from round to round. */
static void clear_many_times(uint32_t times, size_t max_sites, uint32_t max_lines, uint32_t keep) {
    uint32_t i;
    mtrace_desc desc = MTRACE_ZERO_;
    memset(old_blocks, 0, sizeof old_blocks);
    desc.max_blocks = 512;
    desc.max_sites = max_sites;
    desc.name_bytes = 64;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    for (i = 0; i < times; i++) {
        use_between_clears(i, max_sites == 0 ? 1 + i % 7 * 100 : 1, max_lines, keep);
        mtrace_clear();
        assert_int_equal(mtrace_get_traced_memory().current, 0);
        assert_int_equal(mtrace_get_traced_memory().peak, 0);
        assert_int_equal(mtrace_get_info().live, 0);
    }
    for (i = 0; i < OLD; i++) {
        test_untraced(old_blocks[i]);
        old_blocks[i] = mtrace_realloc_at(old_blocks[i], 10 + i, NULL); /* traced from here on */
        MT_FREE(old_blocks[i]);
    }
    test_held(0, 59, 0);
    mtrace_stop();
}

static void test_clear_many_times(void **state) {
    (void)state;
    clear_many_times(CLEARS, 0, 5, 2);
    clear_many_times(CLEARS / 10, 0, CLEAR_SITES, 1);
}

/* A block from before a clear keeps its slot while there is room, but takes none from a later. */
static void test_clear_and_fill(void **state) {
    mtrace_site site = test_site("life.c", 1);
    void *old[5];
    uintptr_t key;
    size_t i;
    (void)state;
    test_start(32, 16);
    for (i = 0; i < 5; i++) {
        old[i] = MT_MALLOC(10 + i);
    }
    mtrace_clear();
    for (key = 1; key <= 64 && test_max_probe() >= 64; key++) {
        assert_int_equal(mtrace_track_at(1, key * 977, 100, &site), MTRACE_OK);
    }
    assert_int_equal(mtrace_get_info().dropped_count, 0);
    test_sound();
    for (i = 0; i < 5; i++) {
        MT_FREE(old[i]);
    }
    assert_int_equal(mtrace_get_info().foreign_frees, 5);
    test_sound();
    mtrace_stop();
}

/* Just as many call sites as there is room for, again after each clear: each gets its row, though
   blocks of the rows before are alive. */
static void test_clear_with_all_sites_used(void **state) {
    (void)state;
    clear_many_times(CLEARS, CLEAR_SITES, CLEAR_SITES, 1);
    clear_many_times(CLEARS / 10, CLEAR_SITES, CLEAR_SITES, 4);
}

static void test_reset_peak(void **state) {
    mtrace_site a = test_site("life.c", 61), b = test_site("life.c", 62);
    void *one, *two;
    (void)state;
    mtrace_reset_peak(); /* stopped: nothing happens */
    test_start(32, 16);
    one = mtrace_malloc_at(1000, &a);
    two = mtrace_malloc_at(10, &b);
    mtrace_free_at(one, &a);
    test_held(10, 1010, 1);
    assert_int_equal(test_row("life.c", 62).peak_size, 10);
    mtrace_reset_peak();
    test_held(10, 10, 1);
    one = mtrace_malloc_at(50, &a);
    test_held(60, 60, 2);
    mtrace_free_at(one, &a);
    test_held(10, 60, 1);
    assert_int_equal(test_row("life.c", 61).peak_size, 50);
    assert_int_equal(test_row("life.c", 62).peak_size, 10);
    mtrace_free_at(two, &b);
    mtrace_reset_peak();
    test_held(0, 0, 0);
    assert_int_equal(mtrace_get_info().high_water, 2); /* of slots, since the start */
    mtrace_stop();
}

/* --- every order of calls --- */

enum { ORDER_LENGTH = 5, ORDER_CALLS = 8, ORDER_ALL = 8 * 8 * 8 * 8 * 8 };

typedef struct order {
    int state; /* 0 stopped, 1 paused, 3 tracing */
    int blocks;
    void *block[ORDER_LENGTH];
    bool traced[ORDER_LENGTH];
    uint64_t current, peak, foreign;
} order;

static void order_forget(order *o) {
    memset(o->traced, 0, sizeof o->traced);
    o->current = o->peak = o->foreign = 0;
}

static void order_start(order *o) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 4;
    desc.max_sites = 4;
    desc.memory = arena + 5;
    desc.memory_size = 65536;
    assert_int_equal(mtrace_start(&desc), o->state == 0 ? MTRACE_OK : MTRACE_ERR_ALREADY);
    if (o->state == 0) {
        o->state = 3;
        order_forget(o);
    }
}

static void order_alloc(order *o) {
    int i = o->blocks++;
    uint64_t size = (uint64_t)1 << i;
    o->block[i] = mtrace_malloc_at((size_t)size, &site_a);
    o->traced[i] = o->state == 3;
    o->current += o->traced[i] ? size : 0;
    o->peak = o->current > o->peak ? o->current : o->peak;
}

static void order_free(order *o) {
    if (o->blocks > 0) {
        int i = --o->blocks;
        mtrace_free_at(o->block[i], &site_b);
        o->foreign += o->state != 0 && !o->traced[i] ? 1 : 0;
        o->current -= o->traced[i] ? (uint64_t)1 << i : 0;
    }
}

static void order_call(order *o, int call) {
    mtrace_result expected = o->state == 0 ? MTRACE_ERR_NOT_TRACING : MTRACE_OK;
    switch (call) {
    case 0:
        order_start(o);
        break;
    case 1:
        mtrace_stop();
        o->state = 0;
        order_forget(o);
        break;
    case 2:
        mtrace_clear();
        order_forget(o);
        break;
    case 3:
        assert_int_equal(mtrace_pause(), expected);
        o->state = o->state == 0 ? 0 : 1;
        break;
    case 4:
        assert_int_equal(mtrace_resume(), expected);
        o->state = o->state == 0 ? 0 : 3;
        break;
    case 5:
        mtrace_reset_peak();
        o->peak = o->current;
        break;
    case 6:
        order_alloc(o);
        break;
    default:
        order_free(o);
        break;
    }
}

static void test_every_order(void **state) {
    int number;
    (void)state;
    for (number = 0; number < ORDER_ALL; number++) {
        order o;
        int i, rest = number;
        memset(&o, 0, sizeof o);
        for (i = 0; i < ORDER_LENGTH; i++, rest /= ORDER_CALLS) {
            mtrace_traced_memory memory;
            order_call(&o, rest % ORDER_CALLS);
            test_sound();
            memory = mtrace_get_traced_memory();
            assert_int_equal(memory.current, o.current);
            assert_int_equal(memory.peak, o.peak);
            assert_int_equal(mtrace_get_info().foreign_frees, o.foreign);
            assert_int_equal(mtrace_is_tracing(), o.state == 3);
        }
        while (o.blocks > 0) {
            order_free(&o);
        }
        mtrace_stop();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_started_before_main),
        TEST(test_restart_many_times),
        TEST(test_every_order),
        TEST(test_start_with_defaults),
        TEST(test_start_with_zero_desc),
        TEST(test_second_start_changes_nothing),
        TEST(test_bad_desc),
        TEST(test_frames),
        TEST(test_slots_for_blocks),
        TEST(test_blocks_have_room),
        TEST(test_most_sites),
        TEST(test_memory_size),
        TEST(test_memory_at_any_address),
        TEST(test_memory_too_small),
        TEST(test_capacity_that_fits),
        TEST(test_all_that_fits),
        TEST(test_restart_touches_little),
        TEST(test_restart_in_locked_memory),
        TEST(test_memory_is_zero),
        TEST(test_tracer_memory_of_system),
        TEST(test_block_is_kept),
        TEST(test_one_block_is_kept),
        TEST(test_large_block_goes_back),
        TEST(test_tracer_memory_of_caller),
        TEST(test_foreign_is_counted),
        TEST(test_foreign_is_reported),
        TEST(test_foreign_aborts),
        TEST(test_stop),
        TEST(test_restart_forgets),
        TEST(test_pause),
        TEST(test_pause_and_stop),
        TEST(test_clear),
        TEST(test_clear_when_all_accounts_are_used),
        TEST(test_clear_many_times),
        TEST(test_clear_with_all_sites_used),
        TEST(test_clear_and_fill),
        TEST(test_reset_peak),
    };
    int failed;
    atexit(after_main);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_start(32, 16);
    late_block = MT_MALLOC(77);
    return failed;
}

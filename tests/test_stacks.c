/* Code addresses and call stacks as call sites: the calls that take one, the functions that name
   their caller, and mtrace_ext.h's unwinder. Most tests have an unwinder of their own, whose stacks
   and modules are known. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "support/test.h"
#include "support/ext.h"
#include "support/threads.h"
#include "support/traces.h"

#include <errno.h>
#include <signal.h>

#define NOINLINE __attribute__((noinline))

/* Behind a call: it is not the function's last act, and so no jump. */
#define AFTER_CALL() __asm__ __volatile__("")

/* --- an unwinder that a test commands --- */

enum { MODULE = 0x10000, OTHER_MODULE = 0x20000, MODULE_SIZE = 0x1000, NEAR = 12 };
static uintptr_t callers[64]; /* what it finds */
static uint32_t caller_count;
static uint32_t walks;
static const char *module_path = "/lib/a.so";
static unsigned char module_id = 1;

static uint32_t walk(uintptr_t *addresses, uint32_t room, const void *frame) {
    uint32_t count = caller_count < room ? caller_count : room;
    assert_non_null(frame);
    memcpy(addresses, callers, count * sizeof *callers);
    walks++;
    return count;
}

static bool find_module(mtrace_module *module, uintptr_t address) {
    uintptr_t start = address / MODULE * MODULE;
    if ((start != MODULE && start != OTHER_MODULE) || address - start >= MODULE_SIZE) {
        return false;
    }
    module->path = start == MODULE ? module_path : "/lib/b.so";
    module->load_address = start;
    module->size = MODULE_SIZE;
    module->build_id_size = start == MODULE ? 1 : 0;
    module->build_id[0] = start == MODULE ? module_id : 0;
    return true;
}

static const mtrace_unwinder fake = {walk, find_module, NULL, NULL, NULL, NULL};

static void start_with(const mtrace_unwinder *unwinder, uint32_t native_frames, uint32_t frames) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 256;
    desc.unwinder = unwinder;
    desc.native_frames = native_frames;
    desc.frames = frames;
    walks = 0;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

/* Frees the blocks and stops: nothing is left, and nothing is broken. */
static void stop_empty(void) {
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    assert_int_equal(mtrace_get_info().foreign_frees, 0);
    test_sound();
    mtrace_stop();
}

/* The rows, but for the empty one of "<other>". */
static mtrace_snapshot *take(void) {
    mtrace_snapshot *all = test_take(false), *s;
    mtrace_filter others = MTRACE_ZERO_;
    others.exclusive = true;
    others.file = "<other>";
    assert_int_equal(mtrace_snapshot_filter(&s, all, &others, 1, NULL), MTRACE_OK);
    mtrace_snapshot_free(all);
    return s;
}

static void expect(const char *wanted) {
    mtrace_snapshot *s = take();
    test_expect_traces(s, wanted);
    mtrace_snapshot_free(s);
}

static mtrace_stack stack_of(const uintptr_t *addresses, uint32_t count) {
    mtrace_stack stack;
    stack.addresses = addresses;
    stack.count = count;
    return stack;
}

#define STACK(addresses) stack_of((addresses), sizeof(addresses) / sizeof *(addresses))

/* --- stacks of the caller's --- */

static const uintptr_t deep[] = {MODULE + 0x101, OTHER_MODULE + 0x201, MODULE + 0x301};
static const uintptr_t other[] = {MODULE + 0x101, OTHER_MODULE + 0x202, MODULE + 0x301};

/* An address is that of the call: one less than where it returns to. */
static void test_traceback_is_the_stack(void **state) {
    mtrace_stack stack = STACK(deep);
    void *a, *b;
    (void)state;
    start_with(&fake, 0, 4);
    a = mtrace_malloc_from(10, &stack);
    b = mtrace_malloc_from(20, &stack);
    expect("0 30 2 /lib/a.so+0x300>/lib/b.so+0x200>/lib/a.so+0x100/3");
    assert_int_equal(walks, 0);
    MT_FREE(a);
    MT_FREE(b);
    stop_empty();
}

/* --- the console --- */

static void note(const char *text, size_t length, void *user) {
    char *out = (char *)user;
    size_t used = strlen(out);
    memcpy(out + used, text, length);
    out[used + length] = '\0';
}

/* `watch` names code as the tables do, and knows its module by name. */
static void test_watch(void **state) {
    mtrace_stack stack = STACK(deep), none = stack_of(NULL, 0);
    char text[500] = "";
    void *a, *b, *c;
    (void)state;
    start_with(&fake, 0, 4);
    assert_int_equal(mtrace_command("watch a.so", note, text), MTRACE_OK);
    a = mtrace_malloc_from(10, &stack);
    b = mtrace_malloc_from(20, &none);
    assert_int_equal(mtrace_command("watch *", note, text), MTRACE_OK);
    c = mtrace_realloc_from(b, 30, &none);
    assert_int_equal(mtrace_command("watch off", note, text), MTRACE_OK);
    assert_string_equal(text, "mtrace: watch *a.so*\n/lib/a.so+0x100: 10 B allocated\n"
                              "mtrace: watch *\n<unknown>: 30 B for 20 B allocated\n"
                              "mtrace: watch off\n");
    MT_FREE(a);
    MT_FREE(c);
    stop_empty();
}

/* --- checks --- */

static int name_calls;

static mtrace_result refuse_names(mtrace_snapshot **out, const mtrace_snapshot *snapshot) {
    (void)snapshot;
    *out = NULL;
    name_calls++;
    return MTRACE_ERR_NO_MEMORY;
}

static void allocate_at_deep(void **out, size_t size) {
    mtrace_stack stack = STACK(deep);
    *out = mtrace_malloc_from(size, &stack);
}

/* Names come from other programs. Checks that pass do not ask for them, those that fail do. */
static void test_checks_ask_for_names_late(void **state) {
    static const mtrace_unwinder slow = {walk, find_module, refuse_names, NULL, NULL, NULL};
    mtrace_snapshot *s;
    void *old, *block = NULL;
    (void)state;
    start_with(&slow, 0, 4);
    allocate_at_deep(&old, 10);
    s = test_take(false);
    name_calls = 0;
    MT_ASSERT_NO_LEAKS {
        allocate_at_deep(&block, 20);
        MT_FREE(block);
    }
    MT_ASSERT_ALLOCATIONS_AT_MOST(1) {
        allocate_at_deep(&block, 20);
        MT_FREE(block);
    }
    MT_ASSERT_PEAK_BELOW(21) {
        allocate_at_deep(&block, 20);
    }
    assert_int_equal(mtrace_growth(NULL, 0, s, 20), 0);
    assert_int_equal(name_calls, 0);
    assert_int_equal(mtrace_growth(NULL, 0, s, 19), 20);
    assert_true(name_calls > 0);
    mtrace_snapshot_free(s);
    MT_FREE(block);
    MT_FREE(old);
    stop_empty();
}

/* Each form is charged to the stack that it is given. */
static void test_each_form(void **state) {
    mtrace_stack stack = STACK(deep), second = STACK(other);
    void *blocks[8];
    size_t i;
    (void)state;
    start_with(&fake, 0, 2);
    blocks[0] = mtrace_malloc_from(1, &stack);
    blocks[1] = mtrace_calloc_from(2, 5, &stack);
    blocks[2] = mtrace_realloc_from(NULL, 100, &stack);
    blocks[3] = mtrace_realloc_from(mtrace_malloc_from(7, &second), 1000, &stack);
    blocks[4] = mtrace_malloc_in_from(5, 10000, &stack);
    blocks[5] = mtrace_realloc_in_from(5, mtrace_calloc_in_from(6, 1, 8, &second), 20, &second);
    blocks[6] = mtrace_reallocarray_from(NULL, 10, 10000, &stack);
    blocks[7] = mtrace_strndup_from("ab", SIZE_MAX, &second);
    assert_string_equal((char *)blocks[7], "ab");
    assert_int_equal(mtrace_track_from(9, 77, 300, &second), MTRACE_OK);
    expect("0 101111 5 /lib/b.so+0x200>/lib/a.so+0x100/2 | "
           "0 3 1 /lib/b.so+0x201>/lib/a.so+0x100/2 | "
           "5 10000 1 /lib/b.so+0x200>/lib/a.so+0x100/2 | "
           "6 20 1 /lib/b.so+0x201>/lib/a.so+0x100/2 | "
           "9 300 1 /lib/b.so+0x201>/lib/a.so+0x100/2");
    assert_int_equal(mtrace_untrack_at(9, 77, NULL), MTRACE_OK);
    assert_null(mtrace_realloc_from(blocks[0], 0, &stack));
    for (i = 1; i < 8; i++) {
        mtrace_free_from(blocks[i], i % 2 != 0 ? &stack : NULL);
    }
    stop_empty();
}

static void test_aligned_form(void **state) {
    mtrace_stack stack = STACK(deep);
    void *block;
    (void)state;
    start_with(&fake, 0, 1);
    block = mtrace_aligned_alloc_from(64, 128, &stack);
    assert_int_equal((uintptr_t)block % 64, 0);
    expect("0 128 1 /lib/a.so+0x100/1");
    mtrace_free(block);
    stop_empty();
}

/* Not started: the allocator's. */
static void test_stopped(void **state) {
    mtrace_stack stack = STACK(deep);
    uintptr_t room[4];
    void *block = mtrace_malloc_from(10, &stack);
    (void)state;
    block = mtrace_realloc_from(block, 20, &stack);
    mtrace_free_from(block, &stack);
    mtrace_hook_free(NULL, mtrace_hook_realloc(NULL, mtrace_hook_malloc(NULL, 1), 2));
    assert_int_equal(mtrace_track_from(1, 1, 1, &stack), MTRACE_ERR_NOT_TRACING);
    assert_int_equal(mtrace_stack_take(room, 4, &block), 0);
}

static void test_unknown_stacks(void **state) {
    mtrace_stack none = stack_of(NULL, 0), lost = stack_of(NULL, 7);
    void *blocks[3];
    (void)state;
    start_with(&fake, 0, 3);
    blocks[0] = mtrace_malloc_from(1, NULL);
    blocks[1] = mtrace_malloc_from(2, &none);
    blocks[2] = mtrace_malloc_from(4, &lost);
    expect("0 7 3 <unknown>:0/1");
    mtrace_free(blocks[0]);
    mtrace_free(blocks[1]);
    mtrace_free_from(blocks[2], &lost);
    stop_empty();
}

/* Without an unwinder addresses have no module. */
static void test_addresses_without_modules(void **state) {
    static const uintptr_t addresses[] = {0x5001, MODULE + 0x101};
    mtrace_stack stack = STACK(addresses);
    void *block;
    (void)state;
    start_with(NULL, 0, 2);
    block = mtrace_malloc_from(1, &stack);
    expect("0 1 1 <unknown>+0x10100><unknown>+0x5000/2");
    MT_FREE(block);
    stop_empty();
}

/* Of frames beyond desc.frames none is kept, and so none tells stacks apart. */
static void test_frames_limit(void **state) {
    static uintptr_t long_stack[100];
    mtrace_stack stack = stack_of(long_stack, 100);
    void *a, *b;
    size_t i;
    (void)state;
    for (i = 0; i < 100; i++) {
        long_stack[i] = MODULE + 1 + i;
    }
    start_with(&fake, 0, 3);
    a = mtrace_malloc_from(1, &stack);
    stack.count = 50;
    b = mtrace_malloc_from(2, &stack);
    expect("0 3 2 /lib/a.so+0x2>/lib/a.so+0x1>/lib/a.so+0x0/3");
    assert_int_equal(mtrace_get_info().scopes, 2);
    MT_FREE(a);
    MT_FREE(b);
    stop_empty();
}

/* Scopes come first. Their domain counts, unless the call has one. */
static NOINLINE void in_scopes(const mtrace_stack *stack, void *blocks[2]) {
    mtrace_site level = test_site("level.c", 3);
    mtrace_scope before = mtrace_scope_push_in_at(4, &level);
    blocks[0] = mtrace_malloc_from(10, stack);
    blocks[1] = mtrace_malloc_in_from(5, 20, stack);
    mtrace_scope_restore(before);
}

static void test_scopes_come_first(void **state) {
    static const char *const wanted = "0 1 1 /lib/b.so+0x200>/lib/a.so+0x100/2 | "
                                      "4 20 2 level.c:3>/lib/b.so+0x200>/lib/a.so+0x100/3 | "
                                      "5 40 2 level.c:3>/lib/b.so+0x200>/lib/a.so+0x100/3";
    mtrace_stack stack = stack_of(deep, 2);
    void *blocks[5];
    size_t i;
    (void)state;
    start_with(&fake, 0, 3);
    blocks[4] = mtrace_malloc_from(1, &stack);
    in_scopes(&stack, blocks);
    in_scopes(&stack, blocks + 2);
    expect(wanted);
    for (i = 0; i < 5; i++) {
        MT_FREE(blocks[i]);
    }
    stop_empty();
}

/* Scopes and domains have small numbers, and code addresses differ by small ones. Each pair is an
   account of its own all the same. */
static mtrace_site near_levels[NEAR];

static void allocate_near(uint32_t scope, void *blocks[NEAR]) {
    mtrace_scope before = mtrace_scope_push_at(&near_levels[scope]);
    uintptr_t address;
    mtrace_stack stack = stack_of(&address, 1);
    for (address = MODULE + 1; address <= MODULE + NEAR; address++) {
        blocks[address - MODULE - 1] = mtrace_malloc_in_from((uint32_t)address % 3, 1, &stack);
    }
    mtrace_scope_restore(before);
}

static void expect_near(uint32_t scope, uint32_t i, void *block) {
    mtrace_frame frames[2];
    mtrace_block found;
    assert_int_equal(mtrace_find_tracked(&found, 0, (uintptr_t)block, frames, 2), MTRACE_OK);
    assert_int_equal(found.traceback.count, 2);
    assert_int_equal(frames[0].line, scope + 1);
    assert_int_equal(frames[1].address, i);
    assert_int_equal(found.domain, (MODULE + 1 + i) % 3);
    MT_FREE(block);
}

static void test_scopes_and_addresses_differ_by_little(void **state) {
    static void *blocks[NEAR][NEAR];
    uint32_t i, k;
    (void)state;
    start_with(&fake, 0, 2);
    for (i = 0; i < NEAR; i++) {
        near_levels[i] = test_site("level.c", i + 1);
        allocate_near(i, blocks[i]);
    }
    for (i = 0; i < NEAR; i++) {
        for (k = 0; k < NEAR; k++) {
            expect_near(i, k, blocks[i][k]);
        }
    }
    stop_empty();
}

/* A clear begins anew with all that was remembered. */
static void test_clear(void **state) {
    mtrace_stack stack = STACK(deep);
    void *a, *b;
    (void)state;
    start_with(&fake, 0, 2);
    a = mtrace_malloc_from(1, &stack);
    mtrace_clear();
    b = mtrace_malloc_from(2, &stack);
    assert_int_equal(mtrace_get_traced_memory().current, 2);
    MT_FREE(b);
    MT_FREE(a);
    mtrace_stop();
    start_with(&fake, 0, 2);
    a = mtrace_malloc_from(4, &stack);
    expect("0 4 1 /lib/b.so+0x200>/lib/a.so+0x100/2");
    MT_FREE(a);
    stop_empty();
}

/* Full tables: the rows are too coarse, the sums are right. */
static void test_full_tables(void **state) {
    static uintptr_t addresses[3];
    static void *blocks[200];
    mtrace_stack stack = STACK(addresses);
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_info info;
    size_t i;
    (void)state;
    desc.max_blocks = 1024;
    desc.max_sites = 20;
    desc.max_scopes = 30;
    desc.name_bytes = 16; /* no room for both paths */
    desc.frames = 3;
    desc.unwinder = &fake;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    for (i = 0; i < 200; i++) {
        addresses[0] = MODULE + 1 + i;
        addresses[1] = OTHER_MODULE + 1 + i;
        addresses[2] = MODULE + 1 + i / 2;
        blocks[i] = mtrace_malloc_from(10, &stack);
    }
    info = mtrace_get_info();
    assert_int_equal(mtrace_get_traced_memory().current, 2000);
    assert_true(info.lost_sites > 0 && info.lost_scopes > 0);
    mtrace_snapshot_free(test_take(true));
    for (i = 0; i < 200; i++) {
        MT_FREE(blocks[i]);
    }
    stop_empty();
}

/* --- modules --- */

/* The location of a module that was unloaded stays with it. Another one has its place now. */
static void test_another_module_at_the_place(void **state) {
    static const uintptr_t before[] = {MODULE + 0x101}, after[] = {MODULE + 0x102};
    mtrace_stack stack = STACK(before), second = STACK(after);
    mtrace_snapshot *s;
    mtrace_snapshot_parts parts;
    void *a, *b;
    (void)state;
    start_with(&fake, 0, 1);
    a = mtrace_malloc_from(1, &stack);
    module_path = "/lib/c.so";
    module_id = 2;
    b = mtrace_malloc_from(2, &second);
    s = take();
    test_expect_traces(s, "0 1 1 /lib/a.so+0x100/1 | 0 2 1 /lib/c.so+0x101/1");
    parts = mtrace_snapshot_get_parts(s);
    assert_int_equal(parts.module_count, 2);
    assert_int_equal(parts.modules[0].build_id[0], 1);
    assert_int_equal(parts.modules[1].build_id[0], 2);
    assert_int_equal(parts.modules[1].load_address, MODULE);
    assert_int_equal(parts.modules[1].size, MODULE_SIZE);
    assert_ptr_equal(parts.rows[1].module, &parts.modules[1]);
    MT_FREE(a);
    MT_FREE(b);
    mtrace_stop();
    test_expect_statistics(s, MTRACE_BY_FILE, "/lib/c.so 2 1 | /lib/a.so 1 1");
    mtrace_snapshot_free(s);
    module_path = "/lib/a.so";
    module_id = 1;
}

/* The frames that a lookup fills in. */
static void test_lookup(void **state) {
    mtrace_stack stack = STACK(deep);
    mtrace_frame frames[2];
    mtrace_traceback traceback;
    mtrace_block found = MTRACE_ZERO_;
    void *block;
    (void)state;
    start_with(&fake, 0, 2);
    block = mtrace_malloc_from(1, &stack);
    assert_int_equal(mtrace_find(&found, block), MTRACE_OK);
    assert_string_equal(found.file, "/lib/a.so");
    assert_null(found.function);
    assert_int_equal(test_find_traceback(&traceback, 0, (uintptr_t)block, frames, 2), MTRACE_OK);
    assert_int_equal(traceback.count, 2);
    assert_string_equal(frames[0].module->path, "/lib/b.so");
    assert_int_equal(frames[0].address, 0x200);
    assert_string_equal(frames[1].file, "/lib/a.so");
    assert_int_equal(frames[1].address, 0x100);
    MT_FREE(block);
    stop_empty();
}

/* --- the functions that name their caller --- */

static NOINLINE void *call_malloc(void) {
    void *block = mtrace_malloc(10);
    AFTER_CALL();
    return block;
}

static NOINLINE void *call_all(size_t kind, void *block) {
    switch (kind) {
    case 0:
        block = mtrace_malloc(10);
        break;
    case 1:
        block = mtrace_calloc(2, 5);
        break;
    case 2:
        block = mtrace_realloc(block, 10);
        break;
    case 3:
        block = mtrace_hook_malloc(&kind, 10);
        break;
    case 4:
        block = mtrace_hook_calloc(&kind, 2, 5);
        break;
    default:
        block = mtrace_hook_realloc(&kind, block, 10);
    }
    AFTER_CALL();
    return block;
}

#ifdef __GNUC__
/* Each call has an address of its own. The second time it is the same. */
static void test_caller_is_the_site(void **state) {
    void *blocks[16];
    mtrace_snapshot *s;
    mtrace_snapshot_parts parts;
    size_t i, j;
    (void)state;
    start_with(NULL, 0, 0);
    for (i = 0; i < 6; i++) {
        blocks[i] = call_all(i, i == 5 ? call_malloc() : NULL);
        blocks[i + 6] = call_all(i, NULL);
    }
    assert_int_equal(mtrace_get_info().sites, 7);
    s = take();
    parts = mtrace_snapshot_get_parts(s);
    for (i = j = 0; i < parts.row_count; i++) {
        uintptr_t function = (uintptr_t)call_all, other_one = (uintptr_t)call_malloc;
        uint64_t address = parts.rows[i].address;
        assert_string_equal(parts.rows[i].file, "<unknown>");
        assert_true(address - function < 1024 || address - other_one < 1024);
        j += parts.rows[i].count == 2 && parts.rows[i].size == 20;
    }
    assert_int_equal(j, 6);
    mtrace_snapshot_free(s);
    for (i = 0; i < 12; i++) {
        (i % 2 != 0) ? mtrace_free(blocks[i]) : mtrace_hook_free(NULL, blocks[i]);
    }
    stop_empty();
}
#endif

/* With native_frames they have the stack that the unwinder reads. */
static void test_native_frames(void **state) {
    void *blocks[6];
    size_t i;
    (void)state;
    memcpy(callers, deep, sizeof deep);
    caller_count = 3;
    start_with(&fake, 3, 0);
    assert_int_equal(mtrace_get_info().frames, 3);
    for (i = 0; i < 6; i++) {
        blocks[i] = call_all(i, NULL);
    }
    expect("0 60 6 /lib/a.so+0x300>/lib/b.so+0x200>/lib/a.so+0x100/3");
    caller_count = 2;
    for (i = 0; i < 6; i++) {
        blocks[i] = mtrace_realloc(blocks[i], 20);
    }
    expect("0 0 0 /lib/a.so+0x300>/lib/b.so+0x200>/lib/a.so+0x100/3 | "
           "0 120 6 /lib/b.so+0x200>/lib/a.so+0x100/2");
    for (i = 0; i < 6; i++) {
        mtrace_free(blocks[i]);
    }
    assert_true(walks >= 2);
    stop_empty();
}

static void test_take_fills(void **state) {
    uintptr_t room[4] = {0, 0, 0, 0};
    (void)state;
    memcpy(callers, deep, sizeof deep);
    caller_count = 3;
    start_with(&fake, 0, 0);
    assert_int_equal(mtrace_stack_take(room, 2, &room), 2);
    assert_int_equal(room[1], deep[1]);
    assert_int_equal(room[2], 0);
    assert_int_equal(mtrace_stack_take(room, 4, &room), 3);
    assert_int_equal(mtrace_stack_take(room, 0, &room), 0);
    mtrace_stop();
    start_with(NULL, 0, 0);
    assert_int_equal(mtrace_stack_take(room, 4, &room), 0);
    stop_empty();
}

/* An unwinder that remembers one stack. */
static uint64_t kept_word, kept_scope;
static uint32_t known_asked, kept, forgotten;

static uint64_t known(const void *frame, uint64_t scope, uint32_t room) {
    assert_non_null(frame);
    assert_int_equal(room, 3);
    known_asked++;
    return scope == kept_scope ? kept_word : 0;
}

static void keep(const void *frame, uint64_t scope, uint32_t room, uint64_t word) {
    assert_non_null(frame);
    assert_int_equal(room, 3);
    kept_word = word;
    kept_scope = scope;
    kept++;
}

static void forget(void) {
    kept_word = 0;
    forgotten++;
}

/* A stack that it knows is not read. In another scope, after a clear and when it has forgotten, it
   does not know it. */
static void test_remembered_stacks(void **state) {
    static const mtrace_unwinder remembers = {walk, find_module, NULL, known, keep, forget};
    mtrace_site level = test_site("level.c", 3);
    mtrace_scope before;
    void *blocks[6];
    size_t i;
    (void)state;
    memcpy(callers, deep, sizeof deep);
    caller_count = 3;
    kept_word = known_asked = kept = forgotten = 0;
    start_with(&remembers, 3, 4);
    blocks[0] = mtrace_malloc(1);
    blocks[1] = mtrace_malloc(2);
    blocks[2] = mtrace_realloc(mtrace_malloc(4), 8);
    assert_int_equal(walks, 1);
    assert_int_equal(kept, 1);
    assert_true(known_asked >= 4);
    before = mtrace_scope_push_at(&level);
    blocks[3] = mtrace_malloc(16);
    assert_int_equal(walks, 2);
    mtrace_scope_restore(before);
    mtrace_forget_code();
    assert_int_equal(forgotten, 1);
    blocks[4] = mtrace_malloc(32);
    assert_int_equal(walks, 3);
    expect("0 43 4 /lib/a.so+0x300>/lib/b.so+0x200>/lib/a.so+0x100/3 | "
           "0 16 1 level.c:3>/lib/a.so+0x300>/lib/b.so+0x200>/lib/a.so+0x100/4");
    mtrace_clear();
    blocks[5] = mtrace_malloc(64);
    assert_int_equal(mtrace_get_traced_memory().current, 64);
    mtrace_free(blocks[5]);
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    for (i = 0; i < 5; i++) {
        mtrace_free(blocks[i]);
    }
    test_sound();
    mtrace_stop();
    mtrace_forget_code(); /* stopped: nothing to forget */
    assert_int_equal(forgotten, 1);
}

/* native_frames is never ignored. */
static void test_needs_an_unwinder(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.native_frames = 1;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.native_frames = 65;
    desc.unwinder = &fake;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ARGUMENT);
    desc.native_frames = 64;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    mtrace_stop();
}

/* A failed allocation and an observer's event have the address, as a line. */
static mtrace_site seen_site;
static char seen_file[8];

static void see(const mtrace_site *site) {
    seen_site = *site;
    snprintf(seen_file, sizeof seen_file, "%s", site->file);
}

static void on_failure(const mtrace_failure *failure, void *user) {
    (void)user;
    see(failure->site);
}

static void on_event(const mtrace_event *event, void *user) {
    (void)user;
    see(event->site);
}

static void test_callbacks(void **state) {
    static const mtrace_observer none = MTRACE_ZERO_;
    mtrace_stack stack = STACK(deep);
    mtrace_observer observer = MTRACE_ZERO_;
    mtrace_desc desc = MTRACE_ZERO_;
    void *block;
    (void)state;
    desc.on_failure = on_failure;
    desc.unwinder = &fake;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    test_fail_next = 1;
    assert_null(mtrace_malloc_from(10, &stack));
    assert_string_equal(seen_file, "pc");
    assert_int_equal(seen_site.line, deep[0]);
    expect("0 0 0 /lib/a.so+0x100/1");
    observer.call = on_event;
    mtrace_set_observer(observer);
    stack.addresses++;
    stack.count--;
    block = mtrace_malloc_from(10, &stack);
    assert_int_equal(seen_site.line, deep[1]);
    mtrace_free_from(block, &stack);
    mtrace_set_observer(none);
    stop_empty();
}

static void test_sampling(void **state) {
    mtrace_stack stack = STACK(deep);
    mtrace_desc desc = MTRACE_ZERO_;
    void *blocks[100];
    size_t i;
    uint64_t bytes;
    (void)state;
    if (!test_can_sample()) {
        skip();
    }
    memcpy(callers, deep, sizeof deep);
    caller_count = 3;
    desc.sample_interval = 4096;
    desc.native_frames = 3;
    desc.unwinder = &fake;
    walks = 0;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    for (i = 0; i < 100; i++) {
        blocks[i] = i % 2 != 0 ? mtrace_malloc_from(400, &stack) : mtrace_malloc(400);
    }
    assert_true(walks < 40); /* not for each block */
    bytes = mtrace_get_traced_memory().current;
    assert_true(bytes > 10000 && bytes < 160000);
    for (i = 0; i < 100; i++) {
        mtrace_free(blocks[i]);
    }
    assert_int_equal(mtrace_get_traced_memory().current, 0);
    mtrace_stop();
}

/* --- the unwinder of mtrace_ext.h --- */

static void test_kinds(void **state) {
    const mtrace_unwinder *best = mtrace_get_unwinder(MTRACE_UNWIND_BEST);
    const mtrace_unwinder *tables = mtrace_get_unwinder(MTRACE_UNWIND_TABLES);
    const mtrace_unwinder *compiler = mtrace_get_unwinder(MTRACE_UNWIND_COMPILER);
    const mtrace_unwinder *caller = mtrace_get_unwinder(MTRACE_UNWIND_CALLER);
    volatile int none = 5;
    (void)state;
    assert_non_null(best);
    assert_non_null(caller);
    assert_ptr_equal(best, tables != NULL ? tables : compiler != NULL ? compiler : caller);
    assert_ptr_equal(best, mtrace_get_unwinder(MTRACE_UNWIND_BEST));
    assert_true(compiler == NULL || test_unwinds());
    assert_null(mtrace_get_unwinder((mtrace_unwind_kind)none));
}

/* A function's return addresses, noted by itself: what its stack must be. */
enum { NOTED = 128 };
static uintptr_t noted[NOTED];
static NOINLINE void *noting(uint32_t depth) {
    void *block;
    noted[depth] = (uintptr_t)__builtin_return_address(0);
    block = depth == 0 ? mtrace_malloc(10) : noting(depth - 1);
    AFTER_CALL();
    return block;
}

/* A frame whose size is known at run time only. */
static NOINLINE void *noting_array(uint32_t size) {
    volatile char *array = (volatile char *)__builtin_alloca(size);
    void *block;
    array[0] = 1;
    noted[1] = (uintptr_t)__builtin_return_address(0);
    block = noting(0);
    AFTER_CALL();
    return block;
}

/* A frame that the compiler aligns. */
static NOINLINE void *noting_aligned(uint32_t size) {
    __attribute__((aligned(64))) char array[64];
    void *block;
    noted[2] = (uintptr_t)__builtin_return_address(0);
    block = noting_array(size);
    __asm__ __volatile__("" : : "r"(array)); /* as AFTER_CALL; and the array is used */
    return block;
}

static uintptr_t in_memory(const mtrace_frame *frame) {
    return (uintptr_t)frame->address +
           (frame->module == NULL ? 0 : (uintptr_t)frame->module->load_address);
}

/* The block's traceback is the call in the innermost function, then these functions' callers. */
static void expect_noted(const void *block, uint32_t count, uint32_t room) {
    mtrace_frame frames[NOTED];
    mtrace_traceback traceback;
    uint32_t i;
    assert_int_equal(test_find_traceback(&traceback, 0, (uintptr_t)block, frames, NOTED),
                     MTRACE_OK);
    assert_true(traceback.count <= room);
    assert_true(traceback.count > count || traceback.count == room);
    for (i = 0; i < count && i + 1 < room; i++) {
        assert_int_equal(in_memory(&frames[traceback.count - 2 - i]), noted[i] - 1);
    }
}

static const mtrace_unwind_kind kinds[] = {MTRACE_UNWIND_TABLES, MTRACE_UNWIND_COMPILER};

/* Where C has unwind tables without being asked for, and the program can find them. Debian's musl
   cannot. */
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__) || defined(__s390x__)
#define HAS_TABLES 1
#else
#define HAS_TABLES 0
#endif
static bool reads_stacks(void) {
    return HAS_TABLES && mtrace_get_unwinder(MTRACE_UNWIND_COMPILER) != NULL;
}

static void expect_native(const mtrace_unwinder *unwinder) {
    uint32_t room;
    for (room = 1; room <= 64; room = room * 2 + 1) {
        void *blocks[8];
        size_t i;
        start_with(unwinder, room, 0);
        for (i = 0; i < 4; i++) {
            blocks[i] = noting((uint32_t)i);
            expect_noted(blocks[i], (uint32_t)i + 1, room);
            blocks[4 + i] = noting_aligned(16 + (uint32_t)i * 200);
            expect_noted(blocks[4 + i], 3, room);
        }
        for (i = 0; i < 8; i++) {
            mtrace_free(blocks[i]);
        }
        stop_empty();
    }
}

static void test_native_stacks(void **state) {
    size_t i;
    (void)state;
    if (!reads_stacks()) {
        skip();
    }
    for (i = 0; i < 2; i++) {
        const mtrace_unwinder *unwinder = mtrace_get_unwinder(kinds[i]);
        if (unwinder != NULL) {
            expect_native(unwinder);
        }
    }
}

/* One call at many depths, and one depth with many sizes of frames. What an earlier stack left in
   memory must not count. */
static void test_native_recursion(void **state) {
    const mtrace_unwinder *unwinder = mtrace_get_unwinder(MTRACE_UNWIND_BEST);
    uint32_t i, round;
    (void)state;
    if (!reads_stacks()) {
        skip();
    }
    start_with(unwinder, 24, 0);
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 100; i++) {
            void *block = noting(i);
            expect_noted(block, i + 1, 24);
            mtrace_free(block);
            block = noting_array(16 * (100 - i));
            expect_noted(block, 2, 24);
            mtrace_free(block);
        }
    }
    stop_empty();
}

/* The module is this program: the file that it was started from. */
static void test_native_module(void **state) {
    mtrace_snapshot *s;
    mtrace_snapshot_parts parts;
    void *block;
    FILE *file;
    (void)state;
    if (!reads_stacks()) {
        skip();
    }
    start_with(mtrace_get_unwinder(MTRACE_UNWIND_BEST), 0, 0);
    block = call_malloc();
    s = take();
    parts = mtrace_snapshot_get_parts(s);
    assert_int_equal(parts.module_count, 1);
    file = fopen(parts.modules[0].path, "rb");
    assert_non_null(file);
    fclose(file);
    assert_true(parts.modules[0].size > parts.rows[0].address % 4096);
    assert_in_range(parts.rows[0].address + parts.modules[0].load_address - (uintptr_t)call_malloc,
                    0, 255);
    mtrace_snapshot_free(s);
    mtrace_free(block);
    stop_empty();
}

static void *work(void *argument) {
    uint32_t i;
    uintptr_t *own = (uintptr_t *)argument;
    for (i = 0; i < 2000; i++) {
        void *block = call_all(i % 6, NULL);
        own[0] += block != NULL;
        mtrace_free(block);
    }
    return NULL;
}

static void test_native_threads(void **state) {
    uintptr_t done[8] = {0};
    mtrace_snapshot *s;
    mtrace_snapshot_parts parts;
    uint64_t total = 0;
    size_t i;
    (void)state;
    if (!TEST_ATOMICS || !reads_stacks()) {
        skip();
    }
    start_with(mtrace_get_unwinder(MTRACE_UNWIND_BEST), 16, 0);
    test_in_threads(1, work, done, sizeof done[0]); /* two threads may add one module twice */
    test_in_threads(8, work, done, sizeof done[0]);
    s = take();
    parts = mtrace_snapshot_get_parts(s);
    assert_int_equal(parts.row_count, 6); /* one stack a call, in all threads */
    for (i = 0; i < parts.row_count; i++) {
        total += parts.rows[i].total_count;
        assert_true(parts.rows[i].traceback.count >= 3);
    }
    assert_int_equal(total, 18000);
    mtrace_snapshot_free(s);
    stop_empty();
}

/* A handler's stack goes on with the code that it interrupted. */
static uintptr_t handler_returns;

static void handler(int number) {
    uintptr_t addresses[64];
    mtrace_stack stack;
    stack.addresses = addresses;
    handler_returns = (uintptr_t)__builtin_return_address(0);
    stack.count = mtrace_stack_take(addresses, 64, __builtin_frame_address(0));
    (void)mtrace_track_from(1, (uintptr_t)number, 10, &stack);
}

static NOINLINE void interrupted(void) {
    noted[0] = (uintptr_t)__builtin_return_address(0);
    raise(SIGTERM);
    AFTER_CALL();
}

static void test_native_handler(void **state) {
    mtrace_frame frames[64];
    mtrace_traceback traceback;
    bool seen_return = false, seen_caller = false;
    uint32_t i;
    (void)state;
    if (!TEST_ATOMICS || !reads_stacks()) {
        skip();
    }
    assert_true(signal(SIGTERM, handler) != SIG_ERR);
    start_with(mtrace_get_unwinder(MTRACE_UNWIND_BEST), 64, 0);
    interrupted();
    assert_int_equal(test_find_traceback(&traceback, 1, SIGTERM, frames, 64), MTRACE_OK);
    for (i = 0; i < traceback.count; i++) {
        seen_return = seen_return || in_memory(&frames[i]) == handler_returns - 1;
        seen_caller = seen_caller || in_memory(&frames[i]) == noted[0] - 1;
    }
    assert_true(seen_return && seen_caller);
    assert_int_equal(mtrace_untrack_at(1, SIGTERM, NULL), MTRACE_OK);
    signal(SIGTERM, SIG_DFL);
    stop_empty();
}

/* A longjmp leaves frames, and nothing remembers them. */
static jmp_buf back;

static NOINLINE void jump(uint32_t depth) {
    void *block = noting(depth);
    expect_noted(block, depth + 1, 16);
    mtrace_free(block);
    longjmp(back, 1);
}

static void test_native_longjmp(void **state) {
    volatile uint32_t depth = 0;
    (void)state;
    if (!reads_stacks()) {
        skip();
    }
    start_with(mtrace_get_unwinder(MTRACE_UNWIND_BEST), 16, 0);
    if (setjmp(back) != 0) {
        depth = depth + 1;
    }
    if (depth < 20) {
        jump(depth);
    }
    stop_empty();
}

/* --- frame pointers --- */

#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__linux__) && defined(__GNUC__) &&    \
    !defined(__ILP32__) && !defined(__dietlibc__)
#define HAS_FRAME_POINTERS 1
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <ucontext.h>
#endif

/* Has a frame pointer with all flags, as it asks for it. Takes the stack that begins at its
   innermost call, and notes what it must be. */
static NOINLINE uint32_t framed(uint32_t depth, uintptr_t *returns, uintptr_t *found) {
    const void *frame = __builtin_frame_address(0);
    uint32_t count;
    returns[depth] = (uintptr_t)__builtin_return_address(0);
    count = depth == 0 ? mtrace_stack_take(found, NOTED, frame) : framed(depth - 1, returns, found);
    __asm__ __volatile__("" : : "r"(frame));
    return count;
}

static bool framed_is_right(uint32_t depth) {
    uintptr_t returns[NOTED] = {0}, found[NOTED] = {0};
    uint32_t count = framed(depth, returns, found);
    return count > depth && count <= NOTED &&
           memcmp(found, returns, (depth + 1) * sizeof *found) == 0;
}

static void start_framed(uint32_t native_frames) {
    start_with(mtrace_get_unwinder(MTRACE_UNWIND_FRAME_POINTERS), native_frames, 0);
}

static NOINLINE void *framed_malloc(uint32_t depth) {
    const void *frame = __builtin_frame_address(0);
    void *block;
    noted[depth] = (uintptr_t)__builtin_return_address(0);
    block = depth == 0 ? mtrace_malloc(10) : framed_malloc(depth - 1);
    __asm__ __volatile__("" : : "r"(frame));
    return block;
}

/* As a call site, at many depths: some are on one page, others on many. */
static void test_frame_pointers(void **state) {
    uint32_t i;
    (void)state;
    start_framed(24);
    for (i = 0; i < 120; i++) {
        void *block = framed_malloc(i);
        expect_noted(block, i + 1, 24);
        mtrace_free(block);
        assert_true(framed_is_right(i));
    }
    stop_empty();
}

static void *framed_work(void *argument) {
    uintptr_t *right = (uintptr_t *)argument;
    uint32_t i;
    for (i = 0; i < 120; i++) {
        *right += framed_is_right(i);
    }
    return NULL;
}

static void test_frame_pointers_of_threads(void **state) {
    uintptr_t right[4] = {0};
    size_t i;
    (void)state;
    if (!TEST_ATOMICS) {
        skip();
    }
    start_framed(16);
    test_in_threads(4, framed_work, right, sizeof right[0]);
    for (i = 0; i < 4; i++) {
        assert_int_equal(right[i], 120);
    }
    stop_empty();
}

/* A frame whose first word is `next`: the stack is its return address alone. */
static void expect_end(uintptr_t *frame, uintptr_t next) {
    uintptr_t found[8] = {0};
    frame[0] = next;
    frame[1] = 0x1234;
    errno = 77;
    assert_int_equal(mtrace_stack_take(found, 8, frame), 1);
    assert_int_equal(found[0], 0x1234);
    assert_int_equal(errno, 77);
}

/* Four pages: two, one that cannot be read, and one that is not there. */
static char *pages;
static const size_t page_size = 65536; /* on all of these machines a multiple of the page */

static void pages_map(void) {
    int zero = open("/dev/zero", O_RDWR);
    pages = (char *)mmap(NULL, 4 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    close(zero);
    assert_true(pages != (char *)MAP_FAILED);
    assert_int_equal(mprotect(pages + 2 * page_size, page_size, PROT_NONE), 0);
    assert_int_equal(munmap(pages + 3 * page_size, page_size), 0);
}

/* Code without frame pointers leaves anything in the register. Nothing of it is read that cannot
   be, and nothing is followed twice. */
static void test_no_frame_pointers(void **state) {
    uintptr_t *frame, at, bit;
    (void)state;
    start_framed(16);
    pages_map();
    frame = (uintptr_t *)(void *)(pages + page_size);
    at = (uintptr_t)frame;
    memset(pages, 0x55, 2 * page_size);
    for (bit = 1; bit != 0; bit <<= 1) {
        expect_end(frame, bit);
        expect_end(frame, ~bit);
        expect_end(frame, (uintptr_t)0 - bit);
    }
    expect_end(frame, 0);
    expect_end(frame, at);                 /* itself */
    expect_end(frame, at - 16);            /* inwards */
    expect_end(frame, at + 24);            /* not aligned */
    expect_end(frame, at + page_size);     /* cannot be read */
    expect_end(frame, at + 2 * page_size); /* not there */
    munmap(pages, 3 * page_size);
    stop_empty();
}

/* From page to page, and to a frame that has no return address. Then one that is too far away. */
static void test_frames_in_memory(void **state) {
    uintptr_t found[8] = {0}, *frames;
    (void)state;
    start_framed(16);
    frames = (uintptr_t *)calloc(2, 1 << 20);
    assert_non_null(frames);
    frames += (uintptr_t)frames % 16 / sizeof *frames;
    frames[0] = (uintptr_t)&frames[1000];
    frames[1] = 1;
    frames[1000] = (uintptr_t)&frames[2000];
    frames[1001] = 2;
    frames[2000] = (uintptr_t)&frames[2002];
    frames[2001] = 3;
    assert_int_equal(mtrace_stack_take(found, 8, frames), 3);
    assert_int_equal(found[0], 1);
    assert_int_equal(found[1], 2);
    assert_int_equal(found[2], 3);
    assert_int_equal(mtrace_stack_take(found, 2, frames), 2);
    frames[131074] = 4;
    frames[131075] = 4;
    frames[131072] = 4;
    frames[131073] = 4;
    frames[0] = (uintptr_t)&frames[131072];
    assert_int_equal(mtrace_stack_take(found, 8, frames), 2);
    frames[0] = (uintptr_t)&frames[131074];
    assert_int_equal(mtrace_stack_take(found, 8, frames), 1);
    free(frames);
    stop_empty();
}

/* A handler's frame leads to the frame of the code that it interrupted. */
static uintptr_t in_handler[NOTED], handler_returns_to[NOTED];
static uint32_t in_handler_count;
static sigjmp_buf after_fault;

static void fault_handler(int number) {
    (void)number;
    in_handler_count = framed(2, handler_returns_to, in_handler);
    siglongjmp(after_fault, 1);
}

static NOINLINE void fault(void) {
    const void *frame = __builtin_frame_address(0);
    noted[0] = (uintptr_t)__builtin_return_address(0);
    *(volatile char *)(pages + 2 * page_size) = 1;
    __asm__ __volatile__("" : : "r"(frame));
}

static bool is_in_handler(uintptr_t address) {
    uint32_t i = 0;
    while (i < in_handler_count && in_handler[i] != address) {
        i++;
    }
    return i < in_handler_count;
}

static void test_frame_pointers_of_a_handler(void **state) {
    struct sigaction action, old;
    (void)state;
    if (TEST_TSAN) {
        skip(); /* it calls the handler from a function of its own */
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = fault_handler;
    start_framed(16);
    pages_map();
    assert_int_equal(sigaction(SIGSEGV, &action, &old), 0);
    if (sigsetjmp(after_fault, 1) == 0) {
        fault();
    }
    assert_int_equal(sigaction(SIGSEGV, &old, NULL), 0);
    assert_true(in_handler_count >= 3);
    assert_memory_equal(in_handler, handler_returns_to, 3 * sizeof *in_handler);
    assert_true(is_in_handler(noted[0]));
    munmap(pages, 3 * page_size);
    stop_empty();
}

#ifdef __GLIBC__
/* Coroutines have stacks of their own, which begin with what makecontext left there. */
static ucontext_t main_context, coroutine_context;
static uintptr_t coroutine_right;

static void coroutine(void) {
    framed_work(&coroutine_right);
}

static void *run_coroutine(void *own) {
    enum { STACK_SIZE = 1 << 18 };
    char *stack = (char *)malloc(STACK_SIZE);
    (void)own;
    assert_non_null(stack);
    assert_int_equal(getcontext(&coroutine_context), 0);
    coroutine_context.uc_stack.ss_sp = stack;
    coroutine_context.uc_stack.ss_size = STACK_SIZE;
    coroutine_context.uc_link = &main_context;
    makecontext(&coroutine_context, coroutine, 0);
    assert_int_equal(swapcontext(&main_context, &coroutine_context), 0);
    free(stack);
    return NULL;
}

static void test_frame_pointers_of_a_coroutine(void **state) {
    (void)state;
    if (TEST_TSAN) {
        skip(); /* it does not know of makecontext's stacks */
    }
    start_framed(16);
    coroutine_right = 0;
    run_coroutine(NULL);
    assert_int_equal(coroutine_right, 120);
    if (TEST_ATOMICS) {
        test_in_threads(1, run_coroutine, &coroutine_right, 0);
        assert_int_equal(coroutine_right, 240);
    }
    stop_empty();
}
#endif
#else
#define HAS_FRAME_POINTERS 0
#endif

static void test_frame_pointers_kind(void **state) {
    const mtrace_unwinder *unwinder = mtrace_get_unwinder(MTRACE_UNWIND_FRAME_POINTERS);
    (void)state;
    assert_true((unwinder != NULL) == HAS_FRAME_POINTERS);
    assert_true(unwinder == NULL || unwinder != mtrace_get_unwinder(MTRACE_UNWIND_BEST));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traceback_is_the_stack),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_checks_ask_for_names_late),
        cmocka_unit_test(test_each_form),
        cmocka_unit_test(test_aligned_form),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_unknown_stacks),
        cmocka_unit_test(test_addresses_without_modules),
        cmocka_unit_test(test_frames_limit),
        cmocka_unit_test(test_scopes_come_first),
        cmocka_unit_test(test_scopes_and_addresses_differ_by_little),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_full_tables),
        cmocka_unit_test(test_another_module_at_the_place),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_caller_is_the_site),
        cmocka_unit_test(test_native_frames),
        cmocka_unit_test(test_take_fills),
        cmocka_unit_test(test_remembered_stacks),
        cmocka_unit_test(test_needs_an_unwinder),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_native_stacks),
        cmocka_unit_test(test_native_recursion),
        cmocka_unit_test(test_native_module),
        cmocka_unit_test(test_native_threads),
        cmocka_unit_test(test_native_handler),
        cmocka_unit_test(test_native_longjmp),
        cmocka_unit_test(test_frame_pointers_kind),
#if HAS_FRAME_POINTERS
        cmocka_unit_test(test_frame_pointers),
        cmocka_unit_test(test_frame_pointers_of_threads),
        cmocka_unit_test(test_no_frame_pointers),
        cmocka_unit_test(test_frames_in_memory),
        cmocka_unit_test(test_frame_pointers_of_a_handler),
#ifdef __GLIBC__
        cmocka_unit_test(test_frame_pointers_of_a_coroutine),
#endif
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Wrong frees told apart: of a pointer into a block, of a block freed already, of a pointer that is
   another allocator's. The allocator here ignores a wrong free, and hands out the lowest free room,
   so that an address comes back at once. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define MTRACE_BASE_MALLOC(size)         heap_malloc(size)
#define MTRACE_BASE_REALLOC(block, size) heap_realloc(block, size)
#define MTRACE_BASE_FREE(block)          heap_free(block)

static void *heap_malloc(size_t size);
static void *heap_realloc(void *block, size_t size);
static void heap_free(void *block);

#include "support/test.h"
#include "support/tools.h"

#include "support/threads.h"

/* --- the allocator --- */

enum { ROOMS = 4096, ROOM = 64 };
static struct { uint64_t bytes[ROOM / 8]; } rooms[ROOMS];
static bool is_used[ROOMS];
static pthread_mutex_t heap_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t next_room; /* no room below is free. Without reuse it only grows */
static bool reuses = true, moves, refuses;
static int freed, ignored;           /* blocks that were freed, frees of what is no block */
static void (*while_resizing)(void); /* the old block is free then */

static void *heap_malloc(size_t size) {
    void *room = NULL;
    pthread_mutex_lock(&heap_lock);
    while (next_room < ROOMS && is_used[next_room]) {
        next_room++;
    }
    if (size <= ROOM && next_room < ROOMS) {
        is_used[next_room] = true;
        room = &rooms[next_room++];
    }
    pthread_mutex_unlock(&heap_lock);
    return room;
}

static void heap_free(void *block) {
    size_t offset = (size_t)((char *)block - (char *)rooms), at = offset / ROOM;
    pthread_mutex_lock(&heap_lock);
    if (at < ROOMS && offset % ROOM == 0 && is_used[at]) {
        is_used[at] = false;
        next_room = reuses && at < next_room ? at : next_room;
        freed++;
    } else {
        ignored += block != NULL;
    }
    pthread_mutex_unlock(&heap_lock);
}

static void *heap_realloc(void *block, size_t size) {
    void *moved = refuses ? NULL : moves ? heap_malloc(size) : block;
    if (moved != block && moved != NULL) {
        heap_free(block);
    }
    if (while_resizing != NULL) {
        while_resizing();
    }
    return moved;
}

/* --- the tracer --- */

static test_output output;

static void start(size_t kept, mtrace_foreign foreign, mtrace_foreign interior,
                  mtrace_foreign twice) {
    mtrace_desc desc = MTRACE_ZERO_;
    memset(is_used, 0, sizeof is_used);
    next_room = 0;
    reuses = true;
    moves = refuses = false;
    while_resizing = NULL;
    freed = ignored = 0;
    output.length = 0;
    output.text[0] = '\0';
    desc.max_blocks = 64;
    desc.max_sites = 32;
    desc.foreign_free = foreign;
    desc.interior_free = interior;
    desc.double_free = twice;
    desc.kept_frees = kept;
    desc.write = test_write;
    desc.write_user = &output;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static void start_reporting(size_t kept) {
    start(kept, MTRACE_FOREIGN_REPORT, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_COUNT);
}

static void *allocate(size_t size, uint32_t line) {
    mtrace_site site = test_site("new.c", line);
    return mtrace_malloc_at(size, &site);
}

static void release(void *block, uint32_t line) {
    mtrace_site site = test_site("old.c", line);
    mtrace_free_at(block, &site);
}

static void expect_counts(uint64_t foreign, uint64_t interior, uint64_t twice) {
    mtrace_info info = mtrace_get_info();
    assert_int_equal(info.foreign_frees, foreign);
    assert_int_equal(info.interior_frees, interior);
    assert_int_equal(info.double_frees, twice);
    test_sound();
}

/* The output since the last look. A 0x?? in the text stands for the pointer. */
static void expect_output(const char *text, const void *pointer, const void *begin) {
    char expected[1024] = "", *end = expected;
    const void *next = pointer;
    for (; *text != '\0'; text++) {
        if (strncmp(text, "0x??", 4) == 0) {
            end += sprintf(end, "0x%llx", (unsigned long long)(uintptr_t)next);
            next = begin;
            text += 3;
        } else {
            *end++ = *text;
            *end = '\0';
        }
    }
    assert_string_equal(output.text, expected);
    output.length = 0;
    output.text[0] = '\0';
}

/* --- the three kinds --- */

static void test_a_foreign_pointer(void **state) {
    (void)state;
    start_reporting(8);
    release(&rooms[5], 1);
    expect_output("old.c:1: warning: free of a pointer that is not traced: 0x??\n", &rooms[5],
                  NULL);
    expect_counts(1, 0, 0);
    assert_int_equal(ignored, 1); /* it went on to the allocator */
}

static void test_an_interior_pointer(void **state) {
    char *block;
    (void)state;
    start_reporting(0);
    block = (char *)allocate(40, 7);
    release(block + 24, 1);
    expect_output(
        "old.c:1: warning: free of a pointer into a block: 0x??, 24 bytes into 40 at 0x??\n"
        "new.c:7: note: allocated here\n",
        block + 24, block);
    release(block + 1, 2);
    expect_output("old.c:2: warning: free of a pointer into a block: 0x??, 1 byte into 40 at 0x??\n"
                  "new.c:7: note: allocated here\n",
                  block + 1, block);
    expect_counts(2, 2, 0);
    release(block + 40, 3); /* one past its end */
    expect_output("old.c:3: warning: free of a pointer that is not traced: 0x??\n", block + 40,
                  NULL);
    expect_counts(3, 2, 0);
    test_traced(block, 40, "new.c", 7); /* it lives on */
    release(block, 4);
    expect_output("", NULL, NULL);
    release(block + 24, 5);
    expect_output("old.c:5: warning: free of a pointer that is not traced: 0x??\n", block + 24,
                  NULL);
    expect_counts(4, 2, 0);
}

static void test_a_double_free(void **state) {
    void *block;
    (void)state;
    start_reporting(8);
    block = allocate(40, 7);
    release(block, 1);
    expect_output("", NULL, NULL);
    release(block, 2);
    expect_output("old.c:2: warning: free of a pointer freed already: 0x??, 40 bytes\n"
                  "old.c:1: note: freed here\n"
                  "new.c:7: note: allocated here\n",
                  block, NULL);
    release(block, 3); /* the second was no free */
    expect_output("old.c:3: warning: free of a pointer freed already: 0x??, 40 bytes\n"
                  "old.c:1: note: freed here\n"
                  "new.c:7: note: allocated here\n",
                  block, NULL);
    expect_counts(2, 0, 2);
    assert_int_equal(allocate(20, 8) == block, true);
    release(block, 4); /* its own again */
    expect_output("", NULL, NULL);
    release(block, 5);
    expect_output("old.c:5: warning: free of a pointer freed already: 0x??, 20 bytes\n"
                  "old.c:4: note: freed here\n"
                  "new.c:8: note: allocated here\n",
                  block, NULL);
    expect_counts(3, 0, 3);
    assert_int_equal(freed, 2);
}

/* Keys are no addresses, even if one seems to lie around the pointer. */
static void test_a_pointer_into_a_tracked_key(void **state) {
    mtrace_site site = test_site("re.c", 9);
    (void)state;
    start_reporting(8);
    assert_int_equal(mtrace_track_at(3, (uintptr_t)rooms, 1000, &site), MTRACE_OK);
    release(&rooms[2], 1);
    expect_output("old.c:1: warning: free of a pointer that is not traced: 0x??\n", &rooms[2],
                  NULL);
    expect_counts(1, 0, 0);
}

/* A thread is given the address while another one's free of it is looked into. */
static void test_the_address_may_be_in_use_again(void **state) {
    void *block;
    (void)state;
    start_reporting(8);
    block = allocate(40, 7);
    mtrace_report_foreign_((uintptr_t)block, NULL, "free");
    expect_output("<unknown>:0: warning: free of a pointer that is not traced: 0x??\n", block,
                  NULL);
    expect_counts(0, 0, 0);
}

/* Without kept frees it is a foreign one. */
static void test_a_double_free_is_not_known(void **state) {
    void *block;
    (void)state;
    start_reporting(0);
    block = allocate(40, 7);
    release(block, 1);
    release(block, 2);
    expect_output("old.c:2: warning: free of a pointer that is not traced: 0x??\n", block, NULL);
    expect_counts(1, 0, 0);
}

static void test_the_same_for_realloc(void **state) {
    mtrace_site site = test_site("re.c", 9);
    char *block, *other;
    (void)state;
    start_reporting(8);
    moves = true;
    block = (char *)allocate(40, 7);
    assert_true((void *)mtrace_realloc_at(block + 8, 10, &site) == &rooms[1]);
    expect_output(
        "re.c:9: warning: realloc of a pointer into a block: 0x??, 8 bytes into 40 at 0x??\n"
        "new.c:7: note: allocated here\n",
        block + 8, block);
    other = (char *)mtrace_realloc_at(block, 50, &site);
    assert_true((void *)other == &rooms[2]);
    assert_true((void *)mtrace_realloc_at(block, 20, &site) ==
                &rooms[0]); /* and that is the address */
    expect_output("re.c:9: warning: realloc of a pointer freed already: 0x??, 40 bytes\n"
                  "re.c:9: note: freed here\n"
                  "new.c:7: note: allocated here\n",
                  block, NULL);
    assert_true((void *)mtrace_realloc_at(&rooms[9], 20, &site) == &rooms[3]);
    expect_output("re.c:9: warning: realloc of a pointer that is not traced: 0x??\n", &rooms[9],
                  NULL);
    expect_counts(3, 1, 1);
    release(other, 1);
    assert_null(mtrace_realloc_at(other, 0, &site)); /* this is a free */
    expect_output("re.c:9: warning: free of a pointer freed already: 0x??, 50 bytes\n"
                  "old.c:1: note: freed here\n"
                  "re.c:9: note: allocated here\n",
                  other, NULL);
    expect_counts(4, 1, 2);
}

/* --- what is done about it --- */

static int wrong_free(int kind) {
    char *block = (char *)allocate(40, 7);
    if (kind == 2) {
        release(block, 1);
    }
    release(kind == 0 ? (char *)&rooms[9] : kind == 1 ? block + 8 : block, 2);
    return 7;
}

static int wrong_kind;

static int wrong_free_in_child(void) {
    return wrong_free(wrong_kind);
}

/* At least what foreign_free says, for each kind. */
static void test_the_stronger_counts(void **state) {
    static const mtrace_foreign all[] = {MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_REPORT,
                                         MTRACE_FOREIGN_ABORT};
    size_t at;
    (void)state;
    TEST_NEEDS_POSIX();
    for (at = 0; at < 27; at++) {
        mtrace_foreign actions[3];
        actions[0] = all[at % 3];
        actions[1] = all[at / 3 % 3];
        actions[2] = all[at / 9];
        for (wrong_kind = 0; wrong_kind < 3; wrong_kind++) {
            mtrace_foreign action =
                actions[wrong_kind] > actions[0] ? actions[wrong_kind] : actions[0];
            start(8, actions[0], actions[1], actions[2]);
            if (action == MTRACE_FOREIGN_ABORT) {
                assert_int_equal(test_in_child(wrong_free_in_child), TEST_SIGNAL + SIGABRT);
            } else {
                assert_int_equal(wrong_free(wrong_kind), 7);
                assert_int_equal(output.length != 0, action == MTRACE_FOREIGN_REPORT);
                expect_counts(1, wrong_kind == 1, wrong_kind == 2);
            }
            mtrace_stop();
        }
    }
}

/* If nobody asks, nothing is looked for. */
static void test_only_on_request(void **state) {
    char *block;
    (void)state;
    start(0, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_COUNT);
    block = (char *)allocate(40, 7);
    release(block + 8, 1);
    expect_counts(1, 0, 0);
    mtrace_stop();
    start(1, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_COUNT);
    block = (char *)allocate(40, 7);
    release(block + 8, 1);
    expect_counts(1, 1, 0);
    mtrace_stop();
    start(0, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_REPORT, MTRACE_FOREIGN_COUNT);
    block = (char *)allocate(40, 7);
    release(&rooms[9], 1);
    assert_int_equal(output.length, 0);
    release(block + 8, 1);
    assert_int_not_equal(output.length, 0);
    expect_counts(2, 1, 0);
}

static void refuse(mtrace_desc desc) {
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_ARGUMENT);
}

static void test_bad_requests(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    desc.double_free = MTRACE_FOREIGN_REPORT; /* it would be ignored */
    refuse(desc);
    desc.kept_frees = ((size_t)1 << 24) + 1;
    refuse(desc);
    desc.kept_frees = 4;
    desc.double_free = (mtrace_foreign)3;
    refuse(desc);
    desc.double_free = MTRACE_FOREIGN_COUNT;
    desc.interior_free = (mtrace_foreign)3;
    refuse(desc);
    desc.interior_free = MTRACE_FOREIGN_COUNT;
    desc.sample_interval = 4096; /* most blocks have no trace then */
    refuse(desc);
    desc.kept_frees = 0;
    desc.interior_free = MTRACE_FOREIGN_REPORT;
    refuse(desc);
}

static void test_the_memory_for_kept_frees(void **state) {
    static uint64_t memory[1 << 14];
    mtrace_desc desc = MTRACE_ZERO_;
    size_t without, with;
    (void)state;
    desc.max_blocks = 16;
    desc.max_sites = 8;
    without = mtrace_memory_size(&desc);
    desc.kept_frees = 100;
    with = mtrace_memory_size(&desc);
    assert_in_range(with - without, 128 * (sizeof(void *) == 8 ? 32 : 20),
                    128 * (sizeof(void *) == 8 ? 32 : 20) + 128);
    assert_true(with <= sizeof memory);
    desc.memory = memory;
    desc.memory_size = with;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    mtrace_stop();
    desc.memory_size = without;
    assert_int_equal(mtrace_start(&desc), MTRACE_ERR_NO_MEMORY);
}

/* --- which frees are kept --- */

static void test_the_last_ones(void **state) {
    void *blocks[9];
    uint32_t i;
    (void)state;
    start(5, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_COUNT); /* 8 */
    reuses = false;
    for (i = 0; i < 9; i++) {
        blocks[i] = allocate(8, i);
    }
    for (i = 0; i < 9; i++) {
        release(blocks[i], i);
    }
    release(blocks[0], 1);
    expect_counts(1, 0, 0);
    for (i = 1; i < 9; i++) {
        release(blocks[i], 1);
        expect_counts(1 + i, 0, i);
    }
}

/* A block that has no trace, but was freed rightly when it had the address before. */
static void not_double(void *block, const char *after) {
    uint64_t twice = mtrace_get_info().double_frees;
    release(block, 99);
    if (mtrace_get_info().double_frees != twice) {
        fail_msg("a double free after %s", after);
    }
}

static void *freed_once(void) {
    void *block = allocate(8, 1);
    release(block, 1);
    return block;
}

static void test_no_false_accusation(void **state) {
    mtrace_site site = test_site("re.c", 9);
    void *block;
    (void)state;
    start_reporting(8);
    block = freed_once();
    assert_int_equal(mtrace_track_at(0, (uintptr_t)block, (uint64_t)1 << 39, &site),
                     MTRACE_ERR_FULL);
    not_double(block, "a dropped block");
    block = freed_once();
    assert_ptr_equal(allocate(8, 1), block);
    assert_int_equal(mtrace_untrack_at(0, (uintptr_t)block, &site), MTRACE_OK);
    not_double(block, "MT_UNTRACK");
    block = freed_once();
    assert_ptr_equal(allocate(8, 1), block);
    mtrace_clear();
    not_double(block, "a clear");
    block = freed_once();
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    assert_ptr_equal(allocate(8, 1), block);
    not_double(block, "an allocation while paused");
    assert_ptr_equal(allocate(8, 1), block);
    assert_int_equal(mtrace_resume(), MTRACE_OK);
    not_double(block, "a pause");
    block = allocate(8, 1);
    assert_int_equal(mtrace_pause(), MTRACE_OK);
    release(block, 1);
    assert_ptr_equal(allocate(8, 1), block);
    not_double(block, "two frees while paused");
    assert_ptr_equal(allocate(8, 1), block);
    assert_int_equal(mtrace_resume(), MTRACE_OK);
    not_double(block, "a free while paused");
    block = freed_once();
    mtrace_stop();
    start_reporting(8);
    is_used[0] = true;
    not_double(block, "a start");
    expect_counts(1, 0, 0);
}

/* The same with a table that has no slot left. */
static void test_no_false_accusation_when_full(void **state) {
    mtrace_site site = test_site("re.c", 9);
    uintptr_t key = 1;
    void *block;
    (void)state;
    start_reporting(8);
    block = freed_once();
    while (mtrace_get_info().live < mtrace_get_info().capacity) {
        (void)mtrace_track_at(1, key++, 1, &site);
    }
    assert_ptr_equal(allocate(8, 1), block);
    test_untraced(block);
    not_double(block, "a block without a slot");
    expect_counts(1, 0, 0);
}

/* --- realloc --- */

static void test_realloc_in_place_frees_nothing(void **state) {
    mtrace_site site = test_site("re.c", 9);
    void *block, *other;
    uint32_t size;
    (void)state;
    start_reporting(4);
    block = allocate(8, 1);
    other = allocate(8, 1);
    release(other, 1);
    for (size = 1; size <= 20; size++) { /* this takes no room */
        assert_ptr_equal(mtrace_realloc_at(block, size, &site), block);
    }
    release(other, 2);
    expect_counts(1, 0, 1);
    refuses = true;
    assert_null(mtrace_realloc_at(block, 30, &site));
    test_traced(block, 20, "re.c", 9);
    assert_int_equal(mtrace_untrack_at(0, (uintptr_t)block, &site), MTRACE_OK);
    not_double(block, "a realloc in place");
}

static void *resized;

static void take_the_old_address(void) {
    mtrace_site site = test_site("re.c", 8);
    while_resizing = NULL;
    assert_ptr_equal(heap_malloc(8), resized);
    assert_int_equal(mtrace_track_at(0, (uintptr_t)resized, (uint64_t)1 << 39, &site),
                     MTRACE_ERR_FULL);
}

/* Another thread gets the old address before the realloc ends. */
static void test_the_old_address_may_be_in_use_again(void **state) {
    mtrace_site site = test_site("re.c", 9);
    (void)state;
    start_reporting(8);
    moves = true;
    resized = allocate(8, 1);
    while_resizing = take_the_old_address;
    assert_ptr_not_equal(mtrace_realloc_at(resized, 20, &site), resized);
    not_double(resized, "a realloc, and a dropped block in between");
    expect_counts(1, 0, 0);
}

/* --- the text --- */

static void test_long_names(void **state) {
    static char file[1500];
    mtrace_site site;
    void *block;
    const char *note;
    (void)state;
    memset(file, 'x', sizeof file - 1);
    strcpy(file + 1490, "/end.c");
    site = test_site(file, UINT32_MAX);
    start_reporting(8);
    block = mtrace_malloc_at(8, &site);
    mtrace_free_at(block, &site);
    release(block, 2);
    note = strchr(output.text, '\n') + 1;
    assert_memory_equal(note, "...x", 4);
    assert_non_null(strstr(note, "x/end.c:4294967295: note: freed here\n"));
    assert_true(strchr(note, '\n') - note < 256);
    note = strchr(note, '\n') + 1;
    assert_memory_equal(note, "...x", 4);
    assert_true(strchr(note, '\n') - note < 256);
    assert_string_equal(strstr(note, "x/end.c"), "x/end.c:4294967295: note: allocated here\n");
}

/* Names that found no room, and none at all. */
static void test_lost_names(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    void *block;
    (void)state;
    start_reporting(8);
    block = mtrace_malloc_at(8, NULL);
    mtrace_free_at(block, NULL);
    mtrace_free_at(block, NULL);
    expect_output("<unknown>:0: warning: free of a pointer freed already: 0x??, 8 bytes\n"
                  "<unknown>:0: note: freed here\n"
                  "<unknown>:0: note: allocated here\n",
                  block, NULL);
    mtrace_stop();
    desc.max_sites = 8;
    desc.name_bytes = 1;
    desc.kept_frees = 4;
    desc.foreign_free = MTRACE_FOREIGN_REPORT;
    desc.write = test_write;
    desc.write_user = &output;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    block = allocate(8, 1);
    release(block, 2);
    release(block, 3);
    expect_output("old.c:3: warning: free of a pointer freed already: 0x??, 8 bytes\n"
                  "<unknown>:2: note: freed here\n"
                  "<unknown>:1: note: allocated here\n",
                  block, NULL);
}

/* A call site that is a code address. */
static void test_addresses(void **state) {
    mtrace_site by = mtrace_site_from_address((const void *)0x1234);
    void *block;
    (void)state;
    start_reporting(8);
    block = mtrace_malloc_at(8, &by);
    mtrace_free_at(block, &by);
    release(block, 2);
    expect_output("old.c:2: warning: free of a pointer freed already: 0x??, 8 bytes\n"
                  "pc:0x1234: note: freed here\n"
                  "pc:0x1234: note: allocated here\n",
                  block, NULL);
    block = mtrace_malloc(8);
    release((char *)block + 1, 3);
    assert_null(strstr(output.text, ":0: note"));
    assert_non_null(strstr(output.text, ": note: allocated here\n"));
}

static void write_carelessly(const char *text, size_t length, void *user) {
    release(&rooms[9], 50); /* foreign: counted, but not reported from here */
    test_write(text, length, user);
}

static void test_a_writer_may_free(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    void *block;
    (void)state;
    start_reporting(8);
    mtrace_stop();
    desc.max_blocks = 16;
    desc.kept_frees = 8;
    desc.double_free = MTRACE_FOREIGN_REPORT;
    desc.foreign_free = MTRACE_FOREIGN_REPORT;
    desc.write = write_carelessly;
    desc.write_user = &output;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    block = freed_once();
    release(block, 2);
    expect_output("old.c:2: warning: free of a pointer freed already: 0x??, 8 bytes\n"
                  "old.c:1: note: freed here\n"
                  "new.c:1: note: allocated here\n",
                  block, NULL);
    expect_counts(4, 0, 1); /* a call of the writer for each line */
}

static void test_reports_count_the_kinds(void **state) {
    char *block;
    (void)state;
    start(8, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_COUNT);
    release(freed_once(), 2);
    assert_int_equal(mtrace_print_top(3), MTRACE_OK);
    assert_non_null(strstr(output.text, "; 1 foreign free; 1 double free among the foreign ones"));
    block = (char *)allocate(8, 1);
    release(block + 4, 3);
    release(block + 4, 3);
    output.length = 0;
    assert_int_equal(mtrace_print_top(3), MTRACE_OK);
    assert_non_null(strstr(output.text, "; 3 foreign frees; 1 double free among the foreign ones; "
                                        "2 interior frees among the foreign ones"));
    mtrace_clear();
    expect_counts(0, 0, 0);
    release(&rooms[9], 3);
    output.length = 0;
    assert_int_equal(mtrace_print_top(3), MTRACE_OK);
    assert_non_null(strstr(output.text, "; 1 foreign free\n"));
    block = (char *)allocate(8, 1);
    release(block + 4, 3);
    output.length = 0;
    assert_int_equal(mtrace_print_top(3), MTRACE_OK);
    assert_non_null(
        strstr(output.text, "; 2 foreign frees; 1 interior free among the foreign ones"));
}

/* --- entries that are half written --- */

/* Whatever word is of another free, the block is not found. */
static void test_a_mixed_entry_is_not_found(void **state) {
    mtrace_past_free_ *entries, found;
    uint32_t mask;
    void *a, *b;
    (void)state;
    start_reporting(4);
    a = allocate(8, 1);
    b = allocate(24, 2);
    mtrace_free_at(a, NULL);
    release(b, 5);
    entries = mtrace_past_()->frees;
    for (mask = 0; mask < 32; mask++) { /* words of the second free, and of the first */
        mtrace_past_free_ mixed = entries[mask & 16 ? 1 : 0];
        mixed.size = entries[mask & 1].size;
        mixed.file = entries[mask >> 1 & 1].file;
        mixed.line = entries[mask >> 2 & 1].line;
        mixed.allocated = entries[mask >> 3 & 1].allocated;
        entries[2] = entries[3] = mixed;
        mtrace_past_()->next = 4;
        assert_int_equal(mtrace_past_find_((uintptr_t)a, 2, &found), mask == 0);
        assert_int_equal(mtrace_past_find_((uintptr_t)b, 2, &found), mask == 31);
    }
}

/* --- threads --- */

#ifdef MTRACE_SINGLE_THREAD
enum { WORKERS = 1, EACH = 200 };
#else
enum { WORKERS = 4, EACH = 200 };
#endif

static void write_nowhere(const char *text, size_t length, void *user) {
    (void)length;
    /* no report is cut or mixed: each line is one of these */
    assert_true(strncmp(text, "old.c:", 6) == 0 || strncmp(text, "new.c:", 6) == 0);
    (void)user;
}

static void *free_twice(void *number) {
    uint32_t i;
    for (i = 1; i <= EACH; i++) {
        void *block = allocate(8, *(const uint32_t *)number);
        release(block, *(const uint32_t *)number);
        release(block, i);
        release((char *)block + 1, i); /* never a block's */
    }
    return NULL;
}

/* No address comes back, so each second free is one. */
static void in_threads(size_t kept, uint64_t least) {
    uint32_t numbers[WORKERS];
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_info info;
    size_t i;
    start(0, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_COUNT, MTRACE_FOREIGN_COUNT);
    mtrace_stop();
    reuses = false;
    desc.max_blocks = 64;
    desc.foreign_free = MTRACE_FOREIGN_REPORT;
    desc.kept_frees = kept;
    desc.write = write_nowhere;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    for (i = 0; i < WORKERS; i++) {
        numbers[i] = 1000 + (uint32_t)i;
    }
    test_in_threads(WORKERS, free_twice, numbers, sizeof numbers[0]);
    info = mtrace_get_info();
    assert_int_equal(info.foreign_frees, 2 * WORKERS * EACH);
    assert_in_range(info.double_frees, least, WORKERS * EACH);
    assert_int_equal(info.interior_frees, 0);
    test_held(0, mtrace_get_traced_memory().peak, 0);
    mtrace_stop();
}

static void test_in_threads_all_are_kept(void **state) {
    (void)state;
    in_threads(WORKERS * EACH, WORKERS * EACH);
}

static void test_in_threads_a_ring_of_four(void **state) {
    (void)state;
    in_threads(1, WORKERS == 1 ? EACH : 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_foreign_pointer),
        TEST(test_an_interior_pointer),
        TEST(test_a_double_free),
        TEST(test_a_pointer_into_a_tracked_key),
        TEST(test_the_address_may_be_in_use_again),
        TEST(test_a_double_free_is_not_known),
        TEST(test_the_same_for_realloc),
        TEST(test_the_stronger_counts),
        TEST(test_only_on_request),
        TEST(test_bad_requests),
        TEST(test_the_memory_for_kept_frees),
        TEST(test_the_last_ones),
        TEST(test_no_false_accusation),
        TEST(test_no_false_accusation_when_full),
        TEST(test_realloc_in_place_frees_nothing),
        TEST(test_the_old_address_may_be_in_use_again),
        TEST(test_long_names),
        TEST(test_lost_names),
        TEST(test_addresses),
        TEST(test_a_writer_may_free),
        TEST(test_reports_count_the_kinds),
        TEST(test_a_mixed_entry_is_not_found),
        TEST(test_in_threads_all_are_kept),
        TEST(test_in_threads_a_ring_of_four),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

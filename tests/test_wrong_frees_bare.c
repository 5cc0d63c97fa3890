/* Wrong frees on bare metal, with MTRACE_WRONG_FREES: the lock is open while the writer runs and
   while the allocator does, and a stop may come in between. */

#undef MTRACE_CONFIG_FILE
#undef MTRACE_SINGLE_THREAD
#define MTRACE_BARE_METAL
#define MTRACE_WRONG_FREES

static int locked, lock_faults, unlocks_left = -1; /* until a stop; below 0: never */

#define MTRACE_LOCK()   (lock_faults += locked++ != 0)
#define MTRACE_UNLOCK() unlock()

static void unlock(void);

#include <stddef.h>

/* Blocks come from a row and never come back. */
static unsigned char rooms[1 << 14];
static unsigned rooms_used;

#define MTRACE_BASE_MALLOC(size)         take_room(size)
#define MTRACE_BASE_REALLOC(block, size) ((void)(block), take_room(size))
#define MTRACE_BASE_FREE(block)          (lock_faults += locked != 0, (void)(block))

static void *take_room(size_t size);

#include "support/test.h"

static void unlock(void) {
    lock_faults += --locked != 0;
    if (unlocks_left >= 0 && unlocks_left-- == 0) {
        mtrace_stop();
    }
}

static void *take_room(size_t size) {
    void *room = rooms + rooms_used;
    lock_faults += locked != 0;
    assert_true(rooms_used + size <= sizeof rooms);
    rooms_used += (unsigned)(size + 15) / 16 * 16;
    return room;
}

static test_output output;

static void write_unlocked(const char *text, size_t length, void *user) {
    lock_faults += locked != 0;
    test_write(text, length, user);
}

static uint64_t memory[1 << 10];

static int setup(void **state) {
    mtrace_desc desc = MTRACE_ZERO_;
    (void)state;
    output.length = 0;
    output.text[0] = '\0';
    rooms_used = 0;
    desc.max_blocks = 32;
    desc.memory = memory;
    desc.memory_size = sizeof memory;
    desc.foreign_free = MTRACE_FOREIGN_REPORT;
    desc.kept_frees = 16;
    desc.write = write_unlocked;
    desc.write_user = &output;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    test_sound();
    mtrace_stop();
    unlocks_left = -1;
    assert_int_equal(lock_faults, 0);
    return 0;
}

static const mtrace_site fresh = {"new.c", "f", NULL, 7, NULL};
static const mtrace_site old = {"old.c", "f", NULL, 1, NULL};

/* The words after the pointer's kind, without addresses. */
static void expect(const char *kind, const char *notes) {
    assert_non_null(strstr(output.text, kind));
    assert_string_equal(strchr(output.text, '\n') + 1, notes);
    output.length = 0;
    output.text[0] = '\0';
}

static void each_kind(void **state) {
    char *block = (char *)mtrace_malloc_at(40, &fresh);
    mtrace_info info;
    (void)state;
    mtrace_free_at(block + 8, &old);
    expect("old.c:1: warning: free of a pointer into a block: 0x",
           "new.c:7: note: allocated here\n");
    mtrace_free_at(block, &old);
    assert_string_equal(output.text, "");
    mtrace_free_at(block, &old);
    expect("old.c:1: warning: free of a pointer freed already: 0x",
           "old.c:1: note: freed here\nnew.c:7: note: allocated here\n");
    mtrace_free_at(rooms + 1000, &old);
    expect("old.c:1: warning: free of a pointer that is not traced: 0x", "");
    block = (char *)mtrace_malloc_at(40, &fresh);
    assert_ptr_not_equal(mtrace_realloc_at(block, 80, &fresh), block);
    (void)mtrace_realloc_at(block, 80, &old);
    expect("old.c:1: warning: realloc of a pointer freed already: 0x",
           "new.c:7: note: freed here\nnew.c:7: note: allocated here\n");
    info = mtrace_get_info();
    assert_int_equal(info.foreign_frees, 4);
    assert_int_equal(info.interior_frees, 1);
    assert_int_equal(info.double_frees, 2);
    assert_int_equal(mtrace_print_top(3), MTRACE_OK);
    assert_non_null(strstr(output.text, "4 foreign frees; 2 double frees among the foreign ones; 1 "
                                        "interior free among the foreign ones"));
}

/* Whenever the stop comes: what is said is whole, and names are read from live memory alone. */
static void a_stop_in_between(void **state) {
    int at;
    for (at = 0; at < 40; at++) {
        char *block = (char *)mtrace_malloc_at(40, &fresh);
        unlocks_left = at;
        mtrace_free_at(block + 8, &old);
        unlocks_left = -1;
        assert_true(output.length == 0 || output.text[output.length - 1] == '\n');
        assert_true(output.length == 0 || strstr(output.text, "not traced") != NULL ||
                    strstr(output.text, "new.c:7: note: allocated here\n") != NULL);
        mtrace_stop();
        memset(memory, 0xa5, sizeof memory);
        setup(state);
    }
}

/* Lines are cut to what the writer gets at once. */
static void long_names(void **state) {
    static char file[300];
    mtrace_site site = {file, "f", NULL, 4000000000u, NULL};
    char *block;
    (void)state;
    memset(file, 'x', sizeof file - 1);
    strcpy(file + 290, "/end.c");
    block = (char *)mtrace_malloc_at(40, &site);
    mtrace_free_at(block + 8, &old);
    assert_in_range(strlen(strchr(output.text, '\n') + 1), 80, 95);
    assert_non_null(strstr(output.text, "x/end.c:4000000000: note: allocated here\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(long_names, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

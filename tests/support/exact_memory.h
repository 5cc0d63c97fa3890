/* Results in the caller's memory: the size that the library names is enough, and is needed. */

#ifndef MTRACE_TESTS_SUPPORT_EXACT_MEMORY_H
#define MTRACE_TESTS_SUPPORT_EXACT_MEMORY_H

enum { TEST_GUARD = 0xA5, TEST_LINE = 64 };

/* Makes and checks a result in the memory given. */
typedef mtrace_result (*test_make_fn)(mtrace_buffer *memory, const void *inputs);

/* In exactly `size` bytes at `at`, guarded on both sides. */
static inline mtrace_result test_make_at(unsigned char *at, size_t size, test_make_fn make,
                                         const void *inputs) {
    mtrace_buffer memory;
    mtrace_result result;
    size_t i;
    memory.data = at;
    memory.size = size;
    memset(at - TEST_LINE, TEST_GUARD, size + 2 * TEST_LINE);
    result = make(&memory, inputs);
    for (i = 0; i < TEST_LINE; i++) {
        assert_int_equal(at[-1 - (long)i], TEST_GUARD);
        assert_int_equal(at[size + i], TEST_GUARD);
    }
    return result;
}

/* The bytes that the library asks for, by a buffer without data. */
static inline size_t test_needed(test_make_fn make, const void *inputs) {
    mtrace_buffer asked = MTRACE_ZERO_;
    assert_int_equal(make(&asked, inputs), MTRACE_ERR_NO_MEMORY);
    assert_null(asked.data);
    return asked.size;
}

/* The size that is asked for is enough at every address. Too little is refused: each address has a
   least size, less than a cache line below `size`, and at the worst address at most one byte below.
   */
static inline void test_exact_memory(test_make_fn make, const void *inputs) {
    static unsigned char room[1 << 16];
    size_t size = test_needed(make, inputs), offset, worst = 0;
    assert_true(size + 4 * TEST_LINE < sizeof room);
    for (offset = 0; offset <= TEST_LINE; offset++) {
        unsigned char *at = room + TEST_LINE + offset;
        size_t least = size;
        assert_int_equal(test_make_at(at, size, make, inputs), MTRACE_OK);
        while (test_make_at(at, least - 1, make, inputs) == MTRACE_OK) {
            least--;
        }
        assert_true(size - least <= TEST_LINE);
        assert_int_equal(test_make_at(at, least / 2, make, inputs), MTRACE_ERR_NO_MEMORY);
        assert_int_equal(test_make_at(at, 0, make, inputs), MTRACE_ERR_NO_MEMORY);
        worst = least > worst ? least : worst;
    }
    assert_true(size - worst <= 1);
}

#endif

/* Threads of a test. Include it after test.h. */

#ifndef MTRACE_TESTS_SUPPORT_THREADS_H
#define MTRACE_TESTS_SUPPORT_THREADS_H

#include <pthread.h>

enum { TEST_THREADS = 32 };

typedef void *(*test_work)(void *);

static inline void *test_in_thread(test_work work, void *argument) {
    pthread_t thread;
    void *result;
    assert_int_equal(pthread_create(&thread, NULL, work, argument), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    return result;
}

/* Each thread gets its element of `arguments`, of `size` bytes. */
static inline void test_threads_begin(pthread_t *threads, size_t count, test_work work,
                                      void *arguments, size_t size) {
    size_t i;
    for (i = 0; i < count; i++) {
        void *argument = size == 0 ? arguments : (char *)arguments + i * size;
        assert_int_equal(pthread_create(&threads[i], NULL, work, argument), 0);
    }
}

static inline void test_threads_end(const pthread_t *threads, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

static inline void test_in_threads(size_t count, test_work work, void *arguments, size_t size) {
    pthread_t threads[TEST_THREADS];
    assert_true(count <= TEST_THREADS);
    test_threads_begin(threads, count, work, arguments, size);
    test_threads_end(threads, count);
}

#endif

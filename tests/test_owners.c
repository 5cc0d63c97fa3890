/* On a system that does not say if a thread has ended, threads that run at once have a shard each,
   or none. Here Linux becomes such a system: its numbers of system calls are undefined. */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#ifdef __linux__
#include <sys/syscall.h>
#undef SYS_tgkill
#endif
#include "support/test.h"
#include "support/threads.h"

#if TEST_ATOMICS
enum { THREADS = MTRACE_SHARDS + 8 };

static pthread_barrier_t all_are_there;

static void *shard_of_a_thread(void *argument) {
    MT_FREE(MT_MALLOC(10));
    *(mtrace_shard_ **)argument = mtrace_me_.shard;
    pthread_barrier_wait(&all_are_there);
    return NULL;
}

static void test_no_shard_has_two_threads(void **state) {
    mtrace_shard_ *shards[THREADS];
    int i, j;
    (void)state;
    assert_int_equal(mtrace_start(NULL), MTRACE_OK);
    assert_int_equal(pthread_barrier_init(&all_are_there, NULL, THREADS), 0);
    test_in_threads(THREADS, shard_of_a_thread, shards, sizeof *shards);
    for (i = 0; i < THREADS; i++) {
        for (j = 0; j < i; j++) {
            assert_true(shards[i] == &mtrace_g_.no_shard || shards[i] != shards[j]);
        }
    }
    pthread_barrier_destroy(&all_are_there);
    test_sound();
    mtrace_stop();
}
#else
static void test_no_shard_has_two_threads(void **state) {
    (void)state;
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_shard_has_two_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

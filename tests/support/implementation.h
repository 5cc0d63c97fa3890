/* The library's implementation for tests, over an allocator that fails on request, and functions
   by which tests look inside. Static in a test file that includes it;
   implementation.c makes of it one object for many. */

#ifndef MTRACE_TESTS_SUPPORT_IMPLEMENTATION_H
#define MTRACE_TESTS_SUPPORT_IMPLEMENTATION_H

#ifndef TEST_SHARED
#define TEST_DATA static
#define TEST_CODE static inline
#else
#define TEST_DATA
#define TEST_CODE
#endif

TEST_DATA int test_fail_next;
TEST_DATA int test_fail_after = -1;
TEST_DATA bool test_measures;
TEST_DATA size_t test_largest;

TEST_CODE bool test_fails(size_t size) {
    if (test_measures && size > test_largest) {
        test_largest = size;
    }
    if (test_fail_after >= 0 && test_fail_after-- == 0) {
        return true;
    }
    if (test_fail_next > 0) {
        test_fail_next--;
        return true;
    }
    return test_fail_next < 0;
}

#ifdef MTRACE_TEST_TINY
#define MTRACE_SHARDS    2
#define MTRACE_MAX_PROBE 12
#define MTRACE_PAGE_BITS 10
#endif

#define MTRACE_START_FROM_ENVIRONMENT /* starts nothing unless MTRACE is set */
#define MTRACE_IMPLEMENTATION
#include "../../mtrace.h"

#if MTRACE_ATOMICS_ != TEST_ATOMICS
#error "test.h is wrong about TEST_ATOMICS"
#endif

TEST_CODE bool test_folds_names(void) {
    return MTRACE_FOLDS_NAMES_;
}

TEST_CODE bool test_match(const char *name, const char *pattern) {
    return mtrace_match_(name, pattern);
}

TEST_CODE bool test_can_sample(void) {
    return MTRACE_CAN_SAMPLE_;
}

TEST_CODE bool test_is_tiny(void) {
    return MTRACE_SHARDS == 2;
}

TEST_CODE size_t test_max_interval(void) {
    return MTRACE_MAX_INTERVAL_;
}

TEST_CODE size_t test_max_probe(void) {
    return MTRACE_MAX_PROBE;
}

TEST_CODE size_t test_shards(void) {
    return MTRACE_OWN_SHARDS_;
}

TEST_CODE size_t test_max_sites(void) {
    return MTRACE_MAX_SITES_;
}

TEST_CODE size_t test_default_sites(void) {
    return MTRACE_RESERVES_ ? 65533 : 4096;
}

/* Bytes of the tracer's memory that are in RAM; 0: not known. */
TEST_CODE size_t test_resident(void) {
    return mtrace_resident_(mtrace_g_.system_memory, mtrace_g_.system_size);
}

TEST_CODE uint32_t test_home(uintptr_t key) {
    return mtrace_home_(key, true);
}

TEST_CODE unsigned char *test_align(void *memory) {
    return mtrace_align_(memory);
}

TEST_CODE void test_forget_domain_names(void) {
    mtrace_g_.domain_names = 0;
}

TEST_CODE size_t test_kept_bytes(void) {
    const void *kept = mtrace_g_.kept_result;
    return kept == NULL ? 0 : *(const size_t *)kept;
}

TEST_CODE void test_give_kept_back(void) {
    void *kept = mtrace_exchange_(&mtrace_g_.kept_result, NULL);
    if (kept != NULL) {
        mtrace_own_free_(kept, *(size_t *)kept);
    }
}

TEST_CODE void test_dirty_kept(void) {
    unsigned char *kept = (unsigned char *)mtrace_g_.kept_result;
    if (kept != NULL) {
        memset(kept + sizeof(size_t), 0xa5, *(size_t *)(void *)kept - sizeof(size_t));
    }
}

TEST_CODE size_t test_scope_homes(uint32_t homes[], size_t room) {
    const mtrace_intern_table_ *pool = &mtrace_g_.node_table;
    size_t count = 0;
    uint32_t node;
    for (node = MTRACE_FIRST_; node < pool->number_end && count < room; node++) {
        homes[count++] =
            mtrace_index_probe_(&pool->shape, mtrace_node_hash_(&mtrace_g_.nodes[node]), 0);
    }
    return count;
}

TEST_CODE uint32_t test_scope_line(void) {
    return mtrace_g_.locations[mtrace_g_.nodes[MTRACE_CONTEXT_.number].location].line;
}

#endif

/* Blocks under check on bare metal: leaks since the baseline, without memory. */

#undef MTRACE_CONFIG_FILE
#undef MTRACE_SINGLE_THREAD
#define MTRACE_BARE_METAL
#define MTRACE_SINGLE_THREAD
static void failed(const char *text);
#define MTRACE_FAIL(message) failed(message)
#include "support/test.h"
#include "../mtrace_ext.h"

static char message[256];
static int failures;

static void failed(const char *text) {
    failures++;
    snprintf(message, sizeof message, "%s", text);
}

static void expect_failure(const char *text) {
    assert_int_equal(failures, 1);
    assert_string_equal(message, text);
    failures = 0;
}

static void leaks_are_named_without_memory(void **state) {
    static unsigned char memory[65536];
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_site site = test_site("a.c", 7);
    int runs = 0;
    (void)state;
    desc.memory = memory;
    desc.memory_size = sizeof memory;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_track_at(1, 1, 50, &site), MTRACE_OK);
    MT_ASSERT_NO_LEAKS_WARM {
        runs++;
        mtrace_untrack_at(1, 1, &site);
        mtrace_track_at(1, 1, 50, &site);
    }
    assert_int_equal(runs, 2);
    assert_int_equal(failures, 0);
    MT_ASSERT_NO_LEAKS {
        mtrace_track_at(1, 2, 5, &site);
    }
    expect_failure("memory grew by 5 B (tolerance 0 B):\n"
                   "a.c:7: warning: grew by +5 B in +1 block, allocated in f");
    MT_ASSERT_NO_LEAKS {
        mtrace_track_at(1, 3, 0, &site);
        mtrace_track_at(1, 4, 0, &site);
    }
    expect_failure("memory grew by 2 blocks (tolerance 0 B):\n"
                   "a.c:7: warning: grew by +0 B in +2 blocks, allocated in f");
    MT_ASSERT_NO_LEAKS {
        mtrace_pause();
        mtrace_track_at(1, 5, 5, &site);
        mtrace_resume();
    }
    expect_failure("cannot tell about the block: paused in between");
    MT_ASSERT_PEAK_BELOW(100) {}
    expect_failure("cannot tell about the block: not enough memory");
    MT_ASSERT_ALLOCATIONS_AT_MOST(100) {}
    expect_failure("cannot tell about the block: not enough memory");
    mtrace_stop();
    MT_ASSERT_NO_LEAKS {}
    expect_failure("cannot tell about the block: not tracing");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaks_are_named_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A user's program in strict C. It writes one file, in the folder that its argument names. */

#define MTRACE_IMPLEMENTATION
#include "../../../mtrace_ext.h"

#include <stdio.h>

/* The numbers that the headers chose for names that strict C may hide, for system_numbers.c. 0:
   none; -1: not used. */
#ifdef MTRACE_MAP_ANONYMOUS_
extern const int chosen[];
#ifndef MTRACE_SIG_BLOCK_
#define MTRACE_SIG_BLOCK_ -1
#endif
const int chosen[] = {MTRACE_MAP_ANONYMOUS_, MTRACE_MAP_POPULATE_, MTRACE_MAP_NORESERVE_,
                      MTRACE_MADV_DONTNEED_, MTRACE_O_CLOEXEC_,    MTRACE_O_NOFOLLOW_,
                      MTRACE_CLOCK_,         MTRACE_SIG_BLOCK_};
#endif
#ifdef TEST_NUMBERS
extern int wrong_numbers(void);
#else
static int wrong_numbers(void) {
    return 0;
}
#endif

static void *build(size_t size) {
    MT_SCOPE();
    return MT_MALLOC(size);
}

static int failed(const char *what) {
    printf("error: %s\n", what);
    return 1;
}

/* The line below, measured. */
static void *profiled(void) {
    MT_PROFILE();
    return MT_CALLOC(1, 3000);
}

int main(int count, char **arguments) {
    char path[512];
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *before, *loaded;
    void *kept, *grown;
    desc.frames = 3;
    if (count != 2 || mtrace_start(&desc) != MTRACE_OK) {
        return failed("start");
    }
    if (mtrace_snapshot_take(&before, true, NULL) != MTRACE_OK) {
        return failed("snapshot");
    }
    kept = build(1000);
    grown = MT_REALLOC(MT_STRDUP("text"), 500);
    if (mtrace_growth(NULL, 0, before, 0) != 1500) {
        return failed("growth");
    }
    mtrace_print_diff(before, 5);
    mtrace_snapshot_free(before);
    snprintf(path, sizeof path, "%s/portability.mtrace", arguments[1]);
    if (mtrace_snapshot_take(&before, true, NULL) != MTRACE_OK ||
        mtrace_snapshot_dump(before, path) != MTRACE_OK ||
        mtrace_snapshot_load(&loaded, path, NULL) != MTRACE_OK || remove(path) != 0) {
        return failed("file");
    }
    if (mtrace_snapshot_get_parts(loaded).block_count != 2) {
        return failed("blocks of the file");
    }
    mtrace_snapshot_free(loaded);
    mtrace_snapshot_free(before);
    if (mtrace_profile_start(NULL) != MTRACE_OK) {
        return failed("profile");
    }
    MT_FREE(profiled());
    mtrace_profile_report(NULL);
    mtrace_profile_stop();
    MT_FREE(kept);
    MT_FREE(grown);
    if (mtrace_get_info().live != 0 || mtrace_check() != NULL) {
        return failed("check");
    }
    mtrace_stop();
    return wrong_numbers();
}

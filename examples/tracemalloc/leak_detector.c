/* A leak detector to keep. It records the live memory, later prints the lines that hold more, and
   stops. A message that bounces is freed without its subject: the leak to find. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <stdio.h>
#include <string.h>

/* --------------------------------------------------------------------------------- the detector */

typedef struct leak_detector {
    mtrace_snapshot *baseline;
} leak_detector;

static mtrace_result detector_start(leak_detector *d) {
    mtrace_result result = mtrace_start(NULL);
    d->baseline = NULL;
    return result == MTRACE_OK ? mtrace_snapshot_take(&d->baseline, false, NULL) : result;
}

/* Writes a warning for each line that holds more than at the start. Returns the bytes. */
static int64_t detector_report(const leak_detector *d) {
    const mtrace_report_desc warnings = {.style = MTRACE_STYLE_WARNINGS};
    mtrace_snapshot *now;
    mtrace_rows *diff;
    int64_t grown = 0;
    if (mtrace_snapshot_take(&now, false, NULL) == MTRACE_OK &&
        mtrace_snapshot_compare_to(&diff, now, d->baseline, MTRACE_BY_LINE, NULL) == MTRACE_OK) {
        mtrace_report(diff, &warnings);
        grown = diff->total.size_diff;
        mtrace_rows_free(diff);
    }
    mtrace_snapshot_free(now);
    return grown;
}

static void detector_stop(leak_detector *d) {
    mtrace_snapshot_free(d->baseline);
    mtrace_stop();
}

/* ---------------------------------------------------------------------------------------- a job */

typedef struct message {
    char *to, *subject;
} message;

static void deliver(const char *to, const char *subject) {
    message *m = MT_NEW(message);
    m->to = MT_STRDUP(to);
    m->subject = MT_STRDUP(subject); /* the leak */
    bool bounces = strchr(to, '@') == NULL;
    if (!bounces) {
        MT_FREE(m->subject);
    }
    MT_FREE(m->to);
    MT_FREE(m);
}

int main(void) {
    leak_detector detector;
    detector_start(&detector);
    deliver("ada@example.org", "Notes on the engine");
    printf("one message: %+d bytes\n", (int)detector_report(&detector));
    for (int i = 0; i < 10; i++) {
        deliver("nobody", "Are you there?");
    }
    printf("ten that bounce: %+d bytes\n", (int)detector_report(&detector));
    detector_stop(&detector);
    return 0;
}

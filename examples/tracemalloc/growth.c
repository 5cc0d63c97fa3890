/* Growth over five rounds, each compared with the round before. Requests come and go and the log
   keeps its length, but sessions are never removed from their table. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ROUNDS = 5, REQUESTS = 200, LOG_LINES = 16 };

typedef struct server {
    char *log[LOG_LINES]; /* the last lines */
    char *sessions[ROUNDS * REQUESTS];
    uint32_t requests;
} server;

static void handle(server *s) {
    char *request = MT_MALLOC(4096);
    char **line = &s->log[s->requests % LOG_LINES];
    snprintf(request, 4096, "GET /user%04u/index.html", (unsigned)s->requests);
    MT_FREE(*line);
    *line = MT_STRDUP(request);
    s->sessions[s->requests++] = MT_STRNDUP(request + 5, 8); /* what grows */
    MT_FREE(request);
}

/* Prints the growth since the snapshot `old` and frees it. Returns the new snapshot. */
static mtrace_snapshot *report(int round, mtrace_snapshot *old) {
    mtrace_snapshot *now;
    mtrace_rows *diff;
    if (mtrace_snapshot_take(&now, false, NULL) == MTRACE_OK &&
        mtrace_snapshot_compare_to(&diff, now, old, MTRACE_BY_LINE, NULL) == MTRACE_OK) {
        printf("round %d: %+" PRId64 " bytes\n", round, diff->total.size_diff);
        for (size_t i = 0; i < diff->count && diff->rows[i].size_diff > 0; i++) {
            char text[128];
            mtrace_format_row(text, sizeof text, diff, &diff->rows[i]);
            printf("    %s\n", text);
        }
        mtrace_rows_free(diff);
    }
    mtrace_snapshot_free(old);
    return now;
}

int main(void) {
    server s = {{NULL}, {NULL}, 0};
    mtrace_snapshot *last;
    mtrace_start(NULL);
    mtrace_snapshot_take(&last, false, NULL);
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < REQUESTS; i++) {
            handle(&s);
        }
        last = report(round, last);
    }
    mtrace_snapshot_free(last);
    for (size_t i = 0; i < ROUNDS * REQUESTS; i++) {
        MT_FREE(s.sessions[i]);
    }
    for (size_t i = 0; i < LOG_LINES; i++) {
        MT_FREE(s.log[i]);
    }
    mtrace_stop();
    return 0;
}

/* A snapshot as text. The firmware and the host's read.c both print by it, so that the texts can be
   compared. */

#ifndef SNAPSHOT_TEXT_H
#define SNAPSHOT_TEXT_H

#include "../../mtrace.h"

/* The lines, the owners of the peak and the domains. `room` is memory for one of them. */
static mtrace_result print_snapshot(mtrace_snapshot *snapshot, mtrace_buffer *room) {
    static const struct {
        mtrace_key_type key;
        mtrace_view view;
    } tables[] = {{MTRACE_BY_LINE, MTRACE_VIEW_LIVE},
                  {MTRACE_BY_LINE, MTRACE_VIEW_PEAK},
                  {MTRACE_BY_DOMAIN, MTRACE_VIEW_TOTAL}};
    mtrace_result result = MTRACE_OK;
    for (size_t i = 0; i < sizeof tables / sizeof *tables && result == MTRACE_OK; i++) {
        mtrace_rows *rows;
        mtrace_snapshot_set_view(snapshot, tables[i].view);
        result = mtrace_snapshot_statistics(&rows, snapshot, tables[i].key, room);
        if (result == MTRACE_OK) {
            result = mtrace_report(rows, NULL);
            mtrace_rows_free(rows);
        }
    }
    mtrace_snapshot_set_view(snapshot, MTRACE_VIEW_LIVE);
    return result;
}

#endif

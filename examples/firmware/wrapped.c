/* Firmware that knows nothing of mtrace but its start and its end: malloc() and its like are traced
   by the linker's flags (tools/wrap.flags), also inside of the C library. The call sites are code
   addresses. The host names them with the help of the image (wrapped.sh), so the image holds no
   names of files and functions. Exit status 0: all checks hold. */

#define _POSIX_C_SOURCE 200809L /* strdup */
#include "wrapped.h"

#include "mtrace_ext.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------ the application */

static void *route, *samples, *buffer;
static char *name;
static FILE *settings;

static __attribute__((noinline)) void load_route(void) {
    route = malloc(100);
    route = realloc(route, 1000);
    route = realloc(route, 300);
}

static __attribute__((noinline)) void take_samples(void) {
    samples = calloc(10, 20);
    buffer = memalign(64, 70);
    free(memalign(32, 500));
}

static __attribute__((noinline)) void read_settings(void) {
    name = strdup("sensor 7");
    settings = fopen("settings.txt", "w");
    if (settings != NULL) {
        fputs("rate=100\n", settings);
    }
}

static __attribute__((noinline)) void finish(void) {
    if (settings != NULL) {
        fclose(settings);
    }
    free(route);
    free(samples);
    free(buffer);
    free(name);
}

/* ---------------------------------------------------------------------------------- the tracer */

static unsigned char tracer_memory[6 * 1024], snapshot_memory[6 * 1024];

/* Adds to a file of the host, and says by -1 if that fails. */
static void write_file(const char *bytes, size_t length, void *user) {
    int *file = user;
    if (*file >= 0 && write(*file, bytes, length) != (ssize_t)length) {
        *file = -1;
    }
}

static bool send_snapshot(void) {
    mtrace_buffer room = {snapshot_memory, sizeof snapshot_memory};
    mtrace_snapshot *snapshot;
    int file = open("wrapped.mtrace", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    return mtrace_snapshot_take(&snapshot, false, &room) == MTRACE_OK &&
           mtrace_snapshot_dump_to(snapshot, write_file, &file) == MTRACE_OK && file >= 0 &&
           close(file) == 0;
}

int main(void) {
    mtrace_desc desc = {0};
    mtrace_info info;
    bool sent;
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    desc.borrow_names = true;
    if (mtrace_start(&desc) != MTRACE_OK) {
        return 2;
    }
    load_route();
    take_samples();
    read_settings();
    sent = send_snapshot();
    finish();
    info = mtrace_get_info();
    return !sent                                                                ? 3
           : info.dropped_count + info.foreign_frees + info.stale_replaced != 0 ? 4
           : mtrace_check() != NULL                                             ? 5
                                                                                : 0;
}

void timer_interrupt(void) {}

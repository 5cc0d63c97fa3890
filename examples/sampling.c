/* Sampling, for programs in production. One block per interval of bytes is traced and stands for
   the others. The report shows the error of its estimates, and the program prints the truth. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <stdio.h>
#include <stdlib.h>

enum { SESSIONS = 40000, PAGES = 30 };

static void *names[SESSIONS], *bodies[SESSIONS], *pages[PAGES];
static unsigned long long name_bytes, body_bytes, page_bytes;

static void open_session(int i) {
    size_t name = 16 + (size_t)i % 64, body = 200 + (size_t)i * 7 % 3000;
    names[i] = MT_MALLOC(name);
    bodies[i] = MT_MALLOC(body);
    name_bytes += name;
    body_bytes += body;
}

static void load_page(int i) {
    size_t size = 300000 + (size_t)i * 1000;
    pages[i] = MT_MALLOC(size); /* above the interval: exact */
    page_bytes += size;
}

int main(void) {
    mtrace_desc desc = {0};
    int i;
    desc.sample_interval = 256 * 1024;
    if (mtrace_start(&desc) == MTRACE_ERR_ARGUMENT) {
        fputs("no sampling on this machine\n", stderr);
        return 1;
    }
    for (i = 0; i < SESSIONS; i++) {
        open_session(i);
    }
    for (i = 0; i < PAGES; i++) {
        load_page(i);
    }
    mtrace_print_top(5);
    printf("the truth: bodies %llu KiB, pages %llu KiB, names %llu KiB\n", body_bytes / 1024,
           page_bytes / 1024, name_bytes / 1024);
    for (i = 0; i < SESSIONS; i++) {
        MT_FREE(names[i]);
        MT_FREE(bodies[i]);
    }
    for (i = 0; i < PAGES; i++) {
        MT_FREE(pages[i]);
    }
    printf("held at the end: %llu bytes\n", (unsigned long long)mtrace_get_traced_memory().current);
    return 0;
}

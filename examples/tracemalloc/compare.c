/* Compares the peaks of two ways to do one job. A page of text is made by a string builder with a
   buffer that doubles, and by a rope of chunks that never move. (The peak does not include the
   moment in which a realloc holds both blocks. So the builder is worse than it looks.)
 */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"
#include "string_builder.h"

#include <inttypes.h>
#include <stdio.h>

enum { LINES = 14000, CHUNK_SIZE = 4096 };

static const char line[] = "It was a dark night.\n";

static size_t by_builder(void) {
    string_builder page = {NULL, 0, 0};
    for (int i = 0; i < LINES; i++) {
        builder_add(&page, line);
    }
    size_t length = page.length;
    builder_free(&page);
    return length;
}

typedef struct chunk {
    struct chunk *next;
    size_t length;
    char text[CHUNK_SIZE - sizeof(void *) - sizeof(size_t)];
} chunk;

/* Adds to the last chunk, or to a new one. Returns the last chunk. */
static chunk *rope_add(chunk *last, const char *text, size_t length) {
    if (sizeof last->text - last->length < length) {
        last->next = MT_NEW(chunk);
        last = last->next;
    }
    memcpy(last->text + last->length, text, length);
    last->length += length;
    return last;
}

static size_t by_rope(void) {
    chunk *first = MT_NEW(chunk), *last = first;
    size_t length = 0;
    for (int i = 0; i < LINES; i++) {
        last = rope_add(last, line, strlen(line));
    }
    while (first != NULL) {
        chunk *next = first->next;
        length += first->length;
        MT_FREE(first);
        first = next;
    }
    return length;
}

static void compete(const char *name, size_t (*job)(void)) {
    uint64_t before = mtrace_get_traced_memory().current;
    mtrace_reset_peak();
    size_t length = job();
    uint64_t peak = mtrace_get_traced_memory().peak - before;
    printf("%-8s %8zu %8" PRIu64 " %9.2f\n", name, length, peak, (double)peak / (double)length);
}

int main(void) {
    mtrace_start(NULL);
    printf("%-8s %8s %8s %9s\n", "BY", "TEXT", "PEAK", "PEAK/TEXT");
    compete("builder", by_builder);
    compete("rope", by_rope);
    mtrace_stop();
    return 0;
}

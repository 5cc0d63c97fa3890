/* Allocations over time: a table of the memory held and of the peak of each step. The set of
   numbers doubles its table when it is half full. While it moves, it holds both tables. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct set {
    uint32_t *slots; /* 0: free */
    size_t capacity, count;
} set;

static void put(set *s, uint32_t number) {
    size_t i = number * 2654435761u % s->capacity;
    while (s->slots[i] != 0 && s->slots[i] != number) {
        i = (i + 1) % s->capacity;
    }
    s->count += s->slots[i] == 0;
    s->slots[i] = number;
}

static void grow(set *s) {
    set larger = {NULL, s->capacity == 0 ? 64 : 2 * s->capacity, 0};
    larger.slots = MT_NEW_ARRAY(uint32_t, larger.capacity);
    for (size_t i = 0; i < s->capacity; i++) {
        if (s->slots[i] != 0) {
            put(&larger, s->slots[i]);
        }
    }
    MT_FREE(s->slots);
    *s = larger;
}

static void add(set *s, uint32_t number) {
    if (2 * (s->count + 1) > s->capacity) {
        grow(s);
    }
    put(s, number);
}

static void print_step(int step, size_t count) {
    static const char bar[] = "########################################";
    mtrace_traced_memory memory = mtrace_get_traced_memory();
    printf("%4d %8zu %10" PRIu64 " %10" PRIu64 "  %.*s\n", step, count, memory.current, memory.peak,
           (int)(memory.peak / 1024), bar);
    mtrace_reset_peak();
}

int main(void) {
    set squares = {NULL, 0, 0};
    uint32_t number = 1;
    mtrace_start(NULL);
    printf("%4s %8s %10s %10s  %s\n", "STEP", "NUMBERS", "HELD", "PEAK", "PEAK, # a KiB");
    for (int step = 1; step <= 10; step++) {
        for (int i = 0; i < 200; i++, number++) {
            add(&squares, number * number);
        }
        print_step(step, squares.count);
    }
    MT_FREE(squares.slots);
    mtrace_stop();
    return 0;
}

/* A peak for each phase. With mtrace_reset_peak() between them, a large early phase does not hide
   the peak of a later one. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <stdio.h>

enum { WIDTH = 512, HEIGHT = 512, TILE = 32, TILES = WIDTH / TILE * (HEIGHT / TILE) };

/* The heights of a landscape, made of three layers. */
static uint16_t *raise(void) {
    uint16_t *heights = MT_NEW_ARRAY(uint16_t, WIDTH * HEIGHT);
    for (unsigned layer = 1; layer <= 3; layer++) {
        uint32_t *noise = MT_NEW_ARRAY(uint32_t, WIDTH * HEIGHT);
        for (unsigned i = 0; i < WIDTH * HEIGHT; i++) {
            noise[i] = i * layer * 2654435761u >> 20;
            heights[i] = (uint16_t)(heights[i] + noise[i] / layer);
        }
        MT_FREE(noise);
    }
    return heights;
}

/* The highest point of each tile. The landscape is no longer needed. */
static uint16_t *survey(uint16_t *heights) {
    uint16_t *highest = MT_NEW_ARRAY(uint16_t, TILES);
    for (size_t i = 0; i < WIDTH * HEIGHT; i++) {
        uint16_t *tile = &highest[i / WIDTH / TILE * (WIDTH / TILE) + i % WIDTH / TILE];
        *tile = heights[i] > *tile ? heights[i] : *tile;
    }
    MT_FREE(heights);
    return highest;
}

static uint8_t *paint(const uint16_t *highest) {
    uint8_t *map = MT_MALLOC(TILES * 3);
    for (size_t i = 0; i < TILES * 3; i++) {
        map[i] = (uint8_t)(highest[i / 3] >> 5);
    }
    return map;
}

static void end_phase(const char *name) {
    mtrace_traced_memory memory = mtrace_get_traced_memory();
    printf("%-8s %6.1f KiB %6.1f KiB\n", name, (double)memory.current / 1024,
           (double)memory.peak / 1024);
    mtrace_reset_peak(); /* the next phase begins with what is held now */
}

int main(void) {
    mtrace_start(NULL);
    printf("%-8s %10s %10s\n", "PHASE", "HELD", "PEAK");
    uint16_t *heights = raise();
    end_phase("raise");
    uint16_t *highest = survey(heights);
    end_phase("survey");
    uint8_t *map = paint(highest);
    end_phase("paint");
    MT_FREE(map);
    MT_FREE(highest);
    mtrace_stop();
    return 0;
}

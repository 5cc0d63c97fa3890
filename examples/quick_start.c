/* Start, allocate at a few lines, print the lines that hold the memory, stop. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

typedef struct enemy {
    float x, y;
    int health;
} enemy;

int main(void) {
    mtrace_start(NULL);

    char *title = MT_STRDUP("Level 1");
    enemy *enemies = MT_NEW_ARRAY(enemy, 500);
    void *texture = MT_MALLOC(64 * 1024);
    texture = MT_REALLOC(texture, 256 * 1024);

    mtrace_print_top(10);

    MT_FREE(texture);
    MT_FREE(enemies);
    MT_FREE(title);
    mtrace_stop();
    return 0;
}

/* A library that is loaded and unloaded: SIZE bytes of a line of its own. */
#include <stdlib.h>

void *allocate(void);
void *allocate(void) {
    void *block = malloc(SIZE);
    __asm__ volatile("" : "+r"(block)); /* no jump at the end */
    return block;
}

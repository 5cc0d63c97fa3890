/* A program where all call malloc through one function, from 256 places by turns. */

#include <stdlib.h>

__attribute__((noinline)) static void *allocate(size_t size) {
    void *block = malloc(size);
    if (block == NULL) {
        abort();
    }
    return block;
}

/* Each is a function, and ends in a declaration that asks for the semicolon. */
#define CALL(n)                                                                                    \
    __attribute__((noinline)) static void call_##n(void) {                                         \
        free(allocate(16));                                                                        \
    }                                                                                              \
    struct call_##n
#define CALL_4(n)                                                                                  \
    CALL(n##0);                                                                                    \
    CALL(n##1);                                                                                    \
    CALL(n##2);                                                                                    \
    CALL(n##3)
#define CALL_16(n)                                                                                 \
    CALL_4(n##0);                                                                                  \
    CALL_4(n##1);                                                                                  \
    CALL_4(n##2);                                                                                  \
    CALL_4(n##3)
#define CALL_64(n)                                                                                 \
    CALL_16(n##0);                                                                                 \
    CALL_16(n##1);                                                                                 \
    CALL_16(n##2);                                                                                 \
    CALL_16(n##3)
CALL_64(0);
CALL_64(1);
CALL_64(2);
CALL_64(3);

#define NAME_4(n)  call_##n##0, call_##n##1, call_##n##2, call_##n##3
#define NAME_16(n) NAME_4(n##0), NAME_4(n##1), NAME_4(n##2), NAME_4(n##3)
#define NAME_64(n) NAME_16(n##0), NAME_16(n##1), NAME_16(n##2), NAME_16(n##3)
static void (*const calls[])(void) = {NAME_64(0), NAME_64(1), NAME_64(2), NAME_64(3)};

int main(void) {
    int round;
    for (round = 0; round < 100; round++) {
        size_t i;
        for (i = 0; i < sizeof calls / sizeof *calls; i++) {
            calls[i]();
        }
    }
    return 0;
}

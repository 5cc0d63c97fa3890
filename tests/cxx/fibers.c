/* Two fibers of ucontext.h on one thread, each inside of a scope of its own. */

#define _XOPEN_SOURCE 700
#include <assert.h>
#include <string.h>
#include <ucontext.h>

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

enum { FIBERS = 2 };

static ucontext_t scheduler, fibers[FIBERS];
static mtrace_scope scopes[FIBERS];
static int running;
static char stacks[FIBERS][1 << 16];
static void *blocks[FIBERS][2];

static void yield(void) {
    int self = running;
    scopes[self] = mtrace_scope_save();
    swapcontext(&fibers[self], &scheduler);
    mtrace_scope_restore(scopes[self]);
}

static void work(int self) {
    blocks[self][0] = MT_MALLOC(8);
    yield();
    blocks[self][1] = MT_MALLOC(8);
    yield();
}

static void first(void) {
    MT_SCOPE_NAMED("first fiber");
    work(0);
}

static void second(void) {
    MT_SCOPE_NAMED("second fiber");
    work(1);
}

static const char *outermost(void *block) {
    mtrace_frame frames[4];
    mtrace_block found;
    mtrace_result result = mtrace_find_tracked(&found, 0, (uintptr_t)block, frames, 4);
    return result == MTRACE_OK ? found.traceback.frames[0].function : "not found";
}

int main(void) {
    static void (*const starts[FIBERS])(void) = {first, second};
    mtrace_desc desc = {.frames = 4};
    int turn, i;
    if (mtrace_start(&desc) != MTRACE_OK) {
        return 1;
    }
    for (i = 0; i < FIBERS; i++) {
        getcontext(&fibers[i]);
        fibers[i].uc_stack.ss_sp = stacks[i];
        fibers[i].uc_stack.ss_size = sizeof stacks[i];
        fibers[i].uc_link = &scheduler;
        makecontext(&fibers[i], starts[i], 0);
    }
    for (turn = 0; turn < 6; turn++) { /* by turns; the last two let the fibers end */
        running = turn % FIBERS;
        mtrace_scope_restore(scopes[running]);
        swapcontext(&scheduler, &fibers[running]);
        mtrace_scope_restore((mtrace_scope){0, 0, 0});
    }
    for (i = 0; i < 2; i++) {
        if (strcmp(outermost(blocks[0][i]), "first fiber") != 0 ||
            strcmp(outermost(blocks[1][i]), "second fiber") != 0) {
            return 2;
        }
    }
    return 0;
}

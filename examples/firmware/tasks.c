/* Two tasks on a Cortex-M3 (mps2-an385), each on its own stack, switched by the timer interrupt at
   any instruction. It shows the hooks that a scheduler needs: a lock that keeps interrupts off,
   each task's own scope, a domain for each task's total, and an allocator without calloc and
   realloc. tasks.sh builds and runs it. Exit status 0: all checks hold. */

#include "board.h"
#include "boards/cortex_m.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct timer {
    volatile uint32_t control, reload, value;
} timer;

#define SYSTICK ((timer *)0xE000E010)
#define UART0   ((volatile uint32_t *)0x40004000)

/* ------------------------------------------------------------------------------------ the hooks */

enum { MAIN, GUI, NET, TASKS };

typedef struct task {
    uint32_t *stack; /* of a task that does not run: its registers */
    struct mtrace_scope *scope;
    volatile bool is_done;
} task;

static task tasks[TASKS];
static task *running = &tasks[MAIN];
static uint32_t longest; /* ticks of 40 ns that the lock was held; tasks.sh: of 1.25 instructions */

static void lock(uint32_t *state, uint32_t *since) {
    *state = board_disable_interrupts();
    *since = SYSTICK->value;
}

static void unlock(uint32_t state, uint32_t since) {
    uint32_t now = SYSTICK->value,
             held = since >= now ? since - now : since + SYSTICK->reload - now;
    longest = held > longest ? held : longest;
    board_restore_interrupts(state);
}

/* What the lock keeps: if interrupts were on, and here when it was taken. */
typedef struct lock_state {
    uint32_t interrupts, since;
} lock_state;

/* newlib's own refuses if the stack is below the heap, and these stacks are. */
void *_sbrk(ptrdiff_t size);
void *_sbrk(ptrdiff_t size) {
    static char heap[8192] __attribute__((aligned(8)));
    static size_t used;
    if (size < 0 || (size_t)size > sizeof heap - used) {
        return (void *)-1;
    }
    used += (size_t)size;
    return heap + used - (size_t)size;
}

static void *heap_malloc(size_t size) {
    uint32_t state = board_disable_interrupts();
    void *block = malloc(size);
    board_restore_interrupts(state);
    return block;
}

static void heap_free(void *block) {
    uint32_t state = board_disable_interrupts();
    free(block);
    board_restore_interrupts(state);
}

#define MTRACE_LOCK_STATE        lock_state
#define MTRACE_LOCK(state)       lock(&(state).interrupts, &(state).since)
#define MTRACE_UNLOCK(state)     unlock((state).interrupts, (state).since)
#define MTRACE_CONTEXT()         (running->scope) /* NULL: main has none */
#define MTRACE_BASE_MALLOC(size) heap_malloc(size)
#define MTRACE_BASE_FREE(block)  heap_free(block)
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

/* ----------------------------------------------------------------------------------- the switch */

__attribute__((used)) static uint32_t *next_task(uint32_t *stack) {
    running->stack = stack;
    running = running == &tasks[TASKS - 1] ? tasks : running + 1;
    return running->stack;
}

/* The processor has put r0 to r3, r12, lr, pc and psr on the task's stack; the rest follows. */
__attribute__((naked)) void SysTick_Handler(void) {
    __asm__ volatile("mrs r0, psp\n\t"
                     "stmdb r0!, {r4-r11}\n\t"
                     "push {r4, lr}\n\t"
                     "bl next_task\n\t"
                     "pop {r4, lr}\n\t"
                     "ldmia r0!, {r4-r11}\n\t"
                     "msr psp, r0\n\t"
                     "bx lr");
}

static uint32_t handler_stack[256], stacks[TASKS][512];

static void add_task(int number, void (*code)(void), struct mtrace_scope *scope) {
    uint32_t *top = stacks[number] + 512 - 16;
    top[8 + 6] = (uint32_t)(uintptr_t)code;
    top[8 + 7] = 1u << 24; /* Thumb */
    tasks[number].stack = top;
    tasks[number].scope = scope;
}

/* main goes on as a task, on the stack that it has. Interrupts get another one. */
static void start_tasks(void) {
    __asm__ volatile("mrs r0, msp\n\t"
                     "msr psp, r0\n\t"
                     "movs r0, #2\n\t"
                     "msr control, r0\n\t"
                     "isb\n\t"
                     "msr msp, %0"
                     :
                     : "r"(handler_stack + 256)
                     : "r0", "memory");
    SYSTICK->reload = 4999;
    SYSTICK->value = 0;
    SYSTICK->control = 7;
}

/* ------------------------------------------------------------------------------------ the tasks */

enum { ROUNDS = 2000 };

static void work(task *self, uint32_t domain, size_t size) {
    MT_SCOPE_IN(domain); /* until the task returns: all that it allocates counts there */
    char *list = MT_CALLOC(1, size);
    for (int i = 0; i < ROUNDS; i++) {
        void *block = MT_MALLOC(size);
        list = MT_REALLOC(list, size + (size_t)i % 100);
        MT_FREE(block);
    }
    list = MT_REALLOC(list, size);
    self->is_done = true;
    for (;;) {
    }
}

static void gui(void) {
    work(&tasks[GUI], GUI, 100);
}

static void net(void) {
    work(&tasks[NET], NET, 40);
}

/* ---------------------------------------------------------------------------------- the program */

void board_write(const char *text, size_t length, void *user) {
    (void)user;
    for (size_t i = 0; i < length; i++) {
        while (UART0[1] & 1) {
        }
        UART0[0] = (unsigned char)text[i];
    }
}

static unsigned char tracer_memory[8 * 1024], snapshot_memory[3072], rows_memory[3072];

static bool report(void) {
    mtrace_buffer snapshot_room = {snapshot_memory, sizeof snapshot_memory};
    mtrace_buffer rows_room = {rows_memory, sizeof rows_memory};
    mtrace_snapshot *snapshot;
    mtrace_rows *rows;
    if (mtrace_snapshot_take(&snapshot, false, &snapshot_room) != MTRACE_OK ||
        mtrace_snapshot_statistics(&rows, snapshot, MTRACE_BY_DOMAIN, &rows_room) != MTRACE_OK ||
        mtrace_report(rows, NULL) != MTRACE_OK) {
        return false;
    }
    return rows->count == 2 && rows->rows[0].domain == GUI && rows->rows[0].size == 100 &&
           rows->rows[0].total_count == 2 * ROUNDS + 2 && rows->rows[1].domain == NET &&
           rows->rows[1].size == 40 && rows->rows[1].total_count == 2 * ROUNDS + 2;
}

static bool lock_was_short(void) {
    unsigned instructions = (unsigned)(longest * 40 / 32);
    char text[64];
    snprintf(text, sizeof text, "the lock was held for %u instructions at most", instructions);
    board_print_line(text);
    return instructions > 0 && instructions <= 2000;
}

int main(void) {
    static mtrace_scope scopes[TASKS];
    mtrace_desc desc = {0};
    mtrace_info info;
    bool all_well;
    UART0[4] = 16;
    UART0[2] = 1;
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    desc.borrow_names = true;
    desc.write = board_write;
    if (mtrace_start(&desc) != MTRACE_OK) {
        return 2;
    }
    mtrace_name_domain(GUI, "gui");
    mtrace_name_domain(NET, "net");
    add_task(GUI, gui, &scopes[GUI]);
    add_task(NET, net, &scopes[NET]);
    start_tasks();
    while (!tasks[GUI].is_done || !tasks[NET].is_done) {
        (void)mtrace_get_info(); /* looks at every row while the tasks go on */
    }
    all_well = report();
    info = mtrace_get_info();
    all_well = all_well && mtrace_check() == NULL && info.foreign_frees == 0 &&
               info.stale_replaced == 0 && info.dropped_count == 0;
    SYSTICK->control = 0;
    all_well = lock_was_short() && all_well;
    board_print_line(all_well ? "all checks hold" : "some checks FAILED");
    return all_well ? 0 : 7;
}

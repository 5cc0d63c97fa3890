/* A game on a microcontroller: no operating system, 64 KiB of RAM, reports through a serial port.
   The tracer uses a static block, and its snapshots and statistics use others. The timer interrupt
   may call it, because its lock disables interrupts. Exit status 0: all checks hold. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------ the tracer's lock: PRIMASK */

static uint32_t lock_primask; /* both are used with interrupts off only */
static uint32_t lock_depth;

static void lock(void) {
    uint32_t primask;
    __asm__ volatile("mrs %0, primask\n\tcpsid i" : "=r"(primask) : : "memory");
    if (lock_depth++ == 0) {
        lock_primask = primask;
    }
}

static void unlock(void) {
    if (--lock_depth == 0) {
        __asm__ volatile("msr primask, %0" : : "r"(lock_primask) : "memory");
    }
}

#define MTRACE_LOCK()   lock()
#define MTRACE_UNLOCK() unlock()
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

/* -------------------------------------------------------------------------------- the machine */

typedef struct uart {
    volatile uint32_t data, state, control, interrupt, divider;
} uart;

typedef struct timer {
    volatile uint32_t control, reload, value;
} timer;

#define UART0   ((uart *)0x40004000)
#define SYSTICK ((timer *)0xE000E010)

enum { UART_ENABLE_TX = 1, UART_TX_FULL = 1, TIMER_ON = 7 };

static void uart_write(const char *text, size_t length, void *user) {
    uart *port = user;
    for (size_t i = 0; i < length; i++) {
        while (port->state & UART_TX_FULL) {
        }
        port->data = (unsigned char)text[i];
    }
}

/* --------------------------------------------------------------------------------- the levels */

enum { MAX_SPRITES = 8, SPRITE_BYTES = 16 * 16 };

typedef struct level {
    uint16_t *map;
    uint8_t *sprites[MAX_SPRITES];
    size_t sprite_count;
    char *hint;
} level;

static const struct {
    size_t width, height, sprite_count;
    const char *hint;
} plans[] = {{40, 12, 6, "Jump over the snakes"}, {100, 12, 3, "Mind the gap"}};

enum { LEAK_LINE = __LINE__ + 8 };

static void load_level(level *l, size_t number) {
    l->map = MT_NEW_ARRAY(uint16_t, plans[number].width * plans[number].height);
    l->sprite_count = plans[number].sprite_count;
    for (size_t i = 0; i < l->sprite_count; i++) {
        l->sprites[i] = MT_MALLOC(SPRITE_BYTES);
    }
    l->hint = MT_STRDUP(plans[number].hint); /* the leak: unload_level forgets it */
}

static void unload_level(level *l) {
    for (size_t i = 0; i < l->sprite_count; i++) {
        MT_FREE(l->sprites[i]);
    }
    MT_FREE(l->map);
}

/* ---------------------------------------------- packets: the interrupt takes them from a pool */

enum { HEAP = 0, PACKETS = 1 }; /* domains */

typedef struct packet {
    volatile bool used;
    uint8_t bytes[64];
} packet;

static packet packets[4];
static volatile uint32_t packets_received;

void SysTick_Handler(void);
void SysTick_Handler(void) {
    for (size_t i = 0; i < sizeof packets / sizeof *packets; i++) {
        if (!packets[i].used) {
            MT_TRACK(PACKETS, &packets[i], sizeof packets[i].bytes);
            packets[i].used = true;
            packets_received++;
            return;
        }
    }
}

static void release_packets(void) {
    for (size_t i = 0; i < sizeof packets / sizeof *packets; i++) {
        if (packets[i].used) {
            MT_UNTRACK(PACKETS, &packets[i]);
            packets[i].used = false;
        }
    }
}

/* Allocates and frees while packets come in, then waits until the pool is full. */
static void play(void) {
    SYSTICK->reload = 999;
    SYSTICK->value = 0;
    SYSTICK->control = TIMER_ON;
    while (packets_received < 2000) {
        void *bullet = MT_MALLOC(24);
        release_packets();
        MT_FREE(bullet);
    }
    while (!packets[0].used || !packets[1].used || !packets[2].used || !packets[3].used) {
    }
    SYSTICK->control = 0;
}

/* --------------------------------------------------------------------------------- the program */

static unsigned char tracer_memory[16 * 1024];
static unsigned char before_memory[2 * 1024], level1_memory[2 * 1024], now_memory[2 * 1024];
static unsigned char statistics_memory[4 * 1024];

static mtrace_buffer before_room = {before_memory, sizeof before_memory};
static mtrace_buffer level1_room = {level1_memory, sizeof level1_memory};
static mtrace_buffer now_room = {now_memory, sizeof now_memory};
static mtrace_buffer statistics_room = {statistics_memory, sizeof statistics_memory};

static bool all_well = true;

static void check(bool condition, const char *what) {
    if (!condition) {
        mtrace_write_message(what);
        all_well = false;
    }
}

static mtrace_snapshot *take_snapshot(mtrace_buffer *room) {
    mtrace_snapshot *snapshot;
    check(mtrace_snapshot_take(&snapshot, false, room) == MTRACE_OK, "FAILED: snapshot");
    return snapshot;
}

/* The rows of `snapshot`, or its changes since `old`. Valid until the next call. */
static const mtrace_rows *ask(const mtrace_snapshot *snapshot, const mtrace_snapshot *old,
                              mtrace_key_type key, mtrace_style style) {
    mtrace_rows *answer;
    mtrace_report_desc report = {.style = style};
    mtrace_result result =
        old == NULL ? mtrace_snapshot_statistics(&answer, snapshot, key, &statistics_room)
                    : mtrace_snapshot_compare_to(&answer, snapshot, old, key, &statistics_room);
    check(result == MTRACE_OK, mtrace_result_text(result));
    check(mtrace_report(answer, &report) == MTRACE_OK, "FAILED: report");
    return answer;
}

int main(void) {
    UART0->divider = 16;
    UART0->control = UART_ENABLE_TX;

    mtrace_desc desc = {0};
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    desc.borrow_names = true; /* they are in flash, so no copy is needed */
    desc.write = uart_write;
    desc.write_user = UART0;
    if (mtrace_start(&desc) != MTRACE_OK) {
        return 2;
    }

    level now;
    const mtrace_rows *answer;
    mtrace_snapshot *before = take_snapshot(&before_room);

    load_level(&now, 0);
    mtrace_snapshot *level1 = take_snapshot(&level1_room);
    mtrace_write_message("== Level 1 is loaded");
    answer = ask(level1, NULL, MTRACE_BY_LINE, MTRACE_STYLE_TABLE);
    check(answer->total.size == 40 * 12 * 2 + 6 * SPRITE_BYTES + 21, "FAILED: bytes of level 1");
    check(answer->total.count == 1 + 6 + 1, "FAILED: blocks of level 1");

    unload_level(&now);
    mtrace_write_message("== Level 1 was unloaded");
    answer = ask(take_snapshot(&now_room), before, MTRACE_BY_LINE, MTRACE_STYLE_WARNINGS);
    check(answer->rows[0].line == LEAK_LINE, "FAILED: line of the leak");
    check(answer->rows[0].size_diff == 21 && answer->rows[0].count_diff == 1, "FAILED: its size");
    check(answer->total.size_diff == 21, "FAILED: another leak");

    load_level(&now, 1);
    mtrace_write_message("== Level 2 is loaded: what changed since level 1");
    answer = ask(take_snapshot(&now_room), level1, MTRACE_BY_LINE, MTRACE_STYLE_TABLE);
    check(answer->rows[0].size_diff == (100 - 40) * 12 * 2, "FAILED: growth of the map");
    check(answer->rows[1].count_diff == 3 - 6, "FAILED: sprites fewer");

    unload_level(&now);
    play();
    mtrace_write_message("== Packets came in by interrupt: what each domain holds");
    answer = ask(take_snapshot(&now_room), NULL, MTRACE_BY_DOMAIN, MTRACE_STYLE_TABLE);
    check(answer->rows[0].domain == PACKETS && answer->rows[0].size == 4 * 64 &&
              answer->rows[0].total_count == packets_received,
          "FAILED: the packets");
    check(answer->rows[1].domain == HEAP && answer->rows[1].count == 2, "FAILED: the heap");
    release_packets();
    check(mtrace_get_traced_memory().current == 21 + 13, "FAILED: more is held than the leaks");

    mtrace_info info = mtrace_get_info();
    check(info.dropped_count == 0 && info.foreign_frees == 0 && info.lost_sites == 0,
          "FAILED: something was not traced");
    check(mtrace_check() == NULL, "FAILED: mtrace_check");
    mtrace_write_message(all_well ? "all checks hold" : "some checks FAILED");
    mtrace_stop();
    return all_well ? 0 : 7;
}

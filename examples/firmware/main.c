/* A game on a microcontroller with 16 KiB of RAM and no operating system. Reports go through a
   serial port, a snapshot to a file of the host. The tracer uses a static block, and its snapshots
   and statistics use others. The timer interrupt may call it, because its lock disables interrupts.
   boards/ has the rest of the machine. Exit status 0: all checks hold. */

#include "board.h"

#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

/* The tracer's lock: interrupts off, and back to what they were. */
#define MTRACE_LOCK_STATE       uint32_t
#define MTRACE_LOCK(state)      ((state) = board_disable_interrupts())
#define MTRACE_UNLOCK(state)    board_restore_interrupts(state)
#define MTRACE_MAX_DOMAIN_NAMES 2
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h" /* of its chapters only the one for files */

#include "snapshot_text.h"

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

void timer_interrupt(void) {
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

typedef struct bullet {
    float x, speed;
} bullet;

/* Shoots while packets come in, then waits until the pool is full. Returns how far a bullet flew on
   average. */
static float play(void) {
    float way = 0, shots = 0;
    board_start_timer();
    while (packets_received < 2000) {
        bullet *b = MT_NEW(bullet);
        b->x = 1;
        b->speed = 1.5f;
        release_packets();
        b->x += b->speed;
        way += b->x;
        shots++;
        MT_FREE(b);
    }
    while (!packets[0].used || !packets[1].used || !packets[2].used || !packets[3].used) {
    }
    board_stop_timer();
    return way / shots;
}

/* --------------------------------------------------------------------------------- the program */

static unsigned char tracer_memory[3 * 1024];
static unsigned char before_memory[768], level1_memory[1408], now_memory[1920];
static unsigned char statistics_memory[2 * 1024];

static mtrace_buffer before_room = {before_memory, sizeof before_memory};
static mtrace_buffer level1_room = {level1_memory, sizeof level1_memory};
static mtrace_buffer now_room = {now_memory, sizeof now_memory};
static mtrace_buffer statistics_room = {statistics_memory, sizeof statistics_memory};

static bool all_well = true;

static void check(bool condition, const char *what) {
    if (!condition) {
        board_print_line(what);
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

/* Adds to a file of the host, and says by -1 if that fails. */
static void write_file(const char *bytes, size_t length, void *user) {
    int *file = user;
    if (*file >= 0 && write(*file, bytes, length) != (ssize_t)length) {
        *file = -1;
    }
}

static void send_snapshot(mtrace_snapshot *snapshot) {
    int file = open("firmware.mtrace", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    mtrace_result result = mtrace_snapshot_dump_to(snapshot, write_file, &file);
    check(result == MTRACE_OK, mtrace_result_text(result));
    check(file >= 0 && close(file) == 0, "FAILED: the file on the host");
}

int main(void) {
    board_start();

    mtrace_desc desc = {0};
    desc.memory = tracer_memory;
    desc.memory_size = sizeof tracer_memory;
    desc.borrow_names = true; /* they are in flash, so no copy is needed */
    desc.write = board_write;
    if (mtrace_start(&desc) != MTRACE_OK) {
        return 2;
    }
    mtrace_name_domain(PACKETS, "packets");

    level now = {0};
    const mtrace_rows *answer;
    mtrace_snapshot *before = take_snapshot(&before_room);

    /* With no memory but the tracer's: the baseline, growth since then, the top list. */
    check(mtrace_set_baseline() == MTRACE_OK, "FAILED: baseline");
    MT_ASSERT_NO_GROWTH(NULL, 0);
    load_level(&now, 0);
    board_print_line("== Level 1 is loaded: the top lines, straight from the counters");
    check(mtrace_print_top(2) == MTRACE_OK, "FAILED: top lines");
    check(mtrace_growth(NULL, 0, NULL, 0) == 40 * 12 * 2 + 6 * SPRITE_BYTES + 21,
          "FAILED: growth since the baseline");

    mtrace_snapshot *level1 = take_snapshot(&level1_room);
    board_print_line("== Level 1 is loaded");
    answer = ask(level1, NULL, MTRACE_BY_LINE, MTRACE_STYLE_TABLE);
    check(answer->total.size == 40 * 12 * 2 + 6 * SPRITE_BYTES + 21, "FAILED: bytes of level 1");
    check(answer->total.count == 1 + 6 + 1, "FAILED: blocks of level 1");

    unload_level(&now);
    board_print_line("== Level 1 was unloaded");
    answer = ask(take_snapshot(&now_room), before, MTRACE_BY_LINE, MTRACE_STYLE_WARNINGS);
    check(answer->rows[0].line == LEAK_LINE, "FAILED: line of the leak");
    check(answer->rows[0].size_diff == 21 && answer->rows[0].count_diff == 1, "FAILED: its size");
    check(answer->total.size_diff == 21, "FAILED: another leak");

    load_level(&now, 1);
    board_print_line("== Level 2 is loaded: what changed since level 1");
    answer = ask(take_snapshot(&now_room), level1, MTRACE_BY_LINE, MTRACE_STYLE_TABLE);
    check(answer->rows[0].size_diff == (100 - 40) * 12 * 2, "FAILED: growth of the map");
    check(answer->rows[1].count_diff == 3 - 6, "FAILED: sprites fewer");

    unload_level(&now);
    check(play() == 2.5f, "FAILED: the bullets' way");
    board_print_line("== Packets came in by interrupt: what each domain holds");
    mtrace_snapshot *end = take_snapshot(&now_room);
    answer = ask(end, NULL, MTRACE_BY_DOMAIN, MTRACE_STYLE_TABLE);
    check(answer->rows[0].domain == PACKETS && answer->rows[0].size == 4 * 64 &&
              answer->rows[0].total_count == packets_received,
          "FAILED: the packets");
    check(answer->rows[1].domain == HEAP && answer->rows[1].count == 2, "FAILED: the heap");

    board_print_line("== The snapshot, which the host gets as a file");
    check(print_snapshot(end, &statistics_room) == MTRACE_OK, "FAILED: its tables");
    board_print_line("== End of the snapshot");
    send_snapshot(end);

    release_packets();
    check(mtrace_get_traced_memory().current == 21 + 13, "FAILED: more is held than the leaks");

    mtrace_info info = mtrace_get_info();
    check(info.dropped_count == 0 && info.foreign_frees == 0 && info.lost_sites == 0,
          "FAILED: something was not traced");
    check(mtrace_check() == NULL, "FAILED: mtrace_check");
    board_print_line(all_well ? "all checks hold" : "some checks FAILED");
    mtrace_stop();
    return all_well ? 0 : 7;
}

/* A debug console over the serial port of the mps2-an385 (Cortex-M3). One types mtrace's commands,
   and `load`, `unload` and `quit`, which are the firmware's own. Backspace and TAB work. console.sh
   builds and runs it. */

#include "board.h"

#include <stdbool.h>
#include <string.h>

#define MTRACE_LOCK_STATE       uint32_t
#define MTRACE_LOCK(state)      ((state) = board_disable_interrupts())
#define MTRACE_UNLOCK(state)    board_restore_interrupts(state)
#define MTRACE_MAX_DOMAIN_NAMES 2
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h" /* of its chapters only the one for commands */

/* -------------------------------------------------------------------------------- the firmware */

enum { HEAP = 0, SPRITES = 1 }; /* domains */
enum { MAX_SPRITES = 4 };

static uint16_t *map;
static uint8_t *sprites[MAX_SPRITES];

void timer_interrupt(void) {} /* nothing starts the timer */

static void unload(void) {
    MT_FREE(map);
    map = NULL;
    for (size_t i = 1; i < MAX_SPRITES; i++) { /* the leak: the first one stays */
        MT_FREE(sprites[i]);
        sprites[i] = NULL;
    }
}

static void load(void) {
    unload();
    map = MT_NEW_ARRAY(uint16_t, 480);
    for (size_t i = 0; i < MAX_SPRITES; i++) {
        sprites[i] = MT_MALLOC_IN(SPRITES, 256);
    }
}

/* --------------------------------------------------------------------------------- the console */

enum { LINE = 80, BACKSPACE = 8, DELETE = 127 };

/* Terminals want a return before a newline. */
static void write_lines(const char *text, size_t length, void *user) {
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n') {
            board_write("\r", 1, user);
        }
        board_write(&text[i], 1, user);
    }
}

static void put(const char *text) {
    write_lines(text, strlen(text), NULL);
}

/* What is being typed. */
typedef struct input {
    char line[LINE];
    size_t length;
} input;

static void add(input *in, char c) {
    if (in->length + 1 < LINE) {
        in->line[in->length++] = c;
        board_write(&c, 1, NULL);
    }
}

/* TAB: the one word that fits, or a list of all that do. */
static void complete(input *in) {
    size_t start;
    const char *word = mtrace_command_complete(in->line, in->length, &start, 0);
    if (word == NULL) {
        return;
    }
    if (mtrace_command_complete(in->line, in->length, &start, 1) == NULL) {
        for (word += in->length - start; *word != '\0'; word++) {
            add(in, *word);
        }
        add(in, ' ');
        return;
    }
    for (size_t i = 1; word != NULL; i++) {
        put(i == 1 ? "\n" : " ");
        put(word);
        word = mtrace_command_complete(in->line, in->length, &start, i);
    }
    put("\n> ");
    board_write(in->line, in->length, NULL);
}

static void read_line(input *in) {
    in->length = 0;
    put("> ");
    for (;;) {
        char c = board_read();
        if (c == '\r' || c == '\n') {
            in->line[in->length] = '\0';
            put("\n");
            return;
        }
        if (c == '\t') {
            complete(in);
        } else if (c != BACKSPACE && c != DELETE) {
            add(in, c);
        } else if (in->length > 0) {
            in->length--;
            put("\b \b");
        }
    }
}

int main(void) {
    static unsigned char memory[4096];
    static input in;
    mtrace_desc desc = {0};
    board_start();
    desc.memory = memory;
    desc.memory_size = sizeof memory;
    desc.borrow_names = true; /* they are in flash */
    desc.write = write_lines;
    if (mtrace_start(&desc) != MTRACE_OK) {
        return 2;
    }
    mtrace_name_domain(SPRITES, "sprites");
    for (read_line(&in); strcmp(in.line, "quit") != 0; read_line(&in)) {
        if (strcmp(in.line, "load") == 0) {
            load();
        } else if (strcmp(in.line, "unload") == 0) {
            unload();
        } else {
            mtrace_command(in.line, NULL, NULL);
        }
    }
    return mtrace_check() == NULL ? 0 : 7;
}

/* A game's debug console, to type into. The arrow keys edit the line and bring back older ones, TAB
   completes words: that is libedit's work. `load N`, `unload` and `quit` are the game's own
   commands, all others are mtrace's. Type `help`.

       cc -std=c99 -DMTRACE -I. examples/console.c -o console -ledit -lpthread */

#define _POSIX_C_SOURCE 200809L /* strdup */
#define MTRACE_IMPLEMENTATION
#include "../mtrace_ext.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <editline/readline.h>

/* ------------------------------------------------------------------------------------ the game */

enum { HEAP = 0, TEXTURES = 1, SOUNDS = 2 }; /* domains */
enum { MAX_TEXTURES = 8 };

typedef struct level {
    unsigned char *map;
    unsigned char *textures[MAX_TEXTURES];
    short *music;
    char *title;
} level;

static void load_level(level *l, size_t number) {
    l->map = MT_MALLOC(4096 * number);
    for (size_t i = 0; i < MAX_TEXTURES; i++) {
        l->textures[i] = MT_MALLOC_IN(TEXTURES, 16 * 1024);
    }
    l->music = MT_NEW_ARRAY_IN(SOUNDS, short, 22050 * number);
    l->title = MT_STRDUP("The snake pit"); /* the leak: unload_level forgets it */
}

static void unload_level(level *l) {
    MT_FREE(l->map);
    for (size_t i = 0; i < MAX_TEXTURES; i++) {
        MT_FREE(l->textures[i]);
    }
    MT_FREE(l->music);
    memset(l, 0, sizeof *l);
}

/* --------------------------------------------------------------------------------- the console */

/* libedit asks for candidate 0, 1 and so on, and frees them. */
static char *candidate(const char *word, int index) {
    size_t start;
    const char *text =
        mtrace_command_complete(rl_line_buffer, (size_t)rl_point, &start, (size_t)index);
    (void)word;
    return text == NULL ? NULL : strdup(text);
}

static char **complete(const char *word, int start, int end) {
    (void)start;
    (void)end;
    rl_attempted_completion_over = 1; /* no names of files */
    return rl_completion_matches(word, candidate);
}

/* Returns false for `quit`. */
static bool carry_out(level *l, const char *line) {
    unsigned number;
    if (strcmp(line, "quit") == 0) {
        return false;
    }
    if (strcmp(line, "unload") == 0) {
        unload_level(l);
    } else if (sscanf(line, "load %u", &number) == 1 && number >= 1 && number <= 9) {
        unload_level(l);
        load_level(l, number);
    } else if (mtrace_command(line, mtrace_write_file, stdout) == MTRACE_ERR_COMPILED_OUT) {
        puts("built without mtrace");
    }
    return true;
}

int main(void) {
    level now = {0};
    char *line;
    bool goes_on = true;
    mtrace_start(NULL);
    mtrace_name_domain(TEXTURES, "textures");
    mtrace_name_domain(SOUNDS, "sounds");
    rl_attempted_completion_function = complete;
    using_history();
    puts("load 1 to 9, unload, quit; help for mtrace's commands");
    while (goes_on && (line = readline("game> ")) != NULL) {
        if (line[0] != '\0') {
            add_history(line);
        }
        goes_on = carry_out(&now, line);
        free(line);
    }
    unload_level(&now);
    mtrace_stop();
    return 0;
}

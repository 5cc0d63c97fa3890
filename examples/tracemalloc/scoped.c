/* Tracing that stops by itself: it is on during a block, and off on every way out of the block. GNU
   C's cleanup attribute works like a destructor in C++. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <stdio.h>
#include <string.h>

static const char *begin(const char *title) {
    mtrace_start(NULL);
    return title;
}

/* A stop drops all traces, so print the live memory first. */
static void end(const char *const *title) {
    printf("== %s\n", *title);
    mtrace_print_top(5);
    mtrace_stop();
}

#define TRACED(title) const char *const traced __attribute__((cleanup(end), unused)) = begin(title)

typedef struct setting {
    char name[16], value[48];
} setting;

/* The settings in lines of "name=value"; NULL when one has no "=". */
static setting *read_settings(const char *text, size_t *count) {
    TRACED(__func__);
    setting *settings = NULL;
    char *copy = MT_STRDUP(text);
    *count = 0;
    for (char *line = strtok(copy, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *equals = strchr(line, '=');
        if (equals == NULL) {
            MT_FREE(settings);
            return NULL; /* the leak: the copy is left behind */
        }
        settings = MT_REALLOCARRAY(settings, *count + 1, sizeof *settings);
        setting *s = &settings[(*count)++];
        snprintf(s->name, sizeof s->name, "%.*s", (int)(equals - line), line);
        snprintf(s->value, sizeof s->value, "%s", equals + 1);
    }
    MT_FREE(copy);
    return settings;
}

static void try_to_read(const char *text) {
    size_t count;
    setting *settings = read_settings(text, &count);
    if (settings == NULL) {
        puts("malformed");
    } else {
        printf("%zu settings\n", count);
    }
    printf("tracing: %s\n\n", mtrace_is_tracing() ? "yes" : "no");
    MT_FREE(settings);
}

int main(void) {
    try_to_read("host=localhost\nport=8080\nuser=ada");
    try_to_read("host=localhost\nport");
    return 0;
}

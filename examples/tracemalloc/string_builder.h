/* Text that grows. Its buffer doubles. For by_file.c, filters.c and compare.c. */

#ifndef STRING_BUILDER_H
#define STRING_BUILDER_H

#include "mtrace.h"

#include <string.h>

typedef struct string_builder {
    char *text; /* NULL: empty */
    size_t length, room;
} string_builder;

/* Returns false if there is no memory. The text stays unchanged then. */
static inline bool builder_add(string_builder *b, const char *text) {
    size_t length = strlen(text), room = b->room;
    while (room <= b->length + length) {
        room = room == 0 ? 64 : 2 * room;
    }
    if (room > b->room) {
        char *grown = MT_REALLOC(b->text, room);
        if (grown == NULL) {
            return false;
        }
        b->text = grown;
        b->room = room;
    }
    memcpy(b->text + b->length, text, length + 1);
    b->length += length;
    return true;
}

static inline void builder_free(string_builder *b) {
    MT_FREE(b->text);
    *b = (string_builder){NULL, 0, 0};
}

#endif

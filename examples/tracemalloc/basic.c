/* The first look: start, do some work, print the traced memory and the lines that hold it, find the
   owner of one block, stop. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct entry {
    char word[12];
    uint32_t count;
} entry;

typedef struct word_count {
    entry *entries;
    size_t size;
} word_count;

static void count_word(word_count *words, const char *word) {
    for (size_t i = 0; i < words->size; i++) {
        if (strcmp(words->entries[i].word, word) == 0) {
            words->entries[i].count++;
            return;
        }
    }
    words->entries = MT_REALLOCARRAY(words->entries, words->size + 1, sizeof(entry));
    entry *added = &words->entries[words->size++];
    snprintf(added->word, sizeof added->word, "%s", word);
    added->count = 1;
}

static word_count count_words(const char *text) {
    word_count words = {NULL, 0};
    char *copy = MT_STRDUP(text); /* strtok writes into it */
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        count_word(&words, word);
    }
    MT_FREE(copy);
    return words;
}

int main(void) {
    const char *text = "what is taken and never given back is a leak "
                       "and a leak is found by the line that took what is not given back";
    mtrace_start(NULL);
    word_count words = count_words(text);
    char *title = MT_STRDUP("Words of a sentence");

    mtrace_traced_memory memory = mtrace_get_traced_memory();
    printf("%zu words: %" PRIu64 " bytes held, %" PRIu64 " at the peak\n\n", words.size,
           memory.current, memory.peak);
    mtrace_print_top(10);

    mtrace_block block;
    if (mtrace_find(&block, words.entries) == MTRACE_OK) {
        printf("\nthe entries: %" PRIu64 " bytes, allocated in %s:%" PRIu32 "\n", block.size,
               block.file, block.line);
    }
    MT_FREE(title);
    MT_FREE(words.entries);
    mtrace_stop();
    return 0;
}

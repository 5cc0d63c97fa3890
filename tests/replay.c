/* mtrace-replay reads a script on standard input, one command on each line. It drives the library
   through its public calls and prints the results. docs/REPLAY.md describes the language.
   tests/differential.sh compares the results with CPython's. A bug report can be a script. */

#ifndef TEST_SHARED /* else the build links tests/support/implementation.c */
#define MTRACE_IMPLEMENTATION
#endif
#include "../mtrace_ext.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FRAMES = 65536, MAX_WORDS = 1024 };

static unsigned long line_number;
static char empty_line[1];

static void fail(const char *why, const char *what) {
    fprintf(stderr, "error: line %lu: %s%s%s\n", line_number, why, what[0] != '\0' ? ": " : "",
            what);
    exit(2);
}

static void check(mtrace_result result) {
    if (result != MTRACE_OK) {
        fail(mtrace_result_text(result), "");
    }
}

static void *checked(void *block) {
    if (block == NULL) {
        fail("out of memory", "");
    }
    return block;
}

/* --- words --- */

static uint64_t number(const char *word, uint64_t most) {
    uint64_t value = 0;
    const char *p;
    for (p = word; *p >= '0' && *p <= '9'; p++) {
        if (value > (most - (uint64_t)(*p - '0')) / 10) {
            fail("number too large", word);
        }
        value = value * 10 + (uint64_t)(*p - '0');
    }
    if (*p != '\0' || p == word) {
        fail("not a number", word);
    }
    return value;
}

static mtrace_key_type key_type(const char *key, const char *cumulative) {
    static const char *const names[] = {"lineno", "filename",   "function", "type",
                                        "domain", "size_class", "traceback"};
    mtrace_key_type i;
    uint64_t flag = number(cumulative, 1);
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(key, names[i]) == 0) {
            return flag != 0 ? i | MTRACE_KEY_CUMULATIVE : i;
        }
    }
    fail("unknown key", key);
    return 0;
}

/* --- tables that grow: blocks and snapshots by their names in the script --- */

typedef struct entry {
    char *name;
    void *value; /* a block, or a snapshot */
} entry;

typedef struct table {
    entry *entries;
    size_t count, slots;
} table;

static table blocks, snapshots;

static size_t slot_of(const table *t, const char *name) {
    size_t hash = 5381, i;
    for (i = 0; name[i] != '\0'; i++) {
        hash = hash * 33 + (unsigned char)name[i];
    }
    for (hash &= t->slots - 1; t->entries[hash].name != NULL; hash = (hash + 1) & (t->slots - 1)) {
        if (strcmp(t->entries[hash].name, name) == 0) {
            break;
        }
    }
    return hash;
}

static void grow(table *t) {
    table larger = {NULL, t->count, t->slots == 0 ? 64 : 2 * t->slots};
    size_t i;
    larger.entries = (entry *)checked(calloc(larger.slots, sizeof *larger.entries));
    for (i = 0; i < t->slots; i++) {
        if (t->entries[i].name != NULL) {
            larger.entries[slot_of(&larger, t->entries[i].name)] = t->entries[i];
        }
    }
    free(t->entries);
    *t = larger;
}

/* The entry of that name, made when it is new: its value is then NULL. */
static entry *put(table *t, const char *name) {
    entry *e;
    if (2 * t->count >= t->slots) {
        grow(t);
    }
    e = &t->entries[slot_of(t, name)];
    if (e->name == NULL) {
        size_t size = strlen(name) + 1;
        e->name = (char *)memcpy(checked(malloc(size)), name, size);
        t->count++;
    }
    return e;
}

static entry *get(table *t, const char *name) {
    entry *e = put(t, name);
    if (e->value == NULL) {
        fail("no such name", name);
    }
    return e;
}

/* --- frames --- */

static mtrace_site frames[MAX_FRAMES];

/* Cuts FRAMES into sites; how many. */
static size_t cut_frames(char *text) {
    size_t n = 0;
    char *next;
    for (; text != NULL; text = next) {
        char *colon;
        next = strchr(text, ';');
        if (next != NULL) {
            *next++ = '\0';
        }
        colon = strrchr(text, ':');
        if (colon == NULL || n == MAX_FRAMES) {
            fail("bad frames", text);
        }
        *colon = '\0';
        memset(&frames[n], 0, sizeof frames[n]);
        frames[n].file = text;
        frames[n].line = (uint32_t)number(colon + 1, UINT32_MAX);
        n++;
    }
    return n;
}

/* Enters a scope for each frame but the last, the call site. Returns the token that leaves them. */
static mtrace_scope enter(size_t n) {
    mtrace_scope outside = MTRACE_ZERO_, before;
    size_t i;
    for (i = 0; i + 1 < n; i++) {
        before = mtrace_scope_push_at(&frames[i]);
        outside = i == 0 ? before : outside;
    }
    return outside;
}

static void print_frames(const mtrace_traceback *t) {
    uint32_t i;
    for (i = 0; i < t->count; i++) {
        printf("%s%s:%u", i == 0 ? "" : ";", t->frames[i].file, (unsigned)t->frames[i].line);
    }
    putchar('\n');
}

/* --- commands: words[0] is the command, n the number of words --- */

static void do_start(char **words, size_t n) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.frames = (uint32_t)number(words[1], 65535);
    if (desc.frames == 0) {
        fail("the number of frames must be in range [1; 65535]", "");
    }
    desc.max_blocks = n > 2 ? ((size_t)number(words[2], (uint64_t)1 << 31) + 1) / 2 : 0;
    desc.max_sites = 65533;
    desc.max_scopes = 65533;
    desc.name_bytes = (size_t)1 << 22;
    if (!mtrace_is_tracing()) { /* else nothing happens, as in CPython */
        check(mtrace_start(&desc));
    }
}

static void do_stop(char **words, size_t n) {
    (void)words;
    (void)n;
    mtrace_stop();
}

static void do_pause(char **words, size_t n) {
    (void)words;
    (void)n;
    check(mtrace_pause());
}

static void do_resume(char **words, size_t n) {
    (void)words;
    (void)n;
    check(mtrace_resume());
}

static void do_clear(char **words, size_t n) {
    (void)words;
    (void)n;
    mtrace_clear();
}

static void do_reset_peak(char **words, size_t n) {
    (void)words;
    (void)n;
    mtrace_reset_peak();
}

static void do_alloc(char **words, size_t n) {
    entry *e;
    size_t size = (size_t)number(words[2], SIZE_MAX);
    uint32_t domain = (uint32_t)number(words[3], UINT32_MAX - 1);
    mtrace_scope before;
    (void)n;
    (void)number(words[1], UINT64_MAX);
    e = put(&blocks, words[1]);
    if (e->value != NULL) {
        fail("this block is live", words[1]);
    }
    n = cut_frames(words[4]);
    before = enter(n);
    e->value = checked(mtrace_malloc_in_at(domain, size, &frames[n - 1]));
    mtrace_scope_restore(before);
}

static void do_realloc(char **words, size_t n) {
    entry *e = get(&blocks, words[1]);
    size_t size = (size_t)number(words[2], SIZE_MAX);
    mtrace_scope before;
    n = cut_frames(words[3]);
    before = enter(n);
    if (size == 0) { /* realloc(p, 0) would free it; in the language the block lives on, empty */
        mtrace_block old;
        uint32_t domain = mtrace_find(&old, e->value) == MTRACE_OK ? old.domain : 0;
        mtrace_free_at(e->value, &frames[n - 1]);
        e->value = checked(mtrace_malloc_in_at(domain, 0, &frames[n - 1]));
    } else {
        e->value = checked(mtrace_realloc_at(e->value, size, &frames[n - 1]));
    }
    mtrace_scope_restore(before);
}

static void do_free(char **words, size_t n) {
    entry *e = get(&blocks, words[1]);
    (void)n;
    mtrace_free_at(e->value, NULL);
    e->value = NULL;
}

static void do_memory(char **words, size_t n) {
    mtrace_traced_memory memory = mtrace_get_traced_memory();
    (void)words;
    (void)n;
    printf("memory %llu %llu\n", (unsigned long long)memory.current,
           (unsigned long long)memory.peak);
}

static void do_traceback(char **words, size_t n) {
    static mtrace_frame kept[MAX_FRAMES];
    mtrace_block found;
    entry *e = get(&blocks, words[1]);
    (void)n;
    if (mtrace_find_tracked(&found, 0, (uintptr_t)e->value, kept, MAX_FRAMES) != MTRACE_OK) {
        puts("traceback none");
        return;
    }
    printf("traceback %u ", (unsigned)found.traceback.total);
    print_frames(&found.traceback);
}

static void name_snapshot(const char *name, mtrace_snapshot *snapshot) {
    entry *e = put(&snapshots, name);
    mtrace_snapshot_free((mtrace_snapshot *)e->value);
    e->value = snapshot;
}

static mtrace_snapshot *snapshot_of(const char *name) {
    return (mtrace_snapshot *)get(&snapshots, name)->value;
}

static void do_snapshot(char **words, size_t n) {
    mtrace_snapshot *s;
    (void)n;
    check(mtrace_snapshot_take(&s, true, NULL));
    name_snapshot(words[1], s);
    printf("snapshot %zu\n", mtrace_snapshot_get_parts(s).trace_count);
}

/* One part of a filter: file=PATTERN, line=N, all, domain=N. */
static void read_part(mtrace_filter *f, const char *part) {
    if (strncmp(part, "file=", 5) == 0) {
        f->file = part + 5;
    } else if (strncmp(part, "line=", 5) == 0) {
        f->has_line = true;
        f->line = (uint32_t)number(part + 5, UINT32_MAX);
    } else if (strcmp(part, "all") == 0) {
        f->all_frames = true;
    } else if (strncmp(part, "domain=", 7) == 0) {
        f->has_domain = true;
        f->domain = (uint32_t)number(part + 7, UINT32_MAX);
    } else {
        fail("bad filter", part);
    }
}

static void read_filter(mtrace_filter *f, char *word) {
    char *part = word + 1;
    memset(f, 0, sizeof *f);
    if (word[0] != '+' && word[0] != '-') {
        fail("bad filter", word);
    }
    f->exclusive = word[0] == '-';
    while (part != NULL) {
        char *comma = strchr(part, ',');
        if (comma != NULL) {
            *comma++ = '\0';
        }
        read_part(f, part);
        part = comma;
    }
    if (f->file == NULL && (f->has_line || f->all_frames || !f->has_domain)) {
        fail("a filter needs file=PATTERN, or domain=N alone", "");
    }
}

static void do_filter(char **words, size_t n) {
    static mtrace_filter filters[MAX_WORDS];
    mtrace_snapshot *s;
    size_t i;
    for (i = 3; i < n; i++) {
        read_filter(&filters[i - 3], words[i]);
    }
    check(mtrace_snapshot_filter(&s, snapshot_of(words[2]), filters, n - 3, NULL));
    name_snapshot(words[1], s);
    printf("filter %zu\n", mtrace_snapshot_get_parts(s).trace_count);
}

static void print_key(const mtrace_row *row, mtrace_key_type key) {
    switch (key & ~(mtrace_key_type)MTRACE_KEY_CUMULATIVE) {
    case MTRACE_BY_LINE:
        printf("%s:%u\n", row->file, (unsigned)row->line);
        break;
    case MTRACE_BY_FILE:
        printf("%s:0\n", row->file);
        break;
    case MTRACE_BY_FUNCTION:
        printf("%s:0 %s\n", row->file, row->function == NULL ? "<unknown>" : row->function);
        break;
    case MTRACE_BY_TYPE:
        printf("%s\n", row->type);
        break;
    case MTRACE_BY_DOMAIN:
        printf("%u\n", (unsigned)row->domain);
        break;
    case MTRACE_BY_SIZE_CLASS:
        printf("%llu\n", (unsigned long long)row->size_class);
        break;
    default:
        print_frames(&row->traceback);
    }
}

/* Rows to print. A row that holds nothing, and is there only because blocks of it were not traced,
   is taken out: CPython has no such rows. */
static size_t shown(mtrace_rows *s, char **words, size_t n, size_t at) {
    size_t top = n > at ? (size_t)number(words[at], SIZE_MAX) : SIZE_MAX, i, rows = 0;
    for (i = 0; i < s->count; i++) {
        const mtrace_row *row = &s->rows[i];
        if (row->count != 0 || row->count_diff != 0 || row->size_diff != 0) {
            s->rows[rows++] = *row;
        }
    }
    return top < rows ? top : rows;
}

static void do_stats(char **words, size_t n) {
    mtrace_rows *s;
    mtrace_key_type key = key_type(words[2], words[3]);
    size_t i, rows;
    check(mtrace_snapshot_statistics(&s, snapshot_of(words[1]), key, NULL));
    rows = shown(s, words, n, 4);
    printf("stats %zu\n", rows);
    for (i = 0; i < rows; i++) {
        printf("%llu %llu ", (unsigned long long)s->rows[i].size,
               (unsigned long long)s->rows[i].count);
        print_key(&s->rows[i], key);
    }
    mtrace_rows_free(s);
}

static void do_compare(char **words, size_t n) {
    mtrace_rows *s;
    mtrace_key_type key = key_type(words[3], words[4]);
    size_t i, rows;
    check(mtrace_snapshot_compare_to(&s, snapshot_of(words[1]), snapshot_of(words[2]), key, NULL));
    rows = shown(s, words, n, 5);
    printf("compare %zu\n", rows);
    for (i = 0; i < rows; i++) {
        const mtrace_row *row = &s->rows[i];
        printf("%llu %lld %llu %lld ", (unsigned long long)row->size, (long long)row->size_diff,
               (unsigned long long)row->count, (long long)row->count_diff);
        print_key(row, key);
    }
    mtrace_rows_free(s);
}

static void do_text(char **words, size_t n) {
    mtrace_rows *s;
    mtrace_key_type key = key_type(words[2], words[3]);
    size_t i, rows;
    check(mtrace_snapshot_statistics(&s, snapshot_of(words[1]), key, NULL));
    rows = shown(s, words, n, 4);
    printf("text %zu\n", rows);
    for (i = 0; i < rows; i++) {
        size_t length = mtrace_format_row(NULL, 0, s, &s->rows[i]);
        char *text = (char *)checked(malloc(length + 1));
        mtrace_format_row(text, length + 1, s, &s->rows[i]);
        puts(text);
        free(text);
    }
    mtrace_rows_free(s);
}

static void do_dump(char **words, size_t n) {
    (void)n;
    check(mtrace_snapshot_dump(snapshot_of(words[1]), words[2]));
}

static void do_load(char **words, size_t n) {
    mtrace_snapshot *s;
    (void)n;
    check(mtrace_snapshot_load(&s, words[2], NULL));
    name_snapshot(words[1], s);
}

static void do_drops(char **words, size_t n) {
    mtrace_info info = mtrace_get_info();
    (void)words;
    (void)n;
    printf("drops %llu %llu\n", (unsigned long long)info.dropped_count,
           (unsigned long long)info.dropped_bytes);
}

typedef struct command {
    const char *name;
    size_t least, most; /* words, its own among them */
    void (*run)(char **words, size_t n);
} command;

static const command commands[] = {
    {"start", 2, 3, do_start},
    {"stop", 1, 1, do_stop},
    {"pause", 1, 1, do_pause},
    {"resume", 1, 1, do_resume},
    {"clear", 1, 1, do_clear},
    {"reset_peak", 1, 1, do_reset_peak},
    {"alloc", 5, 5, do_alloc},
    {"realloc", 4, 4, do_realloc},
    {"free", 2, 2, do_free},
    {"memory", 1, 1, do_memory},
    {"traceback", 2, 2, do_traceback},
    {"snapshot", 2, 2, do_snapshot},
    {"filter", 3, MAX_WORDS, do_filter},
    {"stats", 4, 5, do_stats},
    {"compare", 5, 6, do_compare},
    {"text", 4, 5, do_text},
    {"dump", 3, 3, do_dump},
    {"load", 3, 3, do_load},
    {"drops", 1, 1, do_drops},
};

static void run(char *line) {
    static char *words[MAX_WORDS];
    size_t n = 0, i;
    while (line != NULL) {
        if (n == MAX_WORDS) {
            fail("too many words", "");
        }
        words[n++] = line;
        line = strchr(line, ' ');
        if (line != NULL) {
            *line++ = '\0';
        }
        if (words[n - 1][0] == '\0') {
            fail("words are separated by one space", "");
        }
    }
    for (i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(words[0], commands[i].name) == 0) {
            if (n < commands[i].least || n > commands[i].most) {
                fail("wrong number of words", words[0]);
            }
            commands[i].run(words, n);
            return;
        }
    }
    fail("unknown command", words[0]);
}

/* The next line, without its end, in memory that grows; NULL at the end of the script. */
static char *next_line(void) {
    static char *buffer;
    static size_t room;
    size_t length = 0;
    int c = getchar();
    bool end = c == EOF;
    for (; c != EOF && c != '\n'; c = getchar()) {
        if (length + 1 >= room) {
            room = 256 + 2 * room;
            buffer = (char *)checked(realloc(buffer, room));
        }
        buffer[length++] = (char)c;
    }
    if (end) {
        free(buffer);
        return NULL;
    }
    if (length > 0) {
        buffer[length] = '\0';
    }
    return length > 0 ? buffer : empty_line;
}

static void free_all(void) {
    size_t i;
    for (i = 0; i < blocks.slots; i++) {
        mtrace_free_at(blocks.entries[i].value, NULL);
        free(blocks.entries[i].name);
    }
    for (i = 0; i < snapshots.slots; i++) {
        mtrace_snapshot_free((mtrace_snapshot *)snapshots.entries[i].value);
        free(snapshots.entries[i].name);
    }
    free(blocks.entries);
    free(snapshots.entries);
}

int main(void) {
    char *line;
    while ((line = next_line()) != NULL) {
        line_number++;
        if (line[0] != '\0' && line[0] != '#') {
            run(line);
        }
    }
    free_all();
    return 0;
}

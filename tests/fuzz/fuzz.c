/* Input from outside, under libFuzzer. tests/fuzz.sh runs it and names the target.

   --target=load: a snapshot file. Its sizes and its hash are corrected, so that most of them load.
   --target=make: parts for mtrace_snapshot_make.
   --target=match: names, patterns and filters.
   --target=environment: MTRACE and MTRACE_REPORT, and the reports at exit.
   --seeds=FOLDER writes files for `load` to begin with. */

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

/* Snapshots and statistics in the heap, so that AddressSanitizer sees their edges. */
#define MTRACE_SYSTEM_ALLOC(size)        calloc(1, size)
#define MTRACE_SYSTEM_FREE(memory, size) ((void)(size), free(memory))
#define MTRACE_IMPLEMENTATION
#include "../../mtrace_ext.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EXPECT(condition) ((condition) ? (void)0 : broken(#condition, __LINE__))
static void broken(const char *what, int line) {
    fprintf(stderr, "fuzz.c:%d: not so: %s\n", line, what);
    abort();
}

/* --- the input, as numbers and names; zeros behind its end --- */

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static uint64_t take(input *in, size_t bytes) {
    uint64_t value = 0;
    for (; bytes > 0; bytes--) {
        value = value << 8 | (in->left > 0 ? *in->at : 0);
        in->at += in->left > 0 ? 1 : 0;
        in->left -= in->left > 0 ? 1 : 0;
    }
    return value;
}

/* A number that is small, or any, or at an edge. */
static uint64_t take_figure(input *in) {
    static const uint64_t edges[] = {UINT64_MAX, INT64_MAX, (uint64_t)1 << 63, UINT32_MAX};
    unsigned kind = (unsigned)take(in, 1);
    return kind < 128 ? kind : kind < 192 ? edges[kind % 4] : take(in, kind % 8 + 1);
}

/* A string in the buffer; it ends with the input's line, or where there is no more room. */
static char *take_text(input *in, char *buffer, size_t room) {
    size_t n = 0;
    while (n + 1 < room && in->left > 0) {
        char c = (char)take(in, 1);
        if (c == '\n' || c == '\0') {
            break;
        }
        buffer[n++] = c == '\x01' ? '\n' : c;
    }
    buffer[n] = '\0';
    return buffer;
}

/* --- text on its way out: nothing commands a terminal --- */

typedef struct output {
    uint64_t length;
    unsigned char last;
    int open; /* bytes that a UTF-8 sequence wants yet */
} output;

static void write_text(const char *text, size_t length, void *user) {
    output *out = (output *)user;
    size_t i;
    for (i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        EXPECT((c >= ' ' && c != 0x7f) || c == '\n' || c == '\t');
        EXPECT(out->last != 0xc2 || c >= 0xa0 || c < 0x80);
        EXPECT(c < 0x80 || c >= 0xa0 || out->open > 0); /* of 8 bits, or a sequence cut in two */
        out->open = c < 0x80    ? 0
                    : c >= 0xc2 ? (c >= 0xf0   ? 3
                                   : c >= 0xe0 ? 2
                                               : 1)
                                : out->open - (out->open > 0);
        out->last = c;
    }
    out->length += length;
}

/* A file in memory. */
typedef struct image {
    unsigned char *bytes;
    size_t size;
    size_t at;
} image;

static void write_image(const char *text, size_t length, void *user) {
    image *to = (image *)user;
    to->bytes = (unsigned char *)realloc(to->bytes, to->size + length + 1);
    memcpy(to->bytes + to->size, text, length);
    to->size += length;
}

static size_t read_image(void *buffer, size_t size, void *user) {
    image *from = (image *)user;
    size_t n = from->size - from->at < size ? from->size - from->at : size;
    memcpy(buffer, from->bytes + from->at, n);
    from->at += n;
    return n;
}

/* --- everything that can be asked of a snapshot; one of several styles in turn --- */

static unsigned turn;

static void ask_statistics(const mtrace_rows *s) {
    mtrace_report_desc desc = MTRACE_ZERO_;
    output out = MTRACE_ZERO_;
    char text[64];
    size_t i;
    desc.write = write_text;
    desc.write_user = &out;
    desc.style = (mtrace_style)(turn % 4);
    desc.top = turn / 4 % 3;
    desc.columns = turn / 12 % 5 * 30;
    EXPECT(mtrace_report(s, &desc) == MTRACE_OK);
    turn++;
    for (i = 0; i < s->count && i < 20; i++) {
        mtrace_format_row(text, sizeof text, s, &s->rows[i]);
        mtrace_format_traceback(text, i, &s->rows[i].traceback, (int32_t)i - 3, i % 2 == 0, NULL,
                                NULL);
    }
}

/* In memory of exactly the size that it asks for. */
static void ask_in_own_memory(const mtrace_snapshot *s, mtrace_key_type key) {
    mtrace_buffer memory = MTRACE_ZERO_;
    mtrace_rows *found;
    (void)mtrace_snapshot_statistics(&found, s, key, &memory);
    memory.data = malloc(memory.size);
    if (mtrace_snapshot_statistics(&found, s, key, &memory) == MTRACE_OK) {
        ask_statistics(found);
    }
    free(memory.data);
}

static void ask_key(const mtrace_snapshot *s, const mtrace_snapshot *old, mtrace_key_type key) {
    mtrace_rows *found;
    bool backwards = turn % 2 != 0;
    ask_in_own_memory(s, key);
    if (mtrace_snapshot_compare_to(&found, backwards ? old : s, backwards ? s : old, key, NULL) ==
        MTRACE_OK) {
        ask_statistics(found);
        mtrace_rows_free(found);
    }
}

/* Traces of a pickle: no more than is good for many runs. */
static bool is_small(const mtrace_snapshot_parts *p) {
    uint64_t sum = 0, count;
    size_t i;
    for (i = 0; i < p->row_count && sum < 5000; i++) {
        count = mtrace_row_count_(&p->rows[i], p->view);
        sum += count < 5000 ? count : 5000;
    }
    return sum < 5000;
}

static void ask_files(const mtrace_snapshot *s) {
    mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(s), again;
    image file = MTRACE_ZERO_, pickle = MTRACE_ZERO_;
    mtrace_snapshot *loaded;
    if (mtrace_snapshot_dump_to(s, write_image, &file) == MTRACE_OK) {
        EXPECT(mtrace_snapshot_load_from(&loaded, read_image, &file, NULL) == MTRACE_OK);
        again = mtrace_snapshot_get_parts(loaded);
        EXPECT(again.row_count == parts.row_count && again.block_count == parts.block_count);
        mtrace_snapshot_free(loaded);
    }
    free(file.bytes);
    if (is_small(&parts)) {
        mtrace_snapshot_dump_pickle_to(s, write_image, &pickle);
    }
    free(pickle.bytes);
}

static void ask_filters(const mtrace_snapshot *s, const char *pattern) {
    mtrace_filter f[3] = MTRACE_ZERO_;
    mtrace_snapshot *some;
    mtrace_snapshot_parts parts;
    size_t i;
    f[0].file = pattern;
    f[1].function = pattern;
    f[1].all_frames = true;
    f[2].type = pattern;
    f[2].exclusive = true;
    if (mtrace_snapshot_filter(&some, s, f, 3, NULL) == MTRACE_OK) {
        EXPECT(mtrace_snapshot_get_parts(some).row_count <= mtrace_snapshot_get_parts(s).row_count);
        ask_files(some);
        ask_key(some, s, MTRACE_BY_FUNCTION);
        mtrace_snapshot_free(some);
    }
    parts = mtrace_snapshot_get_parts(s);
    for (i = 0; i < parts.block_count; i++) {
        const mtrace_row *row = &parts.rows[parts.blocks[i].row];
        EXPECT(row->file != NULL && row->traceback.count > 0);
    }
}

static void ask(mtrace_snapshot *s, const char *pattern) {
    static const mtrace_key_type flags[] = {
        MTRACE_KEY_CUMULATIVE, MTRACE_KEY_CUMULATIVE | MTRACE_KEY_ONCE, MTRACE_KEY_MOST_RECENT};
    mtrace_snapshot_parts none = MTRACE_ZERO_;
    mtrace_snapshot *empty;
    mtrace_key_type key;
    int view;
    none.has_blocks = true;
    EXPECT(mtrace_snapshot_make(&empty, &none, NULL) == MTRACE_OK);
    for (view = MTRACE_VIEW_LIVE; view <= MTRACE_VIEW_TOTAL; view++) {
        mtrace_snapshot_set_view(s, (mtrace_view)view);
        for (key = MTRACE_BY_LINE; key <= MTRACE_BY_TRACEBACK; key++) {
            ask_key(s, empty, key);
            ask_key(s, empty, key | flags[turn % 3]);
        }
        ask_files(s);
    }
    mtrace_snapshot_set_view(s, MTRACE_VIEW_LIVE);
    ask_filters(s, pattern);
    mtrace_snapshot_free(empty);
}

/* --- load --- */

static void put(uint8_t *at, uint64_t value, int bytes) {
    for (; bytes > 0; bytes--, value >>= 8) {
        *at++ = (uint8_t)value;
    }
}

enum { MODULE = MTRACE_FILE_MODULE_, LOCATION = MTRACE_FILE_LOCATION_, BLOCK = MTRACE_FILE_BLOCK_ };
enum { WILD_ALL = 1, WILD_NAMES = 2, WILD_FRAMES = 4, WILD_REST = 8 };

/* An offset that is where a name begins. */
static void mend_name(const uint8_t *names, uint64_t count, uint8_t *at) {
    uint64_t offset = mtrace_number_at_(at, 4);
    if (count == 0 || offset >= 0xfffffff0u) {
        put(at, UINT32_MAX, 4);
        return;
    }
    for (offset %= count; offset > 0 && names[offset - 1] != 0; offset--) {
    }
    put(at, offset, 4);
}

/* A location of either version; `names` says whether its names are repaired, or else its module. */
static void mend_location(mtrace_load_ *l, uint8_t *at, bool names) {
    uint64_t line = mtrace_number_at_(at + 8, 4);
    if (names) {
        mend_name(l->name_at, l->names, at);
        mend_name(l->name_at, l->names, at + 4);
    } else if (l->version > 1) {
        put(at + 12, mtrace_number_at_(at + 12, 4) % (l->modules + 1), 4);
        if (line == 0 && (at[12] != 0 || mtrace_number_at_(at + 16, 8) != 0)) {
            put(at, UINT32_MAX, 4);
        }
    }
}

static void mend_locations(mtrace_load_ *l, uint8_t *file, bool names) {
    bool old = l->version == 1;
    uint64_t i, count = old ? l->frames : l->locations;
    uint8_t *at = file + ((old ? l->frame_at : l->location_at) - l->bytes);
    for (i = 0; i < count; i++) {
        mend_location(l, at + i * (old ? l->frame_size : LOCATION), names);
    }
}

static void mend_names(mtrace_load_ *l, uint8_t *file) {
    uint64_t i;
    mend_locations(l, file, true);
    for (i = 0; i < l->modules; i++) {
        mend_name(l->name_at, l->names, file + (l->module_at - l->bytes) + i * MODULE);
    }
    for (i = 0; i < l->rows; i++) {
        mend_name(l->name_at, l->names, file + (l->row_at - l->bytes) + i * l->row_size + 8);
        mend_name(l->name_at, l->names, file + (l->row_at - l->bytes) + i * l->row_size + 12);
    }
}

/* Each row has a frame, the last one all that are left. */
static void mend_frames(mtrace_load_ *l, uint8_t *file) {
    uint64_t i, left = l->frames;
    for (i = 0; i < l->rows && l->frames >= l->rows; i++) {
        uint8_t *row = file + (l->row_at - l->bytes) + i * l->row_size;
        uint64_t spare = left - (l->rows - i);
        uint64_t count = i + 1 == l->rows ? left : 1 + mtrace_number_at_(row, 4) % (spare + 1);
        put(row, count, 4);
        left -= count;
    }
}

static void mend_rest(mtrace_load_ *l, uint8_t *file) {
    uint64_t i;
    for (i = 0; i < l->modules; i++) {
        uint8_t *id = file + (l->module_at - l->bytes) + i * MODULE;
        uint64_t size = mtrace_number_at_(id + 4, 4) % 33;
        put(id + 4, size, 4);
        memset(id + 24 + size, 0, 32 - size);
    }
    for (i = 0; l->version > 1 && l->locations > 0 && i < l->frames; i++) {
        uint8_t *frame = file + (l->frame_at - l->bytes) + i * l->frame_size;
        put(frame, mtrace_number_at_(frame, 4) % l->locations, 4);
    }
    mend_locations(l, file, false);
    for (i = 0; i < l->rows; i++) {
        put(file + (l->row_at - l->bytes) + i * l->row_size + 20, 0, 4);
    }
    for (i = 0; i < l->blocks; i++) {
        uint8_t *block = file + (l->block_at - l->bytes) + i * BLOCK;
        put(block + 24, l->rows == 0 ? 0 : mtrace_number_at_(block + 24, 4) % l->rows, 4);
        put(block + 28, 0, 4);
    }
    put(file + 72 + 136, mtrace_number_at_(file + 72 + 136, 8) % (MTRACE_FILE_MAX_INTERVAL_ + 1),
        8);
}

/* One of the counts in the header: at most what fits into the bytes that are left. */
static uint64_t mend_count(uint8_t *at, uint64_t *left, uint64_t each, uint64_t size) {
    uint64_t count = mtrace_number_at_(at, 8) % (*left / each + 1);
    put(at, count, 8);
    *left -= count * size;
    return count;
}

/* Counts that fit the file, which has at least a header and a hash. */
static void mend_header(mtrace_load_ *l, uint8_t *file, size_t size) {
    uint64_t left;
    memcpy(file, MTRACE_FILE_MAGIC_, 8);
    put(file + 8, (file[8] & 1) != 0 ? 1 : 2, 4);
    put(file + 12, file[12] & 1u, 4);
    EXPECT(mtrace_load_version_(l, file, size) == MTRACE_OK);
    left = size - l->header_size - 8;
    l->blocks = mend_count(file + 48, &left, (file[12] & 1) != 0 ? BLOCK : UINT64_MAX, BLOCK);
    l->rows = mend_count(file + 40, &left, l->row_size + l->frame_size, l->row_size);
    l->frames = mend_count(file + 32, &left, l->frame_size, l->frame_size);
    if (l->version > 1) {
        l->modules = mend_count(file + 216, &left, MODULE, MODULE);
        l->locations = mend_count(file + 224, &left, LOCATION, LOCATION);
    }
    l->names = left;
    put(file + 24, l->names, 8);
    if (l->names > 0) {
        file[l->header_size + l->names - 1] = 0;
    }
    EXPECT(mtrace_load_size_(l) == size);
    mtrace_load_locations_(l, file);
}

static void mend(uint8_t *file, size_t size, unsigned wild) {
    mtrace_load_ l = MTRACE_ZERO_;
    if (size < MTRACE_FILE_HEADER_ + 8) { /* of the larger one */
        return;
    }
    if ((wild & WILD_ALL) == 0) {
        mend_header(&l, file, size);
        if ((wild & WILD_NAMES) == 0) {
            mend_names(&l, file);
        }
        if ((wild & WILD_FRAMES) == 0) {
            mend_frames(&l, file);
        }
        if ((wild & WILD_REST) == 0) {
            mend_rest(&l, file);
        }
    }
    put(file + size - 8, XXH64(file, size - 8, 0), 8);
}

/* Whether the file is repaired, and which of its parts stay wild, one input in 32 each. */
static unsigned wildness(unsigned byte) {
    return byte < 32    ? WILD_NAMES
           : byte < 64  ? WILD_FRAMES
           : byte < 96  ? WILD_REST
           : byte < 104 ? WILD_ALL
                        : 0;
}

static void fuzz_load(input *in) {
    unsigned wild = wildness((unsigned)take(in, 1));
    image file = MTRACE_ZERO_;
    mtrace_snapshot *s;
    char pattern[16];
    write_image((const char *)in->at, in->left, &file);
    mend(file.bytes, file.size, wild);
    take_text(in, pattern, sizeof pattern);
    if (mtrace_snapshot_load_from(&s, read_image, &file, NULL) == MTRACE_OK) {
        ask(s, pattern);
        mtrace_snapshot_free(s);
    } else {
        EXPECT(s == NULL);
    }
    free(file.bytes);
}

/* --- make --- */

enum { ROWS = 6, FRAMES = 12, MODULES = 3, BLOCKS = 8, NAMES = 100 };
typedef struct parts {
    mtrace_row rows[ROWS];
    mtrace_frame frames[FRAMES];
    mtrace_module modules[MODULES];
    mtrace_live_block blocks[BLOCKS];
    char names[NAMES];
    mtrace_snapshot_parts p;
} parts;

/* In the names, elsewhere, or none. */
static const char *take_name(input *in, const parts *p) {
    unsigned kind = (unsigned)take(in, 1);
    return kind < 20 ? NULL : kind < 60 ? "else\x1bwhere.c" : p->names + kind % NAMES;
}

/* Some paths, sizes and ids are the same; now and then a path is missing or an id too long. */
static void take_module(input *in, const parts *p, mtrace_module *module) {
    unsigned kind = (unsigned)take(in, 1);
    module->path = kind < 250 ? kind % 2 != 0 ? "m.so" : "" : take_name(in, p);
    module->load_address = take_figure(in);
    module->size = kind / 2 % 2;
    module->build_id_size = kind == 255 ? 33 : kind / 4 % 3 * 16;
    module->build_id[15] = (unsigned char)(kind / 16 % 2);
}

/* A location in the source or in code. Its module may be missing in the table. */
static void take_frame(input *in, parts *p, mtrace_frame *frame, bool has_file) {
    unsigned kind = (unsigned)take(in, 1);
    frame->file = take_name(in, p);
    frame->file = frame->file == NULL && has_file ? "" : frame->file;
    frame->function = take_name(in, p);
    frame->line = kind < 128 ? (uint32_t)take_figure(in) : 0;
    if (kind % 4 != 0) {
        frame->module = kind == 255     ? p->modules + MODULES
                        : kind % 4 == 1 ? NULL
                                        : p->modules + kind / 4 % MODULES;
        frame->address = kind % 8 < 4 ? take_figure(in) : kind / 64;
    }
}

static void take_row(input *in, parts *p, mtrace_row *row) {
    uint32_t first = (uint32_t)take(in, 1) % FRAMES;
    row->traceback.frames = p->frames + first;
    row->traceback.count = (uint32_t)take(in, 1) % (FRAMES - first + 1);
    row->traceback.total = (uint32_t)take(in, 1);
    row->file = take_name(in, p);
    row->type = take_name(in, p);
    row->domain_name = take_name(in, p);
    row->domain = (uint32_t)take(in, 1) % 4;
    row->size = take_figure(in);
    row->count = take_figure(in);
    row->size_diff = (int64_t)take_figure(in);
    row->peak_size = take_figure(in);
    row->peak_count = take_figure(in);
    row->total_size = take_figure(in);
    row->total_count = take_figure(in);
    row->frees = take_figure(in);
    row->reallocs = take_figure(in);
    row->dropped_count = take_figure(in);
    row->dropped_size = take_figure(in);
    row->estimated_size = take_figure(in);
}

static void take_info(input *in, mtrace_info *info) {
    info->dropped_count = take_figure(in);
    info->dropped_bytes = take_figure(in);
    info->foreign_frees = take_figure(in);
    info->stale_replaced = take_figure(in);
    info->lost_sites = take_figure(in);
    info->lost_names = take_figure(in);
    info->lost_scopes = take_figure(in);
    info->tracer_memory = (size_t)take_figure(in);
    info->sample_interval = (size_t)take(in, 4) % (MTRACE_FILE_MAX_INTERVAL_ + 2);
}

static void take_parts(input *in, parts *p) {
    size_t i, kept = (size_t)take(in, 1);
    memset(p, 0, sizeof *p);
    for (i = 0; i < NAMES; i++) {
        p->names[i] = (char)take(in, 1);
    }
    p->names[NAMES - 1] = '\0';
    for (i = 0; i < MODULES; i++) {
        take_module(in, p, &p->modules[i]);
    }
    for (i = 0; i < FRAMES; i++) {
        take_frame(in, p, &p->frames[i], i % 4 != 0);
    }
    for (i = 0; i < ROWS; i++) {
        take_row(in, p, &p->rows[i]);
    }
    for (i = 0; i < BLOCKS; i++) {
        p->blocks[i].address = take_figure(in);
        p->blocks[i].size = take_figure(in);
        p->blocks[i].row = (uint32_t)take(in, 1) % (ROWS + 1);
    }
    take_info(in, &p->p.info);
    p->p.names = kept < 16 ? NULL : p->names;
    p->p.name_bytes = kept < 32 ? kept : NAMES;
    p->p.modules = kept == 35 ? NULL : p->modules;
    p->p.module_count = kept == 36 ? 1 : MODULES;
    p->p.rows = kept == 32 ? NULL : p->rows;
    p->p.row_count = (size_t)take(in, 1) % (ROWS + 1);
    p->p.blocks = kept == 33 ? NULL : p->blocks;
    p->p.block_count = (size_t)take(in, 1) % (BLOCKS + 1);
    p->p.has_blocks = p->p.block_count > 0 && kept != 34;
    p->p.view = (mtrace_view)(take(in, 1) % 4);
    p->p.traced_memory.current = take_figure(in);
    p->p.traced_memory.peak = take_figure(in);
}

static void fuzz_make(input *in) {
    static parts p;
    mtrace_snapshot *s;
    char pattern[16];
    take_text(in, pattern, sizeof pattern);
    take_parts(in, &p);
    if (mtrace_snapshot_make(&s, &p.p, NULL) == MTRACE_OK) {
        ask(s, pattern);
        mtrace_snapshot_free(s);
    } else {
        EXPECT(s == NULL);
    }
}

/* --- match --- */

/* The pattern that matches this name alone: each special character as a set of one. */
static void quote(char *to, const char *name) {
    for (; *name != '\0'; name++) {
        bool special = strchr("*?[", *name) != NULL;
        to += snprintf(to, 4, special ? "[%c]" : "%c", *name);
    }
    *to = '\0';
}

static void fuzz_match(input *in) {
    char name[128], pattern[128], longer[512];
    mtrace_row row = MTRACE_ZERO_;
    mtrace_frame frame = MTRACE_ZERO_;
    mtrace_snapshot_parts p = MTRACE_ZERO_;
    mtrace_snapshot *s;
    take_text(in, name, sizeof name);
    take_text(in, pattern, sizeof pattern);
    EXPECT(mtrace_match_(name, "*"));
    quote(longer, name);
    EXPECT(mtrace_match_(name, longer));
    snprintf(longer, sizeof longer, "*%s", pattern);
    EXPECT(!mtrace_match_(name, pattern) || mtrace_match_(name, longer));
    frame.file = frame.function = row.type = name;
    row.traceback.frames = &frame;
    row.traceback.count = 1;
    row.size = row.count = 1;
    p.rows = &row;
    p.row_count = 1;
    EXPECT(mtrace_snapshot_make(&s, &p, NULL) == MTRACE_OK);
    ask_filters(s, pattern);
    mtrace_snapshot_free(s);
}

/* --- environment --- */

/* The tracer's: from the system it would be kept, which looks like a leak. */
static unsigned char memory[1 << 20];

/* No file outside of this folder. */
static void without_slashes(char *text) {
    for (; *text != '\0'; text++) {
        *text = *text == '/' ? '_' : *text;
    }
}

static void remove_files(void) {
    DIR *folder = opendir(".");
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.' || strlen(entry->d_name) > 2) {
            unlink(entry->d_name);
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

static void write_nowhere(const char *text, size_t length, void *user) {
    (void)text;
    (void)length;
    (void)user;
}

/* Words that mean something, and any bytes between them. */
static char *take_words(input *in, char *buffer, size_t room) {
    static const char *const words[] = {
        "top",     "peak", "leaks",  "dump=", "pickle=", "=10",      "=",    ",",
        "profile", "%p",   "dump=a", ",top",  "record=", "pickle=b", ".svg", "%"};
    size_t used = 0;
    buffer[0] = '\0';
    while (in->left > 0 && used + 20 < room) {
        unsigned kind = (unsigned)take(in, 1);
        char any[8];
        used += (size_t)snprintf(buffer + used, room - used, "%s",
                                 kind < 192 ? words[kind % 16] : take_text(in, any, kind % 8 + 1));
    }
    return buffer;
}

static void fuzz_environment(input *in) {
    char frames[16], reports[1200];
    mtrace_desc desc = MTRACE_ZERO_;
    bool starts = take(in, 1) % 4 != 0;
    without_slashes(take_text(in, frames, starts ? 2 : sizeof frames));
    frames[0] = starts ? '5' : frames[0];
    without_slashes(take_words(in, reports, sizeof reports));
    setenv("MTRACE", frames, 1);
    setenv("MTRACE_REPORT", reports, 1);
    desc.memory = memory;
    desc.memory_size = sizeof memory;
    desc.write = write_nowhere;
    if (mtrace_start_from_environment(&desc) == MTRACE_OK) {
        void *block = MT_MALLOC(100);
        mtrace_at_exit_();
        MT_FREE(block);
        mtrace_profile_stop();
        mtrace_recorder_stop();
        mtrace_stop();
        remove_files();
    }
}

/* --- seeds: snapshots of a program that did a little of everything --- */

static void write_seed(const char *folder, int number, const mtrace_snapshot *s) {
    char path[512];
    FILE *file;
    image seed = MTRACE_ZERO_;
    snprintf(path, sizeof path, "%s/seed-%d", folder, number);
    write_image("\xff", 1, &seed);
    EXPECT(mtrace_snapshot_dump_to(s, write_image, &seed) == MTRACE_OK);
    file = fopen(path, "wb");
    EXPECT(file != NULL && fwrite(seed.bytes, 1, seed.size, file) == seed.size);
    fclose(file);
    free(seed.bytes);
}

static void grow(int depth, size_t size) {
    MT_SCOPE();
    EXPECT(MT_TRACK(5, depth + 1000 * (int)size, size) == MTRACE_OK);
    if (depth > 0) {
        grow(depth - 1, size * 3);
        free(MT_NEW_ARRAY(int, size)); /* a trace that nobody takes back */
    }
}

/* Stacks of code in two modules and in none. */
static void write_code_seed(const char *folder, int number) {
    static const mtrace_module modules[2] = {{"m.so", 0x7f0000000000, 4096, 2, {1, 2}},
                                             {"n.so", 0, 1, 0, {0}}};
    static const mtrace_frame frames[4] = {{NULL, NULL, 0, modules, 16},
                                           {NULL, "f", 0, modules + 1, 0},
                                           {NULL, NULL, 0, NULL, 0xffffffff80001234},
                                           {"a.c", "g", 3, modules, 17}};
    mtrace_row rows[3] = MTRACE_ZERO_;
    mtrace_snapshot_parts p = MTRACE_ZERO_;
    mtrace_snapshot *s;
    uint32_t i;
    for (i = 0; i < 3; i++) {
        rows[i].traceback.frames = frames + i;
        rows[i].traceback.count = i == 1 ? 3 : 1;
        rows[i].size = rows[i].count = i + 1;
    }
    p.rows = rows;
    p.row_count = 3;
    p.modules = modules;
    p.module_count = 2;
    EXPECT(mtrace_snapshot_make(&s, &p, NULL) == MTRACE_OK);
    write_seed(folder, number, s);
    mtrace_snapshot_free(s);
}

static void write_seeds(const char *folder) {
    int i;
    for (i = 0; i < 6; i++) {
        mtrace_desc desc = MTRACE_ZERO_;
        mtrace_snapshot *s;
        desc.memory = memory;
        desc.memory_size = sizeof memory;
        desc.frames = (uint32_t)i + 1;
        desc.serials = i % 2 == 0;
        desc.sample_interval = i == 3 ? 1024 : 0;
        EXPECT(mtrace_start(&desc) == MTRACE_OK);
        mtrace_name_domain(5, "textures");
        grow(i, (size_t)i + 1);
        EXPECT(mtrace_snapshot_take(&s, i < 4, NULL) == MTRACE_OK);
        write_seed(folder, i, s);
        mtrace_snapshot_free(s);
        mtrace_stop();
    }
    write_code_seed(folder, i);
}

/* --- libFuzzer's --- */

static void (*target)(input *in);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    int i;
    for (i = 1; i < *argc; i++) {
        const char *word = (*argv)[i];
        if (strncmp(word, "--seeds=", 8) == 0) {
            write_seeds(word + 8);
            exit(0);
        }
        target = strcmp(word, "--target=load") == 0          ? fuzz_load
                 : strcmp(word, "--target=make") == 0        ? fuzz_make
                 : strcmp(word, "--target=match") == 0       ? fuzz_match
                 : strcmp(word, "--target=environment") == 0 ? fuzz_environment
                                                             : target;
    }
    EXPECT(target != NULL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in;
    in.at = data;
    in.left = size;
    turn = size > 1 ? data[size / 2] : 0;
    target(&in);
    return 0;
}

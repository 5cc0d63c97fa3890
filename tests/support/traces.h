/* Snapshots made from data, and rows of snapshots and statistics as one text. Include it after
   test.h. */

#ifndef MTRACE_TESTS_SUPPORT_TRACES_H
#define MTRACE_TESTS_SUPPORT_TRACES_H

/* `count` equal traces: tracemalloc's (domain, size, frames, total_nframe). */
typedef struct test_trace {
    uint64_t count;
    uint32_t domain;
    uint64_t size;
    const char *frames; /* oldest first: "main@m.c:1 a.c:2 2+0x1f", the function may be left out;
                           2+ is code in the second module, 0+ in none */
    uint32_t total;
    const char *type;
} test_trace;

enum { TEST_ROWS = 64, TEST_FRAMES = 512, TEST_NAMES = 8192, TEST_BLOCKS = 256, TEST_MODULES = 8 };

typedef struct test_builder {
    mtrace_row rows[TEST_ROWS];
    mtrace_frame frames[TEST_FRAMES];
    mtrace_module modules[TEST_MODULES];
    mtrace_live_block blocks[TEST_BLOCKS];
    char names[TEST_NAMES];
    size_t row_count, frame_count, block_count, name_bytes;
} test_builder;

/* Equal names are one, as the tracer's. */
static inline const char *test_keep_name(test_builder *b, const char *name, size_t length) {
    char *copy = b->names + b->name_bytes;
    size_t i;
    for (i = 0; i < b->name_bytes; i += strlen(b->names + i) + 1) {
        if (strlen(b->names + i) == length && memcmp(b->names + i, name, length) == 0) {
            return b->names + i;
        }
    }
    assert_true(b->name_bytes + length < sizeof b->names);
    memcpy(copy, name, length);
    copy[length] = '\0';
    b->name_bytes += length + 1;
    return copy;
}

/* "2+0x1f": its file is left to the snapshot. False: it is none. */
static inline bool test_keep_code(test_builder *b, mtrace_frame *frame, const char *text) {
    unsigned long long address;
    unsigned module;
    if (sscanf(text, "%u+%llx", &module, &address) != 2) {
        return false;
    }
    assert_true(module <= TEST_MODULES);
    frame->module = module == 0 ? NULL : &b->modules[module - 1];
    frame->address = address;
    return true;
}

/* One "function@file:line" or "function@2+0x1f". */
static inline void test_keep_frame(test_builder *b, const char *text, size_t length) {
    mtrace_frame *frame = &b->frames[b->frame_count++];
    const char *at = (const char *)memchr(text, '@', length), *file = at == NULL ? text : at + 1;
    const char *colon = text + length;
    assert_true(b->frame_count <= TEST_FRAMES);
    frame->function = at == NULL ? NULL : test_keep_name(b, text, (size_t)(at - text));
    if (test_keep_code(b, frame, file)) {
        return;
    }
    while (colon > file && *colon != ':') {
        colon--;
    }
    assert_int_equal(*colon, ':');
    frame->file = test_keep_name(b, file, (size_t)(colon - file));
    frame->line = (uint32_t)strtoul(colon + 1, NULL, 10);
}

static inline void test_keep_traceback(test_builder *b, const test_trace *trace,
                                       mtrace_traceback *out) {
    const char *text = trace->frames;
    out->frames = b->frames + b->frame_count;
    out->total = trace->total;
    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        test_keep_frame(b, text, length);
        out->count++;
        text += length + strspn(text + length, " ");
    }
}

static inline void test_keep_trace(test_builder *b, const test_trace *trace) {
    mtrace_row *row = &b->rows[b->row_count];
    uint64_t i;
    assert_true(b->row_count < TEST_ROWS && b->block_count + trace->count <= TEST_BLOCKS);
    test_keep_traceback(b, trace, &row->traceback);
    row->type = trace->type == NULL ? NULL : test_keep_name(b, trace->type, strlen(trace->type));
    row->domain = trace->domain;
    row->size = trace->size * trace->count;
    row->count = trace->count;
    for (i = 0; i < trace->count; i++) {
        mtrace_live_block *block = &b->blocks[b->block_count++];
        block->address = 1000 * (b->row_count + 1) + i;
        block->size = trace->size;
        block->serial = b->block_count;
        block->row = (uint32_t)b->row_count;
        block->is_tracked = false;
    }
    b->row_count++;
}

/* A snapshot with blocks. What it was made of is overwritten: it must have its own of all. */
static inline mtrace_snapshot *test_make_code(const test_trace *traces, size_t count,
                                              const mtrace_module *modules, size_t module_count) {
    static test_builder builder;
    mtrace_snapshot_parts parts;
    mtrace_snapshot *snapshot;
    size_t i;
    memset(&builder, 0, sizeof builder);
    assert_true(module_count <= TEST_MODULES);
    for (i = 0; i < module_count; i++) {
        builder.modules[i] = modules[i];
        builder.modules[i].path =
            test_keep_name(&builder, modules[i].path, strlen(modules[i].path));
    }
    for (i = 0; i < count; i++) {
        test_keep_trace(&builder, &traces[i]);
    }
    memset(&parts, 0, sizeof parts);
    parts.rows = builder.rows;
    parts.row_count = builder.row_count;
    parts.blocks = builder.blocks;
    parts.block_count = builder.block_count;
    parts.has_blocks = true;
    parts.modules = builder.modules;
    parts.module_count = module_count;
    parts.names = builder.names;
    parts.name_bytes = builder.name_bytes;
    assert_int_equal(mtrace_snapshot_make(&snapshot, &parts, NULL), MTRACE_OK);
    memset(&builder, 0x5a, sizeof builder);
    return snapshot;
}

static inline mtrace_snapshot *test_make(const test_trace *traces, size_t count) {
    return test_make_code(traces, count, NULL, 0);
}

#define TEST_MAKE(traces) test_make((traces), sizeof(traces) / sizeof *(traces))

/* --- CPython's two snapshots --- */

static const test_trace test_s1[] = {{3, 0, 10, "b.py:4 a.py:2", 3, NULL},
                                     {1, 1, 2, "b.py:4 a.py:5", 3, NULL},
                                     {1, 2, 66, "b.py:1", 1, NULL},
                                     {1, 3, 7, "<unknown>:0", 1, NULL}};
static const test_trace test_s2[] = {{3, 0, 10, "b.py:4 a.py:2", 3, NULL},
                                     {1, 2, 2, "b.py:4 a.py:5", 3, NULL},
                                     {1, 2, 5000, "b.py:4 a.py:5", 3, NULL},
                                     {1, 4, 400, "c.py:578", 1, NULL}};

/* --- text: rows are set apart by " | " --- */

static inline void test_print(test_output *out, const char *format, ...) {
    size_t room = sizeof out->text - out->length;
    va_list arguments;
    int n;
    va_start(arguments, format);
    n = vsnprintf(out->text + out->length, room, format, arguments);
    va_end(arguments);
    assert_true(n >= 0 && (size_t)n < room);
    out->length += (size_t)n;
}

/* "a.py:2", "m.so+0x1f". */
static inline void test_print_place(test_output *out, const char *file, uint32_t line,
                                    const mtrace_module *module, uint64_t address) {
    if (line == 0 && (module != NULL || address != 0)) {
        test_print(out, "%s+0x%llx", file, (unsigned long long)address);
    } else {
        test_print(out, "%s:%lu", file, (unsigned long)line);
    }
}

/* "b.py:4>a.py:2": oldest first. */
static inline void test_print_frames(test_output *out, const mtrace_traceback *traceback) {
    uint32_t i;
    for (i = 0; i < traceback->count; i++) {
        const mtrace_frame *f = &traceback->frames[i];
        test_print(out, i == 0 ? "" : ">");
        test_print_place(out, f->file, f->line, f->module, f->address);
    }
}

static inline void test_print_key(test_output *out, const mtrace_row *row,
                                  mtrace_key_type key_type) {
    uint32_t key = key_type & MTRACE_KEY_;
    if (key == MTRACE_BY_TRACEBACK) {
        test_print_frames(out, &row->traceback);
    } else if (key == MTRACE_BY_LINE) {
        test_print_place(out, row->file, row->line, row->module, row->address);
    } else if (key == MTRACE_BY_FUNCTION) {
        test_print(out, "%s@%s", row->function == NULL ? "NULL" : row->function, row->file);
        test_print(out, row->address == 0 ? "" : "+0x%llx", (unsigned long long)row->address);
    } else if (key == MTRACE_BY_TYPE) {
        test_print(out, "%s", row->type);
    } else if (key == MTRACE_BY_DOMAIN) {
        test_print(out, "%lu", (unsigned long)row->domain);
        test_print(out, row->domain_name == NULL ? "" : " (%s)", row->domain_name);
    } else {
        assert_int_equal(key, MTRACE_BY_FILE);
        test_print(out, "%s", row->file);
    }
}

/* "key size count", for differences "key size +d count +d". */
static inline void test_print_rows(test_output *out, const mtrace_rows *s) {
    size_t i;
    for (i = 0; i < s->count; i++) {
        const mtrace_row *r = &s->rows[i];
        test_print(out, i == 0 ? "" : " | ");
        test_print_key(out, r, s->key_type);
        test_print(out, " %llu", (unsigned long long)r->size);
        test_print(out, s->is_diff ? " %+lld" : "", (long long)r->size_diff);
        test_print(out, " %llu", (unsigned long long)r->count);
        test_print(out, s->is_diff ? " %+lld" : "", (long long)r->count_diff);
    }
}

static inline void test_expect_rows(const mtrace_rows *s, const char *wanted) {
    test_output out;
    out.length = 0;
    out.text[0] = '\0';
    test_print_rows(&out, s);
    assert_string_equal(out.text, wanted);
}

static inline void test_expect_statistics(const mtrace_snapshot *snapshot, mtrace_key_type key_type,
                                          const char *wanted) {
    mtrace_rows *s;
    assert_int_equal(mtrace_snapshot_statistics(&s, snapshot, key_type, NULL), MTRACE_OK);
    assert_int_equal(s->key_type, key_type);
    test_expect_rows(s, wanted);
    mtrace_rows_free(s);
}

static inline void test_expect_compare(const mtrace_snapshot *snapshot, const mtrace_snapshot *old,
                                       mtrace_key_type key_type, const char *wanted) {
    mtrace_rows *s;
    assert_int_equal(mtrace_snapshot_compare_to(&s, snapshot, old, key_type, NULL), MTRACE_OK);
    assert_int_equal(s->key_type, key_type);
    test_expect_rows(s, wanted);
    mtrace_rows_free(s);
}

/* The rows of a snapshot as they stand: "domain size count frames/total". */
static inline void test_expect_traces(const mtrace_snapshot *snapshot, const char *wanted) {
    mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(snapshot);
    test_output out;
    size_t i;
    out.length = 0;
    out.text[0] = '\0';
    for (i = 0; i < parts.row_count; i++) {
        const mtrace_row *r = &parts.rows[i];
        test_print(&out, "%s%lu %llu %llu ", i == 0 ? "" : " | ", (unsigned long)r->domain,
                   (unsigned long long)r->size, (unsigned long long)r->count);
        test_print_frames(&out, &r->traceback);
        test_print(&out, "/%lu", (unsigned long)r->traceback.total);
    }
    assert_string_equal(out.text, wanted);
}

#define TEST_S1_TRACES                                                                             \
    "0 30 3 b.py:4>a.py:2/3 | 1 2 1 b.py:4>a.py:5/3 | 2 66 1 b.py:1/1 | 3 7 1 <unknown>:0/1"

#endif

/* Snapshot files: a written file is read back. A cut, altered or made-up file is refused, without a
   crash and with memory in proportion to the file. After a crash or with a full disk the old file
   is still there. */

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif
#include "support/test.h"
#include "support/files.h"
#include "support/traces.h"

#include "../mtrace_ext.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define XXH_INLINE_ALL
#include "xxhash.h"
#include <time.h>
#include <unistd.h>

enum {
    ROOM = 1 << 20,
    HEADER = 240,
    HEADER_1 = 216,
    MODULE = 56,
    LOCATION = 24,
    FRAME = 4,
    ROW = 112,
    HASH = 8
};

/* A file in memory. */
typedef struct bytes {
    unsigned char data[ROOM];
    size_t size;
    size_t at;   /* of the reader */
    size_t most; /* bytes a read gives at once */
} bytes;

static bytes file, other;
static char path[512];

static void append(const char *text, size_t length, void *user) {
    bytes *b = (bytes *)user;
    assert_true(b->size + length <= ROOM);
    memcpy(b->data + b->size, text, length);
    b->size += length;
}

static size_t next_bytes(void *buffer, size_t size, void *user) {
    bytes *b = (bytes *)user;
    size_t n = b->size - b->at;
    n = n < size ? n : size;
    n = n < b->most ? n : b->most;
    memcpy(buffer, b->data + b->at, n);
    b->at += n;
    return n;
}

static void dump(bytes *b, const mtrace_snapshot *snapshot) {
    memset(b, 0, sizeof *b);
    b->most = ROOM;
    assert_int_equal(mtrace_snapshot_dump_to(snapshot, append, b), MTRACE_OK);
}

static mtrace_result load(mtrace_snapshot **out, bytes *b) {
    b->at = 0;
    return mtrace_snapshot_load_from(out, next_bytes, b, NULL);
}

static void seal(bytes *b) {
    uint64_t hash = XXH64(b->data, b->size - HASH, 0);
    size_t i;
    for (i = 0; i < HASH; i++, hash >>= 8) {
        b->data[b->size - HASH + i] = (unsigned char)hash;
    }
}

static void set_number(bytes *b, size_t at, uint64_t value, size_t size) {
    for (; size > 0; size--, value >>= 8) {
        b->data[at++] = (unsigned char)value;
    }
}

/* --- something to write --- */

static void *held[8];

static void *in_scopes(size_t size) {
    mtrace_site outer = test_site("outer.c", 3), inner = test_site("inner.c", 4);
    mtrace_scope before = mtrace_scope_push_at(&outer);
    void *block;
    mtrace_scope_push_in_at(7, &inner);
    block = MT_MALLOC(size);
    mtrace_scope_restore(before);
    return block;
}

static mtrace_snapshot *some_snapshot(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.max_blocks = 32;
    desc.frames = 5;
    desc.serials = true;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    assert_int_equal(mtrace_name_domain(7, "textures"), MTRACE_OK);
    held[0] = MT_MALLOC(100);
    held[1] = MT_NEW_ARRAY(int, 10);
    held[2] = in_scopes(1000);
    held[3] = in_scopes(0);
    assert_int_equal(MT_TRACK(70000, 77, 1 << 20), MTRACE_OK);
    MT_FREE(MT_MALLOC(5000));
    held[4] = MT_REALLOC(MT_MALLOC(1), 2);
    return test_take(true);
}

static void done(mtrace_snapshot *s) {
    size_t i;
    mtrace_snapshot_free(s);
    for (i = 0; i < 5; i++) {
        MT_FREE(held[i]);
    }
    mtrace_stop();
}

/* --- the same again --- */

static void same_name(const char *a, const char *b) {
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL) {
        assert_string_equal(a, b);
    }
}

static void same_module(const mtrace_module *a, const mtrace_module *b) {
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL) {
        same_name(a->path, b->path);
        assert_int_equal(a->load_address, b->load_address);
        assert_int_equal(a->size, b->size);
        assert_int_equal(a->build_id_size, b->build_id_size);
        assert_memory_equal(a->build_id, b->build_id, sizeof a->build_id);
    }
}

static void same_row(const mtrace_row *a, const mtrace_row *b) {
    mtrace_row x = *a, y = *b;
    uint32_t i;
    same_name(a->file, b->file);
    same_name(a->function, b->function);
    same_name(a->type, b->type);
    same_name(a->domain_name, b->domain_name);
    assert_int_equal(a->traceback.count, b->traceback.count);
    for (i = 0; i < a->traceback.count; i++) {
        same_name(a->traceback.frames[i].file, b->traceback.frames[i].file);
        same_name(a->traceback.frames[i].function, b->traceback.frames[i].function);
        assert_int_equal(a->traceback.frames[i].line, b->traceback.frames[i].line);
        same_module(a->traceback.frames[i].module, b->traceback.frames[i].module);
        assert_int_equal(a->traceback.frames[i].address, b->traceback.frames[i].address);
    }
    same_module(a->module, b->module);
    x.file = x.function = x.type = x.domain_name = NULL;
    y.file = y.function = y.type = y.domain_name = NULL;
    x.module = y.module = NULL;
    x.traceback.frames = y.traceback.frames = NULL;
    assert_memory_equal(&x, &y, sizeof x); /* both were zeroed, the gaps too */
}

static void same_snapshot(const mtrace_snapshot *a, const mtrace_snapshot *b) {
    mtrace_snapshot_parts x = mtrace_snapshot_get_parts(a), y = mtrace_snapshot_get_parts(b);
    size_t i;
    assert_int_equal(x.row_count, y.row_count);
    assert_int_equal(x.block_count, y.block_count);
    assert_int_equal(x.has_blocks, y.has_blocks);
    assert_memory_equal(&x.traced_memory, &y.traced_memory, sizeof x.traced_memory);
    assert_int_equal(x.info.capacity, y.info.capacity);
    assert_int_equal(x.info.high_water, y.info.high_water);
    assert_int_equal(x.info.scopes, y.info.scopes);
    assert_int_equal(x.info.tracer_memory, y.info.tracer_memory);
    assert_int_equal(x.info.frames, y.info.frames);
    assert_int_equal(x.info.lost_interned, y.info.lost_interned);
    assert_int_equal(x.module_count, y.module_count);
    for (i = 0; i < x.module_count; i++) {
        same_module(&x.modules[i], &y.modules[i]);
    }
    for (i = 0; i < x.row_count; i++) {
        same_row(&x.rows[i], &y.rows[i]);
    }
    for (i = 0; i < x.block_count; i++) {
        assert_int_equal(x.blocks[i].address, y.blocks[i].address);
        assert_int_equal(x.blocks[i].size, y.blocks[i].size);
        assert_int_equal(x.blocks[i].serial, y.blocks[i].serial);
        assert_int_equal(x.blocks[i].row, y.blocks[i].row);
        assert_int_equal(x.blocks[i].is_tracked, y.blocks[i].is_tracked);
    }
}

/* The same in fresh memory and in a block that an earlier result left full of its own. */
static void test_in_used_memory(void **state) {
    mtrace_snapshot *s = some_snapshot(), *again;
    mtrace_rows *fresh, *used;
    size_t i;
    (void)state;
    mtrace_snapshot_free(s);
    test_give_kept_back();
    s = test_take(true);
    dump(&file, s);
    mtrace_snapshot_free(s);
    test_dirty_kept();
    again = test_take(true);
    dump(&other, again);
    assert_int_equal(file.size, other.size);
    assert_memory_equal(file.data, other.data, file.size);
    test_give_kept_back();
    fresh = test_rows(again, MTRACE_BY_LINE);
    used = test_rows(again, MTRACE_BY_LINE);
    mtrace_rows_free(used);
    test_dirty_kept();
    used = test_rows(again, MTRACE_BY_LINE);
    assert_true(fresh->count > 1);
    assert_int_equal(fresh->count, used->count);
    for (i = 0; i < used->count; i++) {
        same_row(&fresh->rows[i], &used->rows[i]);
    }
    same_row(&fresh->total, &used->total);
    mtrace_rows_free(fresh);
    mtrace_rows_free(used);
    done(again);
}

static void assert_comes_back(const mtrace_snapshot *s, size_t traces) {
    mtrace_snapshot *back;
    dump(&file, s);
    assert_int_equal(load(&back, &file), MTRACE_OK);
    same_snapshot(s, back);
    assert_int_equal(mtrace_snapshot_get_parts(back).trace_count, traces);
    mtrace_snapshot_free(back);
}

/* But for the mark of the run, a copy of a copy is the same. */
static void assert_again_the_same(void) {
    mtrace_snapshot *back;
    assert_int_equal(load(&back, &file), MTRACE_OK);
    dump(&other, back);
    memcpy(other.data + 16, file.data + 16, 8);
    seal(&other);
    assert_int_equal(other.size, file.size);
    assert_memory_equal(other.data, file.data, file.size);
    mtrace_snapshot_free(back);
}

static void test_comes_back(void **state) {
    mtrace_snapshot *s = some_snapshot();
    (void)state;
    assert_comes_back(s, 6);
    assert_again_the_same();
    done(s);
}

/* --- code --- */

static const mtrace_module modules[] = {
    {"/lib/m.so", 0x7f0000000000, 0x5000, 4, {1, 2, 3, 4}},
    {"/bin/prog", 0, UINT64_MAX, 32, {255, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
                                      17,  2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 32}},
    {"", UINT64_MAX, 0, 0, {0}},
    {"/lib/m.so", 0x7e0000000000, 0x5000, 4, {1, 2, 3, 5}}};

static const test_trace code[] = {
    {2, 7, 100, "main@m.c:1 2+0xffffffffffffffff run@1+0x10 1+0x20", 9, "int"},
    {1, 0, 30, "main@m.c:1 2+0xffffffffffffffff run@1+0x10 1+0x21", 9, NULL},
    {1, 0, 7, "0+0xffffffff80001234 3+0x0", 2, NULL},
    {1, 0, 8, "0+0xffffffff80001234", 1, NULL},
    {1, 0, 9, "4+0x20", 1, NULL}}; /* as the first row's, in another build */

static mtrace_snapshot *code_snapshot(void) {
    return test_make_code(code, sizeof code / sizeof *code, modules, 4);
}

static uint64_t number_in(const bytes *b, size_t at) {
    uint64_t value;
    size_t i;
    for (value = 0, i = 8; i > 0; i--) {
        value = value << 8 | b->data[at + i - 1];
    }
    return value;
}

/* The file has each location once, for any number of stacks. */
static void test_code_comes_back(void **state) {
    mtrace_snapshot *s = code_snapshot();
    (void)state;
    assert_comes_back(s, 6);
    assert_again_the_same();
    assert_int_equal(number_in(&file, 32), 12);
    assert_int_equal(number_in(&file, 216), 4);
    assert_int_equal(number_in(&file, 224), 8);
    assert_int_equal(file.size, HEADER + number_in(&file, 24) + 4 * MODULE + 8 * LOCATION +
                                    12 * FRAME + 5 * ROW + 6 * 32 + HASH);
    mtrace_snapshot_free(s);
}

/* More locations than the writer remembers, in stacks that share their callers. */
static void test_many_locations(void **state) {
    enum { ROWS = 500, DEPTH = 8 };
    static mtrace_frame frames[ROWS][DEPTH];
    static mtrace_row rows[ROWS];
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_snapshot *s;
    uint32_t i, j;
    (void)state;
    for (i = 0; i < ROWS; i++) {
        for (j = 0; j < DEPTH; j++) {
            frames[i][j].module = modules + j % 2;
            frames[i][j].address = i >> 2 * (DEPTH - 1 - j);
            if (j == DEPTH / 2) { /* one that was given a name and keeps its address */
                frames[i][j].file = "x.c";
                frames[i][j].function = "f";
                frames[i][j].line = 1 + i / 300;
            }
        }
        rows[i].traceback.frames = frames[i];
        rows[i].traceback.count = DEPTH;
        rows[i].size = rows[i].count = 1;
    }
    parts.rows = rows;
    parts.row_count = ROWS;
    parts.modules = modules;
    parts.module_count = 3;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    assert_comes_back(s, ROWS);
    assert_true(number_in(&file, 224) < ROWS * DEPTH / 4);
    mtrace_snapshot_free(s);
}

static void test_comes_back_from_a_file(void **state) {
    mtrace_snapshot *s = some_snapshot(), *back;
    mtrace_buffer memory = MTRACE_ZERO_;
    (void)state;
    assert_int_equal(mtrace_snapshot_dump(s, path), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_load(&back, path, NULL), MTRACE_OK);
    same_snapshot(s, back);
    mtrace_snapshot_free(back);
    assert_int_equal(mtrace_snapshot_load(&back, path, &memory), MTRACE_ERR_NO_MEMORY);
    assert_null(back);
    memory.data = malloc(memory.size); /* what it asked for */
    assert_int_equal(mtrace_snapshot_load(&back, path, &memory), MTRACE_OK);
    same_snapshot(s, back);
    free(memory.data);
    assert_int_equal(unlink(path), 0);
    done(s);
}

/* More names than the writer remembers, borrowed ones, and files that are read byte by byte. */
static void test_many_names(void **state) {
    enum { NAMES = 2000 };
    static char names[NAMES][24];
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *s, *back;
    uint32_t i;
    (void)state;
    desc.max_blocks = 32768;
    desc.borrow_names = true;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    for (i = 0; i < 2 * NAMES; i++) {
        mtrace_site site = MTRACE_ZERO_;
        snprintf(names[i % NAMES], sizeof names[0], "dir/file_%u.c", (unsigned)(i % NAMES));
        site.file = names[i % NAMES];
        site.line = i;
        assert_int_equal(mtrace_track_at(1, i, i, &site), MTRACE_OK);
    }
    s = test_take(false);
    dump(&file, s);
    file.most = 1;
    assert_int_equal(load(&back, &file), MTRACE_OK);
    memset(names, 'x', sizeof names - 1); /* the copy's names are its own */
    assert_string_equal(mtrace_snapshot_get_parts(back).rows[1].file, "dir/file_0.c");
    assert_string_equal(mtrace_snapshot_get_parts(back).rows[NAMES].file, "dir/file_1999.c");
    assert_int_equal(mtrace_snapshot_get_parts(back).trace_count, 2 * NAMES);
    mtrace_snapshot_free(back);
    mtrace_snapshot_free(s);
    mtrace_stop();
}

/* Two files of one run compare as its snapshots do: totals show the allocations in between. */
static void test_compare_files(void **state) {
    mtrace_snapshot *s = some_snapshot(), *later, *a, *b;
    mtrace_rows *live, *loaded;
    size_t i;
    (void)state;
    MT_FREE(held[0]);
    held[0] = MT_MALLOC(333);
    later = test_take(true);
    dump(&file, s);
    dump(&other, later);
    assert_int_equal(load(&a, &file), MTRACE_OK);
    assert_int_equal(load(&b, &other), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_compare_to(&live, later, s, MTRACE_BY_TRACEBACK, NULL),
                     MTRACE_OK);
    assert_int_equal(mtrace_snapshot_compare_to(&loaded, b, a, MTRACE_BY_TRACEBACK, NULL),
                     MTRACE_OK);
    assert_int_equal(live->count, loaded->count);
    for (i = 0; i < live->count; i++) {
        same_row(&live->rows[i], &loaded->rows[i]);
    }
    assert_int_equal(loaded->total.total_size, 333);
    mtrace_rows_free(live);
    mtrace_rows_free(loaded);
    mtrace_snapshot_free(a);
    mtrace_snapshot_free(b);
    mtrace_snapshot_free(later);
    done(s);
}

/* --- files of version 1 --- */

/* Written by a version of the library that knew no other: sampled every 64 KiB, three samples of
   4 KiB in a scope, two blocks of 200,000 bytes, one of them freed. */
static const char version_1[] =
    "894d5452430d0a1a01000000010000005ea0bbfadbd813b92e00000000000000040000000000000003000000"
    "0000000004000000000000007f25060000000000bf3209000000000040000000000000000400000000000000"
    "0500000000000000000000000000000008000000000000000200000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0800000000000000010000000000000040cc000000000000040000000000000000000100000000003c6f7468"
    "65723e006d61696e2e63006d61696e00612e63006c6f616400622e6300696e74007465787475726573000000"
    "0000ffffffff00000000080000000f000000090000001400000018000000030000001d000000ffffffff7011"
    "01000100000001000000ffffffffffffffff0000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000200000002000000ffffffffffffffff010000000000"
    "00003f1803000000000032000000000000003f1803000000000032000000000000003f180300000000003200"
    "00000000000000000000000000000000000000000000000000000000000000000000000000000010c0ff0200"
    "000000030000000000000010c0ff0200000000030000000000000010c0ff0200000000030000000000000100"
    "00000100000021000000250000000700000000000000400d0300000000000100000000000000801a06000000"
    "00000200000000000000801a0600000000000200000000000000010000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000500000000000000400d03000000000004000000000000000200"
    "0000000000000001000000000000001000000000000002000000000000000100000000000000b00400000000"
    "0000001000000000000003000000000000000100000000000000200000000000000000100000000000000100"
    "0000000000000100000000000000f57adc851bbbe3a6";

static void decode(bytes *b, const char *hex) {
    memset(b, 0, sizeof *b);
    b->most = ROOM;
    for (; hex[2 * b->size] != '\0'; b->size++) {
        unsigned value;
        assert_int_equal(sscanf(hex + 2 * b->size, "%2x", &value), 1);
        b->data[b->size] = (unsigned char)value;
    }
}

/* Its rows are longer: they have variances. That of live bytes becomes the counter that gives the
   same error. */
static void test_version_1(void **state) {
    mtrace_snapshot *s;
    mtrace_snapshot_parts parts;
    (void)state;
    decode(&file, version_1);
    assert_int_equal(load(&s, &file), MTRACE_OK);
    parts = mtrace_snapshot_get_parts(s);
    assert_int_equal(parts.info.sample_interval, 65536);
    assert_int_equal(parts.row_count, 3); /* the first is <other> */
    assert_string_equal(parts.rows[1].file, "a.c");
    assert_string_equal(parts.rows[1].traceback.frames[0].file, "main.c");
    assert_int_equal(parts.rows[1].size, 202815);
    assert_int_equal(parts.rows[1].count, 50);
    assert_int_equal(mtrace_standard_error(&parts.rows[1], parts.info.sample_interval), 113493);
    assert_string_equal(parts.rows[2].domain_name, "textures");
    assert_int_equal(parts.rows[2].size, 200000);
    assert_int_equal(parts.rows[2].total_size, 400000);
    assert_int_equal(parts.rows[2].frees, 1);
    assert_int_equal(parts.rows[2].estimated_size, 0);
    assert_int_equal(parts.block_count, 4);
    assert_int_equal(parts.blocks[1].row, 1);
    assert_int_equal(parts.blocks[1].size, 4096);
    dump(&other, s); /* as version 2, and it is the same */
    mtrace_snapshot_free(s);
    assert_int_equal(other.data[8], 2);
    assert_int_equal(other.size,
                     file.size + HEADER - HEADER_1 + 4 * (LOCATION + FRAME - 12) - 3 * 40);
    assert_int_equal(load(&s, &other), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_get_parts(s).rows[1].estimated_size,
                     12880711680 / 65536); /* its variance / the interval */
    mtrace_snapshot_free(s);
}

/* --- files that are not right --- */

static void refused(bytes *b, mtrace_result result) {
    mtrace_snapshot *out = (mtrace_snapshot *)(void *)b;
    assert_int_equal(load(&out, b), result);
    assert_null(out);
}

static void assert_whole_or_refused(void) {
    size_t whole = file.size;
    for (file.size = 0; file.size < whole; file.size++) {
        refused(&file, file.size < 8 ? MTRACE_ERR_NOT_SNAPSHOT : MTRACE_ERR_TRUNCATED);
    }
    file.size = whole + 1;
    refused(&file, MTRACE_ERR_CORRUPT);
}

static void assert_every_bit_counts(void) {
    mtrace_snapshot *out;
    size_t bit;
    for (bit = 0; bit < 8 * file.size; bit++) {
        unsigned char flip = (unsigned char)(1u << bit % 8);
        file.data[bit / 8] = (unsigned char)(file.data[bit / 8] ^ flip);
        assert_int_not_equal(load(&out, &file), MTRACE_OK);
        assert_null(out);
        file.data[bit / 8] = (unsigned char)(file.data[bit / 8] ^ flip);
    }
    assert_int_equal(load(&out, &file), MTRACE_OK);
    mtrace_snapshot_free(out);
}

static void test_said_why(void **state) {
    static const struct {
        const char *name;
        size_t at; /* SIZE_MAX: the last byte */
        unsigned char flip;
        bool sealed;
        mtrace_result result;
    } changes[] = {{"another magic", 0, 1, false, MTRACE_ERR_NOT_SNAPSHOT},
                   {"version 3", 8, 1, false, MTRACE_ERR_VERSION},
                   {"version 0", 8, 2, false, MTRACE_ERR_VERSION},
                   {"another hash", SIZE_MAX, 1, false, MTRACE_ERR_CORRUPT},
                   {"a flag of a later version", 12, 2, true, MTRACE_ERR_CORRUPT}};
    mtrace_snapshot *s = some_snapshot();
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, changes); i++) {
        unsigned char *byte;
        dump(&file, s);
        byte = &file.data[changes[i].at == SIZE_MAX ? file.size - 1 : changes[i].at];
        *byte = (unsigned char)(*byte ^ changes[i].flip);
        if (changes[i].sealed) {
            seal(&file);
        }
        refused(&file, changes[i].result);
    }
    done(s);
}

/* Asks a snapshot everything. */
static void ask(mtrace_snapshot *s) {
    static const mtrace_key_type keys[] = {
        MTRACE_BY_LINE,      MTRACE_BY_FUNCTION | MTRACE_KEY_CUMULATIVE,
        MTRACE_BY_TYPE,      MTRACE_BY_DOMAIN,
        MTRACE_BY_TRACEBACK,
    };
    mtrace_rows *statistics;
    mtrace_report_desc desc = MTRACE_ZERO_;
    test_output out;
    size_t i;
    desc.write = test_write;
    desc.write_user = &out;
    desc.top = 3;
    for (i = 0; i < sizeof keys / sizeof *keys; i++) {
        out.length = 0;
        statistics = test_rows(s, keys[i]);
        assert_int_equal(mtrace_report(statistics, &desc), MTRACE_OK);
        mtrace_rows_free(statistics);
    }
}

/* A file of version 1 that was not sampled has none. */
static void test_estimates_come_back(void **state) {
    mtrace_snapshot *s = some_snapshot(), *sampled, *back;
    mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(s);
    mtrace_row rows[16];
    size_t i;
    (void)state;
    assert_true(parts.row_count <= 16);
    for (i = 0; i < parts.row_count; i++) {
        rows[i] = parts.rows[i];
        rows[i].estimated_size = 1000 * i;
    }
    parts.rows = rows;
    parts.info.sample_interval = 65536;
    parts.info.lost_interned = 77;
    assert_int_equal(mtrace_snapshot_make(&sampled, &parts, NULL), MTRACE_OK);
    dump(&file, sampled);
    assert_int_equal(load(&back, &file), MTRACE_OK);
    same_snapshot(sampled, back);
    assert_int_equal(mtrace_snapshot_get_parts(back).rows[2].estimated_size, 2000);
    mtrace_snapshot_free(back);
    mtrace_snapshot_free(sampled);
    done(s);
    decode(&file, version_1);
    set_number(&file, 72 + 17 * 8, 0, 8);
    seal(&file);
    assert_int_equal(load(&back, &file), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_get_parts(back).rows[1].estimated_size, 0);
    mtrace_snapshot_free(back);
}

/* A made-up file can have a right hash, too. Each byte takes other values. The file is then
   refused, or it is a snapshot like any other and takes no more memory than a few times the file.
 */
static void assert_harmless(void) {
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
    size_t i, j, good = 0, bad = 0;
    mtrace_snapshot *out;
    for (i = 8; i < file.size - HASH; i++) {
        for (j = 0; j < sizeof values; j++) {
            unsigned char old = file.data[i];
            file.data[i] = values[j];
            seal(&file);
            test_largest = 0;
            if (load(&out, &file) == MTRACE_OK) {
                ask(out);
                mtrace_snapshot_free(out);
                good++;
            } else {
                assert_null(out);
                bad++;
            }
            assert_true(test_largest < 65536 + 4 * file.size);
            file.data[i] = old;
        }
    }
    assert_true(good > 100 && bad > 100);
}

/* With lines, with code, and of version 1. */
static void for_each_file(void (*check)(void)) {
    mtrace_snapshot *s = some_snapshot();
    dump(&file, s);
    check();
    done(s);
    s = code_snapshot();
    dump(&file, s);
    check();
    mtrace_snapshot_free(s);
    decode(&file, version_1);
    check();
}

static void test_cut_anywhere(void **state) {
    (void)state;
    for_each_file(assert_whole_or_refused);
}

static void test_every_bit_counts(void **state) {
    (void)state;
    for_each_file(assert_every_bit_counts);
}

static void test_hostile(void **state) {
    (void)state;
    for_each_file(assert_harmless);
}

/* Headers that promise more than there is, or than there can be. */
static void test_promises(void **state) {
    static const uint64_t counts[] = {1u << 16,          (uint64_t)1 << 32, (uint64_t)1 << 44,
                                      (uint64_t)1 << 48, UINT64_MAX / 32,   UINT64_MAX};
    static const size_t fields[] = {24, 32, 40, 48, 216, 224};
    mtrace_snapshot *s = some_snapshot(), *out;
    size_t field, i;
    (void)state;
    for (field = 0; field < sizeof fields / sizeof *fields; field++) {
        for (i = 0; i < sizeof counts / sizeof *counts; i++) {
            mtrace_result result;
            dump(&file, s);
            set_number(&file, fields[field], counts[i], 8);
            seal(&file);
            test_largest = 0;
            result = load(&out, &file);
            assert_true(result == MTRACE_ERR_TRUNCATED || result == MTRACE_ERR_CORRUPT);
            assert_null(out);
            assert_true(test_largest < 65536 + 4 * file.size);
        }
    }
    done(s);
}

/* A file of one name of `length` bytes, and `rows` rows of one frame of that name at offset `at`.
 */
static void make_of_one_name(bytes *b, size_t length, size_t rows, uint64_t at, uint64_t count) {
    size_t i, locations = HEADER + length + 1, frames = locations + LOCATION * rows;
    size_t first = frames + FRAME * rows;
    memset(b, 0, sizeof *b);
    b->most = ROOM;
    b->size = first + ROW * rows + HASH;
    assert_true(b->size <= ROOM);
    memcpy(b->data, "\x89MTRC\r\n\x1a", 8);
    b->data[8] = 2;
    set_number(b, 24, length + 1, 8);
    set_number(b, 32, rows, 8);
    set_number(b, 40, rows, 8);
    set_number(b, 224, rows, 8);
    memset(b->data + HEADER, 'a', length);
    for (i = 0; i < rows; i++) {
        size_t row = first + ROW * i, location = locations + LOCATION * i;
        set_number(b, location, at, 4);
        set_number(b, location + 4, UINT32_MAX, 4);
        set_number(b, location + 8, i, 4);
        set_number(b, frames + FRAME * i, i, 4);
        set_number(b, row, 1, 4);
        set_number(b, row + 4, 1, 4);
        set_number(b, row + 8, UINT32_MAX, 4);
        set_number(b, row + 12, UINT32_MAX, 4);
        set_number(b, row + 24, 100, 8);
        set_number(b, row + 32, count, 8);
    }
    seal(b);
}

/* A file of one row with that number of frames. All are code at offset 0 of a module with a path of
   `length` bytes. */
static void make_of_one_location(bytes *b, size_t length, size_t frames) {
    size_t module = HEADER + length + 1, location = module + MODULE;
    size_t row = location + LOCATION + FRAME * frames;
    memset(b, 0, sizeof *b);
    b->most = ROOM;
    b->size = row + ROW + HASH;
    assert_true(b->size <= ROOM);
    memcpy(b->data, "\x89MTRC\r\n\x1a", 8);
    b->data[8] = 2;
    set_number(b, 24, length + 1, 8);
    set_number(b, 32, frames, 8);
    set_number(b, 40, 1, 8);
    set_number(b, 216, 1, 8);
    set_number(b, 224, 1, 8);
    memset(b->data + HEADER, 'a', length);
    set_number(b, location, UINT32_MAX, 4);
    set_number(b, location + 4, UINT32_MAX, 4);
    set_number(b, location + 12, 1, 4);
    set_number(b, row, frames, 4);
    set_number(b, row + 8, UINT32_MAX, 4);
    set_number(b, row + 12, UINT32_MAX, 4);
    set_number(b, row + 24, 100, 8);
    set_number(b, row + 32, 1, 8);
    seal(b);
}

/* One number at a time, in a file of one row that is otherwise right. */
static void test_bad_code(void **state) {
    enum {
        MODULE_AT = HEADER + 6,
        LOCATION_AT = MODULE_AT + MODULE,
        FRAME_AT = LOCATION_AT + LOCATION
    };
    static const struct {
        const char *name;
        size_t at;
        uint64_t value;
        size_t size;
        bool good;
    } changes[] = {
        {"as it was", MODULE_AT + 24, 0, 1, true},
        {"a path that begins within a name", MODULE_AT, 1, 4, false},
        {"no path", MODULE_AT, UINT32_MAX, 4, false},
        {"a build id of zeros", MODULE_AT + 4, 32, 4, true},
        {"one that is too long", MODULE_AT + 4, 33, 4, false},
        {"bytes behind its end", MODULE_AT + 24, 1, 1, false},
        {"bytes far behind its end", MODULE_AT + 55, 1, 1, false},
        {"any load address", MODULE_AT + 8, UINT64_MAX, 8, true},
        {"a file of code without a line", LOCATION_AT, 0, 4, false},
        {"a line without a file", LOCATION_AT + 8, 1, 4, false},
        {"no module and no address, nor a file", LOCATION_AT + 12, 0, 4, false},
        {"a module that is not there", LOCATION_AT + 12, 2, 4, false},
        {"the last module that is not there", LOCATION_AT + 12, UINT32_MAX, 4, false},
        {"any address", LOCATION_AT + 16, UINT64_MAX, 8, true},
        {"a location that is not there", FRAME_AT, 1, 4, false},
        {"the last location that is not there", FRAME_AT, UINT32_MAX, 4, false},
    };
    mtrace_snapshot *s;
    size_t i;
    (void)state;
    for (i = 0; TEST_ROWS(i, changes); i++) {
        make_of_one_location(&file, 5, 1);
        set_number(&file, changes[i].at, changes[i].value, changes[i].size);
        seal(&file);
        if (changes[i].good) {
            assert_int_equal(load(&s, &file), MTRACE_OK);
            ask(s);
            mtrace_snapshot_free(s);
        } else {
            refused(&file, MTRACE_ERR_CORRUPT);
        }
    }
}

static uint64_t written;

static void count_bytes(const char *text, size_t length, void *user) {
    (void)text;
    (void)user;
    written += length;
}

/* The number behind the last location's, where the frames would pass for one. */
static void test_frames_as_a_location(void **state) {
    (void)state;
    make_of_one_location(&file, 5, 6);
    file.data[HEADER] = 0; /* names: "", "aaaa" */
    set_number(&file, HEADER + 6 + MODULE + LOCATION, 1, 4);
    seal(&file);
    refused(&file, MTRACE_ERR_CORRUPT);
}

/* Frames are short in the file. There is still a bound on the memory allocated for them, and on
   their text. */
static void test_frames_of_a_small_file(void **state) {
    enum { LENGTH = 1000, MANY = 200000 };
    mtrace_snapshot *s, *more;
    mtrace_snapshot_parts parts;
    mtrace_row rows[2];
    size_t count;
    (void)state;
    make_of_one_location(&file, 5, MANY);
    test_largest = 0;
    assert_int_equal(load(&s, &file), MTRACE_OK);
    assert_true(test_largest < 11 * file.size);
    mtrace_snapshot_free(s);
    make_of_one_location(&file, 1200, MANY);
    refused(&file, MTRACE_ERR_CORRUPT);
    for (count = 16000; count < MANY; count += 1000) {
        make_of_one_location(&file, 2 * LENGTH, count);
        if (load(&s, &file) != MTRACE_OK) {
            break;
        }
        written = 0; /* what is read can be written */
        assert_int_equal(mtrace_snapshot_dump_to(s, count_bytes, NULL), MTRACE_OK);
        assert_int_equal(written, file.size);
        mtrace_snapshot_free(s);
    }
    assert_int_equal(count, 18000);
    make_of_one_location(&file, 2 * LENGTH, count - 1000);
    assert_int_equal(load(&s, &file), MTRACE_OK);
    parts = mtrace_snapshot_get_parts(s);
    rows[0] = rows[1] = parts.rows[0];
    parts.rows = rows;
    parts.row_count = 2;
    assert_int_equal(mtrace_snapshot_make(&more, &parts, NULL), MTRACE_OK);
    written = 0; /* and what cannot be read is not written */
    assert_int_equal(mtrace_snapshot_dump_to(more, count_bytes, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(written, 0);
    mtrace_snapshot_free(more);
    mtrace_snapshot_free(s);
}

/* Names inside of other names would be many bytes in few. */
static void test_names_that_overlap(void **state) {
    mtrace_snapshot *s;
    (void)state;
    make_of_one_name(&file, 100, 2, 0, 1);
    assert_int_equal(load(&s, &file), MTRACE_OK);
    mtrace_snapshot_free(s);
    make_of_one_name(&file, 100, 2, 1, 1);
    refused(&file, MTRACE_ERR_CORRUPT);
}

/* A file's text, each name once for each reference, is in proportion to the file. At the bound the
   file is read back, and beyond it nothing is written. */
static void test_text_of_a_small_file(void **state) {
    enum { LENGTH = 299999, MOST = 400 };
    mtrace_snapshot_parts parts;
    static mtrace_row rows[MOST + 1];
    mtrace_snapshot *s, *more;
    size_t count;
    (void)state;
    make_of_one_name(&file, LENGTH, MOST, 0, 1);
    for (count = MOST; load(&s, &file) != MTRACE_OK; count--) {
        refused(&file, MTRACE_ERR_CORRUPT);
        make_of_one_name(&file, LENGTH, count - 1, 0, 1);
    }
    assert_int_equal(count, 354);
    written = 0;
    assert_int_equal(mtrace_snapshot_dump_to(s, count_bytes, NULL), MTRACE_OK);
    assert_int_equal(written, file.size);
    parts = mtrace_snapshot_get_parts(s);
    for (parts.row_count = 0; parts.row_count <= MOST; parts.row_count++) {
        rows[parts.row_count] = parts.rows[0];
    }
    parts.rows = rows;
    assert_int_equal(mtrace_snapshot_make(&more, &parts, NULL), MTRACE_OK);
    written = 0;
    assert_int_equal(mtrace_snapshot_dump_to(more, count_bytes, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(written, 0);
    mtrace_snapshot_free(more);
    mtrace_snapshot_free(s);
}

/* Counters of a small file may stand for billions of blocks: a pickle does not make them up. */
static void test_pickle_of_a_small_file(void **state) {
    mtrace_snapshot *s;
    (void)state;
    make_of_one_name(&file, 9, 2, 0, (1 << 23) + 1);
    assert_int_equal(load(&s, &file), MTRACE_OK);
    written = 0;
    assert_int_equal(mtrace_snapshot_dump_pickle_to(s, count_bytes, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(written, 0);
    mtrace_snapshot_free(s);
    make_of_one_name(&file, 9, 1, 0, UINT64_MAX);
    assert_int_equal(load(&s, &file), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_dump_pickle_to(s, count_bytes, NULL), MTRACE_ERR_ARGUMENT);
    mtrace_snapshot_free(s);
    make_of_one_name(&file, 9, 2, 0, 1000);
    assert_int_equal(load(&s, &file), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_dump_pickle_to(s, count_bytes, NULL), MTRACE_OK);
    mtrace_snapshot_free(s);
}

static void test_no_memory(void **state) {
    mtrace_snapshot *s = some_snapshot(), *out;
    mtrace_buffer memory;
    unsigned char small[64];
    int i, failures = 0;
    (void)state;
    dump(&file, s);
    for (i = 0; i < 16; i++) {
        mtrace_result result;
        /* the i-th allocation fails, those before it do not */
        file.at = 0;
        test_largest = 0;
        test_fail_after = i;
        result = mtrace_snapshot_load_from(&out, next_bytes, &file, NULL);
        test_fail_after = -1;
        if (result == MTRACE_OK) {
            mtrace_snapshot_free(out);
            break;
        }
        assert_int_equal(result, MTRACE_ERR_NO_MEMORY);
        assert_null(out);
        failures++;
    }
    assert_true(failures >= 3 && failures < 16);
    memory.data = small;
    memory.size = sizeof small;
    file.at = 0;
    assert_int_equal(mtrace_snapshot_load_from(&out, next_bytes, &file, &memory),
                     MTRACE_ERR_NO_MEMORY);
    assert_null(out);
    test_fail_after = 0;
    assert_int_equal(mtrace_snapshot_dump(s, path), MTRACE_ERR_NO_MEMORY);
    test_fail_after = -1;
    done(s);
}

static size_t fails(void *buffer, size_t size, void *user) {
    (void)buffer;
    (void)size;
    (void)user;
    return SIZE_MAX;
}

static size_t lies(void *buffer, size_t size, void *user) {
    (void)buffer;
    (void)user;
    return size + 1;
}

static void test_io_errors(void **state) {
    mtrace_snapshot *s = some_snapshot(), *out;
    (void)state;
    assert_int_equal(mtrace_snapshot_load_from(&out, fails, NULL, NULL), MTRACE_ERR_IO);
    assert_int_equal(mtrace_snapshot_load_from(&out, lies, NULL, NULL), MTRACE_ERR_IO);
    assert_int_equal(mtrace_snapshot_load(&out, "/nowhere/at/all", NULL), MTRACE_ERR_IO);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(mtrace_snapshot_load(&out, test_folder, NULL),
                     MTRACE_ERR_IO); /* a directory */
    assert_int_equal(mtrace_snapshot_dump(s, "/nowhere/at/all"), MTRACE_ERR_IO);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(mtrace_snapshot_dump_pickle(s, "/nowhere/at/all"), MTRACE_ERR_IO);
    assert_int_equal(mtrace_snapshot_dump(NULL, path), MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_snapshot_dump(s, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_snapshot_dump_to(s, NULL, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_snapshot_dump_pickle_to(NULL, append, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_snapshot_load(&out, NULL, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_snapshot_load_from(&out, NULL, NULL, NULL), MTRACE_ERR_ARGUMENT);
    assert_null(out);
    done(s);
}

/* --- the old file stays --- */

static void test_full_disk(void **state) {
    mtrace_snapshot *s, *out;
    (void)state;
    TEST_NEEDS_POSIX();
    s = some_snapshot();
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(mtrace_snapshot_dump(s, path), MTRACE_OK);
    test_limit_file_size(100);
    assert_int_equal(mtrace_snapshot_dump(s, path), MTRACE_ERR_IO);
    test_limit_file_size(RLIM_INFINITY);
    assert_int_equal(test_files_in(test_folder), 1);
    assert_int_equal(mtrace_snapshot_load(&out, path, NULL), MTRACE_OK);
    same_snapshot(s, out);
    mtrace_snapshot_free(out);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0); /* nothing can be renamed to it */
    assert_int_equal(mtrace_snapshot_dump(s, path), MTRACE_ERR_IO);
    assert_int_equal(test_files_in(test_folder), 1);
    assert_int_equal(rmdir(path), 0);
    done(s);
}

static void dump_forever(const mtrace_snapshot *s) {
    while (mtrace_snapshot_dump(s, path) == MTRACE_OK) {
    }
    _exit(1);
}

/* The writer is killed at any point. The file with the name is complete every time. */
static void test_killed_writer(void **state) {
    mtrace_snapshot *s, *out;
    int round, status;
    (void)state;
    TEST_NEEDS_POSIX();
    s = some_snapshot();
    assert_int_equal(mtrace_snapshot_dump(s, path), MTRACE_OK);
    for (round = 0; round < 40; round++) {
        struct timespec time = {0, 200000 + 37000 * round};
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            dump_forever(s);
        }
        nanosleep(&time, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(mtrace_snapshot_load(&out, path, NULL), MTRACE_OK);
        same_snapshot(s, out);
        mtrace_snapshot_free(out);
    }
    done(s);
}

static int make_folder(void **state) {
    test_measures = true;
    if (test_make_folder(state) != 0) {
        return -1;
    }
    snprintf(path, sizeof path, "%s", test_in_folder("snapshot"));
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back),
        cmocka_unit_test(test_in_used_memory),
        cmocka_unit_test(test_code_comes_back),
        cmocka_unit_test(test_many_locations),
        cmocka_unit_test(test_comes_back_from_a_file),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_compare_files),
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_estimates_come_back),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_every_bit_counts),
        TEST_OF_ROWS(test_said_why),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_promises),
        cmocka_unit_test(test_names_that_overlap),
        TEST_OF_ROWS(test_bad_code),
        cmocka_unit_test(test_frames_as_a_location),
        cmocka_unit_test(test_frames_of_a_small_file),
        cmocka_unit_test(test_text_of_a_small_file),
        cmocka_unit_test(test_pickle_of_a_small_file),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_io_errors),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_killed_writer),
    };
    return cmocka_run_group_tests(tests, make_folder, test_remove_folder);
}

/* Names of code, found late: symbols of ELF files that are made here, for machines of both byte
   orders and word sizes; build ids, folders of another machine, separate debug files; the output
   of programs like addr2line, good and bad. No file and no program may crash or hang it. Real
   compilers and real programs are in names.sh. */

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif
#include "support/test.h"
#include "support/files.h"
#include "support/traces.h"

#include "../mtrace_ext.h"

#include <sys/stat.h>
#include <unistd.h>

/* --- ELF files --- */

typedef struct symbol {
    const char *name;
    uint64_t start;
    uint64_t size;
    unsigned info; /* binding * 16 + type */
} symbol;

enum { LOCAL_CODE = 0x02, GLOBAL_CODE = 0x12, WEAK_CODE = 0x22, GLOBAL_DATA = 0x11, IFUNC = 0x1a };

typedef struct elf {
    bool wide, big;
    unsigned machine;
    unsigned symbol_table; /* its type: 2 is .symtab, 11 is .dynsym. 0: none */
    const symbol *symbols;
    size_t symbol_count;
    const char *extra; /* the name of one more section */
    const char *id;    /* the build id; NULL: none */
    bool is_numerous;  /* the numbers of sections stand in the first section */
    unsigned char bytes[8192];
    size_t size;
} elf;

static void put(elf *e, size_t at, size_t bytes, uint64_t value) {
    size_t i;
    assert_true(at + bytes <= sizeof e->bytes);
    for (i = 0; i < bytes; i++) {
        e->bytes[e->big ? at + bytes - 1 - i : at + i] = (unsigned char)(value >> 8 * i);
    }
    e->size = at + bytes > e->size ? at + bytes : e->size;
}

/* A word at one of two offsets. */
static void put_word(elf *e, size_t at, size_t narrow, size_t wide, uint64_t value) {
    put(e, at + (e->wide ? wide : narrow), e->wide ? 8 : 4, value);
}

static size_t put_text(elf *e, const char *text) {
    size_t at = e->size, i;
    for (i = 0; i <= strlen(text); i++) {
        put(e, at + i, 1, (unsigned char)text[i]);
    }
    return at;
}

static void put_section(elf *e, size_t table, unsigned number, unsigned name, unsigned type,
                        size_t offset, size_t size, unsigned link, size_t element) {
    size_t at = table + number * (e->wide ? 64u : 40u);
    put(e, at, 4, name);
    put(e, at + 4, 4, type);
    put_word(e, at, 16, 24, offset);
    put_word(e, at, 20, 32, size);
    put(e, at + (e->wide ? 40 : 24), 4, link);
    put_word(e, at, 36, 56, element);
}

static size_t put_note(elf *e) {
    size_t at = e->size, i;
    put(e, at, 4, 4);
    put(e, at + 4, 4, strlen(e->id));
    put(e, at + 8, 4, 3);
    put_text(e, "GNU");
    for (i = 0; i < strlen(e->id); i++) {
        put(e, at + 16 + i, 1, (unsigned char)e->id[i]);
    }
    return at;
}

/* Its symbols: two segments of 0x1800 bytes in memory, from 0x400000 on. Its sections: symbols,
   their names, the sections' names, the extra one, the note. */
static void make(elf *e) {
    static const char names[] = "\0.symtab\0.strtab\0.shstrtab\0.note";
    size_t each = e->wide ? 24 : 16, strings, text, note, segments, table, i, at;
    memset(e->bytes, 0, sizeof e->bytes);
    e->size = e->wide ? 64 : 52;
    segments = e->size;
    put(e, segments + 3 * 56 - 1, 1, 0);
    at = e->size;
    put(e, at + each * (e->symbol_count + 1) - 1, 1, 0);
    strings = put_text(e, "");
    for (i = 0; i < e->symbol_count; i++) {
        const symbol *s = &e->symbols[i];
        size_t to = at + each * (i + 1);
        put(e, to, 4, put_text(e, s->name) - strings);
        put(e, to + (e->wide ? 4 : 12), 1, s->info);
        put(e, to + (e->wide ? 6 : 14), 2, 1);
        put_word(e, to, 4, 8, s->start);
        put_word(e, to, 8, 16, s->size);
    }
    text = e->size;
    for (i = 0; i < sizeof names; i++) {
        put(e, text + i, 1, (unsigned char)names[i]);
    }
    put_text(e, e->extra == NULL ? "" : e->extra);
    note = e->id == NULL ? e->size : put_note(e);
    table = (e->size + 7) / 8 * 8;
    put_section(e, table, 0, 0, 0, 0, e->is_numerous ? 6 : 0, e->is_numerous ? 3 : 0, 0);
    put_section(e, table, 1, 1, e->symbol_table, at, each * (e->symbol_count + 1), 2, each);
    put_section(e, table, 2, 9, 3, strings, text - strings, 0, 0);
    put_section(e, table, 3, 17, 3, text, note - text, 0, 0);
    put_section(e, table, 4, (unsigned)sizeof names, 1, text, 1, 0, 0);
    put_section(e, table, 5, 27, e->id == NULL ? 1 : 7, note, table - note, 0, 0);
    for (i = 0; i < 2; i++) { /* two segments to load, one of notes */
        size_t segment = segments + i * (e->wide ? 56u : 32u);
        put(e, segment, 4, 1);
        put_word(e, segment, 8, 16, 0x400000 + i * 0x1000);
        put_word(e, segment, 20, 40, 0x800);
        put_word(e, segment, 28, 48, 0x1000);
    }
    put(e, segments + 2 * (e->wide ? 56u : 32u), 4, e->id == NULL ? 0 : 4);
    put_word(e, segments + 2 * (e->wide ? 56u : 32u), 4, 8, note);
    put_word(e, segments + 2 * (e->wide ? 56u : 32u), 16, 32, table - note);
    memcpy(e->bytes, "\177ELF", 4);
    put(e, 4, 1, e->wide ? 2 : 1);
    put(e, 5, 1, e->big ? 2 : 1);
    put(e, 18, 2, e->machine);
    put_word(e, 0, 28, 32, segments);
    put_word(e, 0, 32, 40, table);
    at = e->wide ? 54 : 42;
    put(e, at, 2, e->wide ? 56 : 32);
    put(e, at + 2, 2, 3);
    put(e, at + 4, 2, e->wide ? 64 : 40);
    put(e, at + 6, 2, e->is_numerous ? 0 : 6);
    put(e, at + 8, 2, e->is_numerous ? 0xffff : 3);
}

static void save(const char *path, const void *bytes, size_t size) {
    FILE *f;
    remove(path); /* some file systems write at once what replaces a file */
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* A path in the folder. It stays. */
static const char *in_folder(const char *name) {
    static char paths[24][256];
    char path[256];
    size_t i = 0;
    snprintf(path, sizeof path, "%s/%s", test_folder, name);
    while (paths[i][0] != '\0' && strcmp(paths[i], path) != 0) {
        i++;
        assert_true(i < sizeof paths / sizeof *paths);
    }
    return strcpy(paths[i], path);
}

/* --- snapshots --- */

static mtrace_module module_of(const char *path, const char *id, uint64_t size) {
    mtrace_module module = MTRACE_ZERO_;
    module.path = path;
    module.size = size;
    module.load_address = 0x7f0000000000;
    module.build_id_size = id == NULL ? 0 : (uint32_t)strlen(id);
    memcpy(module.build_id, id == NULL ? "" : id, module.build_id_size);
    return module;
}

static test_output said;

/* The snapshot's rows by traceback, with functions: "f@a.c:3<g@a.c:9 10", the call site first. */
static void expect(const mtrace_snapshot *s, const char *wanted) {
    mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(s);
    test_output out;
    size_t i;
    uint32_t j;
    out.length = 0;
    out.text[0] = '\0';
    for (i = 0; i < parts.row_count; i++) {
        const mtrace_traceback *t = &parts.rows[i].traceback;
        test_print(&out, i == 0 ? "" : " | ");
        for (j = t->count; j-- > 0;) {
            const mtrace_frame *f = &t->frames[j];
            test_print(&out, "%s@", f->function == NULL ? "" : f->function);
            test_print_place(&out, f->line == 0 ? "" : f->file, f->line, f->module, f->address);
            test_print(&out, j == 0 ? " " : "<");
        }
        test_print(&out, "%llu", (unsigned long long)parts.rows[i].size);
    }
    assert_string_equal(out.text, wanted);
}

static mtrace_resolve_desc desc_of(const char *tool) {
    mtrace_resolve_desc desc = MTRACE_ZERO_;
    desc.tool = tool;
    desc.write = test_write;
    desc.write_user = &said;
    said.length = 0;
    said.text[0] = '\0';
    return desc;
}

static void expect_resolved(const test_trace *traces, size_t count, const mtrace_module *modules,
                            size_t module_count, const mtrace_resolve_desc *desc,
                            const char *wanted) {
    mtrace_snapshot *s = test_make_code(traces, count, modules, module_count), *named;
    assert_int_equal(mtrace_snapshot_resolve(&named, s, desc), MTRACE_OK);
    mtrace_snapshot_free(s); /* the new one has its own of all */
    expect(named, wanted);
    mtrace_snapshot_free(named);
}

#define EXPECT(traces, module, desc, wanted)                                                       \
    expect_resolved((traces), sizeof(traces) / sizeof *(traces), (module), 1, (desc), (wanted))

/* --- symbols --- */

static const symbol usual[] = {
    {"data", 0x400100, 0x100, GLOBAL_DATA}, {"first", 0x400100, 0x20, LOCAL_CODE},
    {"weak", 0x400140, 0x10, WEAK_CODE},    {"strong", 0x400140, 0x10, GLOBAL_CODE},
    {"local", 0x400140, 0x10, LOCAL_CODE},  {"around", 0x401000, 0x40, GLOBAL_CODE},
    {"inside", 0x401010, 0x10, LOCAL_CODE}, {"memcpy@@V2.14", 0x401040, 8, IFUNC},
    {"no_size", 0x401100, 0, GLOBAL_CODE},
};

static const test_trace places[] = {
    {1, 0, 1, "1+0x4000ff", 1, NULL},
    {1, 0, 2, "1+0x400100", 1, NULL},
    {1, 0, 3, "1+0x40011f", 1, NULL},
    {1, 0, 4, "1+0x400120", 1, NULL},
    {1, 0, 5, "1+0x400148", 1, NULL},
    {1, 0, 6, "1+0x401008", 1, NULL},
    {1, 0, 7, "1+0x401018", 1, NULL},
    {1, 0, 8, "1+0x401030", 1, NULL},
    {1, 0, 9, "1+0x401041", 1, NULL},
    {1, 0, 10, "1+0x401100", 1, NULL},
    {1, 0, 11, "m.c:3 1+0x400110 x@n.c:4 0+0x12", 4, "int"},
    {1, 0, 12, "run@m.c:5 1+0x400110", 2, NULL},
};
enum { PLACES = sizeof places / sizeof *places };
#define PLACES_NAMED                                                                               \
    "@+0x4000ff 1 | first@+0x400100 2 | first@+0x40011f 3 | @+0x400120 4 | strong@+0x400148 5 | "  \
    "around@+0x401008 6 | inside@+0x401018 7 | around@+0x401030 8 | memcpy@+0x401041 9 | "         \
    "@+0x401100 10 | @+0x12<x@n.c:4<first@+0x400110<@m.c:3 11 | first@+0x400110<run@m.c:5 12"

static elf file_of(bool wide, bool big, unsigned symbol_table) {
    elf e;
    memset(&e, 0, sizeof e);
    e.wide = wide;
    e.big = big;
    e.machine = 62;
    e.symbol_table = symbol_table;
    e.symbols = usual;
    e.symbol_count = sizeof usual / sizeof *usual;
    e.id = "an id";
    return e;
}

static void test_symbols(void **state) {
    int kind;
    (void)state;
    for (kind = 0; kind < 16; kind++) {
        elf e = file_of((kind & 1) != 0, (kind & 2) != 0, (kind & 4) != 0 ? 2 : 11);
        mtrace_resolve_desc desc = desc_of("");
        mtrace_module module = module_of(in_folder("x.so"), "an id", 0x1800);
        e.is_numerous = (kind & 8) != 0;
        make(&e);
        save(module.path, e.bytes, e.size);
        EXPECT(places, &module, &desc, PLACES_NAMED);
        assert_string_equal(said.text, "");
    }
}

/* The rest of the snapshot is copied, and frames that have names keep them. */
static void test_the_rest_stays(void **state) {
    elf e = file_of(true, false, 2);
    mtrace_module module = module_of(in_folder("x.so"), "an id", 0);
    mtrace_resolve_desc desc = desc_of("");
    mtrace_skip skip = MTRACE_ZERO_;
    const char *const patterns[] = {"first"};
    mtrace_rows *rows;
    mtrace_snapshot *s = test_make_code(places, PLACES, &module, 1), *named;
    mtrace_snapshot_parts before, after;
    (void)state;
    make(&e);
    save(module.path, e.bytes, e.size);
    skip.patterns = patterns;
    skip.count = 1;
    mtrace_snapshot_set_view(s, MTRACE_VIEW_TOTAL);
    mtrace_snapshot_set_skip(s, &skip);
    assert_int_equal(mtrace_snapshot_resolve(&named, s, &desc), MTRACE_OK);
    before = mtrace_snapshot_get_parts(s);
    after = mtrace_snapshot_get_parts(named);
    assert_int_equal(after.view, MTRACE_VIEW_TOTAL);
    assert_int_equal(after.block_count, before.block_count);
    assert_int_equal(after.trace_count, before.trace_count);
    assert_string_equal(after.rows[10].type, "int");
    assert_int_equal(after.rows[10].traceback.total, 4);
    assert_ptr_equal(after.rows[1].module, &after.modules[0]);
    assert_int_equal(after.modules[0].load_address, module.load_address);
    assert_string_equal(after.modules[0].path, module.path);
    assert_true(after.rows[1].function >= after.names &&
                after.rows[1].function < after.names + after.name_bytes);
    mtrace_snapshot_set_view(named, MTRACE_VIEW_LIVE);
    rows = test_rows(named, MTRACE_BY_LINE); /* the call site `first` is skipped */
    assert_int_equal(rows->rows[0].size, 12);
    assert_string_equal(rows->rows[0].function, "run");
    mtrace_rows_free(rows);
    mtrace_snapshot_free(named);
    mtrace_snapshot_free(s);
}

static void test_nothing_to_name(void **state) {
    static const test_trace plain[] = {{2, 0, 1, "f@m.c:3", 1, NULL}, {1, 0, 4, "0+0x99", 1, NULL}};
    mtrace_snapshot *s = test_make(plain, 2), *named = s, *empty = test_make(plain, 0);
    (void)state;
    assert_int_equal(mtrace_snapshot_resolve(NULL, s, NULL), MTRACE_ERR_ARGUMENT);
    assert_int_equal(mtrace_snapshot_resolve(&named, NULL, NULL), MTRACE_ERR_ARGUMENT);
    assert_null(named);
    assert_int_equal(mtrace_snapshot_resolve(&named, s, NULL), MTRACE_OK);
    expect(named, "f@m.c:3 2 | @+0x99 4");
    mtrace_snapshot_free(named);
    assert_int_equal(mtrace_snapshot_resolve(&named, empty, NULL), MTRACE_OK);
    expect(named, "");
    mtrace_snapshot_free(named);
    mtrace_snapshot_free(empty);
    mtrace_snapshot_free(s);
}

/* On Arm bit 0 of a function's address is no part of it. */
static void test_thumb(void **state) {
    static const symbol thumb[] = {{"even", 0x400101, 0x10, GLOBAL_CODE},
                                   {"next", 0x400111, 0x10, GLOBAL_CODE}};
    static const test_trace at[] = {{1, 0, 1, "1+0x400100", 1, NULL},
                                    {1, 0, 2, "1+0x400110", 1, NULL}};
    elf e = file_of(false, false, 2);
    mtrace_module module = module_of(in_folder("x.so"), NULL, 0);
    mtrace_resolve_desc desc = desc_of("");
    (void)state;
    e.symbols = thumb;
    e.symbol_count = 2;
    e.machine = 40;
    make(&e);
    save(module.path, e.bytes, e.size);
    EXPECT(at, &module, &desc, "even@+0x400100 1 | next@+0x400110 2");
    e.machine = 62;
    make(&e);
    save(module.path, e.bytes, e.size);
    EXPECT(at, &module, &desc, "@+0x400100 1 | even@+0x400110 2");
}

/* --- code of an image: the addresses of firmware, and of a program without modules --- */

/* 0x400149 is behind an instruction, 0x402000 behind what the file loads. */
static const test_trace without_module[] = {
    {1, 0, 1, "pc:4194633", 1, NULL},
    {1, 0, 2, "m.c:7 0+0x400148", 2, NULL},
    {1, 0, 3, "pc:4202496 0+0x402000", 2, NULL},
    {1, 0, 4, "pc:0", 1, NULL},
    {1, 0, 5, "f@pc:4194633", 1, NULL},
    {1, 0, 6, "pc.c:4194633 1+0x400148", 2, NULL},
};
enum { WITHOUT_MODULE = sizeof without_module / sizeof *without_module };
#define WITHOUT_MODULE_LEFT                                                                        \
    " 2 | @+0x402000<@pc:4202496 3 | @:0 4 | f@pc:4194633 5 | @+0x400148<@pc.c:4194633 6"

static void test_image(void **state) {
    int kind;
    (void)state;
    for (kind = 0; kind < 4; kind++) {
        elf e = file_of((kind & 1) != 0, (kind & 2) != 0, 2);
        mtrace_module other = module_of("/nowhere/x.so", "an ie", 0);
        mtrace_resolve_desc desc = desc_of("");
        make(&e);
        save(in_folder("firmware.elf"), e.bytes, e.size);
        desc.image = in_folder("firmware.elf");
        desc.root = "/nowhere"; /* it is for modules */
        EXPECT(without_module, &other, &desc,
               "strong@+0x400148 1 | strong@+0x400148<@m.c:7" WITHOUT_MODULE_LEFT);
    }
}

/* The lowest bit of a return address says that it is Thumb code. */
static void test_image_of_arm(void **state) {
    static const symbol code[] = {{"f", 0x400141, 8, GLOBAL_CODE}, {"g", 0x400149, 8, GLOBAL_CODE}};
    elf e = file_of(false, false, 2);
    mtrace_module other = module_of("/nowhere/x.so", "an ie", 0);
    mtrace_resolve_desc desc = desc_of("");
    (void)state;
    e.machine = 40;
    e.symbols = code;
    e.symbol_count = 2;
    make(&e);
    save(in_folder("arm.elf"), e.bytes, e.size);
    desc.image = in_folder("arm.elf");
    EXPECT(without_module, &other, &desc, "f@+0x400147 1 | f@+0x400147<@m.c:7" WITHOUT_MODULE_LEFT);
}

/* The path and the address stand for a place without a name. */
static void test_image_without_names(void **state) {
    elf e = file_of(true, false, 0);
    mtrace_resolve_desc desc = desc_of("");
    mtrace_snapshot *s = test_make_code(without_module, 1, NULL, 0), *named;
    mtrace_snapshot_parts parts;
    char path[256];
    (void)state;
    make(&e);
    save(in_folder("bare.elf"), e.bytes, e.size);
    desc.image = strcpy(path, in_folder("bare.elf"));
    assert_int_equal(mtrace_snapshot_resolve(&named, s, &desc), MTRACE_OK);
    memset(path, 0, sizeof path); /* the snapshot has its own */
    parts = mtrace_snapshot_get_parts(named);
    assert_int_equal(parts.module_count, 1);
    assert_string_equal(parts.modules[0].path, in_folder("bare.elf"));
    assert_true(parts.modules[0].load_address == 0);
    assert_true(parts.modules[0].size == 0x1800);
    assert_int_equal(parts.modules[0].build_id_size, 5);
    assert_string_equal(parts.rows[0].traceback.frames[0].file, in_folder("bare.elf"));
    mtrace_snapshot_free(named);
    mtrace_snapshot_free(s);
}

static void expect_no_image(const char *path, int error) {
    mtrace_resolve_desc desc = desc_of("");
    mtrace_snapshot *s = test_make_code(without_module, 1, NULL, 0), *named = s;
    desc.image = path;
    errno = 0;
    assert_int_equal(mtrace_snapshot_resolve(&named, s, &desc), MTRACE_ERR_IO);
#ifndef _WIN32 /* numbers are others there */
    assert_int_equal(errno, error);
#else
    (void)error;
#endif
    assert_null(named);
    mtrace_snapshot_free(s);
}

static void test_no_image(void **state) {
    elf e = file_of(true, false, 2);
    (void)state;
    make(&e);
    save(in_folder("text"), "hello", 5);
    save(in_folder("head"), e.bytes, 60);
    expect_no_image(in_folder("none.elf"), ENOENT);
    expect_no_image("", ENOENT);
    expect_no_image(test_folder, ENOEXEC);
    expect_no_image(in_folder("text"), ENOEXEC);
    expect_no_image(in_folder("head"), ENOEXEC);
}

/* --- the right file --- */

static const test_trace one[] = {{1, 0, 1, "1+0x400100", 1, NULL}};

static void expect_why(const mtrace_module *module, mtrace_resolve_desc desc, const char *why) {
    char wanted[700];
    snprintf(wanted, sizeof wanted, "mtrace: no names for %s: %s\n", module->path, why);
    said.length = 0;
    said.text[0] = '\0';
    EXPECT(one, module, &desc, "@+0x400100 1");
    assert_string_equal(said.text, wanted);
}

static void test_wrong_files(void **state) {
    elf e = file_of(true, false, 2);
    mtrace_resolve_desc desc = desc_of("");
    mtrace_module module = module_of(in_folder("x.so"), "an id", 0);
    (void)state;
    remove(module.path);
    expect_why(&module, desc, "no such file, or not an ELF file");
    save(module.path, "#!/bin/sh\n", 10);
    expect_why(&module, desc, "no such file, or not an ELF file");
    e.id = "an ie";
    make(&e);
    save(module.path, e.bytes, e.size);
    expect_why(&module, desc, "the file is of another build");
    e.id = "an id+";
    make(&e);
    save(module.path, e.bytes, e.size);
    expect_why(&module, desc, "the file is of another build");
    e.id = NULL;
    make(&e);
    save(module.path, e.bytes, e.size);
    expect_why(&module, desc, "the file is of another build");
    module.build_id_size = 0; /* then its size in memory decides */
    module.size = 0x17ff;
    expect_why(&module, desc, "the file is of another build");
    module.size = 0x3801;
    expect_why(&module, desc, "the file is of another build");
    module.size = 0x1800;
    EXPECT(one, &module, &desc, "first@+0x400100 1");
    module.size = 0x3800; /* whole pages */
    EXPECT(one, &module, &desc, "first@+0x400100 1");
    module.size = 0; /* not known */
    EXPECT(one, &module, &desc, "first@+0x400100 1");
    desc.write = NULL;
    module.size = 1;
    EXPECT(one, &module, &desc, "@+0x400100 1");
}

static void make_folders(const char *path) {
    char part[512];
    size_t i;
    for (i = 1; path[i] != '\0'; i++) {
        if (path[i] == '/') {
            memcpy(part, path, i);
            part[i] = '\0';
            mkdir(part, 0700);
        }
    }
}

static void save_in(const char *path, const elf *e) {
    make_folders(path);
    save(path, e->bytes, e->size);
}

/* Another machine's files: by path under the root, or all in one folder. */
static void test_root(void **state) {
    elf e = file_of(true, false, 2);
    mtrace_resolve_desc desc = desc_of("");
    mtrace_module module = module_of("/mtrace/lib/x.so", "an id", 0);
    (void)state;
    make(&e);
    desc.root = in_folder("root");
    expect_why(&module, desc, "no such file, or not an ELF file");
    save_in(in_folder("root/x.so"), &e);
    EXPECT(one, &module, &desc, "first@+0x400100 1");
    remove(in_folder("root/x.so"));
    save_in(in_folder("root/mtrace/lib/x.so"), &e);
    EXPECT(one, &module, &desc, "first@+0x400100 1");
    module.path = "mtrace/lib/x.so";
    EXPECT(one, &module, &desc, "first@+0x400100 1");
}

static void test_debug_files(void **state) {
    static const symbol more[] = {{"in_debug", 0x400100, 1, GLOBAL_CODE}};
    elf stripped = file_of(true, false, 0), debug = file_of(true, false, 2);
    mtrace_resolve_desc desc = desc_of("");
    mtrace_module module = module_of("/mtrace/lib/x.so", "an id", 0);
    const char *path = in_folder("d/.build-id/61/6e206964.debug");
    (void)state;
    debug.symbols = more;
    debug.symbol_count = 1;
    make(&stripped);
    make(&debug);
    save_in(in_folder("r/mtrace/lib/x.so"), &stripped);
    save_in(path, &debug);
    desc.root = in_folder("r");
    EXPECT(one, &module, &desc, "@+0x400100 1");
    desc.debug = in_folder("d");
    EXPECT(one, &module, &desc, "in_debug@+0x400100 1");
    stripped.extra = ".gnu_debuglink"; /* which names a file somewhere */
    make(&stripped);
    save_in(in_folder("r/mtrace/lib/x.so"), &stripped);
    EXPECT(one, &module, &desc, "in_debug@+0x400100 1");
    module.build_id_size = 0; /* the file's own counts then */
    EXPECT(one, &module, &desc, "in_debug@+0x400100 1");
    module = module_of("/mtrace/lib/x.so", "an id", 0);
    remove(in_folder("r/mtrace/lib/x.so")); /* it need not be there */
    EXPECT(one, &module, &desc, "in_debug@+0x400100 1");
    debug.id = "an ie";
    make(&debug);
    path = in_folder("d/.build-id/61/6e206964.debug");
    save_in(path, &debug);
    expect_why(&module, desc, "the file is of another build");
    debug.id = "an id"; /* the usual folder, of the other machine */
    make(&debug);
    remove(path);
    desc.debug = NULL;
    save_in(in_folder("r/usr/lib/debug/.build-id/61/6e206964.debug"), &debug);
    EXPECT(one, &module, &desc, "in_debug@+0x400100 1");
}

/* --- broken files: any answer will do --- */

static void resolve_broken(const elf *e, const mtrace_module *module) {
    mtrace_resolve_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *s = test_make_code(places, PLACES, module, 1), *named;
    desc.tool = "";
    save(module->path, e->bytes, e->size);
    assert_int_equal(mtrace_snapshot_resolve(&named, s, &desc), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_get_parts(named).row_count, PLACES);
    mtrace_snapshot_free(named);
    mtrace_snapshot_free(s);
}

static void test_broken_files(void **state) {
    uint32_t seed = 1;
    int round;
    (void)state;
    for (round = 0; round < 2000; round++) {
        elf e = file_of((round & 1) != 0, (round & 2) != 0, 2);
        mtrace_module module = module_of(in_folder("x.so"), (round & 4) != 0 ? NULL : "an id", 0);
        uint32_t changes = test_random(&seed, 4);
        e.is_numerous = (round & 8) != 0;
        make(&e);
        while (changes-- > 0) { /* mostly in the head and in the tables behind */
            uint32_t at = test_random(&seed, 2) == 0
                              ? test_random(&seed, 64)
                              : (uint32_t)e.size - 1 - test_random(&seed, 300);
            uint32_t size = 1 + test_random(&seed, 8);
            uint32_t kind = test_random(&seed, 3);
            for (; size > 0 && at < e.size; size--, at++) {
                e.bytes[at] = (unsigned char)(kind == 0   ? 0xff
                                              : kind == 1 ? 0
                                                          : test_random(&seed, 256));
            }
        }
        if (test_random(&seed, 4) == 0) {
            e.size = test_random(&seed, (uint32_t)e.size);
        }
        resolve_broken(&e, &module);
    }
}

/* Every symbol around every address. */
static void test_overlapping_symbols(void **state) {
    static symbol many[100];
    elf e = file_of(true, false, 2);
    mtrace_module module = module_of(in_folder("x.so"), NULL, 0);
    mtrace_resolve_desc desc = desc_of("");
    size_t i;
    (void)state;
    for (i = 0; i < 100; i++) {
        many[i].name = i == 42 ? "latest" : "other";
        many[i].start = i == 42 ? 0x400090 : 0x400010 + i;
        many[i].size = UINT64_MAX;
        many[i].info = GLOBAL_CODE;
    }
    e.symbols = many;
    e.symbol_count = 100;
    make(&e);
    save(module.path, e.bytes, e.size);
    EXPECT(one, &module, &desc, "latest@+0x400100 1");
}

/* --- programs like addr2line --- */

/* Writes a shell script, with lines for each address that is asked for. */
static const char *tool_of(const char *body) {
    const char *path = in_folder("tool");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fprintf(f, "#!/bin/sh\n%s\n", body) > 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0700), 0);
    return path;
}

static const test_trace asked[] = {{1, 0, 1, "m.c:1 1+0x400100 n.c:2", 3, NULL},
                                   {1, 0, 2, "1+0x400140 1+0x400100", 2, NULL}};

/* A file with lines: programs are asked about it. */
static mtrace_module module_with_lines(void) {
    mtrace_module module = module_of(in_folder("x.so"), "an id", 0);
    elf e = file_of(true, false, 2);
    e.extra = ".debug_info";
    make(&e);
    save(module.path, e.bytes, e.size);
    return module;
}

static void expect_tool(const char *body, const char *wanted) {
    mtrace_module module = module_with_lines();
    mtrace_resolve_desc desc = desc_of(tool_of(body));
    EXPECT(asked, &module, &desc, wanted);
}
#define NOT_ASKED "@n.c:2<first@+0x400100<@m.c:1 1 | first@+0x400100<strong@+0x400140 2"

/* One address becomes three frames, and the call site's line is the innermost. */
static void test_inlined(void **state) {
    mtrace_module module = module_with_lines();
    mtrace_resolve_desc desc = desc_of(
        tool_of("echo 0x0000000000400100; echo inner; echo /s/i.h:3; echo 'A::middle(int)'; "
                "echo '/s/x.c:30 (discriminator 2)'; echo '?\?'; echo /s/x.c:40\n"
                "echo 0x400140; echo strong; echo '/s/with: colon.c:7'"));
    mtrace_snapshot *s = test_make_code(asked, 2, &module, 1), *named;
    mtrace_snapshot_parts parts;
    (void)state;
    TEST_NEEDS_POSIX();
    assert_int_equal(mtrace_snapshot_resolve(&named, s, &desc), MTRACE_OK);
    expect(named, "@n.c:2<inner@/s/i.h:3<A::middle(int)@/s/x.c:30<first@/s/x.c:40<@m.c:1 1 | "
                  "inner@/s/i.h:3<A::middle(int)@/s/x.c:30<first@/s/x.c:40<"
                  "strong@/s/with: colon.c:7 2");
    parts = mtrace_snapshot_get_parts(named);
    assert_int_equal(parts.rows[0].traceback.total, 5);
    assert_int_equal(parts.rows[1].traceback.frames[3].address, 0x400100);
    assert_ptr_equal(parts.rows[1].traceback.frames[3].module, &parts.modules[0]);
    test_expect_statistics(named, MTRACE_BY_LINE, "/s/i.h:3 2 1 | n.c:2 1 1");
    mtrace_snapshot_free(named);
    mtrace_snapshot_free(s);
}

/* It gets addr2line's options and the file, sorted addresses, and each once. */
static void test_arguments(void **state) {
    char text[600], wanted[600];
    FILE *f;
    size_t length;
    (void)state;
    TEST_NEEDS_POSIX();
    expect_tool("echo \"$*\" >\"${0%/*}/arguments\"", NOT_ASKED);
    f = fopen(in_folder("arguments"), "r");
    assert_non_null(f);
    length = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[length] = '\0';
    snprintf(wanted, sizeof wanted, "-a -f -i -C -e %s 0x400100 0x400140\n", in_folder("x.so"));
    assert_string_equal(text, wanted);
}

/* What loads the tracer into programs, or starts it there, is not handed on. The rest is. */
static void test_environment_of_the_program(void **state) {
    (void)state;
    TEST_NEEDS_POSIX();
    setenv("MTRACE", "0", 1);
    setenv("MTRACE_REPORT", "top", 1);
    setenv("MT_OTHER", "kept", 1);
    setenv("LD_AUDIT", "", 1);
    setenv("LD_PRELOAD", "", 1);
    expect_tool("[ -z \"${MTRACE+set}${MTRACE_REPORT+set}${LD_AUDIT+set}${LD_PRELOAD+set}\" ] && "
                "[ \"$MT_OTHER\" = kept ] && ! read line && "
                "echo 0x400100 && echo f && echo a.c:1",
                "@n.c:2<f@a.c:1<@m.c:1 1 | f@a.c:1<strong@+0x400140 2");
    unsetenv("MTRACE");
    unsetenv("MTRACE_REPORT");
    unsetenv("MT_OTHER");
    unsetenv("LD_AUDIT");
    unsetenv("LD_PRELOAD");
}

/* Answers that are none, or that stop. What came before is good. */
static void test_bad_programs(void **state) {
    static const char *const bad[] = {"",
                                      "exit 1",
                                      "kill -9 $$",
                                      "echo",
                                      "echo nonsense; echo more; echo a.c:1",
                                      "echo 0x400100",
                                      "echo 0x400100; echo f",
                                      "echo 0x400100; echo f; echo '?\?:0'",
                                      "echo 0x400100; echo f; echo 'a.c:?'",
                                      "echo 0x400100; echo f; echo nothing",
                                      "echo 0x400100; echo f; echo :3",
                                      "echo 0x400101; echo f; echo a.c:1",
                                      "echo 0x400140; echo f; echo a.c:1",
                                      "printf '0x400100\\nf\\na.c:1'",
                                      "echo 0x400100; echo f; echo a.c:1; exit 1",
                                      "echo 0x400100; echo f; echo a.c:-",
                                      "exec 1>&-; exit 0"};
    size_t i;
    (void)state;
    TEST_NEEDS_POSIX();
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        expect_tool(bad[i], NOT_ASKED);
    }
    expect_tool("echo 0x400100; echo f; echo a.c:1; echo 0x400140; echo g; echo b.c:2; kill -9 $$",
                "@n.c:2<f@a.c:1<@m.c:1 1 | f@a.c:1<strong@+0x400140 2");
}

/* It is killed, and its answers until then count. A grandchild may keep the pipe. */
static void test_hanging_programs(void **state) {
    mtrace_module module = module_with_lines();
    mtrace_resolve_desc desc = desc_of(
        tool_of("echo $$ >\"${0%/*}/process\"; echo 0x400100; echo f; echo a.c:1; echo 0x400140; "
                "exec sleep 1000"));
    char command[600];
    (void)state;
    TEST_NEEDS_POSIX();
    desc.timeout_ms = 300;
    EXPECT(asked, &module, &desc, "@n.c:2<f@a.c:1<@m.c:1 1 | f@a.c:1<strong@+0x400140 2");
    snprintf(command, sizeof command, "! kill -0 \"$(cat %s)\" 2>/dev/null", in_folder("process"));
    assert_int_equal(system(command), 0);
    desc = desc_of(tool_of("exec 1>&-; exec sleep 1000"));
    desc.timeout_ms = 50;
    EXPECT(asked, &module, &desc, NOT_ASKED);
    desc = desc_of(tool_of("echo 0x400100; echo f; echo a.c:1; sleep 2 2>/dev/null &"));
    EXPECT(asked, &module, &desc, "@n.c:2<f@a.c:1<@m.c:1 1 | f@a.c:1<strong@+0x400140 2");
}

static void test_no_program(void **state) {
    mtrace_module module = module_with_lines();
    mtrace_resolve_desc desc = desc_of("/nowhere/addr2line");
    const char *path = getenv("PATH");
    char *before = path == NULL ? NULL : (char *)malloc(strlen(path) + 1);
    (void)state;
    EXPECT(asked, &module, &desc, NOT_ASKED);
    TEST_NEEDS_POSIX();
    if (before != NULL) {
        strcpy(before, path);
    }
    setenv("PATH", "/nowhere", 1);
    desc = desc_of(NULL);
    EXPECT(asked, &module, &desc, NOT_ASKED);
    if (before != NULL) {
        setenv("PATH", before, 1);
        free(before);
    }
}

/* A file without lines is worth no program, unless a name is to be demangled. */
static void test_when_a_program_runs(void **state) {
    static const symbol names[] = {{"plain", 0x400100, 1, GLOBAL_CODE},
                                   {"_RNvC3foo3bar", 0x400140, 1, GLOBAL_CODE}};
    static const test_trace rust[] = {{1, 0, 1, "1+0x400140", 1, NULL}};
    elf e = file_of(true, false, 2);
    mtrace_module module = module_of(in_folder("x.so"), "an id", 0);
    mtrace_resolve_desc desc = desc_of(tool_of("echo ran >>\"${0%/*}/log\"; echo 0x400140; "
                                               "echo foo::bar; echo '?\?:0'"));
    (void)state;
    TEST_NEEDS_POSIX();
    e.symbols = names;
    e.symbol_count = 2;
    make(&e);
    save(module.path, e.bytes, e.size);
    remove(in_folder("log"));
    EXPECT(one, &module, &desc, "plain@+0x400100 1");
    assert_int_not_equal(access(in_folder("log"), F_OK), 0);
    EXPECT(rust, &module, &desc, "foo::bar@+0x400140 1");
    assert_int_equal(access(in_folder("log"), F_OK), 0);
}

/* More addresses than one program gets: they are asked for in several. */
static void test_many_addresses(void **state) {
    enum { ROWS = 2500 };
    static mtrace_row rows[ROWS];
    static mtrace_frame frames[ROWS][2];
    mtrace_module module = module_with_lines();
    mtrace_resolve_desc desc =
        desc_of(tool_of("shift 6; for a; do echo $a; echo f$a; echo a.c:$((a)); done"));
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_snapshot *s, *named;
    char wanted[32];
    size_t i;
    (void)state;
    TEST_NEEDS_POSIX();
    for (i = 0; i < ROWS; i++) {
        frames[i][0].module = frames[i][1].module = &module;
        frames[i][0].address = (i * 7919) % ROWS + 1;
        frames[i][1].address = ROWS - frames[i][0].address + 1;
        rows[i].traceback.frames = frames[i];
        rows[i].traceback.count = 2;
    }
    parts.rows = rows;
    parts.row_count = ROWS;
    parts.modules = &module;
    parts.module_count = 1;
    assert_int_equal(mtrace_snapshot_make(&s, &parts, NULL), MTRACE_OK);
    assert_int_equal(mtrace_snapshot_resolve(&named, s, &desc), MTRACE_OK);
    parts = mtrace_snapshot_get_parts(named);
    for (i = 0; i < ROWS; i++) {
        const mtrace_frame *f = parts.rows[i].traceback.frames;
        assert_int_equal(f[0].line, frames[i][0].address);
        assert_int_equal(f[1].line, frames[i][1].address);
        snprintf(wanted, sizeof wanted, "f0x%x", f[1].line);
        assert_string_equal(f[1].function, wanted);
    }
    mtrace_snapshot_free(named);
    mtrace_snapshot_free(s);
}

/* Two modules of one build are one file, and each address is known in both. */
static void test_two_modules(void **state) {
    static const test_trace both[] = {{1, 0, 1, "1+0x400100 2+0x400100 3+0x400100", 3, NULL},
                                      {1, 0, 2, "2+0x401008", 1, NULL}};
    elf e = file_of(true, false, 2);
    mtrace_module modules[3];
    mtrace_resolve_desc desc = desc_of("");
    (void)state;
    modules[0] = module_of("/nowhere/x.so", "an id", 0);
    modules[1] = module_of(in_folder("x.so"), "an id", 0);
    modules[2] = module_of(in_folder("x.so"), "another", 0);
    make(&e);
    save(modules[1].path, e.bytes, e.size);
    expect_resolved(both, 2, modules, 3, &desc,
                    "@+0x400100<first@+0x400100<first@+0x400100 1 | around@+0x401008 2");
    assert_non_null(strstr(said.text, "/nowhere/x.so: no such file"));
    assert_non_null(strstr(said.text, "x.so: the file is of another build"));
}

/* --- reports ask the unwinder for names --- */

static bool names_fail;
static int names_asked;

static uint32_t walk(uintptr_t *addresses, uint32_t room, const void *frame) {
    (void)addresses;
    (void)room;
    (void)frame;
    return 0;
}

static bool find_module(mtrace_module *module, uintptr_t address) {
    *module = module_of(in_folder("x.so"), "an id", 0x1800);
    module->load_address = 0;
    return address - 0x400000 < 0x1800;
}

static mtrace_result add_names(mtrace_snapshot **out, const mtrace_snapshot *snapshot) {
    mtrace_resolve_desc desc = MTRACE_ZERO_;
    desc.tool = "";
    names_asked++;
    return names_fail ? MTRACE_ERR_NO_MEMORY : mtrace_snapshot_resolve(out, snapshot, &desc);
}

static const mtrace_unwinder fake = {walk, find_module, add_names, NULL, NULL, NULL};

/* Records a block with this return address. */
static void record(uintptr_t address, size_t size) {
    mtrace_stack stack;
    stack.addresses = &address;
    stack.count = 1;
    mtrace_free_from(mtrace_malloc_from(size, &stack), &stack);
    (void)mtrace_track_from(1, address, size, &stack);
}

static void start_named(void) {
    elf e = file_of(true, false, 2);
    mtrace_desc desc = MTRACE_ZERO_;
    make(&e);
    save(in_folder("x.so"), e.bytes, e.size);
    desc.unwinder = &fake;
    names_fail = false;
    names_asked = 0;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
}

static void expect_print(const mtrace_print_desc *print, const char *wanted) {
    static test_output out;
    mtrace_print_desc desc = *print;
    char text[700];
    desc.report.style = MTRACE_STYLE_WARNINGS;
    desc.report.write = test_write;
    desc.report.write_user = &out;
    out.length = 0;
    out.text[0] = '\0';
    assert_int_equal(mtrace_print(&desc), MTRACE_OK);
    snprintf(text, sizeof text, wanted, in_folder("x.so"));
    assert_string_equal(out.text, text);
}

static int stop(void **state) {
    (void)state;
    mtrace_stop();
    return 0;
}

static void test_reports(void **state) {
    mtrace_print_desc desc = MTRACE_ZERO_;
    mtrace_filter filter = MTRACE_ZERO_;
    mtrace_snapshot *before;
    (void)state;
    start_named();
    record(0x400101, 10);
    expect_print(&desc, "%s+0x400100: warning: 10 B in 1 block not freed, allocated in first\n");
    assert_int_equal(names_asked, 1);
    assert_int_equal(mtrace_snapshot_take(&before, false, NULL), MTRACE_OK);
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    record(0x401001, 20);
    desc.old = before;
    expect_print(&desc, "%s+0x401000: warning: grew by +20 B in +1 block, allocated in around\n");
    assert_int_equal(names_asked, 3); /* both of them */
    filter.function = "first";
    desc.filters = &filter;
    desc.filter_count = 1;
    expect_print(&desc, "");
    desc.old = NULL;
    expect_print(&desc, "%s+0x400100: warning: 10 B in 1 block not freed, allocated in first\n");
    desc.since_baseline = true;
    filter.function = "around";
    expect_print(&desc, "%s+0x401000: warning: grew by +20 B in +1 block, allocated in around\n");
    names_fail = true; /* then without them */
    desc.filter_count = 0;
    expect_print(&desc, "%s+0x401000: warning: grew by +20 B in +1 block\n");
    mtrace_snapshot_free(before);
    mtrace_stop();
}

static void test_checks(void **state) {
    char message[700], wanted[700];
    mtrace_snapshot *before;
    (void)state;
    start_named();
    record(0x400101, 10);
    assert_int_equal(mtrace_snapshot_take(&before, false, NULL), MTRACE_OK);
    assert_int_equal(mtrace_set_baseline(), MTRACE_OK);
    assert_int_equal(mtrace_growth(message, sizeof message, NULL, 0), 0);
    assert_int_equal(names_asked, 0); /* nothing grew, nothing is to be said */
    record(0x401001, 20);
    snprintf(wanted, sizeof wanted,
             "%s+0x401000: warning: grew by +20 B in +1 block, "
             "allocated in around",
             in_folder("x.so"));
    assert_int_equal(mtrace_growth(message, sizeof message, NULL, 0), 20);
    assert_non_null(strstr(message, wanted));
    assert_int_equal(mtrace_growth(message, sizeof message, before, 0), 20);
    assert_non_null(strstr(message, wanted));
    assert_int_equal(mtrace_set_suppressions("leak:^around$", NULL), MTRACE_OK);
    assert_int_equal(mtrace_growth(message, sizeof message, before, 0), 0);
    assert_int_equal(mtrace_set_suppressions(NULL, NULL), MTRACE_OK);
    mtrace_snapshot_free(before);
    mtrace_stop();
}

/* The console names the frames of one block, from several modules. */
static void test_who(void **state) {
    static test_output out;
    char line[64], wanted[700];
    uintptr_t addresses[3] = {0x400101, 0x9001, 0x401001};
    mtrace_desc desc = MTRACE_ZERO_;
    mtrace_stack stack;
    void *block;
    elf e = file_of(true, false, 2);
    (void)state;
    make(&e);
    save(in_folder("x.so"), e.bytes, e.size);
    desc.unwinder = &fake;
    desc.native_frames = 3;
    assert_int_equal(mtrace_start(&desc), MTRACE_OK);
    stack.addresses = addresses;
    stack.count = 3;
    block = mtrace_malloc_from(10, &stack);
    snprintf(line, sizeof line, "who %llu", (unsigned long long)(uintptr_t)block);
    assert_int_equal(mtrace_command(line, test_write, &out), MTRACE_OK);
    snprintf(wanted, sizeof wanted,
             "\n  %s+0x400100 first\n  from 0x9000\n  from %s+0x401000 around\n", in_folder("x.so"),
             in_folder("x.so"));
    assert_non_null(strstr(out.text, wanted));
    mtrace_free_from(block, &stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_symbols),
        cmocka_unit_test(test_the_rest_stays),
        cmocka_unit_test(test_nothing_to_name),
        cmocka_unit_test(test_thumb),
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_image_of_arm),
        cmocka_unit_test(test_image_without_names),
        cmocka_unit_test(test_no_image),
        cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_debug_files),
        cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_overlapping_symbols),
        cmocka_unit_test(test_inlined),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_environment_of_the_program),
        cmocka_unit_test(test_bad_programs),
        cmocka_unit_test(test_hanging_programs),
        cmocka_unit_test(test_no_program),
        cmocka_unit_test(test_when_a_program_runs),
        cmocka_unit_test(test_many_addresses),
        cmocka_unit_test(test_two_modules),
        cmocka_unit_test_teardown(test_reports, stop),
        cmocka_unit_test_teardown(test_checks, stop),
        cmocka_unit_test_teardown(test_who, stop),
    };
    return cmocka_run_group_tests(tests, test_make_folder, test_remove_folder);
}

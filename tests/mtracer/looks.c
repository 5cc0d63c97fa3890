/* Thousands of looks at a damaged region: looks PID COUNT SEED [processes]. It copies the region of
   a program that runs under mtracer. For each look it writes over some of the copy, lets mtracer's
   own code read it and write a table, and puts the old bytes back. A damaged region is refused, or
   there is a table of it. The reader is in this process, where a sanitizer sees its faults, or in
   one of its own, as mtracer's is. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

/* What mtracer does not use. */
#define MTRACE_NO_RECORDER
#define MTRACE_NO_PROFILE
#define MTRACE_NO_USAGE
#define MTRACE_NO_COMMAND
#define MTRACE_NO_ENVIRONMENT
/* A sanitizer checks the bounds of malloc(). */
#define MTRACE_SYSTEM_ALLOC(size)        calloc(1, size)
#define MTRACE_SYSTEM_FREE(memory, size) ((void)(size), free(memory))

const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=1024";
}

/* Readers that ended by a signal. */
static int crashes;
static pid_t looks_wait(pid_t process, int *status, int options) {
    pid_t ended = waitpid(process, status, options);
    crashes += ended > 0 && !WIFEXITED(*status);
    return ended;
}
#define waitpid(process, status, options) looks_wait(process, status, options)
#define main                              mtracer_main
#include "../../tools/mtracer.c"
#undef main

static uint64_t random_state;
static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* --- the copy --- */

enum { PARTS = 16, WRITES = 64 };
typedef struct part { /* bytes to write over */
    uint64_t at, size;
} part;
static unsigned char *copy;
static uint64_t copy_bytes;
static part parts[PARTS];
static size_t part_count;
static uint64_t *pages; /* those with data */
static size_t page_count;

static void fail(const char *what) {
    fprintf(stderr, "looks: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void copy_make(region *r) {
    int file = memfd_create(FILE_NAME, MFD_CLOEXEC);
    off_t at = 0, end = (off_t)r->head.stride;
    copy_bytes = r->head.stride;
    pages = (uint64_t *)calloc((size_t)(copy_bytes / REGION_PAGE), sizeof *pages);
    if (file < 0 || ftruncate(file, end) != 0) {
        fail("copy");
    }
    copy = (unsigned char *)mmap(NULL, (size_t)copy_bytes, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_NORESERVE, file, 0);
    if (copy == MAP_FAILED || pages == NULL ||
        madvise(copy, (size_t)copy_bytes, MADV_DONTFORK) != 0) { /* a reader has a limit */
        fail("copy");
    }
    while ((at = lseek(r->file, at, SEEK_DATA)) >= 0 && at < end) {
        pages[page_count++] = (uint64_t)at;
        if (pread(r->file, copy + at, REGION_PAGE, at) != REGION_PAGE) {
            fail("read");
        }
        at += REGION_PAGE;
    }
    close(r->file);
    r->file = file;
    r->at = 0;
}

static void part_add(const void *table, uint64_t count, uint64_t size) {
    parts[part_count].at = (uint64_t)((uintptr_t)table - REGION_ADDRESS);
    parts[part_count++].size = count * size;
}

/* What a reader uses: a write anywhere else would be wasted. */
static void parts_find(void) {
    const mtrace_tracer_ *g = (const mtrace_tracer_ *)(const void *)(copy + REGION_PAGE);
    const char *base = (const char *)REGION_ADDRESS + REGION_PAGE;
    part_add((const void *)REGION_ADDRESS, 1, sizeof(region_head));
    part_add(base, 1, offsetof(mtrace_tracer_, domains));
    part_add(base, 1, offsetof(mtrace_tracer_, domains));
    part_add(base, 1, sizeof(mtrace_tracer_));
    part_add(base + offsetof(mtrace_tracer_, domains), 1, 256);
    part_add(base + offsetof(mtrace_tracer_, shards), 2, sizeof(mtrace_shard_));
    part_add(g->accounts, g->account_table.number_end + 2, sizeof *g->accounts);
    part_add(g->locations, g->location_table.number_end + 2, sizeof *g->locations);
    part_add(g->nodes, g->node_table.number_end + 2, sizeof *g->nodes);
    part_add(g->modules, g->module_count + 1, sizeof *g->modules);
    part_add(g->name_text, g->name_used + 1, 1);
    part_add(g->shards[1].counters, g->account_table.number_end, sizeof(mtrace_counters_));
}

/* --- damage --- */

typedef struct undo {
    uint64_t at;
    unsigned char bytes[8];
} undo;
static undo undos[WRITES];

static uint64_t place_choose(void) {
    const part *p = &parts[random_next() % part_count];
    uint64_t at = random_next() % 16 == 0
                      ? pages[random_next() % page_count] + random_next() % REGION_PAGE
                      : p->at + random_next() % p->size;
    at = random_next() % 4 != 0 ? at / 8 * 8 : random_next() % 2 != 0 ? at / 4 * 4 : at;
    return at < copy_bytes - 8 ? at : copy_bytes - 8;
}

static uint64_t value_choose(uint64_t old) {
    uint64_t value;
    switch (random_next() % 9) {
    case 0:
        return old ^ (uint64_t)1 << random_next() % 64;
    case 1:
        return old + random_next() % 64 - 32;
    case 2:
        return random_next() % 70000;
    case 3:
        return UINT64_MAX >> random_next() % 64;
    case 4:
        return (uint64_t)1 << random_next() % 64;
    case 5:
        return REGION_ADDRESS + random_next() % copy_bytes;
    case 6:
        return (uint64_t)(uintptr_t)&random_state + random_next() % 65536 - 32768;
    case 7:
        memcpy(&value, copy + place_choose(), sizeof value);
        return value;
    default:
        return random_next() >> random_next() % 64;
    }
}

static size_t damage(void) {
    size_t i, count = (size_t)1 << random_next() % 6;
    for (i = 0; i < count; i++) {
        undo *u = &undos[i];
        uint64_t old, value;
        u->at = place_choose();
        memcpy(u->bytes, copy + u->at, sizeof u->bytes);
        memcpy(&old, u->bytes, sizeof old);
        value = value_choose(old);
        memcpy(copy + u->at, &value, random_next() % 3 == 0 ? 4 : 8);
    }
    return count;
}

static void repair(size_t count) {
    while (count-- > 0) {
        memcpy(copy + undos[count].at, undos[count].bytes, sizeof undos[count].bytes);
    }
}

/* --- looks --- */

static size_t written;
static void count_bytes(const char *text, size_t length, void *user) {
    (void)text;
    (void)user;
    written += length;
}

/* The reader without a process of its own. */
static mtrace_snapshot *snapshot_here(const region *r, const char **why) {
    mtrace_snapshot *snapshot = NULL;
    sink s = {memfd_create("looks", MFD_CLOEXEC), false};
    mtrace_result result = region_read(r, &s);
    if (mtrace_g_.kept_result != NULL && mtrace_g_.unwinder == NULL) {
        mtrace_system_free_(mtrace_g_.kept_result, 0);
    }
    munmap((void *)REGION_ADDRESS, (size_t)r->head.stride);
    if (mmap(&mtrace_g_, sizeof mtrace_g_, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) {
        fail("map");
    }
    if (result == MTRACE_OK && lseek(s.file, 0, SEEK_SET) == 0) {
        result = mtrace_snapshot_load_from(&snapshot, file_read, &s.file, NULL);
    }
    *why = mtrace_result_text(result);
    close(s.file);
    return snapshot;
}

static bool in_processes;

/* 1: there was a table */
static int look(const region *first, uint64_t process) {
    region r = *first;
    options o;
    mtrace_report_desc desc;
    mtrace_snapshot *snapshot;
    const char *why = region_choose(&r, process);
    snapshot = why != NULL    ? NULL
               : in_processes ? region_snapshot(&r, &why)
                              : snapshot_here(&r, &why);
    if (snapshot != NULL) {
        memset(&o, 0, sizeof o);
        o.key = (mtrace_key_type)(random_next() % 8 == 5 ? 0 : random_next() % 8);
        o.key = o.key == 5 ? 0 : o.key;
        o.view = (mtrace_view)(random_next() % 3);
        o.filter = random_next() % 4 == 0 ? "e" : NULL;
        o.by_count = random_next() % 2 == 0;
        desc = table_desc(&o);
        desc.write = count_bytes;
        written = 0;
        return table_write(&o, snapshot, &desc) == OK && written > 0;
    }
    if (why == NULL || why[0] == '\0') {
        fail("a look without a table has no reason");
    }
    return 0;
}

int main(int argc, char **argv) {
    uint64_t process = argc > 3 ? strtoull(argv[1], NULL, 10) : 0;
    long count = argc > 3 ? strtol(argv[2], NULL, 10) : 0, i;
    int tables = 0;
    region r;
    if (!region_attach(&r, process)) {
        return 2;
    }
    in_processes = argc > 4;
    copy_make(&r);
    parts_find();
    random_state = strtoull(argv[3], NULL, 10) * 2654435761u + 1;
    if (!look(&r, process)) {
        fail("no table of what is not damaged");
    }
    for (i = 0; i < count; i++) {
        size_t writes = damage();
        tables += look(&r, process);
        repair(writes);
    }
    if (!look(&r, process)) {
        fail("no table after all looks");
    }
    printf("%ld looks, %d crashes, %s\n", count, crashes,
           tables > count / 10 && tables < count ? "tables and refusals" : "tables are wrong");
    return 0;
}

/* For tests/gdb.sh. The first argument is a scenario. The program prints tables, each below a line
   with the command for gdb that must print the same, and stops in `stop_here`. In between it stops
   in `save_here`, where gdb saves the moment that `moment` names. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <stdio.h>

#if defined(MTRACE_SINGLE_THREAD) || defined(MTRACE_BARE_METAL)
#define HAS_THREADS 0
#else
#define HAS_THREADS 1
#include <pthread.h>
#endif

enum { MEMORY = 1 << 19, KEPT = 400, THREADS = 4, AUDIO = 3, HANDLES = 5, EMPTY = 9 };
enum { HANDLE = 77 };

const char *volatile moment;
volatile uintptr_t tagged; /* an address with a tag in its top byte, where there are tags */
volatile int elsewhere;    /* in no block */
static uint64_t memory[MEMORY / 8];
static void *kept[THREADS][KEPT];
static void *volatile old; /* from before a clear */
static int old_line;
static volatile size_t too_much = SIZE_MAX / 4;

#ifdef __cplusplus
extern "C" {
#endif
void save_here(void);
void stop_here(void);
#ifdef __cplusplus
}
#endif

/* Two bodies, as the compiler may merge equal functions. */
__attribute__((noinline)) void save_here(void) {
    __asm__ __volatile__("" : : "r"(moment) : "memory");
}

__attribute__((noinline)) void stop_here(void) {
    __asm__ __volatile__("" : : : "memory");
}

static void write_out(const char *text, size_t length, void *user) {
    (void)user;
    fwrite(text, 1, length, stdout);
}

static mtrace_desc describe(void) {
    mtrace_desc desc = MTRACE_ZERO_;
    desc.memory = memory;
    desc.memory_size = sizeof memory;
    desc.max_blocks = 4096;
    desc.frames = 4;
    desc.write = write_out;
    desc.columns = 1000;
    return desc;
}

static void start(const mtrace_desc *desc) {
    if (mtrace_start(desc) != MTRACE_OK) {
        puts("mtrace_start failed");
        exit(1);
    }
}

/* --- memory of all kinds --- */

static void *load(size_t size) {
    MT_SCOPE();
    return MT_MALLOC(size);
}

static void *play(size_t size) {
    MT_SCOPE_IN(AUDIO);
    return load(size);
}

static void *allocate(size_t i) {
    switch (i % 5) {
    case 0:
        return MT_MALLOC(i);
    case 1:
        return load(i * 10);
    case 2:
        return MT_CALLOC_IN((uint32_t)(i % 7), i, 3);
    case 3:
        return MT_NEW(double);
    default:
        return play(i);
    }
}

static void fill(size_t thread, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) {
        kept[thread][i] = allocate(i);
    }
}

static void release(size_t thread, size_t from, size_t to) {
    for (; from < to; from++) {
        MT_FREE(kept[thread][from]);
        kept[thread][from] = NULL;
    }
}

#if HAS_THREADS
static pthread_barrier_t barrier;

/* Thread n frees some blocks of thread n - 1. It is still there when gdb looks. */
static void *work(void *number) {
    size_t n = (size_t)(uintptr_t)number;
    fill(n, KEPT);
    pthread_barrier_wait(&barrier);
    release(n - 1, 10 * n, 40 * n);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void work_in_threads(void) {
    static pthread_t threads[THREADS];
    size_t n;
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (n = 1; n < THREADS; n++) {
        pthread_create(&threads[n], NULL, work, (void *)(uintptr_t)n);
    }
    fill(0, KEPT);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
}
#else
static void work_in_threads(void) {
    size_t n;
    for (n = 0; n < THREADS; n++) {
        fill(n, KEPT);
    }
    for (n = 1; n < THREADS; n++) {
        release(n - 1, 10 * n, 40 * n);
    }
}
#endif

/* --- what gdb must say --- */

static void table(const char *command, mtrace_key_type key_type, mtrace_view view, size_t top) {
    mtrace_print_desc desc = MTRACE_ZERO_;
    printf("> %s\n", command);
    desc.key_type = key_type;
    desc.view = view;
    desc.report.top = top;
    mtrace_print(&desc);
}

static void tables(void) {
    table("top", MTRACE_BY_LINE, MTRACE_VIEW_LIVE, 10);
    table("top 3", MTRACE_BY_LINE, MTRACE_VIEW_LIVE, 3);
    table("top 0 by file", MTRACE_BY_FILE, MTRACE_VIEW_LIVE, 0);
    table("top by function 2", MTRACE_BY_FUNCTION, MTRACE_VIEW_LIVE, 2);
    table("top by type", MTRACE_BY_TYPE, MTRACE_VIEW_LIVE, 10);
    table("top 4 by domain", MTRACE_BY_DOMAIN, MTRACE_VIEW_LIVE, 4);
    table("domains", MTRACE_BY_DOMAIN, MTRACE_VIEW_LIVE, 0);
    table("top 0 peak", MTRACE_BY_LINE, MTRACE_VIEW_PEAK, 0);
    table("top 0 by domain peak", MTRACE_BY_DOMAIN, MTRACE_VIEW_PEAK, 0);
    table("top total", MTRACE_BY_LINE, MTRACE_VIEW_TOTAL, 10);
}

static void since_baseline(const char *command, mtrace_key_type key_type, size_t top) {
    mtrace_print_desc desc = MTRACE_ZERO_;
    printf("> %s\n", command);
    desc.since_baseline = true;
    desc.key_type = key_type;
    desc.report.top = top;
    mtrace_print(&desc);
}

/* What `mtrace who` says of an address inside or behind a block, or a tracked key, from
   mtrace_find_tracked and mtrace_find_containing. */
static void who(const char *expression, uint32_t domain, uintptr_t key, size_t offset) {
    mtrace_block found, inner;
    mtrace_frame frames[4];
    size_t i;
    if (mtrace_find_tracked(&found, domain, key, frames, 4) != MTRACE_OK ||
        mtrace_find_containing(&inner, (void *)key) != MTRACE_OK) {
        printf("mtrace_find_tracked failed\n");
        return;
    }
    printf("> who %s + %lu\n", expression, (unsigned long)offset);
    printf("0x%lx: ", (unsigned long)(key + offset));
    if (offset == found.size) {
        printf("right behind ");
    } else if (offset != 0) {
        size_t bytes = offset < found.size ? offset : offset - (size_t)found.size;
        printf("%lu byte%s ", (unsigned long)bytes, bytes == 1 ? "" : "s");
        printf(offset < found.size ? "into " : "behind ");
    }
    printf(found.is_tracked ? "a tracked key of %lu B" : "a block of %lu B",
           (unsigned long)found.size);
    if (offset != 0) {
        printf(" at 0x%lx", (unsigned long)inner.address);
    }
    if (found.domain != 0) {
        printf(", domain %lu%s", (unsigned long)found.domain,
               found.domain == AUDIO ? " audio" : "");
    }
    printf(found.serial != 0 ? ", allocation %lu\n" : "\n", (unsigned long)found.serial);
    printf("  %s:%lu %s", found.file, (unsigned long)found.line, found.function);
    printf("%s%s\n", found.type != NULL ? ", type " : "", found.type != NULL ? found.type : "");
    for (i = found.traceback.count - 1; i-- > 0;) {
        printf("  from %s:%lu %s\n", frames[i].file, (unsigned long)frames[i].line,
               frames[i].function);
    }
}

static void who_is_nobody(const char *more) {
    printf("> who &elsewhere\nmtrace: no traced block there%s\n", more);
}

static void who_is_who(void) {
    who("(char *)kept[0][50]", 0, (uintptr_t)kept[0][50], 0);
    who("(char *)kept[0][51]", 0, (uintptr_t)kept[0][51], 509);
    who("(char *)kept[0][52]", 0, (uintptr_t)kept[0][52], 52 * 3);
    who("(char *)kept[0][53]", 0, (uintptr_t)kept[0][53], 7);
    who("(char *)kept[0][54]", 0, (uintptr_t)kept[0][54], 54 + 1);
    tagged = ~mtrace_untagged_(UINTPTR_MAX) | (uintptr_t)kept[0][50];
    who("tagged", 0, tagged, 3);
    who("77", HANDLES, HANDLE, 99);
    who("77", HANDLES, HANDLE, 0);
    who_is_nobody("");
}

/* --- the scenarios --- */

static void track(void) {
    mtrace_name_domain(AUDIO, "audio");
    MT_TRACK(HANDLES, HANDLE, 123);
}

#ifdef MTRACE_BARE_METAL
static void save(const char *name, int number) {
    (void)name;
    (void)number;
}
static void since_snapshot(const char *command, int number, size_t top) {
    (void)command;
    (void)number;
    (void)top;
}
static void changes(void) {}
#else
static mtrace_snapshot *snapshots[2];

static void save(const char *name, int number) {
    mtrace_snapshot_take(&snapshots[number], false, NULL);
    moment = name;
    save_here();
}

static void since_snapshot(const char *command, int number, size_t top) {
    printf("> %s\n", command);
    mtrace_print_diff(snapshots[number], top);
}

static void changes(void) {
    mtrace_rows *rows;
    mtrace_report_desc desc = MTRACE_ZERO_;
    since_snapshot("diff first 0", 0, 0);
    since_snapshot("diff 2", 1, 2); /* the last one */
    desc.top = 3;
    printf("> diff first second by file 3\n");
    mtrace_snapshot_compare_to(&rows, snapshots[1], snapshots[0], MTRACE_BY_FILE, NULL);
    mtrace_report(rows, &desc);
    mtrace_rows_free(rows);
    printf("> diff second first by domain 3\n");
    mtrace_snapshot_compare_to(&rows, snapshots[0], snapshots[1], MTRACE_BY_DOMAIN, NULL);
    mtrace_report(rows, &desc);
    mtrace_rows_free(rows);
}
#endif

static void run_threads(void) {
    mtrace_desc desc = describe();
    desc.serials = MTRACE_HOSTED_;
    start(&desc);
    track();
    save("first", 0);
    work_in_threads();
    mtrace_set_baseline();
    save("second", 1);
    release(0, 200, 290);
    MT_FREE(MT_MALLOC(too_much)); /* fails */
    MT_FREE(MT_MALLOC(10));
    kept[0][200] = MT_MALLOC(777);
    kept[0][201] = MT_REALLOC(kept[0][51], 4001);
    kept[0][51] = MT_MALLOC(510);
    tables();
    changes();
    since_baseline("diff baseline", MTRACE_BY_LINE, 10);
    since_baseline("diff baseline 0 by function", MTRACE_BY_FUNCTION, 0);
    who_is_who();
}

/* Above its old peak, in more than one thread's counters. */
static void run_rising(void) {
    mtrace_desc desc = describe();
    size_t i;
    mtrace_site site = mtrace_site_from_address((const void *)(uintptr_t)0x8004d84);
    start(&desc);
    mtrace_name_domain(EMPTY, "unused");
    work_in_threads();
    kept[1][399] = mtrace_malloc_at(2000, &site);
    release(0, 0, 10);
    for (i = 1; i < 3; i++) { /* equal bytes, and more blocks than the next line */
        kept[0][i] = MT_MALLOC(40);
    }
    kept[0][3] = MT_MALLOC(80);
    kept[0][0] = MT_MALLOC(5000000);
    tables();
    since_baseline("diff", MTRACE_BY_LINE, 0); /* nothing saved, no baseline */
}

static void run_full(void) {
    mtrace_desc desc = describe();
    size_t i;
    desc.max_blocks = 64;
    desc.max_sites = 4;
    desc.max_scopes = 2;
    desc.name_bytes = 40;
    start(&desc);
    for (i = 0; i < 20; i++) { /* more in all than 32 bits can count */
        MT_FREE(MT_MALLOC(1 << 28));
    }
    mtrace_reset_peak();
    fill(0, KEPT / 2);
    mtrace_set_baseline();
    save("half", 0);
    release(0, 0, 20);
    for (i = 0; i < 100; i++) { /* only this line drops blocks after the baseline */
        kept[1][i] = MT_MALLOC(300);
    }
    MT_FREE(malloc(20)); /* foreign */
    tables();
    since_baseline("diff baseline", MTRACE_BY_LINE, 10);
    since_snapshot("diff half 1", 0, 1);
}

#if MTRACE_ATOMICS_
static void who_is_old(void) {
    printf("> who old\n0x%lx: a block of 66 B\n", (unsigned long)(uintptr_t)old);
    printf("  %s:%d run_clear\n  from before mtrace_clear(): in no other figure\n", __FILE__,
           old_line);
}
#else /* a clear takes the traces out */
static void who_is_old(void) {
    printf("> who old\nmtrace: no traced block there\n");
}
#endif

/* Traces of cleared accounts are there, and some account numbers are in use again. */
static void run_clear(void) {
    mtrace_desc desc = describe();
    start(&desc);
    old = MT_MALLOC(66);
    old_line = __LINE__ - 1;
    work_in_threads();
    mtrace_clear();
    release(1, 100, 399);
    fill(0, 200);
    mtrace_reset_peak();
    release(0, 10, 100);
    mtrace_pause();
    kept[1][0] = MT_MALLOC(100000);
    tables();
    who_is_old();
}

static void run_sampled(void) {
    mtrace_desc desc = describe();
    desc.sample_interval = 4096;
    start(&desc);
    work_in_threads();
    mtrace_set_baseline();
    release(0, 200, 290);
    kept[0][201] = MT_MALLOC(1000001);
    tables();
    since_baseline("diff baseline 0", MTRACE_BY_LINE, 0);
    who_is_nobody(": one block per 4096 B is traced");
}

static void run_stopped(void) {
    mtrace_desc desc = describe();
    start(&desc);
    fill(0, 10);
    mtrace_stop();
    table("top", MTRACE_BY_LINE, MTRACE_VIEW_LIVE, 10);
}

static void run_never(void) {
    table("top", MTRACE_BY_LINE, MTRACE_VIEW_LIVE, 10);
    table("domains", MTRACE_BY_LINE, MTRACE_VIEW_LIVE, 10);
}

int main(int count, char **words) {
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {{"threads", run_threads}, {"rising", run_rising},   {"full", run_full},
                     {"clear", run_clear},     {"sampled", run_sampled}, {"stopped", run_stopped},
                     {"never", run_never}};
    size_t i;
    for (i = 0; count > 1 && i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(words[1], scenarios[i].name) == 0) {
            scenarios[i].run();
        }
    }
    fflush(stdout);
    stop_here();
    return 0;
}

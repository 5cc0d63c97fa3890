#ifndef MTRACE_H
#define MTRACE_H

/* ============================================================================================== */
/* [SECTION] CONFIG - the only place that reads the user's switches                                */
/* ============================================================================================== */

#ifdef MTRACE_CONFIG_FILE
#include MTRACE_CONFIG_FILE
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef MTRACE_BASE_MALLOC
#include <stdlib.h>
#define MTRACE_BASE_MALLOC(size)         malloc(size)
#define MTRACE_BASE_CALLOC(count, size)  calloc(count, size)
#define MTRACE_BASE_REALLOC(block, size) realloc(block, size)
#define MTRACE_BASE_FREE(block)          free(block)
#define MTRACE_BASE_IS_LIBC_
#ifndef _WIN32
#define MTRACE_BASE_ALIGNED_ALLOC(alignment, size) aligned_alloc(alignment, size)
#if !defined(__cplusplus) && __STDC_VERSION__ < 201112L && !defined(__USE_ISOC11)
extern void *aligned_alloc(size_t alignment, size_t size); /* C99 headers do not declare it */
#endif
#endif
#elif !defined(MTRACE_BASE_CALLOC) || !defined(MTRACE_BASE_REALLOC) || !defined(MTRACE_BASE_FREE)
#error "mtrace: define MTRACE_BASE_MALLOC, _CALLOC, _REALLOC and _FREE together, or none of them"
#endif

#ifndef MTRACE_FAIL /* what MT_ASSERT_NO_GROWTH does with its message; must not return normally */
#include <stdlib.h>
#define MTRACE_FAIL(message) (mtrace_write_message(message), abort())
#endif

/* ============================================================================================== */
/* [SECTION] VERSION                                                                              */
/* ============================================================================================== */

#define MTRACE_VERSION_MAJOR 0
#define MTRACE_VERSION_MINOR 1
#define MTRACE_VERSION_PATCH 0
#define MTRACE_VERSION                                                                             \
    (MTRACE_VERSION_MAJOR * 10000 + MTRACE_VERSION_MINOR * 100 + MTRACE_VERSION_PATCH)

/* ============================================================================================== */
/* [SECTION] COMPILER                                                                             */
/* ============================================================================================== */

#ifndef MTRACE_API
#define MTRACE_API extern
#endif

/* How a macro gets its call site: 2 = static record in a GNU statement expression, 1 = static record
   in a C++ lambda, 0 = record on the stack, found by content (strict C99). Settable, to test each. */
#ifndef MTRACE_SITE_KIND
#if defined(__GNUC__)
#define MTRACE_SITE_KIND 2
#elif defined(__cplusplus)
#define MTRACE_SITE_KIND 1
#else
#define MTRACE_SITE_KIND 0
#endif
#endif

#if defined(__GNUC__)
#define MTRACE_UNLIKELY_(condition) __builtin_expect(!!(condition), 0)
#define MTRACE_COLD_                __attribute__((cold, noinline))
#define MTRACE_STATE_()             __atomic_load_n(&mtrace_state_, __ATOMIC_RELAXED)
#else
#define MTRACE_UNLIKELY_(condition) (condition)
#define MTRACE_COLD_
#define MTRACE_STATE_() (*(volatile unsigned char *)&mtrace_state_)
#endif

#ifdef __cplusplus
#define MTRACE_ZERO_                                                                               \
    {}
extern "C" {
#else
#define MTRACE_ZERO_                                                                               \
    { 0 }
#endif

/* ============================================================================================== */
/* [SECTION] TYPES                                                                                */
/* ============================================================================================== */

/* What a call answers. Zero is good, errors are negative. mtrace_result_text() says it in words. */
typedef enum mtrace_result {
    MTRACE_OK = 0,
    MTRACE_ERR_ALREADY = -1,     /* start: tracing already; the running session is untouched */
    MTRACE_ERR_NOT_TRACING = -2, /* the call needs a started tracer */
    MTRACE_ERR_NO_MEMORY = -3,   /* the memory given, or the system's, is too small */
    MTRACE_ERR_ARGUMENT = -4,    /* an argument makes no sense */
    MTRACE_ERR_NO_BLOCKS = -5,   /* the question needs a snapshot taken with its blocks */
    MTRACE_ERR_NOT_FOUND = -6,   /* no trace of that block or key */
    MTRACE_ERR_FULL = -7,        /* a table is full: counted as dropped, nothing else changed */
    MTRACE_ERR_NO_WRITER = -8,   /* no write callback, and no stdout here */
    MTRACE_ERR_COMPILED_OUT = -9 /* built without MTRACE */
} mtrace_result;

/* A call site. The macros own one each; to charge memory to a place of your own (a script's line, the
   caller of a wrapper) fill file, function, type and line and leave cache zero. Unless the tracer was
   started with borrow_names, the names are copied, so they may live on the stack. */
typedef struct mtrace_site {
    const char *file;     /* NULL: "<unknown>" */
    const char *function; /* NULL: none */
    const char *type;     /* NULL: none; MT_NEW records the type's name */
    uint32_t line;
    uint64_t cache; /* the library's; zero */
} mtrace_site;

/* Output: `length` bytes of `text`, not terminated. Called with whole lines where they fit 256 bytes. */
typedef void (*mtrace_write_fn)(const char *text, size_t length, void *user);

/* What a free of a pointer without a trace does, beside freeing it and being counted. Such frees are
   ordinary: the block came from elsewhere, or from before the start, or was dropped by a full table. */
typedef enum mtrace_foreign {
    MTRACE_FOREIGN_COUNT = 0,  /* nothing more */
    MTRACE_FOREIGN_REPORT = 1, /* one line `file:line: warning: ...` through desc.write */
    MTRACE_FOREIGN_ABORT = 2   /* the line, then abort(), before the block is freed */
} mtrace_foreign;

/* How to start. All zero is a good default: NULL may stand for it. */
typedef struct mtrace_desc {
    size_t capacity;    /* slots of the trace table; the live blocks should fill at most 3/4 of
                                    them. 0: 1,048,576 (64-bit), 262,144 (32-bit), what fits in memory */
    size_t max_sites;   /* call sites x domains, at most 65,533. 0: 4,096, fewer in `memory` */
    size_t name_bytes;  /* room for copied file, function and type names. 0: 16 a site */
    void *memory;       /* the tracer's own memory; NULL: from the system, once */
    size_t memory_size; /* bytes of memory */
    uint32_t frames;    /* frames kept of a traceback, 1 to 65,535. 0: 1 */
    mtrace_foreign foreign_free; /* 0: count them */
    bool serials;                /* number the allocations: 8 bytes a slot more */
    bool borrow_names;     /* keep pointers to names instead of copies: they must never vanish */
    mtrace_write_fn write; /* where reports go by default. NULL: stdout, where there is one */
    void *write_user;
} mtrace_desc;

typedef struct mtrace_traced_memory {
    uint64_t current; /* bytes held now: requested sizes, all domains */
    uint64_t peak;    /* the most bytes held at once since start, clear or reset_peak */
} mtrace_traced_memory;

/* The state of the tracer itself. */
typedef struct mtrace_info {
    size_t capacity;         /* slots of the trace table */
    size_t live;             /* slots in use */
    size_t high_water;       /* the most slots in use at once since the start */
    size_t longest_probe;    /* slots from its place that an entry ever had to go */
    size_t max_sites;        /* call sites x domains that fit */
    size_t sites;            /* seen */
    uint64_t dropped_count;  /* blocks handed out but not traced: no slot, or 512 GiB and larger */
    uint64_t dropped_bytes;  /* their bytes */
    uint64_t foreign_frees;  /* frees and reallocs of pointers without a trace, passed through */
    uint64_t stale_replaced; /* traces whose block had been freed behind the library's back */
    uint64_t lost_sites;     /* allocations charged to "<other>": the site table was full */
    uint64_t lost_names;     /* names shown as "<unknown>": the name table was full */
    size_t tracer_memory;    /* bytes of the tracer's own memory */
    uint32_t frames;         /* frames kept of a traceback */
} mtrace_info;

/* One live block. The names are the tracer's (or the snapshot's) and live as long as it does. */
typedef struct mtrace_block {
    uintptr_t address; /* or the key, in a tracked domain */
    uint64_t size;     /* bytes asked for */
    uint64_t serial;   /* 1 for the first allocation traced; 0 unless desc.serials */
    const char *file;
    const char *function;
    const char *type;
    uint32_t line;
    uint32_t domain;
} mtrace_block;

/* What the rows of statistics stand for. */
typedef enum mtrace_key_type {
    MTRACE_BY_LINE = 0,
    MTRACE_BY_FILE = 1,
    MTRACE_BY_FUNCTION = 2, /* file and function */
    MTRACE_BY_TYPE = 3,     /* the name MT_NEW recorded; "<untyped>" for the rest */
    MTRACE_BY_DOMAIN = 4,
    MTRACE_BY_SIZE_CLASS = 5 /* live blocks by power of two; needs a snapshot with blocks */
} mtrace_key_type;

/* One row. Fields that the key does not fix are NULL or 0. size and count are what is live; by size
   class only they and their differences are known. */
typedef struct mtrace_statistic {
    const char *file;
    const char *function;
    const char *type;
    uint32_t line;
    uint32_t domain;
    uint64_t size_class;  /* largest size of the class; 0 is a class */
    uint64_t size;        /* live bytes */
    uint64_t count;       /* live blocks */
    int64_t size_diff;    /* compare: size - old size */
    int64_t count_diff;   /* compare: count - old count */
    uint64_t peak_size;   /* bytes held when the program's total was at its peak */
    uint64_t peak_count;  /* blocks held then */
    uint64_t total_size;  /* bytes ever allocated here; a realloc allocates its new size */
    uint64_t total_count; /* blocks ever allocated here, reallocs among them */
    uint64_t frees;       /* of these, gone: freed, or moved on by a realloc */
    uint64_t reallocs;    /* reallocs done here */
    uint64_t
        dropped_count; /* allocations here that could not be traced: size and count are too low */
    uint64_t dropped_size; /* by up to this */
} mtrace_statistic;

/* Memory for a result: the caller's, or with memory NULL the tracer's own from the system. */
typedef struct mtrace_memory {
    void *memory;
    size_t size; /* bytes */
} mtrace_memory;

typedef struct mtrace_snapshot mtrace_snapshot; /* a copy of the counters at one moment */

/* Rows, largest first, in tracemalloc's order (see mtrace_snapshot_statistics). */
typedef struct mtrace_statistics {
    mtrace_statistic *rows;
    size_t count;           /* rows */
    mtrace_statistic total; /* the sum of all rows */
    mtrace_key_type key_type;
    bool is_diff;
    mtrace_info info;                   /* of the (new) snapshot */
    mtrace_traced_memory traced_memory; /* of the (new) snapshot */
    void *own_memory;                   /* the library's: what mtrace_statistics_free gives back */
    size_t own_size;
} mtrace_statistics;

/* How a report looks. */
typedef enum mtrace_style {
    MTRACE_STYLE_TABLE = 0,  /* for people, 80 columns */
    MTRACE_STYLE_PYTHON = 1, /* rows as CPython's tracemalloc prints them */
    MTRACE_STYLE_LINES =
        2, /* for sort and awk: plain numbers, one line a row, no thousands marks */
    MTRACE_STYLE_WARNINGS = 3 /* `file:line: warning: ...`, rows that hold (diff: that grew) only */
} mtrace_style;

typedef struct mtrace_report_desc {
    mtrace_style style;
    size_t top;            /* rows; the others become one. 0: all */
    mtrace_write_fn write; /* NULL: desc.write of the start, else stdout */
    void *write_user;
    uint32_t columns; /* of a table. 0: 80 */
} mtrace_report_desc;

#ifdef MTRACE

/* ============================================================================================== */
/* [SECTION] LIFE CYCLE - one tracer a program; zero is a stopped tracer, usable before main       */
/* ============================================================================================== */

/* Starts tracing. Blocks allocated before are never seen. desc NULL: all defaults. Errors: ALREADY when
   tracing or paused (nothing changes, unlike CPython's silent no-op; a bad desc is reported first, as
   there), ARGUMENT, NO_MEMORY (desc.memory below mtrace_memory_size(), or the system's at its end).
   Memory taken from the system is kept for the next start and never given back: another thread could
   still be inside a call. O(memory). Any thread, one life cycle call at a time (a second one waits);
   not from a signal handler or an interrupt. Source: tracemalloc.start(). */
MTRACE_API mtrace_result mtrace_start(const mtrace_desc *desc);

/* Bytes that `memory` must have for exactly desc.capacity and desc.max_sites (0: the defaults for the
   system's memory), alignment included. O(1). Any context. */
MTRACE_API size_t mtrace_memory_size(const mtrace_desc *desc);

/* Stops and forgets every trace; no-op when stopped. Snapshots stay valid. desc.memory may be reused
   once no other thread is inside a call. O(1). As mtrace_start. Source: tracemalloc.stop(). */
MTRACE_API void mtrace_stop(void);

/* Pause: new blocks are not traced, frees of traced ones are honoured, and a realloc of a traced block
   keeps its line and takes its new size. Resume ends it. Error: NOT_TRACING. O(1). Any context. */
MTRACE_API mtrace_result mtrace_pause(void);
MTRACE_API mtrace_result mtrace_resume(void);

/* Forgets every trace and all counters and goes on tracing; blocks now live are not traced any more
   (their free is a foreign free). O(capacity). As mtrace_start. Source: tracemalloc.clear_traces(). */
MTRACE_API void mtrace_clear(void);

/* Sets the peak to what is held now. O(1). Any context. Source: tracemalloc.reset_peak(). */
MTRACE_API void mtrace_reset_peak(void);

/* True when started and not paused. O(1). Any context. */
MTRACE_API bool mtrace_is_tracing(void);

/* ============================================================================================== */
/* [SECTION] QUERIES                                                                              */
/* ============================================================================================== */

/* Bytes held now and at the peak; zeros when stopped. O(1). Any context.
   Source: tracemalloc.get_traced_memory(). */
MTRACE_API mtrace_traced_memory mtrace_get_traced_memory(void);

/* Bytes of the tracer's own memory, exactly: desc.memory_size, or what it took from the system (address
   space; pages never touched cost nothing), snapshots in its memory included. O(1). Any context. */
MTRACE_API size_t mtrace_get_tracer_memory(void);

/* The state of the tracer's tables; zeros when stopped. O(call sites). Any context. */
MTRACE_API mtrace_info mtrace_get_info(void);

/* Who owns this block: `block` must be what the allocator returned, not a pointer into it. Fills *out.
   Errors: NOT_FOUND, NOT_TRACING. O(1). Any context. Source: tracemalloc.get_object_traceback(). */
MTRACE_API mtrace_result mtrace_find(const void *block, mtrace_block *out);

/* The same for a key of MT_TRACK. */
MTRACE_API mtrace_result mtrace_find_tracked(uint32_t domain, uintptr_t key, mtrace_block *out);

/* A result in words, "memory too small" and such. Never NULL. O(1). Any context. */
MTRACE_API const char *mtrace_result_text(mtrace_result result);

/* ============================================================================================== */
/* [SECTION] SNAPSHOTS - each in the caller's memory, or in the tracer's where memory is NULL      */
/* ============================================================================================== */

/* Bytes of memory that mtrace_snapshot_take needs now; another thread can make it more. O(call sites),
   with blocks O(capacity). Any context. */
MTRACE_API size_t mtrace_snapshot_size(bool with_blocks);

/* Copies the counters of every call site, and with_blocks every live block too. The snapshot is its own:
   it outlives stop and clear. memory NULL: the tracer's. Errors: NOT_TRACING, NO_MEMORY (*out is NULL).
   Other threads go on; each counter is right at some moment during the call. O(call sites), with blocks
   O(capacity). Any thread; in the caller's memory also signal handler and interrupt.
   Source: tracemalloc.take_snapshot(), which is O(live blocks). */
MTRACE_API mtrace_result mtrace_snapshot_take(mtrace_snapshot **out, bool with_blocks,
                                              const mtrace_memory *memory);

/* Gives a snapshot back (the caller's memory is simply left alone). NULL is fine. O(1). Any thread. */
MTRACE_API void mtrace_snapshot_free(mtrace_snapshot *snapshot);

/* Live blocks at its moment, len(snapshot.traces) in tracemalloc. O(call sites). Any context. */
MTRACE_API size_t mtrace_snapshot_traces(const mtrace_snapshot *snapshot);

/* The index-th live block, in no order. Errors: NO_BLOCKS (taken without), NOT_FOUND (no such index).
   O(1). Any context. */
MTRACE_API mtrace_result mtrace_snapshot_block(const mtrace_snapshot *snapshot, size_t index,
                                               mtrace_block *out);

/* Groups a snapshot by a key. Rows are sorted by (size, count, key), each descending, so that of two
   equal rows the greater name or line comes first, as tracemalloc's; rows that hold nothing any more
   come last. memory NULL: the tracer's. Errors: ARGUMENT, NO_BLOCKS, NO_MEMORY (*out is NULL). The names
   are the snapshot's: free it last. O(n log n) in its call sites (blocks, by size class). Any context in
   the caller's memory. Source: tracemalloc.Snapshot.statistics(). */
MTRACE_API mtrace_result mtrace_snapshot_statistics(mtrace_statistics **out,
                                                    const mtrace_snapshot *snapshot,
                                                    mtrace_key_type key_type,
                                                    const mtrace_memory *memory);

/* The same for what changed from snapshot `old` to `snapshot`, rows that vanished or did not change
   included; sorted by (|size_diff|, size, |count_diff|, count, key), each descending. total_*, frees,
   reallocs, dropped_* count what happened in between (since the start of tracing for a row whose counters
   were cleared in between). Source: tracemalloc.Snapshot.compare_to(). */
MTRACE_API mtrace_result mtrace_snapshot_compare(mtrace_statistics **out,
                                                 const mtrace_snapshot *snapshot,
                                                 const mtrace_snapshot *old,
                                                 mtrace_key_type key_type,
                                                 const mtrace_memory *memory);

/* Bytes of memory that statistics (old NULL) or compare need. O(1). Any context. */
MTRACE_API size_t mtrace_statistics_size(const mtrace_snapshot *snapshot,
                                         const mtrace_snapshot *old, mtrace_key_type key_type);

/* Gives statistics back. NULL is fine. O(1). Any thread. */
MTRACE_API void mtrace_statistics_free(mtrace_statistics *statistics);

/* The sum of the rows from index `top` on, file "<other>": what a top list leaves out. O(rows). Any
   context. */
MTRACE_API mtrace_statistic mtrace_statistics_other(const mtrace_statistics *statistics,
                                                    size_t top);

/* ============================================================================================== */
/* [SECTION] REPORTS - text through a callback: no stdio, no locale, no memory but the stack's     */
/* ============================================================================================== */

/* Writes statistics. desc NULL: a table of all rows to the default writer. Errors: NO_WRITER, ARGUMENT.
   O(rows). Any context that the writer allows. */
MTRACE_API mtrace_result mtrace_report(const mtrace_statistics *statistics,
                                       const mtrace_report_desc *desc);

/* The debug console's questions, answered now, by line, in the tracer's memory, to the default writer:
   the `top` largest lines; what changed since `old`, the `top` largest changes; every line that holds
   memory as a warning. Errors: those of the calls they are made of. O(n log n) in call sites. */
MTRACE_API mtrace_result mtrace_print_top(size_t top);
MTRACE_API mtrace_result mtrace_print_diff(const mtrace_snapshot *old, size_t top);
MTRACE_API mtrace_result mtrace_print_leaks(void);

/* One row as CPython prints it, e.g. "a.c:5: size=5002 B (+5000 B), count=2 (+1), average=2501 B", without
   a newline; cut to fit and terminated, as snprintf. Returns its whole length. Any context. */
MTRACE_API size_t mtrace_format_statistic(char *buffer, size_t size, const mtrace_statistic *row,
                                          mtrace_key_type key_type, bool is_diff);

/* Bytes as tracemalloc prints them: "10.0 KiB", with_sign "+0 B". Returns as above. Any context. */
MTRACE_API size_t mtrace_format_size(char *buffer, size_t size, int64_t bytes, bool with_sign);

/* Writes a message and a newline to the default writer (nowhere when there is none). */
MTRACE_API void mtrace_write_message(const char *message);

/* ============================================================================================== */
/* [SECTION] CHECKS                                                                               */
/* ============================================================================================== */

/* Walks every structure. NULL when all is well, else the first broken invariant in words, numbered as in
   STRUCTURES. Exact when no other thread is inside a call. O(capacity + call sites). Any thread. */
MTRACE_API const char *mtrace_check(void);

/* Bytes by which lines grew from `old` to now (what shrank elsewhere does not make up for it), or 0 when
   that is at most `tolerance`; with tolerance 0 a line that holds more blocks counts as at least 1 byte.
   When over, or when it cannot know (not tracing, no memory, blocks dropped in between: then UINT64_MAX),
   `message` says why, and names the lines that grew, largest first, cut to fit. O(n log n) in call sites.
   Any thread. */
MTRACE_API uint64_t mtrace_growth(const mtrace_snapshot *old, uint64_t tolerance, char *message,
                                  size_t size);

/* ============================================================================================== */
/* [SECTION] RECORDING - the function forms: an explicit call site, NULL for "<unknown>"           */
/* ============================================================================================== */

/* Each is the allocator's call plus a trace charged to `site`; they are inline, so that a stopped tracer
   costs a byte load and a predicted branch. They return what the allocator returns, NULL and errno
   included; a block that no table has room for is handed out all the same and counted as dropped. O(1)
   beside the allocator's own cost. Any thread; where the allocator may be called, also signal handler and
   interrupt (mtrace_track_at and mtrace_untrack_at call no allocator). */

MTRACE_API unsigned char mtrace_state_; /* bit 0: frees are looked up, bit 1: blocks are recorded */

MTRACE_API void *mtrace_malloc_(size_t size, mtrace_site *site);
MTRACE_API void *mtrace_calloc_(size_t count, size_t size, mtrace_site *site);
MTRACE_API void *mtrace_realloc_(void *block, size_t size, mtrace_site *site);
MTRACE_API void mtrace_free_(void *block, mtrace_site *site);
MTRACE_API void mtrace_record_(void *block, size_t size, mtrace_site *site);

static inline void *mtrace_malloc_at(size_t size, mtrace_site *site) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() & 2)) {
        return mtrace_malloc_(size, site);
    }
    return MTRACE_BASE_MALLOC(size);
}

static inline void *mtrace_calloc_at(size_t count, size_t size, mtrace_site *site) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() & 2)) {
        return mtrace_calloc_(count, size, site);
    }
    return MTRACE_BASE_CALLOC(count, size);
}

/* The trace takes the new size and this call site, and is untouched when realloc fails. While started,
   realloc(block, 0) frees the block and returns NULL, as glibc's. The moment in which an allocator holds
   the old and the new block is not in the peak. Source: tracemalloc (realloc steals the attribution). */
static inline void *mtrace_realloc_at(void *block, size_t size, mtrace_site *site) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() != 0)) {
        return mtrace_realloc_(block, size, site);
    }
    return MTRACE_BASE_REALLOC(block, size);
}

static inline void mtrace_free_at(void *block, mtrace_site *site) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() != 0)) {
        mtrace_free_(block, site);
        return;
    }
    MTRACE_BASE_FREE(block);
}

#ifdef MTRACE_BASE_ALIGNED_ALLOC
static inline void *mtrace_aligned_alloc_at(size_t alignment, size_t size, mtrace_site *site) {
    void *block = MTRACE_BASE_ALIGNED_ALLOC(alignment, size);
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() & 2)) {
        mtrace_record_(block, size, site);
    }
    return block;
}
#endif

/* count * size; a product that does not fit asks for SIZE_MAX, which every allocator refuses. */
static inline size_t mtrace_array_size_(size_t count, size_t size) {
    return size != 0 && count > SIZE_MAX / size ? SIZE_MAX : count * size;
}

static inline void *mtrace_reallocarray_at(void *block, size_t count, size_t size,
                                           mtrace_site *site) {
    return mtrace_realloc_at(block, mtrace_array_size_(count, size), site);
}

MTRACE_API char *mtrace_strdup_at(const char *text, mtrace_site *site);
MTRACE_API char *mtrace_strndup_at(const char *text, size_t length, mtrace_site *site);

/* Traces memory that another allocator handed out, or anything else that has a size: `key` is any
   integer (an address, a GPU handle). The same key in two domains is two traces; tracked twice, the trace
   takes the new size and site. Domain 0 is the heap that MT_MALLOC uses: there a key is the address of a
   block, and MT_FREE ends its trace too. Errors: NOT_TRACING (or paused), ARGUMENT (domain above 65,535),
   FULL. O(1). Any thread, signal handler, interrupt. Source: PyTraceMalloc_Track(). */
MTRACE_API mtrace_result mtrace_track_at(uint32_t domain, uintptr_t key, uint64_t size,
                                         mtrace_site *site);

/* Ends that trace. Errors: NOT_TRACING (stopped), NOT_FOUND (harmless, not counted as a foreign free).
   Source: PyTraceMalloc_Untrack(), which answers 0 for an unknown key. */
MTRACE_API mtrace_result mtrace_untrack_at(uint32_t domain, uintptr_t key, mtrace_site *site);

#else /* not MTRACE: the same names, the plain allocator and nothing else */

#include <string.h>

static inline mtrace_result mtrace_start(const mtrace_desc *desc) {
    (void)desc;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline size_t mtrace_memory_size(const mtrace_desc *desc) {
    (void)desc;
    return 0;
}
static inline void mtrace_stop(void) {}
static inline mtrace_result mtrace_pause(void) {
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_resume(void) {
    return MTRACE_ERR_COMPILED_OUT;
}
static inline void mtrace_clear(void) {}
static inline void mtrace_reset_peak(void) {}
static inline bool mtrace_is_tracing(void) {
    return false;
}
static inline mtrace_traced_memory mtrace_get_traced_memory(void) {
    mtrace_traced_memory zero = MTRACE_ZERO_;
    return zero;
}
static inline size_t mtrace_get_tracer_memory(void) {
    return 0;
}
static inline mtrace_info mtrace_get_info(void) {
    mtrace_info zero = MTRACE_ZERO_;
    return zero;
}
static inline mtrace_result mtrace_find(const void *block, mtrace_block *out) {
    (void)block;
    (void)out;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_find_tracked(uint32_t domain, uintptr_t key, mtrace_block *out) {
    (void)domain;
    (void)key;
    (void)out;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline const char *mtrace_result_text(mtrace_result result) {
    (void)result;
    return "built without MTRACE";
}
static inline size_t mtrace_snapshot_size(bool with_blocks) {
    (void)with_blocks;
    return 0;
}
static inline mtrace_result mtrace_snapshot_take(mtrace_snapshot **out, bool with_blocks,
                                                 const mtrace_memory *memory) {
    (void)with_blocks;
    (void)memory;
    *out = NULL;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline void mtrace_snapshot_free(mtrace_snapshot *snapshot) {
    (void)snapshot;
}
static inline size_t mtrace_snapshot_traces(const mtrace_snapshot *snapshot) {
    (void)snapshot;
    return 0;
}
static inline mtrace_result mtrace_snapshot_block(const mtrace_snapshot *snapshot, size_t index,
                                                  mtrace_block *out) {
    (void)snapshot;
    (void)index;
    (void)out;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_snapshot_statistics(mtrace_statistics **out,
                                                       const mtrace_snapshot *snapshot,
                                                       mtrace_key_type key_type,
                                                       const mtrace_memory *memory) {
    (void)snapshot;
    (void)key_type;
    (void)memory;
    *out = NULL;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_snapshot_compare(mtrace_statistics **out,
                                                    const mtrace_snapshot *snapshot,
                                                    const mtrace_snapshot *old,
                                                    mtrace_key_type key_type,
                                                    const mtrace_memory *memory) {
    (void)old;
    return mtrace_snapshot_statistics(out, snapshot, key_type, memory);
}
static inline size_t mtrace_statistics_size(const mtrace_snapshot *snapshot,
                                            const mtrace_snapshot *old, mtrace_key_type key_type) {
    (void)snapshot;
    (void)old;
    (void)key_type;
    return 0;
}
static inline void mtrace_statistics_free(mtrace_statistics *statistics) {
    (void)statistics;
}
static inline mtrace_statistic mtrace_statistics_other(const mtrace_statistics *statistics,
                                                       size_t top) {
    mtrace_statistic zero = MTRACE_ZERO_;
    (void)statistics;
    (void)top;
    return zero;
}
static inline mtrace_result mtrace_report(const mtrace_statistics *statistics,
                                          const mtrace_report_desc *desc) {
    (void)statistics;
    (void)desc;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_print_top(size_t top) {
    (void)top;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_print_diff(const mtrace_snapshot *old, size_t top) {
    (void)old;
    (void)top;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_print_leaks(void) {
    return MTRACE_ERR_COMPILED_OUT;
}
static inline size_t mtrace_format_statistic(char *buffer, size_t size, const mtrace_statistic *row,
                                             mtrace_key_type key_type, bool is_diff) {
    (void)row;
    (void)key_type;
    (void)is_diff;
    if (size > 0) {
        buffer[0] = '\0';
    }
    return 0;
}
static inline size_t mtrace_format_size(char *buffer, size_t size, int64_t bytes, bool with_sign) {
    (void)bytes;
    (void)with_sign;
    if (size > 0) {
        buffer[0] = '\0';
    }
    return 0;
}
static inline void mtrace_write_message(const char *message) {
    (void)message;
}
static inline const char *mtrace_check(void) {
    return NULL;
}
static inline uint64_t mtrace_growth(const mtrace_snapshot *old, uint64_t tolerance, char *message,
                                     size_t size) {
    (void)old;
    (void)tolerance;
    if (size > 0) {
        message[0] = '\0';
    }
    return 0;
}
static inline void *mtrace_malloc_at(size_t size, mtrace_site *site) {
    (void)site;
    return MTRACE_BASE_MALLOC(size);
}
static inline void *mtrace_calloc_at(size_t count, size_t size, mtrace_site *site) {
    (void)site;
    return MTRACE_BASE_CALLOC(count, size);
}
static inline void *mtrace_realloc_at(void *block, size_t size, mtrace_site *site) {
    (void)site;
    return MTRACE_BASE_REALLOC(block, size);
}
static inline void mtrace_free_at(void *block, mtrace_site *site) {
    (void)site;
    MTRACE_BASE_FREE(block);
}
#ifdef MTRACE_BASE_ALIGNED_ALLOC
static inline void *mtrace_aligned_alloc_at(size_t alignment, size_t size, mtrace_site *site) {
    (void)site;
    return MTRACE_BASE_ALIGNED_ALLOC(alignment, size);
}
#endif
static inline size_t mtrace_array_size_(size_t count, size_t size) {
    return size != 0 && count > SIZE_MAX / size ? SIZE_MAX : count * size;
}
static inline void *mtrace_reallocarray_at(void *block, size_t count, size_t size,
                                           mtrace_site *site) {
    (void)site;
    return MTRACE_BASE_REALLOC(block, mtrace_array_size_(count, size));
}
static inline char *mtrace_strndup_at(const char *text, size_t length, mtrace_site *site) {
    const char *end = (const char *)memchr(text, 0, length);
    size_t size = end != NULL ? (size_t)(end - text) : length;
    char *copy = (char *)MTRACE_BASE_MALLOC(size + 1);
    (void)site;
    if (copy != NULL) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}
static inline char *mtrace_strdup_at(const char *text, mtrace_site *site) {
    return mtrace_strndup_at(text, strlen(text), site);
}
static inline mtrace_result mtrace_track_at(uint32_t domain, uintptr_t key, uint64_t size,
                                            mtrace_site *site) {
    (void)domain;
    (void)key;
    (void)size;
    (void)site;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_untrack_at(uint32_t domain, uintptr_t key, mtrace_site *site) {
    (void)domain;
    (void)key;
    (void)site;
    return MTRACE_ERR_COMPILED_OUT;
}

#endif /* MTRACE */

#ifdef __cplusplus
} /* extern "C" */
#endif

/* ============================================================================================== */
/* [SECTION] MACROS - what users write; each is an expression that evaluates its arguments once    */
/* ============================================================================================== */

#ifdef MTRACE

/* MT_HERE: the call site of this line, for the function forms. MT_HERE_TYPED adds a type's name. */
#define MT_HERE MT_HERE_TYPED(NULL)
#if MTRACE_SITE_KIND == 2
#define MT_HERE_TYPED(type_name)                                                                   \
    (__extension__({                                                                               \
        static mtrace_site mtrace_site_ = {__FILE__, __func__, type_name, __LINE__, 0};            \
        &mtrace_site_;                                                                             \
    }))
#elif MTRACE_SITE_KIND == 1
#define MT_HERE_TYPED(type_name)                                                                   \
    ([](const char *mtrace_function_) -> mtrace_site * {                                           \
        static mtrace_site mtrace_site_ = {__FILE__, mtrace_function_, type_name, __LINE__, 0};    \
        return &mtrace_site_;                                                                      \
    }(__func__))
#else
#define MT_HERE_TYPED(type_name) (&(mtrace_site){__FILE__, __func__, type_name, __LINE__, 0})
#endif

#define MT_MALLOC(size)         mtrace_malloc_at((size), MT_HERE)
#define MT_CALLOC(count, size)  mtrace_calloc_at((count), (size), MT_HERE)
#define MT_REALLOC(block, size) mtrace_realloc_at((block), (size), MT_HERE)
#define MT_REALLOCARRAY(block, count, size)                                                        \
    mtrace_reallocarray_at((block), (count), (size), MT_HERE)
#define MT_FREE(block)                    mtrace_free_at((block), MT_HERE)
#define MT_STRDUP(text)                   mtrace_strdup_at((text), MT_HERE)
#define MT_STRNDUP(text, length)          mtrace_strndup_at((text), (length), MT_HERE)
#define MT_ALIGNED_ALLOC(alignment, size) mtrace_aligned_alloc_at((alignment), (size), MT_HERE)

/* Zeroed memory for one object, or n, of a type; a product that does not fit gives NULL. */
#define MT_NEW(type) ((type *)mtrace_calloc_at(1, sizeof(type), MT_HERE_TYPED(#type)))
#define MT_NEW_ARRAY(type, count)                                                                  \
    ((type *)mtrace_calloc_at((count), sizeof(type), MT_HERE_TYPED(#type)))

#else /* not MTRACE: the plain allocator; the machine code is the same as without the library */

#define MT_HERE                 ((mtrace_site *)0)
#define MT_MALLOC(size)         MTRACE_BASE_MALLOC(size)
#define MT_CALLOC(count, size)  MTRACE_BASE_CALLOC(count, size)
#define MT_REALLOC(block, size) MTRACE_BASE_REALLOC(block, size)
#define MT_REALLOCARRAY(block, count, size)                                                        \
    mtrace_reallocarray_at((block), (count), (size), MT_HERE)
#define MT_FREE(block)                    MTRACE_BASE_FREE(block)
#define MT_STRDUP(text)                   MTRACE_STRDUP_(text)
#define MT_STRNDUP(text, length)          MTRACE_STRNDUP_(text, length)
#define MT_ALIGNED_ALLOC(alignment, size) MTRACE_BASE_ALIGNED_ALLOC(alignment, size)
#define MT_NEW(type)                      ((type *)MTRACE_BASE_CALLOC(1, sizeof(type)))
#define MT_NEW_ARRAY(type, count)         ((type *)MTRACE_BASE_CALLOC((count), sizeof(type)))

#endif

#if !defined(MTRACE) && defined(MTRACE_BASE_IS_LIBC_) && defined(__GNUC__)
#define MTRACE_STRDUP_(text)          __builtin_strdup(text) /* needs no POSIX declaration */
#define MTRACE_STRNDUP_(text, length) __builtin_strndup(text, length)
#else
#define MTRACE_STRDUP_(text)          mtrace_strdup_at((text), MT_HERE)
#define MTRACE_STRNDUP_(text, length) mtrace_strndup_at((text), (length), MT_HERE)
#endif

/* Both return mtrace_result; see mtrace_track_at. The key may be a pointer or an integer. */
#define MT_TRACK(domain, key, size) mtrace_track_at((domain), (uintptr_t)(key), (size), MT_HERE)
#define MT_UNTRACK(domain, key)     mtrace_untrack_at((domain), (uintptr_t)(key), MT_HERE)

/* The unit test's question: fails through MTRACE_FAIL(message), naming the lines that grew by more than
   `tolerance` bytes in sum since the snapshot `old` (see mtrace_growth). A statement. */
#ifdef MTRACE
#define MT_ASSERT_NO_GROWTH(old, tolerance)                                                        \
    do {                                                                                           \
        char mtrace_message_[1024];                                                                \
        if (mtrace_growth((old), (tolerance), mtrace_message_, sizeof mtrace_message_) != 0) {     \
            MTRACE_FAIL(mtrace_message_);                                                          \
        }                                                                                          \
    } while (0)
#else
#define MT_ASSERT_NO_GROWTH(old, tolerance) ((void)(old), (void)(tolerance))
#endif

#endif /* MTRACE_H */

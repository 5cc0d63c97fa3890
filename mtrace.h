/* mtrace.h - v0.1.0 - tracemalloc for C: which line holds the memory - MIT licence, see LICENSE

   WHAT IT DOES

   A program compiled with it can say, at any moment and in bounded memory: which line of the code
   holds its memory, which line held it when the total was at its peak, and what grew between two
   moments. It is exact, runs from a microcontroller to a game engine, and says so when it is not.

       mtrace: 3791 KiB in 27 blocks held, peak 3876 KiB; 3 of 7 lines
             SIZE      %    COUNT     AT PEAK  WHERE
         1536 KiB   40.5        6    1536 KiB  asset_load.c:81 bake_page
         1114 KiB   29.4        2    1116 KiB  asset_load.c:71 read_file
         1052 KiB   27.8        9    1134 KiB  stb_image.h:984 stbi__malloc
         89.4 KiB    2.4       10    89.4 KiB  <other: 4 lines>

   QUICK START

   Copy mtrace.h (and xxhash.h, from xxHash). Use MT_MALLOC, MT_FREE and their like. In one file
   define MTRACE_IMPLEMENTATION before the include. Compile with -DMTRACE to turn it on; without,
   the macros are malloc and free and the rest is nothing. A complete program:

       #define MTRACE_IMPLEMENTATION
       #include "mtrace.h"

       int main(void) {
           mtrace_snapshot *before;
           char *name;
           mtrace_start(NULL);
           mtrace_snapshot_take(&before, false, NULL);
           name = MT_STRDUP("a leak");
           mtrace_print_diff(before, 10);
           MT_FREE(name);
           mtrace_snapshot_free(before);
           mtrace_stop();
           return 0;
       }

   INDEX (grep -n '\[SECTION\]' mtrace.h)

   CONFIG VERSION COMPILER TYPES             what can be chosen; results, rows, descriptions
   LIFE CYCLE QUERIES SNAPSHOTS REPORTS      the calls, each with its costs and contexts
   CHECKS RECORDING MACROS                   self-check, test assertion, function forms, macros
   PORTABILITY STRUCTURES TEXT NAMES SITES   the implementation, bottom up
   TRACE TABLE COUNTERS RECORD LIFE LOOK
   FILTER SNAPSHOT GROUP REPORT CHECK

   mtrace_ext.h, beside it: snapshot files, snapshots for Python, memory line by line and over time
   (docs/PROFILING.md), start by an environment variable. docs/FROM_TRACEMALLOC.md: Python's calls
   and these, side by side.

   WORDS

   call site   the file, line and function of one macro; MT_NEW adds the type's name
   scope       a function, or part of it, that MT_SCOPE names: a frame around call sites
   traceback   the scopes that a thread is inside, the oldest first, and the call site
   domain      a number that separates kinds of memory (textures, audio); 0 unless told
   trace       one live block: its address, size, traceback and domain
   snapshot    a copy of the counters of all tracebacks and domains at one moment
   statistic   one row of a snapshot: a line, file, function, type, domain, size class, traceback
   diff        one row of two snapshots compared
   filter      keeps or drops rows of a snapshot

   SWITCHES (scope: ALL = the same in every file; IMPL = only where the implementation is)

   MTRACE                   ALL   compiles it in
   MTRACE_CONFIG_FILE       ALL   a file that is included first and sets the others
   MTRACE_BASE_MALLOC(n) _CALLOC(n, size) _REALLOC(p, n) _FREE(p) _ALIGNED_ALLOC(alignment, n)
                            ALL   the allocator beneath; the first four together
   MTRACE_FAIL(message)     file  what MT_ASSERT_NO_GROWTH does; default: print it and abort()
   MTRACE_SITE_KIND         file  2, 1, 0: how a macro gets its call site (see COMPILER)
   MTRACE_LOCK() MTRACE_UNLOCK()
                            IMPL  your lock, or interrupts off and on; then no atomics and no
                                  thread-local storage are used
   MTRACE_CONTEXT           IMPL  with your lock: an mtrace_scope (lvalue) of the running task, zero
                                  at its start; without, all tasks share one way through scopes
   MTRACE_SINGLE_THREAD     IMPL  no lock and no atomics: one thread, no handlers
   MTRACE_HASH(p, n)        IMPL  a 32-bit hash of yours; then xxhash.h is not included
   MTRACE_LANES             IMPL  threads that count without atomics (16); 64 bytes a site each
   MTRACE_MAX_DOMAIN_NAMES  IMPL  domains that can have a name (16); 32 bytes each
   MTRACE_MAX_PROBE         IMPL  slots looked at before a block is dropped (512)
   MTRACE_NO_STDIO          IMPL  reports do not go to stdout by default
   MTRACE_SYSTEM_ALLOC(n) MTRACE_SYSTEM_FREE(p, n)
                            IMPL  zeroed memory for who gives no desc.memory; default: mmap,
                                  VirtualAlloc; none on bare metal
   MTRACE_THREAD_LOCAL      IMPL  the keyword (__thread)
   MTRACE_API               ALL   put before declarations (extern)

   PROMISES AND LIMITS

   Memory. Fixed at the start and never more, apart from snapshots in the tracer's memory: 16 bytes
   a slot (12 on 32-bit), 8 more with serials; a call site costs 64 bytes a lane (48 on 32-bit) and
   about 90 once. It is never the traced allocator's.

   What is exact. Sizes are the requested ones. Live bytes and blocks, totals, frees and reallocs a
   call site: always. The peak, who held it, and the table's high-water mark: as long as recording
   calls do not overlap in time; where they do, each may be short by what the calls under way were
   about to count.

   A full table never fails the program: the block is handed out, counted as dropped with its bytes
   at its call site, and every report says so and marks the rows. No live trace is ever evicted.
   Likewise a full site table charges "<other>", a full name table shows "<unknown>", a full scope
   table leaves the call site alone, and reports say so.

   Foreign pointers pass through. A free of a block that is not traced (it came from plain malloc,
   from before the start, or was dropped) frees it and counts a foreign free. A traced block that
   plain free() took leaves a stale trace, which is replaced, and counted, when its address comes
   again.

   Answers to corner cases. Size 0 is traced when the allocator returns a pointer. A product that
   overflows gives NULL. realloc(p, 0) frees p and returns NULL while started; a realloc that fails
   leaves block and trace as they were; one that succeeds takes its own call site. A double free is
   counted as foreign the second time and passed to the allocator, which may abort. Blocks of 512
   GiB and more are dropped. A child of fork() goes on with the parent's
   traces; hooks that are a mutex must see to it that none is held.

   Threads. All calls may be made from any thread; nothing locks around the allocator. Recording is
   lock-free: with GNU atomics a handler may record (MT_TRACK; malloc itself is not safe there).
   start, stop and clear exclude each other. A thread may be inside a call while another stops and
   starts; that one call may then be charged wrongly. Memory given in desc.memory must stay until no
   thread is.

   Scopes belong to a thread. What it allocates inside of them is charged to its traceback: the last
   desc.frames frames of it tell tracebacks apart, as does how many there were. With frames 1, the
   default, scopes only count. They cost nothing where none is entered; inside of them allocations
   take a longer way (see docs/DESIGN.md).

   Sampling. With desc.sample_interval, for programs in production: of the bytes allocated one in
   so many is picked at random (a Poisson process), and the blocks that they lie in are traced. A
   block of that size or more always is, exactly; a smaller one with the probability 1 - exp(-size
   / interval), and then stands for 1 / probability blocks. Sizes, counts, totals and the peak are
   unbiased estimates; rows say how good (variance), reports show the standard error. A block that
   is not traced costs a subtraction, its free a look at one byte. Foreign frees cannot be told
   then, nor whether something grew by a little (mtrace_growth). 64-bit machines with GNU atomics.

   Domains. MT_MALLOC_IN, MT_SCOPE_IN. MT_FREE finds a heap block whatever its domain. Keys of
   MT_TRACK are apart from each other in each domain but 0, and from heap blocks: 0 is the heap.

   Modules. Names are copied, so a module may be unloaded, unless borrow_names promised otherwise.
   Names in a snapshot are its own.

   It sees only what is compiled with its macros or routed through its calls. It has nothing to do
   with glibc's mtrace(), and defines no identifier of that name.

   PORTING

   C99 or C++11, any byte order, 16-byte-aligned or weaker allocators. gcc and clang need nothing.
   Other compilers and bare metal: define MTRACE_LOCK and MTRACE_UNLOCK, or MTRACE_SINGLE_THREAD.
   Bare metal: give desc.memory and desc.write too (examples/firmware). */

#ifndef MTRACE_H
#define MTRACE_H

/* ============================================================================================== */
/* [SECTION] CONFIG - the only place that reads the user's switches */
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

#ifndef MTRACE_MAX_DOMAIN_NAMES
#define MTRACE_MAX_DOMAIN_NAMES 16 /* 32 bytes each */
#endif
#define MTRACE_DOMAIN_NAME_BYTES 28 /* with its end */

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

/* How a macro gets its call site: 2 = static record in a GNU statement expression, 1 = static
   record in a C++ lambda, 0 = record on the stack, found by content (strict C99). Settable, to test
   each. */
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
#define MTRACE_LIKELY_(condition)   __builtin_expect(!!(condition), 1)
#define MTRACE_UNLIKELY_(condition) __builtin_expect(!!(condition), 0)
#define MTRACE_COLD_                __attribute__((cold, noinline))
#define MTRACE_NOINLINE_            __attribute__((noinline))
#define MTRACE_HOT_                 inline __attribute__((always_inline))
#define MTRACE_STATE_()             __atomic_load_n(mtrace_state_, __ATOMIC_RELAXED)
#define MTRACE_FRAME_()             __builtin_frame_address(0)
#else
#define MTRACE_LIKELY_(condition)   (condition)
#define MTRACE_UNLIKELY_(condition) (condition)
#define MTRACE_COLD_
#define MTRACE_NOINLINE_
#define MTRACE_HOT_     inline
#define MTRACE_STATE_() (*(volatile unsigned char *)mtrace_state_)
#define MTRACE_FRAME_() NULL
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
    MTRACE_ERR_ALREADY = -1,       /* start: tracing already; the running session is untouched */
    MTRACE_ERR_NOT_TRACING = -2,   /* the call needs a started tracer */
    MTRACE_ERR_NO_MEMORY = -3,     /* the memory given, or the system's, is too small */
    MTRACE_ERR_ARGUMENT = -4,      /* an argument makes no sense */
    MTRACE_ERR_NO_BLOCKS = -5,     /* the question needs a snapshot taken with its blocks */
    MTRACE_ERR_NOT_FOUND = -6,     /* no trace of that block or key */
    MTRACE_ERR_FULL = -7,          /* a table is full: not traced, counted as dropped */
    MTRACE_ERR_NO_WRITER = -8,     /* no write callback, and no stdout here */
    MTRACE_ERR_COMPILED_OUT = -9,  /* built without MTRACE */
    MTRACE_ERR_IO = -10,           /* a file could not be read or written: errno tells more */
    MTRACE_ERR_NOT_SNAPSHOT = -11, /* not a snapshot file */
    MTRACE_ERR_VERSION = -12,      /* a snapshot file of a later version */
    MTRACE_ERR_TRUNCATED = -13,    /* a snapshot file that ends too early */
    MTRACE_ERR_CORRUPT = -14,      /* a snapshot file that was altered */
    MTRACE_ERR_THREAD = -15        /* no thread could be made: errno tells more */
} mtrace_result;

/* A call site. The macros own one each; to charge memory to a place of your own (a script's line,
   the caller of a wrapper) fill file, function, type and line, and zero cache whenever you change
   them. Unless the tracer was started with borrow_names, the names are copied, so they may live on
   the stack. */
typedef struct mtrace_site {
    const char *file;     /* NULL: "<unknown>" */
    const char *function; /* NULL: none */
    const char *type;     /* NULL: none; MT_NEW records the type's name */
    uint32_t line;
    uint64_t cache; /* the library's; zero */
} mtrace_site;

/* What a thread was inside when it entered a scope: the way back. Zero is outside of all. */
typedef struct mtrace_scope {
    uint32_t session;
    uint32_t number;
    uint32_t domain;
} mtrace_scope;

/* What a call did to the traced memory: a block came, or went, or both (a realloc; a stale trace
   that was replaced). Of what went first, and what came then. */
typedef struct mtrace_event {
    const mtrace_site *site; /* of the call */
    const void *frame;  /* an address in the stack, above which its callers' frames are; or NULL */
    uint64_t went_size; /* bytes */
    uint64_t came_size;
    uint64_t dropped_size; /* could not be traced */
    uint32_t went;         /* blocks: at most 2 */
    uint32_t came;
    uint32_t dropped;
} mtrace_event;

/* Told of a thread's events; see mtrace_watch. All zero is none. */
typedef struct mtrace_watcher {
    void (*call)(const mtrace_event *event, void *user);
    void *user;
} mtrace_watcher;

/* Output: `length` bytes of `text`, not terminated. Called with whole lines where they fit 256
 * bytes. */
typedef void (*mtrace_write_fn)(const char *text, size_t length, void *user);

/* Reads a line of a source file into the buffer, without blanks around it, cut to fit and
   terminated; false when it cannot. mtrace_ext.h has one for files. */
typedef bool (*mtrace_source_fn)(const char *file, uint32_t line, char *buffer, size_t size,
                                 void *user);

/* What a free of a pointer without a trace does, beside freeing it and being counted. Such frees
   are ordinary: the block came from elsewhere, or from before the start, or was dropped by a full
   table. */
typedef enum mtrace_foreign {
    MTRACE_FOREIGN_COUNT = 0,  /* nothing more */
    MTRACE_FOREIGN_REPORT = 1, /* one line `file:line: warning: ...` through desc.write */
    MTRACE_FOREIGN_ABORT = 2   /* the line, then abort(), before the block is freed */
} mtrace_foreign;

/* How to start. All zero is a good default: NULL may stand for it. */
typedef struct mtrace_desc {
    size_t capacity;   /* slots of the trace table, rounded up to a power of two: twice the live
                          blocks is fast; at 85 % load calls take twice as long, from 95 % on blocks
                          may be dropped. 0: 1,048,576 (64-bit), 262,144 (32-bit), 16,384
                          (sampling), what fits in memory */
    size_t max_sites;  /* tracebacks x domains, at most 65,533. 0: 4,096, fewer in `memory` */
    size_t max_scopes; /* ways into scopes that tell tracebacks apart, at most 65,533. 0: as many as
                          max_sites. None are needed when frames is 1 */
    size_t name_bytes; /* room for copied file, function and type names. 0: 16 a site */
    void *memory;      /* the tracer's own memory; NULL: from the system, once */
    size_t memory_size;          /* bytes of memory */
    size_t sample_interval;      /* sampling: bytes from one sample to the next on average, 1,024 to
                                    16 MiB (see SAMPLING above). 0: every block is traced */
    uint64_t sample_seed;        /* other seeds, other samples; the same, the same */
    uint32_t frames;             /* frames kept of a traceback, 1 to 65,535. 0: 1 */
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
    size_t high_water;       /* the most slots in use at once since start or clear */
    size_t longest_probe;    /* slots beside its home that an entry ever had to look at */
    size_t max_sites;        /* call sites x domains that fit */
    size_t sites;            /* seen */
    uint64_t dropped_count;  /* blocks handed out but not traced: no slot, or 512 GiB and larger */
    uint64_t dropped_bytes;  /* their bytes */
    uint64_t foreign_frees;  /* frees and reallocs of pointers without a trace, passed through */
    uint64_t stale_replaced; /* traces whose block had been freed behind the library's back */
    uint64_t lost_sites;     /* allocations charged to "<other>": the site table was full */
    uint64_t lost_names;     /* names shown as "<unknown>": the name table was full */
    uint64_t lost_scopes;    /* scopes entered when their table was full: what is allocated inside
                                has its call site alone for a traceback */
    size_t max_scopes;       /* ways into scopes that fit */
    size_t scopes;           /* seen */
    size_t tracer_memory;    /* bytes of the tracer's own memory */
    size_t sample_interval;  /* bytes; then live and high_water count samples. 0: no sampling */
    uint32_t frames;         /* frames kept of a traceback */
} mtrace_info;

typedef struct mtrace_frame {
    const char *file;
    const char *function; /* NULL: not known */
    uint32_t line;
} mtrace_frame;

/* Where a block comes from: the scopes that its thread was inside, then the call site. */
typedef struct mtrace_traceback {
    const mtrace_frame *frames; /* oldest first, the call site last */
    uint32_t count;             /* at most desc.frames: the most recent ones */
    uint32_t total;             /* before that limit; 0: not known (see mtrace_info.lost_scopes) */
} mtrace_traceback;

/* One live block. The names are the tracer's (or the snapshot's) and live as long as it does. */
typedef struct mtrace_block {
    uint64_t address; /* or the key, in a tracked domain */
    uint64_t size;    /* bytes asked for */
    uint64_t serial;  /* 1 for the first allocation traced; 0 unless desc.serials */
    const char *file;
    const char *function;
    const char *type;
    uint32_t line;
    uint32_t domain;
    mtrace_traceback traceback; /* of a snapshot's block; else see mtrace_find_traceback */
} mtrace_block;

/* What the rows of statistics stand for: one of MTRACE_BY_, and flags. */
enum {
    MTRACE_BY_LINE = 0,
    MTRACE_BY_FILE = 1,
    MTRACE_BY_FUNCTION = 2, /* file and function */
    MTRACE_BY_TYPE = 3,     /* the name MT_NEW recorded; "<untyped>" for the rest */
    MTRACE_BY_DOMAIN = 4,
    MTRACE_BY_SIZE_CLASS = 5, /* live blocks by power of two; needs a snapshot with blocks */
    MTRACE_BY_TRACEBACK = 6,  /* all frames */

    /* With LINE, FILE or FUNCTION: a block counts for every frame of its traceback, not for its
       call site alone; a frame that stands in it twice (recursion) counts twice, as CPython's. */
    MTRACE_CUMULATIVE = 0x10,
    /* Beside CUMULATIVE: a block counts once for each row, however often it recurs. */
    MTRACE_ONCE = 0x20,
    /* With TRACEBACK: text in CPython's form names the most recent frame; CPython's own names the
       oldest, which is main() for all. */
    MTRACE_MOST_RECENT = 0x40,

    MTRACE_KEY_ = 0x0f /* the key without flags */
};
typedef uint32_t mtrace_key_type;

/* Keeps rows (or, exclusive, drops them) that match all that is set. Zero matches everything. */
typedef struct mtrace_filter {
    bool exclusive;
    bool all_frames;      /* file, function and line may match any frame, not the call site alone */
    bool has_line;        /* line counts, 0 included */
    bool has_domain;      /* domain counts */
    const char *file;     /* a pattern: * ? [a-z] [!a-z], see mtrace_match; x.pyc is x.py, as
                             tracemalloc's; NULL: any */
    const char *function; /* a pattern; NULL: any */
    const char *type;     /* a pattern for MT_NEW's type; NULL: any */
    uint32_t line;
    uint32_t domain;
} mtrace_filter;

/* Which measure of a snapshot `size` and `count` stand for. */
typedef enum mtrace_view {
    MTRACE_VIEW_LIVE = 0, /* held at the moment of the snapshot */
    MTRACE_VIEW_PEAK = 1, /* held when the program's total was at its peak */
    MTRACE_VIEW_TOTAL = 2 /* allocated ever, freed or not */
} mtrace_view;

/* How far estimates are from the truth, on average, squared: mtrace_standard_error() takes the
   root. Variances add up. Zeros unless sampling. */
typedef struct mtrace_variance {
    uint64_t size;  /* bytes, squared */
    uint64_t count; /* blocks, squared */
} mtrace_variance;

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
    uint64_t dropped_size;         /* by up to this */
    mtrace_variance variance;      /* of size and count, when they are estimates */
    mtrace_variance diff_variance; /* at most, of size_diff and count_diff */
    mtrace_variance peak_variance;
    mtrace_variance total_variance;
    const char *domain_name;    /* as mtrace_name_domain told; NULL: none */
    mtrace_traceback traceback; /* of rows by traceback: file, function, line are its call site */
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
    mtrace_view view;
    bool is_diff;
    mtrace_info info;                   /* of the (new) snapshot */
    mtrace_traced_memory traced_memory; /* of the (new) snapshot */
    void *own_memory;                   /* the library's: what mtrace_statistics_free gives back */
    size_t own_size;
} mtrace_statistics;

/* A snapshot's parts, to write it elsewhere, and to make one of what was read. */
typedef struct mtrace_live_block {
    uint64_t address;
    uint64_t size;
    uint64_t serial;
    uint32_t row;
} mtrace_live_block;

typedef struct mtrace_snapshot_parts {
    const mtrace_statistic *rows; /* each of a traceback in a domain, by itself complete */
    size_t row_count;
    const mtrace_live_block *blocks;
    size_t block_count;
    bool has_blocks;
    const char *names; /* strings of the rows that lie here are copied, others must live on */
    size_t name_bytes;
    uint64_t generation; /* the same in two snapshots: their totals can be subtracted */
    mtrace_view view;
    mtrace_info info;
    mtrace_traced_memory traced_memory;
} mtrace_snapshot_parts;

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
    size_t top;            /* rows; a table shows the rest as one more. 0: all */
    mtrace_write_fn write; /* NULL: desc.write of the start, else stdout */
    void *write_user;
    uint32_t columns; /* of a table. 0: 80 */
} mtrace_report_desc;

#ifdef MTRACE

/* ============================================================================================== */
/* [SECTION] LIFE CYCLE - one tracer a program; zero is a stopped tracer, usable before main */
/* ============================================================================================== */

/* Starts tracing. Blocks allocated before are never seen. desc NULL: all defaults. Errors: ALREADY
   when tracing or paused (nothing changes, unlike CPython's silent no-op; a bad desc is reported
   first, as there), ARGUMENT, NO_MEMORY (desc.memory below mtrace_memory_size(), or the system's at
   its end). Memory taken from the system is kept for the next start and never given back: another
   thread could still be inside a call. O(memory). Any thread, one life cycle call at a time (a
   second one waits); not from a signal handler or an interrupt. Source: tracemalloc.start(). */
MTRACE_API mtrace_result mtrace_start(const mtrace_desc *desc);

/* Bytes that `memory` must have for exactly desc.capacity and desc.max_sites (0: the defaults for
   the system's memory), alignment included. O(1). Any context. */
MTRACE_API size_t mtrace_memory_size(const mtrace_desc *desc);

/* Stops and forgets every trace; no-op when stopped. Snapshots stay valid. desc.memory may be
   reused once no other thread is inside a call. O(1). As mtrace_start. Source: tracemalloc.stop().
 */
MTRACE_API void mtrace_stop(void);

/* Pause: new blocks are not traced, frees of traced ones are honoured, and a realloc of a traced
   block keeps its line and takes its new size. Resume ends it. Error: NOT_TRACING. O(1). Any
   context. */
MTRACE_API mtrace_result mtrace_pause(void);
MTRACE_API mtrace_result mtrace_resume(void);

/* Forgets every trace and all counters and goes on tracing; blocks now live are not traced any more
   (their free is a foreign free). O(capacity). As mtrace_start. Source: tracemalloc.clear_traces().
 */
MTRACE_API void mtrace_clear(void);

/* Sets the peak to what is held now. O(1). Any context. Source: tracemalloc.reset_peak(). */
MTRACE_API void mtrace_reset_peak(void);

/* Gives a domain a name for reports; it outlives stop. Errors: ARGUMENT (NULL, or longer than
   MTRACE_DOMAIN_NAME_BYTES - 1), FULL (MTRACE_MAX_DOMAIN_NAMES were given; another name for a
   domain takes room again). O(named domains). Any
   thread; life cycle calls wait for it. */
MTRACE_API mtrace_result mtrace_name_domain(uint32_t domain, const char *name);

/* True when started and not paused. O(1). Any context. */
MTRACE_API bool mtrace_is_tracing(void);

/* ============================================================================================== */
/* [SECTION] QUERIES                                                                              */
/* ============================================================================================== */

/* Bytes held now and at the peak; zeros when stopped. O(1). Any context.
   Source: tracemalloc.get_traced_memory(). */
MTRACE_API mtrace_traced_memory mtrace_get_traced_memory(void);

/* Bytes of the tracer's own memory, exactly: desc.memory_size, or what it took from the system
   (address space; pages never touched cost nothing), snapshots in its memory included. O(1). Any
   context. */
MTRACE_API size_t mtrace_get_tracer_memory(void);

/* The state of the tracer's tables; zeros when stopped. O(call sites). Any context. */
MTRACE_API mtrace_info mtrace_get_info(void);

/* Who owns this block: `block` must be what the allocator returned, not a pointer into it. Fills
   *out. Errors: NOT_FOUND, NOT_TRACING. O(1). Any context. Source:
   tracemalloc.get_object_traceback(). */
MTRACE_API mtrace_result mtrace_find(const void *block, mtrace_block *out);

/* The same for a key of MT_TRACK. */
MTRACE_API mtrace_result mtrace_find_tracked(uint32_t domain, uintptr_t key, mtrace_block *out);

/* The block's traceback, in `frames`, which has room for `room` of them: the most recent ones, the
   call site last. domain 0: `key` is a heap block's address, whichever domain it is counted in.
   Errors as mtrace_find, ARGUMENT (no room). O(frames). Any context. */
MTRACE_API mtrace_result mtrace_find_traceback(uint32_t domain, uintptr_t key, mtrace_frame *frames,
                                               size_t room, mtrace_traceback *out);

/* A result in words, "memory too small" and such. Never NULL. O(1). Any context. */
MTRACE_API const char *mtrace_result_text(mtrace_result result);

/* ============================================================================================== */
/* [SECTION] SNAPSHOTS - each in the caller's memory, or in the tracer's where memory is NULL */
/* ============================================================================================== */

/* Bytes of memory that mtrace_snapshot_take needs now; another thread can make it more. O(call
   sites), with blocks O(capacity). Any context. */
MTRACE_API size_t mtrace_snapshot_size(bool with_blocks);

/* Copies the counters of every call site, and with_blocks every live block too. The snapshot is its
   own: it outlives stop and clear. memory NULL: the tracer's. Errors: NOT_TRACING, NO_MEMORY (*out
   is NULL). Other threads go on; each counter is right at some moment during the call. O(call
   sites), with blocks O(capacity). Any thread; in the caller's memory also signal handler and
   interrupt. Source: tracemalloc.take_snapshot(), which is O(live blocks). */
MTRACE_API mtrace_result mtrace_snapshot_take(mtrace_snapshot **out, bool with_blocks,
                                              const mtrace_memory *memory);

/* Gives a snapshot back (the caller's memory is simply left alone). NULL is fine. O(1). Any thread.
 */
MTRACE_API void mtrace_snapshot_free(mtrace_snapshot *snapshot);

/* Live blocks at its moment, len(snapshot.traces) in tracemalloc. O(call sites). Any context. */
MTRACE_API size_t mtrace_snapshot_traces(const mtrace_snapshot *snapshot);

/* Chooses what statistics and compare read as size and count; a new snapshot shows what is live.
   That is how one asks which line held the memory at the worst moment. O(1). Any context. */
MTRACE_API void mtrace_snapshot_set_view(mtrace_snapshot *snapshot, mtrace_view view);

/* The index-th live block, in no order. Errors: NO_BLOCKS (taken without), NOT_FOUND (no such
   index). O(1). Any context. */
MTRACE_API mtrace_result mtrace_snapshot_block(const mtrace_snapshot *snapshot, size_t index,
                                               mtrace_block *out);

/* A new snapshot with the rows and blocks that the filters let through: those that match any of the
   filters that include (if there are such) and none of those that exclude. A filter that excludes
   and names a domain or a type drops only what is of it, as CPython's. totals and doubts stay those
   of the whole. count 0: a copy. memory NULL: the tracer's. Errors: ARGUMENT, NO_MEMORY (*out is
   NULL). O((call sites x frames x filters) + blocks). Any context in the caller's memory. Source:
   tracemalloc.Snapshot.filter_traces(), Filter, DomainFilter. */
MTRACE_API mtrace_result mtrace_snapshot_filter(mtrace_snapshot **out,
                                                const mtrace_snapshot *snapshot,
                                                const mtrace_filter *filters, size_t count,
                                                const mtrace_memory *memory);

/* Bytes of memory that a filter of the snapshot needs at most. O(call sites). Any context. */
MTRACE_API size_t mtrace_snapshot_filter_size(const mtrace_snapshot *snapshot);

/* Does a name match a pattern, as Python's fnmatch: the whole name; * any run of characters (/
   too), ? one, [abc] [a-z] one of a set, [!abc] one not of it; ] first in a set is itself, a [ that
   is not closed is itself, there is no escape. On Windows case and the kind of slash do not count.
   Characters are code points; bytes that are not UTF-8 stand for themselves. NULL is the empty
   string. O(name x pattern). Any context. */
MTRACE_API bool mtrace_match(const char *name, const char *pattern);

/* A snapshot's parts; they are the snapshot's and live as long as it does. O(1). Any context. */
MTRACE_API mtrace_snapshot_parts mtrace_snapshot_get_parts(const mtrace_snapshot *snapshot);

/* A snapshot of its own with a copy of these parts. Errors: ARGUMENT (a row without a frame, a
   block of a row that is not there), NO_MEMORY (*out is NULL). O(rows x frames + blocks + names).
   Any thread; in the caller's memory any context. */
MTRACE_API mtrace_result mtrace_snapshot_make(mtrace_snapshot **out,
                                              const mtrace_snapshot_parts *parts,
                                              const mtrace_memory *memory);

/* Groups a snapshot by a key. Rows are sorted by (size, count, key), each descending, so that of
   two equal rows the greater name or line comes first, as tracemalloc's; rows that hold nothing are
   left out. memory NULL: the tracer's. Errors: ARGUMENT, NO_BLOCKS, NO_MEMORY (*out is NULL). The
   names are the snapshot's: free it last. O(n log n) in its call sites (blocks, by size class). Any
   context in the caller's memory. Source: tracemalloc.Snapshot.statistics(). */
MTRACE_API mtrace_result mtrace_snapshot_statistics(mtrace_statistics **out,
                                                    const mtrace_snapshot *snapshot,
                                                    mtrace_key_type key_type,
                                                    const mtrace_memory *memory);

/* The same for what changed from snapshot `old` to `snapshot`, rows that vanished or did not change
   included; sorted by (|size_diff|, size, |count_diff|, count, key), each descending. total_*,
   frees, reallocs, dropped_* count what happened in between (since the start of tracing for a row
   whose counters were cleared in between). Source: tracemalloc.Snapshot.compare_to(). */
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
/* [SECTION] REPORTS - text through a callback: no stdio, no locale, no memory but the stack's */
/* ============================================================================================== */

/* Writes statistics. desc NULL: a table of all rows to the default writer. Errors: NO_WRITER,
   ARGUMENT. O(rows). Any context that the writer allows. */
MTRACE_API mtrace_result mtrace_report(const mtrace_statistics *statistics,
                                       const mtrace_report_desc *desc);

/* The debug console's questions, answered now, by line, in the tracer's memory, to the default
   writer: the `top` largest lines; the same by another key; those that held most at the peak; what
   changed since `old`, the `top` largest changes; every line that holds memory as a warning.
   Errors: those of the calls they are made of. O(n log n) in call sites. */
MTRACE_API mtrace_result mtrace_print_top(size_t top);
MTRACE_API mtrace_result mtrace_print_by(mtrace_key_type key_type, size_t top);
MTRACE_API mtrace_result mtrace_print_peak(size_t top);
MTRACE_API mtrace_result mtrace_print_diff(const mtrace_snapshot *old, size_t top);
MTRACE_API mtrace_result mtrace_print_leaks(void);

/* One row as CPython prints it, e.g. "a.c:5: size=5002 B (+5000 B), count=2 (+1), average=2501 B",
   without a newline; cut to fit and terminated, as snprintf. Returns its whole length. Any context.
 */
MTRACE_API size_t mtrace_format_statistic(char *buffer, size_t size, const mtrace_statistic *row,
                                          mtrace_key_type key_type, bool is_diff);

/* The root of a variance: how far off an estimate is, in two of three cases at most (in 95 of 100,
   twice that). O(1). Any context. */
MTRACE_API uint64_t mtrace_standard_error(uint64_t variance);

/* Bytes as tracemalloc prints them: "10.0 KiB", with_sign "+0 B". Returns as above. Any context. */
MTRACE_API size_t mtrace_format_size(char *buffer, size_t size, int64_t bytes, bool with_sign);

/* A traceback as CPython's Traceback.format() prints it: `  File "a.c", line 5` a frame, and the
   line itself where `source` (NULL: none) can tell it; each line ends with a newline. limit above
   0: the most recent frames only; below: without the -limit most recent ones, as CPython does (its
   manual says otherwise); 0: nothing; MTRACE_ALL_FRAMES: all. Returns as above. O(frames). Any
   context that `source` allows. */
#define MTRACE_ALL_FRAMES INT32_MAX
MTRACE_API size_t mtrace_format_traceback(char *buffer, size_t size,
                                          const mtrace_traceback *traceback, int32_t limit,
                                          bool most_recent_first, mtrace_source_fn source,
                                          void *user);

/* Writes a message and a newline to the default writer (nowhere when there is none). */
MTRACE_API void mtrace_write_message(const char *message);

/* ============================================================================================== */
/* [SECTION] CHECKS                                                                               */
/* ============================================================================================== */

/* Walks every structure. NULL when all is well, else the first broken invariant in words, numbered
   as in STRUCTURES. Exact when no other thread is inside a call. O(capacity + call sites). Any
   thread. */
MTRACE_API const char *mtrace_check(void);

/* Bytes by which lines grew from `old` to now (what shrank elsewhere does not make up for it), or 0
   when that is at most `tolerance`; with tolerance 0 a line that holds more blocks counts as at
   least 1 byte. When over, or when it cannot know (not tracing, no memory, blocks dropped in
   between: then UINT64_MAX), `message` says why, and names the lines that grew, largest first, cut
   to fit. O(n log n) in call sites. Any thread. */
MTRACE_API uint64_t mtrace_growth(const mtrace_snapshot *old, uint64_t tolerance, char *message,
                                  size_t size);

/* ============================================================================================== */
/* [SECTION] RECORDING - the function forms: an explicit call site, NULL for "<unknown>" */
/* ============================================================================================== */

/* Each is the allocator's call plus a trace charged to `site`; they are inline, so that a stopped
   tracer costs a byte load and a predicted branch. They return what the allocator returns, NULL and
   errno included; a block that no table has room for is handed out all the same and counted as
   dropped. O(1) beside the allocator's own cost. Any thread; where the allocator may be called,
   also signal handler and interrupt (mtrace_track_at and mtrace_untrack_at call no allocator). */

MTRACE_API unsigned char mtrace_state_[]; /* bit 0: frees are looked up, 1: blocks recorded */

MTRACE_API mtrace_site mtrace_unknown_site_; /* stands for NULL */
#define MTRACE_SITE_(site) ((site) != NULL ? (site) : &mtrace_unknown_site_)

MTRACE_API void *mtrace_malloc_(size_t size, mtrace_site *site);
MTRACE_API void *mtrace_calloc_(size_t count, size_t size, mtrace_site *site);
MTRACE_API void *mtrace_realloc_(void *block, size_t size, mtrace_site *site);
MTRACE_API void mtrace_free_(void *block, mtrace_site *site);
MTRACE_API void mtrace_record_(void *block, size_t size, mtrace_site *site);

static inline void *mtrace_malloc_at(size_t size, mtrace_site *site) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() & 2)) {
        return mtrace_malloc_(size, MTRACE_SITE_(site));
    }
    return MTRACE_BASE_MALLOC(size);
}

static inline void *mtrace_calloc_at(size_t count, size_t size, mtrace_site *site) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() & 2)) {
        return mtrace_calloc_(count, size, MTRACE_SITE_(site));
    }
    return MTRACE_BASE_CALLOC(count, size);
}

/* The trace takes the new size and this call site, and is untouched when realloc fails. While
   started, realloc(block, 0) frees the block and returns NULL, as glibc's. The moment in which an
   allocator holds the old and the new block is not in the peak. Source: tracemalloc (realloc steals
   the attribution). */
static inline void *mtrace_realloc_at(void *block, size_t size, mtrace_site *site) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() != 0)) {
        return mtrace_realloc_(block, size, MTRACE_SITE_(site));
    }
    return MTRACE_BASE_REALLOC(block, size);
}

static inline void mtrace_free_at(void *block, mtrace_site *site) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() != 0)) {
        mtrace_free_(block, MTRACE_SITE_(site));
        return;
    }
    MTRACE_BASE_FREE(block);
}

#ifdef MTRACE_BASE_ALIGNED_ALLOC
static inline void *mtrace_aligned_alloc_at(size_t alignment, size_t size, mtrace_site *site) {
    void *block = MTRACE_BASE_ALIGNED_ALLOC(alignment, size);
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() & 2)) {
        mtrace_record_(block, size, MTRACE_SITE_(site));
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

/* The same, counted in a domain. A block keeps its domain when it is resized. Domains are any
   number below UINT32_MAX. */
MTRACE_API void *mtrace_malloc_in_(uint32_t domain, size_t size, mtrace_site *site);
MTRACE_API void *mtrace_calloc_in_(uint32_t domain, size_t count, size_t size, mtrace_site *site);
MTRACE_API void *mtrace_realloc_in_(uint32_t domain, void *block, size_t size, mtrace_site *site);

static inline void *mtrace_malloc_in_at(uint32_t domain, size_t size, mtrace_site *site) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() & 2)) {
        return mtrace_malloc_in_(domain, size, MTRACE_SITE_(site));
    }
    return MTRACE_BASE_MALLOC(size);
}

static inline void *mtrace_calloc_in_at(uint32_t domain, size_t count, size_t size,
                                        mtrace_site *site) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() & 2)) {
        return mtrace_calloc_in_(domain, count, size, MTRACE_SITE_(site));
    }
    return MTRACE_BASE_CALLOC(count, size);
}

static inline void *mtrace_realloc_in_at(uint32_t domain, void *block, size_t size,
                                         mtrace_site *site) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_() != 0)) {
        return mtrace_realloc_in_(domain, block, size, MTRACE_SITE_(site));
    }
    return MTRACE_BASE_REALLOC(block, size);
}

/* Scopes: frames around call sites. From push to pop, what this thread allocates has the scope's
   site in its traceback (as far as desc.frames reaches), and counts in the scope's domain if it
   gives one (push_in) and the call does not. push returns the way back, and pop(way) goes there,
   whatever was pushed and not popped in between (an early return, a longjmp); a pop too many goes
   where it says, a way of another session, or none, goes outside of all. Scopes entered before the
   start are not seen, and none is while stopped. When the table of scopes is full, what is
   allocated inside has its call site alone for a traceback, and mtrace_info.lost_scopes counts.
   O(desc.frames). Any thread; signal handlers are inside what they interrupt. */
MTRACE_API mtrace_scope mtrace_scope_push_(const uint32_t *domain, mtrace_site *site);
MTRACE_API void mtrace_scope_pop_(mtrace_scope before);

static inline mtrace_scope mtrace_scope_push_at(mtrace_site *site) {
    mtrace_scope outside = MTRACE_ZERO_;
    return MTRACE_UNLIKELY_(MTRACE_STATE_()) ? mtrace_scope_push_(NULL, MTRACE_SITE_(site))
                                             : outside;
}

static inline mtrace_scope mtrace_scope_push_in_at(uint32_t domain, mtrace_site *site) {
    mtrace_scope outside = MTRACE_ZERO_;
    return MTRACE_UNLIKELY_(MTRACE_STATE_()) ? mtrace_scope_push_(&domain, MTRACE_SITE_(site))
                                             : outside;
}

static inline void mtrace_scope_pop(mtrace_scope before) {
    if (MTRACE_UNLIKELY_(MTRACE_STATE_())) {
        mtrace_scope_pop_(before);
    }
}

/* Traces memory that another allocator handed out, or anything else that has a size: `key` is any
   integer (an address, a GPU handle). The same key in two domains is two traces; tracked twice, the
   trace takes the new size and site. Domain 0 is the heap that MT_MALLOC uses: there a key is the
   address of a block, and MT_FREE ends its trace too. Errors: NOT_TRACING (or paused), ARGUMENT
   (domain UINT32_MAX), FULL (an older trace of the key is gone then). O(1). Any thread, signal
   handler, interrupt. Source: PyTraceMalloc_Track(). */
MTRACE_API mtrace_result mtrace_track_at(uint32_t domain, uintptr_t key, uint64_t size,
                                         mtrace_site *site);

/* Ends that trace. Errors: NOT_TRACING (stopped), NOT_FOUND (harmless, not counted as a foreign
   free). Source: PyTraceMalloc_Untrack(), which answers 0 for an unknown key. */
MTRACE_API mtrace_result mtrace_untrack_at(uint32_t domain, uintptr_t key, mtrace_site *site);

/* Has a watcher told of what this thread does to the traced memory, after each such call has done
   it (of a free: before the allocator has the block); all zero ends it. Returns the one before, so
   that they can be put around each other. A watcher may allocate, and is then told of that. It
   costs its thread the straight way of a call, other threads nothing. With MTRACE_LOCK all tasks
   share one. While sampling it is told of samples. Not on bare metal. O(1). Any context. */
MTRACE_API mtrace_watcher mtrace_watch(mtrace_watcher watcher);
MTRACE_API mtrace_watcher mtrace_get_watcher(void);

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
static inline mtrace_result mtrace_name_domain(uint32_t domain, const char *name) {
    (void)domain;
    (void)name;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_find_traceback(uint32_t domain, uintptr_t key,
                                                  mtrace_frame *frames, size_t room,
                                                  mtrace_traceback *out) {
    (void)domain;
    (void)key;
    (void)frames;
    (void)room;
    (void)out;
    return MTRACE_ERR_COMPILED_OUT;
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
static inline mtrace_result mtrace_snapshot_filter(mtrace_snapshot **out,
                                                   const mtrace_snapshot *snapshot,
                                                   const mtrace_filter *filters, size_t count,
                                                   const mtrace_memory *memory) {
    (void)snapshot;
    (void)filters;
    (void)count;
    (void)memory;
    *out = NULL;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline size_t mtrace_snapshot_filter_size(const mtrace_snapshot *snapshot) {
    (void)snapshot;
    return 0;
}
static inline mtrace_snapshot_parts mtrace_snapshot_get_parts(const mtrace_snapshot *snapshot) {
    mtrace_snapshot_parts zero = MTRACE_ZERO_;
    (void)snapshot;
    return zero;
}
static inline mtrace_result mtrace_snapshot_make(mtrace_snapshot **out,
                                                 const mtrace_snapshot_parts *parts,
                                                 const mtrace_memory *memory) {
    (void)parts;
    (void)memory;
    *out = NULL;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline bool mtrace_match(const char *name, const char *pattern) {
    (void)name;
    (void)pattern;
    return false;
}
static inline void mtrace_snapshot_set_view(mtrace_snapshot *snapshot, mtrace_view view) {
    (void)snapshot;
    (void)view;
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
static inline mtrace_result mtrace_print_by(mtrace_key_type key_type, size_t top) {
    (void)key_type;
    (void)top;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_print_peak(size_t top) {
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
static inline size_t mtrace_format_traceback(char *buffer, size_t size,
                                             const mtrace_traceback *traceback, int32_t limit,
                                             bool most_recent_first, mtrace_source_fn source,
                                             void *user) {
    (void)traceback;
    (void)limit;
    (void)most_recent_first;
    (void)source;
    (void)user;
    if (size > 0) {
        buffer[0] = '\0';
    }
    return 0;
}
static inline uint64_t mtrace_standard_error(uint64_t variance) {
    (void)variance;
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
static inline void *mtrace_malloc_in_at(uint32_t domain, size_t size, mtrace_site *site) {
    (void)domain;
    (void)site;
    return MTRACE_BASE_MALLOC(size);
}
static inline void *mtrace_calloc_in_at(uint32_t domain, size_t count, size_t size,
                                        mtrace_site *site) {
    (void)domain;
    (void)site;
    return MTRACE_BASE_CALLOC(count, size);
}
static inline void *mtrace_realloc_in_at(uint32_t domain, void *block, size_t size,
                                         mtrace_site *site) {
    (void)domain;
    (void)site;
    return MTRACE_BASE_REALLOC(block, size);
}
static inline mtrace_scope mtrace_scope_push_at(mtrace_site *site) {
    mtrace_scope outside = MTRACE_ZERO_;
    (void)site;
    return outside;
}
static inline mtrace_scope mtrace_scope_push_in_at(uint32_t domain, mtrace_site *site) {
    (void)domain;
    return mtrace_scope_push_at(site);
}
static inline void mtrace_scope_pop(mtrace_scope before) {
    (void)before;
}
static inline mtrace_watcher mtrace_watch(mtrace_watcher watcher) {
    mtrace_watcher none = MTRACE_ZERO_;
    (void)watcher;
    return none;
}
static inline mtrace_watcher mtrace_get_watcher(void) {
    mtrace_watcher none = MTRACE_ZERO_;
    return none;
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
/* [SECTION] MACROS - what users write; each is an expression that evaluates its arguments once */
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

/* In a domain of their own (see mtrace_malloc_in_at). */
#define MT_MALLOC_IN(domain, size)         mtrace_malloc_in_at((domain), (size), MT_HERE)
#define MT_CALLOC_IN(domain, count, size)  mtrace_calloc_in_at((domain), (count), (size), MT_HERE)
#define MT_REALLOC_IN(domain, block, size) mtrace_realloc_in_at((domain), (block), (size), MT_HERE)
#define MT_NEW_IN(domain, type)                                                                    \
    ((type *)mtrace_calloc_in_at((domain), 1, sizeof(type), MT_HERE_TYPED(#type)))
#define MT_NEW_ARRAY_IN(domain, type, count)                                                       \
    ((type *)mtrace_calloc_in_at((domain), (count), sizeof(type), MT_HERE_TYPED(#type)))

#else /* not MTRACE: the plain allocator; the machine code is the same as without the library */

#define MT_HERE                 ((mtrace_site *)0)
#define MT_MALLOC(size)         MTRACE_BASE_MALLOC(size)
#define MT_CALLOC(count, size)  MTRACE_BASE_CALLOC(count, size)
#define MT_REALLOC(block, size) MTRACE_BASE_REALLOC(block, size)
#define MT_REALLOCARRAY(block, count, size)                                                        \
    mtrace_reallocarray_at((block), (count), (size), MT_HERE)
#define MT_FREE(block)                     MTRACE_BASE_FREE(block)
#define MT_STRDUP(text)                    MTRACE_STRDUP_(text)
#define MT_STRNDUP(text, length)           MTRACE_STRNDUP_(text, length)
#define MT_ALIGNED_ALLOC(alignment, size)  MTRACE_BASE_ALIGNED_ALLOC(alignment, size)
#define MT_NEW(type)                       ((type *)MTRACE_BASE_CALLOC(1, sizeof(type)))
#define MT_NEW_ARRAY(type, count)          ((type *)MTRACE_BASE_CALLOC((count), sizeof(type)))
#define MT_MALLOC_IN(domain, size)         ((void)(domain), MTRACE_BASE_MALLOC(size))
#define MT_CALLOC_IN(domain, count, size)  ((void)(domain), MTRACE_BASE_CALLOC(count, size))
#define MT_REALLOC_IN(domain, block, size) ((void)(domain), MTRACE_BASE_REALLOC(block, size))
#define MT_NEW_IN(domain, type)            MT_NEW_ARRAY_IN(domain, type, 1)
#define MT_NEW_ARRAY_IN(domain, type, count)                                                       \
    ((void)(domain), (type *)MTRACE_BASE_CALLOC((count), sizeof(type)))

#endif

/* MT_SCOPE(); as a declaration puts this function (file, line of the macro) into the tracebacks of
   what is allocated from here to the end of the block, however that is left; MT_SCOPE_IN(domain);
   counts it in a domain too. Where the compiler cannot leave by itself (no GNU attributes, no C++)
   they are not defined: `mtrace_scope way = MT_SCOPE_PUSH(); ... MT_SCOPE_POP(way);` is the same by
   hand. See mtrace_scope_push_at. */
#define MT_SCOPE_PUSH()          mtrace_scope_push_at(MT_HERE)
#define MT_SCOPE_PUSH_IN(domain) mtrace_scope_push_in_at((domain), MT_HERE)
#define MT_SCOPE_POP(way)        mtrace_scope_pop(way)
#define MTRACE_JOIN_AGAIN_(a, b) a##b
#define MTRACE_JOIN_(a, b)       MTRACE_JOIN_AGAIN_(a, b)
#if !defined(MTRACE)
#define MT_SCOPE()          ((void)0)
#define MT_SCOPE_IN(domain) ((void)(domain))
#elif defined(__cplusplus)
struct mtrace_scope_guard_ {
    mtrace_scope before;
    explicit mtrace_scope_guard_(mtrace_scope way) : before(way) {}
    ~mtrace_scope_guard_() {
        mtrace_scope_pop(before);
    }
    mtrace_scope_guard_(const mtrace_scope_guard_ &) = delete;
    mtrace_scope_guard_ &operator=(const mtrace_scope_guard_ &) = delete;
};
#define MTRACE_SCOPE_(way) const mtrace_scope_guard_ MTRACE_JOIN_(mtrace_scope_, __LINE__)(way)
#elif defined(__GNUC__)
static inline void mtrace_scope_leave_(const mtrace_scope *before) {
    mtrace_scope_pop(*before);
}
#define MTRACE_SCOPE_(way)                                                                         \
    const mtrace_scope MTRACE_JOIN_(mtrace_scope_, __LINE__)                                       \
        __attribute__((cleanup(mtrace_scope_leave_), unused)) = (way)
#endif
#ifdef MTRACE_SCOPE_
#define MT_SCOPE()          MTRACE_SCOPE_(MT_SCOPE_PUSH())
#define MT_SCOPE_IN(domain) MTRACE_SCOPE_(MT_SCOPE_PUSH_IN(domain))
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

/* The unit test's question: fails through MTRACE_FAIL(message), naming the lines that grew by more
   than `tolerance` bytes in sum since the snapshot `old` (see mtrace_growth). A statement. */
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

/* In a multi-file library what follows would be mtrace.c. */
#if defined(MTRACE) && defined(MTRACE_IMPLEMENTATION) && !defined(MTRACE_IMPLEMENTATION_DONE_)
#define MTRACE_IMPLEMENTATION_DONE_

/* ============================================================================================== */
/* [SECTION] PORTABILITY - every difference between machines, each a complete branch */
/* ============================================================================================== */

#include <string.h>

#if defined(__unix__) || defined(__APPLE__) || defined(_WIN32)
#define MTRACE_HOSTED_ 1
#else
#define MTRACE_HOSTED_ 0 /* bare metal: no system memory, no stdout, no threads unless hooked */
#endif

#ifndef MTRACE_LANES
#define MTRACE_LANES 16 /* threads that count without atomics; later ones share one lane more */
#endif
#ifndef MTRACE_MAX_PROBE
#define MTRACE_MAX_PROBE                                                                           \
    512 /* slots looked at before a block is dropped: the worst case of an insert */
#endif
/* --- hash: of names and frames; and of page numbers, where one multiply was measured ahead --- */

#ifndef MTRACE_HASH
#define XXH_INLINE_ALL
#include "xxhash.h"
#if UINTPTR_MAX > 0xffffffffu
#define MTRACE_HASH(data, size) XXH3_64bits(data, size)
#else
#define MTRACE_HASH(data, size) XXH32(data, size, 0)
#endif
#endif

/* 2^bits / golden ratio: multiplied by numbers that follow each other, its high bits are as far
   apart as can be. */
#if UINTPTR_MAX > 0xffffffffu
#define MTRACE_GOLDEN_ ((uintptr_t)0x9E3779B97F4A7C15u)
#else
#define MTRACE_GOLDEN_ ((uintptr_t)0x9E3779B1u)
#endif

/* Blocks of one page of 2^MTRACE_PAGE_BITS bytes stand in the table in their order, one slot
   for 2^MTRACE_KEY_SHIFT bytes: glibc's smallest block. */
#ifndef MTRACE_PAGE_BITS
#define MTRACE_PAGE_BITS (MTRACE_HOSTED_ ? 16 : 10) /* small tables, small pages */
#endif
#ifndef MTRACE_KEY_SHIFT
#define MTRACE_KEY_SHIFT 5
#endif
#define MTRACE_PAGE_SLOTS_ (1u << (MTRACE_PAGE_BITS - MTRACE_KEY_SHIFT))

/* --- threads: either atomics and lanes, or the user's lock (or none) around plain operations ---
 */

#if defined(MTRACE_LOCK) != defined(MTRACE_UNLOCK)
#error "mtrace: define MTRACE_LOCK() and MTRACE_UNLOCK() together, or neither"
#endif
#if defined(MTRACE_LOCK)
#define MTRACE_ATOMICS_ 0
#elif defined(MTRACE_SINGLE_THREAD)
#define MTRACE_ATOMICS_ 0
#define MTRACE_LOCK()
#define MTRACE_UNLOCK()
#elif MTRACE_HOSTED_ && defined(__GNUC__) && __GCC_ATOMIC_LLONG_LOCK_FREE == 2
#define MTRACE_ATOMICS_ 1
#define MTRACE_LOCK()
#define MTRACE_UNLOCK()
#else
#error "mtrace: no lock-free 8-byte atomics here: define MTRACE_LOCK() and MTRACE_UNLOCK(), or \
MTRACE_SINGLE_THREAD"
#endif

#if MTRACE_ATOMICS_

#define MTRACE_OWN_LANES_         MTRACE_LANES
#define MTRACE_GET_(p)            __atomic_load_n((p), __ATOMIC_RELAXED)
#define MTRACE_GET_ACQUIRE_(p)    __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define MTRACE_SET_(p, v)         __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define MTRACE_SET_RELEASE_(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define MTRACE_ADD_(p, v)         ((void)__atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST))
#define MTRACE_CAS_(p, expected, v)                                                                \
    __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)
#define MTRACE_NEXT_(p) __atomic_add_fetch((p), 1, __ATOMIC_RELAXED)
#define MTRACE_FENCE_() __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* Two cache lines: processors fetch them in pairs. */
#define MTRACE_APART_BYTES_ 128
#define MTRACE_APART_       __attribute__((aligned(MTRACE_APART_BYTES_)))

#ifndef MTRACE_THREAD_LOCAL
#define MTRACE_THREAD_LOCAL __thread
#endif
static MTRACE_THREAD_LOCAL size_t mtrace_thread_lane_; /* where its own lane is; 0: it has none */
static MTRACE_THREAD_LOCAL bool mtrace_thread_has_joined_; /* it got what there was */
/* The same where the straight way is open, to an allocation and to a free; else 0. */
static MTRACE_THREAD_LOCAL size_t mtrace_thread_plain_lane_;
static MTRACE_THREAD_LOCAL size_t mtrace_thread_free_lane_;
static MTRACE_THREAD_LOCAL mtrace_scope mtrace_thread_context_;
static MTRACE_THREAD_LOCAL mtrace_watcher mtrace_watcher_;
static MTRACE_THREAD_LOCAL struct {
    uint32_t session;
    uint64_t random;
    int64_t left; /* bytes to the next sample */
} mtrace_thread_sampler_;
#define MTRACE_CONTEXT_ mtrace_thread_context_

#else

static mtrace_watcher mtrace_watcher_;
#ifdef MTRACE_CONTEXT
#define MTRACE_CONTEXT_ (MTRACE_CONTEXT)
#else
static mtrace_scope mtrace_context_word_;
#define MTRACE_CONTEXT_ mtrace_context_word_
#endif

#define MTRACE_OWN_LANES_         0 /* only the shared lane, under the lock */
#define MTRACE_GET_(p)            (*(p))
#define MTRACE_GET_ACQUIRE_(p)    (*(p))
#define MTRACE_SET_(p, v)         ((void)(*(p) = (v)))
#define MTRACE_SET_RELEASE_(p, v) ((void)(*(p) = (v)))
#define MTRACE_ADD_(p, v)         ((void)(*(p) += (v)))
#define MTRACE_CAS_(p, expected, v)                                                                \
    (*(p) == *(expected) ? (*(p) = (v), true) : (*(expected) = *(p), false))
#define MTRACE_NEXT_(p) (++*(p))
#define MTRACE_FENCE_() ((void)0)

#define MTRACE_APART_BYTES_ 1
#define MTRACE_APART_

#endif

/* Adds to a word that only this thread writes. On x86-64 that is one instruction, whole to a signal
   handler. Elsewhere it is three, and the lane is marked busy meanwhile: a handler that
   interrupts them then takes the shared lane. */
#if !MTRACE_ATOMICS_
#define MTRACE_ADD_OWN_(p, v)  MTRACE_ADD_(p, v)
#define MTRACE_SUB_OWN_(p, v)  MTRACE_ADD_(p, -(v))
#define MTRACE_BUSY_(lane, is) ((void)0)
#define MTRACE_IS_BUSY_(lane)  false
#elif defined(__x86_64__) && !defined(__ILP32__) && !defined(__SANITIZE_THREAD__) &&               \
    !defined(MTRACE_NO_ASM)
#define MTRACE_ADD_OWN_(p, v)  __asm__("addq %1, %0" : "+m"(*(p)) : "er"((uint64_t)(v)))
#define MTRACE_SUB_OWN_(p, v)  __asm__("subq %1, %0" : "+m"(*(p)) : "er"((uint64_t)(v)))
#define MTRACE_BUSY_(lane, is) ((void)0)
#define MTRACE_IS_BUSY_(lane)  false
#define MTRACE_X86_ASM_        1
#else
#define MTRACE_ADD_OWN_(p, v) MTRACE_SET_(p, MTRACE_GET_(p) + (v))
#define MTRACE_SUB_OWN_(p, v) MTRACE_SET_(p, MTRACE_GET_(p) - (v))
#define MTRACE_BUSY_(lane, is)                                                                     \
    (__atomic_signal_fence(__ATOMIC_SEQ_CST), MTRACE_SET_(&(lane)->busy, is),                      \
     __atomic_signal_fence(__ATOMIC_SEQ_CST))
#define MTRACE_IS_BUSY_(lane) (MTRACE_GET_(&(lane)->busy) != 0)
#endif

/* While the process has one thread, nothing but a signal handler can come between: x86 needs no
   lock prefix then, for one instruction is whole to a handler, and saves 4 ns of 5. */
#if defined(MTRACE_X86_ASM_) && defined(__GLIBC__) /* two tests: others lack the macro */
#if __GLIBC_PREREQ(2, 32)
#define MTRACE_KNOWS_SINGLE_THREAD_ 1
#endif
#endif
#ifdef MTRACE_KNOWS_SINGLE_THREAD_
#include <sys/single_threaded.h>
#define MTRACE_ALONE_() (__libc_single_threaded != 0)
static MTRACE_HOT_ bool mtrace_cas16_alone_(uint16_t *p, uint16_t expected, uint16_t desired) {
    bool done;
    __asm__ __volatile__("cmpxchgw %3, %1"
                         : "=@ccz"(done), "+m"(*p), "+a"(expected)
                         : "r"(desired)
                         : "memory");
    return done;
}
#else
#define MTRACE_ALONE_() (!MTRACE_ATOMICS_)
static MTRACE_HOT_ bool mtrace_cas16_alone_(uint16_t *p, uint16_t expected, uint16_t desired) {
    return MTRACE_CAS_(p, &expected, desired);
}
#endif

static MTRACE_HOT_ bool mtrace_cas16_(uint16_t *p, uint16_t expected, uint16_t desired) {
    return MTRACE_ALONE_() ? mtrace_cas16_alone_(p, expected, desired)
                           : MTRACE_CAS_(p, &expected, desired);
}

/* --- the system's memory (zeroed), for who gives none --- */

#if defined(MTRACE_SYSTEM_ALLOC)
static void *mtrace_system_alloc_(size_t size) {
    return MTRACE_SYSTEM_ALLOC(size);
}
static void mtrace_system_free_(void *memory, size_t size) {
    MTRACE_SYSTEM_FREE(memory, size);
}
#elif !MTRACE_HOSTED_
static void *mtrace_system_alloc_(size_t size) {
    (void)size;
    return NULL;
}
static void mtrace_system_free_(void *memory, size_t size) {
    (void)memory;
    (void)size;
}
#elif defined(_WIN32)
#include <windows.h>
static void *mtrace_system_alloc_(size_t size) {
    return VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}
static void mtrace_system_free_(void *memory, size_t size) {
    (void)size;
    VirtualFree(memory, 0, MEM_RELEASE);
}
#else
#include <sys/mman.h>
#if defined(MAP_ANONYMOUS)
#define MTRACE_MAP_ANONYMOUS_ MAP_ANONYMOUS
#elif defined(MAP_ANON)
#define MTRACE_MAP_ANONYMOUS_ MAP_ANON
#else
#define MTRACE_MAP_ANONYMOUS_                                                                      \
    0x20 /* Linux's; strict C hides the name (asm-generic/mman-common.h) */
#endif
/* Linux maps the pages of small results at once: half the cost of one fault each. */
#if defined(__linux__) && !defined(MAP_POPULATE)
#define MTRACE_MAP_POPULATE_ 0x8000
#elif defined(MAP_POPULATE)
#define MTRACE_MAP_POPULATE_ MAP_POPULATE
#else
#define MTRACE_MAP_POPULATE_ 0
#endif
static void *mtrace_system_alloc_(size_t size) {
    int flags = MAP_PRIVATE | MTRACE_MAP_ANONYMOUS_ | (size < 524288 ? MTRACE_MAP_POPULATE_ : 0);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}
static void mtrace_system_free_(void *memory, size_t size) {
    munmap(memory, size);
}
#endif

/* --- file names that differ in case or kind of slash: one? --- */

#ifdef _WIN32
#define MTRACE_FOLDS_NAMES_ 1
#else
#define MTRACE_FOLDS_NAMES_ 0
#endif

/* --- the default output --- */

#if MTRACE_HOSTED_ && !defined(MTRACE_NO_STDIO)
#include <stdio.h>
static void mtrace_stdout_(const char *text, size_t length, void *user) {
    (void)user;
    fwrite(text, 1, length, stdout); /* the program's own stream: the order with its printf holds */
}
#define MTRACE_STDOUT_ mtrace_stdout_
#else
#define MTRACE_STDOUT_ NULL
#endif

#ifndef MTRACE_ABORT
#include <stdlib.h>
#define MTRACE_ABORT() abort()
#endif

/* ============================================================================================== */
/* [SECTION] STRUCTURES                                                                           */
/* ============================================================================================== */

/* clang-format off */
/* The tracer's memory, one block, each part on a cache line of its own:

     lanes[L+1]  cells[L+1][sites]  accounts[sites]  places  nodes  their indexes  names  name bytes
     filter (if sampling)  serials (if asked)  slots

   A *place* is what a call site or a scope says; a *node* is a way into a scope: its place, and the
   node it was entered from. An *account* is a (place, node, domain), that is a traceback in a
   domain, and its number; 0 is none, 1 is "<other>", which takes what finds the table full.

   A *lane* belongs to one thread, which alone writes it; threads beyond
   L share lane 0 by atomic adds. A *cell* is one lane's counters of one account: they only ever
   grow (clear subtracts in lane 0), so that live = allocated - freed, over all lanes.

   A slot is free (account 0), being changed (BUSY) or holds one trace. A trace sits in its home
   slot, near (another slot of the same cache line), or far: in the next line of its own sequence
   of lines that had room, with the slot at which it comes to that line for a home. Each slot at
   which it came to a line counts in `displaced` whether it sits near or went on, which tells a
   search when to stop. Hence nothing moves, there are no tombstones and no slow decay; insert and
   remove are at most one compare-and-swap each, lock nothing, and may be interrupted anywhere.

   Invariants, checked by mtrace_check() when nothing else runs:
     I1  a slot's account is 0 or a known account
     I2  each trace is found where it is, hence only once
     I3  displaced counts exactly (far: 63 is 63 or more, for good)
     I4  an account's live bytes and blocks are the sum of its traces
     I5  what the lanes hold is the sum of all traces
     I6  every account, place and node in an index is found through it
     I7  the peak is not below what is held
     I8  the lanes' limits do not add up to more than the peak
     I9  sampling: a trace is in the filter */
/* clang-format on */

enum { MTRACE_ACCOUNT_OTHER_ = 1, MTRACE_ACCOUNT_BUSY_ = 0xffff };
/* Place 0 is "<unknown>", 1 "<other>". Node 0 is outside of all scopes, 1 a scope that the full
   table could not tell. */
enum { MTRACE_PLACE_OTHER_ = 1, MTRACE_NODE_LOST_ = 1, MTRACE_FIRST_ = 2 };
#define MTRACE_INHERIT_ UINT32_MAX /* the domain of the scope */
/* A cache line has four slots. `displaced` counts near traces in its low bits, far ones above. */
enum { MTRACE_LINE_SLOTS_ = 4 };
enum { MTRACE_FAR_ONE_ = 4, MTRACE_FAR_MAX_ = 63 };
enum { MTRACE_MAX_LINES_ = (MTRACE_MAX_PROBE + 3) / 4 };
#define MTRACE_NONE_ UINT32_MAX /* no slot: tables have 2^31 at most */

typedef struct mtrace_slot_ {
    uintptr_t key;
    uint32_t size_low;
    uint16_t account;
    uint8_t size_high; /* 7 bits of size; top bit: a tracked key, not a heap block; 0 when free */
    uint8_t displaced; /* traces with this home that sit elsewhere */
} mtrace_slot_;        /* 16 bytes; 12 on 32-bit */

#define MTRACE_TRACKED_  0x80u
#define MTRACE_MAX_SIZE_ (((uint64_t)1 << 39) - 1)

typedef struct mtrace_cell_ {
    uint64_t total_bytes;
    uint64_t total_count;
    uint64_t freed_bytes;
    size_t freed_count;
    size_t reallocs;
    uint64_t
        peak_bytes; /* live when the peak numbered peak_number was left, if that is the newest; */
    size_t peak_count; /* else nothing has changed since, and live is it */
    size_t peak_number;
} mtrace_cell_; /* 64 bytes; 48 on 32-bit */

/* What a call site or a scope says. Names are unique: the pointer is the content. */
typedef struct mtrace_place_ {
    const char *file;
    const char *function;
    const char *type;
    uint32_t line;
} mtrace_place_;

/* One way into a scope. Of its ancestors the last frames - 1 count (its *window*): ways that agree
   in them and in their depth are one. */
typedef struct mtrace_node_ {
    uint16_t parent; /* 0: none */
    uint16_t place;
    uint16_t depth; /* at most 65,534 */
} mtrace_node_;

typedef struct mtrace_account_ {
    uint16_t place;
    uint16_t node;
    uint32_t domain;
    uint64_t dropped_count;
    uint64_t dropped_bytes;
} mtrace_account_;

/* What a traced block stands for: itself, or, sampled, others like it as well. Counts are then in
   units of 1 / 65,536, so that the fractions do not get lost. */
typedef struct mtrace_estimate_ {
    uint64_t bytes;
    uint64_t count;
    uint64_t bytes_variance; /* in units of (sample_interval / 1,024) squared */
    uint64_t count_variance;
} mtrace_estimate_;

enum { MTRACE_FOREIGN_, MTRACE_STALE_, MTRACE_DROPS_, MTRACE_DROPPED_BYTES_, MTRACE_EVENTS_ };

/* What a lane holds, and how far it may go unseen (see COUNTERS). */
typedef struct mtrace_gauge_ {
    int64_t value; /* allocated in this lane less freed in it: below zero when others allocated */
    int64_t up;    /* an allocation that leads above this looks at all lanes */
    int64_t down;  /* a free from above this looks at all lanes first */
} mtrace_gauge_;

typedef struct mtrace_lane_ {
    mtrace_gauge_ bytes;
    mtrace_gauge_ blocks;
    mtrace_cell_ *cells;
    size_t busy; /* portable additions only: a handler that interrupts them uses the shared lane */
    uint64_t events[MTRACE_EVENTS_];
    char apart[64]; /* no two threads write one cache line, nor neighbours */
} mtrace_lane_;

/* Numbers for contents, found by hash: accounts, places, nodes. 0 and 1 are given. */
typedef struct mtrace_pool_ {
    uint16_t *index;
    uint32_t index_slots;
    uint32_t count;
    uint32_t max;
} mtrace_pool_;

typedef struct mtrace_domain_name_ {
    uint32_t domain;
    char name[MTRACE_DOMAIN_NAME_BYTES];
} mtrace_domain_name_;

typedef struct mtrace_tracer_ {
    /* read by every call, written rarely */
    mtrace_slot_ *slots;
    uint64_t *serials;
    mtrace_lane_ *lanes;
    mtrace_account_ *accounts;
    mtrace_place_ *places;
    mtrace_node_ *nodes;
    uintptr_t page_factor; /* see mtrace_heap_home_ */
    uint32_t hash_shift;
    uint32_t mask; /* of the trace table: slots - 1 */
    uint32_t longest_probe;
    uint64_t session;       /* its number << 32: a site's cached account is good for one */
    uint64_t fast_size;     /* smaller blocks may take the straight way */
    size_t sample_interval; /* 0: every block is traced */
    uint8_t *filter;        /* sampling: traces by a hash of their key, 255 is that or more */
    size_t peak_number;
    /* written now and then */
    char apart[64];
    uint64_t peak;
    uint64_t high_water;
    uint32_t settle_lock;
    uint32_t settle_wanted;
    uint32_t shared_used;
    uint64_t serial;
    uint64_t generation; /* of the counters: start and clear begin a new one */
    mtrace_pool_ account_pool;
    mtrace_pool_ place_pool;
    mtrace_pool_ node_pool;
    const char **names;
    char *name_pool;
    uint32_t name_slots;
    uint32_t name_used;
    uint32_t name_bytes;
    uint32_t lost_names;
    uint32_t lost_scopes;
    uint32_t domain_names; /* named domains, the latest name of one last */
    uint32_t lane_count;   /* threads seen, ever */
    uint32_t control;      /* 1: a life cycle call is at work */
    uint32_t frames;
    uint64_t sample_seed;
    uint64_t samplers; /* threads that have begun to sample */
    mtrace_foreign foreign_free;
    bool borrow_names;
    mtrace_write_fn write;
    void *write_user;
    void *system_memory; /* kept from session to session */
    size_t system_size;
    size_t system_dirty; /* bytes of it that the last session had; behind them all is zero */
    size_t given_memory; /* bytes of desc.memory */
    size_t own_memory;   /* bytes in all: what start took, older blocks, snapshots */
    mtrace_domain_name_ domains[MTRACE_MAX_DOMAIN_NAMES];
} mtrace_tracer_;

/* On cache lines of their own: every call reads them, whatever the program keeps beside. */
MTRACE_APART_ unsigned char mtrace_state_[MTRACE_APART_BYTES_];
static MTRACE_APART_ mtrace_tracer_ mtrace_g_;
mtrace_site mtrace_unknown_site_;

static void mtrace_control_lock_(void) {
    uint32_t idle = 0;
    MTRACE_LOCK();
    while (!MTRACE_CAS_(&mtrace_g_.control, &idle, 1)) {
        idle = 0;
    }
}

static void mtrace_control_unlock_(void) {
    MTRACE_SET_RELEASE_(&mtrace_g_.control, 0);
    MTRACE_UNLOCK();
}

/* A number below `range`, spread as the hash is: Lemire's multiply instead of a division. */
static inline uint32_t mtrace_reduce_(uint32_t hash, uint32_t range) {
    return (uint32_t)(((uint64_t)hash * range) >> 32);
}

/* ============================================================================================== */
/* [SECTION] TEXT - numbers and lines without stdio and without locale                            */
/* ============================================================================================== */

/* Where text goes: into a callback, by whole lines where they fit, or into a buffer, as snprintf
 * does. */
typedef struct mtrace_text_ {
    mtrace_write_fn write; /* NULL: into buffer */
    void *user;
    char *buffer;
    size_t room;    /* bytes of buffer, the terminator's among them */
    size_t length;  /* written in all */
    size_t pending; /* in `line`, not yet passed to write */
    size_t column;  /* since the last newline, in bytes */
    size_t skip;    /* bytes of what comes next to leave out */
    char line[256];
} mtrace_text_;

static void mtrace_text_to_callback_(mtrace_text_ *t, mtrace_write_fn write, void *user) {
    memset(t, 0, sizeof *t);
    t->write = write;
    t->user = user;
}

static void mtrace_text_to_buffer_(mtrace_text_ *t, char *buffer, size_t room) {
    memset(t, 0, sizeof *t);
    t->buffer = buffer;
    t->room = room;
    if (room > 0) {
        buffer[0] = '\0';
    }
}

static void mtrace_text_flush_(mtrace_text_ *t) {
    if (t->pending > 0) {
        t->write(t->line, t->pending, t->user);
        t->pending = 0;
    }
}

static void mtrace_put_char_(mtrace_text_ *t, char c) {
    if (t->skip > 0) {
        t->skip--;
        return;
    }
    if (t->write == NULL) {
        if (t->length + 1 < t->room) {
            t->buffer[t->length] = c;
            t->buffer[t->length + 1] = '\0';
        }
    } else {
        t->line[t->pending++] = c;
        if (c == '\n' || t->pending == sizeof t->line) {
            mtrace_text_flush_(t);
        }
    }
    t->length++;
    t->column = c == '\n' ? 0 : t->column + 1;
}

static void mtrace_put_(mtrace_text_ *t, const char *text) {
    for (; *text != '\0'; text++) {
        mtrace_put_char_(t, *text);
    }
}

/* Blanks until `column`; at least none. */
static void mtrace_put_column_(mtrace_text_ *t, size_t column) {
    while (t->column < column) {
        mtrace_put_char_(t, ' ');
    }
}

/* Text so that it ends before `column`; too long, it follows after one blank. */
static void mtrace_put_right_(mtrace_text_ *t, const char *text, size_t column) {
    size_t length = strlen(text);
    bool touches = t->column > 0 && t->column + length >= column;
    mtrace_put_column_(t, length < column ? column - length : 0);
    mtrace_put_(t, touches ? " " : "");
    mtrace_put_(t, text);
}

enum { MTRACE_NUMBER_ = 24 }; /* bytes that hold any number or size */

static char *mtrace_digits_(char *end, uint64_t value) {
    do {
        *--end = (char)('0' + (int)(value % 10));
        value /= 10;
    } while (value != 0);
    return end;
}

/* A number into buffer[MTRACE_NUMBER_]; "-5", and with_sign also "+5", "+0". */
static const char *mtrace_number_(char *buffer, uint64_t magnitude, bool negative, bool with_sign) {
    char *at = buffer + MTRACE_NUMBER_ - 1;
    *at = '\0';
    at = mtrace_digits_(at, magnitude);
    if (negative || with_sign) {
        *--at = negative ? '-' : '+';
    }
    return at;
}

static void mtrace_put_number_(mtrace_text_ *t, uint64_t value) {
    char buffer[MTRACE_NUMBER_];
    mtrace_put_(t, mtrace_number_(buffer, value, false, false));
}

static uint64_t mtrace_magnitude_(int64_t value) {
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

static void mtrace_put_signed_(mtrace_text_ *t, int64_t value) {
    char buffer[MTRACE_NUMBER_];
    mtrace_put_(t, mtrace_number_(buffer, mtrace_magnitude_(value), value < 0, true));
}

/* numerator / denominator, to the nearest whole number, halves to even, as Python rounds. */
static uint64_t mtrace_round_(uint64_t numerator, uint64_t denominator) {
    uint64_t quotient = numerator / denominator, rest = numerator % denominator;
    uint64_t missing = denominator - rest;
    return quotient + (rest > missing || (rest == missing && quotient % 2 == 1) ? 1 : 0);
}

/* Python's average is a double, and (2 tenths + 1) / 20, which lies between two tenths, is one only
   when 5 divides it. Else the nearest double lies above or below it: the remainder by 5 of what its
   53-bit mantissa is cut from tells which. */
static bool mtrace_tie_rounds_up_(uint64_t tenths) {
    uint64_t mantissa = 2 * tenths + 1;
    if (mantissa % 5 == 0) {
        return tenths % 2 == 1;
    }
    while (mantissa < (uint64_t)5 << 52) {
        mantissa *= 2;
    }
    return mantissa % 5 > 2;
}

static uint64_t mtrace_tenths_(uint64_t size, uint64_t unit) {
    uint64_t tenths, rest;
    bool up;
    while (size > UINT64_MAX / 10) { /* of such sizes the last bits do not show */
        size /= 2;
        unit /= 2;
    }
    tenths = size * 10 / unit;
    rest = size * 10 % unit;
    up = rest > unit - rest || (rest == unit - rest && mtrace_tie_rounds_up_(tenths));
    return tenths + (up ? 1 : 0);
}

/* size / count bytes as CPython's tracemalloc._format_size prints them, in whole numbers
   throughout: "10239 B", "10.0 KiB", "1024 GiB". */
static void mtrace_put_ratio_(mtrace_text_ *t, uint64_t size, uint64_t count, bool negative,
                              bool with_sign) {
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    char buffer[MTRACE_NUMBER_];
    uint64_t unit = count;
    int i = 0;
    while (i < 4 && size / 10240 >= unit) {
        unit *= 1024; /* cannot overflow: unit <= size / 10240 */
        i++;
    }
    if (i > 0 && size / 100 < unit) {
        uint64_t tenths = mtrace_tenths_(size, unit); /* size < 100 units */
        mtrace_put_(t, mtrace_number_(buffer, tenths / 10, negative, with_sign));
        mtrace_put_char_(t, '.');
        mtrace_put_char_(t, (char)('0' + (int)(tenths % 10)));
    } else {
        mtrace_put_(t, mtrace_number_(buffer, mtrace_round_(size, unit), negative, with_sign));
    }
    mtrace_put_(t, units[i]);
}

static void mtrace_put_size_(mtrace_text_ *t, uint64_t size) {
    mtrace_put_ratio_(t, size, 1, false, false);
}

static void mtrace_put_size_diff_(mtrace_text_ *t, int64_t size) {
    mtrace_put_ratio_(t, mtrace_magnitude_(size), 1, size < 0, true);
}

/* "1 block", "2 blocks" */
static void mtrace_put_count_(mtrace_text_ *t, uint64_t count, const char *noun) {
    mtrace_put_number_(t, count);
    mtrace_put_char_(t, ' ');
    mtrace_put_(t, noun);
    mtrace_put_(t, count == 1 ? "" : noun[strlen(noun) - 1] == 's' ? "es" : "s");
}

/* Text to the default writer; false when there is none. */
static bool mtrace_text_default_(mtrace_text_ *t) {
    if (mtrace_g_.write != NULL) {
        mtrace_text_to_callback_(t, mtrace_g_.write, mtrace_g_.write_user);
    } else {
        mtrace_text_to_callback_(t, MTRACE_STDOUT_, NULL);
    }
    return t->write != NULL;
}

/* ============================================================================================== */
/* [SECTION] NAMES - file, function and type names, each kept once                                */
/* ============================================================================================== */

static const char mtrace_unknown_[] = "<unknown>";

/* Room in the pool, or NULL. Never given back. */
static char *mtrace_name_room_(uint32_t size) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint32_t used = MTRACE_GET_(&g->name_used);
    do {
        if (size > g->name_bytes - used) {
            return NULL;
        }
    } while (!MTRACE_CAS_(&g->name_used, &used, used + size));
    return g->name_pool + used;
}

/* A snapshot may copy the pool meanwhile, hence not memcpy. */
static const char *mtrace_name_copy_(const char *name, size_t size) {
    char *copy = size > UINT32_MAX ? NULL : mtrace_name_room_((uint32_t)size);
    size_t i;
    for (i = 0; copy != NULL && i < size; i++) {
        MTRACE_SET_(&copy[i], name[i]);
    }
    return copy;
}

/* The one pointer that stands for a name's content; NULL stays NULL. "<unknown>" when it is new and
   none is to be made, or there is no room, which is counted. Lock-free: an entry is whole before it
   is published, and never changes. */
static const char *mtrace_name_(const char *name, bool make) {
    mtrace_tracer_ *g = &mtrace_g_;
    size_t size = name == NULL ? 0 : strlen(name) + 1;
    uint32_t at, n;
    const char *own = NULL;
    if (name == NULL) {
        return NULL;
    }
    at = mtrace_reduce_((uint32_t)MTRACE_HASH(name, size), g->name_slots);
    for (n = 0; n < g->name_slots; n++, at = at + 1 == g->name_slots ? 0 : at + 1) {
        const char *entry = MTRACE_GET_ACQUIRE_(&g->names[at]);
        if (entry == NULL && !make) {
            return mtrace_unknown_;
        }
        if (entry == NULL) {
            own = own != NULL ? own : g->borrow_names ? name : mtrace_name_copy_(name, size);
            if (own == NULL) {
                break;
            }
            if (MTRACE_CAS_(&g->names[at], &entry, own)) {
                return own;
            }
        }
        if (strcmp(entry, name) == 0) {
            return entry;
        }
    }
    MTRACE_ADD_(&g->lost_names, 1);
    return mtrace_unknown_;
}

/* ============================================================================================== */
/* [SECTION] SITES - from a call site, a scope and a domain to the number of an account           */
/* ============================================================================================== */

typedef bool (*mtrace_equal_fn_)(uint32_t number, const void *content);
typedef void (*mtrace_store_fn_)(uint32_t number, const void *content);

/* A fresh number, or 0 when all are taken. */
static uint32_t mtrace_pool_next_(mtrace_pool_ *pool) {
    uint32_t count = MTRACE_GET_(&pool->count);
    do {
        if (count >= pool->max) {
            return 0;
        }
    } while (!MTRACE_CAS_(&pool->count, &count, count + 1));
    return count;
}

/* Finds or makes the content's number; 0 when the pool is full (store NULL: only finds).
   Lock-free: a record is whole before the index shows it. Two threads that make the same one at
   once agree on the one that enters the index first; the other stays unused. The index has room to
   spare, so the search ends. */
static uint32_t mtrace_intern_(mtrace_pool_ *pool, uint32_t hash, const void *content,
                               mtrace_equal_fn_ equal, mtrace_store_fn_ store) {
    uint32_t at = mtrace_reduce_(hash, pool->index_slots), own = 0;
    for (;; at = at + 1 == pool->index_slots ? 0 : at + 1) {
        uint16_t entry = MTRACE_GET_ACQUIRE_(&pool->index[at]);
        if (entry == 0) {
            if (own == 0) {
                own = store == NULL ? 0 : mtrace_pool_next_(pool);
                if (own == 0) {
                    return 0;
                }
                store(own, content);
            }
            if (MTRACE_CAS_(&pool->index[at], &entry, (uint16_t)own)) {
                return own;
            }
        }
        if (equal(entry, content)) {
            return entry;
        }
    }
}

/* --- places --- */

static bool mtrace_place_equal_(uint32_t number, const void *content) {
    const mtrace_place_ *a = &mtrace_g_.places[number], *b = (const mtrace_place_ *)content;
    return a->line == b->line && a->file == b->file && a->function == b->function &&
           a->type == b->type;
}

static void mtrace_place_store_(uint32_t number, const void *content) {
    mtrace_g_.places[number] = *(const mtrace_place_ *)content;
}

static uint32_t mtrace_place_intern_(const mtrace_place_ *place, bool make) {
    uintptr_t words[4];
    uint32_t number;
    words[0] = (uintptr_t)place->file;
    words[1] = (uintptr_t)place->function;
    words[2] = (uintptr_t)place->type;
    words[3] = place->line;
    number = mtrace_intern_(&mtrace_g_.place_pool, (uint32_t)MTRACE_HASH(words, sizeof words),
                            place, mtrace_place_equal_, make ? mtrace_place_store_ : NULL);
    return number != 0 ? number : (uint32_t)MTRACE_PLACE_OTHER_;
}

/* A site's cache, once it was seen in this session: session << 32, then the number of its account
   outside of scopes and domains, or else place << 16. */
static MTRACE_COLD_ uint32_t mtrace_place_find_(mtrace_site *site, bool make) {
    mtrace_place_ place;
    uint32_t number;
    place.file = site->file == NULL ? mtrace_unknown_ : mtrace_name_(site->file, make);
    place.function = mtrace_name_(site->function, make);
    place.type = mtrace_name_(site->type, make);
    place.line = site->line;
    number = mtrace_place_intern_(&place, make);
    if (number != MTRACE_PLACE_OTHER_) {
        MTRACE_SET_RELEASE_(&site->cache, MTRACE_GET_(&mtrace_g_.session) | (uint64_t)number << 16);
    }
    return number;
}

/* A new place is made for what has room in `pool`, accounts or nodes: what they lose takes none. */
static uint32_t mtrace_place_of_(mtrace_site *site, const mtrace_pool_ *pool) {
    uint64_t cache = MTRACE_GET_ACQUIRE_(&site->cache) ^ MTRACE_GET_(&mtrace_g_.session);
    return cache <= 0xffff       ? mtrace_g_.accounts[cache].place
           : cache <= UINT32_MAX ? (uint32_t)(cache >> 16)
                                 : mtrace_place_find_(site, MTRACE_GET_(&pool->count) < pool->max);
}

/* --- scopes --- */

static uint32_t mtrace_mix_(uint32_t hash, uint32_t number) {
    return (hash ^ number) * 0x9E3779B1u; /* 2^32 / golden ratio */
}

/* The window of a node that may not be there yet, most recent first. */
static uint32_t mtrace_node_hash_(const mtrace_node_ *node) {
    uint32_t hash = mtrace_mix_(0, node->depth), left;
    for (left = mtrace_g_.frames - 1; left > 0; left--) {
        hash = mtrace_mix_(hash, node->place);
        hash ^= hash >> 15; /* else one multiplier a level, and some are poor */
        if (node->parent == 0) {
            break;
        }
        node = &mtrace_g_.nodes[node->parent];
    }
    return mtrace_mix_(hash, 0);
}

static bool mtrace_node_equal_(uint32_t number, const void *content) {
    const mtrace_node_ *nodes = mtrace_g_.nodes, *a = &nodes[number];
    const mtrace_node_ *b = (const mtrace_node_ *)content;
    uint32_t left;
    if (a->depth != b->depth) {
        return false;
    }
    for (left = mtrace_g_.frames - 1; left > 0 && a != b; left--) {
        if (a->place != b->place || (a->parent == 0) != (b->parent == 0)) {
            return false;
        }
        if (a->parent == 0) {
            break;
        }
        a = &nodes[a->parent];
        b = &nodes[b->parent];
    }
    return true;
}

static void mtrace_node_store_(uint32_t number, const void *content) {
    mtrace_g_.nodes[number] = *(const mtrace_node_ *)content;
}

static uint32_t mtrace_node_intern_(const mtrace_node_ *node) {
    return mtrace_intern_(&mtrace_g_.node_pool, mtrace_node_hash_(node), node, mtrace_node_equal_,
                          mtrace_node_store_);
}

/* The node of a scope entered from `parent`; 0 when there is no room. Where only call sites are
   kept no table is needed: the number is the depth, and one. */
static uint32_t mtrace_node_enter_(uint32_t parent, mtrace_site *site) {
    mtrace_node_ node;
    uint32_t depth;
    if (mtrace_g_.frames == 1) {
        return parent == 0 ? (uint32_t)MTRACE_FIRST_ : parent + (parent < 0xffff ? 1 : 0);
    }
    depth = parent == 0 ? 0 : mtrace_g_.nodes[parent].depth;
    node.parent = (uint16_t)parent;
    node.place = (uint16_t)mtrace_place_of_(site, &mtrace_g_.node_pool);
    node.depth = (uint16_t)(depth + (depth < 65534 ? 1 : 0));
    return mtrace_node_intern_(&node);
}

/* The same; what lies inside a lost one is lost too. */
static uint32_t mtrace_node_child_(uint32_t parent, mtrace_site *site) {
    uint32_t number = parent == MTRACE_NODE_LOST_ ? 0 : mtrace_node_enter_(parent, site);
    if (number == 0) {
        MTRACE_ADD_(&mtrace_g_.lost_scopes, 1);
        number = MTRACE_NODE_LOST_;
    }
    return number;
}

/* The straight way of an allocation is open outside of all scopes only; where a thread is watched
   neither is. */
#if MTRACE_ATOMICS_
static void mtrace_context_set_(mtrace_scope context) {
    MTRACE_CONTEXT_ = context;
    mtrace_thread_free_lane_ = mtrace_watcher_.call == NULL ? mtrace_thread_lane_ : 0;
    mtrace_thread_plain_lane_ = context.session == 0 ? mtrace_thread_free_lane_ : 0;
}
#else
static void mtrace_context_set_(mtrace_scope context) {
    MTRACE_CONTEXT_ = context;
}
#endif

static bool mtrace_node_known_(uint32_t number) {
    return number < (mtrace_g_.frames == 1 ? 0x10000 : MTRACE_GET_(&mtrace_g_.node_pool.count));
}

/* Where the thread is; outside of all when its scope is of another session, or never was. */
static mtrace_scope mtrace_context_(void) {
    static const mtrace_scope outside = MTRACE_ZERO_;
    mtrace_scope context = MTRACE_CONTEXT_;
    bool valid = context.session == (uint32_t)(MTRACE_GET_(&mtrace_g_.session) >> 32) &&
                 mtrace_node_known_(context.number);
    if (!valid && context.session != 0) {
        mtrace_context_set_(outside);
    }
    return valid ? context : outside;
}

mtrace_scope mtrace_scope_push_(const uint32_t *domain, mtrace_site *site) {
    mtrace_scope before, inside;
    MTRACE_LOCK();
    before = mtrace_context_();
    inside.session = (uint32_t)(MTRACE_GET_(&mtrace_g_.session) >> 32);
    inside.number = mtrace_node_child_(before.number, site);
    inside.domain = domain != NULL && *domain != MTRACE_INHERIT_ ? *domain : before.domain;
    mtrace_context_set_(inside);
    MTRACE_UNLOCK();
    return before;
}

void mtrace_scope_pop_(mtrace_scope before) {
    MTRACE_LOCK();
    mtrace_context_set_(before); /* looked at when it is used: see mtrace_context_ */
    MTRACE_UNLOCK();
}

/* --- accounts --- */

static bool mtrace_account_equal_(uint32_t number, const void *content) {
    const mtrace_account_ *a = &mtrace_g_.accounts[number], *b = (const mtrace_account_ *)content;
    return a->place == b->place && a->node == b->node && a->domain == b->domain;
}

/* A snapshot counts numbers, not what the index shows: an account without a place is not there. */
static void mtrace_account_store_(uint32_t number, const void *content) {
    const mtrace_account_ *from = (const mtrace_account_ *)content;
    mtrace_account_ *to = &mtrace_g_.accounts[number];
    MTRACE_SET_(&to->node, from->node);
    MTRACE_SET_(&to->domain, from->domain);
    MTRACE_SET_RELEASE_(&to->place, from->place);
}

static mtrace_account_ mtrace_account_read_(uint32_t number) {
    mtrace_account_ *from = &mtrace_g_.accounts[number], account;
    memset(&account, 0, sizeof account);
    account.place = MTRACE_GET_ACQUIRE_(&from->place);
    if (account.place != 0) {
        account.node = MTRACE_GET_(&from->node);
        account.domain = MTRACE_GET_(&from->domain);
    }
    return account;
}

static uint32_t mtrace_account_intern_(const mtrace_account_ *account) {
    uint32_t hash = mtrace_mix_(mtrace_mix_(account->place | (uint32_t)account->node << 16, 0),
                                account->domain);
    uint32_t number = mtrace_intern_(&mtrace_g_.account_pool, hash, account, mtrace_account_equal_,
                                     mtrace_account_store_);
    return number != 0 ? number : (uint32_t)MTRACE_ACCOUNT_OTHER_;
}

static MTRACE_NOINLINE_ uint32_t mtrace_account_find_(mtrace_site *site, uint32_t domain) {
    mtrace_scope context = mtrace_context_();
    mtrace_account_ account;
    uint32_t number;
    memset(&account, 0, sizeof account);
    account.place = (uint16_t)mtrace_place_of_(site, &mtrace_g_.account_pool);
    account.node = (uint16_t)context.number;
    account.domain = domain == MTRACE_INHERIT_ ? context.domain : domain;
    number = mtrace_account_intern_(&account);
    if (account.node == 0 && account.domain == 0 && number != MTRACE_ACCOUNT_OTHER_) {
        MTRACE_SET_RELEASE_(&site->cache, MTRACE_GET_(&mtrace_g_.session) | number);
    }
    return number;
}

/* At most 0xffff: the account of a site outside of scopes and domains, once it has been seen in
   this session. */
static MTRACE_HOT_ uint64_t mtrace_account_cached_(const mtrace_site *site) {
    return MTRACE_GET_ACQUIRE_(&site->cache) ^ MTRACE_GET_(&mtrace_g_.session);
}

static uint32_t mtrace_account_of_(mtrace_site *site, uint32_t domain) {
    uint64_t account = mtrace_account_cached_(site);
    bool plain = account <= 0xffff && (domain == MTRACE_INHERIT_ || domain == 0) &&
                 MTRACE_CONTEXT_.session == 0;
    return plain ? (uint32_t)account : mtrace_account_find_(site, domain);
}

/* --- tracebacks --- */

static uint32_t mtrace_traceback_length_(const mtrace_account_ *account) {
    uint32_t length = 1, node;
    for (node = account->node; node > MTRACE_NODE_LOST_ && length < mtrace_g_.frames; length++) {
        node = mtrace_g_.nodes[node].parent;
    }
    return length;
}

static uint32_t mtrace_traceback_total_(const mtrace_account_ *account) {
    return account->node == 0                   ? 1
           : account->node == MTRACE_NODE_LOST_ ? 0
           : mtrace_g_.frames == 1              ? account->node
                                                : mtrace_g_.nodes[account->node].depth + 1u;
}

static void mtrace_frame_fill_(mtrace_frame *frame, uint32_t number) {
    const mtrace_place_ *place = &mtrace_g_.places[number];
    frame->file = place->file;
    frame->function = place->function;
    frame->line = place->line;
}

/* The `length` most recent frames, the call site last. */
static void mtrace_traceback_fill_(const mtrace_account_ *account, mtrace_frame *frames,
                                   uint32_t length) {
    uint32_t node = account->node;
    mtrace_frame_fill_(&frames[--length], account->place);
    while (length-- > 0) {
        mtrace_frame_fill_(&frames[length], mtrace_g_.nodes[node].place);
        node = mtrace_g_.nodes[node].parent;
    }
}

/* ============================================================================================== */
/* [SECTION] TRACE TABLE                                                                          */
/* ============================================================================================== */

typedef struct mtrace_trace_ {
    uint64_t size;
    uint64_t serial;
    uint32_t account;
} mtrace_trace_;

/* Heap blocks of one page keep their order in the table: neighbours in memory are neighbours there,
   which saves most cache misses of ordered work. Where a page begins is golden, so that pages that
   follow each other meet as late as possible. Keys that are not addresses are scattered. */
static MTRACE_HOT_ uint32_t mtrace_heap_home_(uintptr_t key) {
    const mtrace_tracer_ *g = &mtrace_g_;
    uintptr_t page = (key >> MTRACE_PAGE_BITS) * g->page_factor >> g->hash_shift;
    return ((uint32_t)page + (uint32_t)(key >> MTRACE_KEY_SHIFT)) & g->mask;
}

static MTRACE_HOT_ uint32_t mtrace_home_(uintptr_t key, bool tracked) {
    return tracked ? (uint32_t)(key * MTRACE_GOLDEN_ >> mtrace_g_.hash_shift)
                   : mtrace_heap_home_(key);
}

/* How far it is from a key's home to the line that it tries next; the same for all of a page, so
   that neighbours remain such, and with no relation to the home, so that pages that meet do not
   meet again. Steps grow, lest they fall in with a pattern in the table; odd in lines and growing
   by four, they come to every line once. */
static uint32_t mtrace_step_(uintptr_t key, bool tracked) {
    uintptr_t hash = (tracked ? key : key >> MTRACE_PAGE_BITS) * MTRACE_GOLDEN_;
    hash = (hash ^ hash >> (sizeof hash * 4)) * MTRACE_GOLDEN_;
    return (uint32_t)(hash >> (sizeof hash * 4)) * (2 * MTRACE_LINE_SLOTS_) + MTRACE_LINE_SLOTS_;
}

static inline uint32_t mtrace_next_line_(uint32_t at, uint32_t *step) {
    at = (at + *step) & mtrace_g_.mask;
    *step += 4 * MTRACE_LINE_SLOTS_;
    return at;
}

/* Lines that a key may try, its home's among them. */
static uint32_t mtrace_lines_(void) {
    uint32_t all = (mtrace_g_.mask + 1) / MTRACE_LINE_SLOTS_;
    return all < MTRACE_MAX_LINES_ ? all : (uint32_t)MTRACE_MAX_LINES_;
}

static inline uint32_t mtrace_slot_home_(const mtrace_slot_ *slot) {
    return mtrace_home_(MTRACE_GET_(&slot->key),
                        (MTRACE_GET_(&slot->size_high) & MTRACE_TRACKED_) != 0);
}

static inline bool mtrace_slot_live_(uint16_t account) {
    return account != 0 && account != MTRACE_ACCOUNT_BUSY_;
}

/* Is this the trace of that key? All heap blocks share one key space, each tracked domain has its
 * own. */
static inline bool mtrace_slot_is_(mtrace_slot_ *slot, uintptr_t key, bool tracked,
                                   uint32_t domain) {
    uint16_t account = MTRACE_GET_ACQUIRE_(&slot->account);
    return MTRACE_GET_(&slot->key) == key && mtrace_slot_live_(account) &&
           ((MTRACE_GET_(&slot->size_high) & MTRACE_TRACKED_) != 0) == tracked &&
           (!tracked || mtrace_g_.accounts[account].domain == domain);
}

/* A key that is not at home: it looks at the other slots of the line, and where traces have gone on
   from there, at the next line. Its own trace is counted wherever it has passed, so a trace that is
   there is found, whatever other threads do. */
static MTRACE_NOINLINE_ uint32_t mtrace_find_displaced_(uint32_t home, uintptr_t key, bool tracked,
                                                        uint32_t domain) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint32_t step = mtrace_step_(key, tracked), left = mtrace_lines_(), at = home, i;
    for (; left > 0; left--, at = mtrace_next_line_(at, &step)) {
        uint32_t displaced = MTRACE_GET_ACQUIRE_(&g->slots[at].displaced);
        for (i = 0; i < (displaced == 0 ? 1u : (uint32_t)MTRACE_LINE_SLOTS_); i++) {
            if (mtrace_slot_is_(&g->slots[at ^ i], key, tracked, domain)) {
                return at ^ i;
            }
        }
        if (displaced < MTRACE_FAR_ONE_) {
            break;
        }
    }
    return MTRACE_NONE_;
}

/* Where the key's trace is; else MTRACE_NONE_. */
static inline uint32_t mtrace_find_slot_(uint32_t home, uintptr_t key, bool tracked,
                                         uint32_t domain) {
    mtrace_slot_ *slot = &mtrace_g_.slots[home];
    return mtrace_slot_is_(slot, key, tracked, domain) ? home
           : MTRACE_GET_ACQUIRE_(&slot->displaced) == 0
               ? MTRACE_NONE_
               : mtrace_find_displaced_(home, key, tracked, domain);
}

/* One more or less near trace, or far one. The three near ones that there can be always fit; far
   ones that are too many stay so for good, and searches go on from there. */
static void mtrace_displaced_add_(uint32_t at, bool far, int change) {
    uint8_t *count = &mtrace_g_.slots[at].displaced;
    uint8_t old = MTRACE_GET_(count);
    int step = far ? change * MTRACE_FAR_ONE_ : change;
    while ((!far || old / MTRACE_FAR_ONE_ != MTRACE_FAR_MAX_) &&
           !MTRACE_CAS_(count, &old, (uint8_t)(old + step))) {
    }
}

/* Counts a trace that has come to slot `at` (+1) or leaves it (-1) wherever it has passed. The slot
   is BUSY meanwhile. */
static MTRACE_NOINLINE_ void mtrace_passed_(uint32_t home, uint32_t at, uintptr_t key, bool tracked,
                                            int change) {
    uint32_t step = mtrace_step_(key, tracked), passed = home;
    while ((passed ^ at) >= MTRACE_LINE_SLOTS_) {
        mtrace_displaced_add_(passed, true, change);
        passed = mtrace_next_line_(passed, &step);
    }
    if (passed != at) {
        mtrace_displaced_add_(passed, false, change);
    }
}

static void mtrace_longest_probe_raise_(uint32_t distance) {
    uint32_t old = MTRACE_GET_(&mtrace_g_.longest_probe);
    while (old < distance && !MTRACE_CAS_(&mtrace_g_.longest_probe, &old, distance)) {
    }
}

static inline uint64_t mtrace_slot_size_(const mtrace_slot_ *slot) {
    return MTRACE_GET_(&slot->size_low) |
           (uint64_t)(MTRACE_GET_(&slot->size_high) & (MTRACE_TRACKED_ - 1)) << 32;
}

/* While sampling, most frees are of blocks without a trace; a byte of this small array tells. */
enum { MTRACE_FILTER_BITS_ = 14 };

static MTRACE_HOT_ uint8_t *mtrace_filter_of_(uintptr_t key) {
    return &mtrace_g_.filter[key * MTRACE_GOLDEN_ >> (sizeof key * 8 - MTRACE_FILTER_BITS_)];
}

static MTRACE_HOT_ bool mtrace_filter_excludes_(uintptr_t key) {
    return mtrace_g_.filter != NULL && MTRACE_GET_(mtrace_filter_of_(key)) == 0;
}

static MTRACE_COLD_ void mtrace_filter_add_(uintptr_t key, int change) {
    uint8_t *count = mtrace_filter_of_(key), old = MTRACE_GET_(count);
    while (old != 255 && !MTRACE_CAS_(count, &old, (uint8_t)(old + change))) {
    }
}

/* Takes the slot's trace out, if it is still that key's: one compare-and-swap, so that of two
   threads that free the same block only one gets it. */
static inline bool mtrace_slot_take_(uint32_t at, uint32_t home, uintptr_t key,
                                     mtrace_trace_ *out) {
    mtrace_slot_ *slot = &mtrace_g_.slots[at];
    uint16_t account = MTRACE_GET_(&slot->account);
    if (!mtrace_slot_live_(account) ||
        !mtrace_cas16_(&slot->account, account, MTRACE_ACCOUNT_BUSY_)) {
        return false;
    }
    if (MTRACE_GET_(&slot->key) != key) {
        MTRACE_SET_RELEASE_(&slot->account, account);
        return false;
    }
    out->account = account;
    out->size = mtrace_slot_size_(slot);
    out->serial = mtrace_g_.serials == NULL ? 0 : MTRACE_GET_(&mtrace_g_.serials[at]);
    if (MTRACE_UNLIKELY_(at != home)) {
        mtrace_passed_(home, at, key, (MTRACE_GET_(&slot->size_high) & MTRACE_TRACKED_) != 0, -1);
    }
    if (MTRACE_UNLIKELY_(mtrace_g_.filter != NULL)) {
        mtrace_filter_add_(key, -1);
    }
    MTRACE_SET_(&slot->size_high, 0);
    MTRACE_SET_RELEASE_(&slot->account, 0);
    return true;
}

static inline bool mtrace_take_(uintptr_t key, bool tracked, uint32_t domain, mtrace_trace_ *out) {
    uint32_t home = mtrace_home_(key, tracked);
    for (;;) {
        uint32_t at = mtrace_find_slot_(home, key, tracked, domain);
        if (at == MTRACE_NONE_) {
            return false;
        }
        if (mtrace_slot_take_(at, home, key, out)) {
            return true;
        }
    }
}

static inline bool mtrace_slot_claim_(mtrace_slot_ *slot) {
    return MTRACE_GET_(&slot->account) == 0 &&
           mtrace_cas16_(&slot->account, 0, MTRACE_ACCOUNT_BUSY_);
}

/* Free, and home of no trace that sits elsewhere: the three bytes beside the size in one look. */
#if MTRACE_ATOMICS_
typedef uint32_t __attribute__((may_alias)) mtrace_alias_;
static MTRACE_HOT_ bool mtrace_slot_is_fresh_(const mtrace_slot_ *slot) {
    return MTRACE_GET_((const mtrace_alias_ *)(const void *)&slot->account) == 0;
}
#else
static MTRACE_HOT_ bool mtrace_slot_is_fresh_(const mtrace_slot_ *slot) {
    return slot->account == 0 && slot->size_high == 0 && slot->displaced == 0;
}
#endif

static MTRACE_HOT_ bool mtrace_slot_claim_fresh_(mtrace_slot_ *slot, bool alone) {
    uint16_t free_slot = 0;
    return mtrace_slot_is_fresh_(slot) &&
           (alone ? mtrace_cas16_alone_(&slot->account, 0, MTRACE_ACCOUNT_BUSY_)
                  : MTRACE_CAS_(&slot->account, &free_slot, MTRACE_ACCOUNT_BUSY_));
}

/* A free slot for a trace with that home, now BUSY; MTRACE_NONE_ when no line that it may try has
   one. */
static inline uint32_t mtrace_claim_(uint32_t home, uintptr_t key, bool tracked) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint32_t step, lines = mtrace_lines_(), line, at = home, i;
    if (mtrace_slot_claim_(&g->slots[home])) {
        return home;
    }
    step = mtrace_step_(key, tracked);
    for (line = 0; line < lines; line++, at = mtrace_next_line_(at, &step)) {
        for (i = 0; i < MTRACE_LINE_SLOTS_; i++) {
            if (mtrace_slot_claim_(&g->slots[at ^ i])) {
                mtrace_longest_probe_raise_(line * MTRACE_LINE_SLOTS_ + i);
                return at ^ i;
            }
        }
    }
    return MTRACE_NONE_;
}

/* Puts a trace in. False when there is no room. The key must not be there (see mtrace_replace_). */
static inline bool mtrace_insert_(uint32_t home, uintptr_t key, bool tracked,
                                  const mtrace_trace_ *trace) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint32_t at = mtrace_claim_(home, key, tracked);
    mtrace_slot_ *slot;
    if (at == MTRACE_NONE_) {
        return false;
    }
    if (at != home) {
        mtrace_passed_(home, at, key, tracked, 1);
    }
    slot = &g->slots[at];
    MTRACE_SET_(&slot->key, key);
    MTRACE_SET_(&slot->size_low, (uint32_t)trace->size);
    MTRACE_SET_(&slot->size_high,
                (uint8_t)((trace->size >> 32) | (tracked ? MTRACE_TRACKED_ : 0u)));
    if (MTRACE_UNLIKELY_(g->serials != NULL)) {
        MTRACE_SET_(&g->serials[at], trace->serial);
    }
    if (MTRACE_UNLIKELY_(g->filter != NULL)) {
        mtrace_filter_add_(key, 1);
    }
    MTRACE_SET_RELEASE_(&slot->account, (uint16_t)trace->account);
    return true;
}

/* ============================================================================================== */
/* [SECTION] SAMPLING - which blocks are traced, and what they stand for                          */
/* ============================================================================================== */

#define MTRACE_COUNT_ONE_    65536u            /* a block, while sampling */
#define MTRACE_MAX_INTERVAL_ ((size_t)1 << 24) /* then variances fit 64 bits */

#if MTRACE_ATOMICS_
#define MTRACE_CAN_SAMPLE_ (sizeof(size_t) == 8)

/* 1 - exp(-x) for x below 1; its series, so that no mathematics library is needed. */
static double mtrace_chance_(double x) {
    double term = x, sum = x;
    int i;
    for (i = 2; i <= 20; i++) {
        term *= -x / i;
        sum += term;
    }
    return sum;
}

static uint64_t mtrace_nearest_(double value) {
    return (uint64_t)(value + 0.5);
}

/* Horvitz and Thompson: what is seen with a probability p stands for 1 / p of its kind, and that
   has the variance (1 - p) / p squared. */
static mtrace_estimate_ mtrace_estimate_of_(uint64_t size, size_t interval) {
    mtrace_estimate_ e = MTRACE_ZERO_;
    double p, x;
    e.bytes = size;
    e.count = interval == 0 ? 1 : MTRACE_COUNT_ONE_;
    if (size < interval && size > 0) {
        x = (double)size / (double)interval;
        p = mtrace_chance_(x);
        e.bytes = mtrace_nearest_((double)size / p);
        e.count = mtrace_nearest_(MTRACE_COUNT_ONE_ / p);
        e.bytes_variance = mtrace_nearest_((1 - p) * (x / p) * (x / p) * 1048576);
        e.count_variance = mtrace_nearest_((1 - p) / (p * p));
    }
    return e;
}

/* -ln(u) for u above 0, at most 1. */
static double mtrace_minus_log_(double u) {
    double sum = 0, power, square;
    int halvings = 0, i;
    for (; u < 0.75; u *= 2) {
        halvings++;
    }
    power = (1 - u) / (1 + u);
    square = power * power;
    for (i = 1; i < 30; i += 2, power *= square) {
        sum += power / i;
    }
    return 2 * sum + halvings * 0.69314718055994530942;
}

/* SplitMix64 (Steele, Lea and Flood 2014). */
static uint64_t mtrace_random_(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Bytes to the next sample, at least 1: exponentially distributed. */
static int64_t mtrace_gap_(void) {
    double u =
        (double)((mtrace_random_(&mtrace_thread_sampler_.random) >> 11) + 1) / 9007199254740992.0;
    return (int64_t)(mtrace_minus_log_(u) * (double)mtrace_g_.sample_interval) + 1;
}

/* The thread's first allocation in this session. Threads draw numbers of their own, by the order in
   which they come. */
static MTRACE_COLD_ void mtrace_sampler_start_(uint32_t session) {
    uint64_t state = mtrace_g_.sample_seed, number = MTRACE_NEXT_(&mtrace_g_.samplers);
    mtrace_thread_sampler_.session = session;
    mtrace_thread_sampler_.random = mtrace_random_(&state) ^ mtrace_random_(&number);
    mtrace_thread_sampler_.left = mtrace_gap_();
}

/* Passes over a block in which surely no sample lies. False: mtrace_sampled_ must tell. */
static MTRACE_HOT_ bool mtrace_passed_over_(uint64_t size) {
    int64_t left = mtrace_thread_sampler_.left - (int64_t)size;
    if (size >= mtrace_g_.sample_interval || left <= 0 ||
        mtrace_thread_sampler_.session != (uint32_t)(MTRACE_GET_(&mtrace_g_.session) >> 32)) {
        return false;
    }
    mtrace_thread_sampler_.left = left;
    return true;
}

/* Does a sample lie in the next `size` bytes? What is left of a gap has the same distribution as
   the whole, so a new one can begin behind the block. */
static MTRACE_NOINLINE_ bool mtrace_sampled_(uint64_t size) {
    uint32_t session = (uint32_t)(MTRACE_GET_(&mtrace_g_.session) >> 32);
    if (size >= mtrace_g_.sample_interval) {
        return true;
    }
    if (mtrace_thread_sampler_.session != session) {
        mtrace_sampler_start_(session);
    }
    mtrace_thread_sampler_.left -= (int64_t)size;
    if (mtrace_thread_sampler_.left > 0) {
        return false;
    }
    mtrace_thread_sampler_.left = mtrace_gap_();
    return true;
}
#else
#define MTRACE_CAN_SAMPLE_ false
static mtrace_estimate_ mtrace_estimate_of_(uint64_t size, size_t interval) {
    mtrace_estimate_ e = MTRACE_ZERO_;
    (void)interval;
    e.bytes = size;
    e.count = 1;
    return e;
}

static bool mtrace_passed_over_(uint64_t size) {
    (void)size;
    return false;
}

static bool mtrace_sampled_(uint64_t size) {
    (void)size;
    return true;
}
#endif

/* Is a new block to be traced? */
static bool mtrace_chosen_(uint64_t size) {
    return mtrace_g_.sample_interval == 0 || (!mtrace_passed_over_(size) && mtrace_sampled_(size));
}

/* A cell's count in whole blocks. */
static uint64_t mtrace_whole_(uint64_t count) {
    return mtrace_g_.sample_interval == 0 ? count
                                          : (count + MTRACE_COUNT_ONE_ / 2) / MTRACE_COUNT_ONE_;
}

static uint64_t mtrace_add_up_to_max_(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* Bare metal neither samples nor reads what did: no code for it there. */
static void mtrace_variance_add_(mtrace_variance *sum, const mtrace_variance *more) {
    if (!MTRACE_HOSTED_) {
        return;
    }
    sum->size = mtrace_add_up_to_max_(sum->size, more->size);
    sum->count = mtrace_add_up_to_max_(sum->count, more->count);
}

uint64_t mtrace_standard_error(uint64_t variance) {
    uint64_t root = 0, bit;
    for (bit = (uint64_t)1 << 31; bit != 0; bit /= 2) {
        root += (root + bit) * (root + bit) <= variance ? bit : 0;
    }
    return root + (variance - root * root > root ? 1 : 0);
}

/* ============================================================================================== */
/* [SECTION] COUNTERS - lanes, cells, the peak                                                    */
/* ============================================================================================== */

/* Lanes in use: every own one handed out, and the shared one, which is always counted. */
#if MTRACE_ATOMICS_
static uint32_t mtrace_lane_total_(void) {
    uint32_t seen = MTRACE_GET_(&mtrace_g_.lane_count);
    return mtrace_g_.sample_interval != 0
               ? 1
               : (seen < MTRACE_OWN_LANES_ ? seen : MTRACE_OWN_LANES_) + 1;
}
#else
static uint32_t mtrace_lane_total_(void) {
    return 1;
}
#endif

static mtrace_lane_ *mtrace_lane_at_(uint32_t i) {
    return &mtrace_g_.lanes[i];
}

static int64_t mtrace_held_bytes_(void) {
    uint32_t i, n = mtrace_lane_total_();
    int64_t sum = 0;
    for (i = 0; i < n; i++) {
        sum += MTRACE_GET_(&mtrace_lane_at_(i)->bytes.value);
    }
    return sum;
}

static int64_t mtrace_held_blocks_(void) {
    uint32_t i, n = mtrace_lane_total_();
    int64_t sum = 0;
    for (i = 0; i < n; i++) {
        sum += MTRACE_GET_(&mtrace_lane_at_(i)->blocks.value);
    }
    return sum;
}

static uint64_t mtrace_not_negative_(int64_t value) {
    return value < 0 ? 0 : (uint64_t)value;
}

/* A peak is left when what all lanes hold is about to fall from above the old one. To see that, a
   lane need not look at the others as long as it stays below its limits: they share out the gap
   up to the peak,

       sum of down over all lanes <= peak

   so that below them the total is. Above the peak, before it is left, allocations run free (up
   is infinite) and every free looks (down is minus infinity). One lane alone never shares: its
   allocations run free always, and down is the peak. */
static mtrace_gauge_ *mtrace_gauge_at_(uint32_t i, bool blocks) {
    mtrace_lane_ *lane = mtrace_lane_at_(i);
    return blocks ? &lane->blocks : &lane->bytes;
}

/* Each value is read once, so that the limits add up to the peak whatever runs meanwhile. */
static void mtrace_share_(uint64_t peak, bool blocks) {
    uint32_t first = MTRACE_GET_(&mtrace_g_.shared_used) ? 0 : 1, n = mtrace_lane_total_(), i;
    int64_t values[MTRACE_OWN_LANES_ + 1], gap = (int64_t)peak;
    for (i = 0; i < n; i++) {
        values[i] = MTRACE_GET_(&mtrace_gauge_at_(i, blocks)->value);
        gap -= values[i];
    }
    for (i = first; i < n; i++) {
        mtrace_gauge_ *gauge = mtrace_gauge_at_(i, blocks);
        int64_t limit = values[i] + gap / (int64_t)(n - first);
        MTRACE_SET_(&gauge->up, gap < 0 || n - first == 1 ? INT64_MAX : limit);
        MTRACE_SET_(&gauge->down, gap < 0 ? INT64_MIN : limit);
    }
}

static void mtrace_settle_now_(void) {
    mtrace_share_(MTRACE_GET_(&mtrace_g_.peak), false);
    mtrace_share_(MTRACE_GET_(&mtrace_g_.high_water), true);
}

/* Shares the gaps out anew. Never waits: who finds another at it leaves the work to that one, which
   looks for such wishes when it is done. */
static void mtrace_settle_(void) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint32_t wanted, open = 0;
    MTRACE_ADD_(&g->settle_wanted, 1);
    do {
        wanted = MTRACE_GET_ACQUIRE_(&g->settle_wanted);
        open = 0;
        if (!MTRACE_CAS_(&g->settle_lock, &open, 1)) {
            return;
        }
        mtrace_settle_now_();
        MTRACE_SET_RELEASE_(&g->settle_lock, 0);
        MTRACE_FENCE_();
    } while (wanted != MTRACE_GET_(&g->settle_wanted));
}

/* Called before what is held goes down, when it may be at a new peak: sums exactly, and if so
   numbers the peak. A cell that changes after that first saves what it held
   (mtrace_cell_rebase_). */
static MTRACE_COLD_ void mtrace_peak_leave_(void) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint64_t bytes = mtrace_not_negative_(mtrace_held_bytes_());
    uint64_t blocks = mtrace_not_negative_(mtrace_held_blocks_());
    uint64_t peak = MTRACE_GET_(&g->peak);
    uint64_t high = MTRACE_GET_(&g->high_water);
    while (blocks > high && !MTRACE_CAS_(&g->high_water, &high, blocks)) {
    }
    while (bytes > peak) {
        if (MTRACE_CAS_(&g->peak, &peak, bytes)) {
            MTRACE_ADD_(&g->peak_number, 1);
            break;
        }
    }
    mtrace_settle_();
}

/* The same for a cell that only this thread writes, which may hence be read plainly. */
static MTRACE_HOT_ void mtrace_cell_rebase_own_(mtrace_cell_ *cell) {
    size_t number = MTRACE_GET_(&mtrace_g_.peak_number);
    if (cell->peak_number != number) {
        MTRACE_SET_(&cell->peak_bytes, cell->total_bytes - cell->freed_bytes);
        MTRACE_SET_(&cell->peak_count, (size_t)cell->total_count - cell->freed_count);
        MTRACE_SET_(&cell->peak_number, number);
    }
}

static inline void mtrace_cell_rebase_(mtrace_cell_ *cell) {
    size_t number = MTRACE_GET_(&mtrace_g_.peak_number);
    if (MTRACE_GET_(&cell->peak_number) != number) {
        MTRACE_SET_(&cell->peak_bytes,
                    MTRACE_GET_(&cell->total_bytes) - MTRACE_GET_(&cell->freed_bytes));
        MTRACE_SET_(&cell->peak_count,
                    (size_t)MTRACE_GET_(&cell->total_count) - MTRACE_GET_(&cell->freed_count));
        MTRACE_SET_(&cell->peak_number, number);
    }
}

#if MTRACE_ATOMICS_
static MTRACE_COLD_ void mtrace_lane_join_(void) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint32_t seen = MTRACE_GET_(&g->lane_count);
    while (seen <= MTRACE_OWN_LANES_ && !MTRACE_CAS_(&g->lane_count, &seen, seen + 1)) {
    }
    mtrace_settle_(); /* from now on the other lanes count with this one */
    mtrace_thread_has_joined_ = true;
    mtrace_thread_lane_ = seen < MTRACE_OWN_LANES_ ? (seen + 1) * sizeof(mtrace_lane_) : 0;
    mtrace_context_set_(MTRACE_CONTEXT_);
}

static MTRACE_HOT_ mtrace_lane_ *mtrace_lane_behind_(size_t at) {
    return (mtrace_lane_ *)(void *)((unsigned char *)mtrace_g_.lanes + at);
}

/* The thread's own lane; the shared one when it has none. */
static MTRACE_HOT_ mtrace_lane_ *mtrace_lane_own_(void) {
    return mtrace_lane_behind_(mtrace_thread_lane_);
}

/* The same; the shared one, too, where the straight way is closed. */
static MTRACE_HOT_ mtrace_lane_ *mtrace_lane_plain_(void) {
    return mtrace_lane_behind_(mtrace_thread_plain_lane_);
}

static MTRACE_HOT_ mtrace_lane_ *mtrace_lane_free_(void) {
    return mtrace_lane_behind_(mtrace_thread_free_lane_);
}

/* May the thread add to it without atomics? Not when a handler has interrupted an addition. */
static MTRACE_HOT_ bool mtrace_lane_is_own_(const mtrace_lane_ *lane) {
    return lane != mtrace_g_.lanes && !MTRACE_IS_BUSY_(lane);
}

/* Its own, or the shared one; that is the one for the few samples, too. */
static mtrace_lane_ *mtrace_lane_get_(void) {
    mtrace_lane_ *lane;
    if (mtrace_g_.sample_interval != 0) {
        return mtrace_lane_at_(0);
    }
    if (MTRACE_UNLIKELY_(mtrace_thread_lane_ == 0 && !mtrace_thread_has_joined_)) {
        mtrace_lane_join_();
    }
    lane = mtrace_lane_own_();
    return mtrace_lane_is_own_(lane) ? lane : mtrace_lane_at_(0);
}
#else
static MTRACE_HOT_ mtrace_lane_ *mtrace_lane_get_(void) {
    return mtrace_g_.lanes;
}

static MTRACE_HOT_ mtrace_lane_ *mtrace_lane_own_(void) {
    return mtrace_g_.lanes;
}

static MTRACE_HOT_ mtrace_lane_ *mtrace_lane_free_(void) {
    return mtrace_watcher_.call == NULL ? mtrace_g_.lanes : NULL;
}

static MTRACE_HOT_ mtrace_lane_ *mtrace_lane_plain_(void) {
    return MTRACE_CONTEXT_.session == 0 ? mtrace_lane_free_() : NULL;
}

static MTRACE_HOT_ bool mtrace_lane_is_own_(const mtrace_lane_ *lane) {
    return lane != NULL;
}
#endif

/* Can a lane of one's own take `size` bytes more without a look at the others? */
static MTRACE_HOT_ bool mtrace_lane_has_room_(const mtrace_lane_ *lane, uint64_t size) {
    return lane->bytes.value + (int64_t)size <= MTRACE_GET_(&lane->bytes.up) &&
           lane->blocks.value < MTRACE_GET_(&lane->blocks.up);
}

/* Is a lane of one's own, that something is about to leave, high enough to look at the others? */
static MTRACE_HOT_ bool mtrace_lane_is_high_(const mtrace_lane_ *lane) {
    return lane->bytes.value > MTRACE_GET_(&lane->bytes.down) ||
           lane->blocks.value > MTRACE_GET_(&lane->blocks.down);
}

/* A block of `size` bytes has come to an account: counted in a lane of the thread's own. */
static MTRACE_HOT_ void mtrace_add_in_(mtrace_lane_ *lane, uint32_t account, uint64_t size) {
    mtrace_cell_ *cell = &lane->cells[account];
    MTRACE_BUSY_(lane, 1);
    mtrace_cell_rebase_own_(cell);
    MTRACE_ADD_OWN_(&cell->total_bytes, size);
    MTRACE_ADD_OWN_(&cell->total_count, 1);
    MTRACE_ADD_OWN_(&lane->bytes.value, (int64_t)size);
    MTRACE_ADD_OWN_(&lane->blocks.value, 1);
    MTRACE_BUSY_(lane, 0);
}

static MTRACE_HOT_ void mtrace_add_out_(mtrace_lane_ *lane, uint32_t account, uint64_t size) {
    mtrace_cell_ *cell = &lane->cells[account];
    MTRACE_BUSY_(lane, 1);
    mtrace_cell_rebase_own_(cell);
    MTRACE_ADD_OWN_(&cell->freed_bytes, size);
    MTRACE_ADD_OWN_(&cell->freed_count, 1);
    MTRACE_SUB_OWN_(&lane->bytes.value, (int64_t)size);
    MTRACE_SUB_OWN_(&lane->blocks.value, 1);
    MTRACE_BUSY_(lane, 0);
}

/* The lane that keeps the variances of the shared one's cells while sampling: it is free then. */
static mtrace_cell_ *mtrace_variance_cell_(uint32_t account) {
    return &mtrace_lane_at_(MTRACE_OWN_LANES_ > 0 ? 1 : 0)->cells[account];
}

static void mtrace_cell_add_(mtrace_cell_ *cell, uint64_t bytes, uint64_t count, bool in) {
    mtrace_cell_rebase_(cell);
    MTRACE_ADD_(in ? &cell->total_bytes : &cell->freed_bytes, bytes);
    if (in) {
        MTRACE_ADD_(&cell->total_count, count);
    } else {
        MTRACE_ADD_(&cell->freed_count, (size_t)count);
    }
}

/* The same in the shared lane, which any thread may write. */
static MTRACE_COLD_ void mtrace_add_shared_(uint32_t account, uint64_t size, bool in) {
    mtrace_lane_ *lane = mtrace_lane_at_(0);
    mtrace_estimate_ e = mtrace_estimate_of_(size, mtrace_g_.sample_interval);
    mtrace_cell_add_(&lane->cells[account], e.bytes, e.count, in);
    if (mtrace_g_.sample_interval != 0) {
        mtrace_cell_add_(mtrace_variance_cell_(account), e.bytes_variance, e.count_variance, in);
    }
    MTRACE_ADD_(&lane->bytes.value, in ? (int64_t)e.bytes : -(int64_t)e.bytes);
    MTRACE_ADD_(&lane->blocks.value, in ? 1 : -1);
}

static void mtrace_lane_open_(const mtrace_lane_ *lane) {
    if (lane == mtrace_lane_at_(0) && !MTRACE_GET_(&mtrace_g_.shared_used)) {
        MTRACE_SET_(&mtrace_g_.shared_used, 1);
        mtrace_settle_();
    }
}

static void mtrace_count_in_(mtrace_lane_ *lane, uint32_t account, uint64_t size) {
    mtrace_lane_open_(lane);
    if (mtrace_lane_is_own_(lane)) {
        mtrace_add_in_(lane, account, size);
    } else {
        mtrace_add_shared_(account, size, true);
    }
    if (MTRACE_GET_(&lane->bytes.value) > MTRACE_GET_(&lane->bytes.up) ||
        MTRACE_GET_(&lane->blocks.value) > MTRACE_GET_(&lane->blocks.up)) {
        mtrace_settle_(); /* the gap is shared out anew, or the peak has been passed */
    }
}

/* It is about to go: freed, or on its way to another account. */
static void mtrace_count_out_(mtrace_lane_ *lane, uint32_t account, uint64_t size) {
    mtrace_lane_open_(lane);
    if (MTRACE_GET_(&lane->bytes.value) > MTRACE_GET_(&lane->bytes.down) ||
        MTRACE_GET_(&lane->blocks.value) > MTRACE_GET_(&lane->blocks.down)) {
        mtrace_peak_leave_();
    }
    if (mtrace_lane_is_own_(lane)) {
        mtrace_add_out_(lane, account, size);
    } else {
        mtrace_add_shared_(account, size, false);
    }
}

static uint64_t mtrace_events_(int event) {
    uint32_t i, n = mtrace_lane_total_();
    uint64_t sum = 0;
    for (i = 0; i < n; i++) {
        sum += MTRACE_GET_(&mtrace_lane_at_(i)->events[event]);
    }
    return sum;
}

static void mtrace_account_freed_(uint32_t account, uint64_t *bytes, size_t *count) {
    uint32_t i, n = mtrace_lane_total_();
    *bytes = 0;
    *count = 0;
    for (i = 0; i < n; i++) {
        const mtrace_cell_ *cell = &mtrace_lane_at_(i)->cells[account];
        *bytes += MTRACE_GET_ACQUIRE_(&cell->freed_bytes);
        *count += MTRACE_GET_ACQUIRE_(&cell->freed_count);
    }
}

/* Adds a cell, and what it held at the newest peak, but for what was freed. */
static MTRACE_HOT_ void mtrace_cell_sum_(const mtrace_cell_ *cell, size_t peak_number,
                                         mtrace_cell_ *out) {
    bool saved = MTRACE_GET_(&cell->peak_number) == peak_number;
    uint64_t bytes = MTRACE_GET_ACQUIRE_(&cell->total_bytes);
    uint64_t count = MTRACE_GET_ACQUIRE_(&cell->total_count);
    out->total_bytes += bytes;
    out->total_count += count;
    out->reallocs += MTRACE_GET_(&cell->reallocs);
    out->peak_bytes +=
        saved ? MTRACE_GET_(&cell->peak_bytes) : bytes - MTRACE_GET_(&cell->freed_bytes);
    out->peak_count +=
        saved ? MTRACE_GET_(&cell->peak_count) : (size_t)count - MTRACE_GET_(&cell->freed_count);
}

/* All but what was freed. */
static void mtrace_account_made_(uint32_t account, mtrace_cell_ *out) {
    uint32_t i, n = mtrace_lane_total_();
    size_t number = MTRACE_GET_ACQUIRE_(&mtrace_g_.peak_number);
    memset(out, 0, sizeof *out);
    for (i = 0; i < n; i++) {
        mtrace_cell_sum_(&mtrace_lane_at_(i)->cells[account], number, out);
    }
}

/* One account's counters over all lanes. What was freed is read first: whoever sees a free sees the
   allocation before it, so that live is never negative; and again at the end: when nothing was
   freed meanwhile, live was so at one moment. Where others leave no time for that, it is too large
   by what they freed during one reading, which takes tens of nanoseconds. */
static void mtrace_account_sum_(uint32_t account, mtrace_cell_ *out) {
    uint64_t bytes, bytes_after;
    size_t count, count_after;
    int left = 16;
    do {
        mtrace_account_freed_(account, &bytes, &count);
        mtrace_account_made_(account, out);
        mtrace_account_freed_(account, &bytes_after, &count_after);
    } while ((bytes != bytes_after || count != count_after) && --left > 0);
    out->freed_bytes = bytes;
    out->freed_count = count;
}

/* An account's variances, while sampling. */
static void mtrace_variance_sum_(uint32_t account, mtrace_cell_ *out) {
    const mtrace_cell_ *cell = mtrace_variance_cell_(account);
    memset(out, 0, sizeof *out);
    mtrace_cell_sum_(cell, MTRACE_GET_ACQUIRE_(&mtrace_g_.peak_number), out);
    out->freed_bytes = MTRACE_GET_(&cell->freed_bytes);
    out->freed_count = MTRACE_GET_(&cell->freed_count);
}

/* ============================================================================================== */
/* [SECTION] RECORD - one block comes, goes, or moves. Inner functions: the caller has the lock */
/* ============================================================================================== */

static MTRACE_HOT_ bool mtrace_is_watched_(void) {
    return MTRACE_HOSTED_ && mtrace_watcher_.call != NULL;
}

/* Called outside of the lock. */
static void mtrace_tell_(mtrace_event *event, const mtrace_site *site) {
    if (mtrace_is_watched_()) {
        event->site = site;
        mtrace_watcher_.call(event, mtrace_watcher_.user);
    }
}

static void mtrace_event_went_(mtrace_event *event, uint64_t size) {
    event->went_size += size;
    event->went++;
}

mtrace_watcher mtrace_get_watcher(void) {
    return mtrace_watcher_;
}

mtrace_watcher mtrace_watch(mtrace_watcher watcher) {
    mtrace_watcher before = mtrace_watcher_;
    mtrace_watcher_ = watcher;
    mtrace_context_set_(MTRACE_CONTEXT_);
    return before;
}

static MTRACE_COLD_ void mtrace_drop_(mtrace_lane_ *lane, uint32_t account, uint64_t size) {
    MTRACE_ADD_(&mtrace_g_.accounts[account].dropped_count, 1);
    MTRACE_ADD_(&mtrace_g_.accounts[account].dropped_bytes, size);
    MTRACE_ADD_(&lane->events[MTRACE_DROPS_], 1);
    MTRACE_ADD_(&lane->events[MTRACE_DROPPED_BYTES_], size);
}

/* A trace of this key is there already. In a tracked domain that is how a trace changes; in the
   heap the block was freed behind our back, and the allocator has handed its address out again. */
static MTRACE_NOINLINE_ void mtrace_replace_(mtrace_lane_ *lane, uintptr_t key, bool tracked,
                                             uint32_t domain, mtrace_event *event) {
    mtrace_trace_ stale;
    if (mtrace_take_(key, tracked, domain, &stale)) {
        mtrace_count_out_(lane, stale.account, stale.size);
        mtrace_event_went_(event, stale.size);
        MTRACE_ADD_(&lane->events[MTRACE_STALE_], tracked ? 0 : 1);
    }
}

/* The whole way, for any key and any state of the table. False: dropped, and counted so. */
static bool mtrace_add_(mtrace_lane_ *lane, uint32_t account, uintptr_t key, uint64_t size,
                        bool tracked, uint32_t domain, mtrace_event *event) {
    uint32_t home = mtrace_home_(key, tracked);
    mtrace_trace_ trace;
    mtrace_slot_ *slot = &mtrace_g_.slots[home];
    if (MTRACE_UNLIKELY_(MTRACE_GET_(&slot->displaced) != 0 ||
                         mtrace_slot_is_(slot, key, tracked, domain))) {
        mtrace_replace_(lane, key, tracked, domain, event);
    }
    trace.account = account;
    trace.size = size;
    trace.serial = 0;
    if (MTRACE_UNLIKELY_(mtrace_g_.serials != NULL)) {
        trace.serial = MTRACE_NEXT_(&mtrace_g_.serial);
    }
    /* "<other>" is of domain 0: a tracked key charged to it would not be found again */
    if (MTRACE_UNLIKELY_(size > MTRACE_MAX_SIZE_ || (tracked && account == MTRACE_ACCOUNT_OTHER_) ||
                         !mtrace_insert_(home, key, tracked, &trace))) {
        mtrace_drop_(lane, account, size);
        event->dropped_size = size;
        event->dropped = 1;
        return false;
    }
    mtrace_count_in_(lane, account, size);
    event->came_size = size;
    event->came = 1;
    return true;
}

/* `file:line: warning: ...` for a free of a pointer without a trace; then abort(), if asked for.
   Called outside the lock, before the block is freed. */
static MTRACE_COLD_ void mtrace_foreign_report_(uintptr_t block, const mtrace_site *site) {
    mtrace_text_ t;
    if (mtrace_text_default_(&t)) {
        mtrace_put_(&t, site == NULL || site->file == NULL ? mtrace_unknown_ : site->file);
        mtrace_put_char_(&t, ':');
        mtrace_put_number_(&t, site == NULL ? 0 : site->line);
        mtrace_put_(&t, ": warning: free of a pointer that is not traced: ");
        mtrace_put_number_(&t, block);
        mtrace_put_(&t, "\n");
    }
    if (mtrace_g_.foreign_free == MTRACE_FOREIGN_ABORT) {
        MTRACE_ABORT();
    }
}

/* Takes a heap block's trace out of the table; its counters stay as they are. */
static inline bool mtrace_remove_(uintptr_t block, mtrace_site *site, mtrace_trace_ *trace) {
    bool found;
    if (mtrace_filter_excludes_(block)) {
        return false;
    }
    MTRACE_LOCK();
    found = mtrace_take_(block, false, 0, trace);
    if (MTRACE_UNLIKELY_(!found && mtrace_g_.sample_interval == 0)) {
        MTRACE_ADD_(&mtrace_lane_get_()->events[MTRACE_FOREIGN_], 1);
    }
    MTRACE_UNLOCK();
    if (MTRACE_UNLIKELY_(!found && mtrace_g_.foreign_free != MTRACE_FOREIGN_COUNT)) {
        mtrace_foreign_report_(block, site);
    }
    return found;
}

/* The straight way of a new heap block: a known site, a thread with a lane, no scope, a free home
   slot that nothing else calls its home. False: it must go the whole way; nothing is done. `alone`
   is a constant: then no other thread's free could leave a peak unseen, limits do not matter. */
static MTRACE_HOT_ bool mtrace_add_fast_(mtrace_lane_ *lane, uintptr_t block, size_t size,
                                         const mtrace_site *site, bool alone) {
    mtrace_slot_ *slot;
    uint64_t account;
    if (MTRACE_UNLIKELY_(!mtrace_lane_is_own_(lane))) {
        return false;
    }
    slot = &mtrace_g_.slots[mtrace_home_(block, false)];
    account = mtrace_account_cached_(site);
    if (MTRACE_UNLIKELY_(account > 0xffff) ||
        MTRACE_UNLIKELY_(!alone && !mtrace_lane_has_room_(lane, size)) ||
        MTRACE_UNLIKELY_(!mtrace_slot_claim_fresh_(slot, alone))) {
        return false;
    }
    MTRACE_SET_(&slot->key, block);
    MTRACE_SET_(&slot->size_low, (uint32_t)size);
    MTRACE_SET_RELEASE_(&slot->account, (uint16_t)account);
    mtrace_add_in_(lane, (uint32_t)account, size);
    return true;
}

/* The whole way, and whoever watches is told. */
static MTRACE_NOINLINE_ void mtrace_record_in_(uint32_t domain, void *block, size_t size,
                                               mtrace_site *site) {
    mtrace_event event = MTRACE_ZERO_;
    if (block != NULL && mtrace_chosen_(size)) {
        event.frame = MTRACE_FRAME_();
        MTRACE_LOCK();
        mtrace_add_(mtrace_lane_get_(), mtrace_account_of_(site, domain), (uintptr_t)block, size,
                    false, 0, &event);
        MTRACE_UNLOCK();
        mtrace_tell_(&event, site);
    }
}

/* A watched thread was only turned away to be told: it goes the straight way from here. */
static MTRACE_NOINLINE_ void *mtrace_record_watched_(void *block, size_t size, mtrace_site *site) {
    mtrace_event event = MTRACE_ZERO_;
    mtrace_lane_ *lane = mtrace_lane_own_();
    bool done;
    MTRACE_LOCK();
    done = block != NULL && mtrace_add_fast_(lane, (uintptr_t)block, size, site, MTRACE_ALONE_());
    MTRACE_UNLOCK();
    if (MTRACE_UNLIKELY_(!done)) {
        mtrace_record_in_(MTRACE_INHERIT_, block, size, site);
        return block;
    }
    event.frame = MTRACE_FRAME_();
    event.came_size = size;
    event.came = 1;
    mtrace_tell_(&event, site);
    return block;
}

/* Returns the block, so that calling it is the last thing that the straight way does. */
static MTRACE_NOINLINE_ void *mtrace_record_wholly_(void *block, size_t size, mtrace_site *site) {
    if (mtrace_is_watched_() && size < mtrace_g_.fast_size && MTRACE_CONTEXT_.session == 0) {
        return mtrace_record_watched_(block, size, site);
    }
    mtrace_record_in_(MTRACE_INHERIT_, block, size, site);
    return block;
}

static MTRACE_HOT_ void *mtrace_record_fast_(void *block, size_t size, mtrace_site *site) {
    mtrace_lane_ *lane = mtrace_lane_plain_();
    bool done;
    MTRACE_LOCK();
    done = block != NULL &&
           (MTRACE_ALONE_() ? mtrace_add_fast_(lane, (uintptr_t)block, size, site, true)
                            : mtrace_add_fast_(lane, (uintptr_t)block, size, site, false));
    MTRACE_UNLOCK();
    return MTRACE_LIKELY_(done) ? block : mtrace_record_wholly_(block, size, site);
}

void mtrace_record_(void *block, size_t size, mtrace_site *site) {
    if (MTRACE_LIKELY_(size < mtrace_g_.fast_size)) {
        mtrace_record_fast_(block, size, site);
    } else if (!mtrace_passed_over_(size)) {
        mtrace_record_wholly_(block, size, site);
    }
}

/* Apart, so that who only passes on saves no registers. */
static MTRACE_NOINLINE_ void *mtrace_malloc_fast_(size_t size, mtrace_site *site) {
    return mtrace_record_fast_(MTRACE_BASE_MALLOC(size), size, site);
}

static MTRACE_NOINLINE_ void *mtrace_malloc_wholly_(size_t size, mtrace_site *site) {
    return mtrace_record_wholly_(MTRACE_BASE_MALLOC(size), size, site);
}

void *mtrace_malloc_(size_t size, mtrace_site *site) {
    return MTRACE_LIKELY_(size < mtrace_g_.fast_size) ? mtrace_malloc_fast_(size, site)
           : mtrace_passed_over_(size)                ? MTRACE_BASE_MALLOC(size)
                                                      : mtrace_malloc_wholly_(size, site);
}

void *mtrace_calloc_(size_t count, size_t size, mtrace_site *site) {
    void *block = MTRACE_BASE_CALLOC(count, size);
    mtrace_record_(block, count * size, site); /* a product that overflows gave NULL */
    return block;
}

void *mtrace_malloc_in_(uint32_t domain, size_t size, mtrace_site *site) {
    void *block = MTRACE_BASE_MALLOC(size);
    mtrace_record_in_(domain, block, size, site);
    return block;
}

void *mtrace_calloc_in_(uint32_t domain, size_t count, size_t size, mtrace_site *site) {
    void *block = MTRACE_BASE_CALLOC(count, size);
    mtrace_record_in_(domain, block, count * size, site);
    return block;
}

/* Takes a block of less than 4 GiB out of its home slot. Of two threads that free it only one gets
   it; who is alone need not ask. */
static MTRACE_HOT_ bool mtrace_slot_empty_(mtrace_slot_ *slot, uintptr_t block, uint16_t account,
                                           uint32_t *size) {
    if (MTRACE_ALONE_()) {
        *size = MTRACE_GET_(&slot->size_low);
        MTRACE_SET_RELEASE_(&slot->account, 0);
        return true;
    }
    if (MTRACE_UNLIKELY_(!MTRACE_CAS_(&slot->account, &account, MTRACE_ACCOUNT_BUSY_))) {
        return false;
    }
    if (MTRACE_UNLIKELY_(MTRACE_GET_(&slot->key) != block)) {
        MTRACE_SET_RELEASE_(&slot->account, account); /* another's by now: see mtrace_clear */
        return false;
    }
    *size = MTRACE_GET_(&slot->size_low);
    MTRACE_SET_RELEASE_(&slot->account, 0);
    return true;
}

/* The straight way of a free: the trace is in its home slot, the thread has a lane, and no peak is
   about to be left. False: not done. */
static MTRACE_HOT_ bool mtrace_forget_fast_(mtrace_lane_ *lane, uintptr_t block, uint32_t *size) {
    mtrace_slot_ *slot;
    uint16_t account;
    if (MTRACE_UNLIKELY_(!mtrace_lane_is_own_(lane))) {
        return false;
    }
    slot = &mtrace_g_.slots[mtrace_heap_home_(block)];
    account = MTRACE_GET_ACQUIRE_(&slot->account);
    if (MTRACE_UNLIKELY_(MTRACE_GET_(&slot->key) != block) ||
        MTRACE_UNLIKELY_(!mtrace_slot_live_(account)) ||
        MTRACE_UNLIKELY_(MTRACE_GET_(&slot->size_high) != 0) ||
        MTRACE_UNLIKELY_(mtrace_lane_is_high_(lane)) ||
        !mtrace_slot_empty_(slot, block, account, size)) {
        return false;
    }
    mtrace_add_out_(lane, account, *size);
    return true;
}

static bool mtrace_forget_watched_(uintptr_t block, uint64_t *size) {
    uint32_t found = 0;
    bool done;
    if (!mtrace_is_watched_() || mtrace_g_.filter != NULL) {
        return false;
    }
    MTRACE_LOCK();
    done = mtrace_forget_fast_(mtrace_lane_own_(), block, &found);
    MTRACE_UNLOCK();
    *size = found;
    return done;
}

static MTRACE_HOT_ void mtrace_forget_(uintptr_t block, mtrace_site *site) {
    mtrace_event event = MTRACE_ZERO_;
    mtrace_trace_ trace;
    event.frame = MTRACE_FRAME_();
    if (!mtrace_forget_watched_(block, &trace.size)) {
        if (!mtrace_remove_(block, site, &trace)) {
            return;
        }
        MTRACE_LOCK();
        mtrace_count_out_(mtrace_lane_get_(), trace.account, trace.size);
        MTRACE_UNLOCK();
    }
    mtrace_event_went_(&event, trace.size);
    mtrace_tell_(&event, site);
}

static MTRACE_NOINLINE_ void mtrace_free_wholly_(void *block, mtrace_site *site) {
    if (block != NULL) {
        mtrace_forget_((uintptr_t)block, site);
        MTRACE_BASE_FREE(block);
    }
}

static MTRACE_NOINLINE_ void mtrace_free_sampling_(void *block, mtrace_site *site) {
    if (MTRACE_LIKELY_(mtrace_filter_excludes_((uintptr_t)block))) {
        MTRACE_BASE_FREE(block);
    } else {
        mtrace_free_wholly_(block, site);
    }
}

/* The trace is gone before the block is: else another thread could get the address, record it, and
   lose its record (CPython's tracemalloc has this fault). */
void mtrace_free_(void *block, mtrace_site *site) {
    mtrace_lane_ *lane = mtrace_lane_free_();
    uint32_t size;
    bool done;
    if (MTRACE_UNLIKELY_(mtrace_g_.filter != NULL)) {
        mtrace_free_sampling_(block, site);
        return;
    }
    MTRACE_LOCK();
    done = block != NULL && mtrace_forget_fast_(lane, (uintptr_t)block, &size);
    MTRACE_UNLOCK();
    if (MTRACE_UNLIKELY_(!done)) {
        mtrace_free_wholly_(block, site);
        return;
    }
    MTRACE_BASE_FREE(block);
}

/* The realloc failed: the trace goes back as it was. */
static void mtrace_put_back_(uintptr_t block, const mtrace_trace_ *trace, mtrace_event *event) {
    MTRACE_LOCK();
    if (!mtrace_insert_(mtrace_home_(block, false), block, false, trace)) {
        mtrace_count_out_(mtrace_lane_get_(), trace->account, trace->size);
        mtrace_drop_(mtrace_lane_get_(), trace->account, trace->size);
        mtrace_event_went_(event, trace->size);
        event->dropped_size = trace->size;
        event->dropped = 1;
    }
    MTRACE_UNLOCK();
}

/* The realloc is done. `old` NULL: the block had no trace and comes into `domain`. Paused, a trace
   keeps its line. */
static void mtrace_moved_(uint32_t domain, uintptr_t block, size_t size, mtrace_site *site,
                          const mtrace_trace_ *old, mtrace_event *event) {
    mtrace_lane_ *lane;
    uint32_t account;
    bool recording = (MTRACE_STATE_() & 2) != 0;
    bool chosen = (old != NULL || recording) && mtrace_chosen_(size);
    if (old == NULL && !chosen) {
        return;
    }
    MTRACE_LOCK();
    lane = mtrace_lane_get_();
    if (old != NULL && recording) {
        domain = mtrace_g_.accounts[old->account].domain;
    }
    account = recording ? mtrace_account_of_(site, domain) : old->account;
    if (old != NULL) {
        mtrace_count_out_(lane, old->account, old->size);
        mtrace_event_went_(event, old->size);
    }
    if (chosen && mtrace_add_(lane, account, block, size, false, 0, event)) {
        MTRACE_ADD_(&lane->cells[account].reallocs, 1);
    }
    MTRACE_UNLOCK();
}

void *mtrace_realloc_in_(uint32_t domain, void *block, size_t size, mtrace_site *site) {
    mtrace_trace_ trace;
    mtrace_event event = MTRACE_ZERO_;
    uintptr_t old = (uintptr_t)block; /* the number outlives the block */
    bool known;
    void *moved;
    if (block == NULL) {
        return domain == MTRACE_INHERIT_ ? mtrace_malloc_at(size, site)
                                         : mtrace_malloc_in_at(domain, size, site);
    }
    if (size == 0) {
        mtrace_free_(block, site);
        return NULL;
    }
    event.frame = MTRACE_FRAME_();
    known = mtrace_remove_(old, site, &trace);
    moved = MTRACE_BASE_REALLOC(block, size);
    if (moved != NULL) {
        mtrace_moved_(domain, (uintptr_t)moved, size, site, known ? &trace : NULL, &event);
    } else if (known) {
        mtrace_put_back_(old, &trace, &event);
    }
    if (event.came + event.went + event.dropped != 0) {
        mtrace_tell_(&event, site);
    }
    return moved;
}

void *mtrace_realloc_(void *block, size_t size, mtrace_site *site) {
    return mtrace_realloc_in_(MTRACE_INHERIT_, block, size, site);
}

char *mtrace_strndup_at(const char *text, size_t length, mtrace_site *site) {
    const char *end = (const char *)memchr(text, 0, length);
    size_t size = end != NULL ? (size_t)(end - text) : length;
    char *copy = (char *)mtrace_malloc_at(size + 1, site);
    if (copy != NULL) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

char *mtrace_strdup_at(const char *text, mtrace_site *site) {
    return mtrace_strndup_at(text, strlen(text), site);
}

mtrace_result mtrace_track_at(uint32_t domain, uintptr_t key, uint64_t size, mtrace_site *site) {
    mtrace_event event = MTRACE_ZERO_;
    bool kept;
    if (domain == MTRACE_INHERIT_) {
        return MTRACE_ERR_ARGUMENT;
    }
    if ((MTRACE_STATE_() & 2) == 0) {
        return MTRACE_ERR_NOT_TRACING;
    }
    if (!mtrace_chosen_(size)) {
        return MTRACE_OK;
    }
    event.frame = MTRACE_FRAME_();
    MTRACE_LOCK();
    kept = mtrace_add_(mtrace_lane_get_(), mtrace_account_of_(MTRACE_SITE_(site), domain), key,
                       size, domain != 0, domain, &event);
    MTRACE_UNLOCK();
    mtrace_tell_(&event, MTRACE_SITE_(site));
    return kept ? MTRACE_OK : MTRACE_ERR_FULL;
}

mtrace_result mtrace_untrack_at(uint32_t domain, uintptr_t key, mtrace_site *site) {
    mtrace_trace_ trace;
    mtrace_event event = MTRACE_ZERO_;
    bool found;
    if (MTRACE_STATE_() == 0) {
        return MTRACE_ERR_NOT_TRACING;
    }
    MTRACE_LOCK();
    found = mtrace_take_(key, domain != 0, domain, &trace);
    if (found) {
        mtrace_count_out_(mtrace_lane_get_(), trace.account, trace.size);
    }
    MTRACE_UNLOCK();
    if (found) {
        event.frame = MTRACE_FRAME_();
        mtrace_event_went_(&event, trace.size);
        mtrace_tell_(&event, MTRACE_SITE_(site));
    }
    return found || mtrace_g_.sample_interval != 0 ? MTRACE_OK : MTRACE_ERR_NOT_FOUND;
}

/* ============================================================================================== */
/* [SECTION] LIFE - start, stop, clear; the layout of the tracer's memory */
/* ============================================================================================== */

typedef struct mtrace_layout_ {
    size_t capacity, accounts, places, nodes, name_slots, name_bytes; /* how many of each */
    size_t lanes, cells, account, place, node, index, names, pool, filter, serials,
        slots; /* where */
    size_t end;
} mtrace_layout_;

enum { MTRACE_LINE_ = 64 };

/* Puts a part behind the others, on a cache line; SIZE_MAX when it does not fit in an address
 * space. */
static size_t mtrace_layout_part_(size_t *end, size_t count, size_t size) {
    size_t at = *end;
    size_t bytes = mtrace_array_size_(count, size);
    if (at > SIZE_MAX / 4 || bytes > SIZE_MAX / 4) {
        *end = SIZE_MAX;
        return SIZE_MAX;
    }
    *end = (at + bytes + MTRACE_LINE_ - 1) / MTRACE_LINE_ * MTRACE_LINE_;
    return at;
}

static void mtrace_layout_parts_(mtrace_layout_ *l, const mtrace_desc *desc) {
    size_t lanes = MTRACE_OWN_LANES_ + 1;
    l->end = 0;
    l->lanes = mtrace_layout_part_(&l->end, lanes, sizeof(mtrace_lane_));
    l->cells = mtrace_layout_part_(&l->end, lanes * l->accounts, sizeof(mtrace_cell_));
    l->account = mtrace_layout_part_(&l->end, l->accounts, sizeof(mtrace_account_));
    l->place = mtrace_layout_part_(&l->end, l->places, sizeof(mtrace_place_));
    l->node = mtrace_layout_part_(&l->end, l->nodes, sizeof(mtrace_node_));
    l->index =
        mtrace_layout_part_(&l->end, 2 * (l->accounts + l->places + l->nodes), sizeof(uint16_t));
    l->names = mtrace_layout_part_(&l->end, l->name_slots, sizeof(const char *));
    l->pool = mtrace_layout_part_(&l->end, l->name_bytes, 1);
    l->filter = mtrace_layout_part_(
        &l->end, desc->sample_interval != 0 ? (size_t)1 << MTRACE_FILTER_BITS_ : 0, 1);
    l->serials = mtrace_layout_part_(&l->end, desc->serials ? l->capacity : 0, sizeof(uint64_t));
    l->slots = mtrace_layout_part_(&l->end, l->capacity, sizeof(mtrace_slot_));
}

/* The least power of two that is not below n; at most 2^31. */
static size_t mtrace_power_of_two_(size_t n) {
    size_t power = MTRACE_LINE_SLOTS_;
    while (power < n && power < (size_t)1 << 31) {
        power *= 2;
    }
    return power;
}

/* Sizes for `sites` call sites and `capacity` slots. */
static void mtrace_layout_for_(mtrace_layout_ *l, const mtrace_desc *desc, size_t sites,
                               size_t capacity) {
    l->capacity = capacity;
    size_t nodes = desc->frames <= 1 ? 0 : desc->max_scopes != 0 ? desc->max_scopes : sites;
    size_t places = sites + nodes;
    l->accounts = sites + MTRACE_FIRST_;
    l->nodes = nodes + MTRACE_FIRST_;
    l->places = (places < 65533 ? places : 65533) + MTRACE_FIRST_;
    l->name_slots = 2 * l->places;
    l->name_bytes = desc->borrow_names ? 0 : desc->name_bytes != 0 ? desc->name_bytes : 16 * sites;
    mtrace_layout_parts_(l, desc);
}

/* With memory given and something left open: sites get a quarter of it, slots what is left. */
static void mtrace_layout_fit_(mtrace_layout_ *l, const mtrace_desc *desc, size_t room) {
    size_t sites = desc->max_sites, capacity = desc->capacity;
    size_t slot = sizeof(mtrace_slot_) + (desc->serials ? sizeof(uint64_t) : 0);
    if (sites == 0) {
        size_t one, none;
        mtrace_layout_for_(l, desc, 64, 0);
        one = l->end;
        mtrace_layout_for_(l, desc, 0, 0);
        none = l->end;
        sites = room / 4 > none ? (room / 4 - none) * 64 / (one - none) : 0;
        sites = sites < 8 ? 8 : sites > 4096 ? 4096 : sites;
    }
    mtrace_layout_for_(l, desc, sites, capacity == 0 ? 0 : mtrace_power_of_two_(capacity));
    if (capacity == 0 && l->end + 2 * MTRACE_LINE_ < room) {
        capacity = (room - l->end - 2 * MTRACE_LINE_) / slot;
        mtrace_layout_for_(l, desc, sites, mtrace_power_of_two_(capacity / 2 + 1));
    }
}

/* Samples are few, and a table that fits a processor's cache makes frees fast. */
static void mtrace_layout_default_(mtrace_layout_ *l, const mtrace_desc *desc) {
    size_t capacity = desc->capacity != 0          ? desc->capacity
                      : desc->sample_interval != 0 ? 16384
                      : sizeof(void *) > 4         ? 1048576
                                                   : 262144;
    mtrace_layout_for_(l, desc, desc->max_sites != 0 ? desc->max_sites : 4096,
                       mtrace_power_of_two_(capacity));
}

static bool mtrace_desc_samples_(const mtrace_desc *desc) {
    return MTRACE_CAN_SAMPLE_ && desc->sample_interval >= 1024 &&
           desc->sample_interval <= MTRACE_MAX_INTERVAL_ &&
           desc->foreign_free == MTRACE_FOREIGN_COUNT;
}

static bool mtrace_desc_valid_(const mtrace_desc *desc) {
    return desc->capacity <= (size_t)1 << 31 && desc->max_sites <= 65533 &&
           desc->max_scopes <= 65533 && desc->frames <= 65535 &&
           (unsigned)desc->foreign_free <= MTRACE_FOREIGN_ABORT && desc->name_bytes <= UINT32_MAX &&
           (desc->memory != NULL || desc->memory_size == 0) &&
           (desc->sample_interval == 0 || mtrace_desc_samples_(desc));
}

static unsigned char *mtrace_align_(void *memory) {
    unsigned char *p = (unsigned char *)memory;
    return p + (MTRACE_LINE_ - (uintptr_t)p % MTRACE_LINE_) % MTRACE_LINE_;
}

/* Zeroes memory without making pages of zeros resident. */
static void mtrace_zero_(unsigned char *memory, size_t size) {
    uintptr_t *word = (uintptr_t *)(void *)memory;
    size_t i, n = size / sizeof *word;
    for (i = 0; i < n; i++) {
        if (word[i] != 0) {
            word[i] = 0;
        }
    }
}

/* The kept block when it is large enough, else a new one; NULL when the system has none. */
static unsigned char *mtrace_system_block_(size_t size) {
    mtrace_tracer_ *g = &mtrace_g_;
    if (g->system_size < size) {
        void *memory = mtrace_system_alloc_(size);
        if (memory == NULL) {
            return NULL;
        }
        g->system_memory = memory;
        g->system_size = size;
        MTRACE_ADD_(&g->own_memory, size);
    } else {
        mtrace_zero_((unsigned char *)g->system_memory, g->system_dirty);
    }
    g->system_dirty = size;
    return (unsigned char *)g->system_memory;
}

static mtrace_result mtrace_get_block_(const mtrace_desc *desc, mtrace_layout_ *l,
                                       unsigned char **block) {
    if (desc->memory == NULL) {
        mtrace_layout_default_(l, desc);
        *block = l->end == SIZE_MAX ? NULL : mtrace_system_block_(l->end);
        return *block == NULL ? MTRACE_ERR_NO_MEMORY : MTRACE_OK;
    }
    *block = mtrace_align_(desc->memory);
    if (desc->memory_size < MTRACE_LINE_) {
        return MTRACE_ERR_NO_MEMORY;
    }
    mtrace_layout_fit_(l, desc,
                       desc->memory_size - (size_t)(*block - (unsigned char *)desc->memory));
    if (l->capacity == 0 ||
        l->end > desc->memory_size - (size_t)(*block - (unsigned char *)desc->memory)) {
        return MTRACE_ERR_NO_MEMORY;
    }
    mtrace_zero_(*block, l->end);
    mtrace_g_.given_memory = desc->memory_size;
    mtrace_g_.own_memory += desc->memory_size;
    return MTRACE_OK;
}

/* A pool of `max` numbers, the first ones given; its index begins at *index. */
static void mtrace_wire_pool_(mtrace_pool_ *pool, uint16_t **index, size_t max) {
    pool->index = *index;
    pool->index_slots = (uint32_t)(2 * max);
    pool->max = (uint32_t)max;
    pool->count = MTRACE_FIRST_;
    *index += 2 * max;
}

static uint32_t mtrace_bits_(uint32_t value) {
    uint32_t bits = 0;
    for (; value != 0; value >>= 1) {
        bits++;
    }
    return bits;
}

/* Points the tracer into its block. */
static void mtrace_wire_(const mtrace_layout_ *l, unsigned char *block) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint16_t *index = (uint16_t *)(void *)(block + l->index);
    uint32_t i;
    g->lanes = (mtrace_lane_ *)(void *)(block + l->lanes);
    g->accounts = (mtrace_account_ *)(void *)(block + l->account);
    g->places = (mtrace_place_ *)(void *)(block + l->place);
    g->nodes = (mtrace_node_ *)(void *)(block + l->node);
    g->names = (const char **)(void *)(block + l->names);
    g->name_pool = (char *)(block + l->pool);
    g->filter = l->filter == l->serials ? NULL : (uint8_t *)(block + l->filter);
    g->serials = l->serials == l->slots ? NULL : (uint64_t *)(void *)(block + l->serials);
    g->slots = (mtrace_slot_ *)(void *)(block + l->slots);
    g->mask = (uint32_t)(l->capacity - 1);
    g->hash_shift = (uint32_t)(sizeof(uintptr_t) * 8) - mtrace_bits_(g->mask);
    /* the offset of a block has its page's number in its high bits: taken off beforehand */
    g->page_factor = MTRACE_GOLDEN_ - ((uintptr_t)MTRACE_PAGE_SLOTS_ << g->hash_shift);
    g->name_slots = (uint32_t)l->name_slots;
    g->name_bytes = (uint32_t)l->name_bytes;
    mtrace_wire_pool_(&g->account_pool, &index, l->accounts);
    mtrace_wire_pool_(&g->place_pool, &index, l->places);
    mtrace_wire_pool_(&g->node_pool, &index, l->nodes);
    for (i = 0; i <= MTRACE_OWN_LANES_; i++) {
        g->lanes[i].cells = (mtrace_cell_ *)(void *)(block + l->cells) + i * l->accounts;
    }
    g->places[0].file = mtrace_unknown_;
    g->places[MTRACE_PLACE_OTHER_].file = "<other>";
    g->accounts[MTRACE_ACCOUNT_OTHER_].place = MTRACE_PLACE_OTHER_;
}

static void mtrace_reset_counters_(void) {
    mtrace_tracer_ *g = &mtrace_g_;
    g->longest_probe = 0;
    g->name_used = 0;
    g->lost_names = 0;
    g->lost_scopes = 0;
    g->peak = 0;
    g->peak_number = 1;
    g->high_water = 0;
    g->serial = 0;
    g->generation++;
    g->shared_used = MTRACE_ATOMICS_ ? 0 : 1;
    mtrace_settle_();
}

/* No lane of a thread's own is used then, lest a free goes the straight way. */
static void mtrace_start_sampling_(const mtrace_desc *desc) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint32_t i;
    g->sample_interval = desc->sample_interval;
    g->sample_seed = desc->sample_seed;
    g->samplers = 0;
    for (i = 1; desc->sample_interval != 0 && i <= MTRACE_OWN_LANES_; i++) {
        g->lanes[i].bytes.down = INT64_MIN;
    }
}

static mtrace_result mtrace_start_(const mtrace_desc *desc) {
    mtrace_tracer_ *g = &mtrace_g_;
    mtrace_layout_ layout;
    unsigned char *block;
    mtrace_result result;
    if (MTRACE_STATE_() != 0) {
        return MTRACE_ERR_ALREADY;
    }
    result = mtrace_get_block_(desc, &layout, &block);
    if (result != MTRACE_OK) {
        return result;
    }
    mtrace_wire_(&layout, block);
    mtrace_start_sampling_(desc);
    mtrace_reset_counters_();
    g->frames = desc->frames == 0 ? 1 : desc->frames;
    g->foreign_free = desc->foreign_free;
    g->borrow_names = desc->borrow_names;
    g->write = desc->write;
    g->write_user = desc->write_user;
    MTRACE_SET_(&g->session, g->session + ((uint64_t)1 << 32));
    g->fast_size = g->serials != NULL || g->sample_interval != 0 ? 0 : (uint64_t)1 << 32;
    MTRACE_SET_RELEASE_(mtrace_state_, 3);
    return MTRACE_OK;
}

mtrace_result mtrace_start(const mtrace_desc *desc) {
    static const mtrace_desc defaults = MTRACE_ZERO_;
    mtrace_result result;
    desc = desc == NULL ? &defaults : desc;
    if (!mtrace_desc_valid_(desc)) {
        return MTRACE_ERR_ARGUMENT;
    }
    mtrace_control_lock_();
    result = mtrace_start_(desc);
    mtrace_control_unlock_();
    return result;
}

size_t mtrace_memory_size(const mtrace_desc *desc) {
    static const mtrace_desc defaults = MTRACE_ZERO_;
    mtrace_layout_ layout;
    mtrace_layout_default_(&layout, desc == NULL ? &defaults : desc);
    return layout.end > SIZE_MAX - 3 * MTRACE_LINE_ ? SIZE_MAX : layout.end + 3 * MTRACE_LINE_;
}

void mtrace_stop(void) {
    mtrace_control_lock_();
    MTRACE_SET_(mtrace_state_, 0);
    mtrace_g_.own_memory -= mtrace_g_.given_memory;
    mtrace_g_.given_memory = 0;
    mtrace_control_unlock_();
}

/* Changes the state of a started tracer. */
static mtrace_result mtrace_switch_(unsigned char state) {
    unsigned char old = MTRACE_GET_(mtrace_state_);
    do {
        if (old == 0) {
            return MTRACE_ERR_NOT_TRACING;
        }
    } while (!MTRACE_CAS_(mtrace_state_, &old, state));
    return MTRACE_OK;
}

mtrace_result mtrace_pause(void) {
    mtrace_result result;
    MTRACE_LOCK();
    result = mtrace_switch_(1);
    MTRACE_UNLOCK();
    return result;
}

mtrace_result mtrace_resume(void) {
    mtrace_result result;
    MTRACE_LOCK();
    result = mtrace_switch_(3);
    MTRACE_UNLOCK();
    return result;
}

static void mtrace_reset_peak_(void) {
    mtrace_tracer_ *g = &mtrace_g_;
    MTRACE_SET_(&g->peak, mtrace_not_negative_(mtrace_held_bytes_()));
    MTRACE_ADD_(&g->peak_number, 1);
    mtrace_settle_();
}

void mtrace_reset_peak(void) {
    MTRACE_LOCK();
    if (MTRACE_STATE_() != 0) {
        mtrace_reset_peak_();
    }
    MTRACE_UNLOCK();
}

/* Takes every trace out, as if all blocks were freed now: what other threads do meanwhile stays
 * right. */
static void mtrace_clear_traces_(void) {
    mtrace_tracer_ *g = &mtrace_g_;
    mtrace_lane_ *lane = mtrace_lane_get_();
    mtrace_trace_ trace;
    uint32_t at;
    for (at = 0; at <= g->mask; at++) {
        mtrace_slot_ *slot = &g->slots[at];
        uintptr_t key = MTRACE_GET_(&slot->key);
        if (mtrace_slot_live_(MTRACE_GET_ACQUIRE_(&slot->account)) &&
            mtrace_slot_take_(at, mtrace_slot_home_(slot), key, &trace)) {
            mtrace_count_out_(lane, trace.account, trace.size);
        }
    }
}

static void mtrace_cell_clear_(mtrace_cell_ *cell, const mtrace_cell_ *sum) {
    MTRACE_ADD_(&cell->total_bytes, 0 - sum->freed_bytes);
    MTRACE_ADD_(&cell->freed_bytes, 0 - sum->freed_bytes);
    MTRACE_ADD_(&cell->total_count, 0 - (uint64_t)sum->freed_count);
    MTRACE_ADD_(&cell->freed_count, 0 - sum->freed_count);
    MTRACE_ADD_(&cell->reallocs, 0 - sum->reallocs);
}

/* Counters cannot be set to zero while their threads add to them: the shared lane takes the
 * difference. */
static void mtrace_clear_counters_(void) {
    mtrace_tracer_ *g = &mtrace_g_;
    mtrace_lane_ *lane = mtrace_lane_at_(0);
    uint32_t i;
    for (i = MTRACE_ACCOUNT_OTHER_; i < MTRACE_GET_(&g->account_pool.count); i++) {
        mtrace_account_ *account = &g->accounts[i];
        mtrace_cell_ sum;
        mtrace_account_sum_(i, &sum);
        mtrace_cell_clear_(&lane->cells[i], &sum);
        if (g->sample_interval != 0) {
            mtrace_variance_sum_(i, &sum);
            mtrace_cell_clear_(mtrace_variance_cell_(i), &sum);
        }
        MTRACE_ADD_(&account->dropped_count, 0 - MTRACE_GET_(&account->dropped_count));
        MTRACE_ADD_(&account->dropped_bytes, 0 - MTRACE_GET_(&account->dropped_bytes));
    }
    for (i = 0; i < MTRACE_EVENTS_; i++) {
        MTRACE_ADD_(&lane->events[i], 0 - mtrace_events_((int)i));
    }
    MTRACE_SET_(&g->lost_names, 0);
    MTRACE_SET_(&g->lost_scopes, 0);
    MTRACE_ADD_(&g->generation, 1);
}

void mtrace_clear(void) {
    mtrace_control_lock_();
    if (MTRACE_STATE_() != 0) {
        mtrace_clear_traces_();
        mtrace_clear_counters_();
        mtrace_reset_peak_();
        MTRACE_SET_(&mtrace_g_.high_water, mtrace_not_negative_(mtrace_held_blocks_()));
        mtrace_settle_();
    }
    mtrace_control_unlock_();
}

bool mtrace_is_tracing(void) {
    return (MTRACE_STATE_() & 2) != 0;
}

/* The latest name of a domain, NULL when it has none. */
static const mtrace_domain_name_ *mtrace_domain_name_of_(uint32_t domain) {
    uint32_t i = MTRACE_GET_ACQUIRE_(&mtrace_g_.domain_names);
    while (i-- > 0) {
        if (mtrace_g_.domains[i].domain == domain) {
            return &mtrace_g_.domains[i];
        }
    }
    return NULL;
}

/* Names are only ever added, so that readers need no lock. */
mtrace_result mtrace_name_domain(uint32_t domain, const char *name) {
    mtrace_tracer_ *g = &mtrace_g_;
    mtrace_result result = MTRACE_ERR_FULL;
    const mtrace_domain_name_ *old;
    if (name == NULL || strlen(name) >= MTRACE_DOMAIN_NAME_BYTES) {
        return MTRACE_ERR_ARGUMENT;
    }
    mtrace_control_lock_();
    old = mtrace_domain_name_of_(domain);
    if (old != NULL && strcmp(old->name, name) == 0) {
        result = MTRACE_OK;
    } else if (g->domain_names < MTRACE_MAX_DOMAIN_NAMES) {
        mtrace_domain_name_ *entry = &g->domains[g->domain_names];
        entry->domain = domain;
        memcpy(entry->name, name, strlen(name) + 1);
        MTRACE_SET_RELEASE_(&g->domain_names, g->domain_names + 1);
        result = MTRACE_OK;
    }
    mtrace_control_unlock_();
    return result;
}

/* ============================================================================================== */
/* [SECTION] LOOK - totals, the tracer's state, single blocks */
/* ============================================================================================== */

static mtrace_traced_memory mtrace_traced_memory_(void) {
    mtrace_traced_memory memory = MTRACE_ZERO_;
    uint64_t peak;
    if (MTRACE_STATE_() != 0) {
        memory.current = mtrace_not_negative_(mtrace_held_bytes_());
        peak = MTRACE_GET_(&mtrace_g_.peak);
        memory.peak = peak > memory.current ? peak : memory.current;
    }
    return memory;
}

mtrace_traced_memory mtrace_get_traced_memory(void) {
    mtrace_traced_memory memory;
    MTRACE_LOCK();
    memory = mtrace_traced_memory_();
    MTRACE_UNLOCK();
    return memory;
}

size_t mtrace_get_tracer_memory(void) {
    return MTRACE_GET_(&mtrace_g_.own_memory);
}

static mtrace_info mtrace_info_(void) {
    mtrace_tracer_ *g = &mtrace_g_;
    mtrace_info info = MTRACE_ZERO_;
    mtrace_cell_ other;
    uint64_t high;
    if (MTRACE_STATE_() == 0) {
        return info;
    }
    mtrace_account_sum_(MTRACE_ACCOUNT_OTHER_, &other);
    high = MTRACE_GET_(&g->high_water);
    info.capacity = (size_t)g->mask + 1;
    info.live = (size_t)mtrace_not_negative_(mtrace_held_blocks_());
    info.high_water = high > info.live ? (size_t)high : info.live;
    info.longest_probe = MTRACE_GET_(&g->longest_probe);
    info.max_sites = g->account_pool.max - MTRACE_FIRST_;
    info.sites = MTRACE_GET_(&g->account_pool.count) - MTRACE_FIRST_;
    info.max_scopes = g->node_pool.max - MTRACE_FIRST_;
    info.scopes = MTRACE_GET_(&g->node_pool.count) - MTRACE_FIRST_;
    info.lost_scopes = MTRACE_GET_(&g->lost_scopes);
    info.dropped_count = mtrace_events_(MTRACE_DROPS_);
    info.dropped_bytes = mtrace_events_(MTRACE_DROPPED_BYTES_);
    info.foreign_frees = mtrace_events_(MTRACE_FOREIGN_);
    info.stale_replaced = mtrace_events_(MTRACE_STALE_);
    info.lost_sites = mtrace_whole_(other.total_count);
    info.lost_names = MTRACE_GET_(&g->lost_names);
    info.tracer_memory = MTRACE_GET_(&g->own_memory);
    info.sample_interval = g->sample_interval;
    info.frames = g->frames;
    return info;
}

mtrace_info mtrace_get_info(void) {
    mtrace_info info;
    MTRACE_LOCK();
    info = mtrace_info_();
    MTRACE_UNLOCK();
    return info;
}

/* Copies the trace in a slot; false when it holds none, or changed under our eyes. */
static bool mtrace_slot_read_(uint32_t at, mtrace_trace_ *trace, uintptr_t *key, bool *tracked) {
    mtrace_tracer_ *g = &mtrace_g_;
    mtrace_slot_ *slot = &g->slots[at];
    uint16_t account = MTRACE_GET_ACQUIRE_(&slot->account);
    if (!mtrace_slot_live_(account)) {
        return false;
    }
    *key = MTRACE_GET_ACQUIRE_(&slot->key);
    *tracked = (MTRACE_GET_(&slot->size_high) & MTRACE_TRACKED_) != 0;
    trace->account = account;
    trace->size = mtrace_slot_size_(slot);
    trace->serial = g->serials == NULL ? 0 : MTRACE_GET_(&g->serials[at]);
    MTRACE_FENCE_();
    return MTRACE_GET_(&slot->account) == account && MTRACE_GET_(&slot->key) == *key;
}

static mtrace_result mtrace_find_key_(uint32_t domain, uintptr_t key, mtrace_trace_ *trace) {
    uintptr_t found;
    bool tracked = domain != 0, is_tracked;
    uint32_t at;
    if (MTRACE_STATE_() == 0) {
        return MTRACE_ERR_NOT_TRACING;
    }
    at = mtrace_find_slot_(mtrace_home_(key, tracked), key, tracked, domain);
    if (at == MTRACE_NONE_ || !mtrace_slot_read_(at, trace, &found, &is_tracked) || found != key) {
        return MTRACE_ERR_NOT_FOUND;
    }
    return MTRACE_OK;
}

static void mtrace_block_fill_(mtrace_block *out, uintptr_t key, const mtrace_trace_ *trace) {
    const mtrace_account_ *account = &mtrace_g_.accounts[trace->account];
    const mtrace_place_ *place = &mtrace_g_.places[account->place];
    memset(out, 0, sizeof *out);
    out->address = key;
    out->size = trace->size;
    out->serial = trace->serial;
    out->file = place->file;
    out->function = place->function;
    out->type = place->type;
    out->line = place->line;
    out->domain = account->domain;
    out->traceback.total = mtrace_traceback_total_(account);
}

mtrace_result mtrace_find(const void *block, mtrace_block *out) {
    return mtrace_find_tracked(0, (uintptr_t)block, out);
}

mtrace_result mtrace_find_tracked(uint32_t domain, uintptr_t key, mtrace_block *out) {
    mtrace_trace_ trace;
    mtrace_result result;
    MTRACE_LOCK();
    result = mtrace_find_key_(domain, key, &trace);
    if (result == MTRACE_OK) {
        mtrace_block_fill_(out, key, &trace);
    }
    MTRACE_UNLOCK();
    return result;
}

mtrace_result mtrace_find_traceback(uint32_t domain, uintptr_t key, mtrace_frame *frames,
                                    size_t room, mtrace_traceback *out) {
    mtrace_trace_ trace;
    mtrace_result result;
    if (frames == NULL || room == 0) {
        return MTRACE_ERR_ARGUMENT;
    }
    MTRACE_LOCK();
    result = mtrace_find_key_(domain, key, &trace);
    if (result == MTRACE_OK) {
        const mtrace_account_ *account = &mtrace_g_.accounts[trace.account];
        uint32_t length = mtrace_traceback_length_(account);
        out->frames = frames;
        out->count = length < room ? length : (uint32_t)room;
        out->total = mtrace_traceback_total_(account);
        mtrace_traceback_fill_(account, frames, out->count);
    }
    MTRACE_UNLOCK();
    return result;
}

const char *mtrace_result_text(mtrace_result result) {
    switch (result) {
    case MTRACE_OK:
        return "no error";
    case MTRACE_ERR_ALREADY:
        return "tracing already";
    case MTRACE_ERR_NOT_TRACING:
        return "not tracing";
    case MTRACE_ERR_NO_MEMORY:
        return "not enough memory";
    case MTRACE_ERR_ARGUMENT:
        return "bad argument";
    case MTRACE_ERR_NO_BLOCKS:
        return "the snapshot was taken without its blocks";
    case MTRACE_ERR_NOT_FOUND:
        return "not found";
    case MTRACE_ERR_FULL:
        return "table full: not traced, counted as dropped";
    case MTRACE_ERR_NO_WRITER:
        return "no write callback, and no standard output here";
    case MTRACE_ERR_COMPILED_OUT:
        return "built without MTRACE";
    case MTRACE_ERR_IO:
        return "cannot read or write the file";
    case MTRACE_ERR_NOT_SNAPSHOT:
        return "not a snapshot file";
    case MTRACE_ERR_VERSION:
        return "the snapshot file is of a later version";
    case MTRACE_ERR_TRUNCATED:
        return "the snapshot file ends too early";
    case MTRACE_ERR_CORRUPT:
        return "the snapshot file was altered";
    case MTRACE_ERR_THREAD:
        return "no thread could be made";
    }
    return "unknown result";
}

/* ============================================================================================== */
/* [SECTION] FILTER - patterns as Python's fnmatch, filters as tracemalloc's                      */
/* ============================================================================================== */

typedef struct mtrace_range_ {
    const char *at;
    const char *end;
} mtrace_range_;

static uint32_t mtrace_fold_(uint32_t c) {
    bool fold = MTRACE_FOLDS_NAMES_ != 0;
    return !fold ? c : c == '/' ? '\\' : c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* The length of the UTF-8 sequence at p, 0 when it is none. */
static size_t mtrace_utf8_length_(const char *p, const char *end) {
    unsigned char c = (unsigned char)*p, second = end - p > 1 ? (unsigned char)p[1] : 0;
    size_t length = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : 4, i;
    bool bad = (c >= 0x80 && c < 0xc2) || c > 0xf4 || (c == 0xe0 && second < 0xa0) ||
               (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
               (c == 0xf4 && second > 0x8f) || (size_t)(end - p) < length;
    for (i = 1; !bad && i < length; i++) {
        bad = ((unsigned char)p[i] & 0xc0) != 0x80;
    }
    return bad ? 0 : length;
}

/* The next code point; a byte that is not UTF-8 stands for itself, as U+DC80 and up, which is how
   Python reads it. */
static uint32_t mtrace_next_(mtrace_range_ *r) {
    size_t length = mtrace_utf8_length_(r->at, r->end), i;
    uint32_t c = (unsigned char)*r->at++;
    if (length == 0) {
        return 0xdc00 + c;
    }
    c = length == 1 ? c : c & (0x7fu >> length);
    for (i = 1; i < length; i++) {
        c = c << 6 | ((unsigned char)*r->at++ & 0x3fu);
    }
    return mtrace_fold_(c);
}

/* The set that begins behind a "[": its end, or NULL when nothing closes it. */
static const char *mtrace_set_end_(mtrace_range_ pattern) {
    const char *p = pattern.at;
    p += p < pattern.end && *p == '!';
    p += p < pattern.end && *p == ']';
    return p >= pattern.end ? NULL : (const char *)memchr(p, ']', (size_t)(pattern.end - p));
}

/* Is c in the set? A range that runs backwards is nothing; a "!" is "not" as long as nothing stands
   before it, backward ranges aside (so in Python too). */
static bool mtrace_in_set_(mtrace_range_ set, uint32_t c) {
    bool found = false, negated = false, empty = true;
    while (set.at < set.end) {
        uint32_t low = mtrace_next_(&set), high = low;
        if (low == '!' && empty && !negated) {
            negated = true;
            continue;
        }
        if (set.end - set.at >= 2 && *set.at == '-') {
            set.at++;
            high = mtrace_next_(&set);
        }
        empty = empty && low > high;
        found = found || (low <= c && c <= high);
    }
    return found != negated;
}

/* Takes one character of the name and what matches it of the pattern; false when nothing does. */
static bool mtrace_match_one_(mtrace_range_ *name, mtrace_range_ *pattern) {
    uint32_t c = mtrace_next_(name), p = mtrace_next_(pattern);
    mtrace_range_ set = *pattern;
    if (p == '?') {
        return true;
    }
    if (p == '[') {
        set.end = mtrace_set_end_(*pattern);
        if (set.end != NULL) {
            pattern->at = set.end + 1;
            return mtrace_in_set_(set, c);
        }
    }
    return c == p;
}

/* After a mismatch, the last "*" takes one character more; one that came before never needs to. */
static bool mtrace_match_range_(mtrace_range_ name, mtrace_range_ pattern) {
    mtrace_range_ star_name = name, star_pattern = pattern;
    bool star = false;
    for (;;) {
        if (pattern.at < pattern.end && *pattern.at == '*') {
            pattern.at++;
            star = true;
            star_name = name;
            star_pattern = pattern;
        } else if (name.at == name.end && pattern.at == pattern.end) {
            return true;
        } else if (name.at == name.end || pattern.at == pattern.end ||
                   !mtrace_match_one_(&name, &pattern)) {
            if (!star || star_name.at == star_name.end) {
                return false;
            }
            (void)mtrace_next_(&star_name);
            name = star_name;
            pattern = star_pattern;
        }
    }
}

static mtrace_range_ mtrace_range_of_(const char *text) {
    mtrace_range_ r;
    r.at = text == NULL ? "" : text;
    r.end = r.at + strlen(r.at);
    return r;
}

bool mtrace_match(const char *name, const char *pattern) {
    return mtrace_match_range_(mtrace_range_of_(name), mtrace_range_of_(pattern));
}

/* tracemalloc takes x.pyc for x.py, in names and in patterns. */
static mtrace_range_ mtrace_file_range_(const char *file) {
    mtrace_range_ r = mtrace_range_of_(file);
    r.end -= r.end - r.at >= 4 && memcmp(r.end - 4, ".pyc", 4) == 0;
    return r;
}

static bool mtrace_frame_matches_(const mtrace_filter *f, const mtrace_frame *frame) {
    return (!f->has_line || f->line == frame->line) &&
           (f->file == NULL ||
            mtrace_match_range_(mtrace_file_range_(frame->file), mtrace_file_range_(f->file))) &&
           (f->function == NULL || mtrace_match(frame->function, f->function));
}

static bool mtrace_row_matches_(const mtrace_filter *f, const mtrace_statistic *row) {
    uint32_t i = f->all_frames ? 0 : row->traceback.count - 1;
    if ((f->has_domain && f->domain != row->domain) ||
        (f->type != NULL && !mtrace_match(row->type, f->type))) {
        return false;
    }
    while (i < row->traceback.count && !mtrace_frame_matches_(f, &row->traceback.frames[i])) {
        i++;
    }
    return i < row->traceback.count;
}

/* Which rows a copy takes. */
typedef struct mtrace_keep_ {
    const mtrace_filter *filters;
    size_t count;
} mtrace_keep_;

static bool mtrace_keeps_(const mtrace_keep_ *keep, const mtrace_statistic *row) {
    bool included = false, any_includes = false;
    size_t i;
    for (i = 0; i < keep->count; i++) {
        const mtrace_filter *f = &keep->filters[i];
        bool matches = mtrace_row_matches_(f, row);
        if (f->exclusive && matches) {
            return false;
        }
        any_includes = any_includes || !f->exclusive;
        included = included || (!f->exclusive && matches);
    }
    return included || !any_includes;
}

/* ============================================================================================== */
/* [SECTION] SNAPSHOT                                                                             */
/* ============================================================================================== */

/* One block of memory: this, rows, frames, copied blocks, names (the pool's, then the domains'). */
struct mtrace_snapshot {
    mtrace_statistic *rows; /* one an account, in the order they were first seen */
    mtrace_frame *frames;   /* of all rows */
    mtrace_live_block *blocks;
    char *names;
    size_t row_count;
    size_t frame_count;
    size_t block_count;
    size_t block_room;
    size_t name_bytes;
    bool has_blocks;
    uint64_t generation; /* of the counters: changes with start and clear */
    mtrace_view view;
    mtrace_info info;
    mtrace_traced_memory traced_memory;
    void *own_memory; /* NULL: the caller's */
    size_t own_size;
};

/* Memory for a result of `size` bytes: the caller's, aligned, or the system's. */
static unsigned char *mtrace_result_memory_(const mtrace_memory *memory, size_t size, void **own) {
    unsigned char *aligned;
    *own = NULL;
    if (size > SIZE_MAX / 4) {
        return NULL;
    }
    if (memory == NULL || memory->memory == NULL) {
        *own = mtrace_system_alloc_(size);
        if (*own != NULL) {
            MTRACE_ADD_(&mtrace_g_.own_memory, size);
        }
        return (unsigned char *)*own;
    }
    aligned = mtrace_align_(memory->memory);
    if (memory->size < size ||
        memory->size - size < (size_t)(aligned - (unsigned char *)memory->memory)) {
        return NULL;
    }
    return aligned;
}

static void mtrace_result_free_(void *own, size_t size) {
    if (own != NULL) {
        MTRACE_ADD_(&mtrace_g_.own_memory, 0 - size);
        mtrace_system_free_(own, size);
    }
}

typedef struct mtrace_snapshot_layout_ {
    size_t row_count, frame_count, domain_bytes, name_bytes, block_room; /* how many of each */
    size_t rows, frames, names, blocks, map, end;                        /* where */
} mtrace_snapshot_layout_;

static void mtrace_snapshot_layout_parts_(mtrace_snapshot_layout_ *l) {
    l->end = 0;
    mtrace_layout_part_(&l->end, 1, sizeof(mtrace_snapshot));
    l->rows = mtrace_layout_part_(&l->end, l->row_count, sizeof(mtrace_statistic));
    l->frames = mtrace_layout_part_(&l->end, l->frame_count, sizeof(mtrace_frame));
    l->names = mtrace_layout_part_(&l->end, l->name_bytes, 1);
    l->blocks = mtrace_layout_part_(&l->end, l->block_room, sizeof(mtrace_live_block));
}

/* An empty snapshot in memory of its own; NULL when that is too small. */
static mtrace_snapshot *mtrace_snapshot_new_(const mtrace_snapshot_layout_ *l,
                                             const mtrace_memory *memory) {
    void *own;
    unsigned char *base = mtrace_result_memory_(memory, l->end, &own);
    mtrace_snapshot *s = (mtrace_snapshot *)(void *)base;
    if (base == NULL) {
        return NULL;
    }
    memset(s, 0, sizeof *s);
    s->rows = (mtrace_statistic *)(void *)(base + l->rows);
    s->frames = (mtrace_frame *)(void *)(base + l->frames);
    s->names = (char *)(base + l->names);
    s->blocks = (mtrace_live_block *)(void *)(base + l->blocks);
    s->block_room = l->block_room;
    s->name_bytes = l->name_bytes;
    s->own_memory = own;
    s->own_size = l->end;
    return s;
}

static size_t mtrace_live_blocks_(void) {
    return (size_t)mtrace_not_negative_(mtrace_held_blocks_());
}

/* Room for what the tracer knows now. */
static void mtrace_snapshot_layout_now_(mtrace_snapshot_layout_ *l, size_t block_room) {
    const mtrace_tracer_ *g = &mtrace_g_;
    uint32_t accounts = MTRACE_GET_ACQUIRE_(&g->account_pool.count), i;
    l->row_count = accounts - MTRACE_ACCOUNT_OTHER_;
    l->frame_count = 0;
    for (i = MTRACE_ACCOUNT_OTHER_; i < accounts; i++) {
        mtrace_account_ account = mtrace_account_read_(i);
        l->frame_count += mtrace_traceback_length_(&account);
    }
    /* counted after the accounts: their names are there */
    l->domain_bytes = MTRACE_GET_ACQUIRE_(&g->domain_names) * sizeof(mtrace_domain_name_);
    l->name_bytes = MTRACE_GET_(&g->name_used) + l->domain_bytes;
    l->block_room = block_room;
    mtrace_snapshot_layout_parts_(l);
}

size_t mtrace_snapshot_size(bool with_blocks) {
    mtrace_snapshot_layout_ layout;
    layout.end = 0;
    MTRACE_LOCK();
    if (MTRACE_STATE_() != 0) {
        mtrace_snapshot_layout_now_(&layout, with_blocks ? mtrace_live_blocks_() : 0);
        layout.end += MTRACE_LINE_;
    }
    MTRACE_UNLOCK();
    return layout.end;
}

/* A name's place in the copy of the memory it lies in; one that lies elsewhere stays there. */
static const char *mtrace_moved_name_(const char *name, const char *from, const char *to,
                                      size_t bytes) {
    uintptr_t offset = (uintptr_t)name - (uintptr_t)from;
    return name != NULL && offset < bytes ? to + offset : name;
}

/* The snapshot's copies of the names: the pool, and the domains' behind it. */
typedef struct mtrace_snapshot_names_ {
    const char *pool;
    const char *domains;
    size_t pool_bytes, domain_bytes;
} mtrace_snapshot_names_;

static void mtrace_snapshot_names_copy_(mtrace_snapshot_names_ *n, mtrace_snapshot *s,
                                        size_t domain_bytes) {
    size_t i;
    n->domain_bytes = domain_bytes;
    n->pool_bytes = s->name_bytes - domain_bytes;
    n->pool = s->names;
    n->domains = s->names + n->pool_bytes;
    for (i = 0; i < n->pool_bytes; i++) { /* another thread may be adding a name */
        s->names[i] = MTRACE_GET_(&mtrace_g_.name_pool[i]);
    }
    memcpy(s->names + n->pool_bytes, mtrace_g_.domains, domain_bytes);
}

static const char *mtrace_pool_name_(const mtrace_snapshot_names_ *n, const char *name) {
    return mtrace_moved_name_(name, mtrace_g_.name_pool, n->pool, n->pool_bytes);
}

static const char *mtrace_snapshot_domain_(const mtrace_snapshot_names_ *n, uint32_t domain) {
    const mtrace_domain_name_ *entry = mtrace_domain_name_of_(domain);
    const char *from = (const char *)mtrace_g_.domains, *name = entry == NULL ? NULL : entry->name;
    const char *copy = mtrace_moved_name_(name, from, n->domains, n->domain_bytes);
    return copy == name ? NULL : copy; /* named meanwhile: not in the copy */
}

/* Frames of one row, behind those of the rows before. An account that another thread was making
   when room was counted may have more by now: there is one for each row that follows. */
static void mtrace_snapshot_traceback_(mtrace_snapshot *s, const mtrace_snapshot_names_ *n,
                                       const mtrace_account_ *account, mtrace_traceback *out,
                                       size_t most) {
    mtrace_frame *frames = s->frames + s->frame_count;
    uint32_t i;
    out->count = mtrace_traceback_length_(account);
    out->count = out->count < most ? out->count : (uint32_t)most;
    out->total = mtrace_traceback_total_(account);
    out->frames = frames;
    mtrace_traceback_fill_(account, frames, out->count);
    for (i = 0; i < out->count; i++) {
        frames[i].file = mtrace_pool_name_(n, frames[i].file);
        frames[i].function = mtrace_pool_name_(n, frames[i].function);
    }
    s->frame_count += out->count;
}

static mtrace_variance mtrace_snapshot_variance_(uint64_t bytes, uint64_t count) {
    uint64_t interval = mtrace_g_.sample_interval, unit = interval * interval / 1048576;
    mtrace_variance variance;
    variance.size = bytes > UINT64_MAX / unit ? UINT64_MAX : bytes * unit;
    variance.count = count;
    return variance;
}

static void mtrace_snapshot_variances_(mtrace_statistic *row, uint32_t number) {
    mtrace_cell_ cell;
    mtrace_variance_sum_(number, &cell);
    row->variance = mtrace_snapshot_variance_(cell.total_bytes - cell.freed_bytes,
                                              cell.total_count - cell.freed_count);
    row->peak_variance = mtrace_snapshot_variance_(cell.peak_bytes, cell.peak_count);
    row->total_variance = mtrace_snapshot_variance_(cell.total_bytes, cell.total_count);
}

static void mtrace_snapshot_counters_(mtrace_statistic *row, uint32_t number) {
    const mtrace_account_ *account = &mtrace_g_.accounts[number];
    mtrace_cell_ sum;
    mtrace_account_sum_(number, &sum);
    row->size = sum.total_bytes - sum.freed_bytes;
    row->count = mtrace_whole_((size_t)sum.total_count - sum.freed_count);
    row->total_size = sum.total_bytes;
    row->total_count = mtrace_whole_(sum.total_count);
    row->frees = row->total_count - row->count;
    row->reallocs = sum.reallocs;
    row->peak_size = sum.peak_bytes;
    row->peak_count = mtrace_whole_(sum.peak_count);
    row->dropped_count = MTRACE_GET_(&account->dropped_count);
    row->dropped_size = MTRACE_GET_(&account->dropped_bytes);
    if (mtrace_g_.sample_interval != 0) {
        mtrace_snapshot_variances_(row, number);
    }
}

/* When more is held now than at the last peak that was left, now is the peak. */
static void mtrace_snapshot_rows_(mtrace_snapshot *s, const mtrace_snapshot_names_ *n,
                                  const mtrace_snapshot_layout_ *l) {
    bool at_peak = mtrace_held_bytes_() > (int64_t)MTRACE_GET_(&mtrace_g_.peak);
    for (s->row_count = 0; s->row_count < l->row_count; s->row_count++) {
        mtrace_statistic *row = &s->rows[s->row_count];
        uint32_t number = (uint32_t)s->row_count + MTRACE_ACCOUNT_OTHER_;
        mtrace_account_ account = mtrace_account_read_(number);
        size_t rows_behind = l->row_count - s->row_count - 1;
        const mtrace_frame *call_site;
        memset(row, 0, sizeof *row);
        mtrace_snapshot_counters_(row, number);
        mtrace_snapshot_traceback_(s, n, &account, &row->traceback,
                                   l->frame_count - s->frame_count - rows_behind);
        call_site = &row->traceback.frames[row->traceback.count - 1];
        row->file = call_site->file;
        row->function = call_site->function;
        row->line = call_site->line;
        row->type = mtrace_pool_name_(n, mtrace_g_.places[account.place].type);
        row->domain = account.domain;
        row->domain_name = mtrace_snapshot_domain_(n, account.domain);
        if (at_peak) {
            row->peak_size = row->size;
            row->peak_count = row->count;
            row->peak_variance = row->variance;
        }
    }
}

/* Did the row know of blocks when it was copied? Its account may have been in the making. */
static bool mtrace_snapshot_has_row_(const mtrace_snapshot *s, uint32_t account) {
    uint32_t row = account - MTRACE_ACCOUNT_OTHER_;
    return row < s->row_count && s->rows[row].total_count != 0;
}

/* False when the blocks are more than the room. */
static bool mtrace_snapshot_blocks_(mtrace_snapshot *s) {
    uint32_t at;
    for (at = 0; at <= mtrace_g_.mask; at++) {
        mtrace_trace_ trace;
        uintptr_t key;
        bool tracked;
        if (mtrace_slot_read_(at, &trace, &key, &tracked) &&
            mtrace_snapshot_has_row_(s, trace.account)) {
            mtrace_live_block *copy = &s->blocks[s->block_count];
            if (s->block_count == s->block_room) {
                return false;
            }
            copy->address = key;
            copy->size = trace.size;
            copy->serial = trace.serial;
            copy->row = trace.account - MTRACE_ACCOUNT_OTHER_;
            s->block_count++;
        }
    }
    return true;
}

static bool mtrace_snapshot_fill_(mtrace_snapshot *s, const mtrace_snapshot_layout_ *l) {
    mtrace_snapshot_names_ names;
    mtrace_snapshot_names_copy_(&names, s, l->domain_bytes);
    s->generation = MTRACE_GET_(&mtrace_g_.generation);
    s->info = mtrace_info_();
    s->traced_memory = mtrace_traced_memory_();
    mtrace_snapshot_rows_(s, &names, l);
    return !s->has_blocks || mtrace_snapshot_blocks_(s);
}

static mtrace_result mtrace_snapshot_take_(mtrace_snapshot **out, bool with_blocks,
                                           const mtrace_memory *memory) {
    mtrace_snapshot_layout_ layout;
    mtrace_snapshot *s;
    bool callers = memory != NULL && memory->memory != NULL;
    if (MTRACE_STATE_() == 0) {
        return MTRACE_ERR_NOT_TRACING;
    }
    /* The system's memory costs nothing before it is touched: room for every slot, none can be
     * missed. */
    mtrace_snapshot_layout_now_(&layout, !with_blocks ? 0
                                         : callers    ? mtrace_live_blocks_()
                                                      : (size_t)mtrace_g_.mask + 1);
    s = mtrace_snapshot_new_(&layout, memory);
    if (s == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    s->has_blocks = with_blocks;
    if (!mtrace_snapshot_fill_(s, &layout)) {
        mtrace_result_free_(s->own_memory, s->own_size);
        return MTRACE_ERR_NO_MEMORY;
    }
    *out = s;
    return MTRACE_OK;
}

mtrace_result mtrace_snapshot_take(mtrace_snapshot **out, bool with_blocks,
                                   const mtrace_memory *memory) {
    mtrace_result result;
    *out = NULL;
    MTRACE_LOCK();
    result = mtrace_snapshot_take_(out, with_blocks, memory);
    MTRACE_UNLOCK();
    return result;
}

void mtrace_snapshot_free(mtrace_snapshot *snapshot) {
    if (snapshot != NULL) {
        mtrace_result_free_(snapshot->own_memory, snapshot->own_size);
    }
}

void mtrace_snapshot_set_view(mtrace_snapshot *snapshot, mtrace_view view) {
    snapshot->view = view;
}

size_t mtrace_snapshot_traces(const mtrace_snapshot *snapshot) {
    size_t i, sum = 0;
    for (i = 0; i < snapshot->row_count; i++) {
        sum += (size_t)snapshot->rows[i].count;
    }
    return sum;
}

mtrace_result mtrace_snapshot_block(const mtrace_snapshot *snapshot, size_t index,
                                    mtrace_block *out) {
    const mtrace_live_block *copy;
    const mtrace_statistic *row;
    if (!snapshot->has_blocks) {
        return MTRACE_ERR_NO_BLOCKS;
    }
    if (index >= snapshot->block_count) {
        return MTRACE_ERR_NOT_FOUND;
    }
    copy = &snapshot->blocks[index];
    row = &snapshot->rows[copy->row];
    out->address = copy->address;
    out->size = copy->size;
    out->serial = copy->serial;
    out->file = row->file;
    out->function = row->function;
    out->type = row->type;
    out->line = row->line;
    out->domain = row->domain;
    out->traceback = row->traceback;
    return MTRACE_OK;
}

mtrace_snapshot_parts mtrace_snapshot_get_parts(const mtrace_snapshot *snapshot) {
    mtrace_snapshot_parts parts;
    memset(&parts, 0, sizeof parts);
    parts.rows = snapshot->rows;
    parts.row_count = snapshot->row_count;
    parts.blocks = snapshot->blocks;
    parts.block_count = snapshot->block_count;
    parts.has_blocks = snapshot->has_blocks;
    parts.names = snapshot->names;
    parts.name_bytes = snapshot->name_bytes;
    parts.generation = snapshot->generation;
    parts.view = snapshot->view;
    parts.info = snapshot->info;
    parts.traced_memory = snapshot->traced_memory;
    return parts;
}

static mtrace_snapshot_layout_ mtrace_copy_layout_(const mtrace_snapshot_parts *parts) {
    mtrace_snapshot_layout_ l;
    size_t i;
    memset(&l, 0, sizeof l);
    l.row_count = parts->row_count;
    l.name_bytes = parts->name_bytes;
    l.block_room = parts->block_count;
    for (i = 0; i < parts->row_count; i++) {
        l.frame_count += parts->rows[i].traceback.count;
    }
    mtrace_snapshot_layout_parts_(&l);
    /* numbers of the rows in the copy, behind it */
    l.map = mtrace_layout_part_(&l.end, parts->row_count, sizeof(uint32_t));
    return l;
}

static void mtrace_copy_row_(mtrace_snapshot *s, const mtrace_snapshot_parts *from,
                             const mtrace_statistic *row) {
    mtrace_statistic *to = &s->rows[s->row_count++];
    mtrace_frame *frames = s->frames + s->frame_count;
    uint32_t i;
    *to = *row;
    to->file = mtrace_moved_name_(row->file, from->names, s->names, s->name_bytes);
    to->function = mtrace_moved_name_(row->function, from->names, s->names, s->name_bytes);
    to->type = mtrace_moved_name_(row->type, from->names, s->names, s->name_bytes);
    to->domain_name = mtrace_moved_name_(row->domain_name, from->names, s->names, s->name_bytes);
    to->traceback.frames = frames;
    for (i = 0; i < row->traceback.count; i++) {
        const mtrace_frame *frame = &row->traceback.frames[i];
        frames[i].file = mtrace_moved_name_(frame->file, from->names, s->names, s->name_bytes);
        frames[i].function =
            mtrace_moved_name_(frame->function, from->names, s->names, s->name_bytes);
        frames[i].line = frame->line;
    }
    s->frame_count += row->traceback.count;
}

static void mtrace_copy_rows_(mtrace_snapshot *s, const mtrace_snapshot_parts *from,
                              const mtrace_keep_ *keep, uint32_t *map) {
    size_t i;
    for (i = 0; i < from->row_count; i++) {
        map[i] = UINT32_MAX;
        if (mtrace_keeps_(keep, &from->rows[i])) {
            map[i] = (uint32_t)s->row_count;
            mtrace_copy_row_(s, from, &from->rows[i]);
        }
    }
}

static void mtrace_copy_blocks_(mtrace_snapshot *s, const mtrace_snapshot_parts *from,
                                const uint32_t *map) {
    size_t i;
    for (i = 0; i < from->block_count; i++) {
        if (map[from->blocks[i].row] != UINT32_MAX) {
            s->blocks[s->block_count] = from->blocks[i];
            s->blocks[s->block_count++].row = map[from->blocks[i].row];
        }
    }
}

static mtrace_result mtrace_copy_(mtrace_snapshot **out, const mtrace_snapshot_parts *from,
                                  const mtrace_keep_ *keep, const mtrace_memory *memory) {
    mtrace_snapshot_layout_ layout = mtrace_copy_layout_(from);
    mtrace_snapshot *s = mtrace_snapshot_new_(&layout, memory);
    uint32_t *map;
    if (s == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    map = (uint32_t *)(void *)((unsigned char *)s + layout.map);
    if (from->name_bytes != 0) {
        memcpy(s->names, from->names, from->name_bytes);
    }
    mtrace_copy_rows_(s, from, keep, map);
    mtrace_copy_blocks_(s, from, map);
    s->has_blocks = from->has_blocks;
    s->generation = from->generation;
    s->view = from->view;
    s->info = from->info;
    s->traced_memory = from->traced_memory;
    *out = s;
    return MTRACE_OK;
}

static bool mtrace_parts_valid_(const mtrace_snapshot_parts *parts) {
    size_t i;
    for (i = 0; i < parts->row_count; i++) {
        if (parts->rows[i].traceback.count == 0) {
            return false;
        }
    }
    for (i = 0; i < parts->block_count; i++) {
        if (parts->blocks[i].row >= parts->row_count) {
            return false;
        }
    }
    return parts->row_count < UINT32_MAX && parts->info.sample_interval <= MTRACE_MAX_INTERVAL_;
}

mtrace_result mtrace_snapshot_make(mtrace_snapshot **out, const mtrace_snapshot_parts *parts,
                                   const mtrace_memory *memory) {
    static const mtrace_keep_ all = MTRACE_ZERO_;
    *out = NULL;
    return mtrace_parts_valid_(parts) ? mtrace_copy_(out, parts, &all, memory)
                                      : MTRACE_ERR_ARGUMENT;
}

mtrace_result mtrace_snapshot_filter(mtrace_snapshot **out, const mtrace_snapshot *snapshot,
                                     const mtrace_filter *filters, size_t count,
                                     const mtrace_memory *memory) {
    mtrace_snapshot_parts parts;
    mtrace_keep_ keep;
    *out = NULL;
    if (snapshot == NULL || (filters == NULL && count != 0)) {
        return MTRACE_ERR_ARGUMENT;
    }
    parts = mtrace_snapshot_get_parts(snapshot);
    keep.filters = filters;
    keep.count = count;
    return mtrace_copy_(out, &parts, &keep, memory);
}

size_t mtrace_snapshot_filter_size(const mtrace_snapshot *snapshot) {
    mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(snapshot);
    return mtrace_copy_layout_(&parts).end + MTRACE_LINE_;
}

/* ============================================================================================== */
/* [SECTION] GROUP - rows of snapshots to rows of statistics, grouped, merged, sorted */
/* ============================================================================================== */

/* What a group is made of: a row, seen from one of its frames. Rows of the new snapshot come first,
   then those of the old one. */
typedef struct mtrace_source_ {
    uint32_t row;
    uint32_t frame;
} mtrace_source_;

typedef struct mtrace_job_ {
    const mtrace_snapshot *snapshot;
    const mtrace_snapshot *old; /* NULL: no comparison */
    mtrace_key_type key_type;   /* with its flags */
    uint32_t key;               /* without */
    bool is_diff;
    bool same_counters; /* both snapshots count from the same moment */
    mtrace_source_ *sources;
    mtrace_statistic *rows;
    uint32_t *order;
    uint32_t *spare;
    uint32_t count;
} mtrace_job_;

enum { MTRACE_CLASSES_ = 66 };

static const mtrace_statistic *mtrace_row_of_(const mtrace_job_ *job, uint32_t row) {
    size_t new_rows = job->snapshot->row_count;
    return row < new_rows ? &job->snapshot->rows[row] : &job->old->rows[row - new_rows];
}

static int mtrace_compare_names_(const char *a, const char *b) {
    return a == b ? 0 : strcmp(a == NULL ? "" : a, b == NULL ? "" : b);
}

static int mtrace_compare_numbers_(uint64_t a, uint64_t b) {
    return a < b ? -1 : a > b;
}

static int mtrace_compare_lines_(const mtrace_frame *a, const mtrace_frame *b) {
    int files = mtrace_compare_names_(a->file, b->file);
    return files != 0 ? files : mtrace_compare_numbers_(a->line, b->line);
}

/* From the oldest frame on; what is a part of the other comes first. */
static int mtrace_compare_tracebacks_(const mtrace_traceback *a, const mtrace_traceback *b) {
    uint32_t i;
    int sign = 0;
    for (i = 0; sign == 0 && i < a->count && i < b->count; i++) {
        sign = mtrace_compare_lines_(&a->frames[i], &b->frames[i]);
    }
    return sign != 0 ? sign : mtrace_compare_numbers_(a->count, b->count);
}

/* By the key, ascending: names as bytes, which is the order of code points, numbers as numbers. */
static int mtrace_compare_sources_(const mtrace_job_ *job, uint32_t a, uint32_t b) {
    const mtrace_statistic *x = mtrace_row_of_(job, job->sources[a].row);
    const mtrace_statistic *y = mtrace_row_of_(job, job->sources[b].row);
    const mtrace_frame *f = &x->traceback.frames[job->sources[a].frame];
    const mtrace_frame *g = &y->traceback.frames[job->sources[b].frame];
    int files;
    switch (job->key) {
    case MTRACE_BY_LINE:
        return mtrace_compare_lines_(f, g);
    case MTRACE_BY_FILE:
        return mtrace_compare_names_(f->file, g->file);
    case MTRACE_BY_FUNCTION:
        files = mtrace_compare_names_(f->file, g->file);
        return files != 0 ? files : mtrace_compare_names_(f->function, g->function);
    case MTRACE_BY_TYPE:
        return mtrace_compare_names_(x->type, y->type);
    case MTRACE_BY_DOMAIN:
        return mtrace_compare_numbers_(x->domain, y->domain);
    default:
        return mtrace_compare_tracebacks_(&x->traceback, &y->traceback);
    }
}

/* By rank, descending: tracemalloc's (size, count, key), or for differences (|size_diff|, size,
   |count_diff|, count, key). The rows stand in the order of their keys: the later one has the
   greater. */
static int mtrace_compare_ranks_(const mtrace_job_ *job, uint32_t a, uint32_t b) {
    const mtrace_statistic *x = &job->rows[a], *y = &job->rows[b];
    int sign = 0;
    if (job->is_diff) {
        sign = mtrace_compare_numbers_(mtrace_magnitude_(y->size_diff),
                                       mtrace_magnitude_(x->size_diff));
    }
    if (sign == 0) {
        sign = mtrace_compare_numbers_(y->size, x->size);
    }
    if (sign == 0 && job->is_diff) {
        sign = mtrace_compare_numbers_(mtrace_magnitude_(y->count_diff),
                                       mtrace_magnitude_(x->count_diff));
    }
    if (sign == 0) {
        sign = mtrace_compare_numbers_(y->count, x->count);
    }
    return sign != 0 ? sign : mtrace_compare_numbers_(b, a);
}

typedef int (*mtrace_compare_fn_)(const mtrace_job_ *job, uint32_t a, uint32_t b);

/* Merges the sorted runs from[low, middle) and from[middle, high) into to. */
static void mtrace_merge_(const mtrace_job_ *job, mtrace_compare_fn_ compare, const uint32_t *from,
                          uint32_t *to, size_t low, size_t middle, size_t high) {
    size_t left = low, right = middle, i;
    for (i = low; i < high; i++) {
        bool take_left =
            left < middle && (right == high || compare(job, from[left], from[right]) <= 0);
        to[i] = take_left ? from[left++] : from[right++];
    }
}

/* Sorts job->order: a merge sort, bottom up, O(n log n) always, no recursion, nothing but `spare`.
 */
static void mtrace_sort_(mtrace_job_ *job, size_t n, mtrace_compare_fn_ compare) {
    size_t width, low;
    for (width = 1; width < n; width *= 2) {
        uint32_t *from = job->order;
        for (low = 0; low < n; low += 2 * width) {
            size_t middle = low + width < n ? low + width : n;
            size_t high = low + 2 * width < n ? low + 2 * width : n;
            mtrace_merge_(job, compare, from, job->spare, low, middle, high);
        }
        job->order = job->spare;
        job->spare = from;
    }
}

/* The (size, count) that the snapshot's view asks for. */
static void mtrace_measure_(const mtrace_statistic *row, mtrace_view view, uint64_t *size,
                            uint64_t *count) {
    *size = view == MTRACE_VIEW_PEAK    ? row->peak_size
            : view == MTRACE_VIEW_TOTAL ? row->total_size
                                        : row->size;
    *count = view == MTRACE_VIEW_PEAK    ? row->peak_count
             : view == MTRACE_VIEW_TOTAL ? row->total_count
                                         : row->count;
}

static const mtrace_variance *mtrace_variance_of_(const mtrace_statistic *row, mtrace_view view) {
    return view == MTRACE_VIEW_PEAK    ? &row->peak_variance
           : view == MTRACE_VIEW_TOTAL ? &row->total_variance
                                       : &row->variance;
}

static void mtrace_row_add_new_(mtrace_statistic *row, const mtrace_statistic *from,
                                mtrace_view view) {
    uint64_t size, count;
    mtrace_measure_(from, view, &size, &count);
    row->size += size;
    row->count += count;
    row->size_diff += (int64_t)size;
    row->count_diff += (int64_t)count;
    row->peak_size += from->peak_size;
    row->peak_count += from->peak_count;
    row->total_size += from->total_size;
    row->total_count += from->total_count;
    row->frees += from->frees;
    row->reallocs += from->reallocs;
    row->dropped_count += from->dropped_count;
    row->dropped_size += from->dropped_size;
    mtrace_variance_add_(&row->variance, mtrace_variance_of_(from, view));
    mtrace_variance_add_(&row->diff_variance, mtrace_variance_of_(from, view));
    mtrace_variance_add_(&row->peak_variance, &from->peak_variance);
    mtrace_variance_add_(&row->total_variance, &from->total_variance);
}

/* At least zero: a snapshot may be compared with a later one. */
static void mtrace_take_from_(uint64_t *value, uint64_t less) {
    *value -= *value < less ? *value : less;
}

static void mtrace_row_take_old_(mtrace_statistic *row, const mtrace_statistic *from,
                                 mtrace_view view, bool same_counters) {
    uint64_t size, count;
    mtrace_measure_(from, view, &size, &count);
    row->size_diff -= (int64_t)size;
    row->count_diff -= (int64_t)count;
    mtrace_variance_add_(&row->diff_variance, mtrace_variance_of_(from, view));
    if (same_counters) {
        mtrace_take_from_(&row->total_size, from->total_size);
        mtrace_take_from_(&row->total_count, from->total_count);
        mtrace_take_from_(&row->frees, from->frees);
        mtrace_take_from_(&row->reallocs, from->reallocs);
        mtrace_take_from_(&row->dropped_count, from->dropped_count);
        mtrace_take_from_(&row->dropped_size, from->dropped_size);
    }
}

static void mtrace_row_add_(const mtrace_job_ *job, mtrace_statistic *row, uint32_t number) {
    const mtrace_statistic *from = mtrace_row_of_(job, number);
    if (number < job->snapshot->row_count) {
        mtrace_row_add_new_(row, from, job->snapshot->view);
    } else {
        mtrace_row_take_old_(row, from, job->old->view, job->same_counters);
    }
}

/* An empty row with the key of a source. A type belongs to a call site, not to the scopes. */
static void mtrace_row_start_(const mtrace_job_ *job, mtrace_statistic *row,
                              const mtrace_source_ *source) {
    const mtrace_statistic *from = mtrace_row_of_(job, source->row);
    const mtrace_frame *frame = &from->traceback.frames[source->frame];
    bool line = job->key == MTRACE_BY_LINE || job->key == MTRACE_BY_TRACEBACK;
    bool function = job->key == MTRACE_BY_FUNCTION;
    memset(row, 0, sizeof *row);
    if (line || function || job->key == MTRACE_BY_FILE) {
        row->file = frame->file;
    }
    if (line || function) {
        row->function = frame->function;
    }
    if (line) {
        row->line = frame->line;
        row->type = (job->key_type & MTRACE_CUMULATIVE) != 0 ? NULL : from->type;
    }
    if (job->key == MTRACE_BY_TYPE) {
        row->type = from->type == NULL ? "<untyped>" : from->type;
    }
    if (job->key == MTRACE_BY_DOMAIN) {
        row->domain = from->domain;
        row->domain_name = from->domain_name;
    }
    if (job->key == MTRACE_BY_TRACEBACK) {
        row->traceback = from->traceback;
    }
}

/* A row with nothing to show: tracemalloc would have no trace of it. */
static bool mtrace_row_empty_(const mtrace_statistic *row) {
    return row->size == 0 && row->count == 0 && row->size_diff == 0 && row->count_diff == 0 &&
           row->dropped_count == 0;
}

/* Frames of a row that count: the call site, or all. */
static uint32_t mtrace_frames_seen_(const mtrace_statistic *row, mtrace_key_type key_type) {
    return (key_type & MTRACE_CUMULATIVE) != 0 ? row->traceback.count : 1;
}

static uint32_t mtrace_list_sources_(mtrace_job_ *job) {
    uint32_t rows = (uint32_t)(job->snapshot->row_count + (job->is_diff ? job->old->row_count : 0));
    uint32_t row, i, n = 0;
    for (row = 0; row < rows; row++) {
        const mtrace_statistic *from = mtrace_row_of_(job, row);
        for (i = mtrace_frames_seen_(from, job->key_type); i > 0; i--) {
            job->sources[n].row = row;
            job->sources[n].frame = from->traceback.count - i;
            job->order[n] = n;
            n++;
        }
    }
    return n;
}

static void mtrace_end_row_(mtrace_job_ *job) {
    if (job->count > 0 && mtrace_row_empty_(&job->rows[job->count - 1])) {
        job->count--;
    }
}

/* Rows in the order of their keys. The sort is stable: a row that is in a group several times
   stands there side by side. */
static void mtrace_group_sources_(mtrace_job_ *job) {
    uint32_t n = mtrace_list_sources_(job), i;
    mtrace_sort_(job, n, mtrace_compare_sources_);
    for (i = 0; i < n; i++) {
        const mtrace_source_ *source = &job->sources[job->order[i]];
        bool first = i == 0 || mtrace_compare_sources_(job, job->order[i - 1], job->order[i]) != 0;
        bool again = !first && job->sources[job->order[i - 1]].row == source->row;
        if (first) {
            mtrace_end_row_(job);
            mtrace_row_start_(job, &job->rows[job->count++], source);
        }
        if (!again || (job->key_type & MTRACE_ONCE) == 0) {
            mtrace_row_add_(job, &job->rows[job->count - 1], source->row);
        }
    }
    mtrace_end_row_(job);
}

/* 0, 1, 2, 3-4, 5-8, ...: the number of a size's class. */
static uint32_t mtrace_size_class_(uint64_t size) {
    uint32_t class_number = size == 0 ? 0 : 1;
    uint64_t largest = 1;
    while (size != 0 && largest < size && largest != 0) {
        largest *= 2;
        class_number++;
    }
    return class_number;
}

/* A sampled block stands for others of its size. Counts are gathered in parts of a block. */
static void mtrace_group_blocks_(mtrace_job_ *job, const mtrace_snapshot *s, int sign) {
    size_t i;
    for (i = 0; i < s->block_count; i++) {
        uint64_t size = s->blocks[i].size;
        mtrace_estimate_ e = mtrace_estimate_of_(size, s->info.sample_interval);
        int64_t count = (int64_t)(e.count * (s->info.sample_interval == 0 ? MTRACE_COUNT_ONE_ : 1));
        mtrace_statistic *row = &job->rows[mtrace_size_class_(size)];
        row->size_diff += sign * (int64_t)e.bytes;
        row->count_diff += sign * count;
        if (sign > 0) {
            row->size += e.bytes;
            row->count += (uint64_t)count;
        }
        row->peak_count = 1; /* seen in either; cleared below */
    }
}

static int64_t mtrace_whole_diff_(int64_t parts) {
    int64_t whole = (int64_t)mtrace_round_(mtrace_magnitude_(parts), MTRACE_COUNT_ONE_);
    return parts < 0 ? -whole : whole;
}

static void mtrace_group_classes_(mtrace_job_ *job) {
    uint32_t i;
    memset(job->rows, 0, MTRACE_CLASSES_ * sizeof *job->rows);
    mtrace_group_blocks_(job, job->snapshot, 1);
    if (job->is_diff) {
        mtrace_group_blocks_(job, job->old, -1);
    }
    for (i = 0; i < MTRACE_CLASSES_; i++) {
        if (job->rows[i].peak_count != 0) {
            job->rows[i].peak_count = 0;
            job->rows[i].count = mtrace_round_(job->rows[i].count, MTRACE_COUNT_ONE_);
            job->rows[i].count_diff = mtrace_whole_diff_(job->rows[i].count_diff);
            job->rows[i].size_class = i == 0 ? 0 : (uint64_t)1 << (i - 1);
            job->rows[job->count++] = job->rows[i];
        }
    }
}

/* Puts the rows into the order that job->order tells, each cycle of the permutation once. */
static void mtrace_permute_(mtrace_job_ *job) {
    uint32_t i;
    for (i = 0; i < job->count; i++) {
        mtrace_statistic first = job->rows[i];
        uint32_t at = i, from = job->order[i];
        while (from != i) {
            job->rows[at] = job->rows[from];
            job->order[at] = at;
            at = from;
            from = job->order[at];
        }
        job->rows[at] = first;
        job->order[at] = at;
    }
}

static void mtrace_rank_(mtrace_job_ *job) {
    uint32_t i;
    for (i = 0; i < job->count; i++) {
        job->order[i] = i;
    }
    mtrace_sort_(job, job->count, mtrace_compare_ranks_);
    mtrace_permute_(job);
}

static void mtrace_row_sum_(mtrace_statistic *sum, const mtrace_statistic *rows, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) {
        int64_t size_diff = sum->size_diff + rows[i].size_diff;
        int64_t count_diff = sum->count_diff + rows[i].count_diff;
        mtrace_variance variance = sum->diff_variance;
        mtrace_row_add_new_(sum, &rows[i], MTRACE_VIEW_LIVE);
        mtrace_variance_add_(&variance, &rows[i].diff_variance);
        sum->size_diff = size_diff;
        sum->count_diff = count_diff;
        sum->diff_variance = variance;
    }
}

/* What the rows add up to. In cumulative mode they overlap: there it is the sum of what they were
   made of. */
static void mtrace_total_(const mtrace_job_ *job, mtrace_statistic *total) {
    uint32_t rows = (uint32_t)(job->snapshot->row_count + (job->is_diff ? job->old->row_count : 0));
    uint32_t i;
    memset(total, 0, sizeof *total);
    if ((job->key_type & MTRACE_CUMULATIVE) == 0) {
        mtrace_row_sum_(total, job->rows, job->count);
        return;
    }
    for (i = 0; i < rows; i++) {
        mtrace_row_add_(job, total, i);
    }
    total->size_diff = job->is_diff ? total->size_diff : 0;
    total->count_diff = job->is_diff ? total->count_diff : 0;
}

static void mtrace_clear_diffs_(mtrace_job_ *job) {
    uint32_t i;
    for (i = 0; i < job->count; i++) {
        job->rows[i].size_diff = 0;
        job->rows[i].count_diff = 0;
    }
}

typedef struct mtrace_statistics_layout_ {
    size_t rows, sources, order, spare, end;
} mtrace_statistics_layout_;

static size_t mtrace_count_sources_(const mtrace_snapshot *s, mtrace_key_type key_type) {
    size_t i, n = 0;
    for (i = 0; i < s->row_count; i++) {
        n += mtrace_frames_seen_(&s->rows[i], key_type);
    }
    return n;
}

static void mtrace_statistics_layout_parts_(mtrace_statistics_layout_ *l, const mtrace_snapshot *s,
                                            const mtrace_snapshot *old, mtrace_key_type key_type) {
    size_t n = mtrace_count_sources_(s, key_type) +
               (old == NULL ? 0 : mtrace_count_sources_(old, key_type));
    if (key_type == MTRACE_BY_SIZE_CLASS) {
        n = MTRACE_CLASSES_;
    }
    l->end = 0;
    mtrace_layout_part_(&l->end, 1, sizeof(mtrace_statistics));
    l->rows = mtrace_layout_part_(&l->end, n, sizeof(mtrace_statistic));
    l->sources = mtrace_layout_part_(&l->end, n, sizeof(mtrace_source_));
    l->order = mtrace_layout_part_(&l->end, n, sizeof(uint32_t));
    l->spare = mtrace_layout_part_(&l->end, n, sizeof(uint32_t));
}

size_t mtrace_statistics_size(const mtrace_snapshot *snapshot, const mtrace_snapshot *old,
                              mtrace_key_type key_type) {
    mtrace_statistics_layout_ layout;
    mtrace_statistics_layout_parts_(&layout, snapshot, old, key_type);
    return layout.end + MTRACE_LINE_;
}

static void mtrace_statistics_fill_(mtrace_statistics *out, mtrace_job_ *job) {
    if (job->key == MTRACE_BY_SIZE_CLASS) {
        mtrace_group_classes_(job);
    } else {
        mtrace_group_sources_(job);
    }
    if (!job->is_diff) {
        mtrace_clear_diffs_(job);
    }
    mtrace_rank_(job);
    mtrace_total_(job, &out->total);
    out->rows = job->rows;
    out->count = job->count;
    out->key_type = job->key_type;
    out->view = job->snapshot->view;
    out->is_diff = job->is_diff;
    out->info = job->snapshot->info;
    out->traced_memory = job->snapshot->traced_memory;
}

static bool mtrace_has_classes_(const mtrace_snapshot *s) {
    return s->has_blocks && s->view == MTRACE_VIEW_LIVE;
}

/* Cumulative goes with what frames say, once with cumulative, most recent with tracebacks. */
static bool mtrace_key_valid_(mtrace_key_type key_type) {
    uint32_t key = key_type & MTRACE_KEY_, flags = key_type & ~(uint32_t)MTRACE_KEY_;
    uint32_t allowed = key <= MTRACE_BY_FUNCTION    ? MTRACE_CUMULATIVE | MTRACE_ONCE
                       : key == MTRACE_BY_TRACEBACK ? (uint32_t)MTRACE_MOST_RECENT
                                                    : 0;
    return key <= MTRACE_BY_TRACEBACK && (flags & ~allowed) == 0 && flags != MTRACE_ONCE;
}

static mtrace_result mtrace_statistics_make_(mtrace_statistics **out, const mtrace_snapshot *s,
                                             const mtrace_snapshot *old, bool is_diff,
                                             mtrace_key_type key_type,
                                             const mtrace_memory *memory) {
    mtrace_statistics_layout_ layout;
    mtrace_job_ job;
    unsigned char *base;
    void *own;
    *out = NULL;
    if (s == NULL || (is_diff && old == NULL) || !mtrace_key_valid_(key_type)) {
        return MTRACE_ERR_ARGUMENT;
    }
    if (key_type == MTRACE_BY_SIZE_CLASS &&
        (!mtrace_has_classes_(s) || (is_diff && !mtrace_has_classes_(old)))) {
        return MTRACE_ERR_NO_BLOCKS;
    }
    mtrace_statistics_layout_parts_(&layout, s, old, key_type);
    base = mtrace_result_memory_(memory, layout.end, &own);
    if (base == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    job.snapshot = s;
    job.old = old;
    job.key_type = key_type;
    job.key = key_type & MTRACE_KEY_;
    job.sources = (mtrace_source_ *)(void *)(base + layout.sources);
    job.is_diff = is_diff;
    job.same_counters = is_diff && s->generation == old->generation;
    job.rows = (mtrace_statistic *)(void *)(base + layout.rows);
    job.order = (uint32_t *)(void *)(base + layout.order);
    job.spare = (uint32_t *)(void *)(base + layout.spare);
    job.count = 0;
    *out = (mtrace_statistics *)(void *)base;
    (*out)->own_memory = own;
    (*out)->own_size = layout.end;
    mtrace_statistics_fill_(*out, &job);
    return MTRACE_OK;
}

mtrace_result mtrace_snapshot_statistics(mtrace_statistics **out, const mtrace_snapshot *snapshot,
                                         mtrace_key_type key_type, const mtrace_memory *memory) {
    return mtrace_statistics_make_(out, snapshot, NULL, false, key_type, memory);
}

mtrace_result mtrace_snapshot_compare(mtrace_statistics **out, const mtrace_snapshot *snapshot,
                                      const mtrace_snapshot *old, mtrace_key_type key_type,
                                      const mtrace_memory *memory) {
    return mtrace_statistics_make_(out, snapshot, old, true, key_type, memory);
}

void mtrace_statistics_free(mtrace_statistics *statistics) {
    if (statistics != NULL) {
        mtrace_result_free_(statistics->own_memory, statistics->own_size);
    }
}

mtrace_statistic mtrace_statistics_other(const mtrace_statistics *statistics, size_t top) {
    mtrace_statistic other = MTRACE_ZERO_;
    if (top < statistics->count) {
        mtrace_row_sum_(&other, statistics->rows + top, statistics->count - top);
    }
    other.file = "<other>";
    return other;
}

/* ============================================================================================== */
/* [SECTION] REPORT                                                                               */
/* ============================================================================================== */

static const char *mtrace_or_unknown_(const char *name) {
    return name == NULL ? mtrace_unknown_ : name;
}

/* What a row stands for, in words. The row of mtrace_statistics_other has no key but its file. */
static void mtrace_put_line_number_(mtrace_text_ *t, const char *file, uint32_t line) {
    mtrace_put_(t, file);
    mtrace_put_char_(t, ':');
    mtrace_put_number_(t, line);
}

static void mtrace_put_key_(mtrace_text_ *t, const mtrace_statistic *row,
                            mtrace_key_type key_type) {
    uint32_t key = key_type & MTRACE_KEY_;
    if (row->file != NULL && (key == MTRACE_BY_LINE || key == MTRACE_BY_TRACEBACK)) {
        mtrace_put_line_number_(t, row->file, row->line);
    } else if (row->file != NULL && key != MTRACE_BY_FUNCTION) {
        mtrace_put_(t, row->file);
    } else if (row->file != NULL || key == MTRACE_BY_FUNCTION) {
        mtrace_put_(t, mtrace_or_unknown_(row->function));
        mtrace_put_(t, " (");
        mtrace_put_(t, mtrace_or_unknown_(row->file));
        mtrace_put_char_(t, ')');
    } else if (key == MTRACE_BY_TYPE) {
        mtrace_put_(t, row->type);
    } else if (key == MTRACE_BY_DOMAIN) {
        mtrace_put_(t, "domain ");
        mtrace_put_number_(t, row->domain);
        mtrace_put_(t, row->domain_name != NULL ? " " : "");
        mtrace_put_(t, row->domain_name != NULL ? row->domain_name : "");
    } else {
        mtrace_put_(t, row->size_class > 2 ? "up to " : "");
        mtrace_put_size_(t, row->size_class);
    }
}

/* A row as CPython prints it (that of a traceback names its oldest frame, unless MTRACE_MOST_RECENT
   says otherwise); a key that CPython does not have in the same form. */
static void mtrace_put_python_(mtrace_text_ *t, const mtrace_statistic *row,
                               mtrace_key_type key_type, bool is_diff) {
    bool oldest = key_type == MTRACE_BY_TRACEBACK && row->traceback.count > 0;
    if (oldest) {
        const mtrace_frame *frame = &row->traceback.frames[0];
        mtrace_put_line_number_(t, frame->file, frame->line);
    } else {
        mtrace_put_key_(t, row, key_type);
    }
    mtrace_put_(t, (key_type & MTRACE_KEY_) == MTRACE_BY_FILE ? ":0: size=" : ": size=");
    mtrace_put_size_(t, row->size);
    if (is_diff) {
        mtrace_put_(t, " (");
        mtrace_put_size_diff_(t, row->size_diff);
        mtrace_put_char_(t, ')');
    }
    mtrace_put_(t, ", count=");
    mtrace_put_number_(t, row->count);
    if (is_diff) {
        mtrace_put_(t, " (");
        mtrace_put_signed_(t, row->count_diff);
        mtrace_put_char_(t, ')');
    }
    if (row->count != 0) {
        mtrace_put_(t, ", average=");
        mtrace_put_ratio_(t, row->size, row->count, false, false);
    }
}

size_t mtrace_format_statistic(char *buffer, size_t size, const mtrace_statistic *row,
                               mtrace_key_type key_type, bool is_diff) {
    mtrace_text_ t;
    mtrace_text_to_buffer_(&t, buffer, size);
    mtrace_put_python_(&t, row, key_type, is_diff);
    return t.length;
}

size_t mtrace_format_size(char *buffer, size_t size, int64_t bytes, bool with_sign) {
    mtrace_text_ t;
    mtrace_text_to_buffer_(&t, buffer, size);
    mtrace_put_ratio_(&t, mtrace_magnitude_(bytes), 1, bytes < 0, with_sign);
    return t.length;
}

static void mtrace_put_frame_(mtrace_text_ *t, const mtrace_frame *frame, mtrace_source_fn source,
                              void *user) {
    char line[256];
    mtrace_put_(t, "  File \"");
    mtrace_put_(t, frame->file);
    mtrace_put_(t, "\", line ");
    mtrace_put_number_(t, frame->line);
    mtrace_put_char_(t, '\n');
    if (source != NULL && source(frame->file, frame->line, line, sizeof line, user) &&
        line[0] != '\0') {
        mtrace_put_(t, "    ");
        mtrace_put_(t, line);
        mtrace_put_char_(t, '\n');
    }
}

size_t mtrace_format_traceback(char *buffer, size_t size, const mtrace_traceback *traceback,
                               int32_t limit, bool most_recent_first, mtrace_source_fn source,
                               void *user) {
    int64_t count = traceback->count, most = limit, low, high, i;
    mtrace_text_ t;
    low = most > 0 && most < count ? count - most : 0;
    high = most > 0 ? count : most < 0 && -most < count ? count + most : 0;
    mtrace_text_to_buffer_(&t, buffer, size);
    for (i = low; i < high; i++) {
        int64_t at = most_recent_first ? low + high - 1 - i : i;
        mtrace_put_frame_(&t, &traceback->frames[at], source, user);
    }
    return t.length;
}

static bool mtrace_shows_function_(mtrace_key_type key_type) {
    uint32_t key = key_type & MTRACE_KEY_;
    return key == MTRACE_BY_LINE || key == MTRACE_BY_TRACEBACK;
}

/* The scopes around a call site, the innermost first, in its line. */
static void mtrace_put_scopes_(mtrace_text_ *t, const mtrace_statistic *row) {
    uint32_t i;
    for (i = row->traceback.count; i > 1; i--) {
        const mtrace_frame *frame = &row->traceback.frames[i - 2];
        mtrace_put_(t, " < ");
        mtrace_put_line_number_(t, frame->file, frame->line);
        if (frame->function != NULL) {
            mtrace_put_char_(t, ' ');
            mtrace_put_(t, frame->function);
        }
    }
}

/* Of size, count and their differences. */
static void mtrace_put_line_errors_(mtrace_text_ *t, const mtrace_statistic *row) {
    uint64_t variances[4];
    int i;
    variances[0] = row->variance.size;
    variances[1] = row->variance.count;
    variances[2] = row->diff_variance.size;
    variances[3] = row->diff_variance.count;
    for (i = 0; i < 4; i++) {
        mtrace_put_number_(t, mtrace_standard_error(variances[i]));
        mtrace_put_char_(t, ' ');
    }
}

/* Numbers only, then the key, which may hold blanks, last. */
static void mtrace_put_line_(mtrace_text_ *t, const mtrace_statistic *row, mtrace_key_type key_type,
                             bool sampled) {
    uint64_t numbers[8];
    size_t i;
    numbers[0] = row->peak_size;
    numbers[1] = row->peak_count;
    numbers[2] = row->total_size;
    numbers[3] = row->total_count;
    numbers[4] = row->frees;
    numbers[5] = row->reallocs;
    numbers[6] = row->dropped_count;
    numbers[7] = row->dropped_size;
    mtrace_put_number_(t, row->size);
    mtrace_put_char_(t, ' ');
    mtrace_put_number_(t, row->count);
    mtrace_put_char_(t, ' ');
    mtrace_put_signed_(t, row->size_diff);
    mtrace_put_char_(t, ' ');
    mtrace_put_signed_(t, row->count_diff);
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        mtrace_put_char_(t, ' ');
        mtrace_put_number_(t, numbers[i]);
    }
    mtrace_put_char_(t, ' ');
    if (MTRACE_HOSTED_ && sampled) {
        mtrace_put_line_errors_(t, row);
    }
    mtrace_put_key_(t, row, key_type);
    if (mtrace_shows_function_(key_type) && row->function != NULL) {
        mtrace_put_char_(t, ' ');
        mtrace_put_(t, row->function);
    }
    mtrace_put_scopes_(t, row);
    mtrace_put_char_(t, '\n');
}

/* "function", "function, type T", "type T" */
static void mtrace_put_function_(mtrace_text_ *t, const mtrace_statistic *row, const char *before) {
    if (row->function != NULL) {
        mtrace_put_(t, before);
        mtrace_put_(t, row->function);
    }
    if (row->type != NULL) {
        mtrace_put_(t, row->function != NULL ? ", type " : before);
        mtrace_put_(t, row->function != NULL ? "" : "type ");
        mtrace_put_(t, row->type);
    }
}

static const char *mtrace_view_words_(mtrace_view view) {
    return view == MTRACE_VIEW_PEAK    ? " held at the peak"
           : view == MTRACE_VIEW_TOTAL ? " allocated in all"
                                       : " held";
}

/* " (+-1024 KiB)" behind an estimate. */
static void mtrace_put_error_(mtrace_text_ *t, uint64_t variance) {
    if (MTRACE_HOSTED_ && variance != 0) {
        mtrace_put_(t, " (+-");
        mtrace_put_size_(t, mtrace_standard_error(variance));
        mtrace_put_char_(t, ')');
    }
}

static void mtrace_put_warning_(mtrace_text_ *t, const mtrace_statistic *row,
                                mtrace_key_type key_type, mtrace_view view, bool is_diff) {
    mtrace_put_key_(t, row, key_type);
    mtrace_put_(t, ": warning: ");
    if (is_diff) {
        mtrace_put_(t, "grew by ");
        mtrace_put_size_diff_(t, row->size_diff);
        mtrace_put_(t, " in ");
        mtrace_put_signed_(t, row->count_diff);
        mtrace_put_(t, mtrace_magnitude_(row->count_diff) == 1 ? " block" : " blocks");
        mtrace_put_error_(t, row->diff_variance.size);
    } else {
        mtrace_put_size_(t, row->size);
        mtrace_put_(t, " in ");
        mtrace_put_count_(t, row->count, "block");
        mtrace_put_error_(t, row->variance.size);
        mtrace_put_(t, view == MTRACE_VIEW_LIVE ? " not freed" : mtrace_view_words_(view));
    }
    if (mtrace_shows_function_(key_type)) {
        mtrace_put_function_(t, row, ", allocated in ");
    }
}

/* The scopes as an editor's error list takes them: `file:line: note: inside load_level`. */
static void mtrace_put_scope_notes_(mtrace_text_ *t, const mtrace_statistic *row) {
    uint32_t i;
    for (i = row->traceback.count; i > 1; i--) {
        const mtrace_frame *frame = &row->traceback.frames[i - 2];
        mtrace_put_line_number_(t, frame->file, frame->line);
        mtrace_put_(t, ": note: inside ");
        mtrace_put_(t, mtrace_or_unknown_(frame->function));
        mtrace_put_char_(t, '\n');
    }
}

static bool mtrace_row_grew_(const mtrace_statistic *row) {
    return row->size_diff > 0 || (row->size_diff == 0 && row->count_diff > 0);
}

/* A size right-aligned before `column`. */
static void mtrace_put_size_right_(mtrace_text_ *t, uint64_t size, size_t column) {
    char buffer[2 * MTRACE_NUMBER_];
    mtrace_format_size(buffer, sizeof buffer, (int64_t)size, false);
    mtrace_put_right_(t, buffer, column);
}

static void mtrace_put_size_diff_right_(mtrace_text_ *t, int64_t size, size_t column) {
    char buffer[2 * MTRACE_NUMBER_];
    mtrace_format_size(buffer, sizeof buffer, size, true);
    mtrace_put_right_(t, buffer, column);
}

static void mtrace_put_number_right_(mtrace_text_ *t, uint64_t value, bool negative, bool with_sign,
                                     size_t column) {
    char buffer[MTRACE_NUMBER_];
    mtrace_put_right_(t, mtrace_number_(buffer, value, negative, with_sign), column);
}

/* Tenths of a percent, as "33.9", right-aligned. */
static void mtrace_put_percent_(mtrace_text_ *t, uint64_t part, uint64_t whole, size_t column) {
    char buffer[MTRACE_NUMBER_ + 2];
    uint64_t tenths;
    mtrace_text_ number;
    while (part > UINT64_MAX / 1000) {
        part /= 2;
        whole /= 2;
    }
    tenths = whole == 0 ? 0 : mtrace_round_(part * 1000, whole);
    mtrace_text_to_buffer_(&number, buffer, sizeof buffer);
    mtrace_put_number_(&number, tenths / 10);
    mtrace_put_char_(&number, '.');
    mtrace_put_number_(&number, tenths % 10);
    mtrace_put_right_(t, buffer, column);
}

enum { MTRACE_C1_ = 10, MTRACE_C2_ = 21, MTRACE_C3_ = 31, MTRACE_C4_ = 39 }; /* column ends */

/* file:line and function, the former cut at its front to fit, the latter left out if too long. */
static void mtrace_put_cut_(mtrace_text_ *t, const mtrace_statistic *row, mtrace_key_type key_type,
                            size_t columns) {
    mtrace_text_ dry;
    size_t room = columns > t->column ? columns - t->column : 0, length;
    mtrace_text_to_buffer_(&dry, NULL, 0);
    mtrace_put_key_(&dry, row, key_type);
    length = dry.length;
    if (length > room && room > 3) {
        mtrace_put_(t, "...");
        t->skip = length - (room - 3);
    }
    mtrace_put_key_(t, row, key_type);
    if (mtrace_shows_function_(key_type) && row->function != NULL &&
        length + 1 + strlen(row->function) <= room) {
        mtrace_put_char_(t, ' ');
        mtrace_put_(t, row->function);
    }
    mtrace_put_char_(t, '\n');
}

/* The scopes around a call site, the innermost first, a line each. */
static void mtrace_put_scope_rows_(mtrace_text_ *t, const mtrace_statistic *row, size_t columns) {
    mtrace_statistic scope = *row;
    uint32_t i;
    for (i = row->traceback.count; i > 1; i--) {
        scope.file = row->traceback.frames[i - 2].file;
        scope.function = row->traceback.frames[i - 2].function;
        scope.line = row->traceback.frames[i - 2].line;
        mtrace_put_right_(t, "from ", MTRACE_C4_ + 9);
        mtrace_put_cut_(t, &scope, MTRACE_BY_LINE, columns);
    }
}

/* "+- 1234 KiB", the standard error of a size. */
static void mtrace_put_error_right_(mtrace_text_ *t, uint64_t variance, bool is_size,
                                    size_t column) {
    char buffer[2 * MTRACE_NUMBER_];
    mtrace_text_ n;
    mtrace_text_to_buffer_(&n, buffer, sizeof buffer);
    mtrace_put_(&n, "+-");
    if (is_size) {
        mtrace_put_size_(&n, mtrace_standard_error(variance));
    } else {
        mtrace_put_number_(&n, mtrace_standard_error(variance));
    }
    mtrace_put_right_(t, buffer, column);
}

static void mtrace_put_estimates_(mtrace_text_ *t, const mtrace_statistic *row, bool is_diff) {
    const mtrace_variance *variance = is_diff ? &row->diff_variance : &row->variance;
    if (is_diff) {
        mtrace_put_size_diff_right_(t, row->size_diff, MTRACE_C1_);
    } else {
        mtrace_put_size_right_(t, row->size, MTRACE_C1_);
    }
    mtrace_put_error_right_(t, variance->size, true, MTRACE_C2_);
    if (is_diff) {
        mtrace_put_number_right_(t, mtrace_magnitude_(row->count_diff), row->count_diff < 0, true,
                                 MTRACE_C3_);
    } else {
        mtrace_put_number_right_(t, row->count, false, false, MTRACE_C3_);
    }
    mtrace_put_error_right_(t, variance->count, false, MTRACE_C4_);
}

static void mtrace_put_figures_(mtrace_text_ *t, const mtrace_statistics *s,
                                const mtrace_statistic *row) {
    if (s->is_diff) {
        mtrace_put_size_diff_right_(t, row->size_diff, MTRACE_C1_);
        mtrace_put_size_right_(t, row->size, MTRACE_C2_);
        mtrace_put_number_right_(t, mtrace_magnitude_(row->count_diff), row->count_diff < 0, true,
                                 MTRACE_C3_);
        mtrace_put_number_right_(t, row->count, false, false, MTRACE_C4_);
    } else {
        mtrace_put_size_right_(t, row->size, MTRACE_C1_);
        mtrace_put_percent_(t, row->size, s->total.size, MTRACE_C1_ + 7);
        mtrace_put_number_right_(t, row->count, false, false, MTRACE_C1_ + 16);
        if ((s->key_type & MTRACE_KEY_) == MTRACE_BY_SIZE_CLASS) {
            mtrace_put_right_(t, "-", MTRACE_C4_ - 1); /* not known */
        } else {
            mtrace_put_size_right_(t, row->peak_size, MTRACE_C4_ - 1);
        }
    }
}

/* By size class a sample's errors are not known. */
static bool mtrace_shows_errors_(const mtrace_statistics *s) {
    return MTRACE_HOSTED_ && s->info.sample_interval != 0 &&
           (s->key_type & MTRACE_KEY_) != MTRACE_BY_SIZE_CLASS;
}

static void mtrace_put_table_row_(mtrace_text_ *t, const mtrace_statistics *s,
                                  const mtrace_statistic *row, size_t columns) {
    if (mtrace_shows_errors_(s)) {
        mtrace_put_estimates_(t, row, s->is_diff);
    } else {
        mtrace_put_figures_(t, s, row);
    }
    mtrace_put_(t, row->dropped_count != 0 ? " *" : "  ");
    mtrace_put_cut_(t, row, s->key_type, columns);
}

static const char *mtrace_columns_(const mtrace_statistics *s) {
    return mtrace_shows_errors_(s) ? s->is_diff ? "\n      DIFF         +-     COUNT      +-"
                                                : "\n      SIZE         +-     COUNT      +-"
           : s->is_diff            ? "\n      DIFF       SIZE     COUNT     NOW"
                                   : "\n      SIZE      %    COUNT     AT PEAK";
}

static const char *mtrace_key_noun_(mtrace_key_type key_type) {
    static const char *const nouns[] = {"line",   "file",       "function", "type",
                                        "domain", "size class", "traceback"};
    return nouns[key_type & MTRACE_KEY_];
}

static void mtrace_put_table_head_(mtrace_text_ *t, const mtrace_statistics *s, size_t shown) {
    mtrace_put_(t, "mtrace: ");
    mtrace_put_size_(t, s->total.size);
    mtrace_put_(t, " in ");
    mtrace_put_count_(t, s->total.count, "block");
    mtrace_put_(t, mtrace_view_words_(s->view));
    if (s->is_diff) {
        mtrace_put_(t, ", ");
        mtrace_put_size_diff_(t, s->total.size_diff);
        mtrace_put_(t, " in ");
        mtrace_put_signed_(t, s->total.count_diff);
    } else if (s->view == MTRACE_VIEW_LIVE) {
        mtrace_put_(t, ", peak ");
        mtrace_put_size_(t, s->traced_memory.peak);
    }
    mtrace_put_(t, "; ");
    mtrace_put_number_(t, shown);
    mtrace_put_(t, " of ");
    mtrace_put_count_(t, s->count, mtrace_key_noun_(s->key_type));
    mtrace_put_(t, mtrace_columns_(s));
    mtrace_put_column_(t, s->is_diff || mtrace_shows_errors_(s) ? 41 : 40);
    mtrace_put_(t, "WHERE\n");
}

/* What keeps the figures from being the whole truth; true when something was said. */
static bool mtrace_put_doubts_(mtrace_text_ *t, const mtrace_info *info) {
    size_t before = t->length;
    if (MTRACE_HOSTED_ && info->sample_interval != 0) {
        mtrace_put_(t, "; sampled every ");
        mtrace_put_size_(t, info->sample_interval);
        mtrace_put_(t, ": figures are estimates, +- one standard error");
    }
    if (info->dropped_count != 0) {
        mtrace_put_(t, "; ");
        mtrace_put_count_(t, info->dropped_count, "block");
        mtrace_put_(t, " (");
        mtrace_put_size_(t, info->dropped_bytes);
        mtrace_put_(t, ") not traced: rows marked * are too low");
    }
    if (info->foreign_frees != 0) {
        mtrace_put_(t, "; ");
        mtrace_put_count_(t, info->foreign_frees, "foreign free");
    }
    if (info->stale_replaced != 0) {
        mtrace_put_(t, "; ");
        mtrace_put_count_(t, info->stale_replaced, "stale trace");
        mtrace_put_(t, " replaced");
    }
    if (info->lost_sites != 0) {
        mtrace_put_(t, "; site table full: ");
        mtrace_put_count_(t, info->lost_sites, "allocation");
        mtrace_put_(t, " charged to <other>");
    }
    if (info->lost_scopes != 0) {
        mtrace_put_(t, "; scope table full: ");
        mtrace_put_count_(t, info->lost_scopes, "scope");
        mtrace_put_(t, " missing from tracebacks");
    }
    if (info->lost_names != 0) {
        mtrace_put_(t, "; name table full: some names are <unknown>");
    }
    return t->length != before;
}

/* The last line. A table's always tells the tracer's own memory; the other styles speak only of
 * doubts. */
static void mtrace_put_foot_(mtrace_text_ *t, const mtrace_statistics *s, mtrace_style style) {
    mtrace_text_ dry;
    mtrace_text_to_buffer_(&dry, NULL, 0);
    if (style == MTRACE_STYLE_TABLE || mtrace_put_doubts_(&dry, &s->info)) {
        mtrace_put_(t, style == MTRACE_STYLE_LINES ? "# mtrace's own memory "
                                                   : "mtrace's own memory ");
        mtrace_put_size_(t, s->info.tracer_memory);
        mtrace_put_doubts_(t, &s->info);
        mtrace_put_char_(t, '\n');
    }
}

static void mtrace_put_row_(mtrace_text_ *t, const mtrace_statistics *s,
                            const mtrace_statistic *row, const mtrace_report_desc *desc) {
    switch (desc->style) {
    case MTRACE_STYLE_TABLE:
        mtrace_put_table_row_(t, s, row, desc->columns == 0 ? 80 : desc->columns);
        mtrace_put_scope_rows_(t, row, desc->columns == 0 ? 80 : desc->columns);
        break;
    case MTRACE_STYLE_PYTHON:
        mtrace_put_python_(t, row, s->key_type, s->is_diff);
        mtrace_put_char_(t, '\n');
        break;
    case MTRACE_STYLE_LINES:
        mtrace_put_line_(t, row, s->key_type, s->info.sample_interval != 0);
        break;
    case MTRACE_STYLE_WARNINGS:
        if (s->is_diff ? mtrace_row_grew_(row) : row->count != 0) {
            mtrace_put_warning_(t, row, s->key_type, s->view, s->is_diff);
            mtrace_put_char_(t, '\n');
            mtrace_put_scope_notes_(t, row);
        }
        break;
    }
}

/* The rows that a top list leaves out, as one, so that the table adds up. */
static void mtrace_put_other_(mtrace_text_ *t, const mtrace_statistics *s,
                              const mtrace_report_desc *desc, size_t shown) {
    mtrace_statistic other = mtrace_statistics_other(s, shown);
    char name[64];
    mtrace_text_ n;
    mtrace_text_to_buffer_(&n, name, sizeof name);
    mtrace_put_(&n, "<other: ");
    mtrace_put_count_(&n, s->count - shown, mtrace_key_noun_(s->key_type));
    mtrace_put_char_(&n, '>');
    if (desc->style == MTRACE_STYLE_TABLE) {
        mtrace_statistics files = *s; /* to print the name as it is */
        files.key_type = MTRACE_BY_FILE;
        other.file = name;
        mtrace_put_row_(t, &files, &other, desc);
    }
}

static void mtrace_report_(mtrace_text_ *t, const mtrace_statistics *s,
                           const mtrace_report_desc *desc) {
    size_t shown = desc->top == 0 || desc->top > s->count ? s->count : desc->top, i;
    if (desc->style == MTRACE_STYLE_TABLE) {
        mtrace_put_table_head_(t, s, shown);
    } else if (desc->style == MTRACE_STYLE_LINES) {
        mtrace_put_(t,
                    "# size count size_diff count_diff peak_size peak_count total_size total_count "
                    "frees reallocs dropped_count dropped_size ");
        mtrace_put_(t, s->info.sample_interval == 0
                           ? "where\n"
                           : "size_error count_error size_diff_error count_diff_error where\n");
    }
    for (i = 0; i < shown; i++) {
        mtrace_put_row_(t, s, &s->rows[i], desc);
    }
    if (shown < s->count && (s->key_type & MTRACE_CUMULATIVE) == 0) { /* those rows overlap */
        mtrace_put_other_(t, s, desc, shown);
    }
    mtrace_put_foot_(t, s, desc->style);
    mtrace_text_flush_(t);
}

mtrace_result mtrace_report(const mtrace_statistics *statistics, const mtrace_report_desc *desc) {
    static const mtrace_report_desc defaults = MTRACE_ZERO_;
    mtrace_text_ t;
    desc = desc == NULL ? &defaults : desc;
    if (statistics == NULL || (unsigned)desc->style > MTRACE_STYLE_WARNINGS) {
        return MTRACE_ERR_ARGUMENT;
    }
    if (desc->write != NULL) {
        mtrace_text_to_callback_(&t, desc->write, desc->write_user);
    } else if (!mtrace_text_default_(&t)) {
        return MTRACE_ERR_NO_WRITER;
    }
    mtrace_report_(&t, statistics, desc);
    return MTRACE_OK;
}

/* Snapshot, statistics, report, all in the tracer's memory. */
static mtrace_result mtrace_print_(const mtrace_snapshot *old, mtrace_view view,
                                   mtrace_key_type key_type, mtrace_style style, size_t top) {
    bool with_blocks = (key_type & MTRACE_KEY_) == MTRACE_BY_SIZE_CLASS;
    mtrace_report_desc desc = MTRACE_ZERO_;
    mtrace_snapshot *now;
    mtrace_statistics *statistics = NULL;
    mtrace_result result = mtrace_snapshot_take(&now, with_blocks, NULL);
    if (result == MTRACE_OK) {
        mtrace_snapshot_set_view(now, view);
        result = mtrace_statistics_make_(&statistics, now, old, old != NULL, key_type, NULL);
    }
    if (result == MTRACE_OK) {
        desc.style = style;
        desc.top = top;
        result = mtrace_report(statistics, &desc);
    }
    mtrace_statistics_free(statistics);
    mtrace_snapshot_free(now);
    return result;
}

mtrace_result mtrace_print_by(mtrace_key_type key_type, size_t top) {
    return mtrace_print_(NULL, MTRACE_VIEW_LIVE, key_type, MTRACE_STYLE_TABLE, top);
}

mtrace_result mtrace_print_top(size_t top) {
    return mtrace_print_by(MTRACE_BY_LINE, top);
}

mtrace_result mtrace_print_peak(size_t top) {
    return mtrace_print_(NULL, MTRACE_VIEW_PEAK, MTRACE_BY_LINE, MTRACE_STYLE_TABLE, top);
}

mtrace_result mtrace_print_diff(const mtrace_snapshot *old, size_t top) {
    return old == NULL
               ? MTRACE_ERR_ARGUMENT
               : mtrace_print_(old, MTRACE_VIEW_LIVE, MTRACE_BY_LINE, MTRACE_STYLE_TABLE, top);
}

mtrace_result mtrace_print_leaks(void) {
    return mtrace_print_(NULL, MTRACE_VIEW_LIVE, MTRACE_BY_LINE, MTRACE_STYLE_WARNINGS, 0);
}

void mtrace_write_message(const char *message) {
    mtrace_text_ t;
    if (mtrace_text_default_(&t)) {
        mtrace_put_(&t, message);
        mtrace_put_(&t, "\n");
        mtrace_text_flush_(&t);
    }
}

/* ============================================================================================== */
/* [SECTION] CHECK                                                                                */
/* ============================================================================================== */

/* A number for an account that is hard to cancel: sums over all accounts at once then tell of each.
 */
static uint64_t mtrace_weight_(uint32_t account) {
    return ((uint64_t)account + 1) * 0x9E3779B97F4A7C15u;
}

/* A sum over slots that is hard to cancel: what they count as displaced, without those whose count
   is stuck, less what the traces have passed. */
static uint64_t mtrace_check_counted_(uint32_t at) {
    uint32_t displaced = mtrace_g_.slots[at].displaced;
    return displaced / MTRACE_FAR_ONE_ == MTRACE_FAR_MAX_ ? displaced % MTRACE_FAR_ONE_ : displaced;
}

static uint64_t mtrace_check_passed_(uint32_t at) {
    const mtrace_slot_ *slots = mtrace_g_.slots, *slot = &slots[at];
    uint32_t passed = mtrace_slot_home_(slot);
    uint32_t step = mtrace_step_(slot->key, (slot->size_high & MTRACE_TRACKED_) != 0);
    uint64_t sum = 0;
    for (; (passed ^ at) >= MTRACE_LINE_SLOTS_; passed = mtrace_next_line_(passed, &step)) {
        bool stuck = slots[passed].displaced / MTRACE_FAR_ONE_ == MTRACE_FAR_MAX_;
        sum += stuck ? 0 : MTRACE_FAR_ONE_ * mtrace_weight_(passed);
    }
    return sum + (passed == at ? 0 : mtrace_weight_(passed));
}

static const char *mtrace_check_slot_(uint32_t at) {
    mtrace_tracer_ *g = &mtrace_g_;
    const mtrace_slot_ *slot = &g->slots[at];
    if (slot->account != 0) {
        bool tracked = (slot->size_high & MTRACE_TRACKED_) != 0;
        uint32_t home = mtrace_slot_home_(slot);
        if (slot->account >= g->account_pool.count) {
            return "I1: a slot's account is unknown";
        }
        if (mtrace_find_slot_(home, slot->key, tracked, g->accounts[slot->account].domain) != at) {
            return "I2: a trace is not found where it is";
        }
        if (home != at && g->slots[home].displaced == 0) {
            return "I3: a displaced trace is not counted at its home";
        }
        if (g->filter != NULL && *mtrace_filter_of_(slot->key) == 0) {
            return "I9: a trace is not in the filter";
        }
    }
    return NULL;
}

static const char *mtrace_check_table_(void) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint64_t bytes = 0, blocks = 0, weighted = 0, displaced = 0;
    uint32_t at, i;
    for (at = 0; at <= g->mask; at++) {
        const mtrace_slot_ *slot = &g->slots[at];
        const char *broken = mtrace_check_slot_(at);
        if (broken != NULL) {
            return broken;
        }
        displaced += mtrace_check_counted_(at) * mtrace_weight_(at);
        if (slot->account != 0) {
            displaced -= mtrace_check_passed_(at);
            mtrace_estimate_ e = mtrace_estimate_of_(mtrace_slot_size_(slot), g->sample_interval);
            bytes += e.bytes;
            blocks += 1;
            weighted += (e.bytes + (e.count << 40)) * mtrace_weight_(slot->account);
        }
    }
    if (displaced != 0) {
        return "I3: a slot's count of displaced traces is wrong";
    }
    for (i = MTRACE_ACCOUNT_OTHER_; i < g->account_pool.count; i++) {
        mtrace_cell_ sum;
        uint64_t live;
        mtrace_account_sum_(i, &sum);
        live = (size_t)sum.total_count - sum.freed_count;
        weighted -= (sum.total_bytes - sum.freed_bytes + (live << 40)) * mtrace_weight_(i);
    }
    if (weighted != 0) {
        return "I4: an account's live bytes or blocks are not the sum of its traces";
    }
    if ((uint64_t)mtrace_held_bytes_() != bytes || (uint64_t)mtrace_held_blocks_() != blocks) {
        return "I5: the lanes' totals are not the sum of all traces";
    }
    return NULL;
}

static uint32_t mtrace_check_place_(uint32_t number) {
    return mtrace_place_intern_(&mtrace_g_.places[number], false);
}

static uint32_t mtrace_check_node_(uint32_t number) {
    const mtrace_node_ *node = &mtrace_g_.nodes[number];
    bool known = node->parent < mtrace_g_.node_pool.count && node->parent != MTRACE_NODE_LOST_ &&
                 node->place < mtrace_g_.place_pool.count;
    return known ? mtrace_node_intern_(node) : 0;
}

static uint32_t mtrace_check_account_(uint32_t number) {
    const mtrace_account_ *account = &mtrace_g_.accounts[number];
    bool known = mtrace_node_known_(account->node) && account->place < mtrace_g_.place_pool.count;
    return known ? mtrace_account_intern_(account) : 0;
}

/* Every number in the index is found through it again. */
static bool mtrace_check_pool_(const mtrace_pool_ *pool, uint32_t (*find)(uint32_t number)) {
    uint32_t at;
    for (at = 0; at < pool->index_slots; at++) {
        uint32_t entry = pool->index[at];
        if (entry != 0 && (entry < MTRACE_FIRST_ || entry >= pool->count || find(entry) != entry)) {
            return false;
        }
    }
    return true;
}

static const char *mtrace_check_index_(void) {
    if (!mtrace_check_pool_(&mtrace_g_.place_pool, mtrace_check_place_)) {
        return "I6: a place is not found through the index";
    }
    if (!mtrace_check_pool_(&mtrace_g_.node_pool, mtrace_check_node_)) {
        return "I6: a scope is not found through the index";
    }
    if (!mtrace_check_pool_(&mtrace_g_.account_pool, mtrace_check_account_)) {
        return "I6: an account is not found through the index";
    }
    return NULL;
}

static bool mtrace_check_limits_(void) {
    uint32_t i, n = mtrace_lane_total_();
    int64_t bytes = 0, blocks = 0;
    for (i = mtrace_g_.shared_used ? 0 : 1; i < n; i++) {
        const mtrace_lane_ *lane = mtrace_lane_at_(i);
        bytes += lane->bytes.down == INT64_MIN ? lane->bytes.value : lane->bytes.down;
        blocks += lane->blocks.down == INT64_MIN ? lane->blocks.value : lane->blocks.down;
    }
    return (bytes <= (int64_t)mtrace_g_.peak || mtrace_held_bytes_() > (int64_t)mtrace_g_.peak) &&
           (blocks <= (int64_t)mtrace_g_.high_water ||
            mtrace_held_blocks_() > (int64_t)mtrace_g_.high_water);
}

static const char *mtrace_check_peak_(void) {
    if (mtrace_traced_memory_().peak < mtrace_traced_memory_().current) {
        return "I7: the peak is below what is held";
    }
    if (!mtrace_check_limits_()) {
        return "I8: the lanes could pass the peak unseen";
    }
    return NULL;
}

static const char *mtrace_check_(void) {
    const char *broken = NULL;
    if (MTRACE_STATE_() != 0) {
        broken = mtrace_check_table_();
        broken = broken != NULL ? broken : mtrace_check_index_();
        broken = broken != NULL ? broken : mtrace_check_peak_();
    }
    return broken;
}

const char *mtrace_check(void) {
    const char *broken;
    MTRACE_LOCK();
    broken = mtrace_check_();
    MTRACE_UNLOCK();
    return broken;
}

static uint64_t mtrace_growth_sum_(const mtrace_statistics *diff, uint64_t tolerance) {
    uint64_t sum = 0;
    size_t i;
    for (i = 0; i < diff->count; i++) {
        if (mtrace_row_grew_(&diff->rows[i])) {
            uint64_t grown = (uint64_t)diff->rows[i].size_diff;
            sum += grown == 0 && tolerance == 0 ? 1 : grown;
        }
    }
    return sum;
}

static void mtrace_growth_say_(mtrace_text_ *t, const mtrace_statistics *diff, uint64_t grown,
                               uint64_t tolerance) {
    size_t i;
    mtrace_put_(t, "memory grew by ");
    mtrace_put_size_(t, grown);
    mtrace_put_(t, " (tolerance ");
    mtrace_put_size_(t, tolerance);
    mtrace_put_(t, "):");
    for (i = 0; i < diff->count; i++) {
        if (mtrace_row_grew_(&diff->rows[i])) {
            mtrace_put_char_(t, '\n');
            mtrace_put_warning_(t, &diff->rows[i], MTRACE_BY_LINE, MTRACE_VIEW_LIVE, true);
        }
    }
}

static uint64_t mtrace_growth_unknown_(mtrace_text_ *t, const char *why) {
    mtrace_put_(t, "cannot tell whether memory grew: ");
    mtrace_put_(t, why);
    return UINT64_MAX;
}

static uint64_t mtrace_growth_judge_(mtrace_text_ *t, const mtrace_statistics *diff,
                                     uint64_t tolerance) {
    uint64_t grown = mtrace_growth_sum_(diff, tolerance);
    if (diff->total.dropped_count != 0) {
        return mtrace_growth_unknown_(t, "blocks were not traced, the table was full");
    }
    if (diff->info.sample_interval != 0) {
        return mtrace_growth_unknown_(t, "sampling, figures are estimates");
    }
    if (grown <= tolerance) {
        return 0;
    }
    mtrace_growth_say_(t, diff, grown, tolerance);
    return grown;
}

uint64_t mtrace_growth(const mtrace_snapshot *old, uint64_t tolerance, char *message, size_t size) {
    mtrace_text_ t;
    mtrace_snapshot *now;
    mtrace_statistics *diff = NULL;
    mtrace_result result = mtrace_snapshot_take(&now, false, NULL);
    uint64_t grown;
    mtrace_text_to_buffer_(&t, message, size);
    if (result == MTRACE_OK) {
        result = mtrace_snapshot_compare(&diff, now, old, MTRACE_BY_LINE, NULL);
    }
    grown = result == MTRACE_OK ? mtrace_growth_judge_(&t, diff, tolerance)
                                : mtrace_growth_unknown_(&t, mtrace_result_text(result));
    mtrace_statistics_free(diff);
    mtrace_snapshot_free(now);
    return grown;
}

#endif /* MTRACE_IMPLEMENTATION */

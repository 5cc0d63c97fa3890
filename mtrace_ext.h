/* mtrace_ext.h - what mtrace.h leaves to the operating system - MIT licence, see LICENSE

   Snapshot files, snapshots for Python's tracemalloc, source lines, memory over time, start by an
   environment variable. It uses mtrace.h's public calls only. Include it where you need it; its
   implementation comes with that of mtrace.h (and wants -lpthread where libc has no threads in it,
   as glibc's before 2.34):

       #define MTRACE_IMPLEMENTATION
       #include "mtrace_ext.h"      (includes mtrace.h)

   Without MTRACE every call answers MTRACE_ERR_COMPILED_OUT, and nothing is compiled in.

   MTRACE_START_FROM_ENVIRONMENT, defined where the implementation is: a constructor, which runs
   before main, calls mtrace_start_from_environment(NULL) and ends the program when that fails, as
   CPython does. Without it nothing runs that you did not call. */

#ifndef MTRACE_EXT_H
#define MTRACE_EXT_H

#include "mtrace.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills the buffer with up to `size` bytes; what it returns is how many, 0 at the end, SIZE_MAX
   when it failed. */
typedef size_t (*mtrace_read_fn)(void *buffer, size_t size, void *user);

/* --- memory over time, see RECORDER --- */

/* A call that has ended. */
typedef struct mtrace_span {
    uint64_t start; /* ns, as mtrace_now() */
    uint64_t end;
    uint64_t start_bytes; /* bytes held at its start */
    uint64_t end_bytes;
    uint32_t level;  /* of nesting in its thread, 0 outermost */
    uint32_t thread; /* a number of your own that tells threads apart */
} mtrace_span;

/* What to record. All zero is a good default: NULL may stand for it. */
typedef struct mtrace_recorder_desc {
    uint32_t interval;          /* ms between the samples of its own thread. 0: 100 */
    bool no_thread;             /* mtrace_tick() alone takes samples */
    size_t max_samples;         /* kept, 2 at least. 0: 4,096 */
    size_t max_marks;           /* kept. 0: 1,024 */
    const mtrace_filter *sites; /* at most 8: the bytes held by the rows that match; copied */
    size_t site_count;
    const uint32_t *domains; /* at most 8: the bytes held in each */
    size_t domain_count;
    mtrace_write_fn write; /* each sample and mark, when it is taken, as lines of mprof's .dat. It
                              must not call the recorder, nor fork. NULL: no */
    void *write_user;
} mtrace_recorder_desc;

typedef struct mtrace_recorder_info {
    bool is_on;
    size_t samples;         /* kept */
    uint64_t taken;         /* samples ever taken */
    size_t marks;           /* kept */
    uint64_t dropped_marks; /* there was no room for */
    uint64_t peak;          /* the most bytes seen held at once */
    uint64_t peak_time;     /* ns, as mtrace_now(): when that was seen first */
    size_t memory;          /* bytes of the recorder's own */
} mtrace_recorder_info;

typedef enum mtrace_recorder_format {
    MTRACE_RECORDER_DAT = 0,            /* for Python's mprof: mprof plot, mprof peak */
    MTRACE_RECORDER_CHROME = 1,         /* trace events (JSON): Perfetto, Qt Creator */
    MTRACE_RECORDER_CSV = 2,            /* the samples, RFC 4180 */
    MTRACE_RECORDER_SVG = 3,            /* a picture */
    MTRACE_RECORDER_PLOT = 4,           /* a picture of ASCII, 80 columns */
    MTRACE_RECORDER_SPARKLINE = 5,      /* one line, UTF-8 */
    MTRACE_RECORDER_SPARKLINE_ASCII = 6 /* one line, ASCII */
} mtrace_recorder_format;

#ifdef MTRACE

/* ============================================================================================== */
/* [SECTION] FILES - snapshots in files; docs/FORMAT.md tells every byte                          */
/* ============================================================================================== */

/* Writes a snapshot: to a file (first under another name beside it, then renamed, so that a crash
   leaves an older file whole), or piece by piece through a callback. Errors: ARGUMENT (NULL, or
   names of 4 GiB), IO (errno tells; no file is left behind). O(call sites + blocks). Any thread;
   dump_to allocates nothing and needs 9 KiB of stack, so that it goes wherever `write` does.
   Source: tracemalloc.Snapshot.dump(). */
MTRACE_API mtrace_result mtrace_snapshot_dump(const mtrace_snapshot *snapshot, const char *path);
MTRACE_API mtrace_result mtrace_snapshot_dump_to(const mtrace_snapshot *snapshot,
                                                 mtrace_write_fn write, void *user);

/* Reads one, written on any machine. Nothing in the file is believed: errors are IO, NOT_SNAPSHOT,
   VERSION, TRUNCATED, CORRUPT, NO_MEMORY (*out is NULL). What it allocates is at most a few times
   the bytes that were really read. memory NULL: the tracer's. Two files of one run of a program
   compare as their snapshots did; compared with another run's, totals count from the start.
   O(file). Any thread. Source: tracemalloc.Snapshot.load(). */
MTRACE_API mtrace_result mtrace_snapshot_load(mtrace_snapshot **out, const char *path,
                                              const mtrace_memory *memory);
MTRACE_API mtrace_result mtrace_snapshot_load_from(mtrace_snapshot **out, mtrace_read_fn read,
                                                   void *user, const mtrace_memory *memory);

/* Writes what Python's tracemalloc.Snapshot.load() reads (CPython 3.9 and later): a trace for each
   block, in the domain, size and traceback it has here. A snapshot without its blocks, or in
   another view than what is live, has as many traces of a call site as it has blocks there, of its
   average size: all sums agree. Errors: ARGUMENT (NULL, or more than 2^32 blocks), IO.
   O(blocks). Any thread. Python runs what it unpickles: load only files of your own. Source: the
   pickle protocol, version 2. */
MTRACE_API mtrace_result mtrace_snapshot_dump_pickle(const mtrace_snapshot *snapshot,
                                                     const char *path);
MTRACE_API mtrace_result mtrace_snapshot_dump_pickle_to(const mtrace_snapshot *snapshot,
                                                        mtrace_write_fn write, void *user);

/* ============================================================================================== */
/* [SECTION] SOURCE                                                                               */
/* ============================================================================================== */

/* A line of a file that can be opened from here, for mtrace_format_traceback; user is not used.
   False when it cannot. O(file). Any thread. Source: Python's linecache. */
MTRACE_API bool mtrace_source_from_file(const char *file, uint32_t line, char *buffer, size_t size,
                                        void *user);

/* ============================================================================================== */
/* [SECTION] RECORDER - memory over time, in memory that does not grow                            */
/* ============================================================================================== */

/* A sample is what is held, the most that was since the sample before, the tracer's peak, what the
   process has resident, and what each chosen domain and site holds. That most is exact when it was
   the highest of all so far (or since a reset of the peak); lower ones between two samples are not
   seen. When there is no room, samples are merged in pairs, and so are those to come: the later
   one's time and bytes held, the highest of all else, so that no maximum is ever lost. Of marks the
   shorter half goes then. Blocks and peaks are the tracer's: stop, clear and reset it as you like meanwhile.

   Memory is taken at the start, from MTRACE_BASE_MALLOC: by default 288 KiB, 32 KiB more for each
   domain and site, and a snapshot's if there are any. That grows with the call sites. */

/* Takes a first sample, then one each interval in a thread of its own, with its signals blocked.
   desc NULL: all defaults. What was recorded before is gone. Errors: ALREADY, NOT_TRACING, ARGUMENT
   (more than 8 domains or sites, 1 sample, an interval above INT32_MAX, or a thread where there is
   none: Windows, MTRACE_SINGLE_THREAD; there set no_thread), NO_MEMORY, THREAD; then nothing has
   changed. O(max_samples). Any thread. A child of fork() goes on without the thread. Source: mprof
   run. */
MTRACE_API mtrace_result mtrace_recorder_start(const mtrace_recorder_desc *desc);

/* Ends the thread at once and takes a last sample. What was recorded can be written until the next
   start, or until free, which stops too and gives the memory back. No-op when it is so already. As
   a sample. Any thread, but not from desc.write; stop before `write` becomes invalid. */
MTRACE_API void mtrace_recorder_stop(void);
MTRACE_API void mtrace_recorder_free(void);

/* Does it record? O(1), one load. Any context. */
MTRACE_API bool mtrace_recorder_is_on(void);

/* What it has, and of what size; zeros before the first start. O(samples). Any thread. */
MTRACE_API mtrace_recorder_info mtrace_recorder_get_info(void);

/* A sample, now; no-op when not recording. O(1), and with domains or sites O(call sites x sites).
   Any thread; waits for a sample under way. Not a signal handler. */
MTRACE_API void mtrace_tick(void);

/* An instant ("level loaded"), and a call that has ended. The name (NULL: "") is copied, cut at 47
   bytes; in it characters of control are blanks and what is not UTF-8 is "?". No-op when not
   recording. O(1) on average. Any thread; with desc.write it waits for a sample under way. Not a
   signal handler. */
MTRACE_API void mtrace_mark(const char *name);
MTRACE_API void mtrace_mark_span(const char *name, const mtrace_span *span);

/* Nanoseconds of a clock that never goes back. O(1). Any context. */
MTRACE_API uint64_t mtrace_now(void);

/* Bytes of the process in physical memory. False (and 0) where it cannot be told: not on Linux.
   O(1), a file of /proc is read. Any context. Source: /proc/self/statm. */
MTRACE_API bool mtrace_get_resident(uint64_t *bytes);

/* Writes what was recorded, while recording or after: through a callback, line by line, or to a
   file, as mtrace_snapshot_dump does. Nothing recorded: a file without samples. Errors: ARGUMENT
   (NULL, no such format), NO_MEMORY (it works on a copy, so that nothing waits for `write`), IO.
   O(samples + marks). Any thread. Source: mprof plot, mprof peak; RFC 4180; Chrome's Trace Event
   Format. */
MTRACE_API mtrace_result mtrace_recorder_write(mtrace_recorder_format format, mtrace_write_fn write,
                                               void *user);
MTRACE_API mtrace_result mtrace_recorder_save(mtrace_recorder_format format, const char *path);

/* ============================================================================================== */
/* [SECTION] ENVIRONMENT                                                                          */
/* ============================================================================================== */

/* Starts as the environment says.

     MTRACE=N         1 to 65,535: start and keep N frames; 0, empty or unset: do not
     MTRACE_REPORT=…  at exit, any of these, separated by commas:
                      top  top=N  peak  peak=N  leaks  dump=FILE  pickle=FILE

   desc (NULL: all defaults) tells the rest; its frames are not used. Errors: NOT_TRACING (it says
   not to start), ARGUMENT (it makes no sense: one line on standard error tells why, and nothing was
   started), those of mtrace_start, FULL (atexit). As mtrace_start. Source: PYTHONTRACEMALLOC. */
MTRACE_API mtrace_result mtrace_start_from_environment(const mtrace_desc *desc);

#else /* not MTRACE */

static inline mtrace_result mtrace_snapshot_dump(const mtrace_snapshot *snapshot,
                                                 const char *path) {
    (void)snapshot;
    (void)path;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_snapshot_dump_to(const mtrace_snapshot *snapshot,
                                                    mtrace_write_fn write, void *user) {
    (void)snapshot;
    (void)write;
    (void)user;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_snapshot_load(mtrace_snapshot **out, const char *path,
                                                 const mtrace_memory *memory) {
    (void)path;
    (void)memory;
    *out = NULL;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_snapshot_load_from(mtrace_snapshot **out, mtrace_read_fn read,
                                                      void *user, const mtrace_memory *memory) {
    (void)read;
    (void)user;
    (void)memory;
    *out = NULL;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_snapshot_dump_pickle(const mtrace_snapshot *snapshot,
                                                        const char *path) {
    return mtrace_snapshot_dump(snapshot, path);
}
static inline mtrace_result mtrace_snapshot_dump_pickle_to(const mtrace_snapshot *snapshot,
                                                           mtrace_write_fn write, void *user) {
    return mtrace_snapshot_dump_to(snapshot, write, user);
}
static inline bool mtrace_source_from_file(const char *file, uint32_t line, char *buffer,
                                           size_t size, void *user) {
    (void)file;
    (void)line;
    (void)user;
    if (size > 0) {
        buffer[0] = '\0';
    }
    return false;
}
static inline mtrace_result mtrace_recorder_start(const mtrace_recorder_desc *desc) {
    (void)desc;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline void mtrace_recorder_stop(void) {}
static inline void mtrace_recorder_free(void) {}
static inline bool mtrace_recorder_is_on(void) {
    return false;
}
static inline mtrace_recorder_info mtrace_recorder_get_info(void) {
    mtrace_recorder_info zero = MTRACE_ZERO_;
    return zero;
}
static inline void mtrace_tick(void) {}
static inline void mtrace_mark(const char *name) {
    (void)name;
}
static inline void mtrace_mark_span(const char *name, const mtrace_span *span) {
    (void)name;
    (void)span;
}
static inline uint64_t mtrace_now(void) {
    return 0;
}
static inline bool mtrace_get_resident(uint64_t *bytes) {
    *bytes = 0;
    return false;
}
static inline mtrace_result mtrace_recorder_write(mtrace_recorder_format format,
                                                  mtrace_write_fn write, void *user) {
    (void)format;
    (void)write;
    (void)user;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_recorder_save(mtrace_recorder_format format, const char *path) {
    (void)format;
    (void)path;
    return MTRACE_ERR_COMPILED_OUT;
}
static inline mtrace_result mtrace_start_from_environment(const mtrace_desc *desc) {
    (void)desc;
    return MTRACE_ERR_COMPILED_OUT;
}

#endif /* MTRACE */

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* MTRACE_EXT_H */

/* In a multi-file library what follows would be mtrace_ext.c. */
#if defined(MTRACE) && defined(MTRACE_IMPLEMENTATION) && !defined(MTRACE_EXT_IMPLEMENTATION_DONE_)
#define MTRACE_EXT_IMPLEMENTATION_DONE_

#include "mtrace.h" /* its implementation, if it is not there yet */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include "xxhash.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ============================================================================================== */
/* [SECTION] SYSTEM - files that take the place of an older one when they are whole               */
/* ============================================================================================== */

#ifdef _WIN32
#include <io.h>
#include <process.h>
#include <windows.h>
static unsigned long mtrace_process_(void) {
    return (unsigned long)_getpid();
}
static bool mtrace_to_disk_(FILE *file) {
    return fflush(file) == 0 && _commit(_fileno(file)) == 0;
}
static bool mtrace_rename_(const char *from, const char *to) {
    return MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING) != 0;
}
#else
#include <unistd.h>
extern int fsync(int descriptor); /* strict C hides them */
extern int fileno(FILE *file);
static unsigned long mtrace_process_(void) {
    return (unsigned long)getpid();
}
static bool mtrace_to_disk_(FILE *file) {
    return fflush(file) == 0 && (fsync(fileno(file)) == 0 || errno == EINVAL); /* a pipe, say */
}
static bool mtrace_rename_(const char *from, const char *to) {
    return rename(from, to) == 0;
}
#endif

typedef struct mtrace_file_ {
    FILE *file;
    char *temporary; /* its name until it is whole */
} mtrace_file_;

static void mtrace_file_write_(const char *text, size_t length, void *user) {
    fwrite(text, 1, length, (FILE *)user); /* ferror() tells at the end */
}

static mtrace_result mtrace_file_open_(mtrace_file_ *f, const char *path) {
    size_t size = strlen(path) + 64;
    f->temporary = (char *)MTRACE_BASE_MALLOC(size);
    if (f->temporary == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    /* another thread's stack is elsewhere */
    snprintf(f->temporary, size, "%s.%lu-%lx.tmp", path, mtrace_process_(),
             (unsigned long)(uintptr_t)f);
    f->file = fopen(f->temporary, "wb");
    if (f->file == NULL) {
        MTRACE_BASE_FREE(f->temporary);
        return MTRACE_ERR_IO;
    }
    return MTRACE_OK;
}

/* The file takes its name, or is gone. errno is that of what failed. */
static mtrace_result mtrace_file_close_(mtrace_file_ *f, const char *path, mtrace_result result) {
    bool good = result == MTRACE_OK && ferror(f->file) == 0 && mtrace_to_disk_(f->file);
    int error = errno;
    if (fclose(f->file) != 0 && good) {
        good = false;
        error = errno;
    }
    if (good && !mtrace_rename_(f->temporary, path)) {
        good = false;
        error = errno;
    }
    if (!good) {
        remove(f->temporary);
    }
    MTRACE_BASE_FREE(f->temporary);
    errno = error;
    return good ? MTRACE_OK : result != MTRACE_OK ? result : MTRACE_ERR_IO;
}

typedef mtrace_result (*mtrace_dump_fn_)(const mtrace_snapshot *snapshot, mtrace_write_fn write,
                                         void *user);

static mtrace_result mtrace_dump_file_(const mtrace_snapshot *snapshot, const char *path,
                                       mtrace_dump_fn_ dump) {
    mtrace_file_ f;
    mtrace_result result;
    if (snapshot == NULL || path == NULL) {
        return MTRACE_ERR_ARGUMENT;
    }
    result = mtrace_file_open_(&f, path);
    if (result != MTRACE_OK) {
        return result;
    }
    return mtrace_file_close_(&f, path, dump(snapshot, mtrace_file_write_, f.file));
}

/* ============================================================================================== */
/* [SECTION] DUMP                                                                                 */
/* ============================================================================================== */

#define MTRACE_FILE_MAGIC_ "\x89MTRC\r\n\x1a"
enum {
    MTRACE_FILE_VERSION_ = 1,
    MTRACE_FILE_INFOS_ = 18,
    MTRACE_FILE_HEADER_ = 72 + 8 * MTRACE_FILE_INFOS_,
    MTRACE_FILE_FRAME_ = 12,
    MTRACE_FILE_COUNTERS_ = 16,
    MTRACE_FILE_ROW_ = 24 + 8 * MTRACE_FILE_COUNTERS_,
    MTRACE_FILE_BLOCK_ = 32,
    MTRACE_FILE_MAX_INTERVAL_ = 1 << 24, /* as desc.sample_interval */
    MTRACE_FILE_HAS_BLOCKS_ = 1
};
#define MTRACE_FILE_NONE_ UINT32_MAX /* no name */

/* Bytes on their way out, in pieces; hashed when they are a snapshot's. */
typedef struct mtrace_out_ {
    mtrace_write_fn write;
    void *user;
    bool hashed;
    size_t length;
    unsigned char bytes[256];
    XXH64_state_t hash;
} mtrace_out_;

static void mtrace_out_flush_(mtrace_out_ *o) {
    if (o->hashed) {
        XXH64_update(&o->hash, o->bytes, o->length);
    }
    o->write((const char *)o->bytes, o->length, o->user);
    o->length = 0;
}

static void mtrace_out_byte_(mtrace_out_ *o, unsigned byte) {
    if (o->length == sizeof o->bytes) {
        mtrace_out_flush_(o);
    }
    o->bytes[o->length++] = (unsigned char)byte;
}

static void mtrace_out_bytes_(mtrace_out_ *o, const char *bytes, size_t size) {
    size_t i;
    for (i = 0; i < size; i++) {
        mtrace_out_byte_(o, (unsigned char)bytes[i]);
    }
}

/* The `size` lowest bytes, the least first. */
static void mtrace_out_number_(mtrace_out_ *o, uint64_t value, int size) {
    for (; size > 0; size--, value >>= 8) {
        mtrace_out_byte_(o, (unsigned)(value & 0xff));
    }
}

/* Where names lie in a file, without a table of them all: a small cache, which forgets, and then a
   name is written again. Run over the rows in the same order it always answers the same, so that
   one run can count, one write and one refer. */
enum { MTRACE_NAMER_SLOTS_ = 512 };
typedef struct mtrace_namer_ {
    const char *names[MTRACE_NAMER_SLOTS_];
    uint32_t offsets[MTRACE_NAMER_SLOTS_];
    uint64_t end;
    mtrace_out_ *out; /* NULL: only look */
} mtrace_namer_;

static uint32_t mtrace_name_at_(mtrace_namer_ *n, const char *name) {
    uint32_t hash = (uint32_t)((uintptr_t)name ^ (uintptr_t)name >> 9) * 0x9E3779B1u;
    uint32_t slot = hash >> 23; /* 512 slots */
    if (name == NULL) {
        return MTRACE_FILE_NONE_;
    }
    if (n->names[slot] != name) {
        size_t size = strlen(name) + 1;
        n->names[slot] = name;
        n->offsets[slot] = (uint32_t)n->end;
        n->end += size;
        if (n->out != NULL) {
            mtrace_out_bytes_(n->out, name, size);
        }
    }
    return n->offsets[slot];
}

static void mtrace_namer_start_(mtrace_namer_ *n, mtrace_out_ *out) {
    memset(n, 0, sizeof *n);
    n->out = out;
}

static void mtrace_namer_frame_(mtrace_namer_ *n, const mtrace_frame *frame, uint32_t *at) {
    at[0] = mtrace_name_at_(n, frame->file);
    at[1] = mtrace_name_at_(n, frame->function);
}

/* Every name of the snapshot once round: frames of all rows, then types and domains. */
static void mtrace_namer_all_(mtrace_namer_ *n, const mtrace_snapshot_parts *p) {
    size_t i;
    for (i = 0; i < p->row_count; i++) {
        uint32_t at[2], j;
        for (j = 0; j < p->rows[i].traceback.count; j++) {
            mtrace_namer_frame_(n, &p->rows[i].traceback.frames[j], at);
        }
    }
    for (i = 0; i < p->row_count; i++) {
        mtrace_name_at_(n, p->rows[i].type);
        mtrace_name_at_(n, p->rows[i].domain_name);
    }
}

static uint64_t mtrace_count_frames_(const mtrace_snapshot_parts *p) {
    uint64_t n = 0;
    size_t i;
    for (i = 0; i < p->row_count; i++) {
        n += p->rows[i].traceback.count;
    }
    return n;
}

/* The figures of mtrace_info, in the order of the file. */
static void mtrace_infos_(const mtrace_info *info, uint64_t *figures) {
    figures[0] = info->capacity;
    figures[1] = info->live;
    figures[2] = info->high_water;
    figures[3] = info->longest_probe;
    figures[4] = info->max_sites;
    figures[5] = info->sites;
    figures[6] = info->dropped_count;
    figures[7] = info->dropped_bytes;
    figures[8] = info->foreign_frees;
    figures[9] = info->stale_replaced;
    figures[10] = info->lost_sites;
    figures[11] = info->lost_names;
    figures[12] = info->lost_scopes;
    figures[13] = info->max_scopes;
    figures[14] = info->scopes;
    figures[15] = info->tracer_memory;
    figures[16] = info->frames;
    figures[17] = info->sample_interval;
}

/* Tells this run of this program from others. */
static uint64_t mtrace_run_(uint64_t generation) {
    static const char here = 0;
    uint64_t words[3];
    words[0] = (uintptr_t)&here;
    words[1] = mtrace_process_();
    words[2] = generation;
    return XXH64(words, sizeof words, 0);
}

static void mtrace_dump_header_(mtrace_out_ *o, const mtrace_snapshot_parts *p, uint64_t names) {
    uint64_t infos[MTRACE_FILE_INFOS_];
    int i;
    mtrace_out_bytes_(o, MTRACE_FILE_MAGIC_, 8);
    mtrace_out_number_(o, MTRACE_FILE_VERSION_, 4);
    mtrace_out_number_(o, p->has_blocks ? MTRACE_FILE_HAS_BLOCKS_ : 0, 4);
    mtrace_out_number_(o, mtrace_run_(p->generation), 8);
    mtrace_out_number_(o, names, 8);
    mtrace_out_number_(o, mtrace_count_frames_(p), 8);
    mtrace_out_number_(o, p->row_count, 8);
    mtrace_out_number_(o, p->has_blocks ? p->block_count : 0, 8);
    mtrace_out_number_(o, p->traced_memory.current, 8);
    mtrace_out_number_(o, p->traced_memory.peak, 8);
    mtrace_infos_(&p->info, infos);
    for (i = 0; i < MTRACE_FILE_INFOS_; i++) {
        mtrace_out_number_(o, infos[i], 8);
    }
}

static void mtrace_dump_frames_(mtrace_out_ *o, mtrace_namer_ *n, const mtrace_traceback *t) {
    uint32_t i, at[2];
    for (i = 0; i < t->count; i++) {
        mtrace_namer_frame_(n, &t->frames[i], at);
        mtrace_out_number_(o, at[0], 4);
        mtrace_out_number_(o, at[1], 4);
        mtrace_out_number_(o, t->frames[i].line, 4);
    }
}

static void mtrace_dump_variance_(mtrace_out_ *o, const mtrace_variance *variance) {
    mtrace_out_number_(o, variance->size, 8);
    mtrace_out_number_(o, variance->count, 8);
}

static void mtrace_dump_row_(mtrace_out_ *o, mtrace_namer_ *n, const mtrace_statistic *row) {
    mtrace_out_number_(o, row->traceback.count, 4);
    mtrace_out_number_(o, row->traceback.total, 4);
    mtrace_out_number_(o, mtrace_name_at_(n, row->type), 4);
    mtrace_out_number_(o, mtrace_name_at_(n, row->domain_name), 4);
    mtrace_out_number_(o, row->domain, 4);
    mtrace_out_number_(o, 0, 4);
    mtrace_out_number_(o, row->size, 8);
    mtrace_out_number_(o, row->count, 8);
    mtrace_out_number_(o, row->peak_size, 8);
    mtrace_out_number_(o, row->peak_count, 8);
    mtrace_out_number_(o, row->total_size, 8);
    mtrace_out_number_(o, row->total_count, 8);
    mtrace_out_number_(o, row->frees, 8);
    mtrace_out_number_(o, row->reallocs, 8);
    mtrace_out_number_(o, row->dropped_count, 8);
    mtrace_out_number_(o, row->dropped_size, 8);
    mtrace_dump_variance_(o, &row->variance);
    mtrace_dump_variance_(o, &row->peak_variance);
    mtrace_dump_variance_(o, &row->total_variance);
}

static void mtrace_dump_block_(mtrace_out_ *o, const mtrace_live_block *block) {
    mtrace_out_number_(o, block->address, 8);
    mtrace_out_number_(o, block->size, 8);
    mtrace_out_number_(o, block->serial, 8);
    mtrace_out_number_(o, block->row, 4);
    mtrace_out_number_(o, 0, 4);
}

static void mtrace_dump_body_(mtrace_out_ *o, mtrace_namer_ *n, const mtrace_snapshot_parts *p) {
    size_t i;
    mtrace_namer_start_(n, o);
    mtrace_namer_all_(n, p);
    mtrace_namer_start_(n, NULL);
    for (i = 0; i < p->row_count; i++) {
        mtrace_dump_frames_(o, n, &p->rows[i].traceback);
    }
    for (i = 0; i < p->row_count; i++) {
        mtrace_dump_row_(o, n, &p->rows[i]);
    }
    for (i = 0; p->has_blocks && i < p->block_count; i++) {
        mtrace_dump_block_(o, &p->blocks[i]);
    }
}

mtrace_result mtrace_snapshot_dump_to(const mtrace_snapshot *snapshot, mtrace_write_fn write,
                                      void *user) {
    mtrace_snapshot_parts parts;
    mtrace_namer_ namer;
    mtrace_out_ o;
    if (snapshot == NULL || write == NULL) {
        return MTRACE_ERR_ARGUMENT;
    }
    parts = mtrace_snapshot_get_parts(snapshot);
    mtrace_namer_start_(&namer, NULL);
    mtrace_namer_all_(&namer, &parts);
    if (namer.end >= MTRACE_FILE_NONE_) {
        return MTRACE_ERR_ARGUMENT;
    }
    o.write = write;
    o.user = user;
    o.hashed = true;
    o.length = 0;
    XXH64_reset(&o.hash, 0);
    mtrace_dump_header_(&o, &parts, namer.end);
    mtrace_dump_body_(&o, &namer, &parts);
    mtrace_out_flush_(&o);
    o.hashed = false;
    mtrace_out_number_(&o, XXH64_digest(&o.hash), 8);
    mtrace_out_flush_(&o);
    return MTRACE_OK;
}

mtrace_result mtrace_snapshot_dump(const mtrace_snapshot *snapshot, const char *path) {
    return mtrace_dump_file_(snapshot, path, mtrace_snapshot_dump_to);
}

/* ============================================================================================== */
/* [SECTION] LOAD - nothing in a file is believed                                                 */
/* ============================================================================================== */

typedef struct mtrace_load_ {
    const unsigned char *bytes;           /* the whole file */
    uint64_t names, frames, rows, blocks; /* how many */
    const unsigned char *name_at, *frame_at, *row_at, *block_at;
    bool has_blocks;
    bool bad; /* a name, a row or a count that cannot be */
    mtrace_snapshot_parts parts;
} mtrace_load_;

static uint64_t mtrace_number_at_(const unsigned char *at, int size) {
    uint64_t value = 0;
    while (size-- > 0) {
        value = value << 8 | at[size];
    }
    return value;
}

/* The size of the file as its header says, the hash included; 0 when no file is that large. */
static uint64_t mtrace_load_size_(const mtrace_load_ *l) {
    const uint64_t most = (uint64_t)1 << 48; /* bytes; then no sum below overflows */
    if (l->names > most || l->frames > most / MTRACE_FILE_FRAME_ ||
        l->rows > most / MTRACE_FILE_ROW_ || l->blocks > most / MTRACE_FILE_BLOCK_) {
        return 0;
    }
    return MTRACE_FILE_HEADER_ + l->names + l->frames * MTRACE_FILE_FRAME_ +
           l->rows * MTRACE_FILE_ROW_ + l->blocks * MTRACE_FILE_BLOCK_ + 8;
}

static mtrace_result mtrace_load_header_(mtrace_load_ *l, const unsigned char *header,
                                         uint64_t *size) {
    uint64_t flags = mtrace_number_at_(header + 12, 4);
    if (memcmp(header, MTRACE_FILE_MAGIC_, 8) != 0) {
        return MTRACE_ERR_NOT_SNAPSHOT;
    }
    if (mtrace_number_at_(header + 8, 4) != MTRACE_FILE_VERSION_) {
        return MTRACE_ERR_VERSION;
    }
    l->names = mtrace_number_at_(header + 24, 8);
    l->frames = mtrace_number_at_(header + 32, 8);
    l->rows = mtrace_number_at_(header + 40, 8);
    l->blocks = mtrace_number_at_(header + 48, 8);
    l->has_blocks = (flags & MTRACE_FILE_HAS_BLOCKS_) != 0;
    *size = mtrace_load_size_(l);
    if (*size == 0 || flags > MTRACE_FILE_HAS_BLOCKS_ || (l->blocks != 0 && !l->has_blocks)) {
        return MTRACE_ERR_CORRUPT;
    }
    return MTRACE_OK;
}

/* Reads until `size` bytes are there; fewer at the end of the file. SIZE_MAX: it failed. */
static size_t mtrace_read_all_(mtrace_read_fn read, void *user, unsigned char *buffer,
                               size_t size) {
    size_t have = 0;
    while (have < size) {
        size_t n = read(buffer + have, size - have, user);
        if (n == 0) {
            break;
        }
        if (n > size - have) {
            return SIZE_MAX;
        }
        have += n;
    }
    return have;
}

/* Reads the rest behind the header, in memory that grows with what really comes. */
static mtrace_result mtrace_load_read_(unsigned char **buffer, uint64_t size, mtrace_read_fn read,
                                       void *user) {
    size_t have = MTRACE_FILE_HEADER_, room = have, got = 0;
    while (have < size) {
        uint64_t want = size < 65536 + 2 * (uint64_t)have ? size : 65536 + 2 * (uint64_t)have;
        unsigned char *larger = want > SIZE_MAX / 2
                                    ? NULL
                                    : (unsigned char *)MTRACE_BASE_REALLOC(*buffer, (size_t)want);
        if (larger == NULL) {
            return MTRACE_ERR_NO_MEMORY;
        }
        *buffer = larger;
        room = (size_t)want;
        got = mtrace_read_all_(read, user, *buffer + have, room - have);
        if (got == SIZE_MAX) {
            return MTRACE_ERR_IO;
        }
        have += got;
        if (have < room) {
            return MTRACE_ERR_TRUNCATED;
        }
    }
    return MTRACE_OK;
}

static mtrace_result mtrace_load_check_(mtrace_load_ *l, const unsigned char *bytes,
                                        uint64_t size) {
    size_t hashed = (size_t)size - 8;
    l->bytes = bytes;
    l->name_at = bytes + MTRACE_FILE_HEADER_;
    l->frame_at = l->name_at + l->names;
    l->row_at = l->frame_at + l->frames * MTRACE_FILE_FRAME_;
    l->block_at = l->row_at + l->rows * MTRACE_FILE_ROW_;
    if (XXH64(bytes, hashed, 0) != mtrace_number_at_(bytes + hashed, 8) ||
        (l->names != 0 && l->name_at[l->names - 1] != 0)) {
        return MTRACE_ERR_CORRUPT;
    }
    return MTRACE_OK;
}

static const char *mtrace_load_name_(mtrace_load_ *l, const unsigned char *at) {
    uint64_t offset = mtrace_number_at_(at, 4);
    if (offset == MTRACE_FILE_NONE_) {
        return NULL;
    }
    if (offset >= l->names) {
        l->bad = true;
        return NULL;
    }
    return (const char *)l->name_at + offset;
}

static void mtrace_load_frames_(mtrace_load_ *l, mtrace_frame *frames) {
    uint64_t i;
    for (i = 0; i < l->frames; i++) {
        const unsigned char *at = l->frame_at + i * MTRACE_FILE_FRAME_;
        frames[i].file = mtrace_load_name_(l, at);
        frames[i].function = mtrace_load_name_(l, at + 4);
        frames[i].line = (uint32_t)mtrace_number_at_(at + 8, 4);
        l->bad = l->bad || frames[i].file == NULL;
    }
}

static void mtrace_load_variance_(const unsigned char *at, mtrace_variance *variance) {
    variance->size = mtrace_number_at_(at, 8);
    variance->count = mtrace_number_at_(at + 8, 8);
}

static void mtrace_load_row_(mtrace_load_ *l, const unsigned char *at, mtrace_statistic *row) {
    memset(row, 0, sizeof *row);
    row->traceback.count = (uint32_t)mtrace_number_at_(at, 4);
    row->traceback.total = (uint32_t)mtrace_number_at_(at + 4, 4);
    row->type = mtrace_load_name_(l, at + 8);
    row->domain_name = mtrace_load_name_(l, at + 12);
    row->domain = (uint32_t)mtrace_number_at_(at + 16, 4);
    l->bad = l->bad || mtrace_number_at_(at + 20, 4) != 0;
    row->size = mtrace_number_at_(at + 24, 8);
    row->count = mtrace_number_at_(at + 32, 8);
    row->peak_size = mtrace_number_at_(at + 40, 8);
    row->peak_count = mtrace_number_at_(at + 48, 8);
    row->total_size = mtrace_number_at_(at + 56, 8);
    row->total_count = mtrace_number_at_(at + 64, 8);
    row->frees = mtrace_number_at_(at + 72, 8);
    row->reallocs = mtrace_number_at_(at + 80, 8);
    row->dropped_count = mtrace_number_at_(at + 88, 8);
    row->dropped_size = mtrace_number_at_(at + 96, 8);
    mtrace_load_variance_(at + 104, &row->variance);
    mtrace_load_variance_(at + 120, &row->peak_variance);
    mtrace_load_variance_(at + 136, &row->total_variance);
}

/* Every frame belongs to one row, in order, and every row has one. */
static void mtrace_load_rows_(mtrace_load_ *l, const mtrace_frame *frames, mtrace_statistic *rows) {
    uint64_t i, used = 0;
    for (i = 0; i < l->rows && !l->bad; i++) {
        mtrace_traceback *t = &rows[i].traceback;
        mtrace_load_row_(l, l->row_at + i * MTRACE_FILE_ROW_, &rows[i]);
        if (t->count == 0 || t->count > l->frames - used) {
            l->bad = true;
            return;
        }
        t->frames = frames + used;
        used += t->count;
        rows[i].file = t->frames[t->count - 1].file;
        rows[i].function = t->frames[t->count - 1].function;
        rows[i].line = t->frames[t->count - 1].line;
    }
    l->bad = l->bad || used != l->frames;
}

static void mtrace_load_blocks_(mtrace_load_ *l, mtrace_live_block *blocks) {
    uint64_t i;
    for (i = 0; i < l->blocks; i++) {
        const unsigned char *at = l->block_at + i * MTRACE_FILE_BLOCK_;
        blocks[i].address = mtrace_number_at_(at, 8);
        blocks[i].size = mtrace_number_at_(at + 8, 8);
        blocks[i].serial = mtrace_number_at_(at + 16, 8);
        blocks[i].row = (uint32_t)mtrace_number_at_(at + 24, 4);
        l->bad = l->bad || blocks[i].row >= l->rows || mtrace_number_at_(at + 28, 4) != 0;
    }
}

static void mtrace_load_info_(mtrace_load_ *l) {
    const unsigned char *at = l->bytes + 72;
    mtrace_info *info = &l->parts.info;
    info->capacity = (size_t)mtrace_number_at_(at, 8);
    info->live = (size_t)mtrace_number_at_(at + 8, 8);
    info->high_water = (size_t)mtrace_number_at_(at + 16, 8);
    info->longest_probe = (size_t)mtrace_number_at_(at + 24, 8);
    info->max_sites = (size_t)mtrace_number_at_(at + 32, 8);
    info->sites = (size_t)mtrace_number_at_(at + 40, 8);
    info->dropped_count = mtrace_number_at_(at + 48, 8);
    info->dropped_bytes = mtrace_number_at_(at + 56, 8);
    info->foreign_frees = mtrace_number_at_(at + 64, 8);
    info->stale_replaced = mtrace_number_at_(at + 72, 8);
    info->lost_sites = mtrace_number_at_(at + 80, 8);
    info->lost_names = mtrace_number_at_(at + 88, 8);
    info->lost_scopes = mtrace_number_at_(at + 96, 8);
    info->max_scopes = (size_t)mtrace_number_at_(at + 104, 8);
    info->scopes = (size_t)mtrace_number_at_(at + 112, 8);
    info->tracer_memory = (size_t)mtrace_number_at_(at + 120, 8);
    info->frames = (uint32_t)mtrace_number_at_(at + 128, 8);
    info->sample_interval = (size_t)mtrace_number_at_(at + 136, 8);
    l->bad = l->bad || mtrace_number_at_(at + 136, 8) > MTRACE_FILE_MAX_INTERVAL_;
}

/* The parts, in one block of scratch memory, made a snapshot. */
static mtrace_result mtrace_load_make_(mtrace_load_ *l, mtrace_snapshot **out,
                                       const mtrace_memory *memory) {
    size_t rows = (size_t)l->rows * sizeof(mtrace_statistic);
    size_t blocks = (size_t)l->blocks * sizeof(mtrace_live_block);
    size_t frames = (size_t)l->frames * sizeof(mtrace_frame);
    unsigned char *scratch = (unsigned char *)MTRACE_BASE_MALLOC(rows + blocks + frames + 1);
    mtrace_result result = MTRACE_ERR_CORRUPT;
    if (scratch == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    mtrace_load_frames_(l, (mtrace_frame *)(void *)(scratch + rows + blocks));
    mtrace_load_rows_(l, (mtrace_frame *)(void *)(scratch + rows + blocks),
                      (mtrace_statistic *)(void *)scratch);
    mtrace_load_blocks_(l, (mtrace_live_block *)(void *)(scratch + rows));
    mtrace_load_info_(l);
    if (!l->bad) {
        l->parts.rows = (mtrace_statistic *)(void *)scratch;
        l->parts.row_count = (size_t)l->rows;
        l->parts.blocks = (mtrace_live_block *)(void *)(scratch + rows);
        l->parts.block_count = (size_t)l->blocks;
        l->parts.has_blocks = l->has_blocks;
        l->parts.names = (const char *)l->name_at;
        l->parts.name_bytes = (size_t)l->names;
        l->parts.generation = mtrace_number_at_(l->bytes + 16, 8);
        l->parts.traced_memory.current = mtrace_number_at_(l->bytes + 56, 8);
        l->parts.traced_memory.peak = mtrace_number_at_(l->bytes + 64, 8);
        result = mtrace_snapshot_make(out, &l->parts, memory);
    }
    MTRACE_BASE_FREE(scratch);
    return result;
}

/* All of the file is in *buffer when this returns MTRACE_OK, and it is what was written. */
static mtrace_result mtrace_load_bytes_(mtrace_load_ *l, unsigned char **buffer,
                                        mtrace_read_fn read, void *user) {
    unsigned char more;
    uint64_t size = 0;
    size_t got = mtrace_read_all_(read, user, *buffer, MTRACE_FILE_HEADER_);
    mtrace_result result =
        got == SIZE_MAX ? MTRACE_ERR_IO
        : got >= 8 && got < MTRACE_FILE_HEADER_ && memcmp(*buffer, MTRACE_FILE_MAGIC_, 8) == 0
            ? MTRACE_ERR_TRUNCATED
        : got < MTRACE_FILE_HEADER_ ? MTRACE_ERR_NOT_SNAPSHOT
                                    : mtrace_load_header_(l, *buffer, &size);
    if (result == MTRACE_OK) {
        result = mtrace_load_read_(buffer, size, read, user);
    }
    if (result == MTRACE_OK) {
        result = mtrace_load_check_(l, *buffer, size);
    }
    if (result == MTRACE_OK && read(&more, 1, user) != 0) {
        result = MTRACE_ERR_CORRUPT;
    }
    return result;
}

mtrace_result mtrace_snapshot_load_from(mtrace_snapshot **out, mtrace_read_fn read, void *user,
                                        const mtrace_memory *memory) {
    unsigned char *buffer;
    mtrace_load_ l;
    mtrace_result result;
    *out = NULL;
    if (read == NULL) {
        return MTRACE_ERR_ARGUMENT;
    }
    memset(&l, 0, sizeof l);
    buffer = (unsigned char *)MTRACE_BASE_MALLOC(MTRACE_FILE_HEADER_);
    if (buffer == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    result = mtrace_load_bytes_(&l, &buffer, read, user);
    if (result == MTRACE_OK) {
        result = mtrace_load_make_(&l, out, memory);
    }
    MTRACE_BASE_FREE(buffer);
    return result;
}

static size_t mtrace_file_read_(void *buffer, size_t size, void *user) {
    FILE *file = (FILE *)user;
    size_t n = fread(buffer, 1, size, file);
    return ferror(file) != 0 ? SIZE_MAX : n;
}

mtrace_result mtrace_snapshot_load(mtrace_snapshot **out, const char *path,
                                   const mtrace_memory *memory) {
    FILE *file;
    mtrace_result result;
    int error;
    *out = NULL;
    if (path == NULL) {
        return MTRACE_ERR_ARGUMENT;
    }
    file = fopen(path, "rb");
    if (file == NULL) {
        return MTRACE_ERR_IO;
    }
    result = mtrace_snapshot_load_from(out, mtrace_file_read_, file, memory);
    error = errno;
    fclose(file);
    errno = error;
    return result;
}

/* ============================================================================================== */
/* [SECTION] PICKLE - Snapshot([(domain, size, ((file, line), ...), total), ...], limit)          */
/* ============================================================================================== */

/* An int, in the shortest opcode. */
static void mtrace_pickle_number_(mtrace_out_ *o, uint64_t value) {
    if (value <= 0xff) {
        mtrace_out_byte_(o, 'K');
        mtrace_out_number_(o, value, 1);
    } else if (value <= 0xffff) {
        mtrace_out_byte_(o, 'M');
        mtrace_out_number_(o, value, 2);
    } else if (value <= 0x7fffffff) {
        mtrace_out_byte_(o, 'J');
        mtrace_out_number_(o, value, 4);
    } else {
        mtrace_out_bytes_(o, "\x8a\x09", 2); /* a zero byte on top: never negative */
        mtrace_out_number_(o, value, 8);
        mtrace_out_byte_(o, 0);
    }
}

/* The length of the UTF-8 sequence that text begins with; 0 when it begins with none. */
static size_t mtrace_utf8_sequence_(const char *text) {
    const unsigned char *p = (const unsigned char *)text;
    size_t length = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4, i;
    bool bad = (*p >= 0x80 && *p < 0xc2) || *p > 0xf4 || (*p == 0xe0 && p[1] < 0xa0) ||
               (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
               (*p == 0xf4 && p[1] > 0x8f);
    for (i = 1; i < length && !bad; i++) {
        bad = (p[i] & 0xc0) != 0x80; /* the end of the text, too */
    }
    return bad ? 0 : length;
}

/* A byte that is not UTF-8 becomes U+DC00 + byte, as Python's os.fsdecode() reads it. Returns the
   bytes it takes; o NULL: only counts. */
static size_t mtrace_pickle_text_(mtrace_out_ *o, const char *text) {
    size_t bytes = 0;
    while (*text != '\0') {
        size_t length = mtrace_utf8_sequence_(text);
        if (o != NULL && length != 0) {
            mtrace_out_bytes_(o, text, length);
        } else if (o != NULL) {
            unsigned byte = (unsigned char)*text;
            mtrace_out_byte_(o, 0xed);
            mtrace_out_byte_(o, 0xb0 | byte >> 6);
            mtrace_out_byte_(o, 0x80 | (byte & 0x3f));
        }
        bytes += length != 0 ? length : 3;
        text += length != 0 ? length : 1;
    }
    return bytes;
}

/* Each traceback once, the most recent frame first, kept under the number of its row. */
static void mtrace_pickle_traceback_(mtrace_out_ *o, const mtrace_traceback *t, size_t number) {
    uint32_t i;
    mtrace_out_byte_(o, '(');
    for (i = t->count; i > 0; i--) {
        const mtrace_frame *frame = &t->frames[i - 1];
        mtrace_out_byte_(o, 'X');
        mtrace_out_number_(o, mtrace_pickle_text_(NULL, frame->file), 4);
        mtrace_pickle_text_(o, frame->file);
        mtrace_pickle_number_(o, frame->line);
        mtrace_out_byte_(o, 0x86);
    }
    mtrace_out_bytes_(o, "tr", 2);
    mtrace_out_number_(o, number, 4);
    mtrace_out_byte_(o, '0');
}

/* The traces go into the list a thousand at a time: Python's stack stays small. */
typedef struct mtrace_pickle_ {
    mtrace_out_ out;
    uint64_t traces;
} mtrace_pickle_;

static void mtrace_pickle_trace_(mtrace_pickle_ *p, const mtrace_statistic *row, size_t number,
                                 uint64_t size) {
    mtrace_out_ *o = &p->out;
    if (p->traces++ % 1000 == 0) {
        mtrace_out_bytes_(o, "e(", p->traces == 1 ? 0 : 2);
    }
    mtrace_out_byte_(o, '(');
    mtrace_pickle_number_(o, row->domain);
    mtrace_pickle_number_(o, size);
    mtrace_out_byte_(o, 'j');
    mtrace_out_number_(o, number, 4);
    if (row->traceback.total == 0) {
        mtrace_out_byte_(o, 'N');
    } else {
        mtrace_pickle_number_(o, row->traceback.total);
    }
    mtrace_out_byte_(o, 't');
}

static void mtrace_pickle_measure_(const mtrace_snapshot_parts *parts, size_t row, uint64_t *size,
                                   uint64_t *count) {
    const mtrace_statistic *r = &parts->rows[row];
    *size = parts->view == MTRACE_VIEW_PEAK    ? r->peak_size
            : parts->view == MTRACE_VIEW_TOTAL ? r->total_size
                                               : r->size;
    *count = parts->view == MTRACE_VIEW_PEAK    ? r->peak_count
             : parts->view == MTRACE_VIEW_TOTAL ? r->total_count
                                                : r->count;
}

/* Blocks of the average size; the last takes what that leaves over. */
static void mtrace_pickle_average_(mtrace_pickle_ *p, const mtrace_snapshot_parts *parts,
                                   size_t row) {
    uint64_t size, count, i;
    mtrace_pickle_measure_(parts, row, &size, &count);
    for (i = 1; i <= count; i++) {
        uint64_t average = size / count;
        mtrace_pickle_trace_(p, &parts->rows[row], row,
                             i < count ? average : size - average * (count - 1));
    }
}

static bool mtrace_pickle_valid_(const mtrace_snapshot_parts *parts) {
    uint64_t size, count, sum = 0;
    size_t i;
    for (i = 0; i < parts->row_count && sum <= UINT32_MAX; i++) {
        mtrace_pickle_measure_(parts, i, &size, &count);
        sum += count <= UINT32_MAX ? count : (uint64_t)UINT32_MAX + 1;
    }
    return sum <= UINT32_MAX && parts->block_count <= UINT32_MAX;
}

mtrace_result mtrace_snapshot_dump_pickle_to(const mtrace_snapshot *snapshot, mtrace_write_fn write,
                                             void *user) {
    mtrace_snapshot_parts parts;
    mtrace_pickle_ p;
    size_t i;
    if (snapshot == NULL || write == NULL) {
        return MTRACE_ERR_ARGUMENT;
    }
    parts = mtrace_snapshot_get_parts(snapshot);
    if (!mtrace_pickle_valid_(&parts)) {
        return MTRACE_ERR_ARGUMENT;
    }
    memset(&p, 0, sizeof p);
    p.out.write = write;
    p.out.user = user;
    mtrace_out_bytes_(&p.out,
                      "\x80\x02"
                      "ctracemalloc\nSnapshot\n]",
                      25);
    for (i = 0; i < parts.row_count; i++) {
        mtrace_pickle_traceback_(&p.out, &parts.rows[i].traceback, i);
    }
    mtrace_out_byte_(&p.out, '(');
    if (parts.has_blocks && parts.view == MTRACE_VIEW_LIVE && parts.info.sample_interval == 0) {
        for (i = 0; i < parts.block_count; i++) {
            const mtrace_live_block *block = &parts.blocks[i];
            mtrace_pickle_trace_(&p, &parts.rows[block->row], block->row, block->size);
        }
    } else {
        for (i = 0; i < parts.row_count; i++) {
            mtrace_pickle_average_(&p, &parts, i);
        }
    }
    mtrace_out_byte_(&p.out, 'e');
    mtrace_pickle_number_(&p.out, parts.info.frames);
    mtrace_out_bytes_(&p.out, "\x86R.", 3);
    mtrace_out_flush_(&p.out);
    return MTRACE_OK;
}

mtrace_result mtrace_snapshot_dump_pickle(const mtrace_snapshot *snapshot, const char *path) {
    return mtrace_dump_file_(snapshot, path, mtrace_snapshot_dump_pickle_to);
}

/* ============================================================================================== */
/* [SECTION] SOURCE LINES                                                                         */
/* ============================================================================================== */

/* The next character, each kind of line end as one newline. */
static int mtrace_next_of_file_(FILE *file) {
    int c = getc(file);
    if (c == '\r') {
        c = getc(file);
        if (c != '\n') {
            ungetc(c, file);
        }
        c = '\n';
    }
    return c;
}

static bool mtrace_is_blank_(int c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The line, without blanks around it, as much as fits; false at the end of the file. */
static bool mtrace_take_line_(FILE *file, char *buffer, size_t size) {
    size_t length = 0, end = 0;
    int c = mtrace_next_of_file_(file);
    bool is_line = c != EOF;
    while (c != EOF && c != '\n' && mtrace_is_blank_(c)) {
        c = mtrace_next_of_file_(file);
    }
    for (; c != EOF && c != '\n' && length + 1 < size; c = mtrace_next_of_file_(file)) {
        buffer[length++] = (char)c;
        end = mtrace_is_blank_(c) ? end : length;
    }
    buffer[end] = '\0';
    return is_line;
}

bool mtrace_source_from_file(const char *file, uint32_t line, char *buffer, size_t size,
                             void *user) {
    FILE *f = file == NULL || line == 0 || size == 0 ? NULL : fopen(file, "rb");
    bool found;
    int c = 0;
    (void)user;
    if (f == NULL) {
        return false;
    }
    while (line > 1 && c != EOF) {
        c = mtrace_next_of_file_(f);
        line -= c == '\n' ? 1 : 0;
    }
    found = mtrace_take_line_(f, buffer, size);
    fclose(f);
    return found;
}

/* ============================================================================================== */
/* [SECTION] RECORDER CLOCK AND THREAD - what it needs of the system, each branch complete        */
/* ============================================================================================== */

#include <stdarg.h>

enum { MTRACE_NS_PER_MS_ = 1000000, MTRACE_NS_PER_S_ = 1000000000 };

#ifdef _WIN32

static uint64_t mtrace_unix_now_(void) {
    FILETIME time; /* 100 ns since 1601 */
    GetSystemTimeAsFileTime(&time);
    return (((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime) - 116444736000000000u) * 100;
}
uint64_t mtrace_now(void) {
    LARGE_INTEGER ticks, rate;
    uint64_t seconds, rest;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&rate);
    seconds = (uint64_t)ticks.QuadPart / (uint64_t)rate.QuadPart;
    rest = (uint64_t)ticks.QuadPart % (uint64_t)rate.QuadPart;
    return seconds * MTRACE_NS_PER_S_ + rest * MTRACE_NS_PER_S_ / (uint64_t)rate.QuadPart;
}
static void mtrace_yield_(void) {
    SwitchToThread();
}
static size_t mtrace_read_small_(const char *path, char *buffer, size_t size) {
    (void)path; /* no /proc here */
    (void)size;
    buffer[0] = '\0';
    return 0;
}
static uint64_t mtrace_page_size_(void) {
    return 0;
}

#else

#include <fcntl.h>
#include <sched.h>
#include <time.h>
#ifdef CLOCK_MONOTONIC
#define MTRACE_CLOCK_ CLOCK_MONOTONIC
typedef struct timespec mtrace_time_;
#else
#define MTRACE_CLOCK_ 1 /* strict C hides it; only Linux' libraries do so, where it is this */
typedef struct mtrace_time_ {
    long tv_sec;
    long tv_nsec;
} mtrace_time_;
extern int clock_gettime(int clock, mtrace_time_ *time);
#endif

static uint64_t mtrace_ns_(const mtrace_time_ *time) {
    return (uint64_t)time->tv_sec * MTRACE_NS_PER_S_ + (uint64_t)time->tv_nsec;
}
static uint64_t mtrace_unix_now_(void) {
    mtrace_time_ time = MTRACE_ZERO_;
    clock_gettime(0, &time); /* CLOCK_REALTIME everywhere */
    return mtrace_ns_(&time);
}
uint64_t mtrace_now(void) {
    mtrace_time_ time = MTRACE_ZERO_;
    clock_gettime(MTRACE_CLOCK_, &time);
    return mtrace_ns_(&time);
}
static void mtrace_yield_(void) {
    sched_yield();
}
/* Without stdio, which allocates. How many bytes; one 0 behind them. */
static size_t mtrace_read_small_(const char *path, char *buffer, size_t size) {
    int file = open(path, O_RDONLY), error = errno;
    size_t length = 0;
    ssize_t got = 1;
    while (file >= 0 && got > 0 && length < size - 1) {
        got = read(file, buffer + length, size - 1 - length);
        length += got > 0 ? (size_t)got : 0;
    }
    if (file >= 0) {
        close(file);
    }
    errno = error;
    buffer[length] = '\0';
    return length;
}
static uint64_t mtrace_page_size_(void) {
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

#endif

bool mtrace_get_resident(uint64_t *bytes) {
    char text[128];
    unsigned long long pages = 0;
    *bytes = 0;
    if (mtrace_read_small_("/proc/self/statm", text, sizeof text) == 0 ||
        strchr(text, ' ') == NULL) {
        return false;
    }
    pages = strtoull(strchr(text, ' '), NULL, 10); /* the second number */
    *bytes = pages * mtrace_page_size_();
    return true;
}

/* A lock that waits by giving way. One that is held across a sample is waited for that long. */
static void mtrace_hold_(uint32_t *lock) {
    uint32_t free_word = 0;
    bool held = false;
    while (!held) {
        free_word = 0;
        MTRACE_LOCK();
        held = MTRACE_CAS_(lock, &free_word, 1u);
        MTRACE_UNLOCK();
        if (!held) {
            mtrace_yield_();
        }
    }
}

static void mtrace_let_go_(uint32_t *lock) {
    MTRACE_LOCK();
    MTRACE_SET_RELEASE_(lock, 0u);
    MTRACE_UNLOCK();
}

/* Taken in this order: `life` by start, stop and free, from end to end; `turn` for each sample, its
   output and a copy for a report; `marks` for a few instructions around the array of marks. */
static struct {
    uint32_t life;
    uint32_t turn;
    uint32_t marks;
} mtrace_locks_;

#if defined(_WIN32) || defined(MTRACE_SINGLE_THREAD)

static bool mtrace_ticker_can_(void) {
    return false;
}
static mtrace_result mtrace_ticker_start_(uint32_t interval) {
    (void)interval;
    return MTRACE_ERR_ARGUMENT;
}
static void mtrace_ticker_stop_(void) {}
static bool mtrace_ticker_forks_(void) {
    return true;
}

#else

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#ifdef SIG_BLOCK
typedef sigset_t mtrace_signals_;
#define MTRACE_SIG_BLOCK_ SIG_BLOCK
#else
typedef struct mtrace_signals_ { /* strict C hides it; as with CLOCK_MONOTONIC */
    unsigned long bits[128 / sizeof(unsigned long)];
} mtrace_signals_;
extern int sigfillset(mtrace_signals_ *signals);
extern int pthread_sigmask(int how, const mtrace_signals_ *signals, mtrace_signals_ *old);
#define MTRACE_SIG_BLOCK_ 0 /* an error elsewhere (MIPS, say): then they stay open */
#endif

/* A pipe ends the wait: no clock that is set back or forward can prolong it. */
static struct {
    pthread_t thread;
    int wake[2];
    uint32_t interval; /* ms */
    bool runs;
    bool knows_forks;
} mtrace_ticker_;

static bool mtrace_ticker_can_(void) {
    return true;
}

static void *mtrace_ticker_run_(void *unused) {
    struct pollfd wake = MTRACE_ZERO_;
    mtrace_signals_ signals;
    uint64_t next = mtrace_now();
    int timeout = 0;
    sigfillset(&signals);
    pthread_sigmask(MTRACE_SIG_BLOCK_, &signals, NULL);
    wake.fd = mtrace_ticker_.wake[0];
    wake.events = POLLIN;
    do {
        uint64_t now = mtrace_now();
        next += (uint64_t)mtrace_ticker_.interval * MTRACE_NS_PER_MS_;
        next = next < now ? now : next; /* late: nothing is made up for */
        timeout = (int)((next - now + MTRACE_NS_PER_MS_ - 1) / MTRACE_NS_PER_MS_);
        if (poll(&wake, 1, timeout) > 0) {
            return unused;
        }
        mtrace_tick();
    } while (true);
}

static void mtrace_ticker_close_(void) {
    close(mtrace_ticker_.wake[0]);
    close(mtrace_ticker_.wake[1]);
    mtrace_ticker_.runs = false;
}

static mtrace_result mtrace_ticker_start_(uint32_t interval) {
    int error;
    if (pipe(mtrace_ticker_.wake) != 0) {
        return MTRACE_ERR_THREAD;
    }
    fcntl(mtrace_ticker_.wake[0], F_SETFD, FD_CLOEXEC);
    fcntl(mtrace_ticker_.wake[1], F_SETFD, FD_CLOEXEC);
    mtrace_ticker_.interval = interval;
    error = pthread_create(&mtrace_ticker_.thread, NULL, mtrace_ticker_run_, NULL);
    if (error != 0) {
        mtrace_ticker_close_();
        errno = error;
        return MTRACE_ERR_THREAD;
    }
    mtrace_ticker_.runs = true;
    return MTRACE_OK;
}

static void mtrace_ticker_stop_(void) {
    if (mtrace_ticker_.runs) {
        while (write(mtrace_ticker_.wake[1], "", 1) < 0 && errno == EINTR) {
        }
        pthread_join(mtrace_ticker_.thread, NULL);
        mtrace_ticker_close_();
    }
}

/* No lock is held by a thread that a child of fork() does not have. */
static void mtrace_before_fork_(void) {
    mtrace_hold_(&mtrace_locks_.life);
    mtrace_hold_(&mtrace_locks_.turn);
    mtrace_hold_(&mtrace_locks_.marks);
}
static void mtrace_after_fork_(void) {
    mtrace_let_go_(&mtrace_locks_.marks);
    mtrace_let_go_(&mtrace_locks_.turn);
    mtrace_let_go_(&mtrace_locks_.life);
}
static void mtrace_after_fork_in_child_(void) {
    if (mtrace_ticker_.runs) {
        mtrace_ticker_close_();
    }
    mtrace_after_fork_();
}
static bool mtrace_ticker_forks_(void) {
    if (!mtrace_ticker_.knows_forks) {
        mtrace_ticker_.knows_forks = pthread_atfork(mtrace_before_fork_, mtrace_after_fork_,
                                                    mtrace_after_fork_in_child_) == 0;
    }
    return mtrace_ticker_.knows_forks;
}

#endif

/* ============================================================================================== */
/* [SECTION] RECORDER - samples and marks, thinned when there is no room                          */
/* ============================================================================================== */

enum {
    MTRACE_MARK_NAME_ = 48, /* bytes, with its end */
    MTRACE_MOST_CHOSEN_ = 8,

    /* The words of a sample: two times, then its series. */
    MTRACE_W_TIME_ = 0,
    MTRACE_W_MAX_TIME_ = 1,
    MTRACE_W_CURRENT_ = 2,
    MTRACE_W_MAX_ = 3,
    MTRACE_W_PEAK_ = 4,
    MTRACE_W_RESIDENT_ = 5,
    MTRACE_W_CHOSEN_ = 6, /* domains, then sites */
    MTRACE_MOST_WORDS_ = MTRACE_W_CHOSEN_ + 2 * MTRACE_MOST_CHOSEN_
};
#define MTRACE_UNKNOWN_BYTES_ UINT64_MAX

typedef struct mtrace_series_ {
    char name[MTRACE_MARK_NAME_];
    mtrace_filter filter; /* a domain's and a site's */
    bool is_named;
} mtrace_series_;

typedef struct mtrace_mark_ {
    mtrace_span span;
    bool is_span;
    char name[MTRACE_MARK_NAME_];
} mtrace_mark_;

/* What reports read; they have a copy. */
typedef struct mtrace_recording_ {
    uint64_t *samples;
    mtrace_mark_ *marks;
    size_t sample_count;
    size_t max_samples;
    size_t mark_count;
    size_t max_marks;
    size_t memory; /* bytes of samples, marks and the filters' names, one block */
    size_t words;  /* of a sample; series[i] is of word i */
    size_t first_site;
    uint64_t each;    /* samples taken that each one kept stands for */
    uint64_t in_last; /* and that the last one does so far */
    uint64_t taken;
    uint64_t dropped_marks;
    uint64_t start;      /* ns */
    uint64_t unix_start; /* the same moment, ns since 1970 */
    mtrace_series_ series[MTRACE_MOST_WORDS_];
} mtrace_recording_;

enum { MTRACE_RECORDER_ON_ = 1, MTRACE_RECORDER_STREAMS_ = 2 };
static struct {
    uint32_t state; /* 0, or of these */
    mtrace_recording_ r;
    mtrace_write_fn write;
    void *write_user;
    mtrace_memory snapshot; /* room for one */
    uint64_t last_peak;     /* the tracer's, at the last sample */
} mtrace_recorder_;

static const char *const mtrace_series_names_[MTRACE_W_CHOSEN_] = {
    "", "", "current", "highest", "peak", "resident",
};

/* Bytes of the character that begins here, 0 if it is not UTF-8 or XML has no such. */
static size_t mtrace_character_(const unsigned char *s) {
    size_t n = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;
    size_t i;
    for (i = 1; i < n; i++) {
        if (s[i] < 0x80 || s[i] > 0xbf) {
            return 0;
        }
    }
    if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) ||
        (*s == 0xf4 && s[1] > 0x8f) || (*s == 0xef && s[1] == 0xbf && s[2] > 0xbd)) {
        return 0;
    }
    return n;
}

/* Every name goes through here, so that each format may trust it. */
static void mtrace_copy_name_(char *to, size_t size, const char *name) {
    const unsigned char *from = (const unsigned char *)(name == NULL ? "" : name);
    size_t length = 0, n, i;
    while (*from != '\0') {
        n = mtrace_character_(from);
        if (length + (n == 0 ? 1 : n) >= size) {
            break;
        }
        if (n <= 1) {
            to[length++] = (char)(n == 0 ? '?' : *from < ' ' || *from == 127 ? ' ' : *from);
            from++;
            continue;
        }
        for (i = 0; i < n; i++) {
            to[length++] = (char)*from++;
        }
    }
    to[length] = '\0';
}

/* --- text on its way out: no locale, whole lines --- */

#ifdef __GNUC__
#define MTRACE_LIKE_PRINTF_ __attribute__((format(printf, 2, 3)))
#else
#define MTRACE_LIKE_PRINTF_
#endif
static void mtrace_say_(mtrace_out_ *o, const char *format, ...) MTRACE_LIKE_PRINTF_;

typedef unsigned long long mtrace_u_; /* for %llu */

static void mtrace_out_open_(mtrace_out_ *o, mtrace_write_fn write, void *user) {
    o->write = write;
    o->user = user;
    o->hashed = false;
    o->length = 0;
}

static void mtrace_say_(mtrace_out_ *o, const char *format, ...) {
    char text[512];
    size_t length;
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    length = strlen(text);
    mtrace_out_bytes_(o, text, length);
    if (length > 0 && text[length - 1] == '\n') {
        mtrace_out_flush_(o);
    }
}

/* A list of escapes: a character, and behind it what stands for it. */
static void mtrace_say_escaped_(mtrace_out_ *o, const char *text, const char *const *escapes) {
    for (; *text != '\0'; text++) {
        const char *const *e = escapes;
        while (*e != NULL && **e != *text) {
            e++;
        }
        if (*e != NULL) {
            mtrace_out_bytes_(o, *e + 1, strlen(*e + 1));
        } else {
            mtrace_out_byte_(o, (unsigned char)*text);
        }
    }
}

/* --- mprof's .dat: a sample or mark as it is taken, or the whole --- */

static const char *const mtrace_dat_escapes_[] = {" _", NULL};
static const char *const mtrace_quote_escapes_[] = {"\"'", NULL};

/* "1.500000 1700000000.0000": MiB and unix time, in whole numbers. */
static void mtrace_say_dat_point_(mtrace_out_ *o, const mtrace_recording_ *r, uint64_t bytes,
                                  uint64_t time) {
    uint64_t tens_of_us = (time - r->start + r->unix_start) / 100000;
    uint64_t millionths = ((bytes & 0xfffff) * 15625 + 8192) >> 14;
    mtrace_say_(o, "%llu.%06llu %llu.%04llu", (mtrace_u_)(bytes >> 20), (mtrace_u_)millionths,
                (mtrace_u_)(tens_of_us / 10000), (mtrace_u_)(tens_of_us % 10000));
}

static void mtrace_say_dat_memory_(mtrace_out_ *o, const mtrace_recording_ *r, uint64_t bytes,
                                   uint64_t time) {
    mtrace_say_(o, "MEM ");
    mtrace_say_dat_point_(o, r, bytes, time);
    mtrace_say_(o, "\n");
}

static void mtrace_say_dat_sample_(mtrace_out_ *o, const mtrace_recording_ *r,
                                   const uint64_t *sample) {
    if (sample[MTRACE_W_MAX_] != sample[MTRACE_W_CURRENT_]) {
        mtrace_say_dat_memory_(o, r, sample[MTRACE_W_MAX_], sample[MTRACE_W_MAX_TIME_]);
    }
    mtrace_say_dat_memory_(o, r, sample[MTRACE_W_CURRENT_], sample[MTRACE_W_TIME_]);
}

/* A span gives its two points too: mprof peak --func wants one inside of it. Instants, of which
   mprof knows nothing, are in lines of a kind that it passes over. */
static void mtrace_say_dat_mark_(mtrace_out_ *o, const mtrace_recording_ *r,
                                 const mtrace_mark_ *mark) {
    const mtrace_span *s = &mark->span;
    if (mark->is_span) {
        mtrace_say_dat_memory_(o, r, s->start_bytes, s->start);
        mtrace_say_dat_memory_(o, r, s->end_bytes, s->end);
    }
    mtrace_say_(o, mark->is_span ? "FUNC " : "MARK ");
    mtrace_say_escaped_(o, mark->name, mtrace_dat_escapes_);
    mtrace_say_(o, " ");
    mtrace_say_dat_point_(o, r, s->start_bytes, s->start);
    if (mark->is_span) {
        mtrace_say_(o, " ");
        mtrace_say_dat_point_(o, r, s->end_bytes, s->end);
        mtrace_say_(o, " %lu", (unsigned long)s->level);
    }
    mtrace_say_(o, "\n");
}

/* The command line, as a shell would read it; "mtrace" where it cannot be told. */
static void mtrace_say_command_(mtrace_out_ *o) {
    char words[2048], word[512];
    size_t length = mtrace_read_small_("/proc/self/cmdline", words, sizeof words), at = 0;
    if (length == 0) {
        mtrace_say_(o, "mtrace");
    }
    for (; at < length; at += strlen(words + at) + 1) {
        bool quoted;
        mtrace_copy_name_(word, sizeof word, words + at);
        quoted = *word == '\0' || strpbrk(word, " \"") != NULL;
        mtrace_say_(o, "%s%s", at > 0 ? " " : "", quoted ? "\"" : "");
        mtrace_say_escaped_(o, word, mtrace_quote_escapes_);
        mtrace_say_(o, "%s", quoted ? "\"" : "");
    }
}

static void mtrace_say_dat_head_(mtrace_out_ *o) {
    mtrace_say_(o, "CMDLINE ");
    mtrace_say_command_(o);
    mtrace_say_(o, "\n");
}

/* --- samples --- */

static bool mtrace_name_matches_(const char *name, const char *pattern) {
    return pattern == NULL || mtrace_match(name, pattern);
}

/* As mtrace_snapshot_filter with this filter alone. */
static bool mtrace_row_is_chosen_(const mtrace_filter *f, const mtrace_statistic *row) {
    uint32_t count = row->traceback.count, i;
    bool found = false;
    if ((f->has_domain && f->domain != row->domain) || !mtrace_name_matches_(row->type, f->type)) {
        return f->exclusive;
    }
    for (i = f->all_frames ? 0 : count - 1; i < count && !found; i++) {
        const mtrace_frame *frame = &row->traceback.frames[i];
        found = (!f->has_line || f->line == frame->line) &&
                mtrace_name_matches_(frame->file, f->file) &&
                mtrace_name_matches_(frame->function, f->function);
    }
    return found != f->exclusive;
}

/* A name that the program gave its domain since; not one that another domain has already. */
static void mtrace_learn_name_(mtrace_recording_ *r, size_t word, const mtrace_statistic *row) {
    size_t i;
    if (word >= r->first_site || r->series[word].is_named || row->domain_name == NULL) {
        return;
    }
    r->series[word].is_named = true;
    for (i = MTRACE_W_CHOSEN_; i < r->first_site; i++) {
        if (strcmp(r->series[i].name, row->domain_name) == 0) {
            return;
        }
    }
    mtrace_copy_name_(r->series[word].name, MTRACE_MARK_NAME_, row->domain_name);
}

static void mtrace_sum_rows_(mtrace_recording_ *r, const mtrace_snapshot_parts *parts,
                             uint64_t *sample) {
    size_t i, word;
    for (i = 0; i < parts->row_count; i++) {
        const mtrace_statistic *row = &parts->rows[i];
        for (word = MTRACE_W_CHOSEN_; row->size != 0 && word < r->words; word++) {
            if (mtrace_row_is_chosen_(&r->series[word].filter, row)) {
                sample[word] += row->size;
                mtrace_learn_name_(r, word, row);
            }
        }
    }
}

/* Into the recorder's own memory, which grows when there are more call sites than ever. */
static mtrace_result mtrace_recorder_look_(mtrace_snapshot **snapshot) {
    mtrace_memory *m = &mtrace_recorder_.snapshot;
    mtrace_result result = MTRACE_ERR_NO_MEMORY;
    int tries = 0;
    for (; tries < 4 && result == MTRACE_ERR_NO_MEMORY; tries++) {
        size_t size = mtrace_snapshot_size(false);
        if (m->size < size || tries > 0) {
            MTRACE_BASE_FREE(m->memory);
            m->size = size + size / 2;
            m->memory = MTRACE_BASE_MALLOC(m->size);
            m->size = m->memory == NULL ? 0 : m->size;
        }
        if (m->memory == NULL) {
            return MTRACE_ERR_NO_MEMORY;
        }
        result = mtrace_snapshot_take(snapshot, false, m);
    }
    return result;
}

/* The series of a sample; with domains or sites all at the same moment. */
static mtrace_traced_memory mtrace_recorder_read_(mtrace_recording_ *r, uint64_t *sample) {
    mtrace_snapshot *snapshot;
    mtrace_result result = MTRACE_ERR_NOT_TRACING;
    mtrace_traced_memory held;
    size_t word;
    if (r->words > MTRACE_W_CHOSEN_) {
        result = mtrace_recorder_look_(&snapshot);
    }
    for (word = MTRACE_W_CHOSEN_; word < r->words; word++) {
        sample[word] = result == MTRACE_ERR_NO_MEMORY ? MTRACE_UNKNOWN_BYTES_ : 0;
    }
    if (result != MTRACE_OK) {
        return mtrace_get_traced_memory();
    } else {
        mtrace_snapshot_parts parts = mtrace_snapshot_get_parts(snapshot);
        held = parts.traced_memory;
        mtrace_sum_rows_(r, &parts, sample);
        mtrace_snapshot_free(snapshot);
        return held;
    }
}

/* The later sample takes in the one before: its own moment, the highest of all. */
static void mtrace_merge_samples_(uint64_t *later, const uint64_t *before, size_t words) {
    size_t i;
    if (before[MTRACE_W_MAX_] >= later[MTRACE_W_MAX_]) {
        later[MTRACE_W_MAX_TIME_] = before[MTRACE_W_MAX_TIME_];
    }
    for (i = MTRACE_W_MAX_; i < words; i++) {
        bool is_higher = later[i] == MTRACE_UNKNOWN_BYTES_ ||
                         (before[i] != MTRACE_UNKNOWN_BYTES_ && before[i] > later[i]);
        later[i] = is_higher ? before[i] : later[i];
    }
}

static void mtrace_thin_samples_(mtrace_recording_ *r) {
    size_t i, bytes = r->words * sizeof *r->samples, kept = 0;
    bool is_odd = r->sample_count % 2 != 0;
    for (i = 0; i < r->sample_count; i += 2, kept++) {
        uint64_t *first = r->samples + i * r->words, *last = first;
        if (i + 1 < r->sample_count) {
            last += r->words;
            mtrace_merge_samples_(last, first, r->words);
        }
        memmove(r->samples + kept * r->words, last, bytes);
    }
    r->sample_count = kept;
    r->in_last = is_odd ? r->each : 2 * r->each;
    r->each *= 2;
}

/* Each that is kept stands for equally many that were taken; the last may lack some yet. */
static void mtrace_keep_sample_(mtrace_recording_ *r, uint64_t *sample) {
    if (r->in_last == r->each && r->sample_count == r->max_samples) {
        mtrace_thin_samples_(r);
    }
    if (r->in_last < r->each && r->sample_count > 0) {
        r->sample_count--;
        mtrace_merge_samples_(sample, r->samples + r->sample_count * r->words, r->words);
    } else {
        r->in_last = 0;
    }
    memcpy(r->samples + r->sample_count * r->words, sample, r->words * sizeof *sample);
    r->sample_count++;
    r->in_last++;
    r->taken++;
}

/* The turn is held. A peak that is another than at the sample before was reached since. */
static void mtrace_sample_(void) {
    mtrace_recording_ *r = &mtrace_recorder_.r;
    uint64_t sample[MTRACE_MOST_WORDS_];
    mtrace_traced_memory held = mtrace_recorder_read_(r, sample);
    mtrace_out_ out;
    sample[MTRACE_W_CURRENT_] = sample[MTRACE_W_MAX_] = held.current;
    if (held.peak != mtrace_recorder_.last_peak && held.peak > held.current) {
        sample[MTRACE_W_MAX_] = held.peak;
    }
    sample[MTRACE_W_PEAK_] = mtrace_recorder_.last_peak = held.peak;
    if (!mtrace_get_resident(&sample[MTRACE_W_RESIDENT_])) {
        sample[MTRACE_W_RESIDENT_] = MTRACE_UNKNOWN_BYTES_;
    }
    sample[MTRACE_W_TIME_] = sample[MTRACE_W_MAX_TIME_] = mtrace_now();
    if (mtrace_recorder_.write != NULL) {
        mtrace_out_open_(&out, mtrace_recorder_.write, mtrace_recorder_.write_user);
        mtrace_say_dat_sample_(&out, r, sample);
    }
    mtrace_keep_sample_(r, sample);
}

static uint32_t mtrace_recorder_state_(void) {
    uint32_t state;
    MTRACE_LOCK(); /* nothing where there are atomics */
    state = MTRACE_GET_ACQUIRE_(&mtrace_recorder_.state);
    MTRACE_UNLOCK();
    return state;
}

static void mtrace_recorder_set_state_(uint32_t state) {
    MTRACE_LOCK();
    MTRACE_SET_RELEASE_(&mtrace_recorder_.state, state);
    MTRACE_UNLOCK();
}

bool mtrace_recorder_is_on(void) {
    return mtrace_recorder_state_() != 0;
}

void mtrace_tick(void) {
    if (!mtrace_recorder_is_on()) {
        return;
    }
    mtrace_hold_(&mtrace_locks_.turn);
    if (mtrace_recorder_is_on()) {
        mtrace_sample_();
    }
    mtrace_let_go_(&mtrace_locks_.turn);
}

/* --- marks --- */

/* Instants are shorter than any span. */
static uint64_t mtrace_length_(const mtrace_mark_ *mark) {
    return mark->is_span ? mark->span.end - mark->span.start + 1 : 0;
}

static size_t mtrace_marks_below_(const mtrace_recording_ *r, uint64_t length) {
    size_t i, count = 0;
    for (i = 0; i < r->mark_count; i++) {
        count += mtrace_length_(&r->marks[i]) < length ? 1 : 0;
    }
    return count;
}

/* The shorter half goes, of equal ones the oldest. The length between is found bit by bit: no
   memory, no recursion. */
static void mtrace_thin_marks_(mtrace_recording_ *r) {
    size_t excess = (r->mark_count + 1) / 2, equals, i, kept = 0;
    uint64_t length = 0;
    int bit;
    for (bit = 63; bit >= 0; bit--) {
        if (mtrace_marks_below_(r, length | (uint64_t)1 << bit) < excess) {
            length |= (uint64_t)1 << bit;
        }
    }
    equals = excess - mtrace_marks_below_(r, length);
    for (i = 0; i < r->mark_count; i++) {
        uint64_t own = mtrace_length_(&r->marks[i]);
        bool goes = own < length || (own == length && equals > 0);
        equals -= own == length && equals > 0 ? 1 : 0;
        if (!goes) {
            r->marks[kept++] = r->marks[i];
        }
    }
    r->dropped_marks += r->mark_count - kept;
    r->mark_count = kept;
}

static void mtrace_keep_mark_(const mtrace_mark_ *mark) {
    mtrace_recording_ *r = &mtrace_recorder_.r;
    mtrace_hold_(&mtrace_locks_.marks);
    if (mtrace_recorder_is_on()) {
        if (r->mark_count == r->max_marks) {
            mtrace_thin_marks_(r);
        }
        r->marks[r->mark_count++] = *mark;
    }
    mtrace_let_go_(&mtrace_locks_.marks);
}

/* With a writer in the turn of the samples, so that lines stay in their order. */
static void mtrace_add_mark_(const mtrace_mark_ *mark) {
    mtrace_out_ out;
    if ((mtrace_recorder_state_() & MTRACE_RECORDER_STREAMS_) == 0) {
        mtrace_keep_mark_(mark);
        return;
    }
    mtrace_hold_(&mtrace_locks_.turn);
    mtrace_keep_mark_(mark);
    if ((mtrace_recorder_state_() & MTRACE_RECORDER_STREAMS_) != 0) {
        mtrace_out_open_(&out, mtrace_recorder_.write, mtrace_recorder_.write_user);
        mtrace_say_dat_mark_(&out, &mtrace_recorder_.r, mark);
    }
    mtrace_let_go_(&mtrace_locks_.turn);
}

void mtrace_mark_span(const char *name, const mtrace_span *span) {
    mtrace_mark_ mark = MTRACE_ZERO_;
    if (mtrace_recorder_is_on() && span != NULL) {
        mark.span = *span;
        mark.span.end = span->end < span->start ? span->start : span->end;
        mark.is_span = true;
        mtrace_copy_name_(mark.name, sizeof mark.name, name);
        mtrace_add_mark_(&mark);
    }
}

void mtrace_mark(const char *name) {
    mtrace_mark_ mark = MTRACE_ZERO_;
    if (mtrace_recorder_is_on()) {
        mark.span.start = mark.span.end = mtrace_now();
        mark.span.start_bytes = mark.span.end_bytes = mtrace_get_traced_memory().current;
        mtrace_copy_name_(mark.name, sizeof mark.name, name);
        mtrace_add_mark_(&mark);
    }
}

/* --- start, stop, what there is --- */

static bool mtrace_recorder_desc_good_(const mtrace_recorder_desc *d) {
    return d->site_count <= MTRACE_MOST_CHOSEN_ && d->domain_count <= MTRACE_MOST_CHOSEN_ &&
           (d->site_count == 0 || d->sites != NULL) &&
           (d->domain_count == 0 || d->domains != NULL) && d->max_samples != 1 &&
           d->interval <= INT32_MAX && (d->no_thread || mtrace_ticker_can_());
}

/* "file.c:12 function type", what of it is set. */
static void mtrace_name_site_(mtrace_series_ *series) {
    const mtrace_filter *f = &series->filter;
    const char *parts[3];
    char text[256];
    size_t used = (size_t)snprintf(text, sizeof text, "%s", f->exclusive ? "not" : ""), i;
    parts[0] = f->file != NULL ? f->file : f->has_line ? "*" : NULL;
    parts[1] = f->function;
    parts[2] = f->type;
    for (i = 0; i < 3; i++) {
        if (parts[i] != NULL) {
            used += (size_t)snprintf(text + used, 64, " %.60s", parts[i]);
        }
        if (i == 0 && f->has_line) {
            used += (size_t)snprintf(text + used, 16, ":%lu", (unsigned long)f->line);
        }
    }
    if (f->has_domain) {
        snprintf(text + used, 24, " domain %lu", (unsigned long)f->domain);
    }
    for (i = 0; i < sizeof text - 1 && text[i] == ' ';) {
        i++;
    }
    mtrace_copy_name_(series->name, sizeof series->name, text[i] == '\0' ? "all" : text + i);
}

static void mtrace_name_series_(mtrace_recording_ *r, const mtrace_recorder_desc *d) {
    size_t i, word = 0;
    for (; word < MTRACE_W_CHOSEN_; word++) {
        mtrace_copy_name_(r->series[word].name, MTRACE_MARK_NAME_, mtrace_series_names_[word]);
    }
    for (i = 0; i < d->domain_count; i++, word++) {
        mtrace_series_ *series = &r->series[word];
        series->filter.has_domain = true;
        series->filter.domain = d->domains[i];
        snprintf(series->name, sizeof series->name, "domain %lu", (unsigned long)d->domains[i]);
    }
    r->first_site = word;
    for (i = 0; i < d->site_count; i++, word++) {
        r->series[word].filter = d->sites[i];
        mtrace_name_site_(&r->series[word]);
    }
    r->words = word;
}

/* Their patterns too are the recorder's own. Without `to`: only how many bytes they take. */
static size_t mtrace_copy_patterns_(mtrace_recording_ *r, char *to) {
    size_t word, size = 0, i;
    for (word = r->first_site; word < r->words; word++) {
        mtrace_filter *f = &r->series[word].filter;
        const char **patterns[3];
        patterns[0] = &f->file;
        patterns[1] = &f->function;
        patterns[2] = &f->type;
        for (i = 0; i < 3; i++) {
            size_t length = *patterns[i] == NULL ? 0 : strlen(*patterns[i]) + 1;
            if (to != NULL && length > 0) {
                memcpy(to + size, *patterns[i], length);
                *patterns[i] = to + size;
            }
            size += length;
        }
    }
    return size;
}

static mtrace_result mtrace_recording_make_(mtrace_recording_ *r, const mtrace_recorder_desc *d) {
    size_t sample, most, patterns;
    r->max_samples = d->max_samples != 0 ? d->max_samples : 4096;
    r->max_marks = d->max_marks != 0 ? d->max_marks : 1024;
    r->each = r->in_last = 1;
    mtrace_name_series_(r, d);
    sample = r->words * sizeof *r->samples;
    patterns = mtrace_copy_patterns_(r, NULL);
    most = (SIZE_MAX / 2 - patterns) / 2;
    if (r->max_samples > most / sample || r->max_marks > most / sizeof *r->marks) {
        return MTRACE_ERR_NO_MEMORY;
    }
    r->memory = r->max_samples * sample + r->max_marks * sizeof *r->marks + patterns;
    r->samples = (uint64_t *)MTRACE_BASE_MALLOC(r->memory);
    if (r->samples == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    r->marks = (mtrace_mark_ *)(r->samples + r->max_samples * r->words);
    mtrace_copy_patterns_(r, (char *)(r->marks + r->max_marks));
    return MTRACE_OK;
}

/* The turn is held. */
static void mtrace_recorder_begin_(const mtrace_recorder_desc *d) {
    uint32_t streams = d->write != NULL ? MTRACE_RECORDER_STREAMS_ : 0;
    mtrace_out_ out;
    mtrace_recorder_.write = d->write;
    mtrace_recorder_.write_user = d->write_user;
    mtrace_recorder_.last_peak = mtrace_get_traced_memory().peak; /* of an earlier time */
    mtrace_recorder_.r.start = mtrace_now();
    mtrace_recorder_.r.unix_start = mtrace_unix_now_();
    if (streams != 0) {
        mtrace_out_open_(&out, d->write, d->write_user);
        mtrace_say_dat_head_(&out);
    }
    mtrace_sample_();
    mtrace_recorder_set_state_(MTRACE_RECORDER_ON_ | streams);
}

/* What was recorded, and the room for a snapshot, give way; d NULL: to nothing. */
static void mtrace_recorder_replace_(const mtrace_recording_ *r, mtrace_memory snapshot,
                                     const mtrace_recorder_desc *d) {
    mtrace_hold_(&mtrace_locks_.turn);
    mtrace_hold_(&mtrace_locks_.marks);
    MTRACE_BASE_FREE(mtrace_recorder_.r.samples);
    MTRACE_BASE_FREE(mtrace_recorder_.snapshot.memory);
    mtrace_recorder_.r = *r;
    mtrace_recorder_.snapshot = snapshot;
    mtrace_let_go_(&mtrace_locks_.marks);
    if (d != NULL) {
        mtrace_recorder_begin_(d);
    }
    mtrace_let_go_(&mtrace_locks_.turn);
}

/* Nothing has changed until all is there; the thread finds nothing to do until then. */
static mtrace_result mtrace_recorder_prepare_(const mtrace_recorder_desc *d) {
    mtrace_recording_ r = MTRACE_ZERO_;
    mtrace_memory snapshot = MTRACE_ZERO_;
    mtrace_result result = mtrace_recording_make_(&r, d);
    if (result == MTRACE_OK && r.words > MTRACE_W_CHOSEN_) {
        snapshot.size = mtrace_snapshot_size(false) * 3 / 2;
        snapshot.memory = MTRACE_BASE_MALLOC(snapshot.size);
        result = snapshot.memory == NULL ? MTRACE_ERR_NO_MEMORY : MTRACE_OK;
    }
    if (result == MTRACE_OK && !d->no_thread) {
        result = mtrace_ticker_start_(d->interval != 0 ? d->interval : 100);
    }
    if (result != MTRACE_OK) {
        MTRACE_BASE_FREE(snapshot.memory);
        MTRACE_BASE_FREE(r.samples);
        return result;
    }
    mtrace_recorder_replace_(&r, snapshot, d);
    return MTRACE_OK;
}

mtrace_result mtrace_recorder_start(const mtrace_recorder_desc *desc) {
    mtrace_recorder_desc d = MTRACE_ZERO_;
    mtrace_result result = MTRACE_ERR_ALREADY;
    if (desc != NULL) {
        d = *desc;
    }
    if (!mtrace_recorder_desc_good_(&d)) {
        return MTRACE_ERR_ARGUMENT;
    }
    mtrace_hold_(&mtrace_locks_.life);
    if (!mtrace_recorder_is_on()) {
        result = mtrace_get_info().capacity == 0 ? MTRACE_ERR_NOT_TRACING
                 : !mtrace_ticker_forks_()       ? MTRACE_ERR_NO_MEMORY
                                                 : mtrace_recorder_prepare_(&d);
    }
    mtrace_let_go_(&mtrace_locks_.life);
    return result;
}

/* `life` is held. */
static void mtrace_recorder_end_(void) {
    if (!mtrace_recorder_is_on()) {
        return;
    }
    mtrace_ticker_stop_();
    mtrace_hold_(&mtrace_locks_.turn);
    mtrace_sample_();
    mtrace_hold_(&mtrace_locks_.marks);
    mtrace_recorder_set_state_(0);
    mtrace_let_go_(&mtrace_locks_.marks);
    mtrace_let_go_(&mtrace_locks_.turn);
}

void mtrace_recorder_stop(void) {
    mtrace_hold_(&mtrace_locks_.life);
    mtrace_recorder_end_();
    mtrace_let_go_(&mtrace_locks_.life);
}

void mtrace_recorder_free(void) {
    mtrace_recording_ nothing = MTRACE_ZERO_;
    mtrace_memory none = MTRACE_ZERO_;
    mtrace_hold_(&mtrace_locks_.life);
    mtrace_recorder_end_();
    mtrace_recorder_replace_(&nothing, none, NULL);
    mtrace_let_go_(&mtrace_locks_.life);
}

/* The highest of a series and when it was, 0 when nothing is known of it. */
static uint64_t mtrace_highest_(const mtrace_recording_ *r, size_t word, uint64_t *time) {
    uint64_t highest = 0;
    size_t i;
    *time = r->start;
    for (i = 0; i < r->sample_count; i++) {
        const uint64_t *sample = r->samples + i * r->words;
        if (sample[word] > highest && sample[word] != MTRACE_UNKNOWN_BYTES_) {
            highest = sample[word];
            *time = sample[MTRACE_W_MAX_TIME_];
        }
    }
    return highest;
}

mtrace_recorder_info mtrace_recorder_get_info(void) {
    const mtrace_recording_ *r = &mtrace_recorder_.r;
    mtrace_recorder_info info = MTRACE_ZERO_;
    mtrace_hold_(&mtrace_locks_.turn);
    info.is_on = mtrace_recorder_is_on();
    info.samples = r->sample_count;
    info.taken = r->taken;
    info.peak = mtrace_highest_(r, MTRACE_W_MAX_, &info.peak_time);
    info.memory = r->memory + mtrace_recorder_.snapshot.size;
    mtrace_hold_(&mtrace_locks_.marks);
    info.marks = r->mark_count;
    info.dropped_marks = r->dropped_marks;
    mtrace_let_go_(&mtrace_locks_.marks);
    mtrace_let_go_(&mtrace_locks_.turn);
    return info;
}

/* memcpy takes no NULL, even for nothing. */
static void mtrace_copy_bytes_(void *to, const void *from, size_t size) {
    if (size > 0) {
        memcpy(to, from, size);
    }
}

/* For a report: samples wait meanwhile, marks only while theirs are copied. False: no memory. */
static bool mtrace_recording_copy_(mtrace_recording_ *copy) {
    const mtrace_recording_ *r = &mtrace_recorder_.r;
    size_t bytes;
    uint64_t *samples;
    mtrace_hold_(&mtrace_locks_.turn);
    bytes = r->sample_count * r->words * sizeof *samples;
    samples = (uint64_t *)MTRACE_BASE_MALLOC(bytes + r->max_marks * sizeof *r->marks + 1);
    if (samples != NULL) {
        mtrace_copy_bytes_(samples, r->samples, bytes);
        mtrace_hold_(&mtrace_locks_.marks);
        *copy = *r;
        copy->samples = samples;
        copy->marks = (mtrace_mark_ *)(samples + r->sample_count * r->words);
        mtrace_copy_bytes_(copy->marks, r->marks, r->mark_count * sizeof *r->marks);
        mtrace_let_go_(&mtrace_locks_.marks);
    }
    mtrace_let_go_(&mtrace_locks_.turn);
    return samples != NULL;
}

/* ============================================================================================== */
/* [SECTION] RECORDER REPORTS - each walks the samples and the table of series                    */
/* ============================================================================================== */

typedef struct mtrace_unit_ {
    uint64_t size;
    const char *name;
    bool is_of_60;
} mtrace_unit_;
static const mtrace_unit_ mtrace_byte_units_[] = {
    {1, "B", false},
    {(uint64_t)1 << 10, "KiB", false},
    {(uint64_t)1 << 20, "MiB", false},
    {(uint64_t)1 << 30, "GiB", false},
    {(uint64_t)1 << 40, "TiB", false},
};
static const mtrace_unit_ mtrace_time_units_[] = {
    {1, "ns", false},
    {1000, "us", false},
    {MTRACE_NS_PER_MS_, "ms", false},
    {MTRACE_NS_PER_S_, "s", true},
    {(uint64_t)60 * MTRACE_NS_PER_S_, "min", true},
    {(uint64_t)3600 * MTRACE_NS_PER_S_, "h", false},
};

typedef struct mtrace_ticks_ {
    uint64_t step;
    const mtrace_unit_ *unit;
} mtrace_ticks_;

/* The smallest round step, a whole number of a unit, of which `most` or fewer reach so far. */
static mtrace_ticks_ mtrace_ticks_for_(const mtrace_unit_ *units, size_t count, uint64_t range,
                                       uint64_t most) {
    static const uint16_t multiples[] = {1, 2, 5, 10, 20, 30, 50, 100, 200, 500};
    mtrace_ticks_ ticks;
    size_t i, j;
    for (i = 0; i < count; i++) {
        ticks.unit = &units[i];
        for (j = 0; j < sizeof multiples / sizeof *multiples; j++) {
            bool is_odd = units[i].is_of_60 ? multiples[j] > 30 : multiples[j] == 30;
            ticks.step = multiples[j] * units[i].size;
            if (!is_odd && range / most + (range % most != 0 ? 1 : 0) <= ticks.step) {
                return ticks;
            }
        }
    }
    ticks.step = (range / most / ticks.unit->size + 1) * ticks.unit->size;
    return ticks;
}

/* value / whole * range, rounded down, of any numbers. */
static uint64_t mtrace_scaled_(uint64_t value, uint64_t whole, uint32_t range) {
    while (whole > UINT32_MAX) {
        whole >>= 1;
        value >>= 1;
    }
    return whole == 0 ? 0 : value * range / whole;
}

typedef char mtrace_label_[32];

static const char *mtrace_label_size_(char *label, uint64_t bytes) {
    mtrace_format_size(label, sizeof(mtrace_label_), (int64_t)bytes, false);
    return label;
}

/* "12.34 s" */
static const char *mtrace_label_time_(char *label, uint64_t ns) {
    const mtrace_unit_ *unit = mtrace_time_units_ + 3;
    while (unit > mtrace_time_units_ && ns < unit->size) {
        unit--;
    }
    snprintf(label, sizeof(mtrace_label_), "%llu.%02llu %s", (mtrace_u_)(ns / unit->size),
             (mtrace_u_)(ns % unit->size * 100 / unit->size), unit->name);
    return label;
}

/* --- mprof --- */

static void mtrace_write_dat_(mtrace_out_ *o, const mtrace_recording_ *r) {
    size_t i;
    mtrace_say_dat_head_(o);
    if (r->sample_count == 0) { /* mprof wants one */
        mtrace_say_dat_memory_(o, r, 0, r->start);
    }
    for (i = 0; i < r->sample_count; i++) {
        mtrace_say_dat_sample_(o, r, r->samples + i * r->words);
    }
    for (i = 0; i < r->mark_count; i++) {
        mtrace_say_dat_mark_(o, r, &r->marks[i]);
    }
}

/* --- trace events of Chrome --- */

static const char *const mtrace_json_escapes_[] = {"\"\\\"", "\\\\\\", NULL};

/* Up to its own keys. The names of ours are good as they are. */
static void mtrace_say_event_(mtrace_out_ *o, const char *name, const char *kind, uint64_t time,
                              uint32_t thread) {
    mtrace_say_(o, ",\n{\"name\":\"");
    mtrace_say_escaped_(o, name, mtrace_json_escapes_);
    mtrace_say_(o, "\",\"ph\":\"%s\",\"ts\":%llu.%03llu,\"pid\":%lu,\"tid\":%lu", kind,
                (mtrace_u_)(time / 1000), (mtrace_u_)(time % 1000), mtrace_process_(),
                (unsigned long)thread);
}

/* One counter with a value for each series that is known of these words. */
static void mtrace_say_counter_(mtrace_out_ *o, const mtrace_recording_ *r, const uint64_t *sample,
                                const char *name, size_t word, size_t end) {
    bool any = false;
    for (; word < end; word++) {
        if (sample[word] == MTRACE_UNKNOWN_BYTES_) {
            continue;
        }
        if (!any) {
            mtrace_say_event_(o, name, "C", sample[MTRACE_W_TIME_], 0);
        }
        mtrace_say_(o, any ? ",\"" : ",\"args\":{\"");
        mtrace_say_escaped_(o, r->series[word].name, mtrace_json_escapes_);
        mtrace_say_(o, "\":%llu", (mtrace_u_)sample[word]);
        any = true;
    }
    mtrace_say_(o, any ? "}}" : "");
}

static void mtrace_say_mark_event_(mtrace_out_ *o, const mtrace_mark_ *mark) {
    const mtrace_span *s = &mark->span;
    uint64_t length = s->end - s->start;
    mtrace_say_event_(o, mark->name, mark->is_span ? "X" : "i", s->start, s->thread);
    if (mark->is_span) {
        mtrace_say_(o, ",\"dur\":%llu.%03llu", (mtrace_u_)(length / 1000),
                    (mtrace_u_)(length % 1000));
        mtrace_say_(o, ",\"args\":{\"start_bytes\":%llu,\"end_bytes\":%llu}}",
                    (mtrace_u_)s->start_bytes, (mtrace_u_)s->end_bytes);
    } else {
        mtrace_say_(o, ",\"s\":\"p\",\"args\":{\"bytes\":%llu}}", (mtrace_u_)s->start_bytes);
    }
}

static void mtrace_write_chrome_(mtrace_out_ *o, const mtrace_recording_ *r) {
    size_t i;
    mtrace_say_(o,
                "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"tool\":\"mtrace\","
                "\"dropped_marks\":\"%llu\"},\n\"traceEvents\":[\n",
                (mtrace_u_)r->dropped_marks);
    mtrace_say_(o, "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%lu,\"tid\":0,\"args\":{",
                mtrace_process_());
    mtrace_say_(o, "\"name\":\"mtrace\"}}");
    for (i = 0; i < r->sample_count; i++) {
        const uint64_t *sample = r->samples + i * r->words;
        mtrace_say_counter_(o, r, sample, "memory", MTRACE_W_CURRENT_, MTRACE_W_CHOSEN_);
        mtrace_say_counter_(o, r, sample, "domains", MTRACE_W_CHOSEN_, r->first_site);
        mtrace_say_counter_(o, r, sample, "sites", r->first_site, r->words);
    }
    for (i = 0; i < r->mark_count; i++) {
        mtrace_say_mark_event_(o, &r->marks[i]);
    }
    mtrace_say_(o, "\n]}\n");
}

/* --- comma-separated values --- */

static const char *const mtrace_csv_escapes_[] = {"\"\"\"", NULL};

static void mtrace_write_csv_(mtrace_out_ *o, const mtrace_recording_ *r) {
    size_t i, word;
    mtrace_say_(o, "\"time (s)\"");
    for (word = MTRACE_W_CURRENT_; word < r->words; word++) {
        mtrace_say_(o, ",\"");
        mtrace_say_escaped_(o, r->series[word].name, mtrace_csv_escapes_);
        mtrace_say_(o, " (B)\"");
    }
    for (i = 0; i < r->sample_count; i++) {
        const uint64_t *sample = r->samples + i * r->words;
        uint64_t time = sample[MTRACE_W_TIME_] - r->start;
        mtrace_say_(o, "\r\n%llu.%09llu", (mtrace_u_)(time / MTRACE_NS_PER_S_),
                    (mtrace_u_)(time % MTRACE_NS_PER_S_));
        for (word = MTRACE_W_CURRENT_; word < r->words; word++) {
            bool known = sample[word] != MTRACE_UNKNOWN_BYTES_;
            mtrace_say_(o, known ? ",%llu" : ",", (mtrace_u_)sample[word]);
        }
    }
    mtrace_say_(o, "\r\n");
}

/* --- pictures: time in columns of equal length --- */

enum { MTRACE_MOST_COLUMNS_ = 340 };

static uint64_t mtrace_duration_(const mtrace_recording_ *r) {
    uint64_t end = r->start + 1; /* never 0 */
    size_t i;
    if (r->sample_count > 0) {
        const uint64_t *last = r->samples + (r->sample_count - 1) * r->words;
        end = last[MTRACE_W_TIME_] > end ? last[MTRACE_W_TIME_] : end;
    }
    for (i = 0; i < r->mark_count; i++) {
        end = r->marks[i].span.end > end ? r->marks[i].span.end : end;
    }
    return end - r->start;
}

static uint32_t mtrace_column_(const mtrace_recording_ *r, uint64_t duration, uint64_t time,
                               uint32_t columns) {
    uint64_t since = time > r->start ? time - r->start : 0; /* a call may be older */
    uint64_t column = mtrace_scaled_(since < duration ? since : duration, duration, columns);
    return column < columns ? (uint32_t)column : columns - 1;
}

/* What a series was in each column: what it was last for `current`, the highest for the others. A
   column without a sample is as the one before; for `highest`, as `current` was. */
static void mtrace_fill_columns_(const mtrace_recording_ *r, size_t word, uint64_t *values,
                                 uint32_t columns) {
    uint64_t duration = mtrace_duration_(r), last = MTRACE_UNKNOWN_BYTES_;
    size_t i, carried = word == MTRACE_W_MAX_ ? (size_t)MTRACE_W_CURRENT_ : word;
    uint32_t at, to = 0;
    memset(values, 0, columns * sizeof *values);
    for (i = 0; i < r->sample_count; i++) {
        const uint64_t *sample = r->samples + i * r->words;
        at = mtrace_column_(r, duration, sample[MTRACE_W_TIME_], columns);
        if (sample[carried] == MTRACE_UNKNOWN_BYTES_) {
            continue;
        }
        for (last = last == MTRACE_UNKNOWN_BYTES_ ? sample[carried] : last; to < at; to++) {
            values[to] = values[to] > last ? values[to] : last;
        }
        last = sample[carried];
        values[at] = carried == MTRACE_W_CURRENT_ || last > values[at] ? last : values[at];
    }
    for (; to < columns && last != MTRACE_UNKNOWN_BYTES_; to++) {
        values[to] = values[to] > last ? values[to] : last;
    }
    for (i = 0; i < r->sample_count && word == MTRACE_W_MAX_; i++) {
        const uint64_t *sample = r->samples + i * r->words;
        at = mtrace_column_(r, duration, sample[MTRACE_W_MAX_TIME_], columns);
        values[at] = values[at] > sample[MTRACE_W_MAX_] ? values[at] : sample[MTRACE_W_MAX_];
    }
}

static uint64_t mtrace_current_(const mtrace_recording_ *r) {
    size_t last = r->sample_count - 1;
    return r->sample_count > 0 ? r->samples[last * r->words + MTRACE_W_CURRENT_] : 0;
}

/* --- one line --- */

static void mtrace_write_spark_(mtrace_out_ *o, const mtrace_recording_ *r,
                                const char *const *blocks) {
    enum { COLUMNS = 40 };
    uint64_t values[COLUMNS], time, highest = mtrace_highest_(r, MTRACE_W_MAX_, &time);
    mtrace_label_ held, peak;
    int i;
    mtrace_fill_columns_(r, MTRACE_W_MAX_, values, COLUMNS);
    mtrace_say_(o, "mtrace: %s ", mtrace_label_size_(held, mtrace_current_(r)));
    for (i = 0; i < COLUMNS && r->sample_count > 0; i++) {
        mtrace_say_(o, "%s", blocks[values[i] == 0 ? 0 : mtrace_scaled_(values[i], highest, 7)]);
    }
    mtrace_say_(o, "%s%s peak\n", r->sample_count > 0 ? " " : "",
                mtrace_label_size_(peak, highest));
}

static void mtrace_write_sparkline_(mtrace_out_ *o, const mtrace_recording_ *r) {
    static const char *const blocks[] = {"\xe2\x96\x81", "\xe2\x96\x82", "\xe2\x96\x83",
                                         "\xe2\x96\x84", "\xe2\x96\x85", "\xe2\x96\x86",
                                         "\xe2\x96\x87", "\xe2\x96\x88"};
    mtrace_write_spark_(o, r, blocks);
}

static void mtrace_write_sparkline_ascii_(mtrace_out_ *o, const mtrace_recording_ *r) {
    static const char *const blocks[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
    mtrace_write_spark_(o, r, blocks);
}

/* --- a picture for terminals --- */

enum { MTRACE_PLOT_COLUMNS_ = 68, MTRACE_PLOT_ROWS_ = 16 };

/* Rows from the top: '#' up to what was held, ':' up to the highest. */
static void mtrace_say_plot_rows_(mtrace_out_ *o, const mtrace_recording_ *r, mtrace_ticks_ ticks,
                                  uint32_t tick_count) {
    uint64_t current[MTRACE_PLOT_COLUMNS_], highest[MTRACE_PLOT_COLUMNS_];
    uint32_t rows_a_tick = MTRACE_PLOT_ROWS_ / tick_count, row, i;
    mtrace_label_ label;
    mtrace_fill_columns_(r, MTRACE_W_CURRENT_, current, MTRACE_PLOT_COLUMNS_);
    mtrace_fill_columns_(r, MTRACE_W_MAX_, highest, MTRACE_PLOT_COLUMNS_);
    for (row = rows_a_tick * tick_count; row > 0; row--) {
        uint64_t floor = ticks.step * (row - 1) / rows_a_tick;
        char line[MTRACE_PLOT_COLUMNS_ + 1] = "";
        uint32_t length = 0;
        for (i = 0; i < MTRACE_PLOT_COLUMNS_; i++) {
            line[i] = current[i] > floor ? '#' : highest[i] > floor ? ':' : ' ';
            length = line[i] != ' ' ? i + 1 : length;
        }
        snprintf(label, sizeof label, "%llu %s",
                 (mtrace_u_)(row / rows_a_tick * ticks.step / ticks.unit->size), ticks.unit->name);
        mtrace_say_(o, "%9s |%.*s\n", row % rows_a_tick == 0 ? label : "", (int)length, line);
    }
}

/* The axis, with its ticks, and what they stand for beneath; instants on the axis. */
static void mtrace_say_plot_axis_(mtrace_out_ *o, const mtrace_recording_ *r) {
    char axis[MTRACE_PLOT_COLUMNS_ + 1];
    uint64_t duration = mtrace_duration_(r), n;
    mtrace_ticks_ ticks = mtrace_ticks_for_(mtrace_time_units_, 6, duration, 6);
    uint32_t at, length, end = 0;
    mtrace_label_ label;
    size_t i;
    memset(axis, '-', sizeof axis);
    axis[MTRACE_PLOT_COLUMNS_] = '\0';
    for (n = 0; n <= duration / ticks.step; n++) {
        axis[mtrace_column_(r, duration, r->start + n * ticks.step, MTRACE_PLOT_COLUMNS_)] = '+';
    }
    for (i = 0; i < r->mark_count; i++) {
        if (!r->marks[i].is_span) {
            axis[mtrace_column_(r, duration, r->marks[i].span.start, MTRACE_PLOT_COLUMNS_)] = '^';
        }
    }
    mtrace_say_(o, "%9s +%s\n%11s", "0 B", axis, "");
    for (n = 0; n <= duration / ticks.step; n++) {
        at = mtrace_column_(r, duration, r->start + n * ticks.step, MTRACE_PLOT_COLUMNS_);
        snprintf(label, sizeof label, "%llu%s%s", (mtrace_u_)(n * ticks.step / ticks.unit->size),
                 n == 0 ? " " : "", n == 0 ? ticks.unit->name : "");
        length = (uint32_t)strlen(label);
        at = at + length > MTRACE_PLOT_COLUMNS_ ? MTRACE_PLOT_COLUMNS_ - length : at;
        mtrace_say_(o, "%*s%s", (int)(at - end), "", label);
        end = at + length;
    }
    mtrace_say_(o, "\n");
}

static void mtrace_write_plot_(mtrace_out_ *o, const mtrace_recording_ *r) {
    uint64_t time, highest = mtrace_highest_(r, MTRACE_W_MAX_, &time);
    mtrace_ticks_ ticks = mtrace_ticks_for_(mtrace_byte_units_, 5, highest, 4);
    uint64_t tick_count = (highest + ticks.step - 1) / ticks.step;
    mtrace_label_ held, peak, when;
    tick_count = tick_count == 0 ? 1 : tick_count;
    mtrace_say_(o, "mtrace: %s held, peak %s after %s; %llu samples\n",
                mtrace_label_size_(held, mtrace_current_(r)), mtrace_label_size_(peak, highest),
                mtrace_label_time_(when, time - r->start), (mtrace_u_)r->taken);
    mtrace_say_plot_rows_(o, r, ticks, (uint32_t)tick_count);
    mtrace_say_plot_axis_(o, r);
    mtrace_say_(o, "%10s # held   : the highest in between   ^ mark", "");
    if (r->dropped_marks > 0) {
        mtrace_say_(o, " (%llu more dropped)", (mtrace_u_)r->dropped_marks);
    }
    mtrace_say_(o, "\n");
}

/* --- a picture --- */

/* Pixels. The plot, names of instants above it, calls beneath it, the legend at its right. */
enum {
    MTRACE_SVG_WIDTH_ = 1040,
    MTRACE_SVG_LEFT_ = 84,
    MTRACE_SVG_PLOT_ = 2 * MTRACE_MOST_COLUMNS_,
    MTRACE_SVG_TALL_ = 320,
    MTRACE_SVG_LEGEND_ = MTRACE_SVG_LEFT_ + MTRACE_SVG_PLOT_ + 28,
    MTRACE_SVG_ROW_ = 20,
    MTRACE_SVG_NAME_ROWS_ = 3,
    MTRACE_SVG_MOST_THREADS_ = 8,
    MTRACE_SVG_MOST_LEVELS_ = 8
};

typedef struct mtrace_svg_ {
    mtrace_out_ *o;
    const mtrace_recording_ *r;
    uint64_t duration;
    uint64_t most;     /* bytes at the top */
    uint32_t y;        /* of the top */
    bool has_resident; /* on this scale */
    mtrace_ticks_ bytes;
    uint32_t threads[MTRACE_SVG_MOST_THREADS_]; /* with calls, and their rows */
    uint32_t rows[MTRACE_SVG_MOST_THREADS_];
    uint32_t thread_count;
    size_t undrawn; /* calls without a row */
} mtrace_svg_;

static const char *const mtrace_xml_escapes_[] = {"&&amp;", "<&lt;", ">&gt;", "\"&quot;", NULL};
static const char *const mtrace_colours_[] = {"#4e79a7", "#f28e2b", "#59a14f", "#b07aa1",
                                              "#76b7b2", "#edc948", "#9c755f", "#ff9da7"};

static const char *mtrace_colour_(size_t word) {
    return mtrace_colours_[(word - MTRACE_W_CHOSEN_) % 8];
}

static uint32_t mtrace_svg_x_(const mtrace_svg_ *s, uint64_t time) {
    return MTRACE_SVG_LEFT_ + mtrace_column_(s->r, s->duration, time, MTRACE_SVG_PLOT_ + 1);
}

static uint32_t mtrace_svg_y_(const mtrace_svg_ *s, uint64_t bytes) {
    bytes = bytes < s->most ? bytes : s->most;
    return s->y + MTRACE_SVG_TALL_ - (uint32_t)mtrace_scaled_(bytes, s->most, MTRACE_SVG_TALL_);
}

static void mtrace_svg_text_(const mtrace_svg_ *s, uint32_t x, uint32_t y, const char *style,
                             const char *text) {
    mtrace_say_(s->o, "<text x=\"%u\" y=\"%u\" class=\"%s\">", (unsigned)x, (unsigned)y, style);
    mtrace_say_escaped_(s->o, text, mtrace_xml_escapes_);
    mtrace_say_(s->o, "</text>\n");
}

/* The row of a thread's calls of this level, counted from the first; false when it has none. */
static bool mtrace_svg_row_(const mtrace_svg_ *s, const mtrace_span *span, uint32_t *row) {
    uint32_t i;
    *row = span->level;
    for (i = 0; i < s->thread_count; i++) {
        if (s->threads[i] == span->thread) {
            return span->level < MTRACE_SVG_MOST_LEVELS_;
        }
        *row += s->rows[i];
    }
    return false;
}

static void mtrace_svg_give_rows_(mtrace_svg_ *s) {
    size_t i;
    for (i = 0; i < s->r->mark_count; i++) {
        const mtrace_mark_ *mark = &s->r->marks[i];
        uint32_t t = 0;
        if (!mark->is_span || mark->span.level >= MTRACE_SVG_MOST_LEVELS_) {
            s->undrawn += mark->is_span ? 1 : 0;
            continue;
        }
        while (t < s->thread_count && s->threads[t] != mark->span.thread) {
            t++;
        }
        if (t == MTRACE_SVG_MOST_THREADS_) {
            s->undrawn++;
            continue;
        }
        s->thread_count += t == s->thread_count ? 1 : 0;
        s->threads[t] = mark->span.thread;
        s->rows[t] = s->rows[t] > mark->span.level ? s->rows[t] : mark->span.level + 1;
    }
}

/* Adds a domain's columns to those beneath it. */
static void mtrace_svg_stack_(const mtrace_recording_ *r, size_t word, uint64_t *values) {
    uint64_t own[MTRACE_MOST_COLUMNS_];
    uint32_t i;
    mtrace_fill_columns_(r, word, own, MTRACE_MOST_COLUMNS_);
    for (i = 0; i < MTRACE_MOST_COLUMNS_; i++) {
        values[i] += own[i];
    }
}

static void mtrace_svg_measure_(mtrace_svg_ *s) {
    uint64_t values[MTRACE_MOST_COLUMNS_] = MTRACE_ZERO_, time, resident;
    size_t word;
    uint32_t i;
    bool has_instants = false;
    s->duration = mtrace_duration_(s->r);
    s->most = mtrace_highest_(s->r, MTRACE_W_MAX_, &time);
    for (word = MTRACE_W_CHOSEN_; word < s->r->first_site; word++) {
        mtrace_svg_stack_(s->r, word, values);
    }
    for (i = 0; i < MTRACE_MOST_COLUMNS_; i++) {
        s->most = s->most > values[i] ? s->most : values[i];
    }
    resident = mtrace_highest_(s->r, MTRACE_W_RESIDENT_, &time);
    s->has_resident = resident > 0 && resident / 2 <= s->most;
    s->most = s->has_resident && resident > s->most ? resident : s->most;
    s->bytes = mtrace_ticks_for_(mtrace_byte_units_, 5, s->most, 6);
    s->most = (s->most / s->bytes.step + 1) * s->bytes.step; /* some air above */
    for (i = 0; i < s->r->mark_count; i++) {
        has_instants = has_instants || !s->r->marks[i].is_span;
    }
    s->y = 76 + (has_instants ? MTRACE_SVG_NAME_ROWS_ * 14 : 0);
    mtrace_svg_give_rows_(s);
}

static uint32_t mtrace_svg_rows_(const mtrace_svg_ *s) {
    uint32_t rows = 0, i;
    for (i = 0; i < s->thread_count; i++) {
        rows += s->rows[i];
    }
    return rows;
}

static uint32_t mtrace_svg_height_(const mtrace_svg_ *s) {
    uint32_t plot = MTRACE_SVG_TALL_ + 44 + mtrace_svg_rows_(s) * MTRACE_SVG_ROW_ + 24;
    uint32_t legend = (uint32_t)(s->r->words + 2) * MTRACE_SVG_ROW_;
    return s->y + (plot > legend ? plot : legend);
}

static void mtrace_svg_head_(const mtrace_svg_ *s) {
    uint64_t time, highest = mtrace_highest_(s->r, MTRACE_W_MAX_, &time);
    unsigned height = mtrace_svg_height_(s);
    mtrace_label_ a, b;
    char text[128];
    mtrace_say_(s->o,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %u\" "
                "font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" "
                "font-size=\"12\">\n",
                MTRACE_SVG_WIDTH_, height);
    mtrace_say_(s->o,
                "<style>\n.h{font-size:18px;font-weight:bold;fill:#222}.t{fill:#444}"
                ".e{fill:#444;text-anchor:end}.m{fill:#444;text-anchor:middle}\n"
                ".n{font-size:11px;fill:#8a2be2;stroke:#fff;stroke-width:3px;"
                "paint-order:stroke}.c{font-size:11px;fill:#1b3a57}\n"
                "</style>\n<rect width=\"%d\" height=\"%u\" fill=\"#fff\"/>\n",
                MTRACE_SVG_WIDTH_, height);
    snprintf(text, sizeof text, "Memory over time: peak %s after %s",
             mtrace_label_size_(a, highest), mtrace_label_time_(b, time - s->r->start));
    mtrace_svg_text_(s, MTRACE_SVG_LEFT_, 32, "h", text);
    snprintf(text, sizeof text, "%s held at the end, %s, %llu samples, %llu marks (%llu dropped)",
             mtrace_label_size_(a, mtrace_current_(s->r)), mtrace_label_time_(b, s->duration),
             (mtrace_u_)s->r->taken, (mtrace_u_)s->r->mark_count, (mtrace_u_)s->r->dropped_marks);
    mtrace_svg_text_(s, MTRACE_SVG_LEFT_, 54, "t", text);
}

static void mtrace_svg_axes_(const mtrace_svg_ *s) {
    mtrace_ticks_ ticks = mtrace_ticks_for_(mtrace_time_units_, 6, s->duration, 8);
    unsigned right = MTRACE_SVG_LEFT_ + MTRACE_SVG_PLOT_, bottom = s->y + MTRACE_SVG_TALL_, at;
    mtrace_label_ label;
    uint64_t n;
    for (n = 0; n <= s->most / s->bytes.step; n++) {
        at = mtrace_svg_y_(s, n * s->bytes.step);
        mtrace_say_(s->o, "<path d=\"M%d %uH%u\" stroke=\"%s\"/>\n", MTRACE_SVG_LEFT_, at, right,
                    n == 0 ? "#444" : "#e4e4e4");
        snprintf(label, sizeof label, "%llu %s",
                 (mtrace_u_)(n * s->bytes.step / s->bytes.unit->size), s->bytes.unit->name);
        mtrace_svg_text_(s, MTRACE_SVG_LEFT_ - 8, at + 4, "e", label);
    }
    for (n = 0; n <= s->duration / ticks.step; n++) {
        at = mtrace_svg_x_(s, s->r->start + n * ticks.step);
        mtrace_say_(s->o, "<path d=\"M%u %uv5\" stroke=\"#444\"/>\n", at, bottom);
        snprintf(label, sizeof label, "%llu %s", (mtrace_u_)(n * ticks.step / ticks.unit->size),
                 ticks.unit->name);
        mtrace_svg_text_(s, at, bottom + 19, "m", label);
    }
}

/* The points of a line of steps; where it ends in *last_y. */
static void mtrace_svg_steps_(const mtrace_svg_ *s, const uint64_t *values, uint32_t *last_y) {
    uint32_t i;
    for (i = 0; i < MTRACE_MOST_COLUMNS_; i++) {
        uint32_t y = mtrace_svg_y_(s, values[i]);
        if (i == 0) {
            mtrace_say_(s->o, "M%d %u", MTRACE_SVG_LEFT_, (unsigned)y);
        } else if (y != *last_y) {
            mtrace_say_(s->o, "H%uV%u", (unsigned)(MTRACE_SVG_LEFT_ + 2 * i), (unsigned)y);
        }
        *last_y = y;
    }
    mtrace_say_(s->o, "H%d", MTRACE_SVG_LEFT_ + MTRACE_SVG_PLOT_);
}

static void mtrace_svg_line_(const mtrace_svg_ *s, const uint64_t *values, const char *style) {
    uint32_t y;
    mtrace_say_(s->o, "<path fill=\"none\" %s d=\"", style);
    mtrace_svg_steps_(s, values, &y);
    mtrace_say_(s->o, "\"/>\n");
}

/* Down to the axis: an area that is drawn later covers the lower part of one drawn before. */
static void mtrace_svg_area_(const mtrace_svg_ *s, const uint64_t *values, const char *colour) {
    uint32_t y;
    mtrace_say_(s->o, "<path fill=\"%s\" d=\"", colour);
    mtrace_svg_steps_(s, values, &y);
    mtrace_say_(s->o, "V%uH%dZ\"/>\n", (unsigned)(s->y + MTRACE_SVG_TALL_), MTRACE_SVG_LEFT_);
}

/* The sum of the domains first, then without the last, and so on. */
static void mtrace_svg_areas_(const mtrace_svg_ *s) {
    uint64_t values[MTRACE_MOST_COLUMNS_];
    size_t end, word;
    mtrace_fill_columns_(s->r, MTRACE_W_CURRENT_, values, MTRACE_MOST_COLUMNS_);
    mtrace_svg_area_(s, values, "#e3e9ef");
    for (end = s->r->first_site; end > MTRACE_W_CHOSEN_; end--) {
        memset(values, 0, sizeof values);
        for (word = MTRACE_W_CHOSEN_; word < end; word++) {
            mtrace_svg_stack_(s->r, word, values);
        }
        mtrace_svg_area_(s, values, mtrace_colour_(end - 1));
    }
}

static const char *const mtrace_svg_styles_[MTRACE_W_CHOSEN_] = {
    "",
    "",
    "stroke=\"#222\" stroke-width=\"1.5\"",
    "stroke=\"#d62728\"",
    "",
    "stroke=\"#888\" stroke-dasharray=\"6 3\"",
};

static void mtrace_svg_lines_(const mtrace_svg_ *s) {
    static const uint8_t order[] = {MTRACE_W_RESIDENT_, MTRACE_W_MAX_, MTRACE_W_CURRENT_};
    uint64_t values[MTRACE_MOST_COLUMNS_];
    char style[64];
    size_t i;
    for (i = s->has_resident ? 0 : 1; i < sizeof order; i++) {
        mtrace_fill_columns_(s->r, order[i], values, MTRACE_MOST_COLUMNS_);
        mtrace_svg_line_(s, values, mtrace_svg_styles_[order[i]]);
    }
    for (i = s->r->first_site; i < s->r->words; i++) {
        mtrace_fill_columns_(s->r, i, values, MTRACE_MOST_COLUMNS_);
        snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"2\" stroke-dasharray=\"2 2\"",
                 mtrace_colour_(i));
        mtrace_svg_line_(s, values, style);
    }
}

/* Of names: every byte but those that go on with a character begins one. */
static size_t mtrace_svg_characters_(const char *text) {
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80 ? 1 : 0;
    }
    return count;
}

static void mtrace_svg_cut_(char *text, size_t characters) {
    char *p = text;
    for (; *p != '\0'; p++) {
        if (((unsigned char)*p & 0xc0) != 0x80 && characters-- == 0) {
            snprintf(p, 3, ".."); /* it has room: names are cut to less */
            return;
        }
    }
}

/* One row of it: how it is drawn, its name, the most it ever was. */
static void mtrace_svg_legend_row_(const mtrace_svg_ *s, size_t word, unsigned y) {
    uint64_t time, highest = mtrace_highest_(s->r, word, &time);
    bool is_area = word >= MTRACE_W_CHOSEN_ && word < s->r->first_site;
    bool is_site = word >= s->r->first_site;
    bool is_off = word == MTRACE_W_RESIDENT_ && !s->has_resident;
    char text[MTRACE_MARK_NAME_ + 16];
    mtrace_label_ label;
    if (is_area) {
        mtrace_say_(s->o, "<rect x=\"%d\" y=\"%u\" width=\"16\" height=\"10\" fill=\"%s\"/>\n",
                    MTRACE_SVG_LEGEND_, y - 9, mtrace_colour_(word));
    } else if (!is_off) {
        mtrace_say_(s->o, "<path d=\"M%d %uh16\" %s%s%s/>\n", MTRACE_SVG_LEGEND_, y - 4,
                    is_site ? "stroke-width=\"2\" stroke-dasharray=\"2 2\" stroke=\"" : "",
                    is_site ? mtrace_colour_(word) : mtrace_svg_styles_[word], is_site ? "\"" : "");
    }
    snprintf(text, sizeof text, "%s%s", s->r->series[word].name, is_off ? " (off scale)" : "");
    mtrace_svg_cut_(text, 20);
    mtrace_svg_text_(s, MTRACE_SVG_LEGEND_ + 24, y, "t", text);
    if (word != MTRACE_W_CURRENT_) { /* of which merged samples know only the last */
        mtrace_svg_text_(s, MTRACE_SVG_WIDTH_ - 16, y, "e",
                         highest > 0 ? mtrace_label_size_(label, highest) : "-");
    }
}

static void mtrace_svg_legend_(const mtrace_svg_ *s) {
    unsigned y = s->y + 10;
    size_t word;
    mtrace_svg_text_(s, MTRACE_SVG_WIDTH_ - 16, y, "e", "at most");
    for (word = MTRACE_W_CURRENT_; word < s->r->words; word++) {
        if (word != MTRACE_W_PEAK_) {
            y += MTRACE_SVG_ROW_;
            mtrace_svg_legend_row_(s, word, y);
        }
    }
}

/* A name in the first row that has room, and a vertical; without room only a short one. */
static void mtrace_svg_instant_(const mtrace_svg_ *s, const mtrace_mark_ *mark, uint32_t *ends) {
    unsigned x = mtrace_svg_x_(s, mark->span.start), row = 0, name_x;
    unsigned width = 8 + 7 * (unsigned)mtrace_svg_characters_(mark->name);
    name_x = x + width > MTRACE_SVG_WIDTH_ ? MTRACE_SVG_WIDTH_ - width : x;
    while (row < MTRACE_SVG_NAME_ROWS_ && name_x < ends[row]) {
        row++;
    }
    mtrace_say_(s->o,
                "<path d=\"M%u %uv%d\" stroke=\"#8a2be2\" stroke-opacity=\".5\" "
                "stroke-dasharray=\"4 3\"/>\n",
                x, (unsigned)s->y - 4, row < MTRACE_SVG_NAME_ROWS_ ? MTRACE_SVG_TALL_ + 4 : 8);
    if (row < MTRACE_SVG_NAME_ROWS_) {
        ends[row] = name_x + width;
        mtrace_svg_text_(s, name_x, s->y - 8 - 14 * row, "n", mark->name);
    }
}

static void mtrace_svg_instants_(const mtrace_svg_ *s) {
    uint32_t ends[MTRACE_SVG_NAME_ROWS_] = MTRACE_ZERO_;
    size_t i;
    for (i = 0; i < s->r->mark_count; i++) {
        if (!s->r->marks[i].is_span) {
            mtrace_svg_instant_(s, &s->r->marks[i], ends);
        }
    }
}

/* A bracket over the time of the call, with its name inside where there is room. */
static void mtrace_svg_call_(const mtrace_svg_ *s, const mtrace_mark_ *mark, uint32_t row) {
    unsigned x = mtrace_svg_x_(s, mark->span.start), end = mtrace_svg_x_(s, mark->span.end);
    unsigned y = s->y + MTRACE_SVG_TALL_ + 40 + row * MTRACE_SVG_ROW_;
    unsigned width = end > x ? end - x : 1, foot = width > 8 ? 4 : width / 2;
    mtrace_label_ time, held;
    mtrace_say_(s->o, "<g><title>");
    mtrace_say_escaped_(s->o, mark->name, mtrace_xml_escapes_);
    mtrace_format_size(held, sizeof held, (int64_t)(mark->span.end_bytes - mark->span.start_bytes),
                       true);
    mtrace_say_(s->o, ": %s, %s</title>",
                mtrace_label_time_(time, mark->span.end - mark->span.start), held);
    mtrace_say_(s->o, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"16\" fill=\"#d7e6f4\"/>", x, y,
                width);
    mtrace_say_(s->o,
                "<path d=\"M%u %uH%uv16h%uM%u %uh%uv16h-%u\" fill=\"none\" "
                "stroke=\"#3b75af\"/>",
                x + foot, y, x, foot, x + width - foot, y, foot, foot);
    if (width >= 10 + 7 * mtrace_svg_characters_(mark->name)) {
        mtrace_svg_text_(s, x + 6, y + 12, "c", mark->name);
    }
    mtrace_say_(s->o, "</g>\n");
}

static void mtrace_svg_calls_(const mtrace_svg_ *s) {
    uint32_t row = 0, t;
    char text[64];
    size_t i;
    for (t = 0; t < s->thread_count; row += s->rows[t++]) {
        snprintf(text, sizeof text, "thread %lu", (unsigned long)s->threads[t]);
        mtrace_svg_text_(s, MTRACE_SVG_LEFT_ - 8,
                         s->y + MTRACE_SVG_TALL_ + 52 + row * MTRACE_SVG_ROW_, "e", text);
    }
    for (i = 0; i < s->r->mark_count; i++) {
        if (s->r->marks[i].is_span && mtrace_svg_row_(s, &s->r->marks[i].span, &row)) {
            mtrace_svg_call_(s, &s->r->marks[i], row);
        }
    }
    if (s->undrawn > 0) {
        snprintf(text, sizeof text, "%llu calls have no row", (mtrace_u_)s->undrawn);
        mtrace_svg_text_(s, MTRACE_SVG_LEFT_, mtrace_svg_height_(s) - 8, "t", text);
    }
}

static void mtrace_write_svg_(mtrace_out_ *o, const mtrace_recording_ *r) {
    mtrace_svg_ s = MTRACE_ZERO_;
    s.o = o;
    s.r = r;
    mtrace_svg_measure_(&s);
    mtrace_svg_head_(&s);
    mtrace_svg_areas_(&s);
    mtrace_svg_axes_(&s);
    mtrace_svg_lines_(&s);
    mtrace_svg_instants_(&s);
    mtrace_svg_calls_(&s);
    mtrace_svg_legend_(&s);
    mtrace_say_(o, "</svg>\n");
}

/* --- which --- */

typedef void (*mtrace_recorder_fn_)(mtrace_out_ *o, const mtrace_recording_ *r);
static const mtrace_recorder_fn_ mtrace_recorder_formats_[] = {
    mtrace_write_dat_,
    mtrace_write_chrome_,
    mtrace_write_csv_,
    mtrace_write_svg_,
    mtrace_write_plot_,
    mtrace_write_sparkline_,
    mtrace_write_sparkline_ascii_,
};

mtrace_result mtrace_recorder_write(mtrace_recorder_format format, mtrace_write_fn write,
                                    void *user) {
    size_t count = sizeof mtrace_recorder_formats_ / sizeof *mtrace_recorder_formats_;
    mtrace_recording_ copy;
    mtrace_out_ out;
    if (write == NULL || (size_t)format >= count) {
        return MTRACE_ERR_ARGUMENT;
    }
    if (!mtrace_recording_copy_(&copy)) {
        return MTRACE_ERR_NO_MEMORY;
    }
    mtrace_out_open_(&out, write, user);
    mtrace_recorder_formats_[format](&out, &copy);
    MTRACE_BASE_FREE(copy.samples);
    return MTRACE_OK;
}

mtrace_result mtrace_recorder_save(mtrace_recorder_format format, const char *path) {
    mtrace_file_ f;
    mtrace_result result;
    if (path == NULL) {
        return MTRACE_ERR_ARGUMENT;
    }
    result = mtrace_file_open_(&f, path);
    if (result != MTRACE_OK) {
        return result;
    }
    result = mtrace_recorder_write(format, mtrace_file_write_, f.file);
    return mtrace_file_close_(&f, path, result);
}

/* ============================================================================================== */
/* [SECTION] START FROM THE ENVIRONMENT                                                           */
/* ============================================================================================== */

static bool mtrace_exit_number_(const char *value, unsigned long *number) {
    char *end;
    *number = 10;
    if (value != NULL) {
        errno = 0;
        *number = strtoul(value, &end, 10);
        return *value >= '0' && *value <= '9' && *end == '\0' && errno == 0;
    }
    return true;
}

static mtrace_result mtrace_exit_file_(const char *path, bool pickle) {
    mtrace_snapshot *snapshot;
    mtrace_result result = mtrace_snapshot_take(&snapshot, true, NULL);
    if (result == MTRACE_OK) {
        result = pickle ? mtrace_snapshot_dump_pickle(snapshot, path)
                        : mtrace_snapshot_dump(snapshot, path);
        mtrace_snapshot_free(snapshot);
    }
    return result;
}

/* Does what one word of MTRACE_REPORT asks for; run false: only looks if it makes sense. */
static mtrace_result mtrace_exit_report_(const char *word, const char *value, bool run) {
    unsigned long number;
    bool file = strcmp(word, "dump") == 0 || strcmp(word, "pickle") == 0;
    bool top = strcmp(word, "top") == 0, peak = strcmp(word, "peak") == 0;
    bool leaks = strcmp(word, "leaks") == 0;
    if ((file && (value == NULL || *value == '\0')) || (leaks && value != NULL) ||
        (!file && !mtrace_exit_number_(value, &number)) || !(file || top || peak || leaks)) {
        return MTRACE_ERR_ARGUMENT;
    }
    return !run    ? MTRACE_OK
           : file  ? mtrace_exit_file_(value, *word == 'p')
           : leaks ? mtrace_print_leaks()
           : top   ? mtrace_print_top(number)
                   : mtrace_print_peak(number);
}

/* Each word of the list in turn, the list kept whole; the first error, its word in *bad. */
static mtrace_result mtrace_exit_reports_(const char *list, bool run, char *bad, size_t size) {
    mtrace_result result = MTRACE_OK;
    while (*list != '\0' && result == MTRACE_OK) {
        size_t length = strcspn(list, ",");
        char *value;
        snprintf(bad, size, "%.*s", length < size ? (int)length : (int)size - 1, list);
        value = strchr(bad, '=');
        if (value != NULL) {
            *value++ = '\0';
        }
        result = length < size ? mtrace_exit_report_(bad, value, run) : MTRACE_ERR_ARGUMENT;
        list += length + (list[length] == ',');
    }
    return result;
}

static void mtrace_at_exit_(void) {
    const char *list = getenv("MTRACE_REPORT");
    char word[1024];
    mtrace_result result = MTRACE_OK;
    if (list != NULL && mtrace_get_info().capacity != 0) { /* not stopped */
        result = mtrace_exit_reports_(list, true, word, sizeof word);
    }
    if (result != MTRACE_OK) {
        fprintf(stderr, "MTRACE_REPORT: %s: %s\n", word, mtrace_result_text(result));
    }
}

/* A number of frames as CPython reads it: a whole C int, not negative. */
static bool mtrace_frames_from_(const char *text, long *frames) {
    char *end;
    errno = 0;
    *frames = strtol(text, &end, 10);
    return end != text && *end == '\0' && errno == 0 && *frames >= 0 && *frames <= 0x7fffffff;
}

static mtrace_result mtrace_environment_read_(long *frames) {
    const char *text = getenv("MTRACE"), *list = getenv("MTRACE_REPORT");
    char word[1024];
    *frames = 0;
    if (text != NULL && *text != '\0' && !mtrace_frames_from_(text, frames)) {
        fputs("MTRACE: invalid number of frames\n", stderr);
        return MTRACE_ERR_ARGUMENT;
    }
    if (*frames > 65535) {
        fputs("MTRACE: the number of frames must be in range [1; 65535]\n", stderr);
        return MTRACE_ERR_ARGUMENT;
    }
    if (list != NULL && mtrace_exit_reports_(list, false, word, sizeof word) != MTRACE_OK) {
        fprintf(stderr,
                "MTRACE_REPORT: %s: not one of top, top=N, peak, peak=N, leaks, dump=FILE, "
                "pickle=FILE\n",
                word);
        return MTRACE_ERR_ARGUMENT;
    }
    return MTRACE_OK;
}

mtrace_result mtrace_start_from_environment(const mtrace_desc *desc) {
    mtrace_desc chosen = MTRACE_ZERO_;
    long frames;
    mtrace_result result = mtrace_environment_read_(&frames);
    if (result != MTRACE_OK || frames == 0) {
        return result != MTRACE_OK ? result : MTRACE_ERR_NOT_TRACING;
    }
    if (desc != NULL) {
        chosen = *desc;
    }
    chosen.frames = (uint32_t)frames;
    result = mtrace_start(&chosen);
    if (result == MTRACE_OK && getenv("MTRACE_REPORT") != NULL && atexit(mtrace_at_exit_) != 0) {
        mtrace_stop();
        result = MTRACE_ERR_FULL;
    }
    return result;
}

#ifdef MTRACE_START_FROM_ENVIRONMENT
__attribute__((constructor)) static void mtrace_constructor_(void) {
    mtrace_result result = mtrace_start_from_environment(NULL);
    if (result != MTRACE_OK && result != MTRACE_ERR_NOT_TRACING && result != MTRACE_ERR_ALREADY) {
        fprintf(stderr, "MTRACE: %s\n", mtrace_result_text(result));
        exit(1);
    }
}
#endif

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* MTRACE_IMPLEMENTATION */

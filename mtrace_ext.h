/* mtrace_ext.h - what mtrace.h leaves to the operating system - MIT licence, see LICENSE

   Snapshot files, snapshots for Python's tracemalloc, source lines, start by an environment
   variable. It uses mtrace.h's public calls only. Include it where you need it; its implementation
   comes with that of mtrace.h:

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

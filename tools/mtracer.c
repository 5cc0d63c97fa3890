/* mtracer: every allocation of an unchanged program, live, and nothing lost in a crash. It runs the
   program with libmtracer.so (preload.c), holds the memory that the two share (region.h), and shows
   tables of it, and of saved ones. docs/PROGRAMS.md is its manual. */
#define _GNU_SOURCE
#include "region.h"
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

#define FILE_NAME    "mtracer-region"
#define LIBRARY      "libmtracer.so"
#define CHILDREN_MAX 4096u
#ifndef MTRACER_LIBRARY_FOLDER /* the build's: from mtracer's folder to the library's */
#define MTRACER_LIBRARY_FOLDER "../lib"
#endif

enum { OK, FAILED, USAGE };

static const char usage_text[] =
    "mtracer: every allocation of an unchanged program, live, and nothing lost in a crash\n"
    "\n"
    "  mtracer run [OPTIONS] [--] PROGRAM [ARGUMENTS]   runs it, saves a file, shows the top "
    "lines\n"
    "      -n, --frames N         frames kept of each call stack, 1 to 64 (16)\n"
    "      -o, --output FILE      the file (PROGRAM.PID.mtrace)\n"
    "      -c, --capacity BLOCKS  room for live blocks (16000000)\n"
    "      --children             traces programs that it starts, too: FILE.PID each\n"
    "  mtracer top PID|FILE [TABLE]       a table that is refreshed; keys change it\n"
    "  mtracer save PID [-o FILE]         saves what a running program holds now (PID.mtrace)\n"
    "  mtracer report FILE [TABLE]        a table of a saved file\n"
    "  mtracer diff OLD NEW [TABLE]       what grew; status 1 if a line holds more than in OLD\n"
    "      --tolerance BYTES      growth that is no failure (0)\n"
    "      --suppressions FILE    lines leak:PATTERN, as LeakSanitizer's\n"
    "  mtracer resolve FILE [-o FILE]     writes functions and lines into a file\n"
    "      --elf FILE             the program, if it is firmware (pc:0x8004d85)\n"
    "      --addr2line PROGRAM    the one of its compiler\n"
    "      --root FOLDER          the files of another machine\n"
    "      --debug FOLDER         separate debug files, .build-id/ab/cdef.debug (/usr/lib/debug)\n"
    "\n"
    "TABLE: --by line|file|function|module|traceback|type|domain, --view live|peak|total, --top "
    "N,\n"
    "      --cumulative, --skip PATTERN (a function that allocates for others), "
    "--no-default-skips,\n"
    "      --filter PATTERN (a file or a function)\n"
    "With --no-names each command leaves code addresses as they are, which is faster.\n";

/* --- messages --- */

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("mtracer: ", stderr);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
}

static int __attribute__((format(printf, 1, 2))) usage(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("mtracer: ", stderr);
    vfprintf(stderr, format, values);
    fputs("\n\n", stderr);
    fputs(usage_text, stderr);
    va_end(values);
    return USAGE;
}

static void to_stderr(const char *text, size_t length, void *user) {
    (void)user;
    fwrite(text, 1, length, stderr);
}

static uint32_t columns_of(int terminal) {
    struct winsize size;
    return ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 100;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* --- options --- */

enum { SKIPS = 64 };
typedef struct options {
    /* run */
    uint64_t frames, capacity;
    bool children;
    const char *output;
    /* tables */
    mtrace_key_type key;
    mtrace_view view;
    uint64_t top;
    mtrace_skip skip;
    const char *skips[SKIPS];
    const char *filter;
    bool by_count;
    bool no_names;
    /* diff */
    uint64_t tolerance;
    const char *suppressions;
    /* resolve */
    mtrace_resolve_desc resolve;
    /* the rest */
    char *words[2];
    int word_count;
    char **program;
} options;

/* What a command takes. */
enum { TAKES_RUN = 1, TAKES_TABLE = 2, TAKES_DIFF = 4, TAKES_OUTPUT = 8, TAKES_ELF = 16 };

static bool number_read(uint64_t *out, const char *text, uint64_t low, uint64_t high) {
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0 && *out >= low &&
           *out <= high;
}

static bool word_find(uint32_t *out, const char *text, const char *const *words, uint32_t count) {
    for (*out = 0; *out < count && strcmp(words[*out], text) != 0; ++*out) {
    }
    return *out < count;
}

static bool key_read(options *o, const char *text) {
    static const char *const words[] = {"line",   "file", "function",  "type",
                                        "domain", "",     "traceback", "module"};
    uint32_t key;
    if (text[0] == '\0' || !word_find(&key, text, words, 8)) {
        return false;
    }
    o->key = (o->key & ~(uint32_t)MTRACE_KEY_) | key;
    return true;
}

static bool view_read(options *o, const char *text) {
    static const char *const words[] = {"live", "peak", "total"};
    uint32_t view;
    if (!word_find(&view, text, words, 3)) {
        return false;
    }
    o->view = (mtrace_view)view;
    return true;
}

static bool skip_read(options *o, const char *pattern) {
    if (o->skip.count == SKIPS) {
        return false;
    }
    o->skips[o->skip.count++] = pattern;
    return true;
}

static bool flag_read(options *o, const char *name, int takes) {
    if (strcmp(name, "--children") == 0 && (takes & TAKES_RUN) != 0) {
        o->children = true;
    } else if (strcmp(name, "--no-names") == 0) {
        o->no_names = true;
    } else if (strcmp(name, "--cumulative") == 0 && (takes & TAKES_TABLE) != 0) {
        o->key |= MTRACE_KEY_CUMULATIVE | MTRACE_KEY_ONCE;
    } else if (strcmp(name, "--no-default-skips") == 0 && (takes & TAKES_TABLE) != 0) {
        o->skip.no_defaults = true;
    } else {
        return false;
    }
    return true;
}

/* 1: read, 0: the value is wrong, -1: no such option */
static int table_option_read(options *o, const char *name, const char *value) {
    if (strcmp(name, "--by") == 0) {
        return key_read(o, value);
    }
    if (strcmp(name, "--view") == 0) {
        return view_read(o, value);
    }
    if (strcmp(name, "--top") == 0) {
        return number_read(&o->top, value, 0, 1000000);
    }
    if (strcmp(name, "--skip") == 0) {
        return skip_read(o, value);
    }
    if (strcmp(name, "--filter") == 0) {
        o->filter = value;
        return 1;
    }
    return -1;
}

static int run_option_read(options *o, const char *name, const char *value) {
    if (strcmp(name, "-n") == 0 || strcmp(name, "--frames") == 0) {
        return number_read(&o->frames, value, 1, REGION_FRAMES);
    }
    if (strcmp(name, "-c") == 0 || strcmp(name, "--capacity") == 0) {
        return number_read(&o->capacity, value, 1, (uint64_t)1 << 30);
    }
    return -1;
}

static int diff_option_read(options *o, const char *name, const char *value) {
    if (strcmp(name, "--tolerance") == 0) {
        return number_read(&o->tolerance, value, 0, UINT64_MAX - 1);
    }
    if (strcmp(name, "--suppressions") == 0) {
        o->suppressions = value;
        return 1;
    }
    return -1;
}

static int resolve_option_read(options *o, const char *name, const char *value) {
    const char **option = strcmp(name, "--elf") == 0         ? &o->resolve.image
                          : strcmp(name, "--addr2line") == 0 ? &o->resolve.tool
                          : strcmp(name, "--root") == 0      ? &o->resolve.root
                          : strcmp(name, "--debug") == 0     ? &o->resolve.debug
                                                             : NULL;
    if (option == NULL) {
        return -1;
    }
    *option = value;
    return value[0] != '\0';
}

static int option_read(options *o, const char *name, const char *value, int takes) {
    int read = -1;
    if ((takes & TAKES_OUTPUT) != 0 && (strcmp(name, "-o") == 0 || strcmp(name, "--output") == 0)) {
        o->output = value;
        read = value[0] != '\0';
    }
    if (read < 0 && (takes & TAKES_RUN) != 0) {
        read = run_option_read(o, name, value);
    }
    if (read < 0 && (takes & TAKES_TABLE) != 0) {
        read = table_option_read(o, name, value);
    }
    if (read < 0 && (takes & TAKES_DIFF) != 0) {
        read = diff_option_read(o, name, value);
    }
    if (read < 0 && (takes & TAKES_ELF) != 0) {
        read = resolve_option_read(o, name, value);
    }
    return read;
}

/* Reads the words behind the command. OK, or USAGE. */
static int options_read(options *o, char **words, int takes) {
    bool is_program = (takes & TAKES_RUN) != 0;
    for (; *words != NULL; words++) {
        const char *word = *words;
        int read;
        if (word[0] != '-' || word[1] == '\0' || strcmp(word, "--") == 0) {
            words += strcmp(word, "--") == 0 ? 1 : 0;
            if (is_program || *words == NULL) {
                o->program = words;
                return OK;
            }
            if (o->word_count == 2) {
                return usage("'%s' is one word too many", *words);
            }
            o->words[o->word_count++] = *words;
            continue;
        }
        if (flag_read(o, word, takes)) {
            continue;
        }
        read = option_read(o, word, words[1] == NULL ? "" : words[1], takes);
        if (read < 0) {
            return usage("there is no option '%s' here", word);
        }
        if (read == 0 || words[1] == NULL) {
            return usage("'%s' cannot be %s%s%s", word, words[1] == NULL ? "without a value" : "'",
                         words[1] == NULL ? "" : words[1], words[1] == NULL ? "" : "'");
        }
        words++;
    }
    return OK;
}

/* --- the region --- */

typedef struct region {
    int file;
    uint64_t at; /* its offset */
    region_head head;
} region;

static uint64_t region_stride(const options *o) {
    mtrace_desc desc;
    size_t size;
    region_desc(&desc, o->frames, o->capacity);
    size = mtrace_memory_size(&desc);
    return (size + region_front() + REGION_PAGE - 1) / REGION_PAGE * REGION_PAGE;
}

/* Makes the file. -1: it cannot, and says why. */
static int region_create(region_head *head, const options *o) {
    int file = memfd_create(FILE_NAME, MFD_CLOEXEC);
    memset(head, 0, sizeof *head);
    memcpy(head->magic, REGION_MAGIC, sizeof head->magic);
    head->fingerprint = region_fingerprint();
    head->stride = region_stride(o);
    head->frames = o->frames;
    head->capacity = o->capacity;
    head->children = o->children ? CHILDREN_MAX : 0;
    signal(SIGXFSZ, SIG_IGN);
    if (file < 0 || fchmod(file, 0600) != 0 ||
        ftruncate(file, (off_t)(head->stride * (head->children + 1))) != 0) {
        say("no memory for the traces: %s", strerror(errno));
        return -1;
    }
    return file;
}

static bool head_read(region *r) {
    bool read = pread(r->file, &r->head, sizeof r->head, (off_t)r->at) == (ssize_t)sizeof r->head;
    r->head.program[sizeof r->head.program - 1] = '\0';
    return read;
}

/* One of the regions of a file. All have the size of the first. */
static bool region_nth(region *r, const region *first, uint64_t number) {
    bool read;
    *r = *first;
    r->at = number * first->head.stride;
    read = head_read(r);
    r->head.stride = first->head.stride;
    r->head.frames = first->head.frames;
    r->head.capacity = first->head.capacity;
    return read;
}

/* The reason why a program was not traced. NULL: it was. */
static const char *state_text(uint64_t state) {
    switch (state) {
    case REGION_NEW:
        return "it ended before its first allocation, or did not load " LIBRARY
               " (its environment was cleared?)";
    case REGION_TRACING:
        return NULL;
    case REGION_OTHER_BUILD:
        return LIBRARY " is of another build than mtracer";
    case REGION_NO_ADDRESS:
        return "the address of mtracer's memory is taken";
    case REGION_NO_MEMORY:
        return "it has too little address space (ulimit -v?): try a smaller --capacity";
    case REGION_OTHER_ALLOCATOR:
        return "it has its own malloc() linked in, which mtracer cannot see";
    case REGION_SANITIZER:
        return "it was built with a sanitizer, which has its own malloc()";
    case REGION_NO_UNWINDER:
        return "it has no memory for the unwinder";
    default:
        return "its memory is damaged";
    }
}

/* --- reading a region: in a process of its own, which may crash or hang on it --- */

static uint64_t resident(int file) {
    struct stat stat;
    return fstat(file, &stat) == 0 ? (uint64_t)stat.st_blocks * 512 : 0;
}

static void limit(int what, uint64_t value) {
    struct rlimit limit = {(rlim_t)value, (rlim_t)value};
    setrlimit((__rlimit_resource_t)what, &limit);
}

/* The reader's pointers, computed as the traced program's were: those in the region are not
   believed. False: mtracer makes no region of that size. */
static bool region_wire(const region *r, mtrace_layout_ *l) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint32_t i, module_count = g->module_count;
    unsigned char *block;
    mtrace_desc desc;
    region_desc(&desc, r->head.frames, r->head.capacity);
    desc.memory = (void *)(REGION_ADDRESS + (uintptr_t)region_front());
    desc.memory_size = (size_t)(r->head.stride - region_front());
    if (desc.frames - 1 >= REGION_FRAMES || !mtrace_desc_valid_(&desc) ||
        mtrace_block_get_(&desc, l, &block) != MTRACE_OK) {
        return false;
    }
    g->accounts = (mtrace_account_ *)(void *)(block + l->account);
    g->locations = (mtrace_location_ *)(void *)(block + l->location);
    g->nodes = (mtrace_node_ *)(void *)(block + l->node);
    g->name_text = (char *)(block + l->name_text);
    g->name_bytes = (uint32_t)l->name_bytes;
    g->mask = (uint32_t)(l->capacity - 1);
    for (i = 0; i <= MTRACE_OWN_SHARDS_; i++) {
        g->shards[i].counters = (mtrace_counters_ *)(void *)(block + l->counters) + i * l->accounts;
    }
    mtrace_code_wire_(&desc, l->accounts, block + l->code);
    g->module_count = module_count;
    g->frames = desc.frames;
    return true;
}

/* The reader's pointers to what is not in the region. */
static void region_scrub(uint64_t bytes) {
    mtrace_tracer_ *g = &mtrace_g_;
    g->state = g->state == 0 ? 0 : 3;
    g->write = NULL;
    g->write_user = NULL;
    g->on_failure = NULL;
    g->failure_user = NULL;
    g->unwinder = NULL;
    g->known = NULL;
    g->interned = NULL;
    g->past = NULL;
    g->reserve = NULL;
    g->system_memory = NULL;
    g->system_size = 0;
    g->kept_result = NULL;
    g->suppressions = NULL;
    g->control = 0;
    g->rebalance_lock = 0;
    g->columns = 0;
    g->sample_interval = 0;
    g->domain_names = 0;           /* the library names none */
    g->own_memory = (size_t)bytes; /* what was touched, not the room */
    memcpy(g->unknown_name, MTRACE_UNKNOWN_, sizeof g->unknown_name);
    memcpy(g->other_name, MTRACE_OTHER_, sizeof g->other_name);
    memset(g->locations, 0, MTRACE_FIRST_ * sizeof *g->locations);
    g->locations[0].names[MTRACE_NAME_FILE_] = (uintptr_t)g->unknown_name;
    g->locations[MTRACE_LOCATION_OTHER_].names[MTRACE_NAME_FILE_] = (uintptr_t)g->other_name;
    mtrace_me_.attach_calls = 1; /* needs no shard of its own */
}

/* Paths that are no names of the region's, or newer than its others, are unknown. */
static void region_scrub_modules(void) {
    mtrace_tracer_ *g = &mtrace_g_;
    uint32_t i;
    for (i = 0; i < g->module_room; i++) {
        mtrace_module *module = &g->modules[i];
        if (module->path != NULL &&
            (uintptr_t)module->path - (uintptr_t)g->name_text >= g->name_used) {
            module->path = g->unknown_name;
        }
        if (module->build_id_size > sizeof module->build_id) {
            module->build_id_size = 0;
        }
    }
    if (g->name_used > 0) {
        g->name_text[g->name_used - 1] = '\0';
    }
}

/* A location is code, or one of the two that the tracer begins with. */
static bool location_possible(const mtrace_layout_ *l, uint32_t number) {
    const mtrace_location_ *location = &mtrace_g_.locations[number];
    return number < MTRACE_FIRST_ || (number < l->locations && location->lost == MTRACE_IS_CODE_ &&
                                      location->names[MTRACE_NAME_FILE_] <= mtrace_g_.module_room &&
                                      location->names[MTRACE_NAME_TYPE_] == 0);
}

static bool account_possible(const mtrace_layout_ *l, const mtrace_account_ *account) {
    uint32_t frames = mtrace_g_.frames, node = frames == 1 ? 0 : account->node;
    if (!location_possible(l, account->location)) {
        return false;
    }
    for (; node > MTRACE_NODE_LOST_ && frames > 1; frames--) {
        if (node >= l->nodes || !location_possible(l, mtrace_g_.nodes[node].location)) {
            return false;
        }
        node = mtrace_g_.nodes[node].parent;
    }
    return true;
}

/* Do the tables refer to entries that are there? There are no more than the bytes that were
   touched. */
static bool region_possible(const mtrace_layout_ *l, uint64_t bytes) {
    const mtrace_tracer_ *g = &mtrace_g_;
    uint32_t i;
    if (g->account_table.number_end > l->accounts ||
        g->account_table.number_end > bytes / sizeof(mtrace_account_) ||
        g->name_used > g->name_bytes || g->name_used > bytes ||
        g->shard_count > MTRACE_OWN_SHARDS_ || g->module_count > g->module_room) {
        return false;
    }
    for (i = MTRACE_FIRST_; i < g->account_table.number_end; i++) {
        mtrace_account_ account = mtrace_account_read_(i);
        if (!account_possible(l, &account)) {
            return false;
        }
    }
    return true;
}

typedef struct sink {
    int file;
    bool failed;
} sink;

static void sink_write(const char *text, size_t length, void *user) {
    sink *s = (sink *)user;
    while (length > 0 && !s->failed) {
        ssize_t wrote = write(s->file, text, length);
        s->failed = wrote <= 0;
        text += s->failed ? 0 : wrote;
        length -= s->failed ? 0 : (size_t)wrote;
    }
}

/* Maps a region as the traced program does, and writes a snapshot of it. */
static mtrace_result region_read(const region *r, sink *s) {
    uint64_t bytes = resident(r->file);
    mtrace_layout_ layout;
    mtrace_snapshot *snapshot;
    mtrace_result result;
    if (mmap((void *)REGION_ADDRESS, (size_t)r->head.stride, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_FIXED_NOREPLACE | MAP_NORESERVE, r->file,
             (off_t)r->at) != (void *)REGION_ADDRESS ||
        mmap(&mtrace_g_, sizeof mtrace_g_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, r->file,
             (off_t)(r->at + REGION_PAGE)) == MAP_FAILED) {
        return MTRACE_ERR_NO_MEMORY;
    }
    if (mtrace_g_.state == 0) {
        return MTRACE_ERR_NOT_TRACING;
    }
    if (!region_wire(r, &layout)) {
        return MTRACE_ERR_CORRUPT;
    }
    region_scrub(bytes); /* its writes make the variables this process's own */
    if (!region_possible(&layout, bytes)) {
        return MTRACE_ERR_CORRUPT;
    }
    region_scrub_modules();
    result = mtrace_snapshot_take(&snapshot, false, NULL);
    if (result == MTRACE_OK) {
        result = mtrace_snapshot_dump_to(snapshot, sink_write, s);
        mtrace_snapshot_free(snapshot);
    }
    return result != MTRACE_OK || s->failed ? MTRACE_ERR_NO_MEMORY : MTRACE_OK;
}

/* Results are negative, a process's status is not. */
static void __attribute__((noreturn)) region_reader(const region *r, int out) {
    uint64_t bytes = resident(r->file);
    sink s = {out, false};
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, 2 + bytes / (16 << 20));
    limit(RLIMIT_FSIZE, (uint64_t)1 << 32);
    limit(RLIMIT_AS, r->head.stride + ((uint64_t)256 << 20) + 16 * bytes);
    alarm((unsigned)(30 + bytes / (1 << 20)));
    _exit(-(int)region_read(r, &s) & 127);
}

static size_t file_read(void *buffer, size_t size, void *user) {
    ssize_t got = read(*(int *)user, buffer, size);
    return got < 0 ? 0 : (size_t)got;
}

/* NULL: it cannot be read, and `why` is the reason. */
static mtrace_snapshot *region_snapshot(const region *r, const char **why) {
    int out = memfd_create("mtracer-snapshot", MFD_CLOEXEC), status = 0;
    mtrace_snapshot *snapshot = NULL;
    pid_t reader;
    *why = "no memory";
    fflush(NULL);
    reader = out < 0 ? -1 : fork();
    if (reader == 0) {
        region_reader(r, out);
    }
    if (reader > 0) {
        while (waitpid(reader, &status, 0) < 0 && errno == EINTR) {
        }
        if (!WIFEXITED(status)) {
            *why = "its memory is damaged";
        } else if (-WEXITSTATUS(status) == MTRACE_ERR_CORRUPT) {
            *why = "its memory is damaged";
        } else if (WEXITSTATUS(status) != 0) {
            *why = mtrace_result_text((mtrace_result)-WEXITSTATUS(status));
        } else if (lseek(out, 0, SEEK_SET) == 0) {
            mtrace_result result = mtrace_snapshot_load_from(&snapshot, file_read, &out, NULL);
            *why =
                result == MTRACE_ERR_CORRUPT ? "its memory is damaged" : mtrace_result_text(result);
        }
    }
    if (out >= 0) {
        close(out);
    }
    return snapshot;
}

/* --- names --- */

/* The snapshot with functions and lines where they are known. An address is looked up once. */
static mtrace_snapshot *names_add(const options *o, mtrace_snapshot *snapshot) {
    mtrace_snapshot *named = NULL;
    if (o->no_names || mtrace_add_names_(&named, snapshot) != MTRACE_OK) {
        return snapshot;
    }
    mtrace_snapshot_free(snapshot);
    return named;
}

/* --- tables --- */

static void table_skips(const options *o, mtrace_snapshot *snapshot) {
    static mtrace_skip skip; /* lives as long as the snapshot */
    skip = o->skip;
    skip.patterns = o->skips;
    mtrace_snapshot_set_skip(snapshot, &skip);
}

/* Keeps what has this in the name of a file or a function, anywhere if it is no pattern with *. */
static mtrace_snapshot *table_filter(const options *o, mtrace_snapshot *snapshot) {
    mtrace_filter filters[2];
    mtrace_snapshot *kept = NULL;
    char pattern[512];
    if (o->filter == NULL || o->filter[0] == '\0') {
        return snapshot;
    }
    memset(filters, 0, sizeof filters);
    snprintf(pattern, sizeof pattern, strchr(o->filter, '*') != NULL ? "%s" : "*%s*", o->filter);
    filters[0].file = filters[1].function = pattern;
    filters[0].all_frames = filters[1].all_frames = true;
    if (mtrace_snapshot_filter(&kept, snapshot, filters, 2, NULL) != MTRACE_OK) {
        return snapshot;
    }
    mtrace_snapshot_set_view(kept, o->view);
    table_skips(o, kept);
    mtrace_snapshot_free(snapshot);
    return kept;
}

static int by_count(const void *a, const void *b) {
    const mtrace_row *x = (const mtrace_row *)a, *y = (const mtrace_row *)b;
    return x->count < y->count ? 1 : x->count > y->count ? -1 : 0;
}

/* Writes the table of a snapshot, and frees it. */
static int table_write(const options *o, mtrace_snapshot *snapshot,
                       const mtrace_report_desc *desc) {
    mtrace_rows *rows;
    mtrace_result result;
    mtrace_snapshot_set_view(snapshot, o->view);
    table_skips(o, snapshot);
    snapshot = table_filter(o, snapshot);
    result = mtrace_snapshot_statistics(&rows, snapshot, o->key, NULL);
    if (result == MTRACE_OK) {
        if (o->by_count) {
            qsort(rows->rows, rows->count, sizeof *rows->rows, by_count);
        }
        result = mtrace_report(rows, desc);
        mtrace_rows_free(rows);
    }
    mtrace_snapshot_free(snapshot);
    if (result != MTRACE_OK) {
        say("%s", mtrace_result_text(result));
    }
    return result == MTRACE_OK ? OK : FAILED;
}

static mtrace_report_desc table_desc(const options *o) {
    mtrace_report_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.top = (size_t)o->top;
    return desc;
}

static mtrace_snapshot *file_load(const char *path) {
    mtrace_snapshot *snapshot;
    mtrace_result result = mtrace_snapshot_load(&snapshot, path, NULL);
    if (result != MTRACE_OK) {
        say("%s: %s", path, result == MTRACE_ERR_IO ? strerror(errno) : mtrace_result_text(result));
        return NULL;
    }
    return snapshot;
}

static bool file_save(const mtrace_snapshot *snapshot, const char *path) {
    mtrace_result result = mtrace_snapshot_dump(snapshot, path);
    if (result != MTRACE_OK) {
        say("%s: %s", path, result == MTRACE_ERR_IO ? strerror(errno) : mtrace_result_text(result));
    }
    return result == MTRACE_OK;
}

/* --- can a program be traced? A look at its file --- */

typedef struct elf {
    int file;
    Elf64_Ehdr head;
    Elf64_Phdr segments[64];
    char interpreter[256];
    char *strings; /* .dynstr: the names of libraries and symbols */
    size_t string_bytes;
} elf;

static bool elf_read(const elf *e, void *out, size_t size, uint64_t at) {
    return pread(e->file, out, size, (off_t)at) == (ssize_t)size;
}

static const Elf64_Phdr *elf_segment(const elf *e, uint32_t type) {
    uint16_t i;
    for (i = 0; i < e->head.e_phnum && i < 64; i++) {
        if (e->segments[i].p_type == type) {
            return &e->segments[i];
        }
    }
    return NULL;
}

static uint64_t elf_offset(const elf *e, uint64_t address) {
    uint16_t i;
    for (i = 0; i < e->head.e_phnum && i < 64; i++) {
        const Elf64_Phdr *s = &e->segments[i];
        if (s->p_type == PT_LOAD && address - s->p_vaddr < s->p_filesz) {
            return address - s->p_vaddr + s->p_offset;
        }
    }
    return UINT64_MAX / 4;
}

static void elf_strings(elf *e) {
    const Elf64_Phdr *dynamic = elf_segment(e, PT_DYNAMIC);
    uint64_t at = 0, size = 0, i, count = dynamic == NULL ? 0 : dynamic->p_filesz / 16;
    for (i = 0; i < count && i < 1000; i++) {
        Elf64_Dyn entry;
        if (!elf_read(e, &entry, sizeof entry, dynamic->p_offset + 16 * i)) {
            return;
        }
        at = entry.d_tag == DT_STRTAB ? entry.d_un.d_ptr : at;
        size = entry.d_tag == DT_STRSZ ? entry.d_un.d_val : size;
    }
    e->strings = size > 0 && size < (64 << 20) ? (char *)malloc((size_t)size) : NULL;
    if (e->strings != NULL && elf_read(e, e->strings, (size_t)size, elf_offset(e, at))) {
        e->string_bytes = (size_t)size;
    }
}

static bool elf_has_string(const elf *e, const char *text) {
    return e->string_bytes > 0 && memmem(e->strings, e->string_bytes, text, strlen(text)) != NULL;
}

static bool elf_has_sanitizer(const elf *e) {
    return elf_has_string(e, "libasan.so") || elf_has_string(e, "libtsan.so") ||
           elf_has_string(e, "liblsan.so") || elf_has_string(e, "__asan_init") ||
           elf_has_string(e, "__tsan_init") || elf_has_string(e, "__msan_init");
}

/* Does the system start it with the rights of another user or with capabilities? Then the loader
   takes no library from the environment. */
static bool file_has_rights(int file) {
    struct stat stat;
    char data[64];
    return fstat(file, &stat) != 0 || ((stat.st_mode & S_ISUID) != 0 && stat.st_uid != getuid()) ||
           ((stat.st_mode & S_ISGID) != 0 && (stat.st_mode & S_IXGRP) != 0 &&
            stat.st_gid != getgid()) ||
           (getuid() != 0 && fgetxattr(file, "security.capability", data, sizeof data) > 0);
}

/* Has it mtracer's class, byte order and processor? */
static bool elf_is_native(const elf *e) {
    elf own;
    bool is_native;
    own.file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    is_native = elf_read(&own, &own.head, sizeof own.head, 0) &&
                own.head.e_machine == e->head.e_machine &&
                memcmp(own.head.e_ident, e->head.e_ident, EI_DATA + 1) == 0;
    close(own.file);
    return is_native;
}

static const char *elf_reason(elf *e) {
    const Elf64_Phdr *s;
    if (file_has_rights(e->file)) {
        return "it runs with the rights of another user (set-uid, set-gid or capabilities): the "
               "system loads no library into it";
    }
    if (!elf_is_native(e) || e->head.e_phnum > 64 || e->head.e_phentsize != sizeof(Elf64_Phdr) ||
        !elf_read(e, e->segments, e->head.e_phnum * sizeof(Elf64_Phdr), e->head.e_phoff)) {
        return "it is no 64-bit program of this machine";
    }
    s = elf_segment(e, PT_INTERP);
    if (s == NULL) {
        return "it is statically linked: no library can be loaded into it";
    }
    if (s->p_filesz < sizeof e->interpreter &&
        elf_read(e, e->interpreter, (size_t)s->p_filesz, s->p_offset) &&
        strstr(e->interpreter, "musl") != NULL) {
        return "it uses musl, and " LIBRARY " the GNU C library";
    }
    elf_strings(e);
    return elf_has_sanitizer(e) ? "it was built with a sanitizer, which has its own malloc()"
                                : NULL;
}

/* The interpreter of a script: a word behind #!. */
static bool script_interpreter(int file, char *path, size_t room) {
    char line[512];
    ssize_t length = pread(file, line, sizeof line - 1, 0);
    size_t from = 2, to;
    if (length < 3 || line[0] != '#' || line[1] != '!') {
        return false;
    }
    line[length] = '\0';
    from += strspn(line + from, " \t");
    to = strcspn(line + from, " \t\r\n");
    snprintf(path, room, "%.*s", (int)to, line + from);
    return path[0] != '\0';
}

/* Why the program at this path cannot be traced. NULL: it can, or it is no program. */
static const char *program_reason(const char *path, int depth) {
    const char *reason = NULL;
    char interpreter[512];
    elf e;
    memset(&e, 0, sizeof e);
    e.file = open(path, O_RDONLY | O_CLOEXEC);
    if (e.file < 0) {
        return NULL;
    }
    if (elf_read(&e, &e.head, sizeof e.head, 0) && memcmp(e.head.e_ident, ELFMAG, SELFMAG) == 0) {
        reason = elf_reason(&e);
        free(e.strings);
    } else if (depth < 4 && script_interpreter(e.file, interpreter, sizeof interpreter)) {
        reason = program_reason(interpreter, depth + 1);
    }
    close(e.file);
    return reason;
}

/* The path of a program as a shell finds it. False: there is none. */
static bool program_find(char *path, size_t room, const char *name) {
    const char *folders = getenv("PATH");
    if (strchr(name, '/') != NULL) {
        snprintf(path, room, "%s", name);
        return access(path, X_OK) == 0;
    }
    for (folders = folders == NULL ? "/bin:/usr/bin" : folders; *folders != '\0';) {
        size_t length = strcspn(folders, ":");
        struct stat stat_;
        snprintf(path, room, "%.*s/%s", length == 0 ? 1 : (int)length, length == 0 ? "." : folders,
                 name);
        if (access(path, X_OK) == 0 && stat(path, &stat_) == 0 && S_ISREG(stat_.st_mode)) {
            return true;
        }
        folders += length + (folders[length] == ':');
    }
    errno = ENOENT;
    return false;
}

/* --- run --- */

/* The library is in the folder of mtracer, or in ../lib beside it. */
static bool library_find(char *path, size_t room) {
    static const char *const folders[] = {"",
#ifdef MTRACER_LIBRARY_FOLDER
                                          MTRACER_LIBRARY_FOLDER "/",
#endif
                                          "../lib/", "../lib64/"};
    char self[PATH_MAX - 64];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    size_t i;
    self[length > 0 ? length : 0] = '\0';
    self[base_name(self) - self] = '\0';
    for (i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        snprintf(path, room, "%s%s" LIBRARY, folders[i][0] == '/' ? "" : self, folders[i]);
        if (access(path, R_OK) == 0) {
            return true;
        }
    }
    say(LIBRARY " is neither in %s, where mtracer is, nor in ../lib of it", self);
    return false;
}

/* The loader takes no path with a blank or a colon. */
static bool library_path(char *path, size_t room) {
    if (!library_find(path, room)) {
        return false;
    }
    if (strpbrk(path, " :\t") != NULL) {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        snprintf(path, room, "/proc/%d/fd/%d", (int)getpid(), file);
        return file >= 0;
    }
    return true;
}

static void environment_set(int file, const char *library) {
    const char *others = getenv("LD_PRELOAD");
    char text[PATH_MAX];
    char *list;
    snprintf(text, sizeof text, "/proc/%d/fd/%d", (int)getppid(), file);
    setenv(REGION_VARIABLE, text, 1);
    list = (char *)malloc(strlen(library) + 2 + (others == NULL ? 0 : strlen(others)));
    if (list == NULL) {
        _exit(126);
    }
    strcpy(list, library);
    if (others != NULL && others[0] != '\0') {
        strcat(strcat(list, ":"), others);
    }
    setenv("LD_PRELOAD", list, 1);
}

static void __attribute__((noreturn))
program_become(region_head *head, int file, char **program, const char *path, const char *library,
               const struct sigaction *old) {
    sigaction(SIGINT, &old[0], NULL);
    sigaction(SIGQUIT, &old[1], NULL);
    sigaction(SIGXFSZ, &old[2], NULL);
    head->process = (uint64_t)getpid();
    environment_set(file, library);
    if (pwrite(file, head, sizeof *head, 0) == (ssize_t)sizeof *head) {
        execv(path, program);
    }
    say("%s: %s", path, strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

static volatile sig_atomic_t child_process;
static void pass_on(int number) {
    if (child_process > 0) {
        kill((pid_t)child_process, number);
    }
}

static bool process_lives(uint64_t process, uint64_t ticks) {
    return process != 0 && region_ticks(process) == ticks;
}

/* Saves a child's region that is done, once, and gives its memory back. */
static bool child_save(const options *o, const region *first, uint64_t number, bool at_end) {
    region r;
    const char *why;
    char path[PATH_MAX];
    mtrace_snapshot *snapshot;
    if (!region_nth(&r, first, number) || r.head.process == 0 || r.head.state == REGION_NEW) {
        return at_end;
    }
    if (!at_end && process_lives(r.head.process, r.head.ticks)) {
        return false;
    }
    snprintf(path, sizeof path, "%s.%llu", o->output, (unsigned long long)r.head.process);
    why = state_text(r.head.state);
    snapshot = why != NULL ? NULL : region_snapshot(&r, &why);
    if (snapshot == NULL) {
        say("%s (%llu) was not traced: %s", base_name(r.head.program),
            (unsigned long long)r.head.process, why);
    } else {
        mtrace_traced_memory memory = mtrace_snapshot_get_parts(snapshot).traced_memory;
        if (file_save(snapshot, path)) {
            say("%s (%llu): peak %llu bytes, %s", base_name(r.head.program),
                (unsigned long long)r.head.process, (unsigned long long)memory.peak, path);
        }
        mtrace_snapshot_free(snapshot);
    }
    (void)fallocate(first->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    (off_t)(r.at + REGION_PAGE), (off_t)(first->head.stride - REGION_PAGE));
    return true;
}

static void children_save(const options *o, const region *first, bool *done, bool at_end) {
    region now = *first;
    uint64_t i, claims;
    if (!o->children || !head_read(&now)) {
        return;
    }
    claims = now.head.claims < CHILDREN_MAX ? now.head.claims : CHILDREN_MAX;
    for (i = 1; i <= claims; i++) {
        done[i] = done[i] || child_save(o, first, i, at_end);
    }
    if (at_end && now.head.claims > CHILDREN_MAX) {
        say("%llu more programs were started and not traced",
            (unsigned long long)(now.head.claims - CHILDREN_MAX));
    }
}

/* Waits for the program; saves children that end meanwhile. */
static int program_wait(const options *o, const region *first, pid_t program) {
    static bool done[CHILDREN_MAX + 1];
    int status = 0;
    for (;;) {
        pid_t ended = waitpid(program, &status, o->children ? WNOHANG : 0);
        if (ended == program) {
            break;
        }
        if (ended < 0 && errno != EINTR) {
            say("%s", strerror(errno));
            break;
        }
        if (o->children) {
            poll(NULL, 0, 50);
            children_save(o, first, done, false);
        }
    }
    children_save(o, first, done, true);
    return status;
}

/* The program's end in words. */
static void end_say(const char *name, int status) {
    if (WIFSIGNALED(status)) {
        say("%s was ended by signal %d (%s)%s", name, WTERMSIG(status), strsignal(WTERMSIG(status)),
            WCOREDUMP(status) ? ", core dumped" : "");
    } else if (WEXITSTATUS(status) != 0) {
        say("%s ended with status %d", name, WEXITSTATUS(status));
    }
}

/* Shows the end of a run, and saves it. */
static bool run_report(options *o, const region *first, const char *name) {
    mtrace_report_desc desc = table_desc(o);
    const char *why = state_text(first->head.state);
    mtrace_snapshot *snapshot = why != NULL ? NULL : region_snapshot(first, &why);
    mtrace_traced_memory memory;
    size_t blocks;
    bool saved;
    if (snapshot == NULL) {
        say("%s was not traced: %s", name, why);
        return false;
    }
    saved = file_save(snapshot, o->output); /* before names: that takes a while */
    snapshot = names_add(o, snapshot);
    saved = saved && (o->no_names || file_save(snapshot, o->output));
    memory = mtrace_snapshot_get_parts(snapshot).traced_memory;
    blocks = mtrace_snapshot_get_parts(snapshot).trace_count;
    o->view = MTRACE_VIEW_PEAK;
    desc.write = to_stderr;
    desc.columns = columns_of(STDERR_FILENO);
    table_write(o, snapshot, &desc);
    if (memory.current != 0 || blocks != 0) {
        say("%llu bytes in %llu block%s not freed%s%s", (unsigned long long)memory.current,
            (unsigned long long)blocks, blocks == 1 ? " was" : "s were",
            saved ? ": mtracer report " : "", saved ? o->output : "");
    }
    if (saved) {
        say("saved %s", o->output);
    }
    return saved;
}

/* Ends as the program did: a shell sees its signal, too. */
static int end_as(int status) {
    if (WIFSIGNALED(status)) {
        limit(RLIMIT_CORE, 0);
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
        return 128 + WTERMSIG(status);
    }
    return WEXITSTATUS(status);
}

static int program_run(options *o, const char *path, const char *library) {
    struct sigaction old[3], ignore, pass;
    char output[PATH_MAX];
    region first;
    pid_t program;
    int status;
    memset(&ignore, 0, sizeof ignore);
    memset(&pass, 0, sizeof pass);
    memset(&first, 0, sizeof first);
    sigaction(SIGXFSZ, NULL, &old[2]);
    first.file = region_create(&first.head, o);
    if (first.file < 0) {
        return FAILED;
    }
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGINT, &ignore, &old[0]);
    sigaction(SIGQUIT, &ignore, &old[1]);
    fflush(NULL);
    program = fork();
    if (program == 0) {
        program_become(&first.head, first.file, o->program, path, library, old);
    }
    if (program < 0) {
        say("%s", strerror(errno));
        return FAILED;
    }
    child_process = program;
    pass.sa_handler = pass_on;
    sigaction(SIGTERM, &pass, NULL);
    sigaction(SIGHUP, &pass, NULL);
    if (o->output == NULL) {
        snprintf(output, sizeof output, "%s.%d.mtrace", base_name(o->program[0]), (int)program);
        o->output = output;
    }
    status = program_wait(o, &first, program);
    child_process = 0;
    end_say(o->program[0], status);
    first.head.state = UINT64_MAX;
    {
        region now = first;
        if (head_read(&now)) {
            first.head.state = now.head.state;
        }
    }
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 126 && WEXITSTATUS(status) != 127) ||
        first.head.state != REGION_NEW) {
        bool shown = run_report(o, &first, o->program[0]);
        if (!shown && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            return FAILED;
        }
    }
    return end_as(status);
}

static int command_run(options *o) {
    char path[PATH_MAX], library[PATH_MAX];
    const char *reason;
    if (o->program == NULL || o->program[0] == NULL) {
        return usage("run needs a program");
    }
    if (!program_find(path, sizeof path, o->program[0])) {
        say("%s: %s", o->program[0], strerror(errno));
        return errno == EACCES ? 126 : 127;
    }
    reason = program_reason(path, 0);
    if (reason != NULL) {
        say("%s cannot be traced: %s", o->program[0], reason);
        return FAILED;
    }
    if (!library_path(library, sizeof library)) {
        return FAILED;
    }
    o->top = o->top == 0 ? 10 : o->top;
    return program_run(o, path, library);
}

/* --- a running program's region --- */

/* Why the system lets mtracer not look at a process: the users of its real, effective and saved
   rights. */
static const char *process_reason(uint64_t process) {
    char name[64], line[256];
    unsigned real = 0, effective = 0, saved = 0;
    bool found = false;
    FILE *file;
    snprintf(name, sizeof name, "/proc/%llu/status", (unsigned long long)process);
    file = fopen(name, "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        found = sscanf(line, "Uid: %u %u %u", &real, &effective, &saved) == 3;
    }
    if (file != NULL) {
        fclose(file);
    }
    return !found                               ? "has ended"
           : real != geteuid()                  ? "is another user's"
           : effective != real || saved != real ? "has the rights of another user"
                                                : "lets no other process look at it "
                                                  "(prctl PR_SET_DUMPABLE), or has more rights";
}

/* The path stands in the environment that the program began with. NULL, or the reason why there is
   none. */
static const char *region_path_of(char *path, size_t room, uint64_t process) {
    char name[64];
    size_t length = strlen(REGION_VARIABLE "=");
    bool found = false;
    FILE *file;
    char *line = NULL;
    size_t size = 0;
    snprintf(name, sizeof name, "/proc/%llu/environ", (unsigned long long)process);
    file = fopen(name, "re");
    if (file == NULL) {
        return process_reason(process);
    }
    while (!found && getdelim(&line, &size, '\0', file) > 0) {
        found = strncmp(line, REGION_VARIABLE "=", length) == 0 && strlen(line + length) < room;
        snprintf(path, room, "%s", found ? line + length : "");
    }
    free(line);
    fclose(file);
    return found ? NULL : "was not started by mtracer run";
}

/* Opens /proc/NUMBER/fd/NUMBER if it is mtracer's file, and nothing else. -1: it cannot, and `why`
   is the reason. */
static int region_open(const char *path, const char **why) {
    char link[128];
    unsigned process, number;
    int end = 0, file = -1;
    ssize_t length;
    *why = "has ended";
    if (sscanf(path, "/proc/%9u/fd/%9u%n", &process, &number, &end) != 2 || path[end] != '\0') {
        return -1;
    }
    length = readlink(path, link, sizeof link - 1);
    link[length > 0 ? length : 0] = '\0';
    if (strcmp(link, "/memfd:" FILE_NAME " (deleted)") == 0) {
        file = open(path, O_RDONLY | O_CLOEXEC);
        length = file;
    }
    if (length < 0 && (errno == EACCES || errno == EPERM)) {
        *why = process_reason(process);
    }
    return file;
}

static bool region_valid(const region *r, uint64_t first) {
    struct stat stat;
    uint64_t stride = r->head.stride;
    return memcmp(r->head.magic, REGION_MAGIC, sizeof r->head.magic) == 0 &&
           r->head.children <= CHILDREN_MAX && stride % REGION_PAGE == 0 &&
           stride > region_front() && stride < (uint64_t)1 << 44 && fstat(r->file, &stat) == 0 &&
           S_ISREG(stat.st_mode) && (uint64_t)stat.st_size >= (first + 1) * stride;
}

/* Finds the region of this process among those in the file. */
static bool region_select(region *r, uint64_t process) {
    const region first = *r;
    uint64_t i, claims = first.head.claims;
    claims = claims < first.head.children ? claims : first.head.children;
    for (i = 0; i <= claims; i++) {
        if (region_nth(r, &first, i) && r->head.process == process) {
            return true;
        }
    }
    return false;
}

/* Chooses the region of a process. NULL, or the reason why there is none. */
static const char *region_choose(region *r, uint64_t process) {
    if (!head_read(r) || !region_valid(r, 0)) {
        return "its memory is damaged";
    }
    if (r->head.fingerprint != region_fingerprint()) {
        return "it is run by another build of mtracer";
    }
    if (!region_select(r, process)) {
        return "it is a child of a traced program (see --children)";
    }
    return state_text(r->head.state);
}

/* False: there is none, which was told. */
static bool region_attach(region *r, uint64_t process) {
    char path[4096], folder[64];
    const char *why;
    memset(r, 0, sizeof *r);
    r->file = -1;
    snprintf(folder, sizeof folder, "/proc/%llu", (unsigned long long)process);
    if (access(folder, F_OK) != 0) {
        say("there is no process %llu", (unsigned long long)process);
        return false;
    }
    why = region_path_of(path, sizeof path, process);
    if (why != NULL) {
        say("process %llu %s", (unsigned long long)process, why);
        return false;
    }
    r->file = region_open(path, &why);
    if (r->file < 0) {
        say("the mtracer that runs process %llu cannot be reached: it %s",
            (unsigned long long)process, why);
        return false;
    }
    why = region_choose(r, process);
    if (why != NULL) {
        say("process %llu is not traced: %s", (unsigned long long)process, why);
    }
    return why == NULL;
}

static mtrace_snapshot *process_snapshot(uint64_t process) {
    region r;
    const char *why;
    mtrace_snapshot *snapshot = NULL;
    if (region_attach(&r, process)) {
        snapshot = region_snapshot(&r, &why);
        if (snapshot == NULL) {
            say("process %llu: %s", (unsigned long long)process, why);
        }
    }
    if (r.file >= 0) {
        close(r.file);
    }
    return snapshot;
}

static int command_save(options *o) {
    uint64_t process;
    char output[64];
    mtrace_snapshot *snapshot;
    bool saved;
    if (o->word_count != 1 || !number_read(&process, o->words[0], 1, INT32_MAX)) {
        return usage("save needs the number of a process");
    }
    snapshot = process_snapshot(process);
    if (snapshot == NULL) {
        return FAILED;
    }
    snapshot = names_add(o, snapshot);
    snprintf(output, sizeof output, "%llu.mtrace", (unsigned long long)process);
    o->output = o->output == NULL ? output : o->output;
    saved = file_save(snapshot, o->output);
    mtrace_snapshot_free(snapshot);
    if (saved) {
        printf("%s\n", o->output);
    }
    return saved ? OK : FAILED;
}

/* --- files --- */

static int command_report(options *o) {
    mtrace_report_desc desc = table_desc(o);
    mtrace_snapshot *snapshot;
    if (o->word_count != 1) {
        return usage("report needs a file");
    }
    snapshot = file_load(o->words[0]);
    return snapshot == NULL ? FAILED : table_write(o, names_add(o, snapshot), &desc);
}

/* The rules of a reference file, see mtrace_growth. */
static int growth_judge(const options *o, const mtrace_snapshot *old, const mtrace_snapshot *now) {
    static char message[16384];
    mtrace_snapshot *copy;
    mtrace_text_ text;
    uint64_t grown;
    mtrace_result result = mtrace_snapshot_filter(&copy, now, NULL, 0, NULL);
    if (result != MTRACE_OK) {
        say("%s", mtrace_result_text(result));
        return FAILED;
    }
    mtrace_text_to_buffer_(&text, message, sizeof message);
    grown = mtrace_growth_from_(&text, &copy, old, o->tolerance);
    mtrace_snapshot_free(copy);
    if (grown != 0) {
        printf("%s\n", message);
    }
    return grown == 0 ? OK : FAILED;
}

static int diff_write(const options *o, mtrace_snapshot *old, mtrace_snapshot *now) {
    mtrace_report_desc desc = table_desc(o);
    mtrace_rows *rows;
    mtrace_result result;
    mtrace_snapshot_set_view(old, o->view);
    mtrace_snapshot_set_view(now, o->view);
    table_skips(o, now);
    result = mtrace_snapshot_compare_to(&rows, now, old, o->key, NULL);
    if (result == MTRACE_OK) {
        result = mtrace_report(rows, &desc);
        mtrace_rows_free(rows);
    }
    if (result != MTRACE_OK) {
        say("%s", mtrace_result_text(result));
        return FAILED;
    }
    mtrace_snapshot_set_view(old, MTRACE_VIEW_LIVE);
    mtrace_snapshot_set_view(now, MTRACE_VIEW_LIVE);
    return growth_judge(o, old, now);
}

static int command_diff(options *o) {
    mtrace_snapshot *old, *now;
    uint32_t line = 0;
    int status = FAILED;
    if (o->word_count != 2) {
        return usage("diff needs two files");
    }
    if (o->suppressions != NULL && mtrace_load_suppressions(o->suppressions, &line) != MTRACE_OK) {
        say("%s:%u: %s", o->suppressions, line, line == 0 ? strerror(errno) : "not leak:PATTERN");
        return FAILED;
    }
    old = file_load(o->words[0]);
    now = old == NULL ? NULL : file_load(o->words[1]);
    if (now != NULL) {
        old = names_add(o, old);
        now = names_add(o, now);
        status = diff_write(o, old, now);
    }
    mtrace_snapshot_free(old);
    mtrace_snapshot_free(now);
    return status;
}

/* With the options of resolve. NULL: it failed, and was told. */
static mtrace_snapshot *names_resolve(const options *o, mtrace_snapshot *snapshot) {
    mtrace_resolve_desc desc = o->resolve;
    mtrace_snapshot *named;
    mtrace_result result;
    desc.write = to_stderr;
    result = mtrace_snapshot_resolve(&named, snapshot, &desc);
    if (result != MTRACE_OK) {
        say("%s%s%s", result == MTRACE_ERR_IO ? desc.image : "",
            result == MTRACE_ERR_IO ? ": " : "",
            result == MTRACE_ERR_IO ? strerror(errno) : mtrace_result_text(result));
    }
    mtrace_snapshot_free(snapshot);
    return named;
}

static int command_resolve(options *o) {
    mtrace_snapshot *snapshot;
    bool saved;
    if (o->word_count != 1) {
        return usage("resolve needs a file");
    }
    snapshot = file_load(o->words[0]);
    if (snapshot == NULL) {
        return FAILED;
    }
    snapshot = names_resolve(o, snapshot);
    saved = snapshot != NULL && file_save(snapshot, o->output == NULL ? o->words[0] : o->output);
    mtrace_snapshot_free(snapshot);
    return saved ? OK : FAILED;
}

/* --- top --- */

static struct termios terminal_before;
static bool terminal_is_raw;

static void terminal_restore(void) {
    if (terminal_is_raw) {
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
        fputs("\033[?25h\033[?1049l", stdout);
        fflush(stdout);
        terminal_is_raw = false;
    }
}

static void terminal_signal(int number) {
    terminal_restore();
    signal(number, SIG_DFL);
    raise(number);
}

static void terminal_begin(void) {
    struct termios raw;
    tcgetattr(STDIN_FILENO, &terminal_before);
    raw = terminal_before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    terminal_is_raw = true;
    fputs("\033[?1049h\033[?25l", stdout);
    atexit(terminal_restore);
    signal(SIGINT, terminal_signal);
    signal(SIGTERM, terminal_signal);
}

/* A line of text from the keyboard. */
static void prompt_read(const char *prompt, char *text, size_t room) {
    size_t length = 0;
    char c;
    text[0] = '\0';
    printf("\033[H\033[K%s", prompt);
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n' && c != '\r') {
        if ((c == 127 || c == 8) && length > 0) {
            length--;
        } else if ((unsigned char)c >= ' ' && c != 127 && length < room - 1) {
            text[length++] = c;
        }
        text[length] = '\0';
        printf("\r\033[K%s%s", prompt, text);
        fflush(stdout);
    }
}

/* False: the user wants to leave. */
static bool key_pressed(options *o, char key) {
    static char filter[256];
    static const char keys[] = "lifymdt";
    static const mtrace_key_type by[] = {MTRACE_BY_LINE,     MTRACE_BY_FILE,   MTRACE_BY_FUNCTION,
                                         MTRACE_BY_TYPE,     MTRACE_BY_MODULE, MTRACE_BY_DOMAIN,
                                         MTRACE_BY_TRACEBACK};
    const char *found = key == '\0' ? NULL : strchr(keys, key);
    if (found != NULL) {
        o->key = by[found - keys];
    } else if (key == 'h') {
        o->view = MTRACE_VIEW_LIVE;
    } else if (key == 'p') {
        o->view = MTRACE_VIEW_PEAK;
    } else if (key == 'a') {
        o->view = MTRACE_VIEW_TOTAL;
    } else if (key == 's') {
        o->by_count = !o->by_count;
    } else if (key == '/') {
        prompt_read("only what has in a file's or function's name: ", filter, sizeof filter);
        o->filter = filter;
    }
    return key != 'q' && key != 4;
}

/* One look: the head line and the table. */
static bool top_show(options *o, const char *what, mtrace_snapshot *snapshot) {
    static const char *const views[] = {"held", "at the peak", "in all"};
    mtrace_report_desc desc = table_desc(o);
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 8) {
        desc.top = o->top != 0                                     ? o->top
                   : (o->key & MTRACE_KEY_) == MTRACE_BY_TRACEBACK ? 4u
                                                                   : size.ws_row - 6u;
    }
    printf(
        "\033[H\033[2J%s, %s, by %s%s%s | [l]ine [f]unction f[i]le [m]odule [t]raceback | [h]eld "
        "[p]eak [a]ll | [s]ort [/]filter [q]uit\n",
        what, views[o->view], o->by_count ? "blocks" : "bytes",
        o->filter != NULL && o->filter[0] != '\0' ? ", only " : "",
        o->filter == NULL ? "" : o->filter);
    (void)table_write(o, names_add(o, snapshot), &desc);
    fflush(stdout);
    return true;
}

static mtrace_snapshot *top_look(const char *what, uint64_t process) {
    return process != 0 ? process_snapshot(process) : file_load(what);
}

/* Waits for a key, or for a second. False: the end. */
static bool top_wait(options *o, bool is_file) {
    struct pollfd keyboard = {STDIN_FILENO, POLLIN, 0};
    char key;
    if (poll(&keyboard, 1, is_file ? -1 : 1000) <= 0) {
        return true;
    }
    return read(STDIN_FILENO, &key, 1) == 1 && key_pressed(o, key);
}

static int top_loop(options *o, const char *what, uint64_t process) {
    mtrace_snapshot *snapshot = top_look(what, process);
    char name[300];
    if (snapshot == NULL) {
        return FAILED;
    }
    snprintf(name, sizeof name, "%s%s", process != 0 ? "process " : "", what);
    terminal_begin();
    while (snapshot != NULL && top_show(o, name, snapshot) && top_wait(o, process == 0)) {
        if (process != 0 && kill((pid_t)process, 0) != 0 && errno == ESRCH) {
            terminal_restore();
            say("process %s has ended", what);
            return OK;
        }
        snapshot = top_look(what, process);
    }
    terminal_restore();
    return OK;
}

/* Without a terminal it writes one table. */
static int command_top(options *o) {
    uint64_t process = 0;
    mtrace_snapshot *snapshot;
    mtrace_report_desc desc = table_desc(o);
    if (o->word_count != 1) {
        return usage("top needs a process or a file");
    }
    if (!number_read(&process, o->words[0], 1, INT32_MAX) || access(o->words[0], F_OK) == 0) {
        process = 0;
    }
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        return top_loop(o, o->words[0], process);
    }
    snapshot = top_look(o->words[0], process);
    return snapshot == NULL ? FAILED : table_write(o, names_add(o, snapshot), &desc);
}

/* --- the program --- */

typedef struct command {
    const char *name;
    int (*run)(options *o);
    int takes;
} command;

int main(int argc, char **argv) {
    static const command commands[] = {
        {"run", command_run, TAKES_RUN | TAKES_OUTPUT},
        {"top", command_top, TAKES_TABLE},
        {"save", command_save, TAKES_OUTPUT},
        {"report", command_report, TAKES_TABLE},
        {"diff", command_diff, TAKES_TABLE | TAKES_DIFF},
        {"resolve", command_resolve, TAKES_OUTPUT | TAKES_ELF},
    };
    static options o;
    size_t i;
    o.frames = 16;
    o.capacity = 16000000;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage_text, stdout);
        return OK;
    }
    for (i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            int status = options_read(&o, argv + 2, commands[i].takes);
            return status != OK ? status : commands[i].run(&o);
        }
    }
    return argc > 1 ? usage("there is no command '%s'", argv[1]) : usage("it needs a command");
}

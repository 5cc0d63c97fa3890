/* The region: memory that mtracer and a traced program share. It is part of a file without a name
   (memfd), which mtracer holds. So all that the program's tracer knows is still there when the
   program has ended, in whatever way. The program maps the region at a fixed address, and a second
   time the pages of the tracer's variables over its own mtrace_g_.

       head | the tracer's variables, mtrace_g_ | desc.memory

   Region 0 is the first program's, the others are its children's (--children), one stride apart. */
#ifndef MTRACER_REGION_H
#define MTRACER_REGION_H

/* Pages of 4 KiB on x86-64, of up to 64 KiB on others. No loader, allocator or stack puts anything
   at the address: 48 TiB, and 80 GiB on others. There a program may have no more than 512 GiB of
   addresses (AArch64) or 256 GiB (RISC-V), with its code at two thirds and libraries at the end. */
#ifdef __x86_64__
#define REGION_PAGE    4096u
#define REGION_ADDRESS ((uintptr_t)0x300000000000u)
#else
#define REGION_PAGE    65536u
#define REGION_ADDRESS ((uintptr_t)0x1400000000u)
#endif

#ifndef MTRACE
#define MTRACE
#endif
#define MTRACE_IMPLEMENTATION
#define MTRACE_TRACER_ALIGNMENT REGION_PAGE
#include "../mtrace.h"
#include "../mtrace_ext.h"

#if !defined(__linux__) || !defined(__LP64__) || !defined(__GLIBC__)
#error "mtracer is for 64-bit Linux with the GNU C library"
#endif

#define REGION_MAGIC "mtracer"
/* The environment variable with the file's path, such as /proc/123/fd/4. */
#define REGION_VARIABLE "MTRACER_REGION"
#define REGION_FRAMES   64u /* at most */

enum region_state {
    REGION_NEW = 0, /* the program has not come to its first allocation */
    REGION_TRACING,
    REGION_OTHER_BUILD,     /* mtracer and its library are of two builds */
    REGION_NO_ADDRESS,      /* the address is taken */
    REGION_NO_MEMORY,       /* no address space for it (ulimit -v, a container) */
    REGION_OTHER_ALLOCATOR, /* the program has a malloc() of its own in it */
    REGION_SANITIZER,
    REGION_NO_UNWINDER
};

/* The first page of a region. mtracer writes all but the state, the ticks and the number of claims
   before the program runs, and believes nothing in it afterwards. */
typedef struct region_head {
    char magic[8];
    uint64_t fingerprint; /* of the build */
    uint64_t process;     /* 0: no process has it yet */
    uint64_t ticks;       /* when the process began; two processes of one number differ in it */
    uint64_t state;
    uint64_t stride;   /* bytes of a region */
    uint64_t frames;   /* desc.native_frames */
    uint64_t capacity; /* desc.max_blocks */
    uint64_t children; /* region 0: other regions in the file */
    uint64_t claims;   /* region 0: how many were wanted */
    char program[256]; /* its path, cut */
} region_head;

/* How the library starts its tracer. */
static void region_desc(mtrace_desc *desc, uint64_t frames, uint64_t capacity) {
    memset(desc, 0, sizeof *desc);
    desc->max_blocks = (size_t)capacity;
    desc->max_sites = 1000000;
    desc->max_scopes = 1000000;
    desc->name_bytes = 1 << 20; /* paths of modules */
    desc->frames = desc->native_frames = (uint32_t)frames;
    desc->unwinder = mtrace_get_unwinder(MTRACE_UNWIND_BEST);
    desc->memory_is_zero = true;
}

/* Bytes before desc.memory. */
static uint64_t region_front(void) {
    return REGION_PAGE + sizeof(mtrace_tracer_);
}

/* Equal if both sides see the tracer's memory alike. */
static uint64_t region_fingerprint(void) {
    const size_t layout[] = {MTRACE_VERSION,
                             sizeof(region_head),
                             sizeof(mtrace_tracer_),
                             sizeof(mtrace_account_),
                             sizeof(mtrace_location_),
                             sizeof(mtrace_node_),
                             sizeof(mtrace_slot_),
                             sizeof(mtrace_counters_),
                             sizeof(mtrace_shard_),
                             sizeof(mtrace_module),
                             offsetof(mtrace_tracer_, account_table),
                             offsetof(mtrace_tracer_, unwinder),
                             offsetof(mtrace_tracer_, domains),
                             offsetof(mtrace_tracer_, shards),
                             offsetof(mtrace_tracer_, unknown_name),
                             REGION_PAGE};
    uint64_t hash = 0;
    size_t i;
    for (i = 0; i < sizeof layout / sizeof layout[0]; i++) {
        hash = (hash ^ layout[i]) * MTRACE_GOLDEN_64_;
        hash ^= hash >> 29;
    }
    return hash;
}

/* When a process began, in ticks, read without stdio. 0: there is none. An exec does not change it.
   The file of the process's first thread says the same as /proc/PID/stat, in which qemu-user writes
   figures of its own. */
static uint64_t region_ticks(uint64_t process) {
    mtrace_text_ name;
    char path[64], text[1024];
    const char *at;
    uint64_t ticks = 0;
    int field, file;
    ssize_t length;
    mtrace_text_to_buffer_(&name, path, sizeof path);
    mtrace_put_(&name, "/proc/");
    mtrace_put_number_(&name, process);
    mtrace_put_(&name, "/task/");
    mtrace_put_number_(&name, process);
    mtrace_put_(&name, "/stat");
    file = open(path, O_RDONLY | O_CLOEXEC);
    length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) {
        close(file);
    }
    if (length <= 0) {
        return 0;
    }
    text[length] = '\0';
    at = strrchr(text, ')'); /* behind field 2, the name */
    for (field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    for (at = at == NULL ? "" : at + 1; *at >= '0' && *at <= '9'; at++) {
        ticks = ticks * 10 + (uint64_t)(*at - '0');
    }
    return ticks;
}

#endif

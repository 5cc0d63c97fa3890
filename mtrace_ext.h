/* mtrace_ext.h - the parts of mtrace that need an operating system - MIT licence, see LICENSE

   Snapshot files, snapshots for Python's tracemalloc, source lines, memory by line and over time
   (docs/PROFILING.md), a debug console (docs/CONSOLE.md), and a start by an environment variable.
   Include it where you need it. Its implementation comes with that of mtrace.h. It needs -lpthread
   if libc has no threads, as glibc before 2.34.

       #define MTRACE_IMPLEMENTATION
       #include "mtrace_ext.h"      (includes mtrace.h)

   Without MTRACE every call returns MTRACE_ERR_COMPILED_OUT, and nothing is compiled in.

   CHAPTERS (grep -n '\[CHAPTER\]' mtrace_ext.h)

   Each chapter is in one place: its types, its calls with their costs and contexts, its macros,
   then its implementation. A chapter uses only the chapters above it. Of mtrace.h it uses the
   public calls, COMPILER, PORTABILITY, TEXT and FILTER, and a few names of other sections.
   tests/house.sh lists them all.

   PORTABILITY OF EXT   clock, locks, threads, files, the end of the program
   FILES                snapshots in files, for mtrace and for Python; source lines
   RECORDER             memory over time
   CODE NAMES           functions, files and lines of code addresses
   CALL STACKS          the unwinder for desc.unwinder: stacks as call sites
   LINE PROFILE         what each line of a function does to memory
   MEMORY USAGE         what one call or one block of a test does to memory
   COMMAND              a debug console: in a terminal, in a debugger, over a UART
   ENVIRONMENT          start and reports by environment variables
   CPP                  operator new, allocators and objects of C++

   SWITCHES

   Set them the same in every file. Each leaves one chapter out of the program. Its calls then
   return MTRACE_ERR_COMPILED_OUT and its macros do nothing, as without MTRACE. Code that uses them
   still compiles. No chapter needs another one. The other switches are in mtrace.h.

   MTRACE_NO_FILES          ALL   no snapshot files, no pickles, no source lines, no files of
                                  suppressions. MTRACE_REPORT refuses dump and pickle at the start
   MTRACE_NO_RECORDER       ALL   no curves. mtrace_recorder_now and mtrace_get_resident stay.
                                  Profiled calls leave no marks. MTRACE_REPORT refuses record
   MTRACE_NO_CODE_NAMES     ALL   code has no names: reports show its addresses
   MTRACE_NO_STACKS         ALL   no unwinder: mtrace_get_unwinder returns NULL
   MTRACE_NO_PROFILE        ALL   no line profile. MT_PROFILE and MT_LINE do nothing, and nothing
                                  runs addr2line. MTRACE_REPORT refuses profile
   MTRACE_NO_USAGE          ALL   mtrace_memory_usage only calls the function, and the blocks of
                                  MT_ASSERT_NO_LEAKS and its like only run
   MTRACE_NO_COMMAND        ALL   no console
   MTRACE_NO_ENVIRONMENT    ALL   no start by environment variables. With it
                                  MTRACE_START_FROM_ENVIRONMENT is an error

   MTRACE_OPERATOR_NEW      file  replaces operator new and delete. Define it in one file (see CPP)

   MTRACE_START_FROM_ENVIRONMENT is defined where the implementation is. A constructor then calls
   mtrace_start_from_environment(NULL), before main and before the constructors of other files. It
   ends the program if that fails, as CPython does. Without this switch nothing starts by itself.

   Reports at exit come from the process that asked for them, not from its forked children. They
   come after all destructors of the module that has the implementation, for static objects and
   with __attribute__((destructor)). Destructors of shared libraries run later still. _exit() and
   abort() end without reports. On systems without ELF (Windows, macOS) and under the leak
   sanitizer, a start in main() reports before the destructors of static objects. A start by the
   constructor above reports after them. */

#include "mtrace.h" /* and its implementation, if it is not there yet */

#if defined(MTRACE) && defined(MTRACE_IMPLEMENTATION) && !defined(MTRACE_EXT_IMPLEMENTATION_DONE_)
#define MTRACE_EXT_IMPLEMENTATION_DONE_
#define MTRACE_EXT_IMPLEMENTS_ /* until the end of this header */
#include <errno.h>
#ifndef __wasi__ /* has none */
#include <signal.h>
#endif
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#ifdef __has_include
#if !__has_include("xxhash.h")
#error "mtrace_ext.h: no xxhash.h here, which snapshot files need, with MTRACE_HASH too: install \
xxHash (Debian: libxxhash-dev), or copy xxhash.h beside mtrace.h"
#endif
#endif
#include "xxhash.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ============================================================================================== */
/* [CHAPTER] PORTABILITY OF EXT - files, clock, threads and exit on each system                   */
/* ============================================================================================== */

#ifndef MTRACE_EXT_H
#define MTRACE_EXT_H

/* A chapter that a switch leaves out behaves as without MTRACE. See SWITCHES. */
#if defined(MTRACE) && !defined(MTRACE_NO_FILES)
#define MTRACE_HAS_FILES_ 1
#else
#define MTRACE_HAS_FILES_ 0
#endif
#if defined(MTRACE) && !defined(MTRACE_NO_RECORDER)
#define MTRACE_HAS_RECORDER_ 1
#else
#define MTRACE_HAS_RECORDER_ 0
#endif
#if defined(MTRACE) && !defined(MTRACE_NO_CODE_NAMES)
#define MTRACE_HAS_CODE_NAMES_ 1
#else
#define MTRACE_HAS_CODE_NAMES_ 0
#endif
#if defined(MTRACE) && !defined(MTRACE_NO_STACKS)
#define MTRACE_HAS_STACKS_ 1
#else
#define MTRACE_HAS_STACKS_ 0
#endif
#if defined(MTRACE) && !defined(MTRACE_NO_PROFILE)
#define MTRACE_HAS_PROFILE_ 1
#else
#define MTRACE_HAS_PROFILE_ 0
#endif
#if defined(MTRACE) && !defined(MTRACE_NO_USAGE)
#define MTRACE_HAS_USAGE_ 1
#else
#define MTRACE_HAS_USAGE_ 0
#endif
#if defined(MTRACE) && !defined(MTRACE_NO_COMMAND)
#define MTRACE_HAS_COMMAND_ 1
#else
#define MTRACE_HAS_COMMAND_ 0
#endif
#if defined(MTRACE) && !defined(MTRACE_NO_ENVIRONMENT)
#define MTRACE_HAS_ENVIRONMENT_ 1
#else
#define MTRACE_HAS_ENVIRONMENT_ 0
#endif
#if defined(MTRACE_START_FROM_ENVIRONMENT) && defined(MTRACE_NO_ENVIRONMENT)
#error "mtrace: MTRACE_START_FROM_ENVIRONMENT needs what MTRACE_NO_ENVIRONMENT leaves out"
#undef MTRACE_START_FROM_ENVIRONMENT /* the sentence is the only error */
#endif

/* A chapter declares its calls as mtrace.h does. Each can be left out alone: MTRACE_HAS_ is 1 in a
   chapter that is compiled in, else 0. */
#define MTRACE_EXT_API_          MTRACE_JOIN_(MTRACE_EXT_API_IF_, MTRACE_HAS_)
#define MTRACE_EXT_API_IF_0      static inline
#define MTRACE_EXT_API_IF_1      MTRACE_API
#define MTRACE_EXT_OFF_(...)     MTRACE_JOIN_(MTRACE_EXT_OFF_IF_, MTRACE_HAS_)(__VA_ARGS__)
#define MTRACE_EXT_OFF_IF_0(...) MTRACE_OFF_BODY_(__VA_ARGS__)
#define MTRACE_EXT_OFF_IF_1(...)

MTRACE_OFF_BEGIN_

/* Returns the nanoseconds of a clock that never goes back.
   Errors: 0 on bare metal.
   Cost: O(1).
   Context: any. */
MTRACE_API uint64_t mtrace_recorder_now(void) MTRACE_OFF_(return 0);

/* Sets *bytes to the physical memory of the process.
   Errors: false, and *bytes is 0, if /proc/self/statm cannot be read. Only Linux has it.
   Cost: O(1), with a file to read.
   Context: any.
   Source: /proc/self/statm. */
MTRACE_API bool mtrace_get_resident(uint64_t *bytes) MTRACE_OFF_(*bytes = 0; return false);

/* A writer for a FILE *, which is its `user`: desc.write = mtrace_write_file, desc.write_user =
   stderr. It goes on after a short write and after a signal. It does not flush.
   Errors: it stops; ferror() says so, and errno has the reason.
   Cost: O(length).
   Context: any that may use stdio. */
MTRACE_API void mtrace_write_file(const char *text, size_t length, void *user) MTRACE_OFF_();

MTRACE_OFF_END_

#endif /* MTRACE_EXT_H */

#ifdef MTRACE_EXT_IMPLEMENTS_

/* Some functions have no caller when a chapter is left out. */
#ifdef __GNUC__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif

/* ============================================================================================== */
/* [SECTION] SYSTEM - files, processes, privileges; each branch complete                          */
/* ============================================================================================== */

/* A path is written in one of two ways. A regular file gives way: a new file is written beside it
   and takes its name when it is complete. A path with nothing there is written in the same way. A
   device, a FIFO, a socket or a symbolic link stays. It is written in place, through the link. */

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#include <process.h>
#include <sys/stat.h>
/* Without windows.h. mtrace.h declares more of them in the same way. */
#if !defined(_WINDOWS_) || _WIN32_WINNT < 0x0600
struct _FILETIME;
union _LARGE_INTEGER;
struct _SECURITY_ATTRIBUTES;
MTRACE_WIN32_(int) MoveFileExA(const char *from, const char *to, unsigned long flags);
MTRACE_WIN32_(unsigned long) GetFileAttributesA(const char *path);
MTRACE_WIN32_(unsigned long)
GetFullPathNameA(const char *path, unsigned long size, char *full, char **name);
MTRACE_WIN32_(void) GetSystemTimeAsFileTime(struct _FILETIME *time);
MTRACE_WIN32_(int) QueryPerformanceCounter(union _LARGE_INTEGER *ticks);
MTRACE_WIN32_(int) QueryPerformanceFrequency(union _LARGE_INTEGER *rate);
MTRACE_WIN32_(int) SwitchToThread(void);
MTRACE_WIN32_(void *)
CreateEventA(struct _SECURITY_ATTRIBUTES *attributes, int stays, int is_set, const char *name);
MTRACE_WIN32_(int) SetEvent(void *event);
MTRACE_WIN32_(unsigned long) FlsAlloc(void(__stdcall *ended)(void *what));
MTRACE_WIN32_(void *) FlsGetValue(unsigned long key);
MTRACE_WIN32_(int) FlsSetValue(unsigned long key, void *what);
#endif
#define MTRACE_OS_(name)         _##name
#define MTRACE_O_READ_           (_O_RDONLY | _O_BINARY)
#define MTRACE_IS_REGULAR_(mode) (((mode)&_S_IFMT) == _S_IFREG)
#elif MTRACE_HOSTED_ && !defined(__wasi__)
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
extern int fsync(int descriptor); /* strict C hides them */
extern int fileno(FILE *file);
extern FILE *fdopen(int descriptor, const char *mode);
extern int fchmod(int descriptor, mode_t mode);
extern int fchown(int descriptor, uid_t owner, gid_t group);
#ifndef __dietlibc__ /* has it, with an int */
extern ssize_t readlink(const char *path, char *buffer, size_t size);
#endif
#if defined(O_CLOEXEC) && defined(O_NOFOLLOW)
#define MTRACE_O_CLOEXEC_  O_CLOEXEC
#define MTRACE_O_NOFOLLOW_ O_NOFOLLOW
#elif defined(__O_CLOEXEC) && defined(__O_NOFOLLOW) /* glibc's, in strict C */
#define MTRACE_O_CLOEXEC_  __O_CLOEXEC
#define MTRACE_O_NOFOLLOW_ __O_NOFOLLOW
#else
#define MTRACE_O_CLOEXEC_  0
#define MTRACE_O_NOFOLLOW_ 0 /* O_EXCL does not follow links either */
#endif
#define MTRACE_OS_(name)         name
#define MTRACE_O_READ_           (O_RDONLY | O_NONBLOCK | MTRACE_O_CLOEXEC_)
#define MTRACE_IS_REGULAR_(mode) S_ISREG(mode)
#endif

#ifdef MTRACE_OS_
static unsigned long mtrace_process_(void) {
    return (unsigned long)MTRACE_OS_(getpid)();
}
/* Makes a stream. If that fails, closes the descriptor and removes the file made for it. */
static FILE *mtrace_stream_(int descriptor, const char *created_path) {
    FILE *stream = descriptor < 0 ? NULL : MTRACE_OS_(fdopen)(descriptor, "wb");
    int error = errno;
    if (stream == NULL && descriptor >= 0) {
        MTRACE_OS_(close)(descriptor);
        if (created_path != NULL) {
            remove(created_path);
        }
        errno = error;
    }
    return stream;
}
/* Opens a file to read. NULL if it is not a regular file: a FIFO would wait for a writer, and
   /dev/zero has no end. */
static FILE *mtrace_open_regular_(const char *path) {
    int file = MTRACE_OS_(open)(path, MTRACE_O_READ_);
    struct MTRACE_OS_(stat) status;
    if (file >= 0 &&
        (MTRACE_OS_(fstat)(file, &status) != 0 || !MTRACE_IS_REGULAR_(status.st_mode))) {
        MTRACE_OS_(close)(file);
        file = -1;
    }
    return file < 0 ? NULL : MTRACE_OS_(fdopen)(file, "rb");
}
#endif

#if defined(_WIN32) || !defined(MTRACE_OS_)
typedef struct mtrace_target_ {
    bool exists;
    bool is_replaceable;
} mtrace_target_;
static bool mtrace_is_privileged_(void) {
    return false; /* there is no set-user-id here */
}
static uint64_t mtrace_system_random_(void) {
    return 0; /* the clock has to do; _O_EXCL catches a clash */
}
#endif

#ifdef _WIN32
/* The full name of a device is \\.\NUL. */
static bool mtrace_target_inspect_(mtrace_target_ *t, const char *path) {
    const unsigned long stays = 0x410; /* a directory, a reparse point: FILE_ATTRIBUTE_... */
    unsigned long attributes = GetFileAttributesA(path);
    char full[1024];
    unsigned long length = GetFullPathNameA(path, sizeof full, full, NULL);
    bool is_device = length >= 4 && length < sizeof full && memcmp(full, "\\\\.\\", 4) == 0;
    t->exists = attributes != 0xffffffffu;
    t->is_replaceable = !is_device && (!t->exists || (attributes & stays) == 0);
    return true;
}
static FILE *mtrace_file_create_(const mtrace_target_ *old, const char *path) {
    int flags = _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY | _O_NOINHERIT;
    (void)old; /* the folder sets the rights */
    return mtrace_stream_(_open(path, flags, _S_IREAD | _S_IWRITE), path);
}
static FILE *mtrace_file_enter_(const char *path, bool append) {
    int how = append ? _O_APPEND : _O_TRUNC;
    int flags = _O_WRONLY | _O_CREAT | _O_BINARY | _O_NOINHERIT | how;
    return mtrace_stream_(_open(path, flags, _S_IREAD | _S_IWRITE), NULL);
}
static bool mtrace_to_disk_(FILE *file) {
    return fflush(file) == 0 && _commit(_fileno(file)) == 0;
}
static bool mtrace_rename_(const char *from, const char *to) {
    bool done = MoveFileExA(from, to, 1) != 0;
    errno = done ? errno : EACCES;
    return done;
}
#define MTRACE_FOLDER_ENDS_ "/\\:"
#elif !defined(MTRACE_OS_)
/* Bare metal and WebAssembly: files, if there are any, come from the C library. */
static unsigned long mtrace_process_(void) {
    return 0;
}
static bool mtrace_target_inspect_(mtrace_target_ *t, const char *path) {
    (void)path;
    t->exists = t->is_replaceable = false;
    return true;
}
static FILE *mtrace_file_create_(const mtrace_target_ *old, const char *path) {
    (void)old; /* nothing gives way */
    (void)path;
    return NULL;
}
static FILE *mtrace_file_enter_(const char *path, bool append) {
    return fopen(path, append ? "ab" : "wb");
}
static bool mtrace_to_disk_(FILE *file) {
    return fflush(file) == 0;
}
static bool mtrace_rename_(const char *from, const char *to) {
    return rename(from, to) == 0;
}
static FILE *mtrace_open_regular_(const char *path) {
    return fopen(path, "rb");
}
#define MTRACE_FOLDER_ENDS_ "/"
#else
typedef struct mtrace_target_ {
    bool exists;
    bool is_replaceable;
    struct stat as;
} mtrace_target_;
/* False, with errno, if the path cannot be examined. lstat is not used: strict C hides it, and its
   declaration depends on the size of off_t. */
static bool mtrace_target_inspect_(mtrace_target_ *t, const char *path) {
    char start;
    bool is_link = readlink(path, &start, 1) >= 0;
    t->exists = stat(path, &t->as) == 0;
    t->is_replaceable = !is_link && (!t->exists || S_ISREG(t->as.st_mode));
    return t->exists || errno == ENOENT;
}
/* Creates a file. It is an error if a file or a link is already there. The new file gets the old
   one's mode before its first byte, and its owner where that is allowed, as cp -p does. */
static FILE *mtrace_file_create_(const mtrace_target_ *old, const char *path) {
    int flags = O_WRONLY | O_CREAT | O_EXCL | MTRACE_O_NOFOLLOW_ | MTRACE_O_CLOEXEC_;
    int file = open(path, flags, old->exists ? 0600 : 0666);
    if (file >= 0 && old->exists) {
        bool same_owner = fchown(file, old->as.st_uid, old->as.st_gid) == 0;
        fchmod(file, old->as.st_mode & (same_owner ? 07777 : 0777));
    }
    return mtrace_stream_(file, path);
}
/* A FIFO without a reader is an error (ENXIO), since opening it could block forever. With a reader,
   writes wait for it. */
static FILE *mtrace_file_enter_(const char *path, bool append) {
    int how = append ? O_APPEND : O_TRUNC;
    int flags = O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | MTRACE_O_CLOEXEC_ | how;
    int file = open(path, flags, 0666);
    if (file >= 0) {
        fcntl(file, F_SETFL, how & O_APPEND);
    }
    return mtrace_stream_(file, NULL);
}
static bool mtrace_to_disk_(FILE *file) {
    return fflush(file) == 0 && fsync(fileno(file)) == 0;
}
static bool mtrace_rename_(const char *from, const char *to) {
    return rename(from, to) == 0;
}
/* Returns 0 if there is no such device. */
static uint64_t mtrace_system_random_(void) {
    uint64_t random = 0;
    int file = open("/dev/urandom", O_RDONLY | MTRACE_O_CLOEXEC_);
    if (file >= 0) {
        random = read(file, &random, sizeof random) == (ssize_t)sizeof random ? random : 0;
        close(file);
    }
    return random;
}
#define MTRACE_FOLDER_ENDS_ "/"

/* True if the program has rights that its user lacks (set-user-id, capabilities). */
#if defined(__linux__)
#include <sys/auxv.h>
static bool mtrace_is_privileged_(void) {
    return getauxval(AT_SECURE) != 0;
}
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__)
extern int issetugid(void);
static bool mtrace_is_privileged_(void) {
    return issetugid() != 0;
}
#else
static bool mtrace_is_privileged_(void) {
    return getuid() != geteuid() || getgid() != getegid();
}
#endif
#endif

/* ============================================================================================== */
/* [SECTION] CLOCK AND THREAD - each branch complete                                              */
/* ============================================================================================== */

enum { MTRACE_NS_PER_MS_ = 1000000, MTRACE_NS_PER_S_ = 1000000000 };

#ifdef _WIN32

static uint64_t mtrace_unix_now_(void) {
    uint64_t time = 0; /* 100 ns since 1601 */
    GetSystemTimeAsFileTime((struct _FILETIME *)(void *)&time);
    return (time - 116444736000000000u) * 100;
}
uint64_t mtrace_recorder_now(void) {
    uint64_t ticks = 0, rate = 1, seconds, rest;
    QueryPerformanceCounter((union _LARGE_INTEGER *)(void *)&ticks);
    QueryPerformanceFrequency((union _LARGE_INTEGER *)(void *)&rate);
    seconds = ticks / rate;
    rest = ticks % rate;
    return seconds * MTRACE_NS_PER_S_ + rest * MTRACE_NS_PER_S_ / rate;
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

#elif !MTRACE_HOSTED_

/* Bare metal: no clock, one thread. */
static uint64_t mtrace_unix_now_(void) {
    return 0;
}
uint64_t mtrace_recorder_now(void) {
    return 0;
}
static void mtrace_yield_(void) {}
static size_t mtrace_read_small_(const char *path, char *buffer, size_t size) {
    (void)path;
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
#include <unistd.h>
#ifdef CLOCK_MONOTONIC
#define MTRACE_CLOCK_      CLOCK_MONOTONIC
#define MTRACE_CLOCK_UNIX_ CLOCK_REALTIME
#ifdef __wasi__ /* strict C hides it there */
extern int clock_gettime(clockid_t clock, struct timespec *time);
#endif
typedef struct timespec mtrace_time_;
#else
#define MTRACE_CLOCK_      1 /* strict C hides them, on Linux only; these are its numbers */
#define MTRACE_CLOCK_UNIX_ 0
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
    clock_gettime(MTRACE_CLOCK_UNIX_, &time);
    return mtrace_ns_(&time);
}
uint64_t mtrace_recorder_now(void) {
    mtrace_time_ time = MTRACE_ZERO_;
    clock_gettime(MTRACE_CLOCK_, &time);
    return mtrace_ns_(&time);
}
static void mtrace_yield_(void) {
    sched_yield();
}
/* Reads a small file without stdio, since that allocates. Returns the bytes read and adds a 0. */
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

/* Takes a lock, and yields while it waits. The wait can last as long as a sample. */
static void mtrace_lock_(uint32_t *word) {
    uint32_t is_free = 0;
    bool held = false;
    while (!held) {
        is_free = 0;
        mtrace_user_lock_();
        held = MTRACE_CAS_(word, &is_free, 1u);
        mtrace_user_unlock_();
        if (!held) {
            mtrace_yield_();
        }
    }
}

static void mtrace_unlock_(uint32_t *word) {
    mtrace_user_lock_();
    MTRACE_SET_RELEASE_(word, 0u);
    mtrace_user_unlock_();
}

/* The locks, in the order of taking. `profile` is held alone, except over a fork.
   profile   start of a profile, its table of functions, the measurements
   lifecycle start, stop and free of the recorder, throughout
   sample    each sample, its output, and the copy for a report
   marks     a few instructions around the array of marks */
typedef struct mtrace_lock_words_ {
    uint32_t profile;
    uint32_t lifecycle;
    uint32_t sample;
    uint32_t marks;
} mtrace_lock_words_;
MTRACE_SHARED_(mtrace_lock_words_ mtrace_locks_);

/* Advances *next to the next sample and returns the milliseconds until then. If it is late, the
   missed samples are not taken. */
static inline int mtrace_until_next_(uint64_t *next, uint32_t interval) {
    uint64_t now = mtrace_recorder_now();
    *next += (uint64_t)interval * MTRACE_NS_PER_MS_;
    *next = *next < now ? now : *next;
    return (int)((*next - now + MTRACE_NS_PER_MS_ - 1) / MTRACE_NS_PER_MS_);
}

/* --- the object a thread is inside of; if the thread ends there, end(object) is called --- */

#if defined(MTRACE_SINGLE_THREAD) || !MTRACE_HOSTED_

/* There is one thread, and it does not end. */
static MTRACE_THREAD_STORAGE_ void *mtrace_thread_is_inside_;

static void *mtrace_thread_inside_(void) {
    return mtrace_thread_is_inside_;
}

static void mtrace_thread_enter_(void *what, void (*end)(void *)) {
    (void)end;
    mtrace_thread_is_inside_ = what;
}

#elif defined(_WIN32)

/* Storage of a fiber, or of a thread without fibers. Its end calls a function, as with a pthread
   key. */
typedef struct mtrace_thread_key_memory_ {
    unsigned long key;
    uint32_t is_created;
} mtrace_thread_key_memory_;
MTRACE_SHARED_(mtrace_thread_key_memory_ mtrace_thread_key_);
static void (*mtrace_thread_end_)(void *);

static void __stdcall mtrace_thread_ended_(void *what) {
    if (what != NULL) {
        mtrace_thread_end_(what);
    }
}

static void *mtrace_thread_inside_(void) {
    return MTRACE_GET_ACQUIRE_(&mtrace_thread_key_.is_created) ? FlsGetValue(mtrace_thread_key_.key)
                                                               : NULL;
}

static void mtrace_thread_enter_(void *what, void (*end)(void *)) {
    mtrace_lock_(&mtrace_locks_.profile);
    mtrace_thread_end_ = end;
    if (!mtrace_thread_key_.is_created) {
        mtrace_thread_key_.key = FlsAlloc(mtrace_thread_ended_);
        MTRACE_SET_RELEASE_(&mtrace_thread_key_.is_created, mtrace_thread_key_.key != 0xffffffff);
    }
    mtrace_unlock_(&mtrace_locks_.profile);
    if (mtrace_thread_key_.is_created) {
        FlsSetValue(mtrace_thread_key_.key, what);
    }
}

#else

#include <pthread.h>

/* There is one key, so `end` is always the same. */
typedef struct mtrace_thread_key_memory_ {
    pthread_key_t key;
    uint32_t is_created;
} mtrace_thread_key_memory_;
MTRACE_SHARED_(mtrace_thread_key_memory_ mtrace_thread_key_);

static void *mtrace_thread_inside_(void) {
    return MTRACE_GET_ACQUIRE_(&mtrace_thread_key_.is_created)
               ? pthread_getspecific(mtrace_thread_key_.key)
               : NULL;
}

static void mtrace_thread_enter_(void *what, void (*end)(void *)) {
    mtrace_lock_(&mtrace_locks_.profile);
    if (!mtrace_thread_key_.is_created && pthread_key_create(&mtrace_thread_key_.key, end) == 0) {
        MTRACE_SET_RELEASE_(&mtrace_thread_key_.is_created, 1);
    }
    mtrace_unlock_(&mtrace_locks_.profile);
    if (mtrace_thread_key_.is_created) {
        pthread_setspecific(mtrace_thread_key_.key, what);
    }
}

#endif

#if defined(MTRACE_SINGLE_THREAD) || !MTRACE_HOSTED_

static bool mtrace_ticker_can_(void) {
    return false;
}
static mtrace_result mtrace_ticker_start_(uint32_t interval, void (*due)(void)) {
    (void)interval;
    (void)due;
    return MTRACE_ERR_ARGUMENT;
}
static void mtrace_ticker_stop_(void) {}
static bool mtrace_ticker_forks_(void) {
    return true;
}

#elif defined(_WIN32)

/* Setting an event ends the wait. */
static struct {
    void *thread;
    void *wake;
    void (*due)(void); /* called each interval */
    uint32_t interval; /* ms */
} mtrace_ticker_;

static bool mtrace_ticker_can_(void) {
    return true;
}

static unsigned __stdcall mtrace_ticker_run_(void *unused) {
    uint64_t next = mtrace_recorder_now();
    (void)unused;
    while (WaitForSingleObject(mtrace_ticker_.wake, (unsigned long)mtrace_until_next_(
                                                        &next, mtrace_ticker_.interval)) != 0) {
        mtrace_ticker_.due();
    }
    return 0;
}

static mtrace_result mtrace_ticker_start_(uint32_t interval, void (*due)(void)) {
    mtrace_ticker_.wake = CreateEventA(NULL, 1, 0, NULL);
    if (mtrace_ticker_.wake == NULL) {
        errno = ENOMEM;
        return MTRACE_ERR_THREAD;
    }
    mtrace_ticker_.due = due;
    mtrace_ticker_.interval = interval;
    mtrace_ticker_.thread = (void *)_beginthreadex(NULL, 0, mtrace_ticker_run_, NULL, 0, NULL);
    if (mtrace_ticker_.thread == NULL) {
        CloseHandle(mtrace_ticker_.wake);
        return MTRACE_ERR_THREAD;
    }
    return MTRACE_OK;
}

static void mtrace_ticker_stop_(void) {
    if (mtrace_ticker_.thread != NULL) {
        SetEvent(mtrace_ticker_.wake);
        WaitForSingleObject(mtrace_ticker_.thread, 0xffffffff);
        CloseHandle(mtrace_ticker_.thread);
        CloseHandle(mtrace_ticker_.wake);
        mtrace_ticker_.thread = NULL;
    }
}

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
#if defined(__mips__) || defined(__alpha__) || defined(__sparc__)
#define MTRACE_SIG_BLOCK_ 1
#else
#define MTRACE_SIG_BLOCK_ 0
#endif
#endif

/* Writing to a pipe ends the wait. A clock that is set back or forward cannot prolong it. */
typedef struct mtrace_ticker_memory_ {
    pthread_t thread;
    void (*due)(void); /* called each interval */
    int wake[2];
    uint32_t interval; /* ms */
    bool runs;
    bool knows_forks;
} mtrace_ticker_memory_;
MTRACE_SHARED_(mtrace_ticker_memory_ mtrace_ticker_);

static bool mtrace_ticker_can_(void) {
    return true;
}

static void *mtrace_ticker_run_(void *unused) {
    struct pollfd wake = MTRACE_ZERO_;
    mtrace_signals_ signals;
    uint64_t next = mtrace_recorder_now();
    sigfillset(&signals);
    pthread_sigmask(MTRACE_SIG_BLOCK_, &signals, NULL);
    wake.fd = mtrace_ticker_.wake[0];
    wake.events = POLLIN;
    do {
        if (poll(&wake, 1, mtrace_until_next_(&next, mtrace_ticker_.interval)) > 0) {
            return unused;
        }
        mtrace_ticker_.due();
    } while (true);
}

static void mtrace_ticker_close_(void) {
    close(mtrace_ticker_.wake[0]);
    close(mtrace_ticker_.wake[1]);
    mtrace_ticker_.runs = false;
}

static mtrace_result mtrace_ticker_start_(uint32_t interval, void (*due)(void)) {
    int error;
    if (pipe(mtrace_ticker_.wake) != 0) {
        return MTRACE_ERR_THREAD;
    }
    fcntl(mtrace_ticker_.wake[0], F_SETFD, FD_CLOEXEC);
    fcntl(mtrace_ticker_.wake[1], F_SETFD, FD_CLOEXEC);
    mtrace_ticker_.due = due;
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

/* A fork takes all locks first. Otherwise a child could inherit one from a thread it lacks. */
static void mtrace_before_fork_(void) {
    mtrace_lock_(&mtrace_locks_.profile);
    mtrace_lock_(&mtrace_locks_.lifecycle);
    mtrace_lock_(&mtrace_locks_.sample);
    mtrace_lock_(&mtrace_locks_.marks);
}
static void mtrace_after_fork_(void) {
    mtrace_unlock_(&mtrace_locks_.marks);
    mtrace_unlock_(&mtrace_locks_.sample);
    mtrace_unlock_(&mtrace_locks_.lifecycle);
    mtrace_unlock_(&mtrace_locks_.profile);
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
/* [SECTION] OUTPUT - every file is written here; formats and their escapes                       */
/* ============================================================================================== */

typedef struct mtrace_file_ {
    FILE *stream;
    const char *path;
    char *temporary; /* its name until it is complete; NULL: written in place */
    int error;       /* errno of the first failure; 0: none */
} mtrace_file_;

static void mtrace_file_check_(mtrace_file_ *f, bool good) {
    if (!good && f->error == 0) {
        f->error = errno != 0 ? errno : EIO;
    }
}

static void mtrace_file_write_(const char *text, size_t length, void *user) {
    mtrace_file_ *f = (mtrace_file_ *)user;
    mtrace_file_check_(f, f->error != 0 || fwrite(text, 1, length, f->stream) == length);
}

void mtrace_write_file(const char *text, size_t length, void *user) {
    FILE *stream = (FILE *)user;
    size_t done = 0;
    while (done < length) {
        size_t more;
        errno = 0;
        more = fwrite(text + done, 1, length - done, stream);
        if (more == 0 && errno != EINTR) {
            return;
        }
        done += more;
        if (done < length) {
            clearerr(stream);
        }
    }
}

/* Makes a temporary name in the folder of the path that nobody can predict. */
static void mtrace_file_name_(mtrace_file_ *f, size_t folder, int attempt) {
    uint64_t seed[5];
    seed[0] = mtrace_system_random_();
    seed[1] = mtrace_recorder_now();
    seed[2] = mtrace_process_();
    seed[3] = (uint64_t)(uintptr_t)f;
    seed[4] = (uint64_t)attempt;
    sprintf(f->temporary + folder, ".mtrace-%016llx.tmp",
            (unsigned long long)XXH64(seed, sizeof seed, 0));
}

/* Creates a new file in the folder of the path. NULL, with errno, if it cannot. */
static FILE *mtrace_file_beside_(mtrace_file_ *f, const mtrace_target_ *old) {
    size_t folder = strlen(f->path);
    FILE *stream = NULL;
    int attempt;
    while (folder > 0 && strchr(MTRACE_FOLDER_ENDS_, f->path[folder - 1]) == NULL) {
        folder--;
    }
    f->temporary = (char *)MTRACE_BASE_MALLOC(folder + 64);
    if (f->temporary == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    memcpy(f->temporary, f->path, folder);
    errno = EEXIST;
    for (attempt = 0; attempt < 100 && stream == NULL && errno == EEXIST; attempt++) {
        mtrace_file_name_(f, folder, attempt);
        stream = mtrace_file_create_(old, f->temporary);
    }
    return stream;
}

/* Opens the file at the path, or a new one that will take its place. An append is written in
   place. */
static FILE *mtrace_file_begin_(mtrace_file_ *f, bool append) {
    mtrace_target_ target;
    if (!mtrace_target_inspect_(&target, f->path)) {
        return NULL;
    }
    return target.is_replaceable && !append ? mtrace_file_beside_(f, &target)
                                            : mtrace_file_enter_(f->path, append);
}

static void mtrace_file_remove_(const mtrace_file_ *f) {
    if (f->temporary != NULL) {
        remove(f->temporary);
    }
}

/* Frees the name. Sets errno to that of the first failure. */
static mtrace_result mtrace_file_done_(mtrace_file_ *f) {
    MTRACE_BASE_FREE(f->temporary);
    errno = f->error;
    return f->error == 0 ? MTRACE_OK : f->error == ENOMEM ? MTRACE_ERR_NO_MEMORY : MTRACE_ERR_IO;
}

/* With append the bytes go to the end of the file, else they replace it. */
static mtrace_result mtrace_file_open_(mtrace_file_ *f, const char *path, bool append) {
    memset(f, 0, sizeof *f);
    f->path = path;
    f->stream = mtrace_file_begin_(f, append);
    mtrace_file_check_(f, f->stream != NULL);
    return f->stream != NULL ? MTRACE_OK : mtrace_file_done_(f);
}

/* Gives the new file its name. Removes it if a write failed, or if `result` is an error and the
   contents are not complete. */
static mtrace_result mtrace_file_close_(mtrace_file_ *f, mtrace_result result) {
    bool is_new = f->temporary != NULL;
    bool counts = is_new && result == MTRACE_OK && f->error == 0;
    mtrace_file_check_(f, counts ? mtrace_to_disk_(f->stream) : fflush(f->stream) == 0);
    mtrace_file_check_(f, fclose(f->stream) == 0);
    counts = counts && f->error == 0;
    mtrace_file_check_(f, !counts || mtrace_rename_(f->temporary, f->path));
    if (!counts || f->error != 0) {
        mtrace_file_remove_(f);
    }
    return result != MTRACE_OK ? (mtrace_file_done_(f), result) : mtrace_file_done_(f);
}

/* --- what TEXT of mtrace.h lacks: bytes, formats, escapes --- */

/* Writes the `size` lowest bytes, in little-endian order. */
static void mtrace_put_binary_(mtrace_text_ *t, uint64_t value, int size) {
    char bytes[8];
    int i;
    for (i = 0; i < size; i++, value >>= 8) {
        bytes[i] = (char)(value & 0xff);
    }
    mtrace_put_bytes_(t, bytes, (size_t)size);
}

#ifdef __GNUC__
#define MTRACE_LIKE_PRINTF_ __attribute__((format(printf, 2, 3)))
#else
#define MTRACE_LIKE_PRINTF_
#endif
static void mtrace_put_format_(mtrace_text_ *t, const char *format, ...) MTRACE_LIKE_PRINTF_;

typedef unsigned long long mtrace_u_; /* for %llu */

/* For whole numbers and short texts, up to 511 bytes. A locale changes nothing in them. */
static void mtrace_put_format_(mtrace_text_ *t, const char *format, ...) {
    char text[512];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    mtrace_put_(t, text);
}

/* How a format escapes text. Each mark is a character followed by its replacement. NULL ends the
   marks. `odd` writes a control character or a tab of `length` bytes. Length 0 means a byte that is
   not UTF-8. */
typedef struct mtrace_escapes_ {
    const char *marks[5];
    void (*odd)(mtrace_text_ *t, const char *text, size_t length);
} mtrace_escapes_;

static void mtrace_put_odd_as_hex_(mtrace_text_ *t, const char *text, size_t length) {
    if (*text == '\t') {
        mtrace_put_char_(t, '\t');
    } else {
        mtrace_put_escaped_(t, text, length == 0 ? 1 : length);
    }
}

static void mtrace_put_odd_as_json_(mtrace_text_ *t, const char *text, size_t length) {
    mtrace_put_(t, length == 0 ? "\\ufffd" : "\\u00");
    if (length > 0) {
        mtrace_put_hex_(t, 2, (unsigned char)text[length - 1]);
    }
}

/* Returns the length of the printable ASCII before the first mark, at most 64. */
static size_t mtrace_unmarked_length_(const char *text, size_t size, const char *const *marks) {
    size_t n = 0;
    while (n < size && n < 64 && text[n] >= ' ' && text[n] <= '~') {
        n++;
    }
    for (; *marks != NULL; marks++) {
        const char *at = (const char *)memchr(text, **marks, n);
        n = at == NULL ? n : (size_t)(at - text);
    }
    return n;
}

/* Writes one character of any kind and returns its length. */
static size_t mtrace_put_marked_(mtrace_text_ *t, const char *text, size_t size,
                                 const mtrace_escapes_ *escapes) {
    size_t n = mtrace_utf8_length_(text, size);
    const char *const *mark = escapes->marks;
    while (*mark != NULL && **mark != *text) {
        mark++;
    }
    if (*mark != NULL) {
        mtrace_put_(t, *mark + 1);
    } else if (n == 0 || *text == '\t' || mtrace_is_control_(text, n)) {
        escapes->odd(t, text, n);
    } else {
        mtrace_put_bytes_(t, text, n);
    }
    return n == 0 ? 1 : n;
}

static void mtrace_put_text_(mtrace_text_ *t, const char *text, size_t size,
                             const mtrace_escapes_ *escapes) {
    size_t i = 0;
    while (i < size) {
        size_t n = mtrace_unmarked_length_(text + i, size - i, escapes->marks);
        mtrace_put_bytes_(t, text + i, n);
        i += n;
        i += i < size && n == 0 ? mtrace_put_marked_(t, text + i, size - i, escapes) : 0;
    }
}

/* --- records, in CSV and JSON, by a table of their fields --- */

/* In CSV a cell that begins with "=" is text like any other. Nothing is put before it, so programs
   read it unchanged. Import the columns as text into a spreadsheet. In JSON a byte that is not
   UTF-8 becomes U+FFFD. Control characters and the tab are escaped. */
static const mtrace_escapes_ mtrace_csv_escapes_ = {{"\"\"\""}, mtrace_put_odd_as_hex_};
static const mtrace_escapes_ mtrace_json_escapes_ = {{"\"\\\"", "\\\\\\"}, mtrace_put_odd_as_json_};

/* A number of 4 or 8 bytes, or a pointer, in a struct. */
typedef struct mtrace_field_ {
    uint16_t offset;
    uint16_t size;
} mtrace_field_;
#define MTRACE_FIELD_(type, name)                                                                  \
    { offsetof(type, name), sizeof(((type *)0)->name) }

static uint64_t mtrace_field_get_(const mtrace_field_ *field, const void *from) {
    const char *at = (const char *)from + field->offset;
    uint64_t wide = 0;
    uint32_t narrow = 0;
    memcpy(field->size == 8 ? (void *)&wide : (void *)&narrow, at, field->size);
    return wide + narrow;
}

typedef enum mtrace_kind_ {
    MTRACE_AS_TEXT_,
    MTRACE_AS_LINE_,    /* a text, up to the end of its line */
    MTRACE_AS_NUMBER_,  /* unsigned */
    MTRACE_AS_BYTES_,   /* unsigned. UINT64_MAX: not known */
    MTRACE_AS_SECONDS_, /* ns, written as s */
    MTRACE_AS_US_,      /* ns, written as us */
    MTRACE_AS_CHANGE_,  /* signed */
    MTRACE_AS_HELD_     /* signed, written as 0 if it is negative */
} mtrace_kind_;

/* A record lies in several parts: structs, or single values. Each field says its part and its place
   there. The fields of a part that is NULL are not known. */
typedef struct mtrace_record_field_ {
    const char *name;
    mtrace_kind_ kind;
    int part;
    mtrace_field_ field;
} mtrace_record_field_;

/* False if the value is not known: its cell in CSV is empty, and an object in JSON lacks it. */
static bool mtrace_record_get_(const mtrace_record_field_ *f, const void *const *parts,
                               uint64_t *value) {
    const void *part = parts[f->part];
    *value = part == NULL ? 0 : mtrace_field_get_(&f->field, part);
    return part != NULL && (f->kind != MTRACE_AS_BYTES_ || *value != UINT64_MAX);
}

static void mtrace_put_value_(mtrace_text_ *t, mtrace_kind_ kind, uint64_t value,
                              const mtrace_escapes_ *escapes) {
    const char *text = (const char *)(uintptr_t)value;
    if (kind <= MTRACE_AS_LINE_) {
        size_t length = kind == MTRACE_AS_LINE_ ? strcspn(text, "\r\n") : strlen(text);
        mtrace_put_char_(t, '"');
        mtrace_put_text_(t, text, length, escapes);
        mtrace_put_char_(t, '"');
    } else if (kind == MTRACE_AS_SECONDS_ || kind == MTRACE_AS_US_) {
        uint64_t unit = kind == MTRACE_AS_SECONDS_ ? MTRACE_NS_PER_S_ : 1000;
        mtrace_put_format_(t, kind == MTRACE_AS_SECONDS_ ? "%llu.%09llu" : "%llu.%03llu",
                           (mtrace_u_)(value / unit), (mtrace_u_)(value % unit));
    } else {
        bool is_negative = kind >= MTRACE_AS_CHANGE_ && value > INT64_MAX;
        mtrace_put_(t, is_negative && kind == MTRACE_AS_CHANGE_ ? "-" : "");
        mtrace_put_number_(t, !is_negative ? value : kind == MTRACE_AS_CHANGE_ ? 0 - value : 0);
    }
}

/* Writes the members of an object, without its braces. */
static void mtrace_put_json_(mtrace_text_ *t, const mtrace_record_field_ *fields, size_t count,
                             const void *const *parts) {
    const mtrace_record_field_ *f;
    const char *comma = "";
    for (f = fields; f < fields + count; f++) {
        uint64_t value;
        if (mtrace_record_get_(f, parts, &value)) {
            mtrace_put_(t, comma);
            mtrace_put_value_(t, MTRACE_AS_TEXT_, (uintptr_t)f->name, &mtrace_json_escapes_);
            mtrace_put_char_(t, ':');
            mtrace_put_value_(t, f->kind, value, &mtrace_json_escapes_);
            comma = ",";
        }
    }
}

/* Writes a row. parts NULL: the header. */
static void mtrace_put_csv_(mtrace_text_ *t, const mtrace_record_field_ *fields, size_t count,
                            const void *const *parts) {
    const mtrace_record_field_ *f;
    for (f = fields; f < fields + count; f++) {
        const char *unit = f->kind == MTRACE_AS_BYTES_     ? " (B)\""
                           : f->kind == MTRACE_AS_SECONDS_ ? " (s)\""
                                                           : "";
        uint64_t value;
        mtrace_put_(t, f > fields ? "," : "");
        if (parts == NULL) {
            mtrace_put_(t, *unit != '\0' ? "\"" : "");
            mtrace_put_text_(t, f->name, strlen(f->name), &mtrace_csv_escapes_);
            mtrace_put_(t, unit);
        } else if (mtrace_record_get_(f, parts, &value)) {
            mtrace_put_value_(t, f->kind, value, &mtrace_csv_escapes_);
        }
    }
    mtrace_put_(t, "\r\n");
}

static bool mtrace_is_blank_(int c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* ============================================================================================== */
/* [SECTION] EXIT - the end of the program                                                        */
/* ============================================================================================== */

#if MTRACE_HAS_PROFILE_ || MTRACE_HAS_ENVIRONMENT_
/* Writes all reports that are due. A second call writes nothing. On ELF systems a destructor of the
   last priority calls it. In any link order, that is after every other destructor of the module and
   of its static objects. The leak sanitizer ends the program earlier. There, and on other systems,
   atexit registers it. The function that is registered first runs last. */
static void mtrace_profile_at_exit_(void);
static void mtrace_environment_at_exit_(void);
static void mtrace_at_exit_(void) {
    mtrace_profile_at_exit_();
    mtrace_environment_at_exit_();
}

/* The process and the module that asked for reports. Only this process writes them, not its forked
   children, and only when this module ends. Another module may share these variables (see
   mtrace_tracer_) and end earlier. */
typedef struct mtrace_owner_ {
    unsigned long process;
    const void *module;
} mtrace_owner_;
static mtrace_owner_ mtrace_owner_here_(void) {
    static char module;
    mtrace_owner_ owner;
    owner.process = mtrace_process_();
    owner.module = &module;
    return owner;
}
static bool mtrace_is_owner_(const mtrace_owner_ *owner) {
    mtrace_owner_ here = mtrace_owner_here_();
    return owner->process == here.process && owner->module == here.module;
}

#if defined(__ELF__) && MTRACE_HOSTED_
extern void __lsan_do_leak_check(void) __attribute__((weak));
__attribute__((constructor(101))) static void mtrace_register_exit_(void) {
    if (__lsan_do_leak_check != NULL) {
        atexit(mtrace_at_exit_);
    }
}
__attribute__((destructor(101))) static void mtrace_destructor_(void) {
    mtrace_at_exit_();
}
static bool mtrace_has_exit_(void) {
    return true;
}
#else
static bool mtrace_has_exit_(void) {
    static bool done;
    done = done || atexit(mtrace_at_exit_) == 0;
    return done;
}
#endif
#endif

/* ============================================================================================== */
/* [SECTION] MODULES - the program and its libraries in memory                                    */
/* ============================================================================================== */

#if defined(__GNUC__) && defined(__linux__) && MTRACE_HOSTED_ && !defined(__dietlibc__) &&         \
    !defined(MTRACE_NO_UNWIND)
#define MTRACE_UNWINDS_ 1
#include <elf.h>
#include <unwind.h>
#if UINTPTR_MAX > 0xffffffffu
typedef Elf64_Ehdr mtrace_elf_;
typedef Elf64_Phdr mtrace_segment_;
typedef Elf64_Nhdr mtrace_note_;
#else
typedef Elf32_Ehdr mtrace_elf_;
typedef Elf32_Phdr mtrace_segment_;
typedef Elf32_Nhdr mtrace_note_;
#endif

/* The beginning of struct dl_phdr_info. Strict C hides it. */
typedef struct mtrace_module_ {
    uintptr_t bias;
    const char *name; /* "": the program */
    const mtrace_segment_ *segments;
    uint16_t segment_count;
} mtrace_module_;

/* The beginning of struct link_map. */
typedef struct mtrace_linked_ {
    uintptr_t bias;
    const char *name;
} mtrace_linked_;

/* struct dl_find_object of glibc. */
typedef struct mtrace_dl_found_ {
    unsigned long long flags;
    void *start;
    void *end;
    const mtrace_linked_ *linked;
    void *unwind_tables; /* .eh_frame_hdr */
    void *data;          /* for some machines; NULL will do */
    unsigned long long reserved[8];
} mtrace_dl_found_;
#ifdef __cplusplus
extern "C" {
#endif
extern int mtrace_dl_iterate_phdr_(int (*)(mtrace_module_ *, size_t, void *),
                                   void *) __asm__("dl_iterate_phdr");
#ifdef __cplusplus
}
#endif

static bool mtrace_module_holds_(const mtrace_module_ *module, uintptr_t address) {
    uint16_t i;
    for (i = 0; i < module->segment_count; i++) {
        const mtrace_segment_ *s = &module->segments[i];
        if (s->p_type == PT_LOAD && address - module->bias - s->p_vaddr < s->p_memsz) {
            return true;
        }
    }
    return false;
}

typedef struct mtrace_dl_search_ {
    uintptr_t address;
    mtrace_dl_found_ *out;
    mtrace_linked_ *linked;
} mtrace_dl_search_;

/* Fills in where the module lies, and its unwind tables. */
static void mtrace_module_measure_(const mtrace_module_ *module, mtrace_dl_found_ *out) {
    uintptr_t start = UINTPTR_MAX, end = 0;
    uint16_t i;
    for (i = 0; i < module->segment_count; i++) {
        const mtrace_segment_ *s = &module->segments[i];
        uintptr_t at = module->bias + s->p_vaddr;
        if (s->p_type == PT_LOAD) {
            start = at < start ? at : start;
            end = at + s->p_memsz > end ? at + s->p_memsz : end;
        }
        out->unwind_tables = s->p_type == PT_GNU_EH_FRAME ? (void *)at : out->unwind_tables;
    }
    out->start = (void *)start;
    out->end = (void *)end;
}

static int mtrace_dl_find_in_(mtrace_module_ *module, size_t size, void *user) {
    mtrace_dl_search_ *search = (mtrace_dl_search_ *)user;
    (void)size;
    if (!mtrace_module_holds_(module, search->address)) {
        return 0;
    }
    mtrace_module_measure_(module, search->out);
    search->linked->bias = module->bias;
    search->linked->name = module->name;
    return 1;
}

/* Asks the loader, which may take its lock. */
static bool mtrace_dl_search_for_(uintptr_t address, mtrace_dl_found_ *out,
                                  mtrace_linked_ *linked) {
    mtrace_dl_search_ search;
    search.address = address;
    search.out = out;
    search.linked = linked;
    memset(out, 0, sizeof *out);
    out->linked = linked;
    return mtrace_dl_iterate_phdr_(mtrace_dl_find_in_, &search) == 1;
}

#ifdef __GLIBC__
#define MTRACE_MODULES_GO_ 1
/* glibc has it since 2.35. It takes no lock. */
extern int mtrace_dl_find_object_(void *address, mtrace_dl_found_ *out) __asm__("_dl_find_object")
    __attribute__((weak));

static bool mtrace_module_find_(uintptr_t address, mtrace_dl_found_ *out, mtrace_linked_ *linked) {
    memset(out, 0, sizeof *out);
    return mtrace_dl_find_object_ != NULL ? mtrace_dl_find_object_((void *)address, out) == 0
                                          : mtrace_dl_search_for_(address, out, linked);
}

static bool mtrace_can_unwind_(void) {
    return true;
}
#else
#define MTRACE_MODULES_GO_ 0 /* musl's dlclose unloads nothing */
/* Debian's musl-gcc links the unwinder of glibc's gcc, which asks glibc for the unwind tables
   around an address. So this is glibc's function for other C libraries (dlfcn.h has the result). */
extern int mtrace_dl_find_object_(void *address, mtrace_dl_found_ *out) __asm__("_dl_find_object")
    __attribute__((weak, visibility("hidden")));
int mtrace_dl_find_object_(void *address, mtrace_dl_found_ *out) {
    mtrace_dl_found_ found;
    mtrace_linked_ linked;
    bool is_found = mtrace_dl_search_for_((uintptr_t)address, &found, &linked);
    memcpy(out, &found, offsetof(mtrace_dl_found_, reserved));
    out->linked = NULL;
    return is_found && found.unwind_tables != NULL ? 0 : -1;
}

static bool mtrace_module_find_(uintptr_t address, mtrace_dl_found_ *out, mtrace_linked_ *linked) {
    return mtrace_dl_search_for_(address, out, linked);
}

/* The unwinder aborts without its own tables. musl-gcc makes none that can be found, unless
   -static. */
static bool mtrace_can_unwind_(void) {
    mtrace_dl_found_ found;
    return mtrace_dl_find_object_((void *)(uintptr_t)_Unwind_Backtrace, &found) == 0;
}
#endif

/* Reads words of other frames, some of them not initialised. A sanitizer must allow it. */
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define MTRACE_UNCHECKED_ "memory"
#elif __has_feature(address_sanitizer)
#define MTRACE_UNCHECKED_ "address"
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define MTRACE_UNCHECKED_ "address"
#endif
#ifdef MTRACE_UNCHECKED_
#define MTRACE_READS_STACK_ __attribute__((noinline, no_sanitize(MTRACE_UNCHECKED_)))
#else
#define MTRACE_READS_STACK_ MTRACE_HOT_
#endif
#else
#define MTRACE_UNWINDS_ 0
#endif

#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif

#endif /* PORTABILITY OF EXT */

/* ============================================================================================== */
/* [CHAPTER] FILES - snapshots in files; docs/FORMAT.md describes every byte                      */
/* ============================================================================================== */

#ifndef MTRACE_EXT_FILES_
#define MTRACE_EXT_FILES_
#undef MTRACE_HAS_
#define MTRACE_HAS_ MTRACE_HAS_FILES_

/* Fills the buffer with up to `size` bytes. Returns their number, 0 at the end, or SIZE_MAX if the
   read failed. */
typedef size_t (*mtrace_read_fn)(void *buffer, size_t size, void *user);

MTRACE_OFF_BEGIN_

/* Every call here writes a file in the same way. The new file gets another name in the same folder.
   When it is complete, it is flushed to the disk and renamed. A crash leaves the older file intact,
   and an error leaves no new file. The new file keeps the older one's mode, and its owner where
   that is allowed. A device, a FIFO or a symbolic link is never replaced. It is written in place,
   through the link, and an error may leave a part there. A FIFO without a reader is an error
   (ENXIO), so nothing waits. */

/* Writes a snapshot to a file. mtrace_snapshot_dump_to passes it to a callback in pieces.
   Errors: ARGUMENT (NULL, names of 4 GiB, or names of more than 256 times the file, see
     docs/FORMAT.md); NO_MEMORY; IO (see errno; no new file stays).
   Cost: O(frames + blocks).
   Context: any thread. dump_to allocates nothing and needs 12 KiB of stack, so it can be called
     wherever `write` can.
   Python: tracemalloc.Snapshot.dump(). */
MTRACE_EXT_API_ mtrace_result mtrace_snapshot_dump(const mtrace_snapshot *snapshot,
                                                   const char *path)
    MTRACE_EXT_OFF_(return MTRACE_ERR_COMPILED_OUT);
MTRACE_EXT_API_ mtrace_result mtrace_snapshot_dump_to(const mtrace_snapshot *snapshot,
                                                      mtrace_write_fn write, void *user)
    MTRACE_EXT_OFF_(return MTRACE_ERR_COMPILED_OUT);

/* Reads a snapshot, written on any machine. Every value in the file is checked before use. memory
   NULL: the tracer's. Two files of one run of a program compare as their snapshots did. Compared
   with a file of another run, totals count from the start.
   Errors: ARGUMENT (NULL), IO, NOT_SNAPSHOT, VERSION, TRUNCATED, CORRUPT, NO_MEMORY. *out is NULL.
   Cost: O(file). Memory is in proportion to the bytes read: 4 bytes of a frame take 40 twice.
   Context: any thread.
   Python: tracemalloc.Snapshot.load(). */
MTRACE_EXT_API_ mtrace_result mtrace_snapshot_load(mtrace_snapshot **out, const char *path,
                                                   mtrace_buffer *memory)
    MTRACE_EXT_OFF_(*out = MTRACE_NULL_; return MTRACE_ERR_COMPILED_OUT);
MTRACE_EXT_API_ mtrace_result mtrace_snapshot_load_from(mtrace_snapshot **out, mtrace_read_fn read,
                                                        void *user, mtrace_buffer *memory)
    MTRACE_EXT_OFF_(*out = MTRACE_NULL_; return MTRACE_ERR_COMPILED_OUT);

/* Reads suppressions from a file and sets them, see mtrace_set_suppressions. The tracer keeps the
   text until this call is made again. path NULL: none.
   Errors: IO (see errno; not a regular file), NO_MEMORY; ARGUMENT: a bad line, or one with a zero
     byte. *line, unless NULL, is then its number, and else 0. The suppressions before stay.
     COMPILED_OUT on bare metal.
   Cost: O(file).
   Context: any thread that knows of no growth under way. */
MTRACE_EXT_API_ mtrace_result mtrace_load_suppressions(const char *path, uint32_t *line)
    MTRACE_EXT_OFF_(if (line != MTRACE_NULL_) { *line = 0; } return MTRACE_ERR_COMPILED_OUT);

/* Writes a file that Python's tracemalloc.Snapshot.load() reads (CPython 3.9 and later), or passes
   it to a callback. Each block becomes a trace with its domain, size and traceback. A snapshot
   without blocks, or in another view than the live one, gets made-up traces: as many for each call
   site as it has blocks, of the average size. All sums agree. A code address becomes the file
   `path+0x1234` with line 0. If one module has two paths, Python shows two rows. Unpickling runs
   code, so load only your own files in Python.
   Errors: ARGUMENT (NULL; more than 2^32 blocks; or more than 2^24 made-up traces: then take the
     snapshot with its blocks); NO_MEMORY; IO.
   Cost: O(blocks).
   Context: any thread.
   Source: the pickle protocol, version 2. */
MTRACE_EXT_API_ mtrace_result mtrace_snapshot_dump_pickle(const mtrace_snapshot *snapshot,
                                                          const char *path)
    MTRACE_EXT_OFF_(return mtrace_snapshot_dump(snapshot, path));
MTRACE_EXT_API_ mtrace_result mtrace_snapshot_dump_pickle_to(const mtrace_snapshot *snapshot,
                                                             mtrace_write_fn write, void *user)
    MTRACE_EXT_OFF_(return mtrace_snapshot_dump_to(snapshot, write, user));

/* Fills the buffer with a line of a source file, for mtrace_format_traceback. `user` is not used.
   Errors: false if the file has no such line, cannot be opened, or is not a regular file. It never
     waits for a FIFO or a device.
   Cost: O(file).
   Context: any thread.
   Python: linecache.getline(). */
MTRACE_EXT_API_ bool mtrace_source_from_file(char *buffer, size_t size, const char *file,
                                             uint32_t line, void *user)
    MTRACE_EXT_OFF_(if (size > 0) { buffer[0] = '\0'; } return false);

MTRACE_OFF_END_

#endif /* MTRACE_EXT_FILES_ */

#if defined(MTRACE_EXT_IMPLEMENTS_) && MTRACE_HAS_FILES_

/* ============================================================================================== */
/* [SECTION] DUMP                                                                                 */
/* ============================================================================================== */

/* A dump needs no table of all names. It walks the frames of all rows four times in the same order.
   The first walk counts names and locations for the header. The others write the names, then the
   locations, then the frames. Rows and blocks follow, and a hash of all bytes before it. Offsets of
   names and numbers of locations come from two small caches. They are emptied before each walk, so
   each walk gets the same numbers. */

#define MTRACE_FILE_MAGIC_ "\x89MTRC\r\n\x1a"
enum {
    MTRACE_FILE_VERSION_ = 2,
    MTRACE_FILE_INFOS_ = 18,
    MTRACE_FILE_HEADER_1_ = 72 + 8 * MTRACE_FILE_INFOS_, /* version 1 */
    MTRACE_FILE_HEADER_ = MTRACE_FILE_HEADER_1_ + 24,
    MTRACE_FILE_MODULE_ = 56,
    MTRACE_FILE_LOCATION_ = 24,
    MTRACE_FILE_FRAME_1_ = 12, /* version 1: it is a location, without module and address */
    MTRACE_FILE_FRAME_ = 4,
    MTRACE_FILE_COUNTERS_ = 11,
    MTRACE_FILE_ROW_ = 24 + 8 * MTRACE_FILE_COUNTERS_,
    MTRACE_FILE_ROW_1_ = 24 + 8 * 16, /* version 1: variances instead of the last counter */
    MTRACE_FILE_BLOCK_ = 32,
    MTRACE_FILE_MAX_INTERVAL_ = 1 << 24, /* as desc.sample_interval */
    MTRACE_FILE_HAS_BLOCKS_ = 1
};
#define MTRACE_FILE_NONE_ UINT32_MAX /* no name */

/* Frames share names, so a small file can produce much text: a report writes a name once for each
   frame that refers to it. The limit for that text is 256 times the file, plus 16 MiB. Real files
   reach 35 times, with deep stacks, paths of 100 bytes, functions of 40, and 4 bytes a frame. */
static uint64_t mtrace_file_most_text_(uint64_t size) {
    return ((uint64_t)1 << 24) + 256 * size;
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
    result = mtrace_file_open_(&f, path, false);
    return result != MTRACE_OK ? result
                               : mtrace_file_close_(&f, dump(snapshot, mtrace_file_write_, &f));
}

/* The cache of names, with their offsets in the file. A name that has left the cache is written
   again, so the file can have it twice. The caches of names and locations are on the stack: 24 KiB,
   on bare metal 768 bytes. */
enum { MTRACE_NAMER_BITS_ = MTRACE_HOSTED_ ? 9 : 5 };
enum { MTRACE_LOCATOR_BITS_ = MTRACE_HOSTED_ ? 10 : 6 };
enum { MTRACE_LOCATOR_TEXTS_ = MTRACE_HOSTED_ ? 1 << MTRACE_LOCATOR_BITS_ : 1 };
typedef struct mtrace_namer_ {
    const char *names[1 << MTRACE_NAMER_BITS_];
    uint32_t offsets[1 << MTRACE_NAMER_BITS_];
    uint64_t end;
    uint64_t text;     /* bytes of the names asked for, repeats included */
    mtrace_text_ *out; /* NULL: write nothing */
} mtrace_namer_;

static uint32_t mtrace_name_at_(mtrace_namer_ *n, const char *name) {
    uint32_t hash = (uint32_t)((uintptr_t)name ^ (uintptr_t)name >> 9) * 0x9E3779B1u;
    uint32_t slot = hash >> (32 - MTRACE_NAMER_BITS_);
    if (name == NULL) {
        return MTRACE_FILE_NONE_;
    }
    if (n->out == NULL) {
        n->text += strlen(name) + 1;
    }
    if (n->names[slot] != name) {
        size_t size = strlen(name) + 1;
        n->names[slot] = name;
        n->offsets[slot] = (uint32_t)n->end;
        n->end += size;
        if (n->out != NULL) {
            mtrace_put_bytes_(n->out, name, size);
        }
    }
    return n->offsets[slot];
}

static void mtrace_namer_start_(mtrace_namer_ *n, mtrace_text_ *out) {
    memset(n, 0, sizeof *n);
    n->out = out;
}

/* A code address without a line is shown by the path of its module. The file has it once. */
static void mtrace_namer_frame_(mtrace_namer_ *n, const mtrace_frame *frame, uint32_t *at) {
    bool is_code = mtrace_is_code_(frame);
    at[0] = mtrace_name_at_(n, is_code ? NULL : frame->file);
    at[1] = mtrace_name_at_(n, frame->function);
    n->text += is_code && frame->module != NULL ? strlen(frame->module->path) + 1 : 0;
}

/* The cache of locations, each with its number. Stacks share most of their frames. */
typedef struct mtrace_locator_ {
    const mtrace_frame *frames[1 << MTRACE_LOCATOR_BITS_];
    uint32_t numbers[1 << MTRACE_LOCATOR_BITS_];
    uint32_t texts[MTRACE_LOCATOR_TEXTS_]; /* bytes of the names of a code address */
    uint64_t end;                          /* the next number */
} mtrace_locator_;

static bool mtrace_file_location_is_same_(const mtrace_frame *a, const mtrace_frame *b) {
    return a->file == b->file && a->function == b->function && a->line == b->line &&
           a->module == b->module && a->address == b->address;
}

/* A dump that is under way. */
typedef struct mtrace_dump_ {
    mtrace_snapshot_parts parts;
    mtrace_namer_ namer;
    mtrace_locator_ locator;
    mtrace_text_ *out;
} mtrace_dump_;

/* Calls `dump` for each frame of each row. */
static void mtrace_dump_each_(mtrace_dump_ *d,
                              void (*dump)(mtrace_dump_ *d, const mtrace_frame *frame)) {
    size_t i;
    for (i = 0; i < d->parts.row_count; i++) {
        const mtrace_traceback *t = &d->parts.rows[i].traceback;
        uint32_t j;
        for (j = 0; j < t->count; j++) {
            dump(d, &t->frames[j]);
        }
    }
}

/* Begins a walk with empty caches. Each walk asks for names in the same order: modules, frames. */
static void mtrace_dump_start_(mtrace_dump_ *d, mtrace_text_ *names) {
    size_t i;
    mtrace_namer_start_(&d->namer, names);
    memset(&d->locator, 0, sizeof d->locator);
    for (i = 0; i < d->parts.module_count; i++) {
        mtrace_name_at_(&d->namer, d->parts.modules[i].path);
    }
}

/* A frame as the file has it. */
typedef struct mtrace_file_location_ {
    uint32_t names[2]; /* of a code address only if it is new */
    uint32_t module;   /* the first is 1 */
    uint32_t number;
    bool is_new;
} mtrace_file_location_;

/* Hashes the values of the file, not pointers, so a copy of a copy hashes alike. */
static uint32_t mtrace_file_location_slot_(const mtrace_frame *frame,
                                           const mtrace_file_location_ *at) {
    const uint64_t golden = 0x9E3779B97F4A7C15u;
    uint64_t hash = (((uint64_t)at->names[1] << 32) + at->names[0]) * golden;
    hash = (hash ^ (((uint64_t)at->module << 32) + frame->line)) * golden;
    return (uint32_t)((hash ^ frame->address) * golden >> (64 - MTRACE_LOCATOR_BITS_));
}

/* The names of a code address are looked up only if it is new: it finds its slot without them. */
static mtrace_file_location_ mtrace_locate_(mtrace_dump_ *d, const mtrace_frame *frame) {
    mtrace_locator_ *l = &d->locator;
    mtrace_file_location_ at = MTRACE_ZERO_;
    bool is_code = MTRACE_HOSTED_ && frame->address != 0;
    uint32_t slot, *text;
    if (!is_code) {
        mtrace_namer_frame_(&d->namer, frame, at.names);
    }
    at.module = frame->module == NULL ? 0 : (uint32_t)(frame->module - d->parts.modules) + 1;
    slot = mtrace_file_location_slot_(frame, &at);
    text = &l->texts[slot % MTRACE_LOCATOR_TEXTS_];
    at.is_new = l->frames[slot] == NULL || !mtrace_file_location_is_same_(l->frames[slot], frame);
    if (at.is_new) {
        l->frames[slot] = frame;
        l->numbers[slot] = (uint32_t)l->end++;
    }
    if (at.is_new && is_code) {
        uint64_t before = d->namer.text;
        mtrace_namer_frame_(&d->namer, frame, at.names);
        *text = (uint32_t)(d->namer.text - before);
    } else if (is_code) {
        d->namer.text += *text;
    }
    at.number = l->numbers[slot];
    return at;
}

static void mtrace_dump_names_of_(mtrace_dump_ *d, const mtrace_frame *frame) {
    mtrace_locate_(d, frame);
}

/* The names of modules, of all frames, then of types and domains. names NULL: only counts them and
   the locations. */
static void mtrace_dump_names_(mtrace_dump_ *d, mtrace_text_ *names) {
    size_t i;
    mtrace_dump_start_(d, names);
    mtrace_dump_each_(d, mtrace_dump_names_of_);
    for (i = 0; i < d->parts.row_count; i++) {
        mtrace_name_at_(&d->namer, d->parts.rows[i].type);
        mtrace_name_at_(&d->namer, d->parts.rows[i].domain_name);
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

/* 8 bytes each, in the order of the file. */
static const mtrace_field_ mtrace_info_fields_[MTRACE_FILE_INFOS_] = {
    MTRACE_FIELD_(mtrace_info, capacity),      MTRACE_FIELD_(mtrace_info, live),
    MTRACE_FIELD_(mtrace_info, high_water),    MTRACE_FIELD_(mtrace_info, longest_probe),
    MTRACE_FIELD_(mtrace_info, max_sites),     MTRACE_FIELD_(mtrace_info, sites),
    MTRACE_FIELD_(mtrace_info, dropped_count), MTRACE_FIELD_(mtrace_info, dropped_bytes),
    MTRACE_FIELD_(mtrace_info, foreign_frees), MTRACE_FIELD_(mtrace_info, stale_replaced),
    MTRACE_FIELD_(mtrace_info, lost_sites),    MTRACE_FIELD_(mtrace_info, lost_names),
    MTRACE_FIELD_(mtrace_info, lost_scopes),   MTRACE_FIELD_(mtrace_info, max_scopes),
    MTRACE_FIELD_(mtrace_info, scopes),        MTRACE_FIELD_(mtrace_info, tracer_memory),
    MTRACE_FIELD_(mtrace_info, frames),        MTRACE_FIELD_(mtrace_info, sample_interval),
};
static const mtrace_field_ mtrace_row_fields_[MTRACE_FILE_COUNTERS_] = {
    MTRACE_FIELD_(mtrace_row, size),           MTRACE_FIELD_(mtrace_row, count),
    MTRACE_FIELD_(mtrace_row, peak_size),      MTRACE_FIELD_(mtrace_row, peak_count),
    MTRACE_FIELD_(mtrace_row, total_size),     MTRACE_FIELD_(mtrace_row, total_count),
    MTRACE_FIELD_(mtrace_row, frees),          MTRACE_FIELD_(mtrace_row, reallocs),
    MTRACE_FIELD_(mtrace_row, dropped_count),  MTRACE_FIELD_(mtrace_row, dropped_size),
    MTRACE_FIELD_(mtrace_row, estimated_size),
};

static void mtrace_field_set_(const mtrace_field_ *field, void *to, uint64_t value) {
    char *at = (char *)to + field->offset;
    uint32_t narrow = (uint32_t)value;
    memcpy(at, field->size == 8 ? (const void *)&value : (const void *)&narrow, field->size);
}

/* A number for this run of this program. */
static uint64_t mtrace_run_(uint64_t generation) {
    uint64_t words[3];
    words[0] = (uintptr_t)mtrace_state_;
    words[1] = mtrace_process_();
    words[2] = generation;
    return XXH64(words, sizeof words, 0);
}

static uint64_t mtrace_dump_size_(const mtrace_dump_ *d) {
    const mtrace_snapshot_parts *p = &d->parts;
    return MTRACE_FILE_HEADER_ + d->namer.end + (uint64_t)p->module_count * MTRACE_FILE_MODULE_ +
           d->locator.end * MTRACE_FILE_LOCATION_ + mtrace_count_frames_(p) * MTRACE_FILE_FRAME_ +
           (uint64_t)p->row_count * MTRACE_FILE_ROW_ +
           (uint64_t)p->block_count * MTRACE_FILE_BLOCK_ + 8;
}

/* True if all numbers fit and the text is within the limit of readers. */
static bool mtrace_dump_fits_(const mtrace_dump_ *d) {
    return d->namer.end < MTRACE_FILE_NONE_ && d->locator.end <= UINT32_MAX &&
           d->parts.module_count < UINT32_MAX &&
           d->namer.text <= mtrace_file_most_text_(mtrace_dump_size_(d));
}

static void mtrace_dump_header_(mtrace_text_ *o, const mtrace_dump_ *d) {
    const mtrace_snapshot_parts *p = &d->parts;
    int i;
    mtrace_put_bytes_(o, MTRACE_FILE_MAGIC_, 8);
    mtrace_put_binary_(o, MTRACE_FILE_VERSION_, 4);
    mtrace_put_binary_(o, p->has_blocks ? MTRACE_FILE_HAS_BLOCKS_ : 0, 4);
    mtrace_put_binary_(o, mtrace_run_(p->generation), 8);
    mtrace_put_binary_(o, d->namer.end, 8);
    mtrace_put_binary_(o, mtrace_count_frames_(p), 8);
    mtrace_put_binary_(o, p->row_count, 8);
    mtrace_put_binary_(o, p->has_blocks ? p->block_count : 0, 8);
    mtrace_put_binary_(o, p->traced_memory.current, 8);
    mtrace_put_binary_(o, p->traced_memory.peak, 8);
    for (i = 0; i < MTRACE_FILE_INFOS_; i++) {
        mtrace_put_binary_(o, mtrace_field_get_(&mtrace_info_fields_[i], &p->info), 8);
    }
    mtrace_put_binary_(o, p->module_count, 8);
    mtrace_put_binary_(o, d->locator.end, 8);
    mtrace_put_binary_(o, p->info.lost_interned, 8);
}

static void mtrace_dump_module_(mtrace_dump_ *d, const mtrace_module *module) {
    mtrace_put_binary_(d->out, mtrace_name_at_(&d->namer, module->path), 4);
    mtrace_put_binary_(d->out, module->build_id_size, 4);
    mtrace_put_binary_(d->out, module->load_address, 8);
    mtrace_put_binary_(d->out, module->size, 8);
    mtrace_put_bytes_(d->out, (const char *)module->build_id, sizeof module->build_id);
}

/* Writes the location of a frame if it is new. */
static void mtrace_dump_location_(mtrace_dump_ *d, const mtrace_frame *frame) {
    mtrace_file_location_ at = mtrace_locate_(d, frame);
    if (at.is_new) {
        mtrace_put_binary_(d->out, at.names[0], 4);
        mtrace_put_binary_(d->out, at.names[1], 4);
        mtrace_put_binary_(d->out, frame->line, 4);
        mtrace_put_binary_(d->out, at.module, 4);
        mtrace_put_binary_(d->out, frame->address, 8);
    }
}

static void mtrace_dump_frame_(mtrace_dump_ *d, const mtrace_frame *frame) {
    mtrace_put_binary_(d->out, mtrace_locate_(d, frame).number, 4);
}

static void mtrace_dump_row_(mtrace_text_ *o, mtrace_namer_ *n, const mtrace_row *row) {
    int i;
    mtrace_put_binary_(o, row->traceback.count, 4);
    mtrace_put_binary_(o, row->traceback.total, 4);
    mtrace_put_binary_(o, mtrace_name_at_(n, row->type), 4);
    mtrace_put_binary_(o, mtrace_name_at_(n, row->domain_name), 4);
    mtrace_put_binary_(o, row->domain, 4);
    mtrace_put_binary_(o, 0, 4);
    for (i = 0; i < MTRACE_FILE_COUNTERS_; i++) {
        mtrace_put_binary_(o, mtrace_field_get_(&mtrace_row_fields_[i], row), 8);
    }
}

static void mtrace_dump_block_(mtrace_text_ *o, const mtrace_live_block *block) {
    mtrace_put_binary_(o, block->address, 8);
    mtrace_put_binary_(o, block->size, 8);
    mtrace_put_binary_(o, block->serial, 8);
    mtrace_put_binary_(o, block->row, 4);
    mtrace_put_binary_(o, block->is_tracked, 4);
}

static void mtrace_dump_body_(mtrace_dump_ *d) {
    const mtrace_snapshot_parts *p = &d->parts;
    size_t i;
    mtrace_dump_names_(d, d->out);
    mtrace_namer_start_(&d->namer, NULL);
    for (i = 0; i < p->module_count; i++) {
        mtrace_dump_module_(d, &p->modules[i]);
    }
    mtrace_dump_start_(d, NULL);
    mtrace_dump_each_(d, mtrace_dump_location_);
    mtrace_dump_start_(d, NULL);
    mtrace_dump_each_(d, mtrace_dump_frame_);
    for (i = 0; i < p->row_count; i++) {
        mtrace_dump_row_(d->out, &d->namer, &p->rows[i]);
    }
    for (i = 0; p->has_blocks && i < p->block_count; i++) {
        mtrace_dump_block_(d->out, &p->blocks[i]);
    }
}

/* Hashes all bytes on their way to `write`. */
typedef struct mtrace_hashed_ {
    mtrace_write_fn write;
    void *user;
    XXH64_state_t hash;
} mtrace_hashed_;

static void mtrace_hashed_write_(const char *bytes, size_t size, void *user) {
    mtrace_hashed_ *h = (mtrace_hashed_ *)user;
    XXH64_update(&h->hash, bytes, size);
    h->write(bytes, size, h->user);
}

mtrace_result mtrace_snapshot_dump_to(const mtrace_snapshot *snapshot, mtrace_write_fn write,
                                      void *user) {
    mtrace_dump_ d;
    mtrace_text_ o;
    char line[MTRACE_TEXT_LINE_];
    mtrace_hashed_ h;
    if (snapshot == NULL || write == NULL) {
        return MTRACE_ERR_ARGUMENT;
    }
    d.parts = mtrace_snapshot_get_parts(snapshot);
    d.out = &o;
    mtrace_dump_names_(&d, NULL);
    if (!mtrace_dump_fits_(&d)) {
        return MTRACE_ERR_ARGUMENT;
    }
    h.write = write;
    h.user = user;
    XXH64_reset(&h.hash, 0);
    mtrace_text_to_callback_(&o, line, mtrace_hashed_write_, &h);
    mtrace_dump_header_(&o, &d);
    mtrace_dump_body_(&d);
    mtrace_text_flush_(&o);
    mtrace_put_binary_(&o, XXH64_digest(&h.hash), 8);
    mtrace_text_flush_(&o);
    return MTRACE_OK;
}

mtrace_result mtrace_snapshot_dump(const mtrace_snapshot *snapshot, const char *path) {
    return mtrace_dump_file_(snapshot, path, mtrace_snapshot_dump_to);
}

/* ============================================================================================== */
/* [SECTION] LOAD - a file may be damaged or hostile                                              */
/* ============================================================================================== */

/* The header gives the number of each thing, and so the size of the file. The rest is read into
   memory that grows with the bytes read: a header that lies about the size cannot make it allocate
   much. Then the hash is compared, and every name, number and count is checked. A wrong one sets
   `bad`, and the load ends with CORRUPT. mtrace_snapshot_make copies the result. */

typedef struct mtrace_load_ {
    const unsigned char *bytes; /* the whole file */
    uint32_t version;
    uint32_t header_size, frame_size, row_size;               /* bytes, in that version */
    uint64_t names, modules, locations, frames, rows, blocks; /* numbers of */
    const unsigned char *name_at, *module_at, *location_at, *frame_at, *row_at, *block_at;
    bool has_blocks;
    bool bad;      /* a name, a row or a count is wrong */
    uint64_t text; /* bytes of names that may still be referred to */
    mtrace_snapshot_parts parts;
} mtrace_load_;

static uint64_t mtrace_number_at_(const unsigned char *at, int size) {
    uint64_t value = 0;
    while (size-- > 0) {
        value = value << 8 | at[size];
    }
    return value;
}

/* Returns the size of the file by its header, with the hash. 0: no file is that large. */
static uint64_t mtrace_load_size_(const mtrace_load_ *l) {
    const uint64_t most = (uint64_t)1 << 48; /* bytes; no sum below overflows */
    if (l->names > most || l->modules > most / MTRACE_FILE_MODULE_ ||
        l->locations > most / MTRACE_FILE_LOCATION_ || l->frames > most / MTRACE_FILE_FRAME_1_ ||
        l->rows > most / MTRACE_FILE_ROW_1_ || l->blocks > most / MTRACE_FILE_BLOCK_) {
        return 0;
    }
    return l->header_size + l->names + l->modules * MTRACE_FILE_MODULE_ +
           l->locations * MTRACE_FILE_LOCATION_ + l->frames * l->frame_size +
           l->rows * l->row_size + l->blocks * MTRACE_FILE_BLOCK_ + 8;
}

/* Reads the first bytes, the same in all versions, and finds the size of the header. */
static mtrace_result mtrace_load_version_(mtrace_load_ *l, const unsigned char *header,
                                          size_t size) {
    if (size < 8 || memcmp(header, MTRACE_FILE_MAGIC_, 8) != 0) {
        return MTRACE_ERR_NOT_SNAPSHOT;
    }
    if (size < MTRACE_FILE_HEADER_1_) {
        return MTRACE_ERR_TRUNCATED;
    }
    l->version = (uint32_t)mtrace_number_at_(header + 8, 4);
    l->header_size = l->version == 1 ? MTRACE_FILE_HEADER_1_ : MTRACE_FILE_HEADER_;
    l->frame_size = l->version == 1 ? MTRACE_FILE_FRAME_1_ : MTRACE_FILE_FRAME_;
    l->row_size = l->version == 1 ? MTRACE_FILE_ROW_1_ : MTRACE_FILE_ROW_;
    return l->version < 1 || l->version > MTRACE_FILE_VERSION_ ? MTRACE_ERR_VERSION : MTRACE_OK;
}

static mtrace_result mtrace_load_header_(mtrace_load_ *l, const unsigned char *header,
                                         uint64_t *size) {
    uint64_t flags = mtrace_number_at_(header + 12, 4);
    l->names = mtrace_number_at_(header + 24, 8);
    l->frames = mtrace_number_at_(header + 32, 8);
    l->rows = mtrace_number_at_(header + 40, 8);
    l->blocks = mtrace_number_at_(header + 48, 8);
    l->modules = l->version == 1 ? 0 : mtrace_number_at_(header + MTRACE_FILE_HEADER_1_, 8);
    l->locations = l->version == 1 ? 0 : mtrace_number_at_(header + MTRACE_FILE_HEADER_1_ + 8, 8);
    l->has_blocks = (flags & MTRACE_FILE_HAS_BLOCKS_) != 0;
    *size = mtrace_load_size_(l);
    if (!MTRACE_HOSTED_ && l->modules != 0) {
        return MTRACE_ERR_VERSION; /* bare metal has no code addresses */
    }
    if (*size == 0 || flags > MTRACE_FILE_HAS_BLOCKS_ || (l->blocks != 0 && !l->has_blocks)) {
        return MTRACE_ERR_CORRUPT;
    }
    return MTRACE_OK;
}

/* Reads `size` bytes, or fewer at the end of the file. SIZE_MAX: the read failed. */
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

/* Reads all after the header. The memory grows with the bytes that were read. */
static mtrace_result mtrace_load_read_(const mtrace_load_ *l, unsigned char **buffer, uint64_t size,
                                       mtrace_read_fn read, void *user) {
    size_t have = l->header_size, room = have, got = 0;
    while (have < size) {
        uint64_t want = size < 65536 + 2 * (uint64_t)have ? size : 65536 + 2 * (uint64_t)have;
        unsigned char *larger =
            want > SIZE_MAX / 2 ? NULL
                                : (unsigned char *)MTRACE_BASE_RESIZE_(*buffer, have, (size_t)want);
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

/* Sets the start of each part. */
static void mtrace_load_locations_(mtrace_load_ *l, const unsigned char *bytes) {
    l->bytes = bytes;
    l->name_at = bytes + l->header_size;
    l->module_at = l->name_at + l->names;
    l->location_at = l->module_at + l->modules * MTRACE_FILE_MODULE_;
    l->frame_at = l->location_at + l->locations * MTRACE_FILE_LOCATION_;
    l->row_at = l->frame_at + l->frames * l->frame_size;
    l->block_at = l->row_at + l->rows * l->row_size;
}

static mtrace_result mtrace_load_check_(mtrace_load_ *l, const unsigned char *bytes,
                                        uint64_t size) {
    size_t hashed = (size_t)size - 8;
    mtrace_load_locations_(l, bytes);
    l->text = mtrace_file_most_text_(size);
    if (XXH64(bytes, hashed, 0) != mtrace_number_at_(bytes + hashed, 8) ||
        (l->names != 0 && l->name_at[l->names - 1] != 0)) {
        return MTRACE_ERR_CORRUPT;
    }
    return MTRACE_OK;
}

/* Counts one more reference to a name. */
static void mtrace_load_text_(mtrace_load_ *l, const char *name) {
    if (l->bad || strlen(name) >= l->text) {
        l->bad = true;
        return;
    }
    l->text -= strlen(name) + 1;
}

/* A name must begin where another ends, so no two share bytes. */
static const char *mtrace_load_name_(mtrace_load_ *l, const unsigned char *at) {
    uint64_t offset = mtrace_number_at_(at, 4);
    const char *name;
    if (offset == MTRACE_FILE_NONE_) {
        return NULL;
    }
    name = (const char *)l->name_at + offset;
    if (l->bad || offset >= l->names || (offset > 0 && name[-1] != '\0')) {
        l->bad = true;
        return NULL;
    }
    mtrace_load_text_(l, name);
    return l->bad ? NULL : name;
}

/* The bytes after the build id must be 0. */
static void mtrace_load_module_(mtrace_load_ *l, const unsigned char *at, mtrace_module *module) {
    size_t i;
    module->path = mtrace_load_name_(l, at);
    module->build_id_size = (uint32_t)mtrace_number_at_(at + 4, 4);
    module->load_address = mtrace_number_at_(at + 8, 8);
    module->size = mtrace_number_at_(at + 16, 8);
    memcpy(module->build_id, at + 24, sizeof module->build_id);
    l->bad = l->bad || module->path == NULL || module->build_id_size > sizeof module->build_id;
    for (i = l->bad ? 0 : module->build_id_size; i < sizeof module->build_id; i++) {
        l->bad = l->bad || module->build_id[i] != 0;
    }
}

static void mtrace_load_modules_(mtrace_load_ *l, mtrace_module *modules) {
    uint64_t i;
    for (i = 0; i < l->modules && !l->bad; i++) {
        mtrace_load_module_(l, l->module_at + i * MTRACE_FILE_MODULE_, &modules[i]);
    }
}

/* Reads the module and the address of a location. Version 1 has neither. */
static void mtrace_load_code_(mtrace_load_ *l, const unsigned char *at,
                              const mtrace_module *modules, mtrace_frame *frame) {
    uint64_t number = l->version == 1 ? 0 : mtrace_number_at_(at, 4);
    frame->address = l->version == 1 ? 0 : mtrace_number_at_(at + 4, 8);
    l->bad = l->bad || number > l->modules;
    frame->module = l->bad || number == 0 ? NULL : &modules[number - 1];
}

/* Only a code address without a line has no file. The path of its module is shown. */
static void mtrace_load_location_(mtrace_load_ *l, const unsigned char *at,
                                  const mtrace_module *modules, mtrace_frame *frame) {
    bool is_code;
    frame->file = mtrace_load_name_(l, at);
    frame->function = mtrace_load_name_(l, at + 4);
    frame->line = (uint32_t)mtrace_number_at_(at + 8, 4);
    mtrace_load_code_(l, at + 12, modules, frame);
    is_code = mtrace_is_code_(frame);
    l->bad = l->bad || (frame->file == NULL) != is_code;
    if (is_code && frame->module != NULL) {
        mtrace_load_text_(l, frame->module->path);
    }
}

/* Returns the location of a frame. NULL: no such number. In version 1 the frame is the location. */
static const unsigned char *mtrace_load_location_at_(const mtrace_load_ *l, uint64_t frame) {
    const unsigned char *at = l->frame_at + frame * l->frame_size;
    uint64_t number = l->version == 1 ? 0 : mtrace_number_at_(at, 4);
    return l->version == 1         ? at
           : number < l->locations ? l->location_at + number * MTRACE_FILE_LOCATION_
                                   : NULL;
}

static void mtrace_load_frames_(mtrace_load_ *l, const mtrace_module *modules,
                                mtrace_frame *frames) {
    uint64_t i;
    for (i = 0; i < l->frames && !l->bad; i++) {
        const unsigned char *at = mtrace_load_location_at_(l, i);
        if (at == NULL) {
            l->bad = true;
            return;
        }
        mtrace_load_location_(l, at, modules, &frames[i]);
    }
}

/* Version 1 has the variance of live bytes. Divided by the interval it gives the same error. */
static uint64_t mtrace_load_estimated_(const mtrace_load_ *l, uint64_t value) {
    uint64_t interval = l->parts.info.sample_interval;
    return l->version > 1 ? value : interval == 0 ? 0 : value / interval;
}

static void mtrace_load_row_(mtrace_load_ *l, const unsigned char *at, mtrace_row *row) {
    int i;
    memset(row, 0, sizeof *row);
    row->traceback.count = (uint32_t)mtrace_number_at_(at, 4);
    row->traceback.total = (uint32_t)mtrace_number_at_(at + 4, 4);
    row->type = mtrace_load_name_(l, at + 8);
    row->domain_name = mtrace_load_name_(l, at + 12);
    row->domain = (uint32_t)mtrace_number_at_(at + 16, 4);
    l->bad = l->bad || mtrace_number_at_(at + 20, 4) != 0;
    for (i = 0; i < MTRACE_FILE_COUNTERS_; i++) {
        mtrace_field_set_(&mtrace_row_fields_[i], row, mtrace_number_at_(at + 24 + 8 * i, 8));
    }
    row->estimated_size = mtrace_load_estimated_(l, row->estimated_size);
}

/* Each frame belongs to one row, in order, and each row has at least one. */
static void mtrace_load_rows_(mtrace_load_ *l, const mtrace_frame *frames, mtrace_row *rows) {
    uint64_t i, used = 0;
    for (i = 0; i < l->rows && !l->bad; i++) {
        mtrace_traceback *t = &rows[i].traceback;
        mtrace_load_row_(l, l->row_at + i * l->row_size, &rows[i]);
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
        blocks[i].is_tracked = mtrace_number_at_(at + 28, 4) != 0;
        l->bad = l->bad || blocks[i].row >= l->rows || mtrace_number_at_(at + 28, 4) > 1;
    }
}

static void mtrace_load_info_(mtrace_load_ *l) {
    const unsigned char *at = l->bytes + 72;
    mtrace_info *info = &l->parts.info;
    int i;
    for (i = 0; i < MTRACE_FILE_INFOS_; i++) {
        mtrace_field_set_(&mtrace_info_fields_[i], info, mtrace_number_at_(at + 8 * i, 8));
    }
    info->lost_interned =
        l->version == 1 ? 0 : mtrace_number_at_(l->bytes + MTRACE_FILE_HEADER_1_ + 16, 8);
    l->bad = l->bad || mtrace_number_at_(at + 136, 8) > MTRACE_FILE_MAX_INTERVAL_;
}

/* The arrays of the parts, in one block of scratch memory. */
typedef struct mtrace_load_arrays_ {
    mtrace_row *rows;
    mtrace_live_block *blocks;
    mtrace_frame *frames;
    mtrace_module *modules;
} mtrace_load_arrays_;

/* Returns NULL if they do not fit. */
static void *mtrace_load_arrays_of_(const mtrace_load_ *l, mtrace_load_arrays_ *a) {
    uint64_t rows = l->rows * sizeof(mtrace_row);
    uint64_t blocks = rows + l->blocks * sizeof(mtrace_live_block);
    uint64_t frames = blocks + l->frames * sizeof(mtrace_frame);
    uint64_t modules = frames + l->modules * sizeof(mtrace_module);
    unsigned char *scratch =
        modules >= SIZE_MAX / 2 ? NULL : (unsigned char *)MTRACE_BASE_MALLOC((size_t)modules + 1);
    if (scratch != NULL) {
        a->rows = (mtrace_row *)(void *)scratch;
        a->blocks = (mtrace_live_block *)(void *)(scratch + rows);
        a->frames = (mtrace_frame *)(void *)(scratch + blocks);
        a->modules = (mtrace_module *)(void *)(scratch + frames);
    }
    return scratch;
}

static void mtrace_load_parts_(mtrace_load_ *l, const mtrace_load_arrays_ *a) {
    l->parts.rows = a->rows;
    l->parts.row_count = (size_t)l->rows;
    l->parts.blocks = a->blocks;
    l->parts.block_count = (size_t)l->blocks;
    l->parts.has_blocks = l->has_blocks;
    l->parts.modules = a->modules;
    l->parts.module_count = (size_t)l->modules;
    l->parts.names = (const char *)l->name_at;
    l->parts.name_bytes = (size_t)l->names;
    l->parts.generation = mtrace_number_at_(l->bytes + 16, 8);
    l->parts.traced_memory.current = mtrace_number_at_(l->bytes + 56, 8);
    l->parts.traced_memory.peak = mtrace_number_at_(l->bytes + 64, 8);
}

static mtrace_result mtrace_load_make_(mtrace_load_ *l, mtrace_snapshot **out,
                                       mtrace_buffer *memory) {
    mtrace_load_arrays_ a;
    void *scratch = mtrace_load_arrays_of_(l, &a);
    mtrace_result result = MTRACE_ERR_CORRUPT;
    if (scratch == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    mtrace_load_info_(l); /* rows of version 1 need the sample interval */
    mtrace_load_modules_(l, a.modules);
    mtrace_load_frames_(l, a.modules, a.frames);
    mtrace_load_rows_(l, a.frames, a.rows);
    mtrace_load_blocks_(l, a.blocks);
    if (!l->bad) {
        mtrace_load_parts_(l, &a);
        result = mtrace_snapshot_make(out, &l->parts, memory);
    }
    MTRACE_BASE_FREE(scratch);
    return result;
}

/* Reads the header of either version. Sets *size to the size of the file. */
static mtrace_result mtrace_load_begin_(mtrace_load_ *l, unsigned char *buffer, mtrace_read_fn read,
                                        void *user, uint64_t *size) {
    size_t got = mtrace_read_all_(read, user, buffer, MTRACE_FILE_HEADER_1_), rest;
    mtrace_result result = got == SIZE_MAX ? MTRACE_ERR_IO : mtrace_load_version_(l, buffer, got);
    if (result != MTRACE_OK) {
        return result;
    }
    rest = l->header_size - MTRACE_FILE_HEADER_1_;
    got = mtrace_read_all_(read, user, buffer + MTRACE_FILE_HEADER_1_, rest);
    return got == SIZE_MAX ? MTRACE_ERR_IO
           : got < rest    ? MTRACE_ERR_TRUNCATED
                           : mtrace_load_header_(l, buffer, size);
}

/* Reads the file into *buffer. After MTRACE_OK it is complete and its hash is right. */
static mtrace_result mtrace_load_bytes_(mtrace_load_ *l, unsigned char **buffer,
                                        mtrace_read_fn read, void *user) {
    unsigned char more;
    uint64_t size = 0;
    mtrace_result result = mtrace_load_begin_(l, *buffer, read, user, &size);
    if (result == MTRACE_OK) {
        result = mtrace_load_read_(l, buffer, size, read, user);
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
                                        mtrace_buffer *memory) {
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

mtrace_result mtrace_snapshot_load(mtrace_snapshot **out, const char *path, mtrace_buffer *memory) {
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

/* --- suppressions --- */

MTRACE_SHARED_(char *mtrace_suppressions_); /* the text of the last file */

/* Reads to the end of the file. The text ends with a zero byte. */
static mtrace_result mtrace_read_text_(FILE *file, char **text, size_t *size) {
    size_t room = 0, got = 0;
    do {
        char *larger = (char *)MTRACE_BASE_RESIZE_(*text, room, 2 * room + 4096);
        if (larger == NULL) {
            return MTRACE_ERR_NO_MEMORY;
        }
        *text = larger;
        room = 2 * room + 4096;
        got = mtrace_read_all_(mtrace_file_read_, file, (unsigned char *)*text + *size,
                               room - *size - 1);
        if (got == SIZE_MAX) {
            return MTRACE_ERR_IO;
        }
        *size += got;
    } while (*size == room - 1);
    (*text)[*size] = '\0';
    return MTRACE_OK;
}

/* Sets the text of a file. A zero byte would hide what is behind it. */
static mtrace_result mtrace_suppress_text_(const char *text, size_t size, uint32_t *line) {
    size_t length = strlen(text), i;
    if (length == size) {
        return mtrace_set_suppressions(text, line);
    }
    for (*line = 1, i = 0; i < length; i++) {
        *line += text[i] == '\n';
    }
    return MTRACE_ERR_ARGUMENT;
}

mtrace_result mtrace_load_suppressions(const char *path, uint32_t *line) {
    FILE *file = path == NULL ? NULL : mtrace_open_regular_(path);
    char *text = NULL, *before = mtrace_suppressions_;
    size_t size = 0;
    uint32_t number = 0;
    mtrace_result result = path == NULL   ? mtrace_set_suppressions(NULL, NULL)
                           : file == NULL ? MTRACE_ERR_IO
                                          : mtrace_read_text_(file, &text, &size);
    int error = errno;
    if (file != NULL) {
        fclose(file);
    }
    if (result == MTRACE_OK && path != NULL) {
        result = mtrace_suppress_text_(text, size, &number);
    }
    if (result == MTRACE_OK) {
        mtrace_suppressions_ = text;
    }
    MTRACE_BASE_FREE(result == MTRACE_OK ? before : text);
    if (line != NULL) {
        *line = number;
    }
    errno = error;
    return result;
}

/* ============================================================================================== */
/* [SECTION] PICKLE - Snapshot([(domain, size, ((file, line), ...), total), ...], limit)          */
/* ============================================================================================== */

/* The file is a program for a small stack machine. It first stores the traceback of each row under
   the number of the row. Then it fills a list of traces, each with a domain, a size and a stored
   traceback. The last bytes call tracemalloc.Snapshot with the list. */

/* Writes an int in the shortest opcode. */
static void mtrace_pickle_number_(mtrace_text_ *o, uint64_t value) {
    if (value <= 0xff) {
        mtrace_put_char_(o, 'K');
        mtrace_put_binary_(o, value, 1);
    } else if (value <= 0xffff) {
        mtrace_put_char_(o, 'M');
        mtrace_put_binary_(o, value, 2);
    } else if (value <= 0x7fffffff) {
        mtrace_put_char_(o, 'J');
        mtrace_put_binary_(o, value, 4);
    } else {
        mtrace_put_bytes_(o, "\x8a\x09", 2); /* a zero byte on top: never negative */
        mtrace_put_binary_(o, value, 8);
        mtrace_put_char_(o, '\0');
    }
}

/* Writes a byte that is not UTF-8 as U+DC00 + its value, as Python's os.fsdecode() reads it. */
static void mtrace_put_odd_as_python_(mtrace_text_ *t, const char *text, size_t length) {
    unsigned char wrong = (unsigned char)*text;
    if (length > 0) {
        mtrace_put_bytes_(t, text, length);
    } else {
        mtrace_put_binary_(t, 0xed | (0xb0u | wrong >> 6) << 8 | (0x80u | (wrong & 0x3fu)) << 16,
                           3);
    }
}

static void mtrace_pickle_text_(mtrace_text_ *t, const char *text) {
    static const mtrace_escapes_ python = {{NULL}, mtrace_put_odd_as_python_};
    mtrace_put_text_(t, text, strlen(text), &python);
}

/* Writes a file name. A code address is a file of its own, "module+0x1234" or "0x1234". */
static void mtrace_pickle_file_text_(mtrace_text_ *t, const mtrace_frame *frame) {
    bool is_code = mtrace_is_code_(frame);
    const char *file = is_code && frame->module == NULL ? "" : frame->file;
    mtrace_pickle_text_(t, file);
    if (is_code) {
        mtrace_put_(t, file[0] != '\0' ? "+" : "");
        mtrace_put_address_(t, frame->address);
    }
}

static void mtrace_pickle_file_(mtrace_text_ *o, const mtrace_frame *frame) {
    mtrace_text_ measured;
    mtrace_text_to_buffer_(&measured, NULL, 0);
    mtrace_pickle_file_text_(&measured, frame);
    mtrace_put_char_(o, 'X');
    mtrace_put_binary_(o, measured.length, 4);
    mtrace_pickle_file_text_(o, frame);
}

/* Stores a traceback under the number of its row, the most recent frame first. */
static void mtrace_pickle_traceback_(mtrace_text_ *o, const mtrace_traceback *t, size_t number) {
    uint32_t i;
    mtrace_put_char_(o, '(');
    for (i = t->count; i > 0; i--) {
        const mtrace_frame *frame = &t->frames[i - 1];
        mtrace_pickle_file_(o, frame);
        mtrace_pickle_number_(o, frame->line);
        mtrace_put_char_(o, '\x86');
    }
    mtrace_put_bytes_(o, "tr", 2);
    mtrace_put_binary_(o, number, 4);
    mtrace_put_char_(o, '0');
}

/* The list is filled a thousand traces at a time, so Python's stack stays small. */
typedef struct mtrace_pickle_ {
    mtrace_text_ out;
    char line[MTRACE_TEXT_LINE_];
    uint64_t traces;
} mtrace_pickle_;

static void mtrace_pickle_trace_(mtrace_pickle_ *p, const mtrace_row *row, size_t number,
                                 uint64_t size) {
    mtrace_text_ *o = &p->out;
    if (p->traces++ % 1000 == 0) {
        mtrace_put_bytes_(o, "e(", p->traces == 1 ? 0 : 2);
    }
    mtrace_put_char_(o, '(');
    mtrace_pickle_number_(o, row->domain);
    mtrace_pickle_number_(o, size);
    mtrace_put_char_(o, 'j');
    mtrace_put_binary_(o, number, 4);
    if (row->traceback.total == 0) {
        mtrace_put_char_(o, 'N');
    } else {
        mtrace_pickle_number_(o, row->traceback.total);
    }
    mtrace_put_char_(o, 't');
}

/* Makes up blocks of the average size. The last one gets the remainder. */
static void mtrace_pickle_average_(mtrace_pickle_ *p, const mtrace_snapshot_parts *parts,
                                   size_t row) {
    uint64_t size = mtrace_row_size_(&parts->rows[row], parts->view);
    uint64_t count = mtrace_row_count_(&parts->rows[row], parts->view), i;
    for (i = 1; i <= count; i++) {
        uint64_t average = size / count;
        mtrace_pickle_trace_(p, &parts->rows[row], row,
                             i < count ? average : size - average * (count - 1));
    }
}

static bool mtrace_pickle_has_blocks_(const mtrace_snapshot_parts *parts) {
    return parts->has_blocks && parts->view == MTRACE_VIEW_LIVE && parts->info.sample_interval == 0;
}

/* Counters can stand for any number of blocks. At most this many traces are made up. */
enum { MTRACE_PICKLE_MAX_ = 1 << 24 };

static bool mtrace_pickle_valid_(const mtrace_snapshot_parts *parts) {
    uint64_t sum = 0;
    size_t i;
    if (mtrace_pickle_has_blocks_(parts)) {
        return parts->block_count <= UINT32_MAX;
    }
    for (i = 0; i < parts->row_count && sum <= MTRACE_PICKLE_MAX_; i++) {
        uint64_t count = mtrace_row_count_(&parts->rows[i], parts->view);
        sum += count <= MTRACE_PICKLE_MAX_ ? count : MTRACE_PICKLE_MAX_ + 1;
    }
    return sum <= MTRACE_PICKLE_MAX_;
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
    p.traces = 0;
    mtrace_text_to_callback_(&p.out, p.line, write, user);
    mtrace_put_bytes_(&p.out,
                      "\x80\x02"
                      "ctracemalloc\nSnapshot\n]",
                      25);
    for (i = 0; i < parts.row_count; i++) {
        mtrace_pickle_traceback_(&p.out, &parts.rows[i].traceback, i);
    }
    mtrace_put_char_(&p.out, '(');
    if (mtrace_pickle_has_blocks_(&parts)) {
        for (i = 0; i < parts.block_count; i++) {
            const mtrace_live_block *block = &parts.blocks[i];
            mtrace_pickle_trace_(&p, &parts.rows[block->row], block->row, block->size);
        }
    } else {
        for (i = 0; i < parts.row_count; i++) {
            mtrace_pickle_average_(&p, &parts, i);
        }
    }
    mtrace_put_char_(&p.out, 'e');
    mtrace_pickle_number_(&p.out, parts.info.frames);
    mtrace_put_bytes_(&p.out, "\x86R.", 3);
    mtrace_text_flush_(&p.out);
    return MTRACE_OK;
}

mtrace_result mtrace_snapshot_dump_pickle(const mtrace_snapshot *snapshot, const char *path) {
    return mtrace_dump_file_(snapshot, path, mtrace_snapshot_dump_pickle_to);
}

/* ============================================================================================== */
/* [SECTION] SOURCE LINES                                                                         */
/* ============================================================================================== */

/* Returns the next character. Each kind of line end is one newline. */
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

/* Reads a line without blanks around it, cut to the buffer. False at the end of the file. */
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

bool mtrace_source_from_file(char *buffer, size_t size, const char *file, uint32_t line,
                             void *user) {
    FILE *f = file == NULL || line == 0 || size == 0 ? NULL : mtrace_open_regular_(file);
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

#endif /* FILES */

/* ============================================================================================== */
/* [CHAPTER] RECORDER - memory over time, in memory that does not grow                            */
/* ============================================================================================== */

#ifndef MTRACE_EXT_RECORDER_
#define MTRACE_EXT_RECORDER_
#undef MTRACE_HAS_
#define MTRACE_HAS_ MTRACE_HAS_RECORDER_

/* A call that has ended. */
typedef struct mtrace_recorder_span {
    uint64_t start;       /* ns, as mtrace_recorder_now() */
    uint64_t end;         /* ns */
    uint64_t start_bytes; /* bytes held at its start */
    uint64_t end_bytes;   /* bytes held at its end */
    uint32_t level;       /* of nesting in its thread, 0 outermost */
    uint32_t thread;      /* a number of your own that tells threads apart */
} mtrace_recorder_span;

/* How to record. All zero is a good default. NULL may stand for it. */
typedef struct mtrace_recorder_desc {
    uint32_t interval;          /* ms between samples of its own thread. 0: 100 */
    bool no_thread;             /* mtrace_recorder_tick() alone takes samples */
    size_t max_samples;         /* kept, 2 at least. 0: 4,096 */
    size_t max_marks;           /* kept. 0: 1,024 */
    const mtrace_filter *sites; /* at most 8, copied. The bytes of the rows that match */
    size_t site_count;
    const uint32_t *domains; /* at most 8. The bytes held in each */
    size_t domain_count;
    mtrace_write_fn write; /* gets each sample and mark at once, as lines of mprof's .dat. It must
                              not call the recorder or a profiled function, or fork. NULL: none */
    void *write_user;
} mtrace_recorder_desc;

/* The state of the recorder. */
typedef struct mtrace_recorder_info {
    bool is_on;             /* it records */
    size_t samples;         /* kept */
    uint64_t taken;         /* samples ever taken */
    size_t marks;           /* kept */
    uint64_t dropped_marks; /* lost for lack of room */
    uint64_t peak;          /* the most bytes seen held at once */
    uint64_t peak_time;     /* ns, as mtrace_recorder_now(). The first time it was seen */
    size_t memory;          /* bytes that the recorder has allocated */
} mtrace_recorder_info;

/* How a recording is written. */
typedef enum mtrace_recorder_format {
    MTRACE_RECORDER_DAT = 0,            /* for Python's mprof: mprof plot, mprof peak */
    MTRACE_RECORDER_CHROME = 1,         /* trace events (JSON): Perfetto, Qt Creator */
    MTRACE_RECORDER_CSV = 2,            /* the samples, RFC 4180 */
    MTRACE_RECORDER_SVG = 3,            /* a picture */
    MTRACE_RECORDER_PLOT = 4,           /* a picture of ASCII, 80 columns */
    MTRACE_RECORDER_SPARKLINE = 5,      /* one line, UTF-8 */
    MTRACE_RECORDER_SPARKLINE_ASCII = 6 /* one line, ASCII */
} mtrace_recorder_format;

MTRACE_OFF_BEGIN_

/* A sample has the bytes held, the most held since the previous sample, and the tracer's peak. It
   also has the resident bytes of the process, and the bytes of each chosen domain and site. The
   most since the previous sample is exact if it is the highest so far, or since the last reset of
   the peak. A lower maximum between two samples is not seen.

   When there is no room, neighbouring samples are merged in pairs, and later samples in the same
   way. A merged sample has the time and the bytes held of the later one, and the maximum of every
   other value. So no maximum is lost. When there is no room for a mark, the shorter half of the
   marks is dropped. Blocks and peaks are the tracer's. You may stop, clear and reset it during a
   recording.

   The start takes memory from MTRACE_BASE_MALLOC. By default that is 288 KiB, and 32 KiB more for
   each domain and site. With domains or sites it also takes room for a snapshot, and that grows
   with the call sites. */

/* Takes a first sample, then one each interval in a thread of its own. That thread blocks signals.
   desc NULL means all defaults. The previous recording is deleted. A child of fork() goes on
   without the thread.
   Errors: ALREADY; NOT_TRACING; NO_MEMORY; THREAD; ARGUMENT. The last is for more than 8 domains or
     sites, a filter with a field that would be ignored, 1 sample, an interval above INT32_MAX, or a
     thread with MTRACE_SINGLE_THREAD (set no_thread there). Nothing changes on an error.
   Cost: O(max_samples).
   Context: any thread; no signal handler or interrupt.
   Source: mprof run. */
MTRACE_EXT_API_ mtrace_result mtrace_recorder_start(const mtrace_recorder_desc *desc)
    MTRACE_EXT_OFF_(return MTRACE_ERR_COMPILED_OUT);

/* mtrace_recorder_stop ends the thread at once and takes a last sample. The recording can be
   written until the next start or mtrace_recorder_free, which also stops and gives the memory back.
   Each does nothing if it is done already. Stop before desc.write becomes invalid.
   Errors: none.
   Cost: O(1), and with domains or sites O(accounts x sites).
   Context: any thread, but not desc.write; no signal handler or interrupt. */
MTRACE_EXT_API_ void mtrace_recorder_stop(void) MTRACE_EXT_OFF_();
MTRACE_EXT_API_ void mtrace_recorder_free(void) MTRACE_EXT_OFF_();

/* Returns true while it records.
   Errors: none.
   Cost: O(1), one load.
   Context: any. */
MTRACE_EXT_API_ bool mtrace_recorder_is_on(void) MTRACE_EXT_OFF_(return false);

/* Returns the state of the recorder.
   Errors: zeros before the first start.
   Cost: O(samples).
   Context: any thread; no signal handler or interrupt. */
MTRACE_EXT_API_ mtrace_recorder_info mtrace_recorder_get_info(void)
    MTRACE_EXT_OFF_(mtrace_recorder_info zero = MTRACE_ZERO_; return zero);

/* Takes a sample now. Does nothing when not recording. Waits for a sample under way.
   Errors: none.
   Cost: O(1), and with domains or sites O(accounts x sites).
   Context: any thread; no signal handler or interrupt. */
MTRACE_EXT_API_ void mtrace_recorder_tick(void) MTRACE_EXT_OFF_();

/* Marks an instant ("level loaded"), or a call that has ended. The name (NULL: "") is copied, cut
   at 47 bytes. In it a control character becomes a blank and a byte that is not UTF-8 a "?". Does
   nothing when not recording. With desc.write it waits for a sample under way.
   Errors: none.
   Cost: O(1) on average.
   Context: any thread; no signal handler or interrupt. */
MTRACE_EXT_API_ void mtrace_recorder_mark(const char *name) MTRACE_EXT_OFF_();
MTRACE_EXT_API_ void mtrace_recorder_mark_span(const char *name, const mtrace_recorder_span *span)
    MTRACE_EXT_OFF_();

/* Writes the recording, also while recording. mtrace_recorder_write calls `write` line by line.
   mtrace_recorder_save writes a file, as mtrace_snapshot_dump does. Without a recording it writes
   no samples (.dat: one of 0).
   Errors: ARGUMENT (NULL, no such format); NO_MEMORY (it works on a copy, so nothing waits for
     `write`); IO.
   Cost: O(samples + marks).
   Context: any thread; no signal handler or interrupt.
   Source: mprof plot, mprof peak; RFC 4180; Chrome's Trace Event Format. */
MTRACE_EXT_API_ mtrace_result mtrace_recorder_write(mtrace_recorder_format format,
                                                    mtrace_write_fn write, void *user)
    MTRACE_EXT_OFF_(return MTRACE_ERR_COMPILED_OUT);
MTRACE_EXT_API_ mtrace_result mtrace_recorder_save(mtrace_recorder_format format, const char *path)
    MTRACE_EXT_OFF_(return MTRACE_ERR_COMPILED_OUT);

MTRACE_OFF_END_

#endif /* MTRACE_EXT_RECORDER_ */

#if defined(MTRACE_EXT_IMPLEMENTS_) && MTRACE_HAS_RECORDER_

/* ============================================================================================== */
/* [SECTION] SAMPLES AND MARKS - thinned when there is no room                                    */
/* ============================================================================================== */

/* The memory of a recording has a fixed size. When it is full, neighbouring samples are merged in
   pairs, and from then on each kept sample stands for twice as many. For example, with room for 4,
   sample 5 first merges 1 with 2 and 3 with 4. Then it is kept itself, and sample 6 is merged with
   it. After sample 8 the room is full again, with 4 pairs. A merge of all pairs costs
   O(max_samples), and the time from one to the next doubles. So a sample costs O(1) on average. */
enum {
    MTRACE_MARK_NAME_ = 48, /* bytes, with its end */
    MTRACE_MAX_SELECTED_ = 8,

    /* The words of a sample: two times, then its series. */
    MTRACE_W_TIME_ = 0,
    MTRACE_W_MAX_TIME_ = 1,
    MTRACE_W_CURRENT_ = 2,
    MTRACE_W_MAX_ = 3,
    MTRACE_W_PEAK_ = 4,
    MTRACE_W_RESIDENT_ = 5,
    MTRACE_W_SELECTED_ = 6, /* domains, then sites */
    MTRACE_MAX_WORDS_ = MTRACE_W_SELECTED_ + 2 * MTRACE_MAX_SELECTED_
};
#define MTRACE_UNKNOWN_BYTES_ UINT64_MAX

typedef struct mtrace_series_ {
    char name[MTRACE_MARK_NAME_];
    mtrace_filter filter; /* a domain's and a site's */
    bool is_named;
} mtrace_series_;

typedef struct mtrace_mark_ {
    mtrace_recorder_span span;
    bool is_span;
    char name[MTRACE_MARK_NAME_];
} mtrace_mark_;

/* The recording. Reports read a copy. */
typedef struct mtrace_recording_ {
    uint64_t *samples;
    mtrace_mark_ *marks;
    size_t sample_count;
    size_t max_samples;
    size_t mark_count;
    size_t max_marks;
    size_t memory; /* bytes of samples, marks and patterns, in one block */
    size_t words;  /* words of a sample. series[i] belongs to word i */
    size_t first_site;
    uint64_t stride;    /* samples taken for each one kept */
    uint64_t in_stride; /* and for the last one so far */
    uint64_t taken;
    uint64_t dropped_marks;
    uint64_t start;      /* ns */
    uint64_t unix_start; /* the same moment, ns since 1970 */
    mtrace_series_ series[MTRACE_MAX_WORDS_];
} mtrace_recording_;

enum { MTRACE_RECORDER_ON_ = 1, MTRACE_RECORDER_STREAMS_ = 2 };
typedef struct mtrace_recorder_memory_ {
    uint32_t state; /* 0, or these bits */
    mtrace_recording_ r;
    mtrace_write_fn write;
    void *write_user;
    mtrace_buffer snapshot; /* room for one */
    uint64_t last_peak;     /* the tracer's, at the last sample */
} mtrace_recorder_memory_;
MTRACE_SHARED_(mtrace_recorder_memory_ mtrace_recorder_);

static const char *const mtrace_series_names_[MTRACE_W_SELECTED_] = {
    "", "", "current", "highest", "peak", "resident",
};

/* Bytes of the character at this place. 0 if it is not UTF-8 or not allowed in XML. */
static size_t mtrace_character_(const char *s) {
    size_t n = mtrace_utf8_length_(s, SIZE_MAX);
    bool is_none = n == 3 && memcmp(s, "\xef\xbf", 2) == 0 && (unsigned char)s[2] > 0xbd;
    return is_none ? 0 : n;
}

/* Copies a name. Every name comes through here, so each format may trust it. */
static void mtrace_copy_name_(char *to, size_t size, const char *name) {
    const char *from = name == NULL ? "" : name;
    size_t length = 0, n;
    for (; *from != '\0'; from += n) {
        bool is_none = mtrace_character_(from) == 0;
        n = is_none ? 1 : mtrace_character_(from);
        if (length + n >= size) {
            break;
        }
        if (is_none || *from == '\t' || mtrace_is_control_(from, n)) {
            to[length++] = is_none ? '?' : ' ';
        } else {
            memcpy(to + length, from, n);
            length += n;
        }
    }
    to[length] = '\0';
}

/* --- mprof's .dat: one sample or mark at once, or all --- */

static const mtrace_escapes_ mtrace_word_ = {{" _"}, mtrace_put_odd_as_hex_};
static const mtrace_escapes_ mtrace_quote_ = {{"\"'"}, mtrace_put_odd_as_hex_};

/* "1.500000 1700000000.0000". MiB and unix time, computed in integers. */
static void mtrace_print_dat_point_(mtrace_text_ *o, const mtrace_recording_ *r, uint64_t bytes,
                                    uint64_t time) {
    uint64_t tens_of_us = (time - r->start + r->unix_start) / 100000;
    uint64_t millionths = ((bytes & 0xfffff) * 15625 + 8192) >> 14;
    mtrace_put_format_(o, "%llu.%06llu %llu.%04llu", (mtrace_u_)(bytes >> 20),
                       (mtrace_u_)millionths, (mtrace_u_)(tens_of_us / 10000),
                       (mtrace_u_)(tens_of_us % 10000));
}

static void mtrace_print_dat_memory_(mtrace_text_ *o, const mtrace_recording_ *r, uint64_t bytes,
                                     uint64_t time) {
    mtrace_put_(o, "MEM ");
    mtrace_print_dat_point_(o, r, bytes, time);
    mtrace_put_(o, "\n");
}

static void mtrace_print_dat_sample_(mtrace_text_ *o, const mtrace_recording_ *r,
                                     const uint64_t *sample) {
    if (sample[MTRACE_W_MAX_] != sample[MTRACE_W_CURRENT_]) {
        mtrace_print_dat_memory_(o, r, sample[MTRACE_W_MAX_], sample[MTRACE_W_MAX_TIME_]);
    }
    mtrace_print_dat_memory_(o, r, sample[MTRACE_W_CURRENT_], sample[MTRACE_W_TIME_]);
}

/* A span also prints its two points, because mprof peak --func needs one inside the span. mprof
   has no instants. They are lines of a kind that it ignores. */
static void mtrace_print_dat_mark_(mtrace_text_ *o, const mtrace_recording_ *r,
                                   const mtrace_mark_ *mark) {
    const mtrace_recorder_span *s = &mark->span;
    if (mark->is_span) {
        mtrace_print_dat_memory_(o, r, s->start_bytes, s->start);
        mtrace_print_dat_memory_(o, r, s->end_bytes, s->end);
    }
    mtrace_put_(o, mark->is_span ? "FUNC " : "MARK ");
    mtrace_put_text_(o, mark->name, strlen(mark->name), &mtrace_word_);
    mtrace_put_(o, " ");
    mtrace_print_dat_point_(o, r, s->start_bytes, s->start);
    if (mark->is_span) {
        mtrace_put_(o, " ");
        mtrace_print_dat_point_(o, r, s->end_bytes, s->end);
        mtrace_put_format_(o, " %lu", (unsigned long)s->level);
    }
    mtrace_put_(o, "\n");
}

/* The command line, quoted for a shell. "mtrace" if it is not known. */
static void mtrace_print_command_(mtrace_text_ *o) {
    char words[2048], word[512];
    size_t length = mtrace_read_small_("/proc/self/cmdline", words, sizeof words), at = 0;
    if (length == 0) {
        mtrace_put_(o, "mtrace");
    }
    for (; at < length; at += strlen(words + at) + 1) {
        bool quoted;
        mtrace_copy_name_(word, sizeof word, words + at);
        quoted = *word == '\0' || strpbrk(word, " \"") != NULL;
        mtrace_put_format_(o, "%s%s", at > 0 ? " " : "", quoted ? "\"" : "");
        mtrace_put_text_(o, word, strlen(word), &mtrace_quote_);
        mtrace_put_(o, quoted ? "\"" : "");
    }
}

static void mtrace_print_dat_header_(mtrace_text_ *o) {
    mtrace_put_(o, "CMDLINE ");
    mtrace_print_command_(o);
    mtrace_put_(o, "\n");
}

/* --- samples --- */

/* Takes a name that the program gave the domain later, unless another domain has that name. */
static void mtrace_learn_name_(mtrace_recording_ *r, size_t word, const mtrace_row *row) {
    size_t i;
    if (word >= r->first_site || r->series[word].is_named || row->domain_name == NULL) {
        return;
    }
    r->series[word].is_named = true;
    for (i = MTRACE_W_SELECTED_; i < r->first_site; i++) {
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
        const mtrace_row *row = &parts->rows[i];
        for (word = MTRACE_W_SELECTED_; row->size != 0 && word < r->words; word++) {
            mtrace_filters_ one;
            one.list = &r->series[word].filter;
            one.count = 1;
            if (mtrace_filters_keep_(one, row)) {
                sample[word] += row->size;
                mtrace_learn_name_(r, word, row);
            }
        }
    }
}

/* The bytes that a snapshot needs now. */
static size_t mtrace_recorder_snapshot_size_(void) {
    mtrace_buffer asked = MTRACE_ZERO_;
    mtrace_snapshot *none;
    (void)mtrace_snapshot_take(&none, false, &asked);
    return asked.size;
}

/* Takes a snapshot into the recorder's memory. That memory grows when there are more call sites
   than ever. */
static mtrace_result mtrace_recorder_snapshot_(mtrace_snapshot **snapshot) {
    mtrace_buffer *m = &mtrace_recorder_.snapshot;
    mtrace_result result = MTRACE_ERR_NO_MEMORY;
    int tries = 0;
    for (; tries < 4 && result == MTRACE_ERR_NO_MEMORY; tries++) {
        size_t size = mtrace_recorder_snapshot_size_();
        if (m->size < size || tries > 0) {
            MTRACE_BASE_FREE(m->data);
            m->size = size + size / 2;
            m->data = MTRACE_BASE_MALLOC(m->size);
            m->size = m->data == NULL ? 0 : m->size;
        }
        if (m->data == NULL) {
            return MTRACE_ERR_NO_MEMORY;
        }
        result = mtrace_snapshot_take(snapshot, false, m);
    }
    return result;
}

/* Reads the series of a sample. With domains or sites, all are of the same moment. */
static mtrace_traced_memory mtrace_recorder_read_(mtrace_recording_ *r, uint64_t *sample) {
    mtrace_snapshot *snapshot;
    mtrace_result result = MTRACE_ERR_NOT_TRACING;
    mtrace_traced_memory held;
    size_t word;
    if (r->words > MTRACE_W_SELECTED_) {
        result = mtrace_recorder_snapshot_(&snapshot);
    }
    for (word = MTRACE_W_SELECTED_; word < r->words; word++) {
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

/* Merges the previous sample into the later one. The time and the bytes held are the later one's,
   and every other value is the maximum. */
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
    r->in_stride = is_odd ? r->stride : 2 * r->stride;
    r->stride *= 2;
}

/* Appends a sample. Each kept sample stands for the same number of samples taken. The last one may
   still stand for fewer. When it does, the new sample is merged with it. */
static void mtrace_keep_sample_(mtrace_recording_ *r, uint64_t *sample) {
    if (r->in_stride == r->stride && r->sample_count == r->max_samples) {
        mtrace_thin_samples_(r);
    }
    if (r->in_stride < r->stride && r->sample_count > 0) {
        r->sample_count--;
        mtrace_merge_samples_(sample, r->samples + r->sample_count * r->words, r->words);
    } else {
        r->in_stride = 0;
    }
    memcpy(r->samples + r->sample_count * r->words, sample, r->words * sizeof *sample);
    r->sample_count++;
    r->in_stride++;
    r->taken++;
}

/* Takes a sample. `turn` is held. If the tracer's peak has changed, it was reached since the last
   sample. */
static void mtrace_sample_(void) {
    mtrace_recording_ *r = &mtrace_recorder_.r;
    uint64_t sample[MTRACE_MAX_WORDS_];
    mtrace_traced_memory held = mtrace_recorder_read_(r, sample);
    mtrace_text_ out;
    char line[MTRACE_TEXT_LINE_];
    sample[MTRACE_W_CURRENT_] = sample[MTRACE_W_MAX_] = held.current;
    if (held.peak != mtrace_recorder_.last_peak && held.peak > held.current) {
        sample[MTRACE_W_MAX_] = held.peak;
    }
    sample[MTRACE_W_PEAK_] = mtrace_recorder_.last_peak = held.peak;
    if (!mtrace_get_resident(&sample[MTRACE_W_RESIDENT_])) {
        sample[MTRACE_W_RESIDENT_] = MTRACE_UNKNOWN_BYTES_;
    }
    sample[MTRACE_W_TIME_] = sample[MTRACE_W_MAX_TIME_] = mtrace_recorder_now();
    if (mtrace_recorder_.write != NULL) {
        mtrace_text_to_callback_(&out, line, mtrace_recorder_.write, mtrace_recorder_.write_user);
        mtrace_print_dat_sample_(&out, r, sample);
    }
    mtrace_keep_sample_(r, sample);
}

static uint32_t mtrace_recorder_state_(void) {
    uint32_t state;
    mtrace_user_lock_(); /* empty where there are atomics */
    state = MTRACE_GET_ACQUIRE_(&mtrace_recorder_.state);
    mtrace_user_unlock_();
    return state;
}

static void mtrace_recorder_set_state_(uint32_t state) {
    mtrace_user_lock_();
    MTRACE_SET_RELEASE_(&mtrace_recorder_.state, state);
    mtrace_user_unlock_();
}

bool mtrace_recorder_is_on(void) {
    return mtrace_recorder_state_() != 0;
}

void mtrace_recorder_tick(void) {
    if (!mtrace_recorder_is_on()) {
        return;
    }
    mtrace_lock_(&mtrace_locks_.sample);
    if (mtrace_recorder_is_on()) {
        mtrace_sample_();
    }
    mtrace_unlock_(&mtrace_locks_.sample);
}

/* --- marks --- */

/* The length of a mark. An instant is shorter than any span. */
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

/* Drops the shorter half of the marks, and the oldest among equal ones. Finds the length that
   divides the halves bit by bit, without memory or recursion. */
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
        bool is_dropped = own < length || (own == length && equals > 0);
        equals -= own == length && equals > 0 ? 1 : 0;
        if (!is_dropped) {
            r->marks[kept++] = r->marks[i];
        }
    }
    r->dropped_marks += r->mark_count - kept;
    r->mark_count = kept;
}

static void mtrace_keep_mark_(const mtrace_mark_ *mark) {
    mtrace_recording_ *r = &mtrace_recorder_.r;
    mtrace_lock_(&mtrace_locks_.marks);
    if (mtrace_recorder_is_on()) {
        if (r->mark_count == r->max_marks) {
            mtrace_thin_marks_(r);
        }
        r->marks[r->mark_count++] = *mark;
    }
    mtrace_unlock_(&mtrace_locks_.marks);
}

/* Adds a mark. With a writer it takes the samples' lock, so that lines stay in order. */
static void mtrace_add_mark_(const mtrace_mark_ *mark) {
    mtrace_text_ out;
    char line[MTRACE_TEXT_LINE_];
    if ((mtrace_recorder_state_() & MTRACE_RECORDER_STREAMS_) == 0) {
        mtrace_keep_mark_(mark);
        return;
    }
    mtrace_lock_(&mtrace_locks_.sample);
    mtrace_keep_mark_(mark);
    if ((mtrace_recorder_state_() & MTRACE_RECORDER_STREAMS_) != 0) {
        mtrace_text_to_callback_(&out, line, mtrace_recorder_.write, mtrace_recorder_.write_user);
        mtrace_print_dat_mark_(&out, &mtrace_recorder_.r, mark);
    }
    mtrace_unlock_(&mtrace_locks_.sample);
}

void mtrace_recorder_mark_span(const char *name, const mtrace_recorder_span *span) {
    mtrace_mark_ mark = MTRACE_ZERO_;
    if (mtrace_recorder_is_on() && span != NULL) {
        mark.span = *span;
        mark.span.end = span->end < span->start ? span->start : span->end;
        mark.is_span = true;
        mtrace_copy_name_(mark.name, sizeof mark.name, name);
        mtrace_add_mark_(&mark);
    }
}

void mtrace_recorder_mark(const char *name) {
    mtrace_mark_ mark = MTRACE_ZERO_;
    if (mtrace_recorder_is_on()) {
        mark.span.start = mark.span.end = mtrace_recorder_now();
        mark.span.start_bytes = mark.span.end_bytes = mtrace_get_traced_memory().current;
        mtrace_copy_name_(mark.name, sizeof mark.name, name);
        mtrace_add_mark_(&mark);
    }
}

/* --- start, stop, state --- */

static bool mtrace_recorder_desc_valid_(const mtrace_recorder_desc *d) {
    return d->site_count <= MTRACE_MAX_SELECTED_ && d->domain_count <= MTRACE_MAX_SELECTED_ &&
           mtrace_filters_valid_(d->sites, d->site_count) &&
           (d->domain_count == 0 || d->domains != NULL) && d->max_samples != 1 &&
           d->interval <= INT32_MAX && (d->no_thread || mtrace_ticker_can_());
}

/* "file.c:12 function type". Only the parts that are set. */
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
    for (; word < MTRACE_W_SELECTED_; word++) {
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

/* Copies the filters' patterns to `to`, and returns their bytes. Without `to` it only counts. */
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
    r->stride = r->in_stride = 1;
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

/* Starts the recording. `turn` is held. */
static void mtrace_recorder_begin_(const mtrace_recorder_desc *d) {
    uint32_t streams = d->write != NULL ? MTRACE_RECORDER_STREAMS_ : 0;
    mtrace_text_ out;
    char line[MTRACE_TEXT_LINE_];
    mtrace_recorder_.write = d->write;
    mtrace_recorder_.write_user = d->write_user;
    mtrace_recorder_.last_peak = mtrace_get_traced_memory().peak; /* reached before the recording */
    mtrace_recorder_.r.start = mtrace_recorder_now();
    mtrace_recorder_.r.unix_start = mtrace_unix_now_();
    if (streams != 0) {
        mtrace_text_to_callback_(&out, line, d->write, d->write_user);
        mtrace_print_dat_header_(&out);
    }
    mtrace_sample_();
    mtrace_recorder_set_state_(MTRACE_RECORDER_ON_ | streams);
}

/* Frees the recording and the room for a snapshot, and puts new ones in their place. d NULL means
   to start nothing. */
static void mtrace_recorder_replace_(const mtrace_recording_ *r, mtrace_buffer snapshot,
                                     const mtrace_recorder_desc *d) {
    mtrace_lock_(&mtrace_locks_.sample);
    mtrace_lock_(&mtrace_locks_.marks);
    MTRACE_BASE_FREE(mtrace_recorder_.r.samples);
    MTRACE_BASE_FREE(mtrace_recorder_.snapshot.data);
    mtrace_recorder_.r = *r;
    mtrace_recorder_.snapshot = snapshot;
    mtrace_unlock_(&mtrace_locks_.marks);
    if (d != NULL) {
        mtrace_recorder_begin_(d);
    }
    mtrace_unlock_(&mtrace_locks_.sample);
}

/* Allocates everything before it changes anything. The ticker's thread has nothing to do until
   then. */
static mtrace_result mtrace_recorder_prepare_(const mtrace_recorder_desc *d) {
    mtrace_recording_ r = MTRACE_ZERO_;
    mtrace_buffer snapshot = MTRACE_ZERO_;
    mtrace_result result = mtrace_recording_make_(&r, d);
    if (result == MTRACE_OK && r.words > MTRACE_W_SELECTED_) {
        snapshot.size = mtrace_recorder_snapshot_size_() * 3 / 2;
        snapshot.data = MTRACE_BASE_MALLOC(snapshot.size);
        result = snapshot.data == NULL ? MTRACE_ERR_NO_MEMORY : MTRACE_OK;
    }
    if (result == MTRACE_OK && !d->no_thread) {
        result = mtrace_ticker_start_(d->interval != 0 ? d->interval : 100, mtrace_recorder_tick);
    }
    if (result != MTRACE_OK) {
        MTRACE_BASE_FREE(snapshot.data);
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
    if (!mtrace_recorder_desc_valid_(&d)) {
        return MTRACE_ERR_ARGUMENT;
    }
    mtrace_lock_(&mtrace_locks_.lifecycle);
    if (!mtrace_recorder_is_on()) {
        result = mtrace_get_info().capacity == 0 ? MTRACE_ERR_NOT_TRACING
                 : !mtrace_ticker_forks_()       ? MTRACE_ERR_NO_MEMORY
                                                 : mtrace_recorder_prepare_(&d);
    }
    mtrace_unlock_(&mtrace_locks_.lifecycle);
    return result;
}

/* Ends the recording. `life` is held. */
static void mtrace_recorder_end_(void) {
    if (!mtrace_recorder_is_on()) {
        return;
    }
    mtrace_ticker_stop_();
    mtrace_lock_(&mtrace_locks_.sample);
    mtrace_sample_();
    mtrace_lock_(&mtrace_locks_.marks);
    mtrace_recorder_set_state_(0);
    mtrace_unlock_(&mtrace_locks_.marks);
    mtrace_unlock_(&mtrace_locks_.sample);
}

void mtrace_recorder_stop(void) {
    mtrace_lock_(&mtrace_locks_.lifecycle);
    mtrace_recorder_end_();
    mtrace_unlock_(&mtrace_locks_.lifecycle);
}

void mtrace_recorder_free(void) {
    mtrace_recording_ nothing = MTRACE_ZERO_;
    mtrace_buffer none = MTRACE_ZERO_;
    mtrace_lock_(&mtrace_locks_.lifecycle);
    mtrace_recorder_end_();
    mtrace_recorder_replace_(&nothing, none, NULL);
    mtrace_unlock_(&mtrace_locks_.lifecycle);
}

/* The maximum of a series and its time. 0 if no value is known. */
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
    mtrace_lock_(&mtrace_locks_.sample);
    info.is_on = mtrace_recorder_is_on();
    info.samples = r->sample_count;
    info.taken = r->taken;
    info.peak = mtrace_highest_(r, MTRACE_W_MAX_, &info.peak_time);
    info.memory = r->memory + mtrace_recorder_.snapshot.size;
    mtrace_lock_(&mtrace_locks_.marks);
    info.marks = r->mark_count;
    info.dropped_marks = r->dropped_marks;
    mtrace_unlock_(&mtrace_locks_.marks);
    mtrace_unlock_(&mtrace_locks_.sample);
    return info;
}

/* memcpy must not get NULL, even for 0 bytes. */
static void mtrace_copy_bytes_(void *to, const void *from, size_t size) {
    if (size > 0) {
        memcpy(to, from, size);
    }
}

/* Copies the recording for a report. Samples wait during the copy, marks only while the marks are
   copied. False: no memory. */
static bool mtrace_recording_copy_(mtrace_recording_ *copy) {
    const mtrace_recording_ *r = &mtrace_recorder_.r;
    size_t bytes;
    uint64_t *samples;
    mtrace_lock_(&mtrace_locks_.sample);
    bytes = r->sample_count * r->words * sizeof *samples;
    samples = (uint64_t *)MTRACE_BASE_MALLOC(bytes + r->max_marks * sizeof *r->marks + 1);
    if (samples != NULL) {
        mtrace_copy_bytes_(samples, r->samples, bytes);
        mtrace_lock_(&mtrace_locks_.marks);
        *copy = *r;
        copy->samples = samples;
        copy->marks = (mtrace_mark_ *)(samples + r->sample_count * r->words);
        mtrace_copy_bytes_(copy->marks, r->marks, r->mark_count * sizeof *r->marks);
        mtrace_unlock_(&mtrace_locks_.marks);
    }
    mtrace_unlock_(&mtrace_locks_.sample);
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

/* The smallest round step, a whole number of a unit, that reaches `range` in `most` steps or
   fewer. */
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

/* value / whole * range, rounded down, for numbers of any size. */
static uint64_t mtrace_scaled_(uint64_t value, uint64_t whole, uint32_t range) {
    while (whole > UINT32_MAX) {
        whole >>= 1;
        value >>= 1;
    }
    return whole == 0 ? 0 : value * range / whole;
}

typedef char mtrace_label_[32];

static const char *mtrace_label_size_(char *label, uint64_t bytes) {
    mtrace_text_ t;
    mtrace_text_to_buffer_(&t, label, sizeof(mtrace_label_));
    mtrace_put_size_(&t, bytes);
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

static void mtrace_write_dat_(mtrace_text_ *o, const mtrace_recording_ *r) {
    size_t i;
    mtrace_print_dat_header_(o);
    if (r->sample_count == 0) { /* mprof needs one */
        mtrace_print_dat_memory_(o, r, 0, r->start);
    }
    for (i = 0; i < r->sample_count; i++) {
        mtrace_print_dat_sample_(o, r, r->samples + i * r->words);
    }
    for (i = 0; i < r->mark_count; i++) {
        mtrace_print_dat_mark_(o, r, &r->marks[i]);
    }
}

/* --- trace events of Chrome, comma-separated values --- */

enum { MTRACE_EVENT_FIELDS_ = 7, MTRACE_MARK_FIELDS_ = 3 };
static const mtrace_record_field_ mtrace_event_fields_[MTRACE_EVENT_FIELDS_] = {
    {"name", MTRACE_AS_TEXT_, 0, {0, sizeof(char *)}},
    {"ph", MTRACE_AS_TEXT_, 1, {0, sizeof(char *)}},
    {"ts", MTRACE_AS_US_, 2, MTRACE_FIELD_(mtrace_recorder_span, start)},
    {"pid", MTRACE_AS_NUMBER_, 3, {0, sizeof(uint64_t)}},
    {"tid", MTRACE_AS_NUMBER_, 2, MTRACE_FIELD_(mtrace_recorder_span, thread)},
    {"dur", MTRACE_AS_US_, 4, {0, sizeof(uint64_t)}},
    {"s", MTRACE_AS_TEXT_, 5, {0, sizeof(char *)}},
};
static const mtrace_record_field_ mtrace_mark_fields_[MTRACE_MARK_FIELDS_] = {
    {"start_bytes", MTRACE_AS_NUMBER_, 0, MTRACE_FIELD_(mtrace_recorder_span, start_bytes)},
    {"end_bytes", MTRACE_AS_NUMBER_, 0, MTRACE_FIELD_(mtrace_recorder_span, end_bytes)},
    {"bytes", MTRACE_AS_NUMBER_, 1, MTRACE_FIELD_(mtrace_recorder_span, start_bytes)},
};

/* Prints an event with its arguments. */
static void mtrace_print_event_(mtrace_text_ *o, const char *name, const char *kind,
                                const mtrace_recorder_span *s, const mtrace_record_field_ *fields,
                                size_t count, const void *const *arguments) {
    uint64_t process = mtrace_process_(), length = s->end - s->start;
    const char *scope = "p";
    const void *const parts[] = {
        &name, &kind, s, &process, *kind == 'X' ? &length : NULL, *kind == 'i' ? &scope : NULL};
    mtrace_put_(o, ",\n{");
    mtrace_put_json_(o, mtrace_event_fields_, MTRACE_EVENT_FIELDS_, parts);
    mtrace_put_(o, ",\"args\":{");
    mtrace_put_json_(o, fields, count, arguments);
    mtrace_put_(o, "}}");
}

/* A counter with the series of these words. If the first one is not known, none is. */
static void mtrace_print_counter_(mtrace_text_ *o, const mtrace_record_field_ *fields,
                                  const uint64_t *sample, const char *name, size_t i, size_t end) {
    const void *const parts[] = {NULL, sample};
    mtrace_recorder_span at = MTRACE_ZERO_;
    at.start = at.end = sample[MTRACE_W_TIME_];
    if (i < end && sample[i] != MTRACE_UNKNOWN_BYTES_) {
        mtrace_print_event_(o, name, "C", &at, fields + i, end - i, parts);
    }
}

static void mtrace_print_mark_event_(mtrace_text_ *o, const mtrace_mark_ *mark) {
    const mtrace_recorder_span *s = &mark->span;
    const void *const parts[] = {mark->is_span ? s : NULL, mark->is_span ? NULL : s};
    mtrace_print_event_(o, mark->name, mark->is_span ? "X" : "i", s, mtrace_mark_fields_,
                        MTRACE_MARK_FIELDS_, parts);
}

/* The fields of CSV, from index 1: a time, then each series at its word. Returns their number. */
static size_t mtrace_series_fields_(mtrace_record_field_ *fields, const mtrace_recording_ *r) {
    static const mtrace_record_field_ time = {"time", MTRACE_AS_SECONDS_, 0, {0, 8}};
    static const mtrace_record_field_ series = {NULL, MTRACE_AS_BYTES_, 1, {0, 8}};
    size_t word;
    fields[MTRACE_W_CURRENT_ - 1] = time;
    for (word = MTRACE_W_CURRENT_; word < r->words; word++) {
        fields[word] = series;
        fields[word].name = r->series[word].name;
        fields[word].field.offset = (uint16_t)(word * sizeof(uint64_t));
    }
    return word - 1;
}

static void mtrace_write_chrome_(mtrace_text_ *o, const mtrace_recording_ *r) {
    mtrace_record_field_ fields[MTRACE_MAX_WORDS_];
    size_t i;
    mtrace_series_fields_(fields, r);
    mtrace_put_format_(
        o,
        "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"tool\":\"mtrace\","
        "\"dropped_marks\":\"%llu\"},\n\"traceEvents\":[\n{\"name\":\"process_name\","
        "\"ph\":\"M\",\"pid\":%lu,\"tid\":0,\"args\":{\"name\":\"mtrace\"}}",
        (mtrace_u_)r->dropped_marks, mtrace_process_());
    for (i = 0; i < r->sample_count; i++) {
        const uint64_t *sample = r->samples + i * r->words;
        mtrace_print_counter_(o, fields, sample, "memory", MTRACE_W_CURRENT_, MTRACE_W_SELECTED_);
        mtrace_print_counter_(o, fields, sample, "domains", MTRACE_W_SELECTED_, r->first_site);
        mtrace_print_counter_(o, fields, sample, "sites", r->first_site, r->words);
    }
    for (i = 0; i < r->mark_count; i++) {
        mtrace_print_mark_event_(o, &r->marks[i]);
    }
    mtrace_put_(o, "\n]}\n");
}

static void mtrace_write_csv_(mtrace_text_ *o, const mtrace_recording_ *r) {
    mtrace_record_field_ fields[MTRACE_MAX_WORDS_];
    size_t i, count = mtrace_series_fields_(fields, r);
    mtrace_put_csv_(o, fields + 1, count, NULL);
    for (i = 0; i < r->sample_count; i++) {
        const uint64_t *sample = r->samples + i * r->words;
        uint64_t time = sample[MTRACE_W_TIME_] - r->start;
        const void *const parts[] = {&time, sample};
        mtrace_put_csv_(o, fields + 1, count, parts);
    }
}

/* --- pictures: time in columns of equal length --- */

enum { MTRACE_MAX_COLUMNS_ = 340 };

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
    uint64_t since = time > r->start ? time - r->start : 0; /* a call may have begun earlier */
    uint64_t column = mtrace_scaled_(since < duration ? since : duration, duration, columns);
    return column < columns ? (uint32_t)column : columns - 1;
}

/* The value of a series in each column. For `current` it is the last value, for the others the
   highest. A column without a sample repeats the previous column. For `highest` it repeats the
   value of `current`. */
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

static void mtrace_write_spark_(mtrace_text_ *o, const mtrace_recording_ *r,
                                const char *const *blocks) {
    enum { COLUMNS = 40 };
    uint64_t values[COLUMNS], time, highest = mtrace_highest_(r, MTRACE_W_MAX_, &time);
    mtrace_label_ held, peak;
    int i;
    mtrace_fill_columns_(r, MTRACE_W_MAX_, values, COLUMNS);
    mtrace_put_format_(o, "mtrace: %s ", mtrace_label_size_(held, mtrace_current_(r)));
    for (i = 0; i < COLUMNS && r->sample_count > 0; i++) {
        mtrace_put_format_(o, "%s",
                           blocks[values[i] == 0 ? 0 : mtrace_scaled_(values[i], highest, 7)]);
    }
    mtrace_put_format_(o, "%s%s peak\n", r->sample_count > 0 ? " " : "",
                       mtrace_label_size_(peak, highest));
}

static void mtrace_write_sparkline_(mtrace_text_ *o, const mtrace_recording_ *r) {
    static const char *const blocks[] = {"\xe2\x96\x81", "\xe2\x96\x82", "\xe2\x96\x83",
                                         "\xe2\x96\x84", "\xe2\x96\x85", "\xe2\x96\x86",
                                         "\xe2\x96\x87", "\xe2\x96\x88"};
    mtrace_write_spark_(o, r, blocks);
}

static void mtrace_write_sparkline_ascii_(mtrace_text_ *o, const mtrace_recording_ *r) {
    static const char *const blocks[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
    mtrace_write_spark_(o, r, blocks);
}

/* --- a picture for terminals --- */

enum { MTRACE_PLOT_COLUMNS_ = 68, MTRACE_PLOT_ROWS_ = 16 };

/* Rows from the top. '#' goes up to the bytes held, ':' up to the highest. */
static void mtrace_print_plot_rows_(mtrace_text_ *o, const mtrace_recording_ *r,
                                    mtrace_ticks_ ticks, uint32_t tick_count) {
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
        mtrace_put_format_(o, "%9s |%.*s\n", row % rows_a_tick == 0 ? label : "", (int)length,
                           line);
    }
}

/* The axis with ticks and instants, and the ticks' labels beneath it. */
static void mtrace_print_plot_axis_(mtrace_text_ *o, const mtrace_recording_ *r) {
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
    mtrace_put_format_(o, "%9s +%s\n%11s", "0 B", axis, "");
    for (n = 0; n <= duration / ticks.step; n++) {
        at = mtrace_column_(r, duration, r->start + n * ticks.step, MTRACE_PLOT_COLUMNS_);
        snprintf(label, sizeof label, "%llu%s%s", (mtrace_u_)(n * ticks.step / ticks.unit->size),
                 n == 0 ? " " : "", n == 0 ? ticks.unit->name : "");
        length = (uint32_t)strlen(label);
        at = at + length > MTRACE_PLOT_COLUMNS_ ? MTRACE_PLOT_COLUMNS_ - length : at;
        mtrace_put_format_(o, "%*s%s", (int)(at - end), "", label);
        end = at + length;
    }
    mtrace_put_(o, "\n");
}

static void mtrace_write_plot_(mtrace_text_ *o, const mtrace_recording_ *r) {
    uint64_t time, highest = mtrace_highest_(r, MTRACE_W_MAX_, &time);
    mtrace_ticks_ ticks = mtrace_ticks_for_(mtrace_byte_units_, 5, highest, 4);
    uint64_t tick_count = (highest + ticks.step - 1) / ticks.step;
    mtrace_label_ held, peak, when;
    tick_count = tick_count == 0 ? 1 : tick_count;
    mtrace_put_format_(o, "mtrace: %s held, peak %s after %s; %llu samples\n",
                       mtrace_label_size_(held, mtrace_current_(r)),
                       mtrace_label_size_(peak, highest), mtrace_label_time_(when, time - r->start),
                       (mtrace_u_)r->taken);
    mtrace_print_plot_rows_(o, r, ticks, (uint32_t)tick_count);
    mtrace_print_plot_axis_(o, r);
    mtrace_put_format_(o, "%10s # held   : the maximum in between   ^ mark", "");
    if (r->dropped_marks > 0) {
        mtrace_put_format_(o, " (%llu more dropped)", (mtrace_u_)r->dropped_marks);
    }
    mtrace_put_(o, "\n");
}

/* --- a picture --- */

/* Sizes in pixels. The names of instants are above the plot, calls beneath it, and the legend at
   its right. */
enum {
    MTRACE_SVG_WIDTH_ = 1040,
    MTRACE_SVG_LEFT_ = 84,
    MTRACE_SVG_PLOT_ = 2 * MTRACE_MAX_COLUMNS_,
    MTRACE_SVG_TALL_ = 320,
    MTRACE_SVG_LEGEND_ = MTRACE_SVG_LEFT_ + MTRACE_SVG_PLOT_ + 28,
    MTRACE_SVG_ROW_ = 20,
    MTRACE_SVG_NAME_ROWS_ = 3,
    MTRACE_SVG_MAX_THREADS_ = 8,
    MTRACE_SVG_MAX_LEVELS_ = 8
};

typedef struct mtrace_svg_ {
    mtrace_text_ *o;
    const mtrace_recording_ *r;
    uint64_t duration;
    uint64_t most;     /* bytes at the top */
    uint32_t y;        /* y of the top */
    bool has_resident; /* resident bytes fit on this scale */
    mtrace_ticks_ bytes;
    uint32_t threads[MTRACE_SVG_MAX_THREADS_]; /* the threads with calls, and their rows */
    uint32_t rows[MTRACE_SVG_MAX_THREADS_];
    uint32_t thread_count;
    size_t undrawn; /* calls without a row */
} mtrace_svg_;

static const mtrace_escapes_ mtrace_xml_ = {{"&&amp;", "<&lt;", ">&gt;", "\"&quot;"},
                                            mtrace_put_odd_as_hex_};
static const char *const mtrace_colours_[] = {"#4e79a7", "#f28e2b", "#59a14f", "#b07aa1",
                                              "#76b7b2", "#edc948", "#9c755f", "#ff9da7"};

static const char *mtrace_colour_(size_t word) {
    return mtrace_colours_[(word - MTRACE_W_SELECTED_) % 8];
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
    mtrace_put_format_(s->o, "<text x=\"%u\" y=\"%u\" class=\"%s\">", (unsigned)x, (unsigned)y,
                       style);
    mtrace_put_text_(s->o, text, strlen(text), &mtrace_xml_);
    mtrace_put_(s->o, "</text>\n");
}

/* The row of a thread's calls of this level, counted from the first. False if there is none. */
static bool mtrace_svg_row_(const mtrace_svg_ *s, const mtrace_recorder_span *span, uint32_t *row) {
    uint32_t i;
    *row = span->level;
    for (i = 0; i < s->thread_count; i++) {
        if (s->threads[i] == span->thread) {
            return span->level < MTRACE_SVG_MAX_LEVELS_;
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
        if (!mark->is_span || mark->span.level >= MTRACE_SVG_MAX_LEVELS_) {
            s->undrawn += mark->is_span ? 1 : 0;
            continue;
        }
        while (t < s->thread_count && s->threads[t] != mark->span.thread) {
            t++;
        }
        if (t == MTRACE_SVG_MAX_THREADS_) {
            s->undrawn++;
            continue;
        }
        s->thread_count += t == s->thread_count ? 1 : 0;
        s->threads[t] = mark->span.thread;
        s->rows[t] = s->rows[t] > mark->span.level ? s->rows[t] : mark->span.level + 1;
    }
}

/* Adds a domain's columns to the columns beneath it. */
static void mtrace_svg_stack_(const mtrace_recording_ *r, size_t word, uint64_t *values) {
    uint64_t own[MTRACE_MAX_COLUMNS_];
    uint32_t i;
    mtrace_fill_columns_(r, word, own, MTRACE_MAX_COLUMNS_);
    for (i = 0; i < MTRACE_MAX_COLUMNS_; i++) {
        values[i] += own[i];
    }
}

static void mtrace_svg_measure_(mtrace_svg_ *s) {
    uint64_t values[MTRACE_MAX_COLUMNS_] = MTRACE_ZERO_, time, resident;
    size_t word;
    uint32_t i;
    bool has_instants = false;
    s->duration = mtrace_duration_(s->r);
    s->most = mtrace_highest_(s->r, MTRACE_W_MAX_, &time);
    for (word = MTRACE_W_SELECTED_; word < s->r->first_site; word++) {
        mtrace_svg_stack_(s->r, word, values);
    }
    for (i = 0; i < MTRACE_MAX_COLUMNS_; i++) {
        s->most = s->most > values[i] ? s->most : values[i];
    }
    resident = mtrace_highest_(s->r, MTRACE_W_RESIDENT_, &time);
    s->has_resident = resident > 0 && resident / 2 <= s->most;
    s->most = s->has_resident && resident > s->most ? resident : s->most;
    s->bytes = mtrace_ticks_for_(mtrace_byte_units_, 5, s->most, 6);
    s->most = (s->most / s->bytes.step + 1) * s->bytes.step; /* some space above */
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

static void mtrace_svg_header_(const mtrace_svg_ *s) {
    uint64_t time, highest = mtrace_highest_(s->r, MTRACE_W_MAX_, &time);
    unsigned height = mtrace_svg_height_(s);
    mtrace_label_ a, b;
    char text[128];
    mtrace_put_format_(s->o,
                       "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %u\" "
                       "font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" "
                       "font-size=\"12\">\n",
                       MTRACE_SVG_WIDTH_, height);
    mtrace_put_format_(s->o,
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
        mtrace_put_format_(s->o, "<path d=\"M%d %uH%u\" stroke=\"%s\"/>\n", MTRACE_SVG_LEFT_, at,
                           right, n == 0 ? "#444" : "#e4e4e4");
        snprintf(label, sizeof label, "%llu %s",
                 (mtrace_u_)(n * s->bytes.step / s->bytes.unit->size), s->bytes.unit->name);
        mtrace_svg_text_(s, MTRACE_SVG_LEFT_ - 8, at + 4, "e", label);
    }
    for (n = 0; n <= s->duration / ticks.step; n++) {
        at = mtrace_svg_x_(s, s->r->start + n * ticks.step);
        mtrace_put_format_(s->o, "<path d=\"M%u %uv5\" stroke=\"#444\"/>\n", at, bottom);
        snprintf(label, sizeof label, "%llu %s", (mtrace_u_)(n * ticks.step / ticks.unit->size),
                 ticks.unit->name);
        mtrace_svg_text_(s, at, bottom + 19, "m", label);
    }
}

/* Prints a line of steps. Its last y is in *last_y. */
static void mtrace_svg_steps_(const mtrace_svg_ *s, const uint64_t *values, uint32_t *last_y) {
    uint32_t i;
    for (i = 0; i < MTRACE_MAX_COLUMNS_; i++) {
        uint32_t y = mtrace_svg_y_(s, values[i]);
        if (i == 0) {
            mtrace_put_format_(s->o, "M%d %u", MTRACE_SVG_LEFT_, (unsigned)y);
        } else if (y != *last_y) {
            mtrace_put_format_(s->o, "H%uV%u", (unsigned)(MTRACE_SVG_LEFT_ + 2 * i), (unsigned)y);
        }
        *last_y = y;
    }
    mtrace_put_format_(s->o, "H%d", MTRACE_SVG_LEFT_ + MTRACE_SVG_PLOT_);
}

static void mtrace_svg_line_(const mtrace_svg_ *s, const uint64_t *values, const char *style) {
    uint32_t y;
    mtrace_put_format_(s->o, "<path fill=\"none\" %s d=\"", style);
    mtrace_svg_steps_(s, values, &y);
    mtrace_put_(s->o, "\"/>\n");
}

/* Draws an area down to the axis. A later area covers the lower part of an earlier one. */
static void mtrace_svg_area_(const mtrace_svg_ *s, const uint64_t *values, const char *colour) {
    uint32_t y;
    mtrace_put_format_(s->o, "<path fill=\"%s\" d=\"", colour);
    mtrace_svg_steps_(s, values, &y);
    mtrace_put_format_(s->o, "V%uH%dZ\"/>\n", (unsigned)(s->y + MTRACE_SVG_TALL_),
                       MTRACE_SVG_LEFT_);
}

/* Draws the sum of all domains first, then the sum without the last domain, and so on. */
static void mtrace_svg_areas_(const mtrace_svg_ *s) {
    uint64_t values[MTRACE_MAX_COLUMNS_];
    size_t end, word;
    mtrace_fill_columns_(s->r, MTRACE_W_CURRENT_, values, MTRACE_MAX_COLUMNS_);
    mtrace_svg_area_(s, values, "#e3e9ef");
    for (end = s->r->first_site; end > MTRACE_W_SELECTED_; end--) {
        memset(values, 0, sizeof values);
        for (word = MTRACE_W_SELECTED_; word < end; word++) {
            mtrace_svg_stack_(s->r, word, values);
        }
        mtrace_svg_area_(s, values, mtrace_colour_(end - 1));
    }
}

static const char *const mtrace_svg_styles_[MTRACE_W_SELECTED_] = {
    "",
    "",
    "stroke=\"#222\" stroke-width=\"1.5\"",
    "stroke=\"#d62728\"",
    "",
    "stroke=\"#888\" stroke-dasharray=\"6 3\"",
};

static void mtrace_svg_lines_(const mtrace_svg_ *s) {
    static const uint8_t order[] = {MTRACE_W_RESIDENT_, MTRACE_W_MAX_, MTRACE_W_CURRENT_};
    uint64_t values[MTRACE_MAX_COLUMNS_];
    char style[64];
    size_t i;
    for (i = s->has_resident ? 0 : 1; i < sizeof order; i++) {
        mtrace_fill_columns_(s->r, order[i], values, MTRACE_MAX_COLUMNS_);
        mtrace_svg_line_(s, values, mtrace_svg_styles_[order[i]]);
    }
    for (i = s->r->first_site; i < s->r->words; i++) {
        mtrace_fill_columns_(s->r, i, values, MTRACE_MAX_COLUMNS_);
        snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"2\" stroke-dasharray=\"2 2\"",
                 mtrace_colour_(i));
        mtrace_svg_line_(s, values, style);
    }
}

/* Counts characters. Every byte begins one, except the continuation bytes of UTF-8. */
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
            snprintf(p, 3, ".."); /* it fits, because names are cut shorter */
            return;
        }
    }
}

/* One row of the legend, with the series' style, name and maximum. */
static void mtrace_svg_legend_row_(const mtrace_svg_ *s, size_t word, unsigned y) {
    uint64_t time, highest = mtrace_highest_(s->r, word, &time);
    bool is_area = word >= MTRACE_W_SELECTED_ && word < s->r->first_site;
    bool is_site = word >= s->r->first_site;
    bool is_off = word == MTRACE_W_RESIDENT_ && !s->has_resident;
    char text[MTRACE_MARK_NAME_ + 16];
    mtrace_label_ label;
    if (is_area) {
        mtrace_put_format_(s->o,
                           "<rect x=\"%d\" y=\"%u\" width=\"16\" height=\"10\" fill=\"%s\"/>\n",
                           MTRACE_SVG_LEGEND_, y - 9, mtrace_colour_(word));
    } else if (!is_off) {
        mtrace_put_format_(s->o, "<path d=\"M%d %uh16\" %s%s%s/>\n", MTRACE_SVG_LEGEND_, y - 4,
                           is_site ? "stroke-width=\"2\" stroke-dasharray=\"2 2\" stroke=\"" : "",
                           is_site ? mtrace_colour_(word) : mtrace_svg_styles_[word],
                           is_site ? "\"" : "");
    }
    snprintf(text, sizeof text, "%s%s", s->r->series[word].name, is_off ? " (off scale)" : "");
    mtrace_svg_cut_(text, 20);
    mtrace_svg_text_(s, MTRACE_SVG_LEGEND_ + 24, y, "t", text);
    if (word != MTRACE_W_CURRENT_) { /* merged samples have only its last value */
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

/* A name in the first row that has room, and a vertical line. Without room, only a short line. */
static void mtrace_svg_instant_(const mtrace_svg_ *s, const mtrace_mark_ *mark, uint32_t *ends) {
    unsigned x = mtrace_svg_x_(s, mark->span.start), row = 0, name_x;
    unsigned width = 8 + 7 * (unsigned)mtrace_svg_characters_(mark->name);
    name_x = x + width > MTRACE_SVG_WIDTH_ ? MTRACE_SVG_WIDTH_ - width : x;
    while (row < MTRACE_SVG_NAME_ROWS_ && name_x < ends[row]) {
        row++;
    }
    mtrace_put_format_(s->o,
                       "<path d=\"M%u %uv%d\" stroke=\"#8a2be2\" stroke-opacity=\".5\" "
                       "stroke-dasharray=\"4 3\"/>\n",
                       x, (unsigned)s->y - 4,
                       row < MTRACE_SVG_NAME_ROWS_ ? MTRACE_SVG_TALL_ + 4 : 8);
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

/* A bracket over the time of the call. Its name is inside where there is room. */
static void mtrace_svg_call_(const mtrace_svg_ *s, const mtrace_mark_ *mark, uint32_t row) {
    unsigned x = mtrace_svg_x_(s, mark->span.start), end = mtrace_svg_x_(s, mark->span.end);
    unsigned y = s->y + MTRACE_SVG_TALL_ + 40 + row * MTRACE_SVG_ROW_;
    unsigned width = end > x ? end - x : 1, bracket = width > 8 ? 4 : width / 2;
    mtrace_label_ time;
    mtrace_put_(s->o, "<g><title>");
    mtrace_put_text_(s->o, mark->name, strlen(mark->name), &mtrace_xml_);
    mtrace_put_format_(s->o, ": %s, ", mtrace_label_time_(time, mark->span.end - mark->span.start));
    mtrace_put_size_diff_(s->o, (int64_t)(mark->span.end_bytes - mark->span.start_bytes));
    mtrace_put_(s->o, "</title>");
    mtrace_put_format_(
        s->o, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"16\" fill=\"#d7e6f4\"/>", x, y, width);
    mtrace_put_format_(s->o,
                       "<path d=\"M%u %uH%uv16h%uM%u %uh%uv16h-%u\" fill=\"none\" "
                       "stroke=\"#3b75af\"/>",
                       x + bracket, y, x, bracket, x + width - bracket, y, bracket, bracket);
    if (width >= 10 + 7 * mtrace_svg_characters_(mark->name)) {
        mtrace_svg_text_(s, x + 6, y + 12, "c", mark->name);
    }
    mtrace_put_(s->o, "</g>\n");
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

static void mtrace_write_svg_(mtrace_text_ *o, const mtrace_recording_ *r) {
    mtrace_svg_ s = MTRACE_ZERO_;
    s.o = o;
    s.r = r;
    mtrace_svg_measure_(&s);
    mtrace_svg_header_(&s);
    mtrace_svg_areas_(&s);
    mtrace_svg_axes_(&s);
    mtrace_svg_lines_(&s);
    mtrace_svg_instants_(&s);
    mtrace_svg_calls_(&s);
    mtrace_svg_legend_(&s);
    mtrace_put_(o, "</svg>\n");
}

/* --- choice of format --- */

typedef void (*mtrace_recorder_fn_)(mtrace_text_ *o, const mtrace_recording_ *r);
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
    mtrace_text_ out;
    char line[MTRACE_TEXT_LINE_];
    if (write == NULL || (size_t)format >= count) {
        return MTRACE_ERR_ARGUMENT;
    }
    if (!mtrace_recording_copy_(&copy)) {
        return MTRACE_ERR_NO_MEMORY;
    }
    mtrace_text_to_callback_(&out, line, write, user);
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
    result = mtrace_file_open_(&f, path, false);
    return result != MTRACE_OK
               ? result
               : mtrace_file_close_(&f, mtrace_recorder_write(format, mtrace_file_write_, &f));
}

#endif /* RECORDER */

/* ============================================================================================== */
/* [CHAPTER] CODE NAMES - functions, files and lines of code addresses                            */
/* ============================================================================================== */

#ifndef MTRACE_EXT_CODE_NAMES_
#define MTRACE_EXT_CODE_NAMES_
#undef MTRACE_HAS_
#define MTRACE_HAS_ MTRACE_HAS_CODE_NAMES_

/* Where the names come from. All zero: from this machine. NULL may stand for it. */
typedef struct mtrace_resolve_desc {
    const char *root;    /* a folder with the files of another machine. Under it a module is looked
                          for by its path, then by its file's name alone. NULL: this machine */
    const char *debug;   /* a folder of separate debug files: .build-id/ab/cdef.debug is in it.
                          NULL: /usr/lib/debug alone, under `root` */
    const char *tool;    /* a program with the options and the output of addr2line, of a cross
                          compiler for example. NULL: addr2line and llvm-addr2line from PATH, and
                          for firmware arm-none-eabi-addr2line and riscv64-unknown-elf-addr2line.
                          "": none, so no lines */
    uint32_t timeout_ms; /* for these programs, in all. 0: 20,000 */
    mtrace_write_fn write; /* gets a line for each module without names. NULL: nobody does */
    void *write_user;
    const char *image; /* the ELF file of a program without modules: firmware (pc:0x8004d85), or a
                          program started without an unwinder, unless the system moved it. NULL:
                          such addresses stay */
} mtrace_resolve_desc;

MTRACE_OFF_BEGIN_

/* Makes a new snapshot: its code gets functions, files and lines. An address is one frame or, if
   functions were inlined there, several; all keep its module and address. Lines come from addr2line
   or llvm-addr2line, and need -g. Without lines a function's name is that of the symbol around the
   address. C++ and Rust names are demangled by these programs, or by the C++ library if the program
   has it. A file is read only if it is the module's: by build id, or by its size in memory for a
   module without one. Then separate debug files are found by build id, too. What is not found
   stays as it is, and the call succeeds. A new snapshot keeps skip patterns and the view.

   With desc->image, addresses of no module become addresses of that file, if they lie in what it
   loads. They are taken for return addresses: their frame is the instruction before, and on ARM the
   lowest bit tells the instruction set. Nothing can tell whether it is the image that ran.

   Reports of the running tracer (mtrace_print and its shorthands, mtrace_growth, the checks of
   blocks, the console's `who`, files of MTRACE_REPORT) do this by themselves, if the tracer was
   started with an unwinder of mtrace_ext.h. They remember each answer, so an address is looked up
   once. Before a dump that another build will be
   compared with, call this: that build has other addresses.

   The programs run without a shell, without the environment's LD_PRELOAD, LD_AUDIT and MTRACE...,
   and with raised privileges from /usr/bin, without any environment.
   Errors: ARGUMENT (out or snapshot NULL), NO_MEMORY, IO (the image cannot be read; errno is
     ENOEXEC if it is no ELF file). *out is then NULL.
   Cost: O(frames log frames + symbols), and a run of addr2line for 1,000 addresses of a module.
   Context: any thread; no signal handler or interrupt. */
MTRACE_EXT_API_ mtrace_result mtrace_snapshot_resolve(mtrace_snapshot **out,
                                                      const mtrace_snapshot *snapshot,
                                                      const mtrace_resolve_desc *desc)
    MTRACE_EXT_OFF_(*out = MTRACE_NULL_; return MTRACE_ERR_COMPILED_OUT);

MTRACE_OFF_END_

#endif /* MTRACE_EXT_CODE_NAMES_ */

#if defined(MTRACE_EXT_IMPLEMENTS_) && (MTRACE_HAS_CODE_NAMES_ || MTRACE_HAS_PROFILE_)

/* ============================================================================================== */
/* [SECTION] ADDRESS BOOK - code addresses, and what is known about them                          */
/* ============================================================================================== */

/* Names are found in a *book*. First it gets the addresses. Then each module is asked about its own
   ones, all at once. The memory is the system's: a program that hooks malloc() would else find
   blocks of a report in the report. */

/* Memory that grows, and moves when it does. */
typedef struct mtrace_pool_ {
    char *data;
    size_t used;
    size_t room;
} mtrace_pool_;

static void mtrace_pool_free_(mtrace_pool_ *p) {
    if (p->data != NULL) {
        mtrace_system_free_(p->data, p->room);
    }
}

/* Room for `size` bytes behind the used ones. NULL: there is no memory, or it would be more than
   1 GiB. */
static char *mtrace_pool_extend_(mtrace_pool_ *p, size_t size) {
    mtrace_pool_ more = *p;
    if (size > ((size_t)1 << 30) - p->used) {
        return NULL;
    }
    if (size > p->room - p->used || p->data == NULL) {
        for (more.room = p->room == 0 ? 65536 : p->room; more.room - p->used < size;) {
            more.room *= 2;
        }
        more.data = (char *)mtrace_system_alloc_(more.room);
        if (more.data == NULL) {
            return NULL;
        }
        if (p->used != 0) {
            memcpy(more.data, p->data, p->used);
        }
        mtrace_pool_free_(p);
        *p = more;
    }
    return p->data + p->used;
}

static char *mtrace_pool_add_(mtrace_pool_ *p, const void *bytes, size_t size) {
    char *at = mtrace_pool_extend_(p, size);
    if (at != NULL && size != 0) {
        memcpy(at, bytes, size);
        p->used += size;
    }
    return at;
}

/* A function, and the code inlined there. Names are offsets in the book's text, 0 if not known. */
typedef struct mtrace_named_ {
    uint32_t file;
    uint32_t function;
    uint32_t line;
} mtrace_named_;

typedef struct mtrace_place_ {
    uint64_t module;  /* see mtrace_module_key_ */
    uint64_t address; /* in its file */
    uint64_t start;   /* of the symbol around it */
    uint32_t symbol;  /* its name: first an offset in the file, then in the book. 0: none */
    uint32_t first;   /* of its frames, innermost first */
    uint32_t count;   /* 0: no line is known */
    uint8_t binding;  /* of the symbol */
    bool asked;
} mtrace_place_;

typedef struct mtrace_book_ {
    mtrace_pool_ places; /* sorted by module and address, after mtrace_book_sort_ */
    mtrace_pool_ frames;
    mtrace_pool_ text;
    uint32_t recent[256]; /* names put last, by hash: most come again soon */
    bool is_full;         /* it lacks names for want of memory */
} mtrace_book_;

static void mtrace_book_free_(mtrace_book_ *b) {
    mtrace_pool_free_(&b->places);
    mtrace_pool_free_(&b->frames);
    mtrace_pool_free_(&b->text);
}

/* Modules of one key are one file. */
static uint64_t mtrace_module_key_(const mtrace_module *module) {
    return module->build_id_size != 0 ? XXH64(module->build_id, module->build_id_size, 0)
                                      : XXH64(module->path, strlen(module->path), module->size);
}

static uint32_t mtrace_book_name_(mtrace_book_ *b, const char *name, size_t length) {
    uint32_t *recent = &b->recent[XXH64(name, length, 0) % 256];
    if (length == 0 || (*recent != 0 && strlen(b->text.data + *recent) == length &&
                        memcmp(b->text.data + *recent, name, length) == 0)) {
        return length == 0 ? 0 : *recent;
    }
    b->text.used += b->text.used == 0 && mtrace_pool_extend_(&b->text, 1) != NULL; /* a zero byte */
    if (mtrace_pool_extend_(&b->text, length + 1) == NULL) {
        b->is_full = true;
        return 0;
    }
    *recent = (uint32_t)b->text.used;
    mtrace_pool_add_(&b->text, name, length);
    b->text.data[b->text.used++] = '\0';
    return *recent;
}

static mtrace_place_ *mtrace_book_places_(const mtrace_book_ *b, size_t *count) {
    *count = b->places.used / sizeof(mtrace_place_);
    return (mtrace_place_ *)(void *)b->places.data;
}

/* By module and address. Of equal ones the one that was asked comes first. */
static int mtrace_place_compare_(const void *one, const void *other) {
    const mtrace_place_ *a = (const mtrace_place_ *)one, *b = (const mtrace_place_ *)other;
    return a->module != b->module     ? (a->module < b->module ? -1 : 1)
           : a->address != b->address ? (a->address < b->address ? -1 : 1)
                                      : b->asked - a->asked;
}

static void mtrace_book_sort_(mtrace_book_ *b) {
    size_t count, i, kept = 0;
    mtrace_place_ *places = mtrace_book_places_(b, &count);
    if (count != 0) {
        qsort(places, count, sizeof *places, mtrace_place_compare_);
    }
    for (i = 0; i < count; i++) {
        if (kept == 0 || places[kept - 1].module != places[i].module ||
            places[kept - 1].address != places[i].address) {
            places[kept++] = places[i];
        }
    }
    b->places.used = kept * sizeof *places;
}

/* The number of the first place that is not before this one. */
static size_t mtrace_book_find_(const mtrace_book_ *b, uint64_t module, uint64_t address) {
    size_t count, low = 0;
    const mtrace_place_ *places = mtrace_book_places_(b, &count);
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        bool before = places[middle].module != module ? places[middle].module < module
                                                      : places[middle].address < address;
        low = before ? middle + 1 : low;
        count = before ? count : middle;
    }
    return low;
}

/* Adds an address. Many come several times, so before the pool grows it is sorted. */
static bool mtrace_book_add_(mtrace_book_ *b, uint64_t module, uint64_t address) {
    mtrace_place_ place = MTRACE_ZERO_;
    size_t more = 0;
    place.module = module;
    place.address = address;
    if (b->places.room - b->places.used < sizeof place) {
        mtrace_book_sort_(b);
        more = b->places.room / 2;
    }
    if (mtrace_pool_extend_(&b->places, more + sizeof place) == NULL) {
        b->is_full = true;
        return false;
    }
    return mtrace_pool_add_(&b->places, &place, sizeof place) != NULL;
}

/* ============================================================================================== */
/* [SECTION] OBJECT FILES - build id, symbols and image size of ELF files of any machine          */
/* ============================================================================================== */

/* Numbers in the file are not trusted. Each read is checked against the file's size. */
enum {
    MTRACE_SHT_SYMTAB_ = 2,
    MTRACE_SHT_NOTE_ = 7,
    MTRACE_SHT_NOBITS_ = 8,
    MTRACE_SHT_DYNSYM_ = 11,
    MTRACE_STT_FUNC_ = 2,
    MTRACE_STT_IFUNC_ = 10,
    MTRACE_STB_WEAK_ = 2,
    MTRACE_EM_ARM_ = 40,
    MTRACE_EM_RISCV_ = 243,
    MTRACE_NAME_MAX_ = 4096
};

typedef struct mtrace_elf_section_ {
    uint64_t offset;
    uint64_t size;
    uint64_t element;
    uint32_t name;
    uint32_t type;
    uint32_t link;
} mtrace_elf_section_;

/* The table of sections, or of segments. */
typedef struct mtrace_elf_table_ {
    uint64_t offset;
    uint64_t count;
    uint32_t element;
} mtrace_elf_table_;

typedef struct mtrace_object_ {
    FILE *file; /* NULL: none */
    uint64_t size;
    uint64_t image; /* bytes in memory */
    uint64_t align; /* of its segments */
    mtrace_elf_table_ segments;
    mtrace_elf_section_ symbols, strings;
    uint32_t machine;
    uint32_t build_id_size;
    unsigned char build_id[32];
    bool is_wide; /* 64 bits */
    bool is_big;  /* the first byte of a number is the highest */
    bool has_lines;
    bool has_link; /* the name of a file with lines, for addr2line */
    char path[MTRACE_NAME_MAX_];
    char name[MTRACE_NAME_MAX_]; /* what was read last */
} mtrace_object_;

static bool mtrace_object_read_(const mtrace_object_ *o, uint64_t at, void *to, size_t size) {
    return at <= o->size && size <= o->size - at && fseek(o->file, (long)at, SEEK_SET) == 0 &&
           fread(to, 1, size, o->file) == size;
}

static uint64_t mtrace_object_number_(const mtrace_object_ *o, const unsigned char *at,
                                      size_t bytes) {
    uint64_t value = 0;
    size_t i;
    for (i = 0; i < bytes; i++) {
        value = value << 8 | at[o->is_big ? i : bytes - 1 - i];
    }
    return value;
}

/* A number of 4 bytes in 32-bit files and of 8 in 64-bit ones. */
static uint64_t mtrace_object_word_(const mtrace_object_ *o, const unsigned char *at, size_t narrow,
                                    size_t wide) {
    return o->is_wide ? mtrace_object_number_(o, at + wide, 8)
                      : mtrace_object_number_(o, at + narrow, 4);
}

static bool mtrace_section_read_(const mtrace_object_ *o, const mtrace_elf_table_ *table,
                                 uint64_t number, mtrace_elf_section_ *out) {
    unsigned char bytes[64];
    size_t size = o->is_wide ? 64 : 40;
    if (number >= table->count || table->element < size ||
        !mtrace_object_read_(o, table->offset + number * table->element, bytes, size)) {
        return false;
    }
    out->name = (uint32_t)mtrace_object_number_(o, bytes, 4);
    out->type = (uint32_t)mtrace_object_number_(o, bytes + 4, 4);
    out->offset = mtrace_object_word_(o, bytes, 16, 24);
    out->size = mtrace_object_word_(o, bytes, 20, 32);
    out->link = (uint32_t)mtrace_object_number_(o, bytes + (o->is_wide ? 40 : 24), 4);
    out->element = mtrace_object_word_(o, bytes, 36, 56);
    return out->type == MTRACE_SHT_NOBITS_ || (out->offset <= o->size && out->size <= o->size);
}

/* The build id among notes. */
static void mtrace_object_notes_(mtrace_object_ *o, uint64_t at, uint64_t size) {
    const uint32_t gnu_build_id = 3;
    unsigned char note[16];
    uint64_t end = at + size;
    while (at < end && end - at >= sizeof note && mtrace_object_read_(o, at, note, sizeof note)) {
        uint64_t name = mtrace_object_number_(o, note, 4);
        uint64_t text = mtrace_object_number_(o, note + 4, 4);
        uint64_t begin = at + 12 + (name + 3) / 4 * 4;
        if (name == 4 && memcmp(note + 12, "GNU", 4) == 0 && text <= sizeof o->build_id &&
            mtrace_object_number_(o, note + 8, 4) == gnu_build_id && begin + text <= end &&
            mtrace_object_read_(o, begin, o->build_id, (size_t)text)) {
            o->build_id_size = (uint32_t)text;
            return;
        }
        at = begin + (text + 3) / 4 * 4;
    }
}

/* Reads the head of a segment, of 56 bytes at most. False: there is none with this number. */
static bool mtrace_segment_read_(const mtrace_object_ *o, uint64_t number, unsigned char *bytes) {
    size_t size = o->is_wide ? 56 : 32;
    return number < o->segments.count && o->segments.element >= size &&
           mtrace_object_read_(o, o->segments.offset + number * o->segments.element, bytes, size);
}

enum { MTRACE_PT_LOAD_ = 1 };

static void mtrace_object_segments_(mtrace_object_ *o) {
    const uint32_t note = 4;
    uint64_t low = UINT64_MAX, high = 0, i;
    unsigned char bytes[56];
    for (i = 0; mtrace_segment_read_(o, i, bytes); i++) {
        uint64_t type = mtrace_object_number_(o, bytes, 4);
        uint64_t start = mtrace_object_word_(o, bytes, 8, 16);
        uint64_t length = mtrace_object_word_(o, bytes, 20, 40);
        if (type == MTRACE_PT_LOAD_) {
            uint64_t align = mtrace_object_word_(o, bytes, 28, 48);
            low = start < low ? start : low;
            high = start + length > high ? start + length : high;
            o->align = align > o->align ? align : o->align;
        } else if (type == note && o->build_id_size == 0) {
            mtrace_object_notes_(o, mtrace_object_word_(o, bytes, 4, 8),
                                 mtrace_object_word_(o, bytes, 16, 32));
        }
    }
    o->image = high > low ? high - low : 0;
}

/* Sections that lead addr2line to lines. */
static bool mtrace_section_has_lines_(const char *name) {
    return strcmp(name, ".debug_info") == 0 || strcmp(name, ".zdebug_info") == 0 ||
           strcmp(name, ".debug_line") == 0;
}

static void mtrace_object_sections_(mtrace_object_ *o, mtrace_elf_table_ *table, uint64_t names) {
    mtrace_elf_section_ section, text;
    char name[20];
    uint64_t i;
    if (!mtrace_section_read_(o, table, names, &text)) {
        return;
    }
    for (i = 1; i < table->count && mtrace_section_read_(o, table, i, &section); i++) {
        memset(name, 0, sizeof name);
        if (section.type == MTRACE_SHT_NOBITS_) {
            continue;
        }
        if (section.type == MTRACE_SHT_NOTE_ && o->build_id_size == 0) {
            mtrace_object_notes_(o, section.offset, section.size);
        }
        if (section.type == MTRACE_SHT_SYMTAB_ ||
            (section.type == MTRACE_SHT_DYNSYM_ && o->symbols.type == 0)) {
            o->symbols = section;
        }
        if (mtrace_object_read_(o, text.offset + section.name, name, sizeof name - 1)) {
            o->has_lines = o->has_lines || mtrace_section_has_lines_(name);
            o->has_link = o->has_link || strcmp(name, ".gnu_debuglink") == 0;
        }
    }
    if (!mtrace_section_read_(o, table, o->symbols.link, &o->strings)) {
        o->symbols.type = 0;
    }
}

/* Reads the head of the file. More than 65,279 sections, and their number stands in the first. */
static bool mtrace_object_head_(mtrace_object_ *o) {
    unsigned char head[64];
    mtrace_elf_table_ sections;
    mtrace_elf_section_ first;
    const unsigned char *sizes;
    uint64_t names;
    if (!mtrace_object_read_(o, 0, head, 52) || memcmp(head, "\177ELF", 4) != 0 || head[4] < 1 ||
        head[4] > 2 || head[5] < 1 || head[5] > 2) {
        return false;
    }
    o->is_wide = head[4] == 2;
    o->is_big = head[5] == 2;
    if (o->is_wide && !mtrace_object_read_(o, 0, head, 64)) {
        return false;
    }
    sizes = head + (o->is_wide ? 54 : 42);
    o->machine = (uint32_t)mtrace_object_number_(o, head + 18, 2);
    o->segments.offset = mtrace_object_word_(o, head, 28, 32);
    o->segments.element = (uint32_t)mtrace_object_number_(o, sizes, 2);
    o->segments.count = mtrace_object_number_(o, sizes + 2, 2);
    sections.offset = mtrace_object_word_(o, head, 32, 40);
    sections.element = (uint32_t)mtrace_object_number_(o, sizes + 4, 2);
    sections.count = mtrace_object_number_(o, sizes + 6, 2);
    names = mtrace_object_number_(o, sizes + 8, 2);
    if (sections.offset != 0 && (sections.count == 0 || names == 0xffff)) {
        bool is_many = sections.count == 0;
        sections.count = is_many ? 1 : sections.count;
        if (mtrace_section_read_(o, &sections, 0, &first)) {
            sections.count = is_many ? first.size : sections.count;
            names = names == 0xffff ? first.link : names;
        }
    }
    mtrace_object_sections_(o, &sections, names);
    mtrace_object_segments_(o);
    return true;
}

static void mtrace_object_close_(mtrace_object_ *o) {
    if (o->file != NULL) {
        fclose(o->file);
        o->file = NULL;
    }
}

/* Opens o->path. */
static bool mtrace_object_open_(mtrace_object_ *o) {
    long size;
    memset(o, 0, offsetof(mtrace_object_, path));
    o->file = mtrace_open_regular_(o->path);
    if (o->file == NULL) {
        return false;
    }
    size = fseek(o->file, 0, SEEK_END) == 0 ? ftell(o->file) : 0;
    o->size = size > 0 ? (uint64_t)size : 0;
    if (!mtrace_object_head_(o)) {
        mtrace_object_close_(o);
    }
    return o->file != NULL;
}

/* --- symbols --- */

/* Takes a symbol for the addresses in it, if it is a better one: it begins later, or it is
   global. */
static size_t mtrace_symbol_offer_(mtrace_place_ **places, size_t count,
                                   const mtrace_place_ *symbol, uint64_t size) {
    size_t low = 0, end = count, i;
    while (low < end) {
        size_t middle = low + (end - low) / 2;
        bool before = places[middle]->address < symbol->start;
        low = before ? middle + 1 : low;
        end = before ? end : middle;
    }
    for (i = low; i < count && places[i]->address - symbol->start < size; i++) {
        mtrace_place_ *place = places[i];
        if (place->symbol == 0 || place->start < symbol->start ||
            (place->start == symbol->start && place->binding < symbol->binding)) {
            place->symbol = symbol->symbol;
            place->start = symbol->start;
            place->binding = symbol->binding;
        }
    }
    return i - low;
}

/* Global ones are the best, weak ones are next. Returns 0 if the symbol is no function with a
   size. */
static uint64_t mtrace_symbol_read_(const mtrace_object_ *o, const unsigned char *at,
                                    mtrace_place_ *out) {
    unsigned info = at[o->is_wide ? 4 : 12];
    uint64_t section = mtrace_object_number_(o, at + (o->is_wide ? 6 : 14), 2);
    uint64_t thumb = o->machine == MTRACE_EM_ARM_;
    out->symbol = (uint32_t)mtrace_object_number_(o, at, 4);
    out->start = mtrace_object_word_(o, at, 4, 8) & ~thumb;
    out->binding = (uint8_t)(info >> 4 == 0 ? 0 : info >> 4 == MTRACE_STB_WEAK_ ? 1 : 2);
    info &= 15;
    return section != 0 && (info == MTRACE_STT_FUNC_ || info == MTRACE_STT_IFUNC_)
               ? mtrace_object_word_(o, at, 8, 16)
               : 0;
}

/* Finds the symbols around addresses, which are sorted. Symbols hardly overlap. In a file where
   they do, the search ends before it takes long. */
static void mtrace_object_symbols_(mtrace_object_ *o, mtrace_place_ **places, size_t count) {
    unsigned char *bytes = (unsigned char *)o->name;
    size_t each = o->is_wide ? 24 : 16, offers = 0, i, n;
    uint64_t at = o->symbols.offset, left = o->symbols.size / each;
    if (o->symbols.type == 0 || o->symbols.element != each) {
        return;
    }
    for (; left > 0 && offers < (size_t)1 << 26; left -= n, at += n * each) {
        n = left < 128 ? (size_t)left : 128;
        if (!mtrace_object_read_(o, at, bytes, n * each)) {
            return;
        }
        for (i = 0; i < n; i++) {
            mtrace_place_ symbol = MTRACE_ZERO_;
            uint64_t size = mtrace_symbol_read_(o, bytes + i * each, &symbol);
            offers += size == 0 ? 0 : mtrace_symbol_offer_(places, count, &symbol, size);
        }
    }
}

#if defined(__GNUC__) && defined(__ELF__) && !defined(__wasm__)
/* Of the C++ library, if the program has one. Its answer is malloc's. */
extern char *mtrace_demangle_(const char *name, char *buffer, size_t *size,
                              int *status) __asm__("__cxa_demangle") __attribute__((weak));
#define MTRACE_DEMANGLE_(name)                                                                     \
    (mtrace_demangle_ == NULL ? NULL : mtrace_demangle_(name, NULL, NULL, NULL))
#else
#define MTRACE_DEMANGLE_(name) ((char *)NULL)
#endif

static bool mtrace_is_mangled_(const char *name) {
    return name[0] == '_' && (name[1] == 'Z' || name[1] == 'R');
}

/* Puts a symbol's name into the book, without its version (memcpy@@GLIBC_2.14). */
static uint32_t mtrace_symbol_name_(mtrace_book_ *book, mtrace_object_ *o, uint64_t offset) {
    char *name = o->name, *plain;
    uint64_t left = offset < o->strings.size ? o->strings.size - offset : 0;
    size_t size = left < sizeof o->name ? (size_t)left : sizeof o->name - 1;
    uint32_t kept;
    if (!mtrace_object_read_(o, o->strings.offset + offset, name, size)) {
        return 0;
    }
    name[size] = '\0';
    name[size == 0 ? 0 : 1 + strcspn(name + 1, "@")] = '\0';
    plain = mtrace_is_mangled_(name) ? MTRACE_DEMANGLE_(name) : NULL;
    kept = plain != NULL ? mtrace_book_name_(book, plain, strlen(plain))
                         : mtrace_book_name_(book, name, strlen(name));
    free(plain);
    return kept;
}

/* The symbols' offsets become names in the book. */
static void mtrace_symbols_name_(mtrace_book_ *book, mtrace_object_ *o, mtrace_place_ **places,
                                 size_t count) {
    uint32_t offset = 0, name = 0;
    size_t i;
    for (i = 0; i < count; i++) {
        if (places[i]->symbol != offset) {
            offset = places[i]->symbol;
            name = offset == 0 ? 0 : mtrace_symbol_name_(book, o, offset);
        }
        places[i]->symbol = name;
    }
}

/* ============================================================================================== */
/* [SECTION] SYMBOLIZER - asks about a module's addresses: its file, its symbols, addr2line       */
/* ============================================================================================== */

typedef struct mtrace_asking_ {
    const mtrace_resolve_desc *desc;
    mtrace_book_ *book;
    uint64_t deadline;      /* of the programs */
    mtrace_pool_ wanted;    /* pointers to the module's places that nobody asked about */
    mtrace_pool_ words;     /* of a command, as pointers */
    mtrace_pool_ arguments; /* their text */
    mtrace_pool_ output;    /* of the command */
    mtrace_object_ object;  /* the file that is asked */
    mtrace_object_ other;   /* another one for the same module */
    const char *why;        /* the reason why there is no file */
} mtrace_asking_;

static mtrace_asking_ *mtrace_asking_begin_(const mtrace_resolve_desc *desc, mtrace_book_ *book) {
    static const mtrace_resolve_desc usual = MTRACE_ZERO_;
    mtrace_asking_ *a = (mtrace_asking_ *)mtrace_system_alloc_(sizeof *a);
    if (a != NULL) {
        memset(a, 0, sizeof *a);
        a->desc = desc != NULL ? desc : &usual;
        a->book = book;
        a->deadline =
            mtrace_recorder_now() +
            (uint64_t)(a->desc->timeout_ms != 0 ? a->desc->timeout_ms : 20000) * MTRACE_NS_PER_MS_;
    }
    return a;
}

static void mtrace_asking_end_(mtrace_asking_ *a) {
    mtrace_pool_free_(&a->wanted);
    mtrace_pool_free_(&a->words);
    mtrace_pool_free_(&a->arguments);
    mtrace_pool_free_(&a->output);
    mtrace_system_free_(a, sizeof *a);
}

/* --- the module's file --- */

static const char *mtrace_base_name_(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Is it this module's? Its memory can be larger than the segments by parts of a page. */
static bool mtrace_object_is_of_(const mtrace_object_ *o, const mtrace_module *module) {
    if (module->build_id_size != 0) {
        return o->build_id_size == module->build_id_size &&
               memcmp(o->build_id, module->build_id, o->build_id_size) == 0;
    }
    return module->size == 0 ||
           (module->size >= o->image && module->size - o->image <= 2 * o->align);
}

/* Opens folder/path if it is the module's. */
static bool mtrace_object_try_(mtrace_asking_ *a, mtrace_object_ *o, const mtrace_module *module,
                               const char *folder, const char *path) {
    const char *between = folder[0] == '\0' || path[0] == '/' ? "" : "/";
    int length = snprintf(o->path, sizeof o->path, "%s%s%s", folder, between, path);
    if (length < 0 || (size_t)length >= sizeof o->path || !mtrace_object_open_(o)) {
        return false;
    }
    if (!mtrace_object_is_of_(o, module)) {
        a->why = "the file is of another build";
        mtrace_object_close_(o);
    }
    return o->file != NULL;
}

/* The program's own file is also there when its path leads to another one by now. */
static bool mtrace_object_find_(mtrace_asking_ *a, mtrace_object_ *o, const mtrace_module *module) {
    bool is_image = a->desc->image != NULL && strcmp(module->path, a->desc->image) == 0;
    const char *root = is_image ? NULL : a->desc->root, *why;
    char running[64];
    bool found = mtrace_object_try_(a, o, module, root != NULL ? root : "", module->path);
    if (!found && root != NULL) {
        return mtrace_object_try_(a, o, module, root, mtrace_base_name_(module->path));
    }
    if (!found && module->build_id_size != 0) {
        why = a->why;
        snprintf(running, sizeof running, "/proc/%lu/exe", mtrace_process_());
        found = mtrace_object_try_(a, o, module, "", running);
        a->why = why;
    }
    return found;
}

/* Opens folder/.build-id/ab/cdef.debug. */
static bool mtrace_debug_try_(mtrace_asking_ *a, mtrace_object_ *o, const mtrace_module *module,
                              const char *root, const char *folder) {
    char path[128];
    size_t length = (size_t)snprintf(path, sizeof path, "/.build-id/%02x/", module->build_id[0]);
    uint32_t i;
    char *in = a->other.name; /* is free */
    for (i = 1; i < module->build_id_size; i++) {
        length +=
            (size_t)snprintf(path + length, sizeof path - length, "%02x", module->build_id[i]);
    }
    snprintf(path + length, sizeof path - length, ".debug");
    length = (size_t)snprintf(in, sizeof a->other.name, "%s%s", root, folder);
    return length < sizeof a->other.name && mtrace_object_try_(a, o, module, in, path);
}

/* The module's separate debug file. Without a build id of its own, the module has its file's. */
static bool mtrace_debug_find_(mtrace_asking_ *a, mtrace_object_ *o, const mtrace_module *module,
                               const mtrace_object_ *file) {
    const char *root = a->desc->root != NULL ? a->desc->root : "";
    mtrace_module known = *module;
    if (known.build_id_size == 0 && file->file != NULL) {
        known.build_id_size = file->build_id_size;
        memcpy(known.build_id, file->build_id, sizeof known.build_id);
    }
    return known.build_id_size != 0 &&
           ((a->desc->debug != NULL && mtrace_debug_try_(a, o, &known, "", a->desc->debug)) ||
            mtrace_debug_try_(a, o, &known, root, "/usr/lib/debug"));
}

/* Opens the file to ask: the module's, or the separate debug file if the module has no lines. */
static bool mtrace_object_choose_(mtrace_asking_ *a, const mtrace_module *module) {
    a->why = "no such file, or not an ELF file";
    mtrace_object_find_(a, &a->object, module);
    if (!a->object.has_lines && mtrace_debug_find_(a, &a->other, module, &a->object)) {
        mtrace_object_close_(&a->object);
        a->object = a->other;
    }
    a->object.has_lines = a->object.has_lines || a->object.has_link;
    return a->object.file != NULL;
}

/* --- a program of the user's PATH --- */

#if defined(__linux__) && MTRACE_HOSTED_ && !defined(__dietlibc__)
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#ifdef __cplusplus
extern "C" {
#endif
extern char **environ;
extern int kill(pid_t process, int signal); /* strict C hides it */
#ifdef __cplusplus
}
#endif

typedef struct mtrace_child_ {
    pid_t process;
    int output;
    bool ended;
    bool succeeded;
} mtrace_child_;

/* Adds a word to the command. */
static bool mtrace_word_add_(mtrace_asking_ *a, const char *word) {
    uintptr_t offset = a->arguments.used;
    return mtrace_pool_add_(&a->arguments, word, strlen(word) + 1) != NULL &&
           mtrace_pool_add_(&a->words, &offset, sizeof offset) != NULL;
}

/* The offsets of words become pointers, and behind them comes the environment for the program:
   without the libraries that may be this tracer, and without its switches. */
static char **mtrace_words_end_(mtrace_asking_ *a, char ***environment) {
    size_t count = a->words.used / sizeof(char *), i, kept = count + 1;
    uintptr_t *offsets;
    char **words;
    for (i = 0; environ != NULL && environ[i] != NULL; i++) {
    }
    offsets = mtrace_pool_extend_(&a->words, (i + 2) * sizeof *words) == NULL
                  ? NULL
                  : (uintptr_t *)(void *)a->words.data;
    if (offsets == NULL) {
        return NULL;
    }
    words = (char **)(void *)a->words.data;
    for (i = 0; i < count; i++) {
        words[i] = a->arguments.data + offsets[i];
    }
    words[count] = NULL;
    for (i = 0; !mtrace_is_privileged_() && environ != NULL && environ[i] != NULL; i++) {
        const char *word = environ[i];
        if (strncmp(word, "LD_PRELOAD=", 11) != 0 && strncmp(word, "LD_AUDIT=", 9) != 0 &&
            strncmp(word, "MTRACE", 6) != 0) {
            words[kept++] = environ[i];
        }
    }
    words[kept] = NULL;
    *environment = words + count + 1;
    return words;
}

/* Starts the command without a shell. Nothing is read from the terminal. With raised privileges the
   caller's PATH does not count. */
static bool mtrace_child_start_(mtrace_asking_ *a, mtrace_child_ *child, int output) {
    posix_spawn_file_actions_t files;
    char program[256], **environment, **words = mtrace_words_end_(a, &environment);
    bool done, in_path;
    if (words == NULL) {
        return false;
    }
    in_path = strchr(words[0], '/') == NULL;
    snprintf(program, sizeof program, "%s%s", in_path && mtrace_is_privileged_() ? "/usr/bin/" : "",
             words[0]);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, output, 1);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    done = posix_spawnp(&child->process, in_path ? program : words[0], &files, NULL, words,
                        environment) == 0;
    posix_spawn_file_actions_destroy(&files);
    return done;
}

/* Looks whether it has ended. If somebody else waited for it, it has. */
static void mtrace_child_look_(mtrace_child_ *child) {
    int status = 0;
    pid_t found = waitpid(child->process, &status, WNOHANG);
    if (found == child->process || (found < 0 && errno != EINTR)) {
        child->ended = true;
        child->succeeded = status == 0;
    }
}

/* Reads what is there. False: no more will come. */
static bool mtrace_child_read_(mtrace_child_ *child, mtrace_pool_ *output) {
    struct pollfd wait;
    char *at = mtrace_pool_extend_(output, 65536);
    ssize_t n = 0;
    int ready;
    wait.fd = child->output;
    wait.events = POLLIN;
    ready = at == NULL ? -1 : poll(&wait, 1, 50);
    if (ready > 0) {
        n = read(child->output, at, 65536);
        output->used += n > 0 ? (size_t)n : 0;
    }
    if (ready == 0) {
        mtrace_child_look_(child);
        return !child->ended;
    }
    return at != NULL && (n > 0 || ((ready < 0 || n < 0) && errno == EINTR));
}

/* Reads the program's output. At the deadline it is killed. */
static void mtrace_child_finish_(mtrace_asking_ *a, mtrace_child_ *child) {
    bool reads = true;
    while (!child->ended && mtrace_recorder_now() < a->deadline) {
        if (reads) {
            reads = mtrace_child_read_(child, &a->output);
        } else {
            mtrace_child_look_(child);
            poll(NULL, 0, child->ended ? 0 : 1);
        }
    }
    if (!child->ended) {
        kill(child->process, SIGKILL);
        while (waitpid(child->process, NULL, 0) < 0 && errno == EINTR) {
        }
    }
}

/* Runs the command of a->words. Its output is then in a->output. *whole: it is complete. False:
   there is no such program. */
static bool mtrace_command_run_(mtrace_asking_ *a, bool *whole) {
    mtrace_child_ child = MTRACE_ZERO_;
    int ends[2];
    bool started;
    a->output.used = 0;
    if (mtrace_recorder_now() >= a->deadline || pipe(ends) != 0) {
        return false;
    }
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    started = mtrace_child_start_(a, &child, ends[1]);
    close(ends[1]);
    child.output = ends[0];
    if (started) {
        mtrace_child_finish_(a, &child);
    }
    close(ends[0]);
    *whole = child.succeeded;
    return started;
}
#else
static bool mtrace_word_add_(mtrace_asking_ *a, const char *word) {
    (void)a;
    (void)word;
    return false;
}

static bool mtrace_command_run_(mtrace_asking_ *a, bool *whole) {
    (void)a;
    *whole = false;
    return false;
}
#endif

/* --- addr2line --- */

/* Takes the next line off. NULL: there is no whole one. */
static char *mtrace_output_line_(char **at, char *end) {
    char *line = *at, *stop = line < end ? (char *)memchr(line, '\n', (size_t)(end - line)) : NULL;
    if (stop == NULL) {
        return NULL;
    }
    *stop = '\0';
    *at = stop + 1;
    return line;
}

/* Adds a frame of "dir/file.c:12 (discriminator 3)". Returns its line. */
static uint32_t mtrace_frame_add_(mtrace_book_ *book, const char *function, const char *location) {
    const char *colon = strrchr(location, ':');
    mtrace_named_ named;
    named.line = colon == NULL ? 0 : (uint32_t)strtoul(colon + 1, NULL, 10);
    named.line = strncmp(location, "??:", 3) == 0 ? 0 : named.line;
    named.file =
        named.line == 0 ? 0 : mtrace_book_name_(book, location, (size_t)(colon - location));
    named.line = named.file == 0 ? 0 : named.line;
    named.function =
        strcmp(function, "??") == 0 ? 0 : mtrace_book_name_(book, function, strlen(function));
    if (mtrace_pool_add_(&book->frames, &named, sizeof named) == NULL) {
        book->is_full = true;
        return 0;
    }
    return named.line;
}

static mtrace_named_ *mtrace_named_at_(const mtrace_book_ *book, uint32_t number) {
    return (mtrace_named_ *)(void *)book->frames.data + number;
}

/* The answer about one address ends. Without a line it counts only if it demangles the symbol. The
   outermost function is the symbol's. */
static void mtrace_answer_end_(mtrace_book_ *book, mtrace_place_ *place, uint32_t first,
                               bool has_line) {
    uint32_t end = (uint32_t)(book->frames.used / sizeof(mtrace_named_));
    mtrace_named_ *outermost = end > first ? mtrace_named_at_(book, end - 1) : NULL;
    if (outermost != NULL && has_line) {
        outermost->function = outermost->function != 0 ? outermost->function : place->symbol;
        place->first = first;
        place->count = end - first;
        return;
    }
    if (outermost != NULL && outermost->function != 0 && place->symbol != 0 &&
        mtrace_is_mangled_(book->text.data + place->symbol)) {
        place->symbol = outermost->function;
    }
    book->frames.used = first * sizeof(mtrace_named_);
}

/* Reads the answers: each is an address, then a name and a location for the function there and for
   each function that it is inlined into. An answer that may be cut is left out. */
static void mtrace_answers_read_(mtrace_asking_ *a, mtrace_place_ **places, size_t count,
                                 bool whole) {
    mtrace_book_ *book = a->book;
    char *at = a->output.data, *end = at + a->output.used;
    char *line = mtrace_output_line_(&at, end), *location;
    size_t i;
    for (i = 0; i < count && line != NULL; i++) {
        uint32_t first = (uint32_t)(book->frames.used / sizeof(mtrace_named_));
        bool has_line = false;
        if (strncmp(line, "0x", 2) != 0 || strtoull(line, NULL, 16) != places[i]->address) {
            return; /* an answer to something else */
        }
        while ((line = mtrace_output_line_(&at, end)) != NULL && strncmp(line, "0x", 2) != 0 &&
               (location = mtrace_output_line_(&at, end)) != NULL) {
            has_line = mtrace_frame_add_(book, line, location) != 0 || has_line;
        }
        has_line = has_line && (whole || line != NULL);
        mtrace_answer_end_(book, places[i], first, has_line);
    }
}

/* Asks a program about these addresses. */
static bool mtrace_tool_ask_some_(mtrace_asking_ *a, const char *tool, mtrace_place_ **places,
                                  size_t count) {
    static const char *const options[] = {"-a", "-f", "-i", "-C", "-e"};
    bool good, whole = false;
    char word[32];
    size_t i;
    a->words.used = a->arguments.used = 0;
    good = mtrace_word_add_(a, tool);
    for (i = 0; good && i < sizeof options / sizeof *options; i++) {
        good = mtrace_word_add_(a, options[i]);
    }
    good = good && mtrace_word_add_(a, a->object.path);
    for (i = 0; good && i < count; i++) {
        snprintf(word, sizeof word, "0x%llx", (unsigned long long)places[i]->address);
        good = mtrace_word_add_(a, word);
    }
    good = good && mtrace_command_run_(a, &whole);
    if (good && a->output.used != 0) {
        mtrace_answers_read_(a, places, count, whole);
    }
    return good;
}

/* Asks about the places that have no line yet, at most 1,000 in one command. False: there is no
   such program. */
static bool mtrace_tool_ask_(mtrace_asking_ *a, const char *tool, mtrace_place_ **places,
                             size_t count) {
    const size_t at_once = 1000;
    size_t i, n = 0, open = 0;
    for (i = 0; i < count; i++) {
        mtrace_place_ *place = places[i];
        if (place->count == 0) { /* these go to the front, the others stay behind */
            places[i] = places[open];
            places[open++] = place;
        }
    }
    for (i = 0; i < open; i += n) {
        n = open - i < at_once ? open - i : at_once;
        if (!mtrace_tool_ask_some_(a, tool, places + i, n)) {
            return false;
        }
    }
    return true;
}

static const char *const mtrace_tools_[] = {"addr2line", "llvm-addr2line"};
enum { MTRACE_TOOLS_ = sizeof mtrace_tools_ / sizeof *mtrace_tools_ };

/* The one of the usual compiler for firmware. NULL: there is none for this machine. */
static const char *mtrace_cross_tool_(uint32_t machine) {
    return machine == MTRACE_EM_ARM_     ? "arm-none-eabi-addr2line"
           : machine == MTRACE_EM_RISCV_ ? "riscv64-unknown-elf-addr2line"
                                         : NULL;
}

/* The second program is asked for lines alone. */
static void mtrace_tools_ask_(mtrace_asking_ *a, mtrace_place_ **places, size_t count) {
    const char *tool = a->desc->tool;
    bool done = false;
    size_t i;
    if (tool != NULL && tool[0] != '\0') {
        mtrace_tool_ask_(a, tool, places, count);
    }
    for (i = 0; tool == NULL && i < MTRACE_TOOLS_ && (a->object.has_lines || !done); i++) {
        done = mtrace_tool_ask_(a, mtrace_tools_[i], places, count);
    }
    if (tool == NULL && mtrace_cross_tool_(a->object.machine) != NULL) {
        mtrace_tool_ask_(a, mtrace_cross_tool_(a->object.machine), places, count);
    }
}

/* --- a module --- */

/* Collects the module's places that nobody asked about. */
static mtrace_place_ **mtrace_wanted_find_(mtrace_asking_ *a, uint64_t module, size_t *count) {
    size_t end, i;
    mtrace_place_ *places = mtrace_book_places_(a->book, &end);
    a->wanted.used = 0;
    for (i = mtrace_book_find_(a->book, module, 0); i < end && places[i].module == module; i++) {
        mtrace_place_ *place = &places[i];
        if (!place->asked && mtrace_pool_add_(&a->wanted, &place, sizeof place) == NULL) {
            a->book->is_full = true;
        }
    }
    *count = a->wanted.used / sizeof(mtrace_place_ *);
    return (mtrace_place_ **)(void *)a->wanted.data;
}

static void mtrace_module_unnamed_(mtrace_asking_ *a, const mtrace_module *module) {
    mtrace_text_ t;
    char line[MTRACE_TEXT_LINE_];
    if (a->desc->write != NULL) {
        mtrace_text_to_callback_(&t, line, a->desc->write, a->desc->write_user);
        mtrace_put_(&t, "mtrace: no names for ");
        mtrace_put_name_(&t, module->path);
        mtrace_put_(&t, ": ");
        mtrace_put_(&t, a->why);
        mtrace_put_char_(&t, '\n');
        mtrace_text_end_(&t);
    }
}

/* A program is worth its start only if the file has lines, or symbols to demangle. */
static bool mtrace_needs_tool_(const mtrace_asking_ *a, mtrace_place_ **places, size_t count) {
    size_t i = 0;
    while (
        i < count && !a->object.has_lines &&
        (places[i]->symbol == 0 || !mtrace_is_mangled_(a->book->text.data + places[i]->symbol))) {
        i++;
    }
    return i < count;
}

/* Asks about the module's places in a sorted book. Without a file they stay open: it may come. */
static void mtrace_module_ask_(mtrace_asking_ *a, const mtrace_module *module) {
    size_t count, i;
    mtrace_place_ **places = mtrace_wanted_find_(a, mtrace_module_key_(module), &count);
    if (count == 0) {
        return;
    }
    if (!mtrace_object_choose_(a, module)) {
        mtrace_module_unnamed_(a, module);
        return;
    }
    mtrace_object_symbols_(&a->object, places, count);
    mtrace_symbols_name_(a->book, &a->object, places, count);
    mtrace_object_close_(&a->object);
    if (mtrace_needs_tool_(a, places, count)) {
        mtrace_tools_ask_(a, places, count);
    }
    for (i = 0; i < count; i++) {
        places[i]->asked = true;
    }
}

#if MTRACE_HAS_CODE_NAMES_

/* ============================================================================================== */
/* [SECTION] IMAGE - code of a program without modules: its file becomes one                      */
/* ============================================================================================== */

/* Parts whose code lies in an image. Its path is the caller's. */
typedef struct mtrace_imaged_ {
    mtrace_snapshot_parts parts;
    mtrace_pool_ rows, frames, modules;
} mtrace_imaged_;

static void mtrace_imaged_free_(mtrace_imaged_ *m) {
    mtrace_pool_free_(&m->rows);
    mtrace_pool_free_(&m->frames);
    mtrace_pool_free_(&m->modules);
}

/* The return address that a frame of no module stands for. 0: it is something else. */
static uint64_t mtrace_return_of_(const mtrace_frame *frame) {
    if (mtrace_is_code_(frame)) {
        return frame->module == NULL ? frame->address + 1 : 0;
    }
    return frame->function == NULL && frame->file != NULL &&
                   strcmp(frame->file, MTRACE_ADDRESS_FILE_) == 0
               ? frame->line
               : 0;
}

/* Does it load something there? */
static bool mtrace_object_loads_(const mtrace_object_ *o, uint64_t address) {
    unsigned char bytes[56];
    uint64_t i;
    for (i = 0; mtrace_segment_read_(o, i, bytes); i++) {
        if (mtrace_object_number_(o, bytes, 4) == MTRACE_PT_LOAD_ &&
            address - mtrace_object_word_(o, bytes, 8, 16) <
                mtrace_object_word_(o, bytes, 20, 40)) {
            return true;
        }
    }
    return false;
}

static void mtrace_image_frame_(const mtrace_object_ *o, const mtrace_module *image,
                                mtrace_frame *frame) {
    uint64_t thumb = o->machine == MTRACE_EM_ARM_;
    uint64_t address = (mtrace_return_of_(frame) & ~thumb) - 1;
    if (mtrace_return_of_(frame) != 0 && mtrace_object_loads_(o, address)) {
        memset(frame, 0, sizeof *frame);
        frame->file = image->path;
        frame->module = image;
        frame->address = address;
    }
}

/* The row's frames go behind the frames of earlier rows. */
static void mtrace_image_row_(mtrace_imaged_ *m, const mtrace_object_ *o, mtrace_row *row) {
    mtrace_module *modules = (mtrace_module *)(void *)m->modules.data;
    const mtrace_traceback *t = &row->traceback;
    mtrace_frame *to = (mtrace_frame *)(void *)mtrace_pool_add_(&m->frames, t->frames,
                                                                t->count * sizeof *t->frames);
    uint32_t i;
    for (i = 0; i < t->count; i++) {
        if (to[i].module != NULL) {
            to[i].module = modules + (to[i].module - m->parts.modules);
        }
        mtrace_image_frame_(o, modules + m->parts.module_count, &to[i]);
    }
    row->traceback.frames = to;
}

/* Copies the parts, with one module more. */
static bool mtrace_image_put_(mtrace_imaged_ *m, const mtrace_object_ *o, const char *path) {
    mtrace_snapshot_parts *parts = &m->parts;
    mtrace_module image = MTRACE_ZERO_;
    size_t frames = 0, i;
    image.path = path;
    image.size = o->image;
    image.build_id_size = o->build_id_size;
    memcpy(image.build_id, o->build_id, sizeof image.build_id);
    for (i = 0; i < parts->row_count; i++) {
        frames += parts->rows[i].traceback.count;
    }
    if (mtrace_pool_extend_(&m->frames, frames * sizeof(mtrace_frame) + 1) == NULL ||
        mtrace_pool_add_(&m->rows, parts->rows, parts->row_count * sizeof *parts->rows) == NULL ||
        mtrace_pool_add_(&m->modules, parts->modules,
                         parts->module_count * sizeof *parts->modules) == NULL ||
        mtrace_pool_add_(&m->modules, &image, sizeof image) == NULL) {
        return false;
    }
    for (i = 0; i < parts->row_count; i++) {
        mtrace_image_row_(m, o, (mtrace_row *)(void *)m->rows.data + i);
    }
    parts->rows = (mtrace_row *)(void *)m->rows.data;
    parts->modules = (mtrace_module *)(void *)m->modules.data;
    parts->module_count++;
    return true;
}

/* Opens an image at o->path. */
static mtrace_result mtrace_image_open_(mtrace_object_ *o, const char *path) {
    int length = snprintf(o->path, sizeof o->path, "%s", path);
    errno = 0;
    if (length >= 0 && (size_t)length < sizeof o->path && mtrace_object_open_(o)) {
        return MTRACE_OK;
    }
    errno = errno == 0 || errno == EINVAL ? ENOEXEC : errno;
    return MTRACE_ERR_IO;
}

static mtrace_result mtrace_image_apply_(mtrace_imaged_ *m, const char *path) {
    mtrace_object_ *o = (mtrace_object_ *)mtrace_system_alloc_(sizeof *o);
    mtrace_result result = o == NULL ? MTRACE_ERR_NO_MEMORY : mtrace_image_open_(o, path);
    int error = errno;
    if (result == MTRACE_OK) {
        result = mtrace_image_put_(m, o, path) ? MTRACE_OK : MTRACE_ERR_NO_MEMORY;
        mtrace_object_close_(o);
    }
    if (o != NULL) {
        mtrace_system_free_(o, sizeof *o);
    }
    errno = error;
    return result;
}

/* ============================================================================================== */
/* [SECTION] RESOLVE - a snapshot with the names of a book                                        */
/* ============================================================================================== */

/* Is it code in a module, without a line? */
static bool mtrace_is_open_(const mtrace_frame *frame) {
    return mtrace_is_code_(frame) && frame->module != NULL;
}

/* Puts the snapshot's code into the book. *keys: of its modules, to be freed. */
static bool mtrace_book_collect_(mtrace_book_ *book, const mtrace_snapshot_parts *parts,
                                 mtrace_pool_ *keys) {
    const uint64_t *key;
    bool good = true;
    size_t i;
    uint32_t j;
    for (i = 0; good && i < parts->module_count; i++) {
        uint64_t made = mtrace_module_key_(&parts->modules[i]);
        good = mtrace_pool_add_(keys, &made, sizeof made) != NULL;
    }
    key = (const uint64_t *)(void *)keys->data;
    for (i = 0; good && i < parts->row_count; i++) {
        const mtrace_traceback *t = &parts->rows[i].traceback;
        for (j = 0; good && j < t->count; j++) {
            const mtrace_frame *frame = &t->frames[j];
            good = !mtrace_is_open_(frame) ||
                   mtrace_book_add_(book, key[frame->module - parts->modules], frame->address);
        }
    }
    mtrace_book_sort_(book);
    return good;
}

static void mtrace_book_ask_(mtrace_book_ *book, const mtrace_snapshot_parts *parts,
                             const mtrace_resolve_desc *desc) {
    mtrace_asking_ *a = mtrace_asking_begin_(desc, book);
    size_t i;
    for (i = 0; a != NULL && i < parts->module_count; i++) {
        mtrace_module_ask_(a, &parts->modules[i]);
    }
    book->is_full = book->is_full || a == NULL;
    if (a != NULL) {
        mtrace_asking_end_(a);
    }
}

/* The parts of the new snapshot. */
typedef struct mtrace_resolving_ {
    const mtrace_snapshot_parts *from;
    const mtrace_book_ *book;
    const uint64_t *keys;
    mtrace_pool_ rows, frames, modules;
    mtrace_pool_ names; /* the old ones, then the book's, then the image's */
    size_t frame_count;
    const char *image; /* NULL: none */
} mtrace_resolving_;

static const char *mtrace_old_name_(const mtrace_resolving_ *r, const char *name) {
    return name != NULL && name == r->image
               ? r->names.data + r->names.used - strlen(name) - 1
               : mtrace_relocate_name_(name, r->from->names, r->names.data, r->from->name_bytes);
}

static const char *mtrace_new_name_(const mtrace_resolving_ *r, uint32_t offset) {
    return offset == 0 ? NULL : r->names.data + r->from->name_bytes + offset;
}

/* What is known about a frame. NULL: nothing. */
static const mtrace_place_ *mtrace_place_of_(const mtrace_resolving_ *r,
                                             const mtrace_frame *frame) {
    size_t count, at;
    const mtrace_place_ *places = mtrace_book_places_(r->book, &count);
    if (!mtrace_is_open_(frame)) {
        return NULL;
    }
    at = mtrace_book_find_(r->book, r->keys[frame->module - r->from->modules], frame->address);
    return at < count && (places[at].count != 0 || places[at].symbol != 0) ? &places[at] : NULL;
}

static uint32_t mtrace_frames_of_(const mtrace_place_ *place) {
    return place == NULL || place->count == 0 ? 1 : place->count;
}

/* Copies a frame, as one or more, outermost first. Without a line the file is the module's. */
static void mtrace_resolve_frame_(mtrace_resolving_ *r, const mtrace_frame *frame) {
    const mtrace_place_ *place = mtrace_place_of_(r, frame);
    mtrace_frame *to = (mtrace_frame *)(void *)r->frames.data + r->frame_count;
    uint32_t n = mtrace_frames_of_(place), i;
    for (i = 0; i < n; i++) {
        to[i] = *frame;
        to[i].file = mtrace_old_name_(r, frame->file);
        to[i].function = mtrace_old_name_(r, frame->function);
        if (frame->module != NULL) {
            to[i].module =
                (const mtrace_module *)(void *)r->modules.data + (frame->module - r->from->modules);
        }
        if (place != NULL && place->count != 0) {
            const mtrace_named_ *named = mtrace_named_at_(r->book, place->first + n - 1 - i);
            to[i].function = mtrace_new_name_(r, named->function);
            to[i].line = named->line;
            to[i].file = mtrace_new_name_(r, named->file);
        } else if (place != NULL) {
            to[i].function = mtrace_new_name_(r, place->symbol);
        }
    }
    r->frame_count += n;
}

static void mtrace_resolve_row_(mtrace_resolving_ *r, mtrace_row *row) {
    const mtrace_traceback *t = &row->traceback;
    size_t first = r->frame_count;
    uint32_t i, count;
    for (i = 0; i < t->count; i++) {
        mtrace_resolve_frame_(r, &t->frames[i]);
    }
    count = (uint32_t)(r->frame_count - first);
    row->traceback.total += t->total == 0 ? 0 : count - t->count;
    row->traceback.count = count;
    row->traceback.frames = (const mtrace_frame *)(void *)r->frames.data + first;
    row->type = mtrace_old_name_(r, row->type);
    row->domain_name = mtrace_old_name_(r, row->domain_name);
}

/* Takes the memory for all parts, and copies what only moves. */
static bool mtrace_resolving_begin_(mtrace_resolving_ *r) {
    const mtrace_snapshot_parts *from = r->from;
    const mtrace_pool_ *text = &r->book->text;
    size_t image = r->image != NULL ? strlen(r->image) + 1 : 0, frames = 0, i;
    uint32_t j;
    for (i = 0; i < from->row_count; i++) {
        for (j = 0; j < from->rows[i].traceback.count; j++) {
            frames += mtrace_frames_of_(mtrace_place_of_(r, &from->rows[i].traceback.frames[j]));
        }
    }
    if (mtrace_pool_extend_(&r->frames, frames * sizeof(mtrace_frame) + 1) == NULL ||
        mtrace_pool_extend_(&r->names, from->name_bytes + text->used + image + 1) == NULL ||
        mtrace_pool_add_(&r->rows, from->rows, from->row_count * sizeof *from->rows) == NULL ||
        mtrace_pool_add_(&r->modules, from->modules, from->module_count * sizeof *from->modules) ==
            NULL) {
        return false;
    }
    if (from->name_bytes != 0) {
        mtrace_pool_add_(&r->names, from->names, from->name_bytes);
    }
    if (text->used != 0) {
        mtrace_pool_add_(&r->names, text->data, text->used);
    }
    mtrace_pool_add_(&r->names, r->image, image);
    return true;
}

static mtrace_result mtrace_resolving_make_(mtrace_resolving_ *r, mtrace_snapshot **out) {
    mtrace_snapshot_parts parts = *r->from;
    mtrace_row *rows = (mtrace_row *)(void *)r->rows.data;
    mtrace_module *modules = (mtrace_module *)(void *)r->modules.data;
    size_t i;
    for (i = 0; i < parts.module_count; i++) {
        modules[i].path = mtrace_old_name_(r, modules[i].path);
    }
    for (i = 0; i < parts.row_count; i++) {
        mtrace_resolve_row_(r, &rows[i]);
    }
    parts.rows = rows;
    parts.modules = modules;
    parts.names = r->names.used == 0 ? NULL : r->names.data;
    parts.name_bytes = r->names.used;
    return mtrace_snapshot_make(out, &parts, NULL);
}

static mtrace_result mtrace_snapshot_by_book_(mtrace_snapshot **out,
                                              const mtrace_snapshot *snapshot,
                                              const mtrace_resolve_desc *desc, mtrace_book_ *book) {
    mtrace_result result = MTRACE_OK;
    mtrace_imaged_ m = MTRACE_ZERO_;
    mtrace_resolving_ r = MTRACE_ZERO_;
    mtrace_pool_ keys = MTRACE_ZERO_;
    bool good;
    m.parts = mtrace_snapshot_get_parts(snapshot);
    if (desc != NULL && desc->image != NULL) {
        r.image = desc->image;
        result = mtrace_image_apply_(&m, desc->image);
    }
    good = result == MTRACE_OK && mtrace_book_collect_(book, &m.parts, &keys);
    if (good) {
        mtrace_book_ask_(book, &m.parts, desc);
    }
    result = result == MTRACE_OK ? MTRACE_ERR_NO_MEMORY : result;
    r.from = &m.parts;
    r.book = book;
    r.keys = (const uint64_t *)(void *)keys.data;
    if (good && !book->is_full && mtrace_resolving_begin_(&r)) {
        result = mtrace_resolving_make_(&r, out);
    }
    if (result == MTRACE_OK) {
        (*out)->skip = snapshot->skip;
    }
    mtrace_pool_free_(&r.rows);
    mtrace_pool_free_(&r.frames);
    mtrace_pool_free_(&r.modules);
    mtrace_pool_free_(&r.names);
    mtrace_pool_free_(&keys);
    mtrace_imaged_free_(&m);
    return result;
}

mtrace_result mtrace_snapshot_resolve(mtrace_snapshot **out, const mtrace_snapshot *snapshot,
                                      const mtrace_resolve_desc *desc) {
    mtrace_book_ book = MTRACE_ZERO_;
    mtrace_result result;
    if (out == NULL) {
        return MTRACE_ERR_ARGUMENT;
    }
    *out = NULL;
    if (snapshot == NULL) {
        return MTRACE_ERR_ARGUMENT;
    }
    result = mtrace_snapshot_by_book_(out, snapshot, desc, &book);
    mtrace_book_free_(&book);
    return result;
}

/* --- for reports --- */

/* The book of all reports, so that an address is looked up once. A report takes it. If there is
   none, as another report has it, it begins a new one. */
MTRACE_SHARED_(void *mtrace_book_kept_);

static void mtrace_book_keep_(mtrace_book_ *book) {
    book = (mtrace_book_ *)mtrace_exchange_(&mtrace_book_kept_, book);
    if (book != NULL) {
        mtrace_book_free_(book);
        mtrace_system_free_(book, sizeof *book);
    }
}

/* Not called in a build without call stacks. */
static MTRACE_UNUSED_ mtrace_result mtrace_add_names_(mtrace_snapshot **out,
                                                      const mtrace_snapshot *snapshot) {
    mtrace_book_ *book = (mtrace_book_ *)mtrace_exchange_(&mtrace_book_kept_, NULL);
    mtrace_result result;
    *out = NULL;
    if (book == NULL) {
        book = (mtrace_book_ *)mtrace_system_alloc_(sizeof *book);
    }
    if (book == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    result = mtrace_snapshot_by_book_(out, snapshot, NULL, book);
    if (book->is_full) {
        mtrace_book_free_(book);
        memset(book, 0, sizeof *book);
    }
    mtrace_book_keep_(book);
    return result;
}
#define MTRACE_ADD_NAMES_ mtrace_add_names_
#endif

#endif /* CODE NAMES */

#ifdef MTRACE_EXT_IMPLEMENTS_
#if !MTRACE_HAS_CODE_NAMES_
#define MTRACE_ADD_NAMES_ NULL
#endif
#if !MTRACE_HAS_COMMAND_
#elif MTRACE_HOSTED_
/* Gives names to the block's code. Its frames are then the result's, unless that is NULL. */
static mtrace_snapshot *mtrace_block_add_names_(mtrace_block *block) {
    mtrace_snapshot_parts parts = MTRACE_ZERO_;
    mtrace_snapshot *named = NULL;
    mtrace_row row = MTRACE_ZERO_;
    uint32_t i;
    for (i = 0; i < block->traceback.count; i++) { /* modules are elements of one table */
        const mtrace_module *module = block->traceback.frames[i].module, *first = parts.modules;
        const mtrace_module *end = first == NULL ? module : first + parts.module_count;
        if (module != NULL) {
            parts.modules = first == NULL || module < first ? module : first;
            parts.module_count = (size_t)((module < end ? end : module + 1) - parts.modules);
        }
    }
    row.traceback = block->traceback;
    parts.rows = &row;
    parts.row_count = 1;
    if (parts.module_count != 0 && mtrace_snapshot_make(&named, &parts, NULL) == MTRACE_OK) {
        mtrace_snapshot_add_names_(&named, NULL);
        block->traceback = mtrace_snapshot_get_parts(named).rows[0].traceback;
    }
    return named;
}
#else
static mtrace_snapshot *mtrace_block_add_names_(mtrace_block *block) {
    (void)block; /* has no code */
    return NULL;
}
#endif
#endif

/* ============================================================================================== */
/* [CHAPTER] CALL STACKS - the unwinder for desc.unwinder                                         */
/* ============================================================================================== */

#ifndef MTRACE_EXT_STACKS_
#define MTRACE_EXT_STACKS_
#undef MTRACE_HAS_
#define MTRACE_HAS_ MTRACE_HAS_STACKS_

MTRACE_OFF_BEGIN_

/* How to read a stack. */
typedef enum mtrace_unwind_kind {
    MTRACE_UNWIND_BEST = 0,     /* the first of these three that the program has */
    MTRACE_UNWIND_TABLES = 1,   /* the modules' unwind tables, read by mtrace: x86-64 Linux */
    MTRACE_UNWIND_COMPILER = 2, /* the same by the compiler's _Unwind_Backtrace: GNU C on Linux */
    MTRACE_UNWIND_CALLER = 3,   /* the return address alone */
    MTRACE_UNWIND_FRAME_POINTERS = 4 /* frame pointers: x86-64 and AArch64 Linux. Never BEST */
} mtrace_unwind_kind;

/* Returns an unwinder for desc.unwinder:

       mtrace_desc desc = {0};
       desc.unwinder = mtrace_get_unwinder(MTRACE_UNWIND_BEST);
       desc.native_frames = 16;
       mtrace_start(&desc);

   TABLES and COMPILER give the same stacks. They need the unwind tables that C++ has and that
   compilers make for C on x86-64, too. A stack ends at a function without (code made at run time,
   say). TABLES takes no lock and allocates nothing, so it may run in a signal handler. The few
   frames that it cannot describe (hand-written assembly) it leaves to _Unwind_Backtrace, which with
   glibc before 2.35 takes the loader's lock. A module that was opened after the program's start may
   be closed, and another one come to its place. So each walk through one asks the loader for it,
   before 2.35 with that lock.

   FRAME_POINTERS is for programs that are built with -fno-omit-frame-pointer, libraries included.
   It needs no unwind tables, so it reads stacks through code made at run time that keeps frame
   pointers. A function without one may use the register for something else. Then the stack ends
   there or has wrong addresses, but reading it is always safe. A frame has at most 1 MiB.

   The first call takes 6 MiB of addresses from the system.
   Errors: NULL if the program has none of that kind, or the system has no memory.
   Cost: O(1). A frame that is not remembered costs about 65 instructions with TABLES, 1,500 with
   COMPILER, 20 with FRAME_POINTERS, and there a short system call for each further page.
   Context: any thread. */
MTRACE_EXT_API_ const mtrace_unwinder *mtrace_get_unwinder(mtrace_unwind_kind kind)
    MTRACE_EXT_OFF_(return MTRACE_NULL_);

MTRACE_OFF_END_

#endif /* MTRACE_EXT_STACKS_ */

#if defined(MTRACE_EXT_IMPLEMENTS_) && MTRACE_HAS_STACKS_

/* --- the modules of addresses --- */

#if MTRACE_UNWINDS_
/* A module that was seen. It stays when the module is unloaded, as its path may be in use. */
typedef struct mtrace_seen_ {
    mtrace_module module;
    const void *tables;
    uint32_t is_there; /* and nothing else was seen in its place since */
} mtrace_seen_;

enum { MTRACE_SEEN_ = 512, MTRACE_PATHS_ = 65536 };
typedef struct mtrace_seen_modules_ {
    uint32_t count;
    uint32_t path_bytes;
    mtrace_seen_ modules[MTRACE_SEEN_];
    char paths[MTRACE_PATHS_];
    char program[1024]; /* its path */
} mtrace_seen_modules_;

/* The build id among the notes of a segment. */
static void mtrace_notes_read_(mtrace_module *module, const unsigned char *at, size_t size) {
    const unsigned char *end = at + size;
    while ((size_t)(end - at) > sizeof(mtrace_note_)) {
        mtrace_note_ note;
        size_t name, text;
        memcpy(&note, at, sizeof note);
        name = sizeof note;
        text = name + ((size_t)note.n_namesz + 3) / 4 * 4;
        if (text > (size_t)(end - at) || note.n_descsz > (size_t)(end - at) - text) {
            return;
        }
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            memcmp(at + name, "GNU", 4) == 0 && note.n_descsz <= sizeof module->build_id) {
            module->build_id_size = note.n_descsz;
            memcpy(module->build_id, at + text, note.n_descsz);
            return;
        }
        text += ((size_t)note.n_descsz + 3) / 4 * 4;
        at = text < (size_t)(end - at) ? at + text : end;
    }
}

/* Reads the build id by way of the file's head, which lies at the start of its image. */
static void mtrace_build_id_read_(mtrace_module *module, const mtrace_dl_found_ *found) {
    const mtrace_elf_ *head = (const mtrace_elf_ *)found->start;
    const mtrace_segment_ *s;
    uint16_t i;
    if (module->size < 4096 || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
        head->e_phoff > 4096 - 64 * sizeof *s || head->e_phnum > 64) {
        return;
    }
    s = (const mtrace_segment_ *)(const void *)((const char *)found->start + head->e_phoff);
    for (i = 0; i < head->e_phnum && module->build_id_size == 0; i++) {
        if (s[i].p_type == PT_NOTE) {
            mtrace_notes_read_(module, (const unsigned char *)found->linked->bias + s[i].p_vaddr,
                               (size_t)s[i].p_memsz);
        }
    }
}

/* A copy of the path that stays. */
static const char *mtrace_seen_path_(mtrace_seen_modules_ *seen, const char *path) {
    size_t size = strlen(path) + 1;
    uint32_t used = MTRACE_GET_(&seen->path_bytes);
    do {
        if (size > MTRACE_PATHS_ - used) {
            return MTRACE_UNKNOWN_;
        }
    } while (!MTRACE_CAS_(&seen->path_bytes, &used, used + (uint32_t)size));
    return (const char *)memcpy(seen->paths + used, path, size);
}

static bool mtrace_seen_is_(const mtrace_seen_ *seen, const mtrace_module *module,
                            const void *tables) {
    const char *path = MTRACE_GET_ACQUIRE_(&seen->module.path);
    return path != NULL && seen->tables == tables &&
           seen->module.load_address == module->load_address && seen->module.size == module->size &&
           memcmp(seen->module.build_id, module->build_id, sizeof module->build_id) == 0 &&
           strcmp(path, module->path) == 0;
}

/* The index of a module. MTRACE_SEEN_: it is not among them. */
static uint32_t mtrace_seen_find_(const mtrace_seen_modules_ *all, const mtrace_module *module,
                                  const void *tables) {
    uint32_t i, count = MTRACE_GET_(&all->count);
    for (i = 0; i < count && i < MTRACE_SEEN_; i++) {
        if (mtrace_seen_is_(&all->modules[i], module, tables)) {
            return i;
        }
    }
    return MTRACE_SEEN_;
}

/* Adds a module, and sets its path to a copy that stays. MTRACE_SEEN_: there is no room. */
static uint32_t mtrace_seen_add_(mtrace_seen_modules_ *all, mtrace_module *module,
                                 const void *tables) {
    const char *path = module->path = mtrace_seen_path_(all, module->path);
    uint32_t i = MTRACE_GET_(&all->count);
    do {
        if (i >= MTRACE_SEEN_) {
            return MTRACE_SEEN_;
        }
    } while (!MTRACE_CAS_(&all->count, &i, i + 1));
    module->path = NULL;
    all->modules[i].tables = tables;
    all->modules[i].module = *module;
    module->path = path;
    MTRACE_SET_RELEASE_(&all->modules[i].module.path, path);
    return i;
}

/* The module is there, so those that it overlaps are gone. What is remembered of addresses there is
   forgotten. */
static void mtrace_seen_there_(mtrace_seen_modules_ *all, uint32_t number) {
    const mtrace_module *module = &all->modules[number].module;
    uint32_t i, count = MTRACE_GET_(&all->count);
    bool has_gone = false;
    if (MTRACE_GET_(&all->modules[number].is_there)) {
        return;
    }
    for (i = 0; i < count && i < MTRACE_SEEN_; i++) {
        mtrace_seen_ *other = &all->modules[i];
        if (MTRACE_GET_(&other->is_there) &&
            (other->module.load_address - module->load_address < module->size ||
             module->load_address - other->module.load_address < other->module.size)) {
            MTRACE_SET_(&other->is_there, 0);
            has_gone = true;
        }
    }
    MTRACE_SET_(&all->modules[number].is_there, 1);
    if (has_gone && MTRACE_STATE_() != 0) {
        mtrace_code_forget_();
    }
}

/* Of a program without a loader, glibc says where its code lies. The module is all of it. */
static void mtrace_program_measure_(mtrace_dl_found_ *found) {
    mtrace_module_ program;
    if (memcmp(found->start, ELFMAG, SELFMAG) != 0) {
        program.bias = found->linked->bias;
        program.name = "";
        program.segments = (const mtrace_segment_ *)getauxval(AT_PHDR);
        program.segment_count = (uint16_t)getauxval(AT_PHNUM);
        mtrace_module_measure_(&program, found);
    }
}

/* Sets *number to the module's index among those that were seen, MTRACE_SEEN_ if it is not. */
static bool mtrace_module_describe_(mtrace_seen_modules_ *all, mtrace_module *module,
                                    uintptr_t address, uint32_t *number) {
    mtrace_dl_found_ found;
    mtrace_linked_ linked;
    if (!mtrace_module_find_(address, &found, &linked)) {
        return false;
    }
    memset(module, 0, sizeof *module);
    module->path = found.linked->name;
    if (module->path == NULL || module->path[0] == '\0') {
        module->path = all->program;
        mtrace_program_measure_(&found);
    }
    module->load_address = found.linked->bias;
    module->size = (uintptr_t)found.end - (uintptr_t)found.start;
    mtrace_build_id_read_(module, &found);
    *number = mtrace_seen_find_(all, module, found.unwind_tables);
    if (*number == MTRACE_SEEN_) {
        *number = mtrace_seen_add_(all, module, found.unwind_tables);
    }
    if (*number != MTRACE_SEEN_) {
        module->path = all->modules[*number].module.path;
        mtrace_seen_there_(all, *number);
    }
    return true;
}

/* --- the compiler's unwinder --- */

typedef struct mtrace_walk_ {
    uintptr_t *addresses;
    uint32_t count;
    uint32_t room;
    uintptr_t frame;
} mtrace_walk_;

/* Does the frame of a function's caller begin behind the function's frame address? On RISC-V it
   begins there. */
#ifdef __riscv
#define MTRACE_IS_INNER_(stack, frame) ((stack) < (frame))
#else
#define MTRACE_IS_INNER_(stack, frame) ((stack) <= (frame))
#endif

static _Unwind_Reason_Code mtrace_walk_step_(struct _Unwind_Context *context, void *user) {
    mtrace_walk_ *w = (mtrace_walk_ *)user;
    int is_exact = 0;
    uintptr_t address = (uintptr_t)_Unwind_GetIPInfo(context, &is_exact);
    if (w->count == 0 && MTRACE_IS_INNER_((uintptr_t)_Unwind_GetCFA(context), w->frame)) {
        return _URC_NO_REASON; /* our own frames */
    }
    if (address == 0 || w->count == w->room) {
        return _URC_END_OF_STACK;
    }
    w->addresses[w->count++] = address + (is_exact != 0 ? 1 : 0);
    return w->count == w->room ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static MTRACE_NOINLINE_ uint32_t mtrace_walk_by_compiler_(uintptr_t *addresses, uint32_t room,
                                                          const void *frame) {
    mtrace_walk_ w;
    w.addresses = addresses;
    w.count = 0;
    w.room = room;
    w.frame = (uintptr_t)frame;
    if (mtrace_can_unwind_()) {
        _Unwind_Backtrace(mtrace_walk_step_, &w);
    }
    return w.count;
}
#endif

/* --- frame pointers ---

   A frame begins with the address of the caller's frame and the return address. Code without frame
   pointers may have put anything there, so each address is tested before it is read. */

#if MTRACE_UNWINDS_ && UINTPTR_MAX > 0xffffffffu && (defined(__x86_64__) || defined(__aarch64__))
#define MTRACE_WALK_BY_FRAMES_ mtrace_walk_by_frames_
#include <errno.h>
#include <sys/syscall.h>
#ifdef __cplusplus
extern "C" {
#endif
extern long mtrace_syscall_(long number, ...) __asm__("syscall"); /* strict C hides it */
#ifdef __cplusplus
}
#endif

static MTRACE_READS_STACK_ uintptr_t mtrace_word_at_(uintptr_t address) {
    return *(const uintptr_t *)address;
}

/* Linux reads the new signal mask before it refuses the unknown request -1. */
static bool mtrace_can_read_(uintptr_t address) {
    int before = errno;
    bool can = mtrace_syscall_(SYS_rt_sigprocmask, -1L, address, 0L, 8L) == 0 || errno != EFAULT;
    errno = before;
    return can;
}

/* The pages of the inner frame can be read. A frame is aligned, so it lies in one page. */
static bool mtrace_frame_follows_(uintptr_t frame, uintptr_t inner) {
    enum { PAGE = 4096, LARGEST = 1 << 20 };
    return frame > inner && frame - inner <= LARGEST && frame % (2 * sizeof frame) == 0 &&
           ((frame ^ inner) < PAGE || mtrace_can_read_(frame));
}

#ifdef __aarch64__
/* A return address may be signed (-mbranch-protection). This is xpaclri, or nothing on processors
   that do not sign. */
static uintptr_t mtrace_without_signature_(uintptr_t address) {
    __asm__("mov x30, %0\n\thint 7\n\tmov %0, x30" : "+r"(address) : : "x30");
    return address;
}
#else
#define mtrace_without_signature_(address) (address)
#endif

static uint32_t mtrace_walk_by_frames_(uintptr_t *addresses, uint32_t room, const void *frame) {
    uintptr_t at = (uintptr_t)frame, inner = at;
    uint32_t count = 0;
    while (count < room && (count == 0 || mtrace_frame_follows_(at, inner))) {
        uintptr_t address = mtrace_word_at_(at + sizeof at);
        if (address == 0) {
            break;
        }
        addresses[count++] = mtrace_without_signature_(address);
        inner = at;
        at = mtrace_word_at_(at);
    }
    return count;
}
#else
#define MTRACE_WALK_BY_FRAMES_ NULL
#endif

/* ============================================================================================== */
/* [SECTION] UNWIND TABLES - compiled into rules                                                  */
/* ============================================================================================== */

/* .eh_frame says for each instruction where the caller's stack frame begins, the CFA, and where the
   registers were saved. It is a program for a small machine, and libgcc runs it for each frame.
   Here its result is compiled into one word, the *rule* of a return address, and kept in a table by
   address. To step from one frame to the next then takes a look into the table and two loads.

   On x86-64 a rule has to know the CFA as an offset from rsp or rbp, and where rbp was saved. The
   return address is always at CFA - 8. Three more forms are known: the end of the stack; a frame
   that the compiler aligned, whose CFA was saved at an offset from rbp; and the kernel's frame of a
   signal, which has all registers. For any other rule the stack is read by _Unwind_Backtrace.

   The table takes no lock: an entry is two words, the rule and its exclusive or with a hash of the
   address and the module's mark. If another thread or a handler changes one in between, they do not
   match, and the rule is compiled again.

   A module may be unloaded, and another one loaded in its place. The program and the libraries that
   it was started with stay, and their mark is 0. Another module's mark is its number among those
   that were seen, and each walk looks at it once. Without a build id a rebuilt module is not told
   from the old one, so its rules are not kept. */

#if MTRACE_UNWINDS_ && defined(__x86_64__) && !defined(__ILP32__)

/* From the low bits up: the kind, how rbp was saved, and two signed offsets of 29 bits. */
enum mtrace_rule_kind_ {
    MTRACE_RULE_OTHER_ = 1, /* none of these */
    MTRACE_RULE_END_,
    MTRACE_RULE_RSP_,     /* CFA = rsp + offset */
    MTRACE_RULE_RBP_,     /* CFA = rbp + offset */
    MTRACE_RULE_ALIGNED_, /* CFA = the word at rbp + offset */
    MTRACE_RULE_SIGNAL_
};
enum mtrace_saved_ { MTRACE_SAVED_NOT_, MTRACE_SAVED_CFA_, MTRACE_SAVED_RBP_, MTRACE_SAVED_LOST_ };
enum { MTRACE_RULE_BITS_ = 14, MTRACE_OFFSET_BITS_ = 29 };

typedef struct mtrace_rule_entry_ {
    uint64_t check;
    uint64_t rule;
} mtrace_rule_entry_;

/* A stack that is remembered: see CHAINS. */
enum { MTRACE_STACK_WORDS_ = 132, MTRACE_STACK_WAYS_ = 4, MTRACE_STACK_BITS_ = 12 };

typedef struct mtrace_kept_stack_ {
    uint64_t version;
    uint64_t scope;
    const void *frame;
    uint64_t word;
    uint64_t epoch_and_count; /* count: the low 16 bits. It is even */
    uint16_t offsets[MTRACE_STACK_WORDS_];
    uintptr_t words[MTRACE_STACK_WORDS_];
} mtrace_kept_stack_;

/* A module that stays. */
typedef struct mtrace_lasting_ {
    uintptr_t start;
    uintptr_t size;
} mtrace_lasting_;

enum { MTRACE_LASTING_ = 64 };
#define MTRACE_NO_MARK_ UINT64_MAX

typedef struct mtrace_unwind_memory_ {
    mtrace_seen_modules_ seen;
    uint64_t epoch;
    uintptr_t loader; /* its load address */
    uint32_t lasting_count;
    mtrace_lasting_ lasting[MTRACE_LASTING_];
    mtrace_rule_entry_ rules[1 << MTRACE_RULE_BITS_];
    mtrace_kept_stack_ stacks[MTRACE_STACK_WAYS_ << MTRACE_STACK_BITS_];
} mtrace_unwind_memory_;

MTRACE_SHARED_(mtrace_unwind_memory_ *mtrace_unwind_g_);

/* Registers by their numbers in the tables. */
enum { MTRACE_REG_RBP_ = 6, MTRACE_REG_RSP_ = 7, MTRACE_REG_RA_ = 16, MTRACE_REG_ODD_ = 255 };

/* What the program has said so far. */
typedef struct mtrace_cfi_row_ {
    uint8_t base;  /* the register of the CFA; ODD: something else */
    uint8_t saved; /* rbp: MTRACE_SAVED_ */
    uint8_t is_aligned;
    uint8_t is_end; /* the return address is undefined */
    uint8_t is_odd; /* the return address is somewhere else */
    int64_t offset; /* of the CFA */
    int64_t saved_at;
} mtrace_cfi_row_;

enum { MTRACE_CFI_STACK_ = 8 };
typedef struct mtrace_cfi_ {
    const uint8_t *at;
    uint64_t code_factor;
    int64_t data_factor;
    uintptr_t location; /* of the row */
    uintptr_t wanted;
    uint8_t encoding; /* of code addresses */
    bool is_signal;
    bool has_data; /* each function has the size of its own data */
    uint32_t depth;
    mtrace_cfi_row_ row;
    mtrace_cfi_row_ first; /* after the common part */
    mtrace_cfi_row_ stack[MTRACE_CFI_STACK_];
} mtrace_cfi_;

static uint64_t mtrace_uleb_(const uint8_t **at) {
    uint64_t value = 0;
    uint32_t shift = 0;
    uint8_t byte;
    do {
        byte = *(*at)++;
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        shift += 7;
    } while ((byte & 0x80) != 0);
    return value;
}

static int64_t mtrace_sleb_(const uint8_t **at) {
    const uint8_t *first = *at;
    uint64_t value = mtrace_uleb_(at);
    uint32_t bits = 7 * (uint32_t)(*at - first);
    bool is_negative = ((*at)[-1] & 0x40) != 0;
    return (int64_t)(is_negative && bits < 64 ? value | UINT64_MAX << bits : value);
}

/* A little-endian number of some bytes. */
static uint64_t mtrace_table_number_(const uint8_t **at, uint32_t bytes, bool is_signed) {
    uint64_t value = 0;
    memcpy(&value, *at, bytes);
    *at += bytes;
    return is_signed && bytes < 8 && (value >> (8 * bytes - 1) & 1) != 0
               ? value | UINT64_MAX << 8 * bytes
               : value;
}

/* An address in the encoding of DWARF's exception tables (DW_EH_PE_). */
static uintptr_t mtrace_encoded_(const uint8_t **at, uint8_t encoding) {
    static const uint8_t bytes[16] = {8, 0, 2, 4, 8, 0, 0, 0, 8, 0, 2, 4, 8, 0, 0, 0};
    uintptr_t from = (encoding & 0x70) == 0x10 ? (uintptr_t)*at : 0, value;
    if ((encoding & 15) == 1) {
        value = (uintptr_t)mtrace_uleb_(at);
    } else if ((encoding & 15) == 9) {
        value = (uintptr_t)mtrace_sleb_(at);
    } else {
        value = (uintptr_t)mtrace_table_number_(at, bytes[encoding & 15], (encoding & 8) != 0);
    }
    return value == 0 ? 0 : value + from;
}

/* --- the machine --- */

/* A register was saved at an offset from the CFA. */
static void mtrace_cfi_save_(mtrace_cfi_ *c, uint64_t reg, int64_t offset) {
    if (reg == MTRACE_REG_RBP_) {
        c->row.saved = MTRACE_SAVED_CFA_;
        c->row.saved_at = offset;
    }
    if (reg == MTRACE_REG_RA_) {
        c->row.is_odd = offset != -8;
        c->row.is_end = 0;
    }
}

/* A register was saved in another way. */
static void mtrace_cfi_lose_(mtrace_cfi_ *c, uint64_t reg) {
    if (reg == MTRACE_REG_RBP_) {
        c->row.saved = MTRACE_SAVED_LOST_;
    }
    if (reg == MTRACE_REG_RA_) {
        c->row.is_odd = 1;
    }
}

static void mtrace_cfi_restore_(mtrace_cfi_ *c, uint64_t reg) {
    if (reg == MTRACE_REG_RBP_) {
        c->row.saved = c->first.saved;
        c->row.saved_at = c->first.saved_at;
    }
    if (reg == MTRACE_REG_RA_) {
        c->row.is_odd = c->first.is_odd;
        c->row.is_end = c->first.is_end;
    }
}

static void mtrace_cfi_undefine_(mtrace_cfi_ *c, uint64_t reg) {
    if (reg == MTRACE_REG_RA_) {
        c->row.is_end = 1;
    }
    if (reg == MTRACE_REG_RBP_) {
        c->row.saved = MTRACE_SAVED_LOST_;
    }
}

static void mtrace_cfi_set_cfa_(mtrace_cfi_ *c, uint64_t base, int64_t offset) {
    bool is_known = base == MTRACE_REG_RBP_ || base == MTRACE_REG_RSP_;
    c->row.base = is_known ? (uint8_t)base : (uint8_t)MTRACE_REG_ODD_;
    c->row.offset = offset;
    c->row.is_aligned = 0;
}

/* Takes an expression: is it "rbp + offset", or the word there? */
static bool mtrace_cfi_rbp_(mtrace_cfi_ *c, bool is_word, int64_t *offset) {
    enum { OP_BREG_RBP = 0x76, OP_DEREF = 0x06 };
    uint64_t size = mtrace_uleb_(&c->at);
    const uint8_t *at = c->at, *end = c->at + size;
    c->at = end;
    if (size < 2 || *at++ != OP_BREG_RBP) {
        return false;
    }
    *offset = mtrace_sleb_(&at);
    return is_word ? at + 1 == end && *at == OP_DEREF : at == end;
}

static void mtrace_cfi_cfa_expression_(mtrace_cfi_ *c) {
    c->row.is_aligned = mtrace_cfi_rbp_(c, true, &c->row.offset);
    c->row.base = (uint8_t)(c->row.is_aligned ? MTRACE_REG_RBP_ : MTRACE_REG_ODD_);
}

/* A register was saved at the address that an expression gives. */
static void mtrace_cfi_save_expression_(mtrace_cfi_ *c) {
    uint64_t reg = mtrace_uleb_(&c->at);
    int64_t offset;
    bool is_known = mtrace_cfi_rbp_(c, false, &offset);
    if (is_known && reg == MTRACE_REG_RBP_) {
        c->row.saved = MTRACE_SAVED_RBP_;
        c->row.saved_at = offset;
    } else {
        mtrace_cfi_lose_(c, reg);
    }
}

static void mtrace_cfi_remember_(mtrace_cfi_ *c) {
    if (c->depth < MTRACE_CFI_STACK_) {
        c->stack[c->depth] = c->row;
    }
    c->depth++;
}

/* False: the stack was too deep, or empty. */
static bool mtrace_cfi_recall_(mtrace_cfi_ *c) {
    if (c->depth == 0 || c->depth > MTRACE_CFI_STACK_) {
        return false;
    }
    c->row = c->stack[--c->depth];
    return true;
}

/* Instructions that say where the row begins. Returns false for others. */
static bool mtrace_cfi_advance_(mtrace_cfi_ *c, uint8_t op) {
    enum { SET_LOC = 1, ADVANCE_1 = 2, ADVANCE_4 = 4, ADVANCE = 0x40 };
    if ((op & 0xc0) == ADVANCE) {
        c->location += (op & 0x3fu) * c->code_factor;
    } else if (op >= ADVANCE_1 && op <= ADVANCE_4) {
        c->location += mtrace_table_number_(&c->at, 1u << (op - ADVANCE_1), false) * c->code_factor;
    } else if (op == SET_LOC) {
        c->location = mtrace_encoded_(&c->at, c->encoding);
    } else {
        return false;
    }
    return true;
}

/* Instructions about the CFA. Returns false for others. */
static bool mtrace_cfi_cfa_(mtrace_cfi_ *c, uint8_t op) {
    enum { CFA = 12, REGISTER = 13, OFFSET = 14, EXPRESSION = 15, CFA_SF = 18, OFFSET_SF = 19 };
    uint64_t base;
    switch (op) {
    case CFA:
        base = mtrace_uleb_(&c->at);
        mtrace_cfi_set_cfa_(c, base, (int64_t)mtrace_uleb_(&c->at));
        return true;
    case CFA_SF:
        base = mtrace_uleb_(&c->at);
        mtrace_cfi_set_cfa_(c, base, mtrace_sleb_(&c->at) * c->data_factor);
        return true;
    case REGISTER:
        mtrace_cfi_set_cfa_(c, mtrace_uleb_(&c->at), c->row.offset);
        return true;
    case OFFSET:
        c->row.offset = (int64_t)mtrace_uleb_(&c->at);
        return true;
    case OFFSET_SF:
        c->row.offset = mtrace_sleb_(&c->at) * c->data_factor;
        return true;
    case EXPRESSION:
        mtrace_cfi_cfa_expression_(c);
        return true;
    default:
        return false;
    }
}

/* Instructions about a register. Returns false for others. */
static bool mtrace_cfi_register_(mtrace_cfi_ *c, uint8_t op) {
    enum { OFFSET = 5, RESTORE = 6, UNDEFINED = 7, SAME = 8, REGISTER = 9, EXPRESSION = 16 };
    enum { OFFSET_SF = 17, VAL_OFFSET = 20, VAL_OFFSET_SF = 21, VAL_EXPRESSION = 22 };
    uint64_t reg;
    if (op == EXPRESSION) {
        mtrace_cfi_save_expression_(c);
        return true;
    }
    if (!((op >= OFFSET && op <= REGISTER) || (op >= OFFSET_SF && op <= VAL_EXPRESSION)) ||
        op == 18 || op == 19) {
        return false;
    }
    reg = mtrace_uleb_(&c->at);
    if (op == OFFSET) {
        mtrace_cfi_save_(c, reg, (int64_t)mtrace_uleb_(&c->at) * c->data_factor);
    } else if (op == OFFSET_SF) {
        mtrace_cfi_save_(c, reg, mtrace_sleb_(&c->at) * c->data_factor);
    } else if (op == RESTORE) {
        mtrace_cfi_restore_(c, reg);
    } else if (op == UNDEFINED) {
        mtrace_cfi_undefine_(c, reg);
    } else if (op == SAME) {
        c->row.saved = reg == MTRACE_REG_RBP_ ? (uint8_t)MTRACE_SAVED_NOT_ : c->row.saved;
        c->row.is_odd = reg == MTRACE_REG_RA_ ? 1 : c->row.is_odd;
    } else {
        uint64_t operand = mtrace_uleb_(&c->at);
        c->at += op == VAL_EXPRESSION ? operand : 0;
        mtrace_cfi_lose_(c, reg);
    }
    return true;
}

/* One instruction. False: it is not known. */
static bool mtrace_cfi_step_(mtrace_cfi_ *c) {
    enum { NOP = 0, REMEMBER = 10, RECALL = 11, ARGS_SIZE = 0x2e, SAVE = 0x80, RESTORE = 0xc0 };
    uint8_t op = *c->at++;
    if ((op & 0xc0) == SAVE) {
        mtrace_cfi_save_(c, op & 0x3f, (int64_t)mtrace_uleb_(&c->at) * c->data_factor);
    } else if ((op & 0xc0) == RESTORE) {
        mtrace_cfi_restore_(c, op & 0x3f);
    } else if (op == REMEMBER) {
        mtrace_cfi_remember_(c);
    } else if (op == RECALL) {
        return mtrace_cfi_recall_(c);
    } else if (op == ARGS_SIZE) {
        (void)mtrace_uleb_(&c->at);
    } else if (op != NOP) {
        return mtrace_cfi_advance_(c, op) || mtrace_cfi_cfa_(c, op) || mtrace_cfi_register_(c, op);
    }
    return true;
}

/* Runs instructions up to the row of the wanted address. */
static bool mtrace_cfi_run_(mtrace_cfi_ *c, const uint8_t *at, const uint8_t *end) {
    c->at = at;
    while (c->at < end) {
        if (!mtrace_cfi_step_(c)) {
            return false;
        }
        if (c->location > c->wanted) {
            return true;
        }
    }
    return true;
}

/* --- the tables --- */

/* Reads the data that the letters of a CIE announce. */
static bool mtrace_cie_letters_(mtrace_cfi_ *c, const char *letters, const uint8_t *data) {
    for (; *letters != '\0'; letters++) {
        if (*letters == 'R') {
            c->encoding = *data++;
        } else if (*letters == 'P') {
            uint8_t encoding = *data++;
            (void)mtrace_encoded_(&data, encoding);
        } else if (*letters == 'L') {
            data++;
        } else if (*letters == 'S') {
            c->is_signal = true;
        } else {
            return false;
        }
    }
    return true;
}

/* Reads what functions have in common, the CIE, and runs its instructions. */
static bool mtrace_cie_read_(mtrace_cfi_ *c, const uint8_t *at) {
    uint64_t size = mtrace_table_number_(&at, 4, false);
    const uint8_t *end = at + size;
    const char *letters = (const char *)at + 5; /* behind the id and the version */
    at = (const uint8_t *)letters + strlen(letters) + 1;
    c->code_factor = mtrace_uleb_(&at);
    c->data_factor = mtrace_sleb_(&at);
    c->has_data = letters[0] == 'z';
    if (mtrace_uleb_(&at) != MTRACE_REG_RA_ || (letters[0] != '\0' && !c->has_data)) {
        return false;
    }
    if (c->has_data) {
        size = mtrace_uleb_(&at);
        if (!mtrace_cie_letters_(c, letters + 1, at)) {
            return false;
        }
        at += size;
    }
    return mtrace_cfi_run_(c, at, end);
}

/* The function's entry (FDE), by the table of addresses in .eh_frame_hdr. NULL: there is none. */
static const uint8_t *mtrace_fde_find_(const uint8_t *head, uintptr_t address) {
    enum { VERSION = 1, RELATIVE_4 = 0x3b };
    const uint8_t *at = head + 4;
    size_t low = 0, high;
    if (head[0] != VERSION || head[3] != RELATIVE_4 || (head[2] & 0x70) != 0) {
        return NULL;
    }
    (void)mtrace_encoded_(&at, head[1]);
    high = (size_t)mtrace_encoded_(&at, head[2]);
    if (high == 0) {
        return NULL;
    }
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        const uint8_t *entry = at + 8 * middle;
        if ((uintptr_t)head + mtrace_table_number_(&entry, 4, true) <= address) {
            low = middle;
        } else {
            high = middle;
        }
    }
    at += 8 * low + 4;
    return (const uint8_t *)((uintptr_t)head + mtrace_table_number_(&at, 4, true));
}

static uint64_t mtrace_rule_pack_(uint32_t kind, uint32_t saved, int64_t offset, int64_t saved_at) {
    const int64_t limit = (int64_t)1 << (MTRACE_OFFSET_BITS_ - 1);
    const uint64_t mask = ((uint64_t)1 << MTRACE_OFFSET_BITS_) - 1;
    if (offset < -limit || offset >= limit || saved_at < -limit || saved_at >= limit) {
        return MTRACE_RULE_OTHER_;
    }
    return kind | saved << 4 | ((uint64_t)offset & mask) << 6 |
           ((uint64_t)saved_at & mask) << (6 + MTRACE_OFFSET_BITS_);
}

static uint64_t mtrace_rule_of_row_(const mtrace_cfi_row_ *row) {
    if (row->is_end) {
        return MTRACE_RULE_END_;
    }
    if (row->is_odd || row->base == MTRACE_REG_ODD_) {
        return MTRACE_RULE_OTHER_;
    }
    return mtrace_rule_pack_(row->is_aligned                ? MTRACE_RULE_ALIGNED_
                             : row->base == MTRACE_REG_RSP_ ? MTRACE_RULE_RSP_
                                                            : MTRACE_RULE_RBP_,
                             row->saved, row->offset, row->saved_at);
}

/* Compiles the rule of an instruction from its function's entry. */
static uint64_t mtrace_rule_of_fde_(const uint8_t *at, uintptr_t address) {
    mtrace_cfi_ c = MTRACE_ZERO_;
    uint64_t size = mtrace_table_number_(&at, 4, false);
    const uint8_t *end = at + size, *cie = at;
    cie -= mtrace_table_number_(&at, 4, false);
    c.wanted = address;
    if (size == 0 || size == UINT32_MAX || !mtrace_cie_read_(&c, cie)) {
        return MTRACE_RULE_OTHER_;
    }
    c.location = mtrace_encoded_(&at, c.encoding);
    if (address - c.location >= mtrace_encoded_(&at, c.encoding & 15)) {
        return MTRACE_RULE_END_; /* no function */
    }
    if (c.is_signal) {
        return MTRACE_RULE_SIGNAL_;
    }
    size = c.has_data ? mtrace_uleb_(&at) : 0;
    c.first = c.row;
    return mtrace_cfi_run_(&c, at + size, end) ? mtrace_rule_of_row_(&c.row)
                                               : (uint64_t)MTRACE_RULE_OTHER_;
}

/* Without tables, the stack ends there. */
static MTRACE_COLD_ uint64_t mtrace_rule_make_(uintptr_t address) {
    mtrace_dl_found_ found;
    mtrace_linked_ linked;
    const uint8_t *fde;
    if (!mtrace_module_find_(address, &found, &linked) || found.unwind_tables == NULL) {
        return MTRACE_RULE_END_;
    }
    fde = mtrace_fde_find_((const uint8_t *)found.unwind_tables, address);
    return fde == NULL ? (uint64_t)MTRACE_RULE_OTHER_ : mtrace_rule_of_fde_(fde, address);
}

/* Takes a module in the order of the loader's list. It ends with the loader: what stands before it
   was there at the program's start. */
static int mtrace_lasting_add_(mtrace_module_ *module, size_t size, void *user) {
    mtrace_unwind_memory_ *memory = (mtrace_unwind_memory_ *)user;
    mtrace_lasting_ *to = &memory->lasting[memory->lasting_count++];
    mtrace_dl_found_ found;
    (void)size;
    memset(&found, 0, sizeof found);
    mtrace_module_measure_(module, &found);
    to->start = (uintptr_t)found.start;
    to->size = (uintptr_t)found.end - (uintptr_t)found.start;
    return module->bias == memory->loader ? 1 : memory->lasting_count == MTRACE_LASTING_ ? 2 : 0;
}

/* Without a loader in the list nobody can tell, and the program alone will do. */
static void mtrace_lasting_find_(mtrace_unwind_memory_ *memory) {
    memory->loader = (uintptr_t)getauxval(AT_BASE);
    if (mtrace_dl_iterate_phdr_(mtrace_lasting_add_, memory) == 0 || memory->loader == 0) {
        memory->lasting_count = 1;
    }
}

static uint64_t mtrace_mark_of_(uintptr_t address) {
    mtrace_unwind_memory_ *memory = mtrace_unwind_g_;
    mtrace_module module;
    uint32_t i, number;
    for (i = 0; i < memory->lasting_count; i++) {
        if (!MTRACE_MODULES_GO_ || address - memory->lasting[i].start < memory->lasting[i].size) {
            return 0;
        }
    }
    return mtrace_module_describe_(&memory->seen, &module, address, &number) &&
                   number != MTRACE_SEEN_ && module.build_id_size != 0
               ? (number + 1) * (uint64_t)0x9E3779B97F4A7C15u
               : MTRACE_NO_MARK_;
}

/* The entry has another mark than the walk's last module. Its rule holds if it is that of the
   address. */
static MTRACE_NOINLINE_ uint64_t mtrace_rule_look_(mtrace_rule_entry_ *entry, uint64_t hash,
                                                   uint64_t rule, uint64_t mark, uint64_t *present,
                                                   uintptr_t address) {
    uint64_t own = mtrace_mark_of_(address);
    *present = own;
    if (own == MTRACE_NO_MARK_) {
        return mtrace_rule_make_(address);
    }
    if (own != mark) {
        rule = mtrace_rule_make_(address);
        MTRACE_SET_(&entry->rule, rule);
        MTRACE_SET_(&entry->check, hash ^ rule ^ own);
    }
    return rule;
}

/* The rule of a return address: of the call before it. *present is the mark of a module that the
   walk knows to be there. */
static MTRACE_HOT_ uint64_t mtrace_rule_of_(uintptr_t address, uint64_t *present) {
    uint64_t hash = address * 0x9E3779B97F4A7C15u;
    mtrace_rule_entry_ *entry = &mtrace_unwind_g_->rules[hash >> (64 - MTRACE_RULE_BITS_)];
    uint64_t rule = MTRACE_GET_(&entry->rule), mark = MTRACE_GET_(&entry->check) ^ rule ^ hash;
    return MTRACE_LIKELY_(mark == 0) || mark == *present
               ? rule
               : mtrace_rule_look_(entry, hash, rule, mark, present, address - 1);
}

/* --- the walk --- */

typedef struct mtrace_registers_ {
    uintptr_t sp;
    uintptr_t bp;
    uintptr_t address;
    bool has_bp;
    uint64_t present; /* the mark of a module that is known to be there */
} mtrace_registers_;

/* The registers in the frame that the kernel made for a signal, a ucontext_t. Its address is an
   instruction's that did not end in a call. */
static void mtrace_registers_of_signal_(mtrace_registers_ *r) {
    enum { UCONTEXT_RBP = 120, UCONTEXT_RSP = 160, UCONTEXT_RIP = 168 };
    uintptr_t context = r->sp;
    r->bp = mtrace_word_at_(context + UCONTEXT_RBP);
    r->sp = mtrace_word_at_(context + UCONTEXT_RSP);
    r->address = mtrace_word_at_(context + UCONTEXT_RIP) + 1;
    r->has_bp = true;
}

static MTRACE_HOT_ int64_t mtrace_rule_offset_(uint64_t rule, uint32_t shift) {
    return (int64_t)(rule << (64 - MTRACE_OFFSET_BITS_ - shift)) >> (64 - MTRACE_OFFSET_BITS_);
}

/* To the caller. False: the rule has no answer. */
static MTRACE_HOT_ bool mtrace_registers_step_(mtrace_registers_ *r, uint64_t rule) {
    uint32_t kind = rule & 15, saved = rule >> 4 & 3;
    uintptr_t from = kind == MTRACE_RULE_RSP_ ? r->sp : r->bp, cfa;
    uintptr_t offset = (uintptr_t)mtrace_rule_offset_(rule, 6);
    if (MTRACE_UNLIKELY_(kind == MTRACE_RULE_SIGNAL_)) {
        mtrace_registers_of_signal_(r);
        return true;
    }
    if (MTRACE_UNLIKELY_(kind == MTRACE_RULE_OTHER_) ||
        MTRACE_UNLIKELY_(kind != MTRACE_RULE_RSP_ && !r->has_bp)) {
        return false;
    }
    cfa = from + offset;
    cfa = kind == MTRACE_RULE_ALIGNED_ ? mtrace_word_at_(cfa) : cfa;
    if (MTRACE_UNLIKELY_(cfa <= r->sp) || MTRACE_UNLIKELY_(cfa % sizeof(void *) != 0)) {
        return false;
    }
    if (saved != MTRACE_SAVED_NOT_) {
        uintptr_t at = saved == MTRACE_SAVED_RBP_ ? r->bp : cfa;
        r->has_bp = saved != MTRACE_SAVED_LOST_;
        r->bp = r->has_bp ? mtrace_word_at_(
                                at + (uintptr_t)mtrace_rule_offset_(rule, 6 + MTRACE_OFFSET_BITS_))
                          : 0;
    }
    r->sp = cfa;
    r->address = mtrace_word_at_(cfa - sizeof(void *));
    return true;
}

static MTRACE_HOT_ mtrace_registers_ mtrace_registers_at_(const void *frame) {
    mtrace_registers_ r;
    r.present = 0;
    r.bp = mtrace_word_at_((uintptr_t)frame);
    r.address = mtrace_word_at_((uintptr_t)frame + sizeof(void *));
    r.sp = (uintptr_t)frame + 2 * sizeof(void *);
    r.has_bp = true;
    return r;
}

static uint32_t mtrace_walk_by_tables_(uintptr_t *addresses, uint32_t room, const void *frame) {
    mtrace_registers_ r = mtrace_registers_at_(frame);
    uint32_t count = 0;
    while (count < room && r.address != 0) {
        uint64_t rule;
        addresses[count++] = r.address;
        if (count == room) {
            break;
        }
        rule = mtrace_rule_of_(r.address, &r.present);
        if ((rule & 15) == MTRACE_RULE_END_) {
            break;
        }
        if (MTRACE_UNLIKELY_(!mtrace_registers_step_(&r, rule))) {
            return mtrace_walk_by_compiler_(addresses, room, frame);
        }
    }
    return count;
}

/* ============================================================================================== */
/* [SECTION] CHAINS - stacks that are remembered                                                  */
/* ============================================================================================== */

/* A program allocates at the same places with the same stacks, so most stacks were read before. A
   chain remembers one, by its frame's address: where the return addresses stand, and what they are.
   If all these words are the same again, so is the stack, and the word kept with it is the answer.
   Nothing is unwound then.

   That is exact. The first return address is the same, so its rule is, and thus the place of the
   second, and so on. A rule with rbp needs one thing more: the value of rbp. So the place that it
   was loaded from is one more word to compare. Hence what an earlier stack has left in a frame of
   another size is never taken for a return address.

   The words are compared one by one, from the frame outwards. While all are the same, the next one
   is where a return address of this stack is, so it can be read. Stacks through a signal's frame
   are not remembered. Nor are those with more than MTRACE_STACK_WORDS_ words, or with words further
   away than 512 KiB.

   Four chains that one hash leads to form a set. A chain has a version that is odd while a thread
   writes to it. A reader looks at it before and after, and a second writer gives up. To forget all
   chains is to begin a new epoch. */

/* The rule of a return address in a module that stays, if it is known. Else 0. `hash` is the
   address's. */
static MTRACE_HOT_ uint64_t mtrace_rule_known_(uint64_t hash) {
    const mtrace_rule_entry_ *entry = &mtrace_unwind_g_->rules[hash >> (64 - MTRACE_RULE_BITS_)];
    uint64_t rule = MTRACE_GET_(&entry->rule);
    return (MTRACE_GET_(&entry->check) ^ rule) == hash ? rule : 0;
}

/* Most stacks of a large program begin with the same few functions, which call malloc for all
   others. So the hash takes in the second return address, if a known rule with rsp leads to it. */
static MTRACE_HOT_ mtrace_kept_stack_ *mtrace_stack_set_(const void *frame, uint64_t scope) {
    uintptr_t at = (uintptr_t)frame + sizeof(void *);
    uint64_t hash = mtrace_word_at_(at) * 0x9E3779B97F4A7C15u, rule = mtrace_rule_known_(hash);
    hash += (uintptr_t)frame ^ scope;
    if ((rule & 15) == MTRACE_RULE_RSP_) {
        hash ^= mtrace_word_at_(at + (uintptr_t)mtrace_rule_offset_(rule, 6));
    }
    hash *= 0x9E3779B97F4A7C15u;
    return &mtrace_unwind_g_->stacks[(hash >> (64 - MTRACE_STACK_BITS_)) * MTRACE_STACK_WAYS_];
}

static MTRACE_HOT_ bool mtrace_stack_is_(const mtrace_kept_stack_ *kept, uint32_t count,
                                         const uintptr_t *stack) {
    uint32_t i;
    for (i = 0; i < count; i += 2) {
        if (stack[MTRACE_PLAIN_(&kept->offsets[i])] != MTRACE_PLAIN_(&kept->words[i]) ||
            stack[MTRACE_PLAIN_(&kept->offsets[i + 1])] != MTRACE_PLAIN_(&kept->words[i + 1])) {
            return false;
        }
    }
    return true;
}

/* On x86-64 loads are not reordered, so the fences are for the compiler. */
static MTRACE_READS_STACK_ uint64_t mtrace_stack_find_in_(const mtrace_kept_stack_ *kept,
                                                          const void *frame, uint64_t scope) {
    const mtrace_kept_stack_ *end = kept + MTRACE_STACK_WAYS_;
    uint64_t epoch = MTRACE_GET_(&mtrace_unwind_g_->epoch);
    for (; kept < end; kept++) {
        uint64_t version = MTRACE_GET_ACQUIRE_(&kept->version), word, count;
        MTRACE_SIGNAL_FENCE_();
        count = MTRACE_GET_(&kept->epoch_and_count) ^ epoch;
        if (MTRACE_GET_(&kept->frame) == frame && MTRACE_GET_(&kept->scope) == scope &&
            count <= MTRACE_STACK_WORDS_ &&
            mtrace_stack_is_(kept, (uint32_t)count, (const uintptr_t *)frame)) {
            word = MTRACE_GET_(&kept->word);
            MTRACE_SIGNAL_FENCE_();
            if (version % 2 == 0 && MTRACE_GET_(&kept->version) == version) {
                return word;
            }
        }
    }
    return 0;
}

static uint64_t mtrace_stack_known_(const void *frame, uint64_t scope, uint32_t room) {
    (void)room;
    return mtrace_stack_find_in_(mtrace_stack_set_(frame, scope), frame, scope);
}

/* A chain that is being made. */
typedef struct mtrace_stack_maker_ {
    mtrace_kept_stack_ *kept;
    const void *frame;
    uint32_t count;
    uintptr_t bp_at; /* where rbp was loaded from */
    bool has_bp;     /* that word is compared already */
} mtrace_stack_maker_;

/* Adds a word to compare. False: it is too far away, or there is no room. */
static bool mtrace_stack_add_(mtrace_stack_maker_ *m, uintptr_t at) {
    uintptr_t offset = (at - (uintptr_t)m->frame) / sizeof(uintptr_t);
    if (offset > UINT16_MAX || m->count == MTRACE_STACK_WORDS_) {
        return false;
    }
    MTRACE_SET_(&m->kept->offsets[m->count], (uint16_t)offset);
    MTRACE_SET_(&m->kept->words[m->count], mtrace_word_at_(at));
    m->count++;
    return true;
}

/* Adds the words that the CFA depends on: where rbp was loaded from, and an aligned frame's CFA. */
static bool mtrace_stack_add_cfa_(mtrace_stack_maker_ *m, const mtrace_registers_ *r,
                                  uint64_t rule) {
    uint32_t kind = rule & 15;
    if (kind == MTRACE_RULE_RSP_) {
        return true;
    }
    if (!r->has_bp || (!m->has_bp && !mtrace_stack_add_(m, m->bp_at))) {
        return false;
    }
    m->has_bp = true;
    return kind == MTRACE_RULE_RBP_ ||
           (kind == MTRACE_RULE_ALIGNED_ &&
            mtrace_stack_add_(m, r->bp + (uintptr_t)mtrace_rule_offset_(rule, 6)));
}

/* Adds the words that lead to the caller. False: the stack cannot be remembered. */
static bool mtrace_stack_add_step_(mtrace_stack_maker_ *m, mtrace_registers_ *r, uint64_t rule) {
    uint32_t saved = rule >> 4 & 3;
    uintptr_t bp = r->bp;
    if (!mtrace_stack_add_cfa_(m, r, rule) || !mtrace_registers_step_(r, rule)) {
        return false;
    }
    if (saved != MTRACE_SAVED_NOT_) {
        m->bp_at = (saved == MTRACE_SAVED_RBP_ ? bp : r->sp) +
                   (uintptr_t)mtrace_rule_offset_(rule, 6 + MTRACE_OFFSET_BITS_);
        m->has_bp = false;
    }
    return mtrace_stack_add_(m, r->sp - sizeof(void *));
}

static bool mtrace_stack_make_(mtrace_stack_maker_ *m, uint32_t room) {
    mtrace_registers_ r = mtrace_registers_at_(m->frame);
    m->count = 0;
    m->bp_at = (uintptr_t)m->frame;
    m->has_bp = false;
    if (!mtrace_stack_add_(m, (uintptr_t)m->frame + sizeof(void *))) {
        return false;
    }
    while (--room > 0 && r.address != 0) {
        uint64_t rule = mtrace_rule_of_(r.address, &r.present);
        if ((rule & 15) == MTRACE_RULE_END_) {
            break;
        }
        if (!mtrace_stack_add_step_(m, &r, rule)) {
            return false;
        }
    }
    return m->count % 2 == 0 || mtrace_stack_add_(m, (uintptr_t)m->frame + sizeof(void *));
}

/* The chain to write to: the first that is of no use any more, as the session in its word is
   another one, or any one. */
static mtrace_kept_stack_ *mtrace_stack_victim_(mtrace_kept_stack_ *set, uint64_t word,
                                                uint64_t epoch) {
    size_t i;
    for (i = 0; i < MTRACE_STACK_WAYS_; i++) {
        if (MTRACE_GET_(&set[i].frame) == NULL ||
            (MTRACE_GET_(&set[i].epoch_and_count) ^ epoch) >> 16 != 0 ||
            (MTRACE_GET_(&set[i].word) ^ word) >> 32 != 0) {
            return &set[i];
        }
    }
    return &set[word * 0x9E3779B97F4A7C15u >> 62];
}

static void mtrace_stack_keep_(const void *frame, uint64_t scope, uint32_t room, uint64_t word) {
    mtrace_stack_maker_ m;
    uint64_t epoch = MTRACE_GET_(&mtrace_unwind_g_->epoch), version;
    m.frame = frame;
    m.kept = mtrace_stack_victim_(mtrace_stack_set_(frame, scope), word, epoch);
    version = MTRACE_GET_(&m.kept->version);
    if (version % 2 != 0 || !MTRACE_CAS_(&m.kept->version, &version, version + 1)) {
        return;
    }
    MTRACE_SET_(&m.kept->frame, mtrace_stack_make_(&m, room) ? frame : NULL);
    MTRACE_SET_(&m.kept->scope, scope);
    MTRACE_SET_(&m.kept->word, word);
    MTRACE_SET_(&m.kept->epoch_and_count, epoch ^ m.count);
    MTRACE_SET_RELEASE_(&m.kept->version, version + 2);
}

/* Rules and chains. */
static void mtrace_stacks_forget_(void) {
    size_t i;
    for (i = 0; i < (size_t)1 << MTRACE_RULE_BITS_; i++) {
        if (MTRACE_GET_(&mtrace_unwind_g_->rules[i].rule) != 0) {
            MTRACE_SET_(&mtrace_unwind_g_->rules[i].rule, 0);
        }
    }
    MTRACE_ADD_(&mtrace_unwind_g_->epoch, 1 << 16);
}

#define MTRACE_WALK_BY_TABLES_   mtrace_walk_by_tables_
#define MTRACE_CHAINS_OF_TABLES_ mtrace_stack_known_, mtrace_stack_keep_, mtrace_stacks_forget_
#else
#define MTRACE_WALK_BY_TABLES_       NULL
#define MTRACE_CHAINS_OF_TABLES_     NULL, NULL, NULL
#define mtrace_lasting_find_(memory) ((void)0)
#if MTRACE_UNWINDS_
typedef struct mtrace_unwind_memory_ {
    mtrace_seen_modules_ seen;
} mtrace_unwind_memory_;

MTRACE_SHARED_(mtrace_unwind_memory_ *mtrace_unwind_g_);
#endif
#endif

/* --- the unwinders --- */

#if MTRACE_UNWINDS_
#define MTRACE_WALK_BY_COMPILER_ mtrace_walk_by_compiler_
static bool mtrace_find_module_(mtrace_module *module, uintptr_t address) {
    uint32_t number;
    return mtrace_module_describe_(&mtrace_unwind_g_->seen, module, address, &number);
}

/* Takes the memory once. False: the system has none. */
static bool mtrace_unwind_ready_(void) {
    mtrace_unwind_memory_ *old = MTRACE_GET_ACQUIRE_(&mtrace_unwind_g_), *fresh;
    ssize_t length;
    if (old != NULL) {
        return true;
    }
    fresh = (mtrace_unwind_memory_ *)mtrace_system_alloc_(sizeof *fresh);
    if (fresh == NULL) {
        return false;
    }
    length = readlink("/proc/self/exe", fresh->seen.program, sizeof fresh->seen.program - 1);
    fresh->seen.program[length > 0 ? length : 0] = '\0';
    mtrace_lasting_find_(fresh);
    if (!MTRACE_CAS_(&mtrace_unwind_g_, &old, fresh)) { /* another thread's */
        mtrace_system_free_(fresh, sizeof *fresh);
    }
    return true;
}
#else
#define MTRACE_WALK_BY_COMPILER_ NULL
#define mtrace_can_unwind_()     false
static bool mtrace_find_module_(mtrace_module *module, uintptr_t address) {
    (void)module;
    (void)address;
    return false;
}

static bool mtrace_unwind_ready_(void) {
    return true;
}
#endif

/* The tracer knows the return address. */
static uint32_t mtrace_walk_not_(uintptr_t *addresses, uint32_t room, const void *frame) {
    (void)addresses;
    (void)room;
    (void)frame;
    return 0;
}

/* The first two need the program's unwind tables. */
static bool mtrace_unwinder_is_there_(const mtrace_unwinder *unwinder) {
    return unwinder->walk != NULL && ((unwinder->walk != MTRACE_WALK_BY_TABLES_ &&
                                       unwinder->walk != MTRACE_WALK_BY_COMPILER_) ||
                                      mtrace_can_unwind_());
}

const mtrace_unwinder *mtrace_get_unwinder(mtrace_unwind_kind kind) {
    static const mtrace_unwinder unwinders[] = {
        {MTRACE_WALK_BY_TABLES_, mtrace_find_module_, MTRACE_ADD_NAMES_, MTRACE_CHAINS_OF_TABLES_},
        {MTRACE_WALK_BY_COMPILER_, mtrace_find_module_, MTRACE_ADD_NAMES_, NULL, NULL, NULL},
        {mtrace_walk_not_, mtrace_find_module_, MTRACE_ADD_NAMES_, NULL, NULL, NULL},
        {MTRACE_WALK_BY_FRAMES_, mtrace_find_module_, MTRACE_ADD_NAMES_, NULL, NULL, NULL}};
    size_t i = kind == MTRACE_UNWIND_BEST ? 0 : (size_t)kind - 1;
    if ((unsigned)kind > MTRACE_UNWIND_FRAME_POINTERS || !mtrace_unwind_ready_()) {
        return NULL;
    }
    for (; kind == MTRACE_UNWIND_BEST && !mtrace_unwinder_is_there_(&unwinders[i]); i++) {
    }
    return mtrace_unwinder_is_there_(&unwinders[i]) ? &unwinders[i] : NULL;
}

#endif /* CALL STACKS */

/* ============================================================================================== */
/* [CHAPTER] LINE PROFILE - what each line of a function does to memory                           */
/* ============================================================================================== */

#ifndef MTRACE_EXT_PROFILE_
#define MTRACE_EXT_PROFILE_
#undef MTRACE_HAS_
#define MTRACE_HAS_ MTRACE_HAS_PROFILE_

/* MT_PROFILE(); is a declaration at the top of a function. From mtrace_profile_start on, every call
   of the function is measured until its block ends. Everything that the thread allocates and frees
   in that time, in the function or in its callees, is charged to the function's running line.
   These rules find that line, the first that applies:

     1. The line of the macro, for the function's own MT_MALLOC and the like.
     2. The line that MT_LINE(expression) marks while it evaluates the expression. The value is the
        expression's. On several lines it is the first or the last, as the compiler counts.
     3. The line of the return address in the function's stack frame, on Linux with GNU compilers.
        The report asks addr2line (binutils), then llvm-addr2line for unknown ones. This needs -g.
     4. The line of the last MT_LINE(); statement. That also counts a run of its line.
     5. Line 0, "not known".

   Levels ("held") start from the bytes held by the program at the start of the thread's outermost
   profiled call. From there only this thread's changes are added, so other threads do not disturb
   them. Every profiled call under way is charged, each at its own line. The lines of a recursive
   function include the inner calls, so they add up to more than the total.

   A call ends with its block, by return, break, goto or exception. After a longjmp it ends with the
   call around it, or when a call begins at the same place or further out. A thread that ends inside
   a call (pthread_exit) keeps its place among max_threads. A realloc is a free and an allocation.
   MT_PROFILE_LIMIT(bytes); is the same with a limit of its own (see mtrace_profile_desc).

   Before the start and after the stop, each macro costs one byte load. Without GNU attributes or
   C++ the compiler cannot run code at the end of a block, and MT_PROFILE is not defined. Write
   `mtrace_profile_token token = MT_PROFILE_PUSH(0);` and `MT_PROFILE_POP(token);` there. Do not
   unload a module with profiled functions before the last report.
   Source: memory_profiler's @profile. */
typedef struct mtrace_profile_token {
    uint64_t serial;  /* 0: not measured */
    uint32_t context; /* for the library */
    uint32_t depth;   /* for the library */
} mtrace_profile_token;

/* The line that was marked before this MT_LINE. */
typedef struct mtrace_line_token {
    const char *name; /* NULL: nothing to take back */
    uint32_t before;  /* for the library */
} mtrace_line_token;

/* How a profile is written. */
typedef enum mtrace_profile_style {
    /* For people. Held: the most held just after the line ran. Change: the sum of its changes, all
       in the unit that the head names. The row SUM adds them up: the bytes that the calls kept.
       Peak: the most held while it ran. Share of peak: the line's largest rise before another line
       ran, divided by the largest rise in a call of the function (its own peak). */
    MTRACE_PROFILE_TABLE = 0,
    /* memory_profiler's columns in its format. "Mem usage": the most held just after the line ran.
       "Increment": the sum of its changes. "Occurrences": its runs, "3+" for at least 3 if only a
       return address shows them. Blank where no memory changed. */
    MTRACE_PROFILE_CLASSIC = 1,
    MTRACE_PROFILE_CSV = 2, /* a row for each line that did something, in bytes. A cell may
                               begin with "=". Import it as text */
    MTRACE_PROFILE_JSON = 3
} mtrace_profile_style;

/* The contents and the target of a report. */
typedef struct mtrace_profile_report_desc {
    mtrace_profile_style style;
    mtrace_write_fn write; /* NULL: the file `path`. Both NULL: desc.write of the start, stdout */
    void *write_user;
    const char *path;     /* replaced (see FILES). Reports after each call are appended */
    const char *function; /* a pattern for function names, see mtrace_filter. NULL: all */
    uint32_t columns; /* of the table. 0: desc.columns of the start, or the terminal's; a pipe or
                             a file gets whole lines. A narrow table leaves columns out */
} mtrace_profile_report_desc;

/* The line that exceeded the limit. */
typedef struct mtrace_exceeded {
    const char *file;
    const char *function;
    uint32_t line;  /* 0: not known */
    uint64_t held;  /* bytes */
    uint64_t limit; /* bytes */
} mtrace_exceeded;

/* How to profile. All zero is a good default. NULL may stand for it. */
typedef struct mtrace_profile_desc {
    size_t max_threads; /* threads measured at once. 0: 16 */
    size_t max_lines;   /* lines per thread. 0: 1,024 */
    size_t max_depth;   /* nested profiled calls per thread. 0: 256 */
    /* A limit for the bytes held in total. `exceeded` is called before the allocation that exceeds
       the limit returns. It is called again if the level was below the limit in between. If it is
       NULL, one line goes to the default writer, and a debugger, if there is one, stops the
       program. 0: no limit. */
    uint64_t limit;
    void (*exceeded)(const mtrace_exceeded *what, void *user); /* see limit */
    void *user;
    bool after_every_call;             /* a report of each call when it ends */
    bool at_exit;                      /* one report of all calls when this process exits */
    mtrace_profile_report_desc report; /* of these two */
} mtrace_profile_desc;

MTRACE_OFF_BEGIN_

/* Starts measuring, and forgets the earlier profile. Takes about 400 bytes per line and 300 per
   call of depth, for each thread, once. Unused memory is not touched.
   Errors: ALREADY, NOT_TRACING, ARGUMENT (the tracer samples; sizes above 65,535), NO_MEMORY,
     FULL_AT_EXIT.
   Cost: O(1).
   Context: any thread, while no profiled call runs elsewhere; no signal handler or interrupt. */
MTRACE_EXT_API_ mtrace_result mtrace_profile_start(const mtrace_profile_desc *desc)
    MTRACE_EXT_OFF_(return MTRACE_ERR_COMPILED_OUT);

/* Stops measuring. Calls under way are measured to their end, without MT_LINE.
   Errors: none.
   Cost: O(1).
   Context: any thread. */
MTRACE_EXT_API_ void mtrace_profile_stop(void) MTRACE_EXT_OFF_();

/* Writes the profile, the sum of all calls, one function after the other. Calls under way are
   included if they are this thread's. desc NULL means tables to the default writer. If lines must
   be found, it runs addr2line from PATH. With raised privileges it runs the one in /usr/bin,
   without the environment.
   Errors: NOT_FOUND (never started), NO_WRITER, NO_MEMORY, IO.
   Cost: O(lines).
   Context: any thread; no signal handler or interrupt. */
MTRACE_EXT_API_ mtrace_result mtrace_profile_report(const mtrace_profile_report_desc *desc)
    MTRACE_EXT_OFF_(return MTRACE_ERR_COMPILED_OUT);

#if !MTRACE_HAS_PROFILE_
#define MTRACE_PROFILING_() 0
#else
MTRACE_API unsigned char mtrace_profiling_; /* started */
#ifdef __GNUC__
#define MTRACE_PROFILING_() __atomic_load_n(&mtrace_profiling_, __ATOMIC_RELAXED)
#else
#define MTRACE_PROFILING_() (*(volatile unsigned char *)&mtrace_profiling_)
#endif
#endif
MTRACE_EXT_API_ mtrace_profile_token mtrace_profile_push_(const mtrace_site *site, uint64_t limit,
                                                          const void *frame)
    MTRACE_EXT_OFF_(mtrace_profile_token none = MTRACE_ZERO_; return none);
MTRACE_EXT_API_ void mtrace_profile_pop_(mtrace_profile_token token) MTRACE_EXT_OFF_();
MTRACE_EXT_API_ mtrace_line_token mtrace_profile_mark_(const char *name, uint32_t line,
                                                       bool only_here)
    MTRACE_EXT_OFF_(mtrace_line_token none = MTRACE_ZERO_; return none);
MTRACE_EXT_API_ void mtrace_profile_unmark_(mtrace_line_token token) MTRACE_EXT_OFF_();

/* For the macros. mtrace_profile_push_at and mtrace_profile_pop begin and end a profiled call.
   mtrace_profile_mark_at and mtrace_profile_unmark_at begin and end an MT_LINE.
   Errors: none.
   Cost: O(1), a byte load while not measuring.
   Context: any thread. */
static inline mtrace_profile_token mtrace_profile_push_at(const mtrace_site *site, uint64_t limit,
                                                          const void *frame) {
    mtrace_profile_token none = MTRACE_ZERO_;
    return MTRACE_PROFILING_() ? mtrace_profile_push_(site, limit, frame) : none;
}
static inline void mtrace_profile_pop(mtrace_profile_token token) {
    if (token.serial != 0) {
        mtrace_profile_pop_(token);
    }
}
static inline mtrace_line_token mtrace_profile_mark_at(const char *name, uint32_t line,
                                                       bool only_here) {
    mtrace_line_token none = MTRACE_ZERO_;
    return MTRACE_PROFILING_() ? mtrace_profile_mark_(name, line, only_here) : none;
}
static inline void mtrace_profile_unmark_at(mtrace_line_token token) {
    if (token.name != MTRACE_NULL_) {
        mtrace_profile_unmark_(token);
    }
}

MTRACE_OFF_END_

#define MT_PROFILE_PUSH(limit)                                                                     \
    MTRACE_STATIC_(mtrace_profile_push_at)(MT_HERE, (limit), MTRACE_FRAME_())
#define MT_PROFILE_POP(token) MTRACE_STATIC_(mtrace_profile_pop)(token)

#if !MTRACE_HAS_PROFILE_ && (defined(__cplusplus) || defined(__GNUC__))
#define MT_PROFILE() struct mtrace_profile_here_ /* a declaration, too */
#define MT_PROFILE_LIMIT(limit)                                                                    \
    const uint64_t MTRACE_JOIN_(mtrace_profile_, MTRACE_COUNT_) MTRACE_UNUSED_ = (limit)
#elif defined(MTRACE_GUARD_)
static inline void mtrace_profile_leave_(const mtrace_profile_token *token) {
    mtrace_profile_pop(*token);
}
#define MT_PROFILE_LIMIT(limit)                                                                    \
    MTRACE_GUARD_(mtrace_profile_token, mtrace_profile_leave_, MT_PROFILE_PUSH(limit))
#define MT_PROFILE() MT_PROFILE_LIMIT(0)
#endif

/* MT_LINE(expression) has the expression's value. MT_LINE(); is a statement. See MT_PROFILE. */
#if defined(__GNUC__) && !MTRACE_HAS_PROFILE_
#define MT_LINE(...) (__extension__({ __VA_ARGS__; }))
#elif defined(__GNUC__)
static inline void mtrace_line_leave_(const mtrace_line_token *token) {
    mtrace_profile_unmark_at(*token);
}
#define MT_LINE(...)                                                                               \
    (__extension__({                                                                               \
        MTRACE_GUARD_(                                                                             \
            mtrace_line_token, mtrace_line_leave_,                                                 \
            mtrace_profile_mark_at(MTRACE_FUNCTION_, __LINE__, sizeof(#__VA_ARGS__) > 1));         \
        __VA_ARGS__;                                                                               \
    }))
#else
#define MT_LINE(...) (mtrace_profile_mark_at(MTRACE_FUNCTION_, __LINE__, false), ##__VA_ARGS__)
#endif

#endif /* MTRACE_EXT_PROFILE_ */

#if defined(MTRACE_EXT_IMPLEMENTS_) && MTRACE_HAS_PROFILE_

#if defined(__GNUC__) && !defined(__wasm__) /* its code has no addresses */
#define MTRACE_CALLER_() __builtin_return_address(0)
#else
#define MTRACE_CALLER_() NULL
#endif

/* ============================================================================================== */
/* [SECTION] UNWIND - the line of a function in a call stack                                      */
/* ============================================================================================== */

/* The platform's unwinder finds the return address in a function's frame, but takes microseconds.
   So its answers are kept in *chains*. A chain belongs to a call site and its distance from the
   function's frame. It has the stack offsets of all return addresses between the two, and a hash
   of these addresses. When the same addresses are at the same offsets again, the frames are the
   same. Then the word at the last offset is the function's return address. */
#if MTRACE_UNWINDS_
enum {
    MTRACE_CHAIN_MAX_ = 62,
    MTRACE_CHAIN_BITS_ = 5,
    MTRACE_CHAIN_WAYS_ = 4,
    MTRACE_CHAINS_ = MTRACE_CHAIN_WAYS_ << MTRACE_CHAIN_BITS_,
    MTRACE_UNWIND_MAX_ = 1024
};

typedef struct mtrace_chain_ {
    const mtrace_site *site;
    uintptr_t distance; /* from the innermost frame to the function's */
    uintptr_t hash;     /* of all return addresses but the last, which is in the function */
    uint32_t count;
    uint32_t offsets[MTRACE_CHAIN_MAX_]; /* their offsets, in words from the innermost frame */
} mtrace_chain_;

typedef struct mtrace_unwinding_ {
    uintptr_t base;  /* the innermost frame's address */
    uintptr_t frame; /* the address of the function's frame */
    uintptr_t below; /* the end of the previous frame */
    uintptr_t found; /* the newest return address that is not beyond the function */
    mtrace_chain_ chain;
    uint32_t steps;
    bool all_on_stack; /* every address was found on the stack */
    bool passed_frame; /* a frame beyond the function */
} mtrace_unwinding_;

static uintptr_t mtrace_chain_mix_(uintptr_t hash, uintptr_t address) {
    return (hash ^ address) * MTRACE_GOLDEN_;
}

/* The highest word between `from` and `to` that holds the address. NULL: none. */
static MTRACE_READS_STACK_ const uintptr_t *mtrace_stack_find_(uintptr_t from, uintptr_t to,
                                                               uintptr_t address) {
    const uintptr_t *word = (const uintptr_t *)to, *first = (const uintptr_t *)from;
    while (word-- > first) {
        if (*word == address) {
            return word;
        }
    }
    return NULL;
}

static void mtrace_chain_add_(mtrace_unwinding_ *u, uintptr_t address, uintptr_t end) {
    const uintptr_t *word = mtrace_stack_find_(u->below, end, address);
    uintptr_t offset = ((uintptr_t)word - u->base) / sizeof *word;
    if (word == NULL || offset > UINT32_MAX || u->chain.count == MTRACE_CHAIN_MAX_) {
        u->all_on_stack = false;
        return;
    }
    if (u->chain.count > 0) {
        u->chain.hash = mtrace_chain_mix_(u->chain.hash, u->found);
    }
    u->chain.offsets[u->chain.count++] = (uint32_t)offset;
}

/* Takes one frame: its instruction and the end of its stack (_Unwind_GetCFA is the caller's
   view). */
static _Unwind_Reason_Code mtrace_unwind_step_(struct _Unwind_Context *context, void *user) {
    mtrace_unwinding_ *u = (mtrace_unwinding_ *)user;
    uintptr_t end = (uintptr_t)_Unwind_GetCFA(context);
    if (end > u->frame || u->steps++ == MTRACE_UNWIND_MAX_) {
        u->passed_frame = end > u->frame;
        return _URC_END_OF_STACK;
    }
    if (end > u->base) {
        uintptr_t address = (uintptr_t)_Unwind_GetIP(context);
        mtrace_chain_add_(u, address, end);
        u->found = address;
        u->below = end;
    }
    return _URC_NO_REASON;
}

static MTRACE_HOT_ mtrace_chain_ *mtrace_chains_of_(mtrace_chain_ *chains, const mtrace_site *site,
                                                    uintptr_t distance) {
    uintptr_t hash = ((uintptr_t)site ^ distance) * MTRACE_GOLDEN_;
    return &chains[(hash >> (sizeof hash * 8 - MTRACE_CHAIN_BITS_)) * MTRACE_CHAIN_WAYS_];
}

static MTRACE_READS_STACK_ uintptr_t mtrace_chain_read_(const mtrace_chain_ *chain,
                                                        const uintptr_t *base) {
    uintptr_t hash = 0;
    uint32_t i;
    for (i = 0; i + 1 < chain->count; i++) {
        hash = mtrace_chain_mix_(hash, base[chain->offsets[i]]);
    }
    return hash == chain->hash ? base[chain->offsets[i]] : 0;
}

/* The return address in the frame at `frame`, from a chain of the site. 0: no chain fits. Chains of
   one site and distance are side by side in one set. */
static MTRACE_HOT_ uintptr_t mtrace_known_address_(mtrace_chain_ *chains, const mtrace_site *site,
                                                   const void *from, const void *frame) {
    uintptr_t distance = (uintptr_t)frame - (uintptr_t)from, address = 0;
    const mtrace_chain_ *chain = mtrace_chains_of_(chains, site, distance);
    const mtrace_chain_ *end = chain + MTRACE_CHAIN_WAYS_;
    for (; chain < end && address == 0; chain++) {
        if (chain->site == site && chain->distance == distance) {
            address = mtrace_chain_read_(chain, (const uintptr_t *)from);
        }
    }
    return address;
}

/* Keeps a chain as the first of its set. Drops the last one. */
static void mtrace_chain_keep_(mtrace_chain_ *chains, const mtrace_chain_ *found) {
    mtrace_chain_ *set = mtrace_chains_of_(chains, found->site, found->distance);
    memmove(set + 1, set, (MTRACE_CHAIN_WAYS_ - 1) * sizeof *set);
    *set = *found;
}

/* The return address from the unwinder. 0: not found. */
static MTRACE_NOINLINE_ uintptr_t mtrace_return_address_(mtrace_chain_ *chains,
                                                         const mtrace_site *site, const void *from,
                                                         const void *frame) {
    uintptr_t distance = (uintptr_t)frame - (uintptr_t)from;
    mtrace_unwinding_ u;
    if (frame == NULL || from == NULL || (uintptr_t)frame <= (uintptr_t)from ||
        !mtrace_can_unwind_()) {
        return 0;
    }
    memset(&u, 0, sizeof u);
    u.base = u.below = (uintptr_t)from;
    u.frame = (uintptr_t)frame;
    u.all_on_stack = true;
    _Unwind_Backtrace(mtrace_unwind_step_, &u);
    if (!u.passed_frame) {
        return 0; /* too deep, or a function between has no unwind tables */
    }
    if (u.all_on_stack && u.chain.count > 0) {
        u.chain.site = site;
        u.chain.distance = distance;
        mtrace_chain_keep_(chains, &u.chain);
    }
    return u.found;
}
#else
enum { MTRACE_CHAINS_ = 1 };
typedef struct mtrace_chain_ {
    char unused;
} mtrace_chain_;
static uintptr_t mtrace_known_address_(mtrace_chain_ *chains, const mtrace_site *site,
                                       const void *from, const void *frame) {
    (void)chains;
    (void)site;
    (void)from;
    (void)frame;
    return 0;
}
#define mtrace_return_address_ mtrace_known_address_
#endif

/* ============================================================================================== */
/* [SECTION] SOURCE OF A FUNCTION                                                                 */
/* ============================================================================================== */

/* A complete source file, and the lines of the block that holds a line. */
typedef struct mtrace_listing_ {
    char *text; /* NULL: it cannot be read */
    size_t size;
    uint32_t first; /* 0: not known */
    uint32_t last;
    const char *at; /* the last line read */
    uint32_t at_line;
} mtrace_listing_;

static char *mtrace_read_whole_(const char *path, size_t *size) {
    FILE *file = mtrace_open_regular_(path);
    char *text = NULL;
    size_t room = 65536, n = 1;
    *size = 0;
    while (file != NULL && n != 0 && room < ((size_t)1 << 28)) {
        char *more = (char *)realloc(text, room + 1);
        if (more == NULL) {
            break;
        }
        text = more;
        n = fread(text + *size, 1, room - *size, file);
        *size += n;
        room *= *size == room ? 2 : 1;
    }
    if (file != NULL) {
        fclose(file);
    }
    if (text != NULL) {
        text[*size] = '\0';
    }
    return text;
}

/* Skips a comment, a literal or a directive at `at`. Returns `at` if there is none. */
static const char *mtrace_skip_quoted_(const char *at) {
    char quote = *at++;
    while (*at != '\0' && *at != quote && *at != '\n') {
        at += at[0] == '\\' && at[1] != '\0' ? 2 : 1;
    }
    return *at == quote ? at + 1 : at;
}

static const char *mtrace_skip_line_(const char *at) {
    while (*at != '\0' && *at != '\n') {
        at += at[0] == '\\' && at[1] == '\n' ? 2 : 1;
    }
    return at;
}

static const char *mtrace_skip_(const char *text, const char *at, bool line_is_blank) {
    const char *end;
    if (at[0] == '/' && at[1] == '*') {
        end = strstr(at + 2, "*/");
        return end != NULL ? end + 2 : at + strlen(at);
    }
    if ((at[0] == '/' && at[1] == '/') || (at[0] == '#' && line_is_blank)) {
        return mtrace_skip_line_(at);
    }
    if (*at == '"' || (*at == '\'' && !(at > text && at[-1] >= '0' && at[-1] <= '9'))) {
        return mtrace_skip_quoted_(at); /* 1'000 is a number in C++ */
    }
    return at;
}

/* Reads the file brace by brace, up to the end of the innermost block that holds the line. */
typedef struct mtrace_blocks_ {
    uint32_t line;      /* the current line */
    uint32_t statement; /* the first line of the text before a brace. 0: no text yet */
    uint32_t depth;
    uint32_t heads[64]; /* first lines of the open blocks */
    uint32_t wanted;
    uint32_t wanted_depth; /* 0: the line is not reached yet */
} mtrace_blocks_;

/* True at the end of the wanted block. */
static bool mtrace_blocks_take_(mtrace_blocks_ *b, char c) {
    if (b->wanted_depth == 0 && b->line >= b->wanted && b->depth > 0) {
        b->wanted_depth = b->depth;
    }
    if (c == '{') {
        if (b->depth < 64) {
            b->heads[b->depth] = b->statement != 0 ? b->statement : b->line;
        }
        b->depth++;
    }
    if (c == '}' && b->depth > 0) {
        b->depth--;
        if (b->wanted_depth == b->depth + 1) {
            return true;
        }
    }
    if (c == '{' || c == '}' || c == ';') {
        b->statement = 0;
    } else if (b->statement == 0 && !mtrace_is_blank_(c)) {
        b->statement = b->line;
    }
    return false;
}

static void mtrace_source_find_(mtrace_listing_ *s, uint32_t line) {
    mtrace_blocks_ b = MTRACE_ZERO_;
    const char *at = s->text;
    bool blank = true, found = false;
    b.line = 1;
    b.wanted = line;
    while (*at != '\0' && !found) {
        const char *next = mtrace_skip_(s->text, at, blank);
        if (next == at) {
            found = mtrace_blocks_take_(&b, *at);
            blank = *at == '\n' || (blank && mtrace_is_blank_(*at));
            next = at + 1;
        }
        for (; at < next && !found; at++) {
            b.line += *at == '\n';
        }
    }
    if (found && b.wanted_depth <= 64) {
        s->first = b.heads[b.wanted_depth - 1];
        s->last = b.line;
    }
}

static mtrace_listing_ mtrace_source_open_(const mtrace_site *function) {
    mtrace_listing_ s = MTRACE_ZERO_;
    s.text = mtrace_read_whole_(function->file, &s.size);
    if (s.text != NULL) {
        mtrace_source_find_(&s, function->line);
    }
    return s;
}

/* The text of a line and what follows it, "" if there is no such line. Starts at the last line
   read. */
static const char *mtrace_source_line_(mtrace_listing_ *s, uint32_t line) {
    const char *end;
    if (s->at == NULL || line < s->at_line) {
        s->at = s->text;
        s->at_line = 1;
    }
    for (; s->at != NULL && s->at_line < line; s->at_line++) {
        end = strchr(s->at, '\n');
        s->at = end == NULL ? NULL : end + 1;
    }
    return s->at == NULL || line == 0 ? "" : s->at;
}

/* ============================================================================================== */
/* [SECTION] SYMBOLS - lines of return addresses, from addr2line                                  */
/* ============================================================================================== */

/* A report finds the lines of its return addresses in one go, by CODE NAMES. What the first program
   does not know, or takes for another function, the next one is asked. */

/* An address, its function, and the line of the function there. */
typedef struct mtrace_symbol_ {
    uintptr_t address;
    const mtrace_site *function;
    struct mtrace_line_ *record; /* the record with this address. NULL: none */
    uint32_t line;               /* 0: not found */
} mtrace_symbol_;

#if MTRACE_UNWINDS_
typedef struct mtrace_symbol_search_ {
    mtrace_resolve_desc desc; /* its tool is the program to ask */
    mtrace_symbol_ *symbols;
    size_t count;
} mtrace_symbol_search_;

/* True if addr2line's demangled name is that of the function with this __func__. */
static bool mtrace_is_name_of_(const char *text, const char *function) {
    size_t length = strlen(function);
    const char *at = text;
    for (; (at = strstr(at, function)) != NULL; at++) {
        char before = at == text ? ':' : at[-1], after = at[length];
        if (strchr(":* &", before) != NULL && strchr("(<. [", after) != NULL) {
            return true; /* strchr finds the end of text, too */
        }
    }
    return false;
}

/* A line of the wanted function, from an address's frames. The function's name decides. Without it,
   the outermost frame in its file does. */
static uint32_t mtrace_line_in_(const mtrace_book_ *book, const mtrace_place_ *place,
                                const mtrace_site *function) {
    const char *file = mtrace_base_name_(function->file);
    bool named = false;
    uint32_t i, line = 0;
    for (i = 0; i < place->count && !named; i++) {
        const mtrace_named_ *n = mtrace_named_at_(book, place->first + i);
        if (n->line != 0 && strcmp(mtrace_base_name_(book->text.data + n->file), file) == 0) {
            line = n->line;
            named = n->function != 0 &&
                    mtrace_is_name_of_(book->text.data + n->function, function->function);
        }
    }
    return line;
}

/* A return address is behind its call, so the byte before it is used. Each symbol has one place. */
static bool mtrace_symbol_is_in_(const mtrace_symbol_ *symbol, const mtrace_module_ *module) {
    return symbol->line == 0 && mtrace_module_holds_(module, symbol->address - 1);
}

/* Asks about the module's addresses that have no line. */
static void mtrace_symbols_ask_(mtrace_symbol_search_ *s, const mtrace_module_ *module,
                                const mtrace_module *file) {
    mtrace_book_ book = MTRACE_ZERO_;
    uint64_t key = mtrace_module_key_(file);
    mtrace_asking_ *a = mtrace_asking_begin_(&s->desc, &book);
    size_t i;
    for (i = 0; i < s->count; i++) {
        if (mtrace_symbol_is_in_(&s->symbols[i], module)) {
            mtrace_book_add_(&book, key, s->symbols[i].address - 1 - module->bias);
        }
    }
    mtrace_book_sort_(&book);
    if (a != NULL) {
        mtrace_module_ask_(a, file);
        mtrace_asking_end_(a);
    }
    for (i = 0; i < s->count && a != NULL && !book.is_full; i++) {
        mtrace_symbol_ *symbol = &s->symbols[i];
        if (mtrace_symbol_is_in_(symbol, module)) {
            size_t at = mtrace_book_find_(&book, key, symbol->address - 1 - module->bias), count;
            const mtrace_place_ *places = mtrace_book_places_(&book, &count);
            symbol->line = mtrace_line_in_(&book, &places[at], symbol->function);
        }
    }
    mtrace_book_free_(&book);
}

/* The file of the module at this address, with its build id. /proc/PID/exe is another one where an
   emulator runs the program. */
#if MTRACE_HAS_STACKS_
static bool mtrace_symbol_file_(mtrace_module *file, uintptr_t address) {
    return mtrace_unwind_ready_() && mtrace_find_module_(file, address) && file->build_id_size != 0;
}
#else
static bool mtrace_symbol_file_(mtrace_module *file, uintptr_t address) {
    (void)file;
    (void)address;
    return false;
}
#endif

static int mtrace_symbols_of_module_(mtrace_module_ *module, size_t size, void *user) {
    mtrace_symbol_search_ *s = (mtrace_symbol_search_ *)user;
    mtrace_module file = MTRACE_ZERO_;
    char program[64]; /* without a build id: the file that runs, and not one that replaced it */
    size_t i = 0;
    (void)size;
    while (i < s->count && !mtrace_symbol_is_in_(&s->symbols[i], module)) {
        i++;
    }
    if (i == s->count) {
        return 0;
    }
    if (!mtrace_symbol_file_(&file, s->symbols[i].address - 1)) {
        snprintf(program, sizeof program, "/proc/%lu/exe", mtrace_process_());
        file.path = module->name[0] == '\0' ? program : module->name;
    }
    mtrace_symbols_ask_(s, module, &file);
    return 0;
}

/* Rejects lines outside their function. addr2line can take an inlined function for the one around
   it (binutils 2.40 with clang's output). Such lines are not known. */
static void mtrace_symbols_check_(mtrace_symbol_ *symbols, size_t count) {
    mtrace_listing_ listing = MTRACE_ZERO_;
    const mtrace_site *function = NULL;
    size_t i;
    for (i = 0; i < count; i++) {
        if (symbols[i].function != function) {
            free(listing.text);
            function = symbols[i].function;
            listing = mtrace_source_open_(function);
        }
        if (listing.first != 0 &&
            (symbols[i].line < listing.first || symbols[i].line > listing.last)) {
            symbols[i].line = 0;
        }
    }
    free(listing.text);
}

static void mtrace_symbols_find_(mtrace_symbol_ *symbols, size_t count) {
    mtrace_symbol_search_ search = MTRACE_ZERO_;
    size_t i;
    search.symbols = symbols;
    search.count = count;
    for (i = 0; i < MTRACE_TOOLS_; i++) {
        search.desc.tool = mtrace_tools_[i];
        mtrace_dl_iterate_phdr_(mtrace_symbols_of_module_, &search);
        mtrace_symbols_check_(symbols, count);
    }
}
#else
static void mtrace_symbols_find_(mtrace_symbol_ *symbols, size_t count) {
    (void)symbols;
    (void)count;
}
#endif

/* ============================================================================================== */
/* [SECTION] MEASURING - workers, calls, lines                                                    */
/* ============================================================================================== */

/* clang-format off */
/* A thread inside profiled calls has a *worker*, called by the thread's observer for each event.
   Calls under way are a stack. Each call has *cells*, one for each line that ran in it, with the
   line's effect on memory in this call. Cells are a stack, too, so a call frees its cells when it
   ends. An event changes only the cell of the running line in the innermost call. So its cost does
   not grow with the depth.

   When a call ends, its total is added at once to the line that made the call. Its cells are added
   to *records*. A record is one line of a function, with the sums over all calls. Reports read the
   records.

   For example, f and g are profiled, and line 12 of f calls g. g allocates 100 bytes in line 30 and
   frees 40 in line 31. While g runs, only the cells of lines 30 and 31 change. When g ends, the
   records of lines 30 and 31 change by +100 and -40, and the cell of line 12 changes by +60. */
/* clang-format on */

#define MTRACE_KEY_OF_LINE_(line)    ((uint64_t)(line) << 1)
#define MTRACE_KEY_OF_ADDRESS_(word) ((uint64_t)(word) << 1 | 1)
#define MTRACE_NO_KEY_               UINT64_MAX
enum { MTRACE_MAX_PROFILED_ = 256 };
enum { MTRACE_MARK_ONLY_ = 1 }; /* a mark is 2 * line, plus this bit if it precedes all else */

typedef struct mtrace_line_ {
    uint64_t key;
    uint32_t found; /* the line of an address, set by the first report */
    uint32_t function;
    uint32_t cell; /* in the innermost call that ran the line. 0: none */
    uint64_t runs;
    uint64_t allocs;
    uint64_t frees;
    int64_t change;
    int64_t held; /* the most held just after it ran */
    int64_t peak; /* the most held while it ran */
    int64_t rise; /* its largest rise before another line ran */
} mtrace_line_;

typedef struct mtrace_line_cell_ {
    int64_t change;
    int64_t held;
    int64_t peak;
    int64_t rise;
    uint64_t runs;
    uint64_t allocs;
    uint64_t frees;
    uint32_t line;  /* its record */
    uint32_t outer; /* the record's cell in an outer call */
} mtrace_line_cell_;

/* A line that was found recently. */
enum { MTRACE_RECENT_BITS_ = 3 };
typedef struct mtrace_recent_ {
    uint64_t key;
    mtrace_line_cell_ *cell;
} mtrace_recent_;

typedef struct mtrace_call_ {
    mtrace_line_cell_ *cell; /* the running line's cell */
    uint64_t key;            /* the running line's key */
    const mtrace_site *site; /* the running macro, if it is the function's own */
    const char *name;        /* as in its macros: __func__, or in C++ a lambda's name */
    const char *file;
    const void *frame;
    uint32_t mark;
    int64_t peak;
    int64_t start; /* the level at the start of the running line */
    mtrace_recent_ recent[1 << MTRACE_RECENT_BITS_];
    const void *call_address; /* a return address into the function */
    uint32_t function;
    uint32_t first_cell;
    int64_t entry; /* the level at its start */
    int64_t outer_limit;
    uint64_t serial;
    uint64_t start_time; /* ns. 0: the recorder is off */
    int64_t start_level;
} mtrace_call_;

/* A function in one worker. */
typedef struct mtrace_called_ {
    uint64_t calls;
    uint32_t active;
    int64_t base;  /* held at the first call, plus the changes between calls */
    int64_t entry; /* the most held at the start of a call */
    int64_t left;  /* held at the end of the last call */
    int64_t after; /* the most held at the end of a call */
    int64_t peak;
    int64_t rise; /* the largest rise from a call's start to its peak */
} mtrace_called_;

typedef struct mtrace_worker_ {
    uint32_t number;
    uint32_t taken;
    uint32_t depth;
    uint32_t cells_used;
    uint32_t lines_used;
    mtrace_call_ *call; /* the innermost. NULL: none, or it is being changed */
    int64_t level;
    int64_t limit;
    bool is_above; /* above the limit, and `exceeded` was called */
    uint64_t serial;
    mtrace_observer before;
    uint64_t dropped;       /* allocations that the tracer could not trace */
    uint64_t lost_lines;    /* changes of line that found no cell */
    uint64_t lost_calls;    /* calls too deep */
    uint64_t left_calls;    /* calls that a longjmp has left */
    uint64_t interruptions; /* events of handlers during another event */
    mtrace_call_ *calls;
    mtrace_line_cell_ *cells;
    mtrace_line_ *lines;
    uint16_t *index; /* the hash table of lines */
    uint32_t index_mask;
    mtrace_chain_ *chains;
    mtrace_called_ *totals;
} mtrace_worker_;

typedef struct mtrace_profiler_ {
    mtrace_profile_desc desc; /* with the defaults filled in */
    mtrace_owner_ owner;      /* for a report at exit */
    uint32_t session;
    uint32_t function_count;
    uint64_t lost_calls; /* calls without a worker or a function number */
    mtrace_worker_ *workers;
    size_t worker_count;
    mtrace_site functions[MTRACE_MAX_PROFILED_];  /* with the names in reports */
    const char *full_names[MTRACE_MAX_PROFILED_]; /* the names in their macros */
    char names[MTRACE_MAX_PROFILED_][MTRACE_SHORT_NAME_];
} mtrace_profiler_;

#if !MTRACE_IS_STATIC_
unsigned char mtrace_profiling_;
#endif
MTRACE_SHARED_(mtrace_profiler_ mtrace_profiler_g_);

#define MTRACE_RAISE_(field, value)                                                                \
    do {                                                                                           \
        if (MTRACE_GET_(field) < (value)) {                                                        \
            MTRACE_SET_(field, value);                                                             \
        }                                                                                          \
    } while (0)
#define MTRACE_GROW_(field, value) MTRACE_SET_(field, MTRACE_GET_(field) + (value))

/* --- records and cells --- */

/* The record of a line. 0: no room. Record 0 belongs to no line. */
static uint32_t mtrace_line_of_(mtrace_worker_ *w, uint32_t function, uint64_t key) {
    uint64_t hash = (key ^ (uint64_t)function << 40) * 0x9E3779B97F4A7C15u;
    uint32_t at = (uint32_t)(hash >> 32) & w->index_mask, number;
    while ((number = w->index[at]) != 0) {
        if (w->lines[number].key == key && w->lines[number].function == function) {
            return number;
        }
        at = (at + 1) & w->index_mask;
    }
    if (w->lines_used > mtrace_profiler_g_.desc.max_lines) {
        return 0;
    }
    number = w->lines_used;
    w->lines[number].key = key;
    w->lines[number].function = function;
    w->lines[number].held = w->lines[number].peak = INT64_MIN;
    MTRACE_SET_RELEASE_(&w->lines_used, number + 1);
    w->index[at] = (uint16_t)number;
    return number;
}

static mtrace_line_cell_ *mtrace_line_cell_of_(mtrace_worker_ *w, const mtrace_call_ *call,
                                               uint32_t number) {
    mtrace_line_ *line = &w->lines[number];
    mtrace_line_cell_ *cell;
    if (number == 0 || line->cell >= call->first_cell) {
        return &w->cells[line->cell];
    }
    if (w->cells_used > 4 * mtrace_profiler_g_.desc.max_lines) {
        return w->cells;
    }
    cell = &w->cells[w->cells_used];
    memset(cell, 0, sizeof *cell);
    cell->line = number;
    cell->outer = line->cell;
    cell->held = cell->peak = INT64_MIN;
    line->cell = w->cells_used++;
    return cell;
}

static mtrace_line_cell_ *mtrace_line_cell_find_(mtrace_worker_ *w, const mtrace_call_ *call,
                                                 uint64_t key) {
    mtrace_line_cell_ *cell =
        mtrace_line_cell_of_(w, call, mtrace_line_of_(w, call->function, key));
    w->lost_lines += cell == w->cells; /* belongs to no line */
    return cell;
}

static void mtrace_raise_(int64_t *most, int64_t value) {
    *most = *most > value ? *most : value;
}

/* Charges a change to the running line. `highest` is the highest level in between. */
static MTRACE_HOT_ void mtrace_call_change_(mtrace_call_ *call, int64_t change, int64_t highest) {
    mtrace_line_cell_ *cell = call->cell;
    cell->change += change;
    mtrace_raise_(&cell->peak, highest);
    mtrace_raise_(&cell->rise, highest - call->start);
    mtrace_raise_(&call->peak, highest);
}

/* Another line starts, or the same one again. */
static MTRACE_HOT_ void mtrace_call_begin_line_(mtrace_worker_ *w, mtrace_call_ *call,
                                                mtrace_line_cell_ *cell) {
    mtrace_raise_(&call->cell->held, w->level);
    call->start = cell != call->cell ? w->level : call->start;
    call->cell = cell;
    cell->runs++;
    mtrace_raise_(&cell->peak, w->level);
}

/* --- the limit --- */

/* True if the process runs under a debugger. */
static bool mtrace_is_debugged_(void) {
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    long tracer = 0;
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "TracerPid:", 10) == 0) {
            tracer = strtol(line + 10, NULL, 10);
        }
    }
    if (status != NULL) {
        fclose(status);
    }
    return tracer != 0;
}

#ifdef __wasi__
#define MTRACE_BREAK_() ((void)0) /* no signals, and no debugger is seen */
#elif defined(SIGTRAP)
#define MTRACE_BREAK_() raise(SIGTRAP)
#else
#define MTRACE_BREAK_() raise(5)
#endif
static void mtrace_limit_default_(const mtrace_exceeded *what) {
    bool debugged = mtrace_is_debugged_();
    mtrace_text_ t;
    char line[MTRACE_TEXT_LINE_];
    if (mtrace_text_to_default_(&t, line)) {
        mtrace_put_name_(&t, what->file);
        mtrace_put_char_(&t, ':');
        mtrace_put_number_(&t, what->line);
        mtrace_put_(&t, ": warning: ");
        mtrace_put_name_(&t, what->function);
        mtrace_put_(&t, ": ");
        mtrace_put_size_(&t, what->held);
        mtrace_put_(&t, " held, above the limit of ");
        mtrace_put_size_(&t, what->limit);
        mtrace_put_(&t, debugged ? ": stopping in the debugger\n" : " (no debugger here)\n");
        mtrace_text_end_(&t);
    }
    if (debugged) {
        MTRACE_BREAK_();
    }
}

static MTRACE_COLD_ void mtrace_limit_exceeded_(const mtrace_worker_ *w) {
    const mtrace_profiler_ *p = &mtrace_profiler_g_;
    const mtrace_call_ *call = w->call;
    uint64_t key = w->lines[call->cell->line].key;
    mtrace_symbol_ symbol = MTRACE_ZERO_;
    mtrace_exceeded what;
    symbol.function = &p->functions[call->function];
    symbol.address = (uintptr_t)(key >> 1);
    symbol.line = (uint32_t)(key >> 1);
    if (key & 1) {
        symbol.line = 0;
        mtrace_symbols_find_(&symbol, 1);
    }
    what.file = symbol.function->file;
    what.function = symbol.function->function;
    what.line = symbol.line;
    what.held = (uint64_t)w->level;
    what.limit = (uint64_t)w->limit;
    if (p->desc.exceeded != NULL) {
        p->desc.exceeded(&what, p->desc.user);
    } else {
        mtrace_limit_default_(&what);
    }
}

/* --- events --- */

static MTRACE_HOT_ mtrace_recent_ *mtrace_recent_of_(mtrace_call_ *call, uint64_t key) {
    return &call->recent[key * 0x9E3779B97F4A7C15u >> (64 - MTRACE_RECENT_BITS_)];
}

/* The key of the call's line that runs `site`, if it is known at once. 0: not known. `own` means
   that the site is in the function itself. */
static MTRACE_HOT_ uint64_t mtrace_call_key_(mtrace_worker_ *w, const mtrace_call_ *call,
                                             const mtrace_site *site, const void *frame, bool own) {
    uintptr_t address;
    if (own) {
        return MTRACE_KEY_OF_LINE_(site->line);
    }
    address = mtrace_known_address_(w->chains, site, frame, call->frame);
    return address == 0 ? 0 : MTRACE_KEY_OF_ADDRESS_(address);
}

/* True for equal texts, and for NULL twice. In C++ each macro has a text of its own. */
static bool mtrace_is_same_text_(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && *a == *b && strcmp(a, b) == 0);
}

/* True if the site is in the function. Equal names can be one constant. */
static bool mtrace_site_is_own_(const mtrace_call_ *call, const mtrace_site *site) {
    return mtrace_is_same_text_(site->function, call->name) &&
           mtrace_is_same_text_(site->file, call->file);
}

/* Switches to a line, unless it runs already. If a macro of the function's own runs again, that is
   a new run of the line. */
static MTRACE_HOT_ void mtrace_call_switch_line_(mtrace_worker_ *w, mtrace_call_ *call,
                                                 uint64_t key, mtrace_line_cell_ *cell,
                                                 const mtrace_site *own_site) {
    if (cell != call->cell || (own_site != NULL && own_site == call->site)) {
        mtrace_call_begin_line_(w, call, cell);
    }
    call->key = key;
    call->site = own_site;
}

static MTRACE_NOINLINE_ void mtrace_call_switch_line_slow_(mtrace_worker_ *w, mtrace_call_ *call,
                                                           const mtrace_site *site,
                                                           const void *frame, bool own) {
    uint64_t key;
    mtrace_recent_ *recent;
    if ((call->mark & MTRACE_MARK_ONLY_) != 0 && (!own || site->line == call->mark >> 1)) {
        return;
    }
    if (own) {
        call->mark &= ~(uint32_t)MTRACE_MARK_ONLY_; /* a longjmp has left the MT_LINE */
    }
    key = mtrace_call_key_(w, call, site, frame, own);
    if (key == 0) {
        uintptr_t address = mtrace_return_address_(w->chains, site, frame, call->frame);
        key = address != 0 ? MTRACE_KEY_OF_ADDRESS_(address) : MTRACE_KEY_OF_LINE_(call->mark >> 1);
    }
    recent = mtrace_recent_of_(call, key);
    recent->key = key;
    recent->cell = mtrace_line_cell_find_(w, call, key);
    mtrace_call_switch_line_(w, call, key, recent->cell, own ? site : NULL);
}

static MTRACE_HOT_ void mtrace_call_count_(mtrace_worker_ *w, mtrace_call_ *call,
                                           const mtrace_event *event, int64_t after) {
    call->cell->frees += event->freed;
    call->cell->allocs += event->allocated;
    mtrace_call_change_(call, after - w->level, after);
    w->level = after;
}

static MTRACE_HOT_ int64_t mtrace_level_after_(const mtrace_worker_ *w, const mtrace_event *event) {
    return w->level + (int64_t)(event->allocated_size - event->freed_size);
}

/* The call is being changed. Events of a signal handler are only counted until the end. */
static MTRACE_HOT_ void mtrace_worker_close_off_(mtrace_worker_ *w) {
    w->call = NULL;
    MTRACE_SIGNAL_FENCE_();
}

static MTRACE_HOT_ void mtrace_worker_open_again_(mtrace_worker_ *w, mtrace_call_ *call) {
    MTRACE_SIGNAL_FENCE_();
    w->call = call;
}

static void mtrace_worker_unwind_abandoned_(mtrace_worker_ *w, const void *frame, uint32_t function,
                                            const void *call_address);

/* True if the event comes from outside the innermost call. Then a longjmp has left that call. */
static MTRACE_HOT_ bool mtrace_call_is_left_(const mtrace_call_ *call, const mtrace_event *event) {
    return (uintptr_t)event->frame > (uintptr_t)call->frame && call->frame != NULL;
}

static MTRACE_NOINLINE_ void mtrace_worker_event_slow_(const mtrace_event *event, void *user) {
    mtrace_worker_ *w = (mtrace_worker_ *)user;
    mtrace_observer before = w->before;
    bool exceeded = false;
    if (w->call != NULL && mtrace_call_is_left_(w->call, event)) {
        mtrace_worker_unwind_abandoned_(w, event->frame, UINT32_MAX, NULL);
    }
    if (w->call == NULL) { /* a signal handler interrupts these lines or the ones below */
        w->interruptions += w->depth > 0;
    } else {
        mtrace_call_ *call = w->call;
        mtrace_worker_close_off_(w);
        mtrace_call_switch_line_slow_(w, call, event->site, event->frame,
                                      mtrace_site_is_own_(call, event->site));
        mtrace_call_count_(w, call, event, mtrace_level_after_(w, event));
        exceeded = w->level > w->limit && !w->is_above && event->allocated_size > 0;
        w->is_above = w->level > w->limit && (w->is_above || exceeded);
        w->dropped += event->dropped;
        mtrace_worker_open_again_(w, call);
    }
    if (before.call != NULL) {
        before.call(event, before.user);
    }
    if (exceeded) {
        mtrace_limit_exceeded_(w);
    }
}

/* Counts an event of a recently found line. False: the line was not found. */
static MTRACE_HOT_ bool mtrace_worker_count_fast_(mtrace_worker_ *w, mtrace_call_ *call,
                                                  const mtrace_event *event, uint64_t key,
                                                  const mtrace_site *own_site) {
    mtrace_line_cell_ *cell = call->cell;
    if (key != call->key) {
        const mtrace_recent_ *recent = mtrace_recent_of_(call, key);
        if (MTRACE_UNLIKELY_(recent->key != key)) {
            return false;
        }
        cell = recent->cell;
    }
    mtrace_worker_close_off_(w);
    mtrace_call_switch_line_(w, call, key, cell, own_site);
    mtrace_call_count_(w, call, event, mtrace_level_after_(w, event));
    mtrace_worker_open_again_(w, call);
    return true;
}

/* The fast path for events in the function's callees. */
static MTRACE_NOINLINE_ void mtrace_worker_event_below_(const mtrace_event *event, void *user) {
    mtrace_worker_ *w = (mtrace_worker_ *)user;
    uintptr_t address;
    if (mtrace_site_is_own_(w->call, event->site)) { /* in C++, an equal text at another address */
        mtrace_worker_event_slow_(event, user);
        return;
    }
    if ((w->call->mark & MTRACE_MARK_ONLY_) != 0) {
        mtrace_worker_count_fast_(w, w->call, event, w->call->key, NULL);
        return;
    }
    address = mtrace_known_address_(w->chains, event->site, event->frame, w->call->frame);
    if (MTRACE_UNLIKELY_(
            address == 0 ||
            !mtrace_worker_count_fast_(w, w->call, event, MTRACE_KEY_OF_ADDRESS_(address), NULL))) {
        mtrace_worker_event_slow_(event, user);
    }
}

/* The fast path for the function's own macros, when the level does not cross the limit. It calls
   nothing, so it saves no registers. */
static void mtrace_worker_event_(const mtrace_event *event, void *user) {
    mtrace_worker_ *w = (mtrace_worker_ *)user;
    mtrace_call_ *call = w->call;
    const mtrace_site *site = event->site;
    bool above = mtrace_level_after_(w, event) > w->limit;
    if (MTRACE_UNLIKELY_(call == NULL || above != w->is_above || event->dropped != 0 ||
                         w->before.call != NULL || mtrace_call_is_left_(call, event))) {
        mtrace_worker_event_slow_(event, user);
    } else if (site->function != call->name || site->file != call->file) {
        mtrace_worker_event_below_(event, user);
    } else if ((call->mark & MTRACE_MARK_ONLY_) != 0 ||
               !mtrace_worker_count_fast_(w, call, event, MTRACE_KEY_OF_LINE_(site->line), site)) {
        mtrace_worker_event_slow_(event, user);
    }
}

/* --- calls --- */

/* The worker of this thread. NULL: none. It is recognised by its address, because another module
   may have a copy of mtrace_worker_event_ (see mtrace_tracer_). */
static mtrace_worker_ *mtrace_worker_here_(void) {
    const mtrace_profiler_ *p = &mtrace_profiler_g_;
    mtrace_worker_ *w = (mtrace_worker_ *)mtrace_me_.observer.user;
    uintptr_t offset = (uintptr_t)w - (uintptr_t)MTRACE_GET_(&p->workers);
    return offset < MTRACE_GET_(&p->worker_count) * sizeof *w ? w : NULL;
}

/* A limit as a level. 0 means no limit. */
static int64_t mtrace_limit_(uint64_t bytes) {
    return bytes == 0 || bytes > (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)bytes;
}

/* Takes a free worker for this thread. NULL: none is free. */
static mtrace_worker_ *mtrace_worker_take_(void) {
    mtrace_profiler_ *p = &mtrace_profiler_g_;
    mtrace_observer observer;
    mtrace_worker_ *w = NULL;
    size_t i;
    for (i = 0; i < p->worker_count && w == NULL; i++) {
        uint32_t idle = 0;
        mtrace_user_lock_();
        w = MTRACE_CAS_(&p->workers[i].taken, &idle, 1) ? &p->workers[i] : NULL;
        mtrace_user_unlock_();
    }
    if (w == NULL) {
        MTRACE_ADD_(&p->lost_calls, 1);
        return NULL;
    }
    w->level = (int64_t)mtrace_get_traced_memory().current;
    w->limit = mtrace_limit_(p->desc.limit);
    w->is_above = false;
    observer.call = mtrace_worker_event_;
    observer.user = w;
    w->before = mtrace_set_observer(observer);
    return w;
}

static void mtrace_function_add_(uint32_t i, const mtrace_site *site) {
    mtrace_profiler_ *p = &mtrace_profiler_g_;
    const char *name = mtrace_short_name_(p->names[i], sizeof p->names[i], site->function);
    p->functions[i] = *site;
    p->functions[i].function = name != NULL ? name : MTRACE_UNKNOWN_;
    p->full_names[i] = site->function;
    MTRACE_SET_RELEASE_(&p->function_count, i + 1);
}

/* The function's number plus one. 0: no room. The site caches it for this session. */
static uint32_t mtrace_function_of_(const mtrace_site *site) {
    mtrace_profiler_ *p = &mtrace_profiler_g_;
    uint64_t cached = MTRACE_GET_(MTRACE_CACHE_OF_(site));
    uint32_t i;
    if (cached >> 32 == p->session) {
        return (uint32_t)cached;
    }
    mtrace_lock_(&mtrace_locks_.profile);
    for (i = 0; i < p->function_count; i++) {
        const mtrace_site *f = &p->functions[i];
        if (f->line == site->line && strcmp(f->file, site->file) == 0 &&
            strcmp(p->full_names[i], site->function) == 0) {
            break;
        }
    }
    if (i < MTRACE_MAX_PROFILED_ && i == p->function_count) {
        mtrace_function_add_(i, site);
    }
    mtrace_unlock_(&mtrace_locks_.profile);
    if (i == MTRACE_MAX_PROFILED_) {
        MTRACE_ADD_(&p->lost_calls, 1);
        return 0;
    }
    mtrace_site_remember_(site, (uint64_t)p->session << 32 | (i + 1));
    return i + 1;
}

static void mtrace_call_open_(mtrace_worker_ *w, mtrace_call_ *call, uint32_t function) {
    mtrace_called_ *total = &w->totals[function];
    memset(call, 0, sizeof *call);
    call->serial = ++w->serial;
    call->function = function;
    call->cell = w->cells; /* belongs to no line */
    call->key = MTRACE_NO_KEY_;
    call->first_cell = w->cells_used;
    call->entry = call->peak = call->start = call->start_level = w->level;
    call->start_time = mtrace_recorder_is_on() ? mtrace_recorder_now() : 0;
    call->outer_limit = w->limit;
    if (total->active++ == 0) {
        MTRACE_GROW_(&total->base, w->level - (total->calls == 0 ? 0 : total->left));
    }
    MTRACE_GROW_(&total->calls, 1);
    MTRACE_RAISE_(&total->entry, w->level);
}

/* The end of a call's cells. It is the end of the stack for the innermost call, and the start of
   the next call's cells for the others. */
static uint32_t mtrace_call_end_(const mtrace_worker_ *w, uint32_t depth) {
    return depth + 1 == w->depth ? w->cells_used : w->calls[depth + 1].first_cell;
}

/* Adds a cell to its line's record, and its counts to the line that made the call. */
static void mtrace_line_cell_merge_(mtrace_worker_ *w, mtrace_line_cell_ *cell,
                                    mtrace_line_cell_ *outer) {
    mtrace_line_ *line = &w->lines[cell->line];
    MTRACE_GROW_(&line->runs, cell->runs);
    MTRACE_GROW_(&line->allocs, cell->allocs);
    MTRACE_GROW_(&line->frees, cell->frees);
    MTRACE_GROW_(&line->change, cell->change);
    MTRACE_RAISE_(&line->held, cell->held);
    MTRACE_RAISE_(&line->peak, cell->peak);
    MTRACE_RAISE_(&line->rise, cell->rise);
    outer->allocs += cell->allocs;
    outer->frees += cell->frees;
    cell->runs = cell->allocs = cell->frees = 0;
    cell->change = 0;
}

/* Adds a call to its function, and as one change to the line that made it. */
static void mtrace_call_flush_(mtrace_worker_ *w, uint32_t depth) {
    mtrace_call_ *call = &w->calls[depth];
    mtrace_called_ *total = &w->totals[call->function];
    mtrace_line_cell_ *outer = depth > 0 ? w->calls[depth - 1].cell : w->cells;
    uint32_t i, end = mtrace_call_end_(w, depth);
    mtrace_raise_(&call->cell->held, w->level);
    MTRACE_RAISE_(&total->peak, call->peak);
    MTRACE_RAISE_(&total->rise, call->peak - call->start_level);
    MTRACE_RAISE_(&total->after, w->level);
    for (i = call->first_cell; i < end; i++) {
        mtrace_line_cell_merge_(w, &w->cells[i], outer);
    }
    if (depth > 0) {
        mtrace_call_change_(call - 1, w->level - call->entry, call->peak);
    }
    call->entry = w->level;
}

/* Ends the innermost call. */
static void mtrace_call_close_(mtrace_worker_ *w) {
    mtrace_call_ *call = &w->calls[w->depth - 1];
    mtrace_called_ *total = &w->totals[call->function];
    w->call = NULL;
    mtrace_call_flush_(w, w->depth - 1);
    total->left = w->level;
    total->active--;
    while (w->cells_used > call->first_cell) {
        const mtrace_line_cell_ *cell = &w->cells[--w->cells_used];
        w->lines[cell->line].cell = cell->outer;
    }
    w->limit = call->outer_limit;
    w->is_above = w->level > w->limit;
    w->depth--;
    w->call = w->depth > 0 ? call - 1 : NULL;
}

/* True if a longjmp has left the call. Stacks grow down, so the call is over if its frame is below
   `frame`. It is also over if the same place in the code begins a call in the same frame. If the
   compiler copies the place within the function, the copy is another place. */
static bool mtrace_call_is_over_(const mtrace_call_ *call, const void *frame, uint32_t function,
                                 const void *call_address) {
    uintptr_t its = (uintptr_t)call->frame, now = (uintptr_t)frame;
    return call->frame != NULL && frame != NULL &&
           (its < now ||
            (its == now && call->function == function && call->call_address == call_address));
}

static void mtrace_worker_unwind_abandoned_(mtrace_worker_ *w, const void *frame, uint32_t function,
                                            const void *call_address) {
    while (w->depth > 0 &&
           mtrace_call_is_over_(&w->calls[w->depth - 1], frame, function, call_address)) {
        mtrace_call_close_(w);
        w->left_calls++;
    }
}

static bool mtrace_worker_is_busy_(const mtrace_worker_ *w) {
    return w->depth > 0 && w->call == NULL;
}

/* Switches to the line that makes a new call. The new call may be a block of the same function. */
static void mtrace_worker_enter_call_(mtrace_worker_ *w, const mtrace_site *site,
                                      const void *frame) {
    mtrace_call_ *call = w->call;
    if (call != NULL) {
        bool own = frame != NULL && frame == call->frame &&
                   mtrace_is_same_text_(site->function, call->name);
        mtrace_call_switch_line_slow_(w, call, site, MTRACE_FRAME_(), own);
    }
}

MTRACE_NOINLINE_ mtrace_profile_token mtrace_profile_push_(const mtrace_site *site, uint64_t limit,
                                                           const void *frame) {
    mtrace_profile_token token = MTRACE_ZERO_;
    uint32_t function = mtrace_function_of_(site);
    mtrace_worker_ *w = function == 0 ? NULL : mtrace_worker_here_();
    mtrace_call_ *call;
    if (function != 0 && w == NULL) {
        w = mtrace_worker_take_();
    }
    if (w == NULL || mtrace_worker_is_busy_(w)) {
        return token;
    }
    mtrace_worker_unwind_abandoned_(w, frame, function - 1, MTRACE_CALLER_());
    mtrace_worker_enter_call_(w, site, frame);
    if (w->depth == mtrace_profiler_g_.desc.max_depth) {
        w->lost_calls++;
        return token;
    }
    call = &w->calls[w->depth];
    w->call = NULL;
    mtrace_call_open_(w, call, function - 1);
    call->frame = frame;
    call->call_address = MTRACE_CALLER_();
    call->name = site->function;
    call->file = site->file;
    if (mtrace_limit_(limit) < w->limit) {
        w->limit = mtrace_limit_(limit);
        w->is_above = false;
    }
    token.serial = call->serial;
    token.context = w->number;
    token.depth = w->depth++;
    w->call = call;
    return token;
}

static void mtrace_worker_forget_(mtrace_worker_ *w, uint32_t function) {
    mtrace_called_ *total = &w->totals[function];
    uint32_t i;
    for (i = 1; i < w->lines_used; i++) {
        mtrace_line_ *line = &w->lines[i];
        if (line->function == function) {
            MTRACE_SET_(&line->runs, 0); /* a report skips a line without runs */
            MTRACE_SET_(&line->allocs, 0);
            MTRACE_SET_(&line->frees, 0);
            MTRACE_SET_(&line->change, 0);
            MTRACE_SET_(&line->held, INT64_MIN);
            MTRACE_SET_(&line->peak, INT64_MIN);
            MTRACE_SET_(&line->rise, 0);
        }
    }
    MTRACE_SET_(&total->calls, 0);
    MTRACE_SET_(&total->base, 0);
    MTRACE_SET_(&total->entry, 0);
    MTRACE_SET_(&total->after, 0);
    MTRACE_SET_(&total->peak, 0);
    MTRACE_SET_(&total->rise, 0);
}

static mtrace_result mtrace_profile_write_(const mtrace_profile_report_desc *desc,
                                           mtrace_worker_ *only, uint32_t function);

/* Gives a call that has ended to the recorder. */
static void mtrace_call_mark_(const mtrace_worker_ *w, const mtrace_call_ *call) {
    mtrace_recorder_span span;
    if (call->start_time != 0 && mtrace_recorder_is_on()) {
        span.start = call->start_time;
        span.end = mtrace_recorder_now();
        span.start_bytes = (uint64_t)(call->start_level < 0 ? 0 : call->start_level);
        span.end_bytes = (uint64_t)(w->level < 0 ? 0 : w->level);
        span.level = w->depth;
        span.thread = w->number;
        mtrace_recorder_mark_span(mtrace_profiler_g_.functions[call->function].function, &span);
    }
}

void mtrace_profile_pop_(mtrace_profile_token token) {
    const mtrace_profiler_ *p = &mtrace_profiler_g_;
    mtrace_worker_ *w = token.context < p->worker_count ? &p->workers[token.context] : NULL;
    if (w == NULL || mtrace_worker_is_busy_(w) || token.depth >= w->depth ||
        w->calls[token.depth].serial != token.serial) {
        return; /* it has ended already */
    }
    while (w->depth > token.depth) {
        uint32_t function = w->calls[w->depth - 1].function;
        mtrace_call_close_(w);
        if (w->depth == 0) {
            mtrace_set_observer(w->before);
        }
        mtrace_call_mark_(w, &w->calls[w->depth]);
        if (p->desc.after_every_call && w->totals[function].active == 0) {
            mtrace_profile_write_(&p->desc.report, w, function);
            mtrace_worker_forget_(w, function);
        }
    }
    if (w->depth == 0) {
        MTRACE_SET_RELEASE_(&w->taken, 0);
    }
}

/* The innermost call if it is a call of the running function, else NULL. */
static mtrace_call_ *mtrace_call_here_(const mtrace_worker_ *w, const char *name) {
    bool is_here = w != NULL && w->call != NULL && mtrace_is_same_text_(w->call->name, name);
    return is_here ? w->call : NULL;
}

mtrace_line_token mtrace_profile_mark_(const char *name, uint32_t line, bool only_here) {
    mtrace_line_token token = MTRACE_ZERO_;
    mtrace_worker_ *w = mtrace_worker_here_();
    mtrace_call_ *call = mtrace_call_here_(w, name);
    if (call == NULL) {
        return token;
    }
    token.name = only_here ? name : NULL;
    token.before = call->mark;
    w->call = NULL;
    call->key = MTRACE_KEY_OF_LINE_(line);
    call->site = NULL;
    mtrace_call_begin_line_(w, call, mtrace_line_cell_find_(w, call, call->key));
    call->mark = line << 1 | (only_here ? MTRACE_MARK_ONLY_ : 0);
    w->call = call;
    return token;
}

void mtrace_profile_unmark_(mtrace_line_token token) {
    mtrace_call_ *call = mtrace_call_here_(mtrace_worker_here_(), token.name);
    if (call != NULL) {
        call->mark = token.before;
    }
}

/* --- start and stop --- */

static size_t mtrace_part_(size_t *end, size_t count, size_t size) {
    size_t at = *end;
    *end += (count * size + 63) / 64 * 64;
    return at;
}

/* Places a worker's arrays in its memory and returns their bytes. With memory NULL it only
   counts. */
static size_t mtrace_worker_layout_(mtrace_worker_ *w, char *memory,
                                    const mtrace_profile_desc *desc) {
    size_t end = 0, calls, cells, records, index, chains, totals, slots = 2;
    while (slots < 2 * desc->max_lines) {
        slots *= 2;
    }
    calls = mtrace_part_(&end, desc->max_depth, sizeof *w->calls);
    cells = mtrace_part_(&end, 4 * desc->max_lines + 1, sizeof *w->cells);
    records = mtrace_part_(&end, desc->max_lines + 1, sizeof *w->lines);
    index = mtrace_part_(&end, slots, sizeof *w->index);
    chains = mtrace_part_(&end, MTRACE_CHAINS_, sizeof *w->chains);
    totals = mtrace_part_(&end, MTRACE_MAX_PROFILED_, sizeof *w->totals);
    if (memory != NULL) {
        memset(w, 0, sizeof *w);
        w->calls = (mtrace_call_ *)(void *)(memory + calls);
        w->cells = (mtrace_line_cell_ *)(void *)(memory + cells);
        w->lines = (mtrace_line_ *)(void *)(memory + records);
        w->index = (uint16_t *)(void *)(memory + index);
        w->chains = (mtrace_chain_ *)(void *)(memory + chains);
        w->totals = (mtrace_called_ *)(void *)(memory + totals);
        w->index_mask = (uint32_t)slots - 1;
        w->cells_used = w->lines_used = 1;
    }
    return end;
}

static void mtrace_profile_defaults_(mtrace_profile_desc *desc) {
    desc->max_threads = desc->max_threads != 0 ? desc->max_threads : 16;
    desc->max_lines = desc->max_lines != 0 ? desc->max_lines : 1024;
    desc->max_depth = desc->max_depth != 0 ? desc->max_depth : 256;
}

/* Allocates the workers' memory and frees the old one. No thread has a worker now. */
static mtrace_result mtrace_profile_make_(const mtrace_profile_desc *desc) {
    mtrace_profiler_ *p = &mtrace_profiler_g_;
    size_t head = (desc->max_threads * sizeof(mtrace_worker_) + 63) / 64 * 64, i;
    size_t size = mtrace_worker_layout_(NULL, NULL, desc);
    bool fits = size <= (SIZE_MAX - head) / desc->max_threads;
    char *memory = fits ? (char *)calloc(1, head + desc->max_threads * size) : NULL;
    if (memory == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    free(p->workers);
    p->session = mtrace_session_after_(p->session, memory);
    MTRACE_SET_(&p->workers, (mtrace_worker_ *)(void *)memory);
    MTRACE_SET_(&p->worker_count, desc->max_threads);
    for (i = 0; i < p->worker_count; i++) {
        mtrace_worker_layout_(&p->workers[i], memory + head + i * size, desc);
        p->workers[i].number = (uint32_t)i;
        p->workers[i].serial = (uint64_t)p->session
                               << 40; /* calls of two sessions never have equal serials */
    }
    p->desc = *desc;
    p->owner = mtrace_owner_here_();
    p->function_count = 0;
    p->lost_calls = 0;
    return MTRACE_OK;
}

static bool mtrace_profile_is_busy_(void) {
    mtrace_profiler_ *p = &mtrace_profiler_g_;
    size_t i;
    for (i = 0; i < p->worker_count; i++) {
        if (p->workers[i].taken) {
            return true;
        }
    }
    return false;
}

static void mtrace_profile_at_exit_(void) {
    mtrace_profiler_ *p = &mtrace_profiler_g_;
    bool is_due = p->desc.at_exit && !p->desc.after_every_call && mtrace_is_owner_(&p->owner);
    mtrace_result result = is_due ? mtrace_profile_report(&p->desc.report) : MTRACE_OK;
    p->desc.at_exit = p->desc.at_exit && !is_due;
    if (result != MTRACE_OK) {
        fprintf(stderr, "mtrace: the profile: %s\n", mtrace_result_text(result));
    }
}

/* Ends this thread's calls that a longjmp has left. */
static void mtrace_worker_unwind_here_(void) {
    mtrace_worker_ *w = mtrace_worker_here_();
    if (w != NULL) {
        mtrace_worker_unwind_abandoned_(w, MTRACE_FRAME_(), UINT32_MAX, NULL);
        if (w->depth == 0) {
            mtrace_set_observer(w->before);
            MTRACE_SET_RELEASE_(&w->taken, 0);
        }
    }
}

mtrace_result mtrace_profile_start(const mtrace_profile_desc *desc) {
    mtrace_profile_desc chosen = MTRACE_ZERO_;
    mtrace_result result = MTRACE_ERR_ALREADY;
    if (desc != NULL) {
        chosen = *desc;
    }
    mtrace_profile_defaults_(&chosen);
    if (chosen.max_threads > 65535 || chosen.max_lines > 16383 || chosen.max_depth > 65535 ||
        mtrace_get_info().sample_interval != 0) {
        return MTRACE_ERR_ARGUMENT;
    }
    if (mtrace_get_info().capacity == 0) {
        return MTRACE_ERR_NOT_TRACING;
    }
    if (chosen.at_exit && !mtrace_has_exit_()) {
        return MTRACE_ERR_FULL_AT_EXIT;
    }
    mtrace_worker_unwind_here_();
    if (!mtrace_ticker_forks_()) {
        return MTRACE_ERR_NO_MEMORY;
    }
    mtrace_lock_(&mtrace_locks_.profile);
    if (!mtrace_profiling_ && !mtrace_profile_is_busy_()) {
        result = mtrace_profile_make_(&chosen);
        MTRACE_SET_(&mtrace_profiling_, result == MTRACE_OK);
    }
    mtrace_unlock_(&mtrace_locks_.profile);
    return result;
}

void mtrace_profile_stop(void) {
    MTRACE_SET_(&mtrace_profiling_, 0);
}

/* ============================================================================================== */
/* [SECTION] PROFILE REPORT                                                                       */
/* ============================================================================================== */

/* The addresses that no report has looked up yet. With symbols NULL it only counts them. */
static size_t mtrace_symbols_gather_(mtrace_symbol_ *symbols, size_t room) {
    const mtrace_profiler_ *p = &mtrace_profiler_g_;
    size_t i, n = 0;
    uint32_t j;
    for (i = 0; i < p->worker_count; i++) {
        uint32_t used = MTRACE_GET_ACQUIRE_(&p->workers[i].lines_used);
        for (j = 1; j < used && n < room; j++) {
            mtrace_line_ *line = &p->workers[i].lines[j];
            bool open = (line->key & 1) != 0 && line->found == 0;
            if (open && symbols != NULL) {
                symbols[n].address = (uintptr_t)(line->key >> 1);
                symbols[n].function = &p->functions[line->function];
                symbols[n].record = line;
            }
            n += open;
        }
    }
    return n;
}

/* Looks them up. Without memory for that, a report lacks only the lines. */
#define MTRACE_LINE_NOT_FOUND_ UINT32_MAX
static void mtrace_symbols_resolve_(void) {
    size_t count = mtrace_symbols_gather_(NULL, SIZE_MAX), i;
    mtrace_symbol_ *symbols =
        count == 0 ? NULL : (mtrace_symbol_ *)calloc(count, sizeof(mtrace_symbol_));
    if (symbols != NULL) {
        count = mtrace_symbols_gather_(symbols, count);
        mtrace_symbols_find_(symbols, count);
        for (i = 0; i < count; i++) {
            symbols[i].record->found =
                symbols[i].line != 0 ? symbols[i].line : MTRACE_LINE_NOT_FOUND_;
        }
        free(symbols);
    }
}

/* One line of a function, the sum over all workers. */
typedef struct mtrace_profile_row_ {
    uint32_t line;         /* 0: not known */
    uint64_t runs;         /* from macros and marks; without any, as address_runs */
    uint64_t runs_exact;   /* 1: there were some */
    uint64_t address_runs; /* from return addresses: there were at least these */
    uint64_t allocs;
    uint64_t frees;
    int64_t change;
    int64_t held;
    int64_t peak;
    int64_t rise;
} mtrace_profile_row_;

typedef struct mtrace_function_report_ {
    const mtrace_site *function;
    mtrace_called_ total;
    mtrace_profile_row_ *rows;
    size_t count;
    int64_t rise; /* the largest rise of its calls and its lines */
    mtrace_listing_ source;
    /* of the table */
    const struct mtrace_profile_layout_ *layout;
    size_t columns;
    uint64_t unit; /* bytes of a unit of CHANGE */
} mtrace_function_report_;

/* Adds a worker's totals. */
static void mtrace_total_add_(mtrace_called_ *sum, mtrace_called_ *t) {
    sum->base = sum->calls == 0 ? MTRACE_GET_(&t->base) : sum->base;
    sum->calls += MTRACE_GET_(&t->calls);
    mtrace_raise_(&sum->entry, MTRACE_GET_(&t->entry));
    mtrace_raise_(&sum->after, MTRACE_GET_(&t->after));
    mtrace_raise_(&sum->peak, MTRACE_GET_(&t->peak));
    mtrace_raise_(&sum->rise, MTRACE_GET_(&t->rise));
}

/* Rejects lines outside the function. Two functions with equal names can share one constant, at
   least in C++. */
static uint32_t mtrace_line_within_(const mtrace_listing_ *s, uint32_t line) {
    return s->first != 0 && (line < s->first || line > s->last) ? 0 : line;
}

static uint32_t mtrace_line_number_(const mtrace_line_ *line) {
    return (line->key & 1) == 0                    ? (uint32_t)(line->key >> 1)
           : line->found == MTRACE_LINE_NOT_FOUND_ ? 0
                                                   : line->found;
}

/* The row of a line, a new one if necessary. There is room for one per line. */
static mtrace_profile_row_ *mtrace_profile_row_of_(mtrace_function_report_ *r, uint32_t line) {
    size_t i;
    for (i = 0; i < r->count; i++) {
        if (r->rows[i].line == line) {
            return &r->rows[i];
        }
    }
    memset(&r->rows[i], 0, sizeof r->rows[i]);
    r->rows[i].line = line;
    r->rows[i].held = r->rows[i].peak = INT64_MIN;
    r->count++;
    return &r->rows[i];
}

static void mtrace_profile_row_add_(mtrace_profile_row_ *row, mtrace_line_ *line) {
    *((line->key & 1) ? &row->address_runs : &row->runs) += MTRACE_GET_(&line->runs);
    row->allocs += MTRACE_GET_(&line->allocs);
    row->frees += MTRACE_GET_(&line->frees);
    row->change += MTRACE_GET_(&line->change);
    mtrace_raise_(&row->held, MTRACE_GET_(&line->held));
    mtrace_raise_(&row->peak, MTRACE_GET_(&line->peak));
    mtrace_raise_(&row->rise, MTRACE_GET_(&line->rise));
}

/* Adds a worker's records. */
static void mtrace_profile_rows_add_(mtrace_function_report_ *r, mtrace_worker_ *w,
                                     uint32_t function) {
    uint32_t i, used = MTRACE_GET_ACQUIRE_(&w->lines_used);
    for (i = 1; i < used; i++) {
        mtrace_line_ *line = &w->lines[i];
        if (line->function == function && MTRACE_GET_(&line->runs) != 0) {
            mtrace_profile_row_add_(
                mtrace_profile_row_of_(r,
                                       mtrace_line_within_(&r->source, mtrace_line_number_(line))),
                line);
        }
    }
}

static int mtrace_profile_row_order_(const void *a, const void *b) {
    uint32_t x = ((const mtrace_profile_row_ *)a)->line, y = ((const mtrace_profile_row_ *)b)->line;
    return x < y ? -1 : x > y;
}

static mtrace_result mtrace_function_report_make_(mtrace_function_report_ *r, uint32_t function,
                                                  mtrace_worker_ *only) {
    mtrace_profiler_ *p = &mtrace_profiler_g_;
    size_t i, room = 1;
    memset(r, 0, sizeof *r);
    r->function = &p->functions[function];
    for (i = 0; i < p->worker_count; i++) {
        room += MTRACE_GET_(&p->workers[i].lines_used);
    }
    r->rows = (mtrace_profile_row_ *)malloc(room * sizeof *r->rows);
    if (r->rows == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    r->source = mtrace_source_open_(r->function);
    for (i = 0; i < p->worker_count; i++) {
        if (only == NULL || only == &p->workers[i]) {
            mtrace_total_add_(&r->total, &p->workers[i].totals[function]);
            mtrace_profile_rows_add_(r, &p->workers[i], function);
        }
    }
    qsort(r->rows, r->count, sizeof *r->rows, mtrace_profile_row_order_);
    r->rise = r->total.rise;
    for (i = 0; i < r->count; i++) {
        mtrace_profile_row_ *row = &r->rows[i];
        row->runs_exact = row->runs != 0;
        row->runs = row->runs != 0 ? row->runs : row->address_runs;
        mtrace_raise_(&r->rise, row->rise);
    }
    return MTRACE_OK;
}

/* Calls `each` for every line of the source and of the rows, in order, with its row or NULL. */
typedef void (*mtrace_each_line_fn_)(mtrace_text_ *t, mtrace_function_report_ *r, uint32_t line,
                                     const mtrace_profile_row_ *row);

static void mtrace_each_line_(mtrace_text_ *t, mtrace_function_report_ *r, bool all,
                              mtrace_each_line_fn_ stride) {
    size_t i = 0;
    uint32_t line = all ? r->source.first : 0, last = all ? r->source.last : 0;
    while (i < r->count || (line != 0 && line <= last)) {
        bool source = line != 0 && line <= last;
        if (i < r->count && (!source || r->rows[i].line <= line)) {
            line += source && r->rows[i].line == line;
            stride(t, r, r->rows[i].line, &r->rows[i]);
            i++;
        } else {
            stride(t, r, line++, NULL);
        }
    }
}

static void mtrace_put_source_(mtrace_text_ *t, mtrace_function_report_ *r, uint32_t line) {
    const char *text = mtrace_source_line_(&r->source, line);
    mtrace_put_safe_(t, text, strcspn(text, "\r\n"));
}

/* --- the table --- */

enum { MTRACE_BAR_ = 10 };

/* Where the columns of the table end, the digits of SHARE among them, and where the source begins.
   0: left out. */
typedef struct mtrace_profile_layout_ {
    unsigned char held, change, peak, allocs, frees, share;
    bool has_bar;
    unsigned char source;
} mtrace_profile_layout_;

/* The widest layout that leaves 40 columns to the source, or the narrowest. */
static const mtrace_profile_layout_ *mtrace_profile_find_layout_(size_t columns) {
    static const mtrace_profile_layout_ layouts[] = {{17, 31, 42, 51, 59, 64, true, 79},
                                                     {17, 31, 42, 51, 59, 64, false, 68},
                                                     {17, 31, 42, 0, 0, 47, false, 51},
                                                     {0, 20, 31, 0, 0, 36, false, 40}};
    size_t i = 0;
    while (i < 3 && columns < layouts[i].source + 40u) {
        i++;
    }
    return &layouts[i];
}

/* SIZE_MAX: no limit. */
static size_t mtrace_profile_columns_(const mtrace_profile_report_desc *desc) {
    bool is_file = desc->write == NULL && desc->path != NULL;
    uint32_t columns = is_file ? desc->columns : mtrace_find_columns_(desc->columns, desc->write);
    return columns == 0 ? SIZE_MAX : columns;
}

/* "  50 % #####....." */
static void mtrace_put_share_(mtrace_text_ *t, const mtrace_profile_layout_ *layout, int64_t part,
                              int64_t whole) {
    uint64_t percent = mtrace_round_((uint64_t)part * 100, (uint64_t)whole), i;
    mtrace_put_number_right_(t, percent, layout->share);
    mtrace_put_(t, " % ");
    for (i = 0; layout->has_bar && i < MTRACE_BAR_; i++) {
        mtrace_put_char_(t, 10 * i + 5 <= percent ? '#' : '.');
    }
}

static void mtrace_put_held_(mtrace_text_ *t, int64_t bytes, size_t column) {
    if (column != 0) {
        mtrace_put_size_right_(t, bytes < 0 ? 0 : (uint64_t)bytes, column);
    }
}

/* One unit for all, so that two large changes show the little that they differ by. Returns its
   index: the smallest unit that leaves seven digits. */
static int mtrace_change_unit_(mtrace_function_report_ *r) {
    uint64_t most = 0;
    size_t i;
    int unit = 0;
    for (i = 0; i < r->count; i++) {
        uint64_t change = mtrace_magnitude_(r->rows[i].change);
        most = change > most ? change : most;
    }
    for (r->unit = 1; unit < 4 && most / r->unit >= 10000000; unit++) {
        r->unit *= 1024;
    }
    return unit;
}

/* "+1,562,656.3" units, or whole bytes. */
static void mtrace_put_change_(mtrace_text_ *t, const mtrace_function_report_ *r, int64_t change) {
    char buffer[MTRACE_NUMBER_], text[MTRACE_NUMBER_ + 2];
    uint64_t parts = r->unit == 1 ? 1 : 10;
    uint64_t number = mtrace_scale_(mtrace_magnitude_(change), r->unit, parts);
    mtrace_text_ n;
    mtrace_text_to_buffer_(&n, text, sizeof text);
    mtrace_put_(&n, mtrace_grouped_(buffer, number / parts, change < 0, true));
    if (parts == 10) {
        mtrace_put_char_(&n, '.');
        mtrace_put_number_(&n, number % 10);
    }
    mtrace_put_right_(t, text, r->layout->change);
}

/* Puts as much of a source line as ends before `end`, with blanks for tabs. Returns its bytes. */
static size_t mtrace_put_source_part_(mtrace_text_ *t, const char *text, size_t length, size_t from,
                                      size_t end) {
    size_t i, n, wide;
    for (i = 0; i < length; i += n) {
        n = mtrace_utf8_length_(text + i, length - i);
        wide = text[i] == '\t'                   ? 8 - (t->column - from) % 8
               : mtrace_is_control_(text + i, n) ? 4 * (n == 0 ? 1 : n)
                                                 : n;
        n = n == 0 ? 1 : n;
        if (t->column + wide > end) {
            break;
        }
        if (text[i] == '\t') {
            mtrace_put_column_(t, t->column + wide);
        } else {
            mtrace_put_safe_(t, text + i, n);
        }
    }
    return i;
}

/* The line's source, cut to the table's columns. */
static void mtrace_put_table_source_(mtrace_text_ *t, mtrace_function_report_ *r, uint32_t line) {
    const char *text = mtrace_source_line_(&r->source, line);
    size_t length = strcspn(text, "\r\n"), from = t->column;
    mtrace_text_ dry;
    mtrace_text_to_buffer_(&dry, NULL, 0);
    dry.column = from;
    if (r->columns == SIZE_MAX) {
        mtrace_put_safe_(t, text, length);
    } else if (mtrace_put_source_part_(&dry, text, length, from, r->columns) == length) {
        mtrace_put_source_part_(t, text, length, from, r->columns);
    } else if (r->columns > from + 3) {
        mtrace_put_source_part_(t, text, length, from, r->columns - 3);
        mtrace_put_(t, "...");
    }
}

static void mtrace_table_line_(mtrace_text_ *t, mtrace_function_report_ *r, uint32_t line,
                               const mtrace_profile_row_ *row) {
    const mtrace_profile_layout_ *layout = r->layout;
    char digits[MTRACE_NUMBER_];
    mtrace_put_right_(t, line == 0 ? "?" : mtrace_number_(digits, line, false, false), 6);
    if (row != NULL) {
        mtrace_put_held_(t, row->held, layout->held);
        mtrace_put_change_(t, r, row->change);
        mtrace_put_held_(t, row->peak, layout->peak);
        if (layout->allocs != 0) {
            mtrace_put_number_right_(t, row->allocs, layout->allocs);
            mtrace_put_number_right_(t, row->frees, layout->frees);
        }
        if (row->rise > 0) {
            mtrace_put_share_(t, layout, row->rise, r->rise);
        }
    }
    mtrace_put_column_(t, layout->source);
    mtrace_put_table_source_(t, r, line);
    mtrace_put_(t, line == 0 ? "(line not known)\n" : "\n");
}

/* The changes of all lines, which leave what the calls kept. */
static void mtrace_table_sum_(mtrace_text_ *t, const mtrace_function_report_ *r) {
    char text[2 * MTRACE_NUMBER_];
    mtrace_text_ kept;
    int64_t sum = 0;
    size_t i;
    for (i = 0; i < r->count; i++) {
        sum += r->rows[i].change;
    }
    mtrace_put_right_(t, "SUM", 6);
    mtrace_put_change_(t, r, sum);
    mtrace_text_to_buffer_(&kept, text, sizeof text);
    mtrace_put_(&kept, "(kept: ");
    mtrace_put_table_size_(&kept, sum < 0 ? "-" : "", mtrace_magnitude_(sum));
    mtrace_put_char_(&kept, ')');
    if (r->layout->source + kept.length <= r->columns) {
        mtrace_put_column_(t, r->layout->source);
        mtrace_put_(t, text);
    }
    mtrace_put_char_(t, '\n');
}

static void mtrace_table_titles_(mtrace_text_ *t, const mtrace_profile_layout_ *layout,
                                 const char *unit) {
    char change[16] = "CHANGE,";
    mtrace_put_right_(t, "LINE", 6);
    mtrace_put_right_(t, layout->held != 0 ? "HELD" : "", layout->held);
    mtrace_put_right_(t, strcat(change, unit), layout->change);
    mtrace_put_right_(t, "PEAK", layout->peak);
    mtrace_put_right_(t, layout->allocs != 0 ? "ALLOCS" : "", layout->allocs);
    mtrace_put_right_(t, layout->frees != 0 ? "FREES" : "", layout->frees);
    mtrace_put_right_(t, layout->has_bar ? "SHARE OF PEAK" : "SHARE",
                      layout->share + (layout->has_bar ? 10u : 2u));
    mtrace_put_column_(t, layout->source);
    mtrace_put_(t, "SOURCE\n");
}

/* Puts a part of the head line, on a line of its own if it would not fit. */
static void mtrace_put_head_part_(mtrace_text_ *t, const mtrace_function_report_ *r,
                                  const char *part) {
    bool fits = t->column + strlen(part) <= r->columns;
    mtrace_put_(t, fits ? "" : "\n       ");
    mtrace_put_(t, part);
}

static void mtrace_put_called_(mtrace_text_ *t, const mtrace_function_report_ *r) {
    mtrace_put_char_(t, ':');
    mtrace_put_number_(t, r->function->line);
    mtrace_put_(t, ": ");
    mtrace_put_count_(t, r->total.calls, "call");
    mtrace_put_char_(t, ';');
}

/* The function and its file. A path that is too long loses its beginning. */
static void mtrace_put_profiled_(mtrace_text_ *t, const mtrace_function_report_ *r) {
    size_t length;
    mtrace_text_ dry;
    mtrace_put_(t, "mtrace: ");
    mtrace_put_name_(t, r->function->function);
    mtrace_put_(t, " ");
    mtrace_text_to_buffer_(&dry, NULL, 0);
    mtrace_put_name_(&dry, r->function->file);
    length = dry.length;
    dry.column = t->column + length;
    mtrace_put_called_(&dry, r);
    if (dry.column > r->columns) {
        size_t over = dry.column - r->columns;
        mtrace_put_dots_(t, length, length > over ? length - over : 0);
    }
    mtrace_put_name_(t, r->function->file);
    t->skip = 0;
    mtrace_put_called_(t, r);
}

static void mtrace_put_profile_head_(mtrace_text_ *t, const mtrace_function_report_ *r) {
    char figures[4 * MTRACE_NUMBER_];
    mtrace_text_ f;
    mtrace_put_profiled_(t, r);
    mtrace_text_to_buffer_(&f, figures, sizeof figures);
    mtrace_put_char_(&f, ' ');
    mtrace_put_table_size_(&f, "", (uint64_t)r->total.entry);
    mtrace_put_(&f, " held before, ");
    mtrace_put_table_size_(&f, "", (uint64_t)r->total.peak);
    mtrace_put_(&f, " at the peak, ");
    mtrace_put_table_size_(&f, "", (uint64_t)r->total.after);
    mtrace_put_(&f, r->total.calls == 1 ? " after" : " after,");
    mtrace_put_head_part_(t, r, figures);
    if (r->total.calls != 1) { /* each may be of another call */
        mtrace_put_head_part_(t, r, " each the most of all calls");
    }
    mtrace_put_char_(t, '\n');
}

static void mtrace_table_(mtrace_text_ *t, mtrace_function_report_ *r) {
    int unit = mtrace_change_unit_(r);
    r->layout = mtrace_profile_find_layout_(r->columns);
    t->grouped = true;
    mtrace_put_profile_head_(t, r);
    mtrace_table_titles_(t, r->layout, mtrace_unit_name_(unit));
    mtrace_each_line_(t, r, true, mtrace_table_line_);
    mtrace_table_sum_(t, r);
    mtrace_put_(t, "\n");
}

/* --- memory_profiler's --- */

/* Bytes in MiB with three decimals, rounded half to even, as "{:7.3f} MiB". */
static void mtrace_put_mib_(mtrace_text_ *t, int64_t bytes, size_t column) {
    char text[48];
    uint64_t thousandths = mtrace_round_(mtrace_magnitude_(bytes) * 1000, 1048576);
    snprintf(text, sizeof text, "%s%lu.%03u MiB", bytes < 0 ? "-" : "",
             (unsigned long)(thousandths / 1000), (unsigned)(thousandths % 1000));
    mtrace_put_right_(t, text, column);
}

static void mtrace_classic_measures_(mtrace_text_ *t, int64_t held, int64_t change, uint64_t runs,
                                     bool exact) {
    char text[48];
    snprintf(text, sizeof text, "%lu%s", (unsigned long)runs, exact ? "" : "+");
    mtrace_put_mib_(t, held, 19);
    mtrace_put_mib_(t, change, 32);
    mtrace_put_right_(t, text, 44);
}

static void mtrace_classic_line_(mtrace_text_ *t, mtrace_function_report_ *r, uint32_t line,
                                 const mtrace_profile_row_ *row) {
    char digits[32];
    mtrace_put_right_(t, line == 0 ? "?" : mtrace_number_(digits, line, false, false), 6);
    if (row != NULL) {
        mtrace_classic_measures_(t, row->held, row->change, row->runs, row->runs_exact != 0);
    } else if (line == (r->source.first != 0 ? r->source.first : r->function->line)) {
        mtrace_classic_measures_(t, r->total.entry, r->total.base, r->total.calls, true);
    }
    mtrace_put_column_(t, 47);
    mtrace_put_source_(t, r, line);
    mtrace_put_(t, "\n");
}

static void mtrace_classic_(mtrace_text_ *t, mtrace_function_report_ *r) {
    mtrace_put_(t, "Filename: ");
    mtrace_put_name_(t, r->function->file);
    mtrace_put_(t, "\n\nLine #    Mem usage    Increment  Occurrences   Line Contents\n"
                   "=============================================================\n");
    if (r->source.first == 0) {
        mtrace_classic_line_(t, r, r->function->line, NULL);
    }
    mtrace_each_line_(t, r, true, mtrace_classic_line_);
    mtrace_put_(t, "\n\n");
}

/* --- for machines --- */

/* The fields of a row of CSV, then more for JSON. An object of a line has parts 1 and 3, that of a
   function parts 0, 2 and 4. */
enum { MTRACE_CSV_FIELDS_ = 13, MTRACE_JSON_FIELDS_ = 17 };
static const mtrace_record_field_ mtrace_profile_fields_[MTRACE_JSON_FIELDS_] = {
    {"file", MTRACE_AS_TEXT_, 0, MTRACE_FIELD_(mtrace_site, file)},
    {"function", MTRACE_AS_TEXT_, 0, MTRACE_FIELD_(mtrace_site, function)},
    {"line", MTRACE_AS_NUMBER_, 1, MTRACE_FIELD_(mtrace_profile_row_, line)},
    {"runs", MTRACE_AS_NUMBER_, 1, MTRACE_FIELD_(mtrace_profile_row_, runs)},
    {"runs_exact", MTRACE_AS_NUMBER_, 1, MTRACE_FIELD_(mtrace_profile_row_, runs_exact)},
    {"held_bytes", MTRACE_AS_HELD_, 1, MTRACE_FIELD_(mtrace_profile_row_, held)},
    {"change_bytes", MTRACE_AS_CHANGE_, 1, MTRACE_FIELD_(mtrace_profile_row_, change)},
    {"peak_bytes", MTRACE_AS_HELD_, 1, MTRACE_FIELD_(mtrace_profile_row_, peak)},
    {"allocations", MTRACE_AS_NUMBER_, 1, MTRACE_FIELD_(mtrace_profile_row_, allocs)},
    {"frees", MTRACE_AS_NUMBER_, 1, MTRACE_FIELD_(mtrace_profile_row_, frees)},
    {"rise_bytes", MTRACE_AS_CHANGE_, 1, MTRACE_FIELD_(mtrace_profile_row_, rise)},
    {"calls", MTRACE_AS_NUMBER_, 2, MTRACE_FIELD_(mtrace_called_, calls)},
    {"source", MTRACE_AS_LINE_, 3, {0, sizeof(char *)}},
    {"before_bytes", MTRACE_AS_CHANGE_, 4, MTRACE_FIELD_(mtrace_called_, entry)},
    {"peak_bytes", MTRACE_AS_CHANGE_, 4, MTRACE_FIELD_(mtrace_called_, peak)},
    {"rise_bytes", MTRACE_AS_CHANGE_, 4, MTRACE_FIELD_(mtrace_called_, rise)},
    {"after_bytes", MTRACE_AS_CHANGE_, 4, MTRACE_FIELD_(mtrace_called_, after)},
};

static void mtrace_csv_line_(mtrace_text_ *t, mtrace_function_report_ *r, uint32_t line,
                             const mtrace_profile_row_ *row) {
    const char *source = mtrace_source_line_(&r->source, line);
    const void *const parts[] = {r->function, row, &r->total, &source};
    mtrace_put_csv_(t, mtrace_profile_fields_, MTRACE_CSV_FIELDS_, parts);
}

static void mtrace_csv_(mtrace_text_ *t, mtrace_function_report_ *r) {
    mtrace_each_line_(t, r, false, mtrace_csv_line_);
}

static void mtrace_json_line_(mtrace_text_ *t, mtrace_function_report_ *r, uint32_t line,
                              const mtrace_profile_row_ *row) {
    const char *source = mtrace_source_line_(&r->source, line);
    const void *const parts[] = {NULL, row, NULL, &source, NULL};
    mtrace_put_(t, row == r->rows ? "\n  {" : ",\n  {");
    mtrace_put_json_(t, mtrace_profile_fields_, MTRACE_JSON_FIELDS_, parts);
    mtrace_put_char_(t, '}');
}

static void mtrace_json_(mtrace_text_ *t, mtrace_function_report_ *r) {
    const void *const parts[] = {r->function, NULL, &r->total, NULL, &r->total};
    mtrace_put_char_(t, '{');
    mtrace_put_json_(t, mtrace_profile_fields_, MTRACE_JSON_FIELDS_, parts);
    mtrace_put_(t, ",\"lines\":[");
    mtrace_each_line_(t, r, false, mtrace_json_line_);
    mtrace_put_(t, "]}");
}

/* --- all functions --- */

typedef void (*mtrace_profile_fn_)(mtrace_text_ *t, mtrace_function_report_ *r);
static const mtrace_profile_fn_ mtrace_profile_styles_[] = {mtrace_table_, mtrace_classic_,
                                                            mtrace_csv_, mtrace_json_};

/* A warning about events that were not measured and are missing above. */
static void mtrace_profile_put_lost_(mtrace_text_ *t, uint64_t count, const char *what,
                                     const char *why) {
    if (count != 0) {
        mtrace_put_(t, "warning: ");
        mtrace_put_count_(t, count, what);
        mtrace_put_(t, why);
    }
}

static void mtrace_profile_caveats_(mtrace_text_ *t, const mtrace_worker_ *only) {
    const mtrace_profiler_ *p = &mtrace_profiler_g_;
    uint64_t calls = only == NULL ? p->lost_calls : 0, lines = 0, dropped = 0, handlers = 0,
             left = 0;
    size_t i;
    for (i = 0; i < p->worker_count; i++) {
        const mtrace_worker_ *w = &p->workers[i];
        bool counts = only == NULL || only == w;
        calls += counts ? w->lost_calls : 0;
        left += counts ? w->left_calls : 0;
        lines += counts ? w->lost_lines : 0;
        dropped += counts ? w->dropped : 0;
        handlers += counts ? w->interruptions : 0;
    }
    mtrace_profile_put_lost_(t, calls, "call",
                             " not measured: too deep (max_depth), or too many threads "
                             "(max_threads) or functions\n");
    mtrace_profile_put_lost_(t, left, "call",
                             " left by longjmp (or interrupted on another stack): later changes "
                             "are not charged\n");
    mtrace_profile_put_lost_(t, lines, "line", " merged: raise max_lines\n");
    mtrace_profile_put_lost_(t, dropped, "block", " not seen: the trace table was full\n");
    mtrace_profile_put_lost_(t, handlers, "event", " of signal handlers not charged\n");
}

static mtrace_result mtrace_profile_functions_(mtrace_text_ *t,
                                               const mtrace_profile_report_desc *desc,
                                               mtrace_worker_ *only, uint32_t function) {
    uint32_t i, count = MTRACE_GET_ACQUIRE_(&mtrace_profiler_g_.function_count);
    size_t style = (size_t)desc->style;
    bool is_first = true;
    for (i = 0; i < count; i++) {
        mtrace_function_report_ r;
        mtrace_result result;
        if ((only != NULL && i != function) ||
            (desc->function != NULL &&
             !mtrace_match_(mtrace_profiler_g_.functions[i].function, desc->function))) {
            continue;
        }
        result = mtrace_function_report_make_(&r, i, only);
        if (result != MTRACE_OK) {
            return result;
        }
        if (r.total.calls != 0) {
            r.columns = mtrace_profile_columns_(desc);
            mtrace_put_(t, desc->style == MTRACE_PROFILE_JSON && !is_first ? ",\n " : "");
            mtrace_profile_styles_[style < 4 ? style : 0](t, &r);
            is_first = false;
        }
        free(r.rows);
        free(r.source.text);
    }
    return MTRACE_OK;
}

static mtrace_result mtrace_profile_text_(mtrace_text_ *t, const mtrace_profile_report_desc *desc,
                                          mtrace_worker_ *only, uint32_t function) {
    mtrace_result result;
    mtrace_symbols_resolve_();
    if (desc->style == MTRACE_PROFILE_CSV) {
        mtrace_put_csv_(t, mtrace_profile_fields_, MTRACE_CSV_FIELDS_, NULL);
    } else if (desc->style == MTRACE_PROFILE_JSON) {
        mtrace_put_char_(t, '[');
    }
    result = mtrace_profile_functions_(t, desc, only, function);
    if (desc->style == MTRACE_PROFILE_JSON) {
        mtrace_put_(t, "]\n");
    } else if (desc->style == MTRACE_PROFILE_TABLE) {
        mtrace_profile_caveats_(t, only);
    }
    mtrace_text_end_(t);
    return result;
}

/* A report of one call (only) is appended. A report of all replaces the file. */
static mtrace_result mtrace_profile_to_file_(const mtrace_profile_report_desc *desc,
                                             mtrace_worker_ *only, uint32_t function) {
    mtrace_text_ t;
    char line[MTRACE_TEXT_LINE_];
    mtrace_file_ f;
    mtrace_result result = mtrace_file_open_(&f, desc->path, only != NULL);
    if (result != MTRACE_OK) {
        return result;
    }
    mtrace_text_to_callback_(&t, line, mtrace_file_write_, &f);
    return mtrace_file_close_(&f, mtrace_profile_text_(&t, desc, only, function));
}

/* `only` NULL: all workers. */
static mtrace_result mtrace_profile_write_(const mtrace_profile_report_desc *desc,
                                           mtrace_worker_ *only, uint32_t function) {
    mtrace_text_ t;
    char line[MTRACE_TEXT_LINE_];
    if (desc->write == NULL && desc->path != NULL) {
        return mtrace_profile_to_file_(desc, only, function);
    }
    if (desc->write != NULL) {
        mtrace_text_to_callback_(&t, line, desc->write, desc->write_user);
    } else if (!mtrace_text_to_default_(&t, line)) {
        return MTRACE_ERR_NO_WRITER;
    }
    return mtrace_profile_text_(&t, desc, only, function);
}

/* Adds the calls under way to the records, from the innermost out. */
static void mtrace_worker_flush_(mtrace_worker_ *w) {
    mtrace_call_ *call = w->call;
    uint32_t depth;
    w->call = NULL;
    for (depth = w->depth; depth > 0; depth--) {
        mtrace_call_flush_(w, depth - 1);
    }
    w->call = call;
}

/* Nothing was profiled. Text output gets a line that says so. A program that reads CSV or JSON has
   the result. */
static mtrace_result mtrace_profile_missing_(const mtrace_profile_report_desc *desc) {
    mtrace_report_desc report = MTRACE_ZERO_;
    report.write = desc->write;
    report.write_user = desc->write_user;
    return desc->style > MTRACE_PROFILE_CLASSIC || (desc->write == NULL && desc->path != NULL)
               ? MTRACE_ERR_NOT_FOUND
               : mtrace_report_error_(&report, MTRACE_ERR_NOT_FOUND,
                                      ": no profile, mtrace_profile_start() was not called");
}

mtrace_result mtrace_profile_report(const mtrace_profile_report_desc *desc) {
    static const mtrace_profile_report_desc usual = MTRACE_ZERO_;
    mtrace_worker_ *w = mtrace_worker_here_();
    desc = desc != NULL ? desc : &usual;
    if (mtrace_profiler_g_.workers == NULL) {
        return mtrace_profile_missing_(desc);
    }
    mtrace_worker_unwind_here_();
    if (w != NULL && w->call != NULL) {
        mtrace_worker_flush_(w);
    }
    return mtrace_profile_write_(desc, NULL, 0);
}

#elif defined(MTRACE_EXT_IMPLEMENTS_)

#if MTRACE_HAS_ENVIRONMENT_
static void mtrace_profile_at_exit_(void) {}
#endif

#endif /* LINE PROFILE */

/* ============================================================================================== */
/* [CHAPTER] MEMORY USAGE - what one call or one block of a test does to memory                   */
/* ============================================================================================== */

#ifndef MTRACE_EXT_USAGE_
#define MTRACE_EXT_USAGE_
#undef MTRACE_HAS_
#define MTRACE_HAS_ MTRACE_HAS_USAGE_

/* The effect of one call on memory. */
typedef struct mtrace_usage {
    uint64_t before;      /* bytes held before the call */
    uint64_t after;       /* bytes held after it */
    uint64_t peak;        /* the most bytes held during it. Only this thread's changes count */
    uint64_t allocations; /* this thread's */
    uint64_t frees;       /* this thread's */
    uint64_t dropped;     /* untraced allocations. The other values may lack them */
    uint64_t nanoseconds; /* by a monotonic clock */
    void *result;         /* the function's return value */
} mtrace_usage;

MTRACE_OFF_BEGIN_

/* Calls function(argument) once and fills *out with its effect on memory. The function may profile,
   and may measure, too. If its thread ends in it (pthread_exit, not on Windows), the measurement
   ends.
   Errors: NOT_TRACING, ARGUMENT (out or function NULL) and FULL_USAGE (16 under way), without a
     call of the function. Without MTRACE it is called, only `result` is set, and the error is
     COMPILED_OUT.
   Cost: O(1) besides the call.
   Context: any thread; no signal handler or interrupt.
   Source: memory_profiler's memory_usage(), which runs short functions several times. */
MTRACE_EXT_API_ mtrace_result mtrace_memory_usage(mtrace_usage *out, void *(*function)(void *),
                                                  void *argument)
    MTRACE_EXT_OFF_(mtrace_usage none = MTRACE_ZERO_;
                    return function == MTRACE_NULL_ || out == MTRACE_NULL_
                               ? MTRACE_ERR_ARGUMENT
                               : (*out = none, out->result = function(argument),
                                  MTRACE_ERR_COMPILED_OUT));

/* A block under check. */
enum { MTRACE_CHECK_LEAKS_, MTRACE_CHECK_WARM_LEAKS_, MTRACE_CHECK_PEAK_, MTRACE_CHECK_COUNT_ };
typedef struct mtrace_checked_ {
    uint64_t limit;
    uint32_t kind;
    uint32_t round;          /* 1: to warm up. 2: under check. 3: over */
    uint32_t pauses;         /* the tracer's, at the beginning */
    const char *doubt;       /* why nobody can tell. NULL: so far no reason */
    mtrace_snapshot *before; /* at the beginning */
    struct mtrace_measurement_ *measurement;
} mtrace_checked_;
MTRACE_EXT_API_ mtrace_checked_ mtrace_checked_of_(uint32_t kind, uint64_t limit)
    MTRACE_EXT_OFF_(mtrace_checked_ none = MTRACE_ZERO_; return none);
MTRACE_EXT_API_ bool mtrace_checked_next_(mtrace_checked_ *block) MTRACE_EXT_OFF_(return false);
MTRACE_EXT_API_ bool mtrace_checked_fails_(mtrace_checked_ *block, char *message, size_t size)
    MTRACE_EXT_OFF_(return false);
MTRACE_EXT_API_ void mtrace_checked_leave_(mtrace_checked_ *block) MTRACE_EXT_OFF_();

MTRACE_OFF_END_

/* For unit tests: check the block behind them, and call MTRACE_FAIL(message) at its end.

       MT_ASSERT_NO_LEAKS { parse(text); }                 lines that hold more than before
       MT_ASSERT_NO_LEAKS_WARM { parse(text); }            it runs twice, and is checked once
       MT_ASSERT_PEAK_BELOW(64 * 1024) { parse(text); }    bytes held at once more than before
       MT_ASSERT_ALLOCATIONS_AT_MOST(3) { parse(text); }   allocations, each realloc one more

   The message names the lines, largest first; for a peak those that held more than before when the
   limit was reached. Leaks and allocations of all threads count. The peak is that of this thread's
   own changes, as in mtrace_memory_usage. Neither the program's peak nor the baseline changes, and
   blocks may be nested: each is checked by itself. WARM is for code that fills a cache in its first
   run.

   A `continue` ends the block and checks it. A break, return, goto, longjmp or exception out of it
   ends it without a check. After a longjmp a snapshot stays behind, and the thread's peak is
   measured until it checks another one. Without GNU attributes and without C++ that is so with
   break, return and goto, too. MTRACE_FAIL stands where the block stands, so it may return or
   throw. It is also called if nobody can tell: when paused or not tracing, with sampling, if blocks
   were dropped, after a pause, stop, start or clear inside, without memory for a snapshot, or if 16
   peaks and usages are being measured. A peak cannot be told either if the block ends with another
   observer of the thread than it began with. An observer set inside must call the one before it. On
   bare metal, leaks are counted since the baseline, which the
   block sets, so do not nest them there. Peaks and allocations cannot be told there. Compiled out,
   the block runs once.
   Cost: two snapshots and a comparison. Allocations in MT_ASSERT_PEAK_BELOW cost as with an
   observer. */
#if MTRACE_HAS_USAGE_ && defined(__cplusplus)
extern "C++" {
struct mtrace_checked_guard_ : mtrace_checked_ {
    explicit mtrace_checked_guard_(const mtrace_checked_ &block) : mtrace_checked_(block) {}
    ~mtrace_checked_guard_() {
        mtrace_checked_leave_(this);
    }
    mtrace_checked_guard_(const mtrace_checked_guard_ &) = delete;
    mtrace_checked_guard_ &operator=(const mtrace_checked_guard_ &) = delete;
};
}
#define MTRACE_CHECKED_GUARD_(name, ...) mtrace_checked_guard_ name(__VA_ARGS__)
#elif MTRACE_HAS_USAGE_ && defined(__GNUC__)
#define MTRACE_CHECKED_GUARD_(name, ...)                                                           \
    mtrace_checked_ name __attribute__((cleanup(mtrace_checked_leave_))) = __VA_ARGS__
#elif MTRACE_HAS_USAGE_
#define MTRACE_CHECKED_GUARD_(name, ...) mtrace_checked_ name = __VA_ARGS__
#endif
#if MTRACE_HAS_USAGE_
#define MTRACE_CHECKED_AS_(name, kind, limit)                                                      \
    for (MTRACE_CHECKED_GUARD_(name, MTRACE_STATIC_(mtrace_checked_of_)((kind), (limit)));         \
         MTRACE_STATIC_(mtrace_checked_next_)(&name);)                                             \
        if (name.round == 3) {                                                                     \
            char mtrace_verdict_[MTRACE_MESSAGE_];                                                 \
            if (MTRACE_STATIC_(mtrace_checked_fails_)(&name, mtrace_verdict_,                      \
                                                      sizeof mtrace_verdict_)) {                   \
                MTRACE_FAIL(mtrace_verdict_);                                                      \
            }                                                                                      \
        } else
#else /* a loop, too: break and continue mean the same */
#define MTRACE_CHECKED_AS_(name, kind, limit)                                                      \
    for (bool name = ((void)(limit), true); name; name = false)
#endif
#define MTRACE_CHECKED_(kind, limit)                                                               \
    MTRACE_CHECKED_AS_(MTRACE_JOIN_(mtrace_checked_, MTRACE_COUNT_), kind, (uint64_t)(limit))
#define MT_ASSERT_NO_LEAKS                   MTRACE_CHECKED_(MTRACE_CHECK_LEAKS_, 0)
#define MT_ASSERT_NO_LEAKS_WARM              MTRACE_CHECKED_(MTRACE_CHECK_WARM_LEAKS_, 0)
#define MT_ASSERT_PEAK_BELOW(bytes)          MTRACE_CHECKED_(MTRACE_CHECK_PEAK_, (bytes))
#define MT_ASSERT_ALLOCATIONS_AT_MOST(count) MTRACE_CHECKED_(MTRACE_CHECK_COUNT_, (count))

#endif /* MTRACE_EXT_USAGE_ */

#if defined(MTRACE_EXT_IMPLEMENTS_) && MTRACE_HAS_USAGE_

/* A measurement under way. It is not on the stack, because a longjmp out of the function or block
   leaves it and the thread's observer behind. */
typedef struct mtrace_measurement_ {
    uint32_t taken;
    struct mtrace_measurement_ *outer; /* of the same thread */
    const void *frame;                 /* callees have theirs at or below it */
    const void *block;                 /* a block's mtrace_checked_. NULL: a call */
    mtrace_observer before;
    int64_t level;
    int64_t peak;
    int64_t limit;             /* INT64_MAX: none */
    mtrace_snapshot *at_limit; /* when the level reached the limit; NULL: not yet, or no memory */
    uint64_t allocations;
    uint64_t frees;
    uint64_t dropped;
    bool is_cut_off; /* another observer took its place */
} mtrace_measurement_;

enum { MTRACE_USAGES_ = 16 };
MTRACE_SHARED_(mtrace_measurement_ mtrace_measurements_[MTRACE_USAGES_]);

static void mtrace_measurement_event_(const mtrace_event *event, void *user) {
    mtrace_measurement_ *m = (mtrace_measurement_ *)user;
    m->level += (int64_t)(event->allocated_size - event->freed_size);
    m->peak = m->level > m->peak ? m->level : m->peak;
    m->allocations += event->allocated;
    m->frees += event->freed;
    m->dropped += event->dropped;
    if (MTRACE_UNLIKELY_(m->level >= m->limit) && m->at_limit == NULL) {
        mtrace_snapshot_take(&m->at_limit, false, NULL);
    }
    if (m->before.call != NULL) {
        m->before.call(event, m->before.user);
    }
}

static mtrace_measurement_ *mtrace_measurement_take_(void) {
    mtrace_measurement_ *m = NULL;
    int i;
    mtrace_lock_(&mtrace_locks_.profile);
    for (i = 0; i < MTRACE_USAGES_ && m == NULL; i++) {
        m = mtrace_measurements_[i].taken ? NULL : &mtrace_measurements_[i];
    }
    if (m != NULL) {
        memset(m, 0, sizeof *m);
        m->taken = 1;
        m->limit = INT64_MAX;
    }
    mtrace_unlock_(&mtrace_locks_.profile);
    return m;
}

static void mtrace_measurement_give_back_(mtrace_measurement_ *m) {
    mtrace_snapshot_free(m->at_limit);
    mtrace_lock_(&mtrace_locks_.profile);
    m->taken = 0;
    mtrace_unlock_(&mtrace_locks_.profile);
}

static bool mtrace_is_measurement_(const void *user) {
    return (uintptr_t)user - (uintptr_t)mtrace_measurements_ < sizeof mtrace_measurements_;
}

/* Gives the thread's measurements back, from `m` outwards, up to `end`. `end` itself stays. */
static void mtrace_measurements_release_(mtrace_measurement_ *m, const mtrace_measurement_ *end) {
    while (m != NULL && m != end) {
        mtrace_measurement_ *outer = m->outer;
        mtrace_measurement_give_back_(m);
        m = outer;
    }
}

/* The thread ends inside its measurements. Other destructors may free memory after this. No
   observer is called for that. */
static void mtrace_measurements_end_(void *innermost) {
    static const mtrace_observer none = MTRACE_ZERO_;
    mtrace_set_observer(none);
    mtrace_measurements_release_((mtrace_measurement_ *)innermost, NULL);
}

/* Ends the measurements of this thread that a longjmp has left. Their frames lie at or below
   `frame`, or the block is the one that begins again. */
static void mtrace_measurement_unwind_(const void *frame, const void *block) {
    mtrace_observer observer = mtrace_me_.observer;
    while (frame != NULL && mtrace_is_measurement_(observer.user)) {
        mtrace_measurement_ *m = (mtrace_measurement_ *)observer.user;
        if ((uintptr_t)m->frame > (uintptr_t)frame && (block == NULL || m->block != block)) {
            break;
        }
        observer = m->before;
        mtrace_set_observer(observer);
        mtrace_thread_enter_(m->outer, mtrace_measurements_end_);
        mtrace_measurement_give_back_(m);
    }
}

static void mtrace_measurement_begin_(mtrace_measurement_ *m, const void *frame) {
    mtrace_observer observer;
    observer.call = mtrace_measurement_event_;
    observer.user = m;
    m->frame = frame;
    m->outer = (mtrace_measurement_ *)mtrace_thread_inside_();
    m->before = mtrace_set_observer(observer);
    mtrace_thread_enter_(m, mtrace_measurements_end_);
}

/* Does the thread's observer notify it? A longjmp may have left inner ones in between. */
static bool mtrace_is_measured_(const mtrace_measurement_ *m) {
    mtrace_observer observer = mtrace_me_.observer;
    while (observer.user != m && mtrace_is_measurement_(observer.user)) {
        observer = ((const mtrace_measurement_ *)observer.user)->before;
    }
    return observer.user == m;
}

/* Inner measurements that a longjmp has left end here, too. If this one was cut off, the outer one
   lacks the same events. */
static void mtrace_measurement_end_(mtrace_measurement_ *m) {
    m->is_cut_off = m->is_cut_off || !mtrace_is_measured_(m);
    if (m->is_cut_off && m->outer != NULL) {
        m->outer->is_cut_off = true;
    }
    mtrace_set_observer(m->before);
    mtrace_measurements_release_((mtrace_measurement_ *)mtrace_thread_inside_(), m);
    mtrace_thread_enter_(m->outer, mtrace_measurements_end_);
}

mtrace_result mtrace_memory_usage(mtrace_usage *out, void *(*function)(void *), void *argument) {
    mtrace_measurement_ *m;
    if (function == NULL || out == NULL) {
        return MTRACE_ERR_ARGUMENT;
    }
    if (!mtrace_is_tracing()) {
        return MTRACE_ERR_NOT_TRACING;
    }
    mtrace_measurement_unwind_(MTRACE_FRAME_(), NULL);
    m = mtrace_measurement_take_();
    if (m == NULL) {
        return MTRACE_ERR_FULL_USAGE;
    }
    memset(out, 0, sizeof *out);
    out->before = mtrace_get_traced_memory().current;
    mtrace_measurement_begin_(m, MTRACE_FRAME_());
    out->nanoseconds = mtrace_recorder_now();
    out->result = function(argument);
    out->nanoseconds = mtrace_recorder_now() - out->nanoseconds;
    mtrace_measurement_end_(m);
    out->after = mtrace_get_traced_memory().current;
    out->peak = out->before + (uint64_t)m->peak;
    out->allocations = m->allocations;
    out->frees = m->frees;
    out->dropped = m->dropped;
    mtrace_measurement_give_back_(m);
    return MTRACE_OK;
}

/* ============================================================================================== */
/* [SECTION] BLOCKS UNDER CHECK                                                                   */
/* ============================================================================================== */

/* MT_ASSERT_NO_LEAKS and its like are a loop around the user's block. Its condition begins and ends
   the check, and its last round asks for the verdict. So MTRACE_FAIL stands in the user's function,
   and not in a destructor, where a framework could neither throw nor return. The destructor, or in
   GNU C a cleanup, only gives back what is left. */

mtrace_checked_ mtrace_checked_of_(uint32_t kind, uint64_t limit) {
    mtrace_checked_ block;
    memset(&block, 0, sizeof block);
    block.limit = limit;
    block.kind = kind;
    block.round = kind == MTRACE_CHECK_WARM_LEAKS_ ? 0 : 1;
    return block;
}

/* A block's frame lies above the frame of every call that its function makes. */
static mtrace_result mtrace_checked_measure_(mtrace_checked_ *block, const void *frame) {
    mtrace_measurement_ *m;
    mtrace_measurement_unwind_(frame, block);
    m = mtrace_measurement_take_();
    if (m == NULL) {
        return MTRACE_ERR_FULL_USAGE;
    }
    m->block = block;
    m->limit = block->limit < INT64_MAX ? (int64_t)block->limit : INT64_MAX;
    mtrace_measurement_begin_(m, frame == NULL ? NULL : (const char *)frame + 1);
    block->measurement = m;
    return MTRACE_OK;
}

#if MTRACE_HOSTED_
static mtrace_result mtrace_checked_keep_(mtrace_checked_ *block) {
    return mtrace_snapshot_take(&block->before, false, NULL);
}
#else
/* A snapshot would need memory. */
static mtrace_result mtrace_checked_keep_(mtrace_checked_ *block) {
    return block->kind <= MTRACE_CHECK_WARM_LEAKS_ ? mtrace_set_baseline() : MTRACE_ERR_NO_MEMORY;
}
#endif

static void mtrace_checked_begin_(mtrace_checked_ *block, const void *frame) {
    mtrace_result result;
    block->pauses = MTRACE_GET_(&mtrace_g_.pauses);
    result = mtrace_is_tracing() ? mtrace_checked_keep_(block) : MTRACE_ERR_NOT_TRACING;
    if (result == MTRACE_OK && block->kind == MTRACE_CHECK_PEAK_) {
        result = mtrace_checked_measure_(block, frame);
    }
    block->doubt = result == MTRACE_OK ? NULL : mtrace_result_text(result);
}

/* What came in between, so that nobody can tell. */
static const char *mtrace_checked_end_(mtrace_checked_ *block) {
    if (block->measurement != NULL) {
        mtrace_measurement_end_(block->measurement);
    }
    return !mtrace_is_tracing() ? mtrace_result_text(MTRACE_ERR_NOT_TRACING)
           : MTRACE_GET_(&mtrace_g_.pauses) != block->pauses ? "paused in between"
           : block->measurement != NULL && block->measurement->is_cut_off
               ? "the thread's observer was replaced"
               : NULL;
}

bool mtrace_checked_next_(mtrace_checked_ *block) {
    block->round++;
    if (block->round == 2) {
        mtrace_checked_begin_(block, MTRACE_FRAME_());
    } else if (block->round == 3 && block->doubt == NULL) {
        block->doubt = mtrace_checked_end_(block);
    }
    return block->round <= 3;
}

void mtrace_checked_leave_(mtrace_checked_ *block) {
    if (block->measurement != NULL && block->round == 2) {
        mtrace_measurement_end_(block->measurement);
    }
    if (block->measurement != NULL) {
        mtrace_measurement_give_back_(block->measurement);
    }
    mtrace_snapshot_free(block->before);
    block->measurement = NULL;
    block->before = NULL;
}

/* Says why nobody can tell. */
static bool mtrace_checked_doubt_(mtrace_text_ *t, const char *why) {
    mtrace_put_(t, "cannot tell about the block: ");
    mtrace_put_(t, why);
    return true;
}

#if MTRACE_HOSTED_
/* The verdict on the change of each line; false: the block passes. */
static bool mtrace_verdict_peak_(mtrace_text_ *t, const mtrace_checked_ *block,
                                 mtrace_rows *change) {
    uint64_t peak = (uint64_t)block->measurement->peak;
    size_t i;
    if (peak < block->limit) {
        return false;
    }
    mtrace_put_(t, "memory rose by ");
    mtrace_put_size_(t, peak);
    mtrace_put_(t, " (not below ");
    mtrace_put_size_(t, block->limit);
    mtrace_put_(t, "), there:");
    for (i = 0; i < change->count; i++) {
        if (mtrace_row_grew_(&change->rows[i])) {
            mtrace_put_char_(t, '\n');
            mtrace_put_warning_(t, change, &change->rows[i]);
        }
    }
    return true;
}

/* The line with the most allocations, and takes it out. NULL: none is left. */
static const mtrace_row *mtrace_busiest_line_(mtrace_rows *change, mtrace_row *out) {
    size_t i, best = change->count;
    for (i = 0; i < change->count; i++) {
        int64_t count = change->rows[i].count_diff;
        if (count > 0 && (best == change->count || count > change->rows[best].count_diff)) {
            best = i;
        }
    }
    if (best == change->count) {
        return NULL;
    }
    *out = change->rows[best];
    change->rows[best].count_diff = 0;
    return out;
}

static bool mtrace_verdict_count_(mtrace_text_ *t, const mtrace_checked_ *block,
                                  mtrace_rows *change) {
    uint64_t count = mtrace_magnitude_(change->total.count_diff);
    mtrace_row row;
    if (count <= block->limit) {
        return false;
    }
    mtrace_put_count_(t, count, "allocation");
    mtrace_put_(t, " (at most ");
    mtrace_put_number_(t, block->limit);
    mtrace_put_(t, "):");
    while (mtrace_busiest_line_(change, &row) != NULL) {
        mtrace_put_char_(t, '\n');
        mtrace_put_key_(t, &row, change->key_type);
        mtrace_put_(t, ": warning: ");
        mtrace_put_count_(t, (uint64_t)row.count_diff, "allocation");
        mtrace_put_(t, " of ");
        mtrace_put_size_(t, (uint64_t)row.size_diff);
        mtrace_put_function_(t, row.function, row.type, " in ");
    }
    return true;
}

/* Compares the beginning with the end. */
static bool mtrace_checked_compare_(mtrace_text_ *t, const mtrace_checked_ *block,
                                    mtrace_snapshot *end) {
    bool is_peak = block->kind == MTRACE_CHECK_PEAK_, fails;
    mtrace_rows *change;
    mtrace_result result;
    mtrace_snapshot_set_view(block->before, is_peak ? MTRACE_VIEW_LIVE : MTRACE_VIEW_TOTAL);
    mtrace_snapshot_set_view(end, is_peak ? MTRACE_VIEW_LIVE : MTRACE_VIEW_TOTAL);
    result = mtrace_snapshot_compare_to(&change, end, block->before, MTRACE_BY_LINE, NULL);
    if (result != MTRACE_OK) {
        return mtrace_checked_doubt_(t, mtrace_result_text(result));
    }
    if (change->total.dropped_count != 0 || (is_peak && block->measurement->dropped != 0)) {
        fails = mtrace_checked_doubt_(t, "blocks were not traced, the table was full");
    } else if (change->info.sample_interval != 0) {
        fails = mtrace_checked_doubt_(t, "sampling, figures are estimates");
    } else {
        fails = is_peak ? mtrace_verdict_peak_(t, block, change)
                        : mtrace_verdict_count_(t, block, change);
    }
    mtrace_rows_free(change);
    return fails;
}

/* The end is now, or the moment when the limit was reached. Code gets names if the block fails. */
static bool mtrace_checked_judge_(mtrace_text_ *t, mtrace_checked_ *block, mtrace_snapshot **now) {
    bool has_limit = block->measurement != NULL && block->measurement->at_limit != NULL;
    mtrace_snapshot **end = has_limit ? &block->measurement->at_limit : now;
    mtrace_text_ nowhere;
    mtrace_text_to_buffer_(&nowhere, NULL, 0);
    if (!mtrace_checked_compare_(&nowhere, block, *end)) {
        return false;
    }
    mtrace_snapshot_add_names_(&block->before, NULL);
    mtrace_snapshot_add_names_(end, NULL);
    return mtrace_checked_compare_(t, block, *end);
}

static bool mtrace_checked_fails_at_(mtrace_text_ *t, mtrace_checked_ *block) {
    mtrace_snapshot *now = NULL;
    mtrace_result result = mtrace_snapshot_take(&now, false, NULL);
    bool fails;
    if (result == MTRACE_OK && mtrace_snapshot_get_parts(now).generation !=
                                   mtrace_snapshot_get_parts(block->before).generation) {
        result = MTRACE_ERR_CHANGED;
    }
    fails = result != MTRACE_OK ? mtrace_checked_doubt_(t, mtrace_result_text(result))
            : block->kind <= MTRACE_CHECK_WARM_LEAKS_
                ? mtrace_growth_from_(t, &now, block->before, 0) != 0
                : mtrace_checked_judge_(t, block, &now);
    mtrace_snapshot_free(now);
    return fails;
}
#else
static bool mtrace_checked_fails_at_(mtrace_text_ *t, mtrace_checked_ *block) {
    (void)block; /* only leaks come here */
    return mtrace_growth(t->buffer, t->room, NULL, 0) != 0;
}
#endif

bool mtrace_checked_fails_(mtrace_checked_ *block, char *message, size_t size) {
    mtrace_text_ t;
    bool fails;
    mtrace_text_to_buffer_(&t, message, size);
    fails = block->doubt != NULL ? mtrace_checked_doubt_(&t, block->doubt)
                                 : mtrace_checked_fails_at_(&t, block);
    mtrace_checked_leave_(block);
    return fails;
}

#endif /* MEMORY USAGE */

/* ============================================================================================== */
/* [CHAPTER] COMMAND - a debug console: in a terminal, in a debugger, over a UART                 */
/* ============================================================================================== */

#ifndef MTRACE_EXT_COMMAND_
#define MTRACE_EXT_COMMAND_
#undef MTRACE_HAS_
#define MTRACE_HAS_ MTRACE_HAS_COMMAND_

MTRACE_OFF_BEGIN_

/* Carries out one line that was typed into a console, and writes the answer:

     help [WORD]                     all commands, or one
     top [N] [by KEY] [peak|total]   the N largest rows: held now, at the peak, in all
     base                            keeps the bytes and blocks of now: the baseline
     diff [N] [by KEY]               the N largest changes since then
     leaks                           a warning for each line that holds memory
     who ADDRESS                     the block that it points into, its line and traceback
     filter PATTERN, filter off      only rows of such files, functions or types
     domain N, domain NAME, domain off
                                     only rows of this domain
     watch PATTERN, watch off        says each allocation there
     pause, resume, clear, reset-peak
     save FILE                       writes a snapshot with its blocks
     info                            the tracer's state

   N is 10 by default, and 0 is all. KEY is line, file, function, type, domain, traceback, module or
   size. ADDRESS is a number, as C writes it. A pattern without * ? [ may match any part of a name,
   others match all of it (see mtrace_filter). The beginning of a word will do if no other word
   begins so. An argument with blanks stands in double quotes. The line ends at a zero byte or a
   newline.

   `filter` and `domain` restrict all tables and warnings until they are `off`. `watch` observes the
   thread that says it: its allocations, in files, functions or of types like that. It passes its
   events on to an observer that was set before, and `watch off` restores that one. Say `watch off`
   before you restore an older observer yourself. Until then it uses `write`. filter, domain, watch
   and save need an operating system.

   write NULL: desc.write of the start, else standard error. So a debugger can call
   mtrace_command("top 5", 0, 0) at almost any moment of the program. The exceptions get BUSY, after
   a second at most: the middle of a start, stop or clear, for `clear` of any call of mtrace, and on
   a system with MTRACE_LOCK of any call for all commands. Go on for a few lines then. `save` needs
   the allocator and stdio, too.
   Errors: ARGUMENT (no such word, or more than one; a line then lists them), NO_WRITER, BUSY, and
     the errors of the calls that the words stand for. One line tells the reason. An empty line is
     fine.
   Cost: as these calls, `who` O(capacity).
   Context: any thread, one at a time. Bare metal: also interrupts that the writer allows. */
MTRACE_EXT_API_ mtrace_result mtrace_command(const char *line, mtrace_write_fn write, void *user)
    MTRACE_EXT_OFF_(return MTRACE_ERR_COMPILED_OUT);

/* Returns the words that the last word of a line can become: candidate 0, 1 and so on, NULL behind
   the last. The line is what stands before the cursor, `length` bytes. *start becomes the index at
   which its last word begins: a candidate replaces what stands from there on. A candidate lives as
   long as the tracer.
   Errors: NULL.
   Cost: O(length + words).
   Context: any. */
MTRACE_EXT_API_ const char *mtrace_command_complete(const char *line, size_t length, size_t *start,
                                                    size_t index)
    MTRACE_EXT_OFF_(*start = length; return MTRACE_NULL_);

MTRACE_OFF_END_

#endif /* MTRACE_EXT_COMMAND_ */

#if defined(MTRACE_EXT_IMPLEMENTS_) && MTRACE_HAS_COMMAND_

/* --- words --- */

/* A word of the line. It has no zero byte at its end. */
typedef struct mtrace_typed_ {
    const char *text;
    size_t length;
} mtrace_typed_;

/* A line that is being read, and the answer. */
typedef struct mtrace_console_ {
    const char *at; /* what is left of the line */
    const char *end;
    mtrace_typed_ word;  /* the last one read. Length 0: there was none */
    bool is_open_quoted; /* its second quote is missing */
    mtrace_text_ text;
} mtrace_console_;

static void mtrace_console_begin_(mtrace_console_ *c, const char *line, size_t length) {
    memset(c, 0, sizeof *c);
    c->at = line;
    c->end = line + length;
}

/* Reads the next word. False if there is none: it is empty then, and stands at the end. */
static bool mtrace_next_word_(mtrace_console_ *c) {
    bool quoted;
    while (c->at < c->end && mtrace_is_blank_(*c->at)) {
        c->at++;
    }
    quoted = c->at < c->end && *c->at == '"';
    c->at += quoted ? 1 : 0;
    c->word.text = c->at;
    while (c->at < c->end && (quoted ? *c->at != '"' : !mtrace_is_blank_(*c->at))) {
        c->at++;
    }
    c->word.length = (size_t)(c->at - c->word.text);
    c->is_open_quoted = quoted && c->at == c->end;
    c->at += quoted && !c->is_open_quoted ? 1 : 0;
    return quoted || c->word.length != 0;
}

/* Words to choose from: the i-th, NULL behind the last. */
typedef const char *(*mtrace_words_fn_)(size_t i);

static bool mtrace_word_begins_(const mtrace_typed_ *word, const char *text) {
    return strlen(text) >= word->length && memcmp(text, word->text, word->length) == 0;
}

static bool mtrace_word_is_(const mtrace_typed_ *word, const char *text) {
    return mtrace_word_begins_(word, text) && text[word->length] == '\0';
}

/* How many of the words begin so? *index becomes that of the last of them. A word that is equal is
   the only one. */
static size_t mtrace_count_candidates_(const mtrace_typed_ *word, mtrace_words_fn_ words,
                                       size_t *index) {
    const char *text;
    size_t i, count = 0;
    for (i = 0; (text = words(i)) != NULL; i++) {
        if (mtrace_word_is_(word, text)) {
            *index = i;
            return 1;
        }
        if (mtrace_word_begins_(word, text)) {
            *index = i;
            count++;
        }
    }
    return count;
}

/* --- answers --- */

static void mtrace_put_word_(mtrace_text_ *t, const mtrace_typed_ *word) {
    size_t most = 40, length = word->length < most ? word->length : most;
    mtrace_put_char_(t, '"');
    mtrace_put_safe_(t, word->text, length);
    mtrace_put_(t, length < word->length ? "..\"" : "\"");
}

static mtrace_result mtrace_console_says_(mtrace_console_ *c, mtrace_result result,
                                          const char *text) {
    mtrace_put_(&c->text, "mtrace: ");
    mtrace_put_(&c->text, text);
    mtrace_put_char_(&c->text, '\n');
    return result;
}

/* For calls that say nothing themselves. */
static mtrace_result mtrace_console_done_(mtrace_console_ *c, mtrace_result result,
                                          const char *done) {
    return mtrace_console_says_(c, result, result == MTRACE_OK ? done : mtrace_result_text(result));
}

/* Lists the words that begin as c->word, or all if none does. */
static void mtrace_console_list_(mtrace_console_ *c, mtrace_words_fn_ words, size_t matching) {
    const char *text, *before = matching == 0 ? " is none of " : " may be ";
    size_t i;
    mtrace_put_(&c->text, "mtrace: ");
    if (c->word.length == 0) {
        before = "a word is missing: ";
    } else {
        mtrace_put_word_(&c->text, &c->word);
    }
    for (i = 0; (text = words(i)) != NULL; i++) {
        if (matching == 0 || mtrace_word_begins_(&c->word, text)) {
            mtrace_put_(&c->text, before);
            mtrace_put_name_(&c->text, text);
            before = ", ";
        }
    }
    mtrace_put_char_(&c->text, '\n');
}

/* Finds the index of c->word among the words. False: the answer lists them. */
static bool mtrace_console_choose_(mtrace_console_ *c, mtrace_words_fn_ words, size_t *index) {
    size_t matching = mtrace_count_candidates_(&c->word, words, index);
    if (matching != 1) {
        mtrace_console_list_(c, words, matching);
    }
    return matching == 1;
}

/* 16: the character is no digit. */
static unsigned mtrace_digit_of_(char c) {
    return c >= '0' && c <= '9'   ? (unsigned)(c - '0')
           : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
           : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                  : 16;
}

/* Reads a number: decimal, or 0x and hexadecimal. False if it is none, or above UINT64_MAX. */
static bool mtrace_word_number_(const mtrace_typed_ *word, uint64_t *number) {
    bool is_hex =
        word->length > 2 && word->text[0] == '0' && (word->text[1] == 'x' || word->text[1] == 'X');
    unsigned base = is_hex ? 16 : 10;
    uint64_t most = is_hex ? UINT64_MAX / 16 : UINT64_MAX / 10;
    size_t i = is_hex ? 2 : 0;
    for (*number = 0; i < word->length; i++) {
        unsigned digit = mtrace_digit_of_(word->text[i]);
        uint64_t next = *number * base + digit;
        if (digit >= base || *number > most || next < digit) {
            return false;
        }
        *number = next;
    }
    return word->length != 0;
}

/* --- what filter, domain and watch keep --- */

/* "domain 3 audio" */
static void mtrace_put_domain_(mtrace_text_ *t, uint32_t domain) {
    const mtrace_domain_name_ *name = mtrace_domain_name_of_(domain);
    mtrace_put_(t, "domain ");
    mtrace_put_number_(t, domain);
    mtrace_put_(t, name != NULL ? " " : "");
    mtrace_put_name_(t, name != NULL ? name->name : "");
}

#if MTRACE_HOSTED_

enum { MTRACE_PATTERN_ = 256 }; /* bytes */

typedef struct mtrace_pattern_ {
    char text[MTRACE_PATTERN_]; /* empty: none */
} mtrace_pattern_;

typedef struct mtrace_watch_ {
    mtrace_pattern_ pattern;
    mtrace_write_fn write;
    void *user;
} mtrace_watch_;

typedef struct mtrace_console_state_ {
    mtrace_pattern_ filter;
    uint32_t domain;
    bool has_domain;
    mtrace_watch_ *watch; /* NULL: none */
    /* A new watch does not overwrite the old one: another thread's observer may be reading it. */
    mtrace_watch_ watches[2];
} mtrace_console_state_;
MTRACE_SHARED_(mtrace_console_state_ mtrace_console_g_);

/* Copies a word. One without * ? [ gets a * on both sides. False if it is too long. */
static bool mtrace_pattern_set_(mtrace_pattern_ *pattern, const mtrace_typed_ *word) {
    mtrace_text_ t;
    bool is_part = true;
    size_t i;
    for (i = 0; i < word->length; i++) {
        is_part = is_part && strchr("*?[", word->text[i]) == NULL;
    }
    if (word->length > sizeof pattern->text - 3) {
        return false;
    }
    mtrace_text_to_buffer_(&t, pattern->text, sizeof pattern->text);
    mtrace_put_(&t, is_part ? "*" : "");
    mtrace_put_bytes_(&t, word->text, word->length);
    mtrace_put_(&t, is_part ? "*" : "");
    return true;
}

/* "filter *sound*", "domain 3 audio", or both. Returns false for neither. */
static bool mtrace_put_restriction_(mtrace_text_ *t) {
    const mtrace_console_state_ *state = &mtrace_console_g_;
    bool has_filter = state->filter.text[0] != '\0';
    if (has_filter) {
        mtrace_put_(t, "filter ");
        mtrace_put_name_(t, state->filter.text);
    }
    if (state->has_domain) {
        mtrace_put_(t, has_filter ? ", " : "");
        mtrace_put_domain_(t, state->domain);
    }
    return has_filter || state->has_domain;
}

/* One filter of the three has to match: by file, by function, by type. */
static mtrace_result mtrace_console_print_(mtrace_console_ *c, mtrace_print_desc *desc) {
    const mtrace_console_state_ *state = &mtrace_console_g_;
    const char *pattern = state->filter.text[0] != '\0' ? state->filter.text : NULL;
    mtrace_filter filters[3];
    size_t i;
    memset(filters, 0, sizeof filters);
    filters[0].file = pattern;
    filters[1].function = pattern;
    filters[2].type = pattern;
    for (i = 0; i < 3; i++) {
        filters[i].has_domain = state->has_domain;
        filters[i].domain = state->has_domain ? state->domain : 0;
    }
    desc->report.write = c->text.write;
    desc->report.write_user = c->text.user;
    desc->filters = filters;
    desc->filter_count = pattern != NULL ? 3 : state->has_domain ? 1 : 0;
    if (mtrace_put_restriction_(&c->text)) {
        mtrace_put_(&c->text, ":\n");
    }
    return mtrace_print(desc);
}

static mtrace_result mtrace_console_says_restriction_(mtrace_console_ *c) {
    mtrace_put_(&c->text, "mtrace: ");
    mtrace_put_(&c->text, mtrace_put_restriction_(&c->text) ? "\n" : "all rows\n");
    return MTRACE_OK;
}

static const char *mtrace_off_words_(size_t i) {
    return i == 0 ? "off" : NULL;
}

static mtrace_result mtrace_console_filter_(mtrace_console_ *c) {
    mtrace_pattern_ *filter = &mtrace_console_g_.filter;
    if (mtrace_word_is_(&c->word, "off")) {
        filter->text[0] = '\0';
    } else if (c->word.length != 0 && !mtrace_pattern_set_(filter, &c->word)) {
        return mtrace_console_says_(c, MTRACE_ERR_ARGUMENT, "the pattern is too long");
    }
    return mtrace_console_says_restriction_(c);
}

/* The i-th domain with a name; NULL behind the last. */
static const mtrace_domain_name_ *mtrace_nth_domain_(size_t i) {
    uint32_t at, count = MTRACE_GET_ACQUIRE_(&mtrace_g_.domain_names);
    for (at = 0; at < count; at++) {
        const mtrace_domain_name_ *entry = &mtrace_g_.domains[at];
        if (mtrace_domain_name_of_(entry->domain) == entry && i-- == 0) {
            return entry;
        }
    }
    return NULL;
}

/* "off" is the first, so that no new name moves it. */
static const char *mtrace_domain_words_(size_t i) {
    const mtrace_domain_name_ *entry = i == 0 ? NULL : mtrace_nth_domain_(i - 1);
    return i == 0 ? "off" : entry != NULL ? entry->name : NULL;
}

static mtrace_result mtrace_console_domain_(mtrace_console_ *c) {
    mtrace_console_state_ *state = &mtrace_console_g_;
    const mtrace_domain_name_ *entry;
    uint64_t number = 0;
    size_t i = 0;
    if (c->word.length == 0) {
        return mtrace_console_says_restriction_(c);
    }
    if (!mtrace_word_number_(&c->word, &number) || number > UINT32_MAX) {
        if (!mtrace_console_choose_(c, mtrace_domain_words_, &i)) {
            return MTRACE_ERR_ARGUMENT;
        }
        entry = i == 0 ? NULL : mtrace_nth_domain_(i - 1);
        state->has_domain = entry != NULL;
        number = entry != NULL ? entry->domain : 0;
    } else {
        state->has_domain = true;
    }
    state->domain = (uint32_t)number;
    return mtrace_console_says_restriction_(c);
}

/* --- watch --- */

/* The observer of a thread that said `watch`. */
typedef struct mtrace_watcher_ {
    mtrace_observer before;
    bool is_set;
} mtrace_watcher_;
static MTRACE_THREAD_STORAGE_ mtrace_watcher_ mtrace_watcher_here_;

/* Is it the thread's observer, and not another one that was set since? */
static bool mtrace_watcher_is_on_top_(void) {
    return mtrace_me_.observer.user == &mtrace_watcher_here_;
}

/* Restores the observer from before. False if it is not on top: then it stays, and passes events
   on. */
static bool mtrace_watcher_end_(void) {
    if (mtrace_watcher_is_on_top_()) {
        mtrace_set_observer(mtrace_watcher_here_.before);
        mtrace_watcher_here_.is_set = false;
    }
    return !mtrace_watcher_here_.is_set;
}

static void mtrace_watch_say_(const mtrace_watch_ *watch, const mtrace_event *event,
                              const mtrace_frame *place) {
    mtrace_text_ t;
    char line[MTRACE_TEXT_LINE_];
    mtrace_text_to_callback_(&t, line, watch->write, watch->user);
    mtrace_put_line_number_(&t, place);
    mtrace_put_(&t, ": ");
    mtrace_put_size_(&t, event->allocated_size + event->dropped_size);
    if (event->freed != 0) {
        mtrace_put_(&t, " for ");
        mtrace_put_size_(&t, event->freed_size);
    }
    mtrace_put_(&t, event->dropped != 0 ? " allocated and not traced" : " allocated");
    mtrace_put_function_(&t, place->function, event->site->type, " in ");
    mtrace_put_char_(&t, '\n');
}

static void mtrace_watch_look_(const mtrace_watch_ *watch, const mtrace_event *event) {
    mtrace_module module;
    mtrace_frame place = mtrace_event_place_(event->site, &module);
    const char *pattern = watch->pattern.text, *function = place.function;
    char name[MTRACE_SHORT_NAME_];
    place.function = function == NULL ? NULL : mtrace_short_name_(name, sizeof name, function);
    if (mtrace_match_(place.file, pattern) || mtrace_match_(place.function, pattern) ||
        mtrace_match_(event->site->type, pattern)) {
        mtrace_watch_say_(watch, event, &place);
    }
}

static void mtrace_watch_event_(const mtrace_event *event, void *user) {
    const mtrace_watch_ *watch = MTRACE_GET_ACQUIRE_(&mtrace_console_g_.watch);
    mtrace_observer before = mtrace_watcher_here_.before;
    (void)user;
    if (watch != NULL && event->site != NULL && event->allocated + event->dropped != 0) {
        mtrace_watch_look_(watch, event);
    }
    if (before.call != NULL) {
        before.call(event, before.user);
    }
    if (watch == NULL) { /* `watch off` in another thread */
        (void)mtrace_watcher_end_();
    }
}

/* Without an observer on top there is none beneath, whatever is_set says. */
static void mtrace_watcher_begin_(void) {
    mtrace_observer observer, top = mtrace_me_.observer;
    observer.call = mtrace_watch_event_;
    observer.user = &mtrace_watcher_here_;
    if (!mtrace_watcher_here_.is_set || top.call == NULL) {
        mtrace_watcher_here_.before = top;
        mtrace_watcher_here_.is_set = true;
        mtrace_set_observer(observer);
    }
}

static mtrace_result mtrace_console_says_watch_(mtrace_console_ *c) {
    const mtrace_watch_ *watch = mtrace_console_g_.watch;
    mtrace_put_(&c->text, "mtrace: watch ");
    mtrace_put_name_(&c->text, watch != NULL ? watch->pattern.text : "off");
    mtrace_put_char_(&c->text, '\n');
    return MTRACE_OK;
}

static mtrace_result mtrace_console_watch_(mtrace_console_ *c) {
    mtrace_console_state_ *state = &mtrace_console_g_;
    mtrace_watch_ *watch = &state->watches[state->watch == &state->watches[0] ? 1 : 0];
    if (mtrace_word_is_(&c->word, "off")) {
        MTRACE_SET_RELEASE_(&state->watch, (mtrace_watch_ *)NULL);
        if (!mtrace_watcher_end_()) {
            return mtrace_console_says_(c, MTRACE_ERR_BUSY,
                                        "silent; an observer was set since: restore it first");
        }
    } else if (c->word.length != 0) {
        if (!mtrace_pattern_set_(&watch->pattern, &c->word)) {
            return mtrace_console_says_(c, MTRACE_ERR_ARGUMENT, "the pattern is too long");
        }
        watch->write = c->text.write;
        watch->user = c->text.user;
        MTRACE_SET_RELEASE_(&state->watch, watch);
        mtrace_watcher_begin_();
    }
    return mtrace_console_says_watch_(c);
}

/* --- save --- */

static mtrace_result mtrace_console_save_(mtrace_console_ *c) {
    char path[4096];
    mtrace_snapshot *snapshot = NULL;
    mtrace_result result = MTRACE_ERR_ARGUMENT;
    if (!MTRACE_HAS_FILES_) {
        return mtrace_console_says_(c, MTRACE_ERR_COMPILED_OUT, "built with MTRACE_NO_FILES");
    }
    if (c->word.length < sizeof path) {
        memcpy(path, c->word.text, c->word.length);
        path[c->word.length] = '\0';
        result = mtrace_snapshot_take(&snapshot, true, NULL);
    }
    if (result == MTRACE_OK) {
        result = mtrace_snapshot_dump(snapshot, path);
    }
    mtrace_snapshot_free(snapshot);
    return result == MTRACE_ERR_IO ? mtrace_console_says_(c, result, strerror(errno))
                                   : mtrace_console_done_(c, result, "saved");
}

/* Waits up to a second for a call of another thread. False if it does not go on: a debugger stopped
   this very thread in the middle of it. */
static bool mtrace_console_may_run_(void) {
    uint64_t end = mtrace_recorder_now() + MTRACE_NS_PER_S_;
    while (MTRACE_GET_ACQUIRE_(&mtrace_g_.control) != 0) {
        if (mtrace_recorder_now() > end) {
            return false;
        }
        mtrace_yield_();
    }
    return true;
}

/* Is this thread in the middle of a call of mtrace? Then a debugger stopped it there. */
#if MTRACE_ATOMICS_
static bool mtrace_console_is_inside_(void) {
    return mtrace_me_.shared_calls != 0 ||
           (mtrace_me_.shard != &mtrace_g_.no_shard && MTRACE_GET_(&mtrace_me_.shard->inside) != 0);
}
#else
static bool mtrace_console_is_inside_(void) {
    return false; /* with a lock mtrace_console_may_run_ has seen that */
}
#endif

/* desc.write of the start, else standard error, and not standard output: the answer in a debugger
   is read at once, and must not wait for a buffer to be allocated. */
static bool mtrace_console_to_default_(mtrace_text_ *t, char line[MTRACE_TEXT_LINE_]) {
    bool has_writer = mtrace_text_to_default_(t, line);
    if (mtrace_is_to_stdout_(NULL)) {
        t->write = mtrace_write_stderr_;
    }
    return has_writer;
}

#define MTRACE_ON_SYSTEM_(function) function

#else

/* Bare metal has no snapshots of its own, no observers, and no files. */
static mtrace_result mtrace_console_print_(mtrace_console_ *c, mtrace_print_desc *desc) {
    desc->report.write = c->text.write;
    desc->report.write_user = c->text.user;
    return mtrace_print(desc);
}

static bool mtrace_put_restriction_(mtrace_text_ *t) {
    (void)t;
    return false;
}

static bool mtrace_console_may_run_(void) {
    return true;
}

static bool mtrace_console_is_inside_(void) {
    return false;
}

static bool mtrace_console_to_default_(mtrace_text_ *t, char line[MTRACE_TEXT_LINE_]) {
    return mtrace_text_to_default_(t, line);
}

#define MTRACE_ON_SYSTEM_(function) NULL

#endif

/* --- tables --- */

/* In the order of MTRACE_BY_. */
static const char *mtrace_key_words_(size_t i) {
    static const char words[] = "line\0file\0function\0type\0domain\0size\0traceback\0module";
    const size_t last = MTRACE_HOSTED_ ? MTRACE_BY_MODULE : MTRACE_BY_TRACEBACK;
    return i <= last ? mtrace_nth_text_(words, (uint32_t)i) : NULL;
}

/* A view is its own index. */
static const char *mtrace_top_words_(size_t i) {
    static const char words[] = "by\0peak\0total";
    return i <= MTRACE_VIEW_TOTAL ? mtrace_nth_text_(words, (uint32_t)i) : NULL;
}

static const char *mtrace_diff_words_(size_t i) {
    return i == 0 ? "by" : NULL;
}

/* Reads what follows top or diff. False: the answer says what is wrong. */
static bool mtrace_console_read_table_(mtrace_console_ *c, mtrace_print_desc *desc,
                                       mtrace_words_fn_ words) {
    uint64_t number;
    size_t i;
    while (mtrace_next_word_(c)) {
        if (mtrace_word_number_(&c->word, &number)) {
            desc->report.top = number < SIZE_MAX / 2 ? (size_t)number : SIZE_MAX / 2;
        } else if (!mtrace_console_choose_(c, words, &i)) {
            return false;
        } else if (i != 0) {
            desc->view = (mtrace_view)i;
        } else {
            (void)mtrace_next_word_(c);
            if (!mtrace_console_choose_(c, mtrace_key_words_, &i)) {
                return false;
            }
            desc->key_type = (mtrace_key_type)i;
        }
    }
    return true;
}

static mtrace_result mtrace_console_table_(mtrace_console_ *c, mtrace_words_fn_ words,
                                           bool is_diff) {
    mtrace_print_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.report.top = 10;
    desc.since_baseline = is_diff;
    return mtrace_console_read_table_(c, &desc, words) ? mtrace_console_print_(c, &desc)
                                                       : MTRACE_ERR_ARGUMENT;
}

static mtrace_result mtrace_console_top_(mtrace_console_ *c) {
    return mtrace_console_table_(c, mtrace_top_words_, false);
}

static mtrace_result mtrace_console_diff_(mtrace_console_ *c) {
    return mtrace_console_table_(c, mtrace_diff_words_, true);
}

static mtrace_result mtrace_console_leaks_(mtrace_console_ *c) {
    mtrace_print_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.report.style = MTRACE_STYLE_WARNINGS;
    return mtrace_console_print_(c, &desc);
}

/* --- one block --- */

enum { MTRACE_WHO_FRAMES_ = MTRACE_HOSTED_ ? 32 : 4 };

static void mtrace_put_block_(mtrace_text_ *t, const mtrace_block *block, uintptr_t address) {
    uintptr_t plain = block->is_tracked ? address : mtrace_untagged_(address);
    bool is_inside = plain != block->address;
    mtrace_put_address_(t, address);
    mtrace_put_(t, ": ");
    if (is_inside) {
        mtrace_put_count_(t, plain - block->address, "byte");
        mtrace_put_(t, " into ");
    }
    mtrace_put_(t, block->is_tracked ? "a tracked key of " : "a block of ");
    mtrace_put_size_(t, block->size);
    if (is_inside) {
        mtrace_put_(t, " at ");
        mtrace_put_address_(t, block->address);
    }
    if (block->domain != 0) {
        mtrace_put_(t, ", ");
        mtrace_put_domain_(t, block->domain);
    }
    if (MTRACE_HOSTED_ && block->serial != 0) {
        mtrace_put_(t, ", allocation ");
        mtrace_put_number_(t, block->serial);
    }
    mtrace_put_char_(t, '\n');
}

/* The call site, then the scopes around it. */
static void mtrace_put_block_frames_(mtrace_text_ *t, const mtrace_block *block) {
    uint32_t i;
    for (i = block->traceback.count; i > 0; i--) {
        bool is_site = i == block->traceback.count;
        mtrace_put_(t, is_site ? "  " : "  from ");
        mtrace_put_line_number_(t, &block->traceback.frames[i - 1]);
        mtrace_put_function_(t, block->traceback.frames[i - 1].function,
                             is_site ? block->type : NULL, " ");
        mtrace_put_char_(t, '\n');
    }
}

static mtrace_result mtrace_console_who_(mtrace_console_ *c) {
    mtrace_frame frames[MTRACE_WHO_FRAMES_];
    mtrace_snapshot *named;
    mtrace_block block;
    uint64_t address;
    mtrace_result result;
    if (!mtrace_word_number_(&c->word, &address) || address > UINTPTR_MAX) {
        mtrace_put_(&c->text, "mtrace: no address: ");
        mtrace_put_word_(&c->text, &c->word);
        mtrace_put_char_(&c->text, '\n');
        return MTRACE_ERR_ARGUMENT;
    }
    result = mtrace_find_containing(&block, (const void *)(uintptr_t)address);
    if (result == MTRACE_OK) {
        result = mtrace_find_tracked(&block, block.is_tracked ? block.domain : 0,
                                     (uintptr_t)block.address, frames, MTRACE_WHO_FRAMES_);
    }
    if (result != MTRACE_OK) {
        return mtrace_console_says_(c, result,
                                    result == MTRACE_ERR_NOT_FOUND ? "no traced block there"
                                                                   : mtrace_result_text(result));
    }
    named = mtrace_block_add_names_(&block);
    mtrace_put_block_(&c->text, &block, (uintptr_t)address);
    mtrace_put_block_frames_(&c->text, &block);
    mtrace_snapshot_free(named);
    return MTRACE_OK;
}

/* --- the tracer --- */

/* Written at once: with a lock, mtrace_put_ waits for it. */
static mtrace_result mtrace_console_is_busy_(const mtrace_console_ *c) {
    static const char text[] = "mtrace: stopped in the middle of a call of mtrace: go on first\n";
    c->text.write(text, sizeof text - 1, c->text.user);
    return MTRACE_ERR_BUSY;
}

static mtrace_result mtrace_console_base_(mtrace_console_ *c) {
    return mtrace_console_done_(c, mtrace_set_baseline(), "this is the baseline");
}

static mtrace_result mtrace_console_pause_(mtrace_console_ *c) {
    return mtrace_console_done_(c, mtrace_pause(), "paused: new blocks are not traced");
}

static mtrace_result mtrace_console_resume_(mtrace_console_ *c) {
    return mtrace_console_done_(c, mtrace_resume(), "new blocks are traced");
}

/* For calls without a result. */
static mtrace_result mtrace_console_do_(mtrace_console_ *c, void (*act)(void), const char *done) {
    mtrace_result result = MTRACE_STATE_() == 0 ? MTRACE_ERR_NOT_TRACING : MTRACE_OK;
    act();
    return mtrace_console_done_(c, result, done);
}

/* A clear waits for all calls that began before, but not for one of its own thread. */
static mtrace_result mtrace_console_clear_(mtrace_console_ *c) {
    if (mtrace_console_is_inside_()) {
        return mtrace_console_is_busy_(c);
    }
    return mtrace_console_do_(c, mtrace_clear, "all traces are forgotten");
}

static mtrace_result mtrace_console_reset_peak_(mtrace_console_ *c) {
    return mtrace_console_do_(c, mtrace_reset_peak, "the peak is what is held now");
}

static void mtrace_put_part_(mtrace_text_ *t, const char *noun, size_t part, size_t whole) {
    char number[MTRACE_NUMBER_];
    mtrace_put_(t, noun);
    mtrace_put_(t, mtrace_grouped_(number, part, false, false));
    mtrace_put_(t, " of ");
    mtrace_put_(t, mtrace_grouped_(number, whole, false, false));
}

static mtrace_result mtrace_console_info_(mtrace_console_ *c) {
    mtrace_text_ *t = &c->text;
    mtrace_info info = mtrace_get_info();
    mtrace_traced_memory memory = mtrace_get_traced_memory();
    mtrace_caveats_ caveats;
    if (info.capacity == 0) {
        return mtrace_console_done_(c, MTRACE_ERR_NOT_TRACING, "");
    }
    mtrace_caveats_read_(&caveats, &info);
    mtrace_put_(t, mtrace_is_tracing() ? "mtrace: tracing: " : "mtrace: paused: ");
    mtrace_put_size_(t, memory.current);
    mtrace_put_(t, " held, ");
    mtrace_put_size_(t, memory.peak);
    mtrace_put_(t, " at the peak\n");
    mtrace_put_part_(t, "blocks ", info.live, info.capacity);
    mtrace_put_part_(t, " slots; accounts ", info.sites, info.max_sites);
    mtrace_put_part_(t, "; scopes ", info.scopes, info.max_scopes);
    mtrace_put_(t, "\nmtrace's own memory ");
    mtrace_put_size_(t, info.tracer_memory);
    mtrace_put_caveats_(t, &caveats, 0);
    mtrace_put_char_(t, '\n');
    if (mtrace_put_restriction_(t)) {
        mtrace_put_char_(t, '\n');
    }
    return MTRACE_OK;
}

/* --- the commands --- */

typedef enum mtrace_takes_ {
    MTRACE_TAKES_NONE_,
    MTRACE_TAKES_MAYBE_, /* one word or none */
    MTRACE_TAKES_ONE_,
    MTRACE_TAKES_MORE_ /* the command reads them itself */
} mtrace_takes_;

typedef struct mtrace_console_row_ {
    const char *name;
    const char *forms; /* of what follows */
    const char *help;
    mtrace_result (*run)(mtrace_console_ *c); /* NULL: it needs an operating system */
    mtrace_words_fn_ words;                   /* what may follow. NULL: no words of ours */
    mtrace_takes_ takes;
} mtrace_console_row_;

static mtrace_result mtrace_console_help_(mtrace_console_ *c);
static const char *mtrace_console_names_(size_t i);

static const mtrace_console_row_ mtrace_console_rows_[] = {
    {"help", " [WORD]", "all commands, or one", mtrace_console_help_, mtrace_console_names_,
     MTRACE_TAKES_MAYBE_},
    {"top", " [N] [by KEY] [peak|total]", "the largest rows: now, at the peak, ever",
     mtrace_console_top_, mtrace_top_words_, MTRACE_TAKES_MORE_},
    {"base", "", "keeps what is held now, for diff", mtrace_console_base_, NULL,
     MTRACE_TAKES_NONE_},
    {"diff", " [N] [by KEY]", "the largest changes since base", mtrace_console_diff_,
     mtrace_diff_words_, MTRACE_TAKES_MORE_},
    {"leaks", "", "a warning for each line that holds memory", mtrace_console_leaks_, NULL,
     MTRACE_TAKES_NONE_},
    {"who", " ADDRESS", "the block that it points into", mtrace_console_who_, NULL,
     MTRACE_TAKES_ONE_},
    {"filter", " PATTERN|off", "tables of some files, functions, types",
     MTRACE_ON_SYSTEM_(mtrace_console_filter_), MTRACE_ON_SYSTEM_(mtrace_off_words_),
     MTRACE_TAKES_MAYBE_},
    {"domain", " N|NAME|off", "tables of one domain", MTRACE_ON_SYSTEM_(mtrace_console_domain_),
     MTRACE_ON_SYSTEM_(mtrace_domain_words_), MTRACE_TAKES_MAYBE_},
    {"watch", " PATTERN|off", "a line for each allocation there",
     MTRACE_ON_SYSTEM_(mtrace_console_watch_), MTRACE_ON_SYSTEM_(mtrace_off_words_),
     MTRACE_TAKES_MAYBE_},
    {"pause", "", "new blocks are not traced", mtrace_console_pause_, NULL, MTRACE_TAKES_NONE_},
    {"resume", "", "new blocks are traced again", mtrace_console_resume_, NULL, MTRACE_TAKES_NONE_},
    {"clear", "", "forgets all traces and counters", mtrace_console_clear_, NULL,
     MTRACE_TAKES_NONE_},
    {"reset-peak", "", "the peak is what is held now", mtrace_console_reset_peak_, NULL,
     MTRACE_TAKES_NONE_},
    {"save", " FILE", "a snapshot with its blocks", MTRACE_ON_SYSTEM_(mtrace_console_save_), NULL,
     MTRACE_TAKES_ONE_},
    {"info", "", "the tracer's state", mtrace_console_info_, NULL, MTRACE_TAKES_NONE_},
};
enum { MTRACE_COMMANDS_ = sizeof mtrace_console_rows_ / sizeof *mtrace_console_rows_ };

/* The i-th command that is there. */
static const mtrace_console_row_ *mtrace_nth_command_(size_t i) {
    size_t at;
    for (at = 0; at < MTRACE_COMMANDS_; at++) {
        if (mtrace_console_rows_[at].run != NULL && i-- == 0) {
            return &mtrace_console_rows_[at];
        }
    }
    return NULL;
}

static const char *mtrace_console_names_(size_t i) {
    const mtrace_console_row_ *command = mtrace_nth_command_(i);
    return command == NULL ? NULL : command->name;
}

/* The same with those that are not. */
static const char *mtrace_all_names_(size_t i) {
    return i < MTRACE_COMMANDS_ ? mtrace_console_rows_[i].name : NULL;
}

static void mtrace_put_help_(mtrace_text_ *t, const mtrace_console_row_ *command) {
    mtrace_put_(t, command->name);
    mtrace_put_(t, command->forms);
    mtrace_put_column_(t, 31);
    mtrace_put_(t, command->help);
    mtrace_put_char_(t, '\n');
}

static mtrace_result mtrace_console_help_(mtrace_console_ *c) {
    size_t i;
    if (c->word.length != 0) {
        if (!mtrace_console_choose_(c, mtrace_console_names_, &i)) {
            return MTRACE_ERR_ARGUMENT;
        }
        mtrace_put_help_(&c->text, mtrace_nth_command_(i));
        return MTRACE_OK;
    }
    for (i = 0; mtrace_nth_command_(i) != NULL; i++) {
        mtrace_put_help_(&c->text, mtrace_nth_command_(i));
    }
    mtrace_put_(&c->text, "KEY: line file function type domain traceback");
    mtrace_put_(&c->text,
                MTRACE_HOSTED_ ? " module size\nThe beginning of a word will do.\n" : "\n");
    return MTRACE_OK;
}

/* Reads one word or none. False if the command takes another number of them. */
static bool mtrace_console_takes_(mtrace_console_ *c, mtrace_takes_ takes) {
    bool has_word = mtrace_next_word_(c), has_more;
    mtrace_typed_ word = c->word;
    has_more = mtrace_next_word_(c);
    c->word = word;
    return !has_more && (takes == MTRACE_TAKES_MAYBE_ || has_word == (takes == MTRACE_TAKES_ONE_));
}

static mtrace_result mtrace_console_run_(mtrace_console_ *c, const mtrace_console_row_ *command) {
    if (command->takes != MTRACE_TAKES_MORE_ && !mtrace_console_takes_(c, command->takes)) {
        mtrace_put_(&c->text, "mtrace: write ");
        mtrace_put_(&c->text, command->name);
        mtrace_put_(&c->text, command->forms);
        mtrace_put_char_(&c->text, '\n');
        return MTRACE_ERR_ARGUMENT;
    }
    return command->run(c);
}

/* False if a quote stays open. */
static bool mtrace_quotes_close_(mtrace_console_ *c) {
    const char *at = c->at;
    while (mtrace_next_word_(c) && !c->is_open_quoted) {
    }
    c->at = at;
    return !c->is_open_quoted;
}

/* Is it a command, but not on this machine? */
static bool mtrace_needs_system_(const mtrace_typed_ *word) {
    size_t i;
    return !MTRACE_HOSTED_ && mtrace_count_candidates_(word, mtrace_console_names_, &i) == 0 &&
           mtrace_count_candidates_(word, mtrace_all_names_, &i) != 0;
}

static mtrace_result mtrace_console_line_(mtrace_console_ *c) {
    size_t i;
    if (!mtrace_quotes_close_(c)) {
        return mtrace_console_says_(c, MTRACE_ERR_ARGUMENT, "a quote is not closed");
    }
    if (!mtrace_next_word_(c)) {
        return MTRACE_OK;
    }
    if (mtrace_needs_system_(&c->word)) {
        return mtrace_console_says_(c, MTRACE_ERR_ARGUMENT, "that needs an operating system");
    }
    if (!mtrace_console_choose_(c, mtrace_console_names_, &i)) {
        return MTRACE_ERR_ARGUMENT;
    }
    return mtrace_console_run_(c, mtrace_nth_command_(i));
}

mtrace_result mtrace_command(const char *line, mtrace_write_fn write, void *user) {
    mtrace_console_ c;
    char out[MTRACE_TEXT_LINE_];
    mtrace_result result;
    line = line == NULL ? "" : line;
    mtrace_console_begin_(&c, line, strcspn(line, "\n"));
    if (write != NULL) {
        mtrace_text_to_callback_(&c.text, out, write, user);
    } else if (!mtrace_console_to_default_(&c.text, out)) {
        return MTRACE_ERR_NO_WRITER;
    }
    c.text.grouped = true;
    result = mtrace_console_may_run_() ? mtrace_console_line_(&c) : mtrace_console_is_busy_(&c);
    mtrace_text_end_(&c.text);
    return result;
}

/* --- completion --- */

/* The words that may stand where the line ends. c->word becomes the word there, perhaps an empty
   one. NULL: no words of ours. */
static mtrace_words_fn_ mtrace_words_at_end_(mtrace_console_ *c) {
    mtrace_words_fn_ words = mtrace_console_names_, of_command = NULL;
    bool is_first = true;
    size_t i = 0;
    while (mtrace_next_word_(c) && c->at < c->end) {
        bool is_known = words != NULL && mtrace_count_candidates_(&c->word, words, &i) == 1;
        bool is_by =
            is_known && i == 0 && (words == mtrace_top_words_ || words == mtrace_diff_words_);
        if (is_first) {
            of_command = is_known ? mtrace_nth_command_(i)->words : NULL;
        }
        words = is_by ? mtrace_key_words_ : of_command;
        is_first = false;
    }
    return words;
}

/* A word with blanks needs a quote before it. */
static bool mtrace_candidate_fits_(const mtrace_console_ *c, const char *line, const char *word) {
    bool quoted = c->word.text != line && c->word.text[-1] == '"';
    return mtrace_word_begins_(&c->word, word) && (quoted || strchr(word, ' ') == NULL);
}

const char *mtrace_command_complete(const char *line, size_t length, size_t *start, size_t index) {
    mtrace_console_ c;
    mtrace_words_fn_ words;
    const char *word;
    size_t i;
    line = line == NULL ? "" : line;
    mtrace_console_begin_(&c, line, length);
    words = mtrace_words_at_end_(&c);
    *start = (size_t)(c.word.text - line);
    for (i = 0; words != NULL && (word = words(i)) != NULL; i++) {
        if (mtrace_candidate_fits_(&c, line, word) && index-- == 0) {
            return word;
        }
    }
    return NULL;
}

#endif /* COMMAND */

/* ============================================================================================== */
/* [CHAPTER] ENVIRONMENT - start and reports by environment variables                             */
/* ============================================================================================== */

#ifndef MTRACE_EXT_ENVIRONMENT_
#define MTRACE_EXT_ENVIRONMENT_
#undef MTRACE_HAS_
#define MTRACE_HAS_ MTRACE_HAS_ENVIRONMENT_

MTRACE_OFF_BEGIN_

/* Starts tracing and reports as two environment variables say.

     MTRACE=N         1 to 65,535: start and keep N frames. 0, empty or unset: do not start
     MTRACE_REPORT=…  reports at exit, unless stopped. Any of these, separated by commas:
                      top  top=N  peak  peak=N  leaks  dump=FILE  pickle=FILE
                      profile  profile=FILE   also starts the line profile
                      record=FILE   also starts the recorder with its defaults. The name's
                                    ending selects the format: .dat .json .csv .svg

   In FILE, %p is the process number and %% a percent sign. So programs that inherit the environment
   write to separate files. The variables are read once, here. A program with raised privileges
   (set-user-ID, capabilities) ignores them. desc (NULL: all defaults) has the other settings, and
   its frames are not used. A report that fails says so on standard error, and the others still run.
   Errors: NOT_TRACING if MTRACE says not to start; ARGUMENT if a value is wrong (one line on
     standard error says why, and nothing starts); the errors of mtrace_start and
     mtrace_recorder_start; FULL_AT_EXIT.
   Cost: as mtrace_start.
   Context: as mtrace_start.
   Python: PYTHONTRACEMALLOC. */
MTRACE_EXT_API_ mtrace_result mtrace_start_from_environment(const mtrace_desc *desc)
    MTRACE_EXT_OFF_(return MTRACE_ERR_COMPILED_OUT);

MTRACE_OFF_END_

#endif /* MTRACE_EXT_ENVIRONMENT_ */

#if defined(MTRACE_EXT_IMPLEMENTS_) && MTRACE_HAS_ENVIRONMENT_

/* --- values --- */

static bool mtrace_is_absent_(const char *value) {
    return value == NULL;
}

static bool mtrace_is_count_(const char *value) {
    char *end;
    errno = 0;
    return value == NULL || (*value >= '0' && *value <= '9' &&
                             (strtoul(value, &end, 10), *end == '\0') && errno == 0);
}

static size_t mtrace_count_of_(const char *value) {
    return value == NULL ? 10 : (size_t)strtoul(value, NULL, 10);
}

/* Expands %p to the process number and %% to a percent sign. False for any other %, and if the
   result does not fit. */
static bool mtrace_expand_(const char *value, char *path, size_t size) {
    size_t length = 0;
    for (; *value != '\0' && length < size; value++) {
        if (*value != '%') {
            path[length++] = *value;
        } else if (*++value == '%') {
            path[length++] = '%';
        } else if (*value == 'p') {
            length += (size_t)snprintf(path + length, size - length, "%lu", mtrace_process_());
        } else {
            return false;
        }
    }
    path[length < size ? length : 0] = '\0';
    return length > 0 && length < size;
}

enum { MTRACE_PATH_BYTES_ = 4096 };
typedef struct mtrace_path_ {
    char text[MTRACE_PATH_BYTES_];
} mtrace_path_;

static bool mtrace_is_file_(const char *value) {
    mtrace_path_ path;
    return value != NULL && mtrace_expand_(value, path.text, sizeof path.text);
}

static bool mtrace_is_file_or_absent_(const char *value) {
    return value == NULL || mtrace_is_file_(value);
}

/* In the order of mtrace_recorder_format. */
static const char *const mtrace_recorder_endings_[] = {".dat", ".json", ".csv", ".svg"};

/* The format for the ending of a file name. -1: none. */
static int mtrace_recorder_format_of_(const char *path) {
    const char *ending = strrchr(path, '.');
    int i, found = -1;
    for (i = 0; ending != NULL && i < 4; i++) {
        found = strcmp(ending, mtrace_recorder_endings_[i]) == 0 ? i : found;
    }
    return found;
}

static bool mtrace_is_recording_(const char *value) {
    return mtrace_is_file_(value) && mtrace_recorder_format_of_(value) >= 0;
}

/* --- reports --- */

static mtrace_result mtrace_exit_top_(const char *value) {
    return mtrace_print_top(mtrace_count_of_(value));
}

static mtrace_result mtrace_exit_peak_(const char *value) {
    return mtrace_print_peak(mtrace_count_of_(value));
}

static mtrace_result mtrace_exit_leaks_(const char *value) {
    (void)value;
    return mtrace_print_leaks();
}

#if MTRACE_HOSTED_
#define MTRACE_ADD_NAMES_TO_(snapshot) mtrace_snapshot_add_names_(snapshot, NULL)
#else
#define MTRACE_ADD_NAMES_TO_(snapshot) ((void)0) /* it has no code */
#endif
static mtrace_result mtrace_exit_file_(const char *value,
                                       mtrace_result (*dump)(const mtrace_snapshot *snapshot,
                                                             const char *path)) {
    mtrace_path_ path;
    mtrace_snapshot *snapshot;
    mtrace_result result = mtrace_snapshot_take(&snapshot, true, NULL);
    if (result == MTRACE_OK) {
        MTRACE_ADD_NAMES_TO_(&snapshot);
        mtrace_expand_(value, path.text, sizeof path.text);
        result = dump(snapshot, path.text);
        mtrace_snapshot_free(snapshot);
    }
    return result;
}

static mtrace_result mtrace_exit_dump_(const char *value) {
    return mtrace_exit_file_(value, mtrace_snapshot_dump);
}

static mtrace_result mtrace_exit_pickle_(const char *value) {
    return mtrace_exit_file_(value, mtrace_snapshot_dump_pickle);
}

static mtrace_result mtrace_begin_file_(const char *value) {
    (void)value;
    return MTRACE_HAS_FILES_ ? MTRACE_OK : MTRACE_ERR_COMPILED_OUT;
}

static mtrace_result mtrace_begin_profile_(const char *value) {
    (void)value;
    return mtrace_profile_start(NULL);
}

static mtrace_result mtrace_exit_profile_(const char *value) {
    mtrace_profile_report_desc desc = MTRACE_ZERO_;
    mtrace_path_ path;
    if (value != NULL) {
        mtrace_expand_(value, path.text, sizeof path.text);
        desc.path = path.text;
    }
    return mtrace_profile_report(&desc);
}

/* One recording can have many files. */
static mtrace_result mtrace_begin_recording_(const char *value) {
    mtrace_recorder_desc desc = MTRACE_ZERO_;
    (void)value;
    desc.no_thread = !mtrace_ticker_can_();
    return mtrace_recorder_is_on() ? MTRACE_OK : mtrace_recorder_start(&desc);
}

static mtrace_result mtrace_exit_recording_(const char *value) {
    mtrace_path_ path;
    mtrace_recorder_stop();
    mtrace_expand_(value, path.text, sizeof path.text);
    return mtrace_recorder_save((mtrace_recorder_format)mtrace_recorder_format_of_(value),
                                path.text);
}

/* A word of MTRACE_REPORT. */
typedef struct mtrace_exit_report_ {
    const char *name;
    const char *forms;                  /* its spelling */
    bool (*accepts)(const char *value); /* NULL: it has none */
    mtrace_result (*begin)(const char *value);
    mtrace_result (*end)(const char *value);
} mtrace_exit_report_;

static mtrace_result mtrace_begin_nothing_(const char *value) {
    (void)value;
    return MTRACE_OK;
}

static const mtrace_exit_report_ mtrace_exit_reports_[] = {
    {"top", "top, top=N", mtrace_is_count_, mtrace_begin_nothing_, mtrace_exit_top_},
    {"peak", "peak, peak=N", mtrace_is_count_, mtrace_begin_nothing_, mtrace_exit_peak_},
    {"leaks", "leaks", mtrace_is_absent_, mtrace_begin_nothing_, mtrace_exit_leaks_},
    {"dump", "dump=FILE", mtrace_is_file_, mtrace_begin_file_, mtrace_exit_dump_},
    {"pickle", "pickle=FILE", mtrace_is_file_, mtrace_begin_file_, mtrace_exit_pickle_},
    {"profile", "profile, profile=FILE", mtrace_is_file_or_absent_, mtrace_begin_profile_,
     mtrace_exit_profile_},
    {"record", "record=FILE (.dat, .json, .csv or .svg)", mtrace_is_recording_,
     mtrace_begin_recording_, mtrace_exit_recording_},
};
enum { MTRACE_EXIT_REPORTS_ = sizeof mtrace_exit_reports_ / sizeof *mtrace_exit_reports_ };

/* The reports that the environment asked for at the start. A program may change its environment
   later. */
typedef struct mtrace_exit_words_ {
    char *words; /* each with its end */
    char *end;
    mtrace_owner_ owner;
} mtrace_exit_words_;
MTRACE_SHARED_(mtrace_exit_words_ mtrace_exit_list_);

/* The entry of a word, and its value (NULL: none). NULL if there is no such word. */
static const mtrace_exit_report_ *mtrace_exit_find_(const char *word, const char **value) {
    const char *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word), i;
    const mtrace_exit_report_ *found = NULL;
    *value = equals != NULL ? equals + 1 : NULL;
    for (i = 0; i < MTRACE_EXIT_REPORTS_; i++) {
        const char *name = mtrace_exit_reports_[i].name;
        if (strlen(name) == length && memcmp(name, word, length) == 0) {
            found = &mtrace_exit_reports_[i];
        }
    }
    return found;
}

static void mtrace_exit_explain_(const char *word, const mtrace_exit_report_ *report) {
    size_t i;
    fprintf(stderr, "MTRACE_REPORT: %s: ", word);
    if (report != NULL) {
        fprintf(stderr, "write %s", report->forms);
    }
    for (i = 0; i < MTRACE_EXIT_REPORTS_ && report == NULL; i++) {
        fprintf(stderr, "%s%s", i == 0 ? "not one of " : ", ", mtrace_exit_reports_[i].forms);
    }
    fputs(strchr(word, '%') != NULL ? "; in FILE %p is the process, %% a percent sign\n" : "\n",
          stderr);
}

/* --- the words' actions --- */

static mtrace_result mtrace_exit_check_(const char *word) {
    const char *value;
    const mtrace_exit_report_ *report = mtrace_exit_find_(word, &value);
    bool good = report != NULL && report->accepts(value);
    if (!good) {
        mtrace_exit_explain_(word, report);
    }
    return good ? MTRACE_OK : MTRACE_ERR_ARGUMENT;
}

static mtrace_result mtrace_exit_begin_(const char *word) {
    const char *value;
    return mtrace_exit_find_(word, &value)->begin(value);
}

/* The other reports run even if this one fails. */
static mtrace_result mtrace_exit_end_(const char *word) {
    const char *value;
    mtrace_result result = mtrace_exit_find_(word, &value)->end(value);
    if (result != MTRACE_OK) {
        const char *why = result == MTRACE_ERR_IO ? strerror(errno) : NULL;
        fprintf(stderr, "MTRACE_REPORT: %s: %s%s%s\n", word, mtrace_result_text(result),
                why != NULL ? ": " : "", why != NULL ? why : "");
    }
    return MTRACE_OK;
}

/* The first error. */
static mtrace_result mtrace_exit_each_(const char *words, const char *end,
                                       mtrace_result (*visit)(const char *word)) {
    mtrace_result result = MTRACE_OK;
    for (; words < end && result == MTRACE_OK; words += strlen(words) + 1) {
        result = visit(words);
    }
    return result;
}

/* --- the start, and the end --- */

static const char *mtrace_environment_(const char *name) {
    return mtrace_is_privileged_() ? NULL : getenv(name);
}

/* A number of frames as CPython reads it. It is a complete C int and not negative. */
static bool mtrace_frames_from_(const char *text, long *frames) {
    char *end;
    errno = 0;
    *frames = strtol(text, &end, 10);
    return end != text && *end == '\0' && errno == 0 && *frames >= 0 && *frames <= 0x7fffffff;
}

static mtrace_result mtrace_environment_frames_(long *frames) {
    const char *text = mtrace_environment_("MTRACE");
    *frames = 0;
    if (text != NULL && *text != '\0' && !mtrace_frames_from_(text, frames)) {
        fputs("MTRACE: invalid number of frames\n", stderr);
        return MTRACE_ERR_ARGUMENT;
    }
    if (*frames > 65535) {
        fputs("MTRACE: the number of frames must be in range [1; 65535]\n", stderr);
        return MTRACE_ERR_ARGUMENT;
    }
    return MTRACE_OK;
}

/* The words of MTRACE_REPORT, each terminated. The caller frees them. */
static mtrace_result mtrace_environment_words_(char **words, char **end) {
    const char *list = mtrace_environment_("MTRACE_REPORT");
    size_t size = list != NULL ? strlen(list) : 0;
    char *at;
    *words = (char *)MTRACE_BASE_MALLOC(size + 1);
    if (*words == NULL) {
        return MTRACE_ERR_NO_MEMORY;
    }
    memcpy(*words, list != NULL ? list : "", size + 1);
    *end = *words + size;
    for (at = strchr(*words, ','); at != NULL; at = strchr(at + 1, ',')) {
        *at = '\0';
    }
    return mtrace_exit_each_(*words, *end, mtrace_exit_check_);
}

/* Starts the tracer and everything that the words need. Keeps the words for the exit. */
static mtrace_result mtrace_environment_start_(const mtrace_desc *desc, char *words, char *end) {
    mtrace_result result = mtrace_start(desc);
    if (result != MTRACE_OK) {
        return result;
    }
    result = mtrace_exit_each_(words, end, mtrace_exit_begin_);
    if (result == MTRACE_OK && !mtrace_has_exit_()) {
        result = MTRACE_ERR_FULL_AT_EXIT;
    }
    if (result != MTRACE_OK) {
        mtrace_recorder_stop();
        mtrace_profile_stop();
        mtrace_stop();
        return result;
    }
    MTRACE_BASE_FREE(mtrace_exit_list_.words);
    mtrace_exit_list_.words = words;
    mtrace_exit_list_.end = end;
    mtrace_exit_list_.owner = mtrace_owner_here_();
    return MTRACE_OK;
}

mtrace_result mtrace_start_from_environment(const mtrace_desc *desc) {
    mtrace_desc chosen = MTRACE_ZERO_;
    char *words, *end;
    long frames = 0;
    mtrace_result result = mtrace_environment_words_(&words, &end);
    if (result == MTRACE_OK) {
        result = mtrace_environment_frames_(&frames);
    }
    if (result == MTRACE_OK && frames == 0) {
        result = MTRACE_ERR_NOT_TRACING;
    }
    if (desc != NULL) {
        chosen = *desc;
    }
    if (result == MTRACE_OK) {
        chosen.frames = (uint32_t)frames;
        result = mtrace_environment_start_(&chosen, words, end);
    }
    if (result != MTRACE_OK) {
        MTRACE_BASE_FREE(words);
    }
    return result;
}

/* Runs all reports that are due when the program, or the module, ends. */
static void mtrace_environment_at_exit_(void) {
    if (mtrace_exit_list_.words == NULL || !mtrace_is_owner_(&mtrace_exit_list_.owner)) {
        return;
    }
    if (mtrace_get_info().capacity != 0) { /* not stopped */
        mtrace_exit_each_(mtrace_exit_list_.words, mtrace_exit_list_.end, mtrace_exit_end_);
    }
    MTRACE_BASE_FREE(mtrace_exit_list_.words);
    mtrace_exit_list_.words = NULL;
}

#ifdef MTRACE_START_FROM_ENVIRONMENT
static void mtrace_constructor_(void) {
    mtrace_result result = mtrace_start_from_environment(NULL);
    if (result != MTRACE_OK && result != MTRACE_ERR_NOT_TRACING && result != MTRACE_ERR_ALREADY) {
        fprintf(stderr, "MTRACE: %s\n", mtrace_result_text(result));
        exit(1);
    }
}
/* Before the constructors of all other files, whatever the link order. */
#if defined(_MSC_VER)
#pragma section(".CRT$XCT", read)
__declspec(allocate(".CRT$XCT")) void (*mtrace_constructor_at_)(void) = mtrace_constructor_;
#else
__attribute__((constructor(101))) static void mtrace_construct_(void) {
    mtrace_constructor_();
}
#endif
#endif

#elif defined(MTRACE_EXT_IMPLEMENTS_)

#if MTRACE_HAS_PROFILE_
static void mtrace_environment_at_exit_(void) {}
#endif

#endif /* ENVIRONMENT */

/* ============================================================================================== */
/* [CHAPTER] CPP - operator new, allocators and objects of C++                                    */
/* ============================================================================================== */

#if defined(__cplusplus) && defined(__has_include) && !defined(MTRACE_EXT_CPP_)
#if __has_include(<new>) /* not for bare metal */
#define MTRACE_EXT_CPP_
extern "C++" {
#include <exception>
#include <new>

/* C++ allocates where no macro stands: by new, in containers, in its library. There the call site
   is the code address that the call returns to, or with desc.native_frames the call stack. Rows are
   charged to the first function that is not the library's (see mtrace_skip).

       #define MTRACE_OPERATOR_NEW      in one file of the program, before the include
       #include "mtrace_ext.h"

       std::vector<sound, mt::allocator<sound, AUDIO>> sounds;
       mt::memory_resource physics(PHYSICS);
       std::pmr::vector<body> bodies(&physics);
       std::unique_ptr<thing, mt::deleter> one(mt::make<thing>(1, "two"));

   MTRACE_OPERATOR_NEW replaces the 20 operators new and delete of the program and of its shared
   libraries. A DLL needs it once of its own. In C++11 and C++14 it replaces the 10 without
   std::align_val_t. The others then stay the standard library's, and nothing of theirs is traced.

   The blocks come from MTRACE_BASE_MALLOC, over-aligned ones too. Without memory the new-handler is
   called, as the standard has it, until there is some or no handler. Then std::bad_alloc is thrown;
   with -fno-exceptions it is std::terminate(). An allocation of 0 bytes is traced with size 0.

   Without MTRACE the operators stay the standard library's, and the rest is the plain allocator.
   Errors: std::bad_alloc, and what a constructor throws. Then nothing stays allocated.
   Cost: as mtrace_malloc.
   Context: as the function forms. */
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define MTRACE_TRY_         try
#define MTRACE_CATCH_       catch (...)
#define MTRACE_BAD_ALLOC_() throw std::bad_alloc()
#else
#define MTRACE_TRY_         if (true)
#define MTRACE_CATCH_       else
#define MTRACE_BAD_ALLOC_() std::terminate()
#endif
#ifdef __ELF__
#define MTRACE_HIDDEN_ __attribute__((visibility("hidden")))
#else
#define MTRACE_HIDDEN_
#endif
#if defined(MTRACE) && defined(__GNUC__)
#define MTRACE_TYPE_NAME_() __PRETTY_FUNCTION__
#else
#define MTRACE_TYPE_NAME_() ""
#endif
#define MTRACE_REQUEST_(size, alignment, domain, type)                                             \
    { size, alignment, domain, type, MTRACE_RETURN_(), MTRACE_FRAME_() }

namespace mt {
namespace private_ {

/* An allocation to make. */
struct request {
    size_t size;
    size_t alignment;
    uint32_t domain;
    const char *type;
    uintptr_t address; /* of the caller */
    const void *frame;
};

/* Every allocator's blocks have this alignment. */
constexpr size_t plain_alignment = 2 * sizeof(void *);

/* A base allocator that has no aligned blocks gives a larger one. Before the aligned part of it
   stands its address. */
#ifdef MTRACE_BASE_ALIGNED_ALLOC
constexpr bool pads = false;
MTRACE_HOT_ void *base_allocate(size_t size, size_t alignment) {
    size_t multiple = (size + alignment - 1) & ~(alignment - 1); /* as C11 wants it */
    return alignment <= plain_alignment ? MTRACE_BASE_MALLOC(size)
           : multiple < size            ? nullptr
                                        : MTRACE_BASE_ALIGNED_ALLOC(alignment, multiple);
}

MTRACE_HOT_ void *aligned_part(void *block, size_t) {
    return block;
}

MTRACE_HOT_ void *whole_block(void *block, size_t) {
    return block;
}
#else
constexpr bool pads = true;
MTRACE_HOT_ void *base_allocate(size_t size, size_t alignment) {
    size_t more = alignment <= plain_alignment ? 0 : alignment + sizeof(void *);
    return size > SIZE_MAX - more ? nullptr : MTRACE_BASE_MALLOC(size + more);
}

MTRACE_HOT_ void *aligned_part(void *block, size_t alignment) {
    uintptr_t address = reinterpret_cast<uintptr_t>(block) + alignment + sizeof(void *);
    if (block == nullptr || alignment <= plain_alignment) {
        return block;
    }
    void **part = reinterpret_cast<void **>(address & ~(alignment - 1));
    part[-1] = block;
    return part;
}

MTRACE_HOT_ void *whole_block(void *block, size_t alignment) {
    return block == nullptr || alignment <= plain_alignment ? block
                                                            : static_cast<void **>(block)[-1];
}
#endif

/* NULL: no memory. */
MTRACE_HOT_ void *attempt(const request &r) {
    void *block = base_allocate(r.size + (r.size == 0 ? 1 : 0), r.alignment);
    if (MTRACE_UNLIKELY_(mtrace_is_on_(2))) {
        block = mtrace_record_caller_(block, r.size, r.domain, r.type, r.address, r.frame);
    }
    return aligned_part(block, r.alignment);
}

inline MTRACE_COLD_ void *attempt_again(const request &r, bool may_throw) {
    void *block = nullptr;
    while (block == nullptr) {
        std::new_handler handler = std::get_new_handler();
        if (handler == nullptr && may_throw) {
            MTRACE_BAD_ALLOC_();
        }
        if (handler == nullptr) {
            break;
        }
        handler();
        block = attempt(r);
    }
    return block;
}

MTRACE_HOT_ void *allocate(const request &r) {
    void *block = attempt(r);
    return MTRACE_LIKELY_(block != nullptr) ? block : attempt_again(r, true);
}

inline MTRACE_COLD_ void *attempt_again_or_null(const request &r) noexcept {
    MTRACE_TRY_ {
        return attempt_again(r, false);
    }
    MTRACE_CATCH_ {
        return nullptr;
    }
}

MTRACE_HOT_ void *allocate_or_null(const request &r) noexcept {
    void *block = attempt(r);
    return MTRACE_LIKELY_(block != nullptr) ? block : attempt_again_or_null(r);
}

MTRACE_HOT_ void release(void *block, size_t alignment, uintptr_t address) noexcept {
    mtrace_stack stack = {&address, 1};
    mtrace_free_from(whole_block(block, alignment), &stack);
}

/* The name of a type, out of "const char *mt::f() [with mtrace_object_ = int]". */
template <size_t mtrace_size_>
struct name {
    char text[mtrace_size_];
    explicit name(const char (&function)[mtrace_size_]) noexcept : text() {
        const char *begin = strstr(function, "mtrace_object_ = ");
        const char *at = begin = begin == nullptr ? function : begin + sizeof "mtrace_object_ =";
        int depth = 0;
        for (; *at != 0 && (depth > 0 || (*at != ']' && *at != ';')); at++) {
            depth += *at == '<' || *at == '(' || *at == '[' ? 1 : 0;
            depth -= *at == '>' || *at == ')' || *at == ']' ? 1 : 0;
        }
        memcpy(text, begin, static_cast<size_t>(at - begin));
    }
    const char *get() const noexcept {
        return text[0] == 0 ? nullptr : text;
    }
};

template <size_t mtrace_size_>
name<mtrace_size_> name_in(const char (&function)[mtrace_size_]) noexcept {
    return name<mtrace_size_>(function);
}

/* Hidden, because a module with a unique symbol of the GNU kind could never be unloaded. */
template <typename mtrace_object_>
MTRACE_HIDDEN_ const char *name_of() noexcept {
    static const auto own = name_in(MTRACE_TYPE_NAME_());
    return own.get();
}

/* A block that is freed at the end, unless it was taken. */
struct held {
    void *block;
    size_t alignment;
    held(const request &r) : block(allocate(r)), alignment(r.alignment) {}
    ~held() {
        if (block != nullptr) {
            release(block, alignment, MTRACE_RETURN_());
        }
    }
    held(const held &) = delete;
    held &operator=(const held &) = delete;
};

template <typename mtrace_object_, typename... mtrace_arguments_>
MTRACE_HOT_ mtrace_object_ *construct(const request &r, mtrace_arguments_ &&...arguments) {
    static_assert(!pads || !__is_polymorphic(mtrace_object_) ||
                      alignof(mtrace_object_) <= plain_alignment,
                  "mtrace: mt::destroy could not find the block of an over-aligned class with "
                  "virtual functions; MTRACE_BASE_ALIGNED_ALLOC is needed");
    held memory(r);
    mtrace_object_ *object =
        ::new (memory.block) mtrace_object_(static_cast<mtrace_arguments_ &&>(arguments)...);
    memory.block = nullptr;
    return object;
}

/* The address of the whole object. */
template <bool mtrace_is_polymorphic_>
struct whole {
    static const volatile void *of(const volatile void *object) {
        return object;
    }
};

template <>
struct whole<true> {
    template <typename mtrace_object_>
    static const volatile void *of(mtrace_object_ *object) {
        return dynamic_cast<const volatile void *>(object);
    }
};

} // namespace private_

/* Gives an object, constructed from the arguments. Its row has the type's name (MTRACE_BY_TYPE).
   mt::make_in counts it in a domain; UINT32_MAX is the one of the thread's scope. mt::destroy
   destroys it and frees its block, also through a base class with a virtual destructor. NULL is
   allowed. */
template <typename mtrace_object_, typename... mtrace_arguments_>
MTRACE_NOINLINE_ mtrace_object_ *make(mtrace_arguments_ &&...arguments) {
    return private_::construct<mtrace_object_>(MTRACE_REQUEST_(sizeof(mtrace_object_),
                                                               alignof(mtrace_object_), UINT32_MAX,
                                                               private_::name_of<mtrace_object_>()),
                                               static_cast<mtrace_arguments_ &&>(arguments)...);
}

template <typename mtrace_object_, typename... mtrace_arguments_>
MTRACE_NOINLINE_ mtrace_object_ *make_in(uint32_t domain, mtrace_arguments_ &&...arguments) {
    return private_::construct<mtrace_object_>(MTRACE_REQUEST_(sizeof(mtrace_object_),
                                                               alignof(mtrace_object_), domain,
                                                               private_::name_of<mtrace_object_>()),
                                               static_cast<mtrace_arguments_ &&>(arguments)...);
}

template <typename mtrace_object_>
MTRACE_NOINLINE_ void destroy(mtrace_object_ *object) noexcept {
    if (object != nullptr) {
        const volatile void *block = private_::whole<__is_polymorphic(mtrace_object_)>::of(object);
        object->~mtrace_object_();
        private_::release(const_cast<void *>(block), alignof(mtrace_object_), MTRACE_RETURN_());
    }
}

/* For std::unique_ptr. */
struct deleter {
    template <typename mtrace_object_>
    void operator()(mtrace_object_ *object) const noexcept {
        destroy(object);
    }
};

/* For containers, without state. They count in this domain; by default in the one of the thread's
   scope. */
template <typename mtrace_object_, uint32_t mtrace_in_domain_ = UINT32_MAX>
struct allocator {
    typedef mtrace_object_ value_type;
    template <typename mtrace_other_>
    struct rebind {
        typedef allocator<mtrace_other_, mtrace_in_domain_> other;
    };

    allocator() noexcept {}
    template <typename mtrace_other_>
    allocator(const allocator<mtrace_other_, mtrace_in_domain_> &) noexcept {}

    MTRACE_NOINLINE_ mtrace_object_ *allocate(size_t count) {
        if (count > SIZE_MAX / sizeof(mtrace_object_)) {
            MTRACE_BAD_ALLOC_();
        }
        void *block = private_::allocate(MTRACE_REQUEST_(
            count * sizeof(mtrace_object_), alignof(mtrace_object_), mtrace_in_domain_, nullptr));
        MTRACE_HIDE_(block);
        return static_cast<mtrace_object_ *>(block);
    }
    void deallocate(mtrace_object_ *block, size_t) noexcept {
        private_::release(block, alignof(mtrace_object_), MTRACE_RETURN_());
    }
};

template <typename mtrace_a_, typename mtrace_b_, uint32_t mtrace_in_domain_>
bool operator==(const allocator<mtrace_a_, mtrace_in_domain_> &,
                const allocator<mtrace_b_, mtrace_in_domain_> &) noexcept {
    return true;
}

template <typename mtrace_a_, typename mtrace_b_, uint32_t mtrace_in_domain_>
bool operator!=(const allocator<mtrace_a_, mtrace_in_domain_> &,
                const allocator<mtrace_b_, mtrace_in_domain_> &) noexcept {
    return false;
}

} // namespace mt
}
#endif
#endif

/* For std::pmr's containers, which count in its domain. <memory_resource> is large, so it is not
   included here: include it yourself before this header. */
#if defined(MTRACE_EXT_CPP_) && defined(__cpp_lib_memory_resource) && !defined(MTRACE_EXT_PMR_)
#define MTRACE_EXT_PMR_
extern "C++" {
#include <memory_resource>
namespace mt {

class memory_resource : public std::pmr::memory_resource {
  public:
    explicit memory_resource(uint32_t of_domain = UINT32_MAX) noexcept : domain(of_domain) {}

  private:
    uint32_t domain;
    MTRACE_NOINLINE_ void *do_allocate(size_t size, size_t alignment) override {
        void *block = private_::allocate(MTRACE_REQUEST_(size, alignment, domain, nullptr));
        MTRACE_HIDE_(block);
        return block;
    }
    void do_deallocate(void *block, size_t, size_t alignment) override {
        private_::release(block, alignment, MTRACE_RETURN_());
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
        return this == &other;
    }
};

} // namespace mt
}
#endif

#if defined(MTRACE_OPERATOR_NEW) && !defined(MTRACE_EXT_CPP_)
#error                                                                                             \
    "mtrace: MTRACE_OPERATOR_NEW belongs into one file of C++11 or later with the library's <new>"
#elif defined(MTRACE_OPERATOR_NEW) && defined(MTRACE) && !defined(MTRACE_OPERATOR_NEW_DONE_)
#define MTRACE_OPERATOR_NEW_DONE_

/* They are not inlined and do not end in a jump: the frame must be their own. */
#define MTRACE_NEW_BODY_(allocate, alignment)                                                      \
    {                                                                                              \
        void *block =                                                                              \
            mt::private_::allocate(MTRACE_REQUEST_(size, alignment, UINT32_MAX, nullptr));         \
        MTRACE_HIDE_(block);                                                                       \
        return block;                                                                              \
    }
#define MTRACE_DELETE_BODY_(alignment)                                                             \
    { mt::private_::release(block, alignment, MTRACE_RETURN_()); }
#define MTRACE_ALIGNMENT_ static_cast<size_t>(alignment)
/* clang-format off */
#define MTRACE_OPERATORS_(new, delete)                                                             \
    MTRACE_NOINLINE_ void *operator new(size_t size)                                               \
        MTRACE_NEW_BODY_(allocate, 0)                                                              \
    MTRACE_NOINLINE_ void *operator new(size_t size, const std::nothrow_t &) noexcept              \
        MTRACE_NEW_BODY_(allocate_or_null, 0)                                                      \
    MTRACE_NOINLINE_ void operator delete(void *block) noexcept                                    \
        MTRACE_DELETE_BODY_(0)                                                                     \
    MTRACE_NOINLINE_ void operator delete(void *block, size_t) noexcept                            \
        MTRACE_DELETE_BODY_(0)                                                                     \
    MTRACE_NOINLINE_ void operator delete(void *block, const std::nothrow_t &) noexcept            \
        MTRACE_DELETE_BODY_(0)
#define MTRACE_ALIGNED_OPERATORS_(new, delete)                                                     \
    MTRACE_NOINLINE_ void *operator new(size_t size, std::align_val_t alignment)                   \
        MTRACE_NEW_BODY_(allocate, MTRACE_ALIGNMENT_)                                              \
    MTRACE_NOINLINE_ void *operator new(size_t size, std::align_val_t alignment,                   \
                                        const std::nothrow_t &) noexcept                           \
        MTRACE_NEW_BODY_(allocate_or_null, MTRACE_ALIGNMENT_)                                      \
    MTRACE_NOINLINE_ void operator delete(void *block, std::align_val_t alignment) noexcept        \
        MTRACE_DELETE_BODY_(MTRACE_ALIGNMENT_)                                                     \
    MTRACE_NOINLINE_ void operator delete(void *block, size_t,                                     \
                                          std::align_val_t alignment) noexcept                     \
        MTRACE_DELETE_BODY_(MTRACE_ALIGNMENT_)                                                     \
    MTRACE_NOINLINE_ void operator delete(void *block, std::align_val_t alignment,                 \
                                          const std::nothrow_t &) noexcept                         \
        MTRACE_DELETE_BODY_(MTRACE_ALIGNMENT_)
/* clang-format on */

extern "C++" {
MTRACE_OPERATORS_(new, delete)
MTRACE_OPERATORS_(new[], delete[])
#ifdef __cpp_aligned_new
MTRACE_ALIGNED_OPERATORS_(new, delete)
MTRACE_ALIGNED_OPERATORS_(new[], delete[])
#endif
}
#endif /* CPP */

#undef MTRACE_EXT_IMPLEMENTS_

#ifdef __cplusplus
} /* extern "C" */
#endif

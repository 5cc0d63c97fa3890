/* handler LIBRARY: a signal handler is a thread's first to call into a library that has the
   implementation. Nothing may be allocated then: the handler may have interrupted malloc. The
   library is this file with -DLIBRARY. */

#ifdef LIBRARY

#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

void begin(void);
void note(unsigned long key, size_t size);

void begin(void) {
    mtrace_start(NULL);
}

void note(unsigned long key, size_t size) {
    MT_TRACK(1, key, size);
}

#else

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);

static volatile sig_atomic_t in_handler, allocations;
static void (*note)(unsigned long key, size_t size);

void *malloc(size_t size) {
    allocations += in_handler;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations += in_handler;
    return __libc_calloc(count, size);
}

static void handler(int number) {
    in_handler = 1;
    note((unsigned long)number, 10);
    in_handler = 0;
}

static void *work(void *unused) {
    raise(SIGUSR1);
    return unused;
}

int main(int argc, char **argv) {
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    pthread_t thread;
    if (library == NULL) {
        puts(dlerror());
        return 1;
    }
    note = (void (*)(unsigned long, size_t))dlsym(library, "note");
    ((void (*)(void))dlsym(library, "begin"))();
    note(1, 2);
    signal(SIGUSR1, handler);
    pthread_create(&thread, NULL, work, NULL);
    pthread_join(thread, NULL);
    if (allocations != 0) {
        printf("%d allocations in the handler\n", (int)allocations);
        return 1;
    }
    puts("fine");
    return 0;
}

#endif

/* Programs for tests/mtracer.sh: the first argument says which. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))
extern char **environ;
static void *kept[200];
static char **arguments;

/* 100 blocks of 1,000 bytes from one line. */
static NOINLINE void keep(void) {
    int i;
    for (i = 0; i < 100; i++) {
        kept[i] = malloc(1000);
    }
}

static NOINLINE void drop(void) {
    int i;
    for (i = 0; i < 100; i++) {
        free(kept[i]);
    }
}

static void allocate_all(void) {
    void *blocks[16];
    int i, n = 0;
    blocks[n++] = malloc(1);
    blocks[n++] = calloc(2, 3);
    blocks[n++] = realloc(NULL, 10);
    blocks[1] = realloc(blocks[1], 100000);
    blocks[n++] = memalign(64, 65);
    blocks[n++] = aligned_alloc(128, 256);
    blocks[n++] = valloc(77);
    blocks[n++] = pvalloc(78);
    blocks[n++] = reallocarray(NULL, 5, 6);
    blocks[n++] = strdup("twelve bytes");
    blocks[n] = NULL;
    n += posix_memalign(&blocks[n], 32, 33) == 0;
    free(realloc(malloc(5), 50));
    if (realloc(malloc(6), 0) != NULL || malloc((size_t)1 << 60) != NULL ||
        calloc((size_t)1 << 40, (size_t)1 << 40) != NULL ||
        reallocarray(NULL, (size_t)1 << 40, (size_t)1 << 40) != NULL || errno != ENOMEM ||
        posix_memalign(&blocks[15], 3, 1) != EINVAL) {
        abort();
    }
    for (i = 0; i < n; i += 2) {
        free(blocks[i]);
    }
    printf("all %d\n", n);
}

static void child_forks(long (*make)(void)) {
    pid_t child;
    int i;
    keep();
    child = (pid_t)make();
    if (child == 0) {
        drop();
        for (i = 0; i < 200; i++) {
            kept[i] = malloc(5000);
        }
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static long by_fork(void) {
    return fork();
}

static long by_system_call(void) {
    return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); /* as fork, past the C library */
}

static pthread_barrier_t barrier;
static void *thread(void *unused) {
    int i;
    pthread_barrier_wait(&barrier);
    for (i = 0; i < 5000; i++) {
        free(realloc(malloc((size_t)i % 100 + 1), (size_t)i % 300 + 1));
    }
    return unused;
}

static void threads(void) {
    pthread_t all[8];
    int i;
    pthread_barrier_init(&barrier, NULL, 8);
    for (i = 0; i < 8; i++) {
        pthread_create(&all[i], NULL, thread, NULL);
    }
    for (i = 0; i < 8; i++) {
        pthread_join(all[i], NULL);
    }
}

static void close_all(void) {
    int i;
    for (i = 0; i < 4096; i++) {
        close(i);
    }
    keep();
}

/* The first process ends. The daemon is a child of fork. */
static void become_daemon(void) {
    keep();
    if (daemon(0, 0) == 0) {
        close_all();
    }
}

static void out_of_memory(void) {
    struct rlimit limit = {(rlim_t)4 << 30, (rlim_t)4 << 30};
    int i;
    keep();
    setrlimit(RLIMIT_AS, &limit);
    for (i = 0; malloc((size_t)64 << 20) != NULL; i++) {
    }
    printf("full %d\n", i > 0 && errno == ENOMEM);
}

static volatile sig_atomic_t signals;
static void handler(int number) {
    void *block = malloc(123);
    (void)number;
    signals += block != NULL;
    free(block);
}

/* A handler on a small stack of its own, that interrupts the unwinder and the tracer. */
static void handlers(void) {
    static char stack[16384];
    stack_t alternative;
    struct itimerval every = {{0, 200}, {0, 200}};
    struct sigaction action;
    int i;
    memset(&alternative, 0, sizeof alternative);
    memset(&action, 0, sizeof action);
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    action.sa_handler = handler;
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    sigaltstack(&alternative, NULL);
    sigaction(SIGPROF, &action, NULL);
    for (i = 0; i < 50; i++) { /* the C library's malloc cannot be interrupted, so raise() */
        raise(SIGPROF);
    }
    every.it_value.tv_usec = 0;
    setitimer(ITIMER_PROF, &every, NULL);
    printf("signals %d\n", (int)signals);
}

/* Allocates at 1,024 places. */
static NOINLINE void *deep(int depth, int path) {
    void *block;
    if (depth == 0) {
        return malloc((size_t)path % 100);
    }
    block = path % 2 == 0 ? deep(depth - 1, path / 2) : NULL;
    if (block == NULL) {
        block = deep(depth - 1, path / 2);
    }
    __asm__ volatile("" : "+r"(block));
    return block;
}

/* A handler forks wherever it interrupts an allocation. Each child goes on there, and so does the
   parent. The blocks are of one line. */
enum { FORKS = 60 };
static volatile sig_atomic_t forks, is_child;
static void fork_handler(int number) {
    (void)number;
    if (forks < FORKS && !is_child) {
        is_child = fork() == 0;
        forks++;
    }
}

static void forks_in_handlers(void) {
    struct itimerval every = {{0, 1000}, {0, 1000}};
    struct sigaction action;
    int calls, status, good = 0;
    memset(&action, 0, sizeof action);
    action.sa_handler = fork_handler;
    action.sa_flags = SA_RESTART;
    sigaction(SIGPROF, &action, NULL);
    setitimer(ITIMER_PROF, &every, NULL);
    for (calls = 0; forks < FORKS && !is_child; calls++) {
        free(deep(10, calls % 1000));
    }
    if (is_child) { /* it has no timer */
        keep();
        drop();
        _exit(5);
    }
    every.it_value.tv_usec = 0;
    setitimer(ITIMER_PROF, &every, NULL);
    while (wait(&status) > 0) {
        good += WIFEXITED(status) && WEXITSTATUS(status) == 5;
    }
    printf("children %d calls %d\n", good, calls);
}

static ucontext_t main_context, coroutine;
static void coroutine_run(void) {
    int i;
    for (i = 0; i < 3; i++) {
        free(malloc(11));
        kept[i] = malloc(12);
        swapcontext(&coroutine, &main_context);
    }
}

static NOINLINE void jump(jmp_buf *target, int depth) {
    kept[100 + depth] = malloc(10);
    if (depth == 50) {
        longjmp(*target, 1);
    }
    jump(target, depth + 1);
    kept[0] = NULL; /* no jump at the end */
}

/* Coroutines on stacks that come and go, and a longjmp over 50 frames. */
static void contexts(void) {
    jmp_buf target;
    int round, i;
    for (round = 0; round < 20; round++) {
        size_t size = (size_t)65536 << round % 3;
        void *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&coroutine);
        coroutine.uc_stack.ss_sp = stack;
        coroutine.uc_stack.ss_size = size;
        coroutine.uc_link = &main_context;
        makecontext(&coroutine, coroutine_run, 0);
        for (i = 0; i < 3; i++) {
            swapcontext(&main_context, &coroutine);
        }
        munmap(stack, size);
        if (setjmp(target) == 0) {
            jump(&target, 0);
        }
    }
}

/* Two libraries in turn, often at one address. Each allocates once with each size. */
static void libraries(void) {
    int i;
    for (i = 0; i < 40; i++) {
        void *library = dlopen(arguments[2 + i % 2], RTLD_NOW);
        void *(*allocate)(void);
        void *found = library == NULL ? NULL : dlsym(library, "allocate");
        if (found == NULL) {
            abort();
        }
        memcpy(&allocate, &found, sizeof found);
        kept[i] = allocate();
        dlclose(library);
    }
}

static void spawns(void) {
    char *words[] = {"/bin/sh", "-c", "exit 4", NULL};
    pid_t child;
    int status = 0;
    FILE *pipe;
    char line[16] = "";
    keep();
    if (posix_spawn(&child, words[0], NULL, NULL, words, environ) == 0) {
        waitpid(child, &status, 0);
    }
    printf("spawn %d system %d", WEXITSTATUS(status), WEXITSTATUS(system("exit 5")));
    child = vfork();
    if (child == 0) {
        execv(words[0], words);
        _exit(1);
    }
    waitpid(child, &status, 0);
    pipe = popen("echo six", "r");
    printf(" vfork %d popen %s", WEXITSTATUS(status),
           pipe != NULL && fgets(line, sizeof line, pipe) != NULL ? line : "no\n");
    pclose(pipe);
}

/* Becomes the program arguments[3] with the libraries arguments[2] behind the others. */
static void become_beneath(void) {
    const char *others = getenv("LD_PRELOAD");
    char list[4096];
    snprintf(list, sizeof list, "%s:%s", others == NULL ? "" : others, arguments[2]);
    setenv("LD_PRELOAD", list, 1);
    execv(arguments[3], arguments + 3);
    abort();
}

/* Starts itself with each further word, one after the other. The status is the last one's. */
static int starts(void) {
    int i, status = 0;
    for (i = 2; arguments[i] != NULL; i++) {
        char *words[] = {arguments[0], arguments[i], NULL};
        pid_t child;
        if (posix_spawn(&child, words[0], NULL, NULL, words, environ) == 0) {
            waitpid(child, &status, 0);
        }
    }
    return WEXITSTATUS(status);
}

/* Writes over the memory that it shares with mtracer: arguments[2] is the seed. With a file in
   arguments[3] it goes on until that is there. */
static uint64_t random_state;
static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

#ifdef __x86_64__
#define REGION 0x300000000000u /* see tools/region.h */
#else
#define REGION 0x1400000000u
#endif
enum { PAGES = 500000, PAGE = 4096 };
static void hostile(void) {
    static unsigned char resident[PAGES];
    static unsigned pages[PAGES];
    unsigned char *region = (unsigned char *)REGION;
    size_t i, count = 0, size, writes;
    random_state = strtoull(arguments[2], NULL, 10) * 2654435761u + 1;
    for (i = 0; i < 20; i++) {
        random_next();
    }
    keep();
    size = (size_t)((const uint64_t *)(void *)region)[5] / PAGE; /* region_head.stride */
    if (size > PAGES || mincore(region, size * PAGE, resident) != 0) {
        abort();
    }
    for (i = 0; i < size; i++) {
        if ((resident[i] & 1) != 0) {
            pages[count++] = (unsigned)i;
        }
    }
    writes = (size_t)1 << random_next() % 14;
    if (arguments[3] != NULL) {
        printf("ready\n");
        fflush(stdout);
    }
    for (i = 0; i < writes || (arguments[3] != NULL && access(arguments[3], F_OK) != 0); i++) {
        size_t page = random_next() % 4 == 0 ? random_next() % 30 : pages[random_next() % count];
        uint64_t value = random_next() >> random_next() % 64;
        size_t at =
            random_next() % 2 == 0 ? random_next() % (PAGE - 8) : random_next() % (PAGE / 8) * 8;
        memcpy(region + page * PAGE + at, &value, 1 + random_next() % 8);
    }
    _exit(0);
}

/* Allocates in two threads until a file is there, at ever new places. */
static volatile int stops;
static void *churn(void *unused) {
    int i;
    for (i = 0; !stops; i++) {
        free(deep(10, i));
    }
    return unused;
}

static void churns(void) {
    pthread_t all[2];
    int i;
    for (i = 0; i < 2; i++) {
        pthread_create(&all[i], NULL, churn, NULL);
    }
    printf("ready\n");
    fflush(stdout);
    while (access(arguments[2], F_OK) != 0) {
        usleep(20000);
    }
    stops = 1;
    for (i = 0; i < 2; i++) {
        pthread_join(all[i], NULL);
    }
}

static void wait_for_file(void) {
    keep();
    kept[100] = malloc(7777);
    printf("ready\n");
    fflush(stdout);
    while (access(arguments[2], F_OK) != 0) {
        usleep(20000);
        free(malloc(500));
    }
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    arguments = argv;
    if (strcmp(name, "all") == 0) {
        allocate_all();
    } else if (strcmp(name, "crash") == 0) {
        keep();
        *(volatile int *)8 = 1;
    } else if (strcmp(name, "kill") == 0) {
        keep();
        raise(SIGKILL);
    } else if (strcmp(name, "exit") == 0) {
        keep();
        _exit(3);
    } else if (strcmp(name, "abort") == 0) {
        keep();
        abort();
    } else if (strcmp(name, "exec") == 0) {
        keep();
        execl(argv[0], argv[0], "exit", (char *)NULL);
    } else if (strcmp(name, "fork") == 0) {
        child_forks(by_fork);
    } else if (strcmp(name, "clone") == 0) {
        child_forks(by_system_call);
    } else if (strcmp(name, "threads") == 0) {
        threads();
    } else if (strcmp(name, "closed") == 0) {
        close_all();
    } else if (strcmp(name, "daemon") == 0) {
        become_daemon();
    } else if (strcmp(name, "full") == 0) {
        out_of_memory();
    } else if (strcmp(name, "handlers") == 0) {
        handlers();
    } else if (strcmp(name, "forks") == 0) {
        forks_in_handlers();
    } else if (strcmp(name, "contexts") == 0) {
        contexts();
    } else if (strcmp(name, "libraries") == 0) {
        libraries();
    } else if (strcmp(name, "spawns") == 0) {
        spawns();
    } else if (strcmp(name, "beneath") == 0) {
        become_beneath();
    } else if (strcmp(name, "starts") == 0) {
        return starts();
    } else if (strcmp(name, "hostile") == 0) {
        hostile();
    } else if (strcmp(name, "churn") == 0) {
        churns();
    } else if (strcmp(name, "undumpable") == 0) {
        prctl(PR_SET_DUMPABLE, 0);
        wait_for_file();
    } else if (strcmp(name, "wait") == 0) {
        wait_for_file();
    } else {
        printf("nothing\n");
    }
    return 0;
}

/* Compares trace tables under threads. The tables are small and differ only in the synchronization:
   locks, compare-and-swap, or one table per thread. The library itself is measured too.

     designs                            the names of the designs
     designs NUMBER WORKLOAD [COUNT]    measures one: nanoseconds per operation of each thread. Less
                                        than zero: the share of the blocks that found no slot

   bench/designs compares them. The tables have the hash, slots and counters of mtrace.h. They have
   no peak, no lookup of call sites and no scopes. A slot is free if its key is 0. A trace lies in
   the region of 64 slots of its home slot, or nowhere. Threads are always created, because glibc
   and mtrace.h have shortcuts for a process with one thread. Each run ends with a check that the
   table is empty and all counters agree. For x86-64 and glibc. */

#define _POSIX_C_SOURCE 200112L
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REGION = 64, STRIPES = 64, CAPACITY = 1 << 20, SITES = 4, SITE = 2, BUSY = 1 };
enum { NINE = 9 }; /* for 16 threads: the own table, then on average the 8th of the others */

/* The threads that may write a slot at the same time. */
enum {
    LOCKED, /* none: a lock is held */
    SHARED, /* any thread: compare-and-swap to insert and to remove */
    ALONE,  /* no other thread, but a handler of this one: the same without the lock prefix */
    OWNED   /* others remove, only this thread inserts: plain stores */
};

typedef struct table {
    mtrace_slot_ *slots;
    uint32_t mask, shift;
    uintptr_t page_factor;
    char apart[128];
} table;

typedef struct design {
    const char *name;
    void *(*allocate)(size_t);
    void (*release)(void *);
    int tables; /* the last is the second thread's, those between of idle threads */
    uint32_t capacity;
} design;

static table tables[NINE];
static const design *tested;
static mtrace_shard_ shards[2] __attribute__((aligned(128)));
static mtrace_counters_ cells[2][SITES] __attribute__((aligned(128)));
static struct {
    char taken;
    pthread_mutex_t mutex; /* zero: glibc's PTHREAD_MUTEX_INITIALIZER */
    char apart[80];        /* two cache lines: processors fetch them in pairs */
} locks[STRIPES] __attribute__((aligned(128)));
static __thread table *own;
static __thread mtrace_shard_ *mine;

static inline bool cas_alone(uintptr_t *p, uintptr_t expected, uintptr_t desired) {
    bool done;
    __asm__ __volatile__("cmpxchgq %3, %1"
                         : "=@ccz"(done), "+m"(*p), "+a"(expected)
                         : "r"(desired)
                         : "memory");
    return done;
}

static inline uint32_t home_of(const table *t, uintptr_t key) { /* mtrace_heap_home_ */
    uintptr_t page = (key >> MTRACE_PAGE_BITS) * t->page_factor >> t->shift;
    return ((uint32_t)page + (uint32_t)(key >> MTRACE_KEY_SHIFT)) & t->mask;
}

static inline bool change(int how, uintptr_t *key, uintptr_t from, uintptr_t to) {
    return how == SHARED  ? MTRACE_CAS_(key, &from, to)
           : how == ALONE ? cas_alone(key, from, to)
                          : (MTRACE_SET_RELEASE_(key, to), true);
}

/* A trace enters or leaves the i-th slot from its home slot. */
static inline void displaced_add(int how, mtrace_slot_ *home, uint32_t i, int n) {
    if (i != 0) {
        how == LOCKED ? (void)(home->overflow = (uint8_t)(home->overflow + n))
                      : MTRACE_ADD_(&home->overflow, (uint8_t)n);
    }
}

static inline bool put_in(int how, table *t, uint32_t home, uintptr_t key, uint32_t size) {
    bool claims = how == SHARED || how == ALONE; /* otherwise no thread can insert in between */
    uint32_t i;
    for (i = 0; i < REGION; i++) {
        mtrace_slot_ *s = &t->slots[home ^ i];
        if (MTRACE_GET_ACQUIRE_(&s->key) == 0 && (!claims || change(how, &s->key, 0, BUSY))) {
            displaced_add(how, &t->slots[home], i, 1);
            MTRACE_SET_(&s->size_low, size);
            MTRACE_SET_(&s->account, SITE);
            MTRACE_SET_RELEASE_(&s->key, key);
            return true;
        }
    }
    return false;
}

/* The slot is read before it is released. The values are valid if the key is still there. */
static inline bool take_out(int how, table *t, uint32_t home, uintptr_t key, mtrace_slot_ *out) {
    mtrace_slot_ *first = &t->slots[home];
    uint32_t i;
    for (i = 0; i < REGION && (i == 0 || MTRACE_GET_ACQUIRE_(&first->overflow) != 0); i++) {
        mtrace_slot_ *s = &t->slots[home ^ i];
        if (MTRACE_GET_ACQUIRE_(&s->key) == key) {
            out->size_low = MTRACE_GET_(&s->size_low);
            out->account = MTRACE_GET_(&s->account);
            if (!change(how, &s->key, key, 0)) {
                return false; /* another thread frees the same block */
            }
            displaced_add(how, first, i, -1);
            return true;
        }
    }
    return false;
}

static inline void count(bool in, bool done, uint32_t account, size_t size) {
    if (!done) {
        mine->events[in ? MTRACE_DROPS_ : MTRACE_FOREIGN_]++;
    } else if (in) {
        mtrace_count_own_alloc_(mine, &mine->counters[account], size);
    } else {
        mtrace_count_own_free_(mine, &mine->counters[account], size);
    }
}

static inline void lock_stripe(uint32_t i) {
    int spins = 0;
    while (__atomic_exchange_n(&locks[i].taken, 1, __ATOMIC_ACQUIRE)) {
        while (MTRACE_GET_(&locks[i].taken)) {
            __asm__ __volatile__("pause");
            if (++spins % 1024 == 0) {
                sched_yield(); /* its holder may not be running */
            }
        }
    }
}

#define unlock_stripe(i) MTRACE_SET_RELEASE_(&locks[i].taken, 0)

/* Removes from the own table, or else from the other tables in turn. */
static inline bool take_out_of_any(uint32_t home, uintptr_t key, mtrace_slot_ *old) {
    bool found = take_out(OWNED, own, home, key, old);
    int i, n = tested->tables;
    for (i = 0; i < n && !found; i++) {
        table *t = &tables[i];
        found = t != own && take_out(SHARED, t, home_of(t, key), key, old);
    }
    return found;
}

/* NAME_malloc and NAME_free. The trace is removed before the block is freed. Otherwise another
   thread could get the address first. */
#define DESIGN(name, home_is, before, put, take, after)                                            \
    static __attribute__((noinline)) void *name##_malloc(size_t size) {                            \
        void *block = malloc(size);                                                                \
        uintptr_t key = (uintptr_t)block;                                                          \
        uint32_t home = home_is;                                                                   \
        bool kept = (before, put);                                                                 \
        after;                                                                                     \
        count(true, kept, SITE, size);                                                             \
        return block;                                                                              \
    }                                                                                              \
    static __attribute__((noinline)) void name##_free(void *block) {                               \
        uintptr_t key = (uintptr_t)block;                                                          \
        uint32_t home = home_is;                                                                   \
        mtrace_slot_ old = {0, 0, 0, 0, 0};                                                        \
        bool found = (before, take);                                                               \
        after;                                                                                     \
        count(false, found, old.account, old.size_low);                                            \
        free(block);                                                                               \
    }
#define NOTHING    ((void)0)
#define LOCAL      home_of(&tables[0], key)
#define SCATTERED  ((uint32_t)((key * MTRACE_GOLDEN_) >> tables[0].shift))
#define STRIPE     (home / REGION % STRIPES)
#define PUT(how)   put_in(how, &tables[0], home, key, (uint32_t)size)
#define TAKE(how)  take_out(how, &tables[0], home, key, &old)
#define PUT_OWN(h) put_in(h, own, home, key, (uint32_t)size)
DESIGN(striped, LOCAL, lock_stripe(STRIPE), PUT(LOCKED), TAKE(LOCKED), unlock_stripe(STRIPE))
DESIGN(spin, LOCAL, lock_stripe(0), PUT(LOCKED), TAKE(LOCKED), unlock_stripe(0))
DESIGN(mutex, LOCAL, pthread_mutex_lock(&locks[0].mutex), PUT(LOCKED), TAKE(LOCKED),
       pthread_mutex_unlock(&locks[0].mutex))
DESIGN(cas, LOCAL, NOTHING, PUT(SHARED), TAKE(SHARED), NOTHING)
DESIGN(alone, LOCAL, NOTHING, PUT(ALONE), TAKE(ALONE), NOTHING)
DESIGN(scattered, SCATTERED, NOTHING, PUT(SHARED), TAKE(SHARED), NOTHING)
DESIGN(owned, home_of(own, key), NOTHING, PUT_OWN(OWNED), take_out_of_any(home, key, &old), NOTHING)
DESIGN(safe, home_of(own, key), NOTHING, PUT_OWN(ALONE), take_out_of_any(home, key, &old), NOTHING)

static __attribute__((noinline)) void *library_malloc(size_t size) {
    return MT_MALLOC(size);
}

static __attribute__((noinline)) void library_free(void *block) {
    MT_FREE(block);
}

static const design designs[] = {
    {"plain", malloc, free, 0, 0},
    {"64 striped spin locks", striped_malloc, striped_free, 1, CAPACITY},
    {"one spin lock", spin_malloc, spin_free, 1, CAPACITY},
    {"one mutex", mutex_malloc, mutex_free, 1, CAPACITY},
    {"compare-and-swap slots", cas_malloc, cas_free, 1, CAPACITY},
    {"- without lock prefix (right for one thread)", alone_malloc, alone_free, 1, CAPACITY},
    {"- addresses scattered", scattered_malloc, scattered_free, 1, CAPACITY},
    {"a table a thread, plain stores", owned_malloc, owned_free, 2, CAPACITY},
    {"- claimed by cmpxchg without lock prefix", safe_malloc, safe_free, 2, CAPACITY},
    {"- 16 threads, 1/16 of the capacity each", owned_malloc, owned_free, NINE, CAPACITY / 16},
    {"mtrace.h", library_malloc, library_free, 0, 0}};
enum { DESIGNS = sizeof designs / sizeof designs[0], LIBRARY = DESIGNS - 1 };

/* -------------------------------------------------------------------------------- the workloads */

enum { CHURN_1, CHURN_2, HANDOVER, ORDERED, FULL };
static const char *const workload_names[] = {"churn1k", "threads2", "handover", "ordered"};
enum { LIVE = 1000, RING = 1024, IN_ORDER = CAPACITY / 4, MANY = CAPACITY / 4 * 3 };

static size_t operations, allocated[2];
static int workload;
static void *blocks[MANY], *ring[RING];
static pthread_barrier_t barrier;
static double ns[2];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void expect(bool holds, const char *fact) {
    if (!holds) {
        fprintf(stderr, "designs: %s: does not hold: %s\n", tested->name, fact);
        exit(1);
    }
}

/* All in order, then all freed in order. */
static size_t in_order(size_t count, size_t least, size_t range) {
    size_t i;
    for (i = 0; i < count; i++) {
        blocks[i] = tested->allocate(least + i * 40503 % range);
    }
    for (i = 0; i < count; i++) {
        tested->release(blocks[i]);
    }
    return count;
}

static inline uint32_t next_random(uint32_t *random) {
    return *random = *random * 1664525u + 1013904223u;
}

static void *get(uint32_t *random) {
    return tested->allocate(16 + (next_random(random) >> 16) % 497);
}

/* A random one of 1,000 blocks is replaced by one of 16 to 512 bytes. */
static size_t churn(void) {
    void *held[LIVE]; /* on the stack: no cache line shared with the other thread's */
    uint32_t random = 1;
    size_t i;
    for (i = 0; i < LIVE; i++) {
        held[i] = get(&random);
    }
    for (i = 0; i < operations; i++) {
        size_t at = (size_t)(((uint64_t)next_random(&random) * LIVE) >> 32);
        tested->release(held[at]);
        held[at] = get(&random);
    }
    for (i = 0; i < LIVE; i++) {
        tested->release(held[i]);
    }
    return LIVE + operations;
}

/* The second thread allocates, the first one frees. */
static size_t handover(bool frees) {
    uint32_t random = 1;
    size_t i;
    for (i = 0; i < operations; i++) {
        void **place = &ring[i % RING], *block = frees ? NULL : get(&random), *there;
        while (((there = MTRACE_GET_ACQUIRE_(place)) != NULL) != frees) {
            sched_yield();
        }
        MTRACE_SET_RELEASE_(place, block);
        frees ? tested->release(there) : (void)0;
    }
    return frees ? 0 : operations;
}

static size_t work(int i) {
    return workload == HANDOVER  ? handover(i == 0)
           : workload == ORDERED ? in_order(IN_ORDER, 64, 1)
           : workload == FULL    ? in_order(MANY, 16, 128)
                                 : churn();
}

/* The second time, the heap and all its pages are there. */
static void *thread(void *number) {
    int i = *(int *)number, times;
    own = &tables[i == 0 || tested->tables == 0 ? 0 : tested->tables - 1];
    mine = &shards[i];
    mine->counters = cells[i];
    for (times = 0; times < 2; times++) {
        pthread_barrier_wait(&barrier);
        ns[i] = -now();
        allocated[i] += work(i);
        ns[i] += now();
    }
    return NULL;
}

static void make_tables(void) {
    int i;
    for (i = 0; i < tested->tables; i++) {
        table *t = &tables[i];
        size_t size = tested->capacity * sizeof(mtrace_slot_);
        t->slots = (mtrace_slot_ *)mtrace_system_alloc_(size);
        memset(t->slots, 0, size); /* idle tables have pages of their own too */
        t->mask = tested->capacity - 1;
        t->shift = (uint32_t)(sizeof(uintptr_t) * 8) - mtrace_bits_(t->mask);
        t->page_factor = MTRACE_GOLDEN_ - ((uintptr_t)MTRACE_PAGE_SLOTS_ << t->shift);
    }
}

/* Checks that the tables are empty and the counters agree. Returns the share of blocks that found
   no slot. */
static double check(void) {
    const mtrace_shard_ *a = &shards[0], *b = &shards[1];
    const mtrace_counters_ *c = &cells[0][SITE], *d = &cells[1][SITE];
    uint64_t dropped = a->events[MTRACE_DROPS_] + b->events[MTRACE_DROPS_];
    uint64_t foreign = a->events[MTRACE_FOREIGN_] + b->events[MTRACE_FOREIGN_];
    uint64_t kept = c->total_count + d->total_count, all = allocated[0] + allocated[1];
    mtrace_info info = mtrace_get_info();
    uint32_t at;
    int i;
    for (i = 0; i < tested->tables; i++) {
        for (at = 0; at < tested->capacity; at++) {
            const mtrace_slot_ *s = &tables[i].slots[at];
            expect(s->key == 0 && s->overflow == 0, "the table is empty");
        }
    }
    expect(a->held + b->held == 0 &&
               c->total_bytes + d->total_bytes == c->freed_bytes + d->freed_bytes &&
               kept == c->freed_count + d->freed_count && dropped == foreign &&
               (tested->tables == 0 || kept + dropped == all) && mtrace_check() == NULL &&
               info.live == 0 && info.dropped_count == info.foreign_frees,
           "the counters agree");
    return (double)(dropped + info.dropped_count) / (double)all;
}

/* Nanoseconds per operation. If blocks were dropped, minus their share. */
static double measure(void) {
    int threads = workload == CHURN_2 || workload == HANDOVER ? 2 : 1, number[2] = {0, 1}, i;
    mtrace_desc desc = {.max_blocks = CAPACITY / 2};
    pthread_t id[2];
    double share;
    mallopt(M_TRIM_THRESHOLD, INT_MAX); /* else glibc returns a large free heap, and faults it in */
    mallopt(M_MMAP_THRESHOLD, INT_MAX);
    make_tables();
    expect(tested != &designs[LIBRARY] || mtrace_start(&desc) == MTRACE_OK, "mtrace.h starts");
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (i = 0; i < threads; i++) {
        expect(pthread_create(&id[i], NULL, thread, &number[i]) == 0, "a thread begins");
    }
    for (i = 0; i < threads; i++) {
        pthread_join(id[i], NULL);
    }
    share = check();
    return share > 0             ? -share
           : workload >= ORDERED ? ns[0] / (double)allocated[0] * 2
                                 : (ns[0] + ns[1]) / threads / (double)operations;
}

int main(int argc, char **argv) {
    int d;
    for (d = 0; argc < 3 && d < DESIGNS; d++) {
        puts(designs[d].name);
    }
    if (argc >= 3) {
        tested = &designs[atoi(argv[1]) % DESIGNS];
        while (workload < FULL && strcmp(argv[2], workload_names[workload]) != 0) {
            workload++;
        }
        operations = argc > 3 ? (size_t)strtoul(argv[3], NULL, 10) : 2000000;
        printf("%.2f\n", measure());
    }
    return 0;
}

/* The workloads, once for each allocator. The including file defines WORK(name), ALLOC(size),
   RESIZE(block, size), RELEASE(block) and SCOPE(). There is no include guard, so that it can be
   included again. Nothing is inlined into its caller, so that profilers have a name to show. */

/* A block of one size, allocated and freed at once. */
static NOINLINE void WORK(pair)(size_t operations) {
    size_t i;
    for (i = 0; i < operations; i++) {
        void *block = ALLOC(64);
        touch(block);
        RELEASE(block);
    }
}

static NOINLINE void WORK(fill)(void **own, size_t live) {
    uint32_t random = 7;
    size_t i;
    for (i = 0; i < live; i++) {
        random = random * 1664525u + 1013904223u;
        own[i] = ALLOC(16 + (random >> 16) % 497);
        touch(own[i]);
    }
}

static NOINLINE void WORK(drain)(void **own, size_t live) {
    size_t i;
    for (i = 0; i < live; i++) {
        RELEASE(own[i]);
    }
}

/* A random one of `live` blocks is replaced by one of 16 to 512 bytes. */
static NOINLINE void WORK(churn)(size_t operations, void **own, size_t live) {
    uint32_t random = 1;
    size_t i;
    for (i = 0; i < operations; i++) {
        size_t at;
        random = random * 1664525u + 1013904223u;
        at = (size_t)(((uint64_t)random * live) >> 32);
        RELEASE(own[at]);
        random = random * 1664525u + 1013904223u;
        own[at] = ALLOC(16 + (random >> 16) % 497);
        touch(own[at]);
    }
}

/* Blocks of 64 bytes, all allocated in order, then all freed in order. */
static NOINLINE void WORK(ordered)(size_t operations) {
    size_t i;
    for (i = 0; i < operations; i++) {
        blocks[i] = ALLOC(64);
        touch(blocks[i]);
    }
    for (i = 0; i < operations; i++) {
        RELEASE(blocks[i]);
    }
}

/* 16 buffers grow in turn from 16 bytes to 64 KiB. Half of them double each time, the others grow
   by half. Then they are freed and start again. */
static NOINLINE void WORK(growth)(size_t operations) {
    enum { BUFFERS = 16, SMALLEST = 16, LARGEST = 65536 };
    void *buffers[BUFFERS] = {NULL};
    size_t sizes[BUFFERS], i;
    for (i = 0; i < BUFFERS; i++) {
        sizes[i] = (size_t)SMALLEST << i % 12;
    }
    for (i = 0; i < operations; i++) {
        size_t at = i % BUFFERS;
        sizes[at] += sizes[at] / (1 + at % 2);
        if (sizes[at] > LARGEST) {
            RELEASE(buffers[at]);
            buffers[at] = NULL;
            sizes[at] = SMALLEST;
        }
        buffers[at] = RESIZE(buffers[at], sizes[at]);
        touch(buffers[at]);
    }
    for (i = 0; i < BUFFERS; i++) {
        RELEASE(buffers[i]);
    }
}

static void *WORK(consume)(void *operations) {
    mtrace_scope outside = enter_scopes();
    size_t i;
    for (i = 0; i < *(size_t *)operations; i++) {
        RELEASE(take(i));
    }
    mtrace_scope_restore(outside);
    return NULL;
}

/* Allocated in this thread, freed in another. */
static NOINLINE void WORK(handover)(size_t operations) {
    uint32_t random = 1;
    pthread_t consumer;
    size_t i;
    begin(&consumer, WORK(consume), &operations);
    for (i = 0; i < operations; i++) {
        random = random * 1664525u + 1013904223u;
        put(i, ALLOC(16 + (random >> 16) % 497));
    }
    pthread_join(consumer, NULL);
}

static void *WORK(thread)(void *operations) {
    mtrace_scope outside = enter_scopes();
    void *own[1000]; /* on the stack: no cache line shared with the other thread's */
    WORK(fill)(own, 1000);
    WORK(churn)(*(size_t *)operations, own, 1000);
    WORK(drain)(own, 1000);
    mtrace_scope_restore(outside);
    return NULL;
}

/* Each churns 1,000 blocks of its own. Nanoseconds per operation of each thread. */
static NOINLINE void WORK(threads)(size_t operations, int count) {
    pthread_t threads[2];
    int i;
    for (i = 0; i < count; i++) {
        begin(&threads[i], WORK(thread), &operations);
    }
    for (i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

static NOINLINE void WORK(scope)(void) {
    SCOPE();
    touch(NULL);
}

static NOINLINE void WORK(scopes)(size_t operations) {
    size_t i;
    for (i = 0; i < operations; i++) {
        WORK(scope)();
    }
}

/* Leaked, so that the report of a peer has something to name. */
static NOINLINE void WORK(leak)(size_t operations) {
    size_t i;
    for (i = 0; i < operations; i++) {
        touch(ALLOC(512));
    }
    touch(NULL);
}

/* Nanoseconds per operation, without allocating and freeing the blocks that churn starts with. */
static double WORK(run)(int workload, size_t operations) {
    size_t live = workload == CHURN_1K     ? 1000
                  : workload == CHURN_100K ? 100000
                  : workload == CHURN_1M   ? MILLION
                                           : 0;
    double start;
    WORK(fill)(blocks, live);
    start = now();
    switch (workload) {
    case PAIR:
        WORK(pair)(operations);
        break;
    case ORDERED:
        WORK(ordered)(operations);
        break;
    case REALLOC:
        WORK(growth)(operations);
        break;
    case HANDOVER:
        WORK(handover)(operations);
        break;
    case THREADS_1:
        WORK(threads)(operations, 1);
        break;
    case THREADS_2:
        WORK(threads)(operations, 2);
        break;
    case SCOPE_IN_OUT:
        WORK(scopes)(operations);
        break;
    case LEAK:
        WORK(leak)(operations);
        break;
    default:
        WORK(churn)(operations, blocks, live);
        break;
    }
    start = now() - start;
    WORK(drain)(blocks, live);
    return start / (double)operations;
}

#undef WORK
#undef ALLOC
#undef RESIZE
#undef RELEASE
#undef SCOPE

/* The four workloads, once for each allocator: WORK(name), ALLOC(size) and RELEASE(block) are
   defined by who includes this. No include guard: that is the point. */

/* A block of one size, allocated and freed at once. */
static void WORK(pair)(size_t operations) {
    size_t i;
    for (i = 0; i < operations; i++) {
        void *block = ALLOC(64);
        touch(block);
        RELEASE(block);
    }
}

/* A random one of `live` blocks is replaced by one of 16 to 512 bytes. */
static void WORK(churn)(size_t operations, void **blocks, size_t live) {
    uint32_t random = 1;
    size_t i;
    for (i = 0; i < operations; i++) {
        size_t at;
        random = random * 1664525u + 1013904223u;
        at = (size_t)(((uint64_t)random * live) >> 32);
        RELEASE(blocks[at]);
        random = random * 1664525u + 1013904223u;
        blocks[at] = ALLOC(16 + (random >> 16) % 497);
        touch(blocks[at]);
    }
}

static void WORK(fill)(void **blocks, size_t live) {
    uint32_t random = 7;
    size_t i;
    for (i = 0; i < live; i++) {
        random = random * 1664525u + 1013904223u;
        blocks[i] = ALLOC(16 + (random >> 16) % 497);
        touch(blocks[i]);
    }
}

static void WORK(drain)(void **blocks, size_t live) {
    size_t i;
    for (i = 0; i < live; i++) {
        RELEASE(blocks[i]);
    }
}

/* Blocks of 64 bytes, all allocated in order, then all freed in order. */
static void WORK(ordered)(size_t operations, void **blocks) {
    size_t i;
    for (i = 0; i < operations; i++) {
        blocks[i] = ALLOC(64);
        touch(blocks[i]);
    }
    for (i = 0; i < operations; i++) {
        RELEASE(blocks[i]);
    }
}

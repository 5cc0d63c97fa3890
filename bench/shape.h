/* A profiled function in each pattern: SHAPE(pattern) names it, TAKE and GIVE(block) are what it
   does. Included once for each way to allocate, as a macro's text would be a single line. */

static NOINLINE void SHAPE(pair)(size_t count) {
    MT_PROFILE();
    size_t i;
    for (i = 0; i < count; i++) {
        void *block = TAKE;
        sink = block;
        GIVE(block);
    }
}

static NOINLINE void SHAPE(hold)(size_t count) {
    MT_PROFILE();
    size_t i;
    for (i = 0; i < count; i++) {
        blocks[i] = TAKE;
    }
    for (i = 0; i < count; i++) {
        GIVE(blocks[i]);
    }
}

#undef SHAPE
#undef TAKE
#undef GIVE

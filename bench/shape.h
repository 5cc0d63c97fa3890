/* A profiled function for each pattern. SHAPE(pattern) is its name, and it calls TAKE and
   GIVE(block). This file is included once for each shape. A macro would be a single line. */

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

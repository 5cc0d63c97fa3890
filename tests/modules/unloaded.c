/* A library with a function whose frame has FRAME bytes, or with HOST the program that loads two of
   them, one after the other, at one address. The code of both is the same but for that number, so
   their return addresses are equal numbers. The second one's stacks must not be read by what was
   remembered of the first one. See tests/unwind.sh. */

#ifndef HOST
#include <stddef.h>

__attribute__((noinline)) void *call(void *(*allocate)(size_t size)) {
    volatile char array[FRAME];
    void *block;
    array[0] = 1;
    block = allocate(10);
    array[1] = 2;
    return block;
}
#else
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#include <dlfcn.h>

enum { DEPTH = 16 };
static uintptr_t callers[DEPTH];
static uint32_t caller_count;

__attribute__((noinline)) static void *allocate(size_t size) {
    const mtrace_unwinder *compiler = mtrace_get_unwinder(MTRACE_UNWIND_COMPILER);
    void *block = mtrace_malloc(size);
    caller_count = compiler->walk(callers, DEPTH, __builtin_frame_address(0));
    return block;
}

static void fail(const char *why) {
    printf("%s\n", why);
    exit(1);
}

/* The block's traceback is the call in allocate, and above it allocate's callers. */
static void check(const void *block, const char *path) {
    mtrace_frame frames[DEPTH];
    mtrace_block found;
    uint32_t i, count;
    if (mtrace_find_tracked(&found, 0, (uintptr_t)block, frames, DEPTH) != MTRACE_OK) {
        fail("the block has no trace");
    }
    count = found.traceback.count;
    if (count < 4 || count != (caller_count + 1 < DEPTH ? caller_count + 1 : DEPTH)) {
        fail("the stack has another length");
    }
    for (i = 0; i + 1 < count; i++) {
        const mtrace_frame *frame = &frames[count - 2 - i];
        if (frame->module == NULL ||
            frame->module->load_address + frame->address + 1 != callers[i]) {
            fail("the stack is wrong");
        }
    }
    if (strcmp(frames[count - 2].file, path) != 0) {
        fail("the module is wrong");
    }
}

static void *run(const char *path, void **address) {
    void *(*call)(void *(*)(size_t));
    void *library = dlopen(path, RTLD_NOW), *block = NULL;
    int i;
    if (library == NULL) {
        fail(dlerror());
    }
    *(void **)&call = *address = dlsym(library, "call");
    for (i = 0; i < 3; i++) { /* read, remembered, and once more */
        mtrace_free(block);
        block = call(allocate);
        check(block, path);
    }
    dlclose(library);
    mtrace_forget_code();
    return block;
}

int main(int argc, char **argv) {
    mtrace_desc desc = {0};
    void *blocks[2], *at[2];
    mtrace_snapshot *snapshot;
    mtrace_snapshot_parts parts;
    size_t i, seen = 0;
    (void)argc;
    desc.unwinder = mtrace_get_unwinder(MTRACE_UNWIND_TABLES);
    desc.native_frames = DEPTH;
    mtrace_start(&desc);
    blocks[0] = run(argv[1], &at[0]);
    blocks[1] = run(argv[2], &at[1]);
    if (at[0] != at[1]) {
        fail("the second library has another address");
    }
    mtrace_snapshot_take(&snapshot, false, NULL);
    parts = mtrace_snapshot_get_parts(snapshot);
    for (i = 0; i < parts.module_count; i++) { /* both are known still */
        seen += strcmp(parts.modules[i].path, argv[1]) == 0 && parts.modules[i].build_id_size != 0;
        seen += strcmp(parts.modules[i].path, argv[2]) == 0 && parts.modules[i].build_id_size != 0;
    }
    mtrace_snapshot_free(snapshot);
    mtrace_free(blocks[0]);
    mtrace_free(blocks[1]);
    printf("%s\n", seen == 2 && mtrace_check() == NULL ? "fine" : "a module is missing");
    return 0;
}
#endif

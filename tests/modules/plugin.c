/* A plugin; with -DPLUGIN_IMPLEMENTS it has an implementation of its own. */

#ifdef PLUGIN_IMPLEMENTS
#define MTRACE_IMPLEMENTATION
#endif
#include "plugin.h"

static mtrace_result start(void) {
    return mtrace_start(NULL);
}

enum { LINE = __LINE__ + 2 };
static void *make(size_t size) {
    return size == 77 ? make_inline(size) : MT_MALLOC(size);
}

static void *make_at(size_t size, const mtrace_site *site) {
    return mtrace_malloc_at(size, site);
}

static void drop(void *block) {
    MT_FREE(block);
}

static mtrace_result find(const void *block, mtrace_block *out) {
    return mtrace_find(out, block);
}

static uint64_t held(void) {
    return mtrace_get_traced_memory().current;
}

static uint64_t foreign(void) {
    return mtrace_get_info().foreign_frees;
}

static mtrace_scope enter(void) {
    return MT_SCOPE_PUSH_IN(PLUGIN_DOMAIN);
}

static void leave(mtrace_scope before) {
    MT_SCOPE_POP(before);
}

static void profiled(void) {
    MT_PROFILE();
    MT_FREE(MT_MALLOC(4321));
}

static mtrace_result measure(void *(*function)(void *), mtrace_usage *out) {
    return mtrace_memory_usage(out, function, NULL);
}

#ifdef __cplusplus
extern "C" {
#endif
__attribute__((visibility("default"))) const plugin_calls *plugin(void);
#ifdef __cplusplus
}
#endif

const plugin_calls *plugin(void) {
    static plugin_calls calls;
    calls.start = start;
    calls.stop = mtrace_stop;
    calls.make = make;
    calls.make_at = make_at;
    calls.drop = drop;
    calls.find = find;
    calls.held = held;
    calls.foreign = foreign;
    calls.enter = enter;
    calls.leave = leave;
    calls.profiled = profiled;
    calls.measure = measure;
    calls.is_recording = mtrace_recorder_is_on;
    calls.check = mtrace_check;
    calls.line = LINE;
    return &calls;
}

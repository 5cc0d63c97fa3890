/* What the plugin of tests/modules.sh can do for its host. */

#ifndef PLUGIN_H
#define PLUGIN_H

#include "mtrace_ext.h"

typedef struct plugin_calls {
    mtrace_result (*start)(void);
    void (*stop)(void);
    void *(*make)(size_t size);
    void *(*make_at)(size_t size, const mtrace_site *site);
    void (*drop)(void *block);
    mtrace_result (*find)(const void *block, mtrace_block *out);
    uint64_t (*held)(void);
    uint64_t (*foreign)(void);
    mtrace_scope (*enter)(void);
    void (*leave)(mtrace_scope before);
    void (*profiled)(void);
    mtrace_result (*measure)(void *(*function)(void *), mtrace_usage *out);
    bool (*is_recording)(void);
    const char *(*check)(void);
    uint32_t line; /* of make's macro */
} plugin_calls;

/* An inline function of C++ has one call site for all modules. */
#ifdef __cplusplus
#define SHARED inline
#else
#define SHARED static inline
#endif
enum { INLINE_LINE = __LINE__ + 2, PLUGIN_DOMAIN = 8 };
SHARED void *make_inline(size_t size) {
    return MT_MALLOC(size);
}

#endif

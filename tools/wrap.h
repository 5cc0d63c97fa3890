/* The allocator beneath tools/wrap.c. Files that use the macros beside it are compiled with
   -DMTRACE_CONFIG_FILE='"wrap.h"', or their configuration includes this file: a block of MT_MALLOC
   would else be recorded twice. */
#ifndef MTRACE_WRAP_H
#define MTRACE_WRAP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
void *mtrace_wrapped_malloc(size_t size);
void *mtrace_wrapped_calloc(size_t count, size_t size);
void *mtrace_wrapped_realloc(void *block, size_t size);
void *mtrace_wrapped_memalign(size_t alignment, size_t size);
void mtrace_wrapped_free(void *block);
#ifdef __cplusplus
}
#endif

#define MTRACE_BASE_MALLOC(size)                   mtrace_wrapped_malloc(size)
#define MTRACE_BASE_CALLOC(count, size)            mtrace_wrapped_calloc(count, size)
#define MTRACE_BASE_REALLOC(block, size)           mtrace_wrapped_realloc(block, size)
#define MTRACE_BASE_ALIGNED_ALLOC(alignment, size) mtrace_wrapped_memalign(alignment, size)
#define MTRACE_BASE_FREE(block)                    mtrace_wrapped_free(block)

#endif

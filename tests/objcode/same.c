/* Compiled twice: with the macros and without MTRACE, and (PLAIN) with direct calls of the
 * allocator. */

#include "mtrace.h"

#include <stdlib.h>

#ifdef PLAIN
#undef MT_MALLOC
#undef MT_CALLOC
#undef MT_REALLOC
#undef MT_FREE
#undef MT_STRDUP
#undef MT_STRNDUP
#undef MT_ALIGNED_ALLOC
#undef MT_NEW
#undef MT_NEW_ARRAY
#undef MT_MALLOC_IN
char *strdup(const char *text);
char *strndup(const char *text, size_t length);
#define MT_MALLOC(size)                   malloc(size)
#define MT_CALLOC(count, size)            calloc(count, size)
#define MT_REALLOC(block, size)           realloc(block, size)
#define MT_FREE(block)                    free(block)
#define MT_STRDUP(text)                   strdup(text)
#define MT_STRNDUP(text, length)          strndup(text, length)
#define MT_ALIGNED_ALLOC(alignment, size) aligned_alloc(alignment, size)
#define MT_NEW(type)                      ((type *)calloc(1, sizeof(type)))
#define MT_NEW_ARRAY(type, count)         ((type *)calloc(count, sizeof(type)))
#define MT_MALLOC_IN(domain, size)        malloc(size)
#define ENGINE_MALLOC(size, file, line)   malloc(size)
#define SCOPE()                           ((void)0)
#define TRACE(call)                       ((void)0)
#define ASSERT_NO_GROWTH()                ((void)0)
#else
#define ENGINE_MALLOC(size, file, line)                                                            \
    mtrace_malloc_at(size, mtrace_site_intern(&(mtrace_site){file, NULL, NULL, line, NULL}))
#define SCOPE()            MT_SCOPE()
#define TRACE(call)        ((void)(call))
#define ASSERT_NO_GROWTH() MT_ASSERT_NO_GROWTH((mtrace_snapshot *)0, 0)
#endif

void *use_malloc(size_t size) {
    return MT_MALLOC(size);
}

void *use_calloc(size_t count, size_t size) {
    return MT_CALLOC(count, size);
}

void *use_realloc(void *block, size_t size) {
    return MT_REALLOC(block, size);
}

void use_free(void *block) {
    MT_FREE(block);
}

char *use_strdup(const char *text) {
    return MT_STRDUP(text);
}

char *use_strndup(const char *text, size_t length) {
    return MT_STRNDUP(text, length);
}

void *use_aligned_alloc(size_t alignment, size_t size) {
    return MT_ALIGNED_ALLOC(alignment, size);
}

double *use_new(void) {
    return MT_NEW(double);
}

double *use_new_array(size_t count) {
    return MT_NEW_ARRAY(double, count);
}

void *use_malloc_in(size_t size) {
    return MT_MALLOC_IN(3, size);
}

void use_nothing(void) {
    ASSERT_NO_GROWTH();
}

void *use_scope(size_t size) {
    SCOPE();
    return MT_MALLOC(size);
}

#ifdef __OPTIMIZE__ /* inline no-ops vanish when the compiler inlines at all */
void *use_engine_malloc(size_t size, const char *file, uint32_t line) {
    (void)file;
    (void)line;
    return ENGINE_MALLOC(size, file, line);
}

void use_calls(void *block) {
    TRACE(mtrace_start((const mtrace_desc *)0));
    TRACE(MT_TRACK(1, block, 5));
    TRACE(mtrace_print_top(3));
    TRACE((MT_SCOPE_POP(MT_SCOPE_PUSH_IN(4)), 0));
    TRACE((mtrace_stop(), 0));
    MT_FREE(block);
}

#ifdef PLAIN
static inline size_t product(size_t count, size_t size) {
    return size != 0 && count > SIZE_MAX / size ? SIZE_MAX : count * size;
}
static inline void *plain_reallocarray(void *block, size_t count, size_t size) {
    return realloc(block, product(count, size));
}
#undef MT_REALLOCARRAY
#define MT_REALLOCARRAY(block, count, size) plain_reallocarray(block, count, size)
#endif

void *use_reallocarray(void *block, size_t count, size_t size) {
    return MT_REALLOCARRAY(block, count, size);
}
#endif

/* The allocator beneath counts, too: what it says must be what mtrace says. */
#ifndef ORACLE_H
#define ORACLE_H
#include <stddef.h>
void *oracle_malloc(size_t size);
void *oracle_realloc(void *block, size_t size);
void oracle_free(void *block);
#define MTRACE_BASE_MALLOC(size)         oracle_malloc(size)
#define MTRACE_BASE_REALLOC(block, size) oracle_realloc(block, size)
#define MTRACE_BASE_FREE(block)          oracle_free(block)
#endif

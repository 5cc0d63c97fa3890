/* A base allocator of the test's own: it counts, it fails on command, it has no aligned blocks. */
#ifndef ORACLE_H
#define ORACLE_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
void *oracle_malloc(size_t size);
void oracle_free(void *block);
#ifdef __cplusplus
}
#endif
#define MTRACE_BASE_MALLOC(size) oracle_malloc(size)
#define MTRACE_BASE_FREE(block)  oracle_free(block)
#endif

/* With MTRACE: the cost of calls while the tracer is off. */

#include "mtrace.h"

#ifdef __cplusplus
extern "C" {
#endif
void *one_malloc(size_t size);
void *two_calls(size_t size, void *block);
#ifdef __cplusplus
}
#endif

void *one_malloc(size_t size) {
    return MT_MALLOC(size);
}

void *two_calls(size_t size, void *block) {
    MT_FREE(block);
    return MT_NEW_ARRAY(int, size);
}

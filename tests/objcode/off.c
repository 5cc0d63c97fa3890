/* One malloc, with MTRACE: what it costs while the tracer is off. */

#include "mtrace.h"

void *one_malloc(size_t size) {
    return MT_MALLOC(size);
}

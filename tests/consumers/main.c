#define MTRACE_IMPLEMENTATION
#include <mtrace.h>

int main(void) {
    void *block;
    mtrace_start(NULL);
    block = MT_MALLOC(10);
    MT_FREE(block);
    return mtrace_get_traced_memory().peak == 10 ? 0 : 1;
}

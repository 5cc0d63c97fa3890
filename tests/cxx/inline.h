/* C99's inline functions in a header, whose external definition is in another file. */

#include "mtrace_ext.h"

inline void *inline_new(size_t size) {
    MT_SCOPE();
    MT_SCOPE_IN(2);
    MT_PROFILE();
    MT_PROFILE_LIMIT(9);
    void *text = MT_STRDUP("a"); /* behind declarations */
    MT_ASSERT_NO_GROWTH(NULL, 0);
    MT_FREE(MT_REALLOC(MT_CALLOC(1, size), size));
    MT_FREE(MT_STRNDUP("a", 1));
    MT_FREE(MT_NEW(int));
    MT_FREE(MT_NEW_ARRAY_IN(2, int, 3));
    MT_FREE(MT_MALLOC_IN(2, size));
    MT_FREE(MT_REALLOCARRAY(NULL, 2, size));
    (void)MT_TRACK(1, size, 9);
    (void)MT_UNTRACK(1, size);
    MT_SCOPE_POP(MT_SCOPE_PUSH());
    MT_FREE(text);
    return MT_MALLOC(size);
}

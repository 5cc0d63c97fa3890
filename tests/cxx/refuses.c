/* Each line with "refused" must not compile, with MTRACE and without; the text must be in what the
 * compiler says. */

#include "mtrace.h"

#ifdef __SIZEOF_INT128__
__extension__ typedef unsigned __int128 wide;
#else
typedef uint64_t wide; /* a handle of Vulkan */
#endif

void f(int k, int *p, wide handle, struct mtrace_desc desc) {
    if (k)
        MT_SCOPE(); /* refused: */
    if (k)
        MT_SCOPE_IN(2);                   /* refused: */
    MT_TRACK(1, handle, 8);               /* refused: the key of MT_TRACK is wider than uintptr_t */
    MT_UNTRACK(1, handle);                /* refused: the key of MT_TRACK is wider than uintptr_t */
    MT_MALLOC(1, 2);                      /* refused: too many arguments */
    MT_CALLOC(1);                         /* refused: too few arguments */
    MT_FREE(desc);                        /* refused: */
    MT_MALLOC_IN(desc, 3);                /* refused: */
    MT_NEW_IN(desc, int);                 /* refused: */
    { MT_SCOPE_IN(desc); }                /* refused: */
    MT_ASSERT_NO_GROWTH(desc, 0);         /* refused: */
    k = 1 + MT_ASSERT_NO_GROWTH(NULL, 0); /* refused: */
    p = MT_HERE + desc;                   /* refused: */
    MT_STRDUP(desc);                      /* refused: */
}

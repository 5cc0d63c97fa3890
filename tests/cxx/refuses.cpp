// Each line with "refused" must not compile, with MTRACE and without; the text must be in what the compiler says.

#include "mtrace.h"
#include <string>

struct with_constructor {
    with_constructor() : a(5) {}
    int a;
};
struct with_default {
    int a = 5;
};
struct with_destructor {
    ~with_destructor() {}
    int a;
};
#ifdef __SIZEOF_INT128__
__extension__ typedef unsigned __int128 wide;
#else
typedef uint64_t wide;
#endif

void f(wide handle, int *p) {
    MT_NEW(std::string); // refused: MT_NEW gives zeroed memory and runs no constructor
    MT_NEW(std::pair<int, int>); // refused: MT_NEW gives zeroed memory
    MT_NEW(with_constructor); // refused: the type must be trivial
    MT_NEW_ARRAY(with_default, 3); // refused: the type must be trivial
    MT_NEW_IN(2, with_destructor); // refused: the type must be trivial
    MT_NEW_ARRAY_IN(2, std::pair<std::string, int>, 2); // refused: the type must be trivial
    MT_TRACK(1, handle, 8); // refused: the key of MT_TRACK is wider than uintptr_t
    if (p) MT_SCOPE_IN(p); // refused:
    { MT_SCOPE_IN(p); } // refused:
    MT_MALLOC_IN(p, 3); // refused:
    MT_MALLOC(p); // refused:
    p = MT_MALLOC(3); // refused:
    MT_ASSERT_NO_GROWTH(p, 0); // refused:
}

// A plugin for tests/cxx/host.c: what it uses of mtrace must not keep it loaded.
#include "mtrace_ext.h"

#include <memory>

struct thing {
    int a = 1;
};

extern "C" int run() {
    std::unique_ptr<thing, mt::deleter> one(mt::make<thing>());
    int *two = mt::allocator<int, 3>().allocate(5);
    mtrace_block found = {};
    mtrace_find(&found, one.get());
    bool good = found.type != nullptr && strcmp(found.type, "thing") == 0;
    mt::allocator<int, 3>().deallocate(two, 5);
    MT_FREE(MT_MALLOC(3));
    return good ? 0 : 1;
}

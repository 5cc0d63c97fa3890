// C++ for tests/mtracer.sh: each operator new has its caller as the place, and exceptions pass.
#include <cstdio>
#include <map>
#include <new>
#include <stdexcept>
#include <string>

#ifdef OWN_OPERATORS
#include <cstdlib>
static int calls;
void *operator new(std::size_t size) {
    void *block = std::malloc(size);
    calls++;
    if (block == nullptr) {
        throw std::bad_alloc();
    }
    return block;
}
void operator delete(void *block) noexcept {
    calls++;
    std::free(block);
}
void operator delete(void *block, std::size_t) noexcept {
    calls++;
    std::free(block);
}
#endif

struct alignas(128) large {
    char bytes[256];
};

static int handled;
static void no_memory() {
    handled++;
    std::set_new_handler(nullptr);
}

static __attribute__((noinline)) void fall(int depth) {
    std::string text(100, 'x');
    if (depth == 0) {
        throw std::runtime_error(text);
    }
    fall(depth - 1);
    std::puts(text.c_str());
}

static void *kept[8];
int main() {
    std::map<int, std::string> all;
    int caught = 0;
    for (int i = 0; i < 1000; i++) {
        all[i] = std::string(50, 'y');
    }
    for (int i = 0; i < 200; i++) {
        try {
            fall(20);
        } catch (const std::exception &) {
            caught++;
        }
    }
    std::set_new_handler(no_memory);
    try {
        delete[] new char[std::size_t(1) << 60];
    } catch (const std::bad_alloc &) {
        caught++;
    }
    caught += new (std::nothrow) char[std::size_t(1) << 60] == nullptr;
    kept[0] = new char;
    kept[1] = new char[10];
    kept[2] = new (std::nothrow) char;
    kept[3] = new large;
    kept[4] = new large[2];
    delete static_cast<large *>(kept[3]);
    delete[] static_cast<char *>(kept[1]);
#ifdef OWN_OPERATORS
    std::printf("caught %d handled %d own %d\n", caught, handled, calls > 100);
#else
    std::printf("caught %d handled %d\n", caught, handled);
#endif
}

// A C++ program for tests/unwind.sh: containers, closures, virtual calls, recursion, exceptions through frames,
// frames of all kinds (aligned, of a size known at run time), threads, a signal handler, coroutine stacks.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <ucontext.h>
#include <vector>

static volatile long sum;

struct Shape {
    virtual ~Shape() {}
    virtual std::string name(int n) const = 0;
};
struct Square : Shape {
    std::string name(int n) const override {
        return std::string(40 + n % 7, 's');
    }
};
struct Circle : Shape {
    std::string name(int n) const override {
        std::vector<std::string> parts(3, std::string(30, 'c'));
        return parts[n % 3];
    }
};

static std::unique_ptr<int[]> sized(int n) {
    volatile char *array = static_cast<volatile char *>(__builtin_alloca(16 * n + 16));
    array[0] = 1;
    std::unique_ptr<int[]> block(new int[8]);
    sum = sum + array[0];
    return block;
}

static std::unique_ptr<int[]> aligned(int n) {
    alignas(64) volatile char array[64];
    array[n % 64] = 1;
    std::unique_ptr<int[]> block = sized(n % 40);
    sum = sum + array[n % 64];
    return block;
}

static int deep(int n, const std::function<int(int)> &leaf) {
    if (n == 0) {
        return leaf(1);
    }
    std::map<int, std::string> own;
    own[n] = std::string(50, 'x');
    return deep(n - 1, leaf) + static_cast<int>(own[n].size());
}

static void thrower(int n) {
    std::string text(60, 't');
    if (n == 0) {
        throw std::runtime_error(text);
    }
    thrower(n - 1);
    sum = sum + static_cast<long>(text.size());
}

static void work(int rounds) {
    std::vector<std::unique_ptr<Shape>> shapes;
    shapes.emplace_back(new Square);
    shapes.emplace_back(new Circle);
    for (int i = 0; i < rounds; i++) {
        sum = sum + static_cast<long>(shapes[i % 2]->name(i).size());
        sum = sum + aligned(i)[0] * 0;
        sum = sum + deep(i % 40, [i](int k) {
                  return static_cast<int>(std::vector<int>(10 + i % 5).size()) + k;
              });
        std::vector<std::string> words;
        for (int k = 0; k < 10; k++) {
            words.push_back(std::string(20 + k, static_cast<char>('a' + (i * 7 + k) % 26)));
        }
        std::stable_sort(words.begin(), words.end(),
                         [](const std::string &a, const std::string &b) {
                             return std::string(a) < std::string(b);
                         });
        if (i % 50 == 0) {
            try {
                thrower(i % 60);
            } catch (const std::runtime_error &e) {
                sum = sum + static_cast<long>(std::string(e.what()).size());
            }
        }
    }
}

static void handler(int) {
    sum = sum + static_cast<long>(std::string(40, 'h').size()); // raised outside of the allocator
}

static ucontext_t outer, inner;
static void coroutine() {
    work(20);
    swapcontext(&inner, &outer);
    work(20);
}

int main() {
    std::signal(SIGUSR1, handler);
    work(400);
    for (int i = 0; i < 10; i++) {
        std::raise(SIGUSR1);
    }
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.emplace_back(work, 50);
    }
    for (std::thread &t : threads) {
        t.join();
    }
    std::vector<char> stack(1 << 18);
    getcontext(&inner);
    inner.uc_stack.ss_sp = stack.data();
    inner.uc_stack.ss_size = stack.size();
    inner.uc_link = &outer;
    makecontext(&inner, coroutine, 0);
    swapcontext(&outer, &inner);
    swapcontext(&outer, &inner);
    return sum == 0;
}

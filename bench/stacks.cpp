// Workloads for bench/stacks: containers of C++ by operator new, and Lua by its allocator. Arguments: the workload (cpp,
// lua), how it allocates (plain, caller, or a number of native frames), and rounds. Prints how many blocks it allocated
// and the mean length of their tracebacks. The workload "threads" prints the CPU time in ns that four threads need for an
// allocation and its free, plain and traced: the least of the rounds, which alternate.
#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <new>
#include <string>
#include <thread>
#include <vector>

extern "C" {
#include <lua5.4/lauxlib.h>
#include <lua5.4/lua.h>
#include <lua5.4/lualib.h>
}

static bool is_plain;
static unsigned long blocks;

__attribute__((noinline)) void *operator new(std::size_t size) {
    void *block = is_plain ? std::malloc(size) : mtrace_malloc(size);
    blocks++;
    return block;
}

__attribute__((noinline)) void operator delete(void *block) noexcept {
    is_plain ? std::free(block) : mtrace_free(block);
}

__attribute__((noinline)) void operator delete(void *block, std::size_t) noexcept {
    is_plain ? std::free(block) : mtrace_free(block);
}

// --- C++: a tree of calls whose leaves fill containers ---

static volatile unsigned long sum;

__attribute__((noinline)) static void fill(std::map<int, std::string> &map, int n) {
    for (int i = 0; i < 4; i++) {
        map[n * 4 + i] = std::string(40, 'x');
    }
}

__attribute__((noinline)) static void words(int n) {
    std::vector<std::string> own;
    for (int i = 0; i < 6; i++) {
        own.push_back(std::string(20 + n % 9, 'y'));
    }
    sum = sum + own.back().size();
}

__attribute__((noinline)) static void step(std::map<int, std::string> &map, int n, int depth) {
    if (depth > 0) {
        step(map, n, depth - 1);
        sum = sum + 1;
        return;
    }
    n % 3 == 0 ? words(n) : fill(map, n % 50);
    sum = sum + map.size();
}

static void run_cpp(int rounds) {
    for (int i = 0; i < rounds; i++) {
        std::map<int, std::string> map;
        for (int k = 0; k < 30; k++) {
            step(map, k, k % 5);
        }
    }
}

// --- Lua ---

static void *allocate(void *, void *block, size_t, size_t size) {
    blocks += block == nullptr && size != 0;
    if (size == 0) {
        is_plain ? std::free(block) : mtrace_free(block);
        return nullptr;
    }
    return is_plain ? std::realloc(block, size) : mtrace_realloc(block, size);
}

static const char script[] =
    "local rounds = ...\n"
    "local t = {}\n"
    "local function work()\n"
    "  for i = 1, 40 do t[i % 8 + 1] = {name = 'n' .. i, v = {i, i + 1, i + 2}} end\n"
    "end\n"
    "local function nest(n) if n == 0 then work() else pcall(nest, n - 1) end end\n"
    "for i = 1, rounds do nest(i % 3) end\n";

static void run_lua(int rounds) {
    lua_State *state = lua_newstate(allocate, nullptr);
    luaL_openlibs(state);
    if (luaL_loadstring(state, script) != LUA_OK) {
        std::exit(1);
    }
    lua_pushinteger(state, rounds);
    if (lua_pcall(state, 1, 0, 0) != LUA_OK) {
        std::fprintf(stderr, "%s\n", lua_tostring(state, -1));
        std::exit(1);
    }
    lua_close(state);
}

// --- four threads ---

enum { THREADS = 4, PAIRS = 200000, DEPTH = 6 }; // 9 frames with those of the thread's start

__attribute__((noinline)) static void pairs(int depth) {
    if (depth > 0) {
        pairs(depth - 1);
        __asm__ volatile("");
        return;
    }
    for (int i = 0; i < PAIRS; i++) {
        void *block = is_plain ? std::malloc(64) : mtrace_malloc(64);
        __asm__ volatile("" : : "r"(block) : "memory");
        is_plain ? std::free(block) : mtrace_free(block);
    }
}

static double pair_time() {
    std::vector<std::thread> threads;
    std::clock_t begun = std::clock(); // CPU time of all threads
    for (int i = 0; i < THREADS; i++) {
        threads.emplace_back(pairs, DEPTH);
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    return double(std::clock() - begun) / CLOCKS_PER_SEC * 1e9 / THREADS / PAIRS;
}

static int run_threads(int rounds) {
    double least[2] = {1e9, 1e9};
    for (int i = 0; i < 2 * rounds; i++) {
        is_plain = i % 2 == 0;
        double time = pair_time();
        least[i % 2] = time < least[i % 2] ? time : least[i % 2];
    }
    std::printf("%.0f %.0f\n", least[0], least[1]);
    return 0;
}

static double mean_length() {
    mtrace_snapshot *snapshot;
    mtrace_snapshot_parts parts;
    double frames = 0, count = 0;
    if (mtrace_snapshot_take(&snapshot, false, nullptr) != MTRACE_OK) {
        return 0;
    }
    parts = mtrace_snapshot_get_parts(snapshot);
    for (size_t i = 0; i < parts.row_count; i++) {
        frames += double(parts.rows[i].total_count) * parts.rows[i].traceback.count;
        count += double(parts.rows[i].total_count);
    }
    mtrace_snapshot_free(snapshot);
    return frames / count;
}

int main(int argc, char **argv) {
    mtrace_desc desc = {};
    if (argc != 4) {
        return 2;
    }
    is_plain = std::strcmp(argv[2], "plain") == 0;
    desc.native_frames = uint32_t(std::atoi(argv[2])); // of a word: 0
    desc.unwinder = mtrace_get_unwinder(MTRACE_UNWIND_BEST);
    if (!is_plain && mtrace_start(&desc) != MTRACE_OK) {
        return 1;
    }
    if (std::strcmp(argv[1], "threads") == 0) {
        return run_threads(std::atoi(argv[3]));
    }
    std::strcmp(argv[1], "lua") == 0 ? run_lua(std::atoi(argv[3])) : run_cpp(std::atoi(argv[3]));
    std::printf("%lu %.1f\n", blocks, is_plain ? 0 : mean_length());
    return 0;
}

// Two coroutines of C++20 on one thread, each inside of a scope of its own.

#include <coroutine>
#include <cstring>

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

struct fiber {
    struct promise_type {
        fiber get_return_object() {
            return {std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_always initial_suspend() noexcept {
            return {};
        }
        std::suspend_always final_suspend() noexcept {
            return {};
        }
        void return_void() {}
        void unhandled_exception() {}
        mtrace_scope scope = {0, 0, 0};
    };
    std::coroutine_handle<promise_type> handle;

    // The scheduler's part: the scope goes with the coroutine.
    void resume() {
        mtrace_scope before = mtrace_scope_save();
        mtrace_scope_restore(handle.promise().scope);
        handle.resume();
        handle.promise().scope = mtrace_scope_save();
        mtrace_scope_restore(before);
    }
};

static fiber first(void **blocks) {
    MT_SCOPE_NAMED("first");
    blocks[0] = MT_MALLOC(8);
    co_await std::suspend_always{};
    blocks[1] = MT_MALLOC(8);
}

static fiber second(void **blocks) {
    MT_SCOPE_NAMED("second");
    blocks[0] = MT_MALLOC(8);
    co_await std::suspend_always{};
    blocks[1] = MT_MALLOC(8);
}

static bool outermost_is(void *block, const char *name) {
    mtrace_frame frames[4];
    mtrace_block found;
    return mtrace_find_tracked(&found, 0, reinterpret_cast<uintptr_t>(block), frames, 4) ==
               MTRACE_OK &&
           std::strcmp(found.traceback.frames[0].function, name) == 0;
}

int main() {
    void *a[2], *b[2], *mine;
    mtrace_desc desc = {};
    desc.frames = 4;
    if (mtrace_start(&desc) != MTRACE_OK) {
        return 1;
    }
    fiber one = first(a), two = second(b);
    for (int turn = 0; turn < 2; turn++) {
        one.resume();
        two.resume();
    }
    mine = MT_MALLOC(8);
    one.handle.destroy();
    two.handle.destroy();
    return outermost_is(a[0], "first") && outermost_is(a[1], "first") &&
                   outermost_is(b[0], "second") && outermost_is(b[1], "second") &&
                   outermost_is(mine, "main")
               ? 0
               : 2;
}

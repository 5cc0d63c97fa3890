/* A program that embeds Lua and charges memory to the script. Each block that Lua allocates belongs
   to the running line of the .lua file, or to a line of this file if no script line is running.

       lua_host SCRIPT.lua
*/

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <limits.h>
#include <stdio.h>
#include <lua5.4/lauxlib.h>
#include <lua5.4/lualib.h>

static lua_State *running; /* NULL while the state is created or closed: there is no line then */

/* The running line: that of the innermost function on Lua's stack that is written in Lua. */
static bool find_script_line(lua_Debug *where) {
    if (running != NULL) {
        for (int depth = 0; lua_getstack(running, depth, where); depth++) {
            if (lua_getinfo(running, "Sl", where) && where->currentline > 0) {
                return true;
            }
        }
    }
    return false;
}

/* Lua's one function for all memory: new, grow, shrink and free. */
static void *script_memory(void *user, void *block, size_t old_size, size_t new_size) {
    (void)user;
    (void)old_size;
    if (new_size == 0) {
        MT_FREE(block);
        return NULL;
    }
    if (block == NULL) {
        lua_Debug where;
        if (!find_script_line(&where)) {
            return MT_MALLOC(new_size);
        }
        mtrace_site line = {.file = where.short_src, .line = (uint32_t)where.currentline};
        return mtrace_malloc_at(new_size, mtrace_site_intern(&line));
    }
    /* A block that grows stays with the line that allocated it. (Also, Lua must not be queried
       here: the block can be its stack, which some versions take apart to move it.) */
    mtrace_block owner;
    if (mtrace_find(&owner, block) != MTRACE_OK) {
        return MT_REALLOC(block, new_size);
    }
    mtrace_site line = {.file = owner.file, .function = owner.function, .line = owner.line};
    return mtrace_realloc_at(block, new_size, mtrace_site_intern(&line));
}

static void no_hook(lua_State *lua, lua_Debug *where) {
    (void)lua;
    (void)where;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fputs("usage: lua_host SCRIPT.lua\n", stderr);
        return 2;
    }

    mtrace_start(NULL);
    lua_State *lua = lua_newstate(script_memory, NULL);
    if (lua == NULL) {
        return 1;
    }
    luaL_openlibs(lua);
    /* Lua saves its position only before steps that may fail, or at each step with a count hook. */
    lua_sethook(lua, no_hook, LUA_MASKCOUNT, INT_MAX);

    running = lua;
    bool ok = luaL_dofile(lua, argv[1]) == LUA_OK;
    if (ok) {
        lua_gc(lua, LUA_GCCOLLECT); /* all that is left is still referenced */
        mtrace_print_top(10);
    } else {
        fprintf(stderr, "lua_host: %s\n", lua_tostring(lua, -1));
    }
    running = NULL;

    lua_close(lua);
    printf("held after lua_close: %lu bytes\n", (unsigned long)mtrace_get_traced_memory().current);
    mtrace_stop();
    return ok ? 0 : 1;
}

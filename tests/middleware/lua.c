/* Lua has one function for all, with a pointer of the user's. */

#include "middleware.h"

#include <lua5.4/lauxlib.h>
#include <lua5.4/lua.h>
#include <lua5.4/lualib.h>

const char *const wrappers[] = {"lua_hook", NULL};
const bool has_symbols = true;

static lua_State *lua;

/* --- for docs/MIDDLEWARE.md --- */

static void *lua_hook(void *user, void *block, size_t old_size, size_t size) {
    (void)old_size;
    if (size == 0) {
        mtrace_hook_free(user, block);
        return NULL;
    }
    return mtrace_hook_realloc(user, block, size);
}

static void open_lua(void) {
    lua = lua_newstate(lua_hook, NULL);
    luaL_openlibs(lua);
}

/* --- */

bool load(void) {
    open_lua();
    return luaL_dostring(lua, "names, points = {}, {}\n"
                              "for i = 1, 1000 do\n"
                              "  names[i] = 'name ' .. i\n"
                              "  points[#points + 1] = {x = i, y = function() return i end}\n"
                              "end\n"
                              "text = table.concat(names, ' ')\n") == LUA_OK;
}

void unload(void) {
    lua_close(lua);
}

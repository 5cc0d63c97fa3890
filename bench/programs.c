/* The cost of tracing in real programs: Lua, SQLite and Duktape at work, with all their memory from
   a traced allocator.

     programs lua|sqlite|duktape plain|off|traced|deep|sampled [ROUNDS]

   plain: malloc itself. off: compiled in, not tracing. deep: tracebacks of 8 frames, inside 7
   scopes. sampled: a trace for every 512 KiB on average. Prints the milliseconds of the work,
   without start-up and end. Exit status 1: a wrong result, or the tracer lost something. */

#define _POSIX_C_SOURCE 200112L
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <duktape.h>
#include <lua5.4/lauxlib.h>
#include <lua5.4/lualib.h>
#include <malloc.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LUA, SQLITE, DUKTAPE, PROGRAMS };
enum { PLAIN, OFF, TRACED, DEEP, SAMPLED, MODES };
enum { SAMPLE_INTERVAL = 512 * 1024 };

static const char *const program_names[] = {"lua", "sqlite", "duktape"};
static const char *const mode_names[] = {"plain", "off", "traced", "deep", "sampled"};

static void fail(const char *what) {
    fprintf(stderr, "programs: %s\n", what);
    exit(1);
}

/* ---------------------------------------------------------------------------------------- Lua */

static const char lua_work[] =
    "local function tree(depth)\n"
    "  if depth == 0 then return {} end\n"
    "  return {left = tree(depth - 1), right = tree(depth - 1)}\n"
    "end\n"
    "local function count(node)\n"
    "  return node.left and 1 + count(node.left) + count(node.right) or 1\n"
    "end\n"
    "function work()\n"
    "  local words, seen, steps, sum = {}, {}, {}, 0\n"
    "  for i = 1, 8000 do words[i] = string.format('word%d', (i * 7919) % 10007) end\n"
    "  table.sort(words)\n"
    "  for i, word in ipairs(words) do\n"
    "    local key = word:sub(1, 6)\n"
    "    seen[key] = (seen[key] or 0) + i\n"
    "  end\n"
    "  for word in table.concat(words, ' '):gmatch('%w+') do sum = sum + #word:upper() end\n"
    "  for i = 1, 8000 do steps[i] = function(x) return x + i * #words end end\n"
    "  for i = 1, #steps do sum = steps[i](sum) end\n"
    "  for key, value in pairs(seen) do sum = sum + #key * value end\n"
    "  return sum + count(tree(12))\n"
    "end\n";

static void *lua_plain(void *user, void *block, size_t old_size, size_t size) {
    (void)user;
    (void)old_size;
    if (size == 0) {
        free(block);
        return NULL;
    }
    return block == NULL ? malloc(size) : realloc(block, size);
}

static void *lua_traced(void *user, void *block, size_t old_size, size_t size) {
    (void)user;
    (void)old_size;
    if (size == 0) {
        MT_FREE(block);
        return NULL;
    }
    return block == NULL ? MT_MALLOC(size) : MT_REALLOC(block, size);
}

static lua_State *lua;

static void lua_begin(bool plain) {
    lua = lua_newstate(plain ? lua_plain : lua_traced, NULL);
    if (lua == NULL) {
        fail("lua_newstate");
    }
    luaL_openlibs(lua);
    if (luaL_dostring(lua, lua_work)) {
        fail(lua_tostring(lua, -1));
    }
}

static int64_t lua_round(void) {
    int64_t result;
    lua_getglobal(lua, "work");
    if (lua_pcall(lua, 0, 1, 0) != LUA_OK) {
        fail(lua_tostring(lua, -1));
    }
    result = lua_tointeger(lua, -1);
    lua_pop(lua, 1);
    return result;
}

static void lua_end(void) {
    lua_close(lua);
}

/* ------------------------------------------------------------------------------------- SQLite */

static void *sqlite_malloc_plain(int size) {
    return malloc((size_t)size);
}
static void *sqlite_realloc_plain(void *block, int size) {
    return realloc(block, (size_t)size);
}
static void *sqlite_malloc_traced(int size) {
    return MT_MALLOC((size_t)size);
}
static void *sqlite_realloc_traced(void *block, int size) {
    return MT_REALLOC(block, (size_t)size);
}
static void sqlite_free_traced(void *block) {
    MT_FREE(block);
}
static int sqlite_size(void *block) {
    return (int)malloc_usable_size(block);
}
static int sqlite_roundup(int size) {
    return (size + 7) & ~7;
}
static int sqlite_init(void *user) {
    (void)user;
    return SQLITE_OK;
}
static void sqlite_shutdown(void *user) {
    (void)user;
}

static sqlite3_mem_methods sqlite_plain = {
    sqlite_malloc_plain, free,        sqlite_realloc_plain, sqlite_size,
    sqlite_roundup,      sqlite_init, sqlite_shutdown,      NULL};
static sqlite3_mem_methods sqlite_traced = {
    sqlite_malloc_traced, sqlite_free_traced, sqlite_realloc_traced, sqlite_size,
    sqlite_roundup,       sqlite_init,        sqlite_shutdown,       NULL};

static sqlite3 *database;

static void sqlite_ok(int result) {
    if (result != SQLITE_OK) {
        fail(sqlite3_errmsg(database));
    }
}

static void run_sql(const char *sql) {
    sqlite_ok(sqlite3_exec(database, sql, NULL, NULL, NULL));
}

static void sqlite_begin(bool plain) {
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, plain ? &sqlite_plain : &sqlite_traced) != SQLITE_OK ||
        sqlite3_open(":memory:", &database) != SQLITE_OK) {
        fail("sqlite3_open");
    }
}

static sqlite3_stmt *prepare(const char *sql) {
    sqlite3_stmt *statement = NULL;
    sqlite_ok(sqlite3_prepare_v2(database, sql, -1, &statement, NULL));
    return statement;
}

static void insert_rows(void) {
    sqlite3_stmt *person = prepare("INSERT INTO person VALUES (?1, 'name ' || ?1, ?2)");
    sqlite3_stmt *visit = prepare("INSERT INTO visit VALUES (?1, 'place ' || ?2, ?3)");
    int i;
    for (i = 0; i < 6000; i++) {
        sqlite3_bind_int(person, 1, i);
        sqlite3_bind_int(person, 2, i * 7919 % 97);
        sqlite3_bind_int(visit, 1, i * 31 % 6000);
        sqlite3_bind_int(visit, 2, i % 53);
        sqlite3_bind_int(visit, 3, i % 240);
        if (sqlite3_step(person) != SQLITE_DONE || sqlite3_step(visit) != SQLITE_DONE) {
            fail(sqlite3_errmsg(database));
        }
        sqlite3_reset(person);
        sqlite3_reset(visit);
    }
    sqlite3_finalize(person);
    sqlite3_finalize(visit);
}

static int64_t sum_of(const char *sql) {
    sqlite3_stmt *statement = prepare(sql);
    int64_t sum = 0;
    while (sqlite3_step(statement) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        sum += (int64_t)strlen(text) + sqlite3_column_int64(statement, 1);
    }
    sqlite_ok(sqlite3_finalize(statement));
    return sum;
}

/* Each lookup prepares its statement, as in programs without a statement cache. */
static int64_t single_lookups(void) {
    int64_t sum = 0;
    int i;
    for (i = 0; i < 600; i++) {
        char *sql = sqlite3_mprintf("SELECT name, town FROM person WHERE name = 'name %d'", i * 7);
        sum += sum_of(sql);
        sqlite3_free(sql);
    }
    return sum;
}

static int64_t sqlite_round(void) {
    int64_t sum;
    run_sql("BEGIN;"
            "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, town INTEGER);"
            "CREATE TABLE visit (person INTEGER, place TEXT, minutes INTEGER);");
    insert_rows();
    run_sql("CREATE INDEX person_name ON person (name);"
            "CREATE INDEX visit_person ON visit (person); COMMIT;");
    sum = sum_of("SELECT place, sum(minutes) FROM person JOIN visit ON id = person "
                 "WHERE town < 60 GROUP BY place, town ORDER BY 2 DESC, 1");
    sum += sum_of("SELECT group_concat(name), count(*) FROM person GROUP BY town");
    sum += single_lookups();
    run_sql("DROP TABLE visit; DROP TABLE person;");
    return sum;
}

static void sqlite_end(void) {
    sqlite_ok(sqlite3_close(database));
    sqlite3_shutdown();
}

/* ------------------------------------------------------------------------------------ Duktape */

static const char duktape_work[] =
    "function work() {\n"
    "  var list = [], sum = 0, text = '', i;\n"
    "  for (i = 0; i < 2000; i++) {\n"
    "    list.push({id: i, name: 'item' + i * 7919 % 2003, tags: ['a' + i % 7, 'b' + i % 11]});\n"
    "  }\n"
    "  var copy = JSON.parse(JSON.stringify(list));\n"
    "  copy.sort(function (a, b) { return a.name < b.name ? -1 : a.name > b.name ? 1 : 0; });\n"
    "  copy.forEach(function (item, at) { sum += item.id * at % 1000 + item.tags[1].length; });\n"
    "  for (i = 0; i < 1000; i++) { text += copy[i].name.charAt(i % 4) + i; }\n"
    "  var parts = copy.map(function (item) { return item.name.split('m').join('-'); });\n"
    "  return sum + text.length + parts.join(',').length;\n"
    "}\n";

static void *duktape_malloc_plain(void *user, duk_size_t size) {
    (void)user;
    return malloc(size);
}
static void *duktape_realloc_plain(void *user, void *block, duk_size_t size) {
    (void)user;
    return realloc(block, size);
}
static void duktape_free_plain(void *user, void *block) {
    (void)user;
    free(block);
}
static void *duktape_malloc_traced(void *user, duk_size_t size) {
    (void)user;
    return MT_MALLOC(size);
}
static void *duktape_realloc_traced(void *user, void *block, duk_size_t size) {
    (void)user;
    return MT_REALLOC(block, size);
}
static void duktape_free_traced(void *user, void *block) {
    (void)user;
    MT_FREE(block);
}

static duk_context *duktape;

static void duktape_begin(bool plain) {
    duktape = plain ? duk_create_heap(duktape_malloc_plain, duktape_realloc_plain,
                                      duktape_free_plain, NULL, NULL)
                    : duk_create_heap(duktape_malloc_traced, duktape_realloc_traced,
                                      duktape_free_traced, NULL, NULL);
    if (duktape == NULL || duk_peval_string_noresult(duktape, duktape_work) != 0) {
        fail("duktape: the script does not compile");
    }
}

static int64_t duktape_round(void) {
    int64_t result;
    if (duk_peval_string(duktape, "work()") != 0) {
        fail(duk_safe_to_string(duktape, -1));
    }
    result = (int64_t)duk_get_number(duktape, -1);
    duk_pop(duktape);
    return result;
}

static void duktape_end(void) {
    duk_destroy_heap(duktape);
}

/* ------------------------------------------------------------------------------ the measurement */

static const struct program {
    void (*begin)(bool plain);
    int64_t (*round)(void);
    void (*end)(void);
    int64_t expected; /* of each round, whatever the mode */
    long rounds;      /* about 300 ms with plain malloc */
} programs[] = {{lua_begin, lua_round, lua_end, 256224063284, 35},
                {sqlite_begin, sqlite_round, sqlite_end, 566159, 22},
                {duktape_begin, duktape_round, duktape_end, 1013699, 17}};

static double now_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double work(const struct program *program, bool plain, long rounds) {
    double start, end, busy;
    long i;
    program->begin(plain);
    start = now_ms(CLOCK_MONOTONIC);
    busy = now_ms(CLOCK_THREAD_CPUTIME_ID);
    for (i = 0; i < rounds; i++) {
        int64_t result = program->round();
        if (result != program->expected) {
            fprintf(stderr, "programs: the result is %lld, not %lld\n", (long long)result,
                    (long long)program->expected);
            exit(1);
        }
    }
    end = now_ms(CLOCK_MONOTONIC);
    busy = now_ms(CLOCK_THREAD_CPUTIME_ID) - busy;
    fprintf(stderr, "on a processor: %.2f ms\n", busy);
    program->end();
    return end - start;
}

/* Seven of them: with the call site, tracebacks have 8 frames. */
static mtrace_scope enter_scopes(void) {
    mtrace_scope outside = MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    MT_SCOPE_PUSH();
    return outside;
}

static uint64_t allocations(void) {
    mtrace_snapshot *snapshot;
    mtrace_snapshot_parts parts;
    uint64_t count = 0;
    size_t i;
    if (mtrace_snapshot_take(&snapshot, false, NULL) != MTRACE_OK) {
        fail("no snapshot");
    }
    parts = mtrace_snapshot_get_parts(snapshot);
    for (i = 0; i < parts.row_count; i++) {
        count += parts.rows[i].total_count;
    }
    mtrace_snapshot_free(snapshot);
    return count;
}

/* All memory went through the tracer and was freed. */
static void check_tracer(const char *program) {
    mtrace_info info = mtrace_get_info();
    const char *broken = mtrace_check();
    uint64_t count = allocations();
    if (broken != NULL) {
        fail(broken);
    }
    fprintf(stderr, "%s: allocations %llu, most blocks held %zu\n", program,
            (unsigned long long)count, info.high_water);
    if (info.dropped_count != 0 || info.live != 0 || mtrace_get_traced_memory().current != 0 ||
        info.lost_sites != 0 || info.lost_scopes != 0 || info.stale_replaced != 0 || count == 0) {
        fail("the tracer lost something");
    }
}

static double measure(int program, int mode, long rounds) {
    mtrace_desc desc = {0};
    mtrace_scope outside = {0};
    double ms;
    desc.frames = mode == DEEP ? 8 : 1;
    desc.sample_interval = mode == SAMPLED ? SAMPLE_INTERVAL : 0;
    if (mode >= TRACED && mtrace_start(&desc) != MTRACE_OK) {
        fail("mtrace_start");
    }
    outside = mode == DEEP ? enter_scopes() : outside;
    ms = work(&programs[program], mode == PLAIN, rounds);
    mtrace_scope_restore(outside);
    if (mode >= TRACED) {
        check_tracer(program_names[program]);
    }
    mtrace_stop();
    return ms;
}

static int find(const char *name, const char *const *names, int count) {
    int i;
    for (i = 0; i < count && strcmp(name, names[i]) != 0; i++) {
    }
    return i;
}

int main(int argc, char **argv) {
    int program = argc >= 3 ? find(argv[1], program_names, PROGRAMS) : PROGRAMS;
    int mode = argc >= 3 ? find(argv[2], mode_names, MODES) : MODES;
    if (argc > 4 || program == PROGRAMS || mode == MODES) {
        fputs("usage: programs lua|sqlite|duktape plain|off|traced|deep|sampled [ROUNDS]\n",
              stderr);
        return 2;
    }
    printf("%.2f\n", measure(program, mode,
                             argc == 4 ? strtol(argv[3], NULL, 10) : programs[program].rounds));
    return 0;
}

/* SQLite asks for the size of a block, so the size is kept in front of it. */

#include "middleware.h"

#include <sqlite3.h>
#include <string.h>

const char *const wrappers[] = {"sqlite_*", "sqlite3Pcache*Alloc*", NULL};
const bool has_symbols = true;

static sqlite3 *db;

/* --- for docs/MIDDLEWARE.md --- */

static void *sqlite_malloc(int size) {
    sqlite3_int64 *block = (sqlite3_int64 *)mtrace_malloc((size_t)size + 8);
    if (block == NULL) {
        return NULL;
    }
    *block = size;
    return block + 1;
}

static int sqlite_size(void *block) {
    return block == NULL ? 0 : (int)((sqlite3_int64 *)block)[-1];
}

static void sqlite_free(void *block) {
    mtrace_free((sqlite3_int64 *)block - 1);
}

static void *sqlite_realloc(void *block, int size) {
    sqlite3_int64 *larger =
        (sqlite3_int64 *)mtrace_realloc((sqlite3_int64 *)block - 1, (size_t)size + 8);
    if (larger == NULL) {
        return NULL;
    }
    *larger = size;
    return larger + 1;
}

static int sqlite_round(int size) {
    return (size + 7) & ~7;
}

static int sqlite_begin(void *user) {
    (void)user;
    return SQLITE_OK;
}

static void sqlite_end(void *user) {
    (void)user;
}

static void hook_sqlite(void) { /* before all other calls */
    static const sqlite3_mem_methods methods = {sqlite_malloc, sqlite_free,  sqlite_realloc,
                                                sqlite_size,   sqlite_round, sqlite_begin,
                                                sqlite_end,    NULL};
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

/* --- */

bool load(void) {
    hook_sqlite();
    return sqlite3_open(":memory:", &db) == SQLITE_OK &&
           sqlite3_exec(
               db,
               "create table t(a integer primary key, b text, c real);"
               "with recursive n(x) as (select 1 union all select x + 1 from n where x < 2000)"
               " insert into t select x, hex(randomblob(10)), x / 7.0 from n;"
               "create index i on t(b);"
               "select count(*), group_concat(a) from t group by a % 9;",
               NULL, NULL, NULL) == SQLITE_OK;
}

void unload(void) {
    sqlite3_close(db);
    sqlite3_shutdown();
}

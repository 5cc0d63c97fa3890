/* The cost of calls when a table is full. Does one thing COUNT times for tests/tables.sh, which
   counts the instructions.

     tables CASE COUNT

   CASE is made of words. sites-full, names-full, scopes-full, traces-full: that table is full.
   traces-half: half of it. domain, scope: the calls are inside one. stack: sites on the stack,
   without a cache. known-place: the location is known, but has no account. engine: an allocator
   that gets file and line, and each call interns its site. With engine, moved: the names are at new
   addresses. full: the table of interned sites is full. kept: each site is interned once. The
   instructions of measured() are counted: COUNT times a malloc and its free. */

#include <stdint.h>
#include <stdlib.h>

static uintptr_t next_address = 4096; /* what "malloc" gives: no allocator's instructions */
#define MTRACE_BASE_MALLOC(size)         ((void)(size), (void *)next_address)
#define MTRACE_BASE_CALLOC(count, size)  ((void)(count), (void)(size), (void *)next_address)
#define MTRACE_BASE_REALLOC(block, size) ((void)(size), (void)(block), (void *)next_address)
#define MTRACE_BASE_FREE(block)          ((void)(block))
#define MTRACE
#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <stdio.h>
#include <string.h>

enum { SITES = 4096, TRIED = 512, MOVED = 1000 };

/* Far more call sites than fit, each with a function and a type of its own. */
static mtrace_site sites[2 * SITES];
static uint64_t caches[2 * SITES];
static char names[2 * SITES][3][48];
static mtrace_desc desc;
static int first = SITES; /* of the TRIED sites that the loop uses */
static bool forgets;      /* sites on the stack: they remember nothing */
static bool in_domain, in_scope;
static bool interns, moves;
static char moved[MOVED][3][48]; /* the names of the sites that the loop uses, at other addresses */
static const mtrace_site *kept[2 * SITES];

static void make_sites(void) {
    int i;
    for (i = 0; i < 2 * SITES; i++) {
        snprintf(names[i][0], sizeof names[i][0], "source/a/long/path/module%d.cpp", i % 300);
        snprintf(names[i][1], sizeof names[i][1], "function_with_a_name%d", i);
        snprintf(names[i][2], sizeof names[i][2], "type%d", i);
        sites[i].file = names[i][0];
        sites[i].function = names[i][1];
        sites[i].type = names[i][2];
        sites[i].line = (uint32_t)i;
        sites[i].cache = &caches[i];
    }
}

static void pair(const mtrace_site *site) {
    void *block = in_domain ? mtrace_malloc_in_at(7, 64, site) : mtrace_malloc_at(64, site);
    mtrace_free_at(block, site);
}

static void see_sites(int from, int to) {
    int i;
    for (i = from; i < to; i++) {
        pair(&sites[i]);
    }
}

static void see_scopes(int from, int to) {
    int i;
    for (i = from; i < to; i++) {
        mtrace_scope_restore(mtrace_scope_push_at(&sites[i]));
    }
}

static const mtrace_site *intern(char (*name)[48], uint32_t line) {
    mtrace_site site = {name[0], name[1], name[2], line, NULL};
    return mtrace_site_intern(&site);
}

static void intern_sites(int from, int to) {
    int i;
    for (i = from; i < to; i++) {
        kept[i] = intern(names[i], (uint32_t)i);
    }
}

static void move_names(void) {
    int i;
    for (i = 0; i < MOVED; i++) {
        memcpy(moved[i], names[first + i % TRIED], sizeof moved[i]);
    }
}

/* An engine's allocator: its arguments are the file and the line. */
static void once_of_engine(int i) {
    int at = first + i % TRIED;
    if (interns) {
        pair(intern(moves ? moved[i % MOVED] : names[at], (uint32_t)at));
    } else {
        pair(kept[at]);
    }
}

static void once_of_program(int i) {
    const mtrace_site *site = &sites[first + i % TRIED];
    mtrace_site forgetful = *site;
    mtrace_scope way = MTRACE_ZERO_;
    forgetful.cache = NULL;
    site = forgets ? &forgetful : site;
    if (in_scope) {
        way = mtrace_scope_push_at(site);
    }
    pair(site);
    if (in_scope) {
        mtrace_scope_restore(way);
    }
}

static void (*once)(int i) = once_of_program;

static void see_tried(void) {
    int i;
    for (i = 0; i < TRIED; i++) {
        once(i);
    }
}

static bool is(const char *name, const char *part) {
    return strstr(name, part) != NULL;
}

static void fill_traces(int percent) {
    int i, slots = (int)mtrace_get_info().capacity;
    for (i = 0; i < slots * percent / 100; i++) {
        mtrace_track_at(0, ((uintptr_t)i * 2654435761u % 1000003u) << 16, 1, &sites[0]);
    }
}

__attribute__((noinline)) void measured(int count, uintptr_t apart);
void measured(int count, uintptr_t apart) {
    int i;
    for (i = 0; i < count; i++) {
        next_address += apart;
        once(i);
    }
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    int count = argc > 2 ? atoi(argv[2]) : 0;
    make_sites();
    desc.borrow_names = !is(name, "names-full");
    desc.name_bytes = is(name, "names-full") ? 1024 : 0;
    desc.max_sites = is(name, "sites-full") ? SITES : 3 * SITES;
    desc.max_blocks = 2048;
    desc.frames = is(name, "scope") || is(name, "known-place") ? 4 : 1;
    desc.max_scopes = is(name, "scopes-full") ? 512 : 0;
    in_domain = is(name, "domain");
    forgets = is(name, "stack");
    once = is(name, "engine") || is(name, "kept") ? once_of_engine : once_of_program;
    interns = is(name, "engine");
    if (mtrace_start(&desc) != MTRACE_OK) {
        return 1;
    }
    intern_sites(0, is(name, "engine-full") ? SITES : 0);
    intern_sites(first, first + (is(name, "engine-full") ? 0 : TRIED));
    move_names();
    see_sites(0, SITES);
    see_scopes(0, is(name, "scopes-full") ? 512 : 0);
    in_scope = is(name, "scope");
    see_scopes(first, first + (is(name, "known-place") ? TRIED : 0));
    fill_traces(is(name, "traces-full") ? 110 : is(name, "traces") ? 50 : 0);
    next_address = (uintptr_t)1 << 40;
    see_tried();
    moves = is(name, "moved");
    measured(count, is(name, "traces") ? (uintptr_t)1 << 16 : 0);
    return 0;
}

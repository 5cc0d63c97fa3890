/* host PLUGIN one|two host|plugin: a program with an implementation that loads a plugin. There must
   be one tracer, or two that are independent, in either order of the starts. Every answer below
   shows which. */

#ifndef HOST_USES_A_LIBRARY
#define MTRACE_IMPLEMENTATION
#endif
#include "plugin.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("line %d: %s\n", __LINE__, #condition);                                         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { HOST_DOMAIN = 7, OTHERS = 9 };

static const plugin_calls *p;
static bool one;
static char text[16384];

static void append(const char *more, size_t length, void *user) {
    size_t used = strlen(text);
    (void)user;
    CHECK(used + length < sizeof text);
    memcpy(text + used, more, length);
}

static void hear(const mtrace_event *event, void *user) {
    *(uint64_t *)user += event->allocated_size;
}

static uint64_t held(void) {
    return mtrace_get_traced_memory().current;
}

/* Of a block that the host made, or the plugin, in the tracer that should know it, and in the
 * other. */
static mtrace_block look(const void *block, bool of_plugin) {
    mtrace_block here = MTRACE_ZERO_, there = MTRACE_ZERO_;
    mtrace_result known_here = mtrace_find(&here, block), known_there = p->find(block, &there);
    CHECK((known_here == MTRACE_OK) == (one || !of_plugin));
    CHECK((known_there == MTRACE_OK) == (one || of_plugin));
    return of_plugin ? there : here;
}

static void start_both(bool host_first) {
    CHECK((host_first ? mtrace_start(NULL) : p->start()) == MTRACE_OK);
    CHECK((host_first ? p->start() : mtrace_start(NULL)) == (one ? MTRACE_ERR_ALREADY : MTRACE_OK));
}

/* The host's tracer has seen other call sites by then, so that the numbers of accounts differ. */
static void sums(void) {
    void *a = MT_MALLOC(1000), *b = p->make(2000), *c;
    CHECK(held() == (one ? 3000 : 1000) && p->held() == (one ? 3000 : 2000));
    CHECK(look(b, true).line == p->line && look(b, true).size == 2000);
    CHECK(look(a, false).size == 1000);
    c = p->make(77);
    CHECK(look(c, true).line == INLINE_LINE);
    p->drop(c);
    c = make_inline(77);
    CHECK(look(c, false).line == INLINE_LINE);
    MT_FREE(c);
    MT_FREE(a);
    p->drop(b);
    CHECK(held() == 0 && p->held() == 0);
}

/* One call site in both tracers by turns: neither takes the other's number for its own. */
static void shared_sites(void) {
    static uint64_t caches[3];
    static const mtrace_site sites[3] = {{"a.c", "f", NULL, 501, &caches[0]},
                                         {"b.c", "g", NULL, 502, &caches[1]},
                                         {"c.c", "h", NULL, 503, &caches[2]}};
    uint32_t i;
    for (i = 0; i < 12; i++) {
        const mtrace_site *site = &sites[i * 5 % 3];
        bool of_plugin = i % 2 == 1;
        void *block = of_plugin ? p->make_at(10, site) : mtrace_malloc_at(10, site);
        mtrace_block found = look(block, of_plugin);
        CHECK(found.line == site->line && strcmp(found.file, site->file) == 0);
        of_plugin ? p->drop(block) : MT_FREE(block);
    }
}

static void scopes(void) {
    mtrace_scope before = MT_SCOPE_PUSH_IN(HOST_DOMAIN);
    void *block = p->make(5);
    CHECK(look(block, true).domain == (one ? HOST_DOMAIN : 0));
    p->drop(block);
    MT_SCOPE_POP(before);
    before = p->enter();
    block = MT_MALLOC(5);
    CHECK(look(block, false).domain == (one ? PLUGIN_DOMAIN : 0));
    MT_FREE(block);
    block = p->make(5);
    CHECK(look(block, true).domain == PLUGIN_DOMAIN);
    p->drop(block);
    p->leave(before);
    block = MT_MALLOC(5);
    CHECK(look(block, false).domain == 0);
    MT_FREE(block);
}

static void observers(void) {
    uint64_t heard = 0;
    mtrace_observer observer, none = MTRACE_ZERO_;
    observer.call = hear;
    observer.user = &heard;
    mtrace_set_observer(observer);
    MT_FREE(MT_MALLOC(100));
    p->drop(p->make(200));
    mtrace_set_observer(none);
    CHECK(heard == (one ? 300 : 100));
}

static void *make_two(void *unused) {
    p->drop(p->make(20));
    MT_FREE(MT_MALLOC(10));
    return unused;
}

static void measurements(void) {
    mtrace_usage usage;
    CHECK(p->measure(make_two, &usage) == MTRACE_OK);
    CHECK(usage.allocations == (one ? 2 : 1) && usage.peak - usage.before == 20);
}

static void in_profile(void) {
    MT_PROFILE();
    p->profiled();
}

static void profiles(void) {
    mtrace_profile_desc desc = MTRACE_ZERO_;
    desc.report.write = append;
    text[0] = '\0';
    CHECK(mtrace_profile_start(&desc) == MTRACE_OK);
    in_profile();
    p->profiled();
    mtrace_profile_stop();
    CHECK(mtrace_profile_report(&desc.report) == MTRACE_OK);
    CHECK(strstr(text, "in_profile") != NULL);
    CHECK((strstr(text, "plugin.c") != NULL) == one);
}

static void recorders(void) {
    mtrace_recorder_desc desc = MTRACE_ZERO_;
    desc.no_thread = true;
    CHECK(mtrace_recorder_start(&desc) == MTRACE_OK);
    CHECK(p->is_recording() == one);
    mtrace_recorder_stop();
    mtrace_recorder_free();
}

static void *all(void *unused) {
    sums();
    shared_sites();
    scopes();
    observers();
    return unused;
}

static void report(void) {
    mtrace_snapshot *snapshot;
    mtrace_rows *rows;
    mtrace_report_desc desc = MTRACE_ZERO_;
    desc.write = append;
    text[0] = '\0';
    CHECK(mtrace_snapshot_take(&snapshot, true, NULL) == MTRACE_OK);
    CHECK(mtrace_snapshot_statistics(&rows, snapshot, MTRACE_BY_LINE, NULL) == MTRACE_OK);
    CHECK(mtrace_report(rows, &desc) == MTRACE_OK);
    mtrace_rows_free(rows);
    mtrace_snapshot_free(snapshot);
}

int main(int argc, char **argv) {
    void *library = argc == 4 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    void *symbol = library != NULL ? dlsym(library, "plugin") : NULL;
    const plugin_calls *(*entry)(void);
    pthread_t thread;
    void *left;
    if (symbol == NULL) {
        puts(dlerror());
        return 1;
    }
    memcpy(&entry, &symbol, sizeof entry);
    p = entry();
    one = strcmp(argv[2], "one") == 0;
    start_both(strcmp(argv[3], "host") == 0);
    for (uint32_t i = 0; i < OTHERS; i++) {
        mtrace_site site = {"others.c", NULL, NULL, 0, 0};
        site.line = i;
        mtrace_free_at(mtrace_malloc_at(1, &site), &site);
    }
    all(NULL);
    CHECK(pthread_create(&thread, NULL, all, NULL) == 0 && pthread_join(thread, NULL) == 0);
    all(NULL);
    measurements();
    profiles();
    recorders();
    CHECK(mtrace_get_info().foreign_frees == 0 && p->foreign() == 0);
    CHECK(mtrace_check() == NULL && p->check() == NULL);
    left = p->make_at(30, NULL);
    CHECK(left != NULL);
    CHECK(dlclose(library) == 0);
    report();
    CHECK((strstr(text, "<unknown>") != NULL) == one);
    mtrace_stop();
    puts("fine");
    return 0;
}

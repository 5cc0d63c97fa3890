/* What must compile in C without a warning, with MTRACE and without. */

#include "inline.h"

extern inline void *inline_new(size_t size);

char *commas_in_text(void) {
    return MT_STRDUP((char[]){'a', 'b', 0});
}

void *commas_in_types(size_t count) {
    MT_FREE(MT_NEW(struct { int a, b; }));
    return MT_NEW_ARRAY(
        struct { int a, b, c, d; }, count);
}

int (*array_types(void))[4] {
    int(*one)[4] = MT_NEW(int[4]);
    MT_FREE(one);
    one = MT_NEW_IN(3, int[4]);
    MT_FREE(one);
    return MT_NEW_ARRAY(int[4], 3);
}

#define BEGIN_JOB(domain)                                                                          \
    MT_SCOPE();                                                                                    \
    MT_SCOPE_IN(domain);                                                                           \
    MT_PROFILE();                                                                                  \
    MT_PROFILE_LIMIT(9)
void *two_scopes_in_a_line(void) {
    BEGIN_JOB(2u);
    return MT_MALLOC(2);
}

void an_expression(int k) {
    (void)(k ? MT_ASSERT_NO_GROWTH(NULL, 0) : (void)0);
    if (k)
        MT_ASSERT_NO_GROWTH(NULL, 0);
    else
        MT_ASSERT_NO_GROWTH(NULL, 1);
}

struct hooks {
    void *(*malloc_fn)(size_t);
    void *(*calloc_fn)(size_t, size_t);
    void *(*realloc_fn)(void *, size_t);
    void (*free_fn)(void *);
};
const struct hooks hooks = {mtrace_malloc, mtrace_calloc, mtrace_realloc, mtrace_free};

void *described(const char *file, unsigned line) {
    mtrace_print(&(mtrace_print_desc){.key_type = MTRACE_BY_FILE, .report.top = 10});
    return mtrace_malloc_at(9, mtrace_site_intern(&(mtrace_site){.file = file, .line = line}));
}

struct bits {
    unsigned bits : 3;
};
void keys(const void *pointer, short number, const struct bits *b, uintptr_t key) {
    char array[99];
    (void)MT_TRACK(1, pointer, 8);
    (void)MT_TRACK(1, array, sizeof array);
    (void)MT_TRACK(1, (unsigned short)number, 8);
    (void)MT_TRACK(1, b->bits, 8);
    (void)MT_TRACK(1, key++, 8);
    (void)MT_UNTRACK(1, key++);
}

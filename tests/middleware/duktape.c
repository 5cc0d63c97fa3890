/* Duktape takes three functions with a pointer of the user's, as mtrace has them. */

#include "middleware.h"

#include <duktape.h>

const char *const wrappers[] = {NULL};
const bool has_symbols = false;

static duk_context *js;

/* --- for docs/MIDDLEWARE.md --- */

static void open_duktape(void) {
    js = duk_create_heap(mtrace_hook_malloc, mtrace_hook_realloc, mtrace_hook_free, NULL, NULL);
}

/* --- */

bool load(void) {
    open_duktape();
    return duk_peval_string(js, "var names = [], points = [];\n"
                                "for (var i = 0; i < 500; i++) {\n"
                                "  names.push('name ' + i);\n"
                                "  points.push({x: i, y: function() { return i; }});\n"
                                "}\n"
                                "names.join(' ').length;\n") == 0;
}

void unload(void) {
    duk_destroy_heap(js);
}

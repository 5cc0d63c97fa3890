/* libxml2 takes four functions, with strdup. */

#include "middleware.h"

#include <libxml/parser.h>
#include <libxml/xmlmemory.h>
#include <string.h>

const char *const wrappers[] = {"xml_strdup", "xmlStrdup", "xmlStrndup", "xmlBuf*", NULL};
const bool has_symbols = true;

static xmlDocPtr document;

/* --- for docs/MIDDLEWARE.md --- */

static char *xml_strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = (char *)mtrace_malloc(size);
    return copy == NULL ? NULL : (char *)memcpy(copy, text, size);
}

static void hook_libxml2(void) { /* before all other calls */
    xmlMemSetup(mtrace_free, mtrace_malloc, mtrace_realloc, xml_strdup);
}

/* --- */

bool load(void) {
    char text[8000] = "<scene>";
    size_t at = strlen(text);
    int i;
    for (i = 0; i < 100; i++) {
        at += (size_t)sprintf(text + at, "<thing id='%d'><name>a name, %d</name></thing>", i, i);
    }
    strcpy(text + at, "</scene>");
    hook_libxml2();
    document = xmlReadMemory(text, (int)strlen(text), "scene.xml", NULL, 0);
    return document != NULL;
}

void unload(void) {
    xmlFreeDoc(document);
    xmlCleanupParser();
}

/* Expat takes the three functions for each parser. */

#include "middleware.h"

#include <expat.h>
#include <string.h>

const char *const wrappers[] = {"poolGrow", "poolStoreString", "poolAppend", NULL};
const bool has_symbols = true;

static XML_Parser parser;

/* --- for docs/MIDDLEWARE.md --- */

static void open_expat(void) {
    static const XML_Memory_Handling_Suite hooks = {mtrace_malloc, mtrace_realloc, mtrace_free};
    parser = XML_ParserCreate_MM(NULL, &hooks, NULL);
}

/* --- */

bool load(void) {
    static const char text[] =
        "<!DOCTYPE scene [<!ENTITY e 'an entity'><!ATTLIST thing kind CDATA 'none'>]>"
        "<scene><thing id='1'>a name</thing><thing id='2' kind='x'>&e;</thing>";
    char long_text[4000];
    open_expat();
    memset(long_text, 'x', sizeof long_text);
    return XML_Parse(parser, text, (int)strlen(text), 0) == XML_STATUS_OK &&
           XML_Parse(parser, long_text, sizeof long_text, 0) == XML_STATUS_OK;
}

void unload(void) {
    XML_ParserFree(parser);
}

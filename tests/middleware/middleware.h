/* A library through its hooks. middleware.c has the program, the other files a library each. */
#ifndef MIDDLEWARE_H
#define MIDDLEWARE_H
#include "mtrace_ext.h"

#include <stdbool.h>

/* Functions that allocate for others, besides the defaults: the hooks and the library's own. The
   list ends with NULL. */
extern const char *const wrappers[];

/* Does Debian's library have the names of all functions? If not, it has those that it exports. */
extern const bool has_symbols;

/* Lets the library allocate something and keep it. True: it did. */
bool load(void);
/* Frees it. */
void unload(void);
#endif

/* Loads a plugin in C++, calls it, and unloads it, twice. Then it is gone, and nothing is left. */
#include "mtrace_ext.h"

#include <dlfcn.h>
#include <stdio.h>

static int fails(const char *what) {
    printf("%s\n", what);
    return 1;
}

int main(int argc, char **argv) {
    int i;
    if (argc != 2 || mtrace_start(NULL) != MTRACE_OK) {
        return fails("no start");
    }
    for (i = 0; i < 2; i++) {
        void *plugin = dlopen(argv[1], RTLD_NOW),
             *symbol = plugin == NULL ? NULL : dlsym(plugin, "run");
        int (*run)(void);
        memcpy(&run, &symbol, sizeof run);
        if (symbol == NULL || run() != 0) {
            return fails("the plugin does not run");
        }
        dlclose(plugin);
        if (dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) != NULL) {
            return fails("the plugin is still loaded");
        }
    }
    return mtrace_get_traced_memory().current == 0 && mtrace_get_info().foreign_frees == 0
               ? 0
               : fails("something is left");
}

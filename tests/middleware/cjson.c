/* cJSON takes malloc and free. Its realloc stays unused with hooks. */

#include "middleware.h"

#include <cjson/cJSON.h>

const char *const wrappers[] = {NULL};
const bool has_symbols = false;

static cJSON *scene;
static char *text;

/* --- for docs/MIDDLEWARE.md --- */

static void hook_cjson(void) {
    cJSON_Hooks hooks = {mtrace_malloc, mtrace_free};
    cJSON_InitHooks(&hooks);
}

/* --- */

bool load(void) {
    int i;
    hook_cjson();
    scene =
        cJSON_Parse("{\"name\": \"a name\", \"at\": [1, 2, 3], \"size\": {\"x\": 1, \"y\": 2}}");
    for (i = 0; i < 100; i++) {
        cJSON_AddItemToArray(cJSON_GetObjectItem(scene, "at"), cJSON_CreateNumber(i));
        cJSON_AddItemToObject(scene, "key", cJSON_CreateString("some text"));
    }
    text = cJSON_Print(scene);
    return scene != NULL && text != NULL;
}

void unload(void) {
    cJSON_free(text);
    cJSON_Delete(scene);
}

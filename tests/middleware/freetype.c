/* FreeType counts in long, so its hooks are functions of yours. They pass their callers' stack. */

#include "middleware.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_MODULE_H
#include FT_SYSTEM_H

const char *const wrappers[] = {"freetype_*", "ft_mem_*alloc", "ft_mem_dup", NULL};
const bool has_symbols = true;

static FT_Library library;
static FT_Face face;

/* --- for docs/MIDDLEWARE.md --- */

static void *freetype_malloc(FT_Memory memory, long size) {
    (void)memory;
    return mtrace_malloc((size_t)size);
}

static void freetype_free(FT_Memory memory, void *block) {
    (void)memory;
    mtrace_free(block);
}

static void *freetype_realloc(FT_Memory memory, long old_size, long size, void *block) {
    (void)memory;
    (void)old_size;
    return mtrace_realloc(block, (size_t)size);
}

static struct FT_MemoryRec_ memory = {NULL, freetype_malloc, freetype_free, freetype_realloc};

static bool open_freetype(void) {
    if (FT_New_Library(&memory, &library) != 0) {
        return false;
    }
    FT_Add_Default_Modules(library);
    return true;
}

/* --- */

bool load(void) {
    const char *c;
    if (!open_freetype() ||
        FT_New_Face(library, "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", 0, &face) != 0 ||
        FT_Set_Pixel_Sizes(face, 0, 48) != 0) {
        return false;
    }
    for (c = "some text"; *c != 0; c++) {
        if (FT_Load_Char(face, (FT_ULong)*c, FT_LOAD_RENDER) != 0) {
            return false;
        }
    }
    return true;
}

void unload(void) {
    FT_Done_Face(face);
    FT_Done_Library(library);
}

/* A game changes its level. The reports show the lines that hold the memory, the effect of the
   change, and the memory left behind. stb_truetype bakes fonts into atlas pages, and stb_image
   decodes images. Both allocate through mtrace, so reports show their lines as well as this file's.

       asset_load LEVEL1_FILES... -- LEVEL2_FILES...        (.ttf is a font, all else an image)

   unload_font forgets to free something. The last report finds it. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STBTT_malloc(size, user) ((void)(user), MT_MALLOC(size))
#define STBTT_free(block, user)  ((void)(user), MT_FREE(block))
#define STB_TRUETYPE_IMPLEMENTATION
#include <stb/stb_truetype.h>

#define STBI_MALLOC(size)         MT_MALLOC(size)
#define STBI_REALLOC(block, size) MT_REALLOC(block, size)
#define STBI_FREE(block)          MT_FREE(block)
#define STBI_NO_STDIO
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

/* ---------------------------------------------------------------------------------- the assets */

enum { PAGE_SIDE = 512, PAGES = 3, TEXT_HEIGHT = 24 };

static const struct {
    int first, count;
} scripts[PAGES] = {{0x20, 0x160}, {0x370, 0x90}, {0x400, 0x100}}; /* Latin, Greek, Cyrillic */

typedef struct page {
    unsigned char *pixels;
    stbtt_packedchar *glyphs;
} page;

typedef struct font {
    unsigned char *file;
    stbtt_kerningentry *kerning; /* pairs of glyphs that are set closer */
    int kerning_count;
    page pages[PAGES];
} font;

typedef struct image {
    unsigned char *pixels;
    int width, height;
} image;

typedef struct level {
    font *fonts;
    image *images;
    size_t font_count, image_count;
} level;

static void fail(const char *what, const char *path) {
    fprintf(stderr, "asset_load: %s: %s\n", path, what);
    exit(1);
}

static unsigned char *read_file(const char *path, int *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        fail("cannot open", path);
    }
    *size = (int)ftell(file);
    rewind(file);
    unsigned char *bytes = MT_MALLOC((size_t)*size);
    if (bytes == NULL || fread(bytes, 1, (size_t)*size, file) != (size_t)*size) {
        fail("cannot read", path);
    }
    fclose(file);
    return bytes;
}

static void bake_page(page *p, const font *f, int first, int count, const char *path) {
    stbtt_pack_context context;
    p->pixels = MT_MALLOC(PAGE_SIDE * PAGE_SIDE);
    p->glyphs = MT_NEW_ARRAY(stbtt_packedchar, (size_t)count);
    if (!stbtt_PackBegin(&context, p->pixels, PAGE_SIDE, PAGE_SIDE, 0, 1, NULL) ||
        !stbtt_PackFontRange(&context, f->file, 0, TEXT_HEIGHT, first, count, p->glyphs)) {
        fail("cannot bake", path);
    }
    stbtt_PackEnd(&context);
}

static void load_font(font *f, const char *path) {
    int size;
    stbtt_fontinfo info;
    f->file = read_file(path, &size);
    if (!stbtt_InitFont(&info, f->file, 0)) {
        fail("not a font", path);
    }
    for (int i = 0; i < PAGES; i++) {
        bake_page(&f->pages[i], f, scripts[i].first, scripts[i].count, path);
    }
    f->kerning_count = stbtt_GetKerningTableLength(&info);
    f->kerning = MT_NEW_ARRAY(stbtt_kerningentry, (size_t)f->kerning_count); /* the leak */
    stbtt_GetKerningTable(&info, f->kerning, f->kerning_count);
}

static void unload_font(font *f) {
    for (int i = 0; i < PAGES; i++) {
        MT_FREE(f->pages[i].glyphs);
        MT_FREE(f->pages[i].pixels);
    }
    MT_FREE(f->file);
}

static void load_image(image *i, const char *path) {
    int size, channels;
    unsigned char *file = read_file(path, &size);
    i->pixels = stbi_load_from_memory(file, size, &i->width, &i->height, &channels, 4);
    if (i->pixels == NULL) {
        fail(stbi_failure_reason(), path);
    }
    MT_FREE(file);
}

/* -------------------------------------------------------------------------------------- levels */

static void load_level(level *l, char **paths, size_t count) {
    memset(l, 0, sizeof *l);
    for (size_t i = 0; i < count; i++) {
        const char *ending = strrchr(paths[i], '.');
        if (ending != NULL && strcmp(ending, ".ttf") == 0) {
            l->fonts = MT_REALLOCARRAY(l->fonts, l->font_count + 1, sizeof *l->fonts);
            load_font(&l->fonts[l->font_count++], paths[i]);
        } else {
            l->images = MT_REALLOCARRAY(l->images, l->image_count + 1, sizeof *l->images);
            load_image(&l->images[l->image_count++], paths[i]);
        }
    }
}

static void unload_level(level *l) {
    for (size_t i = 0; i < l->font_count; i++) {
        unload_font(&l->fonts[i]);
    }
    for (size_t i = 0; i < l->image_count; i++) {
        stbi_image_free(l->images[i].pixels);
    }
    MT_FREE(l->fonts);
    MT_FREE(l->images);
}

static mtrace_snapshot *take_snapshot(void) {
    mtrace_snapshot *snapshot;
    mtrace_snapshot_take(&snapshot, false, NULL);
    return snapshot; /* NULL if that failed: calls that get it say so */
}

int main(int argc, char **argv) {
    int middle = 1;
    while (middle < argc && strcmp(argv[middle], "--") != 0) {
        middle++;
    }
    if (middle >= argc - 1) {
        fputs("usage: asset_load LEVEL1_FILES... -- LEVEL2_FILES...\n", stderr);
        return 2;
    }

    level now;
    mtrace_start(NULL);
    mtrace_snapshot *before = take_snapshot();

    load_level(&now, argv + 1, (size_t)(middle - 1));
    puts("== Level 1 is loaded: the lines that hold the most");
    mtrace_print_top(10);
    mtrace_snapshot *level1 = take_snapshot();

    unload_level(&now);
    mtrace_snapshot *unloaded = take_snapshot();

    load_level(&now, argv + middle + 1, (size_t)(argc - middle - 1));
    puts("\n== Level 2 is loaded: what changed since level 1");
    mtrace_print_diff(level1, 10);

    puts("\n== Level 1 was unloaded: the lines that hold more than before it was loaded");
    mtrace_rows *leaks;
    mtrace_report_desc warnings = {.style = MTRACE_STYLE_WARNINGS};
    mtrace_result result =
        mtrace_snapshot_compare_to(&leaks, unloaded, before, MTRACE_BY_LINE, NULL);
    if (result == MTRACE_OK) {
        mtrace_report(leaks, &warnings);
    } else {
        puts(mtrace_result_text(result));
    }

    mtrace_rows_free(leaks);
    mtrace_snapshot_free(unloaded);
    mtrace_snapshot_free(level1);
    mtrace_snapshot_free(before);
    unload_level(&now);
    mtrace_stop();
    return 0;
}

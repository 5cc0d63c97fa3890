/* Looking at a part: filters that include and exclude, by file, type, domain and caller. */

#define MTRACE_IMPLEMENTATION
#include "mtrace.h"
#include "string_builder.h"

#include <stdio.h>

enum { HEAP = 0, TEXTURES = 1 };

typedef struct box {
    float x, y, width, height;
} box;

typedef struct page {
    box *boxes;
    uint8_t *texture;
    string_builder html, style;
} page;

static void write_style(page *p) {
    MT_SCOPE(); /* a frame in the tracebacks of what is allocated from here */
    for (int i = 0; i < 100; i++) {
        builder_add(&p->style, "p { margin: 0 }\n");
    }
}

static void render(page *p) {
    p->boxes = MT_NEW_ARRAY(box, 300);
    p->texture = MT_MALLOC_IN(TEXTURES, 128 * 128);
    for (int i = 0; i < 300; i++) {
        builder_add(&p->html, "<p>A paragraph.</p>\n");
    }
    write_style(p);
}

static const struct {
    const char *title;
    size_t count;
    mtrace_filter filters[2];
} looks[] = {
    {"all", 0, {{.line = 0}}},
    {"the string builder", 1, {{.file = "*string_builder.h"}}},
    {"not the string builder", 1, {{.exclusive = true, .file = "*string_builder.h"}}},
    {"boxes", 1, {{.type = "box"}}},
    {"textures", 1, {{.has_domain = true, .domain = TEXTURES}}},
    {"what write_style calls for", 1, {{.function = "write_style", .all_frames = true}}},
    {"the heap without that",
     2,
     {{.has_domain = true, .domain = HEAP},
      {.exclusive = true, .function = "write_style", .all_frames = true}}},
};

static void look(const mtrace_snapshot *all, const mtrace_filter *filters, size_t count) {
    const mtrace_report_desc python = {.style = MTRACE_STYLE_PYTHON};
    mtrace_snapshot *part;
    mtrace_rows *rows = NULL;
    if (mtrace_snapshot_filter(&part, all, filters, count, NULL) == MTRACE_OK &&
        mtrace_snapshot_statistics(&rows, part, MTRACE_BY_LINE, NULL) == MTRACE_OK) {
        mtrace_report(rows, &python);
    }
    mtrace_rows_free(rows);
    mtrace_snapshot_free(part);
}

int main(void) {
    const mtrace_desc desc = {.frames = 8};
    page p = {NULL, NULL, {NULL, 0, 0}, {NULL, 0, 0}};
    mtrace_snapshot *all;
    mtrace_start(&desc);
    render(&p);
    mtrace_snapshot_take(&all, false, NULL);
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        printf("%s\n", looks[i].title);
        look(all, looks[i].filters, looks[i].count);
    }
    mtrace_snapshot_free(all);
    builder_free(&p.style);
    builder_free(&p.html);
    MT_FREE(p.texture);
    MT_FREE(p.boxes);
    mtrace_stop();
    return 0;
}

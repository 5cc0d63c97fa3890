/* Memory over time: a game loads two levels and plays some frames of each while a recorder runs.
   Three functions are also profiled line by line. timeline FOLDER writes the recording to
   timeline.dat, .json, .csv and .svg in FOLDER. */

#define MTRACE_IMPLEMENTATION
#include "mtrace_ext.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { TEXTURES = 1, AUDIO = 2, ENEMIES = 24, FRAMES = 40 };

typedef struct level {
    void *map;
    void *textures[6];
    void *music;
    void *enemies[ENEMIES];
} level;

/* Stands for work with real files and a display. */
static void work(unsigned ms) {
    clock_t end = clock() + (clock_t)ms * (CLOCKS_PER_SEC / 1000);
    while (clock() < end) {
    }
}

/* Decoding needs twice the texture for a moment. */
static void *load_texture(size_t size) {
    MT_PROFILE(); /* measured line by line, and a bracket under the curve */
    void *packed = MT_MALLOC(size), *texture = MT_MALLOC_IN(TEXTURES, size);
    if (packed != NULL && texture != NULL) {
        memset(packed, 1, size);
        memcpy(texture, packed, size);
    }
    work(14);
    MT_FREE(packed);
    return texture;
}

static void load_level(level *l, unsigned number) {
    MT_PROFILE();
    size_t i;
    l->map = MT_CALLOC(number, 300000);
    work(25);
    for (i = 0; i < 6; i++) {
        l->textures[i] = load_texture(number * 100000 + i * 40000);
    }
    l->music = MT_MALLOC_IN(AUDIO, 450000);
    work(20);
}

static void play(level *l) {
    MT_PROFILE();
    size_t frame;
    for (frame = 0; frame < FRAMES; frame++) {
        void *list = MT_MALLOC(20000 + frame % 5 * 60000); /* of what is to be drawn */
        if (frame < ENEMIES) {
            l->enemies[frame] = MT_MALLOC(16000);
        }
        work(5);
        MT_FREE(list);
    }
}

static void unload(level *l) {
    size_t i;
    for (i = 0; i < ENEMIES; i++) {
        MT_FREE(l->enemies[i]);
    }
    for (i = 0; i < 6; i++) {
        MT_FREE(l->textures[i]);
    }
    MT_FREE(l->music);
    MT_FREE(l->map);
}

static int save(const char *folder, const char *ending, mtrace_recorder_format format) {
    char path[4096];
    mtrace_result result;
    snprintf(path, sizeof path, "%s/timeline.%s", folder, ending);
    result = mtrace_recorder_save(format, path);
    if (result != MTRACE_OK && result != MTRACE_ERR_COMPILED_OUT) {
        fprintf(stderr, "%s: %s\n", path, mtrace_result_text(result));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    static const uint32_t domains[] = {TEXTURES, AUDIO};
    mtrace_filter enemies = MTRACE_ZERO_;
    mtrace_recorder_desc desc = MTRACE_ZERO_;
    level l;
    unsigned number;
    int errors = 0;

    enemies.function = "play";
    desc.interval = 2; /* ms; a program that runs longer is content with the default, 100 */
    desc.domains = domains;
    desc.domain_count = 2;
    desc.sites = &enemies;
    desc.site_count = 1;
    mtrace_start(NULL);
    mtrace_name_domain(TEXTURES, "textures");
    mtrace_name_domain(AUDIO, "audio");
    mtrace_profile_start(NULL);
    mtrace_recorder_start(&desc);
    for (number = 1; number <= 2; number++) {
        memset(&l, 0, sizeof l);
        load_level(&l, number);
        mtrace_recorder_mark(number == 1 ? "level 1 loaded" : "level 2 loaded");
        play(&l);
        mtrace_recorder_mark("game over");
        unload(&l);
        work(20);
    }
    mtrace_recorder_stop();
    mtrace_profile_stop();

    mtrace_recorder_write(MTRACE_RECORDER_SPARKLINE, mtrace_write_file, stdout);
    mtrace_recorder_write(MTRACE_RECORDER_PLOT, mtrace_write_file, stdout);
    mtrace_profile_report(NULL);
    if (argc > 1) {
        errors += save(argv[1], "dat", MTRACE_RECORDER_DAT);
        errors += save(argv[1], "json", MTRACE_RECORDER_CHROME);
        errors += save(argv[1], "csv", MTRACE_RECORDER_CSV);
        errors += save(argv[1], "svg", MTRACE_RECORDER_SVG);
    }
    mtrace_recorder_free();
    mtrace_stop();
    return errors != 0;
}

/* Levels at edge sizes: nothing, one frame, one frame at a time, growth past the first room, clones. */
#include "levels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(c)                                                                                             \
    if (!(c)) return printf("%s:%d: %s\n", __FILE__, __LINE__, #c), 1

enum { FRAMES = 60000 };

int main(void) {
    static float x[2][FRAMES];
    static aur_levels_result whole, pieces;
    const float *const in[2] = {x[0], x[1]};
    const double rates[] = {8000.0, 11025.0, 44100.0, 384000.0};
    aur_levels *a, *b;
    CHECK(aur_levels_create(7999.0, &a) == AUR_EINVAL);
    CHECK(aur_levels_create(NAN, &a) == AUR_EINVAL);
    aur_levels_destroy(NULL);

    srand(1);
    for (int i = 0; i < FRAMES; i++)
        for (int c = 0; c < 2; c++) {
            const float v = 2.0f * (float)rand() / (float)RAND_MAX - 1.0f;
            x[c][i] = v > 0.3f ? 0.3f : v;
        }
    x[0][7] = 3e38f;
    for (size_t k = 0; k < sizeof rates / sizeof *rates; k++) {
        CHECK(aur_levels_create(rates[k], &a) == AUR_OK);
        CHECK(aur_levels_process(a, in, in, 0) == AUR_OK);
        aur_levels_finish(a, &whole);
        CHECK(whole.crest_db == 0.0 && whole.silence_ratio == 1.0 && whole.phase_correlation == 1.0);
        CHECK(aur_levels_process(a, in, in, 1) == AUR_OK);
        CHECK(aur_levels_clone(a, &b) == AUR_OK);
        for (size_t i = 1; i < FRAMES; i++) {
            const float *const at[2] = {x[0] + i, x[1] + i};
            CHECK(aur_levels_process(b, at, at, 1) == AUR_OK);
        }
        const float *const rest[2] = {x[0] + 1, x[1] + 1};
        CHECK(aur_levels_process(a, rest, rest, FRAMES - 1) == AUR_OK);
        aur_levels_finish(a, &whole);
        aur_levels_finish(b, &pieces);
        CHECK(memcmp(&whole, &pieces, sizeof whole) == 0);
        CHECK(isfinite(whole.crest_db) && isfinite(whole.peak_consistency));
        aur_levels_reset(a);
        aur_levels_finish(a, &whole);
        CHECK(whole.frames == 0 && whole.histogram[2047] == 0);
        aur_levels_destroy(a);
        aur_levels_destroy(b);
    }

    /* 20 minutes: more than the room there is from the start. */
    CHECK(aur_levels_create(8000.0, &a) == AUR_OK);
    for (int i = 0; i < 160; i++)
        CHECK(aur_levels_process(a, in, in, FRAMES) == AUR_OK);
    CHECK(aur_levels_process(a, in, in, SIZE_MAX) == AUR_ENOMEM);
    aur_levels_finish(a, &whole);
    CHECK(whole.frames == (uint64_t)160 * FRAMES && isfinite(whole.crest_db));
    aur_levels_destroy(a);
    return 0;
}

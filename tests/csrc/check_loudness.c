/* Loudness at edge sizes: nothing, one frame, growth past the first room, clones, bad arguments. */
#include "loudness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(c)                                                                                             \
    if (!(c)) return printf("%s:%d: %s\n", __FILE__, __LINE__, #c), 1

enum { FRAMES = 40000 };

int main(void) {
    static float x[AUR_MAX_CHANNELS][FRAMES];
    const float *in[AUR_MAX_CHANNELS];
    const double bad[2] = {1.0, -1.0}, nan_weight[1] = {NAN}, weights[2] = {1.0, 0.5};
    aur_loudness *a, *b;
    CHECK(aur_loudness_create(7999.0, 2, NULL, 0, &a) == AUR_EINVAL);
    CHECK(aur_loudness_create(NAN, 2, NULL, 0, &a) == AUR_EINVAL);
    CHECK(aur_loudness_create(48000.0, 0, NULL, 0, &a) == AUR_EINVAL);
    CHECK(aur_loudness_create(48000.0, AUR_MAX_CHANNELS + 1, NULL, 0, &a) == AUR_EINVAL);
    CHECK(aur_loudness_create(48000.0, 2, bad, 0, &a) == AUR_EINVAL);
    CHECK(aur_loudness_create(48000.0, 1, nan_weight, 0, &a) == AUR_EINVAL);
    CHECK(aur_loudness_create(48000.0, 2, NULL, 2, &a) == AUR_EINVAL);
    aur_loudness_destroy(NULL);

    srand(1);
    for (unsigned c = 0; c < AUR_MAX_CHANNELS; c++) {
        in[c] = x[c];
        for (int i = 0; i < FRAMES; i++)
            x[c][i] = (float)rand() / (float)RAND_MAX - 0.5f;
    }
    x[0][100] = NAN;
    x[1][101] = -INFINITY;
    for (unsigned channels = 1; channels <= AUR_MAX_CHANNELS; channels++) {
        CHECK(aur_loudness_create(8000.0, channels, channels == 2 ? weights : NULL, 0, &a) == AUR_OK);
        CHECK(aur_loudness_process(a, in, 0) == AUR_OK);
        CHECK(aur_loudness_integrated(a) == -INFINITY && aur_loudness_range(a) == 0.0);
        CHECK(aur_loudness_variation(a) == 0.0);
        CHECK(aur_loudness_process(a, in, 1) == AUR_OK);
        CHECK(isfinite(aur_loudness_integrated(a)));
        CHECK(aur_loudness_clone(a, &b) == AUR_OK);
        for (int i = 1; i < FRAMES; i++) {
            const float *at[AUR_MAX_CHANNELS];
            for (unsigned c = 0; c < channels; c++)
                at[c] = x[c] + i;
            CHECK(aur_loudness_process(b, at, 1) == AUR_OK);
        }
        const float *rest[AUR_MAX_CHANNELS];
        for (unsigned c = 0; c < channels; c++)
            rest[c] = x[c] + 1;
        CHECK(aur_loudness_process(a, rest, FRAMES - 1) == AUR_OK);
        CHECK(aur_loudness_integrated(a) == aur_loudness_integrated(b));
        CHECK(aur_loudness_range(a) == aur_loudness_range(b));
        CHECK(aur_loudness_momentary(a) == aur_loudness_momentary(b));
        aur_loudness_destroy(b);
        aur_loudness_destroy(a);
    }

    /* 20 minutes: more than the room there is from the start. */
    CHECK(aur_loudness_create(8000.0, 1, NULL, 0, &a) == AUR_OK);
    for (int i = 0; i < 240; i++)
        CHECK(aur_loudness_process(a, in, FRAMES) == AUR_OK);
    const double integrated = aur_loudness_integrated(a);
    CHECK(aur_loudness_reserve(a, SIZE_MAX) == AUR_ENOMEM);
    CHECK(aur_loudness_integrated(a) == integrated);
    CHECK(aur_loudness_range(a) < 0.1);
    CHECK(aur_loudness_variation(a) < 0.1);
    aur_loudness_destroy(a);
    return 0;
}

/* True peak at edge sizes: silence, one frame, one frame at a time, non-finite samples. */
#include "truepeak.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(c)                                                                                             \
    if (!(c)) return printf("%s:%d: %s\n", __FILE__, __LINE__, #c), 1

enum { FRAMES = 1000 };

int main(void) {
    static float x[AUR_MAX_CHANNELS][FRAMES];
    const float *in[AUR_MAX_CHANNELS];
    aur_truepeak *a, *b;
    CHECK(aur_truepeak_create(0, &a) == AUR_EINVAL);
    CHECK(aur_truepeak_create(AUR_MAX_CHANNELS + 1, &a) == AUR_EINVAL);
    aur_truepeak_destroy(NULL);

    srand(1);
    for (unsigned channels = 1; channels <= AUR_MAX_CHANNELS; channels++) {
        for (unsigned c = 0; c < channels; c++)
            for (int i = 0; i < FRAMES; i++)
                x[c][i] = (float)rand() / (float)RAND_MAX - 0.5f;
        for (unsigned c = 0; c < channels; c++)
            in[c] = x[c];
        CHECK(aur_truepeak_create(channels, &a) == AUR_OK);
        CHECK(aur_truepeak_clone(a, &b) == AUR_OK);
        CHECK(aur_truepeak_maximum(a) == 0.0);
        aur_truepeak_process(a, in, 0);
        aur_truepeak_process(a, in, FRAMES);
        for (int i = 0; i < FRAMES; i++) {
            const float *at[AUR_MAX_CHANNELS];
            for (unsigned c = 0; c < channels; c++)
                at[c] = x[c] + i;
            aur_truepeak_process(b, at, 1);
        }
        CHECK(aur_truepeak_maximum(a) == aur_truepeak_maximum(b));
        aur_truepeak_reset(b);
        aur_truepeak_process(b, in, FRAMES);
        CHECK(aur_truepeak_maximum(a) == aur_truepeak_maximum(b));

        x[0][10] = NAN;
        x[0][11] = INFINITY;
        aur_truepeak_reset(b);
        aur_truepeak_process(b, in, FRAMES);
        CHECK(isfinite(aur_truepeak_maximum(b)));
        aur_truepeak_destroy(a);
        aur_truepeak_destroy(b);
    }
    return 0;
}

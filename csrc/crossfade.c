#include "crossfade.h"

#include <string.h>

/* s(t) = 1/2 + 1/2 sin(pi (t - 1/2)). The Taylor series to x^15 is within 7e-12 over +-pi/2, and,
 * unlike the C library's sine, gives the same bits on every machine. */
static double rise(double t) {
    const double x = AUR_PI * (t - 0.5), y = x * x;
    const double sine =
        x *
        (1.0 + y * (-1.0 / 6.0 +
                    y * (1.0 / 120.0 +
                         y * (-1.0 / 5040.0 +
                              y * (1.0 / 362880.0 + y * (-1.0 / 39916800.0 +
                                                         y * (1.0 / 6227020800.0 - y / 1307674368000.0)))))));
    return 0.5 + 0.5 * sine;
}

double aur_crossfade_correlation(const float *const *a, const float *const *b, unsigned channels,
                                 size_t frames) {
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (unsigned c = 0; c < channels; c++)
        for (size_t i = 0; i < frames; i++) {
            const double x = a[c][i], y = b[c][i];
            ab += x * y;
            aa += x * x;
            bb += y * y;
        }
    return aa > 0.0 && bb > 0.0 ? aur_clamp(ab / sqrt(aa * bb), 0.0, 1.0) : 0.0;
}

void aur_crossfade(aur_fade_law law, double r, const float *const *a, const float *const *b,
                   float *const *out, unsigned channels, size_t start, size_t frames, size_t length) {
    const size_t fading = start >= length ? 0 : length - start < frames ? length - start : frames;
    const double overlap = law == AUR_FADE_EQUAL_POWER ? 0.0 : r;
    for (size_t i = 0; i < fading; i++) {
        double w = rise(((double)(start + i) + 0.5) / (double)length), v = 1.0 - w;
        if (law != AUR_FADE_EQUAL_GAIN) {
            const double k = 1.0 / sqrt(v * v + w * w + 2.0 * overlap * v * w);
            v *= k;
            w *= k;
        }
        for (unsigned c = 0; c < channels; c++)
            out[c][i] = (float)(v * (double)a[c][i] + w * (double)b[c][i]);
    }
    for (unsigned c = 0; c < channels && fading < frames; c++)
        if (out[c] != b[c]) memcpy(out[c] + fading, b[c] + fading, (frames - fading) * sizeof(float));
}

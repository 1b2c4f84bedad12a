#include "decimate.h"

#include "simd.h"

#include <stdlib.h>
#include <string.h>

#define L AUR_LANES
#define BLOCK 1024u

struct aur_decimate {
    size_t size; /* of this allocation */
    unsigned factor;
    size_t taps;  /* a multiple of L; the last few may be 0 */
    size_t phase; /* input frames until the next output */
    void (*dot)(const float *taps, const float *x, size_t n, float *out);
    float *history; /* taps - 1 past frames, then room for BLOCK new ones */
    float coefficients[];
};

/* Sixteen partial sums, added up in one fixed order: the same bits at every width. */
AUR_INLINE void dot(const float *restrict taps, const float *restrict x, size_t n, float *restrict out) {
    float sum[L] = {0};
    for (size_t i = 0; i < n; i += L) {
        AUR_INDEPENDENT
        for (size_t l = 0; l < L; l++)
            sum[l] += taps[i + l] * x[i + l];
    }
    for (size_t half = L / 2; half; half /= 2)
        for (size_t l = 0; l < half; l++)
            sum[l] += sum[l + half];
    *out = sum[0];
}

AUR_VARIANTS(dot, (const float *taps, const float *x, size_t n, float *out), (taps, x, n, out))

/* Modified Bessel function of the first kind, order 0, by its power series. */
static double bessel_i0(double x) {
    double sum = 1.0, term = 1.0;
    for (int k = 1; term > 1e-17 * sum; k++) {
        term *= x / (2.0 * k) * (x / (2.0 * k));
        sum += term;
    }
    return sum;
}

aur_status aur_decimate_create(unsigned factor, double pass, aur_decimate **out) {
    *out = NULL;
    if (factor < 1 || factor > 32 || !(pass >= 0.1 && pass <= 0.48)) return AUR_EINVAL;
    /* Kaiser's estimates (1974) for 80 dB: beta = 0.1102 (A - 8.7), N = (A - 7.95) / (14.36 df). */
    const double beta = 0.1102 * (80.0 - 8.7), width = (1.0 - 2.0 * pass) / factor;
    const size_t wanted = factor == 1 ? 1 : (size_t)ceil((80.0 - 7.95) / (14.36 * width)) | 1u;
    const size_t taps = (wanted + L - 1) / L * L;
    const size_t size = sizeof(aur_decimate) + (taps + taps - 1 + BLOCK) * sizeof(float);
    aur_decimate *s = calloc(1, size);
    if (!s) return AUR_ENOMEM;
    s->size = size;
    s->factor = factor;
    s->taps = taps;
    s->dot = dot_variants[aur_simd_select()];
    s->history = s->coefficients + taps;
    /* Right-aligned, so that the padding meets the oldest frames. */
    float *h = s->coefficients + (taps - wanted);
    double sum = 0.0, centre = (double)(wanted - 1) / 2.0;
    for (int fill = 0; fill < 2; fill++)
        for (size_t i = 0; i < wanted; i++) {
            const double t = (double)i - centre, r = wanted > 1 ? t / centre : 0.0;
            const double x = AUR_PI * t / factor;
            const double v = (t == 0.0 ? 1.0 : sin(x) / x) * bessel_i0(beta * sqrt(1.0 - r * r));
            if (fill)
                h[i] = (float)(v / sum);
            else
                sum += v;
        }
    *out = s;
    return AUR_OK;
}

aur_status aur_decimate_clone(const aur_decimate *state, aur_decimate **out) {
    aur_decimate *s = *out = malloc(state->size);
    if (!s) return AUR_ENOMEM;
    memcpy(s, state, state->size);
    s->history = s->coefficients + s->taps;
    return AUR_OK;
}

void aur_decimate_destroy(aur_decimate *state) {
    free(state);
}

void aur_decimate_reset(aur_decimate *s) {
    s->phase = 0;
    memset(s->history, 0, (s->taps - 1) * sizeof(float));
}

size_t aur_decimate_process(aur_decimate *s, const float *in, size_t frames, float *out) {
    if (s->factor == 1) {
        memcpy(out, in, frames * sizeof(float));
        return frames;
    }
    size_t written = 0;
    const size_t past = s->taps - 1;
    while (frames) {
        const size_t n = frames < BLOCK ? frames : BLOCK;
        memcpy(s->history + past, in, n * sizeof(float));
        size_t i = s->phase;
        for (; i < n; i += s->factor)
            s->dot(s->coefficients, s->history + i, s->taps, &out[written++]);
        s->phase = i - n;
        memmove(s->history, s->history + n, past * sizeof(float));
        in += n;
        frames -= n;
    }
    return written;
}

#include "decimate.h"

#include "kaiser.h"
#include "simd.h"

#include <stdlib.h>
#include <string.h>

#define L AUR_LANES
#define BLOCK 1024u /* input frames */

struct aur_decimate {
    size_t size; /* of this allocation */
    unsigned factor;
    size_t taps;  /* a multiple of factor; the first few may be 0 */
    size_t phase; /* input frames until the next output */
    void (*filter)(const struct aur_decimate *, size_t outputs, float *out);
    size_t pitch;    /* floats from one branch to the next */
    float *history;  /* taps - 1 past frames, then room for BLOCK new ones */
    float *branches; /* factor x pitch: every factor-th frame of the history, from each phase */
    float coefficients[];
};

/* Polyphase: output m is the sum over branches p and taps k of c[k * factor + p] branch_p[m + k], so that
 * neighbouring outputs read neighbouring frames and L of them are made side by side. The terms of an
 * output are always added in the same order: the same bits at every width and every cut. */
AUR_INLINE void filter(const aur_decimate *s, size_t outputs, float *out) {
    const size_t steps = s->taps / s->factor;
    for (size_t m = 0; m < outputs; m += L) {
        float sum[L] = {0};
        for (size_t p = 0; p < s->factor; p++) {
            const float *restrict x = s->branches + p * s->pitch + m, *restrict c = s->coefficients + p;
            for (size_t k = 0; k < steps; k++) {
                AUR_INDEPENDENT
                for (size_t l = 0; l < L; l++)
                    sum[l] += c[k * s->factor] * x[k + l];
            }
        }
        memcpy(out + m, sum, (outputs - m < L ? outputs - m : L) * sizeof(float));
    }
}

AUR_VARIANTS(filter, (const aur_decimate *s, size_t outputs, float *out), (s, outputs, out))

static void point_into(aur_decimate *s) {
    s->history = s->coefficients + s->taps;
    s->branches = s->history + s->taps - 1 + BLOCK;
}

aur_status aur_decimate_create(unsigned factor, double pass, aur_decimate **out) {
    *out = NULL;
    if (factor < 1 || factor > 32 || !(pass >= 0.1 && pass <= 0.48)) return AUR_EINVAL;
    /* Kaiser's estimates (1974) for 80 dB: beta = 0.1102 (A - 8.7), N = (A - 7.95) / (14.36 df). */
    const double beta = 0.1102 * (80.0 - 8.7), width = (1.0 - 2.0 * pass) / factor;
    const size_t wanted = factor == 1 ? 1 : (size_t)ceil((80.0 - 7.95) / (14.36 * width)) | 1u;
    const size_t taps = (wanted + factor - 1) / factor * factor;
    const size_t pitch = (taps + BLOCK) / factor + 2 * L;
    const size_t size = sizeof(aur_decimate) + (taps + taps - 1 + BLOCK + factor * pitch) * sizeof(float);
    aur_decimate *s = calloc(1, size);
    if (!s) return AUR_ENOMEM;
    s->size = size;
    s->factor = factor;
    s->taps = taps;
    s->filter = filter_variants[aur_simd_select()];
    s->pitch = pitch;
    point_into(s);
    /* Right-aligned, so that the padding meets the oldest frames. */
    float *h = s->coefficients + (taps - wanted);
    double sum = 0.0, centre = (double)(wanted - 1) / 2.0;
    for (int fill = 0; fill < 2; fill++)
        for (size_t i = 0; i < wanted; i++) {
            const double t = (double)i - centre, r = wanted > 1 ? t / centre : 0.0;
            const double x = AUR_PI * t / factor;
            const double v = (t == 0.0 ? 1.0 : sin(x) / x) * aur_bessel_i0(beta * sqrt(1.0 - r * r));
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
    point_into(s);
    return AUR_OK;
}

void aur_decimate_destroy(aur_decimate *state) {
    free(state);
}

void aur_decimate_reset(aur_decimate *s) {
    s->phase = 0;
    memset(s->history, 0, (s->taps - 1) * sizeof(float));
}

void aur_decimate_resume(aur_decimate *s, const aur_decimate *from) {
    s->phase = from->phase;
    memcpy(s->history, from->history, (s->taps - 1) * sizeof(float));
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
        const size_t outputs = s->phase < n ? (n - s->phase - 1) / s->factor + 1 : 0;
        const size_t reach = outputs ? outputs - 1 + s->taps / s->factor : 0;
        for (size_t p = 0; p < s->factor; p++) {
            const float *from = s->history + s->phase + p;
            float *branch = s->branches + p * s->pitch;
            for (size_t j = 0; j < reach; j++)
                branch[j] = from[j * s->factor];
        }
        s->filter(s, outputs, out + written);
        written += outputs;
        s->phase += outputs * s->factor - n;
        memmove(s->history, s->history + n, past * sizeof(float));
        in += n;
        frames -= n;
    }
    return written;
}

#include "chroma.h"

#include "fft.h"
#include "framing.h"
#include "simd.h"

#include <stdlib.h>
#include <string.h>

#define L AUR_LANES
#define LENGTH 4096u
#define HOP (LENGTH / 4u)
#define BATCH (2u * L)
#define SPAN ((BATCH - 1u) * HOP + LENGTH)
#define GRIDS 10          /* tunings tried, 10 cents apart */
#define FINE (12 * GRIDS) /* classes of 10 cents in an octave */

#define LOWEST_HZ 65.0
#define HIGHEST_HZ 2100.0
#define C4_HZ 261.6255653005986 /* A4 = 440 Hz, equal temperament */

static const aur_framing framing = {LENGTH, HOP, BATCH};

typedef struct {
    size_t filled;
    uint64_t frames;
    double energy, standing_out[GRIDS]; /* energy, and energy * (max - 1/12) / (11/12) */
    double fine[FINE];
} totals;

struct aur_chroma {
    double sample_rate;
    size_t first_bin, last_bin;
    aur_fft *fft;
    void (*fold)(aur_chroma *);
    float *re, *im, *fine;         /* fine: FINE x BATCH, energy of each class and frame */
    uint16_t class_of[LENGTH / 2]; /* the lower of the two classes a bin is shared between */
    float upper_share[LENGTH / 2];
    float window[LENGTH];
    totals t;
    float samples[SPAN];
};

AUR_INLINE void fold(aur_chroma *s) {
    for (size_t l = 0; l < L; l++) {
        const float *a = s->samples + l * HOP, *b = s->samples + (l + L) * HOP;
        for (size_t k = 0; k < LENGTH; k++) {
            s->re[aur_fft_row(k) * L + l] = s->window[k] * a[k];
            s->im[aur_fft_row(k) * L + l] = s->window[k] * b[k];
        }
    }
    aur_fft_forward(s->fft, s->re, s->im);
    memset(s->fine, 0, FINE * BATCH * sizeof(float));
    const uint16_t *rows = aur_fft_rows(s->fft);
    for (size_t k = s->first_bin; k <= s->last_bin; k++) {
        const size_t p = rows[k] * (size_t)L, q = rows[LENGTH - k] * (size_t)L;
        const float *restrict zr = s->re + p, *restrict zi = s->im + p;
        const float *restrict cr = s->re + q, *restrict ci = s->im + q;
        const size_t c = s->class_of[k];
        float *restrict low = s->fine + c * BATCH, *restrict high = s->fine + (c + 1) % FINE * BATCH;
        const float share = s->upper_share[k];
        AUR_INDEPENDENT
        for (size_t l = 0; l < L; l++) {
            const float ar = zr[l] + cr[l], ai = zi[l] - ci[l], br = zi[l] + ci[l], bi = cr[l] - zr[l];
            const float a2 = 0.25f * (ar * ar + ai * ai), b2 = 0.25f * (br * br + bi * bi);
            low[l] += (1.0f - share) * a2;
            high[l] += share * a2;
            low[l + L] += (1.0f - share) * b2;
            high[l + L] += share * b2;
        }
    }
}

AUR_VARIANTS(fold, (aur_chroma * s), (s))

aur_status aur_chroma_create(double sample_rate, aur_chroma **out) {
    *out = NULL;
    if (!(sample_rate >= 4300.0 && sample_rate <= 24000.0)) return AUR_EINVAL;
    aur_fft *fft;
    const aur_status status = aur_fft_create(LENGTH, &fft);
    if (status != AUR_OK) return status;
    const size_t spectrum = aur_fft_row(LENGTH) * L, head = (sizeof(aur_chroma) + 63) / 64 * 64;
    const size_t floats = 2 * spectrum + FINE * BATCH;
    aur_chroma *s = aligned_alloc(64, (head + floats * sizeof(float) + 63) / 64 * 64);
    if (!s) {
        aur_fft_destroy(fft);
        return AUR_ENOMEM;
    }
    memset(s, 0, head + floats * sizeof(float));
    s->sample_rate = sample_rate;
    s->fft = fft;
    s->fold = fold_variants[aur_simd_select()];
    s->re = (float *)((char *)s + head);
    s->im = s->re + spectrum;
    s->fine = s->im + spectrum;
    const double width = sample_rate / LENGTH;
    s->first_bin = (size_t)ceil(LOWEST_HZ / width);
    s->last_bin = (size_t)(HIGHEST_HZ / width);
    for (size_t k = s->first_bin; k <= s->last_bin; k++) {
        double octaves = log2((double)k * width / C4_HZ);
        const double fine = (octaves - floor(octaves)) * FINE;
        s->class_of[k] = (uint16_t)((size_t)fine % FINE);
        s->upper_share[k] = (float)(fine - floor(fine));
    }
    for (size_t k = 0; k < LENGTH; k++)
        s->window[k] = (float)(0.5 - 0.5 * cos(2.0 * AUR_PI * (double)k / LENGTH));
    *out = s;
    return AUR_OK;
}

aur_status aur_chroma_clone(const aur_chroma *state, aur_chroma **out) {
    const aur_status status = aur_chroma_create(state->sample_rate, out);
    if (status != AUR_OK) return status;
    (*out)->t = state->t;
    memcpy((*out)->samples, state->samples, sizeof state->samples);
    return AUR_OK;
}

void aur_chroma_destroy(aur_chroma *state) {
    if (!state) return;
    aur_fft_destroy(state->fft);
    free(state);
}

void aur_chroma_reset(aur_chroma *s) {
    memset(&s->t, 0, sizeof s->t);
}

/* The 12-bin chroma of grid g, whose classes are centred 10 g - 50 cents from equal temperament at
 * A4 = 440 Hz: class p gathers the ten fine classes from 10 p + g - 10 to 10 p + g - 1. */
static void chroma_of(const double *fine, int g, double *chroma) {
    for (int p = 0; p < AUR_CHROMA_CLASSES; p++) {
        chroma[p] = 0.0;
        for (int i = 0; i < GRIDS; i++)
            chroma[p] += fine[(GRIDS * p + g - GRIDS + i + FINE) % FINE];
    }
}

static void take_frame(aur_chroma *s, size_t frame) {
    double fine[FINE], energy = 0.0, chroma[AUR_CHROMA_CLASSES];
    for (size_t c = 0; c < FINE; c++) {
        fine[c] = s->fine[c * BATCH + frame];
        energy += fine[c];
        s->t.fine[c] += fine[c];
    }
    s->t.frames++;
    s->t.energy += energy;
    if (!(energy > 0.0)) return;
    for (int g = 0; g < GRIDS; g++) {
        chroma_of(fine, g, chroma);
        double top = 0.0;
        for (int p = 0; p < AUR_CHROMA_CLASSES; p++)
            top = chroma[p] > top ? chroma[p] : top;
        s->t.standing_out[g] += (top - energy / 12.0) / (11.0 / 12.0);
    }
}

static void run_batch(aur_chroma *s, size_t frames) {
    if (!frames) return;
    s->fold(s);
    for (size_t f = 0; f < frames; f++)
        take_frame(s, f);
}

void aur_chroma_process(aur_chroma *s, const float *mono, size_t frames) {
    while (aur_framing_take(&framing, s->samples, &s->t.filled, &mono, &frames)) {
        run_batch(s, BATCH);
        aur_framing_advance(&framing, s->samples, &s->t.filled);
    }
}

void aur_chroma_flush(aur_chroma *s) {
    size_t frames = aur_framing_end(&framing, s->samples, s->t.filled);
    if (!frames && !s->t.frames && s->t.filled) frames = 1;
    run_batch(s, frames);
}

void aur_chroma_append(aur_chroma *s, const aur_chroma *next) {
    run_batch(s, aur_framing_end(&framing, s->samples, s->t.filled));
    s->t.filled = next->t.filled;
    s->t.frames += next->t.frames;
    s->t.energy += next->t.energy;
    for (int g = 0; g < GRIDS; g++)
        s->t.standing_out[g] += next->t.standing_out[g];
    for (int c = 0; c < FINE; c++)
        s->t.fine[c] += next->t.fine[c];
    memcpy(s->samples, next->samples, sizeof s->samples);
}

void aur_chroma_finish(const aur_chroma *s, aur_chroma_result *out) {
    *out = (aur_chroma_result){0};
    if (!(s->t.energy > 0.0)) return;
    int best = GRIDS / 2;
    for (int g = 0; g < GRIDS; g++)
        if (s->t.standing_out[g] > s->t.standing_out[best]) best = g;
    out->energy = aur_clamp(s->t.standing_out[best] / s->t.energy, 0.0, 1.0);
    out->tuning_cents = 10.0 * (best - GRIDS / 2);
    chroma_of(s->t.fine, best, out->chroma);
    for (int p = 0; p < AUR_CHROMA_CLASSES; p++)
        out->chroma[p] /= s->t.energy;
}

#include "onset.h"

#include <stdlib.h>
#include <string.h>

/*
 * Samples lie in AUR_LANES segments side by side: one transposition a block, then windows, products
 * and band sums are plain vector loops. A lane holds SPAN consecutive frames; two neighbours share
 * one complex transform.
 */
#define SPAN (AUR_ONSET_BLOCK / AUR_LANES)
#define FLOOR 0.1f       /* of the running peak: what a rise is measured against */
#define BREATH 0.3f      /* rises below this, of at most AUR_ONSET_BANDS, are the breathing of held sounds */
#define QUIET_BAND 0.1f  /* of the loudest band's running peak: least peak of any band */
#define PEAK_SECONDS 3.0 /* the running peak falls by 1/e in this time */
#define LOW_BANDS 2u     /* below 200 Hz: the kick */
#define ACCENT_BANDS 6u  /* below 3.2 kHz: kick and snare carry the beat, cymbals divide it */

static const double band_edges_hz[AUR_ONSET_BANDS + 1] = {30, 100, 200, 400, 800, 1600, 3200, 6400, 14000};

/* Segments in lanes, then the transform's re and im. */
static size_t lane_floats(const aur_onset *s) {
    return (s->frame + (SPAN - 1) * s->hop) * AUR_LANES;
}
static size_t transform_floats(const aur_onset *s) {
    return aur_fft_row(s->frame) * AUR_LANES;
}

aur_status aur_onset_create(double sample_rate, aur_onset **out) {
    *out = NULL;
    if (!(sample_rate >= 8000.0 && sample_rate <= 96000.0)) return AUR_EINVAL;
    aur_onset *s = calloc(1, sizeof *s);
    if (!s) return AUR_ENOMEM;
    s->frame = 128;
    while ((double)s->frame * 44100.0 < sample_rate * 1024.0 / sqrt(2.0))
        s->frame *= 2;
    s->hop = (size_t)floor(sample_rate * 256.0 / 44100.0 + 0.5);
    s->scratch = lane_floats(s) + 2 * transform_floats(s);
    s->decay = (float)exp(-1.0 / (PEAK_SECONDS * (sample_rate / (double)s->hop)));
    s->simd = aur_simd_select();
    for (size_t b = 0; b <= AUR_ONSET_BANDS; b++) {
        const double bin = floor(band_edges_hz[b] * (double)s->frame / sample_rate + 0.5);
        s->edges[b] = (size_t)aur_clamp(bin, 1.0, (double)(s->frame / 2));
    }
    s->window = malloc(s->frame * sizeof *s->window);
    const aur_status status = s->window ? aur_fft_create(s->frame, &s->plan) : AUR_ENOMEM;
    if (status) {
        aur_onset_destroy(s);
        return status;
    }
    for (size_t i = 0; i < s->frame; i++)
        s->window[i] = (float)(0.5 - 0.5 * cos(2.0 * AUR_PI * (double)i / (double)s->frame));
    *out = s;
    return AUR_OK;
}

void aur_onset_destroy(aur_onset *s) {
    if (!s) return;
    aur_fft_destroy(s->plan);
    free(s->window);
    free(s);
}

/* Frames `first` and `first + 1` of every lane, windowed, as the two halves of a complex input. */
AUR_INLINE void load_body(const float *restrict a, const float *restrict b, const float *restrict window,
                          size_t frame, float *restrict re, float *restrict im) {
    for (size_t i = 0; i < frame; i++) {
        const size_t to = aur_fft_row(i) * AUR_LANES, from = i * AUR_LANES;
        for (size_t l = 0; l < AUR_LANES; l++) {
            re[to + l] = a[from + l] * window[i];
            im[to + l] = b[from + l] * window[i];
        }
    }
}

/* Band power of both frames of every lane: power[2][AUR_ONSET_BANDS][AUR_LANES]. */
AUR_INLINE void bands_body(const float *restrict re, const float *restrict im, const uint16_t *restrict rows,
                           size_t frame, const size_t *restrict edges, float *restrict power) {
    for (size_t band = 0; band < AUR_ONSET_BANDS; band++) {
        float pa[AUR_LANES] = {0}, pb[AUR_LANES] = {0};
        for (size_t k = edges[band]; k < edges[band + 1]; k++) {
            const size_t u = rows[k] * (size_t)AUR_LANES, v = rows[frame - k] * (size_t)AUR_LANES;
            const float *ur = re + u, *ui = im + u, *vr = re + v, *vi = im + v;
            for (size_t l = 0; l < AUR_LANES; l++) {
                const float ar = ur[l] + vr[l], ai = ui[l] - vi[l];
                const float br = ui[l] + vi[l], bi = vr[l] - ur[l];
                pa[l] += ar * ar + ai * ai;
                pb[l] += br * br + bi * bi;
            }
        }
        memcpy(power + band * AUR_LANES, pa, sizeof pa);
        memcpy(power + (AUR_ONSET_BANDS + band) * AUR_LANES, pb, sizeof pb);
    }
}

/*
 * One row: how much louder each band is than AUR_ONSET_LAG rows ago. The onset strength is the rise of the
 * logarithm in its bounded form, (a - p) / (a + p) = tanh(ln(a / p) / 2), summed over bands, with a floor of
 * a share of the band's running peak; Low and high are the plain rise over that peak, in which a loud hit
 * outweighs a soft one.
 */
AUR_INLINE void row_body(const float *restrict a, aur_onset_history *restrict h, float decay,
                         float *const *rows, size_t at) {
    float loudest = 0.0f, rise[AUR_ONSET_BANDS], share[AUR_ONSET_BANDS], onset = 0.0f, low = 0.0f,
          high = 0.0f;
    for (size_t b = 0; b < AUR_ONSET_BANDS; b++) {
        const float fallen = h->peak[b] * decay;
        h->peak[b] = a[b] > fallen ? a[b] : fallen;
    }
    for (size_t b = 0; b < AUR_ONSET_BANDS; b++)
        loudest = h->peak[b] > loudest ? h->peak[b] : loudest;
    for (size_t b = 0; b < AUR_ONSET_BANDS; b++) {
        const float least = QUIET_BAND * loudest, p = h->before[0][b];
        const float peak = (h->peak[b] > least ? h->peak[b] : least) + 1e-30f;
        const float up = a[b] > p ? a[b] - p : 0.0f;
        rise[b] = up / (a[b] + p + FLOOR * peak);
        share[b] = up / peak;
    }
    for (size_t b = 0; b < AUR_ONSET_BANDS; b++)
        onset += rise[b];
    for (size_t b = 0; b < LOW_BANDS; b++)
        low += share[b];
    for (size_t b = LOW_BANDS; b < ACCENT_BANDS; b++)
        high += share[b];
    memmove(h->before[0], h->before[1], sizeof h->before - sizeof h->before[0]);
    memcpy(h->before[AUR_ONSET_LAG - 1], a, sizeof h->before[0]);
    rows[AUR_ONSET][at] = onset > BREATH ? onset - BREATH : 0.0f;
    rows[AUR_ONSET_LOW][at] = low;
    rows[AUR_ONSET_HIGH][at] = high;
}

/* The first `count` rows of the block in `pending`, into rows, and their total power. */
AUR_INLINE void rows_body(const aur_onset *s, const float *restrict pending, size_t count, float *scratch,
                          aur_onset_history *h, float *const *rows, float *total) {
    float amplitude[AUR_ONSET_BLOCK][AUR_ONSET_BANDS], power[2 * AUR_ONSET_BANDS * AUR_LANES];
    const size_t length = s->frame + (SPAN - 1) * s->hop;
    float *lanes = scratch, *re = lanes + lane_floats(s), *im = re + transform_floats(s);
    for (size_t i = 0; i < length; i++)
        for (size_t l = 0; l < AUR_LANES; l++)
            lanes[i * AUR_LANES + l] = pending[l * SPAN * s->hop + i];
    for (size_t f = 0; f < SPAN; f += 2) {
        const float *a = lanes + f * s->hop * AUR_LANES;
        load_body(a, a + s->hop * AUR_LANES, s->window, s->frame, re, im);
        aur_fft_forward(s->plan, re, im);
        bands_body(re, im, aur_fft_rows(s->plan), s->frame, s->edges, power);
        for (size_t l = 0; l < AUR_LANES; l++)
            for (size_t b = 0; b < AUR_ONSET_BANDS; b++) {
                amplitude[l * SPAN + f][b] = power[b * AUR_LANES + l];
                amplitude[l * SPAN + f + 1][b] = power[(AUR_ONSET_BANDS + b) * AUR_LANES + l];
            }
    }
    for (size_t r = 0; r < count; r++) {
        total[r] = 0.0f;
        for (size_t b = 0; b < AUR_ONSET_BANDS; b++) {
            const float p = amplitude[r][b] < 1e30f ? amplitude[r][b] : 1e30f;
            amplitude[r][b] = sqrtf(p);
            total[r] += p;
        }
        row_body(amplitude[r], h, s->decay, rows, r);
    }
}

AUR_VARIANTS(rows_body,
             (const aur_onset *s, const float *pending, size_t count, float *scratch, aur_onset_history *h,
              float *const *rows, float *total),
             (s, pending, count, scratch, h, rows, total))

void aur_onset_rows(const aur_onset *s, const float *samples, size_t count, float *scratch,
                    aur_onset_history *history, float *const rows[AUR_ONSET_KINDS], float *total) {
    rows_body_variants[s->simd](s, samples, count, scratch, history, rows, total);
}

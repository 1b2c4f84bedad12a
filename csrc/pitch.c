#include "pitch.h"

#include "activity.h"
#include "fft.h"
#include "framing.h"
#include "simd.h"

#include <stdlib.h>
#include <string.h>

#define L AUR_LANES
#define WINDOW 1024u
#define HOP 512u
#define BATCH (2u * L) /* a lane carries two frames: one real, one imaginary */
#define SPAN ((BATCH - 1u) * HOP + WINDOW)
#define LENGTH (2u * WINDOW) /* zero-padded: linear, not circular, correlation */

#define LOWEST_HZ 55.0
#define HIGHEST_HZ 1030.0 /* half a semitone above 1000: a tone at the edge is inside */
#define CLARITY 0.7
#define CLOSE_TO_BEST 0.9f /* the first peak this near the highest is the period, not its multiple */

static const aur_framing framing = {WINDOW, HOP, BATCH};

/* What the estimate of a steady tone moves by itself, in cents: it counts for nothing. */
#define JITTER 0.25

/* How far the pitch of a frame is from that of the frame before, in cents; or why it is not known. */
enum { UNVOICED = -2, ALONE = -1 };

typedef struct {
    float power, step;
} row;

struct aur_pitch {
    double sample_rate;
    size_t first_lag, last_lag;
    aur_fft *fft;
    void (*correlate)(aur_pitch *);
    float *re, *im, *power_re, *power_im, *clarity; /* clarity: lags x BATCH */
    size_t filled;
    double previous; /* cents above LOWEST_HZ of the frame before, < 0 when unvoiced */
    row *rows;
    size_t count, room;
    aur_status status;
    float samples[SPAN];
};

/* Clarity 2 r(lag) / m(lag) of all frames of the batch, lags 0 .. last_lag + 1. */
AUR_INLINE void correlate(aur_pitch *s) {
    const uint16_t *rows = aur_fft_rows(s->fft);
    memset(s->re, 0, aur_fft_row(LENGTH) * L * sizeof(float));
    memset(s->im, 0, aur_fft_row(LENGTH) * L * sizeof(float));
    for (size_t l = 0; l < L; l++) {
        const float *a = s->samples + l * HOP, *b = s->samples + (l + L) * HOP;
        for (size_t k = 0; k < WINDOW; k++) {
            s->re[aur_fft_row(k) * L + l] = a[k];
            s->im[aur_fft_row(k) * L + l] = b[k];
        }
    }
    aur_fft_forward(s->fft, s->re, s->im);
    /* |A|^2 + j|B|^2, even in frequency, so a second forward transform gives r_A + j r_B. */
    for (size_t k = 0; k <= LENGTH / 2; k++) {
        const size_t p = rows[k] * (size_t)L, q = rows[(LENGTH - k) % LENGTH] * (size_t)L;
        const size_t up = aur_fft_row(k) * L, down = aur_fft_row((LENGTH - k) % LENGTH) * L;
        const float *restrict zr = s->re + p, *restrict zi = s->im + p;
        const float *restrict cr = s->re + q, *restrict ci = s->im + q;
        AUR_INDEPENDENT
        for (size_t l = 0; l < L; l++) {
            const float ar = zr[l] + cr[l], ai = zi[l] - ci[l], br = zi[l] + ci[l], bi = cr[l] - zr[l];
            const float a2 = 0.25f * (ar * ar + ai * ai), b2 = 0.25f * (br * br + bi * bi);
            s->power_re[up + l] = s->power_re[down + l] = a2;
            s->power_im[up + l] = s->power_im[down + l] = b2;
        }
    }
    aur_fft_forward(s->fft, s->power_re, s->power_im);
    /* m(lag) = sum of squares of both overlapping parts, from lag to lag by two samples leaving. */
    for (int part = 0; part < 2; part++) {
        const float *r = part ? s->power_im : s->power_re;
        float m[L];
        for (size_t l = 0; l < L; l++)
            m[l] = 2.0f * r[rows[0] * (size_t)L + l] / LENGTH;
        for (size_t lag = 0; lag <= s->last_lag + 1; lag++) {
            float *out = s->clarity + lag * BATCH + (size_t)part * L;
            const float *at = r + rows[lag] * (size_t)L;
            for (size_t l = 0; l < L; l++) {
                if (lag) {
                    const float *x = s->samples + (l + (size_t)part * L) * HOP;
                    const float left = x[lag - 1], right = x[WINDOW - lag];
                    m[l] -= left * left + right * right;
                }
                out[l] = m[l] > 0.0f ? 2.0f / LENGTH * at[l] / m[l] : 0.0f;
            }
        }
    }
}

AUR_VARIANTS(correlate, (aur_pitch * s), (s))

static aur_status reserve(aur_pitch *s, size_t count) {
    if (count <= s->room) return AUR_OK;
    const size_t room = count + s->room + BATCH;
    row *rows = realloc(s->rows, room * sizeof *rows);
    if (!rows) return AUR_ENOMEM;
    s->rows = rows;
    s->room = room;
    return AUR_OK;
}

aur_status aur_pitch_create(double sample_rate, aur_pitch **out) {
    *out = NULL;
    if (!(sample_rate >= 4000.0 && sample_rate <= 24000.0)) return AUR_EINVAL;
    aur_fft *fft;
    const aur_status status = aur_fft_create(LENGTH, &fft);
    if (status != AUR_OK) return status;
    const size_t first = (size_t)(sample_rate / HIGHEST_HZ), last = (size_t)ceil(sample_rate / LOWEST_HZ);
    const size_t spectrum = aur_fft_row(LENGTH) * L, head = (sizeof(aur_pitch) + 63) / 64 * 64;
    const size_t floats = 4 * spectrum + (last + 2) * BATCH;
    aur_pitch *s = aligned_alloc(64, (head + floats * sizeof(float) + 63) / 64 * 64);
    if (!s) {
        aur_fft_destroy(fft);
        return AUR_ENOMEM;
    }
    memset(s, 0, head + floats * sizeof(float));
    s->sample_rate = sample_rate;
    s->first_lag = first;
    s->last_lag = last;
    s->fft = fft;
    s->correlate = correlate_variants[aur_simd_select()];
    s->re = (float *)((char *)s + head);
    s->im = s->re + spectrum;
    s->power_re = s->im + spectrum;
    s->power_im = s->power_re + spectrum;
    s->clarity = s->power_im + spectrum;
    aur_pitch_reset(s);
    *out = s;
    return AUR_OK;
}

aur_status aur_pitch_clone(const aur_pitch *state, aur_pitch **out) {
    const aur_status status = aur_pitch_create(state->sample_rate, out);
    if (status != AUR_OK) return status;
    aur_pitch_append(*out, state);
    return AUR_OK;
}

void aur_pitch_append(aur_pitch *s, const aur_pitch *next) {
    aur_pitch_flush(s);
    if (!s->status) s->status = next->status;
    if (!s->status) s->status = reserve(s, s->count + next->count);
    if (s->status) return;
    if (next->count) memcpy(s->rows + s->count, next->rows, next->count * sizeof *s->rows);
    s->count += next->count;
    s->filled = next->filled, s->previous = next->previous;
    memcpy(s->samples, next->samples, sizeof s->samples);
}

void aur_pitch_destroy(aur_pitch *state) {
    if (!state) return;
    aur_fft_destroy(state->fft);
    free(state->rows);
    free(state);
}

void aur_pitch_reset(aur_pitch *s) {
    s->filled = s->count = 0;
    s->previous = UNVOICED;
    s->status = AUR_OK;
}

/* Period in samples of one frame, 0 when unvoiced: the first maximum between a rise and a fall through
 * zero that comes close to the best one, refined by a parabola. */
static double period(const aur_pitch *s, size_t frame) {
    const float *n = s->clarity + frame;
    size_t lag = 1, peaks[128], count = 0;
    float best = 0.0f;
    while (lag <= s->last_lag && n[lag * BATCH] > 0.0f)
        lag++; /* the lobe around lag 0 */
    while (lag <= s->last_lag && count < 128) {
        while (lag <= s->last_lag && n[lag * BATCH] <= 0.0f)
            lag++;
        size_t peak = 0;
        for (; lag <= s->last_lag && n[lag * BATCH] > 0.0f; lag++)
            if (lag >= s->first_lag && (!peak || n[lag * BATCH] > n[peak * BATCH])) peak = lag;
        if (!peak) continue;
        peaks[count++] = peak;
        if (n[peak * BATCH] > best) best = n[peak * BATCH];
    }
    if (best <= CLARITY) return 0.0;
    size_t i = 0;
    while (n[peaks[i] * BATCH] < CLOSE_TO_BEST * best)
        i++;
    const size_t p = peaks[i];
    const double a = n[(p - 1) * BATCH], b = n[p * BATCH], c = n[(p + 1) * BATCH];
    const double bend = a - 2.0 * b + c, shift = bend < 0.0 ? 0.5 * (a - c) / bend : 0.0;
    return (double)p + aur_clamp(shift, -0.5, 0.5);
}

static row measure_frame(aur_pitch *s, size_t frame) {
    const float *x = s->samples + frame * HOP;
    double energy = 0.0, cents = UNVOICED;
    for (size_t k = 0; k < WINDOW; k++)
        energy += (double)(x[k] * x[k]);
    row r = {(float)(energy / WINDOW), UNVOICED};
    const double lag = energy > 0.0 ? period(s, frame) : 0.0, hz = lag > 0.0 ? s->sample_rate / lag : 0.0;
    if (hz >= LOWEST_HZ && hz <= HIGHEST_HZ) {
        cents = 1200.0 * log2(hz / LOWEST_HZ);
        const double raw = cents - s->previous;
        r.step = s->previous < 0.0 ? ALONE : (float)fabs(raw - 1200.0 * round(raw / 1200.0));
    }
    s->previous = cents;
    return r;
}

static void run_batch(aur_pitch *s, size_t frames) {
    s->status = reserve(s, s->count + frames);
    if (s->status) return;
    s->correlate(s);
    for (size_t f = 0; f < frames; f++)
        s->rows[s->count++] = measure_frame(s, f);
}

void aur_pitch_process(aur_pitch *s, const float *mono, size_t frames) {
    while (!s->status && aur_framing_take(&framing, s->samples, &s->filled, &mono, &frames)) {
        run_batch(s, BATCH);
        aur_framing_advance(&framing, s->samples, &s->filled);
    }
}

void aur_pitch_flush(aur_pitch *s) {
    if (s->status) return;
    const size_t frames = aur_framing_end(&framing, s->samples, s->filled);
    if (frames) run_batch(s, frames);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

aur_status aur_pitch_finish(const aur_pitch *s, aur_pitch_result *out) {
    *out = (aur_pitch_result){0};
    if (s->status) return s->status;
    if (!s->count) return AUR_OK;
    double *sorted = malloc(s->count * sizeof *sorted);
    if (!sorted) return AUR_ENOMEM;
    for (size_t i = 0; i < s->count; i++)
        sorted[i] = s->rows[i].power;
    const double gate = aur_activity_gate(sorted, s->count);
    size_t active = 0, voiced = 0, steps = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (!(s->rows[i].power > gate)) continue;
        active++;
        voiced += s->rows[i].step != UNVOICED;
        if (s->rows[i].step >= 0.0f) sorted[steps++] = s->rows[i].step;
    }
    if (active) out->voiced_share = (double)voiced / (double)active;
    if (steps) { /* otherwise never two voiced frames in a row: nothing was held */
        qsort(sorted, steps, sizeof *sorted, ascending);
        const double median = 0.5 * (sorted[(steps - 1) / 2] + sorted[steps / 2]);
        const double cents = fmin(median, 2.0 * fmax(median - JITTER, 0.0)); /* from 2 JITTER on all of it */
        out->stability = out->voiced_share * exp(-cents / 50.0);
    }
    free(sorted);
    return AUR_OK;
}

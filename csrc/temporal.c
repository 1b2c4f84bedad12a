#include "temporal.h"

#include "fft.h"
#include "tempo.h"

#include <stdlib.h>
#include <string.h>

/*
 * Samples lie in AUR_LANES segments side by side: one transposition a block, then windows, products
 * and band sums are plain vector loops. A lane holds SPAN consecutive frames; two neighbours share
 * one complex transform.
 */
#define SPAN 8u
#define BLOCK_ROWS (AUR_LANES * SPAN)
#define BANDS 8u
#define LAG 2u            /* rows between the two amplitudes that are compared */
#define LEVEL_ROWS 16u    /* rows a level is kept for: 93 ms */
#define FLOOR 0.03f       /* of the running peak: what a rise is measured against */
#define QUIET_BAND 0.05f  /* of the loudest band's running peak: least peak of any band */
#define PEAK_SECONDS 3.0  /* the running peak falls by 1/e in this time */
#define ACCENT_BANDS 6u   /* below 3.2 kHz: kick and snare carry the beat, cymbals divide it */
#define HOLD_SECONDS 2.0  /* pauses shorter than this are part of the music */
#define WAIT_ROWS 5u      /* 29 ms: least distance of two onsets */
#define AROUND_ROWS 17u   /* 99 ms each side: what an onset has to stand out from */
#define ONSET_ABOVE 0.5   /* by how much, of at most BANDS */
#define ACTIVE_RANGE 1e-5 /* -50 dB from the 95th percentile */

static const double band_edges_hz[BANDS + 1] = {30, 100, 200, 400, 800, 1600, 3200, 6400, 14000};

/* What one row of onset strength needs to know about the rows before it. */
typedef struct {
    float peak[BANDS];
    float before[LAG][BANDS];
} carry;

struct aur_temporal {
    double row_rate;
    size_t frame, hop, history, block; /* samples; history = frame - hop precede each block */
    size_t edges[BANDS + 1];           /* bins */
    float decay;
    aur_simd simd;
    aur_fft *plan;
    float *window;  /* frame */
    float *pending; /* history + block samples, `fill` of them filled */
    float *scratch; /* see scratch_floats */
    size_t fill;
    int started;
    carry carry;
    float *onset, *accent, *level;
    size_t rows, capacity; /* both in rows; level holds capacity / LEVEL_ROWS */
    aur_status status;
};

/* Segments in lanes, then the transform's re and im. */
static size_t lane_floats(const aur_temporal *s) {
    return (s->history + SPAN * s->hop) * AUR_LANES;
}
static size_t transform_floats(const aur_temporal *s) {
    return aur_fft_row(s->frame) * AUR_LANES;
}
static size_t scratch_floats(const aur_temporal *s) {
    return lane_floats(s) + 2 * transform_floats(s);
}

static float *floats(size_t count) {
    float *p = aligned_alloc(64, (count * sizeof *p + 63) / 64 * 64);
    if (p) memset(p, 0, count * sizeof *p);
    return p;
}

aur_status aur_temporal_create(double sample_rate, aur_temporal **out) {
    *out = NULL;
    if (!(sample_rate >= 8000.0 && sample_rate <= 96000.0)) return AUR_EINVAL;
    aur_temporal *s = calloc(1, sizeof *s);
    if (!s) return AUR_ENOMEM;
    s->frame = 128;
    while ((double)s->frame * 44100.0 < sample_rate * 1024.0 / sqrt(2.0))
        s->frame *= 2;
    s->hop = (size_t)floor(sample_rate * 256.0 / 44100.0 + 0.5);
    s->history = s->frame - s->hop;
    s->block = BLOCK_ROWS * s->hop;
    s->row_rate = sample_rate / (double)s->hop;
    s->decay = (float)exp(-1.0 / (PEAK_SECONDS * s->row_rate));
    s->simd = aur_simd_select();
    for (size_t b = 0; b <= BANDS; b++) {
        const double bin = floor(band_edges_hz[b] * (double)s->frame / sample_rate + 0.5);
        s->edges[b] = (size_t)aur_clamp(bin, 1.0, (double)(s->frame / 2));
    }
    const aur_status status = aur_fft_create(s->frame, &s->plan);
    s->window = floats(s->frame);
    s->pending = floats(s->history + s->block);
    s->scratch = floats(scratch_floats(s));
    if (status || !s->window || !s->pending || !s->scratch) {
        aur_temporal_destroy(s);
        return status ? status : AUR_ENOMEM;
    }
    for (size_t i = 0; i < s->frame; i++)
        s->window[i] = (float)(0.5 - 0.5 * cos(2.0 * AUR_PI * (double)i / (double)s->frame));
    aur_temporal_reset(s);
    *out = s;
    return AUR_OK;
}

void aur_temporal_destroy(aur_temporal *s) {
    if (!s) return;
    aur_fft_destroy(s->plan);
    free(s->window);
    free(s->pending);
    free(s->scratch);
    free(s->onset);
    free(s->accent);
    free(s->level);
    free(s);
}

void aur_temporal_reset(aur_temporal *s) {
    memset(s->pending, 0, s->history * sizeof *s->pending);
    memset(&s->carry, 0, sizeof s->carry);
    s->fill = s->history;
    s->started = 0;
    s->rows = 0;
    s->status = AUR_OK;
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

/* Band power of both frames of every lane: power[2][BANDS][AUR_LANES]. */
AUR_INLINE void bands_body(const float *restrict re, const float *restrict im, const uint16_t *restrict rows,
                           size_t frame, const size_t *restrict edges, float *restrict power) {
    for (size_t band = 0; band < BANDS; band++) {
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
        memcpy(power + (BANDS + band) * AUR_LANES, pb, sizeof pb);
    }
}

/*
 * One row: how much louder each band is than LAG rows ago. onset is the rise of the logarithm in
 * its bounded form, (a - p) / (a + p) = tanh(ln(a / p) / 2), with a floor of a share of the band's
 * running peak; accent is the plain rise over that peak, so that a loud hit outweighs a soft one.
 */
AUR_INLINE void row_body(const float *restrict a, carry *restrict c, float decay, float *onset,
                         float *accent) {
    float loudest = 0.0f, rise[BANDS], share[BANDS];
    for (size_t b = 0; b < BANDS; b++) {
        const float fallen = c->peak[b] * decay;
        c->peak[b] = a[b] > fallen ? a[b] : fallen;
    }
    for (size_t b = 0; b < BANDS; b++)
        loudest = c->peak[b] > loudest ? c->peak[b] : loudest;
    for (size_t b = 0; b < BANDS; b++) {
        const float least = QUIET_BAND * loudest, p = c->before[0][b];
        const float peak = (c->peak[b] > least ? c->peak[b] : least) + 1e-30f;
        const float up = a[b] > p ? a[b] - p : 0.0f;
        rise[b] = up / (a[b] + p + FLOOR * peak);
        share[b] = up / peak;
    }
    float sum = 0.0f, low = 0.0f;
    for (size_t b = 0; b < BANDS; b++)
        sum += rise[b];
    for (size_t b = 0; b < ACCENT_BANDS; b++)
        low += share[b];
    memcpy(c->before[0], c->before[1], sizeof c->before[0]);
    memcpy(c->before[1], a, sizeof c->before[1]);
    *onset = sum;
    *accent = low;
}

typedef struct {
    float *onset, *accent, *level;
} rows_out;

/* Rows first .. first + count of the signal, the first `count` of the block in `pending`. */
AUR_INLINE void block_body(const aur_temporal *s, const float *restrict pending, size_t count, float *scratch,
                           carry *c, size_t first, rows_out out) {
    float amplitude[BLOCK_ROWS][BANDS], power[2 * BANDS * AUR_LANES];
    const size_t length = s->history + SPAN * s->hop;
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
            for (size_t b = 0; b < BANDS; b++) {
                amplitude[l * SPAN + f][b] = power[b * AUR_LANES + l];
                amplitude[l * SPAN + f + 1][b] = power[(BANDS + b) * AUR_LANES + l];
            }
    }
    for (size_t r = 0; r < count; r++) {
        float total = 0.0f;
        for (size_t b = 0; b < BANDS; b++) {
            const float p = amplitude[r][b];
            amplitude[r][b] = sqrtf(p < 1e30f ? p : 1e30f);
        }
        for (size_t b = 0; b < BANDS; b++)
            total += amplitude[r][b] * amplitude[r][b];
        row_body(amplitude[r], c, s->decay, out.onset + first + r, out.accent + first + r);
        float *level = out.level + (first + r) / LEVEL_ROWS;
        *level = (first + r) % LEVEL_ROWS == 0 || total > *level ? total : *level;
    }
}

#define BLOCK(name, target)                                                                                  \
    target static void name(const aur_temporal *s, const float *pending, size_t count, float *scratch,       \
                            carry *c, size_t first, rows_out out) {                                          \
        block_body(s, pending, count, scratch, c, first, out);                                               \
    }
BLOCK(block_baseline, )
#ifdef AUR_X86
BLOCK(block_avx2, AUR_TARGET_AVX2)
BLOCK(block_avx512, AUR_TARGET_AVX512)
static void (*const blocks[])(const aur_temporal *, const float *, size_t, float *, carry *, size_t,
                              rows_out) = {block_baseline, block_avx2, block_avx512};
#else
static void (*const blocks[])(const aur_temporal *, const float *, size_t, float *, carry *, size_t,
                              rows_out) = {block_baseline};
#endif

/* Room for one more block of rows. */
static aur_status grow(aur_temporal *s) {
    if (s->rows + BLOCK_ROWS <= s->capacity) return AUR_OK;
    const size_t capacity = s->capacity ? 2 * s->capacity : 64 * BLOCK_ROWS;
    float *onset = realloc(s->onset, capacity * sizeof *onset);
    if (onset) s->onset = onset;
    float *accent = realloc(s->accent, capacity * sizeof *accent);
    if (accent) s->accent = accent;
    float *level = realloc(s->level, capacity / LEVEL_ROWS * sizeof *level);
    if (level) s->level = level;
    if (!onset || !accent || !level) return AUR_ENOMEM;
    s->capacity = capacity;
    return AUR_OK;
}

void aur_temporal_process(aur_temporal *s, const float *mono, size_t frames) {
    const aur_fpenv env = aur_flush_denormals();
    while (!s->started && frames && *mono == 0.0f)
        mono++, frames--;
    if (frames) s->started = 1;
    while (frames && !s->status) {
        const size_t room = s->history + s->block - s->fill, n = frames < room ? frames : room;
        memcpy(s->pending + s->fill, mono, n * sizeof *mono);
        s->fill += n, mono += n, frames -= n;
        if (n < room || (s->status = grow(s))) continue;
        blocks[s->simd](s, s->pending, BLOCK_ROWS, s->scratch, &s->carry, s->rows,
                        (rows_out){s->onset, s->accent, s->level});
        s->rows += BLOCK_ROWS;
        memcpy(s->pending, s->pending + s->block, s->history * sizeof *mono);
        s->fill = s->history;
    }
    aur_restore_denormals(env);
}

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Least level of music: 50 dB under the 95th percentile of all levels that are not zero. */
static aur_status active_level(const float *level, size_t count, float *out) {
    float *sorted = malloc((count + 1) * sizeof *sorted);
    if (!sorted) return AUR_ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (level[i] > 0.0f) sorted[n++] = level[i];
    qsort(sorted, n, sizeof *sorted, by_value);
    *out = n ? (float)(ACTIVE_RANGE * sorted[(size_t)(0.95 * (double)(n - 1))]) : 1.0f;
    free(sorted);
    return AUR_OK;
}

/* Local maxima of the onset strength that stand out from their surroundings, and the time they were
 * counted over: music, and pauses up to HOLD_SECONDS after it. */
static void count_onsets(const aur_temporal *s, const float *onset, const float *level, size_t rows,
                         float least, aur_temporal_result *out) {
    const size_t hold = (size_t)(HOLD_SECONDS * s->row_rate);
    size_t active_rows = 0, loud = 0, last = 0;
    int heard = 0;
    for (size_t r = 0; r < rows; r++) {
        if (level[r / LEVEL_ROWS] >= least) loud = r, heard = 1;
        if (!heard || r - loud >= hold) continue;
        active_rows++;
        if (level[r / LEVEL_ROWS] < least || (out->onsets && r - last < WAIT_ROWS)) continue;
        const size_t from = r < AROUND_ROWS ? 0 : r - AROUND_ROWS;
        const size_t to = r + AROUND_ROWS < rows ? r + AROUND_ROWS + 1 : rows;
        double sum = 0.0;
        int top = 1;
        for (size_t i = from; i < to; i++) {
            sum += onset[i];
            if (i + WAIT_ROWS >= r && i <= r + WAIT_ROWS &&
                (onset[i] > onset[r] || (i < r && onset[i] == onset[r])))
                top = 0;
        }
        if (!top || onset[r] < sum / (double)(to - from) + ONSET_ABOVE) continue;
        out->onsets++;
        last = r;
    }
    out->active_s = (double)active_rows / s->row_rate;
    if (active_rows) out->transient_density = aur_clamp((double)out->onsets / out->active_s / 10.0, 0.0, 1.0);
}

aur_status aur_temporal_finish(const aur_temporal *s, aur_temporal_result *out) {
    memset(out, 0, sizeof *out);
    if (s->status) return s->status;
    const size_t fresh = s->fill >= s->frame ? (s->fill - s->frame) / s->hop + 1 : 0;
    const size_t rows = s->rows + fresh, room = s->rows + BLOCK_ROWS;
    float *copy = floats(2 * room + room / LEVEL_ROWS), *pending = floats(s->history + s->block);
    float *scratch = floats(scratch_floats(s));
    aur_status status = copy && pending && scratch ? AUR_OK : AUR_ENOMEM;
    if (!status) {
        const rows_out all = {copy, copy + room, copy + 2 * room};
        if (s->rows) {
            memcpy(all.onset, s->onset, s->rows * sizeof *copy);
            memcpy(all.accent, s->accent, s->rows * sizeof *copy);
            memcpy(all.level, s->level, s->rows / LEVEL_ROWS * sizeof *copy);
        }
        memcpy(pending, s->pending, s->fill * sizeof *pending);
        carry c = s->carry;
        const aur_fpenv env = aur_flush_denormals();
        if (fresh) blocks[s->simd](s, pending, fresh, scratch, &c, s->rows, all);
        aur_restore_denormals(env);
        float least;
        aur_tempo tempo;
        status = active_level(all.level, (rows + LEVEL_ROWS - 1) / LEVEL_ROWS, &least);
        if (!status) status = aur_tempo_estimate(all.onset, all.accent, rows, s->row_rate, &tempo);
        if (!status) {
            count_onsets(s, all.onset, all.level, rows, least, out);
            out->tempo_bpm = tempo.bpm;
            out->tempo_alt = tempo.alt;
            out->tempo_confidence = tempo.confidence;
            out->rhythm_stability = tempo.stability;
        }
    }
    free(copy);
    free(pending);
    free(scratch);
    return status;
}

#include "spectral.h"

#include "fft.h"
#include "turn.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#define L AUR_LANES
#define OVERLAP 4u                /* N / hop */
#define COLUMNS (L + OVERLAP - 1) /* hops that one batch of frames spans */
#define ACROSS (L + OVERLAP)      /* those, to a multiple of four */
#define TURN 32u                  /* divides every hop */

#define COARSE_BINS (AUR_ACTIVITY_BINS / AUR_ACTIVITY_COARSE)

typedef struct { /* one row of per-frame results, a value a lane */
    float energy[L], centroid[L], rolloff[L], flatness[L];
    float segments[AUR_BANDS_SEGMENTS][L];
} frame_row;

typedef struct { /* sums over the frames of one level */
    double centroid, rolloff, flatness;
} level_sum;

/* What a clone must copy. */
typedef struct {
    size_t column, filled; /* hop being filled and samples in it */
    uint64_t frames;
    aur_activity_grid grid;
    uint32_t counts[AUR_ACTIVITY_BINS];
    level_sum sums[AUR_ACTIVITY_BINS];
    double segments[COARSE_BINS][AUR_BANDS_SEGMENTS];
} totals;

struct aur_spectral {
    double sample_rate;
    size_t length, hop, bins, pitch; /* pitch: floats from one column to the next */
    size_t flat_first, flat_last;
    unsigned segment_count;
    aur_segment segment[AUR_BANDS_SEGMENTS];
    double power_scale; /* from the sum of |L|^2 + |R|^2 over bins to the mean square of a channel */
    aur_fft *fft;
    void (*transform)(aur_spectral *);
    float *window, *columns[2], *re, *im, *energy, *magnitude;
    frame_row row;
    totals t;
};

static size_t round_up(size_t n) {
    return (n + 15) / 16 * 16;
}

/* The columns are one hop each; lane l of frame sample a * hop + j is column l + a, element j. They are
 * turned TURN elements at a time, so that what is stored in quads is not read back whole at once. */
AUR_INLINE void gather(const aur_spectral *s) {
    float turned[2][TURN * ACROSS];
    for (size_t from = 0; from < s->hop; from += TURN) {
        for (size_t side = 0; side < 2; side++)
            for (size_t c = 0; c < ACROSS; c += 4)
                for (size_t j = 0; j < TURN; j += 4)
                    aur_turn(s->columns[side] + c * s->pitch + from + j, s->pitch,
                             turned[side] + j * ACROSS + c, ACROSS);
        for (size_t j = 0; j < TURN; j++)
            for (size_t a = 0; a < OVERLAP; a++) {
                const float *restrict left = turned[0] + j * ACROSS + a;
                const float *restrict right = turned[1] + j * ACROSS + a;
                const size_t k = a * s->hop + from + j;
                const float w = s->window[k];
                float *restrict re = s->re + aur_fft_row(k) * L, *restrict im = s->im + aur_fft_row(k) * L;
                AUR_INDEPENDENT
                for (size_t l = 0; l < L; l++)
                    re[l] = w * left[l];
                AUR_INDEPENDENT
                for (size_t l = 0; l < L; l++)
                    im[l] = w * right[l];
            }
    }
}

/* |L|^2 + |R|^2 and |M| of every bin, and the sums that need no second look. */
AUR_INLINE void magnitudes(const aur_spectral *s, float *restrict sum, float *restrict moment,
                           float *restrict top) {
    const uint16_t *rows = aur_fft_rows(s->fft);
    AUR_INDEPENDENT
    for (size_t l = 0; l < L; l++)
        sum[l] = moment[l] = top[l] = 0.0f;
    for (size_t k = 0; k < s->bins; k++) {
        const size_t p = rows[k] * (size_t)L, q = rows[(s->length - k) % s->length] * (size_t)L;
        const float *restrict zr = s->re + p, *restrict zi = s->im + p;
        const float *restrict cr = s->re + q, *restrict ci = s->im + q;
        float *restrict e = s->energy + k * L, *restrict m = s->magnitude + k * L;
        const float f = (float)k, flat = k >= s->flat_first && k <= s->flat_last ? 1.0f : 0.0f;
        AUR_INDEPENDENT
        for (size_t l = 0; l < L; l++) {
            const float ar = zr[l] + cr[l], ai = zi[l] - ci[l]; /* 2 L */
            const float br = zi[l] + ci[l], bi = cr[l] - zr[l]; /* 2 R */
            e[l] = 0.25f * (ar * ar + ai * ai + br * br + bi * bi);
            const float mr = 0.25f * (ar + br), mi = 0.25f * (ai + bi);
            const float mag = sqrtf(mr * mr + mi * mi);
            m[l] = mag;
            sum[l] += mag;
            moment[l] += f * mag;
            const float candidate = flat * mag;
            top[l] = candidate > top[l] ? candidate : top[l];
        }
    }
}

AUR_INLINE void band_energies(const aur_spectral *s, frame_row *row) {
    for (unsigned g = 0; g < s->segment_count; g++) {
        const aur_segment *seg = &s->segment[g];
        float sum[L] = {0};
        for (size_t k = seg->first; k <= seg->last; k++) {
            const float w = k == seg->first ? seg->weight_first : k == seg->last ? seg->weight_last : 1.0f;
            const float *restrict e = s->energy + k * L;
            AUR_INDEPENDENT
            for (size_t l = 0; l < L; l++)
                sum[l] += w * e[l];
        }
        memcpy(row->segments[g], sum, sizeof sum);
    }
    /* The frame's level: every bin but DC, the mirror image counted; Nyquist stands for itself. */
    float all[L] = {0};
    for (size_t k = 1; k < s->bins; k++)
        AUR_INDEPENDENT
    for (size_t l = 0; l < L; l++)
        all[l] += s->energy[k * L + l];
    AUR_INDEPENDENT
    for (size_t l = 0; l < L; l++)
        row->energy[l] = all[l] - 0.5f * s->energy[(s->bins - 1) * L + l];
}

/* Lowest bin at which the cumulated magnitude reaches 85 %: count the bins before it. */
AUR_INLINE void rolloff(const aur_spectral *s, const float *restrict sum, float *restrict out) {
    float cumulated[L] = {0}, target[L];
    AUR_INDEPENDENT
    for (size_t l = 0; l < L; l++)
        target[l] = 0.85f * sum[l], out[l] = 0.0f;
    for (size_t k = 0; k < s->bins; k++) {
        const float *restrict m = s->magnitude + k * L;
        AUR_INDEPENDENT
        for (size_t l = 0; l < L; l++) {
            cumulated[l] += m[l];
            out[l] += cumulated[l] < target[l] ? 1.0f : 0.0f;
        }
    }
}

/*
 * Geometric over arithmetic mean of power. The geometric mean is a product of mantissas and a sum of
 * exponents, so a logarithm is taken once a frame and not once a bin; 64 mantissas below 2 stay far
 * from overflow. Powers are floored at the frame's largest * 1e-10.
 */
AUR_INLINE void flatness(const aur_spectral *s, const float *restrict top, float *restrict out) {
    float floor_power[L], sum[L] = {0}, product[L];
    int32_t exponents[L] = {0};
    AUR_INDEPENDENT
    for (size_t l = 0; l < L; l++) {
        const float p = top[l] * top[l] * 1e-10f;
        floor_power[l] = p > FLT_MIN ? p : FLT_MIN;
        product[l] = 1.0f;
    }
    const size_t count = s->flat_last - s->flat_first + 1;
    for (size_t n = 0; n < count; n++) {
        const float *restrict m = s->magnitude + (s->flat_first + n) * L;
        AUR_INDEPENDENT
        for (size_t l = 0; l < L; l++) {
            const float square = m[l] * m[l], p = square > floor_power[l] ? square : floor_power[l];
            int32_t bits, mantissa_bits;
            memcpy(&bits, &p, sizeof bits);
            exponents[l] += (bits >> 23) - 127;
            mantissa_bits = (bits & 0x7fffff) | 0x3f800000;
            float mantissa;
            memcpy(&mantissa, &mantissa_bits, sizeof mantissa);
            product[l] *= mantissa;
            sum[l] += p;
        }
        if (n % 64 == 63) AUR_INDEPENDENT
        for (size_t l = 0; l < L; l++) {
            int32_t bits;
            memcpy(&bits, &product[l], sizeof bits);
            exponents[l] += (bits >> 23) - 127;
            bits = (bits & 0x7fffff) | 0x3f800000;
            memcpy(&product[l], &bits, sizeof bits);
        }
    }
    for (size_t l = 0; l < L; l++) {
        const double mean_log =
            (log((double)product[l]) + exponents[l] * 0.69314718055994531) / (double)count;
        out[l] = (float)(exp(mean_log) * (double)count / (double)sum[l]);
    }
}

AUR_INLINE void transform(aur_spectral *s) {
    float sum[L], moment[L], top[L];
    gather(s);
    aur_fft_forward(s->fft, s->re, s->im);
    magnitudes(s, sum, moment, top);
    band_energies(s, &s->row);
    rolloff(s, sum, s->row.rolloff);
    flatness(s, top, s->row.flatness);
    for (size_t l = 0; l < L; l++)
        s->row.centroid[l] = sum[l] > 0.0f ? moment[l] / sum[l] : 0.0f;
}

AUR_VARIANTS(transform, (aur_spectral * s), (s))

aur_status aur_spectral_create(double sample_rate, aur_spectral **out) {
    *out = NULL;
    if (!(sample_rate >= 4000.0 && sample_rate <= 96000.0)) return AUR_EINVAL;
    const size_t length = (size_t)1 << (int)lround(log2(2048.0 * sample_rate / 44100.0));
    const size_t hop = length / OVERLAP, bins = length / 2 + 1, pitch = round_up(hop) + 16;
    const size_t spectrum = aur_fft_row(length) * L, half = bins * L;
    const size_t floats = round_up(length) + 2 * round_up(ACROSS * pitch) + 2 * spectrum + 2 * half;
    aur_fft *fft;
    const aur_status status = aur_fft_create(length, &fft);
    if (status != AUR_OK) return status;
    const size_t head = (sizeof(aur_spectral) + 63) / 64 * 64;
    aur_spectral *s = aligned_alloc(64, (head + floats * sizeof(float) + 63) / 64 * 64);
    if (!s) {
        aur_fft_destroy(fft);
        return AUR_ENOMEM;
    }
    memset(s, 0, head + floats * sizeof(float));
    s->sample_rate = sample_rate;
    s->length = length, s->hop = hop, s->bins = bins, s->pitch = pitch;
    s->fft = fft;
    s->transform = transform_variants[aur_simd_select()];
    float *at = (float *)((char *)s + head);
    s->re = at, at += spectrum;
    s->im = at, at += spectrum;
    s->energy = at, at += half;
    s->magnitude = at, at += half;
    s->window = at, at += round_up(length);
    s->columns[0] = at, at += round_up(ACROSS * pitch);
    s->columns[1] = at;
    double squares = 0.0;
    for (size_t k = 0; k < length; k++) {
        const double w = 0.5 - 0.5 * cos(2.0 * AUR_PI * (double)k / (double)length);
        s->window[k] = (float)w;
        squares += w * w;
    }
    /* Parseval: sum over all N bins of |X|^2 = N sum (w x)^2; half the bins, two channels. */
    s->power_scale = 2.0 / ((double)length * squares) / 2.0;
    const double bin = sample_rate / (double)length;
    s->flat_first = (size_t)ceil(50.0 / bin);
    s->flat_last = (size_t)(16000.0 / bin);
    if (s->flat_last > bins - 1) s->flat_last = bins - 1;
    s->segment_count = aur_bands_lay_out(sample_rate, length, s->segment);
    *out = s;
    return AUR_OK;
}

aur_status aur_spectral_clone(const aur_spectral *state, aur_spectral **out) {
    const aur_status status = aur_spectral_create(state->sample_rate, out);
    if (status != AUR_OK) return status;
    (*out)->t = state->t;
    for (int c = 0; c < 2; c++)
        memcpy((*out)->columns[c], state->columns[c], COLUMNS * state->pitch * sizeof(float));
    return AUR_OK;
}

void aur_spectral_destroy(aur_spectral *state) {
    if (!state) return;
    aur_fft_destroy(state->fft);
    free(state);
}

void aur_spectral_reset(aur_spectral *state) {
    memset(&state->t, 0, sizeof state->t);
}

size_t aur_spectral_feed(aur_spectral *s, const float *left, const float *right, size_t frames) {
    size_t taken = 0;
    while (taken < frames && s->t.column < COLUMNS) {
        const size_t room = s->hop - s->t.filled, n = frames - taken < room ? frames - taken : room;
        const size_t at = s->t.column * s->pitch + s->t.filled;
        memcpy(s->columns[0] + at, left + taken, n * sizeof(float));
        memcpy(s->columns[1] + at, right + taken, n * sizeof(float));
        taken += n;
        s->t.filled += n;
        if (s->t.filled == s->hop) s->t.filled = 0, s->t.column++;
    }
    return taken;
}

int aur_spectral_ready(const aur_spectral *s) {
    return s->t.column == COLUMNS;
}

unsigned aur_spectral_waiting(const aur_spectral *s) {
    return s->t.column >= OVERLAP ? (unsigned)(s->t.column - OVERLAP + 1) : 0;
}

static void accumulate(aur_spectral *s, unsigned lane) {
    const int bin = aur_activity_bin(&s->t.grid, s->row.energy[lane] * s->power_scale);
    s->t.frames++;
    if (bin < 0) return;
    const double width = s->sample_rate / (double)s->length;
    s->t.counts[bin]++;
    s->t.sums[bin].centroid += s->row.centroid[lane] * width;
    s->t.sums[bin].rolloff += s->row.rolloff[lane] * width;
    s->t.sums[bin].flatness += s->row.flatness[lane];
    double *segments = s->t.segments[bin / AUR_ACTIVITY_COARSE];
    for (unsigned g = 0; g < s->segment_count; g++)
        segments[g] += s->row.segments[g][lane];
}

unsigned aur_spectral_run(aur_spectral *s) {
    unsigned frames = aur_spectral_waiting(s);
    /* What lies beyond the end is silence; a track shorter than one frame still gets one. */
    if (!aur_spectral_ready(s)) {
        for (int c = 0; c < 2; c++) {
            const size_t end = s->t.column * s->pitch + s->t.filled;
            memset(s->columns[c] + end, 0, (COLUMNS * s->pitch - end) * sizeof(float));
        }
        if (!frames && !s->t.frames && (s->t.column || s->t.filled)) frames = 1;
    }
    if (!frames) return 0;
    s->transform(s);
    for (unsigned l = 0; l < frames; l++)
        accumulate(s, l);
    for (int c = 0; c < 2; c++)
        memmove(s->columns[c], s->columns[c] + L * s->pitch, (OVERLAP - 1) * s->pitch * sizeof(float));
    s->t.column = s->t.column > L ? s->t.column - L : 0;
    return frames;
}

const float *aur_spectral_magnitudes(const aur_spectral *s) {
    return s->magnitude;
}
size_t aur_spectral_bins(const aur_spectral *s) {
    return s->bins;
}

/* Bin b moved by `shift`, kept among `count`. */
static int moved(int b, int shift, int count) {
    return b + shift < 0 ? 0 : b + shift < count ? b + shift : count - 1;
}

void aur_spectral_append(aur_spectral *s, const aur_spectral *next) {
    totals *t = &s->t;
    const totals *n = &next->t;
    const int shift = aur_activity_shift(&t->grid, &n->grid);
    const int coarse = (int)lround((double)shift / AUR_ACTIVITY_COARSE);
    for (int b = 0; b < AUR_ACTIVITY_BINS; b++) {
        const int to = moved(b, shift, AUR_ACTIVITY_BINS);
        t->counts[to] += n->counts[b];
        t->sums[to].centroid += n->sums[b].centroid;
        t->sums[to].rolloff += n->sums[b].rolloff;
        t->sums[to].flatness += n->sums[b].flatness;
    }
    for (int b = 0; b < COARSE_BINS; b++)
        for (unsigned g = 0; g < s->segment_count; g++)
            t->segments[moved(b, coarse, COARSE_BINS)][g] += n->segments[b][g];
    t->frames += n->frames;
    t->column = n->column, t->filled = n->filled;
    for (int c = 0; c < 2; c++)
        memcpy(s->columns[c], next->columns[c], COLUMNS * s->pitch * sizeof(float));
}

void aur_spectral_finish(const aur_spectral *s, aur_spectral_result *out) {
    *out = (aur_spectral_result){.frames = s->t.frames};
    const int first = aur_activity_first(s->t.counts);
    double segments[AUR_BANDS_SEGMENTS] = {0};
    level_sum sum = {0};
    for (int b = first; b < AUR_ACTIVITY_BINS; b++) {
        out->active_frames += s->t.counts[b];
        sum.centroid += s->t.sums[b].centroid;
        sum.rolloff += s->t.sums[b].rolloff;
        sum.flatness += s->t.sums[b].flatness;
    }
    for (int b = first / AUR_ACTIVITY_COARSE; b < COARSE_BINS; b++)
        for (unsigned g = 0; g < s->segment_count; g++)
            segments[g] += s->t.segments[b][g];
    double ltas[AUR_BANDS_LTAS] = {0};
    const double total = aur_bands_fold(s->segment, s->segment_count, segments, out->bands, ltas);
    const double active = (double)out->active_frames;
    for (int b = 0; b < AUR_BANDS; b++)
        out->bands[b] = total > 0.0 ? out->bands[b] / total : 0.0;
    for (int i = 0; i < AUR_BANDS_LTAS; i++) {
        const double mean = active > 0.0 ? ltas[i] * s->power_scale / active : 0.0;
        out->ltas_db[i] = mean > 1e-12 ? aur_power_db(mean) : -120.0;
    }
    if (active > 0.0) {
        out->centroid = aur_clamp(sum.centroid / active / 8000.0, 0.0, 1.0);
        out->rolloff = aur_clamp(sum.rolloff / active / 10000.0, 0.0, 1.0);
        out->flatness = aur_clamp(sum.flatness / active, 0.0, 1.0);
    }
}

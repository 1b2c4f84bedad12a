#include "loudness.h"

#include <stdlib.h>
#include <string.h>

enum {
    TENS = 10,        /* 10 ms rows in 100 ms */
    MOMENTARY = 4,    /* 100 ms sums in a gating block */
    SHORT_TERM = 30,  /* in a short-term window */
    TAIL = 15,        /* of silence after the programme, for the loudness range */
    RUN = 512,        /* frames filtered at a time at most */
    FIRST_ROOM = 8192 /* 100 ms sums there is room for from the start */
};

/* Two channels side by side. */
typedef double pair __attribute__((vector_size(16)));

typedef struct {
    pair shelf_b1, shelf_b2, shelf_a1, shelf_a2, pass_a1, pass_a2;
} weighting; /* both numerators begin with 1 */

typedef struct {
    pair shelf[2], pass[2]; /* direct form II: the all-pole signals, newest first */
    pair slope;             /* pass[0] - pass[1] */
    pair energy;            /* of the row so far */
} lane;

struct aur_loudness {
    weighting k;
    lane lanes[AUR_MAX_CHANNELS / 2];
    double weights[AUR_MAX_CHANNELS]; /* the squared gain of both filters included */
    unsigned channels;
    double rate;

    uint64_t before;                /* frames in the 100 ms sums of signals that this one was appended to */
    uint64_t frame, row, row_end;   /* absolute: next frame, its row, first frame of the row after */
    double rows[TENS];              /* energy of the last 10 rows, by row % 10 */
    double sums[SHORT_TERM * TENS]; /* 100 ms energy that ends with each of the last 300 rows */
    double momentary_max, short_term_max;

    double *history, *scratch; /* 100 ms energies on the 100 ms grid; scratch of the same size */
    size_t count, room;
};

static double loudness(double power) {
    return power > 0.0 ? aur_power_db(power) - 0.691 : -INFINITY;
}

/* BS.1770-5 gives two sections at 48 kHz only; these analogue prototypes reproduce them and hold at
 * every rate. Returns the gain left out by numerators that begin with 1. */
static double design(weighting *k, double rate, unsigned flags) {
    const double f = 1681.974450955533, q = 0.7071752369554196, vh = aur_from_db(3.999843853973347);
    const double vb = pow(vh, 0.4996667741545416), t = tan(AUR_PI * f / rate), d = 1.0 + t / q + t * t;
    const double b0 = vh + vb * t / q + t * t;
    k->shelf_b1 = (pair){0} + 2.0 * (t * t - vh) / b0;
    k->shelf_b2 = (pair){0} + (vh - vb * t / q + t * t) / b0;
    k->shelf_a1 = (pair){0} + 2.0 * (t * t - 1.0) / d;
    k->shelf_a2 = (pair){0} + (1.0 - t / q + t * t) / d;

    const double pf = 38.13547087602444, pq = 0.5003270373238773;
    const double u = tan(AUR_PI * pf / rate), e = 1.0 + u / pq + u * u;
    k->pass_a1 = (pair){0} + 2.0 * (u * u - 1.0) / e;
    k->pass_a2 = (pair){0} + (1.0 - u / pq + u * u) / e;
    const double v = tan(AUR_PI * pf / 48000.0);
    return b0 / d * (flags & AUR_LOUDNESS_UNSCALED ? 1.0 : (1.0 + v / pq + v * v) / e);
}

static void default_weights(unsigned channels, double *weights) {
    for (unsigned c = 0; c < channels; c++)
        weights[c] = 1.0;
    switch (channels) {
    case 4:
        weights[2] = weights[3] = 1.41;
        break; /* L R Ls Rs */
    case 5:
        weights[3] = weights[4] = 1.41;
        break; /* L R C Ls Rs */
    case 6:
        weights[3] = 0.0, weights[4] = weights[5] = 1.41;
        break; /* L R C LFE Ls Rs */
    case 7:
        weights[3] = 0.0, weights[5] = weights[6] = 1.41;
        break; /* L R C LFE Cs Ls Rs */
    case 8:
        weights[3] = 0.0, weights[6] = weights[7] = 1.41;
        break; /* L R C LFE Lb Rb Ls Rs */
    }
}

aur_status aur_loudness_create(double sample_rate, unsigned channels, const double *weights, unsigned flags,
                               aur_loudness **out) {
    if (!(sample_rate >= 8000.0 && sample_rate <= 384000.0)) return AUR_EINVAL;
    if (channels < 1 || channels > AUR_MAX_CHANNELS || flags & ~AUR_LOUDNESS_UNSCALED) return AUR_EINVAL;
    if (weights)
        for (unsigned c = 0; c < channels; c++)
            if (!(weights[c] >= 0.0 && isfinite(weights[c]))) return AUR_EINVAL;
    aur_loudness *s = calloc(1, sizeof *s);
    if (!s) return AUR_ENOMEM;
    s->rate = sample_rate;
    s->channels = channels;
    const double gain = design(&s->k, sample_rate, flags);
    default_weights(channels, s->weights);
    if (weights) memcpy(s->weights, weights, channels * sizeof *weights);
    for (unsigned c = 0; c < channels; c++)
        s->weights[c] *= gain * gain;
    s->room = FIRST_ROOM;
    s->history = malloc(2 * s->room * sizeof *s->history);
    if (!s->history) {
        free(s);
        return AUR_ENOMEM;
    }
    s->scratch = s->history + s->room;
    aur_loudness_reset(s);
    *out = s;
    return AUR_OK;
}

aur_status aur_loudness_clone(const aur_loudness *state, aur_loudness **out) {
    aur_loudness *s = malloc(sizeof *s);
    double *history = malloc(2 * state->room * sizeof *history);
    if (!s || !history) {
        free(s);
        free(history);
        return AUR_ENOMEM;
    }
    *s = *state;
    s->history = history;
    s->scratch = history + s->room;
    memcpy(history, state->history, s->count * sizeof *history);
    *out = s;
    return AUR_OK;
}

void aur_loudness_destroy(aur_loudness *state) {
    if (state) free(state->history);
    free(state);
}

/* Rows begin at the nearest frame to every 10 ms. */
static uint64_t row_begin(const aur_loudness *s, uint64_t row) {
    return (uint64_t)floor((double)row * s->rate / 100.0 + 0.5);
}

void aur_loudness_reset(aur_loudness *s) {
    memset(s->lanes, 0, sizeof s->lanes);
    memset(s->rows, 0, sizeof s->rows);
    memset(s->sums, 0, sizeof s->sums);
    s->before = s->frame = s->row = 0;
    s->row_end = row_begin(s, 1);
    s->momentary_max = s->short_term_max = 0.0;
    s->count = 0;
}

aur_status aur_loudness_reserve(aur_loudness *s, size_t frames) {
    const double needed = (double)s->count + 2.0 + (double)frames * 10.0 / s->rate;
    if (needed <= (double)s->room) return AUR_OK;
    const double room = needed + (double)s->room;
    if (room > 4294967296.0) return AUR_ENOMEM; /* 13 years */
    double *history = malloc(2 * (size_t)room * sizeof *history);
    if (!history) return AUR_ENOMEM;
    memcpy(history, s->history, s->count * sizeof *history);
    free(s->history);
    s->room = (size_t)room;
    s->history = history;
    s->scratch = history + s->room;
    return AUR_OK;
}

/* The largest mean power of `count` 100 ms sums in a row that lie on both sides of `seam`. */
static double across(const aur_loudness *s, size_t seam, size_t count) {
    double largest = 0.0;
    for (size_t i = seam > count - 1 ? seam - count + 1 : 0; i < seam && i + count <= s->count; i++) {
        double sum = 0.0;
        for (size_t k = i; k < i + count; k++)
            sum += s->history[k];
        largest = sum > largest ? sum : largest;
    }
    return largest / (0.1 * (double)count * s->rate);
}

aur_status aur_loudness_append(aur_loudness *s, const aur_loudness *next) {
    const size_t seam = s->count;
    const aur_status status = aur_loudness_reserve(s, (size_t)(0.1 * (double)next->count * s->rate) + 1);
    if (status != AUR_OK) return status;
    memcpy(s->history + seam, next->history, next->count * sizeof *s->history);
    s->count += next->count;
    s->momentary_max = fmax(fmax(s->momentary_max, next->momentary_max), across(s, seam, MOMENTARY));
    s->short_term_max = fmax(fmax(s->short_term_max, next->short_term_max), across(s, seam, SHORT_TERM));
    s->before += next->before + row_begin(s, s->row - s->row % TENS);
    memcpy(s->lanes, next->lanes, sizeof s->lanes);
    memcpy(s->rows, next->rows, sizeof s->rows);
    memcpy(s->sums, next->sums, sizeof s->sums);
    s->frame = next->frame, s->row = next->row, s->row_end = next->row_end;
    return AUR_OK;
}

static void weigh(const weighting *k, lane *state, const float *restrict left, const float *restrict right,
                  size_t frames) {
    lane s = *state;
    for (size_t i = 0; i < frames; i++) {
        const pair x = {left[i], right[i]};
        const pair w = (x - k->shelf_a2 * s.shelf[1]) - k->shelf_a1 * s.shelf[0];
        const pair y = w + (k->shelf_b1 * s.shelf[0] + k->shelf_b2 * s.shelf[1]);
        s.shelf[1] = s.shelf[0];
        s.shelf[0] = w;
        const pair v = (y - k->pass_a2 * s.pass[1]) - k->pass_a1 * s.pass[0];
        const pair slope = v - s.pass[0], z = slope - s.slope;
        s.pass[1] = s.pass[0];
        s.pass[0] = v;
        s.slope = slope;
        s.energy += z * z;
    }
    *state = s;
}

/* The mean power of `count` 100 ms stretches, the last of which ends with the last whole row. */
static double window(const aur_loudness *s, int count) {
    const int size = SHORT_TERM * TENS;
    int at = (int)((s->row + size - 1) % size);
    double sum = 0.0;
    for (int i = 0; i < count; i++) {
        sum += s->sums[at];
        at = at < TENS ? at - TENS + size : at - TENS;
    }
    return sum / (0.1 * count * s->rate);
}

static void finish_row(aur_loudness *s) {
    double energy = 0.0;
    for (unsigned c = 0; c < s->channels; c++)
        energy += s->weights[c] * s->lanes[c / 2].energy[c % 2];
    for (unsigned p = 0; p < AUR_MAX_CHANNELS / 2; p++)
        s->lanes[p].energy = (pair){0};

    s->rows[s->row % TENS] = energy;
    double sum = 0.0;
    for (int i = 0; i < TENS; i++)
        sum += s->rows[i];
    s->sums[s->row % (SHORT_TERM * TENS)] = sum;
    s->row++;
    s->row_end = row_begin(s, s->row + 1);
    if (s->row % TENS == 0) s->history[s->count++] = sum;

    const double momentary = window(s, MOMENTARY), short_term = window(s, SHORT_TERM);
    if (momentary > s->momentary_max) s->momentary_max = momentary;
    if (short_term > s->short_term_max) s->short_term_max = short_term;
}

/* A sample that is not finite shows in the energy. Then the run is done again without such samples. */
static void weigh_finite(const weighting *k, lane *state, const float *left, const float *right,
                         size_t frames) {
    const lane before = *state;
    weigh(k, state, left, right, frames);
    if (isfinite(state->energy[0]) && isfinite(state->energy[1])) return;
    float clean[2][RUN];
    for (size_t i = 0; i < frames; i++) {
        clean[0][i] = isfinite(left[i]) ? left[i] : 0.0f;
        clean[1][i] = isfinite(right[i]) ? right[i] : 0.0f;
    }
    *state = before;
    weigh(k, state, clean[0], clean[1], frames);
}

aur_status aur_loudness_process(aur_loudness *s, const float *const *in, size_t frames) {
    const aur_status status = aur_loudness_reserve(s, frames);
    if (status != AUR_OK) return status;
    const aur_fpenv env = aur_flush_denormals();
    for (size_t done = 0; done < frames;) {
        size_t n = frames - done < RUN ? frames - done : RUN;
        if (n > s->row_end - s->frame) n = (size_t)(s->row_end - s->frame);
        for (unsigned c = 0; c < s->channels; c += 2) {
            const float *right = in[c + 1 < s->channels ? c + 1 : c] + done;
            weigh_finite(&s->k, &s->lanes[c / 2], in[c] + done, right, n);
        }
        done += n;
        s->frame += n;
        if (s->frame == s->row_end) finish_row(s);
    }
    aur_restore_denormals(env);
    return AUR_OK;
}

double aur_loudness_momentary(const aur_loudness *s) {
    return loudness(window(s, MOMENTARY));
}
double aur_loudness_short_term(const aur_loudness *s) {
    return loudness(window(s, SHORT_TERM));
}
double aur_loudness_momentary_max(const aur_loudness *s) {
    return loudness(s->momentary_max);
}
double aur_loudness_short_term_max(const aur_loudness *s) {
    return loudness(s->short_term_max);
}

static const double ABSOLUTE_GATE = 1.1724653045822981e-7; /* the power of -70 LUFS */
static const double FAINTEST = 1e-8;                       /* dither and less: never part of a programme */

/* Everything before the first whole block, ungated. */
static double ungated(const aur_loudness *s) {
    double energy = 0.0;
    for (unsigned c = 0; c < s->channels; c++)
        energy += s->weights[c] * s->lanes[c / 2].energy[c % 2];
    for (size_t i = 0; i < s->count; i++)
        energy += s->history[i];
    for (uint64_t row = s->row - s->row % TENS; row < s->row; row++)
        energy += s->rows[row % TENS];
    const double frames = (double)(s->before + s->frame);
    return frames > 0.0 ? loudness(energy / frames) : -INFINITY;
}

double aur_loudness_integrated(const aur_loudness *s) {
    if (s->count < MOMENTARY) return ungated(s);
    const double *h = s->history, scale = 1.0 / (0.1 * MOMENTARY * s->rate);
    double gate = ABSOLUTE_GATE, mean = 0.0;
    for (int pass = 0; pass < 2; pass++) {
        double sum = 0.0;
        size_t blocks = 0;
        for (size_t i = 0; i + MOMENTARY <= s->count; i++) {
            const double power = ((h[i] + h[i + 1]) + (h[i + 2] + h[i + 3])) * scale;
            if (power > gate) sum += power, blocks++;
        }
        if (blocks == 0) return -INFINITY;
        mean = sum / (double)blocks;
        gate = mean * 0.1 > ABSOLUTE_GATE ? mean * 0.1 : ABSOLUTE_GATE;
    }
    return loudness(mean);
}

/* Fills the scratch with the short-term powers of windows from the 100 ms sum `first` on, the last of
 * which reaches `tail` sums of silence beyond the end: those above `gate` and at most 20 LU below the mean
 * of what that leaves. Returns how many there are. */
static size_t gated_short_term(const aur_loudness *s, double gate, size_t first, size_t tail) {
    const double scale = 1.0 / (0.1 * SHORT_TERM * s->rate);
    double *powers = s->scratch, sum = 0.0;
    size_t n = 0, kept = 0;
    for (size_t i = first; i + SHORT_TERM <= s->count + tail; i++) {
        double power = 0.0;
        for (size_t j = i; j < i + SHORT_TERM && j < s->count; j++)
            power += s->history[j];
        power *= scale;
        if (power > gate) sum += powers[n++] = power;
    }
    for (size_t i = 0; i < n; i++)
        if (powers[i] > sum / (double)n * 0.01) powers[kept++] = powers[i];
    return kept;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double aur_loudness_range(const aur_loudness *s) {
    const size_t n = gated_short_term(s, ABSOLUTE_GATE, 0, TAIL);
    if (n == 0) return 0.0;
    qsort(s->scratch, n, sizeof *s->scratch, ascending);
    const size_t low = (size_t)((double)(n - 1) * 0.10 + 0.5), high = (size_t)((double)(n - 1) * 0.95 + 0.5);
    return aur_power_db(s->scratch[high] / s->scratch[low]);
}

double aur_loudness_variation(const aur_loudness *s) {
    double loudest = 0.0;
    for (size_t i = 0; i < s->count; i++)
        loudest = s->history[i] > loudest ? s->history[i] : loudest;
    loudest /= 0.1 * s->rate;
    const double gate = loudest * 1e-5 > FAINTEST ? loudest * 1e-5 : FAINTEST;
    size_t first = 0;
    while (first < s->count && s->history[first] <= gate * 0.1 * s->rate)
        first++;
    const size_t n = gated_short_term(s, gate, first, 0);
    double mean = 0.0, variance = 0.0;
    for (size_t i = 0; i < n; i++)
        mean += s->scratch[i] = aur_power_db(s->scratch[i]);
    for (size_t i = 0; i < n; i++) {
        const double d = s->scratch[i] - mean / (double)n;
        variance += d * d;
    }
    return n ? sqrt(variance / (double)n) : 0.0;
}

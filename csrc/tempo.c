#include "tempo.h"

#include "fft.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_SECONDS 6.0
#define STEP_SECONDS 1.5
#define SHORTEST_SECONDS 0.5
#define LENGTH 1024u /* of the transform: a window and four times the longest lag, without wrap */
#define LAGS (LENGTH / 2)
#define WINDOW_ROWS 600u /* more than a window has */
#define LONGEST_LAG 0.67 /* of a window that is correlated with itself */
#define PEAKS 10u
#define BATCH (2 * AUR_LANES) /* windows in one transform */
#define LEAST_CONFIDENCE 0.15 /* noise reaches .14, speech .02, pads .01; the loosest music .23 */
#define SAME_PULSE 0.03       /* relative difference of lag within which two votes agree */

typedef struct {
    size_t start;
    double lag; /* rows; 0 when the window has no pulse */
    double weight;
} vote;

typedef struct {
    const aur_tempo_rows *rows;
    double shortest, longest; /* lags in rows */
    size_t window, step, votes;
} search;

/* Where the parabola through g[k-1], g[k], g[k+1] has its top. */
static double vertex(const float *g, size_t k) {
    const double a = g[k - 1], b = g[k], c = g[k + 1], bend = a - 2.0 * b + c;
    return (double)k + (bend < 0.0 ? 0.5 * (a - c) / bend : 0.0);
}

/* Mean of v over a train of pulses `period` apart, for every whole phase: returns the phases. */
static size_t pulse_train(const float *v, size_t rows, double period, float *mean) {
    const size_t phases = (size_t)ceil(period);
    const size_t pulses = (size_t)((double)(rows - 1) / period);
    memset(mean, 0, phases * sizeof *mean);
    for (size_t k = 0; k < pulses; k++) {
        const double at = (double)k * period;
        const size_t i = (size_t)at;
        const float f = (float)(at - (double)i);
        const size_t n = i + phases + 1 <= rows ? phases : rows - 1 - i;
        for (size_t p = 0; p < n; p++)
            mean[p] += v[i + p] * (1.0f - f) + v[i + p + 1] * f;
    }
    for (size_t p = 0; p < phases && pulses; p++)
        mean[p] /= (float)pulses;
    return phases;
}

/* Generalised autocorrelation, |FFT|^0.5, of `count` windows; g[w][lag], unscaled. */
static void autocorrelate(const search *s, const aur_fft *plan, size_t first, size_t count, float *lanes,
                          float (*g)[LAGS]) {
    const uint16_t *rows = aur_fft_rows(plan);
    const size_t size = aur_fft_row(LENGTH) * AUR_LANES;
    float *re = lanes, *im = re + size, *gr = im + size, *gi = gr + size;
    memset(lanes, 0, 2 * size * sizeof *lanes);
    for (size_t w = 0; w < count; w++) {
        const float *v = s->rows->onset + (first + w) * s->step;
        float *to = (w < AUR_LANES ? re : im) + w % AUR_LANES;
        double mean = 0.0;
        for (size_t i = 0; i < s->window; i++)
            mean += v[i];
        mean /= (double)s->window;
        for (size_t i = 0; i < s->window; i++)
            to[aur_fft_row(i) * AUR_LANES] = v[i] - (float)mean;
    }
    aur_fft_forward(plan, re, im);
    for (size_t k = 0; k <= LENGTH / 2; k++) {
        const size_t m = (LENGTH - k) % LENGTH;
        const float *ur = re + rows[k] * AUR_LANES, *ui = im + rows[k] * AUR_LANES;
        const float *vr = re + rows[m] * AUR_LANES, *vi = im + rows[m] * AUR_LANES;
        for (size_t l = 0; l < AUR_LANES; l++) {
            const float ar = ur[l] + vr[l], ai = ui[l] - vi[l], br = ui[l] + vi[l], bi = vr[l] - ur[l];
            const size_t to = aur_fft_row(k) * AUR_LANES + l, mirror = aur_fft_row(m) * AUR_LANES + l;
            gr[to] = gr[mirror] = sqrtf(sqrtf(ar * ar + ai * ai));
            gi[to] = gi[mirror] = sqrtf(sqrtf(br * br + bi * bi));
        }
    }
    /* Both spectra are real and even, so the forward transform is the inverse up to scale. */
    aur_fft_forward(plan, gr, gi);
    for (size_t w = 0; w < count; w++) {
        const float *from = (w < AUR_LANES ? gr : gi) + w % AUR_LANES;
        for (size_t i = 0; i < LAGS; i++)
            g[w][i] = from[rows[i] * AUR_LANES];
    }
}

/* The pulse of one window, from its autocorrelation. */
static void cast_vote(const search *s, const float *g, vote *v) {
    float h[LAGS / 4], mean[LAGS / 4];
    size_t peak[PEAKS], peaks = 0;
    const size_t from = (size_t)s->shortest, to = (size_t)s->longest + 2;
    v->lag = v->weight = 0.0;
    if (!(g[0] > 0.0f)) return;
    for (size_t k = from - 1; k <= to; k++)
        h[k] = (g[k] + g[2 * k] + g[4 * k]) / g[0];
    for (size_t k = from; k < to; k++) {
        if (!(h[k] >= h[k - 1] && h[k] > h[k + 1] && h[k] > 0.0f)) continue;
        size_t i = peaks < PEAKS ? peaks++ : PEAKS;
        for (; i > 0 && h[k] > h[peak[i - 1]]; i--)
            if (i < PEAKS) peak[i] = peak[i - 1];
        if (i < PEAKS) peak[i] = k;
    }
    double top[PEAKS], spread[PEAKS], tops = 0.0, spreads = 0.0, best = -1.0;
    size_t chosen = 0;
    for (size_t i = 0; i < peaks; i++) {
        const size_t phases = pulse_train(s->rows->onset + v->start, s->window, vertex(h, peak[i]), mean);
        double sum = 0.0, squares = 0.0, largest = 0.0;
        for (size_t p = 0; p < phases; p++) {
            sum += mean[p];
            squares += (double)mean[p] * mean[p];
            if (mean[p] > largest) largest = mean[p];
        }
        sum /= (double)phases;
        tops += top[i] = largest;
        spreads += spread[i] = squares / (double)phases - sum * sum;
    }
    for (size_t i = 0; i < peaks; i++) {
        const double score = top[i] / (tops + DBL_MIN) + spread[i] / (spreads + DBL_MIN);
        if (score > best) best = score, chosen = i;
    }
    if (!peaks) return;
    v->weight = h[peak[chosen]];
    v->lag = vertex(h, peak[chosen]);
    /* The same peak four or two periods out, when the window holds it, gives the lag more finely. */
    for (unsigned times = 4; times > 1; times /= 2) {
        const double at = v->lag * times;
        if (at >= 0.75 * (double)s->window || at + 6.0 >= LAGS) continue;
        const size_t low = (size_t)(at - 3.0);
        size_t k = low;
        for (size_t i = low; i < low + 8; i++)
            if (g[i] > g[k]) k = i;
        if (k == low || k == low + 7) continue;
        v->lag = vertex(g, k) / times;
        break;
    }
}

/* The lag of the largest group of votes that agree. */
static double shared_lag(const vote *votes, size_t count) {
    double best = 0.0, lag = 0.0;
    for (size_t i = 0; i < count; i++) {
        double weight = 0.0, sum = 0.0;
        for (size_t j = 0; j < count && votes[i].lag > 0.0; j++)
            if (fabs(votes[j].lag / votes[i].lag - 1.0) < SAME_PULSE)
                weight += votes[j].weight, sum += votes[j].weight * votes[j].lag;
        if (weight > best) best = weight, lag = sum / weight;
    }
    return lag;
}

static const double ratios[] = {0.25, 1.0 / 3, 0.5, 2.0 / 3, 0.75, 1.0, 4.0 / 3, 1.5, 2.0, 3.0, 4.0};
#define RATIOS (sizeof ratios / sizeof *ratios)

/* The period of this window that stands for `ratio` times the shared pulse. */
static double local_period(double lag, double pulse, double ratio) {
    for (size_t i = 0; i < RATIOS; i++)
        if (lag > 0.0 && fabs(lag / (pulse * ratios[i]) - 1.0) < 0.04) return lag / ratios[i] * ratio;
    return pulse * ratio;
}

/* Normalised correlation of the rows with those `lag` later, -1..1. */
static double correlation(const float *x, size_t rows, double lag) {
    const size_t whole = (size_t)lag, n = rows - whole - 1;
    const float f = (float)(lag - (double)whole), *y = x + whole;
    float sums[5][AUR_LANES] = {{0}};
    size_t i = 0;
    for (; i + AUR_LANES <= n; i += AUR_LANES)
        for (size_t l = 0; l < AUR_LANES; l++) {
            const float a = x[i + l], b = y[i + l] + (y[i + l + 1] - y[i + l]) * f;
            sums[0][l] += a, sums[1][l] += b, sums[2][l] += a * a, sums[3][l] += b * b, sums[4][l] += a * b;
        }
    for (size_t l = 0; i < n; i++, l++) {
        const float a = x[i], b = y[i] + (y[i + 1] - y[i]) * f;
        sums[0][l] += a, sums[1][l] += b, sums[2][l] += a * a, sums[3][l] += b * b, sums[4][l] += a * b;
    }
    double mean[5] = {0.0};
    for (size_t k = 0; k < 5; k++) {
        for (size_t l = 0; l < AUR_LANES; l++)
            mean[k] += sums[k][l];
        mean[k] /= (double)n;
    }
    const double va = mean[2] - mean[0] * mean[0], vb = mean[3] - mean[1] * mean[1];
    if (!(va > 0.0 && vb > 0.0)) return 0.0;
    return aur_clamp((mean[4] - mean[0] * mean[1]) / sqrt(va * vb), -1.0, 1.0);
}

/*
 * The octave decider. Which multiple of the shared pulse is the beat? Each one in range is scored by
 *
 *   ln(accent on the beat / mean accent)  the pulses of a beat fall on strong events; at twice the beat
 *                                         half of them fall between and ln 2 is lost
 *   + FASTER * octaves                    at half the beat nothing is lost by the first term, so the
 *                                         faster level wins while its accents keep exp(-FASTER) = 73 %
 *                                         of the slower one's
 *   + BACKBEAT * (high - all)             correlation two beats later: the snare comes back every second
 *                                         beat while the kick need not
 *   + EVEN * ln(evenness)                 a beat that every second time falls into nothing is none
 *   - PREFERENCE * octaves squared        listeners' preference for tempi near CENTRE, log-normal
 *                                         (Parncutt 1994, Moelants 2002)
 *
 * with octaves = log2(BPM / CENTRE). The weights come from a conditional logit on the patterns of
 * tests/reference/drums.py, divided by the weight of the first term and rounded on the plateau where
 * neither Accuracy moves.
 *
 * The winner must come back: where its stability is under RETURNING of the runner-up's, they change places.
 */
#define FASTER 0.32
#define BACKBEAT 0.5
#define EVEN 0.1
#define LEAST_EVEN 0.05
#define PREFERENCE 0.04
#define CENTRE 110.0
#define RETURNING 0.2

/* Onset strength at every second beat over that at the others, 0..1: a beat that half the time falls into
 * nothing is none. */
static double evenness(const float *onset, size_t rows, double first, double period) {
    double sum[2] = {0.0}, count[2] = {0.0};
    unsigned odd = 0;
    for (double at = first + 0.5; at < (double)rows; at += period, odd ^= 1) {
        sum[odd] += onset[(size_t)at];
        count[odd] += 1.0;
    }
    if (!(count[1] > 0.0)) return 0.0;
    const double a = sum[0] / count[0], b = sum[1] / count[1];
    return fmax(a, b) > 0.0 ? fmin(a, b) / fmax(a, b) : 0.0;
}

static double beat_score(const search *s, const vote *votes, double pulse, double ratio) {
    float all[WINDOW_ROWS], phase[LAGS / 2];
    double on = 0.0, backbeat = 0.0, even = 0.0;
    size_t count = 0;
    for (size_t w = 0; w < s->votes; w++) {
        if (!(votes[w].lag > 0.0)) continue;
        const float *low = s->rows->low + votes[w].start, *high = s->rows->high + votes[w].start;
        const double period = local_period(votes[w].lag, pulse, ratio);
        double mean = 0.0;
        for (size_t i = 0; i < s->window; i++)
            mean += all[i] = low[i] + high[i];
        if (!(mean > 0.0)) continue;
        const size_t phases = pulse_train(all, s->window, period, phase);
        size_t top = 0;
        for (size_t p = 0; p < phases; p++)
            if (phase[p] > phase[top]) top = p;
        on += phase[top] / mean * (double)s->window;
        even += evenness(s->rows->onset + votes[w].start, s->window, (double)top, period);
        if (2.0 * period < LONGEST_LAG * (double)s->window)
            backbeat +=
                correlation(high, s->window, 2.0 * period) - correlation(all, s->window, 2.0 * period);
        count++;
    }
    if (!(on > 0.0)) return -HUGE_VAL;
    const double n = (double)count, octaves = log2(60.0 * s->rows->rate / (pulse * ratio) / CENTRE);
    return log(on / n) + FASTER * octaves + BACKBEAT * backbeat / n + EVEN * log(fmax(even / n, LEAST_EVEN)) -
           PREFERENCE * octaves * octaves;
}

/*
 * rhythm_stability: over the windows that hold any onset, the mean of
 *   autocorrelation clarity * exp(-(log2(T_w / T))^2 / (2 * 0.04^2))
 * with T_w the local tempo, sought one, two and four beats away: the lag that makes the product largest.
 * Clarity is the share of the variance that the rows one lag earlier explain, the correlation squared.
 */
static double stability(const search *s, const vote *votes, double period) {
    const double sigma = 0.04;
    double sum = 0.0;
    size_t count = 0;
    for (size_t w = 0; w < s->votes; w++) {
        const float *x = s->rows->onset + votes[w].start;
        double best = 0.0, energy = 0.0;
        for (size_t i = 0; i < s->window; i++)
            energy += x[i];
        if (!(energy > 0.0)) continue;
        for (double beats = 1.0; beats <= 4.0; beats *= 2.0)
            for (int i = -6; i <= 6; i++) {
                const double octaves = 0.02 * i, lag = beats * period * exp2(octaves);
                if (lag > LONGEST_LAG * (double)s->window) continue;
                const double r = fmax(0.0, correlation(x, s->window, lag));
                best = fmax(best, r * r * exp(-octaves * octaves / (2.0 * sigma * sigma)));
            }
        sum += best;
        count++;
    }
    return count ? sum / (double)count : 0.0;
}

/* The beat, the runner-up, and how steady the beat is. */
static double decide(const search *s, const vote *votes, double pulse, double *alt, double *steady) {
    double best = -HUGE_VAL, second = -HUGE_VAL, period = pulse;
    *alt = 0.0;
    for (size_t i = 0; i < RATIOS; i++) {
        const double p = pulse * ratios[i];
        if (p < 0.99 * s->shortest || p > 1.01 * s->longest) continue;
        const double score = beat_score(s, votes, pulse, ratios[i]);
        if (score > best) {
            second = best, *alt = second > -HUGE_VAL ? period : 0.0;
            best = score, period = p;
        } else if (score > second) {
            second = score, *alt = p;
        }
    }
    /* Two thirds of a beat may meet stronger events than the beat does; one, two or four of them later
     * there is nothing. */
    *steady = stability(s, votes, period);
    if (*alt > 0.0) {
        const double other = stability(s, votes, *alt);
        if (*steady < RETURNING * other) {
            const double former = period;
            period = *alt, *alt = former, *steady = other;
        }
    }
    return period;
}

/* The share of the votes, by weight, for the beat or a level related to it. */
static double agreement(const search *s, const vote *votes, double period) {
    double agreed = 0.0, all = 0.0;
    for (size_t w = 0; w < s->votes; w++) {
        all += votes[w].weight;
        for (size_t i = 0; i < RATIOS; i++)
            if (fabs(votes[w].lag / (period * ratios[i]) - 1.0) < SAME_PULSE) {
                agreed += votes[w].weight;
                break;
            }
    }
    return all > 0.0 ? agreed / all : 0.0;
}

static float *floats(size_t count) {
    return aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
}

/* BPM in steps of 0.01: finer than any pulse is known, coarse enough that rounding upstream is lost. */
static double in_bpm(double period, double rate) {
    if (!(period > 0.0)) return 0.0;
    return aur_clamp(floor(6000.0 * rate / period + 0.5) / 100.0, AUR_TEMPO_SLOWEST, AUR_TEMPO_FASTEST);
}

aur_status aur_tempo_estimate(const aur_tempo_rows *rows, aur_tempo *out) {
    memset(out, 0, sizeof *out);
    if ((double)rows->count < SHORTEST_SECONDS * rows->rate) return AUR_OK;
    search s = {.rows = rows};
    s.window = (size_t)(WINDOW_SECONDS * rows->rate);
    s.step = (size_t)(STEP_SECONDS * rows->rate);
    if (s.window > rows->count) s.window = rows->count;
    s.votes = (rows->count - s.window) / s.step + 1;
    s.shortest = 60.0 * rows->rate / AUR_TEMPO_FASTEST;
    s.longest = fmin(60.0 * rows->rate / AUR_TEMPO_SLOWEST, 0.5 * (double)s.window);

    float *lanes = floats(4 * aur_fft_row(LENGTH) * AUR_LANES);
    float (*g)[LAGS] = (float (*)[LAGS])floats(BATCH * LAGS);
    vote *votes = calloc(s.votes, sizeof *votes);
    aur_fft *plan = NULL;
    aur_status status = aur_fft_create(LENGTH, &plan);
    if (!lanes || !g || !votes) status = AUR_ENOMEM;
    if (!status) {
        for (size_t first = 0; first < s.votes; first += BATCH) {
            const size_t count = s.votes - first < BATCH ? s.votes - first : BATCH;
            autocorrelate(&s, plan, first, count, lanes, g);
            for (size_t w = 0; w < count; w++) {
                votes[first + w].start = (first + w) * s.step;
                cast_vote(&s, g[w], votes + first + w);
            }
        }
        double alt;
        const double pulse = shared_lag(votes, s.votes);
        if (pulse > 0.0) {
            const double period = decide(&s, votes, pulse, &alt, &out->stability);
            out->confidence = out->stability * agreement(&s, votes, period);
            if (out->confidence >= LEAST_CONFIDENCE) {
                out->bpm = in_bpm(period, rows->rate);
                out->alt = in_bpm(alt, rows->rate);
            }
        }
    }
    aur_fft_destroy(plan);
    free(lanes);
    free(g);
    free(votes);
    return status;
}

#include "limiter.h"

#include "peak.h"
#include "pow2.h"
#include "truepeak.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 256,
    GUARD = 3,   /* frames the gain is held on either side of a peak, for the reach of the interpolator */
    PHASES = 8,  /* of the second, finer look at what may be over */
    HALF = 32,   /* its taps on either side */
    SIDES = 4,   /* phases 1-3 and their mirror images, and phase 4 */
    LOOK = HALF, /* frames the second look is late */
    WAIT = LOOK - AUR_TRUEPEAK_LATENCY, /* frames the first look waits for it */
    NEAR = 16,                          /* frames of which it is enough to know the largest */
    SPAN = 32,                          /* frames about an interval whose treble casts doubt on it */
};
static const double BOX_S = 0.001, RELEASE_S = 0.080;
static const float UNITY = 268435456.0f; /* 2^28: gain 1 in fixed point */
static const float CERTAIN = 0.01f;      /* share of the first look that may go unseen: .1 dB */
static const float UNSEEN = 0.4f,
                   FURTHER = 0.8f;  /* shares of the treble that longer interpolators may yet find */
static const double BETA = 6.0;     /* Kaiser window of the second look */
static const float LEAST = -256.0f; /* no ceiling is further, in log2, under a float */
static const float CLOSE = 1e-6f;   /* log2 distance at which the release has arrived */

typedef float quad __attribute__((vector_size(16)));

struct aur_limiter {
    unsigned channels;
    size_t box, window, latency, history; /* frames */
    float ceiling, log2_ceiling, release;
    aur_truepeak *peak;
    float first[WAIT];                                /* what the first look saw last */
    quad even[SIDES][HALF / 4], odd[SIDES][HALF / 4]; /* outermost pair first */
    /* Sliding minimum: the running minimum of the current window-long stretch, and the minima from
     * each place to the end of the stretch before it. */
    size_t at, calm; /* calm: frames since anything was over */
    float running, held;
    size_t box_at;
    int64_t sum[3];
    /* At the end of this allocation: */
    float *stretch, *suffix; /* window, window + 1 */
    int64_t *past[3];        /* box each */
    float *delay;            /* channels x (history + BLOCK) */
};

static size_t box_frames(double sample_rate) {
    return (size_t)(BOX_S * sample_rate + 0.5);
}

/* Under 16 kHz the gain moves faster than a long interpolator forgets. */
static double margin_db(double sample_rate) {
    return sample_rate < 16000.0 ? 2.5 * AUR_LIMITER_MARGIN_DB : AUR_LIMITER_MARGIN_DB;
}

/* Length of the three boxes together. */
static size_t support(size_t box) {
    return 3 * box - 2;
}

size_t aur_limiter_latency_at(double sample_rate) {
    return LOOK + support(box_frames(sample_rate)) - 1 + GUARD;
}

static double bessel_i0(double x) {
    double term = 1.0, sum = 1.0;
    for (int k = 1; term > 1e-17 * sum; k++) {
        term *= (x / (2.0 * k)) * (x / (2.0 * k));
        sum += term;
    }
    return sum;
}

static double windowed_sinc(double t) {
    const double r = t / HALF;
    return sin(AUR_PI * t) / (AUR_PI * t) * bessel_i0(BETA * sqrt(1.0 - r * r)) / bessel_i0(BETA);
}

/* Phases p and PHASES - p are mirror images: P + Q and P - Q, where P weighs the sum of the two samples at
 * equal distance from the middle of the interval and Q their difference. The larger is |P| + |Q|. */
static void design(aur_limiter *s) {
    for (int k = 0; k < HALF; k++)
        for (int p = 1; p <= SIDES; p++) {
            const double near = windowed_sinc(HALF - 1 - k + (double)p / PHASES);
            const double far = windowed_sinc(HALF - k - (double)p / PHASES);
            s->even[p - 1][k / 4][k % 4] = (float)(0.5 * (near + far));
            s->odd[p - 1][k / 4][k % 4] = (float)(0.5 * (near - far));
        }
}

/* The largest |value| inside the interval that ends HALF - 1 frames before the newest. */
static float second_look(const aur_limiter *s, const float *newest) {
    quad even[SIDES] = {0}, odd[SIDES] = {0}; /* a phase each, four of its pairs side by side */
    for (size_t k = 0; k < HALF / 4; k++) {
        quad older, newer;
        memcpy(&older, newest - (2 * HALF - 1) + 4 * k, sizeof older);
        memcpy(&newer, newest - 3 - 4 * k, sizeof newer);
        newer = (quad){newer[3], newer[2], newer[1], newer[0]};
        const quad sum = older + newer, difference = older - newer;
        for (size_t p = 0; p < SIDES; p++) {
            even[p] += s->even[p][k] * sum;
            odd[p] += s->odd[p][k] * difference;
        }
    }
    float top = 0.0f;
    for (size_t p = 0; p < SIDES; p++) {
        const float value = fabsf((even[p][0] + even[p][2]) + (even[p][1] + even[p][3])) +
                            fabsf((odd[p][0] + odd[p][2]) + (odd[p][1] + odd[p][3]));
        top = value > top ? value : top;
    }
    return top;
}

/* doubt[i]: the largest treble about the interval that the second look would see at fresh frame i, by an
 * eighth difference: 1 at Nyquist, 1/16 at half of it. The first look misses no more than that. */
static void doubt_first_look(const float *fresh, float *doubt, size_t n) {
    float treble[BLOCK + SPAN];
    const float *x = fresh - LOOK - SPAN / 2 + 1;
    for (size_t i = 0; i < n + SPAN - 1; i++, x++)
        treble[i] = fabsf(70.0f * x[0] - 56.0f * (x[-1] + x[1]) + 28.0f * (x[-2] + x[2]) -
                          8.0f * (x[-3] + x[3]) + (x[-4] + x[4])) *
                    (1.0f / 256.0f);
    size_t left = n + SPAN - 1;
    for (size_t reach = 1; reach < SPAN; reach *= 2) {
        left -= reach;
        for (size_t i = 0; i < left; i++)
            treble[i] = treble[i] > treble[i + reach] ? treble[i] : treble[i + reach];
    }
    for (size_t i = 0; i < n; i++)
        doubt[i] = treble[i];
}

/* most[i]: what a second look may at most come to, between first[i] and first[i + 1]; 0 where the first is
 * enough. doubt[i] becomes what is added to it for longer interpolators, which find the more the closer to
 * Nyquist the signal lies. */
static void bound(const aur_limiter *s, const float *first, float *doubt, float *most, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float flank = first[i + 1] > first[i] ? first[i + 1] : first[i];
        const float bar = doubt[i] > CERTAIN * first[i] ? s->ceiling : INFINITY;
        const float share = doubt[i] < first[i] ? doubt[i] / (first[i] + 1e-30f) : 1.0f;
        const float unseen = doubt[i] * (UNSEEN + FURTHER * share);
        most[i] = first[i] + doubt[i] > bar ? flank + doubt[i] + unseen : 0.0f;
        doubt[i] = unseen;
    }
}

/* The largest of top[from .. to). */
static float largest(const float *top, size_t from, size_t to) {
    float most = 0.0f;
    for (size_t i = from; i < to; i++)
        most = top[i] > most ? top[i] : most;
    return most;
}

/*
 * Peak envelope of the n newest frames, LOOK frames late.
 *
 * The gain follows the largest peak of every window, so a frame between two larger ones that no window is
 * wide enough to part needs no second look: it is never the one. What is surely there on either side is
 * known by runs of NEAR frames, of which as many are asked as fit into a window.
 */
static void look(aur_limiter *s, float *peak, size_t n) {
    const size_t stride = s->history + BLOCK, runs = (n + NEAR - 1) / NEAR,
                 reach = (s->window / NEAR - 1) / 2;
    const float *fresh[AUR_MAX_CHANNELS];
    float first[WAIT + BLOCK], doubt[AUR_MAX_CHANNELS][BLOCK], most[AUR_MAX_CHANNELS][BLOCK];
    float top[BLOCK / NEAR];
    for (unsigned c = 0; c < s->channels; c++)
        fresh[c] = s->delay + c * stride + s->history;
    memcpy(first, s->first, sizeof s->first);
    aur_truepeak_envelope(s->peak, fresh, first + WAIT, n);
    memcpy(s->first, first + n, sizeof s->first);
    memcpy(peak, first, n * sizeof *peak);
    for (unsigned c = 0; c < s->channels; c++) {
        doubt_first_look(fresh[c], doubt[c], n);
        bound(s, first, doubt[c], most[c], n);
    }
    for (size_t r = 0; r < runs; r++)
        top[r] = aur_peak_value(aur_peak_bits(first + r * NEAR, r + 1 < runs ? NEAR : n - r * NEAR));
    for (size_t r = 0; r < runs; r++) {
        const float before = largest(top, r > reach ? r - reach : 0, r);
        const float after = largest(top, r + 1, r + 1 + reach < runs ? r + 1 + reach : runs);
        const float between = before < after ? before : after;
        const size_t end = (r + 1) * NEAR < n ? (r + 1) * NEAR : n;
        for (unsigned c = 0; c < s->channels; c++) {
            if (aur_peak_value(aur_peak_bits(most[c] + r * NEAR, end - r * NEAR)) <= between) continue;
            for (size_t i = r * NEAR; i < end; i++) {
                if (most[c][i] <= between || most[c][i] <= peak[i]) continue;
                const float second = second_look(s, fresh[c] + i) + doubt[c][i];
                const float found = second < most[c][i] ? second : most[c][i];
                peak[i] = found > peak[i] ? found : peak[i];
                top[r] = peak[i] > top[r] ? peak[i] : top[r];
            }
        }
    }
}

static size_t bytes(unsigned channels, size_t box, size_t window, size_t history) {
    return sizeof(aur_limiter) + 3 * box * sizeof(int64_t) +
           (2 * window + 1 + channels * (history + BLOCK)) * sizeof(float);
}

static size_t size_of(const aur_limiter *s) {
    return bytes(s->channels, s->box, s->window, s->history);
}

static void point_into_allocation(aur_limiter *s) {
    s->past[0] = (int64_t *)(s + 1);
    s->past[1] = s->past[0] + s->box;
    s->past[2] = s->past[1] + s->box;
    s->stretch = (float *)(s->past[2] + s->box);
    s->suffix = s->stretch + s->window;
    s->delay = s->suffix + s->window + 1;
}

aur_status aur_limiter_create(double ceiling_db, double sample_rate, unsigned channels, aur_limiter **out) {
    if (!(ceiling_db >= -60.0 && ceiling_db <= 0.0)) return AUR_EINVAL;
    if (!(sample_rate >= 8000.0 && sample_rate <= 192000.0)) return AUR_EINVAL;
    if (channels < 1 || channels > AUR_MAX_CHANNELS) return AUR_EINVAL;
    const size_t box = box_frames(sample_rate), window = support(box) + 2 * GUARD;
    const size_t latency = aur_limiter_latency_at(sample_rate);
    /* At low rates the second look reaches further back than the output lags. */
    const size_t history = latency > 2 * HALF ? latency : 2 * HALF;
    aur_limiter *s = calloc(1, bytes(channels, box, window, history));
    if (!s) return AUR_ENOMEM;
    s->channels = channels;
    s->box = box;
    s->window = window;
    s->latency = latency;
    s->history = history;
    s->ceiling = (float)aur_from_db(ceiling_db - margin_db(sample_rate));
    s->log2_ceiling = aur_log2f(s->ceiling);
    s->release = (float)(1.0 - exp(-1.0 / (RELEASE_S * sample_rate)));
    const aur_status status = aur_truepeak_create(channels, &s->peak);
    if (status != AUR_OK) {
        free(s);
        return status;
    }
    design(s);
    point_into_allocation(s);
    aur_limiter_reset(s);
    *out = s;
    return AUR_OK;
}

aur_status aur_limiter_clone(const aur_limiter *state, aur_limiter **out) {
    aur_limiter *s = malloc(size_of(state));
    if (!s) return AUR_ENOMEM;
    memcpy(s, state, size_of(state));
    point_into_allocation(s);
    const aur_status status = aur_truepeak_clone(state->peak, &s->peak);
    if (status != AUR_OK) {
        free(s);
        return status;
    }
    *out = s;
    return AUR_OK;
}

void aur_limiter_destroy(aur_limiter *state) {
    if (state) aur_truepeak_destroy(state->peak);
    free(state);
}

void aur_limiter_reset(aur_limiter *s) {
    aur_truepeak_reset(s->peak);
    memset(s->first, 0, sizeof s->first);
    s->at = s->box_at = 0;
    s->calm = 2 * s->window;
    s->running = s->held = 0.0f;
    memset(s->stretch, 0, s->window * sizeof *s->stretch);
    memset(s->suffix, 0, (s->window + 1) * sizeof *s->suffix);
    memset(s->delay, 0, s->channels * (s->history + BLOCK) * sizeof *s->delay);
    int64_t value = (int64_t)UNITY;
    for (int k = 0; k < 3; k++) {
        for (size_t i = 0; i < s->box; i++)
            s->past[k][i] = value;
        value *= (int64_t)s->box;
        s->sum[k] = value;
    }
}

void aur_limiter_snapshot(aur_limiter *s, aur_walk *walk) {
    aur_truepeak_snapshot(s->peak, walk);
    aur_walk_samples(walk, s->first, WAIT);
    aur_walk_index(walk, &s->at, s->window);
    aur_walk_index(walk, &s->calm, SIZE_MAX);
    aur_walk_floats(walk, &s->running, 1, LEAST, 0.0f);
    aur_walk_floats(walk, &s->held, 1, LEAST, 0.0f);
    aur_walk_floats(walk, s->stretch, s->window, LEAST, 0.0f);
    aur_walk_floats(walk, s->suffix, s->window + 1, LEAST, 0.0f);
    aur_walk_index(walk, &s->box_at, s->box);
    int64_t most = (int64_t)UNITY;
    for (int k = 0; k < 3; k++) {
        aur_walk_integers(walk, s->past[k], s->box, 0, most);
        most *= (int64_t)s->box;
        aur_walk_integers(walk, &s->sum[k], 1, 0, most);
    }
    for (unsigned c = 0; c < s->channels; c++)
        aur_walk_samples(walk, s->delay + c * (s->history + BLOCK), s->history);
}

size_t aur_limiter_latency(const aur_limiter *state) {
    return state->latency;
}

/* Every part of the gain computer stands at unity, and stays there while nothing is over. */
static int at_rest(const aur_limiter *s) {
    int64_t full = (int64_t)UNITY;
    int rest = s->calm >= 2 * s->window && s->held == 0.0f;
    for (int k = 0; k < 3; k++)
        rest &= s->sum[k] == (full *= (int64_t)s->box);
    return rest;
}

/* gain[i] holds the peak envelope on entry, log2 of the held and released gain on return. */
static void hold_and_release(aur_limiter *s, float *gain, size_t n) {
    const float log2_ceiling = s->log2_ceiling, release = s->release;
    for (size_t i = 0; i < n; i++)
        gain[i] = log2_ceiling - aur_log2f(gain[i] > s->ceiling ? gain[i] : s->ceiling);
    float held = s->held;
    for (size_t i = 0; i < n; i++) {
        const float need = gain[i];
        s->calm = need < 0.0f ? 0 : s->calm + 1;
        s->stretch[s->at] = need;
        if (need < s->running) s->running = need;
        const float rest = s->suffix[s->at + 1];
        const float minimum = s->running < rest ? s->running : rest;
        if (minimum - held > CLOSE)
            held += release * (minimum - held);
        else
            held = minimum;
        gain[i] = held;
        if (++s->at == s->window) {
            float least = 0.0f;
            for (size_t k = s->window; k-- > 0;)
                s->suffix[k] = least = s->stretch[k] < least ? s->stretch[k] : least;
            s->at = 0;
            s->running = 0.0f;
        }
    }
    s->held = held;
}

/* log2 gain to the smoothed linear gain. Integer sums are exact: unity in is unity out, for ever. */
static void smooth(aur_limiter *s, float *gain, size_t n) {
    int32_t fixed[BLOCK];
    for (size_t i = 0; i < n; i++)
        fixed[i] = (int32_t)(UNITY * aur_exp2f(gain[i] > -60.0f ? gain[i] : -60.0f));
    const double box = (double)s->box, scale = 1.0 / ((double)UNITY * box * box * box);
    size_t at = s->box_at;
    int64_t a = s->sum[0], b = s->sum[1], c = s->sum[2];
    for (size_t i = 0; i < n; i++) {
        a += fixed[i] - s->past[0][at];
        s->past[0][at] = fixed[i];
        b += a - s->past[1][at];
        s->past[1][at] = a;
        c += b - s->past[2][at];
        s->past[2][at] = b;
        if (++at == s->box) at = 0;
        gain[i] = (float)((double)c * scale);
    }
    s->sum[0] = a;
    s->sum[1] = b;
    s->sum[2] = c;
    s->box_at = at;
}

float aur_limiter_process(aur_limiter *s, const float *const *in, float *const *out, size_t frames) {
    const aur_fpenv env = aur_flush_denormals();
    const size_t stride = s->history + BLOCK;
    float gain[BLOCK], least = 1.0f;
    for (size_t done = 0; done < frames;) {
        const size_t n = frames - done < BLOCK ? frames - done : BLOCK;
        for (unsigned c = 0; c < s->channels; c++)
            aur_copy_finite(in[c] + done, s->delay + c * stride + s->history, n);
        look(s, gain, n);
        const int idle = at_rest(s) && largest(gain, 0, n) <= s->ceiling;
        if (!idle) {
            hold_and_release(s, gain, n);
            smooth(s, gain, n);
            for (size_t i = 0; i < n; i++)
                least = gain[i] < least ? gain[i] : least;
        }
        for (unsigned c = 0; c < s->channels; c++) {
            float *held = s->delay + c * stride, *y = out[c] + done;
            const float *past = held + s->history - s->latency;
            if (idle)
                memcpy(y, past, n * sizeof *y);
            else
                for (size_t i = 0; i < n; i++) /* the product would flush a denormal at unity */
                    y[i] = gain[i] == 1.0f ? past[i] : past[i] * gain[i];
            memmove(held, held + n, s->history * sizeof *held);
        }
        done += n;
    }
    aur_restore_denormals(env);
    return least;
}

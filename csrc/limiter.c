#include "limiter.h"

#include "envelope.h"
#include "peak.h"
#include "pow2.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = AUR_ENVELOPE_BLOCK,
    GUARD = 3, /* frames the gain is held on either side of a peak, for the reach of the interpolator */
};
static const double BOX_S = 0.001, RELEASE_S = 0.080;
static const float UNITY = 268435456.0f; /* 2^28: gain 1 in fixed point */
static const float LEAST = -256.0f;      /* no ceiling is further, in log2, under a float */
static const float CLOSE = 1e-6f;        /* log2 distance at which the release has arrived */

struct aur_limiter {
    unsigned channels;
    size_t box, window, latency, history; /* frames */
    float ceiling, log2_ceiling, release;
    aur_envelope *envelope;
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

/* At low rates the gain moves faster than a long interpolator forgets. */
static double margin_db(double sample_rate) {
    return AUR_LIMITER_MARGIN_DB * (sample_rate < 44100.0 ? sqrt(44100.0 / sample_rate) : 1.0);
}

/* Length of the three boxes together. */
static size_t support(size_t box) {
    return 3 * box - 2;
}

size_t aur_limiter_latency_at(double sample_rate) {
    return AUR_ENVELOPE_LATENCY + support(box_frames(sample_rate)) - 1 + GUARD;
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
    /* At low rates the envelope reaches further back than the output lags. */
    const size_t history = latency > AUR_ENVELOPE_HISTORY ? latency : AUR_ENVELOPE_HISTORY;
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
    const aur_status status = aur_envelope_create(&s->envelope);
    if (status != AUR_OK) {
        free(s);
        return status;
    }
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
    const aur_status status = aur_envelope_clone(state->envelope, &s->envelope);
    if (status != AUR_OK) {
        free(s);
        return status;
    }
    *out = s;
    return AUR_OK;
}

void aur_limiter_destroy(aur_limiter *state) {
    if (state) aur_envelope_destroy(state->envelope);
    free(state);
}

void aur_limiter_reset(aur_limiter *s) {
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
    float held = s->held, running = s->running;
    size_t at = s->at, calm = s->calm;
    for (size_t i = 0; i < n; i++) {
        const float need = gain[i], rest = s->suffix[at + 1];
        calm = need < 0.0f ? 0 : calm + 1;
        s->stretch[at] = need;
        running = need < running ? need : running;
        const float minimum = running < rest ? running : rest;
        held = minimum - held > CLOSE ? held + release * (minimum - held) : minimum;
        gain[i] = held;
        if (++at == s->window) {
            float least = 0.0f;
            for (size_t k = s->window; k-- > 0;)
                s->suffix[k] = least = s->stretch[k] < least ? s->stretch[k] : least;
            at = 0;
            running = 0.0f;
        }
    }
    s->held = held;
    s->running = running;
    s->at = at;
    s->calm = calm;
}

/* log2 gain to the smoothed linear gain, of which the smallest is returned. Integer sums are exact: unity in
 * is unity out, for ever. */
static float smooth(aur_limiter *s, float *gain, size_t n) {
    int32_t fixed[BLOCK];
    for (size_t i = 0; i < n; i++)
        fixed[i] = (int32_t)(UNITY * aur_exp2f(gain[i] > -60.0f ? gain[i] : -60.0f));
    const double box = (double)s->box, scale = 1.0 / ((double)UNITY * box * box * box);
    size_t at = s->box_at;
    int64_t a = s->sum[0], b = s->sum[1], c = s->sum[2], least = INT64_MAX;
    for (size_t i = 0; i < n; i++) {
        a += fixed[i] - s->past[0][at];
        s->past[0][at] = fixed[i];
        b += a - s->past[1][at];
        s->past[1][at] = a;
        c += b - s->past[2][at];
        s->past[2][at] = b;
        if (++at == s->box) at = 0;
        least = c < least ? c : least;
        gain[i] = (float)((double)c * scale);
    }
    s->sum[0] = a;
    s->sum[1] = b;
    s->sum[2] = c;
    s->box_at = at;
    return (float)((double)least * scale);
}

float aur_limiter_process(aur_limiter *s, const float *const *in, float *const *out, size_t frames) {
    const aur_fpenv env = aur_flush_denormals();
    const size_t stride = s->history + BLOCK;
    float gain[BLOCK], least = 1.0f;
    for (size_t done = 0; done < frames;) {
        const size_t n = frames - done < BLOCK ? frames - done : BLOCK;
        memset(gain, 0, n * sizeof *gain);
        for (unsigned c = 0; c < s->channels; c++) {
            float *fresh = s->delay + c * stride + s->history;
            aur_copy_finite(in[c] + done, fresh, n);
            aur_envelope_raise(s->envelope, fresh, gain, n);
        }
        const int idle = at_rest(s) && aur_peak_value(aur_peak_bits(gain, n)) <= s->ceiling;
        if (!idle) {
            hold_and_release(s, gain, n);
            const float smallest = smooth(s, gain, n);
            least = smallest < least ? smallest : least;
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

#include "declip.h"

#include <stdlib.h>

enum { BLOCK = 256, SIDE = 2 }; /* SIDE: samples on either side of a run that its cubic goes through */
static const double LONGEST_S = 88.0 / 44100.0; /* of what a chain keeps for declipping alone */

/* Fitted to hard clips by 3 to 13 dB of real and synthesised music: shares of the two guesses, bound of the
 * first, height of the second for the shortest run, more for long ones, and the length of half of that. */
static const double NEARBY = 0.7, USUAL = 0.35, BOUND = 6.0, SHORT = 0.4, LONG = 3.2, HALF_S = 30.0 / 44100.0;

struct aur_declip {
    unsigned channels;
    size_t longest, latency;
    float low, level;             /* where a sample counts as clipped; what a redrawn one lies over */
    double rise, half;            /* half: HALF_S in frames */
    size_t run[AUR_MAX_CHANNELS]; /* length of the run that the sample before the last SIDE is in */
    float *held;                  /* channels x stride(), at the end of this allocation */
};

size_t aur_declip_latency_at(double sample_rate) {
    return (size_t)(LONGEST_S * sample_rate + 0.5) + SIDE;
}

size_t aur_declip_longest_in(size_t latency) {
    return latency - SIDE;
}

/* Two frames already put out are kept too: they are the near side of a run that begins at once. */
static size_t stride(const aur_declip *s) {
    return SIDE + s->latency + BLOCK;
}

static size_t bytes(const aur_declip *s) {
    return sizeof *s + s->channels * stride(s) * sizeof(float);
}

aur_status aur_declip_create(const aur_declip_params *p, double sample_rate, unsigned channels,
                             aur_declip **out) {
    if (!(p->level > 0.0 && p->level <= 1e9 && p->low > 0.0 && p->low <= p->level)) return AUR_EINVAL;
    if (!(p->rise >= 0.0 && p->rise <= 1.0)) return AUR_EINVAL;
    if (!(sample_rate >= 8000.0 && sample_rate <= 192000.0)) return AUR_EINVAL;
    if (channels < 1 || channels > AUR_MAX_CHANNELS) return AUR_EINVAL;
    if (p->longest < 1 || p->longest > 100000) return AUR_EINVAL;
    aur_declip shape = {.channels = channels, .longest = p->longest, .latency = p->longest + SIDE};
    shape.low = (float)p->low;
    shape.level = (float)p->level;
    shape.rise = p->rise;
    shape.half = HALF_S * sample_rate;
    aur_declip *s = calloc(1, bytes(&shape));
    if (!s) return AUR_ENOMEM;
    *s = shape;
    s->held = (float *)(s + 1);
    *out = s;
    return AUR_OK;
}

aur_status aur_declip_clone(const aur_declip *state, aur_declip **out) {
    aur_declip *s = malloc(bytes(state));
    if (!s) return AUR_ENOMEM;
    memcpy(s, state, bytes(state));
    s->held = (float *)(s + 1);
    *out = s;
    return AUR_OK;
}

void aur_declip_destroy(aur_declip *state) {
    free(state);
}

void aur_declip_snapshot(aur_declip *s, aur_walk *walk) {
    for (unsigned c = 0; c < s->channels; c++) {
        aur_walk_index(walk, &s->run[c], SIZE_MAX);
        aur_walk_samples(walk, s->held + c * stride(s), SIDE + s->latency);
    }
}

/* x[-2], x[-1], x[n] and x[n + 1] are reliable; x[0 .. n) is redrawn. */
static void redraw(const aur_declip *s, float *x, size_t n) {
    const double sign = x[0] < 0.0f ? -1.0 : 1.0, m = (double)n, scale = sign / s->level;
    const double a = scale * x[-2], b = scale * x[-1], c = scale * x[n], d = scale * x[n + 1];
    const double top = USUAL * s->rise * (SHORT + LONG * m / (m + s->half));
    const double per_bound = s->rise > 0.0 ? 1.0 / (BOUND * s->rise) : 0.0;
    for (size_t i = 0; i < n; i++) {
        const double t = (double)i, p = t + 2.0, q = t + 1.0, u = t - m, v = t - m - 1.0;
        const double y = -a * q * u * v / ((m + 2.0) * (m + 3.0)) + b * p * u * v / ((m + 1.0) * (m + 2.0)) -
                         c * p * q * v / ((m + 2.0) * (m + 1.0)) + d * p * q * u / ((m + 3.0) * (m + 2.0));
        const double over = y > 1.0 && s->rise > 0.0 ? y - 1.0 : 0.0, part = over * per_bound;
        const double nearby = over / sqrt(1.0 + part * part);
        const double usual = -4.0 * top * q * u / ((m + 1.0) * (m + 1.0));
        x[i] = (float)(x[i] + sign * s->level * (NEARBY * nearby + usual));
    }
}

/* The sample *newest has come in, and so the one SIDE before it can be judged. */
static void judge(aur_declip *s, unsigned c, float *newest) {
    float *x = newest - SIDE;
    const float sign = copysignf(1.0f, x[0]);
    if (sign * x[0] < s->low) {
        s->run[c] = 0;
        return;
    }
    s->run[c] = s->run[c] > 0 && sign * x[-1] > 0.0f ? s->run[c] + 1 : 1;
    if (sign * x[1] < s->low && s->run[c] <= s->longest) redraw(s, x + 1 - s->run[c], s->run[c]);
}

void aur_declip_process(aur_declip *s, const float *const *in, float *const *out, size_t frames) {
    for (size_t done = 0; done < frames;) {
        const size_t n = frames - done < BLOCK ? frames - done : BLOCK;
        for (unsigned c = 0; c < s->channels; c++) {
            float *held = s->held + c * stride(s), *fresh = held + SIDE + s->latency;
            memcpy(fresh, in[c] + done, n * sizeof *fresh);
            for (size_t i = 0; i < n; i++)
                judge(s, c, fresh + i);
            memcpy(out[c] + done, held + SIDE, n * sizeof *held);
            memmove(held, held + n, (SIDE + s->latency) * sizeof *held);
        }
        done += n;
    }
}

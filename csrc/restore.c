#include "restore.h"

#include "pow2.h"

#include <stdlib.h>
#include <string.h>

enum { BANDS = 4, SPLITS = BANDS - 1, BLOCK = 256 };
static const double THRESHOLD_DB = 1.5, FAST_S = 0.0015, SLOW_S = 0.100, ATTACK_S = 0.001, RELEASE_S = 0.010;
static const double KNEE_DB = 1.0, AHEAD_S = 0.0015, REACH_S = 0.040;
static const double SPLIT_HZ[SPLITS] = {120.0, 700.0, 4000.0};
static const double FLOOR = 1e-7;         /* power added to both levels: -70 dBFS is nobody's transient */
static const double FIXED = 1073741824.0; /* 2^30 */
static const double LARGEST = 16.0;       /* larger samples are split as if they were this */

/* Three boxes of n frames fall to one half (-6 dB) where sinc^3 does. */
static const double HALF_POINT = 0.3701;

struct aur_restore {
    unsigned channels;
    size_t quantum, lag, history, ahead; /* frames */
    size_t box[SPLITS];
    double scale[SPLITS]; /* box sums to samples */
    double fill, lift, per_held, fast, slow, attack, release, keep;
    /* Where the signal stands in the quantum, and the levels. */
    size_t at;
    uint64_t quanta;
    float peak; /* of the quantum that lies ahead */
    double reach;
    double power[AUR_MAX_CHANNELS][BANDS], fast_power[BANDS], slow_power[BANDS], gain_log2[BANDS];
    float from[BANDS], step[BANDS]; /* linear gain over the quantum being put out */
    uint64_t integral[AUR_MAX_CHANNELS][3];
    /* At the end of this allocation, channels of each: */
    uint64_t *third; /* history + BLOCK: third integral of the input */
    float *dry;      /* lag + BLOCK */
    float *waiting;  /* BANDS x quantum: dry and the three low-passes, one quantum ago */
};

static size_t quantum_frames(double sample_rate) {
    return sample_rate <= 16000.0 ? 8 : sample_rate <= 50000.0 ? 16 : sample_rate <= 100000.0 ? 32 : 64;
}

/* Odd, so that the delay of the cascade is a whole number of frames. */
static size_t box_frames(double sample_rate, double split_hz) {
    return 2 * (size_t)(HALF_POINT * sample_rate / split_hz / 2.0) + 1;
}

static size_t group_delay(size_t box) {
    return 3 * (box - 1) / 2;
}

size_t aur_restore_latency_at(double sample_rate) {
    return group_delay(box_frames(sample_rate, SPLIT_HZ[0])) + quantum_frames(sample_rate);
}

/* Past frames of the dry signal: enough for the whole latency when there is no fill to wait for. */
static size_t dry_stride(const aur_restore *s) {
    return s->lag + s->quantum + BLOCK;
}

static size_t extra_bytes(const aur_restore *s) {
    return s->channels *
           ((s->history + BLOCK) * sizeof(uint64_t) + (dry_stride(s) + BANDS * s->quantum) * sizeof(float));
}

static void point_into_allocation(aur_restore *s) {
    s->third = (uint64_t *)(s + 1);
    s->dry = (float *)(s->third + s->channels * (s->history + BLOCK));
    s->waiting = s->dry + s->channels * dry_stride(s);
}

aur_status aur_restore_create(const aur_restore_params *p, double sample_rate, unsigned channels,
                              aur_restore **out) {
    if (!(p->fill >= 0.0 && p->fill <= 1.0) ||
        !(p->lift_db >= 0.0 && p->lift_db <= AUR_RESTORE_MAX_LIFT_DB) ||
        !(p->held > 0.0 && isfinite(p->held)))
        return AUR_EINVAL;
    if (!(sample_rate >= 8000.0 && sample_rate <= 192000.0)) return AUR_EINVAL;
    if (channels < 1 || channels > AUR_MAX_CHANNELS) return AUR_EINVAL;
    aur_restore shape = {.channels = channels, .quantum = quantum_frames(sample_rate), .fill = p->fill};
    for (int k = 0; k < SPLITS; k++) {
        shape.box[k] = box_frames(sample_rate, SPLIT_HZ[k]);
        const double n = (double)shape.box[k];
        shape.scale[k] = 1.0 / (FIXED * n * n * n);
    }
    shape.lag = group_delay(shape.box[0]);
    shape.history = 3 * shape.box[0];
    shape.ahead = (size_t)(AHEAD_S * sample_rate);
    shape.lift = p->lift_db / AUR_DB_PER_OCTAVE;
    shape.per_held = 1.0 / p->held;
    const double hop_s = (double)shape.quantum / sample_rate;
    shape.fast = 1.0 - exp(-hop_s / FAST_S);
    shape.slow = 1.0 - exp(-hop_s / SLOW_S);
    shape.attack = 1.0 - exp(-hop_s / ATTACK_S);
    shape.release = 1.0 - exp(-hop_s / RELEASE_S);
    shape.keep = exp(-hop_s / REACH_S);
    for (int b = 0; b < BANDS; b++)
        shape.from[b] = 1.0f;
    aur_restore *s = calloc(1, sizeof *s + extra_bytes(&shape));
    if (!s) return AUR_ENOMEM;
    *s = shape;
    point_into_allocation(s);
    *out = s;
    return AUR_OK;
}

aur_status aur_restore_clone(const aur_restore *state, aur_restore **out) {
    aur_restore *s = malloc(sizeof *s + extra_bytes(state));
    if (!s) return AUR_ENOMEM;
    memcpy(s, state, sizeof *s + extra_bytes(state));
    point_into_allocation(s);
    *out = s;
    return AUR_OK;
}

void aur_restore_destroy(aur_restore *state) {
    free(state);
}

void aur_restore_snapshot(aur_restore *s, aur_walk *walk) {
    aur_walk_index(walk, &s->at, s->quantum);
    aur_walk_bytes(walk, &s->quanta, sizeof s->quanta);
    aur_walk_floats(walk, &s->peak, 1, 0.0f, FLT_MAX);
    aur_walk_doubles(walk, &s->reach, 1, 0.0, 1.0);
    aur_walk_doubles(walk, s->fast_power, BANDS, 0.0, 1e80);
    aur_walk_doubles(walk, s->slow_power, BANDS, 0.0, 1e80);
    aur_walk_doubles(walk, s->gain_log2, BANDS, 0.0, 4.0);
    aur_walk_samples(walk, s->from, BANDS);
    aur_walk_samples(walk, s->step, BANDS);
    for (unsigned c = 0; c < s->channels; c++) {
        aur_walk_samples(walk, s->dry + c * dry_stride(s), s->lag + s->quantum);
        aur_walk_doubles(walk, s->power[c], BANDS, 0.0, 1e80);
        aur_walk_bytes(walk, s->integral[c], sizeof s->integral[c]);
        aur_walk_bytes(walk, s->third + c * (s->history + BLOCK), s->history * sizeof *s->third);
        aur_walk_samples(walk, s->waiting + c * BANDS * s->quantum, BANDS * s->quantum);
    }
}

/* How much a peak is one that a limiter held. */
static double reached(const aur_restore *s) {
    const double under = -AUR_DB_PER_OCTAVE * aur_log2f((float)(s->peak * s->per_held) + 1e-30f);
    return aur_clamp(1.0 - under / KNEE_DB, 0.0, 1.0);
}

/* The quantum is complete: where the gains go while it is put out. */
static void decide_gains(aur_restore *s) {
    const double weight = 1.0 / (double)(s->quantum * s->channels);
    const double slow = s->quanta * s->slow < 1.0 ? 1.0 / (double)(s->quanta + 1) : s->slow;
    s->quanta++;
    const double fresh = reached(s), kept = s->reach * s->keep;
    s->reach = fresh > kept ? fresh : kept > 1e-4 ? kept : 0.0;
    s->peak = 0.0f;
    for (int b = 0; b < BANDS; b++) {
        double p = 0.0;
        for (unsigned c = 0; c < s->channels; c++) {
            p += s->power[c][b];
            s->power[c][b] = 0.0;
        }
        p *= weight;
        s->fast_power[b] += s->fast * (p - s->fast_power[b]);
        s->slow_power[b] += (slow > s->slow ? slow : s->slow) * (p - s->slow_power[b]);
        const double over = AUR_DB_PER_OCTAVE / 2.0 *
                            aur_log2f((float)((s->fast_power[b] + FLOOR) / (s->slow_power[b] + FLOOR)));
        const double filled =
            aur_clamp(s->fill * (over - THRESHOLD_DB), 0.0, AUR_RESTORE_MAX_FILL_DB) / AUR_DB_PER_OCTAVE;
        const double wanted = s->reach * (s->lift + filled);
        const double now = s->gain_log2[b];
        double next = now + (wanted > now ? s->attack : s->release) * (wanted - now);
        if (wanted == 0.0 && next < 1e-5) next = 0.0;
        s->gain_log2[b] = next;
        const float start = aur_exp2f((float)now), end = aur_exp2f((float)next);
        s->from[b] = start;
        s->step[b] = (end - start) / (float)s->quantum;
    }
}

/* Adds n frames to a channel's integrals and takes its low-passes out of them, aligned with the dry
 * signal. Integrals wrap round; differences of them do not care. */
static void split(aur_restore *s, unsigned c, const float *in, float low[SPLITS][BLOCK], size_t n) {
    uint64_t *third = s->third + c * (s->history + BLOCK), *fresh = third + s->history;
    uint64_t i1 = s->integral[c][0], i2 = s->integral[c][1], i3 = s->integral[c][2];
    for (size_t i = 0; i < n; i++) {
        const float x =
            in[i]<(float)-LARGEST ? (float)-LARGEST : in[i]>(float) LARGEST ? (float)LARGEST : in[i];
        i1 += (uint64_t)(int64_t)((double)x * FIXED);
        i2 += i1;
        i3 += i2;
        fresh[i] = i3;
    }
    s->integral[c][0] = i1;
    s->integral[c][1] = i2;
    s->integral[c][2] = i3;
    for (int k = 0; k < SPLITS; k++) {
        const size_t box = s->box[k];
        const uint64_t *t = fresh - (s->lag - group_delay(box));
        for (size_t i = 0; i < n; i++) {
            const uint64_t near = t[i - box] - t[i - 2 * box], far = t[i] - t[i - 3 * box];
            const int64_t sum = (int64_t)(far - (near + near + near));
            low[k][i] = (float)((double)sum * s->scale[k]);
        }
    }
    memmove(third, third + n, s->history * sizeof *third);
}

/* n frames, all inside one quantum: puts out the quantum before under its gains and takes this one in. */
static void fill_part(aur_restore *s, unsigned c, const float *restrict dry, const float *restrict low,
                      float *y, size_t n) {
    const size_t q = s->quantum;
    float *h = s->waiting + c * BANDS * q + s->at;
    double *power = s->power[c];
    for (size_t i = 0; i < n; i++) {
        const float ahead = fabsf(dry[s->ahead + i]);
        s->peak = ahead > s->peak ? ahead : s->peak;
    }
    for (size_t i = 0; i < n; i++) {
        const float x = dry[i], a = low[i], b = low[BLOCK + i], d = low[2 * BLOCK + i];
        const float phase = (float)(s->at + i + 1);
        const float g0 = s->from[0] + s->step[0] * phase, g1 = s->from[1] + s->step[1] * phase;
        const float g2 = s->from[2] + s->step[2] * phase, g3 = s->from[3] + s->step[3] * phase;
        y[i] = h[i] * g3 + (h[q + i] * (g0 - g1) + h[2 * q + i] * (g1 - g2) + h[3 * q + i] * (g2 - g3));
        h[i] = x;
        h[q + i] = a;
        h[2 * q + i] = b;
        h[3 * q + i] = d;
        power[0] += (double)a * a;
        power[1] += (double)(b - a) * (b - a);
        power[2] += (double)(d - b) * (d - b);
        power[3] += (double)(x - d) * (x - d);
    }
}

static void fill(aur_restore *s, float *const *out, size_t n) {
    float low[AUR_MAX_CHANNELS][SPLITS][BLOCK];
    const size_t stride = dry_stride(s);
    for (unsigned c = 0; c < s->channels; c++)
        split(s, c, s->dry + c * stride + s->lag + s->quantum, low[c], n);
    for (size_t i = 0; i < n;) {
        const size_t m = n - i < s->quantum - s->at ? n - i : s->quantum - s->at;
        for (unsigned c = 0; c < s->channels; c++)
            fill_part(s, c, s->dry + c * stride + s->quantum + i, &low[c][0][i], out[c] + i, m);
        i += m;
        s->at += m;
        if (s->at == s->quantum) {
            s->at = 0;
            decide_gains(s);
        }
    }
}

void aur_restore_process(aur_restore *s, const float *const *in, float *const *out, size_t frames) {
    const aur_fpenv env = aur_flush_denormals();
    const size_t stride = dry_stride(s), latency = s->lag + s->quantum;
    float *y[AUR_MAX_CHANNELS];
    for (size_t done = 0; done < frames;) {
        const size_t n = frames - done < BLOCK ? frames - done : BLOCK;
        for (unsigned c = 0; c < s->channels; c++) {
            float *fresh = s->dry + c * stride + latency;
            memcpy(fresh, in[c] + done, n * sizeof *fresh);
            y[c] = out[c] + done;
        }
        fill(s, y, n);
        for (unsigned c = 0; c < s->channels; c++) {
            float *dry = s->dry + c * stride;
            memmove(dry, dry + n, latency * sizeof *dry);
        }
        done += n;
    }
    aur_restore_denormals(env);
}

#include "truepeak.h"

#include "kaiser.h"
#include "peak.h"
#include "simd.h"

#include <stdlib.h>
#include <string.h>

enum {
    HALF = AUR_TRUEPEAK_TAPS / 2,
    HISTORY = AUR_TRUEPEAK_TAPS - 1,
    BLOCK = 64, /* frames decided together: short enough that quiet moments between peaks are skipped */
    WORK = 80,  /* history, block, and zeros up to whole vectors */
};
static const double BETA = 6.0;

/* Phases 1 and 3 are mirror images and phase 2 is symmetric. With s and d the sum and difference of
 * the two samples at equal distance, phases 1 and 3 are P + Q and P - Q, whose larger magnitude is
 * |P| + |Q|: three products a pair of taps instead of six. */
typedef struct {
    float even[HALF], odd[HALF], middle[HALF]; /* on s, d and s; index 0 is the outermost pair */
} interpolator;

struct aur_truepeak {
    interpolator taps;
    void (*envelope)(const interpolator *, const float *, float *);
    float bound;   /* no phase exceeds this times the largest sample under its taps */
    float maximum; /* of everything interpolated so far */
    unsigned channels;
    float history[AUR_MAX_CHANNELS][HISTORY];
};

/* The prototype, at t quarter-frames from its centre. */
static double prototype(int t) {
    return aur_kaiser_sinc((double)t / AUR_TRUEPEAK_PHASES, HALF, BETA);
}

/* Returns the largest sum of |taps| over the phases. */
static double design(interpolator *taps) {
    double near[HALF], far[HALF], middle[HALF], sum = 0.0, middle_sum = 0.0;
    for (int k = 0; k < HALF; k++) { /* pair k lies 5 - k whole frames outside the interval */
        const int t = (int)AUR_TRUEPEAK_PHASES * (HALF - 1 - k);
        near[k] = prototype(t + 1);
        far[k] = prototype(t + 3);
        middle[k] = prototype(t + 2);
        sum += near[k] + far[k];
        middle_sum += 2.0 * middle[k];
    }
    double outer_bound = 0.0, middle_bound = 0.0;
    for (int k = 0; k < HALF; k++) {
        taps->even[k] = (float)((near[k] + far[k]) / (2.0 * sum));
        taps->odd[k] = (float)((near[k] - far[k]) / (2.0 * sum));
        taps->middle[k] = (float)(middle[k] / middle_sum);
        outer_bound += (fabs(near[k]) + fabs(far[k])) / sum;
        middle_bound += 2.0 * fabs(middle[k]) / middle_sum;
    }
    return outer_bound > middle_bound ? outer_bound : middle_bound;
}

/* x[0 .. HISTORY + BLOCK) to the largest |value| over the four phases, BLOCK of them. */
AUR_INLINE void envelope_block(const interpolator *taps, const float *restrict x, float *restrict out) {
    for (size_t i = 0; i < BLOCK; i++) {
        float even = 0.0f, odd = 0.0f, middle = 0.0f;
        for (size_t k = 0; k < HALF; k++) {
            const float older = x[i + k], newer = x[i + HISTORY - k];
            even += taps->even[k] * (older + newer);
            odd += taps->odd[k] * (older - newer);
            middle += taps->middle[k] * (older + newer);
        }
        const float outer = fabsf(even) + fabsf(odd), sample = fabsf(x[i + HALF - 1]);
        const float inner = fabsf(middle) > sample ? fabsf(middle) : sample;
        out[i] = outer > inner ? outer : inner;
    }
}

static void envelope_baseline(const interpolator *t, const float *x, float *out) {
    envelope_block(t, x, out);
}
#ifdef AUR_X86
AUR_TARGET_AVX2 static void envelope_avx2(const interpolator *t, const float *x, float *out) {
    envelope_block(t, x, out);
}
AUR_TARGET_AVX512 static void envelope_avx512(const interpolator *t, const float *x, float *out) {
    envelope_block(t, x, out);
}
#endif

aur_status aur_truepeak_create(unsigned channels, aur_truepeak **out) {
    if (channels < 1 || channels > AUR_MAX_CHANNELS) return AUR_EINVAL;
    aur_truepeak *s = calloc(1, sizeof *s);
    if (!s) return AUR_ENOMEM;
    s->channels = channels;
    /* One part in 10^5 above the bound in real numbers covers the rounding of float sums. */
    s->bound = (float)(design(&s->taps) * 1.00001);
    s->envelope = envelope_baseline;
#ifdef AUR_X86
    const aur_simd simd = aur_simd_select();
    if (simd == AUR_SIMD_AVX2) s->envelope = envelope_avx2;
    if (simd == AUR_SIMD_AVX512) s->envelope = envelope_avx512;
#endif
    *out = s;
    return AUR_OK;
}

aur_status aur_truepeak_clone(const aur_truepeak *state, aur_truepeak **out) {
    aur_truepeak *s = malloc(sizeof *s);
    if (!s) return AUR_ENOMEM;
    *s = *state;
    *out = s;
    return AUR_OK;
}

void aur_truepeak_destroy(aur_truepeak *state) {
    free(state);
}

void aur_truepeak_reset(aur_truepeak *state) {
    state->maximum = 0.0f;
    memset(state->history, 0, sizeof state->history);
}

/* Appends up to BLOCK frames (silence after them) to the history in work, keeps the new history, and
 * returns the peak of all of it. */
static float gather(float *restrict history, const float *restrict in, size_t frames, float *restrict work) {
    memcpy(work, history, HISTORY * sizeof *work);
    memcpy(work + HISTORY, in, frames * sizeof *work);
    memset(work + HISTORY + frames, 0, (WORK - HISTORY - frames) * sizeof *work);
    uint32_t peak = aur_peak_bits(work, WORK);
    if (peak >= AUR_PEAK_INFINITE) {
        for (size_t i = 0; i < WORK; i++)
            if (!isfinite(work[i])) work[i] = 0.0f;
        peak = aur_peak_bits(work, WORK);
    }
    memcpy(history, work + frames, HISTORY * sizeof *work);
    return aur_peak_value(peak);
}

void aur_truepeak_process(aur_truepeak *s, const float *const *in, size_t frames) {
    float work[WORK], values[BLOCK];
    for (unsigned c = 0; c < s->channels; c++)
        for (size_t done = 0; done < frames;) {
            const size_t n = frames - done < BLOCK ? frames - done : BLOCK;
            const float peak = gather(s->history[c], in[c] + done, n, work);
            if (peak * s->bound > s->maximum) {
                s->envelope(&s->taps, work, values);
                const float top = aur_peak_value(aur_peak_bits(values, n));
                if (top > s->maximum) s->maximum = top;
            }
            done += n;
        }
}

double aur_truepeak_maximum(const aur_truepeak *state) {
    static const float silence[HISTORY];
    const float *in[AUR_MAX_CHANNELS];
    aur_truepeak after = *state;
    for (unsigned c = 0; c < after.channels; c++)
        in[c] = silence;
    aur_truepeak_process(&after, in, HISTORY);
    return after.maximum;
}

void aur_truepeak_append(aur_truepeak *s, const aur_truepeak *next) {
    const float maximum = (float)aur_truepeak_maximum(s);
    s->maximum = maximum > next->maximum ? maximum : next->maximum;
    memcpy(s->history, next->history, sizeof s->history);
}

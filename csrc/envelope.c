#include "envelope.h"

#include "kaiser.h"
#include "simd.h"

#include <stdlib.h>
#include <string.h>

enum {
    HALF = 28,       /* taps on either side of the half-band interpolator */
    NEAR = 6,        /* of the one at twice the rate */
    MIDS = NEAR / 2, /* midpoints that one needs beyond its own interval, on either side */
    SPAN = 32,       /* frames about an interval whose treble counts for it */
    PAIRS = 7,       /* of taps at a time: as many as compilers unroll */
};
_Static_assert(AUR_ENVELOPE_LATENCY == HALF + MIDS, "the last midpoint needs HALF samples after it");
_Static_assert(AUR_ENVELOPE_HISTORY == AUR_ENVELOPE_LATENCY + MIDS + HALF - 1,
               "and the first of them before it");

static const double BETA = 5.0, NEAR_BETA = 6.0;
/* Shares of the treble that longer interpolators may yet find. */
static const float UNSEEN = 0.4f, FURTHER = 0.8f;

/* Phases 1 and 3 between two points are mirror images, P + Q and P - Q: the larger is |P| + |Q|. Tables weigh
 * pairs of samples at equal distance from the middle of their interval, outermost first. */
struct aur_envelope {
    void (*raise)(const aur_envelope *, const float *, float *, size_t);
    float midway[HALF];
    float even[NEAR], odd[NEAR], middle[NEAR]; /* on the sum, the difference and the sum of a pair */
};

/* out[i]: the value midway between x[i] and x[i + 1]. */
AUR_INLINE void interpolate(const aur_envelope *s, const float *restrict x, float *restrict out, size_t n) {
    memset(out, 0, n * sizeof *out);
    for (size_t k = 0; k < HALF; k += PAIRS)
        for (size_t i = 0; i < n; i++) {
            const float *older = x + i - (HALF - 1) + k, *newer = x + i + HALF - k;
            float sum = out[i];
            for (size_t p = 0; p < PAIRS; p++)
                sum += s->midway[k + p] * (older[p] + newer[-(ptrdiff_t)p]);
            out[i] = sum;
        }
}

/* The largest |value| on three points inside the interval that begins at a[0], at twice the rate: b holds the
 * points between those of a, b[0] follows a[0]. */
AUR_INLINE float between(const aur_envelope *s, const float *a, const float *b) {
    float even = 0.0f, odd = 0.0f, middle = 0.0f;
    for (int k = 0; k < NEAR; k++) {
        const int far = NEAR - 1 - k; /* points outside the interval */
        const float older = far % 2 ? b[-(far + 1) / 2] : a[-far / 2];
        const float newer = far % 2 ? a[(far + 1) / 2] : b[far / 2];
        even += s->even[k] * (older + newer);
        odd += s->odd[k] * (older - newer);
        middle += s->middle[k] * (older + newer);
    }
    const float outer = fabsf(even) + fabsf(odd), inner = fabsf(middle);
    return outer > inner ? outer : inner;
}

/* out[i]: the largest treble in x[i .. i + SPAN), by an eighth difference. */
AUR_INLINE void largest_treble(const float *restrict x, float *restrict out, size_t n) {
    const size_t m = n + SPAN - 1;
    for (size_t i = 0; i < m; i++) {
        const float *at = x + i;
        out[i] = fabsf(70.0f * at[0] - 56.0f * (at[-1] + at[1]) + 28.0f * (at[-2] + at[2]) -
                       8.0f * (at[-3] + at[3]) + (at[-4] + at[4])) *
                 (1.0f / 256.0f);
    }
    for (size_t reach = 1, left = m - 1; reach < SPAN; reach *= 2, left -= reach)
        for (size_t i = 0; i < left; i++)
            out[i] = out[i] > out[i + reach] ? out[i] : out[i + reach];
}

AUR_INLINE void raise(const aur_envelope *s, const float *x, float *restrict peak, size_t n) {
    float mids[AUR_ENVELOPE_BLOCK + 2 * MIDS], treble[AUR_ENVELOPE_BLOCK + SPAN];
    const float *at = x - AUR_ENVELOPE_LATENCY;
    interpolate(s, at - MIDS, mids, n + 2 * MIDS);
    largest_treble(at - SPAN / 2 + 1, treble, n);
    for (size_t i = 0; i < n; i++) {
        const float *mid = mids + MIDS + i;
        const float first = between(s, at + i, mid), second = between(s, mid, at + i + 1);
        const float sample = fabsf(at[i]), midway = fabsf(*mid);
        const float points = sample > midway ? sample : midway, inner = first > second ? first : second;
        const float seen = points > inner ? points : inner;
        const float share = treble[i] < seen ? treble[i] / (seen + 1e-30f) : 1.0f;
        const float most = seen + treble[i] * (UNSEEN + FURTHER * share);
        peak[i] = most > peak[i] ? most : peak[i];
    }
}

AUR_VARIANTS(raise, (const aur_envelope *s, const float *x, float *peak, size_t n), (s, x, peak, n))

aur_status aur_envelope_create(aur_envelope **out) {
    aur_envelope *s = calloc(1, sizeof *s);
    if (!s) return AUR_ENOMEM;
    s->raise = raise_variants[aur_simd_select()];
    for (int k = 0; k < HALF; k++)
        s->midway[k] = (float)aur_kaiser_sinc(HALF - 0.5 - k, HALF, BETA);
    for (int k = 0; k < NEAR; k++) {
        const double near = aur_kaiser_sinc(NEAR - 0.75 - k, NEAR, NEAR_BETA);
        const double far = aur_kaiser_sinc(NEAR - 0.25 - k, NEAR, NEAR_BETA);
        s->even[k] = (float)(0.5 * (near + far));
        s->odd[k] = (float)(0.5 * (near - far));
        s->middle[k] = (float)aur_kaiser_sinc(NEAR - 0.5 - k, NEAR, NEAR_BETA);
    }
    *out = s;
    return AUR_OK;
}

aur_status aur_envelope_clone(const aur_envelope *state, aur_envelope **out) {
    aur_envelope *s = malloc(sizeof *s);
    if (!s) return AUR_ENOMEM;
    *s = *state;
    *out = s;
    return AUR_OK;
}

void aur_envelope_destroy(aur_envelope *state) {
    free(state);
}

void aur_envelope_raise(const aur_envelope *state, const float *x, float *peak, size_t n) {
    state->raise(state, x, peak, n);
}

#include "fft.h"

#include <stdlib.h>

/*
 * Decimation in frequency, depth first: one pass of radix 8 over the whole, then each eighth on its
 * own, so that everything below the first pass runs in the first-level cache. What radix 8 leaves
 * over (4 or 4 * 4) is done by radix 4.
 */
struct aur_fft {
    size_t length;
    void (*forward)(const aur_fft *, float *, float *);
    uint16_t *rows;
    float *twiddles;
};

#define L AUR_LANES

/* 4, 8: the radix with which a transform of n points begins. */
AUR_INLINE size_t radix_of(size_t n) {
    return n == 4 || n == 16 ? 4 : 8;
}

typedef struct {
    float re, im;
} cpx;

AUR_INLINE cpx add(cpx a, cpx b) {
    return (cpx){a.re + b.re, a.im + b.im};
}
AUR_INLINE cpx sub(cpx a, cpx b) {
    return (cpx){a.re - b.re, a.im - b.im};
}
AUR_INLINE cpx mul(cpx a, float wr, float wi) {
    return (cpx){a.re * wr - a.im * wi, a.re * wi + a.im * wr};
}
AUR_INLINE cpx minus_j(cpx a) {
    return (cpx){a.im, -a.re};
}

/* Twiddles of one butterfly: w^1 .. w^(radix-1) as (re, im). */
AUR_INLINE void radix4(float *restrict re, float *restrict im, const size_t *at, const float *restrict w) {
    const size_t at1 = at[1], at2 = at[2], at3 = at[3];
    AUR_INDEPENDENT
    for (size_t i = 0; i < L; i++) {
        const cpx a = {re[i], im[i]}, b = {re[i + at1], im[i + at1]};
        const cpx c = {re[i + at2], im[i + at2]}, d = {re[i + at3], im[i + at3]};
        const cpx s = add(a, c), t = sub(a, c), u = add(b, d), v = minus_j(sub(b, d));
        const cpx y0 = add(s, u), y1 = mul(add(t, v), w[0], w[1]), y2 = mul(sub(s, u), w[2], w[3]);
        const cpx y3 = mul(sub(t, v), w[4], w[5]);
        re[i] = y0.re, im[i] = y0.im;
        re[i + at1] = y1.re, im[i + at1] = y1.im;
        re[i + at2] = y2.re, im[i + at2] = y2.im;
        re[i + at3] = y3.re, im[i + at3] = y3.im;
    }
}

AUR_INLINE void radix8(float *restrict re, float *restrict im, const size_t *at, const float *restrict w) {
    const size_t at1 = at[1], at2 = at[2], at3 = at[3], at4 = at[4], at5 = at[5], at6 = at[6], at7 = at[7];
    const float h = 0.70710678118654752f;
    AUR_INDEPENDENT
    for (size_t i = 0; i < L; i++) {
        const cpx x0 = {re[i], im[i]}, x1 = {re[i + at1], im[i + at1]};
        const cpx x2 = {re[i + at2], im[i + at2]}, x3 = {re[i + at3], im[i + at3]};
        const cpx x4 = {re[i + at4], im[i + at4]}, x5 = {re[i + at5], im[i + at5]};
        const cpx x6 = {re[i + at6], im[i + at6]}, x7 = {re[i + at7], im[i + at7]};
        const cpx a0 = add(x0, x4), a1 = add(x1, x5), a2 = add(x2, x6), a3 = add(x3, x7);
        const cpx b0 = sub(x0, x4), b2 = minus_j(sub(x2, x6));
        const cpx d1 = sub(x1, x5), d3 = sub(x3, x7);
        const cpx b1 = {h * (d1.re + d1.im), h * (d1.im - d1.re)};  /* times w_8 */
        const cpx b3 = {h * (d3.im - d3.re), -h * (d3.im + d3.re)}; /* times w_8^3 */
        const cpx c0 = add(a0, a2), c1 = add(a1, a3), c2 = sub(a0, a2), c3 = minus_j(sub(a1, a3));
        const cpx e0 = add(b0, b2), e1 = add(b1, b3), e2 = sub(b0, b2), e3 = minus_j(sub(b1, b3));
        const cpx y0 = add(c0, c1), y4 = mul(sub(c0, c1), w[6], w[7]);
        const cpx y2 = mul(add(c2, c3), w[2], w[3]), y6 = mul(sub(c2, c3), w[10], w[11]);
        const cpx y1 = mul(add(e0, e1), w[0], w[1]), y5 = mul(sub(e0, e1), w[8], w[9]);
        const cpx y3 = mul(add(e2, e3), w[4], w[5]), y7 = mul(sub(e2, e3), w[12], w[13]);
        re[i] = y0.re, im[i] = y0.im;
        re[i + at1] = y1.re, im[i + at1] = y1.im;
        re[i + at2] = y2.re, im[i + at2] = y2.im;
        re[i + at3] = y3.re, im[i + at3] = y3.im;
        re[i + at4] = y4.re, im[i + at4] = y4.im;
        re[i + at5] = y5.re, im[i + at5] = y5.im;
        re[i + at6] = y6.re, im[i + at6] = y6.im;
        re[i + at7] = y7.re, im[i + at7] = y7.im;
    }
}

/* All transforms of n points that lie one behind the other from row `first` to first + rows. */
AUR_INLINE void level(float *re, float *im, size_t first, size_t rows, size_t n, const float *twiddles) {
    const size_t radix = radix_of(n), m = n / radix;
    /* Independent of the butterfly: m either divides AUR_FFT_RUN or is a multiple of it. */
    size_t at[8];
    for (size_t j = 0; j < 8; j++)
        at[j] = aur_fft_row(m * j) * L;
    for (size_t base = first; base < first + rows; base += n)
        for (size_t g = 0; g < m; g++) {
            float *r = re + aur_fft_row(base + g) * L, *i = im + aur_fft_row(base + g) * L;
            if (radix == 8)
                radix8(r, i, at, twiddles + 14 * g);
            else
                radix4(r, i, at, twiddles + 6 * g);
        }
}

AUR_INLINE void forward(const aur_fft *plan, float *re, float *im) {
    const size_t n = plan->length, block = n / radix_of(n);
    const float *w = plan->twiddles;
    level(re, im, 0, n, n, w);
    w += 2 * (n - block);
    for (size_t base = 0; base < n; base += block) {
        const float *wb = w;
        for (size_t k = block; k > 1; k /= radix_of(k)) {
            level(re, im, base, block, k, wb);
            wb += 2 * (k - k / radix_of(k));
        }
    }
}

AUR_VARIANTS(forward, (const aur_fft *plan, float *re, float *im), (plan, re, im))

aur_status aur_fft_create(size_t length, aur_fft **out) {
    *out = NULL;
    if (length < 64 || length > 16384 || (length & (length - 1))) return AUR_EINVAL;
    /* A level of n points in radix r has n/r butterflies of r-1 twiddles: n - n/r; they telescope. */
    const size_t floats = 2 * (length - 1);
    aur_fft *plan = malloc(sizeof *plan + floats * sizeof(float) + length * sizeof(uint16_t));
    if (!plan) return AUR_ENOMEM;
    plan->length = length;
    plan->forward = forward_variants[aur_simd_select()];
    plan->twiddles = (float *)(plan + 1);
    plan->rows = (uint16_t *)(plan->twiddles + floats);
    float *w = plan->twiddles;
    for (size_t n = length; n > 1; n /= radix_of(n))
        for (size_t g = 0; g < n / radix_of(n); g++)
            for (size_t k = 1; k < radix_of(n); k++) {
                const double angle = -2.0 * AUR_PI * (double)(k * g) / (double)n;
                *w++ = (float)cos(angle);
                *w++ = (float)sin(angle);
            }
    for (size_t k = 0; k < length; k++) {
        size_t row = 0, rest = k;
        for (size_t n = length; n > 1; n /= radix_of(n)) {
            const size_t radix = radix_of(n);
            row += rest % radix * (n / radix);
            rest /= radix;
        }
        plan->rows[k] = (uint16_t)aur_fft_row(row);
    }
    *out = plan;
    return AUR_OK;
}

void aur_fft_destroy(aur_fft *plan) {
    free(plan);
}
size_t aur_fft_length(const aur_fft *plan) {
    return plan->length;
}
const uint16_t *aur_fft_rows(const aur_fft *plan) {
    return plan->rows;
}
void aur_fft_forward(const aur_fft *plan, float *re, float *im) {
    plan->forward(plan, re, im);
}

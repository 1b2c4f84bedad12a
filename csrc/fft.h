/*
 * fft.h: lane-parallel complex transform. AUR_LANES independent sequences lie side by side, element
 * k of lane l at x[aur_fft_row(k) * AUR_LANES + l], so that a butterfly is plain arithmetic on vectors with
 * no shuffles and every later reduction can stay in the lane layout.
 *
 * Forward transform, unscaled (as numpy.fft.fft), N a power of two in 64..16384, in place. The
 * result is left in the order the butterflies make it: frequency k lies in row aur_fft_rows()[k]
 * (the empty rows counted).
 * A row is one cache line, so reading through that table costs nothing, and a pass that only
 * reorders would cost a quarter of the transform.
 *
 * Two real sequences a, b in one lane as a + jb give, with Z the result,
 *   A[k] = (Z[k] + conj Z[N-k]) / 2,   B[k] = (Z[k] - conj Z[N-k]) / 2j.
 *
 * A plan is immutable: any number of threads may share it.
 */
#ifndef AUR_FFT_H
#define AUR_FFT_H

#include "common.h"
#include "simd.h"

/*
 * After every AUR_FFT_RUN rows one row stays empty. Without it the inputs of a butterfly lie a power
 * of two apart, share one set of the first-level cache and push each other out.
 */
#define AUR_FFT_RUN 32u
static inline size_t aur_fft_row(size_t k) {
    return k + k / AUR_FFT_RUN;
}

typedef struct aur_fft aur_fft;

aur_status aur_fft_create(size_t length, aur_fft **out);
void aur_fft_destroy(aur_fft *plan);
size_t aur_fft_length(const aur_fft *plan);

/* rows[k] is the row of frequency k, for k in 0..N-1. */
const uint16_t *aur_fft_rows(const aur_fft *plan);

/* re, im: aur_fft_row(N) * AUR_LANES floats each, 64-byte aligned for speed. */
void aur_fft_forward(const aur_fft *plan, float *re, float *im);

#endif

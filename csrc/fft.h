/*
 * fft.h: lane-parallel complex transform. AUR_LANES independent sequences lie side by side, element
 * k of lane l at x[k * AUR_LANES + l], so that a butterfly is plain arithmetic on vectors with no
 * shuffles and every later reduction can stay in the lane layout.
 *
 * Two real sequences a, b in one lane as a + jb give, with N the length and Z the result,
 *   A[k] = (Z[k] + conj Z[N-k]) / 2,   B[k] = (Z[k] - conj Z[N-k]) / 2j.
 *
 * Forward transform, unscaled (as numpy.fft.fft), natural order in and out, N a power of two in
 * 64..16384. A plan is immutable: any number of threads may share it.
 */
#ifndef AUR_FFT_H
#define AUR_FFT_H

#include "common.h"
#include "simd.h"

typedef struct aur_fft aur_fft;

aur_status aur_fft_create(size_t length, aur_fft **out);
void aur_fft_destroy(aur_fft *plan);
size_t aur_fft_length(const aur_fft *plan);

/* Transforms re, im (length * AUR_LANES floats each, 64-byte aligned) and leaves the result in them.
 * work_re, work_im are scratch of the same size. */
void aur_fft_forward(const aur_fft *plan, float *re, float *im, float *work_re, float *work_im);

#endif

/* turn.h: four rows of four samples, turned round: out[i * to + k] = in[k * from + i]. No alignment needed.
 */
#ifndef AUR_TURN_H
#define AUR_TURN_H

#include "common.h"
#include "simd.h"

AUR_INLINE void aur_turn(const float *restrict in, size_t from, float *restrict out, size_t to) {
#if defined(__SSE2__)
    __m128 a = _mm_loadu_ps(in), b = _mm_loadu_ps(in + from);
    __m128 c = _mm_loadu_ps(in + 2 * from), d = _mm_loadu_ps(in + 3 * from);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(out, a);
    _mm_storeu_ps(out + to, b);
    _mm_storeu_ps(out + 2 * to, c);
    _mm_storeu_ps(out + 3 * to, d);
#else
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 4; k++)
            out[i * to + k] = in[k * from + i];
#endif
}

#endif

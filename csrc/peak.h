/*
 * peak.h: the largest magnitude of a run of samples, through the bits of the floats.
 *
 * Non-negative floats order as their bits do, and integer maxima vectorise without relaxing any
 * floating-point rule. Infinity and NaN come out above every finite value, so one scan also tells
 * whether the run is finite.
 */
#ifndef AUR_PEAK_H
#define AUR_PEAK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bits of an infinity: a peak at or above this is not finite. */
#define AUR_PEAK_INFINITE 0x7f800000u

typedef int32_t aur_peak_quad __attribute__((vector_size(16)));

static inline aur_peak_quad aur_peak_larger(aur_peak_quad peak, const float *x) {
    aur_peak_quad bits;
    memcpy(&bits, x, sizeof bits);
    bits &= 0x7fffffff;
    const aur_peak_quad larger = bits > peak;
    return (bits & larger) | (peak & ~larger);
}

static inline uint32_t aur_peak_bits(const float *x, size_t n) {
    aur_peak_quad a = {0}, b = {0}, c = {0}, d = {0}; /* four, or each maximum would wait for the last */
    const size_t rest = n % 16, whole = n - rest;
    for (size_t i = 0; i < whole; i += 16) {
        a = aur_peak_larger(a, x + i);
        b = aur_peak_larger(b, x + i + 4);
        c = aur_peak_larger(c, x + i + 8);
        d = aur_peak_larger(d, x + i + 12);
    }
    int32_t peak = 0;
    for (size_t i = 0; i < rest; i++) {
        int32_t bits;
        memcpy(&bits, x + whole + i, sizeof bits);
        bits &= 0x7fffffff;
        peak = bits > peak ? bits : peak;
    }
    for (int k = 0; k < 4; k++) {
        const int32_t ab = a[k] > b[k] ? a[k] : b[k], cd = c[k] > d[k] ? c[k] : d[k];
        const int32_t top = ab > cd ? ab : cd;
        peak = top > peak ? top : peak;
    }
    return (uint32_t)peak;
}

static inline float aur_peak_value(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif

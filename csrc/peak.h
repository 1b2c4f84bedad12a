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

static inline uint32_t aur_peak_bits(const float *x, size_t n) {
    int32_t peak = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        peak = bits > peak ? bits : peak;
    }
    return (uint32_t)peak;
}

static inline float aur_peak_value(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif

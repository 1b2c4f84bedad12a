/*
 * pow2.h: log2 and exp2 for gain computation in the audio path. Plain float arithmetic, no tables and
 * no library calls: the loops that use them vectorise, and every machine gets the same bits.
 */
#ifndef AUR_POW2_H
#define AUR_POW2_H

#include "common.h"

#include <string.h>

#define AUR_DB_PER_OCTAVE 6.0205999132796239 /* 20 log10 2: dB per unit of log2 amplitude */

/* log2 x of a normal positive x, within 2e-7 absolute or 1e-7 relative. atanh series about the
 * mantissa brought to sqrt(1/2)..sqrt(2). */
static inline float aur_log2f(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t shifted = bits - 0x3f3504f3u; /* sqrt(1/2) becomes 0 */
    const int32_t exponent = (int32_t)shifted >> 23;
    bits = (shifted & 0x007fffffu) + 0x3f3504f3u;
    float m;
    memcpy(&m, &bits, sizeof m);
    const float t = (m - 1.0f) / (m + 1.0f), u = t * t;
    const float series = 2.88539008f + u * (0.961796694f + u * (0.577078016f + u * 0.412198583f));
    return (float)exponent + t * series;
}

/* 2^x for -126 <= x <= 126 within 1e-6 relative; exactly 1 at 0. */
static inline float aur_exp2f(float x) {
    const float shifted = x + 126.0f;
    const int32_t whole = (int32_t)shifted; /* x + 126 >= 0, so this is the floor */
    const float f = x - (float)(whole - 126);
    const float series =
        1.0f + f * (0.693147180f +
                    f * (0.240226507f +
                         f * (0.0555041087f +
                              f * (0.00961812911f +
                                   f * (0.00133335581f + f * (0.000154035304f + f * 0.0000152527338f))))));
    const uint32_t bits = (uint32_t)(whole + 1) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale * series;
}

#endif

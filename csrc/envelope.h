/*
 * envelope.h: the true-peak envelope that the limiter follows, eight values between any two samples.
 *
 * A half-band interpolator of 56 taps puts a value midway between any two samples; 12 taps are enough for the
 * three on either side of it, because twice the rate leaves them an octave of room. So the cost is the same
 * for any signal, a fifth of that of eight phases of as many taps.
 *
 * What longer interpolators find beyond that lies close to Nyquist. It is bounded by an eighth difference of
 * the samples (1 at Nyquist, 1/16 at half of it): two fifths of that are added, more where the signal is
 * little else. So treble close to Nyquist reads higher than it is: a lone sample by 1.3 dB, music by .1 dB
 * and less.
 *
 * No state: every value is a function of the samples about it, the same bits under any SIMD variant.
 */
#ifndef AUR_ENVELOPE_H
#define AUR_ENVELOPE_H

#include "common.h"

enum {
    AUR_ENVELOPE_LATENCY = 31, /* frames */
    AUR_ENVELOPE_HISTORY = 61, /* frames before the first that are read */
    AUR_ENVELOPE_BLOCK = 256,  /* most frames at a time */
};

typedef struct aur_envelope aur_envelope;

aur_status aur_envelope_create(aur_envelope **out);
aur_status aur_envelope_clone(const aur_envelope *state, aur_envelope **out);
void aur_envelope_destroy(aur_envelope *state);

/* Raises peak[i] to the largest |value| from x[i - LATENCY] up to the sample after it. x[-HISTORY .. BLOCK)
 * must be readable and finite; only what lies before x[n] counts. peak has room for BLOCK. */
void aur_envelope_raise(const aur_envelope *state, const float *x, float *peak, size_t n);

#endif

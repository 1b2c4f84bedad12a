/*
 * truepeak.h: inter-sample peaks by 4x polyphase interpolation (BS.1770-5 Annex 2), with history.
 *
 * Interpolator: 4 phases of 12 taps, windowed sinc, Kaiser beta 6. Phase 0 is the delayed sample
 * itself. At 88.2 kHz and above the same four phases are kept: over-reading is impossible and the
 * cost is the caller's choice.
 */
#ifndef AUR_TRUEPEAK_H
#define AUR_TRUEPEAK_H

#include "common.h"

#define AUR_TRUEPEAK_PHASES 4u
#define AUR_TRUEPEAK_TAPS 12u
/* Group delay of the interpolator in frames: envelope[i] describes the interval that ends at input
 * frame i - AUR_TRUEPEAK_LATENCY. */
#define AUR_TRUEPEAK_LATENCY 6u

typedef struct aur_truepeak aur_truepeak;

aur_status aur_truepeak_create(unsigned channels, aur_truepeak **out);
void aur_truepeak_destroy(aur_truepeak *state);
void aur_truepeak_reset(aur_truepeak *state);

/* Updates the running maximum. Blocks that cannot exceed it are skipped exactly: |y| <= max|x| * sum|h|. */
void aur_truepeak_process(aur_truepeak *state, const float *const *in, size_t frames);

/* Running maximum over everything processed, linear (the sample peak included). The snapshot also
 * counts the tail that the history still holds, as if silence followed. */
double aur_truepeak_maximum(const aur_truepeak *state);

/* out[i] = the largest |value| over channels and phases, delayed by AUR_TRUEPEAK_LATENCY frames.
 * Also updates the running maximum. */
void aur_truepeak_envelope(aur_truepeak *state, const float *const *in, float *out, size_t frames);

#endif

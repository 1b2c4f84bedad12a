/*
 * truepeak.h: inter-sample peaks by 4x polyphase interpolation (BS.1770-5 Annex 2), with history.
 *
 * Interpolator: 4 phases of 12 taps, sinc windowed by a Kaiser beta 6, every phase scaled to unity
 * at DC. Phase 0 is the delayed sample itself. The official tones read within .003 dB (the table
 * printed in BS.1770 reads up to .30 dB low). The same four phases serve every sample rate.
 *
 * Silence is assumed before the first frame. Samples that are not finite count as 0. Results are
 * the same bits for every chunking and every SIMD variant.
 */
#ifndef AUR_TRUEPEAK_H
#define AUR_TRUEPEAK_H

#include "common.h"

#define AUR_TRUEPEAK_PHASES 4u
#define AUR_TRUEPEAK_TAPS 12u

typedef struct aur_truepeak aur_truepeak;

/* channels 1..AUR_MAX_CHANNELS. */
aur_status aur_truepeak_create(unsigned channels, aur_truepeak **out);
aur_status aur_truepeak_clone(const aur_truepeak *state, aur_truepeak **out);
void aur_truepeak_destroy(aur_truepeak *state);
void aur_truepeak_reset(aur_truepeak *state);

/* Updates the running maximum. Blocks that cannot exceed it are skipped exactly: |y| <= max|x| * sum|h|. */
void aur_truepeak_process(aur_truepeak *state, const float *const *in, size_t frames);

/* As though the signal of `next`, of as many channels, came after this one, with silence between them that
 * takes no time. */
void aur_truepeak_append(aur_truepeak *state, const aur_truepeak *next);

/* Running maximum over everything processed, linear (the sample peak included). The snapshot also
 * counts the tail that the history still holds, as if silence followed. */
double aur_truepeak_maximum(const aur_truepeak *state);

#endif

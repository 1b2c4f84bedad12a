/*
 * crossfade.h: from one signal to another without a click. Stateless.
 *
 * s(t) = 1/2 - 1/2 cos(pi t) rises over the fade; v = 1 - s, w = s.
 *   AUR_FADE_EQUAL_GAIN   v a + w b. The same programme through two chains: never exceeds the
 *                         louder input.
 *   AUR_FADE_EQUAL_POWER  k (v a + w b), k = 1 / sqrt(v^2 + w^2). Unrelated signals; up to +3 dB on
 *                         related ones, so a limiter belongs after it.
 *   AUR_FADE_CORRELATION  k = 1 / sqrt(v^2 + w^2 + 2 r v w), r the correlation of the two signals
 *                         clamped to 0..1: equal gain at r = 1, equal power at r = 0.
 */
#ifndef AUR_CROSSFADE_H
#define AUR_CROSSFADE_H

#include "common.h"

typedef enum { AUR_FADE_EQUAL_GAIN = 0, AUR_FADE_EQUAL_POWER = 1, AUR_FADE_CORRELATION = 2 } aur_fade_law;

/* Correlation of a and b over all channels and frames, clamped to 0..1; 0 when either is silent. */
double aur_crossfade_correlation(const float *const *a, const float *const *b, unsigned channels,
                                 size_t frames);

/*
 * out = frames start .. start + frames - 1 of a fade that is length frames long, sampled at the
 * middle of each frame. Before the fade out is a and after it b, bit for bit, so a fade may be
 * computed in any pieces. r is used by AUR_FADE_CORRELATION only. out may be a or b.
 */
void aur_crossfade(aur_fade_law law, double r, const float *const *a, const float *const *b,
                   float *const *out, unsigned channels, size_t start, size_t frames, size_t length);

#endif

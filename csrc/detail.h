/*
 * detail.h: how fine detail fares at the top of the waveform.
 *
 * Where a curve from sample to sample flattened the peaks, whatever rode on them went flat too: a small
 * ripple comes out multiplied by the slope of the curve at the height it rides at. So the level of fine
 * detail on high samples, against that on low samples a moment away, is the slope of the curve that made
 * them. A limiter's gain hardly moves in that time and leaves no trace here.
 *
 *   detail   sixth difference of the samples, taps a 44.1 kHz period apart, as log2 power; what lies under
 *            16-bit noise counts as even
 *   moment   a third of a row, 3.3 ms, that holds low samples (under AUR_DETAIL_LOW) in an eighth of its
 *            length at least, and a high one (over AUR_DETAIL_HIGH); others say nothing
 *   tally    detail less the mean detail of the moment's low samples, by height of |x| in even steps
 *
 * A part of levels.h, which says what rows it is given. Fixed memory, no allocation; one state, one thread.
 */
#ifndef AUR_DETAIL_H
#define AUR_DETAIL_H

#include "common.h"

#define AUR_DETAIL_BINS 32u /* bin k: k/32 <= |x| < (k+1)/32, the last one open */
#define AUR_DETAIL_LOW 0.35f
#define AUR_DETAIL_HIGH 0.5f
#define AUR_DETAIL_FEWEST 64.0 /* samples in a bin before it says anything */

typedef struct {
    double sum[AUR_DETAIL_BINS], count[AUR_DETAIL_BINS];
} aur_detail; /* all zero to begin with */

/* One row of one channel, 10 ms long. */
void aur_detail_row(aur_detail *state, const float *in, size_t frames);

/* Adds what another one counted. */
void aur_detail_append(aur_detail *state, const aur_detail *next);

/* dB of detail at each height against low samples; 0 for a bin with too few samples. */
void aur_detail_finish(const aur_detail *state, double db[AUR_DETAIL_BINS]);

#endif

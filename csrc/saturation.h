/*
 * saturation.h: what the raw samples tell about clipping and saturation: sample peak, amplitude
 * histogram, flat tops, and how round the highest maxima are. A part of levels.h, which documents
 * the numbers; fixed memory, no allocation, one state one thread.
 */
#ifndef AUR_SATURATION_H
#define AUR_SATURATION_H

#include "common.h"

#define AUR_SATURATION_BINS 2048u   /* of the histogram of |x| */
#define AUR_SATURATION_LEVELS 512u  /* of the flat tops, sixteen an octave from 2^-24 up */
#define AUR_SATURATION_HEIGHTS 128u /* of the maxima, eight an octave from 2^-14 up */
#define AUR_SATURATION_RATIOS 128u  /* of their curvature, likewise */

/* The run of equal samples that the newest one belongs to. */
typedef struct {
    float last[2]; /* the two newest samples, older first */
    float lowest;  /* magnitude in the run */
    uint64_t length;
    int entered; /* by a corner */
    int started;
} aur_flat_run;

typedef struct {
    float peak;
    uint64_t histogram[2][AUR_SATURATION_BINS];
    aur_flat_run runs[2];
    uint64_t flat_total[AUR_SATURATION_LEVELS], flat_longest[AUR_SATURATION_LEVELS];
    uint32_t maxima[AUR_SATURATION_HEIGHTS][AUR_SATURATION_RATIOS];
} aur_saturation; /* all zero to begin with */

/* Peak, histogram and flat tops of the next frames; at most AUR_SATURATION_RUN at a time. */
#define AUR_SATURATION_RUN 512u
void aur_saturation_process(aur_saturation *state, const float *const in[2], size_t frames);

/* As though the signal of `next` had been processed after this one; a flat top ends at the seam. */
void aur_saturation_append(aur_saturation *state, const aur_saturation *next);

/* Adds the local maxima inside one row of one channel. */
void aur_saturation_maxima(aur_saturation *state, const float *in, size_t frames);

/* Samples of both channels in flat tops near the peak, and the longest of them. */
void aur_saturation_flat_tops(const aur_saturation *state, uint64_t *total, uint64_t *longest);

/* Median curvature of the top 3 % of the maxima over that of the 40-60 % band; 1 under 100 maxima. */
double aur_saturation_curvature(const aur_saturation *state);

#endif

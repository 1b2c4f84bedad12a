/*
 * activity.h: which frames count as music. The population are the frames above -80 dBFS and within
 * 50 dB of the loudest; a frame is active when its power exceeds -80 dBFS and the population's 95th
 * percentile (nearest rank) - 50 dB.
 *
 * -80 dBFS only keeps digital silence and dither out (16 bits of it: -96 dBFS). Everything else is
 * relative, so silence around a track cannot move the rule, nor can a gain that leaves the percentile
 * above -30 dBFS.
 *
 *   aur_activity_gate   the rule itself, for kernels that keep the power of every frame
 *   aur_activity_grid   for kernels that cannot: they add each frame to the bin of its level and sum the
 *                       active bins when asked, in constant memory. Bins are 0.01 dB wide: a frame is
 *                       judged wrongly only within 0.01 dB of the threshold. Their edges lie at fixed
 *                       distances from the first sound, so that a gain moves every frame by whole bins.
 */
#ifndef AUR_ACTIVITY_H
#define AUR_ACTIVITY_H

#include "common.h"

#define AUR_ACTIVITY_FLOOR 1e-8 /* mean square, full scale 1 */
#define AUR_ACTIVITY_STEPS_PER_DB 100
#define AUR_ACTIVITY_COARSE 50 /* bins that energy sums may lump together: half a dB, 50 dB down */
#define AUR_ACTIVITY_BINS (91 * AUR_ACTIVITY_STEPS_PER_DB) /* -80.5 .. +10 dBFS */

/* The power a frame must exceed to be active. Sorts the powers. */
double aur_activity_gate(double *powers, size_t count);

/* All zero to begin with. */
typedef struct {
    int begun;
    double low; /* level of the lower edge of bin 0, in -80.5 .. -80 dBFS */
} aur_activity_grid;

/* Bin of a mean square, or -1 for a frame that can never be active. */
int aur_activity_bin(aur_activity_grid *grid, double power);

/* How many bins to add to those of `from` to find them on `grid`, which begins with it if it has not begun:
 * to the nearest bin. */
int aur_activity_shift(aur_activity_grid *grid, const aur_activity_grid *from);

/* First active bin, given the number of frames in each; AUR_ACTIVITY_BINS when there are none. */
int aur_activity_first(const uint32_t *counts);

#endif

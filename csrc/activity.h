/*
 * activity.h: which frames count as music. A frame is active when its power exceeds both -60 dBFS
 * and the track's 95th percentile - 50 dB. The percentile is only known at the end, so kernels that
 * average over active frames add each frame to the bin of its level and sum the active bins when
 * asked: memory is constant and the result does not depend on how the input was cut.
 *
 * The percentile is taken over frames above -60 dBFS, so that silence around a track cannot move it.
 * Bins are 0.01 dB wide: a frame can be judged wrongly only within 0.01 dB of the threshold.
 */
#ifndef AUR_ACTIVITY_H
#define AUR_ACTIVITY_H

#include "common.h"

#define AUR_ACTIVITY_FLOOR_DB -60.0
#define AUR_ACTIVITY_STEPS_PER_DB 100
#define AUR_ACTIVITY_BINS (70 * AUR_ACTIVITY_STEPS_PER_DB) /* -60 .. +10 dBFS */
#define AUR_ACTIVITY_DEPTH (50 * AUR_ACTIVITY_STEPS_PER_DB)

/* Bin of a mean square (full scale 1), or -1 for a frame that can never be active. */
static inline int aur_activity_bin(double power) {
    if (!(power > 1e-6)) return -1;
    const int bin = (int)((aur_power_db(power) - AUR_ACTIVITY_FLOOR_DB) * AUR_ACTIVITY_STEPS_PER_DB);
    return bin < AUR_ACTIVITY_BINS ? bin : AUR_ACTIVITY_BINS - 1;
}

/* First active bin, given the number of frames in each; AUR_ACTIVITY_BINS when there are none. */
static inline int aur_activity_first(const uint32_t *counts) {
    uint64_t total = 0, above = 0;
    for (int b = 0; b < AUR_ACTIVITY_BINS; b++)
        total += counts[b];
    if (!total) return AUR_ACTIVITY_BINS;
    int b = AUR_ACTIVITY_BINS;
    while (above * 20 < total)
        above += counts[--b]; /* at most 5 % lie above bin b */
    return b > AUR_ACTIVITY_DEPTH ? b - AUR_ACTIVITY_DEPTH : 0;
}

#endif

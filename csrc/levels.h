/*
 * levels.h: level statistics of a stereo signal in one pass: crest, silence, variation of peaks,
 * stereo image, amplitude histogram, and the evidence of clipping and saturation.
 *
 * Works on whole 10 ms rows counted from the first frame that is not digital silence; ten rows make a
 * block, thirty blocks a long block. Results are the same bits for every chunking, and aur_levels_finish may
 * be called after any prefix. Rows and blocks that are not complete are left out of the statistics, except
 * that a signal shorter than one row (block, long block) is measured as one short row (block, long block).
 * The sample peak, the histogram and the flat tops count every frame.
 *
 * Which 100 ms blocks are active, by their mean power over both channels, is activity.h's rule: silence
 * anywhere in the track cannot move it.
 *
 * Memory: 400 bytes a second of history. As for loudness.h, process returns a status, makes all room
 * before it reads the first sample, and leaves the state as it was on AUR_ENOMEM.
 */
#ifndef AUR_LEVELS_H
#define AUR_LEVELS_H

#include "common.h"

#define AUR_LEVELS_BINS 2048u
#define AUR_LEVELS_HEIGHTS 32u /* of the detail */

typedef struct aur_levels aur_levels;

typedef struct {
    /* Of the high-passed signal. The value without any active block is in brackets. */
    double crest_db;      /* [0] mean over active 100 ms blocks of peak over rms, both channels */
    double silence_ratio; /* [1] share of the time, in 10 ms rows, under -60 dBFS in both channels */
    double dynamic_range_variation; /* [0] deviation of peak over rms of active 3 s blocks in dB, / 6, <= 1 */
    double peak_consistency;        /* [0] 1 / (1 + deviation of active 100 ms peaks in dB / 3) */
    double stereo_width;            /* [0] side energy / (mid + side) over active blocks */
    double phase_correlation;       /* [1] sum LR / sqrt(sum LL sum RR) over active blocks */
    double active_seconds;

    /* Of the raw signal. */
    double sample_peak; /* linear */
    uint64_t frames;
    /*
     * A flat top: at least 3 consecutive samples of one channel, each within 2^-14 of its neighbour
     * (relative), at a level no lower than 15/16 of the sample peak, entered or left by a step of more
     * than 2^-10 (a slow sine turns round without such a corner). Levels are told apart by histogram bin.
     */
    uint64_t flat_top_longest; /* samples */
    uint64_t flat_top_total;   /* samples, both channels together */
    double flat_top_share;     /* flat_top_total / (2 frames) */
    /*
     * How much rounder the highest local maxima of |x| are than those of middling height: the median of
     * (2a - neighbours) / a over the top 3 % by height, divided by the median over the 40-60 % band.
     * About 1 and above for an untouched signal, towards 0 where tops were flattened. From the
     * first row of every block, maxima above -80 dBFS, heights and ratios in eight bins an octave; 1 without
     * data.
     */
    double peak_curvature;
    /* How fine detail fares at the height of |x|, in 32 even steps, dB: detail.h. From the same rows. */
    double detail_db[AUR_LEVELS_HEIGHTS];
    /* Samples of both channels with k/2048 <= |x| < (k+1)/2048; the last bin is open. */
    uint64_t histogram[AUR_LEVELS_BINS];
} aur_levels_result;

/* sample_rate 8000..384000 Hz. Always two channels: a mono signal comes as two equal ones. */
aur_status aur_levels_create(double sample_rate, aur_levels **out);
aur_status aur_levels_clone(const aur_levels *state, aur_levels **out);
void aur_levels_destroy(aur_levels *state);
void aur_levels_reset(aur_levels *state);

/* raw: the signal, finite. hp: the same frames after the 5 Hz high-pass. */
aur_status aur_levels_process(aur_levels *state, const float *const raw[2], const float *const hp[2],
                              size_t frames);

/* As though the signal of `next`, of the same rate, had been processed after this one; more may follow it.
 * But the 10 and 100 ms begun at the seam are left out. silence: frames of digital silence in front of
 * `next`, which are to take their time. */
aur_status aur_levels_append(aur_levels *state, const aur_levels *next, uint64_t silence);

void aur_levels_finish(const aur_levels *state, aur_levels_result *out);

#endif

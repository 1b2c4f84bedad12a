/*
 * restore.h: gives dynamics back to a compressed-loud track, in two stages.
 *
 * Expansion. What flattened the peaks was, near enough, a curve from input sample to output sample; its
 * inverse is one too: y = x curve(|x| / top) (1 + depth (x / top)^4), top the track's sample peak. The
 * curve is a gain at even heights with straight lines between. Memoryless, so nothing can pump.
 *
 * Multiband fill. In each of four bands a fast level that stands out over a slow one is lifted, so
 * that what stood out before a limiter held it down stands out again.
 *
 *   bands    under 120 Hz, 120-700, 700-4000, above: differences of three linear-phase low-passes, each a
 *            cascade of three box averages in integer arithmetic. They add up to the input exactly, in
 *            level and in phase, so a gain of 0 dB everywhere is the delayed input bit for bit.
 *   gain     clamp(fill x (fast - slow - 1.5 dB), 0, 6 dB), fast 3 ms, slow 250 ms, powers added over
 *            all channels; attack 1 ms, release 40 ms; computed every quantum, ramped over the quantum
 *            it was computed from
 *
 * How deep and how much is plan.py's. Both at 0 is the delayed input bit for bit.
 * The low-passes remember a fixed number of frames and no more; the slow level remembers longest.
 * Its average runs over all frames heard so far until there are 250 ms of them.
 */
#ifndef AUR_RESTORE_H
#define AUR_RESTORE_H

#include "common.h"
#include "snapshot.h"

#define AUR_RESTORE_MAX_GAIN_DB 6.0
#define AUR_RESTORE_NODES 129u /* of a curve */

typedef struct aur_restore aur_restore;

typedef struct {
    double depth;       /* 0..AUR_RESTORE_MAX_DEPTH: peaks at top gain a factor 1 + depth */
    double top;         /* linear, > 0; larger samples are lifted as much as those at top */
    double fill;        /* 0..1: dB of gain for every dB of fast level over slow */
    const float *curve; /* AUR_RESTORE_NODES gains at |x| = k / 128 top, 0..16; NULL for none. Copied. */
} aur_restore_params;

#define AUR_RESTORE_MAX_DEPTH 3.0

/* sample_rate 8000..192000; channels 1..AUR_MAX_CHANNELS. */
aur_status aur_restore_create(const aur_restore_params *params, double sample_rate, unsigned channels,
                              aur_restore **out);
aur_status aur_restore_clone(const aur_restore *state, aur_restore **out);
void aur_restore_destroy(aur_restore *state);
void aur_restore_snapshot(aur_restore *state, aur_walk *walk);

/* Frames by which the output lags; depends on the sample rate alone. */
size_t aur_restore_latency_at(double sample_rate);

/* Finite samples in. in and out may be the same. */
void aur_restore_process(aur_restore *state, const float *const *in, float *const *out, size_t frames);

#endif

/*
 * restore.h: multiband fill, which gives dynamics back to a track that a limiter held down.
 *
 * In each of four bands a fast level that stands out over a slow one is lifted, so
 * that what stood out before a limiter held it down stands out again.
 *
 *   bands    under 120 Hz, 120-700, 700-4000, above: differences of three linear-phase low-passes, each a
 *            cascade of three box averages in integer arithmetic. They add up to the input exactly, in
 *            level and in phase, so a gain of 0 dB everywhere is the delayed input bit for bit.
 *   gain     clamp(fill x (fast - slow - 1.5 dB), 0, 6 dB), fast 3 ms, slow 250 ms, powers added over
 *            all channels; attack 1 ms, release 40 ms; computed every quantum, ramped over the quantum
 *            it was computed from
 *
 * How much is plan.py's. 0 is the delayed input bit for bit.
 * The low-passes remember a fixed number of frames and no more; the slow level remembers longest.
 * Its average runs over all frames heard so far until there are 250 ms of them.
 */
#ifndef AUR_RESTORE_H
#define AUR_RESTORE_H

#include "common.h"
#include "snapshot.h"

#define AUR_RESTORE_MAX_GAIN_DB 6.0

typedef struct aur_restore aur_restore;

typedef struct {
    double fill; /* 0..1: dB of gain for every dB of fast level over slow */
} aur_restore_params;

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

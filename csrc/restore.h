/*
 * restore.h: lift and multiband fill, which give dynamics back to a track that a limiter held down.
 *
 * A limiter turned everything down at once wherever a peak would have gone over the level that it held, and
 * let go within some 50 ms; nowhere else did it do anything. Reach is how much that is so:
 *
 *   reach    1 at a peak of `held`, 0 for peaks 1 dB under it; follows peaks at once, 1.5 ms ahead
 *            of them, and decays by 1/e in 40 ms
 *   lift     the gain that all bands get together: reach x lift_db
 *   fill     what a band gets on top of it where its fast level stands out over its slow one:
 *            reach x clamp(fill x (fast - slow - 1.5 dB), 0, 6 dB), fast 3 ms, slow 100 ms, powers added
 *            over all channels
 *   bands    under 120 Hz, 120-700, 700-4000, above: differences of three linear-phase low-passes, each a
 *            cascade of three box averages in integer arithmetic. They add up to the input exactly, in
 *            level and in phase, so a gain of 0 dB everywhere is the delayed input bit for bit.
 *
 * Gains follow within 1 ms upwards and 10 ms down, are computed every quantum and ramped over the quantum
 * they were computed from.
 *
 * How much is plan.py's. Both at 0, or reach, is the delayed input bit for bit.
 * The low-passes remember a fixed number of frames and no more; the slow level remembers longest.
 * Its average runs over all frames heard so far until there are 100 ms of them.
 */
#ifndef AUR_RESTORE_H
#define AUR_RESTORE_H

#include "common.h"
#include "snapshot.h"

#define AUR_RESTORE_MAX_FILL_DB 6.0
#define AUR_RESTORE_MAX_LIFT_DB 12.0

typedef struct aur_restore aur_restore;

typedef struct {
    double fill;    /* 0..1: dB of gain for every dB of fast level over slow */
    double lift_db; /* 0..AUR_RESTORE_MAX_LIFT_DB: gain of all bands at full reach */
    double held;    /* linear, > 0: the level that a limiter held peaks at, as it comes in here */
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

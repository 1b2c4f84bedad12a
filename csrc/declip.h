/*
 * declip.h: redraws the peaks that hard clipping cut off.
 *
 * A clipped run is a stretch of at most `longest` frames of samples of one sign at `low` or over it. What was
 * over the level is guessed in two ways, and the sum of both is added to the run as it is, ripple and all:
 *
 *   nearby   the cubic (Lagrange) through the two samples before and the two after the run, of which what
 *            lies over the level is bounded softly at 6 times `rise`, because the cubic of a long run
 *            shoots over; seven tenths of it
 *   usual    a parabola as high as runs of this length are in a track whose samples were cut by `rise` on
 *            average: rise (.4 + 3.2 n / (n + 30)) at 44.1 kHz, from one frame to the longest; a third of it
 *
 * Where the waveform is smooth the first knows better, where it is noise the second. Every other sample is
 * the delayed input bit for bit, and so are longer runs, where either would be a guess. Channels are apart.
 * There is no memory beyond the run: chunking never changes an output bit.
 */
#ifndef AUR_DECLIP_H
#define AUR_DECLIP_H

#include "common.h"
#include "snapshot.h"

#define AUR_DECLIP_TOLERANCE (1.0 / 4096.0) /* by which a clipped sample may be under the level */
#define AUR_DECLIP_REACH 5.5                /* redrawn samples rise by less than this times level x rise */

typedef struct aur_declip aur_declip;

typedef struct {
    double level;   /* linear, > 0: what peaks were cut off at, and where redrawn ones begin */
    double low;     /* 0 < low <= level: from here on a sample counts as clipped */
    double rise;    /* 0..1: mean height over the level of what was cut off, as a part of the level */
    size_t longest; /* frames, 1..100000: longer runs are left alone; the output lags by this and 2 */
} aur_declip_params;

/* sample_rate 8000..192000; channels 1..AUR_MAX_CHANNELS. */
aur_status aur_declip_create(const aur_declip_params *params, double sample_rate, unsigned channels,
                             aur_declip **out);
aur_status aur_declip_clone(const aur_declip *state, aur_declip **out);
void aur_declip_destroy(aur_declip *state);
void aur_declip_snapshot(aur_declip *state, aur_walk *walk);

/* The latency that a chain keeps for declipping alone: runs of 2 ms. It may have more to give. */
size_t aur_declip_latency_at(double sample_rate);
size_t aur_declip_longest_in(size_t latency);

/* Finite samples. in and out may be the same. */
void aur_declip_process(aur_declip *state, const float *const *in, float *const *out, size_t frames);

#endif

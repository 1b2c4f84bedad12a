/*
 * declip.h: redraws the peaks that hard clipping cut off.
 *
 * A clipped run is a stretch of at most 88 frames at 44.1 kHz (2 ms at any rate) of samples of one sign
 * within 2^-12 of the clip level or over it. It is replaced by the cubic (Lagrange) through the two samples
 * before and the two after it, of which what lies over the level is held under AUR_DECLIP_HEADROOM times the
 * level by a soft bound: clipping only ever took away, but the cubic of a long run shoots over. Every other
 * sample is the delayed input bit for bit, and so are longer runs, where a cubic would be a guess. Channels
 * are apart. There is no memory beyond the run: chunking never changes an output bit.
 */
#ifndef AUR_DECLIP_H
#define AUR_DECLIP_H

#include "common.h"
#include "snapshot.h"

#define AUR_DECLIP_HEADROOM 1.5

typedef struct aur_declip aur_declip;

/* level: linear, > 0; sample_rate 8000..192000; channels 1..AUR_MAX_CHANNELS. */
aur_status aur_declip_create(double level, double sample_rate, unsigned channels, aur_declip **out);
aur_status aur_declip_clone(const aur_declip *state, aur_declip **out);
void aur_declip_destroy(aur_declip *state);
void aur_declip_snapshot(aur_declip *state, aur_walk *walk);

/* Frames by which the output lags; depends on the sample rate alone. */
size_t aur_declip_latency_at(double sample_rate);

/* Finite samples. in and out may be the same. */
void aur_declip_process(aur_declip *state, const float *const *in, float *const *out, size_t frames);

#endif

/*
 * limiter.h: look-ahead true-peak limiter, all channels under one gain.
 *
 *   peak envelope over channels -> required gain (log2) -> minimum over a sliding window -> release
 *   that only moves up towards it, one pole in the log domain -> three box averages of the gain in fixed
 *   point -> times the delayed signal
 *
 * Every value under the boxes is at most what the peak needs, so the gain is down in time and stays
 * down until the peak has passed.
 *
 * The envelope (envelope.h) reads eight values between any two samples, and more than there is close to
 * Nyquist. The gain aims MARGIN_DB under the ceiling, which covers what still longer interpolators find and
 * what the moving gain adds. bench/ceiling.py tells how well that holds on 16x meters.
 *
 * Where nothing is over, the output is the delayed input bit for bit. Look-ahead 3 ms, release 80 ms.
 * Samples that are not finite become 0. Chunking never changes an output bit.
 */
#ifndef AUR_LIMITER_H
#define AUR_LIMITER_H

#include "common.h"
#include "snapshot.h"

#define AUR_LIMITER_MARGIN_DB 0.2 /* at 44.1 kHz and over; .28 at 22.05 kHz, .47 at 8 kHz */

typedef struct aur_limiter aur_limiter;

/* ceiling_db in dBTP, -60..0; sample_rate 8000..192000; channels 1..AUR_MAX_CHANNELS. */
aur_status aur_limiter_create(double ceiling_db, double sample_rate, unsigned channels, aur_limiter **out);
aur_status aur_limiter_clone(const aur_limiter *state, aur_limiter **out);
void aur_limiter_destroy(aur_limiter *state);
void aur_limiter_reset(aur_limiter *state);
void aur_limiter_snapshot(aur_limiter *state, aur_walk *walk);

/* Frames by which the output lags; depends on the sample rate alone. */
size_t aur_limiter_latency(const aur_limiter *state);
size_t aur_limiter_latency_at(double sample_rate);

/* in and out may be the same. Returns the smallest gain applied, linear; 1 when none was. */
float aur_limiter_process(aur_limiter *state, const float *const *in, float *const *out, size_t frames);

#endif

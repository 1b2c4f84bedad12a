/*
 * loudness.h: K-weighted loudness at any sample rate: momentary, short-term, integrated with both
 * gates, and loudness range (ITU-R BS.1770-5 Annex 1, EBU Tech 3341 and 3342).
 *
 * The K-weighted, channel-weighted power of every 10 ms is formed on the absolute frame index; sums
 * of ten of them make a sliding 100 ms power, from which every window below is added up. So every
 * result is the same bits for every chunking, and every reading function may be called after any
 * prefix. Samples that are not finite count as 0. Silence is assumed before the first frame.
 *
 * Readings are LUFS (or LU) as doubles; -infinity where nothing qualifies.
 *
 * Memory: 160 bytes a second of history, because exact gates need every block. This is the one place
 * where process can need memory, so it returns a status. All room for the call is made before the
 * first sample is read: AUR_ENOMEM leaves the state as it was. The first 13 minutes are there from
 * the start, and after aur_loudness_reserve(s, n) the next n frames are certain.
 */
#ifndef AUR_LOUDNESS_H
#define AUR_LOUDNESS_H

#include "common.h"

/* High-pass numerator as libebur128 has it: [1, -2, 1] at every rate, instead of scaled so that the
 * gain far above 38 Hz stays what it is at 48 kHz. */
#define AUR_LOUDNESS_UNSCALED 1u

typedef struct aur_loudness aur_loudness;

/*
 * sample_rate 8000..384000 Hz; channels 1..AUR_MAX_CHANNELS. weights: one non-negative power weight a
 * channel, copied; NULL means BS.1770 for the WAVE channel order (1 for front channels and rears
 * behind 120 degrees, 1.41 for surrounds at the side, 0 for the LFE of 6, 7 and 8 channels).
 */
aur_status aur_loudness_create(double sample_rate, unsigned channels, const double *weights, unsigned flags,
                               aur_loudness **out);
aur_status aur_loudness_clone(const aur_loudness *state, aur_loudness **out);
void aur_loudness_destroy(aur_loudness *state);
void aur_loudness_reset(aur_loudness *state);

aur_status aur_loudness_reserve(aur_loudness *state, size_t frames);
aur_status aur_loudness_process(aur_loudness *state, const float *const *in, size_t frames);

/* As though the signal of `next`, of the same rate, channels, weights and flags, had been processed after
 * this one; more may follow it. But the filters are at rest at the seam, the 100 ms begun there are left
 * out, and windows that reach across it enter the maxima on a 100 ms grid, if they are whole by now. */
aur_status aur_loudness_append(aur_loudness *state, const aur_loudness *next);

/* The last 400 ms and the last 3 s, on the 10 ms grid. */
double aur_loudness_momentary(const aur_loudness *state);
double aur_loudness_short_term(const aur_loudness *state);

/* Largest momentary and short-term loudness so far, both on the 10 ms grid (on a 100 ms grid EBU
 * cases 13 and 14 read .45 LU low). */
double aur_loudness_momentary_max(const aur_loudness *state);
double aur_loudness_short_term_max(const aur_loudness *state);

/* Gated at -70 LUFS and at 10 LU below the mean of what remains, blocks of 400 ms every 100 ms.
 * Under 400 ms: the ungated loudness of all there is. */
double aur_loudness_integrated(const aur_loudness *state);

/* P95 - P10 (nearest rank) of the short-term loudness every 100 ms, followed by 1.5 s of silence and
 * gated at -70 LUFS and at 20 LU below the mean of what remains. 0 when nothing qualifies. */
double aur_loudness_range(const aur_loudness *state);

/* Standard deviation in LU of the short-term loudness every 100 ms, gated as for the loudness range but
 * that the first gate lies 50 LU below the loudest 100 ms (and no lower than dither): a gain changes
 * nothing. No silence is appended, and windows begin at the first 100 ms above that gate, so that silence
 * in front of the programme does not count as variation. */
double aur_loudness_variation(const aur_loudness *state);

#endif

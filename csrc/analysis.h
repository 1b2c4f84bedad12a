/*
 * analysis.h: one pass over the samples for the whole fingerprint. Composes the measuring kernels:
 *
 *   in ── finite ──┬─ loudness, true peak          (all channels, native rate)
 *                  ├─ raw L, R ──────────┐
 *                  └─ 5 Hz high-pass ────┴─ levels (native rate)
 *                        └─ 2:1 or 4:1 above 80 kHz ─┬─ spectral ── harmonic
 *                                                    └─ M ─┬─ temporal
 *                                                          └─ about 11 kHz ─ pitch ─ 2:1 ─ chroma
 *
 * Samples that are not finite are counted and taken as 0. Mono becomes two equal channels; of more
 * than two, everything but loudness and true peak looks at the first two. All but those two begin with
 * the first frame that is not digital silence: silence in front changes no bit of them but the silence
 * ratio. Results do not depend on how the input was cut into calls, bit for bit.
 */
#ifndef AUR_ANALYSIS_H
#define AUR_ANALYSIS_H

#include "chroma.h"
#include "common.h"
#include "levels.h"
#include "pitch.h"
#include "spectral.h"
#include "temporal.h"

typedef struct aur_analysis aur_analysis;

typedef struct {
    uint64_t frames, non_finite; /* non_finite counts samples of all channels */
    int dual_mono;               /* the first two channels were equal throughout (always so for mono) */
    double integrated, momentary_max, short_term_max, loudness_range, loudness_variation; /* LUFS, LU */
    double true_peak;                                                                     /* linear */
    aur_levels_result levels;
    aur_spectral_result spectral;
    aur_temporal_result temporal;
    aur_pitch_result pitch;
    aur_chroma_result chroma;
    double harmonic_ratio;
    int harmonic_defined;
} aur_analysis_result;

/* sample_rate 8000..192000 Hz, channels 1..AUR_MAX_CHANNELS. */
aur_status aur_analysis_create(double sample_rate, unsigned channels, aur_analysis **out);
void aur_analysis_destroy(aur_analysis *state);

/* AUR_ENOMEM when the history of a kernel cannot grow; the measurement is then lost. */
aur_status aur_analysis_process(aur_analysis *state, const float *const *in, size_t frames);

/* As though the signal of `next`, of the same rate and channels, had been processed after this one; more may
 * follow it. What every kernel kept is added up or joined in order; what differs at the seam is said at each
 * one's append: the filters of `next` were at rest, and no frame or block reaches across. On AUR_ENOMEM the
 * measurement of `state` is lost. `next` is another state, and stays as it was. */
aur_status aur_analysis_merge(aur_analysis *state, const aur_analysis *next);

/* What the signal measures as up to here. Leaves the state as it was, so it is good at any prefix. */
aur_status aur_analysis_finish(const aur_analysis *state, aur_analysis_result *out);

#endif

/*
 * spectral.h: what the short-time spectra say: energy by band, centroid, rolloff, flatness.
 *
 * Frames: periodic Hann of N samples, hop N/4, N the power of two nearest to 46.4 ms (2048 at
 * 44.1 and 48 kHz). Only whole frames count; a track shorter than N is one frame padded with zeros.
 * L + jR goes through one complex transform; AUR_LANES frames are transformed side by side.
 *
 *   feed   takes samples until a batch of frames is complete, run transforms and accumulates it.
 *
 * Constant memory: frames are accumulated by their level (activity.h).
 */
#ifndef AUR_SPECTRAL_H
#define AUR_SPECTRAL_H

#include "activity.h"
#include "bands.h"
#include "simd.h"

typedef struct aur_spectral aur_spectral;

typedef struct {
    double bands[AUR_BANDS];        /* share of energy, sum 1; all 0 when no frame was active */
    double ltas_db[AUR_BANDS_LTAS]; /* 1/3 octaves around 20 Hz .. 20 kHz, mean square in dBFS, >= -120 */
    double centroid; /* mean over active frames of sum f|X| / sum |X| of M, / 8000, clipped to 1 */
    double rolloff;  /* mean of the lowest f with 85 % of the cumulated |X|, / 10000, clipped to 1 */
    double flatness; /* mean of geometric / arithmetic mean of power, 50 Hz .. 16 kHz */
    uint64_t frames, active_frames;
} aur_spectral_result;

/* sample_rate 4000..96000. */
aur_status aur_spectral_create(double sample_rate, aur_spectral **out);
aur_status aur_spectral_clone(const aur_spectral *state, aur_spectral **out);
void aur_spectral_destroy(aur_spectral *state);
void aur_spectral_reset(aur_spectral *state);

/* Consumes up to `frames` samples of both channels and returns how many it took. When the batch is
 * then full (aur_spectral_ready), run must be called before feed is called again. */
size_t aur_spectral_feed(aur_spectral *state, const float *left, const float *right, size_t frames);
int aur_spectral_ready(const aur_spectral *state);

/* Complete frames that wait for a batch to fill. */
unsigned aur_spectral_waiting(const aur_spectral *state);

/* Transforms the frames complete so far (AUR_LANES when ready, fewer at the end of a track) and
 * returns how many there were. */
unsigned aur_spectral_run(aur_spectral *state);

/* After run: |M|, element [bin * AUR_LANES + frame], aur_spectral_bins() rows; valid until the next
 * run. Frame 0 of every batch has an even index. */
const float *aur_spectral_magnitudes(const aur_spectral *state);
size_t aur_spectral_bins(const aur_spectral *state);

/* As though the signal of `next`, of the same rate, had been fed after this one, whose complete frames must
 * have been run; more may follow it. But no frame reaches across the seam. */
void aur_spectral_append(aur_spectral *state, const aur_spectral *next);

void aur_spectral_finish(const aur_spectral *state, aur_spectral_result *out);

#endif

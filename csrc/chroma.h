/*
 * chroma.h: how clearly single pitch classes stand out. Power spectra of M at 4..8 kHz (Hann, 4096
 * samples, hop 1024: long frames, because a semitone at 65 Hz is 4 Hz wide), 65..2100 Hz, folded into
 * 120 classes of 10 cents.
 *
 *   chroma_energy = energy-weighted mean over frames of (max - 1/12) / (11/12)
 *
 * of the 12-bin chroma normalised to sum 1. Tuning: the ten grids that lie 10 cents apart are all
 * accumulated and the one that stands out most is the track's. Constant memory.
 */
#ifndef AUR_CHROMA_H
#define AUR_CHROMA_H

#include "common.h"

#define AUR_CHROMA_CLASSES 12

typedef struct aur_chroma aur_chroma;

typedef struct {
    double energy;                     /* 0..1 */
    double tuning_cents;               /* of the grid chosen, -50..+40 */
    double chroma[AUR_CHROMA_CLASSES]; /* share of energy, C first; all 0 without energy */
} aur_chroma_result;

/* sample_rate 4300..24000, already decimated by the caller. */
aur_status aur_chroma_create(double sample_rate, aur_chroma **out);
aur_status aur_chroma_clone(const aur_chroma *state, aur_chroma **out);
void aur_chroma_destroy(aur_chroma *state);
void aur_chroma_reset(aur_chroma *state);
void aur_chroma_process(aur_chroma *state, const float *mono, size_t frames);

/* Takes in the frames that wait for a batch to fill; a track shorter than one frame is padded with
 * zeros. Nothing may be processed after it. */
void aur_chroma_flush(aur_chroma *state);

/* As though the signal of `next`, of the same rate, came after this one; more may follow it. But no frame
 * reaches across the seam. */
void aur_chroma_append(aur_chroma *state, const aur_chroma *next);
void aur_chroma_finish(const aur_chroma *state, aur_chroma_result *out);

#endif

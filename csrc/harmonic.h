/*
 * harmonic.h: share of harmonic energy by median filtering (D. Fitzgerald, "Harmonic/percussive
 * separation using median filtering", DAFx 2010) with squared soft masks: of |M| on every second
 * spectral frame, H is the median over 15 frames, P the median over 31 bins, and
 * E_H = sum (|M| H^2 / (H^2 + P^2))^2, E_P alike. Borders are mirrored.
 *
 * Magnitudes come in the lane layout of spectral.h, a batch at a time; frames 0, 2, 4 ... of a
 * batch are used. Constant memory.
 */
#ifndef AUR_HARMONIC_H
#define AUR_HARMONIC_H

#include "common.h"
#include "simd.h"

typedef struct aur_harmonic aur_harmonic;

aur_status aur_harmonic_create(size_t bins, aur_harmonic **out);
aur_status aur_harmonic_clone(const aur_harmonic *state, aur_harmonic **out);
void aur_harmonic_destroy(aur_harmonic *state);
void aur_harmonic_reset(aur_harmonic *state);

/* frames: how many lanes of the batch hold frames; AUR_LANES in every batch but the last. */
void aur_harmonic_process(aur_harmonic *state, const float *magnitudes, unsigned frames);

/* Mirrors the end and takes in the frames that were waiting for their right-hand neighbours. Nothing
 * may be processed after it: call it on a clone to look at a prefix. */
void aur_harmonic_flush(aur_harmonic *state);

/* As though the signal of `next`, of as many bins, came after this one; more may follow it. But the
 * medians mirror at the seam. */
void aur_harmonic_append(aur_harmonic *state, const aur_harmonic *next);

/* E_H / (E_H + E_P); 0.5 and *defined = 0 when there was no energy. */
double aur_harmonic_ratio(const aur_harmonic *state, int *defined);

#endif

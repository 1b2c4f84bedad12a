/*
 * temporal.h: tempo, rhythm stability and transient density of one signal. This file keeps what
 * onset.h makes of the samples, and knows onsets and active time; the decision about the tempo is
 * tempo.h's.
 *
 * Input: mono, (L + R) / 2 after the 5 Hz high-pass, 8..96 kHz. Frames of about 23 ms (a power of
 * two) every 5.8 ms start at the first sample that is not zero, so digital silence in front of a
 * track changes nothing (onset.h). Everything is measured relative to the signal itself: a gain changes no
 * result beyond rounding.
 *
 * Memory: process allocates nothing but the rows it keeps: 1.1 kB a second of signal, grown by
 * doubling. Should that ever fail, the state remembers it, further input is dropped and
 * aur_temporal_finish reports AUR_ENOMEM.
 */
#ifndef AUR_TEMPORAL_H
#define AUR_TEMPORAL_H

#include "common.h"

typedef struct aur_temporal aur_temporal;

typedef struct {
    double tempo_bpm;         /* 50..210, 0 when tempo_confidence is under .15 */
    double tempo_alt;         /* the best tempo at another metrical level, 0 likewise */
    double tempo_confidence;  /* 0..1 */
    double rhythm_stability;  /* 0..1 */
    double transient_density; /* onsets per second of active time / 10, clipped to 0..1 */
    uint64_t onsets;          /* onsets counted */
    double active_s;          /* seconds they were counted over */
} aur_temporal_result;

/* AUR_EINVAL when sample_rate is outside 8..96 kHz, AUR_ENOMEM. */
aur_status aur_temporal_create(double sample_rate, aur_temporal **out);
void aur_temporal_destroy(aur_temporal *state);
void aur_temporal_reset(aur_temporal *state);

/* Consumes any number of samples; results do not depend on how they are cut into calls. */
void aur_temporal_process(aur_temporal *state, const float *mono, size_t frames);

/* As though `silence` samples of silence and then the signal of `next`, of the same rate, had been processed
 * after this one; more may follow it. But no frame reaches across the seam, the time of `next` is right to
 * 6 ms, and its start, which rises out of nothing by itself, is no onset. Fails as process does. */
void aur_temporal_append(aur_temporal *state, const aur_temporal *next, uint64_t silence);

/* What the signal so far measures as, as if silence followed. Leaves the state as it was, so it is
 * good at any prefix. AUR_ENOMEM when scratch memory, or an earlier row, could not be had. */
aur_status aur_temporal_finish(const aur_temporal *state, aur_temporal_result *out);

#endif

/*
 * onset.h: how suddenly a signal becomes louder, a row every 5.8 ms. What the rows are kept for, and which of
 * them are onsets, is temporal.h's.
 *
 * Input: mono, 8..96 kHz. A row is taken from a frame of about 23 ms (a power of two) by comparing the
 * amplitudes of eight bands from 30 Hz to 14 kHz with those three rows ago. Everything is relative to the
 * signal itself: a gain changes nothing beyond rounding.
 *
 * What create makes is immutable: any number of threads may share it.
 */
#ifndef AUR_ONSET_H
#define AUR_ONSET_H

#include "common.h"
#include "fft.h"
#include "simd.h"

#define AUR_ONSET_BANDS 8u
#define AUR_ONSET_LAG 3u                /* rows between the two amplitudes that are compared */
#define AUR_ONSET_BLOCK (AUR_LANES * 8) /* rows made at a time */

/* A row's values, each >= 0: events counted alike, at most AUR_ONSET_BANDS; those of the kick's range and of
 * the snare's weighed by their strength. */
enum { AUR_ONSET, AUR_ONSET_LOW, AUR_ONSET_HIGH, AUR_ONSET_KINDS };

typedef struct {
    size_t frame, hop; /* samples */
    size_t scratch;    /* floats that aur_onset_rows needs, 64-byte aligned for speed */
    /* the rest is for onset.c */
    size_t edges[AUR_ONSET_BANDS + 1]; /* bins */
    float decay;
    aur_simd simd;
    aur_fft *plan;
    float *window; /* frame */
} aur_onset;

/* What later rows need to know about earlier ones; zeros at the start of a signal. */
typedef struct {
    float peak[AUR_ONSET_BANDS];
    float before[AUR_ONSET_LAG][AUR_ONSET_BANDS];
} aur_onset_history;

/* AUR_EINVAL when sample_rate is outside 8..96 kHz, AUR_ENOMEM. */
aur_status aur_onset_create(double sample_rate, aur_onset **out);
void aur_onset_destroy(aur_onset *onset);

/* Rows 0 .. count - 1, count <= AUR_ONSET_BLOCK, of frames that begin at every hop of `samples`, which has
 * frame + (AUR_ONSET_BLOCK - 1) * hop readable values whatever `count` is. rows[kind] and total, the power of
 * each row, have room for `count`. */
void aur_onset_rows(const aur_onset *onset, const float *samples, size_t count, float *scratch,
                    aur_onset_history *history, float *const rows[AUR_ONSET_KINDS], float *total);

#endif

/*
 * tempo.h: the tempo of rows of onset strength. What is an onset is temporal.h's.
 *
 * Windows of 6 s every 1.5 s each vote for a pulse (generalised autocorrelation, stretched copies
 * added, pulse trains over the ten best lags: Percival and Tzanetakis, IEEE/ACM TASLP 22(12), 2014);
 * the vote most windows share is the pulse of the track. Which multiple of it is the beat is decided
 * once, over all windows, by what is accented and what comes back: the octave decider in tempo.c.
 */
#ifndef AUR_TEMPO_H
#define AUR_TEMPO_H

#include "common.h"

#define AUR_TEMPO_SLOWEST 50.0
#define AUR_TEMPO_FASTEST 210.0

typedef struct {
    double bpm;        /* AUR_TEMPO_SLOWEST .. AUR_TEMPO_FASTEST, 0 when confidence is under .15 */
    double alt;        /* the runner-up among the metrical levels of the same pulse, 0 likewise */
    double confidence; /* 0..1: stability times the share of windows whose pulse is of this metre */
    double stability;  /* 0..1: rhythm_stability of the fingerprint */
} aur_tempo;

/* Rows of onset strength, `count` values >= 0 in each: onset counts every event alike, low (the kick's
 * range) and high (the snare's) weigh events by their strength. rate: rows a second, 75..100. */
typedef struct {
    const float *onset, *low, *high;
    size_t count;
    double rate;
} aur_tempo_rows;

/* Only ratios of rows matter: scaling any of the three changes nothing. Under half a second everything
 * is 0. AUR_ENOMEM when scratch memory, about 350 kB, could not be had. */
aur_status aur_tempo_estimate(const aur_tempo_rows *rows, aur_tempo *out);

#endif

/*
 * tempo.h: the tempo of rows of onset strength. What is an onset is temporal.h's.
 *
 * Windows of 6 s every 1.5 s each vote for a pulse (generalised autocorrelation, stretched copies
 * added, pulse trains over the ten best lags: Percival and Tzanetakis, IEEE/ACM TASLP 22(12), 2014);
 * the vote most windows share is the pulse of the track. Which multiple of it is the beat is decided
 * once, over all windows, by the contrast of accents on the beat and between beats, see tempo.c.
 */
#ifndef AUR_TEMPO_H
#define AUR_TEMPO_H

#include "common.h"

#define AUR_TEMPO_SLOWEST 50.0
#define AUR_TEMPO_FASTEST 210.0

typedef struct {
    double bpm;        /* AUR_TEMPO_SLOWEST .. AUR_TEMPO_FASTEST, 0 when there is no pulse */
    double alt;        /* the runner-up among the metrical levels of the same pulse, 0 without one */
    double confidence; /* 0..1: how regular the pulse is and how many windows agree on it */
    double stability;  /* 0..1: rhythm_stability of the fingerprint */
} aur_tempo;

/*
 * onset and accent: `rows` values >= 0 each, row_rate rows a second (150..200). onset counts every
 * event alike, accent weighs it by its strength. Only ratios matter: scaling either changes nothing.
 * Under half a second of rows everything is 0. AUR_ENOMEM when scratch memory could not be had.
 */
aur_status aur_tempo_estimate(const float *onset, const float *accent, size_t rows, double row_rate,
                              aur_tempo *out);

#endif

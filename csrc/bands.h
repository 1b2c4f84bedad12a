/*
 * bands.h: which bins make the fingerprint's seven bands and the 1/3 octaves of the long-term spectrum.
 *
 * Both are sums of segments, the elementary intervals between the edges of either, so every bin is added
 * once. Bin k covers (k - 1/2 .. k + 1/2) fs / N; the bins on an edge are shared out linearly.
 */
#ifndef AUR_BANDS_H
#define AUR_BANDS_H

#include "common.h"

#define AUR_BANDS 7
#define AUR_BANDS_LTAS 31 /* centres 20 Hz .. 20 kHz */
#define AUR_BANDS_SEGMENTS (AUR_BANDS + 1 + AUR_BANDS_LTAS + 1)

typedef struct {
    double low, high;   /* Hz */
    size_t first, last; /* bins touched */
    float weight_first, weight_last;
} aur_segment;

/* The segments below Nyquist, in order, for spectra of `length` samples; returns how many there are. out:
 * room for AUR_BANDS_SEGMENTS. */
unsigned aur_bands_lay_out(double sample_rate, size_t length, aur_segment *out);

/* Adds the energy of each segment to the band and the 1/3 octave it lies in; returns what all bands got. */
double aur_bands_fold(const aur_segment *segment, unsigned count, const double *energy, double *bands,
                      double *ltas);

#endif

/*
 * decimate.h: integer-factor sample rate reduction by one linear-phase FIR, evaluated only where an
 * output falls. One channel a state.
 *
 * Kaiser window, 80 dB: the pass band ends at `pass` (a fraction of the output rate, < 0.5) and the
 * stop band begins at 1 - pass, so aliases fall only above the pass band. Output m is the filter
 * centred (taps - 1) / 2 input frames before input m * factor.
 */
#ifndef AUR_DECIMATE_H
#define AUR_DECIMATE_H

#include "common.h"

typedef struct aur_decimate aur_decimate;

/* factor 1..32, pass 0.1..0.48. A factor of 1 copies. */
aur_status aur_decimate_create(unsigned factor, double pass, aur_decimate **out);
aur_status aur_decimate_clone(const aur_decimate *state, aur_decimate **out);
void aur_decimate_destroy(aur_decimate *state);
void aur_decimate_reset(aur_decimate *state);

/* Takes over the history of another state of the same factor and pass. */
void aur_decimate_resume(aur_decimate *state, const aur_decimate *from);

/* Writes at most frames / factor + 1 samples to out and returns how many. */
size_t aur_decimate_process(aur_decimate *state, const float *in, size_t frames, float *out);

#endif

/*
 * pitch.h: how steady the pitch is. Frames of 1024 samples, hop 512, of M at 8..16 kHz go through the
 * normalised square difference function (McLeod and Wyvill, "A smarter way to find pitch", ICMC
 * 2005), its autocorrelation by two transforms, AUR_LANES x 2 frames side by side. A frame is voiced
 * when the clarity of the chosen peak exceeds 0.7 with 55..1000 Hz (and half a semitone to spare).
 *
 *   pitch_stability = voiced share of active frames * exp(-median |delta cents| / 50),
 *
 * over active frames (activity.h); delta between neighbouring voiced frames, folded to +-600 cents.
 *
 * Memory: 8 bytes a frame, 170 a second, because only the end tells which frames were active. Should it
 * fail, the state remembers, takes no more input and aur_pitch_finish reports AUR_ENOMEM.
 */
#ifndef AUR_PITCH_H
#define AUR_PITCH_H

#include "common.h"

typedef struct aur_pitch aur_pitch;

typedef struct {
    double stability;    /* 0..1 */
    double voiced_share; /* of active frames */
} aur_pitch_result;

/* sample_rate 4000..24000, already decimated by the caller. */
aur_status aur_pitch_create(double sample_rate, aur_pitch **out);
aur_status aur_pitch_clone(const aur_pitch *state, aur_pitch **out);
void aur_pitch_destroy(aur_pitch *state);
void aur_pitch_reset(aur_pitch *state);
void aur_pitch_process(aur_pitch *state, const float *mono, size_t frames);

/* Takes in the whole frames that wait for a batch to fill. Nothing may be processed after it. */
void aur_pitch_flush(aur_pitch *state);

/* As though the signal of `next`, of the same rate, came after this one; more may follow it. But no frame
 * reaches across the seam, and no step. */
void aur_pitch_append(aur_pitch *state, const aur_pitch *next);
aur_status aur_pitch_finish(const aur_pitch *state, aur_pitch_result *out);

#endif

/*
 * chain.h: everything mastering does to the samples of one track, as one state with one latency:
 *
 *   curve -> declip -> fill -> EQ -> gain and leveller -> width -> look-ahead true-peak limiter
 *
 * The first three come first because the damage they undo happened to the waveform as it is in the file.
 * The limiter is inside, so that a crossfade between two chains mixes signals that are both under
 * their ceilings, and a fade to or from the dry signal is exactly that.
 *
 * Parameters are fixed for the life of a chain. To change them, run a new chain beside the old one
 * on the same samples and crossfade. A stage whose parameters mean "nothing" is skipped, and with
 * every stage skipped the output is the input, delayed, bit for bit (samples that are not finite
 * become 0 on every path).
 *
 * Latency: aur_chain_latency() frames, the same for every set of parameters at one sample rate.
 * Chunking never changes an output bit.
 */
#ifndef AUR_CHAIN_H
#define AUR_CHAIN_H

#include "biquad.h"
#include "common.h"

#define AUR_CHAIN_MAX_BANDS 12u

typedef enum { AUR_EQ_PEAKING = 0, AUR_EQ_LOW_SHELF = 1, AUR_EQ_HIGH_SHELF = 2 } aur_eq_kind;

typedef struct {
    aur_eq_kind kind;
    double f0, q, gain_db; /* Hz; > 0; 0 dB skips the band */
} aur_eq_band;

typedef struct {
    double depth, top;      /* curve.h; depth = 0 without a curve is off */
    const float *curve;     /* curve.h: gains; NULL for none, copied */
    double clip, clip_blur; /* the level in the file that peaks were cut off at, 0 = off; by which part of it
                               a clipped sample may lie under it, 0..1/2 */
    double clip_rise;       /* declip.h */
    double fill, lift_db, held; /* restore.h; fill = lift_db = 0 is off */
    unsigned bands;
    aur_eq_band band[AUR_CHAIN_MAX_BANDS];
    double gain_db;                      /* static; 0 = off */
    int level;                           /* 1 = slow leveller */
    double level_target, level_strength; /* LUFS; 0..1 */
    double width;                        /* factor on the side signal of channels 1 and 2; 1 = off */
    int limit;                           /* 1 = true-peak limiter at ceiling_db (dBTP) */
    double ceiling_db;
} aur_chain_params;

/* What a chain measured: short-term (3 s) loudness and crest on its way in and out, the gain it stands at
 * (static and leveller), and the largest gain reduction of the limiter in the last call, in dB >= 0. */
typedef struct {
    double lufs_in, crest_in, lufs_out, crest_out, gain_db, gain_reduction_db;
} aur_chain_record;

typedef struct aur_chain aur_chain;

/* AUR_EINVAL for more than AUR_MAX_CHANNELS channels or AUR_CHAIN_MAX_BANDS bands, a rate outside
 * 8..192 kHz, or a number that is not finite. */
aur_status aur_chain_create(const aur_chain_params *params, double sample_rate, unsigned channels,
                            aur_chain **out);
aur_status aur_chain_clone(const aur_chain *state, aur_chain **out);
void aur_chain_destroy(aur_chain *state);

/* The state as bytes: how many they are, and the bytes. They hold what was heard, not the parameters. */
#define AUR_CHAIN_SNAPSHOT 2u /* goes up with every change of what is walked, of its order or meaning */
size_t aur_chain_snapshot_size(const aur_chain *state);
void aur_chain_save(const aur_chain *state, unsigned char *out);

/* Continues where the chain that wrote the bytes stood; it had the same parameters, rate and channels.
 * AUR_EINVAL when the bytes cannot be those of such a chain; the state is then as it was. */
aur_status aur_chain_restore(aur_chain **state, const unsigned char *bytes, size_t size);

/* Takes over what the leveller of src has learned about the track, when both chains have one. same_place:
 * both have heard the same frames last, so the measurement of the input is taken over too. */
void aur_chain_inherit(aur_chain *state, const aur_chain *src, int same_place);

/* What one EQ band does at frequency f, in dB. */
double aur_chain_band_db(const aur_eq_band *band, double sample_rate, double f);

size_t aur_chain_latency(const aur_chain *state);

/* in and out may be the same. */
void aur_chain_process(aur_chain *state, const float *const *in, float *const *out, size_t frames);

void aur_chain_measured(const aur_chain *state, aur_chain_record *out);

#endif

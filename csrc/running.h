/*
 * running.h: short-term loudness and crest of a signal as it goes by, cheaply enough to keep on both
 * ends of the chain. K-weighted power (BS.1770-5, channel weights included), peak and mean square of
 * every 100 ms; nothing older than 3 s is kept. Exact programme loudness is loudness.h's business.
 *
 * Readings are finite: a silent signal reads AUR_RUNNING_FLOOR LUFS and a crest of 0 dB. Chunking
 * never changes a reading. A running state is a plain value: copy it to clone it.
 */
#ifndef AUR_RUNNING_H
#define AUR_RUNNING_H

#include "biquad.h"
#include "common.h"
#include "snapshot.h"

#define AUR_RUNNING_BLOCKS 30u
#define AUR_RUNNING_FLOOR (-70.0)

typedef struct {
    double power;    /* K-weighted, summed over channels */
    double crest_db; /* peak over rms of all channels; 0 when not active */
    int active;      /* mean square above -60 dBFS */
} aur_running_block;

typedef struct {
    unsigned channels;
    size_t length, at; /* frames in a block, and in the one being filled */
    aur_biquad_pair shelf, high_pass;
    struct {
        aur_biquad_pair_state shelf, high_pass;
        aur_pair weighted, square; /* sums over the block */
    } pair[AUR_MAX_CHANNELS / 2];
    double weight[AUR_MAX_CHANNELS];
    float peak;
    uint64_t blocks; /* complete so far */
    aur_running_block ring[AUR_RUNNING_BLOCKS];
} aur_running;

/* sample_rate and channels as the chain checked them. */
void aur_running_init(aur_running *state, double sample_rate, unsigned channels);

void aur_running_snapshot(aur_running *state, aur_walk *walk);

/* Takes in at most the frames that complete one block, and returns how many it took. */
size_t aur_running_process(aur_running *state, const float *const *in, size_t frames);

/* The block completed last; only when blocks > 0. */
const aur_running_block *aur_running_last(const aur_running *state);

/* Over the last 3 s, or all there is. */
double aur_running_lufs(const aur_running *state);
double aur_running_crest_db(const aur_running *state);

#endif

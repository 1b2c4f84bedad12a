/*
 * leveller.h: slow gain for a track nobody has measured yet. Estimates the loudness of what has gone by
 * (both gates of BS.1770-5 over 400 ms powers, in a histogram of tenths of a LU) and moves a gain
 * towards what the 2-D restraint would do with it:
 *
 *   quiet            towards the target, within +-6 dB, never above -12 LUFS
 *   dynamic_loud     towards 0 dB
 *   compressed_loud  towards -0.5 dB
 *
 * Nothing moves before 3 s above -70 LUFS; then at most 0.5 dB a second. Causal: the gain of a block
 * of 100 ms depends on earlier blocks alone, and is ramped over the block. A plain value: copy it to
 * clone it.
 */
#ifndef AUR_LEVELLER_H
#define AUR_LEVELLER_H

#include "common.h"
#include "running.h"

#define AUR_LEVELLER_BINS 800u /* -70 .. +10 LUFS */

typedef struct {
    double target, strength; /* LUFS; 0..1, share of the correction that is applied */
    double gain_db, next_db; /* at the start and at the end of the current block */
    double recent[4];        /* powers of the last four blocks */
    uint64_t blocks, counted;
    double crest_sum;
    uint64_t crest_count;
    uint32_t count[AUR_LEVELLER_BINS];
} aur_leveller;

void aur_leveller_init(aur_leveller *state, double target_lufs, double strength);

/* Takes over everything src has heard and the gain it stands at, but not its target and strength. */
void aur_leveller_inherit(aur_leveller *state, const aur_leveller *src);

void aur_leveller_snapshot(aur_leveller *state, aur_walk *walk);

/* A block of the input is complete: decide the gain at the end of the next one. */
void aur_leveller_feed(aur_leveller *state, const aur_running_block *block);

/* Gated loudness so far; AUR_RUNNING_FLOOR before there is any. */
double aur_leveller_lufs(const aur_leveller *state);

/* Multiplies frames at .. at + frames - 1 of the current block, length frames long. */
void aur_leveller_apply(const aur_leveller *state, float *const *x, unsigned channels, size_t at,
                        size_t frames, size_t length);

#endif

/*
 * lwrp.h: 2-D Loudness-War Restraint. Two numbers about a whole track, integrated loudness in LUFS
 * and crest factor in dB, decide which of three things happens to it:
 *
 *   AUR_COMPRESSED_LOUD  lufs > -12 and crest < 13    give dynamics back: expansion
 *                                                     (13 - crest) / 10 within 0.1..1, gain -0.5 dB
 *   AUR_DYNAMIC_LOUD     lufs > -12 and crest >= 13   leave alone, bit for bit
 *   AUR_QUIET            lufs <= -12                  bounded EQ, makeup, true-peak limiting
 *
 * Pure functions, no state. What the decision means in processing parameters is plan.py's.
 */
#ifndef AUR_LWRP_H
#define AUR_LWRP_H

#include "common.h"

#define AUR_LWRP_LOUD_LUFS (-12.0)
#define AUR_LWRP_CREST_DB 13.0
#define AUR_LWRP_TRIM_DB (-0.5)

typedef enum { AUR_COMPRESSED_LOUD = 0, AUR_DYNAMIC_LOUD = 1, AUR_QUIET = 2 } aur_region;

typedef struct {
    aur_region region;
    double expansion; /* 0, or 0.1..1 when compressed_loud; 10 x expansion is the crest to restore, dB */
    double gain_db;
} aur_decision;

/* AUR_EINVAL, and *out untouched, when either number is not finite. */
aur_status aur_lwrp_decide(double lufs, double crest_db, aur_decision *out);

/* The same over n pairs; stops at the first pair that is not finite. */
aur_status aur_lwrp_decide_many(const double *lufs, const double *crest_db, aur_decision *out, size_t n);

#endif

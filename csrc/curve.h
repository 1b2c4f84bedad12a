/*
 * curve.h: gains by the height of a sample: y = x g(|x| / top) (1 + depth (x / top)^4).
 *
 * What flattened the peaks of a saturated track was, near enough, a curve from input sample to output
 * sample; its inverse is one too. g is given at AUR_CURVE_NODES heights that lie the closer the nearer they
 * are to the top, where an inverse is steepest: u(k) = 1 - (1 - k / 128)^2, with straight lines against k
 * between. Larger samples are lifted as much as those at top. Without memory nothing can pump.
 */
#ifndef AUR_CURVE_H
#define AUR_CURVE_H

#include "common.h"

#define AUR_CURVE_NODES 129u
#define AUR_CURVE_MAX_DEPTH 3.0

typedef struct {
    double depth;       /* 0..AUR_CURVE_MAX_DEPTH */
    double top;         /* linear, > 0 */
    const float *gains; /* AUR_CURVE_NODES of 0..16; NULL for 1 everywhere. Copied. */
} aur_curve_params;

typedef struct {
    float depth, per_top;
    int bent;
    float gain[AUR_CURVE_NODES + 1]; /* the last node twice */
} aur_curve;

aur_status aur_curve_init(const aur_curve_params *params, aur_curve *out);

/* In place. Finite samples. */
void aur_curve_apply(const aur_curve *curve, float *x, size_t frames);

#endif

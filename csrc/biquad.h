/*
 * biquad.h: second-order sections. Designs after R. Bristow-Johnson's Audio EQ Cookbook (bilinear
 * transform, matched at f0), one-section runs in transposed direct form II with double state.
 *
 * Designs never fail: f0 is clamped to [1 Hz, 0.49 fs] and q to >= 0.01. A peaking or shelf design
 * with a gain of exactly 0 dB is exactly the identity, so callers can skip it and stay bit-exact.
 */
#ifndef AUR_BIQUAD_H
#define AUR_BIQUAD_H

#include "common.h"

typedef struct {
    double b0, b1, b2, a1, a2; /* a0 = 1: y = b0 x + b1 x1 + b2 x2 - a1 y1 - a2 y2 */
} aur_biquad;

typedef struct {
    double z1, z2;
} aur_biquad_state;

aur_biquad aur_biquad_identity(void);
aur_biquad aur_biquad_peaking(double sample_rate, double f0, double q, double gain_db);
aur_biquad aur_biquad_low_shelf(double sample_rate, double f0, double q, double gain_db);
aur_biquad aur_biquad_high_shelf(double sample_rate, double f0, double q, double gain_db);
aur_biquad aur_biquad_low_pass(double sample_rate, double f0, double q);
aur_biquad aur_biquad_high_pass(double sample_rate, double f0, double q);
aur_biquad aur_biquad_all_pass(double sample_rate, double f0, double q);

int aur_biquad_is_identity(const aur_biquad *section);

/* |H| at frequency f, in dB. */
double aur_biquad_response_db(const aur_biquad *section, double sample_rate, double f);

static inline double aur_biquad_step(const aur_biquad *c, aur_biquad_state *s, double x) {
    const double y = c->b0 * x + s->z1;
    s->z1 = c->b1 * x - c->a1 * y + s->z2;
    s->z2 = c->b2 * x - c->a2 * y;
    return y;
}

/* Runs one section over one channel. in == out is allowed. */
void aur_biquad_run(const aur_biquad *section, aur_biquad_state *state, const float *in, float *out,
                    size_t frames);

#endif

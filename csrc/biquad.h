/*
 * biquad.h: second-order sections. Designs after R. Bristow-Johnson's Audio EQ Cookbook (bilinear
 * transform, matched at f0), run in transposed direct form II with double state.
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

/*
 * Two channels side by side. A recursive filter waits for its own result; two of them in the lanes of one
 * vector wait together, and the sections of a cascade, each at work on a later sample than the next, fill
 * the time. Nothing is rounded to float between sections. The lanes are two doubles on every machine and
 * never mix, so the bits are the same everywhere.
 */
typedef double aur_pair __attribute__((vector_size(16)));

typedef struct {
    aur_pair b0, b1, b2, a1, a2;
} aur_biquad_pair;

typedef struct {
    aur_pair z1, z2;
} aur_biquad_pair_state;

static inline aur_biquad_pair aur_biquad_both(const aur_biquad *c) {
    return (aur_biquad_pair){{c->b0, c->b0}, {c->b1, c->b1}, {c->b2, c->b2}, {c->a1, c->a1}, {c->a2, c->a2}};
}

static inline aur_pair aur_biquad_pair_step(const aur_biquad_pair *c, aur_biquad_pair_state *s, aur_pair x) {
    const aur_pair y = c->b0 * x + s->z1;
    s->z1 = (c->b1 * x + s->z2) - c->a1 * y;
    s->z2 = c->b2 * x - c->a2 * y;
    return y;
}

/* Runs a cascade of up to AUR_BIQUAD_CASCADE sections over two channels in place. left == right is one
 * channel. */
#define AUR_BIQUAD_CASCADE 12u
void aur_biquad_cascade(const aur_biquad_pair *section, aur_biquad_pair_state *state, unsigned sections,
                        float *left, float *right, size_t frames);

#endif

#include "biquad.h"

/* The cookbook's intermediate quantities. */
typedef struct {
    double cos_w, alpha;
} prewarp;

static prewarp prewarp_at(double sample_rate, double f0, double q) {
    const double w = 2.0 * AUR_PI * aur_clamp(f0, 1.0, 0.49 * sample_rate) / sample_rate;
    return (prewarp){cos(w), sin(w) / (2.0 * (q < 0.01 ? 0.01 : q))};
}

static aur_biquad normalised(double b0, double b1, double b2, double a0, double a1, double a2) {
    return (aur_biquad){b0 / a0, b1 / a0, b2 / a0, a1 / a0, a2 / a0};
}

aur_biquad aur_biquad_identity(void) {
    return (aur_biquad){1.0, 0.0, 0.0, 0.0, 0.0};
}

int aur_biquad_is_identity(const aur_biquad *c) {
    return c->b0 == 1.0 && c->b1 == c->a1 && c->b2 == c->a2;
}

aur_biquad aur_biquad_peaking(double sample_rate, double f0, double q, double gain_db) {
    if (gain_db == 0.0) return aur_biquad_identity();
    const prewarp p = prewarp_at(sample_rate, f0, q);
    const double a = pow(10.0, gain_db / 40.0);
    return normalised(1.0 + p.alpha * a, -2.0 * p.cos_w, 1.0 - p.alpha * a, 1.0 + p.alpha / a, -2.0 * p.cos_w,
                      1.0 - p.alpha / a);
}

/* The high shelf is the low shelf with the sign of cos(w) and of the odd taps turned round. */
static aur_biquad shelf(double sample_rate, double f0, double q, double gain_db, double side) {
    if (gain_db == 0.0) return aur_biquad_identity();
    const prewarp p = prewarp_at(sample_rate, f0, q);
    const double a = pow(10.0, gain_db / 40.0), c = side * p.cos_w, r = 2.0 * sqrt(a) * p.alpha;
    return normalised(a * ((a + 1.0) - (a - 1.0) * c + r), side * 2.0 * a * ((a - 1.0) - (a + 1.0) * c),
                      a * ((a + 1.0) - (a - 1.0) * c - r), (a + 1.0) + (a - 1.0) * c + r,
                      side * -2.0 * ((a - 1.0) + (a + 1.0) * c), (a + 1.0) + (a - 1.0) * c - r);
}

aur_biquad aur_biquad_low_shelf(double sample_rate, double f0, double q, double gain_db) {
    return shelf(sample_rate, f0, q, gain_db, 1.0);
}

aur_biquad aur_biquad_high_shelf(double sample_rate, double f0, double q, double gain_db) {
    return shelf(sample_rate, f0, q, gain_db, -1.0);
}

aur_biquad aur_biquad_low_pass(double sample_rate, double f0, double q) {
    const prewarp p = prewarp_at(sample_rate, f0, q);
    const double k = 1.0 - p.cos_w;
    return normalised(k / 2.0, k, k / 2.0, 1.0 + p.alpha, -2.0 * p.cos_w, 1.0 - p.alpha);
}

aur_biquad aur_biquad_high_pass(double sample_rate, double f0, double q) {
    const prewarp p = prewarp_at(sample_rate, f0, q);
    const double k = 1.0 + p.cos_w;
    return normalised(k / 2.0, -k, k / 2.0, 1.0 + p.alpha, -2.0 * p.cos_w, 1.0 - p.alpha);
}

aur_biquad aur_biquad_all_pass(double sample_rate, double f0, double q) {
    const prewarp p = prewarp_at(sample_rate, f0, q);
    return normalised(1.0 - p.alpha, -2.0 * p.cos_w, 1.0 + p.alpha, 1.0 + p.alpha, -2.0 * p.cos_w,
                      1.0 - p.alpha);
}

double aur_biquad_response_db(const aur_biquad *c, double sample_rate, double f) {
    const double w = 2.0 * AUR_PI * f / sample_rate;
    const double c1 = cos(w), s1 = sin(w), c2 = cos(2.0 * w), s2 = sin(2.0 * w);
    const double nr = c->b0 + c->b1 * c1 + c->b2 * c2, ni = c->b1 * s1 + c->b2 * s2;
    const double dr = 1.0 + c->a1 * c1 + c->a2 * c2, di = c->a1 * s1 + c->a2 * s2;
    return aur_power_db((nr * nr + ni * ni) / (dr * dr + di * di));
}

void aur_biquad_cascade(const aur_biquad_pair *section, aur_biquad_pair_state *state, unsigned sections,
                        float *left, float *right, size_t frames) {
    aur_biquad_pair c[AUR_BIQUAD_CASCADE];
    aur_biquad_pair_state s[AUR_BIQUAD_CASCADE];
    memcpy(c, section, sections * sizeof *c);
    memcpy(s, state, sections * sizeof *s);
    for (size_t i = 0; i < frames; i++) {
        aur_pair x = {left[i], right[i]};
        for (unsigned k = 0; k < sections; k++)
            x = aur_biquad_pair_step(&c[k], &s[k], x);
        left[i] = (float)x[0];
        right[i] = (float)x[1];
    }
    memcpy(state, s, sections * sizeof *s);
}

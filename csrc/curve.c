#include "curve.h"

#define STEPS ((float)(AUR_CURVE_NODES - 1))

aur_status aur_curve_init(const aur_curve_params *p, aur_curve *out) {
    if (!(p->depth >= 0.0 && p->depth <= AUR_CURVE_MAX_DEPTH) || !(p->top > 0.0 && isfinite(p->top)))
        return AUR_EINVAL;
    aur_curve c = {.depth = (float)p->depth, .per_top = (float)(1.0 / p->top), .bent = p->gains != NULL};
    for (unsigned k = 0; c.bent && k <= AUR_CURVE_NODES; k++) {
        c.gain[k] = p->gains[k < AUR_CURVE_NODES ? k : AUR_CURVE_NODES - 1];
        if (!(c.gain[k] >= 0.0f && c.gain[k] <= 16.0f)) return AUR_EINVAL;
    }
    *out = c;
    return AUR_OK;
}

void aur_curve_apply(const aur_curve *c, float *x, size_t frames) {
    const float depth = c->depth, per_top = c->per_top;
    for (size_t i = 0; c->bent && i < frames; i++) {
        const float height = fabsf(x[i]) * per_top, u = height < 1.0f ? height : 1.0f;
        const float at = STEPS - STEPS * sqrtf(1.0f - u), square = u * u;
        const int32_t k = (int32_t)at;
        const float gain = c->gain[k] + (c->gain[k + 1] - c->gain[k]) * (at - (float)k);
        x[i] *= gain * (1.0f + depth * (square * square));
    }
    for (size_t i = 0; !c->bent && i < frames; i++) {
        const float height = x[i] * per_top, square = height * height, u2 = square < 1.0f ? square : 1.0f;
        x[i] *= 1.0f + depth * (u2 * u2);
    }
}

#include "chain.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 256u

struct aur_chain {
    unsigned channels;
    size_t latency;
    unsigned bands;
    aur_biquad band[AUR_CHAIN_MAX_BANDS];
    aur_biquad_state eq[AUR_CHAIN_MAX_BANDS][AUR_MAX_CHANNELS];
    float gain, width;
    size_t delay_at;
    float *delay; /* channels x latency, at the end of this allocation */
    float work[AUR_MAX_CHANNELS][BLOCK];
};

static aur_biquad design(const aur_eq_band *band, double sample_rate) {
    switch (band->kind) {
    case AUR_EQ_LOW_SHELF:
        return aur_biquad_low_shelf(sample_rate, band->f0, band->q, band->gain_db);
    case AUR_EQ_HIGH_SHELF:
        return aur_biquad_high_shelf(sample_rate, band->f0, band->q, band->gain_db);
    default:
        return aur_biquad_peaking(sample_rate, band->f0, band->q, band->gain_db);
    }
}

aur_status aur_chain_create(const aur_chain_params *params, double sample_rate, unsigned channels,
                            aur_chain **out) {
    if (!(sample_rate >= 8000.0 && sample_rate <= 192000.0)) return AUR_EINVAL;
    if (channels < 1 || channels > AUR_MAX_CHANNELS || params->bands > AUR_CHAIN_MAX_BANDS) return AUR_EINVAL;
    const size_t latency = (size_t)(0.004 * sample_rate);
    aur_chain *s = calloc(1, sizeof *s + channels * latency * sizeof(float));
    if (!s) return AUR_ENOMEM;
    s->channels = channels;
    s->latency = latency;
    s->delay = (float *)(s + 1);
    for (unsigned b = 0; b < params->bands; b++) {
        const aur_biquad section = design(&params->band[b], sample_rate);
        if (!aur_biquad_is_identity(&section)) s->band[s->bands++] = section;
    }
    s->gain = (float)aur_from_db(params->gain_db);
    s->width = (float)params->width;
    *out = s;
    return AUR_OK;
}

void aur_chain_destroy(aur_chain *state) {
    free(state);
}

size_t aur_chain_latency(const aur_chain *state) {
    return state->latency;
}

/* Integer arithmetic keeps every finite sample's bits, denormals and the sign of zero included. */
static void copy_finite(const float *restrict in, float *restrict out, size_t frames) {
    for (size_t i = 0; i < frames; i++) {
        uint32_t bits;
        memcpy(&bits, &in[i], sizeof bits);
        bits = (bits & 0x7f800000u) == 0x7f800000u ? 0u : bits;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

static void delay_block(aur_chain *s, size_t frames) {
    size_t at = s->delay_at;
    for (unsigned c = 0; c < s->channels; c++) {
        float *ring = s->delay + c * s->latency;
        at = s->delay_at;
        for (size_t i = 0; i < frames; i++) {
            const float x = s->work[c][i];
            s->work[c][i] = ring[at];
            ring[at] = x;
            at = at + 1 == s->latency ? 0 : at + 1;
        }
    }
    s->delay_at = at;
}

static void widen(aur_chain *s, size_t frames) {
    float *l = s->work[0], *r = s->work[1];
    for (size_t i = 0; i < frames; i++) {
        const float mid = 0.5f * (l[i] + r[i]), side = 0.5f * (l[i] - r[i]) * s->width;
        l[i] = mid + side;
        r[i] = mid - side;
    }
}

void aur_chain_process(aur_chain *s, const float *const *in, float *const *out, size_t frames) {
    const aur_fpenv env = aur_flush_denormals();
    for (size_t done = 0; done < frames;) {
        const size_t n = frames - done < BLOCK ? frames - done : BLOCK;
        for (unsigned c = 0; c < s->channels; c++) {
            copy_finite(in[c] + done, s->work[c], n);
            for (unsigned b = 0; b < s->bands; b++)
                aur_biquad_run(&s->band[b], &s->eq[b][c], s->work[c], s->work[c], n);
            if (s->gain != 1.0f)
                for (size_t i = 0; i < n; i++)
                    s->work[c][i] *= s->gain;
        }
        if (s->width != 1.0f && s->channels > 1) widen(s, n);
        delay_block(s, n);
        for (unsigned c = 0; c < s->channels; c++)
            memcpy(out[c] + done, s->work[c], n * sizeof(float));
        done += n;
    }
    aur_restore_denormals(env);
}

#include "chain.h"

#include "curve.h"
#include "declip.h"
#include "leveller.h"
#include "limiter.h"
#include "restore.h"
#include "running.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(AUR_CHAIN_MAX_BANDS <= AUR_BIQUAD_CASCADE, "one cascade holds the whole EQ");

enum { BLOCK = 256 };

struct aur_chain {
    unsigned channels;
    size_t latency, hold; /* frames; hold: what the stages that are off would have delayed */
    int curved;
    aur_curve curve;
    aur_declip *declip;   /* NULL when off */
    aur_restore *restore; /* NULL when off */
    aur_limiter *limiter; /* NULL when off */
    unsigned bands;
    aur_biquad_pair band[AUR_CHAIN_MAX_BANDS];
    aur_biquad_pair_state eq[AUR_MAX_CHANNELS / 2][AUR_CHAIN_MAX_BANDS];
    double gain_db;
    float gain, width;
    int level, identity;
    aur_leveller leveller;
    aur_running before, after;
    float least_gain; /* of the limiter, in the last call */
    size_t delay_at;
    float *delay; /* channels x hold, at the end of this allocation */
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

double aur_chain_band_db(const aur_eq_band *band, double sample_rate, double f) {
    const aur_biquad section = design(band, sample_rate);
    return aur_biquad_response_db(&section, sample_rate, f);
}

static int valid(const aur_chain_params *p, double sample_rate, unsigned channels) {
    int ok = sample_rate >= 8000.0 && sample_rate <= 192000.0;
    ok &= channels >= 1 && channels <= AUR_MAX_CHANNELS && p->bands <= AUR_CHAIN_MAX_BANDS;
    for (unsigned b = 0; ok && b < p->bands; b++)
        ok = isfinite(p->band[b].f0) && isfinite(p->band[b].gain_db) && p->band[b].q > 0.0;
    return ok && isfinite(p->clip) && p->clip_blur >= 0.0 && p->clip_blur <= 0.5 && isfinite(p->clip_rise) &&
           isfinite(p->gain_db) && isfinite(p->width) && isfinite(p->level_target) &&
           isfinite(p->level_strength);
}

static size_t bytes(unsigned channels, size_t hold) {
    return sizeof(aur_chain) + channels * hold * sizeof(float);
}

/* Where the curve takes the level that peaks were cut off at, and what counts as being there. */
static aur_declip_params clipped_under(const aur_curve *curve, const aur_chain_params *p, size_t latency) {
    const double under = fmax(p->clip_blur, AUR_DECLIP_TOLERANCE);
    float at[2] = {(float)p->clip, (float)(p->clip * (1.0 - under))};
    aur_curve_apply(curve, at, 2);
    return (aur_declip_params){
        .level = at[0],
        .low = fminf(at[0], at[1]),
        .rise = p->clip_rise,
        .longest = aur_declip_longest_in(latency),
    };
}

aur_status aur_chain_create(const aur_chain_params *params, double sample_rate, unsigned channels,
                            aur_chain **out) {
    if (!valid(params, sample_rate, channels)) return AUR_EINVAL;
    const int curved = params->depth != 0.0 || params->curve != NULL;
    const int restores = params->fill != 0.0 || params->lift_db != 0.0;
    const int declips = params->clip != 0.0;
    /* Without a fill, clipped runs may be as long as what waits for it gives time to. */
    const size_t fill = aur_restore_latency_at(sample_rate), limit = aur_limiter_latency_at(sample_rate);
    const size_t declip = aur_declip_latency_at(sample_rate) + (restores ? 0 : fill);
    const size_t hold = (declips ? 0 : declip) + (params->limit ? 0 : limit);
    aur_chain *s = calloc(1, bytes(channels, hold));
    if (!s) return AUR_ENOMEM;
    s->channels = channels;
    s->latency = declip + (restores ? fill : 0) + limit;
    s->hold = hold;
    s->delay = (float *)(s + 1);
    s->least_gain = 1.0f;
    for (unsigned b = 0; b < params->bands; b++) {
        const aur_biquad section = design(&params->band[b], sample_rate);
        if (!aur_biquad_is_identity(&section)) s->band[s->bands++] = aur_biquad_both(&section);
    }
    s->gain_db = params->gain_db;
    s->gain = (float)aur_from_db(params->gain_db);
    s->width = (float)params->width;
    s->level = params->level;
    aur_leveller_init(&s->leveller, params->level_target, params->level_strength);
    aur_running_init(&s->before, sample_rate, channels);
    aur_running_init(&s->after, sample_rate, channels);
    s->identity = !curved && !declips && !restores && !s->bands && s->gain == 1.0f && !s->level &&
                  s->width == 1.0f && !params->limit;
    s->curved = curved;
    aur_status status =
        aur_curve_init(&(aur_curve_params){params->depth, params->top, params->curve}, &s->curve);
    if (status == AUR_OK && declips) {
        const aur_declip_params tool = clipped_under(&s->curve, params, declip);
        status = aur_declip_create(&tool, sample_rate, channels, &s->declip);
    }
    const aur_restore_params tool = {params->fill, params->lift_db, params->held};
    if (status == AUR_OK && restores) status = aur_restore_create(&tool, sample_rate, channels, &s->restore);
    if (status == AUR_OK && params->limit)
        status = aur_limiter_create(params->ceiling_db, sample_rate, channels, &s->limiter);
    if (status != AUR_OK) {
        aur_chain_destroy(s);
        return status;
    }
    *out = s;
    return AUR_OK;
}

aur_status aur_chain_clone(const aur_chain *state, aur_chain **out) {
    aur_chain *s = malloc(bytes(state->channels, state->hold));
    if (!s) return AUR_ENOMEM;
    memcpy(s, state, bytes(state->channels, state->hold));
    s->delay = (float *)(s + 1);
    s->declip = NULL;
    s->restore = NULL;
    s->limiter = NULL;
    aur_status status = state->declip ? aur_declip_clone(state->declip, &s->declip) : AUR_OK;
    if (status == AUR_OK && state->restore) status = aur_restore_clone(state->restore, &s->restore);
    if (status == AUR_OK && state->limiter) status = aur_limiter_clone(state->limiter, &s->limiter);
    if (status != AUR_OK) {
        aur_chain_destroy(s);
        return status;
    }
    *out = s;
    return AUR_OK;
}

void aur_chain_destroy(aur_chain *state) {
    if (!state) return;
    aur_declip_destroy(state->declip);
    aur_restore_destroy(state->restore);
    aur_limiter_destroy(state->limiter);
    free(state);
}

static void snapshot(aur_chain *s, aur_walk *walk) {
    if (s->declip) aur_declip_snapshot(s->declip, walk);
    if (s->restore) aur_restore_snapshot(s->restore, walk);
    if (s->limiter) aur_limiter_snapshot(s->limiter, walk);
    for (unsigned c = 0; c < s->channels; c += 2)
        aur_walk_doubles(walk, (double *)s->eq[c / 2], 4 * s->bands, -DBL_MAX, DBL_MAX);
    if (s->level) aur_leveller_snapshot(&s->leveller, walk);
    aur_running_snapshot(&s->before, walk);
    if (!s->identity) aur_running_snapshot(&s->after, walk);
    aur_walk_floats(walk, &s->least_gain, 1, 0.0f, 1.0f);
    if (s->hold) {
        aur_walk_index(walk, &s->delay_at, s->hold);
        aur_walk_samples(walk, s->delay, s->channels * s->hold);
    }
}

/* Counting and writing leave the state as it is. */
size_t aur_chain_snapshot_size(const aur_chain *state) {
    aur_walk walk = {.mode = AUR_WALK_COUNT, .ok = 1};
    snapshot((aur_chain *)state, &walk);
    return walk.bytes;
}

void aur_chain_save(const aur_chain *state, unsigned char *out) {
    aur_walk walk = {.mode = AUR_WALK_WRITE, .ok = 1, .size = aur_chain_snapshot_size(state), .into = out};
    snapshot((aur_chain *)state, &walk);
}

aur_status aur_chain_restore(aur_chain **state, const unsigned char *bytes, size_t size) {
    if (size != aur_chain_snapshot_size(*state)) return AUR_EINVAL;
    aur_chain *s;
    const aur_status status = aur_chain_clone(*state, &s);
    if (status != AUR_OK) return status;
    aur_walk walk = {.mode = AUR_WALK_READ, .ok = 1, .size = size, .from = bytes};
    snapshot(s, &walk);
    aur_chain_destroy(walk.ok ? *state : s);
    if (!walk.ok) return AUR_EINVAL;
    *state = s;
    return AUR_OK;
}

void aur_chain_inherit(aur_chain *state, const aur_chain *src, int same_place) {
    if (state->level && src->level) aur_leveller_inherit(&state->leveller, &src->leveller);
    if (same_place) state->before = src->before;
}

size_t aur_chain_latency(const aur_chain *state) {
    return state->latency;
}

static void delay(aur_chain *s, float *const *x, size_t frames) {
    size_t at = s->delay_at;
    for (unsigned c = 0; c < s->channels; c++) {
        float *ring = s->delay + c * s->hold;
        at = s->delay_at;
        for (size_t i = 0; i < frames; i++) {
            const float fresh = x[c][i];
            x[c][i] = ring[at];
            ring[at] = fresh;
            at = at + 1 == s->hold ? 0 : at + 1;
        }
    }
    s->delay_at = at;
}

static void widen(const aur_chain *s, float *l, float *r, size_t frames) {
    for (size_t i = 0; i < frames; i++) {
        const float mid = 0.5f * (l[i] + r[i]), side = 0.5f * (l[i] - r[i]) * s->width;
        l[i] = mid + side;
        r[i] = mid - side;
    }
}

static void measure(aur_running *r, float *const *x, size_t frames) {
    const float *at[AUR_MAX_CHANNELS];
    for (size_t done = 0; done < frames;) {
        for (unsigned c = 0; c < r->channels; c++)
            at[c] = x[c] + done;
        done += aur_running_process(r, at, frames - done);
    }
}

/* Keeps a garbage sample (+-1e9 is 180 dB over full scale) from overflowing a stage. */
static void bound(float *x, size_t frames) {
    for (size_t i = 0; i < frames; i++)
        x[i] = x[i] < -1e9f ? -1e9f : x[i] > 1e9f ? 1e9f : x[i];
}

/* At most BLOCK frames, not past the end of a measuring block: the leveller's gain is one ramp. */
static void process_block(aur_chain *s, float *const *x, size_t n, size_t ramp_at) {
    const float *const *in = (const float *const *)x;
    for (unsigned c = 0; s->curved && c < s->channels; c++)
        aur_curve_apply(&s->curve, x[c], n);
    if (s->declip) aur_declip_process(s->declip, in, x, n);
    if (s->restore) aur_restore_process(s->restore, in, x, n);
    for (unsigned c = 0; s->bands && c < s->channels; c += 2)
        aur_biquad_cascade(s->band, s->eq[c / 2], s->bands, x[c], x[c + 1 < s->channels ? c + 1 : c], n);
    if (s->gain != 1.0f)
        for (unsigned c = 0; c < s->channels; c++)
            for (size_t i = 0; i < n; i++)
                x[c][i] *= s->gain;
    if (s->level) aur_leveller_apply(&s->leveller, x, s->channels, ramp_at, n, s->before.length);
    if (s->width != 1.0f && s->channels > 1) widen(s, x[0], x[1], n);
    if (s->limiter) {
        const float least = aur_limiter_process(s->limiter, in, x, n);
        s->least_gain = least < s->least_gain ? least : s->least_gain;
    }
    if (s->hold) delay(s, x, n);
    if (!s->identity) measure(&s->after, x, n);
}

void aur_chain_process(aur_chain *s, const float *const *in, float *const *out, size_t frames) {
    const aur_fpenv env = aur_flush_denormals();
    float work[AUR_MAX_CHANNELS][BLOCK], *x[AUR_MAX_CHANNELS];
    for (unsigned c = 0; c < s->channels; c++)
        x[c] = work[c];
    s->least_gain = 1.0f;
    for (size_t done = 0; done < frames;) {
        const size_t left = frames - done < BLOCK ? frames - done : BLOCK, ramp_at = s->before.at;
        for (unsigned c = 0; c < s->channels; c++) {
            aur_copy_finite(in[c] + done, work[c], left);
            if (!s->identity) bound(work[c], left);
        }
        const size_t n = aur_running_process(&s->before, (const float *const *)x, left);
        process_block(s, x, n, ramp_at);
        if (s->level && s->before.at == 0) aur_leveller_feed(&s->leveller, aur_running_last(&s->before));
        for (unsigned c = 0; c < s->channels; c++)
            memcpy(out[c] + done, work[c], n * sizeof(float));
        done += n;
    }
    aur_restore_denormals(env);
}

void aur_chain_measured(const aur_chain *s, aur_chain_record *out) {
    const aur_running *after = s->identity ? &s->before : &s->after;
    out->lufs_in = aur_running_lufs(&s->before);
    out->crest_in = aur_running_crest_db(&s->before);
    out->lufs_out = aur_running_lufs(after);
    out->crest_out = aur_running_crest_db(after);
    out->gain_db = s->gain_db + (s->level ? s->leveller.gain_db : 0.0);
    out->gain_reduction_db =
        s->least_gain < 1.0f ? -aur_db(s->least_gain > 1e-6f ? s->least_gain : 1e-6f) : 0.0;
}

#include "leveller.h"

#include "lwrp.h"

#include <string.h>

static const double RANGE_DB = 6.0, STEP_DB = 0.05; /* 0.5 dB a second */
static const uint64_t PATIENCE = 30;                /* blocks above the gate before anything moves */
static const double BIN_LU = 0.1;

void aur_leveller_init(aur_leveller *s, double target_lufs, double strength) {
    memset(s, 0, sizeof *s);
    s->target = target_lufs;
    s->strength = strength;
}

void aur_leveller_inherit(aur_leveller *s, const aur_leveller *src) {
    const double target = s->target, strength = s->strength;
    *s = *src;
    s->target = target;
    s->strength = strength;
}

void aur_leveller_snapshot(aur_leveller *s, aur_walk *walk) {
    aur_walk_doubles(walk, &s->gain_db, 1, -RANGE_DB, RANGE_DB);
    aur_walk_doubles(walk, &s->next_db, 1, -RANGE_DB, RANGE_DB);
    aur_walk_doubles(walk, s->recent, 4, 0.0, DBL_MAX);
    aur_walk_bytes(walk, &s->blocks, sizeof s->blocks);
    aur_walk_bytes(walk, &s->counted, sizeof s->counted);
    aur_walk_doubles(walk, &s->crest_sum, 1, -DBL_MAX, DBL_MAX);
    aur_walk_bytes(walk, &s->crest_count, sizeof s->crest_count);
    aur_walk_bytes(walk, s->count, sizeof s->count);
}

static double bin_power(unsigned bin) {
    return pow(10.0, (AUR_RUNNING_FLOOR + ((double)bin + 0.5) * BIN_LU) / 10.0);
}

/* Mean power of the bins from first on; 0 when they are empty. */
static double mean_power(const aur_leveller *s, unsigned first) {
    double sum = 0.0;
    uint64_t n = 0;
    for (unsigned b = first; b < AUR_LEVELLER_BINS; b++)
        if (s->count[b]) {
            sum += (double)s->count[b] * bin_power(b);
            n += s->count[b];
        }
    return n ? sum / (double)n : 0.0;
}

static unsigned bin_of(double lufs) {
    return (unsigned)aur_clamp((lufs - AUR_RUNNING_FLOOR) / BIN_LU, 0.0, AUR_LEVELLER_BINS - 1.0);
}

double aur_leveller_lufs(const aur_leveller *s) {
    if (!s->counted) return AUR_RUNNING_FLOOR;
    const double gate = aur_power_db(mean_power(s, 0)) - 10.0;
    return aur_power_db(mean_power(s, bin_of(gate)));
}

static double wanted_db(const aur_leveller *s) {
    if (s->counted < PATIENCE) return 0.0;
    const double lufs = aur_leveller_lufs(s);
    aur_decision d;
    if (aur_lwrp_decide(lufs, s->crest_count ? s->crest_sum / (double)s->crest_count : 0.0, &d) != AUR_OK)
        return 0.0;
    double gain = d.gain_db;
    if (d.region == AUR_QUIET) {
        gain = aur_clamp(s->target - lufs, -RANGE_DB, RANGE_DB);
        if (gain > AUR_LWRP_LOUD_LUFS - lufs) gain = AUR_LWRP_LOUD_LUFS - lufs;
    }
    return gain * s->strength;
}

void aur_leveller_feed(aur_leveller *s, const aur_running_block *block) {
    s->recent[s->blocks++ % 4] = block->power;
    const double power = (s->recent[0] + s->recent[1] + s->recent[2] + s->recent[3]) / 4.0;
    const double lufs = power > 0.0 ? -0.691 + aur_power_db(power) : AUR_RUNNING_FLOOR;
    if (s->blocks >= 4 && lufs > AUR_RUNNING_FLOOR) {
        s->count[bin_of(lufs)]++;
        s->counted++;
    }
    if (block->active) {
        s->crest_sum += block->crest_db;
        s->crest_count++;
    }
    s->gain_db = s->next_db;
    s->next_db += aur_clamp(wanted_db(s) - s->gain_db, -STEP_DB, STEP_DB);
}

void aur_leveller_apply(const aur_leveller *s, float *const *x, unsigned channels, size_t at, size_t frames,
                        size_t length) {
    if (s->gain_db == 0.0 && s->next_db == 0.0) return;
    const float from = (float)aur_from_db(s->gain_db);
    const float step = ((float)aur_from_db(s->next_db) - from) / (float)length;
    for (unsigned c = 0; c < channels; c++)
        for (size_t i = 0; i < frames; i++)
            x[c][i] *= from + step * (float)(at + i);
}

#include "running.h"

#include "peak.h"

#include <string.h>

static const double ACTIVE = 1e-6; /* -60 dBFS */

/* BS.1770 K-weighting designed for any rate; the high-pass keeps the gain it has at 48 kHz. */
static void k_weighting(aur_running *s, double sample_rate) {
    const double k = tan(AUR_PI * 1681.974450955533 / sample_rate), q = 0.7071752369554196;
    const double vh = aur_from_db(3.999843853973347), vb = pow(vh, 0.4996667741545416);
    double d = 1.0 + k / q + k * k;
    const aur_biquad shelf = {(vh + vb * k / q + k * k) / d, 2.0 * (k * k - vh) / d,
                              (vh - vb * k / q + k * k) / d, 2.0 * (k * k - 1.0) / d,
                              (1.0 - k / q + k * k) / d};
    const double f = 38.13547087602444, p = 0.5003270373238773;
    const double h = tan(AUR_PI * f / sample_rate), h48 = tan(AUR_PI * f / 48000.0);
    d = 1.0 + h / p + h * h;
    const double b = (1.0 + h48 / p + h48 * h48) / d;
    const aur_biquad high_pass = {b, -2.0 * b, b, 2.0 * (h * h - 1.0) / d, (1.0 - h / p + h * h) / d};
    s->shelf = aur_biquad_both(&shelf);
    s->high_pass = aur_biquad_both(&high_pass);
}

void aur_running_init(aur_running *s, double sample_rate, unsigned channels) {
    memset(s, 0, sizeof *s);
    s->channels = channels;
    s->length = (size_t)(sample_rate / 10.0 + 0.5);
    k_weighting(s, sample_rate);
    for (unsigned c = 0; c < channels; c++)
        s->weight[c] = channels > 5 && c == 3 ? 0.0 : channels >= 5 && c >= 3 + (channels > 5) ? 1.41 : 1.0;
}

void aur_running_snapshot(aur_running *s, aur_walk *walk) {
    aur_walk_index(walk, &s->at, s->length);
    for (unsigned c = 0; c < s->channels; c += 2)
        aur_walk_doubles(walk, (double *)&s->pair[c / 2], sizeof s->pair[c / 2] / sizeof(double), -DBL_MAX,
                         DBL_MAX);
    aur_walk_floats(walk, &s->peak, 1, 0.0f, FLT_MAX);
    aur_walk_bytes(walk, &s->blocks, sizeof s->blocks);
    for (size_t i = 0; i < AUR_RUNNING_BLOCKS; i++) {
        aur_walk_doubles(walk, &s->ring[i].power, 1, 0.0, DBL_MAX);
        aur_walk_doubles(walk, &s->ring[i].crest_db, 1, -DBL_MAX, DBL_MAX);
        aur_walk_bytes(walk, &s->ring[i].active, sizeof s->ring[i].active);
    }
}

static void complete(aur_running *s) {
    aur_running_block *block = &s->ring[s->blocks++ % AUR_RUNNING_BLOCKS];
    double power = 0.0, square = 0.0;
    for (unsigned c = 0; c < s->channels; c++) {
        power += s->weight[c] * s->pair[c / 2].weighted[c % 2];
        square += s->pair[c / 2].square[c % 2];
        s->pair[c / 2].weighted[c % 2] = s->pair[c / 2].square[c % 2] = 0.0;
    }
    square /= (double)(s->length * s->channels);
    block->power = power / (double)s->length;
    block->active = square > ACTIVE;
    block->crest_db = block->active ? aur_db(s->peak) - aur_power_db(square) : 0.0;
    s->peak = 0.0f;
    s->at = 0;
}

size_t aur_running_process(aur_running *s, const float *const *in, size_t frames) {
    const size_t n = frames < s->length - s->at ? frames : s->length - s->at;
    for (unsigned c = 0; c < s->channels; c += 2) {
        const float *left = in[c], *right = in[c + 1 < s->channels ? c + 1 : c];
        const float l = aur_peak_value(aur_peak_bits(left, n)), r = aur_peak_value(aur_peak_bits(right, n));
        const float peak = l > r ? l : r;
        s->peak = peak > s->peak ? peak : s->peak;
        aur_biquad_pair_state a = s->pair[c / 2].shelf, b = s->pair[c / 2].high_pass;
        aur_pair weighted = s->pair[c / 2].weighted, square = s->pair[c / 2].square;
        for (size_t i = 0; i < n; i++) {
            const aur_pair x = {left[i], right[i]};
            const aur_pair y =
                aur_biquad_pair_step(&s->high_pass, &b, aur_biquad_pair_step(&s->shelf, &a, x));
            weighted += y * y;
            square += x * x;
        }
        s->pair[c / 2].shelf = a;
        s->pair[c / 2].high_pass = b;
        s->pair[c / 2].weighted = weighted;
        s->pair[c / 2].square = square;
    }
    s->at += n;
    if (s->at == s->length) complete(s);
    return n;
}

const aur_running_block *aur_running_last(const aur_running *s) {
    return &s->ring[(s->blocks - 1) % AUR_RUNNING_BLOCKS];
}

static size_t kept(const aur_running *s) {
    return s->blocks < AUR_RUNNING_BLOCKS ? (size_t)s->blocks : AUR_RUNNING_BLOCKS;
}

double aur_running_lufs(const aur_running *s) {
    double sum = 0.0;
    for (size_t i = 0; i < kept(s); i++)
        sum += s->ring[i].power;
    const double lufs = sum > 0.0 ? -0.691 + aur_power_db(sum / (double)kept(s)) : AUR_RUNNING_FLOOR;
    return lufs > AUR_RUNNING_FLOOR ? lufs : AUR_RUNNING_FLOOR;
}

double aur_running_crest_db(const aur_running *s) {
    double sum = 0.0;
    size_t active = 0;
    for (size_t i = 0; i < kept(s); i++) {
        sum += s->ring[i].crest_db;
        active += s->ring[i].active != 0;
    }
    return active ? sum / (double)active : 0.0;
}

#include "running.h"

#include <string.h>

static const double ACTIVE = 1e-6; /* -60 dBFS */

/* BS.1770 K-weighting designed for any rate; the high-pass keeps the gain it has at 48 kHz. */
static void k_weighting(aur_running *s, double sample_rate) {
    const double k = tan(AUR_PI * 1681.974450955533 / sample_rate), q = 0.7071752369554196;
    const double vh = aur_from_db(3.999843853973347), vb = pow(vh, 0.4996667741545416);
    double d = 1.0 + k / q + k * k;
    s->shelf =
        (aur_biquad){(vh + vb * k / q + k * k) / d, 2.0 * (k * k - vh) / d, (vh - vb * k / q + k * k) / d,
                     2.0 * (k * k - 1.0) / d, (1.0 - k / q + k * k) / d};
    const double f = 38.13547087602444, p = 0.5003270373238773;
    const double h = tan(AUR_PI * f / sample_rate), h48 = tan(AUR_PI * f / 48000.0);
    d = 1.0 + h / p + h * h;
    const double b = (1.0 + h48 / p + h48 * h48) / d;
    s->high_pass = (aur_biquad){b, -2.0 * b, b, 2.0 * (h * h - 1.0) / d, (1.0 - h / p + h * h) / d};
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
    for (unsigned c = 0; c < s->channels; c++) {
        aur_walk_doubles(walk, &s->z[c][0].z1, 4, -DBL_MAX, DBL_MAX);
        aur_walk_doubles(walk, &s->weighted[c], 1, 0.0, DBL_MAX);
        aur_walk_doubles(walk, &s->square[c], 1, 0.0, DBL_MAX);
        aur_walk_floats(walk, &s->peak[c], 1, 0.0f, FLT_MAX);
    }
    aur_walk_bytes(walk, &s->blocks, sizeof s->blocks);
    for (size_t i = 0; i < AUR_RUNNING_BLOCKS; i++) {
        aur_walk_doubles(walk, &s->ring[i].power, 1, 0.0, DBL_MAX);
        aur_walk_doubles(walk, &s->ring[i].crest_db, 1, -DBL_MAX, DBL_MAX);
        aur_walk_bytes(walk, &s->ring[i].active, sizeof s->ring[i].active);
    }
}

static void complete(aur_running *s) {
    aur_running_block *block = &s->ring[s->blocks++ % AUR_RUNNING_BLOCKS];
    double power = 0.0, square = 0.0, peak = 0.0;
    for (unsigned c = 0; c < s->channels; c++) {
        power += s->weight[c] * s->weighted[c];
        square += s->square[c];
        peak = s->peak[c] > peak ? s->peak[c] : peak;
        s->weighted[c] = s->square[c] = 0.0;
        s->peak[c] = 0.0f;
    }
    square /= (double)(s->length * s->channels);
    block->power = power / (double)s->length;
    block->active = square > ACTIVE;
    block->crest_db = block->active ? aur_db(peak) - aur_power_db(square) : 0.0;
    s->at = 0;
}

size_t aur_running_process(aur_running *s, const float *const *in, size_t frames) {
    const size_t n = frames < s->length - s->at ? frames : s->length - s->at;
    for (unsigned c = 0; c < s->channels; c++) {
        const float *x = in[c];
        aur_biquad_state a = s->z[c][0], b = s->z[c][1];
        double weighted = s->weighted[c], square = s->square[c];
        float peak = s->peak[c];
        for (size_t i = 0; i < n; i++) {
            const double y = aur_biquad_step(&s->high_pass, &b, aur_biquad_step(&s->shelf, &a, x[i]));
            weighted += y * y;
            square += (double)x[i] * x[i];
            peak = fabsf(x[i]) > peak ? fabsf(x[i]) : peak;
        }
        s->z[c][0] = a;
        s->z[c][1] = b;
        s->weighted[c] = weighted;
        s->square[c] = square;
        s->peak[c] = peak;
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

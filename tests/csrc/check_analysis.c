/* Every measuring kernel behind aur_analysis at edge sizes, rates and channel counts; whole against
 * pieces, byte for byte. */
#include "analysis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned seed = 1;
static float noise(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(int)seed / 2147483648.0f;
}

static int finite(const aur_analysis_result *r) {
    const double values[] = {r->true_peak,           r->levels.crest_db,     r->spectral.centroid,
                             r->spectral.rolloff,    r->spectral.flatness,   r->temporal.tempo_bpm,
                             r->pitch.stability,     r->chroma.energy,       r->harmonic_ratio,
                             r->spectral.bands[0],   r->loudness_variation,  r->temporal.rhythm_stability,
                             r->spectral.ltas_db[0], r->levels.stereo_width, r->levels.peak_curvature};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (!isfinite(values[i])) return 0;
    return 1;
}

static int measure(double rate, unsigned channels, size_t frames, size_t piece, aur_analysis_result *out) {
    float *x = malloc((frames + 1) * channels * sizeof *x);
    const float *planes[AUR_MAX_CHANNELS];
    seed = 1;
    for (size_t i = 0; i < frames * channels; i++)
        x[i] = 0.5f * noise();
    if (frames > 10) x[5] = (float)NAN, x[6] = (float)INFINITY;
    aur_analysis *a;
    int bad = aur_analysis_create(rate, channels, &a) != AUR_OK;
    for (size_t at = 0; at < frames && !bad; at += piece) {
        const size_t n = frames - at < piece ? frames - at : piece;
        for (unsigned c = 0; c < channels; c++)
            planes[c] = x + c * frames + at;
        bad = aur_analysis_process(a, planes, n) != AUR_OK;
        bad |= aur_analysis_process(a, planes, 0) != AUR_OK;
    }
    memset(out, 0, sizeof *out);
    if (!bad) bad = aur_analysis_finish(a, out) != AUR_OK || !finite(out);
    aur_analysis_destroy(a);
    free(x);
    if (bad) fprintf(stderr, "%g Hz, %u channels, %zu frames in %zu\n", rate, channels, frames, piece);
    return bad;
}

/* Parts merged in order, edges and silence among them, then fed on: the counts of the whole, all finite. */
static int merge(double rate, unsigned channels, const size_t *lengths, size_t parts) {
    aur_analysis *whole, *part;
    aur_analysis_result out;
    float *x = malloc(AUR_MAX_CHANNELS * 40000 * sizeof *x);
    const float *planes[AUR_MAX_CHANNELS];
    uint64_t frames = 0;
    for (unsigned c = 0; c < channels; c++)
        planes[c] = x + c * 40000;
    int bad = aur_analysis_create(rate, channels, &whole) != AUR_OK;
    for (size_t p = 0; p <= parts && !bad; p++) {
        for (size_t i = 0; i < AUR_MAX_CHANNELS * 40000; i++)
            x[i] = p % 3 == 1 ? 0.0f : 0.5f * noise();
        frames += lengths[p % parts];
        if (p == parts) {
            bad = aur_analysis_process(whole, planes, lengths[0]) != AUR_OK;
            break;
        }
        bad = aur_analysis_create(rate, channels, &part) != AUR_OK;
        if (!bad) bad = aur_analysis_process(part, planes, lengths[p]) != AUR_OK;
        if (!bad) bad = aur_analysis_merge(whole, part) != AUR_OK;
        aur_analysis_destroy(part);
    }
    if (!bad) bad = aur_analysis_finish(whole, &out) != AUR_OK || !finite(&out) || out.frames != frames;
    if (!bad) bad = out.levels.frames != frames;
    aur_analysis_destroy(whole);
    free(x);
    if (bad) fprintf(stderr, "merging at %g Hz, %u channels\n", rate, channels);
    return bad;
}

int main(void) {
    int bad = 0;
    aur_analysis_result whole, pieces;
    static const double rates[] = {8000, 11025, 22050, 44100, 96000, 192000};
    static const size_t lengths[] = {1, 2, 2047, 2048, 2049, 30000};
    for (size_t r = 0; r < 6; r++)
        for (size_t n = 0; n < 6; n++)
            bad |= measure(rates[r], r == 1 ? 1 : r == 2 ? 8 : 2, lengths[n], lengths[n], &whole);
    bad |= measure(44100, 2, 100000, 100000, &whole) | measure(44100, 2, 100000, 997, &pieces);
    if (memcmp(&whole, &pieces, sizeof whole)) bad = 1, fprintf(stderr, "pieces differ from the whole\n");
    static const size_t parts[] = {3000, 40000, 0, 1, 2047, 33000, 40000, 39999, 513, 40000};
    bad |= merge(44100, 2, parts, 10) | merge(8000, 1, parts + 1, 9) | merge(192000, 8, parts + 2, 8);
    aur_analysis *a;
    bad |= aur_analysis_create(7999, 2, &a) != AUR_EINVAL || aur_analysis_create(44100, 9, &a) != AUR_EINVAL;
    aur_analysis_destroy(NULL);
    return bad;
}

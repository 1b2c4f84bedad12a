/*
 * Times each measuring kernel alone over the same samples, in blocks of 2048 frames as analysis.c feeds
 * them, and prints one "name seconds" line a stage: the best of the given number of rounds.
 *
 *   stages FILE RATE ROUNDS      FILE: float32, planar, two channels
 */
#include "analysis.h"
#include "decimate.h"
#include "harmonic.h"
#include "loudness.h"
#include "truepeak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK 2048u

typedef struct {
    const float *left, *right;
    float *mono, *low, *lower;
    size_t frames, low_frames, lower_frames;
    double rate, low_rate, lower_rate;
} input;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define BLOCKS(total, at, n)                                                                                 \
    for (size_t at = 0, n; at < (total) && (n = (total) - at < BLOCK ? (total) - at : BLOCK, 1); at += n)

static void loudness(const input *x) {
    aur_loudness *s;
    aur_loudness_create(x->rate, 2, NULL, 0, &s);
    BLOCKS(x->frames, at, n) aur_loudness_process(s, (const float *const[]){x->left + at, x->right + at}, n);
    aur_loudness_integrated(s), aur_loudness_range(s), aur_loudness_momentary_max(s);
    aur_loudness_destroy(s);
}

static void truepeak(const input *x) {
    aur_truepeak *s;
    aur_truepeak_create(2, &s);
    BLOCKS(x->frames, at, n) aur_truepeak_process(s, (const float *const[]){x->left + at, x->right + at}, n);
    aur_truepeak_destroy(s);
}

static void levels(const input *x) {
    aur_levels *s;
    static aur_levels_result out;
    aur_levels_create(x->rate, &s);
    BLOCKS(x->frames, at, n) {
        const float *const both[2] = {x->left + at, x->right + at};
        aur_levels_process(s, both, both, n);
    }
    aur_levels_finish(s, &out);
    aur_levels_destroy(s);
}

static void spectra(const input *x, int separate) {
    aur_spectral *s;
    aur_harmonic *h;
    aur_spectral_create(x->rate, &s);
    aur_harmonic_create(aur_spectral_bins(s), &h);
    for (size_t at = 0; at < x->frames;) {
        at += aur_spectral_feed(s, x->left + at, x->right + at, x->frames - at);
        if (!aur_spectral_ready(s)) continue;
        const unsigned frames = aur_spectral_run(s);
        if (separate) aur_harmonic_process(h, aur_spectral_magnitudes(s), frames);
    }
    aur_harmonic_destroy(h);
    aur_spectral_destroy(s);
}

static void spectral(const input *x) {
    spectra(x, 0);
}
static void spectral_harmonic(const input *x) {
    spectra(x, 1);
}

static void temporal(const input *x) {
    aur_temporal *s;
    aur_temporal_result out;
    aur_temporal_create(x->rate, &s);
    BLOCKS(x->frames, at, n) aur_temporal_process(s, x->mono + at, n);
    aur_temporal_finish(s, &out);
    aur_temporal_destroy(s);
}

static void decimate(const input *x) {
    aur_decimate *s;
    aur_decimate_create((unsigned)(x->rate / x->low_rate), 0.3, &s);
    size_t m = 0;
    BLOCKS(x->frames, at, n) m += aur_decimate_process(s, x->mono + at, n, x->low + m);
    aur_decimate_destroy(s);
    aur_decimate_create(2, 0.4, &s);
    aur_decimate_process(s, x->low, m, x->lower);
    aur_decimate_destroy(s);
}

static void pitch(const input *x) {
    aur_pitch *s;
    aur_pitch_create(x->low_rate, &s);
    aur_pitch_process(s, x->low, x->low_frames);
    aur_pitch_destroy(s);
}

static void chroma(const input *x) {
    aur_chroma *s;
    aur_chroma_create(x->lower_rate, &s);
    aur_chroma_process(s, x->lower, x->lower_frames);
    aur_chroma_destroy(s);
}

static void whole(const input *x) {
    aur_analysis *s;
    static aur_analysis_result out;
    aur_analysis_create(x->rate, 2, &s);
    BLOCKS(x->frames, at, n) aur_analysis_process(s, (const float *const[]){x->left + at, x->right + at}, n);
    aur_analysis_finish(s, &out);
    aur_analysis_destroy(s);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    FILE *file = fopen(argv[1], "rb");
    if (!file) return 1;
    fseek(file, 0, SEEK_END);
    const size_t frames = (size_t)ftell(file) / (2 * sizeof(float));
    rewind(file);
    float *samples = malloc(5 * (frames + 16) * sizeof *samples);
    if (!samples || fread(samples, sizeof(float), 2 * frames, file) != 2 * frames) return 1;
    fclose(file);
    const double rate = atof(argv[2]);
    const unsigned factor = rate < 22050 ? 1 : (unsigned)(rate / 11025);
    input x = {.left = samples, .right = samples + frames, .frames = frames, .rate = rate};
    x.mono = samples + 2 * frames;
    x.low = x.mono + frames;
    x.lower = x.low + frames;
    x.low_rate = rate / factor, x.lower_rate = x.low_rate / 2;
    x.low_frames = frames / factor, x.lower_frames = x.low_frames / 2;
    for (size_t i = 0; i < frames; i++)
        x.mono[i] = 0.5f * (x.left[i] + x.right[i]);

    static const struct {
        const char *name;
        void (*run)(const input *);
    } stages[] = {
        {"loudness", loudness},
        {"truepeak", truepeak},
        {"levels", levels},
        {"spectral", spectral},
        {"spectral+harmonic", spectral_harmonic},
        {"temporal", temporal},
        {"decimate", decimate},
        {"pitch", pitch},
        {"chroma", chroma},
        {"whole", whole},
    };
    for (size_t k = 0; k < sizeof stages / sizeof *stages; k++) {
        double best = 1e9;
        for (int round = 0; round < atoi(argv[3]); round++) {
            const double start = now();
            stages[k].run(&x);
            const double took = now() - start;
            best = took < best ? took : best;
        }
        printf("%s %.6f\n", stages[k].name, best);
    }
    free(samples);
    return 0;
}

/* temporal.h under the sanitizers: odd lengths, every frame size, results at every prefix. */
#include "temporal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                           \
            failures++;                                                                                      \
        }                                                                                                    \
    } while (0)

/* A click of decaying noise every half second. */
static void fill(float *x, size_t frames, double rate) {
    uint32_t seed = 1;
    const size_t period = (size_t)(rate / 2.0);
    for (size_t i = 0; i < frames; i++) {
        seed = seed * 1664525u + 1013904223u;
        const double noise = (double)seed / 2147483648.0 - 1.0;
        x[i] = (float)(noise * exp(-(double)(i % period) / (0.01 * rate)));
    }
}

static int in_range(const aur_temporal_result *r) {
    return (r->tempo_bpm == 0.0 || (r->tempo_bpm >= 50.0 && r->tempo_bpm <= 210.0)) &&
           (r->tempo_alt == 0.0 || (r->tempo_alt >= 50.0 && r->tempo_alt <= 210.0)) &&
           r->tempo_confidence >= 0.0 && r->tempo_confidence <= 1.0 && r->rhythm_stability >= 0.0 &&
           r->rhythm_stability <= 1.0 && r->transient_density >= 0.0 && r->transient_density <= 1.0;
}

static void check_rate(double rate) {
    const size_t frames = (size_t)(rate * 9.0);
    float *x = malloc(frames * sizeof *x);
    aur_temporal *whole, *cut;
    aur_temporal_result a, b;
    if (!x) exit(1);
    fill(x, frames, rate);
    CHECK(aur_temporal_create(rate, &whole) == AUR_OK);
    CHECK(aur_temporal_create(rate, &cut) == AUR_OK);
    aur_temporal_process(whole, x, frames);
    CHECK(aur_temporal_finish(whole, &a) == AUR_OK);
    CHECK(fabs(a.tempo_bpm / 120.0 - 1.0) < 0.005);
    const size_t sizes[] = {0, 1, 1023, 40000, 3, 256, 70001};
    for (size_t at = 0, i = 0; at < frames; i++) {
        const size_t size = sizes[i % 7], n = size < frames - at ? size : frames - at;
        aur_temporal_process(cut, x + at, n);
        at += n;
        if (i % 4) continue;
        CHECK(aur_temporal_finish(cut, &b) == AUR_OK);
        CHECK(in_range(&b));
    }
    CHECK(aur_temporal_finish(cut, &b) == AUR_OK);
    CHECK(memcmp(&a, &b, sizeof a) == 0);
    aur_temporal_reset(cut);
    aur_temporal_process(cut, x, frames);
    CHECK(aur_temporal_finish(cut, &b) == AUR_OK);
    CHECK(memcmp(&a, &b, sizeof a) == 0);
    aur_temporal_destroy(whole);
    aur_temporal_destroy(cut);
    free(x);
}

/* Constant, huge and minute input: finite results whatever comes. */
static void check_levels(void) {
    enum { FRAMES = 88200 };
    static float x[FRAMES];
    const float levels[] = {1.0f, 1e-30f, 1e-44f, 1e18f, 3e38f};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        aur_temporal *s;
        aur_temporal_result r;
        fill(x, FRAMES, 44100.0);
        for (size_t k = 0; k < FRAMES; k++)
            x[k] = i ? x[k] * levels[i] : 1.0f;
        CHECK(aur_temporal_create(44100.0, &s) == AUR_OK);
        aur_temporal_process(s, x, FRAMES);
        CHECK(aur_temporal_finish(s, &r) == AUR_OK);
        CHECK(in_range(&r));
        aur_temporal_destroy(s);
    }
}

int main(void) {
    aur_temporal *none;
    CHECK(aur_temporal_create(7999.0, &none) == AUR_EINVAL && !none);
    CHECK(aur_temporal_create(NAN, &none) == AUR_EINVAL && !none);
    aur_temporal_destroy(NULL);
    const double rates[] = {8000.0, 11025.0, 16000.0, 22050.0, 32000.0, 44100.0, 48000.0, 88200.0, 96000.0};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        check_rate(rates[i]);
    check_levels();
    return failures != 0;
}

/* The limiter's envelope: what tones and a lone sample read as, the same from pieces and under every SIMD
 * variant, and nothing read beyond what the header names. */
#define _XOPEN_SOURCE 600 /* setenv */
#include "envelope.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(c)                                                                                             \
    if (!(c)) return printf("%s:%d: %s\n", __FILE__, __LINE__, #c), 1

enum { H = AUR_ENVELOPE_HISTORY, N = AUR_ENVELOPE_BLOCK };

/* Largest reading over a block of a tone that has a crest `phase` of a frame after every so many samples. */
static float read_tone(const aur_envelope *e, double cycles, double phase) {
    float x[H + N], peak[N] = {0};
    for (int i = 0; i < H + N; i++)
        x[i] = (float)cos(2.0 * AUR_PI * cycles * (i - phase));
    aur_envelope_raise(e, x + H, peak, N);
    float high = 0.0f;
    for (int i = 0; i < N; i++)
        high = peak[i] > high ? peak[i] : high;
    return high;
}

int main(void) {
    aur_envelope *e, *twin;
    CHECK(aur_envelope_create(&e) == AUR_OK);
    aur_envelope_destroy(NULL);

    /* Eight points an interval: of a tone of 1/3 the nearest is within 7.5 degrees of its crest, .991. Its
     * treble, (sin(pi/3))^8 = .316, adds .316 (.4 + .8 .316). */
    const float bass = read_tone(e, 0.05, 0.3), third = read_tone(e, 1.0 / 3.0 + 0.001, 0.3);
    CHECK(bass > 0.9995f && bass < 1.0005f);
    CHECK(third > 1.19f && third < 1.22f);
    /* Close to Nyquist no interpolator of this length sees the crests; what is added makes up for it. */
    CHECK(read_tone(e, 0.499, 0.3) >= 1.0f);
    /* A crest on each of the eight points in turn; the treble of .25 is up to 1/16, and .43 of it is added.
     */
    for (int p = 0; p < 8; p++) {
        const float quarter = read_tone(e, 0.25, p / 8.0);
        CHECK(quarter > 1.018f && quarter < 1.03f);
    }

    /* A lone sample: exactly AUR_ENVELOPE_LATENCY frames later, and on either side what rings about it. */
    static float x[H + 2 * N];
    float peak[N] = {0}, pieces[N] = {0};
    x[H + 100] = 1.0f;
    aur_envelope_raise(e, x + H, peak, N);
    int top = 0;
    for (int i = 0; i < N; i++)
        top = peak[i] > peak[top] ? i : top;
    CHECK(top == 100 + AUR_ENVELOPE_LATENCY || top == 99 + AUR_ENVELOPE_LATENCY);
    for (int i = 0; i < 100; i++)
        CHECK(peak[i] == 0.0f);
    CHECK(peak[100 + H + 1] == 0.0f);

    /* Pieces equal the whole, and a copy that ends with the last frame is enough (address sanitizer). */
    srand(1);
    for (int i = 0; i < H + N; i++)
        x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (int i = 0; i < N; i++)
        peak[i] = 0.0f;
    aur_envelope_raise(e, x + H, peak, N);
    CHECK(aur_envelope_clone(e, &twin) == AUR_OK);
    for (int at = 0, n = 1; at < N; at += n, n = at % 37 + 1) {
        if (n > N - at) n = N - at;
        float *exact = malloc((size_t)(H + n) * sizeof *exact);
        CHECK(exact);
        memcpy(exact, x + at, (size_t)(H + n) * sizeof *exact);
        aur_envelope_raise(twin, exact + H, pieces + at, (size_t)n);
        free(exact);
    }
    CHECK(memcmp(peak, pieces, sizeof peak) == 0);
    aur_envelope_destroy(twin);

    /* What is already higher stays. */
    for (int i = 0; i < N; i++)
        pieces[i] = 5.0f;
    aur_envelope_raise(e, x + H, pieces, N);
    for (int i = 0; i < N; i++)
        CHECK(pieces[i] == 5.0f);
    aur_envelope_destroy(e);

    static const char *const names[] = {"baseline", "avx2"};
    for (size_t v = 0; v < 2; v++) {
        CHECK(setenv("AURALIS_SIMD", names[v], 1) == 0);
        float narrow[N] = {0};
        CHECK(aur_envelope_create(&e) == AUR_OK);
        aur_envelope_raise(e, x + H, narrow, N);
        CHECK(memcmp(peak, narrow, sizeof peak) == 0);
        aur_envelope_destroy(e);
    }
    return 0;
}

/* The lane transform against a plain O(N^2) DFT in double, every lane, every supported length. */
#include "fft.h"

#include <complex.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned seed = 1;
static float noise(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(int)seed / 2147483648.0f;
}

static int check(size_t n) {
    aur_fft *plan;
    if (aur_fft_create(n, &plan) != AUR_OK || aur_fft_length(plan) != n) return 1;
    const size_t floats = aur_fft_row(n) * AUR_LANES;
    float *re = calloc(floats, sizeof *re), *im = calloc(floats, sizeof *im);
    double complex *x = malloc(n * AUR_LANES * sizeof *x), *w = malloc(n * sizeof *w);
    double energy = 0.0;
    for (size_t k = 0; k < n; k++) {
        w[k] = cexp(-2.0 * I * AUR_PI * (double)k / (double)n);
        for (size_t l = 0; l < AUR_LANES; l++) {
            const size_t at = aur_fft_row(k) * AUR_LANES + l;
            re[at] = noise(), im[at] = noise();
            x[l * n + k] = re[at] + I * im[at];
            energy += creal(x[l * n + k] * conj(x[l * n + k])) / AUR_LANES;
        }
    }
    aur_fft_forward(plan, re, im);
    /* Rounding of a float transform grows as log2 N: 6e-8 a pass, 14 passes at most. */
    const double tolerance = 1e-6 * sqrt(energy);
    int bad = 0;
    for (size_t f = 0; f < 24; f++) { /* a sample of the frequencies: the ends and a spread between */
        const size_t k = f < 4 ? f : f < 8 ? n - (f - 3) : (f * 2654435761u) % n;
        for (size_t l = 0; l < AUR_LANES; l++) {
            double complex sum = 0.0;
            for (size_t i = 0; i < n; i++)
                sum += x[l * n + i] * w[(i * k) % n];
            const size_t at = aur_fft_rows(plan)[k] * (size_t)AUR_LANES + l;
            if (!(cabs(sum - (re[at] + I * im[at])) <= tolerance)) bad++;
        }
    }
    if (bad) fprintf(stderr, "fft %zu: %d values off\n", n, bad);
    free(re), free(im), free(x), free(w);
    aur_fft_destroy(plan);
    return bad != 0;
}

int main(void) {
    int bad = 0;
    for (size_t n = 64; n <= 16384; n *= 2)
        bad |= check(n);
    aur_fft *plan;
    bad |= aur_fft_create(63, &plan) != AUR_EINVAL || aur_fft_create(32768, &plan) != AUR_EINVAL;
    aur_fft_destroy(NULL);
    return bad;
}

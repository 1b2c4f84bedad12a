#include "detail.h"

#include "pow2.h"

enum { PARTS = 3, LONGEST = 2048 };      /* of a moment, at 384 kHz and below */
static const float BELOW_NOISE = 1e-10f; /* power of detail */
static const double ROWS_PER_S = 100.0, REFERENCE_HZ = 44100.0;

/* The weights of a sixth difference over 64, so that the highest frequency passes at 0 dB. */
static float detail(const float *x, size_t d) {
    const float inner = (x[0] * 20.0f) - 15.0f * (x[d] + *(x - d));
    const float outer = 6.0f * (x[2 * d] + *(x - 2 * d)) - (x[3 * d] + *(x - 3 * d));
    const float h = (inner + outer) * (1.0f / 64.0f);
    return h * h;
}

static void moment(aur_detail *s, const float *x, size_t d, size_t n) {
    float level[LONGEST], low_sum = 0.0f;
    uint16_t bin[LONGEST];
    float peak = 0.0f;
    size_t low = 0;
    for (size_t i = 0; i < n; i++) {
        const float a = fabsf(x[i]);
        peak = a > peak ? a : peak;
        low += a < AUR_DETAIL_LOW;
    }
    if (peak < AUR_DETAIL_HIGH || low * 8 < n) return;
    for (size_t i = 0; i < n; i++) {
        const float a = fabsf(x[i]) * (float)AUR_DETAIL_BINS;
        bin[i] = (uint16_t)(a < (float)(AUR_DETAIL_BINS - 1) ? a : (float)(AUR_DETAIL_BINS - 1));
        const float power = detail(x + i, d);
        level[i] = aur_log2f((power < 1e30f ? power : 1e30f) + BELOW_NOISE);
    }
    for (size_t i = 0; i < n; i++)
        low_sum += fabsf(x[i]) < AUR_DETAIL_LOW ? level[i] : 0.0f;
    const float mean = low_sum / (float)low;
    for (size_t i = 0; i < n; i++) {
        s->sum[bin[i]] += (double)(level[i] - mean);
        s->count[bin[i]] += 1.0;
    }
}

void aur_detail_row(aur_detail *s, const float *in, size_t frames) {
    const size_t step = (size_t)((double)frames * ROWS_PER_S / REFERENCE_HZ + 0.5), d = step < 1 ? 1 : step;
    if (frames < 6 * d + PARTS) return;
    const size_t inside = frames - 6 * d;
    for (size_t k = 0; k < PARTS; k++) {
        const size_t begin = inside * k / PARTS, end = inside * (k + 1) / PARTS;
        moment(s, in + 3 * d + begin, d, end - begin < LONGEST ? end - begin : LONGEST);
    }
}

void aur_detail_append(aur_detail *s, const aur_detail *next) {
    for (unsigned k = 0; k < AUR_DETAIL_BINS; k++) {
        s->sum[k] += next->sum[k];
        s->count[k] += next->count[k];
    }
}

void aur_detail_finish(const aur_detail *s, double db[AUR_DETAIL_BINS]) {
    for (unsigned k = 0; k < AUR_DETAIL_BINS; k++)
        db[k] = s->count[k] < AUR_DETAIL_FEWEST ? 0.0 : 0.5 * AUR_DB_PER_OCTAVE * s->sum[k] / s->count[k];
}

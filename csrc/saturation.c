#include "saturation.h"

#include "peak.h"

#include <string.h>

static const float FLAT = 1.0f / 16384.0f;  /* neighbours in a flat top differ by no more */
static const float CORNER = 1.0f / 1024.0f; /* and the step in or out of it is larger */
static const float NEAR_PEAK = 15.0f / 16.0f;
static const float AUDIBLE = 1e-4f; /* maxima under -80 dBFS say nothing */
enum {
    SHORTEST = 3,
    LEVEL_SHIFT = 19,
    LEVEL_BASE = (127 - 24) << 4,
    MAXIMA_SHIFT = 20,
    MAXIMA_BASE = (127 - 14) << 3
};

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The leading bits of a positive float are a logarithm with linear steps inside each octave. */
static unsigned log_bin(float x, int shift, int base, unsigned bins) {
    const int bin = (int)(bits_of(x) >> shift) - base;
    return bin < 0 ? 0 : bin < (int)bins ? (unsigned)bin : bins - 1;
}

static unsigned level_bin(float x) {
    return log_bin(x, LEVEL_SHIFT, LEVEL_BASE, AUR_SATURATION_LEVELS);
}

/* Lower edge of bin k of the maxima's heights and ratios. */
static double maxima_edge(unsigned k) {
    return aur_peak_value((k + MAXIMA_BASE) << MAXIMA_SHIFT);
}

static void tally(aur_saturation *s, const float *const in[2], size_t frames) {
    uint16_t bins[2][AUR_SATURATION_RUN];
    for (int c = 0; c < 2; c++)
        for (size_t i = 0; i < frames; i++) {
            const float x = fabsf(in[c][i]) * (float)AUR_SATURATION_BINS;
            bins[c][i] = (uint16_t)(int32_t)(x < AUR_SATURATION_BINS - 1 ? x : AUR_SATURATION_BINS - 1);
        }
    for (size_t i = 0; i < frames; i++) { /* in turn, so that equal neighbours wait less for each other */
        s->histogram[0][bins[0][i]]++;
        s->histogram[1][bins[1][i]]++;
    }
}

static int flat_top(const aur_flat_run *r, int left_by_corner) {
    return r->length >= SHORTEST && r->lowest > 0.0f && (r->entered || left_by_corner);
}

static void end_run(aur_saturation *s, aur_flat_run *r, float step) {
    if (flat_top(r, step > r->lowest * CORNER)) {
        const unsigned level = level_bin(r->lowest);
        s->flat_total[level] += r->length;
        if (r->length > s->flat_longest[level]) s->flat_longest[level] = r->length;
    }
    r->length = 1;
}

/*
 * The final peak is not known yet, so flat tops are kept by level; but none that reaches under the
 * level bin of what is near the peak so far can ever count. So only pairs of equal samples whose
 * second is near the peak so far are looked at: a run of them goes on as long as they follow each
 * other, and one that began or goes on lower ends up in a level that is not read.
 */
static void find_flat_tops(aur_saturation *s, aur_flat_run *r, const float *in, size_t frames, float peak) {
    const unsigned bin = level_bin(s->peak * NEAR_PEAK);
    const float near = aur_peak_value((bin + LEVEL_BASE) << LEVEL_SHIFT);
    if (!r->started) *r = (aur_flat_run){.last = {NAN, NAN}, .started = 1}; /* equal to nothing */
    float x[2 + AUR_SATURATION_RUN];                                        /* x[i + 2] is frame i */
    uint8_t equal[AUR_SATURATION_RUN];
    memcpy(x, r->last, sizeof r->last);
    memcpy(x + 2, in, frames * sizeof *x);
    memcpy(r->last, x + frames, sizeof r->last);
    if (peak < near && r->length < 2) return;

    for (size_t i = 0; i < frames; i++)
        equal[i] = (fabsf(x[i + 2]) >= near) & (fabsf(x[i + 2] - x[i + 1]) <= fabsf(x[i + 1]) * FLAT);
    for (size_t i = 0; i < frames; i++) {
        uint64_t eight;
        if (r->length < 2 && i + sizeof eight <= frames &&
            (memcpy(&eight, equal + i, sizeof eight), !eight)) {
            i += sizeof eight - 1;
            continue;
        }
        const float height = fabsf(x[i + 2]), step = fabsf(x[i + 2] - x[i + 1]);
        if (equal[i]) {
            if (r->length < 2) {
                r->length = 1;
                r->lowest = fabsf(x[i + 1]);
                r->entered = fabsf(x[i + 1] - x[i]) > r->lowest * CORNER;
            }
            r->length++;
            if (height < r->lowest) r->lowest = height;
        } else if (r->length >= 2) {
            end_run(s, r, step);
        }
    }
}

void aur_saturation_process(aur_saturation *s, const float *const in[2], size_t frames) {
    if (frames == 0) return;
    float peaks[2];
    for (int c = 0; c < 2; c++) {
        peaks[c] = aur_peak_value(aur_peak_bits(in[c], frames));
        if (peaks[c] > s->peak) s->peak = peaks[c];
    }
    tally(s, in, frames);
    for (int c = 0; c < 2; c++)
        find_flat_tops(s, &s->runs[c], in[c], frames, peaks[c]);
}

void aur_saturation_append(aur_saturation *s, const aur_saturation *next) {
    for (int c = 0; c < 2; c++) {
        end_run(s, &s->runs[c], 0.0f);
        s->runs[c] = next->runs[c];
        for (unsigned k = 0; k < AUR_SATURATION_BINS; k++)
            s->histogram[c][k] += next->histogram[c][k];
    }
    for (unsigned k = 0; k < AUR_SATURATION_LEVELS; k++) {
        s->flat_total[k] += next->flat_total[k];
        if (next->flat_longest[k] > s->flat_longest[k]) s->flat_longest[k] = next->flat_longest[k];
    }
    for (unsigned h = 0; h < AUR_SATURATION_HEIGHTS; h++)
        for (unsigned k = 0; k < AUR_SATURATION_RATIOS; k++)
            s->maxima[h][k] += next->maxima[h][k];
    if (next->peak > s->peak) s->peak = next->peak;
}

void aur_saturation_maxima(aur_saturation *s, const float *in, size_t frames) {
    uint16_t at[AUR_SATURATION_RUN];
    for (size_t begin = 1; begin + 1 < frames; begin += AUR_SATURATION_RUN) {
        const size_t end = frames - 1 - begin < AUR_SATURATION_RUN ? frames - 1 : begin + AUR_SATURATION_RUN;
        size_t found = 0;
        for (size_t i = begin; i < end; i++) {
            const float a = fabsf(in[i]);
            at[found] = (uint16_t)(i - begin);
            found += (a > fabsf(in[i - 1])) & (a >= fabsf(in[i + 1])) & (a > AUDIBLE);
        }
        for (size_t k = 0; k < found; k++) {
            const float *x = in + begin + at[k], a = fabsf(*x);
            const float ratio = ((a - fabsf(x[-1])) + (a - fabsf(x[1]))) / a;
            s->maxima[log_bin(a, MAXIMA_SHIFT, MAXIMA_BASE, AUR_SATURATION_HEIGHTS)]
                     [log_bin(ratio, MAXIMA_SHIFT, MAXIMA_BASE, AUR_SATURATION_RATIOS)]++;
        }
    }
}

void aur_saturation_flat_tops(const aur_saturation *s, uint64_t *total, uint64_t *longest) {
    const unsigned near = level_bin(s->peak * NEAR_PEAK);
    *total = *longest = 0;
    for (unsigned level = near; level < AUR_SATURATION_LEVELS; level++) {
        *total += s->flat_total[level];
        if (s->flat_longest[level] > *longest) *longest = s->flat_longest[level];
    }
    for (int c = 0; c < 2; c++) { /* runs that reach the end; the end itself is no corner */
        const aur_flat_run *r = &s->runs[c];
        if (flat_top(r, 0) && level_bin(r->lowest) >= near) {
            *total += r->length;
            if (r->length > *longest) *longest = r->length;
        }
    }
}

/* Median ratio of the maxima between two ranks of height, bins at the ranks' ends taken in part. */
static double median_ratio(const aur_saturation *s, double low, double high) {
    double ratios[AUR_SATURATION_RATIOS] = {0}, rank = 0.0, total = 0.0, seen = 0.0;
    for (unsigned h = 0; h < AUR_SATURATION_HEIGHTS; h++) {
        double count = 0.0;
        for (unsigned k = 0; k < AUR_SATURATION_RATIOS; k++)
            count += s->maxima[h][k];
        const double from = rank > low ? rank : low, to = rank + count < high ? rank + count : high;
        if (to > from)
            for (unsigned k = 0; k < AUR_SATURATION_RATIOS; k++) {
                ratios[k] += (to - from) / count * s->maxima[h][k];
                total += (to - from) / count * s->maxima[h][k];
            }
        rank += count;
    }
    unsigned k = 0;
    while (k < AUR_SATURATION_RATIOS - 1 && seen + ratios[k] < 0.5 * total)
        seen += ratios[k++];
    const double part = ratios[k] > 0.0 ? (0.5 * total - seen) / ratios[k] : 0.0;
    return maxima_edge(k) + part * (maxima_edge(k + 1) - maxima_edge(k));
}

double aur_saturation_curvature(const aur_saturation *s) {
    double count = 0.0;
    for (unsigned h = 0; h < AUR_SATURATION_HEIGHTS; h++)
        for (unsigned k = 0; k < AUR_SATURATION_RATIOS; k++)
            count += s->maxima[h][k];
    if (count < 100.0) return 1.0;
    return median_ratio(s, 0.97 * count, count) / median_ratio(s, 0.40 * count, 0.60 * count);
}

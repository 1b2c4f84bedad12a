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

static void tally(aur_saturation *s, unsigned channel, const float *in, size_t frames) {
    uint16_t bins[AUR_SATURATION_RUN];
    for (size_t i = 0; i < frames; i++) {
        const float x = fabsf(in[i]) * (float)AUR_SATURATION_BINS;
        bins[i] = (uint16_t)(int32_t)(x < AUR_SATURATION_BINS - 1 ? x : AUR_SATURATION_BINS - 1);
    }
    uint64_t *histogram = s->histogram[channel];
    for (size_t i = 0; i < frames; i++)
        histogram[bins[i]]++;
}

static int flat_top(const aur_flat_run *r, int left_by_corner) {
    return r->length >= SHORTEST && r->lowest > 0.0f && (r->entered || left_by_corner);
}

static void follow(aur_saturation *s, aur_flat_run *r, float x) {
    const float step = fabsf(x - r->last), height = fabsf(x);
    if (step <= fabsf(r->last) * FLAT) {
        r->length++;
        if (height < r->lowest) r->lowest = height;
    } else {
        if (flat_top(r, step > r->lowest * CORNER)) {
            const unsigned level = level_bin(r->lowest);
            s->flat_total[level] += r->length;
            if (r->length > s->flat_longest[level]) s->flat_longest[level] = r->length;
        }
        r->length = 1;
        r->lowest = height;
        r->entered = step > height * CORNER;
    }
    r->last = x;
}

/*
 * The final peak is not known yet, so flat tops are kept by level; but none that begins under the
 * level bin of what is near the peak so far can ever count, and such samples are passed over.
 */
static void find_flat_tops(aur_saturation *s, aur_flat_run *r, const float *in, size_t frames, float peak) {
    const unsigned bin = level_bin(s->peak * NEAR_PEAK);
    const float near = aur_peak_value((bin + LEVEL_BASE) << LEVEL_SHIFT);
    if (!r->started) {
        *r = (aur_flat_run){.last = in[0], .lowest = fabsf(in[0]), .near = 1, .started = 1};
    }
    if (peak < near && !r->near) {
        r->last = in[frames - 1];
        return;
    }
    uint8_t flags[AUR_SATURATION_RUN];
    for (size_t i = 0; i < frames; i++)
        flags[i] = fabsf(in[i]) >= near;
    for (size_t i = 0; i < frames; i++) {
        uint64_t eight;
        if (!r->near && i + sizeof eight <= frames && (memcpy(&eight, flags + i, sizeof eight), eight == 0)) {
            i += sizeof eight - 1;
            continue;
        }
        if (flags[i] && !r->near) { /* what came before is too low to matter, but may go on into this */
            const float before = i ? in[i - 1] : r->last;
            *r = (aur_flat_run){.last = before, .lowest = fabsf(before), .length = 1, .started = 1};
        }
        if (flags[i] || r->near) follow(s, r, in[i]);
        r->near = flags[i];
    }
    r->last = in[frames - 1];
}

void aur_saturation_process(aur_saturation *s, const float *const in[2], size_t frames) {
    if (frames == 0) return;
    float peaks[2];
    for (int c = 0; c < 2; c++) {
        peaks[c] = aur_peak_value(aur_peak_bits(in[c], frames));
        if (peaks[c] > s->peak) s->peak = peaks[c];
    }
    for (int c = 0; c < 2; c++) {
        if (peaks[c] == 0.0f)
            s->histogram[c][0] += frames;
        else
            tally(s, (unsigned)c, in[c], frames);
        find_flat_tops(s, &s->runs[c], in[c], frames, peaks[c]);
    }
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
        if (r->near && flat_top(r, 0) && level_bin(r->lowest) >= near) {
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

#include "bands.h"

#include <stdlib.h>

static const double band_edges[AUR_BANDS + 1] = {20, 60, 250, 500, 2000, 4000, 6000, 20000};

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Lower edge of 1/3 octave g, g = 0 at 20 Hz nominal (exact base-ten frequencies, IEC 61260-1). */
static double ltas_edge(int g) {
    return pow(10.0, (13 + g - 0.5) / 10.0);
}

unsigned aur_bands_lay_out(double sample_rate, size_t length, aur_segment *out) {
    double edges[AUR_BANDS_SEGMENTS];
    unsigned n = 0, count = 0;
    for (int b = 0; b <= AUR_BANDS; b++)
        edges[n++] = band_edges[b];
    for (int g = 0; g <= AUR_BANDS_LTAS; g++)
        edges[n++] = ltas_edge(g);
    qsort(edges, n, sizeof *edges, ascending);
    const size_t nyquist_bin = length / 2;
    const double width = sample_rate / (double)length, nyquist = sample_rate / 2.0;
    for (unsigned i = 0; i + 1 < n; i++) {
        aur_segment seg = {.low = edges[i], .high = edges[i + 1] < nyquist ? edges[i + 1] : nyquist};
        if (!(seg.low < seg.high)) continue; /* equal edges, or above Nyquist */
        const double from = seg.low / width + 0.5, to = seg.high / width + 0.5;
        seg.first = (size_t)from;
        seg.last = (size_t)to < nyquist_bin ? (size_t)to : nyquist_bin;
        seg.weight_first = (float)(seg.first == seg.last ? to - from : (double)(seg.first + 1) - from);
        seg.weight_last = (float)(to - (double)seg.last);
        out[count++] = seg;
    }
    return count;
}

double aur_bands_fold(const aur_segment *segment, unsigned count, const double *energy, double *bands,
                      double *ltas) {
    double total = 0.0;
    for (unsigned g = 0; g < count; g++) {
        const double middle = sqrt(segment[g].low * segment[g].high);
        for (int b = 0; b < AUR_BANDS; b++)
            if (middle > band_edges[b] && middle < band_edges[b + 1]) {
                bands[b] += energy[g];
                total += energy[g];
            }
        for (int i = 0; i < AUR_BANDS_LTAS; i++)
            if (middle > ltas_edge(i) && middle < ltas_edge(i + 1)) ltas[i] += energy[g];
    }
    return total;
}

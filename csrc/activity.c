#include "activity.h"

#include <stdlib.h>

#define DEPTH_DB 50
#define DEPTH 1e-5 /* the same as a factor of power */
#define FLOOR_DB (-80.0)
#define STEP_DB (1.0 / AUR_ACTIVITY_STEPS_PER_DB)

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

double aur_activity_gate(double *powers, size_t count) {
    if (!count) return AUR_ACTIVITY_FLOOR;
    qsort(powers, count, sizeof *powers, ascending);
    const double least = larger(powers[count - 1] * DEPTH, AUR_ACTIVITY_FLOOR);
    size_t first = 0;
    while (first < count && !(powers[first] > least))
        first++;
    if (first == count) return AUR_ACTIVITY_FLOOR;
    const size_t rank = first + (size_t)((double)(count - 1 - first) * 0.95 + 0.5);
    return larger(powers[rank] * DEPTH, AUR_ACTIVITY_FLOOR);
}

int aur_activity_bin(aur_activity_grid *grid, double power) {
    if (!(power > 0.0)) return -1;
    const double level = aur_power_db(power);
    if (!grid->begun) {
        /* The first sound in the middle of a bin, the coarse bins at a fixed distance from it. */
        const double coarse = AUR_ACTIVITY_COARSE * STEP_DB, above = level - 0.5 * STEP_DB - FLOOR_DB;
        grid->low = FLOOR_DB + (above - coarse * ceil(above / coarse));
        grid->begun = 1;
    }
    if (!(power > AUR_ACTIVITY_FLOOR)) return -1;
    const int bin = (int)((level - grid->low) * AUR_ACTIVITY_STEPS_PER_DB);
    return bin < AUR_ACTIVITY_BINS ? bin : AUR_ACTIVITY_BINS - 1;
}

int aur_activity_shift(aur_activity_grid *grid, const aur_activity_grid *from) {
    if (!from->begun) return 0;
    if (!grid->begun) *grid = *from;
    return (int)lround((from->low - grid->low) * AUR_ACTIVITY_STEPS_PER_DB);
}

int aur_activity_first(const uint32_t *counts) {
    const int depth = DEPTH_DB * AUR_ACTIVITY_STEPS_PER_DB;
    int top = AUR_ACTIVITY_BINS - 1;
    while (top >= 0 && !counts[top])
        top--;
    if (top < 0) return AUR_ACTIVITY_BINS;
    uint64_t total = 0, above = 0;
    for (int b = top > depth ? top - depth : 0; b <= top; b++)
        total += counts[b];
    int b = top + 1;
    while (above * 20 < total)
        above += counts[--b]; /* at most 5 % lie above bin b */
    return b > depth ? b - depth : 0;
}

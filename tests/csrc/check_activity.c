/* The rule of what is active: exactly on kept powers, to a bin on the grid, and the same after any gain. */
#include "activity.h"

#include <stdio.h>

#define CHECK(c)                                                                                             \
    if (!(c)) return printf("%s:%d: %s\n", __FILE__, __LINE__, #c), 1

static double from_db(double db) {
    return pow(10.0, db / 10.0);
}

int main(void) {
    /* 100 loud frames, 100 that are 49.9 dB under them, 100 at 50.1, 1000 of dither. */
    static double powers[1300];
    for (int gain = 0; gain >= -20; gain -= 10) {
        aur_activity_grid grid = {0};
        static uint32_t counts[AUR_ACTIVITY_BINS];
        memset(counts, 0, sizeof counts);
        for (int i = 0; i < 1300; i++) {
            powers[i] = from_db((i < 100 ? -10.0 : i < 200 ? -59.9 : i < 300 ? -60.1 : -96.0) + gain);
            const int bin = aur_activity_bin(&grid, powers[i]);
            if (bin >= 0) counts[bin]++;
        }
        const double gate = aur_power_db(aur_activity_gate(powers, 1300));
        CHECK(fabs(gate - fmax(-60.0 + gain, -80.0)) < 1e-9);
        const int first = aur_activity_first(counts);
        const double edge = grid.low + (double)first / AUR_ACTIVITY_STEPS_PER_DB;
        CHECK(fabs(edge - fmax(-60.0 + gain, grid.low)) < 0.011);
    }
    /* A gain moves every frame by whole coarse bins, whatever it is. */
    for (double gain = -0.003; gain > -12.0; gain *= 1.7) {
        aur_activity_grid plain = {0}, softer = {0};
        const int moved = aur_activity_bin(&plain, 0.1) - aur_activity_bin(&softer, 0.1 * from_db(gain));
        CHECK(moved % AUR_ACTIVITY_COARSE == 0);
        for (double level = -60.0; level < 0.0; level += 0.0037) {
            const int a = aur_activity_bin(&plain, from_db(level));
            CHECK(a - aur_activity_bin(&softer, from_db(level + gain)) == moved);
        }
    }
    aur_activity_grid grid = {0};
    CHECK(aur_activity_bin(&grid, 0.0) == -1 && aur_activity_bin(&grid, NAN) == -1 && !grid.begun);
    CHECK(aur_activity_bin(&grid, 1e-30) == -1 && grid.begun);
    CHECK(aur_activity_bin(&grid, 1e30) == AUR_ACTIVITY_BINS - 1);
    CHECK(aur_activity_gate(powers, 0) == AUR_ACTIVITY_FLOOR);
    powers[0] = 1e-12;
    CHECK(aur_activity_gate(powers, 1) == AUR_ACTIVITY_FLOOR);
    static uint32_t none[AUR_ACTIVITY_BINS];
    CHECK(aur_activity_first(none) == AUR_ACTIVITY_BINS);
    return 0;
}

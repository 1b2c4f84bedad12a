/*
 * kaiser.h: the sinc under a Kaiser window, of which interpolators are made. Used when a kernel is created,
 * never while it processes.
 */
#ifndef AUR_KAISER_H
#define AUR_KAISER_H

#include "common.h"

/* Modified Bessel function of the first kind, order 0, by its power series. */
static inline double aur_bessel_i0(double x) {
    double term = 1.0, sum = 1.0;
    for (int k = 1; term > 1e-17 * sum; k++) {
        term *= (x / (2.0 * k)) * (x / (2.0 * k));
        sum += term;
    }
    return sum;
}

/* At t != 0 frames from the middle, |t| < half; beta sets how far down the stop band lies. */
static inline double aur_kaiser_sinc(double t, double half, double beta) {
    const double r = t / half;
    return sin(AUR_PI * t) / (AUR_PI * t) * aur_bessel_i0(beta * sqrt(1.0 - r * r)) / aur_bessel_i0(beta);
}

#endif

/*
 * common.h: what every kernel shares. Status codes, decibels, clamping, and flush-to-zero scoped
 * to one call. No state lives here.
 *
 * Conventions of the whole library
 *   samples       float32, full scale 1.0, planar: const float *const *in, one pointer a channel
 *   lengths       size_t frames (one sample of every channel)
 *   state         one allocation made by aur_x_create and freed by aur_x_destroy (NULL is allowed);
 *                 aur_x_process never allocates, never fails, takes any length >= 0
 *   threads       one state, one thread at a time; different states are independent
 *   aliasing      in and out must not overlap unless the function says so
 */
#ifndef AUR_COMMON_H
#define AUR_COMMON_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

typedef enum {
    AUR_OK = 0,
    AUR_EINVAL = 1, /* an argument is outside its documented range */
    AUR_ENOMEM = 2
} aur_status;

#define AUR_PI 3.14159265358979323846
#define AUR_MAX_CHANNELS 8u

static inline double aur_clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

/* Amplitude ratio <-> dB. aur_db(0) is -infinity: callers that need a floor clamp it. */
static inline double aur_db(double amplitude) {
    return 20.0 * log10(amplitude);
}
static inline double aur_power_db(double power) {
    return 10.0 * log10(power);
}
static inline double aur_from_db(double db) {
    return pow(10.0, db / 20.0);
}

/* Copies, with 0 for every sample that is not finite. Integer arithmetic: all other bits survive,
 * denormals and the sign of zero included. The ranges must not overlap. */
static inline void aur_copy_finite(const float *in, float *out, size_t frames) {
    for (size_t i = 0; i < frames; i++) {
        uint32_t bits;
        memcpy(&bits, &in[i], sizeof bits);
        bits = (bits & 0x7f800000u) == 0x7f800000u ? 0u : bits;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

/*
 * Denormals slow recursive filters down a hundredfold while a track fades out. These two bracket a
 * process call; the caller's floating-point environment comes back as it was, because Python
 * relies on gradual underflow.
 */
typedef uint64_t aur_fpenv;

static inline aur_fpenv aur_flush_denormals(void) {
#if defined(__SSE2__)
    unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | 0x8040u); /* FTZ and DAZ */
    return saved;
#elif defined(__aarch64__)
    uint64_t saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"(saved | (1ull << 24)));
    return saved;
#else
    return 0;
#endif
}

static inline void aur_restore_denormals(aur_fpenv saved) {
#if defined(__SSE2__)
    _mm_setcsr((unsigned)saved);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(saved));
#else
    (void)saved;
#endif
}

#endif

/*
 * snapshot.h: the state of a kernel as bytes, and back.
 *
 * A kernel that can be parked has one function, aur_x_snapshot(state, walk), which names every value that
 * processing changes, always in the same order. One walk counts the bytes, one writes them and one reads
 * them, so the three cannot disagree. What create() derives from its parameters is not among them: bytes
 * are read into a state made with the same parameters, of which the walk must not change its course.
 *
 * Reading trusts nothing. After a walk past the end, an index over its limit or a number out of its range
 * `ok` is 0, and the state may only be destroyed. Bytes are in the order of the machine.
 */
#ifndef AUR_SNAPSHOT_H
#define AUR_SNAPSHOT_H

#include "common.h"

#include <float.h>

typedef enum { AUR_WALK_COUNT = 0, AUR_WALK_WRITE = 1, AUR_WALK_READ = 2 } aur_walk_mode;

typedef struct {
    aur_walk_mode mode;
    int ok;
    size_t bytes;              /* walked so far */
    size_t size;               /* of the buffer, unless counting */
    unsigned char *into;       /* AUR_WALK_WRITE */
    const unsigned char *from; /* AUR_WALK_READ */
} aur_walk;

/* Bytes of any meaning; every pattern must be harmless. */
static inline void aur_walk_bytes(aur_walk *w, void *value, size_t bytes) {
    if (w->mode != AUR_WALK_COUNT) {
        w->ok &= bytes <= w->size - w->bytes;
        if (!w->ok) return;
        if (w->mode == AUR_WALK_WRITE)
            memcpy(w->into + w->bytes, value, bytes);
        else
            memcpy(value, w->from + w->bytes, bytes);
    }
    w->bytes += bytes;
}

/* A place in a ring or a buffer: 0 .. end - 1. */
static inline void aur_walk_index(aur_walk *w, size_t *value, size_t end) {
    uint64_t wide = *value;
    aur_walk_bytes(w, &wide, sizeof wide);
    w->ok &= wide < end;
    *value = w->ok ? (size_t)wide : 0;
}

/* Numbers in low .. high, NaN excluded. */
#define AUR_WALK_NUMBERS(name, number)                                                                       \
    static inline void name(aur_walk *w, number *x, size_t n, number low, number high) {                     \
        aur_walk_bytes(w, x, n * sizeof *x);                                                                 \
        int inside = 1;                                                                                      \
        for (size_t i = 0; w->mode == AUR_WALK_READ && w->ok && i < n; i++)                                  \
            inside &= (x[i] >= low) & (x[i] <= high);                                                        \
        w->ok &= inside;                                                                                     \
    }
AUR_WALK_NUMBERS(aur_walk_floats, float)
AUR_WALK_NUMBERS(aur_walk_doubles, double)
AUR_WALK_NUMBERS(aur_walk_integers, int64_t)
#undef AUR_WALK_NUMBERS

/* Samples: any finite number. */
static inline void aur_walk_samples(aur_walk *w, float *x, size_t n) {
    aur_walk_floats(w, x, n, -FLT_MAX, FLT_MAX);
}

#endif

/*
 * framing.h: one signal cut into batches of overlapping frames. Samples are collected until a whole
 * batch is there; the frames it shares with the next one stay. Grids lie on the absolute sample index,
 * so results do not depend on how the input was cut.
 *
 * The caller owns the samples: (batch - 1) * hop + window floats.
 */
#ifndef AUR_FRAMING_H
#define AUR_FRAMING_H

#include "common.h"

#include <string.h>

typedef struct {
    size_t window, hop, batch; /* samples, samples, frames */
} aur_framing;

static inline size_t aur_framing_span(const aur_framing *f) {
    return (f->batch - 1) * f->hop + f->window;
}

/* Takes samples until they run out or a batch is full; returns whether it is. */
static inline int aur_framing_take(const aur_framing *f, float *samples, size_t *filled, const float **in,
                                   size_t *frames) {
    const size_t room = aur_framing_span(f) - *filled, n = *frames < room ? *frames : room;
    memcpy(samples + *filled, *in, n * sizeof(float));
    *filled += n;
    *in += n;
    *frames -= n;
    return *filled == aur_framing_span(f);
}

/* After a full batch: keeps what the next one begins with. */
static inline void aur_framing_advance(const aur_framing *f, float *samples, size_t *filled) {
    *filled -= f->batch * f->hop;
    memmove(samples, samples + f->batch * f->hop, *filled * sizeof(float));
}

/* At the end: silence behind what is there; returns how many whole frames that was. */
static inline size_t aur_framing_end(const aur_framing *f, float *samples, size_t filled) {
    memset(samples + filled, 0, (aur_framing_span(f) - filled) * sizeof(float));
    return filled < f->window ? 0 : (filled - f->window) / f->hop + 1;
}

#endif

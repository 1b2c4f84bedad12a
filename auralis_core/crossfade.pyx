"""Crossfade laws over float32 (channels, frames) arrays. The arithmetic is ``csrc/crossfade.c``."""

import numpy as np

from auralis_core.csrc cimport (
    AUR_FADE_CORRELATION,
    AUR_FADE_EQUAL_GAIN,
    AUR_FADE_EQUAL_POWER,
    AUR_MAX_CHANNELS,
    aur_crossfade,
    aur_crossfade_correlation,
    aur_fade_law,
)

_LAWS = {
    "equal_gain": AUR_FADE_EQUAL_GAIN,
    "equal_power": AUR_FADE_EQUAL_POWER,
    "correlation": AUR_FADE_CORRELATION,
}


def crossfade(const float[:, ::1] a not None, const float[:, ::1] b not None, law="equal_gain",
              start=0, length=None, r=None):
    """Fade from `a` to `b`.

    Parameters
    ----------
    a, b : float32 array (channels, frames)
        Two signals of one shape, aligned in time.
    law : {"equal_gain", "equal_power", "correlation"}
        Equal gain for one programme through two chains (never louder than either); equal power and
        correlation-aware for different material (up to +3 dB: a limiter belongs after them).
    start : int
        Which frame of the fade the arrays begin at; lets a fade be computed in pieces.
    length : int, optional
        Frames of the whole fade; by default the fade is as long as the arrays. Frames past it are `b`.
    r : float, optional
        Correlation the law "correlation" goes by, 0 to 1; by default that of these arrays. A fade
        computed in pieces needs one value for all of them.

    Returns
    -------
    float32 array (channels, frames)

    Raises
    ------
    ValueError
        The shapes differ, the law is unknown, `start` or `length` is negative, or `r` is outside 0…1.
    """
    if law not in _LAWS:
        raise ValueError(f"law must be one of {sorted(_LAWS)}, got {law!r}")
    if a.shape[0] != b.shape[0] or a.shape[1] != b.shape[1]:
        raise ValueError("a and b differ in shape: "
                         f"{a.shape[0], a.shape[1]} and {b.shape[0], b.shape[1]}")
    if not 1 <= a.shape[0] <= AUR_MAX_CHANNELS:
        raise ValueError(f"a and b must have 1 to {AUR_MAX_CHANNELS} channels, got {a.shape[0]}")
    if start < 0 or (length is not None and length < 0):
        raise ValueError("start and length must not be negative")
    if r is not None and not 0.0 <= r <= 1.0:
        raise ValueError(f"r must be in 0…1, got {r}")
    y = np.empty((a.shape[0], a.shape[1]), np.float32)
    cdef float[:, ::1] out = y
    cdef unsigned channels = a.shape[0]
    cdef size_t frames = a.shape[1], first = start, total = frames if length is None else length
    cdef aur_fade_law code = _LAWS[law]
    cdef const float *pa[AUR_MAX_CHANNELS]
    cdef const float *pb[AUR_MAX_CHANNELS]
    cdef float *po[AUR_MAX_CHANNELS]
    cdef unsigned c
    cdef bint measured = r is None
    cdef double overlap = 0.0 if r is None else r
    if frames == 0:
        return y
    for c in range(channels):
        pa[c], pb[c], po[c] = &a[c, 0], &b[c, 0], &out[c, 0]
    with nogil:
        if measured and code == AUR_FADE_CORRELATION:
            overlap = aur_crossfade_correlation(pa, pb, channels, frames)
        aur_crossfade(code, overlap, pa, pb, po, channels, first, frames, total)
    return y


def correlation(const float[:, ::1] a not None, const float[:, ::1] b not None):
    """How alike two signals are, over all channels and frames.

    Parameters
    ----------
    a, b : float32 array (channels, frames)
        Two signals of one shape.

    Returns
    -------
    float
        0 to 1; 0 for opposite signals too, and when either is silent.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if a.shape[0] != b.shape[0] or a.shape[1] != b.shape[1]:
        raise ValueError("a and b differ in shape: "
                         f"{a.shape[0], a.shape[1]} and {b.shape[0], b.shape[1]}")
    if not 1 <= a.shape[0] <= AUR_MAX_CHANNELS:
        raise ValueError(f"a and b must have 1 to {AUR_MAX_CHANNELS} channels, got {a.shape[0]}")
    cdef unsigned channels = a.shape[0]
    cdef size_t frames = a.shape[1]
    cdef const float *pa[AUR_MAX_CHANNELS]
    cdef const float *pb[AUR_MAX_CHANNELS]
    cdef unsigned c
    cdef double r
    if frames == 0:
        return 0.0
    for c in range(channels):
        pa[c], pb[c] = &a[c, 0], &b[c, 0]
    with nogil:
        r = aur_crossfade_correlation(pa, pb, channels, frames)
    return r

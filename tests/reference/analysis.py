"""Front end shared by the oracles: what every feature but loudness and peaks is measured on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Array = NDArray[np.float64]


def high_passed(x: NDArray[np.float32], sample_rate: int) -> Array:
    """x after the one-pole 5 Hz high-pass, float64 (2, frames); mono becomes two equal channels.

    It begins with the first sound, at rest at its offset, so that DC is silent from the start.
    """
    pole = np.exp(-2 * np.pi * 5 / sample_rate)
    stereo = np.repeat(x[:1], 2, axis=0) if len(x) == 1 else x[:2]
    stereo = stereo[:, lead(stereo) :].astype(np.float64)
    return lfilter([1, -1], [1, -pole], stereo - stereo[:, :1], axis=1)


def lead(x: NDArray[np.float32]) -> int:
    """Frames of digital silence in front."""
    sound = np.flatnonzero(np.any(x != 0, axis=0))
    return int(sound[0]) if len(sound) else x.shape[1]


def frames_of(x: Array, length: int, hop: int) -> Array:
    """Whole frames (count, length) of a signal; a signal shorter than one is padded to one."""
    if len(x) < length:
        x = np.pad(x, (0, length - len(x)))
    count = (len(x) - length) // hop + 1
    return x[np.arange(count)[:, None] * hop + np.arange(length)]


def active(power: Array) -> NDArray[np.bool_]:
    """Frames above −80 dBFS and above P − 50 dB, P the 95th percentile of those above −80 dBFS and within
    50 dB of the loudest."""
    level = 10 * np.log10(np.maximum(power, 1e-30))
    loud = np.sort(level[level > max(-80, level.max() - 50)])
    if len(loud) == 0:
        return np.zeros(len(power), bool)
    percentile = loud[max(0, len(loud) - int(np.ceil(len(loud) / 20)))]
    return (level > -80) & (level > percentile - 50)

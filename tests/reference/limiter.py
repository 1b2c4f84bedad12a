"""The limiter's gain law on a given peak envelope, by definition instead of by recurrence."""

from functools import cache

import numpy as np
from scipy.ndimage import minimum_filter1d
from scipy.signal import firwin, oaconvolve


def gain(envelope, ceiling, sample_rate):
    """Gain after release and boxes; entry i belongs to the frame the kernel puts out with envelope i."""
    box = int(0.001 * sample_rate + 0.5)
    window = 3 * box - 2 + 6
    need = np.minimum(0.0, np.log2(ceiling) - np.log2(np.maximum(envelope, 1e-30)))
    # Minimum over this and the window - 1 entries before it.
    held = minimum_filter1d(need, window, origin=(window - 1) // 2, mode="constant", cval=0.0)
    release = 1.0 - np.exp(-1.0 / (0.080 * sample_rate))
    level, out = 0.0, np.empty_like(held)
    for i, m in enumerate(held):
        level = level + release * (m - level) if m - level > 1e-6 else m
        out[i] = 2.0**level
    for _ in range(3):
        padded = np.concatenate([np.ones(box - 1), out])
        out = np.convolve(padded, np.ones(box) / box, mode="valid")
    return out


@cache
def _phases(factor, half, beta):
    """Taps of each of the `factor` positions between two samples, (factor, 2 half + 1)."""
    taps = factor * firwin(2 * factor * half + 1, 1.0 / factor, window=("kaiser", beta))
    return np.pad(taps, (0, factor - 1)).reshape(-1, factor).T


def true_peak_dbtp(x, factor=16, half=32, beta=9.0):
    """A 16x meter that shares nothing with the product: polyphase resampling, 2 x half taps a phase."""
    inside = slice(half, half + x.shape[1])  # where the taps are centred on a frame of x
    peak = max(
        np.abs(oaconvolve(channel[None], _phases(factor, half, beta), axes=1)[:, inside]).max()
        for channel in x.astype(float)
    )
    return 20.0 * np.log10(max(peak, 1e-12))


def long_true_peak_dbtp(x):
    """256 taps a phase: flat to .49 of the sample rate."""
    return true_peak_dbtp(x, half=128, beta=6.0)

"""Oracle of the spectral kernel: scipy.fft in float64, one frame after the other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from reference.analysis import Array, active, frames_of, high_passed

BANDS_HZ = (20, 60, 250, 500, 2000, 4000, 6000, 20000)


def frame_length(sample_rate: float) -> int:
    """Power of two nearest to 2048 samples at 44.1 kHz."""
    return int(2 ** np.round(np.log2(2048 * sample_rate / 44100)))


def spectra(x: NDArray[np.float32], sample_rate: int) -> tuple[Array, Array]:
    """(|L|² + |R|², |M|), both (frames, bins)."""
    length = frame_length(sample_rate)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    left, right = (
        scipy.fft.rfft(frames_of(c, length, length // 4) * window) for c in high_passed(x, sample_rate)
    )
    return np.abs(left) ** 2 + np.abs(right) ** 2, np.abs((left + right) / 2)


def frame_power(energy: Array, sample_rate: int) -> Array:
    """Mean square of a channel in each frame, by Parseval."""
    length = frame_length(sample_rate)
    squares = 3 / 8 * length  # sum of the squared periodic Hann window
    weight = np.full(energy.shape[1], 1.0)
    weight[0], weight[-1] = 0.0, 0.5
    return energy @ weight * 2 / (length * squares) / 2


def band_sum(energy: Array, low: float, high: float, sample_rate: int) -> Array:
    """Energy between two frequencies, edge bins split linearly; bin k reaches half a bin to each side."""
    width = sample_rate / frame_length(sample_rate)
    edges = (np.arange(energy.shape[1] + 1) - 0.5) * width
    overlap = np.minimum(edges[1:], min(high, sample_rate / 2)) - np.maximum(edges[:-1], low)
    return energy @ np.clip(overlap / width, 0, 1)


def spectral(x: NDArray[np.float32], sample_rate: int) -> dict[str, float | list[float]]:
    """Bands, centroid, rolloff and flatness by their definitions."""
    energy, magnitude = spectra(x, sample_rate)
    keep = active(frame_power(energy, sample_rate))
    energy, magnitude = energy[keep], magnitude[keep]
    frequency = np.arange(energy.shape[1]) * sample_rate / frame_length(sample_rate)
    bands = [band_sum(energy, low, high, sample_rate).sum() for low, high in pairwise(BANDS_HZ)]
    centroid = (magnitude @ frequency) / magnitude.sum(axis=1)
    cumulated = np.cumsum(magnitude, axis=1)
    rolloff = frequency[(cumulated < 0.85 * cumulated[:, -1:]).sum(axis=1)]
    inside = (frequency >= 50) & (frequency <= 16000)
    power = magnitude[:, inside] ** 2
    power = np.maximum(power, power.max(axis=1, keepdims=True) * 1e-10)
    flatness = np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)
    return {
        "bands": [b / sum(bands) for b in bands],
        "spectral_centroid": min(float(np.mean(centroid)) / 8000, 1.0),
        "spectral_rolloff": min(float(np.mean(rolloff)) / 10000, 1.0),
        "spectral_flatness": float(np.mean(flatness)),
    }

"""Oracle of chroma energy: scipy.fft on long frames, 120 classes of 10 cents, ten tunings."""

from __future__ import annotations

import numpy as np
import scipy.fft
from reference.analysis import Array, frames_of
from reference.pitch import decimated

LENGTH = 2048


def chroma_energy(mono: Array, sample_rate: int) -> float:
    """Energy-weighted mean of (max − 1/12) / (11/12) over frames, at the tuning that stands out most."""
    factor = max(1, int(sample_rate / 11025))
    low = decimated(mono, factor, 0.3)
    rate = sample_rate / factor
    if rate > 10000:
        low, rate = decimated(low, 2, 0.4), rate / 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LENGTH) / LENGTH)
    power = np.abs(scipy.fft.rfft(frames_of(low, LENGTH, LENGTH // 2) * window)) ** 2
    frequency = np.arange(power.shape[1]) * rate / LENGTH
    fine = np.zeros((len(power), 120))
    for k in np.flatnonzero((frequency >= 65) & (frequency <= 2100)):
        place = 120 * (np.log2(frequency[k] / 261.6255653005986) % 1)
        share = place % 1
        fine[:, int(place) % 120] += (1 - share) * power[:, k]
        fine[:, (int(place) + 1) % 120] += share * power[:, k]
    energy = fine.sum(axis=1)
    best = 0.0
    for grid in range(10):
        chroma = np.roll(fine, 10 - grid, axis=1).reshape(len(fine), 12, 10).sum(axis=2)
        best = max(best, ((chroma.max(axis=1) - energy / 12) / (11 / 12)).sum())
    return float(best / energy.sum())

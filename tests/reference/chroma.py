"""Oracle of chroma energy: scipy.fft on long frames, 120 classes of 10 cents, ten tunings."""

from __future__ import annotations

import numpy as np
import scipy.fft
from reference.analysis import Array, frames_of
from reference.pitch import decimated

LENGTH = 4096


def chroma(mono: Array, sample_rate: int) -> tuple[float, Array]:
    """Energy-weighted mean of (max − 1/12) / (11/12), and the mean chroma (C first), at the best tuning."""
    factor = max(1, int(sample_rate / 11025))
    low = decimated(mono, factor, 0.3)
    rate = sample_rate / factor
    if rate > 10000:
        low, rate = decimated(low, 2, 0.4), rate / 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LENGTH) / LENGTH)
    power = np.abs(scipy.fft.rfft(frames_of(low, LENGTH, LENGTH // 4) * window)) ** 2
    frequency = np.arange(power.shape[1]) * rate / LENGTH
    fine = np.zeros((len(power), 120))
    for k in np.flatnonzero((frequency >= 65) & (frequency <= 2100)):
        place = 120 * (np.log2(frequency[k] / 261.6255653005986) % 1)
        share = place % 1
        fine[:, int(place) % 120] += (1 - share) * power[:, k]
        fine[:, (int(place) + 1) % 120] += share * power[:, k]
    energy = fine.sum(axis=1)
    best, classes = -1.0, np.zeros(12)
    for grid in range(10):
        folded = np.roll(fine, 10 - grid, axis=1).reshape(len(fine), 12, 10).sum(axis=2)
        standing_out = ((folded.max(axis=1) - energy / 12) / (11 / 12)).sum()
        if standing_out > best:
            best, classes = standing_out, folded.sum(axis=0)
    return float(best / energy.sum()), classes / energy.sum()


def chroma_energy(mono: Array, sample_rate: int) -> float:
    """The dimension alone."""
    return chroma(mono, sample_rate)[0]

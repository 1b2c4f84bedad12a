"""What a fingerprint's histogram of |x| says: how high peaks stand, what held them, what gains do to crest.

What is done about it is restoration.py's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .schema import HISTOGRAM_BINS, Fingerprint

#: Heights |x| / sample peak that the gains of a curve are given at, closer towards the top: ``csrc/curve.h``.
NODES = 129
HEIGHTS = 1.0 - np.linspace(1.0, 0.0, NODES) ** 2
#: How music's tail goes on: the heights that one sample in 100, one in 10,000 and none lie above stand in
#: these ratios, give or take (natural logarithms).
TAILS, TAIL_RATIOS, TAIL_SPREADS = (1e-2, 1e-4), (0.54, 0.26), (0.065, 0.2)
#: Where a limiter held the peaks: the level that this share of the samples lies above, the lossy encoder's
#: overshoots among them; the share above the first of these parts of it that any music has; and the share
#: above the second by that above the third where peaks are pointed, and where they were cut off.
HELD_QUANTILE, HELD_PARTS, NATURAL_SHARE = 1e-4, (0.97, 0.9, 0.8), 2.4e-4
POINTED_HEAP, CLIPPED_HEAP = 0.39, 0.47
#: Where nothing tells the mean rise; the largest; and bounds of what the density does to the hazard.
USUAL_RISE, MAX_RISE, STEEPEST = 0.2, 1.0, 1.5
#: Deepest restoring expansion: +12 dB at the sample peak, and no more dB there than this times the dB of
#: crest it is to bring: on a square wave no amount of gain raises the crest.
MAX_DEPTH, MAX_GAIN_PER_DB = 3.0, 2.5


def expansion_gains(depth: float) -> NDArray[np.float64]:
    """Of the restoring expansion, at `HEIGHTS`."""
    gains: NDArray[np.float64] = 1.0 + depth * HEIGHTS**4
    return gains


def decibels(ratio: float) -> float:
    return 20.0 * math.log10(ratio)


class Amplitudes:
    """What gains by height do to a track's crest, predicted from its fingerprint.

    They have no memory, so the histogram of |x| says exactly what they do to the power of the whole track.
    Block peaks are taken as normally distributed in dB about the mean that follows from power and crest, as
    wide as `peak_consistency` says, and cut off at the sample peak. Over squashed music the predicted change
    is within 0.7 dB of the real one up to +5 dB.
    """

    _Z = np.linspace(-2.2, 2.2, 23)
    _WEIGHT = np.exp(-0.5 * _Z * _Z) / np.exp(-0.5 * _Z * _Z).sum()

    def __init__(self, fingerprint: Fingerprint) -> None:
        self.top = max(10.0 ** (fingerprint.extras["sample_peak_dbfs"] / 20.0), 1e-3)
        counts = fingerprint.amplitude_histogram.astype(np.float64)
        self._count = float(counts.sum())
        self._share = counts / max(self._count, 1.0)
        self._level = (np.arange(HISTOGRAM_BINS) + 0.5) / HISTOGRAM_BINS
        self._power = float(self._share @ self._level**2)
        # Heights that the rarest samples lie above, and the top.
        above = np.cumsum(self._share[::-1])
        places = [float(np.interp(share, above, self._level[::-1])) / self.top for share in TAILS]
        self._tail = np.minimum([*places, 1.0], 1.0)
        peak = decibels(self.top)
        mean = min(10.0 * math.log10(max(self._power, 1e-12)) + fingerprint.crest_db, peak)
        width = 3.0 * (1.0 / max(fingerprint["peak_consistency"], 0.05) - 1.0)
        low, high = mean, mean + 10.0 * width  # cutting off lowers the mean, so the centre lies above it
        for _ in range(30):
            centre = 0.5 * (low + high)
            if self._WEIGHT @ np.minimum(centre + width * self._Z, peak) < mean:
                low = centre
            else:
                high = centre
        self._peaks = 10.0 ** (np.minimum(low + width * self._Z, peak) / 20.0)

    def oddity(self, gains: NDArray[np.float64]) -> float:
        """How far from music's the tail of |x| is under these gains: squared deviations."""
        if self._power == 0.0:  # no histogram
            return 0.0
        tail = self._tail * np.interp(self._tail, HEIGHTS, gains)
        off = (np.diff(np.log(tail)) - TAIL_RATIOS) / TAIL_SPREADS
        return float(off @ off)

    def _flat(self) -> int:
        """The step of the histogram that a flat top is in, or would be."""
        return min(max(int(self.top * HISTOGRAM_BINS * (1.0 - 1.0 / 4096.0)), 1), HISTOGRAM_BINS - 1)

    def pile_up(self) -> float:
        """How much denser the last 128th of the height is than the one before it; 1 where few samples are."""
        last = self._flat()
        step = last // 128
        under, above = self._share[last - 2 * step : last - step].sum(), self._share[last - step : last].sum()
        return float(above / under) if under * self._count > 100.0 else 1.0

    def rise(self, curve: NDArray[np.float64]) -> float:
        """Mean height over the level of the samples that were cut off, as a part of the level, under a curve.

        Were the tail exponential, it would be the share that was cut off over the density just below; music's
        tails are, near enough. Within 20 % of the truth on clips by 3 to 13 dB.
        """
        if self._power == 0.0:
            return USUAL_RISE
        edges = np.minimum(np.arange(HISTOGRAM_BINS + 1) / HISTOGRAM_BINS / self.top, 1.0)
        heights = edges * np.interp(edges, HEIGHTS, curve) / curve[-1]
        flat = self._flat()

        def density(low: float, high: float) -> float:
            first, last = np.searchsorted(heights[: flat + 1], (low, high))
            wide = float(heights[last - 1] - heights[first])
            return float(self._share[first : last - 1].sum()) / wide if wide > 0.0 else 0.0

        near, far = density(7.0 / 8.0, 1.0), density(6.0 / 8.0, 7.0 / 8.0)
        if near == 0.0 or far == 0.0:
            return USUAL_RISE
        cut = float(self._share[flat:].sum()) - near * (1.0 - float(heights[flat]))
        return min(max(cut, 0.0) / (near * min(math.sqrt(near / far), STEEPEST)), MAX_RISE)

    def peak_to_rmsdecibels(self, gains: NDArray[np.float64]) -> float:
        """Sample peak over rms of the whole track under these gains."""
        return decibels(self.top * float(gains[-1])) - 10.0 * math.log10(max(self._power_under(gains), 1e-12))

    def held(self, gains: NDArray[np.float64]) -> tuple[float, float]:
        """Level that peaks were held at, as these gains leave it, and evidence that a limiter did.

        The evidence is how much more of the samples than in any music lies just under that level or above it.
        """
        level = self._level * np.interp(self._level / self.top, HEIGHTS, gains)
        above = np.cumsum(self._share[::-1])[::-1]
        held = max(float(level[max(int(np.count_nonzero(above > HELD_QUANTILE)) - 1, 0)]), 1e-6)
        just, near, far = (float(self._share[level > part * held].sum()) for part in HELD_PARTS)
        # A limiter lets a peak keep its shape; clipping stays long at the top, blurred by an encoder too.
        pointed = (CLIPPED_HEAP - near / max(far, 1e-12)) / (CLIPPED_HEAP - POINTED_HEAP)
        return held, max(just - NATURAL_SHARE, 0.0) * min(max(pointed, 0.0), 1.0)

    def changedecibels(self, gains: NDArray[np.float64]) -> float:
        """Crest under these gains less the crest without."""
        if self._power == 0.0:
            return 0.0
        peaks = float(self._WEIGHT @ (20.0 * np.log10(np.interp(self._peaks / self.top, HEIGHTS, gains))))
        return peaks - 10.0 * math.log10(self._power_under(gains) / self._power)

    def depth_for(self, raise_db: float, curve: NDArray[np.float64]) -> tuple[float, float]:
        """The depth that raises the crest by `raise_db` over the curve's, and what it falls short by."""
        bound = min(MAX_DEPTH, 10.0 ** (MAX_GAIN_PER_DB * raise_db / 20.0) - 1.0)
        start = self.changedecibels(curve)

        def reached(depth: float) -> float:
            return self.changedecibels(curve * expansion_gains(depth)) - start

        if (most := reached(bound)) < raise_db:
            return bound, raise_db - most
        low, high = 0.0, bound
        for _ in range(30):
            middle = 0.5 * (low + high)
            if reached(middle) < raise_db:
                low = middle
            else:
                high = middle
        return high, 0.0

    def _power_under(self, gains: NDArray[np.float64]) -> float:
        gain = np.interp(self._level / self.top, HEIGHTS, gains)
        return float(self._share @ (self._level * gain) ** 2)

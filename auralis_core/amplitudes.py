"""What a fingerprint's histogram of |x| says: how high peaks stand, what held them, what gains do to crest.

What is done about it is restoration.py's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

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
#: From this part of the level a sample is in a flat top that nothing made uneven.
EDGE = 1.0 - 1.0 / 4096.0
#: Flat tops that a resampler or a lossy codec made uneven are a heap in the histogram: its widths in steps,
#: how many times what goes on from under it; widths of narrow ones, and how many times that times the width;
#: the least share of the samples over it; and where to look: from 85 % of the level this share lies above.
HEAP_WIDTHS, HEAP_RATIO = (8, 16, 32, 64), 1.45
NARROW_WIDTHS, NARROW_RATIO = (4, 2), 12.0
HEAP_SHARE, HEAP_QUANTILE = 3e-5, 1e-3
#: No master's samples exceed full scale: where they do, a lossy codec or a resampler overshot the level that
#: the track was mastered to, and that level is near the one that this share of them lies above.
OVERSHOT, OVERSHOT_QUANTILE = 1.01, 3e-4
#: How many widths of a heap under its middle clipped samples may lie.
HEAP_REACH = 2.5
#: How many widths over its middle the sample peak lies at least: what makes a top uneven overshoots it.
HEAP_OVERSHOT = 1.5
#: Flat tops with a ripple that is no heap: they are looked for from this part of the sample peak on; a step
#: of them holds so many times what each of the four under it does; over one of these widths what is under
#: them is so much denser than what is under that (resampled clips 2 to 57, limiters up to 1.65, by at least
#: so many samples); the ripple ends where three steps are less than this many times as dense as what lies so
#: many steps under the tops.
RIPPLED_PART, FLAT_RATIO = 0.99, 5.0
RIPPLE_WIDTHS, RIPPLE_RATIO, RIPPLE_COUNT = (8, 16, 32), 2.0, 50.0
RIPPLE_DENSITY, RIPPLE_BASE = 1.6, (64, 192)
#: Blur of flat tops that show a ripple by its overshoots alone.
SLIGHT_BLUR = 2.0 / HISTOGRAM_BINS
#: How many times the samples of a heap those over it may be: overshoots are not many more than flat tops.
MOST_OVERSHOOTS = 2.0
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


class Heap(NamedTuple):
    """Samples piled up: around a level, by a part of it under it, a share of all, times what to expect."""

    level: float
    blur: float
    share: float
    ratio: float


class Amplitudes:
    """What gains by height do to a track's crest, predicted from its fingerprint.

    They have no memory, so the histogram of |x| says exactly what they do to the power of the whole track.
    Block peaks are taken as normally distributed in dB about the mean that follows from power and crest, as
    wide as `peak_consistency` says, and cut off at the sample peak. Over squashed music the predicted change
    is within 0.7 dB of the real one up to +5 dB.
    """

    _Z = np.linspace(-2.2, 2.2, 23)
    _WEIGHT = np.exp(-0.5 * _Z * _Z) / np.exp(-0.5 * _Z * _Z).sum()

    def __init__(self, fingerprint: Fingerprint, top: float | None = None) -> None:
        """Heights are parts of `top`: a level given, or the sample peak where no codec overshot it."""
        counts = fingerprint.amplitude_histogram.astype(np.float64)
        self._count = float(counts.sum())
        self._share = counts / max(self._count, 1.0)
        self._level = (np.arange(HISTOGRAM_BINS) + 0.5) / HISTOGRAM_BINS
        self.peak = max(10.0 ** (fingerprint.extras["sample_peak_dbfs"] / 20.0), 1e-3)
        self.top = self.peak if top is None else top
        self.overshot = self.peak > OVERSHOT
        if top is None and self.overshot and self._count > 0.0:
            self.top = (np.count_nonzero(self._above() > OVERSHOT_QUANTILE) or 1) / HISTOGRAM_BINS
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

    def _above(self) -> NDArray[np.float64]:
        """Share of the samples in each step or over it."""
        above: NDArray[np.float64] = np.cumsum(self._share[::-1])[::-1]
        return above

    def oddity(self, gains: NDArray[np.float64]) -> float:
        """How far from music's the tail of |x| is under these gains: squared deviations."""
        if self._power == 0.0:  # no histogram
            return 0.0
        tail = self._tail * np.interp(self._tail, HEIGHTS, gains)
        off = (np.diff(np.log(tail)) - TAIL_RATIOS) / TAIL_SPREADS
        return float(off @ off)

    def _step(self, part: float) -> int:
        """The step of the histogram that this part of the top is in."""
        return min(max(int(self.top * HISTOGRAM_BINS * part), 1), HISTOGRAM_BINS - 1)

    def heap(self) -> Heap | None:
        """The steepest heap of samples under the sample peak, a narrow one where there is no wide one."""
        if self._power == 0.0:
            return None
        below = np.concatenate([[0.0], np.cumsum(self._share)])  # share under each edge
        lowest = 0.85 * float(np.searchsorted(below, 1.0 - HEAP_QUANTILE))

        def steepest(width: int, least: float) -> Heap | None:
            low = np.arange(max(int(lowest), 4 * width), HISTOGRAM_BINS - width)
            if low.size == 0:
                return None
            inside = below[low + width] - below[low]
            under = (below[low - width // 2] - below[low - 7 * width // 2]) / 3.0
            ratio = np.where(inside - under > HEAP_SHARE, inside / np.maximum(under, 1e-5), 0.0)
            k = int(ratio.argmax())
            level = (float(low[k]) + width / 2) / HISTOGRAM_BINS
            if ratio[k] < least or self.peak < level + HEAP_OVERSHOT * width / HISTOGRAM_BINS:
                return None
            share = float(inside[k] - under[k])
            if 1.0 - below[min(low[k] + 2 * width, HISTOGRAM_BINS)] > MOST_OVERSHOOTS * share:
                return None
            reach = HEAP_REACH * width / HISTOGRAM_BINS
            return Heap(level, reach / level, share, float(ratio[k]))

        wide = [heap for width in HEAP_WIDTHS if (heap := steepest(width, HEAP_RATIO))]
        narrow = [heap for width in NARROW_WIDTHS if (heap := steepest(width, NARROW_RATIO / width))]
        return max(wide or narrow, key=lambda heap: heap.ratio, default=None)

    def rippled(self, even: bool) -> Heap | None:
        """Flat tops in one step at the sample peak or just under it that something rippled.

        What overshot full scale may have been cut off again, and then only what is under the tops tells of
        it; where `even` tops were counted, overshoots do as well.
        """
        if self._power == 0.0:
            return None
        first = min(int(RIPPLED_PART * self.peak * HISTOGRAM_BINS), HISTOGRAM_BINS - 1)
        flat = first + int(self._share[first:].argmax())
        if flat < RIPPLE_BASE[1]:
            return None
        level, share = (flat + 1) / HISTOGRAM_BINS, float(self._share[flat])
        under = self._share[flat - RIPPLE_BASE[1] : flat][::-1]
        if share < max(HEAP_SHARE, FLAT_RATIO * float(under[:4].mean())):
            return None
        pairs = [(float(under[:n].sum()), float(under[n : 2 * n].sum())) for n in RIPPLE_WIDTHS]
        ratio = max((near / far for near, far in pairs if far * self._count > RIPPLE_COUNT), default=0.0)
        if ratio >= RIPPLE_RATIO:
            base = RIPPLE_DENSITY * float(under[RIPPLE_BASE[0] :].mean())
            dense = np.append(np.convolve(under, np.ones(3) / 3.0, "valid") > base, False)
            return Heap(level, (int(dense.argmin()) + 2) / HISTOGRAM_BINS / level, share, ratio)
        return Heap(level, SLIGHT_BLUR, share, ratio) if even and self.peak * EDGE > level else None

    def pile_up(self) -> float:
        """How much denser it is just under the top than further down; 1 where few samples are.

        Over the 1 % under the highest 512th, where a ripple of flat tops lies, by the 4 % under those.
        """
        last = self._step(EDGE)
        step = max(last // 512, 1)
        under = self._share[max(last - 24 * step, 0) : last - step][::-1]
        near, far = under[: 5 * step], under[5 * step :]
        return float(near.mean() / far.mean()) if far.sum() * self._count > 100.0 else 1.0

    def rise(self, curve: NDArray[np.float64], blur: float = 0.0) -> float:
        """Mean height over the top of the samples that were cut off there, as a part of it, under a curve.

        `blur` is by which part of the top they may lie under it.

        Were the tail exponential, it would be the share that was cut off over the density just below; music's
        tails are, near enough. Within 20 % of the truth on clips by 3 to 13 dB.
        """
        if self._power == 0.0:
            return USUAL_RISE
        edges = np.minimum(np.arange(HISTOGRAM_BINS + 1) / HISTOGRAM_BINS / self.top, 1.0)
        heights = edges * np.interp(edges, HEIGHTS, curve) / curve[-1]
        flat = self._step(min(EDGE, 1.0 - blur))
        edge = float(heights[flat])

        def density(low: float, high: float) -> float:
            first, last = np.searchsorted(heights[: flat + 1], (low, high))
            wide = float(heights[last - 1] - heights[first])
            return float(self._share[first : last - 1].sum()) / wide if wide > 0.0 else 0.0

        near, far = density(edge - 1.0 / 8.0, edge), density(edge - 2.0 / 8.0, edge - 1.0 / 8.0)
        if near == 0.0 or far == 0.0:
            return USUAL_RISE
        cut = float(self._share[flat:].sum()) - near * (1.0 - edge)
        return min(max(cut, 0.0) / (near * min(math.sqrt(near / far), STEEPEST)), MAX_RISE)

    def peak_to_rmsdecibels(self, gains: NDArray[np.float64]) -> float:
        """Sample peak over rms of the whole track under these gains."""
        return decibels(self.top * float(gains[-1])) - 10.0 * math.log10(max(self._power_under(gains), 1e-12))

    def held(self, gains: NDArray[np.float64]) -> tuple[float, float]:
        """Level that peaks were held at, as these gains leave it, and evidence that a limiter did.

        The evidence is how much more of the samples than in any music lies just under that level or above it.
        """
        level = self._level * np.interp(self._level / self.top, HEIGHTS, gains)
        above = self._above()
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

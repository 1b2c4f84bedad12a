"""What gives a compressed-loud track its dynamics back: evidence in the fingerprint → parameters of tools.

Which tool undoes what is in ``docs/dsp.md``; the samples are touched in ``csrc/curve.c``, ``csrc/declip.c``
and ``csrc/restore.c``. Where a fingerprint lacks the evidence that a tool needs, the next simpler one stands
in and the notes say so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .schema import DETAIL_HEIGHTS, HISTOGRAM_BINS, Fingerprint

#: Heights |x| / sample peak that the gains of a curve are given at, closer towards the top: ``csrc/curve.h``.
NODES = 129
HEIGHTS = 1.0 - np.linspace(1.0, 0.0, NODES) ** 2
#: A sine has a crest of 3 dB, a square of 0, music squashed to the limit 6: anything lower is a test tone.
TONE_CREST_DB = 4.5

#: The slope of a saturating curve is modelled as 1 − b u^p of the height u = |x| / top: these p, and b up to
#: .9999, closer towards 1: the last .001 is worth 3 dB at the top.
EXPONENTS, FLATTENINGS = (2.0, 3.0), 1.0 - np.geomspace(1.0, 1e-4, 48)
#: How music's tail goes on: the heights that one sample in 100, one in 10,000 and none lie above stand in
#: these ratios, give or take (natural logarithms). And what a dB² of a profile's misfit weighs beside them.
TAILS, TAIL_RATIOS, TAIL_SPREADS = (1e-2, 1e-4), (0.54, 0.26), (0.065, 0.2)
PROFILE_WEIGHT = 3.0
#: Heights over one half that must have been heard.
FEWEST_HEIGHTS = 6
#: Fine detail that nobody flattened grows with the height it rides at, by this factor at the top less one.
NATURAL_GROWTH = 0.2
#: Mean square of a profile of fine detail, dB², that a curve has to explain before it counts as shown:
#: limited pieces come to .7, saturated ones mostly to 2 to 50.
EXPLAINED = 1.0
#: Soft clippers (cubic, sine) go flat at the top: slope (1 - u^p)^.5, and what is just under it piles up: by
#: this factor between the last two 128ths of the height, where a hard clip leaves 0.8 to 1.1.
SOFT_EXPONENT, PILED_UP = 2.2, 1.25
#: Deviation of a profile from the model on the lower half of the waveform, dB rms, from which it is doubted
#: and at which it says nothing: where the waveform itself is fine detail, as of a trumpet.
DOUBTED_DB, MUTE_DB = 1.2, 1.6
#: A clipped track's profile that fits neither kind of clipper by so much says nothing about which it was.
ODD_DB = 2.0
#: Without a profile: `peak_curvature` under which peaks count as round, and over which as sharp.
ROUND_CURVATURE, SHARP_CURVATURE = 0.25, 0.40

#: Deepest restoring expansion: +12 dB at the sample peak, and no more dB there than this times the dB of
#: crest it is to bring: on a square wave no amount of gain raises the crest.
MAX_DEPTH, MAX_GAIN_PER_DB = 3.0, 2.5
#: Where a limiter held the peaks: the level that this share of the samples lies above, the lossy encoder's
#: overshoots among them; the share above the first of these parts of it that any music has; and the share
#: above the second by that above the third where peaks are pointed, and where they were cut off.
HELD_QUANTILE, HELD_PARTS, NATURAL_SHARE = 1e-4, (0.97, 0.9, 0.8), 2.4e-4
POINTED_HEAP, CLIPPED_HEAP = 0.39, 0.47
#: Samples that clipping leaves there for every one in a flat top.
BESIDE_FLAT_TOPS = 4.0
#: Lift: dB for every unit of that share; the most that is planned, and that the chain takes. What a limiter
#: took comes to 2 to 15 dB, but on dense peaks a lift over 4 dB leads away from what was.
LIFT_RATE_DB, DEEPEST_LIFT_DB, MAX_LIFT_DB = 4000.0, 4.0, 12.0
#: Multiband fill, and the share from which there is all of it. Without that evidence it brings the ratio of
#: sample peak to rms of the whole track up to a crest, by about so much per unit, at most so far.
MAX_FILL, FILL_SHARE = 0.6, 2e-4
FILL_CREST_DB, FILL_RATE_DB, FILL_BY_CREST = 13.0, 7.5, 0.4
#: Lift at the largest fill by crest, where nothing is clipped: whatever lowered that crest turned down all
#: bands, and to fill some of them alone moves the spectrum away from what it was.
LIFT_BY_CREST_DB = 1.5
#: Room for the peaks that the fill lifts, dB per unit of fill.
FILL_PEAK_DB = 7.0

#: `flat_top_share` above which a track counts as clipped.
CLIPPED_SHARE = 1e-4
#: Crest that declipping is predicted to bring back, at most, and how far short of the rule's raise a clipped
#: track may stay.
DECLIP_CREST_DB, CLIPPED_SHORT_DB = 5.0, 0.5
#: Redrawn peaks stay under the clip level times one and this many times their mean rise (``csrc/declip.h``).
DECLIP_REACH = 5.5
#: Where nothing tells the mean rise; the largest; and bounds of what the density does to the hazard.
USUAL_RISE, MAX_RISE, STEEPEST = 0.2, 1.0, 1.5


@dataclass(frozen=True, slots=True)
class Restoration:
    """Parameters of the restoring tools as in `MasteringPlan`, and the trim that makes room for peaks."""

    curve: tuple[float, ...]
    depth: float
    top: float
    clip: float
    clip_rise: float
    fill: float
    lift_db: float
    held: float
    trim_db: float
    notes: tuple[str, ...]


def restoration(
    fingerprint: Fingerprint, expansion: float, strength: float, intensity: float, ceiling: float
) -> Restoration:
    """Solve the tools for a track: the rule's expansion, a preset's strength, intensity, ceiling in dBTP."""
    raise_db = 10.0 * min(expansion * strength, 1.0) * intensity
    share = min(strength, 1.0) * intensity
    notes = [f"crest {fingerprint.crest_db:.1f} dB, the rule asks for {raise_db:.1f} dB more"]
    amplitudes = _Amplitudes(fingerprint)
    top = amplitudes.top

    clipped = fingerprint.extras.get("flat_top_share", 0.0) > CLIPPED_SHARE
    inverse, trust = _inverse_curve(fingerprint, amplitudes, clipped)
    if not fingerprint.histogram:
        notes.append("no histogram: no crest can be predicted, nothing expanded or filled")
    if "flat_top_share" not in fingerprint.extras:
        notes.append("no count of flat tops: clipping stays unknown")
    curve, brought, rise = inverse ** (share * trust), 0.0, 0.0
    if curve[-1] > 1.0:
        brought = amplitudes.change_db(curve)
        notes.append(f"saturated: its curve inverted, {_db(float(curve[-1])):.1f} dB at the top")
    if clipped:
        rise = amplitudes.rise(curve)
        crest = _declipped_crest(fingerprint)
        brought += crest
        notes.append(
            f"hard clipped by {_db(1.0 + rise):.1f} dB on average: redrawn, which brings {crest:.1f} dB"
        )
        rise *= share
        raise_db -= CLIPPED_SHORT_DB
    doubt = 1.0 - trust
    if not fingerprint.detail_db:
        notes.append("no profile of fine detail: expansion by the rule alone")
    elif doubt > 0.0:
        notes.append(f"the profile of fine detail can be trusted to {trust:.0%}: the rest by the rule")
        doubt *= _roundness(fingerprint, notes)

    by_rule = doubt * max(raise_db - brought, 0.0)
    by_taste = 10.0 * expansion * max(strength - 1.0, 0.0) * intensity
    wanted = max(by_rule, by_taste)
    if not fingerprint.histogram:
        wanted = 0.0
    depth, shortfall = amplitudes.depth_for(wanted, curve)
    if shortfall > 0.1:
        notes.append(f"expansion bound at {_db(1.0 + depth):.1f} dB: crest {shortfall:.1f} dB short")
    gains = curve * _expansion(depth)
    redrawn_db = _db(1.0 + DECLIP_REACH * rise)
    # What the other tools leave to do at full strength, so that less of them never means more lift or fill.
    whole_curve = inverse**trust
    held_share = 0.0
    if not clipped:
        most = doubt * max(10.0 * expansion - amplitudes.change_db(whole_curve), 0.0)
        under = whole_curve * _expansion(amplitudes.depth_for(most, whole_curve)[0])
        flat = BESIDE_FLAT_TOPS * fingerprint.extras.get("flat_top_share", 0.0)
        held_share = max(amplitudes.held(under)[1] - flat, 0.0) * (1.0 - doubt)
    held = amplitudes.held(gains)[0]
    whole = amplitudes.peak_to_rms_db(whole_curve * _expansion(depth)) + redrawn_db
    by_crest = min(max((FILL_CREST_DB - whole) / FILL_RATE_DB, 0.0), FILL_BY_CREST)
    fill = max(MAX_FILL * min(held_share / FILL_SHARE, 1.0), by_crest) * share
    unproven = 0.0 if clipped else LIFT_BY_CREST_DB * by_crest / FILL_BY_CREST
    proven = min(LIFT_RATE_DB * held_share, DEEPEST_LIFT_DB)
    lift = max(proven, unproven) * share
    if not fingerprint.histogram:
        fill = lift = 0.0
    if lift > 0.0:
        why = "a limiter held its peaks" if proven >= unproven else "no trace of what holds its peaks"
        notes.append(f"{why} at {_db(held):.1f} dBFS: lifted by {lift:.1f} dB there")

    return Restoration(
        curve=tuple(float(g) for g in curve) if curve[-1] > 1.0 else (),
        depth=depth,
        top=top,
        clip=top if clipped else 0.0,
        clip_rise=rise,
        fill=fill,
        lift_db=lift,
        held=held,
        trim_db=ceiling
        - fingerprint.extras["true_peak_dbtp"]
        - _db(float(gains[-1]))
        - FILL_PEAK_DB * fill
        - lift
        - redrawn_db,
        notes=tuple(notes),
    )


def _inverse_curve(
    fingerprint: Fingerprint, amplitudes: _Amplitudes, clipped: bool
) -> tuple[NDArray[np.float64], float]:
    """Gains at `HEIGHTS` that undo the curve that made the track, 1 where nothing shows one; trust 0–1.

    What rides on high samples was multiplied by the slope of the curve there, so its level against what rides
    on low ones is that slope. Least squares of models in dB over the heights that were heard.
    """
    straight = np.ones(NODES)
    if not fingerprint.detail_db:
        return straight, 0.0
    detail = np.asarray(fingerprint.detail_db)
    height = (np.arange(DETAIL_HEIGHTS) + 0.5) / DETAIL_HEIGHTS / amplitudes.top
    # The bin that holds the peak is half empty, and full of flat tops where there are any.
    heard = (detail != 0.0) & (height < 1.0 - 1.0 / DETAIL_HEIGHTS)
    if np.count_nonzero(heard & (height > 0.5)) < FEWEST_HEIGHTS:
        return straight, 0.0
    height = height[heard]
    detail = detail[heard] - 20.0 * np.log10(1.0 + NATURAL_GROWTH * height**2)

    def misfit(slope: NDArray[np.float64]) -> NDArray[np.float64]:
        off: NDArray[np.float64] = detail - 20.0 * np.log10(slope)
        return off

    if clipped:  # by a soft clipper that went flat on its own, or by a hard one
        soft = misfit(np.sqrt(1.0 - height**SOFT_EXPONENT))
        piled_up = amplitudes.pile_up() > PILED_UP
        bent = _rms(soft) < _rms(detail) if min(_rms(soft), _rms(detail)) < ODD_DB else piled_up
        if not bent:
            return straight, _trust(height, detail)
        return _inverse(1.0, SOFT_EXPONENT, 0.5), 1.0 if piled_up else _trust(height, soft)
    shown, told, rest = False, math.inf, detail
    best, curve = math.inf, straight
    for p in EXPONENTS:
        misfits = misfit(1.0 - np.outer(FLATTENINGS, height**p))
        squares = (misfits**2).mean(axis=1)
        k = int(squares.argmin())
        if squares[k] < told:
            told, rest = float(squares[k]), misfits[k]
            shown = float(squares[0]) - told > EXPLAINED
        inverses = _inverses(p)
        costs = PROFILE_WEIGHT * squares + np.array([amplitudes.oddity(gains) for gains in inverses])
        k = int(costs.argmin())
        if costs[k] < best:
            best, curve = float(costs[k]), inverses[k]
    return curve if shown else straight, _trust(height, rest)


def _trust(height: NDArray[np.float64], misfit: NDArray[np.float64]) -> float:
    doubt = _rms(misfit[height < 0.6])
    return 1.0 - min(max((doubt - DOUBTED_DB) / (MUTE_DB - DOUBTED_DB), 0.0), 1.0)


def _rms(x: NDArray[np.float64]) -> float:
    return math.sqrt(float((x * x).mean()))


@cache
def _inverses(exponent: float) -> list[NDArray[np.float64]]:
    return [_inverse(float(b), exponent) for b in FLATTENINGS]


def _inverse(flattening: float, exponent: float, power: float = 1.0) -> NDArray[np.float64]:
    """Gains at `HEIGHTS` of the curve whose slope against height u is (1 − b u^p)^-power.

    Integrated over v = √(1 − u), where the nodes are even and the slope stays finite at b = 1, power ½.
    """
    v = np.linspace(1.0, 0.0, 8 * (NODES - 1) + 1)
    middle = 0.5 * (v[1:] + v[:-1])
    slope = 2.0 * middle * (1.0 - flattening * (1.0 - middle**2) ** exponent) ** -power
    area = np.concatenate([[0.0], np.cumsum(slope)]) * v[-2]
    gains = np.ones(NODES)
    gains[1:] = area[8::8] / HEIGHTS[1:]
    return gains


def _roundness(fingerprint: Fingerprint, notes: list[str]) -> float:
    """1 where the highest peaks are rounder than the rest, 0 where they kept their shape."""
    if "peak_curvature" not in fingerprint.extras:
        notes.append("no peak curvature: peaks taken as round")
        return 1.0
    sharpness = (fingerprint.extras["peak_curvature"] - ROUND_CURVATURE) / (SHARP_CURVATURE - ROUND_CURVATURE)
    return 1.0 - min(max(sharpness, 0.0), 1.0)


def _declipped_crest(fingerprint: Fingerprint) -> float:
    """Decibels of crest that redrawing the clipped peaks brings back.

    Short runs in many blocks grow most, long ones are flat on top in any case. Fitted to 24 hard clips of
    eight recordings and synthesised pieces (.1 to 5 dB), .7 dB rms off.
    """
    extras = fingerprint.extras
    longest = max(extras.get("flat_top_longest", 1.0), 1.0) * 44100.0 / fingerprint.sample_rate
    share, consistency = extras["flat_top_share"], fingerprint["peak_consistency"]
    crest = 2300.0 * math.pow(share, 0.7) * math.pow(consistency, 1.3) / longest
    return min(crest, DECLIP_CREST_DB)


def _expansion(depth: float) -> NDArray[np.float64]:
    gains: NDArray[np.float64] = 1.0 + depth * HEIGHTS**4
    return gains


class _Amplitudes:
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
        peak = _db(self.top)
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

    def peak_to_rms_db(self, gains: NDArray[np.float64]) -> float:
        """Sample peak over rms of the whole track under these gains."""
        return _db(self.top * float(gains[-1])) - 10.0 * math.log10(max(self._power_under(gains), 1e-12))

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

    def change_db(self, gains: NDArray[np.float64]) -> float:
        """Crest under these gains less the crest without."""
        if self._power == 0.0:
            return 0.0
        peaks = float(self._WEIGHT @ (20.0 * np.log10(np.interp(self._peaks / self.top, HEIGHTS, gains))))
        return peaks - 10.0 * math.log10(self._power_under(gains) / self._power)

    def depth_for(self, raise_db: float, curve: NDArray[np.float64]) -> tuple[float, float]:
        """The depth that raises the crest by `raise_db` over the curve's, and what it falls short by."""
        bound = min(MAX_DEPTH, 10.0 ** (MAX_GAIN_PER_DB * raise_db / 20.0) - 1.0)
        start = self.change_db(curve)

        def reached(depth: float) -> float:
            return self.change_db(curve * _expansion(depth)) - start

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


def _db(ratio: float) -> float:
    return 20.0 * math.log10(ratio)

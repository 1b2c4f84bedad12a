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

from .amplitudes import HEIGHTS, NODES, Amplitudes, decibels, expansion_gains
from .schema import DETAIL_HEIGHTS, Fingerprint

#: A sine has a crest of 3 dB, a square of 0, music squashed to the limit 6: anything lower is a test tone.
TONE_CREST_DB = 4.5

#: The slope of a saturating curve is modelled as 1 − b u^p of the height u = |x| / top: these p, and b up to
#: .9999, closer towards 1: the last .001 is worth 3 dB at the top.
EXPONENTS, FLATTENINGS = (2.0, 3.0), 1.0 - np.geomspace(1.0, 1e-4, 48)
#: What a dB² of a profile's misfit weighs beside the oddity of the tail.
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

#: Samples that clipping leaves there for every one in a flat top.
BESIDE_FLAT_TOPS = 4.0
#: Lift: dB for every unit of the evidence that a limiter held the peaks; the most that is planned, and that
#: the chain takes. What a limiter took comes to 2 to 15 dB, but on dense peaks a lift over 4 dB leads away
#: from what was.
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
    amplitudes = Amplitudes(fingerprint)
    top = amplitudes.top

    clipped = fingerprint.extras.get("flat_top_share", 0.0) > CLIPPED_SHARE
    inverse, trust = _inverse_curve(fingerprint, amplitudes, clipped)
    if not fingerprint.histogram:
        notes.append("no histogram: no crest can be predicted, nothing expanded or filled")
    if "flat_top_share" not in fingerprint.extras:
        notes.append("no count of flat tops: clipping stays unknown")
    curve, brought, rise = inverse ** (share * trust), 0.0, 0.0
    if curve[-1] > 1.0:
        brought = amplitudes.changedecibels(curve)
        notes.append(f"saturated: its curve inverted, {decibels(float(curve[-1])):.1f} dB at the top")
    if clipped:
        rise = amplitudes.rise(curve)
        crest = _declipped_crest(fingerprint)
        brought += crest
        notes.append(
            f"hard clipped by {decibels(1.0 + rise):.1f} dB on average: redrawn, which brings {crest:.1f} dB"
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
        notes.append(f"expansion bound at {decibels(1.0 + depth):.1f} dB: crest {shortfall:.1f} dB short")
    gains = curve * expansion_gains(depth)
    redrawn_db = decibels(1.0 + DECLIP_REACH * rise)
    # What the other tools leave to do at full strength, so that less of them never means more lift or fill.
    whole_curve = inverse**trust
    held_share = 0.0
    if not clipped:
        most = doubt * max(10.0 * expansion - amplitudes.changedecibels(whole_curve), 0.0)
        under = whole_curve * expansion_gains(amplitudes.depth_for(most, whole_curve)[0])
        flat = BESIDE_FLAT_TOPS * fingerprint.extras.get("flat_top_share", 0.0)
        held_share = max(amplitudes.held(under)[1] - flat, 0.0) * (1.0 - doubt)
    held = amplitudes.held(gains)[0]
    whole = amplitudes.peak_to_rmsdecibels(whole_curve * expansion_gains(depth)) + redrawn_db
    by_crest = min(max((FILL_CREST_DB - whole) / FILL_RATE_DB, 0.0), FILL_BY_CREST)
    fill = max(MAX_FILL * min(held_share / FILL_SHARE, 1.0), by_crest) * share
    unproven = 0.0 if clipped else LIFT_BY_CREST_DB * by_crest / FILL_BY_CREST
    proven = min(LIFT_RATE_DB * held_share, DEEPEST_LIFT_DB)
    lift = max(proven, unproven) * share
    if not fingerprint.histogram:
        fill = lift = 0.0
    if lift > 0.0:
        why = "a limiter held its peaks" if proven >= unproven else "no trace of what holds its peaks"
        notes.append(f"{why} at {decibels(held):.1f} dBFS: lifted by {lift:.1f} dB there")

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
        - decibels(float(gains[-1]))
        - FILL_PEAK_DB * fill
        - lift
        - redrawn_db,
        notes=tuple(notes),
    )


def _inverse_curve(
    fingerprint: Fingerprint, amplitudes: Amplitudes, clipped: bool
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

"""Plans: what the chain is to do to a track, the presets, and which branch a measured track takes.

The rules of the branches are ``tone.py`` and ``restoration.py``, the 2-D decision is ``csrc/lwrp.c``. Nothing
here touches a sample or a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from .amplitudes import MAX_DEPTH, NODES
from .lwrp import Decision, Region, decide
from .restoration import MAX_LIFT_DB, TONE_CREST_DB, restoration
from .schema import HISTOGRAM_BINS, Fingerprint
from .tone import PEAK_REDUCTION_DB, Band, check, limiting_loss, loudness_change, range_rule

__all__ = ["PRESETS", "Band", "MasteringPlan", "Preset", "bypass_plan", "plan", "standard_plan"]

#: Largest makeup gain, dB.
MAKEUP_DB = 12.0
#: Makeup never lifts a track above this: it would be in the loud region when processed again.
LOUD_LUFS = -12.0
#: A track whose peaks stand so little under the ceiling, dB, and more than so many of whose samples (at
#: 44.1 kHz) lie within .25 dB of the largest was limited to it: a peak or two make 3 to 40 of them, a limiter
#: 80 and more.
AT_CEILING_DB, PILED_SAMPLES = 0.5, 60


@dataclass(frozen=True, slots=True)
class Preset:
    """One row of :data:`PRESETS`.

    Parameters
    ----------
    target : float
        Loudness quiet tracks are brought to, LUFS.
    tone : float
        Strength of the adaptive EQ, 1 = the full rule.
    restore : float
        Factor on the dynamics given back to compressed-loud tracks.
    colour : tuple of Band
        EQ the preset adds everywhere.
    """

    target: float
    tone: float
    restore: float
    colour: tuple[Band, ...]
    description: str


#: The five presets, every number of them.
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "adaptive": Preset(-14.0, 1.0, 1.0, (), "what the track needs and no more"),
        "gentle": Preset(-16.0, 0.5, 0.5, (), "half the strength, at −16 LUFS"),
        "warm": Preset(
            *(-14.0, 1.0, 1.0),
            (Band("low_shelf", 150.0, 0.7, 1.5), Band("high_shelf", 7000.0, 0.7, -1.5)),
            "low shelf up, top down",
        ),
        "bright": Preset(
            *(-14.0, 1.0, 1.0),
            (Band("peaking", 3500.0, 0.7, 1.0), Band("high_shelf", 9000.0, 0.7, 2.0)),
            "presence and air up",
        ),
        "punchy": Preset(
            *(-13.0, 1.0, 1.25),
            (Band("low_shelf", 100.0, 0.7, 1.5),),
            "bass, more restoration, −13 LUFS",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class MasteringPlan:
    """What the chain does to one track.

    Parameters
    ----------
    preset : str
        A name of :data:`PRESETS`, or ``"bypass"``.
    intensity : float
        0–1; already applied to every number below.
    decision : Decision or None
        The LWRP decision; None without a fingerprint.
    lufs, crest_db : float or None
        What the decision was made from.
    curve : tuple of float
        Inverse of the curve that saturated the track: gains, linear, 0–16, at 129 heights |x| / `top`, closer
        towards the top (`restoration.HEIGHTS`). Empty switches it off.
    depth : float
        Restoring expansion on top of that: peaks at `top` gain a factor 1 + depth; 0–3.
    top : float
        Sample peak of the track, linear, above 0.
    clip : float
        Level at which the track's peaks were cut off and are to be redrawn, linear; 0 switches it off.
    clip_blur : float
        By which part of that level a clipped sample may lie under it, 0–.5: resampling and lossy codecs leave
        flat tops uneven. Less than 1/4096 counts as that.
    clip_rise : float
        How far over that level the samples were that were cut off, on average, as a part of it (after
        `curve`); 0–1.
    fill : float
        Multiband fill, where a limiter held peaks: dB of gain per dB that a band's fast level exceeds its
        slow level; 0–1.
    lift_db : float
        What is lifted there in all bands together, dB, 0–12.
    held : float
        Level that a limiter held the peaks at, linear, as `curve` leaves it, above 0.
    eq : tuple of Band
        At most 12 sections.
    gain_db : float
        Static gain: makeup or trim, −24…+12.
    level_target : float or None
        Target of the slow leveller in LUFS; None switches it off.
    level_strength : float
        0–1, share of the leveller's correction that is applied.
    width : float
        Factor on the side signal, 0–2.
    ceiling : float or None
        True-peak ceiling in dBTP, −24…0; None switches the limiter off.
    notes : tuple of str
        Why the numbers are what they are, one reason each.
    """

    preset: str
    intensity: float = 1.0
    decision: Decision | None = None
    lufs: float | None = None
    crest_db: float | None = None
    curve: tuple[float, ...] = ()
    depth: float = 0.0
    top: float = 1.0
    clip: float = 0.0
    clip_blur: float = 0.0
    clip_rise: float = 0.2
    fill: float = 0.0
    lift_db: float = 0.0
    held: float = 1.0
    eq: tuple[Band, ...] = ()
    gain_db: float = 0.0
    level_target: float | None = None
    level_strength: float = 1.0
    width: float = 1.0
    ceiling: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check("intensity", self.intensity, 0.0, 1.0, "")
        if len(self.curve) not in (0, NODES):
            raise ValueError(f"curve must have {NODES} gains or none, got {len(self.curve)}")
        for gain in self.curve:
            check("curve", gain, 0.0, 16.0, "")
        check("depth", self.depth, 0.0, MAX_DEPTH, "")
        check("top", self.top, 1e-6, 1e6, "")
        check("clip", self.clip, 0.0, 1e6, "")
        check("clip_blur", self.clip_blur, 0.0, 0.5, "")
        check("clip_rise", self.clip_rise, 0.0, 1.0, "")
        check("fill", self.fill, 0.0, 1.0, "")
        check("lift_db", self.lift_db, 0.0, MAX_LIFT_DB, "dB")
        check("held", self.held, 1e-6, 1e6, "")
        check("gain_db", self.gain_db, -24.0, 12.0, "dB")
        check("level_strength", self.level_strength, 0.0, 1.0, "")
        check("width", self.width, 0.0, 2.0, "")
        if self.level_target is not None:
            check("level_target", self.level_target, -30.0, -12.0, "LUFS")
        if self.ceiling is not None:
            check("ceiling", self.ceiling, -24.0, 0.0, "dBTP")
        if len(self.eq) > 12:
            raise ValueError(f"eq has {len(self.eq)} bands, at most 12 fit")

    @property
    def is_identity(self) -> bool:
        """Whether the chain passes the samples through bit for bit."""
        return (
            self.clip == self.depth == self.fill == self.lift_db == 0.0
            and not self.curve
            and all(band.gain_db == 0.0 for band in self.eq)
            and self.gain_db == 0.0
            and self.level_target is None
            and self.width == 1.0
            and self.ceiling is None
        )

    @property
    def region(self) -> str:
        """The decision's region; ``"standard"`` or ``"bypass"`` where there is no decision."""
        if self.decision is not None:
            return str(self.decision.region)
        return "bypass" if self.preset == "bypass" else "standard"

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-ready values: the decision record of the whole track."""
        decision = self.decision
        return {
            "preset": self.preset,
            "intensity": self.intensity,
            "decision": None
            if decision is None
            else {
                "region": str(decision.region),
                "lufs": self.lufs,
                "crest_db": self.crest_db,
                "expansion": decision.expansion,
                "gain_db": decision.gain_db,
            },
            "curve_top": self.curve[-1] if self.curve else 1.0,
            "depth": self.depth,
            "clip": self.clip,
            "clip_blur": self.clip_blur,
            "clip_rise": self.clip_rise,
            "fill": self.fill,
            "lift_db": self.lift_db,
            "held": self.held,
            "eq": [{"kind": b.kind, "f0_hz": b.f0_hz, "q": b.q, "gain_db": b.gain_db} for b in self.eq],
            "gain_db": self.gain_db,
            "level_target": self.level_target,
            "width": self.width,
            "ceiling": self.ceiling,
            "notes": list(self.notes),
        }


def plan(
    fingerprint: Fingerprint,
    preset: str = "adaptive",
    intensity: float = 1.0,
    target: float | None = None,
    ceiling: float = -1.0,
) -> MasteringPlan:
    """Plan what to do to a measured track.

    Parameters
    ----------
    fingerprint : Fingerprint
        What the track measured as.
    preset : str
        A name of :data:`PRESETS`.
    intensity : float
        0–1; scales EQ gains, expansion and makeup. 0 is the dry signal, bit for bit.
    target : float, optional
        Loudness in LUFS instead of the preset's, −30…−12.
    ceiling : float
        True-peak ceiling, dBTP, −24…0.

    Returns
    -------
    MasteringPlan

    Raises
    ------
    ValueError
        An argument is unknown or out of range; the message names it.
    """
    row = _row(preset, intensity, target, ceiling)
    target = row.target if target is None else target
    decision = decide(fingerprint.lufs, fingerprint.crest_db)
    base = MasteringPlan(preset, intensity, decision, fingerprint.lufs, fingerprint.crest_db)
    if intensity == 0.0 or "silent" in fingerprint.flags:
        return base
    colour = _scaled(row.colour, intensity)
    if decision.region is Region.DYNAMIC_LOUD:
        return base if not colour else replace(base, eq=colour, ceiling=ceiling)
    if decision.region is Region.COMPRESSED_LOUD:
        if fingerprint.crest_db < TONE_CREST_DB:
            kept = replace(base, notes=(f"crest {fingerprint.crest_db:.1f} dB: a tone, nothing to restore",))
            return kept if not colour else replace(kept, eq=colour, ceiling=ceiling)
        tools = restoration(fingerprint, decision.expansion, row.restore, intensity, ceiling)
        trim = min(tools.trim_db, decision.gain_db * min(1.0, 4.0 * intensity))
        return replace(
            base,
            curve=tools.curve,
            depth=tools.depth,
            top=tools.top,
            clip=tools.clip,
            clip_blur=tools.clip_blur,
            clip_rise=tools.clip_rise,
            fill=tools.fill,
            lift_db=tools.lift_db,
            held=tools.held,
            eq=colour,
            gain_db=max(-24.0, trim - max(loudness_change(fingerprint, colour), 0.0)),
            ceiling=ceiling,
            notes=tools.notes,
        )
    return _quiet(base, fingerprint, row, target, ceiling)


def standard_plan(preset: str = "adaptive", intensity: float = 1.0, ceiling: float = -1.0) -> MasteringPlan:
    """The plan for a track that has not been measured: the preset's colour, a slow leveller, the limiter.

    Raises
    ------
    ValueError
        An argument is unknown or out of range; the message names it.
    """
    row = _row(preset, intensity, None, ceiling)
    if intensity == 0.0:
        return MasteringPlan(preset, intensity)
    return MasteringPlan(
        preset,
        intensity,
        eq=_scaled(row.colour, intensity),
        level_target=row.target,
        level_strength=intensity,
        ceiling=ceiling,
        notes=("not measured yet: standard plan",),
    )


def bypass_plan() -> MasteringPlan:
    """The dry signal, bit for bit, through the same delay as every other plan."""
    return MasteringPlan("bypass", 0.0)


def _row(preset: str, intensity: float, target: float | None, ceiling: float) -> Preset:
    """The preset's row, every argument of `plan` checked."""
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    check("intensity", intensity, 0.0, 1.0, "")
    check("ceiling", ceiling, -24.0, 0.0, "dBTP")
    if target is not None:
        check("target", target, -30.0, LOUD_LUFS, "LUFS")
    return PRESETS[preset]


def _scaled(bands: tuple[Band, ...], factor: float) -> tuple[Band, ...]:
    return tuple(replace(band, gain_db=band.gain_db * factor) for band in bands)


def _quiet(
    base: MasteringPlan,
    fingerprint: Fingerprint,
    row: Preset,
    target: float,
    ceiling: float,
) -> MasteringPlan:
    """Range-rule EQ, then makeup towards the target, bounded by what the limiter may take off the peaks."""
    notes: list[str] = []
    tone = _scaled(range_rule(fingerprint, notes), row.tone * base.intensity)
    eq = tone + _scaled(row.colour, base.intensity)
    wanted = target - fingerprint.lufs
    headroom = ceiling - fingerprint.extras["true_peak_dbtp"]
    change = loudness_change(fingerprint, eq)
    room, why = headroom + PEAK_REDUCTION_DB, "peaks"
    if 0.0 <= headroom <= AT_CEILING_DB and _piled(fingerprint) > PILED_SAMPLES:
        room, why = 0.0, "peaks that were limited before"
    bound = min(room, MAKEUP_DB + change)  # what the EQ takes, the gain makes up too
    makeup = min(wanted + limiting_loss(wanted - headroom), bound)
    shortfall = wanted - makeup + limiting_loss(makeup - headroom)
    if shortfall > 0.1:
        why = why if bound < MAKEUP_DB + change else f"the limit of {MAKEUP_DB:g} dB"
        notes.append(f"makeup bound by {why}: {shortfall:.1f} dB short of {target:g} LUFS")
    gain = makeup * base.intensity - change
    return replace(base, eq=eq, gain_db=min(max(gain, -24.0), MAKEUP_DB), ceiling=ceiling, notes=tuple(notes))


def _piled(fingerprint: Fingerprint) -> float:
    """Samples within .25 dB of the sample peak, as many as at 44.1 kHz; 0 without a histogram."""
    lowest = 10.0 ** ((fingerprint.extras["sample_peak_dbfs"] - 0.25) / 20.0) * HISTOGRAM_BINS
    piled = fingerprint.amplitude_histogram[math.ceil(lowest) :].sum()
    return float(piled) * 44100.0 / fingerprint.sample_rate

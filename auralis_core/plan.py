"""Fingerprint + preset + intensity → `MasteringPlan`: the parameters of the chain, frozen per track.

Every rule that turns a number about a track into a processing parameter is here, except the 2-D
decision itself (``csrc/lwrp.c``). Nothing here touches a sample or a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from .lwrp import Decision, Region, decide
from .schema import Fingerprint

#: Peak reduction the limiter may be asked for by makeup gain, dB.
PEAK_REDUCTION_DB = 3.0
#: Largest makeup gain, dB.
MAKEUP_DB = 12.0
#: Makeup never lifts a track above this: it would be in the loud region when processed again.
LOUD_LUFS = -12.0


def _check(name: str, value: float, low: float, high: float, unit: str) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} must be {low:g}…{high:g} {unit}".rstrip() + f", got {value!r}")


@dataclass(frozen=True, slots=True)
class Band:
    """One EQ section: kind, centre or corner frequency in Hz, quality, gain in dB."""

    kind: Literal["peaking", "low_shelf", "high_shelf"]
    f0_hz: float
    q: float
    gain_db: float

    def __post_init__(self) -> None:
        if self.kind not in ("peaking", "low_shelf", "high_shelf"):
            raise ValueError(f"kind must be peaking, low_shelf or high_shelf, got {self.kind!r}")
        _check("f0_hz", self.f0_hz, 10.0, 24000.0, "Hz")
        _check("q", self.q, 0.1, 10.0, "")
        _check("gain_db", self.gain_db, -12.0, 12.0, "dB")


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
    fill : float
        Multiband fill: dB of gain per dB that a band's fast level exceeds its slow level; 0–1.
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
    fill: float = 0.0
    eq: tuple[Band, ...] = ()
    gain_db: float = 0.0
    level_target: float | None = None
    level_strength: float = 1.0
    width: float = 1.0
    ceiling: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check("intensity", self.intensity, 0.0, 1.0, "")
        _check("fill", self.fill, 0.0, 1.0, "")
        _check("gain_db", self.gain_db, -24.0, 12.0, "dB")
        _check("level_strength", self.level_strength, 0.0, 1.0, "")
        _check("width", self.width, 0.0, 2.0, "")
        if self.level_target is not None:
            _check("level_target", self.level_target, -30.0, -12.0, "LUFS")
        if self.ceiling is not None:
            _check("ceiling", self.ceiling, -24.0, 0.0, "dBTP")
        if len(self.eq) > 12:
            raise ValueError(f"eq has {len(self.eq)} bands, at most 12 fit")

    @property
    def is_identity(self) -> bool:
        """Whether the chain passes the samples through bit for bit."""
        return (
            self.fill == 0.0
            and all(band.gain_db == 0.0 for band in self.eq)
            and self.gain_db == 0.0
            and self.level_target is None
            and self.width == 1.0
            and self.ceiling is None
        )

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
            "fill": self.fill,
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
        return replace(base, eq=colour, gain_db=decision.gain_db * intensity, ceiling=ceiling)
    return _quiet(base, fingerprint, colour, target, ceiling)


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
    _check("intensity", intensity, 0.0, 1.0, "")
    _check("ceiling", ceiling, -24.0, 0.0, "dBTP")
    if target is not None:
        _check("target", target, -30.0, LOUD_LUFS, "LUFS")
    return PRESETS[preset]


def _scaled(bands: tuple[Band, ...], factor: float) -> tuple[Band, ...]:
    return tuple(replace(band, gain_db=band.gain_db * factor) for band in bands)


def _quiet(
    base: MasteringPlan,
    fingerprint: Fingerprint,
    colour: tuple[Band, ...],
    target: float,
    ceiling: float,
) -> MasteringPlan:
    """Makeup towards the target, bounded by what the limiter may take off the peaks."""
    wanted = min(target, LOUD_LUFS) - fingerprint.lufs
    room = ceiling - fingerprint.extras["true_peak_dbtp"] + PEAK_REDUCTION_DB
    makeup = min(wanted, room, MAKEUP_DB)
    notes = []
    if makeup < wanted:
        bound = "peaks" if room < MAKEUP_DB else f"the limit of {MAKEUP_DB:g} dB"
        notes.append(f"makeup bound by {bound}: {wanted - makeup:.1f} dB short of {target:g} LUFS")
    return replace(
        base, eq=colour, gain_db=max(-24.0, makeup) * base.intensity, ceiling=ceiling, notes=tuple(notes)
    )

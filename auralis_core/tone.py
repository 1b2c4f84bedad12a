"""The tone of a quiet track, and what makeup costs: range-rule EQ, its loudness, the limiter's share.

Nothing here decides whether a track is quiet or how loud it should be; that is ``plan.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .chain import eq_response_db
from .schema import LTAS_CENTRES_HZ, Fingerprint

#: Peak reduction the limiter may be asked for by makeup gain, dB.
PEAK_REDUCTION_DB = 3.0
#: The range-rule EQ: octaves it looks at, slope of music's spectrum (middle, 10th and 90th percentile) in
#: dB an octave, what an octave may deviate beyond that, largest gain of a band, and how far under the
#: loudest octave a band counts as empty (a codec's cut-off, a missing sub).
TONE_CENTRES_HZ = (63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
TONE_SLOPE_DB, TONE_SLOPES_DB = -5.0, (-3.5, -7.5)
TONE_FREE_DB, TONE_GAIN_DB, TONE_EMPTY_DB = 4.0, 1.5, 45.0
#: BS.1770 K-weighting at the centres of the long-term spectrum, dB.
K_WEIGHTING_DB = (
    *(-13.3, -10.4, -7.8, -5.6, -3.9, -2.7, -1.7, -1.1, -0.7, -0.4, -0.3, -0.2, -0.1, 0.0, 0.0, 0.1),
    *(0.3, 0.7, 1.3, 2.3, 3.1, 3.6, 3.8, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0),
)


def check(name: str, value: float, low: float, high: float, unit: str) -> None:
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
        check("f0_hz", self.f0_hz, 10.0, 24000.0, "Hz")
        check("q", self.q, 0.1, 10.0, "")
        check("gain_db", self.gain_db, -12.0, 12.0, "dB")


def limiting_loss(reduction_db: float) -> float:
    """Loudness that goes with the peaks: 0.15 to 0.65 LU when the limiter takes off 3 dB, by material."""
    return 0.4 * (min(max(reduction_db, 0.0), PEAK_REDUCTION_DB) / PEAK_REDUCTION_DB) ** 2


def range_rule(fingerprint: Fingerprint, notes: list[str]) -> tuple[Band, ...]:
    """Bring octaves that lie outside the range of commercial music half-way back to it.

    The range is a fan about 630 Hz: the long-term spectrum of music falls by 3.5 to 7.5 dB an octave
    (10th to 90th percentile), each octave free by another `TONE_FREE_DB`. Matching towards the middle of
    the fan instead would move every clean track by decibels and repair next to nothing.
    """
    third = np.asarray(fingerprint.ltas_db)
    octaves = 10.0 * np.log10((10.0 ** (third[4:28] / 10.0)).reshape(8, 3).sum(axis=1))  # 63 Hz … 8 kHz
    distance = np.log2(np.asarray(TONE_CENTRES_HZ) / 630.0)
    middle = octaves[1:7] - TONE_SLOPE_DB * distance[1:7]
    level = float(middle.mean())
    shallow, steep = (level + slope * distance for slope in TONE_SLOPES_DB)
    high, low = np.maximum(shallow, steep) + TONE_FREE_DB, np.minimum(shallow, steep) - TONE_FREE_DB
    bands = []
    columns = (column.tolist() for column in (octaves, low, high))
    empty = float(octaves.max()) - TONE_EMPTY_DB
    for f0, x, floor, top in zip(TONE_CENTRES_HZ, *columns, strict=True):
        if 1.4 * f0 > 0.45 * fingerprint.sample_rate or x < empty:
            continue
        excess = max(x - top, 0.0) + min(x - floor, 0.0)
        gain = min(max(-0.5 * excess, -TONE_GAIN_DB), TONE_GAIN_DB)
        if abs(gain) >= 0.1:
            bands.append(Band("peaking", f0, 1.0, round(gain, 3)))
            notes.append(
                f"{f0:g} Hz octave {abs(excess):.1f} dB {'over' if excess > 0 else 'under'} the range"
            )
    return tuple(bands)


def loudness_change(fingerprint: Fingerprint, eq: tuple[Band, ...]) -> float:
    """What the EQ does to the loudness, from the long-term spectrum under K-weighting."""
    if not eq:
        return 0.0
    weighted = np.asarray(fingerprint.ltas_db) + K_WEIGHTING_DB
    below = [f for f in LTAS_CENTRES_HZ if f < 0.49 * fingerprint.sample_rate]
    weighted = weighted[: len(below)]
    response = eq_response_db(eq, fingerprint.sample_rate, below)
    before, after = (10.0 ** (x / 10.0) for x in (weighted, weighted + response))
    return float(10.0 * np.log10(after.sum() / before.sum()))

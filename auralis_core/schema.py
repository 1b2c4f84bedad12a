"""The 25 dimensions: their names, groups, units, ranges and order, and the value that holds them.

Everything that stores, sends, draws or reads a fingerprint indexes through this table; no other
module repeats a name or a range. How each number is measured is written in ``docs/fingerprint.md``.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FingerprintError

#: Changes whenever any stored number can change.
FINGERPRINT_VERSION = 3

#: Bins of the |x| histogram: bin k counts samples with k/2048 <= |x| < (k+1)/2048, the last bin
#: everything from 2047/2048 upwards.
HISTOGRAM_BINS = 2048

#: Heights the detail profile is taken at: entry k is for k/32 <= |x| < (k+1)/32.
DETAIL_HEIGHTS = 32

#: Nominal centre frequencies of the 1/3-octave long-term average spectrum, in Hz (IEC 61260-1).
LTAS_CENTRES_HZ = (
    *(20.0, 25.0, 31.5, 40.0, 50.0, 63.0, 80.0, 100.0, 125.0, 160.0),
    *(200.0, 250.0, 315.0, 400.0, 500.0, 630.0, 800.0, 1000.0, 1250.0, 1600.0),
    *(2000.0, 2500.0, 3150.0, 4000.0, 5000.0, 6300.0, 8000.0, 10000.0, 12500.0, 16000.0, 20000.0),
)

#: Level that stands for "no energy" in the extras, where −∞ would not survive JSON.
FLOOR_DB = -120.0


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension: canonical name, group, unit, and the closed range its value lies in."""

    name: str
    group: str
    unit: str
    low: float
    high: float


DIMENSIONS: tuple[Dimension, ...] = (
    Dimension("sub_bass_pct", "frequency", "fraction", 0.0, 1.0),
    Dimension("bass_pct", "frequency", "fraction", 0.0, 1.0),
    Dimension("low_mid_pct", "frequency", "fraction", 0.0, 1.0),
    Dimension("mid_pct", "frequency", "fraction", 0.0, 1.0),
    Dimension("upper_mid_pct", "frequency", "fraction", 0.0, 1.0),
    Dimension("presence_pct", "frequency", "fraction", 0.0, 1.0),
    Dimension("air_pct", "frequency", "fraction", 0.0, 1.0),
    Dimension("lufs", "dynamics", "LUFS", -70.0, 5.0),
    Dimension("crest_db", "dynamics", "dB", 0.0, 40.0),
    Dimension("bass_mid_ratio", "dynamics", "dB", -30.0, 30.0),
    Dimension("tempo_bpm", "temporal", "BPM", 0.0, 210.0),
    Dimension("rhythm_stability", "temporal", "ratio", 0.0, 1.0),
    Dimension("transient_density", "temporal", "ratio", 0.0, 1.0),
    Dimension("silence_ratio", "temporal", "fraction", 0.0, 1.0),
    Dimension("spectral_centroid", "spectral", "ratio", 0.0, 1.0),
    Dimension("spectral_rolloff", "spectral", "ratio", 0.0, 1.0),
    Dimension("spectral_flatness", "spectral", "ratio", 0.0, 1.0),
    Dimension("harmonic_ratio", "harmonic", "ratio", 0.0, 1.0),
    Dimension("pitch_stability", "harmonic", "ratio", 0.0, 1.0),
    Dimension("chroma_energy", "harmonic", "ratio", 0.0, 1.0),
    Dimension("dynamic_range_variation", "variation", "ratio", 0.0, 1.0),
    Dimension("loudness_variation_std", "variation", "LU", 0.0, 10.0),
    Dimension("peak_consistency", "variation", "ratio", 0.0, 1.0),
    Dimension("stereo_width", "stereo", "ratio", 0.0, 1.0),
    Dimension("phase_correlation", "stereo", "correlation", -1.0, 1.0),
)

INDEX: Mapping[str, int] = MappingProxyType({d.name: i for i, d in enumerate(DIMENSIONS)})

#: Every flag a fingerprint may carry.
FLAGS = ("clipped", "dual_mono", "no_spectrum", "non_finite", "short", "silent")

#: Numeric extras every fingerprint that is measured here carries, with their units.
EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        "true_peak_dbtp": "dBTP",
        "sample_peak_dbfs": "dBFS",
        "loudness_range": "LU",
        "momentary_max": "LUFS",
        "short_term_max": "LUFS",
        "plr_db": "dB",
        "tempo_alt": "BPM",
        "tempo_confidence": "ratio",
        "flat_top_longest": "frames",
        "flat_top_share": "fraction",
        "peak_curvature": "ratio",
        "non_finite_samples": "samples",
    }
)


#: Those a fingerprint from elsewhere may lack, as it may `histogram` and `detail_db`: evidence for restoring,
#: without which the plan falls back to simpler tools.
OPTIONAL_EXTRAS = frozenset({"flat_top_longest", "flat_top_share", "peak_curvature"})


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What one track measured as: 25 numbers in canonical order and what mastering needs beside them.

    Parameters
    ----------
    values : tuple of 25 floats
        Finite and inside the ranges of :data:`DIMENSIONS`; anything else is a `FingerprintError`.
    extras : mapping
        The numbers of :data:`EXTRAS` by name; those of :data:`OPTIONAL_EXTRAS` may be absent.
    ltas_db : tuple of 31 floats
        1/3-octave long-term average spectrum of active frames at :data:`LTAS_CENTRES_HZ`, dBFS.
    histogram : bytes
        zlib-compressed little-endian uint64 counts of |x|, :data:`HISTOGRAM_BINS` of them; may be empty.
    flags : tuple of str
        Sorted members of :data:`FLAGS`.
    frames, sample_rate, channels : int
        The measured file.
    version : int
        :data:`FINGERPRINT_VERSION` of the code that measured.
    detail_db : tuple of 32 floats, or none
        Level of fine detail by height of |x| against that on low samples a moment away, dB.
    """

    values: tuple[float, ...]
    extras: Mapping[str, float]
    ltas_db: tuple[float, ...]
    histogram: bytes
    flags: tuple[str, ...]
    frames: int
    sample_rate: int
    channels: int
    version: int = FINGERPRINT_VERSION
    detail_db: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.values) != len(DIMENSIONS):
            raise FingerprintError(f"expected {len(DIMENSIONS)} dimensions, got {len(self.values)}")
        for d, x in zip(DIMENSIONS, self.values, strict=True):
            if not (math.isfinite(x) and d.low <= x <= d.high):
                raise FingerprintError(f"{d.name} = {x!r} is outside {d.low:g}…{d.high:g} {d.unit}")
        for name in EXTRAS:
            if name in OPTIONAL_EXTRAS and name not in self.extras:
                continue
            if name not in self.extras or not math.isfinite(self.extras[name]):
                raise FingerprintError(f"extra {name} is missing or not finite")
        if len(self.ltas_db) != len(LTAS_CENTRES_HZ) or not all(map(math.isfinite, self.ltas_db)):
            raise FingerprintError("ltas_db is incomplete or not finite")
        if len(self.detail_db) not in (0, DETAIL_HEIGHTS) or not all(map(math.isfinite, self.detail_db)):
            raise FingerprintError("detail_db is incomplete or not finite")
        if not set(self.flags) <= set(FLAGS):
            raise FingerprintError(f"unknown flags {sorted(set(self.flags) - set(FLAGS))}")
        if self.frames < 0 or self.sample_rate <= 0 or self.channels <= 0:
            raise FingerprintError("frames, sample_rate or channels is out of range")

    def __getitem__(self, name: str) -> float:
        """The dimension called `name`; `KeyError` if there is none."""
        return self.values[INDEX[name]]

    @property
    def lufs(self) -> float:
        """Integrated loudness in LUFS (BS.1770-5)."""
        return self["lufs"]

    @property
    def crest_db(self) -> float:
        """Mean crest factor of active 100 ms blocks in dB."""
        return self["crest_db"]

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate

    @property
    def vector(self) -> NDArray[np.float32]:
        """The 25 values as float32, canonical order."""
        return np.array(self.values, np.float32)

    @property
    def amplitude_histogram(self) -> NDArray[np.uint64]:
        """Counts of |x|, shape (2048,), over both analysed channels of the raw signal; zeros if unknown."""
        if not self.histogram:
            return np.zeros(HISTOGRAM_BINS, np.uint64)
        return np.frombuffer(zlib.decompress(self.histogram), "<u8").astype(np.uint64)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: what ``auralis fingerprint --json`` prints and every store keeps."""
        return {
            "version": self.version,
            "duration": self.duration,
            "frames": self.frames,
            "sample_rate": self.sample_rate,
            "channels": self.channels,
            "dimensions": {d.name: x for d, x in zip(DIMENSIONS, self.values, strict=True)},
            "extras": {
                **{name: self.extras[name] for name in EXTRAS if name in self.extras},
                "ltas_db": list(self.ltas_db),
                "detail_db": list(self.detail_db),
                "histogram": base64.b64encode(self.histogram).decode("ascii"),
            },
            "flags": list(self.flags),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fingerprint:
        """Rebuild a fingerprint from :meth:`to_dict`; `FingerprintError` if anything is missing or wrong."""
        try:
            dimensions, extras = data["dimensions"], data["extras"]
            histogram = base64.b64decode(extras.get("histogram", ""), validate=True)
            if histogram and len(zlib.decompress(histogram)) != HISTOGRAM_BINS * 8:
                raise FingerprintError("the amplitude histogram is damaged")
            return cls(
                values=tuple(float(dimensions[d.name]) for d in DIMENSIONS),
                extras={
                    name: float(extras[name])
                    for name in EXTRAS
                    if name in extras or name not in OPTIONAL_EXTRAS
                },
                ltas_db=tuple(float(x) for x in extras["ltas_db"]),
                histogram=histogram,
                flags=tuple(data["flags"]),
                frames=int(data["frames"]),
                sample_rate=int(data["sample_rate"]),
                channels=int(data["channels"]),
                version=int(data["version"]),
                detail_db=tuple(float(x) for x in extras.get("detail_db", ())),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, zlib.error) as e:
            raise FingerprintError(f"incomplete or damaged fingerprint: {e!r}") from e

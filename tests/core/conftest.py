"""Fingerprints built by hand, for the rooms that store them."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest

from auralis_core import DIMENSIONS, Fingerprint
from auralis_core.schema import EXTRAS, HISTOGRAM_BINS, LTAS_CENTRES_HZ

MakeFingerprint = Callable[..., Fingerprint]


@pytest.fixture(scope="session")
def make_fingerprint() -> MakeFingerprint:
    """A factory of fingerprints with random values in range; `seed` decides all of them."""

    def make(seed: int = 0, **changes: object) -> Fingerprint:
        rng = np.random.default_rng(seed)
        counts = np.sort(rng.integers(0, 1 << 24, HISTOGRAM_BINS))[::-1].astype("<u8")
        fields: dict[str, object] = {
            "values": tuple(float(rng.uniform(d.low, d.high)) for d in DIMENSIONS),
            "extras": {name: float(rng.uniform(-10, 10)) for name in EXTRAS},
            "ltas_db": tuple(rng.uniform(-90, 0, len(LTAS_CENTRES_HZ)).tolist()),
            "histogram": zlib.compress(counts.tobytes(), 9),
            "flags": ("clipped",),
            "frames": 44100 * 240,
            "sample_rate": 44100,
            "channels": 2,
        }
        return Fingerprint(**{**fields, **changes})  # type: ignore[arg-type]

    return make

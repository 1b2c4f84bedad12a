"""The 25 dimensions and the value that holds them: complete, in range, the same after JSON."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from auralis_core import DIMENSIONS, Fingerprint, FingerprintError
from auralis_core.schema import EXTRAS, FLAGS, INDEX, LTAS_CENTRES_HZ


def test_dimensions_are_25_distinct_names_with_sane_ranges() -> None:
    assert len(DIMENSIONS) == len({d.name for d in DIMENSIONS}) == 25
    assert all(d.low < d.high and re.fullmatch(r"[a-z_]+", d.name) for d in DIMENSIONS)
    assert [INDEX[d.name] for d in DIMENSIONS] == list(range(25))
    assert not set(EXTRAS) & set(INDEX)  # a flat sidecar holds both
    assert list(FLAGS) == sorted(FLAGS)


def test_fingerprint_answers_by_name_and_as_vector(make_fingerprint) -> None:
    fp = make_fingerprint()
    assert [fp[d.name] for d in DIMENSIONS] == list(fp.values)
    assert (fp.lufs, fp.crest_db) == (fp["lufs"], fp["crest_db"])
    assert fp.vector.dtype == np.float32
    np.testing.assert_array_equal(fp.vector, np.array(fp.values, np.float32))
    assert fp.duration == 240.0
    assert fp.amplitude_histogram.shape == (2048,)
    with pytest.raises(KeyError):
        fp["loudness"]


def test_json_round_trip_is_exact(make_fingerprint) -> None:
    for seed in range(20):
        fp = make_fingerprint(seed)
        assert Fingerprint.from_dict(json.loads(json.dumps(fp.to_dict(), allow_nan=False))) == fp


@pytest.mark.parametrize("d", DIMENSIONS, ids=lambda d: d.name)
def test_value_out_of_range_is_refused_by_name(d, make_fingerprint) -> None:
    values = list(make_fingerprint().values)
    for bad in (math.nextafter(d.low, -math.inf), math.nextafter(d.high, math.inf), math.nan, math.inf):
        values[INDEX[d.name]] = bad
        with pytest.raises(FingerprintError, match=d.name):
            make_fingerprint(values=tuple(values))
    for good in (d.low, d.high):
        values[INDEX[d.name]] = good
        assert make_fingerprint(values=tuple(values))[d.name] == good


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"values": (0.0,) * 24}, "expected 25"),
        ({"extras": {}}, "extra"),
        ({"extras": dict.fromkeys(EXTRAS, math.nan)}, "extra"),
        ({"ltas_db": (0.0,)}, "ltas_db"),
        ({"ltas_db": (math.nan,) * len(LTAS_CENTRES_HZ)}, "ltas_db"),
        ({"flags": ("odd",)}, "odd"),
        ({"frames": -1}, "frames"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"channels": 0}, "channels"),
    ],
)
def test_incomplete_fingerprint_is_refused(changes: dict[str, object], reason: str, make_fingerprint) -> None:
    with pytest.raises(FingerprintError, match=reason):
        make_fingerprint(**changes)


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("dimensions"),
        lambda d: d.pop("frames"),
        lambda d: d["dimensions"].pop("lufs"),
        lambda d: d["dimensions"].update(lufs="loud"),
        lambda d: d["dimensions"].update(lufs=None),
        lambda d: d["extras"].pop("plr_db"),
        lambda d: d["extras"].update(histogram="?"),
        lambda d: d["extras"].update(histogram="AAAA"),
        lambda d: d["extras"].update(ltas_db=3),
        lambda d: d.update(dimensions=[]),
        lambda d: d.update(flags=None),
        lambda d: d.update(version="new"),
    ],
)
def test_damaged_json_is_a_fingerprint_error(damage, make_fingerprint) -> None:
    data = make_fingerprint().to_dict()
    damage(data)
    with pytest.raises(FingerprintError):
        Fingerprint.from_dict(data)


def test_histogram_of_the_wrong_length_is_refused(make_fingerprint) -> None:
    import zlib

    data = make_fingerprint(histogram=zlib.compress(bytes(8))).to_dict()
    with pytest.raises(FingerprintError, match="histogram"):
        Fingerprint.from_dict(data)

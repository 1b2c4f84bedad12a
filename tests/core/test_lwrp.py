"""The decision is a table; it is tested as one, and against the oracle over the whole plane."""

import math

import numpy as np
import pytest
from reference.lwrp import decide as reference_decide

import auralis_core as ac


@pytest.mark.parametrize(
    ("lufs", "crest_db", "expansion"),
    [
        (-11.0, 12.0, 0.10),
        (-8.16, 8.47, 0.453),
        (-8.36, 9.00, 0.40),
        (-8.73, 9.17, 0.383),
        (-8.0, 3.0, 1.0),
        (-8.0, 0.0, 1.0),
        (-11.9, 12.99, 0.10),
    ],
)
def test_decide_compressed_loud_check_values(lufs, crest_db, expansion):
    d = ac.lwrp.decide(lufs, crest_db)
    assert d.region == "compressed_loud"
    assert d.expansion == pytest.approx(expansion, abs=1e-12)
    assert d.gain_db == -0.5


@pytest.mark.parametrize(
    ("lufs", "crest_db", "region"),
    [
        (-12.0, 5.0, "quiet"),
        (math.nextafter(-12.0, 0.0), 5.0, "compressed_loud"),
        (-8.0, 13.0, "dynamic_loud"),
        (-8.0, math.nextafter(13.0, 0.0), "compressed_loud"),
        (-70.0, 0.0, "quiet"),
        (5.0, 40.0, "dynamic_loud"),
    ],
)
def test_decide_at_the_borders_is_strict(lufs, crest_db, region):
    d = ac.lwrp.decide(lufs, crest_db)
    assert d.region == region
    if region != "compressed_loud":
        assert (d.expansion, d.gain_db) == (0.0, 0.0)


def test_decide_many_equals_the_oracle_and_decide_over_the_plane():
    lufs, crest = (g.ravel() for g in np.meshgrid(np.linspace(-40, 2, 85), np.linspace(0, 25, 101)))
    many = ac.lwrp.decide_many(lufs, crest)
    for row in zip(lufs, crest, *many, strict=True):
        one = ac.lwrp.decide(row[0], row[1])
        assert (one.region, one.expansion, one.gain_db) == row[2:] == reference_decide(row[0], row[1])


def test_decide_many_of_nothing_is_empty():
    assert [len(a) for a in ac.lwrp.decide_many([], [])] == [0, 0, 0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_decide_refuses_numbers_that_are_not_finite(bad):
    for pair in ((bad, 9.0), (-8.0, bad)):
        with pytest.raises(ValueError, match="finite"):
            ac.lwrp.decide(*pair)
        with pytest.raises(ValueError, match="finite"):
            ac.lwrp.decide_many([-8.0, pair[0]], [9.0, pair[1]])


def test_decide_many_refuses_different_lengths():
    with pytest.raises(ValueError, match="differ in length"):
        ac.lwrp.decide_many([-8.0], [9.0, 9.0])

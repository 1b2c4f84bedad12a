"""The range rule and what bounds a plan, on fingerprints made by hand: every number known beforehand."""

import math
import zlib
from dataclasses import replace

import numpy as np
import pytest

import auralis_core as ac
from auralis_core.schema import EXTRAS, HISTOGRAM_BINS, LTAS_CENTRES_HZ
from auralis_core.tone import TONE_CENTRES_HZ, loudness_change, range_rule

MIDDLE_DB = -30.0


def fingerprint(lufs=-20.0, crest_db=11.0, changes=(), rate=44100, piled=0, **extras):
    """A spectrum that falls by 5 dB an octave, `changes` (octave in Hz, dB) to it, and a plain histogram.

    A change of one of the six inner octaves moves the middle of the fan by a sixth of itself.
    """
    octaves = {f: MIDDLE_DB - 5.0 * math.log2(f / 630.0) for f in TONE_CENTRES_HZ}
    for f, change in changes:
        octaves[f] += change
    ltas = np.full(len(LTAS_CENTRES_HZ), -90.0)
    for k, f in enumerate(TONE_CENTRES_HZ):
        ltas[4 + 3 * k : 7 + 3 * k] = octaves[f] - 10.0 * math.log10(3.0)
    values = {d.name: 0.5 * (d.low + d.high) for d in ac.DIMENSIONS} | {"lufs": lufs, "crest_db": crest_db}
    counts = np.zeros(HISTOGRAM_BINS, "<u8")
    counts[:500], counts[1800] = 1000, piled
    known = {"true_peak_dbtp": -8.0, "sample_peak_dbfs": 20.0 * math.log10(1800.5 / HISTOGRAM_BINS)}
    return ac.Fingerprint(
        values=tuple(values[d.name] for d in ac.DIMENSIONS),
        extras=dict.fromkeys(EXTRAS, 0.0) | known | extras,
        ltas_db=tuple(ltas.tolist()),
        histogram=zlib.compress(counts.tobytes()),
        flags=(),
        frames=rate * 60,
        sample_rate=rate,
        channels=2,
    )


def test_inside_the_range_nothing_is_done():
    # 63 Hz is 3.3 octaves down, where the fan is 5 dB wide on either side and 4 dB more are free.
    for changes in ((), ((63.0, 8.0),), ((63.0, -8.0),), ((500.0, 4.0),)):
        notes = []
        assert range_rule(fingerprint(changes=changes), notes) == ()
        assert notes == []


@pytest.mark.parametrize(
    ("excess", "gain"), [(1.0, -0.5), (2.0, -1.0), (9.0, -1.5), (-2.0, 1.0), (-9.0, 1.5)]
)
def test_an_octave_outside_is_brought_half_way_back_and_at_most_1_5_db(excess, gain):
    width = (1.5 if excess < 0.0 else 2.5) * math.log2(630.0 / 63.0)  # slopes of -3.5 and -7.5 dB an octave
    notes = []
    (band,) = range_rule(fingerprint(changes=((63.0, math.copysign(width + 4.0, excess) + excess),)), notes)
    assert (band.kind, band.f0_hz, band.q) == ("peaking", 63.0, 1.0)
    assert band.gain_db == pytest.approx(gain, abs=2e-3)
    assert len(notes) == 1


#: Little bass, still inside the range: the top is not 45 dB under it for that.
LIGHT = ((63.0, -8.0), (125.0, -5.0))


def test_an_empty_octave_is_not_boosted():
    assert range_rule(fingerprint(changes=(*LIGHT, (8000.0, -30.0))), []) == ()
    assert [b.f0_hz for b in range_rule(fingerprint(changes=(*LIGHT, (8000.0, -18.0))), [])] == [8000.0]


def test_an_octave_at_nyquist_is_left_alone():
    changes = (*LIGHT, (4000.0, -18.0))
    assert [b.f0_hz for b in range_rule(fingerprint(changes=changes), [])] == [4000.0]
    assert range_rule(fingerprint(changes=changes, rate=11025), []) == ()


def test_intensity_and_strength_scale_the_eq():
    fp = fingerprint(changes=((63.0, -20.0),))
    gains = [
        ac.plan(fp, preset, i).eq[0].gain_db
        for preset, i in (("adaptive", 1), ("adaptive", 0.5), ("gentle", 0.5))
    ]
    assert gains == [1.5, 0.75, 0.375]


def test_makeup_is_bound_by_the_target_the_peaks_and_12_db():
    """Less what limiting is expected to cost: .4 LU at 3 dB, by the square of it."""
    assert ac.plan(fingerprint(lufs=-18.0)).gain_db == pytest.approx(4.0)
    assert ac.plan(fingerprint(lufs=-24.0)).gain_db == pytest.approx(-1.0 + 8.0 + 3.0)
    assert ac.plan(fingerprint(lufs=-35.0, true_peak_dbtp=-20.0)).gain_db == 12.0
    assert ac.plan(fingerprint(lufs=-13.0)).gain_db == pytest.approx(-1.0)


def test_peaks_that_pile_up_at_the_ceiling_are_not_limited_again():
    at = {"true_peak_dbtp": -1.2}
    (note,) = ac.plan(fingerprint(piled=100, **at)).notes
    assert "limited before: 6.0 dB short" in note
    assert ac.plan(fingerprint(piled=100, **at)).gain_db == 0.0
    free = [
        fingerprint(piled=30, **at),
        fingerprint(piled=100, true_peak_dbtp=-2.0),
        fingerprint(piled=100, true_peak_dbtp=-0.5),
        fingerprint(piled=100, rate=96000, **at),  # as many samples are less than half as long
        replace(fingerprint(piled=100, **at), histogram=b""),
    ]
    for fp in free:
        assert ac.plan(fp).gain_db == pytest.approx(2.0 - fp.extras["true_peak_dbtp"])


def test_a_loud_track_with_room_is_trimmed_by_half_a_decibel():
    fp = fingerprint(lufs=-11.0, crest_db=12.9, true_peak_dbtp=-20.0)
    assert ac.plan(fp).decision.region == "compressed_loud"
    assert ac.plan(fp).gain_db == -0.5
    assert ac.plan(fp, intensity=0.1).gain_db == pytest.approx(-0.2)


def test_what_is_flagged_silent_is_left_alone():
    assert not ac.plan(fingerprint()).is_identity
    assert ac.plan(replace(fingerprint(), flags=("silent",))).is_identity


@pytest.mark.parametrize("preset", ["warm", "bright", "punchy"])
def test_a_colour_makes_no_loud_track_louder(preset):
    fp = fingerprint(lufs=-11.0, crest_db=12.9, true_peak_dbtp=-20.0)
    colour = loudness_change(fp, ac.PRESETS[preset].colour)
    assert ac.plan(fp, preset).gain_db == pytest.approx(-0.5 - max(colour, 0.0))
    assert colour > 0.01

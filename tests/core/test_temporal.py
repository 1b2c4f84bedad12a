"""Onset strength, tempo, rhythm stability, transient density: closed forms, the drum corpus, properties."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from reference import drums

from auralis_core.temporal import OnsetTracker

SR = 44100


def measure(x, sample_rate=SR):
    tracker = OnsetTracker(sample_rate)
    tracker.feed(np.ascontiguousarray(x, np.float32))
    return tracker.result()


def clicks(times, seconds, sample_rate=SR):
    """Band-limited clicks at `times`."""
    hit = 0.4 * drums.voice("click", sample_rate)
    out = np.zeros(int(seconds * sample_rate) + hit.size, np.float32)
    for t in times:
        k = round(t * sample_rate)
        out[k : k + hit.size] += hit
    return out[: int(seconds * sample_rate)]


# Closed-form values


def test_clicks_at_two_hertz_read_120_bpm_and_a_density_of_a_fifth():
    r = measure(clicks(np.arange(20) / 2, 10))
    assert r["tempo_bpm"] == pytest.approx(120, rel=0.005)
    assert r["onsets"] == 20
    # Active time is counted in whole hops of 5.8 ms.
    assert r["transient_density"] == pytest.approx(0.2, rel=0.001)
    assert r["rhythm_stability"] > 0.9


@pytest.mark.parametrize("bpm", range(60, 181, 10))
def test_tempo_of_a_steady_grid_is_within_half_a_percent(bpm):
    for name in ("metronome", "rock"):
        assert measure(drums.track(name, float(bpm)))["tempo_bpm"] == pytest.approx(bpm, rel=0.005)


def test_white_noise_has_no_rhythm():
    x = 0.1 * np.random.default_rng(1).standard_normal(10 * SR)
    r = measure(x)
    assert r["rhythm_stability"] < 0.15
    assert r["tempo_confidence"] < 0.15


def test_silence_and_signals_under_half_a_second_measure_as_zero():
    for x in (np.zeros(0), np.zeros(SR), np.ones(1), clicks([0.0, 0.2], 0.45)):
        r = measure(x)
        assert r["tempo_bpm"] == r["tempo_alt"] == r["tempo_confidence"] == r["rhythm_stability"] == 0


# Properties


@pytest.mark.parametrize("chunk", [1, 7, 441, 1024, 4800, 65536])
def test_result_does_not_depend_on_the_chunks(chunk):
    x = drums.track("syncopated", 104.0, 4.0)
    whole = measure(x)
    tracker = OnsetTracker(SR)
    for i in range(0, x.size, chunk):
        tracker.feed(x[i : i + chunk])
        if chunk > 1000:
            tracker.result()
    assert tracker.result() == whole


def test_result_at_a_prefix_is_the_result_of_the_prefix():
    x = drums.track("rock", 97.0, 9.0)
    tracker = OnsetTracker(SR)
    for i in range(0, x.size, 50000):
        tracker.feed(x[i : i + 50000])
        assert tracker.result() == measure(x[: i + 50000])


def test_silence_in_front_changes_nothing():
    x = drums.track("rock", 131.0, 8.0)
    assert measure(np.concatenate([np.zeros(SR * 30 + 77, np.float32), x])) == measure(x)


def test_simd_variants_give_the_same_bits():
    code = (
        "import numpy as np; from reference import drums; from auralis_core.temporal import OnsetTracker\n"
        "t = OnsetTracker(44100); t.feed(drums.track('over a pad', 93.0, 8.0)); print(t.result())"
    )
    results = set()
    for simd in ("baseline", "avx2", "avx512"):
        env = {**os.environ, "AURALIS_SIMD": simd, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        results.add(done.stdout)
    assert len(results) == 1


# Errors


@pytest.mark.parametrize("sample_rate", [0.0, 7999.0, 96001.0, float("nan")])
def test_sample_rate_out_of_range_is_an_error(sample_rate):
    with pytest.raises(ValueError, match="sample_rate"):
        OnsetTracker(sample_rate)

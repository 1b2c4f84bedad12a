"""Onset strength, tempo, rhythm stability, transient density: closed forms, the drum corpus, properties."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import soundfile
from reference import drums, temporal

from auralis_core.temporal import OnsetTracker

SR = 44100
EVERY_TEMPO = tuple(float(t) for t in range(50, 211, 20))


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


def mono(path, seconds=60.0):
    x, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    return x[: int(seconds * sample_rate)].mean(1), sample_rate


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
        r = measure(drums.track(name, float(bpm)))
        assert r["tempo_bpm"] == pytest.approx(bpm, rel=0.005)
        assert r["rhythm_stability"] > 0.9


def test_white_noise_has_no_tempo_and_no_rhythm():
    for seed in range(8):
        x = 0.1 * np.random.default_rng(seed).standard_normal(10 * SR)
        r = measure(x)
        assert r["tempo_bpm"] == 0
        assert r["rhythm_stability"] < 0.15
        assert r["tempo_confidence"] < 0.15


@pytest.mark.parametrize("hiss", [0.0, 1e-4])
def test_pad_without_onsets_has_no_tempo_and_hardly_a_transient(hiss):
    x = drums.pad(30, SR) + hiss * np.random.default_rng(1).standard_normal(30 * SR)
    r = measure(x)
    assert r["tempo_bpm"] == r["tempo_alt"] == 0
    assert r["tempo_confidence"] < 0.15
    assert r["onsets"] <= 1  # the start itself may count


def test_rhythm_stability_falls_with_every_step_of_jitter():
    for bpm in (80, 120, 160):
        lost = np.random.default_rng(2).standard_normal(100)
        beats = np.arange(0, 30, 60 / bpm)
        series = []
        for jitter_ms in (0, 5, 10, 15, 20, 30, 40, 50, 60):
            times = np.maximum(0, beats + 1e-3 * jitter_ms * lost[: beats.size])
            series.append(measure(clicks(times, 31))["rhythm_stability"])
        assert series[0] > 0.95
        assert np.all(np.diff(series) < 0)
        assert series[-1] < 0.5


def test_onsets_of_drums_are_counted_exactly():
    # Every voice of these patterns falls on the half beat or the beat, so onsets are grid points.
    for name, divisions in (("rock", 2), ("four on the floor", 2), ("metronome", 1)):
        for bpm in (66.0, 100.0, 128.0):
            expected = drums.beat_times(bpm, 20.0 - 0.05, divisions=divisions).size
            # A hit in the last frames cannot be judged: one onset either way.
            assert abs(measure(drums.track(name, bpm))["onsets"] - expected) <= 1


def test_silence_and_signals_under_half_a_second_measure_as_zero():
    for x in (np.zeros(0), np.zeros(SR), np.ones(1), clicks([0.0, 0.2], 0.45)):
        r = measure(x)
        assert r["tempo_bpm"] == r["tempo_alt"] == r["tempo_confidence"] == r["rhythm_stability"] == 0


# The drum corpus (issue 3, point 3)


def test_drum_grids_reach_full_accuracy_2_and_accuracy_1_over_nine_tenths():
    first, second = [], []
    for _, bpm, x in drums.corpus(tempi=EVERY_TEMPO):
        got = measure(x)["tempo_bpm"]
        first.append(drums.same_tempo(got, bpm))
        second.append(drums.same_tempo(got, bpm, drums.MULTIPLES))
    assert np.mean(second) == 1
    assert np.mean(first) >= 0.98  # the promise is .9; 1.0 is measured, and must not erode unseen


def test_ambiguous_grids_mostly_read_as_notated():
    got = [(measure(x)["tempo_bpm"], bpm) for _, bpm, x in drums.corpus(drums.HARD, EVERY_TEMPO[::2])]
    assert np.mean([drums.same_tempo(m, bpm, drums.MULTIPLES) for m, bpm in got]) >= 0.9
    assert np.mean([drums.same_tempo(m, bpm) for m, bpm in got]) >= 0.75


def test_other_metrical_level_is_offered_beside_the_tempo():
    for bpm in (70.0, 100.0, 130.0):
        r = measure(drums.track("syncopated kick", bpm))
        assert drums.same_tempo(r["tempo_bpm"], bpm)
        assert drums.same_tempo(r["tempo_alt"], bpm, (1 / 3, 1 / 2, 2 / 3, 3 / 2, 2.0, 3.0))


def test_tempo_that_runs_away_by_an_eighth_reads_as_its_mean():
    for bpm in (60.0, 120.0, 180.0):
        assert drums.same_tempo(measure(drums.track("strong drift", bpm, 30.0))["tempo_bpm"], bpm)


# Parity with the NumPy reference


@pytest.mark.parametrize("sample_rate", [8000, 44100, 48000, 96000])
def test_kernel_equals_the_reference(sample_rate):
    for name, bpm in (("syncopated", 90.0), ("over a pad", 121.0)):
        x = drums.track(name, bpm, 8.0, sample_rate)
        r, expected = measure(x, sample_rate), temporal.measure(x, sample_rate)
        assert r["onsets"] == expected["onsets"]
        assert r["active_s"] == pytest.approx(expected["active_s"], abs=1e-9)
        # The kernel rounds to 0.01 BPM; single against double precision costs less.
        assert r["tempo_bpm"] == pytest.approx(expected["tempo_bpm"], abs=0.0051)
        for key in ("rhythm_stability", "tempo_confidence"):
            assert r[key] == pytest.approx(expected[key], abs=1e-5)


def test_tempo_of_real_music(shared_audio):
    # Vibe Ace walks at 130; the celesta's quavers over the pizzicato of the Dance go at 110.
    for name, bpm in (("vibe_ace", 130), ("sugar_plum_fairy", 110)):
        assert measure(*mono(shared_audio / f"{name}.ogg"))["tempo_bpm"] == pytest.approx(bpm, rel=0.04)
    assert measure(*mono(shared_audio / "speech.ogg"))["tempo_bpm"] == 0


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


def test_simd_variants_give_the_same_bits(monkeypatch):
    results = []
    for simd in ("baseline", "avx2", "avx512"):
        monkeypatch.setenv("AURALIS_SIMD", simd)  # read whenever a tracker is made
        results.append(measure(drums.track("over a pad", 93.0, 8.0)))
    assert results[0] == results[1] == results[2]


def test_gain_changes_nothing():
    x = drums.track("over a pad", 88.0, 12.0)
    for db in (-1.0, -6.0, -12.0):
        r, louder = measure(x * np.float32(10 ** (db / 20))), measure(x)
        for key, value in louder.items():
            assert r[key] == pytest.approx(value, abs=1e-6)
    assert measure(x * np.float32(0.25)) == louder  # a power of two, so not even rounding differs


def test_sample_rate_hardly_matters():
    for sample_rate in (8000, 16000, 22050, 32000, 48000, 88200):
        r = measure(drums.track("rock", 112.0, 15.0, sample_rate), sample_rate)
        assert r["tempo_bpm"] == pytest.approx(112, rel=0.005)


def test_pauses_of_silence_do_not_dilute_the_density():
    x = drums.track("metronome", 120.0, 10.0)
    r = measure(np.concatenate([x, np.zeros(60 * SR, np.float32), x]))
    assert r["active_s"] == pytest.approx(20 + 1.5, abs=0.2)  # music, and two seconds held after each half
    assert r["rhythm_stability"] > 0.75  # windows of nothing but silence do not count


def test_trackers_in_threads_do_not_disturb_each_other():
    tracks = [drums.track("rock", bpm, 6.0) for bpm in (70.0, 95.0, 120.0, 155.0)]
    alone, together = [measure(x) for x in tracks], [None] * len(tracks)

    def work(i):
        together[i] = measure(tracks[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(tracks))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert together == alone


# Errors


@pytest.mark.parametrize("sample_rate", [0.0, 7999.0, 96001.0, float("nan")])
def test_sample_rate_out_of_range_is_an_error(sample_rate):
    with pytest.raises(ValueError, match="sample_rate"):
        OnsetTracker(sample_rate)

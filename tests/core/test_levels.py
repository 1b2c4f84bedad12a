"""Level statistics: closed forms, oracle parity, chunking, prefixes, errors."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from reference import levels as oracle
from reference.detail import detail_db as detail_oracle

from auralis_core.levels import Levels

SR = 44100


def measure(raw, hp=None, sr=SR, chunk=65536):
    raw = np.ascontiguousarray(raw, np.float32)
    hp = raw if hp is None else np.ascontiguousarray(hp, np.float32)
    levels = Levels(sr)
    for i in range(0, raw.shape[1], chunk):
        levels.feed(raw[:, i : i + chunk].copy(), hp[:, i : i + chunk].copy())
    return levels.finish()


def counts(result):
    return np.frombuffer(result["histogram"], np.uint64)


def sine(seconds=3.0, amplitude=0.5, f=997.0, sr=SR):
    return np.tile(amplitude * np.sin(2 * np.pi * f / sr * np.arange(round(seconds * sr))), (2, 1))


def music(seconds=12.0, sr=SR, seed=1):
    """Decaying notes over noise, loud and quiet stretches, different channels."""
    rng = np.random.default_rng(seed)
    n = round(seconds * sr)
    t = np.arange(n) / sr
    notes = sum(
        np.sin(2 * np.pi * f * t) * np.exp(-3 * ((t * r) % 1)) for f, r in ((82, 2), (330, 4), (1480, 3))
    )
    x = 0.15 * np.stack([notes, np.roll(notes, 99)]) + 0.02 * rng.standard_normal((2, n))
    return (x * np.interp(t, [0, 3, 3.1, 6, 6.1, seconds], [1, 1, 0.1, 0.1, 1, 0.5])).astype(np.float32)


def faint_after_loud():
    """1 s at -3.9 dBFS rms, then 11 s 54 dB lower: above -60 dBFS, but not active beside the first."""
    return sine(12.0, 0.9) * np.where(np.arange(12 * SR) < SR, 1.0, 0.002)


# --- closed forms -------------------------------------------------------------------------------------


def test_sine_crest_is_three_decibels():
    r = measure(sine())
    # 997 Hz fits .1 s 99.7 times: the block's mean square differs by up to .02 dB, its mean by less.
    assert r["crest_db"] == pytest.approx(3.0103, abs=0.005)
    assert r["peak_consistency"] == pytest.approx(1.0, abs=1e-3)
    assert r["dynamic_range_variation"] == 0.0
    assert r["stereo_width"] == 0.0
    assert r["phase_correlation"] == 1.0
    assert r["silence_ratio"] == pytest.approx(0.0, abs=1e-5)  # sin 0 is one frame of silence
    assert r["active_seconds"] == pytest.approx(2.9)  # so the last block is not whole
    assert r["sample_peak"] == pytest.approx(0.5, abs=1e-4)


def test_square_crest_is_zero_and_all_flat_top():
    r = measure(np.sign(sine(f=100.0) + 1e-9) * 0.5)
    assert r["crest_db"] == pytest.approx(0.0, abs=1e-9)
    assert r["flat_top_share"] > 0.99
    assert r["flat_top_longest"] in (220, 221)


def test_opposite_channels_are_all_side():
    x = sine()
    x[1] = -x[0]
    r = measure(x)
    assert r["stereo_width"] == 1.0
    assert r["phase_correlation"] == -1.0


def test_independent_noise_is_half_side_and_uncorrelated():
    r = measure(np.random.default_rng(0).standard_normal((2, 10 * SR)) * 0.1)
    # 441,000 frames: one standard error is .0015.
    assert r["phase_correlation"] == pytest.approx(0.0, abs=0.006)
    assert r["stereo_width"] == pytest.approx(0.5, abs=0.003)


def test_gated_sine_is_half_silent_with_the_crest_of_a_sine():
    r = measure(sine(10.0) * (np.arange(10 * SR) // SR % 2 == 0))
    assert r["silence_ratio"] == pytest.approx(0.5, abs=0.01)
    assert r["crest_db"] == pytest.approx(3.0103, abs=0.005)
    assert r["active_seconds"] == pytest.approx(5.0)


@pytest.mark.parametrize("x", [np.zeros((2, SR)), np.zeros((2, 0)), np.full((2, 3), 1e-5)])
def test_silence_reads_the_values_without_data(x):
    r = measure(x)
    assert (r["crest_db"], r["silence_ratio"], r["dynamic_range_variation"]) == (0, 1, 0)
    assert (r["peak_consistency"], r["stereo_width"], r["phase_correlation"]) == (0, 0, 1)
    assert (r["active_seconds"], r["flat_top_share"], r["peak_curvature"]) == (0, 0, 1)
    assert counts(r).sum() == 2 * x.shape[1]


def test_constant_signal_has_no_corner_and_no_flat_top():
    assert measure(np.full((2, SR), 0.5), np.zeros((2, SR)))["flat_top_total"] == 0


def test_slow_sine_turns_round_without_a_flat_top():
    quantised = np.round(sine(2.0, 0.9, 30.0) * 32767) / 32767
    assert measure(quantised)["flat_top_total"] == 0


@pytest.mark.parametrize("signal", [music, faint_after_loud])
def test_leading_silence_moves_nothing_but_the_silence_ratio(signal):
    x = signal()
    a, b = measure(x), measure(np.concatenate([np.zeros((2, 30 * SR)), x], axis=1))
    for name in set(a) - {"silence_ratio", "frames", "flat_top_share", "histogram"}:
        assert a[name] == b[name], name


def test_faint_passages_are_not_active_beside_loud_ones():
    assert measure(faint_after_loud())["active_seconds"] == pytest.approx(1.0)


# --- oracle parity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sr", [11025, 22050, 44100, 48000])
@pytest.mark.parametrize("seconds", [0.004, 0.05, 1.0, 7.5])
def test_levels_match_the_oracle(seconds, sr):
    x = music(seconds, sr)
    x = np.clip(x, -0.2, 0.2) if seconds > 5 else x
    hp = (x * np.float32(0.9)).astype(np.float32)
    got, expected = measure(x, hp, sr, chunk=1000), oracle.levels(x, hp, sr)
    for name, value in expected.items():
        # Both sum in float64; 1e-9 is far below every published tolerance.
        assert got[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name
    assert np.array_equal(counts(got), oracle.histogram(x))


def test_histogram_bins_close_below_and_open_at_the_top():
    edges = np.array(
        [0.0, 1 / 2048, np.nextafter(np.float32(1 / 2048), 0), 2047 / 2048, 1.0, 3.0, 1e30], np.float32
    )
    h = counts(measure(np.stack([edges, -edges])))
    assert h[0] == 4
    assert h[1] == 2
    assert h[2047] == 8
    assert h.sum() == 14


def test_clipped_music_shows_flat_tops_and_saturated_music_flat_curvature():
    x = music()
    clipped = measure(np.clip(x, -0.2, 0.2))
    assert clipped["flat_top_share"] > 0.001
    assert clipped["flat_top_longest"] > 5
    assert measure(x)["flat_top_share"] == 0
    saturated = np.tanh(6 * x) / 6
    assert measure(saturated)["peak_curvature"] < 0.6 * measure(x)["peak_curvature"]
    for signal in (x, saturated.astype(np.float32)):
        # Heights and ratios in eighths of an octave, interpolated.
        assert measure(signal)["peak_curvature"] == pytest.approx(oracle.curvature(signal, SR), rel=0.08)


def bass_with_detail(seconds=12.0, seed=5):
    """A loud 61.7 Hz with hiss 50 dB under it, in both channels."""
    t = np.arange(int(seconds * SR)) / SR
    hiss = np.random.default_rng(seed).standard_normal((2, t.size))
    return (1.2 * np.sin(2 * np.pi * 61.7 * t) + 0.003 * hiss).astype(np.float32)


def test_detail_shows_the_slope_of_the_curve_that_made_a_signal():
    """Closed form: hiss on a bass that went through tanh is worth 1 - y^2 at height y."""
    detail = np.array(measure(np.tanh(bass_with_detail()))["detail_db"])
    height = (np.arange(32) + 0.5) / 32
    heard = detail != 0.0
    low = height[heard] < 0.35
    expected = 20 * np.log10(1 - height[heard] ** 2)
    # 10 % of 12 s leave some hundred samples a bin that hang together in sevens: means stray by .4 dB rms.
    np.testing.assert_allclose(
        detail[heard] - detail[heard][low].mean(), expected - expected[low].mean(), atol=1.2
    )
    assert detail[heard][-1] < -8.0


def test_detail_is_even_on_what_was_only_turned_down():
    detail = np.array(measure(bass_with_detail() * np.float32(0.8))["detail_db"])
    np.testing.assert_allclose(detail, 0.0, atol=1.2)


@pytest.mark.parametrize("sample_rate", [8000, 44100, 96000, 192000])
def test_detail_matches_the_oracle(sample_rate):
    x = np.clip(4.0 * music(), -1, 1).astype(np.float32)
    levels = Levels(sample_rate)
    levels.feed(x, x)
    # A float log2 and float differences against double.
    np.testing.assert_allclose(levels.finish()["detail_db"], detail_oracle(x, sample_rate), atol=0.01)


def test_flat_tops_of_a_quieter_stretch_do_not_count():
    x = music()
    x[:, : 3 * SR] = np.clip(x[:, : 3 * SR], -0.05, 0.05)
    r = measure(x)
    assert r["flat_top_total"] == oracle.flat_tops(x)[0] == 0


@pytest.mark.parametrize("name", ["lets_go_fishin", "vibe_ace", "sugar_plum_fairy", "solo_trumpet", "speech"])
def test_silence_of_real_audio_agrees_with_ffmpeg(shared_audio, tmp_path, name):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    x, sr = soundfile.read(shared_audio / f"{name}.ogg", 20 * 44100, dtype="float32", always_2d=True)
    soundfile.write(tmp_path / "x.wav", x, sr, "FLOAT")
    # silencedetect looks at peaks: 10 ms of fading noise at -60 dBFS rms reach about 8 dB higher.
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-i", tmp_path / "x.wav", "-filter:a"]
    command += ["silencedetect=n=-52dB:d=0.01", "-f", "null", "-"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    silent = sum(map(float, re.findall(r"silence_duration: ([\d.]+)", run.stderr)))
    ours = measure(np.tile(x.T, (2, 1))[:2], sr=sr)["silence_ratio"]
    assert ours == pytest.approx(silent * sr / len(x), abs=0.01)


# --- chunking, prefixes, variants ---------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 441, 1024, 4800])
def test_levels_do_not_depend_on_the_chunk_size(chunk):
    x = np.clip(music(1.3 if chunk == 1 else 7.5), -0.2, 0.2)
    assert measure(x, chunk=chunk) == measure(x, chunk=x.shape[1])


def test_finish_at_a_prefix_equals_the_prefix_alone_and_leaves_the_state():
    x = np.clip(music(5.0), -0.2, 0.2)
    levels = Levels(SR)
    for end, begin in ((100, 0), (3000, 100), (100_003, 3000), (5 * SR, 100_003)):
        part = np.ascontiguousarray(x[:, begin:end])
        levels.feed(part, part)
        assert levels.finish() == levels.finish() == measure(x[:, :end])
    twin = levels.clone()
    levels.reset()
    assert twin.finish() == measure(x)
    assert levels.finish()["frames"] == 0


@pytest.mark.parametrize("simd", ["baseline", "avx2", "avx512"])
def test_variants_give_the_same_bits(simd, monkeypatch):
    x = music(4.0)
    expected = measure(x)
    monkeypatch.setenv("AURALIS_SIMD", simd)
    assert measure(x) == expected


# --- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "hp"),
    [
        (np.zeros((2, 4)), np.zeros((2, 4), np.float32)),
        (np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)),
        (np.zeros((2, 4), np.float32), np.zeros((2, 5), np.float32)),
        (np.zeros((4, 2), np.float32).T, np.zeros((2, 4), np.float32)),
        (None, None),
    ],
)
def test_wrong_arrays_are_refused_by_name(raw, hp):
    with pytest.raises(ValueError, match="raw and high_passed"):
        Levels(SR).feed(raw, hp)


@pytest.mark.parametrize("sr", [0, 7999, float("nan")])
def test_wrong_sample_rate_is_refused_by_name(sr):
    with pytest.raises(ValueError, match="sample_rate"):
        Levels(sr)

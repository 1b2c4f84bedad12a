"""True peak through Meter: EBU Tech 3341 cases 15 to 23, the oracle, chunking, bad samples."""

from __future__ import annotations

import numpy as np
import pytest
from reference import truepeak as oracle
from scipy.signal import fftconvolve, firwin

from auralis_core import Meter

RATES = (44100, 48000, 96000, 192000)


def true_peak(x, sr=48000):
    m = Meter(sr, len(x))
    m.feed(x)
    return m.true_peak_dbtp


def faded(x, n=512):
    """Without the ends, whose interpolation overshoots."""
    ramp = np.ones(len(x))
    ramp[:n] = ramp[: -n - 1 : -1] = np.sin(np.linspace(0, np.pi / 2, n)) ** 2
    return x * ramp


TONES = {
    15: (4, 0.0, 0.50, -6.0),
    16: (4, 45.0, 0.50, -6.0),
    17: (6, 60.0, 0.50, -6.0),
    18: (8, 67.5, 0.50, -6.0),
    19: (4, 45.0, 1.41, 3.0),
}


@pytest.mark.parametrize("sr", RATES)
@pytest.mark.parametrize("case", TONES)
def test_ebu_3341_tones(case, sr):
    divisor, phase, amplitude, expected = TONES[case]
    x = faded(amplitude * np.sin(2 * np.pi * np.arange(sr // 4) / divisor + np.deg2rad(phase)))
    reading = true_peak(np.tile(x.astype(np.float32), (2, 1)), sr)
    assert expected - 0.4 <= reading <= expected + 0.2
    # Against the tone's own amplitude: what 12 taps of Kaiser 6 leave is .003 dB.
    assert reading == pytest.approx(20 * np.log10(amplitude), abs=0.005)


@pytest.mark.parametrize("sr", RATES)
def test_ebu_3341_20_to_23_transient_at_every_offset(sr):
    """A period of fs/4 at full scale inside an fs/6 tone, made at 4 fs and decimated."""
    tone = 0.5 * np.sin(2 * np.pi * np.arange(24 * 100) / 24)
    burst = np.sin(2 * np.pi * np.arange(16) / 16)
    x = fftconvolve(np.concatenate([tone, burst, tone]), firwin(255, 0.25, window=("kaiser", 8)), "same")
    for offset in range(4):
        reading = true_peak(np.tile(faded(x[offset::4], 100).astype(np.float32), (2, 1)), sr)
        assert -0.4 <= reading <= 0.2


# --- oracle parity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 5, 11, 12, 63, 64, 65, 1000])
def test_true_peak_matches_the_oracle_at_any_length(frames):
    rng = np.random.default_rng(frames)
    x = rng.uniform(-1, 1, (2, frames)).astype(np.float32)
    # float32 sums of 12 terms against float64.
    assert 10 ** (true_peak(x) / 20) == pytest.approx(oracle.true_peak(x), rel=1e-6)


def test_true_peak_skipping_never_misses_the_maximum():
    # Levels that rise and fall by a little, so that many blocks lie near the limit of the skip rule.
    rng = np.random.default_rng(7)
    for _ in range(20):
        x = rng.uniform(-1, 1, (1, 20_000)) * np.repeat(rng.uniform(0.5, 1, 100), 200)
        assert 10 ** (true_peak(x.astype(np.float32)) / 20) == pytest.approx(oracle.true_peak(x), rel=1e-6)


# --- chunking, variants, channels ---------------------------------------------------------------------


@pytest.mark.parametrize("simd", ["baseline", "avx2", "avx512"])
def test_variants_and_chunks_give_the_same_bits(simd, monkeypatch):
    x = np.random.default_rng(3).normal(0, 0.2, (2, 5_000)).astype(np.float32)
    expected = true_peak(x)
    monkeypatch.setenv("AURALIS_SIMD", simd)
    for chunk in (1, 7, 64, 441, 5_000):
        m = Meter(48000, 2)
        for i in range(0, x.shape[1], chunk):
            m.feed(np.ascontiguousarray(x[:, i : i + chunk]))
        assert m.true_peak_dbtp == expected


def test_any_channel_may_hold_the_peak():
    for c in range(8):
        x = np.zeros((8, 1000), np.float32)
        x[c, 500] = 0.5
        assert true_peak(x) == pytest.approx(20 * np.log10(0.5), abs=1e-9)


def test_peak_between_the_last_samples_is_counted():
    x = np.zeros((1, 100), np.float32)
    x[0, -2:] = 1.0
    # A step up peaks after its corner: where only the history, followed by silence, reaches.
    assert true_peak(x) > 1.5

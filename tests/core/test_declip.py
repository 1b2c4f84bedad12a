"""Declip, through a chain that does nothing else: closed form, the oracle, chunking."""

import numpy as np
import pytest
from reference.declip import declip as reference_declip

import auralis_core as ac
from auralis_core.plan import MasteringPlan

SR = 44100


def run(x, level, sample_rate=SR):
    return ac.render_array(x, sample_rate, MasteringPlan("adaptive", clip=level))


def clipped_music(seconds=1.0, drive=1.6, seed=1):
    rng = np.random.default_rng(seed)
    t = np.arange(int(SR * seconds)) / SR
    x = 0.7 * np.sin(2 * np.pi * 180 * t) + 0.3 * np.sin(2 * np.pi * 2300 * t)
    x = x[None] + 0.1 * rng.standard_normal((2, t.size))
    x[:, :4] = x[:, -4:] = 0.0
    return np.clip(drive * x, -0.9, 0.9).astype(np.float32)


def test_a_clipped_sine_gets_its_peaks_back():
    t = np.arange(SR) / SR
    x = np.sin(2 * np.pi * 700 * t)
    y = run(np.clip(x, -0.8, 0.8).astype(np.float32)[None], 0.8)[0]
    # Over 15 of its 63 samples a period the cubic follows the crown of a sine within 2 %; the bound on what
    # is over the level takes 2 % more off a crown 25 % over.
    np.testing.assert_allclose(y, x, atol=0.04)
    assert y.max() > 0.96


@pytest.mark.parametrize("sample_rate", [8000, 44100, 192000])
def test_declip_matches_the_oracle(sample_rate):
    x = clipped_music(0.5)
    # Lagrange in double against a solved system: rounding of float32 samples.
    np.testing.assert_allclose(run(x, 0.9, sample_rate), reference_declip(x, 0.9, sample_rate), atol=1e-6)


def test_reliable_samples_and_long_runs_stay_bit_for_bit():
    x = clipped_music()
    x[:, 20000:20089] = 0.9  # 89 frames: one too many
    x[:, 19999] = x[:, 20089] = 0.1
    y = run(x, 0.9)
    below = np.abs(x) < np.float32(0.89)
    np.testing.assert_array_equal(y[below], x[below])
    np.testing.assert_array_equal(y[:, 20000:20089], x[:, 20000:20089])
    moved = y != x
    assert 0.02 < moved.mean() < 0.5
    assert (np.abs(y[moved]) >= np.float32(0.9)).all()
    assert np.abs(y).max() <= np.float32(1.35)


def test_channels_are_apart():
    x = clipped_music()
    x[1] *= np.float32(0.5)
    y = run(x, 0.9)
    np.testing.assert_array_equal(y[1], x[1])
    assert (y[0] != x[0]).any()


def test_chunking_and_cloning_change_no_bit():
    x = clipped_music()
    plan = MasteringPlan("adaptive", clip=0.9)
    whole = ac.Chain(plan, SR, 2).process(x).tobytes()
    rng = np.random.default_rng(5)
    for _ in range(25):
        chain, at, pieces = ac.Chain(plan, SR, 2), 0, []
        while at < x.shape[1]:
            n = int(rng.choice([0, 1, 2, 87, 91, 256, 1000, 5000]))
            pieces.append(chain.process(np.ascontiguousarray(x[:, at : at + n])))
            at += n
            if rng.random() < 0.2:
                chain = chain.clone()
        assert np.concatenate(pieces, axis=1).tobytes() == whole

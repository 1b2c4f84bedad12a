"""Crossfade laws: closed forms, the oracle, pieces, no clicks, errors."""

from itertools import pairwise

import numpy as np
import pytest
from reference.crossfade import crossfade as reference_crossfade
from scipy.signal import butter, sosfiltfilt

import auralis_core as ac
from auralis_core.crossfade import correlation

LAWS = ("equal_gain", "equal_power", "correlation")
SR = 44100


def tone(frequency, frames, amplitude=0.5, phase=0.0):
    t = np.arange(frames) / SR
    return (amplitude * np.sin(2 * np.pi * frequency * t + phase)).astype(np.float32)[None]


def noise(seed, frames=4000, channels=2):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, frames)).astype(np.float32)


def high_band_dbfs(y):
    """Largest sample above 6 kHz, away from the ends, where the filter sees the tone cut off."""
    residual = sosfiltfilt(butter(8, 6000, "high", fs=SR, output="sos"), y[0].astype(float))
    return 20 * np.log10(np.abs(residual[2000:-2000]).max() + 1e-15)


def test_equal_gain_of_one_signal_with_itself_changes_nothing():
    a = noise(1)
    # v + w is 1 within one rounding of double, so the float comes back the same or one ulp off.
    np.testing.assert_array_max_ulp(ac.crossfade(a, a, "equal_gain"), a, maxulp=1)


def test_equal_power_keeps_the_power_of_unrelated_signals():
    y = ac.crossfade(noise(1, 200_000), noise(2, 200_000), "equal_power")
    power = (y.astype(float) ** 2).reshape(2, 20, -1).mean(axis=(0, 2))
    # 10,000-sample means of uniform noise power scatter by .9 % (1 sigma).
    np.testing.assert_allclose(power, 1 / 3, rtol=0.04)


def test_correlation_law_is_equal_gain_for_identical_and_equal_power_for_unrelated_signals():
    a, b = noise(1, 200_000), noise(2, 200_000)
    np.testing.assert_allclose(ac.crossfade(a, a, "correlation"), a, atol=1e-6)
    # The measured r of two finite noises is about .002, not 0.
    np.testing.assert_allclose(
        ac.crossfade(a, b, "correlation"), ac.crossfade(a, b, "equal_power"), atol=5e-3
    )


def test_equal_gain_never_exceeds_the_louder_input():
    a, b = noise(3), noise(4)
    y = ac.crossfade(a, b, "equal_gain")
    assert (np.abs(y) <= np.maximum(np.abs(a), np.abs(b))).all()


@pytest.mark.parametrize("law", LAWS)
def test_crossfade_matches_the_oracle(law):
    for a, b in ((noise(5), noise(6)), (noise(5), 0.3 * noise(5) + 0.2 * noise(7)), (noise(5), -noise(5))):
        # float32 output: half an ulp of 1.4.
        np.testing.assert_allclose(ac.crossfade(a, b, law), reference_crossfade(a, b, law), atol=1.2e-7)


def test_crossfade_in_pieces_equals_whole():
    a, b = noise(8), noise(9)
    for law in ("equal_gain", "equal_power"):
        whole = ac.crossfade(a, b, law, length=3000)
        cuts = [0, 0, 1, 7, 1000, 2999, 3000, 3001, 4000]
        pieces = [
            ac.crossfade(
                np.ascontiguousarray(a[:, i:j]), np.ascontiguousarray(b[:, i:j]), law, start=i, length=3000
            )
            for i, j in pairwise(cuts)
        ]
        np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
        np.testing.assert_array_equal(whole[:, 3000:], b[:, 3000:])


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("ms", "limit"), [(5, -90.0), (20, -110.0)])
def test_fade_between_phase_jumping_tones_does_not_click(law, ms, limit):
    n, fade = SR // 4, SR * ms // 1000
    a, b = tone(1000, n), tone(1000, n, phase=2.0)
    at = n // 2
    y = a.copy()
    y[:, at:] = ac.crossfade(
        np.ascontiguousarray(a[:, at:]), np.ascontiguousarray(b[:, at:]), law, length=fade
    )
    assert high_band_dbfs(y) <= limit


def test_a_hard_switch_does_click():
    n = SR // 4
    y = np.concatenate([tone(1000, n)[:, : n // 2], tone(1000, n, phase=2.0)[:, n // 2 :]], axis=1)
    assert high_band_dbfs(y) > -40.0


@pytest.mark.parametrize("law", LAWS)
def test_second_difference_in_the_fade_stays_that_of_the_sources(law):
    n = SR // 10
    a, b = tone(3000, n), tone(3000, n, phase=2.0)
    bend = np.abs(np.diff(ac.crossfade(a, b, law), 2)).max()
    assert bend <= 1.05 * max(np.abs(np.diff(a, 2)).max(), np.abs(np.diff(b, 2)).max())


@pytest.mark.parametrize("law", ["equal_power", "correlation"])
def test_other_laws_exceed_the_louder_input_by_3_db_at_most(law):
    for a, b in ((noise(3), noise(4)), (noise(3), noise(3)), (noise(3), -noise(3))):
        y = ac.crossfade(a, b, law)
        # One rounding to float32 over √2.
        assert (np.abs(y) <= np.sqrt(2) * np.maximum(np.abs(a), np.abs(b)) * (1 + 1e-6)).all()


def test_crossfade_refuses_wrong_arguments_by_name():
    a = noise(1, 10)
    for kwargs, word in (
        ({"law": "linear"}, "law"),
        ({"start": -1}, "start"),
        ({"length": -5}, "length"),
    ):
        with pytest.raises(ValueError, match=word):
            ac.crossfade(a, a, **kwargs)
    with pytest.raises(ValueError, match="shape"):
        ac.crossfade(a, noise(1, 11))
    with pytest.raises(ValueError, match="channels"):
        ac.crossfade(np.zeros((9, 4), np.float32), np.zeros((9, 4), np.float32))


def test_correlation_law_in_pieces_goes_by_the_value_it_is_told():
    a = noise(1, 9000)
    b = (0.6 * a + 0.4 * noise(2, 9000)).astype(np.float32)
    whole = ac.crossfade(a, b, "correlation")
    r = correlation(a, b)
    assert 0.5 < r < 1.0
    cuts = [0, 1, 500, 4096, 9000]
    pieces = [
        ac.crossfade(*(np.ascontiguousarray(x[:, i:j]) for x in (a, b)), "correlation", i, 9000, r)
        for i, j in pairwise(cuts)
    ]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def test_correlation_is_that_of_the_oracle_and_never_negative():
    a, b = noise(1), noise(2)
    assert correlation(a, a) == pytest.approx(1.0, abs=1e-12)
    assert correlation(a, -a) == correlation(a, np.zeros_like(a)) == 0.0
    assert correlation(a[:, :0], b[:, :0]) == 0.0
    mixed = a + b
    x, y = a.astype(float), mixed.astype(float)
    expected = (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())
    assert correlation(a, mixed) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="shape"):
        correlation(a, b[:, 1:].copy())
    with pytest.raises(ValueError, match="r must"):
        ac.crossfade(a, b, "correlation", r=1.5)

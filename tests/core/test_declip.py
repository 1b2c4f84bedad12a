"""Declip, through a chain that does nothing else: closed form, the oracle, chunking."""

import numpy as np
import pytest
from reference.declip import declip as reference_declip
from reference.restore import box_lengths

import auralis_core as ac
from auralis_core.amplitudes import HEIGHTS
from auralis_core.plan import MasteringPlan
from auralis_core.restoration import DECLIP_REACH

SR = 44100


def run(x, level, sample_rate=SR, rise=0.2, **tools):
    return ac.render_array(x, sample_rate, MasteringPlan("adaptive", clip=level, clip_rise=rise, **tools))


def longest_run(sample_rate, fill=0.0):
    """2 ms, and without a fill what the chain would wait for it."""
    wait = 3 * (box_lengths(sample_rate)[0] - 1) // 2 + {8000: 8, 44100: 16, 192000: 64}[sample_rate]
    return int(88.0 / 44100.0 * sample_rate + 0.5) + (0 if fill else wait)


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
    clipped = np.clip(x, -0.8, 0.8)
    rise = (np.abs(x) / 0.8 - 1)[np.abs(x) > 0.8].mean()
    y = run(clipped.astype(np.float32)[None], 0.8, rise=rise)[0]
    # The cubic alone follows the crown of a sine within 2 %; its share of the height, .7, and what runs of
    # this length usually have make 1.05 of it.
    np.testing.assert_allclose(y, x, atol=0.04)
    assert y.max() > 0.96


def test_redrawn_peaks_rise_with_what_was_cut_off_and_stay_under_their_bound():
    x = clipped_music()
    tops = [np.abs(run(x, 0.9, rise=rise)).max() / np.float32(0.9) for rise in (0.0, 0.05, 0.2, 0.5)]
    assert tops[0] == 1.0
    assert tops == sorted(tops)
    for top, rise in zip(tops, (0.0, 0.05, 0.2, 0.5), strict=True):
        assert top <= 1.0 + DECLIP_REACH * rise
    assert tops[2] > 1.2


def test_noise_between_clipped_samples_cannot_hide_that_they_were_higher():
    """Neighbours that lie low make a cubic that stays under the level; the usual rise remains."""
    x = np.zeros((1, 4000), np.float32)
    x[0, 1000:1012] = 0.9
    x[0, [998, 1013]] = 0.89
    y = run(x, 0.9, rise=0.3)[0]
    assert y[1000:1012].max() > 0.9 * 1.1
    assert (np.diff(y[1000:1006]) > 0).all()


def test_a_curve_is_undone_before_what_was_cut_off_above_it_is_redrawn():
    """A soft clipper bends first and cuts at its own top, so the way back goes the other way round."""
    t = np.arange(SR) / SR
    x = 1.3 * np.sin(2 * np.pi * 300 * t) * np.sin(2 * np.pi * 2 * t)
    soft = np.sin(np.pi / 2 * np.clip(x, -1, 1)).astype(np.float32)
    height = np.maximum(HEIGHTS, 1e-9)
    curve = tuple((2 / np.pi * np.arcsin(height) / height * np.pi / 2).tolist())
    y = run(soft[None], 1.0, rise=0.1, curve=curve)[0]
    z = 2 / np.pi * y
    # What was not clipped comes back within the straight lines of the curve, near the top within .1 %.
    inside = np.abs(x) < 0.98
    np.testing.assert_allclose(z[inside], x[inside], atol=1e-3)
    assert np.abs(z).max() == pytest.approx(1.3, abs=0.1)
    # And the level itself went through the curve: nothing is left flat.
    flat = (np.abs(x[1:-1]) > 1.01) & (np.abs(np.diff(z)[1:]) < 1e-7)
    assert flat.mean() < 1e-3


def uneven(x, by=0.01, seed=2):
    """What a codec leaves of flat tops: noise on everything."""
    return (x + by * np.random.default_rng(seed).uniform(-1.0, 1.0, x.shape)).astype(np.float32)


@pytest.mark.parametrize("sample_rate", [8000, 44100, 192000])
@pytest.mark.parametrize("blur", [0.0, 0.02])
def test_declip_matches_the_oracle(sample_rate, blur):
    x = clipped_music(0.5)
    if blur:
        x = uneven(x)
    # Lagrange in double against a solved system: rounding of float32 samples.
    expected = reference_declip(x, 0.9, sample_rate, 0.2, longest_run(sample_rate), blur)
    np.testing.assert_allclose(run(x, 0.9, sample_rate, clip_blur=blur), expected, atol=1e-6)


def test_a_blur_lets_a_clipped_sample_lie_so_far_under_the_level_and_no_further():
    x = np.zeros((1, 4000), np.float32)
    tops = slice(1000, 1008), slice(2000, 2008), slice(3000, 3008)
    for top, height in zip(tops, (1.0, 0.975, 0.965), strict=True):
        x[0, top] = 0.9 * height
    y = run(x, 0.9, clip_blur=0.03)
    raised = [bool((y[0, top] > x[0, top]).all()) for top in tops]
    assert raised == [True, True, False]
    np.testing.assert_array_equal(y[0, tops[2]], x[0, tops[2]])


def test_no_blur_is_bit_for_bit_one_that_is_smaller_than_the_steps_of_12_bits():
    x = uneven(clipped_music(), 1e-3)
    y = run(x, 0.9)
    np.testing.assert_array_equal(run(x, 0.9, clip_blur=1e-5), y)
    np.testing.assert_array_equal(run(x, 0.9, clip_blur=0.99 / 4096), y)
    assert (run(x, 0.9, clip_blur=2 / 4096) != y).any()


def test_what_rides_on_an_uneven_top_is_kept():
    """Redrawing is adding: neither an overshoot nor a ripple of the top that is redrawn gets lost."""
    even = np.zeros((1, 4000), np.float32)
    even[0, 1000:1020] = 0.9
    even[0, [998, 999, 1020, 1021]] = 0.7, 0.8, 0.8, 0.7
    ridden = even.copy()
    ridden[0, 1000:1020] += 0.9 * 0.02 * np.cos(np.arange(20) * 2.0).astype(np.float32)
    ridden[0, 1010] = 1.1
    y, z = run(even, 0.9, clip_blur=0.03), run(ridden, 0.9, clip_blur=0.03)
    # Two roundings of float32 samples around 1.
    np.testing.assert_allclose(z - y, ridden - even, atol=2.5e-7)
    assert y[0, 1010] > 0.9 * 1.1


@pytest.mark.parametrize("rise", [0.05, 0.2, 0.5])
def test_peaks_redrawn_from_overshoots_stay_under_the_overshoot_and_the_bound(rise):
    x = uneven(clipped_music(), 0.05)
    z = run(x, 0.9, rise=rise, clip_blur=0.06)
    assert np.abs(z).max() <= np.abs(x).max() + 0.9 * rise * DECLIP_REACH
    assert np.abs(z).max() > np.abs(x).max() + 0.9 * 0.3 * rise  # and are redrawn at all


def test_reliable_samples_and_long_runs_stay_bit_for_bit():
    x = clipped_music()
    one_too_many = slice(20000, 20000 + longest_run(SR) + 1)
    x[:, one_too_many] = 0.9
    x[:, one_too_many.start - 1] = x[:, one_too_many.stop] = 0.1
    y = run(x, 0.9)
    below = np.abs(x) < np.float32(0.89)
    np.testing.assert_array_equal(y[below], x[below])
    np.testing.assert_array_equal(y[:, one_too_many], x[:, one_too_many])
    moved = y != x
    assert 0.02 < moved.mean() < 0.5
    assert (np.abs(y[moved]) >= np.float32(0.9)).all()
    assert np.abs(y).max() <= 0.9 * (1 + 0.2 * DECLIP_REACH)


@pytest.mark.parametrize("fill", [0.0, 1e-6])  # one that takes its time and does nothing else
def test_runs_are_redrawn_as_long_as_the_chain_waits_anyway(fill):
    x = np.zeros((1, SR), np.float32)
    longest = longest_run(SR, fill)
    for start, n in ((10000, longest), (30000, longest + 1)):
        x[0, start : start + n] = 0.9
        x[0, [start - 1, start + n]] = 0.85
    y = run(x, 0.9, fill=fill)[0]
    middle = [y[start + longest // 2] / y[start] for start in (10000, 30000)]
    assert middle[0] > 1.15
    assert middle[1] < 1.05
    chain = ac.Chain(MasteringPlan("adaptive", clip=0.9, fill=fill), SR, 1)
    assert chain.latency == ac.Chain(ac.bypass_plan(), SR, 1).latency


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

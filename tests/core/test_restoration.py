"""What damage the plan sees in a fingerprint, and how near to the truth it puts a number on it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from reference.limiter import true_peak_dbtp

import auralis_core as ac
from auralis_core.amplitudes import HEIGHTS
from auralis_core.schema import DETAIL_HEIGHTS

SR = 44100


@cache
def piece(seconds=12.0, seed=11):
    """Struck chords of decaying tones with a little hiss, as loud and as soft as they come; peak 1."""
    rng = np.random.default_rng(seed)
    x = np.zeros(int(SR * seconds))
    for at in np.arange(0.05, seconds - 0.1, 0.14):
        u = np.arange(min(SR, x.size - int(at * SR))) / SR
        for note in rng.choice(24, 3, replace=False):
            hz = 110.0 * 2.0 ** (note / 12.0)
            tone = sum(
                np.exp(-u * (3 + k)) * np.sin(2 * np.pi * hz * k * u + rng.uniform(0, 6)) / k
                for k in range(1, 9)
            )
            x[int(at * SR) :][: u.size] += rng.exponential() * tone
    x += 0.01 * rng.standard_normal(x.size) * np.abs(x).max()
    return np.stack([x, np.roll(x, 37)]) / np.abs(x).max()


def limited(x):
    limiter = ac.Limiter(SR, 2, 0.0)
    padded = np.concatenate([x, np.zeros((2, limiter.latency))], axis=1).astype(np.float32)
    return limiter.process(padded)[:, limiter.latency :]


SQUASHERS = {
    "tanh": np.tanh,
    "cubic": lambda x: 1.5 * np.clip(x / 1.5, -1, 1) - 0.5 * np.clip(x / 1.5, -1, 1) ** 3,
    "clip": lambda x: np.clip(x, -1.0, 1.0),
    "limiter": limited,
}


@cache
def squashed(how, drive_db):
    """The piece so many dB over full scale, squashed; its sample peak at 0 dBFS."""
    y = SQUASHERS[how](10.0 ** (drive_db / 20.0) * piece())
    y = np.ascontiguousarray(y / np.abs(y).max(), np.float32)
    return y, ac.fingerprint_array(y, SR)


def sdr(x, y):
    target = x * (x * y).sum() / (x * x).sum()
    return 10 * np.log10((target**2).sum() / ((y - target) ** 2).sum())


def gained(how, drive_db, **kwargs):
    """Plan, and dB of SI-SDR that it brings."""
    y, fp = squashed(how, drive_db)
    plan = ac.plan(fp, **kwargs)
    assert plan.decision.region == "compressed_loud"
    z = ac.render_array(y, SR, plan).astype(float)
    return plan, sdr(piece(), z) - sdr(piece(), y.astype(float))


def top_db(plan):
    return 20 * np.log10((plan.curve or (1.0,))[-1])


@pytest.mark.parametrize("drive_db", [6.0, 9.0, 12.0])
def test_how_far_a_tanh_flattened_the_top_is_told_within_a_few_decibels(drive_db):
    plan, gain = gained("tanh", drive_db)
    drive = 10.0 ** (drive_db / 20.0)
    true = 20 * np.log10(drive / np.tanh(drive))
    # Over sixteen pieces within 2.6 dB rms; the profile alone would put this one at 14 dB.
    assert top_db(plan) == pytest.approx(true, abs=1.5)
    assert gain > 6.0
    assert plan.clip == 0.0
    assert plan.depth == 0.0


def test_the_curve_of_a_tanh_is_the_inverse_of_one_at_every_height():
    curve = np.array(gained("tanh", 9.0)[0].curve)
    bends = np.linspace(0.5, 0.99999, 20001)
    bend = bends[np.argmin(np.abs(np.arctanh(bends) / bends - curve[-1]))]
    expected = np.arctanh(bend * HEIGHTS[1:]) / (bend * HEIGHTS[1:])
    # Eight steps of integration a node, straight lines in a slope of up to 100.
    np.testing.assert_allclose(curve[1:], expected, rtol=3e-3)


def test_a_soft_clipper_is_unbent_and_what_it_cut_redrawn():
    plan, gain = gained("cubic", 9.0)
    assert top_db(plan) == pytest.approx(3.6, abs=0.3)  # 3.5 for the cubic, 3.9 for a sine
    assert plan.clip == 1.0
    over = np.abs(10.0 ** (9.0 / 20.0) / 1.5 * piece()) - 1.0
    assert plan.clip_rise == pytest.approx(over[over > 0.0].mean(), rel=0.35)
    assert gain > 6.0
    # Either half of the undoing alone is worth less.
    y, _ = squashed("cubic", 9.0)
    for half in (replace(plan, clip=0.0), replace(plan, curve=())):
        assert (
            sdr(piece(), ac.render_array(y, SR, half).astype(float))
            < sdr(piece(), y.astype(float)) + gain - 1
        )


@pytest.mark.parametrize("drive_db", [4.0, 7.0, 11.0])
def test_a_hard_clip_is_not_unbent_and_the_mean_of_what_it_cut_is_known(drive_db):
    plan, gain = gained("clip", drive_db)
    over = np.abs(10.0 ** (drive_db / 20.0) * piece()) - 1.0
    assert plan.curve == ()
    assert plan.clip == 1.0
    # An exponential tail is assumed: within a fifth on real music, and this piece has one of its own.
    assert plan.clip_rise == pytest.approx(over[over > 0.0].mean(), rel=0.35)
    assert gain > 1.0


def odd_profile(fp):
    """The fingerprint of a track whose profile of fine detail says nothing about a curve."""
    d = fp.to_dict()
    wave = [(-1.0) ** k * 4.0 for k in range(DETAIL_HEIGHTS)]
    return ac.Fingerprint.from_dict({**d, "extras": {**d["extras"], "detail_db": wave}})


@pytest.mark.parametrize(("how", "bent"), [("cubic", True), ("clip", False)])
def test_where_the_profile_is_mute_what_piles_up_under_the_top_tells_the_clippers_apart(how, bent):
    plan = ac.plan(odd_profile(squashed(how, 9.0)[1]))
    assert plan.clip == 1.0
    assert bool(plan.curve) == bent


def test_a_profile_that_strays_from_the_model_is_not_believed():
    _, fp = squashed("tanh", 9.0)
    assert ac.plan(fp).curve
    plan = ac.plan(odd_profile(fp))
    assert plan.curve == ()
    assert plan.depth > 0.0
    assert any("can be trusted to 0%" in note for note in plan.notes)


def test_a_profile_half_believed_bends_half_as_far():
    _, fp = squashed("tanh", 6.0)
    d = fp.to_dict()
    wave = np.where(
        np.arange(DETAIL_HEIGHTS) < 0.6 * DETAIL_HEIGHTS, 1.4 * (-1.0) ** np.arange(DETAIL_HEIGHTS), 0
    )
    extras = {**d["extras"], "detail_db": (np.array(fp.detail_db) + wave).tolist()}
    plan = ac.plan(ac.Fingerprint.from_dict({**d, "extras": extras}))
    assert 0.1 < top_db(plan) / top_db(ac.plan(fp)) < 0.8


@pytest.mark.parametrize("drive_db", [6.0, 9.0])
def test_a_limiter_leaves_no_curve_worth_the_name(drive_db):
    assert top_db(gained("limiter", drive_db)[0]) < 1.0


def test_detail_that_grows_with_height_as_nature_has_it_is_no_curve():
    _, fp = squashed("limiter", 6.0)
    d = fp.to_dict()
    height = (np.arange(DETAIL_HEIGHTS) + 0.5) / DETAIL_HEIGHTS
    for growth, slope, expected in ((0.2, 0.0, 0.0), (0.2, 0.8, 5.0), (0.0, 0.5, 2.6)):
        profile = 20 * np.log10((1 + growth * height**2) * (1 - slope * height**2))
        extras = {**d["extras"], "detail_db": (profile + 1e-9).tolist()}
        plan = ac.plan(ac.Fingerprint.from_dict({**d, "extras": extras}))
        # 4.1 and 2.0 dB are the integrals of 1/slope; where
        # nature's growth is missing the curve is taken for steeper.
        assert top_db(plan) == pytest.approx(expected, abs=1.5 if slope else 0.3)


@pytest.mark.parametrize(("how", "drive_db"), [("tanh", 9.0), ("cubic", 9.0), ("clip", 8.0)])
@pytest.mark.parametrize("intensity", [0.4, 1.0])
def test_the_trim_makes_room_for_all_that_comes_back(how, drive_db, intensity):
    y, fp = squashed(how, drive_db)
    plan = ac.plan(fp, intensity=intensity)
    free = ac.render_array(y, SR, replace(plan, ceiling=None))
    # Between samples a redrawn peak may rise a little more than the tools count; the limiter is for that.
    assert true_peak_dbtp(free) <= plan.ceiling + 0.3
    assert true_peak_dbtp(ac.render_array(y, SR, plan)) <= plan.ceiling
    if how == "tanh":  # whose highest peak is known, so no headroom stays unused
        assert true_peak_dbtp(free) >= plan.ceiling - 1.0


def test_intensity_scales_what_is_redrawn():
    _, fp = squashed("clip", 8.0)
    rises = [ac.plan(fp, intensity=i).clip_rise for i in (0.25, 0.5, 1.0)]
    assert rises == pytest.approx([rises[2] / 4, rises[2] / 2, rises[2]])

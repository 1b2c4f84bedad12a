"""What damage the plan sees in a fingerprint, and how near to the truth it puts a number on it."""

import io
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import soundfile
import soxr
from reference.limiter import true_peak_dbtp
from scipy.signal import butter, sosfiltfilt

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


@pytest.mark.parametrize(("how", "bent"), [("cubic", True), ("clip", False)])
def test_a_profile_half_way_between_the_clippers_leaves_it_to_the_histogram(how, bent):
    """A little nearer to the wrong one of them: by less than what profiles stray."""
    d = squashed(how, 9.0)[1].to_dict()
    height = (np.arange(DETAIL_HEIGHTS) + 0.5) / DETAIL_HEIGHTS
    slope_db = (0.46 if bent else 0.54) * 10 * np.log10(1.0 - height**2.2)
    half = (slope_db + 20 * np.log10(1.0 + 0.2 * height**2)).tolist()
    plan = ac.plan(ac.Fingerprint.from_dict({**d, "extras": {**d["extras"], "detail_db": half}}))
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


def resampled(y):
    """There and back again through 48 kHz."""
    there = soxr.resample(y.T, SR, 48000, quality="VHQ")
    return soxr.resample(there, 48000, SR, quality="VHQ").T[:, : y.shape[1]]


def encoded(y):
    """Through an MP3 encoder at about 140 kbit/s, which makes up for its own delay."""
    file = io.BytesIO()
    soundfile.write(file, y.T, SR, format="MP3")
    file.seek(0)
    return soundfile.read(file)[0].T


def noisy(y):
    """Band-limited noise 30 dB under the music, as an encoder at 128 kbit/s leaves."""
    band = butter(4, (300.0, 12000.0), "bandpass", fs=SR, output="sos")
    noise = sosfiltfilt(band, np.random.default_rng(4).standard_normal(y.shape))
    return y + noise * np.sqrt((y * y).mean() / (noise * noise).mean()) * 10.0 ** (-30.0 / 20.0)


def written(y):
    """Through 48 kHz and into 16 bits, where what overshoots full scale is cut off again."""
    return np.clip(np.rint(resampled(y) * 32768.0), -32768.0, 32767.0) / 32768.0


BLURS = {"resampled": resampled, "encoded": encoded, "noisy": noisy, "written": written}


@cache
def blurred(how, drive_db, by, level=1.0):
    """The squashed piece with its sample peak at `level`, and what is left of it then."""
    y = np.ascontiguousarray(BLURS[by](level * squashed(how, drive_db)[0].astype(float)), np.float32)
    return y, ac.fingerprint_array(y, SR)


@pytest.mark.parametrize(
    ("by", "level", "drives_db", "off", "odd", "part"),
    [
        # A resampler overshoots flat tops by 2 % and leaves their middles alone.
        ("resampled", 1.0, (4.0, 7.0, 11.0), 0.01, 1.4, 0.6),
        # Noise spreads a top over 4 % of its level and the encoder over 8, so the level is known to a quarter
        # of that; the mean rise, counted from under all of that, to a factor of 2. Their own errors, 30 to
        # 23 dB under the music, stay, and the encoder's is nearly all there is after a clip by 4 dB.
        ("noisy", 0.95, (4.0, 7.0, 11.0), 0.015, 2.0, 0.25),
        ("encoded", 0.95, (4.0,), 0.02, 2.0, 0.1),
        ("encoded", 0.95, (7.0, 11.0), 0.02, 2.0, 0.25),
        ("encoded", 0.7, (7.0, 11.0), 0.02, 2.0, 0.25),
    ],
)
def test_flat_tops_that_something_made_uneven_are_redrawn(by, level, drives_db, off, odd, part):
    for drive_db in drives_db:
        check_redrawn(by, level, drive_db, off, odd, part)


def check_redrawn(by, level, drive_db, off, odd, part):
    y, fp = blurred("clip", drive_db, by, level)
    assert fp.extras["flat_top_share"] < 1e-4  # nobody counts them any more
    plan = ac.plan(fp)
    assert plan.clip == pytest.approx(level, rel=off)
    assert 1.0 / 4096 < plan.clip_blur < 0.15
    assert plan.curve == ()
    over = np.abs(10.0 ** (drive_db / 20.0) * piece()) - 1.0
    mean = over[over > 0.0].mean()
    assert mean / odd < plan.clip_rise < mean * odd
    # Noise hides how a run begins and ends, so redrawing wins back a part of what it does from even tops.
    z = ac.render_array(y, SR, plan).astype(float)
    gain = sdr(piece(), z) - sdr(piece(), y.astype(float))
    even = gained("clip", drive_db)[1]
    assert even > 4.0
    assert gain > part * even
    assert true_peak_dbtp(z) <= plan.ceiling


def test_what_is_clipped_lower_than_the_rest_is_redrawn_from_where_it_was_clipped():
    """An overshoot may be of any height: the level is that of the heap, not of the peak."""
    y = blurred("clip", 7.0, "resampled")[0].copy()
    y[:, 5 * SR] = 1.3
    plan = ac.plan(ac.fingerprint_array(y, SR))
    without = ac.plan(blurred("clip", 7.0, "resampled")[1])
    assert plan.clip == without.clip == pytest.approx(1.0, rel=0.01)
    assert plan.clip_blur == without.clip_blur
    assert true_peak_dbtp(ac.render_array(y, SR, plan)) <= plan.ceiling


def test_even_tops_stay_even_ones_whatever_rises_over_them():
    """Half of the piece clipped 1 dB lower: a heap under the peak, of samples that nothing blurred."""
    y = squashed("clip", 9.0)[0].copy()
    half = y.shape[1] // 2
    y[:, :half] *= np.float32(0.9)
    fp = ac.fingerprint_array(y, SR)
    assert fp.extras["flat_top_share"] > 1e-3
    plan = ac.plan(fp)
    assert (plan.clip, plan.clip_blur) == (1.0, 0.0)


@pytest.mark.parametrize("drive_db", [4.0, 7.0, 11.0, 14.0])
@pytest.mark.parametrize("how", ["limiter", "tanh"])
def test_what_was_limited_or_saturated_is_not_taken_for_uneven_tops(how, drive_db):
    fps = [squashed(how, drive_db)[1], *(blurred(how, drive_db, by)[1] for by in BLURS)]
    assert fps[0].extras["sample_peak_dbfs"] == 0.0
    for fp in fps:
        plan = ac.plan(fp)
        assert plan.clip == plan.clip_blur == plan.clip_rise == 0.0
        assert bool(plan.curve) == (how == "tanh")


def test_what_a_limiter_pressed_against_full_scale_is_not_taken_for_uneven_tops():
    """Dense chords: a steep heap right under the sample peak, but nothing overshoots it."""
    t = np.arange(6 * SR) / SR
    chord = sum(np.sin(2 * np.pi * hz * t + k) for k, hz in enumerate((110.0, 220.0, 277.2, 329.6, 440.0)))
    for drive in (1.0, 2.0, 4.0):
        y = limited(np.tile(drive / 3.0 * chord * (1 + 0.5 * np.sin(2 * np.pi * 0.7 * t)), (2, 1)))
        y = np.ascontiguousarray(y / np.abs(y).max(), np.float32)
        plan = ac.plan(ac.fingerprint_array(y, SR))
        assert plan.decision.region == "compressed_loud"
        assert plan.clip == plan.clip_blur == 0.0


def test_what_a_steep_tanh_piled_up_is_not_taken_for_uneven_tops():
    """As low as a tone's in its crest: there is a heap, but the profile of fine detail tells of the curve."""
    plan = ac.plan(as_loud(blurred("tanh", 18.0, "resampled")[1], 0.5))
    assert plan.curve
    assert plan.clip == plan.clip_blur == 0.0
    # So steep that the tops are flat in float32: even ones.
    assert ac.plan(as_loud(squashed("tanh", 22.0)[1], 0.5)).clip_blur == 0.0


@pytest.mark.parametrize("drive_db", [4.0, 7.0, 11.0])
def test_flat_tops_whose_overshoots_were_cut_off_at_full_scale_are_redrawn(drive_db):
    """All that is left of a ripple is under the tops: half of it, so half of the blur."""
    y, fp = blurred("clip", drive_db, "written")
    assert fp.extras["sample_peak_dbfs"] <= 0.0
    assert fp.extras["flat_top_share"] < 1e-4
    plan = ac.plan(fp)
    assert plan.clip == pytest.approx(1.0, rel=1e-3)
    assert 1e-3 < plan.clip_blur < 0.02
    over = np.abs(10.0 ** (drive_db / 20.0) * piece()) - 1.0
    assert plan.clip_rise == pytest.approx(over[over > 0.0].mean(), rel=0.35)
    z = ac.render_array(y, SR, plan).astype(float)
    # What ripples over the beginning and the end of a run costs a third of what even tops win.
    assert sdr(piece(), z) - sdr(piece(), y.astype(float)) > 0.6 * gained("clip", drive_db)[1]


def test_a_ripple_under_flat_tops_is_no_pile_of_a_soft_clipper():
    """Where the profile is mute: neither a wide one, nor one too slight to count as one."""
    wide = ac.plan(odd_profile(blurred("clip", 9.0, "written")[1]))
    dark = sosfiltfilt(butter(4, 2000.0, fs=SR, output="sos"), piece())
    y = written(np.clip(10.0 ** (3.0 / 20.0) * dark / np.abs(dark).max(), -1.0, 1.0))
    slight = ac.plan(odd_profile(ac.fingerprint_array(np.ascontiguousarray(y, np.float32), SR)))
    assert wide.clip == slight.clip == 1.0
    assert wide.clip_blur > 0.002
    assert slight.clip_blur == 0.0
    assert wide.curve == slight.curve == ()


def test_a_soft_clipper_whose_overshoots_were_cut_off_at_full_scale_is_still_unbent():
    y, fp = blurred("cubic", 9.0, "written")
    plan = ac.plan(fp)
    assert plan.clip == pytest.approx(1.0, rel=1e-3)
    assert top_db(plan) == pytest.approx(3.6, abs=0.3)
    assert sdr(piece(), ac.render_array(y, SR, plan).astype(float)) > sdr(piece(), y.astype(float)) + 6.0


@pytest.mark.parametrize(
    ("by", "drive_db", "cutoff", "level"),
    [
        (by, drive_db, cutoff, level)
        for by in ("resampled", "written")
        for drive_db in (4.0, 7.0, 11.0)
        for cutoff, level in ((1000.0, 1.0), (2000.0, 0.9), (4000.0, 1.0))
        # There the ripple stays within one step of the histogram: 3 dB are won of 12.
        if (by, drive_db, cutoff) != ("written", 4.0, 1000.0)
    ],
)
def test_tops_of_dark_music_that_a_resampler_hardly_moved_are_redrawn(by, drive_db, cutoff, level):
    """They ripple by .1 to .5 %: some stay even, the rest is no heap, and the peak is no more the level."""
    dark = sosfiltfilt(butter(4, cutoff, fs=SR, output="sos"), piece())
    original = 10.0 ** (drive_db / 20.0) * dark / np.abs(dark).max()
    even = np.ascontiguousarray(np.clip(original, -1.0, 1.0), np.float32)
    y = np.ascontiguousarray(BLURS[by](level * even.astype(float)), np.float32)
    plan = ac.plan(ac.fingerprint_array(y, SR))
    assert plan.clip == pytest.approx(level, rel=0.003)
    assert 0.0 < plan.clip_blur < 0.011
    over = np.abs(original) - 1.0
    assert plan.clip_rise == pytest.approx(over[over > 0.0].mean(), rel=0.35)
    assert plan.curve == ()

    def gain(squashed):
        z = ac.render_array(squashed, SR, ac.plan(ac.fingerprint_array(squashed, SR)))
        return sdr(original, z.astype(float)) - sdr(original, squashed.astype(float))

    # A ripple this small takes next to nothing of the 5.5 to 12.5 dB that even tops win.
    assert gain(y) > gain(even) - 0.7 > 4.0


def test_an_unsquashed_piece_has_no_uneven_tops():
    for level in (0.5, 0.7, 0.9, 1.0, 1.2):
        x = (level * piece()).astype(np.float32)
        assert ac.plan(as_loud(ac.fingerprint_array(x, SR), 0.2)).clip == 0.0


@pytest.mark.parametrize("drive_db", [7.0, 11.0])
def test_heights_are_counted_from_the_level_and_not_from_what_an_encoder_overshot(drive_db):
    y = blurred("tanh", drive_db, "encoded")[0]
    assert np.abs(y).max() > 1.01
    plan = ac.plan(ac.fingerprint_array(y, SR))
    spiky = y.copy()
    spiky[0, 5 * SR] = 1.5
    spiked = ac.plan(ac.fingerprint_array(spiky, SR))
    assert top_db(plan) > 3.0
    # One sample in a million moves no quantile, and the profile of fine detail by next to nothing.
    assert spiked.top == plan.top
    np.testing.assert_allclose(spiked.curve, plan.curve, rtol=1e-3)
    # The level lies where the tanh put it, within the overshoots: those of more than 2 % are few.
    assert plan.top == pytest.approx(1.0, abs=0.03)
    x = piece()
    assert sdr(x, ac.render_array(y, SR, plan).astype(float)) > sdr(x, y.astype(float)) + 2.0


def as_loud(fp, expansion):
    """The fingerprint of a track so loud that the rule asks for this expansion."""
    names = [d.name for d in ac.DIMENSIONS]
    values = list(fp.values)
    values[names.index("lufs")], values[names.index("crest_db")] = -9.0, 13.0 - 10.0 * expansion
    return replace(fp, values=tuple(values))


@cache
def dense(flattened=0.0):
    """Noise as dense as can be with nothing held in it, and detail as a curve so far flattened leaves it."""
    x = np.random.default_rng(1).uniform(-1.0, 1.0, (2, 6 * SR))
    d = ac.fingerprint_array((np.tanh(4.0 * x) / np.tanh(4.0)).astype(np.float32), SR).to_dict()
    height = (np.arange(DETAIL_HEIGHTS) + 0.5) / DETAIL_HEIGHTS
    profile = 20 * np.log10((1 + 0.2 * height**2) * (1 - flattened * height**2))
    return ac.Fingerprint.from_dict({**d, "extras": {**d["extras"], "detail_db": (profile + 1e-9).tolist()}})


def test_where_the_rule_asks_for_little_a_low_crest_alone_calls_for_little_lift_and_fill():
    """The rule asks for a tenth of the way at least, so what it asks for there says next to nothing."""
    plans = [ac.plan(as_loud(dense(), e)) for e in (0.1, 0.14, 0.3, 0.5)]
    assert all(p.curve == () and p.depth == 0.0 for p in plans)
    for values in ([p.lift_db for p in plans], [p.fill for p in plans]):
        # Nothing at e = .05, all of it from .2.
        assert values == pytest.approx([values[3] / 3, values[3] * 3 / 5, values[3], values[3]])
        assert values[3] > 0.0


def test_beside_clipping_a_low_crest_calls_for_half_the_fill_and_no_lift():
    d = as_loud(dense(), 0.4).to_dict()
    extras = {**d["extras"], "flat_top_share": 2e-4, "flat_top_longest": 5.0}
    plain, clipped = (ac.plan(ac.Fingerprint.from_dict(v)) for v in (d, {**d, "extras": extras}))
    assert plain.clip == 0.0 < clipped.clip
    assert clipped.fill == pytest.approx(0.5 * plain.fill)
    assert plain.lift_db > 0.0 == clipped.lift_db


def test_what_a_limiter_is_proven_to_have_taken_is_not_overruled_by_a_low_crest():
    """Limited by 4 dB it proves .9 dB; by its crest alone it would be lifted by 2."""
    y, fp = squashed("limiter", 4.0)
    plan = ac.plan(fp)
    assert any("a limiter held its peaks" in note for note in plan.notes)
    assert 0.5 < plan.lift_db < 1.3
    z = ac.render_array(y, SR, plan).astype(float)
    # Lifted by 2 dB it would lose 1.9.
    assert sdr(piece(), z) > sdr(piece(), y.astype(float)) - 1.0


def test_where_a_steep_curve_alone_is_to_blame_nothing_is_lifted_or_filled():
    plans = [ac.plan(as_loud(dense(b), 0.4)) for b in (0.0, 0.4, 0.8, 0.95, 0.9999)]
    tops = [top_db(p) for p in plans]
    assert tops == sorted(tops)
    assert tops[0] == 0.0
    assert tops[-1] > 10.0
    for values in ([p.lift_db for p in plans], [p.fill for p in plans]):
        # The less, the more of it the curve explains; all of these are far from the crest of music.
        assert values == sorted(values, reverse=True)
        assert values[0] > values[1] > values[2] > 0.0
        assert values[-1] == 0.0


def test_intensity_scales_what_a_low_crest_calls_for():
    whole = ac.plan(as_loud(dense(), 0.14))
    for intensity in (0.25, 0.5):
        plan = ac.plan(as_loud(dense(), 0.14), intensity=intensity)
        assert plan.lift_db == pytest.approx(intensity * whole.lift_db)
        assert plan.fill == pytest.approx(intensity * whole.fill)


@pytest.mark.parametrize("by", list(BLURS))
def test_intensity_scales_what_is_redrawn_of_uneven_tops(by):
    fp = blurred("clip", 7.0, by)[1]
    plans = [ac.plan(fp, intensity=i) for i in (0.25, 0.5, 1.0)]
    rises = [p.clip_rise for p in plans]
    assert rises[2] > 0.1
    assert rises == pytest.approx([rises[2] / 4, rises[2] / 2, rises[2]])
    assert {p.clip for p in plans} == {plans[0].clip}
    assert {p.clip_blur for p in plans} == {plans[0].clip_blur}


@pytest.mark.parametrize("by", list(BLURS))
def test_the_trim_makes_room_for_what_is_redrawn_from_overshoots(by):
    y, fp = blurred("clip", 8.0, by)
    plan = ac.plan(fp)
    free = ac.render_array(y, SR, replace(plan, ceiling=None))
    # Between samples a redrawn peak may rise a little more than the tools count; the limiter is for that.
    assert true_peak_dbtp(free) <= plan.ceiling + 0.3

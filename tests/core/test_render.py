"""Renderer: bit-exact paths, chunking, seeking, changing the plan, errors."""

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

import auralis_core as ac
from auralis_core import audio
from auralis_core.plan import Band, MasteringPlan
from auralis_core.render import ArraySource

SR = 44100


def noise(seconds=1.0, channels=2, scale=0.1, seed=1):
    rng = np.random.default_rng(seed)
    return (scale * rng.standard_normal((channels, int(SR * seconds)))).astype(np.float32)


def renderer(x, plan, sample_rate=SR):
    return ac.Renderer(ArraySource(x, sample_rate), plan)


def collect(r, sizes):
    """Read the rest of the track in pieces of the given sizes, cycled."""
    pieces = []
    while r.position < r.frames:
        for n in sizes:
            pieces.append(r.read(n))
    return np.concatenate(pieces, axis=1)


COLOURED = ac.standard_plan("warm")


@pytest.mark.parametrize("frames", [0, 1, 2, 137, 255, 256, 257, 1000, 44100])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_bypass_of_any_length_is_the_source_bit_for_bit(frames, channels):
    x = noise(1.0, channels)[:, :frames]
    y = ac.render_array(x, SR, ac.bypass_plan())
    assert y.shape == x.shape
    assert y.tobytes() == x.tobytes()


@pytest.mark.parametrize("sample_rate", [8000, 44100, 48000, 96000, 192000])
def test_bypass_is_bit_exact_at_any_rate(sample_rate):
    x = noise(0.5)
    assert ac.render_array(x, sample_rate, ac.bypass_plan()).tobytes() == x.tobytes()


def test_bypass_keeps_denormals_full_scale_and_signed_zeros():
    x = np.array([[1e-42, -1e-42, 0.0, -0.0, 1.0, -1.0, 7.5, -1e30]], np.float32)
    assert ac.render_array(x, SR, ac.bypass_plan()).tobytes() == x.tobytes()


def test_samples_that_are_not_finite_become_zero_and_touch_nothing_else():
    x = noise(0.1)
    x[0, 100], x[1, 200], x[0, 300] = np.nan, np.inf, -np.inf
    y = ac.render_array(x, SR, ac.bypass_plan())
    np.testing.assert_array_equal(y, np.where(np.isfinite(x), x, 0.0))
    assert np.isfinite(ac.render_array(x, SR, COLOURED)).all()


def test_streamed_equals_whole_over_random_chunkings():
    x, rng = noise(0.7), np.random.default_rng(7)
    whole = ac.render_array(x, SR, COLOURED).tobytes()
    for _ in range(40):
        sizes = rng.choice([0, 1, 2, 63, 64, 65, 511, 512, 2048, 4096, 9999], size=9)
        assert collect(renderer(x, COLOURED), [*sizes, 1000]).tobytes() == whole


def test_concatenated_dry_stream_is_the_source():
    x = noise(0.5)
    assert collect(renderer(x, ac.bypass_plan()), [512, 512, 1, 2048]).tobytes() == x.tobytes()


def test_seek_in_the_dry_stream_continues_at_exactly_that_frame():
    x = noise(1.0)
    r = renderer(x, ac.bypass_plan())
    for frame in (0, 1, 30000, 44099, 44100, 12345):
        r.seek(frame)
        assert r.position == frame
        np.testing.assert_array_equal(r.read(700), x[:, frame : frame + 700])


def test_set_plan_takes_effect_at_the_position_and_nowhere_before():
    x = noise(1.0)
    r = renderer(x, ac.bypass_plan())
    before = r.read(10000)
    r.set_plan(COLOURED, crossfade=2048)
    after = collect(r, [512])
    np.testing.assert_array_equal(before, x[:, :10000])
    # The fade's first weight is sin^2 of a quarter frame: 1.5e-7.
    np.testing.assert_allclose(after[:, 0], x[:, 10000], atol=1e-6)
    assert np.abs(after[:, 3000:] - x[:, 13000:]).max() > 1e-3


def test_set_plan_back_to_bypass_is_bit_exact_after_the_fade():
    x = noise(1.0)
    r = renderer(x, COLOURED)
    r.read(9000)
    r.set_plan(ac.bypass_plan(), crossfade=1000)
    y = collect(r, [300, 500])
    np.testing.assert_array_equal(y[:, 1000:], x[:, 10000:])


def test_set_plan_between_equal_plans_changes_no_bit():
    x = noise(0.5)
    r = renderer(x, COLOURED)
    first = r.read(5000)
    r.set_plan(ac.standard_plan("warm"))
    joined = np.concatenate([first, collect(r, [777])], axis=1)
    assert joined.tobytes() == ac.render_array(x, SR, COLOURED).tobytes()


def test_set_plan_is_chunk_invariant_through_nested_fades():
    x = noise(1.0)
    plans = [ac.bypass_plan(), COLOURED, ac.standard_plan("bright"), ac.bypass_plan()]

    def run(sizes):
        r, pieces = renderer(x, plans[0]), []
        for k, plan in enumerate(plans):
            r.set_plan(plan, crossfade=5000)
            end = r.frames if k == 3 else (k + 1) * 3000
            i = 0
            while r.position < end:
                pieces.append(r.read(min(sizes[i % len(sizes)], end - r.position)))
                i += 1
        return np.concatenate(pieces, axis=1).tobytes()

    assert run([512]) == run([1, 99, 4096]) == run([10**6])


def test_two_set_plans_at_one_position_are_the_later_one():
    x = noise(0.5)
    a, b = renderer(x, ac.bypass_plan()), renderer(x, ac.bypass_plan())
    for r in (a, b):
        r.read(3000)
    a.set_plan(ac.standard_plan("bright"))
    a.set_plan(COLOURED)
    b.set_plan(COLOURED)
    assert collect(a, [512]).tobytes() == collect(b, [512]).tobytes()


def test_the_new_chain_is_primed_before_it_is_heard():
    """A stationary tone through a cut: the new voice must not start with its filter's transient."""
    t = np.arange(SR) / SR
    x = (0.5 * np.sin(2 * np.pi * 60 * t)).astype(np.float32)[None].repeat(2, axis=0)
    plan = MasteringPlan("adaptive", eq=(Band("low_shelf", 100.0, 0.7, -6.0),))
    straight = ac.render_array(x, SR, plan)
    r = renderer(x, ac.bypass_plan())
    r.read(30000)
    r.set_plan(plan, crossfade=0)
    # Half a second of a 100 Hz shelf's memory is far below float32's resolution.
    np.testing.assert_allclose(r.read(5000), straight[:, 30000:35000], atol=1e-6)


@pytest.mark.parametrize(("crossfade", "clicks"), [(882, False), (2048, False), (0, True)])
def test_a_switch_of_plan_clicks_only_without_its_fade(crossfade, clicks):
    """20 ms are enough for 6 dB on a tone; the cut is the negative control."""
    x = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(SR) / SR)).astype(np.float32)[None].repeat(2, axis=0)
    r = renderer(x, ac.bypass_plan())
    head = r.read(20013)
    r.set_plan(MasteringPlan("adaptive", gain_db=-6.0), crossfade=crossfade)
    y = np.concatenate([head, collect(r, [512])], axis=1)[0].astype(float)
    residual = sosfiltfilt(butter(8, 6000, "high", fs=SR, output="sos"), y)[2000:-2000]
    level = 20 * np.log10(np.abs(residual).max())
    assert level > -60.0 if clicks else level <= -110.0


def test_a_file_renders_as_its_samples_do(tmp_path):
    x = noise(0.5)
    path = tmp_path / "x.wav"
    audio.write(path, x, SR, subtype="FLOAT")
    with ac.Renderer(path, COLOURED) as r:
        assert (r.frames, r.sample_rate, r.channels, r.latency) == (x.shape[1], SR, 2, 0)
        assert collect(r, [512]).tobytes() == ac.render_array(x, SR, COLOURED).tobytes()
    with audio.AudioReader(path) as reader, ac.Renderer(reader, ac.bypass_plan()) as r:
        r.seek(10000)
        np.testing.assert_array_equal(r.read(3000), x[:, 10000:13000])


def test_reads_and_seeks_out_of_range_are_refused_by_name():
    r = renderer(noise(0.1), ac.bypass_plan())
    for call in (lambda: r.seek(-1), lambda: r.seek(r.frames + 1)):
        with pytest.raises(ValueError, match="frame must be"):
            call()
    with pytest.raises(ValueError, match="frames"):
        r.read(-1)
    with pytest.raises(ValueError, match="crossfade"):
        r.set_plan(COLOURED, crossfade=-1)


def test_render_array_refuses_wrong_arrays_and_rates():
    with pytest.raises(ValueError, match="float32"):
        ac.render_array(np.zeros((2, 10)), SR, ac.bypass_plan())
    with pytest.raises(ValueError, match="channels"):
        ac.render_array(np.zeros((9, 10), np.float32), SR, ac.bypass_plan())
    with pytest.raises(ValueError, match="sample_rate"):
        ac.render_array(np.zeros((2, 10), np.float32), 7999, ac.bypass_plan())

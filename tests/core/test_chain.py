"""The whole chain: everything on at once, records, leveller, clones, threads, errors."""

import threading

import numpy as np
import pytest
from plans import EVERYTHING
from reference.limiter import true_peak_dbtp

import auralis_core as ac
from auralis_core.plan import MasteringPlan

SR = 44100


def music(seconds=2.0, channels=2, scale=0.2, seed=1):
    rng = np.random.default_rng(seed)
    t = np.arange(int(SR * seconds)) / SR
    beat = np.exp(-((t * 2) % 1) * 6)
    x = np.sin(2 * np.pi * 110 * t) * (0.3 + beat) + 0.2 * np.sin(2 * np.pi * 880 * t)
    hiss = rng.standard_normal((channels, t.size + 4))
    hiss = sum(w * hiss[:, k : k + t.size] for k, w in enumerate((1, 4, 6, 4, 1))) / 16
    return (scale * (x[None] + 0.3 * beat * hiss)).astype(np.float32)


def in_pieces(chain, x, sizes):
    pieces, at = [], 0
    for n in sizes:
        pieces.append(chain.process(np.ascontiguousarray(x[:, at : at + n])))
        at += n
    pieces.append(chain.process(np.ascontiguousarray(x[:, at:])))
    return np.concatenate(pieces, axis=1)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("sample_rate", [8000, 44100, 96000])
def test_everything_on_is_the_same_bits_in_any_pieces(channels, sample_rate):
    x = music(1.2, channels)
    whole = ac.Chain(EVERYTHING, sample_rate, channels).process(x).tobytes()
    rng = np.random.default_rng(channels)
    for _ in range(12):
        sizes = [int(n) for n in rng.choice([0, 1, 13, 255, 256, 257, 512, 2048, 4410, 9999], 6)]
        assert in_pieces(ac.Chain(EVERYTHING, sample_rate, channels), x, sizes).tobytes() == whole


def test_interleaved_instances_do_not_touch_each_other():
    xs = [music(0.6, seed=s) for s in range(3)]
    alone = [ac.Chain(EVERYTHING, SR, 2).process(x).tobytes() for x in xs]
    chains, parts = [ac.Chain(EVERYTHING, SR, 2) for _ in xs], [[] for _ in xs]
    for at in range(0, xs[0].shape[1], 500):
        for chain, x, part in zip(chains, xs, parts, strict=True):
            part.append(chain.process(np.ascontiguousarray(x[:, at : at + 500])))
    assert [np.concatenate(p, axis=1).tobytes() for p in parts] == alone


def test_a_clone_mid_stream_continues_as_the_original():
    x = music(2.0)
    a = ac.Chain(EVERYTHING, SR, 2)
    a.process(np.ascontiguousarray(x[:, :30011]))
    b = a.clone()
    rest = np.ascontiguousarray(x[:, 30011:])
    assert a.process(rest).tobytes() == in_pieces(b, rest, [7, 5000]).tobytes()
    assert a.measured == b.measured


def test_chains_may_hop_between_threads():
    x = music(0.6)
    whole = ac.Chain(EVERYTHING, SR, 2).process(x).tobytes()
    chain, parts = ac.Chain(EVERYTHING, SR, 2), []
    for at in range(0, x.shape[1], 4096):
        block = np.ascontiguousarray(x[:, at : at + 4096])
        thread = threading.Thread(target=lambda b=block: parts.append(chain.process(b)))
        thread.start()
        thread.join()
    assert np.concatenate(parts, axis=1).tobytes() == whole


@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
def test_simd_variants_give_the_same_bits(variant, monkeypatch):
    x = music(1.0, scale=0.6)
    expected = ac.Chain(EVERYTHING, SR, 2).process(x).tobytes()
    monkeypatch.setenv("AURALIS_SIMD", variant)
    assert ac.Chain(EVERYTHING, SR, 2).process(x).tobytes() == expected


def test_latency_is_the_same_for_every_plan_and_stays_below_15_ms():
    for rate in (8000, 44100, 192000):
        lags = {ac.Chain(p, rate, 2).latency for p in (EVERYTHING, ac.bypass_plan(), ac.standard_plan())}
        assert len(lags) == 1
        assert lags.pop() / rate < 0.015


def test_the_ceiling_holds_with_everything_on():
    assert true_peak_dbtp(ac.render_array(music(3.0, scale=0.9), SR, EVERYTHING)) <= -1.0


def test_width_scales_the_side_signal_only():
    x = music(0.5)
    y = ac.render_array(x, SR, MasteringPlan("adaptive", width=0.5))
    np.testing.assert_allclose(y[0] + y[1], x[0] + x[1], atol=1e-6)
    np.testing.assert_allclose(y[0] - y[1], 0.5 * (x[0] - x[1]), atol=1e-6)


def test_measured_agrees_with_the_meter_on_a_steady_signal():
    t = np.arange(5 * SR) / SR
    x = (0.25 * np.sin(2 * np.pi * 997 * t)).astype(np.float32)[None].repeat(2, axis=0)
    chain = ac.Chain(MasteringPlan("adaptive", gain_db=-6.0), SR, 2)
    chain.process(x)
    m = chain.measured
    meter = ac.Meter(SR, 2)
    meter.feed(x)
    assert m.lufs_in == pytest.approx(meter.integrated, abs=0.02)
    assert m.lufs_out == pytest.approx(meter.integrated - 6.0, abs=0.02)
    assert m.crest_in == pytest.approx(3.01, abs=0.01)
    assert m.gain_db == -6.0


def test_measured_is_finite_on_silence():
    chain = ac.Chain(EVERYTHING, SR, 2)
    assert np.isfinite(chain.measured).all()
    chain.process(np.zeros((2, SR), np.float32))
    assert chain.measured.lufs_in == -70.0
    assert np.isfinite(chain.measured).all()


def leveller_gain(x, **kwargs):
    """Gain in dB at the end of every second."""
    plan = MasteringPlan("adaptive", level_target=-14.0, **kwargs)
    y = ac.render_array(x, SR, plan)
    p = [np.sqrt((s.astype(float).reshape(2, -1, SR)[:, :, -4410:] ** 2).mean(axis=(0, 2))) for s in (y, x)]
    return 20 * np.log10(p[0] / p[1])


def test_the_leveller_waits_then_moves_half_a_db_a_second_to_six():
    t = np.arange(20 * SR) / SR
    x = (10 ** (-27 / 20) * np.sin(2 * np.pi * 997 * t)).astype(np.float32)[None].repeat(2, axis=0)
    gain = leveller_gain(x)
    np.testing.assert_allclose(gain[:3], 0.0, atol=0.02)
    assert np.diff(gain).max() < 0.51
    # −27 LUFS is 13 below the target: the range of 6 dB binds.
    assert gain[-1] == pytest.approx(6.0, abs=0.05)
    # Half the strength, half the correction.
    assert leveller_gain(x, level_strength=0.5)[-1] == pytest.approx(3.0, abs=0.05)


def test_the_leveller_lands_on_the_target_and_leaves_loud_signals_alone():
    t = np.arange(14 * SR) / SR
    tone = np.sin(2 * np.pi * 997 * t).astype(np.float32)[None].repeat(2, axis=0)
    assert leveller_gain(tone * np.float32(10 ** (-17 / 20)))[-1] == pytest.approx(3.0, abs=0.1)
    # −8 LUFS with the crest of a sine: compressed_loud, −.5 dB and no more.
    assert leveller_gain(tone * np.float32(10 ** (-8 / 20)))[-1] == pytest.approx(-0.5, abs=0.05)


def test_a_garbage_sample_does_not_overflow_a_stage():
    x = music()
    x[0, 5000] = 3e38
    y = ac.Chain(MasteringPlan("adaptive", gain_db=12.0, width=1.5), SR, 2).process(x)
    assert np.isfinite(y).all()


def test_the_record_tells_the_deepest_limiting_of_the_whole_call():
    x = music()
    x[:, 5000] = 2.0
    chain = ac.Chain(MasteringPlan("adaptive", ceiling=-1.0), SR, 2)
    chain.process(x)
    # 6 dB over full scale and 1.2 down to where the gain aims; a lone sample reads 1.3 to 1.4 higher.
    assert 7.2 <= chain.measured.gain_reduction_db <= 8.7
    chain.process(np.ascontiguousarray(x[:, 6000:]))
    assert chain.measured.gain_reduction_db < 1.0


def test_a_chain_in_the_same_place_goes_on_measuring_what_came_in():
    x = music(5.0)
    former = ac.Chain(ac.standard_plan(), SR, 2)
    former.process(x)
    there, elsewhere = (ac.Chain(MasteringPlan("warm", gain_db=1.0), SR, 2) for _ in range(2))
    there.inherit(former, same_place=True)
    elsewhere.inherit(former, same_place=False)
    silence = np.zeros((2, SR // 10), np.float32)
    for chain in (former, there, elsewhere):
        chain.process(silence)
    assert there.measured.lufs_in == former.measured.lufs_in > -40.0
    assert elsewhere.measured.lufs_in != former.measured.lufs_in


def test_wrong_arguments_are_refused_by_name():
    for rate, channels in ((7999, 2), (192001, 2), (44100, 0), (44100, 9)):
        with pytest.raises(ValueError, match=r"sample_rate.*channels"):
            ac.Chain(ac.bypass_plan(), rate, channels)
    with pytest.raises(ValueError, match="channels"):
        ac.Chain(ac.bypass_plan(), SR, 2).process(np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match="rate or channel"):
        ac.Chain(ac.bypass_plan(), SR, 2).inherit(ac.Chain(ac.bypass_plan(), SR, 1), same_place=False)

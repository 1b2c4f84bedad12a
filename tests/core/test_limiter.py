"""Limiter: ceiling on an independent meter, look-ahead, bit-exactness, chunking, errors."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference.limiter import gain as reference_gain
from reference.limiter import long_true_peak_dbtp, true_peak_dbtp

import auralis_core as ac

SR = 44100


def run(x, ceiling=-1.0, sample_rate=SR, sizes=None):
    """Limited and time-aligned."""
    limiter = ac.Limiter(sample_rate, x.shape[0], ceiling)
    lag = limiter.latency
    padded = np.concatenate([x, np.zeros((x.shape[0], lag), np.float32)], axis=1)
    pieces, at = [], 0
    for n in sizes or [padded.shape[1]]:
        pieces.append(limiter.process(np.ascontiguousarray(padded[:, at : at + n])))
        at += n
    return np.concatenate(pieces, axis=1)[:, lag:]


def stereo(x):
    return np.stack([x, x]).astype(np.float32)


def tone(frequency, amplitude, seconds=1.0, phase=0.0):
    t = np.arange(int(SR * seconds)) / SR
    fade = np.minimum(1.0, np.minimum(np.arange(t.size), np.arange(t.size)[::-1]) / 441)
    return stereo(amplitude * fade * np.sin(2 * np.pi * frequency * t + phase))


def bass_and_bursts(seed=1, seconds=2.0):
    rng = np.random.default_rng(seed)
    t = np.arange(int(SR * seconds)) / SR
    hiss = rng.standard_normal((2, t.size + 4))
    hiss = sum(w * hiss[:, k : k + t.size] for k, w in enumerate((1, 4, 6, 4, 1))) / 16  # falls like music's
    x = 0.4 * np.sin(2 * np.pi * 80 * t)[None] + 0.1 * hiss
    for at in rng.integers(0, t.size - 3000, 12):
        x[:, at : at + 3000] += np.exp(-np.arange(3000) / 400) * np.sin(np.arange(3000) * 0.3)
    return x.astype(np.float32)


def clicks():
    x = np.zeros((2, SR))
    x[:, 1000::997] = 2.0
    return x.astype(np.float32)


def noise(seed=4, seconds=1.0):
    """White up to Nyquist."""
    return np.random.default_rng(seed).standard_normal((2, int(SR * seconds)))


def hats(seed=1, seconds=1.0):
    """Treble-heavy bursts over a bass."""
    rng = np.random.default_rng(seed)
    n = int(SR * seconds)
    x = np.tile(0.35 * np.sin(2 * np.pi * 80 * np.arange(n) / SR), (2, 1))
    for at in range(0, n - 6000, 2756):
        burst = rng.standard_normal((2, 6002))
        treble = burst[:, :-2] - 2 * burst[:, 1:-1] + burst[:, 2:]
        x[:, at : at + 6000] += 0.3 * treble * np.exp(-np.arange(6000) / rng.uniform(100, 900))
    return x


def flipping_bursts():
    """Tones at Nyquist that change sides: the steepest inter-sample peaks there are."""
    x = np.zeros((2, SR))
    n = np.arange(-12, 12)
    for at in range(1000, SR - 1000, 1500):
        x[:, at - 12 : at + 12] = (-1.0) ** n * np.where(n < 0, 1, -1)
    return x


CASES = {
    "fs/4": lambda: tone(SR / 4, 1.4, phase=np.pi / 4),
    "fs/6": lambda: tone(SR / 6, 1.4, phase=np.pi / 3),
    ".45 fs": lambda: tone(0.45 * SR, 1.4),
    ".49 fs": lambda: tone(0.49 * SR, 1.4),
    "bass": lambda: tone(50, 2.0),
    "square": lambda: stereo(np.sign(np.sin(2 * np.pi * 441.3 * np.arange(SR) / SR)) * 0.99),
    "clicks": clicks,
    "music-like, 8 dB over": lambda: bass_and_bursts() * np.float32(1.6),
    "full-scale white noise": lambda: np.clip(0.5 * noise(), -1, 1),
    "white noise, 20 dB over": lambda: 2.5 * noise(),
    "random signs": lambda: np.sign(noise()),
    "hats, 8 dB over": lambda: 2.5 * hats(),
    "flipping bursts": flipping_bursts,
}


@pytest.mark.parametrize("case", CASES)
def test_true_peak_stays_under_the_ceiling_on_two_16x_meters(case):
    x = CASES[case]().astype(np.float32)
    assert long_true_peak_dbtp(x) > -0.5
    y = run(x)
    assert true_peak_dbtp(y) <= -1.0
    assert long_true_peak_dbtp(y) <= -1.0


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    weights=st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6).filter(lambda w: max(w) > 0.1),
    gain_db=st.floats(-6.0, 20.0),
    seed=st.integers(0, 2**16),
    sample_rate=st.sampled_from([8000, 44100, 48000, 96000, 192000]),
)
@example(weights=[1.0, 0, 0, 0, 0, 0], gain_db=20.0, seed=0, sample_rate=192000)
def test_no_mixture_leaves_over_the_ceiling(weights, gain_db, seed, sample_rate):
    n = 8000
    t = np.arange(n)
    rng = np.random.default_rng(seed)
    clicking = np.zeros((2, n))
    clicking[:, rng.integers(50, n - 50, 40)] = rng.choice([-2.0, 2.0], 40)
    sources = [
        rng.standard_normal((2, n)),
        hats(seed, n / SR + 0.01)[:, :n],
        np.tile(np.sign(np.sin(2 * np.pi * rng.uniform(0.001, 0.2) * t)), (2, 1)),
        clicking,
        np.tile(np.sin(2 * np.pi * rng.uniform(0.001, 0.49) * t), (2, 1)),
        flipping_bursts()[:, :n],
    ]
    x = sum(w * s for w, s in zip(weights, sources, strict=True)) * 10 ** (gain_db / 20)
    fade = np.minimum(1.0, np.minimum(t, t[::-1]) / 200)  # a cut edge is a click of its own at any meter
    y = run((x * fade).astype(np.float32), sample_rate=sample_rate)
    assert max(true_peak_dbtp(y), long_true_peak_dbtp(y)) <= -1.0


def test_gain_falls_before_a_spike_and_recovers_after_it():
    x = np.full((2, SR), 0.25, np.float32)
    x[:, 20000] = 4.0
    y = run(x)
    gain = y[0] / x[0]
    # 4 down to the internal ceiling, and below it what longer interpolators may find: at most .4 + .8 of a
    # quarter of the eighth difference of the spike (1.09).
    assert 10 ** (-1.2 / 20) / 4.7 <= gain[20000] <= 10 ** (-1.2 / 20) / 4.0
    assert (gain[19870:20000] < 1.0).all()
    assert gain[19800] == 1.0
    assert (np.diff(gain[19850:20000]) <= 0).all()
    # 80 ms release in the log domain: after 80 ms, 1/e of the dB are left.
    left = np.log(gain[20000 + 3528 + 130]) / np.log(gain[20000])
    assert left == pytest.approx(np.exp(-1), abs=0.03)
    assert gain[-1] == pytest.approx(1.0, abs=5e-3)


def test_nothing_over_is_bit_exact_denormals_and_all():
    x = (bass_and_bursts() * np.float32(0.3)).astype(np.float32)
    x[:, 100:110] = 1e-42
    assert run(x).tobytes() == x.tobytes()


def test_bit_exact_again_after_the_release():
    x = np.full((1, 3 * SR), 1e-42, np.float32)
    x[0, 1000] = 2.0
    y = run(x)
    # 80 ms of release from 7 dB to 6e-6 dB takes 14 time constants.
    np.testing.assert_array_equal(y[:, 2 * SR :], x[:, 2 * SR :])


def test_channels_share_one_gain():
    x = bass_and_bursts()
    x[1] *= 0.1
    x[0, 30000] = 3.0
    y = run(x)
    loud = np.abs(x).min(axis=0) > 1e-3
    ratio = (y[0] / x[0])[loud] / (y[1] / x[1])[loud]
    np.testing.assert_allclose(ratio, 1.0, atol=3e-7)


def test_gain_follows_the_law_on_a_flat_topped_signal():
    """On a slow envelope every interpolation agrees, so the oracle's envelope is |x| itself."""
    t = np.arange(SR) / SR
    level = 0.5 + 0.8 * np.sin(2 * np.pi * 3 * t) ** 2
    x = level.astype(np.float32)[None]
    y = run(x)
    # A 3 Hz ramp moves 4e-4 a frame, and the kernel looks 31 frames to either side.
    look, hold = 31, 3 * 44 - 2 - 1 + 3
    envelope = np.concatenate([np.zeros(look), x[0].astype(float), np.zeros(hold)])
    g = reference_gain(envelope, 10 ** (-1.2 / 20), SR)[look + hold :]
    np.testing.assert_allclose(y[0], x[0] * g[: x.shape[1]], atol=2e-3)


def test_chunking_changes_no_bit():
    x = bass_and_bursts() * np.float32(2)
    whole = run(x).tobytes()
    rng = np.random.default_rng(3)
    for _ in range(30):
        sizes = [int(n) for n in rng.choice([0, 1, 17, 63, 64, 255, 256, 257, 2048, 10000], 8)] + [10**6]
        assert run(x, sizes=sizes).tobytes() == whole


def test_clone_goes_on_as_the_original_would():
    x = bass_and_bursts()
    limiter = ac.Limiter(SR, 2)
    limiter.process(np.ascontiguousarray(x[:, :12345]))
    other = limiter.clone()
    rest = np.ascontiguousarray(x[:, 12345:])
    limiter.process(np.zeros((2, 999), np.float32))  # is nothing to the other
    np.testing.assert_array_equal(other.process(rest), run(x)[:, 12345 - limiter.latency : -limiter.latency])


def test_reset_forgets():
    x = bass_and_bursts() * np.float32(2)
    limiter = ac.Limiter(SR, 2)
    first = limiter.process(x)
    limiter.reset()
    assert limiter.process(x).tobytes() == first.tobytes()


@pytest.mark.parametrize("sample_rate", [8000, 22050, 48000, 96000, 192000])
def test_other_rates_hold_the_ceiling(sample_rate):
    x = bass_and_bursts() * np.float32(1.6)
    assert true_peak_dbtp(run(x, sample_rate=sample_rate)) <= -1.0


def test_samples_that_are_not_finite_count_as_silence():
    x = bass_and_bursts()
    x[0, 500], x[1, 501] = np.nan, np.inf
    assert np.isfinite(run(x)).all()


def test_gain_reduction_is_that_of_the_last_call():
    limiter = ac.Limiter(SR, 2)
    limiter.process(tone(100, 2.0))
    assert limiter.gain_reduction_db == pytest.approx(6.02 + 1.2, abs=0.05)
    limiter.process(np.zeros((2, 2 * SR), np.float32))
    limiter.process(np.zeros((2, SR), np.float32))
    assert limiter.gain_reduction_db == 0.0


def test_wrong_arguments_are_refused_by_name():
    for args in ((7999, 2), (44100, 0), (44100, 9), (44100, 2, 0.1), (44100, 2, float("nan"))):
        with pytest.raises(ValueError, match=r"sample_rate.*channels.*ceiling"):
            ac.Limiter(*args)
    with pytest.raises(ValueError, match="channels"):
        ac.Limiter(44100, 2).process(np.zeros((1, 4), np.float32))

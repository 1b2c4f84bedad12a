"""Curve and fill, through a chain that does nothing else: identity, the oracle, evenness, chunking."""

import numpy as np
import pytest
from reference.restore import restore as reference_restore

import auralis_core as ac
from auralis_core.amplitudes import HEIGHTS
from auralis_core.plan import MasteringPlan

SR = 44100
CURVE = tuple((1.0 + HEIGHTS**3).tolist())


def run(x, sample_rate=SR, **tool):
    return ac.render_array(x, sample_rate, MasteringPlan("adaptive", **tool))


def music(seconds=1.0, seed=1, channels=2):
    rng = np.random.default_rng(seed)
    t = np.arange(int(SR * seconds)) / SR
    x = 0.3 * np.sin(2 * np.pi * 90 * t) + 0.1 * np.sin(2 * np.pi * 1300 * t)
    x = x[None] + 0.03 * rng.standard_normal((channels, t.size))
    for at in range(0, t.size - 4000, 9000):
        x[:, at : at + 4000] += 0.4 * rng.standard_normal((channels, 4000)) * np.exp(-np.arange(4000) / 500)
    return x.astype(np.float32)


def gain_db(y, x):
    return 10 * np.log10((y.astype(float) ** 2).mean() / (x.astype(float) ** 2).mean())


@pytest.mark.parametrize("sample_rate", [8000, 44100, 96000, 192000])
@pytest.mark.parametrize(
    "tool",
    [
        {"depth": 0.7, "top": 0.9},
        {"fill": 0.4, "held": 0.5},
        {"lift_db": 7.0, "held": 0.7},
        {"depth": 1.0, "fill": 0.2, "held": 0.6},
        {"curve": CURVE, "top": 0.8},
        {"curve": CURVE, "depth": 0.4, "fill": 0.3, "lift_db": 3.0, "held": 1.0},
    ],
)
def test_restore_matches_the_oracle(sample_rate, tool):
    x = music(0.5)
    expected = reference_restore(
        x,
        sample_rate,
        tool.get("depth", 0.0),
        tool.get("top", 1.0),
        tool.get("fill", 0.0),
        tool.get("curve"),
        tool.get("lift_db", 0.0),
        tool.get("held", 1.0),
    )
    y = run(x, sample_rate, **tool)
    # The tail is left out: past the end the kernel hears silence, the oracle's last quantum is short.
    # float32 band signals and a float log2 against float64: 1e-5 of full scale.
    np.testing.assert_allclose(y[:, :-1000], expected[:, :-1000], atol=1e-5)


def test_lift_and_fill_of_a_steady_tone_are_one_gain_without_ripple():
    t = np.arange(3 * SR) / SR
    x = (0.5 * np.sin(2 * np.pi * 441 * t)).astype(np.float32)[None].repeat(2, axis=0)
    y = run(x, fill=0.4, lift_db=5.0, held=0.5)[:, SR:-1000]
    # Nothing stands out over the slow level, and from peak to peak (1.13 ms) reach falls by 3 % at most.
    gains = [gain_db(a, b) for a, b in zip(y.reshape(-1, 100), x[:, SR:-1000].reshape(-1, 100), strict=True)]
    assert np.ptp(gains) < 0.1
    assert 4.8 < np.mean(gains) <= 5.0


def test_what_stays_under_the_level_that_was_held_comes_out_bit_for_bit():
    """1 dB under it nothing reaches it: neither lift nor fill has any business there, however lively."""
    x = music()
    held = float(np.abs(x).max()) * 10 ** (1.01 / 20)
    np.testing.assert_array_equal(run(x, fill=0.4, lift_db=6.0, held=held), x)


def test_fill_lifts_what_stands_out_where_peaks_were_held_and_leaves_the_rest():
    t = np.arange(2 * SR) / SR
    x = 0.05 * np.sin(2 * np.pi * 300 * t)
    x[SR : SR + 882] *= 10.0
    x[SR // 2 : SR // 2 + 882] *= 8.5  # stands out nearly as much, but nobody held it
    x = x.astype(np.float32)[None]
    y = run(x, fill=0.3, held=0.5)
    # 20 dB over: .3 x (20 - 1.5), less what the burst itself adds to the slow level.
    assert 2.0 < gain_db(y[:, SR + 200 : SR + 800], x[:, SR + 200 : SR + 800]) < 5.6
    np.testing.assert_array_equal(y[:, : SR - 200], x[:, : SR - 200])
    # 40 ms of reach: half a second later it is over.
    np.testing.assert_array_equal(y[:, -SR // 4 : -1000], x[:, -SR // 4 : -1000])


def test_a_burst_in_one_band_fills_that_band_alone():
    t = np.arange(2 * SR) / SR
    bass = 0.3 * np.sin(2 * np.pi * 40 * t)
    burst = np.where(
        (t > 1.0) & (t < 1.02), 0.3 * np.sin(2 * np.pi * 9000 * t), 0.003 * np.sin(2 * np.pi * 9000 * t)
    )
    y = run((bass + burst).astype(np.float32)[None], fill=0.4, held=0.59)[0]
    assert np.abs(y).max() > 0.65
    probe = slice(SR + 100, SR + 100 + 4410)
    # Projections on the 40 Hz tone over four periods (the 9 kHz part is orthogonal to 1e-3).
    amplitude = 2 * np.abs(np.mean(y[probe] * np.exp(-2j * np.pi * 40 * t[probe])))
    assert 20 * np.log10(amplitude / 0.3) == pytest.approx(0.0, abs=0.2)  # gentle slopes let .1 dB across


def test_the_lift_undoes_what_a_limiter_did_to_everything():
    """A tone that a limiter, at peaks which no longer show, turned down by 6 dB and let go again in 60 ms."""
    t = np.arange(4 * SR) / SR
    beat = t % 0.5
    original = 0.4 * np.sin(2 * np.pi * 2000 * t)
    x = original * (1.0 - 0.5 * np.exp(-beat / 0.06))
    x[peaks := (beat * SR).astype(int) == 40] = 1.0
    y = run(x.astype(np.float32)[None], lift_db=6.0, held=1.0)[0]

    def movement(z):
        """Deviation of the gain from original to z over 10 ms, dB."""
        a, b = (np.where(peaks, 0.0, s)[: t.size // 441 * 441].reshape(-1, 441) for s in (original, z))
        return np.std(20 * np.log10((a * b).sum(axis=1) / (a * a).sum(axis=1)))

    assert movement(x) > 0.8
    assert movement(y) < 0.5 * movement(x)


def test_lift_comes_before_the_peak_and_not_long_before():
    x = np.full((1, SR), 0.01, np.float32)
    x[0, SR // 2] = 1.0
    gains = run(x, lift_db=6.0, held=1.0)[0] / x[0]
    peak = 20 * np.log10(gains[SR // 2])
    assert peak > 4.0  # 1.5 ms ahead at 1 ms
    changed = np.flatnonzero(np.abs(gains[: SR // 2] - 1.0) > 1e-3)
    assert SR // 2 - changed[0] <= 0.0025 * SR  # 1.5 ms ahead, and the quantum that notices and the ramp


def test_gaps_at_minus_80_dbfs_are_not_lifted():
    rng = np.random.default_rng(2)
    x = (1e-4 * rng.standard_normal((2, 2 * SR))).astype(np.float32)
    x[:, :SR] *= np.float32(1000)
    y = run(x, fill=0.4, lift_db=9.0, held=0.3)
    assert gain_db(y[:, :SR], x[:, :SR]) > 3.0
    np.testing.assert_array_equal(y[:, SR + 18000 : -1000], x[:, SR + 18000 : -1000])  # ln 1e4 x 40 ms


def test_mono_stays_mono_and_the_image_stays_put():
    x = np.repeat(music(1.0, channels=1), 2, axis=0)
    y = run(x, depth=0.5, fill=0.4, lift_db=3.0, held=0.5)
    np.testing.assert_array_equal(y[0], y[1])
    x[1] *= np.float32(0.5)
    y = run(x, fill=0.4, lift_db=3.0, held=0.5)
    # One gain for both channels: L/R ratio kept to float32 rounding of the band sums.
    np.testing.assert_allclose(y[0], 2 * y[1], atol=1e-6)


def test_expansion_is_the_curve_it_says():
    x = np.linspace(-1.2, 1.2, 4001, dtype=np.float32)[None]
    y = run(x, depth=1.0, top=1.0)
    v = x.astype(float)
    np.testing.assert_allclose(y, v * (1 + np.minimum(np.abs(v), 1.0) ** 4), atol=2e-7)


@pytest.mark.parametrize(("peak", "atol"), [(1.5, 3e-4), (4.0, 0.02)])
def test_a_curve_undoes_what_it_is_the_inverse_of(peak, atol):
    t = np.arange(SR) / SR
    x = peak * np.sin(2 * np.pi * 97 * t) * np.sin(2 * np.pi * 3 * t)
    y = np.tanh(x)
    height = np.maximum(HEIGHTS, 1e-9) * np.abs(y).max()
    curve = tuple((np.arctanh(height) / height).tolist())
    z = run(y.astype(np.float32)[None], curve=curve, top=float(np.abs(y).max()))[0]
    # 128 straight lines, half as far apart in the square root of what is missing to the top as the last one
    # is wide: there atanh(y)/y bends most.
    np.testing.assert_allclose(z, x, atol=atol)


def test_over_the_top_a_curve_goes_on_as_a_constant_gain():
    x = np.array([[0.5, 1.0, 1.5, -2.0]], np.float32)
    # Between nodes 1/90 apart, 1 + u^3 is a line: within u/8 / 90^2 x 6 of it.
    np.testing.assert_allclose(run(x, curve=CURVE)[0], [0.5625, 2.0, 3.0, -4.0], rtol=5e-5)


@pytest.mark.parametrize("tool", [{"depth": 0.6}, {"curve": CURVE}])
def test_chunking_and_cloning_change_no_bit(tool):
    x = music(1.0)
    plan = MasteringPlan("adaptive", fill=0.3, lift_db=4.0, held=0.6, **tool)
    whole = ac.Chain(plan, SR, 2).process(x).tobytes()
    rng = np.random.default_rng(5)
    for _ in range(25):
        chain, at, pieces = ac.Chain(plan, SR, 2), 0, []
        while at < x.shape[1]:
            n = int(rng.choice([0, 1, 15, 16, 17, 255, 256, 1000, 5000]))
            pieces.append(chain.process(np.ascontiguousarray(x[:, at : at + n])))
            at += n
            if rng.random() < 0.2:
                chain = chain.clone()
        assert np.concatenate(pieces, axis=1).tobytes() == whole


def test_silence_dc_and_huge_samples_stay_finite():
    for level in (0.0, 1e-42, 0.5, 1e30):
        y = run(np.full((2, 20000), level, np.float32), depth=3.0, fill=1.0, lift_db=12.0)
        assert np.isfinite(y).all()
    np.testing.assert_array_equal(
        run(np.zeros((2, 9000), np.float32), depth=3.0, fill=1.0, lift_db=12.0), 0.0
    )

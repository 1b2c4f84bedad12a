"""What mastering must never do, each line measured on the output of the chain.

`LOUD` are the plans of masters squashed in three ways, so that every restoring stage is at work; they are
then applied to signals that are no such thing.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import soxr
from reference.limiter import true_peak_dbtp
from scipy.signal import butter, sosfiltfilt
from scripts import script

import auralis_core as ac
from auralis_core import audio

SR = 44100


@pytest.fixture(scope="module")
def metrics():
    """SquashBench's measures."""
    with script("metrics") as module:
        yield module


@cache
def dynamic(seconds=10.0, seed=3):
    """Chords, bass and drums with a crest well over 13 dB, float64 (2, frames), peak 1."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(SR * seconds)) / SR
    chord = sum(np.sin(2 * np.pi * f * t + k) for k, f in enumerate((220.0, 277.2, 329.6, 440.0)))
    pad = 0.05 * chord * (1 + 0.3 * np.sin(2 * np.pi * 0.4 * t)) + 0.12 * np.sin(2 * np.pi * 55 * t)
    x = np.stack([pad, np.roll(pad, 300)])
    decay = np.exp(-np.arange(4000) / 500)
    for at in range(0, t.size - 4000, 11025):
        strike = np.convolve(rng.standard_normal(4004), np.array([1, 4, 6, 4, 1]) / 16, "valid")
        x[:, at : at + 4000] += rng.uniform(0.6, 1.0) * decay * strike
    return x / np.abs(x).max()


def limited(x):
    """A look-ahead limiter of 60 ms release, which leaves peaks their shape."""
    limiter = ac.Limiter(SR, 2, 0.0)
    padded = np.concatenate([x, np.zeros((2, limiter.latency))], axis=1).astype(np.float32)
    return limiter.process(padded)[:, limiter.latency :]


SQUASHERS = {
    "tanh": lambda x: np.tanh(x),
    "clip": lambda x: np.clip(x, -1.0, 1.0),
    "limiter": limited,
}


@cache
def squashed(how):
    """The same piece at −8 LUFS, and its fingerprint."""
    low, high = 0.5, 60.0
    for _ in range(10):
        drive = np.sqrt(low * high)
        meter = ac.Meter(SR, 2)
        meter.feed(np.ascontiguousarray(SQUASHERS[how](drive * dynamic()), np.float32))
        low, high = (drive, high) if meter.integrated < -8.0 else (low, drive)
    y = np.ascontiguousarray(SQUASHERS[how](high * dynamic()), np.float32)
    return y, ac.fingerprint_array(y, SR)


@cache
def loud_plan(how):
    plan = ac.plan(squashed(how)[1])
    assert plan.decision.region == "compressed_loud"
    assert not plan.is_identity
    return plan


LOUD = pytest.mark.parametrize("how", list(SQUASHERS))


def forced(fp):
    """The same track measured as −11 LUFS with a crest of 12: expansion .1."""
    names = [d.name for d in ac.DIMENSIONS]
    values = list(fp.values)
    values[names.index("lufs")], values[names.index("crest_db")] = -11.0, 12.0
    plan = ac.plan(replace(fp, values=tuple(values)))
    assert plan.decision.expansion == pytest.approx(0.1)
    return plan


def check_forced(metrics, x):
    x = np.ascontiguousarray(x, np.float32)
    y = ac.render_array(x, SR, forced(ac.fingerprint_array(x, SR)))
    m = metrics.measure(metrics.Reference(x, SR), y)
    assert m.si_sdr_db >= 30.0
    assert m.lsd_db <= 0.3


def test_an_unsquashed_piece_forced_through_stays_what_it_was(metrics):
    check_forced(metrics, 0.9 * dynamic())


@pytest.mark.parametrize(
    ("name", "start"),
    [("lets_go_fishin", 40), ("vibe_ace", 20), ("sugar_plum_fairy", 20), ("solo_trumpet", 0)],
)
def test_an_unsquashed_recording_forced_through_stays_what_it_was(metrics, shared_audio, name, start):
    with audio.AudioReader(shared_audio / f"{name}.ogg") as reader:
        reader.seek(start * reader.sample_rate)
        x = reader.read(8 * reader.sample_rate)
    x = soxr.resample(x.T, reader.sample_rate, SR).T
    x = np.repeat(x, 2, axis=0) if len(x) == 1 else x
    check_forced(metrics, 0.9 * x / np.abs(x).max())


@LOUD
@pytest.mark.parametrize("hz", [55.0, 440.0, 3000.0])
@pytest.mark.parametrize("level", [0.9, 0.1])
def test_a_steady_tone_stays_steady(how, hz, level):
    t = np.arange(3 * SR) / SR
    x = np.tile(level * np.sin(2 * np.pi * hz * t), (2, 1)).astype(np.float32)
    y = ac.render_array(x, SR, loud_plan(how))[:, SR : -SR // 10].astype(float)
    # Power over whole periods, so that the measurement itself does not ripple.
    window = round(SR / hz * max(1, round(hz / 55.0)))
    power = np.convolve(y[0] ** 2, np.ones(window) / window, "valid")
    assert 10 * np.log10(power.max() / power.min()) <= 0.1


def pad_modulation_db(x):
    """How far the level of the pad, 1.8 to 2.2 kHz, moves: 5th to 95th percentile over 20 ms."""
    band = sosfiltfilt(butter(4, (1800.0, 2200.0), "bandpass", fs=SR, output="sos"), x[0].astype(float))
    power = (band[SR // 2 : -SR // 2] ** 2)[: -(len(band) - SR) % 882 or None]
    power = power[: power.size // 882 * 882].reshape(-1, 882).mean(axis=1)
    low, high = np.percentile(10 * np.log10(power), (5, 95))
    return high - low


@LOUD
def test_a_kick_does_not_move_the_pad_more_than_it_did(how):
    t = np.arange(8 * SR) / SR
    beat = t % 0.5
    kick = np.sin(2 * np.pi * (50 * beat + 4 * (1 - np.exp(-beat * 30)))) * np.exp(-9 * beat)
    pad = 0.12 * sum(np.sin(2 * np.pi * f * t + f) for f in (1900.0, 2000.0, 2093.0))
    x = np.ascontiguousarray(SQUASHERS[how](2.5 * np.tile(kick + pad, (2, 1))), np.float32)
    fp = ac.fingerprint_array(x, SR)
    assert fp.lufs > -12.0
    y = ac.render_array(x, SR, ac.plan(fp))
    assert pad_modulation_db(y) <= pad_modulation_db(x) + 1.0


def third_octaves_db(x):
    power = np.abs(np.fft.rfft(x.astype(float), axis=1)) ** 2
    f = np.fft.rfftfreq(x.shape[1], 1 / SR)
    centres = 1000.0 * 2.0 ** (np.arange(-12, 13) / 3.0)
    bands = [(f >= c * 2 ** (-1 / 6)) & (f < c * 2 ** (1 / 6)) for c in centres]
    return 10 * np.log10(np.stack([power[:, b].sum(axis=1) for b in bands], axis=1))


@pytest.mark.parametrize("how", ["limiter"])
def test_the_image_stays_where_it_was(how):
    x = squashed(how)[0]
    y = ac.render_array(x, SR, loud_plan(how))
    before, after = third_octaves_db(x), third_octaves_db(y)
    moved = (after[0] - after[1]) - (before[0] - before[1])
    assert np.sqrt((moved**2).mean()) <= 0.2


@pytest.mark.parametrize("how", ["tanh", "clip"])
def test_the_image_of_unequal_channels_comes_closer_to_what_it_was(how):
    """Saturation takes more from the louder channel: what gives it back moves the image the right way."""
    original = 6.0 * dynamic() * np.array([[1.0], [0.5]])
    x = np.ascontiguousarray(SQUASHERS[how](original), np.float32)
    plan = ac.plan(ac.fingerprint_array(x, SR))
    assert plan.decision.region == "compressed_loud"
    wanted, before, after = (
        np.diff(third_octaves_db(y)) for y in (original, x, ac.render_array(x, SR, plan))
    )
    # 1.06 to 0.87 dB rms, 1.25 to 1.09.
    assert np.sqrt(((after - wanted) ** 2).mean()) < np.sqrt(((before - wanted) ** 2).mean()) - 0.1


@LOUD
@pytest.mark.parametrize("preset", list(ac.PRESETS))
def test_mono_stays_mono_bit_for_bit(how, preset):
    x = np.repeat(squashed(how)[0][:1, : 2 * SR], 2, axis=0)
    y = ac.render_array(x, SR, ac.plan(squashed(how)[1], preset))
    assert y[0].tobytes() == y[1].tobytes()
    # And one channel alone is either of them.
    assert ac.render_array(x[:1], SR, replace(ac.plan(squashed(how)[1], preset), fill=0.0)).shape == (
        1,
        2 * SR,
    )


@LOUD
def test_gaps_at_minus_80_are_not_lifted(how):
    rng = np.random.default_rng(2)
    x = squashed(how)[0][:, : 4 * SR].copy()
    gap = slice(int(1.5 * SR), 3 * SR)
    x[:, gap] = 1e-4 * rng.standard_normal((2, gap.stop - gap.start))
    y = ac.render_array(x, SR, loud_plan(how))
    inside = slice(gap.start + SR // 2, gap.stop - SR // 10)
    change = 10 * np.log10(
        (y[:, inside].astype(float) ** 2).mean() / (x[:, inside].astype(float) ** 2).mean()
    )
    assert change <= 0.1


@LOUD
@pytest.mark.parametrize("preset", list(ac.PRESETS))
def test_the_true_peak_stays_under_the_ceiling(how, preset):
    x, fp = squashed(how)
    for ceiling in (-1.0, -3.0):
        y = ac.render_array(x[:, : 4 * SR], SR, ac.plan(fp, preset, ceiling=ceiling))
        assert true_peak_dbtp(y) <= ceiling


def above_10_khz_db(x):
    power = np.abs(np.fft.rfft(x[0].astype(float))) ** 2
    f = np.fft.rfftfreq(x.shape[1], 1 / SR)
    return 10 * np.log10(power[f > 10000.0].sum() / power.sum())


def chiptune(duty):
    """Pulses that jump from note to note, band-limited only by the rate, two voices and a noise drum."""
    rng = np.random.default_rng(4)
    t = np.arange(6 * SR) / SR
    notes = 220.0 * 2.0 ** (np.array([0, 4, 7, 12, 7, 4]) / 12.0)
    hz = notes[(t * 8).astype(int) % 6]
    voice = np.where(np.cumsum(hz) / SR % 1.0 < duty, 1.0, -1.0)
    bass = np.where(np.cumsum(hz / 4.0) / SR % 1.0 < 0.5, 1.0, -1.0)
    drum = np.sign(rng.standard_normal(t.size)) * (t % 0.5 < 0.04)
    return np.tile(0.4 * voice + 0.4 * bass + 0.2 * drum, (2, 1)).astype(np.float32)


@pytest.mark.parametrize("preset", ["adaptive", "gentle"])
@pytest.mark.parametrize("duty", [0.5, 0.25, 0.125])
def test_square_waves_gain_no_treble(preset, duty):
    """Share of the power, so the loudness plays no part; coloured presets add what they say they add."""
    x = chiptune(duty)
    fp = ac.fingerprint_array(x, SR)
    assert fp.lufs > -12.0
    y = ac.render_array(x, SR, ac.plan(fp, preset))
    assert above_10_khz_db(y) <= above_10_khz_db(x) + 1.0


def hostile():
    rng = np.random.default_rng(6)
    n = SR // 2
    bad = (0.3 * rng.standard_normal((2, n))).astype(np.float32)
    bad[0, 100], bad[1, 2000], bad[0, 3000:3050] = np.nan, np.inf, -np.inf
    return {
        "silence": np.zeros((2, n), np.float32),
        "denormals": np.full((2, n), 1e-40, np.float32),
        "DC": np.full((2, n), 0.5, np.float32),
        "full scale": np.sign(rng.standard_normal((2, n))).astype(np.float32),
        "far over": (1e6 * rng.standard_normal((2, n))).astype(np.float32),
        "not finite": bad,
        "one spike": np.eye(1, n, 999, dtype=np.float32).repeat(2, axis=0) * 30,
    }


@LOUD
@pytest.mark.parametrize("kind", list(hostile()))
def test_whatever_comes_in_what_goes_out_is_finite_and_under_the_ceiling(how, kind):
    x = hostile()[kind]
    for plan in (loud_plan(how), ac.standard_plan("punchy")):
        y = ac.render_array(x, SR, plan)
        assert np.isfinite(y).all()
        assert 20 * np.log10(np.abs(y).max() + 1e-30) <= plan.ceiling
        if kind in ("silence", "denormals"):
            assert np.abs(y).max() <= 1e-38


@LOUD
def test_silence_after_music_is_silent(how):
    x = squashed(how)[0][:, : 2 * SR].copy()
    x[:, SR:] = 0.0
    y = ac.render_array(x, SR, replace(loud_plan(how), eq=ac.PRESETS["warm"].colour))
    # What rings of a filter at 150 Hz after 200 ms is under 1e-10; a limiter or a level may not add to it.
    assert np.abs(y[:, SR + SR // 5 :]).max() < 1e-6

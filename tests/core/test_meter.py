"""Meter: EBU conformance, reference parity, invariants, errors, threads."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from ctypes.util import find_library
from functools import cache

import numpy as np
import pytest
import soundfile
from collision import one_is_refused
from reference import loudness as oracle

from auralis_core import Meter

#: The document's own and the commonest; that others read the same is shown below, up to 192 kHz.
RATES = (44100, 48000)


@cache
def unit_tone(sr, seconds=140.0, f=1000.0):
    return np.sin(2 * np.pi * f / sr * np.arange(round(seconds * sr))).astype(np.float32)


def programme(sr, *segments, channels=2):
    """A phase-continuous 1 kHz tone through (seconds, peak dBFS or None for silence) segments."""
    edges = np.round(np.cumsum([0.0] + [s for s, _ in segments]) * sr).astype(int)
    y = unit_tone(sr)[: edges[-1]].copy()
    for (_, db), a, b in zip(segments, edges, edges[1:], strict=False):
        y[a:b] *= 0.0 if db is None else 10 ** (db / 20)
    return np.tile(y, (channels, 1))


def measure(x, sr, **kw):
    m = Meter(sr, len(x), **kw)
    m.feed(x)
    return m


def series(x, sr, reading, seconds=0.1):
    """The reading after every `seconds` of x."""
    m, n, out = Meter(sr, len(x)), round(sr * seconds), []
    for i in range(0, x.shape[1] - n + 1, n):
        m.feed(np.ascontiguousarray(x[:, i : i + n]))
        out.append(getattr(m, reading))
    return np.array(out)


# --- EBU Tech 3341: ± .1 LU is the document's own tolerance ------------------------------------------

INTEGRATED = {
    1: ([(20, -23)], -23),
    2: ([(20, -33)], -33),
    3: ([(10, -36), (60, -23), (10, -36)], -23),
    4: ([(10, -72), (10, -36), (60, -23), (10, -36), (10, -72)], -23),
    5: ([(20, -26), (20.1, -20), (20, -26)], -23),
}


@pytest.mark.parametrize("sr", RATES)
@pytest.mark.parametrize("case", INTEGRATED)
def test_ebu_3341_integrated(case, sr):
    segments, expected = INTEGRATED[case]
    m = measure(programme(sr, *segments), sr)
    assert m.integrated == pytest.approx(expected, abs=0.1)
    if case < 3:
        assert m.momentary == pytest.approx(expected, abs=0.1)
        assert m.short_term == pytest.approx(expected, abs=0.1)
        assert m.momentary_max == pytest.approx(expected, abs=0.1)
        assert m.short_term_max == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("sr", RATES)
def test_ebu_3341_6_five_channels(sr):
    levels = np.array([-28, -28, -24, -30, -30])
    x = programme(sr, (20, 0), channels=5) * (10 ** (levels / 20)).astype(np.float32)[:, None]
    assert measure(x, sr).integrated == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("sr", RATES)
def test_ebu_3341_9_short_term_is_constant(sr):
    x = programme(sr, *[(1.34, -20), (1.66, -30)] * 5)
    s = series(x, sr, "short_term")
    assert s[30:] == pytest.approx(np.full(len(s) - 30, -23.0), abs=0.1)


@pytest.mark.parametrize("sr", RATES)
def test_ebu_3341_12_momentary_is_constant(sr):
    x = programme(sr, *[(0.18, -20), (0.22, -30)] * 25)
    m = series(x, sr, "momentary")
    assert m[10:] == pytest.approx(np.full(len(m) - 10, -23.0), abs=0.1)


@pytest.mark.parametrize("sr", RATES)
def test_ebu_3341_10_short_term_maximum_finds_any_offset(sr):
    m = Meter(sr, 2)
    for i in range(20):
        m.reset()
        m.feed(programme(sr, (i * 0.15, None), (3, -23), (1, None)))
        assert m.short_term_max == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("sr", RATES)
def test_ebu_3341_11_short_term_maximum_follows_rising_tones(sr):
    m = Meter(sr, 2)
    for i in range(20):
        m.feed(programme(sr, (i * 0.15, None), (3, -38 + i), (3 - i * 0.15, None)))
        assert m.short_term_max == pytest.approx(-38 + i, abs=0.1)


@pytest.mark.parametrize("sr", RATES)
def test_ebu_3341_13_momentary_maximum_finds_any_offset(sr):
    m = Meter(sr, 2)
    for i in range(20):
        m.reset()
        m.feed(programme(sr, (i * 0.02, None), (0.4, -23), (1, None)))
        assert m.momentary_max == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("sr", RATES)
def test_ebu_3341_14_momentary_maximum_follows_rising_tones(sr):
    m = Meter(sr, 2)
    for i in range(20):
        m.feed(programme(sr, (i * 0.02, None), (0.4, -38 + i), (0.4 - i * 0.02, None)))
        assert m.momentary_max == pytest.approx(-38 + i, abs=0.1)


# --- EBU Tech 3342: the document allows ± 1 LU, steady tones leave nothing to differ by ---------------

RANGE = {
    1: ([(20, -20), (20, -30)], 10),
    2: ([(20, -20), (20, -15)], 5),
    3: ([(20, -40), (20, -20)], 20),
    4: ([(20, -50), (20, -35), (20, -20), (20, -35), (20, -50)], 15),
}


@pytest.mark.parametrize("sr", RATES)
@pytest.mark.parametrize("case", RANGE)
def test_ebu_3342_loudness_range(case, sr):
    segments, expected = RANGE[case]
    assert measure(programme(sr, *segments), sr).loudness_range == pytest.approx(expected, abs=0.01)


# --- gates, channels and other closed forms -----------------------------------------------------------


def test_absolute_gate_keeps_blocks_just_above_it():
    x = programme(48000, (0.8, None), *[(0.5, -69.48), (0.5, None)] * 3)
    # The blocks that are half silence fall below −70 and are left out; .1 as in Tech 3341.
    assert measure(x, 48000).integrated == pytest.approx(-69.5, abs=0.1)


def test_relative_gate_drops_quiet_blocks():
    x = programme(48000, (0.5, None), (0.9, -19.9), (1.3, -7.1), (0.8, -19.9), (0.5, None))
    assert measure(x, 48000).integrated == pytest.approx(-10.0, abs=0.1)


@pytest.mark.parametrize("sr", RATES)
def test_mono_reads_three_db_below_two_equal_channels(sr):
    x = programme(sr, (5, -23))
    difference = measure(x, sr).integrated - measure(x[:1], sr).integrated
    assert difference == pytest.approx(10 * np.log10(2), abs=1e-9)


@pytest.mark.parametrize("channels", sorted(oracle.WEIGHTS))
def test_channel_weights_are_those_of_bs1770(channels):
    x = programme(48000, (1, -23), channels=channels)
    for c, weight in enumerate(oracle.WEIGHTS[channels]):
        alone = np.zeros_like(x)
        alone[c] = x[c]
        # One channel at −23 dBFS reads −26.01 LUFS; .02 covers the onset of the tone.
        expected = -26.0103 + 10 * np.log10(weight) if weight else -np.inf
        assert measure(alone, 48000).integrated == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("sr", [8000, 11025, 22050, 44100, 48000, 88200, 192000])
def test_997_hz_at_0_dbfs_in_one_channel_reads_the_definition(sr):
    x = np.zeros((2, 5 * sr), np.float32)
    x[0] = unit_tone(sr, 5.0, 997.0)
    # BS.1770 states −3.01; away from 48 kHz the bilinear shelf turns a little elsewhere, most at 8 kHz.
    tolerance = 0.03 if sr >= 22050 else 0.25
    assert measure(x, sr).integrated == pytest.approx(-3.01, abs=tolerance)


def test_silence_and_nothing_read_minus_infinity():
    m = Meter(48000, 2)
    for _ in range(2):
        readings = (m.integrated, m.momentary, m.short_term, m.momentary_max, m.short_term_max)
        assert readings == (-np.inf,) * 5
        assert m.true_peak_dbtp == -np.inf
        assert m.loudness_range == 0
        m.feed(np.zeros((2, 200_000), np.float32))


def test_under_400_ms_reads_the_ungated_loudness():
    m = measure(programme(48000, (0.2, -23)), 48000)
    assert m.integrated == pytest.approx(-23, abs=0.1)
    assert measure(programme(48000, (0.004, -23)), 48000).integrated > -40
    assert measure(np.ones((2, 1), np.float32), 48000).integrated > -10


# --- oracle and library parity ------------------------------------------------------------------------


@cache
def music(seconds=14.0, sr=48000, channels=2):
    """Notes, noise and level changes that exercise both gates; channels differ."""
    rng = np.random.default_rng(channels)
    t = np.arange(round(seconds * sr)) / sr
    notes = sum(
        np.sin(2 * np.pi * f * t) * np.exp(-3 * ((t * r) % 1)) for f, r in ((61, 2), (330, 4), (2480, 3))
    )
    shape = np.interp(t, [0, 4, 4.2, 7, 7.1, 9, 9.1, seconds], [1, 0.8, 0.02, 0.02, 0.9, 1, 0.2, 0.4])
    x = np.stack([np.roll(notes, 99 * c) for c in range(channels)]) * 0.12
    return ((x + 0.02 * rng.standard_normal(x.shape)) * shape).astype(np.float32)


@pytest.mark.parametrize(("sr", "channels"), [(11025, 2), (44100, 1), (44100, 2), (48000, 6), (96000, 2)])
def test_meter_matches_the_oracle(sr, channels):
    x = music(14.0, sr, channels)
    m = measure(x, sr)
    # Same definitions in float64; at 11025 Hz rows round to whole frames (.5 of 4410).
    tolerance = 1e-9 if sr % 100 == 0 else 5e-4
    assert m.integrated == pytest.approx(oracle.integrated(x, sr), abs=tolerance)
    assert m.momentary_max == pytest.approx(oracle.momentary_max(x, sr), abs=tolerance)
    assert m.short_term_max == pytest.approx(oracle.short_term_max(x, sr), abs=tolerance)
    assert m.loudness_range == pytest.approx(oracle.loudness_range(x, sr), abs=tolerance)


def ebur128():
    name = find_library("ebur128")
    if name is None:
        pytest.skip("libebur128 is not installed")
    lib = ctypes.CDLL(name)
    lib.ebur128_init.restype = ctypes.c_void_p
    return lib


@pytest.mark.parametrize(("sr", "channels"), [(16000, 1), (44100, 2), (48000, 6), (96000, 1), (192000, 2)])
def test_compat_meter_equals_libebur128(sr, channels):
    lib, x = ebur128(), music(14.0, sr, channels)
    state = ctypes.c_void_p(
        lib.ebur128_init(channels, ctypes.c_ulong(sr), (1 << 2) | 1 | 2 | (1 << 3))
    )  # M S I LRA
    if channels == 6:  # L R C LFE Ls Rs; the library's own default has the LFE at the end
        for c, kind in enumerate((1, 2, 3, 0, 4, 5)):
            lib.ebur128_set_channel(state, c, kind)
    assert (
        lib.ebur128_add_frames_float(state, np.ascontiguousarray(x.T).ctypes, ctypes.c_size_t(x.shape[1]))
        == 0
    )
    reading, m = ctypes.c_double(), measure(x, sr, compat=True)
    lib.ebur128_loudness_global(state, ctypes.byref(reading))
    assert m.integrated == pytest.approx(reading.value, abs=1e-4)
    lib.ebur128_loudness_shortterm(state, ctypes.byref(reading))
    assert m.short_term == pytest.approx(reading.value, abs=1e-4)
    lib.ebur128_loudness_momentary(state, ctypes.byref(reading))
    assert m.momentary == pytest.approx(reading.value, abs=1e-4)
    lib.ebur128_destroy(ctypes.byref(state))


@pytest.fixture(params=["lets_go_fishin", "vibe_ace", "sugar_plum_fairy", "solo_trumpet", "speech"])
def excerpt(request, shared_audio):
    """(samples, sample rate, our reading) of 20 s of real audio.

    The other meters leave the high-pass unscaled: .003 LU at 44.1 kHz, but .086 at the 16 kHz of the
    speech, which is therefore read in kind.
    """
    x, sr = soundfile.read(shared_audio / f"{request.param}.ogg", 20 * 44100, dtype="float32", always_2d=True)
    return x, sr, measure(np.ascontiguousarray(x.T), sr, compat=sr < 44100).integrated


def test_integrated_of_real_audio_agrees_with_pyloudnorm(excerpt):
    pyloudnorm = pytest.importorskip("pyloudnorm", reason="pyloudnorm, a second oracle, is not installed")
    x, sr, ours = excerpt
    theirs = pyloudnorm.Meter(sr, filter_class="DeMan").integrated_loudness(x.astype(np.float64))
    assert ours == pytest.approx(theirs, abs=0.01)


def test_integrated_of_real_audio_agrees_with_ffmpeg(excerpt, tmp_path):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    x, sr, ours = excerpt
    soundfile.write(tmp_path / "x.wav", x, sr, "FLOAT")
    command = [
        "ffmpeg",
        "-nostdin",
        "-hide_banner",
        "-nostats",
        "-i",
        tmp_path / "x.wav",
        "-filter:a",
        "ebur128",
    ]
    run = subprocess.run([*command, "-f", "null", "-"], capture_output=True, text=True, check=True)
    theirs = float(re.findall(r"I:\s+(-?[\d.]+) LUFS", run.stderr)[-1])
    # It prints one decimal.
    assert ours == pytest.approx(theirs, abs=0.06)


@pytest.mark.parametrize("sr", [16000, 22050, 32000, 44100, 96000, 192000])
def test_sample_rate_does_not_move_the_reading(sr):
    def chord(sr):
        t = np.arange(5 * sr) / sr
        y = sum(np.sin(2 * np.pi * f * t) for f in (55.0, 220.0, 1000.0, 1870.0))
        return np.tile((0.1 * y).astype(np.float32), (2, 1))

    # Left unscaled, the high-pass alone would read .086 LU too much at 16 kHz.
    assert measure(chord(sr), sr).integrated == pytest.approx(
        measure(chord(48000), 48000).integrated, abs=0.01
    )


# --- invariants ---------------------------------------------------------------------------------------

READINGS = (
    *("integrated", "momentary", "short_term", "momentary_max", "short_term_max"),
    *("loudness_range", "true_peak_dbtp"),
)


def readings(m):
    return [getattr(m, name) for name in READINGS]


@pytest.mark.parametrize("chunk", [1, 7, 441, 1024, 4800, 65536])
@pytest.mark.parametrize("sr", [22050, 44100])
def test_readings_do_not_depend_on_the_chunk_size(chunk, sr):
    x = music(0.9 if chunk == 1 else 14.0, sr)
    m = Meter(sr, 2)
    for i in range(0, x.shape[1], chunk):
        m.feed(np.ascontiguousarray(x[:, i : i + chunk]))
    assert readings(m) == readings(measure(x, sr))


def test_gain_moves_every_level_by_exactly_itself():
    x = music()
    plain, louder = measure(x, 48000), measure(x * np.float32(2), 48000)
    for name in set(READINGS) - {"loudness_range"}:
        assert getattr(louder, name) - getattr(plain, name) == pytest.approx(20 * np.log10(2), abs=1e-9)
    assert louder.loudness_range == pytest.approx(plain.loudness_range, abs=1e-9)


def test_swapped_and_inverted_channels_read_the_same_bits():
    x = music()
    assert readings(measure(x[::-1].copy(), 48000)) == readings(measure(x, 48000))
    assert readings(measure(-x, 48000)) == readings(measure(x, 48000))


def test_a_programme_twice_has_the_loudness_of_once():
    x = np.tile(music(), (1, 6))
    twice = measure(np.concatenate([x, x], axis=1), 48000)
    # Three blocks of some 1700 straddle the join.
    assert twice.integrated == pytest.approx(measure(x, 48000).integrated, abs=0.01)


def test_samples_that_are_not_finite_count_as_zero():
    x = music().copy()
    x[0, 1000:1010], x[1, 5000], x[1, 9000] = np.nan, np.inf, -np.inf
    clean = np.where(np.isfinite(x), x, 0).astype(np.float32)
    assert readings(measure(x, 48000)) == readings(measure(clean, 48000))


def test_clone_goes_its_own_way_and_reset_begins_again():
    x = music()
    a = measure(x, 48000, compat=True)
    b = a.clone()
    assert readings(a) == readings(b)
    assert b.compat
    b.feed(x)
    assert readings(b) == readings(measure(np.concatenate([x, x], axis=1), 48000, compat=True))
    assert readings(a) == readings(measure(x, 48000, compat=True))
    b.reset()
    b.feed(x)
    assert readings(b) == readings(a)


def test_reading_at_a_prefix_leaves_the_measurement_alone():
    x = music()
    m = Meter(48000, 2)
    for i in range(0, x.shape[1], 48_123):
        m.feed(np.ascontiguousarray(x[:, i : i + 48_123]))
        readings(m)
    assert readings(m) == readings(measure(x, 48000))


# --- errors and threads -------------------------------------------------------------------------------


@pytest.mark.parametrize("sr", [0, -48000, 7999, 384001, float("nan"), float("inf")])
def test_wrong_sample_rate_is_refused_by_name(sr):
    with pytest.raises(ValueError, match="sample_rate"):
        Meter(sr, 2)


@pytest.mark.parametrize("channels", [0, -1, 9])
def test_wrong_channel_count_is_refused_by_name(channels):
    with pytest.raises(ValueError, match="channels"):
        Meter(48000, channels)


@pytest.mark.parametrize(
    "block",
    [
        np.zeros((2, 8)),
        np.zeros((2, 8), np.int16),
        np.zeros((1, 8), np.float32),
        np.zeros((3, 8), np.float32),
        np.zeros(8, np.float32),
        np.zeros((8, 2), np.float32).T,
        np.zeros((2, 16), np.float32)[:, ::2],
        None,
        [[0.0], [0.0]],
    ],
)
def test_wrong_block_is_refused_by_name(block):
    with pytest.raises(ValueError, match="block"):
        Meter(48000, 2).feed(block)


def test_read_only_and_empty_blocks_are_accepted():
    x = np.zeros((2, 8), np.float32)
    x.flags.writeable = False
    m = Meter(48000, 2)
    m.feed(x)
    m.feed(np.zeros((2, 0), np.float32))


def test_a_second_thread_is_refused_while_the_first_is_inside():
    m, x = Meter(48000, 2), np.zeros((2, 480_000), np.float32)
    assert one_is_refused(lambda: m.feed(x), lambda: m.feed(x))
    assert m.integrated == -np.inf


def test_meters_in_several_threads_are_independent():
    x = music()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: readings(measure(x, 48000)), range(8)))
    assert all(r == results[0] for r in results)

"""Meter and Levels on 4 minutes of 44.1 kHz stereo, beside decoding the same FLAC and libebur128.

`extra_info` carries the ratios, all from this run: decodes (fraction of one decode of the FLAC with
soundfile), times_libebur128 (how many times faster than it with the same modes), realtime.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from ctypes.util import find_library

import numpy as np
import pytest
import soundfile

from auralis_core import Meter
from auralis_core.levels import Levels

SR, SECONDS, BLOCK = 44100, 240, 65536


def median_seconds(function, rounds=3):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@pytest.fixture(scope="module")
def flac(tmp_path_factory):
    """Decaying chords over noise, with the peaks and the rests of music."""
    rng = np.random.default_rng(0)
    t = np.arange(SR * 10) / SR
    notes = sum(
        np.sin(2 * np.pi * f * t) * np.exp(-3 * (t * r % 1)) for f, r in ((61, 2), (330, 4), (2480, 3))
    )
    x = 0.2 * np.stack([notes, np.roll(notes, 99)], axis=1) + 0.01 * rng.standard_normal((len(t), 2))
    path = tmp_path_factory.mktemp("meter") / "x.flac"
    soundfile.write(path, np.tile(x, (SECONDS // 10, 1)), SR, "PCM_16")
    return path


@pytest.fixture(scope="module")
def blocks(flac):
    return [np.ascontiguousarray(b.T) for b in soundfile.blocks(flac, BLOCK, dtype="float32", always_2d=True)]


@pytest.fixture(scope="module")
def decode_seconds(flac):
    return median_seconds(lambda: [None for _ in soundfile.blocks(flac, BLOCK, dtype="float32")])


@pytest.fixture(scope="module")
def libebur128_seconds(blocks):
    name = find_library("ebur128")
    if name is None:
        return None
    lib, interleaved = ctypes.CDLL(name), [np.ascontiguousarray(b.T) for b in blocks]
    lib.ebur128_init.restype = ctypes.c_void_p

    def run():  # momentary, short-term, integrated, range, sample peak, true peak
        state = ctypes.c_void_p(lib.ebur128_init(2, ctypes.c_ulong(SR), 0b111111))
        for b in interleaved:
            lib.ebur128_add_frames_float(state, b.ctypes, ctypes.c_size_t(len(b)))
        lib.ebur128_destroy(ctypes.byref(state))

    return median_seconds(run)


def note(benchmark, decode_seconds, libebur128_seconds=None):
    if benchmark.stats is None:  # --benchmark-disable
        return
    seconds = benchmark.stats.stats.median
    benchmark.extra_info["realtime"] = round(SECONDS / seconds)
    benchmark.extra_info["decodes"] = round(seconds / decode_seconds, 3)
    if libebur128_seconds:
        benchmark.extra_info["times_libebur128"] = round(libebur128_seconds / seconds, 1)


@pytest.mark.benchmark(group="meter")
def test_meter_integrated_range_true_peak(benchmark, blocks, decode_seconds, libebur128_seconds):
    def run():
        m = Meter(SR, 2)
        for b in blocks:
            m.feed(b)
        return m.integrated, m.loudness_range, m.true_peak_dbtp

    benchmark.pedantic(run, rounds=7, warmup_rounds=1)
    note(benchmark, decode_seconds, libebur128_seconds)


@pytest.mark.benchmark(group="meter")
def test_levels(benchmark, blocks, decode_seconds):
    def run():
        levels = Levels(SR)
        for b in blocks:
            levels.feed(b, b)
        return levels.finish()

    benchmark.pedantic(run, rounds=7, warmup_rounds=1)
    note(benchmark, decode_seconds)

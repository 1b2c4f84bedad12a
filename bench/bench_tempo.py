"""Tempo: what four minutes cost, and how often the corpus of drum grids is read right, beside librosa.

    python bench/bench_tempo.py [STEP]      the table; tempi 50, 50 + STEP … 210, STEP 20 unless given
    make bench                              the cost, as ratios to decoding the same music from FLAC

Accuracy 1: within 4 % of the notated tempo. Accuracy 2: or of its double, triple, half or third.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from reference import drums

from auralis_core.temporal import OnsetTracker

SR = 44100


def ours(x: np.ndarray) -> float:
    tracker = OnsetTracker(SR)
    tracker.feed(x)
    return tracker.result()["tempo_bpm"]


def librosas() -> Callable[[np.ndarray], float] | None:
    try:
        import librosa
    except ImportError:
        return None
    return lambda x: float(librosa.feature.tempo(y=x, sr=SR)[0])


def table(step: int) -> None:
    peers = {"auralis": ours, "librosa": librosas()}
    names = [name for name, tempo in peers.items() if tempo]
    if len(names) == 1:
        print("librosa is not installed: pip install librosa")
    print(f"{'':20}" + "".join(f"{name:>18}" for name in names))
    print(f"{'pattern':20}" + "".join(f"{'Acc 1':>11}{'Acc 2':>7}" for _ in names) + f"{'tracks':>9}")
    spent = dict.fromkeys(names, 0.0)
    for title, patterns in (
        ("gate", drums.PATTERNS),
        ("ambiguous", drums.HARD),
        ("held out", drums.HELD_OUT),
    ):
        total = []
        for pattern in patterns:
            hits = []
            tempi = tuple(float(t) for t in range(50, 211, step))
            for _, bpm, x in drums.corpus({pattern: patterns[pattern]}, tempi):
                row = []
                for name in names:
                    start = time.perf_counter()
                    got = peers[name](x)
                    spent[name] += time.perf_counter() - start
                    row += [drums.same_tempo(got, bpm), drums.same_tempo(got, bpm, drums.MULTIPLES)]
                hits.append(row)
            total += hits
            line(pattern, hits)
        line(f"all, {title}", total)
        print()
    print("seconds              " + "".join(f"{spent[name]:17.2f} " for name in names))


def line(title: str, hits: list[list[bool]]) -> None:
    mean = np.mean(hits, axis=0).reshape(-1, 2)
    print(f"{title:20}" + "".join(f"{a:11.2f}{b:7.2f}" for a, b in mean) + f"{len(hits):9d}", flush=True)


@pytest.fixture(scope="module")
def four_minutes(tmp_path_factory):
    """A long drum track, and what decoding its stereo FLAC costs."""
    x = np.tile(drums.track("over a pad", 118.0, 24.0), 10)
    path = tmp_path_factory.mktemp("tempo") / "four_minutes.flac"
    hiss = 1e-3 * np.random.default_rng(1).standard_normal(x.size).astype(np.float32)
    soundfile.write(path, np.stack([x + hiss, x - hiss], axis=1), SR)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        soundfile.read(path, dtype="float32")
        times.append(time.perf_counter() - start)
    return x, float(np.median(times))


def test_tempo_of_four_minutes(benchmark, four_minutes):
    x, decode_s = four_minutes
    benchmark(ours, x)
    if benchmark.stats:
        benchmark.extra_info["ratio_to_decode"] = benchmark.stats["median"] / decode_s
        benchmark.extra_info["realtime_factor"] = 240 / benchmark.stats["median"]


if __name__ == "__main__":
    table(int(sys.argv[1]) if len(sys.argv) > 1 else 20)

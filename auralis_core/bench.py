"""What measuring and mastering cost on this machine, beside decoding the same file in the same run.

`auralis bench` prints these. Seconds vary with the machine and with its other work; the ratios hardly do,
because the two things compared take turns. The benchmarks of single kernels are in ``bench/``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .audio import AudioReader, AudioWriter, probe
from .features import simd
from .fingerprint import BLOCK, measure
from .plan import Band, MasteringPlan
from .render import Renderer

RATE = 44100
#: Length of the synthesised track, and of the phrase it repeats, in seconds.
TRACK_S, PHRASE_S = 240, 20
#: Frames rendered at a time: what a live stream asks for.
CHUNK = 8192

#: Every stage of the chain at work: expansion, fill, eight EQ bands, gain, width, leveller, limiter.
EVERYTHING = MasteringPlan(
    "warm",
    depth=1.0,
    fill=0.2,
    lift_db=3.0,
    held=0.5,
    eq=(
        *(Band("peaking", f, 1.0, 1.0) for f in (63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0)),
        *(Band("low_shelf", 150.0, 0.7, 1.5), Band("high_shelf", 7000.0, 0.7, -1.5)),
    ),
    width=1.1,
    level_target=-14.0,
    ceiling=-1.0,
)


@dataclass(frozen=True, slots=True)
class FingerprintCost:
    """Best times of decoding a file and of the whole pass over it, decoding included."""

    file: str | None  # None: the synthesised track
    duration: float
    decode_s: float
    total_s: float
    ratio_to_decode: float
    realtime_factor: float
    simd: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RenderCost:
    """Best times of decoding a file and of rendering it through :data:`EVERYTHING`, decoding included."""

    file: str | None
    duration: float
    decode_s: float
    render_s: float
    decode_realtime_factor: float
    realtime_factor: float
    simd: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def fingerprint_cost(path: str | PathLike[str] | None = None, rounds: int = 5) -> FingerprintCost:
    """Time :func:`auralis_core.fingerprint.measure`; without a path over a synthesised track."""
    with _track(path) as track:
        duration = _duration(track)
        decode_s, total_s = best(lambda: decode(track), lambda: measure(track), rounds=rounds)
    name = None if path is None else fspath(path)
    return FingerprintCost(
        *(name, duration, decode_s, total_s), total_s / decode_s, duration / total_s, simd()
    )


def render_cost(path: str | PathLike[str] | None = None, rounds: int = 3) -> RenderCost:
    """Time a :class:`auralis_core.Renderer` with every stage on; without a path over a synthesised track."""
    with _track(path) as track:
        duration = _duration(track)
        decode_s, render_s = best(lambda: decode(track), lambda: _render(track), rounds=rounds)
    name = None if path is None else fspath(path)
    return RenderCost(*(name, duration, decode_s, render_s), duration / decode_s, duration / render_s, simd())


def best(*calls: Callable[[], object], rounds: int) -> list[float]:
    """Shortest time of each call in seconds, the calls taking turns."""
    times = [float("inf")] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            times[i] = min(times[i], time.perf_counter() - start)
    return times


def decode(path: Path) -> None:
    """Read a file to its end, as the measurement does."""
    with AudioReader(path) as reader:
        while reader.read(BLOCK).shape[1]:
            pass


def music(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Drums, bass, chords and a little hiss, float32 (2, frames) at :data:`RATE`; decodes like music."""
    t = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal((2, len(t)))
    root = 55 * 2 ** (np.choose(np.floor(t / 2).astype(int) % 4, (0, 5, 7, 3)) / 12)
    phase = 2 * np.pi * np.cumsum(root) / RATE
    chord = sum(np.sin(k * phase) / k for k in (4, 5, 6, 8, 10))
    kick = np.exp(-12 * (t % 0.5)) * np.sin(2 * np.pi * 55 * t)
    hat = np.exp(-30 * (t % 0.25))
    centre = 0.25 * kick + 0.15 * np.sin(phase) + 0.08 * chord * (0.7 + 0.3 * np.sin(np.pi * t))
    return (centre + (0.06 * hat + 0.004) * noise).astype(np.float32)


def _render(path: Path) -> None:
    with Renderer(path, EVERYTHING) as renderer:
        while renderer.read(CHUNK).shape[1]:
            pass


def _duration(path: Path) -> float:
    info = probe(path)
    return info.frames / info.sample_rate


@contextmanager
def _track(path: str | PathLike[str] | None) -> Iterator[Path]:
    """The file itself, or four minutes of FLAC that are gone afterwards."""
    if path is not None:
        yield Path(path)
        return
    with TemporaryDirectory(prefix="auralis-bench-") as folder:
        made = Path(folder) / "four_minutes.flac"
        phrase = music(PHRASE_S)
        with AudioWriter(made, RATE, 2, subtype="PCM_16") as writer:
            for _ in range(TRACK_S // PHRASE_S):
                writer.write(phrase)
        yield made

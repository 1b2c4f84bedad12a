"""How far any output ever gets over the ceiling: random signals, plans and rates against two 16× meters.

    nice python bench/ceiling.py [--cases 10000] [--first 0] [--json FILE]

Case n is made from n alone. Its output is read by soxr at its best quality and by a polyphase filter of
SciPy's, 64 taps a phase, neither of which shares anything with the limiter. Exit status 1 when one of them
reads more than the ceiling. `case` and `overshoot_db` are for the tests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import numpy as np
import soxr
import typer
from numpy.typing import NDArray
from rich.progress import track
from scipy.signal import firwin, resample_poly

import auralis_core as ac
from auralis_core.audio import AudioReader
from auralis_core.bench import music
from auralis_core.plan import Band, MasteringPlan

Signal = NDArray[np.float64]
Rng = np.random.Generator

FRAMES = 6000
RATES = (8000, 16000, 22050, 44100, 44100, 44100, 48000, 96000, 192000)
RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "audio"


@dataclass(frozen=True, slots=True)
class Case:
    """One output to be: a signal, float32 (2, frames), and what is done to it."""

    material: str
    x: NDArray[np.float32]
    rate: int
    plan: MasteringPlan


@cache
def _songs() -> tuple[NDArray[np.float32], ...]:
    """Some of every recording beside the checkout, and of music made here."""
    songs = [music(20.0)]
    for path in sorted(RECORDINGS.glob("*.ogg")):
        with AudioReader(path) as reader:
            reader.seek(reader.frames // 3)
            songs.append(reader.read(30 * reader.sample_rate))
    return tuple(np.repeat(x, 2, axis=0) if len(x) == 1 else x[:2] for x in songs)


def _excerpt(rng: Rng) -> Signal:
    song = _songs()[rng.integers(len(_songs()))]
    at = int(rng.integers(0, song.shape[1] - FRAMES))
    x = song[:, at : at + FRAMES].astype(np.float64)
    x /= max(np.abs(x).max(), 1e-3)
    shape = rng.integers(3)
    return x if shape == 0 else np.tanh(3.0 * x) if shape == 1 else np.clip(4.0 * x, -1.0, 1.0)


def _tone(hz: float, phase: float) -> Signal:
    return np.tile(np.sin(2.0 * np.pi * hz * np.arange(FRAMES) + phase), (2, 1))


def _clicks(rng: Rng) -> Signal:
    x = np.zeros((2, FRAMES))
    at = rng.integers(0, FRAMES, 60)
    x[:, at] = rng.choice([-2.0, -1.0, 1.0, 2.0], 60)
    return x


def _hats(rng: Rng) -> Signal:
    x = _tone(80.0 / 44100.0, 0.0) * 0.35
    for at in range(0, FRAMES - 1500, 1400):
        treble = np.diff(rng.standard_normal((2, 1502)), 2)
        x[:, at : at + 1500] += 0.4 * treble * np.exp(-np.arange(1500) / rng.uniform(50, 600))
    return x


def _flips(rng: Rng) -> Signal:
    """Tones at Nyquist that change sides: the steepest peaks between samples that there are."""
    x, n = np.zeros((2, FRAMES)), np.arange(-12, 12)
    for at in rng.integers(100, FRAMES - 100, 8):
        x[:, at - 12 : at + 12] += (-1.0) ** n * np.where(n < 0, 1, -1)
    return x


def _sweep(rng: Rng) -> Signal:
    start, end = np.sort(rng.uniform(0.001, 0.499, 2))
    return np.tile(np.sin(2.0 * np.pi * np.cumsum(np.geomspace(start, end, FRAMES))), (2, 1))


MATERIALS: Mapping[str, Callable[[Rng], Signal]] = MappingProxyType(
    {
        "music": _excerpt,
        "square": lambda rng: np.sign(_tone(rng.uniform(0.001, 0.2), 0.1)),
        "clicks": _clicks,
        "white noise": lambda rng: rng.standard_normal((2, FRAMES)),
        "random signs": lambda rng: np.sign(rng.standard_normal((2, FRAMES))),
        "fs/4": lambda rng: _tone(0.25, rng.uniform(0.0, np.pi)),
        "tone": lambda rng: _tone(rng.uniform(0.001, 0.499), rng.uniform(0.0, np.pi)),
        "sweep": _sweep,
        "hats": _hats,
        "flips": _flips,
        "mixture": lambda rng: sum(
            rng.uniform(0.1, 1.0) * MATERIALS[name](rng)
            for name in rng.choice([n for n in MATERIALS if n != "mixture"], 3, replace=False)
        ),
    }
)


def _plan(rng: Rng) -> MasteringPlan:
    """Any plan there may be, each stage on in about half of them."""
    preset = str(rng.choice(list(ac.PRESETS)))

    def half(value: float, otherwise: float = 0.0) -> float:
        return float(value) if rng.random() < 0.5 else otherwise

    bands = [
        Band(
            "peaking",
            float(rng.uniform(40.0, 16000.0)),
            float(rng.uniform(0.3, 2.0)),
            float(rng.uniform(-6, 6)),
        )
        for _ in range(int(rng.integers(0, 7)))
    ]
    return MasteringPlan(
        preset,
        clip=half(rng.uniform(0.2, 1.2)),
        depth=half(rng.uniform(0.0, 3.0)),
        top=float(rng.uniform(0.3, 1.5)),
        fill=half(rng.uniform(0.0, 0.5)),
        eq=(*bands, *ac.PRESETS[preset].colour),
        gain_db=half(rng.uniform(-12.0, 12.0)),
        level_target=-14.0 if rng.random() < 0.3 else None,
        width=half(rng.uniform(0.0, 2.0), 1.0),
        ceiling=half(-1.0, float(rng.uniform(-12.0, 0.0))),
    )


def case(number: int) -> Case:
    """The case of that number."""
    rng = np.random.default_rng(number)
    material = list(MATERIALS)[number % len(MATERIALS)]
    x = MATERIALS[material](rng) * 10.0 ** (rng.uniform(-6.0, 18.0) / 20.0)
    if rng.random() < 0.3:
        x[1] *= rng.uniform(-1.0, 1.0)
    # A cut edge is a click of its own at any meter.
    fade = np.minimum(1.0, np.minimum(np.arange(FRAMES), np.arange(FRAMES)[::-1]) / 200.0)
    return Case(material, (x * fade).astype(np.float32), int(rng.choice(RATES)), _plan(rng))


def true_peaks_dbtp(y: NDArray[np.float32]) -> tuple[float, float]:
    """What soxr and SciPy find between the samples, 16 × oversampled."""
    x = np.pad(y.astype(np.float64), ((0, 0), (300, 300)))
    first = np.abs(soxr.resample(np.ascontiguousarray(x.T), 1, 16, "VHQ")).max()
    second = np.abs(resample_poly(x, 16, 1, axis=1, window=_TAPS)).max()
    return 20.0 * np.log10(max(first, 1e-9)), 20.0 * np.log10(max(second, 1e-9))


_TAPS = firwin(2 * 16 * 32 + 1, 1.0 / 16.0, window=("kaiser", 9.0))


def overshoot_db(case: Case) -> float:
    """How far the larger of the two readings is over the ceiling; negative under it."""
    y = ac.render_array(case.x, case.rate, case.plan)
    assert case.plan.ceiling is not None
    return float(max(true_peaks_dbtp(y)) - case.plan.ceiling)


def main(
    cases: Annotated[int, typer.Option(min=1)] = 10_000,
    first: Annotated[int, typer.Option(min=0, help="number of the first case")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write the worst of each kind here")
    ] = None,
) -> None:
    """Run the cases and print the worst of every material."""
    worst = dict.fromkeys(MATERIALS, (-np.inf, -1))
    for number in track(range(first, first + cases), "cases", disable=not sys.stderr.isatty()):
        made = case(number)
        worst[made.material] = max(worst[made.material], (overshoot_db(made), number))
    for material, (over, number) in sorted(worst.items(), key=lambda row: -row[1][0]):
        print(f"{material:<14}{over:+8.3f} dB   case {number}")
    if json_file is not None:
        json_file.write_text(json.dumps({m: {"over_db": o, "case": n} for m, (o, n) in worst.items()}))
    if max(over for over, _ in worst.values()) > 0.0:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

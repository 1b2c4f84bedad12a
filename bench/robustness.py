"""How far each dimension of the fingerprint moves when a track is changed in ways that leave the music alone.

    python bench/robustness.py          prints the tables and writes them into docs/fingerprint.md

The tracks are those of `../shared/audio` where it exists and the synthesised demo library otherwise. A
track is left out of a change that does nothing to it or does not exist for it: folding what is mono,
taking to 48 kHz what is not at 44.1. What is published is |drift|, its median and its worst over the tracks.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from auralis_core import DIMENSIONS, Fingerprint, fingerprint_array

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "audio"
PAGE = ROOT / "docs" / "fingerprint.md"
BEGIN = "<!-- robustness: written by bench/robustness.py -->"
END = "<!-- robustness: end -->"

Samples = NDArray[np.float32]
#: A changed track and its rate, or None where the change says nothing about this one.
Change = Callable[[Samples, int], tuple[Samples, int] | None]


def mp3(x: Samples, rate: int) -> tuple[Samples, int]:
    """Through LAME at a constant 128 kbit/s and back."""
    with tempfile.NamedTemporaryFile(suffix=".mp3") as file:
        write_mp3(Path(file.name), x, rate)
        return load(Path(file.name))


def write_mp3(path: Path, x: Samples, rate: int) -> None:
    # libsndfile takes a level that runs from the highest bit rate of the MPEG version down to its lowest.
    high, low = (320, 32) if rate >= 32000 else (160, 8)
    level = (high - 128) / (high - low)
    soundfile.write(path, x.T, rate, bitrate_mode="CONSTANT", compression_level=level)


def softer(x: Samples, rate: int) -> tuple[Samples, int]:
    return x * np.float32(10 ** (-6 / 20)), rate


def resampled(x: Samples, rate: int) -> tuple[Samples, int] | None:
    if rate != 44100:
        return None
    return np.ascontiguousarray(soxr.resample(x.T, rate, 48000, quality="VHQ").T), 48000


def mono(x: Samples, rate: int) -> tuple[Samples, int] | None:
    return (x.mean(axis=0, keepdims=True), rate) if x.shape[0] > 1 else None


def delayed(x: Samples, rate: int) -> tuple[Samples, int]:
    return np.pad(x, ((0, 0), (30 * rate, 0))), rate


CHANGES: Mapping[str, Change] = {
    "MP3 128 kbit/s": mp3,
    "−6 dB": softer,
    "44.1 → 48 kHz": resampled,
    "fold to mono": mono,
    "30 s of silence before": delayed,
}

BANDS = tuple(d.name for d in DIMENSIONS if d.group == "frequency")
NAMES = tuple(d.name for d in DIMENSIONS)


@dataclass(frozen=True)
class Promise:
    """What the design asks of a change: `dimensions` drift by no more than `limit`."""

    words: str
    change: str
    dimensions: tuple[str, ...]
    limit: float
    relative: bool = False


def _all_but(*names: str) -> tuple[str, ...]:
    return tuple(n for n in NAMES if n not in names)


PROMISES = (
    Promise("all but lufs and silence_ratio ≤ 1e-6", "−6 dB", _all_but("lufs", "silence_ratio"), 1e-6),
    Promise("bands ≤ 0.01", "44.1 → 48 kHz", BANDS, 0.01),
    Promise("centroid ≤ 1 %", "44.1 → 48 kHz", ("spectral_centroid",), 0.01, relative=True),
    Promise("lufs ≤ 0.02", "44.1 → 48 kHz", ("lufs",), 0.02),
    Promise(
        "all but silence_ratio unchanged (≤ 1e-3)", "30 s of silence before", _all_but("silence_ratio"), 1e-3
    ),
)


@dataclass(frozen=True)
class Drift:
    """One track before and after one change."""

    track: str
    change: str
    before: Fingerprint
    after: Fingerprint

    def of(self, dimension: str, relative: bool = False) -> float:
        moved = abs(self.after[dimension] - self.before[dimension])
        return moved / abs(self.before[dimension]) if relative and moved else moved


def load(path: Path) -> tuple[Samples, int]:
    x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(x.T), rate


def drifts(tracks: Mapping[str, tuple[Samples, int]]) -> Iterator[Drift]:
    for name, (x, rate) in tracks.items():
        before = fingerprint_array(x, rate)
        for change, apply in CHANGES.items():
            changed = apply(x, rate)
            if changed is not None:
                yield Drift(name, change, before, fingerprint_array(*changed))


def table(measured: list[Drift]) -> str:
    """Median and worst |drift| of every dimension under every change, in Markdown."""
    rows = ["| dimension | unit | " + " | ".join(CHANGES) + " |", "|---" * (2 + len(CHANGES)) + "|"]
    for d in DIMENSIONS:
        cells = []
        for change in CHANGES:
            moved = [one.of(d.name) for one in measured if one.change == change]
            median, worst = (_short(f(moved)) for f in (statistics.median, max)) if moved else ("–", "–")
            cells.append(median if median == worst else f"{median}, {worst}")
        rows.append(f"| {d.name} | {d.unit} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def verdicts(measured: list[Drift]) -> str:
    """Where what the design asks for holds, and every dimension and track where it does not."""
    rows = ["| change | asked | found |", "|---|---|---|"]
    for p in PROMISES:
        moved = [
            (one.of(name, p.relative), name, one.track)
            for one in measured
            if one.change == p.change
            for name in p.dimensions
        ]
        if not moved:
            continue
        broken = [m for m in moved if m[0] > p.limit]
        worst = max(moved)
        if not broken:
            found = f"holds, worst {_short(worst[0])} ({worst[1]})"
        else:
            names = sorted({name for _, name, _ in broken}, key=NAMES.index)
            found = f"{len(moved) - len(broken)} of {len(moved)} hold; not " + ", ".join(
                f"{n} ({_short(max(m[0] for m in broken if m[1] == n))})" for n in names
            )
        rows.append(f"| {p.change} | {p.words} | {found} |")
    return "\n".join(rows)


def _short(x: float) -> str:
    """Two significant digits; 0 for what no one could hear or store."""
    if x < 5e-7:
        return "0"
    return f"{x:.2g}" if x < 10 else f"{x:.0f}"


def publish(text: str, page: Path = PAGE) -> None:
    """Put `text` between the page's markers."""
    old = page.read_text()
    head, rest = old.split(BEGIN)
    _, tail = rest.split(END)
    page.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        if SHARED.is_dir():
            paths, source = sorted(SHARED.glob("*.ogg")), "real tracks"
        else:
            from auralis_server.demo import synthesise

            paths, source = synthesise(Path(folder)), "tracks of the demo library"
        tracks = {path.stem: load(path) for path in paths}
    measured = list(drifts(tracks))
    text = (
        f"Median and worst |drift| over {len(tracks)} {source} ({', '.join(tracks)}):\n\n"
        f"{table(measured)}\n\nAgainst what was asked of the design:\n\n{verdicts(measured)}"
    )
    print(text)
    publish(text)


if __name__ == "__main__":
    main()

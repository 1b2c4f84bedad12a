"""SquashBench: squash dynamic music, give it to restorers, measure how far back to the original they come.

    python bench/squashbench.py [--split held-out] [--quick] [--carrier NAME] [--jobs N] [--json FILE]

Sources are in ``squash_sources.py``, squashers and carriers in ``squashers.py``, measures and composite in
``metrics.py``; what lives here is the matrix, the restorers (ours and the peers, on the same items in the
same run), the run in parallel, and its table. `items` and `score` are for other tools.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from shutil import which
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

import auralis_core as ac

sys.path.insert(0, str(Path(__file__).parent))
from metrics import Measures, Reference, Samples, composite, measure
from squash_sources import RATE, sources
from squashers import CARRIERS, SQUASHERS, ffmpeg, squashed_to

LEVELS = (-10.0, -8.0, -6.0)
#: Of the matrix. The other carriers are run when they are asked for by name.
MATRIX = ("as is", "mp3 128k", "48 kHz")
#: Squashers and carriers that are ffmpeg's work.
NEEDS_FFMPEG = {"alimiter", "mp3 128k"}


@dataclass(frozen=True, slots=True)
class Spec:
    """One item of the matrix by name."""

    split: str
    source: str
    squasher: str
    level: float
    carrier: str


@dataclass(frozen=True, slots=True)
class Item:
    """One item: what was, and what was made of it; float32 (2, frames)."""

    spec: Spec
    original: Samples
    squashed: Samples
    rate: int = RATE


@dataclass(frozen=True, slots=True)
class Score:
    """What a restorer made of one item, measured, beside the original and the squashed signal."""

    original: Measures
    squashed: Measures
    restored: Measures
    composite: float

    @property
    def delta_si_sdr_db(self) -> float:
        return self.restored.si_sdr_db - self.squashed.si_sdr_db

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def specs(split: str, quick: bool = False, carriers: Sequence[str] | None = None) -> list[Spec]:
    """The matrix of one half; `quick` keeps the middle level and nothing but the squashed signal as it is."""
    levels = LEVELS[1:2] if quick else LEVELS
    carriers = carriers or (("as is",) if quick else MATRIX)
    matrix = product(sources(split), SQUASHERS, levels, carriers)
    have = which("ffmpeg") is not None
    return [Spec(split, *row) for row in matrix if have or not NEEDS_FFMPEG & {row[1], row[3]}]


def build(spec: Spec, cache: Path | None = None) -> Item:
    """Make an item; `cache` keeps squashed signals from run to run."""
    original = sources(spec.split)[spec.source]()
    key = sha256(original.tobytes() + repr(spec).encode()).hexdigest()[:24]
    kept = None if cache is None else cache / f"{key}.npy"
    if kept is not None and kept.is_file():
        return Item(spec, original, np.load(kept))
    squashed = CARRIERS[spec.carrier](squashed_to(spec.level, SQUASHERS[spec.squasher], original))
    if kept is not None:
        np.save(kept, squashed)
    return Item(spec, original, squashed)


def items(split: str, quick: bool = False, cache: Path | None = None) -> Iterator[Item]:
    """The items of ``"tuning"`` or ``"held-out"``, one after the other."""
    return (build(spec, cache) for spec in specs(split, quick))


def score(original: Samples, squashed: Samples, restored: Samples, rate: int = RATE) -> Score:
    """Score one restored signal."""
    reference = Reference(original, rate)
    first, second, third = (measure(reference, x) for x in (original, squashed, restored))
    return Score(first, second, third, composite(first, second, third))


def auralis(x: Samples) -> Samples:
    return ac.render_array(x, RATE, ac.plan(ac.fingerprint_array(x, RATE)))


def _filter(graph: str) -> Callable[[Samples], Samples]:
    return lambda x: ffmpeg(("-af", graph), x)


#: What the squashed signals are given to: ours, and everything anyone might use instead.
RESTORERS: Mapping[str, Callable[[Samples], Samples]] = MappingProxyType(
    {
        "auralis": auralis,
        "pass-through": lambda x: x,
        "−.5 dB": lambda x: x * np.float32(10.0 ** (-0.5 / 20.0)),
        "dynaudnorm": _filter("dynaudnorm"),
        "compand": _filter("compand=attacks=.005:decays=.15:points=-90/-110|-30/-36|-12/-13.5|0/0|20/20"),
        "adeclip": _filter("adeclip"),
    }
)
FFMPEG_RESTORERS = {"dynaudnorm", "compand", "adeclip"}


def run(spec: Spec, restorers: Iterable[str], cache: Path | None = None) -> dict[str, Score]:
    """One item through every restorer."""
    item = build(spec, cache)
    reference = Reference(item.original, item.rate)
    original, squashed = measure(reference, item.original), measure(reference, item.squashed)
    scores = {}
    for name in restorers:
        restored = measure(reference, RESTORERS[name](item.squashed))
        scores[name] = Score(original, squashed, restored, composite(original, squashed, restored))
    return scores


def _run(job: tuple[Spec, list[str], Path | None]) -> tuple[Spec, dict[str, Score]]:
    return job[0], run(*job)


Results = list[tuple[Spec, dict[str, Score]]]


def table(results: Results) -> Table:
    """Ours per squasher, and the composite of every peer beside it."""
    names = list(results[0][1])
    out = Table("squasher", "items", "crest", "block", "PLR", "ΔSI-SDR", "ΔLSD", "Δonset", "Δdist", "ΔDR")
    for name in names:
        out.add_column(name, justify="right")
    out.add_column("worst", justify="right")
    groups = [s for s in SQUASHERS if any(spec.squasher == s for spec, _ in results)]
    for squasher in [*groups, "all"]:
        rows = [scores for spec, scores in results if squasher in (spec.squasher, "all")]
        ours = [scores["auralis"] for scores in rows]

        def mean(value: Callable[[Score], float], ours: list[Score] = ours) -> float:
            return statistics.fmean(map(value, ours))

        out.add_row(
            squasher,
            str(len(rows)),
            f"{mean(lambda s: s.squashed.crest_db):.1f}→{mean(lambda s: s.restored.crest_db):.1f}"
            f"/{mean(lambda s: s.original.crest_db):.1f}",
            f"{mean(lambda s: s.squashed.block_crest_db):.1f}→{mean(lambda s: s.restored.block_crest_db):.1f}"
            f"/{mean(lambda s: s.original.block_crest_db):.1f}",
            f"{mean(lambda s: s.restored.plr_db):.1f}/{mean(lambda s: s.original.plr_db):.1f}",
            f"{mean(lambda s: s.delta_si_sdr_db):+.2f}",
            f"{mean(lambda s: s.restored.lsd_db - s.squashed.lsd_db):+.2f}",
            f"{mean(lambda s: s.restored.onset - s.squashed.onset):+.3f}",
            f"{mean(lambda s: s.restored.remainder_db - s.squashed.remainder_db):+.1f}",
            f"{mean(lambda s: s.restored.dr14 - s.squashed.dr14):+.1f}",
            *(f"{statistics.fmean(scores[n].composite for scores in rows):+.2f}" for n in names),
            f"{min(s.composite for s in ours):+.2f}",
        )
    return out


def main(
    split: Annotated[str, typer.Option(help="tuning, held-out or both")] = "both",
    quick: Annotated[bool, typer.Option(help="−8 LUFS only, as it is")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="write every score here")] = None,
    cache: Annotated[Path | None, typer.Option(help="keep squashed signals in this folder")] = None,
    peers: Annotated[bool | None, typer.Option(help="run the peers too; not by default when quick")] = None,
    carrier: Annotated[list[str] | None, typer.Option(help=f"only these of: {', '.join(CARRIERS)}")] = None,
) -> None:
    """Run the benchmark and print its tables."""
    if unknown := set(carrier or ()) - set(CARRIERS):
        raise typer.BadParameter(f"no carrier is called {', '.join(sorted(unknown))}")
    console = Console(width=170 if not sys.stdout.isatty() else None)
    names = list(RESTORERS) if (not quick if peers is None else peers) else ["auralis"]
    if which("ffmpeg") is None:
        console.print("no ffmpeg on the PATH: its peers, alimiter and MP3 are left out")
        names = [name for name in names if name not in FFMPEG_RESTORERS]
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    everything: list[dict[str, Any]] = []
    for half in ("tuning", "held-out") if split == "both" else (split,):
        todo = [(spec, names, cache) for spec in specs(half, quick, carrier)]
        with ProcessPoolExecutor(jobs) as pool:
            done = pool.map(_run, todo)
            results = list(track(done, half, len(todo), console=console, disable=not console.is_terminal))
        for name in dict.fromkeys(spec.carrier for spec, _ in results):
            console.print(f"\n{half}, {name}")
            console.print(table([row for row in results if row[0].carrier == name]))
        if not quick:
            console.print(f"\n{half}, all carriers")
            console.print(table(results))
        spec, worst = min(results, key=lambda row: row[1]["auralis"].composite)
        console.print(f"worst: {worst['auralis'].composite:+.2f}, {spec}")
        for spec, scores in results:
            for name, value in scores.items():
                everything.append({**asdict(spec), "restorer": name, **value.to_dict()})
    if json_file is not None:
        json_file.write_text(json.dumps(everything))


if __name__ == "__main__":
    typer.run(main)

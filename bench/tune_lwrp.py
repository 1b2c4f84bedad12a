"""Sweep parameters of the plan over SquashBench or a folder, and show what each setting buys and costs.

    python bench/tune_lwrp.py --set MAX_FILL=0,.1,.2 --set "depth*=.5,1" --rows sweep.jsonl
    python bench/tune_lwrp.py --folder ~/Music --set intensity=.25,.5,1 --rows mine.jsonl --plots sweep/

A lower-case name is an argument of `auralis_core.plan` (preset, intensity, target, ceiling) or, failing
that, a field of `MasteringPlan`; ``*=`` multiplies what the plan says. A name in capitals is a constant of
``auralis_core/plan.py``. Every combination is run. One finished job is one line of the rows file: a sweep
that was stopped goes on where it was, and one that is widened runs what is new.

Over the benchmark a setting is judged by mean and worst composite and by the SI-SDR it gains; over a
folder, where there is no original, by the crest it gains against how far it moves the spectrum. Settings
that no other one beats in everything have a star in the table.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from importlib import import_module
from inspect import signature
from io import SEEK_END
from itertools import product
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import auralis_core as ac
from auralis_core.audio import FORMATS, AudioReader

sys.path.insert(0, str(Path(__file__).parent))
import squashbench
from metrics import Reference, measure

Samples = NDArray[np.float32]
#: Where the constants are. The modules: of one of the names `auralis_core` has the function.
RULES = [import_module(f"auralis_core.{name}") for name in ("plan", "tone", "restoration", "amplitudes")]

Setting = tuple[tuple[str, Any], ...]

ARGUMENTS = set(signature(ac.plan).parameters) - {"fingerprint"}
FIELDS = {f.name for f in fields(ac.MasteringPlan)}
#: What is better when larger, over the benchmark and over a folder.
AIMS = {
    "benchmark": ("composite", "worst", "delta_si_sdr_db"),
    "folder": ("crest_gain_db", "closeness_db"),
}
#: Levels of the gain curve, dBFS of 10 ms.
LEVELS_DB = np.arange(-48.0, 1.0, 3.0)
#: Longest stretch of a file that is listened to, from its middle.
EXCERPT_S = 30.0


def parse(sets: list[str]) -> dict[str, list[Any]]:
    """``name=a,b`` and ``name*=a,b`` → name (with its ``*``) to values."""
    grid: dict[str, list[Any]] = {}
    for text in sets:
        name, found, values = text.partition("=")
        bare = name.rstrip("*").strip()
        known = any(hasattr(m, bare) for m in RULES) if bare.isupper() else bare in ARGUMENTS | FIELDS
        if not (found and values and known):
            raise typer.BadParameter(f"{text!r}: no such parameter, or no values")
        grid[name.strip()] = [_value(v.strip()) for v in values.split(",")]
    return grid


def _value(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return None if text == "none" else text


@contextmanager
def _constants(setting: Mapping[str, Any]) -> Iterator[None]:
    """The constants of the rules as the setting has them, wherever they are known, while the block runs."""
    changed = {name.rstrip("*"): value for name, value in setting.items() if name.rstrip("*").isupper()}
    kept = [(m, name, getattr(m, name)) for m in RULES for name in changed if hasattr(m, name)]
    try:
        for module, name, own in kept:
            setattr(module, name, own * changed[name] if f"{name}*" in setting else changed[name])
        yield
    finally:
        for module, name, own in kept:
            setattr(module, name, own)


def plan(fp: ac.Fingerprint, setting: Setting) -> ac.MasteringPlan:
    """What the rules make of a track under a setting."""
    wanted = dict(setting)
    with _constants(wanted):
        made = ac.plan(fp, **{name: value for name, value in wanted.items() if name in ARGUMENTS})
    changes = {
        name.rstrip("*"): getattr(made, name[:-1]) * value if name.endswith("*") else value
        for name, value in wanted.items()
        if name.rstrip("*") in FIELDS - ARGUMENTS
    }
    return replace(made, **changes)


def gain_curve(x: Samples, y: Samples, rate: int) -> list[float | None]:
    """Median gain over 10 ms by their level going in; None where nothing has that level."""
    n = rate // 100
    levels = []
    for z in (x, y):
        power = (z[:, : z.shape[1] // n * n].astype(np.float64) ** 2).reshape(len(z), -1, n).mean(axis=(0, 2))
        levels.append(10.0 * np.log10(power + 1e-12))
    place = np.digitize(levels[0], LEVELS_DB)
    gains = [levels[1][place == k] - levels[0][place == k] for k in range(len(LEVELS_DB))]
    return [round(float(np.median(g)), 3) if len(g) else None for g in gains]


def judge(x: Samples, rate: int, setting: Setting, original: Samples | None) -> dict[str, Any]:
    """Master a signal under a setting and measure what became of it."""
    before = ac.fingerprint_array(x, rate)
    y = ac.render_array(x, rate, plan(before, setting))
    after = ac.fingerprint_array(y, rate)
    values: dict[str, Any] = {
        **{f"{name}_in": getattr(before, name) for name in ("lufs", "crest_db")},
        **{f"{name}_out": getattr(after, name) for name in ("lufs", "crest_db")},
        "true_peak_dbtp": after.extras["true_peak_dbtp"],
        "ltas_in": list(before.ltas_db),
        "ltas_out": list(after.ltas_db),
        "gain_curve": gain_curve(x, y, rate),
    }
    if original is None:
        moved = measure(Reference(x, rate), y)
        values["crest_gain_db"] = after.crest_db - before.crest_db
        values["closeness_db"] = -moved.lsd_db
    else:
        score = squashbench.score(original, x, y, rate)
        values["composite"], values["delta_si_sdr_db"] = score.composite, score.delta_si_sdr_db
    return values


@dataclass(frozen=True, slots=True)
class Job:
    """One setting on one item: a row of the benchmark, or a file."""

    setting: Setting
    item: squashbench.Spec | Path

    @property
    def key(self) -> str:
        item = str(self.item) if isinstance(self.item, Path) else "/".join(map(str, astuple(self.item)))
        return json.dumps([self.setting, item])


def run(job: Job, cache: Path | None) -> dict[str, Any]:
    """The values of one job."""
    if isinstance(job.item, squashbench.Spec):
        item = squashbench.build(job.item, cache)
        return judge(item.squashed, item.rate, job.setting, item.original)
    with AudioReader(job.item) as reader:
        length = int(EXCERPT_S * reader.sample_rate)
        reader.seek(max(0, reader.frames - length) // 2)
        x = reader.read(length)
        return judge(
            np.repeat(x, 2, axis=0) if len(x) == 1 else x[:2].copy(), reader.sample_rate, job.setting, None
        )


def load(rows: Path) -> dict[str, dict[str, Any]]:
    """Finished jobs by key; a line cut off by a kill does not count."""
    done = {}
    for line in rows.read_text().splitlines() if rows.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        done[row["key"]] = row["values"]
    return done


def close_last_line(file: BinaryIO) -> None:
    """End the line that a kill cut off, or the next row would be lost with it."""
    size = file.seek(0, SEEK_END)
    if size:
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.write(b"\n")


def summarise(
    settings: list[Setting], jobs: list[Job], done: Mapping[str, dict[str, Any]]
) -> list[dict[str, float]]:
    """Means over the items of each setting, and the worst composite."""
    out = []
    for setting in settings:
        values = [done[job.key] for job in jobs if job.setting == setting and job.key in done]
        numbers = [k for k, v in values[0].items() if isinstance(v, float | int)]
        row = {name: statistics.fmean(v[name] for v in values) for name in numbers}
        row["true_peak_dbtp"] = max(v["true_peak_dbtp"] for v in values)
        if "composite" in row:
            row["worst"] = min(v["composite"] for v in values)
        out.append(row)
    return out


def front(rows: list[dict[str, float]], aims: tuple[str, ...]) -> list[bool]:
    """Which rows no other row beats: as good in every aim and better in one."""
    points = [tuple(row[a] for a in aims) for row in rows]
    return [
        not any(all(q >= p for q, p in zip(b, a, strict=True)) and b != a for b in points) for a in points
    ]


def table(settings: list[Setting], rows: list[dict[str, float]], aims: tuple[str, ...]) -> Table:
    shown = [
        *aims,
        *(c for c in ("crest_db_in", "crest_db_out", "lufs_out", "true_peak_dbtp") if c in rows[0]),
    ]
    out = Table("", "setting", title="* beaten by no other setting", title_justify="left")
    for name in shown:
        out.add_column(name, justify="right")
    best = front(rows, aims)
    for k in sorted(range(len(rows)), key=lambda k: -rows[k][aims[0]]):
        text = ", ".join(f"{name}={value}" for name, value in settings[k]) or "as it is"
        out.add_row("*" if best[k] else "", text, *(f"{rows[k][name]:.3f}" for name in shown))
    return out


def draw(folder: Path, settings: list[Setting], jobs: list[Job], done: Mapping[str, dict[str, Any]]) -> None:
    """A picture for each setting: loudness against crest before and after, gain by level, mean spectra."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit("plots need matplotlib: pip install 'auralis-core[plot]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    for number, setting in enumerate(settings):
        values = [done[job.key] for job in jobs if job.setting == setting and job.key in done]
        figure = Figure(figsize=(15, 4.5), dpi=100, layout="constrained")
        plane, curve, spectrum = figure.subplots(1, 3)
        for v in values:
            ends = [v["lufs_in"], v["lufs_out"]], [v["crest_db_in"], v["crest_db_out"]]
            plane.plot(*ends, color="#0b6e99", alpha=0.4, linewidth=0.8)
            plane.plot(ends[0][0], ends[1][0], ".", color="#8a94a6")
            plane.plot(ends[0][1], ends[1][1], ".", color="#0b6e99")
            gains = [np.nan if g is None else g for g in v["gain_curve"]]
            curve.plot(LEVELS_DB, gains, color="#0b6e99", alpha=0.4, linewidth=0.8)
        plane.axvline(-12.0, color="grey", linestyle=":")
        plane.axhline(13.0, color="grey", linestyle=":")
        for name, colour in (("ltas_in", "#8a94a6"), ("ltas_out", "#0b6e99")):
            mean = np.mean([v[name] for v in values], axis=0)
            spectrum.semilogx(ac.schema.LTAS_CENTRES_HZ, mean, color=colour, label=name[5:])
        plane.set(title="grey before, blue after", xlabel="LUFS", ylabel="crest, dB")
        curve.set(title="gain by level, 10 ms", xlabel="level in, dBFS", ylabel="dB")
        spectrum.set(title="mean spectrum", xlabel="Hz", ylabel="dB")
        spectrum.legend()
        figure.suptitle(", ".join(f"{name}={value}" for name, value in setting) or "as it is")
        figure.savefig(folder / f"{number:03}.png")


def main(
    sets: Annotated[list[str], typer.Option("--set", help="name=a,b or name*=a,b; may be given again")] = [],  # noqa: B006
    folder: Annotated[Path | None, typer.Option(help="music instead of the benchmark")] = None,
    split: Annotated[str, typer.Option(help="half of the benchmark: tuning or held-out")] = "tuning",
    rows: Annotated[Path, typer.Option(help="finished jobs, one a line")] = Path("sweep.jsonl"),
    plots: Annotated[Path | None, typer.Option(help="write a picture of every setting here")] = None,
    cache: Annotated[Path | None, typer.Option(help="keep squashed signals in this folder")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    limit: Annotated[int | None, typer.Option(min=1, help="only so many items")] = None,
) -> None:
    """Run the sweep and print its table."""
    grid = parse(sets)
    settings = [tuple(zip(grid, values, strict=True)) for values in product(*grid.values())]
    if folder is None:
        items: list[squashbench.Spec | Path] = list(squashbench.specs(split, quick=True))
    else:
        items = sorted(p for p in folder.rglob("*") if p.suffix.lower() in FORMATS)
    if not items:
        raise typer.BadParameter("nothing to run over")
    everything = [Job(setting, item) for setting in settings for item in items[:limit]]
    done = load(rows)
    todo = [job for job in everything if job.key not in done]
    console = Console(width=None if sys.stdout.isatty() else 150)
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(jobs) as pool, rows.open("a+b") as file:
        close_last_line(file)
        running = {pool.submit(run, job, cache): job for job in todo}
        finished = track(as_completed(running), "jobs", len(todo), disable=not sys.stderr.isatty())
        try:
            for future in finished:
                key, values = running[future].key, future.result()
                file.write(json.dumps({"key": key, "values": values}).encode() + b"\n")
                file.flush()
                done[key] = values
        finally:  # one that failed does not wait for all the others
            pool.shutdown(cancel_futures=True)
    aims = AIMS["benchmark" if folder is None else "folder"]
    console.print(table(settings, summarise(settings, everything, done), aims))
    if plots is not None:
        draw(plots, settings, everything, done)


if __name__ == "__main__":
    typer.run(main)

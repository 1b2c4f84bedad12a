"""`auralis`: the core's commands. What they print is the public contract; what they do is elsewhere, and
how they end and speak is `terminal.py`'s.

With ``--json`` stdout carries JSON and nothing else, one object a line. Errors are one line on
stderr and a non-zero exit: 1 for data, 2 for wrong arguments, 130 for Ctrl-C. Engine modules are
imported inside the commands, so that help is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .errors import AuralisError
from .terminal import clock, json_line, progress
from .terminal import error as error
from .terminal import run as run

if TYPE_CHECKING:
    from .doctor import Finding
    from .fingerprint import Measurement
    from .schema import Fingerprint

# Plain help and no pretty tracebacks: rich costs 60 ms at every start. No shell completion either.
app = typer.Typer(
    name="auralis",
    help="Measures each track once, decides what it needs, and makes it sound better.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

bench = typer.Typer(help="Measure what this machine can do.", rich_markup_mode=None)
app.add_typer(bench, name="bench")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON only, one object a line.")]
BenchFile = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", readable=False, help="By default four minutes of synthesised FLAC."),
]
Rounds = Annotated[int, typer.Option(min=1, help="How often to try; the best counts.")]
LibraryPath = Annotated[
    Path | None, typer.Option("--db", metavar="PATH", help="The library; by default the user's own.")
]
CheckedFolders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[DIR…]", help="Music whose sidecars to check.", readable=False),
]
Database = Annotated[Path, typer.Option("--db", metavar="PATH", help="The library's SQLite file.")]


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"auralis {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def fingerprint(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Audio files.", readable=False)],
    as_json: AsJson = False,
) -> None:
    """Measure files: 25 numbers and what mastering needs beside them."""
    from .fingerprint import measure

    failed = False
    for path in files:
        try:
            measured = measure(path)
        except AuralisError as e:
            error(str(e))
            failed = True
            continue
        if as_json:
            print(json_line(_fingerprint_object(path, measured)))
        else:
            print(_fingerprint_text(path, measured))
    if failed:
        raise typer.Exit(1)


def _fingerprint_object(path: Path, measured: Measurement) -> dict[str, Any]:
    elapsed = {name: getattr(measured, name) for name in ("decode_s", "analyse_s", "total_s")}
    return {"path": str(path), **measured.fingerprint.to_dict(), "elapsed": elapsed}


def _fingerprint_text(path: Path, measured: Measurement) -> str:
    from .schema import DIMENSIONS, EXTRAS

    fp = measured.fingerprint
    flags = f", {', '.join(fp.flags)}" if fp.flags else ""
    head = f"{path}: {clock(fp.duration)}, {fp.sample_rate} Hz, {fp.channels} channels{flags}"
    rows = [(d.name, fp[d.name], d.unit) for d in DIMENSIONS]
    rows += [(name, fp.extras[name], unit) for name, unit in EXTRAS.items()]
    speed = fp.duration / measured.total_s
    return "\n".join(
        [
            head,
            *(f"  {name:<24}{value:>10.3f}  {unit}" for name, value, unit in rows),
            f"  measured in {measured.total_s:.2f} s, {speed:.0f} × real time",
        ]
    )


@app.command()
def master(
    source: Annotated[Path, typer.Argument(metavar="IN", readable=False)],
    target_path: Annotated[
        Path,
        typer.Argument(metavar="OUT", readable=False, help="Its suffix is the format: wav, flac, ogg, mp3 …"),
    ],
    preset: Annotated[str, typer.Option(help="adaptive, gentle, warm, bright or punchy.")] = "adaptive",
    intensity: Annotated[float, typer.Option(help="0–1; 0 leaves every sample as it is.")] = 1.0,
    target: Annotated[float | None, typer.Option(metavar="LUFS", help="Loudness for quiet tracks.")] = None,
    ceiling: Annotated[float, typer.Option(metavar="DBTP", help="True-peak ceiling.")] = -1.0,
    subtype: Annotated[
        str | None, typer.Option(help="PCM_16, PCM_24, FLOAT …; by default the bit depth of IN.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Master a file with the same engine that serves it."""
    from .export import export

    with progress(not as_json, "mastering") as step:
        done = export(
            *(source, target_path),
            preset=preset,
            intensity=intensity,
            target=target,
            ceiling=ceiling,
            subtype=subtype,
            progress=step,
        )
    if as_json:
        print(json_line(done.to_dict()))
        return
    decision = done.plan.decision
    assert decision is not None
    restraint = f", expansion {decision.expansion:.2f}" if decision.expansion else ""
    print(f"{target_path}: {decision.region}{restraint}, gain {done.plan.gain_db:+.1f} dB")
    for name, level in (("in", done.input), ("out", done.output)):
        print(
            f"  {name:<4}{level.lufs:7.1f} LUFS   crest {level.crest_db:4.1f} dB"
            f"   PLR {level.plr_db:4.1f} dB   {level.true_peak_dbtp:+6.2f} dBTP"
        )
    for note in done.notes:
        print(f"  {note}")
    print(f"  {done.realtime_factor:.0f} × real time")


Folders = Annotated[list[Path], typer.Argument(metavar="DIR…", help="Folders of music.", readable=False)]
Jobs = Annotated[int | None, typer.Option(help="Files at once; by default one for each core.")]
Cache = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder for the sidecars of read-only music.")
]


@app.command()
def plot(
    file: Annotated[Path, typer.Argument(metavar="FILE", readable=False)],
    image: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PNG", help="By default FILE's name here; png, svg or pdf."),
    ] = None,
    preset: Annotated[str, typer.Option(help="adaptive, gentle, warm, bright or punchy.")] = "adaptive",
    intensity: Annotated[float, typer.Option(help="0–1.")] = 1.0,
    target: Annotated[float | None, typer.Option(metavar="LUFS", help="Loudness for quiet tracks.")] = None,
    ceiling: Annotated[float, typer.Option(metavar="DBTP", help="True-peak ceiling.")] = -1.0,
    as_json: AsJson = False,
) -> None:
    """Draw a track: fingerprint, decision, loudness and gain before and after."""
    from .plot import plot as draw

    drawn = draw(file, image, preset, intensity, target, ceiling)
    print(json_line(drawn) if as_json else f"{drawn['image']}: {drawn['decision']['region']}")


@app.command()
def scan(
    folders: Folders, db: Database, jobs: Jobs = None, cache: Cache = None, as_json: AsJson = False
) -> None:
    """Take folders into the library, measuring only what is not known yet.

    Files that cannot be read are listed with their reason; the scan itself has then still succeeded.
    """
    take_in(folders, db, jobs, cache, as_json)


def take_in(
    folders: list[Path],
    db: Path,
    jobs: int | None,
    cache: Path | None,
    as_json: bool,
    measure: Callable[[str, Callable[[], bool]], Fingerprint] | None = None,
    measured_by: str = "local",
) -> None:
    """What `scan` does, with whoever measures."""
    from .dataset import Dataset
    from .library import scan as scan_folders

    with Dataset(db, "restore") as dataset, progress(not as_json, "scanning") as step:
        report = scan_folders(
            *(folders, dataset, jobs),
            progress=lambda done, total, _: step(done, total),
            cache=cache,
            measure=measure,
            measured_by=measured_by,
        )
    if as_json:
        print(json_line(report.to_dict()))
        return
    for failure in report.failed:
        error(f"{failure.path}: {failure.reason}")
    print(
        f"{report.scanned} files in {report.elapsed_s:.1f} s: {report.fingerprinted} measured,"
        f" {report.from_sidecar} from sidecars, {report.from_database} known, {len(report.failed)} failed,"
        f" {report.removed} forgotten"
    )


@app.command()
def backup(
    db: LibraryPath = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", metavar="FILE", help="By default beside the library; the oldest of three goes."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a library, verified, while it is in use."""
    from .dataset import Dataset, default_path

    path = db or default_path()
    if not path.exists():
        raise ValueError(f"{path}: there is no such library")
    with Dataset(path) as dataset:
        made = output or dataset.keep_backup(always=True)
        if output:
            dataset.backup(output)
        counts = dataset.counts()
    if as_json:
        print(json_line({"path": str(made), "tracks": counts.tracks, "fingerprinted": counts.fingerprinted}))
    else:
        print(f"{made}: {counts.tracks} tracks, {counts.fingerprinted} of them measured")


@app.command()
def album(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of albums.", readable=False)],
    as_json: AsJson = False,
) -> None:
    """Measure albums as wholes: one gain for all tracks of each keeps how they relate."""
    from .album import albums, measure
    from .library import Failure

    failed: list[Failure] = []
    found = albums(folder, failed)
    total = sum(len(one.paths) for one in found)
    done = iter(range(1, total + 1))
    with progress(not as_json, "measuring") as step:
        for one in found:
            reading = measure(one, failed, lambda _: step(next(done, total), total))
            if reading is not None:
                print(json_line(reading.to_dict()) if as_json else _album_text(reading.to_dict()), flush=True)
    for failure in failed:
        error(f"{failure.path}: {failure.reason}")
    if failed:
        raise typer.Exit(1)


def _album_text(data: dict[str, Any]) -> str:
    def levels(row: dict[str, Any]) -> str:
        return (
            f"{row['lufs']:7.1f} LUFS   crest {row['crest_db']:4.1f} dB   LRA {row['loudness_range']:4.1f} LU"
            f"   {row['true_peak_dbtp']:+6.2f} dBTP"
        )

    name = " — ".join(filter(None, (data["artist"], data["album"])))
    head = f"{name}: {data['decision']['region']}, gain {data['gain_db']:+.1f} dB for every track"
    rows = [f"  {row['title'][:32]:<32}{levels(row)}   {row['region']}" for row in data["tracks"]]
    return "\n".join([head, f"  {'':<32}{levels(data)}", *rows])


@app.command()
def similar(
    track: Annotated[str, typer.Argument(metavar="TRACK", help="A track's id or its file.")],
    db: Database,
    count: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 10,
    as_json: AsJson = False,
) -> None:
    """List the tracks whose fingerprints are nearest."""
    from .dataset import Dataset
    from .similar import nearest

    if not db.exists():
        raise ValueError(f"{db}: there is no such library")
    with Dataset(db, "survive") as dataset:
        known = dataset.track(int(track)) if track.isdecimal() else dataset.find(os.path.realpath(track))
        if known is None:
            raise ValueError(f"{track} is not in the library")
        for other, distance in nearest(dataset, known.id, count):
            names = {"id": other.id, "path": other.path, "title": other.title, "artist": other.artist}
            if as_json:
                print(json_line({**names, "distance": distance}))
            else:
                print(f"{distance:6.2f}  {' — '.join(filter(None, (other.artist, other.title)))}")


@app.command()
def doctor(folders: CheckedFolders = None, db: LibraryPath = None, as_json: AsJson = False) -> None:
    """Check engine, decoders, library, sidecars and port, and say what to do.

    Exits with 1 if anything fails; a warning is not a failure.
    """
    take_stock(db, folders, as_json)


def take_stock(
    db: Path | None, folders: list[Path] | None, as_json: bool, others: Iterable[Finding] = ()
) -> None:
    """Print every finding as it is made, those of `others` last; exit 1 on a failure."""
    from .dataset import default_path
    from .doctor import examine, worst

    seen = []
    for finding in chain(examine(db or default_path(), folders or ()), others):
        seen.append(finding)
        print(json_line(finding.to_dict()) if as_json else _finding_text(finding), flush=True)
    if worst(seen) == "fail":
        raise typer.Exit(1)


def _finding_text(finding: Finding) -> str:
    colours = {"ok": "32", "warn": "33", "fail": "31"}
    state = f"{finding.state:<4}"
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        state = f"\x1b[{colours[finding.state]}m{state}\x1b[0m"
    lines = [f"{state}  {finding.check:<22}{finding.detail}"]
    if finding.advice:
        lines.append(f"{'':28}{finding.advice}")
    return "\n".join(lines)


@bench.command("fingerprint")
def bench_fingerprint(file: BenchFile = None, rounds: Rounds = 5, as_json: AsJson = False) -> None:
    """Time the whole measurement beside decoding alone."""
    from .bench import fingerprint_cost

    cost = fingerprint_cost(file, rounds)
    if as_json:
        print(json_line(cost.to_dict()))
        return
    print(
        f"{cost.file or 'synthesised FLAC'}: {clock(cost.duration)} measured in {cost.total_s:.3f} s,"
        f" {cost.realtime_factor:.0f} × real time ({cost.simd})\n"
        f"  decoding alone {cost.decode_s:.3f} s, the whole is {cost.ratio_to_decode:.2f} × that"
    )


@bench.command("render")
def bench_render(file: BenchFile = None, rounds: Rounds = 3, as_json: AsJson = False) -> None:
    """Time mastering with every stage on beside decoding alone."""
    from .bench import render_cost

    cost = render_cost(file, rounds)
    if as_json:
        print(json_line(cost.to_dict()))
        return
    print(
        f"{cost.file or 'synthesised FLAC'}: {clock(cost.duration)} mastered in {cost.render_s:.3f} s,"
        f" {cost.realtime_factor:.0f} × real time ({cost.simd})\n"
        f"  decoding alone {cost.decode_s:.3f} s, {cost.decode_realtime_factor:.0f} × real time"
    )

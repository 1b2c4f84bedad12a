"""The `auralis` entry point: the core's commands, `serve`, `worker`, and the benches that need a server."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralis_core.cli import (
    AsJson,
    Cache,
    CheckedFolders,
    Database,
    Folders,
    Jobs,
    LibraryPath,
    app,
    error,
    run,
    take_in,
    take_stock,
)
from auralis_core.cli import bench as benches

if TYPE_CHECKING:
    from .config import RemoteConfig
    from .load import Load

Music = Annotated[
    Path | None,
    typer.Argument(metavar="[DIR]", help="Music to play, by default synthesised.", readable=False),
]

RemoteTargets = Annotated[
    str | None, typer.Option("--remote", metavar="HOST:PORT,…", help="Workers that measure for this machine.")
]
RemoteToken = Annotated[
    str | None, typer.Option(envvar="AURALIS_WORKER_TOKEN", help="What the workers ask for.")
]
RemoteTokenFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Read that token from here.")]
RemoteCa = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Certificates (PEM) to trust; turns TLS on.")
]
RemoteShared = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The folder that the workers see as their --root.")
]


@app.command()
def serve(
    folders: Annotated[list[Path] | None, typer.Argument(metavar="[DIR…]", help="Folders of music.")] = None,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8765,
    db: Annotated[
        Path | None, typer.Option("--db", metavar="PATH", help="The library's SQLite file.")
    ] = None,
    sources: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="Fingerprint sources in the order they are asked.")
    ] = None,
    scan: Annotated[bool, typer.Option(help="Take in and measure the folders in the background.")] = True,
    budget: Annotated[
        float, typer.Option(metavar="SECONDS", help="Longest search for one fingerprint.")
    ] = 60.0,
    remote: RemoteTargets = None,
    remote_token: RemoteToken = None,
    remote_token_file: RemoteTokenFile = None,
    remote_ca: RemoteCa = None,
    remote_shared: RemoteShared = None,
    demo: Annotated[bool, typer.Option("--demo", help="Play a small synthesised library.")] = False,
) -> None:
    """Serve the player and the enhanced sound of your music."""
    _need_server("serve")
    from auralis_core.dataset import default_path

    from .app import run as serve_until_stopped
    from .config import OWN_SOURCES, SOURCES, ServerConfig

    logging.getLogger("auralis_server").setLevel(logging.INFO)
    if not budget > 0:
        raise ValueError("--budget must be positive")
    workers = _remote(remote, _token(remote_token, remote_token_file), remote_ca, remote_shared)
    roots = list(folders or [])
    for folder in roots:
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder")
    if demo:
        from .demo import synthesise

        home = default_path().parent / "demo"
        synthesise(home)
        if not roots:  # the demo alone keeps out of the user's own library
            db = db or home / "auralis.db"
        roots.append(home)
    serve_until_stopped(
        ServerConfig(
            dirs=tuple(roots),
            host=host,
            port=port,
            db=db,
            sources=(SOURCES if workers else OWN_SOURCES) if sources is None else _names(sources),
            remote=workers,
            analysis_budget_s=budget,
            scan=scan,
        )
    )


@app.command()
def worker(
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Port 0 picks a free one.")],
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder whose files callers may name instead of sending."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Tracks at once; by default one for each core.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="AURALIS_WORKER_TOKEN", help="What callers must show.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Read the token from here.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key, PEM.")] = None,
) -> None:
    """Measure tracks for other machines, over gRPC."""
    _need_grpc("worker")
    from .worker import WorkerConfig
    from .worker import run as work_until_stopped

    logging.getLogger("auralis_server").setLevel(logging.INFO)
    if root is not None and not root.is_dir():
        raise ValueError(f"{root}: no such folder")
    if (tls_cert is None) != (tls_key is None):
        raise ValueError("--tls-cert and --tls-key belong together")
    config = WorkerConfig(
        listen=listen,
        root=root,
        token=_token(token, token_file),
        tls=None if tls_key is None or tls_cert is None else (tls_key.read_bytes(), tls_cert.read_bytes()),
        **({} if jobs is None else {"jobs": jobs}),
    )
    work_until_stopped(config)


@app.command()  # in the place of the core's, which knows no other machines
def scan(
    folders: Folders,
    db: Database,
    jobs: Jobs = None,
    cache: Cache = None,
    remote: RemoteTargets = None,
    remote_token: RemoteToken = None,
    remote_token_file: RemoteTokenFile = None,
    remote_ca: RemoteCa = None,
    remote_shared: RemoteShared = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="A Dask cluster that sees the same files.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take folders into the library, measuring only what is not known yet.

    Files that cannot be read are listed with their reason; the scan itself has then still succeeded.
    With --remote or --cluster other machines measure; files are read here unless they share them.
    """
    if remote is not None and cluster is not None:
        raise ValueError("--remote and --cluster exclude each other")
    workers = _remote(remote, _token(remote_token, remote_token_file), remote_ca, remote_shared)
    from .spread import FleetLost, over_cluster, over_workers

    if cluster is not None:
        _need_dask()
        reached = over_cluster(cluster)
    elif workers is not None:
        reached = over_workers(workers)
    else:
        take_in(folders, db, jobs, cache, as_json)
        return
    try:
        with reached as spread:
            take_in(folders, db, jobs or spread.jobs, cache, as_json, spread.measure, spread.name)
    except FleetLost as e:
        error(f"{e}; what was measured is kept, scan again to go on")
        raise typer.Exit(1) from None


@app.command()  # in the place of the core's, for the same reason
def doctor(
    folders: CheckedFolders = None,
    db: LibraryPath = None,
    remote: RemoteTargets = None,
    remote_token: RemoteToken = None,
    remote_token_file: RemoteTokenFile = None,
    remote_ca: RemoteCa = None,
    as_json: AsJson = False,
) -> None:
    """Check engine, decoders, library, sidecars, port and workers, and say what to do.

    Exits with 1 if anything fails; a warning is not a failure.
    """
    reached = _remote(remote, _token(remote_token, remote_token_file), remote_ca, None)
    from .visit import workers

    take_stock(db, folders, as_json, [] if reached is None else workers(reached))


def _remote(
    targets: str | None, token: str | None, ca: Path | None, shared: Path | None
) -> RemoteConfig | None:
    if targets is None:
        return None
    _need_grpc("--remote")
    from .config import RemoteConfig

    if shared is not None and not shared.is_dir():
        raise ValueError(f"{shared}: no such folder")
    return RemoteConfig(
        targets=targets, token=token, ca=None if ca is None else ca.read_bytes(), shared=shared
    )


def _need_grpc(command: str) -> None:
    try:
        from grpc_reflection.v1alpha import reflection  # noqa: F401
    except ImportError:
        error(f"{command} needs gRPC: pip install 'auralis-core[remote]'")
        raise typer.Exit(1) from None


def _need_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError:
        error("--cluster needs Dask: pip install 'auralis-core[cluster]'")
        raise typer.Exit(1) from None


def _token(token: str | None, file: Path | None) -> str | None:
    text = token if file is None else file.read_text()
    return (text or "").strip() or None


@benches.command("first-audio")
def bench_first_audio(
    folder: Music = None,
    plays: Annotated[int, typer.Option(min=1, help="Tracks played, each cold and warm.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Time from a request to its first sound: play, cold and warm, seek, change of preset."""
    _need_server("bench first-audio")
    from .bench import first_audio

    result = asyncio.run(first_audio(folder, plays)).to_dict()
    if as_json:
        print(json.dumps(result))
        return
    rows = {name: row for name, row in result.items() if name != "by_format"}
    rows |= {f"cold {name}": row for name, row in result["by_format"].items()}
    for name, row in rows.items():
        print(f"{name:10} p50 {row['p50_ms']:6.1f} ms   p95 {row['p95_ms']:6.1f} ms   n {row['n']}")


@benches.command("streams")
def bench_streams(
    folder: Music = None,
    most: Annotated[int, typer.Option(min=1, help="Largest number tried.")] = 1024,
    hold: Annotated[float, typer.Option(min=0.1, max=60.0, help="Seconds each number is held.")] = 8.0,
    as_json: AsJson = False,
) -> None:
    """Search the largest number of real-time enhanced streams without an underrun."""
    _need_server("bench streams")
    from .bench import streams

    def tell(trial: Load) -> None:
        if sys.stderr.isatty():
            print(f"  {trial.streams} streams: {trial.underruns} underruns", file=sys.stderr)

    result = asyncio.run(streams(folder, most=most, hold_s=hold, progress=tell)).to_dict()
    if as_json:
        print(json.dumps(result))
        return
    print(
        f"{result['streams']} streams, {result['per_core']:.0f} a core (limited by {result['limited_by']})\n"
        f"  {result['cpu_ms_per_audio_s']:.2f} ms of processor a second of audio,"
        f" {result['rss_per_stream_kb']:.0f} kB a stream, event loop late by"
        f" {result['loop_lag_p99_ms']:.1f} ms (p99)"
    )


@benches.command("soak")
def bench_soak(
    folder: Music = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long.")] = 60.0,
    streams: Annotated[int, typer.Option(min=1, help="Listeners with random commands.")] = 4,
    as_json: AsJson = False,
) -> None:
    """Let listeners seek, switch and pause at random for an hour; count underruns, watch the memory."""
    _need_server("bench soak")
    from .bench import soak

    result = asyncio.run(soak(folder, minutes=minutes, listeners=streams)).to_dict()
    if as_json:
        print(json.dumps(result))
        return
    print(
        f"{result['streams']} streams, {result['commands']} commands in {result['minutes']:g} minutes:"
        f" {result['underruns']} underruns\n"
        f"  resident {result['rss_first_kb'] / 1024:.1f} → {result['rss_last_kb'] / 1024:.1f} MB,"
        f" {result['rss_slope_kb_per_min']:+.0f} kB a minute; errors {result['errors'] or 'none'}"
    )


def _need_server(command: str) -> None:
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        error(f"{command} needs the server's packages: pip install 'auralis-core[server]'")
        raise typer.Exit(1) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def main() -> None:
    """What the `auralis` command runs."""
    sys.exit(run(app))

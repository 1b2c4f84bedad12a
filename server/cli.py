"""The `auralis` entry point: the core's commands, `serve` and `worker`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from auralis_core.cli import app, error, run


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
    demo: Annotated[bool, typer.Option("--demo", help="Play a small synthesised library.")] = False,
) -> None:
    """Serve the player and the enhanced sound of your music."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        error("serve needs the server's packages: pip install 'auralis-core[server]'")
        raise typer.Exit(1) from None
    from auralis_core.dataset import default_path

    from .app import run as serve_until_stopped
    from .config import SOURCES, ServerConfig

    logging.getLogger("auralis_server").setLevel(logging.INFO)
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
            sources=SOURCES if sources is None else _names(sources),
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


def _need_grpc(command: str) -> None:
    try:
        from grpc_reflection.v1alpha import reflection  # noqa: F401
    except ImportError:
        error(f"{command} needs gRPC: pip install 'auralis-core[remote]'")
        raise typer.Exit(1) from None


def _token(token: str | None, file: Path | None) -> str | None:
    text = token if file is None else file.read_text()
    return (text or "").strip() or None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def main() -> None:
    """What the `auralis` command runs."""
    sys.exit(run(app))

"""The `auralis` entry point: the core's commands, and `serve`."""

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


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def main() -> None:
    """What the `auralis` command runs."""
    sys.exit(run(app))

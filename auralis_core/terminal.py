"""How every command speaks and ends: a line of JSON, a line on stderr, a bar that moves, an exit code."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from .errors import AuralisError

# typer ≥ 0.26 carries its own click, so the base of its errors is found through a public one.
_UsageError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def error(message: str) -> None:
    """One line on stderr."""
    print("auralis:", " ".join(message.split()), file=sys.stderr)


def run(application: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return its exit code.

    What a user can cause ends in one line on stderr, never in a traceback.
    """
    logging.basicConfig(level=logging.WARNING, format="auralis: %(message)s")
    try:
        return int(application(arguments, standalone_mode=False) or 0)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except _UsageError as e:
        error(e.format_message())  # type: ignore[attr-defined]
        return 2
    except ValueError as e:
        error(str(e))
        return 2
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except AuralisError as e:
        error(str(e))
        return 1
    except OSError as e:
        error(f"{e.filename}: {e.strerror}" if e.filename else str(e))
        return 1


def json_line(value: dict[str, Any]) -> str:
    """One object on one line."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


@contextmanager
def progress(wanted: bool, what: str) -> Iterator[Callable[[float, float], None]]:
    """A bar on stderr while the block runs, when stderr is a terminal; `step(done, total)` moves it."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

"""A library's file looked at from outside: every page and row, and nothing changed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from . import copies
from .errors import DatasetError
from .faults import kind_of
from .migrations import SUMMED, checksum, refusal
from .opening import file_system


@dataclass(frozen=True, slots=True)
class Look:
    """What was found. `trouble` is why the library would open degraded, None if it would not."""

    version: int
    tracks: int
    fingerprinted: int
    damaged: int
    trouble: str | None
    last_backup: float | None


def look_at(path: str | PathLike[str]) -> Look:
    """Check the library at `path`.

    Raises
    ------
    DatasetError
        It cannot be opened, is damaged, or is not this Auralis'; `kind` says which.
    """
    path, why = Path(path), sqlite3.Error("cannot be opened")
    trouble = _trouble(path)
    # Where this user may write, what SQLite makes beside the file it also takes away again.
    ways = copies.without_writing(path) if trouble else iter([_open(path)])
    for connection in ways:
        with closing(connection):
            try:
                return _look(connection, path, trouble)
            except sqlite3.Error as e:
                why = e
                if kind_of(e) in ("busy", "damaged"):
                    break
    raise DatasetError(str(why), path, kind_of(why)) from why


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0.1)


def _look(connection: sqlite3.Connection, path: Path, trouble: str | None) -> Look:
    kind = refusal(connection)
    if kind is not None:
        what = "not an Auralis database" if kind == "foreign" else "was written by a newer Auralis"
        raise DatasetError(what, path, kind)
    copies.check(connection)
    connection.create_function("checksum", -1, checksum, deterministic=True)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tracks,) = connection.execute("SELECT count(*) FROM tracks").fetchone()
    summed = any(row[1] == "crc32" for row in connection.execute("PRAGMA table_info(fingerprints)"))
    wrong = f"count(*) FILTER (WHERE crc32 <> checksum({SUMMED}))" if summed else "0"
    total, damaged = connection.execute(f"SELECT count(*), {wrong} FROM fingerprints").fetchone()
    backups = copies.beside(path)
    return Look(
        *(version, tracks, total - damaged, damaged, trouble),
        copies.made_at(backups[0]) if backups else None,
    )


def _trouble(path: Path) -> str | None:
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return "is read-only for this user; changes would be kept in memory only"
    if kind := file_system(path):
        return f"lies on a network file system ({kind}); readers wait for writers"
    return None

"""Copies of a database file: made while it is in use, checked, rotated, put aside, put back.

Copies lie beside the file and sort by age: ``auralis.db.backup-20260102T030405Z`` is a backup,
``auralis.db.damaged-…`` what a damaged file was renamed to. Nothing is ever deleted but backups
that newer ones have replaced. What the tables mean is not known here.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from .atomic import Replacement
from .migrations import APPLICATION_ID

#: How many backups lie beside a database.
KEEP = 3

#: What SQLite keeps beside a database in use.
COMPANIONS = ("-wal", "-shm", "-journal")

# A file's time may lie this far before the moment it was written at.
_TICK_NS = 20_000_000


class Damaged(sqlite3.DatabaseError):
    """What a check found; looks like SQLite's own finding."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def beside(path: Path, word: str = "backup") -> list[Path]:
    """The copies of the database at `path` of one kind, newest first."""
    prefix = f"{path.name}.{word}-"
    with suppress(OSError):
        names = [name for name in os.listdir(path.parent) if name.startswith(prefix)]
        return [path.with_name(n) for n in sorted(names, reverse=True) if not n.endswith(COMPANIONS)]
    return []


def _stamped(path: Path, word: str) -> Path:
    """A name for a copy made now; later ones sort behind it, even within a second."""
    now = time.time_ns()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9))
    return path.with_name(f"{path.name}.{word}-{stamp}.{now % 10**9 // 1000:06}Z")


def made_at(copy: Path) -> float:
    """When this copy was made, in seconds since the epoch."""
    return copy.stat().st_mtime


def verify(path: Path) -> None:
    """Raise `sqlite3.DatabaseError` unless the file is a whole database of ours."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        check(connection)
        if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise Damaged("not an Auralis database")


def check(connection: sqlite3.Connection) -> None:
    """Raise `sqlite3.DatabaseError` when pages, rows or the index of tracks are damaged."""
    for pragma in ("quick_check(1)", "integrity_check(tracks)"):
        try:
            verdict = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
        except sqlite3.OperationalError as e:
            if "no such table" in str(e):
                continue  # an empty file; whose it is is asked elsewhere
            raise
        if verdict != "ok":
            raise Damaged(" ".join(verdict.split()))


def backup(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the open database to `target`, one consistent state of it, whole or not at all.

    Raises
    ------
    sqlite3.Error, OSError
        `target` is then as it was.
    """
    file = Replacement(target)
    try:
        with closing(sqlite3.connect(file.temporary, isolation_level=None)) as copy:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
            check(copy)
        file.commit()
    finally:
        file.discard()


def keep_backup(connection: sqlite3.Connection, path: Path, keep: int = KEEP) -> Path:
    """Back the open database at `path` up beside itself; the oldest beyond `keep` go."""
    target, began = _stamped(path, "backup"), time.time_ns() - _TICK_NS
    backup(connection, target)
    os.utime(target, ns=(began, began))
    for old in beside(path)[keep:]:
        old.unlink(missing_ok=True)
    return target


def is_backed_up(path: Path) -> bool:
    """Whether nobody, in any process, has written to the database since its newest backup was begun."""
    for copy in beside(path)[:1]:
        with suppress(OSError):
            status = [file.stat() for file in (path, Path(f"{path}-wal")) if file.exists()]
            # An empty log is as old as the last opening.
            return all(s.st_mtime_ns < copy.stat().st_mtime_ns for s in status if s.st_size)
    return False


def is_ours(path: Path) -> bool:
    """Whether the file, however damaged, was written by us: its mark, give or take two bits, or a
    backup beside it says so.

    Not for a database this process has open: closing the file would drop SQLite's locks.
    """
    with suppress(OSError), open(path, "rb") as f:
        f.seek(68)  # where SQLite keeps the application id
        mark = f.read(4)
        if len(mark) == 4 and (int.from_bytes(mark, "big") ^ APPLICATION_ID).bit_count() <= 2:
            return True
    return bool(beside(path))


def put_aside(path: Path) -> Path:
    """Rename a damaged database and what lies beside it; returns its new name. Raises `OSError`.

    A log that outlived its database goes too: the next file of that name must not replay it.
    """
    kept = _stamped(path, "damaged")
    for suffix in ("", *COMPANIONS):
        with suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{kept}{suffix}")
    return kept


def put_back(path: Path) -> Path | None:
    """Put a copy of the newest good backup at `path`, where no file may be; None without one.

    Raises
    ------
    OSError
    """
    for copy in beside(path):
        with suppress(sqlite3.Error):
            verify(copy)
            file = Replacement(path)
            try:
                with open(copy, "rb") as source, open(file.fd, "wb", closefd=False) as target:
                    shutil.copyfileobj(source, target)
                file.commit()
            finally:
                file.discard()
            return copy
    return None


def load(path: Path, uri: str) -> None:
    """Copy the database at `path` to the empty database `uri`; nothing is written where `path` lies.

    Raises
    ------
    sqlite3.Error
        It cannot be read whole.
    """
    why = sqlite3.Error("cannot be opened")
    for connection in without_writing(path):
        with closing(connection):
            try:
                check(connection)
                connection.execute("VACUUM INTO ?", (uri,))
                return
            except sqlite3.Error as e:
                why = e
    raise why


def without_writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Connections to the file, the most truthful first, that leave nothing where it lies.

    Without a log nobody has it open, and nothing need be made beside it; a log that cannot be read
    in place is copied.
    """
    name, log = path.absolute().as_uri(), Path(f"{path}-wal")
    with suppress(OSError):
        if not log.exists() or log.stat().st_size == 0:
            yield sqlite3.connect(f"{name}?immutable=1", uri=True)
    yield sqlite3.connect(f"{name}?mode=ro", uri=True, timeout=0.1)
    with suppress(OSError), tempfile.TemporaryDirectory(prefix="auralis-") as folder:
        for file in (path, log):
            shutil.copyfile(file, Path(folder) / file.name)
        yield sqlite3.connect(Path(folder) / path.name)

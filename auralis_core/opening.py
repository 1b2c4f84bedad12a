"""Opening one SQLite file for writing, in the best way that works where it lies.

The write-ahead log lets readers and the writer not wait for each other; where it cannot work (network file
systems, no shared memory) a rollback journal takes its place.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from . import copies
from .faults import code, kind_of

#: Seconds a statement waits for another process that is writing.
BUSY_S = 5.0

# What SQLite answers where the log's shared memory cannot be had.
_NO_LOG = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL)
# Shared memory, and so the log, reaches only the processes of one host on these.
_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "ncpfs", "vboxsf")


def address(path: Path, mode: str = "rwc") -> str:
    """The URI of the file at `path`."""
    return f"{path.absolute().as_uri()}?mode={mode}"


def connect(uri: str) -> sqlite3.Connection:
    """A connection for any thread, that begins and ends its transactions itself."""
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def journaled(
    path: Path, refuse: Callable[[sqlite3.Connection], None]
) -> tuple[sqlite3.Connection, str | None]:
    """A connection that writes, with a write-ahead log if that can work here, else the reason why not.

    `refuse` is shown the connection before the file is touched, and raises where that may not be.
    """
    why = file_system(path)
    if why is None:
        try:
            with ExitStack() as undo:
                connection = connect(address(path))
                undo.callback(connection.close)
                refuse(connection)
                (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                if journal == "wal":
                    connection.execute("PRAGMA synchronous = NORMAL")
                    undo.pop_all()
                    return connection, None
                why = "refused"
        except sqlite3.OperationalError as e:
            if code(e) not in _NO_LOG:
                raise
            why = str(e)
    with ExitStack() as undo:
        connection = connect(address(path))
        undo.callback(connection.close)
        # Alone, a log left behind is read without shared memory.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        refuse(connection)
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        undo.pop_all()
    return connection, why


def try_to_write(writer: sqlite3.Connection) -> None:
    """A file the system lets us write but SQLite does not has a damaged header."""
    writer.execute("PRAGMA busy_timeout = 0")
    try:
        (version,) = writer.execute("PRAGMA user_version").fetchone()
        writer.execute("BEGIN IMMEDIATE")
        writer.execute(f"PRAGMA user_version = {version}")
        writer.execute("ROLLBACK")
    except sqlite3.OperationalError as e:
        roll_back(writer)
        if kind_of(e) == "read-only":
            raise copies.Damaged(str(e)) from e
        if kind_of(e) != "busy":  # somebody else writes: it can be done
            raise
    writer.execute(f"PRAGMA busy_timeout = {round(1000 * BUSY_S)}")


def roll_back(writer: sqlite3.Connection) -> None:
    """End a transaction that has failed."""
    # A full disk or an I/O error has rolled back by itself, and a writer that was replaced is closed.
    with suppress(sqlite3.Error):
        if writer.in_transaction:
            writer.execute("ROLLBACK")


def file_system(path: Path, mounts: str | None = None) -> str | None:
    """The type of the network file system `path` lies on; None for a local one, or if unknown.

    Parameters
    ----------
    path : Path
    mounts : str, optional
        In the form of Linux's ``/proc/self/mounts``, by default that.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(errors="surrogateescape")
        except OSError:
            return None
    real, best, kind = os.path.realpath(path), "", ""
    for line in mounts.splitlines():
        _, point, name, *_ = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), point)
        if len(point) >= len(best) and os.path.join(real, "").startswith(os.path.join(point, "")):
            best, kind = point, name
    return kind if kind.startswith(_NETWORK) else None

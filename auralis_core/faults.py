"""What SQLite's errors mean, in our words."""

from __future__ import annotations

import sqlite3

from .errors import DatasetFault

_KINDS: dict[int, DatasetFault] = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "read-only",
}


def code(e: sqlite3.Error) -> int:
    """SQLite's primary result code, 0 if it gave none."""
    return getattr(e, "sqlite_errorcode", 0) & 0xFF


def kind_of(e: sqlite3.Error) -> DatasetFault:
    """Which of the faults that are told apart this is."""
    return _KINDS.get(code(e), "other")


def words(e: BaseException) -> str:
    """What went wrong, without the file's name."""
    return (isinstance(e, OSError) and e.strerror) or str(e)

"""The SQL of the dataset, one script per version of it. Scripts already released are never edited.

Script n takes a database from ``user_version`` n to n + 1. The 25 columns and their ranges come
from `schema.py`; a change there needs a new script here. The long text comes last in its row, so
that reading the numbers never walks its overflow pages.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from typing import Literal

from .schema import DIMENSIONS

#: Marks a SQLite file as ours ("AURA"), so that another program's database is never written to.
APPLICATION_ID = 0x41555241

_NUMBERS = struct.Struct(f"<4q{len(DIMENSIONS)}d")

#: The columns a row's check sum covers, in its order.
SUMMED = ", ".join(["track_id", "version", "size", "mtime_ns", *(d.name for d in DIMENSIONS), "carried"])

_DIMENSION_COLUMNS = ",\n    ".join(
    f"{d.name} REAL NOT NULL CHECK ({d.name} BETWEEN {d.low!r} AND {d.high!r})" for d in DIMENSIONS
)

MIGRATIONS = (
    f"""
CREATE TABLE tracks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE CHECK (path <> ''),
    title TEXT NOT NULL,
    artist TEXT NOT NULL,
    album TEXT NOT NULL,
    words TEXT NOT NULL,
    frames INTEGER NOT NULL CHECK (frames > 0),
    sample_rate INTEGER NOT NULL CHECK (sample_rate > 0),
    channels INTEGER NOT NULL CHECK (channels > 0),
    size INTEGER NOT NULL CHECK (size >= 0),
    mtime_ns INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'ready', 'failed')),
    reason TEXT CHECK ((reason IS NOT NULL) = (status = 'failed'))
) STRICT;
CREATE INDEX tracks_by_name ON tracks (artist, album, path);
CREATE INDEX tracks_by_content ON tracks (size, mtime_ns);
CREATE TABLE fingerprints (
    track_id INTEGER PRIMARY KEY REFERENCES tracks (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source <> ''),
    computed_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    {_DIMENSION_COLUMNS},
    carried TEXT NOT NULL CHECK (json_valid(carried))
) STRICT;
""",
    # SQLite does not notice a flipped bit inside a number; a sum over the row does.
    f"""
ALTER TABLE fingerprints ADD COLUMN crc32 INTEGER NOT NULL DEFAULT 0;
UPDATE fingerprints SET crc32 = checksum({SUMMED});
""",
)


def checksum(*row: int | float | str) -> int:
    """The check sum of a row of fingerprints: its columns `SUMMED`, in that order.

    A row with anything but numbers and text where they belong has none: -1.
    """
    *numbers, carried = row
    try:
        return zlib.crc32(str(carried).encode(), zlib.crc32(_NUMBERS.pack(*numbers)))
    except (struct.error, UnicodeEncodeError):
        return -1


def refusal(connection: sqlite3.Connection) -> Literal["foreign", "newer"] | None:
    """Why the open database may not be written to: another program's, or a newer Auralis'."""
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if owner != APPLICATION_ID and tables > 0:
        return "foreign"
    return "newer" if _version(connection) > len(MIGRATIONS) else None


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an open database that is not refused up to date, in one transaction."""
    connection.create_function("checksum", -1, checksum, deterministic=True)
    if _version(connection) == len(MIGRATIONS):
        return  # without waiting for whoever is writing
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in MIGRATIONS[_version(connection) :]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:  # only after an error
            connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version

"""The SQL of the dataset, one script per version of it. Scripts already released are never edited.

Script n takes a database from ``user_version`` n to n + 1. The 25 columns and their ranges come
from `schema.py`; a change there needs a new script here. The long text comes last in its row, so
that reading the numbers never walks its overflow pages.
"""

from __future__ import annotations

import sqlite3

from .schema import DIMENSIONS

#: Marks a SQLite file as ours ("AURA"), so that another program's database is never written to.
APPLICATION_ID = 0x41555241

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
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the open database up to date in one transaction.

    Raises
    ------
    sqlite3.Error
    ValueError
        The file belongs to another program or to a newer Auralis; it is left as it was.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if owner != APPLICATION_ID and tables > 0:
            raise ValueError("not an Auralis database")
        if version > len(MIGRATIONS):
            raise ValueError(f"version {version} was written by a newer Auralis")
        for script in MIGRATIONS[version:]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        if version < len(MIGRATIONS):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:  # only after an error
            connection.execute("ROLLBACK")

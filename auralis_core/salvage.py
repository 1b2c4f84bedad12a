"""What of the library's tables is whole: on opening, and when they are copied out of a damaged file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from .migrations import SUMMED, checksum, migrate
from .schema import FINGERPRINT_VERSION

#: Columns of a track.
TRACK = "id, path, title, artist, album, frames, sample_rate, channels, size, mtime_ns, status, reason"
#: A fingerprint of this version, of the file as the track now is.
VALID = "f.track_id = t.id AND f.version = ? AND f.size = t.size AND f.mtime_ns = t.mtime_ns"
#: Called ready, and has none such.
LOST = f"status = 'ready' AND NOT EXISTS (SELECT 1 FROM fingerprints AS f WHERE {VALID})"


def prepare(writer: sqlite3.Connection) -> list[str]:
    """Bring the tables up to date and drop what disagrees with its check sum."""
    migrate(writer)
    damaged = writer.execute(
        f"SELECT track_id FROM fingerprints WHERE crc32 <> checksum({SUMMED})"
    ).fetchall()
    if damaged:
        writer.executemany("DELETE FROM fingerprints WHERE track_id = ?", damaged)
    # Looked at first: whoever is writing is not waited for without need.
    if writer.execute(f"SELECT 1 FROM tracks AS t WHERE {LOST}", (FINGERPRINT_VERSION,)).fetchone():
        writer.execute(f"UPDATE tracks AS t SET status = 'pending' WHERE {LOST}", (FINGERPRINT_VERSION,))
    return [f"{len(damaged)} damaged fingerprints were dropped"] if damaged else []


def salvage(damaged: sqlite3.Connection, into: sqlite3.Connection) -> int:
    """Copy every track that can be read, and every fingerprint that agrees with its check sum."""
    tracks = f"{TRACK}, words"
    insert = f"INSERT OR IGNORE INTO tracks ({tracks}) VALUES ({', '.join('?' * (tracks.count(',') + 1))})"
    fingerprints = f"{SUMMED}, crc32, source, computed_at"
    replace = (
        f"REPLACE INTO fingerprints ({fingerprints}) VALUES ({', '.join('?' * (len(SUMMED.split()) + 3))})"
    )
    saved = 0
    into.execute("BEGIN IMMEDIATE")
    for row in _readable(damaged, "tracks", tracks):
        with suppress(sqlite3.IntegrityError):
            into.execute(insert, row)
    for row in _readable(damaged, "fingerprints", fingerprints):
        if checksum(*row[:-3]) == row[-3]:
            with suppress(sqlite3.IntegrityError):
                into.execute(replace, row)
                saved += 1
    into.execute(
        "UPDATE tracks AS t SET status = 'ready', reason = NULL WHERE status = 'pending'"
        f" AND EXISTS (SELECT 1 FROM fingerprints AS f WHERE {VALID})",
        (FINGERPRINT_VERSION,),
    )
    into.execute(f"UPDATE tracks AS t SET status = 'pending' WHERE {LOST}", (FINGERPRINT_VERSION,))
    into.execute("COMMIT")
    return saved


def _readable(damaged: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """Rows from both ends of the table up to the first page that cannot be read."""
    seen: set[int] = set()
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError):
            for id, *row in damaged.execute(f"SELECT rowid, {columns} FROM {table} ORDER BY rowid {order}"):
                if id in seen:
                    break
                seen.add(id)
                yield tuple(row)

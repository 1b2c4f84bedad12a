"""The library on disk: tracks and their fingerprints in one SQLite file.

WAL with one writer behind a lock and as many readers as there are threads asking; every method may
be called from any thread. The file system is looked at for one thing only: whether the old name of
a moved file still exists.

A track is its path: a file that changes keeps its row and id and goes back to pending, and its old
fingerprint is never served. A file that appears under a new name with the size and modification
time of a track whose file has gone is that track, moved: it keeps id and fingerprint. Ids of
removed tracks are not used again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import DatasetError, FingerprintError
from .migrations import migrate
from .schema import DIMENSIONS, FINGERPRINT_VERSION, Fingerprint

Status = Literal["ready", "pending", "failed"]

_NAMES = ", ".join(d.name for d in DIMENSIONS)
_TRACK = "id, path, title, artist, album, frames, sample_rate, channels, size, mtime_ns, status, reason"
# A fingerprint of this version, of the file as the track now is.
_VALID = "f.track_id = t.id AND f.version = ? AND f.size = t.size AND f.mtime_ns = t.mtime_ns"

#: Seconds a statement waits for another process that is writing.
BUSY_S = 5.0


@dataclass(frozen=True, slots=True)
class TrackSource:
    """What a scan knows about one file before it is measured."""

    path: str
    title: str
    artist: str
    album: str
    frames: int
    sample_rate: int
    channels: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Track:
    """One row of the library. `reason` is set when, and only when, `status` is "failed"."""

    id: int
    path: str
    title: str
    artist: str
    album: str
    frames: int
    sample_rate: int
    channels: int
    size: int
    mtime_ns: int
    status: Status
    reason: str | None

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tracks there are, and how many of them have a valid fingerprint or failed."""

    tracks: int
    fingerprinted: int
    failed: int


def _below(folders: Sequence[str | PathLike[str]] | None) -> tuple[str, tuple[str, ...]]:
    """A condition on `path`, and its arguments: below one of the folders, or anywhere for None."""
    if folders is None:
        return "1", ()
    prefixes = tuple(os.path.join(os.fspath(folder), "") for folder in folders)
    return "(" + " OR ".join(["0", *["instr(path, ?) = 1"] * len(prefixes)]) + ")", prefixes


class Dataset:
    """The SQLite file at `path`, made with its folder if it does not exist.

    Raises
    ------
    DatasetError
        From the constructor and every method: cannot be opened, damaged, another program's, busy for
        longer than `BUSY_S`, disk full. Carries the path and the cause.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._write_lock = threading.Lock()
        self._pool_lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        with self._explained():
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise DatasetError(f"cannot be made: {e.strerror}", self.path) from e
            self._writer = self._connect()
            with ExitStack() as undo:
                undo.callback(self._writer.close)
                self._prepare()
                undo.pop_all()

    def _prepare(self) -> None:
        w = self._writer
        w.execute("PRAGMA journal_mode = WAL")
        (verdict,) = w.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise DatasetError(f"damaged: {verdict}", self.path)
        try:
            migrate(w)
        except ValueError as e:
            raise DatasetError(str(e), self.path) from e
        w.execute(
            "UPDATE tracks AS t SET status = 'pending' WHERE status = 'ready' AND NOT EXISTS"
            f" (SELECT 1 FROM fingerprints AS f WHERE {_VALID})",
            (FINGERPRINT_VERSION,),
        )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as e:
            raise DatasetError(str(e), self.path) from e
        except UnicodeEncodeError as e:
            raise DatasetError("a name is not valid UTF-8", self.path) from e

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """An idle read connection, or a new one; kept for the next reader."""
        with self._explained():
            with self._pool_lock:
                if self._closed:
                    raise DatasetError("is closed", self.path)
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._connect()
                connection.execute("PRAGMA query_only = ON")
            try:
                yield connection
            finally:
                with self._pool_lock:
                    if self._closed:
                        connection.close()
                    else:
                        self._idle.append(connection)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The writer inside a transaction; rolled back on any error."""
        with self._explained(), self._write_lock:
            if self._closed:
                raise DatasetError("is closed", self.path)
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                # Open only after an error; a full disk or an I/O error has rolled back by itself.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    def tracks(
        self,
        search: str = "",
        limit: int = 50,
        offset: int = 0,
        folders: Sequence[str | PathLike[str]] | None = None,
    ) -> tuple[int, list[Track]]:
        """How many tracks match, and one page of them, by artist, album and path.

        Parameters
        ----------
        search : str
            Every word of it must occur in title, artist or album, in any case.
        limit, offset : int
            The page, ≥ 0.
        folders : sequence of path-like, optional
            Only tracks below one of these.
        """
        if limit < 0 or offset < 0:
            raise ValueError("limit and offset must not be negative")
        words = search.casefold().split()
        below, prefixes = _below(folders)
        where = " AND ".join([below, *["instr(words, ?)"] * len(words)])
        arguments = (*prefixes, *words)
        with self._reading() as r:
            (total,) = r.execute(f"SELECT count(*) FROM tracks WHERE {where}", arguments).fetchone()
            rows = r.execute(
                f"SELECT {_TRACK} FROM tracks WHERE {where} ORDER BY artist, album, path LIMIT ? OFFSET ?",
                (*arguments, limit, offset),
            )
            return total, [Track(*row) for row in rows]

    def track(self, id: int) -> Track | None:
        """The track with this id, None when there is none."""
        with self._reading() as r:
            row = r.execute(f"SELECT {_TRACK} FROM tracks WHERE id = ?", (id,)).fetchone()
        return None if row is None else Track(*row)

    def find(self, path: str | PathLike[str]) -> Track | None:
        """The track at this path, None when there is none."""
        with self._reading() as r:
            row = r.execute(f"SELECT {_TRACK} FROM tracks WHERE path = ?", (os.fspath(path),)).fetchone()
        return None if row is None else Track(*row)

    def under(self, folder: str | PathLike[str]) -> list[Track]:
        """Every track whose path is below `folder`."""
        below, prefixes = _below([folder])
        with self._reading() as r:
            rows = r.execute(f"SELECT {_TRACK} FROM tracks WHERE {below}", prefixes)
            return [Track(*row) for row in rows]

    def fingerprint(self, id: int) -> Fingerprint | None:
        """The track's fingerprint; None when there is none of this version for the file as recorded.

        Raises
        ------
        DatasetError
            Also when the stored fingerprint is incomplete or out of range.
        """
        with self._reading() as r:
            row = r.execute(
                f"SELECT f.carried, {_NAMES} FROM tracks AS t JOIN fingerprints AS f ON {_VALID}"
                " WHERE t.id = ?",
                (FINGERPRINT_VERSION, id),
            ).fetchone()
        if row is None:
            return None
        try:
            dimensions = {d.name: x for d, x in zip(DIMENSIONS, row[1:], strict=True)}
            return Fingerprint.from_dict({**json.loads(row[0]), "dimensions": dimensions})
        except (FingerprintError, ValueError, TypeError) as e:
            raise DatasetError(f"the fingerprint of track {id} is damaged: {e}", self.path) from e

    def vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Ids (n,) and the 25 values (n, 25) of every track with a valid fingerprint, by id."""
        with self._reading() as r:
            rows = r.execute(
                f"SELECT t.id, {_NAMES} FROM tracks AS t JOIN fingerprints AS f ON {_VALID} ORDER BY t.id",
                (FINGERPRINT_VERSION,),
            ).fetchall()
        table = np.array(rows, np.float64).reshape(len(rows), 1 + len(DIMENSIONS))
        return table[:, 0].astype(np.int64), table[:, 1:]

    def counts(self, folders: Sequence[str | PathLike[str]] | None = None) -> Counts:
        """Sizes of the library, or of the part of it below `folders`."""
        below, prefixes = _below(folders)
        with self._reading() as r:
            row = r.execute(
                "SELECT count(*), count(*) FILTER (WHERE status = 'ready'),"
                f" count(*) FILTER (WHERE status = 'failed') FROM tracks WHERE {below}",
                prefixes,
            ).fetchone()
        return Counts(*row)

    def put_track(self, source: TrackSource) -> Track:
        """Insert the file, or update its row; a changed file becomes pending, a moved one keeps its id."""
        words = "\n".join((source.title, source.artist, source.album)).casefold()
        fields: tuple[Any, ...] = (
            *(source.path, source.title, source.artist, source.album, words),
            *(source.frames, source.sample_rate, source.channels, source.size, source.mtime_ns),
        )
        with self._writing() as w:
            known = w.execute("SELECT 1 FROM tracks WHERE path = ?", (source.path,)).fetchone()
            if known is None:
                for id, old in w.execute(
                    "SELECT id, path FROM tracks WHERE size = ? AND mtime_ns = ? AND frames = ?",
                    (source.size, source.mtime_ns, source.frames),
                ).fetchall():
                    if not os.path.lexists(old):
                        w.execute("UPDATE tracks SET path = ? WHERE id = ?", (source.path, id))
                        break
            row = w.execute(
                "INSERT INTO tracks (path, title, artist, album, words, frames, sample_rate, channels,"
                " size, mtime_ns, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')"
                " ON CONFLICT (path) DO UPDATE SET title = excluded.title, artist = excluded.artist,"
                " album = excluded.album, words = excluded.words, frames = excluded.frames,"
                " sample_rate = excluded.sample_rate, channels = excluded.channels,"
                " size = excluded.size, mtime_ns = excluded.mtime_ns,"
                " status = iif(size = excluded.size AND mtime_ns = excluded.mtime_ns, status, 'pending'),"
                " reason = iif(size = excluded.size AND mtime_ns = excluded.mtime_ns, reason, NULL)"
                f" RETURNING {_TRACK}",
                fields,
            ).fetchone()
        return Track(*row)

    def put_fingerprint(self, id: int, fingerprint: Fingerprint, source: str) -> None:
        """Store what was measured of the track's file as recorded; `source` says by whom ("local", …).

        Raises
        ------
        DatasetError
            Also when there is no such track.
        """
        carried = fingerprint.to_dict()
        del carried["dimensions"]
        columns = f"track_id, version, source, computed_at, size, mtime_ns, carried, {_NAMES}"
        marks = ", ".join(["?"] * (1 + len(DIMENSIONS)))
        with self._writing() as w:
            ready = w.execute(
                "UPDATE tracks SET status = iif(? = ?, 'ready', 'pending'), reason = NULL WHERE id = ?",
                (fingerprint.version, FINGERPRINT_VERSION, id),
            )
            if ready.rowcount == 0:
                raise DatasetError(f"there is no track {id}", self.path)
            w.execute(
                f"REPLACE INTO fingerprints ({columns})"
                f" SELECT id, ?, ?, ?, size, mtime_ns, {marks} FROM tracks WHERE id = ?",
                (
                    *(fingerprint.version, source, int(time.time())),
                    *(json.dumps(carried, allow_nan=False), *fingerprint.values, id),
                ),
            )

    def put_failure(self, id: int, reason: str) -> None:
        """Record why the track's file cannot be measured; it is not tried again until it changes."""
        with self._writing() as w:
            done = w.execute("UPDATE tracks SET status = 'failed', reason = ? WHERE id = ?", (reason, id))
            if done.rowcount == 0:
                raise DatasetError(f"there is no track {id}", self.path)

    def remove(self, ids: Iterable[int]) -> None:
        """Forget these tracks and their fingerprints."""
        with self._writing() as w:
            w.executemany("DELETE FROM tracks WHERE id = ?", [(id,) for id in ids])

    def close(self) -> None:
        """Close every connection; closing twice is allowed, anything else afterwards is an error."""
        with self._write_lock, self._pool_lock:
            if self._closed:
                return
            self._closed = True
            for connection in (*self._idle, self._writer):
                connection.close()
            self._idle.clear()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

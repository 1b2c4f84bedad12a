"""The library on disk: what is kept of tracks and their fingerprints, in one SQLite database.

Every method may be called from any thread; how the file is opened, shared and mended is
`database.py`'s. The file system is looked at for one thing only: whether the old name of a moved
file still exists.

A track is its path: a file that changes keeps its row and id and goes back to pending, and its old
fingerprint is never served. A file that appears under a new name with the size and modification
time of a track whose file has gone is that track, moved: it keeps id and fingerprint. Ids of
removed tracks are not used again. Every fingerprint carries a check sum: a row that does not agree
with its own is an error when it is read, and gone after the next opening.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .database import Database, OnFault, Tables
from .errors import DatasetError, FingerprintError
from .migrations import SUMMED, checksum, refusal
from .opening import BUSY_S
from .salvage import TRACK, VALID, prepare, salvage
from .schema import DIMENSIONS, FINGERPRINT_VERSION, Fingerprint

Status = Literal["ready", "pending", "failed"]

_NAMES = ", ".join(d.name for d in DIMENSIONS)
_SUMMED = ", ".join(f"f.{column}" for column in SUMMED.split(", "))
__all__ = ["BUSY_S", "Counts", "Dataset", "OnFault", "Track", "TrackSource", "default_path"]


def default_path() -> Path:
    """Where the library lives unless told otherwise (XDG base directory specification)."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "auralis" / "auralis.db"


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

    Parameters
    ----------
    path : path-like
    on_fault : {"raise", "restore", "survive"}
        What to do about a damaged or missing file ("restore"), or about any fault of it ("survive");
        see :class:`auralis_core.database.Database`. What was done is in `mode`.

    Raises
    ------
    DatasetError
        From the constructor and every method: cannot be opened, damaged, another program's, busy for
        longer than `BUSY_S`, disk full. Carries the path and the cause.
    """

    def __init__(self, path: str | PathLike[str], on_fault: OnFault = "raise") -> None:
        self.path = Path(path)
        self._database = Database(self.path, Tables(refusal, prepare, salvage), on_fault)

    @property
    def mode(self) -> str:
        """``ok``, or ``degraded:`` and every reason why."""
        return self._database.mode

    @property
    def in_memory(self) -> bool:
        """Whether what is stored ends with this process."""
        return self._database.in_memory

    def backup(self, target: str | PathLike[str]) -> None:
        """Copy the library to `target`, verified, whole or not at all, while it is in use."""
        self._database.backup(Path(target))

    def keep_backup(self, always: bool = False) -> Path | None:
        """Back up beside the file, the oldest backups giving way.

        None if nobody wrote since the last time, unless `always`, and for a library in memory.
        """
        return self._database.keep_backup(always)

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
        rows = self._database.rows
        ((total,),) = rows(f"SELECT count(*) FROM tracks WHERE {where}", arguments)
        page = rows(
            f"SELECT {TRACK} FROM tracks WHERE {where} ORDER BY artist, album, path LIMIT ? OFFSET ?",
            (*arguments, limit, offset),
        )
        return total, [Track(*row) for row in page]

    def albums(
        self,
        search: str = "",
        limit: int = 50,
        offset: int = 0,
        folders: Sequence[str | PathLike[str]] | None = None,
    ) -> tuple[int, list[tuple[str, str, int, float, int]]]:
        """How many albums match, and one page of them, by artist and album; parameters as for `tracks`.

        Returns
        -------
        total : int
        rows : list of (album, artist, tracks, seconds, id of the first track by path)
            Tracks without an album belong to none.
        """
        if limit < 0 or offset < 0:
            raise ValueError("limit and offset must not be negative")
        words = search.casefold().split()
        below, prefixes = _below(folders)
        where = " AND ".join([below, "album <> ''", *["instr(words, ?)"] * len(words)])
        groups = f"FROM tracks WHERE {where} GROUP BY artist, album"
        arguments = (*prefixes, *words)
        rows = self._database.rows
        ((total,),) = rows(f"SELECT count(*) FROM (SELECT 1 {groups})", arguments)
        # Beside a lone min(), SQLite takes bare columns from the row that has the minimum.
        page = rows(
            "SELECT album, artist, count(*), total(1.0 * frames / sample_rate), id, min(path)"
            f" {groups} ORDER BY artist, album LIMIT ? OFFSET ?",
            (*arguments, limit, offset),
        )
        return total, [row[:5] for row in page]

    def track(self, id: int) -> Track | None:
        """The track with this id, None when there is none."""
        return self._one("id", id)

    def find(self, path: str | PathLike[str]) -> Track | None:
        """The track at this path, None when there is none."""
        return self._one("path", os.fspath(path))

    def _one(self, column: str, value: object) -> Track | None:
        rows = self._database.rows(f"SELECT {TRACK} FROM tracks WHERE {column} = ?", (value,))
        return Track(*rows[0]) if rows else None

    def under(self, folder: str | PathLike[str]) -> list[Track]:
        """Every track whose path is below `folder`."""
        below, prefixes = _below([folder])
        rows = self._database.rows(f"SELECT {TRACK} FROM tracks WHERE {below}", prefixes)
        return [Track(*row) for row in rows]

    def fingerprint(self, id: int) -> Fingerprint | None:
        """The track's fingerprint; None when there is none of this version for the file as recorded.

        Raises
        ------
        DatasetError
            Also when the stored fingerprint is incomplete, out of range or not what was stored.
        """
        rows = self._database.rows(
            f"SELECT f.crc32, {_SUMMED} FROM tracks AS t JOIN fingerprints AS f ON {VALID} WHERE t.id = ?",
            (FINGERPRINT_VERSION, id),
        )
        if not rows:
            return None
        crc32, *row = rows[0]
        try:
            if checksum(*row) != crc32:
                raise ValueError("the check sum does not match")
            dimensions = {d.name: x for d, x in zip(DIMENSIONS, row[4:-1], strict=True)}
            return Fingerprint.from_dict({**json.loads(row[-1]), "dimensions": dimensions})
        except (FingerprintError, ValueError, TypeError) as e:
            why = f"the fingerprint of track {id} is damaged: {e}"
            raise DatasetError(why, self.path, "damaged") from e

    def vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Ids (n,) and the 25 values (n, 25) of every track with a valid fingerprint, by id."""
        rows = self._database.rows(
            f"SELECT t.id, {_NAMES} FROM tracks AS t JOIN fingerprints AS f ON {VALID} ORDER BY t.id",
            (FINGERPRINT_VERSION,),
        )
        table = np.array(rows, np.float64).reshape(len(rows), 1 + len(DIMENSIONS))
        return table[:, 0].astype(np.int64), table[:, 1:]

    def counts(self, folders: Sequence[str | PathLike[str]] | None = None) -> Counts:
        """Sizes of the library, or of the part of it below `folders`."""
        below, prefixes = _below(folders)
        (row,) = self._database.rows(
            "SELECT count(*), count(*) FILTER (WHERE status = 'ready'),"
            f" count(*) FILTER (WHERE status = 'failed') FROM tracks WHERE {below}",
            prefixes,
        )
        return Counts(*row)

    def put_track(self, source: TrackSource) -> Track:
        """Insert the file, or update its row; a changed file becomes pending, a moved one keeps its id."""
        words = "\n".join((source.title, source.artist, source.album)).casefold()
        fields: tuple[Any, ...] = (
            *(source.path, source.title, source.artist, source.album, words),
            *(source.frames, source.sample_rate, source.channels, source.size, source.mtime_ns),
        )
        with self._database.writing() as w:
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
                f" RETURNING {TRACK}",
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
        text = json.dumps(carried, allow_nan=False)
        with self._database.writing() as w:
            ready = w.execute(
                "UPDATE tracks SET status = iif(? = ?, 'ready', 'pending'), reason = NULL WHERE id = ?",
                (fingerprint.version, FINGERPRINT_VERSION, id),
            )
            if ready.rowcount == 0:
                raise DatasetError(f"there is no track {id}", self.path, "unknown")
            (recorded,) = w.execute("SELECT size, mtime_ns FROM tracks WHERE id = ?", (id,)).fetchall()
            row = (id, fingerprint.version, *recorded, *fingerprint.values, text)
            w.execute(
                f"REPLACE INTO fingerprints ({SUMMED}, crc32, source, computed_at)"
                f" VALUES ({', '.join('?' * (len(row) + 3))})",
                (*row, checksum(*row), source, int(time.time())),
            )

    def put_failure(self, id: int, reason: str) -> None:
        """Record why the track's file cannot be measured; it is not tried again until it changes."""
        with self._database.writing() as w:
            done = w.execute("UPDATE tracks SET status = 'failed', reason = ? WHERE id = ?", (reason, id))
            if done.rowcount == 0:
                raise DatasetError(f"there is no track {id}", self.path, "unknown")

    def remove(self, ids: Iterable[int]) -> None:
        """Forget these tracks and their fingerprints."""
        with self._database.writing() as w:
            w.executemany("DELETE FROM tracks WHERE id = ?", [(id,) for id in ids])

    def close(self) -> None:
        """Close every connection; closing twice is allowed, anything else afterwards is an error."""
        self._database.close()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

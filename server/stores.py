"""Fingerprint sources that only look: the database and the `.25d` files. For worker threads.

Which of them is asked first, and what is copied from one to the other, is sources.py's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from auralis_core import Fingerprint, SidecarError, sidecar
from auralis_core.dataset import Dataset, Track

from .tally import Outcome


class Store(Protocol):
    """A source that only looks."""

    name: str

    def find(self, track: Track, path: Path) -> Fingerprint | Outcome: ...
    def keep(self, track: Track, path: Path, fp: Fingerprint, source: str) -> None: ...


class DatabaseStore:
    """The dataset; speaks only for files that are still as it recorded them."""

    name = "database"

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def find(self, track: Track, path: Path) -> Fingerprint | Outcome:
        if not is_as_recorded(track, path):
            return Outcome.STALE
        return self._dataset.fingerprint(track.id) or Outcome.MISS

    def keep(self, track: Track, path: Path, fp: Fingerprint, source: str) -> None:
        if is_as_recorded(track, path):
            self._dataset.put_fingerprint(track.id, fp, source)


class SidecarStore:
    """The `.25d` file beside the track, or in a folder of its own where music may not be written to."""

    name = "sidecar"

    def __init__(self, writes: bool, folder: Path | None) -> None:
        self._writes = writes
        self._folder = folder

    def find(self, track: Track, path: Path) -> Fingerprint | Outcome:
        try:
            return sidecar.read(path, self._folder)
        except SidecarError as e:
            if e.kind == "missing":
                return Outcome.MISS
            if e.kind == "stale":
                return Outcome.STALE
            raise

    def keep(self, track: Track, path: Path, fp: Fingerprint, source: str) -> None:
        if self._writes:
            sidecar.write(path, fp, self._folder)


def is_as_recorded(track: Track, path: Path) -> bool:
    """Whether the file has the size and modification time the dataset knows."""
    try:
        stat = path.stat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (track.size, track.mtime_ns)

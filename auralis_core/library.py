"""A folder of music → rows of the dataset: finding files, reading tags, and who is asked first.

For each file the dataset is asked, then the sidecar, and only then is it measured; whatever was
found is written back to the tiers before it. Every file is finished, or failed with its reason, on
its own: a scan that is stopped goes on where it was, and one bad file costs nothing but itself.

No symbolic link is followed: a link inside the folder leads to a file that is found anyway, and one
that leads out is not part of the library. Hidden files and folders are left alone.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar

from . import sidecar, tags
from .audio import probe
from .dataset import Dataset, Track, TrackSource
from .errors import AudioReadError, AuralisError, DatasetError, GeneratorError, SidecarError
from .schema import Fingerprint

log = logging.getLogger(__name__)

#: Suffixes taken for music: what libsndfile decodes and people keep.
SUFFIXES = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .aiff .aif .aifc .au .caf .w64 .rf64".split()  # noqa: SIM905
)

Outcome = Literal["fingerprinted", "from_sidecar", "from_database", "pending"]
Measure = Callable[[str, Callable[[], bool]], Fingerprint]
T = TypeVar("T")

#: How often a file tries for a database that another process keeps busy, `BUSY_S` seconds each time.
PATIENCE = 4


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be taken in, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class ScanReport:
    """What one scan did. Every scanned file is in exactly one of the counts or failed, unless `analyse`
    was off: what would have been measured is then only scanned.
    """

    scanned: int = 0
    fingerprinted: int = 0
    from_sidecar: int = 0
    from_database: int = 0
    failed: list[Failure] = field(default_factory=list)
    removed: int = 0
    sidecars_ignored: int = 0
    elapsed_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def find(folder: str | PathLike[str], failed: list[Failure] | None = None) -> Iterator[str]:
    """Paths of the music files below `folder`, in order; unreadable folders go to `failed`.

    Raises
    ------
    AudioReadError
        `folder` itself is missing or not a folder.
    """
    root = os.path.realpath(folder)
    if not os.path.isdir(root):
        raise AudioReadError("no such folder", os.fspath(folder))

    def refused(e: OSError) -> None:
        if failed is not None:
            failed.append(Failure(str(e.filename), e.strerror or "cannot be read"))

    for at, folders, files in os.walk(root, onerror=refused, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(at, name)
            wanted = not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
            if wanted and not os.path.islink(path):
                yield path


def describe(path: str | PathLike[str]) -> TrackSource:
    """What the dataset wants to know about the file at `path`: its tags, or its name without any.

    Raises
    ------
    AudioReadError, AudioFormatError
    """
    path = os.fspath(path)
    info = probe(path)
    stat = os.stat(path)
    tag = tags.read(path)
    return TrackSource(
        path=path,
        title=tag.title or Path(path).stem,
        artist=tag.artist,
        album=tag.album,
        frames=info.frames,
        sample_rate=info.sample_rate,
        channels=info.channels,
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
    )


def scan(
    dirs: Iterable[str | PathLike[str]],
    dataset: Dataset,
    jobs: int | None = None,
    analyse: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
    *,
    cache: str | PathLike[str] | None = None,
    measure: Measure | None = None,
    measured_by: str = "local",
) -> ScanReport:
    """Bring `dataset` up to date with the music below `dirs`.

    Parameters
    ----------
    dirs : folders
    dataset : Dataset
    jobs : int, optional
        Files worked on at once; by default one for each core.
    analyse : bool
        Measure files that neither dataset nor sidecar knows; otherwise they stay pending.
    progress : callable (done, total, path), optional
        Called in this thread after each file.
    cache : path-like, optional
        Folder for the sidecars of music that may not be written to.
    measure : callable (path, cancelled) → Fingerprint, optional
        By default :func:`auralis_core.fingerprint.measure`. A `GeneratorError` of its is not held against
        the file.
    measured_by : str
        Who `measure` is, for the dataset.

    Returns
    -------
    ScanReport

    Raises
    ------
    AudioReadError
        One of `dirs` is missing; nothing was done.
    """
    if jobs is not None and jobs < 1:
        raise ValueError("jobs must be at least 1")
    began = time.monotonic()
    report = ScanReport()
    roots = [os.path.realpath(d) for d in dirs]
    found = {root: list(find(root, report.failed)) for root in roots}
    paths = list(dict.fromkeys(path for each in found.values() for path in each))
    stop = threading.Event()
    work = _Work(dataset, cache, analyse, measure or _measure, measured_by, stop.is_set)
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1, thread_name_prefix="scan") as pool:
        waiting: dict[Future[Outcome | Failure], str] = {}
        queue = iter(paths)
        try:
            while True:
                while len(waiting) < 2 * pool._max_workers and (path := next(queue, None)) is not None:
                    waiting[pool.submit(work.file, path)] = path
                if not waiting:
                    break
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    path = waiting.pop(future)
                    outcome = future.result()
                    report.scanned += 1
                    if isinstance(outcome, Failure):
                        report.failed.append(outcome)
                    elif outcome != "pending":
                        setattr(report, outcome, getattr(report, outcome) + 1)
                    if progress is not None:
                        progress(report.scanned, len(paths), path)
        finally:
            # Only something other than a bad file leaves the loop early (Ctrl-C): what runs is told,
            # what waits is dropped, what is finished is already stored.
            stop.set()
            pool.shutdown(cancel_futures=True)
    report.sidecars_ignored = work.ignored.count
    try:
        report.removed = _patiently(_forget_lost, dataset, found)
    except DatasetError as e:
        if e.kind not in ("busy", "full"):
            raise
        log.warning("tracks whose files have gone were not forgotten: %s", e)
    report.failed.sort(key=lambda failure: failure.path)
    report.elapsed_s = time.monotonic() - began
    return report


def _measure(path: str, cancelled: Callable[[], bool]) -> Fingerprint:
    from .fingerprint import measure

    return measure(path, cancelled=cancelled).fingerprint


def _forget_lost(dataset: Dataset, found: dict[str, list[str]]) -> int:
    """Remove the tracks whose files have gone; a folder with no music at all may be an unmounted disk."""
    lost = [
        track.id
        for root, paths in found.items()
        if paths
        for track in dataset.under(root)
        if not os.path.lexists(track.path)
    ]
    if lost:
        dataset.remove(lost)
        log.info("forgot %d tracks whose files have gone", len(lost))
    return len(lost)


def _patiently(do: Callable[..., T], *arguments: Any) -> T:
    """Again if somebody else kept the database busy all the time that one attempt waits."""
    for left in reversed(range(PATIENCE)):
        try:
            return do(*arguments)
        except DatasetError as e:
            if e.kind != "busy" or not left:
                raise
            log.info("%s; trying again", e)
    raise AssertionError("unreachable")


class _Counter:
    """Counts from several threads."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.count += 1


@dataclass(frozen=True, slots=True)
class _Work:
    """What happens to one file, in a worker thread."""

    dataset: Dataset
    cache: str | PathLike[str] | None
    analyse: bool
    measure: Measure
    measured_by: str
    cancelled: Callable[[], bool]
    ignored: _Counter = field(default_factory=_Counter)

    def file(self, path: str) -> Outcome | Failure:
        track: Track | None = None
        try:
            track = _patiently(self.dataset.find, path)
            stat = os.stat(path)
            if track is None or (track.size, track.mtime_ns) != (stat.st_size, stat.st_mtime_ns):
                track = _patiently(self.dataset.put_track, describe(path))
            if track.status == "failed":
                return Failure(path, track.reason or "failed before")
            return self.fingerprint(track)
        except DatasetError as e:
            return Failure(path, str(e))
        except GeneratorError as e:  # not the file's fault: tried again by the next scan
            return Failure(path, e.message)
        except AuralisError as e:
            log.info("%s: %s", path, e.message)
            if track is not None and not self.cancelled():
                self.remember(track, e.message)
            return Failure(path, e.message)
        except OSError as e:
            return Failure(path, e.strerror or "cannot be read")

    def remember(self, track: Track, reason: str) -> None:
        try:
            _patiently(self.dataset.put_failure, track.id, reason)
        except DatasetError as e:
            log.warning("%s: its failure is not remembered: %s", track.path, e)

    def fingerprint(self, track: Track) -> Outcome:
        if track.status == "ready" and self.write_back(track):
            return "from_database"
        try:
            fingerprint = sidecar.read(track.path, self.cache)
            _patiently(self.dataset.put_fingerprint, track.id, fingerprint, "sidecar")
            return "from_sidecar"
        except SidecarError as e:
            if e.kind != "missing":
                self.ignored.add()
                level = logging.INFO if e.kind == "stale" else logging.WARNING
                log.log(level, "%s: ignored: %s", e.path, e.message)
        if not self.analyse:
            return "pending"
        source = sidecar.Source.of(track.path)
        fingerprint = self.measure(track.path, self.cancelled)
        if (source.size, source.mtime_ns) != (track.size, track.mtime_ns):
            raise AudioReadError("changed while it was being scanned", track.path)
        self.store_sidecar(track.path, fingerprint, source)
        _patiently(self.dataset.put_fingerprint, track.id, fingerprint, self.measured_by)
        return "fingerprinted"

    def write_back(self, track: Track) -> bool:
        """Give a known track the sidecar it lacks; False when the dataset's own copy is damaged."""
        if sidecar.is_current(track.path, self.cache):
            return True
        try:
            fingerprint = _patiently(self.dataset.fingerprint, track.id)
        except DatasetError as e:
            if e.kind != "damaged":
                raise
            log.warning("%s: ignored: %s", track.path, e.message)
            return False
        if fingerprint is not None:
            if sidecar.path_for(track.path).exists():
                self.ignored.add()
            self.store_sidecar(track.path, fingerprint, sidecar.Source.of(track.path))
        return True

    def store_sidecar(self, path: str, fingerprint: Fingerprint, source: sidecar.Source) -> None:
        try:
            sidecar.write(path, fingerprint, self.cache, source)
        except SidecarError as e:
            log.warning("%s: no sidecar: %s", path, e.message)

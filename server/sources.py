"""Where a fingerprint comes from: who is asked, in which order, how long, and what is written back.

Two kinds of source: *stores* (database, sidecar) answer in a millisecond and are asked before the
first sound; *makers* (the local engine) compute and are only ever awaited in the background. No
failure leaves this module as an exception: it is a typed outcome, a counter and a log line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from auralis_core import AuralisError, Fingerprint, SidecarError, sidecar
from auralis_core.dataset import Dataset, Track
from auralis_core.fingerprint import measure

from .protocol import SourceRow
from .threads import in_thread

log = logging.getLogger(__name__)

TRIES = 2  # failures of one version of a file before it is left alone


class Outcome(Enum):
    """How one question to one source ended."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"
    FAILED = "failed"
    TIMED_OUT = "timed out"


@dataclass(frozen=True, slots=True)
class Found:
    """A fingerprint and who had it."""

    fingerprint: Fingerprint
    source: str


class Counter:
    """How often one source answered what; safe from any thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(Outcome, 0)
        self._last: Outcome | None = None

    def add(self, outcome: Outcome) -> None:
        with self._lock:
            self._counts[outcome] += 1
            self._last = outcome

    def row(self) -> SourceRow:
        with self._lock:
            failures = self._counts[Outcome.FAILED] + self._counts[Outcome.TIMED_OUT]
            bad = self._last in (Outcome.FAILED, Outcome.TIMED_OUT)
            return SourceRow(
                name=self.name,
                state="failing" if bad else "ok",
                hits=self._counts[Outcome.HIT],
                misses=self._counts[Outcome.MISS] + self._counts[Outcome.STALE],
                failures=failures,
            )


class Store(Protocol):
    """A source that only looks."""

    name: str

    def find(self, track: Track, path: Path) -> Fingerprint | Outcome: ...
    def keep(self, track: Track, path: Path, fp: Fingerprint, source: str) -> None: ...


class Maker(Protocol):
    """A source that computes."""

    name: str

    async def make(self, track: Track, path: Path, budget_s: float) -> Fingerprint: ...


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


class LocalMaker:
    """This machine's engine, one track at a time and behind everything that plays."""

    name = "local"

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "analysis", initializer=step_back)

    async def make(self, track: Track, path: Path, budget_s: float) -> Fingerprint:
        given_up = threading.Event()

        def work() -> Fingerprint:
            return measure(path, deadline_s=budget_s, cancelled=given_up.is_set).fingerprint

        return await in_thread(self._pool, work, on_cancel=given_up.set)

    def close(self) -> None:
        """Let the thread end; nothing may be waiting for it."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def step_back() -> None:
    """Put the calling thread behind all others of this machine that want the processor."""
    if sys.platform == "linux":  # elsewhere priorities belong to processes
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)


@dataclass(slots=True)
class _Flight:
    """One search that any number of listeners wait for."""

    task: asyncio.Task[Found | None]
    waiters: int = 0


class Sources:
    """The ordered chain of fingerprint sources.

    Parameters
    ----------
    order : sequence of str
        Names from `config.SOURCES`; stores are always asked before makers.
    dataset : Dataset
    sidecars : bool
        Whether `.25d` files are written for fingerprints found elsewhere.
    sidecar_dir : Path, optional
        Where they go when the folder of the music may not be written to.
    budget_s : float
        Longest time one search may take, all sources together.
    """

    def __init__(
        self,
        order: Sequence[str],
        dataset: Dataset,
        *,
        sidecars: bool = True,
        sidecar_dir: Path | None = None,
        budget_s: float = 60.0,
    ) -> None:
        self._dataset = dataset
        self._budget_s = budget_s
        self._local = LocalMaker()
        stores: dict[str, Store] = {
            "database": DatabaseStore(dataset),
            "sidecar": SidecarStore(sidecars, sidecar_dir),
        }
        makers: dict[str, Maker] = {"local": self._local}
        self._stores = [stores[name] for name in order if name in stores]
        self._makers = [makers[name] for name in order if name in makers]
        self._counters = {name: Counter(name) for name in order}
        self._flights: dict[int, _Flight] = {}
        self._failures: dict[tuple[int, int, int], int] = {}

    def rows(self) -> list[SourceRow]:
        """How every source has fared, in the order they are asked."""
        return [counter.row() for counter in self._counters.values()]

    @property
    def flights(self) -> int:
        """Searches under way."""
        return len(self._flights)

    def find(self, track: Track, path: Path) -> Found | None:
        """Ask the stores; for worker threads. A hit is copied into the stores that missed before it."""
        for i, store in enumerate(self._stores):
            try:
                fp = store.find(track, path)
            except AuralisError as e:
                self._note(store.name, track, Outcome.FAILED, e)
                continue
            if isinstance(fp, Outcome):
                self._note(store.name, track, fp)
                continue
            self._note(store.name, track, Outcome.HIT)
            self._keep(self._stores[:i], track, path, fp, store.name)
            return Found(fp, store.name)
        return None

    async def get(self, track: Track, path: Path) -> Found | None:
        """Ask stores, then makers; None when nobody has a fingerprint.

        Any number of callers for one track share one search, which ends when the last of them is
        cancelled.
        """
        flight = self._flights.get(track.id)
        if flight is None:
            flight = _Flight(asyncio.create_task(self._search(track, path)))
            self._flights[track.id] = flight
            flight.task.add_done_callback(lambda _: self._land(track.id, flight))
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                self._land(track.id, flight)
                flight.task.cancel()
                await asyncio.wait([flight.task])

    def close(self) -> None:
        """Let the analysis thread end; no search may be running."""
        self._local.close()

    def _land(self, id: int, flight: _Flight) -> None:
        if self._flights.get(id) is flight:
            del self._flights[id]

    async def _search(self, track: Track, path: Path) -> Found | None:
        # Again, although the listener looked: another search may have ended since.
        found = await asyncio.to_thread(self.find, track, path)
        version = (track.id, track.size, track.mtime_ns)
        if found is not None or self._failures.get(version, 0) >= TRIES:
            return found
        deadline = time.monotonic() + self._budget_s
        for maker in self._makers:
            left = deadline - time.monotonic()
            started = time.perf_counter()
            try:
                async with asyncio.timeout(left):
                    fp = await maker.make(track, path, left)
            except TimeoutError:
                self._note(maker.name, track, Outcome.TIMED_OUT, f"gave up after {left:.1f} s")
                continue
            except AuralisError as e:
                self._note(maker.name, track, Outcome.FAILED, e)
                await asyncio.to_thread(self._fail, version, e)
                continue
            self._note(maker.name, track, Outcome.HIT)
            took = time.perf_counter() - started
            log.info("fingerprint of track %d from %s in %.3f s", track.id, maker.name, took)
            await asyncio.to_thread(self._keep, self._stores, track, path, fp, maker.name)
            return Found(fp, maker.name)
        return None

    def _keep(self, stores: Sequence[Store], track: Track, path: Path, fp: Fingerprint, source: str) -> None:
        for store in stores:
            try:
                store.keep(track, path, fp, source)
            except AuralisError as e:
                log.warning("fingerprint of track %d not kept in the %s: %s", track.id, store.name, e)

    def _fail(self, version: tuple[int, int, int], error: AuralisError) -> None:
        self._failures[version] = self._failures.get(version, 0) + 1
        if self._failures[version] == TRIES:
            try:
                self._dataset.put_failure(version[0], error.message)
            except AuralisError as e:
                log.warning("failure of track %d not kept in the database: %s", version[0], e)

    def _note(self, name: str, track: Track, outcome: Outcome, why: object = "") -> None:
        self._counters[name].add(outcome)
        bad = outcome in (Outcome.FAILED, Outcome.TIMED_OUT)
        log.log(
            logging.WARNING if bad else logging.DEBUG,
            *("fingerprint source %s, track %d: %s %s", name, track.id, outcome.value, why),
        )

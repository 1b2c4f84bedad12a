"""Where a fingerprint comes from: who is asked, in which order, how long, and what is written back.

Two kinds of source: *stores* (database, sidecar) answer in a millisecond and are asked before the
first sound; *makers* (the local engine, remote workers) compute and are only ever awaited in the
background. No failure leaves a search as an exception: it is a typed outcome, a counter and a log line.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from auralis_core import AuralisError, Fingerprint, GeneratorError
from auralis_core.dataset import Dataset, Track

from .bodies import SourceRow
from .config import RemoteConfig
from .makers import LocalMaker, Maker, NoAnswer, RemoteMaker, admitted
from .stores import DatabaseStore, SidecarStore, Store
from .tally import BAD, Counter, Outcome
from .threads import in_thread

log = logging.getLogger(__name__)

TRIES = 2  # failures of one version of a file before it is left alone


@dataclass(frozen=True, slots=True)
class Found:
    """A fingerprint and who had it."""

    fingerprint: Fingerprint
    source: str
    failed: tuple[str, ...] = ()  # who was asked before and could not


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
        Longest time one search may take, all sources together. A maker that is not the last may use
        half of what is left, so that silence from one does not take the time of the next.
    remote : RemoteConfig, optional
        Whom the source "remote" asks.
    """

    def __init__(
        self,
        order: Sequence[str],
        dataset: Dataset,
        *,
        sidecars: bool = True,
        sidecar_dir: Path | None = None,
        budget_s: float = 60.0,
        remote: RemoteConfig | None = None,
    ) -> None:
        self._dataset = dataset
        self._budget_s = budget_s
        stores: dict[str, Store] = {
            "database": DatabaseStore(dataset),
            "sidecar": SidecarStore(sidecars, sidecar_dir),
        }
        makers: dict[str, Maker] = {"local": LocalMaker()}
        if remote is not None:
            makers["remote"] = RemoteMaker(remote)
        self._everybody = list(makers.values())
        self._stores = [stores[name] for name in order if name in stores]
        self._makers = [makers[name] for name in order if name in makers]
        self._counters = {name: Counter(name) for name in order}
        self._flights: dict[int, _Flight] = {}
        self._failures: dict[tuple[int, int, int], int] = {}

    def rows(self) -> list[SourceRow]:
        """How every source has fared, in the order they are asked."""
        breakers = {maker.name: maker.breaker for maker in self._makers}
        return [counter.row(breakers.get(name)) for name, counter in self._counters.items()]

    def counts(self) -> dict[str, dict[Outcome, int]]:
        """How often every source answered what."""
        return {name: counter.counts() for name, counter in self._counters.items()}

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
                self._note(store.name, f"track {track.id}", Outcome.FAILED, e)
                continue
            if isinstance(fp, Outcome):
                self._note(store.name, f"track {track.id}", fp)
                continue
            self._note(store.name, f"track {track.id}", Outcome.HIT)
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

    def measure(self, path: Path, cancelled: Callable[[], bool]) -> Fingerprint:
        """Ask the makers one after the other; for a scan, in its own thread, which may rest for long.

        Raises
        ------
        AuralisError
            As the last of them, or `GeneratorError` if it was not asked.
        """
        problem: AuralisError = GeneratorError("nobody here measures", path)
        for maker in self._makers:
            try:
                with admitted(maker):
                    fp = maker.measure(path, None, cancelled)
            except NoAnswer as e:
                if cancelled():
                    raise GeneratorError("nobody waits any more", path) from e
                self._note(maker.name, str(path), e.outcome, e)
                problem = e.blame or GeneratorError(str(e))
                continue
            self._note(maker.name, str(path), Outcome.HIT)
            return fp
        raise problem

    def close(self) -> None:
        """Let the threads end; no search may be running."""
        for maker in self._everybody:
            maker.close()

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
        failed: list[str] = []
        blame: AuralisError | None = None
        for maker in self._makers:
            left = deadline - time.monotonic()
            share = left if maker is self._makers[-1] else left / 2
            started = time.perf_counter()
            try:
                fp = await self._ask(maker, path, share)
            except NoAnswer as e:
                failed.append(maker.name)
                self._note(maker.name, f"track {track.id}", e.outcome, e)
                blame = e.blame or blame
                continue
            self._note(maker.name, f"track {track.id}", Outcome.HIT)
            took = time.perf_counter() - started
            log.info("fingerprint of track %d from %s in %.3f s", track.id, maker.name, took)
            await asyncio.to_thread(self._keep, self._stores, track, path, fp, maker.name)
            return Found(fp, maker.name, tuple(failed))
        if blame is not None:
            await asyncio.to_thread(self._fail, version, blame)
        return None

    async def _ask(self, maker: Maker, path: Path, share: float) -> Fingerprint:
        """One maker's answer, `NoAnswer` if it has none; its breaker hears how it ended."""
        given_up = threading.Event()
        with admitted(maker):
            # The call itself gets a little longer, so that time running out always ends it here.
            work = in_thread(
                *(maker.pool, maker.measure, path, share + 1.0, given_up.is_set), on_cancel=given_up.set
            )
            try:
                async with asyncio.timeout(share):
                    return await work
            except TimeoutError:
                raise NoAnswer(Outcome.TIMED_OUT, f"gave up after {share:.1f} s") from None

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

    def _note(self, name: str, what: str, outcome: Outcome, why: object = "") -> None:
        self._counters[name].add(outcome)
        log.log(
            logging.WARNING if outcome in BAD else logging.DEBUG,
            *("fingerprint source %s, %s: %s %s", name, what, outcome.value, why),
        )

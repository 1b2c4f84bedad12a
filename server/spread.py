"""Whom a scan has measure its tracks: a fleet of workers, or a Dask cluster that sees the same files.

A track whose worker goes away goes to another; one that nobody measured is not held against its file
and is tried again by the next scan. When nobody answers any more, the scan stops instead of waiting
for every track in turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from auralis_core import FINGERPRINT_VERSION, AuralisError, Fingerprint, GeneratorError
from auralis_core.fingerprint import fingerprint

from .breaker import Breaker
from .config import RemoteConfig

TRACK_S = 600.0  # longest time for one track
CONNECT_S = 30.0  # for a Dask scheduler to answer
PER_WORKER = 4  # tracks asked of each named worker at once
UNKNOWN_WORKERS = 4  # behind a name that may stand for many
LOOK_S = 0.05  # how often a waiting thread looks whether the scan goes on

Measure = Callable[[str, Callable[[], bool]], Fingerprint]


class FleetLost(Exception):
    """Three tracks in a row that nobody measured: there is no point in asking for the rest."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How a scan reaches the machines that measure for it."""

    measure: Measure
    jobs: int  # tracks to ask for at once
    name: str


@contextmanager
def over_workers(config: RemoteConfig) -> Iterator[Spread]:
    """A fleet of ``auralis worker`` processes."""
    from .remote import Remote

    names = config.targets.split(",")
    count = UNKNOWN_WORKERS if "//" in config.targets else len(names)
    with closing(Remote(config, patient=True)) as remote:

        def measure(path: str, cancelled: Callable[[], bool]) -> Fingerprint:
            return remote.measure(path, deadline_s=TRACK_S, cancelled=cancelled)

        yield Spread(_until_lost(measure), PER_WORKER * count, "remote")


@contextmanager
def over_cluster(address: str) -> Iterator[Spread]:
    """A Dask cluster whose workers have `auralis_core` and see the files under the same paths.

    Raises
    ------
    GeneratorError
        The scheduler does not answer.
    """
    from distributed import Client
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError
    from distributed.scheduler import KilledWorker

    lost = (KilledWorker, FutureCancelledError, asyncio.CancelledError, CommClosedError, OSError)
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as e:
        raise GeneratorError(f"no Dask scheduler answers at {address}: {e}") from e

    def measure(path: str, cancelled: Callable[[], bool]) -> Fingerprint:
        # A scan asks once for each track, and what it gets back must not come from Dask's memory.
        future = client.submit(fingerprint, path, pure=False)
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        try:
            while not done.wait(LOOK_S):
                if cancelled():
                    raise GeneratorError("nobody waits any more", path)
            fp: Any = future.result(timeout=CONNECT_S)
        except AuralisError:
            raise
        except lost as e:
            raise GeneratorError(f"the cluster lost it: {e!r}", path) from e
        finally:
            future.cancel()
        if not isinstance(fp, Fingerprint) or fp.version != FINGERPRINT_VERSION:
            raise GeneratorError("the cluster runs another version of auralis_core", path)
        return fp

    with contextlib.closing(client):
        threads = sum(client.nthreads().values())
        yield Spread(_until_lost(measure), 2 * max(1, threads), "cluster")


def _until_lost(measure: Measure) -> Measure:
    """`measure` until it fails three tracks in a row, whatever thread asks."""
    breaker = Breaker(limit=3)

    def guarded(path: str, cancelled: Callable[[], bool]) -> Fingerprint:
        try:
            fp = measure(path, cancelled)
        except GeneratorError as e:
            if not cancelled():
                breaker.fail()
                if breaker.state != "closed":
                    raise FleetLost(f"three tracks in a row were measured by nobody; the last: {e}") from e
            raise
        breaker.succeed()
        return fp

    return guarded

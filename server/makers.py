"""Fingerprint sources that compute: this machine's engine and the remote workers. For worker threads.

Whom to ask, and for how long, is sources.py's; when to stop asking is breaker.py's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from auralis_core import AuralisError, Fingerprint, FingerprintError, GeneratorError

from .analyst import Analysts
from .breaker import Breaker
from .config import RemoteConfig
from .tally import Outcome

REMOTE_CALLS = 8  # tracks with the workers at once
PROMPT_NICE, PATIENT_NICE = 5, 15  # of children that measure for a listener, and for a scan
REST_S = 0.2  # how often a scan that stands still looks whether it should give up
SCAN_S = 600.0  # longest time a worker may take for a track that nobody waits for


class Maker(Protocol):
    """A source that computes."""

    name: str
    pool: Executor
    breaker: Breaker | None

    def measure(self, path: Path, budget_s: float | None, cancelled: Callable[[], bool]) -> Fingerprint: ...
    def close(self) -> None: ...


class LocalMaker:
    """This machine's engine, behind everything that plays.

    A question with a budget is a listener's. One without is a scan's, which stands still meanwhile.
    """

    name = "local"
    breaker: Breaker | None = None

    def __init__(self) -> None:
        self._prompt, self._patient = Analysts(PROMPT_NICE), Analysts(PATIENT_NICE)
        self._unasked = threading.Event()  # set while no listener waits
        self._unasked.set()
        self.pool: Executor = ThreadPoolExecutor(1, "analysis")

    def measure(self, path: Path, budget_s: float | None, cancelled: Callable[[], bool]) -> Fingerprint:
        if budget_s is None:
            return self._wait_and_measure(path, cancelled)
        self._unasked.clear()  # one at a time: the pool has one thread
        try:
            return self._prompt.measure(path, budget_s, cancelled)
        finally:
            self._unasked.set()

    def _wait_and_measure(self, path: Path, cancelled: Callable[[], bool]) -> Fingerprint:
        def stopped() -> bool:
            while not self._unasked.wait(REST_S):
                if cancelled():
                    return True
            return cancelled()

        if stopped():
            raise FingerprintError("measurement was cancelled", path)
        return self._patient.measure(path, None, stopped)

    def close(self) -> None:
        """Let thread and children end; nothing may be waiting for them."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        self._prompt.close()
        self._patient.close()


class RemoteMaker:
    """A fleet of workers, asked without patience: somebody listens."""

    name = "remote"

    def __init__(self, config: RemoteConfig) -> None:
        from .remote import Remote  # the extra that brings gRPC is needed only by nodes that ask

        self._remote = Remote(config)
        self.breaker: Breaker | None = Breaker()
        self.pool: Executor = ThreadPoolExecutor(REMOTE_CALLS, "remote")

    def measure(self, path: Path, budget_s: float | None, cancelled: Callable[[], bool]) -> Fingerprint:
        return self._remote.measure(path, deadline_s=budget_s or SCAN_S, cancelled=cancelled)

    def close(self) -> None:
        """Cut the connections; nothing may be waiting for an answer."""
        self._remote.close()
        self.pool.shutdown(wait=True, cancel_futures=True)


class NoAnswer(Exception):
    """A maker that was asked, or was not worth asking, has no fingerprint; `blame` is the file's fault."""

    def __init__(self, outcome: Outcome, why: object, blame: AuralisError | None = None) -> None:
        super().__init__(str(why))
        self.outcome = outcome
        self.blame = blame


@contextmanager
def admitted(maker: Maker) -> Iterator[None]:
    """Ask inside, if the breaker lets; every way it ends reaches the breaker, and failures are typed."""
    breaker = maker.breaker or Breaker()
    if not breaker.admit():
        raise NoAnswer(Outcome.SKIPPED, f"not asked, its breaker is {breaker.state}")
    settle = breaker.abandon  # unless something is learnt of the maker
    try:
        yield
        settle = breaker.succeed
    except NoAnswer:
        settle = breaker.fail
        raise
    except GeneratorError as e:
        settle = breaker.fail
        raise NoAnswer(Outcome.FAILED, e) from e
    except AuralisError as e:  # the file's fault
        raise NoAnswer(Outcome.FAILED, e, e) from e
    finally:
        settle()

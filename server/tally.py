"""How one question to a fingerprint source ended, and how often each way; what clients see of it."""

from __future__ import annotations

import threading
from enum import Enum

from .bodies import SourceRow
from .breaker import Breaker


class Outcome(Enum):
    """How one question to one source ended."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    SKIPPED = "skipped"  # its breaker is open


BAD = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.SKIPPED)


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

    def counts(self) -> dict[Outcome, int]:
        with self._lock:
            return dict(self._counts)

    def row(self, breaker: Breaker | None) -> SourceRow:
        state: str = "closed" if breaker is None else breaker.state
        with self._lock:
            failures = self._counts[Outcome.FAILED] + self._counts[Outcome.TIMED_OUT]
            if state == "closed":
                state = "failing" if self._last in BAD else "ok"
            return SourceRow(
                name=self.name,
                state=state,
                hits=self._counts[Outcome.HIT],
                misses=self._counts[Outcome.MISS] + self._counts[Outcome.STALE],
                failures=failures,
            )

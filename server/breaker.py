"""When to stop asking somebody who does not answer, and when to try again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Opens after failures in a row; later lets one question through, whose end decides.

    Safe from any thread. Whoever was admitted must say how it ended: `succeed`, `fail` or `abandon`.

    Parameters
    ----------
    limit : int
        Failures in a row that open it.
    open_s : float
        How long nobody is admitted then.
    clock : callable
        Seconds, never going back.
    """

    def __init__(
        self, limit: int = 3, open_s: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._open_s = open_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened: float | None = None
        self._probing = False

    @property
    def state(self) -> State:
        """Closed: everybody is admitted; open: nobody; half-open: one, to find out."""
        with self._lock:
            return self._state()

    def admit(self) -> bool:
        """Whether to ask now."""
        with self._lock:
            match self._state():
                case "closed":
                    return True
                case "half-open" if not self._probing:
                    self._probing = True
                    return True
            return False

    def succeed(self) -> None:
        """It answered."""
        with self._lock:
            self._failures, self._opened, self._probing = 0, None, False

    def fail(self) -> None:
        """It did not answer, or not sensibly."""
        with self._lock:
            self._failures += 1
            # An answer to a question from before it opened must not keep it open for longer.
            if self._probing or (self._opened is None and self._failures >= self._limit):
                self._opened = self._clock()
            self._probing = False

    def abandon(self) -> None:
        """It was not let finish; nothing was learnt."""
        with self._lock:
            self._probing = False

    def _state(self) -> State:
        if self._opened is None:
            return "closed"
        return "half-open" if self._clock() - self._opened >= self._open_s else "open"

"""How late the event loop is: what every socket waits for before anything is done for it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left

STEP_S = 0.01
#: Upper ends of the buckets, in milliseconds: 12 % apart, from 0.1 ms to 10 s.
BOUNDS = tuple(0.1 * 1.12**i for i in range(103))
WINDOWS, WINDOW_S = 6, 10.0  # the figures are those of the last minute


class LagProbe:
    """Asks to be woken every `STEP_S` and notes by how much too late it was.

    The time a loop is held shows as it would to a frame of audio that came due meanwhile: by what was
    left of it then.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._windows = [[0] * (len(BOUNDS) + 1)]
        self._began = self._loop.time()
        self._due = self._began + STEP_S
        self._timer = self._loop.call_at(self._due, self._tick)

    def quantile_ms(self, q: float) -> float:
        """Lateness in milliseconds that a share `q` of the last minute did not exceed; 0 at the start."""
        counts = [sum(bucket) for bucket in zip(*self._windows, strict=True)]
        wanted = q * sum(counts)
        seen = 0
        for bound, count in zip((*BOUNDS, float("inf")), counts, strict=True):
            seen += count
            if seen and seen >= wanted:
                return min(bound, BOUNDS[-1])
        return 0.0

    def close(self) -> None:
        """Stop asking."""
        self._timer.cancel()

    def _tick(self) -> None:
        now = self._loop.time()
        if now - self._began >= WINDOW_S:
            self._windows = [*self._windows[1 - WINDOWS :], [0] * (len(BOUNDS) + 1)]
            self._began = now
        # Every wake-up missed meanwhile counts, or a long hold would be one sample among many short ones.
        while self._due <= now:
            self._windows[-1][bisect_left(BOUNDS, 1000 * (now - self._due))] += 1
            self._due += STEP_S
        self._timer = self._loop.call_at(self._due, self._tick)

"""How many streams this machine carries, from what the ones that play really cost.

A second of audio costs processor time in the threads that render it and in the event loop that sends
it. Both are measured as they are spent, not as the clock goes, so that a busy machine does not look
like expensive music. One more listener is let in while all of them, in real time, stay within the
share of the processor that the operator gives to streams; beyond that the answer is `busy`, which is
better than a break in everybody's sound.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from .refusal import ERRORS, ProtocolError

T = TypeVar("T")

MEMORY_S = 120.0  # seconds of audio after which what was measured counts for a third
RETRY_MS = 5000


class Admission:
    """The account of one server.

    Parameters
    ----------
    share : float
        Part of every core that streams may take.
    cores : int, optional
        By default those this process may run on.
    """

    def __init__(self, share: float, cores: int | None = None) -> None:
        if cores is None:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._share, self._cores = share, cores
        self._lock = threading.Lock()
        self._spent_s = 0.0  # in threads, and not yet accounted for
        self._audio_s = self._threads_s = self._loop_s = 0.0
        self._loop_before: float | None = None
        self.refused = 0

    def measured(self, call: Callable[..., T], *args: Any) -> T:
        """Do what makes audio, in a worker thread, and note what it costs."""
        began = time.thread_time()
        try:
            return call(*args)
        finally:
            with self._lock:
                self._spent_s += time.thread_time() - began

    def delivered(self, audio_s: float) -> None:
        """Note that this much audio has been made and is on its way; on the event loop."""
        now = time.thread_time()
        with self._lock:
            spent, self._spent_s = self._spent_s, 0.0
        fade = math.exp(-audio_s / MEMORY_S)
        self._audio_s = self._audio_s * fade + audio_s
        self._threads_s = self._threads_s * fade + spent
        # What the loop did since it last delivered: the sockets' work, and whatever else it had to do.
        self._loop_s = self._loop_s * fade + now - (now if self._loop_before is None else self._loop_before)
        self._loop_before = now

    @property
    def render_cost(self) -> float:
        """Processor seconds a second of audio, in threads; 0 before anything was measured."""
        return self._threads_s / self._audio_s if self._audio_s else 0.0

    @property
    def loop_cost(self) -> float:
        """The same, on the event loop."""
        return self._loop_s / self._audio_s if self._audio_s else 0.0

    @property
    def cost(self) -> float:
        """The same, everywhere."""
        return self.render_cost + self.loop_cost

    @property
    def capacity(self) -> float:
        """Streams in real time that fit; infinite before anything was measured."""
        cores = self._share * self._cores / self.cost if self.cost else math.inf
        loop = self._share / self.loop_cost if self.loop_cost else math.inf
        return min(cores, loop)

    def admit(self, streams: int) -> None:
        """Let one more in beside `streams`.

        Raises
        ------
        ProtocolError
            `busy`, with the time after which to try again.
        """
        if streams and streams + 1 > self.capacity:
            self.refused += 1
            raise ProtocolError("busy", ERRORS["busy"], retry_after_ms=RETRY_MS)

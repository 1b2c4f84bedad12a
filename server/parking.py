"""Streams that outlive their socket: who may take which one up again, for how long, and how many wait.

A stream on air may be taken over by another socket too: a client often notices a dead line before the
server does. What the stream then sends is stream.py's.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass

from .commands import Resuming
from .refusal import ERRORS, ProtocolError
from .stream import Stream
from .threads import gone

log = logging.getLogger(__name__)

MOST = 32  # parked at once; each holds two open files and up to 12 saved states: half a megabyte, no audio


@dataclass(slots=True)
class _Place:
    """Where a stream is: with a session that can let it go, or parked until the timer fires."""

    stream: Stream
    release: Callable[[], None]
    timer: asyncio.TimerHandle | None = None


class Parking:
    """Every stream on air, and those whose socket dropped.

    Parameters
    ----------
    seconds : float
        How long a stream waits for its client; 0: not at all.
    most : int
        How many may wait; the one that has waited longest gives way.
    """

    def __init__(self, seconds: float, most: int = MOST) -> None:
        self._seconds = seconds
        self._most = most
        self._places: dict[int, _Place] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def parked(self) -> int:
        """Streams that wait for their client."""
        return sum(place.timer is not None for place in self._places.values())

    def hold(self, stream: Stream, release: Callable[[], None]) -> None:
        """A session has this stream on air; `release` takes it away from there."""
        if stream.number not in self._places:
            stream.task.add_done_callback(lambda _: self._leave(stream))
        self._places[stream.number] = _Place(stream, release)

    def park(self, stream: Stream) -> None:
        """The socket is gone; the stream waits for another."""
        waiting = [place.stream for place in self._places.values() if place.timer is not None]
        if len(waiting) >= self._most:
            self._expire(waiting[0])
        stream.park()
        del self._places[stream.number]  # to the end of the line
        timer = asyncio.get_running_loop().call_later(self._seconds, self._expire, stream)
        self._places[stream.number] = _Place(stream, lambda: None, timer)
        log.info("stream %d waits %g s for its client", stream.number, self._seconds)

    def claim(self, resuming: Resuming, admit: Callable[[], None]) -> Stream:
        """The stream a client asks for, free to be held by its session; `admit` refuses one more that sounds.

        Raises
        ------
        ProtocolError
            `not_resumable`, `out_of_range`, or `busy` of `admit`; the stream stays where it is.
        """
        place = self._places.get(resuming.stream)
        known = place is not None and not place.stream.over
        token = place.stream.token if place is not None else ""
        if place is None or not known or not hmac.compare_digest(token.encode(), resuming.token.encode()):
            raise ProtocolError("not_resumable", ERRORS["not_resumable"])
        place.stream.check(resuming)
        if place.timer is not None:
            admit()
            place.timer.cancel()
        else:
            place.release()
            place.stream.park()
        return place.stream

    async def close(self) -> None:
        """End every stream that waits."""
        for place in list(self._places.values()):
            if place.timer is not None:
                self._expire(place.stream)
        await gone(self._ending)

    def _expire(self, stream: Stream) -> None:
        place = self._places[stream.number]
        if place.timer is not None:
            place.timer.cancel()
        log.info("stream %d was not taken up again", stream.number)
        stream.end("stopped")
        stream.task.cancel()
        self._leave(stream)
        self._ending.add(stream.task)
        stream.task.add_done_callback(self._ending.discard)

    def _leave(self, stream: Stream) -> None:
        place = self._places.pop(stream.number, None)
        if place is not None and place.timer is not None:
            place.timer.cancel()

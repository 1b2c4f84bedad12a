"""What follows in a stream: the queue of track ids, and the next of them being opened ahead of time.

Which part sounds when is programme.py's; when to start opening is stream.py's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from auralis_core import AuralisError, DatasetError

from .commands import Queue
from .events import Error
from .part import Part, Settings
from .refusal import ERRORS, ProtocolError
from .studio import Studio
from .threads import gone, in_thread


def open_part(studio: Studio, id: int, settings: Settings, shape: tuple[int, int] | None = None) -> Part:
    """Everything that touches a disk before a track can sound; for worker threads.

    Raises
    ------
    ProtocolError
        `unknown_track` or `unreadable`.
    AuralisError
        The file or the dataset.
    """
    track, path = studio.track(id)
    found = studio.sources.find(track, path)
    return Part(track, path, None if found is None else found.fingerprint, settings, shape)


def explain(error: ProtocolError | AuralisError, track_id: int | None = None) -> Error:
    """What a client is told of a track that cannot be played."""
    if isinstance(error, ProtocolError):
        return Error(error.code, error.message, track_id=track_id)
    code = "internal" if isinstance(error, DatasetError) else "unreadable"
    return Error(code, ERRORS[code], track_id=track_id)


class Upcoming:
    """The queue behind what a stream plays.

    Parameters
    ----------
    studio : Studio
    wake : callable
        Called when the next part is open, or cannot be.
    """

    def __init__(self, studio: Studio, wake: Callable[[], None]) -> None:
        self.crossfade_s = 0.0
        self._fade_albums = False
        self._ids: deque[int] = deque()
        self._studio = studio
        self._wake = wake
        self._opening: asyncio.Task[Part] | None = None
        self._opening_id = 0
        self._leaving: set[asyncio.Task[Part]] = set()

    @property
    def pending(self) -> bool:
        """Whether something more is to come."""
        return bool(self._ids) or self._opening is not None

    @property
    def ready(self) -> bool:
        """Whether `take` has an answer."""
        return self._opening is not None and self._opening.done()

    def replace(self, command: Queue) -> None:
        """Another queue; what was being opened is given back."""
        self._ids = deque(command.track_ids)
        self.crossfade_s, self._fade_albums = command.crossfade_seconds, command.fade_albums
        self._give_back()

    def open_next(self, settings: Settings, shape: tuple[int, int]) -> None:
        """Begin to open the next track, unless that is under way."""
        if self._opening is None and self._ids:
            self._opening_id = self._ids.popleft()
            self._opening = asyncio.create_task(self._open(self._opening_id, settings, shape))
            self._opening.add_done_callback(lambda _: self._wake())

    async def take(self) -> Part | Error:
        """The part that was opened, or why it was not."""
        assert self._opening is not None
        await asyncio.wait([self._opening])
        try:
            part = self._opening.result()
        except (ProtocolError, AuralisError) as e:
            self._opening = None
            return explain(e, self._opening_id)
        self._opening = None
        return part

    def fade(self, before: Part, after: Part) -> int:
        """Frames of the crossfade between two parts; tracks of one album follow without one."""
        album = before.track.album
        if album and album == after.track.album and not self._fade_albums:
            return 0
        return round(self.crossfade_s * before.sample_rate)

    async def close(self) -> None:
        """Give back what is being opened; afterwards no thread is at it."""
        self._give_back()
        await gone(self._leaving)

    def _give_back(self) -> None:
        opening, self._opening = self._opening, None
        if opening is None:
            return
        if not opening.done():
            opening.cancel()
            self._leaving.add(opening)
            opening.add_done_callback(self._leaving.discard)
        elif opening.exception() is None:
            opening.result().close()

    async def _open(self, id: int, settings: Settings, shape: tuple[int, int]) -> Part:
        opened: list[Part] = []

        def work() -> None:
            opened.append(open_part(self._studio, id, settings, shape))

        try:
            await in_thread(self._studio.pool, work)
        except asyncio.CancelledError:
            for part in opened:
                part.close()
            raise
        return opened[0]

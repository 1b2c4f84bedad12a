"""One play, from its request to its end: a task that does whatever is due.

The task has a single place where it waits, so a command, credit, room in the outbox, an opened file
and the passage of time are all the same event: look again. What waits is orders.py's, how each thing is
done playback.py's, and which stream a session plays is session.py's.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from auralis_core import AuralisError

from . import binary
from .commands import Command, Credit, Next, Play, PlayNormal, Queue, Resuming, Seek, Set
from .cutter import Cutter
from .events import Error, Ok
from .line import Line, Terms
from .orders import Order, Orders
from .outbox import Reply
from .part import PartError, Settings
from .playback import Playback, frame_at
from .programme import Programme
from .refusal import ERRORS, ProtocolError
from .studio import Studio
from .threads import in_thread
from .upcoming import explain, open_part

log = logging.getLogger(__name__)


@contextmanager
def _answered(replies: Iterable[Reply]) -> Iterator[None]:
    """What cannot be done because of the file is said to whoever asked for it."""
    try:
        yield
    except PartError:
        for reply in replies:
            reply.error("unreadable", ERRORS["unreadable"])
        raise


class Stream:
    """One play: a track and the queue behind it.

    Parameters
    ----------
    studio : Studio
    line : Line
    request : Play
        The command that asked for it.
    reply : Reply
        The answer to that command.
    terms : Terms
    on_air : callable
        Called once, when the file is open and nothing more can keep the stream from starting.
    """

    def __init__(
        self,
        studio: Studio,
        line: Line,
        request: Play,
        reply: Reply,
        *,
        terms: Terms,
        on_air: Callable[[Stream], None],
    ) -> None:
        self.number = next(studio.numbers)
        self.token = secrets.token_urlsafe(16)
        self.over = False
        self.task: asyncio.Task[None]
        self._studio = studio
        self._line = line
        self._request = request
        self._terms = terms
        self._on_air = on_air
        self._wake = asyncio.Event()
        self._orders = Orders(reply, self._wake.set)
        self._paused = False
        self._away = False  # parked: nothing is done until `take_up`
        self._parked = False  # and so counted
        self._return: tuple[Resuming, Reply, Line] | None = None
        self._cutter: Cutter | None = None
        self._playback: Playback | None = None  # once the stream is on air

    # Commands: take note, wake the task; it answers when the thing is done.

    def wake(self) -> None:
        """Look again at what may be done."""
        self._wake.set()

    def obey(self, command: Command, reply: Reply) -> None:
        """Seek, skip, change the queue or the settings, as soon as it is its turn."""
        self._orders.add(command, reply)

    def pause(self, reply: Reply) -> None:
        """Send no audio until resumed; none follows the answer."""
        self._paused = True
        if self._playback is not None:
            self._playback.pause()
        self._orders.note(reply)

    def resume(self, reply: Reply) -> None:
        """Go on where `pause` stopped."""
        self._paused = False
        if self._playback is not None:
            self._playback.resume()
        self._orders.note(reply)

    def credit(self, command: Credit) -> None:
        """Take a watermark, unless it was meant for another epoch."""
        if self._playback is not None and self._playback.credit(command):
            self.wake()

    def end(self, reason: str, error: Error | None = None) -> None:
        """Say the last word. Whoever calls this cancels the task."""
        if self.over:
            return
        playback, first = self._playback, self._orders.first
        if playback is not None:
            playback.drop_audio()
            if error is not None:
                playback.line.outbox.say(error)
        elif error is not None:
            first.error(error.code, error.message)
        elif reason == "superseded":
            first.ok(Ok(superseded=True))
        self._orders.refuse("no_stream", "the stream ended before this could be done")
        if playback is not None:
            playback.say_end(reason)
        self.over = True

    # A socket that drops, and another that goes on. Only for a stream on air.

    @property
    def epoch(self) -> int:
        """The newest epoch."""
        assert self._playback is not None
        return self._playback.epoch

    def park(self) -> None:
        """The socket is gone: rest, and forget what was asked and not yet done."""
        assert self._playback is not None
        self._away, self._return = True, None
        self._rests(True)
        self._playback.line = self._playback.line.cut()
        self._orders.forget()
        self._studio.sated(self.number)

    def check(self, resuming: Resuming) -> None:
        """Whether the stream can go on from there: a ProtocolError if not."""
        assert self._playback is not None
        self._playback.check(resuming)

    def take_up(self, resuming: Resuming, reply: Reply, line: Line) -> None:
        """Go on over another socket, from where its client says."""
        self._return = (resuming, reply, line)
        self._rests(False)
        self._orders.owe(reply)

    def _rests(self, parked: bool) -> None:
        self._studio.parked += parked - self._parked
        self._parked = parked

    # The task.

    async def run(self) -> None:
        """Open, play, and give everything back; cancel it to end it at any time."""
        self._studio.streams += 1
        self._studio.hungry(self.number)
        try:
            cutter = await in_thread(self._studio.pool, self._open)
            self._on_air(self)
            await self._play(self._start(cutter))
        except (ProtocolError, AuralisError) as e:
            if isinstance(e, AuralisError):
                log.error("stream %d stopped: %s", self.number, e)
            playback = self._playback
            id = self._request.track_id if playback is None else playback.programme.current.track.id
            self.end("error", explain(e, id))
        finally:
            self._studio.streams -= 1
            self._rests(False)
            self._studio.sated(self.number)
            if self._playback is not None:
                self._playback.inquiry.close()
            if self._cutter is not None:
                self._cutter.close()
            if self._playback is not None:
                await self._playback.upcoming.close()

    def _open(self) -> Cutter:
        """Everything that touches a disk before the first sound, in one visit to a worker thread."""
        request = self._request
        settings = Settings(request.preset, request.intensity, isinstance(request, PlayNormal))
        part = open_part(self._studio, request.track_id, settings)
        # Known to `run` before anything below can fail, so that it is closed whatever happens.
        programme = Programme(part, settings)
        cutter = self._cutter = Cutter(programme, self.number, binary.FORMATS[self._terms.format])
        frame = frame_at(part, request.start_seconds)
        programme.enter(part)
        if frame:
            cutter.jump(0, part, frame)
        return cutter

    def _start(self, cutter: Cutter) -> Playback:
        playback = Playback(self._studio, self.number, cutter, self._line, self._terms, self._wake.set)
        self._playback = playback
        if self._paused:
            playback.pause()
        self._orders.first.ok(Ok(stream=self.number, epoch=playback.epoch))
        playback.announce(self.token)
        return playback

    async def _play(self, playback: Playback) -> None:
        while True:
            self._wake.clear()
            try:
                await self._step(playback)
            except PartError as e:
                playback.lose(e.part, e.cause)

    async def _step(self, playback: Playback) -> None:
        """Do the one thing that is due."""
        if self._return is not None:
            (resuming, reply, line), self._return = self._return, None
            self._away = False
            with _answered([reply]):
                await playback.come_back(resuming, reply, line)
        if self._away:
            await self._rest()
            return
        self._orders.acknowledge()
        if orders := self._orders.take():
            await self._carry_out(playback, orders)
        elif playback.inquiry.done:
            await playback.learn()
        elif playback.upcoming.ready:
            await playback.place()
        elif (due := playback.programme.due) is not None:
            await playback.enter(due)
        elif playback.is_at_end:
            playback.complete()
            await self._rest()
        elif (delay := playback.delay()) == 0.0:
            await playback.send()
        else:
            await self._rest(delay)

    async def _carry_out(self, playback: Playback, orders: list[Order]) -> None:
        """Orders of one kind."""
        replies = [reply for _, reply in orders]
        match orders[-1]:
            case Queue() as queue, reply:
                playback.programme.drop_following()
                playback.upcoming.replace(queue)
                reply.ok(Ok(stream=self.number))
            case Next(), _:
                with _answered(replies):
                    await playback.skip(replies)
            case Seek() as seek, reply:
                with _answered(replies):
                    await playback.seek(seek, reply)
            case Set(), _:
                with _answered(replies):
                    await playback.set([c for c, _ in orders if isinstance(c, Set)], replies)

    async def _rest(self, delay: float | None = None) -> None:
        """Wait until something happens, or for `delay` seconds."""
        self._studio.sated(self.number)
        timer = None
        if delay is not None:
            timer = asyncio.get_running_loop().call_later(delay, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

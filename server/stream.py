"""The asynchronous half of a stream: one task that sends as credit, time and the socket allow.

The task has a single place where it waits, so a command, credit, room in the outbox, an opened file
and the passage of time are all the same event: look again. Samples are programme.py's and cutter.py's,
arithmetic of time is pacing.py's, the queue is upcoming.py's, and which stream a session plays is
session.py's.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from auralis_core import AuralisError

from . import binary, reports
from .commands import Credit, Hello, Next, Play, PlayNormal, Queue, Resuming, Seek, Set
from .cutter import CHUNK, Cutter
from .events import AudioStreamEnd, Clear, Error, FingerprintProgress, Ok
from .outbox import Outbox, Reply
from .pacing import Pacer
from .part import Part, Settings
from .programme import PartError, Programme
from .refusal import ERRORS, ProtocolError
from .sources import Found
from .studio import Studio
from .threads import in_thread
from .upcoming import Upcoming, explain, open_part

log = logging.getLogger(__name__)

SWITCH_FRAMES = 2048
MORPH_S = 3.0
SWITCH_MARGIN_S = 0.15  # a switch is stamped this far, and one round trip, ahead of the listener
RECORD_S = 0.1
MOST_REWINDS = 64  # remembered apart
AHEAD_S = 10.0  # the next track is opened this long before the current one is sent to its end


@contextmanager
def _answered(replies: Iterable[Reply]) -> Iterator[None]:
    """What cannot be done because of the file is said to whoever asked for it."""
    try:
        yield
    except PartError:
        for reply in replies:
            reply.error("unreadable", ERRORS["unreadable"])
        raise


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed with the client before a stream starts."""

    format: str = "f32le"
    lead_ms: float = Hello().lead_ms
    buffer_ms: float = Hello().max_buffer_ms


class Stream:
    """One play: a track and the queue behind it, from its request to its end.

    Parameters
    ----------
    studio : Studio
    outbox : Outbox
        Where everything this stream says goes, until it is over.
    request : Play
        The command that asked for it.
    reply : Reply
        The answer to that command.
    terms : Terms
    round_trip : callable
        The socket's round trip in seconds, as known now.
    next_epoch : callable
        Epochs count through all streams of a session.
    on_air : callable
        Called once, when the file is open and nothing more can keep the stream from starting.
    """

    def __init__(
        self,
        studio: Studio,
        outbox: Outbox,
        request: Play,
        reply: Reply,
        *,
        terms: Terms,
        round_trip: Callable[[], float],
        next_epoch: Callable[[], int],
        on_air: Callable[[Stream], None],
    ) -> None:
        self.number = next(studio.numbers)
        self.token = secrets.token_urlsafe(16)
        self.over = False
        self.task: asyncio.Task[None]
        self._studio = studio
        self._outbox = outbox
        self._request = request
        self._terms = terms
        self._round_trip = round_trip
        self._next_epoch = next_epoch
        self._on_air = on_air

        self._wake = asyncio.Event()
        self._owed = [reply]
        self._seek: tuple[Seek, Reply] | None = None
        self._skips: list[Reply] = []
        self._queue: tuple[Queue, Reply] | None = None
        self._sets: list[tuple[Set, Reply]] = []
        self._noted: list[Reply] = []
        self._away = False  # parked: nothing is done until `take_up`
        self._return: tuple[Resuming, Reply, Outbox] | None = None
        self._paused = False
        self._started = False
        self._completed = False
        self._upcoming = Upcoming(studio, self._wake.set)
        self._search: asyncio.Task[Found | None] | None = None
        self._sought: Part | None = None
        self._search_began = 0.0
        self._cutter: Cutter | None = None
        self._position = self._epoch = self._epoch_start = 0
        self._jump_epoch = self._jump_frame = 0
        self._rewinds: list[tuple[int, int]] = []  # epochs since the last jump and where they begin
        self._delivered = 0
        self._recorded_at = -math.inf

    # Commands: take note, wake the task; it answers when the thing is done.

    def wake(self) -> None:
        """Look again at what may be done."""
        self._wake.set()

    def seek(self, command: Seek, reply: Reply) -> None:
        """Go elsewhere in the track; a seek not yet begun is replaced."""
        self._forget_seek()
        self._seek = (command, reply)
        self._owe(reply)

    def next(self, command: Next, reply: Reply) -> None:
        """Go on with the track after the one heard; asked twice, with the one after that."""
        self._forget_seek()
        self._skips.append(reply)
        self._owe(reply)

    def queue(self, command: Queue, reply: Reply) -> None:
        """Another queue behind the track being sent."""
        if self._queue is not None:
            self._queue[1].ok(Ok(superseded=True))
        self._queue = (command, reply)
        self._owe(reply)

    def set(self, command: Set, reply: Reply) -> None:
        """Change preset, intensity or bypass; several not yet begun become one switch."""
        self._sets.append((command, reply))
        self._owe(reply)

    def pause(self, reply: Reply) -> None:
        """Send no audio until resumed; none follows the answer."""
        self._paused = True
        if self._started:
            self._pacer.pause(time.monotonic())
        self._noted.append(reply)
        self._owe(reply)

    def resume(self, reply: Reply) -> None:
        """Go on where `pause` stopped."""
        self._paused = False
        if self._started:
            self._pacer.resume(time.monotonic())
        self._noted.append(reply)
        self._owe(reply)

    def credit(self, command: Credit) -> None:
        """Take a watermark, unless it was meant for another epoch."""
        # A `set` that takes audio back begins an epoch but goes on counting; only a jump starts anew.
        if not self._started or (command.epoch is not None and command.epoch < self._jump_epoch):
            return
        played = command.played
        fits = played is None or self._jump_frame <= played <= self._position
        if fits and command.upto >= self._jump_frame:
            self._pacer.credit(command.upto, played, time.monotonic())
            self.wake()

    def end(self, reason: str, error: Error | None = None) -> None:
        """Say the last word. Whoever calls this cancels the task."""
        if self.over:
            return
        if self._started:  # otherwise what waits there is the audio of the stream before
            self._drop_audio()
        if error is not None and self._started:
            self._outbox.say(error)
        elif error is not None:
            self._owed[0].error(error.code, error.message)
        elif reason == "superseded" and not self._started:
            self._owed[0].ok(Ok(superseded=True))
        for reply in self._owed:
            reply.error("no_stream", "the stream ended before this could be done")
        if self._started and not self._completed:
            self._outbox.say(AudioStreamEnd(self.number, reason, self._delivered))
        self.over = True

    # A socket that drops, and another that goes on.

    @property
    def epoch(self) -> int:
        """The newest epoch."""
        return self._epoch

    def park(self) -> None:
        """The socket is gone: rest, and forget what was asked and not yet done."""
        self._away, self._return = True, None
        self._outbox = Outbox(lambda: None)
        self._seek = self._queue = None
        for waiting in (self._skips, self._sets, self._noted, self._owed):
            waiting.clear()
        self._studio.sated(self)

    def check(self, resuming: Resuming) -> None:
        """Whether the stream can go on from there: a ProtocolError if not."""
        frame, keep_until = self._point(resuming)
        if resuming.epoch > self._epoch or frame > self._position:
            raise ProtocolError("out_of_range", "no such audio was ever sent")
        if keep_until is not None and frame < self._programme.earliest:
            raise ProtocolError("not_resumable", "the audio from there on is no longer held")

    def take_up(
        self,
        resuming: Resuming,
        reply: Reply,
        *,
        outbox: Outbox,
        round_trip: Callable[[], float],
        next_epoch: Callable[[], int],
    ) -> None:
        """Go on over another socket, from where its client says."""
        self._round_trip, self._next_epoch = round_trip, next_epoch
        self._return = (resuming, reply, outbox)
        self._owe(reply)

    def _point(self, resuming: Resuming) -> tuple[int, int | None]:
        """Where to go on, and up to where the client's audio counts."""
        if resuming.epoch < self._jump_epoch:
            return self._jump_frame, None
        missed = [frame for epoch, frame in self._rewinds if epoch > resuming.epoch]
        frame = max(self._jump_frame, min([resuming.next_frame, *missed]))
        return frame, frame

    async def _come_back(self, cutter: Cutter, resuming: Resuming, reply: Reply, outbox: Outbox) -> None:
        self._away, self._outbox = False, outbox
        programme = self._programme
        frame, keep_until = self._point(resuming)
        self._delivered -= self._position - frame
        self._begin_epoch(frame, keep_until)
        part = programme.at(frame)
        if keep_until is None:
            await self._work(part, cutter.jump, self._epoch, part, frame - part.start)
            self._restart_clock()
        else:
            await self._work(part, cutter.rewind, self._epoch, frame)
            now = time.monotonic()
            self._pacer.restart(frame, now, held_from=self._jump_frame)
            if self._paused:
                self._pacer.pause(now)
            if not programme.is_settled:  # a switch lay further on
                await self._work(part, programme.switch, SWITCH_FRAMES, programme.settings)
        self._report_part()
        reply.ok(Ok(stream=self.number, epoch=self._epoch, at_frame=frame))

    # The task.

    async def run(self) -> None:
        """Open, play, and give everything back; cancel it to end it at any time."""
        self._studio.streams += 1
        self._studio.hungry(self)
        try:
            await in_thread(self._studio.pool, self._open)
            self._on_air(self)
            await self._play(self._start())
        except (ProtocolError, AuralisError) as e:
            if isinstance(e, AuralisError):
                log.error("stream %d stopped: %s", self.number, e)
            id = self._programme.current.track.id if self._started else self._request.track_id
            self.end("error", explain(e, id))
        finally:
            self._studio.streams -= 1
            self._studio.sated(self)
            if self._search is not None:
                self._search.cancel()
            if self._cutter is not None:
                self._cutter.close()
            await self._upcoming.close()

    def _open(self) -> None:
        """Everything that touches a disk before the first sound, in one visit to a worker thread."""
        request = self._request
        settings = Settings(request.preset, request.intensity, isinstance(request, PlayNormal))
        part = open_part(self._studio, request.track_id, settings)
        # Known to `run` before anything below can fail, so that it is closed whatever happens.
        programme = Programme(part, settings)
        cutter = self._cutter = Cutter(programme, self.number, binary.FORMATS[self._terms.format])
        frame = self._frame_at(part, request.start_seconds)
        programme.enter(part)
        if frame:
            cutter.jump(0, part, frame)

    def _start(self) -> Cutter:
        cutter = self._cutter
        assert cutter is not None
        part = cutter.programme.current
        self._programme = cutter.programme
        self._rate = part.sample_rate
        self._position = cutter.position
        self._epoch = cutter.epoch = self._next_epoch()
        self._pacer = Pacer(self._rate, self._terms.lead_ms, self._terms.buffer_ms)
        self._restart_clock()
        self._started = True
        self._owed.pop(0).ok(Ok(stream=self.number, epoch=self._epoch))
        start = reports.stream_start(self.number, self._epoch, part, self._terms.format, self.token)
        self._outbox.say(start)
        self._outbox.say(reports.track_start(self.number, part, part.start))
        self._report_switch()
        return cutter

    async def _play(self, cutter: Cutter) -> None:
        while True:
            self._wake.clear()
            try:
                await self._step(cutter)
            except PartError as e:
                self._lose(e.part, e.cause)

    async def _step(self, cutter: Cutter) -> None:
        """Do the one thing that is due."""
        programme, upcoming = self._programme, self._upcoming
        if self._return is not None:
            (resuming, reply, outbox), self._return = self._return, None
            with _answered([reply]):
                await self._come_back(cutter, resuming, reply, outbox)
        if self._away:
            await self._rest()
            return
        while self._noted:
            self._noted.pop(0).ok()
        if self._queue is not None:
            (queue, reply), self._queue = self._queue, None
            programme.drop_following()
            upcoming.replace(queue)
            reply.ok(Ok(stream=self.number))
        elif self._skips:
            skips, self._skips = self._skips, []
            with _answered(skips):
                await self._skip(cutter, skips)
        elif self._seek is not None:
            (seek, reply), self._seek = self._seek, None
            with _answered([reply]):
                await self._go(cutter, seek, reply)
        elif self._sets:
            sets, self._sets = self._sets, []
            with _answered(reply for _, reply in sets):
                await self._apply(cutter, sets)
        elif self._search is not None and self._search.done():
            search, self._search = self._search, None
            await self._learn(search.result())
        elif upcoming.ready:
            await self._place()
        elif programme.due is not None:
            await self._enter(programme.due)
        elif self._position >= programme.end and programme.following is None and not upcoming.pending:
            self._complete()
            await self._rest()
        elif self._paused or not self._outbox.has_room or self._position >= self._look_ahead():
            await self._rest()
        else:
            await self._send(cutter)

    def _look_ahead(self) -> int:
        """See to the next track in time; how far the programme goes meanwhile."""
        programme, upcoming = self._programme, self._upcoming
        alone = programme.following is None and upcoming.pending
        fade = round(upcoming.crossfade_s * self._rate) if alone else 0
        programme.withheld = fade
        if alone and self._position >= programme.end - fade - round(AHEAD_S * self._rate):
            upcoming.open_next(programme.settings, programme.shape)
        return programme.boundary

    async def _send(self, cutter: Cutter) -> None:
        """Send what may be sent now, or wait until something may."""
        now = time.monotonic()
        allowed = self._pacer.allowed(now)
        # A whole batch when time alone brings it; when credit ends before that, whatever fits.
        delay = self._pacer.delay(cutter.comfortable, now)
        if delay is None:
            delay = self._pacer.delay(cutter.least, now)
        if delay != 0.0:
            await self._rest(delay)
            return
        admission = self._studio.admission
        chunks = await in_thread(self._studio.pool, admission.measured, cutter.cut, allowed)
        for chunk in chunks:
            self._outbox.audio(chunk)
        admission.delivered((cutter.position - self._position) / self._programme.sample_rate)
        self._delivered += cutter.position - self._position
        self._position = cutter.position
        if now - self._recorded_at >= RECORD_S:
            self._recorded_at = now
            part = self._programme.current
            self._outbox.say(reports.chunk(self.number, self._position, part.newest.generation, part.record))
        self._seek_fingerprint(now)

    async def _rest(self, delay: float | None = None) -> None:
        """Wait until something happens, or for `delay` seconds."""
        self._studio.sated(self)
        timer = None
        if delay is not None:
            timer = asyncio.get_running_loop().call_later(delay, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    # From track to track.

    async def _enter(self, part: Part) -> None:
        """The position has reached a part: it sounds from here on."""
        self._completed = False
        await self._work(part, self._programme.enter, part, self._position - part.start)
        self._report_part()

    async def _place(self) -> Part | None:
        """Take what was opened into the programme."""
        opened = await self._upcoming.take()
        if isinstance(opened, Error):
            log.warning("stream %d skips track %s: %s", self.number, opened.track_id, opened.code)
            self._outbox.say(opened)
            return None
        programme = self._programme
        fade = self._upcoming.fade(programme.parts[-1], opened)
        try:
            await self._work(opened, programme.append, opened, fade)
        finally:
            if opened not in programme.parts:
                opened.close()
        return opened

    async def _skip(self, cutter: Cutter, replies: list[Reply]) -> None:
        part: Part | None = self._heard()
        for reply in replies:
            part = await self._after(part) if part is not None else None
            if part is None:
                reply.error("no_next", ERRORS["no_next"])
            elif reply is replies[-1]:
                await self._jump(cutter, part, 0, reply)
            else:
                reply.ok(Ok(superseded=True))

    async def _after(self, part: Part) -> Part | None:
        programme, upcoming = self._programme, self._upcoming
        while (following := programme.after(part)) is None and upcoming.pending:
            upcoming.open_next(programme.settings, programme.shape)
            await self._place()
        return following

    def _lose(self, part: Part, error: AuralisError) -> None:
        """A file is not what it was: say so, and go on with what follows it."""
        programme = self._programme
        log.error("stream %d: track %d: %s", self.number, part.track.id, error)
        now, alone = programme.current, programme.following is None and not self._upcoming.pending
        programme.drop(part)
        if programme.current is part and alone:
            raise error
        self._outbox.say(explain(error, part.track.id))
        if programme.current is not now:
            self._report_part()

    async def _work(self, part: Part, call: Callable[..., object], *args: object) -> None:
        """Something in a worker thread that may fail for this part."""
        try:
            await in_thread(self._studio.pool, call, *args)
        except AuralisError as e:
            raise PartError(part, e) from e

    # Within a track.

    async def _go(self, cutter: Cutter, command: Seek, reply: Reply) -> None:
        part = self._heard()
        try:
            frame = self._frame_at(part, command.seconds)
        except ProtocolError as e:
            reply.error(e.code, e.message)
            return
        await self._jump(cutter, part, frame, reply)

    async def _jump(self, cutter: Cutter, part: Part, frame: int, reply: Reply) -> None:
        self._drop_audio()
        self._begin_epoch(part.start + frame, keep_until=None)
        try:
            await self._work(part, cutter.jump, self._epoch, part, frame)
        finally:
            self._restart_clock()
        self._report_part()
        reply.ok(Ok(stream=self.number, epoch=self._epoch, at_frame=self._position))

    async def _apply(self, cutter: Cutter, sets: list[tuple[Set, Reply]]) -> None:
        programme = self._programme
        wanted = programme.settings
        for command, _ in sets:
            wanted = Settings(
                wanted.preset if command.preset is None else command.preset,
                wanted.intensity if command.intensity is None else command.intensity,
                wanted.bypass if command.bypass is None else command.bypass,
            )
        if wanted != programme.settings:
            target = self._stamp()
            if target is not None:
                self._delivered -= self._position - target
                self._begin_epoch(target, keep_until=target)
                await self._work(programme.current, cutter.rewind, self._epoch, target)
            await self._work(programme.current, programme.switch, SWITCH_FRAMES, wanted)
            self._report_switch()
        part = programme.current
        for _, reply in sets:
            reply.ok(
                Ok(
                    stream=self.number,
                    epoch=self._epoch,
                    generation=part.newest.generation,
                    at_frame=part.start + part.newest.at,
                )
            )

    def _seek_fingerprint(self, now: float) -> None:
        """Look for the fingerprint of what sounds, then of what follows."""
        wanted = (self._programme.current, self._programme.following)
        if self._search is not None and self._sought is not None and self._sought not in wanted:
            self._sought.searched = False  # not found out yet, should the listener go back to it
            self._search.cancel()
            self._search = None
        part = next((p for p in wanted if p is not None and not p.searched), None)
        if self._search is None and part is not None:
            part.searched = True
            self._sought = part
            self._search_began = now
            self._report_search("computing", None)
            self._search = asyncio.create_task(self._studio.sources.get(part.track, part.path))
            self._search.add_done_callback(lambda _: self._wake.set())

    async def _learn(self, found: Found | None) -> None:
        programme, part = self._programme, self._sought
        assert part is not None
        self._report_search("failed" if found is None else "ready", found)
        if found is None or part not in programme.parts:
            return
        if part is not programme.current:
            await self._work(part, programme.learn, part, found.fingerprint)
            return
        part.fp = found.fingerprint
        if not programme.settings.bypass:
            await self._work(part, programme.switch, round(MORPH_S * self._rate))
            self._report_switch()

    def _heard(self) -> Part:
        """The part that sounds at the client, as far as it says."""
        played = self._pacer.played(time.monotonic())
        if played is None:
            return self._programme.current
        return self._programme.at(min(played, max(0, self._position - 1)))

    def _stamp(self) -> int | None:
        """The frame to switch at when that means taking audio back that was already sent."""
        played = self._pacer.played(time.monotonic())
        if played is None:
            return None
        target = played + round((SWITCH_MARGIN_S + self._round_trip()) * self._rate)
        target = max(target, self._epoch_start, self._programme.earliest)
        return target if target + CHUNK <= self._position else None

    def _begin_epoch(self, frame: int, keep_until: int | None) -> None:
        self._epoch = self._next_epoch()
        self._epoch_start = self._position = frame
        self._completed = False
        self._studio.hungry(self)
        self._rewinds.append((self._epoch, frame))
        if len(self._rewinds) > MOST_REWINDS:
            (_, first), (epoch, second) = self._rewinds[:2]
            self._rewinds[:2] = [(epoch, min(first, second))]
        self._outbox.say(Clear(self.number, self._epoch, keep_until))

    def _restart_clock(self) -> None:
        now = time.monotonic()
        self._epoch_start = self._jump_frame = self._position
        self._jump_epoch = self._epoch
        self._rewinds.clear()
        self._pacer.restart(self._position, now)
        if self._paused:
            self._pacer.pause(now)

    def _complete(self) -> None:
        if not self._completed:
            self._completed = True
            self._outbox.say(AudioStreamEnd(self.number, "completed", self._delivered))

    def _drop_audio(self) -> None:
        for chunk in self._outbox.drop_audio():
            self._delivered -= binary.unpack_frame(chunk)[0].frames

    def _frame_at(self, part: Part, seconds: float) -> int:
        frame = round(seconds * part.sample_rate)
        if frame >= part.frames:
            length = part.frames / part.sample_rate
            raise ProtocolError("out_of_range", f"the track is {length:.3f} s long")
        return frame

    def _forget_seek(self) -> None:
        if self._seek is not None:
            self._seek[1].ok(Ok(superseded=True))
            self._seek = None

    def _owe(self, reply: Reply) -> None:
        self._owed = [r for r in self._owed if not r.given]
        self._owed.append(reply)
        self._wake.set()

    # Reports.

    def _report_part(self) -> None:
        self._outbox.say(reports.track_start(self.number, self._programme.current, self._position))
        self._report_switch()

    def _report_switch(self) -> None:
        programme = self._programme
        part, settings = programme.current, programme.settings
        self._outbox.say(reports.params(self.number, self._epoch, part, settings, programme.position))

    def _report_search(self, status: str, found: Found | None) -> None:
        assert self._sought is not None
        self._outbox.say(
            FingerprintProgress(
                track_id=self._sought.track.id,
                status=status,
                source=None if found is None else found.source,
                elapsed_ms=1000 * (time.monotonic() - self._search_began),
                failed=[] if found is None else list(found.failed),
            )
        )

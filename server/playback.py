"""A stream on air: what has been sent, what the client was told, and every move that can be made in it.

A move is awaited to its end, one at a time; which of them is due is stream.py's. Samples are
programme.py's and cutter.py's, arithmetic of time is pacing.py's, the queue is upcoming.py's.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

from auralis_core import AuralisError

from . import binary, reports
from .commands import Credit, Resuming, Seek, Set
from .cutter import CHUNK, Cutter
from .epochs import Epochs
from .events import AudioStreamEnd, Clear, Error, Ok
from .inquiry import Inquiry
from .line import Line, Terms
from .outbox import Reply
from .pacing import Pacer
from .part import Part, PartError, Settings
from .refusal import ERRORS, ProtocolError
from .studio import Studio
from .threads import in_thread
from .upcoming import Upcoming, explain

log = logging.getLogger(__name__)

SWITCH_FRAMES = 2048
MORPH_S = 3.0
SWITCH_MARGIN_S = 0.15  # a switch is stamped this far, and one round trip, ahead of the listener
RECORD_S = 0.1
AHEAD_S = 10.0  # the next track is opened this long before the current one is sent to its end


def frame_at(part: Part, seconds: float) -> int:
    """The frame of a part nearest to a time.

    Raises
    ------
    ProtocolError
        `out_of_range`: the part is not that long.
    """
    frame = round(seconds * part.sample_rate)
    if frame >= part.frames:
        length = part.frames / part.sample_rate
        raise ProtocolError("out_of_range", f"the track is {length:.3f} s long")
    return frame


class Playback:
    """The programme of one stream as it is sent.

    Parameters
    ----------
    studio : Studio
    number : int
        Of the stream.
    cutter : Cutter
        Open, and where the stream begins.
    line : Line
    terms : Terms
    wake : callable
        Called when something that was begun here has ended.

    Attributes
    ----------
    line : Line
        Changed when the stream goes on over another socket.
    completed : bool
        Whether all there is was sent.
    """

    def __init__(
        self, studio: Studio, number: int, cutter: Cutter, line: Line, terms: Terms, wake: Callable[[], None]
    ) -> None:
        self.line = line
        self.completed = False
        self.programme = cutter.programme
        self.upcoming = Upcoming(studio, wake)
        self.inquiry = Inquiry(studio.sources, wake)
        self._studio = studio
        self._number = number
        self._cutter = cutter
        self._format = terms.format
        self._rate = self.programme.sample_rate
        self._position = cutter.position
        cutter.epoch = line.next_epoch()
        self._epochs = Epochs(cutter.epoch, self._position)
        self._pacer = Pacer(self._rate, terms.lead_ms, terms.buffer_ms)
        self._pacer.restart(self._position, time.monotonic())
        self._delivered = 0
        self._recorded_at = -math.inf

    @property
    def epoch(self) -> int:
        """The newest epoch."""
        return self._epochs.newest

    def announce(self, token: str) -> None:
        """Say what begins."""
        part = self.programme.current
        start = reports.stream_start(self._number, self.epoch, part, self._format, token)
        self.line.outbox.say(start)
        self.line.outbox.say(reports.track_start(self._number, part, part.start))
        self._report_switch()

    def credit(self, command: Credit) -> bool:
        """Take a watermark; whether it was meant for this epoch."""
        # A `set` that takes audio back begins an epoch but goes on counting; only a jump starts anew.
        epochs, played = self._epochs, command.played
        if command.epoch is not None and command.epoch < epochs.jump:
            return False
        fits = played is None or epochs.jump_frame <= played <= self._position
        if not fits or command.upto < epochs.jump_frame:
            return False
        self._pacer.credit(command.upto, played, time.monotonic())
        return True

    def pause(self) -> None:
        """Stop the clock."""
        self._pacer.pause(time.monotonic())

    def resume(self) -> None:
        """Let the clock run."""
        self._pacer.resume(time.monotonic())

    def say_end(self, reason: str) -> None:
        """Say that no more audio follows, unless that was said."""
        if not self.completed:
            self.line.outbox.say(AudioStreamEnd(self._number, reason, self._delivered))

    def complete(self) -> None:
        """All there is was sent."""
        self.say_end("completed")
        self.completed = True

    # A socket that drops, and another that goes on.

    def check(self, resuming: Resuming) -> None:
        """Whether the stream can go on from there: a ProtocolError if not."""
        frame, keep_until = self._epochs.place(resuming)
        if resuming.epoch > self.epoch or frame > self._position:
            raise ProtocolError("out_of_range", "no such audio was ever sent")
        if keep_until is not None and frame < self.programme.earliest:
            raise ProtocolError("not_resumable", "the audio from there on is no longer held")

    async def come_back(self, resuming: Resuming, reply: Reply, line: Line) -> None:
        """Go on over another socket."""
        self.line = line
        programme, cutter = self.programme, self._cutter
        frame, keep_until = self._epochs.place(resuming)
        self._delivered -= self._position - frame
        self._begin_epoch(frame, keep_until)
        part = programme.at(frame)
        if keep_until is None:
            await self._work(part, cutter.jump, self.epoch, part, frame - part.start)
            self._restart_clock()
        else:
            await self._work(part, cutter.rewind, self.epoch, frame)
            self._pacer.restart(frame, time.monotonic(), held_from=self._epochs.jump_frame)
            if not programme.is_settled:  # a switch lay further on
                await self._work(part, programme.switch, SWITCH_FRAMES, programme.settings)
        self._report_part()
        reply.ok(Ok(stream=self._number, epoch=self.epoch, at_frame=frame))

    # Sending.

    @property
    def is_at_end(self) -> bool:
        """Whether nothing is left to send and nothing to come."""
        programme = self.programme
        at_end = self._position >= programme.end and programme.following is None
        return at_end and not self.upcoming.pending

    def delay(self) -> float | None:
        """Seconds until something may be sent, or None when time alone does not bring it."""
        if self._pacer.paused or not self.line.outbox.has_room or self._position >= self._look_ahead():
            return None
        # A whole batch when time alone brings it; when credit ends before that, whatever fits.
        now = time.monotonic()
        delay = self._pacer.delay(self._cutter.comfortable, now)
        return delay if delay is not None else self._pacer.delay(self._cutter.least, now)

    async def send(self) -> None:
        """Make and send what may be sent now."""
        now, cutter, admission = time.monotonic(), self._cutter, self._studio.admission
        allowed = self._pacer.allowed(now)
        chunks = await in_thread(self._studio.pool, admission.measured, cutter.cut, allowed)
        for chunk in chunks:
            self.line.outbox.audio(chunk)
        sent = cutter.position - self._position
        admission.delivered(sent / self._rate)
        self._delivered += sent
        self._position = cutter.position
        part = self.programme.current
        if now - self._recorded_at >= RECORD_S:
            self._recorded_at = now
            generation = part.newest.generation
            self.line.outbox.say(reports.chunk(self._number, self._position, generation, part.record))
        if (progress := self.inquiry.want((part, self.programme.following))) is not None:
            self.line.outbox.say(progress)

    def _look_ahead(self) -> int:
        """See to the next track in time; how far the programme goes meanwhile."""
        programme, upcoming = self.programme, self.upcoming
        alone = programme.following is None and upcoming.pending
        fade = round(upcoming.crossfade_s * self._rate) if alone else 0
        programme.withheld = fade
        if alone and self._position >= programme.end - fade - round(AHEAD_S * self._rate):
            upcoming.open_next(programme.settings, programme.shape)
        return programme.boundary

    # From track to track.

    async def enter(self, part: Part) -> None:
        """The position has reached a part: it sounds from here on."""
        self.completed = False
        await self._work(part, self.programme.enter, part, self._position - part.start)
        self._report_part()

    async def place(self) -> None:
        """Take what was opened into the programme."""
        opened = await self.upcoming.take()
        if isinstance(opened, Error):
            log.warning("stream %d skips track %s: %s", self._number, opened.track_id, opened.code)
            self.line.outbox.say(opened)
            return
        programme = self.programme
        fade = self.upcoming.fade(programme.parts[-1], opened)
        try:
            await self._work(opened, programme.append, opened, fade)
        finally:
            if opened not in programme.parts:
                opened.close()

    async def skip(self, replies: Sequence[Reply]) -> None:
        """Go to the track after the one heard, or as many further as there are requests."""
        part: Part | None = self._heard()
        for reply in replies:
            part = await self._after(part) if part is not None else None
            if part is None:
                reply.error("no_next", ERRORS["no_next"])
            elif reply is replies[-1]:
                await self._jump(part, 0, reply)
            else:
                reply.ok(Ok(superseded=True))

    async def _after(self, part: Part) -> Part | None:
        programme, upcoming = self.programme, self.upcoming
        while (following := programme.after(part)) is None and upcoming.pending:
            upcoming.open_next(programme.settings, programme.shape)
            await self.place()
        return following

    def lose(self, part: Part, error: AuralisError) -> None:
        """A file is not what it was: say so, and go on with what follows it."""
        programme = self.programme
        log.error("stream %d: track %d: %s", self._number, part.track.id, error)
        now, alone = programme.current, programme.following is None and not self.upcoming.pending
        programme.drop(part)
        if programme.current is part and alone:
            raise error
        self.line.outbox.say(explain(error, part.track.id))
        if programme.current is not now:
            self._report_part()

    async def _work(self, part: Part, call: Callable[..., object], *args: object) -> None:
        """Something in a worker thread that may fail for this part."""
        try:
            await in_thread(self._studio.pool, call, *args)
        except AuralisError as e:
            raise PartError(part, e) from e

    # Within a track.

    async def seek(self, command: Seek, reply: Reply) -> None:
        """Go elsewhere in the track that is heard."""
        part = self._heard()
        try:
            frame = frame_at(part, command.seconds)
        except ProtocolError as e:
            reply.error(e.code, e.message)
            return
        await self._jump(part, frame, reply)

    async def _jump(self, part: Part, frame: int, reply: Reply) -> None:
        self.drop_audio()
        self._begin_epoch(part.start + frame, keep_until=None)
        try:
            await self._work(part, self._cutter.jump, self.epoch, part, frame)
        finally:
            self._restart_clock()
        self._report_part()
        reply.ok(Ok(stream=self._number, epoch=self.epoch, at_frame=self._position))

    async def set(self, commands: Sequence[Set], replies: Sequence[Reply]) -> None:
        """Several changes of settings as one switch."""
        programme = self.programme
        wanted = programme.settings
        for command in commands:
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
                await self._work(programme.current, self._cutter.rewind, self.epoch, target)
            await self._work(programme.current, programme.switch, SWITCH_FRAMES, wanted)
            self._report_switch()
        part = programme.current
        at = part.start + part.newest.at
        for reply in replies:
            reply.ok(Ok(self._number, self.epoch, part.newest.generation, at))

    async def learn(self) -> None:
        """Take what the search found; what sounds goes over to its own plan."""
        part, found, progress = self.inquiry.take()
        programme = self.programme
        self.line.outbox.say(progress)
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
            return self.programme.current
        return self.programme.at(min(played, max(0, self._position - 1)))

    def _stamp(self) -> int | None:
        """The frame to switch at when that means taking audio back that was already sent."""
        played = self._pacer.played(time.monotonic())
        if played is None:
            return None
        target = played + round((SWITCH_MARGIN_S + self.line.round_trip()) * self._rate)
        target = max(target, self._epochs.start, self.programme.earliest)
        return target if target + CHUNK <= self._position else None

    def _begin_epoch(self, frame: int, keep_until: int | None) -> None:
        self._epochs.begin(self.line.next_epoch(), frame)
        self._position = frame
        self.completed = False
        self._studio.hungry(self._number)
        self.line.outbox.say(Clear(self._number, self.epoch, keep_until))

    def _restart_clock(self) -> None:
        self._epochs.jumped(self._position)
        self._pacer.restart(self._position, time.monotonic())

    def drop_audio(self) -> None:
        """Take back what waits to be written."""
        for chunk in self.line.outbox.drop_audio():
            self._delivered -= binary.unpack_frame(chunk)[0].frames

    def _report_part(self) -> None:
        self.line.outbox.say(reports.track_start(self._number, self.programme.current, self._position))
        self._report_switch()

    def _report_switch(self) -> None:
        programme = self.programme
        part, settings = programme.current, programme.settings
        event = reports.params(self._number, self.epoch, part, settings, programme.position)
        self.line.outbox.say(event)

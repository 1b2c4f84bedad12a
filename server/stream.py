"""The asynchronous half of a stream: one task that sends as credit, time and the socket allow.

The task has a single place where it waits, so a command, credit, room in the outbox and the passage
of time are all the same event: look again. Samples are cutter.py's, arithmetic of time is
pacing.py's, and which stream a session plays is session.py's.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from auralis_core import AuralisError, DatasetError, MasteringPlan, Renderer

from . import binary, protocol
from .cutter import CHUNK, Cutter, Settings, Treatment, choose
from .outbox import Outbox, Reply
from .pacing import Pacer
from .protocol import (
    Applied,
    AudioStreamEnd,
    AudioStreamStart,
    Chunk,
    Clear,
    Credit,
    Decision,
    Error,
    FingerprintProgress,
    Ok,
    Params,
    Play,
    PlayNormal,
    ProtocolError,
    Seek,
    Set,
    Tone,
    TrackStart,
)
from .sources import Found
from .studio import Studio
from .threads import in_thread

log = logging.getLogger(__name__)

SWITCH_FRAMES = 2048
MORPH_S = 3.0
SWITCH_MARGIN_S = 0.15  # a switch is stamped this far, and one round trip, ahead of the listener
RECORD_S = 0.1


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed with the client before a stream starts."""

    format: str = "f32le"
    lead_ms: float = protocol.Hello().lead_ms
    buffer_ms: float = protocol.Hello().max_buffer_ms


class Stream:
    """One play of one track, from its request to its end.

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
        self.over = False
        self._studio = studio
        self._outbox = outbox
        self._request = request
        self._terms = terms
        self._round_trip = round_trip
        self._next_epoch = next_epoch
        self._on_air = on_air
        self._settings = Settings(request.preset, request.intensity, isinstance(request, PlayNormal))

        self._wake = asyncio.Event()
        self._owed = [reply]
        self._seek: tuple[Seek, Reply] | None = None
        self._sets: list[tuple[Set, Reply]] = []
        self._noted: list[Reply] = []
        self._paused = False
        self._started = False
        self._completed = False
        self._search: asyncio.Task[Found | None] | None = None
        self._found: Found | None = None
        self._searched = False
        self._search_began = 0.0
        self._cutter: Cutter | None = None
        self._position = self._epoch = self._epoch_start = 0
        self._jump_epoch = self._jump_frame = 0
        self._switched_at = 0
        self._delivered = 0
        self._recorded_at = -math.inf

    # Commands: take note, wake the task; it answers when the thing is done.

    def wake(self) -> None:
        """Look again at what may be done."""
        self._wake.set()

    def seek(self, command: Seek, reply: Reply) -> None:
        """Go elsewhere; a seek not yet begun is replaced."""
        if self._seek is not None:
            self._seek[1].ok(Ok(superseded=True))
        self._seek = (command, reply)
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

    # The task.

    async def run(self) -> None:
        """Open, play, and give everything back; cancel it to end it at any time."""
        self._studio.streams += 1
        self._studio.hungry(self)
        try:
            await in_thread(self._studio.pool, self._open)
            self._on_air(self)
            await self._play(self._start())
        except ProtocolError as e:
            self.end("error", Error(e.code, e.message))
        except DatasetError as e:
            log.error("stream %d cannot start: %s", self.number, e)
            self.end("error", Error("internal", protocol.ERRORS["internal"]))
        except AuralisError as e:
            log.error("stream %d stopped: %s", self.number, e)
            self.end("error", Error("unreadable", protocol.ERRORS["unreadable"]))
        finally:
            self._studio.streams -= 1
            self._studio.sated(self)
            if self._search is not None:
                self._search.cancel()
            if self._cutter is not None:
                self._cutter.close()

    def _open(self) -> None:
        """Everything that touches a disk before the first sound, in one visit to a worker thread."""
        self._track, self._path = self._studio.track(self._request.track_id)
        self._found = self._studio.sources.find(self._track, self._path)
        treatment = self._treatment()
        renderer = Renderer(self._path, treatment.plan)
        # Known to `run` before anything below can fail, so that it is closed whatever happens.
        cutter = self._cutter = Cutter(renderer, self.number, binary.FORMATS[self._terms.format], treatment)
        self._rate, self._frames = renderer.sample_rate, renderer.frames
        self._began = self._frame_at(self._request.start_seconds)
        if self._began:
            cutter.seek(0, self._began)

    def _start(self) -> Cutter:
        cutter, track = self._cutter, self._track
        assert cutter is not None
        self._position = cutter.position
        self._epoch = cutter.epoch = self._next_epoch()
        self._pacer = Pacer(self._rate, self._terms.lead_ms, self._terms.buffer_ms)
        self._restart_clock()
        self._started = True
        self._owed.pop(0).ok(Ok(stream=self.number, epoch=self._epoch))
        self._outbox.say(
            AudioStreamStart(
                stream=self.number,
                epoch=self._epoch,
                sample_rate=self._rate,
                channels=cutter.renderer.channels,
                format=self._terms.format,
                total_frames=self._frames,
            )
        )
        self._outbox.say(
            TrackStart(
                stream=self.number,
                at_frame=0,
                track_id=track.id,
                track_frame=0,
                title=track.title,
                artist=track.artist,
                album=track.album,
                duration=self._frames / self._rate,
                fingerprint="cached" if self._found else "pending",
            )
        )
        self._report_switch(cutter, 0)
        return cutter

    async def _play(self, cutter: Cutter) -> None:
        while True:
            self._wake.clear()
            while self._noted:
                self._noted.pop(0).ok()
            if self._seek is not None:
                (command, reply), self._seek = self._seek, None
                await self._jump(cutter, command, reply)
            elif self._sets:
                sets, self._sets = self._sets, []
                await self._apply(cutter, sets)
            elif self._search is not None and self._search.done():
                search, self._search = self._search, None
                await self._morph(cutter, search.result())
            elif self._position >= self._frames:
                self._complete()
                await self._rest()
            elif self._paused or not self._outbox.has_room:
                await self._rest()
            else:
                await self._send(cutter)

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
        chunks = await in_thread(self._studio.pool, cutter.cut, allowed)
        for chunk in chunks:
            self._outbox.audio(chunk)
        self._delivered += cutter.position - self._position
        self._position = cutter.position
        self._report_chunk(cutter, now)
        if self._found is None and self._search is None and not self._searched:
            self._searched = True
            self._search_began = now
            self._report_search("computing", None)
            self._search = asyncio.create_task(self._studio.sources.get(self._track, self._path))
            self._search.add_done_callback(lambda _: self._wake.set())

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

    async def _jump(self, cutter: Cutter, command: Seek, reply: Reply) -> None:
        try:
            frame = self._frame_at(command.seconds)
        except ProtocolError as e:
            reply.error(e.code, e.message)
            return
        if self._started:  # otherwise what waits there is the audio of the stream before
            self._drop_audio()
        self._begin_epoch(frame, keep_until=None)
        await in_thread(self._studio.pool, cutter.seek, self._epoch, frame)
        self._restart_clock()
        reply.ok(Ok(stream=self.number, epoch=self._epoch, at_frame=frame))

    async def _apply(self, cutter: Cutter, sets: list[tuple[Set, Reply]]) -> None:
        wanted = self._settings
        for command, _ in sets:
            wanted = Settings(
                wanted.preset if command.preset is None else command.preset,
                wanted.intensity if command.intensity is None else command.intensity,
                wanted.bypass if command.bypass is None else command.bypass,
            )
        if wanted != self._settings:
            self._settings = wanted
            target = self._stamp()
            if target is not None:
                self._delivered -= self._position - target
                self._begin_epoch(target, keep_until=target)
                await in_thread(self._studio.pool, cutter.rewind, self._epoch, target)
            await self._switch(cutter, SWITCH_FRAMES)
        for _, reply in sets:
            reply.ok(
                Ok(
                    stream=self.number,
                    epoch=self._epoch,
                    generation=cutter.generation,
                    at_frame=self._switched_at,
                )
            )

    async def _morph(self, cutter: Cutter, found: Found | None) -> None:
        self._found = found
        self._report_search("failed" if found is None else "ready", found)
        if found is not None and not self._settings.bypass:
            await self._switch(cutter, round(MORPH_S * self._rate))

    async def _switch(self, cutter: Cutter, crossfade: int) -> None:
        def work() -> None:
            cutter.switch(self._treatment(), crossfade)

        await in_thread(self._studio.pool, work)
        self._report_switch(cutter, crossfade)

    def _stamp(self) -> int | None:
        """The frame to switch at when that means taking audio back that was already sent."""
        played = self._pacer.played(time.monotonic())
        if played is None:
            return None
        target = played + round((SWITCH_MARGIN_S + self._round_trip()) * self._rate)
        target = max(target, self._epoch_start)
        return target if target + CHUNK <= self._position else None

    def _begin_epoch(self, frame: int, keep_until: int | None) -> None:
        self._epoch = self._next_epoch()
        self._epoch_start = self._position = frame
        self._completed = False
        self._studio.hungry(self)
        self._outbox.say(Clear(self.number, self._epoch, keep_until))

    def _restart_clock(self) -> None:
        now = time.monotonic()
        self._epoch_start = self._jump_frame = self._position
        self._jump_epoch = self._epoch
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

    def _treatment(self) -> Treatment:
        return choose(self._settings, None if self._found is None else self._found.fingerprint)

    def _frame_at(self, seconds: float) -> int:
        frame = round(seconds * self._rate)
        if frame >= self._frames:
            raise ProtocolError("out_of_range", f"the track is {self._frames / self._rate:.3f} s long")
        return frame

    def _owe(self, reply: Reply) -> None:
        self._owed = [r for r in self._owed if not r.given]
        self._owed.append(reply)
        self._wake.set()

    # Reports.

    def _report_switch(self, cutter: Cutter, crossfade: int) -> None:
        treatment = cutter.treatment
        self._switched_at = cutter.position
        self._outbox.say(
            Params(
                stream=self.number,
                epoch=self._epoch,
                generation=cutter.generation,
                at_frame=self._switched_at,
                crossfade_frames=crossfade,
                preset=self._settings.preset,
                intensity=self._settings.intensity,
                bypass=self._settings.bypass,
                standard=bool(treatment.flags & binary.STANDARD_PLAN),
                decision=decision_of(treatment.plan),
                applied=applied_by(treatment.plan),
                notes=list(treatment.plan.notes),
            )
        )

    def _report_search(self, status: str, found: Found | None) -> None:
        self._outbox.say(
            FingerprintProgress(
                track_id=self._track.id,
                status=status,
                source=None if found is None else found.source,
                elapsed_ms=1000 * (time.monotonic() - self._search_began),
            )
        )

    def _report_chunk(self, cutter: Cutter, now: float) -> None:
        if now - self._recorded_at < RECORD_S:
            return
        self._recorded_at = now
        record = cutter.renderer.record
        self._outbox.say(
            Chunk(
                stream=self.number,
                at_frame=self._position,
                generation=cutter.generation,
                region=record.region,
                expansion=_finite(record.expansion),
                gain_db=_finite(record.gain_db),
                lufs_in=_finite(record.lufs_in),
                crest_in=_finite(record.crest_in),
                lufs_out=_finite(record.lufs_out),
                crest_out=_finite(record.crest_out),
                gain_reduction_db=_finite(record.gain_reduction_db),
            )
        )


def _finite(value: float) -> float | None:
    """A number JSON can carry; silence has no level."""
    return float(value) if math.isfinite(value) else None


def applied_by(plan: MasteringPlan) -> Applied:
    """What a plan does, as the client is told."""
    # A NumPy scalar among them is no JSON number.
    eq = [Tone(band.kind, band.f0_hz, band.q, float(band.gain_db)) for band in plan.eq]
    peaks_db = 20.0 * math.log10(1.0 + plan.depth)
    return Applied(plan.gain_db, peaks_db, plan.fill, eq, plan.level_target, plan.ceiling)


def decision_of(plan: MasteringPlan) -> Decision | None:
    """The LWRP part of a plan, as the client is told."""
    d = plan.decision
    if d is None or plan.lufs is None or plan.crest_db is None:
        return None
    return Decision(str(d.region), d.expansion, d.gain_db, plan.lufs, plan.crest_db)

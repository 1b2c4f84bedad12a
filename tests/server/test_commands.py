"""Any commands in any order over a real socket: every sample received is what the Renderer makes offline.

An auditor follows the events as a client must: which track lies where, which plan holds from which
frame, what a `clear` voids. For every binary frame it renders the same stretch by itself and compares
bits. ``AURALIS_EXAMPLES=500`` runs it for longer.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from auralis_server.app import running
from auralis_server.client import Client, RequestError
from auralis_server.commands import (
    Credit,
    Hello,
    Next,
    Pause,
    PlayEnhanced,
    PlayNormal,
    Queue,
    Resume,
    Resuming,
    Seek,
    Set,
)
from auralis_server.events import (
    AudioStreamEnd,
    AudioStreamStart,
    Clear,
    Error,
    Event,
    Ok,
    Params,
    TrackStart,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from serving import RATE, Library, limited, music

import auralis_core as ac
from auralis_core.audio import AudioReader
from auralis_core.crossfade import correlation
from auralis_core.dataset import Track
from auralis_core.fit import Fitted

EXAMPLES = int(os.environ.get("AURALIS_EXAMPLES", "20"))
PRESETS = ["adaptive", "warm", "bright", "punchy"]
RISE = round(0.010 * RATE)
LISTENED = 2 * RATE
MOST = 4096  # frames of one binary frame


class Shelf:
    """The tracks, by id, in three shapes; all measured, so that nothing is left to a leveller."""

    def __init__(self, library: Library) -> None:
        self.library = library
        lengths = (0.9, 1.7, 2.6, 3.3)
        tracks = [library.add(f"{i}.flac", music(s, i)) for i, s in enumerate(lengths)]
        tracks.append(library.add("mono.flac", music(1.9, 7, 48000, 1), 48000))
        self.tracks = {t.id: t for t in tracks}
        self.fps = {t.id: library.measure(t) for t in tracks}

    def renderer(self, track: Track, plan: ac.MasteringPlan) -> ac.Renderer:
        reader = AudioReader(track.path)
        fits = (reader.sample_rate, reader.channels) == (RATE, 2)
        return ac.Renderer(reader if fits else Fitted(reader, RATE, 2), plan)

    def dry(self, track: Track, first: int, frames: int) -> np.ndarray:
        r = self.renderer(track, ac.bypass_plan())
        r.seek(first)
        return r.read(frames)


@dataclass
class Voice:
    """One track as it has been announced: where it lies, where it was entered, what changed when."""

    track: Track
    start: int
    entered: int
    changes: list[tuple[int, int, ac.MasteringPlan, int]] = field(default_factory=list)  # at, generation, …
    renderer: ac.Renderer | None = None
    ceiling: float = 0.0  # of the crossfade it begins with
    seam: tuple[object, np.ndarray] | None = None  # that crossfade, and what it was made by

    @property
    def generation(self) -> int:
        return self.changes[-1][1]


class Auditor:
    """Follows one client's events and audits its audio."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.stream = self.epoch = -1
        self.start: AudioStreamStart | None = None
        self.voices: list[Voice] = []
        self.next: int | None = None  # the frame that must come next; None right after a jump
        self.jumped = self.opening = False
        self.risen_from: int | None = None
        self.ended = False
        self.audited = 0
        self.errors: list[Error] = []

    def take(self, item: Any) -> None:
        match item:
            case AudioStreamStart():
                self.start, self.stream, self.epoch = item, item.stream, item.epoch
                assert (item.sample_rate, item.channels) in ((RATE, 2), (48000, 1))
                self.voices, self.next, self.jumped, self.ended = [], None, True, False
                self.opening = True
                self.risen_from = None
            case Error():
                self.errors.append(item)
            case AudioStreamEnd() if item.stream == self.stream:
                self.ended = True
            case Clear() if item.stream == self.stream:
                assert item.epoch > self.epoch
                self.epoch, self.ended = item.epoch, False
                if item.keep_until is None:
                    self.jumped, self.next = True, None
                else:
                    self.next = item.keep_until
                    self.back(item.keep_until)
            case TrackStart() if item.stream == self.stream:
                self.track(item)
            case Params() if item.stream == self.stream:
                self.params(item)
            case (frame, samples) if frame.stream == self.stream and frame.epoch == self.epoch:
                self.audio(frame, samples)
            case tuple():
                assert item[0].epoch < self.epoch or item[0].stream != self.stream

    def track(self, event: TrackStart) -> None:
        start = event.at_frame - event.track_frame
        known = self.voices and (self.voices[-1].start, self.voices[-1].track.id) == (start, event.track_id)
        if self.jumped:
            self.voices = []
            # A play from the middle is announced at frame 0 of the track; its first audio says where.
            self.next = None if self.opening else event.at_frame
            self.opening = False
            self.jumped = False
            self.risen_from = event.at_frame if event.track_frame else None
        elif known:
            return
        else:
            assert event.at_frame == self.next
        track = self.shelf.tracks[event.track_id]
        self.voices.append(Voice(track, start, event.track_frame))

    def params(self, event: Params) -> None:
        voice = self.voices[-1]
        if any(generation == event.generation for _, generation, _, _ in voice.changes):
            return
        plan = ac.bypass_plan()
        if not event.bypass:
            plan = ac.plan(self.shelf.fps[voice.track.id], event.preset, event.intensity)
        at = event.at_frame - voice.start
        if not voice.changes:
            voice.changes.append((voice.entered, event.generation, plan, 0))
            former = self.former(voice)
            if former is not None:
                voice.ceiling = max(plan.ceiling or 0.0, former.changes[-1][2].ceiling or 0.0)
            return
        if self.next is None:
            self.seek(event.at_frame)
            self.next, voice = event.at_frame, self.voices[-1]
            at = event.at_frame - voice.start
        assert event.at_frame == self.next
        voice.changes.append((at, event.generation, plan, event.crossfade_frames))
        self.apply(voice)
        before = self.before(voice, event.at_frame)
        if before is not None:
            other = ac.bypass_plan()
            if not event.bypass:
                other = ac.plan(self.shelf.fps[before.track.id], event.preset, event.intensity)
            here = event.at_frame - before.start
            before.changes.append((here, event.generation, other, event.crossfade_frames))
            self.apply(before)

    def apply(self, voice: Voice) -> None:
        at, _, plan, crossfade = voice.changes[-1]
        if voice.renderer is not None:
            assert voice.renderer.position == at
            voice.renderer.set_plan(plan, crossfade=crossfade)

    def back(self, frame: int) -> None:
        """What was announced after `frame` is void; the rest sounds again as it did."""
        self.voices = [v for v in self.voices if v.start + v.entered <= frame]
        for voice in self.voices:
            voice.changes = [c for c in voice.changes if c[0] <= frame - voice.start or c is voice.changes[0]]
            if voice.renderer is not None:
                voice.renderer = None

    def seek(self, position: int) -> None:
        """A jump within the track that was announced last."""
        voice = self.voices[-1]
        _, generation, plan, _ = voice.changes[-1]
        self.voices = [Voice(voice.track, voice.start, position - voice.start, [])]
        self.voices[0].changes.append((position - voice.start, generation, plan, 0))
        self.jumped = False
        self.risen_from = position if position > voice.start else None

    def former(self, voice: Voice) -> Voice | None:
        """The voice before this one."""
        i = self.voices.index(voice)
        return self.voices[i - 1] if i else None

    def before(self, voice: Voice, position: int) -> Voice | None:
        """The voice that still sounds beside this one."""
        former = self.former(voice)
        if former is None or position >= former.start + self.frames(former):
            return None
        return former

    def frames(self, voice: Voice) -> int:
        if self.shape != (RATE, 2):
            return voice.track.frames
        return -(-voice.track.frames * RATE // voice.track.sample_rate)

    @property
    def shape(self) -> tuple[int, int]:
        assert self.start is not None
        return self.start.sample_rate, self.start.channels

    def render(self, voice: Voice, position: int, frames: int) -> np.ndarray:
        at = position - voice.start
        if voice.renderer is None:
            entered, _, plan, _ = voice.changes[0]
            r = voice.renderer = self.shelf.renderer(voice.track, plan)
            if entered:
                r.seek(entered)
            for change_at, _, plan, crossfade in voice.changes[1:]:
                r.read(change_at - r.position)
                r.set_plan(plan, crossfade=crossfade)
            r.read(at - r.position)
        assert voice.renderer.position == at
        return voice.renderer.read(frames)

    def whole(self, voice: Voice, frames: int) -> np.ndarray:
        """A voice from where it was entered, with all its changes."""
        first, _, plan, _ = voice.changes[0]
        r, pieces = self.shelf.renderer(voice.track, plan), []
        r.seek(first)
        for at, _, later, crossfade in voice.changes[1:]:
            pieces.append(r.read(at - r.position))
            r.set_plan(later, crossfade=crossfade)
        pieces.append(r.read(max(0, first + frames - r.position)))
        return np.concatenate(pieces, axis=1)

    def seam(self, voice: Voice) -> np.ndarray | None:
        """The crossfade a voice began with, from where it was entered, and `MOST` frames more."""
        former = self.former(voice)
        if former is None:
            return None
        fade = former.start + self.frames(former) - voice.start
        if voice.entered >= fade:
            return None
        voice.renderer = former.renderer = None  # to be made anew behind it
        made_by = (tuple(voice.changes), tuple(former.changes))
        if voice.seam is None or voice.seam[0] != made_by:
            rate, start = self.shape[0], voice.entered
            tail = min(round(0.25 * rate), self.frames(voice) - fade)
            y = self.whole(voice, fade + tail - start + 3 * MOST)
            skipped = voice.start + start - former.start - former.entered
            x = self.whole(former, skipped + fade - start)[:, skipped:][:, : fade - start]
            n = min(fade, LISTENED)
            middle = (fade - n) // 2
            r = correlation(
                self.shelf.dry(former.track, self.frames(former) - fade + middle, n),
                self.shelf.dry(voice.track, middle, n),
            )
            x = np.pad(x, ((0, 0), (0, y.shape[1] - x.shape[1])))
            mixed = ac.crossfade(x, y, "correlation", start, fade, r)
            end = fade + tail - start
            made = limited(mixed, fade, tail, voice.ceiling, start, rate)
            rest = np.pad(mixed[:, end:], ((0, 0), (0, MOST)))[:, :MOST]
            voice.seam = made_by, np.concatenate([made, rest], axis=1)
        return voice.seam[1]

    def audio(self, frame: Any, samples: np.ndarray) -> None:
        if self.jumped or (self.next is None and self.voices):
            self.seek(frame.position)
        assert self.next in (None, frame.position)
        self.next = frame.position + frame.frames
        voice = self.voices[-1]
        assert frame.generation == voice.generation
        at = frame.position - voice.start - voice.entered
        seam = self.seam(voice)
        if seam is not None and at < seam.shape[1] - MOST:
            expected = seam[:, at : at + frame.frames]
        else:
            expected = self.render(voice, frame.position, frame.frames)
        if self.risen_from is not None and frame.position - self.risen_from < RISE:
            silence = np.zeros_like(expected)
            expected = ac.crossfade(silence, expected, "equal_gain", frame.position - self.risen_from, RISE)
        np.testing.assert_array_equal(samples, expected)
        self.audited += frame.frames


unit = st.floats(0, 1)
steps = st.one_of(
    st.tuples(st.just("listen"), st.integers(1, 40)),
    st.tuples(st.just("play"), st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 0.0, 0.6])),
    st.tuples(st.just("queue"), st.lists(st.integers(0, 4), max_size=3), st.sampled_from([0, 0, 1, 1.3])),
    st.tuples(st.just("seek"), unit),
    st.tuples(st.just("set"), st.sampled_from(PRESETS), st.none() | unit, st.none() | st.booleans()),
    st.tuples(st.just("credit"), unit, unit),
    st.tuples(st.just("next")),
    st.tuples(st.just("pause")),
    st.tuples(st.just("resume")),
    st.tuples(st.just("drop")),
)
programmes = st.tuples(
    st.sampled_from([60.0, 600.0, 600_000.0]),
    st.lists(steps, min_size=3, max_size=14),
)


class Listener:
    """A client that obeys a list of steps and audits all it hears."""

    def __init__(self, shelf: Shelf, address: str, hello: Hello) -> None:
        self.shelf, self.address, self.hello = shelf, address, hello
        self.auditor = Auditor(shelf)
        self.ids = list(shelf.tracks)
        self.paused = False

    async def connect(self, resume: Resuming | None = None) -> Ok:
        self.line = AsyncExitStack()
        self.client = await self.line.enter_async_context(Client.connect(self.address))
        return await self.client.request(replace(self.hello, resume=resume))

    def take(self, items: list[Event | tuple[Any, Any]]) -> None:
        for item in items:
            self.auditor.take(item)

    async def ask(self, command: Any) -> Ok | None:
        """Obeyed, or refused for a reason there is."""
        refusal, answer = None, None
        try:
            answer = await self.client.request(command)
        except RequestError as e:
            refusal = e.code
        assert refusal in (None, "no_stream", "no_next", "out_of_range")
        self.take(self.client.received())
        return answer

    async def listen(self, frames: int) -> None:
        """Take what comes, until so many frames have, or for a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0.15):
                while frames > 0 and not self.auditor.ended:
                    item = await self.client.receive()
                    self.auditor.take(item)
                    frames -= isinstance(item, tuple)

    async def step(self, name: str, *args: Any) -> None:
        auditor = self.auditor
        match name, args:
            case "listen", (frames,):
                await self.listen(frames)
            case "play", (i, enhanced, start):
                self.paused = False
                play = PlayEnhanced if enhanced else PlayNormal
                await self.ask(play(track_id=self.ids[i], preset="warm", start_seconds=start))
            case "queue", (order, fade):
                ids = [self.ids[i] for i in order]
                await self.ask(Queue(track_ids=ids, crossfade_seconds=fade))
            case "seek", (where,):
                await self.ask(Seek(seconds=where * 2.6))
            case "set", (preset, intensity, bypass):
                await self.ask(Set(preset=preset, intensity=intensity, bypass=bypass))
            case "credit", (played, more) if auditor.next is not None and auditor.voices:
                first = auditor.voices[0].start + auditor.voices[0].entered
                at = first + int(played * max(0, auditor.next - first))
                await self.ask(Credit(upto=at + 4096 + int(more * 3 * RATE), played=at, epoch=auditor.epoch))
            case "drop", () if auditor.start is not None and auditor.next is not None:
                self.take(self.client.received())
                self.client.drop()
                await self.line.aclose()
                resume = Resuming(auditor.stream, auditor.epoch, auditor.next, auditor.start.token)
                await self.connect(resume)
                self.take(self.client.received())
            case ("next", ()):
                await self.ask(Next())
            case ("pause", ()):
                await self.ask(Pause())
                self.paused = True
            case ("resume", ()):
                await self.ask(Resume())
                self.paused = False

    async def finish(self) -> None:
        """Let what is left be sent, as far as it may."""
        await self.ask(Resume())
        await self.ask(Credit(upto=10**9))
        await self.listen(300)
        await self.line.aclose()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder: Path = tmp_path_factory.mktemp("music")
    return Shelf(Library(folder, tmp_path_factory.mktemp("db") / "auralis.db"))


async def perform(shelf: Shelf, lead_ms: float, plot: list[tuple[Any, ...]]) -> Auditor:
    hello = Hello(lead_ms=lead_ms, max_buffer_ms=max(200.0, lead_ms))
    async with asyncio.timeout(60), running(shelf.library.config()) as address:
        listener = Listener(shelf, address, hello)
        await listener.connect()
        await listener.step("play", 3, True, 0.0)
        for step in plot:
            await listener.step(*step)
        await listener.finish()
    assert listener.auditor.errors == []
    return listener.auditor


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="AURALIS_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(programmes)
def test_any_commands_give_exactly_the_samples_announced(
    shelf: Shelf, programme: tuple[float, list[tuple[Any, ...]]]
) -> None:
    auditor = asyncio.run(perform(shelf, *programme))
    assert auditor.audited > 0

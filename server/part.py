"""One track of a stream: an open Renderer, and what was done to the track at which of its frames.

Lives in worker threads, one call at a time. Where the track lies on the stream's timeline is
programme.py's; samples are the Renderer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auralis_core import (
    AudioReadError,
    AuralisError,
    ChunkRecord,
    Fingerprint,
    MasteringPlan,
    Renderer,
    RendererState,
    bypass_plan,
    plan,
    standard_plan,
)
from auralis_core.audio import AudioReader
from auralis_core.dataset import Track
from auralis_core.fit import Fitted
from auralis_core.render import Source

from . import binary

MARK_S = 1.0  # between two saved states, as long as there are few
MOST_MARKS = 12  # of 18 kB each; then every other one is given up

Samples = NDArray[np.float32]
NOTHING: Samples = np.zeros((1, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the listener asked for."""

    preset: str
    intensity: float
    bypass: bool


@dataclass(frozen=True, slots=True)
class Treatment:
    """A plan and the header flags of audio that was made by it."""

    plan: MasteringPlan
    flags: int


def choose(settings: Settings, fp: Fingerprint | None) -> Treatment:
    """What these settings mean for a track with, or still without, a fingerprint."""
    if settings.bypass:
        return Treatment(bypass_plan(), binary.BYPASS)
    if fp is None:
        return Treatment(standard_plan(settings.preset, settings.intensity), binary.STANDARD_PLAN)
    return Treatment(plan(fp, preset=settings.preset, intensity=settings.intensity), 0)


@dataclass(frozen=True, slots=True)
class Switch:
    """From the track's frame `at` on it is of this generation, after a fade of `crossfade` frames."""

    at: int
    treatment: Treatment
    generation: int
    crossfade: int


class PartError(Exception):
    """A part cannot go on because of its file."""

    def __init__(self, part: Part, cause: AuralisError) -> None:
        super().__init__(f"track {part.track.id}: {cause}")
        self.part, self.cause = part, cause


class Part:
    """One track, open, and its place on the timeline.

    Parameters
    ----------
    track : Track
    path : Path
        Checked by the studio.
    fp : Fingerprint or None
    settings : Settings
    shape : (sample_rate, channels), optional
        Of the stream; by default those of the file.

    Attributes
    ----------
    start : int
        Stream frame of the track's frame 0.
    overlap : int
        The first frames of the track sound together with the end of the part before.
    correlation : float
        How alike the two are there.
    frames : int
        Of the track, at the rate of the stream.
    searched : bool
        Whether its fingerprint is here or has been asked for.
    """

    def __init__(
        self,
        track: Track,
        path: Path,
        fp: Fingerprint | None,
        settings: Settings,
        shape: tuple[int, int] | None = None,
    ) -> None:
        self.track, self.path, self.fp = track, path, fp
        self.start = self.overlap = 0
        self.correlation = 0.0
        self.searched = fp is not None
        self._shape = shape
        self._length: int | None = None  # of the file, at the rate of the stream
        self._history: list[Switch] = []
        self._marks: list[tuple[RendererState, int]] = []  # with the switches already in the state
        self._ahead = NOTHING  # rendered, and not yet read
        self._renderer: Renderer | None = None
        self._reader: AudioReader | None = None
        self.prepare(choose(settings, fp))
        renderer = self._rendering
        self.frames = self._length = renderer.frames
        self.sample_rate, self.channels = self._shape = renderer.sample_rate, renderer.channels

    @property
    def end(self) -> int:
        """Stream frame after the track's last."""
        return self.start + self.frames

    @property
    def position(self) -> int:
        """The track's next frame."""
        ahead: int = self._ahead.shape[1]
        return self._rendering.position - ahead

    @property
    def is_open(self) -> bool:
        """Whether the file is held open."""
        return self._renderer is not None

    @property
    def newest(self) -> Switch:
        """What is in force or being faded in."""
        return self._history[-1]

    @property
    def record(self) -> ChunkRecord:
        """Measurements of what was rendered last."""
        return self._rendering.record

    @property
    def earliest(self) -> int:
        """The first stream frame that `rewind` reaches."""
        return self.start + (self._marks[0][0].position if self._marks else self.position)

    def prepare(self, treatment: Treatment) -> None:
        """Open at frame 0 for `treatment`, primed; nothing is remembered of what was played before.

        Raises
        ------
        AudioReadError
            The file cannot be read, or is another than it was.
        """
        self.close()
        with ExitStack() as undo:
            undo.callback(self.close)
            self._reader = AudioReader(self.path)
            self._renderer = Renderer(self._fit(self._reader), treatment.plan)
            if self._length not in (None, self._renderer.frames):
                raise AudioReadError("the file was replaced by another", self.path)
            self._prepared: Treatment | None = treatment
            undo.pop_all()

    def enter(self, treatment: Treatment, generation: int, frame: int = 0) -> None:
        """Begin to sound at `frame`."""
        if not self.is_open or self._prepared != treatment:
            self.prepare(treatment)
        if frame:
            self._rendering.seek(frame)
        self._begin(Switch(frame, treatment, generation, 0))

    def seek(self, frame: int) -> None:
        """Go on at `frame` with the plan in force."""
        newest = self.newest
        self._rendering.seek(frame)
        self._begin(Switch(frame, newest.treatment, newest.generation, 0))

    def rewind(self, frame: int, since: int | None = None) -> Samples:
        """Go back to `frame`, sounding as it did then, bit for bit; what sounded from `since` up to it.

        Neither frame may lie before `earliest`.
        """
        frame, first = frame - self.start, (frame if since is None else since) - self.start
        while len(self._marks) > 1 and self._marks[-1][0].position > first:
            self._marks.pop()
        renderer, self._ahead = self._rendering, NOTHING
        state, done = self._marks[-1]
        renderer.restore(state)
        self._history[done:] = [s for s in self._history[done:] if s.at <= frame]
        passed: list[Samples] = []
        for switch in self._history[done:]:
            passed += self._pass(switch.at, first)
            renderer.set_plan(switch.treatment.plan, crossfade=switch.crossfade)
        passed += self._pass(frame, first)
        return np.concatenate([np.zeros((self.channels, 0), np.float32), *passed], axis=1)

    def switch(self, treatment: Treatment, generation: int, crossfade: int) -> None:
        """Play by another plan from the current frame on."""
        if self._ahead.shape[1]:  # by the plan before
            self.rewind(self.start + self.position)
        self._rendering.set_plan(treatment.plan, crossfade=crossfade)
        self._history.append(Switch(self.position, treatment, generation, crossfade))

    def read(self, frames: int) -> Samples:
        """Exactly the next `frames`.

        Raises
        ------
        AudioReadError
            The file ends before it promised to.
        """
        x = self.peek(frames)
        if x.shape[1] != frames:
            raise AudioReadError(f"{frames} frames expected, got {x.shape[1]}", self.path)
        rest = self._ahead[:, frames:]
        self._ahead = rest.copy() if rest.shape[1] else NOTHING
        return x

    def peek(self, frames: int) -> Samples:
        """The next `frames`, left to be read; fewer at the end of the track."""
        renderer, held = self._rendering, self._ahead.shape[1]
        self._prepared = None
        missing = min(frames, self.frames - self.position) - held
        if missing > 0:
            if renderer.position >= self._marks[-1][0].position + round(MARK_S * self.sample_rate):
                self._mark()
            x = renderer.read(missing)
            self._ahead = np.concatenate((self._ahead, x), axis=1) if held else x
        return np.ascontiguousarray(self._ahead[:, :frames])

    def excerpt(self, frame: int, frames: int) -> Samples:
        """Some of the track as it is in the file; the place of the part is untouched."""
        with AudioReader(self.path) as reader:
            source = self._fit(reader)
            source.seek(frame)
            blocks, missing = [], frames
            while missing and (x := source.read(missing)).shape[1]:
                blocks.append(x)
                missing -= x.shape[1]
        blocks.append(np.zeros((source.channels, missing), np.float32))
        return np.concatenate(blocks, axis=1)

    def close(self) -> None:
        """Let go of the file; `enter` opens it again."""
        if self._reader is not None:
            self._reader.close()
        self._reader = self._renderer = self._prepared = None
        self._ahead = NOTHING
        self._marks.clear()

    @property
    def _rendering(self) -> Renderer:
        if self._renderer is None:
            raise ValueError("the part is closed")
        return self._renderer

    def _fit(self, reader: AudioReader) -> Source:
        if self._shape in (None, (reader.sample_rate, reader.channels)):
            return reader
        assert self._shape is not None
        return Fitted(reader, *self._shape)

    def _begin(self, switch: Switch) -> None:
        self._prepared = None
        self._ahead = NOTHING
        self._history = [switch]
        self._marks.clear()
        self._mark()

    def _mark(self) -> None:
        if len(self._marks) >= MOST_MARKS:
            del self._marks[1::2]
        self._marks.append((self._rendering.save(), len(self._history)))

    def _pass(self, frame: int, first: int) -> Iterator[Samples]:
        """Play up to `frame`; what is from `first` on."""
        renderer = self._rendering
        while (at := renderer.position) < frame:
            end = frame if at >= first else min(first, frame)
            x = renderer.read(min(end - at, binary.MAX_CHUNK_FRAMES))
            if not x.shape[1]:
                raise AudioReadError("the file became shorter", self.path)
            if at >= first:
                yield x

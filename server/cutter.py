"""The synchronous half of a stream: an open Renderer whose output leaves as packed frames.

Lives in worker threads, one call at a time. When to cut and how much is stream.py's, what the bytes
of a header are is protocol.py's, what happens to samples is the Renderer's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auralis_core import (
    AudioReadError,
    Fingerprint,
    MasteringPlan,
    Renderer,
    bypass_plan,
    crossfade,
    plan,
    standard_plan,
)

from . import binary
from .binary import Frame

FIRST_CHUNKS, FIRST_CHUNK, CHUNK = 4, 512, 2048
BATCH_BYTES = 64 * 1024  # most audio made per visit to a worker thread
SEEK_FADE_S = 0.010


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
class _Switch:
    """From frame `at` on the stream is of this generation, after a fade of `crossfade` frames."""

    at: int
    treatment: Treatment
    generation: int
    crossfade: int


class Cutter:
    """An open Renderer and the position, epoch and generation of what it makes.

    Parameters
    ----------
    renderer : Renderer
        At frame 0 with `treatment`'s plan; closed by `close`.
    stream : int
    format : int
        A value of `binary.FORMATS`.
    treatment : Treatment
    """

    def __init__(self, renderer: Renderer, stream: int, format: int, treatment: Treatment) -> None:
        self.renderer = renderer
        self.generation = 0
        self._stream = stream
        self._format = format
        self._seq = 0
        self._history = [_Switch(0, treatment, 0, 0)]
        self._restart(0)

    @property
    def position(self) -> int:
        """Stream frame of the next sample."""
        return self.renderer.position

    @property
    def treatment(self) -> Treatment:
        """What is in force or being faded in."""
        return self._history[-1].treatment

    @property
    def least(self) -> int:
        """The position after the next chunk."""
        return min(self.position + self._next_frames, self.renderer.frames)

    @property
    def comfortable(self) -> int:
        """The position after as many chunks as are worth a visit to a worker thread."""
        frames = self._next_frames if self._cut < FIRST_CHUNKS else self._batch_frames
        return min(self.position + frames, self.renderer.frames)

    def seek(self, epoch: int, frame: int) -> None:
        """Begin an epoch at `frame` with the plan in force, faded in from silence."""
        self.renderer.seek(frame)
        self._restart(epoch)
        self._fade_in = round(SEEK_FADE_S * self.renderer.sample_rate) if frame else 0
        self._history = [_Switch(frame, self.treatment, self.generation, 0)]

    def rewind(self, epoch: int, frame: int) -> None:
        """Begin an epoch at `frame`, a frame already cut, sounding as it did then.

        What was in force at that frame may be older than the newest plan, or in the middle of a
        fade; both are brought back by playing the switches before it again, unheard.
        """
        past = [s for s in self._history if s.at <= frame]
        while len(past) > 1 and past[1].at + past[1].crossfade <= frame:
            del past[0]
        self.renderer.set_plan(past[0].treatment.plan, crossfade=0)
        self.renderer.seek(past[1].at if len(past) > 1 else frame)
        for i, switch in enumerate(past[1:], 2):
            self.renderer.set_plan(switch.treatment.plan, crossfade=switch.crossfade)
            self.renderer.read((past[i].at if i < len(past) else frame) - self.position)
        self._history = past
        self._restart(epoch)

    def switch(self, treatment: Treatment, frames: int) -> None:
        """Play by another plan from the current position on, faded over `frames`."""
        self.renderer.set_plan(treatment.plan, crossfade=frames)
        self.generation += 1
        self._history.append(_Switch(self.position, treatment, self.generation, frames))

    def cut(self, upto: int) -> list[bytes]:
        """The next chunks that end at or before `upto`: a batch at most, the first of an epoch alone."""
        chunks: list[bytes] = []
        end = min(upto, self.position + self._batch_frames)
        while self.position < self.least <= end:
            chunks.append(self._chunk(self.least - self.position))
            if self._cut == 1:
                break
        return chunks

    def close(self) -> None:
        """Close the file."""
        self.renderer.close()

    @property
    def _next_frames(self) -> int:
        return FIRST_CHUNK if self._cut < FIRST_CHUNKS else CHUNK

    @property
    def _batch_frames(self) -> int:
        return max(CHUNK, BATCH_BYTES // (4 * self.renderer.channels) // CHUNK * CHUNK)

    def _restart(self, epoch: int) -> None:
        self.epoch = epoch
        self._cut = 0  # chunks since the epoch began
        self._fade_in = self._faded = 0

    def _chunk(self, frames: int) -> bytes:
        position = self.position
        samples = self.renderer.read(frames)
        if samples.shape[1] != frames:
            raise AudioReadError(f"{frames} frames expected at {position}, got {samples.shape[1]}")
        if self._faded < self._fade_in:
            samples = crossfade(np.zeros_like(samples), samples, "equal_gain", self._faded, self._fade_in)
            self._faded += frames
        newest = self._history[-1]
        flags = newest.treatment.flags
        if not self._cut:
            flags |= binary.FIRST_OF_EPOCH
        if position + frames == self.renderer.frames:
            flags |= binary.LAST_OF_TRACK
        if position < newest.at + newest.crossfade:
            flags |= binary.PARAMETER_CROSSFADE
        frame = Frame(
            flags=flags,
            stream=self._stream,
            epoch=self.epoch,
            seq=self._seq,
            position=position,
            generation=newest.generation,
            frames=frames,
            format=self._format,
            channels=samples.shape[0],
        )
        self._cut += 1
        self._seq += 1
        return binary.pack_frame(frame, samples)

"""A stream's programme leaves here as packed frames: how long they are and what their headers say.

Lives in worker threads, one call at a time. When to cut and how much is stream.py's, what the bytes
of a header are is binary.py's, which samples lie where is programme.py's.
"""

from __future__ import annotations

import numpy as np

from auralis_core import crossfade

from . import binary
from .binary import Frame
from .part import Part, PartError
from .programme import Programme

FIRST_CHUNKS, FIRST_CHUNK, CHUNK = 4, 512, 2048
BATCH_BYTES = 64 * 1024  # most audio made per visit to a worker thread
SEEK_FADE_S = 0.010


class Cutter:
    """Cuts a programme into the frames of a stream's epochs.

    Parameters
    ----------
    programme : Programme
    stream : int
    format : int
        A value of `binary.FORMATS`.
    """

    def __init__(self, programme: Programme, stream: int, format: int) -> None:
        self.programme = programme
        self._stream = stream
        self._format = format
        self._seq = 0
        self._risen_from: int | None = None  # where the sound came out of silence last
        self._restart(0)

    @property
    def position(self) -> int:
        """Stream frame of the next sample."""
        return self.programme.position

    @property
    def least(self) -> int:
        """The position after the next chunk."""
        return min(self.position + self._next_frames, self.programme.boundary)

    @property
    def comfortable(self) -> int:
        """The position after as many chunks as are worth a visit to a worker thread."""
        frames = self._next_frames if self._cut < FIRST_CHUNKS else self._batch_frames
        return min(self.position + frames, self.programme.boundary)

    def jump(self, epoch: int, part: Part, frame: int) -> None:
        """Begin an epoch at a frame of a part, faded in from silence unless it is its first."""
        self._restart(epoch)
        self._risen_from = part.start + frame if frame else None
        self.programme.jump(part, frame)

    def rewind(self, epoch: int, frame: int) -> None:
        """Begin an epoch at a frame already cut, sounding as it did then."""
        self._restart(epoch)
        self.programme.rewind(frame)

    def cut(self, upto: int) -> list[bytes]:
        """The next chunks that end at or before `upto`: a batch at most, the first of an epoch alone."""
        chunks: list[bytes] = []
        end = min(upto, self.position + self._batch_frames)
        while self.position < self.least <= end:
            try:
                chunks.append(self._chunk(self.least - self.position))
            except PartError:
                if chunks:  # these are good; the next call meets the same error
                    break
                raise
            if self._cut == 1:
                break
        return chunks

    def close(self) -> None:
        """Close the files."""
        self.programme.close()

    @property
    def _next_frames(self) -> int:
        return FIRST_CHUNK if self._cut < FIRST_CHUNKS else CHUNK

    @property
    def _batch_frames(self) -> int:
        return max(CHUNK, BATCH_BYTES // (4 * self.programme.channels) // CHUNK * CHUNK)

    def _restart(self, epoch: int) -> None:
        self.epoch = epoch
        self._cut = 0  # chunks since the epoch began

    def _chunk(self, frames: int) -> bytes:
        programme, position = self.programme, self.position
        part, fading = programme.current, programme.is_fading
        samples = programme.read(frames)
        if self._risen_from is not None:
            risen, rise = position - self._risen_from, round(SEEK_FADE_S * programme.sample_rate)
            if risen < rise:
                samples = crossfade(np.zeros_like(samples), samples, "equal_gain", risen, rise)
        newest = part.newest
        flags = newest.treatment.flags
        if not self._cut:
            flags |= binary.FIRST_OF_EPOCH
        if position + frames in (part.end, part.start + part.overlap if fading else None):
            flags |= binary.LAST_OF_TRACK
        if fading:
            flags |= binary.TRACK_CROSSFADE
        if position - part.start < newest.at + newest.crossfade:
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

"""Renderer: a track and a plan → mastered samples, in any pieces, from anywhere, offline and live alike.

What lives here is position: where in the file the chain stands, how it is primed after a seek, and
the crossfade between two chains when the plan changes. The samples are touched in C only.

Time. The chain's latency is constant, so the reader runs that many frames ahead and the caller sees
none of it: `read` returns the mastered frames ``position … position + n`` and there are exactly as
many as the file has. What is fed past the end of the file is silence.

Priming. A chain that starts at frame p is first fed the `PRIME_S` seconds before p and its output
thrown away, so filters, envelopes and limiter are where straight play would have brought them. From
frame 0 the result is bit-identical to straight play; further on it is as close as the slowest
state (the 100 ms level of the fill) has settled. `seek` reads those frames from the file again,
`set_plan` takes them from a short memory of the dry signal.

The slow leveller of the standard plan keeps what it has learned about the track across seeks
and changes of plan.

Changing plans. The new chain runs beside the old one on the same samples and the two are mixed by
an equal-gain crossfade that begins at exactly the current position. A change during a fade fades
from the mixture.

State. `save` is everything the chains have heard, as a value; `restore` continues from it bit for bit, in
this Renderer or in another one over the same track. What the chains will be fed next, and what `set_plan`
primes from, is read from the source again.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from .audio import AudioReader
from .chain import Chain
from .crossfade import crossfade as mix
from .errors import StateError
from .plan import MasteringPlan

Samples = NDArray[np.float32]

#: Seconds of the track a new chain hears before its first audible frame.
PRIME_S = 0.5
#: Chains start at multiples of this many frames, the coarsest grid any stage counts on.
GRID = 64


class Source(Protocol):
    """What a Renderer reads from: `audio.AudioReader`, or anything with its five members."""

    @property
    def frames(self) -> int: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    def read(self, frames: int, /) -> Samples: ...
    def seek(self, frame: int, /) -> None: ...


class ArraySource:
    """A float32 (channels, frames) array as a `Source`."""

    def __init__(self, x: Samples, sample_rate: int) -> None:
        if x.ndim != 2 or x.dtype != np.float32:
            raise ValueError(f"x must be float32 (channels, frames), got {x.dtype} {x.shape}")
        self._x = np.ascontiguousarray(x)
        self._at = 0
        self.channels, self.frames = x.shape
        self.sample_rate = sample_rate

    def read(self, frames: int, /) -> Samples:
        block = self._x[:, self._at : self._at + frames]
        self._at += block.shape[1]
        return np.ascontiguousarray(block)

    def seek(self, frame: int, /) -> None:
        self._at = min(max(frame, 0), self.frames)


class ChunkRecord(NamedTuple):
    """What was decided for a chunk, and what was measured in it.

    `region` is the track's LWRP region, or ``"standard"`` or ``"bypass"`` where there is no decision;
    `gain_db` is static gain and leveller together; loudness and crest are short-term (3 s) values;
    `gain_reduction_db` is the limiter's largest within the chunk.
    """

    region: str
    expansion: float
    gain_db: float
    lufs_in: float
    crest_in: float
    lufs_out: float
    crest_out: float
    gain_reduction_db: float


@dataclass(frozen=True, slots=True)
class RendererState:
    """Where a `Renderer` stood and what its chains had heard. A value: it can be kept, copied and pickled.

    `voices` are the chains sounding at `position`: plan, first frame and length of the fade that brings
    it in, and saved state of each; the last is the plan in force.
    """

    frames: int
    sample_rate: int
    channels: int
    position: int
    voices: tuple[tuple[MasteringPlan, int, int, bytes], ...]

    @property
    def plan(self) -> MasteringPlan:
        """The plan in force, or being faded in."""
        return self.voices[-1][0]

    @property
    def nbytes(self) -> int:
        """Size of the saved chains."""
        return sum(len(saved) for _, _, _, saved in self.voices)


class _Voice:
    """One chain and the fade that brings it in: frames `start … start + length` of the track."""

    __slots__ = ("chain", "length", "plan", "start")

    def __init__(self, plan: MasteringPlan, chain: Chain, start: int, length: int) -> None:
        self.plan, self.chain, self.start, self.length = plan, chain, start, length


class Renderer:
    """Master one track.

    Parameters
    ----------
    source : path or Source
        A file, or an open `audio.AudioReader`. A path is opened here and closed by `close`; a
        reader stays its owner's.
    plan : MasteringPlan
        What to do from the first frame on.

    Notes
    -----
    One thread at a time. The same object serves file export and live stream: however the track is
    cut into reads, the samples are the same bits.
    """

    #: Delay between source and output as the caller sees it: always compensated.
    latency = 0

    def __init__(self, source: str | PathLike[str] | Source, plan: MasteringPlan) -> None:
        self._owned: AudioReader | None = None
        self._source: Source
        if isinstance(source, (str, PathLike)):
            self._source = self._owned = AudioReader(source)
        else:
            self._source = source
        self.frames, self.sample_rate = self._source.frames, self._source.sample_rate
        self.channels = self._source.channels
        self._voices: list[_Voice] = []
        with ExitStack() as undo:
            undo.callback(self.close)
            self._start(0, plan)
            undo.pop_all()

    @property
    def position(self) -> int:
        """Frame of the track that the next `read` begins with."""
        return self._position

    @property
    def plan(self) -> MasteringPlan:
        """The plan in force, or being faded in."""
        return self._voices[-1].plan

    @property
    def record(self) -> ChunkRecord:
        """Decision and measurements of the last `read`, of the plan in force or being faded in."""
        plan, m = self.plan, self._voices[-1].chain.measured
        decision = plan.decision
        return ChunkRecord(
            plan.region,
            0.0 if decision is None else decision.expansion,
            m.gain_db,
            m.lufs_in,
            m.crest_in,
            m.lufs_out,
            m.crest_out,
            m.gain_reduction_db,
        )

    def read(self, frames: int) -> Samples:
        """Return the next mastered frames.

        Parameters
        ----------
        frames : int
            How many; fewer come back only at the end of the track, and 0 after it.

        Returns
        -------
        float32 array (channels, n)
        """
        if frames < 0:
            raise ValueError(f"frames must not be negative, got {frames}")
        n = min(frames, self.frames - self._position)
        dry = self._feed(n)
        voices = self._voices
        y = voices[0].chain.process(dry)
        for voice in voices[1:]:
            y = mix(y, voice.chain.process(dry), "equal_gain", self._position - voice.start, voice.length)
        self._position += n
        arrived = [i for i, v in enumerate(voices) if v.start + v.length <= self._position]
        if arrived:
            del voices[: arrived[-1]]
        return y

    def seek(self, frame: int) -> None:
        """Continue at `frame`, with the plan in force and everything primed; fades in progress end.

        Raises
        ------
        ValueError
            `frame` is outside 0 … `frames`.
        """
        if not 0 <= frame <= self.frames:
            raise ValueError(f"frame must be 0…{self.frames}, got {frame}")
        self._start(frame, self.plan)

    def set_plan(self, plan: MasteringPlan, crossfade: int = 2048) -> None:
        """Switch to `plan` at the current position, through an equal-gain fade of `crossfade` frames.

        Two changes at one position are one change to the later plan.
        """
        if crossfade < 0:
            raise ValueError(f"crossfade must not be negative, got {crossfade}")
        if len(self._voices) > 1 and self._voices[-1].start == self._position:
            self._voices.pop()
        if plan == self.plan:
            return
        chain = Chain(plan, self.sample_rate, self.channels)
        chain.process(self._recent())
        chain.inherit(self._voices[-1].chain, same_place=True)
        voice = _Voice(plan, chain, self._position, crossfade)
        self._voices = [*self._voices, voice] if crossfade else [voice]

    def save(self) -> RendererState:
        """Everything needed to `restore` this position: some 20 µs and 18 kB for each sounding chain."""
        voices = tuple((v.plan, v.start, v.length, v.chain.save()) for v in self._voices)
        return RendererState(self.frames, self.sample_rate, self.channels, self._position, voices)

    def restore(self, state: RendererState) -> None:
        """Continue from a saved state as uninterrupted play would have, bit for bit.

        Raises
        ------
        StateError
            `state` is of another track, or damaged; nothing has changed.
        AudioReadError
            The source cannot be read there.
        """
        shape = (self.frames, self.sample_rate, self.channels)
        if (state.frames, state.sample_rate, state.channels) != shape:
            raise StateError("the state is of another track")
        if not 0 <= state.position <= self.frames or not state.voices:
            raise StateError("the state is damaged")
        voices = []
        for plan, start, length, saved in state.voices:
            chain = Chain(plan, self.sample_rate, self.channels)
            chain.restore(saved)
            voices.append(_Voice(plan, chain, start, length))
        self._wind(state.position)
        self._feed(state.position + chain.latency - self._fed)
        self._voices, self._position = voices, state.position

    def close(self) -> None:
        """Close the file, if this Renderer opened it."""
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, frame: int, plan: MasteringPlan) -> None:
        """A fresh chain whose next output frame is `frame`."""
        chain = Chain(plan, self.sample_rate, self.channels)
        self._position = frame
        self._reach = round(PRIME_S * self.sample_rate) + chain.latency + GRID
        self._nothing: Samples = np.zeros((self.channels, 0), np.float32)
        former = self._voices[-1].chain if self._voices else None
        self._voices = [_Voice(plan, chain, frame, 0)]
        self._wind(frame)
        chain.process(self._feed(frame + chain.latency - self._fed))
        if former is not None:
            chain.inherit(former, same_place=False)

    def _primed_from(self, frame: int) -> int:
        """Where a chain begins to hear that is to be heard from `frame` on."""
        return max(0, frame - round(PRIME_S * self.sample_rate)) // GRID * GRID

    def _wind(self, frame: int) -> None:
        """The source to where a chain for `frame` begins to hear, with nothing remembered."""
        self._fed = self._primed_from(frame)
        self._memory: deque[Samples] = deque()
        self._held = 0
        self._source.seek(self._fed)

    def _feed(self, n: int) -> Samples:
        """The next n frames of the dry signal, silence after its end, remembered for `set_plan`."""
        blocks, missing = [], n
        while missing and (block := self._source.read(missing)).shape[1]:
            blocks.append(block)
            missing -= block.shape[1]
        if missing:
            blocks.append(np.zeros((self.channels, missing), np.float32))
        dry = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1) if blocks else self._nothing
        self._remember(dry)
        return dry

    def _remember(self, dry: Samples) -> None:
        n = dry.shape[1]
        self._fed += n
        self._memory.append(dry if n <= self._reach else dry[:, -self._reach :].copy())
        self._held += self._memory[-1].shape[1]
        while self._held - self._memory[0].shape[1] >= self._reach:
            self._held -= self._memory.popleft().shape[1]

    def _recent(self) -> Samples:
        """What a chain for the current position has to hear: the dry signal up to the last frame fed."""
        dry = np.concatenate(self._memory, axis=1)
        return np.ascontiguousarray(dry[:, self._primed_from(self._position) - (self._fed - self._held) :])


def render_array(x: Samples, sample_rate: int, plan: MasteringPlan) -> Samples:
    """Master a whole signal at once.

    Parameters
    ----------
    x : float32 array (channels, frames)
    sample_rate : int
        8000 to 192000 Hz.
    plan : MasteringPlan

    Returns
    -------
    float32 array (channels, frames)
        Same shape as `x`, aligned with it.
    """
    source = ArraySource(x, sample_rate)
    return Renderer(source, plan).read(source.frames)

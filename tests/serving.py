"""A library of synthesised files and a real server over it, on a free port of the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import soundfile
from auralis_server.app import running
from auralis_server.binary import Frame
from auralis_server.client import Client
from auralis_server.commands import Hello
from auralis_server.config import ServerConfig
from auralis_server.events import AudioStreamEnd, Event
from numpy.typing import NDArray

from auralis_core import Fingerprint, Limiter, crossfade, fingerprint
from auralis_core.audio import AudioReader
from auralis_core.dataset import Dataset, Track, TrackSource

RATE = 44100

#: Seconds after which what is waited for is taken never to come: a hang is a failure, not a wait. Far beyond
#: what a machine with other work needs.
HANG_S = 60

#: Everything at once: the tests are about samples, not about waiting for them.
EAGER = Hello(lead_ms=600_000, max_buffer_ms=600_000)


def music(seconds: float, seed: int = 0, rate: int = RATE, channels: int = 2) -> NDArray[np.float32]:
    """Something with a level, a beat and no two equal samples: (channels, frames)."""
    frames = round(seconds * rate)
    t = np.arange(frames) / rate
    rng = np.random.default_rng(seed)
    beat = np.exp(-8 * (t * 2 % 1))
    x = [
        0.2 * np.sin(2 * np.pi * (220 + 55 * c) * t) * beat + 0.05 * rng.standard_normal(frames) * beat
        for c in range(channels)
    ]
    # 16 bits, so that lossless files give back exactly these samples.
    return (np.round(np.array(x) * 32767) / 32768).astype(np.float32)


def limited(
    mixed: NDArray[np.float32], fade: int, tail: int, ceiling: float, start: int = 0, rate: int = RATE
) -> NDArray[np.float32]:
    """A crossfade as it sounds from its frame `start` on; `mixed` is the sum and what follows it."""
    limiter = Limiter(rate, mixed.shape[0], ceiling)
    end, late = fade + tail - start, limiter.latency
    padded = np.pad(mixed[:, : end + late], ((0, 0), (0, max(0, end + late - mixed.shape[1]))))
    y = np.ascontiguousarray(limiter.process(padded)[:, late:])
    raw, over = np.ascontiguousarray(mixed[:, :end]), max(0, fade - start)
    y = crossfade(raw, y, "equal_gain", start, round(0.010 * rate))
    a, b = np.ascontiguousarray(y[:, over:]), np.ascontiguousarray(raw[:, over:])
    y[:, over:] = crossfade(a, b, "equal_gain", max(0, start - fade), tail)
    return y


@dataclass
class Library:
    """A folder of music and its dataset."""

    folder: Path
    db: Path

    def write(self, name: str, x: NDArray[np.float32], rate: int = RATE) -> Path:
        """Write a 16-bit file."""
        path = self.folder / name
        soundfile.write(path, x.T, rate, subtype="PCM_16")
        return path

    def add(self, name: str, x: NDArray[np.float32], rate: int = RATE, album: str = "") -> Track:
        """Write a 16-bit file and index it."""
        return self.index(self.write(name, x, rate), album)

    def index(self, path: Path, album: str = "") -> Track:
        """Put a file into the dataset as a scan would."""
        with AudioReader(path) as reader:
            frames, rate, channels = reader.frames, reader.sample_rate, reader.channels
        stat = path.stat()
        source = TrackSource(
            *(str(path), path.stem, "", album, frames, rate, channels, stat.st_size, stat.st_mtime_ns)
        )
        with closing(Dataset(self.db)) as dataset:
            return dataset.put_track(source)

    def measure(self, track: Track) -> Fingerprint:
        """Store the track's fingerprint, so that it plays by its own plan from the start."""
        fp = fingerprint(track.path)
        with closing(Dataset(self.db)) as dataset:
            dataset.put_fingerprint(track.id, fp, "local")
        return fp

    def fingerprint(self, track: Track) -> Fingerprint:
        """What is stored."""
        with closing(Dataset(self.db)) as dataset:
            fp = dataset.fingerprint(track.id)
        assert fp is not None
        return fp

    def config(self, **changes: object) -> ServerConfig:
        """A server over this library on any free port."""
        settings = {"dirs": (self.folder,), "db": self.db, "port": 0, "scan": False, **changes}
        return ServerConfig(**settings)  # type: ignore[arg-type]


@asynccontextmanager
async def connected(
    library: Library, hello: Hello | None = EAGER, **changes: object
) -> AsyncIterator[Client]:
    """A server, and a client that has said hello."""
    async with (
        asyncio.timeout(HANG_S),
        running(library.config(**changes)) as address,
        Client.connect(address) as client,
    ):
        if hello is not None:
            await client.request(hello)
        yield client


@asynccontextmanager
async def served(library: Library, **changes: object) -> AsyncIterator[aiohttp.ClientSession]:
    """A server, and who asks it over HTTP."""
    async with (
        asyncio.timeout(HANG_S),
        running(library.config(**changes)) as address,
        aiohttp.ClientSession(address) as http,
    ):
        yield http


@dataclass
class Heard:
    """Everything of one stream, as it came."""

    events: list[Event]
    frames: list[tuple[Frame, NDArray[np.float32]]]

    @property
    def samples(self) -> NDArray[np.float32]:
        """The audio of all frames, one after the other."""
        return np.concatenate([x for _, x in self.frames], axis=1)

    def first(self, kind: type) -> object:
        return next(e for e in self.events if isinstance(e, kind))

    def all(self, kind: type) -> list:
        return [e for e in self.events if isinstance(e, kind)]


async def hear(client: Client, until: Callable[[object], bool] | None = None) -> Heard:
    """Receive up to the end of the stream, or up to the first item that `until` accepts."""
    heard = Heard([], [])
    async with asyncio.timeout(HANG_S):
        while True:
            item = await client.receive()
            if isinstance(item, tuple):
                heard.frames.append(item)
            else:
                heard.events.append(item)
            if isinstance(item, AudioStreamEnd) if until is None else until(item):
                return heard


def is_frame(item: object, epoch: int | None = None, start: int = 0) -> bool:
    """Whether `item` is audio of this epoch at or after frame `start`."""
    return (
        isinstance(item, tuple) and item[0].epoch in (epoch or item[0].epoch,) and item[0].position >= start
    )

"""A few listeners who cannot leave their players alone, for as long as wanted: does anything break or grow?

`auralis bench soak` prints what came of it. Every listener keeps the clock of a real player, reports what
it plays, and every second or so seeks, changes its settings, pauses, or plays something else.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .binary import Frame
from .client import Client
from .commands import Command, Credit, Pause, PlayEnhanced, PlayNormal, Resume, Seek, Set
from .events import AudioStreamEnd, AudioStreamStart, Clear, Error, Event
from .lag import LagProbe
from .load import CUSHION_S

PRESETS = ("adaptive", "gentle", "warm", "bright", "punchy")
REPORT_S = 0.25
BUFFER_S = 3.0
SAMPLE_S = 2.0
SETTLED = 0.2  # of the time, before memory is expected to stay what it is


@dataclass(frozen=True, slots=True)
class Soak:
    """What some minutes of it came to."""

    minutes: float
    streams: int
    commands: int
    underruns: int
    worst_late_ms: float
    errors: dict[str, int]
    audio_s: float
    rss_first_kb: int
    rss_last_kb: int
    rss_slope_kb_per_min: float
    loop_lag_p99_ms: float
    listeners_lag_p99_ms: float  # of their own process: what is late there may not have been sent late

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Fidget:
    """One listener: a clock that starts when enough has come, and must never wait for audio again."""

    def __init__(self, client: Client, tracks: list[int], seconds: float, seed: int) -> None:
        self._client = client
        self._tracks = tracks
        self._seconds = seconds
        self._rng = random.Random(seed)
        self._rate = 44100
        self._epoch = 0
        self._first: int | None = None  # where this stretch began
        self._zero: float | None = None  # when stream frame 0 would have sounded
        self._came = 0
        self._paused_at: float | None = None
        self._over = False
        self.commands = self.underruns = self.frames = 0
        self.worst_s = -np.inf
        self.errors: dict[str, int] = {}

    async def run(self, until: float) -> None:
        """Listen and fidget until the clock says `until`."""
        listening = [asyncio.create_task(work) for work in (self._listen(), self._report())]
        try:
            await self._say(PlayEnhanced(track_id=self._rng.choice(self._tracks)))
            while time.monotonic() < until:
                await asyncio.sleep(self._rng.uniform(0.2, 2.0))
                await self._fidget()
        finally:
            for task in listening:
                task.cancel()
            await asyncio.wait(listening)
        for task in listening:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _fidget(self) -> None:
        rng = self._rng
        if self._over:
            await self._say(PlayEnhanced(track_id=rng.choice(self._tracks)))
            return
        match rng.randrange(8):
            case 0 | 1:
                await self._say(Seek(seconds=rng.uniform(0, self._seconds)))
            case 2:
                await self._say(Set(preset=rng.choice(PRESETS)))
            case 3:
                await self._say(Set(intensity=rng.uniform(0, 1)))
            case 4:
                await self._say(Set(bypass=rng.random() < 0.5))
            case 5:
                await self._say(Pause())
                self._paused_at = time.monotonic()
                await asyncio.sleep(rng.uniform(0.1, 1.0))
                if self._zero is not None and self._paused_at is not None:
                    self._zero += time.monotonic() - self._paused_at
                self._paused_at = None
                await self._say(Resume())
            case 6:
                await self._say(PlayEnhanced(track_id=rng.choice(self._tracks), preset=rng.choice(PRESETS)))
            case 7:
                await self._say(PlayNormal(track_id=rng.choice(self._tracks)))

    async def _say(self, command: Command) -> None:
        self.commands += 1
        await self._client.send(command)

    async def _listen(self) -> None:
        while True:
            item = await self._client.receive()
            if isinstance(item, tuple):
                self._hear(item[0])
            else:
                self._notice(item)

    def _notice(self, event: Event) -> None:
        match event:
            case AudioStreamStart():
                self._rate, self._over = event.sample_rate, False
                self._begin(event.epoch)
            case Clear() if event.keep_until is None:
                self._begin(event.epoch)
            case Clear():
                self._epoch = event.epoch  # the same time goes on
                self._came = event.keep_until or 0
            case AudioStreamEnd():
                self._over = event.reason != "superseded"
            case Error():
                self.errors[event.code] = self.errors.get(event.code, 0) + 1

    def _begin(self, epoch: int) -> None:
        self._epoch, self._first, self._zero = epoch, None, None
        if self._paused_at is not None:
            self._paused_at = time.monotonic()

    def _hear(self, frame: Frame) -> None:
        if frame.epoch < self._epoch:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = frame.position
        if self._zero is not None and self._paused_at is None:
            late = now - (self._zero + frame.position / self._rate)
            self.worst_s = max(self.worst_s, late)
            if late > 0:
                self.underruns += 1
                self._zero += late
        self.frames += frame.frames
        self._came = frame.position + frame.frames
        if self._zero is None and self._came - self._first >= CUSHION_S * self._rate:
            self._zero = now - self._first / self._rate
            if self._paused_at is not None:
                self._paused_at = now  # what had passed of the pause is not this clock's

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            if self._zero is None or self._paused_at is not None or self._over:
                continue
            played = min(int((time.monotonic() - self._zero) * self._rate), self._came)
            await self._client.send(
                Credit(upto=played + round(BUFFER_S * self._rate), played=played, epoch=self._epoch)
            )


async def soak(
    address: str,
    tracks: list[int],
    seconds: float,
    streams: int,
    rss_kb: Callable[[], int],
    lasting_s: float,
) -> Soak:
    """Let `streams` listeners fidget with tracks of `seconds` for `lasting_s`."""
    began = time.monotonic()
    listeners: list[Fidget] = []
    sizes: list[tuple[float, int]] = []

    async def listen(seed: int) -> None:
        async with Client.connect(address) as client:
            listener = Fidget(client, tracks, seconds, seed)
            listeners.append(listener)
            await listener.run(began + lasting_s)

    async def watch() -> None:
        while True:
            sizes.append((time.monotonic() - began, rss_kb()))
            await asyncio.sleep(SAMPLE_S)

    probe = LagProbe()
    watching = asyncio.create_task(watch())
    try:
        async with asyncio.TaskGroup() as group:
            for seed in range(streams):
                group.create_task(listen(seed))
    finally:
        probe.close()
        watching.cancel()
        await asyncio.wait([watching])
    settled = np.array([row for row in sizes if row[0] >= SETTLED * lasting_s] or sizes, float)
    slope = float(np.polyfit(settled[:, 0], settled[:, 1], 1)[0]) * 60 if len(settled) > 2 else 0.0
    errors: dict[str, int] = {}
    for listener in listeners:
        for code, count in listener.errors.items():
            errors[code] = errors.get(code, 0) + count
    return Soak(
        minutes=lasting_s / 60,
        streams=streams,
        commands=sum(listener.commands for listener in listeners),
        underruns=sum(listener.underruns for listener in listeners),
        worst_late_ms=1000 * max(listener.worst_s for listener in listeners),
        errors=errors,
        audio_s=sum(listener.frames / listener._rate for listener in listeners),
        rss_first_kb=int(settled[0, 1]),
        rss_last_kb=int(settled[-1, 1]),
        rss_slope_kb_per_min=slope,
        loop_lag_p99_ms=0.0,
        listeners_lag_p99_ms=probe.quantile_ms(0.99),
    )

"""What a server on this machine does for its listeners: how soon they hear it, and how many there can be.

`auralis bench first-audio` and `auralis bench streams` print these. The server is a process of its own
on the loopback, with an empty database and its own copy of the music; the load of `streams` comes
from a third process (load.py). Everything ends by itself within a stated time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from auralis_core import AuralisError, bench, sidecar
from auralis_core.audio import write
from auralis_core.dataset import Dataset
from auralis_core.fingerprint import measure
from auralis_core.library import describe, find

from .binary import Frame
from .client import Client
from .commands import Command, Credit, PlayEnhanced, Seek, Set, Stop
from .load import Load
from .soak import Soak
from .soak import soak as fidget

#: Formats of the synthesised tracks, by suffix.
SUFFIXES = (".flac", ".mp3", ".ogg", ".wav")
TRACK_S, PHRASE_S = 240, 20
#: Tracks taken from a folder, so that a large library costs no more than a small one.
MOST_TRACKS = 16
LISTENERS_PER_S = 50.0

_SERVE = """
import json, sys
from pathlib import Path
from auralis_server.app import run
from auralis_server.config import ServerConfig
folder, db, settings = sys.argv[1:]
run(ServerConfig(dirs=(Path(folder),), db=Path(db), port=0, **json.loads(settings)))
"""


@dataclass(frozen=True, slots=True)
class Delay:
    """Milliseconds from saying something to the first frame of it."""

    p50_ms: float
    p95_ms: float
    n: int

    @classmethod
    def of(cls, times: Sequence[float]) -> Delay:
        return cls(float(np.percentile(times, 50)), float(np.percentile(times, 95)), len(times))


@dataclass(frozen=True, slots=True)
class FirstAudio:
    """The four waits of a listener, over all formats together, and the cold one by format."""

    cold: Delay
    warm: Delay
    seek: Delay
    set: Delay
    by_format: dict[str, Delay]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The largest number of real-time streams nobody heard breaking off, and the server's state then."""

    streams: int
    per_core: float
    cores: int
    limited_by: str  # "underruns", "refusals", or "the search" when the largest number tried went well
    cpu_ms_per_audio_s: float
    rss_per_stream_kb: float
    loop_lag_p99_ms: float
    trials: list[Load]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


async def first_audio(folder: Path | None = None, plays: int = 200) -> FirstAudio:
    """Play `plays` tracks cold and again warm, with a seek and a change of preset in each.

    Cold is a track the server has never seen: neither database nor sidecar knows it.
    """
    rng = random.Random(1)
    waits: dict[str, list[float]] = {"cold": [], "warm": [], "seek": [], "set": []}
    by_format: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="auralis-bench-") as scratch:
        tracks = await asyncio.to_thread(_stock, Path(scratch) / "music", folder, SUFFIXES)
        db = Path(scratch) / "auralis.db"
        Dataset(db).close()
        async with (
            serving(tracks[0].parent, db, scan=False) as server,
            Client.connect(server.address) as client,
        ):
            stream = 0
            for n in range(plays):
                path = tracks[n % len(tracks)]
                id, rate, duration = await asyncio.to_thread(_forget, db, path)
                for case in ("cold", "warm"):
                    stream += 1

                    def first(f: Frame, stream: int = stream) -> bool:
                        return f.stream == stream

                    wait = await timed(client, PlayEnhanced(track_id=id), first)
                    waits[case].append(wait)
                    if case == "cold":
                        by_format.setdefault(path.suffix[1:], []).append(wait)
                        await asyncio.to_thread(_know, db, id, path)
                ok = await client.request(Seek(seconds=duration / 4))
                target = rng.uniform(0, duration * 0.9)
                at = round(target * rate)

                def there(f: Frame, at: int = at, epoch: int = ok.epoch or 0) -> bool:
                    return f.epoch > epoch and f.position == at

                waits["seek"].append(await timed(client, Seek(seconds=target), there))
                # A player that reports what it plays: the switch is stamped ahead of it.
                await client.request(Credit(upto=at + 10 * rate, played=at))
                waits["set"].append(await timed(client, Set(preset="warm"), lambda f: f.generation == 1))
                await client.request(Stop())
    return FirstAudio(
        **{case: Delay.of(times) for case, times in waits.items()},
        by_format={suffix: Delay.of(times) for suffix, times in sorted(by_format.items())},
    )


async def streams(
    folder: Path | None = None,
    *,
    most: int = 1024,
    hold_s: float = 6.0,
    progress: Callable[[Load], None] | None = None,
) -> Capacity:
    """Search the largest number of real-time enhanced streams without an underrun, up to `most`.

    The number is doubled until a trial fails and then halved in on, to one part in sixteen. Every
    trial lasts `hold_s` after the last listener has started.
    """
    trials: list[Load] = []
    with tempfile.TemporaryDirectory(prefix="auralis-bench-") as scratch:
        tracks = await asyncio.to_thread(_stock, Path(scratch) / "music", folder, (".flac",))
        db = Path(scratch) / "auralis.db"
        ids = await asyncio.to_thread(_measured, db, tracks)
        async with serving(tracks[0].parent, db, scan=False, render_share=1e9) as server:
            idle = server.rss_kb()
            best: tuple[int, float, float, float] | None = None
            good, bad, trial = 0, most + 1, min(32, most)
            while trial > good and bad - good > max(1, good // 16):
                before = server.cpu_s()
                load, peak, lag = await _trial(server, ids, trial, hold_s)
                trials.append(load)
                if progress is not None:
                    progress(load)
                if load.underruns or load.started < trial:
                    bad = trial
                else:
                    good = trial
                    cpu = 1000 * (server.cpu_s() - before) / max(load.audio_s, 1e-9)
                    best = (good, cpu, (peak - idle) / good, lag)
                trial = min(most, 2 * good) if bad > most else (good + bad) // 2
    if best is None:
        raise AuralisError("not even one stream plays without an underrun")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limited_by = "the search" if good >= most else "refusals" if trials[-1].refused else "underruns"
    return Capacity(good, good / cores, cores, limited_by, *best[1:], trials)


async def soak(folder: Path | None = None, *, minutes: float = 60.0, listeners: int = 4) -> Soak:
    """Some listeners with random commands for a while: underruns, and whether memory grows."""
    with tempfile.TemporaryDirectory(prefix="auralis-bench-") as scratch:
        tracks = await asyncio.to_thread(_stock, Path(scratch) / "music", folder, SUFFIXES)
        db = Path(scratch) / "auralis.db"
        ids = await asyncio.to_thread(_measured, db, tracks)
        with closing(Dataset(db)) as dataset:
            seconds = min(track.duration for id in ids if (track := dataset.track(id)) is not None)
        async with serving(tracks[0].parent, db, scan=False) as server:
            result = await fidget(server.address, ids, seconds, listeners, server.rss_kb, 60 * minutes)
            lag = (await server.status())["loop"]["lag_p99_ms"]
    return replace(result, loop_lag_p99_ms=lag)


async def _trial(server: Server, ids: list[int], streams: int, hold_s: float) -> tuple[Load, int, float]:
    """One load, with the server's largest resident size and its loop's p99 lag meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "auralis_server.load", server.address, ",".join(map(str, ids))),
        *(str(streams), str(hold_s), str(LISTENERS_PER_S)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(hold_s + streams / LISTENERS_PER_S + 60):
            reading = asyncio.create_task(process.communicate())
            peak = 0
            while not (await asyncio.wait([reading], timeout=0.2))[0]:
                peak = max(peak, server.rss_kb())
            out, _ = await reading
            status = await server.status()
            while (await server.status())["streams"]:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.05)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise AuralisError("the load process failed")
    return Load(**json.loads(out)), peak, status["loop"]["lag_p99_ms"]


class Server:
    """A server process and what can be asked about it."""

    def __init__(self, address: str, pid: int, http: aiohttp.ClientSession) -> None:
        self.address = address
        self._proc = Path(f"/proc/{pid}")
        self._http = http

    async def status(self) -> dict[str, Any]:
        """`/api/system/status`."""
        async with self._http.get(f"{self.address}/api/system/status") as answer:
            status: dict[str, Any] = await answer.json()
            return status

    def rss_kb(self) -> int:
        """Resident size; 0 where the system does not say."""
        try:
            return int((self._proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
        except OSError:
            return 0

    def cpu_s(self) -> float:
        """Processor time used so far; 0 where the system does not say."""
        try:
            fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def serving(folder: Path, db: Path, **settings: object) -> AsyncIterator[Server]:
    """A server over `folder` in a process of its own, which ends with the context."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _SERVE, str(folder), str(db), json.dumps(settings)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise AuralisError("the server did not start")
        async with aiohttp.ClientSession() as http:
            yield Server(line.decode().split()[-1], process.pid, http)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def timed(client: Client, command: Command, wanted: Callable[[Frame], bool]) -> float:
    """Milliseconds from saying `command` to the first frame that `wanted` accepts."""
    began = time.perf_counter()
    await client.send(command)
    while not wanted((await client.frame())[0]):
        pass
    return 1000 * (time.perf_counter() - began)


def _stock(home: Path, folder: Path | None, suffixes: Sequence[str]) -> list[Path]:
    """The music of a bench in a folder of its own: from `folder`, or synthesised, different in each file."""
    home.mkdir()
    if folder is not None:
        chosen = list(find(folder))[:MOST_TRACKS]
        if not chosen:
            raise AuralisError(f"{folder}: no music here")
        return [Path(shutil.copy(path, home / f"{i} {Path(path).name}")) for i, path in enumerate(chosen)]
    made = []
    for i in range(max(4, len(suffixes))):
        phrase = bench.music(PHRASE_S, seed=i)
        path = home / f"{i}{suffixes[i % len(suffixes)]}"
        subtype = "PCM_16" if path.suffix in (".flac", ".wav") else None
        write(path, np.tile(phrase, TRACK_S // PHRASE_S), bench.RATE, subtype)
        made.append(path)
    return made


def _forget(db: Path, path: Path) -> tuple[int, int, float]:
    """Make `path` a track nobody has seen; its id, rate and seconds."""
    sidecar.path_for(path).unlink(missing_ok=True)
    with closing(Dataset(db)) as dataset:
        known = dataset.find(path)
        if known is not None:
            dataset.remove([known.id])
        track = dataset.put_track(describe(path))
    return track.id, track.sample_rate, track.duration


def _know(db: Path, id: int, path: Path, patience_s: float = 60.0) -> None:
    """Wait until the server has measured the track it is playing; measure it here if it does not."""
    end = time.monotonic() + patience_s
    with closing(Dataset(db)) as dataset:
        while dataset.fingerprint(id) is None:
            if time.monotonic() > end:
                raise AuralisError(f"{path.name} was not measured within {patience_s:g} s")
            time.sleep(0.01)


def _measured(db: Path, tracks: Sequence[Path]) -> list[int]:
    """Ids of the tracks, listed and measured: every stream plays by its own plan."""
    ids = []
    with closing(Dataset(db)) as dataset:
        for path in tracks:
            track = dataset.put_track(describe(path))
            dataset.put_fingerprint(track.id, measure(path).fingerprint, "local")
            ids.append(track.id)
    return ids

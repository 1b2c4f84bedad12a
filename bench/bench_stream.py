"""First audio: from the request to the first binary frame, against a server in a process of its own.

    .venv/bin/python bench/bench_stream.py [--plays 50] [--json]

Four cases over 4-minute files on loopback: a track never seen before (no fingerprint: the standard
plan), the same once measured, a seek, and a `set` to the first frame of the new generation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import numpy as np
import soundfile
from auralis_server.client import Client
from auralis_server.protocol import Credit, Frame, PlayEnhanced, Seek, Set, Stop

from auralis_core.dataset import Dataset
from auralis_core.library import describe

RATE, SECONDS, TRACKS = 44100, 240, 4

SERVE = """
import sys
from pathlib import Path
from auralis_server.app import run
from auralis_server.config import ServerConfig
run(ServerConfig(dirs=(Path(sys.argv[1]),), db=Path(sys.argv[2]), port=0, scan=False))
"""


def make_library(folder: Path, db: Path) -> list[int]:
    """Different 4-minute FLAC files, listed and not measured."""
    rng = np.random.default_rng(0)
    t = np.arange(RATE * SECONDS) / RATE
    tone = 0.2 * np.sin(2 * np.pi * 220 * t) * np.exp(-6 * (t * 2 % 1))
    noise = rng.standard_normal((2, RATE * 10)) * 0.05
    ids = []
    with closing(Dataset(db)) as dataset:
        for i in range(TRACKS):
            x = tone + np.tile(np.roll(noise, i * 1000, axis=1), SECONDS // 10)
            path = folder / f"{i}.flac"
            soundfile.write(path, x.T, RATE, subtype="PCM_16")
            ids.append(dataset.put_track(describe(path)).id)
    return ids


@asynccontextmanager
async def server(folder: Path, db: Path) -> AsyncIterator[str]:
    """The server's address; its process ends with the context."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVE, str(folder), str(db)), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().split()[-1]
    finally:
        process.terminate()
        await process.wait()


async def until(client: Client, wanted: object) -> Frame:
    """The first frame that `wanted` accepts."""
    while not wanted(frame := (await client.frame())[0]):  # type: ignore[operator]
        pass
    return frame


async def timed(client: Client, command: object, wanted: object) -> float:
    """Milliseconds from saying `command` to the frame."""
    began = time.perf_counter()
    await client.send(command)  # type: ignore[arg-type]
    await until(client, wanted)
    return 1000 * (time.perf_counter() - began)


async def measure(plays: int) -> dict[str, list[float]]:
    """Milliseconds of every case."""
    rng = random.Random(1)
    times: dict[str, list[float]] = {"cold": [], "warm": [], "seek": [], "set": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder, db = Path(temporary) / "music", Path(temporary) / "auralis.db"
        folder.mkdir()
        ids = await asyncio.to_thread(make_library, folder, db)
        async with server(folder, db) as address, Client.connect(address) as client:
            stream = 0
            for n in range(plays):
                id = ids[n % TRACKS]
                if n >= TRACKS:  # never seen: nothing of it may be left
                    (folder / f"{n % TRACKS}.flac.25d").unlink(missing_ok=True)
                    with closing(Dataset(db)) as dataset:
                        dataset.remove([id])
                        id = ids[n % TRACKS] = dataset.put_track(describe(folder / f"{n % TRACKS}.flac")).id
                stream += 1
                case = times["cold"]
                case.append(await timed(client, PlayEnhanced(track_id=id), lambda f, s=stream: f.stream == s))
                while not (folder / f"{n % TRACKS}.flac.25d").exists():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                stream += 1
                case = times["warm"]
                case.append(await timed(client, PlayEnhanced(track_id=id), lambda f, s=stream: f.stream == s))
                ok = await client.request(Seek(seconds=10))
                target = rng.uniform(0, SECONDS - 20)
                at = round(target * RATE)
                times["seek"].append(
                    await timed(
                        client,
                        Seek(seconds=target),
                        lambda f, a=at, e=ok.epoch: f.epoch > e and f.position == a,
                    )
                )
                await client.request(Credit(upto=at + 10 * RATE, played=at))
                times["set"].append(await timed(client, Set(preset="warm"), lambda f: f.generation == 1))
            await client.request(Stop())
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plays", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    times = asyncio.run(measure(options.plays))
    rows = {
        case: {"p50_ms": float(np.percentile(ms, 50)), "p95_ms": float(np.percentile(ms, 95)), "n": len(ms)}
        for case, ms in times.items()
    }
    if options.json:
        print(json.dumps(rows))
        return
    for case, row in rows.items():
        print(f"{case:5} p50 {row['p50_ms']:6.1f} ms   p95 {row['p95_ms']:6.1f} ms   n {row['n']}")


if __name__ == "__main__":
    main()

"""What a fingerprint costs that is already known, and what a machine elsewhere costs and gives.

Prints a table for each; `-s` shows it. Ratios are of calls that take turns, the best of a few rounds.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fleet import answering, worker
from serving import Library
from serving import music as short

from auralis_core import Fingerprint
from auralis_core.audio import write
from auralis_core.bench import best, decode, music
from auralis_core.dataset import Dataset
from auralis_core.fingerprint import measure

pytest.importorskip("grpc", reason="the extra 'remote' is not installed")
from auralis_server.config import RemoteConfig
from auralis_server.remote import Remote
from auralis_server.rpc import codec
from auralis_server.sources import Sources

ROUNDS = 5
TRACKS = 6


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "track.flac"
    write(path, music(240), 44100)
    return path


@pytest.fixture(scope="module")
def workers() -> Iterator[list[str]]:
    with worker("--root", "/", "--jobs", 1) as (_, a), worker("--root", "/", "--jobs", 1) as (_, b):
        yield [a, b]


def ask(remote: Remote, path: Path) -> Fingerprint:
    return remote.measure(path, deadline_s=600, cancelled=lambda: False)


def test_warm_lookup_through_the_whole_chain(benchmark: object, tmp_path: Path) -> None:
    """Wall time, and the thread's own: what other programs of the machine take is not the lookup's."""
    (tmp_path / "music").mkdir()
    library = Library(tmp_path / "music", tmp_path / "a.db")
    known = library.add("a.flac", short(20))
    library.measure(known)
    order = ("database", "sidecar", "local")
    with closing(Dataset(library.db)) as dataset, closing(Sources(order, dataset)) as sources:
        benchmark(sources.find, known, Path(known.path))  # type: ignore[operator]
        rows = []
        for clock in (time.perf_counter, time.thread_time):
            times = []
            for _ in range(5000):
                start = clock()
                sources.find(known, Path(known.path))
                times.append(clock() - start)
            cuts = statistics.quantiles(times, n=100)
            rows.append(f"p50 {cuts[49] * 1e6:.0f} µs, p99 {cuts[98] * 1e6:.0f} µs")
    print(f"\nwarm lookup: {rows[0]}; of the thread's own time: {rows[1]}")


def test_streaming_a_track_beside_its_analysis(benchmark: object, track: Path, workers: list[str]) -> None:
    fp = measure(track).fingerprint
    with (
        answering(lambda context: codec.pack(fp)) as nobody,
        closing(Remote(RemoteConfig(targets=nobody))) as sent,
        closing(Remote(RemoteConfig(targets=workers[0]))) as streamed,
        closing(Remote(RemoteConfig(targets=workers[0], shared=Path("/")))) as shared,
    ):
        here, there, named, wire, d = best(
            lambda: measure(track),
            lambda: ask(streamed, track),
            lambda: ask(shared, track),
            lambda: ask(sent, track),
            lambda: decode(track),
            rounds=ROUNDS,
        )
        benchmark.pedantic(ask, (streamed, track), rounds=1)  # type: ignore[attr-defined]
    print(
        f"\nfour minutes: here {here:.2f} s; by a worker, streamed {there:.2f} s, named {named:.2f} s"
        f"\n  decoded and sent to nobody {wire:.2f} s, of which decoding {d:.2f} s"
    )


def test_two_workers_beside_one(benchmark: object, track: Path, workers: list[str]) -> None:
    """Every track is named, so that nothing but the workers' own work is shared out."""

    def run(targets: list[str]) -> None:
        config = RemoteConfig(targets=",".join(targets), shared=Path("/"))
        left = iter(range(TRACKS))
        lock = threading.Lock()

        def take() -> None:
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                ask(remote, track)

        with closing(Remote(config, patient=True)) as remote:
            threads = [threading.Thread(target=take) for _ in range(2 * len(targets))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    with worker("--root", "/", "--jobs", 2) as (_, double):
        one, two, threads = best(
            lambda: run(workers[:1]), lambda: run(workers), lambda: run([double]), rounds=3
        )
    benchmark.pedantic(run, (workers,), rounds=1)  # type: ignore[attr-defined]
    print(
        f"\n{TRACKS} tracks: one worker {one:.2f} s; two {one / two:.2f} × as fast;"
        f" one of two threads {one / threads:.2f} ×"
    )

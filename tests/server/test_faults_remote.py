"""Workers that fail in every way, under a real server on real sockets: the listener does not notice.

Each fault meets a node that asks its workers first and measures itself after, and one that has nobody
else. Sound must begin while the search is still under way, so nothing here waits for a worker.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import numpy as np
import pytest
from fleet import answering, server, silent, unused, worker
from serving import HANG_S, Heard, Library, hear, music

pytest.importorskip("grpc", reason="the extra 'remote' is not installed")
import grpc
from auralis_server.client import Client
from auralis_server.commands import PlayEnhanced
from auralis_server.events import FingerprintProgress, TrackStart
from auralis_server.rpc import codec
from auralis_server.rpc import fingerprint_pb2 as pb
from auralis_server.rpc.fingerprint_pb2_grpc import FingerprintServiceStub

from auralis_core import fingerprint, fingerprint_array
from auralis_core.dataset import Dataset, Track

#: Where this node measures after the workers it has half of this, and may first have to start a process on a
#: machine with none to spare. What never answers is waited for as long as that; all else takes a fraction.
BUDGET_S = 10

#: Where nobody comes after the workers, to give up on what never answers.
LAST_BUDGET_S = 1.5

#: What a fault hands the test: the address, and what to do once the search is under way.
Fault = Callable[[], AbstractContextManager[tuple[str, Callable[[], None]]]]


def nothing() -> None:
    pass


@contextmanager
def refused() -> Iterator[tuple[str, Callable[[], None]]]:
    yield unused(), nothing


@contextmanager
def black_hole() -> Iterator[tuple[str, Callable[[], None]]]:
    with silent() as address:
        yield address, nothing


@contextmanager
def frozen() -> Iterator[tuple[str, Callable[[], None]]]:
    with worker() as (process, address):
        process.send_signal(signal.SIGSTOP)
        yield address, nothing


@contextmanager
def killed_under_a_call() -> Iterator[tuple[str, Callable[[], None]]]:
    with worker() as (process, address):
        process.send_signal(signal.SIGSTOP)  # so that the call is surely still under way
        yield address, process.kill


@contextmanager
def draining() -> Iterator[tuple[str, Callable[[], None]]]:
    with worker() as (process, address), grpc.insecure_channel(address) as channel:
        header = pb.Block(header=pb.Header(sample_rate=44100, channels=2, frames=10**6))
        stream = _Endless([header, pb.Block(pcm=bytes(8))])
        call = FingerprintServiceStub(channel).Compute.future(stream, timeout=HANG_S)
        stream.taken.wait(HANG_S)
        process.send_signal(signal.SIGTERM)
        yield address, nothing
        stream.go.set()
        call.cancel()


class _Endless:
    """Requests that never end until told, so that whoever serves them is never done."""

    def __init__(self, requests: list[Any]) -> None:
        self.go, self.taken = threading.Event(), threading.Event()
        self._requests = iter(requests)

    def __iter__(self) -> _Endless:
        return self

    def __next__(self) -> Any:
        for request in self._requests:
            return request
        self.taken.set()
        self.go.wait(HANG_S)
        raise StopIteration


def slow() -> AbstractContextManager[tuple[str, Callable[[], None]]]:
    def after_the_budget(context: Any) -> pb.Fingerprint:
        left = threading.Event()
        context.add_callback(left.set)
        left.wait(HANG_S)
        return pb.Fingerprint()

    return _lying(after_the_budget)


def wrong_version() -> AbstractContextManager[tuple[str, Callable[[], None]]]:
    return _lying(lambda context: _spoiled(version=99))


def not_finite() -> AbstractContextManager[tuple[str, Callable[[], None]]]:
    def answer(context: Any) -> pb.Fingerprint:
        message = _spoiled()
        message.values[7] = float("nan")
        return message

    return _lying(answer)


def another_track() -> AbstractContextManager[tuple[str, Callable[[], None]]]:
    return _lying(lambda context: _spoiled())


def no_message() -> AbstractContextManager[tuple[str, Callable[[], None]]]:
    return _lying(lambda context: b"\xff" * 64)


def no_service() -> AbstractContextManager[tuple[str, Callable[[], None]]]:
    def answer(context: Any) -> pb.Fingerprint:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "what?")

    return _lying(answer)


@contextmanager
def _lying(answer: Callable[[Any], Any]) -> Iterator[tuple[str, Callable[[], None]]]:
    with answering(answer) as address:
        yield address, nothing


def _spoiled(**changes: Any) -> pb.Fingerprint:
    message = codec.pack(fingerprint_array(music(0.5), 44100))
    for name, value in changes.items():
        setattr(message, name, value)
    return message


FAULTS: list[Fault] = [
    *(refused, black_hole, frozen, killed_under_a_call, draining, slow),
    *(wrong_version, not_finite, another_track, no_message, no_service),
]


async def play(address: str, track: Track, then: Callable[[], None]) -> Heard:
    """Play in real time until the search for the fingerprint has ended."""

    def ended(item: object) -> bool:
        if isinstance(item, FingerprintProgress) and item.status == "computing":
            then()
        return isinstance(item, FingerprintProgress) and item.status != "computing"

    async with asyncio.timeout(HANG_S), Client.connect(address) as client:
        await client.request(PlayEnhanced(track_id=track.id))
        return await hear(client, ended)


def ask(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"{address}{path}", timeout=HANG_S) as answer:
        text = answer.read().decode()
    return text if path == "/metrics" else json.loads(text)


def stop(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 0
    assert "Traceback" not in err
    return err


FALLS_BACK, REMOTE_ONLY = "database,sidecar,remote,local", "database,sidecar,remote"


@pytest.mark.parametrize(
    ("fault", "order"),
    [*((f, FALLS_BACK) for f in FAULTS), *((f, REMOTE_ONLY) for f in (refused, black_hole, not_finite))],
    ids=lambda v: v if isinstance(v, str) else v.__name__,
)
async def test_worker_fails_and_the_listener_does_not_notice(
    library: Library, fault: Fault, order: str
) -> None:
    track = library.add("a.flac", music(8))
    local = order.endswith("local")
    with fault() as (workers, then):
        budget = BUDGET_S if local else LAST_BUDGET_S
        options = ("--sources", order, "--remote", workers, "--budget", budget, "--no-scan")
        with server(library.folder, "--db", library.db, *options) as (process, address):
            heard = await play(address, track, then)
            # It sounded while nobody knew how the search would end, by the standard plan.
            assert heard.frames
            assert np.abs(heard.samples).max() > 0.01
            assert heard.first(TrackStart).fingerprint == "pending"
            last = heard.all(FingerprintProgress)[-1]
            assert (last.status, last.source) == (("ready", "local") if local else ("failed", None))
            assert last.failed == (["remote"] if local else [])
            rows = {row["name"]: row for row in ask(address, "/api/system/status")["sources"]}
            assert rows["remote"]["state"] == "failing"
            assert (rows["remote"]["hits"], rows["remote"]["failures"]) == (0, 1)
            counted = re.findall(
                r'lookups_total\{outcome="(?:failed|timed out)",source="remote"\} ([\d.]+)',
                ask(address, "/metrics"),
            )
            assert sum(map(float, counted)) == 1
            assert ask(address, "/healthz")["status"]
            log = stop(process)
    assert any("fingerprint source remote" in line for line in log.splitlines())
    with closing(Dataset(library.db)) as dataset:
        expected = fingerprint(track.path) if local else None
        assert dataset.fingerprint(track.id) == expected
        assert dataset.track(track.id).status == ("ready" if local else "pending")  # nothing held against it


async def test_healthy_worker_serves_a_node_that_measures_nothing_itself(library: Library) -> None:
    track = library.add("a.flac", music(30))
    with worker("--root", library.folder) as (generator, workers):
        options = ("--sources", "database,sidecar,remote", "--remote", workers, "--no-scan")
        shared = ("--remote-shared", library.folder)
        with server(library.folder, "--db", library.db, *options, *shared) as (process, address):
            last = (await play(address, track, nothing)).all(FingerprintProgress)[-1]
            assert (last.status, last.source) == ("ready", "remote")
            async with asyncio.timeout(HANG_S), Client.connect(address) as client:
                await client.request(PlayEnhanced(track_id=track.id))
                again = await hear(client, lambda item: isinstance(item, TrackStart))
            assert again.first(TrackStart).fingerprint == "cached"
            rows = {row["name"]: row for row in ask(address, "/api/system/status")["sources"]}
            assert rows["remote"] == {"name": "remote", "state": "ok", "hits": 1, "misses": 0, "failures": 0}
            stop(process)
        generator.send_signal(signal.SIGTERM)
        assert generator.communicate(timeout=HANG_S)[1].count("measured") == 1
    assert library.fingerprint(track) == fingerprint(track.path)

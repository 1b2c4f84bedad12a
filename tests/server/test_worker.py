"""The generator as a real process: what it answers, what it refuses and by which name, how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fleet import worker
from serving import HANG_S, music

pytest.importorskip("grpc", reason="the extra 'remote' is not installed")
import grpc
from auralis_server.config import RemoteConfig
from auralis_server.remote import Remote
from auralis_server.rpc import codec
from auralis_server.rpc import fingerprint_pb2 as pb
from auralis_server.rpc.fingerprint_pb2_grpc import FingerprintServiceStub
from auralis_server.worker import Generator, WorkerConfig
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from auralis_core import fingerprint, fingerprint_array
from auralis_core.audio import write

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    write(folder / "song.flac", music(3), 44100)
    (folder / "deep").mkdir()
    write(folder / "deep" / "söng.wav", music(2, 1), 44100)
    outside = tmp_path_factory.mktemp("outside")
    write(outside / "secret.flac", music(1), 44100)
    (folder / "link.flac").symlink_to(outside / "secret.flac")
    (folder / "inner.flac").symlink_to(folder / "song.flac")
    os.mkfifo(folder / "pipe.wav")
    (folder / "noise.wav").write_bytes(b"RIFF" + bytes(100))
    return folder


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    with worker("--root", root, "--jobs", 1) as (_, address):
        yield address


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> FingerprintServiceStub:
    return FingerprintServiceStub(channel)


def blocks(x: np.ndarray, rate: int = 44100, frames: int | None = None) -> Iterator[pb.Block]:
    yield pb.Block(header=pb.Header(sample_rate=rate, channels=len(x), frames=frames or x.shape[1]))
    step = codec.block_frames(len(x))
    for i in range(0, x.shape[1], step):
        yield pb.Block(pcm=codec.pack_pcm(x[:, i : i + step]))


def refusal(call: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as e:
        call()  # type: ignore[operator]
    return e.value.code(), e.value.details()


def file(root: Path, name: str) -> pb.File:
    return pb.File(path=name, size=(root / name).stat().st_size)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_stream_is_measured_as_here(stub: FingerprintServiceStub, channels: int) -> None:
    x = music(7, channels, channels=channels)
    answers = [codec.unpack(stub.Compute(blocks(y), timeout=HANG_S)) for y in (x, x[:, 1:] / 2)]
    assert answers == [fingerprint_array(x, 44100), fingerprint_array(x[:, 1:] / 2, 44100)]
    assert answers[0] != answers[1]  # no constant satisfies this


@pytest.mark.parametrize("name", ["song.flac", "deep/söng.wav", "inner.flac"])
def test_shared_file_is_measured_as_here(stub: FingerprintServiceStub, root: Path, name: str) -> None:
    answer = codec.unpack(stub.ComputeFile(file(root, name), timeout=HANG_S))
    assert answer == fingerprint(root / name)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.File(path="../outside/secret.flac"), Code.NOT_FOUND),
        (pb.File(path="deep/../../x"), Code.NOT_FOUND),
        (pb.File(path="link.flac"), Code.NOT_FOUND),
        (pb.File(path="pipe.wav"), Code.NOT_FOUND),
        (pb.File(path="deep"), Code.NOT_FOUND),
        (pb.File(path="gone.flac"), Code.NOT_FOUND),
        (pb.File(path="x" * 5000), Code.NOT_FOUND),
        (pb.File(path="/etc/passwd"), Code.INVALID_ARGUMENT),
        (pb.File(path=""), Code.INVALID_ARGUMENT),
        (pb.File(path="a\0b"), Code.INVALID_ARGUMENT),
        (pb.File(path="song.flac", size=7), Code.FAILED_PRECONDITION),
        (pb.File(path="noise.wav", size=104), Code.DATA_LOSS),
    ],
    ids=lambda v: v.path[:20] if isinstance(v, pb.File) else "",
)
def test_file_that_is_not_for_the_caller_is_refused(
    stub: FingerprintServiceStub, root: Path, request_: pb.File, code: grpc.StatusCode
) -> None:
    got, why = refusal(lambda: stub.ComputeFile(request_, timeout=HANG_S))
    assert got == code
    assert str(root) not in why
    assert "secret" not in why


def header(**changes: int) -> pb.Block:
    return pb.Block(header=pb.Header(**{"sample_rate": 44100, "channels": 2, "frames": 4, **changes}))


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ([], "header"),
        ([pb.Block()], "header"),
        ([pb.Block(pcm=bytes(8))], "header"),
        ([header(sample_rate=0)], "sample_rate"),
        ([header(sample_rate=2**32 - 1)], "sample_rate"),
        ([header(channels=0)], "channels"),
        ([header(channels=2**32 - 1)], "channels"),
        ([header(frames=0)], "frames"),
        ([header(frames=2**64 - 1)], "frames"),
        ([header(), header()], "pcm"),
        ([header(), pb.Block()], "pcm"),
        ([header(), pb.Block(pcm=bytes(7))], "pcm"),
        ([header(), pb.Block(pcm=bytes(16))], "2 frames of 4"),
        ([header(), pb.Block(pcm=bytes(40))], "more than the 4"),
        ([header(frames=10**6), pb.Block(pcm=bytes(codec.BLOCK_BYTES + 8))], "pcm"),
    ],
)
def test_hostile_stream_is_refused_by_name(
    stub: FingerprintServiceStub, sent: list[pb.Block], name: str
) -> None:
    code, why = refusal(lambda: stub.Compute(iter(sent), timeout=HANG_S))
    assert code == Code.INVALID_ARGUMENT
    assert name in why


def test_message_beyond_the_limit_is_refused_unread(stub: FingerprintServiceStub) -> None:
    sent = [header(frames=10**7), pb.Block(pcm=bytes(8 << 20))]
    assert refusal(lambda: stub.Compute(iter(sent), timeout=HANG_S))[0] == Code.RESOURCE_EXHAUSTED


class Held:
    """A stream whose caller has sent a header and half a second, and then stops to think."""

    def __init__(self, stub: FingerprintServiceStub, timeout: float = HANG_S) -> None:
        self.go = threading.Event()
        self.call = stub.Compute.future(self._blocks(), timeout=timeout)

    def _blocks(self) -> Iterator[pb.Block]:
        x = music(1)
        first, *rest = blocks(x)
        yield first
        self.go.wait(HANG_S)
        yield from rest


def fill(stub: FingerprintServiceStub) -> tuple[list[Held], Held]:
    """Calls until one is refused: those that were taken, and that one."""
    held: list[Held] = []
    while True:
        assert len(held) < 20, "the queue has no end"
        held.append(Held(stub))
        # A call that is taken stays undecided, so there is nothing to wait for but time.
        with contextlib.suppress(grpc.FutureTimeoutError, grpc.RpcError):
            held[-1].call.result(0.1)
        refused = [h for h in held if h.call.done()]
        if refused:
            return [h for h in held if not h.call.done()], refused[0]


def test_full_worker_refuses_and_has_room_again_when_callers_leave(
    stub: FingerprintServiceStub, address: str, root: Path
) -> None:
    taken, refused = fill(stub)
    assert refused.call.code() == Code.RESOURCE_EXHAUSTED
    for h in taken:
        h.call.cancel()
        h.go.set()
    # What was cancelled holds neither the job nor a place in the queue for longer than it takes to say so.
    with closing(Remote(RemoteConfig(targets=address), patient=True)) as remote:
        answer = remote.measure(root / "song.flac", deadline_s=HANG_S, cancelled=lambda: False)
    assert answer == fingerprint(root / "song.flac")


def test_deadline_of_the_caller_ends_the_work(stub: FingerprintServiceStub) -> None:
    held = Held(stub, timeout=0.3)
    with pytest.raises(grpc.RpcError):
        held.call.result(HANG_S)
    assert held.call.code() == Code.DEADLINE_EXCEEDED
    # With one job, this is only answered when the slot was given back.
    x = music(1)
    assert codec.unpack(stub.Compute(blocks(x), timeout=HANG_S)) == fingerprint_array(x, 44100)
    held.go.set()


def test_caller_of_a_file_who_leaves_or_runs_out_of_time_ends_the_work(tmp_path: Path) -> None:
    short, long = tmp_path / "short.wav", tmp_path / "long.wav"
    write(short, music(1), 44100, subtype="PCM_16")
    # Three hours of silence in a file without blocks: far more work than any wait here allows.
    header = bytearray(short.read_bytes()[:44])
    assert header[36:40] == b"data"
    size = 3 * 3600 * 44100 * 4
    header[4:8], header[40:44] = struct.pack("<I", size + 36), struct.pack("<I", size)
    long.write_bytes(header)
    os.truncate(long, size + 44)
    with worker("--root", tmp_path, "--jobs", 1) as (process, address):
        with grpc.insecure_channel(address) as channel:
            stub = FingerprintServiceStub(channel)
            code, _ = refusal(lambda: stub.ComputeFile(file(tmp_path, "long.wav"), timeout=0.2))
            assert code == Code.DEADLINE_EXCEEDED
            calls: list[grpc.Future] = []
            while not any(call.done() for call in calls):  # when one is refused, the first is under way
                calls.append(stub.ComputeFile.future(file(tmp_path, "long.wav"), timeout=3 * HANG_S))
                with contextlib.suppress(grpc.FutureTimeoutError, grpc.RpcError):
                    calls[-1].result(0.1)
            for call in calls:
                call.cancel()
        # The only job is free again, although nobody measured three hours.
        with closing(Remote(RemoteConfig(targets=address), patient=True)) as remote:
            assert remote.measure(short, deadline_s=HANG_S, cancelled=lambda: False) == fingerprint(short)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=HANG_S)
    assert "a caller left" in log
    assert "Traceback" not in log


def test_health_and_reflection_answer(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", codec.SERVICE):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=HANG_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    (answer,) = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=HANG_S)
    assert codec.SERVICE in {s.name for s in answer.list_services_response.service}


def test_wrong_token_is_refused_and_the_right_one_is_not(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("open sesame\n")
    with worker("--root", root, "--token-file", secret) as (_, address):
        with grpc.insecure_channel(address) as channel:
            stub = FingerprintServiceStub(channel)
            asked = file(root, "song.flac")
            for shown in (None, [("authorization", "Bearer open")], [("authorization", "open sesame")]):
                code, _ = refusal(lambda m=shown: stub.ComputeFile(asked, metadata=m, timeout=HANG_S))
                assert code == Code.UNAUTHENTICATED
            code, _ = refusal(lambda: stub.Compute(blocks(music(1)), timeout=HANG_S))
            assert code == Code.UNAUTHENTICATED
            right = [("authorization", "Bearer open sesame")]
            answer = stub.ComputeFile(asked, metadata=right, timeout=HANG_S)
        assert codec.unpack(answer) == fingerprint(root / "song.flac")


def test_worker_told_to_stop_finishes_what_it_has_and_takes_no_more() -> None:
    with worker("--jobs", 1) as (process, address), grpc.insecure_channel(address) as channel:
        stub = FingerprintServiceStub(channel)
        grpc.channel_ready_future(channel).result(HANG_S)
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=codec.SERVICE), timeout=HANG_S
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        taken, _ = fill(stub)
        process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        expected = fingerprint_array(music(1), 44100)
        for h in taken:
            h.go.set()
            assert codec.unpack(h.call.result(HANG_S)) == expected
        _, err = process.communicate(timeout=HANG_S)
        assert process.returncode == 0
        assert "Traceback" not in err


def test_stopped_worker_does_not_wait_for_ever_for_a_caller_who_thinks() -> None:
    with worker() as (process, address), grpc.insecure_channel(address) as channel:
        held = Held(FingerprintServiceStub(channel), timeout=2.0)
        grpc.channel_ready_future(channel).result(HANG_S)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANG_S)
        held.go.set()
        assert process.returncode == 0
        assert "Traceback" not in err


def test_call_that_the_worker_stops_under_is_broken_off_and_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A read then fails with one of grpcio's own errors, in one of twenty stops of a busy machine."""

    async def broken() -> AsyncIterator[pb.Block]:
        yield next(blocks(music(1)))
        raise grpc.aio.UsageError("Server already stopped.")

    async def call() -> None:
        generator = Generator(WorkerConfig())
        with pytest.raises(asyncio.CancelledError):
            await generator.Compute(broken(), None)
        await asyncio.wait_for(generator.idle(), HANG_S)
        generator.close()

    caplog.set_level("INFO")
    asyncio.run(call())
    assert [r.getMessage().partition(" after")[0] for r in caplog.records] == ["a call was broken off"]


def test_address_in_use_is_one_line(address: str) -> None:
    with pytest.raises(AssertionError, match="cannot listen"), worker(listen=address):
        pass

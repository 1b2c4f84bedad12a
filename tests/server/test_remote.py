"""A fleet seen from its caller: the same bytes as here, the work spread, every failure one typed error."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from fleet import answering, silent, unused, worker
from serving import HANG_S, music

pytest.importorskip("grpc", reason="the extra 'remote' is not installed")
from auralis_server.config import RemoteConfig
from auralis_server.remote import Remote
from auralis_server.rpc import codec
from auralis_server.rpc import fingerprint_pb2 as pb

from auralis_core import (
    FINGERPRINT_VERSION,
    AudioReadError,
    Fingerprint,
    GeneratorError,
    fingerprint,
    fingerprint_array,
    sidecar,
)
from auralis_core.audio import AudioReader, write


def nobody() -> bool:
    return False


@contextmanager
def fleet(targets: str, *, patient: bool = False, **settings: object) -> Iterator[Remote]:
    config = RemoteConfig(targets=targets, **settings)  # type: ignore[arg-type]
    with closing(Remote(config, patient=patient)) as remote:
        yield remote


def ask(remote: Remote, path: Path, deadline_s: float = HANG_S) -> Fingerprint:
    return remote.measure(path, deadline_s=deadline_s, cancelled=nobody)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    write(folder / "song.flac", music(9), 44100)
    write(folder / "mono.wav", music(3, 1, channels=1), 44100)
    write(folder / "high.flac", music(3, 2, rate=96000), 96000)
    write(folder / "surround.wav", music(3, 3, channels=6), 48000)
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with worker("--root", folder, "--jobs", 2) as (_, address):
        yield address


@pytest.mark.parametrize("name", ["song.flac", "mono.wav", "high.flac", "surround.wav"])
def test_path_array_stream_and_shared_file_give_the_same_bytes(folder: Path, address: str, name: str) -> None:
    path = folder / name
    with AudioReader(path) as reader:
        array = fingerprint_array(reader.read(reader.frames), reader.sample_rate)
    with fleet(address) as streamed, fleet(address, shared=folder) as shared:
        found = [fingerprint(path), array, ask(streamed, path), ask(shared, path)]
    assert len({json.dumps(fp.to_dict()) for fp in found}) == 1
    assert len({sidecar.write(path, fp).read_bytes() for fp in found}) == 1
    assert all(fp == found[0] for fp in found)


def test_file_the_worker_does_not_see_is_sent_instead_and_said(
    folder: Path, address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "elsewhere.flac"
    write(path, music(1), 44100)
    with fleet(address, shared=tmp_path) as remote:
        assert ask(remote, path) == fingerprint(path)
    assert any("sending it" in r.getMessage() for r in caplog.records if r.levelname == "WARNING")


def test_calls_are_spread_over_all_workers(folder: Path) -> None:
    with worker("--jobs", 1) as (one, a), worker("--jobs", 1) as (two, b):
        with fleet(f"{a},{b}", patient=True) as remote:
            expected = fingerprint(folder / "mono.wav")
            for _ in range(6):
                assert ask(remote, folder / "mono.wav") == expected
        for process in (one, two):
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=HANG_S)
            assert log.count("measured") >= 2


def test_dns_target_is_asked(folder: Path, address: str) -> None:
    port = address.rpartition(":")[2]
    with fleet(f"dns:///localhost:{port}") as remote:
        assert ask(remote, folder / "mono.wav") == fingerprint(folder / "mono.wav")


@pytest.mark.parametrize(
    "targets", ["", "host", "host:", ":1", "host:0", "host:65536", "host:x", "a:1,,b:2", "dns:///a:1,b:2"]
)
def test_targets_that_name_nobody_are_refused(targets: str) -> None:
    with pytest.raises(ValueError, match="remote"):
        RemoteConfig(targets=targets)


def test_refused_connection_fails_at_once(folder: Path) -> None:
    # At once, or this would take the ten minutes that are allowed.
    with fleet(unused()) as remote, pytest.raises(GeneratorError, match="UNAVAILABLE"):
        ask(remote, folder / "mono.wav", 600.0)


def test_black_hole_is_given_up_within_the_deadline(folder: Path) -> None:
    with silent() as address, fleet(address) as remote, pytest.raises(GeneratorError):
        ask(remote, folder / "mono.wav", 0.3)


def test_worker_that_freezes_on_a_standing_connection_is_found_out_by_its_silence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The waits of the product, ten times shorter; otherwise the call would take the ten minutes allowed.
    waits = ("keepalive_time", "keepalive_timeout", "ping_timeout")
    options = [(k, v // 10 if any(w in k for w in waits) else v) for k, v in codec.CALLER_OPTIONS]
    monkeypatch.setattr(codec, "CALLER_OPTIONS", options)
    monkeypatch.setattr("auralis_server.remote.CONNECT_MS", 500)
    with worker() as (process, address), fleet(address) as remote:
        assert ask(remote, folder / "mono.wav") == fingerprint(folder / "mono.wav")
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(GeneratorError, match="UNAVAILABLE"):
            ask(remote, folder / "mono.wav", 600.0)


@contextmanager
def pondering() -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """A worker that answers nobody; whether a call has reached it, and whether a caller has left."""
    begun, left = threading.Event(), threading.Event()

    def wait(context: object) -> pb.Fingerprint:
        context.add_callback(left.set)  # type: ignore[attr-defined]
        begun.set()
        left.wait(3 * HANG_S)
        return pb.Fingerprint()

    with answering(wait) as address:
        yield address, begun, left


def test_slow_worker_is_given_up_at_the_deadline_and_told(folder: Path) -> None:
    with pondering() as (address, begun, left), fleet(address) as remote:
        # The shortest deadline before which this machine gets as far as the worker.
        for deadline_s in (0.3, 3.0, 30.0):
            with pytest.raises(GeneratorError, match="DEADLINE_EXCEEDED"):
                ask(remote, folder / "mono.wav", deadline_s)
            if begun.is_set():
                break
        assert left.wait(HANG_S)


def test_call_is_cancelled_at_the_worker_when_nobody_waits(folder: Path) -> None:
    with pondering() as (address, begun, left), fleet(address) as remote:
        with pytest.raises(GeneratorError, match="nobody waits"):
            remote.measure(folder / "mono.wav", deadline_s=4 * HANG_S, cancelled=begun.is_set)
        assert left.wait(HANG_S)


def spoiled(path: Path, change: Callable[[pb.Fingerprint], object]) -> Callable[[object], pb.Fingerprint]:
    message = codec.pack(fingerprint(path))
    change(message)
    return lambda context: message


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.Clear(), "version 0"),
        (
            lambda m: setattr(m, "version", m.version + 1),
            f"version {FINGERPRINT_VERSION + 1}, not {FINGERPRINT_VERSION}",
        ),
        (lambda m: m.values.__setitem__(3, float("nan")), "nonsense"),
        (lambda m: m.values.__setitem__(7, 99.0), "nonsense"),
        (lambda m: m.values.pop(), "nonsense"),
        (lambda m: setattr(m, "histogram", b"\x78\x9c"), "nonsense"),
        (lambda m: setattr(m, "frames", m.frames - 1), "frames"),
        (lambda m: setattr(m, "channels", 2), "frames"),
        (lambda m: setattr(m, "histogram", bytes(1 << 20)), "RESOURCE_EXHAUSTED"),
    ],
)
def test_answer_that_cannot_be_true_is_a_typed_failure(
    folder: Path, change: Callable[[pb.Fingerprint], object], why: str
) -> None:
    path = folder / "mono.wav"
    with (
        answering(spoiled(path, change)) as address,
        fleet(address) as remote,
        pytest.raises(GeneratorError, match=why),
    ):
        ask(remote, path)


def test_bytes_that_are_no_message_are_a_typed_failure(folder: Path) -> None:
    with (
        answering(lambda context: b"\xff" * 40) as address,
        fleet(address) as remote,
        pytest.raises(GeneratorError),
    ):
        ask(remote, folder / "mono.wav")


def test_broken_file_is_the_files_fault_whoever_measures(address: str, tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    write(path, music(3), 44100)
    os.truncate(path, 200_000)
    for shared in (None, tmp_path):
        with fleet(address, shared=shared) as remote, pytest.raises(AudioReadError):
            ask(remote, path)
    with fleet(address) as remote, pytest.raises(AudioReadError):
        ask(remote, tmp_path / "gone.wav")


def test_worker_killed_under_a_call_is_replaced_by_another(folder: Path) -> None:
    with worker() as (_, a), worker() as (other, b), fleet(f"{a},{b}", patient=True) as remote:
        expected = fingerprint(folder / "song.flac")
        asked = threading.Event()
        answers: list[Fingerprint] = []

        def work() -> None:
            for _ in range(4):
                answers.append(ask(remote, folder / "song.flac"))
                asked.set()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        asked.wait(HANG_S)
        other.kill()
        for thread in threads:
            thread.join()
    assert answers == [expected] * 8


def test_patient_caller_waits_for_a_worker_to_come_up(folder: Path) -> None:
    address = unused()
    answers: list[Fingerprint] = []
    with fleet(address, patient=True) as remote:
        thread = threading.Thread(target=lambda: answers.append(ask(remote, folder / "mono.wav")))
        thread.start()
        with worker(listen=address):
            thread.join()
    assert answers == [fingerprint(folder / "mono.wav")]


def test_tls_and_token_let_in_who_has_both(folder: Path, tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    make += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(make, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    tls = ("--tls-cert", cert, "--tls-key", key, "--token", "open sesame")
    with worker(*tls, listen="localhost:0") as (_, address):
        path = folder / "mono.wav"
        with fleet(address, ca=cert.read_bytes(), token="open sesame") as remote:
            assert ask(remote, path) == fingerprint(path)
        with (
            fleet(address, ca=cert.read_bytes()) as remote,
            pytest.raises(GeneratorError, match="UNAUTHENTICATED"),
        ):
            ask(remote, path)
        with (
            fleet(address, token="open sesame") as remote,
            pytest.raises(GeneratorError, match="UNAVAILABLE"),
        ):
            ask(remote, path)


def test_name_nobody_knows_is_left_out_of_the_fleet_and_said(
    folder: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        socket.getaddrinfo("nowhere.invalid", 1)
    except OSError:
        pass
    else:
        pytest.skip("the resolver here answers for names that do not exist")
    with fleet(f"nowhere.invalid:1,{address}") as remote:
        assert ask(remote, folder / "mono.wav") == fingerprint(folder / "mono.wav")
    assert any("nowhere.invalid" in r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    with fleet("nowhere.invalid:1,neither.invalid:2") as remote, pytest.raises(GeneratorError, match="name"):
        ask(remote, folder / "mono.wav")

"""Asking a fleet of workers: one channel to all of them, and one typed error for every way it fails.

Synchronous, for worker threads: the server's sources and a scan use the same calls. Who is asked
first and for how long in all is not decided here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from auralis_core import (
    FINGERPRINT_VERSION,
    AudioReadError,
    AuralisError,
    Fingerprint,
    FingerprintError,
    GeneratorError,
)
from auralis_core.audio import AudioReader

from .config import RemoteConfig
from .rpc import codec
from .rpc import fingerprint_pb2 as pb
from .rpc.fingerprint_pb2_grpc import FingerprintServiceStub

log = logging.getLogger(__name__)

# It prints a traceback for an answer that is no message; here that is one typed failure among others.
logging.getLogger("grpc._common").setLevel(logging.CRITICAL)

Code = grpc.StatusCode

LOOK_S = 0.05  # how often a waiting thread looks whether anybody still waits for it
CONNECT_MS = 5_000  # a worker that accepts and says nothing is given up after this
TRIES = 3  # workers that may go away under one track
GRACE_S = 1.0  # between giving up a call and giving up the thread that makes it
PAUSE_S = (0.05, 1.0)  # before a busy fleet is asked again: first, longest

#: Spread calls over all workers that say they are well.
_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": codec.SERVICE},
    }
)


class _Again(GeneratorError):
    """Another worker, or the same one later, may answer."""

    def __init__(self, message: str, *, busy: bool) -> None:
        super().__init__(message)
        self.busy = busy


class Remote:
    """The fleet; safe from any thread.

    Parameters
    ----------
    config : RemoteConfig
    patient : bool
        Whether calls wait for a worker to come up or to have room; otherwise they fail at once.
    """

    def __init__(self, config: RemoteConfig, *, patient: bool = False) -> None:
        self._config = config
        self._patient = patient
        self._shared = None if config.shared is None else config.shared.resolve()
        self._metadata = None if config.token is None else (("authorization", f"Bearer {config.token}"),)
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._closed = False
        self._met = False  # whether a worker was there when last asked

    def measure(
        self, path: str | os.PathLike[str], *, deadline_s: float, cancelled: Callable[[], bool]
    ) -> Fingerprint:
        """Have a file measured.

        Parameters
        ----------
        path : path-like
        deadline_s : float
            For connecting, every retry and the measuring.
        cancelled : callable
            Asked many times a second; when it returns true the call is cancelled at the worker too.

        Raises
        ------
        AudioReadError, AudioFormatError
            The file cannot be read here.
        GeneratorError
            No worker measured it: none to be reached, busy, too slow, cancelled, or nonsense answered.
        """
        given_up = threading.Event()
        pool = ThreadPoolExecutor(1, "remote")
        work = pool.submit(
            self._measure,
            os.fspath(path),
            time.monotonic() + deadline_s,
            lambda: given_up.is_set() or cancelled(),
        )
        try:
            return work.result(deadline_s + GRACE_S)
        except TimeoutError:  # only a decoder that stalls, on a dead network drive
            raise GeneratorError(f"not read within {deadline_s:g} s", path) from None
        finally:
            given_up.set()
            pool.shutdown(wait=False)

    def close(self) -> None:
        """Cut the connections; calls under way fail."""
        with self._lock:
            self._closed = True
            if self._channel is not None:
                self._channel.close()

    def _measure(self, path: str, end: float, cancelled: Callable[[], bool]) -> Fingerprint:
        pause, tries = PAUSE_S[0], 0
        while True:
            try:
                return self._try(path, end, cancelled)
            except _Again as e:
                tries += not e.busy
                self._met = e.busy
                if (e.busy and not self._patient) or tries == TRIES or time.monotonic() + pause >= end:
                    raise GeneratorError(e.message, path) from e
                level = logging.DEBUG if e.busy else logging.WARNING
                log.log(level, "%s: %s; asking again", path, e.message)
                if e.busy:
                    _wait(pause, cancelled)
                    pause = min(2 * pause, PAUSE_S[1])

    def _stub(self) -> FingerprintServiceStub:
        with self._lock:
            if self._closed:
                raise GeneratorError("the connections are closed")
            if self._channel is None:
                self._channel = _connect(self._config)
            return FingerprintServiceStub(self._channel)

    def _try(self, path: str, end: float, cancelled: Callable[[], bool]) -> Fingerprint:
        stub = self._stub()
        if self._patient and not self._met:
            self._await_worker(end, cancelled)
            self._met = True
        with AudioReader(path) as reader:
            shape = (reader.frames, reader.sample_rate, reader.channels)
            name = self._name(path)
            if name is not None:
                try:
                    file = pb.File(path=name, size=os.stat(path).st_size)
                    return self._settle(stub.ComputeFile.future, file, shape, end, cancelled)
                except _Unread as e:
                    log.warning("%s: the worker cannot read it (%s), sending it", path, e.message)
                except OSError as e:
                    raise AudioReadError(e.strerror or "cannot be read", path) from e
            sending = _Sending(reader)
            try:
                return self._settle(stub.Compute.future, iter(sending), shape, end, cancelled)
            finally:
                sending.finish()
                if sending.error is not None:  # whatever the worker made of what it got
                    raise sending.error

    def _await_worker(self, end: float, cancelled: Callable[[], bool]) -> None:
        """Wait until some worker is there; a fleet that is gone for good is found out before the deadline."""
        assert self._channel is not None
        stub: Any = health_pb2_grpc.HealthStub(self._channel)
        start = partial(stub.Check.future, wait_for_ready=True)
        request = health_pb2.HealthCheckRequest(service=codec.SERVICE)
        self._finish(start, request, min(end, time.monotonic() + self._config.wait_s), cancelled)

    def _name(self, path: str) -> str | None:
        """What the workers call the file, if they see it."""
        if self._shared is None:
            return None
        real = Path(path).resolve()
        if not real.is_relative_to(self._shared):
            return None
        name = real.relative_to(self._shared).as_posix()
        try:
            name.encode()
        except UnicodeEncodeError:
            return None
        return name

    def _settle(
        self,
        start: Callable[..., Any],
        request: object,
        shape: tuple[int, int, int],
        end: float,
        cancelled: Callable[[], bool],
    ) -> Fingerprint:
        """Have one track measured, and believe only what can be true."""
        message: pb.Fingerprint = self._finish(start, request, end, cancelled)
        if message.version != FINGERPRINT_VERSION:
            raise GeneratorError(f"answered fingerprint version {message.version}, not {FINGERPRINT_VERSION}")
        try:
            fp = codec.unpack(message)
        except FingerprintError as e:
            raise GeneratorError(f"answered nonsense: {e.message}") from e
        if (fp.frames, fp.sample_rate, fp.channels) != shape:
            raise GeneratorError(f"answered for {fp.frames} frames of {fp.sample_rate} Hz × {fp.channels}")
        return fp

    def _finish(
        self, start: Callable[..., Any], request: object, end: float, cancelled: Callable[[], bool]
    ) -> Any:
        """Make one call and wait for it as long as anybody does."""
        left = max(end - time.monotonic(), 1e-3)
        try:
            call = start(request, timeout=left, metadata=self._metadata)
        except ValueError as e:  # what gRPC says of a channel closed meanwhile
            raise GeneratorError("the connections are closed") from e
        try:
            while True:
                with contextlib.suppress(grpc.FutureTimeoutError):
                    return call.result(timeout=LOOK_S)
                if cancelled():
                    raise GeneratorError("nobody waits any more")
        except grpc.FutureCancelledError:
            raise GeneratorError("the connections are closed") from None
        except grpc.RpcError as e:
            raise _typed(e.code(), e.details() or "") from e
        finally:
            call.cancel()


class _Unread(GeneratorError):
    """The worker cannot read the file where it looks; whether the file is to blame is found out here."""


def _typed(code: grpc.StatusCode, details: str) -> GeneratorError:
    """What a status means for the caller."""
    why = f"{code.name}: {details}"
    match code:
        case Code.UNAVAILABLE:
            return _Again(why, busy=False)
        case Code.RESOURCE_EXHAUSTED:
            return _Again(why, busy=True)
        case Code.NOT_FOUND | Code.FAILED_PRECONDITION | Code.DATA_LOSS | Code.OUT_OF_RANGE:
            return _Unread(why)
    return GeneratorError(why)


def _wait(seconds: float, cancelled: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not cancelled():
        time.sleep(min(left, LOOK_S))


class _Sending:
    """The blocks of a file, read when the connection has room for them; gRPC iterates in its own thread."""

    def __init__(self, reader: AudioReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()  # held while the reader is in use
        self._finished = False
        self.error: AuralisError | None = None

    def __iter__(self) -> Iterator[pb.Block]:
        reader = self._reader
        yield pb.Block(
            header=pb.Header(sample_rate=reader.sample_rate, channels=reader.channels, frames=reader.frames)
        )
        frames = codec.block_frames(reader.channels)
        while True:
            with self._lock:
                if self._finished:
                    return
                try:
                    block = reader.read(frames)
                except AuralisError as e:
                    self.error = e
                    return
            if block.shape[1] == 0:
                return
            yield pb.Block(pcm=codec.pack_pcm(block))

    def finish(self) -> None:
        """Read no more; the reader may be closed when this returns."""
        with self._lock:
            self._finished = True


def _connect(config: RemoteConfig) -> grpc.Channel:
    options: list[tuple[str, Any]] = [
        *codec.CALLER_OPTIONS,
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
        ("grpc.initial_reconnect_backoff_ms", 500),
        ("grpc.max_reconnect_backoff_ms", CONNECT_MS),
        ("grpc.enable_http_proxy", 0),
    ]
    names = [name.strip() for name in config.targets.split(",")]
    target = names[0] if "//" in names[0] else f"dns:///{names[0]}"
    if len(names) > 1:
        target = _numbers(names)
        options.append(("grpc.default_authority", names[0]))
    if config.ca is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(config.ca), options)


def _numbers(names: list[str]) -> str:
    """One target for many hosts: gRPC takes several addresses in one target, but only as numbers."""
    pool = ThreadPoolExecutor(len(names), "resolve")
    asked = [(name, pool.submit(_resolve, name)) for name in names]
    pool.shutdown(wait=False)
    found: list[tuple[socket.AddressFamily, str]] = []
    for name, answer in asked:
        try:
            found.append(answer.result(CONNECT_MS / 1000))
        except (OSError, TimeoutError) as e:
            log.warning("worker %s left out: its name is not known here (%s)", name, e)
    if not found:
        raise GeneratorError("no worker's name is known here")
    family = found[0][0]
    for other, address in found:
        if other != family:
            log.warning("worker %s left out: IPv4 and IPv6 cannot be mixed", address)
    kind = "ipv6" if family == socket.AF_INET6 else "ipv4"
    return f"{kind}:" + ",".join(address for other, address in found if other == family)


def _resolve(name: str) -> tuple[socket.AddressFamily, str]:
    host, _, port = name.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda row: row[0] != socket.AF_INET)
    return family, f"[{address[0]}]:{port}" if family == socket.AF_INET6 else f"{address[0]}:{port}"

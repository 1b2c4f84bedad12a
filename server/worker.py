"""The fingerprint generator: a gRPC service around the engine, and the process that runs it.

Measures what it is sent, or files below one folder it shares with its callers; keeps nothing. Every
wait is bounded, and a call whose caller has left or whose deadline has passed stops within one block.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import signal
import stat
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from auralis_core import AudioFormatError, AudioReadError, FeatureExtractor, Fingerprint, FingerprintError
from auralis_core.fingerprint import measure

from .rpc import codec
from .rpc import fingerprint_pb2 as pb
from .rpc.fingerprint_pb2_grpc import FingerprintServiceServicer, add_FingerprintServiceServicer_to_server
from .threads import in_thread

log = logging.getLogger(__name__)

Code = grpc.StatusCode
Context = aio.ServicerContext[Any, Any]

IDLE_S = 30.0  # longest wait for the next block of a stream
FLUSH_S = 0.2  # for answers to leave the process
LONGEST_S = 24 * 3600  # longest track taken in


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Settings of one worker process.

    Parameters
    ----------
    listen : str
        ``HOST:PORT``; port 0 takes a free one.
    root : Path, optional
        Files below it may be asked for by name; without it only samples are taken.
    jobs : int
        Tracks measured at once; as many again may wait, further ones are refused.
    token : str, optional
        What callers must show.
    tls : tuple of bytes, optional
        Private key and certificate chain, PEM.
    budget_s : float
        Longest time spent on one track, whatever its caller allows.
    drain_s : float
        How long tracks being measured may take to finish once the worker is told to stop.
    """

    listen: str = "127.0.0.1:50051"
    root: Path | None = None
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    token: str | None = None
    tls: tuple[bytes, bytes] | None = None
    budget_s: float = 600.0
    drain_s: float = 10.0


class _Refused(Exception):
    """A call that is answered with a status instead of a fingerprint."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class Generator(FingerprintServiceServicer):
    """The service; see ``rpc/fingerprint.proto``."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._root = None if config.root is None else config.root.resolve()
        self._pool = ThreadPoolExecutor(config.jobs, "measure")
        self._slots = asyncio.Semaphore(config.jobs)
        self._waiting = 0
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def Compute(self, request_iterator: Any, context: Any) -> pb.Fingerprint:
        """Measure a stream of samples."""
        return await self._answer(context, self._measure_stream(request_iterator))

    async def ComputeFile(self, request: pb.File, context: Any) -> pb.Fingerprint:
        """Measure a file below the root."""
        return await self._answer(context, self._measure_file(request, context.time_remaining()))

    async def idle(self) -> None:
        """Wait until no call is running."""
        await self._idle.wait()

    def close(self) -> None:
        """Let the threads end; no call may be running."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _answer(self, context: Context, work: Coroutine[None, None, Fingerprint]) -> pb.Fingerprint:
        """Run `work`, and turn every way it can end into an answer or a status."""
        began = time.perf_counter()
        self._running += 1
        self._idle.clear()
        try:
            self._check(context)
            async with asyncio.timeout(self._config.budget_s):
                fp = await work
            log.info("measured %.0f s of audio in %.3f s", fp.duration, time.perf_counter() - began)
            return codec.pack(fp)
        except _Refused as e:
            code, why = e.code, str(e)
        except TimeoutError:
            code, why = Code.DEADLINE_EXCEEDED, f"not measured within {self._config.budget_s:g} s"
        except AudioFormatError as e:
            code, why = Code.OUT_OF_RANGE, e.message
        except AudioReadError as e:
            code, why = Code.DATA_LOSS, e.message
        except FingerprintError as e:  # the pass was given up
            code, why = Code.DEADLINE_EXCEEDED, e.message
        except asyncio.CancelledError:
            log.info("a caller left after %.3f s", time.perf_counter() - began)
            raise
        except aio.BaseError as e:  # of a read: the worker has stopped under the call, nobody can be answered
            log.info("a call was broken off after %.3f s: %s", time.perf_counter() - began, e)
            raise asyncio.CancelledError from e
        except Exception:
            log.exception("a call failed")
            code, why = Code.INTERNAL, "the worker failed; its log says why"
        finally:
            work.close()  # does nothing unless it was never begun
            self._running -= 1
            if not self._running:
                self._idle.set()
        log.warning("refused: %s, %s", code.name, why)
        return await context.abort(code, why)

    def _check(self, context: Context) -> None:
        if self._config.token is None:
            return
        shown = dict(cast(Any, context.invocation_metadata() or ())).get("authorization", "")
        wanted = f"Bearer {self._config.token}"
        if not hmac.compare_digest(str(shown).encode(), wanted.encode()):
            raise _Refused(Code.UNAUTHENTICATED, "the token is missing or wrong")

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """The right to measure: at once, after a short queue, or not at all."""
        if self._waiting >= self._config.jobs:
            raise _Refused(Code.RESOURCE_EXHAUSTED, "every thread is busy and the queue is full")
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def _measure_stream(self, blocks: AsyncIterator[pb.Block]) -> Fingerprint:
        header, extractor = _begin(await _next(blocks))
        async with self._slot():
            while True:
                block = await _next(blocks)
                if block is None:
                    break
                if block.WhichOneof("part") != "pcm":
                    raise _Refused(Code.INVALID_ARGUMENT, "block: pcm was due")
                try:
                    samples = codec.unpack_pcm(block.pcm, header.channels)
                except ValueError as e:
                    raise _Refused(Code.INVALID_ARGUMENT, str(e)) from e
                if extractor.frames + samples.shape[1] > header.frames:
                    raise _Refused(
                        Code.INVALID_ARGUMENT, f"pcm: more than the {header.frames} frames promised"
                    )
                await in_thread(self._pool, extractor.feed, samples)
            if extractor.frames != header.frames:
                raise _Refused(
                    Code.INVALID_ARGUMENT, f"pcm: {extractor.frames} frames of {header.frames} promised"
                )
            return await in_thread(self._pool, extractor.finish)

    async def _measure_file(self, file: pb.File, left_s: float | None) -> Fingerprint:
        path = await asyncio.to_thread(self._locate, file)
        given_up = threading.Event()
        budget_s = self._config.budget_s if left_s is None else min(left_s, self._config.budget_s)

        def work() -> Fingerprint:
            return measure(path, deadline_s=max(budget_s, 1e-3), cancelled=given_up.is_set).fingerprint

        async with self._slot():
            return await in_thread(self._pool, work, on_cancel=given_up.set)

    def _locate(self, file: pb.File) -> Path:
        """The file asked for; nothing outside the root and nothing but a regular file is ever opened."""
        if self._root is None:
            raise _Refused(Code.FAILED_PRECONDITION, "this worker shares no folder")
        name = PurePosixPath(file.path)
        if not name.parts or name.is_absolute() or "\0" in file.path:
            raise _Refused(Code.INVALID_ARGUMENT, "path: must be relative to the shared folder")
        try:
            path = (self._root / name).resolve(strict=True)
            status = path.stat()
        except (OSError, RuntimeError):
            path, status = self._root, self._root.stat()
        if not path.is_relative_to(self._root) or not stat.S_ISREG(status.st_mode):
            raise _Refused(Code.NOT_FOUND, "path: no such file in the shared folder")
        if status.st_size != file.size:
            raise _Refused(Code.FAILED_PRECONDITION, f"size: the file has {status.st_size} bytes here")
        return path


def _begin(block: pb.Block | None) -> tuple[pb.Header, FeatureExtractor]:
    if block is None or block.WhichOneof("part") != "header":
        raise _Refused(Code.INVALID_ARGUMENT, "block: a header must come first")
    header = block.header
    try:
        extractor = FeatureExtractor(header.sample_rate, header.channels)
    except ValueError as e:
        raise _Refused(Code.INVALID_ARGUMENT, str(e)) from e
    if not 1 <= header.frames <= LONGEST_S * header.sample_rate:
        raise _Refused(Code.INVALID_ARGUMENT, f"frames must be 1 to {LONGEST_S} s, got {header.frames}")
    return header, extractor


async def _next(blocks: AsyncIterator[pb.Block]) -> pb.Block | None:
    """The next block, None at the end of the stream."""
    try:
        async with asyncio.timeout(IDLE_S):
            return await anext(blocks, None)
    except TimeoutError:
        raise _Refused(Code.DEADLINE_EXCEEDED, f"no block came for {IDLE_S:g} s") from None


@asynccontextmanager
async def running(config: WorkerConfig) -> AsyncIterator[str]:
    """Serve while the context lasts; gives the address, with the port really bound.

    Leaving it drains: health turns to "not serving", new calls go elsewhere, running ones may finish.
    """
    server = aio.server(options=codec.WORKER_OPTIONS)
    generator = Generator(config)
    add_FingerprintServiceServicer_to_server(generator, server)
    state = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    await state.set(codec.SERVICE, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection(
        (codec.SERVICE, "grpc.health.v1.Health", reflection.SERVICE_NAME), server
    )
    try:
        if config.tls is None:
            port = server.add_insecure_port(config.listen)
        else:
            port = server.add_secure_port(config.listen, grpc.ssl_server_credentials([config.tls]))
    except RuntimeError as e:
        raise OSError(f"cannot listen on {config.listen}") from e
    await server.start()
    try:
        yield f"{config.listen.rpartition(':')[0]}:{port}"
    finally:
        await state.enter_graceful_shutdown()
        stopping = asyncio.create_task(server.stop(config.drain_s))
        finished = asyncio.create_task(generator.idle())
        await asyncio.wait((stopping, finished), return_when=asyncio.FIRST_COMPLETED)
        # Those who watch our health would stay for the whole grace; last answers need only a moment.
        await server.stop(FLUSH_S)
        await asyncio.gather(stopping, finished)
        await asyncio.to_thread(generator.close)


def run(config: WorkerConfig) -> None:
    """Serve until SIGTERM or SIGINT."""
    asyncio.run(_serve(config))


async def _serve(config: WorkerConfig) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with running(config) as address:
        print(f"Auralis worker is at {address}", flush=True)
        if config.token is None and not address.startswith(("127.", "localhost:", "[::1]")):
            log.warning("no token: it answers everybody who reaches it")
        await stopped.wait()
        log.info("draining")

"""Real workers as processes, and the ways a worker can fail, each on a real socket."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

AURALIS = [sys.executable, "-m", "auralis_server"]


@contextmanager
def worker(*arguments: object, listen: str = "127.0.0.1:0") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A worker process and its address; killed at the end whatever happened."""
    with _running("worker", "--listen", listen, *arguments) as started:
        yield started


@contextmanager
def server(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process on a free port and where its page is; killed at the end whatever happened."""
    with _running("serve", "--port", "0", *arguments) as (process, address):
        yield process, f"http://{address}"


@contextmanager
def _running(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [*AURALIS, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        address = re.search(r"at (?:http://)?(\S+:\d+)", line)
        assert address, line + process.stderr.read()
        yield process, address[1]
    finally:
        process.kill()
        process.communicate()


def unused() -> str:
    """An address of the loopback where nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """An address that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        yield f"127.0.0.1:{s.getsockname()[1]}"


@contextmanager
def answering(answer: Callable[[Any], Any]) -> Iterator[str]:
    """A gRPC server of our service that takes any request whole and answers what it likes."""
    import grpc
    from auralis_server.rpc import codec
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    def stream(blocks: Any, context: Any) -> Any:
        for _ in blocks:
            pass
        return answer(context)

    def serialise(reply: Any) -> bytes:
        return reply if isinstance(reply, bytes) else reply.SerializeToString()

    handlers = {
        "Compute": grpc.stream_unary_rpc_method_handler(stream, response_serializer=serialise),
        "ComputeFile": grpc.unary_unary_rpc_method_handler(
            lambda request, context: answer(context), response_serializer=serialise
        ),
    }
    server = grpc.server(ThreadPoolExecutor(8))
    state = health.HealthServicer()
    state.set(codec.SERVICE, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(codec.SERVICE, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()

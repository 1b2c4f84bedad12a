"""Measuring tracks in processes of their own, behind everything that plays.

A thread that measures shares the GIL with the event loop, and one of low priority may be put aside
while it holds it: the loop then waits for work that nobody is in a hurry about. A child process of the
low priority has nothing the loop waits for, and takes nothing with it when a damaged file brings
the decoder down.

The child is this module run as a program. It gets a line of JSON for each file and answers with one. In
between it asks now and then whether to go on, and stands still until it is told. When the pipe
closes, it ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from os import PathLike, fspath

from auralis_core import AuralisError, Fingerprint, FingerprintError, errors
from auralis_core.fingerprint import measure

ASK_S = 0.05
_ASK, _GO = b"?\n", b"\n"


class Analysts:
    """Child processes that measure, started when first needed and kept; safe from any thread.

    Parameters
    ----------
    nice : int
        How far behind this process theirs stand.
    """

    def __init__(self, nice: int) -> None:
        self._nice = nice
        self._lock = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []
        self._closed = False

    def measure(
        self,
        path: str | PathLike[str],
        deadline_s: float | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Fingerprint:
        """What :func:`auralis_core.fingerprint.measure` finds, found elsewhere; for worker threads.

        Parameters
        ----------
        path : path-like
        deadline_s : float, optional
        cancelled : callable
            Asked in this thread every `ASK_S`; while it does not return, the child stands still.

        Raises
        ------
        AuralisError
            As `measure` does; `FingerprintError` too when the child dies over the file.
        """
        with self._child() as child:
            assert child.stdin is not None
            assert child.stdout is not None
            line = b""
            with suppress(BrokenPipeError):  # then nothing can be read either
                child.stdin.write(json.dumps([fspath(path), deadline_s]).encode() + b"\n")
                child.stdin.flush()
                while (line := child.stdout.readline()) == _ASK:
                    line = b""  # no answer, should it be gone when it is told to go on
                    if cancelled():
                        raise FingerprintError("measurement was cancelled", path)
                    child.stdin.write(_GO)
                    child.stdin.flush()
            if not line.endswith(b"\n"):
                raise FingerprintError(f"the decoder died of it (status {child.wait()})", path)
            result = json.loads(line)
            if "error" in result:
                raise getattr(errors, result["error"])(result["message"], path)
        return Fingerprint.from_dict(result)

    def close(self) -> None:
        """End the children; no thread may be measuring."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for child in idle:
            _end(child)

    @contextmanager
    def _child(self) -> Iterator[subprocess.Popen[bytes]]:
        """An idle child or a new one. After an error it is ended: what state it is in is not known."""
        with self._lock:
            if self._closed:
                raise FingerprintError("nothing is measured any more")
            child = self._idle.pop() if self._idle else None
        if child is None:
            child = subprocess.Popen(
                [sys.executable, "-m", __name__, str(self._nice)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        with ExitStack() as unfit:
            unfit.callback(_end, child)
            yield child
            with self._lock:
                if not self._closed:
                    self._idle.append(child)
                    unfit.pop_all()


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    with suppress(BrokenPipeError):
        child.communicate()


def main() -> None:
    """Answer line by line until the parent has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this
    os.nice(int(sys.argv[1]))
    for line in iter(sys.stdin.buffer.readline, b""):
        path, deadline_s = json.loads(line)
        try:
            answer = measure(path, deadline_s=deadline_s, cancelled=_Permission()).fingerprint.to_dict()
        except AuralisError as e:
            answer = {"error": type(e).__name__, "message": e.message}
        _say(json.dumps(answer).encode() + b"\n")


class _Permission:
    """Asks the parent whether to go on, but not between any two blocks."""

    def __init__(self) -> None:
        self._asked = time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self._asked < ASK_S:
            return False
        _say(_ASK)
        gone = sys.stdin.buffer.readline() != _GO
        self._asked = time.monotonic()
        return gone


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main()

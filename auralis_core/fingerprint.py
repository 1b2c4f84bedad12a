"""From a path or an array to a Fingerprint. Measuring is ``features.pyx``; keeping is not done here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from .audio import AudioReader
from .errors import FingerprintError
from .features import FeatureExtractor
from .schema import Fingerprint

#: Frames decoded at a time: the samples are still in cache when they are measured.
BLOCK = 32768


@dataclass(frozen=True, slots=True)
class Measurement:
    """A fingerprint and what it cost, in seconds of wall-clock time."""

    fingerprint: Fingerprint
    decode_s: float
    analyse_s: float
    total_s: float


def measure(
    path: str | PathLike[str],
    *,
    deadline_s: float | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Measurement:
    """Measure a file.

    Parameters
    ----------
    path : path-like
    deadline_s : float, optional
        Seconds after which the pass gives up, even while the decoder stalls (a dead network drive): the
        work then runs in a thread of its own, which is left behind and ends when the decoder returns.
    cancelled : callable, optional
        Asked between blocks; when it returns true the pass gives up.

    Raises
    ------
    AudioReadError, AudioFormatError
        As :class:`auralis_core.audio.AudioReader` does; a truncated file has no fingerprint.
    FingerprintError
        The deadline passed or the caller cancelled.
    """
    if deadline_s is None:
        return _measure(path, cancelled or (lambda: False))
    if not deadline_s > 0:
        raise ValueError(f"deadline_s must be positive, got {deadline_s!r}")
    given_up = threading.Event()

    def stop() -> bool:
        return given_up.is_set() or bool(cancelled and cancelled())

    pool = ThreadPoolExecutor(1, thread_name_prefix="auralis-measure")
    try:
        return pool.submit(_measure, path, stop).result(deadline_s)
    except TimeoutError:
        given_up.set()
        raise FingerprintError(f"not measured within {deadline_s:g} s", path) from None
    finally:
        pool.shutdown(wait=False)


def _measure(path: str | PathLike[str], cancelled: Callable[[], bool]) -> Measurement:
    start = time.perf_counter()
    decode = 0.0
    with AudioReader(path) as reader:
        extractor = FeatureExtractor(reader.sample_rate, reader.channels)
        while True:
            if cancelled():
                raise FingerprintError("measurement was cancelled", path)
            before = time.perf_counter()
            block = reader.read(BLOCK)
            decode += time.perf_counter() - before
            if block.shape[1] == 0:
                break
            extractor.feed(block)
        result = extractor.finish()
    total = time.perf_counter() - start
    return Measurement(result, decode, total - decode, total)


def fingerprint(path: str | PathLike[str]) -> Fingerprint:
    """The fingerprint of a file; raises as :func:`measure` does."""
    return measure(path).fingerprint


def fingerprint_array(x: NDArray[np.float32], sample_rate: int) -> Fingerprint:
    """The fingerprint of float32 samples (channels, frames) at `sample_rate` Hz.

    Raises
    ------
    ValueError
        `x` is not a two-dimensional float32 array with 1–8 channels, or the rate is out of range.
    FingerprintError
        `x` has no frames.
    """
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.dtype != np.float32:
        raise ValueError("x must be a float32 array of shape (channels, frames)")
    extractor = FeatureExtractor(sample_rate, x.shape[0])
    extractor.feed(np.ascontiguousarray(x))
    return extractor.finish()

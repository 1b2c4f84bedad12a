"""The library scan behind a running server: first every file is listed, then what is new is measured.

Measuring is patient: it is done by processes of the lowest priority, which rest while any stream is
filling its buffer. What a scan does with a file is `auralis_core.library`'s.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from auralis_core import AuralisError, Fingerprint
from auralis_core.dataset import Dataset
from auralis_core.library import scan

from .config import ServerConfig
from .sources import Sources

log = logging.getLogger(__name__)

REST_S = 0.2  # how often a resting thread looks whether it should give up


class _Stopped(Exception):
    """The server stops; not an `AuralisError`, which would count against the file."""


class Scanner:
    """Scans of the library, one at a time, in a thread of their own.

    Parameters
    ----------
    config : ServerConfig
    dataset : Dataset
    sources : Sources
        Whose makers measure what no store knows.
    calm : threading.Event
        Set while no stream needs the processor.
    """

    def __init__(
        self, config: ServerConfig, dataset: Dataset, sources: Sources, calm: threading.Event
    ) -> None:
        self._config = config
        self._dataset = dataset
        self._sources = sources
        self._calm = calm
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        #: What the scan does, or did last: "listing" or "measuring"; files looked at, of how many.
        self.progress = ("", 0, 0)

    def start(self) -> bool:
        """Scan, unless a scan is running; whether one was begun."""
        if self._stop.is_set() or self.running:
            return False
        self._thread = threading.Thread(target=self._run, name="scan", daemon=True)
        self._thread.start()
        return True

    @property
    def running(self) -> bool:
        """Whether a scan is under way."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Stop; what was finished is stored."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        config = self._config
        try:
            for analyse in (False, True):
                self.progress = ("measuring" if analyse else "listing", 0, 0)
                report = scan(
                    config.dirs,
                    self._dataset,
                    jobs=max(1, (os.cpu_count() or 1) // 2) if analyse else None,
                    analyse=analyse,
                    progress=self._note,
                    cache=config.sidecar_dir,
                    measure=self._measure,
                )
                log.info(
                    "%s %d files in %.1f s: %d measured, %d from sidecars, %d known, %d failed",
                    "analysed" if analyse else "listed",
                    *(report.scanned, report.elapsed_s, report.fingerprinted),
                    *(report.from_sidecar, report.from_database, len(report.failed)),
                )
        except _Stopped:
            log.info("scan stopped")
        except AuralisError as e:
            log.error("scan ended early: %s", e)

    def _note(self, done: int, total: int, path: str) -> None:
        self.progress = (self.progress[0], done, total)
        self._stop_if_told()

    def _stop_if_told(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _measure(self, path: str, cancelled: Callable[[], bool]) -> Fingerprint:
        def rest_or_stop() -> bool:
            while not self._calm.wait(REST_S):
                self._stop_if_told()
            self._stop_if_told()
            return cancelled()

        return self._sources.measure(Path(path), rest_or_stop)

"""What all sessions of a server share: the library, the sources, the worker threads, the streams.

Holds the one check every path passes before a file is opened.
"""

from __future__ import annotations

import itertools
import os
import stat
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from auralis_core.dataset import Dataset, Track

from .admission import Admission
from .refusal import ProtocolError
from .sources import Sources


class Studio:
    """Shared by every session of one server.

    Parameters
    ----------
    dataset : Dataset
    sources : Sources
    roots : iterable of Path
        Only regular files below these, links resolved, are ever opened.
    admission : Admission
    """

    def __init__(
        self, dataset: Dataset, sources: Sources, roots: Iterable[Path], admission: Admission
    ) -> None:
        self.dataset = dataset
        self.admission = admission
        self.sources = sources
        self.roots = tuple(Path(root).resolve() for root in roots)
        # No more than run at once: one that waits for a core while it holds the GIL holds up the loop.
        self.pool = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "render")
        self.numbers = itertools.count(1)
        self.streams = 0
        self.parked = 0  # of these, whose socket dropped
        self.calm = threading.Event()
        self._hungry: set[object] = set()
        self.calm.set()

    def track(self, id: int) -> tuple[Track, Path]:
        """The track and its file, checked; for worker threads.

        Raises
        ------
        ProtocolError
            `unknown_track` or `unreadable`.
        """
        track = self.dataset.track(id)
        if track is None:
            raise ProtocolError("unknown_track", "no track has this id")
        try:
            path = Path(track.path).resolve(strict=True)
            regular = stat.S_ISREG(path.stat().st_mode)
        except (OSError, RuntimeError) as e:
            raise ProtocolError("unreadable", "the audio file is missing") from e
        if not regular or not any(path.is_relative_to(root) for root in self.roots):
            raise ProtocolError("unreadable", "the audio file is outside the library")
        return track, path

    def admit(self) -> None:
        """Let one more stream in beside those that sound; one that is parked costs nothing.

        Raises
        ------
        ProtocolError
            `busy`, with the time after which to try again.
        """
        self.admission.admit(self.streams - self.parked)

    def hungry(self, stream: object) -> None:
        """A stream fills its buffer and wants the processor for itself."""
        self._hungry.add(stream)
        self.calm.clear()

    def sated(self, stream: object) -> None:
        """The stream holds as much as it may."""
        self._hungry.discard(stream)
        if not self._hungry:
            self.calm.set()

    def close(self) -> None:
        """Let the worker threads end; no stream may be left."""
        self.pool.shutdown(wait=True, cancel_futures=True)

"""The search for the fingerprint of what a stream plays: one track at a time, and only while it is wanted.

Who is asked is sources.py's; what a fingerprint changes is playback.py's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from .events import FingerprintProgress
from .part import Part
from .sources import Found, Sources


class Inquiry:
    """The search of one stream.

    Parameters
    ----------
    sources : Sources
    wake : callable
        Called when the search has ended.
    """

    def __init__(self, sources: Sources, wake: Callable[[], None]) -> None:
        self._sources = sources
        self._wake = wake
        self._search: asyncio.Task[Found | None] | None = None
        self._sought: Part | None = None
        self._began = 0.0

    @property
    def done(self) -> bool:
        """Whether `take` has an answer."""
        return self._search is not None and self._search.done()

    def want(self, parts: Sequence[Part | None]) -> FingerprintProgress | None:
        """Search for the first of these that was not searched for; says so when a search begins."""
        if self._search is not None and self._sought is not None and self._sought not in parts:
            self._sought.searched = False  # not found out yet, should the listener go back to it
            self._search.cancel()
            self._search = None
        part = next((p for p in parts if p is not None and not p.searched), None)
        if self._search is not None or part is None:
            return None
        part.searched = True
        self._sought, self._began = part, time.monotonic()
        self._search = asyncio.create_task(self._sources.get(part.track, part.path))
        self._search.add_done_callback(lambda _: self._wake())
        return self._progress(part, "computing", None)

    def take(self) -> tuple[Part, Found | None, FingerprintProgress]:
        """The part that was sought, what was found for it, and what to tell the client."""
        part, search, self._search = self._sought, self._search, None
        assert part is not None
        assert search is not None
        found = search.result()
        return part, found, self._progress(part, "failed" if found is None else "ready", found)

    def close(self) -> None:
        """Nobody wants to know any more."""
        if self._search is not None:
            self._search.cancel()

    def _progress(self, part: Part, status: str, found: Found | None) -> FingerprintProgress:
        return FingerprintProgress(
            track_id=part.track.id,
            status=status,
            source=None if found is None else found.source,
            elapsed_ms=1000 * (time.monotonic() - self._began),
            failed=[] if found is None else list(found.failed),
        )

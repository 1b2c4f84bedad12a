"""What other players ask about a library beside its tracks: neighbours, albums, covers, and a new scan.

Handlers only; which tracks are alike or belong together is the core's.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from auralis_core.dataset import Track
from auralis_core.similar import nearest
from auralis_core.tags import artwork

from .bodies import AlbumList, AlbumRow, ScanRow, SimilarList, SimilarRow, body
from .scanner import Scanner
from .studio import Studio


class LibraryPages:
    """The handlers and what they share.

    Parameters
    ----------
    studio : Studio
    scanner : Scanner
    """

    def __init__(self, studio: Studio, scanner: Scanner) -> None:
        self._studio = studio
        self._scanner = scanner

    async def similar(self, track: Track, count: int) -> web.Response:
        """`GET /api/tracks/{id}/similar?limit=`: the nearest by fingerprint, nearest first."""

        def work() -> list[SimilarRow]:
            # Some may lie in folders that are not served now.
            found = nearest(self._studio.dataset, track.id, 4 * count)
            here = [(t, d) for t, d in found if self._is_served(t)]
            return [SimilarRow(t.id, t.title, t.artist, t.album, t.duration, d) for t, d in here[:count]]

        try:
            rows = await asyncio.to_thread(work)
        except ValueError:
            raise web.HTTPNotFound(reason="this track has no fingerprint yet") from None
        return _json(SimilarList(rows))

    async def albums(self, search: str, limit: int, offset: int) -> web.Response:
        """`GET /api/albums?search=&limit=&offset=`."""
        studio = self._studio
        total, found = await asyncio.to_thread(studio.dataset.albums, search, limit, offset, studio.roots)
        return _json(AlbumList(total, [AlbumRow(*row) for row in found]))

    async def artwork(self, request: web.Request, id: int) -> web.Response:
        """`GET /api/tracks/{id}/artwork`: the picture inside the file."""
        track, path = await asyncio.to_thread(self._studio.track, id)
        etag = f'"{track.id}-{track.size}-{track.mtime_ns}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        found = await asyncio.to_thread(artwork, path)
        if found is None:
            raise web.HTTPNotFound(reason="no picture in this file")
        kind, data = found
        return web.Response(body=data, content_type=kind, headers=headers)

    async def scan(self, request: web.Request) -> web.Response:
        """`POST /api/library/scan` begins one unless one runs; `GET` tells how far it is."""
        if request.method == "POST" and self._scanner.start():
            return _json(self._progress(), 202)
        return _json(self._progress())

    def _progress(self) -> ScanRow:
        scanner = self._scanner
        return ScanRow(scanner.running, *scanner.progress)

    def _is_served(self, track: Track) -> bool:
        return any(Path(track.path).is_relative_to(root) for root in self._studio.roots)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=body(value), content_type="application/json", status=status)

"""`stream.wav` and `stream.flac`: a track through its plan, for every player that can open an address.

Bytes are made while they are sent, by wavefile.py and flac.py of the core, in small blocks in threads
of their own, and only as fast as the client takes them. One answer is one plan, from the first byte
to the last: it is chosen before the header is sent, named in `X-Auralis-Plan` and part of the ETag,
so that ranges of two different plans are never put together. A track without a fingerprint is
measured first, for a while; after that it gets the standard plan, and the header says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from auralis_core import (
    PRESETS,
    AuralisError,
    MasteringPlan,
    __version__,
    bypass_plan,
    plan,
    standard_plan,
)
from auralis_core.audio import AudioReader
from auralis_core.dataset import Track
from auralis_core.flac import FlacStream
from auralis_core.pieces import settled
from auralis_core.wavefile import BLOCK, Encoder, WaveFile

from .refusal import ProtocolError
from .sources import Found
from .studio import Studio
from .threads import in_thread

log = logging.getLogger(__name__)

#: Sample formats by the name in the query.
FORMATS = {"s16": "PCM_16", "s24": "PCM_24", "f32": "FLOAT"}
THREADS = 2
#: Beside others that want the processor a download gets this far at once and goes on this much faster
#: than it is heard.
HEAD_START_S, FASTEST = 10.0, 2.0
REST_S = 0.1
_RANGE = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?")


def byte_range(text: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last of a Range header; None when the whole is to be sent.

    Several ranges at once, other units and what makes no sense are ignored, as RFC 9110 allows.

    Raises
    ------
    ValueError
        Nothing of the file lies in the range: 416.
    """
    match = _RANGE.fullmatch((text or "").strip().replace(" ", ""))
    if match is None or not any(match.groups()):
        return None
    first, last = (None if x is None else int(x) for x in match.groups())
    if first is None:
        if not last:
            raise ValueError("an empty range")
        return max(0, size - last), size
    if last is not None and last < first:
        return None
    if first >= size:
        raise ValueError("behind the end")
    return first, size if last is None else min(last + 1, size)


@dataclass(frozen=True, slots=True)
class Choice:
    """What one request is answered with, before anything is rendered."""

    track: Track
    path: Path
    plan: MasteringPlan
    subtype: str
    described: str  # the value of X-Auralis-Plan
    etag: str
    modified: str


class Downloads:
    """The two handlers, and what they share.

    Parameters
    ----------
    studio : Studio
    wait_s : float
        How long a request may wait for a fingerprint.
    stall_s : float
        How long a client may take no byte.
    """

    def __init__(self, studio: Studio, wait_s: float, stall_s: float) -> None:
        self._studio = studio
        self._wait_s = wait_s
        self._stall_s = stall_s
        self._sending: set[asyncio.Transport] = set()
        # Not the pool of the sockets: a download takes whatever it is given and must not stand in their way.
        self._pool = ThreadPoolExecutor(THREADS, "download")

    def close(self) -> None:
        """Let the threads end; no download may be left."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def open(self) -> int:
        """Downloads under way."""
        return len(self._sending)

    def stop(self) -> None:
        """Break off what is under way; a client takes it up again by a range, from the next server."""
        for transport in self._sending:
            transport.abort()

    async def wav(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/tracks/{id}/stream.wav?preset&intensity&bypass&format`, with byte ranges."""
        choice = await self._choose(request, ("s16", "s24", "f32"))
        with closing(await in_thread(self._pool, WaveFile, choice.path, choice.plan, choice.subtype)) as file:
            response = _response(choice, "audio/wav", "wav")
            response.headers["Accept-Ranges"] = "bytes"
            if _is_known(request, choice):
                return _not_modified(response)
            start, stop = 0, file.size
            if request.headers.get("If-Range", choice.etag) == choice.etag:
                try:
                    wanted = byte_range(request.headers.get("Range"), file.size)
                except ValueError:
                    raise web.HTTPRequestRangeNotSatisfiable(
                        reason="the range lies behind the end",
                        headers={"Content-Range": f"bytes */{file.size}"},
                    ) from None
                if wanted is not None:
                    start, stop = wanted
                    response.set_status(206)
                    response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
            response.content_length = stop - start
            return await self._send(request, response, choice, lambda: file.blocks(start, stop))

    async def flac(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/tracks/{id}/stream.flac?preset&intensity&bypass&format`, from start to end."""
        choice = await self._choose(request, ("s16", "s24"))
        with closing(await in_thread(self._pool, AudioReader, choice.path)) as reader:
            response = _response(choice, "audio/flac", "flac")
            if _is_known(request, choice):
                return _not_modified(response)
            return await self._send(request, response, choice, lambda: _flac(reader, choice))

    async def _choose(self, request: web.Request, formats: tuple[str, ...]) -> Choice:
        query = request.query
        preset, format = query.get("preset", "adaptive"), query.get("format", formats[0])
        if preset not in PRESETS:
            raise ProtocolError("unknown_preset", f"the presets are {', '.join(PRESETS)}")
        if format not in formats:
            raise web.HTTPBadRequest(reason=f"format must be one of {', '.join(formats)}")
        try:
            intensity = float(query.get("intensity", "1"))
        except ValueError:
            intensity = -1.0
        if not 0.0 <= intensity <= 1.0:
            raise web.HTTPBadRequest(reason="intensity must be a number from 0 to 1")
        if query.get("bypass", "0") not in ("0", "1"):
            raise web.HTTPBadRequest(reason="bypass must be 0 or 1")
        bypass = query.get("bypass") == "1"

        self._studio.admit()
        track, path, found = await in_thread(self._pool, self._look_up, int(request.match_info["id"]), bypass)
        wanted = f"preset={preset}; intensity={intensity:g}"
        if bypass:
            decided, described = bypass_plan(), "bypass"
        else:
            found = found or await self._measured(track, path)
            if found is not None:
                decided = plan(found.fingerprint, preset=preset, intensity=intensity)
                described = f"fingerprint; {wanted}; source={found.source}; region={decided.region}"
            else:
                decided, described = settled(standard_plan(preset, intensity)), f"standard; {wanted}"
        stat = path.stat()
        identity = (
            __version__,
            stat.st_size,
            stat.st_mtime_ns,
            track.id,
            decided.to_dict(),
            request.path,
            format,
        )
        return Choice(
            track=track,
            path=path,
            plan=decided,
            subtype=FORMATS[format],
            described=described,
            etag='"' + hashlib.sha256(repr(identity).encode()).hexdigest()[:24] + '"',
            modified=format_datetime(datetime.fromtimestamp(int(stat.st_mtime), UTC), usegmt=True),
        )

    def _look_up(self, id: int, bypass: bool) -> tuple[Track, Path, Found | None]:
        track, path = self._studio.track(id)
        return track, path, None if bypass else self._studio.sources.find(track, path)

    async def _measured(self, track: Track, path: Path) -> Found | None:
        """The fingerprint, if it can be had within `wait_s`."""
        try:
            async with asyncio.timeout(self._wait_s):
                found = await self._studio.sources.get(track, path)
        except TimeoutError:
            found = None
        if found is None:
            log.warning("track %d is downloaded by the standard plan: no fingerprint", track.id)
        return found

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        choice: Choice,
        blocks: Callable[[], Generator[bytes, None, None]],
    ) -> web.StreamResponse:
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return response  # hung up already
        self._sending.add(transport)
        self._studio.streams += 1
        began, made_s, block_s = time.monotonic(), 0.0, BLOCK / choice.track.sample_rate
        with closing(blocks()) as source:
            try:
                work = self._studio.admission.measured
                while (block := await in_thread(self._pool, work, next, source, None)) is not None:
                    async with asyncio.timeout(self._stall_s):
                        await response.write(block)
                    made_s += block_s
                    self._studio.admission.delivered(block_s)
                    await self._give_way(made_s - HEAD_START_S - FASTEST * (time.monotonic() - began))
                await response.write_eof()
            except AuralisError as e:
                log.error("download of track %d broke off: %s", choice.track.id, e)
            except TimeoutError:
                log.warning("a download took nothing for %g s: closed", self._stall_s)
            except ConnectionError:
                log.debug("a download was dropped by its client")
            else:
                return response
            finally:
                self._sending.discard(transport)
                self._studio.streams -= 1
        # The status has been sent; that the body ends early is all that can still be said.
        transport.abort()
        return response

    async def _give_way(self, ahead_s: float) -> None:
        """Slow down while other streams need the processor and this one has more than it plays."""
        while ahead_s > 0 and not self._studio.calm.is_set():
            await asyncio.sleep(REST_S)
            ahead_s -= FASTEST * REST_S


def _flac(reader: AudioReader, choice: Choice) -> Generator[bytes, None, None]:
    encoder = Encoder(reader, choice.plan, choice.subtype)
    with closing(FlacStream(reader.frames, reader.sample_rate, reader.channels, choice.subtype)) as stream:
        while len(steps := encoder.steps(BLOCK)):
            yield stream.feed(steps)
        yield stream.finish()


def _response(choice: Choice, kind: str, suffix: str) -> web.StreamResponse:
    name = quote(f"{choice.track.title or choice.track.id}.{suffix}".replace("/", "-"), safe="")
    return web.StreamResponse(
        headers={
            "Content-Type": kind,
            "Content-Disposition": f"inline; filename*=UTF-8''{name}",
            "ETag": choice.etag,
            "Last-Modified": choice.modified,
            "Cache-Control": "private, no-cache",  # ask again each time: the plan may have changed
            "X-Auralis-Plan": choice.described,
        }
    )


def _is_known(request: web.Request, choice: Choice) -> bool:
    given = request.headers.get("If-None-Match", "")
    return given.strip() == "*" or choice.etag in (tag.strip().removeprefix("W/") for tag in given.split(","))


def _not_modified(response: web.StreamResponse) -> web.StreamResponse:
    kept = ("ETag", "Last-Modified", "Cache-Control", "X-Auralis-Plan")
    return web.Response(status=304, headers={name: response.headers[name] for name in kept})

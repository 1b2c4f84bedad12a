"""Routes, start and stop. No logic: each handler asks one room and packs its answer."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from auralis_core import DIMENSIONS, AuralisError, DatasetError, __version__
from auralis_core.dataset import Dataset, Track
from auralis_core.features import simd

from . import metrics, security
from .admission import Admission
from .bodies import (
    HTTP_ERRORS,
    CapacityRow,
    DimensionRow,
    EngineRow,
    Failure,
    Health,
    LibraryRow,
    LoopRow,
    Status,
    TrackList,
    TrackRow,
    body,
)
from .config import ServerConfig
from .events import Error
from .http_library import LibraryPages
from .http_stream import Downloads
from .lag import LagProbe
from .news import tell_scans
from .parking import Parking
from .refusal import ERRORS, ProtocolError
from .scanner import Scanner
from .session import HARD_LIMIT, Session
from .sources import Sources
from .studio import Studio

log = logging.getLogger(__name__)

WEB = Path(__file__).with_name("web")
SEND_BUFFER = 64 * 1024
UNSENT = 32 * 1024
BACKUP_EVERY_S = 6 * 3600
DRAIN_S = 5.0  # for handlers still running when the server stops

#: Statuses of errors that the socket has in common with HTTP; the others are 400.
ERROR_STATUS = {"unknown_track": 404, "unreadable": 404, "busy": 503}
ERROR_HEADERS = ("Allow", "Content-Range", "Retry-After", "WWW-Authenticate")

CONFIG = web.AppKey("config", ServerConfig)
STUDIO = web.AppKey("studio", Studio)
DOWNLOADS = web.AppKey("downloads", Downloads)
LAG = web.AppKey("lag", LagProbe)
SCANNER = web.AppKey("scanner", Scanner)
LIBRARY = web.AppKey("library", LibraryPages)
SESSIONS = web.AppKey("sessions", set[Session])
PARKING = web.AppKey("parking", Parking)
PAGES = web.AppKey("pages", dict[str, Path])


def create_app(config: ServerConfig, token: str | None = None) -> web.Application:
    """The whole server as an application; `token` is what clients must show, if anything."""
    app = web.Application(middlewares=[answer_errors, security.guard(config, token)])
    app[CONFIG] = config
    app[SESSIONS] = set()
    # Only what is there at the start is ever served, so no path of a client's reaches the disk.
    app[PAGES] = {p.relative_to(WEB).as_posix(): p for p in WEB.rglob("*") if p.is_file()}
    app.router.add_routes(
        [
            web.get("/ws", converse),
            web.get("/healthz", health),
            web.get("/readyz", ready),
            web.get("/api/albums", list_albums),
            web.get("/api/library/scan", scan_library),
            web.post("/api/library/scan", scan_library),
            web.get("/api/tracks/{id:[0-9]{1,15}}/similar", list_similar),
            web.get("/api/tracks/{id:[0-9]{1,15}}/artwork", show_artwork),
            web.get("/metrics", show_metrics),
            web.get("/api/tracks", list_tracks),
            web.get("/api/tracks/{id:[0-9]{1,15}}", show_track),
            web.get("/api/tracks/{id:[0-9]{1,15}}/fingerprint", show_fingerprint),
            web.get("/api/tracks/{id:[0-9]{1,15}}/stream.wav", download_wav),
            web.get("/api/tracks/{id:[0-9]{1,15}}/stream.flac", download_flac),
            web.get("/api/dimensions", list_dimensions),
            web.get("/api/system/status", show_status),
            web.get("/", page),
            web.get("/{name:[^{}]+}", page),
        ]
    )
    app.on_response_prepare.append(security.harden)
    app.cleanup_ctx.append(furnish)
    app.on_shutdown.append(say_goodbye)
    return app


@asynccontextmanager
async def running(config: ServerConfig, token: str | None = None) -> AsyncIterator[str]:
    """Serve while the context lasts; gives the address, with the port really bound."""
    app = create_app(config, token)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_S, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port).start()
        if config.scan and config.dirs:
            app[SCANNER].start()  # not before somebody can connect
        host, port, *_ = runner.addresses[0]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def run(config: ServerConfig) -> None:
    """Serve until SIGTERM or SIGINT."""
    asyncio.run(_serve(config))


async def _serve(config: ServerConfig) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    token, is_new = security.needed_token(config)
    async with running(config, token) as address:
        print(f"Auralis is at {address}", flush=True)
        if is_new:
            print(f"Open it first with {address}/?token={token}", flush=True)
        await stopped.wait()
        log.info("stopping")


async def furnish(app: web.Application) -> AsyncIterator[None]:
    """Open what the server needs, and close it again in the opposite order."""
    config = app[CONFIG]
    dataset = await asyncio.to_thread(Dataset, config.database, "survive")
    sources = Sources(
        config.sources,
        dataset,
        sidecars=config.sidecars,
        sidecar_dir=config.sidecar_dir,
        budget_s=config.analysis_budget_s,
        remote=config.remote,
    )
    studio = app[STUDIO] = Studio(dataset, sources, config.dirs, Admission(config.render_share))
    app[PARKING] = Parking(config.park_s)
    downloads = app[DOWNLOADS] = Downloads(studio, config.measure_wait_s, config.stall_s)
    lag = app[LAG] = LagProbe()
    scanner = app[SCANNER] = Scanner(config, dataset, sources, studio.calm)
    app[LIBRARY] = LibraryPages(studio, scanner)
    sessions = app[SESSIONS]
    helpers = [asyncio.create_task(c) for c in (_copy_at_times(dataset), tell_scans(scanner, sessions))]
    yield
    lag.close()
    for helper in helpers:
        helper.cancel()
    await asyncio.wait(helpers)
    await asyncio.to_thread(scanner.close)
    await asyncio.to_thread(downloads.close)
    await asyncio.to_thread(studio.close)
    await asyncio.to_thread(sources.close)
    await asyncio.to_thread(_copy, dataset)
    dataset.close()


async def _copy_at_times(dataset: Dataset) -> None:
    while True:
        await asyncio.sleep(BACKUP_EVERY_S)
        await asyncio.to_thread(_copy, dataset)


def _copy(dataset: Dataset) -> None:
    """Back the library up if anything was stored since the last time."""
    try:
        if made := dataset.keep_backup():
            log.info("library copied to %s", made)
    except DatasetError as e:
        log.warning("library not copied: %s", e)


async def say_goodbye(app: web.Application) -> None:
    """Tell every client that the server stops."""
    app[DOWNLOADS].stop()
    await asyncio.gather(*(session.close() for session in app[SESSIONS]))
    await app[PARKING].close()


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as one JSON object with a stable code; detail goes to the log."""
    try:
        return await handler(request)
    except web.HTTPException as e:
        if e.status < 400:
            raise
        kept = {name: e.headers[name] for name in ERROR_HEADERS if name in e.headers}
        return _failure(e.status, HTTP_ERRORS.get(e.status, "error"), e.reason, kept)
    except ProtocolError as e:
        wait = {} if e.retry_after_ms is None else {"Retry-After": str(-(-e.retry_after_ms // 1000))}
        return _failure(ERROR_STATUS.get(e.code, 400), e.code, e.message, wait)
    except DatasetError as e:
        log.error("%s %s: %s", request.method, request.path, e)
        return _failure(503, HTTP_ERRORS[503], "the database does not answer")
    except AuralisError as e:
        log.error("%s %s: %s", request.method, request.path, e)
        return _failure(404, "unreadable", ERRORS["unreadable"])


async def converse(request: web.Request) -> web.StreamResponse:
    """`GET /ws`."""
    # Deflate costs more CPU than the DSP and gains nothing on PCM. A writer limit of 0 makes every
    # send wait while the transport is full, so what a stalled client holds is the sum of the three
    # buffers set here and the outbox.
    ws = web.WebSocketResponse(
        autoping=False,
        compress=False,
        decode_text=False,
        max_msg_size=HARD_LIMIT,
        timeout=1.0,
        writer_limit=0,
    )
    await ws.prepare(request)
    transport = request.transport
    if not isinstance(transport, asyncio.Transport):
        return ws  # hung up already
    transport.set_write_buffer_limits(high=UNSENT)
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
    app = request.app
    session = Session(ws, transport, app[STUDIO], app[PARKING], app[CONFIG].stall_s)
    request.app[SESSIONS].add(session)
    try:
        await session.run()
    finally:
        request.app[SESSIONS].discard(session)
    return ws


async def health(request: web.Request) -> web.Response:
    """`GET /healthz`: the process answers."""
    return _json(Health("ok"))


async def show_metrics(request: web.Request) -> web.Response:
    """`GET /metrics`."""
    text = metrics.render(request.app[STUDIO])
    return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})


async def ready(request: web.Request) -> web.Response:
    """`GET /readyz`: the library answers too; 503 when it does not."""
    await asyncio.to_thread(request.app[STUDIO].dataset.counts)
    return _json(Health("ready"))


async def list_albums(request: web.Request) -> web.Response:
    """`GET /api/albums?search=&limit=&offset=`."""
    search = request.query.get("search", "")[:200]
    limit, offset = _number(request, "limit", 50, 1, 1000), _number(request, "offset", 0, 0, 2**31)
    return await request.app[LIBRARY].albums(search, limit, offset)


async def list_similar(request: web.Request) -> web.Response:
    """`GET /api/tracks/{id}/similar?limit=`."""
    return await request.app[LIBRARY].similar(await _track(request), _number(request, "limit", 10, 1, 100))


async def show_artwork(request: web.Request) -> web.Response:
    """`GET /api/tracks/{id}/artwork`."""
    return await request.app[LIBRARY].artwork(request, int(request.match_info["id"]))


async def scan_library(request: web.Request) -> web.Response:
    """`POST /api/library/scan` and `GET` of the same."""
    return await request.app[LIBRARY].scan(request)


async def list_tracks(request: web.Request) -> web.Response:
    """`GET /api/tracks?search=&limit=&offset=`."""
    search = request.query.get("search", "")[:200]
    limit, offset = _number(request, "limit", 50, 1, 1000), _number(request, "offset", 0, 0, 2**31)
    studio = request.app[STUDIO]
    # What an earlier start knew of other folders stays in the dataset, but cannot be played from here.
    total, tracks = await asyncio.to_thread(studio.dataset.tracks, search, limit, offset, studio.roots)
    return _json(TrackList(total, [_row(track) for track in tracks]))


async def show_track(request: web.Request) -> web.Response:
    """`GET /api/tracks/{id}`."""
    return _json(_row(await _track(request)))


async def show_fingerprint(request: web.Request) -> web.Response:
    """`GET /api/tracks/{id}/fingerprint`."""
    track = await _track(request)
    fp = await asyncio.to_thread(request.app[STUDIO].dataset.fingerprint, track.id)
    if fp is None:
        raise web.HTTPNotFound(reason="this track has no fingerprint yet")
    return _json(fp.to_dict())


async def download_wav(request: web.Request) -> web.StreamResponse:
    """`GET /api/tracks/{id}/stream.wav`."""
    return await request.app[DOWNLOADS].wav(request)


async def download_flac(request: web.Request) -> web.StreamResponse:
    """`GET /api/tracks/{id}/stream.flac`."""
    return await request.app[DOWNLOADS].flac(request)


async def list_dimensions(request: web.Request) -> web.Response:
    """`GET /api/dimensions`: the schema's table, in canonical order."""
    return _json([DimensionRow(d.name, d.group, d.unit, d.low, d.high) for d in DIMENSIONS])


async def show_status(request: web.Request) -> web.Response:
    """`GET /api/system/status`."""
    studio, lag = request.app[STUDIO], request.app[LAG]
    counts = await asyncio.to_thread(studio.dataset.counts, studio.roots)
    return _json(
        Status(
            version=__version__,
            engine=EngineRow(simd=simd()),
            sources=studio.sources.rows(),
            streams=studio.streams,
            loop=LoopRow(lag.quantile_ms(0.5), lag.quantile_ms(0.99)),
            capacity=_capacity(studio.admission),
            database=studio.dataset.mode,
            library=LibraryRow(tracks=counts.tracks, fingerprinted=counts.fingerprinted),
        )
    )


async def page(request: web.Request) -> web.StreamResponse:
    """`GET /` and the files of the page, each at its own name."""
    path = request.app[PAGES].get(request.match_info.get("name", "index.html"))
    if path is None:
        raise web.HTTPNotFound(reason="no such page")
    return web.FileResponse(path, headers={"Cache-Control": "no-cache"})


async def _track(request: web.Request) -> Track:
    track = await asyncio.to_thread(request.app[STUDIO].dataset.track, int(request.match_info["id"]))
    if track is None:
        raise ProtocolError("unknown_track", "no track has this id")
    return track


def _row(track: Track) -> TrackRow:
    return TrackRow(
        id=track.id,
        title=track.title,
        artist=track.artist,
        album=track.album,
        duration=track.duration,
        sample_rate=track.sample_rate,
        channels=track.channels,
        fingerprint=track.status,
        reason=track.reason,
    )


def _capacity(admission: Admission) -> CapacityRow:
    fits, cost = admission.capacity, admission.cost
    return CapacityRow(int(fits) if math.isfinite(fits) else None, 1000 * cost or None, admission.refused)


def _number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise web.HTTPBadRequest(reason=f"{name} must be a whole number from {low} to {high}")
    return int(text)


def _json(value: object) -> web.Response:
    return web.Response(body=body(value), content_type="application/json")


def _failure(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    answer = body(Failure(Error(code, message)))
    return web.Response(status=status, body=answer, content_type="application/json", headers=headers)

"""One WebSocket: commands in, frames and events out.

The reader loop only parses and dispatches. At most one stream plays; a new one takes its place once
its file is open, so a request that fails leaves the music alone.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import time

from aiohttp import WSCloseCode, WSMsgType, web

from auralis_core import PRESETS, __version__

from . import binary, protocol
from .commands import (
    PROTOCOL,
    Command,
    Credit,
    Hello,
    Next,
    Pause,
    Ping,
    Play,
    Queue,
    Resume,
    Resuming,
    Seek,
    Set,
    Stop,
)
from .events import Error, Event, Pong, ServerHello
from .line import Line, Terms
from .outbox import Outbox, Reply
from .parking import Parking
from .refusal import ERRORS, ProtocolError
from .stream import Stream
from .studio import Studio
from .threads import gone

log = logging.getLogger(__name__)

PING_S = 10.0
CLOSE_S = 2.0  # for the last words, when the server stops
HARD_LIMIT = 4 * protocol.MAX_COMMAND_BYTES  # beyond it the socket is closed instead of answered
_STAMP = struct.Struct("<d")


class Session:
    """The conversation on one socket.

    Parameters
    ----------
    ws : aiohttp.web.WebSocketResponse
        Prepared, with `autoping` off.
    transport : asyncio.Transport
        Its connection, to be aborted when the client stops reading.
    studio : Studio
    parking : Parking
        Where a stream goes when the socket drops, and whence it comes back.
    stall_s : float
        How long the client may take no byte.
    """

    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        studio: Studio,
        parking: Parking,
        stall_s: float,
    ) -> None:
        self._ws = ws
        self._transport = transport
        self._studio = studio
        self._parking = parking
        self._stall_s = stall_s
        self._outbox = Outbox(self._wake)
        self._line = Line(self._outbox, lambda: self._round_trip, self._next_epoch)
        self._epoch = 0
        self._terms = Terms()
        self._playing: Stream | None = None
        self._coming: Stream | None = None
        self._streams: set[Stream] = set()
        self._closing = False
        self._round_trip = 0.0
        self._heard = time.monotonic()
        self._finished = asyncio.Event()

    @property
    def held_bytes(self) -> int:
        """What waits in this process to be sent."""
        return self._outbox.audio_bytes + self._transport.get_write_buffer_size()

    async def run(self) -> None:
        """Serve the socket until it closes; afterwards nothing of it is left."""
        helpers = [asyncio.create_task(self._write()), asyncio.create_task(self._ping())]
        try:
            async for message in self._ws:
                self._heard = time.monotonic()
                self._take(message.type, message.data)
                await self._outbox.settled()
        finally:
            if self._playing is not None and not self._playing.over and self._has_dropped():
                stream, self._playing = self._playing, None
                self._streams.discard(stream)
                self._parking.park(stream)
            ending = [stream.task for stream in self._streams]
            for stream in list(self._streams):
                self._end(stream, "stopped")
            for helper in helpers:
                helper.cancel()
            self._finished.set()
            await gone([*helpers, *ending])

    def tell(self, event: Event) -> None:
        """Say something that is about no stream."""
        self._outbox.say(event)

    async def close(self) -> None:
        """Tell the client that the server stops, and hang up."""
        self._closing = True
        self._outbox.say(Error("shutting_down", ERRORS["shutting_down"]))
        for stream in list(self._streams):
            self._end(stream, "stopped")
        self._outbox.hang_up()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._finished.wait()
        except TimeoutError:
            self._transport.abort()

    # In.

    def _take(self, kind: WSMsgType, data: bytes) -> None:
        if kind is WSMsgType.TEXT:
            self._take_text(data)
        elif kind is WSMsgType.BINARY:
            self._outbox.say(Error("binary_message", ERRORS["binary_message"]))
        elif kind is WSMsgType.PING:
            self._outbox.pong(data)
        elif kind is WSMsgType.PONG and len(data) == _STAMP.size:
            self._round_trip = max(0.0, min(1.0, self._heard - _STAMP.unpack(data)[0]))

    def _take_text(self, text: bytes) -> None:
        try:
            command, id = protocol.decode_command(text)
        except ProtocolError as e:
            log.debug("refused: %s", e)
            Reply(self._outbox, e.id).error(e.code, e.message)
            return
        reply = Reply(self._outbox, id)
        try:
            self._obey(command, reply)
        except ProtocolError as e:
            reply.error(e.code, e.message, e.retry_after_ms)

    def _obey(self, command: Command, reply: Reply) -> None:
        match command:
            case Credit():
                if self._playing is not None:
                    self._playing.credit(command)
                reply.ok()
            case Ping():
                self._outbox.say(Pong())
                reply.ok()
            case Hello():
                self._greet(command)
                if command.resume is None:
                    reply.ok()
                else:
                    self._take_up(command.resume, reply)
            case Play():
                _known_preset(command.preset)
                self._play(command, reply)
            case Seek() | Next() | Queue():
                self._stream().obey(command, reply)
            case Set():
                _known_preset(command.preset)
                self._stream().obey(command, reply)
            case Pause():
                self._stream().pause(reply)
            case Resume():
                self._stream().resume(reply)
            case Stop():
                self._stop(reply)

    def _greet(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            raise ProtocolError("unsupported", f"this server speaks protocol {PROTOCOL}")
        format = next((name for name in hello.formats if name in binary.FORMATS), None)
        if format is None:
            raise ProtocolError("unsupported", f"the formats are {', '.join(binary.FORMATS)}")
        self._terms = Terms(format, hello.lead_ms, hello.max_buffer_ms)
        self._outbox.say(
            ServerHello(
                protocol=PROTOCOL,
                version=__version__,
                format=format,
                formats=list(binary.FORMATS),
                lead_ms=hello.lead_ms,
                max_buffer_ms=hello.max_buffer_ms,
                presets=list(PRESETS),
            )
        )

    # Streams.

    def _stream(self) -> Stream:
        """The stream a command is for: the one asked for last."""
        stream = self._coming or self._playing
        if stream is None or stream.over:
            raise ProtocolError("no_stream", ERRORS["no_stream"])
        return stream

    def _play(self, command: Play, reply: Reply) -> None:
        self._admit()
        if self._coming is not None:
            self._end(self._coming, "superseded")
        stream = self._coming = Stream(
            *(self._studio, self._line, command, reply), terms=self._terms, on_air=self._on_air
        )
        stream.task = asyncio.create_task(_run(stream))
        self._keep(stream)

    def _admit(self) -> None:
        """See that there is room for a stream here, unless one takes the place of another."""
        if self._coming is None and self._playing is None:
            self._studio.admit()

    def _on_air(self, stream: Stream) -> None:
        if self._playing is not None:
            self._end(self._playing, "superseded")
        self._playing, self._coming = stream, None
        self._parking.hold(stream, lambda: self._let_go(stream))

    def _take_up(self, resuming: Resuming, reply: Reply) -> None:
        """Go on with a stream whose socket dropped, or whose client knows so before this server does."""
        if any(stream.number == resuming.stream for stream in self._streams):
            raise ProtocolError("not_resumable", "this stream plays on this socket")
        stream = self._parking.claim(resuming, self._admit)
        for former in (self._coming, self._playing):
            if former is not None:
                self._end(former, "superseded")
        self._playing = stream
        self._epoch = max(self._epoch, stream.epoch)
        self._keep(stream)
        self._parking.hold(stream, lambda: self._let_go(stream))
        stream.take_up(resuming, reply, self._line)

    def _let_go(self, stream: Stream) -> None:
        """Another socket has taken the stream: this one is dead."""
        self._forget(stream)
        self._transport.abort()

    def _has_dropped(self) -> bool:
        """Whether the line broke, rather than being closed by either side."""
        return not self._closing and self._ws.close_code in (None, WSCloseCode.ABNORMAL_CLOSURE)

    def _next_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    def _stop(self, reply: Reply) -> None:
        self._stream()
        for stream in (self._coming, self._playing):
            if stream is not None:
                self._end(stream, "stopped")
        reply.ok()

    def _end(self, stream: Stream, reason: str) -> None:
        stream.end(reason)
        stream.task.cancel()
        if self._coming is stream:
            self._coming = None
        if self._playing is stream:
            self._playing = None

    def _keep(self, stream: Stream) -> None:
        self._streams.add(stream)
        stream.task.add_done_callback(lambda _: self._forget(stream))

    def _forget(self, stream: Stream) -> None:
        self._streams.discard(stream)
        if self._coming is stream:
            self._coming = None
        if self._playing is stream:
            self._playing = None

    def _wake(self) -> None:
        if self._playing is not None:
            self._playing.wake()

    # Out.

    async def _write(self) -> None:
        try:
            await self._outbox.run(self._ws, self._transport, self._stall_s)
        except TimeoutError:
            log.warning("a client took nothing for %g s: closed", self._stall_s)
        except ConnectionError:
            log.debug("a client hung up")
        finally:
            self._transport.abort()

    async def _ping(self) -> None:
        """Measure the round trip, keep proxies from cutting the line, notice a dead one."""
        while time.monotonic() - self._heard < max(self._stall_s, 2 * PING_S):
            self._outbox.ping(_STAMP.pack(time.monotonic()))
            await asyncio.sleep(PING_S)
        log.warning("a client said nothing for %g s: closed", self._stall_s)
        self._transport.abort()


async def _run(stream: Stream) -> None:
    try:
        await stream.run()
    except Exception:
        log.exception("stream %d failed", stream.number)
        stream.end("error", Error("internal", ERRORS["internal"]))


def _known_preset(name: str | None) -> None:
    if name is not None and name not in PRESETS:
        raise ProtocolError("unknown_preset", f"the presets are {', '.join(PRESETS)}")

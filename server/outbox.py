"""What waits to be written to one socket, in order and bounded in bytes, and the answers still owed.

Everything a session sends goes through here in one order, so that a `clear` can never overtake or
trail the audio it speaks about. Audio asks for room first; text is small and never waits, and the
reader loop stops reading while too much of it is unsent.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from enum import Enum

from aiohttp import WSCloseCode, web

from .events import Error, Event, Ok
from .protocol import encode

AUDIO_BYTES = 64 * 1024
MESSAGES = 256


class _Kind(Enum):
    AUDIO = 1
    TEXT = 2
    PING = 3
    PONG = 4
    HANG_UP = 5


_OPCODES = {_Kind.TEXT: 1, _Kind.AUDIO: 2}


class Outbox:
    """The queue in front of a WebSocket.

    Parameters
    ----------
    on_room : callable
        Called when audio may be put in again.
    """

    def __init__(self, on_room: Callable[[], None]) -> None:
        self._on_room = on_room
        self._items: deque[tuple[_Kind, bytes]] = deque()
        self._audio_bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether the next batch of audio may be made."""
        return self._audio_bytes < AUDIO_BYTES

    @property
    def audio_bytes(self) -> int:
        """Audio waiting here."""
        return self._audio_bytes

    def waiting(self) -> list[bytes]:
        """What is queued, in order."""
        return [payload for _, payload in self._items]

    def audio(self, frame: bytes) -> None:
        """Queue one binary frame."""
        self._audio_bytes += len(frame)
        self._put(_Kind.AUDIO, frame)

    def say(self, event: Event, id: int | None = None) -> None:
        """Queue one text frame."""
        self._put(_Kind.TEXT, encode(event, id))

    def ping(self, payload: bytes) -> None:
        """Queue a WebSocket ping."""
        self._put(_Kind.PING, payload)

    def pong(self, payload: bytes) -> None:
        """Queue the answer to a WebSocket ping."""
        self._put(_Kind.PONG, payload)

    def hang_up(self) -> None:
        """Close the socket after everything that was said before."""
        self._put(_Kind.HANG_UP, b"")

    def drop_audio(self) -> list[bytes]:
        """Take back all audio not yet written; text keeps its order."""
        dropped = [payload for kind, payload in self._items if kind is _Kind.AUDIO]
        self._items = deque(item for item in self._items if item[0] is not _Kind.AUDIO)
        self._audio_bytes = 0
        return dropped

    async def settled(self) -> None:
        """Wait until few enough messages are queued to take in another command."""
        while len(self._items) >= MESSAGES:
            self._emptied.clear()
            await self._emptied.wait()

    async def run(self, ws: web.WebSocketResponse, transport: asyncio.Transport, stall_s: float) -> None:
        """Write until the socket fails; `TimeoutError` when it took nothing for `stall_s` seconds."""
        while True:
            while not self._items:
                self._filled.clear()
                await self._filled.wait()
            kind, payload = self._items.popleft()
            async with asyncio.timeout(stall_s):
                if kind in _OPCODES and not transport.get_write_buffer_size() and not ws.closed:
                    self._write_together(transport, kind, payload)
                elif kind is _Kind.AUDIO:
                    self._audio_bytes -= len(payload)
                    await ws.send_bytes(payload)
                elif kind is _Kind.TEXT:
                    await ws.send_frame(payload, web.WSMsgType.TEXT)
                elif kind is _Kind.PING:
                    await ws.ping(payload)
                elif kind is _Kind.PONG:
                    await ws.pong(payload)
                else:
                    await ws.close(code=WSCloseCode.GOING_AWAY)
            self._emptied.set()
            if kind in _OPCODES and self.has_room:
                self._on_room()

    def _write_together(self, transport: asyncio.Transport, kind: _Kind, payload: bytes) -> None:
        """Hand one message and all audio and text right behind it to an idle transport at once.

        Every system call gives the GIL away and has to win it back from the rendering threads, which
        costs more than the call itself. A listener who is behind gets message after message: what the
        transport holds can no longer be dropped by a seek.
        """
        parts: list[bytes] = []
        while True:
            parts += (_head(_OPCODES[kind], len(payload)), payload)
            if kind is _Kind.AUDIO:
                self._audio_bytes -= len(payload)
            if not self._items or self._items[0][0] not in _OPCODES:
                break
            kind, payload = self._items.popleft()
        transport.write(b"".join(parts))

    def _put(self, kind: _Kind, payload: bytes) -> None:
        self._items.append((kind, payload))
        self._filled.set()


def _head(opcode: int, n: int) -> bytes:
    """What a server puts before a whole message of `n` bytes (RFC 6455, 5.2)."""
    if n < 126:
        return struct.pack(">BB", 0x80 | opcode, n)
    return (
        struct.pack(">BBH", 0x80 | opcode, 126, n)
        if n < 1 << 16
        else struct.pack(">BBQ", 0x80 | opcode, 127, n)
    )


class Reply:
    """The one answer a request is owed; whatever comes after the first is not sent.

    Parameters
    ----------
    outbox : Outbox
    id : int or None
        A request without an id gets no `ok`, but is told of its error.
    """

    __slots__ = ("_id", "_outbox", "given")

    def __init__(self, outbox: Outbox, id: int | None) -> None:
        self._outbox = outbox
        self._id = id
        self.given = False

    def ok(self, answer: Ok | None = None) -> None:
        """Say that the request was obeyed."""
        if not self.given and self._id is not None:
            self._outbox.say(Ok() if answer is None else answer, self._id)
        self.given = True

    def error(self, code: str, message: str, retry_after_ms: int | None = None) -> None:
        """Say why the request was not obeyed."""
        if not self.given:
            self._outbox.say(Error(code, message, retry_after_ms), self._id)
        self.given = True

"""Many listeners in one cheap process: what `auralis bench streams` puts on a server.

A listener here opens a socket, says `play_enhanced` and reads headers; samples are received into one
scratch buffer and never looked at, so that the load measured is the server's. Whether the sound would
have broken off follows from when each frame came.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from .binary import HEADER, HEADER_BYTES
from .commands import PlayEnhanced, Stop
from .protocol import encode

#: A listener starts to play when this much has come.
CUSHION_S = 0.25
_SCRATCH = memoryview(bytearray(1 << 18))


@dataclass(frozen=True, slots=True)
class Load:
    """What `streams` listeners to one server heard together."""

    streams: int
    started: int
    refused: int
    underruns: int
    worst_late_ms: float
    audio_s: float


class Listener(asyncio.BufferedProtocol):
    """One socket and the clock of one player."""

    def __init__(self, host: str, track: int) -> None:
        self._hello = (
            f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ).encode()
        self._play = encode(PlayEnhanced(track_id=track))
        self._loop = asyncio.get_running_loop()
        self._kept = b""  # of a header that has not come in full
        self._skip = 0
        self._open = False
        self._transport: asyncio.Transport | None = None
        self._rate = 0
        self._zero = 0.0  # when frame 0 sounds
        self.came = self.underruns = 0
        self.refused = self.complete = self.gone = False
        self.worst_s = -1e9

    @property
    def playing(self) -> bool:
        """Whether enough has come to begin."""
        return self._zero > 0

    def late_s(self, frame: int, now: float) -> float:
        """How long ago `frame` should have come."""
        return now - (self._zero + frame / self._rate)

    @property
    def heard_s(self) -> float:
        """Seconds of audio that have come."""
        return self.came / self._rate if self._rate else 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._hello)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True

    def get_buffer(self, hint: int) -> memoryview:
        return _SCRATCH

    def buffer_updated(self, n: int) -> None:
        if n <= self._skip:
            self._skip -= n
            return
        data = self._kept + bytes(_SCRATCH[self._skip : n])
        self._skip = 0
        if not self._open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._kept = head
                return
            self._open = True
            self._say(self._play)
        self._kept = self._parse(data)

    def close(self) -> None:
        """Stop, so that nothing waits to be taken up again, and hang up."""
        if self._transport is not None:
            self._say(encode(Stop()))
            self._transport.close()

    def _say(self, text: bytes) -> None:
        assert self._transport is not None
        length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
        self._transport.write(b"\x81" + length + bytes(4) + text)  # a mask of zeros changes nothing

    def _parse(self, data: bytes) -> bytes:
        """Take whole messages off `data`; what is left waits for more. Audio is skipped, not kept."""
        at = 0
        while len(data) - at >= 2:
            kind, length, size = data[at] & 15, data[at + 1] & 127, 2
            if length >= 126:
                size = 4 if length == 126 else 10
                length = int.from_bytes(data[at + 2 : at + size], "big")
            body = at + size
            if kind == 2:
                if len(data) - body < HEADER_BYTES:
                    break
                self._frame(data, body)
                at = body + length
                if at > len(data):
                    self._skip = at - len(data)
                    return b""
            else:
                if len(data) - body < length:
                    break
                if kind == 1:
                    self._event(data[body : body + length])
                at = body + length
        return data[at:]

    def _event(self, text: bytes) -> None:
        message = json.loads(text)
        if message["type"] == "audio_stream_start":
            self._rate = message["data"]["sample_rate"]
        elif message["type"] == "audio_stream_end":
            self.complete = True
        elif message["type"] == "error":
            self.refused = True

    def _frame(self, data: bytes, at: int) -> None:
        header = HEADER.unpack_from(data, at)
        position, frames = header[7], header[9]
        now = self._loop.time()
        if self.playing:
            late = self.late_s(position, now)
            self.worst_s = max(self.worst_s, late)
            if late > 0:
                self.underruns += 1
                self._zero += late  # the player waited; it goes on from here
        self.came = position + frames
        if not self.playing and self.came >= CUSHION_S * self._rate:
            self._zero = now


async def listen(address: str, tracks: list[int], streams: int, hold_s: float, per_s: float) -> Load:
    """Start `streams` listeners, `per_s` a second, and listen for `hold_s` once all have started."""
    loop = asyncio.get_running_loop()
    url = urlsplit(address)
    host, port = url.hostname or "127.0.0.1", url.port or 80
    listeners: list[Listener] = []
    began = loop.time()
    for i in range(streams):
        await asyncio.sleep(max(0.0, began + i / per_s - loop.time()))

        def make(i: int = i) -> Listener:
            return Listener(url.netloc, tracks[i % len(tracks)])

        _, listener = await loop.create_connection(make, host, port)
        listeners.append(listener)
    await asyncio.sleep(hold_s)
    for listener in listeners:
        # What is overdue now has not come at all.
        if listener.playing and not listener.complete:
            late = listener.late_s(listener.came, loop.time())
            listener.underruns += late > 0
            listener.worst_s = max(listener.worst_s, late)
    result = Load(
        streams=streams,
        started=sum(listener.playing for listener in listeners),
        refused=sum(listener.refused for listener in listeners),
        underruns=sum(listener.underruns for listener in listeners),
        worst_late_ms=1000 * max(listener.worst_s for listener in listeners),
        audio_s=sum(listener.heard_s for listener in listeners),
    )
    for listener in listeners:
        listener.close()
    while not all(listener.gone for listener in listeners):  # noqa: ASYNC110 - it takes a moment to say
        await asyncio.sleep(0.01)
    return result


def main() -> None:
    """`python -m auralis_server.load ADDRESS TRACKS STREAMS HOLD_S PER_S`: one line of JSON."""
    address, tracks, streams, hold_s, per_s = sys.argv[1:]
    ids = [int(id) for id in tracks.split(",")]
    print(json.dumps(asdict(asyncio.run(listen(address, ids, int(streams), float(hold_s), float(per_s))))))


if __name__ == "__main__":
    main()

"""A small asyncio client of the wire protocol, for tests, benches and anyone else.

It speaks `protocol.py` and nothing more: what arrives is kept in order, and a request is awaited by
its id. Playing the audio is not done here.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import aiohttp
from numpy.typing import NDArray

from . import binary, protocol
from .binary import Frame
from .commands import Command
from .events import Error, Event, Ok

E = TypeVar("E", bound=Event)


class RequestError(Exception):
    """The server refused a request; `code` is a key of `refusal.ERRORS`."""

    def __init__(self, error: Error) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.code, self.message = error.code, error.message
        self.retry_after_ms = error.retry_after_ms


class Client:
    """One socket.

    Everything received is an item of one ordered queue: events as structs, audio as
    ``(Frame, samples)`` with samples (channels, frames). Answers to requests are not in it.
    """

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Ok]] = {}
        self._items: asyncio.Queue[Event | tuple[Frame, NDArray[Any]] | None] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def connect(cls, address: str, token: str | None = None, **options: Any) -> AsyncIterator[Self]:
        """Open the socket of the server at `address`, e.g. ``http://127.0.0.1:8765``."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.ws_connect(f"{address}/ws", max_msg_size=0, compress=0, **options) as ws,
        ):
            client = cls(ws)
            try:
                yield client
            finally:
                client._reader.cancel()
                await asyncio.wait([client._reader])

    async def send(self, command: Command, id: int | None = None) -> None:
        """Say something without waiting for an answer."""
        await self._ws.send_str(protocol.encode(command, id).decode())

    async def send_raw(self, text: str | bytes) -> None:
        """Say anything at all: text, or binary."""
        if isinstance(text, str):
            await self._ws.send_str(text)
        else:
            await self._ws.send_bytes(text)

    async def request(self, command: Command) -> Ok:
        """Ask for something and wait for its `ok`.

        Raises
        ------
        RequestError
            With the code of the server's `error`.
        ConnectionError
            The socket closed first.
        """
        id = next(self._ids)
        answer: asyncio.Future[Ok] = asyncio.get_running_loop().create_future()
        self._asked[id] = answer
        await self.send(command, id)
        return await answer

    async def refusal(self, command: Command) -> RequestError:
        """Ask for something that must be refused, and return the refusal."""
        try:
            answer = await self.request(command)
        except RequestError as e:
            return e
        raise AssertionError(f"{command} was answered by {answer}")

    def drop(self) -> None:
        """Break the line without a word, as a network does."""
        connection = self._ws.get_extra_info("socket")
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)

    async def receive(self) -> Event | tuple[Frame, NDArray[Any]]:
        """The next event or audio frame; `ConnectionError` once the socket is closed."""
        item = await self._items.get()
        if item is None:
            self._items.put_nowait(None)
            raise ConnectionError("the socket is closed")
        return item

    def received(self) -> list[Event | tuple[Frame, NDArray[Any]]]:
        """What has arrived and was not taken yet, without waiting."""
        items = []
        while not self._items.empty() and (item := self._items.get_nowait()) is not None:
            items.append(item)
        return items

    async def event(self, kind: type[E]) -> E:
        """The next event of this kind; whatever comes before it is dropped."""
        while not isinstance(item := await self.receive(), kind):
            pass
        return item

    async def frame(self) -> tuple[Frame, NDArray[Any]]:
        """The next audio frame; whatever comes before it is dropped."""
        while not isinstance(item := await self.receive(), tuple):
            pass
        return item

    async def _read(self) -> None:
        try:
            async for message in self._ws:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self._items.put_nowait(binary.unpack_frame(message.data))
                elif message.type is aiohttp.WSMsgType.TEXT:
                    self._sort(*protocol.decode_event(message.data))
        finally:
            self._items.put_nowait(None)
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("the socket is closed"))
                    answer.exception()  # nobody may be waiting

    def _sort(self, event: Event | None, id: int | None) -> None:
        answer = None if id is None else self._asked.pop(id, None)
        if answer is not None and not answer.done() and isinstance(event, Ok):
            answer.set_result(event)
        elif answer is not None and not answer.done() and isinstance(event, Error):
            answer.set_exception(RequestError(event))
        elif event is not None:
            self._items.put_nowait(event)

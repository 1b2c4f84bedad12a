"""Text frames: messages to JSON and back. No sockets, no policy.

``docs/protocol.md`` says the same in prose and is the authority; the tests hold the two together.
Messages are frozen structs: commands.py's come from the client, events.py's from the server; both
travel as ``{"type": …, "data": {…}, "id"?: n}``. Audio travels as binary frames, which are binary.py's.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from .commands import COMMANDS, MAX_ID, Command
from .events import EVENTS, Event
from .refusal import ProtocolError

MAX_COMMAND_BYTES = 16 * 1024


class _Envelope(Struct, omit_defaults=True):
    type: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: int | None = None


class _Identity(Struct):
    id: int | None = None


_envelope = msgspec.json.Decoder(_Envelope)
_identity = msgspec.json.Decoder(_Identity)
_decoders: dict[type[Any], Any] = {
    kind: msgspec.json.Decoder(kind) for kind in (*COMMANDS.values(), *EVENTS.values())
}


def encode(message: Command | Event, id: int | None = None) -> bytes:
    """The text frame that says `message`, in UTF-8."""
    data = msgspec.Raw(msgspec.json.encode(message))
    return msgspec.json.encode(_Envelope(message.TYPE, data, id))


def _open(text: bytes | str) -> _Envelope:
    try:
        envelope = _envelope.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as e:
        try:
            id = _identity.decode(text).id
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            id = None
        raise ProtocolError("bad_json", f"not a message: {e}", id) from e
    if envelope.id is not None and not 0 <= envelope.id <= MAX_ID:
        raise ProtocolError("bad_message", "id must be a whole number from 0 to 2⁵³ − 1")
    return envelope


def _fill(kind: type[Any], envelope: _Envelope) -> Any:
    try:
        return _decoders[kind].decode(b"{}" if bytes(envelope.data) == b"null" else envelope.data)
    except ProtocolError as e:
        e.id = envelope.id
        raise
    except (msgspec.DecodeError, UnicodeError, RecursionError) as e:
        raise ProtocolError("bad_message", f"{envelope.type}: {e}", envelope.id) from e


def decode_command(text: bytes | str) -> tuple[Command, int | None]:
    """What a client said and its request id.

    Raises
    ------
    ProtocolError
        With the code to answer; carries the request's id as far as it could be read.
    """
    if len(text) > MAX_COMMAND_BYTES:
        raise ProtocolError("too_large", f"messages are at most {MAX_COMMAND_BYTES} bytes")
    envelope = _open(text)
    kind = COMMANDS.get(envelope.type)
    if kind is None:
        raise ProtocolError("unknown_type", "no such message type", envelope.id)
    return _fill(kind, envelope), envelope.id


def decode_event(text: bytes | str) -> tuple[Event | None, int | None]:
    """What a server said and the request it answers; None for a type this client does not know."""
    envelope = _open(text)
    kind = EVENTS.get(envelope.type)
    return (None if kind is None else _fill(kind, envelope)), envelope.id

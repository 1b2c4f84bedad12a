"""The wire: every JSON key, in both directions. No sockets, no policy.

``docs/protocol.md`` says the same in prose and is the authority; the tests hold the two together.
Messages are frozen structs. Commands come from the client, events from the server; both travel as
``{"type": …, "data": {…}, "id"?: n}``. Audio travels as binary frames, which are binary.py's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from msgspec import Struct, field

PROTOCOL = 1
MAX_COMMAND_BYTES = 16 * 1024
MAX_QUEUE = 1000
MAX_ID = 2**53 - 1  # what a JavaScript number holds exactly

#: Stable error codes and when they are used.
ERRORS = {
    "bad_json": "not valid UTF-8 JSON, or not an object with a `type`",
    "bad_message": "a field is missing or has the wrong type",
    "out_of_range": "a number is outside its range, or a position is past the end",
    "too_large": "the message is longer than 16 KiB",
    "binary_message": "clients send text only",
    "unknown_type": "no such message type",
    "unknown_track": "no track has this id",
    "unknown_preset": "no preset has this name",
    "unsupported": "none of the offered protocols or formats is known",
    "no_stream": "nothing is playing",
    "not_resumable": "no stream waits under this number and token",
    "no_next": "nothing follows in the queue",
    "unreadable": "the audio file is missing, damaged, changed or outside the library",
    "busy": "the server carries as many streams as it can",
    "shutting_down": "the server is stopping",
    "internal": "the server failed; its log has the detail",
}


#: Codes of HTTP errors that are not about a message.
HTTP_ERRORS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    416: "range_not_satisfiable",
    421: "unknown_host",
    503: "unavailable",
}


class ProtocolError(Exception):
    """A message that cannot be obeyed.

    Parameters
    ----------
    code : str
        A key of :data:`ERRORS`.
    message : str
        One line for a person; never a path.
    id : int, optional
        The request it answers.
    retry_after_ms : int, optional
        When the same may succeed.
    """

    def __init__(
        self, code: str, message: str, id: int | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        assert code in ERRORS
        self.code, self.message, self.id = code, message, id
        self.retry_after_ms = retry_after_ms


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ProtocolError("out_of_range", f"{name} must lie in {low:g}…{high:g}")


# --- client → server ---------------------------------------------------------------------------


class Command(Struct, frozen=True, omit_defaults=True):
    """Base of what a client may say."""

    TYPE: ClassVar[str]


class Resuming(Struct, frozen=True):
    """Which stream to take up again, and where: the first stream frame the client has not received."""

    stream: int
    epoch: int
    next_frame: int
    token: str

    def __post_init__(self) -> None:
        _within("epoch", self.epoch, 0, MAX_ID)
        _within("next_frame", self.next_frame, 0, MAX_ID)


class Hello(Command, frozen=True):
    """What the client can take; optional, the defaults are those of a client that never says it."""

    TYPE = "hello"
    protocol: int = PROTOCOL
    formats: list[str] = field(default_factory=lambda: ["f32le"])
    lead_ms: float = 500.0
    max_buffer_ms: float = 2500.0
    resume: Resuming | None = None

    def __post_init__(self) -> None:
        _within("lead_ms", self.lead_ms, 50.0, 600_000.0)
        _within("max_buffer_ms", self.max_buffer_ms, 200.0, 600_000.0)


class Play(Command, frozen=True):
    """What both ways to play have in common."""

    track_id: int
    preset: str = "adaptive"
    intensity: float = 1.0
    start_seconds: float = 0.0

    def __post_init__(self) -> None:
        _within("intensity", self.intensity, 0.0, 1.0)
        _within("start_seconds", self.start_seconds, 0.0, 1e9)
        if not 0 <= self.track_id <= MAX_ID:
            raise ProtocolError("unknown_track", "no track has this id")


class PlayEnhanced(Play, frozen=True):
    """Play a track through its mastering plan."""

    TYPE = "play_enhanced"


class PlayNormal(Play, frozen=True):
    """Play a track untouched; `set` with ``bypass: false`` turns the plan on."""

    TYPE = "play_normal"


class Seek(Command, frozen=True):
    """Continue from the frame nearest to `seconds`."""

    TYPE = "seek"
    seconds: float

    def __post_init__(self) -> None:
        _within("seconds", self.seconds, 0.0, 1e9)


class Queue(Command, frozen=True):
    """What follows the track being sent; replaces what was queued before."""

    TYPE = "queue"
    track_ids: list[int]
    crossfade_seconds: float = 0.0
    fade_albums: bool = False

    def __post_init__(self) -> None:
        if self.crossfade_seconds:
            _within("crossfade_seconds, unless 0,", self.crossfade_seconds, 1.0, 12.0)
        if len(self.track_ids) > MAX_QUEUE:
            raise ProtocolError("out_of_range", f"a queue holds at most {MAX_QUEUE} tracks")


class Next(Command, frozen=True):
    """Go on with the track after the one heard."""

    TYPE = "next"


class Set(Command, frozen=True):
    """Change what is named, keep the rest."""

    TYPE = "set"
    preset: str | None = None
    intensity: float | None = None
    bypass: bool | None = None

    def __post_init__(self) -> None:
        _within("intensity", self.intensity, 0.0, 1.0)


class Pause(Command, frozen=True):
    """Send no more audio until `resume`."""

    TYPE = "pause"


class Resume(Command, frozen=True):
    """Go on sending after `pause`."""

    TYPE = "resume"


class Stop(Command, frozen=True):
    """End the stream."""

    TYPE = "stop"


class Credit(Command, frozen=True):
    """How far the client can take audio, and how far it has played; frames of the stream."""

    TYPE = "credit"
    upto: int
    played: int | None = None
    underruns: int = 0
    epoch: int | None = None

    def __post_init__(self) -> None:
        _within("upto", self.upto, 0, MAX_ID)
        _within("played", self.played, 0, MAX_ID)


class Ping(Command, frozen=True):
    """Ask for a `pong`."""

    TYPE = "ping"


COMMANDS: dict[str, type[Command]] = {
    c.TYPE: c
    for c in (*(Hello, PlayEnhanced, PlayNormal, Queue, Next, Seek, Set, Pause, Resume, Stop, Credit, Ping),)
}


# --- server → client ---------------------------------------------------------------------------


class Event(Struct, frozen=True):
    """Base of what a server may say."""

    TYPE: ClassVar[str]


class Ok(Event, frozen=True, omit_defaults=True):
    """The request with this id was obeyed."""

    TYPE = "ok"
    stream: int | None = None
    epoch: int | None = None
    generation: int | None = None
    at_frame: int | None = None
    superseded: bool = False


class Error(Event, frozen=True, omit_defaults=True):
    """The request with this id, or the stream, failed."""

    TYPE = "error"
    code: str
    message: str
    retry_after_ms: int | None = None
    track_id: int | None = None


class ServerHello(Event, frozen=True):
    """The answer to `hello`: what was agreed and what can be asked for."""

    TYPE = "hello"
    protocol: int
    version: str
    format: str
    formats: list[str]
    lead_ms: float
    max_buffer_ms: float
    presets: list[str]


class AudioStreamStart(Event, frozen=True):
    """A stream begins; `total_frames` is exactly what a full play of its first track delivers."""

    TYPE = "audio_stream_start"
    stream: int
    epoch: int
    sample_rate: int
    channels: int
    format: str
    total_frames: int
    token: str


class TrackStart(Event, frozen=True):
    """At stream frame `at_frame` the track's frame `track_frame` sounds."""

    TYPE = "track_start"
    stream: int
    at_frame: int
    track_id: int
    track_frame: int
    total_frames: int
    title: str
    artist: str
    album: str
    duration: float
    fingerprint: str


class FingerprintProgress(Event, frozen=True):
    """How the search for a track's fingerprint goes: computing, ready or failed."""

    TYPE = "fingerprint_progress"
    track_id: int
    status: str
    source: str | None
    elapsed_ms: float
    failed: list[str] = []  # sources that were asked before and could not


class Decision(Struct, frozen=True):
    """What the LWRP rule said about the track."""

    region: str
    expansion: float
    gain_db: float
    lufs: float
    crest_db: float


class Tone(Struct, frozen=True):
    """One EQ section: peaking, low_shelf or high_shelf."""

    kind: str
    f0_hz: float
    q: float
    gain_db: float


class Applied(Struct, frozen=True):
    """What the plan does to the samples, intensity included. `peaks_db` is what the highest peaks gain."""

    gain_db: float
    peaks_db: float
    fill: float
    eq: list[Tone]
    level_target: float | None
    ceiling: float | None


class Params(Event, frozen=True):
    """From `at_frame` on the stream is of this generation; the change fades over `crossfade_frames`."""

    TYPE = "params"
    stream: int
    epoch: int
    generation: int
    at_frame: int
    crossfade_frames: int
    preset: str
    intensity: float
    bypass: bool
    standard: bool
    decision: Decision | None
    applied: Applied
    notes: list[str]


class Clear(Event, frozen=True):
    """Drop buffered audio of older epochs from stream frame `keep_until` on; null drops all of it."""

    TYPE = "clear"
    stream: int
    epoch: int
    keep_until: int | None


class Chunk(Event, frozen=True):
    """What was measured on and done to the audio that ends before `at_frame`; at most ten a second."""

    TYPE = "chunk"
    stream: int
    at_frame: int
    generation: int
    region: str | None
    expansion: float | None
    gain_db: float | None
    lufs_in: float | None
    crest_in: float | None
    lufs_out: float | None
    crest_out: float | None
    gain_reduction_db: float | None


class AudioStreamEnd(Event, frozen=True):
    """The last frame is on its way, or there will be no more."""

    TYPE = "audio_stream_end"
    stream: int
    reason: str
    delivered_frames: int


class Pong(Event, frozen=True):
    """The answer to `ping`."""

    TYPE = "pong"


EVENTS: dict[str, type[Event]] = {
    e.TYPE: e
    for e in (
        *(Ok, Error, ServerHello, AudioStreamStart, TrackStart, FingerprintProgress),
        *(Params, Clear, Chunk, AudioStreamEnd, Pong),
    )
}


# --- text frames -------------------------------------------------------------------------------


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


# --- HTTP bodies -------------------------------------------------------------------------------


class TrackRow(Struct, frozen=True, omit_defaults=True):
    """One track of `/api/tracks`; `fingerprint` is ready, pending or failed, and then there is a reason."""

    id: int
    title: str
    artist: str
    album: str
    duration: float
    sample_rate: int
    channels: int
    fingerprint: str
    reason: str | None = None


class SimilarRow(Struct, frozen=True):
    """A neighbour of a track; one standard deviation of the library in every dimension is 1 away."""

    id: int
    title: str
    artist: str
    album: str
    duration: float
    distance: float


class SimilarList(Struct, frozen=True):
    """The answer of `/api/tracks/{id}/similar`."""

    tracks: list[SimilarRow]


class AlbumRow(Struct, frozen=True):
    """One album of one artist; `track_id` is its first track, whose artwork is the album's."""

    album: str
    artist: str
    tracks: int
    duration: float
    track_id: int


class AlbumList(Struct, frozen=True):
    """The answer of `/api/albums`."""

    total: int
    albums: list[AlbumRow]


class ScanRow(Struct, frozen=True):
    """How far the scan is: files looked at, of how many; the second pass measures what is new."""

    running: bool
    phase: str
    done: int
    total: int


class TrackList(Struct, frozen=True):
    """The answer of `/api/tracks`."""

    total: int
    tracks: list[TrackRow]


class DimensionRow(Struct, frozen=True):
    """One of the 25 of `/api/dimensions`: what a client needs to name and draw a value."""

    name: str
    group: str
    unit: str
    low: float
    high: float


class SourceRow(Struct, frozen=True):
    """How one fingerprint source has fared since start."""

    name: str
    state: str
    hits: int
    misses: int
    failures: int


class EngineRow(Struct, frozen=True):
    """What the engine runs on."""

    simd: str


class LibraryRow(Struct, frozen=True):
    """How much of the library is known."""

    tracks: int
    fingerprinted: int


class LoopRow(Struct, frozen=True):
    """How late the event loop was over the last minute."""

    lag_p50_ms: float
    lag_p99_ms: float


class CapacityRow(Struct, frozen=True):
    """How many streams fit, by what they cost; null before anything was measured."""

    streams: int | None
    cpu_ms_per_audio_s: float | None
    refused: int


class Status(Struct, frozen=True):
    """The answer of `/api/system/status`."""

    version: str
    engine: EngineRow
    sources: list[SourceRow]
    streams: int
    loop: LoopRow
    capacity: CapacityRow
    database: str
    library: LibraryRow


class Health(Struct, frozen=True):
    """The answer of `/healthz`."""

    status: str


class Failure(Struct, frozen=True):
    """The body of every HTTP error."""

    error: Error


def body(value: Any) -> bytes:
    """An HTTP body in JSON."""
    return msgspec.json.encode(value)

"""What a server may say on a socket: every JSON key of every event. Values only."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


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


class ScanProgress(Event, frozen=True):
    """How far the library scan is: files looked at, of how many; the second pass measures what is new."""

    TYPE = "scan_progress"
    running: bool
    phase: str
    done: int
    total: int


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
        *(Params, Clear, Chunk, AudioStreamEnd, ScanProgress, Pong),
    )
}

"""What a server answers over HTTP: every JSON key of every body. Values only."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from .events import Error

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

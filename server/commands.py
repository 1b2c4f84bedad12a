"""What a client may say: every JSON key of every command, and what its numbers may be.

Fields that break a rule are refused when a command is made, wherever it is made. What is done with a
command is session.py's.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct, field

from .refusal import ProtocolError, within

PROTOCOL = 1
MAX_QUEUE = 1000
MAX_ID = 2**53 - 1  # what a JavaScript number holds exactly


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
        within("epoch", self.epoch, 0, MAX_ID)
        within("next_frame", self.next_frame, 0, MAX_ID)


class Hello(Command, frozen=True):
    """What the client can take; optional, the defaults are those of a client that never says it."""

    TYPE = "hello"
    protocol: int = PROTOCOL
    formats: list[str] = field(default_factory=lambda: ["f32le"])
    lead_ms: float = 500.0
    max_buffer_ms: float = 2500.0
    resume: Resuming | None = None

    def __post_init__(self) -> None:
        within("lead_ms", self.lead_ms, 50.0, 600_000.0)
        within("max_buffer_ms", self.max_buffer_ms, 200.0, 600_000.0)


class Play(Command, frozen=True):
    """What both ways to play have in common."""

    track_id: int
    preset: str = "adaptive"
    intensity: float = 1.0
    start_seconds: float = 0.0

    def __post_init__(self) -> None:
        within("intensity", self.intensity, 0.0, 1.0)
        within("start_seconds", self.start_seconds, 0.0, 1e9)
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
        within("seconds", self.seconds, 0.0, 1e9)


class Queue(Command, frozen=True):
    """What follows the track being sent; replaces what was queued before."""

    TYPE = "queue"
    track_ids: list[int]
    crossfade_seconds: float = 0.0
    fade_albums: bool = False

    def __post_init__(self) -> None:
        if self.crossfade_seconds:
            within("crossfade_seconds, unless 0,", self.crossfade_seconds, 1.0, 12.0)
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
        within("intensity", self.intensity, 0.0, 1.0)


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
        within("upto", self.upto, 0, MAX_ID)
        within("played", self.played, 0, MAX_ID)


class Ping(Command, frozen=True):
    """Ask for a `pong`."""

    TYPE = "ping"


COMMANDS: dict[str, type[Command]] = {
    c.TYPE: c
    for c in (*(Hello, PlayEnhanced, PlayNormal, Queue, Next, Seek, Set, Pause, Resume, Stop, Credit, Ping),)
}

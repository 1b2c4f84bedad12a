"""What a session gives a stream: the way to its client, and what was agreed before the stream starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .commands import Hello
from .outbox import Outbox


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed with the client."""

    format: str = "f32le"
    lead_ms: float = Hello().lead_ms
    buffer_ms: float = Hello().max_buffer_ms


@dataclass(frozen=True, slots=True)
class Line:
    """One socket, as a stream sees it.

    Attributes
    ----------
    outbox : Outbox
        Where everything the stream says goes, until it is over.
    round_trip : callable
        The socket's round trip in seconds, as known now.
    next_epoch : callable
        Epochs count through all streams of a session.
    """

    outbox: Outbox
    round_trip: Callable[[], float]
    next_epoch: Callable[[], int]

    def cut(self) -> Line:
        """The same, with nobody at the other end."""
        return replace(self, outbox=Outbox(lambda: None))

"""Why a message cannot be obeyed: the stable codes, and the one exception that carries them. No JSON."""

from __future__ import annotations

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


def within(name: str, value: float | None, low: float, high: float) -> None:
    """Refuse a number outside its range; None is in every range."""
    if value is not None and not low <= value <= high:
        raise ProtocolError("out_of_range", f"{name} must lie in {low:g}…{high:g}")

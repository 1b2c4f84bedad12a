"""How far a stream may run ahead of its listener: credit and real time. Arithmetic only.

Positions are frames of the stream, times are seconds of any monotonic clock, passed in.
"""

from __future__ import annotations

RAMP = 1.5  # times real time, from the opening burst up to the full buffer


class Pacer:
    """The farthest frame that may have been sent by now.

    A burst of `lead_ms` starts the sound, then the lead grows at 1.5 × real time to `buffer_ms`,
    then holds. A client that sends credit narrows this to its watermark; what it reports as played
    may widen the buffer again when its clock runs faster than ours.
    """

    def __init__(self, sample_rate: int, lead_ms: float, buffer_ms: float) -> None:
        self.rate = sample_rate
        self._lead = min(lead_ms, buffer_ms) * sample_rate / 1000
        self._buffer = buffer_ms * sample_rate / 1000
        self.paused = False
        self.restart(0, 0.0)

    def restart(self, position: int, now: float, held_from: int | None = None) -> None:
        """Begin again at `position`: the start of a stream or a seek. Forgets credit; paused stays paused.

        A client that still holds audio before it may report that as played, from `held_from` on.
        """
        self._origin = position
        self._held_from = position if held_from is None else held_from
        self._since = now  # of the last change between running and paused
        self._ran = 0.0  # seconds run before that
        self._upto: int | None = None
        self._played: int | None = None
        self._played_at = 0.0

    def pause(self, now: float) -> None:
        """Stop the clock."""
        if not self.paused:
            self._ran, self._since, self.paused = self._elapsed(now), now, True

    def resume(self, now: float) -> None:
        """Let the clock run again."""
        if self.paused:
            self._since, self.paused = now, False
            self._played_at = now

    def credit(self, upto: int, played: int | None, now: float) -> None:
        """Take the client's watermark and, if it says so, what has sounded."""
        self._upto = upto
        if played is not None and played >= self._held_from:
            self._played, self._played_at = played, now

    def allowed(self, now: float) -> int:
        """The frame before which everything may have been sent."""
        limit = self._paced(self._elapsed(now))
        return int(limit if self._upto is None else min(limit, self._upto))

    def delay(self, position: int, now: float) -> float | None:
        """Seconds until `position` may be sent, or None when only the client can allow it."""
        if self.paused or (self._upto is not None and self._upto < position):
            return None
        elapsed = self._elapsed(now)
        ahead = position - self._origin
        if int(self._paced(elapsed)) >= position:
            return 0.0
        ramp = (ahead - self._lead) / (RAMP * self.rate)
        hold = (ahead - self._buffer) / self.rate
        return max(1e-4, max(ramp, hold) - elapsed)

    def played(self, now: float) -> int | None:
        """Estimate of the frame sounding now; None from a client that never said."""
        if self._played is None:
            return None
        return self._played + (0 if self.paused else int((now - self._played_at) * self.rate))

    def _paced(self, elapsed: float) -> float:
        hold = self._origin + self._buffer + elapsed * self.rate
        if self._played is not None:
            hold = max(hold, self._played + self._buffer)
        return min(self._origin + self._lead + RAMP * elapsed * self.rate, hold)

    def _elapsed(self, now: float) -> float:
        return self._ran if self.paused else self._ran + now - self._since

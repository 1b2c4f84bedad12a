"""Where two tracks sound together: the mixture of their samples, held to a ceiling.

Two signals that each keep to a ceiling may come to 3 dB over it together, so a limiter hears the mixture
from the first frame of the crossfade on, a few milliseconds ahead of what sounds. Where nothing is over, the
mixture leaves as it is, bit for bit. After the fade the limiter gives way to the track that goes on, within
`TAIL_S`; what lies before and behind is never touched.

Lives in worker threads, one call at a time. Where the tracks lie is programme.py's. Frames are those of the
later track here, a constant away from those of the stream.
"""

from __future__ import annotations

import numpy as np

from auralis_core import AuralisError, Limiter, crossfade

from .part import MARK_S, MOST_MARKS, Part, PartError, Samples

TAIL_S = 0.25  # three times the limiter's release
RISE_S = 0.010  # into the limiter, where the first track is over the ceiling by itself


def tail(part: Part) -> int:
    """Frames after the crossfade a part begins with until nothing of it is left."""
    if not part.overlap:
        return 0
    return min(round(TAIL_S * part.sample_rate), part.frames - part.overlap)


class Seam:
    """A crossfade, from where both parts stand now.

    Parameters
    ----------
    before, after : Part
        Entered and at the same place of the stream; `after` knows how long they overlap.

    Attributes
    ----------
    end : int
        The frame from which `after` sounds alone and untouched.
    """

    def __init__(self, before: Part, after: Part) -> None:
        self.before, self.after = before, after
        self.end = after.overlap + tail(after)
        self._fade = after.overlap
        # The higher of the two ceilings; full scale where one has none. It stays, whatever is switched.
        ceiling = max(part.newest.treatment.plan.ceiling or 0.0 for part in (before, after))
        self._limiter = Limiter(after.sample_rate, after.channels, ceiling)
        self._heard = after.position  # the first frame that the limiter has not heard
        self._marks = [(self._heard, self._limiter.clone())]

    def read(self, frames: int) -> Samples:
        """The next frames.

        Raises
        ------
        PartError
            The file of a part is not what it was; nothing has moved.
        """
        at, fade, rate = self.after.position, self._fade, self.after.sample_rate
        mixed = self._mixture(frames + self._limiter.latency)
        self._mark()
        fresh = np.ascontiguousarray(mixed[:, self._heard - at :])
        late = fresh.shape[1] - frames  # what comes out of the limiter first has sounded, or lies before it
        y = np.ascontiguousarray(self._limiter.process(fresh)[:, late:])
        self._heard = at + mixed.shape[1]
        raw = np.ascontiguousarray(mixed[:, :frames])
        if at < (rise := round(RISE_S * rate)):
            y = crossfade(raw, y, "equal_gain", at, rise)
        if (over := max(0, fade - at)) < frames:
            rest = crossfade(
                np.ascontiguousarray(y[:, over:]),
                np.ascontiguousarray(raw[:, over:]),
                *("equal_gain", at + over - fade, self.end - fade),
            )
            y = np.concatenate((y[:, :over], rest), axis=1)
        self._pass(frames)
        return y

    def rewind(self, frame: int) -> None:
        """Go back to a frame that was read before, or the next one: what follows it may then change."""
        if frame == self._heard == self.after.position:
            return
        while self._marks[-1][0] > frame:
            self._marks.pop()
        at, kept = self._marks[-1]
        start, fade = self.after.start, self._fade
        y = self.after.rewind(start + frame, start + at)
        x = y[:, :0]
        if at < fade:
            x = self.before.rewind(start + min(frame, fade), start + at)
        self._limiter, self._heard = kept.clone(), frame
        self._limiter.process(self._mix(x, y, at))

    def _mixture(self, frames: int) -> Samples:
        """The next frames of both, not yet limited and left to be read; silence after the last."""
        at = self.after.position
        y = _padded(_peek(self.after, frames), frames)
        return self._mix(_peek(self.before, max(0, min(frames, self._fade - at))), y, at)

    def _mix(self, x: Samples, y: Samples, at: int) -> Samples:
        """Frames of both from `at` on, of the first as far as it goes."""
        if at >= self._fade:
            return y
        return crossfade(_padded(x, y.shape[1]), y, "correlation", at, self._fade, self.after.correlation)

    def _pass(self, frames: int) -> None:
        """Leave frames behind that were mixed."""
        fading = min(frames, max(0, self._fade - self.after.position))
        self.after.read(frames)
        self.before.read(fading)

    def _mark(self) -> None:
        if self._heard < self._marks[-1][0] + round(MARK_S * self.after.sample_rate):
            return
        if len(self._marks) >= MOST_MARKS:
            del self._marks[1::2]
        self._marks.append((self._heard, self._limiter.clone()))


def _peek(part: Part, frames: int) -> Samples:
    try:
        return part.peek(frames)
    except AuralisError as e:
        raise PartError(part, e) from e


def _padded(x: Samples, frames: int) -> Samples:
    """With silence after it, `frames` long."""
    missing = frames - x.shape[1]
    return np.pad(x, ((0, 0), (0, missing))) if missing else x

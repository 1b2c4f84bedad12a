"""Tracks, one after the other, as one timeline of stream frames.

Lives in worker threads, one call at a time. The timeline has no gaps: a part begins where the one
before ends, or before that by a crossfade, which is where two parts sound together. Which tracks, and
when, is stream.py's; what is done to each is part.py's.
"""

from __future__ import annotations

from itertools import pairwise

from auralis_core import AuralisError, Fingerprint
from auralis_core.crossfade import correlation

from .part import Part, PartError, Samples, Settings, Switch, choose
from .seam import Seam, tail

LISTENED_S = 2.0  # of the middle of a crossfade, to tell how alike the two tracks are
MOST_PARTS = 64  # remembered behind the one that is being sent


class Programme:
    """The parts of a stream and the place in it.

    Parameters
    ----------
    first : Part
        Gives the stream its rate and channels.
    settings : Settings

    Attributes
    ----------
    current : Part
        The part that was entered last; once the position reaches a later one, that waits to be entered.
    position : int
        Stream frame of the next sample.
    """

    def __init__(self, first: Part, settings: Settings) -> None:
        self.parts = [first]
        self.current = first
        self.settings = settings
        self.position = 0
        self.generation = -1  # the first to enter is 0
        self.withheld = 0  # frames at the end that wait for the next part to fade with
        self.sample_rate, self.channels = first.sample_rate, first.channels
        self._seam: Seam | None = None  # the crossfade the current part began with

    @property
    def shape(self) -> tuple[int, int]:
        """Sample rate and channels of the stream."""
        return self.sample_rate, self.channels

    @property
    def end(self) -> int:
        """Stream frame after the last part."""
        return self.parts[-1].end

    @property
    def following(self) -> Part | None:
        """The part after the current one, if it is here already."""
        return self.after(self.current)

    @property
    def due(self) -> Part | None:
        """The part that the position has reached and nobody has entered yet."""
        following = self.following
        return following if following is not None and self.position >= following.start else None

    @property
    def boundary(self) -> int:
        """How far one read may go: up to where something begins or ends, or is not yet decided."""
        c, following = self.current, self.following
        if self.is_fading:
            return c.start + c.overlap
        if following is not None:
            return max(self.position, following.start)
        return max(self.position, c.end - self.withheld)

    @property
    def is_fading(self) -> bool:
        """Whether two tracks sound together here."""
        return self.position < self.current.start + self.current.overlap

    @property
    def is_settled(self) -> bool:
        """Whether the current part sounds, or is about to, as the settings want it."""
        return self.current.newest.treatment == choose(self.settings, self.current.fp)

    @property
    def earliest(self) -> int:
        """The first stream frame that `rewind` reaches."""
        frame = self.current.earliest
        before = self._before(self.current)
        if frame <= self.current.start and before is not None and before.is_open:
            # Not into the crossfade it began with: the file before it is closed.
            return max(before.earliest, before.start + before.overlap + tail(before))
        return frame

    def at(self, position: int) -> Part:
        """The part whose stretch `position` lies in; of two that sound together, the later one."""
        return next((p for p in reversed(self.parts) if p.start <= position), self.parts[0])

    def after(self, part: Part) -> Part | None:
        """The part after `part`."""
        i = self.parts.index(part) + 1
        return self.parts[i] if i < len(self.parts) else None

    def append(self, part: Part, fade: int) -> None:
        """Place a part at the end, faded over `fade` frames as far as there is room."""
        last = self.parts[-1]
        begun = last.start + max(last.frames // 2, last.overlap + tail(last))
        room = min(last.end - max(self.position, begun), part.frames // 2)
        part.overlap = max(0, min(fade, room))
        part.start = last.end - part.overlap
        if part.overlap:
            n = min(part.overlap, round(LISTENED_S * self.sample_rate))
            at = (part.overlap - n) // 2
            try:
                ending = last.excerpt(last.frames - part.overlap + at, n)
            except AuralisError:  # said when it is reached; there is nothing to fade from
                part.overlap, part.start = 0, last.end
            else:
                part.correlation = correlation(ending, part.excerpt(at, n))
        self.parts.append(part)

    def enter(self, part: Part, frame: int = 0) -> Switch:
        """Begin a part at one of its frames, as a generation of its own."""
        self.generation += 1
        self.current, self.position = part, part.start + frame
        part.enter(choose(self.settings, part.fp), self.generation, frame)
        before = self._before(part)
        self._seam = Seam(before, part) if before is not None and frame < part.overlap else None
        self._prune()
        return part.newest

    def jump(self, part: Part, frame: int) -> None:
        """Go to a frame of a part, which then sounds alone; what lies behind it is forgotten."""
        i = self.parts.index(part)
        for former in self.parts[:i]:
            former.close()
        del self.parts[:i]
        part.overlap, self._seam = 0, None
        if part is self.current:
            self.position = part.start + frame
            part.seek(frame)
        else:
            self.enter(part, frame)

    def rewind(self, frame: int) -> None:
        """Go back to a frame, not before `earliest`, sounding as it did then, bit for bit."""
        part = self.current
        if frame < part.start:
            before = self._before(part)
            assert before is not None
            part, self._seam = before, None
        self.current, self.position = part, frame
        if (seam := self._at_seam) is not None:
            seam.rewind(frame - part.start)
        else:
            part.rewind(frame)

    def switch(self, crossfade: int, settings: Settings | None = None) -> Switch:
        """Play by other settings, or what a new fingerprint makes of them, from the position on."""
        self.generation += 1
        if (seam := self._at_seam) is not None:
            seam.rewind(self.position - self.current.start)
        before = self._before(self.current)
        sounding = [self.current]
        if settings is not None:
            self.settings = settings
            if before is not None and self.is_fading:
                sounding.append(before)
        for part in sounding:
            part.switch(choose(self.settings, part.fp), self.generation, crossfade)
        return self.current.newest

    def learn(self, part: Part, fp: Fingerprint) -> None:
        """A fingerprint for a part other than the current one; what has begun is left to end as it is."""
        part.fp = fp
        if part.is_open and self.parts.index(part) > self.parts.index(self.current):
            part.prepare(choose(self.settings, fp))

    def drop_following(self) -> None:
        """Take out every part not yet entered."""
        i = self.parts.index(self.current) + 1
        for part in self.parts[i:]:
            part.close()
        del self.parts[i:]

    def drop(self, part: Part) -> None:
        """Take out a part that failed; what follows it moves up, without a fade."""
        i = self.parts.index(part)
        is_fading = self.is_fading
        if (seam := self._seam) is not None and part in (seam.before, seam.after):
            seam.after.overlap, self._seam = 0, None  # whichever is left goes on alone
        if part is self.current and not (i and is_fading):
            part.frames = self.position - part.start  # it ends here
        else:
            part.close()
            del self.parts[i]
            if part is self.current:  # the track before plays on to its end, by itself
                self.current = self.parts[i - 1]
        i = self.parts.index(self.current)
        for former, later in pairwise(self.parts[i:]):
            later.start, later.overlap = former.end, 0

    def read(self, frames: int) -> Samples:
        """The next frames, not beyond `boundary`.

        Raises
        ------
        PartError
            The file of a part is not what it was; the position has not changed.
        """
        part, seam = self.current, self._at_seam
        try:
            y = part.read(frames) if seam is None else seam.read(frames)
        except AuralisError as e:
            raise PartError(part, e) from e
        self.position += frames
        return y

    def close(self) -> None:
        """Close every file."""
        for part in self.parts:
            part.close()

    @property
    def _at_seam(self) -> Seam | None:
        """The crossfade that is heard at the position."""
        seam = self._seam
        return seam if seam is not None and self.position < self.current.start + seam.end else None

    def _before(self, part: Part) -> Part | None:
        i = self.parts.index(part)
        return self.parts[i - 1] if i else None

    def _prune(self) -> None:
        """Keep the file before the current one open, for going back, and forget what lies far behind."""
        i = self.parts.index(self.current)
        for former in self.parts[: max(0, i - 1)]:
            former.close()
        del self.parts[: max(0, i - MOST_PARTS)]

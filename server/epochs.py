"""The epochs of a stream: where each begins, and where a client that missed some goes on. Arithmetic only.

An epoch begins by a *jump* (a start, a seek), after which audio counts anew, or by a *rewind*, which takes
audio back that was already sent.
"""

from __future__ import annotations

from .commands import Resuming

MOST_REWINDS = 64  # remembered apart


class Epochs:
    """The newest epoch and what led to it.

    Parameters
    ----------
    first : int
        Number of the first epoch.
    frame : int
        Where it begins, in frames of the stream.

    Attributes
    ----------
    newest, start : int
        The newest epoch and its first frame.
    jump, jump_frame : int
        The epoch of the last jump and its first frame.
    """

    def __init__(self, first: int, frame: int) -> None:
        self.newest = first
        self._rewinds: list[tuple[int, int]] = []  # epochs since the last jump and where they begin
        self.jumped(frame)

    def begin(self, epoch: int, frame: int) -> None:
        """Another epoch."""
        self.newest, self.start = epoch, frame
        self._rewinds.append((epoch, frame))
        if len(self._rewinds) > MOST_REWINDS:
            (_, first), (second_epoch, second) = self._rewinds[:2]
            self._rewinds[:2] = [(second_epoch, min(first, second))]

    def jumped(self, frame: int) -> None:
        """The newest epoch began by a jump to `frame`."""
        self.start = self.jump_frame = frame
        self.jump = self.newest
        self._rewinds.clear()

    def place(self, resuming: Resuming) -> tuple[int, int | None]:
        """Where to go on, and up to where the client's audio counts."""
        if resuming.epoch < self.jump:
            return self.jump_frame, None
        missed = [frame for epoch, frame in self._rewinds if epoch > resuming.epoch]
        frame = max(self.jump_frame, min([resuming.next_frame, *missed]))
        return frame, frame

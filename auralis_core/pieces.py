"""Pieces: any stretch of a mastered track, and always the same bits of it.

A `Renderer` that was sent to a frame is as close to straight play as its slowest state has settled;
close is not enough for a client that puts a file together from ranges. Here a track is cut into
pieces on a fixed grid, and each piece is rendered by a chain that starts `LEAD_IN_S` before it, from
wherever it is asked. A stretch is therefore the same bits whether it is read alone or with all that
comes before it.

That the pieces fit each other is a matter of settling, not of construction: after `LEAD_IN_S` every
state but the leveller's has forgotten where it started, to below the last bit of a float32 sample on
all music measured. A leveller never forgets, so a plan with one is refused; `settled` leaves it out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .audio import AudioReader
from .plan import MasteringPlan
from .render import PRIME_S, Renderer

PIECE_S = 30
#: Seconds a chain hears before its piece begins, and throws away.
LEAD_IN_S = 4.0
BLOCK = 65536


def settled(plan: MasteringPlan) -> MasteringPlan:
    """The plan without its leveller: nothing in it depends on what happened long ago."""
    if plan.level_target is None:
        return plan
    return replace(plan, level_target=None, notes=(*plan.notes, "no leveller: every part stands alone"))


class Pieces:
    """A track under one plan, read from any frame.

    Parameters
    ----------
    reader : AudioReader
        Stays its owner's.
    plan : MasteringPlan
        Without a leveller.

    Raises
    ------
    ValueError
        The plan has a leveller.
    """

    def __init__(self, reader: AudioReader, plan: MasteringPlan) -> None:
        if plan.level_target is not None:
            raise ValueError("plan: a leveller depends on everything before; use settled(plan)")
        self._renderer = Renderer(reader, plan)
        self._length = PIECE_S * reader.sample_rate
        self._lead_in = round((LEAD_IN_S - PRIME_S) * reader.sample_rate)
        self._piece = -1  # the one the chain is in
        self.frames = reader.frames
        self.position = 0

    def seek(self, frame: int) -> None:
        """Continue at `frame`, 0 ≤ `frame` ≤ `frames`."""
        if not 0 <= frame <= self.frames:
            raise ValueError(f"frame must be 0…{self.frames}, got {frame}")
        self.position = frame

    def read(self, frames: int) -> NDArray[np.float32]:
        """The next frames, (channels, k): k ≤ `frames`, less at the end of a piece, 0 only at the end."""
        piece = self.position // self._length
        if piece != self._piece or self._renderer.position != self.position:
            self._enter(piece)
        stop = min(self.position + frames, (piece + 1) * self._length, self.frames)
        y = self._renderer.read(stop - self.position)
        self.position = stop
        return y

    def _enter(self, piece: int) -> None:
        renderer = self._renderer
        self._piece = -1  # unless nothing below fails
        renderer.seek(max(0, piece * self._length - self._lead_in))
        while renderer.position < self.position:
            renderer.read(min(BLOCK, self.position - renderer.position))
        self._piece = piece

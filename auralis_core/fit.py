"""A track at another rate or channel count, so that it can follow one that differs.

What lives here is which frames of the source a frame needs; the filter is soxr's. The output is cut
into blocks that lie on the absolute frame index, each computed by itself from the source with a margin
on both sides. So a frame is the same bits however it is reached, and a block differs from resampling
the whole file at once by the rounding of a float only.
"""

from __future__ import annotations

import math

import numpy as np
import soxr
from numpy.typing import NDArray

from .render import Source

Samples = NDArray[np.float32]

BLOCK = 16384  # output frames, at least
MARGIN = 1024  # frames of the lower rate: longer than the filter reaches
_CENTRE = {3: 2, 5: 2, 6: 2, 7: 2, 8: 2}  # WAVE order: left, right, centre, LFE, then pairs
_LFE = {6: 3, 7: 3, 8: 3}


def downmix(channels: int, wanted: int) -> Samples:
    """The matrix (wanted, channels) from one channel layout to another; never louder than full scale.

    Mono goes to both sides at full level; to mono, all channels count alike. To stereo, centre and
    surrounds join at −3 dB and the LFE is left out (BS.775), the whole scaled to a sum of one.
    Otherwise channels keep their places, and what has none is left out.
    """
    m = np.zeros((wanted, channels))
    if channels == 1:
        m[:2] = 1.0
    elif wanted == 1:
        m[:] = 1.0 / channels
    elif wanted == 2 and channels > 2:
        m[0, 0] = m[1, 1] = 1.0
        centre, lfe = _CENTRE.get(channels), _LFE.get(channels)
        rest = [c for c in range(2, channels) if c not in (centre, lfe)]
        if centre is not None:
            m[:, centre] = math.sqrt(0.5)
        if len(rest) % 2:  # 6.1: the back centre
            m[:, rest.pop(0)] = 0.5
        for side, c in enumerate(rest):
            m[side % 2, c] = math.sqrt(0.5)
        m /= m.sum(axis=1, keepdims=True)
    else:
        np.fill_diagonal(m, 1.0)
    return m.astype(np.float32)


class Fitted:
    """A `Source` seen at another rate and channel count.

    Parameters
    ----------
    source : Source
        Stays its owner's.
    sample_rate, channels : int
        What is wanted.
    """

    def __init__(self, source: Source, sample_rate: int, channels: int) -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self._source = source
        self._mix = None if source.channels == channels else downmix(source.channels, channels)
        common = math.gcd(source.sample_rate, sample_rate)
        into, out = source.sample_rate // common, sample_rate // common
        units = -(-BLOCK // out)
        self._in_block, self._out_block = units * into, units * out
        # A whole number of units, so that the margin is a whole number of frames at both rates.
        units = -(-MARGIN // min(into, out))
        self._in_margin, self._out_margin = units * into, units * out
        self.frames = -(-source.frames * out // into)
        self._at = 0
        self._number = -1  # of the block held
        self._block: Samples = np.zeros((channels, 0), np.float32)
        self._window: Samples = np.zeros((channels, 0), np.float32)
        self._read_to = -1  # source frame after the window; −1: none read

    def seek(self, frame: int, /) -> None:
        """Continue at `frame`."""
        self._at = min(max(frame, 0), self.frames)

    def read(self, frames: int, /) -> Samples:
        """The next frames: at most up to the end of a block, none at the end."""
        number, offset = divmod(self._at, self._out_block)
        n = min(frames, self._out_block - offset, self.frames - self._at)
        if n <= 0:
            return np.zeros((self.channels, 0), np.float32)
        if number != self._number:
            self._block = self._compute(number)
            self._number = number
        self._at += n
        return np.ascontiguousarray(self._block[:, offset : offset + n])

    def _compute(self, number: int) -> Samples:
        first = number * self._in_block - self._in_margin
        length = self._in_block + 2 * self._in_margin
        window = np.zeros((self.channels, length), np.float32)
        kept = 0
        if self._read_to == first + 2 * self._in_margin:  # straight on: the end of the last window
            kept = 2 * self._in_margin
            window[:, :kept] = self._window[:, -kept:]
        else:
            self._source.seek(min(max(first, 0), self._source.frames))
            kept = max(0, -first)
        self._read_to = -1  # not known should reading fail
        at = kept
        while at < length and (x := self._source.read(length - at)).shape[1]:
            window[:, at : at + x.shape[1]] = x if self._mix is None else self._mix @ x
            at += x.shape[1]
        self._window, self._read_to = window, first + length
        if self._source.sample_rate == self.sample_rate:
            y = window
        else:
            y = soxr.resample(window.T, self._source.sample_rate, self.sample_rate, "HQ").T
        return np.ascontiguousarray(y[:, self._out_margin : self._out_margin + self._out_block])

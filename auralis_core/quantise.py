"""From float samples to integer steps: rounding, clipping, and the dither that hides the rounding.

A sample that already lies on the grid keeps its step exactly, which libsndfile's own conversion
does not do: it floors, and k/32768 above one half comes back as k − 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Quantiser:
    """Quantises one signal, block by block; the same signal gives the same steps however it is cut.

    Parameters
    ----------
    bits : int
        8, 16, 24 or 32.
    dither : bool
        Add triangular noise of ±1 step before rounding, from a fixed seed. Then the error is noise
        whose first two moments do not depend on the signal (Lipshitz, Wannamaker, Vanderkooy 1992).
    """

    def __init__(self, bits: int, dither: bool = False) -> None:
        self._bits = bits
        # float32 holds every step of 24 bits, and a power of two scales it without error.
        self._work = np.float32 if bits <= 24 else np.float64
        self._noise = np.random.default_rng(0) if dither else None

    def seek(self, sample: int) -> None:
        """Continue as if `sample` samples (frames times channels) had gone by."""
        if self._noise is not None:
            # A sample takes two float32, which are the halves of one step of the generator.
            self._noise = np.random.Generator(np.random.PCG64(0).advance(sample))

    def __call__(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Steps of the samples `x` (frames, channels): int16, or int32 with the step at the top bits.

        NaN becomes 0, infinities full scale.
        """
        full = float(1 << (self._bits - 1))
        y = np.multiply(x, full, dtype=self._work)
        if self._noise is not None:
            pairs = self._noise.random((*x.shape, 2), np.float32)
            y += pairs[..., 0]
            y -= pairs[..., 1]
        np.rint(y, out=y)
        np.clip(y, -full, full - 1, out=y)
        np.nan_to_num(y, copy=False)
        if self._bits == 16:
            return y.astype(np.int16)
        return y.astype(np.int32) << (32 - self._bits)

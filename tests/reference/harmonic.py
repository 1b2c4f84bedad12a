"""Oracle of the harmonic/percussive ratio: scipy's median filter on every second frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from reference.spectral import spectra
from scipy.ndimage import median_filter


def harmonic_ratio(x: NDArray[np.float32], sample_rate: int, time: int = 15, step: int = 2) -> float:
    """E_H / (E_H + E_P) with squared masks; medians over `time` frames and 31 bins."""
    magnitude = spectra(x, sample_rate)[1][::step]
    harmonic = median_filter(magnitude, (time, 1), mode="reflect") ** 2
    percussive = median_filter(magnitude, (1, 31), mode="reflect") ** 2
    total = harmonic + percussive + 1e-30
    e_h = ((magnitude * harmonic / total) ** 2).sum()
    e_p = ((magnitude * percussive / total) ** 2).sum()
    return float(e_h / (e_h + e_p))

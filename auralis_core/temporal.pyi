from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

class Result(TypedDict):
    tempo_bpm: float
    tempo_alt: float
    tempo_confidence: float
    rhythm_stability: float
    transient_density: float
    onsets: int
    active_s: float

class OnsetTracker:
    """Onset strength, tempo, rhythm stability and transient density of one mono signal.

    Parameters
    ----------
    sample_rate : float
        8 to 96 kHz.

    Raises
    ------
    ValueError
        `sample_rate` is out of range.
    """

    def __init__(self, sample_rate: float) -> None: ...
    def feed(self, mono: NDArray[np.float32]) -> None:
        """Add samples, float32 of shape (frames,), finite; how they are cut changes nothing."""
    def result(self) -> Result:
        """What the signal so far measures as. May be asked at any point."""

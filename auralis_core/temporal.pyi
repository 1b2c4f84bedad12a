from typing import Self, TypedDict, type_check_only

import numpy as np
from numpy.typing import NDArray

@type_check_only
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

    def __new__(cls, sample_rate: float) -> Self: ...
    def feed(self, mono: NDArray[np.float32]) -> None:
        """Add samples, float32 of shape (frames,), finite; how they are cut changes nothing."""
    def result(self) -> Result:
        """What the signal so far measures as. May be asked at any point."""

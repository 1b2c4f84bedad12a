from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

class Region(StrEnum):
    COMPRESSED_LOUD = "compressed_loud"
    DYNAMIC_LOUD = "dynamic_loud"
    QUIET = "quiet"

class Decision(NamedTuple):
    region: Region
    expansion: float
    gain_db: float

class Decisions(NamedTuple):
    region: NDArray[np.str_]
    expansion: NDArray[np.float64]
    gain_db: NDArray[np.float64]

def decide(lufs: float, crest_db: float) -> Decision: ...
def decide_many(
    lufs: Sequence[float] | NDArray[np.float64], crest_db: Sequence[float] | NDArray[np.float64]
) -> Decisions: ...

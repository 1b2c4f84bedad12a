from typing import Literal

import numpy as np
from numpy.typing import NDArray

def crossfade(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    law: Literal["equal_gain", "equal_power", "correlation"] = "equal_gain",
    start: int = 0,
    length: int | None = None,
    r: float | None = None,
) -> NDArray[np.float32]: ...
def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float: ...

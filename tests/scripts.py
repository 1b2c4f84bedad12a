"""The scripts of ``bench/``, which lie outside the packages and import their neighbours."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

BENCH = Path(__file__).resolve().parents[1] / "bench"


@contextmanager
def script(name: str) -> Iterator[ModuleType]:
    """``bench/<name>.py``, imported; its neighbours can be while this lasts."""
    sys.path.insert(0, str(BENCH))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCH))

"""Imports point in one direction. The table is the house; any edge it does not name is a wall broken through."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: C file (both .h and .c) → headers of ours it may include.
C_LAYERS: dict[str, set[str]] = {
    "common": set(),
    "simd": set(),
    "activity": {"common"},
    "biquad": {"common"},
    "decimate": {"common", "simd"},
    "fft": {"common", "simd"},
}

#: Python or Cython module → modules of its own package it may import.
CORE_LAYERS: dict[str, set[str]] = {}

SERVER_LAYERS: dict[str, set[str]] = {}


def c_edges() -> dict[str, set[str]]:
    edges: dict[str, set[str]] = {}
    for file in sorted((ROOT / "csrc").glob("*.[ch]")):
        found = set(re.findall(r'^\s*#\s*include\s+"([a-z0-9_]+)\.h"', file.read_text(), re.MULTILINE))
        edges.setdefault(file.stem, set()).update(found - {file.stem})
    return edges


if __name__ == "__main__":
    for name, found in c_edges().items():
        print(f'    "{name}": {sorted(found)},')

"""Tracks that measure alike: distance between fingerprints over a whole library."""

from __future__ import annotations

import numpy as np

from .dataset import Dataset, Track


def nearest(dataset: Dataset, id: int, count: int = 10) -> list[tuple[Track, float]]:
    """The tracks nearest to the track `id`, nearest first, with their distances.

    The distance is Euclidean over the 25 dimensions, each scaled to unit variance over the library
    and divided by √25: two tracks that differ by one standard deviation everywhere are 1 apart.

    Raises
    ------
    ValueError
        The track has no fingerprint, or `count` is negative.
    """
    if count < 0:
        raise ValueError("count must not be negative")
    ids, values = dataset.vectors()
    here = np.flatnonzero(ids == id)
    if len(here) == 0:
        raise ValueError(f"track {id} has no fingerprint")
    spread = values.std(axis=0)
    # A dimension that is the same everywhere tells nothing.
    scaled = values / np.where(spread > 0, spread, np.inf)
    distance = np.sqrt(np.mean((scaled - scaled[here[0]]) ** 2, axis=1))
    order = [k for k in np.argsort(distance, kind="stable") if k != here[0]][:count]
    found = ((dataset.track(int(ids[k])), float(distance[k])) for k in order)
    return [(track, d) for track, d in found if track is not None]

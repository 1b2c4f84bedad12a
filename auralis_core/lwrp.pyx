"""2-D Loudness-War Restraint: loudness and crest factor of a track → what mastering may do to it.

The rule itself is ``csrc/lwrp.c``; what a decision means in parameters is ``plan.py``.
"""

from enum import StrEnum
from typing import NamedTuple

import numpy as np

from auralis_core.csrc cimport AUR_OK, aur_decision, aur_lwrp_decide, aur_lwrp_decide_many


class Region(StrEnum):
    """Where a track lies on the loudness–crest map."""

    COMPRESSED_LOUD = "compressed_loud"
    DYNAMIC_LOUD = "dynamic_loud"
    QUIET = "quiet"


_REGIONS = (Region.COMPRESSED_LOUD, Region.DYNAMIC_LOUD, Region.QUIET)


class Decision(NamedTuple):
    """`region`, `expansion` (0, or 0.1–1: a tenth of the crest to restore, in dB) and `gain_db`."""

    region: Region
    expansion: float
    gain_db: float


class Decisions(NamedTuple):
    """`Decision` as arrays: `region` of strings, `expansion` and `gain_db` of float64."""

    region: np.ndarray
    expansion: np.ndarray
    gain_db: np.ndarray


def decide(double lufs, double crest_db):
    """Decide what one track needs.

    Parameters
    ----------
    lufs : float
        Integrated loudness, LUFS.
    crest_db : float
        Mean crest factor of active 100 ms blocks, dB.

    Returns
    -------
    Decision

    Raises
    ------
    ValueError
        Either number is NaN or infinite.
    """
    cdef aur_decision d
    if aur_lwrp_decide(lufs, crest_db, &d) != AUR_OK:
        raise ValueError(f"lufs and crest_db must be finite, got {lufs!r} and {crest_db!r}")
    return Decision(_REGIONS[<int>d.region], d.expansion, d.gain_db)


def decide_many(lufs, crest_db):
    """`decide` over two equally long sequences: an album, a library, a tuning sweep.

    Returns
    -------
    Decisions

    Raises
    ------
    ValueError
        The shapes differ, are not one-dimensional, or a number is NaN or infinite.
    """
    cdef const double[::1] loudness = np.ascontiguousarray(lufs, np.float64)
    cdef const double[::1] crest = np.ascontiguousarray(crest_db, np.float64)
    cdef size_t n = loudness.shape[0]
    if crest.shape[0] != loudness.shape[0]:
        raise ValueError(f"lufs and crest_db differ in length: {n} and {crest.shape[0]}")
    rows = np.zeros(n, np.dtype([("region", "i4"), ("expansion", "f8"), ("gain_db", "f8")], align=True))
    assert rows.dtype.itemsize == sizeof(aur_decision)
    cdef unsigned char[::1] raw = rows.view(np.uint8)
    cdef int status
    if n:
        with nogil:
            status = aur_lwrp_decide_many(&loudness[0], &crest[0], <aur_decision *>&raw[0], n)
        if status != AUR_OK:
            raise ValueError("lufs and crest_db must be finite")
    names = np.array([str(r) for r in _REGIONS])
    return Decisions(names[rows["region"]], rows["expansion"].copy(), rows["gain_db"].copy())

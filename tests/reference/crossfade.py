"""Crossfade laws in one line each."""

import numpy as np


def crossfade(a, b, law, length=None, start=0):
    n = a.shape[1]
    length = n if length is None else length
    t = np.clip((np.arange(start, start + n) + 0.5) / max(length, 1), 0.0, 1.0)
    t[np.arange(start, start + n) >= length] = 1.0
    w = 0.5 - 0.5 * np.cos(np.pi * t)
    v = 1.0 - w
    x, y = a.astype(float), b.astype(float)
    energy = np.sqrt((x * x).sum() * (y * y).sum())
    r = {"equal_gain": 1.0, "equal_power": 0.0}.get(
        law, float(np.clip((x * y).sum() / energy, 0.0, 1.0)) if energy else 0.0
    )
    k = 1.0 / np.sqrt(v * v + w * w + 2.0 * r * v * w)
    return k * (v * x + w * y)

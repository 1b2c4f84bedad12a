"""Declipping run by run, the cubic by solving for its coefficients, the parabola by its three points."""

import numpy as np


def declip(x, level, sample_rate, rise, longest, blur=0.0):
    """Time-aligned. Runs are redrawn in order, each on what the ones before it left.

    `blur` is by which part of the level a clipped sample may lie under it.
    """
    out = x.astype(float)
    for v in out:
        clipped = np.abs(v) >= np.float32(level * (1 - max(blur, 1 / 4096)))
        at = 0
        while at < v.size:
            end = at
            while end < v.size and clipped[end] and v[end] * v[at] > 0:
                end += 1
            if end == at:
                at += 1
                continue
            if end - at <= longest and at >= 2 and end + 2 <= v.size:
                sign, places = np.sign(v[at]), np.array([at - 2, at - 1, end, end + 1])
                cubic = np.linalg.solve(np.vander(places - at + 0.0, 4), sign * v[places])
                over = np.maximum(np.polyval(cubic, np.arange(end - at)) / level - 1.0, 0.0)
                nearby = over / np.hypot(1.0, over / (6.0 * rise))
                frames = (end - at) * 44100.0 / sample_rate
                height = rise * (0.4 + 3.2 * frames / (frames + 30.0))
                usual = np.interp(np.arange(at, end), [at - 1, end], [-1.0, 1.0])
                v[at:end] += sign * level * (0.7 * nearby + 0.35 * height * (1.0 - usual**2))
            at = end
    return out

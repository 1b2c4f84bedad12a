"""Cookbook sections by their analogue prototypes and SciPy's bilinear transform."""

import numpy as np
from scipy.signal import bilinear, freqz


def section(kind, sample_rate, f0, q, gain_db):
    """b, a of a peaking or shelving section whose centre the bilinear transform keeps in place."""
    warped = 2.0 * sample_rate * np.tan(np.pi * f0 / sample_rate)
    g = 10.0 ** (gain_db / 40.0)
    if kind == "peaking":
        b, a = [1.0, g / q, 1.0], [1.0, 1.0 / (g * q), 1.0]
    elif kind == "low_shelf":
        b, a = [g, g * np.sqrt(g) / q, g * g], [g, np.sqrt(g) / q, 1.0]
    else:
        b, a = [g * g, g * np.sqrt(g) / q, g], [1.0, np.sqrt(g) / q, g]
    scale = np.array([1.0 / warped**2, 1.0 / warped, 1.0])
    return bilinear(np.array(b) * scale, np.array(a) * scale, fs=sample_rate)


def response_db(bands, sample_rate, frequencies):
    total = np.zeros(len(frequencies))
    for kind, f0, q, gain_db in bands:
        b, a = section(kind, sample_rate, f0, q, gain_db)
        total += 20.0 * np.log10(np.abs(freqz(b, a, worN=frequencies, fs=sample_rate)[1]))
    return total

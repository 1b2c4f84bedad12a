"""Loudness after BS.1770-5, Tech 3341 and Tech 3342 in plain NumPy: the oracle of csrc/loudness.c."""

import numpy as np
from scipy.signal import lfilter

WEIGHTS = {
    1: [1],
    2: [1, 1],
    3: [1, 1, 1],
    4: [1, 1, 1.41, 1.41],
    5: [1, 1, 1, 1.41, 1.41],
    6: [1, 1, 1, 0, 1.41, 1.41],
    7: [1, 1, 1, 0, 1, 1.41, 1.41],
    8: [1, 1, 1, 0, 1, 1, 1.41, 1.41],
}


def k_weighting(sample_rate, compat=False):
    """Return [(b, a), (b, a)]: the shelf and the high-pass of BS.1770 at any rate."""
    f, q, vh = 1681.974450955533, 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    k, vb = np.tan(np.pi * f / sample_rate), vh**0.4996667741545416
    shelf = (
        np.array([vh + vb * k / q + k * k, 2 * (k * k - vh), vh - vb * k / q + k * k]),
        np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]),
    )
    f, q = 38.13547087602444, 0.5003270373238773

    def denominator(rate):
        k = np.tan(np.pi * f / rate)
        return np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])

    a = denominator(sample_rate)
    scale = a[0] if compat else denominator(48000)[0]
    return [shelf, (np.array([1.0, -2.0, 1.0]) * scale, a)]


def energy(x, sample_rate, compat=False):
    """Weighted sum over channels of the squared K-weighted signal, one number a frame."""
    y = np.asarray(x, np.float64)
    for b, a in k_weighting(sample_rate, compat):
        y = lfilter(b, a, y)
    return np.asarray(WEIGHTS[len(x)]) @ (y * y)


def windows(e, sample_rate, seconds, hop, tail=0.0):
    """Mean power of every whole window, `hop` seconds apart; `tail` seconds of silence appended."""
    e = np.concatenate([[0.0], np.cumsum(np.append(e, np.zeros(round(tail * sample_rate))))])
    starts = np.round(np.arange(0, len(e), hop * sample_rate)).astype(int)
    n = round(seconds * sample_rate)
    starts = starts[starts + n < len(e)]
    return (e[starts + n] - e[starts]) / n


def lufs(power):
    with np.errstate(divide="ignore"):
        return 10 * np.log10(power) - 0.691


def gate(power, relative):
    power = power[lufs(power) > -70]
    return power[lufs(power) > lufs(power.mean()) + relative] if len(power) else power


def integrated(x, sample_rate, compat=False):
    e = energy(x, sample_rate, compat)
    blocks = gate(windows(e, sample_rate, 0.4, 0.1), -10)
    return float(lufs(blocks.mean())) if len(blocks) else -np.inf


def momentary_max(x, sample_rate):
    return float(lufs(windows(energy(x, sample_rate), sample_rate, 0.4, 0.01).max()))


def short_term_max(x, sample_rate):
    return float(lufs(windows(energy(x, sample_rate), sample_rate, 3.0, 0.01).max()))


def loudness_range(x, sample_rate):
    s = np.sort(lufs(gate(windows(energy(x, sample_rate), sample_rate, 3.0, 0.1, tail=1.5), -20)))
    low, high = (int(np.floor((len(s) - 1) * p + 0.5)) for p in (0.10, 0.95))
    return float(s[high] - s[low])


def variation(x, sample_rate):
    """Dimension 22: from the first 100 ms within 50 LU of the loudest on, no tail."""
    e = energy(x, sample_rate)
    tenths = windows(e, sample_rate, 0.1, 0.1)
    least = max(tenths.max() * 1e-5, 1e-8)
    e = e[round(np.flatnonzero(tenths > least)[0] * sample_rate / 10) :]
    power = windows(e, sample_rate, 3.0, 0.1)
    power = power[power > least]
    return float(lufs(power[power > power.mean() / 100]).std())

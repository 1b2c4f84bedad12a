"""Oracle of pitch stability: the normalised square difference function by direct summation."""

from __future__ import annotations

import numpy as np
from reference.analysis import Array, active, frames_of
from scipy.signal import firwin, lfilter

WINDOW, HOP = 1024, 512


def decimated(mono: Array, factor: int, passband: float) -> Array:
    """Every `factor`-th sample after an 80 dB Kaiser low-pass; `passband` is a share of the new rate."""
    if factor == 1:
        return mono
    taps = int(np.ceil((80 - 7.95) / (14.36 * (1 - 2 * passband) / factor))) | 1
    return lfilter(firwin(taps, 1 / factor, window=("kaiser", 0.1102 * (80 - 8.7))), 1, mono)[::factor]


def clarity(frame: Array, lags: int) -> Array:
    """2 r(lag) / m(lag), McLeod and Wyvill (2005), lags 0 … lags − 1."""
    n = np.empty(lags)
    for lag in range(lags):
        a, b = frame[: len(frame) - lag], frame[lag:]
        power = (a * a).sum() + (b * b).sum()
        n[lag] = 2 * (a * b).sum() / power if power > 0 else 0
    return n


def pitch_of(frame: Array, sample_rate: float) -> float:
    """Fundamental in Hz, 0 when unvoiced."""
    n = clarity(frame, int(np.ceil(sample_rate / 55)) + 2)
    last = len(n) - 2
    lag = 1
    while lag <= last and n[lag] > 0:
        lag += 1
    peaks = []
    while lag <= last:
        while lag <= last and n[lag] <= 0:
            lag += 1
        start = lag
        while lag <= last and n[lag] > 0:
            lag += 1
        lobe = np.arange(max(start, int(sample_rate / 1030)), lag)
        if len(lobe):
            peaks.append(lobe[np.argmax(n[lobe])])
    if not peaks or max(n[peaks]) <= 0.7:
        return 0.0
    p = next(p for p in peaks if n[p] >= 0.9 * max(n[peaks]))
    a, b, c = n[p - 1 : p + 2]
    bend = a - 2 * b + c
    shift = np.clip(0.5 * (a - c) / bend, -0.5, 0.5) if bend < 0 else 0.0
    hz = sample_rate / (p + shift)
    return hz if 55 <= hz <= 1030 else 0.0


def pitch_stability(mono: Array, sample_rate: int) -> float:
    """Voiced share of active frames × exp(−median |Δ cents| / 50)."""
    factor = max(1, int(sample_rate / 11025))
    frames = frames_of(decimated(mono, factor, 0.3), WINDOW, HOP)
    keep = active((frames**2).mean(axis=1))
    hz = np.array(
        [pitch_of(f, sample_rate / factor) if k else 0.0 for f, k in zip(frames, keep, strict=True)]
    )
    voiced = hz > 0
    pairs = voiced[1:] & voiced[:-1]
    if not pairs.any():
        return 0.0
    cents = 1200 * np.log2(hz[1:][pairs] / hz[:-1][pairs])
    folded = cents - 1200 * np.round(cents / 1200)
    return float(voiced.sum() / keep.sum() * np.exp(-np.median(np.abs(folded)) / 50))

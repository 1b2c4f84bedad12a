"""The temporal kernel in slow, plain NumPy (float64): rows of onset strength, onsets, tempo.

Written from the definitions in csrc/temporal.h and csrc/tempo.h, one frame and one lag at a time.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

EDGES_HZ = np.array([30, 100, 200, 400, 800, 1600, 3200, 6400, 14000.0])
RATIOS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 2.0, 3.0, 4.0)


def raw_rows(x: np.ndarray, sample_rate: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Onset, low and high strength, shape (3, rows); power of each row; rows a second."""
    sound = np.flatnonzero(x)
    x = x[sound[0] :] if sound.size else x[:0]
    hop = int(sample_rate * 256 / 44100 + 0.5)
    n = int(2 ** np.ceil(np.log2(sample_rate * 1024 / np.sqrt(2) / 44100) - 1e-12))
    rows, rate = x.size // hop, sample_rate / hop
    x = np.concatenate([np.zeros(n - hop), x])
    edges = np.clip(np.floor(EDGES_HZ * n / sample_rate + 0.5).astype(int), 1, n // 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    amplitude = np.zeros((rows, 8))
    for r in range(rows):
        power = np.abs(2 * np.fft.rfft(x[r * hop : r * hop + n] * window)) ** 2
        amplitude[r] = [np.sqrt(power[a:b].sum()) for a, b in pairwise(edges)]
    out = np.zeros((3, rows))
    peak = np.zeros(8)
    for r in range(rows):
        peak = np.maximum(peak * np.exp(-1 / (3 * rate)), amplitude[r])
        against = np.maximum(peak, 0.1 * peak.max()) + 1e-30
        before = amplitude[r - 3] if r >= 3 else np.zeros(8)
        up = np.maximum(amplitude[r] - before, 0)
        out[0, r] = max(0, (up / (amplitude[r] + before + 0.1 * against)).sum() - 0.3)
        out[1, r], out[2, r] = (up / against)[:2].sum(), (up / against)[2:6].sum()
    return out, (amplitude**2).sum(1), rate


def onsets(onset: np.ndarray) -> np.ndarray:
    """Rows that are onsets: largest within 5 rows, and .42 above the mean of 17 rows either side."""
    found = []
    for r, value in enumerate(onset):
        near = onset[max(0, r - 5) : r + 6]
        first = value == near.max() and value not in near[: min(r, 5)]
        if first and value >= onset[max(0, r - 17) : r + 18].mean() + 0.42:
            found.append(r)
    return np.array(found, int)


def density(onset: np.ndarray, power: np.ndarray, rate: float) -> tuple[int, float]:
    """Onsets in active moments of 16 rows, and the active seconds."""
    moments = np.array([power[i : i + 16].max() for i in range(0, power.size, 16)])
    least = 1e-5 * np.sort(moments[moments > 0])[int(0.95 * ((moments > 0).sum() - 1))]
    count = sum(moments[r // 16] >= least for r in onsets(onset))
    active = np.zeros(power.size, bool)
    for i in np.flatnonzero(moments >= least):
        end = min(16 * (i + 1), power.size)
        active[16 * i : max(end, 16 * i + int(2 * rate))] = True
    return int(count), active.sum() / rate


def kept_rows(raw: np.ndarray) -> np.ndarray:
    """Each kind smoothed with its Hann kernel, every second row."""
    out = []
    for row, taps in zip(raw, (25, 13, 13), strict=True):
        kernel = np.hanning(taps + 2)[1:-1]
        out.append(np.convolve(row, kernel / kernel.sum())[: row.size][1::2])
    return np.array(out)


def _vertex(g, k):
    a, b, c = g[k - 1], g[k], g[k + 1]
    return k + (0.5 * (a - c) / (a - 2 * b + c) if a - 2 * b + c < 0 else 0)


def _train(v, period):
    """Mean over a pulse train at every whole phase; pulses beyond the end count as nothing."""
    pulses = int((v.size - 1) / period)
    at = np.arange(int(np.ceil(period)))[:, None] + period * np.arange(pulses)[None, :]
    return np.interp(at, np.arange(v.size), v, right=0).mean(1)


def _correlation(x, lag):
    a = x[: x.size - int(lag) - 1]
    b = np.interp(np.arange(a.size) + lag, np.arange(x.size), x)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.clip(((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std()), -1, 1))


def _vote(v, shortest, longest):
    """Pulse lag and weight of one window of onset strength."""
    g = np.fft.irfft(np.sqrt(np.abs(np.fft.rfft(v - v.mean(), 1024))))
    if g[0] <= 0:
        return 0.0, 0.0
    lags = np.arange(int(longest) + 3)
    h = (g[lags] + g[2 * lags] + g[4 * lags]) / g[0]
    inner = range(int(shortest), int(longest) + 2)
    peaks = [k for k in inner if h[k] >= h[k - 1] and h[k] > max(h[k + 1], 0)]
    if not peaks:
        return 0.0, 0.0
    peaks = sorted(peaks, key=lambda k: -h[k])[:10]
    trains = [_train(v, _vertex(h, k)) for k in peaks]
    top, spread = np.array([t.max() for t in trains]), np.array([t.var() for t in trains])
    k = peaks[int(np.argmax(top / top.sum() + spread / spread.sum()))]
    lag = _vertex(h, k)
    for times in (4, 2):
        low = int(lag * times - 3)
        if lag * times < 0.75 * v.size:
            far = low + int(np.argmax(g[low : low + 8]))
            if low < far < low + 7:
                return _vertex(g, far) / times, h[k]
    return lag, h[k]


def tempo(kept: np.ndarray, rate: float) -> dict[str, float]:
    """BPM before the confidence gate, stability and confidence."""
    onset, low, high = kept
    size = min(int(6 * rate), onset.size)
    starts = range(0, onset.size - size + 1, int(1.5 * rate))
    shortest, longest = 60 * rate / 210, min(60 * rate / 50, size / 2)
    votes = [(s, *_vote(onset[s : s + size], shortest, longest)) for s in starts]
    best, pulse = 0.0, 0.0
    for _, lag, _ in votes:
        near = [(w, at) for _, at, w in votes if lag and abs(at / lag - 1) < 0.03]
        weight = sum(w for w, _ in near)
        if weight > best:
            best, pulse = weight, sum(w * at for w, at in near) / weight

    def local(lag, ratio):
        near = [r for r in RATIOS if abs(lag / (pulse * r) - 1) < 0.04]
        return lag / near[0] * ratio if near else pulse * ratio

    def score(ratio):
        on, backbeat, even = [], [], []
        for s, lag, _ in votes:
            accents, snare = (low + high)[s : s + size], high[s : s + size]
            if not lag or not accents.sum():
                continue
            period = local(lag, ratio)
            train = _train(accents, period)
            on.append(train.max() / accents.mean())
            backbeat.append(0.0)
            if 2 * period < 0.67 * size:
                backbeat[-1] = _correlation(snare, 2 * period) - _correlation(accents, 2 * period)
            beats = onset[s : s + size][np.arange(np.argmax(train) + 0.5, size, period).astype(int)]
            pair = beats[::2].mean(), beats[1::2].mean()
            even.append(min(pair) / max(pair) if max(pair) else 0)
        octaves = np.log2(60 * rate / (pulse * ratio) / 110)
        return (
            np.log(np.mean(on))
            + 0.32 * octaves
            + 0.5 * np.mean(backbeat)
            + 0.1 * np.log(max(np.mean(even), 0.05))
            - 0.04 * octaves**2
        )

    levels = [r for r in RATIOS if 0.99 * shortest <= pulse * r <= 1.01 * longest]
    period = pulse * max(levels, key=score)
    clarity = []
    for s, _, _ in votes:
        x = onset[s : s + size]
        if x.sum() > 0:
            clarity.append(0.0)
            for beats in (1, 2, 4):
                for octaves in 0.02 * np.arange(-6, 7):
                    lag = beats * period * 2**octaves
                    if lag <= 0.67 * size:
                        r = max(0.0, _correlation(x, lag))
                        clarity[-1] = max(clarity[-1], r**2 * np.exp(-(octaves**2) / (2 * 0.04**2)))
    agreed = sum(w for _, lag, w in votes if any(abs(lag / (period * r) - 1) < 0.03 for r in RATIOS))
    stability = float(np.mean(clarity))
    return {
        "tempo_bpm": 60 * rate / period,
        "rhythm_stability": stability,
        "tempo_confidence": stability * agreed / sum(w for _, _, w in votes),
    }


def measure(x: np.ndarray, sample_rate: float) -> dict[str, float]:
    """What OnsetTracker measures, but for `tempo_alt` and the confidence gate."""
    raw, power, rate = raw_rows(np.asarray(x, np.float64), sample_rate)
    count, active = density(raw[0], power, rate)
    return {"onsets": count, "active_s": active, **tempo(kept_rows(raw), rate / 2)}

"""Level statistics in plain NumPy: the oracle of csrc/levels.c and csrc/saturation.c."""

import itertools

import numpy as np


def blocks_of(x, sample_rate, seconds):
    """Whole blocks on the absolute grid, or all of it when there is none; a list of arrays."""
    edges = np.floor(np.arange(0, x.shape[1] / sample_rate / seconds + 2) * seconds * sample_rate + 0.5)
    edges = edges.astype(int)[edges <= x.shape[1]]
    pieces = [x[:, a:b].astype(np.float64) for a, b in itertools.pairwise(edges)]
    return pieces or [x.astype(np.float64)]


def nearest_rank(values, p):
    return np.sort(values)[int(np.floor((len(values) - 1) * p + 0.5))]


def active_threshold(powers):
    heard = powers[powers > max(1e-8, powers.max() * 1e-5)]
    return max(1e-8, nearest_rank(heard, 0.95) * 1e-5) if len(heard) else 1e-8


def levels(raw, hp, sample_rate):
    """For a signal that begins with a sound: the kernel counts its grids from the first one."""
    blocks = blocks_of(hp, sample_rate, 0.1)
    powers = np.array([np.mean(b * b) for b in blocks])
    peaks = np.array([np.abs(b).max() for b in blocks])
    threshold = active_threshold(powers)
    active = powers > threshold
    long_blocks = blocks_of(hp, sample_rate, 3.0)
    if hp.shape[1] < 3 * sample_rate:
        long_blocks = [np.concatenate(blocks, axis=1)]
    ranges = [
        20 * np.log10(np.abs(b).max()) - 10 * np.log10(np.mean(b * b))
        for b in long_blocks
        if np.mean(b * b) > threshold
    ]
    rows = blocks_of(hp, sample_rate, 0.01)
    pool = np.concatenate([b for b, a in zip(blocks, active, strict=True) if a] or [np.zeros((2, 0))], axis=1)
    left, right = pool
    cross = np.sqrt(np.sum(left**2) * np.sum(right**2))
    total, longest = flat_tops(raw)
    return {
        "crest_db": np.mean(20 * np.log10(peaks[active]) - 10 * np.log10(powers[active])),
        "silence_ratio": np.mean([np.sqrt(np.mean(r * r, axis=1).max()) < 1e-3 for r in rows]),
        "dynamic_range_variation": min(np.std(ranges) / 6, 1.0),
        "peak_consistency": 1 / (1 + np.std(20 * np.log10(peaks[active])) / 3),
        "stereo_width": np.sum((left - right) ** 2) / np.sum((left - right) ** 2 + (left + right) ** 2),
        "phase_correlation": np.sum(left * right) / cross if cross else 1.0,
        "active_seconds": pool.shape[1] / sample_rate,
        "sample_peak": np.abs(raw).max(),
        "frames": raw.shape[1],
        "flat_top_longest": longest,
        "flat_top_total": total,
        "flat_top_share": total / (2 * raw.shape[1]),
    }


def histogram(raw):
    bins = np.minimum((np.abs(raw.astype(np.float64)) * 2048).astype(np.int64), 2047)
    return np.bincount(bins.ravel(), minlength=2048)


def sixteenth_octave(x):
    """Sixteen linear steps in every octave."""
    mantissa, exponent = np.frexp(x)
    return exponent * 16 + int(np.floor((mantissa * 2 - 1) * 16))


def flat_tops(raw):
    """(samples in flat tops near the peak, the longest of them), both channels."""
    near = sixteenth_octave(np.float32(np.abs(raw).max()) * np.float32(15 / 16))
    runs = []
    for x in raw.astype(np.float64):
        steps = np.abs(np.diff(x))
        starts = np.append(0, np.flatnonzero(steps > np.abs(x[:-1]) / 16384) + 1)
        ends = np.append(starts[1:], len(x))
        lowest = np.minimum.reduceat(np.abs(x), starts)
        entry, exit_ = np.append(0, steps)[starts], np.append(steps, 0)[ends - 1]
        corner = (entry > np.abs(x[starts]) / 1024) | (exit_ > lowest / 1024)
        for k in np.flatnonzero((ends - starts >= 3) & (lowest > 0) & corner):
            if sixteenth_octave(lowest[k]) >= near:
                runs.append(ends[k] - starts[k])
    return sum(runs), max(runs, default=0)


def curvature(raw, sample_rate):
    """Exact medians over exact ranks, every tenth 10 ms row, maxima inside the row."""
    heights, ratios = [], []
    for row in blocks_of(raw, sample_rate, 0.01)[::10]:
        for x in np.abs(row):
            a, left, right = x[1:-1], x[:-2], x[2:]
            at = (a > left) & (a >= right) & (a > 1e-4)
            heights.append(a[at])
            ratios.append((2 * a - left - right)[at] / a[at])
    heights, ratios = np.concatenate(heights), np.concatenate(ratios)
    ratios = ratios[np.argsort(heights)]
    n = len(ratios)
    return np.median(ratios[round(0.97 * n) :]) / np.median(ratios[round(0.4 * n) : round(0.6 * n)])

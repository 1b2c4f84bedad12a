"""Expansion, lift and multiband fill, one quantum after the other, with plain convolutions."""

import numpy as np

SPLITS_HZ = (120.0, 700.0, 4000.0)


def box_lengths(sample_rate):
    return [2 * int(0.3701 * sample_rate / f / 2.0) + 1 for f in SPLITS_HZ]


def low_pass(x, box):
    kernel = np.ones(1)
    for _ in range(3):
        kernel = np.convolve(kernel, np.ones(box) / box)
    return np.convolve(x, kernel, mode="same")


def reaches(y, held, quantum, sample_rate):
    """How much a limiter had hold of each quantum: 1 at peaks of `held`, from 1.5 ms before them."""
    ahead = int(0.0015 * sample_rate)
    peaks = np.abs(np.pad(y[:, ahead:], [(0, 0), (0, ahead)])).max(axis=0)
    out, last = [], 0.0
    for at in range(0, y.shape[1], quantum):
        peak = peaks[at : at + quantum].max()
        fresh = np.clip(1.0 + 20.0 * np.log10(peak / held + 1e-30) / 1.0, 0.0, 1.0)
        last *= np.exp(-quantum / sample_rate / 0.040)
        last = max(fresh, last if last > 1e-4 else 0.0)
        out.append(last)
    return out


def restore(x, sample_rate, depth, top, fill, curve=None, lift_db=0.0, held=1.0):
    """Time-aligned; the fill's gains are those of frames from the start of `x` on."""
    x = x.astype(float)
    y = x * (1.0 + depth * np.minimum((x / top) ** 2, 1.0) ** 2)
    if curve is not None:
        node = np.sqrt(1.0 - np.minimum(np.abs(x) / top, 1.0))  # 1 at zero, 0 at the top
        y *= np.interp(node, np.linspace(0.0, 1.0, len(curve)), curve[::-1])
    if fill == lift_db == 0.0:
        return y
    boxes = box_lengths(sample_rate)
    # The kernel's clock starts this many frames before the first one that it puts out aligned, and its
    # linear-phase low-passes already rise there.
    lead = 3 * (boxes[0] - 1) // 2
    y = np.concatenate([np.zeros((y.shape[0], lead)), y], axis=1)
    lows = [np.stack([low_pass(c, box) for c in y]) for box in boxes]
    bands = [lows[0], lows[1] - lows[0], lows[2] - lows[1], y - lows[2]]
    quantum = (
        8 if sample_rate <= 16000 else 16 if sample_rate <= 50000 else 32 if sample_rate <= 100000 else 64
    )
    fast, slow, attack, release = (
        1.0 - np.exp(-quantum / sample_rate / t) for t in (0.0015, 0.100, 0.001, 0.010)
    )
    reach = reaches(y, held, quantum, sample_rate)
    out = np.zeros_like(y)
    for band in bands:
        pf = ps = gain = 0.0
        for q, at in enumerate(range(0, y.shape[1], quantum)):
            part = band[:, at : at + quantum]
            p = (part**2).sum() / (quantum * y.shape[0])
            pf += fast * (p - pf)
            ps += max(slow, 1.0 / (q + 1)) * (p - ps)
            over = 10.0 * np.log10((pf + 1e-7) / (ps + 1e-7))
            wanted = reach[q] * (lift_db + np.clip(fill * (over - 1.5), 0.0, 6.0))
            following = gain + (attack if wanted > gain else release) * (wanted - gain)
            if wanted == 0.0 and following < 6e-5:
                following = 0.0
            ramp = (np.arange(part.shape[1]) + 1.0) / quantum
            start, end = 10 ** (gain / 20), 10 ** (following / 20)
            out[:, at : at + quantum] += part * (start + (end - start) * ramp)
            gain = following
    return out[:, lead:]

"""How far a signal is from the original it was made of: alignment, and SquashBench's measures.

Signals are float32 (channels, frames) at one rate. `measure` aligns and loudness-matches first, so delay and
gain never count. `composite` weighs what a restored signal measured against what the squashed one did.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from auralis_core import Meter, fingerprint_array

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Measures:
    """One signal, alone and against its original.

    `crest_db` is sample peak over rms of the whole signal, `block_crest_db` the fingerprint's mean over
    100 ms blocks; PLR, DR14 and LRA as usual. Against the original, after alignment and at equal loudness:
    `si_sdr_db`; `lsd_db`, the mean of the log-spectral distances at 512 and 2048; `onset`, correlation of
    10 ms onset strengths; `remainder_db`, how far under the original lies what is left once every 20 ms have
    their own gain, which is distortion; `spread_db`, the deviation of those gains, which is pumping.
    """

    lufs: float
    crest_db: float
    block_crest_db: float
    plr_db: float
    dr14: float
    lra: float
    si_sdr_db: float
    lsd_db: float
    onset: float
    remainder_db: float
    spread_db: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def aligned(original: Samples, x: Samples, reach: int = 4096) -> Samples:
    """`x` shifted by whole frames, at most `reach`, to where it correlates best, cut or padded to match."""
    frames = original.shape[1]
    a, b = (np.asarray(s, float).sum(axis=0) for s in (original, x))
    size = next_fast_len(frames + x.shape[1])
    lags = irfft(np.conj(rfft(a, size)) * rfft(b, size), size)
    lag = int(np.argmax(np.concatenate([lags[-reach:], lags[: reach + 1]]))) - reach
    out = np.zeros_like(original)
    taken = x[:, max(lag, 0) : max(lag, 0) + frames - max(-lag, 0)]
    out[:, max(-lag, 0) : max(-lag, 0) + taken.shape[1]] = taken
    return out


def si_sdr_db(original: Samples, x: Samples) -> float:
    a, b = (np.asarray(s, float).ravel() for s in (original, x))
    part = (a @ b) / (a @ a)
    rest = b - part * a
    return float(min(10.0 * np.log10(part * part * (a @ a) / max(rest @ rest, 1e-30)), 120.0))


def dr14(x: Samples, rate: int) -> float:
    """Second highest block peak over the rms of the loudest fifth of 3 s blocks, mean over channels."""
    length = 3 * rate
    count = max(1, x.shape[1] // length)
    values = []
    for channel in x.astype(float):
        blocks = channel[: count * length].reshape(count, -1)
        rms = np.sort(np.sqrt(2.0 * (blocks**2).mean(axis=1)))[::-1]
        peaks = np.sort(np.abs(blocks).max(axis=1))[::-1]
        loud = np.sqrt((rms[: max(1, round(0.2 * count))] ** 2).mean())
        values.append(20.0 * np.log10(peaks[min(1, count - 1)] / max(loud, 1e-9)))
    return float(np.mean(values))


def log_spectrum(x: Samples, size: int) -> NDArray[np.float32]:
    """dB of the mid signal in Hann frames with half overlap, floored 80 dB under the loudest bin."""
    mid = x.mean(axis=0)
    count = 1 + max(0, len(mid) - size) // (size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(mid, size)[:: size // 2][:count]
    power = np.abs(rfft(frames * np.hanning(size).astype(np.float32), axis=1)) ** 2
    return 10.0 * np.log10(np.maximum(power, power.max() * 1e-8))


def onsets(x: Samples, rate: int) -> NDArray[np.float64]:
    """Rises of the 10 ms level, in log over a floor 60 dB under the loudest."""
    hop = rate // 100
    mid = x.astype(float).mean(axis=0)
    power = (mid[: len(mid) // hop * hop].reshape(-1, hop) ** 2).mean(axis=1)
    return np.maximum(np.diff(np.log10(power + power.max() * 1e-6)), 0.0)


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    deviation = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / deviation) if deviation > 0.0 else 1.0


class Reference:
    """An original with what is needed of it again and again."""

    def __init__(self, x: Samples, rate: int) -> None:
        self.x, self.rate = x, rate

    @cached_property
    def lufs(self) -> float:
        meter = Meter(self.rate, self.x.shape[0])
        meter.feed(self.x)
        return float(meter.integrated)

    @cached_property
    def spectra(self) -> dict[int, NDArray[np.float32]]:
        return {size: log_spectrum(self.x, size) for size in (512, 2048)}

    @cached_property
    def onsets(self) -> NDArray[np.float64]:
        return onsets(self.x, self.rate)


def _gain_fit(original: Samples, x: Samples, rate: int) -> tuple[float, float]:
    hop = rate // 50
    count = original.shape[1] // hop
    a, b = (s[:, : count * hop].astype(float).reshape(s.shape[0], count, hop) for s in (original, x))
    own, cross, other = (a * a).sum(axis=(0, 2)), (a * b).sum(axis=(0, 2)), (b * b).sum(axis=(0, 2))
    active = (own > own.max() * 1e-4) & (cross > 0.0)
    own, cross, other = own[active], cross[active], other[active]
    rest = np.maximum(other - cross**2 / own, 0.0).sum() / other.sum()
    gains = 20.0 * np.log10(cross / own)
    mean = np.average(gains, weights=own)
    spread = np.sqrt(np.average((gains - mean) ** 2, weights=own))
    return float(-10.0 * np.log10(max(rest, 1e-12))), float(spread)


def measure(original: Reference, x: Samples) -> Measures:
    """Measure `x` alone and against `original`."""
    rate = original.rate
    x = aligned(original.x, x)
    fp = fingerprint_array(x, rate)
    matched = (x * 10.0 ** ((original.lufs - fp.lufs) / 20.0)).astype(np.float32)
    distances = [
        float(np.sqrt(((log_spectrum(matched, size) - ours) ** 2).mean(axis=1)).mean())
        for size, ours in original.spectra.items()
    ]
    rms = np.sqrt((x.astype(float) ** 2).mean())
    remainder_db, spread_db = _gain_fit(original.x, matched, rate)
    return Measures(
        lufs=fp.lufs,
        crest_db=float(20.0 * np.log10(np.abs(x).max() / rms)),
        block_crest_db=fp.crest_db,
        plr_db=fp.extras["plr_db"],
        dr14=dr14(x, rate),
        lra=fp.extras["loudness_range"],
        si_sdr_db=si_sdr_db(original.x, x),
        lsd_db=float(np.mean(distances)),
        onset=correlation(original.onsets, onsets(matched, rate)),
        remainder_db=remainder_db,
        spread_db=spread_db,
    )


def recovery(original: float, squashed: float, restored: float) -> float:
    """1 where all that was lost is back, 0 where nothing changed; too much counts like too little."""
    lost = abs(original - squashed)
    return float(np.clip((lost - abs(original - restored)) / max(lost, 0.5), -1.0, 1.0))


def composite(original: Measures, squashed: Measures, restored: Measures) -> float:
    """Mean of five parts within −1…1: recovery of crest and PLR, gains in SI-SDR, LSD and onsets."""
    parts = (
        recovery(original.crest_db, squashed.crest_db, restored.crest_db),
        recovery(original.plr_db, squashed.plr_db, restored.plr_db),
        np.clip((restored.si_sdr_db - squashed.si_sdr_db) / 3.0, -1.0, 1.0),
        np.clip((squashed.lsd_db - restored.lsd_db) / 0.4, -1.0, 1.0),
        np.clip((restored.onset - squashed.onset) / 0.05, -1.0, 1.0),
    )
    return float(np.mean(parts))

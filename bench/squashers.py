"""The loudness war in eight squashers, and what happens to a master on its way to the listener.

Each squasher takes float32 (2, frames) and a drive as a linear factor. :func:`squashed_to` finds the drive
at which the result, brought to 0 dBFS, has a given loudness.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from shutil import which
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import butter, sosfiltfilt

from auralis_core import Meter

Samples = NDArray[np.float32]


class FfmpegMissingError(RuntimeError):
    """There is no ffmpeg on the PATH, and what was asked for needs it."""


def ffmpeg(arguments: Sequence[str], x: Samples | None = None, rate: int = 44100) -> Samples:
    """Run ffmpeg with `x` on its input, if given, and its output decoded to float32 (2, frames)."""
    program = which("ffmpeg")
    if program is None:
        raise FfmpegMissingError("ffmpeg is not on the PATH")
    raw = ("-f", "f32le", "-ar", str(rate), "-ac", "2")
    given = () if x is None else (*raw, "-i", "-")
    command = (program, "-nostdin", "-v", "error", "-threads", "1", *given, *arguments, *raw, "-")
    data = b"" if x is None else np.ascontiguousarray(x.T, "<f4").tobytes()
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    return np.ascontiguousarray(np.frombuffer(done.stdout, "<f4").reshape(-1, 2).T)


def hard_clip(x: Samples, drive: float) -> Samples:
    return np.clip(np.float32(drive) * x, -1.0, 1.0)


def tanh(x: Samples, drive: float) -> Samples:
    return np.tanh(np.float32(drive) * x)


def cubic(x: Samples, drive: float) -> Samples:
    u = np.clip(np.float32(drive / 1.5) * x, -1.0, 1.0)
    return (1.5 * u - 0.5 * u**3).astype(np.float32)


def limiter(x: Samples, drive: float, rate: int = 44100, attack_s: float = 0.0015, release_s: float = 0.06):
    """Look-ahead peak limiter: minimum over the attack, exponential release, box average of the attack."""
    step = 8
    peak = np.abs(x).max(axis=0) * drive
    peak = np.concatenate([peak, np.zeros(-len(peak) % step, np.float32)]).reshape(-1, step).max(axis=1)
    required = np.minimum(1.0, 1.0 / np.maximum(peak, 1e-9))
    half = round(attack_s * rate / step / 2)
    required = minimum_filter1d(required, 2 * half + 3)
    gain, now, keep = np.empty_like(required), 1.0, float(np.exp(-step / (release_s * rate)))
    for i, r in enumerate(required.tolist()):
        now = min(r, 1.0 - (1.0 - now) * keep)
        gain[i] = now
    gain = uniform_filter1d(gain, 2 * half + 1)
    smooth = np.interp(np.arange(x.shape[1]), np.arange(len(gain)) * step + 0.5 * (step - 1), gain)
    return (x * (drive * smooth)).astype(np.float32)


def alimiter(x: Samples, drive: float) -> Samples:
    return ffmpeg(("-af", f"volume={drive:.9g},alimiter=limit=1:level=0:attack=5:release=50:latency=1"), x)


def multiband(x: Samples, drive: float, rate: int = 44100) -> Samples:
    """Three bands compressed 3:1 above their own level (5 ms up, 120 ms down), then the limiter."""
    low, high = (butter(2, f, "low", fs=rate, output="sos") for f in (200.0, 2500.0))
    under, below = (sosfiltfilt(sos, x).astype(np.float32) for sos in (low, high))
    y = np.zeros_like(x)
    for band in (under, below - under, x - below):
        level = np.sqrt(uniform_filter1d((band.astype(float) ** 2).mean(axis=0), round(0.02 * rate)) + 1e-12)
        threshold = np.sqrt((level**2).mean())
        y += (band * np.minimum(1.0, (level / threshold) ** (1.0 / 3.0 - 1.0))).astype(np.float32)
    return limiter(y, drive, rate)


def tanh_limiter(x: Samples, drive: float) -> Samples:
    half = drive**0.5
    return limiter(tanh(x, half), half if half > 1.0 else 1.0)


def limiter_tanh(x: Samples, drive: float) -> Samples:
    half = drive**0.5
    return tanh(limiter(x, half), half)


SQUASHERS: Mapping[str, Callable[[Samples, float], Samples]] = MappingProxyType(
    {
        "hard clip": hard_clip,
        "tanh": tanh,
        "cubic": cubic,
        "limiter": limiter,
        "alimiter": alimiter,
        "multiband": multiband,
        "tanh→limiter": tanh_limiter,
        "limiter→tanh": limiter_tanh,
    }
)


def lufs(x: Samples, rate: int = 44100) -> float:
    meter = Meter(rate, x.shape[0])
    meter.feed(np.ascontiguousarray(x, np.float32))
    return float(meter.integrated)


def squashed_to(level: float, squash: Callable[[Samples, float], Samples], x: Samples) -> Samples:
    """`x` squashed so that it reads `level` LUFS with its sample peak at 0 dBFS, ± .05 LU.

    Loudness rises with drive but not in proportion: regula falsi over dB, in at most 14 steps. A squasher
    that never gets so loud gives what it has at +48 dB.
    """

    def at(drive_db: float) -> tuple[Samples, float]:
        y = squash(x, 10.0 ** (drive_db / 20.0))
        y = (y / np.abs(y).max()).astype(np.float32)
        return y, lufs(y)

    low, high = -12.0, 48.0
    y, loud = at(drive := level - lufs(x) + 2.0)
    for _ in range(14):
        if abs(loud - level) < 0.05:
            break
        low, high = (drive, high) if loud < level else (low, drive)
        step = min(max(drive + 1.6 * (level - loud), low), high)
        drive = step if low < step < high else 0.5 * (low + high)
        y, loud = at(drive)
    return y


def straight(x: Samples) -> Samples:
    return x


def mp3(x: Samples, rate: int = 44100) -> Samples:
    """Through LAME at 128 kbit/s and back; padding that stays is aligned away with everything else."""
    with TemporaryDirectory(prefix="squashbench-") as folder:
        name = f"{folder}/x.mp3"
        ffmpeg(("-b:a", "128k", "-c:a", "libmp3lame", name, "-map", "0:a", "-t", "0"), x, rate)
        return ffmpeg(("-i", name), rate=rate)


def resampled(x: Samples, rate: int = 44100) -> Samples:
    """To 48 kHz and back."""
    there = soxr.resample(x.T, rate, 48000, "HQ")
    return np.ascontiguousarray(soxr.resample(there, 48000, rate, "HQ").T, np.float32)


def written(x: Samples) -> Samples:
    """To 16 bits and back: rounded, and what overshoots full scale cut off there."""
    return (np.clip(np.rint(x * np.float32(32768.0)), -32768.0, 32767.0) / 32768.0).astype(np.float32)


def resampled_and_written(x: Samples) -> Samples:
    return written(resampled(x))


#: What happens to a squashed master before anyone may restore it.
CARRIERS: Mapping[str, Callable[[Samples], Samples]] = MappingProxyType(
    {"as is": straight, "mp3 128k": mp3, "48 kHz": resampled, "48 kHz 16 bit": resampled_and_written}
)

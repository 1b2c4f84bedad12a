"""What SquashBench squashes: dynamic music, recorded and made here, float32 (2, frames) at 44.1 kHz.

Recordings are those beside the checkout (``../shared/audio``); without them only what is made here is
used. No recording is in both halves. What squashes them is ``squashers.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RATE = 44100
SECONDS = 16
RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "audio"


def recording(name: str, start_s: float) -> Callable[[], Samples]:
    """`SECONDS` of a file in :data:`RECORDINGS`, or what there is of them."""

    def read() -> Samples:
        with soundfile.SoundFile(RECORDINGS / name) as file:
            file.seek(int(start_s * file.samplerate))
            x = file.read(int(SECONDS * file.samplerate), dtype="float32", always_2d=True)
            if file.samplerate != RATE:
                x = soxr.resample(x, file.samplerate, RATE, "VHQ")
        return peak_normalised(np.broadcast_to(x.T, (2, len(x))))

    return read


def peak_normalised(x: NDArray[np.floating]) -> Samples:
    return np.ascontiguousarray(x / np.abs(x).max() * 0.9, np.float32)


def _time() -> NDArray[np.float64]:
    return np.arange(SECONDS * RATE) / RATE


def _stereo(x: NDArray[np.float64], frames: int = 300) -> NDArray[np.float64]:
    """A centre with a little room to either side."""
    echo = np.roll(x, frames)
    echo[:frames] = 0.0
    return np.stack([x + 0.2 * echo, x - 0.2 * echo])


def drum_kit(seed: int, bpm: float, root: float) -> Samples:
    """Kick, snare and hats with ghost notes over a soft pad and a bass."""
    rng = np.random.default_rng(seed)
    t = _time()
    step = 60.0 / bpm / 4.0
    kit = np.zeros_like(t)
    for k in range(int(SECONDS / step)):
        u = t[int(k * step * RATE) :][: RATE // 2] - k * step
        accent = rng.uniform(0.7, 1.0)
        noise = rng.standard_normal(len(u))
        hit = 0.12 * accent * (2.0 if k % 4 == 2 else 1.0) * np.diff(noise, prepend=0.0) * np.exp(-u * 70)
        if k % 8 in (0, 5):
            hit += 1.4 * accent * np.exp(-u * 16) * np.sin(2 * np.pi * (50 * u + 4 * (1 - np.exp(-u * 40))))
        if k % 8 == 4 or (k % 16 == 15 and rng.random() < 0.5):
            hit += accent * np.exp(-u * 24) * (0.45 * noise + 0.6 * np.sin(2 * np.pi * 190 * u))
        kit[int(k * step * RATE) :][: len(u)] += hit
    chord = sum(np.sin(2 * np.pi * root * r * t + r) / r for r in (2.0, 2.5, 3.0, 4.0))
    pad = 0.06 * chord * (1 + 0.4 * np.sin(2 * np.pi * t / 5))
    bass = 0.16 * np.sin(2 * np.pi * root / 2 * t) * (1 - 0.6 * (t / (step * 8) % 1))
    return peak_normalised(_stereo(kit + bass) + np.stack([pad, np.roll(pad, 777)]))


def piano(seed: int) -> Samples:
    """Struck strings: inharmonic partials that die the sooner the higher they are, loud and soft."""
    rng = np.random.default_rng(seed)
    x = np.zeros(SECONDS * RATE)
    at = 0.1
    while at < SECONDS - 0.5:
        for note in rng.choice((0, 3, 5, 7, 10, 12, 15, 17), rng.integers(1, 4), replace=False):
            f0 = 110.0 * 2.0 ** (note / 12.0 + rng.integers(0, 3))
            u = np.arange(min(3 * RATE, len(x) - int(at * RATE))) / RATE
            tone = np.zeros_like(u)
            for k in range(1, 13):
                f = k * f0 * np.sqrt(1 + 4e-4 * k * k)
                if f < 16000:
                    tone += np.exp(-u * (0.8 + 0.5 * k)) * np.sin(2 * np.pi * f * u) / k**1.3
            knock = 0.3 * np.exp(-u * 300) * rng.standard_normal(len(u))
            x[int(at * RATE) :][: len(u)] += rng.uniform(0.15, 1.0) ** 2 * (tone + knock)
        at += rng.choice((0.15, 0.3, 0.3, 0.6))
    return peak_normalised(_stereo(x, 441))


def swell(seed: int) -> Samples:
    """Strings that rise from nothing to a full chord with drum rolls and a cymbal, and fall."""
    rng = np.random.default_rng(seed)
    t = _time()
    x = np.zeros((2, t.size))
    for k in range(40):
        f = 65.4 * 2.0 ** (rng.choice((0, 4, 7, 12)) / 12 + rng.integers(0, 4)) * rng.uniform(0.997, 1.003)
        vibrato = 2 * np.pi * f * t + 3 * np.sin(2 * np.pi * rng.uniform(4, 6) * t + k)
        bowed = sum(np.sin(h * vibrato + k) / h**1.2 for h in range(1, 9) if h * f < 12000)
        left = rng.uniform(0.2, 0.8)
        x += np.stack([left * bowed, (1 - left) * bowed]) * (200 / f) ** 0.3
    rise = 0.03 + np.exp(-(((t - 0.6 * SECONDS) / (0.2 * SECONDS)) ** 2))
    x *= 0.02 * rise
    for at in np.arange(0.3 * SECONDS, 0.8 * SECONDS, 0.35):
        u = t[int(at * RATE) :][:RATE] - at
        drum = np.exp(-u * 8) * np.sin(2 * np.pi * 70 * u + 6 * np.exp(-u * 50))
        cymbal = 0.15 * np.exp(-u * 12) * rng.standard_normal(u.size)
        x[:, int(at * RATE) :][:, : u.size] += np.interp(at, t, rise) * rng.uniform(0.5, 1) * (drum + cymbal)
    return peak_normalised(x)


def speech_like(seed: int) -> Samples:
    """Glottal pulses through wandering formants, in syllables and pauses, with fricatives."""
    rng = np.random.default_rng(seed)
    t = _time()
    f0 = 110 * 2 ** (0.25 * np.sin(2 * np.pi * 0.4 * t) + 0.1 * np.sin(2 * np.pi * 2.3 * t))
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    voice = np.zeros_like(t)
    first = 500 + 250 * np.sin(2 * np.pi * 1.7 * t)
    second = 1500 + 600 * np.sin(2 * np.pi * 1.1 * t + 1)
    for k in range(1, 40):
        f = k * f0
        formant = np.exp(-(((f - first) / 180) ** 2)) + 0.5 * np.exp(-(((f - second) / 250) ** 2)) + 0.03
        voice += formant * np.cos(k * phase) / np.sqrt(k)
    envelope, hiss = np.zeros_like(t), np.zeros_like(t)
    at = 0.05
    while at < SECONDS - 0.5:
        length = rng.uniform(0.08, 0.28)
        part = slice(int(at * RATE), int((at + length) * RATE))
        u = np.linspace(0, 1, part.stop - part.start)
        envelope[part] = rng.uniform(0.3, 1) * np.sin(np.pi * u) ** 0.7
        if rng.random() < 0.3:
            hiss[part] = 0.12 * np.sin(np.pi * u) * np.diff(rng.standard_normal(u.size + 1))
        at += length + (rng.uniform(0.2, 0.5) if rng.random() < 0.15 else rng.uniform(0.0, 0.05))
    return peak_normalised(_stereo(envelope * voice + hiss, 90))


#: Sources by half and name. Numbers are tuned on the first half; the second is for reporting.
TUNING: Mapping[str, Callable[[], Samples]] = MappingProxyType(
    {
        "fishin-verse": recording("lets_go_fishin.ogg", 8.0),
        "fishin-chorus": recording("lets_go_fishin.ogg", 56.0),
        "trumpet": recording("solo_trumpet.ogg", 0.0),
        "kit-96": lambda: drum_kit(1, 96.0, 110.0),
        "piano-1": lambda: piano(1),
    }
)
HELD_OUT: Mapping[str, Callable[[], Samples]] = MappingProxyType(
    {
        "plum-celesta": recording("sugar_plum_fairy.ogg", 12.0),
        "plum-tutti": recording("sugar_plum_fairy.ogg", 52.0),
        "vibe-ace": recording("vibe_ace.ogg", 8.0),
        "speech": recording("speech.ogg", 0.0),
        "kit-124": lambda: drum_kit(7, 124.0, 82.4),
        "swell": lambda: swell(2),
        "speech-like": lambda: speech_like(3),
    }
)


def sources(split: str) -> Mapping[str, Callable[[], Samples]]:
    """The sources of ``"tuning"`` or ``"held-out"``; recordings only where there are any."""
    table = {"tuning": TUNING, "held-out": HELD_OUT}[split]
    if RECORDINGS.is_dir():
        return table
    return {name: make for name, make in table.items() if make.__name__ != "read"}

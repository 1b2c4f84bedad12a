"""The demo library: plays the pieces of `demo_score` once, into a folder of tagged FLAC files.

The instruments live here: wavetables whose brightness decays, shaped noise, a room, and a master
that bends peaks. What they play lives in `demo_score`; nothing here processes anybody's music.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from auralis_core.audio import AudioWriter

from .demo_score import PIECES, Part, Piece

SAMPLE_RATE = 44100
ARTIST, ALBUM = "The Auralis House Band", "Five Ways to Be Loud"

Signal = NDArray[np.float32]

_TABLE = 1 << 14  # samples of one period; the nearest is taken, 75 dB below the tone or better
_QUALITIES = {"": (0, 4, 7), "m": (0, 3, 7), "maj7": (0, 4, 7, 11), "m7": (0, 3, 7, 10), "7": (0, 4, 7, 10)}
_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_PITCHES = {name: i for i, name in enumerate(_NAMES)}


@dataclass(frozen=True)
class Voice:
    """A pitched instrument: two wavetables, the second taking over as the note loses its brightness."""

    bright: tuple[float, ...]  # amplitude of each harmonic at the start of a note
    dull: tuple[float, ...]  # and after it has settled
    brightness_s: float
    decay_s: float  # time constant; infinite for a sustained instrument
    attack_s: float = 0.003
    release_s: float = 0.03
    detune_cents: tuple[float, ...] = (0.0,)
    vibrato_cents: float = 0.0


def _saw(n: int, tilt: float = 1.0) -> tuple[float, ...]:
    return tuple(1 / k**tilt for k in range(1, n + 1))


def _odd(n: int) -> tuple[float, ...]:
    return tuple(1 / k if k % 2 else 0.0 for k in range(1, n + 1))


_INF = math.inf
VOICES = {
    "bass": Voice(_saw(14), (1, 0.35, 0.1), 0.09, 0.9),
    "slap": Voice(_saw(28, 0.5), _saw(8), 0.02, 0.03, attack_s=0.001),
    "pluck": Voice(_saw(18, 0.9), (1, 0.3, 0.1, 0.03), 0.12, 0.35, attack_s=0.002),
    "spark": Voice(
        (0.4, 0.2, 0.2, 1.0, 0.1, 0.2, 0, 0.3, 0, 0.5), (1, 0, 0, 0.7), 0.02, 0.05, attack_s=0.001
    ),
    "keys": Voice((1, 0.5, 0.15, 0.3, 0.1, 0.08, 0.12), (1, 0.12, 0.03), 0.25, 1.1, release_s=0.15),
    "box": Voice(
        (1, 0, 0.35, 0, 0, 0.5, 0, 0, 0, 0.2), (1, 0, 0.05), 0.12, 0.8, attack_s=0.001, release_s=0.4
    ),
    "pad": Voice(_saw(9, 1.4), _saw(5, 1.8), 1.5, _INF, 0.35, 0.5, (-7, 0, 7)),
    "stack": Voice(_saw(22, 0.9), _saw(12), 0.3, _INF, 0.01, 0.05, (-11, -4, 5, 12)),
    "reed": Voice(_odd(11), _odd(7), 0.5, _INF, 0.05, 0.08, (-3, 3), 6),
    "lead": Voice(_saw(16), _saw(7, 1.2), 0.2, 3.0, 0.008, 0.08, (-4, 4), 9),
    "flute": Voice((1, 0.25, 0.1, 0.03), (1, 0.16, 0.05), 0.3, _INF, 0.07, 0.12, vibrato_cents=12),
}


def synthesise(folder: Path | str) -> list[Path]:
    """The demo tracks in `folder`, written now if they are not there yet.

    Each file appears whole or not at all, and the same bytes come out on every call, so an
    interrupted or concurrent run is completed by the next one.

    Returns
    -------
    list of Path
        One FLAC per piece, 44.1 kHz, 16 bit, tagged, in album order.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, piece in enumerate(PIECES, 1):
        path = folder / f"{number:02d} {piece.title}.flac"
        if not path.exists():
            _save(path, render(piece), piece.title)
        paths.append(path)
    return paths


def render(piece: Piece) -> Signal:
    """Play `piece`; float32 (channels, frames), peak below full scale."""
    step_s = 15 / piece.tempo
    steps = piece.beats * 4
    frames = round((sum(bars for bars, _ in piece.sections) * steps * step_s + piece.room_s) * SAMPLE_RATE)
    dry = np.zeros((2, frames), np.float32)  # parts that keep their level
    soft = np.zeros((2, frames), np.float32)  # parts the beat ducks
    room = np.zeros((2, frames), np.float32)
    cache: dict[tuple[str, int, int], Signal] = {}
    rng = np.random.default_rng(25)

    first_bar = 0
    for bars, names in piece.sections:
        for part in (piece.parts[name] for name in names.split()):
            ducked = piece.duck and part.instrument in VOICES
            for step, length, pitch, velocity in _events(part, piece, first_bar, bars):
                key = (part.instrument, pitch, length)
                if key not in cache:
                    cache[key] = _sound(part.instrument, pitch, length * step_s, rng)
                late = piece.swing * step_s * (step % 2)
                start = round((step * step_s + late) * SAMPLE_RATE)
                sound = cache[key][: frames - start]
                angle = (part.pan + 1) * math.pi / 4
                for side, gain in enumerate((math.cos(angle), math.sin(angle))):
                    level = np.float32(gain * part.level * velocity)
                    span = np.s_[side, start : start + sound.size]
                    (soft if ducked else dry)[span] += level * sound
                    if part.room:
                        room[span] += np.float32(part.room) * level * sound
        first_bar += bars

    if piece.duck:
        beat = np.arange(frames) / SAMPLE_RATE % (4 * step_s)
        soft *= (1 - piece.duck * np.exp(-beat / (1.3 * step_s))).astype(np.float32)
    mix = dry + soft + _reverb(room, piece.room_s)
    if piece.channels == 1:
        mix = mix.mean(axis=0, keepdims=True)
    return _master(mix, piece)


def _events(part: Part, piece: Piece, first_bar: int, bars: int) -> Iterator[tuple[int, int, int, float]]:
    """(step from the beginning, length in steps, MIDI pitch, velocity) of every note in the section."""
    tokens = part.line.split() if " " in part.line else list(part.line)
    chords = piece.chords.split()
    steps = piece.beats * 4
    for i in range(bars * steps):
        token = tokens[i % len(tokens)]
        if token in ".-":
            continue
        length = 1
        while length + i < bars * steps and tokens[(i + length) % len(tokens)] == "-":
            length += 1
        accent = 1.0 if i % 4 == 0 else 0.85
        if token in "Xxo":
            yield first_bar * steps + i, 1, 0, {"X": 1.0, "x": 0.6, "o": 0.3}[token]
        elif token.isdigit():
            root, tones = _chord(chords[(first_bar + i // steps) % len(chords)])
            above, tone = divmod(int(token) - 1, 7)
            third = min(tone // 2, len(tones) - 1)
            yield first_bar * steps + i, length, 12 * (part.octave + 1 + above) + root + tones[third], accent
        else:
            yield first_bar * steps + i, length, 12 * (int(token[-1]) + 1) + _PITCHES[token[:-1]], accent


def _chord(name: str) -> tuple[int, tuple[int, ...]]:
    root = name[:2] if name[:2] in _PITCHES else name[:1]
    return _PITCHES[root], _QUALITIES[name[len(root) :]]


def _sound(instrument: str, pitch: int, seconds: float, rng: np.random.Generator) -> Signal:
    if instrument in DRUMS:
        return DRUMS[instrument](rng)
    return _note(VOICES[instrument], 440 * 2 ** ((pitch - 69) / 12), seconds)


def _note(voice: Voice, hz: float, seconds: float) -> Signal:
    frames = round((seconds + 4 * voice.release_s) * SAMPLE_RATE)
    t = np.arange(frames) / SAMPLE_RATE
    bright, dull = _table(voice.bright, hz), _table(voice.dull, hz)
    tone = np.zeros(frames, np.float32)
    mix = np.exp(-t / voice.brightness_s).astype(np.float32)
    sway = 2 ** (voice.vibrato_cents / 1200) - 1
    for k, cents in enumerate(voice.detune_cents):
        cycles = t + sway * (1 - np.cos(2 * math.pi * 5.2 * t)) / (2 * math.pi * 5.2) if sway else t
        phase = hz * 2 ** (cents / 1200) * cycles + 0.381966 * k
        index = (phase * _TABLE).astype(np.int64) & (_TABLE - 1)
        settled = dull[index]
        tone += settled + mix * (bright[index] - settled)
    envelope = np.minimum(t / voice.attack_s, 1) * np.exp(-t / voice.decay_s)
    envelope *= np.exp(-np.maximum(t - seconds, 0) / voice.release_s)
    fade = min(frames, 200)
    envelope[-fade:] *= np.linspace(1, 0, fade)
    return tone * envelope.astype(np.float32)


def _table(partials: tuple[float, ...], hz: float) -> Signal:
    """One period of the harmonic series, without the partials above 18 kHz; unit peak."""
    spectrum = np.zeros(_TABLE // 2 + 1, complex)
    for k, amplitude in enumerate(partials, 1):
        if k * hz < 18000:
            spectrum[k] = -1j * amplitude
    wave = np.fft.irfft(spectrum)
    return np.asarray(wave / np.abs(wave).max(), np.float32)


def _noise(rng: np.random.Generator, seconds: float, low: float, high: float) -> NDArray[np.float64]:
    """White noise between two frequencies, unit peak."""
    frames = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(frames))
    f = np.fft.rfftfreq(frames, 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum / (1 + (low / np.maximum(f, 1)) ** 4) / (1 + (f / high) ** 4), frames)
    return np.asarray(noise / np.abs(noise).max())


def _kick(seconds: float, decay_s: float, low: float) -> Signal:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = low * t + 4.5 * (1 - np.exp(-t / 0.02)) * 0.6
    body = np.sin(2 * math.pi * phase) * np.exp(-t / decay_s)
    click = 0.5 * np.sin(2 * math.pi * 2400 * t) * np.exp(-t / 0.002)
    return np.asarray((body + click) * np.minimum((seconds - t) / 0.01, 1), np.float32)


def _hit(
    rng: np.random.Generator, seconds: float, decay_s: float, low: float, tone: float, high: float = 12000
) -> Signal:
    noise = _noise(rng, seconds, low, high)
    t = np.arange(noise.size) / SAMPLE_RATE
    ring = tone * np.sin(2 * math.pi * 195 * t) * np.exp(-t / 0.04)
    return np.asarray((noise * np.exp(-t / decay_s) + ring) * np.minimum((seconds - t) / 0.01, 1), np.float32)


DRUMS: dict[str, Callable[[np.random.Generator], Signal]] = {
    "kick": lambda rng: _kick(0.45, 0.13, 46),
    "thump": lambda rng: _kick(0.15, 0.028, 62),
    "snare": lambda rng: _hit(rng, 0.35, 0.07, 900, 0.5),
    "crack": lambda rng: _hit(rng, 0.2, 0.03, 1200, 0.4, 8000),
    "hat": lambda rng: _hit(rng, 0.12, 0.03, 7000, 0.0),
    "tick": lambda rng: _hit(rng, 0.06, 0.008, 3500, 0.0, 8000),
}


def _reverb(x: Signal, seconds: float) -> Signal:
    """A diffuse room: each side convolved with its own exponentially dying noise."""
    rng = np.random.default_rng(7)
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal((2, t.size)) * np.exp(-6.9 * t / seconds) * np.minimum(t / 0.015, 1)
    tail /= np.sqrt((tail**2).sum(axis=1, keepdims=True))
    return np.asarray(oaconvolve(x, tail.astype(np.float32), axes=1)[:, : x.shape[1]], np.float32)


def _master(mix: Signal, piece: Piece) -> Signal:
    """Drive the mix into a soft ceiling at −0.2 dBFS: straight up to the knee, then bending."""
    ceiling, knee = 10 ** (-0.2 / 20), piece.knee
    x = mix * np.float32(piece.drive)
    if knee < 1:
        over = np.maximum(np.abs(x) - knee, 0)
        x = np.sign(x) * (np.minimum(np.abs(x), knee) + (1 - knee) * np.tanh(over / (1 - knee)))
    x[:, :64] *= np.linspace(0, 1, 64, dtype=np.float32)
    x[:, -4410:] *= np.linspace(1, 0, 4410, dtype=np.float32)
    return np.asarray(np.clip(x, -1, 1) * ceiling, np.float32)


def _save(path: Path, x: Signal, title: str) -> None:
    tags = {"title": title, "artist": ARTIST, "album": ALBUM}
    with AudioWriter(path, SAMPLE_RATE, x.shape[0], "FLAC", "PCM_16", tags=tags) as out:
        out.write(x)

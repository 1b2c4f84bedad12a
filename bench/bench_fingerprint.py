"""What a fingerprint costs, as ratios in one run: to decoding the same FLAC, and to librosa.

    make bench ARGS=bench/bench_fingerprint.py

The file is four minutes of real music at 44.1 kHz where `../shared/audio` exists, of synthesised music
otherwise. Every figure is the best of a few rounds taken in turn, because these machines are noisy.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from auralis_core.bench import best
from auralis_core.features import FeatureExtractor
from auralis_core.fingerprint import measure

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "audio"
RATE = 44100
SECONDS = 240


@pytest.fixture(scope="module")
def flac(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "four_minutes.flac"
    soundfile.write(path, music().T, RATE, subtype="PCM_16")
    return path


def music() -> NDArray[np.float32]:
    """Four minutes, float32 (2, frames)."""
    if SHARED.is_dir():
        parts = [
            soundfile.read(SHARED / f"{n}.ogg", dtype="float32")[0].T
            for n in ("lets_go_fishin", "sugar_plum_fairy")
        ]
        return np.ascontiguousarray(np.concatenate(parts, axis=1)[:, : SECONDS * RATE])
    rng = np.random.default_rng(0)
    t = np.arange(SECONDS * RATE) / RATE
    beat = np.exp(-9 * (t % 0.5)) * rng.standard_normal((2, len(t)))
    chord = sum(np.sin(2 * np.pi * f * t) for f in (110, 220, 277.2, 329.6))
    return (0.1 * beat + 0.08 * chord).astype(np.float32)


def decode(path: Path) -> None:
    buffer = np.empty((65536, 2), np.float32)
    with soundfile.SoundFile(path) as file:
        while len(file.read(out=buffer)):
            pass


def report(benchmark, **figures: float) -> None:
    benchmark.extra_info.update({k: round(v, 3) for k, v in figures.items()})
    print(" ", ", ".join(f"{k} {v:.3g}" for k, v in figures.items()))


def test_fingerprint_beside_decoding(benchmark, flac: Path) -> None:
    decoding, whole = best(lambda: decode(flac), lambda: measure(flac), rounds=5)
    report(benchmark, ratio_to_decode=whole / decoding, realtime_factor=SECONDS / whole, decode_s=decoding)
    benchmark.pedantic(measure, args=(flac,), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
def test_analysis_of_each_variant(benchmark, flac: Path, variant: str, monkeypatch) -> None:
    monkeypatch.setenv("AURALIS_SIMD", variant)
    x = music()

    def analyse() -> None:
        extractor = FeatureExtractor(RATE, 2)
        for start in range(0, x.shape[1], 32768):
            extractor.feed(np.ascontiguousarray(x[:, start : start + 32768]))
        extractor.finish()

    decoding, analysing = best(lambda: decode(flac), analyse, rounds=3)
    report(benchmark, ratio_to_decode=analysing / decoding, realtime_factor=SECONDS / analysing)
    benchmark.pedantic(analyse, rounds=2)


def test_stages(benchmark, flac: Path, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("the stages are timed in C and need a compiler")
    samples = tmp_path / "samples.f32"
    music().tofile(samples)
    driver = tmp_path / "stages"
    flags = ["-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    sources = [str(p) for p in sorted((ROOT / "csrc").glob("*.c"))]
    subprocess.run(
        [compiler, *flags, f"-I{ROOT / 'csrc'}", str(ROOT / "bench/stages.c"), *sources, "-lm", "-o", driver],
        check=True,
    )
    (decoding,) = best(lambda: decode(flac), rounds=5)
    lines = subprocess.run(
        [driver, samples, str(RATE), "5"], check=True, capture_output=True, text=True
    ).stdout
    figures = {name: float(s) / decoding for name, s in (line.split() for line in lines.splitlines())}
    report(benchmark, **figures)
    benchmark.pedantic(decode, args=(flac,), rounds=2)


def test_fingerprint_beside_librosa(benchmark, flac: Path) -> None:
    librosa = pytest.importorskip("librosa", reason="the peer of this ratio is not installed")

    def pipeline() -> None:
        """The same quantities by librosa's own means, one shared STFT."""
        x, rate = soundfile.read(flac, dtype="float32")
        mono = x.mean(axis=1)
        spectrum = np.abs(librosa.stft(mono, n_fft=2048, hop_length=512))
        power = spectrum**2
        librosa.feature.spectral_centroid(S=spectrum, sr=rate)
        librosa.feature.spectral_rolloff(S=spectrum, sr=rate)
        librosa.feature.spectral_flatness(S=spectrum)
        librosa.feature.chroma_stft(S=power, sr=rate)
        librosa.feature.rms(S=spectrum)
        harmonic, percussive = librosa.decompose.hpss(spectrum)
        (harmonic**2).sum() / ((harmonic**2).sum() + (percussive**2).sum())
        onsets = librosa.onset.onset_strength(
            S=librosa.power_to_db(librosa.feature.melspectrogram(S=power, sr=rate))
        )
        librosa.beat.beat_track(onset_envelope=onsets, sr=rate)
        librosa.onset.onset_detect(onset_envelope=onsets, sr=rate)
        librosa.yin(mono, fmin=55, fmax=1000, sr=rate)

    pipeline_s, ours = best(pipeline, lambda: measure(flac), rounds=2)
    report(benchmark, times_faster=pipeline_s / ours, librosa_s=pipeline_s)
    benchmark.pedantic(measure, args=(flac,), rounds=2)


def test_two_files_on_two_cores(benchmark, flac: Path) -> None:
    def both() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(measure, [flac, flac]))

    one, two = best(lambda: measure(flac), both, rounds=4)
    report(benchmark, speed_up=2 * one / two)
    benchmark.pedantic(both, rounds=2)


def test_import(benchmark) -> None:
    def start(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    bare, numpy_s, ours = best(start("pass"), start("import numpy"), start("import auralis_core"), rounds=7)
    report(benchmark, import_ms=1000 * (ours - bare), numpy_alone_ms=1000 * (numpy_s - bare))
    benchmark.pedantic(start("import auralis_core"), rounds=2)

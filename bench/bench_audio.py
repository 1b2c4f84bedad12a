"""Decoding: what AudioReader costs beside soundfile's own blocks(), and what a seek costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auralis_core.audio import BLOCK, AudioReader, AudioWriter

SR, SECONDS = 44100, 240


@pytest.fixture(scope="module", params=["flac", "ogg", "mp3"])
def track(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes of stereo noise with a spectrum that falls like music's."""
    path: Path = tmp_path_factory.mktemp("bench") / f"track.{request.param}"
    rng = np.random.default_rng(1)
    with AudioWriter(path, SR, 2) as w:
        for _ in range(SECONDS):
            spectrum = np.fft.rfft(rng.standard_normal((2, SR)))
            spectrum[:, 1:] /= np.arange(1, SR // 2 + 1) ** 0.7
            second = np.fft.irfft(spectrum)
            w.write((0.3 * second / np.abs(second).max()).astype(np.float32))
    return path


def read_here(path: Path) -> None:
    with AudioReader(path) as reader:
        while reader.read(BLOCK).shape[1] > 0:
            pass


def read_soundfile(path: Path) -> None:
    with soundfile.SoundFile(path) as f:
        for _ in f.blocks(BLOCK, dtype="float32", always_2d=True):
            pass


@pytest.mark.parametrize("read", [read_here, read_soundfile], ids=["auralis", "soundfile"])
def test_decode(benchmark: Callable[..., object], track: Path, read: Callable[[Path], None]) -> None:
    benchmark.group = f"decode 4 min {track.suffix}"  # type: ignore[attr-defined]
    benchmark.pedantic(read, (track,), rounds=7, warmup_rounds=1)  # type: ignore[attr-defined]


def test_seek(benchmark: Callable[..., object], track: Path) -> None:
    benchmark.group = "seek and 2048 frames"  # type: ignore[attr-defined]
    with AudioReader(track) as reader:
        targets = iter(np.random.default_rng(2).integers(0, reader.frames, 1 << 20).tolist())

        def seek() -> None:
            reader.seek(next(targets))
            reader.read(2048)

        benchmark(seek)

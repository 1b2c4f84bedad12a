"""The demo library: each track is in its loudness region, tagged, reproducible, and quick to make."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from auralis_server import demo
from numpy.typing import NDArray

from auralis_core import Meter
from auralis_core.temporal import OnsetTracker


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return demo.synthesise(tmp_path_factory.mktemp("demo"))


def mean_crest_db(x: NDArray[np.float64]) -> float:
    """Dimension 9 on (frames, channels): mean crest of the active 100 ms blocks."""
    blocks = x[: len(x) // 4410 * 4410].reshape(-1, 4410, x.shape[1])
    power, peak = (blocks**2).mean(axis=(1, 2)), np.abs(blocks).max(axis=(1, 2))
    active = power > max(1e-6, np.percentile(power, 95) * 1e-5)
    return float(np.mean(20 * np.log10(peak[active]) - 10 * np.log10(power[active])))


def loudness_and_crest(path: Path) -> tuple[float, float]:
    x, rate = sf.read(path, always_2d=True)
    meter = Meter(rate, x.shape[1])
    meter.feed(np.ascontiguousarray(x.T, np.float32))
    return meter.integrated, mean_crest_db(x)


def test_library_has_a_compressed_loud_track(library: list[Path]) -> None:
    loudness, crest = loudness_and_crest(library[0])
    assert loudness == pytest.approx(-8, abs=1)  # where such masters sit, 3 LU inside the region
    assert crest < 11


def test_library_has_a_dynamic_loud_track(library: list[Path]) -> None:
    loudness, crest = loudness_and_crest(library[1])
    assert loudness > -11.7  # region: > −12 LUFS and >= 13 dB; kept clear of both lines
    assert crest >= 14


def test_library_has_a_quiet_track(library: list[Path]) -> None:
    loudness, _ = loudness_and_crest(library[2])
    assert loudness == pytest.approx(-22, abs=0.5)


def test_other_tracks_are_quiet_region_and_one_is_mono(library: list[Path]) -> None:
    assert all(loudness_and_crest(path)[0] < -13 for path in library[3:])
    assert sorted(sf.info(path).channels for path in library) == [1, 2, 2, 2, 2]


def test_tracks_are_cd_quality_flac_of_half_a_minute_or_more(library: list[Path]) -> None:
    for path in library:
        info = sf.info(path)
        assert (info.format, info.subtype, info.samplerate) == ("FLAC", "PCM_16", 44100)
        assert 30 <= info.duration <= 60


def test_tracks_keep_their_tempo_at_another_rate(library: list[Path]) -> None:
    # The first track's beat and two thirds of it score within .02 of each other, so the order of the two
    # turns with the rate; only the one that comes back is a beat.
    for path in library:
        x, rate = sf.read(path, always_2d=True)
        tempi = []
        for other in (rate, 48000):
            tracker = OnsetTracker(other)
            tracker.feed(np.ascontiguousarray(soxr.resample(x.mean(axis=1), rate, other), np.float32))
            tempi.append(tracker.result()["tempo_bpm"])
        assert tempi[0] > 0
        assert tempi[1] == pytest.approx(tempi[0], rel=0.005)  # what a steady grid may be off by


def test_tracks_carry_tags(library: list[Path]) -> None:
    for path, piece in zip(library, demo.PIECES, strict=True):
        with sf.SoundFile(path) as f:
            assert (f.title, f.artist, f.album) == (piece.title, demo.ARTIST, demo.ALBUM)


def test_tempos_differ() -> None:
    tempos = sorted(piece.tempo for piece in demo.PIECES)
    assert min(np.diff(tempos)) > 10


@pytest.mark.parametrize("piece", demo.PIECES, ids=lambda piece: piece.title)
def test_every_line_fills_whole_bars(piece: demo.Piece) -> None:
    for name, part in piece.parts.items():
        tokens = part.line.split() if " " in part.line else part.line
        assert len(tokens) % (4 * piece.beats) == 0, name


def test_first_chord_sounds_the_written_notes(library: list[Path]) -> None:
    # The quiet piece opens on Fmaj7 with nothing but keys: F3 leads, and C4 (its fifth) and E4 or
    # A4 follow. Half a second of tail resolves 2 Hz, a tenth of a semitone up there.
    x, rate = sf.read(library[2], always_2d=True)
    segment = x[rate : rate + rate // 2].mean(axis=1)
    spectrum = np.abs(np.fft.rfft(segment * np.hanning(segment.size)))
    f = np.fft.rfftfreq(segment.size, 1 / rate)
    classes = 12 * np.log2(np.maximum(f, 1) / 440) + 69
    near = [spectrum[np.abs(classes - pitch) < 0.5].max() for pitch in range(48, 77)]
    written = {53, 57, 60, 64, 65, 69, 72, 76}  # F A C E over two octaves
    loudest = {int(p) + 48 for p in np.argsort(near)[-4:]}
    assert loudest <= written


def test_second_call_only_returns_the_paths(library: list[Path]) -> None:
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in library]
    assert demo.synthesise(library[0].parent) == library
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in library] == before


def test_missing_track_comes_back_bit_for_bit(library: list[Path]) -> None:
    digest = hashlib.sha256(library[1].read_bytes()).digest()
    library[1].unlink()
    demo.synthesise(library[0].parent)
    assert hashlib.sha256(library[1].read_bytes()).digest() == digest


def test_interrupted_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(sf.SoundFile, "write", full)
    with pytest.raises(OSError, match="no space"):
        demo.synthesise(tmp_path)
    assert list(tmp_path.iterdir()) == []

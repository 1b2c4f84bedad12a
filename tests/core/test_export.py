"""Mastering a file into a file: the same engine, nothing lost, nothing left behind."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import auralis_core
from auralis_core import AudioReadError, Fingerprint, export, sidecar
from auralis_core.audio import AudioReader, blocks, probe, write

SR = 44100


def dense(seconds: float, rms: float, peak: float) -> np.ndarray:
    """Stereo noise at a level, with a click of `peak` every 50 ms that sets its crest."""
    x = rms * np.random.default_rng(1).standard_normal((2, int(seconds * SR)))
    x[:, ::2205] = peak
    return np.clip(x, -1, 1).astype(np.float32)


def samples(path: Path) -> np.ndarray:
    return np.concatenate(list(blocks(path)), axis=1)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("flac", "PCM_24")],
)
def test_dynamic_loud_track_leaves_byte_identical(suffix: str, subtype: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.wav", tmp_path / f"out.{suffix}"
    write(source, dense(5, 0.14, 0.95), SR, subtype)
    done = export.export(source, out)
    assert done.plan.decision.region == "dynamic_loud"
    assert probe(out).subtype == subtype
    np.testing.assert_array_equal(samples(out), samples(source))
    assert done.input == done.output


def test_output_is_as_long_as_the_input_in_every_format(tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    write(source, dense(2.345, 0.05, 0.3), SR, "PCM_16")
    for suffix in ("wav", "flac", "ogg", "mp3", "aiff"):
        export.export(source, tmp_path / f"out.{suffix}")
        info = probe(tmp_path / f"out.{suffix}")
        assert (info.frames, info.sample_rate, info.channels) == (probe(source).frames, SR, 2)


def test_interrupted_or_failed_export_leaves_the_old_file(tmp_path: Path) -> None:
    source, out = tmp_path / "in.wav", tmp_path / "out.wav"
    write(source, dense(6, 0.05, 0.3), SR, "PCM_16")
    out.write_bytes(b"old")

    def interrupt(done: float, total: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export.export(source, out, progress=interrupt)
    assert out.read_bytes() == b"old"
    # A valid sidecar lets a cut file get as far as rendering.
    fp: Fingerprint = auralis_core.fingerprint(source)
    source.write_bytes(source.read_bytes()[:-400_000])
    sidecar.write(source, fp)
    with pytest.raises(AudioReadError, match="truncated"):
        export.export(source, out)
    assert out.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["in.wav", "in.wav.25d", "out.wav"]


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    write(source, dense(4, 0.05, 0.3), SR, "PCM_16")
    steps: list[tuple[float, float]] = []
    export.export(source, tmp_path / "out.wav", progress=lambda *step: steps.append(step))
    assert steps[-1] == (4.0, 4.0)
    assert steps == sorted(steps)


def test_memory_is_that_of_a_few_blocks(tmp_path: Path) -> None:
    write(tmp_path / "in.wav", dense(60, 0.05, 0.3), SR, "PCM_16")
    tracemalloc.start()
    try:
        export.export(tmp_path / "in.wav", tmp_path / "out.wav")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10e6  # the whole signal is 21 MB; a block, its copies and its dither 0.5 MB each


def test_same_file_under_another_name_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    write(source, dense(1, 0.05, 0.3), SR, "PCM_16")
    os.link(source, tmp_path / "hard.wav")
    (tmp_path / "soft.wav").symlink_to(source)
    before = source.read_bytes()
    for name in ("in.wav", "hard.wav", "soft.wav", "../" + tmp_path.name + "/in.wav"):
        with pytest.raises(ValueError, match="same file"):
            export.export(source, tmp_path / name)
    assert source.read_bytes() == before


def test_eight_channels_and_high_rates_keep_their_shape(tmp_path: Path) -> None:
    for channels, sr in ((8, 48000), (1, 8000), (2, 192000)):
        x = np.random.default_rng(2).uniform(-0.05, 0.05, (channels, sr)).astype(np.float32)
        write(tmp_path / "in.wav", x, sr, "PCM_24")
        export.export(tmp_path / "in.wav", tmp_path / "out.flac")
        with AudioReader(tmp_path / "out.flac") as r:
            assert (r.channels, r.sample_rate, r.frames) == (channels, sr, sr)


@pytest.mark.parametrize("suffix", ["ogg", "mp3", "wav"])
def test_report_is_of_what_the_file_decodes_to(suffix: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.wav", tmp_path / f"out.{suffix}"
    rng, t = np.random.default_rng(3), np.arange(6 * SR) / SR
    x = sum(np.sin(2 * np.pi * f * t + f) for f in rng.uniform(50, 5000, 40))
    write(source, np.tile(0.01 * x, (2, 1)).astype(np.float32), SR, "PCM_16")
    done = export.export(source, out, target=-12.0, ceiling=-6.0)
    decoded = auralis_core.fingerprint(out)
    # The dither of the WAV is not in what its meter heard: .5 of a 16-bit step at −6 dBFS.
    assert done.output.true_peak_dbtp == pytest.approx(decoded.extras["true_peak_dbtp"], abs=1e-3)
    # Peaks limited all the time come back higher from a perceptual encoder, and only from one.
    over = suffix != "wav"
    assert (done.output.true_peak_dbtp > -6.0) == over
    assert any("over the ceiling" in note for note in done.notes) == over
    assert done.to_dict()["notes"] == list(done.notes)

"""The spectral, harmonic and chroma features and the onsets beside librosa's, on real music.

All in this file, because librosa is compiled by whoever imports it: 23 s, and 12 without optimising.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from numpy.typing import NDArray
from reference.analysis import active, high_passed
from reference.chroma import chroma
from reference.spectral import frame_power, spectra

from auralis_core import Fingerprint, fingerprint_array
from auralis_core.audio import AudioReader
from auralis_core.temporal import OnsetTracker

os.environ.setdefault("NUMBA_OPT", "0")
librosa = pytest.importorskip("librosa", reason="librosa, the oracle of this room, is not installed")

RATE = 44100


@pytest.fixture(scope="module", params=["vibe_ace", "lets_go_fishin", "sugar_plum_fairy"])
def music(request: pytest.FixtureRequest, shared_audio) -> NDArray[np.float32]:
    with AudioReader(shared_audio / f"{request.param}.ogg") as reader:
        reader.seek(20 * RATE)
        return reader.read(12 * RATE)


@pytest.fixture(scope="module")
def fp(music: NDArray[np.float32]) -> Fingerprint:
    return fingerprint_array(music, RATE)


@pytest.fixture(scope="module")
def magnitude(music: NDArray[np.float32]) -> NDArray[np.float64]:
    """|M| of the active frames by librosa's own transform, (bins, frames), on our frame grid."""
    mono = high_passed(music, RATE).mean(axis=0)
    theirs = np.abs(librosa.stft(mono, n_fft=2048, hop_length=512, center=False))
    return theirs[:, active(frame_power(spectra(music, RATE)[0], RATE))]


def test_centroid_is_librosas_within_half_a_percent(fp, magnitude) -> None:
    theirs = librosa.feature.spectral_centroid(S=magnitude, sr=RATE).mean()
    assert fp["spectral_centroid"] * 8000 == pytest.approx(theirs, rel=0.005)


def test_rolloff_is_librosas_within_a_bin(fp, magnitude) -> None:
    theirs = librosa.feature.spectral_rolloff(S=magnitude, sr=RATE, roll_percent=0.85).mean()
    assert fp["spectral_rolloff"] * 10000 == pytest.approx(theirs, abs=RATE / 2048)


def test_flatness_is_librosas_within_a_hundredth(fp, magnitude) -> None:
    frequency = np.arange(1025) * RATE / 2048
    inside = magnitude[(frequency >= 50) & (frequency <= 16000)]
    theirs = librosa.feature.spectral_flatness(S=inside, power=2.0).mean()
    assert fp["spectral_flatness"] == pytest.approx(theirs, abs=0.01)


def test_harmonic_ratio_is_librosas_within_two_hundredths(fp, music) -> None:
    # Theirs: every frame, 31 × 31. Ours: every second frame, 15 × 31.
    full = np.abs(
        librosa.stft(high_passed(music, RATE).mean(axis=0), n_fft=2048, hop_length=512, center=False)
    )
    harmonic, percussive = librosa.decompose.hpss(full, kernel_size=31, power=2.0)
    theirs = (harmonic**2).sum() / ((harmonic**2).sum() + (percussive**2).sum())
    assert fp["harmonic_ratio"] == pytest.approx(theirs, abs=0.02)


def test_chroma_correlates_with_librosas(fp, music) -> None:
    mono = high_passed(music, RATE).mean(axis=0)
    energy, ours = chroma(mono, RATE)
    assert fp["chroma_energy"] == pytest.approx(energy, abs=1e-4)  # the kernel is this oracle
    # Frames as long as ours (743 ms), so that low semitones are told apart; our range of 65–2100 Hz.
    spectrum = np.abs(librosa.stft(mono, n_fft=32768, hop_length=16384, center=False)) ** 2
    frequency = np.arange(spectrum.shape[0]) * RATE / 32768
    spectrum[(frequency < 65) | (frequency > 2100)] = 0
    theirs = librosa.feature.chroma_stft(S=spectrum, sr=RATE, n_fft=32768, octwidth=None, norm=None)
    assert np.corrcoef(ours, theirs.sum(axis=1))[0, 1] > 0.95


def test_onset_count_is_librosas_within_15_percent(shared_audio) -> None:
    for name in ("vibe_ace", "lets_go_fishin", "sugar_plum_fairy"):
        with AudioReader(shared_audio / f"{name}.ogg") as reader:
            x, rate = reader.read(60 * reader.sample_rate).mean(axis=0), reader.sample_rate
        tracker = OnsetTracker(rate)
        tracker.feed(x)
        assert tracker.result()["onsets"] == pytest.approx(
            librosa.onset.onset_detect(y=x, sr=rate).size, rel=0.15
        )

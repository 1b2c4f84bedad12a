"""A source at another rate or channel count: the filter, any reads and seeks, the downmix."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from numpy.testing import assert_array_equal

from auralis_core.audio import AudioReader, write
from auralis_core.errors import AudioReadError
from auralis_core.fit import BLOCK, Fitted, downmix
from auralis_core.render import ArraySource

RATES = [(48000, 44100), (44100, 48000), (96000, 44100), (192000, 44100), (8000, 44100), (44100, 8000)]


def noise(frames: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, frames)).astype(np.float32)


def everything(source: Fitted, at_once: int = 5000) -> np.ndarray:
    blocks = [source.read(0)]
    while (x := source.read(at_once)).shape[1]:
        blocks.append(x)
    return np.concatenate(blocks, axis=1)


@pytest.mark.parametrize(("rate", "wanted"), RATES)
def test_blocks_joined_are_the_file_resampled_at_once(rate: int, wanted: int) -> None:
    x = noise(2 * rate + 17)
    y = everything(Fitted(ArraySource(x, rate), wanted, 2))
    whole = soxr.resample(x.T, rate, wanted, "HQ").T
    assert y.shape[1] == -(-x.shape[1] * wanted // rate)
    # Away from both ends, where soxr takes the signal to go on differently than with silence, the two
    # differ by the rounding of float32 in its stages.
    inner = slice(1000, whole.shape[1] - 1000)
    np.testing.assert_allclose(y[:, inner], whole[:, inner], atol=5e-7)


def test_tone_keeps_its_frequency_level_and_place() -> None:
    def tone(rate: int) -> np.ndarray:
        return 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)[None].astype(np.float32)

    y = everything(Fitted(ArraySource(tone(48000), 48000), 44100, 1))
    # soxr HQ: pass-band ripple below .01 dB, 20-bit stop band.
    np.testing.assert_allclose(y[:, 2000:-2000], tone(44100)[:, 2000:-2000], atol=1e-4)


def test_any_seek_and_read_gives_the_same_bits() -> None:
    source = Fitted(ArraySource(noise(120_000), 48000), 44100, 2)
    whole = everything(source)
    rng = np.random.default_rng(3)
    for at in [0, BLOCK - 1, BLOCK, whole.shape[1] - 1, *rng.integers(0, whole.shape[1], 12)]:
        source.seek(int(at))
        rest = everything(source, int(rng.integers(1, 30_000)))
        assert_array_equal(rest, whole[:, at:])


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("wanted", [1, 2, 6])
def test_downmix_never_exceeds_full_scale_and_loses_no_side(channels: int, wanted: int) -> None:
    m = downmix(channels, wanted)
    assert m.shape == (wanted, channels)
    assert (m >= 0).all()
    assert (m.sum(axis=1) <= 1 + 1e-6).all()
    assert (m[: min(wanted, 2)].sum(axis=1) > 0.99).all()


def test_downmix_of_surround_is_balanced_and_without_lfe() -> None:
    m = downmix(6, 2)
    assert m[0, 2] == m[1, 2] > 0
    assert (m[:, 3] == 0).all()
    assert_array_equal(m[0, [0, 1, 4, 5]], m[1, [1, 0, 5, 4]])
    assert m[0, 2] / m[0, 0] == pytest.approx(np.sqrt(0.5))


def test_channels_alone_change_no_sample() -> None:
    x = noise(50_000, 1)
    assert_array_equal(everything(Fitted(ArraySource(x, 44100), 44100, 2)), np.repeat(x, 2, axis=0))


def test_cut_file_is_an_error_each_time(tmp_path) -> None:
    path = tmp_path / "x.wav"
    write(path, noise(200_000), 48000)
    with path.open("r+b") as f:
        f.truncate(400_000)
    with AudioReader(path) as reader:
        source = Fitted(reader, 44100, 2)
        for _ in range(2):
            with pytest.raises(AudioReadError):
                everything(source)
        source.seek(0)
        assert source.read(100).shape == (2, 100)

"""A track as a file nobody writes: any bytes of it equal that slice of the whole, and real readers agree."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import auralis_core as ac
from auralis_core import pieces, wavefile
from auralis_core.audio import AudioReader, write
from auralis_core.bench import music
from auralis_core.flac import FlacStream
from auralis_core.pieces import Pieces, settled
from auralis_core.quantise import Quantiser
from auralis_core.wavefile import SUBTYPES, WaveFile, header

RATE = 8000  # a piece is 30 s whatever the rate, so a low one keeps the tests quick
PLAN = ac.MasteringPlan(
    "warm",
    depth=0.6,
    fill=0.2,
    lift_db=3.0,
    held=0.5,
    gain_db=3.0,
    width=1.1,
    ceiling=-1.0,
    notes=("everything that remembers",),
)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 s: two whole pieces and a rest."""
    path = tmp_path_factory.mktemp("pieces") / "song.flac"
    x = music(70 * RATE / 44100, seed=3)
    write(path, x, RATE, "PCM_16")
    return path


@pytest.fixture(scope="module")
def whole(song: Path) -> dict[str, bytes]:
    """The whole file in each encoding."""
    result = {}
    for subtype in SUBTYPES:
        with WaveFile(song, PLAN, subtype) as file:
            result[subtype] = b"".join(file.blocks())
            assert len(result[subtype]) == file.size
    return result


def test_pieces_equal_straight_play(song: Path) -> None:
    with AudioReader(song) as reader:
        straight = ac.Renderer(reader, PLAN).read(reader.frames)
    with AudioReader(song) as reader:
        cut = Pieces(reader, PLAN)
        parts = _parts(cut, 10_007)
    # 4 s are sixteen time constants of the slowest envelope (250 ms): e⁻¹⁶ is −139 dB of a difference
    # that was small to begin with, and a float32 sample near −1 dBFS ends at −144 dB.
    assert np.abs(np.concatenate(parts, axis=1) - straight).max() <= 2**-23


def _parts(cut: Pieces, frames: int) -> list[np.ndarray]:
    return list(itertools.takewhile(lambda y: y.shape[1], (cut.read(frames) for _ in itertools.count())))


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(sorted(SUBTYPES)))
def test_any_stretch_is_the_same_bytes_as_in_the_whole(song: Path, whole, data, subtype: str) -> None:
    size = len(whole[subtype])
    # Around the seams and the ends, where it could go wrong, as often as anywhere.
    piece = pieces.PIECE_S * RATE * SUBTYPES[subtype] * 2
    near = st.one_of(
        st.integers(0, size),
        *(st.integers(max(0, at - 99), min(size, at + 99)) for at in (0, piece, 2 * piece, size)),
    )
    start, stop = sorted((data.draw(near), data.draw(near)))
    stop = min(stop, start + 50_000)
    with WaveFile(song, PLAN, subtype) as file:
        assert b"".join(file.blocks(start, stop)) == whole[subtype][start:stop]


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_whole_file_holds_the_rendering(song: Path, whole, subtype: str) -> None:
    x, rate = soundfile.read(io.BytesIO(whole[subtype]), always_2d=True, dtype="float64")
    with AudioReader(song) as reader:
        cut = np.concatenate(_parts(Pieces(reader, PLAN), 65536), axis=1)
    assert (rate, x.T.shape) == (RATE, cut.shape)
    # Rounding is half a step; triangular dither adds up to one.
    step = {"PCM_16": 1.5 / 32768, "PCM_24": 0.5 / 8388608, "FLOAT": 0.0}[subtype]
    assert np.abs(x.T - cut).max() <= step


def test_untouched_16_bit_file_comes_out_bit_for_bit(song: Path) -> None:
    with WaveFile(song, ac.bypass_plan()) as file:
        x, _ = soundfile.read(io.BytesIO(b"".join(file.blocks())), dtype="int16")
    np.testing.assert_array_equal(x, soundfile.read(song, dtype="int16")[0])


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_flac_stream_decodes_to_the_steps_of_the_wav(song: Path, whole, subtype: str, tmp_path: Path) -> None:
    made = tmp_path / "made.flac"
    with AudioReader(song) as reader, open(made, "wb") as out:
        encoder = wavefile.Encoder(reader, PLAN, subtype)
        stream = FlacStream(reader.frames, reader.sample_rate, reader.channels, subtype)
        while len(steps := encoder.steps(16384)):
            out.write(stream.feed(steps))
        out.write(stream.finish())
    kind = {"PCM_16": "int16", "PCM_24": "int32"}[subtype]
    x, _ = soundfile.read(made, dtype=kind)
    np.testing.assert_array_equal(x, soundfile.read(io.BytesIO(whole[subtype]), dtype=kind)[0])
    assert soundfile.info(made).frames == 70 * RATE  # known from the first block on


def test_dither_belongs_to_the_frame() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (5000, 3)).astype(np.float32)
    straight = Quantiser(16, dither=True)(x)
    quantise = Quantiser(16, dither=True)
    for start in (4001, 17, 0, 2500):
        quantise.seek(start * 3)
        np.testing.assert_array_equal(quantise(x[start : start + 99]), straight[start : start + 99])


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_header_is_what_other_readers_expect(subtype: str, channels: int) -> None:
    frames = 101  # an odd number of bytes in 24-bit mono
    data = bytes(frames * channels * SUBTYPES[subtype])
    made = header(frames, 48000, channels, subtype) + data + b"\0" * (len(data) % 2)
    info = soundfile.info(io.BytesIO(made))
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (frames, 48000, channels, subtype)
    assert int.from_bytes(made[4:8], "little") == len(made) - 8


def test_four_gigabytes_turn_riff_into_rf64() -> None:
    last = (2**32 - 1 - 36) // 4
    assert header(last, 44100, 2, "PCM_16")[:4] == b"RIFF"
    long = header(last + 1, 44100, 2, "PCM_16")
    assert long[:4] == b"RF64"
    assert int.from_bytes(long[28:36], "little") == 4 * (last + 1)
    assert int.from_bytes(long[20:28], "little") == len(long) - 8 + 4 * (last + 1)
    assert "RF64" in soundfile.info(io.BytesIO(long)).extra_info


def test_plan_with_a_leveller_is_refused_and_can_be_settled(song: Path) -> None:
    plan = ac.standard_plan("warm")
    with AudioReader(song) as reader:
        with pytest.raises(ValueError, match="leveller"):
            Pieces(reader, plan)
        Pieces(reader, settled(plan))
    assert replace(settled(plan), level_target=plan.level_target, notes=plan.notes) == plan
    assert settled(PLAN) is PLAN


def test_frame_outside_the_track_is_an_error(song: Path) -> None:
    with AudioReader(song) as reader:
        cut = Pieces(reader, PLAN)
        cut.seek(reader.frames)
        assert cut.read(10).shape == (2, 0)
        with pytest.raises(ValueError, match="frame"):
            cut.seek(reader.frames + 1)

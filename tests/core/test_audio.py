"""Files in and out: exact samples at any chunk size and after any seek, and honest errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from auralis_core import AudioFormatError, AudioReadError
from auralis_core.audio import AudioReader, AudioWriter, blocks, probe, subtype_for, write
from auralis_core.mpeg import MeasuredMpeg
from auralis_core.ogg import is_cut

SR = 44100

# name → (sample rate, format, subtype): everything libsndfile both writes and reads.
LOSSLESS = {
    "a.wav": (SR, "WAV", "PCM_16"),
    "b.wav": (SR, "WAV", "FLOAT"),
    "a.flac": (SR, "FLAC", "PCM_24"),
    "a.aiff": (SR, "AIFF", "PCM_16"),
    "a.au": (SR, "AU", "PCM_24"),
    "a.caf": (SR, "CAF", "ALAC_16"),
}
LOSSY = {
    "a.ogg": (SR, "OGG", "VORBIS"),
    "low.ogg": (16000, "OGG", "VORBIS"),
    "a.opus": (48000, "OGG", "OPUS"),
    "a.mp3": (SR, "MP3", "MPEG_LAYER_III"),
    "low.mp3": (22050, "MP3", "MPEG_LAYER_III"),
}
EVERY = LOSSLESS | LOSSY


def music(seconds: float, sample_rate: int = SR, channels: int = 2, seed: int = 1) -> NDArray[np.float32]:
    """Decaying notes over noise: long and short codec blocks, nothing periodic over the file."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * sample_rate)) / sample_rate
    x = np.zeros((channels, len(t)))
    for start in np.arange(0, seconds, 0.21):
        f, on = rng.uniform(100, 3000), t >= start
        note = on * np.exp(-6 * (t - start) * on) * np.sin(2 * np.pi * f * t)
        x += 0.3 * rng.uniform(0.2, 1, (channels, 1)) * note
    x += 0.01 * rng.standard_normal(x.shape)
    return np.clip(x, -0.99, 0.99).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("audio")
    for name, (sr, fmt, subtype) in EVERY.items():
        channels = 1 if name == "low.mp3" else 2
        with AudioWriter(folder / name, sr, channels, fmt, subtype) as w:
            w.write(music(6.0, sr, channels))
    return {name: folder / name for name in EVERY}


def whole(path: Path, frames: int = 1 << 20) -> NDArray[np.float32]:
    return np.concatenate(list(blocks(path, frames)), axis=1)


# What is read


@pytest.mark.parametrize("name", EVERY)
def test_read_any_format_yields_promised_length_planar_float32(name: str, files: dict[str, Path]) -> None:
    info = probe(files[name])
    x = whole(files[name])
    assert (x.dtype, x.shape, x.flags.c_contiguous) == (np.float32, (info.channels, info.frames), True)
    assert (info.sample_rate, info.format, info.subtype) == EVERY[name]
    # Encoders without a length field may pad to their last packet, never shorten.
    assert 0 <= info.frames - 6 * info.sample_rate < 2000
    assert info.duration == info.frames / info.sample_rate


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("frames", [1013, 65537])
def test_read_any_chunk_size_gives_the_same_bits(name: str, frames: int, files: dict[str, Path]) -> None:
    np.testing.assert_array_equal(whole(files[name], frames), whole(files[name]))


@pytest.mark.parametrize("name", EVERY)
def test_seek_repeatedly_gives_the_same_samples_as_reading_through(name: str, files: dict[str, Path]) -> None:
    x = whole(files[name])
    # mpg123 sums one synthesis window in an order that depends on how many MPEG-2 half-frames it has
    # decoded: after a seek such files differ by one unit in the last place of a sample near 1.
    tolerance = 2.0**-22 if name == "low.mp3" else 0.0
    targets = np.random.default_rng(2).integers(0, x.shape[1], 40)
    with AudioReader(files[name]) as r:
        for frame in [0, x.shape[1] - 1, 1, *targets.tolist()]:
            r.seek(frame)
            assert r.tell() == frame
            y = r.read(3000)
            np.testing.assert_allclose(y, x[:, frame : frame + 3000], rtol=0, atol=tolerance)


def test_seek_real_vorbis_gives_the_same_bits(shared_audio: Path) -> None:
    # libsndfile alone lands 128…1024 frames off on about one seek in ten of this file.
    path = shared_audio / "speech.ogg"
    x = whole(path)
    with AudioReader(path) as r:
        for frame in np.random.default_rng(3).integers(0, x.shape[1], 150).tolist():
            r.seek(frame)
            np.testing.assert_array_equal(r.read(2000), x[:, frame : frame + 2000])


def test_read_counts_and_positions(files: dict[str, Path]) -> None:
    with AudioReader(files["a.wav"]) as r:
        assert r.read(0).shape == (2, 0)
        assert (r.read(5).shape[1], r.tell()) == (5, 5)
        r.seek(r.frames - 3)
        assert r.read(10).shape == (2, 3)
        assert r.read(10).shape == (2, 0)
        r.seek(r.frames)
        assert r.read(1).shape == (2, 0)
        for bad in (-1, r.frames + 1):
            with pytest.raises(ValueError, match="frame"):
                r.seek(bad)
        with pytest.raises(ValueError, match="frames"):
            r.read(-1)
    r.close()
    with pytest.raises(ValueError, match="closed"):
        r.read(1)


def test_read_nan_and_infinity_pass_through(tmp_path: Path) -> None:
    x = np.array([[0.5, np.nan, np.inf, -np.inf]], np.float32)
    write(tmp_path / "n.wav", x, SR, "FLOAT")
    np.testing.assert_array_equal(whole(tmp_path / "n.wav"), x)


def test_read_one_sample_file(tmp_path: Path) -> None:
    write(tmp_path / "one.flac", np.full((1, 1), 0.25, np.float32), SR)
    assert whole(tmp_path / "one.flac").tolist() == [[0.25]]


# Lengths that headers leave out


def strip_mp3_tag(data: bytes) -> bytes:
    """Drop the first MPEG frame, the one that carries the Xing or Info tag."""
    assert b"Info" in data[:200] or b"Xing" in data[:200]
    tag = max(data.find(b"Info"), data.find(b"Xing"))
    sync = data[:2]
    return data[data.find(sync, tag) :]


@pytest.mark.parametrize("name", ["a.mp3", "low.mp3"])
def test_length_of_mp3_without_length_tag_is_counted(
    name: str, files: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(strip_mp3_tag(files[name].read_bytes()))
    info = probe(path)
    x = whole(path)
    assert x.shape[1] == info.frames
    # No tag, no trimming: encoder delay and padding are part of the stream, at most three MPEG frames.
    assert 0 <= info.frames - 6 * info.sample_rate <= 3 * 1152


def test_length_of_mp3_with_tag_is_left_to_the_decoder(files: dict[str, Path]) -> None:
    with files["a.mp3"].open("rb") as f:
        assert MeasuredMpeg.of(f.fileno()) is None


def test_length_of_flac_without_length_is_counted(files: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(files["a.flac"].read_bytes())
    data[21] &= 0xF0  # the 36-bit total in STREAMINFO: low nibble of byte 21 and the four after it
    data[22:26] = bytes(4)
    path = tmp_path / "live.flac"
    path.write_bytes(data)
    np.testing.assert_array_equal(whole(path), whole(files["a.flac"]))
    assert probe(path).frames == probe(files["a.flac"]).frames


def test_length_of_streamed_wav_is_what_is_there(files: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(files["a.wav"].read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    path = tmp_path / "pipe.wav"
    path.write_bytes(data)
    assert whole(path).shape[1] == probe(path).frames == probe(files["a.wav"]).frames


# What is refused


def drain(reader: AudioReader, into: list[NDArray[np.float32]]) -> None:
    while (block := reader.read(50000)).shape[1] > 0:
        into.append(block)


@pytest.mark.parametrize("name", ["a.wav", "b.wav", "a.flac", "a.aiff", "a.au", "a.mp3"])
def test_truncated_file_delivers_what_decodes_then_raises(
    name: str, files: dict[str, Path], tmp_path: Path
) -> None:
    data, x = files[name].read_bytes(), whole(files[name])
    path = tmp_path / name
    path.write_bytes(data[: len(data) // 2])
    done: list[NDArray[np.float32]] = []
    with AudioReader(path) as r:
        assert r.frames == x.shape[1]
        with pytest.raises(AudioReadError, match=r"truncated.*of 264600"):
            drain(r, done)
        with pytest.raises(AudioReadError, match="truncated"):
            r.read(1)
    y = np.concatenate(done, axis=1)
    np.testing.assert_array_equal(y, x[:, : y.shape[1]])
    # Half the bytes hold about half the frames; less one FLAC block of 4096 that is cut through.
    assert y.shape[1] > 0.4 * x.shape[1]


def test_truncated_mp3_keeps_the_decoder_quiet(
    files: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.mp3"
    path.write_bytes(files["a.mp3"].read_bytes()[:50000])
    with pytest.raises(AudioReadError, match="truncated"):
        whole(path)
    assert capfd.readouterr() == ("", "")


def test_damage_in_the_middle_ends_the_file_there(files: dict[str, Path], tmp_path: Path) -> None:
    # libFLAC finds its way again after the damage, at a frame nobody can name.
    data, x = bytearray(files["a.flac"].read_bytes()), whole(files["a.flac"])
    middle = len(data) // 2
    data[middle : middle + 5000] = bytes(5000)
    path = tmp_path / "holed.flac"
    path.write_bytes(data)
    done: list[NDArray[np.float32]] = []
    with AudioReader(path) as r:
        with pytest.raises(AudioReadError, match="damaged"):
            drain(r, done)
        end = r.tell()
        with pytest.raises(AudioReadError, match="damaged"):
            r.read(1)
        assert r.tell() == end
        y = np.concatenate(done, axis=1)
        assert y.shape[1] == end > 0.4 * x.shape[1]
        np.testing.assert_array_equal(y, x[:, :end])
        r.seek(1000)  # what lies before the damage is still there
        np.testing.assert_array_equal(r.read(500), x[:, 1000:1500])


def ogg_pages(data: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of every page."""
    at = 0
    while at < len(data):
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        end = at + 27 + len(lacing) + sum(lacing)
        yield at, end
        at = end


def ogg_checksum(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 * (crc >> 31)) & 0xFFFFFFFF
    return crc


def test_opus_page_stamped_too_early_ends_the_file_there(files: dict[str, Path], tmp_path: Path) -> None:
    # What ffmpeg writes from some Vorbis sources. libsndfile drops samples there and goes on, so that
    # everything after would be early.
    data, x = bytearray(files["a.opus"].read_bytes()), whole(files["a.opus"])
    pages = list(ogg_pages(bytes(data)))
    start, end = pages[len(pages) // 2]
    stamp = int.from_bytes(data[start + 6 : start + 14], "little")
    data[start + 6 : start + 14] = (stamp - 500).to_bytes(8, "little")
    data[start + 22 : start + 26] = bytes(4)
    data[start + 22 : start + 26] = ogg_checksum(bytes(data[start:end])).to_bytes(4, "little")
    path = tmp_path / "early.opus"
    path.write_bytes(data)
    done: list[NDArray[np.float32]] = []
    with AudioReader(path) as r:
        with pytest.raises(AudioReadError, match="damaged"):
            drain(r, done)
        with pytest.raises(AudioReadError, match="damaged"):
            r.read(1)
    y = np.concatenate(done, axis=1)
    assert y.shape[1] > 0.2 * x.shape[1]
    np.testing.assert_array_equal(y, x[:, : y.shape[1]])


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
def test_ogg_cut_inside_a_page_delivers_all_it_has_then_raises(
    name: str, files: dict[str, Path], tmp_path: Path
) -> None:
    data, x = files[name].read_bytes(), whole(files[name])
    path = tmp_path / name
    start, end = list(ogg_pages(data))[-2]
    for cut in (start + 2, start + 20, start + 100, end - 1):
        path.write_bytes(data[:cut])
        done: list[NDArray[np.float32]] = []
        with AudioReader(path) as r:
            with pytest.raises(AudioReadError, match="truncated: the file ends inside a page"):
                drain(r, done)
            y = np.concatenate(done, axis=1)
            assert 0 < y.shape[1] == r.frames < x.shape[1]
            r.seek(r.frames)
            with pytest.raises(AudioReadError, match="truncated"):
                r.read(1)
            r.seek(0)
            np.testing.assert_array_equal(r.read(r.frames), y)  # whoever asks for no more gets it all


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
def test_ogg_that_ends_with_a_page_is_a_shorter_file(
    name: str, files: dict[str, Path], tmp_path: Path
) -> None:
    data = files[name].read_bytes()
    path = tmp_path / name
    end = list(ogg_pages(data))[-3][1]
    for rest in (b"", b"TAG" + bytes(125)):  # and an ID3 tag behind it is no page
        path.write_bytes(data[:end] + rest)
        assert 0 < whole(path).shape[1] == probe(path).frames < 6 * 48000


def test_ogg_is_cut_exactly_where_no_page_ends(files: dict[str, Path], tmp_path: Path) -> None:
    data = files["a.ogg"].read_bytes()
    pages = list(ogg_pages(data))
    ends = {end for _, end in pages}
    path = tmp_path / "cut.ogg"
    path.write_bytes(data)
    with open(path, "r+b") as f:
        for length in range(len(data), pages[-2][0] - 40, -1):
            f.truncate(length)
            assert is_cut(f.fileno()) == (length not in ends), length


@pytest.mark.parametrize(
    ("name", "content", "error", "reason"),
    [
        ("empty.wav", b"", AudioFormatError, "empty"),
        ("text.mp3", b"not audio at all\n" * 40, AudioReadError, "decoded"),
        ("head.flac", b"fLaC\x00", AudioReadError, "decoded"),
        ("noise.raw", bytes(range(256)), AudioReadError, "decoded"),
    ],
)
def test_file_without_audio_is_a_typed_error(
    name: str, content: bytes, error: type[Exception], reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=reason) as e:
        AudioReader(tmp_path / name)
    assert str(tmp_path / name) in str(e.value)


def test_zero_frames_many_channels_and_odd_rates_are_format_errors(tmp_path: Path) -> None:
    cases = {
        "zero.wav": (0, 2, SR),
        "nine.wav": (9, 9, SR),
        "slow.wav": (9, 1, 7999),
        "fast.wav": (9, 1, 192001),
    }
    for name, (frames, channels, sr) in cases.items():
        soundfile.write(tmp_path / name, np.zeros((frames, channels)), sr)
        with pytest.raises(AudioFormatError):
            AudioReader(tmp_path / name)
    for name, channels, sr in (("eight.wav", 8, 8000), ("edge.wav", 1, 192000)):
        write(tmp_path / name, np.zeros((channels, 9), np.float32), sr)
        assert (probe(tmp_path / name).channels, probe(tmp_path / name).sample_rate) == (channels, sr)


def test_missing_folder_pipe_and_locked_file_are_read_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for name, reason in (("gone.wav", "No such file"), (".", "regular|directory"), ("pipe.wav", "regular")):
        with pytest.raises(AudioReadError, match=reason):
            AudioReader(tmp_path / name)
    if os.geteuid() != 0:  # root reads everything
        write(tmp_path / "locked.wav", np.zeros((1, 9), np.float32), SR)
        (tmp_path / "locked.wav").chmod(0)
        with pytest.raises(AudioReadError, match="Permission"):
            AudioReader(tmp_path / "locked.wav")


def test_refused_files_leave_no_descriptor_behind(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(AudioReadError):
            AudioReader(tmp_path / "x.wav")
    assert len(os.listdir("/proc/self/fd")) == before


# What is written


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.caf"])
@pytest.mark.parametrize("bits", [16, 24])
def test_write_pcm_untouched_comes_back_bit_for_bit(name: str, bits: int, tmp_path: Path) -> None:
    # Every code above one half is where libsndfile's own float conversion loses a step.
    full = 1 << (bits - 1)
    codes = np.linspace(-full, full - 1, 65536).round()
    x = np.stack([codes, codes[::-1]]).astype(np.float32) / np.float32(full)
    write(tmp_path / name, x, SR, f"PCM_{bits}")
    np.testing.assert_array_equal(whole(tmp_path / name), x)


def test_write_rounds_to_nearest_and_clips_at_full_scale(tmp_path: Path) -> None:
    step = 1 / 32768
    x = np.array([[1.5, -1.5, 0.4 * step, 0.6 * step, -0.6 * step]], np.float32)
    write(tmp_path / "r.wav", x, SR, "PCM_16")
    assert (whole(tmp_path / "r.wav")[0] / np.float32(step)).tolist() == [32767, -32768, 0, 1, -1]


@pytest.mark.parametrize("dither", [False, True])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32"])
def test_write_non_finite_samples_become_silence_and_full_scale(
    subtype: str, dither: bool, tmp_path: Path
) -> None:
    with AudioWriter(tmp_path / "n.wav", SR, 1, subtype=subtype, dither=dither) as w:
        w.write(np.array([[np.nan, np.inf, -np.inf]], np.float32))
    # One step of 8 bits is 1/128: the most that full scale is short of 1.
    np.testing.assert_allclose(whole(tmp_path / "n.wav")[0], [0, 1, -1], atol=1 / 128)


def test_write_dither_turns_distortion_into_noise(tmp_path: Path) -> None:
    # A 1 kHz tone of 0.7 steps: plain rounding makes odd harmonics, triangular dither makes white noise
    # of variance 1/4 step² plus the rounding's 1/12 − … = 1/4 in total (Lipshitz et al. 1992).
    sr, step = 48000, 1 / 32768
    t = np.arange(4 * sr) / sr
    x = (0.7 * step * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)[None]
    spectra = {}
    for dither in (False, True):
        with AudioWriter(tmp_path / "d.wav", sr, 1, subtype="PCM_16", dither=dither) as w:
            for start in range(0, x.shape[1], 7001):
                w.write(x[:, start : start + 7001])
        y = whole(tmp_path / "d.wav")[0] / step
        spectra[dither] = np.abs(np.fft.rfft(y)) / len(y) * 2
        error = y - x[0] / step
        if dither:
            assert np.var(error) == pytest.approx(0.25, abs=0.01)  # 192,000 samples: σ of the estimate .001
    third = 3000 * 4
    assert spectra[False][third] > 0.1
    assert spectra[True][third] < 0.02  # noise floor .5·sqrt(4/192000) = .0023
    assert spectra[True][1000 * 4] == pytest.approx(0.7, abs=0.02)


def test_write_is_independent_of_block_sizes(tmp_path: Path) -> None:
    x = music(0.5)
    for name, n in (("a.wav", 997), ("b.wav", x.shape[1])):
        with AudioWriter(tmp_path / name, SR, 2, subtype="PCM_16", dither=True) as w:
            for start in range(0, x.shape[1], n):
                w.write(x[:, start : start + n])
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def write_blocks(writer: AudioWriter, *blocks: NDArray[np.float32]) -> None:
    for block in blocks:
        writer.write(block)


def test_write_failing_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="shape"), AudioWriter(path, SR, 2) as w:
        write_blocks(w, np.zeros((2, 10), np.float32), np.zeros((1, 10), np.float32))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.wav"]
    write(path, np.zeros((1, 10), np.float32), SR)
    assert probe(path).frames == 10
    assert path.stat().st_mode & 0o777 == 0o666 & ~_current_umask()


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_write_wrong_arguments_name_what_is_wrong(tmp_path: Path) -> None:
    cases = [
        ("x.xyz", SR, 1, None, "suffix"),
        ("x.flac", SR, 1, "FLOAT", "subtype"),
        ("x.mp3", SR, 8, None, "8 channels"),
        ("x.mp3", 192000, 2, None, "192000"),
    ]
    for name, sr, channels, subtype, reason in cases:
        with pytest.raises(ValueError, match=reason):
            AudioWriter(tmp_path / name, sr, channels, subtype=subtype)
    assert os.listdir(tmp_path) == []
    with pytest.raises(AudioReadError, match="No such file"):
        AudioWriter(tmp_path / "gone" / "x.wav", SR, 1)
    with AudioWriter(tmp_path / "x.wav", SR, 2) as w, pytest.raises(ValueError, match="shape"):
        w.write(np.zeros((1, 10), np.float32))


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("a.flac", "o.wav", "PCM_24"),
        ("a.wav", "o.flac", "PCM_16"),
        ("b.wav", "o.flac", "PCM_24"),
        ("b.wav", "o.wav", "FLOAT"),
        ("a.mp3", "o.wav", "PCM_24"),
        ("a.wav", "o.ogg", "VORBIS"),
        ("a.wav", "o.opus", "OPUS"),
        ("a.ogg", "o.mp3", "MPEG_LAYER_III"),
    ],
)
def test_subtype_keeps_the_bit_depth_where_the_target_can(
    source: str, target: str, expected: str, files: dict[str, Path]
) -> None:
    assert subtype_for(target, probe(files[source])) == expected

"""`.25d` files: what is written comes back bit for bit, and nothing else ever comes back."""

from __future__ import annotations

import json
import os
import random
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faults import as_nobody, public_folder

from auralis_core import DIMENSIONS, FINGERPRINT_VERSION, SidecarError, sidecar
from auralis_core.schema import EXTRAS


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    path = tmp_path / "Å song.flac"
    path.write_bytes(os.urandom(200_000))
    return path


def forge(path: Path, change: object) -> None:
    """Rewrite the sidecar with a correct checksum after `change(dict)`."""
    data = json.loads(path.read_bytes())
    del data["crc32"]
    change(data)  # type: ignore[operator]
    body = json.dumps(data, separators=(",", ":")).encode()[:-1]
    path.write_bytes(body + b',"crc32":"%08x"}\n' % zlib.crc32(body))


def test_round_trip_is_exact(audio: Path, make_fingerprint) -> None:
    fp = make_fingerprint()
    path = sidecar.write(audio, fp)
    assert path == audio.with_name("Å song.flac.25d") == sidecar.path_for(audio)
    assert sidecar.read(audio) == fp
    assert os.listdir(audio.parent).count("Å song.flac.25d") == 1
    assert len(os.listdir(audio.parent)) == 2  # no temporary is left


def test_format_is_flat_json_with_every_number_by_name(audio: Path, make_fingerprint) -> None:
    fp = make_fingerprint()
    raw = sidecar.write(audio, fp).read_bytes()
    data = json.loads(raw)
    assert {d.name: data[d.name] for d in DIMENSIONS} == {d.name: fp[d.name] for d in DIMENSIONS}
    assert {name: data[name] for name in EXTRAS} == dict(fp.extras)
    assert data["version"] == FINGERPRINT_VERSION
    stat = audio.stat()
    expected = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "frames": fp.frames}
    assert expected.items() <= data["source"].items()
    assert len(raw) <= sidecar.MAX_BYTES


def test_size_holds_for_a_day_long_file(audio: Path, make_fingerprint) -> None:
    # Counts of 32 random bits each: more entropy a bin than 24 hours of music could have.
    counts = np.random.default_rng(0).integers(0, 1 << 32, 2048).astype("<u8")
    fp = make_fingerprint(histogram=zlib.compress(counts.tobytes(), 9))
    assert sidecar.write(audio, fp).stat().st_size <= sidecar.MAX_BYTES
    assert sidecar.read(audio) == fp


@pytest.mark.parametrize("seed", range(5))
def test_any_flipped_bit_is_refused(audio: Path, seed: int, make_fingerprint) -> None:
    path = sidecar.write(audio, make_fingerprint())
    raw = path.read_bytes()
    rng = random.Random(seed)
    for _ in range(100):
        at, bit = rng.randrange(len(raw) - 1), 1 << rng.randrange(8)  # the last byte is the newline
        damaged = bytearray(raw)
        damaged[at] ^= bit
        path.write_bytes(damaged)
        with pytest.raises(SidecarError) as e:
            sidecar.read(audio)
        assert e.value.kind == "damaged"


def test_any_truncation_is_refused(audio: Path, make_fingerprint) -> None:
    path = sidecar.write(audio, make_fingerprint())
    raw = path.read_bytes()
    for length in [*range(0, len(raw) - 1, 97), len(raw) - 2]:
        path.write_bytes(raw[:length])
        with pytest.raises(SidecarError, match="checksum"):
            sidecar.read(audio)
    path.write_bytes(raw + b"x" * sidecar.MAX_BYTES)
    with pytest.raises(SidecarError, match="larger"):
        sidecar.read(audio)


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        (lambda d: d.update(format="other"), "damaged", "format"),
        (lambda d: d.pop("format"), "damaged", "format"),
        (lambda d: d.pop("source"), "damaged", "source"),
        (lambda d: d.update(source=3), "damaged", "incomplete"),
        (lambda d: d.update(version=FINGERPRINT_VERSION + 1), "stale", "version"),
        (lambda d: d.update(lufs=99.0), "damaged", "lufs"),
        (lambda d: d.update(lufs=float("nan")), "damaged", "lufs"),
        (lambda d: d.pop("tempo_bpm"), "damaged", "tempo_bpm"),
        (lambda d: d.pop("true_peak_dbtp"), "damaged", "true_peak_dbtp"),
        (lambda d: d.update(histogram="AAAA"), "damaged", "damaged|histogram"),
        (lambda d: d.update(flags=["odd"]), "damaged", "flags"),
        (lambda d: d["source"].update(size=1), "stale", "size"),
    ],
)
def test_wrong_content_with_a_good_checksum_is_refused(
    audio: Path, change: object, kind: str, reason: str, make_fingerprint
) -> None:
    forge(sidecar.write(audio, make_fingerprint()), change)
    with pytest.raises(SidecarError, match=reason) as e:
        sidecar.read(audio)
    assert e.value.kind == kind
    assert e.value.path == str(sidecar.path_for(audio))


def test_changed_audio_makes_it_stale(audio: Path, make_fingerprint) -> None:
    sidecar.write(audio, make_fingerprint())
    stat, raw = audio.stat(), audio.read_bytes()

    def expect(reason: str) -> None:
        with pytest.raises(SidecarError, match=reason) as e:
            sidecar.read(audio)
        assert e.value.kind == "stale"

    os.utime(audio, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    expect("mtime_ns")
    audio.write_bytes(raw + b"x")
    expect("size")
    for at in (0, 65535, len(raw) - 65536, len(raw) - 1):  # same size and time, other content
        audio.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        os.utime(audio, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        expect("hash")
    audio.unlink()
    expect("cannot be read")


def test_source_taken_before_measuring_catches_a_file_changed_meanwhile(
    audio: Path, make_fingerprint
) -> None:
    before = sidecar.Source.of(audio)
    audio.write_bytes(b"other")
    sidecar.write(audio, make_fingerprint(), source=before)
    with pytest.raises(SidecarError, match="changed"):
        sidecar.read(audio)


def test_missing_sidecar_and_missing_audio(audio: Path, tmp_path: Path, make_fingerprint) -> None:
    with pytest.raises(SidecarError, match="no sidecar") as e:
        sidecar.read(audio)
    assert e.value.kind == "missing"
    with pytest.raises(SidecarError, match="audio file cannot be read") as e:
        sidecar.write(tmp_path / "gone.wav", make_fingerprint())
    assert e.value.kind == "unwritable"
    sidecar.path_for(audio).mkdir()
    with pytest.raises(SidecarError, match="cannot be read"):
        sidecar.read(audio)


@pytest.fixture
def locked_folder() -> Iterator[Path]:
    """A folder with one file that this process may read but not write."""
    with public_folder() as top:
        music = top / "music"
        music.mkdir()
        (music / "song.flac").write_bytes(b"x" * 1000)
        music.chmod(0o555)
        with as_nobody():
            yield music
        music.chmod(0o755)


def test_read_only_music_goes_to_the_cache(locked_folder: Path, make_fingerprint) -> None:
    fp, cache, audio = (
        make_fingerprint(),
        locked_folder.parent / "cache" / "deep",
        locked_folder / "song.flac",
    )
    with pytest.raises(SidecarError, match="cannot be written: Permission") as e:
        sidecar.write(audio, fp)
    assert e.value.kind == "unwritable"
    path = sidecar.write(audio, fp, cache)
    assert path == sidecar.path_for(audio, cache)
    assert re.fullmatch(r"[0-9a-f]{32}\.25d", path.name)
    assert sidecar.read(audio, cache) == fp
    with pytest.raises(SidecarError, match="no sidecar"):
        sidecar.read(audio)


def test_bad_sidecar_beside_the_audio_gives_way_to_the_cache(
    audio: Path, tmp_path: Path, make_fingerprint
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    sidecar.write(audio, make_fingerprint(1)).rename(sidecar.path_for(audio, cache))
    sidecar.path_for(audio).write_bytes(b"{}")
    assert sidecar.read(audio, cache) == make_fingerprint(1)
    sidecar.path_for(audio, cache).unlink()
    with pytest.raises(SidecarError, match="checksum") as e:
        sidecar.read(audio, cache)
    assert e.value.path == str(sidecar.path_for(audio))


def test_unreadable_sidecar_is_refused_and_replaced(make_fingerprint) -> None:
    with public_folder() as folder:
        audio = folder / "song.flac"
        audio.write_bytes(b"x" * 1000)
        sidecar.write(audio, make_fingerprint(1)).chmod(0)
        with as_nobody():
            with pytest.raises(SidecarError, match="Permission") as e:
                sidecar.read(audio)
            assert e.value.kind == "damaged"
            sidecar.write(audio, make_fingerprint(2))
            assert sidecar.read(audio) == make_fingerprint(2)


@pytest.mark.parametrize("make", [
    lambda path, good: path.symlink_to(good),
    lambda path, good: path.symlink_to("/dev/zero"),
    lambda path, good: os.mkfifo(path),
    lambda path, good: path.mkdir(),
], ids=["link", "device", "pipe", "folder"])  # fmt: skip
def test_anything_but_a_file_is_refused_at_once(audio: Path, make: object, make_fingerprint) -> None:
    path = sidecar.write(audio, make_fingerprint())
    good = path.rename(audio.with_name("elsewhere"))
    make(path, good)  # type: ignore[operator]
    with pytest.raises(SidecarError, match=r"link|regular|directory") as e:
        sidecar.read(audio)
    assert e.value.kind == "damaged"
    assert not sidecar.is_current(audio)
    if not path.is_dir():
        sidecar.write(audio, make_fingerprint())
        assert path.is_file()
        assert not path.is_symlink()
        assert good.exists()


def test_json_of_any_shape_with_a_good_checksum_is_refused_or_in_range(audio: Path, make_fingerprint) -> None:
    path = sidecar.write(audio, make_fingerprint())
    good = json.loads(path.read_bytes())
    for name in (*good, *(("source", part) for part in good["source"])):
        for odd in (None, True, -1, 2**70, float("nan"), float("inf"), "x", "\ud800", [], [[]], {}, {"a": 1}):

            def change(data: dict[str, object], name: object = name, odd: object = odd) -> None:
                if isinstance(name, tuple):
                    data["source"][name[1]] = odd  # type: ignore[index]
                else:
                    data[name] = odd

            path.write_bytes(json.dumps(good).encode())
            if name == "crc32":
                continue
            forge(path, change)
            try:
                found = sidecar.read(audio)
            except SidecarError:
                continue
            assert all(d.low <= x <= d.high for d, x in zip(DIMENSIONS, found.values, strict=True))
    for body in (b"[1", b"3", b"null", b'"x"', b"[" * 9000, b'{"format":"auralis-25d/1"', b""):
        path.write_bytes(body + b',"crc32":"%08x"}\n' % zlib.crc32(body))
        with pytest.raises(SidecarError):
            sidecar.read(audio)


def test_current_does_not_look_into_the_audio(audio: Path, tmp_path: Path, make_fingerprint) -> None:
    cache = tmp_path / "cache"
    assert not sidecar.is_current(audio, cache)
    path = sidecar.write(audio, make_fingerprint())
    assert sidecar.is_current(audio)
    status = audio.stat()
    os.utime(audio, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert not sidecar.is_current(audio)
    os.utime(audio, ns=(status.st_atime_ns, status.st_mtime_ns))
    cache.mkdir()
    path.rename(sidecar.path_for(audio, cache))
    assert not sidecar.is_current(audio)
    assert sidecar.is_current(audio, cache)
    forge(sidecar.path_for(audio, cache), lambda d: d.update(version=FINGERPRINT_VERSION + 1))
    assert not sidecar.is_current(audio, cache)
    audio.unlink()
    assert not sidecar.is_current(audio, cache)

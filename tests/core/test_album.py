"""Albums as wholes: the same as all tracks in one file, grouped and ordered as they are meant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from auralis_core import cli, fingerprint, fingerprint_array, sidecar
from auralis_core.album import CEILING_DBTP, TARGET_LUFS, Album, albums, measure
from auralis_core.audio import blocks
from auralis_core.library import Failure

SR = 44100


def noise(rms: float, seconds: float = 4.0, seed: int = 0, channels: int = 2) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((channels, round(SR * seconds)))
    return np.clip(rms * x, -1, 1).astype(np.float32)


def put(path: Path, x: np.ndarray, rate: int = SR, **tags: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", rate, x.shape[0], "PCM_16") as f:
        for name, value in tags.items():
            setattr(f, name, value)
        f.write(x.T)
    return path


def whole(*paths: Path) -> np.ndarray:
    return np.concatenate([np.concatenate(list(blocks(p)), axis=1) for p in paths], axis=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path / "quiet" / "1.flac", noise(0.02))
    put(tmp_path / "quiet" / "2.flac", noise(0.05, seed=1))
    return tmp_path / "quiet"


def test_album_is_its_tracks_as_one_file_to_the_bit(folder: Path) -> None:
    (album,) = albums(folder)
    reading = measure(album, [])
    assert reading.whole == fingerprint_array(whole(folder / "1.flac", folder / "2.flac"), SR)
    assert list(reading.tracks) == [fingerprint(p) for p in album.paths]


def test_known_tracks_are_not_measured_again_and_change_nothing(folder: Path, make_fingerprint) -> None:
    (album,) = albums(folder)
    before = measure(album, [])
    sidecar.write(album.paths[0], make_fingerprint(5))
    after = measure(album, [])
    assert after.whole == before.whole
    assert after.tracks == (make_fingerprint(5), before.tracks[1])


def test_gain_reaches_the_target_or_the_ceiling_and_no_further(folder: Path) -> None:
    (album,) = albums(folder)
    reading = measure(album, [])
    assert reading.gain_db == TARGET_LUFS - reading.whole.lufs > 3
    x = noise(0.05)
    x[:, 1000:1003] = 0.5  # one peak that leaves little room
    put(folder / "2.flac", x)
    reading = measure(album, [])
    assert 3 < reading.gain_db == CEILING_DBTP - reading.whole.extras["true_peak_dbtp"] < 6
    raised = whole(*map(Path, album.paths)) * np.float32(10 ** (reading.gain_db / 20))
    # −1 dBTP as another measurement of the raised samples says it; float32 rounding moves it by less.
    assert fingerprint_array(raised, SR).extras["true_peak_dbtp"] <= CEILING_DBTP + 1e-3
    put(folder / "3.flac", 0.98 * np.sign(noise(0.1)))
    (loud,) = albums(folder)
    assert measure(loud, []).gain_db <= 0


def test_tracks_of_other_rates_and_channels_join(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for n in (1, 2):  # nothing near Nyquist, which no resampling keeps
        x = np.apply_along_axis(np.convolve, 1, noise(0.02 * n, seed=n), np.ones(16) / 4, "same")
        put(folder / f"{n}.flac", x)
        put(other / f"{n}.flac", x if n == 1 else soxr.resample(x.T, SR, 48000).T, SR if n == 1 else 48000)
    (a,), (b,) = albums(folder), albums(other)
    # Twice resampled and once more rounded to 16 bits.
    assert measure(b, []).whole.lufs == pytest.approx(measure(a, []).whole.lufs, abs=0.02)
    put(other / "3.flac", noise(0.05, channels=1))
    (c,) = albums(other)
    reading = measure(c, [])
    assert (reading.whole.channels, reading.tracks[2].channels) == (2, 1)


def test_bad_file_is_left_out_whole(folder: Path) -> None:
    (album,) = albums(folder)
    expected = measure(album, [])
    raw = put(folder / "3.wav", noise(0.3)).read_bytes()
    (folder / "3.wav").write_bytes(raw[: len(raw) // 2])
    (folder / "4.wav").write_bytes(b"no audio")
    failed: list[Failure] = []
    (album,) = albums(folder)
    assert len(album.paths) == 4
    reading = measure(album, failed)
    assert reading.whole == expected.whole
    assert [(Path(f.path).name, f.reason.split(":")[0]) for f in failed] == [
        ("4.wav", "cannot be decoded"),
        ("3.wav", "truncated"),
    ]
    assert measure(Album("x", "", "", (str(folder / "4.wav"),), ("x",)), []) is None


def test_albums_by_tag_then_folder_with_discs_together_in_order(tmp_path: Path) -> None:
    x = noise(0.1, 0.1)
    for name, tags in {
        "mixed/b.flac": {"album": "One", "tracknumber": "1", "artist": "A", "title": "First"},
        "mixed/a.flac": {"album": "One", "tracknumber": "2", "artist": "A", "title": "Second"},
        "mixed/c.flac": {"album": "Two", "tracknumber": "1", "artist": "B"},
        "Set/CD 2/1.flac": {"album": "Set", "tracknumber": "1", "artist": "C"},
        "Set/CD1/1.flac": {"album": "Set", "tracknumber": "1", "artist": "D"},
        "bare/2.flac": {},
        "bare/1.flac": {},
    }.items():
        put(tmp_path / name, x, **tags)
    found = {a.title: a for a in albums(tmp_path)}
    names = {t: [str(Path(p).relative_to(tmp_path)) for p in a.paths] for t, a in found.items()}
    assert names == {
        "One": ["mixed/b.flac", "mixed/a.flac"],
        "Two": ["mixed/c.flac"],
        "Set": ["Set/CD1/1.flac", "Set/CD 2/1.flac"],
        "bare": ["bare/1.flac", "bare/2.flac"],
    }
    assert found["One"].titles == ("First", "Second")
    assert (found["One"].artist, found["Set"].artist) == ("A", "")


def test_album_json_is_one_object_a_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(cli.app, ["album", str(folder), "--json"]) == 0
    (line,) = capfd.readouterr().out.splitlines()
    data = json.loads(line)
    assert {"album", "folder", "lufs", "crest_db", "loudness_range", "true_peak_dbtp", "decision"} < set(data)
    assert data["album"] == "quiet"
    assert data["gain_db"] > 0
    assert [t["title"] for t in data["tracks"]] == ["1", "2"]
    assert {"lufs", "crest_db", "region", "expansion", "gain_db"} < set(data["tracks"][0])
    (folder / "3.wav").write_bytes(b"no audio")
    assert cli.run(cli.app, ["album", str(folder)]) == 1
    out, err = capfd.readouterr()
    assert "for every track" in out
    assert err.count("\n") == 1
    assert cli.run(cli.app, ["album", str(folder / "gone")]) == 1

"""`auralis plot`: one picture, its numbers, its one-line errors."""

import json
import sys

import numpy as np
import pytest

from auralis_core import audio, cli
from auralis_core.bench import music

SR = 44100


@pytest.fixture
def song(tmp_path):
    x = np.tanh(4.0 * music(6.0))
    audio.write(tmp_path / "a song.wav", x.astype(np.float32), SR)
    return tmp_path / "a song.wav"


def run(capfd, *arguments):
    capfd.readouterr()
    code = cli.run(cli.app, [str(a) for a in arguments])
    return code, *capfd.readouterr()


def test_the_picture_is_drawn_and_its_numbers_are_the_tracks(song, tmp_path, capfd):
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    image = tmp_path / "out.png"
    code, out, err = run(capfd, "plot", song, "-o", image, "--preset", "warm", "--json")
    assert (code, err) == (0, "")
    printed = json.loads(out)
    assert printed["image"] == str(image)
    assert printed["decision"]["region"] == "compressed_loud"
    assert printed["output"]["crest_db"] > printed["input"]["crest_db"]
    assert printed["output"]["true_peak_dbtp"] <= -1.0
    # 15 × 10 inches at 110 to the inch, in the header of the PNG.
    header = image.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")) == (1650, 1100)


def test_by_default_the_picture_has_the_name_of_the_track_and_lies_here(song, tmp_path, capfd, monkeypatch):
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, out, _ = run(capfd, "plot", song)
    assert (code, out) == (0, "a song.png: compressed_loud\n")
    assert (tmp_path / "here" / "a song.png").exists()


def test_without_matplotlib_one_line_says_what_to_install(song, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = run(capfd, "plot", song, "-o", song.with_suffix(".png"))
    assert (code, out) == (1, "")
    assert err == "auralis: plot needs matplotlib: pip install 'auralis-core[plot]'\n"


def test_bad_files_and_formats_are_one_line(song, tmp_path, capfd):
    code, _, err = run(capfd, "plot", tmp_path / "none.wav")
    assert code == 1
    assert err.count("\n") == 1
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    for image in (tmp_path / "x.nonsense", tmp_path / "no folder" / "x.png"):
        code, _, err = run(capfd, "plot", song, "-o", image)
        assert code == 1
        assert err.count("\n") == 1
        assert str(image) in err
        # Before the track is as much as opened.
        code, _, err = run(capfd, "plot", tmp_path / "none.wav", "-o", image)
        assert code == 1
        assert str(image) in err
        assert "none.wav" not in err


def test_arguments_out_of_range_are_refused_by_name(song, capfd):
    code, _, err = run(capfd, "plot", song, "--preset", "loud")
    assert code == 2
    assert "preset" in err

"""`auralis bench`: the shape of what it reports, that its figures agree with each other, and its errors.

How fast anything is depends on the machine and is not tested.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from auralis_core import bench, cli, features
from auralis_core.audio import probe, write


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.flac"
    write(path, bench.music(2.0), bench.RATE, "PCM_16")
    return path


@pytest.fixture
def short_track(monkeypatch: pytest.MonkeyPatch) -> None:
    """The synthesised track at a fraction of its length."""
    monkeypatch.setattr(bench, "TRACK_S", 4)
    monkeypatch.setattr(bench, "PHRASE_S", 2)


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capfd.readouterr()
    code = cli.run(cli.app, ["bench", *map(str, arguments)])
    return (code, *capfd.readouterr())


def test_fingerprint_json_has_its_seven_members_and_they_agree(capfd, song: Path) -> None:
    code, out, err = run(capfd, "fingerprint", song, "--rounds", 1, "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    data = json.loads(out)
    assert set(data) == {
        *("file", "duration", "decode_s", "total_s", "ratio_to_decode", "realtime_factor", "simd"),
    }
    assert (data["file"], data["duration"], data["simd"]) == (str(song), 2.0, features.simd())
    assert data["ratio_to_decode"] == pytest.approx(data["total_s"] / data["decode_s"])
    assert data["realtime_factor"] == pytest.approx(2.0 / data["total_s"])


def test_render_json_has_its_seven_members_and_they_agree(capfd, song: Path) -> None:
    code, out, err = run(capfd, "render", song, "--rounds", 1, "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    data = json.loads(out)
    assert set(data) == {
        *("file", "duration", "decode_s", "render_s", "decode_realtime_factor", "realtime_factor", "simd"),
    }
    assert (data["file"], data["duration"], data["simd"]) == (str(song), 2.0, features.simd())
    assert data["realtime_factor"] == pytest.approx(2.0 / data["render_s"])
    assert data["decode_realtime_factor"] == pytest.approx(2.0 / data["decode_s"])


@pytest.mark.usefixtures("short_track")
@pytest.mark.parametrize("what", ["fingerprint", "render"])
def test_without_a_file_a_track_is_synthesised_and_gone_afterwards(
    capfd, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, _ = run(capfd, what, "--rounds", 1, "--json")
    data = json.loads(out)
    assert (code, data["file"], data["duration"]) == (0, None, 4.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["fingerprint", "render"])
def test_text_names_the_file_and_the_variant(capfd, song: Path, what: str) -> None:
    code, out, _ = run(capfd, what, song, "--rounds", 1)
    assert code == 0
    assert out.startswith(f"{song}: 0:02 ")
    assert features.simd() in out


@pytest.mark.parametrize("what", ["fingerprint", "render"])
def test_file_that_is_not_there_is_one_line_and_exit_1(capfd, tmp_path: Path, what: str) -> None:
    code, out, err = run(capfd, what, tmp_path / "none.flac", "--json")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "none.flac" in err


def test_no_rounds_are_refused(capfd, song: Path) -> None:
    code, out, err = run(capfd, "fingerprint", song, "--rounds", 0)
    assert (code, out) == (2, "")
    assert "--rounds" in err


def test_best_takes_the_shortest_of_calls_that_take_turns() -> None:
    order: list[str] = []
    times = bench.best(lambda: order.append("a"), lambda: order.append("b"), rounds=3)
    assert order == list("ababab")
    assert len(times) == 2
    assert min(times) > 0


def test_plan_leaves_no_stage_idle() -> None:
    plan = bench.EVERYTHING
    assert not plan.is_identity
    assert min(plan.depth, plan.fill, plan.lift_db, len(plan.eq)) > 0
    assert None not in (plan.ceiling, plan.level_target)
    assert plan.width != 1


def test_music_is_stereo_within_full_scale_and_repeats(song: Path) -> None:
    x = bench.music(2.0)
    assert (x.dtype, x.shape) == (np.float32, (2, 2 * bench.RATE))
    assert 0.1 < np.abs(x).max() < 1
    assert np.array_equal(x, bench.music(2.0))
    # A FLAC that shrank to next to nothing would cost nothing to decode: half to four fifths is music.
    assert 0.4 < song.stat().st_size / (probe(song).frames * 4) < 0.8

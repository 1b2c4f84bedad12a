"""`bench/tune_lwrp.py`: what a setting changes, what beats what, and that a sweep goes on where it was."""

import json

import numpy as np
import pytest
import typer
from scripts import script
from typer.testing import CliRunner

import auralis_core as ac
from auralis_core import audio
from auralis_core.bench import music

SR = 44100


@pytest.fixture(scope="module")
def tune():
    with script("tune_lwrp") as module:
        yield module


@pytest.fixture(scope="module")
def squashed():
    x = np.tanh(4.0 * music(4.0))
    return x.astype(np.float32)


def test_a_setting_reaches_arguments_fields_and_constants(tune, squashed):
    fp = ac.fingerprint_array(squashed, SR)
    own = ac.plan(fp)
    assert tune.plan(fp, ()) == own
    assert tune.plan(fp, (("ceiling", -3.0),)) == ac.plan(fp, ceiling=-3.0)
    assert tune.plan(fp, (("width", 0.5),)).width == 0.5
    assert tune.plan(fp, (("gain_db*", 0.5),)).gain_db == 0.5 * own.gain_db
    # No track is loud under this rule, and the rule is back afterwards.
    assert tune.plan(fp, (("TONE_CREST_DB", 50.0),)).notes != own.notes
    assert ac.plan(fp) == own


def test_unknown_parameters_are_refused_before_anything_runs(tune):
    for text in ("nonsense=1", "NONSENSE=1", "depth", "depth="):
        with pytest.raises(typer.BadParameter):
            tune.parse([text])
    assert tune.parse(["intensity=0.5,1", "preset=warm,none"]) == {
        "intensity": [0.5, 1.0],
        "preset": ["warm", None],
    }


def test_the_front_is_what_nothing_beats(tune):
    rows = [{"a": a, "b": b} for a, b in ((1, 1), (2, 0), (0, 2), (0, 1), (1, 1), (0, 0))]
    assert tune.front(rows, ("a", "b")) == [True, True, True, False, True, False]


def test_a_sweep_over_a_folder_resumes_and_draws(tune, squashed, tmp_path):
    (tmp_path / "music").mkdir()
    audio.write(tmp_path / "music" / "x.wav", squashed, SR)
    rows = tmp_path / "rows.jsonl"

    def sweep(*more):
        arguments = ["--folder", str(tmp_path / "music"), "--rows", str(rows), "--jobs", "1", *more]
        app = typer.Typer()
        app.command()(tune.main)
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    first = sweep("--set", "intensity=0,1")
    assert "intensity=0.0" in first
    kept = rows.read_text().splitlines()
    assert len(kept) == 2
    values = {json.loads(line)["key"]: json.loads(line)["values"] for line in kept}
    gains = sorted(v["crest_gain_db"] for v in values.values())
    assert gains[0] == 0.0 < gains[1]
    # Cut off in the middle of its last line, it does that job again and the others not.
    rows.write_text(kept[0] + "\n" + kept[1][:50])
    sweep("--set", "intensity=0,1,0.5")
    assert rows.read_text().startswith(kept[0] + "\n")
    assert len(tune.load(rows)) == 3
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    sweep("--set", "intensity=0,1", "--plots", str(tmp_path / "plots"))
    assert sorted(p.name for p in (tmp_path / "plots").iterdir()) == ["000.png", "001.png"]

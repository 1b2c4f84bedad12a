"""`bench/robustness.py`: what it changes, what it counts, and that its page shows what it writes."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from auralis_core import DIMENSIONS
from auralis_core.bench import RATE, music

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def robustness() -> ModuleType:
    """The script, which lies outside the packages."""
    spec = importlib.util.spec_from_file_location("robustness", ROOT / "bench" / "robustness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measured(robustness):
    x = music(6.0)
    return list(robustness.drifts({"stereo": (x, RATE), "mono": (x[:1], RATE)}))


def test_changes_do_what_they_are_called(robustness) -> None:
    x = music(1.0)
    soft, rate = robustness.softer(x, RATE)
    assert 20 * np.log10(soft.std() / x.std()) == pytest.approx(-6, abs=1e-4)  # float32
    assert rate == RATE
    faster, rate = robustness.resampled(x, RATE)
    assert (faster.shape[1], rate) == (48000, 48000)
    assert robustness.mono(x, RATE)[0] == pytest.approx(x.mean(axis=0, keepdims=True))
    late, rate = robustness.delayed(x, RATE)
    assert not late[:, : 30 * RATE].any()
    assert np.array_equal(late[:, 30 * RATE :], x)


@pytest.mark.parametrize(("rate", "channels"), [(RATE, 2), (48000, 2), (16000, 1)])
def test_mp3_is_at_128_kbit_per_second(robustness, tmp_path: Path, rate: int, channels: int) -> None:
    x = music(10.0)[:channels, : 10 * rate]
    x = np.pad(x, ((0, 0), (0, 10 * rate - x.shape[1])))
    robustness.write_mp3(tmp_path / "x.mp3", x, rate)
    # Frames are whole and there is one for the header: 1 % of ten seconds.
    assert (tmp_path / "x.mp3").stat().st_size * 8 / 10 == pytest.approx(128e3, rel=0.015)


def test_change_that_says_nothing_about_a_track_is_left_out(robustness, measured) -> None:
    seen = {(d.track, d.change) for d in measured}
    assert seen == {(t, c) for t in ("stereo", "mono") for c in robustness.CHANGES} - {
        ("mono", "fold to mono")
    }
    assert robustness.resampled(music(0.1), 48000) is None


def test_drift_is_what_the_change_must_do_to_loudness(measured) -> None:
    moved = {(d.track, d.change): d.of("lufs") for d in measured}
    assert moved["stereo", "−6 dB"] == pytest.approx(6, abs=1e-4)
    assert moved["stereo", "44.1 → 48 kHz"] < 0.02  # as the design asks
    assert moved["stereo", "30 s of silence before"] < 0.2  # gating blocks astride the onset, of 60 in all


def test_table_has_a_row_for_every_dimension_and_a_column_for_every_change(robustness, measured) -> None:
    lines = robustness.table(measured).splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [d.name for d in DIMENSIONS]
    assert {line.count("|") for line in lines} == {3 + len(robustness.CHANGES)}


def test_promises_kept_and_broken_are_told_apart(robustness, measured) -> None:
    rows = robustness.verdicts(measured).splitlines()[2:]
    assert len(rows) == len(robustness.PROMISES)
    for promise, row in zip(robustness.PROMISES, rows, strict=True):
        worst = max(
            d.of(n, promise.relative)
            for d in measured
            if d.change == promise.change
            for n in promise.dimensions
        )
        assert ("| holds, worst" in row) == (worst <= promise.limit), row


def test_publishing_replaces_what_lies_between_the_markers_only(robustness, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{robustness.BEGIN}\nold\n{robustness.END}\nafter\n")
    robustness.publish("new", page)
    robustness.publish("newer", page)
    assert page.read_text() == f"before\n{robustness.BEGIN}\n\nnewer\n\n{robustness.END}\nafter\n"


def test_published_table_is_of_these_dimensions_and_changes(robustness) -> None:
    text = robustness.PAGE.read_text().split(robustness.BEGIN)[1].split(robustness.END)[0]
    head, *rows = re.findall(r"^\| ([^|\n]+) \| [^|]+ \|(?: [^|]+ \|){5}$", text, re.MULTILINE)
    assert head == "dimension"
    assert rows == [d.name for d in DIMENSIONS]
    assert all(f" {change} |" in text for change in robustness.CHANGES)

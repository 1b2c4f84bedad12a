"""`bench/squashbench.py`: what it squashes is what it says, and its score knows better from worse."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from scripts import script

RATE = 44100


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with script("squashbench") as module:
        yield module


@pytest.fixture(scope="module")
def original(bench):
    return np.ascontiguousarray(bench.sources("held-out")["kit-124"]()[:, : 4 * RATE])


@pytest.fixture(scope="module")
def squashed(bench, original):
    return bench.squashed_to(-8.0, bench.SQUASHERS["tanh"], original)


@pytest.mark.parametrize("squasher", ["hard clip", "tanh", "cubic", "limiter", "multiband", "limiter→tanh"])
def test_a_squashed_item_reads_its_loudness_at_full_scale(bench, original, squasher) -> None:
    y = bench.squashed_to(-10.0, bench.SQUASHERS[squasher], original)
    assert np.abs(y).max() == 1.0
    assert bench.ac.fingerprint_array(y, RATE).lufs == pytest.approx(-10.0, abs=0.1)


def test_the_benchs_limiter_keeps_to_full_scale(bench, original) -> None:
    y = importlib.import_module("squashers").limiter(original, 8.0)
    assert np.abs(y).max() <= 1.001  # linear interpolation between gains 8 frames apart


def test_the_original_scores_best_and_the_squashed_signal_zero(bench, original, squashed) -> None:
    best = bench.score(original, squashed, original)
    # 1 but where squashing cost less than a part's full scale, as here of onsets.
    assert 0.8 < best.composite <= 1.0
    assert best.restored == best.original
    assert bench.score(original, squashed, squashed).composite == pytest.approx(0.0, abs=1e-6)


def test_delay_and_gain_do_not_count(bench, original, squashed) -> None:
    late = np.roll(original, 777) * np.float32(0.25)
    late[:, :777] = 0.0
    best = bench.score(original, squashed, original).composite
    # 777 frames fall off the end.
    assert bench.score(original, squashed, late).composite == pytest.approx(best, abs=0.03)


def test_crest_bought_with_clicks_does_not_pay(bench, original, squashed) -> None:
    """A click in every block raises crest and PLR as far as anyone likes; all else gets worse."""
    clicks = squashed.copy()
    clicks[:, 2000::4410] = 2.5
    fake = bench.score(original, squashed, clicks)
    assert fake.restored.crest_db > fake.squashed.crest_db + 5.0
    assert fake.composite < 0.1
    assert fake.delta_si_sdr_db < -1.0


def test_too_much_counts_like_too_little() -> None:
    recovery = importlib.import_module("metrics").recovery
    assert recovery(16.0, 10.0, 13.0) == pytest.approx(0.5)
    assert recovery(16.0, 10.0, 19.0) == pytest.approx(0.5)
    assert recovery(16.0, 10.0, 8.0) == pytest.approx(-1 / 3)


def test_a_missing_ffmpeg_is_said_and_its_items_left_out(bench, original, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(importlib.import_module("squashers").FfmpegMissingError):
        bench.RESTORERS["adeclip"](original)
    assert {spec.squasher for spec in bench.specs("tuning")} == set(bench.SQUASHERS) - {"alimiter"}
    assert {spec.carrier for spec in bench.specs("tuning")} == {"as is", "48 kHz"}


def test_further_carriers_are_run_when_asked_for_and_cut_off_what_overshoots(bench) -> None:
    assert "48 kHz 16 bit" not in {spec.carrier for spec in bench.specs("held-out")}
    asked = bench.specs("held-out", quick=True, carriers=["48 kHz 16 bit"])
    assert {(spec.carrier, spec.level) for spec in asked} == {("48 kHz 16 bit", -8.0)}
    squashers = importlib.import_module("squashers")
    loud = np.sign(np.sin(2 * np.pi * 441 * np.arange(44100) / 44100)).astype(np.float32)
    x = np.stack([loud, loud])
    assert np.abs(squashers.resampled(x)).max() > 1.05
    y = squashers.CARRIERS["48 kHz 16 bit"](x)
    assert (y.min(), y.max()) == (-1.0, 32767.0 / 32768.0)
    assert np.array_equal(y * 32768.0, np.rint(y * 32768.0))


def test_one_item_goes_through_every_restorer_that_needs_no_other_program(bench) -> None:
    spec = bench.Spec("held-out", "kit-124", "tanh", -8.0, "as is")
    ours = ["auralis", "pass-through", "−.5 dB"]
    scores = bench.run(spec, ours)
    assert list(scores) == ours
    assert scores["pass-through"].composite == pytest.approx(0.0, abs=1e-6)
    assert scores["auralis"].composite > scores["−.5 dB"].composite
    assert bench.table([(spec, scores)]).row_count == 2

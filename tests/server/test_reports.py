"""What a client is told a plan does, against what it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from auralis_server.reports import applied_by

import auralis_core as ac

SR = 44100
SQUASHERS = {"clip": lambda x: np.clip(x, -1.0, 1.0), "tanh": lambda x: np.tanh(x) / np.tanh(np.abs(x).max())}


def song() -> np.ndarray:
    """Ten seconds of struck chords over a little hiss; peak 1."""
    rng = np.random.default_rng(5)
    x = 0.002 * rng.standard_normal(10 * SR)
    for at in range(0, x.size - SR, SR // 7):
        u = np.arange(SR) / SR
        for hz in 110.0 * 2.0 ** (rng.choice(24, 3, replace=False) / 12.0):
            partials = [np.sin(2 * np.pi * hz * k * u + rng.uniform(0, 6)) / k for k in range(1, 9)]
            x[at : at + SR] += rng.exponential() * np.exp(-4.0 * u) * sum(partials)
    return np.stack([x, np.roll(x, 37)]) / np.abs(x).max()


@pytest.mark.parametrize("how", list(SQUASHERS))
@pytest.mark.parametrize("drive_db", [6.0, 10.0])
def test_what_the_highest_peaks_gain_is_about_what_they_gain(how: str, drive_db: float) -> None:
    x = np.ascontiguousarray(SQUASHERS[how](10.0 ** (drive_db / 20.0) * song()), np.float32)
    plan = ac.plan(ac.fingerprint_array(x, SR))
    assert plan.decision is not None
    assert plan.decision.region == "compressed_loud"
    assert bool(plan.clip) == (how == "clip")
    free = ac.render_array(x, SR, replace(plan, ceiling=None))
    gained = 20.0 * np.log10(np.abs(free).max() / np.abs(x).max()) - plan.gain_db
    assert gained > 2.0
    # A clip's tell their mean rise; how much over it the highest is differs from song to song.
    assert applied_by(plan).peaks_db == pytest.approx(gained, abs=2.0)


def test_where_nothing_is_done_peaks_gain_nothing() -> None:
    plan = ac.plan(ac.fingerprint_array((0.05 * song()).astype(np.float32), SR))
    assert applied_by(plan).peaks_db == 0.0

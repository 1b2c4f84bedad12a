"""No output goes over its ceiling: the first cases of ``bench/ceiling.py``, on its two 16× meters."""

from dataclasses import replace

import pytest
from scripts import script

import auralis_core as ac


@pytest.fixture(scope="module")
def ceiling():
    with script("ceiling") as module:
        yield module


@pytest.mark.parametrize("start", range(0, 300, 60))
def test_random_signals_plans_and_rates_stay_under_the_ceiling(ceiling, start):
    over = {n: ceiling.overshoot_db(ceiling.case(n)) for n in range(start, start + 60)}
    worst = max(over, key=over.get)
    assert over[worst] <= 0.0, f"case {worst}, {ceiling.case(worst).material}"


@pytest.mark.parametrize("number", [6145, 4307, 6654, 3388])
def test_the_worst_of_ten_thousand_stay_under_it_too(ceiling, number):
    """A sweep at 22.05 kHz (.03 dB left; over with the margin of 44.1 kHz), a tone, a mixture, music."""
    assert ceiling.overshoot_db(ceiling.case(number)) <= 0.0


def test_without_the_limiter_the_same_cases_are_far_over(ceiling):
    """The negative control: the meters see what the limiter takes away."""
    made = [ceiling.case(n) for n in range(22)]
    bare = [ac.render_array(c.x, c.rate, replace(c.plan, ceiling=None)) for c in made]
    over = [max(ceiling.true_peaks_dbtp(y)) - c.plan.ceiling for y, c in zip(bare, made, strict=True)]
    assert sum(o > 1.0 for o in over) > len(over) // 2

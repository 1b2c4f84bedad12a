"""How far ahead a stream may run, as arithmetic."""

from __future__ import annotations

import pytest
from auralis_server.pacing import Pacer
from hypothesis import given, settings
from hypothesis import strategies as st

RATE = 1000  # frames and milliseconds are the same number


def pacer(lead: float = 500, buffer: float = 2000) -> Pacer:
    p = Pacer(RATE, lead, buffer)
    p.restart(100, 10.0)
    return p


@pytest.mark.parametrize(
    ("after", "frames"),
    [
        (0.0, 500),  # the burst
        (1.0, 2000),  # 1.5 × real time
        (3.0, 5000),  # the buffer is full: 500 + 1.5 t meets 2000 + t at t = 3
        (10.0, 12_000),  # real time
    ],
)
def test_allowance_is_burst_then_ramp_then_real_time(after: float, frames: int) -> None:
    assert pacer().allowed(10.0 + after) == 100 + frames


def test_pause_stops_the_clock_and_resume_goes_on_where_it_was() -> None:
    p = pacer()
    p.pause(11.0)
    assert p.allowed(11.0) == p.allowed(99.0) == 100 + 2000
    assert p.delay(10_000, 50.0) is None
    p.resume(99.0)
    assert p.allowed(99.0) == 100 + 2000
    assert p.allowed(101.0) == 100 + 5000


def test_credit_narrows_and_never_widens_beyond_the_burst() -> None:
    p = pacer()
    p.credit(300, 150, 10.0)
    assert p.allowed(10.0) == 300
    assert p.delay(301, 10.0) is None
    p.credit(10**9, 150, 10.0)
    assert p.allowed(10.0) == 100 + 500


def test_fast_client_clock_keeps_its_buffer() -> None:
    p = pacer()
    # A client that played 1 % more than our clock after 1000 s has its whole buffer, not 10 s less.
    p.credit(10**9, 100 + 1_010_000, 1010.0)
    assert p.allowed(1010.0) == 100 + 1_010_000 + 2000


def test_played_runs_on_between_reports_but_not_while_paused() -> None:
    p = pacer()
    assert p.played(11.0) is None
    p.credit(5000, 400, 11.0)
    assert p.played(11.5) == 900
    p.pause(11.5)
    assert p.played(20.0) == 400
    p.resume(20.0)
    assert p.played(20.25) == 650


def test_restart_while_paused_stays_paused() -> None:
    p = pacer()
    p.pause(11.0)
    p.restart(7000, 20.0)
    assert p.allowed(99.0) == 7500
    assert p.delay(7501, 99.0) is None
    p.resume(99.0)
    assert p.allowed(100.0) == 7000 + 500 + 1500


def test_played_before_what_the_client_may_hold_is_no_news() -> None:
    p = pacer()
    p.restart(7000, 20.0, held_from=6000)
    p.credit(9000, 5999, 20.0)
    assert p.played(20.0) is None
    p.credit(9000, 6000, 20.0)
    assert p.played(20.5) == 6500


def test_restart_forgets_credit() -> None:
    p = pacer()
    p.credit(200, 150, 10.0)
    p.restart(7000, 20.0)
    assert p.allowed(20.0) == 7500
    assert p.played(20.0) is None


@settings(max_examples=200, deadline=None)
@given(
    st.floats(50, 5000),
    st.floats(200, 5000),
    st.floats(0, 100),
    st.integers(1, 200_000),
    st.none() | st.integers(100, 300_000),
)
def test_after_the_delay_the_position_is_allowed(
    lead: float, buffer: float, now: float, ahead: int, upto: int | None
) -> None:
    p = pacer(lead, buffer)
    if upto is not None:
        p.credit(upto, None, 10.0)
    position, now = 100 + ahead, 10.0 + now
    delay = p.delay(position, now)
    if delay is None:
        assert upto is not None
        assert upto < position
    else:
        # A millisecond for the rounding of whole frames down and of the clock.
        assert p.allowed(now + delay + 0.001) >= position
        assert (delay == 0.0) == (p.allowed(now) >= position)

"""The breaker over every order of events, on a clock of its own."""

from __future__ import annotations

import pytest
from auralis_server.breaker import Breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(3, 30.0, clock)


def break_it(breaker: Breaker) -> None:
    for _ in range(3):
        assert breaker.admit()
        breaker.fail()


def test_opens_after_three_failures_in_a_row(breaker: Breaker) -> None:
    for outcome in (breaker.fail, breaker.fail, breaker.succeed, breaker.fail, breaker.fail):
        assert breaker.admit()
        outcome()
        assert breaker.state == "closed"
    breaker.fail()
    assert breaker.state == "open"
    assert not breaker.admit()


def test_admits_one_probe_after_thirty_seconds(breaker: Breaker, clock: Clock) -> None:
    break_it(breaker)
    clock.now += 29.9
    assert not breaker.admit()
    clock.now += 0.1
    assert breaker.state == "half-open"
    assert [breaker.admit() for _ in range(3)] == [True, False, False]


def test_probe_that_answers_closes_it(breaker: Breaker, clock: Clock) -> None:
    break_it(breaker)
    clock.now += 30
    assert breaker.admit()
    breaker.succeed()
    assert breaker.state == "closed"
    break_it(breaker)  # and it takes three again to open
    assert breaker.state == "open"


def test_probe_that_fails_opens_it_for_as_long_again(breaker: Breaker, clock: Clock) -> None:
    break_it(breaker)
    clock.now += 30
    assert breaker.admit()
    breaker.fail()
    clock.now += 29
    assert not breaker.admit()
    clock.now += 1
    assert breaker.admit()


def test_probe_that_is_abandoned_leaves_room_for_another(breaker: Breaker, clock: Clock) -> None:
    break_it(breaker)
    clock.now += 30
    assert breaker.admit()
    breaker.abandon()
    assert breaker.admit()


def test_late_failures_do_not_keep_it_open(breaker: Breaker, clock: Clock) -> None:
    for _ in range(9):  # asked together while it was closed
        assert breaker.admit()
    break_it(breaker)
    clock.now += 29
    for _ in range(6):
        breaker.fail()
    clock.now += 1
    assert breaker.state == "half-open"

"""Where a client goes on that has missed some epochs, as arithmetic."""

from __future__ import annotations

import pytest
from auralis_server.commands import Resuming
from auralis_server.epochs import MOST_REWINDS, Epochs
from hypothesis import given, settings
from hypothesis import strategies as st


def place(epochs: Epochs, epoch: int, next_frame: int) -> tuple[int, int | None]:
    return epochs.place(Resuming(1, epoch, next_frame, "token"))


def test_nothing_missed_goes_on_at_the_next_frame() -> None:
    epochs = Epochs(1, 0)
    assert place(epochs, 1, 700) == (700, 700)
    epochs.begin(2, 500)
    assert (epochs.newest, epochs.start) == (2, 500)
    assert place(epochs, 2, 700) == (700, 700)


def test_missed_rewind_is_gone_back_to_and_one_further_on_is_not() -> None:
    epochs = Epochs(1, 0)
    epochs.begin(2, 500)
    epochs.begin(3, 900)
    assert place(epochs, 1, 700) == (500, 500)
    assert place(epochs, 2, 700) == (700, 700)
    assert place(epochs, 2, 1000) == (900, 900)


def test_missed_jump_voids_all_the_client_holds() -> None:
    epochs = Epochs(1, 0)
    epochs.begin(2, 500)
    epochs.begin(3, 300)
    epochs.jumped(300)
    assert place(epochs, 2, 700) == (300, None)
    assert place(epochs, 3, 800) == (800, 800)  # the rewind before the jump is nothing any more
    epochs.begin(4, 600)
    assert place(epochs, 3, 800) == (600, 600)


@pytest.mark.parametrize("next_frame", [0, 299])
def test_nothing_before_the_last_jump_is_ever_given(next_frame: int) -> None:
    epochs = Epochs(1, 0)
    epochs.begin(2, 300)
    epochs.jumped(300)
    assert place(epochs, 2, next_frame) == (300, 300)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 10_000), min_size=MOST_REWINDS + 2, max_size=3 * MOST_REWINDS))
def test_of_many_rewinds_none_that_was_missed_is_forgotten(frames: list[int]) -> None:
    epochs = Epochs(1, 0)
    for epoch, frame in enumerate(frames, 2):
        epochs.begin(epoch, frame)
    last = len(frames) + 1
    for epoch in range(1, last):
        frame, keep_until = place(epochs, epoch, 20_000)
        missed = min(frames[epoch - 1 :])
        # The oldest are remembered together: a client of theirs may be given more again, never less.
        assert frame == keep_until <= missed
        if epoch > last - MOST_REWINDS:
            assert frame == missed

"""What waits for a stream: whose turn it is, what gives way to what, and that every answer is given."""

from __future__ import annotations

import json

from auralis_server.commands import Command, Next, Queue, Seek, Set
from auralis_server.orders import Orders
from auralis_server.outbox import Outbox, Reply


class Waiting:
    """Orders, with an outbox that nobody empties."""

    def __init__(self) -> None:
        self.outbox = Outbox(lambda: None)
        self.woken = 0
        self.orders = Orders(Reply(self.outbox, 0), self.wake)

    def wake(self) -> None:
        self.woken += 1

    def add(self, *commands: Command) -> None:
        for id, command in enumerate(commands, 1):
            self.orders.add(command, Reply(self.outbox, id))

    def taken(self) -> list[Command]:
        return [command for command, _ in self.orders.take()]

    def said(self) -> list[tuple[int, str, bool]]:
        messages = [json.loads(text) for text in self.outbox.waiting()]
        return [(m["id"], m["type"], m["data"].get("superseded", False)) for m in messages]


def test_turns_are_queue_next_seek_set_and_one_kind_is_taken_together() -> None:
    w = Waiting()
    sets = [Set(bypass=True), Set(intensity=0.5)]
    w.add(*sets, Next(), Seek(seconds=1), Queue(track_ids=[1]))
    assert [w.taken() for _ in range(5)] == [[Queue(track_ids=[1])], [Next()], [Seek(seconds=1)], sets, []]
    assert (w.said(), w.woken) == ([], 5)


def test_seek_gives_way_to_a_later_seek_or_next_and_queue_to_queue() -> None:
    w = Waiting()
    w.add(Seek(seconds=1), Seek(seconds=2), Queue(track_ids=[1]), Queue(track_ids=[2]), Next(), Next())
    assert w.said() == [(1, "ok", True), (3, "ok", True), (2, "ok", True)]
    assert [w.taken() for _ in range(3)] == [[Queue(track_ids=[2])], [Next(), Next()], []]


def test_whatever_is_owed_is_refused_once_and_what_was_forgotten_is_not() -> None:
    w = Waiting()
    w.add(Seek(seconds=1), Seek(seconds=2), Next())
    w.orders.note(Reply(w.outbox, 9))
    w.orders.refuse("no_stream", "over")
    w.orders.refuse("no_stream", "over")
    assert w.said()[2:] == [(0, "error", False), (3, "error", False), (9, "error", False)]
    w = Waiting()
    w.add(Seek(seconds=1))
    w.orders.forget()
    w.orders.refuse("no_stream", "over")
    assert (w.taken(), w.said()) == ([], [])

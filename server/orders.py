"""What has been asked of a stream and not been done yet, and the answers still owed. No tasks, no audio.

When each is done is stream.py's, and how it is done playback.py's.
"""

from __future__ import annotations

from collections.abc import Callable

from .commands import Command, Next, Queue, Seek, Set
from .events import Ok
from .outbox import Reply

Order = tuple[Command, Reply]

#: What waits for its turn, in the order of turns; all of one kind are taken together.
KINDS = (Queue, Next, Seek, Set)


class Orders:
    """The commands that wait for one stream.

    Parameters
    ----------
    first : Reply
        The answer to the play that asked for the stream.
    wake : callable
        Called when something was asked.
    """

    def __init__(self, first: Reply, wake: Callable[[], None]) -> None:
        self.first = first
        self._wake = wake
        self._waiting: dict[type[Command], list[Order]] = {kind: [] for kind in KINDS}
        self._noted: list[Reply] = []
        self._owed = [first]

    def add(self, command: Command, reply: Reply) -> None:
        """Let a command wait; a seek or queue that nobody has begun is replaced by a later one."""
        kind = type(command)
        if kind in (Seek, Next):
            self._supersede(Seek)
        elif kind is Queue:
            self._supersede(Queue)
        self._waiting[kind].append((command, reply))
        self.owe(reply)

    def note(self, reply: Reply) -> None:
        """Something was done at once; its answer keeps to the order of what is sent."""
        self._noted.append(reply)
        self.owe(reply)

    def owe(self, reply: Reply) -> None:
        """An answer is due, whoever gives it."""
        self._owed = [r for r in self._owed if not r.given]
        self._owed.append(reply)
        self._wake()

    def acknowledge(self) -> None:
        """Answer what was noted."""
        while self._noted:
            self._noted.pop(0).ok()

    def take(self) -> list[Order]:
        """All of the kind whose turn it is, oldest first."""
        for waiting in self._waiting.values():
            if waiting:
                taken = waiting[:]
                waiting.clear()
                return taken
        return []

    def forget(self) -> None:
        """Nobody waits for answers any more."""
        for waiting in self._waiting.values():
            waiting.clear()
        self._noted.clear()
        self._owed.clear()

    def refuse(self, code: str, message: str) -> None:
        """Answer all that is owed by an error."""
        for reply in self._owed:
            reply.error(code, message)

    def _supersede(self, kind: type[Command]) -> None:
        for _, reply in self._waiting[kind]:
            reply.ok(Ok(superseded=True))
        self._waiting[kind].clear()

"""Two threads at one object."""

from __future__ import annotations

import threading
from collections.abc import Callable


def one_is_refused(*calls: Callable[[], object]) -> bool:
    """Whether a `RuntimeError` meets one of `calls`, each made in a thread of its own until then.

    Again and again, because on a busy machine the one may be over before the other is begun.
    """
    met, enough = threading.Event(), threading.Event()

    def repeat(call: Callable[[], object]) -> None:
        while not (met.is_set() or enough.is_set()):
            try:
                call()
            except RuntimeError:
                met.set()

    threads = [threading.Thread(target=repeat, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    met.wait(60)
    enough.set()
    for thread in threads:
        thread.join()
    return met.is_set()

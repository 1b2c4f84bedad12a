"""Cancel-safe ways from the event loop into a worker thread, and to the end of tasks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(
    pool: Executor, call: Callable[..., T], *args: Any, on_cancel: Callable[[], None] | None = None
) -> T:
    """Run `call` in `pool`; when cancelled, return only after the thread has let go.

    Whoever awaits this may free what the call was using as soon as it returns or raises.
    `on_cancel` may tell the thread to hurry.
    """
    future = pool.submit(call, *args)
    waiting = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        if on_cancel is not None:
            on_cancel()
        if not future.cancel():
            while not waiting.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([waiting])
            waiting.exception()  # taken, so that asyncio does not report it as lost
        raise


async def gone(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Wait until all have ended, however often the waiter is cancelled meanwhile."""
    cancelled = False
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError

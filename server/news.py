"""What every socket is told, whatever it plays: how far the library scan is."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from .events import ScanProgress
from .scanner import Scanner
from .session import Session

LOOK_S = 0.25  # between two looks, and so between two events


async def tell_scans(scanner: Scanner, sessions: Collection[Session]) -> None:
    """Say how far the scan is whenever that has changed; until cancelled."""
    told = ScanProgress(scanner.running, *scanner.progress)
    while True:
        await asyncio.sleep(LOOK_S)
        now = ScanProgress(scanner.running, *scanner.progress)
        if now != told:
            for session in sessions:
                session.tell(now)
            told = now

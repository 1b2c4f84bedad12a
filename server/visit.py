"""What `auralis doctor` learns of the workers: each is given a tiny track and must answer what we would."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from auralis_core import AuralisError
from auralis_core.audio import write
from auralis_core.doctor import RATE, Finding, tone
from auralis_core.fingerprint import fingerprint

from .config import RemoteConfig

PATIENCE_S = 10.0


def workers(config: RemoteConfig) -> Iterator[Finding]:
    """One finding for each worker named."""
    from .remote import Remote

    with tempfile.TemporaryDirectory(prefix="auralis-doctor-") as folder:
        track = Path(folder) / "tone.wav"
        write(track, tone(1.0), RATE, subtype="PCM_16")
        expected = fingerprint(track)
        for target in filter(None, map(str.strip, config.targets.split(","))):
            name = f"worker {target}"
            started = time.perf_counter()
            try:
                with closing(Remote(replace(config, targets=target, shared=None))) as remote:
                    found = remote.measure(track, deadline_s=PATIENCE_S, cancelled=lambda: False)
            except AuralisError as e:
                advice = "Start it (auralis worker --listen HOST:PORT), or check address, token and TLS."
                yield Finding(name, "fail", e.message, advice)
                continue
            took = f"{1000 * (time.perf_counter() - started):.0f} ms"
            if found == expected:
                yield Finding(name, "ok", f"measures as this machine does, in {took}")
            else:
                yield Finding(
                    *(name, "fail", "answers something else than this machine"),
                    "Run the same release of Auralis on both.",
                )

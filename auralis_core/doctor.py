"""What could be wrong with this installation, looked at one thing after the other, and what to do about it.

Nothing is changed: the database is only read, and files are made in a temporary folder alone.
Other machines are asked by whoever can reach them; their findings join these.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import sidecar
from .audio import blocks, write
from .checkup import look_at
from .errors import AudioReadError, AuralisError, DatasetError, SidecarError
from .features import simd
from .fingerprint import fingerprint_array
from .library import find

RATE = 44100
PORT = 8765
OLD_BACKUP_S = 7 * 86400
TIMEOUT_S = 60.0

#: Suffix and subtype of every kind of file that is tried, and how much of a tone must come back.
FORMATS = (
    (".wav", "PCM_16", 60.0),
    (".wav", "FLOAT", 100.0),
    (".aiff", "PCM_16", 60.0),
    (".flac", "PCM_24", 100.0),
    (".ogg", "VORBIS", 15.0),
    (".opus", "OPUS", 15.0),
    (".mp3", "MPEG_LAYER_III", 15.0),
)

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `advice` says what to do unless all is well."""

    check: str
    state: State
    detail: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def examine(db: Path, folders: Sequence[Path] = (), port: int = PORT) -> Iterator[Finding]:
    """Look at everything this machine has, in the order in which one thing needs another."""
    yield engine()
    yield from decoders()
    yield from database(db)
    for folder in folders:
        yield sidecars(folder)
    yield listening(port)


def engine() -> Finding:
    """Whether the instructions chosen for this processor compute what the portable ones do."""
    chosen = simd()
    if chosen == "baseline":
        return Finding("engine", "ok", "portable instructions")
    code = "from auralis_core.doctor import sample; print(sample())"
    environment = {**os.environ, "AURALIS_SIMD": "baseline"}
    try:
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        return Finding("engine", "warn", f"{chosen}; the portable variant did not run: {e}", "Try again.")
    if run.returncode == 0 and run.stdout.strip() == sample():
        return Finding("engine", "ok", f"{chosen}, the same bits as the portable variant")
    return Finding(
        *("engine", "fail", f"{chosen} does not compute what the portable variant does"),
        "Set AURALIS_SIMD=baseline for every auralis process, and report this processor.",
    )


def sample() -> str:
    """The fingerprint of a tiny signal, as text that is equal only for equal bits."""
    rng = np.random.default_rng(1)
    x = (tone(1.0) + rng.standard_normal((2, RATE)) * 0.05).astype(np.float32)
    return json.dumps(fingerprint_array(x, RATE).to_dict(), sort_keys=True)


def decoders() -> Iterator[Finding]:
    """Whether a tone survives every format: written to a temporary file and decoded again."""
    x = tone(0.5)
    with tempfile.TemporaryDirectory(prefix="auralis-doctor-") as folder:
        for suffix, subtype, floor_db in FORMATS:
            name = f"{suffix[1:]} {subtype}"
            path = Path(folder) / f"{subtype}{suffix}"
            rate = 48000 if subtype == "OPUS" else RATE
            try:
                write(path, x, rate, subtype=subtype)
            except (ValueError, AuralisError) as e:
                yield Finding(
                    *(name, "warn", f"cannot be made here, so not tried ({e})"),
                    "Upgrade soundfile (pip install -U soundfile), whose wheel carries libsndfile.",
                )
                continue
            try:
                y = np.concatenate(list(blocks(path)), axis=1)
                got_db = _likeness_db(x, y)
            except AuralisError as e:
                got_db, reason = -np.inf, e.message
            else:
                reason = f"the tone came back {got_db:.0f} dB above what was lost"
            if got_db >= floor_db:
                yield Finding(name, "ok", "decodes")
            else:
                yield Finding(name, "fail", reason, "Upgrade soundfile (pip install -U soundfile).")


def tone(seconds: float) -> NDArray[np.float32]:
    """Two channels of a faded sine at `RATE`."""
    t = np.arange(round(seconds * RATE)) / RATE
    fade = np.clip(np.minimum(t, seconds - t) * 50, 0, 1)
    x = 0.4 * fade * np.sin(2 * np.pi * np.array([[440.0], [660.0]]) * t)
    return np.asarray(x, np.float32)


def _likeness_db(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Power of `x` above that of its difference from `y`, in dB; the decoder may have padded either end."""
    if x.shape[0] != y.shape[0] or y.shape[1] < x.shape[1]:
        return -np.inf
    lag = int(np.argmax(np.correlate(y[0], x[0], "valid")))
    rest = float(np.sum((y[:, lag : lag + x.shape[1]] - x) ** 2))
    return float(10 * np.log10(float(np.sum(x**2)) / max(rest, 1e-30)))


def database(path: Path) -> Iterator[Finding]:
    """Whether the library's pages and rows are whole, who could write it, and how old its backup is."""
    if not path.exists():
        yield Finding(
            *("database", "warn", f"{path} is not there yet"),
            f"Make it: auralis scan DIR --db {path}",
        )
        return
    try:
        seen = look_at(path)
    except DatasetError as e:
        advice = {
            "damaged": f"Restore it by any start of auralis serve, or: auralis scan DIR --db {path}",
            "foreign": "This file belongs to another program: choose another --db.",
            "newer": "Upgrade Auralis, or choose another --db.",
            "busy": "Another program holds it: end that program.",
        }.get(e.kind, "Look at the folder's permissions and free space.")
        yield Finding("database", "fail", str(e), advice)
        return
    what = f"{seen.tracks} tracks, {seen.fingerprinted} fingerprints, version {seen.version}"
    if seen.damaged:
        yield Finding(
            *("database", "fail", f"{what}; {seen.damaged} fingerprints disagree with their check sums"),
            f"Scan: auralis scan DIR --db {path}; sidecars replace them, the rest is measured again.",
        )
    else:
        yield Finding("database", "ok", f"{what}; every page and row is whole")
    if seen.trouble:
        yield Finding("database mode", "warn", seen.trouble, "See docs/storage.md; playing goes on.")
    if seen.last_backup is None:
        yield Finding("backup", "warn", "there is none", f"Make one: auralis backup --db {path}")
    elif (age := time.time() - seen.last_backup) > OLD_BACKUP_S:
        days = f"the newest is {age / 86400:.0f} days old"
        yield Finding("backup", "warn", days, f"Make one: auralis backup --db {path}")
    else:
        yield Finding("backup", "ok", f"the newest is {age / 3600:.1f} hours old")


def sidecars(folder: Path) -> Finding:
    """How many of the files below `folder` have a sidecar, and of those how many count."""
    counts = dict.fromkeys(("valid", "stale", "damaged", "missing"), 0)
    try:
        for path in find(folder):
            try:
                sidecar.read(path)
                counts["valid"] += 1
            except SidecarError as e:
                counts[e.kind] += 1
    except AudioReadError as e:
        return Finding("sidecars", "fail", str(e), "Name a folder that exists and can be read.")
    detail = f"{folder}: " + ", ".join(f"{n} {kind}" for kind, n in counts.items())
    if counts["stale"] or counts["damaged"]:
        return Finding("sidecars", "warn", detail, "A scan replaces those that are stale or damaged.")
    return Finding("sidecars", "ok", detail)


def listening(port: int) -> Finding:
    """Whether the server's port is free, or a server of ours has it."""
    name = f"port {port}"
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return Finding(name, "ok", "free")
        except OSError as e:
            reason = e.strerror or str(e)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)) as connection:
        try:
            connection.request("GET", "/healthz")
            if json.loads(connection.getresponse().read(1000)) == {"status": "ok"}:
                return Finding(name, "ok", "a server of Auralis answers")
        except (OSError, http.client.HTTPException, ValueError):
            pass
    return Finding(name, "warn", f"taken by another program ({reason})", "Serve elsewhere: --port.")


def worst(findings: Iterable[Finding]) -> State:
    """The gravest state among them."""
    states = {finding.state for finding in findings}
    return "fail" if "fail" in states else "warn" if "warn" in states else "ok"

"""Ways to break a database from outside: other processes, small disks, damaged bytes."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PAGE = 4096

#: Keeps everybody else out, readers too.
EXCLUSIVELY = ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN IMMEDIATE", "UPDATE tracks SET title = 'half done'")

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path, *statements: str) -> Iterator[None]:
    """Another process that has run these statements on the database and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, path, *statements], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
    finally:
        process.communicate()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own at `folder`; skips where this user may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "auralis-test", folder]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill_up(folder: Path) -> None:
    """Leave no room on the disk of `folder`."""
    with suppress(OSError), open(folder / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 512)


def overwrite(path: Path, pages: range | None = None, seed: int = 0) -> None:
    """Put noise at the start of these pages of the file, by default into all but the first."""
    rng = random.Random(seed)
    with open(path, "r+b") as f:
        for page in pages or range(1, path.stat().st_size // PAGE):
            f.seek(page * PAGE)
            f.write(rng.randbytes(200))

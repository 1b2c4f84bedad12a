"""Ways to break what is stored from outside: other processes and users, small disks, damaged bytes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
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
def held(path: Path, *statements: str) -> Iterator[Callable[[], object]]:
    """Another process that has run these statements on the database and waits; gives what ends it."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, path, *statements], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.kill
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


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder every user may reach and write, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="auralis-test-"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights, if this is root; what is imported must have been imported before."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


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

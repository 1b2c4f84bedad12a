"""A file that appears whole or not at all. Knows nothing about what is written into it."""

from __future__ import annotations

import os
import secrets
from os import PathLike
from pathlib import Path


class Replacement:
    """A temporary file beside `path` that takes its name on :meth:`commit`.

    The temporary has a hidden name and the permissions any new file would have. Every method may
    raise `OSError`; a failed commit leaves the old file and no temporary.

    Parameters
    ----------
    path : path-like
        The name to replace; its folder must exist and be writable.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        #: The temporary, for writers that want a name; gone after a commit.
        self.temporary = self.path.with_name(f".auralis-{secrets.token_hex(6)}.tmp")
        #: Descriptor open for reading and writing; owned by this object.
        self.fd = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def commit(self) -> None:
        """Put everything written on disk, then give it the name, then make the name durable."""
        try:
            os.fsync(self.fd)
            os.close(self.fd)
            self.fd = -1
            os.replace(self.temporary, self.path)
        except OSError:
            self.discard()
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Drop what was written; the file at `path` is untouched. Harmless after a commit."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self.temporary.unlink(missing_ok=True)

"""What can go wrong, as types. Wrong arguments are plain `ValueError`s that name the argument."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Literal

SidecarFault = Literal["missing", "stale", "damaged", "unwritable"]
DatasetFault = Literal["busy", "damaged", "foreign", "full", "newer", "other", "read-only", "unknown"]


class AuralisError(Exception):
    """Base of every error Auralis raises about data.

    Parameters
    ----------
    message : str
        One line for a person, without the path.
    path : path-like, optional
        The file the error is about; prefixed to the message by ``str()``.
    """

    def __init__(self, message: str, path: str | PathLike[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else fspath(path)

    def __str__(self) -> str:
        return self.message if self.path is None else f"{self.path}: {self.message}"


class AudioReadError(AuralisError):
    """The file is missing, unreadable, truncated or cannot be decoded."""


class AudioFormatError(AuralisError):
    """The file decodes, but its rate, channel count or length is outside what Auralis handles."""


class FingerprintError(AuralisError):
    """A fingerprint could not be computed, or a stored one is incomplete or out of range."""


class GeneratorError(AuralisError):
    """Whoever was to measure the file could not be asked or did not answer; says nothing about the file."""


class SidecarError(AuralisError):
    """A `.25d` file is missing, stale, damaged or cannot be written; `kind` is that word."""

    def __init__(
        self, message: str, path: str | PathLike[str] | None = None, kind: SidecarFault = "damaged"
    ) -> None:
        super().__init__(message, path)
        self.kind: SidecarFault = kind


class StateError(AuralisError):
    """Saved bytes are not a state this chain can continue from: foreign, damaged, or another plan's."""


class DatasetError(AuralisError):
    """The SQLite dataset cannot be opened, read or written; `kind` says what stands in the way."""

    def __init__(
        self, message: str, path: str | PathLike[str] | None = None, kind: DatasetFault = "other"
    ) -> None:
        super().__init__(message, path)
        self.kind: DatasetFault = kind

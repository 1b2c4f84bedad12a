"""The `.25d` file beside the audio: one fingerprint that survives a lost database.

One line of UTF-8 JSON, flat: ``format``, ``source`` (which file was measured), ``version``, the 25
numbers by name, what is carried beside them by name, ``flags``, and last ``crc32``, eight hex digits
over every byte before ``,"crc32"``. A sidecar is valid only for exactly the file it names: size,
modification time and a hash of its first and last 64 KiB must agree, and so must the fingerprint
version. Anything else is a `SidecarError` that says why; nothing here measures or falls back.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from .atomic import Replacement
from .errors import FingerprintError, SidecarError
from .schema import FINGERPRINT_VERSION, Fingerprint

FORMAT = "auralis-25d/1"
SUFFIX = ".25d"

#: A sidecar is never larger than this, and nothing larger is read.
MAX_BYTES = 16384

_EDGE = 65536
_TAIL = b',"crc32":"'
# The folder exists but may not be written.
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class Source:
    """Which bytes were measured: length, modification time, hash of both ends and the length."""

    size: int
    mtime_ns: int
    hash: str

    @classmethod
    def of(cls, audio: str | PathLike[str]) -> Source:
        """Identify the file at `audio`; raises `OSError`."""
        with open(audio, "rb") as f:
            status = os.fstat(f.fileno())
            digest = hashlib.blake2b(f.read(_EDGE), digest_size=16)
            f.seek(max(0, status.st_size - _EDGE))
            digest.update(f.read(_EDGE))
        digest.update(str(status.st_size).encode())
        return cls(status.st_size, status.st_mtime_ns, digest.hexdigest())


def path_for(audio: str | PathLike[str], cache: str | PathLike[str] | None = None) -> Path:
    """The sidecar of `audio`: beside it, or in the folder `cache` under a name made from its path."""
    if cache is None:
        return Path(os.fspath(audio) + SUFFIX)
    name = hashlib.blake2b(os.fsencode(os.path.realpath(audio)), digest_size=16).hexdigest()
    return Path(cache) / (name + SUFFIX)


def read(audio: str | PathLike[str], cache: str | PathLike[str] | None = None) -> Fingerprint:
    """The fingerprint stored for the file at `audio`.

    Parameters
    ----------
    audio : path-like
    cache : path-like, optional
        Looked in when there is no valid sidecar beside the audio.

    Raises
    ------
    SidecarError
        With `kind` "missing", "stale" (other file or other version) or "damaged".
    """
    try:
        return _read(audio, path_for(audio))
    except SidecarError as e:
        if cache is None:
            raise
        beside = e
    try:
        return _read(audio, path_for(audio, cache))
    except SidecarError as e:
        raise (e if beside.kind == "missing" else beside) from e


def is_current(audio: str | PathLike[str], cache: str | PathLike[str] | None = None) -> bool:
    """Whether a sidecar of this version, whole and of the file's size and time, is there.

    Tells without opening the audio; only :func:`read` makes sure of its content.
    """
    places = [path_for(audio)] if cache is None else [path_for(audio), path_for(audio, cache)]
    for place in places:
        with suppress(SidecarError, OSError):
            data, source = _parse(place)
            status = os.stat(audio)
            if (source.size, source.mtime_ns) == (status.st_size, status.st_mtime_ns):
                return bool(data["version"] == FINGERPRINT_VERSION)
    return False


def _read(audio: str | PathLike[str], path: Path) -> Fingerprint:
    data, stored = _parse(path)
    if data["version"] != FINGERPRINT_VERSION:
        raise SidecarError(f"fingerprint version {data['version']}, not {FINGERPRINT_VERSION}", path, "stale")
    try:
        actual = Source.of(audio)
    except OSError as e:
        raise SidecarError(f"the audio file cannot be read: {e.strerror}", path, "stale") from e
    for name, then in asdict(stored).items():
        if getattr(actual, name) != then:
            raise SidecarError(f"the audio file has changed since ({name})", path, "stale")
    try:
        return Fingerprint.from_dict({**data, **data["source"], "dimensions": data, "extras": data})
    except FingerprintError as e:
        raise SidecarError(e.message, path) from e


def _parse(path: Path) -> tuple[dict[str, Any], Source]:
    """What the file at `path` says, and of which audio, once its check sum is right."""
    body, mark, tail = _load(path).rpartition(_TAIL)
    if not mark or tail.rstrip(b"\n") != b'%08x"}' % zlib.crc32(body):
        raise SidecarError("the checksum does not match", path)
    try:
        data: dict[str, Any] = json.loads(body + b"}")
        if data["format"] != FORMAT:
            raise SidecarError(f"unknown format {data['format']!r}", path)
        source = data["source"]
        return {"version": None, **data}, Source(source["size"], source["mtime_ns"], source["hash"])
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise SidecarError(f"incomplete: {e!r}", path) from e


def _load(path: Path) -> bytes:
    """Up to `MAX_BYTES` of a regular file; a link or a pipe of that name is not opened, or not waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(fd, "rb") as f:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise SidecarError("not a regular file", path)
            raw = f.read(MAX_BYTES + 1)
    except FileNotFoundError as e:
        raise SidecarError("there is no sidecar", path, "missing") from e
    except OSError as e:
        reason = "is a symbolic link" if e.errno == errno.ELOOP else f"cannot be read: {e.strerror}"
        raise SidecarError(reason, path) from e
    if len(raw) > MAX_BYTES:
        raise SidecarError(f"larger than {MAX_BYTES} bytes", path)
    return raw


def write(
    audio: str | PathLike[str],
    fingerprint: Fingerprint,
    cache: str | PathLike[str] | None = None,
    source: Source | None = None,
) -> Path:
    """Store `fingerprint` for the file at `audio`, atomically and durably.

    Parameters
    ----------
    audio : path-like
    fingerprint : Fingerprint
    cache : path-like, optional
        Used, and made, when the folder of the audio may not be written.
    source : Source, optional
        The file as it was before it was measured; by default as it is now.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    SidecarError
        With `kind` "unwritable".
    """
    raw = _encode(fingerprint, source or _identify(audio))
    path = path_for(audio)
    try:
        try:
            _store(path, raw)
        except OSError as e:
            if cache is None or e.errno not in _READ_ONLY:
                raise
            path = path_for(audio, cache)
            path.parent.mkdir(parents=True, exist_ok=True)
            _store(path, raw)
    except OSError as e:
        raise SidecarError(f"cannot be written: {e.strerror}", path, "unwritable") from e
    return path


def _identify(audio: str | PathLike[str]) -> Source:
    try:
        return Source.of(audio)
    except OSError as e:
        raise SidecarError(f"the audio file cannot be read: {e.strerror}", audio, "unwritable") from e


def _encode(fingerprint: Fingerprint, source: Source) -> bytes:
    flat = fingerprint.to_dict()
    shape = {name: flat.pop(name) for name in ("frames", "sample_rate", "channels")}
    dimensions, extras, flags = flat.pop("dimensions"), flat.pop("extras"), flat.pop("flags")
    body = {
        "format": FORMAT,
        "source": {**asdict(source), **shape},
        **flat,
        **dimensions,
        **extras,
        "flags": flags,
    }
    text = json.dumps(body, allow_nan=False, separators=(",", ":")).encode().removesuffix(b"}")
    raw = text + _TAIL + b'%08x"}\n' % zlib.crc32(text)
    if len(raw) > MAX_BYTES:
        raise SidecarError(f"would be larger than {MAX_BYTES} bytes", kind="unwritable")
    return raw


def _store(path: Path, raw: bytes) -> None:
    target = Replacement(path)
    try:
        with open(target.fd, "wb", closefd=False) as f:  # all of it, or an error
            f.write(raw)
        target.commit()
    finally:
        target.discard()

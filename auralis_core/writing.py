"""Audio files out: block by block, whole or not at all. The only place samples are interleaved for a file.

libsndfile's own float to integer conversion is not used (`quantise.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from .atomic import Replacement
from .errors import AudioReadError
from .formats import BLOCK, format_for, pcm_bits, reason
from .quantise import Quantiser


class AudioWriter:
    """Writes one file block by block; the name appears only when the file is complete.

    Used as a context manager it keeps the file on success and leaves nothing behind on an error.
    Integer formats are quantised by rounding to nearest and clipped at full scale.

    Parameters
    ----------
    path : path-like
        Replaced atomically if it exists.
    sample_rate, channels : int
    format : str, optional
        libsndfile's name; by default from the suffix of `path`.
    subtype : str, optional
        For example ``PCM_16``, ``PCM_24``, ``FLOAT``; by default the format's own default.
    dither : bool
        Add triangular noise of two steps peak to peak before quantising to 16 bits or fewer. For
        processed audio only: untouched samples stay bit-identical without it. The noise is the same
        in every run.
    tags : mapping, optional
        ``title``, ``artist``, ``album`` and the like, where the format has them.

    Raises
    ------
    ValueError
        The suffix names no format, or the format cannot hold the subtype, rate or channel count.
    AudioReadError
        The folder is missing or cannot be written.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        sample_rate: int,
        channels: int,
        format: str | None = None,
        subtype: str | None = None,
        *,
        dither: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.format = format or format_for(path)
        self.subtype = subtype or soundfile.default_subtype(self.format)
        self.channels = channels
        if self.subtype is None or not soundfile.check_format(self.format, self.subtype):
            raise ValueError(f"subtype {self.subtype} does not exist in {self.format}")
        bits = pcm_bits(self.subtype)
        self._quantise = None if bits is None else Quantiser(bits, dither and bits <= 16)
        try:
            self._target = Replacement(path)
        except OSError as e:
            raise AudioReadError(f"cannot be written: {e.strerror}", self.path) from e
        try:
            self._file: soundfile.SoundFile = soundfile.SoundFile(
                self._target.fd, "w", sample_rate, channels, self.subtype, format=self.format, closefd=False
            )
            for name, text in (tags or {}).items():
                setattr(self._file, name, text)
        except (soundfile.LibsndfileError, ValueError, TypeError) as e:
            self._target.discard()
            raise ValueError(
                f"{self.format} {self.subtype} cannot hold {channels} channels at {sample_rate} Hz"
            ) from e
        self._open = True

    def write(self, x: NDArray[np.float32]) -> None:
        """Append a block, float32 (channels, frames)."""
        if x.ndim != 2 or x.shape[0] != self.channels:
            raise ValueError(f"x must have shape ({self.channels}, frames), got {x.shape}")
        for start in range(0, x.shape[1], BLOCK):
            block = np.ascontiguousarray(x[:, start : start + BLOCK].T)
            try:
                self._file.write(block if self._quantise is None else self._quantise(block))
            except soundfile.LibsndfileError as e:
                raise AudioReadError(f"cannot be written: {reason(e)}", self.path) from e

    def close(self) -> None:
        """Finish the file and give it its name."""
        if not self._open:
            return
        self._open = False
        try:
            self._file.close()
            self._target.commit()
        except (OSError, soundfile.LibsndfileError) as e:
            self._target.discard()
            raise AudioReadError(f"cannot be written: {e}", self.path) from e

    def discard(self) -> None:
        """Drop everything written; the name at `path` is untouched."""
        if not self._open:
            return
        self._open = False
        self._file.close()
        self._target.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def write(
    path: str | PathLike[str], x: NDArray[np.float32], sample_rate: int, subtype: str | None = None
) -> None:
    """Write a whole signal, float32 (channels, frames), as :class:`AudioWriter` does."""
    with AudioWriter(path, sample_rate, x.shape[0], subtype=subtype) as writer:
        writer.write(x)

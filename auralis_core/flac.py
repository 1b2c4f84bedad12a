"""A FLAC stream made while it is being sent: samples in, bytes out, nothing kept.

The encoder is libsndfile's, writing into memory. A finished file would go back and enter length,
frame sizes and MD5 in its first block. A stream cannot; the length is known beforehand and entered on
the way out, and the rest stays 0, which FLAC defines as unknown.
"""

from __future__ import annotations

from typing import Any

import soundfile
from numpy.typing import NDArray

_STREAMINFO_END = 42  # 4 of signature, 4 of block header, 34 of block
_LENGTH = slice(21, 26)  # its lowest 36 bits


class _Memory:
    """What libsndfile takes for a file; what it writes behind the end is kept until taken."""

    def __init__(self) -> None:
        self.fresh = bytearray()
        self._at = self._end = 0

    def write(self, data: Any) -> int:
        n = len(data)
        if self._at == self._end:
            self.fresh += data
            self._end += n
        self._at += n  # else it goes back to a header that has been sent
        return n

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._end)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, n: int) -> bytes:
        raise OSError("a stream that is being written cannot be read")


class FlacStream:
    """Encodes one track.

    Parameters
    ----------
    frames, sample_rate, channels : int
    subtype : str
        ``PCM_16`` or ``PCM_24``.
    """

    def __init__(self, frames: int, sample_rate: int, channels: int, subtype: str = "PCM_16") -> None:
        self._memory = _Memory()
        self._frames = frames
        self._begun = False
        self._file = soundfile.SoundFile(
            self._memory, "w", sample_rate, channels, subtype, format="FLAC", closefd=False
        )

    def feed(self, steps: NDArray[Any]) -> bytes:
        """Encode steps (frames, channels) as `quantise.Quantiser` makes them; the bytes that are ready."""
        self._file.write(steps)
        return self._take()

    def finish(self) -> bytes:
        """The last bytes. Nothing may be fed afterwards."""
        self._file.close()
        return self._take()

    def close(self) -> None:
        """Give the encoder back, finished or not."""
        self._file.close()

    def _take(self) -> bytes:
        if not self._begun and len(self._memory.fresh) >= _STREAMINFO_END:
            known = int.from_bytes(self._memory.fresh[_LENGTH], "big") >> 36 << 36
            total = self._frames if self._frames < 1 << 36 else 0
            self._memory.fresh[_LENGTH] = (known | total).to_bytes(5, "big")
            self._begun = True
        data = bytes(self._memory.fresh)
        self._memory.fresh.clear()
        return data

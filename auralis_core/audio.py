"""Audio files in; writing them (`writing.py`) is to be had here too.

Everything leaves here as float32 C-contiguous ``(channels, frames)``, exactly as the decoder gave
it: no resampling, no clean-up of NaN or infinities. What a sample means is decided elsewhere.

Where libsndfile (1.2.2) is not to be trusted, this file is, and ``tests/core/test_audio.py`` shows
each case on a real file:

- soundfile seeks after every read, which breaks the bit reservoir of MPEG-2 MP3 files: `_Stream`
  reads straight on.
- the second seek on one handle of a lossy file may give other samples (Vorbis: up to 1000 frames off,
  one in ten; MP3: one in a hundred), and lossy codecs need the packets before the target: such files
  are reopened, entered `PRE_ROLL` frames early and decoded up to the target. MPEG-2 MP3 then agrees to
  one unit in the last place, all others to the bit. The price for MP3 is a walk over all frame headers
  before the target: 13 ms in a 4-minute track, .2 s in an hour.
- an MP3 without a length in its first frame is estimated from that frame's bit rate, up to eight
  times too long, or cut short: its frames are counted and libsndfile is told (`mpeg.py`). A FLAC
  stream without a length is decoded once to count it.
- PCM with less data than the header promises is shortened silently: the promise is read back from
  libsndfile's log, so that every truncated file ends in the same `AudioReadError`. Ogg promises no
  length, but a file that ends inside a page was cut (`ogg.py`): whoever reads on to its end is told.
- an Opus page whose stamp lies before its samples (ffmpeg writes such pages from Vorbis sources) is
  taken for damage: what follows is at an unknown frame and is not delivered.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from os import PathLike
from typing import Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from .errors import AudioFormatError, AudioReadError, AuralisError
from .formats import BLOCK, FORMATS, AudioInfo, format_for, pcm_bits, reason, subtype_for
from .mpeg import MeasuredMpeg
from .ogg import is_cut
from .writing import AudioWriter, write

__all__ = [
    "BLOCK",
    "FORMATS",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "blocks",
    "format_for",
    "pcm_bits",
    "probe",
    "subtype_for",
    "write",
]

MAX_CHANNELS = 8
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8000, 192000

#: Frames decoded and dropped before the target of a seek in a lossy file: more than the longest
#: Vorbis block (8192), the Opus convergence time (80 ms) and the MP3 bit reservoir (9 × 1152).
PRE_ROLL = 16384

_LOSSY = ("VORBIS", "OPUS", "MPEG")

# A length field at or above this was written by a program that did not know the length.
_UNKNOWN_BYTES = 0x7FFFE000
_PROMISE = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile ships no types
    """A SoundFile that reads straight on instead of seeking to where it already is."""

    def seekable(self) -> bool:
        return False


class AudioReader:
    """Reads one file from any frame in blocks of any size; the same frame is always the same bits.

    Not for two threads at once.

    Parameters
    ----------
    path : path-like
        A regular file in any format libsndfile decodes.

    Raises
    ------
    AudioReadError
        Missing, unreadable, not audio.
    AudioFormatError
        Empty, more than 8 channels, or a rate outside 8–192 kHz.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._position = 0
        self._damage: str | None = None
        self._mpeg: MeasuredMpeg | None = None
        try:
            # Non-blocking, so that opening a pipe by mistake returns and can be refused.
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as e:
            raise AudioReadError(e.strerror or "cannot be opened", self._path) from e
        self._file: _Stream | None = None
        try:
            mode = os.fstat(self._fd)
            if not stat.S_ISREG(mode.st_mode):
                raise AudioReadError("not a regular file", self._path)
            if mode.st_size == 0:
                raise AudioFormatError("the file is empty", self._path)
            self._mpeg = MeasuredMpeg.of(self._fd)
            self._file = self._open()
            self.info = self._describe(self._file)
            self._is_cut = self.info.format == "OGG" and is_cut(self._fd)
        except AuralisError:
            self.close()
            raise
        self._scratch = np.empty((0, self.info.channels), np.float32)

    def _open(self) -> _Stream:
        os.lseek(self._fd, 0, os.SEEK_SET)
        try:
            return _Stream(self._mpeg or self._fd, closefd=False)
        except soundfile.LibsndfileError as e:
            raise AudioReadError(f"cannot be decoded: {reason(e)}", self._path) from e

    def _describe(self, file: _Stream) -> AudioInfo:
        if file.channels > MAX_CHANNELS:
            raise AudioFormatError(f"{file.channels} channels are more than {MAX_CHANNELS}", self._path)
        if not MIN_SAMPLE_RATE <= file.samplerate <= MAX_SAMPLE_RATE:
            raise AudioFormatError(f"sample rate {file.samplerate} Hz is outside 8–192 kHz", self._path)
        frames = self._length(file)
        if frames == 0:
            raise AudioFormatError("the file holds no audio frames", self._path)
        return AudioInfo(self._path, frames, file.samplerate, file.channels, file.format, file.subtype)

    def _length(self, file: _Stream) -> int:
        """Frames the file promises; what libsndfile reports, where that is known to be right."""
        frames: int = file.frames
        if frames >= 1 << 62:
            return self._count(self._open())
        promise = _PROMISE.search(file.extra_info)
        if promise and frames > 0:
            # AIFF counts the eight bytes in front of its samples.
            promised, present = (int(x) - 8 * (promise[0].lstrip()[0] == "S") for x in promise.groups())
            if present < promised < _UNKNOWN_BYTES:
                width = present // frames
                frames = promised // width if width else promised * frames // present
        return frames

    def _count(self, file: _Stream) -> int:
        buffer = np.empty((BLOCK, file.channels), np.float32)
        frames = 0
        with file:
            while (k := self._decode(file, buffer)) > 0:
                frames += k
        # The descriptor is shared with the handle in use, which goes back to its start.
        if self._file is not None:
            self._file.close()
        self._file = self._open()
        return frames

    @property
    def frames(self) -> int:
        """Length in frames."""
        return self.info.frames

    @property
    def sample_rate(self) -> int:
        """Frames per second."""
        return self.info.sample_rate

    @property
    def channels(self) -> int:
        """Samples per frame."""
        return self.info.channels

    def tell(self) -> int:
        """The frame the next `read` starts at."""
        return self._position

    def read(self, frames: int) -> NDArray[np.float32]:
        """Decode the next frames.

        Parameters
        ----------
        frames : int
            How many are wanted, ≥ 0.

        Returns
        -------
        ndarray, float32 (channels, k)
            k ≤ `frames`; less only at the end of the file or just before an error, 0 only at the end.

        Raises
        ------
        AudioReadError
            The decoder stopped before the promised end; everything decodable was delivered before.
        """
        if frames < 0:
            raise ValueError("frames must not be negative")
        file = self._stream
        wanted = min(frames, self.info.frames - self._position)
        if self._is_cut and wanted == 0 < frames:
            raise AudioReadError(
                f"truncated: the file ends inside a page after frame {self.frames}", self._path
            )
        out = np.empty((self.info.channels, wanted), np.float32)
        done = 0
        while done < wanted:
            n = min(wanted - done, BLOCK)
            if self.info.channels == 1:
                k = self._decode(file, out[0, done : done + n, None])
            else:
                if len(self._scratch) < n:
                    self._scratch = np.empty((n, self.info.channels), np.float32)
                k = self._decode(file, self._scratch[:n])
                out[:, done : done + k] = self._scratch[:k].T
            done += k
            if k < n:
                break
        self._position += done
        if done < wanted:
            if done == 0:
                kind = "truncated" if self._damage is None else f"damaged or truncated ({self._damage})"
                raise AudioReadError(
                    f"{kind}: decoding stopped at frame {self._position} of {self.info.frames}", self._path
                )
            out = np.ascontiguousarray(out[:, :done])
        return out

    @property
    def _stream(self) -> _Stream:
        if self._file is None:
            raise ValueError("the reader is closed")
        return self._file

    def _decode(self, file: _Stream, buffer: NDArray[np.float32]) -> int:
        """Fill `buffer` (frames, channels) as far as the decoder gets."""
        if self._damage is not None:
            return 0
        before = file.tell()
        try:
            return len(file.read(len(buffer), out=buffer))
        except soundfile.LibsndfileError as e:
            # A decoder that meets damage keeps its position. What it finds after the damage would
            # land at the wrong frame, so nothing after it is delivered.
            self._damage = reason(e)
            done: int = file.tell() - before
            return max(0, min(done, len(buffer)))

    def seek(self, frame: int) -> None:
        """Continue at `frame`, 0 ≤ `frame` ≤ `frames`, exactly as if everything before had been read."""
        if not 0 <= frame <= self.info.frames:
            raise ValueError(f"frame {frame} is outside 0…{self.info.frames}")
        if frame == self._position:
            return
        lossy = self.info.subtype.startswith(_LOSSY)
        if lossy or self._damage is not None:
            self._stream.close()
            self._file = self._open()
            self._damage = None
        start = max(0, frame - PRE_ROLL) if lossy else frame
        if start > 0 or not lossy:
            self._enter(start)
        self._position = start
        while self._position < frame and self.read(min(frame - self._position, BLOCK)).shape[1] > 0:
            pass

    def _enter(self, frame: int) -> None:
        try:
            self._stream.seek(frame)
        except soundfile.LibsndfileError as e:
            raise AudioReadError(f"cannot seek to frame {frame}: {reason(e)}", self._path) from e

    def close(self) -> None:
        """Release the file; closing twice is allowed."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()


def probe(path: str | PathLike[str]) -> AudioInfo:
    """What the file at `path` holds; raises as :class:`AudioReader` does."""
    with AudioReader(path) as reader:
        return reader.info


def blocks(path: str | PathLike[str], frames: int = BLOCK) -> Iterator[NDArray[np.float32]]:
    """The whole file, in order, as blocks (channels, ≤ `frames`)."""
    if frames <= 0:
        raise ValueError("frames must be positive")
    with AudioReader(path) as reader:
        while (block := reader.read(frames)).shape[1] > 0:
            yield block

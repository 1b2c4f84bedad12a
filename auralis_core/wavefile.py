"""A mastered track as a WAV file that is never written: its length is known, any bytes of it can be made.

Header and sample encoding live here; which samples there are is `pieces.py`'s, how they become steps
is `quantise.py`'s.

Up to 4 GiB the file is plain RIFF, beyond it RF64 (EBU Tech 3306), which has 64-bit lengths in a chunk
of its own; RIFF has no other honest way, since its lengths have 32 bits. More than two channels need
WAVE_FORMAT_EXTENSIBLE; its channel mask says "unspecified", for nobody here knows the speakers.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from os import PathLike
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .audio import AudioReader, pcm_bits
from .export import requantises
from .pieces import Pieces
from .plan import MasteringPlan
from .quantise import Quantiser

#: Frames made at a time: 64 KiB of 16-bit stereo.
BLOCK = 16384
#: Bytes of one sample in each encoding there is.
SUBTYPES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_GUID = bytes.fromhex("00001000800000aa00389b71")  # what follows the tag in every GUID of an encoding
_NONE = 0xFFFFFFFF


def header(frames: int, sample_rate: int, channels: int, subtype: str) -> bytes:
    """Everything in front of the samples.

    Parameters
    ----------
    frames, sample_rate, channels : int
    subtype : str
        A key of :data:`SUBTYPES`.
    """
    width = SUBTYPES[subtype]
    align = width * channels
    data = frames * align
    tag = _FLOAT if subtype == "FLOAT" else _PCM
    extensible = channels > 2
    fmt = struct.pack(
        "<HHIIHH",
        *(_EXTENSIBLE if extensible else tag, channels, sample_rate, sample_rate * align, align, 8 * width),
    )
    if extensible:
        fmt += struct.pack("<HHIHH12s", 22, 8 * width, 0, tag, 0, _GUID)
    elif tag == _FLOAT:
        fmt += struct.pack("<H", 0)
    chunks = struct.pack("<4sI", b"fmt ", len(fmt)) + fmt
    if tag == _FLOAT:
        chunks += struct.pack("<4sII", b"fact", 4, min(frames, _NONE))
    riff = 4 + len(chunks) + 8 + data + data % 2
    if riff <= _NONE:
        return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + chunks + struct.pack("<4sI", b"data", data)
    wide = struct.pack("<4sIQQQI", b"ds64", 28, riff + 36, data, frames, 0)
    return b"RF64" + struct.pack("<I4s", _NONE, b"WAVE") + wide + chunks + struct.pack("<4sI", b"data", _NONE)


class Encoder:
    """Samples of one track from any frame on, as bytes or as steps.

    16 bits are dithered whenever samples are put on a grid they were not on; an untouched 16-bit file
    comes out bit for bit. The dither belongs to the frame, so it too is the same from wherever it is asked.
    """

    def __init__(self, reader: AudioReader, plan: MasteringPlan, subtype: str) -> None:
        self.pieces = Pieces(reader, plan)
        self._channels = reader.channels
        bits = pcm_bits(subtype)
        dither = bits == 16 and requantises(plan, reader.info, subtype)
        self._quantise = None if bits is None else Quantiser(bits, dither)
        self._bits = bits

    def seek(self, frame: int) -> None:
        """Continue at `frame`."""
        self.pieces.seek(frame)
        if self._quantise is not None:
            self._quantise.seek(frame * self._channels)

    def steps(self, frames: int) -> NDArray[np.generic]:
        """The next samples, (k, channels), interleaved: int16, int32 with 24 bits at the top, or float32."""
        x = np.ascontiguousarray(self.pieces.read(frames).T)
        return x if self._quantise is None else self._quantise(x)

    def read(self, frames: int) -> bytes:
        """The same, as little-endian bytes."""
        x = self.steps(frames)
        if self._bits == 24:
            return x.astype("<i4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
        return x.astype(x.dtype.newbyteorder("<"), copy=False).tobytes()


class WaveFile:
    """The WAV file a track would be under a plan.

    Parameters
    ----------
    path : path-like
        Held open until `close`.
    plan : MasteringPlan
        Without a leveller (`pieces.settled`).
    subtype : str
        A key of :data:`SUBTYPES`.

    Raises
    ------
    AudioReadError, AudioFormatError
    """

    def __init__(self, path: str | PathLike[str], plan: MasteringPlan, subtype: str = "PCM_16") -> None:
        self._reader = AudioReader(path)
        info = self._reader.info
        self._encoder = Encoder(self._reader, plan, subtype)
        self._header = header(info.frames, info.sample_rate, info.channels, subtype)
        self._align = SUBTYPES[subtype] * info.channels
        data = info.frames * self._align
        self._end = len(self._header) + data
        #: Bytes of the whole file.
        self.size = self._end + data % 2

    def blocks(self, start: int = 0, stop: int | None = None) -> Generator[bytes, None, None]:
        """Bytes `start … stop` of the file, 0 ≤ `start` ≤ `stop` ≤ `size`, in order.

        Raises
        ------
        AudioReadError
            The file cannot be read to there; everything before was given.
        """
        stop = self.size if stop is None else stop
        at = start
        if at < len(self._header):
            block = self._header[at:stop]
            yield block
            at += len(block)
        if at < min(stop, self._end):
            frame, skip = divmod(at - len(self._header), self._align)
            self._encoder.seek(frame)
            while at < min(stop, self._end):
                block = self._encoder.read(min(BLOCK, -(-(stop - at + skip) // self._align)))
                block = block[skip : skip + stop - at]
                yield block
                at += len(block)
                skip = 0
        if at < stop:
            yield b"\0"  # chunks have even lengths

    def close(self) -> None:
        """Release the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

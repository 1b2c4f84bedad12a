"""Audio on the wire: every byte offset of a binary frame. No sockets, no policy, no JSON.

``docs/protocol.md`` says the same in prose and is the authority; the tests hold the two together. A
frame explains itself: nothing has to be matched with a message to place it.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .refusal import ProtocolError

MAGIC = 0xA5
KIND_AUDIO = 1
HEADER = struct.Struct("<4B3IQIH2B")
HEADER_BYTES = HEADER.size
MAX_CHUNK_FRAMES = 4096

FIRST_OF_EPOCH = 1
LAST_OF_TRACK = 2
TRACK_CROSSFADE = 4
PARAMETER_CROSSFADE = 8
STANDARD_PLAN = 16
CONCEALED = 32
BYPASS = 64

#: Sample formats by name: the number in the header and the dtype of the interleaved payload.
FORMATS = {"f32le": 0, "s16le": 1}
FORMAT_NAMES = {number: name for name, number in FORMATS.items()}
_DTYPES: tuple[np.dtype[Any], ...] = (np.dtype("<f4"), np.dtype("<i2"))


class Frame(NamedTuple):
    """The header of one binary frame; `position` is the stream frame of its first sample."""

    flags: int
    stream: int
    epoch: int
    seq: int
    position: int
    generation: int
    frames: int
    format: int
    channels: int


def pack_frame(frame: Frame, samples: NDArray[np.float32]) -> bytes:
    """Header and interleaved payload of one audio frame.

    Parameters
    ----------
    frame : Frame
        Its `frames` and `channels` are those of `samples`.
    samples : (channels, frames) float32
        Finite. Format 1 is quantised with triangular dither of ±1 LSB that depends on the position
        alone, so the same frame is the same bytes however often it is sent.
    """
    channels, frames = samples.shape
    if (channels, frames) != (frame.channels, frame.frames) or samples.dtype != np.float32:
        raise ValueError(f"samples: {samples.dtype} {samples.shape} does not fit {frame}")
    dtype = _DTYPES[frame.format]
    out = bytearray(HEADER_BYTES + frames * channels * dtype.itemsize)
    HEADER.pack_into(out, 0, MAGIC, KIND_AUDIO, frame.flags, HEADER_BYTES, *frame[1:])
    payload = np.frombuffer(out, dtype, offset=HEADER_BYTES).reshape(frames, channels)
    payload[...] = samples.T if dtype.kind == "f" else _quantise(samples, frame.position).T
    return bytes(out)


def _quantise(samples: NDArray[np.float32], position: int) -> NDArray[np.float32]:
    noise = np.random.Generator(np.random.Philox(key=position)).random((2, *samples.shape), np.float32)
    steps: NDArray[np.float32] = np.rint(samples * np.float32(32768) + (noise[0] - noise[1]))
    return steps.clip(-32768, 32767)


def unpack_frame(data: bytes) -> tuple[Frame, NDArray[Any]]:
    """The header and the samples, (channels, frames), of a binary frame.

    Raises
    ------
    ProtocolError
        `bad_message` if this is no audio frame or its length is not what its header says.
    """
    if len(data) < HEADER_BYTES:
        raise ProtocolError("bad_message", "binary frame shorter than its header")
    magic, kind, flags, header_len, *rest = HEADER.unpack_from(data)
    frame = Frame(flags, *rest)
    if magic != MAGIC or kind != KIND_AUDIO or header_len < HEADER_BYTES or header_len % 4:
        raise ProtocolError("bad_message", "not an audio frame")
    if frame.format >= len(_DTYPES) or not frame.channels:
        raise ProtocolError("bad_message", "unknown sample format")
    dtype = _DTYPES[frame.format]
    if len(data) != header_len + frame.frames * frame.channels * dtype.itemsize:
        raise ProtocolError("bad_message", "binary frame length does not match its header")
    samples = np.frombuffer(data, dtype, offset=header_len).reshape(frame.frames, frame.channels)
    return frame, samples.T

"""What caller and worker agree on beyond the proto: limits, keepalive, a fingerprint as a message.

Nothing here opens a connection or a file.
"""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from auralis_core import DIMENSIONS, Fingerprint, FingerprintError

from . import fingerprint_pb2 as pb

#: Largest PCM of one Block, and the largest message with its framing.
BLOCK_BYTES = 256 * 1024
MESSAGE_BYTES = BLOCK_BYTES + 1024

#: A fingerprint is under 16 KiB; nothing larger is taken for one.
ANSWER_BYTES = 64 * 1024

SERVICE = pb.DESCRIPTOR.services_by_name["FingerprintService"].full_name

_PING_MS = 10_000
_PONG_MS = 5_000

#: An idle or silent connection is tried every 10 s and given up 5 s later…
CALLER_OPTIONS: list[tuple[str, int]] = [
    ("grpc.keepalive_time_ms", _PING_MS),
    ("grpc.keepalive_timeout_ms", _PONG_MS),
    ("grpc.http2.ping_timeout_ms", _PONG_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", ANSWER_BYTES),
]

#: …which the worker must expect, or it would close the connection for too many pings.
WORKER_OPTIONS: list[tuple[str, int]] = [
    ("grpc.keepalive_time_ms", _PING_MS),
    ("grpc.keepalive_timeout_ms", _PONG_MS),
    ("grpc.http2.ping_timeout_ms", _PONG_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", _PING_MS // 2),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", _PING_MS // 2),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", ANSWER_BYTES),
    ("grpc.so_reuseport", 0),
]


def block_frames(channels: int) -> int:
    """How many frames of so many channels fit into one Block."""
    return BLOCK_BYTES // (4 * channels)


def pack_pcm(block: NDArray[np.float32]) -> bytes:
    """Samples (channels, frames) as the PCM of a Block."""
    return block.astype("<f4", copy=False).tobytes()


def unpack_pcm(pcm: bytes, channels: int) -> NDArray[np.float32]:
    """The samples (channels, frames) of a Block; `ValueError` unless it holds whole frames."""
    if not pcm or len(pcm) > BLOCK_BYTES or len(pcm) % (4 * channels):
        raise ValueError(
            f"pcm: {len(pcm)} bytes are not 1 to {BLOCK_BYTES} in whole frames of {channels} channels"
        )
    return np.frombuffer(pcm, "<f4").reshape(channels, -1).astype(np.float32, copy=False)


def pack(fp: Fingerprint) -> pb.Fingerprint:
    """A fingerprint as a message."""
    return pb.Fingerprint(
        version=fp.version,
        frames=fp.frames,
        sample_rate=fp.sample_rate,
        channels=fp.channels,
        values=fp.values,
        extras=dict(fp.extras),
        ltas_db=fp.ltas_db,
        histogram=fp.histogram,
        flags=fp.flags,
        detail_db=fp.detail_db,
    )


def unpack(message: pb.Fingerprint) -> Fingerprint:
    """The fingerprint in a message, checked as one read from a file is.

    Raises
    ------
    FingerprintError
        Incomplete, not finite, or out of range.
    """
    if len(message.values) != len(DIMENSIONS):
        raise FingerprintError(f"expected {len(DIMENSIONS)} dimensions, got {len(message.values)}")
    return Fingerprint.from_dict(
        {
            "version": message.version,
            "frames": message.frames,
            "sample_rate": message.sample_rate,
            "channels": message.channels,
            "dimensions": {d.name: x for d, x in zip(DIMENSIONS, message.values, strict=True)},
            "extras": {
                **message.extras,
                "ltas_db": message.ltas_db,
                "histogram": base64.b64encode(message.histogram),
                "detail_db": message.detail_db,
            },
            "flags": message.flags,
        }
    )

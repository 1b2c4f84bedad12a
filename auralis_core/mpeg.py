"""The length of an MP3 file whose encoder left none: its frames are walked, and a tag is put in front.

Knows MPEG audio headers and nothing else; decoding is libsndfile's. An MP3 frame is 4 bytes of
header and a length that follows from them (ISO/IEC 11172-3 2.4.2.3, 13818-3 2.4.2.3). The tag is
the customary "Xing" frame: silence, with the number of frames and bytes behind it.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
from typing import Self

_KBPS = {
    # (MPEG-1?, layer): kbit/s by bitrate index 1…14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
# What must not change from frame to frame: sync, version, layer, sample rate.
_SAME = 0xFFFE0C00
_TAGS = (b"Xing", b"Info", b"VBRI")


def _parse(header: int) -> tuple[int, int] | None:
    """(bytes, audio frames) of the MPEG frame with this 32-bit header, None if it is not one."""
    version, layer = header >> 19 & 3, 4 - (header >> 17 & 3)
    index, rate = header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or not 0 < index < 15 or rate == 3:
        return None
    sample_rate, kbps = _RATES[version][rate], _KBPS[version == 3, layer][index - 1]
    padding = header >> 9 & 1
    if layer == 1:
        return (12000 * kbps // sample_rate + padding) * 4, 384
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * 1000 * kbps // sample_rate + padding, samples


def _walk(data: mmap.mmap) -> tuple[int, int, int] | None:
    """(offset of the first MPEG frame, its header, how many follow), None when a tag already tells."""
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        a, b, c, d = data[at + 6 : at + 10]
        at += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if data[at + 5] & 0x10 else 0)
    start = first = count = 0
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        header = int.from_bytes(data[at : at + 4])
        frame = _parse(header)
        if frame is None or (count and (header ^ first) & _SAME):
            at += 1
            continue
        if not count:
            follower = int.from_bytes(data[at + frame[0] : at + frame[0] + 4])
            if (follower ^ header) & _SAME or _parse(follower) is None:
                at += 1
                continue
            if any(tag in data[at : at + 192] for tag in _TAGS):
                return None
            start, first = at, header
        if at + frame[0] > len(data):
            break
        count += 1
        at += frame[0]
    return (start, first, count) if count else None


class MeasuredMpeg(io.RawIOBase):
    """The MP3 open at `fd` as a file that begins with a tag stating its length.

    Made by :meth:`of`; reads through the descriptor, which it does not own.
    """

    def __init__(self, fd: int, start: int, header: int, count: int) -> None:
        self._fd, self._start, self._at = fd, start, 0
        size = os.fstat(fd).st_size - start
        # No CRC, no padding, and a bit rate whose frame has room: 32 bytes of side information at
        # most, then name, flags, frames, bytes.
        header = (header | 0x10000) & ~0x200
        index = next(i for i in range(1, 15) if (f := _parse(header & ~0xF000 | i << 12)) and f[0] >= 64)
        header = header & ~0xF000 | index << 12
        frame = _parse(header)
        assert frame is not None
        mono, mpeg1 = header >> 6 & 3 == 3, header >> 19 & 3 == 3
        side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
        tag = header.to_bytes(4) + bytes(side) + struct.pack(">4s3I", b"Xing", 3, count, size + frame[0])
        self._head = tag.ljust(frame[0], b"\0")
        self._size = len(self._head) + size

    @classmethod
    def of(cls, fd: int) -> Self | None:
        """The file open at `fd` with its length measured; None when its own first frame tells, or when
        no two MPEG frames follow each other (free format) and the decoder's estimate is the best there is.
        """
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data:
            found = _walk(data)
        return None if found is None else cls(fd, *found)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        head = self._head[self._at : self._at + len(view)]
        view[: len(head)] = head
        done = len(head)
        if done < len(view):
            offset = self._start + self._at + done - len(self._head)
            done += os.preadv(self._fd, [view[done:]], offset)
        self._at += done
        return done

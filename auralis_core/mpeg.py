"""MP3 files that do not tell their length: their frames are counted, and a tag is put in front.

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
# Bytes after the ID3 tags in which an MP3 file must show its first frame.
_SEARCH = 65536


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


def _first(data: mmap.mmap) -> tuple[int, int, int] | None:
    """(offset, header, bytes) of the first MPEG frame that another like it follows."""
    at = 0
    if data[:3] != b"ID3" and _parse(int.from_bytes(data[:4])) is None:
        return None
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        a, b, c, d = data[at + 6 : at + 10]
        at += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if data[at + 5] & 0x10 else 0)
    end = at + _SEARCH
    while (at := data.find(b"\xff", at, end)) >= 0 and at + 4 <= len(data):
        header = int.from_bytes(data[at : at + 4])
        if frame := _parse(header):
            follower = int.from_bytes(data[at + frame[0] : at + frame[0] + 4])
            if not (follower ^ header) & _SAME and _parse(follower):
                return at, header, frame[0]
        at += 1
    return None


def _count(data: mmap.mmap, at: int, first: int) -> int:
    """MPEG frames of the kind of `first` from `at` on, whatever lies between them."""
    count = 0
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        header = int.from_bytes(data[at : at + 4])
        frame = _parse(header)
        if frame is None or (header ^ first) & _SAME:
            at += 1
            continue
        if at + frame[0] > len(data):
            break
        count += 1
        at += frame[0]
    return count


def _tag(header: int, count: int, size: int) -> bytes:
    """A frame of silence like those of `header` that says: `count` frames in `size` bytes follow."""
    # No CRC, no padding, and a bit rate whose frame has room: 32 bytes of side information at most,
    # then name, flags, frames, bytes.
    header = (header | 0x10000) & ~0x200
    for index in range(1, 15):
        header = header & ~0xF000 | index << 12
        frame = _parse(header)
        if frame and frame[0] >= 64:
            break
    assert frame is not None
    mono, mpeg1 = header >> 6 & 3 == 3, header >> 19 & 3 == 3
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    tag = header.to_bytes(4) + bytes(side) + struct.pack(">4s3I", b"Xing", 3, count, size + frame[0])
    return tag.ljust(frame[0], b"\0")


class MeasuredMpeg(io.RawIOBase):
    """The MP3 open at `fd` as a file that begins with a true tag: `head`, then everything from `start`.

    Made by :meth:`of`; reads through the descriptor, which it does not own.
    """

    def __init__(self, fd: int, head: bytes, start: int) -> None:
        self._fd, self._head, self._start, self._at = fd, head, start, 0
        self._size = len(head) + os.fstat(fd).st_size - start

    @classmethod
    def of(cls, fd: int) -> Self | None:
        """The file open at `fd` with its length measured, or None when it needs no help.

        That is when it is no MP3 file, when its own tag tells, or when no two MPEG frames follow each
        other (free format) and the decoder's estimate is the best there is. A tag that promises more
        bytes than there are keeps its number of frames; the bytes are corrected, or the decoder would
        talk to stderr.
        """
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data:
            found = _first(data)
            if found is None:
                return None
            at, header, length = found
            there = len(data) - at
            head = bytearray(data[at : at + length])
            mark = max(head.find(b"Xing"), head.find(b"Info"))
            if mark < 0:
                if b"VBRI" in head:
                    return None
                return cls(fd, _tag(header, _count(data, at, header), there), at)
            flags = int.from_bytes(head[mark + 4 : mark + 8])
            field = mark + 8 + 4 * (flags & 1)
            promised = int.from_bytes(head[field : field + 4])
            if not flags & 2 or promised <= there:
                return None
            head[field : field + 4] = there.to_bytes(4)
            return cls(fd, bytes(head), at + length)

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

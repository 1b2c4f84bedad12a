"""Whether an Ogg file ends where a page ends (RFC 3533). Knows pages, not what they carry.

Ogg promises no length, but every page promises its own: a download that broke off nearly always broke
off inside one. A recording of a stream that was switched off ends after a whole page; nothing was
promised and nothing is missing.
"""

from __future__ import annotations

import os

_HEADER = 27
#: The longest page: header, 255 segment lengths, 255 segments of 255 bytes.
_LONGEST = _HEADER + 255 + 255 * 255
_MARK = b"OggS\0"


def is_cut(fd: int) -> bool:
    """Whether the last page is shorter than it says; what follows a whole last page is not looked at."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, _HEADER, 0)
    if not head.startswith(_MARK):
        return False
    tail = os.pread(fd, _LONGEST, max(0, size - _LONGEST))
    at = len(tail)
    while (at := tail.rfind(_MARK, 0, at)) >= 0:
        page = tail[at:]
        if len(page) < _HEADER:
            return True
        if page[5] > 7:
            continue  # the mark by chance: a page has three flags
        table = page[_HEADER : _HEADER + page[26]]
        end = _HEADER + page[26] + sum(table)
        return len(page) < end or (0 < len(page) - end < _HEADER and _MARK.startswith(page[end : end + 5]))
    # Not one page in the longest page's length: the end of something else.
    return True

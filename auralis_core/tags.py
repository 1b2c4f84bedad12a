"""What a file says of itself: title, artist, album, place on it, picture. The only user of tinytag."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from os import PathLike, fspath

log = logging.getLogger(__name__)

#: Largest picture handed out, in bytes.
MOST_ARTWORK = 8 << 20


@dataclass(frozen=True, slots=True)
class Tags:
    """Clean text, empty where nothing is said; numbers are 0 then."""

    title: str = ""
    artist: str = ""
    album: str = ""
    album_artist: str = ""
    disc: int = 0
    track: int = 0


def read(path: str | PathLike[str]) -> Tags:
    """The tags of the file at `path`; none when there are none, or none that make sense."""
    # Here, not above: only what reads tags pays for the import.
    from tinytag import TinyTag, TinyTagException

    try:
        tag = TinyTag.get(fspath(path), duration=False)
    except TinyTagException as e:
        log.debug("%s: no tags: %s", path, e)
        return Tags()
    return Tags(
        title=_clean(tag.title),
        artist=_clean(tag.artist or tag.albumartist),
        album=_clean(tag.album),
        album_artist=_clean(tag.albumartist),
        disc=tag.disc or 0,
        track=tag.track or 0,
    )


def artwork(path: str | PathLike[str]) -> tuple[str, bytes] | None:
    """The picture in the tags of a file, and its media type; None without one.

    The type follows from the first bytes, not from what the tags say: JPEG, PNG, WebP or GIF, at most
    `MOST_ARTWORK` long, and nothing else.
    """
    from tinytag import TinyTag, TinyTagException

    try:
        image = TinyTag.get(fspath(path), tags=True, duration=False, image=True).images.any
    except (TinyTagException, OSError) as e:
        log.debug("%s: no picture: %s", path, e)
        return None
    data = None if image is None else image.data
    if not data or len(data) > MOST_ARTWORK:
        return None
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp", data
    for start, kind in ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF8", "gif")):
        if data.startswith(start):
            return f"image/{kind}", data
    return None


def _clean(text: str | None) -> str:
    return (text or "").replace("\0", " ").encode("utf-8", "replace").decode().strip()

"""What a file says of itself: title, artist, album and place on it. The only user of tinytag."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from os import PathLike, fspath

log = logging.getLogger(__name__)


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


def _clean(text: str | None) -> str:
    return (text or "").replace("\0", " ").encode("utf-8", "replace").decode().strip()

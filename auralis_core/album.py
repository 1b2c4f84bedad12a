"""An album heard as one piece: its loudness and what it needs, so that one gain serves all its tracks.

The album is its tracks in order, one after the other, through one extractor: gates, range and peak are
those of the whole, not means over tracks. Tracks of another rate or channel count are fitted to the
first one's rate and the most channels there are.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import lwrp, sidecar, tags
from .audio import BLOCK, AudioReader
from .errors import AuralisError, SidecarError
from .features import FeatureExtractor
from .fit import Fitted
from .library import Failure, find
from .plan import PRESETS
from .schema import Fingerprint

#: An album is never raised so far that a peak of it would pass this; a limiter would bend its relations.
CEILING_DBTP = -1.0

#: Where a quiet album is raised to.
TARGET_LUFS = PRESETS["adaptive"].target

_DISC = re.compile(r"(cd|dis[ck])\W*(\d{1,3})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Album:
    """Files that belong together, in playing order."""

    title: str
    artist: str
    folder: str
    paths: tuple[str, ...]
    titles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured of an album, and decided."""

    album: Album
    whole: Fingerprint
    tracks: tuple[Fingerprint, ...]

    @property
    def decision(self) -> lwrp.Decision:
        """What the album needs as a whole."""
        return lwrp.decide(self.whole.lufs, self.whole.crest_db)

    @property
    def gain_db(self) -> float:
        """The one gain for every track: the decision's trim, or a quiet album's way to `TARGET_LUFS`."""
        if self.decision.region != lwrp.Region.QUIET:
            return self.decision.gain_db
        headroom = CEILING_DBTP - self.whole.extras["true_peak_dbtp"]
        return min(TARGET_LUFS - self.whole.lufs, max(0.0, headroom))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; each track's own decision stands beside it."""
        each = lwrp.decide_many([t.lufs for t in self.tracks], [t.crest_db for t in self.tracks])
        rows = zip(self.album.paths, self.album.titles, self.tracks, *each, strict=True)
        return {
            "album": self.album.title,
            "artist": self.album.artist,
            "folder": self.album.folder,
            **_levels(self.whole),
            "decision": _decision(*self.decision),
            "gain_db": self.gain_db,
            "tracks": [
                {"path": path, "title": title, **_levels(fp), **_decision(*decision)}
                for path, title, fp, *decision in rows
            ],
        }


def _levels(fp: Fingerprint) -> dict[str, float]:
    names = ("loudness_range", "true_peak_dbtp")
    return {"duration": fp.duration, "lufs": fp.lufs, "crest_db": fp.crest_db} | {
        name: fp.extras[name] for name in names
    }


def _decision(region: str, expansion: float, gain_db: float) -> dict[str, Any]:
    return {"region": str(region), "expansion": float(expansion), "gain_db": float(gain_db)}


def albums(folder: str | PathLike[str], failed: list[Failure] | None = None) -> list[Album]:
    """The albums below `folder`: tracks of one album tag in one folder, or else all of a folder.

    Folders that are discs of one album ("CD 2") count as the folder they are in. Within an album: by
    disc, track number and name.

    Raises
    ------
    AudioReadError
        `folder` is missing.
    """
    groups: defaultdict[tuple[str, str], list[tuple[tags.Tags, str]]] = defaultdict(list)
    for path in find(folder, failed):
        at, tag = os.path.dirname(path), tags.read(path)
        if disc := _DISC.fullmatch(os.path.basename(at)):
            at = os.path.dirname(at)
            tag = replace(tag, disc=tag.disc or int(disc[2]))
        groups[at, tag.album.casefold()].append((tag, path))
    return [_album(at, members) for (at, _), members in sorted(groups.items())]


def _album(folder: str, members: list[tuple[tags.Tags, str]]) -> Album:
    members.sort(key=lambda member: (member[0].disc, member[0].track, member[1]))
    first = members[0][0]
    artists = {tag.artist for tag, _ in members}
    return Album(
        title=first.album or os.path.basename(folder),
        artist=first.album_artist or (first.artist if len(artists) == 1 else ""),
        folder=folder,
        paths=tuple(path for _, path in members),
        titles=tuple(tag.title or Path(path).stem for tag, path in members),
    )


def measure(
    album: Album, failed: list[Failure], progress: Callable[[str], object] | None = None
) -> Reading | None:
    """Measure an album in one pass over its files; one that fails is left out, and None if all do."""
    shapes = []
    for path in album.paths:
        try:
            with AudioReader(path) as reader:
                shapes.append((reader.sample_rate, reader.channels))
        except AuralisError as e:
            failed.append(Failure(path, e.message))
            return measure(_without(album, path), failed, progress)
    if not shapes:
        return None
    whole = FeatureExtractor(shapes[0][0], max(channels for _, channels in shapes))
    tracks = []
    for path in album.paths:
        try:
            tracks.append(_hear(path, whole))
        except AuralisError as e:
            # What was heard of it is in the album already.
            failed.append(Failure(path, e.message))
            return measure(_without(album, path), failed, progress)
        if progress is not None:
            progress(path)
    return Reading(album, whole.finish(), tuple(tracks))


def _without(album: Album, path: str) -> Album:
    kept = [(p, title) for p, title in zip(album.paths, album.titles, strict=True) if p != path]
    return replace(album, paths=tuple(p for p, _ in kept), titles=tuple(title for _, title in kept))


def _hear(path: str, whole: FeatureExtractor) -> Fingerprint:
    """Feed one file to the album; its own fingerprint comes from its sidecar or from the same pass."""
    known = None
    with suppress(SidecarError):
        known = sidecar.read(path)
    with AudioReader(path) as reader:
        own = FeatureExtractor(reader.sample_rate, reader.channels)
        same = (reader.sample_rate, reader.channels) == (whole.sample_rate, whole.channels)
        hearing = [e for e, wanted in ((own, known is None), (whole, same)) if wanted]
        if hearing:
            for block in _blocks(reader):
                for extractor in hearing:
                    extractor.feed(block)
        if not same:
            for block in _blocks(Fitted(reader, whole.sample_rate, whole.channels)):
                whole.feed(block)
    return own.finish() if known is None else known


def _blocks(source: AudioReader | Fitted) -> Iterator[NDArray[np.float32]]:
    while (block := source.read(BLOCK)).shape[1]:
        yield block

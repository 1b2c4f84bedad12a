"""What audio files hold and can hold, by libsndfile's names. What is in one is `audio`'s to say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike

import soundfile

#: Most frames handed to libsndfile at once: 512 KiB of stereo, so the copy stays in cache.
BLOCK = 65536

#: File suffix to libsndfile format, for writing.
FORMATS = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aiff": "AIFF",
    ".aif": "AIFF",
    ".au": "AU",
    ".caf": "CAF",
    ".w64": "W64",
    ".rf64": "RF64",
}

#: What lossy and odd subtypes become when the target format cannot hold them.
_FALLBACK_SUBTYPES = {
    "WAV": "PCM_24",
    "FLAC": "PCM_24",
    "OGG": "VORBIS",
    "MP3": "MPEG_LAYER_III",
}

_PCM_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file says it holds. `format` and `subtype` are libsndfile's names."""

    path: str
    frames: int
    sample_rate: int
    channels: int
    format: str
    subtype: str

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


def format_for(path: str | PathLike[str]) -> str:
    """The format the suffix of `path` stands for; `ValueError` when there is none."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in FORMATS:
        raise ValueError(f"the suffix {suffix!r} names no audio format; known: {', '.join(FORMATS)}")
    return FORMATS[suffix]


def subtype_for(path: str | PathLike[str], source: AudioInfo) -> str:
    """The subtype that keeps the bit depth of `source` in a file called `path`, or the nearest there is."""
    name = format_for(path)
    if os.fspath(path).lower().endswith(".opus"):
        return "OPUS"
    if source.subtype.startswith("PCM_") or source.subtype in ("FLOAT", "DOUBLE"):
        for subtype in (source.subtype, {"PCM_U8": "PCM_S8", "PCM_S8": "PCM_U8"}.get(source.subtype)):
            if subtype and soundfile.check_format(name, subtype):
                return subtype
    return _FALLBACK_SUBTYPES.get(name) or str(soundfile.default_subtype(name))


def pcm_bits(subtype: str) -> int | None:
    """Bits of an integer subtype; None for floating point and lossy ones."""
    return _PCM_BITS.get(subtype)


def reason(error: soundfile.LibsndfileError) -> str:
    """What libsndfile has to say about a failure."""
    text = str(error.error_string).strip().rstrip(".")
    # libsndfile's words for a file that is there but looks like nothing it knows.
    if not text or text.startswith("File does not exist"):
        return "not in a format known here"
    return text

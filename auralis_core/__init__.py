"""Auralis: measure a track once, decide what it needs, make it sound better."""

from .errors import (
    AudioFormatError,
    AudioReadError,
    AuralisError,
    DatasetError,
    FingerprintError,
    SidecarError,
)
from .schema import DIMENSIONS, FINGERPRINT_VERSION, Dimension, Fingerprint

__version__ = "0.1.0"

__all__ = [
    "DIMENSIONS",
    "FINGERPRINT_VERSION",
    "AudioFormatError",
    "AudioReadError",
    "AuralisError",
    "DatasetError",
    "Dimension",
    "Fingerprint",
    "FingerprintError",
    "SidecarError",
]

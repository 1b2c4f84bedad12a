"""Auralis: measure a track once, decide what it needs, make it sound better."""

from . import lwrp
from .chain import Chain, Limiter
from .crossfade import crossfade
from .errors import (
    AudioFormatError,
    AudioReadError,
    AuralisError,
    DatasetError,
    FingerprintError,
    GeneratorError,
    SidecarError,
    StateError,
)
from .features import FeatureExtractor
from .fingerprint import fingerprint, fingerprint_array
from .meter import Meter
from .plan import PRESETS, MasteringPlan, bypass_plan, plan, standard_plan
from .render import ChunkRecord, Renderer, RendererState, render_array
from .schema import DIMENSIONS, FINGERPRINT_VERSION, Dimension, Fingerprint

__version__ = "0.1.0"

__all__ = [
    "DIMENSIONS",
    "FINGERPRINT_VERSION",
    "PRESETS",
    "AudioFormatError",
    "AudioReadError",
    "AuralisError",
    "Chain",
    "ChunkRecord",
    "DatasetError",
    "Dimension",
    "FeatureExtractor",
    "Fingerprint",
    "FingerprintError",
    "GeneratorError",
    "Limiter",
    "MasteringPlan",
    "Meter",
    "Renderer",
    "RendererState",
    "SidecarError",
    "StateError",
    "bypass_plan",
    "crossfade",
    "fingerprint",
    "fingerprint_array",
    "lwrp",
    "plan",
    "render_array",
    "standard_plan",
]

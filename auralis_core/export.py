"""One file → one mastered file, block by block: measure, plan, render, write, measure what comes out.

Memory does not grow with the length. Nothing is decided here but how samples become the bits of
the output: they are dithered whenever they are requantised to 16 bits or fewer, and never when
they pass through unchanged at a bit depth that holds them.

A lossy encoder gives back other samples than it was given, with peaks some .1 to 1 dB over the ceiling. What
it wrote is decoded and measured again, and the report says so; nothing is turned down unasked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import sidecar
from .audio import AudioInfo, AudioReader, AudioWriter, format_for, pcm_bits, subtype_for
from .errors import SidecarError
from .features import FeatureExtractor
from .fingerprint import measure
from .plan import MasteringPlan, plan, standard_plan
from .render import Renderer
from .schema import Fingerprint

#: Frames rendered at a time.
BLOCK = 65536


@dataclass(frozen=True, slots=True)
class Levels:
    """What a listener's meter would say about a whole file."""

    lufs: float
    crest_db: float
    plr_db: float
    true_peak_dbtp: float

    @classmethod
    def of(cls, fp: Fingerprint) -> Levels:
        return cls(fp.lufs, fp.crest_db, fp.extras["plr_db"], fp.extras["true_peak_dbtp"])


@dataclass(frozen=True, slots=True)
class Export:
    """What was done to one file."""

    plan: MasteringPlan
    input: Levels
    output: Levels
    frames: int
    realtime_factor: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: what ``auralis master --json`` prints."""
        return {
            "decision": self.plan.to_dict()["decision"],
            "input": asdict(self.input),
            "output": asdict(self.output),
            "frames": self.frames,
            "realtime_factor": self.realtime_factor,
            "plan": {k: v for k, v in self.plan.to_dict().items() if k not in ("decision", "notes")},
            "notes": list(self.notes),
        }


def export(
    source: str | PathLike[str],
    target_path: str | PathLike[str],
    *,
    preset: str = "adaptive",
    intensity: float = 1.0,
    target: float | None = None,
    ceiling: float = -1.0,
    subtype: str | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Export:
    """Master the file at `source` into `target_path`: same rate, channels and length.

    Parameters
    ----------
    source, target_path : path-like
        Must be different files; the format is that of the suffix of `target_path`.
    preset, intensity, target, ceiling
        As for :func:`auralis_core.plan`.
    subtype : str, optional
        Bit depth or encoding of the output; by default that of `source` where the format has it.
    progress : callable (seconds done, seconds in all), optional

    Raises
    ------
    ValueError
        A wrong argument, found before anything is decoded where that is possible.
    AudioReadError, AudioFormatError
        `source` cannot be read to its end, or `target_path` cannot be written; nothing is left behind.
    """
    format_for(target_path)
    standard_plan(preset, intensity, ceiling)
    began = time.perf_counter()
    with AudioReader(source) as reader:
        if os.path.exists(target_path) and os.path.samefile(source, target_path):
            raise ValueError("OUT is the same file as IN")
        info = reader.info
        measured = _known(source)
        decided = plan(measured, preset, intensity, target, ceiling)
        subtype = subtype.upper() if subtype else subtype_for(target_path, info)
        lossy = pcm_bits(subtype) is None and subtype not in ("FLOAT", "DOUBLE")
        meter = FeatureExtractor(info.sample_rate, info.channels)

        def take(block: NDArray[np.float32]) -> None:
            writer.write(block)
            if not lossy:
                meter.feed(block)

        with (
            Renderer(reader, decided) as renderer,
            AudioWriter(
                *(target_path, info.sample_rate, info.channels),
                subtype=subtype,
                dither=requantises(decided, info, subtype),
            ) as writer,
            ThreadPoolExecutor(1, thread_name_prefix="export") as other_core,
        ):
            # One block is written and measured while the next is decoded and rendered.
            taken = other_core.submit(lambda: None)
            while (block := renderer.read(BLOCK)).shape[1] > 0:
                taken.result()
                taken = other_core.submit(take, block)
                if progress is not None:
                    progress(renderer.position / info.sample_rate, info.duration)
            taken.result()
    output = Levels.of(measure(target_path).fingerprint if lossy else meter.finish())
    notes = decided.notes
    if lossy and decided.ceiling is not None and (over := output.true_peak_dbtp - decided.ceiling) > 0.0:
        notes += (f"{subtype} decodes to {output.true_peak_dbtp:+.2f} dBTP, {over:.2f} dB over the ceiling",)
    return Export(
        plan=decided,
        input=Levels.of(measured),
        output=output,
        notes=notes,
        frames=info.frames,
        realtime_factor=info.duration / (time.perf_counter() - began),
    )


def _known(path: str | PathLike[str]) -> Fingerprint:
    """The fingerprint from a valid sidecar, or measured now."""
    try:
        return sidecar.read(path)
    except SidecarError:
        return measure(path).fingerprint


def requantises(decided: MasteringPlan, source: AudioInfo, subtype: str) -> bool:
    """Whether samples that were not on the grid of `subtype` are put on it."""
    bits, before = pcm_bits(subtype), pcm_bits(source.subtype)
    return bits is not None and (not decided.is_identity or before is None or before > bits)

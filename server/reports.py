"""What a stream tells its client about the audio: a part's state as messages. Pure functions."""

from __future__ import annotations

import math

from auralis_core import ChunkRecord, MasteringPlan

from . import binary
from .events import Applied, AudioStreamStart, Chunk, Decision, Params, Tone, TrackStart
from .part import Part, Settings

#: The highest redrawn peak over the level, as a multiple of their mean rise: the median over the clipped
#: items of SquashBench's tuning half; a tenth of them has less than 2, a tenth more than 5.
HIGHEST_REDRAWN = 4.0


def stream_start(stream: int, epoch: int, part: Part, format: str, token: str) -> AudioStreamStart:
    """A stream begins with this part."""
    return AudioStreamStart(
        stream=stream,
        epoch=epoch,
        sample_rate=part.sample_rate,
        channels=part.channels,
        format=format,
        total_frames=part.frames,
        token=token,
    )


def track_start(stream: int, part: Part, at_frame: int) -> TrackStart:
    """From `at_frame` on this part sounds."""
    track = part.track
    return TrackStart(
        stream=stream,
        at_frame=at_frame,
        track_id=track.id,
        track_frame=at_frame - part.start,
        total_frames=part.frames,
        title=track.title,
        artist=track.artist,
        album=track.album,
        duration=part.frames / part.sample_rate,
        fingerprint="pending" if part.fp is None else "cached",
    )


def params(stream: int, epoch: int, part: Part, settings: Settings, at_frame: int) -> Params:
    """From `at_frame` on the part's newest settings are in force."""
    newest = part.newest
    plan = newest.treatment.plan
    return Params(
        stream=stream,
        epoch=epoch,
        generation=newest.generation,
        at_frame=at_frame,
        crossfade_frames=max(0, newest.crossfade - (at_frame - part.start - newest.at)),
        preset=settings.preset,
        intensity=settings.intensity,
        bypass=settings.bypass,
        standard=bool(newest.treatment.flags & binary.STANDARD_PLAN),
        decision=decision_of(plan),
        applied=applied_by(plan),
        notes=list(plan.notes),
    )


def chunk(stream: int, at_frame: int, generation: int, record: ChunkRecord) -> Chunk:
    """What was measured on the audio just before `at_frame`."""
    return Chunk(
        stream=stream,
        at_frame=at_frame,
        generation=generation,
        region=record.region,
        expansion=_finite(record.expansion),
        gain_db=_finite(record.gain_db),
        lufs_in=_finite(record.lufs_in),
        crest_in=_finite(record.crest_in),
        lufs_out=_finite(record.lufs_out),
        crest_out=_finite(record.crest_out),
        gain_reduction_db=_finite(record.gain_reduction_db),
    )


def applied_by(plan: MasteringPlan) -> Applied:
    """What a plan does, as the client is told."""
    # A NumPy scalar among them is no JSON number.
    eq = [Tone(band.kind, band.f0_hz, band.q, float(band.gain_db)) for band in plan.eq]
    highest = (1.0 + plan.depth) * (plan.curve[-1] if plan.curve else 1.0)
    if plan.clip:
        highest *= 1.0 + HIGHEST_REDRAWN * plan.clip_rise
    peaks_db = 20.0 * math.log10(highest) + plan.lift_db
    return Applied(plan.gain_db, peaks_db, plan.fill, eq, plan.level_target, plan.ceiling)


def decision_of(plan: MasteringPlan) -> Decision | None:
    """The LWRP part of a plan, as the client is told."""
    d = plan.decision
    if d is None or plan.lufs is None or plan.crest_db is None:
        return None
    return Decision(str(d.region), d.expansion, d.gain_db, plan.lufs, plan.crest_db)


def _finite(value: float) -> float | None:
    """A number JSON can carry; silence has no level."""
    return float(value) if math.isfinite(value) else None

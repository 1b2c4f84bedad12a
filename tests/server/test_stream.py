"""What is heard: every received sample against the file, or against the offline Renderer."""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise

import numpy as np
import pytest
from auralis_server import binary
from auralis_server.app import running
from auralis_server.client import Client
from auralis_server.commands import Credit, Hello, Pause, Ping, PlayEnhanced, PlayNormal, Resume, Seek, Set
from auralis_server.events import (
    AudioStreamEnd,
    AudioStreamStart,
    Chunk,
    Clear,
    Error,
    FingerprintProgress,
    Params,
    TrackStart,
)
from msgspec.structs import replace
from numpy.testing import assert_array_equal
from serving import EAGER, RATE, Heard, Library, connected, hear, is_frame, music

import auralis_core as ac
from auralis_core.dataset import Track

FADE = round(0.010 * RATE)


def faded(x: np.ndarray) -> np.ndarray:
    """`x` as it sounds after a seek: its first 10 ms rise from silence."""
    return ac.crossfade(np.zeros_like(x), np.ascontiguousarray(x), "equal_gain", 0, FADE)


def rendered(track: Track, plan: ac.MasteringPlan, start: int, stop: int) -> np.ndarray:
    """Frames start … stop of the track by `plan`, offline."""
    with ac.Renderer(track.path, plan) as r:
        r.seek(start)
        return r.read(stop - start)


def replayed(track: Track, heard: Heard, first: ac.MasteringPlan, *later: ac.MasteringPlan) -> np.ndarray:
    """The track offline, with plans changed where the stream said it changed them."""
    changes = heard.all(Params)[1:]
    assert len(changes) == len(later)
    pieces = []
    with ac.Renderer(track.path, first) as r:
        for change, plan in zip(changes, later, strict=True):
            pieces.append(r.read(change.at_frame - r.position))
            r.set_plan(plan, crossfade=change.crossfade_frames)
        pieces.append(r.read(r.frames))
    return np.concatenate(pieces, axis=1)


def assert_in_order(heard: Heard) -> None:
    """Headers that follow on from one another within an epoch."""
    for (a, _), (b, _) in pairwise(heard.frames):
        assert b.seq == a.seq + 1
        assert b.epoch >= a.epoch
        if a.epoch == b.epoch:
            assert b.position == a.position + a.frames
            assert not b.flags & binary.FIRST_OF_EPOCH
        else:
            assert b.flags & binary.FIRST_OF_EPOCH
    assert heard.frames[0][0].flags & binary.FIRST_OF_EPOCH


@pytest.mark.parametrize(
    ("name", "frames", "rate", "channels"),
    [
        ("song.flac", 3 * RATE + 17, RATE, 2),
        ("song.wav", 3 * RATE, RATE, 1),
        ("one.wav", 1, RATE, 2),
        ("chunk.wav", 2048, RATE, 2),
        ("hires.flac", 50_001, 192_000, 2),
        ("low.wav", 8_001, 8_000, 1),
        ("round.wav", 30_000, 48_000, 8),
    ],
)
async def test_play_normal_concatenated_is_the_file(
    library: Library, name: str, frames: int, rate: int, channels: int
) -> None:
    x = music(frames / rate, rate=rate, channels=channels)
    track = library.add(name, x, rate)
    async with connected(library) as client:
        await client.request(PlayNormal(track_id=track.id))
        heard = await hear(client)
    assert_array_equal(heard.samples, x)
    assert_in_order(heard)
    start, end = heard.first(AudioStreamStart), heard.first(AudioStreamEnd)
    assert (start.sample_rate, start.channels, start.total_frames) == (rate, channels, frames)
    assert (end.reason, end.delivered_frames) == ("completed", frames)
    sizes = [f.frames for f, _ in heard.frames]
    assert sizes[:-1] == [512, 512, 512, 512, *[2048] * (len(sizes) - 5)][: len(sizes) - 1]
    assert [bool(f.flags & binary.LAST_OF_TRACK) for f, _ in heard.frames] == [False] * (len(sizes) - 1) + [
        True
    ]
    assert all(f.flags & binary.BYPASS for f, _ in heard.frames)


async def test_unmeasured_track_starts_on_the_standard_plan_and_morphs_once(library: Library) -> None:
    track = library.add("song.flac", music(12))
    # Real time after a short burst, so that the fingerprint lands while there is audio left to make.
    async with connected(library, Hello(lead_ms=200, max_buffer_ms=1000)) as client:
        await client.request(PlayEnhanced(track_id=track.id))
        first = await hear(client, lambda item: isinstance(item, Params) and item.generation == 1)
        found = next(e for e in first.all(FingerprintProgress) if e.status == "ready")
        stop = first.all(Params)[1].at_frame + RATE
        rest = await hear(client, lambda i: is_frame(i, start=stop))
    assert first.first(TrackStart).fingerprint == "pending"
    assert first.first(Params).standard
    assert found.source == "local"
    heard = Heard(first.events + rest.events, first.frames + rest.frames)
    morph = heard.all(Params)[1]
    assert 2 * RATE <= morph.crossfade_frames <= 4 * RATE
    assert morph.decision is not None
    assert not morph.standard
    for frame, _ in heard.frames:
        assert frame.generation == (frame.position >= morph.at_frame)
        assert bool(frame.flags & binary.STANDARD_PLAN) == (frame.generation == 0)
        assert bool(frame.flags & binary.PARAMETER_CROSSFADE) == (frame.generation == 1)
    fp = library.fingerprint(track)
    expected = replayed(track, heard, ac.standard_plan(), ac.plan(fp))
    got = heard.samples
    assert_array_equal(got, expected[:, : got.shape[1]])


async def test_measured_track_plays_its_own_plan_from_the_first_sample(library: Library) -> None:
    track = library.add("song.flac", music(3))
    fp = library.measure(track)
    async with connected(library) as client:
        await client.request(PlayEnhanced(track_id=track.id, preset="warm", intensity=0.5))
        heard = await hear(client)
    assert heard.first(TrackStart).fingerprint == "cached"
    assert heard.all(FingerprintProgress) == []
    plan = ac.plan(fp, "warm", 0.5)
    assert_array_equal(heard.samples, rendered(track, plan, 0, track.frames))
    (params,) = heard.all(Params)
    assert (params.decision.region, params.decision.lufs) == (str(plan.decision.region), fp.lufs)


async def test_chunk_records_are_those_of_the_engine(library: Library) -> None:
    track = library.add("song.flac", music(2))
    fp = library.measure(track)
    async with connected(library, Hello(lead_ms=100, max_buffer_ms=200)) as client:
        await client.request(PlayEnhanced(track_id=track.id))
        heard = await hear(client)
    chunks = heard.all(Chunk)
    # One by the clock every 100 ms: two seconds at no more than 1.5 × real time.
    assert 8 <= len(chunks) <= 20
    at = {c.at_frame: c for c in chunks}
    with ac.Renderer(track.path, ac.plan(fp)) as r:
        for frame, _ in heard.frames:
            r.read(frame.frames)
            if (chunk := at.pop(r.position, None)) is not None:
                record = r.record._asdict()
                assert {name: getattr(chunk, name) for name in record} == {
                    name: x if isinstance(x, str) or np.isfinite(x) else None for name, x in record.items()
                }
    assert not at


async def test_seek_continues_from_exactly_that_frame(library: Library) -> None:
    x = music(4)
    track = library.add("song.flac", x)
    library.measure(track)
    plan = ac.plan(library.fingerprint(track))
    rng = np.random.default_rng(5)
    targets = [0, 1, track.frames - 1, track.frames - 500, *rng.integers(0, track.frames, 8).tolist()]
    async with connected(library) as client:
        for play, kind in ((PlayNormal, ac.bypass_plan()), (PlayEnhanced, plan)):
            await client.request(play(track_id=track.id))
            await hear(client)
            for target in targets:
                ok = await client.request(Seek(seconds=target / RATE))
                heard = await hear(client)
                (clear,) = heard.all(Clear)
                assert (clear.epoch, clear.keep_until, ok.at_frame) == (ok.epoch, None, target)
                assert {f.epoch for f, _ in heard.frames} == {ok.epoch}
                assert heard.frames[0][0].position == target
                expected = rendered(track, kind, target, track.frames)
                assert_array_equal(heard.samples, faded(expected) if target else expected)
                assert heard.first(AudioStreamEnd).reason == "completed"


async def test_start_seconds_begins_at_that_frame(library: Library) -> None:
    x = music(2)
    track = library.add("song.flac", x)
    async with connected(library) as client:
        await client.request(PlayNormal(track_id=track.id, start_seconds=1.25))
        heard = await hear(client)
    start = round(1.25 * RATE)
    assert heard.frames[0][0].position == start
    assert_array_equal(heard.samples, faded(x[:, start:]))


async def test_last_of_many_seeks_wins_and_every_one_is_answered(library: Library) -> None:
    track = library.add("song.flac", music(5))
    async with connected(library, Hello(lead_ms=100, max_buffer_ms=200)) as client:
        await client.request(PlayNormal(track_id=track.id))
        oks = await asyncio.gather(*(client.request(Seek(seconds=s / 10)) for s in range(40)))
        assert oks[-1].at_frame == round(3.9 * RATE)
        assert all(ok.superseded or ok.at_frame is not None for ok in oks)
        heard = await hear(client, lambda i: is_frame(i, epoch=oks[-1].epoch))
        assert heard.frames[-1][0].position == round(3.9 * RATE)


@pytest.mark.parametrize("seconds", [3.0, 3.1, 1e6])
async def test_seek_past_the_end_is_refused_and_the_stream_goes_on(library: Library, seconds: float) -> None:
    x = music(3)
    track = library.add("song.flac", x)
    async with connected(library, Hello(lead_ms=500, max_buffer_ms=1000)) as client:
        await client.request(PlayNormal(track_id=track.id))
        error = await client.refusal(Seek(seconds=seconds))
        assert error.code == "out_of_range"
        await client.send(Credit(upto=10 * RATE, played=2 * RATE - 100))
        heard = await hear(client, lambda i: is_frame(i, start=RATE))
        assert_array_equal(heard.samples, x[:, : heard.samples.shape[1]])


async def test_set_without_credit_takes_effect_at_the_next_frame(library: Library) -> None:
    track = library.add("song.flac", music(6))
    fp = library.measure(track)
    async with connected(library, Hello(lead_ms=300, max_buffer_ms=600)) as client:
        await client.request(PlayEnhanced(track_id=track.id))
        ok = await client.request(Set(preset="bright"))
        again = await client.request(Set(bypass=True))
        heard = await hear(
            client, lambda i: isinstance(i, tuple) and i[0].position > again.at_frame + RATE // 2
        )
    assert heard.all(Clear) == []
    assert (ok.generation, again.generation) == (1, 2)
    for frame, _ in heard.frames:
        assert frame.generation == (frame.position >= ok.at_frame) + (frame.position >= again.at_frame)
    expected = replayed(track, heard, ac.plan(fp), ac.plan(fp, "bright"), ac.bypass_plan())
    got = heard.samples
    assert_array_equal(got, expected[:, : got.shape[1]])


async def test_set_with_credit_takes_back_what_has_not_sounded(library: Library) -> None:
    track = library.add("song.flac", music(8))
    fp = library.measure(track)
    async with connected(library) as client:  # sends everything at once
        await client.request(PlayEnhanced(track_id=track.id))
        before = await hear(client)
        played = 2 * RATE
        await client.request(Credit(upto=20 * RATE, played=played))
        ok = await client.request(Set(preset="warm"))
        after = await hear(client)
    clear, params = after.first(Clear), after.first(Params)
    assert clear.keep_until == ok.at_frame == params.at_frame
    # One round trip and 150 ms ahead of what was reported; a busy machine may add to the round trip.
    assert played + 0.15 * RATE <= ok.at_frame <= played + 1.2 * RATE
    assert after.frames[0][0].position == ok.at_frame
    assert {f.epoch for f, _ in after.frames} == {clear.epoch}
    with ac.Renderer(track.path, ac.plan(fp)) as r:
        r.seek(ok.at_frame)
        r.set_plan(ac.plan(fp, "warm"), crossfade=params.crossfade_frames)
        assert_array_equal(after.samples, r.read(r.frames))
    # No gap and no jump where the client goes over: the first sample is still the old sound's.
    old = before.samples[:, ok.at_frame]
    np.testing.assert_allclose(after.samples[:, 0], old, atol=2e-3)  # fade weight of the first frame
    assert after.first(AudioStreamEnd).delivered_frames == track.frames


async def test_set_during_an_earlier_fade_goes_back_into_that_fade(library: Library) -> None:
    track = library.add("song.flac", music(6))
    fp = library.measure(track)
    plans = [ac.plan(fp), ac.plan(fp, "warm"), ac.bypass_plan()]
    async with connected(library) as client:
        await client.request(PlayEnhanced(track_id=track.id))
        await hear(client)
        # The second report pretends that 300 frames went by, whatever this machine was doing.
        await client.send(Credit(upto=20 * RATE, played=2 * RATE))
        first = await client.request(Set(preset="warm"))
        await hear(client)
        await client.send(Credit(upto=20 * RATE, played=2 * RATE + 300))
        second = await client.request(Set(bypass=True))
        heard = await hear(client)
    assert second.epoch > first.epoch
    assert first.at_frame < second.at_frame < first.at_frame + 2048
    with ac.Renderer(track.path, plans[0]) as r:
        r.seek(first.at_frame)
        r.set_plan(plans[1], crossfade=2048)
        r.read(second.at_frame - first.at_frame)
        r.set_plan(plans[2], crossfade=2048)
        assert_array_equal(heard.samples, r.read(r.frames))


async def test_pause_holds_the_audio_and_resume_goes_on(library: Library) -> None:
    x = music(1)
    track = library.add("song.flac", x)
    hello = Hello(lead_ms=100, max_buffer_ms=200)
    async with running(library.config()) as address, Client.connect(address) as client:
        await client.request(hello)
        await client.request(PlayNormal(track_id=track.id))
        await client.request(Pause())
        before = Heard([], [i for i in client.received() if isinstance(i, tuple)])
        async with Client.connect(address) as clock:  # a second of real time, told by another stream
            await clock.request(hello)
            await clock.request(PlayNormal(track_id=track.id))
            await hear(clock)
        await client.request(Ping())
        assert not [i for i in client.received() if isinstance(i, tuple)]
        await client.request(Resume())
        heard = await hear(client)
    heard.frames[:0] = before.frames
    assert_array_equal(heard.samples, x)
    assert_in_order(heard)


async def test_credit_is_never_overdrawn(library: Library) -> None:
    x = music(1)
    track = library.add("song.flac", x)
    async with connected(library, Hello(lead_ms=50, max_buffer_ms=200)) as client:
        await client.request(PlayNormal(track_id=track.id))
        await client.request(Credit(upto=20_000, played=0))
        got = []
        # The burst of 50 ms was out before the credit came; after it, whole chunks up to the mark.
        while sum(f.frames for f, _ in got) + 2048 <= 20_000:
            got.append(await client.frame())
        assert sum(f.frames for f, _ in got) <= 20_000
        await client.request(Credit(upto=track.frames, played=0))
        while not got[-1][0].flags & binary.LAST_OF_TRACK:
            got.append(await client.frame())
        assert_array_equal(np.concatenate([x for _, x in got], axis=1), x)


async def test_credit_from_before_a_seek_is_ignored(library: Library) -> None:
    track = library.add("song.flac", music(2))
    async with connected(library, Hello(lead_ms=50, max_buffer_ms=200)) as client:
        await client.request(PlayNormal(track_id=track.id))
        ok = await client.request(Seek(seconds=1))
        # Any of these would hold the stream for ever.
        await client.request(Credit(upto=RATE, epoch=ok.epoch - 1))
        await client.request(Credit(upto=RATE // 2))
        await client.request(Credit(upto=RATE, played=RATE - 1))
        heard = await hear(client)
        assert heard.first(AudioStreamEnd).reason == "completed"


async def test_16_bit_stream_is_the_file_within_its_dither(library: Library) -> None:
    x = music(1)
    track = library.add("song.flac", x)
    async with connected(
        library, Hello(formats=["flac", "s16le"], lead_ms=600_000, max_buffer_ms=600_000)
    ) as client:
        await client.request(PlayNormal(track_id=track.id))
        heard = await hear(client)
    assert heard.first(AudioStreamStart).format == "s16le"
    # The file has 16 bits, so only the triangular dither of less than one step, rounded, is left.
    assert np.abs(heard.samples - x * 32768).max() <= 1


def scribble(path: str) -> None:
    """Other bytes, as many, in the same file."""
    with open(path, "r+b") as f:
        f.write(b"\xa5" * os.path.getsize(path))


@pytest.mark.parametrize("harm", ["delete", "truncate", "replace", "overwrite"])
async def test_file_harmed_while_playing_ends_that_stream_only(library: Library, harm: str) -> None:
    x, y = music(20), music(3, seed=1)
    suffix = "flac" if harm == "overwrite" else "wav"
    victim, other = library.add(f"victim.{suffix}", x), library.add("other.wav", y)
    async with connected(library, Hello(lead_ms=100, max_buffer_ms=200)) as client:
        await client.request(PlayNormal(track_id=victim.id))
        await client.frame()
        if harm == "truncate":
            os.truncate(victim.path, 200_000)
        elif harm == "overwrite":  # in place: the open file changes under the reader
            scribble(victim.path)
        elif harm == "delete":
            os.unlink(victim.path)
        else:
            os.replace(other.path, victim.path)
        await client.send(Seek(seconds=15))
        heard = await hear(
            client, lambda i: isinstance(i, Error) or (isinstance(i, tuple) and i[0].epoch == 2)
        )
        if harm in ("truncate", "overwrite"):
            assert heard.events[-1].code == "unreadable"
            assert (await client.event(AudioStreamEnd)).reason == "error"
            assert (await client.refusal(Seek(seconds=1))).code == "no_stream"
        else:  # the open file is still what it was
            assert heard.frames[-1][0].position == 15 * RATE
        if harm != "replace":
            await client.request(PlayNormal(track_id=other.id))
            assert (await client.event(AudioStreamStart)).total_frames == other.frames


async def test_hello_after_a_stream_started_holds_for_the_next_one(library: Library) -> None:
    track = library.add("song.wav", music(1))
    async with connected(library) as client:
        await client.request(PlayNormal(track_id=track.id))
        await client.request(replace(EAGER, formats=["s16le"]))
        heard = await hear(client)
        assert {f.format for f, _ in heard.frames} == {0}
        await client.request(PlayNormal(track_id=track.id))
        heard = await hear(client)
        assert {f.format for f, _ in heard.frames} == {1}

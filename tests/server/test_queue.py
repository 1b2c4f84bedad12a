"""One track after the other: every received sample against the files, across every seam."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from auralis_server import binary
from auralis_server.admission import Admission
from auralis_server.commands import Credit, Hello, Next, PlayEnhanced, PlayNormal, Queue, Seek, Set
from auralis_server.events import (
    AudioStreamEnd,
    AudioStreamStart,
    Clear,
    Error,
    FingerprintProgress,
    Params,
    TrackStart,
)
from auralis_server.part import Part, PartError, Settings, choose
from auralis_server.programme import Programme
from auralis_server.sources import Sources
from auralis_server.studio import Studio
from auralis_server.upcoming import Upcoming
from numpy.testing import assert_array_equal
from reference.limiter import true_peak_dbtp
from serving import EAGER, RATE, Heard, Library, connected, hear, is_frame, limited, music

import auralis_core as ac
from auralis_core.audio import AudioReader
from auralis_core.crossfade import correlation
from auralis_core.dataset import Dataset, Track
from auralis_core.fit import Fitted

SLOW = Hello(lead_ms=200, max_buffer_ms=400)
FADE = round(0.010 * RATE)
TAIL = round(0.25 * RATE)  # after a crossfade, until the track that goes on is untouched


def open_files() -> list[str]:
    """What this process holds open."""
    return [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


def three(library: Library) -> tuple[list[np.ndarray], list[Track]]:
    """Three short tracks, whose lengths are no multiple of anything."""
    xs = [music(seconds, seed) for seed, seconds in enumerate((1.01, 0.77, 0.53))]
    return xs, [library.add(f"{i}.flac", x) for i, x in enumerate(xs)]


def rest(*tracks: Track, **options: object) -> Queue:
    return Queue(track_ids=[t.id for t in tracks], **options)


def assert_one_timeline(heard: Heard) -> None:
    """One stream, one epoch, no frame missing or twice."""
    frames = [f for f, _ in heard.frames]
    assert len({(f.stream, f.epoch) for f in frames}) == 1
    assert [f.seq for f in frames] == list(range(frames[0].seq, frames[0].seq + len(frames)))
    assert all(a.position + a.frames == b.position for a, b in pairwise(frames))


async def test_queue_is_gapless_to_the_sample(library: Library) -> None:
    xs, tracks = three(library)
    async with connected(library, SLOW) as client:
        await client.request(PlayNormal(track_id=tracks[0].id))
        await client.request(rest(*tracks[1:]))
        heard = await hear(client)
    assert_array_equal(heard.samples, np.concatenate(xs, axis=1))
    assert_one_timeline(heard)
    starts = [0, *np.cumsum([x.shape[1] for x in xs])]
    assert [s.at_frame for s in heard.all(TrackStart)] == starts[:-1]
    assert [s.track_id for s in heard.all(TrackStart)] == [t.id for t in tracks]
    assert [s.total_frames for s in heard.all(TrackStart)] == [t.frames for t in tracks]
    lasts = [f.position + f.frames for f, _ in heard.frames if f.flags & binary.LAST_OF_TRACK]
    assert lasts == starts[1:]
    assert heard.first(AudioStreamEnd).delivered_frames == starts[-1]
    # Each track is a generation of its own, announced where it begins.
    assert [(p.generation, p.at_frame) for p in heard.all(Params)] == list(enumerate(starts[:-1]))
    for frame, _ in heard.frames:
        assert frame.generation == np.searchsorted(starts, frame.position, "right") - 1


async def test_each_track_of_a_queue_has_its_own_plan(library: Library) -> None:
    xs, tracks = three(library)
    xs[1] = xs[1] * np.float32(0.1)
    tracks[1] = library.add("quiet.wav", xs[1])
    fps = [library.measure(t) for t in tracks]
    async with connected(library) as client:
        await client.request(PlayEnhanced(track_id=tracks[0].id, preset="warm"))
        await client.request(rest(*tracks[1:]))
        heard = await hear(client)
    wanted = []
    for track, fp in zip(tracks, fps, strict=True):
        with ac.Renderer(track.path, ac.plan(fp, "warm")) as r:
            wanted.append(r.read(r.frames))
    assert_array_equal(heard.samples, np.concatenate(wanted, axis=1))
    assert [p.decision.lufs for p in heard.all(Params)] == [fp.lufs for fp in fps]


async def test_crossfade_overlaps_two_tracks_by_the_correlation_law(library: Library) -> None:
    xs = [music(4, 0), music(5, 1)]
    tracks = [library.add(f"{i}.flac", x) for i, x in enumerate(xs)]
    n = round(1.5 * RATE)
    async with connected(library) as client:
        await client.request(PlayNormal(track_id=tracks[0].id))
        await client.request(rest(tracks[1], crossfade_seconds=1.5))
        heard = await hear(client)
    tail, head = np.ascontiguousarray(xs[0][:, -n:]), np.ascontiguousarray(xs[1][:, :n])
    mixed = ac.crossfade(tail, head, "correlation")
    assert_array_equal(heard.samples, np.concatenate([xs[0][:, :-n], mixed, xs[1][:, n:]], axis=1))
    assert_one_timeline(heard)
    second = heard.all(TrackStart)[1]
    assert (second.at_frame, second.track_frame) == (tracks[0].frames - n, 0)
    for frame, _ in heard.frames:
        inside = second.at_frame <= frame.position < tracks[0].frames
        assert bool(frame.flags & binary.TRACK_CROSSFADE) == inside


def loud(seconds: float, seed: int) -> np.ndarray:
    """A chord that never rests, in 16 bits and within full scale: two of these come to 3 dB over one."""
    t = np.arange(round(seconds * RATE)) / RATE
    rng = np.random.default_rng(seed)
    x = sum(np.sin(2 * np.pi * f * t + p) for f, p in zip(rng.uniform(90, 900, 5), range(5), strict=True))
    x = 0.95 * np.tanh(np.stack([x, np.roll(x, 31)]))
    return (np.round(x * 32767) / 32768).astype(np.float32)


@pytest.mark.parametrize("enhanced", [True, False])
async def test_crossfade_keeps_to_the_ceiling_and_touches_nothing_else(
    library: Library, enhanced: bool
) -> None:
    xs = [loud(3, 0), loud(3, 1)]
    tracks = [library.add(f"{i}.flac", x) for i, x in enumerate(xs)]
    plans = [ac.plan(library.measure(t), "punchy") if enhanced else ac.bypass_plan() for t in tracks]
    top = -1.0 if enhanced else 0.0
    assert all(plan.ceiling == (top if enhanced else None) for plan in plans)
    async with connected(library) as client:
        play = PlayEnhanced if enhanced else PlayNormal
        await client.request(play(track_id=tracks[0].id, preset="punchy"))
        await client.request(rest(tracks[1], crossfade_seconds=1))
        heard = await hear(client)
    a, b = (ac.render_array(x, RATE, plan) for x, plan in zip(xs, plans, strict=True))
    dry = correlation(np.ascontiguousarray(xs[0][:, -RATE:]), np.ascontiguousarray(xs[1][:, :RATE]))
    raw = ac.crossfade(
        np.ascontiguousarray(a[:, -RATE:]), np.ascontiguousarray(b[:, :RATE]), "correlation", r=dry
    )
    got, seam = heard.samples, slice(2 * RATE, 3 * RATE + TAIL)
    assert 20 * np.log10(np.abs(raw).max()) > top + 1.0  # there is something to do
    # 16 times oversampled, without any tolerance; the ends rise and fall, or cutting there would ring.
    part = got[:, RATE : 4 * RATE]
    gate = np.minimum(1, np.minimum(np.arange(3 * RATE), np.arange(3 * RATE)[::-1]) / RATE)
    assert true_peak_dbtp(part * gate) <= top
    assert_array_equal(got[:, : seam.start], a[:, :-RATE])
    assert_array_equal(got[:, seam.stop :], b[:, RATE + TAIL :])
    assert_array_equal(got[:, seam], limited(np.concatenate([raw, b[:, RATE:]], axis=1), RATE, TAIL, top))


async def test_crossfade_that_is_not_over_is_the_mixture_bit_for_bit(library: Library) -> None:
    xs = [0.4 * loud(3, 0), 0.4 * loud(3, 1)]
    tracks = [library.add(f"{i}.flac", x.astype(np.float32)) for i, x in enumerate(xs)]
    async with connected(library) as client:
        await client.request(PlayNormal(track_id=tracks[0].id))
        await client.request(rest(tracks[1], crossfade_seconds=1))
        heard = await hear(client)
    with AudioReader(tracks[0].path) as one, AudioReader(tracks[1].path) as two:
        a, b = one.read(one.frames), two.read(two.frames)
    raw = ac.crossfade(np.ascontiguousarray(a[:, -RATE:]), np.ascontiguousarray(b[:, :RATE]), "correlation")
    assert_array_equal(heard.samples, np.concatenate([a[:, :-RATE], raw, b[:, RATE:]], axis=1))


def faded(tracks: list[Track], fps: list[ac.Fingerprint | None], settings: Settings, fade: int) -> Programme:
    """Two tracks, one into the other."""
    parts = [Part(t, Path(t.path), fp, settings) for t, fp in zip(tracks, fps, strict=True)]
    programme = Programme(parts[0], settings)
    programme.enter(parts[0])
    programme.append(parts[1], fade)
    return programme


def played(p: Programme, stop: int, size: Callable[[], int] = lambda: 4096) -> np.ndarray:
    """What sounds up to `stop`, in reads of any size."""
    pieces = []
    while p.position < stop:
        if p.due is not None:
            p.enter(p.due)
        pieces.append(p.read(min(size(), stop - p.position, p.boundary - p.position)))
    return np.concatenate(pieces, axis=1)


def test_seam_is_the_same_bits_however_it_is_read_rewound_and_switched(library: Library) -> None:
    tracks = [library.add(f"{i}.flac", loud(8, i)) for i in range(2)]
    fps = [library.measure(t) for t in tracks]
    first, second = Settings("adaptive", 1.0, False), Settings("bright", 1.0, False)
    fade, switch = 3 * RATE, 6 * RATE + 4321  # a second into the fade, and more than one mark
    rng = np.random.default_rng(3)
    with closing(faded(tracks, fps, first, fade)) as p:
        begun = played(p, switch)
        p.switch(2048, second)
        end = p.end
        whole = np.concatenate([begun, played(p, end)], axis=1)
        assert np.abs(whole).max() > 0.5
        for target in (end - RATE, 8 * RATE + 99, switch + 1500, switch + 1, switch):
            p.rewind(target)  # behind the tail, in it, in the switch, at it
            assert_array_equal(played(p, end, lambda: int(rng.integers(1, 5000))), whole[:, target:])
        p.rewind(switch - 1)  # before it: it has not happened
        p.switch(2048, first)
        again = played(p, end)
    with closing(faded(tracks, fps, first, fade)) as p:
        straight = played(p, end, lambda: int(rng.integers(1, 5000)))
        assert_array_equal(straight[:, :switch], whole[:, :switch])
        assert_array_equal(straight[:, switch - 1 :], again)
    with closing(faded(tracks, fps, first, fade)) as p:
        assert_array_equal(played(p, end), straight)
        for beside in (100, -100):  # the limiter's first mark: a second of reads, and its look-ahead
            target = 5 * RATE + 11 * 4096 + ac.Limiter(RATE, 2).latency + beside
            p.rewind(target)
            assert_array_equal(played(p, end), straight[:, target:])


def test_switch_right_behind_a_seam_is_at_its_frame(library: Library) -> None:
    tracks = [library.add(f"{i}.flac", loud(4, i)) for i in range(2)]
    fps = [library.measure(t) for t in tracks]
    first, second = Settings("adaptive", 1.0, False), Settings("bright", 1.0, False)
    with closing(faded(tracks, fps, first, RATE)) as p:
        played(p, 4 * RATE + TAIL)
        p.switch(2048, second)
        got = played(p, p.end)
    with ac.Renderer(tracks[1].path, ac.plan(fps[1])) as r:
        r.read(RATE + TAIL)
        r.set_plan(ac.plan(fps[1], "bright"), crossfade=2048)
        assert_array_equal(got, r.read(r.frames))


def test_seam_of_tracks_that_are_over_by_themselves_begins_without_a_step(library: Library) -> None:
    xs = [np.clip(4 * loud(3, i), -1, 1 - 2**-15) for i in range(2)]
    tracks = [library.add(f"{i}.wav", x) for i, x in enumerate(xs)]
    with closing(faded(tracks, [None, None], Settings("adaptive", 1.0, True), RATE)) as p:
        got = played(p, p.end)
    xs = [ac.render_array(AudioReader(t.path).read(3 * RATE), RATE, ac.bypass_plan()) for t in tracks]
    tail, start = np.ascontiguousarray(xs[0][:, -RATE:]), np.ascontiguousarray(xs[1][:, :RATE])
    raw = np.concatenate([ac.crossfade(tail, start, "correlation"), xs[1][:, RATE:]], axis=1)
    assert_array_equal(got[:, 2 * RATE : 3 * RATE + TAIL], limited(raw, RATE, TAIL, 0.0))
    # A hundredth of the rise in: the gain has gone a hundredth of a hundredth of the way, a few 1e-4.
    assert np.abs(got[:, 2 * RATE : 2 * RATE + 5] - raw[:, :5]).max() < 1e-3


def test_old_track_that_fails_in_a_crossfade_leaves_the_new_one_alone(library: Library) -> None:
    xs = [music(8, 0), music(8, 1)]
    tracks = [library.add(f"{i}.wav", x) for i, x in enumerate(xs)]
    with closing(faded(tracks, [None, None], Settings("adaptive", 1.0, True), 4 * RATE)) as p:
        played(p, 5 * RATE)
        os.truncate(tracks[0].path, 1000)
        with pytest.raises(PartError) as lost:
            played(p, 8 * RATE)
        at = p.position
        assert (lost.value.part, at < 6 * RATE) == (p.parts[0], True)
        p.drop(lost.value.part)
        assert not p.is_fading
        assert_array_equal(played(p, p.end), xs[1][:, at - 4 * RATE :])


@pytest.mark.parametrize(("asked", "faded"), [(False, False), (True, True)])
async def test_one_album_is_not_faded_unless_asked(library: Library, asked: bool, faded: bool) -> None:
    xs = [music(3, 0), music(3, 1)]
    tracks = [library.add(f"{i}.flac", x, album="Nocturnes") for i, x in enumerate(xs)]
    async with connected(library) as client:
        await client.request(PlayNormal(track_id=tracks[0].id))
        await client.request(rest(tracks[1], crossfade_seconds=1, fade_albums=asked))
        heard = await hear(client)
    assert heard.samples.shape[1] == 6 * RATE - faded * RATE


async def test_track_of_another_shape_is_fitted_to_the_stream(library: Library) -> None:
    x, mono = music(1), music(1.3, 1, rate=48000, channels=1)
    tracks = [library.add("a.flac", x), library.add("b.flac", mono, rate=48000)]
    fp = library.measure(tracks[1])
    async with connected(library) as client:
        await client.request(PlayEnhanced(track_id=tracks[0].id, intensity=0))
        await client.request(rest(tracks[1]))
        heard = await hear(client)
    assert len(heard.all(AudioStreamStart)) == 1
    with AudioReader(tracks[1].path) as reader:
        r = ac.Renderer(Fitted(reader, RATE, 2), ac.plan(fp, intensity=0))
        expected = r.read(r.frames)
    assert expected.shape[1] == round(1.3 * RATE)
    assert_array_equal(heard.samples[:, -expected.shape[1] :], expected)


@pytest.mark.parametrize("harm", ["missing", "unknown", "garbage"])
async def test_unreadable_track_is_named_and_the_next_plays_on(library: Library, harm: str) -> None:
    xs, tracks = three(library)
    ids = [t.id for t in tracks]
    if harm == "missing":
        os.unlink(tracks[1].path)
    elif harm == "garbage":
        library.folder.joinpath("1.flac").write_bytes(b"fLaC but not really")
    else:
        ids[1] = 4711
    async with connected(library) as client:
        await client.request(PlayNormal(track_id=ids[0]))
        await client.request(Queue(track_ids=ids[1:]))
        heard = await hear(client)
    error = heard.first(Error)
    assert error.code == ("unknown_track" if harm == "unknown" else "unreadable")
    assert error.track_id == ids[1]
    assert_array_equal(heard.samples, np.concatenate([xs[0], xs[2]], axis=1))
    assert heard.first(AudioStreamEnd).reason == "completed"


@pytest.mark.parametrize("fade", [0, 1])
async def test_file_cut_while_it_plays_gives_way_to_the_next(library: Library, fade: int) -> None:
    x, y = music(20), music(3, seed=1)
    tracks = [library.add("a.wav", x), library.add("b.wav", y)]
    async with connected(library, SLOW) as client:
        await client.request(PlayNormal(track_id=tracks[0].id))
        await client.request(rest(tracks[1], crossfade_seconds=fade))
        await client.frame()
        os.truncate(tracks[0].path, 44 + 4 * 3 * RATE)
        ok = await client.request(Seek(seconds=2.5))
        heard = await hear(client)
        heard.frames = [(f, s) for f, s in heard.frames if f.epoch == ok.epoch]
    error = heard.first(Error)
    assert (error.code, error.track_id) == ("unreadable", tracks[0].id)
    start = heard.all(TrackStart)[-1]
    at = start.at_frame - heard.frames[0][0].position
    # Up to what one decode holds is lost at the damage; the other track is whole.
    assert 0 <= 0.5 * RATE - at <= 2048
    assert_array_equal(heard.samples[:, at:], y)
    assert_array_equal(heard.samples[:, FADE:at], x[:, round(2.5 * RATE) + FADE :][:, : at - FADE])


async def test_head_that_fails_in_a_crossfade_leaves_the_old_track_to_end(library: Library) -> None:
    x, y = music(5), music(8, seed=1)
    tracks = [library.add("a.wav", x), library.add("b.wav", y), library.add("c.wav", music(1, seed=2))]
    async with connected(library, SLOW) as client:
        await client.request(PlayNormal(track_id=tracks[0].id, start_seconds=2.5))
        await client.request(rest(*tracks[1:], crossfade_seconds=2))
        heard = await hear(client, lambda i: isinstance(i, TrackStart) and i.track_id == tracks[1].id)
        os.truncate(tracks[1].path, 44 + 4 * RATE)  # a second of it is left
        end = await hear(client)
    error = end.first(Error)
    assert (error.code, error.track_id) == ("unreadable", tracks[1].id)
    back = end.first(TrackStart)
    assert back.track_id == tracks[0].id
    assert back.at_frame == back.track_frame
    assert heard.events[-1].at_frame == 3 * RATE < back.at_frame <= 4 * RATE
    whole = {f.position: s for f, s in [*heard.frames, *end.frames]}
    alone = [s for p, s in whole.items() if back.at_frame <= p < 5 * RATE]
    assert_array_equal(np.concatenate(alone, axis=1), x[:, back.at_frame :])
    assert end.all(TrackStart)[-1].at_frame == 5 * RATE
    assert end.first(AudioStreamEnd).reason == "completed"


def test_part_that_cannot_be_primed_leaves_no_file_open(library: Library) -> None:
    track = library.add("song.flac", music(5))
    os.truncate(track.path, 600)  # the header is whole, the first block of audio is not
    with pytest.raises(ac.AudioReadError):
        Part(track, Path(track.path), None, Settings("adaptive", 1.0, False))
    assert not [name for name in open_files() if name == track.path]


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(RATE, 2, 4), (RATE, 1, 5), (48000, 2, 5)])
def test_file_replaced_before_it_is_opened_again_is_refused_or_fitted(
    library: Library, rate: int, channels: int, seconds: int
) -> None:
    x = music(5)
    track = library.add("song.wav", x)
    settings = Settings("adaptive", 1.0, True)
    part = Part(track, Path(track.path), None, settings)
    with closing(part):
        part.enter(choose(settings, None), 0)
        assert_array_equal(part.read(1000), x[:, :1000])
        part.close()
        library.write("song.wav", music(seconds, 1, rate, channels), rate)
        if seconds != 5:
            with pytest.raises(ac.AudioReadError, match="replaced"):
                part.enter(choose(settings, None), 1)
            assert not part.is_open
        else:  # of the same length: it sounds in the shape of the stream, whatever its own
            part.enter(choose(settings, None), 1)
            assert part.read(1000).shape == part.excerpt(0, 1000).shape == (2, 1000)
            assert (part.frames, part.sample_rate) == (5 * RATE, RATE)


async def test_next_goes_to_the_head_of_the_following_track(library: Library) -> None:
    xs, tracks = three(library)
    async with connected(library, SLOW) as client:
        await client.request(PlayNormal(track_id=tracks[0].id))
        await client.request(rest(*tracks[1:], crossfade_seconds=1))
        ok = await client.request(Next())
        heard = await hear(client, lambda i: isinstance(i, TrackStart) and i.track_id == tracks[2].id)
        assert heard.first(Clear).keep_until is None
        mine = [(f, s) for f, s in heard.frames if f.epoch == ok.epoch]
        assert mine[0][0].position == ok.at_frame == heard.all(TrackStart)[1].at_frame
        got = np.concatenate([s for _, s in mine], axis=1)
        assert_array_equal(got, xs[1][:, : got.shape[1]])  # alone and unfaded
        await hear(client)
        assert (await client.refusal(Next())).code == "no_next"


async def test_next_asked_twice_skips_two(library: Library) -> None:
    xs, tracks = three(library)
    async with connected(library) as client:
        await client.request(PlayNormal(track_id=tracks[0].id, start_seconds=0.5))
        await client.send(rest(*tracks[1:]))
        await client.send(Next())
        ok = await client.request(Next())
        heard = await hear(client)
    mine = [s for f, s in heard.frames if f.epoch == ok.epoch]
    assert_array_equal(np.concatenate(mine, axis=1), xs[2])


async def test_seek_is_within_the_track_that_sounds(library: Library) -> None:
    xs, tracks = three(library)
    length = tracks[0].frames
    async with connected(library) as client:
        await client.request(PlayNormal(track_id=tracks[0].id))
        await client.request(rest(*tracks[1:]))
        await hear(client)  # everything is sent
        await client.send(Credit(upto=10 * RATE, played=1000))
        ok = await client.request(Seek(seconds=0.25))
        again = await hear(client)
        assert ok.at_frame == round(0.25 * RATE)
        assert_array_equal(
            again.samples[:, FADE:], np.concatenate(xs, axis=1)[:, round(0.25 * RATE) + FADE :]
        )
        await client.send(Credit(upto=10 * RATE, played=length + 1000))
        ok = await client.request(Seek(seconds=0.25))
        assert ok.at_frame == length + round(0.25 * RATE)
        again = await hear(client)
        assert again.first(TrackStart).track_id == tracks[1].id
        assert_array_equal(
            again.samples[:, FADE:], np.concatenate(xs[1:], axis=1)[:, round(0.25 * RATE) + FADE :]
        )


async def test_seek_into_a_crossfade_hears_both_tracks(library: Library) -> None:
    xs = [music(4, 0), music(5, 1)]
    tracks = [library.add(f"{i}.flac", x) for i, x in enumerate(xs)]
    async with connected(library) as client:
        await client.request(PlayNormal(track_id=tracks[0].id))
        await client.request(rest(tracks[1], crossfade_seconds=2))
        whole = await hear(client)
        await client.send(Credit(upto=20 * RATE, played=1000))
        ok = await client.request(Seek(seconds=3))
        again = await hear(client)
    assert ok.at_frame == 3 * RATE
    assert_array_equal(again.samples[:, FADE:], whole.samples[:, 3 * RATE + FADE :])


async def test_set_takes_audio_back_across_a_seam_bit_for_bit(library: Library) -> None:
    xs = [music(3, 0), music(3, 1)]
    tracks = [library.add(f"{i}.flac", x) for i, x in enumerate(xs)]
    fps = [library.measure(t) for t in tracks]
    async with connected(library) as client:
        await client.request(PlayEnhanced(track_id=tracks[0].id))
        await client.request(rest(tracks[1], crossfade_seconds=1))
        before = await hear(client)
        await client.send(Credit(upto=20 * RATE, played=round(1.2 * RATE)))
        ok = await client.request(Set(preset="bright"))
        after = await hear(client)
    assert RATE < ok.at_frame < 2 * RATE
    assert after.first(Clear).keep_until == ok.at_frame == after.frames[0][0].position
    rs = [ac.Renderer(t.path, ac.plan(fp)) for t, fp in zip(tracks, fps, strict=True)]
    head = rs[0].read(ok.at_frame)
    rs[0].set_plan(ac.plan(fps[0], "bright"), crossfade=2048)
    a = np.concatenate([head, rs[0].read(rs[0].frames)], axis=1)
    b = ac.render_array(xs[1], RATE, ac.plan(fps[1], "bright"))
    tail, start = np.ascontiguousarray(a[:, -RATE:]), np.ascontiguousarray(b[:, :RATE])
    dry = correlation(np.ascontiguousarray(xs[0][:, -RATE:]), np.ascontiguousarray(xs[1][:, :RATE]))
    mixed = ac.crossfade(tail, start, "correlation", r=dry)
    expected = np.concatenate([a[:, :-RATE], mixed, b[:, RATE:]], axis=1)
    expected[:, 2 * RATE : 3 * RATE + TAIL] = limited(expected[:, 2 * RATE :], RATE, TAIL, -1.0)
    assert_array_equal(before.samples[:, : ok.at_frame], expected[:, : ok.at_frame])
    assert_array_equal(after.samples, expected[:, ok.at_frame :])


async def test_fingerprint_of_the_next_track_is_sought_while_the_current_plays(library: Library) -> None:
    tracks = [library.add("a.flac", music(4)), library.add("b.flac", music(2, seed=1))]
    library.measure(tracks[0])
    async with connected(library, SLOW) as client:
        await client.request(PlayEnhanced(track_id=tracks[0].id))
        await client.request(rest(tracks[1]))
        heard = await hear(client)
    ready = next(e for e in heard.all(FingerprintProgress) if e.status == "ready")
    second = heard.all(TrackStart)[1]
    assert ready.track_id == second.track_id == tracks[1].id
    assert heard.events.index(ready) < heard.events.index(second)
    assert second.fingerprint == "cached"
    assert len(heard.all(Params)) == 2  # its own plan from its first sample; no morph


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads /proc")
async def test_next_file_is_open_before_the_current_one_ends(library: Library) -> None:
    tracks = [library.add("a.flac", music(3)), library.add("b-next.flac", music(2, seed=1))]
    async with connected(library, SLOW) as client:
        await client.request(PlayNormal(track_id=tracks[0].id))
        await client.request(rest(tracks[1]))
        open_at = None
        while not isinstance(item := await client.receive(), AudioStreamEnd):
            is_open = isinstance(item, tuple) and any("b-next" in name for name in open_files())
            if is_open and open_at is None:
                open_at = item[0].position
    assert open_at is not None
    assert open_at < 2.5 * RATE


async def test_new_queue_replaces_what_has_not_begun(library: Library) -> None:
    xs, tracks = three(library)
    async with connected(library, SLOW) as client:
        await client.request(PlayNormal(track_id=tracks[0].id))
        await client.request(rest(tracks[1]))
        await client.request(rest(tracks[2]))
        heard = await hear(client)
        assert_array_equal(heard.samples, np.concatenate([xs[0], xs[2]], axis=1))
        # What is queued after the end goes on from there.
        await client.request(rest(tracks[1]))
        more = await hear(client)
        assert more.first(TrackStart).at_frame == heard.first(AudioStreamEnd).delivered_frames
        assert_array_equal(more.samples, xs[1])
        await client.request(rest())


async def test_queue_needs_a_stream(library: Library) -> None:
    async with connected(library, EAGER) as client:
        assert (await client.refusal(Queue(track_ids=[1]))).code == "no_stream"
        assert (await client.refusal(Next())).code == "no_stream"


async def test_long_queue_plays_through_by_credit(library: Library) -> None:
    tracks = [library.add(f"{i}.wav", music(0.11, i)) for i in range(25)]
    async with connected(library) as client:
        await client.request(PlayNormal(track_id=tracks[0].id))
        await client.request(rest(*tracks[1:], *tracks))
        heard = await hear(client, lambda i: is_frame(i, start=3 * RATE))
        heard.frames += (await hear(client)).frames
    assert_one_timeline(heard)
    assert heard.samples.shape[1] == 50 * tracks[0].frames


async def test_set_within_a_crossfade_changes_both_tracks(library: Library) -> None:
    xs = [music(4, 0), music(4, 1)]
    tracks = [library.add(f"{i}.flac", x) for i, x in enumerate(xs)]
    fps = [library.measure(t) for t in tracks]
    async with connected(library) as client:
        await client.request(PlayEnhanced(track_id=tracks[0].id))
        await client.request(rest(tracks[1], crossfade_seconds=2))
        await hear(client)
        await client.send(Credit(upto=20 * RATE, played=round(2.2 * RATE)))
        ok = await client.request(Set(preset="bright"))
        after = await hear(client)
    start, n = 2 * RATE, 2 * RATE
    assert start < ok.at_frame < start + n - 4096
    ys = []
    for track, fp, at in zip(tracks, fps, (ok.at_frame, ok.at_frame - start), strict=True):
        with ac.Renderer(track.path, ac.plan(fp)) as r:
            head = r.read(at)
            r.set_plan(ac.plan(fp, "bright"), crossfade=2048)
            ys.append(np.concatenate([head, r.read(r.frames)], axis=1))
    tail, head = np.ascontiguousarray(ys[0][:, -n:]), np.ascontiguousarray(ys[1][:, :n])
    dry = correlation(np.ascontiguousarray(xs[0][:, -n:]), np.ascontiguousarray(xs[1][:, :n]))
    mixed = ac.crossfade(tail, head, "correlation", r=dry)
    expected = np.concatenate([ys[0][:, :start], mixed, ys[1][:, n:]], axis=1)
    expected[:, start : start + n + TAIL] = limited(expected[:, start:], n, TAIL, -1.0)
    assert_array_equal(after.samples, expected[:, ok.at_frame :])


def test_fingerprint_that_comes_late_leaves_the_end_of_its_track_alone(library: Library) -> None:
    xs = [music(4, 0), music(4, 1)]
    tracks = [library.add(f"{i}.flac", x) for i, x in enumerate(xs)]
    fp = library.measure(tracks[0])
    settings = Settings("adaptive", 1.0, False)

    def play(learns: bool) -> np.ndarray:
        first, second = (Part(t, Path(t.path), None, settings) for t in tracks)
        with closing(Programme(first, settings)) as programme:
            programme.enter(first)
            programme.append(second, 2 * RATE)
            head = programme.read(2 * RATE)
            programme.enter(second)
            begun = programme.read(RATE)
            if learns:
                programme.learn(first, fp)
            return np.concatenate([head, begun, programme.read(RATE)], axis=1)

    assert_array_equal(play(learns=True), play(learns=False))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads /proc")
async def test_queue_given_up_while_a_file_opens_closes_it(library: Library) -> None:
    track = library.add("opening.flac", music(2))
    with closing(Dataset(library.db)) as dataset:
        studio = Studio(dataset, Sources(("database",), dataset), [library.folder], Admission(1.0))
        upcoming = Upcoming(studio, lambda: None)
        for _ in range(5):
            upcoming.replace(Queue(track_ids=[track.id]))
            upcoming.open_next(Settings("adaptive", 1.0, False), (RATE, 2))
            await asyncio.sleep(0)
            while not any("opening" in name for name in open_files()):  # the loop stands still meanwhile
                pass
            upcoming.replace(Queue(track_ids=[]))
            assert not upcoming.pending
            await upcoming.close()
            assert not any("opening" in name for name in open_files())
        studio.close()
        studio.sources.close()

"""A socket that drops: the stream waits, and goes on over another one with the very next sample."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp.web
import numpy as np
import pytest
from auralis_server.admission import RETRY_MS
from auralis_server.app import PARKING, SESSIONS, STUDIO, create_app
from auralis_server.client import Client
from auralis_server.commands import (
    Credit,
    Hello,
    Next,
    Pause,
    Ping,
    PlayEnhanced,
    PlayNormal,
    Queue,
    Resume,
    Resuming,
    Seek,
    Set,
    Stop,
)
from auralis_server.events import AudioStreamEnd, AudioStreamStart, Clear, Error, Params, TrackStart
from msgspec.structs import replace
from numpy.testing import assert_array_equal
from serving import EAGER, HANG_S, RATE, Library, hear, music

import auralis_core as ac

SLOW = Hello(lead_ms=300, max_buffer_ms=600)


async def until(done: object) -> None:
    async with asyncio.timeout(HANG_S):
        while not done():  # noqa: ASYNC110 - there is no event for what the server has noticed
            await asyncio.sleep(0.001)


class Server:
    def __init__(self, app: aiohttp.web.Application, address: str) -> None:
        self.app, self.address = app, address
        self.parking = app[PARKING]

    def connect(self) -> contextlib.AbstractAsyncContextManager[Client]:
        return Client.connect(self.address)

    async def parked(self, count: int = 1) -> None:
        await until(lambda: self.parking.parked == count)

    @asynccontextmanager
    async def dropping(self, hello: Hello = SLOW) -> AsyncIterator[Client]:
        """A client whose line breaks in the end; then its stream waits."""
        async with self.connect() as client:
            await client.request(hello)
            yield client
            client.drop()
            await self.parked()


@asynccontextmanager
async def serving(library: Library, **changes: object) -> AsyncIterator[Server]:
    app = create_app(library.config(**changes))
    runner = aiohttp.web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        async with asyncio.timeout(HANG_S):
            yield Server(app, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


class Listener:
    """Puts together what is received over any number of sockets, as a player would."""

    def __init__(self) -> None:
        self.start: AudioStreamStart | None = None
        self.epoch = 0
        self.pieces: dict[int, np.ndarray] = {}
        self.next = 0
        self.done = False

    def take(self, item: object) -> None:
        if isinstance(item, AudioStreamStart):
            self.start, self.epoch = item, item.epoch
        elif isinstance(item, Clear):
            self.epoch = item.epoch
            limit = 0 if item.keep_until is None else item.keep_until
            self.pieces = {p: x[:, : limit - p] for p, x in self.pieces.items() if p < limit}
            self.next = limit
        elif isinstance(item, AudioStreamEnd):
            self.done = item.reason == "completed"
        elif isinstance(item, tuple) and item[0].epoch == self.epoch:
            frame, samples = item
            assert not self.pieces or frame.position == self.next
            self.pieces[frame.position] = samples
            self.next = frame.position + frame.frames

    async def listen(self, client: Client, frames: int | None = None) -> None:
        """Take what comes until `frames` more audio frames, or the end."""
        while frames is None or frames > 0:
            item = await client.receive()
            self.take(item)
            if self.done:
                return
            if frames is not None and isinstance(item, tuple):
                frames -= 1

    @property
    def resuming(self) -> Resuming:
        assert self.start is not None
        return Resuming(self.start.stream, self.epoch, self.next, self.start.token)

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate([self.pieces[p] for p in sorted(self.pieces)], axis=1)


async def come_back(client: Client, listener: Listener, hello: Hello = SLOW) -> object:
    return await client.request(replace(hello, resume=listener.resuming))


@pytest.mark.parametrize("enhanced", [False, True])
async def test_stream_goes_on_bit_for_bit_over_another_socket(library: Library, enhanced: bool) -> None:
    xs = [music(2.5, 0), music(2.5, 1)]
    tracks = [library.add(f"{i}.flac", x) for i, x in enumerate(xs)]
    plans = [ac.plan(library.measure(t), "warm") if enhanced else ac.bypass_plan() for t in tracks]
    rng = np.random.default_rng(1)
    listener = Listener()
    async with serving(library) as server:
        for drops in range(6):
            async with server.connect() as client:
                if drops == 0:
                    await client.request(SLOW)
                    play = PlayEnhanced if enhanced else PlayNormal
                    await client.request(play(track_id=tracks[0].id, preset="warm"))
                    await client.request(Queue(track_ids=[tracks[1].id]))
                else:
                    at = listener.next
                    ok = await come_back(client, listener)
                    assert ok.at_frame == at
                await listener.listen(client, None if drops == 5 else int(rng.integers(3, 25)))
                if drops < 5:
                    client.drop()
                    await server.parked()
    offline = [ac.render_array(x, RATE, plan) for x, plan in zip(xs, plans, strict=True)]
    assert_array_equal(listener.samples, np.concatenate(offline, axis=1))


async def test_stream_is_taken_over_before_the_server_knows_the_line_is_dead(library: Library) -> None:
    x = music(4)
    track = library.add("song.flac", x)
    listener = Listener()
    async with serving(library) as server, server.connect() as old, server.connect() as new:
        await old.request(SLOW)
        await old.request(PlayNormal(track_id=track.id))
        await listener.listen(old, 12)
        ok = await come_back(new, listener)
        heard = await hear(new, lambda i: isinstance(i, Params))
        clear, start = heard.first(Clear), heard.first(TrackStart)
        assert clear.keep_until == start.at_frame == start.track_frame == ok.at_frame == listener.next
        for event in heard.events:
            listener.take(event)
        with pytest.raises(ConnectionError):  # the old line is cut
            await listener.listen(old)
        await listener.listen(new)
        await until(lambda: len(server.app[SESSIONS]) == 1)
    assert_array_equal(listener.samples, x)


async def test_wrong_claims_are_refused_and_lose_nothing(library: Library) -> None:
    x = music(3)
    track = library.add("song.flac", x)
    listener = Listener()
    async with serving(library) as server:
        async with server.dropping() as client:
            await client.request(PlayNormal(track_id=track.id))
            await listener.listen(client, 10)
        right = listener.resuming
        async with server.connect() as client:
            for wrong, code in (
                (replace(right, token=right.token[:-1] + "ä"), "not_resumable"),
                (replace(right, token=""), "not_resumable"),
                (replace(right, stream=right.stream + 1), "not_resumable"),
                (replace(right, next_frame=10**9), "out_of_range"),
                (replace(right, epoch=right.epoch + 1), "out_of_range"),
            ):
                assert (await client.refusal(replace(SLOW, resume=wrong))).code == code
            assert server.parking.parked == 1
            # The refused hello still counts, and so does the session.
            await client.request(Ping())
            await come_back(client, listener)
            assert (await client.refusal(replace(SLOW, resume=right))).code == "not_resumable"  # plays here
            await listener.listen(client)
        assert_array_equal(listener.samples, x)


async def test_stream_that_nobody_takes_up_ends(library: Library) -> None:
    track = library.add("song.flac", music(3))
    listener = Listener()
    async with serving(library, park_s=0.05) as server:
        async with server.connect() as client:
            await client.request(PlayNormal(track_id=track.id))
            await listener.listen(client, 3)
            client.drop()
            await until(lambda: server.app[STUDIO].streams == 0)
        async with server.connect() as client:
            assert (await client.refusal(replace(SLOW, resume=listener.resuming))).code == "not_resumable"
            await client.request(PlayNormal(track_id=track.id))


async def test_closing_or_stopping_is_not_dropping(library: Library) -> None:
    track = library.add("song.flac", music(3))
    async with serving(library) as server:
        async with server.connect() as client:
            await client.request(PlayNormal(track_id=track.id))
        await until(lambda: server.app[STUDIO].streams == 0)
        async with server.connect() as client:
            await client.request(PlayNormal(track_id=track.id))
            await client.request(Stop())
            client.drop()
        await until(lambda: server.app[STUDIO].streams == 0)
        assert server.parking.parked == 0


async def test_seek_that_was_missed_has_happened(library: Library) -> None:
    x = music(5)
    track = library.add("song.flac", x)
    listener = Listener()
    async with serving(library) as server:
        async with server.dropping() as client:
            await client.request(PlayNormal(track_id=track.id))
            await listener.listen(client, 5)
            ok = await client.request(Seek(seconds=3))  # its `clear` is never looked at
        async with server.connect() as client:
            again = await come_back(client, listener)
            assert again.at_frame == ok.at_frame == 3 * RATE
            heard = await hear(client)
    assert heard.first(Clear).keep_until is None
    rest = np.ascontiguousarray(x[:, 3 * RATE :])
    assert_array_equal(
        heard.samples, ac.crossfade(np.zeros_like(rest), rest, "equal_gain", 0, round(0.01 * RATE))
    )


async def test_switch_that_was_missed_is_heard(library: Library) -> None:
    x = music(6)
    track = library.add("song.flac", x)
    fp = library.measure(track)
    listener = Listener()
    async with serving(library) as server:
        async with server.dropping(EAGER) as client:
            await client.request(PlayEnhanced(track_id=track.id))
            await listener.listen(client)
            await client.send(Credit(upto=20 * RATE, played=RATE))
            ok = await client.request(Set(preset="bright"))
        listener.done = False
        async with server.connect() as client:
            again = await come_back(client, listener, EAGER)
            assert again.at_frame == ok.at_frame < listener.next
            await listener.listen(client)
    with ac.Renderer(track.path, ac.plan(fp)) as r:
        head = r.read(ok.at_frame)
        r.set_plan(ac.plan(fp, "bright"), crossfade=2048)
        assert_array_equal(listener.samples, np.concatenate([head, r.read(r.frames)], axis=1))


async def test_what_is_paused_stays_paused_and_everything_still_works(library: Library) -> None:
    tracks = [library.add("a.flac", music(3)), library.add("b.flac", music(1, 1))]
    listener = Listener()
    async with serving(library) as server:
        async with server.dropping() as client:
            await client.request(PlayNormal(track_id=tracks[0].id))
            await client.request(Queue(track_ids=[tracks[1].id]))
            await listener.listen(client, 6)
            await client.request(Pause())
        async with server.connect() as client:
            await come_back(client, listener)
            await client.request(Ping())
            assert not [i for i in client.received() if isinstance(i, tuple)]
            await client.request(Resume())
            await client.frame()
            await client.request(Set(bypass=False))
            await client.request(Seek(seconds=1))
            await client.request(Next())
            heard = await hear(client)
            assert heard.samples.shape[1] >= RATE


async def test_parked_streams_are_bounded_in_number(library: Library) -> None:
    track = library.add("song.flac", music(3))
    async with serving(library) as server:
        server.parking._most = 2
        listeners = []
        for i in range(4):
            listeners.append(Listener())
            async with server.connect() as client:
                await client.request(PlayNormal(track_id=track.id))
                await listeners[-1].listen(client, 2)
                client.drop()
                await server.parked(min(i + 1, 2))
        await until(lambda: server.app[STUDIO].streams == 2)
        async with server.connect() as client:
            for listener, waits in zip(listeners, (False, False, True, True), strict=True):
                if not waits:
                    refusal = await client.refusal(replace(SLOW, resume=listener.resuming))
                    assert refusal.code == "not_resumable"
            await come_back(client, listeners[3])
        # The one still parked ends with the server, which leaves nothing behind.
        assert server.parking.parked >= 1
    assert server.app[STUDIO].streams == 0


async def test_parked_stream_keeps_nobody_out_and_comes_back_when_there_is_room(library: Library) -> None:
    x = music(6)
    track = library.add("song.flac", x)
    library.measure(track)
    listener = Listener()
    async with serving(library, render_share=1e-9) as server:  # room for one
        async with server.dropping() as client:
            await client.request(PlayNormal(track_id=track.id))
            await listener.listen(client, 10)
        async with server.connect() as other, server.connect() as client:
            await other.request(SLOW)
            await other.request(PlayNormal(track_id=track.id))
            await other.frame()
            refusal = await client.refusal(replace(SLOW, resume=listener.resuming))
            assert (refusal.code, refusal.retry_after_ms) == ("busy", RETRY_MS)
            assert server.parking.parked == 1  # it goes on waiting
            wrong = replace(listener.resuming, token="")
            assert (await client.refusal(replace(SLOW, resume=wrong))).code == "not_resumable"
            await other.request(Stop())
            await until(lambda: server.app[STUDIO].streams == 1)
            await come_back(client, listener)
            assert (await other.refusal(PlayNormal(track_id=track.id))).code == "busy"
            await listener.listen(client)
    assert_array_equal(listener.samples, x)
    studio = server.app[STUDIO]
    assert (studio.streams, studio.parked) == (0, 0)


async def test_file_harmed_while_its_stream_was_parked_is_said_on_return(library: Library) -> None:
    x, y = music(20), music(1, seed=1)
    tracks = [library.add("a.wav", x), library.add("b.wav", y)]
    listener = Listener()
    async with serving(library) as server:
        async with server.dropping() as client:
            await client.request(PlayNormal(track_id=tracks[0].id))
            await client.request(Queue(track_ids=[tracks[1].id]))
            await listener.listen(client, 30)
        os.truncate(tracks[0].path, 44 + 4 * 100)
        async with server.connect() as client:
            assert (await client.refusal(replace(SLOW, resume=listener.resuming))).code == "unreadable"
            heard = await hear(client)  # and what follows plays
        assert [e.track_id for e in heard.all(Error)] == [tracks[0].id]
        assert heard.first(AudioStreamEnd).reason == "completed"
        assert_array_equal(heard.samples, y)


async def test_stream_taken_over_needs_no_room_of_its_own(library: Library) -> None:
    track = library.add("song.flac", music(4))
    library.measure(track)
    listener = Listener()
    async with (
        serving(library, render_share=1e-9) as server,
        server.connect() as old,
        server.connect() as new,
    ):
        await old.request(SLOW)
        await old.request(PlayNormal(track_id=track.id))
        await listener.listen(old, 5)
        await come_back(new, listener)
        assert server.app[STUDIO].parked == 0


async def test_switch_that_was_sent_but_not_received_takes_effect_at_once(library: Library) -> None:
    x = music(4)
    track = library.add("song.flac", x)
    fp = library.measure(track)
    listener = Listener()
    async with serving(library) as server:
        async with server.dropping() as client:
            await client.request(PlayEnhanced(track_id=track.id))
            await listener.listen(client, 3)
            ok = await client.request(Set(preset="bright"))  # at what is sent next; nothing of it is taken
        at = listener.next
        assert at < ok.at_frame
        async with server.connect() as client:
            again = await come_back(client, listener)
            assert again.at_frame == at
            params = await client.event(Params)
            assert (params.preset, params.at_frame, params.crossfade_frames) == ("bright", at, 2048)
            heard = await hear(client)
    with ac.Renderer(track.path, ac.plan(fp)) as r:
        r.read(at)
        r.set_plan(ac.plan(fp, "bright"), crossfade=2048)
        assert_array_equal(heard.samples, r.read(r.frames))

"""What a listener meets: an empty database, a known library, and many listeners at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, closing

import aiohttp
import numpy as np
from auralis_server import binary
from auralis_server.app import running
from auralis_server.client import Client
from auralis_server.commands import Hello, PlayEnhanced
from auralis_server.events import AudioStreamEnd, Chunk, FingerprintProgress, Params, TrackStart
from numpy.testing import assert_array_equal
from serving import RATE, Heard, Library, connected, hear, is_frame, music

import auralis_core as ac
from auralis_core.dataset import Dataset

LIVE = Hello(lead_ms=300, max_buffer_ms=900)


async def sources(address: str) -> dict[str, dict[str, int]]:
    """The counters of every fingerprint source."""
    async with aiohttp.ClientSession() as http, http.get(f"{address}/api/system/status") as answer:
        return {row["name"]: row for row in (await answer.json())["sources"]}


async def test_a_cold_cache_sounds_at_once_and_morphs_once(library: Library) -> None:
    track = library.add("song.flac", music(8))
    async with connected(library, LIVE) as client:
        await client.request(PlayEnhanced(track_id=track.id))
        heard = await hear(client)
    events = heard.events
    first_audio, _ = heard.frames[0]
    assert first_audio.flags & binary.STANDARD_PLAN
    assert heard.first(TrackStart).fingerprint == "pending"
    # The search begins only once the first audio is on its way, and is never waited for.
    assert [e.status for e in heard.all(FingerprintProgress)] == ["computing", "ready"]
    assert [p.standard for p in heard.all(Params)] == [True, False]
    assert heard.all(Params)[1].crossfade_frames == 3 * RATE
    regions = [c.region for c in heard.all(Chunk)]
    assert regions[0] == "standard"
    assert regions[-1] == heard.all(Params)[1].decision.region
    assert isinstance(events[-1], AudioStreamEnd)
    with closing(Dataset(library.db)) as dataset:
        assert dataset.fingerprint(track.id) is not None


async def test_b_warm_cache_plays_its_own_plan_and_computes_nothing(library: Library) -> None:
    track = library.add("song.flac", music(2))
    fp = library.measure(track)
    async with running(library.config()) as address, Client.connect(address) as client:
        await client.request(Hello(lead_ms=600_000, max_buffer_ms=600_000))
        for _ in range(2):
            await client.request(PlayEnhanced(track_id=track.id))
            heard = await hear(client)
            with ac.Renderer(track.path, ac.plan(fp)) as r:
                assert_array_equal(heard.samples, r.read(r.frames))
        counters = await sources(address)
    assert counters["database"]["hits"] == 2
    assert counters["local"]["hits"] == counters["local"]["failures"] == 0


async def test_e_hundred_plays_of_one_unknown_track_compute_it_once(library: Library) -> None:
    known = [library.add(f"{i}.flac", music(3, i)) for i in range(4)]
    for track in known:
        library.measure(track)
    unknown = library.add("new.flac", music(4, 9))
    async with running(library.config()) as address, AsyncExitStack() as stack, asyncio.timeout(60):
        clients = [await stack.enter_async_context(Client.connect(address)) for _ in range(100)]

        async def play(client: Client, id: int, until: int) -> Heard:
            await client.request(LIVE)
            ok = await client.request(PlayEnhanced(track_id=id))
            heard = await hear(client, lambda i: is_frame(i, epoch=ok.epoch, start=until))
            heard.frames = [(f, x) for f, x in heard.frames if f.stream == ok.stream]
            assert np.isfinite(heard.samples).all()
            return heard

        # Five at first, some known, one not: all are under way before any is over.
        ids = [t.id for t in known] + [unknown.id]
        five = await asyncio.gather(*(play(c, id, RATE // 2) for c, id in zip(clients[:5], ids, strict=True)))
        assert all(heard.frames[0][0].position == 0 for heard in five)
        # Then a hundred of one that is not known.
        third = library.add("another.flac", music(4, 11))
        hundred = await asyncio.gather(*(play(c, third.id, RATE // 2) for c in clients))
        for heard in hundred:
            frames = [f for f, _ in heard.frames]
            assert [f.position for f in frames] == list(np.cumsum([0, *(f.frames for f in frames)])[:-1])

        def is_ready(item: object) -> bool:
            return (isinstance(item, FingerprintProgress) and item.status == "ready") or (
                isinstance(item, TrackStart) and item.fingerprint == "cached"
            )

        # The last of them may have heard so already, with its audio.
        if not any(map(is_ready, hundred[-1].events)):
            await hear(clients[-1], is_ready)
        counters = await sources(address)
    assert counters["local"]["hits"] <= 2  # one for each unknown track, however many asked
    assert counters["local"]["failures"] == 0

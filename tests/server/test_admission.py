"""Listeners beyond what the machine carries are told so: their cost is measured, the budget made small."""

from __future__ import annotations

import math
import time

import aiohttp
import pytest
from auralis_server.admission import RETRY_MS, Admission
from auralis_server.app import STUDIO, create_app, running
from auralis_server.client import Client
from auralis_server.commands import PlayEnhanced, Stop
from auralis_server.events import AudioStreamEnd
from auralis_server.refusal import ProtocolError
from serving import Library, music

#: So little that one stream, measured, fills it.
NOTHING = 1e-9


def burn(seconds: float) -> None:
    """Use the processor for this long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_everybody_fits_until_something_was_measured() -> None:
    admission = Admission(share=0.8, cores=2)
    assert (admission.cost, admission.capacity) == (0.0, math.inf)
    admission.admit(10_000)


def test_capacity_follows_from_what_was_spent() -> None:
    admission = Admission(share=0.5, cores=4)
    admission.delivered(0.0)
    admission.measured(burn, 0.02)
    admission.delivered(1.0)
    # 20 ms and a little, in this thread twice: it renders here and is the event loop as well.
    assert 0.04 <= admission.cost < 0.06
    # A loop has one core, however many there are.
    assert admission.capacity == pytest.approx(
        min(2.0 / admission.cost, 0.5 / (admission.cost - 0.02)), rel=0.1
    )
    fits = int(admission.capacity)
    admission.admit(fits - 1)
    with pytest.raises(ProtocolError) as refusal:
        admission.admit(fits)
    assert (refusal.value.code, refusal.value.retry_after_ms) == ("busy", RETRY_MS)
    assert admission.refused == 1


def test_old_measurements_fade() -> None:
    admission = Admission(share=1.0, cores=1)
    for _ in range(60):
        admission.measured(burn, 0.003)
        admission.delivered(10.0)
    dear = admission.render_cost
    for _ in range(60):
        admission.delivered(10.0)
    # 600 s are five memories: e⁻⁵ is left; without fading it would be a half.
    assert admission.render_cost < 0.01 * dear


async def test_rendering_and_sending_both_count(library: Library) -> None:
    track = library.add("a.wav", music(2))
    library.measure(track)
    app = create_app(library.config())
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    try:
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with Client.connect("http://127.0.0.1:{1}".format(*runner.addresses[0])) as client:
            await client.request(PlayEnhanced(track_id=track.id))
            await client.event(AudioStreamEnd)
    finally:
        await runner.cleanup()
    admission = app[STUDIO].admission
    assert min(admission.render_cost, admission.loop_cost) > 0


async def test_stream_too_many_is_busy_and_what_plays_may_be_replaced(library: Library) -> None:
    tracks = [library.add(f"{i}.wav", music(30, seed=i)) for i in range(2)]
    for track in tracks:
        library.measure(track)
    async with (
        running(library.config(render_share=NOTHING)) as address,
        Client.connect(address) as first,
        Client.connect(address) as second,
        aiohttp.ClientSession(address) as http,
    ):
        await first.request(PlayEnhanced(track_id=tracks[0].id))
        await first.frame()
        refusal = await second.refusal(PlayEnhanced(track_id=tracks[1].id))
        assert (refusal.code, refusal.retry_after_ms) == ("busy", RETRY_MS)
        async with http.get(f"/api/tracks/{tracks[1].id}/stream.wav") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, str(RETRY_MS // 1000))
            assert (await answer.json())["error"]["code"] == "busy"
        async with http.get("/api/system/status") as answer:
            capacity = (await answer.json())["capacity"]
        assert (capacity["streams"], capacity["refused"]) == (0, 2)
        assert capacity["cpu_ms_per_audio_s"] > 0
        # Going on to another track is nobody more.
        await first.request(PlayEnhanced(track_id=tracks[1].id))
        # When the place is free, it is given.
        await first.request(Stop())
        while True:
            async with http.get("/api/system/status") as answer:
                if not (await answer.json())["streams"]:
                    break
        await second.request(PlayEnhanced(track_id=tracks[0].id))
        await second.frame()

"""One conversation: every request answered once, nothing wrong ends the music, everything given back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from auralis_server import protocol
from auralis_server.app import SESSIONS, STUDIO, create_app, running
from auralis_server.client import Client, RequestError
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
    Seek,
    Set,
    Stop,
)
from auralis_server.events import AudioStreamEnd, AudioStreamStart, Error, Pong, ServerHello
from auralis_server.outbox import Outbox, Reply
from auralis_server.session import HARD_LIMIT
from serving import EAGER, HANG_S, RATE, Library, connected, hear, is_frame, music

#: Visits cut off at a random moment; ``AURALIS_CANCELS=2000`` takes a minute.
CANCELS = int(os.environ.get("AURALIS_CANCELS", "200"))

SLOW = Hello(lead_ms=100, max_buffer_ms=200)

BAD = [
    ("not json", "bad_json"),
    ("[1, 2]", "bad_json"),
    ('{"type":"ping"', "bad_json"),
    ('{"type":"ping","id":1e3000}', "bad_json"),
    ('{"type":"ping","id":"1"}', "bad_json"),
    (b"\x00\x01\x02", "binary_message"),
    ('{"type":"dance"}', "unknown_type"),
    ('{"type":"queue","data":{"track_ids":["1"]}}', "bad_message"),
    ('{"type":"queue","data":{"track_ids":[1],"crossfade_seconds":0.5}}', "out_of_range"),
    ('{"type":"queue","data":{"track_ids":[1],"crossfade_seconds":12.5}}', "out_of_range"),
    ('{"type":"queue","data":{"track_ids":[1],"crossfade_seconds":1e999}}', "bad_message"),
    ('{"type":"queue","data":{"track_ids":[' + ",".join("1" * 1001) + "]}}", "out_of_range"),
    ('{"type":"next"}', "no_next"),
    ('{"type":"play_enhanced"}', "bad_message"),
    ('{"type":"play_enhanced","data":{"track_id":"1"}}', "bad_message"),
    ('{"type":"play_enhanced","data":{"track_id":12345}}', "unknown_track"),
    ('{"type":"play_enhanced","data":{"track_id":1,"preset":"loud"}}', "unknown_preset"),
    ('{"type":"play_enhanced","data":{"track_id":1,"intensity":1.5}}', "out_of_range"),
    ('{"type":"play_enhanced","data":{"track_id":1,"start_seconds":99}}', "out_of_range"),
    ('{"type":"play_normal","data":{"track_id":1,"start_seconds":-1}}', "out_of_range"),
    ('{"type":"seek","data":{"seconds":1e9}}', "out_of_range"),
    ('{"type":"seek","data":{"seconds":1e999}}', "bad_message"),
    ('{"type":"seek","data":{"seconds":NaN}}', "bad_json"),
    ('{"type":"set","data":{"preset":"loud"}}', "unknown_preset"),
    ('{"type":"set","data":{"intensity":-0.5}}', "out_of_range"),
    ('{"type":"credit","data":{"upto":-5}}', "out_of_range"),
    ('{"type":"hello","data":{"protocol":2}}', "unsupported"),
    ('{"type":"hello","data":{"formats":["mp3"]}}', "unsupported"),
    ('{"type":"ping","data":{"x":"' + "y" * 20_000 + '"}}', "too_large"),
]


async def test_bad_input_is_answered_by_its_code_and_the_stream_goes_on(library: Library) -> None:
    x = music(4)
    track = library.add("song.flac", x)
    async with connected(library, SLOW) as client:
        await client.request(PlayNormal(track_id=track.id))
        samples = []
        for text, code in BAD:
            await client.send_raw(text)
            while not isinstance(item := await client.receive(), Error):
                assert not isinstance(item, AudioStreamEnd)
                if isinstance(item, tuple):
                    samples.append(item[1])
            assert item.code == code, text
        samples += [s for _, s in (await hear(client, lambda i: is_frame(i, start=RATE))).frames]
        got = np.concatenate(samples, axis=1)
        np.testing.assert_array_equal(got, x[:, : got.shape[1]])


async def test_nothing_to_act_on_is_no_stream_whatever_comes_first(library: Library) -> None:
    track = library.add("song.wav", music(1))
    orders = [
        Seek(seconds=0),
        Next(),
        Queue(track_ids=[track.id]),
        Set(bypass=True),
        Pause(),
        Resume(),
        Stop(),
    ]
    async with connected(library, None) as client:
        for order in orders:
            assert (await client.refusal(order)).code == "no_stream"
        await client.request(Credit(upto=5, played=3))  # means nothing, and harms nothing
        assert (await client.refusal(PlayNormal(track_id=77))).code == "unknown_track"
        for order in orders:
            assert (await client.refusal(order)).code == "no_stream"
        await client.request(PlayNormal(track_id=track.id))
        await client.request(Resume())  # not paused
        for credit in (Credit(upto=0, played=10**9), Credit(upto=10**9, played=0, epoch=10**6)):
            await client.request(credit)  # of audio never sent; of an epoch never begun
        assert (await hear(client)).first(AudioStreamEnd).delivered_frames == track.frames


async def test_message_beyond_the_hard_limit_closes_its_socket_and_no_other(library: Library) -> None:
    x = music(2)
    track = library.add("song.wav", x)
    async with (
        asyncio.timeout(HANG_S),
        running(library.config()) as address,
        Client.connect(address) as other,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{address}/ws", max_msg_size=0) as ws,
    ):
        await other.request(SLOW)
        await other.request(PlayNormal(track_id=track.id))
        await ws.send_str(protocol.encode(PlayNormal(track_id=track.id)).decode())
        await ws.send_str('{"type":"ping","data":{"x":"' + "y" * HARD_LIMIT + '"}}')
        while (await ws.receive()).type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
            pass
        assert ws.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        np.testing.assert_array_equal((await hear(other)).samples, x)
        async with http.get(f"{address}/api/system/status") as answer:
            assert (await answer.json())["streams"] == 1  # the other's; a socket closed so is not parked


async def test_every_request_gets_exactly_one_answer(library: Library) -> None:
    track = library.add("song.wav", music(1))
    asked = [
        *(Ping(), EAGER, Credit(upto=5), Seek(seconds=0), Pause(), Stop(), PlayNormal(track_id=track.id)),
        *(Set(bypass=False), Seek(seconds=0.5), Seek(seconds=0.1), Seek(seconds=7), Pause(), Resume()),
        *(PlayEnhanced(track_id=77), PlayEnhanced(track_id=track.id), Seek(seconds=0.2), Set(intensity=0.5)),
        *(PlayNormal(track_id=track.id), PlayNormal(track_id=track.id), Stop(), Stop(), Seek(seconds=0)),
    ]
    async with (
        asyncio.timeout(HANG_S),
        running(library.config()) as address,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{address}/ws", max_msg_size=0) as ws,
    ):
        for id, command in enumerate(asked):
            await ws.send_str(protocol.encode(command, id).decode())
        answers: dict[int, int] = {}
        while sum(answers.values()) < len(asked):
            message = await ws.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                said = json.loads(message.data)
                if "id" in said:
                    assert said["type"] in ("ok", "error")
                    answers[said["id"]] = answers.get(said["id"], 0) + 1
        # A ping after everything else: were there a second answer to anything, it would come before.
        await ws.send_str('{"type":"ping","id":1000}')
        while True:
            message = await ws.receive()
            if message.type is aiohttp.WSMsgType.TEXT and "id" in (said := json.loads(message.data)):
                assert said == {"type": "ok", "data": {}, "id": 1000}
                break
    assert answers == dict.fromkeys(range(len(asked)), 1)


@pytest.mark.parametrize("id", [None, 7])
async def test_reply_is_given_once(id: int | None) -> None:
    for first, second in (("ok", "error"), ("error", "ok"), ("error", "error"), ("ok", "ok")):
        outbox = Outbox(lambda: None)
        reply = Reply(outbox, id)
        for kind in (first, second):
            reply.ok() if kind == "ok" else reply.error("no_stream", "why")
        said = [json.loads(text) for text in outbox.waiting()]
        assert [(s["type"], s.get("id")) for s in said] == (
            [] if id is None and first == "ok" else [(first, id)]
        )


async def test_hello_is_answered_by_what_was_agreed(library: Library) -> None:
    async with connected(library, None) as client:
        await client.send(Hello(formats=["flac", "s16le", "f32le"], lead_ms=250, max_buffer_ms=900))
        hello = await client.event(ServerHello)
        assert (hello.format, hello.lead_ms, hello.max_buffer_ms) == ("s16le", 250, 900)
        assert "adaptive" in hello.presets
        await client.send(Ping())
        await client.event(Pong)


async def test_a_client_that_knows_only_play_enhanced_is_served(library: Library) -> None:
    track = library.add("song.flac", music(1))
    library.measure(track)
    async with connected(library, None) as client:
        await client.send_raw(json.dumps({"type": "play_enhanced", "data": {"track_id": track.id}}))
        heard = await hear(client)
    assert heard.samples.shape == (2, track.frames)
    assert heard.first(AudioStreamEnd).reason == "completed"


async def test_a_new_play_supersedes_the_old_one(library: Library) -> None:
    a, b = library.add("a.wav", music(5)), library.add("b.wav", music(1, seed=1))
    async with connected(library, SLOW) as client:
        one = await client.request(PlayNormal(track_id=a.id))
        two = await client.request(PlayNormal(track_id=b.id))
        end = await client.event(AudioStreamEnd)
        assert (end.stream, end.reason) == (one.stream, "superseded")
        start = await client.event(AudioStreamStart)
        assert (start.stream, start.epoch) == (two.stream, two.epoch)
        assert two.epoch > one.epoch
        heard = await hear(client)
        assert {f.stream for f, _ in heard.frames} == {two.stream}


async def test_a_play_that_fails_leaves_the_music_alone(library: Library) -> None:
    x = music(3)
    good, bad = library.add("good.wav", x), library.add("bad.wav", music(1))
    outside = library.folder.parent / "outside.wav"
    os.rename(bad.path, outside)
    async with connected(library, SLOW) as client:
        await client.request(PlayNormal(track_id=good.id))
        assert (await client.refusal(PlayEnhanced(track_id=bad.id))).code == "unreadable"  # missing
        os.symlink(outside, bad.path)
        assert (await client.refusal(PlayEnhanced(track_id=bad.id))).code == "unreadable"  # leads out
        os.unlink(bad.path)
        os.mkfifo(bad.path)
        assert (await client.refusal(PlayEnhanced(track_id=bad.id))).code == "unreadable"  # would block
        os.unlink(bad.path)
        library.folder.joinpath("bad.wav").write_bytes(b"RIFF....WAVEfmt ")
        refusal = await client.refusal(PlayEnhanced(track_id=bad.id))
        assert refusal.code == "unreadable"
        assert str(library.folder) not in refusal.message
        heard = await hear(client, lambda i: is_frame(i, start=RATE))
    np.testing.assert_array_equal(heard.samples, x[:, : heard.samples.shape[1]])


async def test_stop_ends_the_stream_and_says_so(library: Library) -> None:
    track = library.add("song.wav", music(5))
    async with connected(library, SLOW) as client:
        await client.request(PlayNormal(track_id=track.id))
        await client.request(Stop())
        assert (await client.event(AudioStreamEnd)).reason == "stopped"
        for command in (Stop(), Seek(seconds=1), Set(bypass=True), Pause(), Resume()):
            assert (await client.refusal(command)).code == "no_stream"


async def test_two_sockets_do_not_hear_each_other(library: Library) -> None:
    x, y = music(2), music(2, seed=1)
    a, b = library.add("a.wav", x), library.add("b.wav", y)
    async with (
        running(library.config()) as address,
        Client.connect(address) as one,
        Client.connect(address) as two,
    ):
        for client, track in ((one, a), (two, b)):
            await client.request(EAGER)
            await client.request(PlayNormal(track_id=track.id))
        await one.request(Set(bypass=False, intensity=0))
        np.testing.assert_array_equal((await hear(two)).samples, y)


class Baseline:
    """What a server holds while nobody is connected."""

    def __init__(self, app: aiohttp.web.Application, *folders: Path) -> None:
        self._app = app
        self._folders = folders
        self._files = self._open_files()
        self._tasks = len(asyncio.all_tasks())

    @staticmethod
    def _open_files() -> int:
        names = []
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                names.append(os.readlink(f"/proc/self/fd/{fd}"))
        return sum("music" in name for name in names)

    def temporary_files(self) -> list[Path]:
        """What is half written beside its place, and what lies where this process puts such things."""
        beside = [p for folder in self._folders for p in folder.rglob(".auralis-*.tmp")]
        return beside + list(Path(tempfile.gettempdir()).iterdir())

    def is_restored(self) -> bool:
        studio = self._app[STUDIO]
        return (
            not self._app[SESSIONS]
            and studio.streams == 0
            and studio.calm.is_set()
            and studio.sources.flights == 0
            and self._open_files() == self._files
            and not self.temporary_files()
            and len(asyncio.all_tasks()) <= self._tasks
        )


def resident_bytes() -> int:
    """Memory of this process in RAM."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


async def until(done: Callable[[], bool]) -> None:
    """Let the loop turn until `done`."""
    async with asyncio.timeout(HANG_S):
        while not done():  # noqa: ASYNC110 - there is no event for "nothing is left"
            await asyncio.sleep(0.001)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
async def test_random_cancels_give_everything_back(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))  # other processes have theirs in the common one
    tracks = [library.add(f"{i}.flac", music(3, seed=i)) for i in range(3)]
    rng = random.Random(7)
    app = create_app(library.config(park_s=0.1))
    runner = aiohttp.web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        baseline = Baseline(app, library.folder, library.db.parent)

        async def visit() -> None:
            async with Client.connect(address) as client:
                with contextlib.suppress(ConnectionError, RequestError):
                    for _ in range(rng.randrange(1, 8)):
                        command = rng.choice(
                            [
                                PlayEnhanced(
                                    track_id=rng.choice(tracks).id, preset=rng.choice(["warm", "bright"])
                                ),
                                PlayNormal(track_id=rng.choice(tracks).id, start_seconds=rng.uniform(0, 2.9)),
                                Seek(seconds=rng.uniform(0, 2.9)),
                                Set(bypass=rng.random() < 0.5),
                                Queue(
                                    track_ids=[rng.choice(tracks).id for _ in range(rng.randrange(4))],
                                    crossfade_seconds=rng.choice([0, 1]),
                                ),
                                Next(),
                                Pause(),
                                Credit(upto=10**6, played=rng.randrange(RATE)),
                                Stop(),
                            ]
                        )
                        if rng.random() < 0.5:
                            await client.request(command)
                        else:
                            await client.send(command)
                    if rng.random() < 0.3:
                        client.drop()

        resident = 0
        for turn in range(CANCELS // 4):
            if turn == 40:  # everything has been used once
                resident = resident_bytes()
            visits = [asyncio.create_task(visit()) for _ in range(4)]
            for task in visits:
                asyncio.get_running_loop().call_later(rng.uniform(0, 0.03), task.cancel)
            await asyncio.gather(*visits, return_exceptions=True)
        await until(baseline.is_restored)
        if CANCELS > 1000:
            # What a thread arena may keep of one stream each; a leak of 100 kB a visit would be 180 MB.
            assert resident_bytes() - resident < 32 * 2**20
        threads = [t.name for t in threading.enumerate()]
        assert len([t for t in threads if t.startswith("render")]) <= max(4, os.cpu_count() or 1)
        # And it still plays.
        async with Client.connect(address) as client:
            await client.request(EAGER)
            await client.request(PlayNormal(track_id=tracks[0].id))
            assert (await hear(client)).samples.shape == (2, tracks[0].frames)
        await until(baseline.is_restored)
    finally:
        await runner.cleanup()


async def test_a_reader_that_stops_is_bounded_and_closed(library: Library) -> None:
    track = library.add("song.wav", music(60))
    app = create_app(library.config(stall_s=2.0))
    runner = aiohttp.web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        for command in (EAGER, PlayNormal(track_id=track.id)):
            text = protocol.encode(command)
            assert len(text) < 126
            writer.write(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)  # a mask of zeros
        await until(lambda: bool(app[SESSIONS]))
        (session,) = app[SESSIONS]
        async with Client.connect(f"http://127.0.0.1:{port}") as other:
            await other.request(EAGER)
            await other.request(PlayNormal(track_id=track.id))
            # The other one gets its whole minute while this one reads nothing.
            assert (await hear(other)).samples.shape == (2, track.frames)
            held = session.held_bytes
        # One batch may be in the outbox beyond its mark, one frame in the transport beyond its own.
        assert 0 < held <= 2 * 64 * 1024 + 32 * 1024 + 2 * 16 * 1024 + 4096
        await until(lambda: session not in app[SESSIONS])
    finally:
        writer.close()
        await runner.cleanup()


async def test_a_stopping_server_tells_its_clients(library: Library) -> None:
    track = library.add("song.flac", music(30))
    server = running(library.config())
    address = await server.__aenter__()
    async with Client.connect(address) as client:
        await client.request(SLOW)
        await client.request(PlayEnhanced(track_id=track.id))
        await client.frame()
        async with asyncio.timeout(HANG_S):
            stopped = asyncio.create_task(server.__aexit__(None, None, None))
            heard = []
            with contextlib.suppress(ConnectionError):
                while True:
                    heard.append(await client.receive())
            await stopped
    assert [e.code for e in heard if isinstance(e, Error)] == ["shutting_down"]
    assert [e.reason for e in heard if isinstance(e, AudioStreamEnd)] == ["stopped"]

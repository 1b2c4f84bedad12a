"""`auralis bench first-audio` and `streams`: what they report, and that their listeners are honest.

How fast anything is depends on the machine and is not tested.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from auralis_server import bench, cli
from auralis_server.lag import LagProbe
from auralis_server.load import Listener, listen
from serving import RATE, Library, music

from auralis_core.bench import music as phrase


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capfd.readouterr()
    code = cli.run(cli.app, ["bench", *map(str, arguments)])
    return (code, *capfd.readouterr())


@pytest.fixture
def songs(library: Library) -> Path:
    """A folder of three short tracks."""
    for i in range(3):
        library.write(f"{i}.flac", phrase(20.0, seed=i))
    return library.folder


def test_first_audio_counts_every_wait(capfd, songs: Path) -> None:
    code, out, err = run(capfd, "first-audio", songs, "--plays", 4, "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    data = json.loads(out)
    assert set(data) == {"cold", "warm", "seek", "set", "by_format"}
    assert (data["cold"]["n"], data["warm"]["n"]) == (4, 4)
    assert (data["seek"]["n"], data["set"]["n"]) == (4, 4)
    assert data["by_format"] == {"flac": data["cold"]}
    assert all(0 < row["p50_ms"] <= row["p95_ms"] for row in (data["cold"], data["warm"], data["seek"]))
    assert list(songs.glob("*.25d")) == []  # works on a copy


def test_streams_searches_up_to_the_most(capfd, songs: Path) -> None:
    code, out, err = run(capfd, "streams", songs, "--most", 2, "--hold", 0.5, "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    data = json.loads(out)
    assert (data["streams"], data["limited_by"]) == (2, "the search")
    assert data["per_core"] == 2 / data["cores"]
    assert [trial["started"] for trial in data["trials"]] == [2]
    assert data["cpu_ms_per_audio_s"] > 0


def test_soak_fidgets_without_errors(capfd, songs: Path) -> None:
    code, out, err = run(capfd, "soak", songs, "--minutes", 0.05, "--streams", 2, "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    data = json.loads(out)
    assert (data["streams"], data["errors"]) == (2, {})
    assert data["commands"] >= 2
    assert data["audio_s"] > 0


def test_folder_without_music_is_one_line(capfd, tmp_path: Path) -> None:
    code, out, err = run(capfd, "streams", tmp_path)
    assert (code, out) == (1, "")
    assert "no music" in err


async def test_listeners_hear_every_frame_once(library: Library) -> None:
    track = library.add("a.flac", music(1))
    library.measure(track)
    async with bench.serving(library.folder, library.db, scan=False) as server:
        load = await listen(server.address, [track.id], streams=3, hold_s=1.0, per_s=50.0)
    assert (load.started, load.refused) == (3, 0)
    assert load.audio_s == 3.0


async def test_listener_notices_a_frame_that_comes_late() -> None:
    """Against a server that sends what a test tells it, bytes as they come."""
    from auralis_server.binary import Frame, pack_frame
    from auralis_server.events import AudioStreamStart
    from auralis_server.protocol import encode

    x = music(0.5)
    start = AudioStreamStart(
        stream=1, epoch=1, sample_rate=RATE, channels=2, format="f32le", total_frames=x.shape[1], token=""
    )

    def message(opcode: int, body: bytes) -> bytes:
        return bytes([0x80 | opcode, 127]) + len(body).to_bytes(8, "big") + body

    def frame(at: int, frames: int) -> bytes:
        head = Frame(0, 1, 1, 0, at, 0, frames, 0, 2)
        return message(2, pack_frame(head, x[:, at : at + frames].copy()))

    listener = Listener("x", 1)

    def feed(data: bytes, step: int) -> None:
        for i in range(0, len(data), step):
            part = data[i : i + step]
            listener.get_buffer(0)[: len(part)] = part
            listener.buffer_updated(len(part))

    class Wire(asyncio.Transport):
        def write(self, data: bytes) -> None:
            pass

    listener.connection_made(Wire())
    feed(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 7)
    feed(message(1, encode(start)), 11)
    at = 0
    while not listener.playing:
        feed(frame(at, 512), 1000)
        at += 512
    assert (listener.came, listener.underruns) == (at, 0)
    time.sleep(at / RATE)  # noqa: ASYNC251 - all of it has sounded before more comes
    feed(frame(at, 512), 1000)
    assert (listener.came, listener.underruns) == (at + 512, 1)


async def test_lag_probe_sees_a_loop_that_is_held() -> None:
    probe = LagProbe()
    await asyncio.sleep(0.05)
    time.sleep(0.2)  # noqa: ASYNC251 - the thing to be seen
    await asyncio.sleep(0.02)
    # Due every 10 ms, the wake-ups of 200 ms were late by 190, 180, … 0 ms, whatever else the machine did.
    assert probe.quantile_ms(1.0) >= 180
    assert probe.quantile_ms(0.9) >= 100
    probe.close()

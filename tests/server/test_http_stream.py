"""Tracks over plain HTTP: ranges, conditions, plans, and real players as clients."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import soundfile
from auralis_server.app import DOWNLOADS, STUDIO, create_app, running
from auralis_server.http_stream import byte_range
from serving import HANG_S, RATE, Library, music, served

import auralis_core as ac
from auralis_core.wavefile import WaveFile


async def until(condition: Callable[[], bool]) -> None:
    """Wait, within the time-out around it, for what nothing announces."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        (" bytes=1 - 2 ", (1, 3)),
        ("bytes=20-10", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=0-1,5-6", None),
        ("frames=0-1", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_byte_range_is_read_as_the_rfc_says(text: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(text, 100) == expected


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_byte_range_behind_the_end_cannot_be_satisfied(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|end"):
        byte_range(text, 100)


async def test_wav_is_the_rendering_and_ranges_are_slices_of_it(library: Library) -> None:
    track = library.add("a.flac", music(33))  # a seam of two pieces within
    plan = ac.plan(library.measure(track), preset="warm", intensity=0.7)
    with WaveFile(track.path, plan) as file:
        whole = b"".join(file.blocks())
    url = f"/api/tracks/{track.id}/stream.wav?preset=warm&intensity=0.7"
    async with served(library) as http:
        async with http.get(url) as answer:
            assert (answer.status, answer.content_type) == (200, "audio/wav")
            assert answer.headers["Content-Length"] == str(len(whole))
            assert answer.headers["Accept-Ranges"] == "bytes"
            assert answer.headers["X-Auralis-Plan"].startswith(
                "fingerprint; preset=warm; intensity=0.7; source=database; region="
            )
            etag = answer.headers["ETag"]
            assert await answer.read() == whole
        seam = 44 + 30 * RATE * 4
        for first, last in (
            (0, 43),
            (44, 47),
            (45, 45),
            (seam - 1001, seam + 1001),
            (len(whole) - 7, 10**12),
        ):
            async with http.get(url, headers={"Range": f"bytes={first}-{last}", "If-Range": etag}) as answer:
                assert (answer.status, answer.headers["ETag"]) == (206, etag)
                body = await answer.read()
                assert body == whole[first : last + 1]
                end = first + len(body) - 1
                assert answer.headers["Content-Range"] == f"bytes {first}-{end}/{len(whole)}"
        async with http.get(url, headers={"Range": f"bytes={len(whole)}-"}) as answer:
            assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")
            assert (await answer.json())["error"]["code"] == "range_not_satisfiable"
        # A range of something else is the whole of this.
        async with http.get(url, headers={"Range": "bytes=0-9", "If-Range": '"old"'}) as answer:
            assert (answer.status, len(await answer.read())) == (200, len(whole))
        async with http.head(url) as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(whole)))
            assert (answer.headers["ETag"], await answer.read()) == (etag, b"")
        async with http.get(url, headers={"If-None-Match": f'"x", {etag}'}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")


async def test_etag_covers_plan_format_and_file(library: Library) -> None:
    track = library.add("a.flac", music(3))
    library.measure(track)
    async with served(library) as http:

        async def etag(query: str, kind: str = "wav") -> str:
            async with http.head(f"/api/tracks/{track.id}/stream.{kind}?{query}") as answer:
                assert answer.status == 200
                return answer.headers["ETag"]

        queries = ("", "preset=warm", "intensity=0.5", "bypass=1", "format=f32", "format=s24")
        tags = {await etag(query) for query in queries} | {await etag("", "flac")}
        assert len(tags) == len(queries) + 1
        assert await etag("preset=adaptive&intensity=1.0") in tags  # the defaults, spelled out
        os.utime(track.path, ns=(0, 0))
        assert await etag("bypass=1") not in tags


async def test_bypass_is_the_file_bit_for_bit_in_every_format(library: Library) -> None:
    x = music(2)
    track = library.add("a.wav", x)
    async with served(library) as http:
        for kind, format in (
            ("wav", "s16"),
            ("wav", "s24"),
            ("wav", "f32"),
            ("flac", "s16"),
            ("flac", "s24"),
        ):
            async with http.get(f"/api/tracks/{track.id}/stream.{kind}?bypass=1&format={format}") as answer:
                assert answer.headers["X-Auralis-Plan"] == "bypass"
                y, rate = soundfile.read(io.BytesIO(await answer.read()), dtype="float32")
            assert rate == RATE
            np.testing.assert_array_equal(y.T, x)


async def test_flac_holds_the_samples_of_the_wav(library: Library) -> None:
    track = library.add("a.flac", music(3))
    library.measure(track)
    async with served(library) as http:
        async with http.get(f"/api/tracks/{track.id}/stream.flac") as answer:
            assert (answer.status, answer.content_type) == (200, "audio/flac")
            assert "Accept-Ranges" not in answer.headers
            flac, _ = soundfile.read(io.BytesIO(await answer.read()), dtype="int16")
        async with http.get(f"/api/tracks/{track.id}/stream.wav") as answer:
            wav, _ = soundfile.read(io.BytesIO(await answer.read()), dtype="int16")
    np.testing.assert_array_equal(flac, wav)


async def test_track_never_measured_is_measured_first(library: Library) -> None:
    track = library.add("a.flac", music(3))
    async with served(library) as http, http.head(f"/api/tracks/{track.id}/stream.wav") as answer:
        assert answer.headers["X-Auralis-Plan"].startswith("fingerprint; ")
        assert "source=local" in answer.headers["X-Auralis-Plan"]


async def test_track_that_cannot_be_measured_in_time_says_standard(library: Library) -> None:
    track = library.add("a.flac", music(3))
    async with served(library, sources=("database",)) as http:
        async with http.get(f"/api/tracks/{track.id}/stream.wav") as answer:
            assert answer.headers["X-Auralis-Plan"] == "standard; preset=adaptive; intensity=1"
            before, whole = answer.headers["ETag"], await answer.read()
        async with http.get(
            f"/api/tracks/{track.id}/stream.wav", headers={"Range": "bytes=400000-"}
        ) as answer:
            assert await answer.read() == whole[400_000:]
        library.measure(track)
        headers = {"Range": "bytes=400000-", "If-Range": before}
        async with http.get(f"/api/tracks/{track.id}/stream.wav", headers=headers) as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(whole)))


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("999/stream.wav", 404, "unknown_track"),
        ("{id}/stream.mp3", 404, "not_found"),
        ("{id}/stream.wav?preset=loud", 400, "unknown_preset"),
        ("{id}/stream.wav?intensity=2", 400, "bad_request"),
        ("{id}/stream.wav?intensity=nan", 400, "bad_request"),
        ("{id}/stream.wav?intensity=x", 400, "bad_request"),
        ("{id}/stream.wav?bypass=yes", 400, "bad_request"),
        ("{id}/stream.wav?format=u8", 400, "bad_request"),
        ("{id}/stream.flac?format=f32", 400, "bad_request"),
        ("{gone}/stream.wav?bypass=1", 404, "unreadable"),
        ("{cut}/stream.wav?bypass=1", 404, "unreadable"),
    ],
)
async def test_wrong_request_gets_a_json_error(library: Library, path: str, status: int, code: str) -> None:
    track = library.add("a.wav", music(1))
    gone = library.add("gone.wav", music(1))
    os.unlink(gone.path)
    cut = library.add("cut.flac", music(1))
    os.truncate(cut.path, 4)
    url = f"/api/tracks/{path.format(id=track.id, gone=gone.id, cut=cut.id)}"
    async with served(library) as http, http.get(url) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)


async def test_file_cut_short_while_it_is_sent_breaks_off(library: Library) -> None:
    track = library.add("a.wav", music(20))
    size = os.stat(track.path).st_size
    os.truncate(track.path, size // 2)  # its header promises twice as much
    async with served(library) as http:
        async with http.get(f"/api/tracks/{track.id}/stream.wav?bypass=1") as answer:
            assert answer.headers["Content-Length"] == str(size)
            with pytest.raises(aiohttp.ClientError):
                await answer.read()
        # The server is unharmed.
        async with http.get("/healthz") as answer:
            assert answer.status == 200


async def test_client_that_leaves_or_stalls_gives_everything_back(library: Library) -> None:
    track = library.add("a.wav", music(60))

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    app = create_app(library.config(stall_s=0.2))
    runner = aiohttp.web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        before = 0
        async with asyncio.timeout(HANG_S):
            for leaves in [True] * 10 + [False] * 2:
                reader, writer = await asyncio.open_connection(host, port)
                path = f"/api/tracks/{track.id}/stream.wav?bypass=1"
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                await reader.readexactly(1000)
                if leaves:
                    writer.transport.abort()
                else:
                    # Takes nothing more: the server hangs up by itself, with most of the file unsent.
                    writer.transport.pause_reading()
                    await until(lambda: not app[DOWNLOADS].open)
                    writer.transport.abort()
                await until(lambda: not app[DOWNLOADS].open)
                before = before or descriptors()  # with the dataset's connections, which stay
            await until(lambda: descriptors() <= before)
        assert app[STUDIO].streams == 0
    finally:
        await runner.cleanup()


# Real players.


async def run(*command: str) -> tuple[int, bytes, bytes]:
    pipe = asyncio.subprocess.PIPE
    # Without an input of its own ffmpeg takes what comes on the suite's for commands, and says so.
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out, errors


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


@pytest.mark.parametrize("kind", ["wav", "wav?format=s24", "wav?format=f32", "flac", "flac?format=s24"])
async def test_ffmpeg_reads_every_frame(library: Library, kind: str) -> None:
    ffprobe, ffmpeg = need("ffprobe"), need("ffmpeg")
    track = library.add("a.flac", music(3))
    library.measure(track)
    async with asyncio.timeout(HANG_S), running(library.config()) as address:
        url = f"{address}/api/tracks/{track.id}/stream.{kind}"
        code, out, errors = await run(
            *(ffprobe, "-v", "error", "-of", "json", "-show_streams", "-show_format", url)
        )
        assert (code, errors) == (0, b"")
        stream = json.loads(out)["streams"][0]
        assert (stream["sample_rate"], stream["channels"]) == (str(RATE), 2)
        assert float(stream["duration"]) == pytest.approx(3.0)
        code, out, errors = await run(*(ffmpeg, "-v", "error", "-i", url, "-f", "f32le", "-"))
        assert (code, errors, len(out)) == (0, b"", 3 * RATE * 8)
        if kind.startswith("wav"):
            # A seek is a range request; what comes is the same samples.
            at = ("-ss", "2")
            code, late, _ = await run(*(ffmpeg, "-v", "error", *at, "-i", url, "-f", "f32le", "-"))
            assert code == 0
            assert late == out[-len(late) :]
            assert len(late) == pytest.approx(RATE * 8, abs=4096 * 8)


async def test_curl_puts_a_file_together_from_ranges(library: Library, tmp_path: Path) -> None:
    curl = need("curl")
    track = library.add("a.flac", music(3))
    library.measure(track)
    async with asyncio.timeout(HANG_S), running(library.config()) as address:
        url = f"{address}/api/tracks/{track.id}/stream.wav"
        _, whole, _ = await run(curl, "-sSf", url)
        parts = [(await run(curl, "-sSf", "-r", r, url))[1] for r in ("0-99", "100-300000", "300001-")]
        assert b"".join(parts) == whole
        # An interrupted download is resumed.
        target = tmp_path / "a.wav"
        target.write_bytes(whole[:12345])
        assert (await run(curl, "-sSf", "-C", "-", "-o", str(target), url))[0] == 0
        assert target.read_bytes() == whole

"""The HTTP shapes clients rely on, the background scan, and a whole process from start to SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from auralis_server import app as app_module
from auralis_server.app import running
from auralis_server.client import Client
from auralis_server.commands import PlayEnhanced
from auralis_server.config import ServerConfig
from auralis_server.events import AudioStreamEnd, Error
from auralis_server.scanner import Scanner
from serving import HANG_S, RATE, Library, music

import auralis_core as ac


@asynccontextmanager
async def served(library: Library, **changes: object) -> AsyncIterator[Any]:
    """A server, as a function from a path to (status, JSON)."""
    async with running(library.config(**changes)) as address, aiohttp.ClientSession(address) as http:

        async def get(path: str) -> tuple[int, Any]:
            async with http.get(path) as answer:
                return answer.status, await answer.json()

        yield get


async def test_tracks_are_listed_searched_and_paged(library: Library) -> None:
    tracks = [library.add(f"{name}.wav", music(0.5, seed=i)) for i, name in enumerate("abc")]
    library.measure(tracks[1])
    async with served(library) as get:
        status, answer = await get("/api/tracks")
        assert (status, answer["total"]) == (200, 3)
        assert answer["tracks"][1] == {
            "id": tracks[1].id,
            "title": "b",
            "artist": "",
            "album": "",
            "duration": 0.5,
            "sample_rate": RATE,
            "channels": 2,
            "fingerprint": "ready",
        }
        assert [t["fingerprint"] for t in answer["tracks"]] == ["pending", "ready", "pending"]
        _, answer = await get("/api/tracks?search=C")
        assert (answer["total"], [t["title"] for t in answer["tracks"]]) == (1, ["c"])
        _, answer = await get("/api/tracks?limit=1&offset=2")
        assert (answer["total"], [t["title"] for t in answer["tracks"]]) == (3, ["c"])
        assert (await get(f"/api/tracks/{tracks[1].id}"))[1]["title"] == "b"


async def test_tracks_of_folders_not_served_now_are_not_listed(library: Library, tmp_path: Path) -> None:
    here = library.add("here.wav", music(0.5))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    library.index(library.write("there.wav", music(0.5, seed=1)).rename(elsewhere / "there.wav"))
    async with served(library) as get:
        _, answer = await get("/api/tracks")
        assert [track["id"] for track in answer["tracks"]] == [here.id]
        _, status = await get("/api/system/status")
        assert status["library"]["tracks"] == 1
    async with served(library, dirs=(library.folder, elsewhere)) as get:
        _, answer = await get("/api/tracks")
        assert answer["total"] == 2


async def test_fingerprint_is_the_schema_form(library: Library) -> None:
    a, b = library.add("a.wav", music(1)), library.add("b.wav", music(1))
    fp = library.measure(a)
    async with served(library) as get:
        status, answer = await get(f"/api/tracks/{a.id}/fingerprint")
        assert status == 200
        assert ac.Fingerprint.from_dict(answer) == fp
        assert set(answer["dimensions"]) == {d.name for d in ac.DIMENSIONS}
        status, answer = await get(f"/api/tracks/{b.id}/fingerprint")
        assert (status, answer["error"]["code"]) == (404, "not_found")
        _, answer = await get("/api/dimensions")
        assert [d["name"] for d in answer] == [d.name for d in ac.DIMENSIONS]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/tracks/999", 404, "unknown_track"),
        ("/api/tracks/999/fingerprint", 404, "unknown_track"),
        ("/api/tracks/abc", 404, "not_found"),
        ("/api/tracks/99999999999999999999", 404, "not_found"),
        ("/api/tracks?limit=0", 400, "bad_request"),
        ("/api/tracks?limit=9999", 400, "bad_request"),
        ("/api/tracks?offset=-1", 400, "bad_request"),
        ("/api/tracks?offset=x", 400, "bad_request"),
        ("/api/nothing", 404, "not_found"),
        ("/../app.py", 404, "not_found"),
        ("/%2e%2e/app.py", 404, "not_found"),
        ("/..%2fapp.py", 404, "not_found"),
        ("/%00", 404, "not_found"),
        ("/ws", 400, "bad_request"),
    ],
)
async def test_wrong_request_gets_a_json_error(library: Library, path: str, status: int, code: str) -> None:
    async with running(library.config()) as address, aiohttp.ClientSession() as http:
        url = aiohttp.client.URL(address + path, encoded=True)
        async with http.get(url) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)


async def test_status_tells_sources_streams_and_library(library: Library) -> None:
    track = library.add("a.wav", music(5))
    library.measure(track)
    async with running(library.config()) as address, aiohttp.ClientSession(address) as http:
        async with http.get("/healthz") as answer:
            assert await answer.json() == {"status": "ok"}
        async with Client.connect(address) as client:
            await client.request(PlayEnhanced(track_id=track.id))
            async with http.get("/api/system/status") as answer:
                status = await answer.json()
    assert status["version"] == ac.__version__
    assert status["engine"]["simd"] in ("baseline", "avx2", "avx512")
    assert status["streams"] == 1
    assert status["database"] == "ok"
    assert status["library"] == {"tracks": 1, "fingerprinted": 1}
    assert [row["name"] for row in status["sources"]] == ["database", "sidecar", "local"]
    assert status["sources"][0] == {"name": "database", "state": "ok", "hits": 1, "misses": 0, "failures": 0}


async def test_page_is_served_with_its_types(library: Library) -> None:
    async with running(library.config()) as address, aiohttp.ClientSession(address) as http:
        async with http.get("/") as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
        for path in app_module.WEB.glob("*.js"):
            async with http.get(f"/{path.name}") as answer:
                # Either name, by the mime table of the machine.
                assert answer.content_type in ("text/javascript", "application/javascript")


async def test_scan_lists_then_measures_in_the_background(library: Library) -> None:
    for i in range(3):
        library.write(f"{i}.flac", music(2, seed=i))
    library.folder.joinpath("broken.flac").write_bytes(b"fLaC")
    config = ServerConfig(dirs=(library.folder,), db=library.db, port=0)
    async with asyncio.timeout(HANG_S), running(config) as address, aiohttp.ClientSession(address) as http:
        while True:
            async with http.get("/api/system/status") as answer:
                if (await answer.json())["library"] == {"tracks": 3, "fingerprinted": 3}:
                    break
            await asyncio.sleep(0.02)
    assert len(list(library.folder.glob("*.25d"))) == 3


async def test_server_stops_in_the_middle_of_a_scan(library: Library) -> None:
    for i in range(4):
        library.write(f"{i}.flac", music(20, seed=i))
    config = ServerConfig(dirs=(library.folder,), db=library.db, port=0)
    async with asyncio.timeout(HANG_S):
        async with running(config):
            pass
    # Nothing was marked as failed because the server stopped.
    async with served(library) as get:
        _, answer = await get("/api/tracks")
        assert "failed" not in {t["fingerprint"] for t in answer["tracks"]}


SERVE = """
import sys
from pathlib import Path
from auralis_server.app import run
from auralis_server.config import ServerConfig
run(ServerConfig(dirs=(Path(sys.argv[1]),), db=Path(sys.argv[2]), port=0))
"""


@asynccontextmanager
async def goodbye(library: Library) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A server process and its address; it is told to stop inside, and has ten seconds for it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVE, str(library.folder), str(library.db)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(HANG_S):
            yield process, (await process.stdout.readline()).decode().split()[-1]
        async with asyncio.timeout(10):  # the promise
            _, errors = await process.communicate()
        assert process.returncode == 0
        assert b"Traceback" not in errors
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_process_says_goodbye_and_exits_cleanly(library: Library, number: signal.Signals) -> None:
    track = library.add("a.flac", music(10))
    async with goodbye(library) as (process, address), Client.connect(address) as client:
        await client.request(PlayEnhanced(track_id=track.id))
        await client.frame()
        process.send_signal(number)
        assert (await client.event(AudioStreamEnd)).reason == "stopped"


async def test_process_in_the_middle_of_everything_stops_within_ten_seconds(library: Library) -> None:
    """A scan measures, a socket plays, and a download's client takes nothing."""
    tracks = [library.add(f"{i}.flac", music(60, seed=i)) for i in range(4)]
    async with goodbye(library) as (process, address):
        host, _, port = address.removeprefix("http://").rpartition(":")
        async with Client.connect(address) as client:
            await client.request(PlayEnhanced(track_id=tracks[0].id))
            await client.frame()
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            path = f"/api/tracks/{tracks[1].id}/stream.wav?bypass=1"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert await reader.readexactly(12) == b"HTTP/1.1 200"
            process.send_signal(signal.SIGTERM)
            assert (await client.event(Error)).code == "shutting_down"
    writer.transport.abort()


async def test_port_is_bound_before_the_scan_begins(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begin, answered = Scanner.start, []

    def start(scanner: Scanner) -> bool:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        answered.append(True)
        return begin(scanner)

    monkeypatch.setattr(Scanner, "start", start)
    async with running(library.config(scan=True, port=port)):
        assert answered == [True]


@pytest.mark.parametrize("bad", [{"sources": ("oracle",)}, {"port": 70_000}])
def test_config_refuses_what_makes_no_sense(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        ServerConfig(**bad)


def test_database_is_kept_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert ServerConfig().database == app_module.Path("/data/auralis/auralis.db")
    assert os.fspath(ServerConfig(db=app_module.Path("x.db")).database) == "x.db"

"""Scenario D: the database fails, and the music plays. Removed, damaged, held, or on a full disk."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from auralis_server.app import running
from auralis_server.client import Client
from auralis_server.commands import PlayEnhanced
from auralis_server.events import AudioStreamEnd, TrackStart
from faults import EXCLUSIVELY, fill_up, held, overwrite, small_disk
from serving import Library, hear, music

from auralis_core import Fingerprint, opening
from auralis_core.copies import beside
from auralis_core.dataset import Dataset, TrackSource
from auralis_core.library import scan

TITLES = ["a", "b", "c"]


@pytest.fixture
def known(library: Library) -> dict[str, Fingerprint]:
    """Three scanned tracks, in the database and in sidecars; their fingerprints by title."""
    for n, title in enumerate(TITLES):
        library.write(f"{title}.flac", music(1, seed=n))
    with Dataset(library.db) as dataset:
        scan([library.folder], dataset)
        tracks = dataset.tracks()[1]
        return {track.title: dataset.fingerprint(track.id) for track in tracks}


class Server:
    """What a listener and an operator see of a running server."""

    def __init__(self, address: str, http: aiohttp.ClientSession) -> None:
        self.address = address
        self._http = http

    async def get(self, path: str) -> Any:
        async with self._http.get(self.address + path) as answer:
            return await answer.json()

    async def status(self) -> dict[str, Any]:
        return await self.get("/api/system/status")

    async def tracks(self, expected: int = 3) -> list[dict[str, Any]]:
        """The library once it lists this many tracks with fingerprints; the scan runs beside us."""
        while True:
            tracks = (await self.get("/api/tracks"))["tracks"]
            if sum(track["fingerprint"] == "ready" for track in tracks) >= expected:
                return tracks

    async def play(self, id: int) -> str:
        """Play to the end; says where the plan came from."""
        async with Client.connect(self.address) as client:
            await client.request(PlayEnhanced(track_id=id))
            heard = await hear(client)
            assert heard.first(AudioStreamEnd).reason == "completed"
            return heard.first(TrackStart).fingerprint


@asynccontextmanager
async def serving(library: Library, **changes: object) -> AsyncIterator[Server]:
    config = library.config(**{"scan": True, **changes})
    async with (
        running(config) as address,
        aiohttp.ClientSession() as http,
    ):
        yield Server(address, http)


async def expect(server: Server, known: dict[str, Fingerprint], reason: str, expected: int = 3) -> None:
    """Up, degraded for this reason, every fingerprint right, everything plays, nothing computed."""
    tracks = await server.tracks(expected)
    assert {track["title"] for track in tracks} == set(known)
    status = await server.status()
    assert status["database"].startswith("degraded: "), status
    assert reason in status["database"], status
    for track in tracks:
        if track["fingerprint"] == "ready":
            answer = await server.get(f"/api/tracks/{track['id']}/fingerprint")
            assert answer == known[track["title"]].to_dict() | answer  # JSON floats are exact
            assert answer["dimensions"] == known[track["title"]].to_dict()["dimensions"]
        assert await server.play(track["id"]) == "cached"
    local = next(row for row in (await server.status())["sources"] if row["name"] == "local")
    assert (local["hits"], local["failures"]) == (0, 0)


async def test_removed_before_start_is_rebuilt_from_sidecars(library: Library, known) -> None:
    library.db.unlink()
    async with serving(library) as server:
        tracks = await server.tracks()
        assert [await server.play(track["id"]) for track in tracks] == ["cached"] * 3
        assert (await server.status())["database"] == "ok"  # a library that begins is not a fault
    with Dataset(library.db) as dataset:
        assert {t.title: dataset.fingerprint(t.id) for t in dataset.tracks()[1]} == known
        sources = dataset._database.rows("SELECT DISTINCT source FROM fingerprints")
        assert sources == [("sidecar",)]


async def test_removed_after_a_clean_stop_comes_back_from_the_backup(library: Library, known) -> None:
    async with serving(library) as server:
        ids = {track["title"]: track["id"] for track in await server.tracks()}
        with Dataset(library.db) as other:
            other.put_failure(other.find(library.folder / "c.flac").id, "was written to")
        library.index(library.folder / "c.flac")
        (library.folder / "d.flac").write_bytes((library.folder / "a.flac").read_bytes())
        library.index(library.folder / "d.flac")
        await server.play(
            next(t["id"] for t in (await server.get("/api/tracks"))["tracks"] if t["title"] == "d")
        )
    (library.folder / "d.flac").unlink()
    assert beside(library.db)
    library.db.unlink()
    async with serving(library, scan=False) as server:
        tracks = (await server.get("/api/tracks"))["tracks"]
        assert ids.items() <= {track["title"]: track["id"] for track in tracks}.items()
        assert "missing; restored from" in (await server.status())["database"]


async def test_removed_while_running(library: Library, known) -> None:
    async with serving(library) as server:
        await server.tracks()
        for file in library.db.parent.glob("auralis.db*"):
            file.unlink()
        await expect(server, known, "removed while in use and has been written back")
    with Dataset(library.db) as dataset:
        assert {t.title: dataset.fingerprint(t.id) for t in dataset.tracks()[1]} == known


@pytest.mark.parametrize("where", ["header", "schema", "pages", "everywhere"])
async def test_bit_flipped_before_start(library: Library, known, where: str) -> None:
    raw = bytearray(library.db.read_bytes())
    rng = random.Random(5)
    places = {
        "header": [0],
        "schema": range(100, 110),
        "pages": range(4096, len(raw), 4096),
        "everywhere": rng.sample(range(len(raw)), len(raw) // 50),
    }
    for at in places[where]:
        raw[at] ^= 1 << rng.randrange(8)
    library.db.write_bytes(raw)
    async with serving(library) as server:
        await expect(server, known, "damaged (")
    assert len(beside(library.db, "damaged")) == 1


async def test_damaged_while_running(library: Library, known) -> None:
    async with serving(library) as server:
        await server.tracks()
        with Dataset(library.db) as other:
            other.backup(f"{library.db}.backup-20260101T000000Z")
            other.put_track(TrackSource("/x.flac", "", "", "", 1, 8000, 1, 1, 1))  # what is cached goes
            other.remove([other.find("/x.flac").id])
            for name in (library.db, f"{library.db}-wal"):
                overwrite(Path(name))
            await expect(server, known, "damaged (")


async def test_another_process_scans_while_this_one_plays(library: Library, known) -> None:
    async with serving(library, scan=False) as server:
        (first, *_) = await server.tracks()
        playing = asyncio.create_task(server.play(first["id"]))
        for n in range(3):
            library.write(f"new {n}.flac", music(1, seed=20 + n))
        scan = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "auralis_server", "scan", library.folder, "--db", library.db, "--json"),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await scan.communicate()
        assert json.loads(out)["fingerprinted"] == 3
        assert await playing == "cached"
        tracks = await server.tracks(6)
        assert {await server.play(track["id"]) for track in tracks} == {"cached"}
        assert (await server.status())["database"] == "ok"


async def test_fingerprint_damaged_in_place_is_taken_from_the_sidecar(library: Library, known) -> None:
    async with serving(library) as server:
        (id,) = [track["id"] for track in await server.tracks() if track["title"] == "b"]
        connection = sqlite3.connect(library.db)
        with connection:
            connection.execute("UPDATE fingerprints SET lufs = -13.5 WHERE track_id = ?", (id,))
        connection.close()
        assert await server.play(id) == "cached"
        rows = {row["name"]: row for row in (await server.status())["sources"]}
        assert (rows["database"]["failures"], rows["sidecar"]["hits"], rows["local"]["hits"]) == (1, 1, 0)
    with Dataset(library.db) as dataset:
        assert dataset.mode == "ok"
        assert dataset.fingerprint(id) == known["b"]


async def test_held_for_writing_by_another_process(library: Library, known, monkeypatch) -> None:
    monkeypatch.setattr(opening, "BUSY_S", 0.1)
    with held(library.db, "BEGIN IMMEDIATE"):
        library.write("d.flac", music(1, seed=9))
        async with serving(library) as server:
            while (await server.status())["database"] == "ok":  # until the scan wants to write
                await server.tracks()
            await expect(server, known, "database is locked")


async def test_held_exclusively_by_another_process(library: Library, known, monkeypatch) -> None:
    monkeypatch.setattr(opening, "BUSY_S", 0.1)
    with held(library.db, *EXCLUSIVELY):
        async with serving(library) as server:
            await expect(server, known, "database is locked; changes are kept in memory only")


async def test_full_disk_before_start(library: Library, known, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        shutil.move(library.db, disk)
        library.db = disk / library.db.name
        fill_up(disk)
        async with serving(library) as server:
            await expect(server, known, "")
        assert not beside(library.db)


async def test_folder_of_the_database_cannot_be_made(library: Library, known) -> None:
    (library.folder.parent / "file").touch()
    library.db = library.folder.parent / "file" / "auralis.db"
    async with serving(library) as server:
        await expect(server, known, "cannot be made: File exists; changes are kept in memory only")

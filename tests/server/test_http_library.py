"""Neighbours, albums, covers and scans over HTTP."""

from __future__ import annotations

import os
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from auralis_server.client import Client
from auralis_server.events import ScanProgress
from serving import Library, music, served

from auralis_core.dataset import Dataset, TrackSource
from auralis_core.tags import MOST_ARTWORK

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


async def get(http: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with http.get(path) as answer:
        return answer.status, await answer.json()


async def test_similar_are_the_nearest_that_are_served(library: Library, tmp_path: Path) -> None:
    tracks = [library.add(f"{i}.wav", music(2, seed=i)) for i in range(3)]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    hidden = library.index(library.write("x.wav", music(2, seed=9)).rename(elsewhere / "x.wav"))
    pending = library.add("pending.wav", music(2, seed=5))
    for track in (*tracks, hidden):
        library.measure(track)
    async with served(library) as http:
        status, answer = await get(http, f"/api/tracks/{tracks[0].id}/similar")
        assert status == 200
        assert {row["id"] for row in answer["tracks"]} == {tracks[1].id, tracks[2].id}
        distances = [row["distance"] for row in answer["tracks"]]
        assert distances == sorted(distances)
        _, answer = await get(http, f"/api/tracks/{tracks[0].id}/similar?limit=1")
        assert [row["distance"] for row in answer["tracks"]] == distances[:1]
        status, answer = await get(http, f"/api/tracks/{pending.id}/similar")
        assert (status, answer["error"]["code"]) == (404, "not_found")
        assert (await get(http, "/api/tracks/999/similar"))[0] == 404
        assert (await get(http, f"/api/tracks/{tracks[0].id}/similar?limit=0"))[0] == 400


def put(library: Library, name: str, artist: str, album: str, seconds: int) -> int:
    path = str(library.folder / name)
    source = TrackSource(path, name, artist, album, seconds * 100, 100, 2, 1, hash(name))
    with closing(Dataset(library.db)) as dataset:
        return dataset.put_track(source).id


async def test_albums_are_counted_searched_and_paged(library: Library) -> None:
    last = put(library, "b2", "Bo", "Blue", 20)
    first = put(library, "b1", "Bo", "Blue", 10)
    put(library, "a1", "Al", "Blue", 5)
    put(library, "c1", "Cy", "Red", 7)
    put(library, "none", "Cy", "", 7)
    assert last < first
    async with served(library) as http:
        status, answer = await get(http, "/api/albums")
        assert (status, answer["total"]) == (200, 3)
        assert [(a["artist"], a["album"]) for a in answer["albums"]] == [
            ("Al", "Blue"),
            ("Bo", "Blue"),
            ("Cy", "Red"),
        ]
        blue = {"album": "Blue", "artist": "Bo", "tracks": 2, "duration": 30.0, "track_id": first}
        assert answer["albums"][1] == blue
        _, answer = await get(http, "/api/albums?search=bo+blue")
        assert answer == {"total": 1, "albums": [blue]}
        _, answer = await get(http, "/api/albums?limit=1&offset=1")
        assert answer == {"total": 3, "albums": [blue]}
    async with served(library, dirs=(library.folder / "sub",)) as http:
        assert (await get(http, "/api/albums"))[1] == {"total": 0, "albums": []}


def with_picture(path: Path, kind: bytes, picture: bytes) -> None:
    """Put a picture block behind the first block of a FLAC file."""
    data = path.read_bytes()
    end = 4 + 4 + int.from_bytes(data[5:8], "big")
    words = struct.pack(">II", 3, len(kind)) + kind + bytes(20) + struct.pack(">I", len(picture)) + picture
    head = data[:4] + bytes([data[4] & 127]) + data[5:end]
    last = data[4] & 128
    path.write_bytes(head + bytes([6 | last]) + len(words).to_bytes(3, "big") + words + data[end:])


@pytest.mark.parametrize(
    ("kind", "picture", "served_as"),
    [
        (b"image/png", PNG, "image/png"),
        (b"image/png", b"\xff\xd8\xff" + bytes(9), "image/jpeg"),  # what it is, not what it is called
        (b"image/png", b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"text/html", b"<script>alert(1)</script>", None),
        (b"image/svg+xml", b"<svg/>", None),
        (b"image/png", PNG + bytes(MOST_ARTWORK), None),
        (b"image/png", b"", None),
    ],
)
async def test_artwork_is_a_picture_or_nothing(
    library: Library, kind: bytes, picture: bytes, served_as: str | None
) -> None:
    path = library.write("a.flac", music(0.2))
    with_picture(path, kind, picture)
    track = library.index(path)
    async with served(library) as http, http.get(f"/api/tracks/{track.id}/artwork") as answer:
        if served_as is None:
            assert (answer.status, answer.content_type) == (404, "application/json")
            return
        assert (answer.status, answer.content_type) == (200, served_as)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert await answer.read() == picture
        again = {"If-None-Match": answer.headers["ETag"]}
        async with http.get(f"/api/tracks/{track.id}/artwork", headers=again) as second:
            assert (second.status, await second.read()) == (304, b"")


async def test_artwork_of_a_file_that_is_gone_is_an_error(library: Library) -> None:
    track = library.add("a.flac", music(0.2))
    os.unlink(track.path)
    async with served(library) as http:
        status, answer = await get(http, f"/api/tracks/{track.id}/artwork")
        assert (status, answer["error"]["code"]) == (404, "unreadable")


async def test_scan_on_request_finds_what_is_new_and_says_why_a_file_failed(library: Library) -> None:
    library.add("old.wav", music(1))
    async with served(library) as http:
        library.write("new.wav", music(1, seed=1))
        os.truncate(library.write("bad.flac", music(4, seed=2)), 2000)
        assert (await get(http, "/api/library/scan"))[1]["running"] is False
        async with http.post("/api/library/scan") as answer:
            assert (answer.status, (await answer.json())["running"]) == (202, True)
        while (await get(http, "/api/library/scan"))[1]["running"]:
            pass
        _, progress = await get(http, "/api/library/scan")
        assert progress == {"running": False, "phase": "measuring", "done": 3, "total": 3}
        rows = {row["title"]: row for row in (await get(http, "/api/tracks"))[1]["tracks"]}
        assert {name: row["fingerprint"] for name, row in rows.items()} == {
            "old": "ready",
            "new": "ready",
            "bad": "failed",
        }
        assert "reason" not in rows["old"]
        assert rows["bad"]["reason"]
        assert str(library.folder) not in rows["bad"]["reason"]


async def test_scan_is_told_to_every_socket(library: Library) -> None:
    for i in range(4):
        library.write(f"{i}.wav", music(1, seed=i))
    async with (
        served(library) as http,
        Client.connect(str(http._base_url)) as one,
        Client.connect(str(http._base_url)) as two,
    ):
        async with http.post("/api/library/scan") as answer:
            assert answer.status == 202
        for client in (one, two):
            told = []
            while not told or told[-1].running:
                told.append(await client.event(ScanProgress))
            assert told[-1] == ScanProgress(False, "measuring", 4, 4)
            # Files are counted up in each of the two passes, and nothing is told twice.
            steps = [("listing", "measuring").index(t.phase) * 10 + t.done for t in told]
            assert steps == sorted(steps)
            assert len(set(told)) == len(told)


async def test_scan_cannot_be_asked_for_by_a_foreign_page(library: Library) -> None:
    async with served(library) as http:
        async with http.post("/api/library/scan", headers={"Origin": "http://evil.example"}) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (403, "forbidden")
        assert (await get(http, "/api/library/scan"))[1]["phase"] == ""


async def test_ready_when_the_library_answers(library: Library) -> None:
    async with served(library) as http:
        assert await get(http, "/readyz") == (200, {"status": "ready"})

"""Who is let in: tables of Host, Origin and token, against the real server."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from auralis_server import security
from auralis_server.app import running
from auralis_server.client import Client
from auralis_server.commands import Ping
from auralis_server.config import ServerConfig
from serving import Library

TOKEN = "correct-horse"


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("localhost:8765", True),
        ("LocalHost:8765", True),
        ("localhost.:8765", True),
        ("127.0.0.1:8765", True),
        ("[::1]:8765", True),
        ("192.168.1.20:8765", True),  # an address literal cannot be rebound
        ("music.lan", True),
        ("evil.example", False),
        ("evil.example:8765", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost@evil.example", False),
        ("evil.example/localhost", False),
        ("localhost:port", False),
        ("", False),
    ],
)
def test_host_is_known_by_its_exact_name(host: str, known: bool) -> None:
    assert security.is_known_host(host, ServerConfig(allowed_hosts=("music.lan",))) is known


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        (None, True),
        ("http://localhost:8765", True),
        ("https://localhost:8765", True),
        ("http://LOCALHOST:8765", True),
        ("http://localhost", False),
        ("http://localhost:8766", False),
        ("http://127.0.0.1:8765", False),
        ("http://evil.example", False),
        ("http://localhost:8765.evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_origin_must_be_exactly_our_own(origin: str | None, own: bool) -> None:
    assert security.is_own_origin(origin, "localhost:8765") is own


async def test_foreign_page_can_neither_ask_nor_open_the_socket(library: Library) -> None:
    async with running(library.config()) as address, aiohttp.ClientSession() as http:
        for path in ("/", "/healthz", "/api/tracks", "/ws"):
            async with http.get(address + path, headers={"Host": "evil.example"}) as answer:
                assert answer.status == 421
                assert (await answer.json())["error"]["code"] == "unknown_host"
        for origin in ("http://evil.example", "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as e:
                await http.ws_connect(f"{address}/ws", headers={"Origin": origin})
            assert e.value.status == 403
        async with http.ws_connect(f"{address}/ws", headers={"Origin": address}) as ws:
            await ws.send_str('{"type":"ping"}')
            assert "pong" in await ws.receive_str()
        async with http.get(f"{address}/api/tracks", headers={"Origin": "http://evil.example"}) as answer:
            assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_page_is_isolated_and_allows_no_inline_script(library: Library) -> None:
    async with running(library.config()) as address, aiohttp.ClientSession() as http:
        for path in ("/", "/healthz", "/nothing"):
            async with http.get(address + path) as answer:
                headers = answer.headers
                assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
                assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
                assert headers["X-Content-Type-Options"] == "nosniff"
                policy = headers["Content-Security-Policy"]
                assert "script-src 'self'" in policy
                assert "unsafe" not in policy


async def test_token_is_asked_of_everyone_but_the_health_check(library: Library) -> None:
    async with running(library.config(), TOKEN) as address, aiohttp.ClientSession() as http:
        async with http.get(f"{address}/healthz") as answer:
            assert answer.status == 200
        for path in ("/", "/api/tracks", "/ws", "/api/tracks?token=wrong", "/?token=wrong"):
            async with http.get(address + path) as answer:
                assert answer.status == 401, path
        async with http.get(f"{address}/api/tracks", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert answer.status == 200
        async with http.get(f"{address}/api/tracks?token={TOKEN}") as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with Client.connect(address, "wrong"):
                pass
        async with Client.connect(address, TOKEN) as client:
            await client.request(Ping())


async def test_token_in_the_address_becomes_a_cookie_and_leaves_the_address(library: Library) -> None:
    jar = aiohttp.CookieJar(unsafe=True)  # keeps cookies of address literals
    async with running(library.config(), TOKEN) as address, aiohttp.ClientSession(cookie_jar=jar) as http:
        async with http.get(f"{address}/?token={TOKEN}", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/")
            cookie = answer.cookies[security.COOKIE]
            assert cookie["httponly"]
            assert cookie["samesite"] == "Strict"
        async with http.get(f"{address}/api/tracks") as answer:
            assert answer.status == 200


def test_token_is_made_once_where_others_cannot_read_it(tmp_path: Path) -> None:
    config = ServerConfig(host="0.0.0.0", db=tmp_path / "deep" / "auralis.db")
    token, is_new = security.needed_token(config)
    assert is_new
    assert token is not None
    assert len(token) >= 32
    (path,) = (tmp_path / "deep").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert security.needed_token(config) == (token, False)


@pytest.mark.parametrize(
    ("host", "token", "needed"),
    [("127.0.0.1", None, None), ("::1", None, None), ("localhost", None, None), ("127.0.0.1", "t", "t")],
)
def test_loopback_needs_no_token_but_takes_one(host: str, token: str | None, needed: str | None) -> None:
    assert security.needed_token(ServerConfig(host=host, token=token)) == (needed, False)

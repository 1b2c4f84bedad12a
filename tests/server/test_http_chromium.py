"""A browser's own `<audio>` element on `stream.wav` and `stream.flac`: it knows the length and seeks."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from auralis_server.app import running
from serving import Library, music

playwright = pytest.importorskip("playwright.async_api", reason="Playwright for Python is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine", allow_module_level=True)

PLAY = """
async ([url, start]) => {
  const audio = new Audio(url);
  audio.muted = true;
  const heard = (name) => new Promise((done, failed) => {
    audio.addEventListener(name, done, { once: true });
    audio.addEventListener("error", () => failed(new Error(audio.error.message)), { once: true });
  });
  audio.preload = "auto";
  await heard("loadedmetadata");
  if (start) { const there = heard("seeked"); audio.currentTime = start; await there; }
  const from = audio.currentTime;
  const moving = heard("timeupdate");
  await audio.play();
  await moving;
  while (audio.currentTime <= from) await heard("timeupdate");
  audio.pause();
  return [audio.duration, from];
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as p:
        browser = await p.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def minute(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, int]]:
    """A server's address and the id of its track of a minute."""
    folder = tmp_path_factory.mktemp("music")
    library = Library(folder, folder / "auralis.db")
    track = library.add("a.flac", music(60))
    library.measure(track)
    async with running(library.config()) as address:
        yield address, track.id


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("kind", "start"), [("wav", 50), ("wav?format=s24", 0), ("wav?format=f32", 50), ("flac", 0)]
)
async def test_audio_element_plays_and_seeks(
    browser: Any, minute: tuple[str, int], kind: str, start: int
) -> None:
    address, track_id = minute
    async with asyncio.timeout(60), await browser.new_page() as page:
        await page.goto(address)
        duration, at = await page.evaluate(PLAY, [f"/api/tracks/{track_id}/stream.{kind}", start])
    assert duration == pytest.approx(60.0)
    assert at == start

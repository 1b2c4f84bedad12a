"""A browser's own `<audio>` element on `stream.wav` and `stream.flac`: it knows the length and seeks."""

from __future__ import annotations

import asyncio
import shutil

import pytest
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


@pytest.mark.parametrize(
    ("kind", "start"), [("wav", 50), ("wav?format=s24", 0), ("wav?format=f32", 50), ("flac", 0)]
)
async def test_audio_element_plays_and_seeks(library: Library, kind: str, start: int) -> None:
    track = library.add("a.flac", music(60))
    library.measure(track)
    async with (
        asyncio.timeout(60),
        running(library.config()) as address,
        playwright.async_playwright() as p,
    ):
        browser = await p.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        try:
            page = await browser.new_page()
            await page.goto(address)
            duration, at = await page.evaluate(PLAY, [f"/api/tracks/{track.id}/stream.{kind}", start])
        finally:
            await browser.close()
    assert duration == pytest.approx(60.0)
    assert at == start

"""The player page in a real Chromium against the real server: what it shows, and what it plays.

Sound is judged by samples: a tap in front of the output records them, and they must be those of the
file, or of the offline Renderer, bit for bit. Every test ends by asking whether the page complained:
no error in the console, no violation of the content security policy.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from auralis_server import demo
from auralis_server.app import running
from auralis_server.config import ServerConfig
from numpy.typing import NDArray

import auralis_core as ac
from auralis_core.dataset import Dataset
from auralis_core.library import scan

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")

#: Seconds after which what the page or the server promises is taken never to come. Waiting is for the
#: event; this only ends a test that has failed, so it is far beyond what a busy machine needs.
NEVER_S = 60

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine", allow_module_level=True)

PLAIN_NAME = "music.test"  # resolves to this machine, but is no secure context: no audio worklet there
ARGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--autoplay-policy=no-user-gesture-required", f"--host-resolver-rules=MAP {PLAIN_NAME} 127.0.0.1"),
]

# Records what reaches the output. A script processor is the one tap that exists in insecure contexts. It
# has two buffers: called later than one buffer after its turn, it reads what was written over the sound, and
# while it reads, what is to be written is lost. A third channel counts the frames; where it does not rise by
# one, the recording is no evidence.
TAP = """
(() => {
  const connect = AudioNode.prototype.connect;
  window.tap = [];
  window.tapTorn = false;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode && !(this instanceof ScriptProcessorNode)) {
      const { context } = to;
      const tap = context.createScriptProcessor(4096, 3, 1);
      const counted = context.createBuffer(1, 2 ** 22, context.sampleRate); // 95 s at 44.1 kHz
      counted.getChannelData(0).forEach((_, frame, channel) => (channel[frame] = frame + 1));
      const counter = new AudioBufferSourceNode(context, { buffer: counted });
      const stereo = new GainNode(context, { channelCount: 2, channelCountMode: "explicit" });
      const sides = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
      const recorded = new ChannelMergerNode(context, { numberOfInputs: 3 });
      let frames = 0;
      tap.onaudioprocess = ({ inputBuffer: heard }) => {
        window.tap.push([heard.getChannelData(0).slice(), heard.getChannelData(1).slice()]);
        for (const frame of heard.getChannelData(2)) {
          if (frame || frames) window.tapTorn ||= frame !== ++frames;
        }
      };
      connect.call(this, stereo);
      connect.call(stereo, sides);
      for (const side of [0, 1]) connect.call(sides, recorded, side, side);
      connect.call(counter, recorded, 0, 2);
      connect.call(recorded, tap);
      connect.call(tap, to);
      counter.start(0);
      window.tapNode = tap;
      window.tapGain = () => this.gain.value;
    }
    return connect.call(this, to, ...rest);
  };
  addEventListener("securitypolicyviolation", (e) => console.error("CSP", e.violatedDirective, e.blockedURI));
})();
"""

Samples = NDArray[np.float32]


class Server:
    """The real server on a thread of its own; can be stopped and started again on its port."""

    def __init__(self, music: Path, database: Path, scan: bool = True) -> None:
        self.music, self.database, self.port, self.scan = music, database, 0, scan
        self.start()

    def start(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(NEVER_S)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        config = ServerConfig(
            dirs=(self.music,),
            port=self.port,
            db=self.database,
            sidecars=False,
            allowed_hosts=(PLAIN_NAME,),
            scan=self.scan,
        )
        async with running(config) as address:
            self.port = int(address.rpartition(":")[2])
            self._ready.set()
            await self._stop.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(NEVER_S)
        assert not self._thread.is_alive()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Gone meanwhile, and back on its port whatever happened."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/"


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("music")
    return {piece.title: path for piece, path in zip(demo.PIECES, demo.synthesise(folder), strict=True)}


@pytest.fixture(scope="module")
def server(music: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = next(iter(music.values())).parent
    server = Server(folder, tmp_path_factory.mktemp("db") / "auralis.db")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


class Visit:
    """One listener's page, with what it complained about and what it played."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda e: self.complaints.append(str(e)))
        page.set_default_timeout(1000 * NEVER_S)

    def _console(self, message: Any) -> None:
        # Cross-origin isolation exists in secure contexts only; Chromium mentions that elsewhere.
        if (
            message.type == "error"
            and "Cross-Origin-Opener-Policy header has been ignored" not in message.text
        ):
            self.complaints.append(message.text)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def stat(self, name: str) -> str:
        return str(self.page.inner_text(f"#stats dt:text-is('{name}') + dd"))

    def track(self, title: str) -> Any:
        return self.page.locator("#tracks button", has_text=title)

    def until(self, condition: str, arg: object = None) -> None:
        """Wait until `condition`, an expression over `arg`, holds in the page.

        Playwright's own wait evaluates strings in the page, which its security policy forbids.
        """
        found = self.page.evaluate(
            f"""async (arg) => {{
              const end = performance.now() + {1000 * NEVER_S};
              while (!({condition}) && performance.now() < end) await new Promise((go) => setTimeout(go, 20));
              return Boolean({condition});
            }}""",
            arg,
        )
        assert found, f"never true: {condition}"

    def listen(self, seconds: float) -> None:
        """Let the page play until that much more has reached the output."""
        blocks = self.page.evaluate("tap.length") + int(seconds * 44100 / 4096) + 1
        self.until("tap.length >= arg", blocks)

    def heard(self) -> Samples:
        """Everything the output received so far, (2, frames)."""
        sides = self.page.evaluate(
            """() => Promise.all([0, 1].map(async (side) => {
              const bytes = new Uint8Array(await new Blob(tap.map((block) => block[side])).arrayBuffer());
              let text = "";
              for (let i = 0; i < bytes.length; i += 8192) {
                text += String.fromCharCode(...bytes.subarray(i, i + 8192));
              }
              return btoa(text);
            }))"""
        )
        return np.array([np.frombuffer(base64.b64decode(side), np.float32) for side in sides])


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Callable[..., Visit]]:
    """Opens pages; afterwards each must have been without complaint, unless the test took it."""
    contexts, visits = [], []

    def go(host: str = "127.0.0.1", at: Server = server, **options: Any) -> Visit:
        contexts.append(browser.new_context(**options))
        contexts[-1].add_init_script(TAP)
        visits.append(Visit(contexts[-1].new_page()))
        visits[-1].page.goto(at.url(host))
        visits[-1].track("Every Fader Up").wait_for()
        return visits[-1]

    yield go
    for context in contexts:
        context.close()
    assert [v.complaints for v in visits] == [[]] * len(visits)


@pytest.fixture(scope="module", autouse=True)
def measured(server: Server, browser: Any) -> dict[str, ac.Fingerprint]:
    """Fingerprints by title, once the library has been scanned."""
    page = browser.new_page()
    page.goto(server.url() + "healthz")
    script = """async () => {
      for (;;) {
        const { tracks } = await (await fetch("/api/tracks")).json();
        if (tracks.length === 5 && tracks.every((track) => track.fingerprint === "ready")) {
          return Promise.all(tracks.map(async ({ id, title }) =>
            [title, await (await fetch(`/api/tracks/${id}/fingerprint`)).json()]));
        }
        await new Promise((go) => setTimeout(go, 50));
      }
    }"""
    found = page.evaluate(script)
    page.close()
    return {title: ac.Fingerprint.from_dict(data) for title, data in found}


def undisturbed(scenario: Callable[[], Visit], interruptions: int = 0) -> Visit:
    """Repeat a scenario while other work on this machine interrupts its sound, or keeps the tap from it.

    A fault of ours would be there every time.
    """
    for _ in range(6):
        v = scenario()
        if v.stat("Interruptions") == str(interruptions) and not v.page.evaluate("tapTorn"):
            return v
        v.page.context.close()  # what it still plays would disturb the next one
    pytest.fail(f"not once in six times {interruptions} interruptions and an unbroken recording")


def samples(path: Path) -> Samples:
    x, _ = sf.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(np.broadcast_to(x.T, (2, len(x))))


def same_run(reference: Samples, heard: Samples) -> tuple[int, int, int]:
    """The longest stretch of `heard` that is bit for bit one of `reference`.

    Returns where it begins in `reference`, where in `heard`, and its length.
    """
    best = (0, 0, 0)
    for at in range(0, heard.shape[1] - 64, 1024):
        needle = heard[0, at : at + 64]
        if at < best[1] + best[2] or np.count_nonzero(needle) < 32:
            continue
        found = reference[0].tobytes().find(needle.tobytes())
        if found < 0 or found % 4:
            continue
        there = found // 4
        n = min(heard.shape[1] - at, reference.shape[1] - there)
        same = (heard[:, at : at + n] == reference[:, there : there + n]).all(axis=0)
        run = n if same.all() else int(np.argmin(same))
        if run > best[2]:
            best = (there, at, run)
    return best


def test_library_lists_the_tracks_and_searches_them(visit: Callable[..., Visit]) -> None:
    v = visit()
    assert v.text("#count") == "5 tracks"
    assert v.page.locator("#tracks b").all_inner_texts() == [piece.title for piece in demo.PIECES]
    v.page.fill("#search", "carousel")
    v.until("document.querySelectorAll('#tracks li').length === 1")
    assert v.text("#tracks b") == "Carousel in the Rain"
    assert v.text("#count") == "1 of 5 tracks"
    v.page.fill("#search", "polka")
    v.until("!document.querySelector('#empty').hidden")
    assert v.text("#empty") == "Nothing matches “polka”."
    assert v.text("#count") == "No match among 5 tracks"


@pytest.mark.parametrize(
    ("host", "sink"), [("127.0.0.1", "audio worklet"), (PLAIN_NAME, "scheduled buffers")]
)
def test_original_reaches_the_output_bit_for_bit(
    visit: Callable[..., Visit], music: dict[str, Path], host: str, sink: str
) -> None:
    def scenario() -> Visit:
        v = visit(host)
        v.page.click("#ab")
        v.track("Every Fader Up").click()
        v.listen(1.5)
        return v

    v = undisturbed(scenario)
    assert v.stat("Output") == sink
    start, _, frames = same_run(samples(music["Every Fader Up"]), v.heard())
    assert start < 1024  # from the first window the search looks at
    assert frames > 44100


def test_beginning_held_up_is_counted_and_done_again(
    visit: Callable[..., Visit], music: dict[str, Path]
) -> None:
    """A buffer whose start comes late would play all of itself, over the beginning of the next."""

    def scenario() -> Visit:
        v = visit(PLAIN_NAME)
        v.page.click("#ab")
        v.page.evaluate(
            """() => {
              const { start } = AudioBufferSourceNode.prototype;
              let held = false;
              AudioBufferSourceNode.prototype.start = function (when) {
                // Not the tap's counter, which is the one that starts at once.
                for (const end = performance.now() + 80; when && !held && performance.now() < end; );
                held ||= Boolean(when);
                start.call(this, when);
              };
            }"""
        )
        v.track("Every Fader Up").click()
        v.listen(1.5)
        return v

    v = undisturbed(scenario, interruptions=1)
    start, _, frames = same_run(samples(music["Every Fader Up"]), v.heard())
    assert start < 1024
    assert frames > 44100


def test_enhanced_is_what_the_renderer_makes_offline(
    visit: Callable[..., Visit], music: dict[str, Path], measured: dict[str, ac.Fingerprint]
) -> None:
    title = "Letter from the Attic"

    def scenario() -> Visit:
        v = visit()
        v.track(title).click()
        v.listen(1.5)
        return v

    v = undisturbed(scenario)
    offline = ac.render_array(samples(music[title]), 44100, ac.plan(measured[title]))
    _, _, frames = same_run(offline, v.heard())
    assert frames > 44100


def test_mono_plays_on_both_sides(visit: Callable[..., Visit], music: dict[str, Path]) -> None:
    def scenario() -> Visit:
        v = visit()
        v.page.click("#ab")
        v.track("One Loudspeaker Blues").click()
        v.listen(0.8)
        return v

    v = undisturbed(scenario)
    _, _, frames = same_run(samples(music["One Loudspeaker Blues"]), v.heard())
    assert frames > 0.5 * 44100


@pytest.mark.parametrize("host", ["127.0.0.1", PLAIN_NAME])
def test_seek_continues_from_exactly_there(
    visit: Callable[..., Visit], music: dict[str, Path], host: str
) -> None:
    def scenario() -> Visit:
        v = visit(host)
        v.page.click("#ab")
        v.track("Hammers and Sparks").click()
        v.listen(0.3)
        v.page.evaluate("seek.value = 20; seek.dispatchEvent(new Event('change'))")
        v.listen(1.5)
        return v

    v = undisturbed(scenario)
    assert 20 <= float(v.page.evaluate("seek.value")) < 25
    heard = v.heard()
    start, at, frames = same_run(samples(music["Hammers and Sparks"]), heard)
    assert frames > 0.5 * 44100
    # The first 10 ms fade in, and the search starts on the next of its windows.
    assert 20 * 44100 < start < 20 * 44100 + 441 + 2 * 1024
    # Nothing older is heard once the new position has begun.
    assert not np.isin(heard[0, at - 400 : at], samples(music["Hammers and Sparks"])[0, :44100]).all()


@pytest.mark.parametrize("host", ["127.0.0.1", PLAIN_NAME])
def test_seek_into_what_is_held_already_jumps_at_once(
    visit: Callable[..., Visit], music: dict[str, Path], host: str
) -> None:
    before = 0

    def scenario() -> Visit:
        nonlocal before
        v = visit(host)
        v.page.click("#ab")
        v.track("Every Fader Up").click()
        v.listen(0.5)
        v.page.evaluate("seek.value = Number(seek.value) + 0.4; seek.dispatchEvent(new Event('change'))")
        before = v.heard().shape[1]
        v.listen(0.8)
        return v

    v = undisturbed(scenario)
    source, heard = samples(music["Every Fader Up"]), v.heard()
    first, first_at, _ = same_run(source, heard[:, :before])
    then, then_at, _ = same_run(source, heard[:, before:])
    ahead = (then - then_at - before) - (first - first_at)
    # 0.4 s less what sounded while the page was asked; a page that waits for the server falls behind.
    assert ahead > 0


@pytest.mark.parametrize("host", ["127.0.0.1", PLAIN_NAME])
def test_ab_switches_without_moving_the_music(
    visit: Callable[..., Visit], music: dict[str, Path], measured: dict[str, ac.Fingerprint], host: str
) -> None:
    title = "Letter from the Attic"
    source = samples(music[title])
    enhanced = ac.render_array(source, 44100, ac.plan(measured[title]))

    def scenario() -> Visit:
        v = visit(host)
        v.track(title).click()
        v.listen(0.8)
        v.page.keyboard.press("b")
        v.until("document.querySelector('#ab').getAttribute('aria-checked') === 'false'")
        v.until("document.querySelector('#story').textContent.includes('original')")
        v.listen(1.0)
        return v

    heard = undisturbed(scenario).heard()
    first, first_at, first_frames = same_run(enhanced, heard)
    then, then_at, then_frames = same_run(source, heard)
    assert min(first_frames, then_frames) > 0.5 * 44100
    assert then - first == then_at - first_at  # one timeline through the switch
    assert then_at - (first_at + first_frames) < 2048 + 2 * 1024  # the crossfade and two search windows


def test_preset_and_intensity_change_the_decision_and_the_sound(
    visit: Callable[..., Visit], music: dict[str, Path], measured: dict[str, ac.Fingerprint]
) -> None:
    title = "Letter from the Attic"

    def scenario() -> Visit:
        v = visit()
        v.track(title).click()
        v.until("document.querySelector('#region').textContent === 'Room to spare'")
        adaptive = v.text("#numbers")
        v.listen(0.5)
        v.page.keyboard.press("2")
        v.until("document.querySelector('#numbers').innerText !== arg", adaptive)
        assert v.page.locator("#presets :checked").get_attribute("value") == "gentle"
        gentle = v.text("#numbers")
        v.page.fill("#intensity", "50")
        v.until("document.querySelector('#numbers').innerText !== arg", gentle)
        v.until("/Change heard after\\s+\\d/.test(document.querySelector('#stats').innerText)")
        v.listen(1.0)
        return v

    v = undisturbed(scenario)
    half = ac.render_array(samples(music[title]), 44100, ac.plan(measured[title], "gentle", 0.5))
    full = ac.render_array(samples(music[title]), 44100, ac.plan(measured[title]))
    heard = v.heard()
    there, at, frames = same_run(full, heard)
    assert frames > 0.3 * 44100
    tail = heard[:, -4096:]
    now = half[:, there + heard.shape[1] - at - 4096 :][:, :4096]
    # A chain put in mid-track has had half a second to settle: far within a hundredth of the level.
    np.testing.assert_allclose(tail, now, atol=0.01 * np.abs(now).max())


def test_decision_is_shown_for_each_region(visit: Callable[..., Visit]) -> None:
    v = visit()
    for title, region in (
        ("Every Fader Up", "Loud and flattened"),
        ("Hammers and Sparks", "Loud and alive"),
        ("Letter from the Attic", "Room to spare"),
    ):
        v.track(title).click()
        v.until("document.querySelector('#region').textContent === arg", region)
        v.until("document.querySelectorAll('#fingerprint .dimension').length === 25")
        v.until("/\\d/.test(document.querySelector('#meters output').textContent)")
    assert "Loudness −22.1 LUFS" in v.page.text_content("#map-title")


def test_original_keeps_what_was_measured(visit: Callable[..., Visit]) -> None:
    v = visit()
    v.track("Letter from the Attic").click()
    v.until("document.querySelector('#region').textContent === 'Room to spare'")
    place = v.page.get_attribute("#map .place", "transform")
    v.page.keyboard.press("b")
    v.until("document.querySelector('#region').textContent === 'Original'")
    assert "Loudness\n−22.1 LUFS" in v.text("#numbers")
    assert v.page.get_attribute("#map .place", "transform") == place
    assert v.page.locator("#map .place").is_visible()
    v.track("Hammers and Sparks").click()  # the original from its first sample on: no decision was ever sent
    v.until("document.querySelector('#map .place').getAttribute('transform') !== arg", place)
    assert v.text("#region") == "Original"
    assert v.page.locator("#map .place").is_visible()
    v.page.keyboard.press("b")
    v.until("document.querySelector('#region').textContent === 'Loud and alive'")


def test_story_fits_the_gain_and_frequencies_have_one_unit(
    visit: Callable[..., Visit], measured: dict[str, ac.Fingerprint]
) -> None:
    v = visit()
    said = v.page.evaluate(
        """async () => {
          const { reason, story, tone } = await import("/words.js");
          const decision = { region: "quiet", expansion: 0, gain_db: 0, lufs: -14, crest_db: 14 };
          const quiet = (gain_db) =>
            story({ decision, intensity: 1, applied: { gain_db, eq: [], ceiling: -1 } });
          return [2, 0, -0.2].map(quiet).concat(
            reason("8000 Hz octave 2.0 dB over the range"), reason("63 Hz octave 41.1 dB under the range"),
            tone({ kind: "peaking", f0_hz: 8000, gain_db: -1 }));
        }"""
    )
    end = ", and no peak may come closer than 1 dB to full scale."
    assert said == [
        "There is headroom here. Auralis lifts it by 2.0 dB" + end,
        "This level needs no change" + end,
        "This track needs no lift. Auralis lowers it by 0.2 dB" + end,
        "8 kHz: 2.0 dB over range",
        "63 Hz: 41.1 dB under range",
        "−1.0 dB around 8 kHz",
    ]
    v.track("Every Fader Up").click()
    v.until("document.querySelector('#region').textContent === 'Loud and flattened'")
    plan = ac.plan(measured["Every Fader Up"])
    peaks = 20 * np.log10((1 + plan.depth) * max(plan.curve, default=1.0))
    assert peaks > 1.0
    assert f"the highest by about {peaks:.1f} dB" in v.text("#story")
    assert "expansion" not in v.text("#story").lower()
    assert v.page.get_attribute("#numbers abbr:text-is('Expansion')", "title")


def test_map_stays_in_its_place_from_track_to_track(visit: Callable[..., Visit]) -> None:
    v = visit(viewport={"width": 1280, "height": 800})
    tops = set()
    for title, region in (
        ("Every Fader Up", "Loud and flattened"),
        ("Hammers and Sparks", "Loud and alive"),
        ("Letter from the Attic", "Room to spare"),
    ):
        v.track(title).click()
        v.until("document.querySelector('#region').textContent === arg", region)
        tops.add(v.page.evaluate("document.querySelector('#map').getBoundingClientRect().top"))
    assert len(tops) == 1


def test_file_that_cannot_be_read_says_so_in_the_list(
    visit: Callable[..., Visit], music: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    shutil.copy(music["Every Fader Up"], folder)
    broken = Path(shutil.copy(music["Letter from the Attic"], folder))
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])  # the header promises more
    server = Server(folder, tmp_path / "auralis.db")
    try:
        v = visit(at=server)
        v.track("Cannot be read in full").wait_for()
        assert v.page.locator("#tracks .why-not").count() == 1
        v.page.goto("about:blank")  # leaves before the server does
    finally:
        server.stop()


def test_meters_say_what_was_measured_before_and_after(visit: Callable[..., Visit]) -> None:
    v = visit()
    show = """async (chunk) => {
      (await import("/why.js")).showMoment(chunk);
      return [...document.querySelectorAll("#meters output")].map((output) => output.textContent);
    }"""
    chunk = {
        "lufs_in": -8.0,
        "lufs_out": -9.5,
        "crest_in": 8.7,
        "crest_out": 12.9,
        "gain_reduction_db": -1.25,
    }
    assert v.page.evaluate(show, chunk) == ["−8.0 → −9.5 LUFS", "8.7 → 12.9 dB", "1.3 dB"]
    assert v.page.get_attribute("#meter-Crest [role=meter]", "aria-valuenow") == "12.9"
    assert v.page.locator("#map .trail").is_visible()
    assert v.page.evaluate(show, dict.fromkeys(chunk)) == ["–", "–", "–"]  # nothing measured yet
    assert not v.page.locator("#map .trail").is_visible()


def test_unmeasured_track_plays_at_once_and_is_explained_when_measured(
    visit: Callable[..., Visit], music: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    for title in ("Every Fader Up", "Letter from the Attic"):
        shutil.copy(music[title], folder)
    dataset = Dataset(tmp_path / "auralis.db")
    scan([folder], dataset, analyse=False)
    dataset.close()
    server = Server(folder, tmp_path / "auralis.db", scan=False)
    try:
        v = visit(at=server)
        assert v.page.locator("#tracks .pending").count() == 2
        v.track("Letter from the Attic").click()
        v.until("document.querySelector('#region').textContent === 'Room to spare'")
        v.until("document.querySelectorAll('#fingerprint .dimension').length === 25")
        v.until("document.querySelectorAll('#tracks .pending').length === 1")
        v.listen(0.3)
        v.page.goto("about:blank")  # leaves before the server does
    finally:
        server.stop()


def test_keyboard_plays_pauses_and_moves(visit: Callable[..., Visit]) -> None:
    v = visit()
    v.page.keyboard.press("Space")
    v.until("document.title.startsWith('Every Fader Up')")
    v.listen(0.3)
    v.page.keyboard.press("ArrowRight")
    v.page.keyboard.press("ArrowRight")
    v.until("seek.value > 10")
    v.page.keyboard.press("ArrowLeft")
    v.until("seek.value > 4 && seek.value < 10")
    v.page.keyboard.press("Space")
    v.until("tapNode.context.state === 'suspended'")
    assert v.page.get_attribute("#toggle", "aria-label") == "Play"
    v.page.keyboard.press("Space")
    v.listen(0.3)
    v.page.keyboard.press("Shift+ArrowRight")
    v.until("document.title.startsWith('Hammers and Sparks')")
    v.page.keyboard.press("/")
    v.page.keyboard.type("b ")
    assert v.page.input_value("#search") == "b "
    assert v.page.get_attribute("#ab", "aria-checked") == "true"


def test_pause_keeps_the_place(visit: Callable[..., Visit], music: dict[str, Path]) -> None:
    def scenario() -> Visit:
        v = visit()
        v.page.click("#ab")
        v.track("Carousel in the Rain").click()
        v.listen(0.3)
        v.page.click("#toggle")
        v.until("tapNode.context.state === 'suspended'")
        before = float(v.page.evaluate("seek.value"))
        v.page.evaluate("seek.value = 10; seek.dispatchEvent(new Event('change'))")
        v.until("Math.abs(seek.value - 10) < .01")
        assert before < 5
        v.page.click("#toggle")
        v.listen(0.8)
        return v

    v = undisturbed(scenario)
    start, _, frames = same_run(samples(music["Carousel in the Rain"]), v.heard())
    assert frames > 0.5 * 44100
    assert 10 * 44100 < start < 11 * 44100


def test_track_ends_and_the_next_begins(visit: Callable[..., Visit]) -> None:
    v = visit()
    v.track("Every Fader Up").click()
    v.listen(0.2)
    v.page.evaluate("seek.value = seek.max - 0.5; seek.dispatchEvent(new Event('change'))")
    v.until("document.title.startsWith('Hammers and Sparks')")
    v.listen(0.3)
    v.until("seek.value > 0 && seek.value < 5")


def test_deleted_file_is_an_error_in_words_and_the_rest_plays_on(
    visit: Callable[..., Visit], music: dict[str, Path]
) -> None:
    path = music["Carousel in the Rain"]
    away = path.with_suffix(".away")

    def scenario() -> Visit:
        v = visit()
        v.page.click("#ab")
        v.track("Every Fader Up").click()
        v.listen(0.3)
        path.rename(away)
        try:
            top = v.page.evaluate("document.querySelector('main').getBoundingClientRect().top")
            v.track("Carousel in the Rain").click()
            v.page.locator("#notice").wait_for()
            assert "can no longer be read" in v.text("#notice")
            assert v.page.get_attribute("#notice", "role") == "alert"
            assert v.page.evaluate("document.querySelector('main').getBoundingClientRect().top") == top
            assert v.text("#title") == "Every Fader Up"
            v.listen(0.5)
        finally:
            away.rename(path)
        return v

    v = undisturbed(scenario)
    heard = v.heard()
    _, at, frames = same_run(samples(music["Every Fader Up"]), heard)
    assert at + frames == heard.shape[1]  # without a gap to the last sample
    v.track("Hammers and Sparks").click()
    v.until("document.querySelector('#notice').hidden")


def test_complaint_made_while_offline_goes_with_the_connection(
    visit: Callable[..., Visit], server: Server
) -> None:
    v = visit()
    with server.away():
        v.page.locator("#notice").wait_for()
        v.track("Every Fader Up").click()
        v.until("document.querySelector('#notice').textContent.includes('no connection')")
    v.until("document.querySelector('#notice').hidden")
    v.complaints[:] = [c for c in v.complaints if "ERR_CONNECTION_REFUSED" not in c]  # said by the browser


def test_lost_connection_is_said_and_playback_resumes(visit: Callable[..., Visit], server: Server) -> None:
    v = visit()
    v.track("Every Fader Up").click()
    v.listen(0.5)
    with server.away():
        v.page.locator("#notice").wait_for()
        assert "connection" in v.text("#notice")
        # What is held plays out; then the page says that nothing sounds.
        v.until("document.querySelector('#waiting').textContent.includes('Reconnecting')")
        assert v.page.get_attribute("#toggle", "aria-label") == "Stop waiting"
        assert v.page.locator("#toggle .wait").is_visible()
        v.page.set_viewport_size({"width": 375, "height": 700})
        whole = "((p) => p.scrollWidth <= p.clientWidth)(document.querySelector('#waiting'))"
        assert v.page.evaluate(whole)
        v.page.get_by_role(
            "button", name="Sound", exact=True
        ).click()  # nothing lies over the switch of views
        assert not v.page.locator("#toggle .pause").is_visible()
        assert v.page.locator("#tracks .playing").count() == 0
    v.until("document.querySelector('#link').textContent === 'Connected'")
    v.until("document.querySelector('#notice').hidden")
    v.until("(await (await fetch('/api/system/status')).json()).streams === 1")
    blocks = v.page.evaluate("tap.length")
    v.until("tap.slice(arg).some((block) => block[0].some(Boolean))", blocks)
    v.until("document.querySelector('#waiting').textContent === ''")
    assert v.page.get_attribute("#toggle", "aria-label") == "Pause"
    v.complaints[:] = [c for c in v.complaints if "WebSocket" not in c]  # the browser logs each failed try


def test_presets_look_inactive_while_the_original_is_chosen(visit: Callable[..., Visit]) -> None:
    v = visit()
    opacity = "Number(getComputedStyle(document.querySelector('#presets')).opacity)"
    assert v.page.evaluate(opacity) == 1
    v.page.click("#ab")
    assert v.page.evaluate(opacity) < 0.7
    assert "original is chosen" in v.text("#preset-words")
    v.page.click("#ab")
    assert v.page.evaluate(opacity) == 1
    assert "original" not in v.text("#preset-words")


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_words_keep_to_their_places(visit: Callable[..., Visit], width: int) -> None:
    v = visit(viewport={"width": width, "height": 800})
    v.track("Letter from the Attic").click()
    v.until("document.querySelectorAll('#fingerprint .dimension').length === 25")
    if width < 780:
        v.page.get_by_role("button", name="Sound", exact=True).click()
    crowded = v.page.evaluate(
        """() => {
          const box = (element) => element.getBoundingClientRect();
          const ink = (element) => {
            const range = document.createRange();
            range.selectNodeContents(element);
            return range.getBoundingClientRect();
          };
          const all = (selector) => [...document.querySelectorAll(selector)];
          const out = [];
          for (const name of all("#presets span")) {
            if (box(name).width - ink(name).width < 6) out.push(name.textContent);
          }
          for (const value of all("#fingerprint .value")) {
            if (ink(value).width > box(value).width + 0.5) out.push(value.textContent);
          }
          const one = (selector) => box(document.querySelector(selector));
          const gap = (upper, lower) => one(lower).top - one(upper).bottom;
          if (innerWidth < 780 && gap("#artist", "#ab") < 4) out.push("artist on the toggle");
          if (innerWidth < 780 && gap(".time", "#toggle") < 4) out.push("time on the button");
          return out;
        }"""
    )
    assert crowded == []


@pytest.mark.parametrize("width", [320, 390, 768])
def test_narrow_screens_never_scroll_sideways(visit: Callable[..., Visit], width: int) -> None:
    v = visit(viewport={"width": width, "height": 700})
    v.track("Every Fader Up").click()
    v.until("document.querySelectorAll('#fingerprint .dimension').length === 25")
    for view in ("Library", "Sound"):
        v.page.get_by_role("button", name=view, exact=True).click()
        assert v.page.evaluate("document.documentElement.scrollWidth") == width


def test_late_and_stale_frames_are_placed_by_epoch_and_position(visit: Callable[..., Visit]) -> None:
    v = visit()
    got = v.page.evaluate(
        """async () => {
          const { Timeline } = await import("/timeline.js");
          const t = new Timeline(), log = [];
          const admit = (epoch, position, frames, generation = 0, last = false) =>
            log.push(JSON.stringify(t.admit({ epoch, position, frames, generation }, last)));
          admit(1, 0, 100);            // the first frame starts it
          admit(1, 100, 100);          // the next one follows
          admit(1, 100, 100);          // a repeated one is dropped
          t.advance(50);
          t.clear(2, 150);             // a switch: keep up to 150
          admit(1, 200, 100);          // the old epoch's rest is stale
          admit(2, 120, 100, 1);       // the new epoch overlaps: only what lies past 150 counts
          log.push([t.start, t.end, t.generation]);
          t.advance(150);
          log.push(t.generation);
          t.clear(3, null);            // a seek voids everything
          log.push(t.held);
          admit(2, 220, 10);           // stale
          admit(3, 10, 20, 1, true);   // back to the beginning
          log.push([t.start, t.end, t.complete]);
          return log.map(String);
        }"""
    )
    assert got == [
        '{"at":0,"skip":0,"restart":true}',
        '{"at":100,"skip":0,"restart":false}',
        "null",
        "null",
        '{"at":150,"skip":30,"restart":false}',
        "50,220,0",
        "1",
        "0",
        "null",
        '{"at":10,"skip":0,"restart":true}',
        "10,30,true",
    ]


def test_what_waits_to_begin_is_cut_by_a_switch_and_dropped_by_a_seek(visit: Callable[..., Visit]) -> None:
    """Rendered offline by scheduled buffers: frames of 1 in the first epoch, of .25 in the second."""
    v = visit()
    switched, sought = v.page.evaluate(
        """async () => {
          const { createSink } = await import("/sink.js");
          const render = async (play) => {
            const context = new OfflineAudioContext(1, 12000, 44100);
            const sink = createSink("scheduled buffers", context, context.destination, 1, 1);
            play(sink, (epoch, position, frames) => {
              const samples = new Float32Array(frames).fill(epoch === 1 ? 1 : 0.25);
              const header = { headerBytes: 0, format: 0, channels: 1, flags: 0, generation: 0 };
              sink.push(samples.buffer, { ...header, epoch, position, frames });
            });
            return Array.from((await context.startRendering()).getChannelData(0));
          };
          return [
            await render((sink, push) => {
              push(1, 0, 2000);
              sink.clear(2, 1000);
              push(2, 1000, 8000);
            }),
            await render((sink, push) => {
              push(1, 5000, 2000);
              push(2, 100, 8000);
            }),
          ];
        }"""
    )
    lead = [0.0] * 882  # 20 ms
    assert switched == lead + [1.0] * 1000 + [0.25] * 8000 + [0.0] * 2118
    assert sought == lead + [0.25] * 8000 + [0.0] * 3118


def test_list_plays_on_without_a_gap_and_next_skips(
    visit: Callable[..., Visit], music: dict[str, Path], server: Server
) -> None:
    titles = [piece.title for piece in demo.PIECES]
    first, second = samples(music[titles[0]]), samples(music[titles[1]])

    def scenario() -> Visit:
        v = visit()
        v.page.click("#ab")
        v.track(titles[0]).click()
        v.until("document.querySelectorAll('#upcoming button').length > 0")
        v.listen(0.3)
        # The last second and a half of the first track, and on.
        v.page.evaluate(
            "(s) => { const bar = document.querySelector('#seek'); bar.value = s;"
            "bar.dispatchEvent(new Event('change')); }",
            first.shape[1] / 44100 - 1.5,
        )
        v.until("document.querySelector('#title').textContent === arg", titles[1])
        v.listen(0.8)
        return v

    v = undisturbed(scenario)
    seam = np.concatenate([first, second], axis=1)
    start, _, frames = same_run(seam, v.heard())
    assert start < first.shape[1] - 44100
    assert start + frames > first.shape[1] + 20_000
    assert v.page.locator("#upcoming b").first.inner_text() == titles[2]
    v.page.keyboard.press("n")
    v.until("document.querySelector('#title').textContent === arg", titles[2])
    v.until("document.querySelector('#upcoming b').textContent === arg", titles[3])
    v.page.locator("#upcoming button").last.click()
    v.until("document.querySelector('#title').textContent === arg", titles[-1])
    assert v.text("#upcoming-count") == "Nothing queued"
    assert v.page.is_disabled("#next")


def test_comparison_is_at_equal_loudness_when_asked(visit: Callable[..., Visit]) -> None:
    title = "Letter from the Attic"  # quiet: enhanced it is louder by several dB
    v = visit()
    v.track(title).click()
    v.listen(4)
    difference = float(v.stat("Enhanced is louder by").split()[0].replace("−", "-"))
    assert difference > 2
    v.page.keyboard.press("l")
    assert v.page.is_checked("#match")
    v.listen(0.3)  # the fade of the gain
    gains = []
    for _ in range(2):
        v.listen(1)
        gains.append(v.page.evaluate("tapGain()"))
        v.page.keyboard.press("b")
        v.listen(0.5)
    # Enhanced is turned down by the difference (the figure is rounded to .1 dB), the original untouched.
    assert abs(20 * np.log10(gains[0]) + difference) < 0.15
    assert abs(gains[1] - 1) < 1e-3
    v.page.keyboard.press("l")
    v.listen(0.5)
    assert abs(v.page.evaluate("tapGain()") - 1) < 1e-3


class Line:
    """A way to the server that can be cut, as a network does: without a word."""

    def __init__(self, server: Server) -> None:
        self._server, self._far = server, server.port
        self._writers: list[asyncio.StreamWriter] = []
        opened = asyncio.run_coroutine_threadsafe(self._open(), server._loop)
        self._listener = opened.result(10)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _open(self) -> asyncio.Server:
        return await asyncio.start_server(self._join, "127.0.0.1", 0)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far)
        self._writers += [writer, far_writer]
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        def abort() -> None:
            for writer in self._writers:
                writer.transport.abort()
            self._writers.clear()

        self._server._loop.call_soon_threadsafe(abort)

    def close(self) -> None:
        self.cut()
        self._server._loop.call_soon_threadsafe(self._listener.close)


def test_cut_line_is_taken_up_without_a_sample_lost(
    visit: Callable[..., Visit], music: dict[str, Path], server: Server
) -> None:
    line = Line(server)
    reached = server.port
    try:

        def scenario() -> Visit:
            server.port = line.port
            v = visit()
            server.port = reached
            v.page.click("#ab")
            v.track("Every Fader Up").click()
            v.listen(2)
            line.cut()
            v.until("document.querySelector('#link').textContent !== 'Connected'")
            v.until("document.querySelector('#link').textContent === 'Connected'")
            v.listen(5)  # longer than was held
            v.complaints[:] = [c for c in v.complaints if "WebSocket" not in c]
            return v

        v = undisturbed(scenario)
        _, _, frames = same_run(samples(music["Every Fader Up"]), v.heard())
        assert frames > 5 * 44100
    finally:
        server.port = reached
        line.close()

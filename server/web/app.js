// The page: joins the player, the library and the panels, and turns clicks and keys into commands.

import { $, define, el } from "./dom.js";
import { showFingerprint } from "./fingerprint.js";
import { Library } from "./library.js";
import { Player } from "./player.js";
import { drawWhy, forgetMoment, forgetTrack, showDecision, showMeasured, showMoment } from "./why.js";
import { byline, clock, label, number, presetWords, stallWords, trouble } from "./words.js";

const SEEK_STEP_S = 5;
const INTENSITY_STEP = 5;
const ORIGINAL = "The original is chosen: presets are heard again with Enhanced.";
const NOTICE_MS = 12_000;
const DEFAULT_PRESETS = ["adaptive", "gentle", "warm", "bright", "punchy"];

const socketUrl = new URL("ws", location.href);
socketUrl.protocol = location.protocol === "https:" ? "wss:" : "ws:";
const player = new Player(socketUrl);
const library = new Library();
let scrubbing = false; // the listener holds the seek bar
let described; // id of the track the map speaks of

drawWhy();
showPresets(DEFAULT_PRESETS);
library.load();
requestAnimationFrame(frame);

// --- what the player says

player.addEventListener("hello", ({ detail }) => showPresets(detail.presets ?? DEFAULT_PRESETS));
player.addEventListener("track", ({ detail: track }) => {
  $("title").textContent = track?.title ?? "Nothing playing";
  $("artist").textContent = track ? byline(track) : "Choose a track to begin";
  document.title = track ? `${track.title} · Auralis` : "Auralis";
  $("duration").textContent = clock(track?.duration ?? 0);
  $("seek").disabled = !track;
  $("seek").max = track?.duration ?? 1;
  forgetMoment();
  showFingerprint(track?.fingerprint === "ready" ? track.id : null);
});
player.addEventListener("start", ({ detail: { track_id: id, fingerprint } }) => {
  silence();
  if (id !== described) forgetTrack();
  described = id;
  if (fingerprint === "cached" && id === player.track?.id) describe(id);
});
player.addEventListener("params", ({ detail }) => {
  showDecision(detail);
  $("applied").textContent = detail.bypass ? "off" : detail.standard ? "standard" : "";
});
player.addEventListener("chunk", ({ detail }) => showMoment(detail));
player.addEventListener("progress", ({ detail }) => {
  if (detail.status !== "ready" && detail.status !== "failed") return;
  library.measured(detail.track_id, detail.status);
  if (detail.track_id !== player.track?.id) return;
  if (detail.status === "ready") describe(detail.track_id);
  else showFingerprint(null, "Could not be measured");
});
player.addEventListener("change", showState);
player.addEventListener("ended", showState);
player.addEventListener("trouble", ({ detail }) => complain(trouble(detail), detail.code));
player.addEventListener("connection", ({ detail: { up } }) => {
  const link = $("link");
  const wasDown = link.classList.contains("down");
  if (up && wasDown) library.load();
  link.textContent = up ? "Connected" : "Connection lost, reconnecting…";
  link.classList.toggle("down", !up);
  // Once: a try that fails must not wipe out what was said since.
  if (!up && !wasDown) complain("The connection to the server was lost. Trying to get it back…", "offline");
  else if (up && $("notice").dataset.about === "offline") silence();
});

// --- what the listener does

library.addEventListener("choose", ({ detail }) => start(detail));
library.addEventListener("trouble", ({ detail }) => complain(trouble(detail), detail.code));
$("toggle").addEventListener("click", toggle);
$("previous").addEventListener("click", () => go(-1));
$("next").addEventListener("click", next);
$("upcoming").addEventListener("click", ({ target }) => playUpcoming(target.closest("button")));
$("crossfade").addEventListener("input", () => setCrossfade(Number($("crossfade").value)));
$("match").addEventListener("change", () => setMatched($("match").checked));
$("ab").addEventListener("click", compare);
$("help").addEventListener("click", () => $("keys").showModal());
$("notice").querySelector("button").addEventListener("click", silence);
$("seek").addEventListener("input", () => (scrubbing = true));
$("seek").addEventListener("change", () => {
  scrubbing = false;
  player.seek(Number($("seek").value));
});
$("intensity").addEventListener("input", () => setIntensity(Number($("intensity").value)));
$("volume").addEventListener("input", () => setVolume(Number($("volume").value)));
for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => show(button.dataset.show));
}
document.addEventListener("keydown", key);
document.addEventListener("keyup", (event) => {
  // On the track that plays, space pauses; some browsers would also press its button, on release.
  if (event.key === " " && event.target.matches("[aria-current]")) event.preventDefault();
});

function toggle() {
  if (player.playing) player.pause();
  else if (player.track) resume();
  else if (library.first) start(library.first);
}

function start(track, following = library.after(track)) {
  dismiss();
  player.play(track, 0, following);
}

function next() {
  dismiss();
  player.next();
}

function playUpcoming(button) {
  const at = Number(button?.dataset.at ?? -1);
  if (at >= 0) start(player.upcoming[at], player.upcoming.slice(at + 1));
}

let pendingCrossfade = 0;
function setCrossfade(seconds) {
  $("crossfade-value").textContent = seconds ? `${seconds} s` : "none";
  clearTimeout(pendingCrossfade);
  pendingCrossfade = setTimeout(() => player.queue(player.upcoming, seconds), 200);
}

function setMatched(on) {
  $("match").checked = on;
  player.matched = on;
  showStats();
}

function resume() {
  dismiss();
  player.resume();
}

function go(by) {
  const track = library.neighbour(player.track, by);
  if (track) start(track);
}

function compare() {
  player.set({ bypass: !player.settings.bypass });
}

let pendingIntensity = 0;
function setIntensity(percent) {
  const value = Math.min(Math.max(percent, 0), 100);
  $("intensity").value = value;
  $("intensity-value").textContent = `${value} %`;
  clearTimeout(pendingIntensity); // a dragged slider sends ten changes a second, not hundreds
  pendingIntensity = setTimeout(() => player.set({ intensity: value / 100 }), 100);
}

function setVolume(percent) {
  $("volume").value = percent;
  player.volume = (percent / 100) ** 2; // loudness follows the slider about evenly
}

let loud = 100; // what to come back to after mute
function mute() {
  const now = Number($("volume").value);
  if (now > 0) loud = now;
  setVolume(now > 0 ? 0 : loud);
}

function show(view) {
  document.body.dataset.view = view;
  for (const button of document.querySelectorAll("[data-show]")) {
    button.setAttribute("aria-pressed", button.dataset.show === view);
  }
}

const KEYS = {
  " ": toggle,
  ArrowLeft: () => player.seek(player.seconds - SEEK_STEP_S),
  ArrowRight: () => player.seek(player.seconds + SEEK_STEP_S),
  ArrowUp: () => library.move(-1),
  ArrowDown: () => library.move(1),
  b: compare,
  l: () => setMatched(!player.matched),
  m: mute,
  n: next,
  "[": () => setIntensity(Number($("intensity").value) - INTENSITY_STEP),
  "]": () => setIntensity(Number($("intensity").value) + INTENSITY_STEP),
  "/": () => $("search").focus(),
  "?": () => $("keys").showModal(),
};

function key(event) {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const typing = target.matches("input:not([type=range]):not([type=radio])");
  if (typing && event.key === "Escape") target.blur();
  if (typing) return;
  if (target.matches("input") && event.key.startsWith("Arrow")) return; // a slider's own
  if (event.key === " " && target.matches("button:not([aria-current])")) return; // a button's own
  const preset = $("presets").querySelectorAll("input")[Number(event.key) - 1];
  let act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (event.shiftKey && event.key === "ArrowLeft") act = () => go(-1);
  if (event.shiftKey && event.key === "ArrowRight") act = next;
  if (preset) act = () => preset.click();
  if (!act) return;
  event.preventDefault();
  act();
}

// --- what the page shows

function showPresets(names) {
  const { preset } = player.settings;
  $("presets").replaceChildren(
    ...names.map((name) => {
      const input = el("input", { type: "radio", name: "preset", value: name });
      input.checked = name === preset;
      input.addEventListener("change", () => player.set({ preset: name }));
      return el("label", {}, input, el("span", {}, label(name)));
    }),
  );
  $("preset-words").textContent = presetWords(preset);
}

function showState() {
  const { playing, stalled, track, settings } = player;
  document.body.classList.toggle("playing", playing && !stalled);
  document.body.classList.toggle("stalled", Boolean(stalled));
  const press = playing ? (stalled ? "Stop waiting" : "Pause") : "Play";
  $("toggle").setAttribute("aria-label", press);
  $("toggle").title = press;
  $("waiting").textContent = stallWords(stalled);
  $("ab").setAttribute("aria-checked", !settings.bypass);
  $("previous").disabled = !library.neighbour(track, -1);
  $("next").disabled = !player.upcoming.length;
  showUpcoming(player.upcoming);
  $("presets").classList.toggle("off", settings.bypass);
  $("preset-words").textContent = settings.bypass ? ORIGINAL : presetWords(settings.preset);
  const chosen = $("presets").querySelector(`input[value="${CSS.escape(settings.preset)}"]`);
  if (chosen) chosen.checked = true;
  library.mark(track, playing && !stalled);
}

const SHOWN = 5; // of what is coming up
let shownUpcoming = [];
function showUpcoming(tracks) {
  if (tracks === shownUpcoming) return;
  shownUpcoming = tracks;
  const rows = tracks.slice(0, SHOWN).map((track, at) => {
    const button = el("button", { type: "button", "data-at": at }, el("b", {}, track.title), el("span", { class: "soft" }, clock(track.duration)));
    return el("li", {}, button);
  });
  $("upcoming").replaceChildren(...rows);
  const more = tracks.length - SHOWN;
  $("upcoming-count").textContent = more > 0 ? `and ${more} more` : tracks.length ? "" : "Nothing queued";
}

async function describe(id) {
  const dimensions = await showFingerprint(id);
  if (dimensions && described === id) showMeasured(dimensions);
}

function frame() {
  const { track, seconds, bufferedSeconds } = player;
  if (track && !scrubbing) {
    const bar = $("seek");
    const part = (s) => `${(100 * Math.min(1, s / track.duration)).toFixed(2)}%`;
    bar.value = seconds;
    bar.style.setProperty("--played", part(seconds));
    bar.style.setProperty("--held", part(seconds + bufferedSeconds));
  } else if (track) {
    $("seek").style.setProperty("--played", `${(100 * $("seek").value) / track.duration}%`);
  }
  if (track) {
    const at = scrubbing ? Number($("seek").value) : seconds;
    const text = clock(at);
    if ($("elapsed").textContent !== text) {
      $("elapsed").textContent = text;
      $("seek").setAttribute("aria-valuetext", `${text} of ${clock(track.duration)}`);
      showStats();
    }
  }
  requestAnimationFrame(frame);
}

function showStats() {
  const { firstSoundMs, changeMs, sink } = player.stats;
  define($("stats"), [
    ["Held ahead", number(player.bufferedSeconds, 1, "s")],
    ["Interruptions", String(player.underruns)],
    ["First sound after", number(firstSoundMs, 0, "ms")],
    ["Change heard after", number(changeMs, 0, "ms")],
    ["Enhanced is louder by", number(player.differenceDb, 1, "dB", true)],
    ["Device latency", number(player.deviceLatencyMs, 0, "ms")],
    ["Output", sink],
  ]);
}

let fading = 0; // clears a notice that nothing else has cleared
function complain(words, about = "") {
  clearTimeout(fading);
  if (about !== "offline") fading = setTimeout(silence, NOTICE_MS);
  $("notice").dataset.about = about;
  $("notice").querySelector("span").textContent = words;
  $("notice").hidden = false;
}

function silence() {
  clearTimeout(fading);
  $("notice").hidden = true;
}

/** What was said before is answered by what is asked now; a lost connection stays lost. */
function dismiss() {
  if ($("notice").dataset.about !== "offline") silence();
}

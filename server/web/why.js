// Why it sounds like this: the decision as a place on the loudness-crest map, its numbers, its notes,
// and meters that show what is being done to the audio that sounds now.

import { $, define, el, svg } from "./dom.js";
import { REGIONS, number, reason, story, tone } from "./words.js";

// The two lines of the decision, in LUFS and dB.
const LOUD = -12;
const FLAT = 13;

const LEFT = 44;
const TOP = 12;
const WIDTH = 344;
const HEIGHT = 246;
const X = { low: -32, high: -2, step: 5 };
const Y = { low: 2, high: 24, step: 4 };
const x = (lufs) => LEFT + (WIDTH * (clamp(lufs, X) - X.low)) / (X.high - X.low);
const y = (crest) => TOP + (HEIGHT * (Y.high - clamp(crest, Y))) / (Y.high - Y.low);
const clamp = (value, { low, high }) => Math.min(Math.max(value, low), high);

const EXPANSION = "How much of the flattened dynamics is given back: 0 none, 1 all that the rule allows (10 dB of crest).";

const METERS = [
  { name: "Loudness", unit: "LUFS", low: -40, high: -4, before: "lufs_in", after: "lufs_out" },
  { name: "Crest", unit: "dB", low: 0, high: 24, before: "crest_in", after: "crest_out" },
  { name: "Peaks held back", unit: "dB", low: 0, high: 12, before: null, after: "gain_reduction_db" },
];

let place; // the track's point
let trail; // from the short-term point before to the one after
let before;
let after;
let measured = null; // {lufs, crest_db} of the track, whatever is being done to it
let shown = null; // the last `params`

/** Draw everything that does not depend on the track. Call once. */
export function drawWhy() {
  const area = (name, x1, y1, x2, y2) =>
    svg("rect", { class: `area ${name}`, x: x1, y: y1, width: x2 - x1, height: y2 - y1 });
  const right = LEFT + WIDTH;
  const bottom = TOP + HEIGHT;
  const text = (at, up, words, attributes = {}) => svg("text", { x: at, y: up, ...attributes }, words);
  const middle = { "text-anchor": "middle" };
  const ticks = [];
  for (let v = -30; v <= -5; v += X.step) {
    ticks.push(svg("line", { class: "tick", x1: x(v), x2: x(v), y1: bottom, y2: bottom + 4 }));
    ticks.push(text(x(v), bottom + 16, number(v, 0), middle));
  }
  for (let v = 4; v <= 24; v += Y.step) {
    ticks.push(svg("line", { class: "tick", x1: LEFT - 4, x2: LEFT, y1: y(v), y2: y(v) }));
    ticks.push(text(LEFT - 8, y(v) + 4, String(v), { "text-anchor": "end" }));
  }
  const inLoud = (x(LOUD) + right) / 2;
  trail = svg("line", { class: "trail" });
  before = svg("circle", { class: "before", r: 4 });
  after = svg("circle", { class: "after", r: 4 });
  place = svg("g", { class: "place" }, svg("circle", { class: "halo", r: 13 }), svg("circle", { r: 6.5 }));
  $("map").append(
    area("quiet", LEFT, TOP, x(LOUD), bottom),
    area("dynamic_loud", x(LOUD), TOP, right, y(FLAT)),
    area("compressed_loud", x(LOUD), y(FLAT), right, bottom),
    svg("path", { class: "border", d: `M${x(LOUD)} ${TOP}V${bottom}M${x(LOUD)} ${y(FLAT)}H${right}` }),
    ...ticks,
    text((LEFT + x(LOUD)) / 2, TOP + 20, "room to spare", { class: "name", ...middle }),
    text(inLoud, TOP + 20, "loud, alive", { class: "name", ...middle }),
    text(inLoud, bottom - 10, "flattened", { class: "name", ...middle }),
    text(x(LOUD) + 4, bottom + 30, "−12 LUFS", { class: "line", ...middle }),
    text(right - 4, y(FLAT) - 5, "13 dB", { class: "line", "text-anchor": "end" }),
    text(LEFT, bottom + 34, "Loudness, LUFS →"),
    text(14, bottom, "Crest, dB →", { transform: `rotate(-90 14 ${bottom})` }),
    trail,
    before,
    after,
    place,
  );
  $("meters").append(...METERS.map(meterRow));
  forgetTrack();
}

/** Another track: nothing is known of it yet. */
export function forgetTrack() {
  measured = null;
  forgetMoment();
  showDecision(null);
}

/** Show where the fingerprint of the current track, {lufs, crest_db, …}, puts it on the map. */
export function showMeasured({ lufs, crest_db }) {
  measured = { lufs, crest_db };
  if (shown) showDecision(shown);
}

/** Show a `params` event; null when nothing plays. The original's have no decision: the track keeps its place. */
export function showDecision(params) {
  shown = params;
  const decision = params?.decision ?? null;
  if (decision) measured = decision;
  const region = $("region");
  const words = decision ? REGIONS[decision.region] : "Not measured yet";
  region.hidden = !params;
  region.textContent = params?.bypass ? "Original" : words;
  region.dataset.region = decision && !params.bypass ? decision.region : "";
  place.toggleAttribute("hidden", !measured);
  $("map-title").textContent = measured
    ? `Loudness ${number(measured.lufs, 1, "LUFS")}, crest ${number(measured.crest_db, 1, "dB")}: ${region.textContent}`
    : "Loudness and crest map";
  if (measured) place.setAttribute("transform", `translate(${x(measured.lufs)} ${y(measured.crest_db)})`);
  if (params) $("story").textContent = story(params);
  const off = params && (params.bypass || params.intensity === 0);
  define($("numbers"), [
    ["Loudness", number(measured?.lufs, 1, "LUFS")],
    ["Crest", number(measured?.crest_db, 1, "dB")],
    [el("abbr", { title: EXPANSION }, "Expansion"), off ? "off" : applied(decision?.expansion, 2)],
    ["Gain", off ? "off" : applied(params?.applied.gain_db, 1, "dB", true)],
  ]);
  const list = (id, lines) => $(id).replaceChildren(...lines.map((line) => el("li", {}, line)));
  list("actions", off || !params ? [] : params.applied.eq.map(tone));
  list("notes", off || !params ? [] : params.notes.map(reason));
}

/** Show a `chunk` event: what was measured on the audio that sounds now. */
export function showMoment(chunk) {
  for (const { name, unit, low, high, before, after } of METERS) {
    const row = $(`meter-${name}`);
    const value = after === "gain_reduction_db" ? size(chunk[after]) : chunk[after];
    const part = (v) => (Number.isFinite(v) ? clamp((v - low) / (high - low), { low: 0, high: 1 }) : 0);
    row.querySelector(".after").style.transform = `scaleX(${part(value)})`;
    if (before) row.querySelector(".before").style.transform = `scaleX(${part(chunk[before])})`;
    const arrow = before && Math.abs(value - chunk[before]) >= 0.05;
    const words = arrow ? `${number(chunk[before])} → ${number(value, 1, unit)}` : number(value, 1, unit);
    row.querySelector(".track").setAttribute("aria-valuenow", Number.isFinite(value) ? value.toFixed(1) : low);
    row.querySelector(".track").setAttribute("aria-valuetext", words);
    row.querySelector("output").textContent = words;
  }
  const known = [chunk.lufs_in, chunk.crest_in, chunk.lufs_out, chunk.crest_out].every(Number.isFinite);
  for (const shape of [trail, before, after]) shape.toggleAttribute("hidden", !known);
  if (!known) return;
  const from = [x(chunk.lufs_in), y(chunk.crest_in)];
  const to = [x(chunk.lufs_out), y(chunk.crest_out)];
  setAll(before, { cx: from[0], cy: from[1] });
  setAll(after, { cx: to[0], cy: to[1] });
  setAll(trail, { x1: from[0], y1: from[1], x2: to[0], y2: to[1] });
}

/** Nothing sounds: the meters fall back. */
export function forgetMoment() {
  showMoment({});
}

const applied = (value, ...format) => (value === 0 ? "none" : number(value, ...format));
const size = (value) => (Number.isFinite(value) ? Math.abs(value) : null);

function setAll(shape, attributes) {
  for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
}

function meterRow({ name, low, high, before }) {
  const track = { class: "track", role: "meter", "aria-label": name, "aria-valuemin": low, "aria-valuemax": high };
  return el(
    "div",
    { id: `meter-${name}`, class: "meter" },
    el("span", {}, name),
    el("span", track, before ? el("i", { class: "before" }) : "", el("i", { class: "after" })),
    el("output", {}, "–"),
  );
}

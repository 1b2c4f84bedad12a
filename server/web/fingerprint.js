// The 25 dimensions of a track as bars, in the groups, order and ranges the server declares.

import { $, el } from "./dom.js";
import { label, measure } from "./words.js";

let dimensions = null; // of /api/dimensions, fetched once
let wanted = null; // id of the track whose fingerprint should be shown

/** Fetch and draw the fingerprint of track `id`, and return its values; null empties the chart and says why. */
export async function showFingerprint(id, reason = "Not measured yet") {
  wanted = id;
  if (id === null) return say(reason);
  const [known, fingerprint] = await Promise.all([table(), get(`api/tracks/${id}/fingerprint`)]);
  if (wanted !== id) return undefined;
  if (!known || !fingerprint) return say("Not measured yet");
  say("");
  const groups = grouped(known);
  $("fingerprint").replaceChildren(
    ...[...groups].map(([group, members]) =>
      el(
        "section",
        { "data-group": group },
        el("h3", {}, label(group)),
        ...members.map((dimension) => bar(dimension, fingerprint.dimensions[dimension.name])),
      ),
    ),
  );
  return fingerprint.dimensions;
}

function bar(dimension, value) {
  const { low, high } = dimension;
  const part = (v) => Math.min(Math.max((v - low) / (high - low), 0), 1);
  const zero = low < 0 && high > 0 && dimension.unit !== "LUFS" ? part(0) : 0; // signed ones grow from their middle
  const fill = el("i");
  fill.style.left = `${100 * Math.min(zero, part(value))}%`;
  fill.style.width = `${100 * Math.abs(part(value) - zero)}%`;
  return el(
    "div",
    { class: "dimension" },
    el("span", {}, label(dimension.name)),
    el("span", { class: "track", "aria-hidden": "true" }, fill),
    el("span", { class: "value" }, measure(value, dimension)),
  );
}

function say(words) {
  $("fingerprint-state").textContent = words;
  $("fingerprint").replaceChildren();
}

async function table() {
  return (dimensions ??= await get("api/dimensions"));
}

async function get(path) {
  try {
    const response = await fetch(path);
    return response.ok ? await response.json() : null;
  } catch {
    return null; // offline: the connection's own notice says so
  }
}

function grouped(list) {
  const groups = new Map();
  for (const item of list) groups.set(item.group, [...(groups.get(item.group) ?? []), item]);
  return groups;
}

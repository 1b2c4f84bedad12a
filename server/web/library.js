// The list of tracks: fetch, search, show, move through. Says which track was chosen; plays nothing.

import { $, el } from "./dom.js";
import { byline, clock } from "./words.js";

const PAGE = 100;
const MOST = 1000; // tracks the server gives at once
const TYPING_MS = 150;
const SCAN_MS = 3000; // how often a list that still changes is looked at
const STATES = { pending: "Not measured yet", failed: "Cannot be read in full" };

/** Events: `choose` (detail: the row of /api/tracks), `trouble`. */
export class Library extends EventTarget {
  #tracks = [];
  #total = 0;
  #all = null; // tracks in the library, whatever is searched for; null until known
  #query = "";
  #current = null;
  #request = null; // aborts the fetch a newer one replaces
  #timer = 0;
  #scan = 0;

  constructor() {
    super();
    $("search").addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.load(), TYPING_MS);
    });
    $("search").form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.load();
    });
    $("more").addEventListener("click", () => this.#fetch(this.#tracks.length));
    $("tracks").addEventListener("click", ({ target }) => this.#choose(target.closest("button")));
  }

  /** Fetch the list anew for what the search box says. */
  load() {
    this.#query = $("search").value.trim();
    return this.#fetch(0);
  }

  /** The track `by` places after `track` in the list, if there is one. */
  neighbour(track, by) {
    const at = this.#tracks.findIndex(({ id }) => id === track?.id);
    return at < 0 ? undefined : this.#tracks[at + by];
  }

  /** The rows below `track`, as far as one queue holds them. */
  after(track) {
    const at = this.#tracks.findIndex(({ id }) => id === track?.id);
    return at < 0 ? [] : this.#tracks.slice(at + 1, at + 1 + MOST);
  }

  get first() {
    return this.#tracks[0];
  }

  /** Mark `track` as the one that plays. */
  mark(track, playing) {
    this.#current = track;
    for (const button of $("tracks").querySelectorAll("button")) {
      const current = Number(button.dataset.id) === track?.id;
      button.toggleAttribute("aria-current", current);
      button.classList.toggle("playing", current && playing);
    }
  }

  /** A fingerprint arrived or failed. */
  measured(id, state) {
    const track = this.#tracks.find((candidate) => candidate.id === id);
    if (!track) return;
    track.fingerprint = state;
    $("tracks").querySelector(`[data-id="${id}"]`)?.closest("li").replaceWith(this.#row(track));
  }

  /** Move the focus `by` rows from where it is. */
  move(by) {
    const buttons = [...$("tracks").querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const current = buttons.findIndex((button) => button.hasAttribute("aria-current"));
    const to = at >= 0 ? at + by : Math.max(0, current);
    buttons[Math.min(Math.max(to, 0), buttons.length - 1)]?.focus();
  }

  async #fetch(offset, limit = PAGE) {
    this.#request?.abort();
    clearTimeout(this.#scan);
    const { signal } = (this.#request = new AbortController());
    const query = new URLSearchParams({ search: this.#query, limit, offset });
    try {
      const response = await fetch(`api/tracks?${query}`, { signal });
      if (!response.ok) throw new Error(response.statusText);
      const { total, tracks } = await response.json();
      this.#total = total;
      this.#show(offset ? [...this.#tracks, ...tracks] : tracks);
    } catch (error) {
      if (error.name !== "AbortError") this.dispatchEvent(new CustomEvent("trouble", { detail: { code: "library" } }));
    }
  }

  #show(tracks) {
    if (JSON.stringify(tracks) !== JSON.stringify(this.#tracks)) {
      const focused = document.activeElement?.dataset.id;
      $("tracks").replaceChildren(...tracks.map((track) => this.#row(track)));
      if (focused) $("tracks").querySelector(`[data-id="${focused}"]`)?.focus();
    }
    this.#tracks = tracks;
    if (!tracks.length || tracks.some(({ fingerprint }) => fingerprint === "pending")) {
      const limit = Math.min(Math.max(PAGE, tracks.length), MOST);
      this.#scan = setTimeout(() => this.#fetch(0, limit), SCAN_MS);
    }
    if (!this.#query) this.#all = this.#total;
    $("count").textContent = this.#counted();
    $("more").hidden = this.#tracks.length >= this.#total;
    $("empty").hidden = this.#total > 0;
    $("empty").textContent = this.#query ? `Nothing matches “${this.#query}”.` : "No music here yet.";
  }

  #counted() {
    const tracks = (n) => (n === 1 ? "1 track" : `${n} tracks`);
    if (!this.#query || (this.#total && this.#all === null)) return tracks(this.#total);
    if (this.#total) return `${this.#total} of ${tracks(this.#all)}`;
    return this.#all ? `No match among ${tracks(this.#all)}` : "No match";
  }

  #row(track) {
    const { id, title, duration, fingerprint } = track;
    const state = STATES[fingerprint];
    const failed = fingerprint === "failed";
    const under = el("span", { class: failed ? "soft why-not" : "soft" }, failed ? state : byline(track));
    const button = el(
      "button",
      { type: "button", "data-id": id },
      el("span", { class: "bars", "aria-hidden": "true" }, el("i"), el("i"), el("i")),
      el("span", { class: "what" }, el("b", {}, title), under),
      state ? el("span", { class: `state ${fingerprint}`, title: state }, failed ? "" : el("span", { class: "hidden" }, state)) : "",
      el("span", { class: "length soft" }, clock(duration)),
    );
    button.toggleAttribute("aria-current", id === this.#current?.id);
    return el("li", {}, button);
  }

  #choose(button) {
    const track = this.#tracks.find(({ id }) => id === Number(button?.dataset.id));
    if (track) this.dispatchEvent(new CustomEvent("choose", { detail: track }));
  }
}

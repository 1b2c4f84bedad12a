// One listener: what should play, how, and where it is. Joins the connection to a sink; draws nothing.

import { Connection } from "./connection.js";
import { readHeader } from "./frame.js";
import { createSink, prepare } from "./sink.js";

const BUFFER_S = 4;
const LEAD_MS = 500;
const TICK_MS = 50;
const CREDIT_MS = 100;
const PAUSE_FADE_S = 0.015;
const STALLED_MS = 700; // silence longer than any start is worth a word

/**
 * Events, all with their data in `detail`: `hello`, `connection` ({up, retryMs}), `track` (as soon as it
 * is asked for; null for none), `start` (when the server begins it), `params`, `chunk` (when its audio
 * sounds), `progress`, `change` (play state or settings), `ended`, `trouble` (an error with a code).
 */
export class Player extends EventTarget {
  settings = { preset: "adaptive", intensity: 1, bypass: false };
  track = null; // the library's row of what plays
  playing = false; // what the listener wants
  stalled = null; // why nothing sounds although it should: offline or late
  stats = { sink: "–", firstSoundMs: null, changeMs: null };

  #connection;
  #rooms = new Map(); // sample rate → {context, fader, kind: Promise}
  #room = null;
  #volume = 1;
  #stream = null; // {id, epoch, rate, frames}
  #sink = null;
  #early = []; // what came for the sink before it was ready
  #map = { at_frame: 0, track_frame: 0 };
  #chunks = []; // decision records of audio that has not sounded yet
  #target = null; // {seconds, epoch} of a start or seek not heard yet; epoch null until it is known
  #asked = null; // when the play or change being waited for was asked
  #credit = "";
  #up = false;
  #silent = null; // since when nothing sounds although it should
  #left = 0; // where to go on when there is no stream, in seconds

  constructor(url) {
    super();
    const greeting = { protocol: 1, formats: ["f32le"], lead_ms: LEAD_MS, max_buffer_ms: BUFFER_S * 1000 };
    this.#connection = new Connection(url, greeting);
    this.#connection.addEventListener("up", () => this.#back());
    this.#connection.addEventListener("down", ({ detail }) => {
      this.#up = false;
      this.#emit("connection", { up: false, retryMs: detail });
    });
    this.#connection.addEventListener("audio", ({ detail }) => this.#audio(detail));
    this.#connection.addEventListener("message", ({ detail }) => this.#message(detail));
    setInterval(() => this.#look(), TICK_MS);
    setInterval(() => this.#report(), CREDIT_MS);
  }

  /** Start `track` (a row of /api/tracks). Call it from a click or a key: browsers demand that for sound. */
  async play(track, seconds = 0) {
    try {
      this.#sound(this.#open(track.sample_rate));
    } catch {
      return this.#trouble({ code: "no_sound" });
    }
    const before = { track: this.track, playing: this.playing };
    const target = { seconds, epoch: null };
    this.track = track;
    this.playing = true;
    this.#target = target;
    this.#asked = { what: "firstSoundMs", at: performance.now(), ready: (state) => state.running };
    this.#emit("track", track);
    this.#emit("change");
    const { preset, intensity, bypass } = this.settings;
    const data = { track_id: track.id, preset, intensity, start_seconds: seconds };
    try {
      await this.#connection.request(bypass ? "play_normal" : "play_enhanced", data);
    } catch (error) {
      this.#trouble(error);
      if (this.#target !== target) return; // something else has been asked for since
      Object.assign(this, before); // what played before plays on
      this.#target = null;
      if (!this.playing) this.#room?.context.suspend();
      this.#emit("track", this.track);
      this.#emit("change");
    }
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    const { context, fader } = this.#open(this.track.sample_rate);
    fader.gain.setTargetAtTime(0, context.currentTime, PAUSE_FADE_S / 3);
    setTimeout(() => this.playing || context.suspend(), 2000 * PAUSE_FADE_S);
    this.#connection.send("pause");
    this.#emit("change");
  }

  resume() {
    if (this.playing || !this.track) return;
    if (!this.#stream) {
      this.play(this.track, this.#left);
      return;
    }
    this.playing = true;
    this.#sound(this.#open(this.track.sample_rate));
    this.#connection.send("resume");
    this.#emit("change");
  }

  seek(seconds) {
    if (!this.track) return;
    const to = Math.min(Math.max(seconds, 0), Math.max(0, this.track.duration - 0.05));
    if (!this.#stream) {
      this.play(this.track, to);
      return;
    }
    const target = { seconds: to, epoch: null };
    this.#target = target;
    this.#request("seek", { seconds: to }).then(
      ({ epoch }) => (target.epoch = epoch),
      () => this.#target === target && (this.#target = null),
    );
  }

  /** Change any of preset, intensity and bypass, now and for what is played later. */
  set(change) {
    Object.assign(this.settings, change);
    this.#emit("change");
    if (!this.#stream) return;
    const asked = { what: "changeMs", at: performance.now(), ready: () => false };
    this.#asked = asked;
    this.#request("set", change).then(
      ({ generation }) => (asked.ready = (state) => state.running && state.generation >= generation),
      () => {},
    );
  }

  set volume(volume) {
    this.#volume = volume;
    if (this.playing) this.#sound(this.#open(this.track.sample_rate));
  }

  get volume() {
    return this.#volume;
  }

  /** Where the listener is in the track. */
  get seconds() {
    if (this.#target) return this.#target.seconds;
    if (!this.#stream) return this.#left;
    if (!this.#sink) return 0;
    const { position } = this.#sink.state();
    return Math.max(0, position - this.#map.at_frame + this.#map.track_frame) / this.#stream.rate;
  }

  /** Seconds received and not heard yet. */
  get bufferedSeconds() {
    return this.#sink && this.#stream ? this.#sink.state().held / this.#stream.rate : 0;
  }

  get underruns() {
    return this.#sink?.state().underruns ?? 0;
  }

  /** What the device adds after the sink, in milliseconds, as far as the browser knows. */
  get deviceLatencyMs() {
    const context = this.#room?.context;
    return context ? 1000 * (context.outputLatency || context.baseLatency || 0) : null;
  }

  /** The context for a sample rate; made once, inside the first click that needs it. */
  #open(sampleRate) {
    if (!this.#rooms.has(sampleRate)) {
      const context = new AudioContext({ sampleRate, latencyHint: "playback" });
      const fader = new GainNode(context, { gain: this.#volume });
      fader.connect(context.destination);
      this.#rooms.set(sampleRate, { context, fader, kind: prepare(context) });
    }
    return this.#rooms.get(sampleRate);
  }

  /** Let a room be heard. */
  #sound({ context, fader }) {
    context.resume();
    fader.gain.setTargetAtTime(this.#volume, context.currentTime, PAUSE_FADE_S / 3);
  }

  #back() {
    this.#up = true;
    this.#emit("connection", { up: true });
    if (!this.#stream) return;
    this.#left = this.seconds;
    this.#stream = null;
    if (this.playing) this.play(this.track, this.#left);
  }

  #message({ type, data }) {
    switch (type) {
      case "hello":
        return this.#emit("hello", data);
      case "audio_stream_start":
        return this.#start(data);
      case "track_start":
        this.#map = data;
        return this.#emit("start", data);
      case "clear":
        return this.#clear(data);
      case "params":
        return this.#emit("params", data);
      case "chunk":
        this.#chunks.push(data);
        return;
      case "fingerprint_progress":
        return this.#emit("progress", data);
      case "audio_stream_end":
        if (data.stream === this.#stream?.id && data.reason === "error") {
          this.#stopped(this.seconds);
          this.#dropSink();
        }
        return;
      case "error":
        return this.#trouble(data);
    }
  }

  async #start({ stream, epoch, sample_rate: rate, channels, total_frames: frames }) {
    this.#dropSink();
    this.#stream = { id: stream, epoch, rate, frames };
    this.#chunks = [];
    if (this.#target) this.#target.epoch = epoch;
    const room = this.#open(rate);
    if (this.#room && this.#room !== room) this.#room.context.suspend();
    this.#room = room;
    const kind = await room.kind;
    if (this.#stream?.id !== stream) return;
    this.stats.sink = kind;
    this.#sink = createSink(kind, room.context, room.fader, channels, BUFFER_S);
    this.#sink.onchange = () => this.#look();
    for (const late of this.#early.splice(0)) late(this.#sink);
  }

  #audio(buffer) {
    const header = readHeader(buffer);
    if (header.stream === this.#stream?.id) this.#toSink((sink) => sink.push(buffer, header));
  }

  #clear({ stream, epoch, keep_until: keepUntil }) {
    if (stream !== undefined && stream !== this.#stream?.id) return;
    this.#stream.epoch = epoch;
    this.#chunks = this.#chunks.filter(({ at_frame: at }) => keepUntil !== null && at <= keepUntil);
    this.#toSink((sink) => sink.clear(epoch, keepUntil ?? null));
  }

  #toSink(action) {
    if (this.#sink) action(this.#sink);
    else this.#early.push(action);
  }

  #dropSink() {
    this.#sink?.close();
    this.#sink = null;
    this.#early = [];
    this.#credit = "";
  }

  /** See what has become true since the last look. */
  #look() {
    this.#listen();
    if (!this.#sink || !this.#stream) return;
    const state = this.#sink.state();
    if (this.#asked?.ready(state)) {
      this.stats[this.#asked.what] = Math.round(performance.now() - this.#asked.at);
      this.#asked = null;
    }
    const target = this.#target;
    if (target && target.epoch !== null && state.running && state.epoch >= target.epoch) this.#target = null;
    while (this.#chunks.length && this.#chunks[0].at_frame <= state.position) {
      this.#emit("chunk", this.#chunks.shift());
    }
    if (state.ended && !target) {
      this.#stopped(0);
      this.#emit("ended");
    }
  }

  /** Notice when what should sound does not. */
  #listen() {
    const sounds = !this.playing || (this.#stream && this.#sink?.state().running);
    this.#silent = sounds ? null : (this.#silent ?? performance.now());
    const late = !sounds && performance.now() - this.#silent > STALLED_MS;
    const stalled = !sounds && !this.#up ? "offline" : late ? "late" : null;
    if (stalled === this.stalled) return;
    this.stalled = stalled;
    this.#emit("change");
  }

  /** Tell the server how far the listener is, and how much more may come. */
  #report() {
    if (!this.#sink || !this.#stream) return;
    const { position, underruns, epoch } = this.#sink.state();
    if (epoch < 0) return; // nothing received yet
    const credit = { upto: position + Math.round(BUFFER_S * this.#stream.rate), played: position, underruns, epoch };
    if (JSON.stringify(credit) === this.#credit) return;
    this.#credit = JSON.stringify(credit);
    this.#connection.send("credit", credit);
  }

  /** There is no stream any more; play and resume start one at `left` seconds. */
  #stopped(left) {
    this.#left = left;
    this.playing = false;
    this.#stream = null;
    this.#target = null;
    this.#emit("change");
  }

  async #request(type, data) {
    try {
      return await this.#connection.request(type, data);
    } catch (error) {
      this.#trouble(error);
      throw error;
    }
  }

  #trouble({ code, message }) {
    this.#emit("trouble", { code, message });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

// One listener: what should play, how, and where it is. Joins the connection to a sink; draws nothing.

import { Connection } from "./connection.js";
import { readHeader } from "./frame.js";
import { createSink, prepare } from "./sink.js";

const BUFFER_S = 4;
const LEAD_MS = 500;
const TICK_MS = 50;
const CREDIT_MS = 100;
const PAUSE_FADE_S = 0.015;
const TRIM_FADE_S = 0.02;
const STALLED_MS = 700; // silence longer than any start is worth a word

/**
 * Events, all with their data in `detail`: `hello`, `connection` ({up, retryMs}), `track` (as soon as it
 * is asked for, or sounds because its turn has come; null for none), `start` (when the server begins it, or
 * it sounds), `params`, `chunk` (when its audio sounds), `progress`, `change` (play state, settings or
 * queue), `ended`, `trouble` (an error with a code).
 */
export class Player extends EventTarget {
  settings = { preset: "adaptive", intensity: 1, bypass: false };
  track = null; // the library's row of what plays
  playing = false; // what the listener wants
  stalled = null; // why nothing sounds although it should: offline or late
  upcoming = []; // rows of what follows, in order
  crossfade = 0; // seconds between tracks
  stats = { sink: "–", firstSoundMs: null, changeMs: null };

  #connection;
  #rooms = new Map(); // sample rate → {context, fader, kind: Promise}
  #room = null;
  #volume = 1;
  #stream = null; // {id, epoch, rate, frames}
  #sink = null;
  #early = []; // what came for the sink before it was ready
  #greeting;
  #rows = new Map(); // id → row of everything played or queued
  #starts = []; // track_start of what sounds and of what was sent ahead, ascending
  #over = false; // the server has sent the last frame
  #received = null; // the stream frame that must come next
  #bypassed = new Map(); // generation → whether it is the original
  #powers = { dry: 0, wet: 0 }; // of this track before and after, summed over its records
  #matched = false;
  #trim = 1;
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
    this.#greeting = greeting;
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

  /**
   * Start `track` (a row of /api/tracks), and after it what `following` names. Call it from a click or a
   * key: browsers demand that for sound.
   */
  async play(track, seconds = 0, following = this.upcoming) {
    try {
      this.#sound(this.#open(track.sample_rate));
    } catch {
      return this.#trouble({ code: "no_sound" });
    }
    const before = { track: this.track, playing: this.playing, upcoming: this.upcoming };
    const target = { seconds, epoch: null };
    this.track = track;
    this.upcoming = following;
    this.#rows.set(track.id, track);
    this.playing = true;
    this.#target = target;
    this.#asked = { what: "firstSoundMs", at: performance.now(), ready: (state) => state.running };
    this.#emit("track", track);
    this.#emit("change");
    const { preset, intensity, bypass } = this.settings;
    const data = { track_id: track.id, preset, intensity, start_seconds: seconds };
    try {
      const { superseded } = await this.#connection.request(bypass ? "play_normal" : "play_enhanced", data);
      if (!superseded) this.#sendQueue();
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

  /** What follows the track that plays: rows of /api/tracks. */
  queue(tracks, crossfade = this.crossfade) {
    this.upcoming = tracks;
    this.crossfade = crossfade;
    if (this.#stream) this.#sendQueue();
    this.#emit("change");
  }

  /** Go on with the first of `upcoming`. */
  next() {
    const track = this.upcoming[0];
    if (!track) return;
    if (!this.#stream) {
      this.play(track, 0, this.upcoming.slice(1));
      return;
    }
    const target = { seconds: 0, epoch: null };
    this.#target = target;
    this.#request("next", {}).then(
      ({ epoch }) => (epoch === undefined ? this.#drop(target) : (target.epoch = epoch)),
      () => this.#drop(target),
    );
    if (!this.playing) this.resume();
  }

  /** Original and enhanced at equal loudness: the louder of the two is turned down. */
  set matched(on) {
    this.#matched = on;
    this.#match();
  }

  get matched() {
    return this.#matched;
  }

  /** How much louder the enhanced sound of this track has been so far, in dB; null until it was heard. */
  get differenceDb() {
    const { dry, wet } = this.#powers;
    return dry > 0 && wet > 0 ? 10 * Math.log10(wet / dry) : null;
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
      () => this.#drop(target),
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
    const { at_frame: at, track_frame: frame } = this.#starts[0] ?? { at_frame: 0, track_frame: 0 };
    return Math.max(0, position - at + frame) / this.#stream.rate;
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
    fader.gain.setTargetAtTime(this.#volume * this.#trim, context.currentTime, PAUSE_FADE_S / 3);
  }

  /** The connection is up, again: take up the stream where it broke off; failing that, start anew. */
  async #back() {
    this.#up = true;
    this.#emit("connection", { up: true });
    if (!this.#stream) return;
    const { id: stream, epoch, token } = this.#stream;
    if (this.#received !== null) {
      const resume = { stream, epoch, next_frame: this.#received, token };
      try {
        await this.#connection.request("hello", { ...this.#greeting, resume });
        this.#connection.send(this.playing ? "resume" : "pause"); // as it was left while nobody could be told
        return;
      } catch ({ code }) {
        if (code === "offline" || this.#stream?.id !== stream) return;
      }
    }
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
        return this.#begin(data);
      case "clear":
        return this.#clear(data);
      case "params":
        return this.#params(data);
      case "chunk":
        this.#chunks.push(data);
        return;
      case "fingerprint_progress":
        return this.#emit("progress", data);
      case "audio_stream_end":
        if (data.stream === this.#stream?.id) this.#over = true;
        if (data.stream === this.#stream?.id && data.reason === "error") {
          this.#stopped(this.seconds);
          this.#dropSink();
        }
        return;
      case "error":
        return this.#trouble(data);
    }
  }

  async #start({ stream, epoch, sample_rate: rate, channels, total_frames: frames, token }) {
    this.#dropSink();
    this.#stream = { id: stream, epoch, rate, frames, token };
    this.#chunks = [];
    this.#starts = [];
    this.#over = false;
    this.#received = Math.round((this.#target?.seconds ?? 0) * rate);
    this.#bypassed.clear();
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
    if (header.stream !== this.#stream?.id) return;
    if (header.epoch === this.#stream.epoch) this.#received = header.position + header.frames;
    this.#over = false;
    this.#toSink((sink) => sink.push(buffer, header));
  }

  /** Where a track lies: at once for what is asked for, later for what follows. */
  #begin(data) {
    if (data.stream !== this.#stream?.id) return;
    this.#starts = this.#starts.filter(({ at_frame: at }) => at < data.at_frame);
    this.#starts.push({ ...data, params: [] });
    this.#received ??= data.at_frame;
    if (this.#starts.length === 1) this.#turn(this.#starts[0]);
  }

  /** What a start announces has begun to sound. */
  #turn(start) {
    const row = this.#rows.get(start.track_id);
    const at = this.upcoming.findIndex(({ id }) => id === start.track_id);
    if (row && row !== this.track) {
      if (at >= 0) this.upcoming = this.upcoming.slice(at + 1);
      this.track = row;
      this.#powers = { dry: 0, wet: 0 };
      this.#emit("track", row);
      this.#emit("change");
    }
    this.#emit("start", start);
    for (const params of start.params.splice(0)) this.#emit("params", params);
  }

  #params(data) {
    this.#bypassed.set(data.generation, data.bypass);
    if (!data.bypass) this.#powers = { dry: 0, wet: 0 }; // another sound, another difference
    if (this.#starts.length > 1) this.#starts.at(-1).params.push(data);
    else this.#emit("params", data);
  }

  /** Sum up what a record says of loudness before and after. */
  #weigh({ generation, lufs_in: before, lufs_out: after }) {
    if (this.#bypassed.get(generation) !== false || before === null || after === null) return;
    this.#powers.dry += 10 ** (before / 10);
    this.#powers.wet += 10 ** (after / 10);
  }

  /** Turn down the louder of original and enhanced by the difference, while they are to be matched. */
  #match() {
    const original = this.#bypassed.get(this.#sink?.state().generation) ?? this.settings.bypass;
    const difference = (this.#matched && this.differenceDb) || 0;
    const trim = 10 ** (Math.min(0, original ? difference : -difference) / 20);
    if (Math.abs(trim - this.#trim) < 1e-3) return;
    this.#trim = trim;
    if (!this.playing || !this.#room) return;
    const { context, fader } = this.#room;
    fader.gain.setTargetAtTime(this.#volume * trim, context.currentTime, TRIM_FADE_S);
  }

  #sendQueue() {
    for (const row of this.upcoming) this.#rows.set(row.id, row);
    const ids = this.upcoming.map(({ id }) => id);
    this.#connection.send("queue", { track_ids: ids, crossfade_seconds: this.crossfade });
  }

  #drop(target) {
    if (this.#target === target) this.#target = null;
  }

  #clear({ stream, epoch, keep_until: keepUntil }) {
    if (stream !== undefined && stream !== this.#stream?.id) return;
    if (!this.#stream) return;
    this.#stream.epoch = epoch;
    this.#received = keepUntil ?? null;
    this.#over = false;
    this.#starts = this.#starts.filter(({ at_frame: at }) => keepUntil !== null && at <= keepUntil);
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
    while (this.#starts.length > 1 && this.#starts[1].at_frame <= state.position) {
      this.#starts.shift();
      this.#turn(this.#starts[0]);
    }
    while (this.#chunks.length && this.#chunks[0].at_frame <= state.position) {
      const chunk = this.#chunks.shift();
      this.#weigh(chunk);
      this.#emit("chunk", chunk);
    }
    this.#match();
    if (state.ended && this.#over && !target) {
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

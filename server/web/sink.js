// Where received frames become sound. Two sinks with one interface, chosen at run time: an audio
// worklet where the browser has one, scheduled buffers where it does not (any plain-http address but
// this machine's own). A sink serves one stream; the context and its fader outlive it.
//
//   push(buffer, header)          one binary frame; the buffer is given away
//   clear(epoch, keepUntil)       older epochs count only up to keepUntil; null voids them
//   state()                       {position, held, generation, epoch, running, ended, underruns}
//   onchange                      called when the state may have changed in more than position
//   close()

import { LAST_OF_TRACK, copyChannel } from "./frame.js";
import { Timeline } from "./timeline.js";

const START_S = 0.1; // held before the first sound and after an interruption
const FADE_S = 0.003;
const LEAD_S = 0.02; // from deciding to begin to the first sound
// What the audio thread may render between a look at its clock and the start of a node taking effect.
const MARGIN_S = 0.006;
// Start times are multiples of a sample, but as seconds they may round to just before one, and the
// browser would then interpolate. Far below a sample, far above the rounding.
const NUDGE_S = 1e-10;

/** Load what the context can run; the answer is the kind of sink it gets. */
export async function prepare(context) {
  try {
    await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
    return "audio worklet";
  } catch {
    return "scheduled buffers"; // no worklets here, or this one did not load; the page shows which
  }
}

export function createSink(kind, context, destination, channels, bufferSeconds) {
  const Sink = kind === "audio worklet" ? WorkletSink : ScheduledSink;
  return new Sink(context, destination, channels, bufferSeconds);
}

class WorkletSink {
  onchange = null;
  #node;
  #context;
  #report = { position: 0, held: 0, generation: 0, epoch: -1, running: false, ended: false, underruns: 0, time: 0 };

  constructor(context, destination, channels, bufferSeconds) {
    const outputs = Math.max(2, channels);
    this.#context = context;
    this.#node = new AudioWorkletNode(context, "auralis-player", {
      numberOfInputs: 0,
      outputChannelCount: [outputs],
      processorOptions: {
        channels: outputs,
        capacity: 2 ** Math.ceil(Math.log2((bufferSeconds + 1) * context.sampleRate)),
        threshold: Math.round(START_S * context.sampleRate),
      },
    });
    this.#node.port.onmessage = ({ data }) => {
      this.#report = data;
      this.onchange?.();
    };
    this.#node.connect(destination);
  }

  push(buffer) {
    this.#node.port.postMessage(buffer, [buffer]);
  }

  clear(epoch, keepUntil) {
    this.#node.port.postMessage({ clear: { epoch, keepUntil } });
  }

  state() {
    const report = this.#report;
    if (!report.running) return report;
    const since = Math.max(0, this.#context.currentTime - report.time) * this.#context.sampleRate;
    const ahead = Math.min(since, report.held, 0.1 * this.#context.sampleRate);
    return { ...report, position: Math.round(report.position + ahead), held: Math.round(report.held - ahead) };
  }

  close() {
    this.#node.port.postMessage("close");
    this.#node.disconnect();
  }
}

class ScheduledSink {
  onchange = null; // never called: the clock is all that changes this sink
  #context;
  #destination;
  #bus = null; // gain every buffer of one uninterrupted run goes through
  #timeline = new Timeline();
  #waiting = []; // {at, end, audio} not scheduled yet, ascending: too little is held to start
  #playing = []; // {at, end, node} scheduled, ascending
  #offset = null; // context frame at which stream frame 0 would sound; null while not running
  #underruns = 0;

  constructor(context, destination) {
    this.#context = context;
    this.#destination = destination;
  }

  push(buffer, header) {
    this.#settle();
    const place = this.#timeline.admit(header, Boolean(header.flags & LAST_OF_TRACK));
    if (!place) return;
    if (place.restart) {
      this.#cut();
      this.#waiting = [];
    }
    const audio = this.#context.createBuffer(header.channels, header.frames - place.skip, this.#context.sampleRate);
    for (let c = 0; c < header.channels; c++) copyChannel(buffer, header, c, audio.getChannelData(c), 0, place.skip);
    this.#waiting.push({ at: place.at, end: place.at + audio.length, audio });
    if (this.#offset !== null && this.#overtaken()) {
      this.#underruns++;
      this.#offset = null;
    }
    if (this.#offset === null) {
      if (this.#timeline.held < START_S * this.#context.sampleRate && !this.#timeline.complete) return;
      this.#begin(LEAD_S);
    }
    for (let lead = 2 * LEAD_S; ; lead *= 2) {
      for (const part of this.#waiting) this.#schedule(part);
      if (!this.#overtaken()) break;
      // This thread was held up: a node started late plays all of its buffer, over the next one's beginning.
      this.#underruns++;
      this.#cut();
      this.#begin(lead);
    }
    this.#waiting = [];
  }

  clear(epoch, keepUntil) {
    this.#settle();
    this.#timeline.clear(epoch, keepUntil);
    const { end } = this.#timeline;
    this.#waiting = this.#waiting.filter(({ at }) => at < end);
    for (const part of this.#waiting) part.end = Math.min(part.end, end);
    if (keepUntil === null) this.#cut();
    else this.#truncate(end);
  }

  state() {
    this.#settle();
    const { start, held, generation, epoch, complete } = this.#timeline;
    const running = this.#offset !== null;
    const ended = complete && held === 0 && !running;
    return { position: start, held, generation, epoch, running, ended, underruns: this.#underruns };
  }

  close() {
    this.#cut();
  }

  /** The context frame `seconds` from now. */
  #in(seconds) {
    return Math.round((this.#context.currentTime + seconds) * this.#context.sampleRate);
  }

  /** Whether the clock has reached what waits, or might before a node for it takes effect. */
  #overtaken() {
    return this.#waiting[0].at + this.#offset < this.#in(MARGIN_S);
  }

  /** A new run: the first of what waits sounds `lead` seconds from now. */
  #begin(lead) {
    this.#offset = this.#in(lead) - this.#waiting[0].at;
    this.#bus = new GainNode(this.#context);
    this.#bus.connect(this.#destination);
  }

  /** Bring the timeline up to the clock; running dry ends the run. */
  #settle() {
    if (this.#offset === null) return;
    const position = this.#in(0) - this.#offset;
    this.#timeline.advance(position);
    this.#playing = this.#playing.filter(({ end }) => end > position);
    if (position >= this.#timeline.end) {
      this.#offset = null;
      if (!this.#timeline.complete) this.#underruns++;
    }
  }

  #schedule({ at, end, audio }) {
    const node = new AudioBufferSourceNode(this.#context, { buffer: audio });
    node.connect(this.#bus);
    node.start((at + this.#offset) / this.#context.sampleRate + NUDGE_S);
    if (end < at + audio.length) node.stop((end + this.#offset) / this.#context.sampleRate);
    this.#playing.push({ at, end, node });
  }

  /** Nothing scheduled sounds from stream frame `from` on; the run goes on from there. */
  #truncate(from) {
    if (this.#offset === null) return;
    for (const { at, end, node } of this.#playing) {
      if (at >= from) node.disconnect();
      else if (end > from) node.stop((from + this.#offset) / this.#context.sampleRate);
    }
    this.#playing = this.#playing.filter(({ at }) => at < from);
  }

  /** End the run now, with a fade. */
  #cut() {
    if (this.#bus) {
      const now = this.#context.currentTime;
      this.#bus.gain.setValueAtTime(1, now);
      this.#bus.gain.linearRampToValueAtTime(0, now + FADE_S);
      for (const { node } of this.#playing) node.stop(now + 2 * FADE_S);
    }
    this.#bus = null;
    this.#playing = [];
    this.#offset = null;
  }
}

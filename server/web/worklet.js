// The audio worklet: takes whole binary frames by transfer, keeps them in a ring addressed by stream
// position, and plays it without gaps. Fades the edges of every interruption so that none clicks.

import { LAST_OF_TRACK, copyChannel, readHeader } from "./frame.js";
import { Timeline } from "./timeline.js";

const REPORT_EVERY = 16; // render quanta: 46 ms at 44.1 kHz
const FADE = 128; // frames

class Player extends AudioWorkletProcessor {
  constructor({ processorOptions: { channels, capacity, threshold } }) {
    super();
    this.mask = capacity - 1;
    this.ring = Array.from({ length: channels }, () => new Float32Array(capacity));
    this.threshold = threshold;
    this.timeline = new Timeline();
    this.running = false; // false while waiting for enough to start or go on
    this.underruns = 0;
    this.quanta = 0;
    this.ended = false;
    this.tail = null; // where the sound was when it was voided, until its fade has been played
    this.alive = true;
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  receive(message) {
    if (message instanceof ArrayBuffer) {
      const header = readHeader(message);
      const last = Boolean(header.flags & LAST_OF_TRACK);
      const place = this.timeline.admit(header, last);
      if (place) this.store(message, header, place);
      if (place) this.ended = false;
    } else if (message.clear) {
      const { epoch, keepUntil } = message.clear;
      if (keepUntil === null) this.stop();
      this.timeline.clear(epoch, keepUntil);
      this.ended = false;
    } else {
      this.alive = false;
    }
  }

  store(buffer, header, { at, skip, restart }) {
    if (restart) this.stop();
    const index = at & this.mask; // positions are below 2^31 for twelve hours of 48 kHz
    const room = this.mask + 1 - index;
    const count = header.frames - skip;
    this.ring.forEach((ring, channel) => {
      const source = Math.min(channel, header.channels - 1);
      if (count <= room) {
        copyChannel(buffer, header, source, ring, index, skip);
      } else {
        const whole = new Float32Array(count);
        copyChannel(buffer, header, source, whole, 0, skip);
        ring.set(whole.subarray(0, room), index);
        ring.set(whole.subarray(room), 0);
      }
    });
  }

  /** Nothing held is wanted any more; what sounds now ends with a fade. */
  stop() {
    if (this.running && this.timeline.held >= FADE) this.tail = this.timeline.start;
    this.running = this.ended = false;
  }

  process(_, [output]) {
    const { timeline } = this;
    const quantum = output[0].length;
    if (this.tail !== null) {
      this.play(output, this.tail, quantum);
      this.fade(output, 0, quantum, true);
      this.tail = null;
      return this.alive;
    }
    const starting = !this.running && (timeline.held >= this.threshold || (timeline.complete && timeline.held > 0));
    if (starting) this.running = true;
    if (this.running) {
      const count = Math.min(quantum, timeline.held);
      this.play(output, timeline.start, count);
      if (starting && timeline.start > 0) this.fade(output, 0, Math.min(FADE, count), false);
      const { generation } = timeline;
      timeline.advance(timeline.start + count);
      if (timeline.generation !== generation) this.report();
      if (timeline.held === 0) this.dry(output, count);
    }
    if (++this.quanta % REPORT_EVERY === 0 || starting) this.report();
    return this.alive;
  }

  play(output, position, count) {
    output.forEach((out, channel) => {
      const ring = this.ring[channel];
      for (let i = 0; i < count; i++) out[i] = ring[(position + i) & this.mask];
    });
  }

  /** Nothing is left: either the track is over or the network is late. */
  dry(output, count) {
    this.running = false;
    if (this.timeline.complete) {
      this.ended = true;
    } else {
      this.underruns++;
      this.fade(output, Math.max(0, count - FADE), count, true);
    }
    this.report();
  }

  fade(output, from, to, out) {
    for (const samples of output) {
      for (let i = from; i < to; i++) {
        const rise = (i - from + 0.5) / (to - from);
        samples[i] *= out ? 1 - rise : rise;
      }
    }
  }

  report() {
    const { start, held, generation, epoch } = this.timeline;
    this.port.postMessage({
      position: start,
      held,
      generation,
      epoch,
      running: this.running,
      ended: this.ended,
      underruns: this.underruns,
      time: currentTime,
    });
  }
}

registerProcessor("auralis-player", Player);

// The binary audio frame: 32 bytes of little-endian header, then interleaved samples. Used by the
// page and inside the audio worklet. Layout: docs/protocol.md.

export const HEADER_BYTES = 32;
export const LAST_OF_TRACK = 2;

const MAGIC = 0xa5;
const KIND_AUDIO = 1;

/** What `buffer` says about itself; throws a RangeError if it is no complete audio frame. */
export function readHeader(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < HEADER_BYTES || view.getUint8(0) !== MAGIC || view.getUint8(1) !== KIND_AUDIO) {
    throw new RangeError("not an audio frame");
  }
  const header = {
    flags: view.getUint8(2),
    headerBytes: view.getUint8(3),
    stream: view.getUint32(4, true),
    epoch: view.getUint32(8, true),
    seq: view.getUint32(12, true),
    position: Number(view.getBigUint64(16, true)),
    generation: view.getUint32(24, true),
    frames: view.getUint16(28, true),
    format: view.getUint8(30),
    channels: view.getUint8(31),
  };
  const sampleBytes = header.format === 0 ? 4 : header.format === 1 ? 2 : NaN;
  if (buffer.byteLength !== header.headerBytes + header.frames * header.channels * sampleBytes) {
    throw new RangeError("audio frame of the wrong length or format");
  }
  return header;
}

/** Copy channel `channel` of the frame, as floats, to `out[at…]`; `from` frames are skipped. */
export function copyChannel(buffer, header, channel, out, at = 0, from = 0) {
  const { channels, frames, headerBytes } = header;
  const samples = header.format === 0 ? new Float32Array(buffer, headerBytes) : new Int16Array(buffer, headerBytes);
  const scale = header.format === 0 ? 1 : 1 / 32768;
  for (let i = from, k = from * channels + channel; i < frames; i++, k += channels) {
    out[at + i - from] = samples[k] * scale;
  }
}

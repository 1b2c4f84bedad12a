// Numbers and codes in words a listener understands.

const MINUS = "−";

/** 75.4 → "1:15". */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Who made a track, as far as its tags say. */
export function byline({ artist, album }) {
  return [artist, album].filter(Boolean).join(" · ") || "Unknown artist";
}

/** A number with a real minus sign; "–" for what is not known. */
export function number(value, digits = 1, unit = "", signed = false) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = Math.abs(value).toFixed(digits);
  const zero = Number(text) === 0;
  const sign = value < 0 && !zero ? MINUS : signed && !zero ? "+" : "";
  return `${sign}${text}${unit && ` ${unit}`}`;
}

/** A fingerprint value in the unit its dimension declares. */
export function measure(value, { name, unit }) {
  if (unit === "fraction") return number(100 * value, 1, "%");
  if (unit === "BPM") return value ? number(value, 1, "BPM") : "none";
  if (unit === "ratio" || unit === "correlation") return number(value, 2);
  return number(value, 1, unit === name ? "" : unit);
}

/** "spectral_centroid" → "Spectral centroid". */
export function label(name) {
  const known = {
    lufs: "Loudness",
    crest_db: "Crest",
    bass_mid_ratio: "Bass to mid",
    tempo_bpm: "Tempo",
    dynamic_range_variation: "Range variation",
    loudness_variation_std: "Level variation",
  };
  const text = known[name] ?? name.replace(/_(pct|std)$/, "").replaceAll("_", " ");
  return text[0].toUpperCase() + text.slice(1);
}

export const REGIONS = {
  compressed_loud: "Loud and flattened",
  dynamic_loud: "Loud and alive",
  quiet: "Room to spare",
};

const PRESETS = {
  adaptive: "Does what the track needs and nothing else.",
  gentle: "The same idea at half strength, and a little quieter.",
  warm: "More body below, a softer top.",
  bright: "More presence and air.",
  punchy: "Firmer bass, more of the transients given back, a touch louder.",
};
export const presetWords = (name) => PRESETS[name] ?? "";

const STALLS = {
  offline: "Stopped. Reconnecting…",
  late: "Waiting for the server…",
};
export const stallWords = (stalled) => STALLS[stalled] ?? "";

/** What is being done to the track, in a few short sentences. */
export function story({ decision, applied, bypass, intensity, standard }) {
  if (bypass) return "You are hearing the original, bit for bit. Choose Enhanced, or press B, to go back.";
  if (intensity === 0) return "Intensity is at zero, so the original passes through, bit for bit.";
  if (standard || !decision) {
    return "Still listening: until this track has been measured, a careful standard setting plays.";
  }
  const gain = applied.gain_db;
  if (decision.region === "compressed_loud") {
    return (
      "This master was made loud by flattening its peaks. Auralis opens them up again, the highest by about " +
      `${number(applied.peaks_db, 1, "dB")}, and turns the whole down by ${number(-gain, 1, "dB")} to make room for them.`
    );
  }
  if (decision.region === "dynamic_loud") {
    return applied.eq.length
      ? "Loud, and its transients are intact. There is nothing to repair; only the preset’s own colour is added."
      : "Loud, and its transients are intact. There is nothing to repair, so every sample passes untouched.";
  }
  const by = number(Math.abs(gain), 1, "dB");
  let level = "This level needs no change";
  if (gain >= 0.05) level = `There is headroom here. Auralis lifts it by ${by}`;
  if (gain <= -0.05) level = `This track needs no lift. Auralis lowers it by ${by}`;
  return `${level}, and no peak may come closer than ${number(-applied.ceiling, 0, "dB")} to full scale.`;
}

/** An EQ section: "+1.5 dB below 150 Hz". */
export function tone({ kind, f0_hz: hz, gain_db: gain }) {
  const where = { low_shelf: "below", high_shelf: "above" }[kind] ?? "around";
  return `${number(gain, 1, "dB", true)} ${where} ${pitch(hz)}`;
}

/** A reason of the plan in few words, its frequencies as everywhere else on the page. */
export function reason(note) {
  const short = note.replace(/ octave (.*) the range$/, ": $1 range");
  return short.replace(/(\d+(?:\.\d+)?) Hz/g, (_, hz) => pitch(Number(hz)));
}

const pitch = (hz) => (hz >= 1000 ? number(hz / 1000, hz % 1000 ? 1 : 0, "kHz") : number(hz, 0, "Hz"));

const TROUBLE = {
  unreadable: "This file can no longer be read. It may have been moved, changed or deleted.",
  unknown_track: "This track is no longer in the library.",
  offline: "There is no connection to the server. It will be back as soon as the server is.",
  shutting_down: "The server is shutting down.",
  busy: "The server is busy. Try again in a moment.",
  no_stream: "Nothing is playing, so there was nothing to change.",
  internal: "Something went wrong inside the server. Its log has the details.",
  no_sound: "This browser would not start its sound output.",
  library: "The library could not be loaded.",
};
export const trouble = ({ code, message }) => TROUBLE[code] ?? message ?? "Something went wrong.";

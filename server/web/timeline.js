// Which received frames belong to the sound, and where: by epoch and position, never by order of
// arrival. Knows nothing of samples or of Web Audio; every sink keeps one.

export class Timeline {
  epoch = -1; // of what is held; positions are in its terms
  start = 0; // first stream frame held and not yet sounded
  end = 0; // one past the last frame held
  complete = false; // the track's last frame is held
  generation = 0; // of the settings that made the frame at `start`
  #newest = -1; // frames of epochs before this one are void
  #void = true; // nothing held: the next frame starts anew wherever it lies
  #marks = []; // [position, generation] ahead of `start`, ascending

  /**
   * Decide about one frame. Null means drop it; otherwise put what follows its first `skip` frames
   * at stream position `at`, and when `restart` is set forget everything held before.
   */
  admit({ epoch, position, frames, generation }, last) {
    if (epoch < this.#newest) return null;
    const fresh = epoch > this.#newest;
    const restart = this.#void || position > this.end || (fresh && position < this.start);
    if (restart) {
      this.start = this.end = position;
      this.#marks.length = 0;
    } else if (fresh) {
      this.#forget(position);
    }
    this.epoch = this.#newest = epoch;
    this.#void = false;
    const at = this.end;
    if (position + frames <= at) return null; // sounded or held already
    this.end = position + frames;
    this.complete = last;
    this.#marks.push([at, generation]);
    this.advance(this.start);
    return { at, skip: at - position, restart };
  }

  /** What is held of epochs before `epoch` counts only up to `keepUntil`; null voids all of it. */
  clear(epoch, keepUntil) {
    if (epoch <= this.#newest) return;
    this.#newest = epoch;
    if (keepUntil !== null) this.epoch = epoch;
    this.complete = false;
    this.#void = keepUntil === null;
    this.#forget(keepUntil ?? this.start);
  }

  /** Everything before `position` has sounded. */
  advance(position) {
    this.start = Math.min(Math.max(position, this.start), this.end);
    while (this.#marks.length && this.#marks[0][0] <= this.start) this.generation = this.#marks.shift()[1];
  }

  get held() {
    return this.end - this.start;
  }

  #forget(from) {
    this.end = Math.max(this.start, Math.min(this.end, from));
    while (this.#marks.length && this.#marks.at(-1)[0] >= this.end) this.#marks.pop();
  }
}

// The socket: opens, keeps itself open, matches answers to requests. Knows messages as
// {type, data}; what they mean is the player's business.

const PING_MS = 15_000; // proxies cut sockets that are silent for 60 s
const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 8000];

export class RequestError extends Error {
  constructor({ code, message, retry_after_ms: retryAfterMs }) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Events: `up`, `down` (detail: ms until the next try), `message` ({type, data}), `audio` (ArrayBuffer). */
export class Connection extends EventTarget {
  #url;
  #socket = null;
  #greeting;
  #waiting = new Map(); // id → {resolve, reject}
  #nextId = 1;
  #failures = 0;
  #isUp = false;
  #retry = 0;

  /** `greeting` is the data of the `hello` sent whenever the socket opens. */
  constructor(url, greeting) {
    super();
    this.#url = url;
    this.#greeting = greeting;
    this.#open();
    setInterval(() => this.send("ping"), PING_MS);
    addEventListener("online", () => this.#tryNow());
    document.addEventListener("visibilitychange", () => !document.hidden && this.#tryNow());
  }

  get isUp() {
    return this.#isUp;
  }

  /** Say something that needs no answer; dropped while there is no connection. */
  send(type, data = {}) {
    if (this.#isUp) this.#socket.send(JSON.stringify({ type, data }));
  }

  /** Ask for something: the data of `ok`, or a RequestError. */
  request(type, data = {}) {
    if (!this.#isUp) {
      return Promise.reject(new RequestError({ code: "offline", message: "no connection to the server" }));
    }
    const id = this.#nextId++;
    this.#socket.send(JSON.stringify({ type, data, id }));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #open() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#isUp = true;
      this.#failures = 0;
      this.send("hello", this.#greeting);
      this.dispatchEvent(new Event("up"));
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.#receive(JSON.parse(data));
      else this.#emit("audio", data);
    };
    socket.onclose = () => this.#closed();
  }

  #receive({ type, data, id }) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (waiting && type === "ok") waiting.resolve(data ?? {});
    else if (waiting && type === "error") waiting.reject(new RequestError(data));
    else this.#emit("message", { type, data });
  }

  #closed() {
    this.#isUp = false;
    for (const { reject } of this.#waiting.values()) {
      reject(new RequestError({ code: "offline", message: "the connection was lost" }));
    }
    this.#waiting.clear();
    const delay = BACKOFF_MS[Math.min(this.#failures++, BACKOFF_MS.length - 1)];
    this.#retry = setTimeout(() => this.#tryNow(), delay);
    this.#emit("down", delay);
  }

  #tryNow() {
    if (this.#isUp || this.#socket.readyState === WebSocket.CONNECTING) return;
    clearTimeout(this.#retry);
    this.#open();
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

// The client side of the wire protocol: one WebSocket, many streams.
//
//   const live = new LiveClient(url);
//   live.addEventListener("open", () => { … });            // at every (re)connection
//   live.addEventListener("state", () => show(live.state));
//   live.addEventListener("unopened", () => { … });        // an attempt to connect has failed
//   live.addEventListener("restart", () => { … });         // from now on as somebody else
//   live.start();
//   const comment = await live.request("comments", "create", { payload: { topic_id: 3, body: "hi" } });
//
// It knows frames, replies and reconnection, and nothing of rows: what follows a subscription is in `list.js`.

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
const OPENING_TIMEOUT_MS = 10_000;
const PING_INTERVAL_MS = 20_000;
/** After so many attempts in a row the state is called offline rather than reconnecting; attempts go on. */
const ATTEMPTS_TO_OFFLINE = 3;
/** Closed for a reason that connecting again would only meet again: the login ended, the origin is not allowed. */
const FINAL_CODES = new Set([4401, 4403]);

/** A request that the server refused (`status` and `code` are its own) or never answered (`status` 0). */
export class LiveError extends Error {
  constructor({ status = 0, code, detail, errors = {} }) {
    super(detail);
    this.name = "LiveError";
    this.status = status;
    this.code = code;
    this.errors = errors;
  }
}

/** `state` is one of `connecting online reconnecting offline ended`. */
export class LiveClient extends EventTarget {
  state = "connecting";
  #url;
  #socket = null;
  #timer = null;
  #attempts = 0;
  #requests = 0;
  #pending = new Map();
  #listeners = new Map();
  #heard = false;

  constructor(url) {
    super();
    this.#url = url;
  }

  start() {
    // What the browser says about the network is a hint, never the truth: localhost works without a network, and a
    // network may be there while the server is not. So it makes us look, and the socket decides.
    addEventListener("online", () => this.retry());
    addEventListener("offline", () => this.#ping());
    document.addEventListener("visibilitychange", () => document.hidden || this.#ping());
    if (!this.#socket) this.#connect();
  }

  /** Begins anew, as whoever the cookie is of by now. */
  restart() {
    const socket = this.#socket;
    const refuse = this.#drop();
    socket?.close();
    this.#attempts = 0;
    this.dispatchEvent(new Event("restart"));
    this.#enter("connecting");
    refuse();
    this.#connect();
  }

  /** Ends it, until it is restarted. */
  end() {
    const socket = this.#socket;
    const refuse = this.#drop();
    socket?.close();
    this.#enter("ended");
    refuse();
  }

  /** Connects now, with the back-off starting anew, unless there is a connection or one is being made. */
  retry() {
    if (this.state === "ended") return;
    this.#attempts = 0;
    if (!this.#socket) this.#connect();
    else this.#ping();
  }

  /** Sends one request. Resolves to the reply's `data`, rejects with a `LiveError`. */
  request(stream, action, { pk, payload, ...options } = {}) {
    if (this.#socket?.readyState !== WebSocket.OPEN) {
      return Promise.reject(new LiveError({ code: "offline", detail: "There is no connection to the server." }));
    }
    const id = (this.#requests += 1);
    this.#socket.send(JSON.stringify({ ...options, request_id: id, stream, action, pk, payload }));
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
  }

  /** Calls `listener` with every message of a subscription, until the function it returns is called. */
  listen(subscription, listener) {
    const set = this.#listeners.get(subscription) ?? new Set();
    this.#listeners.set(subscription, set.add(listener));
    return () => {
      set.delete(listener);
      if (set.size === 0 && this.#listeners.get(subscription) === set) this.#listeners.delete(subscription);
    };
  }

  #connect() {
    clearTimeout(this.#timer);
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    // A socket we have given up on may still speak; it is not listened to any more.
    const current = (handle) => (event) => socket === this.#socket && handle(event);
    socket.onopen = current(() => this.#opened());
    socket.onmessage = current((event) => this.#received(JSON.parse(event.data)));
    socket.onclose = current((event) => {
      const opened = this.state === "online";
      this.#lost(event.code);
      if (!opened) this.dispatchEvent(new Event("unopened"));
    });
    this.#timer = setTimeout(() => this.#abandon(), OPENING_TIMEOUT_MS);
  }

  #opened() {
    clearTimeout(this.#timer);
    this.#heard = true;
    this.#beat();
    this.#enter("online");
    this.dispatchEvent(new Event("open"));
  }

  #received(message) {
    this.#heard = true;
    // Only now, not on opening: a server that accepts and drops at once is not to be hammered.
    this.#attempts = 0;
    if (message.type !== "reply") {
      for (const listener of this.#listeners.get(message.subscription) ?? []) listener(message);
      return;
    }
    const request = this.#pending.get(message.request_id);
    this.#pending.delete(message.request_id);
    if (message.status < 300) request?.resolve(message.data);
    else request?.reject(new LiveError({ status: message.status, ...message.error }));
  }

  // The server's own pings are invisible to a page, so a connection that died without a word is found by ours: if
  // nothing at all was heard from one ping to the next, the connection is dead.
  #beat() {
    this.#timer = setTimeout(() => {
      if (!this.#heard) return this.#abandon();
      this.#ping();
      this.#heard = false;
      this.#beat();
    }, PING_INTERVAL_MS);
  }

  #ping() {
    this.request(undefined, "ping").catch(() => {}); // its answer is only a sign of life
  }

  /** Gives up a socket without waiting for its closing handshake, which a dead peer never answers. */
  #abandon() {
    const socket = this.#socket;
    this.#lost(1006);
    socket.close();
  }

  #lost(code) {
    const refuse = this.#drop();
    if (FINAL_CODES.has(code)) {
      this.#enter("ended");
    } else {
      this.#attempts += 1;
      this.#enter(this.#attempts > ATTEMPTS_TO_OFFLINE || !navigator.onLine ? "offline" : "reconnecting");
      this.#timer = setTimeout(() => this.#connect(), delay(this.#attempts));
    }
    refuse();
  }

  /** Forgets the socket. What it answers rejects the requests that are not answered by now. */
  #drop() {
    clearTimeout(this.#timer);
    this.#socket = null;
    this.#listeners.clear();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    return () => {
      for (const { reject } of pending) {
        reject(new LiveError({ code: "disconnected", detail: "The connection was lost before the server answered." }));
      }
    };
  }

  #enter(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

// Exponential, and anywhere in the upper half of it: all pages lose a restarting server at the same moment and must
// not all come back at the same moment.
function delay(attempts) {
  const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempts - 1));
  return longest * (0.5 + Math.random() / 2);
}

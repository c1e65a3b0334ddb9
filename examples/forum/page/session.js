// Who is logged in, as the server knows it: the cookie is not for scripts to read.

import { LiveError } from "./live.js";

/** `user` is a row of `users`, or null for nobody. Dispatches `change` when that is another one. */
export class Session extends EventTarget {
  user = null;
  /** Whether the server has been asked. */
  isKnown = false;
  /** Whether the session is ending because somebody here wants it to. */
  leaving = false;
  #entered;
  #otherWindows = new BroadcastChannel("session");

  /** Calls `entered` when somebody logs in, in this window or in another of this browser. */
  constructor(entered) {
    super();
    this.#entered = entered;
    this.#otherWindows.onmessage = () => this.look().then(entered, () => {});
  }

  /** Whether a row of this owner may be changed. The server decides; this only spares buttons that it would refuse. */
  may(owner) {
    return this.user !== null && (this.user.is_staff || this.user.id === owner);
  }

  /** Asks the server who is logged in. Rejects where it cannot be reached. */
  async look() {
    try {
      const { user } = await ask("GET", "me");
      this.#become(user);
    } catch (error) {
      if (error.status !== 401) throw error;
      this.#become(null);
    }
  }

  logIn(username, password) {
    return this.#enter("login", { username, password });
  }

  register(username, password) {
    return this.#enter("register", { username, password });
  }

  async logOut() {
    this.leaving = true;
    try {
      await ask("POST", "logout");
      this.#become(null);
    } finally {
      this.leaving = false;
    }
  }

  /** Has the browser forget a session that has ended: with its cookie every request would be refused. */
  async forget() {
    await this.look();
    if (this.user === null) await ask("POST", "logout");
  }

  async #enter(path, body) {
    const { user } = await ask("POST", path, body);
    this.#become(user);
    this.#otherWindows.postMessage(null);
    this.#entered();
  }

  #become(user) {
    this.isKnown = true;
    if (JSON.stringify(user) === JSON.stringify(this.user)) return;
    this.user = user;
    this.dispatchEvent(new Event("change"));
  }
}

async function ask(method, path, body) {
  const headers = body && { "content-type": "application/json" };
  let response, answer;
  try {
    response = await fetch(`/auth/${path}`, { method, headers, body: body && JSON.stringify(body) });
    answer = await response.text();
  } catch {
    throw new LiveError({ code: "offline", detail: "There is no connection to the server." });
  }
  if (response.ok) return answer && JSON.parse(answer);
  const problem = response.headers.get("content-type") === "application/problem+json" ? JSON.parse(answer) : {};
  throw new LiveError({ detail: `The server answered with ${response.status}.`, ...problem, status: response.status });
}

// How a session ends: because somebody here wants it to, or elsewhere, or while the server was away.

import { announce, byId } from "./dom.js";

/** The strip below the bar says what has ended, and waits for what shall come next. */
export class Ending {
  #client;
  #session;
  #strip = byId("notice");

  constructor(client, session) {
    this.#client = client;
    this.#session = session;
    client.addEventListener("state", () => client.state === "ended" && this.#closed());
    client.addEventListener("unopened", () => this.#unopened());
    session.addEventListener("change", () => session.user && this.#show(false));
    byId("notice-go-on").addEventListener("click", () => this.#goOnWithout());
  }

  /** Resolves to whether nobody is logged in any more. */
  async logOut() {
    try {
      await this.#session.logOut();
    } catch (error) {
      announce(`You are still logged in: ${error.message}`);
      if (this.#client.state === "ended") this.#client.restart(); // the answer may have been lost, not the request
      return false;
    }
    this.#goOn();
    return true;
  }

  // A socket ends with its session, and also when something about its user has changed: then the session goes on.
  async #closed() {
    if (this.#session.leaving || this.#session.user === null) return;
    if (await this.#hasEnded()) this.#show(true);
    else this.#client.restart();
  }

  // A browser does not tell why a handshake was refused. It may be for a cookie whose session has ended meanwhile.
  async #unopened() {
    const wasLoggedIn = this.#session.user !== null;
    if (!(await this.#hasEnded())) return;
    if (wasLoggedIn) {
      this.#client.end();
      this.#show(true);
    } else {
      this.#session.forget().catch(() => {}); // the next attempt will fail and lead here again
    }
  }

  async #hasEnded() {
    try {
      await this.#session.look();
      return this.#session.user === null;
    } catch {
      return false; // without an answer nothing is known; the next attempt to connect will tell
    }
  }

  async #goOnWithout() {
    try {
      await this.#session.forget();
    } catch (error) {
      return announce(error.message);
    }
    this.#goOn();
  }

  #goOn() {
    this.#show(false);
    this.#client.restart();
    byId("log-in").focus();
  }

  #show(ended) {
    // Set anew each time, so that it is read out.
    byId("notice-text").textContent = ended ? "Your session has ended, perhaps because you logged out elsewhere." : "";
    this.#strip.hidden = !ended;
  }
}

// The box for a new comment.

import { byId, sendOnEnter, showProblem } from "./dom.js";

export class Composer {
  #client;
  #topic = null;
  #drafts = new Map();
  #form = byId("composer");
  #text = byId("composer-text");
  #problem = byId("composer-problem");

  constructor(client) {
    this.#client = client;
    sendOnEnter(this.#text);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(event.submitter?.value === "draft" ? "draft" : "published");
    });
    this.#text.addEventListener("input", () => this.#show(null));
  }

  /** Turns to another topic. What was begun in this one is there again on return. */
  turnTo(topic) {
    if (topic === this.#topic) return;
    this.#drafts.set(this.#topic, this.#text.value);
    this.#topic = topic;
    this.#text.value = this.#drafts.get(topic) ?? "";
    this.#show(null);
  }

  /** Forgets what was begun: it is somebody else's. */
  clear() {
    this.#drafts.clear();
    this.#text.value = "";
    this.#show(null);
  }

  async #send(status) {
    const body = this.#text.value;
    if (body.trim() === "" || this.#form.ariaBusy === "true") return this.#text.focus();
    const topic = this.#topic;
    this.#form.ariaBusy = "true";
    try {
      await this.#client.request("comments", "create", { payload: { topic_id: topic, body, status } });
      this.#sent(topic, body);
    } catch (error) {
      if (topic === this.#topic) this.#show(error);
    } finally {
      this.#form.ariaBusy = "false";
    }
    this.#text.focus();
  }

  // By now another topic may be on screen, or more may have been typed.
  #sent(topic, body) {
    if (topic !== this.#topic) {
      if (this.#drafts.get(topic) === body) this.#drafts.delete(topic);
    } else if (this.#text.value === body) {
      this.#text.value = "";
      this.#show(null);
    }
  }

  #show(error) {
    showProblem(this.#problem, error, "body");
    if (error?.status === 400) this.#text.setAttribute("aria-invalid", "true");
    else this.#text.removeAttribute("aria-invalid");
  }
}

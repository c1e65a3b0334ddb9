// The topics at the side, and the form for a new one.

import { byId, showProblem, stamp } from "./dom.js";
import { showTime } from "./time.js";

const newestFirst = (a, b) => b.id - a.id;

/** Shows `list` (a `LiveList` of topics) with the chosen one marked. */
export class TopicsView {
  #list;
  #people;
  #session;
  #chosen = null;
  #items = new Map();

  constructor(list, people, session) {
    this.#list = list;
    this.#people = people;
    this.#session = session;
    session.addEventListener("change", () => this.#showNote());
    list.addEventListener("change", () => this.#show());
    list.addEventListener("status", () => this.#showNote());
    people.addEventListener("change", () => this.#show());
  }

  choose(id) {
    this.#chosen = id;
    this.#show();
  }

  #show() {
    const topics = this.#list.store.sorted(newestFirst);
    for (const [id, item] of this.#items) {
      if (this.#list.store.get(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    // Nodes are moved only where the order differs: moving the one that has the focus would take the focus from it.
    let place = byId("topic-list").firstElementChild;
    for (const topic of topics) {
      const item = this.#items.get(topic.id) ?? stamp("topic-template");
      this.#items.set(topic.id, item);
      this.#fill(item, topic);
      if (item === place) place = place.nextElementSibling;
      else byId("topic-list").insertBefore(item, place);
    }
    this.#showNote();
  }

  #fill(item, topic) {
    const link = item.firstElementChild;
    link.href = `#topic-${topic.id}`;
    if (topic.id === this.#chosen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    item.dataset.locked = topic.locked;
    item.querySelector(".topic-name").textContent = topic.title;
    const time = document.createElement("time");
    showTime(time, topic.created_at);
    item.querySelector(".topic-sub").replaceChildren(
      `${topic.locked ? "Locked · " : ""}${this.#people.name(topic.owner_id)} · `, time,
    );
  }

  #showNote() {
    const { status, store, error } = this.#list;
    const note = byId("topics-note");
    note.hidden = store.size > 0 && status !== "failed";
    if (status === "failed") note.textContent = `The topics could not be read: ${error.message}`;
    else if (status === "loading") note.textContent = "Loading topics…";
    else note.textContent = this.#session.user ? "No topics yet. Begin one." : "No topics yet.";
  }
}

/** The form behind “New topic”, for those who are logged in; `created(topic)` is called with what the server made of it. */
export function topicForm(client, session, created) {
  const button = byId("new-topic");
  const form = byId("topic-form");
  const input = byId("topic-title-input");
  const problem = byId("topic-problem");

  const toggle = (open) => {
    form.hidden = !open;
    button.setAttribute("aria-expanded", open);
    showProblem(problem, null);
    if (open) input.focus();
    else button.focus();
  };
  button.addEventListener("click", () => toggle(form.hidden));
  byId("topic-cancel").addEventListener("click", () => toggle(false));
  form.addEventListener("keydown", (event) => event.key === "Escape" && toggle(false));

  const offer = () => {
    button.hidden = !session.user;
    if (button.hidden && !form.hidden) toggle(false);
  };
  session.addEventListener("change", offer);
  offer();

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.ariaBusy === "true") return;
    form.ariaBusy = "true";
    try {
      const topic = await client.request("topics", "create", { payload: { title: input.value } });
      form.reset();
      toggle(false);
      created(topic);
    } catch (error) {
      showProblem(problem, error, "title");
      input.focus();
    } finally {
      form.ariaBusy = "false";
    }
  });
}

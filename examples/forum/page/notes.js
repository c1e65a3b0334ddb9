// One's own notes, in a dialog: a stream of which everybody sees other rows.

import { LiveList } from "./list.js";
import { byId, showProblem, stamp } from "./dom.js";

const pinnedThenNewest = (a, b) => b.pinned - a.pinned || (a.id < b.id ? 1 : -1);

export class Notes {
  #client;
  #list = null;
  #items = new Map();
  #dialog = byId("notes");
  #form = byId("notes-form");
  #title = byId("notes-title");
  #problem = byId("notes-problem");

  constructor(client, session) {
    this.#client = client;
    byId("notes-open").addEventListener("click", () => this.#open());
    byId("notes-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => this.#closed());
    // They are nobody else's, so they go when he does.
    session.addEventListener("change", () => this.#dialog.close());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#add();
    });
    byId("notes-list").addEventListener("click", ({ target }) => {
      const item = target.closest("li");
      const what = target.closest("[data-do]")?.dataset.do;
      const note = this.#list?.store.get(item?.dataset.pk);
      if (note && what === "pin") this.#request(item, "update", { pk: note.id, payload: { pinned: !note.pinned } });
      if (note && what === "delete") this.#request(item, "delete", { pk: note.id });
    });
  }

  #open() {
    this.#list = new LiveList(this.#client, "notes");
    this.#list.addEventListener("change", () => this.#show());
    this.#list.addEventListener("status", () => this.#showNote());
    this.#dialog.showModal();
    this.#title.focus();
    this.#showNote();
    this.#list.start();
  }

  #closed() {
    this.#list?.stop();
    this.#list = null;
    this.#items.clear();
    byId("notes-list").replaceChildren();
    this.#form.reset();
    showProblem(this.#problem, null);
  }

  #show() {
    const focused = document.activeElement;
    for (const [id, item] of this.#items) {
      if (this.#list.store.get(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    for (const note of this.#list.store.sorted(pinnedThenNewest)) {
      const item = this.#items.get(note.id) ?? stamp("note-template");
      this.#items.set(note.id, item);
      item.dataset.pk = note.id;
      item.querySelector(".note-title").textContent = note.title;
      item.querySelector("[data-do=pin]").ariaPressed = note.pinned;
      item.querySelector("[data-do=delete]").ariaLabel = `Delete “${note.title}”`;
      byId("notes-list").append(item);
    }
    // Whatever has moved or gone may have taken the focus along.
    (focused.isConnected ? focused : this.#title).focus();
    this.#showNote();
  }

  #showNote() {
    const { status, store, error } = this.#list;
    const note = byId("notes-note");
    note.hidden = store.size > 0 && status !== "failed";
    if (status === "failed") note.textContent = `Your notes could not be read: ${error.message}`;
    else note.textContent = status === "loading" ? "Loading your notes…" : "Nothing yet. Only you will see what you note here.";
  }

  async #add() {
    if (await this.#request(this.#form, "create", { payload: { title: this.#title.value } })) this.#form.reset();
    this.#title.focus();
  }

  // Each note and the form have one request under way at most, and none waits for another's.
  async #request(asking, action, options) {
    if (asking.ariaBusy === "true") return false;
    asking.ariaBusy = "true";
    try {
      await this.#client.request("notes", action, options);
      showProblem(this.#problem, null);
      return true;
    } catch (error) {
      showProblem(this.#problem, error, "title");
      return false;
    } finally {
      asking.ariaBusy = "false";
    }
  }
}

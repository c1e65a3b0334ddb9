// One comment on screen: its words, and what its author and staff may do with it.

import { sendOnEnter, showProblem, stamp } from "./dom.js";
import { showAvatar } from "./people.js";
import { showTime } from "./time.js";

/** `context` is `{client, people, session}`. */
export class CommentNode {
  element = stamp("comment-template");
  #row;
  #context;

  constructor(row, context) {
    this.#row = row;
    this.#context = context;
    this.element.dataset.pk = row.id;
    this.element.addEventListener("click", (event) => this.#do(event.target.closest("[data-do]")?.dataset.do));
    this.element.addEventListener("keydown", (event) => event.key === "Escape" && this.#escape());
    this.#part(".editor").addEventListener("submit", (event) => this.#save(event));
    sendOnEnter(this.#editorText);
    this.show(row);
  }

  /** The id of the comment. */
  get pk() {
    return this.#row.id;
  }

  show(row) {
    const { people, session } = this.#context;
    const name = people.name(row.author_id);
    const editing = !this.#part(".editor").hidden;
    if (editing && row.body !== this.#row.body) this.#part(".elsewhere").hidden = false;
    this.#row = row;
    showAvatar(this.#part(".avatar"), row.author_id, name);
    this.#part(".author").textContent = name;
    showTime(this.#part("time"), row.created_at);
    this.#part(".edited").hidden = !row.edited_at;
    this.#part(".edited").title = row.edited_at ? new Date(row.edited_at).toLocaleString("en") : "";
    this.#part(".status").hidden = row.status === "published";
    this.#part(".status").textContent = row.status;
    this.element.dataset.status = row.status;
    this.#part(".comment-body").textContent = row.body;
    this.#part(".score-value").textContent = row.score;
    this.#part(".score-unit").textContent = row.score === 1 ? "point" : "points";
    this.#part(".rating").hidden = row.rating === null;
    this.#part(".rating").textContent = `rated ${row.rating}`;
    this.element.classList.toggle("own", session.may(row.author_id));
    const isStaff = session.user?.is_staff ?? false;
    this.#offer("publish", row.status === "draft" || (row.status === "hidden" && isStaff));
    this.#offer("hide", isStaff && row.status !== "hidden");
  }

  #offer(what, offered) {
    const button = this.#part(`[data-do=${what}]`);
    // Else the focus would be lost with the button.
    if (!offered && button === document.activeElement) this.#part("[data-do=edit]").focus();
    button.hidden = !offered;
  }

  /** Draws the eye to it for a moment. */
  flash() {
    this.element.classList.remove("changed");
    void this.element.offsetWidth; // lets the animation start anew if it is running
    this.element.classList.add("changed");
  }

  get #editorText() {
    return this.#part(".editor textarea");
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }

  #do(what) {
    if (what === "raise") this.#change({ score: this.#row.score + 1 });
    if (what === "lower") this.#change({ score: this.#row.score - 1 });
    if (what === "publish") this.#change({ status: "published" });
    if (what === "hide") this.#change({ status: "hidden" });
    if (what === "edit") this.#edit(true);
    if (what === "cancel-edit") this.#edit(false);
    if (what === "ask-delete") this.#askDelete(true);
    if (what === "keep") this.#askDelete(false);
    if (what === "delete") this.#request("delete");
  }

  #escape() {
    if (!this.#part(".editor").hidden) this.#edit(false);
    else if (!this.#part(".confirm").hidden) this.#askDelete(false);
  }

  #edit(open) {
    this.#part(".editor").hidden = !open;
    this.#part(".comment-body").hidden = open;
    this.#part("footer").hidden = open;
    this.#part(".elsewhere").hidden = true;
    showProblem(this.#part(".problem"), null);
    if (!open) return this.#part("[data-do=edit]").focus();
    this.#editorText.value = this.#row.body;
    this.#editorText.focus();
    this.#editorText.scrollIntoView({ block: "nearest" });
  }

  async #save(event) {
    event.preventDefault();
    const body = this.#editorText.value;
    if (body === this.#row.body || (await this.#change({ body }))) this.#edit(false);
  }

  #askDelete(open) {
    this.#part(".tools").hidden = open;
    this.#part(".confirm").hidden = !open;
    this.#part(open ? "[data-do=keep]" : "[data-do=ask-delete]").focus();
  }

  #change(payload) {
    return this.#request("update", payload);
  }

  // Nothing is shown ahead of the server: what a request changed comes back as an event, to this window as to all.
  async #request(action, payload) {
    if (this.element.ariaBusy === "true") return false;
    this.element.ariaBusy = "true";
    try {
      await this.#context.client.request("comments", action, { pk: this.#row.id, payload });
      showProblem(this.#part(".problem"), null);
      return true;
    } catch (error) {
      showProblem(this.#part(".problem"), error, "body");
      return false;
    } finally {
      this.element.ariaBusy = "false";
    }
  }
}

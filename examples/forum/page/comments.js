// The comments of one topic: where they stand, how they come and go, and what is said about it.

import { announce, byId, motionReduced } from "./dom.js";
import { CommentNode } from "./comment.js";
import { changedFields } from "./store.js";

/** How far from the end of the list still counts as being at its end, in pixels. */
const NEAR_END = 80;

/** Shows `list` (a `LiveList` of comments) until `close` is called. */
export class CommentsView {
  #list;
  #context;
  #nodes = new Map();
  #unseen = 0;
  #aborter = new AbortController();

  constructor(list, context) {
    const { signal } = this.#aborter;
    this.#list = list;
    this.#context = context;
    byId("comments").replaceChildren();
    this.#showUnseen(0);
    list.addEventListener("change", ({ detail }) => this.#apply(detail), { signal });
    list.addEventListener("status", () => this.#showNote(), { signal });
    context.people.addEventListener("change", () => this.#showAll(), { signal });
    context.session.addEventListener("change", () => {
      this.#showAll();
      this.#showNote();
    }, { signal });
    byId("scroller").addEventListener("scroll", () => this.#atEnd() && this.#showUnseen(0), { signal });
    byId("more-below").addEventListener("click", () => this.#toEnd(), { signal });
    this.#showNote();
  }

  close() {
    this.#aborter.abort();
  }

  #apply({ changes, fresh }) {
    const follow = fresh || this.#atEnd();
    const added = [];
    for (const { pk, before, after } of changes) {
      if (!after) this.#leave(pk);
      else if (!before) added.push(this.#enter(after, !fresh));
      else this.#change(pk, before, after);
    }
    this.#showNote();
    if (fresh) return this.#toEnd("instant");

    const others = added.filter((row) => row.author_id !== this.#context.session.user?.id);
    if (others.length > 0) announce(this.#tell(others));
    if (added.length === 0) return;
    if (follow || others.length < added.length) this.#toEnd();
    else this.#showUnseen(this.#unseen + added.length);
  }

  #enter(row, softly) {
    const node = new CommentNode(row, this.#context);
    this.#nodes.set(row.id, node);
    // A new comment nearly always belongs at the end, so its place is looked for from there.
    let previous = byId("comments").lastElementChild;
    while (previous && Number(previous.dataset.pk) > row.id) previous = previous.previousElementSibling;
    if (previous) previous.after(node.element);
    else byId("comments").prepend(node.element);
    node.element.classList.toggle("entering", softly);
    return row;
  }

  #change(pk, before, after) {
    const node = this.#nodes.get(pk);
    node.show(after);
    if (changedFields(before, after).some((name) => name !== "edited_at")) node.flash();
  }

  async #leave(pk) {
    const { element } = this.#nodes.get(pk);
    this.#nodes.delete(pk);
    if (element.contains(document.activeElement)) {
      // Else the focus would be lost, and a keyboard would start again at the top of the page.
      const next = element.nextElementSibling ?? element.previousElementSibling ?? byId("composer-text");
      (next.checkVisibility() ? next : byId("topic-title")).focus();
    }
    element.inert = true;
    element.classList.add("leaving");
    // In a hidden tab no animation ever ends.
    if (!document.hidden && !motionReduced()) {
      const height = element.offsetHeight;
      await element.animate(
        [{ height: `${height}px`, opacity: 1 }, { height: `${height}px`, opacity: 0, offset: 0.5 }, { height: 0, opacity: 0 }],
        { duration: 320, easing: "ease-in-out" },
      ).finished;
    }
    element.remove();
  }

  #showAll() {
    for (const row of this.#list.store.sorted()) this.#nodes.get(row.id)?.show(row);
  }

  #tell(rows) {
    if (rows.length > 2) return `${rows.length} new comments`;
    return rows.map((row) => `${this.#context.people.name(row.author_id)} wrote: ${row.body}`).join(". ");
  }

  #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = byId("scroller");
    return scrollHeight - scrollTop - clientHeight < NEAR_END;
  }

  #toEnd(behavior = motionReduced() ? "instant" : "smooth") {
    byId("scroller").scrollTo({ top: byId("scroller").scrollHeight, behavior });
    this.#showUnseen(0);
  }

  #showUnseen(count) {
    this.#unseen = count;
    byId("more-below").hidden = count === 0;
    byId("more-below").textContent = count === 1 ? "1 new comment" : `${count} new comments`;
  }

  #invitation() {
    return this.#context.session.user ? "No comments yet. Write the first one." : "No comments yet.";
  }

  #showNote() {
    const { status, store, error } = this.#list;
    const note = byId("comments-note");
    byId("comments").classList.toggle("stale", status === "stale");
    note.hidden = status === "failed" ? false : store.size > 0;
    if (status === "failed") {
      const again = document.createElement("button");
      again.type = "button";
      again.className = "secondary";
      again.textContent = "Try again";
      again.addEventListener("click", () => this.#list.reload());
      note.replaceChildren(`The comments could not be read: ${error.message} `, again);
    } else {
      note.textContent = status === "loading" ? "Loading comments…" : this.#invitation();
    }
  }
}

// A list that stays true: the rows of a filter, read once and then kept by events.
//
// The order is: subscribe, keep the events that come, list, then replay the kept events on the list. It leaves no gap,
// because the events begin before the list is read. It does overlap: a row may be listed at a position of the feed
// that is later than some of the events replayed on it. The end is right all the same. Look at one row, listed (or
// not) at position L, and at all its events since we subscribed, e1 … en, of which e1 … ek are at or before L:
//
// * Is it there? If any event is a `create` or a `delete`, the last of them decides, as it did in the database: a
//   `create` brings the whole row and replaces what is there. If there is none, the row neither came nor went since we
//   subscribed, and the list already says whether it is there.
// * Its values? A diff has whole new values, so each field ends with the value of the last event that names it, the
//   newest there is. A field that no event names has not changed since, and the list has its value.
// * A diff for a row that is absent? The row was there at that event and not at L, so a `delete` lies between the two:
//   it is one of the events, and what came after it, if anything, is a `create` with the whole row. Ignored.
//
// So replaying an older diff on a newer row may show an older value for as long as its successors are in flight, never
// in the end. The argument is about one row at a time, so the pages of the list may each have their own L.
//
// After a reconnection we ask for the events since the last whole batch that we applied. Where the server no longer has
// them, the same is done afresh; the rows on screen stay until the new ones replace them.

import { Store, takeWholeBatches } from "./store.js";

const PAGE_SIZE = 1000;

/** Keeps `store` equal to what `filter` selects from `stream`. Dispatches `change` (a `CustomEvent` whose `detail` is
 *  `{changes, fresh}`; `fresh` for the first rows) and `status`: `loading`, `live`, `stale` or `failed`. */
export class LiveList extends EventTarget {
  store = new Store();
  status = "loading";
  error = null;
  #client;
  #stream;
  #filter;
  #run = null;
  /** Where to go on from: the end of the last whole batch that is in the rows. */
  #cursor;
  #fresh = true;
  #aborter = new AbortController();

  constructor(client, stream, filter = {}) {
    super();
    this.#client = client;
    this.#stream = stream;
    this.#filter = filter;
  }

  start() {
    const { signal } = this.#aborter;
    this.#client.addEventListener("open", () => this.reload(this.#cursor), { signal });
    this.#client.addEventListener("state", () => this.#client.state === "online" || this.#interrupted(), { signal });
    // Somebody else sees other rows: none of those that are here may stay because nothing happened to it since.
    this.#client.addEventListener("restart", () => (this.#cursor = undefined), { signal });
    if (this.#client.state === "online") this.reload();
  }

  stop() {
    this.#aborter.abort();
    this.#end();
  }

  /** Reads everything afresh, on a new subscription; or, where that is enough, only what happened since a cursor. */
  async reload(since) {
    this.#end();
    this.#cursor = undefined;
    const run = (this.#run = { queue: [], listed: false, subscription: null, ignore: () => {} });
    if (this.#fresh) this.#enter("loading");
    try {
      const reply = await this.#client.request(this.#stream, "subscribe", { payload: this.#filter, since });
      run.subscription = reply.subscription;
      if (run !== this.#run) return this.#unsubscribe(run);
      // In time for the first event: it is another message, hence another task, and this continuation is a microtask
      // of the reply's.
      run.ignore = this.#client.listen(run.subscription, (message) => this.#receive(run, message));
      if (reply.recovered) {
        run.listed = true;
        this.#cursor = reply.cursor;
      } else {
        const rows = await this.#readAll(run);
        if (run !== this.#run) return;
        run.listed = true;
        const events = takeWholeBatches(run.queue);
        this.#cursor = events.at(-1)?.cursor ?? reply.cursor;
        this.#changed(this.store.reset(rows, events));
      }
      this.#enter("live");
    } catch (error) {
      // Without a connection there is nothing to report: the next one reloads.
      if (run !== this.#run || error.status === 0) return;
      this.#end();
      this.error = error;
      this.#enter("failed");
    }
  }

  async #readAll(run) {
    const rows = [];
    let cursor;
    do {
      const page = await this.#client.request(this.#stream, "list", {
        payload: this.#filter, limit: PAGE_SIZE, ordering: "id", cursor,
      });
      rows.push(...page.results);
      cursor = page.next ?? undefined;
    } while (cursor && run === this.#run);
    return rows;
  }

  #receive(run, message) {
    if (message.type === "event") {
      run.queue.push(message);
      if (!run.listed) return;
      const events = takeWholeBatches(run.queue); // a batch is one or more whole transactions: never shown in halves
      if (events.length === 0) return;
      this.#cursor = events.at(-1).cursor;
      this.#changed(this.store.apply(events));
    } else if (message.type === "lagged" && message.resync === "snapshot") {
      this.reload(); // we were too slow and events were dropped: a new subscription and list instead of the snapshot
    }
  }

  #changed(changes) {
    const fresh = this.#fresh;
    this.#fresh = false;
    if (changes.length > 0 || fresh) this.dispatchEvent(new CustomEvent("change", { detail: { changes, fresh } }));
  }

  #interrupted() {
    this.#run = null;
    if (!this.#fresh) this.#enter("stale");
  }

  #end() {
    const run = this.#run;
    this.#run = null;
    if (!run) return;
    run.ignore();
    if (run.subscription) this.#unsubscribe(run);
  }

  #unsubscribe(run) {
    // Subscriptions are counted, so it does not matter if one to the same filter was made in between.
    this.#client.request(this.#stream, "unsubscribe", { subscription: run.subscription }).catch(() => {});
  }

  #enter(status) {
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }
}

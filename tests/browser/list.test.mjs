// Subscribing, listing and replaying end in the truth, whatever overtakes what.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveList } from "../../examples/forum/page/list.js";

/** A server in memory that answers requests when it is told to, and a client of it. */
class FakeClient extends EventTarget {
  state = "online";
  rows = new Map();
  requests = [];
  #listener = null;
  #backlog = [];
  #subscribed = false;

  request(stream, action, options) {
    return new Promise((resolve) => this.requests.push({ action, options, resolve }));
  }

  listen(_subscription, listener) {
    this.#listener = listener;
    return () => (this.#listener = null);
  }

  /** Answers the oldest open request, with what is true now. */
  answer(pageSize) {
    const { action, options, resolve } = this.requests.shift();
    if (action === "subscribe") {
      this.#subscribed = true;
      resolve({ subscription: "s", cursor: "c", recovered: false });
    } else if (action === "list") {
      const after = Number(options.cursor ?? 0);
      const rest = [...this.rows.values()].filter((row) => row.id > after).sort((a, b) => a.id - b.id);
      const results = rest.slice(0, pageSize).map((row) => ({ ...row }));
      resolve({ results, next: rest.length > pageSize ? String(results.at(-1).id) : null, previous: null, count: null, feed: "c" });
    } else {
      resolve();
    }
    return new Promise(setImmediate); // until the list has done all it can with the answer
  }

  write(event) {
    if (event.action === "create") this.rows.set(event.pk, event.data);
    if (event.action === "update") this.rows.set(event.pk, { ...this.rows.get(event.pk), ...event.diff });
    if (event.action === "delete") this.rows.delete(event.pk);
    if (this.#subscribed) this.#backlog.push({ type: "event", ...event });
  }

  deliver(count) {
    if (!this.#listener) return;
    for (const event of this.#backlog.splice(0, count)) this.#listener(event);
  }

  get held() {
    return [...this.rows.values()].sort((a, b) => a.id - b.id);
  }
}

/** Numbers between 0 and 1 that are the same at every run. */
function randomness(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let value = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

function randomEvent(client, random) {
  const pk = 1 + Math.floor(random() * 8);
  const more = random() < 0.3;
  const value = Math.floor(random() * 1000);
  if (!client.rows.has(pk)) return { action: "create", pk, data: { id: pk, body: value, score: value }, more };
  if (random() < 0.3) return { action: "delete", pk, more };
  return { action: "update", pk, diff: random() < 0.5 ? { body: value } : { score: value }, more };
}

test("a list ends equal to the rows, whatever is written and overtaken while it is read", async () => {
  for (let seed = 1; seed <= 400; seed += 1) {
    const random = randomness(seed);
    const client = new FakeClient();
    const list = new LiveList(client, "comments");
    for (let n = 0; n < 6; n += 1) client.write(randomEvent(client, random));
    list.start();
    for (let n = 0; n < 60; n += 1) {
      const dice = random();
      if (dice < 0.6) client.write(randomEvent(client, random));
      else if (dice < 0.8) client.deliver(1 + Math.floor(random() * 4));
      else if (client.requests.length > 0) await client.answer(3);
    }
    while (client.requests.length > 0) await client.answer(3);
    client.write({ action: "create", pk: 99, data: { id: 99 } }); // ends the last batch
    client.deliver(Infinity);
    assert.equal(list.status, "live");
    assert.deepEqual(list.store.sorted(), client.held, `seed ${seed}`);
  }
});

test("half a batch is not shown", async () => {
  const client = new FakeClient();
  const list = new LiveList(client, "comments");
  list.start();
  await client.answer(3);
  await client.answer(3);
  client.write({ action: "create", pk: 1, data: { id: 1 }, more: true });
  client.deliver(1);
  assert.equal(list.store.size, 0);
  client.write({ action: "create", pk: 2, data: { id: 2 } });
  client.deliver(1);
  assert.equal(list.store.size, 2);
});

test("rows stay through a lost connection and are replaced by what is true at the next", async () => {
  const client = new FakeClient();
  const list = new LiveList(client, "comments");
  client.write({ action: "create", pk: 1, data: { id: 1 } });
  list.start();
  await client.answer(3);
  await client.answer(3);

  client.state = "reconnecting";
  client.dispatchEvent(new Event("state"));
  assert.equal(list.status, "stale");
  assert.equal(list.store.size, 1);

  client.rows.clear();
  client.write({ action: "create", pk: 2, data: { id: 2 } });
  client.state = "online";
  client.dispatchEvent(new Event("state"));
  client.dispatchEvent(new Event("open"));
  const seen = [];
  list.addEventListener("change", ({ detail }) => seen.push(...detail.changes));
  await client.answer(3);
  await client.answer(3);
  assert.equal(list.status, "live");
  assert.deepEqual(seen.map(({ pk, after }) => [pk, after !== undefined]), [[1, false], [2, true]]);
});

test("a list that is stopped while it subscribes gives the subscription back", async () => {
  const client = new FakeClient();
  const list = new LiveList(client, "comments");
  list.start();
  list.stop();
  await client.answer(3);
  assert.deepEqual(client.requests.map(({ action, options }) => [action, options.subscription]), [["unsubscribe", "s"]]);
});

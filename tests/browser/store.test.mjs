// The rows of a subscription, without a socket and without a page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Store, changedFields, takeWholeBatches } from "../../examples/forum/page/store.js";

const create = (pk, fields, rest) => ({ action: "create", pk, data: { id: pk, ...fields }, ...rest });
const update = (pk, diff, rest) => ({ action: "update", pk, diff, ...rest });
const remove = (pk, rest) => ({ action: "delete", pk, ...rest });

function holding(...rows) {
  const store = new Store();
  store.reset(rows);
  return store;
}

test("a create adds a row, and replaces one that is present", () => {
  const store = holding({ id: 1, body: "a" });
  assert.deepEqual(store.apply([create(2, { body: "b" })]), [{ pk: 2, before: undefined, after: { id: 2, body: "b" } }]);
  store.apply([create(1, { body: "again" })]);
  assert.deepEqual(store.sorted(), [{ id: 1, body: "again" }, { id: 2, body: "b" }]);
});

test("a diff replaces whole values, null among them, and leaves the other fields", () => {
  const store = holding({ id: 1, body: "a", rating: 4.5, tags: { old: 1 } });
  store.apply([update(1, { rating: null, tags: { new: 2 } })]);
  assert.deepEqual(store.get(1), { id: 1, body: "a", rating: null, tags: { new: 2 } });
});

test("an update or a delete of an absent row does nothing", () => {
  const store = holding({ id: 1 });
  assert.deepEqual(store.apply([update(9, { body: "x" }), remove(8)]), []);
  assert.equal(store.size, 1);
});

test("the changes of a batch are net", () => {
  const store = holding({ id: 1, score: 0 }, { id: 2, score: 0 });
  const changes = store.apply([
    create(3, { score: 0 }), remove(3),
    update(1, { score: 1 }), update(1, { score: 2 }),
    update(2, { score: 7 }), update(2, { score: 0 }),
  ]);
  assert.deepEqual(changes, [{ pk: 1, before: { id: 1, score: 0 }, after: { id: 1, score: 2 } }]);
});

test("a reset answers the difference to what was held", () => {
  const store = holding({ id: 1, body: "stays" }, { id: 2, body: "goes" }, { id: 3, body: "old" });
  const changes = store.reset([{ id: 1, body: "stays" }, { id: 3, body: "old" }], [update(3, { body: "new" }), create(4, {})]);
  assert.deepEqual(changes.map(({ pk, before, after }) => [pk, !!before, !!after]), [[2, true, false], [3, true, true], [4, false, true]]);
});

test("rows are sorted by number, not as text", () => {
  assert.deepEqual(holding({ id: 10 }, { id: 9 }, { id: 100 }).sorted().map((row) => row.id), [9, 10, 100]);
});

test("only whole batches are taken from a queue", () => {
  const queue = [remove(1, { more: true }), remove(2), remove(3, { more: true })];
  assert.deepEqual(takeWholeBatches(queue).map((event) => event.pk), [1, 2]);
  assert.deepEqual(queue.map((event) => event.pk), [3]);
  assert.deepEqual(takeWholeBatches(queue), []);
  queue.push(remove(4));
  assert.deepEqual(takeWholeBatches(queue).map((event) => event.pk), [3, 4]);
});

test("changed fields are compared by value", () => {
  assert.deepEqual(changedFields({ a: 1, tags: [1], gone: 1 }, { a: 1, tags: [2], come: 1 }), ["tags", "gone", "come"]);
});

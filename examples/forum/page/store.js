// The rows of one subscription, by key. Pure: no socket, no DOM.

/** Holds rows and applies events to them. Both ways to change it answer the net changes, `[{pk, before, after}]`:
 *  no `before` means a new row, no `after` one that left; a row that ended as it began is not among them. */
export class Store {
  #key;
  #rows = new Map();

  constructor(key = "id") {
    this.#key = key;
  }

  get size() {
    return this.#rows.size;
  }

  get(pk) {
    return this.#rows.get(pk);
  }

  /** All rows, in the order of `compare`; by key if there is none. */
  sorted(compare = (a, b) => a[this.#key] - b[this.#key]) {
    return [...this.#rows.values()].sort(compare);
  }

  /** Puts `rows`, with `events` replayed on them, in the place of everything held so far. */
  reset(rows, events = []) {
    const before = this.#rows;
    this.#rows = new Map(rows.map((row) => [row[this.#key], row]));
    for (const event of events) this.#step(event);
    return changes(new Set([...before.keys(), ...this.#rows.keys()]), before, this.#rows);
  }

  /** Applies events in their order. */
  apply(events) {
    const before = new Map();
    for (const event of events) {
      if (!before.has(event.pk)) before.set(event.pk, this.#rows.get(event.pk));
      this.#step(event);
    }
    return changes(before.keys(), before, this.#rows);
  }

  #step({ action, pk, data, diff }) {
    if (action === "delete") {
      this.#rows.delete(pk);
    } else if (data) {
      this.#rows.set(pk, data);
    } else if (this.#rows.has(pk)) {
      this.#rows.set(pk, { ...this.#rows.get(pk), ...diff });
    }
    // A diff for a row we do not hold is from before the list was read, and the row was gone again when it was read:
    // its `delete` is among the events that follow. See `list.js`.
  }
}

/** Takes the whole batches from the front of `queue`: everything up to the last event that has no `more`. */
export function takeWholeBatches(queue) {
  const end = queue.findLastIndex((event) => !event.more);
  return queue.splice(0, end + 1);
}

/** The names of the fields in which two rows differ. */
export function changedFields(before, after) {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]));
}

function changes(keys, before, after) {
  const net = [];
  for (const pk of keys) {
    const change = { pk, before: before.get(pk), after: after.get(pk) };
    if (change.before === change.after) continue;
    if (change.before && change.after && changedFields(change.before, change.after).length === 0) continue;
    net.push(change);
  }
  return net;
}

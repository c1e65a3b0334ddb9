// The names of authors. Rows bear ids; names are asked for as they are needed, many in one request.

/** Dispatches `change` when names have come in. */
export class People extends EventTarget {
  #client;
  #session;
  #names = new Map();
  #wanted = new Set();

  constructor(client, session) {
    super();
    this.#client = client;
    this.#session = session;
    client.addEventListener("open", () => this.#ask());
    client.addEventListener("restart", () => this.#forget());
  }

  name(id) {
    const { user } = this.#session;
    if (user?.id === id) return user.username;
    if (this.#names.has(id)) return this.#names.get(id);
    if (this.#wanted.size === 0) queueMicrotask(() => this.#ask());
    this.#wanted.add(id);
    return `member ${id}`;
  }

  // Names are for those who are logged in, and they change.
  #forget() {
    this.#names.clear();
    this.#wanted.clear();
    this.dispatchEvent(new Event("change"));
  }

  async #ask() {
    if (this.#wanted.size === 0 || !this.#session.user) return;
    const ids = [...this.#wanted].slice(0, 1000); // the most values a filter may have
    try {
      const { results } = await this.#client.request("users", "list", { payload: { ids }, limit: 1000, count: false });
      for (const { id, username } of results) this.#names.set(id, username);
    } catch {
      return; // Names are a nicety. What is still wanted is asked for again at the next connection.
    }
    for (const id of ids) {
      this.#wanted.delete(id);
      if (!this.#names.has(id)) this.#names.set(id, `member ${id}`);
    }
    this.dispatchEvent(new Event("change"));
    this.#ask();
  }
}

/** Fills the round mark that stands for a person. */
export function showAvatar(element, id, name) {
  element.textContent = name[0].toUpperCase();
  element.dataset.tint = id % 6;
}

// The forum's binary and the browser, for the tests: each call of either is here.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

export const TIMEOUT = 30_000;

/** Starts the binary that `FORUM_BIN` names. `listen` is `127.0.0.1:0` for a free port. */
export async function startForum(database, listen = "127.0.0.1:0") {
  const binary = process.env.FORUM_BIN;
  if (!binary) throw new Error("FORUM_BIN must be the path of the forum binary (cargo build -p forum)");
  const child = spawn(binary, ["--listen", listen, "--database-url", `sqlite://${database}`, "--demo-data"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  const lines = createInterface({ input: child.stdout });
  const [first] = await Promise.race([
    once(lines, "line"),
    ended.then(([code]) => { throw new Error(`the forum ended with ${code} before it listened`); }),
  ]);
  const [, url] = /^listening on (http:\/\/\S+)$/.exec(first) ?? [];
  if (!url) {
    child.kill("SIGKILL");
    throw new Error(`the first line of the forum is not its address: ${first}`);
  }
  return {
    url,
    address: new URL(url).host,
    /** Ends it as an operator does; resolves to its exit code. */
    async stop() {
      child.kill("SIGTERM");
      const [code] = await ended;
      return code;
    },
    kill: () => child.kill("SIGKILL"),
  };
}

export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

/** One window of the forum: what a person sees and does there. */
export class Window {
  /** What the console complained about, but for connections that failed while the server was away, and for the
   *  answer that nobody is logged in. */
  complaints = [];

  /** `user` is the demo user that is logged in beforehand; null for nobody. */
  static async open(browser, url, { user = "ann", ...options } = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(TIMEOUT);
    if (user) {
      const data = { username: user, password: `demo-${user}` };
      const response = await context.request.post(new URL("/auth/login", url).href, { data });
      if (!response.ok()) throw new Error(`${user} cannot log in: ${await response.text()}`);
    }
    const window = new Window(await context.newPage());
    await window.page.goto(url);
    return window;
  }

  constructor(page) {
    this.page = page;
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      if (/^WebSocket connection to .* failed/.test(message.text())) return;
      if (/\/auth\/me$/.test(message.location().url) && /401|ERR_CONNECTION/.test(message.text())) return;
      this.complaints.push(`${message.type()}: ${message.text()}`);
    });
  }

  close() {
    return this.page.context().close();
  }

  /** Waits until the badge says one of `words`. */
  async badge(...words) {
    const pattern = new RegExp(`^(${words.join("|")})$`);
    await this.page.locator("#connection").getByText(pattern).waitFor();
  }

  /** The comment with exactly this text, whose place in the list is not on its way out. */
  comment(body) {
    const words = this.page.locator(".comment-body").getByText(body, { exact: true });
    return this.page.locator(".comment:not(.leaving)").filter({ has: words });
  }

  async sees(body) {
    await this.comment(body).waitFor();
  }

  async misses(body) {
    await this.comment(body).waitFor({ state: "detached" });
  }

  get composer() {
    return this.page.getByRole("textbox", { name: "Your comment" });
  }

  async write(body) {
    await this.composer.fill(body);
    await this.page.getByRole("button", { name: "Send" }).click();
  }

  async writeDraft(body) {
    await this.composer.fill(body);
    await this.page.getByRole("button", { name: "Save as draft" }).click();
  }

  get dialog() {
    return this.page.getByRole("dialog");
  }

  /** Fills the dialog, which must be open, and sends it. */
  async enter(username, password) {
    await this.dialog.getByRole("textbox", { name: "User name" }).fill(username);
    await this.dialog.getByLabel("Password").fill(password);
    await this.dialog.getByLabel("Password").press("Enter");
  }

  async logIn(username, password = `demo-${username}`) {
    await this.page.getByRole("banner").getByRole("button", { name: "Log in" }).click();
    await this.enter(username, password);
    await this.isLoggedInAs(username);
  }

  /** Waits until the page says so, and until what it shows is what that user sees. */
  async isLoggedInAs(username) {
    await this.page.locator("#me-name").getByText(username, { exact: true }).waitFor();
    await this.badge("Online");
  }

  async logOut() {
    await this.page.getByRole("button", { name: "Log out" }).click();
    await this.isAnonymous();
  }

  async isAnonymous() {
    await this.page.getByRole("banner").getByRole("button", { name: "Log in" }).waitFor();
    await this.badge("Online");
  }

  async edit(body, newBody) {
    // Its text is hidden while it is edited, so the comment is named by its key from here on.
    const comment = this.page.locator(`.comment[data-pk="${await this.comment(body).getAttribute("data-pk")}"]`);
    await comment.getByRole("button", { name: "Edit" }).click();
    await comment.getByRole("textbox").fill(newBody);
    await comment.getByRole("button", { name: "Save" }).click();
  }

  async remove(body) {
    await this.comment(body).getByRole("button", { name: "Delete" }).click();
    await this.comment(body).locator(".confirm").getByRole("button", { name: "Delete" }).click();
  }

  async begin(title) {
    await this.page.getByRole("button", { name: "New topic" }).click();
    await this.page.getByRole("textbox", { name: "Title of the new topic" }).fill(title);
    await this.page.getByRole("button", { name: "Create" }).click();
    await this.page.getByRole("heading", { level: 1, name: title }).waitFor();
  }

  /** The button that locks the topic, or unlocks it; whoever may not has none. */
  get lock() {
    return this.page.getByRole("button", { name: /^(Lock|Unlock)$/ });
  }

  /** Waits until the page says that the topic is locked, and has nothing to write with. */
  async isClosed() {
    await this.page.getByText("This topic is locked").waitFor();
    await this.composer.waitFor({ state: "detached" });
  }

  /** Everything the list of comments says, but for the times, which depend on when one looks. */
  comments() {
    return this.page.locator(".comment:not(.leaving)").evaluateAll((comments) =>
      comments.map((comment) => ({
        pk: comment.dataset.pk,
        author: comment.querySelector(".author").textContent,
        body: comment.querySelector(".comment-body").textContent,
        score: comment.querySelector(".score-value").textContent,
        edited: !comment.querySelector(".edited").hidden,
      })),
    );
  }

  /** The accessible name of what has the focus, or its id. */
  focused() {
    return this.page.evaluate(() => {
      const element = document.activeElement;
      return element.ariaLabel ?? element.labels?.[0]?.textContent ?? element.textContent.trim();
    });
  }

  /** Whether something is wider than the window. */
  overflows() {
    return this.page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  }

  screenshot(name) {
    return this.page.screenshot({ path: new URL(`screenshots/${name}`, import.meta.url).pathname });
  }
}

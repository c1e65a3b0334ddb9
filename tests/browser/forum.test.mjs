// The live page of `examples/forum` in a real browser, against the real binary: FORUM_BIN=…/forum npm test

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { TIMEOUT, Window, startBrowser, startForum } from "./forum.mjs";

const TEST_TIMEOUT = 4 * TIMEOUT;
let directory, forum, browser;
const windows = [];

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "forum-"));
  forum = await startForum(join(directory, "forum.db"));
  browser = await startBrowser();
}, { timeout: TEST_TIMEOUT });

after(async () => {
  await browser?.close();
  forum?.kill();
  await rm(directory, { recursive: true, force: true });
}, { timeout: TEST_TIMEOUT });

afterEach(async () => {
  const complaints = windows.flatMap((window) => window.complaints);
  await Promise.all(windows.splice(0).map((window) => window.close()));
  assert.deepEqual(complaints, [], "the console stays empty");
}, { timeout: TEST_TIMEOUT });

async function openWindow(path = "/", options = {}) {
  const window = await Window.open(browser, forum.url + path, options);
  windows.push(window);
  await window.badge("Online");
  return window;
}

/** Two windows on a new topic. */
async function openTwo(title) {
  const one = await openWindow();
  await one.begin(title);
  const two = await openWindow(`/${new URL(one.page.url()).hash}`);
  await two.page.getByRole("heading", { level: 1, name: title }).waitFor();
  await two.page.getByText("No comments yet").waitFor();
  return [one, two];
}

/** The link to the topic that has the most comments. */
async function fullestTopic(url) {
  const window = await Window.open(browser, url);
  windows.push(window);
  const { page } = window;
  await page.locator("#topic-list a").first().waitFor();
  let fullest = { count: 0 };
  for (const link of await page.locator("#topic-list a").all()) {
    const href = await link.getAttribute("href");
    await link.click();
    await page.locator(`#topic-list a[aria-current][href="${href}"]`).waitFor();
    await page.locator(".comment, #comments-note:not([hidden])").filter({ hasNotText: "Loading" }).first().waitFor();
    const count = await page.locator(".comment").count();
    if (count > fullest.count) fullest = { href, count };
  }
  assert.ok(fullest.count > 0, "the demo data has comments");
  return fullest.href;
}

async function assertEqualLists(one, two, bodies) {
  const [left, right] = [await one.comments(), await two.comments()];
  assert.deepEqual(left, right);
  assert.deepEqual(left.map((comment) => comment.body), bodies);
}

test("what one window writes, changes and deletes, the other shows", { timeout: TEST_TIMEOUT }, async () => {
  const [one, two] = await openTwo("Two windows");

  await one.write("first");
  await two.sees("first");
  await two.write("second\nwith a second line & <b>no markup</b>");
  await one.sees("second\nwith a second line & <b>no markup</b>");

  await two.edit("first", "first, edited");
  await one.sees("first, edited");
  await one.comment("first, edited").getByText("edited", { exact: true }).waitFor();
  await one.comment("first, edited").getByRole("button", { name: "Raise the score" }).click();
  await two.comment("first, edited").locator(".score-value").getByText("1", { exact: true }).waitFor();
  await one.comment("first, edited").locator(".score-value").getByText("1", { exact: true }).waitFor();
  await assertEqualLists(one, two, ["first, edited", "second\nwith a second line & <b>no markup</b>"]);

  await one.remove("first, edited");
  await two.misses("first, edited");
  await one.misses("first, edited");
  await assertEqualLists(one, two, ["second\nwith a second line & <b>no markup</b>"]);
});

test("a new topic appears at the side of the other window", { timeout: TEST_TIMEOUT }, async () => {
  const [one, two] = [await openWindow(), await openWindow()];
  await one.begin("A topic for both");
  await two.page.getByRole("navigation", { name: "Topics" }).getByRole("link", { name: "A topic for both" }).click();
  await two.page.getByRole("heading", { level: 1, name: "A topic for both" }).waitFor();
  assert.equal(new URL(two.page.url()).hash, new URL(one.page.url()).hash);
});

test("a comment that the server refuses stays in the box, with the reason beside it", { timeout: TEST_TIMEOUT }, async () => {
  const window = await openWindow();
  await window.begin("Too long");
  await window.write("x".repeat(10_001));
  const reason = window.page.locator("#composer-problem");
  await reason.waitFor();
  assert.notEqual(await reason.textContent(), "");
  assert.equal((await window.composer.inputValue()).length, 10_001);
  assert.equal(await window.composer.getAttribute("aria-invalid"), "true");
  assert.equal(await window.overflows(), false, "a long word does not widen the page");

  await window.composer.fill("short enough");
  await reason.waitFor({ state: "hidden" });
  await window.composer.press("Control+Enter");
  await window.sees("short enough");
});

test("both windows come through a restart of the server and end equal", { timeout: TEST_TIMEOUT }, async () => {
  const [one, two] = await openTwo("Through a restart");
  await one.write("before");
  await two.sees("before");

  assert.equal(await forum.stop(), 0, "SIGTERM ends the server with 0");
  await one.badge("Reconnecting", "Offline");
  await two.badge("Reconnecting", "Offline");
  await one.sees("before");
  await one.write("while it was away");
  await one.page.locator("#composer-problem").getByText("You are offline").waitFor();
  await two.badge("Offline");

  forum = await startForum(join(directory, "forum.db"), forum.address);
  // One window is told that the network is there again, the other comes by itself.
  await one.page.evaluate(() => dispatchEvent(new Event("online")));
  await one.badge("Online");
  await two.badge("Online");
  assert.equal(await one.composer.inputValue(), "while it was away");
  await one.composer.press("Enter");
  await one.sees("while it was away");
  await two.sees("while it was away");
  await two.write("after");
  await one.sees("after");
  await two.sees("after");
  await assertEqualLists(one, two, ["before", "while it was away", "after"]);
});

test("everything can be done with the keyboard alone", { timeout: TEST_TIMEOUT }, async () => {
  const window = await openWindow();
  const { keyboard } = window.page;
  const tabTo = async (name) => {
    for (let presses = 0; presses < 60; presses += 1) {
      if ((await window.focused()) === name) return;
      await keyboard.press("Tab");
    }
    assert.fail(`Tab does not reach “${name}”`);
  };

  await tabTo("New topic");
  await keyboard.press("Enter");
  await tabTo("Title of the new topic");
  await keyboard.press("Escape");
  assert.equal(await window.focused(), "New topic");
  await keyboard.press("Enter");
  await keyboard.type("By keyboard");
  await keyboard.press("Enter");
  await window.page.getByRole("heading", { level: 1, name: "By keyboard" }).waitFor();

  // The new topic has its box in focus.
  await window.page.locator("#composer-text:focus").waitFor();
  await keyboard.type("one");
  await keyboard.press("Shift+Enter");
  await keyboard.type("two");
  await keyboard.press("Enter");
  await window.sees("one\ntwo");
  await window.page.locator("#composer-text:focus").waitFor();

  // Back from the box, the comment's own buttons are the next.
  const backTo = async (name) => {
    for (let presses = 0; presses < 10 && (await window.focused()) !== name; presses += 1) await keyboard.press("Shift+Tab");
    assert.equal(await window.focused(), name);
  };
  await backTo("Edit");
  await keyboard.press("Enter");
  assert.equal(await window.focused(), "Edit the comment");
  await keyboard.type(" never saved");
  await keyboard.press("Escape");
  assert.equal(await window.focused(), "Edit");
  await keyboard.press("Enter");
  await keyboard.press("Control+A");
  await keyboard.type("three");
  await keyboard.press("Enter");
  await window.sees("three");
  await window.page.locator("[data-do=edit]:focus").waitFor();

  await keyboard.press("Tab");
  assert.equal(await window.focused(), "Delete");
  await keyboard.press("Enter");
  assert.equal(await window.focused(), "Keep");
  await keyboard.press("Shift+Tab");
  await keyboard.press("Enter");
  await window.misses("three");
  await window.page.locator("#composer-text:focus").waitFor(); // the focus is not lost with the comment

  const outline = await window.composer.evaluate((element) => getComputedStyle(element.form).outlineStyle);
  assert.equal(outline, "solid", "the focus can be seen");
});

test("the page has its landmarks and a polite place for what is read out", { timeout: TEST_TIMEOUT }, async () => {
  const window = await openWindow();
  assert.equal(await window.page.locator("#announcer").getAttribute("aria-live"), "polite");
  for (const role of ["banner", "navigation", "main"]) assert.equal(await window.page.getByRole(role).count(), 1, role);
});

test("a phone shows the topics first, then one topic", { timeout: TEST_TIMEOUT }, async () => {
  const window = await openWindow("/", { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
  const { page } = window;
  await page.getByRole("button", { name: "New topic" }).waitFor();
  assert.equal(await page.getByRole("heading", { level: 1 }).count(), 0);
  assert.equal(await window.overflows(), false);

  await window.begin("On a phone");
  assert.equal(await page.getByRole("button", { name: "New topic" }).count(), 0);
  await window.composer.fill("a");
  await window.composer.press("Enter"); // a touch keyboard's Enter breaks the line
  await page.getByRole("button", { name: "Send" }).tap();
  await window.sees(`a${"\n"}`);
  assert.equal(await window.overflows(), false);

  await page.getByRole("link", { name: "Back to the topics" }).tap();
  await page.getByRole("link", { name: "On a phone" }).tap();
  await page.getByRole("heading", { level: 1, name: "On a phone" }).waitFor();
});

test("pictures of the page with its demo data", { timeout: TEST_TIMEOUT }, async (context) => {
  const fresh = await startForum(join(directory, "pictures.db"));
  context.after(() => fresh.kill());
  const desktop = { viewport: { width: 1280, height: 800 } };
  const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
  const looks = [["desktop.png", desktop], ["dark.png", { ...desktop, colorScheme: "dark" }], ["phone.png", phone]];
  const hash = await fullestTopic(fresh.url);
  for (const [name, options] of looks) {
    const window = await Window.open(browser, `${fresh.url}/${hash}`, { ...options, reducedMotion: "reduce" });
    windows.push(window);
    await window.badge("Online");
    await window.page.locator("#topic-meta time").waitFor();
    await window.page.locator(".comment").first().waitFor();
    assert.equal(await window.overflows(), false, name);
    await window.screenshot(name);
  }
});

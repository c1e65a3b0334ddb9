// The live page of `examples/forum` in a real browser, against the real binary: FORUM_BIN=…/forum npm test

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { promisify } from "node:util";
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

/** What an operator may do while the server is away: everybody has to log in again. */
function forgetSessions(database) {
  return promisify(execFile)("sqlite3", [database, "DELETE FROM sessions"]);
}

/** What the server refuses is an answer and no fault of the page, but the browser writes it to the console. */
function allowRefusals(window, ...statuses) {
  const refusal = new RegExp(`status of (${statuses.join("|")}) `);
  window.complaints = window.complaints.filter((complaint) => !refusal.test(complaint));
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

test("who logs in may write, and who logs out no longer", { timeout: TEST_TIMEOUT }, async () => {
  const ann = await openWindow();
  await ann.begin("For everybody");
  await ann.write("read by all");
  const window = await openWindow(`/${new URL(ann.page.url()).hash}`, { user: null });
  const { page } = window;
  await window.sees("read by all");
  const mayWrite = async (expected) => {
    await page.locator("#log-in-note").waitFor({ state: expected ? "hidden" : "visible" });
    for (const name of ["New topic", "Send", "Save as draft", "Log out"]) {
      assert.equal(await page.getByRole("button", { name }).count(), expected ? 1 : 0, name);
    }
  };
  await mayWrite(false);
  assert.equal(await page.getByRole("button", { name: "Edit" }).count(), 0);

  await page.locator("#log-in-note").getByRole("button", { name: "Log in" }).click();
  await window.dialog.waitFor();
  await window.enter("bob", "wrong");
  await window.dialog.getByText("The user name or the password is wrong.").waitFor();
  await window.enter("bob", "demo-bob");
  await window.isLoggedInAs("bob");
  await window.dialog.waitFor({ state: "hidden" });
  await mayWrite(true);
  assert.equal(await window.focused(), "Your comment");
  await page.locator(".author").getByText("ann", { exact: true }).waitFor(); // names are for those who are logged in
  await window.write("bob’s");
  await ann.sees("bob’s");
  await window.comment("bob’s").getByRole("button", { name: "Edit" }).waitFor();
  assert.equal(await window.comment("read by all").getByRole("button", { name: "Edit" }).count(), 0);

  await page.reload();
  await window.isLoggedInAs("bob");
  await window.logOut();
  await mayWrite(false);
  assert.equal(await window.focused(), "Log in");
  await ann.write("after bob");
  await window.sees("after bob");
  await page.reload();
  await window.isAnonymous();
  await mayWrite(false);
  allowRefusals(window, 401);
});

test("somebody new registers, and is told what is wrong", { timeout: TEST_TIMEOUT }, async () => {
  const window = await openWindow("/", { user: null });
  const { page, dialog } = window;
  await page.getByRole("banner").getByRole("button", { name: "Log in" }).click();
  assert.equal(await window.focused(), "User name");
  await dialog.getByRole("button", { name: "Register" }).click();
  await dialog.getByRole("heading", { name: "Register" }).waitFor();
  await window.enter("No Name", "short");
  await dialog.locator("#account-name-problem").getByText("A user name has 3 to 30 characters").waitFor();
  await dialog.locator("#account-password-problem").getByText("A password has 8 to 128 characters").waitFor();
  assert.equal(await window.focused(), "User name");
  await window.enter("ann", "long enough");
  await dialog.locator("#account-name-problem").getByText("already taken").waitFor();
  assert.equal(await dialog.locator("#account-password-problem").isHidden(), true);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  assert.equal(await window.focused(), "Log in");

  await page.keyboard.press("Enter");
  await dialog.getByRole("button", { name: "Register" }).click();
  await window.enter("carol_7", "long enough");
  await window.isLoggedInAs("carol_7");
  await window.begin("Carol’s topic");
  await page.getByText("Begun by carol_7").waitFor();
  await window.logOut();
  await window.logIn("carol_7", "long enough");
  allowRefusals(window, 400, 409);
});

test("a session that ends elsewhere is said to have ended, and what was being written waits", { timeout: TEST_TIMEOUT }, async () => {
  const one = await openWindow();
  await one.begin("Ended elsewhere");
  await one.write("before");
  // The same browser, hence the same session.
  const two = new Window(await one.page.context().newPage());
  windows.push(two);
  await two.page.goto(one.page.url());
  await two.isLoggedInAs("ann");
  await two.sees("before");
  await two.composer.fill("half a sentence");

  await one.logOut();
  await two.badge("Signed out");
  const notice = two.page.getByRole("alert").filter({ hasText: "Your session has ended" });
  await notice.waitFor();
  assert.equal(await two.composer.count(), 0);
  await two.sees("before");
  await two.screenshot("signed-out.png");
  await notice.getByRole("button", { name: "Go on without" }).click();
  await notice.waitFor({ state: "hidden" });
  await two.isAnonymous();
  await two.sees("before");

  // Who logs in in one window is logged in in the other too.
  await one.logIn("ann");
  await two.isLoggedInAs("ann");
  assert.equal(await two.composer.inputValue(), "half a sentence");

  await one.logOut();
  await notice.getByRole("button", { name: "Log in again" }).click();
  await two.enter("bob", "demo-bob");
  await two.isLoggedInAs("bob");
  await notice.waitFor({ state: "hidden" });
  assert.equal(await two.composer.inputValue(), "", "what ann had begun is not bob’s");
  await one.isLoggedInAs("bob");
});

test("a new name is taken over, and a session that ended while the server was away is noticed", { timeout: TEST_TIMEOUT }, async () => {
  const window = await openWindow("/", { user: null });
  await window.page.getByRole("banner").getByRole("button", { name: "Log in" }).click();
  await window.dialog.getByRole("button", { name: "Register" }).click();
  await window.enter("dave_1", "long enough");
  await window.isLoggedInAs("dave_1");
  const rename = await window.page.evaluate(async () => {
    const { user } = await (await fetch("/auth/me")).json();
    const headers = { "content-type": "application/json" };
    return (await fetch(`/api/users/${user.id}/`, { method: "PATCH", headers, body: '{"username": "dave_2"}' })).status;
  });
  assert.equal(rename, 200);
  await window.isLoggedInAs("dave_2");

  assert.equal(await forum.stop(), 0);
  await window.badge("Reconnecting", "Offline");
  await forgetSessions(join(directory, "forum.db"));
  forum = await startForum(join(directory, "forum.db"), forum.address);
  await window.badge("Signed out");
  await window.page.getByRole("button", { name: "Go on without" }).click();
  await window.isAnonymous();
});

test("drafts are their author’s until they are published", { timeout: TEST_TIMEOUT }, async () => {
  const ann = await openWindow();
  await ann.begin("Drafts");
  const path = `/${new URL(ann.page.url()).hash}`;
  const [bob, nobody] = [await openWindow(path, { user: "bob" }), await openWindow(path, { user: null })];
  const staff = await openWindow(path, { user: "staff" });
  await ann.writeDraft("not yet");
  await ann.sees("not yet");
  await ann.comment("not yet").getByText("draft", { exact: true }).waitFor();
  await ann.write("first");
  for (const window of [bob, nobody]) {
    await window.sees("first");
    assert.equal(await window.comment("not yet").count(), 0);
  }
  await staff.sees("not yet");

  await ann.comment("not yet").getByRole("button", { name: "Publish" }).click();
  for (const window of [bob, nobody]) await window.sees("not yet");
  await staff.comment("not yet").getByRole("button", { name: "Hide" }).click();
  for (const window of [bob, nobody]) await window.misses("not yet");
  await ann.comment("not yet").getByText("hidden", { exact: true }).waitFor();
  await staff.comment("not yet").getByRole("button", { name: "Publish" }).click();
  for (const window of [bob, nobody]) await window.sees("not yet");

  // What one may see goes with the log-in.
  await staff.screenshot("staff.png");
  await ann.writeDraft("mine");
  await ann.sees("mine");
  await ann.screenshot("draft.png");
  await ann.logOut();
  await ann.misses("mine");
  await ann.logIn("ann");
  await ann.sees("mine");
});

test("who owns a topic locks it, in all windows at once", { timeout: TEST_TIMEOUT }, async () => {
  const [ann, bob] = await openTwo("To be locked");
  await bob.logOut();
  await bob.logIn("bob");
  const staff = await openWindow(`/${new URL(ann.page.url()).hash}`, { user: "staff" });
  await bob.write("before");
  await ann.sees("before");
  assert.equal(await bob.lock.count(), 0);

  await ann.lock.click();
  await bob.isClosed();
  await ann.isClosed();
  await bob.sees("before");
  await bob.page.getByRole("navigation", { name: "Topics" }).getByText(/^Locked · ann/).waitFor();
  assert.equal(await ann.lock.textContent(), "Unlock");
  assert.equal(await ann.focused(), "Unlock", "the button keeps the focus");
  await staff.page.getByRole("button", { name: "Unlock" }).waitFor();
  await staff.write("staff may");
  await bob.sees("staff may");

  await staff.lock.click();
  await bob.composer.waitFor();
  await ann.page.getByRole("button", { name: "Lock" }).waitFor();
  await bob.write("after");
  await ann.sees("after");
});

test("notes are shown to whoever made them, in all his windows", { timeout: TEST_TIMEOUT }, async () => {
  const [ann, other, bob] = [await openWindow(), await openWindow(), await openWindow("/", { user: "bob" })];
  const titles = (window) => window.page.locator(".note-title").allTextContents();
  for (const { page } of [ann, other, bob]) {
    await page.getByRole("button", { name: "Notes" }).click();
    await page.getByText("Nothing yet.").waitFor();
  }
  const note = async (window, title) => {
    await window.page.getByRole("textbox", { name: "New note" }).fill(title);
    await window.page.keyboard.press("Enter");
    await window.page.locator(".note-title").getByText(title, { exact: true }).waitFor();
  };
  await note(ann, "one");
  await note(ann, "two");
  await note(bob, "bob’s");
  await other.page.locator(".note-title").getByText("two", { exact: true }).waitFor();
  assert.deepEqual(await titles(ann), ["two", "one"]);
  assert.deepEqual(await titles(other), ["two", "one"]);
  assert.deepEqual(await titles(bob), ["bob’s"]);

  const pin = other.page.getByRole("listitem").filter({ hasText: "one" }).getByRole("button", { name: "Pin" });
  await pin.click();
  await ann.page.locator("[aria-pressed=true]").waitFor();
  await other.page.locator("[aria-pressed=true]").waitFor();
  assert.deepEqual(await titles(other), ["one", "two"]);
  assert.equal(await other.focused(), "Pin", "the focus moves along");
  await other.screenshot("notes.png");
  await ann.page.getByRole("button", { name: "Delete “two”" }).click();
  for (const { page } of [other, ann]) {
    await page.locator(".note-title").getByText("two", { exact: true }).waitFor({ state: "detached" });
  }
  await note(ann, "x".repeat(60));
  await ann.page.getByRole("textbox", { name: "New note" }).fill("");
  await ann.page.keyboard.press("Enter");
  await ann.page.getByText("This field may not be blank.").waitFor();
  await ann.page.keyboard.press("Escape");
  assert.equal(await ann.focused(), "Notes");
  await ann.page.locator(".note-title").first().waitFor({ state: "detached" });
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
  for (const [name, options] of [["log-in.png", { ...desktop, colorScheme: "dark" }], ["log-in-phone.png", phone]]) {
    const window = await Window.open(browser, `${fresh.url}/${hash}`, { ...options, user: null, reducedMotion: "reduce" });
    windows.push(window);
    await window.isAnonymous();
    await window.page.locator(".comment").first().waitFor();
    assert.equal(await window.overflows(), false, name);
    await window.screenshot(`without-${name}`);
    await window.page.getByRole("banner").getByRole("button", { name: "Log in" }).click();
    await window.dialog.getByRole("button", { name: "Register" }).click();
    assert.equal(await window.overflows(), false, name);
    await window.screenshot(name);
  }
});

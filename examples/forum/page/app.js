// Puts the page together: a connection, the topics, and the comments of the topic that the address names (`#topic-3`).

import { LiveClient } from "./live.js";
import { LiveList } from "./list.js";
import { Session } from "./session.js";
import { AccountDialog, showAccount } from "./account.js";
import { Ending } from "./ending.js";
import { Notes } from "./notes.js";
import { People } from "./people.js";
import { TopicsView, topicForm } from "./topics.js";
import { CommentsView } from "./comments.js";
import { Composer } from "./composer.js";
import { showConnection } from "./connection.js";
import { keepTimes, showTime } from "./time.js";
import { byId, showProblem } from "./dom.js";

const address = new URL("/api/ws", location);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";

const client = new LiveClient(address);
const session = new Session(() => client.restart());
const ending = new Ending(client, session);
const people = new People(client, session);
const topics = new LiveList(client, "topics");
const topicsView = new TopicsView(topics, people, session);
const composer = new Composer(client);
const phone = matchMedia("(max-width: 760px)");

/** The topic on screen: its id, its comments and their view. */
let open = null;

function topicOfAddress() {
  const [, id] = /^#topic-(\d+)$/.exec(location.hash) ?? [];
  return id === undefined ? null : Number(id);
}

function follow() {
  const id = topicOfAddress();
  if (open?.id === id) return;
  open?.view.close();
  open?.comments.stop();
  open = null;
  if (id !== null) {
    const comments = new LiveList(client, "comments", { topic: id });
    open = { id, comments, view: new CommentsView(comments, { client, people, session }) };
    comments.start();
    composer.turnTo(id);
  }
  document.body.dataset.screen = id === null ? "topics" : "topic";
  topicsView.choose(id);
  showTopic();
}

function showTopic() {
  const topic = open && topics.store.get(open.id);
  const gone = open !== null && !topic && topics.status === "live";
  byId("topic-title").textContent = topic ? topic.title : gone ? "There is no such topic" : open ? "…" : "Choose a topic";
  byId("topic-meta").replaceChildren(...(topic ? byline(topic) : gone ? ["It may have been deleted. Choose another one."] : []));
  byId("scroller").hidden = !open || gone;
  const lock = byId("lock");
  lock.hidden = !topic || !session.user || !(session.user.is_staff || session.user.id === topic.owner_id);
  lock.textContent = topic?.locked ? "Unlock" : "Lock";
  const isClosed = topic?.locked && !session.user?.is_staff;
  byId("composer").hidden = byId("skip").hidden = !topic || isClosed || !session.user;
  byId("locked-note").hidden = !isClosed;
  byId("log-in-note").hidden = !topic || isClosed || session.user !== null;
  document.title = topic ? `${topic.title} · Forum` : "Forum";
}

// For its owner and staff.
byId("lock").addEventListener("click", async () => {
  const { id, locked } = topics.store.get(open.id);
  const refused = client.request("topics", locked ? "unlock" : "lock", { pk: id }).then(() => null, (error) => error);
  showProblem(byId("lock-problem"), await refused);
});

function byline(topic) {
  const time = document.createElement("time");
  showTime(time, topic.created_at);
  return [`Begun by ${people.name(topic.owner_id)} · `, time];
}

// Where both fit side by side, an address without a topic shows the newest one.
function chooseFirst() {
  if (topicOfAddress() !== null || phone.matches || topics.store.size === 0) return;
  const newest = topics.store.sorted().at(-1);
  history.replaceState(null, "", `#topic-${newest.id}`);
  follow();
}

addEventListener("hashchange", () => {
  follow();
  chooseFirst();
  // On a phone the screen was changed, and what had the focus is hidden with the other one.
  const shown = document.activeElement !== document.body && document.activeElement.checkVisibility();
  if (!shown) byId(open ? "topic-title" : "topics-heading").focus();
});
phone.addEventListener("change", chooseFirst);
topics.addEventListener("change", () => {
  chooseFirst();
  showTopic();
});
topics.addEventListener("status", showTopic);
people.addEventListener("change", showTopic);

topicForm(client, session, (topic) => {
  location.hash = `#topic-${topic.id}`;
  // The new topic is empty: what comes next is its first comment. The event that makes it known may be on its way.
  const write = () => {
    if (!topics.store.get(topic.id)) return;
    topics.removeEventListener("change", write);
    follow();
    byId("composer-text").focus();
  };
  topics.addEventListener("change", write);
  write();
});

// What was begun to be written waits for its writer, over the end of a session too, and is shown to nobody else.
let writer = null;
session.addEventListener("change", () => {
  const { user } = session;
  if (user && writer !== null && writer !== user.id) composer.clear();
  if (user) writer = user.id;
  showTopic();
});

// The server may have been away when it was asked first.
client.addEventListener("open", () => session.isKnown || session.look().catch(() => {}));

new Notes(client, session);
const dialog = new AccountDialog(session);
showAccount(session, {
  logIn: () => dialog.open(),
  logOut: async () => (await ending.logOut()) && composer.clear(),
});
showConnection(client);
keepTimes();
await session.look().catch(() => {});
topics.start();
follow();
client.start();

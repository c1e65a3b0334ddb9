// Puts the page together: a connection, the topics, and the comments of the topic that the address names (`#topic-3`).

import { LiveClient } from "./live.js";
import { LiveList } from "./list.js";
import { People, showAvatar } from "./people.js";
import { TopicsView, topicForm } from "./topics.js";
import { CommentsView } from "./comments.js";
import { Composer } from "./composer.js";
import { showConnection } from "./connection.js";
import { keepTimes, showTime } from "./time.js";
import { byId } from "./dom.js";

// The server takes every caller for this demo user until there is a login.
const me = { id: 1, username: "ann" };

const address = new URL("/api/ws", location);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";

const client = new LiveClient(address);
const people = new People(client, me);
const topics = new LiveList(client, "topics");
const topicsView = new TopicsView(topics, people);
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
    open = { id, comments, view: new CommentsView(comments, { client, people, me }) };
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
  byId("composer").hidden = byId("skip").hidden = !topic || topic.locked;
  byId("locked-note").hidden = !topic?.locked;
  document.title = topic ? `${topic.title} · Forum` : "Forum";
}

function byline(topic) {
  const time = document.createElement("time");
  showTime(time, topic.created_at);
  return [`Begun by ${people.name(topic.owner_id)} `, time];
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
  if (!shown) byId(open ? "topic-title" : "new-topic").focus();
});
phone.addEventListener("change", chooseFirst);
topics.addEventListener("change", () => {
  chooseFirst();
  showTopic();
});
topics.addEventListener("status", showTopic);
people.addEventListener("change", showTopic);

topicForm(client, (topic) => {
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

byId("me-name").textContent = me.username;
showAvatar(byId("me-avatar"), me.id, me.username);
showConnection(client);
keepTimes();
topics.start();
follow();
client.start();

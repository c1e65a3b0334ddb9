// The badge that says whether what is on screen is live.

import { byId } from "./dom.js";

const WORDS = {
  connecting: "Connecting",
  online: "Online",
  reconnecting: "Reconnecting",
  offline: "Offline",
  ended: "Signed out",
};

export function showConnection(client) {
  const badge = byId("connection");
  const retry = byId("retry");
  const show = () => {
    badge.dataset.state = client.state;
    badge.querySelector(".connection-text").textContent = WORDS[client.state];
    badge.title = client.state === "ended" ? "Reload the page to sign in again." : "";
    retry.hidden = client.state !== "offline";
  };
  retry.addEventListener("click", () => client.retry());
  client.addEventListener("state", show);
  show();
}

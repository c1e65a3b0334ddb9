// The badge that says whether what is on screen is live.

import { byId, showProblem } from "./dom.js";

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
    retry.hidden = client.state !== "offline";
  };
  retry.addEventListener("click", () => client.retry());
  client.addEventListener("state", show);
  // What was refused for want of a connection can be done now, and says so no longer.
  client.addEventListener("open", () => {
    for (const place of document.querySelectorAll(".problem[data-code=offline]")) showProblem(place, null);
  });
  show();
}

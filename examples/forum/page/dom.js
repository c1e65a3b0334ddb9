// The few things every view needs from the document.

export const byId = (id) => document.getElementById(id);

/** A copy of the only element of a `<template>`. */
export const stamp = (id) => byId(id).content.firstElementChild.cloneNode(true);

export const motionReduced = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Enter sends the form of a text area, Shift+Enter breaks the line; Ctrl+Enter and ⌘+Enter always send. On a touch
 *  keyboard, which has no Shift+Enter, Enter breaks the line and the button sends. */
export function sendOnEnter(textarea) {
  textarea.addEventListener("keydown", (event) => {
    // While an input method composes a character, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    if (matchMedia("(pointer: coarse)").matches && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    textarea.form.requestSubmit();
  });
}

/** Says something to a screen reader once it has finished what it is saying. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** Shows an error in `place`, or hides it (`error` null). The messages of `field` stand for themselves, since the
 *  place is beside that field; those of other fields bear their name. */
export function showProblem(place, error, field) {
  place.hidden = !error;
  place.dataset.code = error?.code ?? "";
  place.textContent = error ? problemText(error, field) : "";
}

function problemText(error, field) {
  if (error.code === "offline") return "You are offline, so nothing was sent. Your text is kept.";
  if (error.code === "disconnected") {
    return "The connection was lost before the server answered. Look whether it arrived before you send it again.";
  }
  const messages = Object.entries(error.errors ?? {}).flatMap(([name, texts]) =>
    texts.map((text) => (name === field || name === "non_field_errors" ? text : `${name}: ${text}`)),
  );
  return messages.length > 0 ? messages.join(" ") : error.message;
}

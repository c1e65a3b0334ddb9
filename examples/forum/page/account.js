// The dialog in which one logs in or registers, and what the bar says of who is logged in.

import { byId, showProblem } from "./dom.js";
import { showAvatar } from "./people.js";

const WORDS = {
  logIn: { title: "Log in", question: "New here?", other: "Register", autocomplete: "current-password" },
  register: { title: "Register", question: "Registered already?", other: "Log in", autocomplete: "new-password" },
};

export class AccountDialog {
  #session;
  #dialog = byId("account");
  #form = byId("account-form");
  #fields = { username: byId("account-name"), password: byId("account-password") };
  #what = "logIn";

  constructor(session) {
    this.#session = session;
    byId("account-cancel").addEventListener("click", () => this.#dialog.close());
    byId("account-other").addEventListener("click", () => this.#turn(this.#what === "logIn" ? "register" : "logIn"));
    this.#dialog.addEventListener("close", () => this.#form.reset());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  open() {
    this.#turn("logIn");
    this.#dialog.showModal();
    this.#fields.username.focus();
  }

  #turn(what) {
    this.#what = what;
    const { title, question, other, autocomplete } = WORDS[what];
    byId("account-title").textContent = byId("account-send").textContent = title;
    byId("account-question").textContent = question;
    byId("account-other").textContent = other;
    this.#fields.password.autocomplete = autocomplete;
    for (const rule of this.#form.querySelectorAll(".rule")) rule.hidden = what === "logIn";
    this.#show(null);
    this.#fields.username.focus();
  }

  async #send() {
    if (this.#form.ariaBusy === "true") return;
    this.#form.ariaBusy = "true";
    try {
      await this.#session[this.#what](this.#fields.username.value.trim(), this.#fields.password.value);
      this.#dialog.close();
      // What had the focus before, the button that opened the dialog, is there no longer.
      const composer = byId("composer-text");
      (composer.checkVisibility() ? composer : byId("log-out")).focus();
    } catch (error) {
      this.#show(error);
    } finally {
      this.#form.ariaBusy = "false";
    }
  }

  /** Each message stands at the field that it is about. */
  #show(error) {
    const about = Object.entries(this.#fields).filter(([name]) => error?.errors[name]);
    for (const [name, input] of Object.entries(this.#fields)) {
      const messages = error?.errors[name];
      const place = byId(`${input.id}-problem`);
      place.hidden = !messages;
      place.textContent = messages?.join(" ") ?? "";
      if (messages) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
    showProblem(byId("account-problem"), about.length > 0 ? null : error);
    if (about.length > 0) about[0][1].focus();
    else if (error) this.#fields.password.select();
  }
}

/** Keeps the bar true: a button to log in, or who is logged in and a button to log out. */
export function showAccount(session, { logIn, logOut }) {
  const show = () => {
    const { user } = session;
    byId("log-in").hidden = user !== null;
    byId("me").hidden = user === null;
    if (!user) return;
    byId("me-name").textContent = byId("me").title = user.username;
    showAvatar(byId("me-avatar"), user.id, user.username);
  };
  for (const button of document.querySelectorAll("[data-log-in]")) button.addEventListener("click", logIn);
  byId("log-out").addEventListener("click", logOut);
  session.addEventListener("change", show);
  show();
}

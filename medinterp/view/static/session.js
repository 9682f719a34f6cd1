// Signing in, where the service asks for a key: it is shown once, and a cookie that no script can read stands for it.

/** @import { Api } from "./api.js" */

import { Problem } from "./api.js";
import { byId, make } from "./dom.js";

export class SignIn {
  /** @param {Api} api asks here when it is refused, and tells who is signed in */
  constructor(api) {
    this.api = api;
    /** @type {Promise<void> | null} */
    this.asking = null;
    api.door = this;
    byId("sign-out").addEventListener("click", () => this.leave());
  }

  /**
   * Who is signed in, as an answer says.
   * @param {string} name
   */
  saw(name) {
    byId("sign-out").hidden = false;
    byId("sign-out").title = `Signed in as ${name}`;
  }

  /** Resolves once somebody is signed in; several requests wait for the same one. */
  ask() {
    this.asking ??= this.opened().finally(() => { this.asking = null; });
    return this.asking;
  }

  /** @returns {Promise<void>} */
  opened() {
    const dialog = byId("sign-in");
    const key = make("input", { type: "password", id: "medinterp-secret", autocomplete: "off", spellcheck: "false", required: true,
      "aria-describedby": "medinterp-secret-said" });
    const said = make("p", { id: "medinterp-secret-said", role: "alert" });
    const button = make("button", { type: "submit", class: "mi-button mi-small", id: "medinterp-sign-in-go" }, "Sign in");
    const form = make("form", {}, make("h2", {}, "Sign in"), make("p", {}, make("label", { for: "medinterp-secret" }, "Your key for this service")),
      key, said, button);
    dialog.replaceChildren(form);
    const stays = (/** @type {Event} */ event) => event.preventDefault(); // there is nothing to see without a key
    dialog.addEventListener("cancel", stays);
    dialog.showModal();
    return new Promise((resolve) => {
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        button.disabled = true;
        said.textContent = "";
        try {
          await this.api.signIn(key.value.trim());
          dialog.removeEventListener("cancel", stays);
          dialog.close();
          dialog.replaceChildren(); // and the key with it
          resolve();
        } catch (error) {
          said.textContent = error instanceof Problem && error.status === 401 ? "This key does not hold here."
            : error instanceof Error ? error.message : String(error);
        } finally {
          button.disabled = false;
        }
      });
    });
  }

  /** The session ends, and with it whatever the page shows. */
  async leave() {
    try {
      await this.api.signOut();
    } finally {
      history.replaceState(null, "", location.pathname + location.search);
      location.reload();
    }
  }
}

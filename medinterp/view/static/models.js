// Which model reads the next film, by which prompt; and in the banner the notice of the one whose report is in sight.

/** @import { Models, Provenance } from "./types" */

import { byId, make } from "./dom.js";

/** @typedef {Models["models"][number]} Model */

export class ModelChoice {
  constructor() {
    /** @type {Model[]} */
    this.models = [];
    this.prompt = byId("prompt");
    this.box = byId("models");
    /** @type {Provenance | null} */
    this.made = null; // how the report in sight was made
    /** @type {string | undefined} */
    this.before = undefined; // the default prompt of the model that was chosen before
    this.box.addEventListener("change", () => this.chosen());
    this.prompt.addEventListener("input", () => this.showPrompt());
    byId("prompt-reset").addEventListener("click", () => this.ask(this.model?.default_prompt ?? ""));
  }

  /** @param {Model[]} models the default one first */
  load(models) {
    this.models = models;
    this.box.replaceChildren(...models.map(({ alias, problem }) =>
      make("option", { value: alias, title: problem }, problem ? `${alias} (cannot be loaded)` : alias)));
    byId("models-label").hidden = models.length < 2;
    this.chosen();
  }

  /** @returns {Model | undefined} */
  get model() {
    return this.models[Math.max(0, this.box.selectedIndex)];
  }

  /** What a request names; null where there is no choice. */
  get wanted() {
    return this.models.length > 1 ? this.model?.alias ?? null : null;
  }

  /** The prompt of the model that was chosen before makes room for this one's; one that somebody wrote stays. */
  chosen() {
    const usual = this.model?.default_prompt ?? "";
    if (!this.prompt.value || this.prompt.value === this.before) this.prompt.value = usual;
    this.before = usual;
    this.showPrompt();
    this.showNotice();
  }

  /** @param {string} prompt */
  ask(prompt) {
    this.prompt.value = prompt;
    this.showPrompt();
  }

  /**
   * A report is in sight, or none. opened: it was not asked for here, and its model and prompt are taken up.
   * @param {Provenance | null} made
   * @param {boolean} [opened]
   */
  show(made, opened = false) {
    this.made = made;
    const index = this.models.findIndex(({ alias }) => alias === made?.alias);
    if (opened && index >= 0) {
      this.box.selectedIndex = index;
      this.before = this.model?.default_prompt;
    }
    if (made !== null && index >= 0) Object.assign(this.models[index], { loaded: true, problem: null });
    if (made !== null && opened) this.ask(made.prompt);
    this.showNotice();
  }

  showPrompt() {
    byId("prompt-reset").hidden = this.prompt.value === (this.model?.default_prompt ?? "");
  }

  showNotice() {
    const { made, model } = this;
    byId("notice").textContent = (made ?? model)?.notice || "";
    byId("model").textContent = made?.model_id ?? model?.id ?? "";
  }
}

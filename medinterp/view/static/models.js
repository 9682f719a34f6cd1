// Which model reads the next film; and in the banner the notice of the one whose report is in sight.

/** @import { Models, Provenance } from "./types" */

import { offerQuestions } from "./boxes.js";
import { byId, make } from "./dom.js";

/** @typedef {Models["models"][number]} Model */

export class ModelChoice {
  /** @param {import("./prompting.js").Prompting} prompting what the chosen model is asked */
  constructor(prompting) {
    this.prompting = prompting;
    /** @type {Model[]} */
    this.models = [];
    this.box = byId("models");
    /** @type {Provenance | null} */
    this.made = null; // how the report in sight was made
    this.box.addEventListener("change", () => this.chosen());
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

  chosen() {
    const { model } = this;
    if (model) {
      this.prompting.use(model);
      offerQuestions(model.box_question, (prompt) => this.prompting.put(prompt));
    }
    this.showNotice();
  }

  /**
   * A report is in sight, or none. opened: it was not asked for here, and its model is taken up.
   * @param {Provenance | null} made
   * @param {boolean} [opened]
   */
  show(made, opened = false) {
    this.made = made;
    const index = this.models.findIndex(({ alias }) => alias === made?.alias);
    if (opened && index >= 0) {
      this.box.selectedIndex = index;
      this.prompting.use(this.models[index]);
    }
    if (made !== null && index >= 0) Object.assign(this.models[index], { loaded: true, problem: null });
    this.showNotice();
  }

  showNotice() {
    const { made, model } = this;
    byId("notice").textContent = (made ?? model)?.notice || "";
    byId("model").textContent = made?.model_id ?? model?.id ?? "";
  }
}

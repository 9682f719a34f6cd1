// "Compare": the model is asked the same in other words, and of the film slightly changed. What came of it belongs to
// the report, and vanishes with it.

/** @import { AskedMethod, Explanation, Method, Perturbation } from "./types" */
/** @import { Api } from "./api.js" */

import { byId, make, words } from "./dom.js";
import { comparison } from "./comparison.js";
import { Question } from "./question.js";

const WRITTEN_ONLY = "This report was given: as a whole, only one that the model wrote is compared.";

/**
 * @param {string} group
 * @param {string} value
 * @param {string} title
 * @param {string} [note]
 */
function pick(group, value, title, note) {
  return make("label", {}, make("input", { type: "checkbox", name: `medinterp-${group}`, value }),
    make("span", {}, title, note ? make("span", { class: "mi-quiet" }, ` ${note}`) : null));
}

export class Comparing {
  /**
   * @param {Pick<Api, "compare">} api
   * @param {(error: unknown) => void} onProblem
   */
  constructor(api, onProblem) {
    this.api = api;
    this.onProblem = onProblem;
    /** @type {Explanation | null} */
    this.explanation = null;
    /** @type {Method[]} */
    this.methods = [];
    /** @type {Perturbation[]} */
    this.perturbations = [];
    /** @type {AskedMethod | null} */
    this.method = null; // whose maps are on the film
    this.picked = false; // the reader has chosen other maps than that one's
    this.form = byId("compare-form");
    this.button = byId("compare-run");
    this.question = new Question("comparing", () => this.stopped());
    this.form.after(this.question.node);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.button.disabled) this.compare();
    });
    this.form.addEventListener("input", () => this.check());
    byId("compare-maps").addEventListener("change", () => { this.picked = true; });
  }

  /**
   * Fill the lists with what the service offers.
   * @param {Method[]} methods
   * @param {Perturbation[]} perturbations
   */
  load(methods, perturbations) {
    this.methods = methods;
    this.perturbations = perturbations;
    byId("compare-films").append(...perturbations.map(({ name, meaning }) =>
      pick("perturbation", name, words(name), meaning)));
    for (const box of this.boxes("perturbation")) box.checked = true;
    byId("compare-maps").append(...methods.map((method) =>
      pick("compared-map", method.name, method.title + (method.on_model ? " *" : ""))));
    this.check();
  }

  /**
   * A report is there.
   * @param {Explanation} explanation
   */
  open(explanation) {
    this.explanation = explanation;
    this.check();
  }

  /** The report is gone. */
  close() {
    this.question.abandon();
    this.explanation = null;
    byId("comparison").replaceChildren();
    this.check();
  }

  /**
   * The method whose maps are on the film: until the reader picks others, its maps are compared.
   * @param {AskedMethod} method
   */
  follow(method) {
    this.method = method;
    if (this.picked) return;
    for (const box of this.boxes("compared-map")) box.checked = box.value === method.name;
    this.check();
  }

  /**
   * @param {string} group
   * @returns {HTMLInputElement[]}
   */
  boxes(group) {
    return [...this.form.querySelectorAll(`input[name="medinterp-${group}"]`)].filter((box) => box instanceof HTMLInputElement);
  }

  /** @param {string} group */
  chosen(group) {
    return this.boxes(group).filter((box) => box.checked).map((box) => box.value);
  }

  get ofReport() {
    return byId("compared-report").checked;
  }

  /** The request's body. */
  get asked() {
    const lines = [byId("question").value, ...byId("paraphrases").value.split("\n")];
    return {
      questions: this.ofReport ? [] : lines.map((line) => line.trim()).filter(Boolean),
      methods: this.chosen("compared-map"),
      perturbations: this.chosen("perturbation"),
    };
  }

  /** Say what would be asked, or what is missing. */
  check() {
    const { ofReport, asked } = this;
    byId("compare-questions").hidden = ofReport;
    const again = this.methods.some((method) => method.on_model && asked.methods.includes(method.name));
    const count = Math.max(asked.questions.length, 1) + asked.perturbations.length;
    let missing = "";
    if (this.explanation === null) missing = "Read a film first: it is asked about the film of a report.";
    else if (ofReport && this.explanation.provenance.given) missing = WRITTEN_ONLY;
    else if (ofReport && asked.perturbations.length === 0) missing = "Choose a changed film to compare the report with.";
    else if (!ofReport && !byId("question").value.trim()) missing = "Write a question.";
    const cost = ofReport ? `Has the model write ${count} reports.` : `Asks the model ${count} times.`;
    byId("compare-hint").textContent = missing || cost + (again ? " Maps marked * ask it again for each: slow." : "");
    this.button.disabled = missing !== "" || this.question.running !== null;
  }

  async compare() {
    const { explanation, asked } = this;
    if (explanation === null) return;
    const unit = asked.questions.length ? "answers" : "reports";
    const asking = this.question.ask({ what: "Comparing", unit }, (options) =>
      this.api.compare(explanation.id, asked, options));
    this.check();
    this.question.stop.focus(); // the button that had it is disabled
    try {
      const result = await asking;
      if (result === null) return;
      const nodes = comparison(result, { methods: this.methods, perturbations: this.perturbations });
      byId("comparison").replaceChildren(...nodes);
      nodes[0].scrollIntoView({ block: "start" });
      if (this.question.hadFocus) nodes[0].focus({ preventScroll: true });
    } catch (error) {
      this.onProblem(error);
    } finally {
      this.check();
    }
  }

  stopped() {
    this.check();
    this.button.focus();
  }
}

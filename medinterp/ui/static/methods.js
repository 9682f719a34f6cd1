// The choice of a method. Some are computed with the report; for the others the model is asked again, once they are
// chosen: until their maps are there, the method shown before stays on the film, under its own name.

import { byId, make } from "./dom.js";
import { Question } from "./question.js";

export class Methods {
  /** onShow(method) when another method is to be drawn; onStatus(text), onProblem(error) for the reader. */
  constructor(api, { onShow, onStatus, onProblem }) {
    this.api = api;
    this.onShow = onShow;
    this.onStatus = onStatus;
    this.onProblem = onProblem;
    this.list = [];
    this.explanation = null;
    this.shown = null; // the method whose maps are on the film; null without a report
    this.select = byId("method");
    this.select.addEventListener("change", () => this.changed());
    this.question = new Question("measuring", () => this.stopped());
    byId("method-note").after(this.question.node);
  }

  /** Fill the list with what the service offers. */
  load(list) {
    this.list = list;
    const group = (label, methods) => (methods.length === 0 ? null : make("optgroup", { label },
      ...methods.map((method) => make("option", { value: method.name }, method.title))));
    const asks = (method) => method.on_model && !method.default;
    this.select.replaceChildren(...[
      group("Computed with the report", list.filter((method) => !asks(method))),
      group("Asks the model again", list.filter(asks)),
    ].filter(Boolean));
    this.select.value = (list.find((method) => method.default) ?? list[0]).name;
    this.select.disabled = false;
    this.describe(this.chosen);
  }

  named(name) {
    return this.list.find((method) => method.name === name);
  }

  get chosen() {
    return this.named(this.select.value);
  }

  /** Names to send with a film: the service's own, and the chosen one if it is computed with the report. */
  get wanted() {
    const { chosen } = this;
    return this.list.filter((method) => method.default || (method === chosen && !method.on_model))
      .map((method) => method.name);
  }

  /** "Occlusion: 96 of 256 cells" for an event `progress` of a method. */
  progressText({ what, done, of }) {
    const method = this.named(what);
    return `${method ? method.title : what}: ${done} of ${of} ${unitOf(method)}`;
  }

  /** A report is there. `asking`: the chosen method may be asked of the model, if it was not computed. */
  open(explanation, asking) {
    this.explanation = explanation;
    const { chosen } = this;
    for (const option of this.select.options) {
      option.disabled = !this.isComputed(option.value) && !this.named(option.value).on_model;
    }
    if (this.isComputed(chosen.name)) {
      this.show(chosen);
      return;
    }
    this.show(this.named(explanation.methods[0]));
    if (asking && chosen.on_model) this.measure(chosen);
  }

  /** The report is gone: every method can be chosen again. */
  close() {
    this.question.abandon();
    this.explanation = null;
    this.shown = null;
    for (const option of this.select.options) option.disabled = false;
    if (this.chosen) this.describe(this.chosen);
  }

  isComputed(name) {
    return this.explanation.methods.includes(name);
  }

  changed() {
    const { chosen } = this;
    if (this.explanation === null) {
      this.describe(chosen);
      return;
    }
    this.question.abandon();
    if (this.isComputed(chosen.name)) this.show(chosen);
    else this.measure(chosen);
  }

  /** Have a method drawn. */
  show(method) {
    this.shown = method;
    this.select.value = method.name;
    this.describe(method);
    this.onShow(method);
  }

  /** Ask the model again for the maps of a method, which are kept with the report. */
  async measure(method) {
    const { explanation, shown } = this;
    this.select.value = method.name;
    byId("method-note").hidden = true;
    this.onStatus(`Asking the model again: ${method.title}.`);
    try {
      const maps = await this.question.ask(
        { what: method.title, unit: unitOf(method), note: `Until it is there, the maps are by ${shown.title}.` },
        (options) => this.api.measure(explanation.id, method.name, options),
      );
      if (maps === null) return;
      if (this.question.hadFocus) this.select.focus();
      explanation.methods = [...explanation.methods, method.name];
      this.onStatus(`${method.title} is there, and kept with the report.`);
      this.show(method);
    } catch (error) {
      this.onStatus(`${method.title} could not be computed.`);
      if (this.question.hadFocus) this.select.focus();
      this.goBack();
      this.onProblem(error);
    }
  }

  stopped() {
    this.onStatus(`Stopped: ${this.chosen.title} was not computed.`);
    this.goBack();
    this.select.focus();
  }

  /** To the method whose maps are on the film. */
  goBack() {
    this.select.value = this.shown.name;
    this.describe(this.shown);
  }

  describe({ meaning, citation, on_model: onModel, default: always }) {
    const later = onModel && !always && this.explanation === null ? " It is computed once the report is there." : "";
    byId("method-note").replaceChildren(`${meaning}${later} `, make("cite", {}, citation));
    byId("method-note").hidden = false;
  }
}

/** What a method counts while it runs: occlusion hides cells, the others go from token to token. */
function unitOf(method) {
  return method?.family === "perturbation" ? "cells" : "tokens";
}

// "Is this map true?": the model is asked again with parts of the film replaced. The judgement of a selection by a
// method is remembered for as long as the report is on the page, and vanishes with it.

import { wordsOf } from "./asked.js";
import { byId, make } from "./dom.js";
import { Question } from "./question.js";
import { selectedWords } from "./report.js";
import { judgement } from "./verdict.js";

export class Judging {
  constructor(api, onProblem) {
    this.api = api;
    this.onProblem = onProblem;
    this.known = new WeakMap(); // report -> Map of key -> judgement; what the page forgets is forgotten here
    this.explanation = null;
    this.key = null; // of the selection and the method that are on the screen
    this.drawn = null; // what the nodes below show
    this.question = new Question("judging", () => this.stopped());
    this.button = make("button", { type: "button", class: "mi-button mi-small", id: "medinterp-judge" }, "Is this map true?");
    this.button.addEventListener("click", () => this.judge());
    this.hint = make("p", { class: "mi-quiet" }, "Asks the model again, with parts of the film replaced.");
    this.idle = make("div", { class: "mi-judge-row" }, this.button, this.hint);
    this.verdict = make("div", { id: "medinterp-verdict", class: "mi-verdict", role: "status", tabindex: "-1", hidden: true });
    this.numbers = make("div", { id: "medinterp-judgement", "aria-live": "off", hidden: true });
    this.node = make("section", { class: "mi-judging", "aria-label": "Is this map true?" },
      this.idle, this.question.node, this.verdict, this.numbers);
  }

  /** Show what is known of a selection by a method; another one ends the judgement that is being asked for. */
  show(explanation, selection, method) {
    const key = JSON.stringify([wordsOf(selection), method.name, method.options]);
    if (key !== this.key || explanation !== this.explanation) {
      this.question.abandon();
      this.explanation = explanation;
      this.selection = selection;
      this.method = method;
      this.key = key;
    }
    this.render();
  }

  /** Nothing is selected. */
  leave() {
    this.question.abandon();
    this.explanation = this.key = this.drawn = null;
    this.verdict.replaceChildren();
    this.numbers.replaceChildren();
  }

  render() {
    const result = this.known.get(this.explanation)?.get(this.key);
    this.idle.hidden = result !== undefined || this.question.running !== null;
    this.verdict.hidden = this.numbers.hidden = result === undefined;
    const sinksHidden = byId("sinks").checked;
    if (result === this.drawn?.result && sinksHidden === this.drawn?.sinksHidden) return; // not to be read out twice
    this.drawn = { result, sinksHidden };
    const { verdict, numbers } = result === undefined ? { verdict: [], numbers: [] } : judgement(result, {
      one: selectedWords(this.selection, this.explanation.report).length === 1,
      method: this.method.title,
      sinksHidden,
    });
    this.verdict.replaceChildren(...verdict);
    this.numbers.replaceChildren(...numbers);
    this.verdict.dataset.verdict = result === undefined ? "" : result.verdict;
  }

  async judge() {
    const { explanation, key, selection, method } = this;
    const asking = this.question.ask({ what: "Judging this map", unit: "altered films" }, (options) =>
      this.api.judge(explanation.id, { ...wordsOf(selection), method: method.name }, options));
    this.render();
    this.question.stop.focus(); // the button that had it is gone
    try {
      const result = await asking;
      if (result === null) return;
      if (!this.known.has(explanation)) this.known.set(explanation, new Map());
      this.known.get(explanation).set(key, result);
      this.render();
      if (this.question.hadFocus) this.verdict.focus();
    } catch (error) {
      this.render();
      if (this.question.hadFocus) this.button.focus();
      this.onProblem(error);
    }
  }

  stopped() {
    this.render();
    this.button.focus();
  }
}

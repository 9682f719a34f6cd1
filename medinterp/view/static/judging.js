// "Is this map true?": the model is asked again with parts of the film replaced. The judgement of a selection by a
// method is remembered for as long as the report is on the page, and vanishes with it.

/** @import { AskedMethod, Explanation, Judgement, Selection } from "./types" */
/** @import { Api } from "./api.js" */

import { wordsOf } from "./asked.js";
import { byId, make } from "./dom.js";
import { Question } from "./question.js";
import { selectedWords } from "./report.js";
import { judgement } from "./verdict.js";

export class Judging {
  /**
   * @param {Pick<Api, "judge">} api
   * @param {(error: unknown) => void} onProblem
   */
  constructor(api, onProblem) {
    this.api = api;
    this.onProblem = onProblem;
    /** @type {WeakMap<Explanation, Map<string, Judgement>>} */
    this.known = new WeakMap(); // judgements by key; what the page forgets is forgotten here
    /** @type {{ explanation: Explanation, selection: Selection, method: AskedMethod, image: number } | null} */
    this.about = null; // what can be judged
    this.key = ""; // of the selection and the method that are on the screen
    /** @type {{ result: Judgement | undefined, sinksHidden: boolean } | null} */
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

  /**
   * Show what is known of a selection by a method; another one ends the judgement that is being asked for.
   * @param {Explanation} explanation
   * @param {Selection} selection
   * @param {AskedMethod} method
   * @param {number} image the film that is looked at: the map on it is judged
   */
  show(explanation, selection, method, image) {
    const key = JSON.stringify([wordsOf(selection), method.name, method.options, image]);
    if (key !== this.key || explanation !== this.about?.explanation) {
      this.question.abandon();
      this.about = { explanation, selection, method, image };
      this.key = key;
    }
    this.render();
  }

  /** Nothing is selected. */
  leave() {
    this.question.abandon();
    this.about = this.drawn = null;
    this.key = "";
    this.verdict.replaceChildren();
    this.numbers.replaceChildren();
  }

  render() {
    const { about } = this;
    const result = about === null ? undefined : this.known.get(about.explanation)?.get(this.key);
    this.idle.hidden = result !== undefined || this.question.running !== null;
    this.verdict.hidden = this.numbers.hidden = result === undefined;
    const sinksHidden = byId("sinks").checked;
    if (result === this.drawn?.result && sinksHidden === this.drawn?.sinksHidden) return; // not to be read out twice
    this.drawn = { result, sinksHidden };
    const { verdict, numbers } = result === undefined || about === null ? { verdict: [], numbers: [] } : judgement(result, {
      one: selectedWords(about.selection, about.explanation.report).length === 1,
      method: about.method.title,
      sinksHidden,
    });
    this.verdict.replaceChildren(...verdict);
    this.numbers.replaceChildren(...numbers);
    this.verdict.dataset.verdict = result === undefined ? "" : result.verdict;
  }

  async judge() {
    const { about, key } = this;
    if (about === null) return;
    const { explanation, selection, method, image } = about;
    const asking = this.question.ask({ what: "Judging this map", unit: "altered films" }, (options) =>
      this.api.judge(explanation.id, { ...wordsOf(selection), method: method.name, ...(image ? { image } : {}) }, options));
    this.render();
    this.question.stop.focus(); // the button that had it is gone
    try {
      const result = await asking;
      if (result === null) return;
      this.known.set(explanation, (this.known.get(explanation) ?? new Map()).set(key, result));
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

// A question about the selection whose answer is remembered for as long as the report is on the page: what a view of
// the drawer shows once the reader has asked.

/** @import { Asking, Explanation, Selection } from "./types" */

import { make } from "./dom.js";
import { Question } from "./question.js";

/**
 * The request's own words for a selection.
 * @param {Selection} selection
 * @returns {{ words?: string, finding?: number }}
 */
export function wordsOf(selection) {
  return selection.kind === "finding" ? { finding: selection.index } : { words: `${selection.first}-${selection.last}` };
}

/** @template Answer */
export class Asked {
  /**
   * @param {HTMLElement} host the drawer's view
   * @param {{ name: string, title: string, hint: string, button: string, unit: string }} told name: of the ids; title,
   *   hint, button: what is said before; unit: what is counted
   * @param {{
   *   ask: (id: string, body: { words?: string, finding?: number }, options: Asking) => Promise<Answer>,
   *   show: (answer: Answer) => Node[],
   *   onShow: (answer: Answer | null) => void,
   *   onProblem: (error: unknown) => void,
   * }} does show: the nodes of an answer; onShow: another one is seen
   */
  constructor(host, { name, title, hint, button, unit }, { ask, show, onShow, onProblem }) {
    this.title = title;
    this.unit = unit;
    this.ask = ask;
    this.showAnswer = show;
    this.onShow = onShow;
    this.onProblem = onProblem;
    /** @type {WeakMap<Explanation, Map<string, Answer>>} */
    this.known = new WeakMap(); // answers by key
    /** @type {Explanation | null} */
    this.explanation = null;
    /** @type {string | null} */
    this.key = null;
    /** @type {{ words?: string, finding?: number }} */
    this.body = {};
    /** @type {Answer | null} */
    this.drawn = null;
    this.question = new Question(name, () => this.stopped());
    this.button = make("button", { type: "button", class: "mi-button mi-small", id: `medinterp-${name}-ask` }, button);
    this.button.addEventListener("click", () => this.run());
    this.hint = make("p", { class: "mi-quiet" }, hint);
    this.idle = make("div", { class: "mi-judge-row" }, this.button, this.hint);
    this.none = make("p", { class: "mi-hint" }, "Choose a word or a finding first.");
    this.answer = make("div", { id: `medinterp-${name}-answer` });
    this.head = make("h2", {}, title);
    host.replaceChildren(this.head, this.none, this.idle, this.question.node, this.answer);
    this.render();
  }

  /**
   * What is selected now: { explanation, selection, extra }, extra: more of the request's body; null for nothing.
   * @param {{ explanation: Explanation, selection: Selection, extra: object } | null} asked
   */
  open(asked) {
    const key = asked && JSON.stringify([wordsOf(asked.selection), asked.extra]);
    if (key !== this.key || (asked?.explanation ?? null) !== this.explanation) {
      this.question.abandon();
      this.explanation = asked?.explanation ?? null;
      this.body = asked === null ? {} : { ...wordsOf(asked.selection), ...asked.extra };
      this.key = key;
    }
    this.render();
  }

  get result() {
    return this.explanation === null || this.key === null ? null : this.known.get(this.explanation)?.get(this.key) ?? null;
  }

  render() {
    const { result } = this;
    this.none.hidden = this.key !== null;
    this.idle.hidden = this.key === null || result !== null || this.question.running !== null;
    if (result === this.drawn) return;
    this.drawn = result;
    this.answer.replaceChildren(...(result === null ? [] : this.showAnswer(result)));
    this.onShow(result);
  }

  async run() {
    const { explanation, key, body } = this;
    if (explanation === null || key === null) return;
    const asking = this.question.ask({ what: this.title, unit: this.unit }, (options) => this.ask(explanation.id, body, options));
    this.render();
    this.question.stop.focus(); // the button that had it is gone
    try {
      const result = await asking;
      if (result === null) return;
      this.known.set(explanation, (this.known.get(explanation) ?? new Map()).set(key, result));
      this.render();
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

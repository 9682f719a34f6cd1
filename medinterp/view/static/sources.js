// "From the text": which words of the prompt and of the report so far drove the selection, and the film's share against
// the text's, by attention and by the gradient of the words' embeddings.

/** @import { Explanation, Given, GuestTint, Report, Selection, TextSources as Answer } from "./types" */
/** @import { Api } from "./api.js" */

import { Asked } from "./asked.js";
import { byId, closest, compact, make, percent } from "./dom.js";

const LISTED = 12;
const MEASURES = {
  attention: { title: "Attention", says: "Where the model looked, mean over layers and heads; it sums to 100 %." },
  gradient: { title: "Gradient",
    says: "Gradient × embedding: by how many nats each word made the selection likelier, to first order; minus speaks against. For words that the model is sure of it is small and says little." },
};

/** @type {(keyof typeof MEASURES)[]} */
const NAMES = ["attention", "gradient"];

export class TextSources {
  /**
   * @param {Pick<Api, "textSources">} api
   * @param {{ onTint: (tint: GuestTint | null) => void, onWord: (index: number) => void, onProblem: (error: unknown) => void }}
   *   does onTint: the report's words are to be tinted by it; onWord: one of them is chosen
   */
  constructor(api, { onTint, onWord, onProblem }) {
    this.onTint = onTint;
    this.onWord = onWord;
    /** @type {"attention" | "gradient"} */
    this.measure = "attention";
    /** @type {Report | null} */
    this.report = null;
    this.prompt = "";
    /** @type {Asked<Answer>} */
    this.asked = new Asked(byId("text"), {
      name: "sources", title: "Which words drove it?", button: "Ask the model", unit: "steps",
      hint: "One more pass over the same report: what of the prompt and of the report so far the selection came from, and how much the film had in it.",
    }, {
      ask: (id, body, options) => api.textSources(id, body, options),
      show: (answer) => this.nodes(answer),
      onShow: () => this.tint(),
      onProblem,
    });
    byId("text").addEventListener("click", (event) => {
      const row = closest(event, "[data-source]");
      if (row) this.onWord(Number(row.dataset.source));
    });
  }

  /**
   * @param {Explanation | null} explanation
   * @param {Selection | null} selection
   */
  open(explanation, selection) {
    this.report = explanation?.report ?? null;
    this.prompt = explanation?.provenance.prompt ?? "";
    this.asked.open(explanation && selection ? { explanation, selection, extra: {} } : null);
  }

  /** The report's words by what they gave. */
  tint() {
    const { result } = this.asked;
    if (result === null || this.report === null) {
      this.onTint(null);
      return;
    }
    const values = result.report.map((word) => Math.abs(word[this.measure])); // gradients saturate: what is near 0 for all has no sign worth a colour
    const top = Math.max(1e-12, ...values, ...result.prompt.map((word) => Math.abs(word[this.measure])));
    const strengths = new Array(this.report.words.length).fill(0);
    for (const [at, { index }] of result.report.entries()) strengths[index] = Math.sqrt(values[at] / top);
    this.onTint({ title: "From the text", strengths, legend: ["0", this.number(top)] });
  }

  /** @param {number} value */
  number(value) {
    return this.measure === "attention" ? percent(value) : `${value < 0 ? "−" : "+"}${compact(Math.abs(value))}`;
  }

  /**
   * @param {Answer} answer
   * @returns {Node[]}
   */
  nodes(answer) {
    const content = make("div");
    const choice = make("div", { class: "mi-segments", role: "radiogroup", "aria-label": "Measure" },
      ...NAMES.map((name) => {
        const input = make("input", { type: "radio", name: "medinterp-measure", value: name, id: `medinterp-measure-${name}` });
        input.checked = name === this.measure;
        input.addEventListener("change", () => {
          this.measure = name;
          content.replaceChildren(...this.content(answer));
          this.tint();
        });
        return make("label", {}, input, make("span", {}, MEASURES[name].title));
      }));
    content.replaceChildren(...this.content(answer));
    return [choice, content];
  }

  /** @param {Answer} answer */
  content(answer) {
    const { measure, report } = this;
    const sum = (/** @type {Given[]} */ words) => words.reduce((total, word) => total + word[measure], 0);
    /** @type {[string, number][]} */
    const shares = [
      ["The film", answer.film[measure]],
      ["The prompt", sum(answer.prompt)],
      ["The report so far", sum(answer.report)],
      ["Punctuation and line ends", answer.punctuation[measure]],
      ["Turns and control tokens", answer.template[measure]],
    ];
    if (measure === "attention") shares.push(["The first token (a sink)", answer.first_token.attention]);
    const most = Math.max(1e-9, ...shares.map(([, value]) => Math.abs(value)));
    const bar = (/** @type {string | Node} */ label, /** @type {number} */ value, /** @type {number} */ top) => {
      const row = make("li", { class: value < 0 ? "mi-against" : false }, label, make("span", { class: "mi-bar-value" }, this.number(value)));
      row.style.setProperty("--mi-share", Math.min(1, Math.abs(value) / top).toFixed(4));
      return row;
    };
    const words = [
      ...answer.report.map((word) => ({ ...word, text: report?.words[word.index].text ?? "", where: "report" })),
      ...answer.prompt.map((word) => ({ ...word, index: -1, where: "prompt" })),
    ].sort((one, other) => Math.abs(other[measure]) - Math.abs(one[measure])).slice(0, LISTED);
    const top = Math.max(1e-9, ...words.map((word) => Math.abs(word[measure])));
    return [
      make("p", { class: "mi-quiet" }, MEASURES[measure].says),
      make("ul", { class: "mi-bars", id: "medinterp-shares" }, ...shares.map(([label, value]) => bar(label, value, most))),
      make("h3", {}, "The strongest words"),
      make("ol", { class: "mi-bars" }, ...words.map((word) => bar(word.where === "report"
        ? make("button", { type: "button", class: "mi-link", "data-source": word.index }, word.text)
        : make("span", {}, word.text, make("span", { class: "mi-quiet" }, " of the prompt")), word[measure], top))),
      make("h3", {}, "The prompt"),
      make("p", { class: "mi-prompt-text", id: "medinterp-prompt-sources" }, ...this.promptNodes(answer, top)),
    ];
  }

  /**
   * The prompt with its words tinted.
   * @param {Pick<Answer, "prompt">} answer
   * @param {number} top
   */
  promptNodes({ prompt }, top) {
    const points = Array.from(this.prompt);
    const nodes = [];
    let at = 0;
    for (const word of prompt) {
      nodes.push(points.slice(at, word.start).join(""));
      const node = make("span", { class: "mi-tinted", title: this.number(word[this.measure]) }, points.slice(word.start, word.end).join(""));
      node.style.setProperty("--mi-tint", (0.4 * Math.sqrt(Math.min(1, Math.abs(word[this.measure]) / top))).toFixed(3));
      nodes.push(node);
      at = word.end;
    }
    return [...nodes, points.slice(at).join("")];
  }
}

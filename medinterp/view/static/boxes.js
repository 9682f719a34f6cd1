// Boxes that the answer draws on the film: labelled frames over it, a chip each above the report, and at a click whether
// each lies where the model looked ("says here, looked there").

/** @import { BoxVerdict, DrawnBox, Explanation, Place, WordSelection } from "./types" */
/** @import { Api } from "./api.js" */
/** @import { Viewer } from "./viewer.js" */

import { byId, make, percent } from "./dom.js";
import { Question } from "./question.js";
import { likelihood } from "./verdict.js";

const FINDINGS = ["nodule", "consolidation", "atelectasis", "pleural effusion", "pneumothorax", "cardiomegaly", "rib fracture",
  "tube", "pacemaker"];

/**
 * Offer the questions "Where is the ...?" beside the prompt; question: with {finding} in it, as the model knows it.
 * @param {string} question
 * @param {(prompt: string) => void} onPrompt
 */
export function offerQuestions(question, onPrompt) {
  const chooser = byId("where");
  chooser.replaceChildren(make("option", { value: "" }, "Where is …?"), ...FINDINGS.map((name) => make("option", { value: name }, name)));
  chooser.onchange = () => {
    if (chooser.value) onPrompt(question.replace("{finding}", chooser.value));
    chooser.selectedIndex = 0;
  };
}

/**
 * The words of a box and what stands between them.
 * @param {DrawnBox} box
 * @returns {WordSelection | null}
 */
function wordsOfBox({ word_indices: indices }) {
  return indices.length ? { kind: "words", first: Math.min(...indices), last: Math.max(...indices) } : null;
}

export class Boxes {
  /**
   * @param {Pick<Api, "judgeBoxes"> | null} api null in a file, which has nobody to ask
   * @param {Viewer} viewer
   * @param {{ onSelect: (selection: WordSelection) => void, onProblem: (error: unknown) => void }} does
   */
  constructor(api, viewer, { onSelect, onProblem }) {
    this.api = api;
    this.onSelect = onSelect;
    this.onProblem = onProblem;
    /** @type {Explanation | null} */
    this.explanation = null;
    this.layer = byId("boxes");
    this.host = byId("box-list");
    this.question = new Question("box-judging", () => this.render());
    viewer.view.onPlace((place) => this.follow(place));
    // Keys of the film are not those of a box on it.
    this.layer.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") event.stopPropagation();
    });
  }

  /** @param {Explanation | null} explanation */
  open(explanation) {
    this.question.abandon();
    this.explanation = explanation;
    this.showImage(0);
    this.render();
  }

  /**
   * Boxes are on the film, not on a prior one.
   * @param {number} image
   */
  showImage(image) {
    this.layer.hidden = image !== 0 || !this.explanation?.report.boxes.length;
  }

  /**
   * The frames lie on the film.
   * @param {Place} place
   */
  follow({ left, top, width, height }) {
    Object.assign(this.layer.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
  }

  /** @param {number[]} words that are selected */
  mark(words) {
    for (const node of document.querySelectorAll("[data-box-index]")) {
      const box = this.explanation?.report.boxes[Number(node.getAttribute("data-box-index"))];
      node.setAttribute("aria-pressed", String(Boolean(box?.word_indices.some((index) => words.includes(index)))));
    }
  }

  render() {
    const { explanation } = this;
    const { boxes = [], box_notes: notes = [] } = explanation?.report ?? {};
    this.host.hidden = !boxes.length && !notes.length;
    const verdicts = new Map((explanation?.box_verdicts ?? []).map((one) => [one.index, one]));
    const button = (/** @type {DrawnBox} */ box, /** @type {string} */ kind) => {
      const verdict = verdicts.get(box.index)?.verdict;
      const node = make("button", { type: "button", class: kind, "data-box-index": box.index, "data-verdict": verdict ?? "",
        "aria-pressed": "false", title: box.flaws.join(" ") || null }, make("span", {}, box.label || `Box ${box.index + 1}`));
      node.addEventListener("click", () => {
        const words = wordsOfBox(box);
        if (words !== null) this.onSelect(words);
      });
      return node;
    };
    this.layer.replaceChildren(...boxes.map((box) => {
      const frame = button(box, "mi-box");
      frame.setAttribute("aria-label", `Box on the film: ${box.label || box.index + 1}`);
      Object.assign(frame.style, { left: `${100 * box.left}%`, top: `${100 * box.top}%`, width: `${100 * (box.right - box.left)}%`,
        height: `${100 * (box.bottom - box.top)}%` });
      return frame;
    }));
    const ask = make("button", { type: "button", class: "mi-button mi-small", id: "medinterp-judge-boxes",
      hidden: this.api === null || !boxes.length || verdicts.size > 0 || this.question.running !== null }, "Did it look there?");
    ask.addEventListener("click", () => this.judge());
    this.host.replaceChildren(
      ...boxes.map((box) => make("div", { class: "mi-box-row" }, button(box, "mi-chip mi-box-chip"), ...told(verdicts.get(box.index)))),
      ...[...boxes.flatMap(({ flaws }) => flaws), ...notes].map((text) => make("p", { class: "mi-quiet mi-box-note" }, text)),
      ask, this.question.node,
    );
  }

  async judge() {
    const { explanation, api } = this;
    if (explanation === null || api === null) return;
    const asking = this.question.ask({ what: "Where the model looked", unit: "altered films" },
      (options) => api.judgeBoxes(explanation.id, options));
    this.render();
    try {
      const answer = await asking;
      if (answer === null || explanation !== this.explanation) return;
      explanation.box_verdicts = answer.boxes;
    } catch (error) {
      this.onProblem(error);
    }
    this.render();
  }
}

/** @param {BoxVerdict | undefined} verdict */
function told(verdict) {
  if (verdict === undefined) return [];
  const { own, finding, verdict: kind, sentence } = verdict;
  const numbers = [`IoU ${own.iou.toFixed(2)} of box and map, ${percent(own.share)} of the map in and just round the box; with another film ${likelihood(own.reliance)}.`];
  if (finding) numbers.push(`The finding's other words: IoU ${finding.iou.toFixed(2)}, ${percent(finding.share)}.`);
  return [make("p", { class: "mi-box-verdict", "data-verdict": kind }, sentence), make("p", { class: "mi-quiet" }, numbers.join(" "))];
}

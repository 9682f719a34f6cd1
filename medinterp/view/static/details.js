// What is known of the selected word: probability, the tokens that wrote it, what else could have
// stood there, and how much of the attention was on the film.

/** @import { Report, Selection, Slicer, Token } from "./types" */

import { byId, make, nats, percent, slicer } from "./dom.js";
import { entries, findingTitle, statementOf } from "./findings.js";
import { selectedWords } from "./report.js";
import { isThought, unmarked } from "./thinking.js";
import { RARE } from "./unlikely.js";

/**
 * A token's text with its white space made visible.
 * @param {string} text
 */
function shown(text) {
  return text.replaceAll("\n", "⏎").replaceAll(" ", "␣") || "(no text)";
}

/**
 * @param {string} name
 * @param {string} value
 * @param {string} title
 */
function fact(name, value, title) {
  return [make("dt", { title }, name), make("dd", {}, value)];
}

/**
 * @param {number} probability
 * @param {string} text
 * @param {boolean} chosen
 */
function bar(probability, text, chosen) {
  const row = make("li", { class: chosen ? "mi-chosen" : false },
    make("code", {}, shown(text)), make("span", { class: "mi-bar-value" }, percent(probability)));
  row.style.setProperty("--mi-share", probability.toFixed(4));
  return row;
}

/**
 * The likeliest tokens, the written one marked; it stands apart when it was none of them.
 * @param {Token} token
 * @param {Slicer} slice
 */
function tokenNode(token, slice) {
  const written = slice(token.start, token.end);
  const rows = token.alternatives.map((other) =>
    bar(Math.exp(other.logprob), other.text, other.text === written));
  if (!token.alternatives.some((other) => other.text === written)) {
    rows.unshift(bar(Math.exp(token.logprob), written, true));
    rows[0].classList.add("mi-apart");
  }
  return make("ol", { class: "mi-bars", "aria-label": `What could have stood for ${shown(written)}` }, ...rows);
}

export class Details {
  /** @param {HTMLElement} judging the node of "Is this map true?"; it stays in its place, so that the focus in it is kept */
  constructor(judging) {
    this.host = byId("details");
    this.head = make("div");
    this.rest = make("div");
    this.judging = judging;
    this.host.replaceChildren(this.head, judging, this.rest);
    this.clear();
  }

  /** @param {string} text */
  hint(text) {
    this.clear();
    this.head.replaceChildren(make("p", { class: "mi-hint" }, text));
  }

  clear() {
    this.judging.hidden = true;
    this.head.replaceChildren();
    this.rest.replaceChildren();
  }

  invite() {
    this.hint("Choose a word or a finding to see its map on the film. Drag over words for a phrase, "
      + "double-click for a sentence; with the keyboard, arrow keys go from word to word.");
  }

  /**
   * Show a selection of a report; `notes` are the method's.
   * @param {Selection} selection
   * @param {Report} report
   * @param {string[]} notes
   */
  show(selection, report, notes) {
    const words = selectedWords(selection, report).map((index) => report.words[index]);
    const indices = [...new Set(words.flatMap((word) => word.token_indices))].sort((a, b) => a - b);
    const tokens = indices.map((index) => report.tokens[index]);
    const logprob = tokens.reduce((sum, token) => sum + token.logprob, 0);
    // A mean over tokens, as the word's own: each word counts with the tokens that wrote it.
    const count = words.reduce((sum, word) => sum + word.token_indices.length, 0);
    const mass = words.reduce((sum, word) => sum + word.image_mass * word.token_indices.length, 0) / count;

    const first = words[0];
    const last = words[words.length - 1];
    const slice = slicer(report.text);
    const quoted = unmarked(slice(first.start, last.end));
    const unlikely = words.filter((word) => word.unlikely).map(({ text }) => `“${text}”`).join(", ");
    const which = words.length > 1 ? `${unlikely}: ` : "";
    const told = selection.kind === "finding" ? statementOf(report, selection.index) : null;
    const title = told ? told.title : `“${quoted}”`;
    const section = (told ?? first).section ?? (isThought(report, first) ? "what the model thought" : null);
    const entry = told && entries(report).find((one) => one.told.some((other) => other.findings[0] === told.findings[0]));
    const again = entry ? entry.told.filter((other) => other.findings[0] !== told.findings[0]).map((other) => other.section).filter(Boolean) : [];
    const more = [section ? `in ${section}` : "", again.length ? `said again in ${again.join(" and ")}` : "", told?.hedge]
      .filter(Boolean).join(", ");

    const stated = told ? [] : report.findings.filter((finding) => finding.word_indices.some((index) => words.some((word) => word.index === index)));
    this.judging.hidden = false;
    this.head.replaceChildren(
      make("h2", { id: "medinterp-word" }, title,
        more ? make("span", { class: "mi-quiet" }, ` ${more}`) : null),
      make("dl", { class: "mi-facts" },
        ...fact("Probability of the word" + (words.length > 1 ? "s" : ""), percent(Math.exp(logprob)),
          `How likely the model was to write it here, not how likely it is to be true. log p = ${logprob.toFixed(3)} nats, the sum over ${tokens.length} token(s)`),
        ...(stated.length ? fact("States", [...new Set(stated.map(findingTitle))].join("; "),
          "The finding whose name the selection is a part of") : []),
        ...(unlikely ? fact("Unlikely", which + RARE, "A token of the word had less, at its place") : []),
        ...(words.length === 1 && first.reliance != null ? fact("Reliance on the film", `${nats(-first.reliance)} nats with another film`,
          "The largest change of its log-probability when another film stands in this one's place") : []),
        ...fact("Attention on the film", percent(mass),
          "Mean over the word's tokens, all layers and all heads")),
    );
    this.rest.replaceChildren(
      make("h3", {}, tokens.length === 1 ? "Its token, and what else could have stood here"
        : `Its ${tokens.length} tokens, and what else could have stood there`),
      make("div", { class: "mi-tokens" }, ...tokens.map((token) => tokenNode(token, slice))),
    );
    if (notes.length) {
      this.rest.append(make("h3", {}, "About this map"),
        make("ul", { class: "mi-notes" }, ...notes.map((note) => make("li", {}, note))));
    }
  }
}

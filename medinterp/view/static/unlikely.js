// Words that the model would hardly have written: a wavy line of their own under what else marks them.

/** @import { Report, Word } from "./types" */

import { byId, make } from "./dom.js";
import { isThought } from "./thinking.js";

export const RARE = "less than 1 in 1,000";
const GAVE = `the model gave this word ${RARE}`;

/**
 * What is said of a word when it is pointed at, or "".
 * @param {Pick<Word, "unlikely">} word
 */
export function unlikelihood({ unlikely }) {
  return unlikely ? `Unlikely: ${GAVE}` : "";
}

/**
 * A word's text, with its wavy line.
 * @param {Pick<Word, "text" | "unlikely">} word
 */
export function wavy({ text, unlikely }) {
  return unlikely ? make("span", { class: "mi-unlikely" }, text) : text;
}

/**
 * Say what the line means, where there is one.
 * @param {Pick<Report, "words">} report
 */
export function showUnlikely({ words }) {
  const line = byId("unlikely");
  line.hidden = !words.some(({ unlikely }) => unlikely);
  line.replaceChildren(...(line.hidden ? [] : [make("span", { class: "mi-unlikely" }, "Wavy"), `: ${GAVE}.`]));
}

/**
 * "Read: 41 words.", or of a report that was given "Explained: 41 words; 2 of them the model would hardly write."
 * @param {Report} report
 * @param {boolean} given
 */
export function summary(report, given) {
  const words = report.words.filter((word) => !isThought(report, word));
  const count = `${words.length} word${words.length === 1 ? "" : "s"}`;
  if (!given) return `Read: ${count}.`;
  const unlikely = words.filter((word) => word.unlikely).length;
  return `Explained: ${count}; ${unlikely ? `${unlikely} of them the model would hardly write` : "none of them unlikely"}.`;
}

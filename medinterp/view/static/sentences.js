// Sentences that were not understood: underlined with dots, and counted beside the others.

/** @import { Sentence } from "./types" */

import { byId, make } from "./dom.js";

const UNREAD = "Not understood: no finding was taken from this sentence";

/**
 * Nodes of text[start:end] by run(start, end), with what is unread underlined.
 * @param {Sentence[]} sentences
 * @param {number} start
 * @param {number} end
 * @param {(start: number, end: number) => Node[]} run
 */
export function underlined(sentences, start, end, run) {
  /** @type {Node[]} */
  const nodes = [];
  let at = start;
  for (const sentence of sentences) {
    const from = Math.max(at, sentence.start);
    const to = Math.min(end, sentence.end);
    if (sentence.reading !== "unread" || from >= to) continue;
    nodes.push(...run(at, from), make("span", { class: "mi-unread", title: UNREAD }, ...run(from, to)));
    at = to;
  }
  return [...nodes, ...run(at, end)];
}

/**
 * "9 sentences read, 2 not about findings, 1 unread"
 * @param {Pick<Sentence, "reading">[]} sentences
 */
function counts(sentences) {
  const count = (/** @type {Sentence["reading"]} */ reading) => sentences.filter((sentence) => sentence.reading === reading).length;
  const [read, other, unread] = [count("read"), count("other"), count("unread")];
  return [`${read} sentence${read === 1 ? "" : "s"} read`, other ? `${other} not about findings` : "", `${unread} unread`]
    .filter(Boolean).join(", ");
}

/**
 * Say what the dots mean, where there are any.
 * @param {Sentence[]} sentences
 */
export function showReading(sentences) {
  const line = byId("sentences");
  line.hidden = !sentences.some((sentence) => sentence.reading === "unread");
  line.replaceChildren(...(line.hidden ? [] : [
    make("span", { class: "mi-unread" }, "Dotted"), `: not understood, no finding was taken from it. ${counts(sentences)}.`]));
}

// What a model thinks before it answers, between marks of its own. It is not the report, and is not shown as if it was.

/** @import { Placed, Report, Slicer, Span } from "./types" */

import { make, slicer } from "./dom.js";

const MARKS = [["<unused94>", "<unused95>"], ["<|channel>", "<channel|>"], ["<think>", "</think>"]]; // of MedGemma 1.5, of Gemma 4, and of Qwen3-VL
const KIND = "thought"; // stands behind an opening mark

const [OPENING, CLOSING] = [0, 1].map((at) => MARKS.map((pair) => pair[at].replace("|", "\\|")).join("|"));
const BEGIN = `(?:${OPENING})(?:${KIND}\\b)?`;
const THOUGHT = new RegExp(`${BEGIN}([^]*?)(${CLOSING}|$)`, "g");

/**
 * The text without the start of a mark at its very end, whose rest may yet come.
 * @param {string} text
 */
function withoutHalfMark(text) {
  const from = text.lastIndexOf("<");
  const rest = from < 0 ? "" : text.slice(from);
  return rest && MARKS.flat().some((mark) => mark.startsWith(rest) && mark !== rest) ? text.slice(0, from) : text;
}

/**
 * Text that may end anywhere as [{ text, thought }], the marks left out; the last one is what is being written.
 * @param {string} text
 */
export function parted(text) {
  const whole = withoutHalfMark(text);
  const parts = [];
  let at = 0;
  for (const { 0: block, 1: body, 2: closing, index } of whole.matchAll(THOUGHT)) {
    parts.push({ text: whole.slice(at, index), thought: false });
    parts.push({ text: KIND.startsWith(body) ? "" : body.trimStart(), thought: true });
    if (!closing) return parts;
    at = index + block.length;
  }
  const rest = whole.slice(at);
  return [...parts, { text: at ? rest.trimStart() : rest, thought: false }];
}

/**
 * What of a text is no thought.
 * @param {string} text
 */
export function spoken(text) {
  return parted(text).filter(({ thought }) => !thought).map((part) => part.text).join("");
}

/**
 * Text of the report with a dash for each mark that stands in it.
 * @param {string} text
 */
export function unmarked(text) {
  return text.replaceAll(new RegExp(`\\s*(?:${BEGIN}|${CLOSING})\\s*`, "g"), " – ").replace(/^ – | – $/g, "");
}

/**
 * [start, end] of what stands between the marks of a thought.
 * @param {Placed} thought
 * @param {Slicer} slice
 * @returns {Span}
 */
export function withinMarks({ start, end }, slice) {
  const text = slice(start, end);
  const from = start + text.length - text.replace(new RegExp(`^(?:${BEGIN})?\\s*`), "").length;
  const to = end - text.length + text.replace(new RegExp(`\\s*(?:${CLOSING})?\\s*$`), "").length;
  return [from, Math.max(from, to)];
}

/**
 * Whether a word stands in a thought.
 * @param {Pick<Report, "thinking">} report
 * @param {Placed} word
 */
export function isThought(report, word) {
  return report.thinking.some(({ start, end }) => word.start < end && word.end > start);
}

/**
 * [[start, end]]: what of text[start:end] is not thought.
 * @param {Placed[]} thinking
 * @param {number} start
 * @param {number} end
 */
export function outside(thinking, start, end) {
  /** @type {Span[]} */
  const ranges = [];
  let at = start;
  for (const thought of thinking) {
    if (thought.end <= at || thought.start >= end) continue;
    if (thought.start > at) ranges.push([at, thought.start]);
    at = thought.end;
  }
  if (at < end) ranges.push([at, end]);
  return ranges;
}

/**
 * All thoughts folded away, or nothing. run(start, end) gives the nodes of text[start:end].
 * @param {Report} report
 * @param {(start: number, end: number) => Node[]} run
 */
export function folded(report, run) {
  const slice = slicer(report.text);
  const ranges = report.thinking.map((thought) => withinMarks(thought, slice));
  const count = report.words.filter((word) => ranges.some(([start, end]) => word.start >= start && word.end <= end)).length;
  if (count === 0) return [];
  return [make("details", { class: "mi-thinking", id: "medinterp-thinking" },
    make("summary", {}, `What the model thought before it answered, ${count} word${count === 1 ? "" : "s"}`),
    ...ranges.map(([start, end]) => make("p", {}, ...run(start, end))))];
}

/**
 * That a report was cut off, and whether before there was one.
 * @param {Report} report
 */
export function cutOff({ text, tokens, thinking }) {
  const told = `Cut off after ${tokens.length} token${tokens.length === 1 ? "" : "s"}`;
  const letters = Array.from(text);
  const rest = thinking.length ? [...letters.slice(0, thinking[0].start), ...letters.slice(thinking.at(-1)?.end)] : letters;
  const open = thinking.at(-1)?.end === letters.length && !rest.join("").trim();
  return open ? `${told}, before the report began: this is thought alone.` : `${told}.`;
}

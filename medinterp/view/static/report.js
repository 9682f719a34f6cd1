// The report: sections and clickable words. A selection is
//   { kind: "words", first, last } (word indices, inclusive) or { kind: "finding", index }.

/** @import { Provenance, Report, Section, Selection, Slicer, Span, Word, WordSelection } from "./types" */

import { byId, closest, make, percent, press, slicer, typing } from "./dom.js";
import { Findings, markWords } from "./findings.js";
import { showReading, underlined } from "./sentences.js";
import { folded, outside, parted } from "./thinking.js";
import { showUnlikely, unlikelihood, wavy } from "./unlikely.js";
import { sourceOf } from "./written.js";

/** @type {Record<string, 1 | -1>} */
const SENTENCE_STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
const STRONGEST = 0.36; // opacity of the tint of strength 1

/**
 * The word indices that a selection speaks of.
 * @param {Selection | null} selection
 * @param {Report} report
 */
export function selectedWords(selection, report) {
  if (!selection) return [];
  if (selection.kind === "finding") return report.findings[selection.index].word_indices;
  const indices = [];
  for (let index = selection.first; index <= selection.last; index += 1) indices.push(index);
  return indices;
}

/**
 * A selection of the words whose span lies in [start, end), or null.
 * @param {Pick<Report, "words">} report
 * @param {number} start
 * @param {number} end
 * @returns {WordSelection | null}
 */
function wordsBetween({ words }, start, end) {
  const inside = words.filter((word) => word.token_indices.length && word.start >= start && word.start < end);
  return inside.length ? { kind: "words", first: inside[0].index, last: inside[inside.length - 1].index } : null;
}

/**
 * Whether a word can be chosen: no token wrote the others.
 * @param {HTMLElement} node
 */
function isButton(node) {
  return node.getAttribute("role") === "button";
}

export class ReportView {
  /** @param {(selection: Selection | null) => void} onSelect the reader chooses */
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.host = byId("report");
    this.column = byId("column");
    this.search = byId("search");
    this.findings = new Findings(onSelect);
    /** @type {Report | null} */
    this.report = null;
    /** @type {HTMLElement[]} */
    this.words = []; // their nodes
    /** @type {number | null} */
    this.anchor = null; // the word where a phrase began
    /** @type {number[]} */
    this.hits = []; // words that hold what is sought
    /** @type {number | undefined} */
    this.found = undefined; // the hit that was gone to last
    this.clear();
    this.host.addEventListener("click", (event) => this.clicked(event));
    this.host.addEventListener("dblclick", (event) => this.doubled(event));
    this.host.addEventListener("pointerdown", (event) => this.pressed(event));
    this.host.addEventListener("keydown", (event) => this.keyed(event));
    this.search.addEventListener("input", () => this.seek(0));
    this.search.addEventListener("keydown", (event) => this.searchKeyed(event));
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || typing(event) || this.report === null) return;
      this.search.focus();
      this.search.select();
      event.preventDefault();
    });
  }

  clear() {
    this.report = null;
    this.words = [];
    this.anchor = null;
    this.host.replaceChildren(make("p", { class: "mi-hint" }, "The report appears here, word by word."));
    this.host.classList.remove("mi-streaming");
    this.findings.clear();
    this.hits = [];
    this.search.value = "";
    this.search.hidden = true;
    for (const name of ["legend", "given-note", "sentences", "unlikely", "cut", "made", "how"]) byId(name).hidden = true;
  }

  /**
   * Begin a stream of words; returns the function that takes each piece of text, and says what is being written.
   * given: somebody else wrote it, and it comes as it is.
   * @param {boolean} given
   */
  stream(given) {
    this.clear();
    this.noteSource({ given });
    let whole = "";
    const caret = make("span", { class: "mi-caret" });
    const raw = make("p", { class: "mi-raw" }, caret);
    this.host.replaceChildren(raw);
    this.host.classList.toggle("mi-streaming", !given);
    return (/** @type {string} */ delta) => {
      const atEnd = this.column.scrollHeight - this.column.scrollTop - this.column.clientHeight < 40;
      whole += delta;
      const parts = parted(whole);
      raw.replaceChildren(...parts.filter(({ text }) => text).map(({ text, thought }) =>
        (thought ? make("span", { class: "mi-thought" }, text) : text)), caret);
      if (atEnd) this.column.scrollTop = this.column.scrollHeight;
      return parts.at(-1) ?? { text: "", thought: false };
    };
  }

  /** @param {Pick<Provenance, "given"> & Partial<Provenance>} provenance */
  noteSource(provenance) {
    const note = byId("given-note");
    note.textContent = sourceOf(provenance);
    note.hidden = !note.textContent;
  }

  /** The stream ended without a report: what was written stays, without links. */
  stopStream() {
    this.host.classList.remove("mi-streaming");
    if (!this.host.textContent) this.clear();
  }

  /**
   * @param {Report} report
   * @param {Provenance} provenance
   */
  show(report, provenance) {
    this.clear();
    this.noteSource(provenance);
    this.report = report;
    this.words = report.words.map((word) => this.wordNode(word));
    markWords(report, this.words);
    this.host.replaceChildren(...this.blocks(report));
    this.host.querySelector("details")?.addEventListener("toggle", () => this.enterAtStart());
    this.enterAtStart();
    this.findings.show(report);
    this.search.hidden = byId("how").hidden = this.words.length === 0;
    showReading(report.sentences);
    showUnlikely(report);
  }

  /** @param {Word} word */
  wordNode(word) {
    if (!word.token_indices.length) return make("span", {}, wavy(word)); // no model wrote it: it has no map
    return make("span", {
      class: "medinterp-word",
      role: "button",
      tabindex: "-1",
      "aria-pressed": "false",
      "data-word-index": word.index,
      title: [unlikelihood(word), `${percent(word.image_mass)} of the attention was on the film`].filter(Boolean).join("\n"),
    }, wavy(word));
  }

  /**
   * Tint the words: a strength of 0 to 1 for each, none for none.
   * @param {number[]} strengths
   */
  tint(strengths) {
    for (const [index, node] of this.words.entries()) {
      node.style.setProperty("--mi-tint", (STRONGEST * (strengths[index] ?? 0)).toFixed(3));
    }
  }

  /**
   * The thoughts, then sections with their headings; what stands outside a section keeps its place.
   * @param {Report} report
   */
  blocks(report) {
    const { sections, text } = report;
    const slice = slicer(text);
    const size = Array.from(text).length;
    /** @type {HTMLElement[]} */
    const blocks = folded(report, (start, end) => this.run(slice, start, end));
    let at = 0;
    for (const section of sections) {
      const before = this.written(at, section.start);
      const [from, start] = before.pop() ?? [section.start, section.start];
      // The heading is the last line before the body; what stands above it is a paragraph of its own.
      const lead = from + Array.from(slice(from, start).trimEnd()).lastIndexOf("\n") + 1;
      blocks.push(...this.paragraphs(slice, [...before, [from, lead]]));
      const heading = make("h3", {}, ...this.run(slice, lead, start, true));
      const body = this.written(section.start, section.end).flatMap((range) => this.run(slice, ...range));
      blocks.push(make("div", { class: "mi-section" },
        make("div", { class: "mi-heading" }, heading, this.sectionButton(section)), make("p", {}, ...body)));
      at = section.end;
    }
    blocks.push(...this.paragraphs(slice, this.written(at, size)));
    if (report.thinking.length && !this.written(0, size).some((range) => slice(...range).trim())) {
      blocks.push(make("p", { class: "mi-hint" }, "The model thought, and wrote no report."));
    }
    return blocks;
  }

  /**
   * What of text[start:end] is the report, not thought.
   * @param {number} start
   * @param {number} end
   */
  written(start, end) {
    return outside(this.report?.thinking ?? [], start, end);
  }

  /**
   * @param {Slicer} slice
   * @param {Span[]} ranges
   */
  paragraphs(slice, ranges) {
    return ranges.filter((range) => slice(...range).trim()).map((range) => make("p", {}, ...this.run(slice, ...range)));
  }

  /**
   * Words and the text between them in text[start:end], trimmed; a heading loses its markdown signs.
   * @param {Slicer} slice
   * @param {number} start
   * @param {number} end
   */
  run(slice, start, end, heading = false) {
    const text = slice(start, end);
    const first = start + text.length - text.trimStart().length; // white space has one UTF-16 unit each
    const last = Math.max(first, end - (text.length - text.trimEnd().length));
    return underlined(this.report?.sentences ?? [], first, last, (from, to) => this.piece(slice, from, to, heading));
  }

  /**
   * @param {Slicer} slice
   * @param {number} start
   * @param {number} end
   * @param {boolean} heading
   */
  piece(slice, start, end, heading) {
    /** @type {Node[]} */
    const nodes = [];
    const plain = (/** @type {number} */ from, /** @type {number} */ to) => {
      const text = heading ? slice(from, to).replace(/[*#:]/g, "") : slice(from, to);
      if (text) nodes.push(document.createTextNode(text));
    };
    let at = start;
    for (const word of this.report?.words ?? []) {
      if (word.end <= start || word.start >= end) continue;
      if (word.start > at) plain(at, word.start);
      nodes.push(this.words[word.index]);
      at = word.end;
    }
    if (at < end) plain(at, end);
    return nodes;
  }

  /**
   * The whole section as one selection; nothing where no token wrote any of it.
   * @param {Section} section
   */
  sectionButton({ name, start, end }) {
    const selection = this.report && wordsBetween(this.report, start, end);
    if (selection === null) return null;
    const button = make("button", { type: "button", class: "mi-link mi-whole", "aria-label": `Select the whole section ${name}` }, "whole section");
    button.addEventListener("click", () => this.onSelect(selection));
    return button;
  }

  /**
   * Mark what is selected.
   * @param {Selection | null} selection
   */
  mark(selection) {
    const chosen = new Set(this.report ? selectedWords(selection, this.report) : []);
    for (const node of this.words.filter(isButton)) {
      press(node, chosen.has(Number(node.dataset.wordIndex)));
    }
    this.findings.mark(selection);
    if (selection?.kind !== "words") this.anchor = null;
    this.keepInSight();
  }

  /** The chosen word is in sight, though a chip may be far from it. */
  keepInSight() {
    const chosen = this.words.find((node) => node.getAttribute("aria-pressed") === "true" && node.checkVisibility());
    if (!chosen) return;
    const word = chosen.getBoundingClientRect();
    const host = this.column.getBoundingClientRect();
    if (word.bottom > host.bottom) this.column.scrollTop += word.bottom - host.bottom + 2 * word.height;
    else if (word.top < host.top) this.column.scrollTop -= host.top - word.top + 2 * word.height;
  }

  /**
   * Choose a word, or with `extend` everything from the anchor to it.
   * @param {number} index
   * @param {boolean} extend
   */
  choose(index, extend) {
    if (!extend || this.anchor === null) this.anchor = index;
    const first = Math.min(this.anchor, index);
    const last = Math.max(this.anchor, index);
    this.onSelect({ kind: "words", first, last });
  }

  /**
   * Tab leads to this word.
   * @param {HTMLElement | undefined} node
   */
  enterAt(node) {
    for (const other of this.words) if (isButton(other)) other.tabIndex = -1;
    if (node) node.tabIndex = 0;
  }

  /** Tab leads to the first word that is not folded away. */
  enterAtStart() {
    this.enterAt(this.words.find((node) => isButton(node) && node.checkVisibility()));
  }

  /** @param {number} index */
  focus(index) {
    this.enterAt(this.words[index]);
    this.words[index].focus();
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const node = closest(event, ".medinterp-word");
    if (!node || event.detail > 1) return;
    const index = Number(node.dataset.wordIndex);
    if (event.shiftKey) getSelection()?.removeAllRanges(); // the browser's own text selection
    this.focus(index);
    this.choose(index, event.shiftKey);
  }

  /**
   * A double click chooses the sentence; in a heading the section.
   * @param {MouseEvent} event
   */
  doubled(event) {
    const node = closest(event, ".medinterp-word");
    if (!node) return;
    getSelection()?.removeAllRanges();
    const section = node.closest(".mi-heading")?.querySelector(".mi-whole");
    if (section instanceof HTMLElement) section.click();
    else this.onSelect(this.sentenceAt(Number(node.dataset.wordIndex)));
  }

  /**
   * Dragging from word to word chooses a phrase.
   * @param {PointerEvent} event
   */
  pressed(event) {
    const node = closest(event, ".medinterp-word");
    if (!node || event.button !== 0 || event.shiftKey || event.pointerType !== "mouse") return;
    const from = Number(node.dataset.wordIndex);
    let at = from;
    const ended = new AbortController();
    const follow = (/** @type {PointerEvent} */ moved) => {
      const over = closest(moved, ".medinterp-word");
      if (!over || Number(over.dataset.wordIndex) === at) return;
      at = Number(over.dataset.wordIndex);
      getSelection()?.removeAllRanges();
      this.anchor = from;
      this.choose(at, true);
    };
    const release = () => {
      ended.abort();
      if (at === from) return;
      getSelection()?.removeAllRanges();
      this.focus(at);
    };
    this.host.addEventListener("pointerover", follow, { signal: ended.signal });
    for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, release, { signal: ended.signal });
  }

  /**
   * The sentence that a word stands in, or the word where it stands in none.
   * @param {number} index
   * @returns {WordSelection}
   */
  sentenceAt(index) {
    const { report } = this;
    const at = report?.words[index].start ?? 0;
    const sentence = report?.sentences.find(({ start, end }) => at >= start && at < end);
    return (report && sentence && wordsBetween(report, sentence.start, sentence.end)) ?? { kind: "words", first: index, last: index };
  }

  /**
   * Choose the sentence before (-1) or behind (1) that of a word, and go there.
   * @param {number} index
   * @param {1 | -1} step
   */
  stepSentence(index, step) {
    const here = this.sentenceAt(index);
    const at = this.seen(step > 0 ? here.last + 1 : here.first - 1, step);
    if (at === null) return;
    const there = this.sentenceAt(at);
    this.focus(there.first);
    this.onSelect(there);
  }

  /** @param {KeyboardEvent} event */
  keyed(event) {
    const node = closest(event, ".medinterp-word");
    if (!node || event.ctrlKey || event.metaKey || event.altKey) return;
    const index = Number(node.dataset.wordIndex);
    const sentence = SENTENCE_STEPS[event.key];
    if (event.key === "Enter" || event.key === " ") {
      this.choose(index, event.shiftKey);
    } else if (event.key === "Escape") {
      this.onSelect(null);
    } else if (event.shiftKey && sentence) {
      this.stepSentence(index, sentence);
    } else if (event.key === "]" || event.key === "[") {
      const target = this.seen(index + (event.key === "]" ? 1 : -1), event.key === "]" ? 1 : -1);
      if (target === null) return;
      if (this.anchor === null) this.anchor = index;
      this.focus(target);
      this.choose(target, true);
    } else {
      const target = this.neighbour(index, event.key);
      if (target === null) return;
      this.focus(target);
      this.choose(target, false);
    }
    event.preventDefault();
  }

  /**
   * Mark the words that hold what is sought, and go to the first from `from` on.
   * @param {number} from
   * @returns {WordSelection | null}
   */
  seek(from) {
    const words = this.report?.words ?? [];
    const sought = this.search.value.trim().toLowerCase();
    const parts = sought.split(/\s+/);
    this.hits = sought === "" ? [] : words.filter((word) => word.token_indices.length > 0 &&
      parts.every((part, at) => words[word.index + at]?.text.toLowerCase().includes(part)))
      .map(({ index }) => index);
    const marked = new Set(this.hits.flatMap((index) => parts.map((_, at) => index + at)));
    for (const [index, node] of this.words.entries()) node.classList.toggle("mi-hit", marked.has(index));
    this.search.classList.toggle("mi-none", sought !== "" && this.hits.length === 0);
    const hit = this.hits.find((index) => index >= from) ?? this.hits[0];
    if (hit !== undefined) this.words[hit].scrollIntoView({ block: "nearest" });
    return hit === undefined ? null : { kind: "words", first: hit, last: hit + parts.length - 1 };
  }

  /** @param {KeyboardEvent} event */
  searchKeyed(event) {
    if (event.key === "Enter") {
      const found = this.seek(this.found === undefined ? 0 : this.found + 1);
      this.found = found?.first;
      if (found !== null) this.onSelect(found);
      event.preventDefault();
    } else if (event.key === "Escape") {
      this.search.value = "";
      this.found = undefined;
      this.seek(0);
      const word = this.words.find((node) => node.tabIndex === 0);
      if (word) word.focus();
    } else this.found = undefined;
  }

  /**
   * The word that a key leads to: the next, the previous, the one above or below, first, last; none that is folded away.
   * @param {number} index
   * @param {string} key
   */
  neighbour(index, key) {
    const last = this.words.length - 1;
    if (key === "ArrowRight") return this.seen(index + 1, 1) ?? index;
    if (key === "ArrowLeft") return this.seen(index - 1, -1) ?? index;
    if (key === "Home") return this.seen(0, 1);
    if (key === "End") return this.seen(last, -1);
    if (key !== "ArrowUp" && key !== "ArrowDown") return null;
    const step = key === "ArrowDown" ? 1 : -1;
    const here = this.words[index].getBoundingClientRect();
    const middle = (here.left + here.right) / 2;
    /** @type {number | null} */
    let line = null;
    let best = index;
    let nearest = Infinity;
    for (let at = this.seen(index + step, step); at !== null; at = this.seen(at + step, step)) {
      const box = this.words[at].getBoundingClientRect();
      if (Math.abs(box.top - here.top) < here.height / 2) continue;
      if (line === null) line = box.top;
      if (Math.abs(box.top - line) > here.height / 2) break;
      const distance = Math.abs((box.left + box.right) / 2 - middle);
      if (distance < nearest) [nearest, best] = [distance, at];
    }
    return best;
  }

  /**
   * The first word from `index` on, in steps of 1 or -1, that is not folded away.
   * @param {number} index
   * @param {1 | -1} step
   */
  seen(index, step) {
    for (let at = index; at >= 0 && at < this.words.length; at += step) {
      if (isButton(this.words[at]) && this.words[at].checkVisibility()) return at;
    }
    return null;
  }
}
